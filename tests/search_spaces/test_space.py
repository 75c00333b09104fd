"""Search spaces: what a file may say, every fault at once, and what Optuna makes of them."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from search_spaces.parameters import Categorical, Float, Int, Value
from search_spaces.space import FOLDER, Space, SpaceError

LR = "{type: float, low: 1e-3, high: '1e-1', default: 1e-2, log: true}"
WITH_TSE = [0.0, 0.1, 0.2, 0.3]


@pytest.fixture(autouse=True)
def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def load(tmp_path: Path, text: str) -> Space:
    path = tmp_path / "space.yaml"
    path.write_text(text)
    return Space.load(str(path))


def faults(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(SpaceError) as caught:
        load(tmp_path, text)
    return caught.value.faults


def run(space: Space, seed: int, trials: int = 15) -> list[Mapping[str, Value]]:
    """The suggestions of a TPE study that starts at the defaults."""
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=5)
    study = optuna.create_study(sampler=sampler)
    study.enqueue_trial(space.check(space.defaults()))
    suggested: list[Mapping[str, Value]] = []
    for _ in range(trials):
        trial = study.ask()
        suggested.append(space.suggest(trial))
        assert trial.params == suggested[-1]
        study.tell(trial, float(len(suggested[-1])))
    return suggested


def test_a_file_becomes_distributions(tmp_path: Path) -> None:
    space = load(
        tmp_path,
        f"""
        lr: {LR}
        width: {{type: int, low: 8, high: 64, default: 16, step: 8}}
        depth: {{type: int, low: 1, high: 100, default: 10, log: true}}
        drop: {{type: float, low: 0, high: 0.3, default: 0.3, step: 0.1}}
        choice: {{type: categorical, choices: [xor, 3, 1e-4, true], default: 1e-4}}
        """,
    )
    assert space.distributions() == {
        "lr": FloatDistribution(1e-3, 1e-1, log=True),
        "width": IntDistribution(8, 64, step=8),
        "depth": IntDistribution(1, 100, log=True),
        "drop": FloatDistribution(0, 0.3, step=0.1),
        "choice": CategoricalDistribution(["xor", 3, 1e-4, True]),
    }
    assert space.values("choice") == ("xor", 3, 1e-4, True)
    assert space.values("width") == (8, 64)
    assert space.defaults() == {
        "lr": 0.01,
        "width": 16,
        "depth": 10,
        "drop": 0.3,
        "choice": 1e-4,
    }
    with pytest.raises(ValueError, match="no such parameter; did you mean 'width'"):
        space.values("widht")


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_space_here_loads_and_samples(path: Path) -> None:
    space = Space.load(path.stem)
    first, *rest = run(space, seed=0)
    assert first == space.defaults()
    for values in rest:
        assert set(values) == space.active(values)
        assert space.check(values) == values


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        ("{type: [float], low: 1}", r"a.type: must be .*, but got \['float'\]"),
        ("{low: 1, high: 2, default: 1}", "a.type: must be float, int or categorical, but got N"),
        ("{type: flaot, low: 1}", "a.type: .*'flaot'; did you mean 'float'?"),
        ("[1, 2]", r"a: must be a mapping with a type, but got \[1, 2\]"),
        ("{type: float, low: 1, default: 1}", "a.high: is required"),
        ("{type: float, low: x, high: 2, default: 1}", "a.low: .* valid number.*, but got 'x'"),
        ("{type: float, low: .nan, high: 2, default: 1}", "a.low: .* finite number, but got nan"),
        ("{type: float, low: 2, high: 2, default: 2}", "a: low must be less than high, but got"),
        ("{type: float, low: 0, high: 2, default: 1, log: true}", "a: low must be above 0 on a lo"),
        ("{type: float, low: 1, high: 2, default: 3}", r"a: default must be in \[1.0, 2.0\], bu"),
        ("{type: float, low: 1, high: 2, default: 1, step: 0}", "a.step: .* greater than 0, but"),
        ("{type: float, low: 0, high: 1, default: 0, step: 0.3}", "a: high must be low plus a m"),
        ("{type: float, low: 0, high: 1, default: 0.3, step: 0.2}", "a: default must be 0.0 plus"),
        ("{type: int, low: 1, high: 9, default: 1, step: 2, log: true}", "a: a log scale has no"),
        ("{type: int, low: 1.5, high: 9, default: 2}", "a.low: .*valid integer.*, but got 1.5"),
        ("{type: int, low: 1, high: 9, default: 2, setp: 2}", "a.setp: no such key; .*'step'?"),
        ("{type: categorical, choices: [], default: 1}", "a: choices must have at least one"),
        ("{type: categorical, choices: [x, y], default: z}", r"a: default must be one of \['x'"),
        ("{type: categorical, choices: [1, true], default: 1}", "a: choices must differ, but got"),
        ("{type: categorical, choices: [[1]], default: 1}", "a.choices.0: must be a string, a f"),
        ("{type: categorical, choices: [x], default: x, low: 1}", "a.low: no such key; known: cho"),
    ],
)
def test_a_faulty_entry_is_refused(tmp_path: Path, entry: str, fault: str) -> None:
    (line,) = faults(tmp_path, f"a: {entry}")
    assert re.match(fault, line), line


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    text = f"""
        a: {{type: float, low: x, high: 2, default: 3, lgo: true}}
        b//c: {LR}
        7: {LR}
        lr: {LR}
        d: {{type: int, low: 1, high: 5, default: 2,
            when: {{lr: [1], mode: [fast], b: [1], a: [1], speed: []}}}}
        speed: {{type: categorical, choices: [1], default: 1}}
        mode: {{type: categorical, choices: [quick, slow], default: slow}}
        """
    lines = faults(tmp_path, text)
    assert [line.split(": ")[0] for line in lines] == [
        "a.low",
        "a.lgo",
        "b//c",
        "7",
        "d.when.lr",
        "d.when.mode",
        "d.when.b",
        "d.when.speed",
    ]
    assert lines[4].endswith("must be categorical, but is float; list its values")
    assert lines[5].endswith("must be among ['quick', 'slow'], but got ['fast']")
    assert "no such parameter" in lines[6]


def test_a_circle_of_conditions_is_refused(tmp_path: Path) -> None:
    entry = "{{type: categorical, choices: [1, 2], default: 1, when: {{{}: [1]}}}}"
    text = f"a: {entry.format('b')}\nb: {entry.format('c')}\nc: {entry.format('a')}\n"
    (line,) = faults(tmp_path, text)
    assert "must not lead back to itself" in line and line.count("->") == 3


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "must map paths to parameters, but has nothing"),
        ("# only words\n", "must map paths to parameters, but has nothing"),
        ("- a\n- b\n", r"must map paths to parameters, but has \['a', 'b'\]"),
        ("a: {type: float\n", "must be readable YAML, but: .*line 2"),
        (f"a: {LR}\nb: {LR}\na: {LR}\n", "^a: stands twice, in lines 1 and 3; keep one"),
        ("a: {type: int, low: 1, low: 2}\n", "^a.low: stands twice, in lines 1 and 1; keep one"),
    ],
)
def test_a_faulty_file_is_refused(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(SpaceError, match=fault):
        load(tmp_path, text)


def test_an_unknown_space_offers_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(SpaceError, match=r"^optimiser: .*did you mean 'optimizer'") as caught:
        Space.load("optimiser", str(tmp_path / "kd.yaml"))
    assert len(caught.value.faults) == 2


def test_spaces_unite() -> None:
    union = Space.load("optimizer", "kd")
    both = {**Space.load("kd").parameters, **Space.load("optimizer").parameters}
    assert union == Space.load("kd", "optimizer") == Space(both)


def test_a_path_in_two_spaces_is_refused(tmp_path: Path) -> None:
    again = tmp_path / "again.yaml"
    again.write_text((FOLDER / "kd.yaml").read_text())
    with pytest.raises(SpaceError, match=r"temperature: stands in kd and in .*again\.yaml; keep one") as caught:
        Space.load("kd", str(again))
    assert len(caught.value.faults) == 2


def test_conditions_hold_under_tpe_and_a_seed_replays() -> None:
    space = Space.load("rdd", "optimizer")
    suggested = run(space, seed=3)
    assert suggested == run(space, seed=3)
    assert suggested != run(space, seed=4)
    stages = {values["task/tfe_fraction"] in WITH_TSE for values in suggested}
    assert stages == {True, False}
    for values in suggested:
        has_tse = values["task/tfe_fraction"] in WITH_TSE
        assert ("task/threshold" in values) == ("task/combine" in values) == has_tse


def test_the_order_in_a_file_means_nothing(tmp_path: Path) -> None:
    lines = (FOLDER / "rdd.yaml").read_text().splitlines()
    reordered = load(tmp_path, "\n".join(reversed(lines)))
    space = Space.load("rdd")
    assert list(reordered.parameters.items()) == list(space.parameters.items())
    assert run(reordered, seed=1) == run(space, seed=1)


@pytest.fixture
def nested() -> Space:
    """c exists where b is 1, which exists where a is x."""
    a = Categorical(choices=("x", "y"), default="y")
    b = Categorical(choices=(1, 2), default=1, when={"a": ("x",)})
    c = Int(low=1, high=9, default=3, when={"b": (1,)})
    return Space.parse({"c": vars(c), "b": vars(b), "a": vars(a)})


def test_a_parameter_under_an_absent_one_is_absent(nested: Space) -> None:
    assert list(nested.parameters) == ["a", "b", "c"]
    assert nested.defaults() == {"a": "y"}
    assert nested.active({}) == {"a"}
    assert nested.active({"a": "y", "b": 1, "c": 3}) == {"a"}
    assert nested.active({"a": "x", "b": 2}) == {"a", "b"}
    assert nested.active({"a": "x", "b": 1}) == {"a", "b", "c"}


def test_defaults_enqueued_come_first_and_given_values_second() -> None:
    space = Space.load("rdd", "kd")
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    given = space.check({"task/tfe_fraction": 1, "methods/kd/temperature": "4e0"})
    study.enqueue_trial(space.defaults())
    study.enqueue_trial(given)
    assert space.suggest(study.ask()) == space.defaults()
    second = space.suggest(study.ask())
    assert second.items() >= {"task/tfe_fraction": 1.0, "methods/kd/temperature": 4.0}.items()
    assert "task/threshold" not in second


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({"methods/kd/temprature": 1}, "no such parameter; did you mean 'methods/kd/temperature'"),
        ({"methods/kd/temperature": 9}, r"must be in \[1.0, 8.0\], but got 9"),
        ({"methods/kd/temperature": "hot"}, "must be a number, but got 'hot'"),
        ({"methods/kd/temperature": True}, "must be a number, but got True"),
        ({"methods/kd/temperature": float("nan")}, r"must be in \[1.0, 8.0\], but got nan"),
        ({"task/tfe_fraction": 0.5}, r"must be one of \[0.0, .*\], but got 0.5"),
        ({"task/tfe_fraction": True}, r"must be one of \[0.0, .*\], but got True"),
        (
            {"task/tfe_fraction": 1.0, "task/threshold": 0.7},
            "task/threshold: exists only where task/tfe_fraction is one of .*, but got 1.0; leave",
        ),
    ],
)
def test_values_to_enqueue_are_checked(values: dict[str, Any], fault: str) -> None:
    with pytest.raises(SpaceError, match=fault):
        Space.load("rdd", "kd").check(values)


def test_whole_numbers_stay_whole(nested: Space) -> None:
    (value,) = nested.check({"c": 4.0}).values()
    assert value == 4 and isinstance(value, int)
    with pytest.raises(SpaceError, match=r"c: must be a whole number, but got 4\.5"):
        nested.check({"c": 4.5})


def test_a_parameter_made_in_code_is_checked_too() -> None:
    with pytest.raises(ValueError, match="low must be less than high"):
        Float(low=2, high=1, default=1)


NESTED = """
a: {type: categorical, choices: [1, 2], default: 1}
b: {type: categorical, choices: [x, y], default: x, when: {a: [2]}}
c: {type: float, low: 0, high: 1, default: 0.5, when: {b: [y]}}
"""


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({}, {"a": 1}),
        ({"a": 2}, {"a": 2, "b": "x"}),
        ({"b": "y"}, {"a": 2, "b": "y", "c": 0.5}),
        ({"c": 1.0}, {"a": 2, "b": "y", "c": 1.0}),
        ({"a": 1, "c": 1.0}, {"a": 2, "b": "y", "c": 1.0}),
    ],
)
def test_a_setting_has_what_its_chosen_values_need(
    chosen: dict[str, Any], expected: dict[str, Any], tmp_path: Path
) -> None:
    assert load(tmp_path, NESTED).setting(chosen) == expected


def test_given_values_stand_in_the_place_of_defaults(tmp_path: Path) -> None:
    space = load(tmp_path, NESTED)
    assert space.defaults({"a": 2, "b": "y", "other": 7}) == {"other": 7, "a": 2, "b": "y", "c": 0.5}
    assert space.defaults({"c": 0.1}) == {"a": 1}


def test_a_missing_file_is_no_unknown_space(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(f"a: {LR}\n")
    with pytest.raises(SpaceError, match=r"there is no such file; did you mean '.*/mine.yaml'\?"):
        Space.load(str(tmp_path / "nine.yaml"))
    with pytest.raises(SpaceError, match=r"there is no such file; write it, or correct the path"):
        Space.load(str(tmp_path / "rdd.yaml"))

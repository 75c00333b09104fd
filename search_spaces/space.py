"""Search spaces: YAML files, beside this module or anywhere, read into Optuna distributions.

A space maps paths into a trial's configuration (`task/threshold`) to what may stand there. A
parameter may exist only `when` categorical ones have certain values. The order in a file means
nothing: the parameters are sorted by dependency, then by path, so that equal spaces replay equally
under one seed. Whether a path names a leaf of the configuration is not known here.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any, Self

import optuna
import yaml
from optuna.distributions import BaseDistribution

from search_spaces.parameters import Categorical as Categorical
from search_spaces.parameters import Float as Float
from search_spaces.parameters import Int as Int
from search_spaces.parameters import Parameter, Value, nearest, read_parameter
from search_spaces.parameters import SpaceError as SpaceError

FOLDER = Path(__file__).parent


class _Loader(yaml.SafeLoader):
    """Safe YAML that also reads 1e-3 as a number, and notes the keys that stand twice."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.faults: list[str] = []

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            name = str(key.value)
            if name in seen:
                line = key.start_mark.line + 1
                self.faults.append(f"{name}: stands twice, again in line {line}; keep one")
            seen.add(name)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def _file(name: str) -> Path:
    is_path = Path(name).name != name or Path(name).suffix
    path = Path(name) if is_path else FOLDER / f"{name}.yaml"
    if not path.is_file():
        hint = nearest(Path(name).stem, (beside.stem for beside in FOLDER.glob("*.yaml")))
        raise SpaceError([f"{name}: must be a search space or a path to one, but is none; {hint}"])
    return path


def read_entries(name: str) -> dict[Any, Any]:
    """What a space's file says, unread but for its YAML.

    Raises:
        SpaceError: there is no such file, or it is no mapping.
    """
    loader = _Loader(_file(name).read_text())
    try:
        entries = loader.get_single_data()
    except yaml.YAMLError as error:
        raise SpaceError([f"{name}: must be YAML, but: {' '.join(str(error).split())}"]) from None
    if loader.faults:
        raise SpaceError(loader.faults)
    if not isinstance(entries, dict) or not entries:
        got = "nothing" if entries is None else repr(entries)
        raise SpaceError([f"{name}: must map paths to parameters, but has {got}"])
    return entries


def _when_faults(path: str, parameter: Parameter, found: Mapping[str, Parameter], names: Iterable[str]) -> list[str]:
    """What is wrong with its conditions; `names` has the unreadable parameters too."""
    faults = []
    for other, allowed in parameter.when.items():
        where, on = f"{path}.when.{other}", found.get(other)
        if other not in names:
            faults.append(f"{where}: no such parameter; {nearest(other, names)}")
        elif not allowed:
            faults.append(f"{where}: must list at least one value, but has none; or leave it out")
        elif isinstance(on, Float | Int):
            faults.append(f"{where}: must be categorical, but is {on.type}; list its values")
        elif on and (unknown := [value for value in allowed if value not in on.choices]):
            faults.append(f"{where}: must be among {list(on.choices)}, but got {unknown}")
    return faults


def _by_dependency(parameters: Mapping[str, Parameter]) -> dict[str, Parameter]:
    """Those a `when` names before those that have it, otherwise by path."""
    graph = {path: sorted(parameters[path].when) for path in sorted(parameters)}
    try:
        return {path: parameters[path] for path in TopologicalSorter(graph).static_order()}
    except CycleError as error:
        circle: list[str] = error.args[1]
        fault = f"{circle[0]}.when: must not lead back to itself, but {' -> '.join(circle)}"
        raise SpaceError([fault]) from None


@dataclass(frozen=True)
class Space:
    """Parameters by path, each after those its `when` names."""

    parameters: Mapping[str, Parameter]

    @classmethod
    def load(cls, *names: str, kept: Mapping[str, Mapping[str, Any]] | None = None) -> Self:
        """The union of the named spaces.

        Args:
            names: files beside this module by their stem (`rdd`), or paths of others. A `when` may
                name a parameter of another file of the union.
            kept: what some files said when a study began; these are not read again.

        Raises:
            SpaceError: with every fault of every file.
        """
        faults: list[str] = []
        union: dict[str, Any] = {}
        owner: dict[str, str] = {}
        for name in names:
            try:
                entries = kept[name] if kept and name in kept else read_entries(name)
            except SpaceError as error:
                faults += error.faults
                continue
            twice = [path for path in entries if path in union]
            faults += [f"{path}: stands in {owner[path]} and in {name}; keep one" for path in twice]
            union.update(entries)
            owner |= dict.fromkeys(entries, name)
        return cls.parse(union, faults)

    @classmethod
    def parse(cls, entries: Mapping[str, Any], faults: Iterable[str] = ()) -> Self:
        """A space from plain values, as YAML has them; `faults` are known ones to raise as well.

        Raises:
            SpaceError: with every fault and its path.
        """
        faults = list(faults)
        found: dict[str, Parameter] = {}
        for path, entry in entries.items():
            try:
                found[path] = read_parameter(path, entry)
            except SpaceError as error:
                faults += error.faults
        for path, parameter in found.items():
            faults += _when_faults(path, parameter, found, entries)
        if faults:
            raise SpaceError(faults)
        return cls(_by_dependency(found))

    def _parameter(self, path: str) -> Parameter:
        if path not in self.parameters:
            raise ValueError(f"no such parameter; {nearest(path, self.parameters)}")
        return self.parameters[path]

    def distributions(self) -> dict[str, BaseDistribution]:
        """What Optuna samples each parameter from, where it exists."""
        return {path: parameter.distribution() for path, parameter in self.parameters.items()}

    def suggest(self, trial: optuna.Trial) -> dict[str, Value]:
        """The trial's values of the parameters that exist in it, asked for one after the other."""
        values: dict[str, Value] = {}
        for path, parameter in self.parameters.items():
            if _exists(parameter, values):
                values[path] = parameter.suggest(trial, path)
        return values

    def defaults(self) -> dict[str, Value]:
        """The defaults of the parameters that exist at the defaults."""
        values: dict[str, Value] = {}
        for path, parameter in self.parameters.items():
            if _exists(parameter, values):
                values[path] = parameter.read(parameter.default)
        return values

    def values(self, path: str) -> tuple[Value, ...]:
        """All choices of a categorical parameter, (low, high) of another."""
        return self._parameter(path).values()

    def active(self, values: Mapping[str, Value]) -> set[str]:
        """The parameters that exist at `values`; a condition on a value not there fails."""
        known: dict[str, Value | None] = {}
        for path, parameter in self.parameters.items():
            if _exists(parameter, known):
                known[path] = values.get(path)
        return set(known)

    def check(self, values: Mapping[str, Any]) -> dict[str, Value]:
        """Values to enqueue, some or all, as this space's own.

        Raises:
            SpaceError: with every unknown path, every value out of range, and every parameter that
                does not exist at the others' values.
        """
        faults: list[str] = []
        checked: dict[str, Value] = {}
        for path, value in values.items():
            try:
                checked[path] = self._parameter(path).read(value)
            except ValueError as fault:
                faults.append(f"{path}: {fault}")
        for path in checked:
            for other, allowed in self.parameters[path].when.items():
                if other in checked and checked[other] not in allowed:
                    faults.append(
                        f"{path}: exists only where {other} is one of {list(allowed)}, "
                        f"but got {checked[other]!r}; leave it out"
                    )
        if faults:
            raise SpaceError(faults)
        return checked


def _exists(parameter: Parameter, values: Mapping[str, Value | None]) -> bool:
    return all(values.get(other) in allowed for other, allowed in parameter.when.items())

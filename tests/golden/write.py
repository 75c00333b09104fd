"""Writes the golden numbers anew; not run by any test: `python -m tests.golden.write`.

Look at the difference before committing it: a number of `losses.json` changes only with a formula or an input, one of
`curve.json` beyond 1e-6 only with what a training computes.
"""

import json
import random
import tempfile
from pathlib import Path
from typing import Any

from tests.golden import naive, training

HERE = Path(__file__).parent
BATCH, CLASSES, CHANNELS, SIZE, FULL = 2, 3, 4, (3, 4), (6, 9)


def inputs() -> dict[str, Any]:
    """Small maps, of four decimals so that they are short to write and exact to read."""
    draw = random.Random(20)

    def maps(channels: int) -> naive.Maps:
        return [
            [[[round(draw.gauss(0, 2), 4) for _ in range(SIZE[1])] for _ in range(SIZE[0])] for _ in range(channels)]
            for _ in range(BATCH)
        ]

    def labels(choices: list[int]) -> naive.Labels:
        return [[[draw.choice(choices) for _ in range(FULL[1])] for _ in range(FULL[0])] for _ in range(BATCH)]

    def unit_rows(count: int) -> list[list[float]]:
        return [naive.unit([draw.gauss(0, 1) for _ in range(CHANNELS)]) for _ in range(count)]

    return {
        "student_logits": maps(CLASSES),
        "teacher_logits": maps(CLASSES),
        "teacher_aux": maps(CLASSES),
        "student_aux": maps(CLASSES),
        "student_features": maps(CHANNELS),
        "teacher_features": maps(CHANNELS),
        "wide_features": maps(CHANNELS + 2),
        "student_positions": maps(2),
        "teacher_positions": maps(2),
        "student_scores": maps(1),
        "teacher_scores": maps(1),
        "student_rows": unit_rows(3),
        "teacher_rows": unit_rows(3),
        "bank_rows": unit_rows(5),
        "labels": labels([*range(CLASSES), naive.IGNORE]),
        "predictions": labels(list(range(CLASSES))),
    }


def function(path: str, arguments: list[Any], result: naive.Sum, **options: Any) -> dict[str, Any]:
    total, count = result
    return {"function": path, "inputs": arguments, "options": options, "total": total, "count": count}


def weighting(name: str, iteration: int, result: naive.Sum, **options: Any) -> dict[str, Any]:
    total, count = result
    return {"weighting": name, "iteration": iteration, "options": options, "total": total, "count": count}


def cases(given: dict[str, Any]) -> list[dict[str, Any]]:
    """Every published loss at one or two settings; of `ITERATIONS` iterations, TFE lasts the first half."""
    logits = ["student_logits", "teacher_logits"]
    features, wide = ["student_features", "teacher_features"], ["student_features", "wide_features"]
    layers = [["student_aux", "student_features", "student_logits"], ["teacher_aux", "wide_features", "teacher_logits"]]
    positions, scores = ["student_positions", "teacher_positions"], ["student_scores", "teacher_scores"]
    rows = ["student_rows", "teacher_rows", "bank_rows"]

    def of(names: list[Any]) -> list[Any]:
        return [of(name) if isinstance(name, list) else given[name] for name in names]

    labels = given["labels"]
    student, teacher = of(logits)
    backwards = {"temperature": 2.0, "direction": "student_to_teacher", "t_squared": False}
    factors = [0.5, 2.0, 1.25]
    return [
        function("methods.kd:pixel_kl", logits, naive.pixel_kl(*of(logits), 4, scale=16), temperature=4.0),
        function("methods.kd:pixel_kl", logits, naive.pixel_kl(*of(logits), 2, reverse=True), **backwards),
        function("methods.at:attention_transfer", wide, naive.attention_transfer(*of(wide))),
        function("methods.at:attention_transfer", wide, naive.attention_transfer(*of(wide), norm=True), form="norm"),
        function("methods.cwd:channel_kl", logits, naive.channel_kl(*of(logits), 4), temperature=4.0),
        function("methods.fitnet:feature_mse", features, naive.feature_mse(*of(features))),
        function("methods.skd:pairwise_affinity", wide, naive.pairwise_affinity(*of(wide), 2), pool=2),
        function("methods.skd:generator_loss", scores[:1], naive.generator_loss(*of(scores[:1]))),
        *(
            function("methods.skd:discriminator_loss", scores, naive.discriminator_loss(*of(scores), kind), kind=kind)
            for kind in ("hinge", "wgan")
        ),
        function("methods.dsd:pixel_similarity", layers, naive.pixel_similarity(*of(layers))),
        function("methods.dsd:category_similarity", logits, naive.category_similarity(*of(logits), 4), temperature=4.0),
        *(
            function(
                f"methods.{path}",
                [*wide, "labels"],
                getattr(naive, path.partition(":")[2])(*of(wide), labels, CLASSES),
                num_classes=CLASSES,
            )
            for path in ("ifvd:intra_class_variation", "idd:inter_class_distance")
        ),
        *(
            function(
                "methods.idd:position_information", positions, naive.position_information(*of(positions), a), axis=a
            )
            for a in ("text", "formula")
        ),
        function("methods.cirkd:minibatch_contrast", wide, naive.minibatch_contrast(*of(wide), 0.1), temperature=0.1),
        function(
            "methods.cirkd:memory_contrast",
            rows,
            naive.memory_contrast(*of(rows), 0.1, 2),
            temperature=0.1,
            kd_temperature=2.0,
        ),
        weighting("uniform", 0, naive.cross_entropy(student, labels)),
        weighting("uniform", 0, naive.cross_entropy(student, labels, factors), class_weights=factors),
        weighting("focal", 0, naive.focal(student, labels, 2), gamma=2.0),
        weighting("ohem", 0, naive.ohem(student, labels, 0.7), threshold=0.7),
        weighting("rdd", 0, naive.tfe(student, teacher, given["teacher_aux"], labels), tfe_fraction=0.5),
        weighting("rdd", 19, naive.tse(student, teacher, labels, 0.7), tfe_fraction=0.5, threshold=0.7),
    ]


def _text(values: dict[str, Any]) -> str:
    """JSON with one line per entry, so that a change shows where it is."""
    lines = [f"{json.dumps(key)}: {_entries(value)}" for key, value in values.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _entries(value: Any) -> str:
    if isinstance(value, dict):
        return _text(value).rstrip()
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "[\n" + ",\n".join(json.dumps(entry) for entry in value) + "\n]"
    return json.dumps(value)


def main() -> None:
    given = inputs()
    scored = naive.metrics(given["predictions"], given["labels"], CLASSES)
    (HERE / "losses.json").write_text(_text({"inputs": given, "cases": cases(given), "metrics": scored}))
    with tempfile.TemporaryDirectory() as folder:
        (HERE / "curve.json").write_text(_text(training.curve(Path(folder))))


if __name__ == "__main__":
    main()

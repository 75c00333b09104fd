"""The card of an exported student, in Markdown: where it comes from, what it scored, how to use it."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from study.configuration.config import StudyConfig
from study.tables import PARAMETER
from trainers.config import TrialConfig, identity
from trainers.teachers.teacher import TeacherCard

VERSIONS = ("kdstudy", "torch", "torchvision", "timm", "numpy", "opencv-python-headless", "ray", "optuna")
"""Packages whose versions a card names."""


def facts(
    config: StudyConfig,
    row: Mapping[str, Any],
    metrics: Mapping[str, Any],
    trial: TrialConfig,
    environment: Mapping[str, Any],
) -> str:
    """Title, and a table of what is known.

    Args:
        config: the study.
        row: of the trials table.
        metrics: the report that came with the checkpoint that was exported.
        trial: the configuration in that checkpoint.
        environment: row of the environment table.
    """
    scored = f"{trial.evaluate_on} mIoU {_percent(metrics['eval/miou_percent'])}"
    entries = {
        **_trial(config, row),
        "checkpoint": f"iteration {metrics['iteration']}, {scored}",
        **_parts(trial),
        "searched values": json.dumps({n: row[n] for n in row if n.startswith(PARAMETER) and row[n] is not None}),
        "trained": f"{row['started']:%Y-%m-%d %H:%M} to {row['ended']:%Y-%m-%d %H:%M} UTC",
        "exported": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "commit of kdstudy": environment["git_commit"] or "not known",
        "Python": environment["python"],
        **{name: version for name, version in environment["packages"] if name in VERSIONS},
    }
    lines = "\n".join(f"| {name} | {value} |" for name, value in entries.items())
    return (
        f"# {config.name}: {row['arm']} {row['trial']}\n\nA network for semantic segmentation, trained and exported by "
        f"kdstudy.\n\n| | |\n|---|---|\n{lines}\n"
    )


def _trial(config: StudyConfig, row: Mapping[str, Any]) -> dict[str, str]:
    score, chosen = f"{config.evaluate_on} mIoU", "(optimistic, because it was chosen)"
    return {
        "study": config.name,
        "arm": row["arm"],
        "trial": f"{row['trial']}, {row['state']} after {row['iterations']} of {row['budget']} iterations",
        "configuration": f"sha256 {row['config_hash']}",
        f"{score}, last evaluation": _percent(row["last_miou_percent"]),
        f"{score}, best evaluation": f"{_percent(row['best_miou_percent'])} {chosen}",
    }


def _parts(trial: TrialConfig) -> dict[str, str]:
    """What was trained on what, without where things lie."""
    return {
        "dataset": _text(trial.data),
        "network": _text(trial.student),
        "task loss": _text(trial.task),
        "distillation": _text(trial.methods) if trial.methods else "none",
        "teacher": f"sha256 {trial.teacher.sha256}" if trial.teacher else "none",
    }


def _percent(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.2f} %"


def _text(part: object) -> str:
    return f"`{json.dumps(identity(part))}`"


def usage(file: str, card: TeacherCard, *, onnx: tuple[str, tuple[int, int]] | None) -> str:
    """How to score it and how to load it.

    Args:
        file: with the weights, beside the card.
        card: what that file says of itself.
        onnx: name of an ONNX file beside it, and the height and width of its images.
    """
    lines = [
        f"`{file}` says in its metadata what network, classes and normalisation it is of; `config.json` says the same, "
        "and all that trained it, as text.",
        f"```sh\nkdstudy evaluate {file} --dataset {card.data.name if card.data else 'NAME'} --root DIR\n```",
        f"""```python
from pathlib import Path
from trainers.teachers import teacher

file = Path("{file}")
student = teacher.load(file, class_names=teacher.read_card(file).class_names)
logits = student(images)["logits"]  # images: RGB, uint8 [B, 3, H, W]; logits at the network's own stride
```""",
    ]
    if onnx is not None:
        name, (height, width) = onnx
        lines.append(
            f"`{name}` takes `images`, RGB values 0 to 255 as float32 [1, 3, {height}, {width}], normalises "
            f"them itself, and gives `logits` [1, {len(card.class_names)}, {height}, {width}]."
        )
    return "\n\n".join(lines) + "\n"

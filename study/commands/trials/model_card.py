"""The card of an exported student, in Markdown: where it comes from, what it scored, how to use it."""

import json
from collections.abc import Mapping, Sequence
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


def usage(file: str, card: TeacherCard, deployed: Mapping[str, Any]) -> str:
    """What goes in and what comes out, how to score it and how to load it.

    Args:
        file: with the weights, beside the card.
        card: what that file says of itself.
        deployed: the facts of `deployment`.
    """
    lines = [
        "## Images in, classes out",
        _preprocessing(deployed["images"]),
        "It gives logits [batch, classes, rows, columns] at its own stride. Enlarge them to the image's size, "
        "bilinearly with aligned corners (`align_corners=True`), as in training and in every score above; the "
        "class of a pixel is the argmax.",
        _classes(deployed["class_names"]),
        "## Use",
        f"`{file}` says in its metadata what network, classes and normalisation it is of; `config.json` says the same, "
        "all that trained it, and the facts of this card, as text.",
        f"```sh\nkdstudy evaluate {file} --dataset {card.data.name if card.data else 'NAME'} --root DIR\n```",
        f"""```python
from pathlib import Path
import torch.nn.functional as F
from trainers.teachers import teacher

file = Path("{file}")
student = teacher.load(file, class_names=teacher.read_card(file).class_names)
logits = student(images)["logits"]  # images: RGB, uint8 [B, 3, H, W]; it normalises them itself
logits = F.interpolate(logits, size=images.shape[2:], mode="bilinear", align_corners=True)
classes = logits.argmax(1)
```""",
    ]
    if deployed["onnx"]:
        lines += _onnx(deployed["onnx"], len(card.class_names))
    return "\n\n".join(lines) + "\n"


def _preprocessing(images: Mapping[str, Any]) -> str:
    mean, std = (", ".join(f"{value:g}" for value in images[name]) for name in ("mean", "std"))
    return (
        f"The network takes images {images['shape']} whose channels are {images['channels']} and whose values, from "
        f"{images['values']}, are normalised by `{images['normalised']}` with mean {mean} and std {std}."
    )


def _classes(names: Sequence[str | None]) -> str:
    rows = "\n".join(f"| {index} | {name or 'not known'} |" for index, name in enumerate(names))
    return f"| index | class |\n|---|---|\n{rows}"


def _onnx(onnx: Mapping[str, Any], classes: int) -> list[str]:
    height, width = onnx["size"] or ("height", "width")
    rows, columns = (height, width) if onnx["upsampled"] else ("rows", "columns")
    enlarged = "enlarged to the image's size already" if onnx["upsampled"] else "at the network's own stride"
    fixed = "" if onnx["why_fixed"] is None else " Images of another size have to be resized before."
    return [
        f"`{onnx['file']}` (opset {onnx['opset']}) takes `images`, RGB values 0 to 255 as float32 [batch, 3, {height}, "
        f"{width}], and normalises them itself; it gives `logits` [batch, {classes}, {rows}, {columns}], "
        f"{enlarged}.{fixed}",
        f"""```python
import onnxruntime

session = onnxruntime.InferenceSession("{onnx["file"]}")
(logits,) = session.run(["logits"], {{"images": images}})  # images: RGB, float32 [B, 3, H, W], 0 to 255
classes = logits.argmax(1)
```""",
    ]

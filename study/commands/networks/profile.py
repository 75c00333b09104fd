"""`kdstudy profile`: what a network costs, and the papers' figures beside ours."""

import argparse
import dataclasses
import json
import re
from typing import Any

import torch
from rich import box
from rich.console import Console
from rich.table import Table

from study.commands.options import add_json, add_plugins, load_plugins
from trainers.costs import network as network_cost
from trainers.models import named, papers, profile

DILATION_BLIND_SIZE, SIZE = (1024, 2048), (512, 1024)
"""Where the papers of each convention count; all else is taken at the second."""

CLASSES = 19
"""Of Cityscapes, where the papers count."""

BATCH = 2
"""Of the training step: the smallest that batch normalisation can do with."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options to its parser."""
    add_json(parser)
    add_plugins(parser)
    parser.add_argument("model", nargs="?", metavar="MODEL", help="a network, as in 'deeplabv3(resnet101)'")
    parser.add_argument("--papers", action="store_true", help="the papers' tables beside our counts, instead")
    parser.add_argument("--size", metavar="HxW", help="of the images; by default each at the size the papers use")
    parser.add_argument("--classes", type=int, metavar="N", help="19 by default")


def execute(options: argparse.Namespace) -> int:
    """Run it."""
    load_plugins(options)
    if options.papers and (options.model or options.size or options.classes):
        raise ValueError("--papers has networks, sizes and classes of its own, but got some; leave them out")
    if options.model is None and not options.papers:
        raise ValueError("profile takes a MODEL or --papers, but got neither; give one of them")
    if options.papers:
        print_papers(as_json=options.json)
    else:
        print_profile(options.model, size=options.size, num_classes=options.classes, as_json=options.json)
    return 0


def print_profile(model: str, *, size: str | None, num_classes: int | None, as_json: bool) -> None:
    """Print what `describe` finds."""
    found = describe(model, size=size, num_classes=CLASSES if num_classes is None else num_classes)
    print(json.dumps(found)) if as_json else _show(found)


def describe(model: str, *, size: str | None, num_classes: int) -> dict[str, Any]:
    """Profile one network.

    Args:
        model: its name, as in `deeplabv3(resnet101)`.
        size: height and width such as "512x1024", of everything; None for the papers' sizes.
        num_classes: channels of the logits.

    Returns:
        {"model", "classes", "parameters", "dilation_blind_macs", "convolution_macs", "exact_macs", "latency",
        "training_step"}, where each of the last five holds its "size" and its figures with their units.

    Raises:
        ValueError: unknown model, or no such size.
    """
    config = named(model)
    if num_classes < 1:
        raise ValueError(f"--classes must be at least 1, but got {num_classes}; give the dataset's")
    blind_size, other = (DILATION_BLIND_SIZE, SIZE) if size is None else (_size(size),) * 2
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    counted = profile.macs(config, size=other, num_classes=num_classes)
    blind = profile.macs(config, size=blind_size, num_classes=num_classes).dilation_blind
    taken = network_cost.latency(config, size=other, num_classes=num_classes, device=device)
    memory = network_cost.peak_bytes(config, size=other, num_classes=num_classes, batch=BATCH)
    return {
        "model": model,
        "classes": num_classes,
        "parameters": profile.parameters(config, num_classes=num_classes),
        "dilation_blind_macs": {"size": list(blind_size), "macs": blind},
        "convolution_macs": {"size": list(other), "macs": counted.convolutions},
        "exact_macs": {"size": list(other), "macs": counted.exact},
        "latency": {"size": list(other), "batch": 1, **dataclasses.asdict(taken)},
        "training_step": {"size": list(other), "batch": BATCH, "peak_mib": memory / 2**20},
    }


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    height, width = (int(side) for side in match.groups()) if match else (0, 0)
    if min(height, width) < 32:
        raise ValueError(f"--size must be height x width, at least 32x32, but got {text!r}; write it as in 512x1024")
    return height, width


def _show(found: dict[str, Any]) -> None:
    taken, step = found["latency"], found["training_step"]
    lines = {
        "parameters": f"{found['parameters']:,}",
        "MACs, dilation-blind (CIRKD, RDD)": _giga(found["dilation_blind_macs"]),
        "MACs, convolutions (SKD, IFVD, IDD)": _giga(found["convolution_macs"]),
        "MACs, exact": _giga(found["exact_macs"]),
        "latency": f"{taken['median_ms']:.1f} ms at {_by(taken)}, batch 1, float32, median of {taken['runs']}, "
        f"{taken['device']}, {taken['threads']} CPU threads",
        "peak memory of a training step": f"{step['peak_mib']:.0f} MiB at {_by(step)}, batch {step['batch']}, float32, "
        "SGD, without workspaces",
    }
    console = Console()
    console.print(f"{found['model']}, {found['classes']} classes", markup=False, highlight=False)
    for name, text in lines.items():
        console.print(f"  {name}: {text}", markup=False, highlight=False, soft_wrap=True)


def _giga(count: dict[str, Any]) -> str:
    return f"{count['macs'] / 1e9:.3f} G at {_by(count)}"


def _by(figure: dict[str, Any]) -> str:
    return "x".join(map(str, figure["size"]))


def print_papers(*, as_json: bool) -> None:
    """Print the papers' tables beside our counts; where ours is not the paper's figure, both stand and it says so."""
    if as_json:
        print(json.dumps(list(papers.compared(papers.TABLES))))
        return
    for found in papers.compared(papers.TABLES):
        _show_table(found)


def _show_table(found: dict[str, Any]) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("network")
    for column in ("M parameters", "ours", "G MACs", "ours"):
        table.add_column(column, justify="right")
    table.add_column("")
    for row in found["rows"]:
        figures = (row["parameters_m"], row["gmacs"])
        texts = [text for figure in figures for text in (figure["paper"] or "-", f"{figure['ours']:.3f}")]
        differs = any(figure["reproduced"] is False for figure in figures)
        table.add_row(row["network"], *texts, "not reproduced" if differs else "")
    console = Console()
    convention = found["convention"].replace("_", "-")
    console.print(f"{found['title']}: {convention} MACs at {_by(found)}, {found['classes']} classes", highlight=False)
    if found["note"]:
        console.print(found["note"], highlight=False)
    console.print(table)

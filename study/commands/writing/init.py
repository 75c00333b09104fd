"""`kdstudy init`: write a commented study to begin from."""

import argparse
from pathlib import Path
from string import Template

from study.configuration.outline import NAME_LENGTH

TEMPLATE = Path(__file__).with_name("template.yaml")
PUBLISHED = (
    "data: {{name: {name}, root: /path/to/{name}}}     # its layout: docs/data.md; kdstudy data check {name} --root ..."
)
OWN = """\
# your own images: docs/own-data.md; look at them first: kdstudy data check FILE --sheet sheet.png
data:
  name: folder
  root: /path/to/images
  images: "images/{split}"    # {split} is train, val or test; split: {...} for lists and shares
  labels: "labels/{split}"
  classes: [road, car, person]  # label files hold their places in this list; palette, map and ignore for others"""
DATA = {
    "streets": ("data: {name: streets, size: [64, 96]}    # drawn, needs no files", "[64, 96]"),
    "camvid": (
        "data: {name: camvid, root: /path/to/camvid, size: [120, 160]}    # its layout: docs/data.md",
        "[96, 128]",
    ),
    "cityscapes": (PUBLISHED.format(name="cityscapes"), "[512, 512]"),
    "voc": (PUBLISHED.format(name="voc"), "[320, 320]"),
    "ade20k": (PUBLISHED.format(name="ade20k"), "[320, 320]"),
    "folder": (OWN, "[96, 128]"),
}
"""What the file says of a dataset, and the crop that fits it, by the dataset's name."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options to its parser."""
    parser.add_argument("file", nargs="?", type=Path, default=Path("study.yaml"), metavar="FILE.yaml")
    parser.add_argument("--data", choices=DATA, default="streets", help="the dataset; folder for your own images")


def execute(options: argparse.Namespace) -> int:
    """Run it."""
    if options.file.suffix not in (".yaml", ".yml"):
        raise ValueError(f"FILE must end in .yaml, but got {options.file}; call it {options.file.stem}.yaml")
    data, crop = DATA[options.data]
    text = Template(TEMPLATE.read_text()).substitute(
        name=_name(options.file.stem), data=data, crop=crop, file=options.file
    )
    with options.file.open("x") as file:
        file.write(text)
    print(f"written to {options.file}; then: kdstudy validate {options.file}, and kdstudy run {options.file}")
    return 0


def _name(stem: str) -> str:
    """A study's name from a file's: small letters, digits, - and _."""
    kept = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in stem.lower()).strip("-")
    return kept[:NAME_LENGTH] or "study"

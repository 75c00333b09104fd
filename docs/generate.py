"""Writes the pages of docs/reference from the code: `python docs/generate.py`, which `make docs` calls.

They are committed, so that they can be read without building anything; a test holds them to the code.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

from study.commands import COMMANDS
from study.commands.parser import whole_parser
from study.commands.writing.options import Key, keys

HERE = Path(__file__).parent / "reference"
GROUPS = {
    "writing": "Writing a study",
    "searches": "Running studies",
    "results": "Reading results",
    "trials": "Single trials",
    "networks": "Networks and datasets",
    "machine": "This machine",
}
"""Folders of `study/commands`, by the heading of their commands."""
COMMANDS_HEAD = """`kdstudy COMMAND --help` prints the same. Exit codes: 0 done, 1 the run failed or was stopped, 2
the input is wrong. With `--json`, standard output holds one JSON document and nothing else."""
CONFIGURATION_HEAD = """Every key of a study's file, with its type, range, default and meaning;
[studies.md](../studies.md) shows them at work. `kdstudy options PATH` prints those below a path, and with them those of
your own parts."""
CHOICES = ("data", "student", "arms.NAME.task", "arms.NAME.methods")
"""Keys that hold implementations, each with keys of its own."""
ELSEWHERE = ("teacher.model.",)
"""Keys that are shown under another name: a teacher's network has those of a student's."""


def main() -> None:
    """Write all pages."""
    HERE.mkdir(exist_ok=True)
    for name, page in pages().items():
        (HERE / name).write_text(page)


def pages() -> dict[str, str]:
    """The text of each page, by file name."""
    return {"commands.md": _commands(), "configuration.md": _configuration()}


def _commands() -> str:
    lines = [*_head("Commands", COMMANDS_HEAD)]
    parsers = _below(whole_parser())
    for folder, title in GROUPS.items():
        lines += [f"## {title}", ""]
        for name, command in COMMANDS.items():
            if command.module.startswith(f"{folder}."):
                lines += [f"### kdstudy {name}", "", _sentence(command.text), "", *_options(parsers[name], name)]
    return _text(lines)


def _options(parser: argparse.ArgumentParser, name: str) -> Iterator[str]:
    further = _below(parser)
    for below, one in further.items():
        yield f"`kdstudy {name} {below}`: {_sentence(one.description or '')}"
        yield ""
        yield from _options(one, f"{name} {below}")
    shown = [action for action in parser._actions if not isinstance(action, _HIDDEN)]
    if not shown:
        return
    yield "| option | meaning |"
    yield "|---|---|"
    for action in shown:
        yield f"| `{_cell(_spelled(action))}` | {_cell(_meaning(action))} |"
    yield ""


_HIDDEN = (argparse._HelpAction, argparse._SubParsersAction)


def _below(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parsers of a parser's commands, by name."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def _spelled(action: argparse.Action) -> str:
    """An option with its value, or an argument, in brackets where it may be left out."""
    value = str(action.metavar or (action.dest.upper() if action.option_strings else action.dest))
    if action.choices is not None:
        value = "|".join(map(str, action.choices))
    if not action.option_strings:
        ends = {"?": "[{}]", "+": "{}...", "*": "[{}...]"}
        return ends.get(str(action.nargs), "{}").format(value)
    name = ", ".join(action.option_strings)
    if action.nargs == 0:
        return name
    return f"{name} {value}" + ("..." if action.nargs in ("+", "*") else "")


def _meaning(action: argparse.Action) -> str:
    words = [action.help] if action.help else []
    if action.nargs != 0 and action.default not in (None, False, [], (), "", argparse.SUPPRESS):
        words.append(f"(default {action.default})")
    if action.option_strings and action.required:
        words.append("(required)")
    return " ".join(words)


def _configuration() -> str:
    sections: dict[str, list[Key]] = {"the study": []}
    for key in keys(""):
        if not key.path.startswith((*ELSEWHERE, *(f"{choice}." for choice in CHOICES))):
            section = key.path.partition(".")[0] if "." in key.path else "the study"
            sections.setdefault(section, []).append(key)
    lines = [*_head("Configuration", CONFIGURATION_HEAD)]
    for title, found in sections.items():
        lines += [f"## {title}", "", *_table(found)]
    for choice in CHOICES:
        lines += _implementations(choice)
    return _text(lines)


def _implementations(choice: str) -> Iterator[str]:
    yield f"## {choice}"
    yield ""
    if choice == "student":
        yield "The networks of `student` and of `teacher.model`."
        yield ""
    for name in sorted({key.path.removeprefix(f"{choice}.").partition(".")[0] for key in keys(choice)}):
        yield f"### {choice}: {name}"
        yield ""
        yield from _table(keys(f"{choice}.{name}"), within=f"{choice}.{name}.")


def _table(found: list[Key], within: str = "") -> Iterator[str]:
    yield "| key | type | default | meaning |"
    yield "|---|---|---|---|"
    for key in found:
        default = "required" if key.required else f"`{_cell(key.default)}`" if key.default is not None else ""
        name = key.path.removeprefix(within)
        yield f"| `{name}` | {_cell(key.type)} | {default} | {_cell(key.meaning)} |"
    yield ""


def _head(title: str, text: str) -> Iterator[str]:
    yield from (f"# {title}", "", "*Generated from the code.*", "", text, "")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def _text(lines: list[str]) -> str:
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    main()

"""The command line's commands: one file each, its options beside what it does.

A command's module is imported when the command is called, so `kdstudy --help` needs no PyTorch, and a command that
reads tables no Ray. Installed packages add commands by entry points of the group `study.commands`.
"""

import argparse
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, cast

from trainers.registry import clash, import_foreign, installed, owner

GROUP = "study.commands"


class CommandModule(Protocol):
    """What the module of a command has."""

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Add its options and arguments to its parser."""
        ...

    def execute(self, options: argparse.Namespace) -> int:
        """Do what was asked; the exit code."""
        ...


@dataclass(frozen=True)
class Command:
    """A command by the module that holds it, below `study.commands`, and one line on what it does."""

    module: str
    text: str

    def load(self) -> CommandModule:
        return cast(CommandModule, importlib.import_module(f"{__name__}.{self.module}"))

    def __call__(self, *arguments: str) -> int:
        """Run it with these arguments, from within another command."""
        parser = argparse.ArgumentParser()
        module = self.load()
        module.add_options(parser)
        return module.execute(parser.parse_args(arguments))


COMMANDS: Mapping[str, Command] = {
    "init": Command("writing.init", "write a commented study to begin from"),
    "presets": Command("writing.presets", "list the studies that come with kdstudy, or print one's file"),
    "options": Command("writing.options", "print every key of a study's file: type, range, default, meaning"),
    "schema": Command("writing.schema", "write the JSON Schema of a study's file, for editors"),
    "completion": Command("writing.completion", "print the completion of commands and options for a shell"),
    "validate": Command("searches.validate", "check a study: every fault at once, nothing is started"),
    "plan": Command("machine.plan", "what a study will take: time, memory, disk, and seeds to show a difference"),
    "run": Command("searches.run", "start a study"),
    "resume": Command("searches.resume", "go on with a study, or extend it"),
    "status": Command("searches.status", "trials of a study by arm and state, running or not"),
    "dashboard": Command(
        "searches.dashboard", "look at a study in optuna-dashboard, on a copy that follows its ledger"
    ),
    "replicate": Command("searches.replicate", "train the best settings with new seeds"),
    "rescore": Command("searches.rescore", "judge stored checkpoints of the best on a split"),
    "teacher": Command("searches.teacher", "train, or find, the teacher of a study"),
    "recordings": Command("searches.recordings", "list, or remove, what is recorded of teachers' outputs"),
    "cluster": Command("searches.cluster", "print a file that starts a study on a cluster: KubeRay, ray up or Slurm"),
    "best": Command("results.best", "best configurations of all arms and of every arm, the baseline and the teacher"),
    "verdict": Command("results.verdict", "which method is really better, and how sure that is"),
    "compare": Command(
        "results.compare", "is A better than B? On the same images, and seed by seed where there are several"
    ),
    "tuning-curves": Command(
        "results.tuning_curves", "the best found against cost, and at what budget the answer changes"
    ),
    "replay": Command(
        "results.replay", "what other early stopping, another budget or fewer seeds would have made of a study"
    ),
    "report": Command("results.report", "one HTML page on one or several studies, and its numbers as tables"),
    "ablate": Command(
        "results.ablate", "the papers' ablation tables out of a study's trials, beside the published numbers"
    ),
    "export-table": Command("results.export_table", "write a study's tables as files for other programs"),
    "train": Command("trials.train", "run one trial: a study's arm, or a trial's own configuration"),
    "evaluate": Command("trials.evaluate", "score a checkpoint or a teacher's file"),
    "export": Command("trials.export", "write the student of a trial, with its provenance"),
    "position": Command("trials.position", "train, or find, what IDD reads positions with"),
    "difficulty": Command("trials.difficulty", "draw what a student and its teacher find hard"),
    "data": Command("networks.data", "datasets on disk"),
    "profile": Command("networks.profile", "parameters, operations, latency and memory of a network"),
    "doctor": Command("machine.doctor", "check that trials train on this machine as they should, and write what it is"),
    "convert": Command("networks.convert", "write a published checkpoint as a teacher's file"),
}


@dataclass(frozen=True)
class InstalledCommand(Command):
    """A command of an installed package; `module` is its whole name."""

    def load(self) -> CommandModule:
        module = import_foreign(self.module, f"a command that is {self.text}")
        lacking = [name for name in ("add_options", "execute") if not hasattr(module, name)]
        if lacking:
            raise ValueError(
                f"a command's module must have add_options and execute, but {self.module} lacks "
                f"{' and '.join(lacking)}; write it there"
            )
        return cast(CommandModule, module)


def commands() -> Mapping[str, Command]:
    """All commands by name, those of installed packages after ours."""
    added = {entry.name: InstalledCommand(entry.value, f"of {owner(entry)}") for entry in installed(GROUP)}
    return {**COMMANDS, **{name: command for name, command in added.items() if name not in COMMANDS}}


def refuse_double(name: str) -> None:
    """Raise ValueError where a command that is called has more than one owner."""
    owners = [*(["kdstudy"] if name in COMMANDS else []), *(owner(e) for e in installed(GROUP) if e.name == name)]
    if len(owners) > 1:
        raise ValueError(clash(GROUP, name, owners))

"""A study from Python: what `import study` offers, the same as the commands do.

import study

done = study.run("study.yaml", out="runs/mine")
print(done.best()["top"][0]["arm"], done.trials.to_pandas())
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from analysis import queries
from analysis.pareto import fronts
from analysis.studies.study import Study as Tables
from analysis.studies.study import open_study, study_at
from analysis.verdict.verdict import Verdict, verdict
from study.commands.checked import checked_study
from study.commands.machine.planning import NoiseSource as NoiseSource
from study.commands.machine.planning import StudyPlan, planned
from study.commands.results.report import write_report
from study.commands.searches.driving import refuse_lost_places, verdict_text
from study.commands.searches.status import standing_now
from study.configuration.changes import Changes
from study.configuration.config import StudyConfig
from study.execution import runner, session
from study.folder import create_study, read_outline, starting
from study.ledger.lock import driver_of

PathLike = str | Path


@dataclass(frozen=True)
class Study:
    """A study's folder: its trials, its tables, and what they say; also while it runs.

    Attributes:
        folder: where it lies.
    """

    folder: Path

    @property
    def name(self) -> str:
        return self._tables.name

    @property
    def status(self) -> dict[str, dict[str, int]]:
        """Of each arm the trials by state, and its `budget`; INTERRUPTED are those whose driver is gone."""
        found = standing_now(read_outline(self.folder), self.folder, driven=driver_of(self.folder) is not None)
        return {arm: one.counts for arm, one in found.items()}

    @property
    def trials(self) -> pa.Table:
        """Every ended trial but the teacher's, a row each: state, parameters (`param/...`), scores, cost.

        An Arrow table: `.to_pandas()`, or `polars.from_arrow(...)`.

        Raises:
            ValueError: no trial has ended yet.
        """
        return self._now.trials

    @property
    def reports(self) -> pa.Table:
        """Every evaluation, a row each."""
        return self.table("reports")

    @property
    def class_iou(self) -> pa.Table:
        """IoU in percent of every class at every evaluation."""
        return self.table("class_iou")

    def table(self, name: str) -> pa.Table:
        """One of the tables that docs/results.md lists, as it stands now.

        Raises:
            FileNotFoundError: there is no such table yet, or none of it can be read.
        """
        return self._tables.table(name)

    def best(self, top: int = 1) -> dict[str, Any]:
        """The best configurations over all arms and of each; what `kdstudy best --json` prints.

        Raises:
            ValueError: no trial has ended yet, or `top` is below 1.
        """
        return queries.best(self.folder, top=top)

    def pareto(self, against: Sequence[str] = ()) -> dict[str, Any]:
        """The trials that no other beats in mIoU and what they take; what `kdstudy best --pareto --json` prints of it.

        Args:
            against: costs of one front, of `parameters`, `multiply_accumulates`, `latency_ms`, `peak_memory_mib`; none
                for what the study searched, or one front for each.

        Raises:
            ValueError: no trial has ended yet, or there is no such cost.
        """
        return fronts.plain(fronts.pareto(open_study(self.folder), against))

    def verdict(self) -> Verdict:
        """Which method is really better, and how sure that is; records that one has looked.

        Raises:
            ValueError: no trial has ended yet.
        """
        return verdict(open_study(self.folder))

    def report(self, out: PathLike | None = None, *, pictures: bool | None = None) -> Path:
        """Write the HTML report.

        Args:
            out: the file; `report.html` in the study's folder by default.
            pictures: False for no pictures of the dataset; True for some even where plugins' code has to be run.

        Returns:
            The file.
        """
        return write_report([self.folder], None if out is None else Path(out), pictures=pictures)

    @cached_property
    def _tables(self) -> Tables:
        return study_at(self.folder)

    @property
    def _now(self) -> Tables:
        """Read anew, because a study that runs has more each time."""
        return open_study(self.folder)


def load(study: PathLike, sets: Sequence[str] = (), arms: Sequence[str] = ()) -> StudyConfig:
    """Read and check a study, as `kdstudy validate` does.

    Args:
        study: a preset's name or a YAML file.
        sets: `path=value` settings on top.
        arms: keep only these; none for all.

    Raises:
        ValueError: with every fault of the file, a line each.
    """
    return checked_study(str(study), sets, arms)[0]


def plan(
    study: PathLike,
    *,
    sets: Sequence[str] = (),
    arms: Sequence[str] = (),
    seeds: int | None = None,
    noise: NoiseSource | None = None,
) -> StudyPlan:
    """What a study will take on this machine, from a few real steps of each arm, as `kdstudy plan` says it.

    Args:
        study: a preset's name or a YAML file.
        sets: `path=value` settings on top.
        arms: keep only these; none for all.
        seeds: of replicates of each arm's best setting; None for no replicates.
        noise: where the noise over seeds is taken from; None for nowhere, and then nothing is said of seeds.

    Returns:
        The plan; its `plan.faults` are arms that cannot be trained, its `plan.refused` what will not fit the memory.

    Raises:
        ValueError: the study is wrong, a number too small, or the noise cannot be had.
    """
    return planned(load(study, sets, arms), seeds=seeds, noise=noise)


def run(
    study: PathLike,
    out: PathLike | None = None,
    *,
    sets: Sequence[str] = (),
    arms: Sequence[str] = (),
    address: str = "local",
    time_limit_s: float | None = None,
    verbose: bool = False,
) -> Study:
    """Start a study and run it to its end, as `kdstudy run` does.

    Args:
        study: a preset's name or a YAML file.
        out: a new folder; `runs/NAME` by default.
        sets: `path=value` settings on top.
        arms: run only these; none for all.
        address: of a Ray cluster: local, auto or host:port.
        time_limit_s: seconds after which it stops cleanly, ready for `resume`.
        verbose: show what trials print, on standard error.

    Returns:
        The study; its `status` says whether all its trials are done.

    Raises:
        ValueError: the study is wrong, or the folder is not free.
        KeyboardInterrupt: it was stopped before its first trial; after that a stop leaves what is done.
    """
    session.refuse_client(address)
    config = load(study, sets, arms)
    refuse_lost_places(None if out is None else Path(out), config)
    folder = Path(out or Path("runs") / config.name).absolute()
    create_study(config, folder)
    with starting(folder):
        runner.resume(folder, address, time_limit_s=time_limit_s, verbose=verbose, verdict=verdict_text)
    return Study(folder)


def resume(
    folder: PathLike,
    *,
    address: str = "local",
    time_limit_s: float | None = None,
    changes: Changes | None = None,
    verbose: bool = False,
) -> Study:
    """Go on with a study, as `kdstudy resume` does.

    Args:
        folder: the study's.
        address: of a Ray cluster: local, auto or host:port.
        time_limit_s: seconds after which it stops cleanly, ready for another `resume`.
        changes: what is asked beyond going on: more trials, failed ones again, other settings.
        verbose: show what trials print, on standard error.

    Raises:
        ValueError: there is no study, or a change would make its trials incomparable.
    """
    runner.resume(
        Path(folder),
        address,
        changes=changes or Changes(),
        time_limit_s=time_limit_s,
        verbose=verbose,
        verdict=verdict_text,
    )
    return Study(Path(folder).absolute())


def read(folder: PathLike) -> Study:
    """The study in a folder, whatever state it is in.

    Raises:
        ValueError: there is none.
    """
    study_at(Path(folder))
    return Study(Path(folder).absolute())

"""What the commands that drive a study share: driving it to its end, and what is printed of that."""

import sys
from io import StringIO
from pathlib import Path

from study.commands import COMMANDS
from study.commands.options import FAILED
from study.configuration.changes import Changes
from study.configuration.config import StudyConfig
from study.execution import runner
from study.execution.submission import refuse_copies


def drive(
    folder: Path,
    address: str,
    changes: Changes = runner.NO_CHANGES,
    *,
    time_limit_s: float | None = None,
    verbose: bool = False,
) -> int:
    """Start, or go on with, a study, print its best configurations, and say how to go on; the exit code."""
    try:
        finished = runner.resume(
            folder, address, changes=changes, time_limit_s=time_limit_s, verbose=verbose, verdict=verdict_text
        )
    except KeyboardInterrupt:
        finished = False
    if runner.has_ended_trials(folder):
        COMMANDS["best"](str(folder))
    if finished:
        print(f"written to {folder}", file=sys.stderr)
        return 0
    given_up = runner.given_up_arms(folder)
    if given_up:
        for arm, reason in given_up.items():
            print(f"{arm}: given up {reason}", file=sys.stderr)
        print(f"to run what failed again: kdstudy resume {folder} --retry-failed", file=sys.stderr)
    else:
        print(f"not all trials are done; go on with: kdstudy resume {folder}", file=sys.stderr)
    return FAILED


def verdict_text(folder: Path) -> str:
    """What `kdstudy verdict` prints."""
    # who only starts a study needs none of this
    from rich.console import Console

    from analysis.studies.study import open_study
    from analysis.verdict.verdict import verdict
    from analysis.verdict.view import print_verdict

    text = StringIO()
    print_verdict(verdict(open_study(folder)), Console(file=text, width=120))
    return text.getvalue()


def refuse_lost_places(out: Path | None, config: StudyConfig) -> None:
    """Raise ValueError where a submitted driver would write the study, or its teacher, to a copy that is lost."""
    teacher = config.teacher if config.any_needs_teacher else None
    kept = {"teacher.folder": teacher and teacher.folder, "teacher.record.folder": teacher and teacher.record.folder}
    refuse_copies({"--out": out, **{name: Path(place) for name, place in kept.items() if place}})

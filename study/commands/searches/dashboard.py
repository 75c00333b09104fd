"""`kdstudy dashboard`: a study in optuna-dashboard, on a copy of its ledger that follows it.

What is deleted or edited there is the copy's, and is gone with it.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from study.commands.options import add_folder
from study.folder import read_outline
from study.ledger.following import FollowingCopy
from study.ledger.journal import JOURNAL
from study.ledger.ledger import study_directions
from trainers.resources.heartbeat import beating

EVERY_S = 1.0
"""Seconds between looks at the journal."""
METRIC = "mIoU %"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options to its parser."""
    add_folder(parser)
    parser.add_argument("--port", type=int, default=8080, help="of this machine; 8080")


def execute(options: argparse.Namespace) -> int:
    """Run it, until it is interrupted."""
    outline = read_outline(options.folder)
    if outline.storage != "journal":
        raise ValueError(
            "kdstudy dashboard follows a study's journal, but this one's ledger is a database; give optuna-dashboard "
            "the URL of an account that may only read"
        )
    journal = options.folder / JOURNAL
    if not journal.exists():
        raise ValueError(
            f"a study must have begun to be looked at, but there is no {journal}; start it: kdstudy resume"
        )
    try:
        from optuna_dashboard import run_server
    except ImportError:
        raise ValueError(
            "kdstudy dashboard needs optuna-dashboard, but it is not installed; pip install 'kdstudy[dashboard]'"
        ) from None
    with tempfile.TemporaryDirectory() as place:
        copy = FollowingCopy(options.folder, Path(place) / JOURNAL, study_directions(outline))
        storage = copy.storage([METRIC, *outline.search.objectives[1:]])
        with beating(_Follower(copy), every_s=EVERY_S):
            run_server(storage, host="localhost", port=options.port)
    return 0


class _Follower:
    """Keeps a copy up with its journal for as long as that can be followed, and says when it no longer can."""

    def __init__(self, copy: FollowingCopy) -> None:
        self._copy, self._lost = copy, False

    def __call__(self) -> None:
        if self._lost:
            return
        try:
            self._copy.follow()
        except (OSError, ValueError) as error:
            self._lost = True
            print(f"kdstudy: {error}", file=sys.stderr)

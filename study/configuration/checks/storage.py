"""Where a study keeps its trials, their checkpoints and decoded images: can that be reached from Python at all?

Nothing is connected to: a study may be checked where its database cannot be seen.
"""

from collections.abc import Iterable
from pathlib import Path

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from study.configuration.checks.findings import Finding, fault
from study.configuration.checks.teacher import unwritable
from trainers.addresses import is_url, redacted
from trainers.checkpoints.store import refuse_url


def check_checkpoints(place: str | None) -> Iterable[Finding]:
    """A URL of checkpoints is of a kind that is known."""
    if place is not None and is_url(place):
        try:
            refuse_url(place)
        except ValueError as error:
            yield fault(f"execution.checkpoints: {error}")


def check_decoded_images(folder: str | None) -> Iterable[Finding]:
    """The place of decoded images is a folder, because they are mapped into memory."""
    if folder is not None and is_url(folder):
        yield fault(
            f"execution.decoded_images.folder: must be a folder, but got {redacted(folder)}; name one on a disk of the "
            "nodes' own"
        )


def check_storage(storage: str) -> Iterable[Finding]:
    """It is the journal, or a database whose driver is installed."""
    if storage == "journal":
        return
    try:
        url = make_url(storage)
        url.get_dialect().import_dbapi()
    except ArgumentError:
        yield fault(
            f"storage: must be journal or the URL of a database that SQLAlchemy knows, but got {redacted(storage)!r}; "
            "for example postgresql+psycopg://user@host/name"
        )
    except ImportError as error:
        yield fault(
            f"storage: {redacted(storage)} needs a driver that is not installed ({error}); install it in the "
            "environment of kdstudy, or name another: dialect+driver://..."
        )
    else:
        yield from _check_file(url)


def _check_file(url: URL) -> Iterable[Finding]:
    """SQLite's file lies where every later start finds it, and can be written."""
    if url.get_backend_name() != "sqlite":
        return
    if not url.database or not Path(url.database).is_absolute():
        yield fault(
            f"storage: a file of SQLite must have an absolute path, or a later start elsewhere would not find the "
            f"study's trials, but got {url}; write sqlite:////folder/name.sqlite"
        )
    elif not Path(url.database).parent.is_dir():
        yield fault(f"storage: the folder of SQLite's file must exist, but got {url}; make it first")
    elif why := unwritable(Path(url.database)) if not Path(url.database).exists() else None:
        yield fault(f"storage: SQLite's file must be in a folder that can be written, but {why}; name another")

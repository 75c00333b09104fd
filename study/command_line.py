"""The command line: what runs a command, and how it ends.

No traceback is shown: that of a fault of kdstudy's own is kept in a file, which the message names.
"""

import argparse
import errno
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from study.commands import commands, refuse_double
from study.commands.options import FAILED, WRONG_INPUT
from study.commands.parser import command_parser
from study.execution.stopping import HaltedError, write_fault
from trainers.addresses import redacted
from trainers.plugins.faults import place_in_plugin

STARTS_RAY = ("plan", "run", "resume", "replicate", "teacher")
"""Commands that a person waits for while Python imports PyTorch and Ray, or Ray starts."""


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    """The options of a command; its module is imported, and where that takes seconds a line comes first."""
    refuse_double(arguments[0] if arguments else "")
    if arguments and arguments[0] in STARTS_RAY and not {"-h", "--help"} & set(arguments):
        print("checking the study ...", file=sys.stderr, flush=True)
    return command_parser(arguments).parse_args(arguments)


def run(arguments: Sequence[str], begin: Callable[[], None]) -> int:
    """Run a command and give its exit code.

    Args:
        arguments: of the command line.
        begin: called between reading them and running the command.
    """
    try:
        options = parsed(arguments)
        begin()
        _refuse_urls(options)
        code = commands()[options.command].load().execute(options)
        sys.stdout.flush()
        return code
    except ValueError as error:
        place = place_in_plugin(error)
        return _refused(f"plugin, {place}: {error}; mend it there" if place else str(error), WRONG_INPUT)
    except HaltedError as error:
        return _refused(str(error), FAILED)
    except BrokenPipeError:  # whoever reads has enough, as `head` has after ten lines
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains as it ends
        return 0
    except OSError as error:
        return _refused(*_file_fault(error))
    except KeyboardInterrupt:
        return _refused("stopped", FAILED)
    except Exception as error:  # noqa: BLE001  # nothing is lost: it is kept whole
        return _refused(_own_fault(error), FAILED)


def _refused(message: str, code: int) -> int:
    for line in message.splitlines() or [""]:
        print(f"kdstudy: {line}", file=sys.stderr)
    return code


def _file_fault(error: OSError) -> tuple[str, int]:
    """What is wrong with a file, with what to do about it, and the exit code."""
    if error.errno is None:  # raised by kdstudy with a sentence of its own
        return str(error), WRONG_INPUT
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{write_fault(error)}; free some space and give the same command again", FAILED
    if error.errno == errno.EROFS:
        return f"{write_fault(error)}; name another path, or have it made writable", WRONG_INPUT
    what = f"{error.filename or 'a file'}: {error.strerror}"
    if isinstance(error, _NAMES_PATH) or error.errno in (errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL):
        return f"{what}; name another path", WRONG_INPUT
    return f"{what}; see that this machine reaches its files, and give the same command again", FAILED


_NAMES_PATH = (FileExistsError, FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError)


def _own_fault(error: Exception) -> str:
    """Keep the traceback of a fault that nobody foresaw, and say where."""
    text = "".join(traceback.format_exception(error))
    what = f"{type(error).__name__}: {error}".splitlines()[0]
    try:
        with tempfile.NamedTemporaryFile("w", prefix="kdstudy-", suffix=".txt", delete=False) as kept:
            kept.write(text)
    except OSError:
        return f"{what}\n{text}"  # better seen than lost
    if place := place_in_plugin(error):
        return f"a plugin must not fail, but {place}: {what}; mend it there; what led to it is in {kept.name}"
    return f"a fault of kdstudy's own: {what}; what led to it is in {kept.name}: please report it with that file"


def _refuse_urls(options: argparse.Namespace) -> None:
    """Raise ValueError where a URL stands for a folder or a file: a path has lost one of its slashes."""
    given = (
        (name, value) for name, one in vars(options).items() for value in (one if isinstance(one, list) else [one])
    )
    for name, value in given:
        scheme, colon, rest = str(value).partition(":/")
        if isinstance(value, Path) and colon and scheme.isalnum():
            raise ValueError(
                f"{name} must be on a local disk or NFS, but got {redacted(f'{scheme}://{rest}')}: a study's ledger, "
                "lock and tables need files that can be locked and renamed; name a folder, and put the trials' "
                f"checkpoints there: --set execution.checkpoints={scheme}://..."
            )

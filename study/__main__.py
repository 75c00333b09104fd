"""The command line: `kdstudy`, also `python -m study`.

Exit codes: 0 done, 1 the run failed or was stopped, 2 the input is wrong. With --json, standard output holds one JSON
document and nothing else; what is meant for the eye goes to standard error.
"""

import argparse
import errno
import sys
from collections.abc import Sequence
from pathlib import Path

from study.commands import commands, refuse_double
from study.commands.options import FAILED, WRONG_INPUT
from study.execution.stopping import HaltedError, write_fault
from trainers.addresses import redacted


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        refuse_double(arguments[0] if arguments else "")
        options = _parser(arguments).parse_args(arguments)
        _refuse_urls(options)
        return commands()[options.command].load().execute(options)
    except ValueError as error:
        for line in str(error).splitlines():
            print(f"kdstudy: {line}", file=sys.stderr)
        return WRONG_INPUT
    except (FileExistsError, FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError) as error:
        print(f"kdstudy: {error.filename}: {error.strerror}; name another path", file=sys.stderr)
        return WRONG_INPUT
    except HaltedError as error:
        print(f"kdstudy: {error}", file=sys.stderr)
        return FAILED
    except OSError as error:
        if error.errno == errno.EROFS:
            print(f"kdstudy: {write_fault(error)}; name another path, or have it made writable", file=sys.stderr)
            return WRONG_INPUT
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        print(f"kdstudy: {write_fault(error)}; free some space and give the same command again", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("kdstudy: stopped", file=sys.stderr)
        return FAILED


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


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """The parser of all commands, with the options of the one that is called: only its module is imported."""
    parser = argparse.ArgumentParser(prog="kdstudy", description=(__doc__ or "").partition("\n\n")[2])
    known = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    for name, command in commands().items():
        sub = known.add_parser(name, help=command.text, description=command.text)
        if name in arguments[:1]:
            command.load().add_options(sub)
    return parser


if __name__ == "__main__":
    raise SystemExit(main())

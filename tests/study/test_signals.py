"""A signal at any moment of a command ends in a line and exit code 1, with nothing half done."""

import signal
import subprocess
import sys

import pytest

from study import command_line
from study.__main__ import main
from study.execution.session import _signals_kept
from study.execution.stopping import Drain

EARLY = """
import signal, sys
from study import command_line
from study.__main__ import main
command_line.parsed = lambda _: signal.raise_signal(signal.Signals[sys.argv[1]])
main([])
"""
BOTH = ("SIGTERM", "SIGINT")


@pytest.mark.parametrize("name", BOTH)
def test_while_modules_are_imported(name: str) -> None:
    done = subprocess.run([sys.executable, "-c", EARLY, name], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "kdstudy: stopped\n")


@pytest.mark.parametrize("name", BOTH)
def test_while_a_command_is_at_work(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)]
    monkeypatch.setattr(command_line, "_refuse_urls", lambda _: signal.raise_signal(signal.Signals[name]))
    assert main(["best", "nowhere"]) == 1
    assert capsys.readouterr().err == "kdstudy: stopped\n"
    assert [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)] == before


@pytest.mark.parametrize("name", BOTH)
def test_while_ray_starts_one_is_kept_until_it_has_started(name: str) -> None:
    from ray._private import utils

    before = signal.getsignal(signal.SIGTERM)
    start = _signals_kept()
    start.__enter__()
    utils.set_sigterm_handler(lambda *_: sys.exit(15))  # as Ray does
    signal.raise_signal(signal.Signals[name])
    with pytest.raises(KeyboardInterrupt):
        start.__exit__(None, None, None)
    assert signal.getsignal(signal.SIGTERM) == before
    with _signals_kept():
        """Nothing came."""


def test_one_whose_exception_was_lost_is_acted_on_before_the_loop() -> None:
    drain = Drain()
    with drain.listening():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            drain.looping().__enter__()

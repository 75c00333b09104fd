"""Which failures a trial would meet again at the same place, and what is told of them."""

from pathlib import Path

import pytest

from study.execution.recording.failures import Failure, deterministic_place, raised_before, reason

HEADING = "Traceback (most recent call last):\n"
BUG = f'{HEADING}  File "/a/loss.py", line 7, in terms\n    a + b\nTypeError: no such sum\n'
PLACE = "TypeError at /a/loss.py, line 7"
PEER = f'{HEADING}  File "/t/ddp.py", line 3, in wait\nRuntimeError: [gloo/pair.cc:9] Connection closed by peer\n'
LOST = f'{HEADING}  File "/r/w.py", line 3, in get\nray.exceptions.ActorDiedError: the actor died\n'


def raising(kind: str, message: str = "x") -> str:
    return f'{HEADING}  File "/a/b.py", line 1, in f\n{kind}: {message}\n'


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (BUG, PLACE),
        (raising("lab.errors.ShapeError"), "ShapeError at /a/b.py, line 1"),
        # one rank failed, the others because of it
        (f"[Rank 0,2 Error Snippet]:\n{PEER}\n[Rank 1 Error Snippet]:\n{BUG}", PLACE),
        (f"[Rank 0 Error Snippet]:\n{BUG}\n[Rank 1 Error Snippet]:\n{PEER}", PLACE),
        (f"Failure # 1 (then)\n{LOST}\nFailure # 2 (now)\n{BUG}", PLACE),
        (f"Failure # 1 (then)\n{BUG}\nFailure # 2 (now)\nThe actor died unexpectedly", None),
        (f"Failure # 1 (then)\n{BUG}\nFailure # 2 (now)\n{LOST}", None),
        (PEER, None),
        (LOST, None),
        (raising("torch.distributed.DistBackendError", "NCCL error"), None),
        # another setting may do better
        (raising("trainers.distillation.objective.DivergedError"), None),
        (raising("torch.OutOfMemoryError"), None),
        (raising("RuntimeError", "DefaultCPUAllocator: can't allocate memory"), None),
        ("killed by signal: Killed", None),
        ("", None),
    ],
)
def test_only_what_the_code_raises_by_itself_is_raised_again(text: str, place: str | None) -> None:
    assert deterministic_place(text) == place


def test_the_second_time_at_one_place_is_known(tmp_path: Path) -> None:
    assert raised_before(tmp_path, 1, BUG) is None
    assert raised_before(tmp_path, 1, LOST) is None
    assert raised_before(tmp_path, 1, BUG) == PLACE
    assert raised_before(tmp_path, 1, raising("KeyError")) is None
    # another driver: what it raised may be mended
    assert raised_before(tmp_path, 2, raising("KeyError")) is None
    assert raised_before(tmp_path, 2, raising("KeyError")) == "KeyError at /a/b.py, line 1"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (BUG, "TypeError: no such sum"),
        (raising("RuntimeError", "Error(s) in loading:\n\tsize mismatch"), "RuntimeError: Error(s) in loading:"),
        (f"[Rank 0 Error Snippet]:\n{PEER}\n[Rank 1 Error Snippet]:\n{BUG}", "TypeError: no such sum"),
        (LOST, "ActorDiedError: the actor died"),
        (f'{HEADING}  File "/a.py", line 7, in f\n    assert x\nAssertionError\n', "AssertionError"),
    ],
)
def test_the_reason_is_what_was_raised(text: str, why: str) -> None:
    assert reason(Failure(text=text, starts=1, peak_mib=None)) == why

"""A replay as text: what it would have saved and lost, and what it rests on."""

from collections.abc import Iterator, Sequence

from rich.console import Console

from analysis.printing import numbers, say, wide
from analysis.replay.rank import RungRank
from analysis.replay.replay import ArmReplay, Replay
from analysis.replay.seeds import SeedsReplay


def print_replay(found: Replay, console: Console | None = None) -> None:
    """Print it."""
    console = console or wide()
    for line in answers(found):
        say(console, line)
    if found.arms:
        table = numbers("arm", "early stopping", "trials", "finished", "cost", "saved", "best mIoU %", "regret, points")
        for arm in found.arms:
            counts = (arm.trials, arm.finished)
            whole = (f"{bounds.low:g}" if bounds.low == bounds.high else f"{bounds.low:g} to {bounds.high:g}"
                     for bounds in counts)  # fmt: skip
            table.add_row(arm.arm, str(arm.schedule), *whole, str(arm.cost), str(arm.saved), str(arm.best),
                          str(arm.regret))  # fmt: skip
        console.print()
        console.print(table)
    for line in notes(found):
        say(console, line)


def print_seeds(found: SeedsReplay, console: Console | None = None) -> None:
    """Print the verdict with fewer seeds, and that with all."""
    console = console or wide()
    for number, lines in ((found.seeds, found.answer), (found.all_seeds, found.full_answer)):
        say(console, f"with {number} seeds:")
        for line in lines:
            say(console, f"  {line}")


def answers(found: Replay) -> Iterator[str]:
    """Would the winner have been stopped, and how early the order of trials is known."""
    for arm in found.arms:
        yield _winner(arm)
    for name in dict.fromkeys(rank.arm for rank in found.ranks):
        yield from _ranks(name, [rank for rank in found.ranks if rank.arm == name])


def _winner(arm: ArmReplay) -> str:
    said = f"{arm.arm}, {arm.schedule}: "
    if arm.winner is None:
        return f"{said}no trial has finished, so there is no winner that could have been stopped"
    winner = f"the winner, {arm.arm}-{arm.winner},"
    if arm.winner_stopped == 0:
        return f"{said}{winner} would not have been begun"
    if arm.winner_stopped is not None:
        return f"{said}{winner} would have been stopped at iteration {arm.winner_stopped}"
    if not arm.winner_kept:
        return f"{said}{winner} may have been stopped: it depends on what was not trained"
    return f"{said}{winner} would have finished"


def _ranks(arm: str, ranks: Sequence[RungRank]) -> Iterator[str]:
    known = [f"{rank.tau:.2f} at {rank.iteration}" for rank in ranks if rank.tau is not None]
    if not known:
        yield f"{arm}: too few finished trials for a rank correlation of early evaluations with the end"
        return
    which = (
        "that early stopping let finish, which are more alike than all" if ranks[0].selected else "that nobody chose"
    )
    compared = max(rank.trials for rank in ranks)
    yield (
        f"{arm}: Kendall's rank correlation of an evaluation with the end is {', '.join(known)} iterations, over "
        f"{compared} trials {which}"
    )


def notes(found: Replay) -> Iterator[str]:
    """What the replay rests on."""
    if any(arm.priced for arm in found.arms):
        yield "cost and saved are in whole trials of the plain student, regret is below the best finished trial stored"
    elif found.arms:
        yield "cost and saved are in iterations, regret is below the best finished trial stored"
    yield from (f"{arm.arm}, {arm.schedule}: {arm.unused:.2f} of the budget is left, for trials that were never drawn"
                for arm in found.arms if arm.unused)  # fmt: skip
    yield from found.notes

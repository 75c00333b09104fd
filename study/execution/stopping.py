"""How a driver is stopped: SIGTERM, Ctrl-C and the end of its time have running trials leave a checkpoint and stop.

They are asked for it through a file that their processes look at after every step, on whatever node, and have a bounded
time for it. Tune ends its loop by itself once no trial is left, and at once on SIGUSR1; its own handler of Ctrl-C,
which does not wait for anything, is switched off in `study.execution.session`. A disk that takes no more ends the
driver too, and nothing of that moment is written: what ran goes on from its checkpoint, as after a kill.
"""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

from study.ledger.deletion import DeletedArmError
from trainers.checkpoints.requests import Request, Requests

Result = TypeVar("Result")

DRAIN_S = 10.0
"""Seconds that running trials get; a preempted machine is gone 30 s after SIGTERM, and Ray's end takes some of them."""

NOTICES_S = 2.0
"""Seconds between looks for nodes that are about to be taken away."""


class HaltedError(Exception):
    """The study cannot go on now, but can be resumed; the message says why and how."""


def write_fault(error: OSError) -> str:
    """What went wrong with which file."""
    return f"{error.filename or 'a file of the study'} could not be written: {error.strerror or error}"


class NodeNotices:
    """Notices that nodes are about to be taken away: running trials are asked to leave a checkpoint, and go on.

    All of them are, because which of their workers are on such a node is known to Ray alone. A trial that loses a
    worker then goes on from that checkpoint.

    Args:
        draining: gives the identifiers of such nodes.
        requests: asks the trials.
        say: shows a line to the user.
        clock: seconds; nodes are looked at every NOTICES_S of it.
    """

    def __init__(
        self,
        draining: Callable[[], set[str]],
        requests: Requests,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._draining, self._requests, self._say, self._clock = draining, requests, say, clock
        self._known: set[str] = set()
        self._looked = clock()

    def look(self) -> None:
        """Ask for checkpoints if there is a notice that was not there before."""
        if self._clock() - self._looked < NOTICES_S:
            return
        found, self._looked = self._draining(), self._clock()
        if found - self._known:
            with suppress(OSError):  # of a full disk, which takes no checkpoint either
                self._requests.ask(Request.CHECKPOINT)
            self._say("a node is about to be taken away: running trials leave a checkpoint now")
        self._known = found


class Drain:
    """Whether the driver is being stopped, and which trials were stopped for that.

    Args:
        requests: asks running trials to stop; None where there are none to ask.

    Attributes:
        left: Tune's ids of trials that were stopped to go on under the next driver.
        fault: what kept a trial's checkpoint, the ledger or a table from being written, or the ledger from being read.
        remedy: what to do about it before the study is resumed.
    """

    def __init__(self, requests: Requests | None = None) -> None:
        self._requests = requests
        self.left: set[str] = set()
        self.fault: str | None = None
        self.remedy = "free some space"
        self._until: float | None = None
        self._limit: float | None = None
        self._looping = self._interrupted = False

    def limit(self, seconds: float) -> None:
        """Begin by itself once so many seconds have passed."""
        self._limit = time.monotonic() + seconds

    @property
    def on(self) -> bool:
        """Whether the driver is being stopped: it was asked to, or its time is over."""
        if self._until is None and self._limit is not None and time.monotonic() > self._limit:
            self.begin()
        return self._until is not None

    @property
    def over(self) -> bool:
        """Whether what still runs is to be abandoned."""
        return self._until is not None and time.monotonic() > self._until

    def begin(self) -> None:
        self._until = time.monotonic() + DRAIN_S
        if self._requests is not None:
            with suppress(OSError):  # of a full disk, which takes no checkpoint either
                self._requests.ask(Request.STOP)

    @staticmethod
    def end() -> None:
        """Have Tune end its loop after this step."""
        signal.raise_signal(signal.SIGUSR1)

    def halt(self, fault: str, remedy: str = "free some space") -> None:
        """End Tune's loop because of a fault; what is guarded does nothing from now on.

        Args:
            fault: in a line.
            remedy: what to do about it before the study is resumed.
        """
        if self.fault is None:
            self.fault, self.remedy = fault, remedy
        self.end()

    def guard(self, act: Callable[[], Result], otherwise: Result) -> Result:
        """What `act` gives; `otherwise` once there is a fault, which an OSError or a DeletedArmError in `act` is.

        Tune would take an exception for the trial's, and run that again.
        """
        if self.fault is not None:
            return otherwise
        try:
            return act()
        except OSError as error:
            self.halt(write_fault(error))
            return otherwise
        except DeletedArmError as error:
            self.halt(str(error), remedy="mend the ledger")
            return otherwise

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Handle signals; outside of `looping`, both of them end the driver as Ctrl-C ends any program."""
        handled = {number: signal.signal(number, self._handle) for number in (signal.SIGTERM, signal.SIGINT)}
        # Tune replaces this one in its loop
        handled[signal.SIGUSR1] = signal.signal(signal.SIGUSR1, _interrupt)
        try:
            yield
        finally:
            for number, before in handled.items():
                signal.signal(number, before)

    @contextmanager
    def looping(self) -> Iterator[None]:
        """Around Tune's loop.

        Raises:
            KeyboardInterrupt: a signal came before, and what it raised was lost on its way.
        """
        if self._interrupted:
            raise KeyboardInterrupt
        self._looping = True
        try:
            yield
        finally:
            self._looping = False

    def _handle(self, number: int, frame: object) -> None:
        if not self._looping:
            self._interrupted = True
            _interrupt(number, frame)
        if self._until is None:
            self.begin()
        else:  # asked twice
            self.end()


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt

"""Faults to which a study that runs is put, each at a moment that is drawn; and the study they are meant for.

A fault is a function of the target and of the draws. It returns once the driver has ended or will end by itself, and
what it has done is undone: whatever the driver makes of it, the next one must go on to the same study.
"""

import contextlib
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import psutil

from study.execution.local_ray.watchdog import GCS
from study.folder import read_config
from study.ledger.ledger import trials_by_arm
from tests.e2e.disks import FILLER, fill
from tests.e2e.drivers import ENOUGH_S, TRIAL, below, driver, in_process, wait_while_alive
from tests.e2e.studies import SMALL_NETWORK, WHOLE, journal, tear_journal
from tests.stores import Bucket
from tests.study.conftest import write_study
from trainers.checkpoints.base import iteration_of
from trainers.data import IGNORE, Split, camvid, streets

STORE = "s3://bucket/studies"
OWN_FAULT = "a fault of kdstudy's own"
"""In the line of an exception that nobody foresaw; the traceback is in a file then."""


@dataclass(kw_only=True)
class Target:
    """A study that is disturbed.

    Attributes:
        folder: of the study.
        file: from which it was begun.
        data: the folder of its images.
        environment: of its drivers.
        disk: on which its folder lies, and that may be filled; None where it may not.
        bucket: in which its checkpoints lie; None for its folder.
        started: its driver.
        drivers: process numbers of all its drivers.
        said: what its drivers have said.
    """

    folder: Path
    file: Path
    data: Path
    environment: Mapping[str, str]
    disk: Path | None = None
    bucket: Bucket | None = None
    started: "subprocess.Popen[str]" = field(init=False)
    drivers: list[int] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def start(self) -> None:
        """Start its driver, the first one or the next."""
        store = ("--set", f"execution.checkpoints={STORE}") if self.bucket else ()
        begun = (self.folder / "study.json").exists()
        command = ("resume", self.folder) if begun else ("run", self.file, *store, "--out", self.folder)
        self.started = driver(*command, cwd=self.folder.parent, environment=self.environment)
        self.drivers.append(self.started.pid)

    def ended(self) -> int:
        """Wait for the driver's end; its exit code."""
        if self.started.stderr and not self.started.stderr.closed:
            self.said.append(self.started.communicate(timeout=ENOUGH_S)[1])
        return self.started.returncode

    def kill(self) -> None:
        self.started.kill()
        self.started.wait()

    def refused_again(self) -> int:
        """Start another driver that is to end by itself; its exit code."""
        self.ended()
        self.start()
        return self.ended()


Fault = Callable[[Target, random.Random], None]


def write_dataset(root: Path) -> None:
    """Drawn street scenes, 8 to train on and 4 to be judged on, as files in CamVid's layout."""
    drawn = streets.Config(size=(32, 48), train_images=8, val_images=4)
    splits: tuple[Split, ...] = ("train", "val")
    for split in splits:
        data = streets.Dataset(drawn, split)
        for kind in (split, f"{split}annot"):
            (root / kind).mkdir(parents=True)
        for index in range(len(data)):
            image, label = data.load(index)
            cv2.imwrite(str(root / split / f"{index}.png"), image[..., ::-1])
            cv2.imwrite(str(root / f"{split}annot" / f"{index}.png"), np.where(label == IGNORE, camvid.VOID, label))
        pairs = (f"{split}/{index}.png {split}annot/{index}.png\n" for index in range(len(data)))
        (root / f"{split}.txt").write_text("".join(pairs))


def write_whole(place: Path, data: Path) -> Path:
    """The file of a study with everything in it, on the images at `data`."""
    values = {**WHOLE, "student": SMALL_NETWORK, "data": {"name": "camvid", "root": str(data)}}
    return write_study(place, values)


# what dies


def kill_driver(target: Target, draws: random.Random) -> None:
    target.kill()


def kill_raylet(target: Target, draws: random.Random) -> None:
    kill_below(target, "raylet/raylet")


def kill_control(target: Target, draws: random.Random) -> None:
    kill_below(target, GCS)


def kill_trial(target: Target, draws: random.Random) -> None:
    kill_below(target, TRIAL)


def kill_below(target: Target, name: str) -> None:
    """Kill what a driver has started under a name, once it has."""
    wait_while_alive(target.started, lambda: below(target.started.pid, name))
    for process in below(target.started.pid, name):
        with contextlib.suppress(psutil.Error):  # it ended meanwhile
            process.kill()


def stop_and_continue_driver(target: Target, draws: random.Random) -> None:
    target.started.send_signal(signal.SIGSTOP)
    time.sleep(draws.uniform(0, 5))
    target.started.send_signal(signal.SIGCONT)


# who is asked to stop


def terminate_driver(target: Target, draws: random.Random) -> None:
    wait_while_alive(target.started, lambda: handles_sigterm(target.started.pid))
    target.started.send_signal(draws.choice((signal.SIGTERM, signal.SIGINT)))


def signal_at_the_start(target: Target, draws: random.Random) -> None:
    """To a driver of its own, between its first own step and its first trial; before, none handles signals."""
    target.kill()
    target.ended()
    target.start()
    wait_while_alive(target.started, lambda: handles_sigterm(target.started.pid))
    time.sleep(draws.uniform(0, 12))
    target.started.send_signal(draws.choice((signal.SIGTERM, signal.SIGINT)))


def handles_sigterm(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


# what is not written whole


def tear_the_journal(target: Target, draws: random.Random) -> None:
    target.kill()
    if journal(target.folder):
        tear_journal(target.folder, '{"op_code": 6, "tri')


def tear_a_table(target: Target, draws: random.Random) -> None:
    target.kill()
    for path in target.folder.glob("tables/reports/live-*.arrows"):
        with path.open("ab") as file:
            file.write(b"\xff\xff\xff\xff\x88\x01\x00\x00half a batch")


def cut_a_checkpoint(target: Target, draws: random.Random) -> None:
    target.kill()
    if files := files_of_running_trials(target):
        with draws.choice(files).open("r+b") as file:
            file.truncate(draws.randrange(100))


def flip_a_bit_of_a_checkpoint(target: Target, draws: random.Random) -> None:
    target.kill()
    if files := files_of_running_trials(target):
        flip_a_bit(draws.choice(files), draws)


def files_of_running_trials(target: Target) -> list[Path]:
    """Of the newest checkpoint of every trial that has not ended; those of others may be all that is left of rows."""
    if not (target.folder / "study.json").exists():
        return []
    arms = trials_by_arm(read_config(target.folder), target.folder)
    found = []
    for arm, trials in arms.items():
        for trial in trials:
            places = target.folder.glob(f"trials/{arm}-{trial.number:05}/[ci]*_[0-9]*")
            if not trial.state.is_finished() and (kept := sorted(places, key=lambda path: iteration_of(path.name))):
                found += sorted(path for path in kept[-1].iterdir() if path.stat().st_size)
    return found


def flip_a_bit(path: Path, draws: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[draws.randrange(len(content))] ^= 1 << draws.randrange(8)
    path.write_bytes(content)


def flip_a_bit_of_a_copy(target: Target, draws: random.Random) -> None:
    """Of a file of any kind: what looks at the study, and a driver that has no time, end in lines."""
    target.kill()
    if not target.folder.exists():
        return
    copy = target.folder.parent / "flipped" / "run"
    shutil.copytree(target.folder, copy)
    flipped = flip_one_of_any_kind(copy, draws)
    for command in ("status", "best", "verdict", "report"):
        target.said.append(f"{command} with a bit of {flipped} flipped: {looked_at(command, copy)}")
    if target.bucket is None:  # a copy would write to the checkpoints of the first one
        asked = ("resume", copy, "--time-limit", "1s")
        short = driver(*asked, cwd=target.folder.parent, environment=target.environment)
        target.said.append(f"resume with a bit of {flipped} flipped: {short.communicate(timeout=ENOUGH_S)[1]}")
        assert short.returncode in (0, 1, 2), target.said[-1]
    shutil.rmtree(copy.parent)


def flip_one_of_any_kind(folder: Path, draws: random.Random) -> Path | None:
    kinds: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.stat().st_size:
            kinds.setdefault(kind_of(path.relative_to(folder)), []).append(path)
    if not kinds:
        return None
    flipped = draws.choice(kinds[draws.choice(sorted(kinds))])
    flip_a_bit(flipped, draws)
    return flipped


def kind_of(path: Path) -> str:
    """One for all files that are written by the same code."""
    first, *rest = path.parts
    return first if not rest else f"{first}/{path.name}" if first == "trials" else f"{first}{path.suffix}"


def looked_at(command: str, folder: Path) -> str:
    """What a command says of a study on standard error."""
    where = ("--out", folder.parent / "report.html") if command == "report" else ()
    done = in_process(command, folder, *where, cwd=folder.parent)
    assert done.returncode in (0, 1, 2), f"{command} of {folder} ended with {done.returncode}"
    return done.stderr


# what is away for a while


def fill_the_disk(target: Target, draws: random.Random) -> None:
    assert target.disk is not None
    fill(target.disk, leave=draws.choice((0, 4096, 50_000, 300_000)))
    code = target.refused_again() if draws.random() < 0.3 else target.ended()
    (target.disk / FILLER).unlink()
    assert code == 0 or (code == 1 and "space" in target.said[-1]), target.said[-1]


def take_the_dataset_away(target: Target, draws: random.Random) -> None:
    away = target.data.with_name("away")
    target.data.rename(away)
    if draws.random() < 0.5:
        target.kill()
        assert target.refused_again() in (0, 1, 2)
    else:
        time.sleep(draws.uniform(0, 5))
    away.rename(target.data)


def take_the_store_away(target: Target, draws: random.Random) -> None:
    assert target.bucket is not None
    target.bucket.stop()
    time.sleep(draws.uniform(0, 40))  # a trial waits for it for half a minute
    target.bucket.start()


ANYWHERE: tuple[Fault, ...] = (
    kill_driver,
    kill_raylet,
    kill_control,
    kill_trial,
    stop_and_continue_driver,
    terminate_driver,
    signal_at_the_start,
    tear_the_journal,
    tear_a_table,
    cut_a_checkpoint,
    flip_a_bit_of_a_checkpoint,
    flip_a_bit_of_a_copy,
    take_the_dataset_away,
)
ON_A_DISK: tuple[Fault, ...] = (fill_the_disk,)
IN_A_STORE: tuple[Fault, ...] = (take_the_store_away,)
OF_FILES: tuple[Fault, ...] = (cut_a_checkpoint, flip_a_bit_of_a_checkpoint)
"""What can be done to any study, to one on a disk of its own, and to one with its checkpoints in a store, or not."""


class FaultOrder:
    """Every fault once, in an order that is drawn, and then all of them again.

    Args:
        draws: of random numbers, which give the order.
    """

    def __init__(self, draws: random.Random) -> None:
        self._draws = draws
        self._left: list[Fault] = []

    def draw(self, target: Target) -> Fault:
        """The next one that can be done to a study."""
        possible = possible_for(target)
        if not any(fault in possible for fault in self._left):
            every = [*ANYWHERE, *ON_A_DISK, *IN_A_STORE]
            self._left += self._draws.sample(every, len(every))
        drawn = next(fault for fault in self._left if fault in possible)
        self._left.remove(drawn)
        return drawn


def possible_for(target: Target) -> set[Fault]:
    """What can be done to a study: with the checkpoints in a store there are none to damage."""
    possible = {*ANYWHERE, *(ON_A_DISK if target.disk else ())}
    return {*possible.difference(OF_FILES), *IN_A_STORE} if target.bucket else possible


def wrong_in(said: str) -> list[str]:
    """What no driver may say."""
    return [sign for sign in ("Traceback", OWN_FAULT) if sign in said]

"""`kdstudy train`: one trial outside a study, with Ray Train workers or without Ray."""

import argparse
import json
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from study.commands.checked import typed_study
from study.commands.lookup.trials import find_trial
from study.commands.options import FAILED, add_out, add_study
from study.configuration.config import TEACHER, ExecutionConfig, StudyConfig
from study.configuration.loading import read_mapping
from study.configuration.plugins import with_plugins
from study.configuration.settings import uncovered, with_settings
from study.execution import session
from study.execution.capacity import ClusterCapacity
from study.execution.ray_train import permanent_error, train_arguments
from study.execution.recording.failures import Failure, reason
from study.execution.report_keys import ERROR, STOPPED
from study.folder import read_config
from trainers.checkpoints.interval import Interval
from trainers.checkpoints.requests import Request
from trainers.config import ConfigError, TeacherFile, TrialConfig, absolute, canonical_json, content_hash, parse, plain
from trainers.context import LocalContext
from trainers.plugins.content import COPIES, copied
from trainers.plugins.faults import place_in_plugin
from trainers.registry import nearest
from trainers.teachers import teacher as teachers
from trainers.worker import TRACEBACK, attempt

TRIAL = "trial.json"
BEST = "best"
"""What `--trial` takes for the best trial of a study, or of an arm."""


class StoppableContext(LocalContext):
    """A trial in its command's own process, which a first Ctrl-C or SIGTERM stops at a checkpoint, a second at once."""

    _request = Request.NONE

    def requested(self) -> Request:
        return self._request

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Handle signals; Python lets only the main thread do so."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

        def stop(_number: int, _frame: object) -> None:
            self._request = Request.STOP
            restore()

        def restore() -> None:
            for number, handler in before.items():
                signal.signal(number, handler)

        for number in before:
            signal.signal(number, stop)
        try:
            yield
        finally:
            restore()


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add its options to its parser."""
    add_study(parser)
    add_out(parser)
    parser.add_argument("--arm", help="arm of the study, at its spaces' defaults; the first by default")
    parser.add_argument(
        "--trial", metavar="ARM-N", help="train this trial again, or the `best`; STUDY is then its study's folder"
    )
    parser.add_argument("--workers", type=int, default=0, help="Ray Train workers; 0 (default) runs without Ray")


def execute(options: argparse.Namespace) -> int:
    """Run it."""
    named = {name: getattr(options, name) for name in ("arm", "trial", "out", "workers")}
    try:
        outcome = train(options.study, options.sets, **named)
    except Exception as error:
        if place_in_plugin(error):  # its author debugs it here
            traceback.print_exception(error)
        raise
    if STOPPED in outcome:
        at = outcome["iteration"]
        print(f"kdstudy: stopped at iteration {at}; the same command goes on from it", file=sys.stderr)
        return FAILED
    if TRACEBACK in outcome:
        print(outcome[TRACEBACK], file=sys.stderr)
    for name, value in outcome.items():
        if name != TRACEBACK and not name.startswith("mask/"):  # a table's worth, two for every class
            print(f"{name}: {value:.4f}" if isinstance(value, float) else f"{name}: {value}")
    return FAILED if "error" in outcome else 0


def train(
    study: str,
    sets: Sequence[str],
    *,
    arm: str | None,
    out: Path | None,
    workers: int,
    trial: str | None = None,
) -> Mapping[str, Any]:
    """Train one trial, or go on with it where it was stopped.

    Args:
        study: a preset's name or a study's YAML file, of which an arm is trained at its spaces' defaults; or a file
            with a trial's own configuration, such as the `config` column of a trials table; or a study's folder, of
            which `trial` is trained again.
        sets: `path=value` settings on top.
        arm: of the study; its first by default, "teacher" for the teacher.
        out: folder of the trial; runs/<study>-<arm> by default.
        workers: Ray Train workers; 0 trains in this process, without Ray.
        trial: "ARM-N", or "N" in `arm`, of the study in the folder `study`; or "best", over all arms or in `arm`.

    Returns:
        The last report, or "error", or "stopped" by Ctrl-C or SIGTERM at "iteration", where a checkpoint was left.

    Raises:
        ValueError: wrong input.
    """
    if workers:
        sets = [*sets, f"{'teacher.' if arm == TEACHER else ''}train.workers={workers}"]
    name, execution, config = _again(study, sets, trial, arm) if trial else _named(study, sets, arm)
    folder = (out or Path("runs") / name).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    kept = {name: copied(name, plugin, folder / COPIES) for name, plugin in config.plugins.items()}
    config = replace(config, plugins=kept)
    held = folder / TRIAL
    if held.exists() and not _is(config, held):
        raise ValueError(f"--out must be a new folder or hold this trial, but {folder} holds another; choose another")
    held.write_text(canonical_json(config))
    if workers == 0:
        context = StoppableContext(folder, device=torch.device("cuda" if torch.cuda.is_available() else "cpu"))
        every = Interval.read(execution.checkpoint_every)
        with context.listening():
            return attempt(plain(config), context, execution.loader_workers, checkpoint_every=every)
    return _with_ray(execution, config, folder)


def _named(study: str, sets: Sequence[str], arm: str | None) -> tuple[str, ExecutionConfig, TrialConfig]:
    """The name of the folder to train in, how to train, and what: an arm of a study, or a trial's own file."""
    if _is_trial(study):
        values, faults = with_plugins(with_settings(read_mapping(Path(study)), sets), Path(study).parent)
        if faults:
            raise ConfigError(faults)
        return Path(study).stem, ExecutionConfig(), absolute(parse(TrialConfig, values))
    config = typed_study(study, sets)
    arm = arm or next(iter(config.arms))
    return f"{config.name}-{arm}", config.execution, arm_trial(config, arm, sets)


def _again(folder: str, sets: Sequence[str], trial: str, arm: str | None) -> tuple[str, ExecutionConfig, TrialConfig]:
    """The same of a trial that ended."""
    config = read_config(Path(folder))
    row = find_trial(config, Path(folder), None if trial == BEST else trial, arm)
    values = with_settings(json.loads(row["config"]), sets)
    # where the study has them now, which may have been moved
    values["plugins"] = plain({name: config.plugins[name] for name in values.get("plugins", {})})
    return f"{config.name}-{row['arm']}-{row['trial']}", config.execution, absolute(parse(TrialConfig, values))


def _is_trial(study: str) -> bool:
    path = Path(study)
    return path.is_file() and "arms" not in read_mapping(path)


def arm_trial(config: StudyConfig, arm: str, sets: Sequence[str] = ()) -> TrialConfig:
    """The trial of an arm at its spaces' defaults, or the teacher's.

    Args:
        config: the study, with the settings.
        arm: of the study.
        sets: the settings; they stand above what the arm fixes or searches, which is said on standard error.

    Raises:
        ValueError: no such arm, or its teacher is not trained yet.
    """
    if arm == TEACHER:
        return config.teacher_trial()
    if arm not in config.arms:
        raise ValueError(f"--arm must be an arm of {config.name}, but got {arm!r}; {nearest(arm, config.arms)}")
    teacher = None
    if config.needs_teacher(arm):
        path = config.teacher_path
        if not path.exists():
            raise ValueError(f"{arm} distils, but its teacher is not trained yet; first: kdstudy teacher {config.name}")
        teacher = TeacherFile(path=str(path), sha256=teachers.sha256(path))
    config, covered = uncovered(config, arm, sets)
    for setting in covered:
        print(f"kdstudy: {setting.setting} stands in the place of what {arm} fixes or searches", file=sys.stderr)
    typed = {setting.path: setting.value for setting in covered}
    return config.trial(arm, config.space(arm).defaults(typed), teacher)


def _is(config: TrialConfig, held: Path) -> bool:
    """Whether a trial's file is of this trial, which an earlier version may have written without later fields."""
    try:
        return content_hash(parse(TrialConfig, json.loads(held.read_text()))) == content_hash(config)
    except ValueError:
        return False


def _with_ray(execution: ExecutionConfig, trial: TrialConfig, folder: Path) -> Mapping[str, Any]:
    with session.connected(execution, "local"):
        ClusterCapacity(execution).check(trial.train.workers)
        from ray.train import WorkerGroupError
        from ray.train.torch import TorchTrainer

        arguments = train_arguments(execution, trial, folder, place=str(folder))
        try:
            return dict(TorchTrainer(**arguments).fit().return_value or {})
        except WorkerGroupError as error:
            if permanent := permanent_error(error):
                return {ERROR: permanent.message, TRACEBACK: str(error)}
            failure = Failure(text=str(error), starts=execution.max_attempts, peak_mib=None)
            return {ERROR: reason(failure), TRACEBACK: str(error)}

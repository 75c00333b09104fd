"""Weights & Biases: a run for each trial.

Ray's own WandbLoggerCallback starts two processes for each trial, never looks at what fails in them, and begins another
run whenever a trial goes on. Here all runs are in the driver's process, which W&B allows by now, and keep their ids.
"""

import os
from pathlib import Path
from typing import Any

from ray.air.constants import TRAINING_ITERATION
from ray.tune.logger import LoggerCallback

from study.configuration.trackers.config import WandbConfig
from study.execution.trackers.tracked import study_id


class WandbRuns(LoggerCallback):  # type: ignore[misc]
    """Runs of a project, in one group.

    Args:
        config: of the study.
        study: the study's name.
        folder: where runs lie that are offline, and what is on its way of others.
    """

    def __init__(self, config: WandbConfig, study: str, folder: Path) -> None:
        self._config, self._study, self._folder = config, study, folder
        self._prefix = study_id(study, folder)
        self._runs: dict[str, Any] = {}

    def setup(self, *_: Any, **__: Any) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        mode = self._config.mode or os.environ.get("WANDB_MODE", "online")
        if mode == "online" and not wandb.api.api_key:  # it would ask on the terminal
            raise ValueError("no API key is known; wandb login, or set WANDB_API_KEY, or mode: offline")

    def _run(self, name: str, config: Any = None) -> Any:
        import wandb

        self._folder.mkdir(parents=True, exist_ok=True)
        settings = wandb.Settings(
            silent=True, console="off", disable_git=True, save_code=False, x_disable_stats=True
        )  # of the driver, which trains nothing
        return wandb.init(
            project=self._config.project or self._study,
            entity=self._config.entity,
            mode=self._config.mode,
            id=f"{self._prefix}-{name}",
            name=name,
            group=self._study,
            config=config,
            dir=str(self._folder),
            resume="allow",
            reinit="create_new",
            settings=settings,
        )

    def log_trial_start(self, trial: Any) -> None:
        if trial.name not in self._runs:
            self._runs[trial.name] = self._run(trial.name, dict(trial.config))

    def log_trial_result(self, iteration: int, trial: Any, result: dict[str, Any]) -> None:
        values = {name: value for name, value in result.items() if name != TRAINING_ITERATION}
        self._runs[trial.name].log(values, step=result[TRAINING_ITERATION])

    def log_trial_end(self, trial: Any, failed: bool = False) -> None:
        if run := self._runs.pop(trial.name, None):
            run.finish(exit_code=int(failed))

    def log_verdict(self, text: str) -> None:
        """Put it into the summary of a run of the study's own."""
        with self._run("study") as run:
            run.summary["verdict"] = text

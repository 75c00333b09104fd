"""MLflow: Ray's own callback, but a trial that goes on keeps its run, and a report is one request and not fifty."""

import logging
import os
import time
from pathlib import Path
from typing import Any

from ray.air.constants import TRAINING_ITERATION
from ray.air.integrations.mlflow import MLflowLoggerCallback

from study.configuration.trackers.config import MlflowConfig
from study.execution.trackers.tracked import plain_name, study_id

NOTE = "mlflow.note.content"
"""The tag that MLflow shows as a run's description."""
NOTE_CHARACTERS = 5000
"""Of a tag's value, that every store of MLflow takes."""


class MlflowRuns(MLflowLoggerCallback):  # type: ignore[misc]
    """Runs of an experiment.

    Args:
        config: of the study.
        study: the study's name.
        folder: of the database where none is named.
    """

    def __init__(self, config: MlflowConfig, study: str, folder: Path) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.ERROR)
        self._folder = folder
        uri = config.uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{folder / 'mlflow.db'}"
        tags = {"study": study, "study_id": study_id(study, folder)}
        super().__init__(uri, experiment_name=config.experiment or study, tags=tags)

    def setup(self, *arguments: Any, **options: Any) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        super().setup(*arguments, **options)
        from mlflow import MlflowClient

        self._client = MlflowClient(self.tracking_uri)

    def _run_of(self, name: str) -> str:
        """The run of a trial, or of the study, which goes on where there is one."""
        tags, experiment = {**self.tags, "trial_name": name}, self.mlflow_util.experiment_id
        where = f"tags.study_id = '{tags['study_id']}' and tags.trial_name = '{name}'"
        for run in self._client.search_runs([experiment], where):
            self._client.update_run(run.info.run_id, status="RUNNING")
            return str(run.info.run_id)
        return str(self._client.create_run(experiment, run_name=name, tags=tags).info.run_id)

    def log_trial_start(self, trial: Any) -> None:
        self._trial_runs.setdefault(trial, self._run_of(str(trial)))
        super().log_trial_start(trial)

    def log_trial_result(self, iteration: int, trial: Any, result: dict[str, Any]) -> None:
        from mlflow.entities import Metric

        now, step = int(1000 * time.time()), result[TRAINING_ITERATION]
        metrics = [
            Metric(plain_name(name), float(value), now, step)
            for name, value in result.items()
            if name != TRAINING_ITERATION
        ]
        self._client.log_batch(self._trial_runs[trial], metrics=metrics)

    def log_verdict(self, text: str) -> None:
        """Make it the description of a run of the study's own."""
        run = self._run_of("study")
        self._client.set_tag(run, NOTE, text[:NOTE_CHARACTERS])
        self._client.set_terminated(run)

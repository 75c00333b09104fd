"""What a study says about experiment trackers, which get what its tables get."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

SWITCHES = ("tensorboard", "csv")
"""Trackers that have no keys of their own."""


@dataclass(frozen=True, kw_only=True)
class WandbConfig:
    """Runs of Weights & Biases, one a trial; the API key comes from `wandb login` or WANDB_API_KEY.

    Attributes:
        project: of the runs; None for the study's name.
        entity: user or team; None for the user's default.
        mode: online, or offline for files that `wandb sync` uploads later; None for WANDB_MODE, or else online.
    """

    project: str | None = None
    entity: str | None = None
    mode: Literal["online", "offline"] | None = None


@dataclass(frozen=True, kw_only=True)
class MlflowConfig:
    """Runs of MLflow, one a trial; a server's credentials come from MLflow's own environment variables.

    Attributes:
        uri: of the tracking server, or of a database such as sqlite:////folder/mlflow.db; None for
            MLFLOW_TRACKING_URI, or else a database in the study's folder.
        experiment: of the runs; None for the study's name.
    """

    uri: str | None = None
    experiment: str | None = None


@dataclass(frozen=True, kw_only=True)
class TrackersConfig:
    """The trackers of a study; they change no number, and may be changed at any time.

    Attributes:
        tensorboard: write TensorBoard's event files, of each trial in `trackers/tensorboard/ARM-N`. All trackers may
            also stand in a list: `trackers: [tensorboard, csv, wandb]`, `trackers: [csv, {wandb: {mode: offline}}]`.
        csv: write each trial's metrics to `trackers/csv/ARM-N/progress.csv`.
        wandb: report to Weights & Biases.
        mlflow: report to MLflow.
    """

    tensorboard: bool = False
    csv: bool = False
    wandb: WandbConfig | None = None
    mlflow: MlflowConfig | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Those that are switched on."""
        return tuple(name for name, one in vars(self).items() if one not in (None, False))


def _read(value: Any) -> Any:
    if value is None:
        return {}
    if isinstance(value, list | tuple):
        return dict(map(_listed, value))
    if isinstance(value, Mapping | TrackersConfig):
        return value
    raise PydanticCustomError("trackers", "must be a list such as [tensorboard, csv, wandb], or a mapping")


def _listed(one: Any) -> tuple[Any, Any]:
    """Name and value of an entry of a list: a name, or a name with its keys."""
    if isinstance(one, str):
        return one, True if one in SWITCHES else {}
    if isinstance(one, Mapping) and len(one) == 1:
        return next(iter(one.items()))
    raise PydanticCustomError("trackers", "each must be a name, or one name with its keys, as {wandb: {mode: offline}}")


Trackers = Annotated[TrackersConfig, BeforeValidator(_read)]

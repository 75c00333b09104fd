"""What travels between searcher, ledger, scheduler, trial and recorder: a suggested trial, and one that is run.

Inside a process both are dataclasses. A `TrialRun` crosses two borders as plain values: as the configuration of a Tune
trial, and as the user attribute of its Optuna trial in the ledger. `plain` and `parse` are the two sides of each.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from study.configuration.config import ExecutionConfig
from trainers.config import TrialConfig, parse, plain
from trainers.data.decoded.plan import DecodedPlan


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """A trial that the ledger wants to be run next.

    Attributes:
        arm: of the study.
        number: of the Optuna trial, within its arm.
        attempt: 1 at the first start of this trial, one more after each driver that died over it.
        values: of the searched parameters, by path.
        retry_of: number of the failed trial that this one repeats, None where it repeats none.
    """

    arm: str
    number: int
    attempt: int
    values: Mapping[str, Any]
    retry_of: int | None = None


@dataclass(frozen=True, kw_only=True)
class TrialRun(Suggestion):
    """A suggested trial with all that its processes need; the keys of its plain form are the names of these fields.

    Attributes:
        trial: what is trained.
        hash: of `trial`, by `content_hash`.
        budget: iterations of a trial that is not stopped early.
        prunable: whether early stopping may end it.
        execution: of the study.
        folder: the trial's own, an absolute path.
        checkpoints: folder or URL where its checkpoints lie; studies older than this field keep them in `folder`.
        decoded: where decoded images are kept for other trials; None for nowhere.
    """

    trial: TrialConfig
    hash: str
    budget: int
    prunable: bool
    execution: ExecutionConfig
    folder: str
    checkpoints: str = ""
    decoded: DecodedPlan | None = None

    @property
    def name(self) -> str:
        """The arm and the number, for messages."""
        return f"{self.arm} {self.number}"

    def plain(self) -> dict[str, Any]:
        """The run as values that JSON has."""
        values: dict[str, Any] = plain(self)
        return values

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> "TrialRun":
        """Read the plain form, also of an earlier version; keys that Tune or a later version adds are passed over.

        Raises:
            ConfigError: with every fault and its path.
        """
        known = {f.name: values[f.name] for f in fields(cls) if f.name in values}
        return parse(cls, {**known, "checkpoints": known.get("checkpoints") or known.get("folder")})

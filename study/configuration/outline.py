"""StudyOutline: what can be read of a study without importing any of its parts.

Which trials a study has, and how many it shall have, is known from its name, its storage and its arms' budgets. Its
dataset, networks, weightings and methods stay unread: their Configs stand beside their implementations, and those
import PyTorch, OpenCV, or what a plug-in part needs, which takes seconds and may not be installed where someone only
asks how far a study is.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Ge, MinLen
from pydantic import ConfigDict, StringConstraints

from study.configuration.tuning import EQUAL, NO_CAP, BudgetConfig, SearchConfig
from study.measures import MIOU, Objective

NAME_LENGTH = 60
"""Characters that the name of a study or an arm has at most."""

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=NAME_LENGTH)]


@dataclass(frozen=True, kw_only=True)
class ArmOutline:
    """The budget of an arm.

    Attributes:
        trials: trials that end COMPLETE or PRUNED; failed ones are replaced, replicates by their like. Beside a budget
            by cost a cap, and may be left out.
        budget: what the arm may spend, in place of the study's budget.
        space: names or files of search spaces; their union is searched.
    """

    trials: Annotated[int, Ge(1)] = NO_CAP
    budget: BudgetConfig | None = None
    space: tuple[str, ...] = ()

    @property
    def replicated(self) -> bool:
        """Whether the arm searches nothing and only repeats its setting with other seeds."""
        return not self.space


@dataclass(frozen=True, kw_only=True)
class StudyOutline:
    """A study's name, storage and arms. Read from a whole study, it passes over all that it does not have.

    Attributes:
        name: also names the study's folder and its Optuna studies.
        storage: "journal" for a file in the study's folder, or an RDB URL that Optuna knows.
        arms: budgets by the arms' names.
        budget: what each arm may spend; None where only the numbers of trials limit the arms.
        tuning_rules: by which the arms are tuned; see `study.configuration.tuning`.
        search: the sampler, and what it searches.
    """

    __pydantic_config__ = ConfigDict(extra="ignore")

    name: Name
    storage: str = "journal"
    arms: Annotated[Mapping[Name, ArmOutline], MinLen(1)]
    budget: BudgetConfig | None = None
    tuning_rules: Literal[1, 2] = EQUAL
    search: SearchConfig = field(default_factory=SearchConfig)

    def budget_of(self, arm: str) -> BudgetConfig | None:
        """What an arm may spend; None where only the number of its trials limits it, as of seeds and the teacher."""
        if arm not in self.arms or self.arms[arm].replicated:
            return None
        return self.arms[arm].budget or self.budget

    def objectives_of(self, arm: str) -> tuple[Objective, ...]:
        """What an arm's trials are valued by: mIoU first, and alone in an arm that searches nothing."""
        searches = arm in self.arms and not self.arms[arm].replicated
        return self.search.objectives if searches else (MIOU,)

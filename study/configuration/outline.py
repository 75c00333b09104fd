"""StudyOutline: what can be read of a study without importing any of its parts.

Which trials a study has, and how many it shall have, is known from its name, its storage and its arms' budgets. Its
dataset, networks, weightings and methods stay unread: their Configs stand beside their implementations, and those
import PyTorch, OpenCV, or what a plug-in part needs, which takes seconds and may not be installed where someone only
asks how far a study is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, MinLen
from pydantic import ConfigDict, StringConstraints

NAME_LENGTH = 60
"""Characters that the name of a study or an arm has at most."""

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=NAME_LENGTH)]


@dataclass(frozen=True, kw_only=True)
class ArmOutline:
    """The budget of an arm.

    Attributes:
        trials: trials that end COMPLETE or PRUNED; failed ones are replaced, replicates by their like.
    """

    trials: Annotated[int, Ge(1)]


@dataclass(frozen=True, kw_only=True)
class StudyOutline:
    """A study's name, storage and arms. Read from a whole study, it passes over all that it does not have.

    Attributes:
        name: also names the study's folder and its Optuna studies.
        storage: "journal" for a file in the study's folder, or an RDB URL that Optuna knows.
        arms: budgets by the arms' names.
    """

    __pydantic_config__ = ConfigDict(extra="ignore")

    name: Name
    storage: str = "journal"
    arms: Annotated[Mapping[Name, ArmOutline], MinLen(1)]

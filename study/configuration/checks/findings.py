"""What a check finds: faults, with which a study cannot start, and warnings, with which it can."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple


class Finding(NamedTuple):
    """One line: where, the law, the value, the remedy."""

    text: str
    is_fault: bool

    def at(self, where: str) -> "Finding":
        """The same, of the part of the configuration at this path."""
        return self._replace(text=f"{where}: {self.text}")


def fault(text: str) -> Finding:
    """With this the study cannot start."""
    return Finding(text, is_fault=True)


def warning(text: str) -> Finding:
    """With this it can, but hardly as meant."""
    return Finding(text, is_fault=False)


@dataclass
class Findings:
    """All that was found, each line once, in the order in which it was found."""

    faults: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def add(self, found: "Iterable[Finding] | Findings") -> None:
        """Keep what is new of this."""
        if isinstance(found, Findings):
            found = [*map(fault, found.faults), *map(warning, found.warnings)]
        for finding in found:
            lines = self.faults if finding.is_fault else self.warnings
            if finding.text not in lines:
                lines.append(finding.text)

"""What is the machine's fault and no trial's: a full disk, files that are gone, a store out of reach.

Every other trial would meet it too, and the same trial goes on once it is mended. So a study stops for it, and leaves
its trials as they are.
"""

import re


class MachineFaultError(ValueError):
    """A fault of the machine, or of the files that a trial reads and writes; the message names what to mend."""


def is_machine_fault(error: str) -> bool:
    """Whether a line that begins with an exception's name, with or without its module's, tells of such a fault."""
    kind = re.match(r"(?:\w+\.)*(\w+):", error)
    return kind is not None and kind[1] in _names(MachineFaultError)


def _names(kind: type[MachineFaultError]) -> set[str]:
    """Of a class and of those below it, as far as their modules are imported."""
    return {kind.__name__}.union(*map(_names, kind.__subclasses__()))

"""Sizes and taps as a person reads them."""

from collections.abc import Mapping

UNITS = {"GiB": 2**30, "MiB": 2**20, "KiB": 2**10}


def bytes_text(size: float) -> str:
    """A size in the largest unit of which there is one."""
    unit = next((unit for unit, of_unit in UNITS.items() if size >= of_unit), "KiB")
    return f"{size / UNITS[unit]:.1f} {unit}"


def taps_text(taps: Mapping[str, int]) -> str:
    """Each tap with its number of iterations."""
    return ", ".join(f"{tap} of {length} iterations" for tap, length in taps.items())

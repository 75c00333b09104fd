"""Addresses of checkpoints, and the places where they lie: paths, or URLs that pyarrow.fs knows."""

from pathlib import Path
from urllib.parse import urlsplit, urlunsplit


def is_url(place: str | Path) -> bool:
    """Whether a place is a URL, and no path."""
    return "://" in str(place)


def joined(place: str, *below: str) -> str:
    """The place below another one; a URL keeps its query."""
    if not is_url(place):
        return str(Path(place, *below))
    parts = urlsplit(place)
    return urlunsplit(parts._replace(path="/".join((parts.path.rstrip("/"), *below))))


def parted(address: str | Path) -> tuple[str, str]:
    """The place that an address lies in, and its name there; the inverse of `joined`."""
    if not is_url(address):
        return str(Path(address).parent), Path(address).name
    parts = urlsplit(str(address))
    folder, _, name = parts.path.rstrip("/").rpartition("/")
    return urlunsplit(parts._replace(path=folder)), name


def redacted(place: str | Path) -> str:
    """A place for the eye: of a URL neither parameters nor a password."""
    if not is_url(place):
        return str(place)
    parts = urlsplit(str(place))
    user, at, host = parts.netloc.rpartition("@")
    return urlunsplit((parts.scheme, f"{user.partition(':')[0]}{at}{host}", parts.path, "", ""))

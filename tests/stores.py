"""A store that speaks S3's protocol over HTTP, on this machine, for as long as a test needs it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.request import Request, urlopen

import pytest
from moto.server import ThreadedMotoServer
from pyarrow import fs

from trainers.checkpoints.base import Checkpoints

HOST = "127.0.0.1"
KEY = "not-a-real-key"


class Bucket:
    """An empty bucket, on a server of its own.

    Attributes:
        environment: what a process needs to reach it.
    """

    url = "s3://bucket"

    def __init__(self) -> None:
        self._port = 0  # any that is free
        self.start()
        self.environment = {
            "AWS_ENDPOINT_URL": f"http://{HOST}:{self._port}",
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": KEY,
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def start(self) -> None:
        """Start the server; after a stop where it was before."""
        self._server = ThreadedMotoServer(ip_address=HOST, port=self._port, verbose=False)
        self._server.start()
        _, self._port = self._server.get_host_and_port()

    def stop(self) -> None:
        self._server.stop()

    def make(self) -> None:
        """Make the bucket, and forget those of other servers: all that a process has started share what they hold."""
        endpoint = self.environment["AWS_ENDPOINT_URL"]
        urlopen(Request(f"{endpoint}/moto-api/reset", method="POST")).close()
        fs.S3FileSystem(allow_bucket_creation=True, endpoint_override=endpoint).create_dir("bucket")

    def read(self, url: str) -> bytes:
        store, path = fs.FileSystem.from_uri(url)
        content: bytes = store.open_input_file(path).read()
        return content


def names(place: str) -> list[str]:
    """Of all files below a folder or URL, sorted."""
    store, path = _opened(place)
    found = store.get_file_info(fs.FileSelector(path, recursive=True, allow_not_found=True))
    return sorted(file.path.removeprefix(f"{path}/") for file in found if file.type == fs.FileType.File)


def _opened(place: str) -> tuple[fs.FileSystem, str]:
    return fs.FileSystem.from_uri(place) if "://" in place else (fs.LocalFileSystem(), place)


@contextmanager
def s3_bucket() -> Iterator[Bucket]:
    """A bucket whose server this process, and what it starts, finds by the environment."""
    bucket = Bucket()
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        for name, value in bucket.environment.items():
            patch.setenv(name, value)
        bucket.make()
        try:
            yield bucket
        finally:
            bucket.stop()


def changed(address: str, name: str, content: bytes | None) -> None:
    """Give a file of a checkpoint other content, or remove it."""
    store, folder = _opened(address)
    if content is None:
        store.delete_file(f"{folder}/{name}")
        return
    with store.open_output_stream(f"{folder}/{name}") as stream:
        stream.write(content)


def there(checkpoints: Checkpoints) -> dict[str, set[str]]:
    """Everything at the place of a trial's checkpoints: files by the folder that they are in."""
    found: dict[str, set[str]] = {}
    for name in names(checkpoints.place):
        folder, _, file = name.rpartition("/")
        found.setdefault(folder, set()).add(file)
    return found

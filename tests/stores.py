"""A store that speaks S3's protocol over HTTP, on this machine, for as long as a test needs it."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from moto.server import ThreadedMotoServer
from pyarrow import fs

from trainers.checkpoints.base import Checkpoints

KEY = "not-a-real-key"


class Bucket:
    """An empty bucket, on a server of its own.

    Attributes:
        environment: what a process needs to reach it.
    """

    url = "s3://bucket"

    def __init__(self, server: ThreadedMotoServer) -> None:
        self.server = server
        host, port = server.get_host_and_port()
        self.environment = {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": KEY,
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def make(self) -> None:
        endpoint = self.environment["AWS_ENDPOINT_URL"]
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
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]  # its own also after a stop in between
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    bucket = Bucket(server)
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        for name, value in bucket.environment.items():
            patch.setenv(name, value)
        bucket.make()
        try:
            yield bucket
        finally:
            server.stop()


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

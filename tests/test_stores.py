"""The store for tests: what a test finds in it is its own."""

from pyarrow import fs

from tests.stores import Bucket, names, s3_bucket


def test_a_bucket_is_empty_whatever_the_last_one_held_and_keeps_its_files_over_a_stop() -> None:
    for _ in range(2):
        with s3_bucket() as bucket:
            assert names(Bucket.url) == []
            store, path = fs.FileSystem.from_uri(f"{Bucket.url}/file")
            with store.open_output_stream(path) as file:
                file.write(b"content")
            bucket.stop()
            bucket.start()
            assert names(Bucket.url) == ["file"]

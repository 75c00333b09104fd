"""What differs between Linux and macOS, each as the other would find it."""

import os
import resource
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from trainers.resources.peak_memory import forget_peak, peak_mib
from trainers.resources.processors import usable_cpus
from trainers.teachers.recordings import key


def test_the_processors_of_this_process_are_counted_where_the_system_knows_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 5, 6}, raising=False)
    assert usable_cpus() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert usable_cpus() == 8
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert usable_cpus() == 1


@pytest.mark.parametrize(("system", "counted"), [("linux", 300 * 1024), ("darwin", 300 * 2**20)])
def test_a_resident_peak_is_in_mib_on_both(system: str, counted: int, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        ru_maxrss = counted

    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(resource, "getrusage", lambda _: Usage)
    assert peak_mib(torch.device("cpu")) == 300


def test_a_system_without_proc_forgets_no_peak_and_still_names_its_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    read = Path.read_text

    def refuse(path: Path, *arguments: Any, **options: Any) -> Any:
        if str(path).startswith("/proc"):
            raise FileNotFoundError(path)
        return read(path, *arguments, **options)

    monkeypatch.setattr(Path, "read_text", refuse)
    monkeypatch.setattr(Path, "write_text", refuse)
    forget_peak(torch.device("cpu"))
    key._processor.cache_clear()
    monkeypatch.setattr(key.platform, "system", lambda: "Darwin")
    monkeypatch.setattr(key.platform, "machine", lambda: "arm64")
    monkeypatch.setattr(key.platform, "processor", lambda: "arm")
    try:
        assert key._processor() == "Darwin arm64 arm"
    finally:
        key._processor.cache_clear()

"""The note of the peak memory outlives the process."""

import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT
from trainers.resources.peak_memory import noted_peak, read_noted_peak

KILLED = """
import os, signal, sys, time
from pathlib import Path
from trainers.resources.peak_memory import noted_peak
folder = Path(sys.argv[1])
with noted_peak(folder, 1):
    taken = bytearray(300 * 2**20)
    # until it is noted; the parent gives up where it never is
    while not (note := folder / "peak_mib-1").exists() or float(note.read_text() or 0) <= 300:
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_peak_of_a_killed_process_is_known(tmp_path: Path) -> None:
    assert read_noted_peak(tmp_path) is None
    with noted_peak(tmp_path):
        pass
    own = read_noted_peak(tmp_path)
    assert own is not None and own > 50
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False, cwd=ROOT, timeout=300)
    assert float((tmp_path / "peak_mib-1").read_text()) > 300
    assert read_noted_peak(tmp_path) == max(own, float((tmp_path / "peak_mib-1").read_text()))

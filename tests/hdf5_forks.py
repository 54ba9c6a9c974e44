"""Files of HDF5 read in forks of the test's own process, which have imported everything, in place of new ones."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from linnet.weights import hdf5

FORKS = sys.platform == "linux"


def fork_for_hdf5(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading takes a tenth of the time, where processes fork as on Linux; what is read is the same."""
    if FORKS:
        process = SimpleNamespace(run=_run_forked, TimeoutExpired=subprocess.TimeoutExpired)
        monkeypatch.setattr(hdf5, "subprocess", process)


def _run_forked(command: list[str], *, input: bytes, **options: object) -> subprocess.CompletedProcess[bytes]:
    """Stands for `subprocess.run`."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            sys.setprofile(None)
            # Its limit counts what this process has mapped already.
            hdf5.MEMORY += os.sysconf("SC_PAGE_SIZE") * int(Path("/proc/self/statm").read_text().split()[0])
            vars(hdf5)["sys"] = SimpleNamespace(
                stdin=SimpleNamespace(buffer=io.BytesIO(input)), stdout=SimpleNamespace(buffer=os.fdopen(writing, "wb"))
            )
            hdf5.serve()
        finally:
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        content = file.read()
    status = os.waitpid(child, 0)[1]
    return subprocess.CompletedProcess(command, os.waitstatus_to_exitcode(status), content)

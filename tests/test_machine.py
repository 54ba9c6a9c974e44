"""Is the machine described as this process may use it?"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from linnet.machine import instruction_set_refused, processor_name, usable_cores


def test_cores_are_those_that_this_process_may_use() -> None:
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system binds no process to cores")
    script = (
        "import os; from linnet.machine import usable_cores; "
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); print(usable_cores())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)


def test_without_affinity_all_cores_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert usable_cores() == os.cpu_count()


def test_the_processor_has_a_name_of_one_line() -> None:
    assert processor_name().strip()
    assert "\n" not in processor_name()


def test_a_refused_instruction_set_is_said_with_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINNET_ISA", "nonsense")
    text = instruction_set_refused("avx2")
    assert "'nonsense'" in text
    assert "'avx2'" in text
    assert text.endswith("Unset it to take the widest.")

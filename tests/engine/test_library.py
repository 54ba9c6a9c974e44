"""Is the native library there, and does it answer?"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest

from linnet.engine.library import instruction_set, load_library, native_version


@pytest.fixture(autouse=True)
def _needs_the_library() -> None:
    if load_library() is None:
        pytest.skip("linnet was installed without a compiler: there is no native library")


def test_its_version_is_the_package_version() -> None:
    assert native_version() == version("linnet")


def test_it_names_this_processor() -> None:
    flags = Path("/proc/cpuinfo").read_text().split() if Path("/proc/cpuinfo").exists() else []
    expected = "avx2" if "avx2" in flags and "fma" in flags else "baseline"
    expected = "avx512" if {"avx512f", "avx512dq", "avx512bw", "avx512vl"} <= set(flags) else expected
    assert instruction_set() in (expected, "neon")

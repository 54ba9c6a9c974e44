"""Is the native library there, and does it answer?"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest

from linnet.engine.library import instruction_set, instruction_sets, load_library, native_version


@pytest.fixture(autouse=True)
def _needs_the_library() -> None:
    if load_library() is None:
        pytest.skip("linnet was installed without a compiler: there is no native library")


def test_its_version_is_the_package_version() -> None:
    assert native_version() == version("linnet")


def test_it_names_this_processor() -> None:
    if not Path("/proc/cpuinfo").exists():
        pytest.skip("only Linux tells what a processor has")
    flags = set(Path("/proc/cpuinfo").read_text().split())
    needs = {"neon": {"asimd"}, "avx2": {"avx2", "fma"}, "avx512": {"avx512f", "avx512dq", "avx512bw", "avx512vl"}}
    expected = ("baseline", *(name for name, flag in needs.items() if flag <= flags))
    assert instruction_sets() == expected
    assert instruction_set() == expected[-1]

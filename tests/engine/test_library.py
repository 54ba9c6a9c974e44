"""Is the native library there, does it answer, and is one of other sources left alone?"""

from __future__ import annotations

import ctypes
import hashlib
import re
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from building import ROOT, needed, run

import linnet
import linnet.engine
from linnet.checkpoint import Checkpoint
from linnet.engine import library
from linnet.engine.library import (
    FUNCTIONS,
    INTERFACE,
    instruction_set,
    instruction_sets,
    load_library,
    missing_library,
    native_version,
)
from linnet.engine.native import EngineError, native_library
from linnet.engine.runtimes import choose_runtime

needs_library = pytest.mark.skipif(load_library() is None, reason="the native library is not built")


@needs_library
def test_its_version_is_the_package_version() -> None:
    assert native_version() == version("linnet")


@needs_library
def test_it_names_this_processor() -> None:
    if not Path("/proc/cpuinfo").exists():
        pytest.skip("only Linux says what a processor has")
    flags = set(Path("/proc/cpuinfo").read_text().split())
    avx2, avx512 = {"avx2", "fma"}, {"avx512f", "avx512dq", "avx512bw", "avx512vl"}
    needs = {
        "neon": {"asimd"},
        "neon_dot": {"asimd", "asimddp"},
        "avx2": avx2,
        "avx2_vnni": avx2 | {"avx_vnni"},
        "avx512": avx512,
        "avx512_vnni": avx512 | {"avx512_vnni"},
    }
    expected = ("baseline", *(name for name, flag in needs.items() if flag <= flags))
    assert instruction_sets() == expected
    assert instruction_set() == expected[-1]


# The interface and its number.

DIGESTS = {
    1: "41d31d00189925e8",
    2: "dffa70047a3cd9a4",
    3: "641c4516d6f59ab5",
    4: "049be1952306bea4",
    5: "9f5745d9e4aaf35d",
    6: "9b2ade73865fbf5b",
}
"""Number of the interface → digest of what Python knows of it."""


def spelled(kind: Any) -> str:
    """A type of ctypes, or what is made of several, in words that are the same on every system."""
    if kind is None:
        return "nothing"
    if fields := getattr(kind, "_fields_", None):
        return f"{{{', '.join(f'{name} {spelled(of)}' for name, of, *_ in fields)}}}"
    if hasattr(kind, "_length_"):
        return f"{kind._length_} {spelled(kind._type_)}"
    if kind._type_ in "zP":
        return "address"
    return f"{'float' if kind._type_ in 'fd' else 'integer'} of {ctypes.sizeof(kind)} bytes"


def test_a_change_of_the_interface_changes_its_number() -> None:
    # Else a library from before the change would be taken, and structures be read from the wrong places. After a
    # change: raise INTERFACE and LINNET_INTERFACE, and put the new digest here.
    kinds = [value for value in vars(library).values() if isinstance(value, type) and hasattr(value, "_fields_")]
    lines = [
        f"{name}: {spelled(result)} of {[spelled(of) for of in given]}" for name, (result, given) in FUNCTIONS.items()
    ]
    text = "\n".join(sorted([*lines, *(f"{kind.__name__}: {spelled(kind)}" for kind in kinds)]))
    assert DIGESTS.get(INTERFACE) == hashlib.sha256(text.encode()).hexdigest()[:16]


def test_both_sides_count_alike() -> None:
    header = (ROOT / "native" / "include" / "linnet.h").read_text()
    assert re.findall(r"^#define LINNET_INTERFACE (\d+)$", header, re.MULTILINE) == [str(INTERFACE)]
    loaded = load_library()
    assert loaded is None or loaded.linnet_interface_version() == INTERFACE


OTHERS = {
    "from before there was a number": 'const char* linnet_version(void) { return "0.1.0"; }',
    "of another number": f"int linnet_interface_version(void) {{ return {INTERFACE + 1}; }}",
}
"""Libraries that lack nearly everything: whoever called them would find nothing."""


@pytest.fixture(params=OTHERS)
def out_of_step(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A library of other sources in the place of ours."""
    needed("gcc")
    source, path = tmp_path / "other.c", tmp_path / library.NAMES[0]
    source.write_text(OTHERS[request.param])
    run("gcc", "-shared", "-fPIC", source, "-o", path)
    monkeypatch.setattr(linnet.engine, "__path__", [str(tmp_path)])
    load_library.cache_clear()
    yield path
    load_library.cache_clear()


def test_a_library_of_other_sources_is_left_alone(out_of_step: Path, small_checkpoint: Checkpoint) -> None:
    with pytest.warns(RuntimeWarning, match="was built of other sources than this Python package") as caught:
        assert load_library() is None
    assert "build it again with `pip install .`" in str(caught[0].message)
    assert str(out_of_step) in str(caught[0].message)
    # One warning a process; numpy runs meanwhile, as where there is no library.
    assert (native_version(), instruction_sets(), choose_runtime("auto")) == (None, (), "numpy")
    predict = linnet.Predictor(small_checkpoint)
    assert predict.runtime == "numpy"
    assert predict.forward(np.zeros((1, 64, 64, 3), np.uint8)).shape == (1, 4)
    with pytest.raises(ValueError, match=r"not there\. The native library .* build it again"):
        choose_runtime("native")
    with pytest.raises(EngineError, match="build it again"):
        native_library()


def test_where_nothing_was_built_a_compiler_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linnet.engine, "__path__", [str(tmp_path)])
    assert missing_library() == library.NOT_BUILT

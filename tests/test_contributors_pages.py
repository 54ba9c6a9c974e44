"""Do the pages for those who extend linnet say what is so: do their blocks run, are their files there?"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from conftest import ROOT
from networks import random_tensors
from PIL import Image

from linnet.architecture import GraphBuilder
from linnet.data import find
from linnet.data.formats import FORMATS

HOWTO = ROOT / "docs" / "howto"
PAGES = {name: (HOWTO / f"add-{name}.md").read_text("utf-8") for name in ("operation", "format", "instruction-set")}

BLOCK = re.compile(r"<!-- (\S+)(?: (\w+))? -->\n```python\n(.*?)```", re.DOTALL)
"""The file that a block belongs to, perhaps the class in it, and the block."""


def module_of(path: str) -> ModuleType:
    return import_module(path.removeprefix("src/").removesuffix(".py").replace("/", "."))


@pytest.mark.parametrize("name", PAGES)
def test_what_it_names_is_there(name: str) -> None:
    named = set(re.findall(r"`((?:src|native|tests|docs|benchmarks)/[\w/.-]+|CMakeLists\.txt)`", PAGES[name]))
    own = {"native/kernels/integer_sse4.cpp"}
    assert len(named) > 5
    assert [path for path in sorted(named - own) if not (ROOT / path).exists()] == []


def test_words_of_tables_stand_where_the_pages_say() -> None:
    for path, words in {
        "src/linnet/architecture/cost.py": ("COSTED",),
        "src/linnet/engine/program.py": ("KERNELS", "FITS", "INTEGERS"),
        "src/linnet/nn/modules.py": ("FUNCTIONS", "MODULES"),
        "src/linnet/nn/quantised.py": ("STEPS",),
        "src/linnet/export/tflite_graph.py": ("WRITERS",),
        "src/linnet/data/recognition.py": ("FormatName",),
        "src/linnet/weights/__init__.py": ("FORMATS",),
        "tests/layouts.py": ("LAYOUTS",),
        "tests/architecture/test_graph.py": ("assert_all_agree", "def graphs("),
        "tests/engine/test_library.py": ("needs = {",),
        "native/platform/instruction_sets.h": ("enum InstructionSet", "kSetNames"),
        "native/platform/instruction_sets.cpp": ("has_bits(cpuid(1).c", "bool keeps(", "has_dot_products", "bool has("),
        "native/kernels/engine_kernels.h": ("kEngineTables",),
        "native/kernels/integer_kernels.h": ("kIntegerTables",),
        "native/training/training_kernels.h": ("kTrainingTables",),
        "native/engine/engine.h": ("StepKind",),
        "CMakeLists.txt": ("foreach(isa baseline neon",),
    }.items():
        text = (ROOT / path).read_text("utf-8")
        assert [word for word in words if word not in text] == [], path


@pytest.fixture
def extended() -> Iterator[dict[str, Any]]:
    """What the page adds, in all tables that it names, and its network."""
    blocks = [(path, owner, text) for path, owner, text in BLOCK.findall(PAGES["operation"]) if "/" in path]
    before = {path: {name: dict(table) for name, table in tables_of(path).items()} for path, _, _ in blocks}
    added: dict[str, Any] = {}
    for path, owner, text in blocks:
        scope = dict(vars(module_of(path))) | added
        exec(text, scope)
        added.setdefault("Peak", scope["Peak"])
        if owner:
            GraphBuilder.peak = scope["peak"]  # type: ignore[attr-defined]
    yield added
    del GraphBuilder.peak  # type: ignore[attr-defined]
    for path, tables in before.items():
        for name, table in tables.items():
            current = tables_of(path)[name]
            current.clear()
            current.update(table)


def tables_of(path: str) -> dict[str, dict[Any, Any]]:
    return {
        name: value
        for name, value in vars(module_of(path)).items()
        if isinstance(value, dict) and name.isupper() and all(isinstance(key, type) for key in value)
    }


@pytest.mark.slow
def test_an_operation_of_one_page_runs_everywhere(extended: dict[str, Any]) -> None:
    sys.path.insert(0, str(ROOT / "tests" / "architecture"))
    try:
        from test_graph import assert_all_agree
    finally:
        sys.path.pop(0)
    from linnet.engine.integer_reference import STEPS
    from linnet.engine.program import lower

    scope = dict(vars(import_module("linnet.architecture")))
    exec(BLOCK.findall(PAGES["operation"])[-1][2], scope)
    network = scope["network"]
    assert network.shape_of("peak") == (12,)
    assert_all_agree(network, ("numpy", "torch", "onnx"))
    with pytest.raises(ValueError, match="The engine has no kernel for 'peak'"):
        lower(network, random_tensors(network))
    whole = np.array([[[[1, 9], [7, 2]]]], np.int8)
    unasked: Any = None
    assert STEPS[extended["Peak"]](unasked, [whole]).tolist() == [[7, 9]]


def test_a_format_of_one_page_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ((path, _, text),) = BLOCK.findall(PAGES["format"])
    assert path == "src/linnet/data/formats/via.py"
    scope: dict[str, Any] = {"__name__": "via"}
    exec(text, scope)
    monkeypatch.setattr("linnet.data.recognition.FORMATS", (scope["FORMAT"], *FORMATS))
    entries = {}
    for name, label in (("1.png", "cell"), ("2.png", "")):
        Image.new("RGB", (40, 30)).save(tmp_path / name)
        shape = {"name": "rect", "x": 2, "y": 3, "width": 10, "height": 12}
        region = {"shape_attributes": shape, "region_attributes": {"class": label} if label else {}}
        entries[f"{name}100"] = {"filename": name, "size": 100, "regions": [region]}
    (tmp_path / "via_region_data.json").write_text(json.dumps(entries))
    data = find(tmp_path)
    assert (data.format, data.task, data.classes) == ("VGG Image Annotator", "detection", ("cell",))
    assert data.train[0].boxes.tolist() == [[2, 3, 12, 15]]
    assert [flaw.kind for flaw in data.flaws] == ["malformed"]
    (tmp_path / "via_region_data.json").write_text("{")
    with pytest.raises(ValueError, match=r"via_region_data\.json' is no JSON"):
        find(tmp_path, format="via")

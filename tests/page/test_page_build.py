"""Is the engine in the package what its sources are built to?"""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from networks import checkpoint_of
from quantised import quantised_checkpoint

from linnet.architecture import MobileNetV2
from linnet.architecture.ssdlite import ssdlite
from linnet.export.page import run_page
from linnet.page.build import build
from linnet.page.folder import page_files, write_page


@pytest.mark.slow
def test_the_engine_built_anew_gives_the_same_bits(tmp_path: Path) -> None:
    node = shutil.which("node") or shutil.which("nodejs")
    if node is None:
        pytest.skip("there is no Node.js here")
    if find_spec("ziglang") is None:
        pytest.skip("ziglang is not installed: pip install -c constraints.txt ziglang")
    # Node 20 has relaxed vectors behind a flag; the other build differs from this one by an option of the compiler.
    made = build(ROOT, tmp_path / "work", ["engine.wasm"])
    classifier = MobileNetV2(width=0.35, resolution=64, classes=5)
    detector = ssdlite(backbone=MobileNetV2(width=0.35), resolution=96, classes=3)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 96, 96, 3), dtype=np.uint8)
    for number, checkpoint in enumerate(
        [checkpoint_of(classifier), quantised_checkpoint(classifier), quantised_checkpoint(detector, dtype="uint8")]
    ):
        folder, side = tmp_path / str(number), checkpoint.architecture.input_size[0]
        write_page(folder, page_files(checkpoint, "x"))
        (folder / "package.json").write_text('{"type": "module"}')
        given = np.ascontiguousarray(pixels[:, :side, :side])
        packaged = run_page(node, folder, given, LINNET_BUILD="plain")
        (folder / "engine.wasm").write_bytes(made["engine.wasm"])
        anew = run_page(node, folder, given, LINNET_BUILD="plain")
        assert packaged.tobytes() == anew.tobytes()

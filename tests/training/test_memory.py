"""Is the memory of training steps given back once they are over?"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pictures import write_pictures

import linnet
from linnet.cli import main
from linnet.engine.library import load_library
from linnet.nn import memory

pytestmark = pytest.mark.skipif(load_library() is None, reason="the native library is not built")

BATCH, RESOLUTION, WIDTH = 8, 64, 0.1
"""Large enough that the expanded tensors of a step come from the library's memory."""


def test_a_run_gives_the_memory_of_its_steps_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINNET_CACHE", str(tmp_path / "cache"))
    # A step alone keeps its memory until it is asked for.
    network = linnet.nn.build(linnet.mobilenet_v2(width=WIDTH, resolution=RESOLUTION, classes=3))
    images = torch.zeros(BATCH, 3, RESOLUTION, RESOLUTION).contiguous(memory_format=torch.channels_last)
    network.train()(images).sum().backward()
    assert memory.trim() > 1 << 20
    assert memory.trim() == 0
    data = write_pictures(tmp_path / "data", test=2)
    flags = f"--recipe scratch-small --width {WIDTH} --resolution {RESOLUTION} --batch {BATCH} --epochs 1 --workers 0"
    assert main(["train", str(data), "--out", str(tmp_path / "run"), *flags.split()]) == 0
    assert memory.trim() == 0

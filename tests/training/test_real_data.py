"""What a user gets on real photographs, where they are: the figures that the recipes promise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from linnet.checkpoint import save_checkpoint
from linnet.training.plan import Plan
from linnet.training.recipes import FEATURES
from linnet.training.run import run_training
from linnet.training.starts import StartOptions
from linnet.weights.tflite import convert

WEIGHTS = "tf2_mobilenet_v2_1.0_224_ptq.tflite"


@pytest.mark.slow
def test_frozen_features_tell_clothes(
    sample_data: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LINNET_CACHE", str(tmp_path / "cache"))
    start = tmp_path / "start.safetensors"
    save_checkpoint(convert(sample_data("tflite") / WEIGHTS).checkpoint, start)
    outcome: Any = run_training(Plan(sample_data("clothing"), tmp_path / "run", FEATURES, StartOptions(str(start))))
    assert outcome is not None
    assert outcome.measured.images == 372
    assert outcome.measured.top1 >= 0.88

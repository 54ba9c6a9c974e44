"""What the tests share: seeded numbers, small networks, drawn pictures, and sample data where it exists."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from networks import checkpoint_of
from numpy.typing import NDArray
from PIL import Image

from linnet.architecture import MobileNetV2
from linnet.checkpoint import Checkpoint, save_checkpoint

# The same each time; LINNET_EXAMPLES=1000 looks longer.
EXAMPLES = int(os.environ.get("LINNET_EXAMPLES", "30"))

settings.register_profile("linnet", deadline=None, derandomize=True, max_examples=EXAMPLES)
settings.load_profile("linnet")

ROOT = Path(__file__).resolve().parent.parent

# Real pictures and weights are no part of the project; tests that need them say so and are skipped elsewhere.
SAMPLES = Path(os.environ.get("LINNET_SAMPLE_DATA", ROOT.parent / "shared" / "data"))


@pytest.fixture
def sample_data() -> Callable[[str], Path]:
    """The folder of a sample data set by name; skips the test where it is not there."""

    def find(name: str) -> Path:
        folder = SAMPLES / name
        if not folder.is_dir():
            pytest.skip(f"needs the sample data '{name}' (LINNET_SAMPLE_DATA names their folder)")
        return folder

    return find


@pytest.fixture
def rng() -> np.random.Generator:
    """Seeded random numbers."""
    return np.random.default_rng(20180113)


@pytest.fixture
def small_checkpoint() -> Checkpoint:
    """A narrow network with random weights and four named classes."""
    return checkpoint_of(
        MobileNetV2(width=0.35, resolution=64, classes=4), classes=("ant", "bee", "cat", "dog"), seed=7
    )


@pytest.fixture
def small_model(small_checkpoint: Checkpoint, tmp_path: Path) -> Path:
    """The file of `small_checkpoint`."""
    path = tmp_path / "small.safetensors"
    save_checkpoint(small_checkpoint, path)
    return path


@pytest.fixture
def picture(rng: np.random.Generator) -> NDArray[np.uint8]:
    """A noisy gradient, 90 x 120."""
    rows, columns = np.mgrid[0:90, 0:120]
    base = np.stack([rows * 2, columns * 2, (rows + columns)], axis=-1) + rng.integers(0, 20, (90, 120, 3))
    return np.clip(base, 0, 255).astype(np.uint8)


@pytest.fixture
def picture_file(picture: NDArray[np.uint8], tmp_path: Path) -> Path:
    """`picture` as a PNG file."""
    path = tmp_path / "picture.png"
    Image.fromarray(picture).save(path)
    return path

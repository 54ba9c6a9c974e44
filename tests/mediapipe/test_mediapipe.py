"""Do MediaPipe's tasks load what linnet exports and answer with its labels? Run by `make test-mediapipe`."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import checkpoint_of
from numpy.typing import NDArray
from PIL import Image
from quantised import quantised_checkpoint

from linnet.architecture import MobileNetV1, MobileNetV2
from linnet.architecture.ssdlite import ssdlite
from linnet.checkpoint import Checkpoint
from linnet.export import export
from linnet.predictor import load

PYTHON = os.environ.get("LINNET_MEDIAPIPE", "")
"""The interpreter of an environment with MediaPipe, whose package asks for others than linnet's tests do."""

pytestmark = pytest.mark.skipif(
    not PYTHON, reason="MediaPipe has an environment of its own: `make test-mediapipe` makes it and runs these tests"
)
ASK = """
import json, sys
import mediapipe
from mediapipe.tasks.python import BaseOptions, vision

kind, model, picture = sys.argv[1:]
image, base = mediapipe.Image.create_from_file(picture), BaseOptions(model_asset_path=model)
if kind == "classification":
    options = vision.ImageClassifierOptions(base_options=base, max_results=2)
    with vision.ImageClassifier.create_from_options(options) as task:
        found = [(each.category_name, each.score, None) for each in task.classify(image).classifications[0].categories]
else:
    options = vision.ObjectDetectorOptions(base_options=base, max_results=2)
    with vision.ObjectDetector.create_from_options(options) as task:
        found = []
        for each in task.detect(image).detections:
            box = each.bounding_box
            place = [box.origin_x, box.origin_y, box.origin_x + box.width, box.origin_y + box.height]
            found.append((each.categories[0].category_name, each.categories[0].score, place))
print(json.dumps(found))
"""
SECONDS = 120
"""MediaPipe hangs on files whose metadata it does not like: each load has a process of its own and an end."""

NAMES = ("ant", "bee", "größe", "dog")


def ask(checkpoint: Checkpoint, path: Path, picture: Path) -> list[tuple[str, float, Any]]:
    command = [PYTHON, "-c", ASK, checkpoint.task, str(path), str(picture)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found: list[tuple[str, float, Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture
def square(tmp_path: Path, rng: np.random.Generator) -> Path:
    """A picture of the networks' size: nobody has to resize it."""
    pixels: NDArray[np.uint8] = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "square.png")
    return tmp_path / "square.png"


@pytest.mark.parametrize("kind", ["float", "float pixels", "half", "int8 pixels", "int8 normalised"])
@pytest.mark.parametrize("family", [MobileNetV1, MobileNetV2])
def test_classifiers(tmp_path: Path, square: Path, family: Any, kind: str) -> None:
    network = family(width=0.35, resolution=64, classes=4)
    make: Any = quantised_checkpoint if "int8" in kind else checkpoint_of
    checkpoint, path = replace(make(network), classes=NAMES), tmp_path / "model.tflite"
    inputs = "pixels" if "pixels" in kind else "normalised"
    export(checkpoint, path, inputs=inputs, precision="float16" if kind == "half" else None)
    (label, score, _), *_ = ask(checkpoint, path, square)
    with Image.open(square) as image:
        logits = np.asarray(load(path).forward(np.asarray(image)[None]))[0]
    assert label == NAMES[int(logits.argmax())]
    assert score == pytest.approx(float(logits.max()), rel=1e-3)


@pytest.mark.parametrize("kind", ["float", "int8 pixels"])
def test_detectors(tmp_path: Path, square: Path, kind: str) -> None:
    make: Any = quantised_checkpoint if "int8" in kind else checkpoint_of
    checkpoint, path = replace(make(ssdlite(width=0.2, resolution=64, classes=4)), classes=NAMES), tmp_path / "d.tflite"
    export(checkpoint, path, inputs="pixels" if "pixels" in kind else "normalised")
    (label, score, box), *_ = ask(checkpoint, path, square)
    best = load(path)(square).top(1)[0]
    assert label == best.label
    assert score == pytest.approx(best.score, abs=1e-3)
    assert np.clip(box, 0, 64) == pytest.approx(best.box, abs=2)

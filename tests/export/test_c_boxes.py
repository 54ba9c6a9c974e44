"""Does the C file beside an exported detector find the boxes that linnet finds?"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from quantised import quantised_checkpoint
from test_c_file import SANITIZERS, WARNINGS, needed

from linnet.architecture import Detector
from linnet.architecture.ssdlite import ssdlite
from linnet.detection import Suppression, anchors, detect
from linnet.export import export
from linnet.export.microcontroller import exporting
from linnet.export.microcontroller.checking import find_compiler
from linnet.quantisation import rule

pytestmark = pytest.mark.skipif(find_compiler() is None, reason="no C compiler is installed (apt install gcc)")

DETECTORS: dict[str, Detector] = {
    "sigmoid": ssdlite(width=0.2, resolution=65, classes=4),
    "softmax": ssdlite(variant="modern", width=0.2, resolution=64, classes=2),
}

MAIN = """\
#include <stdio.h>
#include "model.h"
static int8_t offsets[LINNET_MODEL_ANCHORS * 4], logits[LINNET_MODEL_ANCHORS * LINNET_MODEL_CLASSES];
static linnet_model_box boxes[100];
int main(void) {
  while (fread(offsets, 1, sizeof offsets, stdin) == sizeof offsets) {
    if (fread(logits, 1, sizeof logits, stdin) != sizeof logits) return 1;
    int32_t count = linnet_model_boxes(offsets, logits, 0.3f, 0.5f, boxes, 100);
    fwrite(&count, sizeof count, 1, stdout);
    fwrite(boxes, sizeof boxes[0], (size_t)count, stdout);
  }
  return 0;
}
"""

BOX = np.dtype([("box", np.float32, 4), ("score", np.float32), ("label", np.int32)])


@pytest.mark.parametrize("name", DETECTORS)
def test_boxes_are_linnets(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "find_compiler", lambda: None)
    detector = DETECTORS[name]
    checkpoint = quantised_checkpoint(detector)
    assert checkpoint.quantisation is not None
    export(checkpoint, tmp_path / "model.c")
    (tmp_path / "main.c").write_text(MAIN)
    command = [needed("gcc"), *WARNINGS, *SANITIZERS, "-o", "run", "main.c", "model_boxes.c", "-lm"]
    subprocess.run(command, cwd=tmp_path, check=True)
    generator = np.random.default_rng(2)
    pictures = [made_up(generator, detector) for _ in range(3)]
    given = b"".join(part.tobytes() for picture in pictures for part in picture)
    output = subprocess.run([tmp_path / "run"], input=given, capture_output=True, check=True).stdout
    found = 0
    for whole in pictures:
        count = int(np.frombuffer(output[:4], np.int32)[0])
        boxes = np.frombuffer(output[4 : 4 + count * BOX.itemsize], BOX)
        output = output[4 + count * BOX.itemsize :]
        offsets, logits = (
            rule.dequantise(values, checkpoint.quantisation.encodings[each])
            for values, each in zip(whole, ("offsets", "logits"), strict=True)
        )
        expected = detect(offsets, logits, anchors(detector), scoring=detector.scoring, suppression=Suppression())
        assert boxes["label"].tolist() == expected[2].tolist()
        assert np.allclose(boxes["box"], expected[0], atol=1e-6)
        assert np.allclose(boxes["score"], expected[1], atol=1e-6)
        found += count
    assert found > 10


def made_up(generator: np.random.Generator, detector: Detector) -> tuple[NDArray[Any], NDArray[Any]]:
    """Offsets around zero, and logits of which few are high; many scores are equal."""
    offsets = generator.normal(0, 20, (detector.anchors, 4)).clip(-128, 127).astype(np.int8)
    logits = generator.integers(-128, -100, (detector.anchors, 1 + (detector.classes or 0))).astype(np.int8)
    rows = generator.choice(detector.anchors, 40, replace=False)
    logits[rows, generator.integers(1, logits.shape[1], 40)] = generator.choice([100, 110, 127], 40)
    return offsets, logits


def test_a_file_of_boxes_that_is_another_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "model_boxes.c").write_text("int mine;\n")
    with pytest.raises(ValueError, match="is there already as something else"):
        export(quantised_checkpoint(DETECTORS["sigmoid"]), tmp_path / "model.c")
    assert [path.name for path in tmp_path.iterdir()] == ["model_boxes.c"]

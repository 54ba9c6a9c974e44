"""Does LiteRT find from an exported detector what linnet's own numbers say, and does linnet read it back?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from networks import checkpoint_of, detectors
from quantised import quantised_checkpoint

from linnet.architecture import Detector
from linnet.architecture.ssdlite import ssd, ssdlite
from linnet.detection import Suppression, anchors, detect
from linnet.engine.integer_reference import numpy_network
from linnet.export import export
from linnet.export.tflite_run import run_tflite
from linnet.weights import read

pytest.importorskip("ai_edge_litert", reason="exported files are run with ai-edge-litert")

TINY = ssdlite(width=0.2, resolution=65, classes=4)
DETECTORS: dict[str, Detector] = {
    "ssdlite": TINY,
    "modern": ssdlite(variant="modern", width=0.35, resolution=96, classes=2),
    "ssd, rounded anchors": ssd(width=0.2, resolution=(64, 80), classes=3, anchor_step=1 / 128),
}
NAMES = ("ant", "bee", "cow", "dog")


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(detectors(largest_width=0.4, largest_side=100))
def test_any_detector_is_exported_as_it_is(tmp_path: Path, network: Detector) -> None:
    # The numbers before they are boxes: random weights under an unbounded activation overflow the exponential of these.
    assert export(checkpoint_of(network), tmp_path / "network.tflite", raw=True).difference is not None


@pytest.mark.parametrize("name", DETECTORS)
def test_a_detector_is_exported_as_it_is(tmp_path: Path, name: str) -> None:
    result = export(checkpoint_of(DETECTORS[name]), tmp_path / "network.tflite")
    assert result.difference is not None
    assert "TFLite_Detection_PostProcess" in result.operators


@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize("name", DETECTORS)
def test_detectors_come_back(tmp_path: Path, name: str, raw: bool) -> None:
    network, path = DETECTORS[name], tmp_path / "network.tflite"
    export(checkpoint_of(network), path, raw=raw)
    assert read(path).checkpoint.architecture == network.with_options(folded=True)


@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize("style", [{}, {"dtype": "uint8"}], ids=["int8", "uint8"])
def test_integers_are_equal_to_the_bit_and_come_back(tmp_path: Path, style: dict[str, Any], raw: bool) -> None:
    checkpoint, path = quantised_checkpoint(TINY, classes=NAMES, **style), tmp_path / "network.tflite"
    assert export(checkpoint, path, raw=raw).equal
    back = read(path)
    assert back.checkpoint.quantisation == checkpoint.quantisation
    assert back.checkpoint.classes == NAMES
    for key in checkpoint.tensors:
        assert np.array_equal(back.checkpoint.tensors[key], checkpoint.tensors[key]), key
    assert not back.notes


@pytest.mark.parametrize("name", DETECTORS)
def test_what_is_found_is_what_linnet_finds(tmp_path: Path, name: str) -> None:
    network, path = DETECTORS[name], tmp_path / "network.tflite"
    checkpoint = checkpoint_of(network)
    export(checkpoint, path)
    picture = np.random.default_rng(3).uniform(-1, 1, (1, *network.input_size, 3)).astype(np.float32)
    boxes, classes, scores, count = run_tflite(path, picture)
    (offsets, logits), _ = numpy_network(network, checkpoint.tensors).run(picture)
    ours = detect(
        offsets[0],
        logits[0],
        anchors(network),
        scoring=network.scoring,
        suppression=Suppression(score_threshold=0.01),
    )
    found = int(count[0])
    # The best is never suppressed; what comes behind may differ where two are as good.
    assert found > 0
    assert scores[0, 0] == pytest.approx(ours[1][0], abs=1e-4)
    assert int(classes[0, 0]) == ours[2][0]
    y0, x0, y1, x1 = np.clip(boxes[0, 0], 0, 1)
    assert [x0, y0, x1, y1] == pytest.approx(ours[0][0].tolist(), abs=1e-4)


def test_what_differs_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from linnet.export import tflite_detector

    # Anchors in another order of numbers are another detector, though its heads are right.
    monkeypatch.setattr(tflite_detector, "anchors", lambda detector: anchors(detector)[::-1])
    with pytest.raises(ValueError, match=r"not written.*anchor"):
        export(checkpoint_of(replace(TINY, classes=2)), tmp_path / "network.tflite")
    assert not (tmp_path / "network.tflite").exists()

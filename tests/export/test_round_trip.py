"""Does every kind of network come back of every kind of file as it was, and run equally when it is written again?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import checkpoint_of
from quantised import quantised_checkpoint

from linnet.architecture import Architecture, MobileNetV1, MobileNetV2
from linnet.architecture.deeplab import deeplab
from linnet.architecture.ssdlite import ssd, ssdlite
from linnet.checkpoint import Checkpoint
from linnet.export import export
from linnet.predictor import load
from linnet.weights import read

pytest.importorskip("ai_edge_litert", reason="exported files are run with ai-edge-litert")
pytestmark = pytest.mark.slow

TINY = MobileNetV2(width=0.2, resolution=(48, 65))
NETWORKS: dict[str, Architecture] = {
    "V2": MobileNetV2(width=0.35, resolution=(40, 48), classes=4),
    "features": MobileNetV2(width=0.2, resolution=40, classes=None),
    "V1, grey, hidden": MobileNetV1(width=0.25, resolution=40, classes=4, input_channels=1, hidden=(12,)),
    "SSDLite": ssdlite(width=0.2, resolution=65, classes=4),
    "SSD, softmax": replace(ssd(width=0.2, resolution=(64, 80), classes=4), scoring="softmax"),
    "SSDLite, modern": ssdlite(variant="modern", width=0.35, resolution=64, classes=4),
    "DeepLab": deeplab(backbone=TINY, classes=4),
    "DeepLab, ASPP": deeplab(backbone=TINY, classes=4, aspp="separable", context_channels=16),
    "DeepLab, modern": deeplab(backbone=MobileNetV2(width=0.2), resolution=(64, 48), classes=4, variant="modern"),
}
FILES = (
    (".onnx", "float32"), (".onnx", "int8"), (".tflite", "float32"), (".tflite", "float16"), (".tflite", "int8"),
)  # fmt: skip
INPUTS: dict[str, tuple[str, ...]] = {".onnx": ("normalised", "pixels"), ".tflite": ("normalised", "pixels")}
ENDS: dict[str, tuple[dict[str, Any], ...]] = {
    "classification": ({},),
    "detection": ({}, {"raw": True}, {"nms": True}),
    "segmentation": ({}, {"raw": True}),
}


def kinds() -> Iterator[tuple[str, str, str, str, dict[str, Any]]]:
    """Network, ending, precision, inputs, and what the file ends with."""
    for name, network in NETWORKS.items():
        for ending, precision in FILES:
            taken = (*INPUTS[ending], *(["integers"] if (ending, precision) == (".tflite", "int8") else []))
            for inputs in taken:
                for options in ENDS[network.task]:
                    if not (ending == ".tflite" and "nms" in options):
                        yield name, ending, precision, inputs, options


@pytest.mark.parametrize(("name", "ending", "precision", "inputs", "options"), list(kinds()))
def test_it_comes_back(
    tmp_path: Path, name: str, ending: str, precision: Any, inputs: str, options: dict[str, Any]
) -> None:
    network = NETWORKS[name]
    make: Any = quantised_checkpoint if precision == "int8" else checkpoint_of
    named = None if network.classes is None else ("ant", "bee", "cat", "dog")
    checkpoint: Checkpoint = replace(make(network), classes=named)
    path, again = tmp_path / f"one{ending}", tmp_path / f"two{ending}"
    export(checkpoint, path, precision=precision, inputs=inputs, **options)
    conversion = read(path)
    back = conversion.checkpoint
    assert back.architecture == network.with_options(folded=True) or back.architecture == network
    assert (back.classes, back.preprocessing) == (named, checkpoint.preprocessing)
    assert back.quantisation == checkpoint.quantisation
    export(back, again, precision=precision, inputs=inputs, **options)
    assert checkpoint.preprocessing is not None
    pictures = np.random.default_rng(4).integers(0, 256, (1, *checkpoint.preprocessing.size, 3), dtype=np.uint8)
    found, expected = (load(each, threads=1).forward(pictures) for each in (again, path))
    for one, other in zip(*((each if isinstance(each, tuple) else (each,)) for each in (found, expected)), strict=True):
        assert np.array_equal(one, other)

"""Do the boxes that an ONNX file finds itself agree with linnet's, in ONNX Runtime and in OpenVINO?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from networks import checkpoint_of
from numpy.typing import NDArray
from quantised import quantised_checkpoint

from linnet.architecture import Architecture, Detector, MobileNetV1, MobileNetV2
from linnet.architecture.ssdlite import ssdlite
from linnet.checkpoint import Checkpoint
from linnet.detection import Suppression
from linnet.export import export
from linnet.export.onnx_graph import OPSET, centre_alone
from linnet.export.onnx_run import run_onnx
from linnet.images import normalise
from linnet.predictor import Predictor, load

TINY = ssdlite(width=0.2, resolution=65, classes=4)
DETECTORS: dict[str, Detector] = {
    "sigmoid": TINY,
    "softmax": replace(TINY, scoring="softmax"),
    "one class, not square": ssdlite(width=0.2, resolution=(64, 75), classes=1),
}
LOW = Suppression(score_threshold=0.01)


def same_boxes(found: Any, expected: Any) -> None:
    """The same scores, and boxes as far as they do not hang on the order of equal ones."""
    assert len(found.scores) == len(expected.scores)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)
    apart = np.abs(found.boxes - expected.boxes).max(axis=1) < 0.05
    assert apart.mean() > 0.9
    assert (found.indices == expected.indices)[apart].mean() > 0.9


@pytest.mark.parametrize("inputs", ["normalised", "pixels"])
@pytest.mark.parametrize("name", DETECTORS)
def test_boxes_are_linnets(tmp_path: Path, picture: NDArray[np.uint8], name: str, inputs: Any) -> None:
    checkpoint, path = checkpoint_of(DETECTORS[name]), tmp_path / "network.onnx"
    result = export(checkpoint, path, inputs=inputs, nms=True)
    assert {"NonMaxSuppression", "TopK"} <= set(result.operators)
    predictor = load(path, suppression=LOW)
    same_boxes(predictor(picture), Predictor(checkpoint, runtime="numpy", suppression=LOW)(picture))
    # Several pictures are taken one by one.
    both = [found for _, found in predictor.stream([picture, picture[:, ::-1]])]
    np.testing.assert_array_equal(both[0].scores, predictor(picture).scores)


def test_boxes_of_integers(tmp_path: Path, picture: NDArray[np.uint8]) -> None:
    checkpoint = quantised_checkpoint(TINY)
    export(checkpoint, tmp_path / "network.onnx", nms=True)
    found = load(tmp_path / "network.onnx", suppression=LOW)(picture)
    expected = Predictor(checkpoint, runtime="numpy", suppression=LOW)(picture)
    assert found.scores[0] == pytest.approx(expected.scores[0], abs=0.05)


def test_shapes_are_fixed_and_nothing_is_found_in_nothing(tmp_path: Path) -> None:
    checkpoint = checkpoint_of(replace(TINY, scoring="sigmoid"))
    tensors = {name: np.array(values) for name, values in checkpoint.tensors.items()}
    graph = checkpoint.architecture.graph
    for number in range(len(TINY.levels)):
        (head,) = graph.by_name[f"logits.{number}"].reads
        tensors[f"{graph.by_name[head].label}.bias"] -= 100
    path = tmp_path / "network.onnx"
    export(replace(checkpoint, tensors=tensors), path, nms=True)
    model = onnx.load(path)
    shapes = {each.name: [side.dim_value for side in each.type.tensor_type.shape.dim] for each in model.graph.output}
    assert shapes == {"boxes": [1, 100, 4], "classes": [1, 100], "scores": [1, 100], "count": [1]}
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", OPSET)]
    outputs = run_onnx(path, {"input": np.zeros((1, 3, 65, 65), np.float32)})
    assert all(not values.any() for values in outputs)


def test_openvino_finds_the_same(tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino", reason="the file is run with openvino too")
    checkpoint, path = checkpoint_of(TINY), tmp_path / "network.onnx"
    export(checkpoint, path, nms=True)
    assert checkpoint.preprocessing is not None
    pixels = np.random.default_rng(2).integers(0, 256, (1, 65, 65, 3), dtype=np.uint8)
    inputs = np.ascontiguousarray(normalise(pixels, checkpoint.preprocessing).transpose(0, 3, 1, 2))
    expected = run_onnx(path, {"input": inputs})
    compiled = openvino.compile_model(openvino.Core().read_model(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = [np.asarray(values) for values in compiled(inputs).values()]
    assert found[3] == expected[3] > 0
    np.testing.assert_allclose(found[2], expected[2], atol=1e-4)


def test_options_that_do_not_suit_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "network.onnx"
    with pytest.raises(ValueError, match="`nms` is for detectors"):
        export(checkpoint_of(MobileNetV2(width=0.35, resolution=32)), path, nms=True)
    with pytest.raises(ValueError, match="exclude each other"):
        export(checkpoint_of(TINY), path, nms=True, raw=True)
    with pytest.raises(ValueError, match="`nms` is no option of tflite"):
        export(checkpoint_of(TINY), tmp_path / "network.tflite", nms=True)
    assert not path.exists()


PIXELS: dict[str, Architecture] = {
    "detector": TINY,
    "stride of 32": MobileNetV2(width=0.35, resolution=32, classes=5),
    "PyTorch's padding": MobileNetV2(width=0.35, resolution=32, classes=5, padding="symmetric"),
    "V1": MobileNetV1(width=0.25, resolution=32, classes=5),
}


@pytest.mark.parametrize("quantised", [False, True], ids=["float", "int8"])
@pytest.mark.parametrize("name", PIXELS)
def test_a_kernel_on_a_map_of_one_pixel_is_one_tap(tmp_path: Path, name: str, quantised: bool) -> None:
    """OpenCV 4.10 and 4.12 compute a padded depthwise 3 x 3 wrongly there; the other taps are never reached."""
    network, path = PIXELS[name], tmp_path / "network.onnx"
    checkpoint: Checkpoint = (quantised_checkpoint if quantised else checkpoint_of)(network)
    export(checkpoint, path)
    alone = [each for each in network.graph.operations if centre_alone(each)]
    assert alone
    nodes = {output: node for node in onnx.load(path).graph.node for output in node.output}
    for operation in alone:
        keys = [key for end in ("", ":convolved", ":exact") if (key := operation.name + end) in nodes]
        (node,) = (nodes[key] for key in keys if nodes[key].op_type == "Conv")
        found = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
        assert (found["kernel_shape"], found["pads"]) == ([1, 1], [0, 0, 0, 0])

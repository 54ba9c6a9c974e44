"""Does a detector in a TFLite file become the one that was written, and find what the file's own runtime does?"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flatbuffers import flexbuffers
from networks import random_tensors
from numpy.typing import NDArray
from tflite_writer import NetworkWriter, Operator, Quantisation, Style, network_writer, write_content

from linnet.architecture import Detector
from linnet.architecture.ssdlite import ssd, ssdlite
from linnet.boxes import iou
from linnet.checkpoint import load_checkpoint, save_checkpoint
from linnet.detection import Suppression, anchors, detect
from linnet.engine.fold import fold
from linnet.images import prepare
from linnet.predictor import Predictor
from linnet.weights import read
from linnet.weights.conversion import Conversion, read_labels
from linnet.weights.parity import compare
from linnet.weights.tflite import convert

AXES = [1, 0, 3, 2]
SMALL: dict[str, Any] = {"width": 0.25, "resolution": 96, "classes": 3}

FLOATS: dict[str, Detector] = {
    "ssdlite on v2": ssdlite(**SMALL),
    "ssdlite on v1": ssdlite(backbone="mobilenet_v1", **SMALL),
    "ssd of 1x1 on v2": ssd(**SMALL),
    "ssd of 3x3 on v1": ssd(backbone="mobilenet_v1", head_kernel=3, **SMALL),
    "not square": ssdlite(**SMALL | {"resolution": (96, 128)}),
    "five levels": ssd(
        backbone="mobilenet_v1", extra_channels=(512, 256, 256), scales=(0.2, 0.3875, 0.575, 0.7625, 0.95), **SMALL
    ),
    "no extra level": ssdlite(extra_channels=(), scales=(0.2, 0.95), **SMALL),
    "width 0.35 with other extras": ssd(extra_channels=(320, 200, 128, 96), **SMALL | {"width": 0.35}),
    "smaller kernels on small maps": ssdlite(
        head_kernels=(3, 3, 3, 2, 1, 1), extra_kernels=(3, 2, 2, 1), **SMALL | {"resolution": (120, 160)}
    ),
    "narrow": ssd(backbone="mobilenet_v1", **SMALL | {"width": 0.125, "resolution": 128}),
    "inverted residuals as extra levels": ssdlite(
        extra_channels=(512, 256, 256, 64), reduced_channels=(256, 256, 128, 64), extra_activation="linear", **SMALL
    ),
    "softmax": ssdlite(scoring="softmax", **SMALL),
    "all levels alike": ssdlite(reduced_first_level=False, aspect_ratios=(1.0, 2.0, 0.5), **SMALL),
}


def tensors_of(detector: Detector, seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """Random weights, folded."""
    return fold(detector, random_tensors(detector, seed))[1]


def in_tensorflows_order(detector: Detector, tensors: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    """The same with boxes of centre y, centre x, height, width."""
    changed = dict(tensors)
    for number in range(len(detector.levels)):
        last = detector.graph.by_name[f"offsets.{number}"].reads[0]
        for name in ("weight", "bias"):
            label = f"{last}.{name}"
            values = tensors[label]
            changed[label] = values.reshape(-1, 4, *values.shape[1:])[:, AXES].reshape(values.shape)
    return changed


def writer_of(detector: Detector, style: Style | None = None, seed: int = 0) -> NetworkWriter:
    folded = detector.with_options(folded=True)
    softmax = detector.scoring == "softmax"
    style = replace(style or Style(), softmax=softmax)
    return network_writer(folded, in_tensorflows_order(folded, tensors_of(detector, seed)), style)


def with_post_process(
    network: NetworkWriter,
    detector: Detector,
    count: int,
    *,
    quantised: bool = True,
    own: NDArray[np.float32] | None = None,
) -> None:
    """`TFLite_Detection_PostProcess` behind the outputs, with the detector's anchors or others, perhaps in 8 bits."""
    graph = network.graph
    places = (anchors(detector) if own is None else own)[:, AXES]
    step = np.float32(places.max() / 255)
    if quantised:
        stored = np.rint(places / step).astype(np.uint8)
        number = graph.constant("anchors", stored, Quantisation((float(step),), (0,)))
    else:
        number = graph.constant("anchors", places)
    boxes, logits = graph.outputs
    scores = graph.operator("LOGISTIC", [logits], graph.tensor("scores", graph.tensors[logits].shape))
    options = flexbuffers.Dumps({"num_classes": count, "y_scale": 10.0, "h_scale": 5.0, "max_detections": 10})
    output = graph.tensor("boxes", (1, 10, 4))
    graph.operators.append(
        Operator(
            "CUSTOM", [boxes, scores, number], output, custom="TFLite_Detection_PostProcess", options=bytes(options)
        )
    )
    graph.outputs = [output]


def noise(detector: Detector, count: int = 2) -> list[NDArray[np.uint8]]:
    generator = np.random.default_rng(0)
    return list(generator.integers(0, 256, (count, *detector.input_size, 3), dtype=np.uint8))


def assert_same(conversion: Conversion, detector: Detector, seed: int = 0) -> None:
    checkpoint = conversion.checkpoint
    assert checkpoint.architecture == detector.with_options(folded=True)
    for name, values in tensors_of(detector, seed).items():
        np.testing.assert_array_equal(checkpoint.tensors[name], values, err_msg=name)


@pytest.mark.parametrize("name", FLOATS)
def test_a_float_file_gives_back_the_detector_and_its_weights(name: str, tmp_path: Path) -> None:
    detector, path = FLOATS[name], tmp_path / "detector.tflite"
    network = writer_of(detector)
    if detector.aspect_ratios == (1.0, 2.0, 0.5):
        with_post_process(network, detector, 3, quantised=False)
    write_content(path, network.content(), Style())
    conversion = convert(path, labels=("background", "ant", "bee", "cat"))
    assert_same(conversion, detector)
    assert conversion.checkpoint.classes == ("ant", "bee", "cat")
    if network.graph.operators[-1].custom:
        return
    parity = compare(conversion, noise(detector))
    assert parity.correlations.keys() >= {"stem", "offsets", "logits", "predictors.0.boxes", "offsets.0"}
    assert min(parity.correlations.values()) > 0.9999, parity


@pytest.mark.parametrize("weights", ["uint8", "int8", "float16", "hybrid"])
@pytest.mark.parametrize("name", ["ssdlite on v2", "ssd of 1x1 on v2"])
def test_other_kinds_of_numbers(weights: Any, name: str, tmp_path: Path) -> None:
    detector, path = FLOATS[name], tmp_path / "detector.tflite"
    network = writer_of(detector, Style(weights=weights))
    if weights == "int8":
        # LiteRT joins tensors of int8 only where they have one encoding.
        joined = {
            operator.output: operator.inputs for operator in network.graph.operators if operator.name == "CONCATENATION"
        }
        for output, inputs in joined.items():
            encode_alike(network, output, inputs)
    path.write_bytes(network.content())
    conversion = convert(path, labels=("ant", "bee", "cat"))
    assert conversion.checkpoint.architecture == detector.with_options(folded=True)
    parity = compare(conversion, noise(detector))
    if weights in ("uint8", "int8"):
        assert parity.equal == 1, parity
        save_checkpoint(conversion.checkpoint, tmp_path / "detector.safetensors")
        kept = load_checkpoint(tmp_path / "detector.safetensors")
        assert compare(replace(conversion, checkpoint=kept), noise(detector)).equal == 1
    else:
        # LiteRT rounds activations too where weights alone are integers.
        assert min(parity.correlations.values()) > (0.9 if weights == "hybrid" else 0.999), parity


def encode_alike(network: NetworkWriter, output: int, inputs: list[int]) -> None:
    """Gives joined rows, and the convolutions that they come from, the encoding of what joins them."""
    graph = network.graph
    before = {operator.output: operator.inputs[0] for operator in graph.operators if operator.name == "RESHAPE"}
    for number in inputs:
        for each in (number, before[number]):
            graph.tensors[each].quantisation = graph.tensors[output].quantisation


@pytest.mark.parametrize("quantised", [True, False])
def test_the_post_process_says_the_classes_and_holds_the_anchors(quantised: bool, tmp_path: Path) -> None:
    detector, path = FLOATS["not square"], tmp_path / "detector.tflite"
    network = writer_of(detector)
    with_post_process(network, detector, 3, quantised=quantised)
    path.write_bytes(network.content())
    conversion = convert(path)
    found: Any = conversion.checkpoint.architecture
    assert found == detector.with_options(folded=True, anchor_step=found.anchor_step)
    assert (found.anchor_step > 0) == quantised
    step = found.anchor_step
    exact = anchors(detector)
    assert np.abs(anchors(found) - exact).max() <= 0.5 * step + 1e-7
    if quantised:
        assert np.array_equal(anchors(found), np.rint(exact / step).astype(np.float32) * np.float32(step))
    assert any("numbered" in note for note in conversion.notes)


def large_square_second(detector: Detector, values: NDArray[Any], level: int) -> NDArray[Any]:
    """The rows of a level with the larger square of each cell as the second anchor."""
    count = len(detector.levels[level].anchors)
    order = [0, count - 1, *range(1, count - 1)] if count > 3 else list(range(count))
    return values.reshape(-1, count, *values.shape[1:])[:, order].reshape(values.shape)


@pytest.mark.parametrize("count", [3, 4], ids=["background", "no background"])
@pytest.mark.parametrize("weights", ["float32", "uint8", "int8"])
def test_the_larger_square_may_be_the_second_of_a_cell(weights: Any, count: int, tmp_path: Path) -> None:
    detector = FLOATS["ssdlite on v2"]
    folded, tensors = detector.with_options(folded=True), tensors_of(detector)
    turned, places, start = in_tensorflows_order(folded, tensors), [], 0
    for number, level in enumerate(detector.levels):
        stop = start + len(level.anchors) * level.size[0] * level.size[1]
        places.append(large_square_second(detector, anchors(detector)[start:stop], number))
        start = stop
        for output in ("offsets", "logits"):
            last = detector.graph.by_name[f"{output}.{number}"].reads[0]
            for name in (f"{last}.weight", f"{last}.bias"):
                values = turned[name].reshape(len(level.anchors), -1)
                turned[name] = large_square_second(detector, values, number).reshape(turned[name].shape)
    network = network_writer(folded, turned, Style(weights=weights))
    with_post_process(network, detector, count, quantised=False, own=np.concatenate(places))
    path = tmp_path / "detector.tflite"
    path.write_bytes(network.content())
    conversion = convert(path)
    found = conversion.checkpoint
    assert isinstance(found.architecture, Detector)
    np.testing.assert_allclose(anchors(found.architecture), anchors(detector), atol=1e-6)
    assert (found.quantisation is None) == (weights == "float32")
    if weights == "float32":
        for name, values in tensors.items():
            if ".classes." not in name or count == 3:
                np.testing.assert_array_equal(found.tensors[name], values, err_msg=name)
    assert not {"offsets", "logits"} & conversion.outputs.keys()


@pytest.mark.parametrize("told", ["sigmoid", "softmax", "names", ""])
def test_scores_may_come_before_boxes(told: str, tmp_path: Path) -> None:
    """Where scores have four numbers too, only what is done with them or a name tells them from boxes."""
    options: dict[str, Any] = {"scoring": "softmax"} if told == "softmax" else {}
    detector, path = ssdlite(**{**SMALL, "classes": 3}, **options), tmp_path / "detector.tflite"
    network = writer_of(detector)
    graph = network.graph
    boxes, scores = graph.outputs
    if told == "sigmoid":
        scores = graph.operator("LOGISTIC", [scores], graph.tensor("scores", graph.tensors[scores].shape))
    if told == "names":
        graph.tensors[scores].name = "raw_outputs/class_predictions"
    graph.outputs = [scores, boxes] if told else [boxes, scores]
    path.write_bytes(network.content())
    conversion = convert(path)
    assert_same(conversion, detector)
    assert any("nothing says which are boxes" in note for note in conversion.notes) == (not told)


def test_a_detector_without_background_gets_one_that_says_nothing(tmp_path: Path) -> None:
    """Four columns for four classes: the checkpoint has a fifth, of nothing, before them."""
    detector, path = FLOATS["ssdlite on v2"], tmp_path / "detector.tflite"
    network = writer_of(detector, Style(weights="uint8"))
    path.write_bytes(network.content())
    names = ("ant", "bee", "cat", "dog")
    conversion = convert(path, labels=names)
    checkpoint, architecture = conversion.checkpoint, conversion.checkpoint.architecture
    assert architecture.classes == 4
    assert checkpoint.classes == names
    assert compare(conversion, noise(detector)).equal == 1
    predictor = Predictor(checkpoint, runtime="numpy")
    _, logits = predictor.forward(np.stack(noise(detector)))
    assert logits.shape[-1] == 5
    assert (logits[..., 0] == 0).all()
    floats = read(path, labels=names, floats=True).checkpoint
    _, real = Predictor(floats, runtime="numpy").forward(np.stack(noise(detector)))
    assert (real[..., 0] == 0).all()


def refused(path: Path, text: str, **options: Any) -> None:
    with pytest.raises(ValueError, match=re.escape(text)) as caught:
        convert(path, **options)
    assert str(path) in str(caught.value)


def test_labels_of_another_count_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "detector.tflite"
    path.write_bytes(writer_of(FLOATS["ssdlite on v2"]).content())
    refused(path, "it has 4 scores an anchor, but there are 2 labels", labels=("ant", "bee"))
    assert any("taken for the background" in note for note in convert(path).notes)


def test_detectors_of_another_kind_are_refused_by_what_differs(tmp_path: Path) -> None:
    detector, path = FLOATS["ssdlite on v2"], tmp_path / "detector.tflite"
    network = writer_of(detector)
    with_post_process(network, detector, 3)
    graph, post = network.graph, network.graph.operators[-1]
    whole = post.options
    post.options = bytes(flexbuffers.Dumps({"num_classes": 3, "y_scale": 8.0}))
    path.write_bytes(network.content())
    refused(path, "y_scale is 8, not 10")
    post.options = bytes(flexbuffers.Dumps({"num_classes": 9}))
    path.write_bytes(network.content())
    refused(path, "it has 4 scores an anchor for 9 classes")
    post.options = whole
    post.inputs[2] = graph.constant("others", np.full((detector.anchors, 4), 0.1, np.float32))
    path.write_bytes(network.content())
    refused(path, "its anchors are not those of an SSD")
    post.options = b"\xff\x00\x07"
    path.write_bytes(network.content())
    refused(path, path.name)


@pytest.mark.parametrize("seed", range(8))
def test_damaged_detectors_are_refused_by_name_or_read(seed: int, tmp_path: Path) -> None:
    path = tmp_path / "damaged.tflite"
    detector = ssdlite(extra_channels=(), scales=(0.2, 0.95), **SMALL | {"width": 0.1, "resolution": 32})
    network = writer_of(detector, Style(weights="uint8"))
    if seed % 2:
        with_post_process(network, detector, 3)
    whole = network.content()
    generator = np.random.default_rng(seed)
    for _ in range(5):
        content = bytearray(whole)
        for place in generator.integers(len(content), size=4):
            content[place] = generator.choice([0, 1, 127, 128, 255])
        path.write_bytes(content)
        try:
            read(path)
        except ValueError as error:
            assert str(path) in str(error)  # noqa: PT017


REAL: dict[str, tuple[str, Detector, str | None]] = {
    "coco_ssd_mobilenet_v1_1.0_quant_2018_06_29": (
        "coco_ssd_v1_0.75_300_quant",
        ssd(backbone="mobilenet_v1", width=0.75, classes=90),
        "uint8",
    ),
    "mobile_object_localizer_v1_1_meta": (
        "localizer_ssdlite_v2_0.75_192_quant",
        ssdlite(width=0.75, resolution=192, classes=1),
        "uint8",
    ),
    "object_detection_ssd_mobilenetv2_oidv4_fp16": ("mediapipe_oidv4_ssd_v2_1.0_300_fp16", ssd(classes=23), None),
}


@pytest.mark.parametrize("name", REAL)
def test_a_published_detector_finds_what_its_own_runtime_does(name: str, sample_data: Callable[[str], Path]) -> None:
    """Of integer files every integer of every tensor is that of LiteRT's default kernels."""
    folder, expected, dtype = REAL[name]
    path = sample_data("weights") / folder / f"{name}.tflite"
    label_file = path.parent / "object_detection_oidv4_labelmap.txt"
    conversion = convert(path, labels=read_labels(label_file.read_bytes()) if label_file.exists() else None)
    checkpoint, found = conversion.checkpoint, conversion.checkpoint.architecture
    assert isinstance(found, Detector)
    assert replace(found, anchor_step=0) == expected.with_options(folded=True)
    pictures = [sample_data("tflite") / "test-images" / each for each in ("cat.bmp", "bird.bmp", "kite_and_cold.jpg")]
    parity = compare(conversion, pictures)
    assert parity.correlations.keys() >= {each.name for each in expected.operations}
    if dtype is None:
        assert min(parity.correlations.values()) > 0.9999, parity
        assert checkpoint.classes is not None
        assert checkpoint.classes[7] == "Cat"
        return
    assert checkpoint.quantisation is not None
    assert parity.equal == 1, parity
    for picture in pictures:
        pixels = prepare(picture, checkpoint.preprocessing)  # type: ignore[arg-type]
        boxes, scores, classes = theirs(path, pixels)
        offsets, logits = Predictor(checkpoint, runtime="numpy").forward(pixels[None])
        ours = detect(
            offsets[0],
            logits[0],
            anchors(found),
            scoring=found.scoring,
            suppression=Suppression(score_threshold=0.05, iou_threshold=0.6, total=100),
        )
        for box, score, number in zip(boxes, scores, classes, strict=True):
            if score >= 0.25:
                overlaps = np.where(ours[2] == number, iou(box[None], ours[0])[0], 0)
                assert overlaps.max() >= 0.999
                assert abs(ours[1][overlaps.argmax()] - score) <= 0.003


def theirs(path: Path, pixels: NDArray[np.uint8]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Boxes x0, y0, x1, y1 within the picture, scores and classes of the file in its own runtime."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], pixels[None])
    interpreter.invoke()
    boxes, classes, scores = (interpreter.get_tensor(each["index"])[0] for each in interpreter.get_output_details()[:3])
    return boxes[:, AXES].clip(0, 1), scores, classes.astype(int)

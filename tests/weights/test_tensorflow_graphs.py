"""Are graphs of TensorFlow, frozen or of TensorFlow.js, read as what they compute?"""

from __future__ import annotations

import base64
import json
import re
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import random_tensors
from PIL import Image
from tensorflow_graphs import Writer, clipped, graph_of, optimized, save_frozen, save_web

from linnet.architecture import Architecture, Detector, MobileNetV1, MobileNetV2
from linnet.architecture.ssdlite import ssd, ssdlite
from linnet.cli import main
from linnet.detection import anchors
from linnet.engine.fold import fold
from linnet.engine.reference import NumpyNetwork
from linnet.weights import read
from linnet.weights.parity import compare

SECOND = MobileNetV2(width=0.1, resolution=64, classes=3)
FIRST = MobileNetV1(width=0.1, resolution=64, classes=3)
LITE = ssdlite(classes=2, width=0.25, resolution=96)
REGULAR = ssd(classes=3, width=0.25, resolution=96)


def same_function(path: Path, architecture: Architecture, **options: Any) -> Any:
    """What was read, after a check that it computes what the random weights do."""
    conversion = read(path, **options)
    checkpoint = conversion.checkpoint
    inputs = np.random.default_rng(1).normal(size=(2, *architecture.input_size, architecture.input_channels))
    pictures = inputs.astype(np.float32)
    names = tuple(architecture.outputs)
    _, expected = NumpyNetwork(architecture, random_tensors(architecture)).run(pictures, names)
    _, found = NumpyNetwork(checkpoint.architecture, checkpoint.tensors).run(pictures, names)
    for name in names:
        np.testing.assert_allclose(found[name], expected[name], atol=1e-4 * np.abs(expected[name]).max())
    return conversion


def same_nodes(path: Path, architecture: Architecture) -> dict[str, float]:
    """Correlations of each tensor, after checks of the function that was read and of them."""
    same_function(path, architecture)
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    correlations = compare(read(path), [picture]).correlations
    assert min(correlations.values()) > 0.999999
    return correlations


@pytest.mark.parametrize("spread", [False, True], ids=["fused norm", "norm of several nodes"])
@pytest.mark.parametrize(
    "architecture",
    [
        SECOND,
        FIRST,
        MobileNetV2(width=0.1, resolution=72, padding="symmetric", classes=2),
        MobileNetV2(width=0.1, resolution=64, classes=4, hidden=(10, 7), classifier_bias=False),
        MobileNetV1(width=0.1, resolution=(64, 96), input_channels=1, classes=2, activation="relu"),
        LITE,
        REGULAR,
        ssdlite(classes=1, width=0.25, resolution=(96, 128)),
    ],
    ids=["v2", "v1", "symmetric", "hidden", "grey", "ssdlite", "ssd", "not square"],
)
def test_frozen_graphs(architecture: Any, spread: bool, tmp_path: Path) -> None:
    message = graph_of(architecture.graph, random_tensors(architecture), spread=spread, scores="Sigmoid")
    same_function(save_frozen(message, tmp_path / "graph.dat"), architecture)


def test_what_quantised_training_rounds_is_taken_unrounded_and_said(tmp_path: Path) -> None:
    message = graph_of(SECOND.graph, random_tensors(SECOND))
    first = next(node for node in message.node if node.op == "Relu6")
    for node in message.node:
        node.input[:] = ["act_quant" if name == first.name else name for name in node.input]
    message.node.add(name="act_quant", op="FakeQuantWithMinMaxArgs", input=[first.name])
    conversion = same_function(save_frozen(message, tmp_path / "graph.dat"), SECOND)
    assert any("FakeQuant" in note for note in conversion.notes)


@pytest.mark.parametrize("old", [False, True], ids=["model.json", "tensorflowjs_model.pb"])
@pytest.mark.parametrize("architecture", [SECOND, LITE], ids=["v2", "ssdlite"])
def test_graph_models_of_the_web(architecture: Any, old: bool, tmp_path: Path) -> None:
    """Batch norm folded, bias and activation fused; a folder, or the file in it."""
    network, tensors = fold(architecture, random_tensors(architecture))
    folder = save_web(graph_of(network, tensors, fused=True), tmp_path / "web", old=old)
    first = same_function(folder, architecture)
    second = same_function(folder / ("tensorflowjs_model.pb" if old else "model.json"), architecture)
    assert first.checkpoint.provenance["sha256"] == second.checkpoint.provenance["sha256"]


def test_biases_may_be_added_behind_shortcuts(tmp_path: Path) -> None:
    """TensorFlow's optimizer makes (x + y) + b of (x + b) + y, its sum of two an AddN."""
    network, tensors = fold(SECOND, random_tensors(SECOND))
    message = optimized(graph_of(network, tensors))
    shortcuts = sum(operation.adds for operation in network.operations)
    assert sum(node.op == "AddN" for node in message.node) == shortcuts > 0
    correlations = same_nodes(save_frozen(message, tmp_path / "graph.pb"), SECOND)
    assert "blocks.2" in correlations


def test_a_relu6_may_begin_with_its_upper_end(tmp_path: Path) -> None:
    message = clipped(graph_of(FIRST.graph, random_tensors(FIRST)), behind_relu=False)
    for node in message.node:
        if node.op == "Maximum":
            node.op = "Relu"
            del node.input[1:]
    same_function(save_frozen(message, tmp_path / "graph.pb"), FIRST)


@pytest.mark.parametrize("behind_relu", [False, True], ids=["clip", "ReLU and clip"])
def test_a_relu6_of_several_nodes(behind_relu: bool, tmp_path: Path) -> None:
    message = clipped(graph_of(FIRST.graph, random_tensors(FIRST)), behind_relu=behind_relu)
    same_nodes(save_frozen(message, tmp_path / "graph.pb"), FIRST)


def test_half_a_relu6_is_of_no_mobilenet(tmp_path: Path) -> None:
    message = clipped(graph_of(FIRST.graph, random_tensors(FIRST)), behind_relu=False)
    for node in message.node:
        if node.op == "Maximum":
            node.op = "Identity"
            del node.input[1:]
    with pytest.raises(ValueError, match="has no ReLU or ReLU6 behind it"):
        read(save_frozen(message, tmp_path / "graph.pb"))


@pytest.mark.parametrize("corners", [True, False])
def test_anchors_that_a_graph_has_as_numbers_are_read(corners: bool, tmp_path: Path) -> None:
    detector = REGULAR.with_options(scales=(0.15, 0.3, 0.45, 0.6, 0.75, 0.9), aspect_ratios=(1.0, 2.0, 0.5, 4.0, 0.25))
    values = np.asarray(anchors(detector), np.float64)
    centre, size = values[:, [1, 0]], values[:, [3, 2]]
    written = np.concatenate([centre - size / 2, centre + size / 2] if corners else [centre, size], axis=1)
    writer = Writer()
    writer.message = graph_of(detector.graph, random_tensors(detector), scores="Sigmoid")
    writer.constant("Postprocessor/ExpandDims", written[None])
    conversion = same_function(save_frozen(writer.message, tmp_path / "graph.pb"), detector)
    np.testing.assert_allclose(anchors(conversion.checkpoint.architecture), values, atol=1e-5)
    assert not any("anchors" in note for note in conversion.notes)


def test_its_own_nodes_give_the_same(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for architecture in (SECOND, FIRST, LITE):
        message = graph_of(architecture.graph, random_tensors(architecture))
        parity = compare(read(save_frozen(message, tmp_path / "graph.pb")), [picture])
        assert min(parity.correlations.values()) > 0.999999, architecture
        assert "classifier" in parity.correlations or {"offsets", "logits"} <= parity.correlations.keys()


@pytest.mark.parametrize(
    ("scale", "offset", "mean", "std"),
    [(2 / 255, -1.0, 0.5, 0.5), (1 / 128, -1.0, 128 / 255, 128 / 255), (2.0, -1.0, 0.5, 0.5)],
    ids=["bytes", "bytes by 128", "up to 1"],
)
def test_what_it_does_to_pixels_is_the_contract(
    scale: float, offset: float, mean: float, std: float, tmp_path: Path
) -> None:
    message = graph_of(SECOND.graph, random_tensors(SECOND), scale=scale, offset=offset)
    contract = read(save_frozen(message, tmp_path / "a.pb")).checkpoint.preprocessing
    assert contract is not None
    np.testing.assert_allclose([*contract.mean, *contract.std], [mean] * 3 + [std] * 3, rtol=1e-6)


def test_pixels_may_have_one_scale_and_a_mean_for_each_channel(tmp_path: Path) -> None:
    message = graph_of(SECOND.graph, random_tensors(SECOND), scale=1 / 255, offset=(-0.485, -0.456, -0.406))
    contract = read(save_frozen(message, tmp_path / "a.pb")).checkpoint.preprocessing
    assert contract is not None
    np.testing.assert_allclose([*contract.mean, *contract.std], [0.485, 0.456, 0.406, 1, 1, 1], rtol=1e-6)


def _behind(entry: Callable[[Writer, str], str], *, size: int | None = 64) -> Any:
    """A network behind whatever `entry` makes of its picture."""
    writer = Writer()
    pixels = entry(writer, writer.node("image", "Placeholder", shape=(-1, size or -1, size or -1, 3)))
    for node in graph_of(SECOND.graph, random_tensors(SECOND)).node:
        if node.name != "image":
            added = writer.message.node.add()
            added.CopyFrom(node)
            added.input[:] = [pixels if name == "image" else name for name in node.input]
    return writer.message


def _as_torch(w: Writer, x: str) -> str:
    x = w.node("whole", "RealDiv", x, w.constant("c", 255.0))
    x = w.node("mean", "BiasAdd", x, w.constant("m", [-0.485, -0.456, -0.406]))
    return w.node("std", "RealDiv", x, w.constant("s", [0.229, 0.224, 0.225]))


def _last_axis(w: Writer, x: str) -> str:
    ends = [w.constant(name, [0, 0, 0, 0], "DT_INT32") for name in ("begin", "end")]
    by = w.constant("by", [1, 1, 1, -1], "DT_INT32")
    return w.node("turn", "StridedSlice", x, *ends, by, begin_mask=15, end_mask=15)


def _as_caffe(w: Writer, x: str) -> str:
    return w.node("mean", "BiasAdd", _last_axis(w, x), w.constant("m", [-103.939, -116.779, -123.68]))


def _late_turn(w: Writer, x: str) -> str:
    x = w.node("mean", "Sub", x, w.constant("m", [0.1, 0.2, 0.3]))
    return w.node("turn", "ReverseV2", x, w.constant("axis", [3], "DT_INT32"))


def _normalised(w: Writer, x: str) -> str:
    vectors = {"scale": 2.0, "shift": 1.0, "mean": 120.0, "variance": 3600.0}
    return w.normalise("input", x, {name: np.full(3, value, np.float32) for name, value in vectors.items()}, 0.0)


def _mean_alone(w: Writer, x: str) -> str:
    return w.node("mean", "Sub", x, w.constant("m", 127.5))


@pytest.mark.parametrize(
    ("entry", "colours", "mean", "std"),
    [
        (_as_torch, "RGB", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        (_as_caffe, "BGR", (103.939 / 255, 116.779 / 255, 123.68 / 255), (1 / 255,) * 3),
        (_late_turn, "BGR", (0.3, 0.2, 0.1), (1.0,) * 3),
        (_normalised, "RGB", (90 / 255,) * 3, (30 / 255,) * 3),
        (_mean_alone, "RGB", (0.5,) * 3, (1 / 255,) * 3),
    ],
    ids=["as torch", "as Caffe", "turned at last", "batch norm", "a mean alone"],
)
def test_ways_to_normalise(
    entry: Callable[[Writer, str], str],
    colours: str,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    tmp_path: Path,
) -> None:
    conversion = read(save_frozen(_behind(entry), tmp_path / "a.pb"))
    contract = conversion.checkpoint.preprocessing
    assert contract is not None
    assert contract.colours == colours
    np.testing.assert_allclose([*contract.mean, *contract.std], [*mean, *std], rtol=1e-5)
    assert not any("does not say how pixels" in note for note in conversion.notes)


def _standardised(w: Writer, x: str) -> str:
    axes = w.constant("axes", [1, 2, 3], "DT_INT32")
    return w.node("centre", "Sub", x, w.node("mean", "Mean", x, axes))


def _mirrored(w: Writer, x: str) -> str:
    return w.node("mirror", "ReverseV2", x, w.constant("axis", [2], "DT_INT32"))


def _clipped_below_white(w: Writer, x: str) -> str:
    """Of numbers up to 255, half of which it makes 128."""
    x = w.node("dark", "Minimum", x, w.constant("b", 128.0))
    return w.node("whole", "Mul", x, w.constant("c", 1 / 255))


def _rounded_late(w: Writer, x: str) -> str:
    return w.node("rounded", "Round", w.node("whole", "Mul", x, w.constant("c", 1 / 255)))


def _whole_numbers_late(w: Writer, x: str) -> str:
    x = w.node("whole", "Mul", x, w.constant("c", 1 / 255))
    w.node("bytes", "Cast", x)
    w.message.node[-1].attr["SrcT"].type, w.message.node[-1].attr["DstT"].type = 1, 4
    return "bytes"


def _sliced(w: Writer, x: str, begin: list[int], end: list[int], **masks: int) -> str:
    ends = [w.constant(name, values, "DT_INT32") for name, values in (("begin", begin), ("end", end))]
    return w.node("part", "StridedSlice", x, *ends, w.constant("by", [1] * len(begin), "DT_INT32"), **masks)


def _stacked(w: Writer, x: str) -> str:
    for number in range(3):
        w.node(f"colour{number}", "Identity", x)
    return w.node("stack", "Pack", *[f"colour{number}" for number in (2, 1, 0)])


def _taken_apart(w: Writer, x: str) -> str:
    return w.node("stack", "Pack", w.node("apart", "Unpack", x, axis=3))


def _normalised_by_itself(w: Writer, x: str) -> str:
    _normalised(w, x)
    del w.message.node[-1].attr["is_training"]
    return "input/norm"


def _doubled(w: Writer, x: str) -> str:
    ways = [w.node(f"way{number}", "Mul", x, w.constant(f"c{number}", number)) for number in (2.0, 3.0)]
    return w.node("join", "Merge", *ways)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (_standardised, "its operator Sub before the first convolution computes with more than pixels"),
        (_mirrored, "it mirrors its pictures"),
        (_doubled, "pixels reach its first convolution in several ways"),
        (lambda w, x: w.node("p", "Pow", x, w.constant("g", 2.2)), "its operator Pow stands before"),
        (lambda w, x: w.node("c", "Minimum", x, w.constant("b", 0.5)), "its operator Minimum before"),
        (_clipped_below_white, "its operator Minimum before the first convolution may change pixels"),
        (_rounded_late, "its operator Round before the first convolution may change pixels"),
        (_whole_numbers_late, "its operator Cast before the first convolution may change pixels"),
        (_stacked, "it puts its pictures together of parts"),
        (_taken_apart, "it takes its pictures apart"),
        (_normalised_by_itself, "it normalises its pictures by themselves"),
        (lambda w, x: _sliced(w, x, [0, 1], [0, 2], ellipsis_mask=1, shrink_axis_mask=2), "one of its pictures' rows"),
        (
            lambda w, x: _sliced(w, x, [0, 0, 0, 1], [0, 0, 0, 3], begin_mask=7, end_mask=7),
            "some of a picture's colours",
        ),
        (lambda w, x: w.node("n", "Neg", x), "no normalisation of pixels"),
        (lambda w, x: w.node("t", "ConcatV2", x, x, x, w.constant("a", 3, "DT_INT32")), "its operator ConcatV2"),
    ],
    ids=[
        "standardised",
        "mirrored",
        "several ways",
        "power",
        "bound",
        "dark",
        "rounded",
        "whole numbers",
        "stacked",
        "taken apart",
        "by itself",
        "one colour",
        "two colours",
        "negative",
        "grey thrice",
    ],
)
def test_what_no_contract_says_is_refused(entry: Callable[[Writer, str], str], words: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        read(save_frozen(_behind(entry), tmp_path / "a.pb"))


def _clip_of_bytes(w: Writer, x: str) -> str:
    x = w.node("least", "Maximum", w.node("most", "Minimum", x, w.constant("b", 255.0)), w.constant("z", 0.0))
    return w.node(
        "mean", "Sub", w.node("half", "Mul", w.node("r", "Round", x), w.constant("c", 2 / 255)), w.constant("o", 1.0)
    )


def _clip_of_what_is_normalised(w: Writer, x: str) -> str:
    x = w.node("mean", "Sub", w.node("half", "Mul", x, w.constant("c", 2 / 255)), w.constant("o", 1.0))
    return w.node("least", "Maximum", w.node("most", "Minimum", x, w.constant("b", 1.0)), w.constant("z", -1.0))


def _without_alpha(w: Writer, x: str) -> str:
    x = _sliced(w, x, [0, 0], [0, 3], ellipsis_mask=1, begin_mask=2)
    return w.node("mean", "Sub", w.node("half", "Mul", x, w.constant("c", 2 / 255)), w.constant("o", 1.0))


@pytest.mark.parametrize("entry", [_clip_of_bytes, _clip_of_what_is_normalised, _without_alpha])
def test_what_changes_no_pixel_is_read(entry: Callable[[Writer, str], str], tmp_path: Path) -> None:
    contract = read(save_frozen(_behind(entry), tmp_path / "a.pb")).checkpoint.preprocessing
    assert contract is not None
    np.testing.assert_allclose([*contract.mean, *contract.std], [0.5] * 6, rtol=1e-5)


def test_a_picture_that_is_cut_has_the_size_behind_the_cut(tmp_path: Path) -> None:
    def entry(w: Writer, x: str) -> str:
        return _sliced(w, x, [0, 16, 8, 0], [0, 80, 72, 0], begin_mask=9, end_mask=9)

    conversion = read(save_frozen(_behind(entry, size=96), tmp_path / "a.pb"))
    assert conversion.checkpoint.architecture.input_size == (64, 64)
    assert any("frames its pictures (StridedSlice)" in note for note in conversion.notes)


def _with_last(kind: str, *values: Any, types: str = "DT_FLOAT") -> Any:
    """The network with an operator behind its scores."""
    message = graph_of(SECOND.graph, random_tensors(SECOND))
    writer = Writer()
    writer.message = message
    writer.node(
        "last", kind, "probabilities", *[writer.constant(f"c{n}", each, types) for n, each in enumerate(values)]
    )
    return message


@pytest.mark.parametrize(
    ("kind", "values", "types"),
    [
        ("MatMul", [np.ones((3, 2))], "DT_FLOAT"),
        ("Sub", [1.0], "DT_FLOAT"),
        ("Mul", [[1.0, 2.0, 3.0]], "DT_FLOAT"),
        ("GatherV2", [[2, 0, 1], 1], "DT_INT32"),
        ("ReverseV2", [[1]], "DT_INT32"),
        ("Slice", [[0, 1], [-1, 2]], "DT_INT32"),
        ("StridedSlice", [[0, 1], [9, 3], [1, 1]], "DT_INT32"),
    ],
)
def test_scores_that_are_changed_are_refused(kind: str, values: Any, types: str, tmp_path: Path) -> None:
    """The classes behind would be others, or in another order: nothing else would show it."""
    with pytest.raises(ValueError, match=f"its operator {kind} stands behind the pooling or the scores"):
        read(save_frozen(_with_last(kind, *values, types=types), tmp_path / "a.pb"))


@pytest.mark.parametrize(
    ("kind", "values"), [("ArgMax", [1]), ("TopKV2", [2]), ("Slice", [[0, 0], [-1, 3]]), ("Identity", [])]
)
def test_scores_that_stay_what_they_are_are_read(kind: str, values: Any, tmp_path: Path) -> None:
    same_function(save_frozen(_with_last(kind, *values, types="DT_INT32"), tmp_path / "a.pb"), SECOND)


def test_a_norm_that_does_not_say_so_is_one_of_training(tmp_path: Path) -> None:
    """TensorFlow leaves out what is the default, and that is the default."""
    message = graph_of(SECOND.graph, random_tensors(SECOND))
    for node in message.node:
        if node.op == "FusedBatchNorm":
            del node.attr["is_training"]
    with pytest.raises(ValueError, match="its batch norm is that of training"):
        read(save_frozen(message, tmp_path / "a.pb"))


@pytest.mark.parametrize("padded", [False, True], ids=["cut", "shape kept"])
def test_arithmetic_on_a_pictures_size_is_none_on_its_pixels(padded: bool, tmp_path: Path) -> None:
    """As slim cuts 0.875 of a picture out, and as resizing keeps a picture's shape."""

    def entry(w: Writer, x: str) -> str:
        x = w.node("whole", "Mul", x, w.constant("c", 1 / 255))
        sides = [w.constant(name, values, "DT_INT32") for name, values in (("b", [1]), ("e", [2]), ("s", [1]))]
        height = w.node("height", "Cast", w.node("side", "StridedSlice", w.node("shape", "Shape", x), *sides))
        part = w.node("part", "Mul", height, w.constant("share", 0.875))
        size = w.constant("size", [64, 64], "DT_INT32")
        if padded:
            size = w.node("sides", "Pack", part, part)
        else:
            start = w.node("start", "Pack", w.node("rest", "Sub", height, part), w.constant("zero", 0, "DT_INT32"))
            x = w.node("cut", "Slice", x, start, w.constant("all", [-1, -1, -1, -1], "DT_INT32"))
        x = w.node("resize", "ResizeBilinear", x, size)
        return w.node("twice", "Mul", w.node("mean", "Sub", x, w.constant("m", 0.5)), w.constant("two", 2.0))

    conversion = read(save_frozen(_behind(entry, size=None), tmp_path / "a.pb"), resolution=64 if padded else None)
    contract = conversion.checkpoint.preprocessing
    assert contract is not None
    np.testing.assert_allclose([*contract.mean, *contract.std], [0.5] * 6, rtol=1e-5)
    how = "ResizeBilinear to a size that it computes" if padded else "Slice"
    assert any(f"The graph itself frames its pictures ({how})" in note for note in conversion.notes)


@pytest.mark.parametrize("missing", ["google", "google.protobuf"])
def test_without_protobuf_it_is_named(missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_frozen(graph_of(SECOND.graph, random_tensors(SECOND)), tmp_path / "a.pb")
    for name in ("google", "google.protobuf") if missing == "google" else (missing,):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ModuleNotFoundError, match=r"needs protobuf: pip install 'linnet\[convert\]'\.") as caught:
        read(path)
    assert str(path) in str(caught.value)


def test_a_graph_of_any_size(tmp_path: Path) -> None:
    message = graph_of(SECOND.graph, random_tensors(SECOND), size=False)
    path = save_frozen(message, tmp_path / "a.pb")
    conversion = read(path, resolution=64)
    assert conversion.checkpoint.architecture.input_size == (64, 64)
    assert any("224 is assumed" in note for note in conversion.notes)


def test_a_classifier_on_top_of_another_is_one(tmp_path: Path) -> None:
    """As TensorFlow's retraining script leaves it: two new classes of 1001 old scores."""
    tensors = random_tensors(SECOND)
    message = graph_of(SECOND.graph, tensors)
    writer = Writer()
    writer.message = message
    weight = np.random.default_rng(3).normal(size=(3, 2)).astype(np.float32)
    product = writer.node("final/MatMul", "MatMul", "classifier/BiasAdd", writer.constant("final/weights", weight))
    bias = np.array([0.5, -0.25], np.float32)
    writer.node("final_result", "Softmax", writer.node("final/add", "Add", product, writer.constant("final/b", bias)))
    checkpoint = read(save_frozen(message, tmp_path / "a.pb"), labels=("no", "yes")).checkpoint
    picture = np.random.default_rng(1).normal(size=(1, 64, 64, 3)).astype(np.float32)
    before, _ = NumpyNetwork(SECOND, tensors).run(picture)
    found, _ = NumpyNetwork(checkpoint.architecture, checkpoint.tensors).run(picture)
    np.testing.assert_allclose(found, before @ weight + bias, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["Sigmoid", ""], ids=["sigmoid", "logit"])
def test_one_output_becomes_two_classes(kind: str, tmp_path: Path) -> None:
    message = graph_of(replace(SECOND, classes=1).graph, random_tensors(replace(SECOND, classes=1)))
    writer = Writer()
    writer.message = message
    last = next(node for node in message.node if node.name == "classifier/BiasAdd")
    if kind:
        writer.node("score", kind, last.name)
    conversion = read(save_frozen(message, tmp_path / "a.pb"), labels=("cat",))
    assert conversion.checkpoint.classes == ("not cat", "cat")
    assert any("it became two classes" in note for note in conversion.notes)
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert min(compare(conversion, [picture, picture[::-1]]).correlations.values()) > 0.999999


def _spoil(message: Any, name: str, kind: str) -> Any:
    next(node for node in message.node if node.name == name).op = kind
    return message


def test_other_graphs_are_named(tmp_path: Path) -> None:
    message = graph_of(SECOND.graph, random_tensors(SECOND))
    for spoilt, text in (
        (
            _spoil(graph_of(SECOND.graph, random_tensors(SECOND)), "blocks/2/depthwise", "Elu"),
            "its operator Elu stands before",
        ),
        (_spoil(graph_of(SECOND.graph, random_tensors(SECOND)), "pool", "Max"), "neither a global average pooling"),
    ):
        with pytest.raises(ValueError, match=text):
            read(save_frozen(spoilt, tmp_path / "a.pb"))
    content = message.SerializeToString()
    (tmp_path / "cut.pb").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="is damaged"):
        read(tmp_path / "cut.pb")
    folder = save_web(message, tmp_path / "web", old=True)
    (folder / "weights_manifest.json").unlink()
    with pytest.raises(ValueError, match=r"weights_manifest\.json"):
        read(folder)
    with pytest.raises(ValueError, match=r"no weights_manifest\.json lies beside it"):
        read(folder / "tensorflowjs_model.pb")


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_frozen(graph_of(SECOND.graph, random_tensors(SECOND)), tmp_path / "a.pb")
    Image.new("RGB", (70, 60), "green").save(tmp_path / "green.png")
    arguments = ["convert", str(tmp_path / "a.pb"), "--out", str(tmp_path / "a.safetensors")]
    assert main([*arguments, "--pictures", str(tmp_path / "green.png")]) == 0
    output = "".join(capsys.readouterr())
    assert "against the file's own graph" in output


def _generate(writer: Writer, number: int, level: Any, order: Any = slice(None), scale: float = 1.0) -> None:
    """What TensorFlow's generator of anchors has for a level: scales and ratios of a cell as numbers."""
    width, height = np.array(level.anchors).T
    base, last = "MultipleGridAnchorGenerator", f"_{number}" if number else ""
    root = writer.node(f"{base}/Sqrt{last}", "Sqrt", writer.constant(f"{base}/ratios{last}", (width / height)[order]))
    scales = writer.constant(f"{base}/scales{last}", scale * np.sqrt(width * height)[order])
    writer.node(f"{base}/truediv{last}", "RealDiv", scales, root)


@pytest.mark.parametrize("large_square", ["last", "second"])
def test_anchors_that_a_graph_computes_are_read_off_it(large_square: str, tmp_path: Path) -> None:
    """TensorFlow's generator: scales and ratios of a cell are numbers, and all else is computed from the maps."""
    detector = LITE.with_options(scales=(0.15, 0.3, 0.45, 0.6, 0.75, 0.9), aspect_ratios=(1.0, 2.0, 0.5, 4.0, 0.25))
    writer = Writer()
    writer.message = graph_of(detector.graph, random_tensors(detector), scores="Sigmoid")
    orders = []
    for number, level in enumerate(detector.levels):
        order = np.arange(len(level.anchors))
        if large_square == "second" and len(order) > 3:
            order = np.array([0, 5, 1, 2, 3, 4])
        orders.append(order)
        _generate(writer, number, level, order)
    conversion = read(save_frozen(writer.message, tmp_path / "graph.pb"))
    found = conversion.checkpoint
    assert isinstance(found.architecture, Detector)
    np.testing.assert_allclose(anchors(found.architecture), anchors(detector), atol=1e-5)
    assert not any("anchors" in note for note in conversion.notes)
    # The rows of a cell are in the order of its anchors.
    tensors = random_tensors(detector)
    for number, order in enumerate(orders):
        name = f"predictors.{number}.boxes.pointwise.bias"
        back = np.argsort(order)
        expected = tensors[name].reshape(-1, 4)[back]
        np.testing.assert_array_equal(found.tensors[name].reshape(-1, 4), expected)


@pytest.mark.parametrize(
    ("count", "scale", "words"),
    [
        (5, 1.0, "generates anchors for 5 levels"),
        (6, float("nan"), "its anchors are not those of an SSD"),
        (6, 0.0, "its anchors are not those of an SSD"),
        (6, -1.0, "its anchors are not those of an SSD"),
    ],
)
def test_generators_of_other_anchors_are_refused(count: int, scale: float, words: str, tmp_path: Path) -> None:
    writer = Writer()
    writer.message = graph_of(LITE.graph, random_tensors(LITE), scores="Sigmoid")
    for number, level in enumerate(LITE.levels[:count]):
        _generate(writer, number, level, scale=scale)
    with pytest.raises(ValueError, match=words):
        read(save_frozen(writer.message, tmp_path / "graph.pb"))


def _read_from(message: Any, reader: str, source: str) -> Any:
    """The graph with a node that reads another one in place of its first input."""
    next(node for node in message.node if node.name == reader).input[0] = source
    return message


def test_what_reads_a_layer_before_its_end_is_refused(tmp_path: Path) -> None:
    """The activation of the one layer would be taken for the other's input."""
    network, tensors = fold(SECOND, random_tensors(SECOND))

    def graph() -> Any:
        return graph_of(network, tensors)

    readers = {name: node.name for node in graph().node for name in node.input if node.op.endswith("Native")}
    depthwise = readers["blocks/1/expand"]
    shifted = optimized(graph())
    leaf = next(node.name for node in shifted.node if node.op == "AddN")
    after = next(node.name for node in shifted.node if node.op == "Conv2D" and leaf.rpartition("/")[0] in node.input)
    for message in (
        _read_from(graph(), depthwise, "blocks/1/expand/BiasAdd"),
        _read_from(graph(), "pool", "head/BiasAdd"),
        _read_from(shifted, after, leaf),
    ):
        with pytest.raises(ValueError, match="reads what stands before another's bias, batch norm or activation"):
            read(save_frozen(message, tmp_path / "graph.pb"))


def test_an_activation_behind_the_scores_is_refused(tmp_path: Path) -> None:
    message = graph_of(SECOND.graph, random_tensors(SECOND))
    writer = Writer()
    writer.message = message
    last = writer.node("late", "Relu", "classifier/BiasAdd")
    next(node for node in message.node if node.name == "probabilities").input[0] = last
    with pytest.raises(ValueError, match="its linear layers have the activations relu"):
        read(save_frozen(message, tmp_path / "graph.pb"))


@pytest.mark.parametrize("shape", [(-1, 1, 1), (1, 1, -1, 1)])
def test_constants_along_rows_or_columns_are_no_bias(shape: tuple[int, ...], tmp_path: Path) -> None:
    network, tensors = fold(SECOND, random_tensors(SECOND))
    message = graph_of(network, tensors)
    for node in message.node:
        if node.name == "blocks/3/project/biases":
            sides = node.attr["value"].tensor.tensor_shape
            count = sides.dim[0].size
            del sides.dim[:]
            for side in shape:
                sides.dim.add(size=count if side < 0 else side)
    with pytest.raises(ValueError, match="operator BiasAdd stands before a convolution"):
        read(save_frozen(message, tmp_path / "graph.pb"))


def test_ninety_classes_are_cocos(tmp_path: Path) -> None:
    detector = LITE.with_options(classes=90)
    path = save_frozen(graph_of(detector.graph, random_tensors(detector), scores="Sigmoid"), tmp_path / "a.pb")
    conversion = read(path)
    names = conversion.checkpoint.classes
    assert names is not None
    assert (len(names), names[0], names[15], names[-1], names.count("???")) == (90, "person", "bird", "toothbrush", 10)
    assert any("COCO" in note for note in conversion.notes)


@pytest.mark.parametrize("texts", ["lists", "objects", "buffers"])
def test_texts_as_protobufjs_writes_them(texts: str, tmp_path: Path) -> None:
    """Bytes are lists of numbers, or what JSON makes of typed arrays and Buffers."""
    folder = save_web(graph_of(SECOND.graph, random_tensors(SECOND), fused=True), tmp_path / "web")
    document = json.loads((folder / "model.json").read_text())

    def changed(text: str) -> Any:
        values = list(base64.b64decode(text))
        if texts == "objects":
            return {str(place): value for place, value in enumerate(values)}
        return values if texts == "lists" else {"type": "Buffer", "data": values}

    for node in document["modelTopology"]["node"]:
        for attribute in node.get("attr", {}).values():
            if "s" in attribute:
                attribute["s"] = changed(attribute["s"])
            listed = attribute.get("list", {})
            if "s" in listed:
                listed["s"] = [changed(each) for each in listed["s"]]
            elif listed:
                listed["s"] = []
            if "i" in listed:
                listed["i"] = [{"low": int(each), "high": 0, "unsigned": False} for each in listed["i"]]
    (folder / "model.json").write_text(json.dumps(document))
    same_function(folder, SECOND)


def test_parts_of_checkpoints_are_named(tmp_path: Path) -> None:
    """TensorFlow's zoo was published as archives of a checkpoint, a frozen graph and a TFLite file."""
    for name, content in (
        ("model.ckpt.data-00000-of-00001", b"\x01\x02" * 50),
        ("model.ckpt.index", b"\0\0\x08abc" * 9),
        ("model.ckpt.meta", b"\n\x10abc" * 9),
        ("checkpoint", b'model_checkpoint_path: "model.ckpt"\nall_model_checkpoint_paths: "model.ckpt"\n'),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match="belongs to a checkpoint of TensorFlow"):
            read(tmp_path / name)
    with pytest.raises(ValueError, match="belongs to a checkpoint of TensorFlow"):
        read(tmp_path)
    save_frozen(graph_of(SECOND.graph, random_tensors(SECOND)), tmp_path / "frozen.pb")
    (tmp_path / "saved_model").mkdir()
    (tmp_path / "saved_model" / "saved_model.pb").write_bytes(b"\x08\x01\x12\x9c\x4c\x0a" * 10)
    assert same_function(tmp_path, SECOND).notes[0] == "The folder holds one model: 'frozen.pb'."
    for path in (tmp_path / "saved_model", tmp_path / "saved_model" / "saved_model.pb"):
        with pytest.raises(ValueError, match="is damaged"):
            read(path)


def test_the_only_model_in_a_folder_is_read_whatever_its_name(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "notes.txt").write_text("trained in spring")
    (tmp_path / "encoder.pkl").write_bytes(b"\x80\x04N.")
    save_frozen(graph_of(SECOND.graph, random_tensors(SECOND)), tmp_path / "deep" / "pets.model")
    conversion = same_function(tmp_path, SECOND)
    assert conversion.notes[0] == f"The folder holds one model: '{Path('deep') / 'pets.model'}'."
    save_frozen(graph_of(FIRST.graph, random_tensors(FIRST)), tmp_path / "deep" / "second.pb")
    with pytest.raises(ValueError, match=r"name one of its files, such as deep/second\.pb"):
        read(tmp_path)


def test_a_folder_of_many_files_is_no_model(tmp_path: Path) -> None:
    """Of more files than are opened no one can say that one alone holds a network."""
    for number in range(501):
        (tmp_path / f"{number:04}.dat").touch()
    for name in ("0000.pb", "z.pb"):
        save_frozen(graph_of(SECOND.graph, random_tensors(SECOND)), tmp_path / name)
    with pytest.raises(ValueError, match=r"name one of its files, such as 0000\.pb or z\.pb"):
        read(tmp_path)


def test_what_lies_beside_a_model_keeps_no_one_from_it(tmp_path: Path) -> None:
    (tmp_path / ".git" / "lfs").mkdir(parents=True)
    save_frozen(graph_of(FIRST.graph, random_tensors(FIRST)), tmp_path / ".git" / "lfs" / "1f0c")
    (tmp_path / "net.mlmodel").write_bytes(b"\x08\x07\x12\x30" * 20)
    (tmp_path / "config.json").write_text('[{"name": "x", "weights": "1"}]')
    for number in range(600):
        (tmp_path / f"{number}.jpg").touch()
    path = save_frozen(graph_of(SECOND.graph, random_tensors(SECOND)), tmp_path / "m.pb")
    (tmp_path / "link.pb").symlink_to(path)
    assert "The folder holds one model" in same_function(tmp_path, SECOND).notes[0]


def test_files_in_archives_are_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "package.whl", "w") as archive:
        archive.writestr("a/METADATA", "Name: a")
        archive.writestr("a/files/graph.pb", b"\n")
    with pytest.raises(ValueError, match=r"unpack it, and name one of its files, such as a/files/graph\.pb"):
        read(tmp_path / "package.whl")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("net.caffemodel", b"\x0a\x07res10\x00\x01" * 9, "is a file of Caffe by its name"),
        ("net.mlmodel", b"\x08\x04\x12\x30" * 20, "Core ML"),
        ("net.mlmodel", b"\x08\x01\x12\x30" * 20, "Core ML"),
        ("net.pbtxt", b'node {\n  name: "input"\n}\n' * 5, "a graph of TensorFlow as text"),
        ("net.xml", b'<?xml version="1.0"?>\n<net name="m" version="11">' + b" " * 40, "a network of OpenVINO"),
        ("page.xml", b'<?xml version="1.0"?>\n<rss>' + b" " * 40, "a download probably went wrong"),
    ],
)
def test_files_of_other_libraries_are_named(name: str, content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=words):
        read(tmp_path / name)

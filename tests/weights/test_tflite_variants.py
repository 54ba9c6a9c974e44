"""Is one network read out of a TFLite file however converters write it, and others named as what they are?"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tflite
from networks import random_tensors
from numpy.typing import NDArray
from tflite_writer import GraphWriter, NetworkWriter, Operator, Quantisation, Style, network_writer, write_tflite

from linnet.architecture import Convolve, MobileNetV1, MobileNetV2
from linnet.engine.fold import fold
from linnet.engine.integer_reference import numpy_network
from linnet.images import normalise
from linnet.weights import read
from linnet.weights.conversion import Conversion
from linnet.weights.parity import TFLiteGraph, compare
from linnet.weights.tflite import convert
from linnet.weights.tflite_graph import Graph

SMALL = MobileNetV2(width=0.35, resolution=64, classes=3)
LINEAR = Style(classifier="fully_connected")
NONE = tflite.ActivationFunctionType.NONE


def written(path: Path, network: NetworkWriter) -> Conversion:
    path.write_bytes(network.content())
    return convert(path)


def noise(count: int = 2, side: int = 64) -> list[NDArray[np.uint8]]:
    return list(np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8))


def agrees(conversion: Conversion) -> None:
    parity = compare(conversion, noise())
    if conversion.checkpoint.quantisation is not None:
        assert parity.equal == 1, parity
    else:
        assert min(parity.correlations.values()) > 0.9999, parity


def of_small(style: Style = LINEAR, **options: Any) -> NetworkWriter:
    network = replace(SMALL, **options)
    return network_writer(network, random_tensors(network), style)


def before_all(network: NetworkWriter, operators: Sequence[tuple[str, Any, str, bool]]) -> None:
    """Puts arithmetic of the picture before everything: name, numbers, options, and whether the numbers come first."""
    graph = network.graph
    (entered,) = graph.inputs
    current = entered
    added = []
    for place, (name, values, kind, first) in enumerate(operators):
        number = graph.constant(f"constant {place}", np.asarray(values, np.float32))
        output = graph.tensor(f"rescaled {place}", graph.tensors[entered].shape)
        inputs = [number, current] if first else [current, number]
        added.append(Operator(name, inputs, output, kind, {"FusedActivationFunction": NONE}))
        current = output
    for operator in graph.operators:
        operator.inputs = [current if number == entered else number for number in operator.inputs]
    graph.operators[:0] = added


MUL, ADD, SUB, DIV = "MulOptions", "AddOptions", "SubOptions", "DivOptions"


@pytest.mark.parametrize(
    ("operators", "mean", "std"),
    [
        ([("MUL", 1 / 127.5, MUL, False), ("ADD", -1.0, ADD, False)], 0.5, 0.5),
        ([("MUL", 1 / 127.5, MUL, True), ("SUB", 1.0, SUB, False)], 0.5, 0.5),
        ([("DIV", 255.0, DIV, False)], 0.0, 1.0),
        ([("SUB", 127.5, SUB, False), ("DIV", 127.5, DIV, False)], 0.5, 0.5),
        ([("MUL", 2.0, MUL, False), ("ADD", -1.0, ADD, False)], 0.5, 0.5),
        (
            [
                ("SUB", [123.675, 116.28, 103.53], SUB, False),
                ("MUL", [1 / 58.395, 1 / 57.12, 1 / 57.375], MUL, False),
            ],
            (0.485, 0.456, 0.406),
            (0.229, 0.224, 0.225),
        ),
        ([("SUB", 127.5, SUB, False)], 0.5, 1 / 255),
        ([("ADD", [-103.53, -116.28, -123.675], ADD, False)], (0.406, 0.456, 0.485), 1 / 255),
    ],
    ids=["rescaling", "tf_op_layer", "to 1", "preprocess_input", "of 1", "ImageNet's", "a mean alone", "means alone"],
)
def test_what_is_done_with_the_picture_tells_the_normalisation(
    operators: Any, mean: Any, std: Any, tmp_path: Path
) -> None:
    network = of_small()
    before_all(network, operators)
    conversion = written(tmp_path / "rescaling.tflite", network)
    contract = conversion.checkpoint.preprocessing
    assert contract is not None
    np.testing.assert_allclose(contract.mean, np.broadcast_to(mean, 3), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(contract.std, np.broadcast_to(std, 3), rtol=1e-5)
    assert any("normalised within the file" in note for note in conversion.notes)
    agrees(conversion)


def test_bytes_that_are_cast_are_pixels(tmp_path: Path) -> None:
    network = of_small()
    before_all(network, [("MUL", 1 / 255, MUL, False)])
    graph = network.graph
    real = graph.tensor("real", graph.tensors[graph.inputs[0]].shape)
    graph.tensors[graph.inputs[0]].dtype = np.dtype(np.uint8)
    first = graph.operators[0]
    first.inputs = [real if number == graph.inputs[0] else number for number in first.inputs]
    graph.operators.insert(0, Operator("CAST", [graph.inputs[0]], real))
    conversion = written(tmp_path / "cast.tflite", network)
    contract = conversion.checkpoint.preprocessing
    assert contract is not None
    np.testing.assert_allclose((contract.mean, contract.std), ([0] * 3, [1] * 3), atol=1e-6)
    agrees(conversion)


def test_a_factor_that_was_folded_into_the_first_weights_is_recognised(tmp_path: Path) -> None:
    tensors = dict(fold(SMALL, random_tensors(SMALL))[1])
    tensors["stem.weight"] = tensors["stem.weight"] / np.float32(255)
    network = network_writer(replace(SMALL, folded=True), tensors, LINEAR)
    conversion = written(tmp_path / "folded.tflite", network)
    contract = conversion.checkpoint.preprocessing
    assert contract is not None
    pixels = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 1, 256, 3)
    np.testing.assert_allclose(normalise(pixels, contract)[0, 0, :, 0], np.arange(256), rtol=1e-5)
    assert any("1/255 was folded" in note for note in conversion.notes)
    told = read(tmp_path / "folded.tflite", mean=(0.5,), std=(0.5,)).checkpoint.preprocessing
    assert told is not None
    assert told.std == (0.5,) * 3


def behind_hidden(network: NetworkWriter, *operators: str) -> None:
    """Puts operators behind the hidden layer of a network, whose own ReLU goes, and before its classifier."""
    graph = network.graph
    hidden, last = (each for each in graph.operators if each.name == "FULLY_CONNECTED")
    hidden.fields["FusedActivationFunction"] = NONE
    current = hidden.output
    for name in operators:
        kind, fields = ("SoftmaxOptions", {"Beta": 1.0}) if name == "SOFTMAX" else ("", {})
        output = graph.tensor(f"behind {name}", graph.tensors[current].shape)
        graph.operators.insert(graph.operators.index(last), Operator(name, [current], output, kind, fields))
        current = output
    last.inputs[0] = current


@pytest.mark.parametrize("bias", [True, False])
def test_linear_layers_with_nothing_between_are_one(bias: bool, tmp_path: Path) -> None:
    network = of_small(hidden=(7,), classifier_bias=bias)
    behind_hidden(network)
    conversion = written(tmp_path / "linear.tflite", network)
    architecture = conversion.checkpoint.architecture
    assert isinstance(architecture, MobileNetV2)
    assert (architecture.hidden, architecture.classes, architecture.classifier_bias) == ((), 3, True)
    agrees(conversion)


@pytest.mark.parametrize(
    ("operators", "sentence"),
    [
        (("TANH",), "behind its pooling stands TANH"),
        (("LOGISTIC",), "a linear layer of it reads what LOGISTIC gives"),
        (("RELU", "SOFTMAX"), "a linear layer of it reads what SOFTMAX gives"),
    ],
    ids=["tanh", "sigmoid", "softmax"],
)
def test_hidden_layers_with_another_activation_are_refused(
    operators: tuple[str, ...], sentence: str, tmp_path: Path
) -> None:
    """Also where a softmax stands between: it passes numbers on, and changes them."""
    network = of_small(hidden=(7,))
    behind_hidden(network, *operators)
    with pytest.raises(ValueError, match=sentence):
        written(tmp_path / "hidden.tflite", network)


def test_the_largest_values_of_a_map_are_not_its_mean(tmp_path: Path) -> None:
    network = of_small()
    next(each for each in network.graph.operators if each.name == "MEAN").name = "REDUCE_MAX"
    with pytest.raises(ValueError, match="the largest values of a map"):
        written(tmp_path / "max.tflite", network)


def test_training_for_eight_bits_that_was_not_converted_to_them_is_said(tmp_path: Path) -> None:
    """Converted without optimizations: weights are rounded while it runs."""
    network = of_small()
    graph = network.graph
    first = next(each for each in graph.operators if each.name == "CONV_2D")
    shape = graph.tensors[first.inputs[1]].shape
    rounded = graph.tensor("rounded", shape, np.int8, Quantisation((0.1,), (0,)))
    again = graph.tensor("again", shape)
    place = graph.operators.index(first)
    graph.operators[place:place] = [
        Operator("QUANTIZE", [first.inputs[1]], rounded),
        Operator("DEQUANTIZE", [rounded], again),
    ]
    first.inputs[1] = again
    with pytest.raises(ValueError, match=r"optimizations = \[tf\.lite\.Optimize\.DEFAULT\]"):
        written(tmp_path / "trained.tflite", network)


@pytest.mark.parametrize("weights", ["float32", "int8", "uint8"])
@pytest.mark.parametrize("hidden", [(7,), (9, 5)])
def test_hidden_layers(weights: Any, hidden: tuple[int, ...], tmp_path: Path) -> None:
    network = of_small(replace(LINEAR, weights=weights), hidden=hidden, classifier_bias=False)
    conversion = written(tmp_path / "hidden.tflite", network)
    architecture: Any = conversion.checkpoint.architecture
    assert (architecture.hidden, architecture.classes, architecture.classifier_bias) == (hidden, 3, False)
    assert conversion.outputs.keys() >= {"hidden.0", "classifier"}
    agrees(conversion)


def after_logits(network: NetworkWriter, *names: str, kind: str = "") -> None:
    graph = network.graph
    for name in names:
        (current,) = graph.outputs
        output = graph.tensor(f"{name} behind", graph.tensors[current].shape)
        graph.outputs = [graph.operator(name, [current], output, kind)]


def test_one_score_of_a_sigmoid_becomes_two_classes(tmp_path: Path) -> None:
    path = tmp_path / "sigmoid.tflite"
    network = of_small(classes=1)
    after_logits(network, "LOGISTIC")
    conversion = written(path, network)
    assert conversion.checkpoint.architecture.classes == 2
    agrees(conversion)
    inputs = normalise(np.stack(noise()), conversion.checkpoint.preprocessing)  # type: ignore[arg-type]
    checkpoint = conversion.checkpoint
    logits, _ = numpy_network(checkpoint.architecture, checkpoint.tensors).run(inputs)
    assert (logits[:, 0] == 0).all()
    assert convert(path, labels=("person",)).checkpoint.classes == ("not person", "person")
    assert convert(path, labels=("dog", "cat")).checkpoint.classes == ("dog", "cat")


@pytest.mark.parametrize("weights", ["float32", "int8"])
def test_one_logit_becomes_two_classes(weights: Any, tmp_path: Path) -> None:
    conversion = written(tmp_path / "a.tflite", of_small(replace(LINEAR, weights=weights), classes=1))
    assert conversion.checkpoint.architecture.classes == 2
    assert any("taken for the logit of a class against another" in note for note in conversion.notes)
    agrees(conversion)


def test_one_share_stays_one_class(tmp_path: Path) -> None:
    conversion = written(tmp_path / "a.tflite", of_small(replace(LINEAR, softmax=True), classes=1))
    assert conversion.checkpoint.architecture.classes == 1


def test_a_sum_that_is_made_a_mean_is_the_pooling(tmp_path: Path) -> None:
    """As PyTorch's mean becomes by way of litert-torch."""
    for share, words in ((0.25, ""), (0.2, "not that of a global average pooling")):
        network = of_small()
        graph = network.graph
        place = next(place for place, each in enumerate(graph.operators) if each.name == "MEAN")
        mean = graph.operators[place]
        total = graph.tensor("total", graph.tensors[mean.output].shape)
        number = graph.constant("share", np.array(share, np.float32))
        graph.operators[place : place + 1] = [
            Operator("SUM", mean.inputs, total, "ReducerOptions", dict(mean.fields)),
            Operator("MUL", [total, number], mean.output, MUL, {"FusedActivationFunction": NONE}),
        ]
        if words:
            with pytest.raises(ValueError, match=words):
                written(tmp_path / "a.tflite", network)
        else:
            agrees(written(tmp_path / "a.tflite", network))


def test_the_best_class_alone_is_a_classifiers(tmp_path: Path) -> None:
    network = of_small()
    graph = network.graph
    axis, best = graph.constant("axis", np.array(1, np.int32)), graph.tensor("best", (1,), np.int32)
    fields = {"OutputType": tflite.TensorType.INT32}
    graph.operators.append(Operator("ARG_MAX", [graph.outputs[0], axis], best, "ArgMaxOptions", fields))
    graph.outputs = [best]
    agrees(written(tmp_path / "a.tflite", network))


def test_what_is_done_to_a_picture_otherwise_is_named(tmp_path: Path) -> None:
    network = of_small()
    graph = network.graph
    (entered,) = graph.inputs
    large, size = graph.tensor("large", (1, 128, 128, 3)), graph.constant("size", np.array([64, 64], np.int32))
    graph.operators.insert(0, Operator("RESIZE_BILINEAR", [large, size], entered, "ResizeBilinearOptions"))
    graph.inputs = [large]
    with pytest.raises(ValueError, match=r"it does RESIZE_BILINEAR to its picture.*seems to be another network"):
        written(tmp_path / "a.tflite", network)


def test_several_scores_of_a_sigmoid_are_said(tmp_path: Path) -> None:
    network = of_small()
    after_logits(network, "LOGISTIC")
    conversion = written(tmp_path / "sigmoid.tflite", network)
    assert conversion.checkpoint.architecture.classes == 3
    assert any("sigmoid" in note for note in conversion.notes)
    agrees(conversion)


def test_a_shape_that_is_computed_is_no_operation(tmp_path: Path) -> None:
    """SHAPE, STRIDED_SLICE and PACK before a RESHAPE, as TensorFlow 2.21 converts Keras' MobileNetV1."""
    architecture = MobileNetV1(width=0.25, resolution=64, classes=3)
    network = network_writer(architecture, random_tensors(architecture), Style(softmax=True))
    graph = network.graph
    flatten = graph.find("RESHAPE")
    (current, _), place = flatten.inputs, graph.operators.index(flatten)
    shape = graph.tensor("its shape", (4,), np.int32)
    batch = graph.tensor("pictures", (), np.int32)
    packed = graph.tensor("new shape", (2,), np.int32)
    ends = [graph.constant(name, np.array([value], np.int32)) for name, value in (("b", 0), ("e", 1), ("s", 1))]
    classes = graph.constant("classes", np.array(3, np.int32))
    graph.operators[place:place] = [
        Operator("SHAPE", [current], shape, "ShapeOptions", {"OutType": tflite.TensorType.INT32}),
        Operator("STRIDED_SLICE", [shape, *ends], batch, "StridedSliceOptions", {"ShrinkAxisMask": 1}),
        Operator("PACK", [batch, classes], packed, "PackOptions", {"ValuesCount": 2}),
    ]
    flatten.inputs[1] = packed
    conversion = written(tmp_path / "keras.tflite", network)
    assert conversion.checkpoint.architecture == architecture.with_options(folded=True)
    agrees(conversion)


def test_channels_first_are_put_last(tmp_path: Path) -> None:
    network = of_small(Style(classifier="fully_connected", explicit_pads="strided"), padding="symmetric")
    graph = network.graph
    (entered,) = graph.inputs
    order = graph.constant("order", np.array([0, 2, 3, 1], np.int32))
    outside = graph.tensor("channels first", (1, 3, 64, 64))
    graph.operators.insert(0, Operator("TRANSPOSE", [outside, order], entered, "TransposeOptions"))
    graph.inputs = [outside]
    conversion = written(tmp_path / "first.tflite", network)
    assert conversion.checkpoint.architecture == replace(SMALL, padding="symmetric", folded=True)
    agrees(conversion)


def test_several_pictures_at_once(tmp_path: Path) -> None:
    network = of_small()
    for tensor in network.graph.tensors:
        if not tensor.buffer:
            tensor.shape = (4, *tensor.shape[1:])
    conversion = written(tmp_path / "batch.tflite", network)
    assert conversion.checkpoint.architecture == replace(SMALL, folded=True)
    agrees(conversion)


@pytest.mark.parametrize("weights", ["int8", "uint8"])
def test_relu6_that_no_operator_says(weights: Any, tmp_path: Path) -> None:
    """TOCO's files: integers from 0 to 6 and no activation."""
    style = Style(weights=weights, input_type="int8", pool="average")
    network = of_small(style)
    expected = written(tmp_path / "said.tflite", network)
    for operator in network.graph.operators:
        if "FusedActivationFunction" in operator.fields and operator.name.endswith("CONV_2D"):
            operator.fields["FusedActivationFunction"] = NONE
    conversion = written(tmp_path / "silent.tflite", network)
    assert conversion.checkpoint.architecture == expected.checkpoint.architecture
    agrees(conversion)


@pytest.mark.parametrize("weights", ["float32", "int8"])
def test_a_grey_stem_as_a_depthwise_convolution(weights: Any, tmp_path: Path) -> None:
    network = of_small(Style(weights=weights, input_type="int8"), input_channels=1)
    graph = network.graph
    stem = graph.operators[0]
    said = graph.tensors[stem.inputs[1]]
    # (out, k, k, 1) are the numbers of (1, k, k, out), turned.
    tensors = fold(replace(SMALL, input_channels=1), random_tensors(replace(SMALL, input_channels=1)))[1]
    if weights == "float32":
        values: NDArray[Any] = tensors["stem.weight"].transpose(1, 2, 3, 0)
        stem.inputs[1] = graph.constant("turned", np.ascontiguousarray(values))
    else:
        assert said.quantisation is not None
        scales = np.array(said.quantisation.scales, np.float32)[:, None, None, None]
        values = np.clip(np.round(tensors["stem.weight"] / scales), -127, 127).astype(np.int8).transpose(1, 2, 3, 0)
        stem.inputs[1] = graph.constant("turned", np.ascontiguousarray(values), replace(said.quantisation, axis=3))
        bias = graph.tensors[stem.inputs[2]]
        assert bias.quantisation is not None
        bias.quantisation = replace(bias.quantisation, axis=3)
    stem.name, stem.kind = "DEPTHWISE_CONV_2D", "DepthwiseConv2DOptions"
    stem.fields["DepthMultiplier"] = values.shape[-1]
    conversion = written(tmp_path / "grey.tflite", network)
    assert conversion.checkpoint.architecture == replace(SMALL, input_channels=1, folded=True)
    agrees(conversion)


def of_operators(*names: str, kernel: int = 3, depthwise: bool = True) -> GraphWriter:
    """A graph of a convolution, and of operators behind it that nobody runs."""
    graph = GraphWriter()
    graph.inputs = [graph.tensor("picture", (1, 64, 64, 3))]
    weight = graph.constant("weight", np.ones((8, 3, 3, 3), np.float32))
    fields: dict[str, Any] = {"StrideH": 2, "StrideW": 2}
    current = graph.operator("CONV_2D", [0, weight], graph.tensor("first", (1, 32, 32, 8)), "Conv2DOptions", **fields)
    for size in (3, kernel) if depthwise else ():
        filters = graph.constant(f"{size}", np.ones((1, size, size, 8), np.float32))
        output = graph.tensor(f"filtered {size}", (1, 16, 16, 8))
        current = graph.operator("DEPTHWISE_CONV_2D", [current, filters], output, "DepthwiseConv2DOptions", **fields)
    for number, name in enumerate(names):
        kind = "AddOptions" if name == "ADD" else ""
        current = graph.operator(name, [current, current], graph.tensor(f"map {number}", (1, 64, 64, 8)), kind)
    graph.outputs = [current]
    return graph


@pytest.mark.parametrize(
    ("graph", "text"),
    [
        (of_operators("HARD_SWISH"), "a MobileNetV3"),
        (of_operators(*["LOGISTIC", "MUL"] * 3), "an EfficientNet or another one"),
        (of_operators(kernel=5), "larger depthwise kernels"),
        (of_operators(*["ADD"] * 3, depthwise=False), "a ResNet"),
        (of_operators("RESIZE_NEAREST_NEIGHBOR"), "feature pyramid (FPN)"),
        (of_operators("TRANSPOSE_CONV"), "a segmentation network"),
        (of_operators("REDUCE_MAX"), "REDUCE_MAX 1"),
    ],
    ids=["v3", "efficientnet", "lite", "resnet", "fpn", "segmentation", "max pool"],
)
def test_other_networks_are_named(graph: GraphWriter, text: str, tmp_path: Path) -> None:
    path = tmp_path / "other.tflite"
    path.write_bytes(graph.content())
    with pytest.raises(ValueError, match=re.escape(text)) as caught:
        convert(path)
    assert "is not a MobileNet" in str(caught.value)
    assert "damaged" not in str(caught.value)


def flattened(network: NetworkWriter) -> None:
    graph = network.graph
    pool = graph.find("MEAN")
    place = graph.operators.index(pool)
    shape = graph.constant("flat", np.array([1, 4 * 1280], np.int32))
    graph.operators[place] = Operator("RESHAPE", [pool.inputs[0], shape], pool.output)


def compiled(network: NetworkWriter) -> None:
    graph = network.graph
    output = graph.tensor("all", (1, 3))
    graph.operators[:] = [Operator("CUSTOM", graph.inputs, output, custom="edgetpu-custom-op")]
    graph.outputs = [output]


def test_a_file_for_pictures_of_any_size_is_one_for_the_usual_size_or_another(tmp_path: Path) -> None:
    network = of_small()
    network.graph.tensors[network.graph.inputs[0]].shape = (1, 0, 0, 3)
    path = tmp_path / "open.tflite"
    path.write_bytes(network.content())
    usual = read(path)
    assert usual.checkpoint.architecture.input_size == (224, 224)
    assert any("any size: 224 pixels are assumed" in note for note in usual.notes)
    other = read(path, resolution=SMALL.input_size[0])
    assert other.checkpoint.architecture == SMALL.with_options(folded=True)
    assert other.checkpoint.preprocessing is not None
    assert other.checkpoint.preprocessing.size == SMALL.input_size


@pytest.mark.parametrize(
    ("alter", "text"),
    [
        (flattened, "it flattens its last map instead of pooling it"),
        (compiled, "compiled for the EdgeTPU"),
        (lambda network: before_all(network, [("MUL", -1.0, MUL, False)]), "negatives"),
        (lambda network: before_all(network, [("DIV", 255.0, DIV, True)]), "divides by the picture"),
    ],
    ids=["flattened", "EdgeTPU", "negative", "divided"],
)
def test_networks_that_differ_are_refused_by_what_differs(
    alter: Callable[[NetworkWriter], None], text: str, tmp_path: Path
) -> None:
    network = of_small()
    alter(network)
    path = tmp_path / "other.tflite"
    path.write_bytes(network.content())
    with pytest.raises(ValueError, match=re.escape(text)) as caught:
        convert(path)
    assert "is not a MobileNet" in str(caught.value)


REAL = {
    "teachable_machine_v2_0.35_224/model_unquant": MobileNetV2(
        width=0.35, classes=2, hidden=(100,), classifier_bias=False
    ),
    "keras_v1_0.25_224/derived/mobilenet_v1_0.25_224_dynamic": MobileNetV1(width=0.25),
}


@pytest.mark.parametrize("name", REAL)
def test_real_files(name: str, sample_data: Callable[[str], Path]) -> None:
    conversion = convert(sample_data("weights") / f"{name}.tflite")
    assert conversion.checkpoint.architecture == REAL[name].with_options(folded=True)
    pictures = [sample_data("tflite") / "test-images" / each for each in ("cat.bmp", "bird.bmp", "kite_and_cold.jpg")]
    parity = compare(conversion, pictures)
    assert parity.same_class == 1
    assert min(parity.correlations.values()) > 0.99, parity


def _rounded(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """What LiteRT's hybrid kernels make of a layer's input: 256 steps over its own range, which holds 0."""
    lowest, highest = min(0.0, float(values.min())), max(0.0, float(values.max()))
    scale = (highest - lowest) / 255
    zero = round(-128 - lowest / scale) if -lowest < highest else round(127 - highest / scale)
    steps = np.round(np.float32(zero) + values * (np.float32(1) / np.float32(scale)))
    return (np.clip(steps, -128, 127) - zero) * float(np.float32(scale))


def test_litert_rounds_what_enters_a_layer_of_a_dynamic_range_file(tmp_path: Path) -> None:
    conversion = written(tmp_path / "hybrid.tflite", of_small(Style(weights="hybrid", classifier="fully_connected")))
    assert conversion.checkpoint.quantisation is None
    assert any("dynamic range" in note and "while it runs" in note for note in conversion.notes)
    pytest.importorskip("ai_edge_litert", reason="needs ai-edge-litert, which runs the file itself")
    theirs = TFLiteGraph(conversion)
    contract = conversion.checkpoint.preprocessing
    assert contract is not None
    found = theirs.run(normalise(noise(1)[0][None], contract))
    steps = {step.name: step for step in conversion.checkpoint.architecture.operations}
    compared = 0
    for name, step in steps.items():
        if not isinstance(step, Convolve) or step.depthwise or step.kernel != 1 or step.reads[0] not in found:
            continue
        weight = conversion.checkpoint.tensors[f"{step.label}.weight"][:, :, 0, 0].T
        bias, given = conversion.checkpoint.tensors[f"{step.label}.bias"], found[step.reads[0]]
        high = 6 if step.activation == "relu6" else np.inf
        low = -np.inf if step.activation == "linear" else 0
        inputs: list[NDArray[Any]] = [given, _rounded(given)]
        ours, rounded = (np.clip(each @ weight + bias, low, high) for each in inputs)
        # Two products may lie between the same integers and be rounded apart: one value in a thousand.
        assert np.mean(np.abs(rounded - found[name]) > 1e-4) < 1e-3, name
        assert np.abs(ours - found[name]).max() > 10 * np.median(np.abs(rounded - found[name])), name
        compared += 1
    assert compared > 20


def _with_wide_activations(content: bytes) -> bytes:
    """An int8 file whose activations are int16 of the same scales around 0, as the converter's 16x8 mode has them."""
    changed, model = bytearray(content), tflite.Model.GetRootAs(content, 0)
    graph = model.Subgraphs(0)
    for number in range(graph.TensorsLength()):
        tensor = graph.Tensors(number)
        if tensor.Type() == tflite.TensorType.INT8 and model.Buffers(tensor.Buffer()).DataLength() == 0:
            table = tensor._tab
            changed[table.Pos + table.Offset(TYPE_FIELD)] = tflite.TensorType.INT16
            codes = tensor.Quantization()._tab
            place = codes.Vector(codes.Offset(ZEROS_FIELD))
            changed[place : place + 8] = bytes(8)
    return bytes(changed)


TYPE_FIELD, ZEROS_FIELD = 6, 10
"""Of the type in a tensor's table, and of the zero points in a quantisation's."""


def test_activations_of_sixteen_bits_are_dequantised(tmp_path: Path) -> None:
    style = Style(weights="int8", input_type="int8", classifier="fully_connected")
    content = of_small(style).content()
    (tmp_path / "narrow.tflite").write_bytes(content)
    (tmp_path / "wide.tflite").write_bytes(_with_wide_activations(content))
    narrow, wide = read(tmp_path / "narrow.tflite", floats=True), read(tmp_path / "wide.tflite")
    assert wide.checkpoint.quantisation is None
    assert any("16 bits" in note and "dequantised" in note for note in wide.notes)
    for name, values in narrow.checkpoint.tensors.items():
        np.testing.assert_allclose(wide.checkpoint.tensors[name], values, rtol=1e-6, err_msg=name)


def test_pixels_that_are_rounded_once_more_are_said(tmp_path: Path) -> None:
    network = of_small(Style(weights="int8", input_type="int8", classifier="fully_connected"))
    graph = network.graph
    (entered,) = graph.inputs
    picture = graph.tensors[entered]
    half = graph.constant("half", np.array([64], np.int8), Quantisation((1 / 128,), (0,)))
    output = graph.tensor("halves", picture.shape, np.int8, picture.quantisation)
    for operator in graph.operators:
        operator.inputs = [output if number == entered else number for number in operator.inputs]
    graph.operators.insert(0, Operator("MUL", [entered, half], output, MUL, {"FusedActivationFunction": NONE}))
    conversion = written(tmp_path / "rounded.tflite", network)
    contract = conversion.checkpoint.preprocessing
    assert contract is not None
    assert any("rounds the pixels once more" in note for note in conversion.notes)
    np.testing.assert_allclose(contract.std, [2 * 128 / 255] * 3, rtol=1e-5)


def test_teachable_machines_labels_beside_a_file_are_its_classes(tmp_path: Path) -> None:
    network = MobileNetV1(width=0.05, resolution=32, classes=2)
    path = tmp_path / "model_unquant.tflite"
    write_tflite(path, network, random_tensors(network))
    labels = tmp_path / "labels.txt"
    for text, classes in (
        ("0 red\n1 green pear\n", ("red", "green pear")),
        ("0 red\n1 green pear\n2 blue\n", None),
        ("red\ngreen\n", None),
        ("1 red\n2 green\n", None),
        (f"{'9' * 5000} red\n1 green\n", None),
    ):
        labels.write_text(text)
        conversion = read(path)
        assert conversion.checkpoint.classes == classes
        assert any("labels.txt" in note for note in conversion.notes) == (classes is not None)
    labels.write_text("0 red\n1 green pear\n")
    assert read(path, labels=("a", "b")).checkpoint.classes == ("a", "b")
    assert read(tmp_path).checkpoint.classes == ("red", "green pear")


def test_an_input_of_thousands_of_sides_makes_no_long_sentence(tmp_path: Path) -> None:
    network = network_writer(SMALL, random_tensors(SMALL), Style())
    network.graph.tensors[network.graph.inputs[0]].shape = (1,) * 5000
    with pytest.raises(ValueError, match="its input has shape") as caught:
        written(tmp_path / "a.tflite", network)
    assert len(str(caught.value)) < 1500


def test_a_damaged_name_makes_no_long_sentence() -> None:
    network = of_small()
    network.graph.tensors[network.graph.outputs[0]].name = "x" * 5000
    assert len(Graph(network.content()).describe()) < 500

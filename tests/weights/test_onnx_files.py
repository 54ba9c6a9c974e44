"""Is an ONNX file read by its graph, whoever wrote it, and are others told in a sentence?"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from networks import checkpoint_of, random_tensors
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from linnet.architecture import Architecture, MobileNetV1, MobileNetV2
from linnet.cli import main
from linnet.engine.fold import fold
from linnet.engine.reference import NumpyNetwork
from linnet.export import export
from linnet.export.onnx_graph import GraphWriter
from linnet.nn import from_checkpoint
from linnet.weights import read
from linnet.weights.parity import compare

SECOND = MobileNetV2(width=0.1, resolution=64, classes=3)
FIRST = MobileNetV1(width=0.1, resolution=64, classes=3)


def model_of(architecture: Architecture) -> Any:
    """The model that linnet writes of random weights."""
    return GraphWriter(*fold(architecture, random_tensors(architecture))).model()


def same_function(path: Path, architecture: Architecture, **options: Any) -> Any:
    """What was read, after a check that it computes what the random weights do."""
    conversion = read(path, **options)
    checkpoint = conversion.checkpoint
    inputs = np.random.default_rng(1).normal(size=(2, *architecture.input_size, architecture.input_channels))
    pictures = inputs.astype(np.float32)
    expected, _ = NumpyNetwork(architecture, random_tensors(architecture)).run(pictures)
    found, _ = NumpyNetwork(checkpoint.architecture, checkpoint.tensors).run(pictures)
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())
    return conversion


def write(model: Any, path: Path) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize(
    "architecture",
    [
        SECOND,
        FIRST,
        MobileNetV2(width=0.1, resolution=72, padding="symmetric", classes=None),
        MobileNetV2(width=0.1, resolution=64, classes=4, hidden=(10, 7), classifier_bias=False),
        MobileNetV1(width=0.1, resolution=(64, 96), input_channels=1, classes=2, activation="relu"),
        MobileNetV2(width=0.1, resolution=64, output_stride=16, classes=2),
    ],
    ids=["v2", "v1", "features", "hidden", "grey", "atrous"],
)
def test_what_linnet_writes_it_reads(architecture: Any, tmp_path: Path) -> None:
    found = same_function(write(model_of(architecture), tmp_path / "a.onnx"), architecture).checkpoint.architecture
    options = ("padding", "activation", "hidden", "classifier_bias", "output_stride", "resolution", "classes")
    assert [getattr(found, name) for name in options] == [getattr(architecture, name) for name in options]


def test_an_export_brings_its_preprocessing_and_classes(tmp_path: Path) -> None:
    checkpoint = checkpoint_of(SECOND, classes=("ant", "bee", "cat"))
    export(checkpoint, tmp_path / "a.onnx")
    found = read(tmp_path / "a.onnx").checkpoint
    assert (found.classes, found.preprocessing) == (checkpoint.classes, checkpoint.preprocessing)


@pytest.mark.parametrize("kept", [False, True], ids=["folded", "with batch norm"])
@pytest.mark.filterwarnings("ignore")
def test_torchs_exporter(kept: bool, tmp_path: Path) -> None:
    import torch

    architecture = MobileNetV2(width=0.1, resolution=64, classes=3, padding="symmetric", batch_norm_epsilon=1e-5)
    module = from_checkpoint(checkpoint_of(architecture))
    training = torch.onnx.TrainingMode.PRESERVE if kept else torch.onnx.TrainingMode.EVAL
    path = tmp_path / "torch.onnx"
    given = (torch.zeros(1, 3, 64, 64),)
    torch.onnx.export(module, given, path, dynamo=False, training=training, do_constant_folding=not kept)
    conversion = same_function(path, architecture)
    assert conversion.checkpoint.architecture.padding == "symmetric"
    assert conversion.checkpoint.preprocessing.mean == (0.485, 0.456, 0.406)
    assert any("ImageNet's mean" in note for note in conversion.notes)


@pytest.mark.filterwarnings("ignore")
def test_amounts_of_padding_that_torchs_exporter_computes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Hugging Face's MobileNets pad: by sizes that are numbers when the graph is written."""
    import torch

    from linnet.nn.convolution import ConvolutionModule

    def pad(self: Any, x: Any) -> Any:
        if not self.pads_first:
            return x
        top, bottom = self.layer.pad_axis(int(x.shape[2]))
        left, right = self.layer.pad_axis(int(x.shape[3]))
        return torch.nn.functional.pad(x, (left, right, top, bottom))

    monkeypatch.setattr(ConvolutionModule, "pad", pad)
    path = tmp_path / "torch.onnx"
    torch.onnx.export(from_checkpoint(checkpoint_of(SECOND)), (torch.zeros(1, 3, 64, 64),), path, dynamo=False)
    kinds = {node.op_type for node in onnx.load(path).graph.node}
    assert {"Pad", "ConstantOfShape", "Concat", "Slice"} <= kinds
    assert same_function(path, SECOND).checkpoint.architecture.padding == "same"


def outside(model: Any, folder: Path, name: str = "a.onnx.data") -> Any:
    """The model with all its weights in a file beside it."""
    content = b""
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor).tobytes()
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", name), ("offset", str(len(content))), ("length", str(len(values)))):
            entry = tensor.external_data.add()
            entry.key, entry.value = key, value
        content += values
    (folder / Path(name).name).write_bytes(content)
    return model


def test_weights_in_a_file_beside_the_graph(tmp_path: Path) -> None:
    path = write(outside(model_of(SECOND), tmp_path), tmp_path / "a.onnx")
    same_function(path, SECOND)
    (tmp_path / "a.onnx.data").rename(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="put both files into one folder"):
        read(path)


def test_no_file_outside_the_folder_is_read(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    for name in ("../a.onnx.data", "/etc/passwd"):
        model = outside(model_of(SECOND), tmp_path, name) if name[0] == "." else outside(model_of(SECOND), tmp_path)
        for tensor in model.graph.initializer:
            tensor.external_data[0].value = name
        with pytest.raises(ValueError, match="only a file beside it"):
            read(write(model, tmp_path / "inner" / "a.onnx"))


def identities(model: Any) -> None:
    """Weights shared through Identity nodes, as PyTorch's older exporter has them."""
    for number, tensor in enumerate(list(model.graph.initializer)):
        name, tensor.name = tensor.name, f"shared{number}"
        model.graph.node.insert(0, helper.make_node("Identity", [tensor.name], [name]))


def channels_last(model: Any) -> None:
    """An input (N, H, W, C) with a Transpose, as tf2onnx has it."""
    sides = [1, 64, 64, 3]
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("pictures", TensorProto.FLOAT, sides))
    model.graph.node.insert(0, helper.make_node("Transpose", ["pictures"], ["input"], perm=[0, 3, 1, 2]))


def normalising(model: Any) -> None:
    """Pixels from 0 to 255 normalised within the graph."""
    model.graph.input[0].name = "pixels"
    for name, values in (("mean", [100.0, 110.0, 120.0]), ("deviation", [50.0, 60.0, 70.0])):
        model.graph.initializer.append(numpy_helper.from_array(np.array(values, np.float32).reshape(3, 1, 1), name))
    model.graph.node.insert(0, helper.make_node("Sub", ["pixels", "mean"], ["centred"]))
    model.graph.node.insert(1, helper.make_node("Div", ["centred", "deviation"], ["input"]))


def pads_apart(model: Any) -> None:
    """Pads of their own nodes."""
    for node in list(model.graph.node):
        pads = next((each for each in node.attribute if each.name == "pads"), None)
        if node.op_type == "Conv" and pads is not None and any(pads.ints):
            top, left, bottom, right = pads.ints
            node.attribute.remove(pads)
            amounts = np.array([0, 0, top, left, 0, 0, bottom, right], np.int64)
            model.graph.initializer.append(numpy_helper.from_array(amounts, f"{node.name}:pads"))
            place = list(model.graph.node).index(node)
            given = [node.input[0], f"{node.name}:pads"]
            model.graph.node.insert(place, helper.make_node("Pad", given, [f"{node.name}:padded"]))
            node.input[0] = f"{node.name}:padded"


def batch_norm(model: Any) -> None:
    """A BatchNormalization and a bias of its own node behind the first convolution."""
    node = next(each for each in model.graph.node if each.op_type == "Conv")
    output, node.output[0] = node.output[0], "first"
    count = len(numpy_helper.to_array(next(each for each in model.graph.initializer if each.name == node.input[1])))
    values = {"scale": np.full(count, 2.0), "shift": np.ones(count), "m": np.ones(count), "v": np.full(count, 4 - 1e-3)}
    for name, each in values.items():
        model.graph.initializer.append(numpy_helper.from_array(each.astype(np.float32), name))
    place = list(model.graph.node).index(node) + 1
    # 2 (x - 1) / 2 + 1 is x.
    norm = helper.make_node("BatchNormalization", ["first", "scale", "shift", "m", "v"], [output], epsilon=1e-3)
    model.graph.node.insert(place, norm)


def matmul(model: Any) -> None:
    """MatMul, Add and Softmax in place of Gemm."""
    node = next(each for each in model.graph.node if each.op_type == "Gemm")
    place = list(model.graph.node).index(node)
    weight = next(each for each in model.graph.initializer if each.name == node.input[1])
    model.graph.initializer.append(numpy_helper.from_array(numpy_helper.to_array(weight).T.copy(), "turned"))
    given, bias, output = node.input[0], node.input[2], node.output[0]
    model.graph.node.remove(node)
    for number, each in enumerate(
        (
            helper.make_node("MatMul", [given, "turned"], ["product"]),
            helper.make_node("Add", ["product", bias], ["sum"]),
            helper.make_node("Softmax", ["sum"], [output]),
        )
    ):
        model.graph.node.insert(place + number, each)


def quantised(model: Any) -> None:
    """int8 weights behind DequantizeLinear, one scale a channel, and a pair of QDQ nodes at the input."""
    for number, tensor in enumerate(list(model.graph.initializer)):
        values = numpy_helper.to_array(tensor)
        if values.ndim == 4:
            scale = np.abs(values).reshape(len(values), -1).max(axis=1) / 127
            steps = np.round(values / scale[:, None, None, None]).astype(np.int8)
            model.graph.initializer.remove(tensor)
            model.graph.initializer.append(numpy_helper.from_array(steps, f"q{number}"))
            model.graph.initializer.append(numpy_helper.from_array(scale.astype(np.float32), f"s{number}"))
            node = helper.make_node("DequantizeLinear", [f"q{number}", f"s{number}"], [tensor.name], axis=0)
            model.graph.node.insert(0, node)


def _constant(model: Any, name: str, values: Any, dtype: Any = np.int64) -> str:
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(values, dtype), name))
    return name


def _in_place_of(model: Any, kind: str, nodes: list[Any]) -> None:
    node = next(each for each in model.graph.node if each.op_type == kind)
    place = list(model.graph.node).index(node)
    model.graph.node.remove(node)
    for each in reversed(nodes):
        model.graph.node.insert(place, each)


def open_count(model: Any) -> None:
    """The features flattened by the number of pictures, as `x.view(x.size(0), -1)` becomes."""
    node = next(each for each in model.graph.node if each.op_type == "Gemm")
    features, node.input[0] = node.input[0], "flat"
    first, rest, axes = _constant(model, "first", 0), _constant(model, "rest", [-1]), _constant(model, "axes", [0])
    place = list(model.graph.node).index(node)
    for each in reversed(
        [
            helper.make_node("Shape", [features], ["sides"]),
            helper.make_node("Gather", ["sides", first], ["count"]),
            helper.make_node("Unsqueeze", ["count", axes], ["listed"]),
            helper.make_node("Concat", ["listed", rest], ["shape"], axis=0),
            helper.make_node("Reshape", [features, "shape"], ["flat"]),
        ]
    ):
        model.graph.node.insert(place, each)


def one_side_after_the_other(model: Any) -> None:
    """The pooling as `x.mean(3).mean(2)`."""
    node = next(each for each in model.graph.node if each.op_type == "ReduceMean")
    given, made = node.input[0], node.output[0]
    along = helper.make_node("ReduceMean", [given, _constant(model, "columns", [3])], ["rows"], keepdims=0)
    down = helper.make_node("ReduceMean", ["rows", _constant(model, "down", [2])], [made], keepdims=0)
    _in_place_of(model, "ReduceMean", [along, down])


def best_class(model: Any) -> None:
    """Only the number of the best class comes out."""
    model.graph.node.append(helper.make_node("ArgMax", [model.graph.output[0].name], ["best"], axis=1))


@pytest.mark.parametrize(
    "change",
    [
        identities,
        channels_last,
        pads_apart,
        batch_norm,
        matmul,
        open_count,
        one_side_after_the_other,
        best_class,
    ],
)
@pytest.mark.parametrize("architecture", [SECOND, FIRST], ids=["v2", "v1"])
def test_other_ways_to_write_the_same_network(change: Callable[[Any], None], architecture: Any, tmp_path: Path) -> None:
    model = model_of(architecture)
    change(model)
    same_function(write(model, tmp_path / "a.onnx"), architecture)


def test_pads_apart_tell_pytorchs_rule_where_sizes_do_not(tmp_path: Path) -> None:
    model = model_of(MobileNetV2(width=0.1, resolution=65, classes=2, padding="symmetric"))
    pads_apart(model)
    assert read(write(model, tmp_path / "a.onnx")).checkpoint.architecture.padding == "symmetric"  # type: ignore[attr-defined]


def test_normalisation_within_the_graph_goes_into_the_preprocessing(tmp_path: Path) -> None:
    model = model_of(SECOND)
    normalising(model)
    contract = same_function(write(model, tmp_path / "a.onnx"), SECOND).checkpoint.preprocessing
    np.testing.assert_allclose(contract.mean, np.array([100, 110, 120]) / 255, rtol=1e-5)
    np.testing.assert_allclose(contract.std, np.array([50, 60, 70]) / 255, rtol=1e-5)


def test_a_map_averaged_along_one_side_is_not_pooled(tmp_path: Path) -> None:
    model = model_of(SECOND)
    node = next(each for each in model.graph.node if each.op_type == "ReduceMean")
    given = [node.input[0], _constant(model, "columns", [3])]
    _in_place_of(model, "ReduceMean", [helper.make_node("ReduceMean", given, list(node.output), keepdims=0)])
    with pytest.raises(ValueError, match="averages its last map along one side only"):
        read(write(model, tmp_path / "a.onnx"))


def test_bytes_without_arithmetic_are_pixels(tmp_path: Path, rng: np.random.Generator) -> None:
    model = model_of(SECOND)
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("pixels", TensorProto.UINT8, [1, 3, 64, 64]))
    model.graph.node.insert(0, helper.make_node("Cast", ["pixels"], ["input"], to=TensorProto.FLOAT))
    conversion = read(write(model, tmp_path / "a.onnx"))
    contract = conversion.checkpoint.preprocessing
    assert contract is not None
    np.testing.assert_allclose([*contract.mean, *contract.std], [0] * 3 + [1 / 255] * 3)
    pytest.importorskip("onnxruntime")
    parity = compare(conversion, [rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)])
    assert min(parity.correlations.values()) > 0.9999


def test_a_mean_alone_is_of_pixels_up_to_255(tmp_path: Path) -> None:
    model = model_of(SECOND)
    model.graph.input[0].name = "pixels"
    means = _constant(model, "means", np.array([103.5, 116.3, 123.7]).reshape(3, 1, 1), np.float32)
    model.graph.node.insert(0, helper.make_node("Sub", ["pixels", means], ["input"]))
    contract = same_function(write(model, tmp_path / "a.onnx"), SECOND).checkpoint.preprocessing
    expected = [*np.array([103.5, 116.3, 123.7]) / 255, *[1 / 255] * 3]
    np.testing.assert_allclose([*contract.mean, *contract.std], expected, rtol=1e-5)


@pytest.mark.parametrize("scores", ["Sigmoid", ""], ids=["sigmoid", "logit"])
def test_one_output_becomes_two_classes(scores: str, tmp_path: Path, rng: np.random.Generator) -> None:
    single = MobileNetV2(width=0.1, resolution=64, classes=1)
    model = model_of(single)
    model.metadata_props.clear()
    if scores:
        model.graph.node.append(helper.make_node(scores, [model.graph.output[0].name], ["scores"]))
    conversion = read(write(model, tmp_path / "a.onnx"))
    assert conversion.checkpoint.architecture.classes == 2
    assert any("it became two classes" in note for note in conversion.notes)
    pytest.importorskip("onnxruntime")
    parity = compare(conversion, [rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)])
    assert parity.correlations["pool"] > 0.9999


def test_linear_layers_with_a_batch_norm_or_nothing_between(tmp_path: Path, rng: np.random.Generator) -> None:
    hidden = MobileNetV2(width=0.1, resolution=64, classes=3, hidden=(10,))
    pytest.importorskip("onnxruntime")
    for kind in ("BatchNormalization", "Identity"):
        model = model_of(hidden)
        relu = next(each for each in reversed(model.graph.node) if each.op_type in ("Relu", "Clip"))
        place, (made,) = list(model.graph.node).index(relu), relu.output
        if kind == "Identity":
            model.graph.node.remove(relu)
            model.graph.node.insert(place, helper.make_node("Identity", relu.input[:1], [made]))
        else:
            vectors = {"scale": 2.0, "shift": -0.1, "m": 0.3, "v": 0.5}
            names = [_constant(model, name, np.full(10, value), np.float32) for name, value in vectors.items()]
            model.graph.node.insert(place, helper.make_node(kind, [relu.input[0], *names], ["normed"]))
            relu.input[0] = "normed"
        conversion = read(write(model, tmp_path / "a.onnx"))
        assert conversion.checkpoint.architecture.hidden == ((10,) if kind == "BatchNormalization" else ())  # type: ignore[attr-defined]
        parity = compare(conversion, list(rng.integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)))
        assert min(parity.correlations.values()) > 0.9999


def test_integers_are_dequantised(tmp_path: Path) -> None:
    model = model_of(SECOND)
    quantised(model)
    found = read(write(model, tmp_path / "a.onnx")).checkpoint
    _, own = fold(SECOND, random_tensors(SECOND))
    for name, values in own.items():
        step = np.abs(values).max() / 127 if values.ndim == 4 else 1e-6
        np.testing.assert_allclose(found.tensors[name], values, atol=step)


@pytest.mark.parametrize("signed", [False, True], ids=["uint8", "int8"])
@pytest.mark.filterwarnings("ignore")
def test_onnxruntimes_quantiser_writes_activations_away(signed: bool, tmp_path: Path, rng: np.random.Generator) -> None:
    quantization = pytest.importorskip("onnxruntime.quantization")
    architecture = MobileNetV2(width=0.1, resolution=64, classes=3, padding="symmetric")
    export(checkpoint_of(architecture), tmp_path / "float.onnx")

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc, name-defined]
        left = 3

        def get_next(self) -> Any:
            self.left -= 1
            return {"input": rng.normal(size=(1, 3, 64, 64)).astype(np.float32)} if self.left >= 0 else None

    path = tmp_path / "qdq.onnx"
    kind = quantization.QuantType.QInt8 if signed else quantization.QuantType.QUInt8
    form = quantization.QuantFormat.QDQ
    quantization.quantize_static(
        tmp_path / "float.onnx", path, Reader(), quant_format=form, activation_type=kind, per_channel=True
    )
    conversion = read(path)
    found: Any = conversion.checkpoint.architecture
    assert (found.activation, found.padding, found.tensors.keys()) == (
        "relu6",
        "symmetric",
        architecture.with_options(folded=True).tensors.keys(),
    )
    parity = compare(conversion, [rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)])
    assert min(parity.correlations.values()) > 0.9


def test_an_input_without_a_size_takes_one(tmp_path: Path) -> None:
    model = model_of(MobileNetV2(width=0.1, resolution=224, classes=3))
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, "H", "W"]))
    path = write(model, tmp_path / "a.onnx")
    assert any("no size" in note for note in read(path).notes)
    assert read(path, resolution=96).checkpoint.architecture.input_size == (96, 96)


@pytest.mark.parametrize("change", [identities, channels_last, pads_apart, normalising, matmul])
def test_onnxruntime_agrees_tensor_by_tensor(
    change: Callable[[Any], None], tmp_path: Path, rng: np.random.Generator
) -> None:
    pytest.importorskip("onnxruntime")
    model = model_of(SECOND)
    change(model)
    conversion = read(write(model, tmp_path / "a.onnx"))
    pictures = [Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)) for _ in range(2)]
    parity = compare(conversion, pictures)
    assert parity.same_class == 1
    assert len(parity.correlations) > 60
    assert min(parity.correlations.values()) > 0.9999


def test_the_command_compares_with_the_graph(
    tmp_path: Path, rng: np.random.Generator, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxruntime")
    path = write(model_of(SECOND), tmp_path / "a.onnx")
    Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    command = ["convert", str(path), "--out", str(tmp_path / "a.safetensors"), "--pictures", str(tmp_path / "a.png")]
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["parity"]["same_class"] == 1


def swap(model: Any, old: str, new: str, **attributes: Any) -> None:
    node = next(each for each in model.graph.node if each.op_type == old)
    del node.input[1:]
    del node.attribute[:]
    node.op_type = new
    node.attribute.extend(helper.make_attribute(name, value) for name, value in attributes.items())


STRANGE: dict[str, tuple[Callable[[Any], None], str]] = {
    "v3": (lambda model: swap(model, "Clip", "HardSwish"), "MobileNetV3"),
    "resnet": (lambda model: swap(model, "Clip", "MaxPool", kernel_shape=[3, 3]), "ResNet"),
    "segmentation": (lambda model: swap(model, "ReduceMean", "Resize"), "segmentation"),
    "integers": (lambda model: swap(model, "Conv", "QLinearConv"), "QLinearConv"),
    "own operators": (lambda model: setattr(model.graph.node[3], "domain", "com.example"), "com.example"),
    "leaky": (lambda model: swap(model, "Clip", "LeakyRelu"), "LeakyRelu"),
    "no pooling": (lambda model: model.graph.node.pop(), "chain|pooling|classifier|MobileNet"),
    "two inputs": (lambda model: model.graph.input.append(model.graph.output[0]), "2 inputs"),
}


@pytest.mark.parametrize("name", STRANGE)
def test_other_graphs_are_told_in_a_sentence(name: str, tmp_path: Path) -> None:
    change, words = STRANGE[name]
    model = model_of(MobileNetV2(width=0.1, resolution=64, classes=None) if name == "no pooling" else SECOND)
    change(model)
    path = write(model, tmp_path / "a.onnx")
    with pytest.raises(ValueError, match=words) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_not_a_number_is_refused(tmp_path: Path) -> None:
    model = model_of(SECOND)
    tensor = next(each for each in model.graph.initializer if len(each.dims) == 4)
    values = numpy_helper.to_array(tensor).copy()
    values[0, 0, 0, 0] = np.nan
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    with pytest.raises(ValueError, match="not all finite"):
        read(write(model, tmp_path / "a.onnx"))


def test_the_pruned_network_is_refused_with_what_differs(sample_data: Callable[[str], Path]) -> None:
    path = sample_data("weights") / "not_quite" / "mobilenet_v2_128_0.5.onnx"
    with pytest.raises(
        ValueError, match="no MobileNetV1 or MobileNetV2 has these layers: convolution 1 is 3x3 3 to 8"
    ) as caught:
        read(path)
    assert "(MobileNetV2 0.5 at 128 x 128)" in str(caught.value)


def test_of_a_network_that_fits_nowhere_the_nearest_is_named(tmp_path: Path) -> None:
    """A pruned one: that of which the most layers are the same, not the first in the order of search."""
    network = MobileNetV2(width=0.5, resolution=64, classes=3)
    architecture, tensors = fold(network, random_tensors(network))
    tensors["stem.weight"], tensors["stem.bias"] = tensors["stem.weight"][:8], tensors["stem.bias"][:8]
    tensors["blocks.0.depthwise.weight"] = tensors["blocks.0.depthwise.weight"][:8]
    tensors["blocks.0.depthwise.bias"] = tensors["blocks.0.depthwise.bias"][:8]
    tensors["blocks.0.project.weight"] = tensors["blocks.0.project.weight"][:, :8]
    model = GraphWriter(architecture, tensors).model()
    depthwise = next(
        node
        for node in model.graph.node
        if node.op_type == "Conv" and any(a.name == "group" and a.i == 16 for a in node.attribute)
    )
    next(a for a in depthwise.attribute if a.name == "group").i = 8
    with pytest.raises(ValueError, match=r"3 to 8 channels.*\(MobileNetV2 0\.5 at 64 x 64\)"):
        read(write(model, tmp_path / "a.onnx"))


def test_tf2onnxs_file_gives_what_its_own_runtime_does(sample_data: Callable[[str], Path]) -> None:
    pytest.importorskip("onnxruntime")
    path = sample_data("weights") / "keras_v1_0.25_224" / "derived" / "mobilenet_v1_0.25_224_tf2onnx.onnx"
    conversion = read(path)
    assert conversion.checkpoint.architecture == MobileNetV1(width=0.25, classes=1000, folded=True)
    assert conversion.checkpoint.classes is not None
    pictures = sorted((sample_data("tflite") / "test-images").glob("*.*"))[:3]
    parity = compare(conversion, pictures)
    assert parity.same_class == 1
    assert min(parity.correlations.values()) > 0.9999


def test_a_file_that_says_it_is_onnx_and_is_not_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    for content in (b"\x08\x07\x12\xff\xff\xff\xff\x0f", b"\x08\x07\x3a\x00", b"\x08\x07\x12\x05torch"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="damaged"):
            read(path)

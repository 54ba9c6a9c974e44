"""Does ONNX Runtime compute the same from the exported file, and is it made of standard operators only?"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from networks import architectures, checkpoint_of, detectors, random_tensors, segmenters
from onnx import TensorProto
from quantised import QuantisedNetwork, quantised_checkpoint, quantised_network

from linnet.architecture import INPUT, Architecture, GraphBuilder, MobileNetV1, MobileNetV2
from linnet.architecture.deeplab import deeplab
from linnet.architecture.ssdlite import ssdlite
from linnet.checkpoint import Checkpoint, save_checkpoint
from linnet.cli import main
from linnet.engine.integer_reference import IntegerNetwork
from linnet.engine.reference import NumpyNetwork
from linnet.export import export
from linnet.export.onnx_graph import OPSET, QuantisedWriter
from linnet.export.onnx_run import run_onnx
from linnet.images import Preprocessing, normalise
from linnet.predictor import Predictor
from linnet.quantisation.scheme import Encoding
from linnet.weights import read

STANDARD = {
    "Conv",
    "Clip",
    "Relu",
    "Add",
    "ReduceMean",
    "Gemm",
    "Cast",
    "Div",
    "Sub",
    "Transpose",
    "MatMul",
    "Floor",
    "Gather",
    "Reshape",
    "Concat",
    "Resize",
    "Shape",
    "Slice",
    "ArgMax",
}


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        architectures(largest_width=0.6, largest_side=100),
        detectors(largest_width=0.4, largest_side=100),
        segmenters(largest_width=0.4, largest_side=80),
    )
)
def test_any_network_is_exported_as_it_is(tmp_path: Path, network: Architecture) -> None:
    result = export(checkpoint_of(network), tmp_path / "network.onnx")
    assert result.difference is not None
    assert result.difference <= 1e-4
    model = onnx.load(tmp_path / "network.onnx")
    assert {node.op_type for node in model.graph.node} <= STANDARD
    assert all(node.domain == "" for node in model.graph.node)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", OPSET)]


@pytest.mark.parametrize(
    "network", [MobileNetV2(resolution=96, classes=7), MobileNetV1(width=0.5, resolution=(75, 96))]
)
@pytest.mark.parametrize("batch", [1, 3])
def test_any_batch(tmp_path: Path, network: Architecture, batch: int) -> None:
    export(checkpoint_of(network), tmp_path / "network.onnx")
    images = np.random.default_rng(5).normal(size=(batch, *network.input_size, 3)).astype(np.float32)
    expected, _ = NumpyNetwork(network, random_tensors(network)).run(images)
    (found,) = run_onnx(tmp_path / "network.onnx", {"input": np.ascontiguousarray(images.transpose(0, 3, 1, 2))})
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def test_a_detector_gives_offsets_and_logits(tmp_path: Path) -> None:
    network = ssdlite(width=0.35, resolution=(64, 75), classes=2)
    export(checkpoint_of(network), tmp_path / "network.onnx", inputs="pixels")
    model = onnx.load(tmp_path / "network.onnx")
    assert [output.name for output in model.graph.output] == ["offsets", "logits"]
    pixels = np.random.default_rng(2).integers(0, 256, (3, 64, 75, 3), dtype=np.uint8)
    expected = Predictor(checkpoint_of(network)).forward(pixels)
    for one, other in zip(run_onnx(tmp_path / "network.onnx", {"input": pixels}), expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4 * np.abs(other).max())


@pytest.mark.parametrize("quantised", [False, True])
def test_a_segmenter_gives_labels_or_logits_of_any_batch(tmp_path: Path, quantised: bool) -> None:
    network = deeplab(variant="modern", width=0.25, resolution=(48, 65), classes=4)
    checkpoint = quantised_checkpoint(network) if quantised else checkpoint_of(network)
    pixels = np.random.default_rng(2).integers(0, 256, (3, 48, 65, 3), dtype=np.uint8)
    files = {raw: tmp_path / f"{raw}.onnx" for raw in (False, True)}
    for raw, path in files.items():
        export(checkpoint, path, inputs="pixels", raw=raw)
        (output,) = onnx.load(path).graph.output
        assert output.name == ("upsampled" if raw else "labels")
    (labels,), (logits,) = (run_onnx(path, {"input": pixels}) for path in files.values())
    assert (labels.shape, logits.shape) == ((3, 48, 65), (3, 4, 48, 65))
    assert np.array_equal(labels, logits.argmax(axis=1))
    predictor = Predictor(checkpoint)
    own = [predictor(each).labels for each in pixels]
    assert (labels == np.stack(own)).mean() > (0.9 if quantised else 0.999)


def joined() -> Checkpoint:
    """A small quantised network of int8 with sums and a join of two maps."""
    return quantised_checkpoint(deeplab(backbone=MobileNetV2(width=0.2, resolution=(48, 65)), classes=4))


def test_onnxruntime_computes_all_of_a_quantised_network_with_integers(tmp_path: Path) -> None:
    # Of values of int8 it makes uint8, but not of those that are read twice: what reads these it leaves in float.
    path = export(joined(), tmp_path / "network.onnx").path
    zeros = {node.input[2] for node in onnx.load(path).graph.node if node.op_type == "QuantizeLinear"}
    assert {each.data_type for each in onnx.load(path).graph.initializer if each.name in zeros} == {TensorProto.UINT8}
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    operators = {node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node}
    assert operators >= {"QLinearConv", "QLinearAdd", "QLinearConcat"}
    assert not operators & {"Conv", "Add"}


@pytest.mark.slow
def test_openvino_joins_integers(tmp_path: Path) -> None:
    # Of values of int8 it rounds what they stand for to whole numbers.
    openvino = pytest.importorskip("openvino", reason="the file is run with openvino too")
    build = GraphBuilder((6, 7, 3))
    parts = [build.convolve(name, INPUT, 4, activation="relu") for name in ("one", "other")]
    network = quantised_network(build.graph(build.convolve("last", build.concatenate("join", parts), 5)), dtype="int8")
    assert network.quantisation.dtype == "int8"
    inputs = np.random.default_rng(3).normal(size=(2, 6, 7, 3)).astype(np.float32)
    expected, _ = IntegerNetwork(*network).run(inputs)
    model = openvino.Core().read_model(QuantisedWriter(*network).model().SerializeToString())
    compiled = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    (found,) = compiled(np.ascontiguousarray(inputs.transpose(0, 3, 1, 2))).values()
    step = network.quantisation.encodings["last"].scale
    np.testing.assert_allclose(found.transpose(0, 2, 3, 1), expected, atol=1.5 * step)


@pytest.mark.parametrize("colours", ["RGB", "BGR", "grey"])
def test_pixels_are_normalised_inside(tmp_path: Path, colours: Any) -> None:
    channels = 1 if colours == "grey" else 3
    network = MobileNetV2(width=0.35, resolution=64, classes=3, input_channels=channels)
    contract = Preprocessing(
        size=(64, 64), colours=colours, mean=(0.4, 0.5, 0.6)[:channels], std=(0.2, 0.3, 0.4)[:channels]
    )
    checkpoint = Checkpoint(network, contract, random_tensors(network))
    export(checkpoint, tmp_path / "network.onnx", inputs="pixels")
    pixels = np.random.default_rng(2).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    expected, _ = NumpyNetwork(network, checkpoint.tensors).run(normalise(pixels, contract))
    (found,) = run_onnx(tmp_path / "network.onnx", {"input": pixels})
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def test_the_file_carries_contract_and_classes(tmp_path: Path) -> None:
    network = MobileNetV2(width=0.35, resolution=64, classes=2)
    export(checkpoint_of(network, classes=("größe", "no")), tmp_path / "network.onnx")
    properties = {entry.key: json.loads(entry.value) for entry in onnx.load(tmp_path / "network.onnx").metadata_props}
    assert properties["linnet.classes"] == ["größe", "no"]
    assert Preprocessing.from_json(properties["linnet.preprocessing"]) == checkpoint_of(network).preprocessing


def test_intermediate_tensors_keep_their_names(tmp_path: Path) -> None:
    network = MobileNetV2(width=0.35, resolution=64, classes=2, shortcut="expansion")
    export(checkpoint_of(network), tmp_path / "network.onnx")
    values = {output for node in onnx.load(tmp_path / "network.onnx").graph.node for output in node.output}
    # A block without a sum of its own ends with its projection.
    assert set(network.tensor_names) - values == {block.name for block in network.blocks if not block.joins_input}


def test_a_graph_that_computes_something_else_is_not_written(tmp_path: Path) -> None:
    network = MobileNetV2(width=0.35, resolution=64, classes=2)
    tensors = random_tensors(network)
    tensors["classifier.bias"][:] = np.nan
    checkpoint = Checkpoint(network, Preprocessing(size=(64, 64)), tensors)
    (tmp_path / "network.onnx").write_bytes(b"an older, good file")
    with pytest.raises(ValueError, match=r"not written.*differ"):
        export(checkpoint, tmp_path / "network.onnx")
    assert (tmp_path / "network.onnx").read_bytes() == b"an older, good file"


def test_the_command(small_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(small_model), str(tmp_path / "out.onnx"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["difference"] <= 1e-4
    assert document["bytes"] == (tmp_path / "out.onnx").stat().st_size
    assert document["format"] == "onnx"
    assert document["precision"] == "float32"
    assert document["compared"].keys() == {"pictures", "largest_difference", "equal"}
    assert main(["export", str(small_model), str(tmp_path / "out.pb")]) == 1
    assert "must end in .onnx, .tflite" in capsys.readouterr().err
    with pytest.raises(ValueError, match="`inputs`"):
        export(checkpoint_of(MobileNetV2(width=0.35, resolution=64)), tmp_path / "x.onnx", inputs="bytes")


QUANTISED = [
    quantised_checkpoint(MobileNetV2(width=0.35, resolution=64, classes=13)),
    quantised_checkpoint(MobileNetV1(width=0.25, resolution=48, classes=5), dtype="uint8", pooling="average"),
    quantised_checkpoint(MobileNetV2(width=0.35, resolution=(40, 64), classes=None), per_tensor=True),
    quantised_checkpoint(ssdlite(width=0.2, resolution=65, classes=4)),
]


@pytest.mark.parametrize("checkpoint", QUANTISED, ids=["int8", "uint8", "per-tensor", "detector"])
def test_a_quantised_network_keeps_its_integers(tmp_path: Path, checkpoint: Checkpoint) -> None:
    result = export(checkpoint, tmp_path / "network.onnx")
    assert result.difference is not None
    assert result.difference <= 12 / 255
    model = onnx.load(tmp_path / "network.onnx")
    stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for name in checkpoint.architecture.tensors:
        # On a map of one pixel only the centre of a kernel is written.
        values = checkpoint.tensors[name] if name in stored else checkpoint.tensors[name][..., 1:2, 1:2]
        found = stored[name] if name in stored else stored[f"{name}:centre"]
        if values.dtype == np.int8:
            assert (stored[f"{name}:zero"] == 128).all()
            found = found.astype(int) - 128
        assert np.array_equal(found, values), name
    # Every value is one of the 256 that its encoding has.
    assert checkpoint.quantisation is not None
    pictures = np.random.default_rng(0).normal(size=(1, 3, *checkpoint.architecture.input_size)).astype(np.float32)
    for name, output in zip(checkpoint.architecture.outputs, run_onnx(tmp_path / "network.onnx", {"input": pictures}),
                            strict=True):  # fmt: skip
        steps = output / np.float32(checkpoint.quantisation.encodings[name].scale)
        assert np.abs(steps - np.rint(steps)).max() < 1e-3


def loud() -> QuantisedNetwork:
    """Products as large as they can be, two of which are more than 16 bits hold, and a result that holds their sum."""
    build = GraphBuilder((4, 4, 8))
    graph = build.graph(build.convolve("last", INPUT, 8))
    _, tensors, quantisation = quantised_network(graph, dtype="int8")
    tensors["last.weight"][:] = 127
    sums = quantisation.encodings[INPUT].scale * tensors["last.weight.scale"].max() * 8 * 127 * 256
    encodings = {**quantisation.encodings, "last": Encoding(float(np.float32(sums / 100)), 0)}
    return QuantisedNetwork(graph, tensors, replace(quantisation, encodings=encodings))


@pytest.mark.parametrize("signed", [False, True])
def test_no_processor_overflows(signed: bool) -> None:
    # Signed weights do, in onnxruntime without its precise mode, where x86 has no VNNI.
    network = loud()
    encoding = network.quantisation.encodings[INPUT]
    inputs = np.full((1, 4, 4, 8), encoding.scale * (127 - encoding.zero), np.float32)
    model = QuantisedWriter(*network, signed_weights=signed).model().SerializeToString()
    expected, _ = IntegerNetwork(*network).run(inputs)
    given = {INPUT: np.ascontiguousarray(inputs.transpose(0, 3, 1, 2))}
    (found,) = run_onnx(model, given)
    np.testing.assert_array_equal(found.transpose(0, 2, 3, 1), expected)
    if not signed:
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        np.testing.assert_array_equal(session.run(None, given)[0], found)


def test_signed_weights_are_asked_for(tmp_path: Path) -> None:
    unsigned = export(QUANTISED[0], tmp_path / "network.onnx")
    signed = export(QUANTISED[0], tmp_path / "signed.onnx", signed_weights=True)
    assert signed.difference == unsigned.difference
    kinds = {each.data_type for each in onnx.load(signed.path).graph.initializer if each.name.endswith(".weight")}
    assert kinds == {TensorProto.INT8}
    for path in (signed.path, unsigned.path):
        tensors = read(path).checkpoint.tensors
        assert all(np.array_equal(tensors[name], values) for name, values in QUANTISED[0].tensors.items())
    with pytest.raises(ValueError, match="int8; this one has none"):
        export(QUANTISED[0].dequantised(), tmp_path / "float.onnx", signed_weights=True)


def test_precision_is_chosen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "model.safetensors"
    save_checkpoint(QUANTISED[0], path)
    assert main(["export", str(path), str(tmp_path / "float.onnx"), "--precision", "float32", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert "QuantizeLinear" not in document["operators"]
    assert document["difference"] <= 1e-4
    save_checkpoint(QUANTISED[0].dequantised(), path)
    assert main(["export", str(path), str(tmp_path / "no.onnx"), "--precision", "int8"]) == 1
    assert "linnet quantize" in capsys.readouterr().err
    assert not (tmp_path / "no.onnx").exists()

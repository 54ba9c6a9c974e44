"""Does LiteRT compute the same from the exported file, integers to the bit, and does linnet read it back?"""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tflite
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from networks import architectures, checkpoint_of
from quantised import quantised_checkpoint

from linnet.architecture import Architecture, MobileNetV1, MobileNetV2
from linnet.checkpoint import Checkpoint, save_checkpoint
from linnet.cli import main
from linnet.engine.integer_reference import IntegerNetwork, numpy_network
from linnet.export import export
from linnet.export.tflite_run import LiteRT, run_tflite
from linnet.quantisation.scheme import Encoding
from linnet.weights import read
from linnet.weights.tflite_graph import Graph
from linnet.weights.tflite_metadata import Metadata, read_metadata

pytest.importorskip("ai_edge_litert", reason="exported files are run with ai-edge-litert")

# What the tools of Coral, CMSIS-NN and the NPUs take, and the normalisation of pixels.
KNOWN = {
    "ADD",
    "AVERAGE_POOL_2D",
    "CONV_2D",
    "DEPTHWISE_CONV_2D",
    "CONCATENATION",
    "FULLY_CONNECTED",
    "MEAN",
    "PAD",
    "RESHAPE",
    "RESIZE_BILINEAR",
    "ARG_MAX",
}

SMALL = MobileNetV2(width=0.35, resolution=64, classes=13)
NETWORKS: dict[str, Architecture] = {
    "v2": SMALL,
    "v1, not square": MobileNetV1(width=0.25, resolution=(40, 48), classes=5),
    "padded as PyTorch does": MobileNetV2(width=0.35, resolution=64, padding="symmetric", classes=7),
    "hidden layers, no bias": MobileNetV1(width=0.25, resolution=48, hidden=(20,), classifier_bias=False, classes=3),
    "features": MobileNetV2(width=0.35, resolution=(40, 64), classes=None),
    "grey": MobileNetV1(width=0.25, resolution=48, classes=2, input_channels=1),
}
INTEGERS: dict[str, dict[str, Any]] = {
    "int8": {},
    "per tensor": {"per_tensor": True},
    "average": {"pooling": "average"},
    "uint8": {"dtype": "uint8"},
    "uint8 average": {"dtype": "uint8", "pooling": "average"},
}


def pictures_for(network: Architecture, count: int = 2) -> Any:
    shape = (count, *network.input_size, network.input_channels)
    return np.random.default_rng(7).uniform(-1, 1, shape).astype(np.float32)


def same_function(one: Checkpoint, other: Checkpoint) -> bool:
    """Whether two checkpoints give the same bits for the same normalised pictures."""
    pictures = pictures_for(one.architecture)
    outputs = [
        numpy_network(each.architecture, each.tensors, each.quantisation).run(pictures)[0] for each in (one, other)
    ]
    return bool(np.array_equal(*outputs))


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(architectures(largest_width=0.6, largest_side=100), st.sampled_from(["float32", "float16"]))
def test_any_network_is_exported_as_it_is(tmp_path: Path, network: Architecture, precision: Any) -> None:
    result = export(checkpoint_of(network), tmp_path / "network.tflite", precision=precision)
    assert result.difference is not None
    assert result.difference <= (1e-5 if (network.classes or 9) > 8 else 1e-4)
    assert set(result.operators) <= KNOWN | {"DEQUANTIZE"}
    assert result.precision == precision


@pytest.mark.parametrize("style", INTEGERS)
@pytest.mark.parametrize("name", NETWORKS)
def test_integers_are_equal_to_the_bit_and_come_back(tmp_path: Path, name: str, style: str) -> None:
    checkpoint = quantised_checkpoint(NETWORKS[name], **INTEGERS[style])
    path = tmp_path / "network.tflite"
    result = export(checkpoint, path)
    assert result.equal
    assert set(result.operators) <= KNOWN
    back = read(path).checkpoint
    assert back.architecture == checkpoint.architecture
    assert back.quantisation == checkpoint.quantisation
    for key in checkpoint.tensors:
        assert np.array_equal(back.tensors[key], checkpoint.tensors[key]), key
    assert back.preprocessing == checkpoint.preprocessing
    assert same_function(back, checkpoint)


@pytest.mark.parametrize("precision", ["float32", "float16"])
@pytest.mark.parametrize("name", NETWORKS)
def test_floats_come_back(tmp_path: Path, name: str, precision: Any) -> None:
    checkpoint, path = checkpoint_of(NETWORKS[name]), tmp_path / "network.tflite"
    export(checkpoint, path, precision=precision)
    back = read(path).checkpoint
    assert back.architecture == checkpoint.architecture.with_options(folded=True)
    again = export(back, tmp_path / "again.tflite", precision=precision)
    assert again.difference is not None
    first, second = (run_tflite(each, pictures_for(NETWORKS[name]))[0] for each in (path, tmp_path / "again.tflite"))
    assert np.array_equal(first, second)


def test_contract_and_classes_come_back(tmp_path: Path) -> None:
    path, classes = tmp_path / "network.tflite", tuple(f"größe {number}" for number in range(13))
    for checkpoint in (checkpoint_of(SMALL, classes=classes), quantised_checkpoint(SMALL, classes=classes)):
        assert checkpoint.preprocessing is not None
        contract = replace(checkpoint.preprocessing, crop=0.9, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
        checkpoint = replace(checkpoint, preprocessing=contract, provenance={"licence": "CC0-1.0", "data": "noise"})
        for inputs in ("normalised", "pixels"):
            export(checkpoint, path, inputs=inputs)
            back = read(path)
            assert back.checkpoint.preprocessing == contract
            assert back.checkpoint.classes == classes
            assert back.checkpoint.provenance["licence"] == "CC0-1.0"
            assert not back.notes


def test_the_metadata_is_what_clients_ask_for(tmp_path: Path) -> None:
    path, checkpoint = tmp_path / "network.tflite", checkpoint_of(SMALL, classes=tuple("abcdefghijklm"))
    checkpoint = replace(checkpoint, provenance={"licence": "CC0-1.0"})
    export(checkpoint, path)
    first = path.read_bytes()
    found = read_metadata(Graph(first).metadata_buffer())
    # In values from 0 to 255; labels in an archive that is not compressed.
    assert found == Metadata((127.5,) * 3, (127.5,) * 3, ("labels.txt",), "CC0-1.0")
    with zipfile.ZipFile(path) as archive:
        assert archive.getinfo("labels.txt").compress_type == zipfile.ZIP_STORED
        assert archive.read("labels.txt").decode().split() == list("abcdefghijklm")
    assert b"CC0-1.0" in (tflite.Model.GetRootAs(first, 0).Description() or b"")
    export(checkpoint, path)
    assert path.read_bytes() == first


def test_a_damaged_contract_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "network.tflite"
    export(checkpoint_of(SMALL), path)
    content = path.read_bytes()
    assert content.count(b'"shorter_side"') == 1
    path.write_bytes(content.replace(b'"shorter_side"', b'"shorter_tide"'))
    with pytest.raises(ValueError, match=r"damaged.*shorter_tide"):
        read(path)


@pytest.mark.parametrize("inputs", ["normalised", "pixels"])
@pytest.mark.parametrize("name", ["v2", "features"])
def test_the_ends_of_a_quantised_file_may_be_numbers_or_pixels(tmp_path: Path, name: str, inputs: Any) -> None:
    checkpoint, path = quantised_checkpoint(NETWORKS[name]), tmp_path / "network.tflite"
    result = export(checkpoint, path, inputs=inputs)
    assert result.equal
    assert same_function(read(path).checkpoint, checkpoint)
    assert {"QUANTIZE", "DEQUANTIZE" if inputs == "normalised" else "DIV"} <= set(result.operators)


def test_pixels_that_are_the_integers_are_not_computed_with(tmp_path: Path) -> None:
    checkpoint = quantised_checkpoint(SMALL)
    assert checkpoint.preprocessing is not None
    assert checkpoint.quantisation is not None
    # x = (p / 255 - 128 / 255) / (128 / 255): the integer of a pixel p is p - 128, as in TensorFlow's files.
    contract = replace(checkpoint.preprocessing, mean=(128 / 255,) * 3, std=(128 / 255,) * 3)
    encodings = {**checkpoint.quantisation.encodings, "input": Encoding(1 / 128, 0)}
    checkpoint = replace(
        checkpoint, preprocessing=contract, quantisation=replace(checkpoint.quantisation, encodings=encodings)
    )
    path = tmp_path / "network.tflite"
    result = export(checkpoint, path, inputs="pixels")
    assert result.equal
    assert set(result.operators) <= KNOWN | {"QUANTIZE"}
    assert same_function(read(path).checkpoint, checkpoint)


def test_operations_in_float_stand_between_their_ends(tmp_path: Path) -> None:
    checkpoint = quantised_checkpoint(SMALL, floating=("classifier",))
    result = export(checkpoint, tmp_path / "network.tflite")
    assert result.difference is not None
    assert {"QUANTIZE", "DEQUANTIZE"} <= set(result.operators)


def test_interpreters_resize_the_batch_and_find_the_signature(tmp_path: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    checkpoint, path = quantised_checkpoint(SMALL, pooling="average"), tmp_path / "network.tflite"
    export(checkpoint, path)
    pictures = pictures_for(SMALL, 3)
    network = LiteRT(path, batch=3)
    (found,) = network.run(network.prepared(pictures))
    assert checkpoint.quantisation is not None
    expected, _ = IntegerNetwork(checkpoint.architecture, checkpoint.tensors, checkpoint.quantisation).run(pictures)
    assert np.array_equal(found, expected)
    assert Interpreter(str(path)).get_signature_list() == {
        "serving_default": {"inputs": ["input"], "outputs": ["classifier"]}
    }


def test_what_differs_is_not_written(tmp_path: Path) -> None:
    checkpoint, path = checkpoint_of(SMALL), tmp_path / "network.tflite"
    checkpoint.tensors["classifier.bias"][:] = np.nan
    path.write_bytes(b"an older, good file")
    with pytest.raises(ValueError, match=r"not written.*differ"):
        export(checkpoint, path)
    assert path.read_bytes() == b"an older, good file"


def test_options_that_do_not_suit_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "network.tflite"
    floats, integers = checkpoint_of(SMALL), quantised_checkpoint(SMALL)
    with pytest.raises(ValueError, match="linnet quantize"):
        export(floats, path, precision="int8")
    with pytest.raises(ValueError, match="those of a quantised network"):
        export(floats, path, inputs="integers")
    with pytest.raises(ValueError, match="`inputs`"):
        export(floats, path, inputs="bytes")
    with pytest.raises(ValueError, match="`precision`"):
        export(floats, tmp_path / "network.onnx", precision="float16")
    assert integers.preprocessing is not None
    with pytest.raises(ValueError, match="BGR"):
        export(replace(integers, preprocessing=replace(integers.preprocessing, colours="BGR")), path, inputs="pixels")
    floats.tensors["classifier.weight"][0, 0] = 1e6
    with pytest.raises(ValueError, match="float16 cannot hold"):
        export(floats, path, precision="float16")
    assert not path.exists()


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, path = tmp_path / "model.safetensors", tmp_path / "out.tflite"
    save_checkpoint(quantised_checkpoint(SMALL), model)
    assert main(["export", str(model), str(path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["format"] == "tflite"
    assert document["precision"] == "int8"
    assert document["bytes"] == path.stat().st_size
    assert document["compared"] == {"pictures": 5, "largest_difference": 0.0, "equal": True}
    assert main(["export", str(model), str(path), "--precision", "float32"]) == 0
    assert "differs from the numpy reference" in capsys.readouterr().out

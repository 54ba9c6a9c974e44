"""Does a quantised network run by the rule, come back from its file, and get refused where its numbers are hostile?"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from networks import architectures, detectors
from numpy.typing import NDArray
from quantised import calibrated, quantised_checkpoint, quantised_tensors

import linnet
from linnet.architecture import INPUT, Add, Architecture, Convolve, GraphBuilder, MobileNetV1, MobileNetV2, Pool
from linnet.architecture.operations import of_kind
from linnet.checkpoint import Checkpoint, load_checkpoint, read_header, save_checkpoint
from linnet.engine.integer_reference import IntegerNetwork, numpy_network
from linnet.engine.library import load_library
from linnet.engine.reference import NumpyNetwork
from linnet.images import normalise
from linnet.quantisation import rule
from linnet.quantisation.scheme import Encoding, IntegerType, Pooling, Quantisation

SMALL = MobileNetV2(width=0.35, resolution=32, classes=3)
DTYPES = st.sampled_from(["int8", "uint8"])


def network_of(checkpoint: Checkpoint) -> IntegerNetwork:
    assert checkpoint.quantisation is not None
    return IntegerNetwork(checkpoint.architecture, checkpoint.tensors, checkpoint.quantisation)


def pictures(architecture: Architecture, count: int = 2, seed: int = 5) -> NDArray[np.float32]:
    shape = (count, *architecture.input_size, architecture.input_channels)
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(architectures(largest_width=0.5, largest_side=64), detectors(largest_width=0.3, largest_side=64)),
    DTYPES,
    st.booleans(),
    st.sampled_from(["mean", "average"]),
)
def test_any_network_in_eight_bits_comes_back_as_it_was(
    tmp_path: Path, network: Architecture, dtype: IntegerType, per_tensor: bool, pooling: Pooling
) -> None:
    checkpoint = quantised_checkpoint(network, dtype=dtype, per_tensor=per_tensor, pooling=pooling)
    path = tmp_path / "network.safetensors"
    save_checkpoint(checkpoint, path)
    found = load_checkpoint(path)
    assert found.tensors.keys() == checkpoint.tensors.keys()
    for name, values in checkpoint.tensors.items():
        assert found.tensors[name].dtype == values.dtype
        assert np.array_equal(found.tensors[name], values)
    assert replace(found, tensors=checkpoint.tensors) == checkpoint
    assert read_header(path)["format"] == 3


def by_definition(
    layer: Convolve, given: NDArray[Any], zero: int, weight: NDArray[np.int64], bias: NDArray[Any]
) -> NDArray[np.int64]:
    """Sums of a convolution over one (H, W, C) picture in Python's integers, padded with the zero point."""
    height, width = given.shape[:2]
    top, _, left, _ = layer.pads
    sums = np.zeros(layer.shape, object)
    for y, x, o in np.ndindex(layer.shape):
        total = int(bias[o])
        for ky, kx, i in np.ndindex(layer.kernel, layer.kernel, weight.shape[1]):
            row, column = y * layer.stride + ky * layer.dilation - top, x * layer.stride + kx * layer.dilation - left
            inside = 0 <= row < height and 0 <= column < width
            value = int(given[row, column, o if layer.depthwise else i]) if inside else zero
            total += (value - zero) * int(weight[o, i, ky, kx])
        sums[y, x, o] = total
    return sums.astype(np.int64)


@settings(max_examples=15)
@given(
    size=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    window=st.fixed_dictionaries(
        {
            "stride": st.sampled_from([1, 2]),
            "dilation": st.sampled_from([1, 2]),
            "kernel": st.sampled_from([1, 3]),
            "depthwise": st.booleans(),
            "activation": st.sampled_from(["linear", "relu", "relu6"]),
        }
    ),
    padding=st.sampled_from(["same", "symmetric"]),
    dtype=DTYPES,
    per_tensor=st.booleans(),
    large=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_a_convolution_is_the_rule_on_exact_sums(
    size: tuple[int, int],
    window: dict[str, Any],
    padding: Any,
    dtype: IntegerType,
    per_tensor: bool,
    large: bool,
    seed: int,
) -> None:
    """Also where sums are larger than float32 holds exactly."""
    generator = np.random.default_rng(seed)
    build = GraphBuilder((*size, 5), padding=padding)
    graph = build.graph(build.convolve("layer", INPUT, 5 if window["depthwise"] else 4, **window))
    (layer,) = graph.convolutions
    floats = {
        "layer.weight": generator.normal(size=layer.tensors["layer.weight"]).astype(np.float32),
        "layer.bias": generator.normal(size=layer.out_channels).astype(np.float32),
    }
    inputs = generator.normal(size=(1, *size, 5)).astype(np.float32)
    encodings = calibrated(graph, floats, inputs, dtype=dtype)
    tensors = quantised_tensors(graph, floats, encodings, dtype=dtype, per_tensor=per_tensor)
    if large:
        tensors["layer.bias"] = generator.integers(-(2**30), 2**30, layer.out_channels).astype(np.int32)
        encodings["layer"] = Encoding(float(np.float32(encodings["layer"].scale * 2**16)), encodings["layer"].zero)
    network = IntegerNetwork(graph, tensors, Quantisation(dtype, encodings))
    found, _ = network.integers(inputs)
    weight = tensors["layer.weight"].astype(np.int64)
    weight -= int(tensors["layer.weight.zero"][0]) if dtype == "uint8" else 0
    entered = rule.quantise(inputs[0], encodings[INPUT], dtype)
    sums = by_definition(layer, entered, encodings[INPUT].zero, weight, tensors["layer.bias"])
    factor = rule.multiplier(encodings[INPUT], tensors["layer.weight.scale"], encodings["layer"])
    limits = rule.bounds(dtype, encodings["layer"], layer.activation)
    assert np.array_equal(found[0], rule.requantise(sums, factor, encodings["layer"], dtype, limits))


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("pooling", ["mean", "average"])
def test_a_quantised_network_is_near_the_one_in_float(dtype: IntegerType, pooling: Pooling) -> None:
    checkpoint = quantised_checkpoint(SMALL, dtype=dtype, pooling=pooling)
    inputs = pictures(SMALL, 8)
    found, _ = numpy_network(checkpoint.architecture, checkpoint.tensors, checkpoint.quantisation).run(inputs)
    floats = checkpoint.dequantised()
    assert floats.quantisation is None
    assert floats.dequantised() is floats
    expected, _ = NumpyNetwork(floats.architecture, floats.tensors).run(inputs)
    assert found.dtype == np.float32
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.95


def test_every_tensor_can_be_asked_for_and_is_what_its_integers_stand_for() -> None:
    checkpoint = quantised_checkpoint(SMALL)
    network, inputs = network_of(checkpoint), pictures(SMALL)
    quantisation, names = checkpoint.quantisation, SMALL.tensor_names
    assert quantisation is not None
    plain, nothing = network.run(inputs)
    output, tensors = network.run(inputs, names)
    whole, integers = network.integers(inputs, names)
    assert nothing == {}
    assert np.array_equal(plain, output)
    assert tuple(tensors) == tuple(integers) == names
    assert np.array_equal(rule.dequantise(whole, quantisation.encodings["classifier"]), output)
    for name in names:
        assert integers[name].dtype == np.int8
        encoding = quantisation.encodings[SMALL.graph.aliases[name]]
        assert np.array_equal(tensors[name], rule.dequantise(integers[name], encoding))


def test_operations_that_stay_in_float_are_computed_in_float() -> None:
    name = "blocks.1.depthwise"
    checkpoint = quantised_checkpoint(SMALL, floating=(name, "classifier"))
    assert checkpoint.tensors[f"{name}.weight"].dtype == np.float32
    assert f"{name}.weight.scale" not in checkpoint.tensors
    quantisation, inputs = checkpoint.quantisation, pictures(SMALL)
    layer = checkpoint.architecture.graph.by_name[name]
    assert quantisation is not None
    assert isinstance(layer, Convolve)
    _, kept = network_of(checkpoint).run(inputs, (layer.reads[0], name))
    build = GraphBuilder(layer.input_shape)
    alone = build.graph(
        build.convolve(
            "layer", INPUT, layer.out_channels, kernel=3, stride=layer.stride, depthwise=True, activation="relu6"
        )
    )
    floats = {f"layer.{part}": checkpoint.tensors[f"{name}.{part}"] for part in ("weight", "bias")}
    expected, _ = NumpyNetwork(alone, floats).run(kept[layer.reads[0]])
    encoding = quantisation.encodings[name]
    assert np.array_equal(rule.quantise(expected, encoding, "int8"), rule.quantise(kept[name], encoding, "int8"))


def test_a_batch_is_its_pictures_one_by_one() -> None:
    network, inputs = network_of(quantised_checkpoint(SMALL, dtype="uint8")), pictures(SMALL, 3)
    together, _ = network.integers(inputs)
    assert np.array_equal(together, np.concatenate([network.integers(each[None])[0] for each in inputs]))
    assert network.integers(inputs[:0])[0].shape == (0, 3)


def without(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda tensors: tensors.pop(name)


def changed(name: str, change: Callable[[Any], Any]) -> Callable[[dict[str, Any]], None]:
    def apply(tensors: dict[str, Any]) -> None:
        tensors[name] = change(tensors[name].copy())

    return apply


def one(values: NDArray[Any], value: float) -> NDArray[Any]:
    values.flat[0] = value
    return values


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (without("stem.weight.scale"), r"missing: stem\.weight\.scale"),
        (without("stem.bias"), r"missing: stem\.bias"),
        (lambda tensors: tensors.update(more=np.zeros(1, np.int8)), "surplus: more"),
        (changed("stem.weight", lambda x: x.astype(np.float32)), "stem.weight is of type float32; expected int8"),
        (changed("stem.bias", lambda x: x.astype(np.int64)), "stem.bias is of type int64; expected int32"),
        (changed("stem.weight.scale", lambda x: x[:-1]), r"stem\.weight\.scale has shape"),
        (changed("stem.weight", lambda x: x.astype(np.uint8)), r"missing: stem\.weight\.zero"),
        (changed("stem.weight.scale", lambda x: one(x, 0)), "scales of stem.weight must be finite"),
        (changed("stem.weight.scale", lambda x: one(x, -1)), "scales of stem.weight must be finite"),
        (changed("stem.weight.scale", lambda x: one(x, np.inf)), "scales of stem.weight must be finite"),
        (changed("stem.weight.scale", lambda x: one(x, np.nan)), "scales of stem.weight must be finite"),
        (changed("stem.weight.scale", lambda x: one(x, 1e-40)), "scales of stem.weight must be finite"),
        (changed("stem.weight.scale", lambda x: one(x, 2e-38)), "too far apart"),
        (changed("stem.bias", lambda x: one(x, 2**31 - 1)), "sums of stem can reach"),
        (changed("stem.bias", lambda x: one(x, -(2**31))), "sums of stem can reach"),
    ],
)
def test_hostile_tensors_are_refused(change: Callable[[dict[str, Any]], None], sentence: str) -> None:
    checkpoint = quantised_checkpoint(SMALL)
    tensors = dict(checkpoint.tensors)
    change(tensors)
    with pytest.raises(ValueError, match=sentence):
        replace(checkpoint, tensors=tensors)


def test_the_largest_sums_that_fit_are_taken() -> None:
    checkpoint = quantised_checkpoint(SMALL)
    tensors = dict(checkpoint.tensors)
    room = 2**31 - 255 * np.abs(tensors["stem.weight"][0].astype(np.int64)).sum()
    tensors["stem.bias"] = one(tensors["stem.bias"].copy(), int(room - 1))
    replace(checkpoint, tensors=tensors)
    tensors["stem.bias"] = one(tensors["stem.bias"].copy(), -int(room))
    with pytest.raises(ValueError, match="32 bits hold less"):
        replace(checkpoint, tensors=tensors)


def header_of(change: Callable[[dict[str, Any]], None]) -> Quantisation:
    quantisation = quantised_checkpoint(SMALL).quantisation
    assert quantisation is not None
    document = json.loads(json.dumps(quantisation.to_json()))
    change(document)
    return Quantisation.from_json(document)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda x: x.pop("pooling"), "must be an object of"),
        (lambda x: x.update(more=1), "must be an object of"),
        (lambda x: x.update(dtype="int4"), "`dtype`"),
        (lambda x: x.update(dtype=["int8"]), "`dtype`"),
        (lambda x: x.update(pooling="max"), "`pooling`"),
        (lambda x: x.update(floating="stem"), "list of names"),
        (lambda x: x.update(encodings=[1]), "must be an object"),
        (lambda x: x["encodings"].update(stem=[0.5]), r"must be \[scale, zero point\]"),
        (lambda x: x["encodings"].update(stem=["1", 0]), "scale of an encoding"),
        (lambda x: x["encodings"].update(stem=[0.0, 0]), "scale of an encoding"),
        (lambda x: x["encodings"].update(stem=[-0.5, 0]), "scale of an encoding"),
        (lambda x: x["encodings"].update(stem=[2.0**-127, 0]), "scale of an encoding"),
        (lambda x: x["encodings"].update(stem=[2.0**127, 0]), "scale of an encoding"),
        (lambda x: x["encodings"].update(stem=[float("inf"), 0]), "scale of an encoding"),
        (lambda x: x["encodings"].update(stem=[float("nan"), 0]), "scale of an encoding"),
        (lambda x: x["encodings"].update(stem=[0.1, 0]), "scale of an encoding"),
        (lambda x: x["encodings"].update(stem=[1, 0]), "scale of an encoding"),
        (lambda x: x["encodings"].update(stem=[0.5, 0.5]), "zero point of an encoding"),
        (lambda x: x["encodings"].update(stem=[0.5, True]), "zero point of an encoding"),
        (lambda x: x["encodings"].update(stem=[0.5, 128]), "zero point of stem"),
        (lambda x: x["encodings"].update(stem=[0.5, 10**30]), "zero point of stem"),
    ],
)
def test_hostile_headers_are_refused(change: Callable[[dict[str, Any]], None], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        header_of(change)


def test_a_header_comes_back() -> None:
    assert header_of(lambda _: None) == quantised_checkpoint(SMALL).quantisation


def resealed(content: bytes, change: Callable[[dict[str, Any]], None], patches: dict[int, bytes]) -> bytes:
    """A file with another document and other bytes of tensors, and a digest that fits: what a faulty writer makes."""
    length = 8 + int.from_bytes(content[:8], "little")
    header, data = json.loads(content[8:length]), bytearray(content[length:])
    document = json.loads(header["__metadata__"]["linnet"])
    change(document)
    for place, patch in patches.items():
        data[place % len(data) : place % len(data) + len(patch)] = patch
    document["digest"] = "0" * 64
    header["__metadata__"]["linnet"] = json.dumps(document, separators=(",", ":"))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    whole = len(text).to_bytes(8, "little") + text + bytes(data[: len(content) - length])
    return whole.replace(b"0" * 64, hashlib.sha256(whole).hexdigest().encode(), 1)


HOSTILE: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from(
        [0, 0.0, -1.0, 1e-40, 2.0**-126, 1.0, 0.5, 1e30, 2.0**126, 1e39, -129, 127, 128, 255, 256, 10**30, True]
    ),
    st.sampled_from([None, "", "int8", "uint8", "average", "mean", [], {}, ["stem"], ["pool", "nothing"]]),
    st.floats(allow_nan=True),
    st.floats(width=32, min_value=0),
)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    dtype=DTYPES,
    fields=st.lists(
        st.one_of(
            st.tuples(st.sampled_from(["dtype", "pooling", "floating", "encodings"])),
            st.tuples(st.just("encodings"), st.sampled_from([INPUT, *SMALL.graph.by_name])),
            st.tuples(st.just("encodings"), st.sampled_from([INPUT, *SMALL.graph.by_name]), st.integers(0, 1)),
        ),
        max_size=3,
    ),
    values=st.lists(HOSTILE, min_size=3, max_size=3),
    patches=st.dictionaries(
        st.integers(0, 2**24).map(lambda place: place * 4),
        st.sampled_from(["00000000", "ffffffff", "0000807f", "0000c07f", "01000000", "ffffff7f", "80808080"]),
        max_size=3,
    ),
)
def test_a_hostile_file_is_refused_with_a_sentence_or_has_the_same_bits_everywhere(
    tmp_path: Path, dtype: IntegerType, fields: Any, values: list[Any], patches: dict[int, str]
) -> None:
    def change(document: dict[str, Any]) -> None:
        for (*way, last), value in zip(fields, values, strict=False):
            place = document["quantisation"]
            for key in way:
                place = place[key] if isinstance(place, dict | list) and len(place) > 0 else {}
            with suppress(TypeError, IndexError, KeyError):  # what was changed before may have no such place
                place[last] = value

    path = tmp_path / "hostile.safetensors"
    save_checkpoint(quantised_checkpoint(SMALL, dtype=dtype), path)
    content = {place: bytes.fromhex(patch) for place, patch in patches.items()}
    path.write_bytes(resealed(path.read_bytes(), change, content))
    try:
        found = load_checkpoint(path)
    except ValueError as refused:
        sentence = str(refused)
    else:
        sentence = ""
        runtimes: list[Any] = ["numpy", "native"] if load_library() is not None else ["numpy"]
        pixels = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
        outputs = [linnet.Predictor(found, runtime=name).forward(pixels) for name in runtimes]
        assert np.array_equal(outputs[0], outputs[-1])
        assert np.isfinite(outputs[0]).all()
    assert sentence == "" or (sentence.endswith(".") and "hostile.safetensors" in sentence)


def scheme_with(architecture: Architecture, **changes: Any) -> Checkpoint:
    checkpoint = quantised_checkpoint(architecture, pooling=changes.get("pooling", "mean"))
    assert checkpoint.quantisation is not None
    encodings = dict(checkpoint.quantisation.encodings) | changes.pop("encodings", {})
    for name in changes.pop("without", ()):
        del encodings[name]
    return replace(checkpoint, quantisation=replace(checkpoint.quantisation, encodings=encodings, **changes))


def test_a_quantisation_of_another_network_is_refused() -> None:
    (pool,) = of_kind(SMALL.operations, Pool)
    (sum_, *_) = of_kind(SMALL.operations, Add)
    with pytest.raises(ValueError, match="no encoding for input"):
        scheme_with(SMALL, without=[INPUT])
    with pytest.raises(ValueError, match="unknown more"):
        scheme_with(SMALL, encodings={"more": Encoding(1.0, 0)})
    with pytest.raises(ValueError, match="floating operations more"):
        scheme_with(SMALL, floating=("more",))
    with pytest.raises(ValueError, match="pool must have the encoding of what it reads"):
        scheme_with(SMALL, pooling="average", encodings={pool.name: Encoding(1.0, 0)})
    with pytest.raises(ValueError, match=r"The scale of pool \(=2e-38\) is too far from that of head"):
        scheme_with(SMALL, encodings={pool.name: Encoding(float(np.float32(2e-38)), 0)})
    for scale in (2.0**20, 2.0**-20):
        with pytest.raises(ValueError, match="too far from those of what it adds"):
            scheme_with(SMALL, encodings={sum_.name: Encoding(scale, 0)})
    with pytest.raises(ValueError, match="too far apart"):
        scheme_with(SMALL, encodings={"stem": Encoding(2.0**-126, 0)})
    checkpoint = quantised_checkpoint(SMALL)
    with pytest.raises(ValueError, match="must be folded"):
        replace(checkpoint, architecture=SMALL)
    with pytest.raises(ValueError, match="is of type float32"):
        replace(checkpoint.dequantised(), quantisation=checkpoint.quantisation)
    with pytest.raises(ValueError, match="surplus"):
        replace(checkpoint, quantisation=None)


def test_integers_are_never_taken_for_numbers(tmp_path: Path) -> None:
    checkpoint = quantised_checkpoint(SMALL)
    with pytest.raises(ValueError, match="holds integers"):
        NumpyNetwork(checkpoint.architecture, checkpoint.tensors)
    with pytest.raises(ValueError, match="float16"):
        save_checkpoint(checkpoint, tmp_path / "half.safetensors", dtype=np.float16)


def test_a_quantised_model_predicts_like_any_other(tmp_path: Path, picture: NDArray[np.uint8]) -> None:
    names = ("ant", "bee", "cat")
    architecture = MobileNetV1(width=0.25, resolution=64, classes=3)
    checkpoint = quantised_checkpoint(architecture, classes=names)
    path = tmp_path / "small.safetensors"
    save_checkpoint(checkpoint, path)
    predict = linnet.load(path, runtime="numpy")
    assert predict(picture).label in names
    pixels = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    alone = np.concatenate([predict.forward(each[None]) for each in pixels])
    assert np.array_equal(predict.forward(pixels), alone)
    stem = predict.tensors(pixels, ("stem",))["stem"]
    assert stem.dtype == np.float32
    if load_library() is None:
        return
    native = linnet.load(path)
    assert native.runtime == "native"
    assert np.array_equal(native.forward(pixels), alone)
    assert np.array_equal(native.tensors(pixels, ("stem",))["stem"], stem)


@pytest.mark.parametrize("command", ["predict", "evaluate", "profile", "models", "export", "export in float"])
def test_the_commands_take_a_quantised_model(command: str, tmp_path: Path, picture_file: Path) -> None:
    architecture = MobileNetV2(width=0.35, resolution=64, classes=4)
    model = tmp_path / "small.safetensors"
    save_checkpoint(quantised_checkpoint(architecture, classes=("ant", "bee", "cat", "dog")), model)
    folder = tmp_path / "data"
    for name in ("ant", "bee", "cat", "dog"):
        (folder / name).mkdir(parents=True)
        (folder / name / "a.png").write_bytes(picture_file.read_bytes())
    arguments = {
        "predict": [str(picture_file), "--model", str(model)],
        "evaluate": [str(folder), "--model", str(model)],
        "profile": ["--model", str(model)],
        "models": [],
        "export": [str(model), str(tmp_path / "out.onnx")],
        "export in float": [str(model), str(tmp_path / "out.onnx"), "--precision", "float32"],
    }[command]
    done = subprocess.run(
        [sys.executable, "-m", "linnet", command.split()[0], *arguments], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert ("takes its weights as float32" in done.stderr) == (command == "export in float")


def test_whatever_needs_numbers_takes_a_quantised_model_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from linnet.nn import from_checkpoint
    from linnet.tasks.classification.start import find_start
    from linnet.training.recipe import Recipe
    from linnet.training.starts import StartOptions

    names = ("ant", "bee", "cat")
    checkpoint = quantised_checkpoint(SMALL, classes=names)
    path = tmp_path / "small.safetensors"
    save_checkpoint(checkpoint, path)
    floats = checkpoint.dequantised()
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    with caplog.at_level("INFO", logger="linnet"):
        predict = linnet.load(path, runtime="torch")
        module = from_checkpoint(checkpoint)
        start = find_start(StartOptions(start=str(path)), names, Recipe())
    for reader in ("the torch runtime", "torch", "training"):
        assert f"The network is quantised; {reader} takes its weights as float32." in caplog.messages
    expected, _ = NumpyNetwork(floats.architecture, floats.tensors).run(normalise(pixels, predict.preprocessing))
    np.testing.assert_allclose(predict.forward(pixels), expected, rtol=1e-3, atol=1e-4)
    assert module.architecture == floats.architecture
    assert start.keeps_classes
    assert start.network.architecture.folded

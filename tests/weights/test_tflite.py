"""Does a TFLite file become the network that was written into it, and is everything else refused in a sentence?"""

from __future__ import annotations

import json
import math
import re
import sys
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import tflite
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import random_tensors
from numpy.typing import NDArray
from PIL import Image
from tflite_writer import (
    Description,
    GraphWriter,
    NetworkWriter,
    Operator,
    Quantisation,
    Style,
    activation_ranges,
    network_writer,
    write_content,
    write_tflite,
)

from linnet.architecture import INPUT, Architecture, Convolve, MobileNetV1, MobileNetV2, Operation, Pool
from linnet.architecture.cost import cost
from linnet.checkpoint import load_checkpoint, save_checkpoint
from linnet.cli import main
from linnet.engine.fold import fold
from linnet.engine.reference import NumpyNetwork
from linnet.images import normalise, prepare
from linnet.weights import read
from linnet.weights.conversion import Conversion, as_floats
from linnet.weights.parity import TFLiteGraph, compare
from linnet.weights.tflite import convert

Tensors = dict[str, NDArray[np.float32]]

SMALL = MobileNetV1(width=0.25, resolution=32, classes=3)
NARROW = MobileNetV2(width=0.35, resolution=64, classes=3)
FULLY_CONNECTED = Style(classifier="fully_connected", pool="average")
SYMMETRIC = Style(explicit_pads="strided")
SYMMETRIC_ALL = Style(explicit_pads="always")
RELU = tflite.ActivationFunctionType.RELU


class Written(NamedTuple):
    """A converted file, and what was written into it."""

    conversion: Conversion
    tensors: Tensors
    numbers: dict[str, int]

    @property
    def architecture(self) -> Architecture:
        """The network found."""
        return self.conversion.checkpoint.architecture

    @property
    def found(self) -> Tensors:
        """The tensors found, in the order of the layers."""
        tensors = self.conversion.checkpoint.tensors
        return {name: np.asarray(tensors[name], np.float32) for name in self.architecture.tensors}


def write_and_convert(path: Path, architecture: Architecture, style: Style, seed: int = 0) -> Written:
    """Random weights, folded, written, converted; integers as the numbers that they stand for."""
    tensors = random_tensors(architecture, seed)
    numbers = write_tflite(path, architecture, tensors, style)
    return Written(as_floats(convert(path)), fold(architecture, tensors)[1], numbers)


def assert_same_layers(found: Architecture, expected: Architecture) -> None:
    """All that a file holds of a network agrees: layers and pads, if not the options that led to them."""
    alike = {"folded": True, "padding": "same", "dropout": 0.5}
    assert found.with_options(**alike).layers == expected.with_options(**alike).layers
    assert [layer.pads for layer in found.convolutions] == [layer.pads for layer in expected.convolutions]


def noise(architecture: Architecture, count: int, seed: int = 0) -> list[NDArray[np.uint8]]:
    """Pictures of a network's size: noise over a gradient, so that they are not all alike."""
    generator = np.random.default_rng(seed)
    height, width = architecture.input_size
    slope = np.linspace(0, 160, width)[None, :, None] * generator.uniform(0, 1, (count, 1, 1, 3))
    return list((slope + generator.uniform(0, 95, (count, height, width, 3))).astype(np.uint8))


# Networks whose every option can be read off their layers.
IDENTIFIABLE: dict[str, tuple[Architecture, Style]] = {
    "v1": (MobileNetV1(resolution=64, classes=3), Style()),
    "v1 features at 97x131": (MobileNetV1(width=0.5, resolution=(97, 131), classes=None), Style(pool="average")),
    "v1 width 0.6": (MobileNetV1(width=0.6, resolution=64, classes=7), FULLY_CONNECTED),
    "v1 relu, activations apart": (replace(SMALL, activation="relu"), Style(separate_activations=True)),
    "v1 full convolutions": (MobileNetV1(width=0.25, resolution=64, classes=3, convolution="full"), Style()),
    "v1 symmetric": (replace(SMALL, padding="symmetric", resolution=64), SYMMETRIC_ALL),
    "v1 output stride 16": (replace(SMALL, output_stride=16, resolution=64), Style()),
    "v1 minimum depth 16": (replace(SMALL, minimum_depth=16), Style()),
    "v1 without a minimum": (MobileNetV1(width=0.1, minimum_depth=1, resolution=96, input_channels=1), FULLY_CONNECTED),
    "v2": (MobileNetV2(resolution=64, classes=1001), Style(softmax=True)),
    "v2 at 160": (MobileNetV2(width=0.35, resolution=160, classes=7), FULLY_CONNECTED),
    "v2 features at 97x131": (MobileNetV2(width=0.5, resolution=(97, 131), classes=None), Style()),
    "v2 width 1.4": (MobileNetV2(width=1.4, resolution=64, classes=3), Style()),
    "expansion 3": (replace(NARROW, expansion=3), Style()),
    "expansion 1": (replace(NARROW, expansion=1), Style()),
    "symmetric": (replace(NARROW, padding="symmetric"), SYMMETRIC),
    "symmetric, all pads explicit": (replace(NARROW, padding="symmetric"), SYMMETRIC_ALL),
    "same, all pads explicit": (NARROW, SYMMETRIC_ALL),
    # The stem's pads are those of both rules here; only later layers tell them apart.
    "symmetric at 97x131": (replace(NARROW, padding="symmetric", resolution=(97, 131)), SYMMETRIC),
    # The shortcut's source is then the tensor before the PAD, not what the block's first convolution reads.
    "expansion 1, all pads explicit": (replace(NARROW, expansion=1), SYMMETRIC_ALL),
    "relu": (replace(NARROW, activation="relu"), Style(separate_activations=True)),
    "relu6 after projections": (replace(NARROW, projection_activation="relu6"), Style(separate_activations=True)),
    "no shortcut": (replace(NARROW, shortcut="none"), Style()),
    "output stride 16": (replace(NARROW, output_stride=16), Style()),
    "output stride 8": (replace(NARROW, output_stride=8), SYMMETRIC),
    "one channel": (replace(NARROW, input_channels=1), Style(softmax=True)),
    "minimum depth 16": (replace(NARROW, minimum_depth=16), Style()),
    "one class": (replace(NARROW, classes=1), replace(FULLY_CONNECTED, softmax=True)),
    "last layer scaled": (replace(NARROW, last_layer="scaled"), Style()),
    "stem and last layer fixed": (replace(NARROW, stem="fixed", last_layer="fixed", width=1.4), Style()),
    "stem fixed alone": (replace(NARROW, stem="fixed", width=1.4), Style()),
    "last layer fixed alone": (replace(NARROW, last_layer="fixed", width=1.4), Style()),
}

# Others give the same layers as these, so only the layers can be compared.
AMBIGUOUS: dict[str, tuple[Architecture, Style]] = {
    "width 0.6": (replace(NARROW, width=0.6, classes=7), Style()),
    "depth 1.2": (replace(NARROW, depth=1.2, stem="fixed", last_layer="fixed"), FULLY_CONNECTED),
    "depth 0.5": (replace(NARROW, depth=0.5), Style()),
    "same and symmetric alike": (replace(NARROW, padding="symmetric", resolution=97), SYMMETRIC_ALL),
}


@pytest.mark.parametrize("name", IDENTIFIABLE)
def test_a_float_file_gives_back_the_network_and_its_weights(name: str, tmp_path: Path) -> None:
    architecture, style = IDENTIFIABLE[name]
    written = write_and_convert(tmp_path / "network.tflite", architecture, style)
    assert written.architecture == architecture.with_options(folded=True)
    assert written.conversion.outputs == written.numbers
    assert written.found.keys() == written.tensors.keys()
    for tensor, values in written.tensors.items():
        np.testing.assert_array_equal(written.found[tensor], values, err_msg=tensor)


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_of_networks_alike_in_all_layers_one_is_found(name: str, tmp_path: Path) -> None:
    architecture, style = AMBIGUOUS[name]
    written = write_and_convert(tmp_path / "network.tflite", architecture, style)
    assert_same_layers(written.architecture, architecture)
    for tensor, values in written.tensors.items():
        np.testing.assert_array_equal(written.found[tensor], values, err_msg=tensor)


@st.composite
def small_networks(draw: st.DrawFn) -> tuple[Architecture, Style]:
    """Networks that convert in milliseconds, and a style that can express them."""
    common: dict[str, Any] = {
        "width": draw(st.sampled_from([0.07, 0.1, 0.25, 0.35, 0.5, 0.6])),
        "resolution": draw(st.one_of(st.integers(32, 100), st.tuples(st.integers(32, 100), st.integers(32, 100)))),
        "classes": draw(st.sampled_from([None, 2, 3, 7, 1001])),
        "input_channels": draw(st.sampled_from([1, 3])),
        "activation": draw(st.sampled_from(["relu6", "relu"])),
        "padding": draw(st.sampled_from(["same", "symmetric"])),
        "output_stride": draw(st.sampled_from([8, 16, 32])),
        "minimum_depth": draw(st.sampled_from([8, 16])),
    }
    architecture: Architecture
    if draw(st.booleans()):
        architecture = MobileNetV1(**common)
    else:
        architecture = MobileNetV2(
            expansion=draw(st.sampled_from([1, 2, 3, 6])),
            projection_activation=draw(st.sampled_from(["linear", "relu6"])),
            shortcut=draw(st.sampled_from(["bottleneck", "none"])),
            depth=draw(st.sampled_from([0.5, 1.0, 1.2])),
            stem=draw(st.sampled_from(["scaled", "fixed"])),
            last_layer=draw(st.sampled_from(["kept", "scaled", "fixed"])),
            **common,
        )
    pads = st.sampled_from(["strided", "always"] if common["padding"] == "symmetric" else ["never", "always"])
    style = Style(
        explicit_pads=draw(pads),  # type: ignore[arg-type]
        classifier=draw(st.sampled_from(["convolution", "fully_connected"])),
        pool=draw(st.sampled_from(["mean", "average"])),
        separate_activations=draw(st.booleans()),
        softmax=draw(st.booleans()),
    )
    return architecture, style


@settings(max_examples=12)
@given(small_networks(), st.integers(0, 1000))
def test_any_network_survives_the_round_trip(
    tmp_path_factory: pytest.TempPathFactory, network: tuple[Architecture, Style], seed: int
) -> None:
    architecture, style = network
    written = write_and_convert(tmp_path_factory.mktemp("any") / "any.tflite", architecture, style, seed)
    assert_same_layers(written.architecture, architecture)
    assert written.conversion.outputs == written.numbers
    for tensor, values in written.tensors.items():
        np.testing.assert_array_equal(written.found[tensor], values, err_msg=tensor)


@pytest.mark.parametrize("architecture", [SMALL, NARROW], ids=["v1", "v2"])
def test_float16_weights_are_read_through_their_dequantize(architecture: Architecture, tmp_path: Path) -> None:
    written = write_and_convert(tmp_path / "half.tflite", architecture, Style(weights="float16"))
    assert written.architecture == architecture.with_options(folded=True)
    assert "float16" in written.conversion.checkpoint.provenance["weights"]
    for tensor, values in written.tensors.items():
        np.testing.assert_array_equal(written.found[tensor], values.astype(np.float16).astype(np.float32))


@pytest.mark.parametrize("architecture", [SMALL, NARROW], ids=["v1", "v2"])
@pytest.mark.parametrize(
    "style",
    [
        Style(weights="uint8", pool="average", softmax=True),
        Style(weights="uint8", explicit_pads="always", classifier="fully_connected"),
        Style(weights="int8", softmax=True),
        Style(weights="int8", input_type="int8", classifier="fully_connected"),
        Style(weights="int8", input_type="float32", pool="average"),
        Style(weights="hybrid", classifier="fully_connected"),
    ],
    ids=["uint8", "uint8 with pads", "int8", "int8 throughout", "int8 between floats", "hybrid"],
)
def test_integer_weights_come_back_within_a_quantisation_step(
    architecture: Architecture, style: Style, tmp_path: Path
) -> None:
    written = write_and_convert(tmp_path / "integer.tflite", architecture, style)
    assert written.architecture == architecture.with_options(folded=True)
    assert written.conversion.outputs == written.numbers
    stored = "uint8" if style.weights == "uint8" else "from int8"
    assert stored in written.conversion.checkpoint.provenance["weights"]
    ranges = activation_ranges(written.architecture.graph, written.tensors, style)
    # A bias has the step of its weights times that of its input, which no activation exceeds.
    coarsest = max(max(high, 0) - min(low, 0) for low, high in [*ranges.values(), (-1, 1)]) / 255
    for tensor, values in written.tensors.items():
        layer, _, part = tensor.rpartition(".")
        weight = written.tensors[f"{layer}.weight"].reshape(len(values), -1)
        if style.weights == "uint8":
            step = np.full(len(values), (max(weight.max(), 0) - min(weight.min(), 0)) / 255)
        else:
            step = np.abs(weight).max(axis=1) / 127
        exact = part == "bias" and style.weights == "hybrid"
        allowed = 0 * step if exact else step * 1.001 if part == "weight" else step * coarsest
        error = np.abs(written.found[tensor] - values).reshape(len(values), -1).max(axis=1)
        assert (error <= allowed).all(), tensor
        assert error.any() or exact, f"{tensor} was not quantised: this test sees nothing"


@pytest.mark.parametrize(
    ("architecture", "style"),
    [
        (NARROW, Style(softmax=True)),
        (NARROW, Style(weights="float16", pool="average")),
        (replace(NARROW, padding="symmetric", classes=None), SYMMETRIC_ALL),
        (replace(NARROW, output_stride=16, resolution=(97, 131), expansion=3), FULLY_CONNECTED),
        (replace(NARROW, input_channels=1, projection_activation="relu6"), Style(separate_activations=True)),
        (SMALL, FULLY_CONNECTED),
        (replace(SMALL, width=0.5, activation="relu", padding="symmetric", resolution=64), SYMMETRIC),
    ],
    ids=["v2", "float16", "symmetric", "output stride 16", "grey", "v1", "v1 relu"],
)
def test_every_tensor_of_a_float_file_is_the_interpreters(
    architecture: Architecture, style: Style, tmp_path: Path
) -> None:
    conversion = write_and_convert(tmp_path / "network.tflite", architecture, style).conversion
    contract, names = conversion.checkpoint.preprocessing, tuple(conversion.outputs)
    assert contract is not None
    theirs = TFLiteGraph(conversion)
    ours = NumpyNetwork(conversion.checkpoint.architecture, conversion.checkpoint.tensors)
    for picture in noise(architecture, 2):
        inputs = normalise(prepare(picture, contract)[None], contract)
        expected, found = theirs.run(inputs), ours.run(inputs, names)[1]
        for name in names:
            largest = np.abs(expected[name]).max()
            difference = np.abs(found[name].ravel() - expected[name].ravel()).max()
            assert difference <= 1e-4 * largest, name


@pytest.mark.parametrize(
    ("architecture", "style"),
    [
        (NARROW, Style(weights="uint8", pool="average", softmax=True)),
        (NARROW, Style(weights="int8", softmax=True)),
        (replace(NARROW, padding="symmetric"), Style(weights="int8", input_type="int8", explicit_pads="strided")),
        (replace(SMALL, resolution=64), Style(weights="uint8", classifier="fully_connected")),
        (replace(SMALL, resolution=64), Style(weights="int8", input_scale=1 / 127.5, input_zero=127)),
        (replace(SMALL, resolution=64), Style(weights="int8", input_type="float32", softmax=True)),
        (NARROW, Style(weights="hybrid", classifier="fully_connected")),
    ],
    ids=["v2 uint8", "v2 int8", "v2 int8 throughout", "v1 uint8", "v1 int8", "v1 int8 between floats", "v2 hybrid"],
)
def test_every_tensor_of_an_integer_file_is_the_interpreters(
    architecture: Architecture, style: Style, tmp_path: Path
) -> None:
    """To the bit, on LiteRT's default kernels; of what is dequantised nearly, on those of floats."""
    # A little less than the gain that keeps variance through all layers: beyond it random networks are chaotic and
    # magnify any rounding.
    tensors = {
        name: values * np.float32(0.9 if name.endswith("scale") else 1)
        for name, values in random_tensors(architecture, 3).items()
    }
    path = tmp_path / "integer.tflite"
    write_tflite(path, architecture, tensors, style)
    conversion = convert(path)
    parity = compare(conversion, noise(architecture, 3))
    assert parity.correlations.keys() >= {"stem", "pool", "classifier"}
    assert min(parity.correlations.values()) >= 0.98, parity
    if style.integer:
        assert conversion.checkpoint.quantisation is not None
        assert parity.equal == 1, parity
        save_checkpoint(conversion.checkpoint, tmp_path / "integer.safetensors")
        kept = load_checkpoint(tmp_path / "integer.safetensors")
        assert compare(replace(conversion, checkpoint=kept), noise(architecture, 1)).equal == 1
    floats = compare(read(path, floats=True), noise(architecture, 3))
    assert floats.equal is None
    assert min(floats.correlations.values()) >= 0.98, floats


def imagenet_labels(count: int = 1001, background_at: int | None = 0) -> tuple[str, ...]:
    """Numbered names, one of them `background`."""
    return tuple("background" if number == background_at else f"thing {number}" for number in range(count))


def test_imagenets_background_is_left_out(tmp_path: Path) -> None:
    labels = imagenet_labels()
    architecture = replace(SMALL, classes=1001)
    written = write_and_convert(tmp_path / "imagenet.tflite", architecture, Style(labels=labels, softmax=True))
    conversion = written.conversion
    assert conversion.dropped == 1
    assert written.architecture.classes == 1000
    assert conversion.checkpoint.classes == labels[1:]
    np.testing.assert_array_equal(written.found["classifier.weight"], written.tensors["classifier.weight"][1:])
    np.testing.assert_array_equal(written.found["classifier.bias"], written.tensors["classifier.bias"][1:])
    parity = compare(conversion, noise(architecture, 2))
    assert parity.same_class == 1
    assert parity.correlations["classifier"] > 0.9999


@pytest.mark.parametrize(
    ("classes", "labels"),
    [
        (1001, imagenet_labels(background_at=1000)),
        (1001, imagenet_labels(background_at=None)),
        (1001, None),
        (1000, imagenet_labels(1000)),
        (3, imagenet_labels(3)),
    ],
    ids=["background last", "no background", "no labels", "1000 classes", "3 classes"],
)
def test_every_other_file_keeps_all_its_classes(classes: int, labels: tuple[str, ...] | None, tmp_path: Path) -> None:
    architecture = replace(SMALL, classes=classes)
    written = write_and_convert(tmp_path / "classes.tflite", architecture, Style(labels=labels))
    assert written.conversion.dropped == 0
    assert written.architecture.classes == classes
    assert written.conversion.checkpoint.classes == labels
    np.testing.assert_array_equal(written.found["classifier.weight"], written.tensors["classifier.weight"])
    notes = " ".join(written.conversion.notes)
    assert ("names no classes" in notes) == (labels is None)
    assert ("background" in notes) == (labels is None and classes == 1001)


def test_given_labels_come_before_packed_ones(tmp_path: Path) -> None:
    path = tmp_path / "labels.tflite"
    write_tflite(path, SMALL, random_tensors(SMALL), Style(labels=("a", "b", "c")))
    assert convert(path).checkpoint.classes == ("a", "b", "c")
    assert convert(path, labels=("x", "y", "z")).checkpoint.classes == ("x", "y", "z")


@pytest.mark.parametrize("count", [0, 2, 4])
def test_labels_of_another_count_are_refused(count: int, tmp_path: Path) -> None:
    path = tmp_path / "labels.tflite"
    labels = tuple(f"thing {number}" for number in range(count))
    write_tflite(path, SMALL, random_tensors(SMALL))
    with pytest.raises(ValueError, match=f"'{re.escape(str(path))}' has 3 outputs, but there are {count} labels"):
        convert(path, labels=labels)
    write_tflite(path, SMALL, random_tensors(SMALL), Style(labels=labels))
    with pytest.raises(ValueError, match=f"'{re.escape(str(path))}' has 3 outputs, but there are {count} labels"):
        convert(path)


@pytest.mark.parametrize("described", [True, False])
def test_the_metadata_says_which_packed_file_holds_the_labels(described: bool, tmp_path: Path) -> None:
    path = tmp_path / "labels.tflite"
    description = Description(label_file="names.txt", licence="CC0") if described else None
    style = Style(labels=("ant", "bee", "cat"), label_file="names.txt", description=description)
    write_tflite(path, SMALL, random_tensors(SMALL), style)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("other_labels.txt", "one\ntwo\nthree\n")
    checkpoint = convert(path).checkpoint
    assert checkpoint.classes == (("ant", "bee", "cat") if described else ("one", "two", "three"))
    assert checkpoint.provenance["licence"] == ("CC0" if described else "not stated in the file")


@pytest.mark.parametrize(
    ("style", "scale", "zero"),
    [
        (Style(weights="uint8"), 1 / 128, 128),
        (Style(weights="uint8", input_scale=1 / 127.5, input_zero=127), 1 / 127.5, 127),
        (Style(weights="uint8", input_scale=1 / 255, input_zero=0), 1 / 255, 0),
        (Style(weights="int8"), 1 / 128, 128),
        (Style(weights="int8", input_type="int8", input_scale=0.0186, input_zero=114), 0.0186, 114),
        # What the integers mean is certain; what the metadata says of floats does not matter then.
        (Style(weights="int8", description=Description(mean=(0.0,), std=(1.0,))), 1 / 128, 128),
    ],
    ids=["uint8", "uint8 1/127.5", "uint8 from 0", "int8 behind uint8", "int8", "int8 with metadata"],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_an_integer_input_says_how_pixels_are_normalised(
    style: Style, scale: float, zero: int, channels: int, tmp_path: Path
) -> None:
    written = write_and_convert(tmp_path / "input.tflite", replace(SMALL, input_channels=channels), style)
    contract = written.conversion.checkpoint.preprocessing
    assert contract is not None
    assert contract.colours == ("grey" if channels == 1 else "RGB")
    # Every value of a pixel; grey pictures keep theirs.
    pixels = np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(1, 1, 256, 3)
    expected = scale * (np.arange(256) - zero)
    for channel in range(channels):
        np.testing.assert_allclose(normalise(pixels, contract)[0, 0, :, channel], expected, atol=1e-5)
    assert not any("normalised" in note for note in written.conversion.notes)


@pytest.mark.parametrize("weights", ["float32", "float16"])
@pytest.mark.parametrize(
    ("description", "mean", "std"),
    [
        (Description(mean=(127.5,), std=(127.5,)), (0.5,) * 3, (0.5,) * 3),
        (
            Description(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)),
            (0.485, 0.456, 0.406),
            (0.229, 0.224, 0.225),
        ),
        (Description(mean=(0.0,), std=(255.0,)), (0.0,) * 3, (1.0,) * 3),
    ],
    ids=["[-1, 1]", "ImageNet's", "[0, 1]"],
)
def test_the_metadata_says_how_pixels_of_a_float_input_are_normalised(
    weights: Any, description: Description, mean: tuple[float, ...], std: tuple[float, ...], tmp_path: Path
) -> None:
    written = write_and_convert(tmp_path / "input.tflite", SMALL, Style(weights=weights, description=description))
    contract = written.conversion.checkpoint.preprocessing
    assert contract is not None
    assert contract.mean == pytest.approx(mean)
    assert contract.std == pytest.approx(std)
    assert contract.size == (32, 32)
    assert not any("normalised" in note for note in written.conversion.notes)


@pytest.mark.parametrize("description", [None, Description(licence="MIT")], ids=["no metadata", "licence alone"])
def test_a_silent_file_gives_a_note_on_what_is_assumed(description: Description | None, tmp_path: Path) -> None:
    written = write_and_convert(tmp_path / "silent.tflite", SMALL, Style(description=description))
    contract = written.conversion.checkpoint.preprocessing
    assert contract is not None
    assert (contract.mean, contract.std) == ((0.5,) * 3, (0.5,) * 3)
    assert any("[-1, 1] is assumed" in note for note in written.conversion.notes)


def test_provenance_says_where_the_weights_come_from(tmp_path: Path) -> None:
    path = tmp_path / "origin.tflite"
    write_tflite(path, SMALL, random_tensors(SMALL), Style(description=Description(licence="MIT")))
    stated = convert(path).checkpoint.provenance
    assert (stated["source"], stated["licence"], len(stated["sha256"])) == ("origin.tflite", "MIT", 64)
    given_by_hand = convert(path, licence="Apache-2.0", url="https://example.org/m.tflite").checkpoint.provenance
    assert (given_by_hand["source"], given_by_hand["licence"]) == ("https://example.org/m.tflite", "Apache-2.0")


def assert_refused(path: Path, text: str) -> None:
    """A ValueError of one sentence that names the file and says `text`."""
    with pytest.raises(ValueError, match=re.escape(text)) as caught:
        convert(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 1000


def write_operations(path: Path, operations: Sequence[Operation]) -> None:
    """A float file of any operations for pictures of 64 x 64, with weights that are all alike."""
    shapes = {name: shape for operation in operations for name, shape in operation.tensors.items()}
    tensors: Tensors = {name: np.full(shape, 0.1, np.float32) for name, shape in shapes.items()}
    write_content(path, NetworkWriter(operations, tensors, (64, 64, 3)).content(), Style())


FOLDED = replace(NARROW, folded=True)


def altered(name: str, **changes: Any) -> tuple[Operation, ...]:
    """The operations of a MobileNetV2 at 64 x 64, one of them altered."""
    return tuple(replace(each, **changes) if each.name == name else each for each in FOLDED.operations)


def without(*names: str) -> tuple[Operation, ...]:
    """The same without some, what read them reading on from the last one that is left."""
    left: list[Operation] = []
    stands_for: dict[str, str] = {}
    for operation in FOLDED.operations:
        if operation.name in names:
            stands_for[operation.name] = left[-1].name
        else:
            left.append(replace(operation, reads=tuple(stands_for.get(name, name) for name in operation.reads)))
    return tuple(left)


FOREIGN: dict[str, tuple[Sequence[Operation], str]] = {
    "a 5x5 convolution": (
        altered("blocks.3.depthwise", kernel=5),
        "convolution 11 is 5x5 depthwise of 48 channels, stride 2, relu6; blocks.3.depthwise",
    ),
    "a shortcut left out": (without("blocks.5"), "the shortcuts are not those of the closest network: see blocks.5"),
    "a projection activated": (
        altered("blocks.5.project", activation="relu6"),
        "convolution 18 is 1x1 96 to 16 channels, stride 1, relu6; blocks.5.project",
    ),
    "shortcuts between expansions": (replace(FOLDED, shortcut="expansion").operations, "shortcuts"),
    "a block missing": (
        without(*(f"blocks.14{part}" for part in (".expand", ".depthwise", ".project", ""))),
        "no MobileNetV1 or MobileNetV2 has these layers: convolution",
    ),
    "no pooling": (FOLDED.operations[:-2], "it has no global average pooling"),
    "the pooling alone": ((Pool("pool", (INPUT,), (3,)),), "it has no convolutions"),
    "a stem of 500 channels": (
        (
            Convolve("stem", (INPUT,), (32, 32, 500), (64, 64, 3), kernel=3, stride=2, activation="relu6"),
            Pool("pool", ("stem",), (500,)),
        ),
        "500 channels",
    ),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_chain_of_other_layers_is_refused_with_the_difference(name: str, tmp_path: Path) -> None:
    operations, text = FOREIGN[name]
    path = tmp_path / "foreign.tflite"
    write_operations(path, operations)
    assert_refused(path, text)


def test_a_network_too_small_for_its_strides_is_refused_with_its_size(tmp_path: Path) -> None:
    path = tmp_path / "tiny.tflite"
    network = network_writer(SMALL, random_tensors(SMALL))
    for tensor in network.graph.tensors:
        if len(tensor.shape) == 4 and not tensor.buffer:
            tensor.shape = (1, *(max(side // 2, 1) for side in tensor.shape[1:3]), tensor.shape[3])
    path.write_bytes(network.content())
    assert_refused(path, "(=16)")


@pytest.mark.parametrize(
    ("operator", "text"),
    [
        ("RESIZE_BILINEAR", "a segmentation network"),
        ("ARG_MAX", "a segmentation network"),
        ("CUSTOM", "a detector"),
        ("LOGISTIC", "another network"),
    ],
)
def test_a_graph_with_other_operators_is_refused_as_what_it_seems_to_be(
    operator: str, text: str, tmp_path: Path
) -> None:
    graph = GraphWriter()
    graph.inputs = [graph.tensor("picture", (1, 64, 64, 3))]
    weight = graph.constant("weight", np.ones((8, 3, 3, 3), np.float32))
    middle = graph.operator(
        "CONV_2D", [0, weight], graph.tensor("middle", (1, 32, 32, 8)), "Conv2DOptions", StrideH=2, StrideW=2
    )
    graph.outputs = [graph.operator(operator, [middle], graph.tensor("map", (1, 64, 64, 8)))]
    path = tmp_path / "foreign.tflite"
    path.write_bytes(graph.content())
    assert_refused(path, text)
    assert_refused(path, f"{operator} 1; output 'map' of shape [1, 64, 64, 8]")


def activate_classifier(network: NetworkWriter) -> None:
    """RELU fused into the fully connected layer."""
    network.graph.find("FULLY_CONNECTED").fields["FusedActivationFunction"] = RELU


def pad_twice(network: NetworkWriter) -> None:
    """SAME on top of a PAD."""
    network.graph.find("DEPTHWISE_CONV_2D").fields["Padding"] = tflite.Padding.SAME


def pad_before(name: str) -> Callable[[NetworkWriter], None]:
    """A border of zeros before the last operator of a kind, which shifts or darkens all that follows."""

    def alter(network: NetworkWriter) -> None:
        graph = network.graph
        target = graph.find(name)
        shape = graph.tensors[target.inputs[0]].shape
        amounts = graph.constant("amounts", np.array([[0, 0], [1, 1], [1, 1], [0, 0]], np.int32))
        padded = graph.tensor("padded", (1, shape[1] + 2, shape[2] + 2, shape[3]))
        graph.operators.insert(
            graph.operators.index(target), Operator("PAD", [target.inputs[0], amounts], padded, "PadOptions")
        )
        target.inputs[0] = padded

    return alter


def softmax_inside(network: NetworkWriter) -> None:
    """SOFTMAX after the stem."""
    graph = network.graph
    output = graph.tensor("soft", graph.tensors[graph.operators[0].output].shape)
    graph.operators.insert(1, Operator("SOFTMAX", [graph.operators[0].output], output, "SoftmaxOptions", {"Beta": 1.0}))
    graph.operators[2].inputs[0] = output


def pool_a_part(network: NetworkWriter) -> None:
    """A pooling that looks at one corner only."""
    network.graph.find("AVERAGE_POOL_2D").fields.update(FilterHeight=1, FilterWidth=1, StrideH=2, StrideW=2)


def pool_activated(network: NetworkWriter) -> None:
    """RELU6 fused into the pooling."""
    network.graph.find("AVERAGE_POOL_2D").fields["FusedActivationFunction"] = RELU


def activate_sum(network: NetworkWriter) -> None:
    """RELU fused into a shortcut's sum."""
    network.graph.find("ADD").fields["FusedActivationFunction"] = RELU


def add_another(network: NetworkWriter) -> None:
    """A shortcut from elsewhere: the stem."""
    network.graph.find("ADD").inputs[1] = network.numbers["stem"]


def wide_strides(network: NetworkWriter) -> None:
    """Another stride for rows than for columns."""
    network.graph.operators[0].fields["StrideW"] = 1


def other_activation(network: NetworkWriter) -> None:
    """An activation of no MobileNet."""
    network.graph.operators[0].fields["FusedActivationFunction"] = tflite.ActivationFunctionType.TANH


def two_inputs(network: NetworkWriter) -> None:
    """A second picture."""
    network.graph.inputs.append(network.graph.tensor("second", (1, 64, 64, 3)))


ALMOST: dict[str, Callable[[NetworkWriter], None]] = {
    "classifier activated": activate_classifier,
    "padded twice": pad_twice,
    "pad before the head": pad_before("CONV_2D"),
    "pad before the pooling": pad_before("AVERAGE_POOL_2D"),
    "softmax after the stem": softmax_inside,
    "pooling of a corner": pool_a_part,
    "pooling activated": pool_activated,
    "sum activated": activate_sum,
    "sum with the stem": add_another,
    "strides unequal": wide_strides,
    "tanh": other_activation,
    "two inputs": two_inputs,
}


@pytest.mark.parametrize("name", ALMOST)
def test_a_graph_that_computes_something_else_is_never_taken_for_a_mobilenet(name: str, tmp_path: Path) -> None:
    path = tmp_path / "almost.tflite"
    style = SYMMETRIC_ALL if name == "padded twice" else FULLY_CONNECTED
    network = network_writer(NARROW, random_tensors(NARROW), style)
    path.write_bytes(network.content())
    convert(path)
    ALMOST[name](network)
    path.write_bytes(network.content())
    assert_refused(path, "is not a MobileNet")


def test_a_classifier_of_3x3_is_no_linear_layer(tmp_path: Path) -> None:
    path = tmp_path / "wide.tflite"
    network = network_writer(SMALL, random_tensors(SMALL))
    weight = network.graph.constant("wide", np.ones((3, 3, 3, 256), np.float32))
    network.graph.find("CONV_2D").inputs[1] = weight
    path.write_bytes(network.content())
    assert_refused(path, "is not a MobileNet")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "is not a TFLite file"),
        (b"TFL", "is not a TFLite file"),
        (b"These are words, not weights.\n", "is not a TFLite file"),
        (b"\x1c\x00\x00\x00TFL3", "is damaged"),
        (b"\x1c\x00\x00\x00TFL3" + bytes(200), "other.tflite"),
        (b"\x1c\x00\x00\x00TFL3" + b"\xff" * 200, "is damaged"),
        (b"\xff\xff\xff\xffTFL3" + b"\x01" * 2000, "is damaged"),
        (b"\x08\x00\x00\x00TFL3" + np.random.default_rng(0).bytes(5000), "other.tflite"),
    ],
    ids=["empty", "three bytes", "text", "the mark alone", "zeros", "ones", "far root", "noise"],
)
def test_files_of_another_kind_are_refused(content: bytes, text: str, tmp_path: Path) -> None:
    path = tmp_path / "other.tflite"
    path.write_bytes(content)
    assert_refused(path, text)


def test_a_missing_file_or_a_folder_is_the_systems_own_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        convert(tmp_path / "nothing.tflite")
    with pytest.raises(IsADirectoryError):
        convert(tmp_path)


def damaged_input(quantisation: Quantisation | None, dtype: Any = np.uint8) -> Callable[[NetworkWriter], None]:
    """Another type and quantisation of the input tensor."""

    def alter(network: NetworkWriter) -> None:
        tensor = network.graph.tensors[network.graph.inputs[0]]
        tensor.quantisation, tensor.dtype = quantisation, np.dtype(dtype)

    return alter


def no_stride(network: NetworkWriter) -> None:
    network.graph.operators[0].fields.update(StrideH=0, StrideW=0)


def no_options(network: NetworkWriter) -> None:
    network.graph.operators[0].kind = ""


def weights_from_themselves(network: NetworkWriter) -> None:
    graph = network.graph
    circle = graph.tensor("circle", graph.tensors[graph.operators[0].inputs[1]].shape)
    graph.operators[0].inputs[1] = circle
    graph.operators.append(Operator("DEQUANTIZE", [circle], circle))


def missing_tensor(network: NetworkWriter) -> None:
    network.graph.operators[1].inputs[1] = 100_000


def bias_of_another_shape(network: NetworkWriter) -> None:
    network.graph.operators[0].inputs[2] = network.graph.constant("bias", np.zeros((2, 4), np.float32))


def classifier_of_another_width(network: NetworkWriter) -> None:
    weight = network.graph.constant("weight", np.zeros((3, 100), np.float32))
    network.graph.find("FULLY_CONNECTED").inputs[1] = weight


def two_channels(network: NetworkWriter) -> None:
    graph = network.graph
    graph.tensors[graph.inputs[0]].shape = (1, 32, 32, 2)
    stem = graph.operators[0]
    stem.inputs[1] = graph.constant("two channels", np.zeros((8, 3, 3, 2), np.float32))


SENSELESS: dict[str, Callable[[NetworkWriter], None]] = {
    "input scale 0": damaged_input(Quantisation((0.0,), (128,))),
    "input scale below 0": damaged_input(Quantisation((-1 / 128,), (128,))),
    "input scale nan": damaged_input(Quantisation((float("nan"),), (128,))),
    "input scale infinite": damaged_input(Quantisation((float("inf"),), (0,)), np.int8),
    "input of booleans": damaged_input(None, np.bool_),
    "stride 0": no_stride,
    "no options": no_options,
    "weights from themselves": weights_from_themselves,
    "missing tensor": missing_tensor,
    "bias of another shape": bias_of_another_shape,
    "classifier of another width": classifier_of_another_width,
}


def test_a_network_of_other_channels_has_no_preprocessing(tmp_path: Path) -> None:
    path = tmp_path / "two.tflite"
    network = network_writer(SMALL, random_tensors(SMALL), FULLY_CONNECTED)
    two_channels(network)
    path.write_bytes(network.content())
    conversion = convert(path)
    assert conversion.checkpoint.architecture.input_channels == 2
    assert conversion.checkpoint.preprocessing is None
    assert any("2 channels" in note for note in conversion.notes)


@pytest.mark.parametrize("name", SENSELESS)
def test_a_readable_file_with_senseless_numbers_is_refused_by_name(name: str, tmp_path: Path) -> None:
    path = tmp_path / "senseless.tflite"
    network = network_writer(SMALL, random_tensors(SMALL), FULLY_CONNECTED)
    SENSELESS[name](network)
    path.write_bytes(network.content())
    assert_refused(path, path.name)


@pytest.mark.parametrize(
    "description",
    [
        Description(mean=(1.0, 2.0), std=(1.0, 2.0)),
        Description(mean=(127.5,), std=(0.0,)),
        Description(mean=(float("nan"),), std=(1.0,)),
    ],
    ids=["two means", "std 0", "mean nan"],
)
def test_senseless_metadata_is_refused_by_name(description: Description, tmp_path: Path) -> None:
    path = tmp_path / "senseless.tflite"
    write_tflite(path, SMALL, random_tensors(SMALL), Style(description=description))
    assert_refused(path, path.name)


# Places in the one entry of a zip archive's directory, from its mark on: what they say, and a value that no file has.
ARCHIVE_FIELDS = {"version": (6, 250), "flags": (8, 1), "method": (10, 99), "checksum": (16, 0), "offset": (42, 255)}


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    path, tensors = tmp_path / "diverged.tflite", random_tensors(SMALL)
    tensors["classifier.bias"] = np.full_like(tensors["classifier.bias"], np.nan)
    write_tflite(path, SMALL, tensors)
    with pytest.raises(
        ValueError, match=r"diverged\.tflite' has weights that are no finite numbers, first .*classifier"
    ):
        convert(path)


@pytest.mark.parametrize("field", ARCHIVE_FIELDS)
def test_damaged_packed_labels_are_refused_by_name(field: str, tmp_path: Path) -> None:
    path = tmp_path / "labels.tflite"
    write_tflite(path, SMALL, random_tensors(SMALL), Style(labels=("a", "b", "c")))
    content = bytearray(path.read_bytes())
    place, value = ARCHIVE_FIELDS[field]
    place += content.rindex(b"PK\x01\x02")
    content[place] = value if content[place] != value else value ^ 255
    path.write_bytes(content)
    assert_refused(path, path.name)
    assert convert(path, labels=("x", "y", "z")).checkpoint.classes == ("x", "y", "z")


class Sample(NamedTuple):
    """A whole file, how many of its bytes are graph and metadata, and the tensors that it gives."""

    content: bytes
    structure: int
    tensors: Tensors
    path: Path
    """Where its damaged copies go."""
    calls: int
    """Of functions, that its conversion takes."""


class Calls:
    """Counts the calls of functions while it is open, on a processor of any speed; fails where there are too many."""

    def __init__(self, most: float = math.inf) -> None:
        self.count, self.most = 0, most

    def __enter__(self) -> Calls:
        sys.setprofile(self._count)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _count(self, frame: object, event: str, argument: object) -> None:
        self.count += event in ("call", "c_call")
        assert self.count <= self.most, "a damaged file takes for ever"


@pytest.fixture(scope="module", params=["float16", "uint8", "int8"])
def sample(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """A small file with everything in it: labels, metadata, pads, operators of every kind."""
    path = tmp_path_factory.mktemp("damaged") / "damaged.tflite"
    description = Description(mean=(127.5,), std=(127.5,), licence="MIT", label_file="labels.txt")
    style = Style(
        weights=request.param,
        labels=("ant", "bee", "cat"),
        description=description,
        explicit_pads="strided" if request.param == "int8" else "never",
        classifier="fully_connected" if request.param == "uint8" else "convolution",
        pool="mean" if request.param == "int8" else "average",
        separate_activations=request.param == "float16",
        softmax=True,
    )
    architecture = NARROW if request.param == "int8" else SMALL
    tensors = random_tensors(architecture)
    write_tflite(path, architecture, tensors, style)
    content = path.read_bytes()
    with Calls() as calls:
        conversion = convert(path)
    found = {name: np.asarray(values, np.float32) for name, values in conversion.checkpoint.tensors.items()}
    # The writer puts the metadata between the graph and the weights.
    return Sample(content, content.index(b"M001") + 200, found, path, calls.count)


def outcome(sample: Sample, content: bytes) -> Conversion | None:
    """What a damaged file gives; None where it is refused as it should be: soon, and by name."""
    sample.path.write_bytes(content)
    conversion, refusal = None, str(sample.path)
    try:
        with Calls(most=10 * sample.calls):
            conversion = convert(sample.path)
    except ValueError as error:
        refusal = str(error)
    assert str(sample.path) in refusal
    return conversion


@pytest.mark.parametrize("kept", [*range(0, 64, 4), *(share / 40 for share in range(1, 40)), -1, -2, -20, -60, -200])
def test_a_cut_off_file_is_refused_or_whole(sample: Sample, kept: float) -> None:
    length = round(kept * len(sample.content)) if isinstance(kept, float) else kept
    conversion = outcome(sample, sample.content[:length])
    if conversion is not None:
        # Only what stands behind the graph was cut off: labels.
        for name, values in sample.tensors.items():
            np.testing.assert_array_equal(conversion.checkpoint.tensors[name], values)


@st.composite
def damages(draw: st.DrawFn) -> list[tuple[float, str, int]]:
    """Bytes to overwrite: a share of the way through a region of the file, and the new value."""
    return draw(
        st.lists(
            st.tuples(
                st.floats(0, 1, exclude_max=True),
                st.sampled_from(["graph", "graph", "graph", "end", "anywhere"]),
                st.one_of(st.sampled_from([0, 1, 127, 128, 255]), st.integers(0, 255)),
            ),
            min_size=1,
            max_size=8,
        )
    )


def damage(sample: Sample, changes: list[tuple[float, str, int]]) -> bytes:
    """The file with some bytes overwritten."""
    content = bytearray(sample.content)
    regions = {"graph": (0, sample.structure), "end": (len(content) - 300, len(content)), "anywhere": (0, len(content))}
    for share, region, value in changes:
        start, end = regions[region]
        content[min(start + int(share * (end - start)), len(content) - 1)] = value
    return bytes(content)


@settings(max_examples=20)
@given(damages())
def test_overwritten_bytes_never_do_worse_than_a_refusal(sample: Sample, changes: list[tuple[float, str, int]]) -> None:
    outcome(sample, damage(sample, changes))


@pytest.mark.slow
@settings(max_examples=2000)
@given(damages())
def test_overwritten_bytes_never_do_worse_than_a_refusal_at_length(
    sample: Sample, changes: list[tuple[float, str, int]]
) -> None:
    outcome(sample, damage(sample, changes))


def test_the_command_writes_a_checkpoint_and_says_what_it_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out, pictures = tmp_path / "bird.tflite", tmp_path / "new" / "bird.safetensors", tmp_path / "pictures"
    write_tflite(source, SMALL, random_tensors(SMALL), Style(labels=("a", "b", "c")))
    pictures.mkdir()
    for number, picture in enumerate(noise(SMALL, 2)):
        Image.fromarray(picture).save(pictures / f"{number}.png")
    assert main(["convert", str(source), "--out", str(out), "--pictures", str(pictures)]) == 0
    printed = capsys.readouterr()
    assert "MobileNetV1 0.25 at 32 x 32, 3 classes" in printed.out
    assert "2 pictures against the file's own graph: same best class on 100.0%" in printed.out
    assert f"written: {out}" in printed.out
    assert "[-1, 1] is assumed" in printed.err
    loaded, expected = load_checkpoint(out), convert(source).checkpoint
    assert (loaded.architecture, loaded.classes) == (expected.architecture, ("a", "b", "c"))
    for name, values in expected.tensors.items():
        np.testing.assert_array_equal(loaded.tensors[name], values)


def test_the_command_takes_labels_and_prints_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out, labels = tmp_path / "bird.tflite", tmp_path / "bird.safetensors", tmp_path / "names.txt"
    write_tflite(source, replace(SMALL, classes=1001), random_tensors(replace(SMALL, classes=1001)))
    labels.write_text("\n".join(imagenet_labels()) + "\n\n", encoding="utf-8-sig")
    command = ["convert", str(source), "--out", str(out), "--labels", str(labels), "--licence", "MIT", "--json"]
    assert main(command) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["architecture"]["classes"] == 1000
    assert document["parameters"] == cost(replace(SMALL, classes=1000, folded=True)).parameters
    assert document["parity"] is None
    checkpoint = load_checkpoint(out)
    assert checkpoint.classes == imagenet_labels()[1:]
    assert checkpoint.provenance["licence"] == "MIT"


@pytest.mark.parametrize("wrong", ["missing", "folder", "text", "labels"])
def test_the_command_fails_with_one_line_that_names_the_file(
    wrong: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "source.tflite", tmp_path / "out.safetensors"
    arguments = ["convert", str(source), "--out", str(out)]
    if wrong == "folder":
        source.mkdir()
    elif wrong == "text":
        source.write_text("These are words, not weights.")
    elif wrong == "labels":
        write_tflite(source, SMALL, random_tensors(SMALL))
        (tmp_path / "labels.txt").write_text("one\ntwo\n")
        arguments += ["--labels", str(tmp_path / "labels.txt")]
    assert main(arguments) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("linnet: ")
    assert printed.err.count("\n") == 1
    assert str(source) in printed.err
    assert not out.exists()


def test_the_command_without_an_output_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["convert", str(tmp_path / "source.tflite")])
    assert caught.value.code == 2
    assert "--out" in capsys.readouterr().err


class Real(NamedTuple):
    """What a published file is known to hold."""

    folder: str
    network: Architecture
    parameters: int
    dtype: str | None


# Parameters after folding: 3,489,097 with 1001 classes (reference/tflite.md), less 1280 + 1 of the background.
REAL = {
    "mobilenet_v1_0.25_128_quant": Real("tflite", MobileNetV1(width=0.25, resolution=128), 467_336, "uint8"),
    "mobilenet_v1_0.5_160_quant": Real("tflite", MobileNetV1(width=0.5, resolution=160), 1_326_120, "uint8"),
    "mobilenet_v1_1.0_224_quant_embedding_extractor": Real("tflite", MobileNetV1(classes=None), 3_196_032, "uint8"),
    "mobilenet_v2_1.0_224_quant": Real("tflite", MobileNetV2(), 3_489_097 - 1281, "uint8"),
    "tf2_mobilenet_v2_1.0_224_ptq": Real("tflite", MobileNetV2(), 3_489_097 - 1281, "int8"),
    # TOCO's, which fuse no ReLU6.
    "automl_labeler_model": Real(
        "weights/automl_v2_0.35_224_quant", MobileNetV2(width=0.35, classes=5), 395_493, "uint8"
    ),
    "person_detect": Real(
        "weights/person_detect_v1_0.25_96_grey_int8",
        MobileNetV1(width=0.25, resolution=96, classes=2, input_channels=1),
        210_706,
        "int8",
    ),
    "mobilenet_v1_0.25_224_1_metadata_1": Real("weights/tflite_v1_0.25_224", MobileNetV1(width=0.25), 467_336, None),
}


@pytest.mark.parametrize("name", REAL)
def test_a_published_file_converts_and_agrees_with_its_own_graph(name: str, sample_data: Callable[[str], Path]) -> None:
    """Of integer files every integer of every tensor is that of LiteRT's default kernels."""
    known = REAL[name]
    path = sample_data(known.folder) / f"{name}.tflite"
    conversion = convert(path)
    checkpoint = conversion.checkpoint
    assert checkpoint.architecture == known.network.with_options(folded=True)
    assert cost(checkpoint.architecture).parameters == known.parameters
    assert conversion.dropped == (known.network.classes == 1000)
    if known.network.classes == 1000:
        assert checkpoint.classes is not None
        assert (checkpoint.classes[0].split(",")[0], len(checkpoint.classes)) == ("tench", 1000)
    pictures = [sample_data("tflite") / "test-images" / name for name in ("cat.bmp", "grace_hopper.bmp", "parrot.jpg")]
    parity = compare(conversion, pictures)
    assert parity.correlations.keys() >= {each.name for each in known.network.operations}
    if known.dtype is None:
        assert min(parity.correlations.values()) >= 0.9999, parity
        return
    assert checkpoint.quantisation is not None
    assert checkpoint.quantisation.dtype == known.dtype
    assert parity.equal == 1, parity
    assert parity.same_class in (1, None)
    floats = compare(read(path, floats=True), pictures)
    assert min(floats.correlations.values()) >= 0.98, floats

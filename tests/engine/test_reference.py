"""Does the numpy network compute convolutions as they are defined, and does folding change nothing?"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import architectures, random_tensors
from numpy.typing import NDArray

from linnet.architecture import INPUT, Architecture, Convolve, GraphBuilder, MobileNetV1, MobileNetV2
from linnet.architecture.operations import pad_amounts
from linnet.engine.fold import fold
from linnet.engine.reference import NumpyNetwork


def by_definition(layer: Convolve, inputs: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float64]:
    """A convolution as six nested loops over an (H, W, C) picture, in float64, straight from its definition."""
    height, width = inputs.shape[:2]
    out_height, out_width = math.ceil(height / layer.stride), math.ceil(width / layer.stride)
    sizes = {"kernel": layer.kernel, "stride": layer.stride, "dilation": layer.dilation, "rule": layer.padding}
    top, left = (pad_amounts(length, **sizes)[0] for length in (height, width))  # type: ignore[arg-type]
    result = np.zeros((out_height, out_width, layer.out_channels))
    for y, x, o in np.ndindex(result.shape):
        for ky, kx, i in np.ndindex(layer.kernel, layer.kernel, weight.shape[1]):
            row, column = y * layer.stride + ky * layer.dilation - top, x * layer.stride + kx * layer.dilation - left
            if 0 <= row < height and 0 <= column < width:
                channel = o if layer.depthwise else i
                result[y, x, o] += float(inputs[row, column, channel]) * float(weight[o, i, ky, kx])
    return result


@settings(max_examples=25)
@given(
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    stride=st.sampled_from([1, 2]),
    dilation=st.sampled_from([1, 2]),
    depthwise=st.booleans(),
    kernel=st.sampled_from([1, 3]),
    padding=st.sampled_from(["same", "symmetric"]),
    seed=st.integers(0, 1000),
)
def test_a_convolution_is_what_its_definition_says(
    height: int, width: int, stride: int, dilation: int, depthwise: bool, kernel: int, padding: Any, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    build = GraphBuilder((height, width, 5), padding=padding)
    window: dict[str, Any] = {"kernel": kernel, "stride": stride, "dilation": dilation, "depthwise": depthwise}
    graph = build.graph(build.convolve("layer", INPUT, 5 if depthwise else 4, **window))
    (layer,) = graph.convolutions
    weight = generator.normal(size=layer.tensors["layer.weight"]).astype(np.float32)
    bias = generator.normal(size=layer.out_channels).astype(np.float32)
    inputs = generator.normal(size=(2, height, width, 5)).astype(np.float32)
    found, _ = NumpyNetwork(graph, {"layer.weight": weight, "layer.bias": bias}).run(inputs)
    for number in range(2):
        np.testing.assert_allclose(found[number], by_definition(layer, inputs[number], weight) + bias, atol=1e-5)


def test_activations() -> None:
    build = GraphBuilder((1, 3, 1), activation="relu6")
    ones = {"layer.weight": np.ones((1, 1, 1, 1), np.float32), "layer.bias": np.zeros(1, np.float32)}
    network = NumpyNetwork(build.graph(build.convolve("layer", INPUT, 1)), ones)
    inputs = np.array([-2, 3, 9], np.float32).reshape(1, 1, 3, 1)
    assert network.run(inputs)[0].ravel().tolist() == [0, 3, 6]


def test_folding_one_channel_by_hand() -> None:
    network = MobileNetV1(width=0.1, resolution=32, classes=2, batch_norm_epsilon=0.5)
    tensors = random_tensors(network)
    values = {"scale": 3.0, "shift": 0.25, "mean": 2.0, "variance": 3.5}
    for name, value in values.items():
        tensors[f"stem.{name}"][0] = value
    tensors["stem.weight"][0] = 1.5
    folded, result = fold(network, tensors)
    # 3 / sqrt(3.5 + 0.5) = 1.5; bias 0.25 - 2 x 1.5.
    assert folded == replace(network, folded=True).graph
    np.testing.assert_allclose(result["stem.weight"][0], 2.25, rtol=1e-6)
    np.testing.assert_allclose(result["stem.bias"][0], -2.75, rtol=1e-6)
    assert {name: values.shape for name, values in result.items()} == folded.tensors


def test_folding_twice_is_folding_once() -> None:
    network = MobileNetV2(width=0.35, resolution=32, classes=3)
    folded, once = fold(network, random_tensors(network))
    again, twice = fold(folded, once)
    assert again == folded
    assert all(np.array_equal(once[name], twice[name]) for name in once)


@settings(max_examples=15)
@given(architectures(largest_width=0.5, largest_side=95))
def test_a_batch_is_its_pictures_one_by_one(network: Architecture) -> None:
    numpy_network = NumpyNetwork(network, random_tensors(network))
    inputs = np.random.default_rng(1).normal(size=(3, *network.input_size, network.input_channels)).astype(np.float32)
    together, _ = numpy_network.run(inputs)
    alone = np.concatenate([numpy_network.run(inputs[number : number + 1])[0] for number in range(3)])
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-4 * np.abs(alone).max())


def test_every_tensor_can_be_asked_for_and_has_the_described_size() -> None:
    for network in (MobileNetV2(width=0.35, resolution=(65, 96), classes=3), MobileNetV1(width=0.25, resolution=64)):
        inputs = np.zeros((1, *network.input_size, 3), np.float32)
        _, kept = NumpyNetwork(network, random_tensors(network)).run(inputs, network.tensor_names)
        assert tuple(kept) == network.tensor_names
        for layer in network.convolutions:
            assert kept[layer.name].shape == (1, *layer.output_size, layer.out_channels)


def test_asking_for_tensors_changes_nothing() -> None:
    network = MobileNetV2(width=0.35, resolution=64, classes=3, shortcut="expansion")
    numpy_network = NumpyNetwork(network, random_tensors(network))
    inputs = np.random.default_rng(0).normal(size=(1, 64, 64, 3)).astype(np.float32)
    plain, nothing = numpy_network.run(inputs)
    again, kept = numpy_network.run(inputs, network.tensor_names)
    assert nothing == {}
    assert np.array_equal(plain, again)
    assert np.array_equal(kept["classifier"], plain)


@pytest.mark.parametrize("batch", [0, 1])
def test_the_shape_of_the_output(batch: int) -> None:
    features = MobileNetV2(width=0.35, resolution=32, classes=None)
    inputs = np.zeros((batch, 32, 32, 3), np.float32)
    assert NumpyNetwork(features, random_tensors(features)).run(inputs)[0].shape == (batch, 1280)

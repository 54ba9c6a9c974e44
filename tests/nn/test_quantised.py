"""Does a network that learns in integers compute what the integer network computes, to the bit, and learn from it?"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import architectures, detectors, random_tensors, segmenters
from numpy.typing import NDArray
from torch import Tensor

from linnet.architecture import INPUT, Architecture, Convolve, Graph, GraphBuilder, MobileNetV2
from linnet.architecture.operations import BatchNorm
from linnet.checkpoint import default_preprocessing, load_checkpoint
from linnet.engine.integer_reference import IntegerNetwork
from linnet.nn import Network, checkpoint_of, load_tensors, save
from linnet.nn.modules import GraphNetwork
from linnet.nn.quantised import LARGEST_BIAS, FakeQuantisation

SMALL = MobileNetV2(width=0.35, resolution=32, classes=3, dropout=0.5)


def pictures(graph: Graph, count: int = 3, seed: int = 0) -> Tensor:
    height, width, channels = graph.input_shape
    return torch.rand(count, channels, height, width, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def begun(network: GraphNetwork, room: float = 1.0) -> GraphNetwork:
    """The network, computed in integers from now on, its ranges from a few random pictures, so many times as wide."""
    network.quantisation = FakeQuantisation(network.graph)
    network.quantisation.begin(network, pictures(network.graph, 4, seed=1).split(2))
    network.quantisation.running_ranges.mul_(room)
    return network


def quantised(architecture: Architecture, seed: int = 0) -> Network:
    network = Network(architecture)
    load_tensors(network, random_tensors(architecture, seed))
    begun(network)
    return network


def reference_of(network: GraphNetwork) -> IntegerNetwork:
    assert network.quantisation is not None
    tensors, scheme = network.quantisation.tensors(network), network.quantisation.quantisation()
    return IntegerNetwork(network.graph.folded, tensors, scheme)


def as_numpy(x: Tensor) -> NDArray[np.float32]:
    return (x.permute(0, 2, 3, 1) if x.ndim == 4 else x).detach().numpy()


def assert_same_bits(network: GraphNetwork, images: Tensor) -> None:
    """Every tensor, as numbers and as the integers that these stand for."""
    reference, names = reference_of(network), network.graph.tensor_names
    images_last = np.ascontiguousarray(as_numpy(images))
    outputs, expected = reference.run(images_last, names)
    _, integers = reference.integers(images_last, names)
    found, tensors = network.run(images, names)
    for name in names:
        encoding = reference.quantisation.encodings[network.graph.aliases[name]]
        values = as_numpy(tensors[name])
        assert np.array_equal(values, expected[name]), name
        whole = np.rint(values.astype(np.float64) / encoding.scale).astype(np.int64) + encoding.zero
        assert np.array_equal(whole, integers[name]), name
    pairs = zip(found, outputs, strict=True) if isinstance(found, tuple) else [(found, outputs)]
    assert all(np.array_equal(as_numpy(one), other) for one, other in pairs)


@settings(max_examples=12)
@given(
    st.one_of(
        architectures(largest_width=0.5, largest_side=64),
        detectors(largest_width=0.3, largest_side=64),
        segmenters(largest_width=0.3, largest_side=64),
    )
)
def test_any_network_computes_the_bits_of_the_integer_network(architecture: Architecture) -> None:
    network = quantised(architecture)
    # Of wider numbers than the ranges were measured on: bounds hold them back.
    images = 2 * pictures(network.graph)
    assert_same_bits(network.eval(), images)
    # Nothing is dropped, and batch norm is folded: training mode computes the same.
    assert_same_bits(network.train(), images)


def test_sums_beyond_single_precision_are_exact() -> None:
    build = GraphBuilder((4, 4, 2048))
    graph = build.graph(build.convolve("only", INPUT, 2))
    network = GraphNetwork(graph)
    load_tensors(network, random_tensors(graph))
    images = 0.5 + pictures(graph) / 2
    drawn = torch.rand(2048, 1, 1, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        network.module_of("only").convolution.weight.fill_(1.0)
        network.module_of("only").convolution.weight[0] += drawn
    network.quantisation = FakeQuantisation(graph)
    network.quantisation.begin(network, [images])
    tensors = network.quantisation.tensors(network)
    assert 255 * np.abs(tensors["only.weight"].astype(np.int64)).sum() > 2**24
    assert_same_bits(network, images)


def test_a_dead_channel_has_a_scale_that_its_bias_can_bear() -> None:
    build = GraphBuilder((4, 4, 3))
    graph = build.graph(build.convolve("only", INPUT, 3, kernel=3))
    network = GraphNetwork(graph)
    load_tensors(network, random_tensors(graph))
    with torch.no_grad():
        of = network.module_of("only").convolution
        of.weight[0] = 0
        of.weight[1] = 1e-12
        of.bias.copy_(torch.tensor([0.0, -3.0, 1.0]))
    tensors = begun(network).quantisation.tensors(network)  # type: ignore[union-attr]
    assert np.abs(tensors["only.bias"]).max() <= LARGEST_BIAS
    assert tensors["only.bias"][1] == -LARGEST_BIAS
    assert_same_bits(network, pictures(graph))


def test_gradients_are_those_of_the_numbers_that_the_integers_stand_for() -> None:
    """Of a convolution with batch norm and ReLU6, by torch's own gradients of the same numbers in float64."""
    build = GraphBuilder((6, 6, 4), norm=BatchNorm(epsilon=1e-3, momentum=0.1))
    graph = build.graph(build.convolve("only", INPUT, 5, kernel=3, activation="relu6"))
    network = GraphNetwork(graph)
    load_tensors(network, random_tensors(graph))
    begun(network, room=2).train()
    images = pictures(graph)
    pull = torch.randn(3, 5, 6, 6, generator=torch.Generator().manual_seed(2))
    (network(images) * pull).sum().backward()
    module, reference = network.module_of("only"), reference_of(network)
    entered, tensors = network.quantisation.enter(images).double(), network.quantisation.tensors(network)  # type: ignore[union-attr]
    weight = torch.from_numpy(tensors["only.weight"] * tensors["only.weight.scale"][:, None, None, None]).double()
    step = reference.quantisation.encodings[INPUT].scale * tensors["only.weight.scale"].astype(np.float64)
    bias = torch.from_numpy(tensors["only.bias"] * step)
    weight.requires_grad_()
    bias.requires_grad_()
    plain = torch.nn.functional.conv2d(entered, weight, bias, padding=1)
    (plain.clamp(0, 6) * pull).sum().backward()
    factor = (module.norm.weight / (module.norm.running_var + module.norm.eps).sqrt()).double()
    assert weight.grad is not None
    assert bias.grad is not None
    expected = weight.grad * factor[:, None, None, None]
    torch.testing.assert_close(module.convolution.weight.grad.double(), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(module.norm.bias.grad.double(), bias.grad, rtol=1e-4, atol=1e-4)


def test_what_two_read_gets_both_gradients_and_sums_pass_them() -> None:
    build = GraphBuilder((4, 4, 2))
    first = build.convolve("first", INPUT, 2)
    graph = build.graph(build.pool("pool", build.add("sum", build.convolve("second", first, 2), first)))
    network = GraphNetwork(graph)
    load_tensors(network, random_tensors(graph))
    begun(network, room=2)
    network(pictures(graph)).sum().backward()
    with torch.no_grad():
        weight = network.module_of("second").convolution.weight
        scale = torch.from_numpy(network.quantisation.tensors(network)["second.weight.scale"])  # type: ignore[union-attr]
        held = (weight / scale[:, None, None, None]).round() * scale[:, None, None, None]
    # The mean of 16 places for each of 3 pictures: through the shortcut 1, and through the convolution its weights.
    expected = 3 * (1 + held[:, :, 0, 0].sum(dim=0))
    torch.testing.assert_close(network.module_of("first").convolution.bias.grad, expected, rtol=0.1, atol=0.1)


def test_ranges_follow_what_is_seen_only_while_they_learn() -> None:
    network = quantised(SMALL).train()
    fake = network.quantisation
    assert fake is not None
    before, images = fake.running_ranges.clone(), 3 * pictures(network.graph)
    network(images)
    assert torch.equal(fake.running_ranges, before)
    fake.learning = True
    network.eval()(images)
    assert torch.equal(fake.running_ranges, before)
    network.train()(images)
    assert not torch.equal(fake.running_ranges, before)
    # The picture's is that of the pictures; ReLU6 bounds those of what it gives.
    assert torch.equal(fake.running_ranges[0], before[0])
    rows = dict(zip((INPUT, *network.graph.by_name), fake.running_ranges.tolist(), strict=True))
    for convolution in network.graph.convolutions:
        if convolution.activation == "relu6":
            assert 0 <= rows[convolution.name][0] <= rows[convolution.name][1] <= 6
    assert_same_bits(network.eval(), images)


def test_until_it_begins_a_network_is_in_float(tmp_path: Any) -> None:
    network, other = Network(SMALL), Network(SMALL)
    load_tensors(network, random_tensors(SMALL))
    load_tensors(other, random_tensors(SMALL))
    network.quantisation = FakeQuantisation(network.graph)
    images = pictures(network.graph)
    assert torch.equal(network.eval()(images), other.eval()(images))
    assert not network.quantised
    assert checkpoint_of(network, default_preprocessing(SMALL), None).quantisation is None


def test_it_is_saved_as_a_quantised_checkpoint(tmp_path: Any) -> None:
    network = quantised(SMALL).eval()
    save(network, tmp_path / "network.safetensors")
    checkpoint = load_checkpoint(tmp_path / "network.safetensors")
    assert checkpoint.quantisation is not None
    assert checkpoint.architecture == SMALL.with_options(folded=True)
    images = pictures(network.graph)
    reference = IntegerNetwork(checkpoint.architecture, checkpoint.tensors, checkpoint.quantisation)
    assert np.array_equal(reference.run(as_numpy(images))[0], as_numpy(network(images)))
    # A copy is computed as it is, too.
    assert torch.equal(copy.deepcopy(network)(images), network(images))


def test_autocast_changes_nothing() -> None:
    network = quantised(SMALL).eval()
    images = pictures(network.graph)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found = network(images)
    assert torch.equal(found, network(images))


def test_what_cannot_be_quantised_is_refused() -> None:
    network = Network(SMALL)
    network.quantisation = FakeQuantisation(network.graph)
    with pytest.raises(ValueError, match="no pictures to measure the ranges"):
        network.quantisation.begin(network, [])
    with torch.no_grad():
        network.module_of("classifier").bias[0] = float("nan")
    with pytest.raises(ValueError, match="not finite numbers"):
        network.quantisation.begin(network, [pictures(network.graph)])
    assert not network.quantised


def test_every_kind_of_operation_is_computed() -> None:
    from linnet.nn.modules import FUNCTIONS, MODULES
    from linnet.nn.quantised import STEPS

    assert STEPS.keys() == MODULES.keys() | FUNCTIONS.keys()
    assert Convolve in STEPS

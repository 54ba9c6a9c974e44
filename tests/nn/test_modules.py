"""Are the torch modules the described networks, in training, in evaluation, compiled, exported and in slices?"""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import architectures, checkpoint_of, random_tensors
from torch import nn as torch_nn

from linnet import nn
from linnet.architecture import Architecture, MobileNetV1, MobileNetV2
from linnet.architecture.cost import cost
from linnet.checkpoint import load_checkpoint
from linnet.engine.reference import NumpyNetwork
from linnet.nn.convolution import ConvolutionModule
from linnet.nn.modules import INITIAL_DEVIATION, Network

SMALL = MobileNetV2(width=0.35, resolution=64, classes=5)

small_networks = architectures(largest_width=0.6, largest_side=100)


def network_of(architecture: Architecture, seed: int = 0) -> Network:
    network = Network(architecture)
    nn.load_tensors(network, random_tensors(architecture, seed))
    return network.eval()


def images_of(architecture: Architecture, count: int = 2, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, architecture.input_channels, *architecture.input_size, generator=generator)


def assert_close(found: torch.Tensor, expected: torch.Tensor, tolerance: float = 1e-4) -> None:
    """Relative to the largest value: the law that issue and figures speak of."""
    difference = (found - expected).abs().max().item()
    assert difference <= tolerance * max(expected.abs().max().item(), 1e-6)


@pytest.mark.parametrize(
    "architecture",
    [
        MobileNetV2(),
        MobileNetV2(width=0.35, classes=None),
        MobileNetV2(width=1.1, depth=1.2, stem="fixed", last_layer="fixed"),
        MobileNetV2(folded=True, classes=3),
        MobileNetV1(),
        MobileNetV1(convolution="full", width=0.25, input_channels=1),
    ],
)
def test_as_many_parameters_as_described(architecture: Architecture) -> None:
    network = Network(architecture)
    assert sum(parameter.numel() for parameter in network.parameters()) == cost(architecture).parameters
    assert {name: values.shape for name, values in nn.tensors_of(network).items()} == architecture.tensors


@settings(max_examples=10)
@given(small_networks)
def test_torch_and_numpy_agree_on_any_network(architecture: Architecture) -> None:
    # In float64: what float32 loses, and in which order, is no part of the law.
    network, images = network_of(architecture).double(), images_of(architecture).double()
    with torch.no_grad():
        expected = network(images)
    twin = NumpyNetwork(architecture, random_tensors(architecture), dtype=np.float64)
    found, _ = twin.run(images.permute(0, 2, 3, 1).numpy())
    assert_close(torch.from_numpy(found), expected, 1e-9)


@pytest.mark.parametrize("width", [0.35, 1.4])
@pytest.mark.parametrize("size", [96, (75, 133)])
def test_torch_and_numpy_agree(width: float, size: Any) -> None:
    agree(MobileNetV2(width=width, resolution=size), compiled=False)


@pytest.mark.slow
@pytest.mark.parametrize("width", [0.35, 1.0, 1.4])
@pytest.mark.parametrize("size", [96, 224, (75, 133)])
def test_torch_eager_compiled_and_numpy_agree(width: float, size: Any) -> None:
    agree(MobileNetV2(width=width, resolution=size), compiled=True)


def agree(architecture: Architecture, *, compiled: bool) -> None:
    network, images = network_of(architecture), images_of(architecture, 1)
    found, _ = NumpyNetwork(architecture, random_tensors(architecture)).run(images.permute(0, 2, 3, 1).numpy())
    with torch.no_grad():
        expected = network(images)
        assert_close(torch.from_numpy(found), expected)
        if compiled:
            torch._dynamo.reset()
            assert_close(torch.compile(network, fullgraph=True)(images), expected)


def test_every_intermediate_tensor_agrees() -> None:
    for architecture in (replace(SMALL, shortcut="expansion"), MobileNetV1(width=0.25, resolution=64)):
        network, images = network_of(architecture), images_of(architecture)
        names = architecture.tensor_names
        with torch.no_grad():
            found = network.features(images, names)
        _, expected = NumpyNetwork(architecture, random_tensors(architecture)).run(
            images.permute(0, 2, 3, 1).numpy(), names
        )
        assert tuple(found) == names
        for name in names:
            values = torch.from_numpy(expected[name])
            assert_close(found[name].permute(0, 2, 3, 1) if found[name].ndim == 4 else found[name], values)


def test_the_tap_of_the_detector() -> None:
    features = (
        nn.build(MobileNetV2(resolution=320)).eval().features(torch.zeros(1, 3, 320, 320), ["blocks.13.expand", "head"])
    )
    assert features["blocks.13.expand"].shape == (1, 576, 20, 20)
    assert features["head"].shape == (1, 1280, 10, 10)


def test_unknown_tensors_are_refused() -> None:
    with pytest.raises(ValueError, match=r"no tensor 'blocks\.99'.*blocks\.16"):
        nn.build(SMALL).features(torch.zeros(1, 3, 64, 64), ["blocks.99"])


def test_torch_export_takes_it_whole() -> None:
    network, images = network_of(SMALL), images_of(SMALL)
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(network, (images,), dynamic_shapes=({0: batch},))
    with torch.no_grad():
        expected = network(images_of(SMALL, 5, seed=3))
        assert_close(program.module()(images_of(SMALL, 5, seed=3)), expected, 1e-5)


def test_training_and_evaluation_give_the_same_type() -> None:
    network = nn.build(SMALL)
    assert type(network.train()(images_of(SMALL))) is type(network.eval()(images_of(SMALL))) is torch.Tensor
    assert network(images_of(SMALL)).shape == (2, 5)


def test_weights_start_as_released() -> None:
    network = nn.build(MobileNetV2(), generator=torch.Generator().manual_seed(0))
    for module in network.modules():
        if isinstance(module, torch_nn.Conv2d | torch_nn.Linear):
            assert module.weight.abs().max() <= 2 * INITIAL_DEVIATION
        if isinstance(module, torch_nn.BatchNorm2d):
            assert (module.eps, module.momentum) == (0.001, 0.1)
            assert module.weight.unique().item() == 1
    assert network.classifier is not None
    assert network.classifier.bias.abs().max() == 0
    # Cutting a normal distribution at two deviations leaves 0.88 of its deviation.
    assert network.classifier.weight.std().item() == pytest.approx(0.88 * INITIAL_DEVIATION, rel=0.01)


def test_a_generator_repeats_the_weights() -> None:
    first, second = (nn.tensors_of(nn.build(SMALL, generator=torch.Generator().manual_seed(5))) for _ in range(2))
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_batch_norm_constants_come_from_the_description() -> None:
    network = nn.build(replace(SMALL, batch_norm_epsilon=1e-5, batch_norm_momentum=0.003))
    norms = [module for module in network.modules() if isinstance(module, torch_nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-5, 0.003)}


def test_symmetric_padding_is_plain_pytorch() -> None:
    """The same function as a network of torch's own layers written out here, loaded with the same weights."""
    architecture = replace(SMALL, padding="symmetric", classes=None, batch_norm_epsilon=1e-5)
    network, images = network_of(architecture), images_of(architecture)
    known, x = random_tensors(architecture), images
    for layer in architecture.layers:
        entered = x
        for convolution in layer.convolutions:
            tensors = {
                part: torch.from_numpy(known[f"{convolution.name}.{part}"])
                for part in ("weight", "scale", "shift", "mean", "variance")
            }
            x = torch_nn.functional.conv2d(
                x, tensors["weight"], None, convolution.stride, 1 if convolution.kernel == 3 else 0, 1,
                convolution.in_channels if convolution.depthwise else 1,
            )  # fmt: skip
            x = torch_nn.functional.batch_norm(
                x, tensors["mean"], tensors["variance"], tensors["scale"], tensors["shift"]
            )
            if convolution.activation == "relu6":
                x = torch_nn.functional.relu6(x)
        if layer.joins_input:
            x = x + entered
    with torch.no_grad():
        assert_close(network(images), x.mean(dim=(2, 3)), 1e-5)


@settings(max_examples=10)
@given(small_networks, st.integers(1, 7))
def test_slices_give_the_plain_result(architecture: Architecture, splits: int) -> None:
    # In float64: through many layers float32's rounding of another order of summation grows as large as a fault.
    network, images = network_of(architecture).double(), images_of(architecture).double()
    with torch.no_grad():
        assert_close(nn.forward_in_splits(network, images, splits=splits), network(images), 1e-10)


def test_more_slices_than_channels() -> None:
    # The narrowest blocks of this network have 16 and 48 inner channels.
    network, images = network_of(SMALL), images_of(SMALL)
    with torch.no_grad():
        assert_close(nn.forward_in_splits(network, images, splits=100), network(images), 1e-5)


def test_slices_need_evaluation_and_a_whole_number() -> None:
    network = nn.build(SMALL)
    with pytest.raises(ValueError, match=r"\.eval\(\)"):
        nn.forward_in_splits(network.train(), images_of(SMALL), splits=2)
    with pytest.raises(ValueError, match="`splits` \\(=0\\)"):
        nn.forward_in_splits(network.eval(), images_of(SMALL), splits=0)


def gradients(network: Network, images: torch.Tensor) -> dict[str, torch.Tensor]:
    network(images).square().mean().backward()
    return {name: parameter.grad for name, parameter in network.named_parameters() if parameter.grad is not None}


@pytest.mark.parametrize("shortcut", ["bottleneck", "expansion"])
def test_recomputing_the_expansion_changes_no_gradient_and_no_statistic(shortcut: Any) -> None:
    architecture = replace(SMALL, shortcut=shortcut, dropout=0.0)
    plain = nn.build(architecture, generator=torch.Generator().manual_seed(0)).train()
    saving = nn.build(architecture, recompute_expansion=True).train()
    saving.load_state_dict(plain.state_dict())
    images = images_of(architecture, 4)
    first, second = gradients(plain, images), gradients(saving, images)
    assert first.keys() == second.keys()
    for name, gradient in first.items():
        torch.testing.assert_close(second[name], gradient, rtol=1e-4, atol=1e-7)
    for name, values in plain.state_dict().items():
        assert torch.equal(saving.state_dict()[name], values), name


@pytest.mark.slow
def test_recomputing_compiles(monkeypatch: pytest.MonkeyPatch) -> None:
    # A compiler sees torch's modules. Other kernels round differently, and a value at ReLU6's kink may then fall to
    # the other side, which changes a gradient by more than rounding does.
    monkeypatch.setenv("LINNET_FUSED", "0")
    architecture = replace(SMALL, dropout=0.0)
    plain = nn.build(architecture, generator=torch.Generator().manual_seed(0)).train()
    saving = nn.build(architecture, recompute_expansion=True).train()
    saving.load_state_dict(plain.state_dict())
    images = images_of(architecture, 4)
    expected = gradients(plain, images)
    torch._dynamo.reset()
    torch.compile(saving, backend="aot_eager", fullgraph=True)(images).square().mean().backward()
    for name, parameter in saving.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-4, atol=1e-6)
    for name, values in plain.state_dict().items():
        torch.testing.assert_close(saving.state_dict()[name], values)


def test_an_adapted_network_is_a_copy_in_all_else() -> None:
    network = nn.build(SMALL, recompute_expansion=True).double()
    nn.freeze(network, "blocks.3")
    adapted = nn.adapt_input_channels(network, 4)
    assert {parameter.dtype for parameter in adapted.parameters()} == {torch.float64}
    frozen = [name for name, parameter in network.named_parameters() if not parameter.requires_grad]
    assert [name for name, parameter in adapted.named_parameters() if not parameter.requires_grad] == frozen
    assert adapted.recompute_expansion
    with pytest.raises(ValueError, match="`channels` \\(=0\\)"):
        nn.adapt_input_channels(network, 0)


def test_other_channels_can_be_saved(tmp_path: Path) -> None:
    nn.save(nn.adapt_input_channels(network_of(SMALL), 4), tmp_path / "four.safetensors")
    checkpoint = load_checkpoint(tmp_path / "four.safetensors")
    assert (checkpoint.preprocessing, checkpoint.architecture.input_channels) == (None, 4)


def test_frozen_layers_stay_as_they_are() -> None:
    network = nn.build(SMALL)
    nn.freeze(network, "blocks.6")
    before = copy.deepcopy(network.state_dict())
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=0.1)
    for _ in range(2):
        network.train()
        optimizer.zero_grad()
        gradients(network, images_of(SMALL, 4))
        optimizer.step()
    frozen = ("body.stem.", *(f"body.blocks_{number}." for number in range(7)))
    for name, values in network.state_dict().items():
        changed = not torch.equal(values, before[name])
        assert changed == (not name.startswith(frozen)), name


def test_unfreezing_and_unknown_layers() -> None:
    network = nn.build(SMALL)
    nn.freeze(network, "head")
    assert [name for name, p in network.named_parameters() if p.requires_grad] == [
        "heads.classifier.weight",
        "heads.classifier.bias",
    ]
    nn.freeze(network, None)
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert all(module.training for module in network.modules())
    with pytest.raises(ValueError, match=r"no layer 'blocks\.40'.*stem, blocks\.0"):
        nn.freeze(network, "blocks.40")


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
def test_other_input_channels_keep_the_answer_to_grey(channels: int) -> None:
    network = network_of(SMALL)
    adapted = nn.adapt_input_channels(network, channels)
    assert adapted.architecture == replace(SMALL, input_channels=channels)
    grey = torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert_close(adapted(grey.expand(-1, channels, -1, -1)), network(grey.expand(-1, 3, -1, -1)), 1e-5)
    assert not adapted.training


def test_adapting_to_three_channels_changes_nothing() -> None:
    network = network_of(SMALL)
    with torch.no_grad():
        assert torch.equal(nn.adapt_input_channels(network, 3)(images_of(SMALL)), network(images_of(SMALL)))


def test_channels_last_is_kept_all_through() -> None:
    network = network_of(SMALL).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = images_of(SMALL).to(memory_format=torch.channels_last)
    with torch.no_grad():
        features = network.features(images, [layer.name for layer in SMALL.convolutions])
        assert_close(network(images), network_of(SMALL)(images_of(SMALL)), 1e-5)
    for name, x in features.items():
        assert x.is_contiguous(memory_format=torch.channels_last), name


def test_save_and_load(tmp_path: Path) -> None:
    network = nn.build(SMALL).train()
    network(images_of(SMALL, 4))
    nn.save(network, tmp_path / "a.safetensors", classes=("a", "b", "c", "d", "e"), score={"top1": 0.2})
    checkpoint = load_checkpoint(tmp_path / "a.safetensors")
    assert checkpoint.architecture == SMALL
    assert checkpoint.score == {"top1": 0.2}
    loaded = nn.from_checkpoint(checkpoint)
    with torch.no_grad():
        assert torch.equal(loaded(images_of(SMALL)), network.eval()(images_of(SMALL)))


def test_a_network_for_grey_pictures_can_be_saved(tmp_path: Path) -> None:
    nn.save(nn.build(replace(SMALL, input_channels=1)), tmp_path / "grey.safetensors")
    contract = load_checkpoint(tmp_path / "grey.safetensors").preprocessing
    assert contract is not None
    assert contract.colours == "grey"


def test_tensors_of_another_network_are_refused() -> None:
    with pytest.raises(ValueError, match=r"stem\.weight must have shape"):
        nn.load_tensors(nn.build(MobileNetV2(width=1.4, resolution=64, classes=5)), random_tensors(SMALL))
    incomplete = random_tensors(SMALL)
    del incomplete["head.mean"]
    with pytest.raises(ValueError, match=r"head\.mean must have shape.*got nothing"):
        nn.load_tensors(nn.build(SMALL), incomplete)


def test_a_folded_network_has_no_batch_norm() -> None:
    network = nn.build(replace(SMALL, folded=True))
    assert not any(isinstance(module, torch_nn.BatchNorm2d) for module in network.modules())
    assert all(
        module.convolution.bias is not None for module in network.modules() if isinstance(module, ConvolutionModule)
    )


def test_folding_keeps_the_function() -> None:
    from linnet.engine.fold import fold

    checkpoint = checkpoint_of(SMALL)
    _, tensors = fold(checkpoint.architecture, checkpoint.tensors)
    network = nn.build(checkpoint.architecture.with_options(folded=True)).eval()
    nn.load_tensors(network, tensors)
    with torch.no_grad():
        assert_close(network(images_of(SMALL)), network_of(SMALL)(images_of(SMALL)), 1e-5)

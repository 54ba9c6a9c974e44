"""Is a segmenter in torch the described network, at any size, and can it be trained with one picture?"""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import random_tensors, segmenters

from linnet import nn
from linnet.architecture import DeepLab
from linnet.architecture.cost import cost
from linnet.architecture.deeplab import deeplab
from linnet.architecture.operations import Grid
from linnet.engine.reference import NumpyNetwork
from linnet.engine.resizing import resize as resize_in_numpy
from linnet.nn.modules import Network
from linnet.nn.resizing import resize


def assert_agree(segmenter: DeepLab, size: tuple[int, int]) -> None:
    """Torch and numpy, in float64, where only the order of sums differs."""
    tensors = random_tensors(segmenter)
    network = Network(segmenter)
    nn.load_tensors(network, tensors)
    pictures: Any = np.random.default_rng(0).standard_normal((2, *size, segmenter.input_channels))
    expected, _ = NumpyNetwork(segmenter, tensors, dtype=np.float64).run(pictures)
    with torch.no_grad():
        found = network.eval().double()(torch.from_numpy(pictures.transpose(0, 3, 1, 2).copy()))
    assert np.abs(found.numpy().transpose(0, 2, 3, 1) - expected).max() <= 1e-9 * max(np.abs(expected).max(), 1)


@settings(max_examples=12)
@given(segmenters(largest_width=0.5, largest_side=80))
def test_torch_and_numpy_agree_on_any_segmenter(segmenter: DeepLab) -> None:
    assert sum(each.numel() for each in Network(segmenter).parameters()) == cost(segmenter).parameters
    assert_agree(segmenter, segmenter.input_size)


@pytest.mark.parametrize("size", [(40, 40), (97, 64), (33, 130)])
def test_a_segmenter_runs_at_other_sizes_than_described(size: tuple[int, int]) -> None:
    assert_agree(deeplab(variant="modern", width=0.2, resolution=64, classes=3, skips=(8, 4, 2)), size)
    assert_agree(deeplab(width=0.2, resolution=64, classes=3, aspp="separable"), size)


@given(st.tuples(*[st.integers(1, 9)] * 4), st.sampled_from(get_args(Grid)))
def test_maps_are_resized_as_numpy_does_it(sizes: tuple[int, int, int, int], grid: Grid) -> None:
    height, width, *size = sizes
    values = np.random.default_rng(0).standard_normal((2, height, width, 3))
    expected = resize_in_numpy(values, (size[0], size[1]), grid)
    found = resize(torch.from_numpy(values.transpose(0, 3, 1, 2).copy()), (size[0], size[1]), grid)
    assert np.abs(found.numpy().transpose(0, 2, 3, 1) - expected).max() < 1e-12


def test_the_modern_network_learns_from_one_picture_at_a_time() -> None:
    torch.manual_seed(0)
    architecture = deeplab(variant="modern", width=0.1, resolution=(32, 40), classes=2, dropout=0.0)
    network = nn.build(architecture)
    picture = torch.randn(1, 3, 32, 40, generator=torch.Generator().manual_seed(0))
    labels = (picture[:, 0] > 0).long()
    labels[:, :16] = 0
    steps = torch.optim.Adam(network.parameters(), 3e-3)
    losses = []
    for _ in range(8):
        logits = resize(network(picture), (32, 40), architecture.upsampling.grid)
        loss = F.cross_entropy(logits, labels)
        steps.zero_grad()
        loss.backward()
        steps.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]


def test_recomputed_expansions_give_the_same_gradients() -> None:
    architecture = deeplab(variant="modern", width=0.2, resolution=48, classes=3, dropout=0.0)
    gradients = []
    for recompute in (False, True):
        network = nn.build(architecture, generator=torch.Generator().manual_seed(1), recompute_expansion=recompute)
        network(torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(2))).square().mean().backward()
        gradients.append(torch.cat([each.grad.flatten() for each in network.parameters() if each.grad is not None]))
    plain, again = gradients
    assert torch.allclose(plain, again, atol=1e-6 * plain.abs().max().item())

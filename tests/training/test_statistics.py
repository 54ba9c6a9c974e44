"""Does unfolding change no function, and are statistics measured, kept and restored as they are said to be?"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import architectures, random_tensors

from linnet.architecture import Architecture, MobileNetV2
from linnet.nn import Network, build, load_tensors
from linnet.training.statistics import (
    batch_statistics,
    freeze_statistics,
    norms_of,
    recalculate,
    unfold,
    with_quick_statistics,
)

TINY = MobileNetV2(width=0.1, resolution=32, early_stride=2, classes=3)


def folded_network(architecture: Architecture, seed: int = 0) -> Network:
    folded = architecture.with_options(folded=True)
    network = Network(folded)
    load_tensors(network, random_tensors(folded, seed))
    return network.eval()


def images(architecture: Architecture, count: int = 3, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, architecture.input_channels, *architecture.input_size, generator=generator)


@settings(max_examples=15)
@given(architectures(largest_width=0.4, largest_side=48), st.integers(0, 99))
def test_unfolding_changes_no_function(architecture: Architecture, seed: int) -> None:
    network = folded_network(architecture, seed)
    unfolded = unfold(network, [images(architecture, seed=seed)]).eval()
    assert not unfolded.architecture.folded
    others = images(architecture, seed=seed + 1)
    with torch.no_grad():
        expected, found = network(others), unfolded(others)
    scale = float(expected.abs().max()) + 1
    torch.testing.assert_close(found / scale, expected / scale, atol=1e-4, rtol=0)


def test_an_unfolded_network_trains_as_if_its_batch_norm_had_always_been_there() -> None:
    """On the pictures it was measured on, normalising by the batch is normalising by the statistics."""
    network = folded_network(TINY)
    batch = images(TINY, 16)
    unfolded = unfold(network, [batch])
    with torch.no_grad(), batch_statistics(unfolded):
        found = unfolded(batch)
    with torch.no_grad():
        expected = network(batch)
    assert float((found - expected).abs().max()) < 0.02 * float(expected.abs().max())


def test_what_cannot_be_unfolded_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to unfold"):
        unfold(build(TINY), [images(TINY)])
    with pytest.raises(ValueError, match="no pictures"):
        unfold(folded_network(TINY), [])


def test_recalculated_statistics_are_those_of_the_pictures() -> None:
    network = build(TINY, generator=torch.Generator().manual_seed(0))
    batch = images(TINY, 4)
    recalculate(network, [batch])
    stem = network.body["stem"]
    with torch.no_grad():
        outputs = stem.convolution(stem.pad(batch)).numpy()  # type: ignore[operator]
    norm = stem.norm
    np.testing.assert_allclose(norm.running_mean, outputs.mean(axis=(0, 2, 3)), atol=1e-5)  # type: ignore[arg-type, union-attr]
    np.testing.assert_allclose(norm.running_var, outputs.var(axis=(0, 2, 3), ddof=1), rtol=1e-4)  # type: ignore[arg-type, union-attr]
    assert network.training
    assert all(norm.momentum == TINY.batch_norm_momentum for norm in norms_of(network))


def test_looking_at_batch_statistics_leaves_no_trace() -> None:
    network = build(TINY, generator=torch.Generator().manual_seed(0)).eval()
    before = {name: value.clone() for name, value in network.state_dict().items() if value.is_floating_point()}
    with torch.no_grad(), batch_statistics(network):
        first = network(images(TINY, 4))
        assert torch.equal(first, network(images(TINY, 4)))
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in before.items())
    assert not network.training
    assert not any(norm.training for norm in norms_of(network))


def test_batch_statistics_are_the_same_by_the_kernels_and_by_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    network = build(TINY, generator=torch.Generator().manual_seed(0))
    batch = images(TINY, 4).contiguous(memory_format=torch.channels_last)

    def looked() -> torch.Tensor:
        with torch.inference_mode(), batch_statistics(network):
            found: torch.Tensor = network(batch)
            return found

    ours = looked()
    monkeypatch.setenv("LINNET_FUSED", "0")
    torch.testing.assert_close(ours, looked(), rtol=1e-3, atol=1e-4)


def test_frozen_statistics_do_not_learn() -> None:
    network = build(TINY).train()
    freeze_statistics(network)
    before = [norm.running_mean.clone() for norm in norms_of(network) if norm.running_mean is not None]
    network(images(TINY, 4))
    after = [norm.running_mean for norm in norms_of(network) if norm.running_mean is not None]
    assert all(torch.equal(one, two) for one, two in zip(before, after, strict=True))


def test_slow_statistics_follow_a_short_training_and_a_long_one_keeps_them() -> None:
    """Keras' networks take a thousandth of each batch: after a few hundred steps little of it would have arrived."""
    slow = build(TINY.with_options(batch_norm_momentum=0.001))
    quick = with_quick_statistics(slow, 19_000)
    assert quick.architecture == TINY
    assert {norm.momentum for norm in norms_of(quick)} == {0.1}
    for (name, tensor), other in zip(slow.state_dict().items(), quick.state_dict().values(), strict=True):
        assert torch.equal(tensor, other), name
    assert with_quick_statistics(slow, 20_000) is slow
    assert with_quick_statistics(build(TINY), 1).architecture == TINY

"""Is RMSProp TensorFlow's, do rates follow their schedule, and is weight decay kept off what it must not touch?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from linnet.architecture import MobileNetV2
from linnet.nn import build
from linnet.training.optimizers import TensorFlowRMSProp, build_optimizer, learning_rate
from linnet.training.recipe import Recipe
from linnet.training.recipes import PAPER


def test_rmsprop_is_tensorflows() -> None:
    """ApplyRMSProp: squares begin at 1, epsilon is inside the root, the rate is inside the momentum."""
    generator = np.random.default_rng(0)
    weights = generator.normal(size=5)
    parameter = torch.nn.Parameter(torch.tensor(weights))
    optimizer = TensorFlowRMSProp([parameter], lr=0.045, decay=0.9, momentum=0.8, epsilon=1.0, weight_decay=0.01)
    squares, momentum = np.ones(5), np.zeros(5)
    for _ in range(4):
        gradient = generator.normal(size=5)
        parameter.grad = torch.tensor(gradient)
        optimizer.step()
        gradient = gradient + 0.01 * weights
        squares = 0.9 * squares + 0.1 * gradient**2
        momentum = 0.8 * momentum + 0.045 * gradient / np.sqrt(squares + 1.0)
        weights = weights - momentum
        np.testing.assert_allclose(parameter.detach(), weights, rtol=1e-12)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "rmsprop"])
@pytest.mark.parametrize("depthwise", [False, True])
def test_weight_decay_spares_norms_biases_and_depthwise_weights(optimizer: Any, depthwise: bool) -> None:
    network = build(MobileNetV2(width=0.1, resolution=32, classes=3))
    recipe = Recipe(optimizer=optimizer, weight_decay=0.5, depthwise_decay=depthwise)
    built = build_optimizer(network, recipe)
    decayed = {id(p) for group in built.param_groups if group["weight_decay"] for p in group["params"]}
    for name, parameter in network.named_parameters():
        expected = parameter.ndim > 1 and (depthwise or "depthwise" not in name)
        assert (id(parameter) in decayed) == expected, name


def test_the_papers_rate() -> None:
    recipe = PAPER
    for epoch in (0, 1, 10, 100):
        assert learning_rate(recipe, epoch=epoch, epochs=300) == pytest.approx(0.045 * 0.98**epoch)


def test_cosine_rises_and_falls() -> None:
    recipe = Recipe(learning_rate=1.0, warmup_epochs=2.0)
    rates = [learning_rate(recipe, epoch=epoch, epochs=10) for epoch in (0.0, 1.0, 2.0, 6.0, 10.0)]
    assert rates == pytest.approx([0.0, 0.5, 1.0, 0.5, 0.0])


def test_steps_are_steps() -> None:
    recipe = Recipe(learning_rate=1.0, warmup_epochs=0.0, schedule="step", decay_factor=0.1, decay_epochs=3)
    assert learning_rate(recipe, epoch=2.99, epochs=9) == 1.0
    assert learning_rate(recipe, epoch=3.0, epochs=9) == pytest.approx(0.1)


@given(
    st.sampled_from(["cosine", "step", "exponential", "constant"]),
    st.floats(0, 50),
    st.integers(1, 50),
    st.floats(0, 5),
    st.floats(1e-6, 10),
)
def test_a_rate_is_never_above_its_peak_nor_below_zero(
    schedule: Any, epoch: float, epochs: int, warmup: float, peak: float
) -> None:
    recipe = replace(Recipe(), schedule=schedule, warmup_epochs=warmup, learning_rate=peak, decay_factor=0.5)
    assert 0 <= learning_rate(recipe, epoch=epoch, epochs=epochs) <= peak * (1 + 1e-9)

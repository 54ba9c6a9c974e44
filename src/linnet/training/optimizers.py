"""Optimisers and learning rates of the recipes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from linnet.nn.modules import GraphNetwork, module_name
from linnet.training.recipe import Recipe

FACTOR = "rate_factor"
"""Key of a group of parameters: what its learning rate is multiplied by."""


class TensorFlowRMSProp(torch.optim.Optimizer):
    """RMSProp as TensorFlow computes it, which the paper trained with; torch's own differs in three ways.

    Epsilon is added inside the square root, the mean of squares starts at 1 instead of 0, and the learning rate is
    inside the momentum: `momentum` = m x momentum + rate x gradient / sqrt(squares + epsilon).
    """

    def __init__(
        self,
        parameters: Any,
        *,
        lr: float,
        decay: float = 0.9,
        momentum: float = 0.9,
        epsilon: float = 1.0,
        weight_decay: float = 0.0,
    ) -> None:
        defaults = {"lr": lr, "decay": decay, "momentum": momentum, "epsilon": epsilon, "weight_decay": weight_decay}
        super().__init__(parameters, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update of every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group)
        return loss

    def _update(self, parameter: Tensor, group: dict[str, Any]) -> None:
        gradient = parameter.grad
        assert gradient is not None
        if group["weight_decay"]:
            gradient = gradient.add(parameter, alpha=group["weight_decay"])
        state = self.state[parameter]
        if not state:
            state["squares"] = torch.ones_like(parameter)
            state["momentum"] = torch.zeros_like(parameter)
        squares, momentum = state["squares"], state["momentum"]
        squares.mul_(group["decay"]).addcmul_(gradient, gradient, value=1 - group["decay"])
        update = gradient / squares.add(group["epsilon"]).sqrt_()
        momentum.mul_(group["momentum"]).add_(update, alpha=group["lr"])
        parameter.sub_(momentum)


def build_optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser over all parameters that are trained.

    Weight decay never touches batch norm and biases (everything with one axis), and depthwise weights only if the
    recipe says so.
    """
    depthwise = {
        id(module.weight) for module in network.modules() if isinstance(module, nn.Conv2d) and module.groups > 1
    }
    heads = _heads_of(network) if recipe.head_rate != 1 else set()
    sets: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter in network.parameters():
        if parameter.requires_grad:
            exempt = parameter.ndim < 2 or (id(parameter) in depthwise and not recipe.depthwise_decay)
            factor = recipe.head_rate if id(parameter) in heads else 1.0
            sets.setdefault((factor, 0.0 if exempt else recipe.weight_decay), []).append(parameter)
    groups: list[dict[str, Any]] = [
        {"params": parameters, "weight_decay": decay, FACTOR: factor}
        # Those that decay first, as ever.
        for (factor, decay), parameters in sorted(sets.items(), key=lambda entry: (entry[0][0], -entry[0][1]))
    ]
    rate = recipe.learning_rate
    assert rate is not None
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=rate)
    if recipe.optimizer == "rmsprop":
        return TensorFlowRMSProp(
            groups, lr=rate, decay=recipe.rmsprop_decay, momentum=recipe.momentum, epsilon=recipe.rmsprop_epsilon
        )
    return torch.optim.SGD(groups, lr=rate, momentum=recipe.momentum, nesterov=recipe.momentum > 0)


def _heads_of(network: nn.Module) -> set[int]:
    """The parameters, by `id`, of what stands on a backbone; none where there is no backbone."""
    architecture: Any = getattr(network, "architecture", None)
    backbone = getattr(architecture, "backbone", None)
    if backbone is None or not isinstance(network, GraphNetwork):
        return set()
    known = {module_name(block.name) for block in backbone.layers}
    parts = (*network.body.items(), *network.heads.items())
    return {id(parameter) for name, part in parts if name not in known for parameter in part.parameters()}


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Gives every group of parameters the rate, times its factor."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get(FACTOR, 1.0)


def learning_rate(recipe: Recipe, *, epoch: float, epochs: int) -> float:
    """The rate at a time, counted in epochs from 0 and exact to the step, of a run of `epochs`."""
    rate, warmup = recipe.learning_rate, recipe.warmup_epochs or 0.0
    assert rate is not None
    if epoch < warmup:
        return rate * epoch / warmup
    if recipe.schedule == "cosine":
        done = (epoch - warmup) / max(epochs - warmup, 1e-9)
        return rate * (1 + math.cos(math.pi * min(done, 1.0))) / 2
    if recipe.schedule == "step":
        return rate * recipe.decay_factor ** math.floor(epoch / recipe.decay_epochs)
    if recipe.schedule == "exponential":
        return rate * recipe.decay_factor ** (epoch / recipe.decay_epochs)
    return rate

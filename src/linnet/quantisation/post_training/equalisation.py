"""Channels of equal reach: factors moved from the weights before a tensor to those behind it; the function stays.

A tensor has one scale for all its channels, so that a channel whose values are small has few integers. Each channel c
of a tensor is divided by a factor f_c: the weights and the bias that give it are divided, the weights that read it are
multiplied (Nagel et al., Data-Free Quantization, 2019, section 4.1). With one weight scale an output channel, dividing
an output changes no integer of its weights, and multiplying a depthwise weight none either; only where a pointwise
convolution reads a tensor its own weights become less or more even.

A ReLU6 stays what it is. Divided by f, its bound would be 6 / f, and a checkpoint has no such bound. But with f of at
most 1 it is never needed: the tensor's encoding ends at 6 or below, and so before it. So channels behind a ReLU6 are
enlarged alone, at most to 6 on the calibration pictures, and those that reach 6 keep factor and bound. What remains is
that such a channel ends at the most that it had, as it would in an encoding of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.architecture import INPUT, Graph
from linnet.quantisation.post_training.observation import Observation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Tensors = Mapping[str, Floats]

STRENGTHS = tuple(step / 8 for step in range(9))
"""Exponents of a channel's reach that are tried: 0 leaves all as it is, 1 makes all channels reach equally far."""

LEAST_REACH = 1 / 64
"""Share of the largest channel's reach: a channel that is smaller, dead ones among them, is enlarged no further."""

BOUND = 6.0
"""Of a ReLU6."""

STEPS, WEIGHT_STEPS = 255, 127
"""Steps of an activation's range, and from 0 to the largest weight."""


@dataclass(frozen=True)
class Group:
    """Tensors that must have the same factors: what is added, its sum, and what is pooled of it.

    Attributes:
        members: names of the tensors.
        fixed: whether something else reads or gives one of them, so that nothing may be moved.
        bounded: whether a ReLU6 gives one of them.
    """

    members: tuple[str, ...]
    fixed: bool
    bounded: bool


def groups_of(graph: Graph) -> tuple[Group, ...]:
    """The tensors of a folded network, in groups."""
    leader = {name: name for name in (INPUT, *graph.by_name)}

    def find(name: str) -> str:
        while leader[name] != name:
            name = leader[name]
        return name

    fixed = {INPUT, *graph.outputs}
    for operation in graph.operations:
        if operation.adds or operation.averages:
            for name in operation.reads:
                leader[find(name)] = find(operation.name)
        elif operation.name not in graph.weighted:
            fixed |= {operation.name, *operation.reads}
    members: dict[str, list[str]] = {}
    for name in (INPUT, *graph.by_name):
        members.setdefault(find(name), []).append(name)
    clamped = {each.name for each in graph.convolutions if each.activation == "relu6"}
    return tuple(
        Group(tuple(names), not fixed.isdisjoint(names), not clamped.isdisjoint(names)) for names in members.values()
    )


def equalise(
    graph: Graph,
    tensors: Tensors,
    observations: Mapping[str, Observation],
    *,
    strengths: tuple[float, ...] = STRENGTHS,
    per_tensor: bool = False,
) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Moves factors through a folded network.

    Of each group the strength is taken with which rounding of the tensors and of the weights that read them is expected
    to do the least to what is read.

    Args:
        graph: the folded operations.
        tensors: their weights and biases.
        observations: what the network's tensors held.
        strengths: exponents to try.
        per_tensor: whether the weights will have one scale for all output channels.

    Returns:
        The new weights and biases; and by name of a tensor, where it changed, the (C,) factors that it is divided by.
    """
    changed: dict[str, Floats] = dict(tensors)
    factors: dict[str, Floats] = {}
    for group in groups_of(graph):
        # A Reshape is fixed, so that every member has been observed.
        if group.fixed:
            continue
        found = _factors_of(graph, group, changed, observations, strengths, per_tensor)
        if found is not None:
            _move(graph, group, changed, found)
            factors |= dict.fromkeys(group.members, found)
    return changed, factors


def _factors_of(
    graph: Graph,
    group: Group,
    tensors: Mapping[str, Floats],
    observations: Mapping[str, Observation],
    strengths: tuple[float, ...],
    per_tensor: bool,
) -> Floats | None:
    seen = [observations[name] for name in group.members]
    reach = np.max([each.reach for each in seen], axis=0).astype(np.float64)
    # What a ReLU6 gives is enlarged to 6 at most; sums of such channels may be larger, and stay.
    largest = min(reach.max(), BOUND) if group.bounded else reach.max()
    if largest == 0:
        return None
    shares = np.clip(reach / largest, LEAST_REACH, 1)
    candidates = [shares**strength for strength in strengths]
    noises = [_noise(graph, group, tensors, observations, factors, per_tensor) for factors in candidates]
    best = int(np.argmin(noises))
    return candidates[best].astype(np.float32) if strengths[best] else None


def _noise(
    graph: Graph,
    group: Group,
    tensors: Mapping[str, Floats],
    observations: Mapping[str, Observation],
    factors: NDArray[np.float64],
    per_tensor: bool,
) -> float:
    """Expected square error of what reads the group's tensors, of rounding them and the weights that read them."""
    total = 0.0
    for name in group.members:
        seen = observations[name]
        low, high = (np.asarray(ends, np.float64) / factors for ends in (seen.low, seen.high))
        step = (max(high.max(), 0) - min(low.min(), 0)) / STEPS
        squares = (seen.rows.astype(np.float64) ** 2).mean(axis=0) / factors**2
        for reader in graph.weighted_readers(name):
            weight = tensors[f"{reader.label}.weight"].astype(np.float64)
            flat, depthwise = weight.reshape(*weight.shape[:2], -1), reader.depthwise
            flat = flat * (factors[:, None, None] if depthwise else factors[:, None])
            rounding = np.abs(flat).max(axis=(1, 2)) / WEIGHT_STEPS
            if per_tensor:
                rounding = np.broadcast_to(rounding.max(), rounding.shape)
            carried = rounding**2 * (squares if depthwise else squares.sum()) * flat.shape[2]
            total += float(((step**2 * (flat**2).sum(axis=(1, 2))) + carried).sum()) / 12
    return total


def _move(graph: Graph, group: Group, tensors: dict[str, Floats], factors: Floats) -> None:
    """Divides what gives the group's tensors and multiplies what reads them."""
    for name in group.members:
        giver: Any = graph.by_name[name]
        if giver.tensors:
            weight = tensors[f"{giver.label}.weight"]
            tensors[f"{giver.label}.weight"] = weight / factors.reshape(-1, *[1] * (weight.ndim - 1))
            tensors[f"{giver.label}.bias"] = tensors[f"{giver.label}.bias"] / factors
        for reader in graph.weighted_readers(name):
            weight = tensors[f"{reader.label}.weight"]
            inputs = (-1, 1) if reader.depthwise else (1, -1)
            tensors[f"{reader.label}.weight"] = weight * factors.reshape(*inputs, *[1] * (weight.ndim - 2))

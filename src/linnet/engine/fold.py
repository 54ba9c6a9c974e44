"""Batch norm folded into the convolution before it: the same function with fewer tensors.

A folded network is the same `Architecture` with `folded=True`: each convolution then has `weight` and `bias` instead
of `weight`, `scale`, `shift`, `mean` and `variance` (docs/decisions/0002).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.architecture import Architecture

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


def fold(
    architecture: Architecture, tensors: Mapping[str, NDArray[np.floating[Any]]]
) -> tuple[Architecture, dict[str, NDArray[np.float32]]]:
    """The folded network and its float32 tensors; one that is folded already is returned as it is.

    weight' = weight x scale / sqrt(variance + epsilon), bias' = shift - mean x scale / sqrt(variance + epsilon),
    computed in float64.
    """
    if architecture.folded:
        return architecture, {name: np.asarray(values, np.float32) for name, values in tensors.items()}
    folded = replace(architecture, folded=True)
    result: dict[str, NDArray[np.float32]] = {}
    for convolution in architecture.convolutions:
        if convolution.folded:
            continue
        name = convolution.name
        weight, scale, shift, mean, variance = (
            np.asarray(tensors[f"{name}.{part}"], np.float64)
            for part in ("weight", "scale", "shift", "mean", "variance")
        )
        factor = scale / np.sqrt(variance + architecture.batch_norm_epsilon)
        result[f"{name}.weight"] = (weight * factor[:, None, None, None]).astype(np.float32)
        result[f"{name}.bias"] = (shift - mean * factor).astype(np.float32)
    for name in folded.tensors.keys() - result.keys():
        result[name] = np.asarray(tensors[name], np.float32)
    return folded, {name: result[name] for name in folded.tensors}

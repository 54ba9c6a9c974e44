"""The tensors of a TensorFlow.js model: a manifest that says what lies where in which shards.

Tensors lie one after the other over the shards of their group, in the manifest's order, little-endian. Quantised ones
are real = q x scale + min; float16 ones are plain halves.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

TYPES: dict[str, str] = {
    "float32": "<f4",
    "float16": "<f2",
    "int32": "<i4",
    "uint8": "u1",
    "uint16": "<u2",
    "bool": "u1",
}
"""Type in the manifest → numpy's."""

LARGEST_SHARDS = 1 << 28
"""Bytes of all shards together; MobileNetV2 1.4 has 25 million."""

MOST_TENSORS = 20_000


def read_manifest(
    manifest: Any, read_file: Callable[[str, int], bytes]
) -> tuple[dict[str, NDArray[Any]], bytes, tuple[str, ...]]:
    """All tensors of a manifest.

    Args:
        manifest: `weightsManifest` of a `model.json`, or the content of a `weights_manifest.json`.
        read_file: path of a shard and the bytes that it may have → its content.

    Returns:
        Name → values; the shards' bytes; the types that weights were stored in.

    Raises:
        ValueError: if the manifest makes no sense, or does not fit the shards.
    """
    if not isinstance(manifest, list) or not all(isinstance(group, dict) for group in manifest):
        raise ValueError("its manifest of weights is no list of groups")
    tensors: dict[str, NDArray[Any]] = {}
    stored: set[str] = set()
    everything = bytearray()
    for group in manifest:
        paths, listed = group.get("paths"), group.get("weights")
        if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
            raise ValueError("a group of its manifest names no shards")
        if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
            raise ValueError("a group of its manifest lists no weights")
        if len(tensors) + len(listed) > MOST_TENSORS:
            raise ValueError(f"its manifest lists more than {MOST_TENSORS} tensors")
        content = bytearray()
        for path in paths:
            content += read_file(path, LARGEST_SHARDS - len(everything) - len(content))
        at = 0
        for entry in listed:
            name, shape, kind, scaling = _entry(entry)
            size = math.prod(shape) * np.dtype(TYPES[kind]).itemsize
            if at + size > len(content):
                raise ValueError(f"its shards have {len(content):,} bytes, fewer than the manifest's tensors need")
            values = np.frombuffer(bytes(content[at : at + size]), TYPES[kind]).reshape(shape)
            tensors[name] = values if scaling is None else _dequantise(values, *scaling)
            stored.add(kind if kind in ("uint8", "uint16", "float16") else "float32")
            at += size
        if at != len(content):
            raise ValueError(f"its shards have {len(content):,} bytes, but the manifest's tensors take {at:,}")
        everything += content
    return tensors, bytes(everything), tuple(sorted(stored))


def _entry(entry: dict[str, Any]) -> tuple[str, tuple[int, ...], str, tuple[float, float] | None]:
    """Name, shape, stored type and (scale, least value) of one tensor."""
    name, shape, kind, scaling = (entry.get(key) for key in ("name", "shape", "dtype", "quantization"))
    if not isinstance(name, str) or not name:
        raise ValueError("a tensor of its manifest has no name")
    if not isinstance(shape, list) or not all(
        isinstance(side, int) and not isinstance(side, bool) and 0 <= side < 1 << 31 for side in shape
    ):
        raise ValueError(f"the shape of its tensor '{name}' makes no sense: {shape!r}")
    if scaling is None:
        numbers = None
    elif isinstance(scaling, dict):
        kind = scaling.get("dtype")
        numbers = None if kind == "float16" else _scaling(name, scaling)
    else:
        raise ValueError(f"the quantisation of its tensor '{name}' makes no sense")
    if not isinstance(kind, str) or kind not in TYPES:
        raise ValueError(f"its tensor '{name}' is of the type {kind!r}, which no network's weights have")
    return name, tuple(shape), kind, numbers


def _scaling(name: str, scaling: dict[str, Any]) -> tuple[float, float]:
    numbers = scaling.get("scale"), scaling.get("min", 0.0)
    for number in numbers:
        if not isinstance(number, int | float) or isinstance(number, bool) or not math.isfinite(number):
            raise ValueError(f"the quantisation of its tensor '{name}' makes no sense")
    scale, least = numbers
    return float(scale), float(least)  # type: ignore[arg-type]


def _dequantise(values: NDArray[Any], scale: float, least: float) -> NDArray[np.float32]:
    return (values.astype(np.float64) * scale + least).astype(np.float32)

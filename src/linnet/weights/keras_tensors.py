"""Tensors of Keras files under names: HDF5 of every layout that Keras 1 to 3 wrote.

Two layouts exist. Whole models and the weights of Keras 1 and 2 have a group a layer and in it tensors by name
(`block_1_expand/block_1_expand/kernel:0`); Keras 3's own have a group a layer that is called by its class and counted,
with numbered tensors (`layers/conv2d_3/vars/0`). In both, tensors are found by names, never by where they stand.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.weights.hdf5 import Hdf5
from linnet.weights.keras_layers import Layer, snake_case

if TYPE_CHECKING:
    from numpy.typing import NDArray

CONTAINERS = frozenset({"layers", "_layer_checkpoint_dependencies"})
"""Groups of Keras 3's layout that hold layers."""

NUMBERED: dict[str, tuple[str, ...]] = {
    "Conv2D": ("kernel", "bias"),
    "DepthwiseConv2D": ("kernel", "bias"),
    "Dense": ("kernel", "bias"),
    "BatchNormalization": ("gamma", "beta", "moving_mean", "moving_variance"),
    "Normalization": ("mean", "variance", "count"),
}
"""Class → what its numbered tensors are, where it has all of them."""

ALIASES = {"depthwise_kernel": "kernel", "running_mean": "moving_mean", "running_std": "moving_variance"}
"""Names of tensors that Keras had before → its names of today."""

Reader = Callable[[], "NDArray[Any]"]


@dataclass
class Pool:
    """All tensors of a file.

    Attributes:
        named: parts of a tensor's path, the last two being its layer's name and its own → how to read it.
        numbered: parts of a layer's path in Keras 3's layout → its tensors by number.
        names: the same parts → the layer's name, where the file says it.
    """

    named: dict[tuple[str, ...], Reader] = field(default_factory=dict)
    numbered: dict[tuple[str, ...], dict[int, Reader]] = field(default_factory=dict)
    names: dict[tuple[str, ...], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._by_layer: dict[str, list[tuple[str, ...]]] | None = None

    @property
    def empty(self) -> bool:
        """Whether it has no tensor at all."""
        return not self.named and not self.numbered

    def add(self, path: str, read: Reader) -> None:
        """Adds a tensor by its whole name, such as `Conv1/kernel:0`."""
        parts = tuple(part for part in path.split("/") if part)
        if parts:
            own = re.sub(r":\d+$", "", parts[-1])
            self.named[(*parts[:-1], ALIASES.get(own, own))] = read
            self._by_layer = None

    def layer_names(self) -> list[str]:
        """Names of all layers with tensors."""
        known = [name for parts, name in self.names.items() if parts in self.numbered]
        return list(dict.fromkeys([*(parts[-2] for parts in self.named if len(parts) > 1), *known]))

    def tensors(self, layer: Layer) -> dict[str, NDArray[np.float32]]:
        """The tensors of a layer by their names, such as `kernel`; empty if it has none.

        Raises:
            ValueError: if several layers of that name have tensors, or one is no array of real numbers.
        """
        found = self._numbered(layer) if self.numbered else self._named(layer)
        return {name: _real(f"{layer.name}/{name}", read()) for name, read in found.items()}

    def tensors_of(self, name: str) -> dict[str, NDArray[np.float32]]:
        """The tensors of the layer of that name, of files without a description."""
        if self.numbered:
            places = [parts for parts, own in self.names.items() if own == name and parts in self.numbered]
            if len(places) > 1:
                raise ValueError(f"several of its layers are called {name!r}, and which is which is not said")
            return self.tensors_at(places[0]) if places else {}
        return self.tensors(Layer((name,), (), "", {}, ()))

    def tensors_at(self, place: tuple[str, ...]) -> dict[str, NDArray[np.float32]]:
        """The tensors of a numbered layer of files without a description: its class is told by where they stand."""
        kind = re.sub(r"_\d+$", "", place[-1])
        names = next((names for owner, names in NUMBERED.items() if snake_case(owner) == kind), ())
        found = self.numbered[place]
        return {name: _real(f"{kind}/{name}", found[number]()) for number, name in enumerate(names) if number in found}

    def _named(self, layer: Layer) -> dict[str, Reader]:
        if self._by_layer is None:
            self._by_layer = {}
            for parts in self.named:
                if len(parts) > 1:
                    self._by_layer.setdefault(parts[-2], []).append(parts)
        # MobileNetV3's layers have names such as `Conv/BatchNorm`, and one of `Conv` alone.
        name = tuple(layer.name.split("/"))
        paths = [parts for parts in self._by_layer.get(name[-1], []) if parts[-1 - len(name) : -1] == name]
        if len(layer.path) == 1:
            paths = [parts for parts in paths if parts[:-1] == name + name] or paths
        if not paths:
            # A graph that was made twice counts on: `Conv1/Conv1_1/kernel:0`.
            counted = re.compile(re.escape(layer.name) + r"_\d+")
            top = [parts for parts in self.named if len(parts) > 2 and parts[0] == layer.name]
            paths = [parts for parts in top if counted.fullmatch(parts[-2])] or (top if len(layer.path) == 1 else [])
        best = max((_agreement(layer.path, parts) for parts in paths), default=0)
        paths = [parts for parts in paths if _agreement(layer.path, parts) == best]
        if len({parts[:-1] for parts in paths}) > 1:
            raise ValueError(f"several of its layers are called {layer.name!r}, and which is which is not said")
        return {parts[-1]: self.named[parts] for parts in paths}

    def _numbered(self, layer: Layer) -> dict[str, Reader]:
        place: tuple[str, ...] | None = layer.slots
        if self.names.get(layer.slots, layer.name) != layer.name or layer.slots not in self.numbered:
            siblings = [
                parts
                for parts, name in self.names.items()
                if name == layer.name and len(parts) == len(layer.slots) and parts in self.numbered
            ]
            exact = [parts for parts in siblings if parts[:-1] == layer.slots[:-1]] or siblings
            if len(exact) > 1:
                raise ValueError(f"several of its layers are called {layer.name!r}, and which is which is not said")
            place = exact[0] if exact else None
        if place is None:
            return {}
        return {
            name: self.numbered[place][number]
            for number, name in enumerate(numbered_names(layer))
            if number in self.numbered[place]
        }


def numbered_names(layer: Layer) -> tuple[str, ...]:
    """What the tensors 0, 1, … of a layer are in Keras 3's layout."""
    names = NUMBERED.get(layer.kind, ())
    absent = {
        "gamma": layer.config.get("scale", True) is False,
        "beta": layer.config.get("center", True) is False,
        "bias": layer.config.get("use_bias", True) is False,
    }
    return tuple(name for name in names if not absent.get(name, False))


def read_pool(file: Hdf5, root: str = "") -> Pool:
    """All tensors below a group of an HDF5 file.

    Args:
        file: what was read of it.
        root: path of the group; empty for the whole file.
    """
    pool = Pool()
    start = f"{root}/" if root else ""
    found: dict[str, NDArray[Any] | str] = {**file.tensors, **file.problems}
    for path, values in found.items():
        if not path.startswith(start):
            continue
        parts = tuple(path.removeprefix(start).split("/"))
        read = _reader(path, values)
        if len(parts) > 1 and parts[-2] == "vars" and parts[-1].isdigit():
            place = tuple(part for part in parts[:-2] if part not in CONTAINERS)
            pool.numbered.setdefault(place, {})[int(parts[-1])] = read
            name = file.texts.get((path.rpartition("/")[0], "name"))
            if name is not None:
                pool.names[place] = name
        else:
            pool.add("/".join(parts), read)
    return pool


def _reader(path: str, values: NDArray[Any] | str) -> Reader:
    def read() -> NDArray[Any]:
        if isinstance(values, str):
            raise ValueError(f"its {path} {values}")
        return values

    return read


def _real(name: str, values: NDArray[Any]) -> NDArray[np.float32]:
    with np.errstate(all="ignore"):
        return np.ascontiguousarray(values, np.float32).reshape(values.shape)


def _agreement(path: tuple[str, ...], parts: tuple[str, ...]) -> int:
    """How many of the models around a layer a tensor's path names, in their order."""
    rest = iter(parts[:-1])
    return sum(any(part == name for part in rest) for name in path if name in parts)

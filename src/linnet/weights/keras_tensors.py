"""Tensors of Keras files under names: HDF5 of every layout that Keras 1 to 3 wrote.

Two layouts exist. Whole models and the weights of Keras 1 and 2 have a group a layer and in it tensors by name
(`block_1_expand/block_1_expand/kernel:0`); Keras 3's own have a group a layer that is called by its class and counted,
with numbered tensors (`layers/conv2d_3/vars/0`). In both, tensors are found by names, never by where they stand.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.weights.keras_layers import Layer, snake_case

if TYPE_CHECKING:
    from numpy.typing import NDArray

LARGEST_TENSOR = 1 << 27
"""Bytes; the largest of a MobileNet, a classifier of 21,841 classes, has 112 million."""

LARGEST_FILE = 1 << 30
"""Bytes of a file that is read."""

MOST_OBJECTS = 100_000
"""Groups and datasets of an HDF5 file."""

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
        paths = self._by_layer.get(layer.name, [])
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


def need_h5py() -> None:
    """Raises a ModuleNotFoundError with a sentence where h5py is not installed."""
    if find_spec("h5py") is None:
        raise ModuleNotFoundError(
            "Keras files need h5py, which is not installed: pip install 'linnet[convert]'.", name="h5py"
        )


def open_hdf5(content: bytes) -> Any:
    """An HDF5 file in memory, as h5py's `File`.

    Raises:
        ModuleNotFoundError: if h5py is not installed; the text says how to install it.
        ValueError: if it cannot be opened.
    """
    need_h5py()
    import h5py

    try:
        return h5py.File(h5py.h5f.open_file_image(content))
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise ValueError(f"it cannot be opened as HDF5 ({_first_line(error)})") from None


def attribute(group: Any, name: str) -> str | None:
    """A text that is attached to a group; None if there is none."""
    try:
        value = group.attrs.get(name)
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"its {name} cannot be read ({_first_line(error)})") from None
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(())[()]
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value if isinstance(value, str) else None


def read_pool(group: Any, size: int) -> Pool:
    """All tensors below an HDF5 group.

    Args:
        group: of h5py.
        size: bytes of the file, above which none of its plain tensors can be.

    Raises:
        ValueError: if it is damaged, or leads out of the file.
    """
    pool = Pool()
    try:
        for parts, dataset in _datasets(group):
            read = _reader(parts, dataset, size)
            if len(parts) > 1 and parts[-2] == "vars" and parts[-1].isdigit():
                place = tuple(part for part in parts[:-2] if part not in CONTAINERS)
                pool.numbered.setdefault(place, {})[int(parts[-1])] = read
            else:
                pool.add("/".join(parts), read)
        for parts in list(pool.numbered):
            name = attribute(_find(group, parts), "name")
            if name is not None:
                pool.names[parts] = name
    except (OSError, RuntimeError, KeyError, TypeError, AttributeError, UnicodeDecodeError) as error:
        raise ValueError(f"its tensors cannot be listed ({_first_line(error)})") from None
    return pool


def _datasets(group: Any) -> Iterable[tuple[tuple[str, ...], Any]]:
    """Path and dataset, for all below a group that are reached without leaving the file."""
    import h5py

    waiting: list[tuple[tuple[str, ...], Any]] = [((), group)]
    seen, count = {group.id.__hash__()}, 0
    while waiting:
        path, current = waiting.pop()
        for name in current:
            count += 1
            if count > MOST_OBJECTS:
                raise ValueError(f"it has more than {MOST_OBJECTS} groups and tensors")
            if not isinstance(current.get(name, getlink=True), h5py.HardLink):
                raise ValueError(f"its {name!r} leads elsewhere, perhaps out of the file")
            entry = current[name]
            if isinstance(entry, h5py.Dataset):
                yield (*path, str(name)), entry
            elif isinstance(entry, h5py.Group):
                # A group that holds itself would never end.
                mark = h5py.h5o.get_info(entry.id).addr
                if mark not in seen:
                    seen.add(mark)
                    waiting.append(((*path, str(name)), entry))


def _find(group: Any, place: tuple[str, ...]) -> Any:
    """The group `vars` of a layer in Keras 3's layout."""
    current = group
    for part in place:
        holder = next((name for name in CONTAINERS if name in current and part in current[name]), None)
        current = current[part] if holder is None else current[holder][part]
    return current["vars"]


def _reader(parts: tuple[str, ...], dataset: Any, size: int) -> Reader:
    name = "/".join(parts)

    def read() -> NDArray[Any]:
        try:
            shape, kind = dataset.shape, dataset.dtype
            if shape is None or kind.kind not in "fiu":
                raise ValueError(f"its {name} is no array of numbers")
            wanted = int(np.prod(shape, dtype=object)) * kind.itemsize
            if dataset.is_virtual or dataset.external:
                raise ValueError(f"its {name} stands in another file")
            limit = LARGEST_TENSOR if dataset.chunks else min(size, LARGEST_TENSOR)
            if wanted > limit:
                raise ValueError(f"its {name} of shape {list(shape)} is larger than the file or any MobileNet's")
            return np.asarray(dataset[()])
        except (OSError, RuntimeError, KeyError, TypeError, MemoryError) as error:
            raise ValueError(f"its {name} cannot be read ({_first_line(error)})") from None

    return read


def _real(name: str, values: NDArray[Any]) -> NDArray[np.float32]:
    with np.errstate(all="ignore"):
        return np.ascontiguousarray(values, np.float32).reshape(values.shape)


def _agreement(path: tuple[str, ...], parts: tuple[str, ...]) -> int:
    """How many of the models around a layer a tensor's path names, in their order."""
    rest = iter(parts[:-1])
    return sum(any(part == name for part in rest) for name in path if name in parts)


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__

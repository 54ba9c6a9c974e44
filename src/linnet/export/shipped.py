"""An exported file, run as it is shipped: by its own runtime, through what it says of itself.

A file of linnet says all of it (`linnet.export.contract`). Of another one `linnet.weights.read` finds out what it is,
and its own graph is run (`linnet.weights.parity`).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from linnet.export.contract import Contract, contract_from
from linnet.export.folders import DESCRIPTION, format_name
from linnet.export.formats import FORMATS, Format, Runtime, either
from linnet.export.vectors import as_fed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from linnet.architecture import Architecture
    from linnet.images import Preprocessing
    from linnet.weights.conversion import Conversion

LOOKED_AT = 32
"""Bytes at the start of a file by which its format is recognised."""


def _check_runtime(path: Path, runtime: Runtime) -> None:
    """Raises a ValueError if what runs a file is not installed."""
    if not runtime.is_here():
        raise ValueError(f"'{path}' is run by {runtime.name}, which is not installed ({runtime.install}).")


class Network(Protocol):
    """A file in its runtime."""

    def prepare(self, pictures: NDArray[Any]) -> NDArray[Any]:
        """Pictures (N, H, W, 3) uint8 RGB, or what a network takes that takes none, as the file takes them."""
        ...

    def compute(self, inputs: NDArray[Any]) -> tuple[NDArray[np.float32], ...]:
        """The outputs of what `prepare` gave, in linnet's order of numbers."""
        ...


@dataclass(frozen=True, eq=False)
class Shipped:
    """A file that can be run.

    Attributes:
        path: the file.
        format: name of its format.
        contract: what it says of itself, or what was found out.
        runtime: what runs it.
        open: gives it in its runtime, with as many threads as are asked for; None for the runtime's own choice.
        notes: what had to be assumed, in sentences.
    """

    path: Path
    format: str
    contract: Contract
    runtime: Runtime
    open: Callable[[int | None], Network]
    notes: tuple[str, ...] = ()

    @property
    def architecture(self) -> Architecture:
        """The network's description."""
        return self.contract.architecture

    @property
    def preprocessing(self) -> Preprocessing | None:
        """How pictures become its input."""
        return self.contract.preprocessing

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Class names, where they are known."""
        return self.contract.classes

    @property
    def task(self) -> str:
        """`classification` or `detection`."""
        return self.contract.architecture.task


class ShippedRuntime:
    """A file as what runs a network (`linnet.engine.runtimes.Runtime`).

    Raises:
        ValueError: if its runtime is not installed or does not take it.
    """

    def __init__(self, shipped: Shipped, threads: int | None) -> None:
        _check_runtime(shipped.path, shipped.runtime)
        self.name, self._path = shipped.runtime.name, shipped.path
        self.network = shipped.open(threads)

    def run(self, pixels: NDArray[np.uint8], names: Sequence[str]) -> tuple[Any, dict[str, NDArray[np.float32]]]:
        """Output, and no intermediate tensors: an exported file gives none."""
        if names:
            raise ValueError(f"'{self._path}' gives its outputs alone, not {names[0]!r}.")
        outputs = self.network.compute(self.network.prepare(pixels))
        return (outputs if len(outputs) > 1 else outputs[0]), {}


def format_of(path: Path) -> Format | None:
    """The format of an exported file that can be run on pictures, by its first bytes; None of any other file.

    Raises:
        OSError: if it cannot be read.
    """
    found = _by_mark(path)
    return found if found is not None and found.measured else None


def format_to_verify(path: Path) -> Format | None:
    """The format of an exported file or folder, which can be run again; None of any other file.

    Raises:
        OSError: if it cannot be read.
        ValueError: of a folder that linnet did not write.
    """
    if not path.is_dir():
        return _by_mark(path)
    found = next((each for each in FORMATS if not each.ending and each.name == format_name(path)), None)
    if found is None:
        raise ValueError(
            f"'{path}' is a folder in which no {DESCRIPTION} says what it is: `linnet export --format "
            f"{either(each.name for each in FORMATS if not each.ending)}` writes such folders."
        )
    return found


def _by_mark(path: Path) -> Format | None:
    with path.open("rb") as file:
        start = file.read(LOOKED_AT)
    return next((each for each in FORMATS if len(start) == LOOKED_AT and each.mark(start)), None)


def open_exported(path: Path, found: Format) -> Shipped:
    """An exported file or folder, of a format that `format_of` or `format_to_verify` gave; or somebody else's file.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is damaged, or is no network that linnet knows; the text says what it is instead.
    """
    reader = import_module(found.reader)
    if found.read_by_runtime:
        _check_runtime(path, found.runtime)
    try:
        contract = contract_from(reader.documents(path))
    except OSError:
        raise
    except Exception as error:
        # A damaged flatbuffer leads its reader anywhere, and to exceptions of any kind.
        cause = "it breaks off, or points outside of itself" if isinstance(error, struct.error) else error
        raise ValueError(f"'{path}' is damaged: {cause}.") from None
    if contract is None and not found.measured:
        raise ValueError(
            f"'{path}' has no test vectors: linnet did not write it, or an older version did. `linnet export` writes "
            "them."
        )
    if contract is None:
        return _foreign(path, found)

    def opened(threads: int | None) -> Network:
        try:
            network: Network = reader.Network(path, contract, threads)
        except Exception as error:
            # What runtimes raise on damaged files is of many kinds.
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise ValueError(f"'{path}' is damaged: {found.runtime.name} does not take it ({reason}).") from None
        return network

    return Shipped(path, found.name, contract, found.runtime, opened)


def _foreign(path: Path, found: Format) -> Shipped:
    """A file that linnet did not export."""
    from linnet.weights import read

    conversion = read(path)
    checkpoint = conversion.checkpoint
    contract = Contract(
        checkpoint.architecture,
        checkpoint.preprocessing,
        checkpoint.classes,
        checkpoint.provenance,
        precision="float32" if checkpoint.quantisation is None else "int8",
    )
    return Shipped(
        path, found.name, contract, found.runtime, lambda threads: ForeignNetwork(conversion), conversion.notes
    )


class ForeignNetwork:
    """The own graph of somebody else's file, picture by picture; its runtime chooses how many threads it takes."""

    def __init__(self, conversion: Conversion) -> None:
        from linnet.weights.parity import graph_of

        self._conversion, self._graph = conversion, graph_of(conversion)
        architecture = conversion.checkpoint.architecture
        self._names = architecture.outputs
        missing = [name for name in self._names if name not in conversion.outputs]
        if missing:
            raise ValueError(f"'{conversion.source}' has no tensor that is linnet's {missing[0]!r}.")

    def prepare(self, pictures: NDArray[Any]) -> NDArray[np.float32]:
        """See `Network`."""
        return as_fed(pictures, self._conversion.checkpoint.preprocessing)

    def compute(self, inputs: NDArray[Any]) -> tuple[NDArray[np.float32], ...]:
        """See `Network`."""
        rows = [self._graph.run(inputs[number : number + 1]) for number in range(len(inputs))]
        return tuple(self._arranged(name, np.concatenate([row[name] for row in rows])) for name in self._names)

    def _arranged(self, name: str, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Numbers in linnet's order; what the file leaves out is zero."""
        shape = (len(values), *self._conversion.checkpoint.architecture.graph.shape_of(name))
        if name not in self._conversion.columns:
            return values.reshape(shape)
        slots, order = self._conversion.columns[name]
        whole = np.zeros((values.size // len(order), slots), np.float32)
        whole[:, order] = values.reshape(-1, len(order))
        return whole.reshape(shape)

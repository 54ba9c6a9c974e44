"""What runs a network: the native engine, numpy, or torch; pixels in, arrays out."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from linnet.checkpoint import Checkpoint
from linnet.engine.blas import blas_threads
from linnet.engine.library import engine_instruction_set, instruction_set, missing_library, native_version
from linnet.engine.reference import Output
from linnet.images import Preprocessing, grey_of, normalise, table_of
from linnet.machine import instruction_set_refused, usable_cores

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from linnet.engine.native import NativeSession, Schedule
    from linnet.engine.program import Program

RuntimeName = Literal["auto", "native", "numpy", "torch"]

MOST_THREADS = 256
"""Of the engine."""

TOGETHER = 1.85 / 2
"""Speed of threads that run one picture together, as a share of their speed when each runs pictures of its own: two
threads, which wait for each other after every step, run a picture 1.85 times as fast as one does (MobileNetV2 1.0 at
224: `python benchmarks/engine.py`). When each runs its own, some are idle in the last round unless pictures fill it."""

Outputs = tuple[Output, "dict[str, NDArray[np.float32]]"]


class Runtime(Protocol):
    """What runs a network: (N, H, W, 3) uint8 RGB of the network's size in, arrays out."""

    name: str

    def run(self, pixels: NDArray[np.uint8], names: Sequence[str]) -> Outputs:
        """Output, and intermediate tensors by name as (N, H, W, C) or (N, C)."""
        ...


class NativeRuntime:
    """The engine: blocks as one operation each, memory planned beforehand, threads of its own."""

    name = "native"

    def __init__(self, checkpoint: Checkpoint, threads: int | None, schedule: Schedule = "auto") -> None:
        self._checkpoint, self._schedule = checkpoint, schedule
        self._threads = min(threads or usable_cores(), MOST_THREADS)
        self._session, self._program = self._open(())
        self._apart: NativeSession | None = None
        self._named: tuple[tuple[str, ...], NativeSession | None, Program] | None = None

    @property
    def session(self) -> NativeSession | None:
        """The plan, memory and threads of single pictures; None for a network that takes no pictures."""
        return self._session

    def _open(self, names: Sequence[str]) -> tuple[NativeSession | None, Program]:
        """A session that gives the output and these tensors, none for networks that take no pictures; its program."""
        from linnet.engine.native import NativeNetwork, NativeSession
        from linnet.engine.program import lower

        checkpoint, contract = self._checkpoint, self._checkpoint.preprocessing
        program = lower(checkpoint.architecture, checkpoint.tensors, names, checkpoint.quantisation)
        if contract is None:
            return None, program
        session = NativeSession(
            NativeNetwork(program),
            contract.size,
            program.table(table_of(contract)),
            program.outputs,
            threads=self._threads,
            schedule=self._schedule,
        )
        return session, program.without_weights()

    def _session_for(self, pictures: int) -> NativeSession | None:
        """Of enough pictures each thread takes its own: nobody waits for another, for an arena more a thread."""
        room = -(-pictures // self._threads) * self._threads  # pictures that as many rounds could take
        if self._session is None or self._threads == 1 or not 0 < TOGETHER * room <= pictures:
            return self._session
        if self._apart is None:
            from linnet.engine.native import NativeSession

            contract = _contract_of(self._checkpoint)
            self._apart = NativeSession(
                self._session.network,
                contract.size,
                self._program.table(table_of(contract)),
                self._program.outputs,
                threads=self._threads,
                apart=True,
            )
        return self._apart

    def _naming(self, names: tuple[str, ...]) -> tuple[NativeSession | None, Program]:
        """The session that gives these tensors too: that of the last call, where it asked for the same."""
        named = self._named
        if named is None or named[0] != names:
            named = self._named = (names, *self._open(names))
        return named[1:]

    def run(self, pixels: NDArray[np.uint8], names: Sequence[str]) -> Outputs:
        """See `Runtime`. For intermediate tensors a plan of their own is made, which keeps them; the last one stays."""
        contract = self._checkpoint.preprocessing
        session, program = self._naming(tuple(names)) if names else (self._session_for(len(pixels)), self._program)
        assert contract is not None
        assert session is not None
        return program.finish(session.run(_as_bytes(pixels, contract)), names)


def _as_bytes(pixels: NDArray[np.uint8], contract: Preprocessing) -> NDArray[np.uint8]:
    """The bytes that the engine looks up: one channel of grey, or three in the network's order."""
    if contract.colours == "grey":
        return grey_of(pixels)
    return np.ascontiguousarray(pixels[..., ::-1]) if contract.colours == "BGR" else pixels


class NumpyRuntime:
    """The readable reference. One picture uses the cores through numpy's BLAS; several are spread over threads."""

    name = "numpy"

    def __init__(self, checkpoint: Checkpoint, threads: int | None) -> None:
        from linnet.engine.integer_reference import numpy_network

        self._checkpoint = checkpoint
        self._network = numpy_network(checkpoint.architecture, checkpoint.tensors, checkpoint.quantisation)
        self._threads = threads

    def run(self, pixels: NDArray[np.uint8], names: Sequence[str]) -> Outputs:
        """See `Runtime`."""
        inputs = normalise(pixels, _contract_of(self._checkpoint))
        threads = min(self._threads or usable_cores(), len(inputs))
        if threads < 2:
            with blas_threads(self._threads):
                return self._network.run(inputs, names)
        # One thread a part and one core a thread: BLAS would only share the small matrix products, not the rest.
        with blas_threads(1), ThreadPoolExecutor(threads) as pool:
            parts = list(pool.map(lambda part: self._network.run(part, names), np.array_split(inputs, threads)))
        kept = {name: np.concatenate([tensors[name] for _, tensors in parts]) for name in names}
        return _joined([outputs for outputs, _ in parts]), kept


class TorchRuntime:
    """The training module in evaluation mode. `threads` is a setting of the whole process in torch."""

    name = "torch"

    def __init__(self, checkpoint: Checkpoint, threads: int | None) -> None:
        if find_spec("torch") is None:
            raise ValueError("The torch runtime needs torch: pip install 'linnet[train]'. Or take --runtime numpy.")
        import torch

        from linnet.nn import from_checkpoint

        if threads is not None:
            torch.set_num_threads(threads)
        self._checkpoint = checkpoint
        self._network = from_checkpoint(checkpoint.dequantised("the torch runtime"))

    def run(self, pixels: NDArray[np.uint8], names: Sequence[str]) -> Outputs:
        """See `Runtime`."""
        import torch

        inputs = normalise(pixels, _contract_of(self._checkpoint))
        with torch.inference_mode():
            images = torch.from_numpy(np.ascontiguousarray(inputs.transpose(0, 3, 1, 2)))
            outputs, taps = self._network.run(images, names)

        def array(x: Any) -> NDArray[np.float32]:
            # Maps have their channels last outside of torch.
            found: NDArray[np.float32] = (x.permute(0, 2, 3, 1) if x.ndim == 4 else x).numpy()
            return found

        given = tuple(map(array, outputs)) if isinstance(outputs, tuple) else array(outputs)
        return given, {name: array(x) for name, x in taps.items()}


RUNTIMES: dict[str, Callable[[Checkpoint, int | None], Runtime]] = {
    "native": NativeRuntime,
    "numpy": NumpyRuntime,
    "torch": TorchRuntime,
}


def choose_runtime(name: RuntimeName) -> str:
    """The runtime that `name` means here; `auto` never imports torch, so that predicting starts fast.

    Raises:
        ValueError: if there is no such runtime, or LINNET_ISA names an instruction set that cannot run.
    """
    if name not in ("auto", *RUNTIMES):
        raise ValueError(f"`runtime` (={name!r}) must be 'auto', {', '.join(map(repr, RUNTIMES))}.")
    if name in ("numpy", "torch"):
        return name
    if native_version() is None:
        if name == "native":
            raise ValueError(f"The native runtime is not there. {missing_library()}")
        return "numpy"
    if engine_instruction_set() is None:
        raise ValueError(instruction_set_refused(instruction_set()))
    return "native"


def _contract_of(checkpoint: Checkpoint) -> Preprocessing:
    assert checkpoint.preprocessing is not None
    return checkpoint.preprocessing


def _joined(outputs: list[Output]) -> Output:
    """The outputs of parts of a batch as that of the whole."""
    if isinstance(outputs[0], tuple):
        return tuple(np.concatenate(parts) for parts in zip(*outputs, strict=True))
    return np.concatenate(outputs)

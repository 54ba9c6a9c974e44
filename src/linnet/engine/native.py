"""The native engine: a network whose weights are packed, and sessions that run it."""

from __future__ import annotations

import ctypes
import os
import threading
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from linnet.architecture.operations import Shape
from linnet.engine.library import (
    ConvolutionLayer,
    Error,
    Memory,
    PlanStep,
    ProgramLayer,
    SessionOptions,
    load_library,
    missing_library,
)
from linnet.engine.program import Program

if TYPE_CHECKING:
    from numpy.typing import NDArray

Schedule = Literal["auto", "layerwise", "rows", "groups"]

SCHEDULES: tuple[Schedule, ...] = ("auto", "layerwise", "rows", "groups")
"""In the order in which linnet.h numbers them."""

DTYPES: tuple[type[np.float32 | np.uint8], ...] = (np.float32, np.uint8)
"""In the order in which linnet.h numbers precisions."""

MOST_THREADS, MOST_SIDE, MOST_CHANNELS = 256, 65_536, 16_777_216


class EngineError(ValueError):
    """The native engine refuses: what it was given, and what it can take."""


@dataclass(frozen=True)
class Step:
    """Layers that run as one.

    Attributes:
        first: name of the tensor that the first of these layers gives.
        last: name of the tensor that the last of them gives.
        schedule: `rows`, `groups` or `layerwise`; `auto` where there is only one way.
        group: expanded channels of a group; 0 where there are no groups.
        output_bytes: size of the tensor that the step leaves, in bytes; 0 if it gives the caller row by row.
        scratch_bytes: scratch space of all threads together, in bytes.
        seconds: the shortest time that it took so far.
        element_bytes: size of one number of that tensor, in bytes.
    """

    first: str
    last: str
    schedule: Schedule
    group: int
    output_bytes: int
    scratch_bytes: int
    seconds: float
    element_bytes: int


def native_library() -> Any:
    """The library; an EngineError where there is none, or one of other sources."""
    library = load_library()
    if library is None:
        raise EngineError(missing_library())
    return library


def call(name: str, *arguments: Any) -> None:
    """Calls a function of linnet.h whose last argument is a `linnet_error`; raises its sentence as an EngineError."""
    error = Error()
    if getattr(native_library(), name)(*arguments, ctypes.byref(error)):
        raise EngineError(error.text.decode())


class NativeNetwork:
    """A program with its weights packed; any number of sessions share it.

    Raises:
        EngineError: if there is no native library, or the program cannot run.
    """

    def __init__(self, program: Program) -> None:
        # Not the program: its weights would stay in memory beside the packed ones.
        self.layers, self.inputs, self.numbers = program.layers, program.inputs, program.numbers
        layers = (ProgramLayer * len(program.layers))(*program.layers)
        inputs = np.array(program.inputs, np.int32)
        data = np.ascontiguousarray(program.data)
        if data.ctypes.data % 4:
            # Aligned as an array of words is: layers point to floats in it.
            data = np.zeros(-(-program.data.size // 4), np.uint32).view(np.uint8)
            data[: program.data.size] = program.data
        handle = ctypes.c_void_p()
        call(
            "linnet_network_open",
            ctypes.byref(layers),
            len(layers),
            inputs.ctypes.data,
            inputs.size,
            data.ctypes.data,
            data.size,
            ctypes.byref(handle),
        )
        self.handle = handle
        self._finalizer = _at_end(self, "linnet_network_close", handle)

    @property
    def closed(self) -> bool:
        """Whether it takes no more sessions."""
        return not self._finalizer.alive

    def close(self) -> None:
        """Gives the memory back once the last session is closed; happens by itself when nobody holds the network."""
        self._finalizer()


class NativeSession:
    """The plan for one size of picture, with its memory and threads.

    Args:
        network: what to run.
        size: height and width of the pictures in pixels.
        table: (channels, 256), what each value of a picture's bytes stands for: float32, or uint8 for a network that
            computes with bytes.
        outputs: names of the tensors to give.
        threads: from 1 to 256.
        schedule: how all blocks run.
        schedules: name of a block's depthwise layer → its own schedule.
        group: expanded channels of a group; 0 lets the engine decide.
        groups: name of a block's depthwise layer → expanded channels of its own groups.
        joins_rows: whether neighbours that run by rows become one; None lets the engine decide.
        apart: each thread runs pictures of its own in memory of its own, instead of all running each picture.

    Raises:
        EngineError: if an option makes no sense, or there is no memory or no thread.
    """

    _turn: threading.Lock

    def __init__(
        self,
        network: NativeNetwork,
        size: tuple[int, int],
        table: NDArray[np.float32 | np.uint8],
        outputs: Sequence[str],
        *,
        threads: int = 1,
        schedule: Schedule = "auto",
        schedules: Mapping[str, Schedule] | None = None,
        group: int = 0,
        groups: Mapping[str, int] | None = None,
        joins_rows: bool | None = None,
        apart: bool = False,
    ) -> None:
        if network.closed:
            raise EngineError("The network is closed. Open another.")
        _check_whole("threads", threads, 1, MOST_THREADS)
        _check_whole("group", group, 0, MOST_CHANNELS)
        height, width = size
        _check_whole("height", height, 1, MOST_SIDE)
        _check_whole("width", width, 1, MOST_SIDE)
        self.network, self.size, self.threads = network, (height, width), threads
        first = network.layers[0].own
        assert isinstance(first, ConvolutionLayer)  # nothing else may read the picture
        self.channels = int(first.in_channels)
        expected = DTYPES[network.layers[0].precision]
        if table.dtype != expected:
            raise EngineError(f"The table must be of {np.dtype(expected)}; this one is of {table.dtype}.")
        table = np.ascontiguousarray(table)
        if table.shape != (self.channels, 256):
            raise EngineError(f"The table must be ({self.channels}, 256); this one is {table.shape}.")
        # Several names may stand for one layer: a block, and its projection.
        asked = [_layer(network, name) for name in outputs]
        numbers = np.array(list(dict.fromkeys(asked)), np.int32)
        self._order = [numbers.tolist().index(number) for number in asked]
        own = np.zeros(len(network.layers), np.int32)
        for name, value in (schedules or {}).items():
            own[_layer(network, name)] = _number(value)
        channels = np.zeros(len(network.layers), np.int32)
        for name, count in (groups or {}).items():
            _check_whole(f"group of {name!r}", count, 0, MOST_CHANNELS)
            channels[_layer(network, name)] = count
        options = SessionOptions(
            *size,
            threads,
            _number(schedule),
            group,
            -1 if joins_rows is None else int(joins_rows),
            numbers.ctypes.data,
            len(numbers),
            table.ctypes.data,
            own.ctypes.data,
            channels.ctypes.data,
            int(apart),
        )
        handle = ctypes.c_void_p()
        call("linnet_session_open", network.handle, ctypes.byref(options), ctypes.byref(handle))
        self._handle = handle
        self._finalizer = _at_end(self, "linnet_session_close", handle)
        take_turns(self)
        self._shapes = [self._shape(int(number)) for number in numbers]
        self._dtypes = [DTYPES[network.layers[number].precision] for number in numbers]

    def _shape(self, number: int) -> Shape:
        """What a layer gives for one picture."""
        layer = self.network.layers[number]
        source = self.network.inputs[layer.first_input]
        read = (*self.size, self.channels) if source < 0 else self._shape(source)
        return layer.own.shape(read, self.size)

    def run(self, pixels: NDArray[np.uint8]) -> list[NDArray[np.float32 | np.uint8]]:
        """(N, H, W, C) uint8 → for each output (N, H, W, C) or (N, C), float32 or, of layers of bytes, uint8.

        Calls from several threads take turns.

        Raises:
            EngineError: on any other shape or type, or if the session is closed.
        """
        if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8:
            raise EngineError("Pixels must be a numpy array of uint8.")
        if pixels.ndim != 4 or pixels.shape[1:] != (*self.size, self.channels):
            height, width = self.size
            shape = " x ".join(map(str, pixels.shape))
            raise EngineError(f"Pixels must be (N, {height}, {width}, {self.channels}); these are {shape}.")
        pixels = np.ascontiguousarray(pixels)
        try:
            outputs = [
                np.empty((len(pixels), *shape), dtype) for shape, dtype in zip(self._shapes, self._dtypes, strict=True)
            ]
        except MemoryError as error:
            raise EngineError(f"There is no memory for the outputs of {len(pixels)} pictures: take fewer.") from error
        places = (ctypes.c_void_p * len(outputs))(*(output.ctypes.data for output in outputs))
        with self._turn:
            self._check_open()
            call("linnet_session_run", self._handle, pixels.ctypes.data, len(pixels), ctypes.byref(places))
        return [outputs[place] for place in self._order]

    def _check_open(self) -> None:
        if not self._finalizer.alive:
            raise EngineError("The session is closed. Open another.")

    @property
    def arena_bytes(self) -> int:
        """Bytes of all activations and of the threads' scratch spaces."""
        return int(self._memory().arena)

    @property
    def weight_bytes(self) -> int:
        """Bytes of the packed weights, which all sessions of a network share."""
        return int(self._memory().weights)

    def _memory(self) -> Memory:
        memory = Memory()
        with self._turn:
            self._check_open()
            native_library().linnet_session_memory(self._handle, ctypes.byref(memory))
        return memory

    @property
    def plan(self) -> tuple[Step, ...]:
        """What runs as one, and how long it took."""
        # A convolution is named before the block that it ends.
        names: dict[int, str] = {}
        for name, number in self.network.numbers.items():
            names.setdefault(number, name)
        return tuple(
            Step(
                names[step.first],
                names[step.last],
                SCHEDULES[step.schedule],
                step.group,
                step.output_bytes,
                step.scratch_bytes,
                step.least_seconds,
                step.element_bytes,
            )
            for step in self._steps()
        )

    def _steps(self) -> list[PlanStep]:
        with self._turn:
            self._check_open()
            steps = [PlanStep() for _ in range(native_library().linnet_session_steps(self._handle))]
            for number, step in enumerate(steps):
                native_library().linnet_session_step(self._handle, number, ctypes.byref(step))
        return steps

    def close(self) -> None:
        """Gives memory and threads back; happens by itself when nobody holds the session."""
        with self._turn:
            self._finalizer()


class TakesTurns(Protocol):
    """What one thread at a time may use."""

    _turn: threading.Lock


_owners: weakref.WeakSet[TakesTurns] = weakref.WeakSet()


def take_turns(owner: TakesTurns) -> None:
    """Gives an object the lock of its turn, and another one in each child process."""
    owner._turn = threading.Lock()
    _owners.add(owner)


def _after_fork() -> None:
    # A thread that held a turn does not exist in the child: nobody would give it back.
    for owner in _owners:
        owner._turn = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _at_end(owner: object, name: str, handle: ctypes.c_void_p) -> weakref.finalize[[ctypes.c_void_p], object]:
    """Calls a function of linnet.h once nobody holds the owner.

    Not at the end of the process: threads may still run what it would free.
    """
    finalizer = weakref.finalize(owner, getattr(native_library(), name), handle)
    finalizer.atexit = False
    return finalizer


def _check_whole(name: str, value: int, least: int, most: int) -> None:
    if not isinstance(value, int | np.integer) or not least <= value <= most:
        raise EngineError(f"`{name}` (={value!r}) must be a whole number from {least:,} to {most:,}.")


def _layer(network: NativeNetwork, name: str) -> int:
    if name not in network.numbers:
        raise EngineError(f"The program gives no tensor {name!r}. It must be named when the network is lowered.")
    return network.numbers[name]


def _number(schedule: str) -> int:
    if schedule not in SCHEDULES:
        raise EngineError(f"The schedule (={schedule!r}) must be {', '.join(SCHEDULES[:-1])} or {SCHEDULES[-1]}.")
    return SCHEDULES.index(schedule)

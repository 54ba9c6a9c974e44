"""Programs as files for the checks of native/tests: with pictures and what comes of them, or as seeds to be fuzzed."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from networks import random_tensors
from numpy.typing import NDArray

from linnet.architecture import Architecture, MobileNetV1, MobileNetV2
from linnet.architecture.ssdlite import ssdlite
from linnet.engine.library import ProgramLayer
from linnet.engine.program import Program, lower
from linnet.engine.reference import NumpyNetwork


def table_of(channels: int) -> NDArray[np.float32]:
    """What the bytes stand for: another line for each channel, with zero somewhere inside."""
    steps = np.arange(256, dtype=np.float32)
    return np.stack([(steps - 100 - 20 * channel) / (50 + 10 * channel) for channel in range(channels)])


def as_floats(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Pictures as the network sees them."""
    table = table_of(pixels.shape[-1])
    return np.stack([table[channel][pixels[..., channel]] for channel in range(pixels.shape[-1])], axis=-1)


def output_names(architecture: Architecture) -> tuple[str, ...]:
    """What the engine gives of a network: its outputs, of a detector those of its heads."""
    return lower(architecture, random_tensors(architecture)).outputs


def small_architectures() -> list[Architecture]:
    """Odd sizes, channels that fill no block, every kind of layer, shortcuts of both kinds, a detector."""
    return [
        MobileNetV2(width=0.35, resolution=(33, 47), classes=13),
        MobileNetV2(width=0.2, resolution=40, classes=3, padding="symmetric", minimum_depth=16, output_stride=8),
        MobileNetV2(width=0.25, resolution=(35, 32), classes=None, shortcut="expansion", input_channels=1),
        MobileNetV2(width=0.15, resolution=32, classes=9, early_stride=1, expansion=5.5, projection_activation="relu6"),
        MobileNetV1(width=0.25, resolution=37, classes=11, last_activation="linear"),
        MobileNetV1(width=0.1, resolution=33, classes=3, hidden=(10, 21), classifier_bias=False),
        MobileNetV1(width=0.1, resolution=(41, 33), classes=5, convolution="full", input_channels=2),
        ssdlite(width=0.2, resolution=65, classes=4),
        ssdlite(backbone="mobilenet_v1", width=0.1, resolution=40, classes=2, variant="modern"),
    ]


def write_cases(path: Path, architectures: Sequence[Architecture], tolerance: float) -> None:
    """Each network with two pictures and what the numpy reference makes of them, one after the other."""
    with path.open("wb") as file:
        for number, architecture in enumerate(architectures):
            names, tensors = output_names(architecture), random_tensors(architecture)
            program = lower(architecture, tensors, names)
            shape = (2, *architecture.input_size, architecture.input_channels)
            pixels = np.random.default_rng(number).integers(0, 256, shape, dtype=np.uint8)
            _, expected = NumpyNetwork(architecture, tensors).run(as_floats(pixels), names)
            outputs = np.array([program.numbers[name] for name in names], np.int32)
            counts = (len(program.layers), len(program.inputs), program.weights.size, len(outputs))
            file.write(struct.pack("<8qd", *shape[1:3], shape[0], shape[3], *counts, tolerance))
            for layer in program.layers:
                file.write(bytes(layer))
            for array in (np.array(program.inputs, np.int32), program.weights, table_of(shape[3]), outputs, pixels):
                file.write(np.ascontiguousarray(array).tobytes())
            for name in names:
                file.write(struct.pack("<q", expected[name].size) + expected[name].tobytes())


def seed_of(
    program: Program, size: tuple[int, int], outputs: Sequence[str], *, threads: int, schedule: int, own: int = 0
) -> bytes:
    """The input of the fuzzed loader that stands for a program; see native/tests/fuzz_program.cpp.

    `own` from 0 to 32,767 decides whether layers have schedules (odd) and groups (2 or 3 of 4) of their own.
    """
    numbers = [program.numbers[name] for name in outputs]
    header = struct.pack(
        "<2H4BI2iI",
        *size,
        threads,
        schedule,
        0,
        0,
        program.weights.size - 1 + own * 2**17,
        numbers[0],
        numbers[-1],
        2**32 - 1,
    )
    records = b""
    for number, layer in enumerate(program.layers):
        reads = program.inputs[layer.first_input : layer.first_input + layer.input_count]
        record = ProgramLayer.from_buffer_copy(layer)
        record.first_input = 4 * number
        records += bytes(record) + struct.pack("<4i", *reads, *[0] * (4 - len(reads)))
    return header + records


def write_seeds(folder: Path) -> None:
    """A file for each tiny network and schedule: the fuzzer should run thousands a second."""
    tiny: dict[str, Any] = {"width": 0.05, "resolution": 32, "classes": 3}
    networks: list[Architecture] = [
        MobileNetV2(**tiny, depth=0.3, last_layer="scaled", expansion=2),
        MobileNetV2(**tiny, depth=0.3, last_layer="scaled", shortcut="expansion", padding="symmetric", output_stride=8),
        MobileNetV1(**tiny, convolution="full"),
        ssdlite(
            width=0.05, depth=0.3, expansion=2, resolution=32, classes=1, extra_channels=(8,), scales=(0.2, 0.5, 0.9)
        ),
    ]
    for number, architecture in enumerate(networks):
        names = output_names(architecture)
        program = lower(architecture, random_tensors(architecture), names)
        for schedule in range(4):
            size = (9 + 4 * number, 14 - number)
            threads, own = 1 + (number + schedule) % 3, 37 * number + schedule
            seed = seed_of(program, size, (names[0], names[-1]), threads=threads, schedule=schedule, own=own)
            (folder / f"{number}-{schedule}").write_bytes(seed)

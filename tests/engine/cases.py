"""Programs as files for the checks of native/tests: with pictures and what comes of them, or as seeds to be fuzzed."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from networks import random_tensors
from numpy.typing import NDArray
from quantised import QuantisedNetwork, quantised_network

from linnet.architecture import INPUT, Architecture, Graph, GraphBuilder, MobileNetV1, MobileNetV2
from linnet.architecture.cost import graph_of
from linnet.architecture.deeplab import deeplab
from linnet.architecture.ssdlite import ssdlite
from linnet.engine.integer_reference import IntegerNetwork
from linnet.engine.library import (
    UINT8,
    ConcatenationLayer,
    ConvolutionLayer,
    DepthwiseLayer,
    LinearLayer,
    ProgramLayer,
)
from linnet.engine.program import Program, lower, zero_of
from linnet.engine.reference import NumpyNetwork
from linnet.quantisation.scheme import IntegerType

Network: TypeAlias = Architecture | QuantisedNetwork
"""In float with random weights, or in eight bits."""


def table_of(channels: int) -> NDArray[np.float32]:
    """What the bytes stand for: another line for each channel, with zero somewhere inside."""
    steps = np.arange(256, dtype=np.float32)
    return np.stack([(steps - 100 - 20 * channel) / (50 + 10 * channel) for channel in range(channels)])


def as_floats(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Pictures as the network sees them."""
    table = table_of(pixels.shape[-1])
    return np.stack([table[channel][pixels[..., channel]] for channel in range(pixels.shape[-1])], axis=-1)


def bytes_of(values: NDArray[Any], dtype: IntegerType) -> NDArray[np.uint8]:
    """Integers of a type of eight bits as the engine has them."""
    whole: NDArray[np.uint8] = values.view(np.uint8) + np.uint8(zero_of(dtype))
    return whole


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
        *small_segmenters(),
    ]


def small_segmenters() -> list[Architecture]:
    """Every kind of resizing, joined in place and not, pooled maps, dilated windows wider than the map."""
    return [
        deeplab(width=0.2, resolution=(45, 33), classes=5, aspp="full", context_channels=20),
        deeplab(variant="modern", width=0.2, resolution=(33, 47), classes=3, skips=(8, 4, 2), skip_channels=12),
        deeplab(
            backbone="mobilenet_v1", width=0.1, resolution=40, classes=4, aspp="separable", output_stride=8, skips=(4,),
            joining="add", grid="asymmetric", context_channels=16, decoder_channels=10,
        ),
    ]  # fmt: skip


def decoder(*, kept: bool = False, channels: int = 12, classes: int = 5, beside: Sequence[str] = ()) -> Graph:
    """A coarse map that grows and is added to a finer one, a filter, and the logits.

    Args:
        kept: whether the map that grew is read once more.
        channels: of both maps; put beside each other, the second one has three more.
        beside: `grown` and `own` in the order in which they are put beside each other instead of added.
    """
    build = GraphBuilder((90, 70, 3))
    fine = build.convolve("fine", INPUT, 8, kernel=3, stride=2)
    coarse = build.convolve("coarse", build.convolve("down", fine, 8, kernel=3, stride=2), channels)
    grown = build.resize("grown", coarse, 2, grid="half_pixel")
    own = build.convolve("own", fine, channels + (3 if list(beside[1:]) == ["own"] else 0), activation="relu")
    maps = {"grown": grown, "own": own}
    joined = build.concatenate("joined", [maps[name] for name in beside]) if beside else build.add("joined", own, grown)
    filtered = build.convolve("filter", joined, build.shape(joined)[2], kernel=3, depthwise=True)
    result = build.convolve("logits", build.convolve("pointwise", filtered, 16), classes)
    return build.graph(result, build.convolve("also", grown, 4)) if kept else build.graph(result)


def small_quantised() -> list[QuantisedNetwork]:
    """The same in eight bits: both types, both kinds of weights and pooling, operations that stay in float."""
    networks: list[tuple[Architecture, dict[str, Any]]] = [
        (MobileNetV2(width=0.35, resolution=(33, 47), classes=13), {"dtype": "int8"}),
        (MobileNetV2(width=0.2, resolution=40, classes=3, padding="symmetric", output_stride=8), {"dtype": "uint8"}),
        (
            MobileNetV2(width=0.25, resolution=(35, 32), classes=None, shortcut="expansion", input_channels=1),
            {"dtype": "int8", "per_tensor": True, "pooling": "average"},
        ),
        (
            MobileNetV1(width=0.1, resolution=(41, 33), classes=5, convolution="full", input_channels=2),
            {"dtype": "uint8", "pooling": "average"},
        ),
        (MobileNetV1(width=0.25, resolution=37, classes=11), {"dtype": "int8", "floating": ("stem", "classifier")}),
        (ssdlite(width=0.2, resolution=65, classes=4), {"dtype": "uint8"}),
        (ssdlite(backbone="mobilenet_v1", width=0.1, resolution=40, classes=2, variant="modern"), {"dtype": "int8"}),
    ]
    kinds: list[dict[str, Any]] = [{"dtype": "uint8", "pooling": "average"}, {"dtype": "int8"}, {"dtype": "int8"}]
    networks += zip(small_segmenters(), kinds, strict=True)
    return [quantised_for_pictures(network, **options) for network, options in networks]


def quantised_for_pictures(network: Architecture | Graph, **options: Any) -> QuantisedNetwork:
    """A network in eight bits, calibrated on pictures as they come to the engine; see `quantised_network`."""
    pixels = np.random.default_rng(7).integers(0, 256, (2, *graph_of(network).input_shape), dtype=np.uint8)
    return quantised_network(network, pictures=as_floats(pixels), **options)


def expected_of(
    network: Network, names: Sequence[str], pixels: NDArray[np.uint8]
) -> list[NDArray[np.float32] | NDArray[np.uint8]]:
    """What the numpy reference makes of pictures, in the numbers that the engine gives."""
    inputs = as_floats(pixels)
    if isinstance(network, QuantisedNetwork):
        _, whole = IntegerNetwork(*network).integers(inputs, names)
        return [bytes_of(whole[name], network.quantisation.dtype) for name in names]
    _, numbers = NumpyNetwork(network, random_tensors(network)).run(inputs, names)
    return [numbers[name] for name in names]


def program_of(network: Network) -> Program:
    """What the engine runs of a network."""
    if isinstance(network, QuantisedNetwork):
        return lower(network.graph, network.tensors, (), network.quantisation)
    return lower(network, random_tensors(network), output_names(network))


def pictures_for(network: Network, seed: int) -> NDArray[np.uint8]:
    """Two random pictures."""
    graph = network.graph
    return np.random.default_rng(seed).integers(0, 256, (2, *graph.input_shape), dtype=np.uint8)


def write_cases(path: Path, networks: Sequence[Network], tolerance: float) -> None:
    """Each network with two pictures and what the numpy reference makes of them, one after the other.

    `tolerance` is for floats, relative to the largest; bytes must be equal.
    """
    with path.open("wb") as file:
        for number, network in enumerate(networks):
            program, pixels = program_of(network), pictures_for(network, number)
            expected = expected_of(network, program.outputs, pixels)
            outputs = np.array([program.numbers[name] for name in program.outputs], np.int32)
            counts = (len(program.layers), len(program.inputs), program.data.size, len(outputs))
            file.write(struct.pack("<8qd", *pixels.shape[1:3], len(pixels), pixels.shape[3], *counts, tolerance))
            for layer in program.layers:
                file.write(bytes(layer))
            table = program.table(table_of(pixels.shape[3]))
            for array in (np.array(program.inputs, np.int32), program.data, table, outputs, pixels):
                file.write(np.ascontiguousarray(array).tobytes())
            for values in expected:
                file.write(struct.pack("<q", values.nbytes) + values.tobytes())


# The fuzzed loader makes its data up: four parts of equal size.
FLOATS, BYTES, SUMS, MULTIPLIERS = range(4)
MOST_PART = 2**17
"""Bytes of a part, at most; `kMostPart` of native/tests/fuzz_program.cpp."""


def moved(program: Program) -> tuple[list[ProgramLayer], int]:
    """A program's layers, pointing to where made-up data have what they need, and the bytes of a part of these data."""
    needed = [0, 0, 0, 0]

    def take(part: int, size: int) -> tuple[int, int]:
        place = needed[part]
        needed[part] += -(-size // 4) * 4
        return part, place

    places: list[tuple[ctypes.Structure, str, tuple[int, int]]] = []
    layers = [ProgramLayer.from_buffer_copy(layer) for layer in program.layers]
    for layer in layers:
        own, whole = layer.own, layer.precision == UINT8
        if isinstance(own, ConcatenationLayer) and whole:
            places.append((layer.integers, "tables", take(BYTES, 256 * layer.input_count)))
        if not isinstance(own, ConvolutionLayer | DepthwiseLayer | LinearLayer):
            continue
        taps = own.window.kernel**2 if isinstance(own, ConvolutionLayer | DepthwiseLayer) else 1
        count = layer.out_channels * taps * (1 if isinstance(own, DepthwiseLayer) else own.in_channels)
        places.append((own, "weights", take(BYTES if whole else FLOATS, count if whole else 4 * count)))
        places.append((own, "bias", take(SUMS if whole else FLOATS, 4 * layer.out_channels)))
        if whole:
            places.append((layer.integers, "multipliers", take(MULTIPLIERS, 4 * layer.out_channels)))
    size = max(needed)
    for structure, name, (part, place) in places:
        setattr(structure, name, part * size + place)
    return layers, size


def seed_of(
    program: Program, size: tuple[int, int], outputs: Sequence[str], *, threads: int, schedule: int, own: int = 0
) -> bytes:
    """The input of the fuzzed loader that stands for a program; see native/tests/fuzz_program.cpp.

    `own` from 0 to 32,767 decides whether layers have schedules (odd) and groups (2 or 3 of 4) of their own.
    """
    numbers = [program.numbers[name] for name in outputs]
    layers, part = moved(program)
    assert part <= MOST_PART
    header = struct.pack(
        "<2H4BI2iI", *size, threads, schedule, 0, 0, part - 1 + own * MOST_PART, numbers[0], numbers[-1], 2**32 - 1
    )
    records = b""
    for number, layer in enumerate(layers):
        reads = program.inputs[layer.first_input : layer.first_input + layer.input_count]
        layer.first_input = 4 * number
        records += bytes(layer) + struct.pack("<4i", *reads, *[0] * (4 - len(reads)))
    return header + records


def write_seeds(folder: Path) -> None:
    """A file for each tiny network and schedule, in float and in bytes: the fuzzer should run thousands a second."""
    tiny: dict[str, Any] = {"width": 0.05, "resolution": 32, "classes": 3}
    networks: list[Architecture] = [
        MobileNetV2(**tiny, depth=0.3, last_layer="scaled", expansion=2),
        MobileNetV2(**tiny, depth=0.3, last_layer="scaled", shortcut="expansion", padding="symmetric", output_stride=8),
        MobileNetV1(**tiny | {"width": 0.03}, convolution="full"),
        ssdlite(
            width=0.05, depth=0.3, expansion=2, resolution=32, classes=1, extra_channels=(8,), scales=(0.2, 0.5, 0.9)
        ),
        deeplab(
            variant="modern", width=0.05, depth=0.3, expansion=2, resolution=32, classes=2, skips=(4,),
            context_channels=8, skip_channels=4, decoder_channels=8,
        ),
    ]  # fmt: skip
    quantised = [
        quantised_network(networks[0], dtype="int8"),
        quantised_network(networks[1], dtype="uint8", pooling="average"),
        quantised_network(networks[2], dtype="int8"),
        quantised_network(networks[3], dtype="uint8"),
        quantised_network(networks[0], dtype="int8", floating=("stem", "classifier")),
        quantised_network(networks[4], dtype="int8"),
    ]
    programs = [*map(program_of, networks), *map(program_of, quantised)]
    for number, program in enumerate(programs):
        for schedule in range(4):
            # Small enough that it runs: beyond some products the loader only plans. Full convolutions have most.
            size = (3, 4) if number % 4 == 2 else (5 + number % 4, 7 - number % 4)
            threads, own = 1 + (number + schedule) % 3, 37 * number + schedule
            outputs = (program.outputs[0], program.outputs[-1])
            seed = seed_of(program, size, outputs, threads=threads, schedule=schedule, own=own)
            (folder / f"{number}-{schedule}").write_bytes(seed)

"""How a network's outputs are put together of the tensors that the engine gives, said in numbers.

What is left to do behind the engine (`Program.tail`) only arranges. For programs in other languages that is written
down as parts: so many numbers of a tensor from a place on, and what the bytes of a quantised network stand for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.engine.library import UINT8

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from linnet.engine.program import Program


@dataclass(frozen=True)
class Part:
    """Numbers of an output that lie behind each other in a tensor.

    Attributes:
        tensor: number of the tensor among `Program.outputs`.
        start: of its numbers for a picture, the first.
        count: how many.
        values: row of what its bytes stand for; -1 of a tensor in float.
    """

    tensor: int
    start: int
    count: int
    values: int


def outputs_of(program: Program) -> tuple[list[list[Part]], NDArray[np.float32]]:
    """The parts of each output in order, and what bytes stand for: (rows, 256).

    What only arranges is not described a second time: it is done once with the numbers' own places, and once with each
    value of a byte.

    Raises:
        ValueError: if the network computes behind its last layers instead of arranging.
    """
    shapes = [(1, *program.graph.shape_of(name)) for name in program.outputs]
    starts = np.cumsum([0, *(math.prod(shape) for shape in shapes)])
    places = _flat(
        replace(program, quantisation=None),
        [
            np.arange(start, start + math.prod(shape), dtype=np.float64).reshape(shape)
            for start, shape in zip(starts, shapes, strict=False)
        ],
    )
    if any(not np.array_equal(each, np.rint(each)) for each in places):
        raise ValueError("What this network does behind its last convolutions is more than to arrange their numbers.")
    outputs: list[list[Part]] = []
    firsts: list[tuple[int, int]] = []
    for number, each in enumerate(places):
        outputs.append([])
        cuts = np.flatnonzero((np.diff(each) != 1) | np.isin(each[1:], starts)) + 1
        for first, last in pairwise([0, *cuts.tolist(), len(each)]):
            tensor = int(np.searchsorted(starts, each[first], side="right")) - 1
            row = -1
            if gives_bytes(program, program.outputs[tensor]):
                row = len(firsts)
                firsts.append((number, first))
            start = int(each[first]) - int(starts[tensor])
            outputs[-1].append(Part(tensor, start, last - first, row))
    values = np.zeros((len(firsts), 256), np.float32)
    for byte in range(256 if firsts else 0):
        given = _flat(program, [np.full(shape, byte, np.uint8) for shape in shapes])
        values[:, byte] = [given[number][first] for number, first in firsts]
    return outputs, values


def gives_bytes(program: Program, name: str) -> bool:
    """Whether the engine gives a tensor as bytes."""
    return program.layers[program.numbers[name]].precision == UINT8


def _flat(program: Program, tensors: list[NDArray[Any]]) -> list[NDArray[Any]]:
    """The outputs of one picture, number by number."""
    outputs = program.finish(tensors)[0]
    return [np.asarray(each).ravel() for each in (outputs if isinstance(outputs, tuple) else (outputs,))]

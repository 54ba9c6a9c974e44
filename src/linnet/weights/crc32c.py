"""CRC-32C of bytes, the checksum of TensorFlow's files, in numpy: long texts in many lanes at once."""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    States = NDArray[np.uint32]

POLYNOMIAL = 0x82F63B78
"""Castagnoli's, its bits reversed."""

ALL = 0xFFFFFFFF
MASK = 0xA282EAD8


def crc32c(content: bytes) -> int:
    """The checksum as RFC 3720 defines it: that of `123456789` is 0xE3069283."""
    lanes = math.isqrt(len(content))
    if not lanes:
        return 0
    length = len(content) // lanes
    parts = np.frombuffer(content, np.uint8, lanes * length).reshape(lanes, length)
    # A register's state is linear in what it began with: lanes begin with nothing, and the 32 bits that a state has
    # are carried along over as many zeros.
    registers = np.zeros(lanes + 32, np.uint32)
    registers[0] = ALL
    registers[lanes:] = np.uint32(1) << np.arange(32, dtype=np.uint32)
    table, columns = _table(), np.zeros((length, lanes + 32), np.uint8)
    columns[:, :lanes] = parts.T
    for column in columns:
        registers = table[(registers ^ column) & 0xFF] ^ (registers >> 8)
    state, carried = int(registers[0]), [int(each) for each in registers[lanes:]]
    for register in registers[1:lanes].tolist():
        after = register
        for bit in range(32):
            if state >> bit & 1:
                after ^= carried[bit]
        state = after
    table_of_ints: list[int] = table.tolist()
    for byte in content[lanes * length :]:
        state = table_of_ints[(state ^ byte) & 0xFF] ^ (state >> 8)
    return state ^ ALL


def masked(checksum: int) -> int:
    """A checksum as LevelDB's tables store it: turned by 15 bits, and a constant added."""
    return ((checksum >> 15 | checksum << 17) + MASK) & ALL


@cache
def _table() -> States:
    states: NDArray[Any] = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        states = np.where(states & 1, (states >> 1) ^ np.uint32(POLYNOMIAL), states >> 1)
    return states.astype(np.uint32)

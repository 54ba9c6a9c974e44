"""TensorFlow's variables, `variables.index` and the data files beside it, read without TensorFlow.

The index is a table as LevelDB has it: blocks of names, of each only what differs from the one before, and with each
name a protobuf that says where in which data file its numbers are. Blocks and numbers have checksums (CRC-32C).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.weights.crc32c import crc32c, masked
from linnet.weights.matching import NotOurs
from linnet.weights.tensorflow_graph import LARGEST_TENSOR, MOST_SIDES, OTHER_TYPES, TYPES, message_class

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAGIC = bytes.fromhex("57fb808b247547db")
"""The last bytes of a table."""

FOOTER = 48
"""Bytes at the end of a table that say where its last block is."""

LONGEST_NAME = 4096
"""Bytes."""

MOST_NAMES = 100_000
"""Of tensors; a network with two moments of an optimizer has some thousand."""


@dataclass(frozen=True)
class Variables:
    """Tensors by name.

    Attributes:
        entries: name → where its numbers are.
        shards: number of data files.
        read_shard: number of a data file → its content.
    """

    entries: Mapping[str, Any]
    shards: int
    read_shard: Callable[[int], bytes]

    def numbers(self, name: str) -> NDArray[Any]:
        """The numbers of a tensor.

        Raises:
            NotOurs: if they are of a kind that no network of ours has.
            ValueError: if there are none of that name, or they are damaged.
        """
        if name not in self.entries:
            raise ValueError(f"its variable '{name}' is not among the variables")
        entry = self.entries[name]
        if entry.dtype not in TYPES or entry.slices:
            kind = "in slices" if entry.slices else f"of the type {OTHER_TYPES.get(entry.dtype, entry.dtype)}"
            raise NotOurs(f"its variable '{name}' is stored {kind}")
        if len(entry.shape.dim) > MOST_SIDES:
            raise ValueError(f"its variable '{name}' has {len(entry.shape.dim):,} sides")
        sides = [int(side.size) for side in entry.shape.dim]
        count, dtype = math.prod(sides), np.dtype(TYPES[entry.dtype][1])
        if any(side < 0 for side in sides) or count > LARGEST_TENSOR:
            raise ValueError(f"its variable '{name}' has the shape {sides}")
        if not 0 <= entry.shard_id < self.shards or entry.offset < 0 or entry.size != count * dtype.itemsize:
            raise ValueError(f"where its variable '{name}' is stored makes no sense")
        content = self.read_shard(entry.shard_id)[entry.offset : entry.offset + entry.size]
        if len(content) != entry.size or masked(crc32c(content)) != entry.crc32c:
            raise ValueError(f"the numbers of its variable '{name}' are not those that were written")
        return np.frombuffer(content, dtype).reshape(sides)


def read_variables(index: bytes, read_shard: Callable[[int, int], bytes]) -> Variables:
    """What an index lists.

    Args:
        index: the content of `variables.index`.
        read_shard: number of a data file and how many there are → its content.

    Raises:
        ValueError: if it is damaged.
    """
    table = dict(_table(index))
    header = message_class("BundleHeader").FromString(table.pop(b"", b""))
    if header.endianness:
        raise NotOurs("its variables were written by a big-endian machine")
    entries = {
        name.decode(errors="replace"): message_class("BundleEntry").FromString(each) for name, each in table.items()
    }
    shards: dict[int, bytes] = {}

    def read(number: int) -> bytes:
        if number not in shards:
            shards[number] = read_shard(number, header.num_shards)
        return shards[number]

    return Variables(entries, header.num_shards, read)


def _table(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The names and values of a table, in order."""
    if len(content) < FOOTER or not content.endswith(MAGIC):
        raise ValueError("its list of variables has no end: it is cut off")
    footer, place = content[-FOOTER:], 0
    for _ in range(2):
        _, place = _varint(footer, place)
    offset, place = _varint(footer, place)
    size, _ = _varint(footer, place)
    count, read = 0, 0
    for _, handle in _block(content, offset, size):
        offset, place = _varint(handle, 0)
        size, _ = _varint(handle, place)
        read += size
        if read > len(content):
            raise ValueError("its list of variables names a part of itself twice")
        for name, value in _block(content, offset, size):
            count += 1
            if count > MOST_NAMES:
                raise ValueError(f"it has more than {MOST_NAMES:,} variables")
            yield name, value


def _block(content: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """The names and values of one block; behind it stand how it is packed, and its checksum."""
    end = offset + size
    if size < 4 or end + 5 > len(content):
        raise ValueError("its list of variables leads beyond its end")
    if masked(crc32c(content[offset : end + 1])) != int.from_bytes(content[end + 1 : end + 5], "little"):
        raise ValueError("its list of variables is not the one that was written")
    if content[end]:
        raise NotOurs("its list of variables is compressed")
    block, place, name = content[offset:end], 0, b""
    stop = size - 4 - 4 * int.from_bytes(block[-4:], "little")
    if stop < 0:
        raise ValueError("its list of variables makes no sense")
    while place < stop:
        shared, place = _varint(block, place)
        own, place = _varint(block, place)
        length, place = _varint(block, place)
        if shared > len(name) or shared + own > LONGEST_NAME or place + own + length > stop:
            raise ValueError("its list of variables makes no sense")
        name = name[:shared] + block[place : place + own]
        place += own + length
        yield name, block[place - length : place]


def _varint(content: bytes, place: int) -> tuple[int, int]:
    """A number in groups of seven bits, the lowest first, and where it ends."""
    value = 0
    for shift in range(0, 64, 7):
        if place >= len(content):
            raise ValueError("its list of variables breaks off")
        byte = content[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise ValueError("its list of variables holds a number without end")

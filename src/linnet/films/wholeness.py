"""Does a film's file hold all that it announces? Containers say how long they are, or how each film of theirs ends.

Nothing is decoded: only the sizes are followed that stand in front of the parts of a file. Of a container that
announces nothing, such as an MPEG program stream, nothing is known.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

UNKNOWN = -1
"""Size of an element that goes on until another begins, as live recordings have it."""

TRANSPORT_PACKETS = (188, 192, 204)
"""Bytes of a packet: plain, of cameras and discs, with error correction."""

SYNC = 0x47
"""With which each of them begins; those of 192 bytes four bytes later."""

OGG_PAGES = 1 << 17
"""Bytes at the end of a file among which its last page begins: a page has 65,307 at most."""

PACK = b"\0\0\x01\xba"
"""With which packs of an MPEG program stream begin."""

PACKS = 1 << 20
"""Bytes at its end in which its packets are followed."""

PLANES = {"420": 1.5, "422": 2.0, "444": 3.0, "mono": 1.0, "411": 1.5}
"""Colours of a YUV4MPEG2 file → samples of a pixel."""

ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")


def is_cut_off(path: Path) -> bool:
    """Whether the end of a film is missing, by what its own container says.

    Raises:
        OSError: if the file cannot be read.
    """
    length = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(12)
        check = _check_for(start)
        return check is not None and check(file, length)


def _check_for(start: bytes) -> Callable[[BinaryIO, int], bool] | None:
    """What follows a container's sizes, by a file's first bytes."""
    if start[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot", b"styp"):
        return _boxes_end_early
    if start[:4] == b"RIFF":
        return _chunks_end_early
    if start[:4] == b"\x1a\x45\xdf\xa3":
        return _elements_end_early
    if start[:4] == b"OggS":
        return _pages_end_early
    if start[:3] == b"FLV":
        return _tags_end_early
    if start[:12] == ASF_HEADER[:12]:
        return _is_shorter_than_it_says
    if start[:3] == b"\xff\xd8\xff":
        return _last_picture_ends_early
    if start[:9] == b"YUV4MPEG2":
        return _last_frame_ends_early
    if start[:4] == PACK:
        return _packs_end_early
    if start[:1] == b"\x47" or start[4:5] == b"\x47":
        return _packets_end_early
    return None


def _boxes_end_early(file: BinaryIO, length: int) -> bool:
    """MP4 and MOV (ISO 14496-12): boxes of a size and a name; 0 goes to the end, 1 has its size behind the name.

    The one that lists the frames stands at the beginning or at the end: without it the end is missing too.
    """
    at, listed = 0, False
    while length - at >= 8:
        file.seek(at)
        head = file.read(16)
        size = int.from_bytes(head[:4], "big")
        if not head[4:8].isalnum():
            # Something else that somebody has put behind the film.
            return not listed
        listed = listed or head[4:8] == b"moov"
        if size == 1:
            size = int.from_bytes(head[8:16], "big")
        if size == 0:
            return not listed
        at += max(size, 8)
    return at > length or not listed


def _chunks_end_early(file: BinaryIO, length: int) -> bool:
    """AVI: lists `RIFF` one behind the other, each with its size; 0 or all ones stand in what was never finished."""
    at = end = 0
    while length - at >= 8:
        file.seek(at)
        head = file.read(8)
        size = int.from_bytes(head[4:], "little")
        if head[:4] != b"RIFF" or size in (0, 0xFFFFFFFF):
            return False
        end = at + 8 + size
        at = end + size % 2
    return end > length


EBML_SEGMENT, EBML_CLUSTER = b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75"


def _elements_end_early(file: BinaryIO, length: int) -> bool:
    """Matroska and WebM: elements of a name and a size; what has none is looked into."""
    at = 0
    while at < length:
        file.seek(at)
        head = file.read(12)
        name = head[: _width(head[:1], 4)]
        rest = head[len(name) :]
        width = _width(rest[:1], 8)
        if not name or not width:
            return False
        if len(rest) < width:
            return True
        size = int.from_bytes(rest[:width], "big") & ((1 << 7 * width) - 1)
        at += len(name) + width
        if size == (1 << 7 * width) - 1:
            if name not in (EBML_SEGMENT, EBML_CLUSTER):
                return False
            continue
        at += size
    return at > length


def _width(first: bytes, most: int) -> int:
    """Bytes of a number whose first one says how many there are; 0 if it says nonsense."""
    zeros = 8 - first[0].bit_length() if first else most
    return zeros + 1 if zeros < most else 0


def _pages_end_early(file: BinaryIO, length: int) -> bool:
    """Ogg (RFC 3533): pages, of which the last of a stream says that it is. A live recording has no such page."""
    file.seek(max(length - OGG_PAGES, 0))
    tail = file.read()
    at = tail.rfind(b"OggS\0")
    if at < 0:
        return True
    lengths = tail[at + 27 : at + 27 + tail[at + 26]] if len(tail) > at + 26 else b""
    is_last = bool(tail[at + 5] & 4) if len(tail) > at + 5 else False
    return not is_last or at + 27 + len(lengths) + sum(lengths) > len(tail)


def _tags_end_early(file: BinaryIO, length: int) -> bool:
    """FLV: behind the header and 4 bytes tags of 11 bytes and their content, each followed by 4 bytes.

    The first may say how many bytes the file has.
    """
    file.seek(0)
    head = file.read(1 << 16)
    announced = head.find(b"\0\x08filesize\0")
    if announced >= 0 and len(value := head[announced + 11 : announced + 19]) == 8:
        size = struct.unpack(">d", value)[0]
        if size > length:
            return True
    file.seek(5)
    at = int.from_bytes(file.read(4), "big") + 4
    while at < length:
        file.seek(at)
        head = file.read(4)
        at += 11 + int.from_bytes(head[1:4], "big") + 4
    return at > length


def _is_shorter_than_it_says(file: BinaryIO, length: int) -> bool:
    """ASF (WMV): an object of the header has the file's size, which a broadcast leaves at 0."""
    file.seek(0)
    header = file.read(1 << 16)
    at = header.find(ASF_PROPERTIES)
    # Behind its name, its own size, and the file's name.
    return at >= 0 and int.from_bytes(header[at + 40 : at + 48], "little") > length


def _packets_end_early(file: BinaryIO, length: int) -> bool:
    """MPEG transport stream: packets of one size, which the last one has too."""
    file.seek(0)
    start = file.read(2 * max(TRANSPORT_PACKETS))
    for size in TRANSPORT_PACKETS:
        before = 4 if size == 192 else 0
        if start[before : before + 1] == start[before + size : before + size + 1] == bytes([SYNC]):
            return length % size != 0
    return False


def _last_picture_ends_early(file: BinaryIO, length: int) -> bool:
    """Motion JPEG without a container: the last picture has an end mark."""
    file.seek(max(length - 4096, 0))
    return not file.read().rstrip(b"\0").endswith(b"\xff\xd9")


def _packs_end_early(file: BinaryIO, length: int) -> bool:
    """MPEG program stream: behind the head of a pack packets of a mark and a size, the last of which ends the file."""
    file.seek(max(length - PACKS, 0))
    tail = file.read()
    at, packets = tail.find(PACK), 0
    while 0 <= at < len(tail):
        mark = tail[at : at + 4]
        if mark[:3] != PACK[:3]:
            # What looked like a pack was part of a picture; or something else stands behind the film.
            at, packets = tail.find(PACK, at), 0
        elif mark == b"\0\0\x01\xb9":
            at += 4
        elif mark == PACK:
            # MPEG-2 has two bits 01 here, and says how many bytes of stuffing follow; MPEG-1 has four bits 0010.
            second = tail[at + 4 : at + 5] >= b"\x40"
            at += 14 + (tail[at + 13] & 7 if len(tail) > at + 13 else 0) if second else 12
        else:
            at += 6 + int.from_bytes(tail[at + 4 : at + 6], "big")
            packets += 1
    return packets > 0 and at > len(tail)


def _last_frame_ends_early(file: BinaryIO, length: int) -> bool:
    """YUV4MPEG2: a line, and frames of one size, each behind a line `FRAME`."""
    file.seek(0)
    line = file.readline(1024)
    words = {word[:1]: word[1:].decode("ascii", "replace") for word in line.split()[1:]}
    colours = re.match(r"(420|422|444|411|mono)(?:p?(10|12|14|16))?", words.get(b"C", "420"))
    first = file.readline(1024)
    sides = [words.get(side, "") for side in (b"W", b"H")]
    if colours is None or first != b"FRAME\n" or not all(side.isdecimal() for side in sides):
        return False
    samples = int(sides[0]) * int(sides[1]) * PLANES[colours[1]] * (2 if colours[2] else 1)
    return (length - len(line)) % (len(first) + int(samples)) != 0

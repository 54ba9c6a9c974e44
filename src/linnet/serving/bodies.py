"""A request's body → pictures: read within limits, whatever its sender says of it."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from linnet.serving.limits import Limits, Refusal, Room

if TYPE_CHECKING:
    from starlette.requests import Request

KINDS = "a picture's bytes, multipart/form-data or application/json"

BYTES = ("", "application/octet-stream", "application/x-www-form-urlencoded")
"""Content types besides pictures' own that are taken for a picture's bytes; the last is what curl says of any body."""

LONGEST_NAME = 255
"""Characters of a file's name that are answered back."""


@dataclass(frozen=True)
class Order:
    """What a request asks for.

    Attributes:
        pictures: (name, bytes) each.
        model: its name; None for the first one.
        top: classes or objects to tell of; None for as many as `predict` does.
    """

    pictures: list[tuple[str, bytes]]
    model: str | None = None
    top: int | None = None


class Held:
    """The bytes of one body as they come, counted in the room of all bodies."""

    def __init__(self, limits: Limits, room: Room) -> None:
        self._limits, self._room = limits, room
        self.content = bytearray()
        self._taken = 0

    async def read(self, request: Request) -> bytes:
        """The whole body.

        Raises:
            Refusal: 400, 408, 413 or 503.
        """
        from starlette.requests import ClientDisconnect

        announced = request.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > self._limits.body_bytes:
            raise self._too_large()
        try:
            async with asyncio.timeout(self._limits.arrival_seconds):
                async for chunk in request.stream():
                    if len(self.content) + len(chunk) > self._limits.body_bytes:
                        raise self._too_large()
                    self._room.take(len(chunk))
                    self._taken += len(chunk)
                    self.content += chunk
        except TimeoutError:
            raise Refusal(408, f"The body did not arrive within {self._limits.arrival_seconds:g} seconds.") from None
        except ClientDisconnect:
            raise Refusal(400, "The body broke off.") from None
        return bytes(self.content)

    def release(self) -> None:
        """Gives the room back."""
        self._room.leave(self._taken)
        self._taken = 0

    def _too_large(self) -> Refusal:
        return Refusal(413, f"A request may have {self._limits.body_bytes:,} bytes.")


@contextmanager
def holding(limits: Limits, room: Room) -> Iterator[Held]:
    """A body's bytes for as long as a request needs them."""
    held = Held(limits, room)
    try:
        yield held
    finally:
        held.release()


def read_order(content_type: str, body: bytes, query: dict[str, str], limits: Limits) -> Order:
    """What a request asks for; `model` and `top` stand in the query, or in a JSON body.

    Raises:
        Refusal: 400, 413 or 415.
    """
    kind = content_type.split(";")[0].strip().lower()
    asked: dict[str, Any] = dict(query)
    if not body:
        raise Refusal(400, f"The body is empty; expected {KINDS}.")
    if kind == "application/json":
        pictures, inside = _from_json(body)
        asked = inside | asked
    elif kind == "multipart/form-data":
        pictures = _from_multipart(content_type, body)
    elif kind in BYTES or kind.startswith("image/"):
        pictures = [("picture", body)]
    else:
        raise Refusal(415, f"The content type is {kind[:80]!r}; expected {KINDS}.")
    if not pictures:
        raise Refusal(400, "There is no picture in the body.")
    if len(pictures) > limits.queue:
        raise Refusal(413, f"There are {len(pictures):,} pictures in the body; {limits.queue} are taken at a time.")
    return Order([(name[:LONGEST_NAME], content) for name, content in pictures], _model(asked), _top(asked))


def _model(asked: dict[str, Any]) -> str | None:
    model = asked.get("model")
    if model is not None and not isinstance(model, str):
        raise Refusal(400, "`model` must be a name.")
    return model


def _top(asked: dict[str, Any]) -> int | None:
    top = asked.get("top")
    if top is None:
        return None
    if isinstance(top, str) and top.isdecimal() and len(top) < 10:
        top = int(top)
    if not isinstance(top, int) or isinstance(top, bool) or not 1 <= top < 1_000_000_000:
        raise Refusal(400, "`top` must be a whole number from 1 on.")
    return top


def _from_json(body: bytes) -> tuple[list[tuple[str, bytes]], dict[str, Any]]:
    expected = 'expected {"pictures": [{"file": NAME, "base64": TEXT}, …]}'
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise Refusal(400, f"The body is no JSON; {expected}.") from None
    entries = document.get("pictures") if isinstance(document, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise Refusal(400, f"The JSON is of another form; {expected}.")
    return [_entry(number, entry) for number, entry in enumerate(entries)], document


def _entry(number: int, entry: dict[str, Any]) -> tuple[str, bytes]:
    name, text = entry.get("file", f"picture {number}"), entry.get("base64")
    if not isinstance(name, str) or not isinstance(text, str):
        raise Refusal(400, f"Picture {number}: `file` must be a name and `base64` the picture's bytes in base64.")
    try:
        # A data URL is what a browser's FileReader gives.
        return name, base64.b64decode(text.partition(";base64,")[2] or text, validate=True)
    except (binascii.Error, ValueError):
        raise Refusal(400, f"Picture {number}: `base64` is no base64.") from None


def _from_multipart(content_type: str, body: bytes) -> list[tuple[str, bytes]]:
    """The parts that have a file name; other fields are not read, and refused if the address is their place."""
    from python_multipart.exceptions import FormParserError
    from python_multipart.multipart import parse_options_header

    boundary = parse_options_header(content_type.encode("latin-1", "replace"))[1].get(b"boundary")
    if not boundary or len(boundary) > 200:
        raise Refusal(400, "The content type names no boundary of the parts.")
    parts = _Parts()
    try:
        parts.parse(boundary, body)
    except (FormParserError, ValueError):
        raise Refusal(400, "The parts of the body are damaged.") from None
    if not parts.whole:
        raise Refusal(400, "The parts of the body break off.")
    if parts.misplaced:
        name = parts.misplaced[0]
        raise Refusal(400, f"The form has a field `{name}`, which belongs into the address: /v1/predict?{name}=…")
    return parts.files


class _Parts:
    """Collects the files of a multipart body in memory: nothing is ever written to the disk."""

    def __init__(self) -> None:
        self.files: list[tuple[str, bytes]] = []
        self.misplaced: list[str] = []
        self.whole = False
        self._field = self._value = self._disposition = b""
        self._content = bytearray()

    def parse(self, boundary: bytes, body: bytes) -> None:
        from python_multipart.multipart import MultipartParser

        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_part_data": self._data,
                "on_part_end": self._end,
                "on_header_field": self._header_field,
                "on_header_value": self._header_value,
                "on_header_end": self._header_end,
                "on_end": self._finish,
            },
        )
        parser.write(body)
        parser.finalize()

    def _begin(self) -> None:
        self._field = self._value = self._disposition = b""
        self._content = bytearray()

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._content += data[start:end]

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._field.lower() == b"content-disposition":
            self._disposition = self._value
        self._field = self._value = b""

    def _end(self) -> None:
        from python_multipart.multipart import parse_options_header

        options = parse_options_header(self._disposition)[1]
        if b"filename" in options:
            self.files.append((options[b"filename"].decode("utf-8", "replace"), bytes(self._content)))
        elif (name := options.get(b"name", b"").decode("utf-8", "replace")) in ("model", "top"):
            # Left out it would be another model's answer.
            self.misplaced.append(name)

    def _finish(self) -> None:
        self.whole = True

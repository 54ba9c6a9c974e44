"""Requests that no honest client sends; drawn, so that any number of them can be sent."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from dataclasses import dataclass

import numpy as np

HEAD = b"POST /v1/predict HTTP/1.1\r\nConnection: close\r\nHost: a\r\n"


@dataclass(frozen=True)
class Hostile:
    """What is sent, and what the sender does then.

    Attributes:
        kind: its name in a failure.
        content: what is sent.
        then: `read` waits for the answer, `shut` says that nothing more comes, `hang up` goes away, `wait` neither
            sends nor goes: the server must.
    """

    kind: str
    content: bytes
    then: str = "read"


def request(body: bytes, *headers: str, path: str = "/v1/predict", method: str = "POST") -> bytes:
    """A request that is well formed as long as its arguments are."""
    lines = [f"{method} {path} HTTP/1.1", "Host: a", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def png(width: int, height: int, rows: bytes) -> bytes:
    """A PNG file that says a size, and has these compressed rows."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def draw(generator: np.random.Generator, picture: bytes) -> Hostile:
    """One of them; `picture` is a good one."""
    kinds = [_noise, _line, _header, _length, _chunks, _half, _type, _picture, _bomb, _json, _parts, _path]
    return kinds[generator.integers(len(kinds))](generator, picture)


def _choose(generator: np.random.Generator, *choices: bytes) -> bytes:
    return choices[generator.integers(len(choices))]


def _noise(generator: np.random.Generator, picture: bytes) -> Hostile:
    return Hostile("noise", generator.bytes(int(generator.integers(1, 4000))), "shut")


def _line(generator: np.random.Generator, picture: bytes) -> Hostile:
    line = _choose(
        generator,
        b"GET\r\n\r\n",
        b"POST /v1/predict\r\n\r\n",
        b"POST /v1/predict HTTP/9.9\r\nHost: a\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(60),
        b"POST  /v1/predict  HTTP/1.1\r\nHost: a\r\n\r\n",
        b"BREW /v1/predict HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"GET /v1/predict HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"POST /v1/predict HTTP/1.1\r\nHost: a\r\nHost: b\r\nContent-Length: 1\r\n\r\nx",
        b"POST /v1/predict HTTP/1.1\r\nContent-Length: 1\r\n\r\nx",
    )
    return Hostile(f"line {line[:20]!r}", line, "shut")


def _header(generator: np.random.Generator, picture: bytes) -> Hostile:
    size = int(generator.choice([20_000, 200_000, 2_000_000]))
    header = _choose(
        generator,
        b"X: " + b"a" * size,
        b"X" * size + b": a",
        b"\r\n".join(b"X-%d: a" % number for number in range(size // 10)),
        b"no colon here",
        b"X: a\x00b",
        b" folded: twice",
        b"Content-Type: \xff\xfe" + b"\r\nX: " + b"b" * size,
    )
    return Hostile(f"header {header[:20]!r} of {size}", HEAD + header + b"\r\n\r\n")


def _length(generator: np.random.Generator, picture: bytes) -> Hostile:
    text = _choose(generator, b"-1", b"1e3", b"0x10", b"", b"99999999999999999999", b"17000000", b"5, 6", b"\xb2")
    content = b"POST /v1/predict HTTP/1.1\r\nHost: a\r\nContent-Length: " + text + b"\r\n\r\nhello"
    return Hostile(f"length {text!r}", content, "shut")


def _chunks(generator: np.random.Generator, picture: bytes) -> Hostile:
    head = b"POST /v1/predict HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = _choose(
        generator,
        b"zz\r\nhello\r\n0\r\n\r\n",
        b"-5\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhello, too long\r\n0\r\n\r\n",
        b"ffffffffffffffffffff\r\nhello",
        b"5\r\nhello\r\n0\r\n\r\n",
        b"100000\r\n" + bytes(1000),
        b"5;" + b"x" * 40_000 + b"\r\nhello\r\n0\r\n\r\n",
    )
    return Hostile(f"chunks {body[:20]!r}", head + body, "shut")


def _half(generator: np.random.Generator, picture: bytes) -> Hostile:
    whole = request(picture, "Content-Type: image/png")
    cut = int(generator.integers(1, len(whole)))
    then = str(generator.choice(["shut", "hang up", "wait"]))
    return Hostile(f"{cut} of {len(whole)} bytes, then {then}", whole[:cut], then)


def _type(generator: np.random.Generator, picture: bytes) -> Hostile:
    kind = _choose(
        generator, b"text/plain", b"video/mp4", b"a" * 3000, b"multipart/form-data", b"application/xml"
    ).decode()
    return Hostile(f"type {kind[:20]}", request(picture, f"Content-Type: {kind}"))


def _picture(generator: np.random.Generator, picture: bytes) -> Hostile:
    body = _choose(
        generator, b"", b"GIF89a", b"\xff\xd8\xff", b"RIFF\x00\x00\x00\x00WEBP", b"II*\x00", generator.bytes(5000)
    )
    if generator.random() < 0.5:
        body = picture[: int(generator.integers(8, len(picture) // 2))]
    return Hostile(f"picture {body[:12]!r} of {len(body)}", request(body, "Content-Type: image/png"))


def _bomb(generator: np.random.Generator, picture: bytes) -> Hostile:
    side = int(generator.integers(8_000, 65_000))
    rows = zlib.compress(bytes(1 << 20), 9)
    body = _choose(
        generator,
        png(side, side, rows),
        b"GIF89a"
        + struct.pack("<HHBBB", side, side, 0, 0, 0)
        + b","
        + struct.pack("<HHHHB", 0, 0, side, side, 0)
        + b"\x02\x00;",
        b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, side, side, 1, 24, 0, 0, 0, 0, 0, 0),
        b"P6 %d %d 255 " % (side, side) + bytes(100),
    )
    return Hostile(f"bomb {body[:6]!r} of {side}", request(body, "Content-Type: image/png"))


def _json(generator: np.random.Generator, picture: bytes) -> Hostile:
    good = base64.b64encode(picture).decode()
    body = _choose(
        generator,
        b"{",
        b"[" * 200_000,
        b'{"pictures": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"pictures": 5}',
        b'{"pictures": []}',
        b'{"pictures": [5]}',
        b'{"pictures": [{"base64": "****"}]}',
        b'{"pictures": [{"base64": "YWJj"}]}',
        b'{"pictures": [{"file": 5, "base64": "YWJj"}]}',
        b"9" * 100_000,
        b"\xff\xfe\x00",
        json.dumps({"pictures": [{"base64": good}], "top": int(generator.integers(-9, 1))}).encode(),
        json.dumps({"pictures": [{"base64": good}], "top": True}).encode(),
        json.dumps({"pictures": [{"base64": good}], "model": "../../etc/passwd"}).encode(),
        json.dumps({"pictures": [{"base64": good}], "model": ["small"]}).encode(),
        json.dumps({"pictures": [{"base64": good}] * 200}).encode(),
    )
    return Hostile(f"json {body[:40]!r}", request(body, "Content-Type: application/json"))


def _parts(generator: np.random.Generator, picture: bytes) -> Hostile:
    part = b'--b\r\nContent-Disposition: form-data; name="a"; filename="a.png"\r\n\r\n' + picture
    body = _choose(
        generator,
        part,
        part + b"\r\n--b",
        part.replace(b"; filename", b"; other") + b"\r\n--b--\r\n",
        b"--b--\r\n",
        b"\r\n".join([part] * 200) + b"\r\n--b--\r\n",
        b"--b\r\n" + b"X: a\r\n" * 5000 + b"\r\n\r\n--b--\r\n",
        b"--b\r\nContent-Disposition: " + b"a" * 50_000 + b"\r\n\r\n\r\n--b--\r\n",
        part.replace(picture, b"") + b"\r\n--b--\r\n",
        b"preamble only",
    )
    return Hostile(
        f"parts {body[:30]!r} of {len(body)}", request(body, "Content-Type: multipart/form-data; boundary=b")
    )


def _path(generator: np.random.Generator, picture: bytes) -> Hostile:
    path = _choose(
        generator,
        b"/../../../../etc/passwd",
        b"/%2e%2e/%2e%2e/etc/passwd",
        b"/form/form.css/../../../pyproject.toml",
        b"//etc/passwd",
        b"/etc/passwd%00.html",
        b"/v1/predict/../../etc/passwd",
        b"/serving/form/index.html",
        b"/\\..\\..\\etc\\passwd",
        b"/" + b"a" * 10_000,
    ).decode()
    return Hostile(f"path {path[:30]}", request(b"", path=path, method="GET"))

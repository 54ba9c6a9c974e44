"""The page at `/`: files that are held in memory. No path of a request ever reaches the disk."""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

FORM = Path(__file__).parent / "form"
"""A plain form: asks the server, of any of its models, and runs in every browser."""

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
    ".wasm": "application/wasm",
    ".svg": "image/svg+xml",
}
"""Suffix → content type, whatever the machine's own table says."""


@dataclass(frozen=True)
class File:
    """One file of a page."""

    content: bytes
    content_type: str


def page_of(files: Mapping[str, bytes] | None = None) -> dict[str, File]:
    """Address → file: a page's files by name at `/`, and at `/form/` the form that asks the server.

    Without a page the form stands at `/` too.
    """
    form = {path.name: path.read_bytes() for path in sorted(FORM.iterdir()) if path.is_file()}
    return addresses(form if files is None else files) | addresses(form, "/form/")


def addresses(files: Mapping[str, bytes], root: str = "/") -> dict[str, File]:
    """Address → file, of a page's files by name; `index.html` is the root itself.

    Raises:
        ValueError: if there is no `index.html`.
    """
    if "index.html" not in files:
        raise ValueError("A page needs a file index.html.")
    found = {f"{root}{name}": File(content, _content_type(name)) for name, content in files.items()}
    return found | {root: found[f"{root}index.html"]}


def _content_type(name: str) -> str:
    return TYPES.get(PurePosixPath(name).suffix.lower()) or mimetypes.guess_type(name)[0] or "application/octet-stream"

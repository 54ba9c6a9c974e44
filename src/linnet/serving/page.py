"""The page at `/`: files of one folder, read when the server starts. No path of a request ever reaches the disk."""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FORM = Path(__file__).parent / "form"
"""A plain form, for where no other page is given."""

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


def read_page(folder: Path) -> Mapping[str, File]:
    """Address → file, of all files in a folder; `index.html` is `/` too.

    Raises:
        ValueError: if the folder has no `index.html`.
        OSError: if a file may not be read.
    """
    files = {
        f"/{path.relative_to(folder).as_posix()}": File(path.read_bytes(), _content_type(path))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }
    if "/index.html" not in files:
        raise ValueError(f"'{folder}' is no page: it has no index.html.")
    return files | {"/": files["/index.html"]}


def _content_type(path: Path) -> str:
    return TYPES.get(path.suffix.lower()) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"

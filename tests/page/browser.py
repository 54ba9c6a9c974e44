"""Chromium for tests of the page: a browser, a server of a folder, a film for its camera."""

from __future__ import annotations

import functools
import http.server
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")

READY = "body[data-ready]"
"""What is there once the model is loaded."""


@contextmanager
def playwright() -> Iterator[Any]:
    """What drives browsers; skips the test where it is not installed, or there is no Chromium."""
    library = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
    if _program() is None:
        pytest.skip("there is no chromium here (Debian: chromium)")
    with library.sync_playwright() as driver:
        yield driver


@contextmanager
def browser(driver: Any, *arguments: str) -> Iterator[Any]:
    """A headless Chromium of its own."""
    found = driver.chromium.launch(executable_path=_program(), args=["--no-sandbox", "--disable-gpu", *arguments])
    try:
        yield found
    finally:
        found.close()


def _program() -> str | None:
    return next((found for name in PROGRAMS if (found := shutil.which(name))), None)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    extensions_map = http.server.SimpleHTTPRequestHandler.extensions_map | {".js": "text/javascript"}

    def log_message(self, format: str, *arguments: Any) -> None:
        """Says nothing."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a folder's files."""
    handler = functools.partial(_Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def write_film(path: Path, frames: Sequence[NDArray[np.uint8]], *, times: int = 10) -> None:
    """Frames (H, W, 3) uint8 RGB, of even sides, as a film that Chromium takes for a camera (YUV4MPEG2, 4:2:0)."""
    height, width = frames[0].shape[:2]
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{width} H{height} F30:1 Ip A1:1 C420jpeg\n".encode())
        for frame in frames:
            luma, *chroma = (np.asarray(channel) for channel in Image.fromarray(frame).convert("YCbCr").split())
            planes = b"".join([luma.tobytes(), *(plane[::2, ::2].tobytes() for plane in chroma)])
            file.write((b"FRAME\n" + planes) * times)

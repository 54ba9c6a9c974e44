"""The page's files: those of `site/`, the model, and what is made for both."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from linnet.files import write_together
from linnet.page.model import page_model

if TYPE_CHECKING:
    from linnet.checkpoint import Checkpoint

SITE = Path(__file__).parent / "site"

MODEL = "model.safetensors"
ENGINES = ("engine.wasm", "engine-relaxed.wasm")
MANIFEST = "manifest.webmanifest"
RELEASE = "release.js"
"""What this release of the page consists of; a browser that sees another one loads the page anew."""


def page_files(checkpoint: Checkpoint, title: str) -> dict[str, bytes]:
    """All files of a page for a model: name → content.

    Args:
        checkpoint: a classifier, a detector or a segmenter that takes pictures.
        title: what the page and the installed app are called.

    Raises:
        ValueError: if the page cannot run the model, or the engine is missing.
    """
    files = {path.name: path.read_bytes() for path in sorted(SITE.iterdir()) if path.is_file()}
    missing = [name for name in ENGINES if name not in files]
    if missing:
        raise ValueError(f"linnet was installed without {missing[0]}: build it with `make page` in its sources.")
    manifest = json.loads(files[MANIFEST])
    files[MANIFEST] = json.dumps({"name": title, "short_name": title, **manifest}, ensure_ascii=False).encode()
    files[MODEL] = page_model(checkpoint, title)
    files[RELEASE] = _release(files)
    return files


def _release(files: dict[str, bytes]) -> bytes:
    """A script that both the page and its service worker load."""
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        digest.update(f"{name}\n{len(content)}\n".encode() + content)
    document = {
        "digest": digest.hexdigest()[:16],
        "bytes": {name: len(files[name]) for name in (*ENGINES, MODEL)},
        # The browser fetches the service worker itself.
        "small": sorted({*files, RELEASE} - {*ENGINES, MODEL, "index.html", "service-worker.js"}),
    }
    return f"self.linnetRelease = {json.dumps(document)};\n".encode()


def check_folder(folder: Path) -> None:
    """Raises a ValueError if a folder holds something else than a page, which would be written over."""
    if folder.is_dir() and any(folder.iterdir()) and not (folder / RELEASE).is_file():
        raise ValueError(f"'{folder}' is not empty and holds no page of linnet. Name a new folder, or an older page.")


def write_page(folder: Path, files: dict[str, bytes]) -> None:
    """Writes a page's files, all or none. A browser takes the new page once its release says so: that comes last.

    Raises:
        ValueError: see `check_folder`.
        OSError: if a file cannot be written.
    """
    check_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_together({folder / name: files[name] for name in sorted(files, key=lambda name: (name == RELEASE, name))})

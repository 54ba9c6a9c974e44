"""A model's name → its file: embedded in the package, in the cache, or to be downloaded."""

from __future__ import annotations

import hashlib
import logging
import os
from dataclasses import dataclass
from pathlib import Path

from linnet.checkpoint import save_checkpoint
from linnet.files import fetch, write_atomically

logger = logging.getLogger(__name__)

DEFAULT_MODEL = "cifar10"

EMBEDDED = Path(__file__).parent / "zoo"

CORAL = "https://raw.githubusercontent.com/google-coral/test_data/104342d2d3480b3e66203073dac24f4e2dbb4c41"

LARGEST_DOWNLOAD = 1 << 30
TIMEOUT_SECONDS = 30

WITHOUT_NETWORK = "Without a network, bring the file here and run `linnet convert`."


@dataclass(frozen=True)
class Download:
    """A file of other people that linnet fetches and converts.

    `LINNET_MIRROR` replaces the address up to the file's name, for networks with a mirror.
    """

    file: str
    sha256: str
    size_bytes: int
    description: str
    source: str = CORAL
    licence: str = "Apache-2.0"

    @property
    def url(self) -> str:
        """Where the file is fetched from."""
        return f"{os.environ.get('LINNET_MIRROR', self.source).rstrip('/')}/{self.file}"


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
}
"""Name → where its weights come from. All are released files of Google's Coral project at one fixed commit."""


def cache_folder() -> Path:
    """`LINNET_CACHE`, or `linnet` in the user's cache folder."""
    if folder := os.environ.get("LINNET_CACHE"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "linnet"


def models_in(folder: Path) -> dict[str, Path]:
    """Name → file of the checkpoints in a folder."""
    return {path.stem: path for path in sorted(folder.glob("*.safetensors"))}


def find_model(model: str | os.PathLike[str]) -> Path:
    """The file of a model: the path itself, an embedded name, a cached one, or one that is downloaded now.

    Raises:
        ValueError: if nothing of that name is known; the text says what is and how to get one.
        OSError: if a download fails.
    """
    path = Path(model)
    if path.is_file():
        return path
    name = str(model)
    for folder in (EMBEDDED, cache_folder()):
        if name in (known := models_in(folder)):
            return known[name]
    if name in DOWNLOADS:
        return download(name)
    if path.is_dir():
        raise IsADirectoryError(f"'{name}' is a folder, and no model has that name; a checkpoint file was expected.")
    # Names of models have dots too, as in `…-1.0-224`; an ending of letters is a file's.
    if path.suffix[1:].isalpha() or len(path.parts) > 1:
        raise FileNotFoundError(f"There is no file '{name}'.")
    names = sorted({*models_in(EMBEDDED), *models_in(cache_folder()), *DOWNLOADS})
    raise ValueError(
        f"There is no model {name!r} on this machine. Known: {', '.join(names)}. Name one of these or a "
        "checkpoint file; `linnet convert` makes one of a TFLite file."
    )


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
    if not source.exists() or hashlib.sha256(source.read_bytes()).hexdigest() != entry.sha256:
        logger.info("Downloading %s (%.1f MB)", entry.url, entry.size_bytes / 1e6)
        content = fetch(entry.url, most=LARGEST_DOWNLOAD, without_network=WITHOUT_NETWORK, seconds=TIMEOUT_SECONDS)
        digest = hashlib.sha256(content).hexdigest()
        if digest != entry.sha256:
            raise ValueError(
                f"{entry.url} gave {len(content)} bytes with SHA-256 {digest}; expected {entry.size_bytes} with "
                f"{entry.sha256}. Nothing was kept."
            )
        write_atomically(source, content)
    target = folder / f"{name}.safetensors"
    save_checkpoint(read(source, licence=entry.licence, url=f"{entry.source}/{entry.file}").checkpoint, target)
    return target

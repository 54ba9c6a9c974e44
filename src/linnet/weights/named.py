"""Tensors under the names of a PyTorch library → checkpoint: what the formats that hold such names have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.checkpoint import Checkpoint
from linnet.weights.conversion import Conversion, contract_of, in_short
from linnet.weights.detector_layouts import DetectorLayout, recognise_detector
from linnet.weights.found import check_fetched
from linnet.weights.layouts import Layout, recognise, usual_names
from linnet.weights.matching import NotOurs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float32]

IMAGENET_CLASSES = 1000

LARGEST_FILE = 1 << 29
"""Bytes; MobileNetV2 1.4 with two moments of an optimizer and an average has 100 million."""

PUBLISHED: dict[str, dict[str, Any]] = {
    "b0353104": {"licence": "BSD-3-Clause", "crop": 0.875, "url": "torchvision MobileNet_V2_Weights.IMAGENET1K_V1"},
    "974d9307": {"licence": "Apache-2.0", "url": "mmdetection ssdlite_mobilenetv2_scratch_600e_coco"},
    "7ebf99e0": {"licence": "BSD-3-Clause", "crop": 224 / 232, "url": "torchvision MobileNet_V2_Weights.IMAGENET1K_V2"},
}
"""First digits of a published file's SHA-256, which the library has in the file's name → what it says of it."""


@dataclass
class Named:
    """What a file holds.

    Attributes:
        source: the file or folder.
        digest: SHA-256 of the file with the weights, in hexadecimal digits.
        tensors: name → real numbers.
        others: name → type of tensors of other numbers.
        options: of the architecture, that the file says itself.
        pixels: of the preprocessing, that the file says itself.
        classes: names of the outputs, that the file has; left out if there are more or fewer outputs.
        licence: that the file states.
        notes: what had to be assumed so far.
    """

    source: Path
    digest: str
    tensors: Mapping[str, Array]
    others: Mapping[str, str] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    pixels: dict[str, Any] = field(default_factory=dict)
    classes: tuple[str, ...] | None = None
    licence: str | None = None
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Gives tensors of torchvision's `features` the names that they have there."""
        if recognise_detector(self.tensors) is None:
            self.tensors = usual_names(self.tensors)


@contextmanager
def explaining(path: Path) -> Iterator[None]:
    """Within it, every refusal names the file or folder."""
    try:
        yield
    except NotOurs as problem:
        raise ValueError(f"'{path}' is not a MobileNet that linnet knows: {in_short(problem)}.") from None
    except ValueError as error:
        if str(path) in str(error):
            raise
        raise ValueError(f"'{path}' cannot be converted: {in_short(error)}") from None


def checked_content(path: Path) -> bytes:
    """The bytes of a file of weights.

    Raises:
        ValueError: if there are more than any MobileNet's file has.
        OSError: if it cannot be read, or is only a pointer of Git LFS.
    """
    size = path.stat().st_size
    if size > LARGEST_FILE:
        raise ValueError(
            f"'{path}' has {size // 10**6} MB; no file of a MobileNet has more than {LARGEST_FILE // 10**6}."
        )
    content = path.read_bytes()
    check_fetched(path, content)
    return content


@cache
def imagenet_classes() -> tuple[str, ...]:
    """The 1000 classes of ImageNet in the order of their WordNet numbers, as PyTorch's and Keras' files have them.

    The words are the lemmas of WordNet 3.0.
    """
    return tuple((Path(__file__).parent / "imagenet_classes.txt").read_text(encoding="utf-8").splitlines())


def convert_named(
    found: Named, *, labels: tuple[str, ...] | None = None, licence: str | None = None, url: str | None = None
) -> Conversion:
    """The checkpoint of tensors under the names of a known library.

    Raises:
        NotOurs: if the library or the network is not known.
        ValueError: if the labels do not fit the outputs, or a weight is no finite number.
    """
    layout, prefix = recognise_detector(found.tensors) or recognise(found.tensors)
    wrong = next((name for name in found.others if name.startswith(prefix) and not _counts(name)), None)
    if wrong is not None:
        raise NotOurs(f"'{wrong}' is of type {found.others[wrong]}; real numbers were expected")
    there = {name: each for name, each in found.tensors.items() if not _counts(name)}
    architecture: Any
    notes = found.notes
    architecture, tensors, columns = layout.read(prefix, there, found.options, notes)
    broken = next((name for name, values in tensors.items() if not np.isfinite(values).all()), None)
    if broken is not None:
        raise NotOurs(
            f"its weights are not all finite numbers, first those that are {broken}: it is damaged or diverged"
        )
    notes.append(f"These are the names of {layout.title}: {layout.silent}.")
    own = found.classes
    if own is not None and len(own) != architecture.classes:
        notes.append(
            f"It names {len(own)} classes and has {architecture.classes or 0} outputs: its names are left out."
        )
        own = None
    names = labels or own or _usual_classes(layout, architecture.classes, notes)
    architecture, tensors, names, dropped = layout.named(found.source, architecture, tensors, names, notes)
    published = PUBLISHED.get(found.digest[:8], {})
    pixels = dict(layout.pixels) | ({"crop": published["crop"]} if "crop" in published else {}) | found.pixels
    if len(pixels.get("mean", ())) > architecture.input_channels:
        del pixels["mean"], pixels["std"]
        notes.append("It takes grey pictures, for which its library has no mean: [-1, 1] is assumed.")
    if "resolution" not in found.options and "resolution" not in layout.options:
        notes.append(
            f"No state dict says the size of its pictures: {architecture.input_size[0]} pixels are assumed. "
            "`--resolution` says another."
        )
    provenance = {
        "source": url or published.get("url") or found.source.name,
        "sha256": found.digest,
        "licence": licence or found.licence or published.get("licence") or "not stated in the file",
        "weights": f"names of {layout.title}",
        "converted_by": "linnet convert",
    }
    checkpoint = Checkpoint(architecture, contract_of(architecture, **pixels), tensors, names, provenance=provenance)
    outputs = {name: name for name in architecture.graph.aliases}
    sized = "resolution" in found.options or layout.sized
    return Conversion(found.source, checkpoint, dropped, outputs, tuple(notes), sized, "state dict", columns)


def _counts(name: str) -> bool:
    """Whether a tensor only counts batches."""
    return name.endswith(("num_batches_tracked", "n_averaged"))


def _usual_classes(layout: Layout | DetectorLayout, outputs: int | None, notes: list[str]) -> tuple[str, ...] | None:
    """Names that a source's networks have where their number fits: its own, or ImageNet's."""
    if layout.classes is not None and outputs == len(layout.classes):
        if layout.taken_for:
            said = f"It finds {outputs} classes: they are taken for {layout.taken_for}."
            notes.append(f"{said} `--labels FILE` names others.")
        return layout.classes
    if outputs == IMAGENET_CLASSES and layout.of_imagenet:
        notes.append("It has 1000 outputs: they are taken for ImageNet's classes. `--labels FILE` names others.")
        return imagenet_classes()
    return None

"""What comes of other people's weights, and the class names that come with them."""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.architecture import Architecture
from linnet.architecture.network import Backbone
from linnet.checkpoint import Checkpoint, default_preprocessing
from linnet.images import Preprocessing

if TYPE_CHECKING:
    from numpy.typing import NDArray

SMALL_STEP = 0.1
"""Of a factor at the input: below it pixels are numbers up to 255, above it up to 1."""

MOST_MEAN = 1.01
"""Of pixels from 0 to 1, with what rounding adds."""

LARGEST_LABELS = 1 << 22
"""Bytes of a file of class names."""


@dataclass(frozen=True)
class Conversion:
    """What `read` made of a file.

    Attributes:
        checkpoint: the network, float32 or quantised.
        dropped: outputs left out at the front: 1 where ImageNet's background class was there.
        columns: name of each tensor whose numbers a detector's file has in another order → how many of them an anchor
            has, and which of them the file has, in its order.
        affine: by what the file multiplies its input and what it adds, one number or one a channel, if it does.
        channels_first: whether the file takes (1, C, H, W).
        outputs: name of each intermediate tensor → its number or name in the file.
        notes: what had to be assumed, in sentences.
        says_size: whether the file itself says for which size of picture it is.
        runtime: what runs the file itself, one of `linnet.weights.parity.RUNTIMES`; empty where nothing does.
    """

    source: Path
    checkpoint: Checkpoint
    dropped: int
    outputs: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    says_size: bool = True
    runtime: str = "tflite"
    columns: Mapping[str, tuple[int, tuple[int, ...]]] = field(default_factory=dict)
    affine: tuple[Any, Any] | None = None
    channels_first: bool = False


def corrected(
    conversion: Conversion,
    *,
    resolution: int | None = None,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
) -> Conversion:
    """The same with what its user knows better: the size of pictures and how they are normalised.

    A mean that no picture can have is said, wherever it comes from.

    Raises:
        ValueError: if the file says another size itself, or a value makes no sense.
    """
    checkpoint = conversion.checkpoint
    architecture, contract = checkpoint.architecture, checkpoint.preprocessing
    if resolution is not None and architecture.input_size != (resolution, resolution):
        if conversion.says_size:
            height, width = architecture.input_size
            raise ValueError(
                f"'{conversion.source}' is for pictures of {height} x {width} pixels, not of {resolution}."
            )
        architecture = architecture.with_options(resolution=resolution)
        contract = contract and replace(contract, size=(resolution, resolution))
    if (mean or std) and contract is None:
        raise ValueError(f"'{conversion.source}' takes no pictures: there is nothing to normalise.")
    if contract is not None:
        _check_pixels("mean", mean, zero=True)
        _check_pixels("std", std, zero=False)
        channels = len(contract.mean)
        contract = replace(
            contract, mean=per_channel(mean or contract.mean, channels), std=per_channel(std or contract.std, channels)
        )
    checkpoint = replace(checkpoint, architecture=architecture, preprocessing=contract)
    notes = conversion.notes
    if contract is not None and any(not 1 - MOST_MEAN <= value <= MOST_MEAN for value in contract.mean):
        listed = ", ".join(f"{value:g}" for value in contract.mean)
        notes = (
            *notes,
            f"The mean of pixels ({listed}) lies outside [0, 1], where pixels are: look whether the network was "
            "trained so, and say what is right with `--mean` and `--std`.",
        )
    return replace(conversion, checkpoint=checkpoint, notes=notes)


def _check_pixels(name: str, values: tuple[float, ...] | None, *, zero: bool) -> None:
    """Raises a ValueError if a mean or deviation that somebody gave is none of pixels in [0, 1]."""
    for value in values or ():
        if not (0 <= value <= 1) or (value == 0 and not zero):
            allowed = "in [0, 1]" if zero else "above 0 and at most 1"
            hint = f": {value:g} of 255 is {value / 255:g}" if 1 < value <= 255 else ""
            raise ValueError(f"`{name}` (={value:g}) must be {allowed}, as pixels are here{hint}.")


def fitting_labels(
    labels: tuple[str, ...] | None, architecture: Architecture, notes: list[str]
) -> tuple[str, ...] | None:
    """Labels that lie beside the model, if there are as many as outputs."""
    if labels is None or architecture.classes is None or len(labels) == architecture.classes:
        return labels
    notes.append(f"There are {len(labels)} labels beside it, for {architecture.classes} outputs: they are left out.")
    return None


def said_of_one_output(*, sigmoid: bool = False) -> str:
    """The note of a network with one output, which becomes two classes, whether or not a sigmoid is behind it."""
    how = "is a sigmoid" if sigmoid else "is taken for the logit of a class against another"
    return f"Its one output {how}: it became two classes, of which it is the second."


def as_floats(conversion: Conversion) -> Conversion:
    """The same with the numbers that its integers stand for; one in float as it is."""
    checkpoint = conversion.checkpoint
    if checkpoint.quantisation is None:
        return conversion
    weights = f"dequantised from {checkpoint.provenance.get('weights', checkpoint.quantisation.dtype)}"
    floats = replace(checkpoint.dequantised(), provenance={**checkpoint.provenance, "weights": weights})
    return replace(conversion, checkpoint=floats)


def contract_of(architecture: Architecture, **values: Any) -> Preprocessing | None:
    """The usual preprocessing of a network but for some values; one mean or deviation stands for all channels."""
    contract = default_preprocessing(architecture)
    if contract is None:
        return None
    for name in ("mean", "std"):
        if name in values:
            values[name] = per_channel(tuple(values[name]), len(contract.mean))
    return replace(contract, **values)


def pixel_range(scale: NDArray[np.float64], offset: NDArray[np.float64]) -> float:
    """The largest pixel of a file that multiplies its input by `scale` and adds `offset`: 255 or 1.

    So small a factor, or so large a mean, makes sense of numbers up to 255 only.
    """
    return 255.0 if np.abs(scale).max() < SMALL_STEP or (-offset / scale).max() > MOST_MEAN else 1.0


def normalisation_of(
    scale: NDArray[np.float64], offset: NDArray[np.float64], whole: float | None = None
) -> dict[str, tuple[float, ...]]:
    """Mean and deviation of pixels from 0 to 1, of a file that multiplies its input by `scale` and adds `offset`.

    Args:
        scale: one number a channel.
        offset: likewise.
        whole: the largest pixel that the file takes; None where only these numbers tell it.
    """
    whole = whole or pixel_range(scale, offset)
    # A file has numbers of 32 bits: seven digits.
    mean, std = (
        tuple(float(f"{value:.7g}") for value in values) for values in (0 - offset / scale / whole, 1 / scale / whole)
    )
    return {"mean": mean, "std": std}


def per_channel(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    """One value for each channel, where perhaps one is given for all."""
    return tuple(values) * channels if len(values) == 1 else tuple(values)


def without_background(
    source: Path,
    architecture: Backbone,
    tensors: dict[str, Any],
    names: tuple[str, ...] | None,
    notes: list[str],
) -> tuple[Backbone, dict[str, Any], tuple[str, ...] | None, int]:
    """Class names checked against the outputs; of ImageNet's 1001 with `background` first, that one left out.

    Raises:
        ValueError: if there are more or fewer names than outputs.
    """
    if architecture.classes is None:
        if names is not None:
            notes.append("The network has no classifier: the labels are left out.")
        return architecture, tensors, None, 0
    if names is None:
        notes.append("The file names no classes: they are numbered. `--labels FILE` names them.")
        if architecture.classes == IMAGENET_OUTPUTS:
            notes.append(
                "It has 1001 outputs. If the first is ImageNet's background, give its labels and it is left out."
            )
        return architecture, tensors, None, 0
    if len(names) != architecture.classes:
        hint = " TensorFlow's ImageNet files want `background` first." if architecture.classes == len(names) + 1 else ""
        raise ValueError(f"'{source}' has {architecture.classes} outputs, but there are {len(names)} labels.{hint}")
    if architecture.classes != IMAGENET_OUTPUTS or names[0].lower() != "background":
        return architecture, tensors, names, 0
    # One scale or zero point stands for all classes.
    shorter = {
        name: values[1:].copy()
        for name, values in tensors.items()
        if name.startswith("classifier.") and len(values) == IMAGENET_OUTPUTS
    }
    return architecture.with_options(classes=IMAGENET_OUTPUTS - 1), tensors | shorter, names[1:], 1


IMAGENET_OUTPUTS = 1001
"""ImageNet's classes as TensorFlow counts them: a background class first."""


def in_short(problem: object) -> str:
    """What went wrong, on one line and not endless: foreign names and numbers may be anything."""
    text = " ".join((str(problem) or type(problem).__name__).split())
    # Marks that end or turn a terminal's lines are no text.
    text = "".join(letter if letter.isprintable() else "?" for letter in text[: LONGEST_REASON + 1])
    return text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]} …"


LONGEST_REASON = 600
"""Characters."""


def read_labels(content: bytes) -> tuple[str, ...]:
    """Class names, one a line; empty lines at the end do not count."""
    return _lines(_decoded(content, errors="replace"))


def numbered_labels(content: bytes) -> tuple[str, ...]:
    """Class names of Teachable Machine's `labels.txt`, whose lines are `0 Class 1`; of others, the lines."""
    return _without_numbers(read_labels(content))


def labels_of(path: Path) -> tuple[str, ...]:
    """The class names in a text file: one a line, perhaps with their numbers before them as Teachable Machine has them.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is too large, or no text in UTF-8, or in UTF-16 with its mark.
    """
    return _without_numbers(_lines_of(path))


def labels_beside(path: Path, *, numbered: bool = False) -> tuple[str, ...] | None:
    """The class names in a `labels.txt` beside a file of weights, as Teachable Machine exports them; None without one.

    Args:
        path: of the weights.
        numbered: whether only names with their numbers before them are taken, as Teachable Machine writes them.
    """
    beside = path.with_name("labels.txt")
    try:
        lines = _lines_of(beside) if beside.is_file() else None
    except (OSError, ValueError):
        lines = None
    if lines is None:
        return None
    names = _without_numbers(lines)
    return None if numbered and names == lines else names


def _lines_of(path: Path) -> tuple[str, ...]:
    with path.open("rb") as file:
        content = file.read(LARGEST_LABELS + 1)
    if len(content) > LARGEST_LABELS:
        raise ValueError(f"'{path}' has more than {LARGEST_LABELS} bytes; class names, one a line, were expected.")
    try:
        text = _decoded(content)
    except UnicodeDecodeError as error:
        line = 1 + content.count(b"\n", 0, error.start)
        where = f"line {line} has the byte 0x{content[error.start]:02x}"
        raise ValueError(f"'{path}' is no text in UTF-8 ({where}). Save it as UTF-8, one class a line.") from None
    if "\0" in text:
        raise ValueError(f"'{path}' is no text in UTF-8 (it holds zero bytes). Save it as UTF-8, one class a line.")
    return _lines(text)


def _decoded(content: bytes, errors: str = "strict") -> str:
    """Text in UTF-8, or in UTF-16 as its mark says."""
    marked = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16" if marked else "utf-8-sig", errors)


def _lines(text: str) -> tuple[str, ...]:
    lines = text.splitlines()
    while lines and not lines[-1].strip():
        lines.pop()
    return tuple(line.strip() for line in lines)


def _without_numbers(lines: tuple[str, ...]) -> tuple[str, ...]:
    """Lines without the numbers before them, where these count from 0; else the lines."""
    parts = [re.fullmatch(r"([0-9]{1,6})[ \t]+(\S.*)", line) for line in lines]
    if all(part is not None and int(part[1]) == number for number, part in enumerate(parts)):
        return tuple(part[2] for part in parts if part is not None)
    return lines

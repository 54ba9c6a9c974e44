"""Other people's weight files → linnet's checkpoint: one door, `read`, which looks at what is inside.

One module a format, which names what it cannot read; it joins with one line in `FORMATS`. It has one or both of

- `why_not(start)`: of the first bytes of a file, None if they are its own, else what the file is not;
- `why_not_members(names)`: the same of the names of all files in a folder or a zip archive, with `/` between parts;

and `convert(source, *, labels, licence, url)`, which gives a `Conversion`. A format that is a graph becomes a `Chain`
(`linnet.weights.chain`); one that has tensors under names, `Layer`s by linnet's names (`linnet.weights.matching`).
Neither goes by the order of anything in a file.

The way back is `write`: a module of `TARGETS` has `write(checkpoint, path, *, target)`, which writes the file and gives
the Python expression that makes the network that loads it.
"""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from linnet.checkpoint import Checkpoint
    from linnet.weights.conversion import Conversion

FORMATS = ("tflite", "safe_tensors", "pytorch", "keras", "tfjs", "hugging_face", "onnx", "tensorflow")
"""Modules of this folder, in the order in which they are asked."""


TARGETS = {"torchvision": "to_pytorch", "timm": "to_pytorch", "keras": "keras_writer"}
"""Whose files can be written → the module that writes them."""


def write(checkpoint: Checkpoint, path: str | Path, *, target: str) -> str:
    """Writes a checkpoint as a file of other people, and gives the Python expression of the network that loads it.

    Of a quantised one the numbers that its integers stand for are written.

    Args:
        checkpoint: what to write.
        path: the file; its ending says the format.
        target: a key of `TARGETS`.

    Raises:
        ValueError: if the target is unknown or has no such network; the text says what differs.
        OSError: if the file cannot be written.
    """
    if target not in TARGETS:
        raise ValueError(f"`target` (={target!r}) must be {' or '.join(map(repr, TARGETS))}.")
    checkpoint = checkpoint.dequantised("the file")
    expression: str = import_module(f"linnet.weights.{TARGETS[target]}").write(checkpoint, Path(path), target=target)
    return expression


def read(
    source: str | Path,
    *,
    labels: tuple[str, ...] | None = None,
    licence: str | None = None,
    url: str | None = None,
    resolution: int | None = None,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    floats: bool = False,
) -> Conversion:
    """Reads a file or a folder of weights, in whichever known format it is; its name does not matter.

    Args:
        source: the file or folder.
        labels: class names, one an output of the file; the file's own if this is not given.
        licence: for the provenance; what the file says of itself comes second.
        url: where the file was published, for the provenance.
        resolution: side of the pictures in pixels, of files that do not say it.
        mean: of the pixels, in [0, 1], one a channel or one for all; instead of the file's or its source's.
        std: what each channel is divided by afterwards, likewise.
        floats: the numbers that integers stand for, instead of the integers.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if no format is recognised, the file is damaged, or it is no MobileNet; the text says what it is
            instead.
    """
    from linnet.weights.conversion import as_floats, corrected
    from linnet.weights.found import look

    found = look(source)
    if found.of_another_library:
        raise ValueError(f"'{found.path}' {found.guess()}.")
    for name in FORMATS:
        module = import_module(f"linnet.weights.{name}")
        ask, seen = ("why_not", found.start) if found.members is None else ("why_not_members", found.members)
        if hasattr(module, ask) and getattr(module, ask)(seen) is None:
            conversion: Conversion = module.convert(found.path, labels=labels, licence=licence, url=url)
            conversion = corrected(conversion, resolution=resolution, mean=mean, std=std)
            return as_floats(conversion) if floats else conversion
    inner = found.only_model(_is_known)
    if inner is None:
        raise ValueError(f"'{found.path}' {found.guess()}.")
    conversion = read(
        inner, labels=labels, licence=licence, url=url, resolution=resolution, mean=mean, std=std, floats=floats
    )
    note = f"The folder holds one model: '{inner.relative_to(found.path)}'."
    return replace(conversion, notes=(note, *conversion.notes))


def _is_known(start: bytes) -> bool:
    """Whether a file begins as one of a format that is read."""
    modules = (import_module(f"linnet.weights.{name}") for name in FORMATS)
    return any(module.why_not(start) is None for module in modules if hasattr(module, "why_not"))

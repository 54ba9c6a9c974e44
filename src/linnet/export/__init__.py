"""The network for other runtimes, checked numerically before it is written: one door, `export`.

The formats are a table, `linnet.export.formats`.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from linnet.export.formats import Format, either, find_format, holding

if TYPE_CHECKING:
    from linnet.checkpoint import Checkpoint
    from linnet.export.written import Export, Precision


def export(
    checkpoint: Checkpoint,
    path: str | Path,
    *,
    format: str | None = None,
    precision: Precision | None = None,
    strict: bool = False,
    **options: Any,
) -> Export:
    """Writes a network in another format, if what runs there agrees with the numpy reference.

    Args:
        checkpoint: what to export.
        path: file to write, or the folder of a format that has several files.
        format: a name of `linnet.export.formats`; the one that the file's ending says, if not given.
        precision: `float32`, `float16` for weights of half the size, or `int8` for the integers of a quantised network;
            as the network is, if not given and the format has it.
        strict: refuse to write what cannot be run here because its runtime is missing.
        options: of the format; those that are None or False count as not given.
            `inputs`: `normalised` takes values as the contract normalises them; `pixels` takes (N, H, W, 3) uint8 RGB
            and normalises inside; `integers` takes those of a quantised network.
            `raw`: a detector's TFLite file gives offsets and logits instead of boxes and scores; a segmenter's file
            gives the logits of every pixel instead of the best class.
            `nms`: a detector's ONNX file gives boxes and scores instead of offsets and logits.
            `signed_weights`: an ONNX file of int8 has weights of int8 instead of uint8 (`export_onnx` says why not).
            `fixed_point`: a C file multiplies sums by integers instead of floats.
            `ram`: the bytes of memory that a C file may need.

    Raises:
        ValueError: if the format is unknown or cannot hold the network, what writes it is not installed, an option does
            not suit, or the file computes something else: then nothing is written.
        OSError: if the file cannot be written.
    """
    path = Path(path)
    found = find_format(path, format)
    if checkpoint.task not in found.tasks:
        raise ValueError(
            f"A network for {checkpoint.task} cannot be written as {found.name}. It can be as "
            f"{holding(checkpoint.task)}."
        )
    precision = _precision(found, checkpoint, precision)
    given = {name: value for name, value in options.items() if value is not None and value is not False}
    _check_options(found, checkpoint, given)
    for module, package in found.needs.items():
        if find_spec(module) is None:
            raise ValueError(f"Exporting needs {module}: pip install {package}.")
    if strict and not found.runtime.is_here():
        raise ValueError(
            f"'{path}' was not written: it could not be run here without {found.runtime.name}, which is not installed "
            f"({found.runtime.install})."
        )
    if precision != "int8":
        checkpoint = checkpoint.dequantised(f"the {found.name} file")
    write = getattr(import_module(found.module), found.function)
    written: Export = write(checkpoint, path, precision=precision, **given)
    return written


def _precision(found: Format, checkpoint: Checkpoint, asked: Precision | None) -> Precision:
    """The precision of the file."""
    if asked is not None and asked not in found.precisions:
        raise ValueError(f"`precision` (={asked!r}) must be {either(map(repr, found.precisions))} in {found.name}.")
    quantised = checkpoint.quantisation is not None
    usual: Precision = "int8" if quantised and "int8" in found.precisions else found.precisions[0]
    precision = asked or ("float32" if not quantised and "float32" in found.precisions else usual)
    if precision == "int8" and not quantised:
        raise ValueError(
            "The network has no integers, and int8 is written of a quantised one: quantize it first, with "
            "`linnet quantize`."
        )
    return precision


def _check_options(found: Format, checkpoint: Checkpoint, given: dict[str, Any]) -> None:
    """Raises a ValueError for an option that the format or the network does not have."""
    known = (*(("inputs",) if found.inputs else ()), *found.options)
    for name in given:
        if name not in known:
            has = f"has {either(f'`{each}`' for each in known)}" if known else "has no options"
            raise ValueError(f"`{name}` is no option of {found.name}, which {has}.")
    inputs = given.get("inputs")
    if inputs is None:
        return
    if inputs not in found.inputs:
        raise ValueError(f"`inputs` (={inputs!r}) must be {either(map(repr, found.inputs))} in {found.name}.")
    if checkpoint.preprocessing is None and inputs == "pixels":
        raise ValueError(f"A network of {checkpoint.architecture.input_channels} channels takes no pictures.")

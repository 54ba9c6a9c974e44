"""Converts weights from elsewhere to a linnet checkpoint, and compares the outputs of the two.

SOURCE is a TFLite file of a MobileNetV1 or V2, a classifier or a feature extractor, in float or quantised.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

from linnet.architecture import options_of
from linnet.architecture.cost import cost
from linnet.checkpoint import save_checkpoint
from linnet.cli.terminal import UsageError, parse, print_json, show
from linnet.images import find_pictures


@dataclass(frozen=True)
class Options:
    """Options of `linnet convert`."""

    source: tyro.conf.Positional[Path]
    """The file to convert (.tflite)."""
    out: Path
    """The checkpoint to write (.safetensors)."""
    labels: Path | None = None
    """A text file with the names of the classes, one a line, in the order of the outputs. The default is the labels
    that are packed into the file."""
    pictures: tuple[str, ...] = ()
    """Pictures on which the outputs are compared: files, folders or patterns. The file itself is run by ai-edge-litert,
    which must be installed."""
    licence: str | None = None
    """The licence of the weights, which is kept in the checkpoint. The default is what the file says."""
    json: bool = False
    """Print one JSON document instead of text."""


def main(arguments: list[str]) -> int:
    """Runs the command."""
    options = parse(Options, "convert", __doc__, arguments)
    source = options.source
    if source.is_dir():
        raise IsADirectoryError(f"'{source}' is a folder; a file of weights was expected.")
    if not source.exists():
        raise FileNotFoundError(f"There is no file '{source}'.")
    if options.out.exists() and options.out.samefile(source):
        raise UsageError(f"--out '{options.out}' is the source itself. Name another file.")
    from linnet.weights import read
    from linnet.weights.conversion import read_labels
    from linnet.weights.parity import compare, why_not

    labels = None if options.labels is None else read_labels(options.labels.read_bytes())
    conversion = read(source, labels=labels, licence=options.licence)
    save_checkpoint(conversion.checkpoint, options.out)
    parity = None
    notes = list(conversion.notes)
    if options.pictures:
        pictures = find_pictures(list(options.pictures))
        reason = why_not(conversion)
        if reason is None:
            parity = compare(conversion, pictures)
        else:
            notes.append(reason)
    architecture = conversion.checkpoint.architecture
    parameters = cost(architecture).parameters
    for note in notes:
        print(f"linnet: {note}", file=sys.stderr)
    if options.json:
        print_json(
            {
                "file": str(options.out),
                "architecture": options_of(architecture),
                "parameters": parameters,
                "tensors": len(architecture.tensors),
                "notes": notes,
                "parity": None
                if parity is None
                else {
                    "pictures": parity.pictures,
                    "same_class": parity.same_class,
                    "correlations": parity.correlations,
                },
            }
        )
        return 0
    family = type(architecture).__name__
    outputs = "pooled features" if architecture.classes is None else f"{architecture.classes} classes"
    show(
        f"{source.name}: {family} {architecture.width:g} at {' x '.join(map(str, architecture.input_size))}, {outputs}"
        + (", background left out" if conversion.dropped else ""),
        f"shapes: all {len(architecture.tensors)} tensors of {len(architecture.convolutions)} convolutions fit, "
        f"{parameters:,} parameters (batch norm folded)",
        f"parity: {parity}" if parity else "parity: not measured (--pictures compares with the file's own graph)",
        f"written: {options.out}",
    )
    return 0

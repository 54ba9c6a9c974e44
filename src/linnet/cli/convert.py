"""Converts weights from elsewhere to a linnet checkpoint, compares the outputs of the two, and writes them back.

SOURCE is a file or folder of a MobileNetV1 or V2, a classifier, a feature extractor, or a detector or segmenter on one:
TFLite, ONNX, a PyTorch state dict, safetensors, a Hugging Face folder, Keras, TensorFlow.js, a SavedModel or a frozen
graph of TensorFlow. What is inside decides, not the name. With --to it is a linnet checkpoint.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from linnet.architecture import options_of
from linnet.architecture.cost import cost
from linnet.checkpoint import Checkpoint, save_checkpoint
from linnet.cli.terminal import UsageError, parse, print_json, show
from linnet.images import find_pictures
from linnet.kinds import OTHERS, kind_of_name
from linnet.weights.candidates import in_words

READING = ("resolution", "mean", "std", "labels", "pictures", "licence")
"""Options that say something of files that are read, and nothing of those that are written."""


@dataclass(frozen=True)
class Options:
    """Options of `linnet convert`."""

    source: tyro.conf.Positional[Path]
    """The file or folder to convert."""
    out: Path
    """The file to write: a checkpoint (.safetensors), or with --to .pth or .safetensors; for Keras .h5 or .keras."""
    to: Literal["torchvision", "timm", "keras"] | None = None
    """The library whose names are written: its own class loads the file, and gives the same outputs."""
    resolution: int | None = None
    """The side of the pictures in pixels. State dicts do not say it; the default is 224."""
    mean: tuple[float, ...] = ()
    """The mean of the pixels, in [0, 1], one a channel or one for all, where the source's usual one is wrong."""
    std: tuple[float, ...] = ()
    """What each channel is divided by after its mean is subtracted."""
    labels: Path | None = None
    """A text file (UTF-8) with the names of the classes, one a line, in the order of the outputs, perhaps with their
    numbers before them as Teachable Machine has them. The default is the labels that are packed into the file, or those
    of Teachable Machine's `labels.txt` beside it."""
    pictures: tuple[str, ...] = ()
    """Pictures on which the outputs are compared: files, folders or patterns. The file itself is run by its own
    runtime, which must be installed (ai-edge-litert for TFLite, onnxruntime for ONNX), or as its layers are defined
    (Keras, TensorFlow.js, state dicts)."""
    licence: str | None = None
    """The licence of the weights, which is kept in the checkpoint. The default is what the file says."""
    floats: Annotated[bool, tyro.conf.arg(name="float")] = False
    """Dequantise an integer file: the checkpoint then holds the numbers that its integers stand for."""
    json: bool = False
    """Print one JSON document instead of text."""


def main(arguments: list[str]) -> int:
    """Runs the command."""
    options = parse(Options, "convert", __doc__, arguments)
    source = options.source
    if options.out.exists() and source.exists() and options.out.samefile(source):
        raise UsageError(f"--out '{options.out}' is the source itself. Name another file.")
    if options.to is not None:
        for name in READING:
            if getattr(options, name) not in (None, ()):
                raise UsageError(
                    f"--{name} goes with reading other people's files; with --to the source is a linnet checkpoint, "
                    "which is written as it is. Leave one of the two away."
                )
        return _back(options, options.to)
    kind = kind_of_name(options.out)
    if (kind is not None and ".safetensors" not in kind.endings) or options.out.suffix.lower() in OTHERS:
        raise UsageError(
            f"--out '{options.out}' has the ending of another format, and a linnet checkpoint is written: name it "
            ".safetensors, or say with --to whose file it shall be."
        )
    from linnet.weights import read
    from linnet.weights.conversion import labels_of
    from linnet.weights.parity import compare, why_not

    labels = None if options.labels is None else labels_of(options.labels)
    conversion = read(
        source,
        labels=labels,
        licence=options.licence,
        resolution=options.resolution,
        mean=options.mean or None,
        std=options.std or None,
        floats=options.floats,
    )
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
                    "equal": parity.equal,
                },
            }
        )
        return 0
    outputs = "pooled features"
    if architecture.classes is not None:
        outputs = f"{architecture.classes} class{'es' * (architecture.classes != 1)}"
    show(
        f"{source.name}: {in_words(architecture)}, {outputs}" + (", background left out" if conversion.dropped else ""),
        f"shapes: all {len(architecture.tensors)} tensors of {len(architecture.convolutions)} convolutions fit, "
        f"{parameters:,} parameters ({_numbers(conversion.checkpoint)})",
        f"parity: {parity}" if parity else "parity: not measured (--pictures compares with the file's own graph)",
        f"written: {options.out}",
    )
    return 0


def _numbers(checkpoint: Checkpoint) -> str:
    """What the weights are: batch norm folded or kept, and of a quantised network their type."""
    norm = f"batch norm {'folded' if checkpoint.architecture.folded else 'kept'}"
    return norm if checkpoint.quantisation is None else f"{checkpoint.quantisation.dtype}, {norm}"


def _back(options: Options, target: str) -> int:
    """Writes a checkpoint of ours as a file of other people, and reads it again."""
    from linnet.checkpoint import load_checkpoint
    from linnet.weights import write

    checkpoint = load_checkpoint(options.source)
    expression = write(checkpoint, options.out, target=target)
    if options.json:
        print_json({"file": str(options.out), "target": target, "network": expression})
    else:
        show(f"{options.source.name}: written with the names of {target}.", f"loaded by: {expression}")
        show(f"written: {options.out}")
    return 0

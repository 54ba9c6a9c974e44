"""Exports a model for other runtimes: as ONNX or TFLite, with standard operators only, or as a page for browsers.

Before a file is kept, its own runtime runs it, if it is installed, and the outputs are compared with linnet's own: a
file that computes something else is not written. ONNX needs onnx and onnxruntime (pip install 'linnet[train]'); TFLite
is run where ai-edge-litert is installed.

`linnet export MODEL DIR --format page` writes a folder that any web server can give out: a page that looks at pictures
and through the camera, on the device of whoever opens it. It is checked with Node.js where that is installed.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro

from linnet.catalogue import find_model
from linnet.checkpoint import load_checkpoint
from linnet.cli.terminal import parse, print_json, show, size
from linnet.export import export
from linnet.export.formats import FORMATS, Format, find_format
from linnet.export.written import PICTURES, Export

OPTIONS = ("inputs", *dict.fromkeys(name for each in FORMATS for name in each.options))
"""Of the formats: each is a field of `Options` too."""


@dataclass(frozen=True)
class Options:
    """Options of `linnet export`."""

    model: tyro.conf.Positional[str]
    """The model: a checkpoint file, or a name that `linnet models` lists."""
    file: tyro.conf.Positional[Path]
    """The file to write, or a page's folder. Its ending names the format (.onnx or .tflite), unless --format does."""
    format: str | None = None
    """The format to write: `onnx`, `tflite` or `page`. The default is what the ending of the file says."""
    inputs: Literal["normalised", "pixels", "integers"] | None = None
    """The input of the exported network: `normalised` values in float32, (N, C, H, W) of ONNX and (1, H, W, C) of
    TFLite; `pixels`, (N, H, W, 3) uint8 RGB, which the network then normalises itself; or, of TFLite, the `integers`
    of a quantised network, at both ends. By default `integers` of a quantised TFLite file, else `normalised`."""
    precision: Literal["float32", "float16", "int8"] | None = None
    """The numbers of the exported network: `float32`, `float16` for weights of half the size (TFLite), or `int8` for
    the integers of a model that `linnet quantize` made. By default they are as the model has them."""
    raw: bool = False
    """A detector's TFLite file gives the offsets and logits of all anchors, as ONNX always does. By default it ends
    with TFLite_Detection_PostProcess and gives boxes, classes, scores and their number. A segmenter's file gives the
    logits of every pixel. By default it gives the best class of each."""
    title: str | None = None
    """What a page, and the app that a phone makes of it, is called. The default is the name of the folder."""
    strict: bool = False
    """Write nothing that cannot be run here. By default what has no runtime on this machine is written all the same,
    and it is said that it was not run."""
    json: bool = False
    """Print one JSON document instead of text."""


def main(arguments: list[str]) -> int:
    """Runs the command."""
    options = parse(Options, "export", __doc__, arguments)
    checkpoint = load_checkpoint(find_model(options.model))
    found = find_format(options.file, options.format)
    given = {name: getattr(options, name) for name in OPTIONS}
    result = export(
        checkpoint,
        options.file,
        format=found.name,
        precision=options.precision,
        strict=options.strict,
        **given,
    )
    if result.difference is None:
        runtime = found.runtime
        print(
            f"linnet: {runtime.name} is not installed: the file was not run ({runtime.install}).",
            file=sys.stderr,
        )
    if options.json:
        print_json(_document(result, found))
        return 0
    if result.difference is None:
        checked = "not run"
    elif result.equal:
        checked = "equal to the numpy reference to the bit"
    else:
        checked = f"differs from the numpy reference by {result.difference:.1e} (relative)"
    operators = f", operators {', '.join(result.operators)}" if result.operators else ""
    show(f"written: {result.path} ({size(result.size_bytes)}){operators}", f"checked: {checked}")
    return 0


def _document(result: Export, found: Format) -> dict[str, Any]:
    compared = {"pictures": PICTURES, "largest_difference": result.difference, "equal": result.equal}
    return {
        "file": str(result.path),
        "format": found.name,
        "precision": result.precision,
        "bytes": result.size_bytes,
        "operators": list(result.operators),
        "difference": result.difference,
        "compared": None if result.difference is None else compared,
        **result.more,
    }

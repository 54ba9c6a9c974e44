"""Exports a model to ONNX or TFLite, with standard operators only, for other runtimes.

Before the file is written, it is run and its outputs are compared with linnet's own. ONNX needs onnx and onnxruntime
(pip install 'linnet[train]'); TFLite is run where ai-edge-litert is installed.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from linnet.catalogue import find_model
from linnet.checkpoint import load_checkpoint
from linnet.cli.terminal import parse, print_json, show, size
from linnet.export import export
from linnet.export.written import PICTURES


@dataclass(frozen=True)
class Options:
    """Options of `linnet export`."""

    model: tyro.conf.Positional[str]
    """The model: a checkpoint file, or a name that `linnet models` lists."""
    file: tyro.conf.Positional[Path]
    """The file to write. Its ending names the format (.onnx or .tflite)."""
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
    json: bool = False
    """Print one JSON document instead of text."""


def main(arguments: list[str]) -> int:
    """Runs the command."""
    options = parse(Options, "export", __doc__, arguments)
    result = export(
        load_checkpoint(find_model(options.model)),
        options.file,
        inputs=options.inputs,
        precision=options.precision,
        raw=options.raw,
    )
    if result.difference is None:
        print(
            f"linnet: {result.runtime} is not installed: the file was not run (pip install {result.runtime}).",
            file=sys.stderr,
        )
    if options.json:
        compared = {"pictures": PICTURES, "largest_difference": result.difference, "equal": result.equal}
        print_json(
            {
                "file": str(result.path),
                "format": result.format,
                "precision": result.precision,
                "bytes": result.size_bytes,
                "operators": list(result.operators),
                "difference": result.difference,
                "compared": None if result.difference is None else compared,
            }
        )
        return 0
    if result.difference is None:
        checked = "not run"
    elif result.equal:
        checked = "equal to the numpy reference to the bit"
    else:
        checked = f"differs from the numpy reference by {result.difference:.1e} (relative)"
    show(
        f"written: {result.path} ({size(result.size_bytes)}), operators {', '.join(result.operators)}",
        f"checked: {checked}",
    )
    return 0

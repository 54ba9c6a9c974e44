"""Exports a model to ONNX, with standard operators only, for other runtimes.

Before the file is written, it is run and its outputs are compared with linnet's own. This needs onnx and onnxruntime:
pip install 'linnet[train]'.
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


@dataclass(frozen=True)
class Options:
    """Options of `linnet export`."""

    model: tyro.conf.Positional[str]
    """The model: a checkpoint file, or a name that `linnet models` lists."""
    file: tyro.conf.Positional[Path]
    """The file to write. Its ending names the format (.onnx)."""
    inputs: Literal["normalised", "pixels"] = "normalised"
    """The input of the exported network: `normalised` values (N, C, H, W) float32, or `pixels` (N, H, W, 3) uint8 RGB,
    which the network then normalises itself."""
    precision: Literal["float32", "int8"] | None = None
    """The numbers of the exported network: `float32`, or `int8` for a model that `linnet quantize` made, whose integers
    then stand between QuantizeLinear and DequantizeLinear. By default they are as the model has them."""
    json: bool = False
    """Print one JSON document instead of text."""


def main(arguments: list[str]) -> int:
    """Runs the command."""
    options = parse(Options, "export", __doc__, arguments)
    result = export(
        load_checkpoint(find_model(options.model)), options.file, inputs=options.inputs, precision=options.precision
    )
    if result.difference is None:
        print(
            "linnet: onnxruntime is not installed: the file was not run (pip install 'linnet[train]').", file=sys.stderr
        )
    if options.json:
        print_json(
            {
                "file": str(result.path),
                "bytes": result.size_bytes,
                "operators": list(result.operators),
                "difference": result.difference,
            }
        )
        return 0
    checked = (
        "not run"
        if result.difference is None
        else f"differs from the numpy reference by {result.difference:.1e} (relative)"
    )
    show(
        f"written: {result.path} ({size(result.size_bytes)}), operators {', '.join(result.operators)}",
        f"checked: {checked}",
    )
    return 0

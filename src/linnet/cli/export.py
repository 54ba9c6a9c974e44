"""Exports a model for other runtimes: ONNX and TFLite, of standard operators only, ExecuTorch, ncnn, C, a page.

Before a file is kept, its own runtime runs it, if it is installed, and the outputs are compared with linnet's own: a
file that computes something else is not written. ONNX needs onnx and onnxruntime (pip install 'linnet[train]'); TFLite
is run where ai-edge-litert is installed; ncnn needs ncnn and pnnx, .pte needs executorch. The folder for programs in C
(--format engine) has the layers and weights for linnet's own engine, and gives logits, boxes or label maps. A quantised
model becomes one C file and a header for microcontrollers, without a library; the C compiler of this machine compiles
them and they are run. The folder that --format page writes is a page for any web server, which looks at pictures and
through the camera on the device of whoever opens it; it is run with Node.js. All that is written carries three pictures
and their outputs, which `linnet verify` runs again.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import tyro

from linnet.catalogue import find_model
from linnet.checkpoint import Checkpoint, load_checkpoint
from linnet.cli.terminal import UsageError, check_least, parse, print_json, progress, show, size, table
from linnet.evaluation.figures import spell
from linnet.export import export
from linnet.export.formats import FORMATS, Format, either, find_format
from linnet.export.written import Export
from linnet.files import replacing
from linnet.quantisation.post_training.gate import Verdict
from linnet.quantisation.post_training.measuring import Measured
from linnet.quantisation.post_training.pictures import Choice, pictures_to_measure
from linnet.quantisation.post_training.shipped import document_of, measure_shipped
from linnet.quantisation.post_training.trial import Reporter

MEASURED = [each.name for each in FORMATS if each.measured]

OPTIONS = ("inputs", *dict.fromkeys(name for each in FORMATS for name in each.options))
"""Of the formats: each is a field of `Options` too."""


@dataclass(frozen=True)
class Options:
    """Options of `linnet export`."""

    model: tyro.conf.Positional[str]
    """The model: a checkpoint file, or a name that `linnet models` lists."""
    file: tyro.conf.Positional[Path]
    """The file or folder to write. The ending of a file names the format (.onnx, .tflite, .pte or .c), unless --format
    does."""
    format: str | None = None
    """The format to write: `onnx`, `tflite`, `pte`, `c`, or of folders `engine`, `ncnn` or `page`. The default is what
    the ending of the file says."""
    inputs: Literal["normalised", "pixels", "integers"] | None = None
    """The input of the exported network: `normalised` values in float32, (N, C, H, W) of ONNX and (1, H, W, C) of
    TFLite; `pixels`, (N, H, W, 3) uint8 RGB, which the network then normalises itself; or, of TFLite, the `integers`
    of a quantised network, at both ends. By default `integers` of a quantised TFLite file, else `normalised`."""
    precision: Literal["float32", "float16", "int8"] | None = None
    """The numbers of the exported network: `float32`, `float16` for weights of half the size (TFLite), or `int8` for
    the integers of a model that `linnet quantize` made. By default they are as the model has them."""
    raw: bool = False
    """A detector's TFLite file gives the offsets and logits of all anchors, as ONNX does without --nms. By default it
    ends with TFLite_Detection_PostProcess and gives boxes, classes, scores and their number. A segmenter's file gives
    the logits of every pixel. By default it gives the best class of each."""
    nms: bool = False
    """A detector's ONNX file ends with NonMaxSuppression and gives boxes, classes, scores and their number, of one
    picture at a time."""
    signed_weights: bool = False
    """The weights of an ONNX file in eight bits are int8. By default they are uint8, with which every processor
    computes the same. With int8 onnxruntime and OpenVINO are faster on processors that have VNNI, as Intel's servers
    since 2019 and AMD's processors since 2022 do, and give wrong answers on other x86 processors without a word."""
    data: Path | None = None
    """A data set of the model's classes, or a folder of pictures without labels. The file is measured on it in its own
    runtime, beside the model in linnet's, and not written if more is lost than --most-drop. For .onnx and .tflite."""
    most_drop: float | None = None
    """What the file may lose of top-1, AP or mIoU against the model, a fraction of 1. The default is 0.01. Without
    labels it is the share of pictures on which the best answer may be another, by default 0.05. For --data."""
    fixed_point: bool = False
    """A C file multiplies sums by integers instead of floats, for processors without a unit for these. Its results are
    then those of TensorFlow Lite's reference kernels."""
    ram: int | None = None
    """The bytes of memory for a C file's activations. A network that needs more is refused, with the fewest bytes that
    it can run in."""
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
    if options.most_drop is not None and not 0 <= options.most_drop <= 1:
        raise UsageError(f"--most-drop (={options.most_drop:g}) must be a fraction of 1; 0.01 is one point.")
    if options.most_drop is not None and options.data is None:
        raise UsageError("--most-drop is for a file that is measured, and nothing is without --data. Name a data set.")
    check_least("--ram", options.ram, 1)
    found = find_format(options.file, options.format)
    if options.data is not None and not found.measured:
        raise UsageError(f"--data: linnet cannot run {found.name} on pictures; it can run {either(MEASURED)}.")
    model = find_model(options.model)
    if options.file.exists() and options.file.samefile(model):
        raise UsageError(f"'{options.file}' is the model itself. Name another file.")
    checkpoint = load_checkpoint(model)
    if options.data is None:
        return _report(_export(checkpoint, options.file, found, options), found, options, None)
    if not found.runtime.is_here():
        raise ValueError(f"--data: {found.runtime.name} is not installed ({found.runtime.install}).")
    choice = pictures_to_measure(options.data, checkpoint)
    for note in choice.notes:
        _say(note)
    with replacing(options.file) as temporary:
        try:
            result = _export(checkpoint, temporary, found, options)
        except ValueError as error:
            raise ValueError(str(error).replace(str(temporary), str(options.file))) from None
        measured, verdict = measure_shipped(
            checkpoint, temporary, choice, Reporter(_say, progress), most_drop=options.most_drop
        )
        for file, message in measured.failed:
            _say(message if file in message else f"'{file}': {message}")
        if not verdict.passed:
            raise ValueError(f"'{options.file}' is not written: {verdict.sentence} (--most-drop).")
    result = replace(result, path=options.file)
    return _report(result, found, options, (measured, verdict, choice))


Shipping = tuple[Measured, Verdict, Choice]
"""What a file came to on pictures."""


def _export(checkpoint: Checkpoint, path: Path, found: Format, options: Options) -> Export:
    given = {name: getattr(options, name) for name in OPTIONS}
    return export(checkpoint, path, format=found.name, precision=options.precision, strict=options.strict, **given)


def _report(result: Export, found: Format, options: Options, shipping: Shipping | None) -> int:
    """Says what was written, and how it compares."""
    if result.difference is None:
        _say(f"{found.runtime.name} is not installed: the file was not run ({found.runtime.install}).")
    if options.json:
        document = _document(result, found)
        print_json(document if shipping is None else document | {"measured": document_of(*shipping)})
        return 0
    if result.difference is None:
        checked = "not run"
    elif result.equal:
        checked = "equal to the numpy reference to the bit"
    else:
        checked = f"differs from the numpy reference by {result.difference:.1e} (relative)"
    operators = f", operators {', '.join(result.operators)}" if result.operators else ""
    if shipping is not None:
        _show_measured(*shipping)
    names = ", ".join(result.more["files"]) if "header" in result.more else str(result.path)
    show(f"written: {names} ({size(result.size_bytes)}){operators}", f"checked: {checked}", *_needs(result))
    return 0


def _show_measured(measured: Measured, verdict: Verdict, choice: Choice) -> None:
    rows = [
        (each.name, spell(each.theirs, None), spell(each.ours, None), spell(each.value, each.interval))
        for each in measured.differences
    ]
    rows.append(("best answers equal", "", spell(measured.same, measured.same_interval, percent=True), ""))
    headings = (("figure", "left"), ("model", "right"), ("file", "right"), ("difference (95 %)", "right"))
    show(table(headings, rows), f"measured on {choice.where}: {verdict.sentence}")


def _needs(result: Export) -> list[str]:
    """What a network for microcontrollers needs, in a line or none."""
    more = result.more
    if "ram_bytes" not in more:
        return []
    if more["measured_on"] is None:
        beside = (
            f"flash {more['flash_bytes']:,} bytes of constants (without arm-none-eabi-gcc code and stack are unknown)"
        )
    else:
        beside = f"stack at most {more['stack_bytes']:,}, flash {more['flash_bytes']:,} bytes (Cortex-M4, -O2)"
    return [f"needs:   RAM {more['ram_bytes']:,} bytes, {beside}, {more['multiply_adds']:,} multiply-adds"]


def _document(result: Export, found: Format) -> dict[str, Any]:
    compared = {
        "pictures": result.pictures,
        "largest_difference": result.difference,
        "equal": result.equal,
    }
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


def _say(sentence: str) -> None:
    print(f"linnet: {sentence}", file=sys.stderr)

"""Makes a network of eight bits out of one in float, without training, and keeps it only if it is as good.

DATA is a data set as `linnet evaluate` reads it: its training part calibrates, its test part measures both networks. It
may also be a folder of pictures without labels: then it is compared how often both say the same. A network that loses
more than --most-drop is not written, and the command ends with 1.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from linnet.catalogue import find_model
from linnet.checkpoint import load_checkpoint
from linnet.cli.terminal import UsageError, check_least, parse, prepare_folder, print_json, progress, show, size, table
from linnet.data.recognition import FormatName
from linnet.evaluation.figures import spell
from linnet.quantisation.post_training.measuring import RunOptions, loudest
from linnet.quantisation.post_training.pictures import choose_pictures
from linnet.quantisation.post_training.quantising import check_quantisable, operations_named
from linnet.quantisation.post_training.trial import Reporter, Trial
from linnet.training.environment import command

AUTO = "auto"


@dataclass(frozen=True)
class Options:
    """Options of `linnet quantize`."""

    model: tyro.conf.Positional[str]
    """The network in float: a checkpoint file, or a name that `linnet models` lists."""
    data: tyro.conf.Positional[Path]
    """The pictures: a data set of the model's classes, or a folder of pictures without labels."""
    out: Path
    """The checkpoint to write (.safetensors). Beside it NAME-both.png shows what both networks say of some pictures."""
    pictures: int = 512
    """The most pictures to calibrate with."""
    most_drop: float | None = None
    """What may be lost of top-1, AP or mIoU, a fraction of 1. The default is 0.01. Without labels it is the share of
    pictures on which the best answer may be another, by default 0.05."""
    keep_float: tuple[str, ...] = ()
    """Layers or blocks that stay in float, by their names in `linnet profile`. If too much is lost, `auto` keeps the
    dearest ones in float, one after the other, until the loss is small enough."""
    format: FormatName | None = None
    """The format of the data. The default is to recognise it."""
    images: Path | None = None
    """The folder with the pictures of a COCO json or of VOC files, if it does not lie beside them."""
    ignore: str | None = None
    """Of masks, a value or the name of a class whose pixels are neither learnt nor counted, beside 255."""
    batch: int = 8
    """The number of pictures in a forward pass."""
    runtime: Literal["auto", "native", "numpy"] = "auto"
    """The runtime that runs both networks."""
    threads: int | None = None
    """The number of cores to use. The default is what the runtime chooses."""
    json: bool = False
    """Print one JSON document instead of tables."""


def main(arguments: list[str]) -> int:
    """Runs the command."""
    options = parse(Options, "quantize", __doc__, arguments)
    check_least("--pictures", options.pictures, 1)
    check_least("--batch", options.batch, 1)
    check_least("--threads", options.threads, 1)
    if options.most_drop is not None and not 0 <= options.most_drop <= 1:
        raise UsageError(f"--most-drop (={options.most_drop:g}) must be a fraction of 1; 0.01 is one point.")
    path = find_model(options.model)
    if options.out.exists() and options.out.samefile(path):
        raise UsageError(f"--out '{options.out}' is the model itself. Name another file.")
    if options.out.is_dir():
        raise UsageError(f"--out '{options.out}' is a folder; name a file, such as small.safetensors.")
    checkpoint = load_checkpoint(path)
    check_quantisable(checkpoint)
    asked = [name for name in options.keep_float if name != AUTO]
    try:
        floating = operations_named(checkpoint.architecture.graph, asked)
    except ValueError as error:
        raise UsageError(f"--keep-float: {error}") from None
    # Before the work begins, not after minutes.
    prepare_folder("--out", options.out.parent)
    start = time.perf_counter()
    choice = choose_pictures(
        options.data, checkpoint, options.pictures, format=options.format, images=options.images, ignore=options.ignore
    )
    for note in choice.notes:
        _say(note)
    runner = RunOptions(options.runtime, options.threads, options.batch)
    trial = Trial(checkpoint, choice, runner, options.most_drop, Reporter(_say, progress))
    trial.run(floating, search=AUTO in options.keep_float)
    written = options.out if trial.verdict.passed else None
    if written is not None:
        trial.write(written, command())
    for file, message in trial.failed:
        _say(message if file in message else f"'{file}': {message}")
    if options.json:
        print_json(trial.document(written, path.stat().st_size))
    else:
        _show(trial, options.out, path.stat().st_size, time.perf_counter() - start)
    if written is None:
        _say(_refusal(trial, options))
        return 1
    return 0


def _show(trial: Trial, out: Path, float_bytes: int, seconds: float) -> None:
    calibrated = trial.quantised.calibrated
    rows = [(each.name, f"{each.sqnr_db:.1f} dB", calibrated[each.name].way) for each in trial.noises]
    columns = (("layer", "left"), ("signal to noise", "right"), ("calibrated by", "left"))
    show(table(columns, rows))
    if (measured := trial.measured) is not None:
        figures = [
            (each.name, spell(each.theirs, None), spell(each.ours, None), spell(each.value, each.interval))
            for each in measured.differences
        ]
        figures.append(("best answers equal", "", spell(measured.same, measured.same_interval, percent=True), ""))
        headings = (("figure", "left"), ("float", "right"), ("int8", "right"), ("difference (95 %)", "right"))
        show(table(headings, figures))
    ways = ", ".join(f"{way} of {count}" for way, count in trial.quantised.ways().items())
    loud = ", ".join(f"{each.name} ({each.sqnr_db:.1f} dB)" for each in loudest(trial.noises))
    show(
        f"calibrated on {trial.observed.pictures:,} pictures, tensors by {ways}; measured on {trial.choice.where}; "
        f"{seconds:.0f} s",
        f"furthest from float: {loud}",
    )
    if trial.floating:
        show(f"in float: {', '.join(trial.floating)}")
    if trial.verdict.passed:
        written = out.stat().st_size
        show(
            f"written: {out}, {size(written)}, {written / float_bytes:.0%} of the float file; {trial.verdict.sentence}"
        )


def _refusal(trial: Trial, options: Options) -> str:
    loud = ", ".join(each.name for each in loudest(trial.noises))
    more = "" if AUTO in options.keep_float else ", --keep-float auto finds layers that stay in float"
    return (
        f"'{options.out}' is not written: {trial.verdict.sentence} (--most-drop). Layers to look at: {loud}. More "
        f"pictures may help (--pictures){more}."
    )


def _say(sentence: str) -> None:
    print(f"linnet: {sentence}", file=sys.stderr)

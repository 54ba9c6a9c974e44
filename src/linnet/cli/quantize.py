"""Makes a network of eight bits out of one in float, without training, and keeps it only if it is as good.

DATA is a data set as `linnet evaluate` reads it: its training part calibrates, its test part measures both networks. It
may also be a folder of pictures without labels: then it is compared how often both say the same. A network that loses
more than --most-drop is not written, and the command ends with 1.
"""

from __future__ import annotations

import math
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tyro

from linnet.catalogue import find_model
from linnet.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from linnet.cli.terminal import UsageError, check_least, parse, prepare_folder, print_json, progress, show, size, table
from linnet.data.recognition import FormatName
from linnet.engine.runtimes import RuntimeName
from linnet.evaluation.figures import spell
from linnet.files import write_atomically
from linnet.quantisation.post_training.gate import MOST_FLOAT, Cost, Verdict, costs, judge
from linnet.quantisation.post_training.measuring import (
    LayerNoise,
    Measured,
    Runner,
    compare,
    compare_answers,
    layer_noises,
    loudest,
    measure,
    picture_of_both,
)
from linnet.quantisation.post_training.observation import Observed, observe
from linnet.quantisation.post_training.pictures import Choice, choose_pictures
from linnet.quantisation.post_training.quantising import (
    Method,
    Quantised,
    Quantiser,
    check_quantisable,
    operations_named,
)

AUTO = "auto"

FEWEST = 8
"""Pictures: of fewer the ends of a tensor are chance."""


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
    """Layers or blocks that stay in float, by their names in `linnet profile`; `auto` keeps the dearest ones in float
    until the loss is small enough, if it is not."""
    format: FormatName | None = None
    """The format of the data. The default is to recognise it."""
    images: Path | None = None
    """The folder with the pictures of a COCO json or of VOC files, if it does not lie beside them."""
    batch: int = 8
    """The number of pictures in a forward pass."""
    runtime: RuntimeName = "auto"
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
    choice = choose_pictures(options.data, checkpoint, options.pictures, format=options.format, images=options.images)
    for note in choice.notes:
        _say(note)
    trial = _Trial(checkpoint, choice, options)
    trial.run(floating, search=AUTO in options.keep_float)
    if trial.verdict.passed:
        trial.write()
    if options.json:
        print_json(trial.document(path.stat().st_size))
    else:
        trial.show(path.stat().st_size, time.perf_counter() - start)
    if trial.verdict.passed:
        return int(bool(trial.failed))
    _say(_refusal(trial, options))
    return 1


class _Trial:
    """One network and what became of it.

    Attributes:
        quantised: the network in eight bits.
        measured: both networks on the same pictures; None of a network without classifier.
        noises: of every layer.
        verdict: whether it may be kept.
        kept: what was tried to keep in float, and the verdict then.
        failed: pictures that could not be read.
    """

    quantised: Quantised
    measured: Measured | None
    noises: list[LayerNoise]
    verdict: Verdict

    def __init__(self, checkpoint: Checkpoint, choice: Choice, options: Options) -> None:
        self.checkpoint, self.choice, self.options = checkpoint, choice, options
        self.runner = Runner(options.runtime, options.threads, options.batch)
        self.before = self.runner.load(checkpoint)
        self.kept: list[tuple[Cost, Verdict]] = []
        self.observed = self._observe()
        self.quantiser = Quantiser(checkpoint, self.observed, Method())
        self.failed = list(self.observed.failed)
        self._figures: Any = None

    def _observe(self) -> Observed:
        pictures, options = self.choice.calibrating, self.options
        with progress(len(pictures), "calibrating") as advance:
            found = observe(
                self.checkpoint, pictures, runtime=options.runtime, threads=options.threads, progress=advance
            )
        for _, message in found.failed:
            _say(message)
        if found.pictures < FEWEST:
            warnings.warn(
                f"Only {found.pictures} pictures calibrate: what the network sees later may lie outside of what they "
                f"show. Some hundreds are usual, {FEWEST} the least.",
                stacklevel=2,
            )
        if found.black == found.pictures:
            warnings.warn("The calibration pictures are all black: they show nothing of what is to come.", stacklevel=2)
        return found

    def run(self, floating: Sequence[str], *, search: bool) -> None:
        """Measures, and keeps layers in float until the loss is small enough, if that is wished."""
        self._try(floating)
        if not search or self.verdict.passed:
            return
        with progress(
            sum(bool(each.tensors) for each in self.quantiser.graph.operations), "what layers cost"
        ) as advance:
            dear = costs(self.before, self.quantiser, floating, self.choice.measured, self.runner, progress=advance)
        for cost in dear[:MOST_FLOAT]:
            floating = (*floating, cost.name)
            self._try(floating)
            self.kept.append((cost, self.verdict))
            _say(
                f"{cost.name} in float: {cost.gain_db:+.2f} dB at the outputs for {size(cost.more_bytes)}; "
                f"{self.verdict.sentence}."
            )
            if self.verdict.passed:
                return

    def _try(self, floating: Sequence[str]) -> None:
        self.quantised = self.quantiser.network(floating)
        self.after = self.runner.load(self.quantised.checkpoint)
        self.measured = self._measure()
        if self.measured is None:
            self.verdict = Verdict(True, "there is no answer that could be compared: the network has no classifier")
        else:
            self.verdict = judge(self.measured, self.options.most_drop)
        self.noises = layer_noises(self.before, self.quantised, self.after, self.choice.measured)

    def _measure(self) -> Measured | None:
        if self.checkpoint.architecture.classes is None:
            return None
        samples, batch = self.choice.measuring, self.options.batch
        if samples is None:
            pictures = self.choice.comparing
            with progress(len(pictures), "comparing") as advance:
                return compare_answers(self.before, self.after, pictures, batch=batch, progress=advance)
        if self._figures is None:
            with progress(len(samples), "measuring in float") as advance:
                self._figures = measure(self.before, samples, batch=batch, progress=advance)
        with progress(len(samples), "measuring in eight bits") as advance:
            return compare(self._figures, measure(self.after, samples, batch=batch, progress=advance))

    def write(self) -> None:
        """The checkpoint with its score, and the picture of both."""
        after = None if self.measured is None else self.measured.after
        score = {} if after is None else {**after.score(), "data": self.choice.where}
        save_checkpoint(replace(self.quantised.checkpoint, score=score), self.options.out)
        if self.measured is None:
            return
        first, second = (self.runner.load(each.checkpoint, shown=True) for each in (self.before, self.after))
        sheet = picture_of_both(first, second, self.choice.measured)
        if sheet is not None:
            import io

            content = io.BytesIO()
            sheet.save(content, "PNG")
            write_atomically(picture_path(self.options.out), content.getvalue())

    def document(self, float_bytes: int) -> dict[str, Any]:
        """Everything as JSON."""
        measured, passed = self.measured, self.verdict.passed
        before, after = (None, None) if measured is None else (measured.before, measured.after)
        return {
            "file": str(self.options.out) if passed else None,
            "passed": passed,
            "verdict": self.verdict.sentence,
            "measured_on": self.choice.where,
            "images": 0 if measured is None else measured.pictures,
            "float": {} if before is None else before.to_json(),
            "int8": {} if after is None else after.to_json(),
            "differences": [] if measured is None else [each.to_json() for each in measured.differences],
            "same": None if measured is None else measured.same,
            "same_95": None if measured is None else measured.same_interval,
            "bytes": self.options.out.stat().st_size if passed else None,
            "float_bytes": float_bytes,
            "calibration": {
                "pictures": self.observed.pictures,
                "ways": self.quantised.ways(),
                "failed": [{"file": file, "error": error} for file, error in self.observed.failed],
            },
            "layers": [
                {"name": each.name, "sqnr_db": each.sqnr_db if math.isfinite(each.sqnr_db) else None}
                | ({"calibration": self.quantised.calibrated[each.name].way})
                for each in self.noises
            ],
            "worst": [each.name for each in loudest(self.noises)],
            "kept_float": list(self._floating),
            "costs": [
                {"name": cost.name, "gain_db": cost.gain_db, "bytes": cost.more_bytes, "verdict": verdict.sentence}
                for cost, verdict in self.kept
            ],
        }

    @property
    def _floating(self) -> tuple[str, ...]:
        scheme = self.quantised.checkpoint.quantisation
        return () if scheme is None else scheme.floating

    def show(self, float_bytes: int, seconds: float) -> None:
        """Everything as tables."""
        rows = [(each.name, f"{each.sqnr_db:.1f} dB", self.quantised.calibrated[each.name].way) for each in self.noises]
        columns = (("layer", "left"), ("signal to noise", "right"), ("calibrated by", "left"))
        show(table(columns, rows))
        measured = self.measured
        if measured is not None:
            figures = [
                (
                    each.name,
                    spell(each.theirs, None),
                    spell(each.ours, None),
                    spell(each.value, each.interval),
                )
                for each in measured.differences
            ]
            answers = spell(measured.same, measured.same_interval, percent=True)
            figures.append(("best answers equal", "", answers, ""))
            show(
                table(
                    (("figure", "left"), ("float", "right"), ("int8", "right"), ("difference (95 %)", "right")), figures
                )
            )
        ways = ", ".join(f"{way} of {count}" for way, count in self.quantised.ways().items())
        loud = ", ".join(f"{each.name} ({each.sqnr_db:.1f} dB)" for each in loudest(self.noises))
        show(
            f"calibrated on {self.observed.pictures:,} pictures, tensors by {ways}; measured on {self.choice.where}; "
            f"{seconds:.0f} s",
            f"furthest from float: {loud}",
        )
        if self._floating:
            show(f"in float: {', '.join(self._floating)}")
        if self.verdict.passed:
            written = self.options.out.stat().st_size
            show(
                f"written: {self.options.out}, {size(written)} ({written / float_bytes:.0%} of the float "
                f"file); {self.verdict.sentence}"
            )


def picture_path(out: Path) -> Path:
    """Where the picture of both is written."""
    return out.with_name(f"{out.stem}-both.png")


def _refusal(trial: _Trial, options: Options) -> str:
    loud = ", ".join(each.name for each in loudest(trial.noises))
    more = "" if AUTO in options.keep_float else ", --keep-float auto finds some that stay in float"
    return (
        f"'{options.out}' is not written: {trial.verdict.sentence} (--most-drop). Layers to look at: {loud}. More "
        f"pictures may help (--pictures){more}."
    )


def _say(sentence: str) -> None:
    print(f"linnet: {sentence}", file=sys.stderr)

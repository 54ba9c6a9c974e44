"""A network and what becomes of it: calibrated, rounded, measured beside the float one, judged, written or not."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from linnet.checkpoint import Checkpoint, save_checkpoint
from linnet.evaluation.figures import Figures
from linnet.files import write_atomically
from linnet.quantisation.post_training.gate import MOST_FLOAT, Cost, Verdict, costs, judge
from linnet.quantisation.post_training.measuring import (
    SEARCHED,
    LayerNoise,
    Measured,
    RunOptions,
    compare,
    compare_answers,
    layer_noises,
    loudest,
    measure,
    picture_of_both,
)
from linnet.quantisation.post_training.observation import Observed, observe
from linnet.quantisation.post_training.pictures import Choice
from linnet.quantisation.post_training.quantising import Method, Quantised, Quantiser

FEWEST = 8
"""Pictures: of fewer the ends of a tensor are chance."""


@dataclass(frozen=True)
class Reporter:
    """What is told while the work goes on.

    Attributes:
        say: gets sentences.
        bar: gets a total and what is done; within it, its result is called with the number done.
    """

    say: Callable[[str], None]
    bar: Callable[[int, str], AbstractContextManager[Callable[[int], None]]]


class Trial:
    """A network in eight bits beside the one that it is made of.

    Args:
        checkpoint: in float.
        choice: the pictures.
        runner: what runs both.
        most_drop: see `judge`.
        reporter: who is told.

    Attributes:
        observed: what calibrates.
        quantised: the network in eight bits.
        measured: both networks on the same pictures; None of a network without classifier.
        noises: of every layer.
        verdict: whether it may be kept.
        kept: what was tried to keep in float, and the verdict then.
    """

    quantised: Quantised
    measured: Measured | None
    noises: list[LayerNoise]
    verdict: Verdict

    def __init__(
        self, checkpoint: Checkpoint, choice: Choice, runner: RunOptions, most_drop: float | None, reporter: Reporter
    ) -> None:
        self.checkpoint, self.choice, self.reporter = checkpoint, choice, reporter
        self.runner, self.most_drop = runner, most_drop
        self.before = runner.load(checkpoint)
        self._pictures = choice.first(SEARCHED)
        self.kept: list[tuple[Cost, Verdict]] = []
        self.observed = self._observe()
        self._quantiser = Quantiser(checkpoint, self.observed, Method())
        self._figures: Figures | None = None

    @property
    def failed(self) -> list[tuple[str, str]]:
        """Name and error of each picture that could not be read."""
        measured = () if self.measured is None else self.measured.failed
        return [*self.observed.failed, *measured]

    @property
    def floating(self) -> tuple[str, ...]:
        """Names of what stays in float."""
        scheme = self.quantised.checkpoint.quantisation
        return () if scheme is None else scheme.floating

    def _observe(self) -> Observed:
        pictures, runner = self.choice.calibrating, self.runner
        with self.reporter.bar(len(pictures), "calibrating") as advance:
            found = observe(self.checkpoint, pictures, runtime=runner.runtime, threads=runner.threads, progress=advance)
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
        with self.reporter.bar(
            sum(bool(each.tensors) for each in self._quantiser.graph.operations), "what layers cost"
        ) as advance:
            dear = costs(self.before, self._quantiser, floating, self._pictures, self.runner, progress=advance)
        for cost in dear[:MOST_FLOAT]:
            floating = (*floating, cost.name)
            self._try(floating)
            self.kept.append((cost, self.verdict))
            self.reporter.say(
                f"{cost.name} in float: {cost.gain_db:+.2f} dB at the outputs for {cost.more_bytes:,} bytes; "
                f"{self.verdict.sentence}."
            )
            if self.verdict.passed:
                return

    def _try(self, floating: Sequence[str]) -> None:
        self.quantised = self._quantiser.network(floating)
        self.after = self.runner.load(self.quantised.checkpoint)
        self.measured = self._measure()
        if self.measured is None:
            self.verdict = Verdict(True, "there is no answer that could be compared: the network has no classifier")
        else:
            self.verdict = judge(self.measured, self.most_drop)
        self.noises = layer_noises(self.before, self.quantised, self.after, self._pictures)

    def _measure(self) -> Measured | None:
        if self.checkpoint.architecture.classes is None:
            return None
        samples, batch = self.choice.measuring, self.runner.batch
        if samples is None:
            pictures = self.choice.comparing
            with self.reporter.bar(len(pictures), "comparing") as advance:
                return compare_answers(self.before, self.after, pictures, batch=batch, progress=advance)
        if self._figures is None:
            with self.reporter.bar(len(samples), "measuring in float") as advance:
                self._figures = measure(self.before, samples, batch=batch, progress=advance)
        with self.reporter.bar(len(samples), "measuring in eight bits") as advance:
            return compare(self._figures, measure(self.after, samples, batch=batch, progress=advance))

    def write(self, path: Path, command: str) -> None:
        """Writes the checkpoint with its score; and beside it NAME-both.png, what both say of some pictures.

        Args:
            path: of the checkpoint.
            command: how it can be made again, for its provenance.
        """
        network, after = self.quantised.checkpoint, None if self.measured is None else self.measured.after
        score = {} if after is None else {**after.score(), "data": self.choice.where}
        origin = {**network.provenance["quantised"], "command": command, **self._beside_float()}
        provenance = {**network.provenance, "quantised": origin}
        save_checkpoint(replace(network, score=score, provenance=provenance), path)
        if self.measured is None:
            return
        first, second = (self.runner.load(each.checkpoint, shown=True) for each in (self.before, self.after))
        sheet = picture_of_both(first, second, self._pictures)
        if sheet is not None:
            content = io.BytesIO()
            sheet.save(content, "PNG")
            write_atomically(path.with_name(f"{path.stem}-both.png"), content.getvalue())

    def _beside_float(self) -> dict[str, Any]:
        """For the provenance: what the float network came to on the same pictures."""
        measured = self.measured
        if measured is None:
            return {}
        found: dict[str, Any] = {"same": measured.same}
        if (difference := measured.headline) is not None:
            found |= {"float": {difference.name: difference.theirs}, "difference_95": difference.interval}
        return found

    def document(self, written: Path | None, float_bytes: int) -> dict[str, Any]:
        """Everything as JSON.

        Args:
            written: the file; None where it was not written.
            float_bytes: size of the float network's.
        """
        measured = self.measured
        before, after = (None, None) if measured is None else (measured.before, measured.after)
        return {
            "file": None if written is None else str(written),
            "passed": self.verdict.passed,
            "verdict": self.verdict.sentence,
            "measured_on": self.choice.where,
            "images": 0 if measured is None else measured.pictures,
            "float": {} if before is None else before.to_json(),
            "int8": {} if after is None else after.to_json(),
            "differences": [] if measured is None else [each.to_json() for each in measured.differences],
            "same": None if measured is None else measured.same,
            "same_95": None if measured is None else measured.same_interval,
            "bytes": None if written is None else written.stat().st_size,
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
            "kept_float": list(self.floating),
            "costs": [
                {"name": cost.name, "gain_db": cost.gain_db, "bytes": cost.more_bytes, "verdict": verdict.sentence}
                for cost, verdict in self.kept
            ],
        }

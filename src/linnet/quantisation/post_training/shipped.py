"""An exported file, measured as it is shipped, against the network that it was made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from linnet.checkpoint import Checkpoint
from linnet.evaluation.detector import MEASURING
from linnet.predictor import load
from linnet.quantisation.post_training.gate import Verdict, judge
from linnet.quantisation.post_training.measuring import Measured, RunOptions, compare, compare_answers, measure
from linnet.quantisation.post_training.pictures import Choice
from linnet.quantisation.post_training.trial import Reporter


def measure_shipped(
    checkpoint: Checkpoint,
    file: Path,
    choice: Choice,
    reporter: Reporter,
    *,
    most_drop: float | None = None,
    batch: int = 8,
) -> tuple[Measured, Verdict]:
    """What both come to on the same pictures, and whether the file may be kept.

    Args:
        checkpoint: what was exported, run by linnet.
        file: what came of it, run by its own runtime.
        choice: the pictures.
        reporter: hears how far it is.
        most_drop: what may be lost; see `judge`.
        batch: pictures a forward pass.

    Raises:
        ValueError: if the file cannot be run, or not one picture can be read.
    """
    before, after = RunOptions(batch=batch).load(checkpoint), load(file, suppression=MEASURING)
    samples = choice.measuring
    if samples is None:
        with reporter.bar(len(choice.comparing), "comparing") as advance:
            measured = compare_answers(before, after, choice.comparing, batch=batch, progress=advance)
    else:
        with reporter.bar(len(samples), "measuring the model") as advance:
            figures = measure(before, samples, batch=batch, progress=advance)
        with reporter.bar(len(samples), "measuring the file") as advance:
            measured = compare(figures, measure(after, samples, batch=batch, progress=advance))
    return measured, judge(measured, most_drop)


def document_of(measured: Measured, verdict: Verdict, choice: Choice) -> dict[str, Any]:
    """All of it as JSON."""
    return {
        "on": choice.where,
        "passed": verdict.passed,
        "verdict": verdict.sentence,
        "images": measured.pictures,
        "model": None if measured.before is None else measured.before.to_json(),
        "file": None if measured.after is None else measured.after.to_json(),
        "differences": [each.to_json() for each in measured.differences],
        "same": measured.same,
        "same_95": measured.same_interval,
    }

"""The score of a run: of the checkpoint that was written, by the code of `linnet evaluate`."""

from __future__ import annotations

from dataclasses import replace

from linnet.checkpoint import load_checkpoint
from linnet.data.sources import locate
from linnet.evaluation.detector import MEASURING
from linnet.evaluation.uncertainty import SAMPLES
from linnet.files import write_atomically
from linnet.predictor import load
from linnet.training import folder as files
from linnet.training.plan import Outcome
from linnet.training.run.card import write_card
from linnet.training.run.learning import Learned

BATCH = 8
"""Pictures a forward pass."""


def measure(learned: Learned) -> Outcome:
    """Measures the best checkpoint on the test part, or else on validation; the score goes into it and onto its card.

    Raises:
        ValueError: if not one picture could be read.
        OSError: if a file cannot be written.
    """
    run = learned.prepared
    data, out, reporter = run.data, run.plan.out, run.reporter
    path = out / files.BEST
    samples, part = (data.test, "test") if data.test else (data.validation, "validation")
    reporter.say(f"Measuring {path} on the {part} part ({len(samples):,} pictures).")
    measured = run.task.measure(
        load(path, suppression=MEASURING),
        samples,
        batch=BATCH,
        progress=lambda done: reporter.progress("evaluating", done, len(samples)),
    ).with_intervals(lambda done: reporter.progress("drawing pictures anew", done, SAMPLES))
    where = f"{locate(run.plan.data)}, {part} part"
    scored = replace(load_checkpoint(path), score={**measured.score(), "data": where})
    run.write(scored, files.BEST)
    run.task.report(measured, out / files.EVALUATION)
    counts = {name: len(getattr(data, name)) for name in ("train", "validation", "test")}
    card = write_card(scored, run.task, name=str(path), counts=counts, decisions=run.decisions, history=learned.history)
    write_atomically(out / files.CARD, card.encode())
    return Outcome(path, measured, where)

"""The card of a trained model: what it is, what it learned from, how good it is, and how to make it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from linnet.architecture import family_of
from linnet.architecture.cost import cost
from linnet.checkpoint import Checkpoint
from linnet.tasks import Task


def write_card(
    checkpoint: Checkpoint,
    task: Task,
    *,
    name: str,
    counts: Mapping[str, int],
    decisions: Sequence[str],
    history: Sequence[Mapping[str, Any]],
) -> str:
    """Markdown for people who want to use the model.

    Args:
        checkpoint: with its provenance and score.
        task: what it does.
        name: of the model.
        counts: pictures of each part.
        decisions: what the recipe decided by itself, and why.
        history: the epochs.
    """
    architecture, provenance, score = checkpoint.architecture, checkpoint.provenance, checkpoint.score
    price = cost(architecture)
    height, width = architecture.input_size
    lines = [
        f"# {name}",
        "",
        f"{family_of(architecture)}, width {architecture.width:g}, {height} x {width} pixels, "
        f"{architecture.classes} classes: {', '.join((checkpoint.classes or ())[:20])}"
        + (" …" if len(checkpoint.classes or ()) > 20 else ""),
        "",
        "| | |",
        "|---|---|",
        f"| parameters | {price.parameters:,} |",
        f"| multiply-adds | {price.multiply_adds:,} |",
    ]
    if checkpoint.quantisation is not None:
        lines.append(f"| weights and activations | {checkpoint.quantisation.dtype} |")
    if score:
        lines += [f"| {name} | {value} |" for name, value in task.rows(score)]
        lines.append(f"| measured on | {score['images']:,} pictures: {score['data']} |")
    quantised = provenance.get("quantised", {})
    if quantised:
        lines += [f"| {name} in float | {value:.3f} |" for name, value in quantised.get("float", {}).items()]
        lines.append(f"| calibrated on | {quantised['pictures']:,} pictures |")
    if "same" in quantised:
        lines.append(f"| best answers as in float | {quantised['same']:.1%} |")
    lines += [f"| {part} pictures | {count:,} |" for part, count in counts.items()]
    if history:
        seconds = sum(float(entry["seconds"]) for entry in history)
        lines.append(f"| training | {len(history)} epochs, {seconds / 60:.1f} minutes on {provenance['machine']} |")
    lines += ["", "## Where it comes from", ""]
    for key in ("data", "recipe", "command", "commit", "date", "start", "source", "licence"):
        if provenance.get(key):
            lines.append(f"- {key}: {provenance[key]}")
    if "command" in quantised:
        lines.append(f"- eight bits: {quantised['command']}")
    if decisions:
        lines += ["", "## What the recipe decided", "", *(f"- {decision}" for decision in decisions)]
    if entries := score.get("per_class"):
        headings, *rows = task.class_rows(entries)
        lines += ["", "## Classes", "", _row(headings), _row(["---"] * len(headings)).replace(" ", "")]
        lines += [_row(row) for row in rows]
    lines += [
        "",
        "```python",
        "import linnet",
        "",
        f'predict = linnet.load("{name}")',
        f'predict("picture.jpg"){task.reading}',
        "```",
    ]
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"

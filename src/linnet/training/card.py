"""The card of a trained model: what it is, what it learned from, how good it is, and how to make it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from linnet.architecture import family_of
from linnet.architecture.cost import cost
from linnet.checkpoint import Checkpoint


def write_card(
    checkpoint: Checkpoint,
    *,
    name: str,
    counts: Mapping[str, int],
    decisions: Sequence[str],
    history: Sequence[Mapping[str, Any]],
) -> str:
    """Markdown for people who want to use the model.

    Args:
        checkpoint: with its provenance and score.
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
    if score:
        lines += [
            f"| top-1 | {score['top1']:.2%} |",
            f"| top-5 | {score['top5']:.2%} |",
            f"| measured on | {score['images']:,} pictures: {score['data']} |",
            f"| calibration error | {score['calibration_error']:.3f} |",
        ]
    lines += [f"| {part} pictures | {count:,} |" for part, count in counts.items()]
    if history:
        seconds = sum(float(entry["seconds"]) for entry in history)
        lines.append(f"| training | {len(history)} epochs, {seconds / 60:.1f} minutes on {provenance['machine']} |")
    lines += ["", "## Where it comes from", ""]
    for key in ("data", "recipe", "command", "commit", "date", "start", "source", "licence"):
        if provenance.get(key):
            lines.append(f"- {key}: {provenance[key]}")
    if decisions:
        lines += ["", "## What the recipe decided", "", *(f"- {decision}" for decision in decisions)]
    per_class = score.get("per_class") if score else None
    if per_class:
        lines += ["", "## Classes", "", "| class | pictures | top-1 |", "|---|---|---|"]
        lines += [f"| {entry['label']} | {entry['images']} | {entry['top1']:.1%} |" for entry in per_class]
    lines += [
        "",
        "```python",
        "import linnet",
        "",
        f'predict = linnet.load("{name}")',
        'predict("picture.jpg").label',
        "```",
    ]
    return "\n".join(lines) + "\n"

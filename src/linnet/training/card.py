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
        lines += [f"| {name} | {value} |" for name, value in _figures(score)]
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
    lines += _classes(score)
    what = "top()" if checkpoint.task == "detection" else "label"
    lines += [
        "",
        "```python",
        "import linnet",
        "",
        f'predict = linnet.load("{name}")',
        f'predict("picture.jpg").{what}',
        "```",
    ]
    return "\n".join(lines) + "\n"


def _figures(score: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was measured, and on what."""
    measured_on = ("measured on", f"{score['images']:,} pictures: {score['data']}")
    if "top1" in score:
        return [
            ("top-1", f"{score['top1']:.2%}"),
            ("top-5", f"{score['top5']:.2%}"),
            measured_on,
            ("calibration error", f"{score['calibration_error']:.3f}"),
        ]
    shown = [(name, score.get(name)) for name in ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR100")]
    return [*((name, f"{value:.3f}") for name, value in shown if value is not None), measured_on]


def _classes(score: Mapping[str, Any]) -> list[str]:
    """A table of each class's figures."""
    entries = score.get("per_class") if score else None
    if not entries:
        return []
    if "top1" in entries[0]:
        rows = [f"| {entry['label']} | {entry['images']} | {entry['top1']:.1%} |" for entry in entries]
        return ["", "## Classes", "", "| class | pictures | top-1 |", "|---|---|---|", *rows]
    rows = [
        f"| {entry['label']} | {entry['objects']} | {_plain(entry['AP'])} | {_plain(entry['AP50'])} |"
        for entry in entries
    ]
    return ["", "## Classes", "", "| class | objects | AP | AP50 |", "|---|---|---|---|", *rows]


def _plain(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.3f}"

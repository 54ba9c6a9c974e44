"""A run's folder: what is written there, each file whole or not at all."""

from __future__ import annotations

import csv
import io
import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from linnet.colours import BLUE, GREY, RIGHT, SERIES
from linnet.figures import new_figure, save_figure
from linnet.files import write_atomically
from linnet.machine import processor_name

RECIPE, ENVIRONMENT, SPLIT = "recipe.json", "environment.json", "split.json"
BEST, LAST = "checkpoint.safetensors", "last.safetensors"
STATE = Path("resume") / "state.safetensors"
LOG, CURVES, BATCH, CARD = "log.csv", "curves.png", "batch.png", "card.md"
FAILED_BATCH = "failed_batch.json"
EVALUATION = "evaluation"
FETCHED = "shards"

OWN = {
    RECIPE,
    ENVIRONMENT,
    SPLIT,
    BEST,
    LAST,
    "resume",
    LOG,
    CURVES,
    BATCH,
    CARD,
    FAILED_BATCH,
    EVALUATION,
    FETCHED,
    "tensorboard",
}
"""What `--overwrite` removes: nothing else in the folder is touched."""

TILE, SHEET_WIDTH, CAPTION, SHOWN = 160, 1280, 22, 32


def prepare_run_folder(folder: Path, *, resume: bool, overwrite: bool) -> bool:
    """Makes the folder, or sees that it may be used; says whether there is a run to go on with.

    Raises:
        FileExistsError: if a run is there and neither flag is given.
        FileNotFoundError: if there is nothing to resume.
        OSError: if it cannot be made or written.
    """
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"'{folder}' is a file; --out names a folder.")
    there = folder.is_dir() and any((folder / name).exists() for name in OWN)
    if resume:
        if not there:
            raise FileNotFoundError(f"'{folder}' holds no run to resume. Leave --resume away to begin one.")
        return goes_on(folder)
    if there and not overwrite:
        raise FileExistsError(
            f"'{folder}' holds a run already. Give --resume to go on with it, --overwrite to replace it, or another "
            "--out."
        )
    if there:
        _remove_run(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"--out '{folder}' cannot be made ({error.strerror}).") from None
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"--out '{folder}' may not be written. Name another folder.")
    return False


def goes_on(folder: Path) -> bool:
    """Whether a run was begun there so far that it can go on."""
    return (folder / RECIPE).is_file() and (folder / STATE).is_file()


def _remove_run(folder: Path) -> None:
    import shutil

    for name in OWN:
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def write_json(path: Path, document: Any) -> None:
    """A JSON file, for people too."""
    write_atomically(path, (json.dumps(document, indent=1, ensure_ascii=False, default=str) + "\n").encode())


def environment() -> dict[str, Any]:
    """What the run ran on: versions, processor, threads, GPU."""
    from importlib.metadata import PackageNotFoundError, version

    import torch

    packages = {}
    for name in ("linnet", "torch", "lightning-fabric", "kornia", "numpy", "Pillow", "safetensors"):
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = "not installed"
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": processor_name(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "packages": packages,
        "command": command(),
    }


def command() -> str:
    """The command line, as it can be typed again."""
    import shlex

    return shlex.join(["linnet", *sys.argv[1:]])


def write_log(path: Path, history: Sequence[Mapping[str, Any]]) -> None:
    """One line an epoch; the whole file anew, so that it never ends in the middle of one."""
    rows = [_flat(entry) for entry in history]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, text.getvalue().encode())


def _flat(entry: Mapping[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {"epoch": entry["number"], "learning_rate": f"{entry['learning_rate']:.6g}"}
    row |= {f"train_{name}": f"{value:.5f}" for name, value in entry["losses"].items()}
    row |= {name: f"{value:.5f}" for name, value in entry["figures"].items()}
    row |= {"seconds": f"{entry['seconds']:.1f}", "images_per_second": f"{entry['images_per_second']:.1f}"}
    row |= {f"{name}_seconds": f"{value:.1f}" for name, value in entry["stages"].items()}
    # Only runs that have such epochs have the column.
    return row | {"best": int(entry["best"])} | ({"quantised": 1} if entry.get("quantised") else {})


def draw_curves(path: Path, history: Sequence[Mapping[str, Any]], score: str) -> None:
    """Losses, scores, learning rate and time of every epoch, as a PNG."""
    from matplotlib.ticker import MaxNLocator

    figure = new_figure(8.5, 6)
    ((losses, scores), (rates, times)) = figure.subplots(2, 2)
    numbers = [entry["number"] for entry in history]

    def series(axes: Any, label: str, values: list[float | None], colour: str = BLUE, style: str = "-") -> None:
        points = [(number, value) for number, value in zip(numbers, values, strict=True) if value is not None]
        if points:
            mark = "o" if len(points) < 40 else None
            axes.plot(*zip(*points, strict=True), style, color=colour, label=label, marker=mark, ms=3)

    figures = [entry["figures"] for entry in history]
    series(losses, "training, augmented", [entry["losses"].get("loss") for entry in history], GREY)
    series(losses, "validation", [values.get("loss") for values in figures])
    series(losses, "validation, averaged weights", [values.get("average_loss") for values in figures], BLUE, "--")
    losses.set(title="loss", ylim=(0, None))
    series(scores, "validation", [values.get(score) for values in figures])
    series(scores, "validation, averaged weights", [values.get(f"average_{score}") for values in figures], BLUE, "--")
    scores.set_title(score)
    best = [entry for entry in history if entry["best"]]
    if best and (
        values := [v for v in (best[-1]["figures"].get(score), best[-1]["figures"].get(f"average_{score}")) if v]
    ):
        scores.plot(best[-1]["number"], max(values), "*", ms=12, color=RIGHT, label=f"kept: {max(values):.3f}")
    whole = [entry["number"] for entry in history if entry.get("quantised")]
    for axes in (losses, scores) if whole else ():
        axes.axvspan(whole[0] - 0.5, whole[-1] + 0.5, color=RIGHT, alpha=0.08, label="in eight bits")
    series(rates, "learning rate", [entry["learning_rate"] for entry in history])
    rates.set(title="learning rate", ylim=(0, None))
    bottom = np.zeros(len(numbers))
    for name, colour in zip(("network", "augmenting", "waiting", "evaluating"), SERIES, strict=False):
        seconds = np.array([entry["stages"].get(name, 0.0) for entry in history])
        times.bar(numbers, seconds, bottom=bottom, color=colour, label=name)
        bottom += seconds
    times.set_title("seconds an epoch")
    for axes in (losses, scores, rates, times):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=8)
    save_figure(figure, path)


def draw_batch(path: Path, pictures: Sequence[Any], labels: Sequence[str], *, tile: int = TILE) -> None:
    """A sheet of what the network saw, augmented, with its labels.

    Args:
        path: PNG to write.
        pictures: (H, W, 3) RGB arrays, or pictures of PIL.
        labels: one a picture.
        tile: pixels of the longer side of each.
    """
    from PIL import Image, ImageDraw, ImageFont

    shown = min(len(pictures), SHOWN)
    columns = min(SHEET_WIDTH // tile, shown)
    rows = -(-shown // columns)
    sheet = Image.new("RGB", (columns * (tile + 6) + 6, rows * (tile + CAPTION + 6) + 6), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=13)
    for number in range(shown):
        x, y = 6 + number % columns * (tile + 6), 6 + number // columns * (tile + CAPTION + 6)
        picture = pictures[number]
        picture = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
        scale = tile / max(picture.size)
        resampling = Image.Resampling.NEAREST if scale >= 2 else Image.Resampling.BILINEAR
        size = (max(round(picture.width * scale), 1), max(round(picture.height * scale), 1))
        sheet.paste(picture.resize(size, resampling), (x, y))
        text = labels[number]
        while draw.textlength(text, font=font) > tile and len(text) > 2:
            text = f"{text.rstrip('…')[:-1]}…"
        draw.text((x, y + tile + 2), text, fill="black", font=font)
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG")
    write_atomically(path, buffer.getvalue())

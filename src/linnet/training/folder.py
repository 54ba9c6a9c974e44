"""A run's folder: what is written there, each file whole or not at all."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from linnet.data.places import is_hidden
from linnet.files import write_atomically

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


def refuse_inside(folder: Path, data: Path) -> None:
    """Raises a ValueError on a run's folder in a folder of data, where the pictures that it draws would be read too.

    What lies in hidden folders is never read.
    """
    if not data.is_dir():
        return
    run, base = folder.resolve(), data.resolve()
    if run.is_relative_to(base) and not any(map(is_hidden, run.relative_to(base).parts)):
        where = "is" if run == base else "lies in"
        raise ValueError(
            f"--out '{folder}' {where} the folder of the data, '{data}': the pictures that a run draws would be read "
            "with them the next time. Name a folder outside."
        )


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

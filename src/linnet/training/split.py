"""Which pictures a run keeps for validation: written down, so that the run can go on with the same ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from linnet.data.labelled import Sample
from linnet.data.source import DataSet


def split_document(data: DataSet, left_out: Sequence[str] = ()) -> dict[str, Any]:
    """How validation came about, its pictures, those left out, and how many there are in every part."""

    def name(sample: Sample) -> str:
        base = data.path if data.path.is_dir() else data.path.parent
        file = sample.file.relative_to(base) if sample.file.is_relative_to(base) else sample.file
        return str(file) if sample.row is None else f"{file}:{sample.row}"

    return {
        "split": data.split,
        "validation": [name(sample) for sample in data.validation],
        "left_out": list(left_out),
        "pictures": {part: len(getattr(data, part)) for part in ("train", "validation", "test")},
    }


def read_split(path: Path, data: DataSet) -> DataSet:
    """The split of a run that goes on; refuses data that are no longer the same."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        names, counts = set(document["validation"]), document["pictures"]
        data = data.without(set(document["left_out"]))
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"'{path}' is damaged ({error}). Start anew with --overwrite.") from None
    if not data.validation:
        everything = replace(data, validation=data.train, train=())
        listed = split_document(everything)["validation"]
        chosen = [name in names for name in listed]
        data = replace(
            data,
            train=tuple(sample for sample, kept in zip(data.train, chosen, strict=True) if not kept),
            validation=tuple(sample for sample, kept in zip(data.train, chosen, strict=True) if kept),
            split=document["split"],
        )
    found = {part: len(getattr(data, part)) for part in ("train", "validation", "test")}
    if found != counts or set(split_document(data)["validation"]) != names:
        raise ValueError(f"'{data.path}' has changed since the run was begun ({counts} pictures then, {found} now).")
    return data

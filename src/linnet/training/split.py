"""Which pictures a run keeps for validation: written down, so that the run can go on with the same ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from linnet.data import DataSet


def split_document(data: DataSet, left_out: Sequence[str] = ()) -> dict[str, Any]:
    """How validation came about, its pictures, those left out, and how many there are in every part."""
    return {
        "split": data.split,
        "validation": [data.key(sample) for sample in data.validation],
        "left_out": [data.short(picture) for picture in left_out],
        "pictures": {part: len(getattr(data, part)) for part in ("train", "validation", "test")},
    }


def read_split(path: Path, data: DataSet) -> DataSet:
    """The split of a run that goes on; refuses data that are no longer the same."""
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        names, counts, words = set(document["validation"]), document["pictures"], str(document["split"])
        left_out = {str(data.base / picture) for picture in document["left_out"]} | {*document["left_out"]}
        data = data.without(left_out)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"'{path}' is damaged ({error}). Start anew with --overwrite.") from None
    if not data.validation:
        everything = replace(data, validation=data.train, train=())
        listed = split_document(everything)["validation"]
        chosen = [name in names for name in listed]
        data = replace(
            data,
            train=tuple(sample for sample, kept in zip(data.train, chosen, strict=True) if not kept),
            validation=tuple(sample for sample, kept in zip(data.train, chosen, strict=True) if kept),
            split=words,
        )
    found = {part: len(getattr(data, part)) for part in ("train", "validation", "test")}
    if found != counts or set(split_document(data)["validation"]) != names:
        raise ValueError(f"'{data.path}' has changed since the run was begun ({counts} pictures then, {found} now).")
    return data

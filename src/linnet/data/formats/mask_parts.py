"""Lists of pictures that tell which part each belongs to, where folders do not."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from linnet.data.formats.mask_pairs import Pair
from linnet.data.parts import PARTS, Part, part_of
from linnet.data.places import Folder

FOLDERS = ("ImageSets/Segmentation", "ImageSets", "splits", "")
"""Where lists lie, seen from the data set or from the folder that its pictures' folder lies in."""

LARGEST = 50_000_000
"""Bytes of a list; a million names take 30 million."""


def listed_parts(folder: Folder, pairs: Sequence[Pair]) -> tuple[list[Pair], list[str], list[str]]:
    """The pairs with the parts that `train.txt` and the like tell.

    Of VOC's lists `trainval` counts only where there is no `train`. Where there is no list of training, what other
    lists do not name is for training; else it is left out.

    Returns:
        The pairs that are in a part, the lists that were read, and sentences on what was left out.

    Raises:
        ValueError: if two lists name one picture.
        OSError: if a list cannot be read.
    """
    stems: dict[str, list[int]] = defaultdict(list)
    for number, pair in enumerate(pairs):
        stems[Path(pair.picture).stem.lower()].append(number)
    for lists in _lists(folder):
        found: dict[int, tuple[Part, Path]] = {}
        absent = list[str]()
        for part in PARTS:
            for file in lists.get(part, ()):
                for line in _lines(file):
                    numbers = _named(line, pairs, stems)
                    absent += [] if numbers else [line]
                    for number in numbers:
                        other = found.setdefault(number, (part, file))
                        if other[0] != part:
                            name = pairs[number].picture
                            raise ValueError(
                                f"'{other[1]}' and '{file}' both name '{name}': it can be in one part only."
                            )
        if not found:
            continue
        files = [str(file) for part in PARTS for file in lists.get(part, ())]
        kept = [pair._replace(part=found[n][0]) for n, pair in enumerate(pairs) if n in found]
        rest = [pair for n, pair in enumerate(pairs) if n not in found]
        notes = []
        if absent:
            notes.append(
                f"{len(absent):,} entries of '{files[0]}' and its like name no picture with a mask, such as "
                f"'{absent[0]}'."
            )
        if "train" not in lists:
            kept = [*(pair._replace(part="train") for pair in rest), *kept]
        elif rest:
            notes.append(
                f"{len(rest):,} pictures with masks are on no list and are not read: '{rest[0].picture}' is the first."
            )
        return kept, files, notes
    return list(pairs), [], []


def _lists(folder: Folder) -> list[dict[Part, list[Path]]]:
    """The lists of each folder that may have some."""
    bases = [folder, *(one for name, one in folder.folders.items() if not name.startswith("."))]
    found = []
    for inside in FOLDERS:
        for base in bases:
            level = base if not inside else base.below(inside)
            if level is None:
                continue
            own: dict[Part, list[Path]] = defaultdict(list)
            names = {name.rpartition(".")[0].lower(): name for name in level.ending(".txt")}
            for stem, name in names.items():
                part = part_of(stem)
                if part is not None and not (stem == "trainval" and "train" in names):
                    own[part].append(Path(level.join(name)))
            if own:
                found.append(own)
    return found


def _lines(file: Path) -> list[str]:
    if file.stat().st_size > LARGEST:
        raise ValueError(f"'{file}' has more than {LARGEST:,} bytes: a list of pictures was expected.")
    try:
        return [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError:
        raise ValueError(f"'{file}' is no text in UTF-8: a list of pictures was expected.") from None


def _named(line: str, pairs: Sequence[Pair], stems: dict[str, list[int]]) -> list[int]:
    """The pictures that a line names: the whole of it, or its first word, as where a mask's name stands behind it."""
    for name in (line, line.split()[0]):
        plain = name.replace("\\", "/")
        base = os.path.basename(plain)
        numbers = stems.get(base.lower()) or stems.get(os.path.splitext(base)[0].lower()) or []
        if len(numbers) > 1:
            end = os.path.splitext(plain.lstrip("/"))[0].lower()
            exact = [
                n for n in numbers if os.path.splitext(pairs[n].picture.replace("\\", "/"))[0].lower().endswith(end)
            ]
            numbers = exact or numbers
        if numbers:
            return numbers
    return []

"""Boxes of YOLO: one text file a picture, one line an object: class, centre, width, height, as shares of the sides."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from linnet.data.dataset import Flaw
from linnet.data.formats.format import Format
from linnet.data.headers import upright_size
from linnet.data.leftovers import omit_unlisted
from linnet.data.parts import Part, part_in
from linnet.data.places import Place
from linnet.data.reading import Annotated, Annotation, Reading, find_one_off
from linnet.data.sources import File
from linnet.images import is_picture

LARGEST = 10_000_000
"""Bytes of a label file, or of the one that names the classes."""

LARGEST_NUMBER = 1e6
"""Of a coordinate, which is a share."""

MOST_CLASSES = 100_000

PATTERNS = ("labels/*.txt", "labels/*/*.txt", "*/labels/*.txt")
"""Where the label files are."""

NAME_FILES = (
    "*.yaml",
    "*.yml",
    "classes.txt",
    "obj.names",
    "*.names",
    "labels/classes.txt",
    "train/labels/classes.txt",
)
"""Where the names of the classes are looked for."""


def recognise(place: Place) -> str | None:
    """A folder with text files in `labels`; a class may be called so, thus there must be `images` too."""
    if not isinstance(place.path, Path) or place.file is not None:
        return None
    found = next((file for pattern in PATTERNS for file in sorted(place.path.glob(pattern))), None)
    if found is None or not (any(place.path.glob("images")) or any(place.path.glob("*/images"))):
        return None
    return f"it has {found.relative_to(place.path)} and images"


def read(place: Place) -> Reading:
    """The parts that the folders of a place tell; see `read_yolo`."""
    assert isinstance(place.path, Path)
    if place.images is not None:
        raise ValueError(f"'{place}' is YOLO's: its pictures are looked for in `images` beside `labels` only.")
    reading = read_yolo(_yolo_folders(place.path), place.path)
    reading.flaws += find_one_off(reading.annotated, place.path)
    omit_unlisted(place, reading, [])
    return reading


def read_yolo(folders: Sequence[tuple[Path, Path, Part]], base: Path) -> Reading:
    """The pictures of folders, each with the objects of the label file of the same name.

    A picture without a label file has no objects. Of a polygon (a class and three points or more) the box around it is
    taken.

    Args:
        folders: of pictures and of labels, and the part that they are for.
        base: where the names of the classes are looked for.

    Raises:
        OSError: if a file cannot be read.
        ValueError: if the names cannot be read, or a class has an absurd number.
    """
    reading = Reading(names=_names(base))
    count = MOST_CLASSES if reading.names is None else len(reading.names)
    highest = -1
    for images, labels, part in folders:
        pictures = sorted(file for file in images.iterdir() if is_picture(file))
        lines = {file.stem: file for file in sorted(labels.glob("*.txt")) if file.name != "classes.txt"}
        for picture in pictures:
            file = lines.pop(picture.stem, None)
            if file is None:
                reading.unlisted.append(str(picture))
            size = upright_size(picture)
            objects = [] if file is None else _objects(file, picture, size, count, reading.flaws)
            highest = max([highest, *(int(thing.label) for thing in objects)])
            reading.annotated.append(Annotated(File(str(picture)), part, size, objects))
        for file in lines.values():
            reading.flaws.append(Flaw("orphan", str(file), f"there is no picture of this name in '{images}'"))
    names = reading.names or tuple(str(number) for number in range(highest + 1))
    reading.names = names
    for picture_ in reading.annotated:
        picture_.objects[:] = [thing._replace(label=names[int(thing.label)]) for thing in picture_.objects]
    return reading


def _objects(
    file: Path, picture: Path, size: tuple[int, int] | None, count: int, flaws: list[Flaw]
) -> list[Annotation]:
    """The objects of a label file; their labels are still numbers."""
    if file.stat().st_size > LARGEST:
        flaws.append(Flaw("malformed", str(picture), f"its '{file.name}' has more than {LARGEST:,} bytes"))
        return []
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        flaws.append(Flaw("malformed", str(picture), f"its '{file.name}' is no text"))
        return []
    # Of a picture that cannot be read, the check says so.
    width, height = size or (1, 1)
    objects = []
    for number, line in enumerate(lines, start=1):
        words = line.split()
        box = _box(words[1:])
        if not words:
            continue
        if box is None or not re.fullmatch(r"\d{1,9}(\.0*)?", words[0]):
            shown = line.strip()[:60]
            flaws.append(Flaw("malformed", str(picture), f"line {number} is not class, x, y, width, height: {shown}"))
        elif (index := int(float(words[0]))) >= count:
            flaws.append(Flaw("unknown_category", str(picture), f"line {number} is of class {index} of {count:,}"))
        elif size is not None:
            x0, y0, x1, y1 = box
            objects.append(Annotation((x0 * width, y0 * height, x1 * width, y1 * height), str(index)))
    return objects


def _box(words: Sequence[str]) -> tuple[float, float, float, float] | None:
    try:
        values = [float(word) for word in words]
    except ValueError:
        return None
    if not all(abs(value) <= LARGEST_NUMBER for value in values):
        return None
    if len(values) == 4:
        x, y, width, height = values
        return x - width / 2, y - height / 2, x + width / 2, y + height / 2
    if len(values) >= 6 and len(values) % 2 == 0:
        return min(values[0::2]), min(values[1::2]), max(values[0::2]), max(values[1::2])
    return None


def _names(base: Path) -> tuple[str, ...] | None:
    for pattern in NAME_FILES:
        for file in sorted(base.glob(pattern)):
            if file.stat().st_size > LARGEST:
                continue
            try:
                text = file.read_text(encoding="utf-8-sig")
            except UnicodeDecodeError:
                raise ValueError(f"'{file}' cannot be read as text.") from None
            yaml = file.suffix in (".yaml", ".yml")
            found = _yaml_names(text, file) if yaml else [line.strip() for line in text.splitlines() if line.strip()]
            if found:
                return _different(found, file)
    return None


def _different(names: Sequence[str], file: Path) -> tuple[str, ...]:
    twice = next((name for number, name in enumerate(names) if name in names[:number]), None)
    if twice is not None:
        raise ValueError(
            f"'{file}' gives two classes the name {twice!r}: rename one, or merge them in the label files."
        )
    return tuple(names)


def _yaml_names(text: str, file: Path) -> list[str]:
    """The entry `names` of a data.yaml: a list or a mapping of numbers, in one line or in several.

    Only this entry, and not by a YAML library: none is needed for anything else.
    """
    match = re.search(r"^names[ \t]*:[ \t]*(.*)$", text, re.MULTILINE)
    if match is None:
        return []
    start = _plain(match[1])
    if start[:1] in ("[", "{"):
        closing = text.find("]" if start[0] == "[" else "}", match.start(1))
        inside = text[text.index(start[0], match.start(1)) + 1 : closing]
        entries = (
            [_plain(entry) for entry in re.findall(r"""(?:"[^"]*"|'[^']*'|[^,"'])+""", inside)] if closing > 0 else []
        )
    else:
        entries = []
        for line in text[match.end() :].splitlines():
            entry = _plain(line)
            if entry and not re.match(r"\s|-", line):
                break
            entries.append(entry.removeprefix("- ").strip())
    pairs = [re.fullmatch(r"(?:(\d{1,6})\s*:\s*)?(.*)", entry) for entry in entries if entry]
    numbered = [pair for pair in pairs if pair is not None and pair[1]]
    if len(numbered) == len(pairs):
        numbers = [int(pair[1]) for pair in numbered]
        if numbers != list(range(len(numbers))):
            raise ValueError(f"'{file}': the classes under `names` must be numbered 0, 1, 2 …")
    return [_unquoted(pair[2]) for pair in pairs if pair is not None]


def _plain(text: str) -> str:
    """A line of YAML without its comment."""
    return re.sub(r"(^|\s)#.*$", "", text).strip()


def _unquoted(text: str) -> str:
    text = text.strip()
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text


def _yolo_folders(path: Path) -> list[tuple[Path, Path, Part]]:
    """Folders of pictures and of labels: images/train and labels/train, or train/images and train/labels."""
    found: list[tuple[Path, Path, Part]] = []
    for folder in sorted(folder for folder in (path / "images").glob("*") if folder.is_dir()):
        if (part := part_in(folder.name)) and (labels := path / "labels" / folder.name).is_dir():
            found.append((folder, labels, part))
    for folder in sorted(path.glob("*/images")):
        if (part := part_in(folder.parent.name)) and (labels := folder.parent / "labels").is_dir():
            found.append((folder, labels, part))
    if not found and (path / "images").is_dir():
        found.append((path / "images", path / "labels", "train"))
    if not found:
        raise ValueError(f"'{path}' has labels, but no pictures for training: images/train or train/images.")
    return found


FORMAT = Format(
    "yolo",
    "YOLO",
    "detection",
    recognise,
    read,
    (
        (
            "Parts below images and labels",
            "data.yaml\nimages/train/1.jpg\nlabels/train/1.txt\nimages/val/2.jpg\nlabels/val/2.txt",
        ),
        ("Images and labels below the parts", "data.yaml\ntrain/images/1.jpg\ntrain/labels/1.txt"),
    ),
)

"""Boxes of Pascal VOC: one XML file a picture."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from linnet.data.flaws import Flaw
from linnet.data.formats.format import Format
from linnet.data.headers import upright_size
from linnet.data.leftovers import omit_unlisted
from linnet.data.parts import Part, part_of
from linnet.data.places import Place, is_picture_name
from linnet.data.reading import Annotated, Annotation, Reading
from linnet.data.sources import File

LARGEST = 10_000_000
"""Bytes of an annotation file; a crowded picture's has some hundred thousand."""

LOOKED_AT = 3
"""XML files that are looked into, to tell whether they are VOC's."""

PICTURE_FOLDERS = ("JPEGImages", "images", "Images", "imgs", "img", "data", "pictures")
"""Folders of pictures, beside those of annotations or above them."""

LISTS: tuple[tuple[str, Part], ...] = (
    ("train", "train"),
    ("trainval", "train"),
    ("val", "validation"),
    ("validation", "validation"),
    ("test", "test"),
)
"""Lists of VOC's own layout and their parts."""

SIDES = ("xmin", "ymin", "xmax", "ymax")

LARGEST_NUMBER = 1e9


def recognise(place: Place) -> str | None:
    """A folder with XML files, at any level, that have the root of VOC's."""
    if place.folder is None:
        return None
    for level in place.folder.walk():
        for name in level.ending(".xml")[:LOOKED_AT]:
            root = read_xml(Path(level.join(name)))
            if isinstance(root, str) or root.tag == "annotation":
                # One that is damaged may be anything, but for its name beside a picture or its folder's.
                stem = name.rpartition(".")[0]
                named = "annotations" in level.path.lower() or any(
                    each.rpartition(".")[0] == stem for each in level.pictures()
                )
                if not isinstance(root, str) or named:
                    return f"it has {os.path.relpath(level.join(name), place.folder.path)}"
    return None


def read(place: Place) -> Reading:
    """The parts that the lists or folders of a place tell; see `read_voc`."""
    assert isinstance(place.path, Path)
    files, notes = _voc_files(place)
    reading = read_voc(files, place)
    reading.notes += notes
    omit_unlisted(place, reading, [file for file, _ in files])
    return reading


def read_voc(files: Sequence[tuple[Path, Part]], place: Place) -> Reading:
    """The pictures and objects that VOC files tell, in their order.

    VOC counts pixels from 1 and names the last one: 1, 1, 2, 2 covers four. Where any box begins at 0 its tool counted
    from 0, and the whole set is read so. The picture has the name that the file tells, to the letter, or else the
    file's own; it is looked for in `place.images`, or else beside the file and in folders such as `JPEGImages` and
    `images` beside that one and above, at the same place below them.

    Args:
        files: each with the part that it is for.
        place: what was given to `find`.

    Raises:
        OSError: if a file cannot be read.
        ValueError: if not one picture is there.
    """
    reading = Reading()
    pictures = _Pictures(place)
    there = False
    for file, part in files:
        root = read_xml(file)
        if isinstance(root, str):
            reading.flaws.append(Flaw("malformed", str(file), root))
            continue
        picture, found = pictures.find(file, root)
        there |= found
        if found and picture in pictures.taken:
            text = f"'{pictures.taken[picture]}' and '{file}' both tell its boxes: the second is left out"
            reading.flaws.append(Flaw("malformed", str(picture), text))
            continue
        pictures.taken[picture] = file
        objects = _objects(root, picture, reading.flaws)
        reading.annotated.append(Annotated(File(str(picture)), part, _size(root) or upright_size(picture), objects))
    if files and not reading.annotated:
        first = reading.flaws[0]
        raise ValueError(f"'{place}': not one of {len(files):,} XML files can be read; '{first.name}' {first.text}.")
    if reading.annotated and not there:
        raise ValueError(
            f"Not one picture of the {len(reading.annotated):,} files in '{files[0][0].parent}' was found, looked for "
            f"in {', '.join(repr(folder) for folder in pictures.looked)}: --images FOLDER tells where they are."
        )
    _count_from_zero(reading)
    return reading


def _count_from_zero(reading: Reading) -> None:
    """Moves the boxes' first corners by one pixel, unless one begins at pixel 0, which VOC does not have."""
    zeros = [(picture, thing) for picture in reading.annotated for thing in picture.objects if min(thing.box[:2]) == 0]
    for picture, thing in zeros:
        text = f"{thing.label} at {', '.join(f'{side:g}' for side in thing.box)}"
        reading.flaws.append(Flaw("one_off", picture.source.name, text))
    if not zeros:
        for picture in reading.annotated:
            for number, thing in enumerate(picture.objects):
                x0, y0, x1, y1 = thing.box
                # A box of one row or column is a slip of the mouse: let it stay without an area.
                move = 0 if x0 == x1 or y0 == y1 else 1
                picture.objects[number] = thing._replace(box=(x0 - move, y0 - move, x1, y1))


def read_xml(path: Path, most: int = LARGEST) -> Element | str:
    """The root of a small XML file, or what is wrong with it. Document types, and so entities, are refused unread.

    Raises:
        OSError: if the file cannot be read.
    """
    size = path.stat().st_size
    if size > most:
        return f"has {size:,} bytes; at most {most:,} were expected"
    builder, parser = TreeBuilder(), expat.ParserCreate()

    def refuse(*_: Any) -> None:
        raise ValueError("has a document type, which VOC has not")

    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(_as_utf8(path.read_bytes()), True)
        return builder.close()
    except expat.ExpatError as error:
        return f"is no XML ({error})"
    except (ValueError, LookupError) as error:
        return str(error)


def _as_utf8(content: bytes) -> bytes:
    """The file in UTF-8: the parser knows no encoding of several bytes a letter, such as GBK or Shift-JIS."""
    declared = re.match(rb"""<\?xml[^>]*?encoding\s*=\s*["']([A-Za-z0-9._-]+)["']""", content)
    if declared is None or declared[1].lower() in (b"utf-8", b"utf8", b"us-ascii", b"utf-16"):
        return content
    rest = content[declared.end(1) :].decode(declared[1].decode())
    return content[: declared.start(1)] + b"utf-8" + rest.encode()


def _objects(root: Element, picture: Path, flaws: list[Flaw]) -> list[Annotation]:
    objects = []
    for number, entry in enumerate(root.iterfind("object"), start=1):
        label = " ".join((entry.findtext("name") or "").split())
        sides = [_number(entry.findtext(f"bndbox/{side}")) for side in SIDES]
        known = [side for side in sides if side is not None]
        if not label or len(known) < len(SIDES):
            absent = [side for side, value in zip(SIDES, sides, strict=True) if value is None]
            what = "name" if not label else ", ".join(absent)
            flaws.append(Flaw("malformed", str(picture), f"object {number} has no {what}"))
        else:
            difficult = (entry.findtext("difficult") or "0").strip() not in ("0", "")
            objects.append(Annotation((known[0], known[1], known[2], known[3]), label, difficult))
    return objects


def _size(root: Element) -> tuple[int, int] | None:
    width, height = (_number(root.findtext(f"size/{side}")) for side in ("width", "height"))
    # Some tools write 0 where they do not know it.
    return (int(width), int(height)) if width and height and min(width, height) >= 1 else None


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if abs(value) <= LARGEST_NUMBER else None


class _Pictures:
    """Where the pictures of VOC files are.

    Attributes:
        looked: folders that were looked into.
        taken: picture → the file that tells its boxes.
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        self.taken: dict[Path, Path] = {}
        self.looked: list[str] = []
        self._names: dict[str, dict[str, list[str]]] = {}

    def find(self, file: Path, root: Element) -> tuple[Path, bool]:
        """The picture that belongs to a file, and whether it is there; else the one that was expected."""
        named = (root.findtext("filename") or "").strip().replace("\\", "/").rsplit("/", 1)[-1]
        folders = self._folders(file)
        found = list(self._candidates(file, named, folders))
        if found:
            # Some tools write one name into all files.
            return next((path for path in found if path not in self.taken), found[0]), True
        expected = next((folder for folder in folders if self._listed(folder)), folders[0])
        return Path(expected, named if named and "\0" not in named else f"{file.stem}.jpg"), False

    def _candidates(self, file: Path, named: str, folders: Sequence[str]) -> Iterator[Path]:
        """First the name in the file, to the letter: a.jpg and a.png may both be there. Then the file's own name."""
        for candidate in (named, file.stem, os.path.splitext(named)[0]):
            for folder in folders if candidate else ():
                alike = self._listed(folder).get(os.path.splitext(candidate)[0], [])
                if candidate == named and os.path.splitext(named)[1]:
                    alike = [name for name in alike if name == candidate]
                else:
                    alike = [*alike, *self._listed(folder).get(candidate, [])]
                yield from (Path(folder, name) for name in alike)

    def _listed(self, folder: str) -> dict[str, list[str]]:
        """The pictures of a folder by their names without endings."""
        if folder not in self._names:
            self.looked.append(folder)
            found: dict[str, list[str]] = {}
            for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
                if is_picture_name(name):
                    found.setdefault(os.path.splitext(name)[0], []).append(name)
            self._names[folder] = found
        return self._names[folder]

    def _folders(self, file: Path) -> list[str]:
        if self.place.images is not None:
            return [str(self.place.images), *(str(self.place.images / file.parent.name),)]
        found, below, base = [str(file.parent)], "", file.parent
        first: list[str] = []
        # Annotations/train/1.xml belongs to JPEGImages/train/1.jpg.
        for _ in range(3):
            above = base.parent
            for name in PICTURE_FOLDERS:
                first.append(os.path.normpath(above / name / below))
            if above == base:
                break
            below, base = os.path.join(base.name, below), above
            first += [os.path.normpath(above / name) for name in PICTURE_FOLDERS]
        return list(dict.fromkeys([*first, *found]))


def _voc_files(place: Place) -> tuple[list[tuple[Path, Part]], list[str]]:
    """Every file with its part, by the lists of VOC's own layout or by folders; and what is to be said of it."""
    folder = place.base
    found: list[tuple[str, Part | None]] = []
    for level in folder.walk():
        words = os.path.relpath(level.path, folder.path).split(os.sep)
        part = next((each for each in map(part_of, words) if each is not None), None)
        found += [(level.join(name), part) for name in level.ending(".xml")]
    lists = folder.below("ImageSets/Main")
    names = {} if lists is None else {name[:-4].lower(): lists.join(name) for name in lists.ending(".txt")}
    if "train" in names or "trainval" in names:
        return _listed(names, {os.path.splitext(os.path.basename(path))[0]: path for path, _ in found}), []
    some = any(part is not None for _, part in found)
    left = [path for path, part in found if part is None] if some else []
    notes = []
    if left:
        notes.append(
            f"{len(left):,} annotations lie in no folder of a part and are not read: '{left[0]}' is the first."
        )
    return [(Path(path), part or "train") for path, part in found if part is not None or not some], notes


def _listed(lists: Mapping[str, str], files: Mapping[str, str]) -> list[tuple[Path, Part]]:
    whole = "train" if "train" in lists else "trainval"
    found: list[tuple[Path, Part]] = []
    absent: list[str] = []
    for name, part in LISTS:
        if name not in lists or (name == "trainval" and whole == "train") or (name == "val" and whole == "trainval"):
            continue
        # A list of one class has a second column, and -1 where the class is not.
        lines = Path(lists[name]).read_text(encoding="utf-8-sig").splitlines()
        stems = [line.split()[0] for line in lines if line.strip()]
        absent += [f"{stem}.xml" for stem in stems if stem not in files]
        found += [(Path(files[stem]), part) for stem in stems if stem in files]
    if absent:
        raise ValueError(
            f"'{lists[whole]}' and its like list {len(absent):,} that have no file, such as '{absent[0]}'."
        )
    return found


FORMAT = Format(
    "voc",
    "VOC",
    "detection",
    recognise,
    read,
    (
        ("VOC's own", "Annotations/1.xml\nJPEGImages/1.jpg\nImageSets/Main/train.txt\nImageSets/Main/val.txt"),
        ("XML beside the pictures", "train/1.jpg\ntrain/1.xml\ntest/2.jpg\ntest/2.xml"),
        ("In folders of their own", "images/1.jpg\nannotations/xmls/1.xml"),
    ),
    images=True,
)

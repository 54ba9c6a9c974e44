"""Boxes of Pascal VOC: one XML file a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from glob import escape
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from linnet.data.dataset import Flaw
from linnet.data.formats.format import Format
from linnet.data.headers import upright_size
from linnet.data.leftovers import omit_unlisted
from linnet.data.parts import Part, part_of
from linnet.data.places import Place
from linnet.data.reading import Annotated, Annotation, Reading
from linnet.data.sources import File
from linnet.images import is_picture

LARGEST = 10_000_000
"""Bytes of an annotation file; a crowded picture's has some hundred thousand."""

PATTERNS = ("Annotations/*.xml", "annotations/*.xml", "train/*.xml", "*.xml")
"""Where the files are, in the order of preference."""

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
    """A folder of XML files: anything may be in one; one with a picture of its name beside it is an annotation."""
    if not isinstance(place.path, Path) or place.file is not None:
        return None
    for pattern in PATTERNS:
        found = next(iter(sorted(place.path.glob(pattern))), None)
        if found is not None:
            beside = any(map(is_picture, place.path.glob(f"{escape(found.stem)}.*")))
            return f"it has {found.relative_to(place.path)}" if found.parent != place.path or beside else None
    return None


def read(place: Place) -> Reading:
    """The parts that the lists or folders of a place tell; see `read_voc`."""
    assert isinstance(place.path, Path)
    files = _voc_files(place.path)
    reading = read_voc(files, place.images)
    omit_unlisted(place, reading, [file for file, _ in files])
    return reading


def read_voc(files: Sequence[tuple[Path, Part]], images: Path | None = None) -> Reading:
    """The pictures and objects that VOC files tell, in their order.

    VOC counts pixels from 1 and names the last one: 1, 1, 2, 2 covers four. Where any box begins at 0 its tool counted
    from 0, and the whole set is read so. The picture has the file's own name, or the one that it tells; it is looked
    for in `images`, or else in `JPEGImages/` and `images/` beside the file's folder, beside the file, and in
    `../../images`.

    Args:
        files: each with the part that it is for.
        images: the folder of the pictures.

    Raises:
        OSError: if a file cannot be read.
        ValueError: if not one picture is there.
    """
    reading = Reading()
    folders: dict[Path, dict[str, Path]] = {}
    there = False
    for file, part in files:
        root = read_xml(file)
        if isinstance(root, str):
            reading.flaws.append(Flaw("malformed", str(file), root))
            continue
        picture = _find(file, root, images, folders)
        there |= picture.is_file()
        objects = _objects(root, picture, reading.flaws)
        reading.annotated.append(Annotated(File(str(picture)), part, _size(root) or upright_size(picture), objects))
    if reading.annotated and not there:
        raise ValueError(
            f"Not one picture of the {len(reading.annotated):,} files in '{files[0][0].parent}' was found, looked for "
            f"in {', '.join(map(repr, map(str, folders)))}: --images FOLDER tells where they are."
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


def read_xml(path: Path) -> Element | str:
    """The root of a small XML file, or what is wrong with it. Document types, and so entities, are refused unread.

    Raises:
        OSError: if the file cannot be read.
    """
    size = path.stat().st_size
    if size > LARGEST:
        return f"has {size:,} bytes; at most {LARGEST:,} were expected"
    builder, parser = TreeBuilder(), expat.ParserCreate()

    def refuse(*_: Any) -> None:
        raise ValueError("has a document type, which VOC has not")

    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(path.read_bytes(), True)
        return builder.close()
    except expat.ExpatError as error:
        return f"is no XML ({error})"
    except (ValueError, LookupError) as error:
        return str(error)


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


def _find(file: Path, root: Element, images: Path | None, folders: dict[Path, dict[str, Path]]) -> Path:
    """The picture that belongs to a file; where there is none, the one that was expected."""
    base = file.parent.parent
    if images is not None:
        places = [images]
    else:
        places = [base / "JPEGImages", base / "images", file.parent, base.parent / "images"]
    told = (root.findtext("filename") or "").strip().replace("\\", "/").rsplit("/", 1)[-1]
    for place in places:
        if place not in folders:
            folders[place] = pictures_by_stem(place)
        named: Mapping[str, Path] = folders[place]
        found = named.get(file.stem) or named.get(Path(told).stem)
        if found is not None:
            return found
    expected = next((place for place in places if place.is_dir()), places[0])
    return expected / (told if told and "\0" not in told else f"{file.stem}.jpg")


def pictures_by_stem(folder: Path) -> dict[str, Path]:
    """The pictures in a folder by their names without endings; none if it is not there."""
    if not folder.is_dir():
        return {}
    return {file.stem: file for file in sorted(folder.iterdir()) if is_picture(file)}


def _voc_files(path: Path) -> list[tuple[Path, Part]]:
    """Every file with its part: told by the lists of VOC's own layout, or by folders."""
    bases = [folder for folder in (path / "Annotations", path / "annotations") if any(folder.glob("*.xml"))]
    if not bases:
        folders = {folder: part for folder in sorted(path.iterdir()) if (part := part_of(folder.name))}
        files: list[tuple[Path, Part]] = [
            (file, part) for folder, part in folders.items() for file in sorted(folder.glob("*.xml"))
        ]
        return files or [(file, "train") for file in sorted(path.glob("*.xml"))]
    base = bases[0]
    lists = {file.stem.lower(): file for file in sorted((path / "ImageSets" / "Main").glob("*.txt"))}
    if "train" not in lists and "trainval" not in lists:
        return [(file, "train") for file in sorted(base.glob("*.xml"))]
    whole = "train" if "train" in lists else "trainval"
    found: list[tuple[Path, Part]] = []
    for name, part in LISTS:
        if name not in lists or (name == "trainval" and whole == "train") or (name == "val" and whole == "trainval"):
            continue
        # A list of one class has a second column, and -1 where the class is not.
        stems = [line.split()[0] for line in lists[name].read_text(encoding="utf-8-sig").splitlines() if line.strip()]
        found += [(base / f"{stem}.xml", part) for stem in stems]
    absent = [file for file, _ in found if not file.is_file()]
    if absent:
        raise ValueError(f"'{lists[whole].parent}' lists {len(absent):,} that have no file, such as '{absent[0]}'.")
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
    ),
    images=True,
)

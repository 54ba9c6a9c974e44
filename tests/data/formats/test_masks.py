"""Are masks read in every layout and every spelling of their classes that people have, to the pixel?"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from linnet.data import DataSet, find, find_for, recognise_task
from linnet.data.formats.mask_coding import CITYSCAPES_IDS, voc_colour
from linnet.data.masks.shapes import run_lengths, unpacked
from linnet.data.recognition import OtherTaskError, UnusedIgnoreError
from linnet.images import count_pages, decode, read_page

NAMES = ("sky", "road", "sign symbol")

COLOURS = ((70, 130, 180), (128, 64, 128), (220, 220, 0))

WIDTH, HEIGHT = 24, 18

NUMBERS = {"train": 4, "val": 2, "test": 1}

PART_OF = {"train": "train", "val": "validation", "test": "test"}


def indices(number: int) -> NDArray[np.uint8]:
    """A mask (H, W) of three classes, another one for each number."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[6 + number % 4 :] = 1
    mask[2 : 5 + number % 3, 3:9] = 2
    return mask


def picture(number: int) -> Image.Image:
    noise = np.random.default_rng(number).integers(0, 255, (HEIGHT, WIDTH, 3))
    return Image.fromarray(noise.astype(np.uint8))


def save(image: Image.Image, path: Path, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)


def plain(mask: NDArray[Any]) -> Image.Image:
    return Image.fromarray(mask)


def in_colours(mask: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(np.array(COLOURS, np.uint8)[mask])


def in_palette(mask: NDArray[np.uint8]) -> Image.Image:
    image = Image.fromarray(mask, "P")
    image.putpalette([level for colour in COLOURS for level in colour])
    return image


def every() -> list[tuple[str, str, int]]:
    """(part, stem, number) of all pictures."""
    numbers = [(part, n) for part, count in NUMBERS.items() for n in range(count)]
    return [(part, f"{part}_{n}", place) for place, (part, n) in enumerate(numbers)]


def lay(root: Path, image: str, mask: str, draw: Callable[[NDArray[np.uint8]], Image.Image] = plain) -> None:
    """Pictures and masks under paths with {part} and {stem} in them."""
    for part, stem, number in every():
        save(picture(number), root / image.format(part=part, stem=stem))
        save(draw(indices(number)), root / mask.format(part=part, stem=stem))


def classes(root: Path, text: str = "\n".join(NAMES), name: str = "classes.txt") -> None:
    root.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)


def held(data: DataSet, *, parts: bool = True) -> None:
    """That every picture has its own mask, in its own part."""
    assert data.task == "segmentation"
    found = {}
    for of, samples in data.parts.items():
        for sample in samples:
            stem = sample.path.stem.removesuffix("_leftImg8bit").removeprefix("image_").lower()
            found[stem] = of, sample.mask.read((WIDTH, HEIGHT))
    assert sorted(found) == sorted(stem for _, stem, _ in every())
    for part, stem, number in every():
        assert found[stem][0] == (PART_OF[part] if parts else "train"), stem
        assert np.array_equal(found[stem][1], indices(number)), stem


LAYOUTS: dict[str, tuple[str, str]] = {
    "parts below": ("images/{part}/{stem}.jpg", "masks/{part}/{stem}.png"),
    "parts above": ("{part}/images/{stem}.jpg", "{part}/masks/{stem}.png"),
    "in capitals": ("Images/{part}/{stem}.JPG", "Masks/{part}/{stem}.PNG"),
    "labels": ("images/{part}/{stem}.png", "labels/{part}/{stem}.png"),
    "annotations": ("images/{part}/{stem}.jpg", "annotations/{part}/{stem}.png"),
    "an ending": ("images/{part}/{stem}.jpg", "masks/{part}/{stem}_mask.png"),
    "CamVid's ending": ("images/{part}/{stem}.png", "labels/{part}/{stem}_L.png"),
    "a beginning": ("images/{part}/image_{stem}.png", "masks/{part}/mask_{stem}.png"),
    "Kaggle's": ("{part}/{stem}.png", "{part}_masks/{stem}_mask.gif"),
    "Kaggle's labels": ("{part}/{stem}.png", "{part}_labels/{stem}_L.png"),
    "SegNet's": ("{part}/{stem}.png", "{part}annot/{stem}.png"),
    "words of parts": ("images/{part}_images/{stem}.png", "images/{part}_masks/{stem}.png"),
    "side by side": ("{part}/{stem}.jpg", "{part}/{stem}_mask.png"),
    "of one name": ("{part}/{stem}.jpg", "{part}/{stem}.png"),
    "in another folder": ("set/images/{part}/{stem}.jpg", "set/masks/{part}/{stem}.png"),
    "cities": ("leftImg8bit/{part}/ulm/{stem}_leftImg8bit.png", "gtFine/{part}/ulm/{stem}_gtFine_labelTrainIds.png"),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts(name: str, tmp_path: Path) -> None:
    lay(tmp_path, *LAYOUTS[name])
    classes(tmp_path)
    data = find(tmp_path)
    if name != "cities":
        assert data.classes == NAMES
    held(data)
    assert recognise_task(tmp_path) == "segmentation"
    assert not data.omissions
    assert not data.flaws
    assert not data.unlisted
    # Nothing but what the classes are was guessed.
    assert not [note for note in data.notes if "--format" in note]


@pytest.mark.parametrize("lists", ["ImageSets/Segmentation", "splits", "."])
def test_lists_tell_parts(lists: str, tmp_path: Path) -> None:
    lay(tmp_path, "JPEGImages/{stem}.jpg", "SegmentationClass/{stem}.png")
    classes(tmp_path)
    for part in NUMBERS:
        lines = [stem for of, stem, _ in every() if of == part]
        classes(tmp_path / lists, "\n".join(lines), f"{part}.txt")
    held(find(tmp_path))


def test_lists_of_paths_and_a_list_of_validation_alone(tmp_path: Path) -> None:
    lay(tmp_path, "images/{stem}.png", "labels/{stem}_L.png")
    classes(tmp_path, "\n".join(NAMES), "codes.txt")
    chosen = [stem for part, stem, _ in every() if part == "val"]
    classes(
        tmp_path, "\n".join(f"/CamVid/images/{stem}.png /CamVid/labels/{stem}_L.png" for stem in chosen), "valid.txt"
    )
    data = find(tmp_path)
    assert data.classes == NAMES
    assert [len(samples) for samples in data.parts.values()] == [5, 2]
    assert sorted(sample.path.stem for sample in data.validation) == chosen
    classes(tmp_path, f"{chosen[0]}\n", "test.txt")
    with pytest.raises(ValueError, match=r"both name .*: it can be in one part"):
        find(tmp_path)


def test_without_parts_a_share_is_split_off_by_the_seed(tmp_path: Path) -> None:
    lay(tmp_path, "images/{stem}.jpg", "masks/{stem}.png")
    classes(tmp_path)
    data = find(tmp_path)
    held(data, parts=False)
    once, again, other = (data.with_validation(0.3, seed) for seed in (1, 1, 2))
    assert [len(part) for part in once.parts.values()] == [5, 2]
    assert once.validation == again.validation
    assert once.validation != other.validation or once.train != other.train
    assert "30% of the pictures" in once.split


CLASS_FILES: dict[str, tuple[str, str]] = {
    "names": ("classes.txt", "\n".join(NAMES)),
    "numbered": ("classes.txt", "\n".join(f"{n}: {name}" for n, name in enumerate(NAMES))),
    "numbered behind": ("labels.txt", "\n".join(f"{name},{n}" for n, name in enumerate(NAMES))),
    "CamVid's": (
        "label_colors.txt",
        "\n".join(f"{r} {g} {b}\t\t{n}" for n, (r, g, b) in zip(NAMES, COLOURS, strict=True)),
    ),
    "names and colours": (
        "classes.txt",
        "\n".join(f"{n} {r} {g} {b}" for n, (r, g, b) in zip(NAMES, COLOURS, strict=True)),
    ),
    "with commas": (
        "classes.txt",
        "\n".join(f"{n}, {r}, {g}, {b}" for n, (r, g, b) in zip(NAMES, COLOURS, strict=True)),
    ),
    "numbers, names and colours": (
        "classes.txt",
        "\n".join(f"{k} {n} {c[0]} {c[1]} {c[2]}" for k, (n, c) in enumerate(zip(NAMES, COLOURS, strict=True))),
    ),
    "hexadecimal": (
        "colors.txt",
        "\n".join(f"{n} #{r:02x}{g:02X}{b:02x}" for n, (r, g, b) in zip(NAMES, COLOURS, strict=True)),
    ),
    "CVAT's": (
        "labelmap.txt",
        "# label:color_rgb:parts:actions\n"
        + "\n".join(f"{n}:{r},{g},{b}::" for n, (r, g, b) in zip(NAMES, COLOURS, strict=True)),
    ),
    "Kaggle's": (
        "class_dict.csv",
        "name,r,g,b\n" + "\n".join(f"{n},{r},{g},{b}" for n, (r, g, b) in zip(NAMES, COLOURS, strict=True)),
    ),
    "Roboflow's": ("_classes.csv", "Pixel Value, Class\n" + "\n".join(f"{n}, {name}" for n, name in enumerate(NAMES))),
    "a model's": ("id2label.json", json.dumps({str(n): name for n, name in enumerate(NAMES)})),
    "a list": ("classes.json", json.dumps(NAMES)),
}


@pytest.mark.parametrize("spelling", CLASS_FILES)
@pytest.mark.parametrize("drawn", ["plain", "palette", "colours"])
def test_spellings_of_classes(spelling: str, drawn: str, tmp_path: Path) -> None:
    draw = {"plain": plain, "palette": in_palette, "colours": in_colours}[drawn]
    lay(tmp_path, *LAYOUTS["parts below"], draw)
    name, text = CLASS_FILES[spelling]
    classes(tmp_path, text, name)
    told = any(str(COLOURS[0][0]) in line or "46" in line for line in text.splitlines())
    if drawn == "colours" and not told:
        with pytest.raises(ValueError, match=r"the masks are in colours .*70 130 180"):
            find(tmp_path)
        return
    data = find(tmp_path)
    assert data.classes == NAMES
    held(data)


def test_a_palette_in_another_order_is_looked_up_by_its_colours(tmp_path: Path) -> None:
    def shuffled(mask: NDArray[np.uint8]) -> Image.Image:
        image = Image.fromarray(2 - mask, "P")
        image.putpalette([level for colour in COLOURS[::-1] for level in colour])
        return image

    lay(tmp_path, *LAYOUTS["parts below"], shuffled)
    classes(tmp_path, CLASS_FILES["CamVid's"][1], "label_colors.txt")
    held(find(tmp_path))


def test_void_and_unlisted_colours(tmp_path: Path) -> None:
    def with_void(mask: NDArray[np.uint8]) -> Image.Image:
        colours = np.asarray(in_colours(mask)).copy()
        colours[0] = 0
        colours[1] = (1, 2, 3)
        return Image.fromarray(colours)

    lay(tmp_path, *LAYOUTS["parts below"], with_void)
    classes(tmp_path, CLASS_FILES["CamVid's"][1] + "\n0 0 0 Void", "label_colors.txt")
    data = find(tmp_path)
    assert data.classes == NAMES
    assert any("Void" in note for note in data.notes)
    assert set(np.unique(data.train[0].mask.read()[:2])) == {255}
    assert (data.train[0].mask.look().classes[1] == -1).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sky 1 2 3\nroad 1 2 3", r"line 2: the colour \(1, 2, 3\) is that of line 1 too"),
        ("sky\nroad\nsky", r"line 3: the name 'sky' is that of line 1 too"),
        ("0 sky\n0 road", r"line 2: the value 0 is that of line 1 too"),
        ("sky 1 2 3\nroad 4 5 600\nsign 7 8 9", r"line 2: a colour has three numbers from 0 to 255"),
        ("sky 1 2 3\nroad 4 5\nsign 7 8 9", r"line 2: 'road 4 5' was expected to be name r g b"),
        ("\n".join(map(str, range(300))), r"has 300 classes; masks of at most 255"),
    ],
)
def test_class_files_that_are_wrong(text: str, message: str, tmp_path: Path) -> None:
    lay(tmp_path, *LAYOUTS["parts below"])
    classes(tmp_path, text)
    with pytest.raises(ValueError, match=message):
        find(tmp_path)


def test_without_a_class_file_values_are_the_names(tmp_path: Path) -> None:
    lay(tmp_path, *LAYOUTS["parts below"])
    data = find(tmp_path)
    assert data.classes == ("0", "1", "2")
    assert any("No file names the classes" in note for note in data.notes)
    held(data)


def test_masks_in_colours_without_a_table_are_refused(tmp_path: Path) -> None:
    lay(tmp_path, *LAYOUTS["parts below"], in_colours)
    with pytest.raises(ValueError, match=r"in colours .*classes.txt with one line `name red green blue` .*128 64 128"):
        find(tmp_path)


def black_and_white(white: int) -> Callable[[NDArray[np.uint8]], Image.Image]:
    return lambda mask: Image.fromarray(((mask == 1) * white).astype(np.uint8))


def test_black_and_white_are_two_classes_and_said(tmp_path: Path) -> None:
    lay(tmp_path, *LAYOUTS["parts below"], black_and_white(255))
    data = find(tmp_path)
    assert data.classes == ("background", "foreground")
    assert any("white 'foreground', and nothing is ignored" in note for note in data.notes)
    assert np.array_equal(data.train[0].mask.read(), indices(0) == 1)
    classes(tmp_path, "membrane")
    assert find(tmp_path).classes == ("background", "membrane")
    assert np.array_equal(find(tmp_path).train[0].mask.read(), indices(0) == 1)
    classes(tmp_path, "cell\nmembrane")
    assert find(tmp_path).classes == ("cell", "membrane")
    ignoring = find(tmp_path, ignore=255)
    assert set(np.unique(ignoring.train[0].mask.read())) == {0, 255}


def test_bits_and_smoothed_edges_are_black_and_white_too(tmp_path: Path) -> None:
    lay(tmp_path / "bits", *LAYOUTS["parts below"], lambda mask: black_and_white(255)(mask).convert("1"))
    assert np.array_equal(find(tmp_path / "bits").train[0].mask.read(), indices(0) == 1)
    big = [np.repeat(np.repeat(indices(number), 8, 0), 8, 1) for number in range(3)]
    for number, mask in enumerate(big):
        save(Image.fromarray(mask), tmp_path / "smooth" / "images" / f"{number}.png")
        soft = black_and_white(255)(mask).resize((WIDTH * 4, HEIGHT * 4), Image.Resampling.BILINEAR)
        save(
            soft.resize((WIDTH * 8, HEIGHT * 8), Image.Resampling.BILINEAR), tmp_path / "smooth/masks" / f"{number}.png"
        )
        save(Image.fromarray(mask), tmp_path / "lossy" / "images" / f"{number}.png")
        save(black_and_white(255)(mask), tmp_path / "lossy" / "masks" / f"{number}.jpg", quality=80)
    for folder in ("smooth", "lossy"):
        data = find(tmp_path / folder)
        assert data.classes == ("background", "foreground")
        for number, sample in enumerate(data.train):
            assert (sample.mask.read() == (big[number] == 1)).mean() > 0.98


def test_zero_and_one_are_two_classes_and_255_is_then_ignored(tmp_path: Path) -> None:
    def edged(mask: NDArray[np.uint8]) -> Image.Image:
        values = (mask == 1).astype(np.uint8)
        values[0] = 255
        return Image.fromarray(values)

    lay(tmp_path, *LAYOUTS["parts below"], edged)
    for text in (None, "background\nthing"):
        if text:
            classes(tmp_path, text)
        mask = find(tmp_path).train[0].mask.read()
        assert set(np.unique(mask)) == {0, 1, 255}
        assert np.array_equal(mask[1:], (indices(0) == 1)[1:])


def test_values_from_one_on_and_the_background_that_no_file_lists(tmp_path: Path) -> None:
    lay(tmp_path / "zero", *LAYOUTS["parts below"])
    classes(tmp_path / "zero", "road\nsign")
    data = find(tmp_path / "zero")
    assert data.classes == ("background", "road", "sign")
    assert any("0 is taken as the background" in note for note in data.notes)
    held(data)
    assert find(tmp_path / "zero", ignore=0).classes == ("road", "sign")
    lay(tmp_path / "one", *LAYOUTS["parts below"], lambda mask: Image.fromarray(mask + np.uint8(1)))
    classes(tmp_path / "one")
    held(find(tmp_path / "one"))


def test_a_chosen_value_or_class_is_ignored(tmp_path: Path) -> None:
    lay(tmp_path, *LAYOUTS["parts below"])
    classes(tmp_path)
    for chosen in (1, "1", "Road"):
        data = find(tmp_path, ignore=chosen)
        assert data.classes == ("sky", "sign symbol")
        expected = np.array([0, 255, 1], np.uint8)[indices(0)]
        assert np.array_equal(data.train[0].mask.read(), expected)
    with pytest.raises(ValueError, match="no class 'river' to be ignored"):
        find(tmp_path, ignore="river")


def test_sixteen_bits(tmp_path: Path) -> None:
    lay(tmp_path, *LAYOUTS["parts below"], lambda mask: Image.fromarray(mask.astype(np.uint16) * 1000))
    data = find(tmp_path)
    assert data.classes == ("0", "1000", "2000")
    held(data)


def test_vocs_own_palette_and_names(tmp_path: Path) -> None:
    def voc(mask: NDArray[np.uint8]) -> Image.Image:
        image = Image.fromarray(np.where(mask == 2, 255, mask * 15).astype(np.uint8), "P")
        image.putpalette([level for number in range(256) for level in voc_colour(number)])
        return image

    lay(tmp_path, "JPEGImages/{stem}.jpg", "SegmentationClass/{stem}.png", voc)
    save(plain(indices(0)), tmp_path / "SegmentationObject" / "train_0.png")
    (tmp_path / "Annotations").mkdir()
    data = find(tmp_path)
    assert len(data.classes) == 21
    assert data.classes[15] == "person"
    assert set(np.unique(data.train[0].mask.read())) == {0, 15, 255}
    assert [one.name.endswith("SegmentationObject/train_0.png") for one in data.omissions] == [True]
    # With boxes too, these are the default.
    box = "<bndbox><xmin>2</xmin><ymin>2</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
    for _, stem, _ in every():
        text = f"<annotation><filename>{stem}.jpg</filename><object><name>cat</name>{box}</object></annotation>"
        (tmp_path / "Annotations" / f"{stem}.xml").write_text(text)
    assert find(tmp_path).task == "detection"
    assert find(tmp_path, task="segmentation").classes == data.classes


def test_cityscapes_label_ids(tmp_path: Path) -> None:
    ids = np.array([CITYSCAPES_IDS[10], CITYSCAPES_IDS[0], 3], np.uint8)
    image, mask = LAYOUTS["cities"]
    lay(tmp_path, image, mask.replace("TrainIds", "Ids"), lambda own: Image.fromarray(ids[own]))
    lay(tmp_path, image, mask.replace("labelTrainIds", "color"), in_colours)
    data = find(tmp_path)
    assert len(data.classes) == 19
    assert data.classes[:2] == ("road", "sidewalk")
    assert np.array_equal(data.train[0].mask.read(), np.array([10, 0, 255], np.uint8)[indices(0)])
    assert {one.reason for one in data.omissions} == {"shows a mask in another way"}


def test_what_is_not_read_is_said(tmp_path: Path) -> None:
    lay(tmp_path, *LAYOUTS["parts below"])
    classes(tmp_path)
    save(picture(90), tmp_path / "images" / "train" / "lonely.jpg")
    save(plain(indices(0)), tmp_path / "masks" / "train" / "widow.png")
    save(picture(91), tmp_path / "more" / "extra.jpg")
    data = find(tmp_path)
    assert [Path(name).name for name in data.unlisted] == ["lonely.jpg"]
    assert [(flaw.kind, Path(flaw.name).name) for flaw in data.flaws] == [("orphan", "widow.png")]
    assert [Path(one.name).name for one in data.omissions] == ["extra.jpg"]
    remarks = " ".join(data.remarks())
    assert "1 pictures that have no mask are left out" in remarks
    assert "1 masks are left out" in remarks


def stack(root: Path, name: str, pages: list[Image.Image], **options: Any) -> None:
    """A TIFF file of several pages."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pages[0].save(path, save_all=True, append_images=pages[1:], **options)


@pytest.mark.parametrize(
    ("pictures", "masks", "kind"),
    [
        ("train-volume.tif", "train-labels.tif", "L"),
        ("images/cells.tif", "masks/cells.tif", "RGB"),
        ("images/train-volume.tif", "labels/train-labels.tif", "I;16"),
        ("raw.tiff", "membranes.tif", "L"),
    ],
)
def test_pages_of_a_stack_are_slices(pictures: str, masks: str, kind: str, tmp_path: Path) -> None:
    generator = np.random.default_rng(2)
    levels = generator.integers(0, 256, (4, 20, 24), dtype=np.uint8)
    pages = [Image.fromarray(one.astype(np.uint16) if kind == "I;16" else one) for one in levels]
    stack(tmp_path, pictures, [page if kind == "I;16" else page.convert(kind) for page in pages])
    drawn = [np.where(generator.random((20, 24)) < 0.3 + 0.1 * number, 255, 0) for number in range(4)]
    stack(tmp_path, masks, [Image.fromarray(one.astype(np.uint8)) for one in drawn], compression="tiff_lzw")
    data = find(tmp_path)
    assert (data.task, data.classes) == ("segmentation", ("background", "foreground"))
    assert [sample.name for sample in data.train] == [f"{tmp_path / pictures}, page {n}" for n in range(1, 5)]
    for sample, one, mask in zip(data.train, levels, drawn, strict=True):
        assert np.array_equal(np.asarray(decode(sample.picture))[..., 0], one)
        assert np.array_equal(sample.mask.read((24, 20)), mask == 255)
    assert any("each page is a picture" in note for note in data.notes)


def test_stacks_that_do_not_go_together_are_sentences(tmp_path: Path) -> None:
    pages = [Image.fromarray(np.full((9, 9), 40 * number, np.uint8)) for number in range(5)]
    stack(tmp_path, "a/images/x.tif", pages)
    stack(tmp_path, "a/masks/x.tif", pages[:3])
    with pytest.raises(ValueError, match=r"have 5 and 3 pages: each page needs a mask of its own. .*ImageSequence"):
        find(tmp_path / "a")
    stack(tmp_path, "b/x.tif", pages)
    with pytest.raises(ValueError, match=r"has 5 pages: they are slices where .* python -c"):
        find(tmp_path / "b")
    # A preview, or the same in several sizes, is no slice.
    stack(tmp_path, "c/images/x.tif", [pages[0], pages[1].resize((4, 4))])
    stack(tmp_path, "c/masks/x.tif", pages[:1])
    assert len(find(tmp_path / "c").train) == 1


def test_a_page_that_is_damaged_is_named(tmp_path: Path) -> None:
    pages = [Image.fromarray(np.full((9, 9), 40 * number, np.uint8)) for number in range(3)]
    stack(tmp_path, "x.tif", pages, compression="tiff_lzw")
    with pytest.raises(ValueError, match=r"x.tif', page 8, is damaged and cannot be decoded"):
        read_page(tmp_path / "x.tif", 7)
    (tmp_path / "y.tif").write_bytes((tmp_path / "x.tif").read_bytes()[:40])
    assert count_pages(tmp_path / "y.tif") == 1
    assert count_pages(tmp_path / "none.tif") == 1


def test_folders_of_pictures_and_masks_that_do_not_match_are_no_classes(tmp_path: Path) -> None:
    for number in range(3):
        save(picture(number), tmp_path / "images" / f"{number}.png")
        save(plain(indices(number)), tmp_path / "masks" / f"other{number + 5}.png")
    with pytest.raises(ValueError, match="'images' and 'masks', as pictures and masks are called"):
        find(tmp_path)


@pytest.mark.parametrize(
    ("pictures", "masks"), [("train-volume/{}", "train-labels/{}"), ("images/image{:02}", "masks/label{:02}")]
)
def test_spellings_of_volumes(pictures: str, masks: str, tmp_path: Path) -> None:
    for number in range(3):
        save(picture(number), tmp_path / f"{pictures.format(number)}.png")
        save(plain(indices(number)), tmp_path / f"{masks.format(number)}.png")
    assert len(find(tmp_path).train) == 3


def test_class_folders_are_no_masks(tmp_path: Path) -> None:
    for name in ("with_mask", "without_mask", "stamps", "labels"):
        save(picture(1), tmp_path / name / "1.png")
    assert find(tmp_path).task == "classification"
    assert find(tmp_path, format="folders").classes == ("labels", "stamps", "with_mask", "without_mask")


def test_masks_of_pictures_that_exif_turns(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for number in range(2):
        save(picture(number), tmp_path / "images" / f"{number}.jpg", exif=exif)
    made = indices(0)
    save(plain(np.rot90(made, -1)), tmp_path / "masks" / "0.png")
    save(plain(made), tmp_path / "masks" / "1.png")
    classes(tmp_path)
    data = find(tmp_path)
    for sample in data.train:
        assert np.array_equal(sample.mask.read((HEIGHT, WIDTH)), np.rot90(made, -1))
    assert any("masks are taken as made on the turned picture" in note for note in data.notes)
    assert any("the masks are turned along" in note for note in data.notes)


def test_the_model_s_order_of_classes(tmp_path: Path) -> None:
    lay(tmp_path, *LAYOUTS["parts below"])
    classes(tmp_path)
    moved = find(tmp_path).for_classes(("Sign_Symbol", "car", "road", "sky"), 4)
    assert np.array_equal(moved.train[0].mask.read(), np.array([3, 2, 0], np.uint8)[indices(0)])
    with pytest.raises(ValueError, match=r"masks of classes that are none of the model's 2: sign symbol"):
        find(tmp_path).for_classes(("sky", "road"), 2)


def test_classes_that_no_file_names_are_matched_by_their_numbers(tmp_path: Path) -> None:
    lay(tmp_path / "white", *LAYOUTS["parts below"], black_and_white(255))
    with pytest.warns(UserWarning, match="their numbers are taken"):
        moved = find(tmp_path / "white").for_classes(("background", "membrane"), 2)
    assert moved.classes == ("background", "membrane")
    assert np.array_equal(moved.train[0].mask.read(), indices(0) == 1)
    lay(tmp_path / "gap", *LAYOUTS["parts below"], lambda mask: Image.fromarray(mask * np.uint8(2)))
    moved = find(tmp_path / "gap").for_classes(("a", "b", "c", "d", "e"), 5)
    assert np.array_equal(moved.train[0].mask.read(), indices(0) * 2)
    with pytest.raises(ValueError, match="none of the model's 3"):
        find(tmp_path / "gap").for_classes(("a", "b", "c"), 3)


def coco(root: Path, entries: list[dict[str, Any]], categories: tuple[str, ...] = ("cat", "dog")) -> None:
    save(picture(0), root / "images" / "0.png")
    document = {
        "images": [{"id": 0, "file_name": "0.png", "width": WIDTH, "height": HEIGHT}],
        "annotations": [{"id": number, "image_id": 0} | entry for number, entry in enumerate(entries)],
        "categories": [{"id": 1 + number, "name": name} for number, name in enumerate(categories)],
    }
    root.joinpath("annotations.json").write_text(json.dumps(document))


def outline(x0: int, y0: int, x1: int, y1: int) -> list[int]:
    return [x0, y0, x1, y0, x1, y1, x0, y1]


def runs(mask: NDArray[np.bool_]) -> list[int]:
    """Run lengths down the columns, first of what is outside."""
    flat = np.concatenate([[0], mask.T.ravel().astype(int)])
    ends = np.flatnonzero(np.diff(flat))
    return np.diff(np.concatenate([[0], ends, [mask.size]])).astype(int).tolist()


def test_polygons_and_run_lengths_of_coco(tmp_path: Path) -> None:
    from faster_coco_eval.core import mask as masks

    square = np.zeros((HEIGHT, WIDTH), np.bool_)
    square[2:8, 3:12] = True
    packed = masks.encode(np.asfortranarray(square.astype(np.uint8)))["counts"].decode()
    sizes = {"size": [HEIGHT, WIDTH]}
    assert np.array_equal(run_lengths(packed, (WIDTH, HEIGHT)), square)
    assert unpacked(packed) == runs(square)
    for number, given in enumerate(
        [[outline(3, 2, 12, 8)], sizes | {"counts": runs(square)}, sizes | {"counts": packed}, outline(3, 2, 12, 8)]
    ):
        root = tmp_path / str(number)
        small = {"category_id": 2, "segmentation": [outline(5, 4, 7, 6)], "area": 4, "bbox": [5, 4, 2, 2]}
        coco(root, [small, {"category_id": 1, "segmentation": given, "area": 54, "bbox": [3, 2, 9, 6]}])
        assert find(root).task == recognise_task(root) == "detection"
        data = find(root, task="segmentation")
        assert data.classes == ("background", "cat", "dog")
        expected = square.astype(np.uint8)
        expected[4:6, 5:7] = 2
        assert np.array_equal(data.train[0].mask.read((WIDTH, HEIGHT)), expected)


def test_an_ignored_category_of_coco(tmp_path: Path) -> None:
    objects = [
        {"category_id": number, "segmentation": [outline(6 * number, 2, 6 * number + 4, 9)]} for number in (1, 2, 3)
    ]
    coco(tmp_path, objects, ("cat", "dog", "eel"))
    for ignore, classes_left, values in (
        ("dog", ("background", "cat", "eel"), (1, 255, 2)),
        ("background", ("cat", "dog", "eel"), (0, 1, 2)),
        (3, ("background", "cat", "dog"), (1, 2, 255)),
    ):
        data = find(tmp_path, task="segmentation", ignore=ignore)
        assert data.classes == classes_left
        mask = data.train[0].mask.read()
        assert tuple(mask[4, 6 * number + 1] for number in (1, 2, 3)) == values
        assert mask[0, 0] == (255 if ignore == "background" else 0)
        assert not [flaw for flaw in data.flaws if flaw.kind == "unknown_category"]


def test_crowds_and_boxes_without_masks_are_ignored(tmp_path: Path) -> None:
    crowd = {"category_id": 1, "segmentation": [outline(0, 0, 4, 4)], "iscrowd": 1}
    boxed = {"category_id": 2, "bbox": [10, 0, 4, 4]}
    coco(tmp_path, [crowd, boxed, {"category_id": 2, "segmentation": [outline(4, 10, 8, 14)]}])
    data = find(tmp_path, task="segmentation")
    mask = data.train[0].mask.read()
    assert (mask[:4, :4] == 255).all()
    assert (mask[:4, 10:14] == 255).all()
    assert (mask[10:14, 4:8] == 2).all()
    assert [flaw.kind for flaw in data.flaws] == ["malformed"]


@pytest.mark.parametrize(
    "given",
    [
        {"size": [HEIGHT, WIDTH], "counts": [1, 2]},
        {"size": [HEIGHT, WIDTH], "counts": "~~~"},
        {"size": [HEIGHT, WIDTH], "counts": "o" * 40},
        {"size": [1, 1], "counts": [1]},
        {"size": [HEIGHT, WIDTH], "counts": 5},
        [[1, 2, "x", 4, 5, 6]],
        [[1, 2, 3]],
        [[1e12, 2, 3, 4, 5, 6]],
        [],
    ],
)
def test_masks_of_coco_that_are_wrong(given: Any, tmp_path: Path) -> None:
    good = {"category_id": 2, "segmentation": [outline(4, 10, 8, 14)]}
    coco(tmp_path, [good, {"category_id": 1, "segmentation": given}])
    data = find(tmp_path, task="segmentation")
    if data.flaws:
        assert [flaw.kind for flaw in data.flaws] == ["malformed"]
        assert (data.train[0].mask.read()[10:14, 4:8] == 2).all()
    else:
        with pytest.raises(ValueError, match=r"0.png.*run lengths"):
            data.train[0].mask.read()


def test_polygons_far_outside_cost_nothing(tmp_path: Path) -> None:
    coco(tmp_path, [{"category_id": 1, "segmentation": [outline(-(10**8), -(10**8), 10**8, 10**8)]}])
    assert (find(tmp_path, task="segmentation").train[0].mask.read() == 1).all()


def test_what_has_no_masks_is_refused_in_a_sentence(tmp_path: Path) -> None:
    coco(tmp_path / "boxes", [{"category_id": 1, "bbox": [1, 1, 4, 4]}])
    with pytest.raises(ValueError, match=r"not one annotation has a `segmentation`"):
        find(tmp_path / "boxes", task="segmentation")
    with pytest.raises(UnusedIgnoreError, match=r"--ignore is for pictures with masks"):
        find(tmp_path / "boxes", ignore=0)
    for name in ("ant", "bee"):
        save(picture(1), tmp_path / "classes" / name / "1.png")
    with pytest.raises(OtherTaskError, match=r"shows nothing for segmentation"):
        find(tmp_path / "classes", task="segmentation")


def test_a_model_or_a_recipe_of_segmentation_gets_masks_where_there_are_some(tmp_path: Path) -> None:
    coco(tmp_path / "both", [{"category_id": 1, "segmentation": [outline(1, 1, 5, 5)], "bbox": [1, 1, 4, 4]}])
    assert find_for("segmentation", tmp_path / "both", ignore="dog").classes == ("background", "cat")
    assert find_for("detection", tmp_path / "both").task == "detection"
    for name in ("ant", "bee"):
        save(picture(1), tmp_path / "classes" / name / "1.png")
    assert find_for("segmentation", tmp_path / "classes").task == "classification"


def test_masks_are_small_and_can_be_sent_to_other_processes(tmp_path: Path) -> None:
    lay(tmp_path, *LAYOUTS["parts below"])
    classes(tmp_path)
    data = find(tmp_path).for_classes(NAMES[::-1], 3)
    content = pickle.dumps(data.train)
    assert len(content) < 2000 + 400 * len(data.train)
    for sample, other in zip(data.train, pickle.loads(content), strict=True):
        assert np.array_equal(sample.mask.read(), other.mask.read())


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.full((HEIGHT, WIDTH), 255, np.uint8), r"every pixel of the masks is 255"),
        (np.zeros((HEIGHT, WIDTH), np.uint8), r"one class only \('0'\): a segmenter needs two"),
        (np.arange(HEIGHT * WIDTH, dtype=np.uint16).reshape(HEIGHT, WIDTH), r"431 different values .*no file names"),
        (None, r"not one of 2 masks can be read. The first: .*0.png' is not a picture"),
    ],
)
def test_masks_that_teach_nothing_are_refused(mask: Any, message: str, tmp_path: Path) -> None:
    for number in range(2):
        save(picture(number), tmp_path / "images" / f"{number}.png")
        save(plain(indices(0) if mask is None else mask), tmp_path / "masks" / f"{number}.png")
        if mask is None:
            (tmp_path / "masks" / f"{number}.png").write_text("no picture")
    with pytest.raises(ValueError, match=message):
        find(tmp_path).for_training()


CAMVID = Path(__file__).resolve().parents[4] / "shared" / "data" / "camvid"


@pytest.mark.skipif(not CAMVID.is_dir(), reason="CamVid is not in ../shared/data")
def test_camvid() -> None:
    data = find(CAMVID)
    assert [len(samples) for samples in data.parts.values()] == [367, 101, 233]
    assert len(data.classes) == 11
    assert data.classes[-1] == "bicyclist"
    assert not data.remarks()
    counts = np.array(data.count(data.validation))
    shares = counts / (101 * 480 * 360) * 100
    published = [9.2, 26.0, 0.6, 29.0, 8.7, 16.3, 0.9, 3.1, 1.8, 0.7, 2.2]
    assert np.abs(shares - published).max() < 0.06

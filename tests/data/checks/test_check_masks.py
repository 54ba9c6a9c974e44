"""Does a check find what is wrong or odd with masks, and say which, where and how many?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from linnet.cli import main
from linnet.data import find
from linnet.data.checks.findings import MaskFindings, Problem
from linnet.data.checks.mask_inspection import is_smoothed
from linnet.data.checks.masks import check_masks

SIDE = 40

NAMES = ("background", "wall", "membrane")


def square(number: int = 0) -> NDArray[np.uint8]:
    """A wall, and a membrane in it."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[5 + number % 5 : 35, 5:35] = 1
    mask[20:22, 8:30] = 2
    return mask


def add(root: Path, stem: str, mask: NDArray[Any] | Image.Image, seed: int | None = None, ending: str = "png") -> Path:
    """A picture of noise of its own, and its mask."""
    seed = sum(stem.encode()) if seed is None else seed
    # Blocks, so that pictures of other seeds look different.
    blocks = np.random.default_rng(seed).integers(0, 255, (8, 8, 3)).astype(np.uint8)
    for name in ("images", "masks"):
        (root / name / Path(stem).parent).mkdir(parents=True, exist_ok=True)
    Image.fromarray(blocks.repeat(SIDE // 8, 0).repeat(SIDE // 8, 1)).save(root / "images" / f"{stem}.png")
    file = root / "masks" / f"{stem}.{ending}"
    (mask if isinstance(mask, Image.Image) else Image.fromarray(mask)).save(file)
    return file


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four good pictures."""
    (tmp_path / "classes.txt").write_text("\n".join(NAMES))
    for number in range(4):
        add(tmp_path, f"good{number}", square(number), 100 + number)
    return tmp_path


def checked(root: Path, **options: Any) -> tuple[MaskFindings, dict[str, Problem]]:
    findings = check_masks(find(root), **options)
    return findings, {problem.kind: problem for problem in findings.problems}


def names(problem: Problem) -> list[str]:
    return [Path(name).stem for name in problem.files]


def test_good_masks_are_counted(root: Path) -> None:
    findings, problems = checked(root)
    assert set(problems) <= {"imbalance"}
    pixels = np.sum([np.bincount(square(number).ravel(), minlength=3) for number in range(4)], axis=0)
    assert findings.counts["train"] == tuple(pixels.tolist())
    assert findings.pictures == 4
    assert findings.share("train", 1) == pytest.approx(pixels[1] / (4 * SIDE * SIDE))
    document = findings.to_json()
    assert document["classes"][2]["pictures"] == {"train": 4}
    assert document["classes"][2]["train"] == pixels[2]
    assert document["ignored"] == {"train": 0.0}


def test_values_that_are_no_class(root: Path) -> None:
    mask = square()
    mask[3, 7:10] = 9
    mask[30, 30] = 77
    add(root, "odd", mask)
    findings, problems = checked(root)
    problem = problems["mask_value"]
    assert problem.severity == "error"
    assert "1 mask has values that are no class: 9 (3 pixels in 1 mask), 77 (1 pixel in 1 mask)" in problem.sentence
    assert problem.lines == ("masks/odd.png: 9 (3 pixels), 77 (1 pixel); the first at column 7, row 3",)
    # They are ignored, and the picture stays.
    assert not findings.broken
    assert findings.ignored["train"] == 4
    assert set(np.unique(find(root).train[-1].mask.read())) == {0, 1, 2, 255}


def test_masks_of_other_classes_are_left_out(root: Path) -> None:
    add(root, "foreign", square() + np.uint8(40))
    findings, problems = checked(root)
    assert names(problems["mask"]) == ["foreign"]
    assert "100% of its pixels are no class (41 (" in problems["mask"].lines[0]
    assert [Path(name).stem for name in findings.broken] == ["foreign"]
    assert "mask_value" not in problems


def test_colours_that_are_no_class(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("background 0 0 0\nwall 128 0 0\nmembrane 0 128 0")
    table = np.array([(0, 0, 0), (128, 0, 0), (0, 128, 0)], np.uint8)
    for number in range(3):
        colours = table[square(number)]
        if number == 1:
            colours[0, 2] = (1, 2, 3)
        add(tmp_path, f"m{number}", colours)
    _, problems = checked(tmp_path)
    assert problems["mask_value"].lines == ("masks/m1.png: 1 2 3 (1 pixel); the first at column 2, row 0",)


def test_sizes_that_differ(root: Path) -> None:
    add(root, "small", square()[:30])
    findings, problems = checked(root)
    assert problems["mask_size"].severity == "error"
    assert problems["mask_size"].lines == ("masks/small.png: 40 x 30, its picture 40 x 40",)
    assert [Path(name).stem for name in findings.broken] == ["small"]
    sample = next(one for one in find(root).train if one.path.stem == "small")
    with pytest.raises(ValueError, match=r"small.png' has 40 x 30 pixels, its picture 40 x 40"):
        sample.mask.read((40, 40))


def test_smoothed_edges_and_jpeg(root: Path) -> None:
    # Nothing lies between 0 and 1.
    soft = Image.fromarray((square() > 0) * np.uint8(2)).resize((22, 22), Image.Resampling.BILINEAR).resize((40, 40))
    add(root, "soft", soft)
    add(root, "lossy", square() * np.uint8(1), ending="jpg")
    _, problems = checked(root)
    assert names(problems["mask_edges"]) == ["soft"]
    assert "nearest neighbour" in problems["mask_edges"].sentence
    assert names(problems["mask_lossy"]) == ["lossy"]
    assert problems["mask_lossy"].severity == "error"


def test_colours_in_jpeg_are_the_nearest_ones(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("background 0 0 0\nwall 128 0 0\nmembrane 0 128 0")
    table = np.array([(0, 0, 0), (128, 0, 0), (0, 128, 0)], np.uint8)
    for number in range(3):
        add(tmp_path, f"m{number}", table[(square(number) > 0).astype(int)], ending="jpg")
    _, problems = checked(tmp_path)
    assert problems["mask_lossy"].severity == "warning"
    assert "mask" not in problems
    read = find(tmp_path).train[1].mask.read()
    assert (read == (square(1) > 0)).mean() > 0.9


def test_nearest_neighbour_is_not_smoothed() -> None:
    mask = Image.fromarray(square() * np.uint8(7))
    for size in (20, 33, 80):
        assert not is_smoothed(np.asarray(mask.resize((size, size), Image.Resampling.NEAREST)))
        assert is_smoothed(np.asarray(mask.resize((size, size), Image.Resampling.BILINEAR)))


def test_empty_and_ignored_masks(root: Path) -> None:
    add(root, "nothing", np.zeros((SIDE, SIDE), np.uint8))
    add(root, "void", np.full((SIDE, SIDE), 255, np.uint8))
    _, problems = checked(root)
    assert names(problems["empty"]) == ["nothing"]
    assert names(problems["mask_ignored"]) == ["void"]


@pytest.mark.parametrize(("value", "what"), [(0, "are all 'background'"), (255, "are all ignored or no class")])
def test_one_class_only(value: int, what: str, tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("\n".join(NAMES))
    for number in range(3):
        add(tmp_path, f"m{number}", np.full((SIDE, SIDE), value, np.uint8))
    _, problems = checked(tmp_path)
    assert problems["one_class"].severity == "error"
    assert what in problems["one_class"].sentence


def test_classes_that_a_part_lacks(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("\n".join((*NAMES, "door")))
    for number in range(3):
        add(tmp_path, f"train/m{number}", square(number))
        add(tmp_path, f"test/t{number}", square(number) % 2)
    found = check_masks(find(tmp_path))
    lacks = [(problem.sentence, problem.lines) for problem in found.problems if problem.kind == "missing_class"]
    assert lacks == [
        ("The train part has no pixel of 1 class: nothing is learnt of it.", ("door",)),
        ("The test part has no pixel of 2 classes: its figures say nothing of them.", ("membrane", "door")),
    ]


def test_copies_across_parts_and_with_other_masks(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("\n".join(NAMES))
    add(tmp_path, "train/a", square(), 1)
    add(tmp_path, "test/b", square(), 1)
    add(tmp_path, "train/c", square(), 2)
    add(tmp_path, "train/d", square(3), 2)
    _, problems = checked(tmp_path)
    assert [[Path(name).stem for name in group] for group in problems["leak"].groups] == [["a", "b"]]
    assert [[Path(name).stem for name in group] for group in problems["contradiction"].groups] == [["c", "d"]]
    assert "different masks" in problems["contradiction"].sentence


def test_pictures_without_masks_and_masks_without_pictures(root: Path) -> None:
    Image.new("RGB", (SIDE, SIDE)).save(root / "images" / "lonely.png")
    Image.fromarray(square()).save(root / "masks" / "widow.png")
    _, problems = checked(root)
    assert problems["unlisted"].lines == ("images/lonely.png",)
    assert problems["orphan"].lines == ("masks/widow.png",)
    assert "1 mask has no picture: left out." in problems["orphan"].sentence


def test_hostile_masks(root: Path) -> None:
    whole = add(root, "cut", square())
    whole.write_bytes(whole.read_bytes()[:60])
    add(root, "empty", square()).write_bytes(b"")
    add(root, "text", square()).write_text("no picture")
    bomb = add(root, "bomb", square())
    header = bytearray(bomb.read_bytes())
    header[16:24] = (60_000).to_bytes(4, "big") * 2
    bomb.write_bytes(header)
    add(root, "film", square())
    frames = [Image.fromarray(square(number)) for number in range(3)]
    frames[0].save(root / "masks" / "film.png", save_all=True, append_images=frames[1:])
    findings, problems = checked(root)
    assert sorted(names(problems["mask"])) == ["bomb", "cut", "empty", "text"]
    assert all(line.count("masks/") == 1 for line in problems["mask"].lines)
    assert problems["animated"].lines == ("masks/film.png: 3 frames",)
    assert len(findings.broken) == 4
    for sample in find(root).train:
        if sample.name in findings.broken:
            with pytest.raises(ValueError, match=sample.path.stem):
                sample.mask.read()


def test_a_mask_that_is_gone(root: Path) -> None:
    data = find(root)
    Path(data.train[0].mask.name).unlink()
    problems = {problem.kind: problem for problem in check_masks(data).problems}
    assert problems["mask"].lines == ("masks/good0.png: is missing",)


def test_a_limit(root: Path) -> None:
    findings, _ = checked(root, limit=2)
    assert findings.checked == 2
    assert sum(findings.counts["train"]) == 2 * SIDE * SIDE


def test_the_command(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(root)]) == 0
    text = capsys.readouterr().out
    assert "ignored, of all" in text
    assert "4 pictures checked" in text
    add(root, "odd", square() + np.uint8(40))
    assert main(["check", str(root), "--ignore", "wall", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert [entry["name"] for entry in document["classes"]] == ["background", "membrane"]
    assert document["pictures"] == 5
    assert document["errors"] == 1
    assert main(["check", str(root), "--images", str(root)]) == 2
    assert "--images is for annotations that name pictures" in capsys.readouterr().err

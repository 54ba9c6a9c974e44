"""Does the check find what spoils a training, name the files, and stay silent where nothing is wrong?"""

from __future__ import annotations

import csv
import io
import os
import random
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter
from samples import of_file

from linnet.data import DataSet, find
from linnet.data.checks.classes import check_data
from linnet.data.checks.duplicates import find_duplicates
from linnet.data.checks.findings import Findings, Problem
from linnet.data.checks.inspection import inspect
from linnet.images import USUAL_SUFFIXES, decode

CLASSES = ("ant", "bee", "cat")


def draw(seed: int, size: tuple[int, int] = (60, 48)) -> Image.Image:
    """Soft blots of colour, unlike those of any other seed."""
    pixels = np.random.default_rng(seed).integers(0, 255, (6, 7, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)


def encode(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data set in which nothing is wrong: three classes, twelve training and two validation pictures of each."""
    seed = 0
    for part, count in (("train", 12), ("validation", 2)):
        for name in CLASSES:
            (tmp_path / "data" / part / name).mkdir(parents=True)
            for number in range(count):
                draw(seed := seed + 1).save(tmp_path / "data" / part / name / f"{number:02}.png")
    return tmp_path / "data"


def check(folder: Path, **options: Any) -> Findings:
    return check_data(find(folder), **options)


def only(findings: Findings) -> Problem:
    assert len(findings.problems) == 1, findings.problems
    return findings.problems[0]


def short(problem: Problem, folder: Path) -> list[tuple[str, ...]]:
    return [tuple(Path(name).relative_to(folder).as_posix() for name in group) for group in problem.groups]


def test_a_clean_set_has_no_problem(folder: Path) -> None:
    findings = check(folder)
    assert findings.problems == ()
    assert findings.broken == frozenset()
    assert findings.counts == {"train": (12, 12, 12), "validation": (2, 2, 2)}
    assert (findings.pictures, findings.checked) == (42, 42)
    assert (findings.shorter, findings.longer) == ((48, 48, 48), (60, 60, 60))


@pytest.mark.slow
def test_clothing_has_one_contradiction_and_no_leak(sample_data: Callable[[str], Path]) -> None:
    findings = check(sample_data("clothing"))
    problem = only(findings)
    assert (problem.kind, problem.severity, findings.pictures) == ("contradiction", "warning", 3781)
    assert [file.split("/")[-2:][0] for file in problem.files] == ["shorts", "skirt"]
    assert [Path(file).name[:8] for file in problem.files] == ["6075b4a5", "637a56e4"]
    assert (findings.shorter, findings.longer[0]) == ((256, 256, 256), 256)


@pytest.mark.slow
def test_known_copies_in_cifar10(sample_data: Callable[[str], Path]) -> None:
    """Three of its test pictures are training pictures, told apart by hardly a pixel; eyes have confirmed them."""
    pytest.importorskip("pyarrow")
    data = find(sample_data("cifar10"))
    train, test = (35542, 40700, 45266), (6882, 5900, 3136)
    part = replace(
        data,
        train=(*data.train[:2000], *(data.train[row] for row in train)),
        test=(*data.test[:300], *(data.test[row] for row in test)),
    )
    problem = only(check_data(part))
    assert problem.kind == "leak"
    pairs = {
        (f"{data.train[one].file}, row {one}", f"{data.test[two].file}, row {two}")
        for one, two in zip(train, test, strict=True)
    }
    assert set(problem.groups) == pairs
    assert problem.lines[0] == "train.parquet, row 35542 (bird) ≈ test.parquet, row 6882 (bird)"


def broken_files(folder: Path) -> dict[str, str]:
    """Files of every broken kind → a part of what is to be said of them."""
    content = encode(draw(99, (200, 160)), "JPEG")
    png = bytearray(encode(draw(98)))
    png[len(png) // 2] ^= 1
    (folder / "cut.jpg").write_bytes(content[: len(content) // 2])
    (folder / "flipped.png").write_bytes(png)
    (folder / "empty.jpg").touch()
    (folder / "page.jpg").write_text("<html>not found</html>")
    (folder / "header.gif").write_bytes(b"GIF89a")
    (folder / "link.png").symlink_to(folder / "nowhere.png")
    return {
        "cut.jpg": "truncated",
        "flipped.png": "damaged",
        "empty.jpg": "is empty: 0 bytes",
        "page.jpg": "is not a picture",
        "header.gif": "is not a picture",
        "link.png": "is missing",
    }


def test_broken_files_are_errors_with_their_reasons(folder: Path) -> None:
    reasons = broken_files(folder / "train" / "bee")
    findings = check(folder)
    problem = only(findings)
    assert (problem.kind, problem.severity) == ("broken", "error")
    assert findings.broken == {str(folder / "train" / "bee" / name) for name in reasons}
    for name, reason in reasons.items():
        line = next(line for line in problem.lines if name in line)
        assert line.startswith(os.path.join("train", "bee", name))
        assert reason in line
    assert "6 pictures cannot be read" in problem.sentence
    assert problem.first_lines(2) == (*problem.lines[:2], "and 4 more")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP"])
def test_it_agrees_with_decode_on_what_is_broken(kind: str, tmp_path: Path) -> None:
    """Also for JPEG, which is shrunk while it is decoded: every way of damage, in the header and behind it."""
    generator = random.Random(11)
    options: dict[str, Any] = {"quality": 90} if kind in ("JPEG", "WEBP") else {}
    pictures = [encode(draw(5, (300, 280)).filter(ImageFilter.EMBOSS), kind, **options)]
    if kind == "JPEG":
        pictures += [encode(Image.open(io.BytesIO(pictures[0])), kind, progressive=True)]
    samples = []
    for number in range(80):
        content = bytearray(pictures[number % len(pictures)])
        place = generator.randrange(2, min(len(content), (400, 10**9)[number % 3 > 0]))
        if number % 4 == 0:
            del content[place:]
        elif number % 4 == 1:
            content[place] ^= 1 << generator.randrange(8)
        elif number % 4 == 2:
            content[place : place + 50] = generator.randbytes(50)
        else:
            del content[place : place + 30]
        (tmp_path / f"{number}").write_bytes(content)
        samples.append(of_file(tmp_path / f"{number}", 0))
    found = inspect(samples, threads=2)
    for number, sample in enumerate(samples):
        size, sentence = answer(sample.path)
        assert tuple(found.sizes[number]) == size
        assert sentence == (f"'{sample.file}' {found.errors[number]}" if number in found.errors else "")
    assert len(found.errors) == 80 - found.readable.sum()
    assert len(found.errors) >= 20 or kind in ("BMP", "TIFF")


def answer(file: Path) -> tuple[tuple[int, int], str]:
    """Size of a picture, or zeros and what `decode` says."""
    try:
        return decode(file).size, ""
    except ValueError as error:
        return (0, 0), str(error)


def test_what_may_not_be_read(folder: Path) -> None:
    file = folder / "train" / "ant" / "00.png"
    file.chmod(0)
    try:
        if os.access(file, os.R_OK):
            pytest.skip("this user may read everything")
        findings = check(folder)
        assert findings.broken == {str(file)}
        assert "Permission denied" in only(findings).lines[0]
        (folder / "train" / "ant").chmod(0)
        with pytest.raises(PermissionError, match="ant' cannot be read"):
            check(folder)
    finally:
        (folder / "train" / "ant").chmod(0o755)


def test_copies_across_parts(folder: Path) -> None:
    """The same bytes, another size, another format, another quality; but no two pictures that only share a subject."""
    train, validation = folder / "train" / "ant", folder / "validation" / "ant"
    shutil.copy(train / "00.png", validation / "same.png")
    draw(2).resize((90, 72), Image.Resampling.BICUBIC).save(validation / "larger.png")
    draw(3).save(validation / "other.jpg", quality=60)
    problem = only(check(folder))
    assert (problem.kind, problem.severity) == ("leak", "warning")
    assert short(problem, folder) == [
        ("train/ant/00.png", "validation/ant/same.png"),
        ("train/ant/01.png", "validation/ant/larger.png"),
        ("train/ant/02.png", "validation/ant/other.jpg"),
    ]
    assert "3 pictures are in more than one part" in problem.sentence
    assert problem.lines[0] == os.path.join("train", "ant", "00.png") + " = " + os.path.join(
        "validation", "ant", "same.png"
    )
    assert " ≈ " in problem.lines[1]
    assert problem.to_json()["groups"][0] == list(problem.groups[0])


def test_copies_in_one_part(folder: Path) -> None:
    train = folder / "train"
    shutil.copy(train / "ant" / "00.png", train / "bee" / "wrong.png")
    for number in range(6):
        shutil.copy(train / "cat" / "00.png", train / "cat" / f"again{number}.png")
    contradiction, copies = check(folder).problems
    assert (contradiction.kind, contradiction.severity) == ("contradiction", "warning")
    assert short(contradiction, folder) == [("train/ant/00.png", "train/bee/wrong.png")]
    assert (copies.kind, copies.severity) == ("copies", "note")
    assert len(copies.files) == 7
    assert copies.lines[0].endswith(" and 3 more")


def test_copies_in_training_matter_where_validation_is_split_off(folder: Path) -> None:
    shutil.copy(folder / "train" / "ant" / "00.png", folder / "train" / "ant" / "again.png")
    problem = only(check(folder / "train"))
    assert (problem.kind, problem.severity) == ("copies", "warning")
    assert "split" in problem.sentence


def test_empty_and_nearly_equal_pictures_are_not_taken_for_copies(folder: Path) -> None:
    """Blank pages, and one faint blot in different places on the same page."""
    for number, part in enumerate(("train", "validation") * 4):
        shade = Image.new("RGB", (60, 48), (250 - number, 250, 250))
        shade.save(folder / part / "ant" / f"blank{number}.png")
        shade.paste((215, 215, 215), (6 * number, 20, 6 * number + 5, 28))
        shade.save(folder / part / "bee" / f"blot{number}.png")
    assert check(folder).problems == ()


def test_classes_that_are_few_uneven_or_missing(folder: Path) -> None:
    for number in range(12, 40):
        draw(1000 + number).save(folder / "train" / "cat" / f"{number}.png")
    for number in range(3, 12):
        (folder / "train" / "bee" / f"{number:02}.png").unlink()
    shutil.rmtree(folder / "validation" / "ant")
    problems = {problem.kind: problem for problem in check(folder).problems}
    assert set(problems) == {"few", "imbalance", "missing_class"}
    assert {problem.severity for problem in problems.values()} == {"warning"}
    assert problems["few"].lines == ("bee (3 pictures)",)
    assert "40 training pictures of 'cat', 3 of 'bee', 13 times fewer" in problems["imbalance"].sentence
    assert problems["missing_class"].lines == ("ant",)
    assert "validation" in problems["missing_class"].sentence


def test_classes_that_training_lacks(folder: Path) -> None:
    (folder / "validation" / "Cats").mkdir()
    (folder / "validation" / "cat" / "00.png").rename(folder / "validation" / "Cats" / "00.png")
    data = find(folder)
    assert "1 pictures of the class 'Cats' are left out: training has no picture of it." in data.remarks()
    stranger = str(folder / "validation" / "Cats" / "00.png")
    assert data.unknown_names == {"Cats": (stranger,)}
    problem = only(check_data(data))
    assert (problem.kind, problem.severity, problem.files) == ("unknown_class", "error", (stranger,))
    assert "Cats (1 picture" in problem.lines[0]
    assert "training has 'cat'" in problem.lines[0]


def test_classes_that_are_only_named(folder: Path) -> None:
    """`classes.txt` lets a class be known of which training has nothing."""
    (folder / "classes.txt").write_text("ant\nbee\ncat\nowl\n")
    (folder / "validation" / "owl").mkdir()
    draw(77).save(folder / "validation" / "owl" / "00.png")
    unknown, few = check(folder).problems
    assert (unknown.kind, few.kind, few.lines) == ("unknown_class", "few", ("owl (0 pictures)",))
    assert short(unknown, folder) == [("validation/owl/00.png",)]


def test_sizes(folder: Path) -> None:
    train = folder / "train" / "ant"
    draw(50, (1, 1)).save(train / "dot.png")
    draw(51, (31, 90)).save(train / "slim.png")
    draw(52, (40, 200)).save(train / "tower.png")
    Image.new("L", (10_001, 5_000)).save(train / "huge.png", compress_level=1)
    problems = {problem.kind: problem for problem in check(folder).problems}
    lines = {kind: [line.split(os.sep)[-1] for line in problem.lines] for kind, problem in problems.items()}
    assert lines == {
        "tiny": ["dot.png (1 x 1)", "slim.png (31 x 90)"],
        "huge": ["huge.png (10001 x 5000)"],
        "narrow": ["tower.png (40 x 200)"],
        "grey": ["huge.png"],
    }
    (train / "huge.png").unlink()
    assert problems["tiny"].severity == "warning"
    for resolution, count in ((96, 3), (98, 45), (3, 0)):
        tiny = [problem for problem in check(folder, resolution=resolution).problems if problem.kind == "tiny"]
        assert sum(len(problem.files) for problem in tiny) == count


def test_traits(folder: Path) -> None:
    train = folder / "train" / "ant"
    turn = Image.Exif()
    turn[0x0112] = 6
    for kind in ("jpg", "png", "webp", "tiff"):
        draw(61, (300, 260)).save(train / f"turned.{kind}", exif=turn)
    draw(62).convert("L").save(train / "grey.png")
    draw(63).convert("CMYK").save(train / "print.jpg")
    layer = draw(64).convert("RGBA")
    layer.putalpha(128)
    layer.save(train / "alpha.png")
    deep = np.asarray(draw(65).convert("L")).astype(np.uint16) * 257
    Image.fromarray(deep).save(train / "deep.png")
    for kind in ("gif", "webp", "png"):
        draw(66).save(train / f"animated.{kind}", save_all=True, append_images=[draw(67), draw(68)])
    findings = check(folder)
    names = {
        problem.kind: sorted(Path(file).name for file in problem.files)
        for problem in findings.problems
        if problem.kind != "copies"
    }
    assert names == {
        "turned": ["turned.jpg", "turned.png", "turned.tiff", "turned.webp"],
        "grey": ["deep.png", "grey.png"],
        "transparent": ["alpha.png"],
        "deep": ["deep.png"],
        "animated": ["animated.gif", "animated.png", "animated.webp"],
    }
    assert {problem.severity for problem in findings.problems} == {"note"}
    copies = next(problem for problem in findings.problems if problem.kind == "copies")
    assert [sorted(Path(file).stem for file in group) for group in copies.groups] == [["animated"] * 3, ["turned"] * 4]
    assert findings.longer[2] == 300


def test_upright_sizes_of_shrunk_and_turned_photographs(tmp_path: Path) -> None:
    samples, images = [], []
    for orientation in range(1, 9):
        turn = Image.Exif()
        turn[0x0112] = orientation
        draw(7, (703, 521)).save(tmp_path / f"{orientation}.jpg", exif=turn)
        samples.append(of_file(tmp_path / f"{orientation}.jpg", 0))
        images.append(decode(samples[-1].path))
    found = inspect(samples)
    assert found.sizes.tolist() == [list(image.size) for image in images]
    for image, thumbnail in zip(images, found.thumbnails, strict=True):
        whole = np.asarray(image.resize((9, 8), Image.Resampling.BILINEAR)).astype(int)
        assert np.abs(whole - thumbnail).max() < 12
    assert found.traits[:, 0].tolist() == [False] + [True] * 7


def test_files_that_are_no_pictures(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("linnet.data.places.SUFFIXES", USUAL_SUFFIXES)
    ant = folder / "train" / "ant"
    for name in ("IMG_1.HEIC", "IMG_2.heic", "notes.txt", ".DS_Store", "Thumbs.db", "._00.png", ".hidden.png"):
        (ant / name).write_bytes(b"x")
    (folder / "train" / "owl").mkdir()
    empty, others = check(folder).problems
    assert (empty.kind, empty.severity, empty.lines) == ("empty_folder", "warning", (os.path.join("train", "owl"),))
    assert (others.kind, others.severity) == ("no_picture", "note")
    assert sorted(Path(file).name for file in others.files) == [".hidden.png", "IMG_1.HEIC", "IMG_2.heic", "notes.txt"]
    assert ".heic: 2" in others.sentence
    assert "pip install 'linnet[heif]'" in others.sentence
    assert "pip install 'linnet[heif]'" in " ".join(find(folder).remarks())


def test_a_csv_with_files_that_are_not_there(tmp_path: Path) -> None:
    rows = []
    for number in range(24):
        draw(number).save(tmp_path / f"{number}.png")
        rows.append((f"{number}.png", CLASSES[number % 2], "train"))
    rows += [("gone.png", "ant", "train"), ("0.png", "ant", "test"), (".", "bee", "test")]
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file", "label", "split"), *rows])
    broken, leak = check(tmp_path).problems
    assert [Path(line.split(" ")[0]).name for line in broken.lines] == [
        "gone.png",
        str(tmp_path)[-len(tmp_path.name) :],
    ]
    assert "gone.png is missing." in broken.lines[0]
    assert leak.lines == ("0.png (ant) = 0.png (ant)",)


def test_a_parquet_file(tmp_path: Path) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pictures: list[bytes | None] = [encode(draw(seed)) for seed in range(24)]
    pictures[3], pictures[4], pictures[6] = None, b"nonsense", pictures[5]
    labels = [seed % 2 for seed in range(24)]
    parquet.write_table(arrow.table({"image": pictures, "label": labels}), tmp_path / "train.parquet")
    findings = check(tmp_path)
    assert [problem.kind for problem in findings.problems] == ["broken", "contradiction"]
    assert findings.broken == {f"{tmp_path / 'train.parquet'}, row {row}" for row in (3, 4)}
    assert findings.problems[0].lines[0] == "train.parquet, row 3 is missing: its row is empty."
    assert findings.problems[1].lines == ("train.parquet, row 5 (1) = train.parquet, row 6 (0)",)


def test_neither_threads_nor_the_order_of_the_files_matter(folder: Path) -> None:
    broken_files(folder / "train" / "bee")
    for number in range(3):
        shutil.copy(folder / "train" / "ant" / f"0{number}.png", folder / "validation" / "cat" / f"copy{number}.png")
    data = find(folder)
    expected = check_data(data, threads=1)
    assert check_data(data, threads=4).to_json() == expected.to_json()
    backwards = check_data(replace(data, train=data.train[::-1], validation=data.validation[::-1]))

    def names(findings: Findings) -> dict[str, set[frozenset[str]]]:
        return {problem.kind: set(map(frozenset, problem.groups)) for problem in findings.problems}

    assert names(backwards) == names(expected)
    assert (backwards.shorter, backwards.counts) == (expected.shorter, expected.counts)


def test_a_limit_draws_always_the_same(folder: Path) -> None:
    (folder / "train" / "ant" / "00.png").write_bytes(b"")
    done: list[int] = []
    findings = check(folder, limit=40, progress=done.append)
    assert (findings.checked, findings.pictures) == (40, 42)
    assert done[-1] == 40
    assert done == sorted(done)
    assert findings == check(folder, limit=40)
    drawn = {limit: len(check(folder, limit=limit).broken) for limit in (1, 41, 42, 1000)}
    assert (drawn[42], drawn[1000]) == (1, 1)


def test_nothing_at_all(tmp_path: Path) -> None:
    findings = check_data(DataSet(tmp_path, ("ant", "bee"), ()))
    assert (findings.pictures, findings.shorter, findings.longer) == (0, (0, 0, 0), (0, 0, 0))
    assert [problem.kind for problem in findings.problems] == ["few"]
    for name, text in (("ant", "no labelled pictures"), ("bee", "one class only")):
        (tmp_path / name).mkdir()
        if name == "bee":
            draw(1).save(tmp_path / name / "a.png")
        with pytest.raises(ValueError, match=text):
            find(tmp_path).for_training()


def test_everything_broken(folder: Path) -> None:
    for file in folder.rglob("*.png"):
        file.write_bytes(b"")
    findings = check(folder)
    assert len(findings.broken) == 42
    assert (findings.shorter, len(findings.problems)) == ((0, 0, 0), 1)


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        ("annotations/instances_train.json", "COCO"),
        ("train/_annotations.coco.json", "COCO"),
        ("Annotations/one.xml", "VOC"),
        ("labels/train/one.txt", "YOLO"),
        ("train/labels/one.txt", "YOLO"),
    ],
)
def test_boxes_are_told_from_classes(file: str, kind: str, tmp_path: Path) -> None:
    base = tmp_path / Path(file).parts[0] if file == "train/labels/one.txt" else tmp_path
    for name in ("images", "masks"):
        (base / name).mkdir(parents=True)
        draw(1).save(base / name / "one.png")
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).touch()
    # Empty, a file tells nothing; but never are the folders the classes.
    if kind != "YOLO":
        with pytest.raises(ValueError, match=r"it is empty|no element found"):
            find(tmp_path)
    else:
        data = find(tmp_path)
        assert (data.task, data.format) == ("detection", kind)


def test_copies_are_found_among_many(rng: np.random.Generator) -> None:
    """Noise on the thumbnails, as another encoder leaves it: 200 copies among 5,000, and not one pair besides."""
    small = rng.integers(0, 255, (5000, 3, 3, 3)).astype(np.uint8)
    thumbnails = np.stack(
        [np.asarray(Image.fromarray(pixels).resize((9, 8), Image.Resampling.BICUBIC)) for pixels in small]
    )
    copies = np.clip(thumbnails[:200] + rng.normal(0, 1.5, thumbnails[:200].shape), 0, 255).round().astype(np.uint8)
    together = np.concatenate([thumbnails, copies])
    digests = np.arange(len(together)).astype(np.uint64).view(np.uint8).reshape(-1, 8)
    groups = find_duplicates(digests, together, np.ones(len(together), np.bool_))
    right = [group for group in groups if len(group) == 2 and group[1] == group[0] + 5000]
    assert len(groups) == len(right)
    assert len(right) >= 196


def test_no_thread_is_left(folder: Path) -> None:
    before = threading.active_count()

    def stop(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check(folder, progress=stop)
    assert threading.active_count() == before


def test_pictures_without_an_end_mark_and_of_a_narrow_range_are_told(folder: Path) -> None:
    ant = folder / "train" / "ant"
    file = io.BytesIO()
    draw(70).save(file, "JPEG")
    (ant / "cut.jpg").write_bytes(file.getvalue()[:-2])
    levels = np.asarray(draw(71).convert("L")).astype(np.uint16) * 16
    Image.fromarray(levels).save(ant / "camera.png")
    findings = {problem.kind: problem for problem in check(folder).problems}
    assert findings["unended"].lines == (os.path.join("train", "ant", "cut.jpg"),)
    assert findings["deep"].lines == (os.path.join("train", "ant", "camera.png") + " (0 becomes black, 4,095 white)",)
    assert {problem.severity for problem in findings.values()} == {"note"}

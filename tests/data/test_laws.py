"""Laws of every data set: nothing is lost without a word, and what is read does not depend on the order of the disk."""

from __future__ import annotations

import os
import pickle
import shutil
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from layouts import LAYOUTS, draw_all
from PIL import Image

from linnet.cli import main
from linnet.data import DataSet, Omission, find
from linnet.data.formats import FORMATS
from linnet.data.headers import upright_size
from linnet.data.parts import PART_NAMES, part_of, parts_among
from linnet.data.places import list_folder
from linnet.images import SUFFIXES

PICTURES = ("a.jpg", "b.PNG", "c.webp", "d.jpeg")

OTHERS = ("notes.txt", "README.md", ".DS_Store", "Thumbs.db", "._a.jpg", ".hidden.png", "film.mp4", "x.jxl", "y.jp2")

FOLDERS = ("ant", "bee", "train", "Testing", "val", "seg_train", "seg_test", ".git", "__MACOSX", "deep", "10", "9")


def files_below(folder: Path) -> set[str]:
    return {os.path.join(top, name) for top, _, names in os.walk(folder) for name in names}


def read_files(data: DataSet) -> set[str]:
    samples = [sample for part in data.parts.values() for sample in part]
    return {sample.name for sample in (*samples, *(one.sample for one in data.unknown))}


def omitted_files(omissions: tuple[Omission, ...]) -> Counter[str]:
    """How often each file is among what was not read; of a folder everything in it."""
    found: Counter[str] = Counter()
    for one in omissions:
        if one.kind == "empty_folder":
            continue
        inside = files_below(Path(one.name)) if os.path.isdir(one.name) else {one.name}
        assert one.files == len(inside)
        found.update(inside)
    return found


def make(root: Path, files: set[str]) -> None:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()


trees = st.sets(
    st.builds(
        lambda folders, name: "/".join((*folders, name)),
        st.lists(st.sampled_from(FOLDERS), max_size=4),
        st.sampled_from(PICTURES + OTHERS),
    ),
    max_size=14,
)


@given(trees)
def test_nothing_in_a_folder_is_lost(tmp_path_factory: pytest.TempPathFactory, files: set[str]) -> None:
    """Pictures that were read and what was not read are together all files that are there, each once."""
    root = tmp_path_factory.mktemp("tree")
    make(root, files)
    try:
        data = find(root)
    except ValueError as error:
        sentence = str(error)
    else:
        sentence = "."
        nothing_is_lost(data, root)
    assert sentence.endswith(".")
    assert "\n" not in sentence


def nothing_is_lost(data: DataSet, root: Path) -> None:
    read, left = read_files(data), omitted_files(data.omissions)
    assert not read & set(left)
    assert read | set(left) == files_below(root)
    assert set(left.values()) <= {1}
    assert all(name.lower().endswith(SUFFIXES) for name in read)
    # Said in words, unless it is nothing that anybody could miss.
    told = [one for one in data.omissions if one.kind not in ("litter", "empty_folder")]
    assert bool(told) == any("not read" in sentence for sentence in data.remarks())
    for sentence in data.remarks():
        assert sentence.endswith(".")


@given(trees)
def test_pictures_come_in_the_order_of_their_paths(tmp_path_factory: pytest.TempPathFactory, files: set[str]) -> None:
    """As in version 0.1.0: a seeded split is one of places in this order."""
    root = tmp_path_factory.mktemp("tree")
    make(root, files)
    expected = [
        str(file)
        for file in sorted(root.rglob("*"))
        if file.suffix.lower() in SUFFIXES
        and not file.name.startswith(".")
        and not {".git", "__MACOSX"} & set(file.relative_to(root).parts)
    ]
    assert list(list_folder(root).all_pictures()) == expected


@given(trees)
def test_no_hidden_folder_is_learnt_and_classes_are_folders(
    tmp_path_factory: pytest.TempPathFactory, files: set[str]
) -> None:
    root = tmp_path_factory.mktemp("tree")
    make(root, files)
    try:
        data = find(root)
    except ValueError:
        return
    for samples in data.parts.values():
        for sample in samples:
            above = sample.path.relative_to(root).parts[:-1]
            assert data.classes[sample.index] in above
            assert not any(name.startswith(".") or name == "__MACOSX" for name in above)


@pytest.mark.parametrize("name", LAYOUTS)
def test_nothing_of_any_format_is_lost(name: str, tmp_path: Path) -> None:
    """A stray picture, a hidden folder and a folder of more pictures: each is read, or said to be left out."""
    drawn = draw_all()[:7]
    LAYOUTS[name](tmp_path, draw_all())
    for place in (".ipynb_checkpoints", "more"):
        drawn[0].save(tmp_path / place)
    drawn[1].save(tmp_path)
    # Folders of folders are no shards, and tar files no classes.
    if name == "shards":
        shutil.rmtree(tmp_path / "more")
        shutil.rmtree(tmp_path / ".ipynb_checkpoints")
    data = find(tmp_path)
    assert data.format == next(one.title for one in FORMATS if one.name == name)
    pictures = {file for file in files_below(tmp_path) if file.endswith(".png")}
    read = read_files(data)
    left = set(omitted_files(data.omissions)) | set(data.unlisted)
    assert pictures <= read | left
    assert not read & left
    assert any("left out" in sentence or "not read" in sentence for sentence in data.remarks())


def test_what_is_left_out_is_named_by_check_train_and_evaluate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    LAYOUTS["folders"](tmp_path, draw_all())
    for folder in ("loose", "train/ant/.ipynb_checkpoints"):
        draw_all()[3].save(tmp_path / folder)
    (tmp_path / "train" / "bee" / "x.jxl").touch()
    main(["check", str(tmp_path)])
    shown = capsys.readouterr().out
    assert "loose (1 file)" in shown or "loose" in shown
    assert "train/ant/.ipynb_checkpoints" in shown
    assert "train/bee/x.jxl" in shown
    assert [sentence for sentence in find(tmp_path).remarks() if "3 files are not read" in sentence]


# Samples are small, and go to workers


def test_samples_are_small_and_travel(tmp_path: Path) -> None:
    LAYOUTS["folders"](tmp_path, draw_all())
    data = find(tmp_path)
    for sample in data.train:
        assert pickle.loads(pickle.dumps(sample)) == sample
        assert len(pickle.dumps(sample)) < 300 + len(sample.name)
    assert sys.getsizeof(data.train[0]) + sys.getsizeof(data.train[0].source) <= 100


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    make(tmp_path, {"store/ant/a.jpg", "store/bee/b.jpg"})
    (tmp_path / "all").mkdir()
    for name in ("ant", "bee"):
        (tmp_path / "all" / name).mkdir()
        (tmp_path / "all" / name / "batch").symlink_to(tmp_path / "store" / name)
    (tmp_path / "all" / "ant" / "again").symlink_to(tmp_path / "all")
    data = find(tmp_path / "all")
    assert data.classes == ("ant", "bee")
    assert list_folder(tmp_path / "all").count() < 20


# Names of parts


@given(st.sampled_from(sorted(PART_NAMES)), st.sampled_from([str.lower, str.upper, str.title]))
def test_a_part_is_known_in_any_case(name: str, case: object) -> None:
    assert callable(case)
    assert part_of(case(f" {name} ")) == PART_NAMES[name]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("Training", "Testing"), {"Training": "train", "Testing": "test"}),
        (("seg_train", "seg_test", "seg_pred"), {"seg_train": "train", "seg_test": "test"}),
        (("train2017", "val2017"), {"train2017": "train", "val2017": "validation"}),
        (("train-set", "dev-set"), {"train-set": "train", "dev-set": "validation"}),
        (("bullet train", "test tube"), {}),
        (("steam train", "model train"), {}),
        (("trains", "testament"), {}),
        (("train", "eval", "hat"), {"train": "train", "eval": "validation"}),
    ],
)
def test_folders_that_lie_together_tell_their_parts(names: tuple[str, ...], expected: dict[str, str]) -> None:
    assert parts_among(names) == expected


# Pictures that are not read


def test_predict_names_the_pictures_that_it_does_not_read(
    small_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "photos"
    draw_all()[0].save(folder)
    make(folder, {"a.jxl", "deep/b.jp2", "notes.txt"})
    assert main(["predict", str(folder), "--model", str(small_model)]) == 0
    shown = capsys.readouterr().err
    assert "a.jxl" in shown
    assert "b.jp2" in shown
    assert "notes.txt" not in shown


def test_a_jfif_file_is_a_jpeg(tmp_path: Path) -> None:
    for name in ("ant", "bee"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (40, 30)).save(tmp_path / name / "a.jfif", "JPEG")
    data = find(tmp_path)
    assert len(data.train) == 2
    assert upright_size(data.train[0].path) == (40, 30)

"""Does a run that goes on keep the same pictures for validation, and refuse data that are no longer the same?"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pictures import write_pictures
from samples import of_file

from linnet.data import DataSet, find
from linnet.data.samples import Sample
from linnet.data.sources import ParquetRow
from linnet.training.split import read_split, split_document


def write(data: DataSet, path: Path, left_out: tuple[str, ...] = ()) -> Path:
    path.write_text(json.dumps(split_document(data, left_out)), encoding="utf-8")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five training pictures of each of three classes, no validation, and some for the test."""
    return write_pictures(tmp_path / "data", train=5, validation=0, test=1)


# Laws


@given(
    st.lists(st.integers(1, 12), min_size=2, max_size=5).filter(lambda counts: max(counts) > 2),
    st.floats(0.01, 0.99),
    st.integers(0, 1 << 32),
    st.booleans(),
    st.integers(0, 1),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_written_is_read(
    tmp_path: Path, counts: list[int], share: float, seed: int, in_rows: bool, broken: int
) -> None:
    labels = [index for index, count in enumerate(counts) for _ in range(count)]
    samples = tuple(
        Sample(ParquetRow(tmp_path / "a.parquet", number), index)
        if in_rows
        else of_file(tmp_path / "train" / str(index) / f"{number}.png", index)
        for number, index in enumerate(labels)
    )
    found = DataSet(tmp_path, tuple(map(str, range(len(counts)))), samples, test=samples[:1])
    # One of the class that has the most: there are two left to split.
    left_out = tuple(sample.name for sample in samples if sample.index == counts.index(max(counts)))[:broken]
    begun = found.without(left_out).with_validation(share, seed)
    path = write(begun, tmp_path / "split.json", left_out)
    assert read_split(path, found) == begun


def test_real_pictures_are_split_the_same_again(sample_data: Callable[[str], Path], tmp_path: Path) -> None:
    found = replace(find(sample_data("clothing")), validation=())
    begun = found.with_validation(0.1, 3)
    assert read_split(write(begun, tmp_path / "split.json"), found) == begun
    # Its own parts stay its own parts.
    found = find(sample_data("clothing"))
    assert read_split(write(found, tmp_path / "split.json"), found) == found


# Behaviour


@pytest.mark.parametrize("broken", [0, 2])
def test_the_pictures_may_have_been_moved(folder: Path, broken: int, tmp_path: Path) -> None:
    found = find(folder)
    left_out = tuple(sample.name for sample in found.train[:broken])
    begun = found.without(left_out).with_validation(0.3, 0)
    path = write(begun, tmp_path / "split.json", left_out)
    moved = find(shutil.move(folder, tmp_path / "elsewhere"))
    went_on = read_split(path, moved)
    for part in ("train", "validation", "test"):
        names = [sample.path.relative_to(tmp_path / "elsewhere") for sample in getattr(went_on, part)]
        assert names == [sample.path.relative_to(folder) for sample in getattr(begun, part)]


@pytest.mark.parametrize("name", ["data", "./data", "../{}/data"])
def test_the_folder_may_be_named_another_way(
    folder: Path, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = find(folder)
    left_out = (found.train[1].name,)
    path = write(found.without(left_out).with_validation(0.3, 0), tmp_path / "split.json", left_out)
    monkeypatch.chdir(tmp_path)
    read_split(path, find(name.format(tmp_path.name)))
    monkeypatch.chdir(folder)
    read_split(path, find("."))


def test_rows_are_named_by_their_numbers(folder: Path, tmp_path: Path) -> None:
    content = next(folder.rglob("*.png")).read_bytes()
    table = arrow.table({"image": [content] * 9, "label": ["ant", "bee", "cat"] * 3})
    parquet.write_table(table, tmp_path / "a.parquet")
    begun = find(tmp_path / "a.parquet").with_validation(0.3, 1)
    document = split_document(begun)
    assert document["validation"] == [f"a.parquet:{int(sample.name.split()[-1])}" for sample in begun.validation]
    assert read_split(write(begun, tmp_path / "split.json"), find(tmp_path / "a.parquet")) == begun


def test_the_document_says_how_validation_came_about(folder: Path) -> None:
    left_out = find(folder).train[0].name
    begun = find(folder).without({left_out}).with_validation(0.2, 7)
    document = split_document(begun, [left_out])
    assert document["split"] == begun.split == "20% of every class, split off with seed 7"
    assert document["left_out"] == ["train/blue/000.png"]
    assert document["pictures"] == {"train": 11, "validation": 3, "test": 3}
    assert all((folder / name).is_file() for name in document["validation"])


# Data that have changed


def removed(folder: Path) -> None:
    (folder / "train" / "red" / "003.png").unlink()


def added(folder: Path) -> None:
    shutil.copy(folder / "train" / "red" / "003.png", folder / "train" / "red" / "9.png")


def of_the_test(folder: Path) -> None:
    (folder / "test" / "red" / "000.png").unlink()


def renamed(folder: Path) -> None:
    # Every name of a class, so that one in validation is among them.
    for file in sorted((folder / "train" / "red").iterdir()):
        file.rename(file.with_stem(f"new{file.stem}"))


def in_another_class(folder: Path) -> None:
    for part in ("train", "test"):
        (folder / part / "red").rename(folder / part / "rust")


def own_validation(folder: Path) -> None:
    shutil.copytree(folder / "test", folder / "validation")


@pytest.mark.parametrize("change", [removed, added, of_the_test, renamed, in_another_class, own_validation])
def test_changed_data_are_refused(folder: Path, change: Callable[[Path], None], tmp_path: Path) -> None:
    path = write(find(folder).with_validation(0.3, 0), tmp_path / "split.json")
    change(folder)
    with pytest.raises(ValueError, match=rf"^'{folder}' has changed since the run was begun \(.* then, .* now\)\.$"):
        read_split(path, find(folder))


def test_a_part_of_the_data_itself_that_changed_is_refused(folder: Path, tmp_path: Path) -> None:
    own_validation(folder)
    path = write(find(folder), tmp_path / "split.json")
    read_split(path, find(folder))
    (folder / "validation" / "red" / "000.png").rename(folder / "validation" / "red" / "other.png")
    with pytest.raises(ValueError, match="has changed"):
        read_split(path, find(folder))


# Damaged files


def without(field: str) -> Callable[[dict[str, Any]], Any]:
    return lambda document: {name: value for name, value in document.items() if name != field}


@pytest.mark.parametrize(
    "damage",
    [
        *(without(field) for field in ("split", "validation", "left_out", "pictures")),
        lambda document: document | {"validation": None},
        lambda document: document | {"validation": [["a"]]},
        lambda document: document | {"left_out": 7},
        lambda document: [document],
        lambda document: "split",
        lambda document: None,
    ],
)
def test_a_document_of_another_shape_is_damaged(
    folder: Path, damage: Callable[[dict[str, Any]], Any], tmp_path: Path
) -> None:
    path = tmp_path / "split.json"
    path.write_text(json.dumps(damage(split_document(find(folder).with_validation(0.3, 0)))))
    with pytest.raises(ValueError, match=rf"^'{path}' is damaged \(.*\)\. Start anew with --overwrite\.$"):
        read_split(path, find(folder))


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe{}", b"[" * 200_000, b"\x00" * 64])
def test_what_is_no_document_is_damaged(folder: Path, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "split.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"^'{path}' is damaged \(.*\)\. Start anew with --overwrite\.$"):
        read_split(path, find(folder))


def test_every_cut_of_the_file_is_damaged(folder: Path, tmp_path: Path) -> None:
    found = find(folder)
    path = write(found.with_validation(0.3, 0), tmp_path / "split.json")
    content = path.read_bytes()
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match="is damaged"):
            read_split(path, found)

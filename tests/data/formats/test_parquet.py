"""Does a table of pictures give back the bytes and classes that were written, whoever wrote it, and refuse others?"""

from __future__ import annotations

import json
import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from samples import measured

from linnet.data import Sample
from linnet.data.columns import LABELS, read_table
from linnet.data.sources import ParquetRow
from linnet.images import decode

BINARY, STRUCT = arrow.binary(), arrow.struct([("bytes", arrow.binary()), ("path", arrow.string())])


def write(
    path: Path,
    pictures: list[bytes | None],
    labels: list[Any],
    *,
    kind: Any = BINARY,
    column: str = "label",
    metadata: dict[bytes, bytes] | None = None,
    rows_a_group: int | None = None,
) -> Path:
    values = [{"bytes": one, "path": "a.png"} for one in pictures] if kind == STRUCT else pictures
    table = arrow.table({"image": arrow.array(values, kind), column: labels}).replace_schema_metadata(metadata)
    parquet.write_table(table, path, row_group_size=rows_a_group)
    return path


def class_names(*names: str) -> dict[bytes, bytes]:
    return {b"class_names": json.dumps(names).encode()}


def hugging_face(column: str, *names: str) -> dict[bytes, bytes]:
    features = {"image": {"_type": "Image"}, column: {"names": names, "_type": "ClassLabel"}}
    return {b"huggingface": json.dumps({"info": {"features": features}}).encode()}


# Facts from outside


def test_cifar10_has_its_classes_and_numbers_in_turn(sample_data: Callable[[str], Path]) -> None:
    folder = sample_data("cifar10")
    for part, count in (("train", 50_000), ("test", 10_000)):
        table = read_table(folder / f"{part}.parquet")
        assert table.names == tuple((folder / "classes.txt").read_text().split())
        # Its README: row r is a picture of class r % 10.
        assert table.labels == tuple(row % 10 for row in range(count))
        assert decode(table.picture(count - 1)).size == (32, 32)


# Laws


@given(
    st.lists(st.tuples(st.binary(min_size=1, max_size=40), st.integers(-3, 1 << 40)), min_size=1, max_size=12),
    st.sampled_from([BINARY, arrow.large_binary(), STRUCT]),
    st.integers(1, 5),
    st.booleans(),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_row_comes_back_however_it_was_written(
    tmp_path: Path, rows: list[tuple[bytes, int]], kind: Any, rows_a_group: int, named: bool
) -> None:
    labels: list[int | str] = [str(label) if named else label for _, label in rows]
    path = tmp_path / f"{len(list(tmp_path.iterdir()))}.parquet"
    table = read_table(write(path, [one for one, _ in rows], labels, kind=kind, rows_a_group=rows_a_group))
    assert table.labels == tuple(labels)
    assert [table.picture(row) for row in range(len(rows))] == [one for one, _ in rows]
    assert table.names is None


# Names and columns


@pytest.mark.parametrize("column", LABELS)
def test_the_column_of_classes_may_have_any_usual_name(column: str, tmp_path: Path) -> None:
    assert read_table(write(tmp_path / "a.parquet", [b"1", b"2"], [4, 2], column=column)).labels == (4, 2)


def test_other_columns_are_passed_over(tmp_path: Path) -> None:
    columns = {"id": [7, 8], "note": ["a", "b"], "picture": [b"x", b"y"], "fine_label": [1, 0], "label": [3, 2]}
    parquet.write_table(arrow.table(columns), tmp_path / "a.parquet")
    table = read_table(tmp_path / "a.parquet")
    assert (table.picture(1), table.labels) == (b"y", (3, 2))


def test_names_as_dictionary_are_names(tmp_path: Path) -> None:
    labels = arrow.array(["ant", "bee", "ant"]).dictionary_encode()
    parquet.write_table(arrow.table({"image": [b"x"] * 3, "label": labels}), tmp_path / "a.parquet")
    assert read_table(tmp_path / "a.parquet").labels == ("ant", "bee", "ant")


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        (class_names("ant", "жук"), ("ant", "жук")),
        (hugging_face("label", "ant", "bee"), ("ant", "bee")),
        (hugging_face("label", "cat", "dog") | class_names("ant", "bee"), ("ant", "bee")),
        (hugging_face("another", "ant", "bee"), None),
        ({b"class_names": b"not JSON"}, None),
        ({b"class_names": b"\xff\xfe"}, None),
        ({b"class_names": b'"ant"'}, None),
        ({b"class_names": b'{"ant": 0}'}, None),
        ({b"class_names": b"[1, 2]"}, ("1", "2")),
        ({b"huggingface": b"[]"}, None),
        ({b"huggingface": b'{"info": {"features": {"label": null}}}'}, None),
        ({}, None),
    ],
)
def test_names_that_the_schema_tells(
    metadata: dict[bytes, bytes], expected: tuple[str, ...] | None, tmp_path: Path
) -> None:
    assert read_table(write(tmp_path / "a.parquet", [b"1", b"2"], [0, 1], metadata=metadata)).names == expected


# Edges and hostile files


@pytest.mark.parametrize("kind", [BINARY, STRUCT])
@pytest.mark.parametrize("nothing", [None, b""])
def test_a_missing_picture_names_file_and_row(kind: Any, nothing: bytes | None, tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", [b"x", nothing], [0, 1], kind=kind)
    table = read_table(path)
    assert table.picture(0) == b"x"
    with pytest.raises(ValueError, match=rf"^'{re.escape(str(path))}', row 1: there is no picture\.$"):
        table.picture(1)
    with pytest.raises(ValueError, match="row 1: there is no picture"):
        _ = Sample(ParquetRow(path, 1), 1).picture


@pytest.mark.parametrize("row", [-1, 2, 1 << 70])
def test_a_row_that_is_not_there_is_a_missing_picture_too(row: int, tmp_path: Path) -> None:
    # The file may have got shorter since the rows were counted.
    table = read_table(write(tmp_path / "a.parquet", [b"x", b"y"], [0, 1]))
    with pytest.raises(ValueError, match=rf"row {row}: there is no picture"):
        table.picture(row)


def test_a_table_without_rows_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", [], arrow.array([], arrow.int64()))
    assert read_table(path).labels == ()
    with pytest.raises(ValueError, match="holds no pictures"):
        measured(path, classes=2, names=None)


@pytest.mark.parametrize("labels", [[0, None], [0.0, 1.0], [True, False], [[0], [1]], [b"ant", b"bee"]])
def test_classes_must_be_numbers_or_names_in_every_row(labels: list[Any], tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", [b"x", b"y"], labels)
    with pytest.raises(ValueError, match=rf"^'{re.escape(str(path))}': the column label must hold numbers or names"):
        read_table(path)


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        ({"number": [1, 2]}, r"number \(int64\)"),
        ({"label": [1, 2]}, r"label \(int64\)"),
        ({"image": [b"x", b"y"]}, r"image \(binary\)"),
        ({"image": ["a.png", "b.png"], "label": [0, 1]}, r"image \(string\), label \(int64\)"),
        ({"image": [{"path": "a.png"}] * 2, "label": [0, 1]}, r"image \(struct<path: string>\), label \(int64\)"),
        ({}, "none"),
    ],
)
def test_other_tables_are_refused_with_what_they_have(columns: dict[str, Any], found: str, tmp_path: Path) -> None:
    parquet.write_table(arrow.table(columns), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=rf"must have a column of encoded pictures .*; it has {found}\.$"):
        read_table(tmp_path / "a.parquet")


@given(st.data())
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_file_is_one_sentence_or_its_own_pictures(tmp_path: Path, data: st.DataObject) -> None:
    pictures: list[bytes | None] = [bytes([number]) * 50 for number in range(20)]
    content = write(tmp_path / "whole.parquet", pictures, list(range(20)), rows_a_group=5).read_bytes()
    start = data.draw(st.integers(0, len(content)))
    kept = data.draw(st.binary(max_size=8)) + content[start + data.draw(st.integers(1, 200)) :]
    path = tmp_path / f"{len(list(tmp_path.iterdir()))}.parquet"
    path.write_bytes(content[:start] + kept)
    message = ""
    try:
        assert len(read_table(path).labels) <= 20
    except ValueError as error:
        message = str(error)
    assert not message or (str(path) in message and "\n" not in message)


def test_a_missing_file_is_missing_and_not_damaged(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_table(tmp_path / "none.parquet")


# Behaviour


def test_a_table_is_read_once_until_the_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.parquet", [b"x", b"y"], [0, 1])
    table = read_table(path)
    assert read_table(path) is table
    monkeypatch.chdir(tmp_path)
    assert read_table(Path("a.parquet")) is table

    write(path, [b"longer than before"], [5])
    assert (read_table(path).labels, read_table(path).picture(0)) == ((5,), b"longer than before")

    # The same size, a later time.
    write(path, [b"longer than behind"], [6])
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1_000_000))
    assert read_table(path).labels == (6,)


def test_a_sample_goes_to_a_worker_without_its_table(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", [b"x" * 100_000, b"y"], [0, 1])
    sample = measured(path, classes=2, names=None)[0]
    sent = pickle.dumps(sample)
    assert len(sent) < 1000
    assert pickle.loads(sent).picture == b"x" * 100_000


# Evaluation: the classes are the model's


def indices(path: Path, names: tuple[str, ...] | None, classes: int = 3) -> list[int]:
    return [sample.index for sample in measured(path, classes=classes, names=names)]


def test_rows_are_matched_by_name_not_by_number(tmp_path: Path) -> None:
    by_name = write(tmp_path / "a.parquet", [b"x"] * 3, ["bee", "great_white shark", "Bee"])
    assert indices(by_name, ("cat", "Great White Shark", "bee")) == [2, 1, 2]
    by_number = write(tmp_path / "b.parquet", [b"x"] * 3, [0, 1, 0], metadata=class_names("bee", "cat"))
    assert indices(by_number, ("cat", "ant", "bee")) == [2, 0, 2]


def test_rows_without_names_are_matched_by_number(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", [b"x"] * 3, [2, 0, 1])
    assert indices(path, ("cat", "ant", "bee")) == indices(path, None) == [2, 0, 1]


def test_two_classes_that_share_a_name_keep_their_numbers(tmp_path: Path) -> None:
    # ImageNet has two cranes.
    names = ("crane", "ant", "crane")
    path = write(tmp_path / "a.parquet", [b"x"] * 3, [2, 0, 1], metadata=class_names(*names))
    assert indices(path, names) == [2, 0, 1]


def test_as_many_other_names_are_taken_in_order_with_a_warning(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", [b"x"] * 2, [2, 0], metadata=class_names("n01", "n02", "n03"))
    with pytest.warns(UserWarning, match="are not the model's class names; the"):
        assert indices(path, ("cat", "ant", "bee")) == [2, 0]


@pytest.mark.parametrize(
    ("labels", "metadata", "message"),
    [
        (["ant", "dog"], None, "has pictures of classes that are none of the model's 3: dog"),
        ([0, 1], class_names("ant", "dog"), "has pictures of classes that are none of the model's 3: dog"),
        ([0, 3], None, "row 1 is of the class 3; the model has classes 0 to 2"),
        ([0, -1], None, "row 1 is of the class -1; the model has classes 0 to 2"),
        ([0, 2], class_names("ant", "bee"), "row 1: the class is 2; the file names 2"),
    ],
)
def test_strangers_are_refused(
    labels: list[Any], metadata: dict[bytes, bytes] | None, message: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "a.parquet", [b"x", b"y"], labels, metadata=metadata)
    with pytest.raises(ValueError, match=rf"^'{re.escape(str(path))}'.*{re.escape(message)}"):
        indices(path, ("cat", "ant", "bee"))


def test_of_several_tables_the_test_part_is_measured(tmp_path: Path) -> None:
    write(tmp_path / "test.parquet", [b"x"], [0])
    assert indices(tmp_path, None) == [0]
    write(tmp_path / "train.parquet", [b"x", b"y"], [0, 1])
    assert indices(tmp_path, None) == [0]

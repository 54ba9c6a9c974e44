"""Is a data set found however it is laid out, and is its split stratified, seeded and a disjoint cover?"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pictures import write_pictures
from samples import measured, of_file
from unprivileged import as_nobody

from linnet.data import DataSet, Sample, find
from linnet.data.parts import PART_NAMES, PARTS
from linnet.data.sources import ParquetRow

NAMES = ("blue", "green", "red")


def make(folder: Path, *files: str) -> Path:
    """Empty files: what is inside a picture is not asked here."""
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).touch()
    return folder


def listed(data: DataSet, part: str = "train") -> list[tuple[str, str]]:
    """File and class of each picture of a part."""
    base = Path(str(data.base))
    return [(sample.path.relative_to(base).as_posix(), data.classes[sample.index]) for sample in getattr(data, part)]


def picture(folder: Path) -> bytes:
    return next(folder.rglob("*.png")).read_bytes()


def write_table(path: Path, labels: list[Any], content: bytes, metadata: dict[bytes, bytes] | None = None) -> Path:
    table = arrow.table({"image": arrow.array([content] * len(labels), arrow.binary()), "label": labels})
    parquet.write_table(table.replace_schema_metadata(metadata), path)
    return path


# Facts from outside


def test_clothing_is_what_its_authors_counted(sample_data: Callable[[str], Path]) -> None:
    folder = sample_data("clothing")
    found = find(folder)
    assert (len(found.train), len(found.validation), len(found.test)) == (3068, 341, 372)
    # The table of its README.
    assert found.counts == (241, 123, 455, 184, 468, 290, 198, 202, 112, 795)
    assert found.classes == tuple((folder / "classes.txt").read_text().split())
    assert found.with_validation(0.1, 0) is found
    assert not found.unknown_names
    assert {one.kind for one in found.omissions} == {"litter"}


def test_cifar10_is_what_its_authors_counted(sample_data: Callable[[str], Path]) -> None:
    found = find(sample_data("cifar10"))
    assert found.counts == (5000,) * 10
    assert Counter(sample.index for sample in found.test) == dict.fromkeys(range(10), 1000)
    assert found.classes[:2] == ("airplane", "automobile")
    split = found.with_validation(0.1, 0)
    assert Counter(sample.index for sample in split.validation) == dict.fromkeys(range(10), 500)
    assert split.counts == (4500,) * 10


# Layouts


@pytest.mark.parametrize("validation", ["validation", "val", "Valid", "dev"])
def test_parts_by_any_name(validation: str, tmp_path: Path) -> None:
    data = write_pictures(tmp_path / "data", train=3, validation=2, test=1)
    (data / "validation").rename(data / validation)
    found = find(data)
    assert found.classes == NAMES
    assert (len(found.train), len(found.validation), len(found.test)) == (9, 6, 3)
    assert found.counts == (3, 3, 3)
    assert found.with_validation(0.5, 0) is found


def test_class_folders_alone_are_training(tmp_path: Path) -> None:
    data = write_pictures(tmp_path / "data", validation=0)
    found = find(data / "train")
    assert (len(found.train), len(found.validation)) == (36, 0)


def test_a_csv_with_names_and_parts(tmp_path: Path) -> None:
    data = write_pictures(tmp_path / "data", train=2, validation=0)
    rows = ["file,class_index,name,split"]
    for index, name in ((7, "red"), (2, "blue")):
        rows += [f"train/{name}/000.png,{index},{name},train", f"train/{name}/001.png,{index},{name},val"]
    (data / "labels.csv").write_text("\n".join(rows))
    found = find(data)
    assert found.classes == ("blue", "red")
    assert [sample.index for sample in found.train] == [1, 0]
    assert len(found.validation) == 2


def test_two_classes_of_one_name_stay_two(tmp_path: Path) -> None:
    data = write_pictures(tmp_path / "data", train=2, validation=0)
    (data / "labels.csv").write_text(
        "file,class_index,name\ntrain/red/000.png,134,crane\ntrain/blue/000.png,517,crane\n"
    )
    assert find(data).classes == ("134", "517")


def test_parquet_with_parts_and_names(tmp_path: Path) -> None:
    content = picture(write_pictures(tmp_path / "data", train=1, validation=0))
    folder = tmp_path / "tables"
    folder.mkdir()
    names = {b"class_names": json.dumps(["ant", "bee"]).encode()}
    write_table(folder / "train-00000-of-00002.parquet", [0, 1], content, names)
    write_table(folder / "train-00001-of-00002.parquet", [1, 1], content, names)
    write_table(folder / "test.parquet", [0], content, names)
    found = find(folder)
    assert found.classes == ("ant", "bee")
    assert found.counts == (1, 3)
    assert len(found.test) == 1
    assert found.train[0].picture == content
    assert found.train[0].name.endswith("train-00000-of-00002.parquet, row 0")


def test_parquet_of_the_datasets_library(tmp_path: Path) -> None:
    content = picture(write_pictures(tmp_path / "data", train=1, validation=0))
    images = arrow.array([{"bytes": content, "path": "a.png"}] * 2)
    features = {"info": {"features": {"label": {"names": ["ant", "bee"], "_type": "ClassLabel"}}}}
    table = arrow.table({"image": images, "label": [1, 0]})
    table = table.replace_schema_metadata({b"huggingface": json.dumps(features).encode()})
    parquet.write_table(table, tmp_path / "data.parquet")
    found = find(tmp_path / "data.parquet")
    assert found.classes == ("ant", "bee")
    assert found.train[1].picture == content


def test_evaluation_matches_parquet_by_name(tmp_path: Path) -> None:
    content = picture(write_pictures(tmp_path / "data", train=1, validation=0))
    path = write_table(tmp_path / "a.parquet", ["bee", "ant"], content)
    samples = measured(path, classes=3, names=("cat", "bee", "ant"))
    assert [sample.index for sample in samples] == [1, 2]
    with pytest.raises(ValueError, match="none of the model's 3: ant, bee"):
        measured(path, classes=3, names=("cat", "dog", "eel"))
    numbers = write_table(tmp_path / "b.parquet", [0, 3], content)
    with pytest.raises(ValueError, match="row 1 is of the class 3; the model has classes 0 to 2"):
        measured(numbers, classes=3, names=None)


@pytest.mark.parametrize("content", [b"", b"PAR1 no table PAR1", b"\x00" * 100])
def test_damaged_parquet_is_one_sentence(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(content)
    with pytest.raises(ValueError, match="cannot be read as Parquet"):
        find(tmp_path / "a.parquet")


def test_other_tables_are_refused(tmp_path: Path) -> None:
    parquet.write_table(arrow.table({"number": [1, 2]}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"must have a column of encoded pictures .*; it has number"):
        find(tmp_path / "a.parquet")


def test_a_class_that_training_lacks_is_left_out_with_a_warning(tmp_path: Path) -> None:
    data = write_pictures(tmp_path / "data", train=2, validation=2)
    (data / "validation" / "red").rename(data / "validation" / "rust")
    found = find(data)
    assert any("'rust'" in sentence for sentence in found.remarks())
    assert len(found.validation) == 4
    assert "rust" in found.unknown_names


# Splitting validation off


@given(st.lists(st.integers(1, 30), min_size=2, max_size=6), st.floats(0.01, 0.99), st.integers(0, 99))
def test_a_split_is_stratified_seeded_and_a_disjoint_cover(counts: list[int], share: float, seed: int) -> None:
    samples = tuple(
        of_file(Path(f"{index}/{number}.png"), index) for index, count in enumerate(counts) for number in range(count)
    )
    data = DataSet(Path("data"), tuple(map(str, range(len(counts)))), samples)
    if max(counts) < 2:
        with pytest.raises(ValueError, match="no class with two pictures"):
            data.with_validation(share, seed)
        return
    split = data.with_validation(share, seed)
    assert sorted((*split.train, *split.validation), key=str) == sorted(samples, key=str)
    assert split == data.with_validation(share, seed)
    for index, count in enumerate(counts):
        kept = sum(sample.index == index for sample in split.validation)
        assert kept == (0 if count == 1 else min(max(round(share * count), 1), count - 1))


@given(
    st.lists(st.integers(1, 12), min_size=2, max_size=4),
    st.floats(0.01, 0.99),
    st.tuples(st.integers(0, 1 << 40), st.integers(0, 1 << 40)).filter(lambda seeds: seeds[0] != seeds[1]),
)
def test_every_split_keeps_the_order_and_the_rest(counts: list[int], share: float, seeds: tuple[int, int]) -> None:
    counts = [50, *counts]
    samples = tuple(
        Sample(ParquetRow(Path("a.parquet"), row), index) for index, count in enumerate(counts) for row in range(count)
    )
    data = DataSet(Path("data"), tuple(map(str, range(len(counts)))), samples, test=samples[:1])
    one, two = (data.with_validation(share, seed) for seed in seeds)
    places = {sample: place for place, sample in enumerate(samples)}
    for split in (one, two):
        for part in (split.train, split.validation):
            order = [places[sample] for sample in part]
            assert order == sorted(order)
        assert split.test == data.test
        assert split.classes == data.classes
    assert len(one.validation) == len(two.validation)


def test_other_seeds_keep_other_pictures() -> None:
    samples = tuple(of_file(Path(f"{number}.png"), number % 2) for number in range(100))
    data = DataSet(Path("data"), ("a", "b"), samples)
    assert len({data.with_validation(0.2, seed).validation for seed in range(20)}) == 20


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.99])
def test_three_pictures_in_all_are_enough(share: float, tmp_path: Path) -> None:
    split = find(make(tmp_path, "ant/a.png", "ant/b.png", "bee/a.png")).with_validation(share, 0)
    assert (split.counts, len(split.validation)) == ((1, 1), 1)
    assert split.classes[split.validation[0].index] == "ant"


def test_one_picture_a_class_cannot_be_split(tmp_path: Path) -> None:
    found = find(make(tmp_path, "ant/a.png", "bee/a.png", "cat/a.png"))
    assert found.counts == (1, 1, 1)
    with pytest.raises(ValueError, match=rf"^'{re.escape(str(tmp_path))}' has no class with two pictures"):
        found.with_validation(0.5, 0)


def test_what_is_left_out_is_in_no_part(tmp_path: Path) -> None:
    data = find(make(tmp_path, *(f"{part}/{name}/{number}.png" for part in PARTS for name in "ab" for number in "12")))
    names = {data.train[0].name, data.validation[1].name, data.test[2].name}
    rest = data.without(names)
    for part in ("train", "validation", "test"):
        assert getattr(rest, part) == tuple(sample for sample in getattr(data, part) if sample.name not in names)
    assert data.without(()) is data


# Class folders


@pytest.mark.parametrize("case", [str.lower, str.upper, str.title])
@pytest.mark.parametrize(("name", "part"), list(PART_NAMES.items()))
def test_folders_named_as_parts_are_parts(name: str, part: str, case: Callable[[str], str], tmp_path: Path) -> None:
    make(tmp_path, "train/ant/a.png", "train/bee/a.png", f"{case(name)}/bee/b.png", "notes/ant/c.png")
    assert (f"{case(name)}/bee/b.png", "bee") in listed(find(tmp_path), part)
    assert len(find(tmp_path).train) == 2 + (part == "train")


def test_the_same_class_has_the_same_index_in_every_part(tmp_path: Path) -> None:
    found = find(make(tmp_path, "train/bee/a.png", "train/ant/a.png", "val/bee/a.png", "test/bee/a.png"))
    assert found.classes == ("ant", "bee")
    assert [sample.index for sample in (*found.validation, *found.test)] == [1, 1]


def test_a_class_may_be_named_as_a_part_if_there_is_no_training(tmp_path: Path) -> None:
    assert find(make(tmp_path, "valid/a.png", "invalid/a.png")).classes == ("invalid", "valid")


def test_parts_without_training_are_no_classes(tmp_path: Path) -> None:
    make(tmp_path, *(f"{part}/{name}/a.png" for part in ("test", "val") for name in ("ant", "bee")))
    found = find(tmp_path)
    assert (found.classes, len(found.validation), len(found.test)) == (("ant", "bee"), 2, 2)
    with pytest.raises(ValueError, match=r"has no training part: it has validation, test\."):
        found.for_training()


def test_pictures_of_all_levels_count_and_the_rest_is_told(tmp_path: Path) -> None:
    make(tmp_path, "ant/deep/er/a.PNG", "ant/notes.txt", "ant/.b.png", "bee/a.webp", ".git/c.png", "loose.png")
    make(tmp_path, "cat/movie.mp4")
    found = find(tmp_path)
    assert listed(found) == [("ant/deep/er/a.PNG", "ant"), ("bee/a.webp", "bee")]
    assert [(one.kind, found.short(one.name)) for one in found.omissions] == [
        ("hidden", ".git"),
        ("no_picture", "ant/.b.png"),
        ("no_picture", "ant/notes.txt"),
        ("empty_folder", "cat"),
        ("no_picture", "cat/movie.mp4"),
        ("not_read", "loose.png"),
    ]


def test_classes_are_in_the_order_of_their_numbers_or_names(tmp_path: Path) -> None:
    numbered = make(tmp_path / "numbered", *(f"{number}/a.png" for number in range(12)))
    assert find(numbered).classes == tuple(map(str, range(12)))
    named = make(tmp_path / "named", "10/a.png", "9/a.png", "ten/a.png")
    assert find(named).classes == ("10", "9", "ten")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"wasp\nbee\nant\n", ("wasp", "bee", "ant")),
        (b"\xef\xbb\xbfbee\r\n\r\n ant \r\n", ("bee", "ant")),
        (b"bee\n", ("ant", "bee")),
        (b"bee\nant\nbee\n", ("ant", "bee")),
        (b"", ("ant", "bee")),
        (b"bee\n\xff\nant", ("ant", "bee")),
    ],
)
def test_a_list_of_classes_orders_them_if_it_has_them_all(
    content: bytes, expected: tuple[str, ...], tmp_path: Path
) -> None:
    make(tmp_path, "train/ant/a.png", "train/bee/a.png")
    (tmp_path / "classes.txt").write_bytes(content)
    found = find(tmp_path)
    assert found.classes == expected
    assert [found.classes[sample.index] for sample in found.train] == ["ant", "bee"]


def test_evaluation_gives_the_classes_that_training_gave(tmp_path: Path) -> None:
    """Twins: what a model was trained on is measured with the same classes, in each way to lay it out."""
    content = picture(write_pictures(tmp_path / "data", train=2, validation=0))
    csv = tmp_path / "csv"
    csv.mkdir()
    # The order of the numbers is not that of the names.
    (csv / "labels.csv").write_text("file,class_index,name\na.png,1,ant\nb.png,0,wasp\nc.png,2,bee\nd.png,0,wasp\n")
    (tmp_path / "tables").mkdir()
    by_name = write_table(tmp_path / "tables" / "a.parquet", ["wasp", "ant", "bee"], content)
    names = {b"class_names": json.dumps(["wasp", "ant", "bee"]).encode()}
    by_number = write_table(tmp_path / "tables" / "b.parquet", [2, 0, 1], content, names)
    for path in (tmp_path / "data" / "train", csv, csv / "labels.csv", by_name, by_number):
        found = find(path)
        assert tuple(measured(path, classes=3, names=found.classes)) == found.train


# labels.csv


def label(folder: Path, *lines: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "labels.csv").write_text("\n".join(lines), encoding="utf-8")
    return folder


@pytest.mark.parametrize("column", ["label", "name", "class"])
@pytest.mark.parametrize("named", ["folder", "file"])
def test_a_csv_with_any_column_of_names(column: str, named: str, tmp_path: Path) -> None:
    label(tmp_path, f"file,{column}", "b.png,wasp", "sub/a.png, ant ", "c.png,wasp")
    found = find(tmp_path if named == "folder" else tmp_path / "labels.csv")
    assert listed(found) == [("b.png", "wasp"), ("sub/a.png", "ant"), ("c.png", "wasp")]
    assert found.classes == ("ant", "wasp")


def test_a_csv_with_numbers_only(tmp_path: Path) -> None:
    label(tmp_path, "file,class_index", "a.png,10", "b.png,9", "c.png,2")
    assert find(tmp_path).classes == ("2", "9", "10")


def test_a_list_of_classes_goes_before_the_numbers_of_a_csv(tmp_path: Path) -> None:
    label(tmp_path, "file,class_index,name", "a.png,1,ant", "b.png,0,wasp")
    (tmp_path / "classes.txt").write_text("bee\nwasp\nant\n")
    assert find(tmp_path).classes == ("bee", "wasp", "ant")


def test_two_names_of_one_number_leave_the_numbers(tmp_path: Path) -> None:
    label(tmp_path, "file,class_index,name", "a.png,0,ant", "b.png,0,emmet", "c.png,1,bee")
    assert find(tmp_path).classes == ("0", "1")


@pytest.mark.parametrize(
    ("entry", "part"), [*PART_NAMES.items(), (" VAL ", "validation"), ("Test", "test"), ("", "train")]
)
def test_parts_in_a_column(entry: str, part: str, tmp_path: Path) -> None:
    label(tmp_path, "file,label,split", "a.png,ant,train", "b.png,bee,train", f"c.png,bee,{entry}")
    assert ("c.png", "bee") in listed(find(tmp_path), part)


def test_a_csv_in_the_folder_of_each_part(tmp_path: Path) -> None:
    label(tmp_path / "train", "file,label", "a.png,ant", "b.png,bee")
    label(tmp_path / "val", "file,label", "c.png,bee")
    make(tmp_path, "test/ant/d.png")
    found = find(tmp_path)
    assert listed(found) == [("train/a.png", "ant"), ("train/b.png", "bee")]
    assert listed(found, "validation") == [("val/c.png", "bee")]
    assert listed(found, "test") == [("test/ant/d.png", "ant")]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize(
    "columns",
    [("file", "label"), ("FileName", "Class Name"), (" Image ", "category"), ("image_path", "Label"), ("id", "breed")],
)
def test_a_table_as_other_programs_write_it(
    delimiter: str, encoding: str, end: str, columns: tuple[str, str], tmp_path: Path
) -> None:
    make(tmp_path, "images/a.png", "images/b.png")
    rows = [columns, ("images/a.png", "Mütze"), ("images/b.png", "hat")]
    path = tmp_path / "labels.csv"
    path.write_bytes((end.join(delimiter.join(row) for row in rows) + end).encode(encoding))
    found = find(tmp_path)
    assert listed(found) == [("images/a.png", "Mütze"), ("images/b.png", "hat")]
    # What had to be guessed is said.
    assert list(found.notes) == ([f"'{path}' is no UTF-8: it is read as Windows-1252."] if encoding == "cp1252" else [])
    assert found.omissions == ()


@pytest.mark.parametrize("told", ["images/{}.png", "images\\{}.png", "{}.png", "{}", "images/{}"])
def test_a_table_s_pictures_are_found_where_people_have_them(told: str, tmp_path: Path) -> None:
    make(tmp_path, "images/a.png", "images/b.png")
    label(tmp_path, "file,label", f"{told.format('a')},ant", f"{told.format('b')},bee")
    assert listed(find(tmp_path)) == [("images/a.png", "ant"), ("images/b.png", "bee")]


def test_a_row_s_own_name_goes_before_all_others(tmp_path: Path) -> None:
    make(tmp_path, "a", "a.png", "images/a", "x\\y.png", "x/y.png")
    label(tmp_path, "file,label", "a,ant", "x\\y.png,bee", "none.png,bee")
    assert [name for name, _ in listed(find(tmp_path))] == ["a", "x\\y.png", "none.png"]


def test_numbers_that_pandas_wrote_as_floats_are_numbers(tmp_path: Path) -> None:
    label(tmp_path, "file,class_index,label", "a.png,1.0,ant", "b.png,0.0,wasp", "c.png,1,ant")
    found = find(tmp_path)
    assert (found.classes, listed(found)[2]) == (("wasp", "ant"), ("c.png", "ant"))


def test_tables_of_parts_are_read_by_their_names(tmp_path: Path) -> None:
    make(tmp_path, *(f"images/{name}.png" for name in "abc"))
    (tmp_path / "train.csv").write_text("image,label\na.png,ant\nb.png,bee\n")
    (tmp_path / "valid.csv").write_text("image,label\nc.png,bee\n")
    # As competitions have it: without classes there is nothing to measure, and it is named.
    (tmp_path / "test.csv").write_text("image\nd.png\n")
    found = find(tmp_path)
    assert listed(found) == [("images/a.png", "ant"), ("images/b.png", "bee")]
    assert listed(found, "validation") == [("images/c.png", "bee")]
    assert [Path(one.name).name for one in found.omissions] == ["test.csv"]
    (tmp_path / "more.csv").write_text("image,label\nc.png,bee\n")
    with pytest.raises(ValueError, match=r"more.csv' tells no part, beside 2 other tables"):
        find(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "must have the columns file and label (or class_index); it has nothing."),
        (
            b"picture,label\na.png,ant\n",
            "must have the columns file and label (or class_index); it has picture, label.",
        ),
        (b"file;number;weight\na.png;1;2\n", "it has file, number, weight."),
        (b"file,label\na.png,ant\nb.png\n", "line 3: there is no class."),
        (b"file,label\na.png,ant\nb.png,  \n", "line 3: there is no class."),
        (b"file,label\na.png,ant\n,bee\n", "line 3: there is no file."),
        (b"file,label,split\na.png,ant,holdout\n", "line 2: split is 'holdout'; train, validation or test"),
        ("file,label\na.png,ant\n".encode("utf-16") + b"x", "cannot be read as CSV"),
        (b"file,label\n" + b"a" * 200_000 + b",ant\n", "cannot be read as CSV"),
    ],
)
def test_a_damaged_csv_is_one_sentence(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"^'{re.escape(str(path))}'.*{re.escape(message)}"):
        find(tmp_path)


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(exclude_characters="\0/\r", exclude_categories=["Cs"]), min_size=1, max_size=9),
            st.sampled_from(["ant", "bee", "great wasp", "жук, 甲虫"]),
            st.sampled_from(sorted(PART_NAMES)),
        ),
        max_size=8,
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_row_is_in_its_part_with_its_class(tmp_path: Path, rows: list[tuple[str, str, str]]) -> None:
    rows = [*((f"{name}.png", name, "train") for name in ("ant", "bee", "great wasp", "жук, 甲虫")), *rows]
    quoted = [",".join('"' + entry.replace('"', '""') + '"' for entry in row) for row in rows]
    (tmp_path / "labels.csv").write_bytes("\n".join(["file,label,split", *quoted]).encode())
    found = find(tmp_path)
    for part in ("train", "validation", "test"):
        expected = [(tmp_path / file, name) for file, name, entry in rows if PART_NAMES[entry] == part]
        assert [(sample.file, found.classes[sample.index]) for sample in getattr(found, part)] == expected


# Parquet


def test_a_table_with_names_for_classes(tmp_path: Path) -> None:
    found = find(write_table(tmp_path / "a.parquet", ["wasp", "ant", "wasp"], b"x"))
    assert (found.classes, [sample.index for sample in found.train]) == (("ant", "wasp"), [1, 0, 1])


def test_a_table_with_numbers_for_classes(tmp_path: Path) -> None:
    found = find(write_table(tmp_path / "a.parquet", [10, 9, 2], b"x"))
    assert (found.classes, [sample.index for sample in found.train]) == (("2", "9", "10"), [2, 1, 0])


def test_the_only_table_of_a_folder_may_have_any_name(tmp_path: Path) -> None:
    write_table(tmp_path / "0000.parquet", [0, 1], b"x")
    assert len(find(tmp_path).train) == 2


def test_tables_that_name_no_part_are_refused(tmp_path: Path) -> None:
    for name in ("train.parquet", "trainer.parquet"):
        write_table(tmp_path / name, [0, 1], b"x")
    with pytest.raises(ValueError, match=r"the name of trainer\.parquet does not begin with a part"):
        find(tmp_path)


def test_tables_that_number_their_classes_differently_agree_by_name(tmp_path: Path) -> None:
    for part, names in (("train", ["ant", "bee"]), ("Test-00000-of-00001", ["bee", "ant"])):
        metadata = {b"class_names": json.dumps(names).encode()}
        write_table(tmp_path / f"{part}.parquet", [0, 1], b"x", metadata)
    found = find(tmp_path)
    assert [found.classes[sample.index] for sample in found.train] == ["ant", "bee"]
    assert [found.classes[sample.index] for sample in found.test] == ["bee", "ant"]


def test_two_classes_of_one_name_stay_two_in_a_table(tmp_path: Path) -> None:
    metadata = {b"class_names": json.dumps(["crane", "ant", "crane"]).encode()}
    found = find(write_table(tmp_path / "a.parquet", [2, 0, 1, 2], b"x", metadata))
    assert found.classes == ("0", "1", "2")
    assert [sample.index for sample in found.train] == [2, 0, 1, 2]


@pytest.mark.parametrize("number", [2, -1])
def test_a_number_without_a_name_is_refused_with_its_row(number: int, tmp_path: Path) -> None:
    metadata = {b"class_names": b'["ant", "bee"]'}
    path = write_table(tmp_path / "a.parquet", [0, number], b"x", metadata)
    expected = f"'{path}', row 1: the class is {number}; the file names 2."
    with pytest.raises(ValueError, match=rf"^{re.escape(expected)}$"):
        find(path)


def test_parquet_in_the_data_folder_of_the_datasets_library(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "README.md").write_text("x")
    for part, labels in (("train", ["ant", "bee"]), ("test", ["bee"])):
        write_table(tmp_path / "data" / f"{part}-00000-of-00001-0a1b.parquet", labels, b"x")
    found = find(tmp_path)
    assert (len(found.train), len(found.test), found.classes) == (2, 1, ("ant", "bee"))
    assert [Path(one.name).name for one in found.omissions] == ["README.md"]


# What is no data set


def test_a_missing_path_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=re.escape(f"no file or folder '{tmp_path / 'none'}'")):
        find(str(tmp_path / "none"))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "holds no labelled pictures: "),
        (["a.png", "b.png"], "holds no labelled pictures: .*it has 2 .png"),
        (["ant/notes.txt", "bee/movie.mp4"], "holds no labelled pictures: .*it has 1 .txt, 1 .mp4"),
        (["train/ant/notes.txt", "val/ant/a.png", "val/bee/a.png"], "has no training part: it has validation"),
        (["train/a.png", "val/ant/b.png"], "has no training part: it has validation"),
        (["train/a.png", "val/b.png"], "holds no labelled pictures"),
        (["ant/a.png", "ant/b.png"], r"has one class only \('ant'\)"),
        (["ant/a.png", "bee/notes.txt"], r"has one class only \('ant'\)"),
        (["train/ant/a.png", "test/ant/b.png", "test/bee/b.png"], r"has one class only \('ant'\)"),
        (["annotations/instances.json", "train/ant/a.png"], r"cannot be read as a COCO json \(it is empty\)"),
        (["Annotations/1.xml", "JPEGImages/1.jpg"], "not one of 1 XML files can be read; .*no element found"),
        (["images/train/1.jpg", "labels/train/1.txt"], "has no box for training"),
    ],
)
def test_a_folder_that_is_no_data_set_is_one_sentence(files: list[str], message: str, tmp_path: Path) -> None:
    make(tmp_path, *files)
    with pytest.raises(ValueError, match=rf"^'{re.escape(str(tmp_path))}.*{message}"):
        find(tmp_path).for_training()


@pytest.mark.parametrize(
    ("name", "message"),
    [("boxes.json", "cannot be read as a COCO json"), ("a.png", "is no data set"), ("data.zip", "is no data set")],
)
def test_a_file_that_is_no_data_set_is_one_sentence(name: str, message: str, tmp_path: Path) -> None:
    make(tmp_path, name)
    with pytest.raises(ValueError, match=rf"^'{re.escape(str(tmp_path / name))}'.*{re.escape(message)}"):
        find(tmp_path / name)


def test_a_header_alone_is_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="lists no pictures"):
        find(label(tmp_path, "file,label"))


def test_a_class_may_be_called_labels(tmp_path: Path) -> None:
    make(tmp_path, "labels/a.png", "labels/notes.txt", "stamps/a.png")
    assert find(tmp_path).classes == ("labels", "stamps")


def test_strangers_are_told_with_their_pictures(tmp_path: Path) -> None:
    make(tmp_path, "train/ant/a.png", "train/bee/a.png", "val/cat/1.png", "test/cat/2.png", "val/ant/a.png")
    found = find(tmp_path)
    assert "2 pictures of the class 'cat' are left out: training has no picture of it." in found.remarks()
    assert found.classes == ("ant", "bee")
    assert found.unknown_names == {"cat": (str(tmp_path / "test/cat/2.png"), str(tmp_path / "val/cat/1.png"))}
    assert listed(found, "validation") == [("val/ant/a.png", "ant")]


def test_a_class_that_is_listed_and_not_in_training_is_no_stranger(tmp_path: Path) -> None:
    make(tmp_path, "train/ant/a.png", "train/bee/a.png", "test/cat/2.png")
    (tmp_path / "classes.txt").write_text("ant\nbee\ncat\n")
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        found = find(tmp_path)
    assert not heard
    assert (found.counts, [sample.index for sample in found.test]) == ((1, 1, 0), [2])


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    for top, _, _ in os.walk(folder):
        Path(top).chmod(0o755)
    shutil.rmtree(folder)


@pytest.mark.parametrize("secret", ["train/ant", "train/ant/deep", "train"])
def test_a_folder_that_may_not_be_read_is_not_passed_over(secret: str, open_folder: Path) -> None:
    make(open_folder, "train/ant/a.png", "train/ant/deep/b.png", "train/bee/a.png", "train/cat/a.png")
    (open_folder / secret).chmod(0)
    message = as_nobody(lambda: find(open_folder))
    assert message.startswith("PermissionError: ")
    assert str(open_folder / "train") in message

"""Is a data set found however it is laid out, and is its split stratified, seeded and a disjoint cover?"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import write_pictures

from linnet.data.labelled import Sample, find_samples
from linnet.data.source import DataSet, find_data

NAMES = ("blue", "green", "red")


def picture(folder: Path) -> bytes:
    return next(folder.rglob("*.png")).read_bytes()


def write_table(path: Path, labels: list[Any], content: bytes, metadata: dict[bytes, bytes] | None = None) -> Path:
    table = arrow.table({"image": arrow.array([content] * len(labels), arrow.binary()), "label": labels})
    parquet.write_table(table.replace_schema_metadata(metadata), path)
    return path


@pytest.mark.parametrize("validation", ["validation", "val", "Valid", "dev"])
def test_parts_by_any_name(validation: str, tmp_path: Path) -> None:
    data = write_pictures(tmp_path / "data", train=3, validation=2, test=1)
    (data / "validation").rename(data / validation)
    found = find_data(data)
    assert found.classes == NAMES
    assert (len(found.train), len(found.validation), len(found.test)) == (9, 6, 3)
    assert found.counts == (3, 3, 3)
    assert found.with_validation(0.5, 0) is found


def test_class_folders_alone_are_training(tmp_path: Path) -> None:
    data = write_pictures(tmp_path / "data", validation=0)
    found = find_data(data / "train")
    assert (len(found.train), len(found.validation)) == (36, 0)


def test_a_csv_with_names_and_parts(tmp_path: Path) -> None:
    data = write_pictures(tmp_path / "data", train=2, validation=0)
    rows = ["file,class_index,name,split"]
    for index, name in ((7, "red"), (2, "blue")):
        rows += [f"train/{name}/000.png,{index},{name},train", f"train/{name}/001.png,{index},{name},val"]
    (data / "labels.csv").write_text("\n".join(rows))
    found = find_data(data)
    assert found.classes == ("blue", "red")
    assert [sample.index for sample in found.train] == [1, 0]
    assert len(found.validation) == 2


def test_two_classes_of_one_name_stay_two(tmp_path: Path) -> None:
    data = write_pictures(tmp_path / "data", train=2, validation=0)
    (data / "labels.csv").write_text(
        "file,class_index,name\ntrain/red/000.png,134,crane\ntrain/blue/000.png,517,crane\n"
    )
    assert find_data(data).classes == ("134", "517")


def test_parquet_with_parts_and_names(tmp_path: Path) -> None:
    content = picture(write_pictures(tmp_path / "data", train=1, validation=0))
    folder = tmp_path / "tables"
    folder.mkdir()
    names = {b"class_names": json.dumps(["ant", "bee"]).encode()}
    write_table(folder / "train-00000-of-00002.parquet", [0, 1], content, names)
    write_table(folder / "train-00001-of-00002.parquet", [1, 1], content, names)
    write_table(folder / "test.parquet", [0], content, names)
    found = find_data(folder)
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
    found = find_data(tmp_path / "data.parquet")
    assert found.classes == ("ant", "bee")
    assert found.train[1].picture == content


def test_evaluation_matches_parquet_by_name(tmp_path: Path) -> None:
    content = picture(write_pictures(tmp_path / "data", train=1, validation=0))
    path = write_table(tmp_path / "a.parquet", ["bee", "ant"], content)
    samples = find_samples(path, classes=3, names=("cat", "bee", "ant"))
    assert [sample.index for sample in samples] == [1, 2]
    with pytest.raises(ValueError, match="are not the model's"):
        find_samples(path, classes=3, names=("cat", "dog", "eel"))
    numbers = write_table(tmp_path / "b.parquet", [0, 3], content)
    with pytest.raises(ValueError, match="row 1: the class is 3; the model has classes 0 to 2"):
        find_samples(numbers, classes=3, names=None)


@pytest.mark.parametrize("content", [b"", b"PAR1 no table PAR1", b"\x00" * 100])
def test_damaged_parquet_is_one_sentence(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(content)
    with pytest.raises(ValueError, match="cannot be read as Parquet"):
        find_data(tmp_path / "a.parquet")


def test_other_tables_are_refused(tmp_path: Path) -> None:
    parquet.write_table(arrow.table({"number": [1, 2]}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"must have a column of encoded pictures .*; it has number"):
        find_data(tmp_path / "a.parquet")


def test_a_class_that_training_lacks_is_left_out_with_a_warning(tmp_path: Path) -> None:
    data = write_pictures(tmp_path / "data", train=2, validation=2)
    (data / "validation" / "red").rename(data / "validation" / "rust")
    with pytest.warns(UserWarning, match="'rust'"):
        found = find_data(data)
    assert len(found.validation) == 4
    assert "rust" in found.strangers


@given(st.lists(st.integers(1, 30), min_size=2, max_size=6), st.floats(0.01, 0.99), st.integers(0, 99))
def test_a_split_is_stratified_seeded_and_a_disjoint_cover(counts: list[int], share: float, seed: int) -> None:
    samples = tuple(
        Sample(Path(f"{index}/{number}.png"), index) for index, count in enumerate(counts) for number in range(count)
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


def test_real_data(sample_data: Callable[[str], Path]) -> None:
    found = find_data(sample_data("clothing"))
    assert (len(found.train), len(found.validation), len(found.test)) == (3068, 341, 372)
    assert found.classes[0] == "dress"
    assert found.counts[9] == 795


def test_real_parquet(sample_data: Callable[[str], Path]) -> None:
    found = find_data(sample_data("cifar10"))
    assert found.counts == (5000,) * 10
    assert found.classes[:2] == ("airplane", "automobile")
    assert len(found.with_validation(0.1, 0).validation) == 5000

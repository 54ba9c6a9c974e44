"""Does every picture of a labelled data set get the class that its folder or its row says, or a refusal that helps?"""

from __future__ import annotations

import csv
import io
import re
import warnings
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from samples import measured, of_file

from linnet.data import Sample

NAMES = ("ant", "bee", "great white shark", "dog")


def make(folder: Path, *files: str) -> Path:
    """Empty files: what is inside a picture is not asked here."""
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).touch()
    return folder


def listed(samples: Iterable[Sample], folder: Path) -> list[tuple[str, int]]:
    return [(sample.path.relative_to(folder).as_posix(), sample.index) for sample in samples]


# Class folders


def test_folders_are_matched_by_name_not_by_order(tmp_path: Path) -> None:
    make(tmp_path, "dog/b.jpg", "dog/a.png", "ant/x.webp", "great white shark/y.gif", "bee/z.tif")
    assert listed(measured(tmp_path, classes=4, names=NAMES), tmp_path) == [
        ("ant/x.webp", 0),
        ("bee/z.tif", 1),
        ("dog/a.png", 3),
        ("dog/b.jpg", 3),
        ("great white shark/y.gif", 2),
    ]


@pytest.mark.parametrize("folder", ["great white shark", "Great_White_Shark", "GREAT WHITE SHARK", "great_white shark"])
def test_case_and_underscores_do_not_matter(folder: str, tmp_path: Path) -> None:
    make(tmp_path, f"{folder}/a.png")
    assert [sample.index for sample in measured(tmp_path, classes=4, names=NAMES)] == [2]


def test_underscores_in_the_models_own_names_do_not_matter_either(tmp_path: Path) -> None:
    make(tmp_path, "Great White Shark/a.png")
    assert measured(tmp_path, classes=1, names=("great_white_shark",))[0].index == 0


def test_some_of_the_classes_are_enough(tmp_path: Path) -> None:
    make(tmp_path, "dog/a.png", "bee/a.png")
    assert listed(measured(tmp_path, classes=4, names=NAMES), tmp_path) == [("bee/a.png", 1), ("dog/a.png", 3)]


def test_of_two_classes_with_one_name_the_first_takes_the_folder(tmp_path: Path) -> None:
    make(tmp_path, "crane/a.png")
    assert measured(tmp_path, classes=3, names=("ant", "crane", "crane"))[0].index == 1


def test_pictures_of_all_levels_count_and_other_files_do_not(tmp_path: Path) -> None:
    make(tmp_path, "ant/deep/er/a.PNG", "ant/b.jpeg", "ant/notes.txt", "ant/.hidden", "readme.md", "loose.png")
    (tmp_path / "ant" / "folder.png").mkdir()
    found = measured(tmp_path, classes=4, names=NAMES)
    assert listed(found, tmp_path) == [("ant/b.jpeg", 0), ("ant/deep/er/a.PNG", 0)]


def test_hidden_folders_are_no_classes(tmp_path: Path) -> None:
    make(tmp_path, ".git/a.png", ".thumbnails/b.png", "ant/a.png")
    assert listed(measured(tmp_path, classes=4, names=NAMES), tmp_path) == [("ant/a.png", 0)]


def test_an_empty_class_folder_is_only_empty(tmp_path: Path) -> None:
    make(tmp_path, "ant/a.png")
    (tmp_path / "bee").mkdir()
    assert listed(measured(tmp_path, classes=4, names=NAMES), tmp_path) == [("ant/a.png", 0)]


def test_known_names_are_matched_without_a_word(tmp_path: Path) -> None:
    make(tmp_path, *(f"{name}/a.png" for name in NAMES))
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        measured(str(tmp_path), classes=4, names=NAMES)
    assert not heard


@pytest.mark.parametrize(
    ("names", "reason"),
    [(NAMES, "are not the model's class names"), (None, "cannot be matched: the model has no class names")],
)
def test_as_many_other_folders_are_taken_in_order_with_a_warning(
    names: tuple[str, ...] | None, reason: str, tmp_path: Path
) -> None:
    make(tmp_path, "n02/a.png", "n01/a.png", "n10/a.png", "n03/a.png")
    with pytest.warns(UserWarning, match=rf"{re.escape(str(tmp_path))}.* {reason}; .*in order"):
        found = measured(tmp_path, classes=4, names=names)
    assert listed(found, tmp_path) == [("n01/a.png", 0), ("n02/a.png", 1), ("n03/a.png", 2), ("n10/a.png", 3)]


@pytest.mark.parametrize("folders", [["n01", "n02", "n03"], ["n01", "n02", "n03", "n04", "n05"]])
@pytest.mark.parametrize("names", [NAMES, None])
def test_fewer_or_more_other_folders_are_refused(
    folders: list[str], names: tuple[str, ...] | None, tmp_path: Path
) -> None:
    make(tmp_path, *(f"{folder}/a.png" for folder in folders))
    with pytest.raises(ValueError, match=r"none of the model's 4: n01, n02, n03") as caught:
        measured(tmp_path, classes=4, names=names)
    assert str(tmp_path) in str(caught.value)


def test_one_stranger_among_known_names_is_refused_even_if_the_number_fits(tmp_path: Path) -> None:
    # Taken in order, three right folders would become wrong ones because of one misspelt name.
    make(tmp_path, "ant/a.png", "bee/a.png", "dog/a.png", "great whale/a.png")
    with pytest.raises(ValueError, match=r"none of the model's 4: great whale \(great whale/a\.png is"):
        measured(tmp_path, classes=4, names=NAMES)


def test_of_many_strangers_some_are_named_and_the_rest_counted(tmp_path: Path) -> None:
    make(tmp_path, *(f"n{number:02}/a.png" for number in range(12)))
    with pytest.raises(ValueError, match=r"n00, n01, n02, n03, n04 and 7 more "):
        measured(tmp_path, classes=4, names=NAMES)


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (("train", "val", "test"), "test"),
        (("Training", "Testing"), "Testing"),
        (("train", "validate"), "validate"),
        (("train",), "train"),
    ],
)
def test_of_a_folder_of_parts_one_is_measured(parts: tuple[str, ...], expected: str, tmp_path: Path) -> None:
    make(tmp_path, *(f"{part}/{name}/a.png" for part in parts for name in ("ant", "bee")), "notes/a.txt")
    found = listed(measured(tmp_path, classes=4, names=NAMES), tmp_path)
    assert found == [(f"{expected}/ant/a.png", 0), (f"{expected}/bee/a.png", 1)]


def test_the_part_may_be_chosen(tmp_path: Path) -> None:
    make(tmp_path, *(f"{part}/{name}/a.png" for part in ("train", "test") for name in ("ant", "bee")))
    found = listed(measured(tmp_path, classes=4, names=NAMES, part="train"), tmp_path)
    assert found == [("train/ant/a.png", 0), ("train/bee/a.png", 1)]
    with pytest.raises(ValueError, match=r"has no validation part; it has train, test\."):
        measured(tmp_path, classes=4, names=NAMES, part="validation")


def test_a_class_that_only_the_measured_part_has_is_measured_where_the_model_has_it(tmp_path: Path) -> None:
    make(tmp_path, "train/ant/a.png", "train/bee/a.png", "test/ant/a.png", "test/dog/a.png")
    assert listed(measured(tmp_path, classes=4, names=NAMES), tmp_path) == [
        ("test/ant/a.png", 0),
        ("test/dog/a.png", 3),
    ]
    with pytest.raises(ValueError, match="none of the model's 2: dog"):
        measured(tmp_path, classes=2, names=NAMES[:2])


@given(st.lists(st.sampled_from(NAMES), min_size=1, unique=True), st.data())
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_order_of_the_models_names_gives_each_folder_its_own(
    tmp_path: Path, folders: list[str], data: st.DataObject
) -> None:
    names = tuple(data.draw(st.permutations(NAMES)))
    root = make(tmp_path / "-".join(folders), *(f"{folder}/a.png" for folder in folders))
    for sample in measured(root, classes=4, names=names):
        assert names[sample.index] == sample.path.parent.name


# labels.csv


def label(folder: Path, text: str | bytes) -> Path:
    path = folder / "labels.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("named", ["folder", "file"])
def test_rows_of_a_csv_are_samples_in_their_order(named: str, tmp_path: Path) -> None:
    # The files need not be there: a missing one is its own failure when it is read.
    path = label(tmp_path, "file,class_index\nb.png,3\nsub/a.jpg,0\nmissing.png,1\nb.png,2\n")
    found = measured(path if named == "file" else tmp_path, classes=4, names=None)
    assert listed(found, tmp_path) == [("b.png", 3), ("sub/a.jpg", 0), ("missing.png", 1), ("b.png", 2)]


def test_a_csv_may_have_any_name_if_it_is_named(tmp_path: Path) -> None:
    path = label(tmp_path, "file,class_index\na.png,1\n").rename(tmp_path / "Validation.CSV")
    assert listed(measured(path, classes=2, names=None), tmp_path) == [("a.png", 1)]


def test_a_csv_goes_before_class_folders(tmp_path: Path) -> None:
    label(make(tmp_path, "ant/a.png", "bee/b.png"), "file,class_index\nant/a.png,3\n")
    assert listed(measured(tmp_path, classes=4, names=NAMES), tmp_path) == [("ant/a.png", 3)]


def test_an_absolute_file_stays_where_it_is(tmp_path: Path) -> None:
    label(tmp_path, f"file,class_index\n{tmp_path / 'else' / 'a.png'},1\n")
    assert measured(tmp_path, classes=4, names=None)[0].file == tmp_path / "else" / "a.png"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("\ufefffile,class_index\na.png,1\n", id="byte order mark"),
        pytest.param("file,class_index\r\na.png,1\r\n", id="Windows line ends"),
        pytest.param("file,class_index\na.png,1", id="no last line end"),
        pytest.param("file,class_index\n\n\na.png,1\n\n", id="empty lines"),
        pytest.param("class_index,file\n1,a.png\n", id="other order"),
        pytest.param("id,file,class_index,weight\n7,a.png,1,0.5\n", id="other columns"),
        pytest.param('"file","class_index"\n"a.png","1"\n', id="quoted"),
        pytest.param("file,class_index\na.png, 1 \n", id="spaces around the number"),
        pytest.param("file,class_index\na.png,01\n", id="leading zero"),
        pytest.param("file,class_index\na.png,1,more,still more\n", id="more fields than columns"),
    ],
)
def test_usual_ways_to_write_a_csv_are_read(text: str, tmp_path: Path) -> None:
    label(tmp_path, text)
    assert listed(measured(tmp_path, classes=4, names=None), tmp_path) == [("a.png", 1)]


def test_names_with_commas_quotes_and_letters_of_the_world_are_read(tmp_path: Path) -> None:
    label(tmp_path, 'file,class_index\n"a, b.png",0\n"the ""best"".png",1\nжук 甲虫.png,2\n" padded .png",3\n')
    found = listed(measured(tmp_path, classes=4, names=None), tmp_path)
    assert found == [("a, b.png", 0), ('the "best".png', 1), ("жук 甲虫.png", 2), (" padded .png", 3)]


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(exclude_characters="\0/\r", exclude_categories=["Cs"]), min_size=1, max_size=20),
            st.integers(0, 9),
        ),
        min_size=1,
        max_size=8,
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_pythons_csv_writes_is_read_back(tmp_path: Path, rows: list[tuple[str, int]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["file", "class_index"])
    writer.writerows(rows)
    label(tmp_path, text.getvalue())
    expected = [of_file(tmp_path / name, index) for name, index in rows]
    assert measured(tmp_path, classes=10, names=None) == expected


@pytest.mark.parametrize(
    ("index", "shown"),
    [
        ("4", "'4'"),
        ("-1", "'-1'"),
        ("bee", "'bee'"),
        ("", "''"),
        ("nan", "'nan'"),
        ("1e3", "'1e3'"),
        ("²", "'²'"),
        ("99999999999999999999", "'99999999999999999999'"),
        # Python itself refuses to read so many digits.
        ("9" * 5000, "'9999999999"),
    ],
)
def test_a_class_that_the_model_has_not_is_refused_with_its_line(index: str, shown: str, tmp_path: Path) -> None:
    label(tmp_path, f"file,class_index\na.png,1\nb.png,{index}\n")
    with pytest.raises(
        ValueError, match=r"line 3: there is no class|of the class 4; the model has classes 0 to 3\.|none of"
    ) as e:
        measured(tmp_path, classes=4, names=None)
    assert shown.strip("'") in str(e.value) or not index


@pytest.mark.parametrize("text", ["file,class_index\na.png,1\n,2\n", "class_index,file\n1,a.png\n2\n"])
def test_a_row_without_a_file_is_refused_with_its_line(text: str, tmp_path: Path) -> None:
    path = label(tmp_path, text)
    with pytest.raises(ValueError, match=rf"^'{re.escape(str(path))}', line 3: .*file"):
        measured(tmp_path, classes=4, names=None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must have the columns file and label (or class_index); it has nothing"),
        ("a.png,1\nb.png,2\n", "it has a.png, 1"),
        ("file,class_index\n", "lists no pictures"),
        ("file,class_index\na.png\n", "line 2: there is no class"),
        ("file,class_index\n" + "a" * 200_000 + ",1\n", "cannot be read as CSV"),
    ],
)
def test_other_tables_are_refused(text: str | bytes, message: str, tmp_path: Path) -> None:
    path = label(tmp_path, text)
    with pytest.raises(ValueError, match=rf"^'{re.escape(str(path))}'.*{re.escape(message)}"):
        measured(tmp_path, classes=4, names=None)


# What is no data set


def test_a_missing_path_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=re.escape(str(tmp_path / "none"))):
        measured(tmp_path / "none", classes=4, names=NAMES)


def test_an_empty_folder_and_a_folder_of_loose_pictures_are_refused(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(ValueError, match="holds no labelled pictures"):
            measured(tmp_path, classes=4, names=NAMES)
        make(tmp_path, "a.png", "b.png")


def test_class_folders_without_a_picture_are_refused(tmp_path: Path) -> None:
    make(tmp_path, "ant/notes.txt", "bee/movie.mp4")
    with pytest.raises(ValueError, match="holds no labelled pictures"):
        measured(tmp_path, classes=4, names=NAMES)


@pytest.mark.parametrize(
    ("name", "message"),
    [("boxes.json", "cannot be read as a COCO json"), ("a.png", "is no data set"), ("data.zip", "is no data set")],
)
def test_other_files_are_refused_for_what_they_are(name: str, message: str, tmp_path: Path) -> None:
    make(tmp_path, name)
    with pytest.raises(ValueError, match=rf"^{re.escape(repr(str(tmp_path / name)))} {message}"):
        measured(tmp_path / name, classes=4, names=NAMES)

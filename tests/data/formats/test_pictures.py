"""Does each annotation find its own picture, however it names it, and never another's?"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from linnet.data import DataSet, find

SIZE = (64, 48)


def draw(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", SIZE).save(path)


def write(root: Path, files: Sequence[str], **documents: Sequence[str]) -> Path:
    """Pictures, and COCO jsons of the names that they list: the box of the n-th entry of a json is n pixels high."""
    for file in files:
        draw(root / file)
    for stem, names in documents.items():
        document = {
            "images": [
                {"id": place, "file_name": name, "width": SIZE[0], "height": SIZE[1]}
                for place, name in enumerate(names, start=1)
            ],
            "annotations": [
                {"id": place, "image_id": place, "category_id": 1, "bbox": [0, 0, 9, place]}
                for place in range(1, len(names) + 1)
            ],
            "categories": [{"id": 1, "name": "ant"}],
        }
        (root / "annotations").mkdir(exist_ok=True, parents=True)
        (root / "annotations" / f"{stem}.json").write_text(json.dumps(document))
    return root


def found(data: DataSet, root: Path, part: str = "train") -> list[str | None]:
    """The file of each entry below the root, in the order of the json; None where it is not there."""
    samples = sorted(getattr(data, part), key=lambda sample: float(sample.boxes[0, 3]))
    return [str(one.path.relative_to(root)) if one.path.is_file() else None for one in samples]


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("images/a/1.jpg", "a\\1.jpg"),
        ("images/1.jpg", "C:\\Users\\me\\set\\1.jpg"),
        ("images/1.jpg", "/home/me/set/images/1.jpg"),
        ("images/1.jpg", "../images/1.jpg"),
        ("images/1.jpg", "./images//1.jpg"),
        ("images/a b.jpg", "a%20b.jpg"),
        ("images/a%20b.jpg", "a%20b.jpg"),
        ("images/a b.jpg", "/data/local-files/?d=images/a%20b.jpg"),
        ("train2017/1.jpg", "http://images.cocodataset.org/train2017/1.jpg"),
        ("images/1.jpg", "https://example.org/x/1.jpg?token=abc&x=1"),
        ("images/1.jpg", "http://[x/1.jpg"),
        ("images/B.JPG", "b.jpg"),
        ("images/" + unicodedata.normalize("NFD", "é.jpg"), unicodedata.normalize("NFC", "é.jpg")),
        ("images/" + unicodedata.normalize("NFC", "é.jpg"), unicodedata.normalize("NFD", "É.jpg")),
        ("pictures/deep/1.jpg", "1.jpg"),
    ],
)
def test_names_as_tools_write_them(file: str, name: str, tmp_path: Path) -> None:
    data = find(write(tmp_path, [file], instances_train=[name]))
    assert found(data, tmp_path) == [file]
    assert (data.flaws, data.unlisted) == ((), ())


def test_a_whole_path_is_the_picture_itself(tmp_path: Path) -> None:
    names = [str(tmp_path / "images" / folder / "1.jpg") for folder in "ba"]
    data = find(write(tmp_path, ["images/a/1.jpg", "images/b/1.jpg"], instances_train=names))
    assert found(data, tmp_path) == ["images/b/1.jpg", "images/a/1.jpg"]
    assert data.unlisted == ()


def test_an_exact_path_beats_a_base_name_that_comes_first(tmp_path: Path) -> None:
    data = find(write(tmp_path, ["images/1.jpg"], instances_train=["old/1.jpg", "1.jpg"]))
    assert found(data, tmp_path) == [None, "images/1.jpg"]
    (flaw,) = data.flaws
    assert flaw.text.startswith("is named 'old/1.jpg' by 'instances_train.json', but ")
    assert flaw.text.endswith("images/1.jpg' belongs to the picture 2 of 'instances_train.json'")


def test_a_file_that_may_be_either_of_two_is_neither_s(tmp_path: Path) -> None:
    write(tmp_path, ["images/1.jpg", "images/2.jpg"], instances_train=["a/1.jpg", "b/1.jpg", "2.jpg"])
    data = find(tmp_path)
    assert found(data, tmp_path) == [None, None, "images/2.jpg"]
    assert ["may be any of 2" in flaw.text for flaw in data.flaws] == [True, True]
    assert data.flaws[0].name != data.flaws[1].name


def test_one_name_twice_is_one_picture(tmp_path: Path) -> None:
    data = find(write(tmp_path, ["images/1.jpg"], instances_train=["1.jpg", "1.jpg"]))
    assert found(data, tmp_path) == ["images/1.jpg", None]
    assert "belongs to the picture 1" in data.flaws[0].text


def test_pictures_come_in_the_order_of_the_file(tmp_path: Path) -> None:
    """Splits depend on it."""
    data = find(
        write(tmp_path, ["images/x/1.jpg", "images/2.jpg", "3.jpg"], instances_train=["1.jpg", "2.jpg", "3.jpg"])
    )
    assert [sample.path.name for sample in data.train] == ["1.jpg", "2.jpg", "3.jpg"]


@pytest.mark.parametrize(
    ("folders", "stems"),
    [
        (("images/Train", "images/Validation"), ("instances_Train", "instances_Validation")),
        (("train2017", "val2017"), ("instances_train2017", "instances_val2017")),
        (("images/train", "images/validation"), ("train", "val")),
        (("data/training", "data/valid"), ("train_coco", "val_coco")),
    ],
)
def test_the_part_s_own_folder_comes_first(folders: tuple[str, str], stems: tuple[str, str], tmp_path: Path) -> None:
    files = [f"{folder}/frame_{number}.jpg" for folder in folders for number in range(2)]
    names = ["frame_0.jpg", "frame_1.jpg"]
    data = find(write(tmp_path, files, **dict.fromkeys(stems, names)))
    assert found(data, tmp_path) == files[:2]
    assert found(data, tmp_path, "validation") == files[2:]
    assert (data.flaws, data.unlisted) == ((), ())


def test_no_part_takes_the_pictures_of_another(tmp_path: Path) -> None:
    names = ["frame_0.jpg", "frame_1.jpg"]
    write(
        tmp_path,
        ["images/Train/frame_0.jpg", "images/Train/frame_1.jpg", "images/Validation/frame_1.jpg"],
        instances_Train=names,
        instances_Validation=names,
    )
    data = find(tmp_path)
    assert found(data, tmp_path, "validation") == [None, "images/Validation/frame_1.jpg"]
    assert data.flaws[0].text.endswith("images/Train/frame_0.jpg' lies in the folder of another part")
    with pytest.raises(ValueError, match=r"instances_Validation.json' was found, .* belongs to the picture 1 of 'inst"):
        find(tmp_path, images=tmp_path / "images" / "Train")
    data = find(tmp_path, images=tmp_path / "images")
    assert found(data, tmp_path, "validation") == [None, "images/Validation/frame_1.jpg"]
    (tmp_path / "images" / "Validation" / "frame_1.jpg").unlink()
    with pytest.raises(ValueError, match=r"instances_Validation.json' was found, .* the first is 'frame_0.jpg'"):
        find(tmp_path)


def test_two_parts_may_list_one_picture(tmp_path: Path) -> None:
    """That it is a copy is for the check to say."""
    data = find(
        write(tmp_path, ["images/1.jpg", "images/2.jpg"], instances_train=["1.jpg", "2.jpg"], instances_val=["2.jpg"])
    )
    assert found(data, tmp_path) == ["images/1.jpg", "images/2.jpg"]
    assert found(data, tmp_path, "validation") == ["images/2.jpg"]


def test_pictures_above_a_set_are_other_data_s(tmp_path: Path) -> None:
    write(tmp_path, ["images/1.jpg", "images/2.jpg"])
    draw(tmp_path / "set" / "1.jpg")
    document = json.loads(
        (write(tmp_path / "x", ["1.jpg"], a=["1.jpg", "2.jpg"]) / "annotations" / "a.json").read_text()
    )
    (tmp_path / "set" / "a.json").write_text(json.dumps(document))
    assert found(find(tmp_path / "set"), tmp_path) == ["set/1.jpg", None]


@given(st.data())
def test_no_two_entries_have_one_file_and_an_exact_path_is_kept(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Whatever lies there, and however it is named."""
    root = tmp_path_factory.mktemp("named")
    paths = st.tuples(st.sampled_from(["", "a/", "b/", "Train/"]), st.sampled_from(["1.jpg", "2.jpg", "1.JPG"])).map(
        "".join
    )
    files = data.draw(st.lists(paths, min_size=1, max_size=5, unique=True))
    train = data.draw(st.lists(paths | paths.map(lambda path: "x\\" + path), min_size=1, max_size=5, unique=True))
    validation = data.draw(st.lists(paths, max_size=3, unique=True))
    documents = {"instances_train": train} | ({"instances_val": validation} if validation else {})
    write(root, [f"images/{file}" for file in files], **documents)
    try:
        read = find(root)
    except ValueError as error:
        if "Not one picture" in str(error):
            return
        raise
    for part, names in (("train", train), ("validation", validation)):
        there = found(read, root, part)
        taken = [file for file in there if file is not None]
        assert len(set(taken)) == len(taken)
        for name, file in zip(names, there, strict=True):
            if name in files and part == "train" and not any(name == one.partition("/")[2] for one in files):
                assert file == f"images/{name}"
    own = {file for file in found(read, root) if file is not None}
    assert not [file for file in found(read, root, "validation") if file in own and "/Train/" in str(file)]


# Other formats find their pictures in the same way


def cvat(*entries: tuple[str, str]) -> str:
    images = "".join(
        f'<image id="{place}" name="{name}" subset="{subset}" width="64" height="48">'
        f'<box label="ant" xtl="0" ytl="0" xbr="9" ybr="{place}"/></image>'
        for place, (subset, name) in enumerate(entries, start=1)
    )
    return f"<annotations>{images}</annotations>"


def test_pictures_of_cvat(tmp_path: Path) -> None:
    for file in ("images/a/1.jpg", "images/Train/1.jpg", "images/Validation/1.jpg"):
        draw(tmp_path / file)
    (tmp_path / "annotations.xml").write_text(cvat(("", "a\\1.jpg")))
    assert found(find(tmp_path), tmp_path) == ["images/a/1.jpg"]
    (tmp_path / "annotations.xml").write_text(cvat(("Train", "1.jpg"), ("Validation", "1.jpg")))
    data = find(tmp_path)
    assert (found(data, tmp_path), found(data, tmp_path, "validation")) == (
        ["images/Train/1.jpg"],
        ["images/Validation/1.jpg"],
    )
    (tmp_path / "annotations.xml").write_text(cvat(("", "x/1.jpg"), ("", "y/1.jpg"), ("", "a/1.jpg")))
    assert found(find(tmp_path), tmp_path) == [None, None, "images/a/1.jpg"]


def test_pictures_of_createml(tmp_path: Path) -> None:
    for part in ("train", "valid"):
        draw(tmp_path / part / "1.jpg")
        sides = {"x": 20, "y": 20, "width": 8, "height": 8}
        document = [{"image": "1.jpg", "annotations": [{"label": "ant", "coordinates": sides}]}]
        (tmp_path / part / "_annotations.createml.json").write_text(json.dumps(document))
    data = find(tmp_path)
    assert (found(data, tmp_path), found(data, tmp_path, "validation")) == (["train/1.jpg"], ["valid/1.jpg"])
    (tmp_path / "valid" / "1.jpg").unlink()
    with pytest.raises(ValueError, match=r"'.*valid/_annotations.createml.json' was found, .* folder of another part"):
        find(tmp_path)


def labelme(name: str, height: int) -> str:
    shape: dict[str, Any] = {"label": "ant", "shape_type": "rectangle", "points": [[9, height], [0, 0]]}
    return json.dumps({"shapes": [shape], "imagePath": name, "imageWidth": SIZE[0], "imageHeight": SIZE[1]})


def test_pictures_of_labelme(tmp_path: Path) -> None:
    for name in ("1.jpg", "2.jpg", "3.jpg"):
        draw(tmp_path / name)
    # The second was renamed together with its picture, the third copied from the first.
    for stem, told, height in (("1", "1.jpg", 1), ("2", "old.jpg", 2), ("0", "1.jpg", 3)):
        (tmp_path / f"{stem}.json").write_text(labelme(told, height))
    data = find(tmp_path)
    assert found(data, tmp_path) == ["1.jpg", "2.jpg", None]
    assert [Path(name).name for name in data.unlisted] == ["3.jpg"]
    assert "belongs to the picture" in data.flaws[0].text


def test_labelme_beside_the_folder_of_pictures(tmp_path: Path) -> None:
    draw(tmp_path / "images" / "1.jpg")
    (tmp_path / "json").mkdir()
    (tmp_path / "json" / "1.json").write_text(labelme("..\\images\\1.jpg", 5))
    assert found(find(tmp_path), tmp_path) == ["images/1.jpg"]


def test_labelme_outside_the_parts_is_said(tmp_path: Path) -> None:
    for folder, height in (("train", 1), ("more", 2)):
        draw(tmp_path / folder / "1.jpg")
        (tmp_path / folder / "1.json").write_text(labelme("1.jpg", height))
    data = find(tmp_path)
    assert found(data, tmp_path) == ["train/1.jpg"]
    assert data.notes == (
        f"1 json files lie in no folder of a part and are not read, such as '{tmp_path}/more/1.json'.",
    )

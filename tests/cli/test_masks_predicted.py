"""Do `predict` and `evaluate` say and write what a segmenter finds, also in windows, and refuse what is for others?"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from masks import NAMES, write_masks
from networks import checkpoint_of
from PIL import Image

from linnet.architecture.deeplab import deeplab
from linnet.checkpoint import save_checkpoint
from linnet.cli import main
from linnet.evaluation.segmenter import measure_segmenter
from linnet.images import read_page
from linnet.predictor import load


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_masks(tmp_path / "data", train=2, validation=1, test=3)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    source = deeplab(variant="modern", width=0.1, resolution=(24, 32), classes=3)
    save_checkpoint(checkpoint_of(source, classes=NAMES, seed=3), path)
    return path


@pytest.mark.parametrize("flags", [[], ["--tile"]])
def test_predict_writes_maps_and_overlays_and_says_shares(
    data: Path, model: Path, flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = ["--masks", str(tmp_path / "maps"), "--draw", str(tmp_path / "drawn")]
    pictures = data / "images" / "test"
    assert main(["predict", str(pictures), "--model", str(model), "--json", *folders, *flags]) == 0
    documents = json.loads(capsys.readouterr().out)
    assert len(documents) == 3
    predict = load(model, tile=bool(flags))
    for document in documents:
        assert document.keys() == {"file", "classes"}
        name = Path(document["file"]).stem
        with Image.open(tmp_path / "maps" / f"{name}.png") as image:
            labels = np.asarray(image)
        assert labels.shape == (48, 64)
        assert np.array_equal(labels, predict(document["file"]).labels)
        assert sum(each["share"] for each in document["classes"]) == pytest.approx(1)
        for each in document["classes"]:
            assert each["label"] == NAMES[each["index"]]
            assert each["share"] == pytest.approx((labels == each["index"]).mean())
        assert (tmp_path / "drawn" / f"{name}.png").is_file()


def test_windows_see_more_than_the_squashed_picture(data: Path, model: Path) -> None:
    picture = next((data / "images" / "test").iterdir())
    whole, tiled = (load(model, tile=tile)(picture).labels for tile in (False, True))
    assert whole.shape == tiled.shape
    assert not np.array_equal(whole, tiled)
    small = Image.open(picture).resize((32, 24))
    assert np.array_equal(*(load(model, tile=tile)(small).labels for tile in (False, True)))


def test_predict_shows_a_table(data: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(data / "images" / "test"), "--model", str(model), "--top", "1"]) == 0
    assert "share" in capsys.readouterr().out


def test_evaluate_says_every_class_and_reports(
    data: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report"
    assert main(["evaluate", str(data), "--model", str(model), "--json", "--report", str(report)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["images"] == 3
    for figure in ("mIoU", "pixel_accuracy", "boundary_F1"):
        low, high = document[f"{figure}_95"]
        assert 0 <= low <= document[figure] <= high <= 1
    assert document["IoU"].keys() == document["F1"].keys() == set(NAMES)
    assert json.loads((report / "report.json").read_text())["mIoU"] == document["mIoU"]
    for name in ("worst", "classes", "confusion"):
        with Image.open(report / f"{name}.png") as image:
            assert min(image.size) > 200
    assert main(["evaluate", str(data), "--model", str(model), "--tile", "--against", str(model)]) == 0
    shown = capsys.readouterr().out
    assert "boundary F1" in shown
    assert "IoU of line" in shown


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*each page is a picture")
def test_pages_of_a_stack_are_measured_and_predicted(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generator = np.random.default_rng(1)
    for name, most in (("volume", 256), ("labels", 3)):
        pages = [Image.fromarray(generator.integers(0, most, (24, 32), dtype=np.uint8)) for _ in range(3)]
        pages[0].save(tmp_path / f"train-{name}.tif", save_all=True, append_images=pages[1:])
    (tmp_path / "classes.txt").write_text("\n".join(NAMES))
    assert main(["evaluate", str(tmp_path), "--model", str(model), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 3
    volume = tmp_path / "train-volume.tif"
    drawn, masks = tmp_path / "drawn", tmp_path / "masks"
    arguments = ["predict", str(volume), "--model", str(model), "--json", "--draw", str(drawn), "--masks", str(masks)]
    assert main(arguments) == 0
    answers = json.loads(capsys.readouterr().out)
    assert [one["file"] for one in answers] == [f"{volume}, page {number}" for number in (1, 2, 3)]
    predictor = load(model)
    for number in (1, 2, 3):
        with Image.open(masks / f"train-volume-000{number}.png") as written:
            assert np.array_equal(np.asarray(written), predictor(read_page(volume, number - 1)).labels)
        assert (drawn / f"train-volume-000{number}.png").is_file()


def test_figures_are_those_of_pixels_and_a_picture_without_its_size_is_named(data: Path, model: Path) -> None:
    from linnet.data import find

    found = find(data)
    predict = load(model)
    figures = measure_segmenter(predict, found.test)
    labels = np.stack([predict(sample.picture).labels for sample in found.test])
    masks = np.stack([sample.mask.read() for sample in found.test])
    counted = masks != 255
    assert figures.figure("pixel_accuracy") == pytest.approx((labels == masks)[counted].mean())
    assert figures.same_answers(figures) == 1
    assert figures.confusion.sum() == counted.sum()
    Image.new("L", (5, 5)).save(found.test[0].mask.name)
    again = measure_segmenter(predict, found.test)
    assert again.images == 2
    assert "5 x 5 pixels" in again.failed[0][1]


@pytest.mark.parametrize("flags", [["--masks", "maps"], ["--tile"]])
def test_what_is_of_segmenters_is_refused_of_others(
    flags: list[str],
    small_model: Path,
    picture_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["predict", str(picture_file), "--model", str(small_model), *flags]) in (1, 2)
    assert "for segmenters" in capsys.readouterr().err


def test_masks_and_drawings_need_folders_of_their_own(
    data: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = data / "images" / "test"
    for flags, message in (
        (["--masks", str(pictures)], "holds pictures of this run"),
        (["--masks", str(tmp_path / "one"), "--draw", str(tmp_path / "one")], "would have the same names"),
    ):
        assert main(["predict", str(pictures), "--model", str(model), *flags]) == 2
        assert message in capsys.readouterr().err

"""Are the least sure pictures found, in their order, and copied unchanged?"""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from networks import checkpoint_of
from PIL import Image, ImageOps

from linnet.architecture import MobileNetV2
from linnet.architecture.deeplab import deeplab
from linnet.architecture.ssdlite import ssdlite
from linnet.data.gathering import gather
from linnet.predictions.results import Identity, open_results
from linnet.predictions.running import predict_into
from linnet.predictions.uncertain import (
    Uncertain,
    check_folder,
    copy_uncertain,
    find_uncertain,
    uncertain_folder,
)
from linnet.predictor import Predictor
from linnet.results import Detections
from linnet.segmentation import cut, tiles_of
from linnet.tasks import TASKS
from linnet.tasks.detection.mirror import disagreement

parquet = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow: pip install 'linnet[train]'")

COUNT = 15


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    generator = np.random.default_rng(2)
    for number in range(COUNT):
        pixels = generator.integers(0, 256, (4, 5, 3), np.uint8)
        Image.fromarray(pixels).resize((40, 32)).save(folder / f"{number:02}.png")
    (folder / "03.png").write_bytes(b"nonsense")
    return folder


def uncertain(predictor: Predictor, source: Path, out: Path, count: int) -> list[Uncertain]:
    gathered = gather([str(source)])
    with open_results(out, Identity("m", (), (), predictor.checkpoint.task)) as results:
        predict_into(results, predictor, gathered)
        results.finish()
        return find_uncertain(results, TASKS[predictor.network.task].uncertainty(predictor), gathered, count)


def test_of_a_classifier_the_score_tells(pictures: Path, tmp_path: Path) -> None:
    predictor = Predictor(checkpoint_of(MobileNetV2(width=0.1, resolution=32, classes=4)), threads=1)
    found = uncertain(predictor, pictures, tmp_path / "out.parquet", 6)
    scores = {str(path): predictor(path).score for path in pictures.iterdir() if path.stem != "03"}
    assert [one.file for one in found] == sorted(scores, key=lambda name: scores[name])[:6]
    assert [one.uncertainty for one in found] == pytest.approx([1 - scores[one.file] for one in found])


def test_of_a_detector_the_mirror_image_tells_too(pictures: Path, tmp_path: Path) -> None:
    predictor = Predictor(checkpoint_of(ssdlite(width=0.35, resolution=64, classes=3), seed=4), threads=1)
    found = uncertain(predictor, pictures, tmp_path / "out", 3)
    expected = {}
    for path in pictures.iterdir():
        if path.stem != "03":
            with Image.open(path) as image:
                first, second = predictor(image.convert("RGB")), predictor(ImageOps.mirror(image.convert("RGB")))
                best = float(first.scores[0]) if len(first) else predictor.suppression.score_threshold
                expected[str(path)] = (1 - best + disagreement(first, second, image.width)) / 2
    # All of 14 pictures are among 4 x 3 candidates but two.
    assert {one.file: pytest.approx(one.uncertainty) for one in found}.items() <= expected.items()
    assert [one.uncertainty for one in found] == sorted((one.uncertainty for one in found), reverse=True)


@pytest.mark.parametrize("tile", [False, True])
def test_of_a_segmenter_the_mean_probability_of_its_best_classes_tells(
    tile: bool, pictures: Path, tmp_path: Path
) -> None:
    network = deeplab(width=0.1, resolution=33, classes=3)
    predictor = Predictor(checkpoint_of(network, seed=2), threads=1, tile=tile)
    found = uncertain(predictor, pictures, tmp_path / "out.parquet", 4)
    expected = {}
    for path in pictures.iterdir():
        if path.stem != "03":
            prepared = predictor.prepare(path)
            windows = [prepared.pixels]
            if tile:
                windows = [cut(prepared.pixels, each, (33, 33)) for each in tiles_of(prepared.size, (33, 33))]
            logits = predictor.forward(np.stack(windows)).astype(np.float64)
            powers = np.exp(logits)
            expected[str(path)] = 1 - float((powers.max(axis=-1) / powers.sum(axis=-1)).mean())
    assert [one.file for one in found] == sorted(expected, key=lambda name: -expected[name])[:4]
    assert [one.uncertainty for one in found] == pytest.approx([expected[one.file] for one in found], abs=1e-5)


def test_what_says_nothing_of_how_sure_it_is_is_refused() -> None:
    segmenter = TASKS["segmentation"]
    with pytest.raises(ValueError, match="Take the checkpoint"):
        segmenter.uncertainty(SimpleNamespace(gives_scores=False))  # type: ignore[arg-type]
    ranked = segmenter.uncertainty(SimpleNamespace(gives_scores=True))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="an older linnet wrote them"):
        ranked.of_score(None)


def boxes(*objects: tuple[int, float, float]) -> Detections:
    """Objects of a class from x0 to x1."""
    corners = np.array([(x0, 0, x1, 10) for _, x0, x1 in objects], np.float32).reshape(-1, 4)
    return Detections(corners, np.ones(len(objects), np.float32), np.array([each[0] for each in objects], np.int64))


def test_disagreement() -> None:
    assert disagreement(boxes(), boxes(), 100) == 0
    assert disagreement(boxes((0, 10, 30)), boxes(), 100) == 1
    assert disagreement(boxes((0, 10, 30)), boxes((0, 70, 90)), 100) == 0
    assert disagreement(boxes((0, 10, 30)), boxes((1, 70, 90)), 100) == 1
    assert disagreement(boxes((0, 10, 30)), boxes((0, 10, 30)), 100) == 1
    # Each object is the same as one other at most.
    assert disagreement(boxes((0, 10, 30), (0, 11, 31)), boxes((0, 70, 90)), 100) == pytest.approx(1 / 3)


def test_copies_are_in_order_and_unchanged(pictures: Path, tmp_path: Path) -> None:
    import pyarrow as arrow

    contents = [path.read_bytes() for path in sorted(pictures.iterdir()) if path.stem != "03"]
    parquet.write_table(arrow.table({"image": contents}), tmp_path / "pictures.parquet")
    predictor = Predictor(checkpoint_of(MobileNetV2(width=0.1, resolution=32, classes=4)), threads=1)
    for number, source in enumerate((pictures, tmp_path / "pictures.parquet")):
        out = tmp_path / f"{number}.parquet"
        found = uncertain(predictor, source, out, 12)
        folder = uncertain_folder(out)
        assert folder == tmp_path / f"{number}-uncertain"
        check_folder(folder)
        copy_uncertain(found, gather([str(source)]), folder)
        with (folder / "uncertain.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert [row["file"] for row in rows] == [one.file for one in found]
        assert [row["copy"] for row in rows] == sorted(path.name for path in folder.glob("*.png"))
        for row, one in zip(rows, found, strict=True):
            place = int(one.file.rpartition(" ")[2]) if number else 0
            content = contents[place] if number else Path(one.file).read_bytes()
            assert (folder / row["copy"]).read_bytes() == content
            assert float(row["uncertainty"]) == one.uncertainty
        with pytest.raises(ValueError, match="is there already"):
            check_folder(folder)

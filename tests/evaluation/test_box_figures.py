"""Is a detector measured as COCO does it, does a pixel count, and do mistakes come out as what they are?"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from samples import of_file

from linnet.data import Boxes, find
from linnet.data.samples import Sample
from linnet.evaluation.average_precision import FIGURES, AveragePrecision, measure_precision
from linnet.evaluation.box_mistakes import BoxMistakes, find_mistakes, overlaps
from linnet.evaluation.box_report import write_box_report
from linnet.evaluation.detector import DetectorFigures

NAMES = ("ant", "bee", "cat")


class Found(NamedTuple):
    boxes: NDArray[Any]
    scores: NDArray[Any]
    indices: NDArray[Any]


def found(*entries: tuple[float, ...]) -> Found:
    """Class, score and box of each detection."""
    table = np.array(entries, np.float64).reshape(-1, 6)
    return Found(table[:, 2:], table[:, 1], table[:, 0].astype(np.int64))


def sample(*entries: tuple[float, ...], file: str = "a.png", ignored: tuple[int, ...] = ()) -> Sample:
    """Class and box of each object, in a picture of 200 x 100."""
    table = np.array(entries, np.float32).reshape(-1, 5)
    boxes = table[:, 1:]
    marks = np.isin(np.arange(len(table)), ignored)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return of_file(file, Boxes(boxes, table[:, 0].astype(np.int64), marks, areas, (200, 100)))


def perfect(samples: Any) -> list[Found]:
    """The ground truth as detections."""
    return [Found(one.boxes, np.linspace(1, 0.5, len(one.boxes)), one.indices) for one in samples]


@st.composite
def pictures(draw: st.DrawFn) -> list[Sample]:
    boxes = st.tuples(
        st.integers(0, 2), st.integers(0, 150), st.integers(0, 60), st.integers(4, 50), st.integers(4, 40)
    )
    drawn = draw(st.lists(st.lists(boxes, max_size=4, unique=True), min_size=1, max_size=4).filter(any))
    return [sample(*[(index, x, y, x + wide, y + high) for index, x, y, wide, high in one]) for one in drawn]


# Facts from outside


def test_coco_s_rule_on_a_case_that_can_be_counted_by_hand() -> None:
    """Two objects; found: one right (0.9), one in the void (0.8), the other at IoU 0.8 (0.7).

    At IoU to 0.8: precision 1 up to recall 0.5, then 2/3: (51 + 50 x 2/3) / 101. Above: 51 / 101, at three of ten.
    """
    samples = [sample((0, 0, 0, 40, 40), (0, 100, 0, 150, 50))]
    detections = [found((0, 0.9, 0, 0, 40, 40), (0, 0.8, 50, 50, 90, 90), (0, 0.7, 100, 0, 140, 50))]
    result = measure_precision(samples, detections, ["ant"])
    both, one = (51 + 50 * 2 / 3) / 101, 51 / 101
    assert result.figures["AP50"] == pytest.approx(both)
    assert result.figures["AP75"] == pytest.approx(both)
    assert result.figures["AP"] == pytest.approx(0.7 * both + 0.3 * one)
    assert result.figures["AR100"] == pytest.approx(0.7 + 0.3 * 0.5)
    assert result.figures["AR1"] == pytest.approx(0.5)
    # All of it is between 32² and 96².
    assert result.figures["APm"] == result.figures["AP"]
    assert result.figures["APs"] is result.figures["APl"] is None
    assert (result.images, result.objects) == (1, (2,))
    assert result.precision[0, :51] == pytest.approx(1)
    assert result.precision[0, 51:] == pytest.approx(2 / 3)
    assert result.scores[0, [0, 50, 51, 100]] == pytest.approx([0.9, 0.9, 0.7, 0.7])


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_ground_truth_of_bccd_is_perfect_and_a_pixel_is_noticed(part: str, sample_data: Callable[[str], Path]) -> None:
    data = find(sample_data("bccd-coco"))
    samples = getattr(data, part)
    exact = measure_precision(samples, perfect(samples), data.classes)
    assert [exact.figures[name] for name in ("AP", "AP50", "AP75", "AR100")] == [1, 1, 1, 1]
    assert exact.per_class == ((1.0, 1.0),) * 3
    assert sum(exact.objects) == {"train": 2804, "validation": 1137, "test": 945}[part]
    shifted = [one._replace(boxes=one.boxes + np.array([1, 0, 1, 0])) for one in perfect(samples)]
    moved = measure_precision(samples, shifted, data.classes)
    assert (moved.figures["AP"] or 0) < 0.995
    # Of 38 x 40 pixels, the platelets': 37 / 39 still is 0.95, but hardly for all.
    assert (moved.per_class[2][0] or 0) < 0.97
    mistakes = find_mistakes(samples, perfect(samples), data.classes)
    assert np.array_equal(mistakes.confusion, np.diag([*exact.objects, 0]))
    assert mistakes.mistakes == ()


# Laws


@given(pictures())
def test_ground_truth_fed_back_is_perfect(samples: list[Sample]) -> None:
    result = measure_precision(samples, perfect(samples), NAMES)
    for name in ("AP", "AP50", "AP75", "AR100"):
        assert result.figures[name] == pytest.approx(1)
    mistakes = find_mistakes(samples, perfect(samples), NAMES)
    assert np.array_equal(mistakes.confusion, np.diag([*result.objects, 0]))
    assert mistakes.mistakes == ()


@given(pictures(), st.integers(0, 3), st.sampled_from([-1, 1]))
def test_one_coordinate_of_one_box_moved_by_a_pixel_is_noticed(samples: list[Sample], side: int, step: int) -> None:
    """Boxes are at most 50 pixels long: IoU falls to 50/51 and below, and COCO's last threshold is 0.95."""
    small = [sample((0, 10, 10, 22, 24)), *samples]
    detections = perfect(small)
    boxes = detections[0].boxes.copy()
    boxes[0, side] += step
    detections[0] = detections[0]._replace(boxes=boxes)
    result = measure_precision(small, detections, NAMES)
    assert result.figures["AP50"] == pytest.approx(1)
    assert (result.figures["AP"] or 0) < 0.999


@given(pictures(), pictures(), st.integers(0, 2**32))
def test_every_object_and_every_detection_is_counted_once(
    samples: list[Sample], others: list[Sample], seed: int
) -> None:
    generator = np.random.default_rng(seed)
    detections = [
        Found(one.boxes, generator.random(len(one.boxes)), one.indices)
        for one in (*others, *[sample()] * len(samples))[: len(samples)]
    ]
    result = find_mistakes(samples, detections, NAMES, least_score=0.3)
    confusion = result.confusion
    objects = np.bincount(np.concatenate([one.indices for one in samples]), minlength=3)
    guesses = np.bincount(
        np.concatenate([one.indices[one.scores >= 0.3] for one in detections]).astype(np.int64), minlength=3
    )
    assert confusion[:3].sum(axis=1).tolist() == objects.tolist()
    assert confusion[:, :3].sum(axis=0).tolist() == guesses.tolist()
    assert confusion[3, 3] == 0
    wrong = int(confusion.sum() - np.trace(confusion))
    assert len(result.mistakes) == min(wrong, 24)


@given(pictures())
def test_overlaps_are_symmetric_and_one_with_oneself(samples: list[Sample]) -> None:
    boxes = np.concatenate([one.boxes for one in samples])
    overlap, inside = overlaps(boxes, boxes)
    assert np.allclose(overlap, overlap.T)
    assert np.allclose(np.diag(overlap), 1)
    assert np.allclose(np.diag(inside), 1)
    assert (overlap <= inside + 1e-12).all()


# Mistakes


def test_each_kind_of_mistake() -> None:
    one = sample((0, 10, 10, 50, 50), (1, 60, 10, 100, 50), (2, 120, 10, 160, 50), (0, 10, 60, 30, 80))
    detections = found(
        (0, 0.99, 10, 10, 50, 50),
        (0, 0.9, 12, 10, 52, 50),
        (0, 0.85, 60, 10, 100, 50),
        (2, 0.8, 140, 10, 180, 50),
        (1, 0.75, 110, 60, 150, 95),
        (0, 0.4, 10, 60, 30, 80),
    )
    result = find_mistakes([one], [detections], NAMES)
    told = [(mistake.kind, mistake.guess, mistake.truth, mistake.object) for mistake in result.mistakes]
    assert told == [
        ("double", 0, 0, 0),
        ("confused", 0, 1, 1),
        ("displaced", 2, 2, 2),
        ("background", 1, None, None),
        ("missed", None, 2, 2),
        ("missed", None, 0, 3),
    ]
    assert result.mistakes[2].overlap == pytest.approx(1 / 3)
    assert result.confusion.tolist() == [[1, 0, 0, 1], [1, 0, 0, 0], [0, 0, 0, 1], [1, 1, 1, 0]]
    assert [entry["kind"] for entry in result.to_json()["mistakes"]][:2] == ["double", "confused"]
    assert find_mistakes([one], [detections], NAMES, least_score=0.3).confusion[0].tolist() == [2, 0, 0, 0]


def test_a_right_detection_is_not_robbed_by_a_better_one_of_another_class() -> None:
    one = sample((0, 10, 10, 50, 50))
    result = find_mistakes([one], [found((1, 0.99, 10, 10, 50, 50), (0, 0.6, 12, 10, 52, 50))], NAMES)
    assert result.confusion[0].tolist() == [1, 0, 0, 0]
    assert [mistake.kind for mistake in result.mistakes] == ["background"]


def test_crowds_count_neither_for_nor_against() -> None:
    one = sample((0, 0, 0, 40, 40), (0, 100, 0, 200, 100), ignored=(1,))
    detections = [found((0, 0.9, 0, 0, 40, 40), (0, 0.95, 110, 10, 130, 30), (0, 0.94, 150, 50, 170, 70))]
    result = measure_precision([one], detections, NAMES)
    assert (result.figures["AP"], result.objects) == (1.0, (1, 0, 0))
    mistakes = find_mistakes([one], detections, NAMES)
    assert mistakes.confusion.sum() == mistakes.confusion[0, 0] == 1
    assert mistakes.mistakes == ()


# Edges


@pytest.mark.parametrize("samples", [[sample()], [sample((1, 0, 0, 9, 9))], [sample((1, 0, 0, 9, 9), ignored=(0,))]])
def test_without_objects_or_detections_there_are_still_figures(samples: list[Sample], tmp_path: Path) -> None:
    for detections in ([found()], [found((2, 0.9, 5, 5, 20, 20))]):
        result = measure_precision(samples, detections, NAMES)
        assert set(result.figures) == set(FIGURES)
        assert result.figures["AP"] == (0.0 if sum(result.objects) else None)
        json.dumps(result.to_json(), allow_nan=False)
        mistakes = find_mistakes(samples, detections, NAMES)
        assert mistakes.confusion[3, 2] == len(detections[0].scores)


@pytest.mark.parametrize(
    ("detections", "reason"),
    [
        ([], "detections for each of 1 pictures; there are 0"),
        ([Found(np.zeros((1, 5)), np.zeros(1), np.zeros(1, int))], r"must be \(N, 4\)"),
        ([Found(np.zeros((2, 4)), np.zeros(1), np.zeros(1, int))], r"must be \(N, 4\)"),
        ([found((0, float("nan"), 0, 0, 1, 1))], "is not a number"),
        ([found((0, 0.5, 0, 0, float("inf"), 1))], "is not a number"),
        ([found((3, 0.5, 0, 0, 1, 1))], "a class is 3; there are 3"),
        ([found((-1, 0.5, 0, 0, 1, 1))], "a class is"),
    ],
)
def test_detections_that_do_not_fit_are_refused(detections: list[Found], reason: str) -> None:
    for measure in (measure_precision, find_mistakes):
        with pytest.raises(ValueError, match=reason):
            measure([sample((0, 0, 0, 9, 9))], detections, NAMES)
        with pytest.raises(ValueError, match="no pictures"):
            measure([], [], NAMES)


# The report


def report(folder: Path, samples: list[Sample], detections: list[Found], names: Any = NAMES) -> Any:
    precision: AveragePrecision = measure_precision(samples, detections, names)
    mistakes: BoxMistakes = find_mistakes(samples, detections, names)
    assert write_box_report(DetectorFigures(precision, mistakes), folder) == []
    return json.loads((folder / "report.json").read_text())


def test_a_report_is_whole(tmp_path: Path, rng: np.random.Generator) -> None:
    samples, detections = [], []
    for number in range(40):
        file = tmp_path / f"{number}.png"
        Image.fromarray(rng.integers(0, 255, (100, 200, 3), np.uint8)).save(file)
        low = rng.integers(0, 60, (3, 2))
        entries = [(place, *corner, *(corner + 30)) for place, corner in enumerate(low.tolist() @ np.eye(2))]
        samples.append(of_file(file, sample(*entries).target))
        boxes = np.concatenate([samples[-1].boxes[:2] + rng.normal(0, 5, (2, 4)), [[0, 0, 9, 9]]])
        detections.append(Found(boxes, rng.random(3), rng.integers(0, 3, 3)))
    document = report(tmp_path / "out", samples, detections)
    assert document["images"] == 40
    assert len(document["mistakes"]) == 24
    assert {"AP", "AP50", "AP75", "confusion", "per_class", "least_score"} <= document.keys()
    for name in ("mistakes", "curves", "confusion"):
        with Image.open(tmp_path / "out" / f"{name}.png") as image:
            assert image.width > 400
            assert len(set(image.convert("L").tobytes())) > 10
    # An older sheet of mistakes does not stay.
    assert report(tmp_path / "out", samples, perfect(samples))["mistakes"] == []
    assert not (tmp_path / "out" / "mistakes.png").exists()


@pytest.mark.parametrize("size", [(1, 1), (3000, 2), (2, 3000), (700, 500)])
def test_pictures_of_any_shape_are_drawn(size: tuple[int, int], tmp_path: Path) -> None:
    Image.new("RGB", size, (90, 120, 90)).save(tmp_path / "a.png")
    whole = of_file(tmp_path / "a.png", replace(sample((0, 0, 0, *size)).objects, size=size))
    wild = found((1, 0.9, -500, -500, 5000, 5000), (2, 0.8, 5, 5, 5, 5), (1, 0.7, size[0] - 1, 0, *size))
    document = report(tmp_path / "out", [whole], [wild])
    assert len(document["mistakes"]) >= 3
    with Image.open(tmp_path / "out" / "mistakes.png") as image:
        image.load()


def test_names_of_any_kind_and_very_many_classes_are_drawn(tmp_path: Path) -> None:
    names = [f"$x_{number} 猫 " + "long " * 9 for number in range(90)]
    samples = [sample((number, 10, 10, 60, 60)) for number in range(90)]
    detections = [found((min(number + number % 2, 89), 0.9, 10, 10, 60, 60)) for number in range(90)]
    Image.new("RGB", (200, 100)).save(tmp_path / "a.png")
    samples = [of_file(tmp_path / "a.png", one.target) for one in samples]
    report(tmp_path / "out", samples, detections, names)

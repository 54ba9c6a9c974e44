"""Are the figures of an evaluation those of classifying every picture by hand, and is its report whole?"""

from __future__ import annotations

import gc
import json
import os
import struct
import subprocess
import sys
import tracemalloc
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import checkpoint_of
from numpy.typing import NDArray
from PIL import Image
from samples import measured, of_file

from linnet.architecture import MobileNetV1, MobileNetV2
from linnet.checkpoint import save_checkpoint
from linnet.data import Sample
from linnet.evaluation.accuracy import BINS, WORST, Accuracy, Mistake, measure_accuracy
from linnet.evaluation.report import write_report
from linnet.files import describe_failure
from linnet.predictor import Predictor
from linnet.results import Classification

NAMES = ("ant", "bee", "cat", "dog", "elk", "fox", "gnu")


def waves(seed: int) -> NDArray[np.uint8]:
    """A picture of 40 x 56 coloured waves, no two alike."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:40, 0:56]
    slopes, phases, strengths = (
        generator.normal(size=(3, 2)) / 6,
        generator.uniform(0, 6, 3),
        generator.uniform(0.2, 1, 3),
    )
    channels = [
        (128 + 120 * np.sin(rows * down + columns * across + phase)) * strength
        for (down, across), phase, strength in zip(slopes, phases, strengths, strict=True)
    ]
    return np.clip(np.stack(channels, axis=-1), 0, 255).astype(np.uint8)


def predictor_of(classes: int, names: tuple[str, ...] | None = None) -> Predictor:
    """A tiny network that takes its pictures for all of its classes, with all degrees of confidence."""
    checkpoint = checkpoint_of(MobileNetV2(width=0.1, resolution=32, classes=classes), classes=names)
    # Random networks have a favourite class: its advantage is taken away here, and the rest made larger.
    logits = Predictor(checkpoint).forward(np.stack([waves(seed)[4:36, 12:44] for seed in range(30)]))
    tensors = dict(checkpoint.tensors)
    tensors["classifier.weight"] = tensors["classifier.weight"] * np.float32(6)
    tensors["classifier.bias"] = (tensors["classifier.bias"] - logits.mean(axis=0)) * np.float32(6)
    return Predictor(replace(checkpoint, tensors=tensors))


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return predictor_of(7, NAMES)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("pictures")
    paths = [folder / f"{number:02}.png" for number in range(60)]
    for number, path in enumerate(paths):
        Image.fromarray(waves(1000 + number)).save(path)
    return paths


@pytest.fixture(scope="module")
def by_hand(predictor: Predictor, files: list[Path]) -> list[Classification]:
    """Each picture on its own."""
    return [predictor(file) for file in files]


@pytest.fixture(scope="module")
def samples(files: list[Path], by_hand: list[Classification]) -> list[Sample]:
    """Half of the pictures with the class that the network gives them, the others with any."""
    generator = np.random.default_rng(5)
    truths = [result.index if number % 2 else generator.integers(0, 7) for number, result in enumerate(by_hand)]
    return [of_file(file, int(truth)) for file, truth in zip(files, truths, strict=True)]


@pytest.fixture(scope="module")
def accuracy(predictor: Predictor, samples: list[Sample]) -> Accuracy:
    return measure_accuracy(predictor, samples)


# Figures


def test_the_network_of_these_tests_is_neither_constant_nor_of_one_confidence(by_hand: list[Classification]) -> None:
    assert len({result.index for result in by_hand}) >= 5
    assert len({int(10 * result.score) for result in by_hand}) >= 6


def test_confusion_counts_each_picture_once(
    accuracy: Accuracy, samples: list[Sample], by_hand: list[Classification]
) -> None:
    expected = Counter((sample.index, result.index) for sample, result in zip(samples, by_hand, strict=True))
    cells = {(truth, guess): int(accuracy.confusion[truth, guess]) for truth in range(7) for guess in range(7)}
    assert {cell: count for cell, count in cells.items() if count} == dict(expected)
    assert accuracy.images == 60


def test_top1_and_top5_are_shares_of_all_pictures(
    accuracy: Accuracy, samples: list[Sample], by_hand: list[Classification]
) -> None:
    pairs = list(zip(samples, by_hand, strict=True))
    assert accuracy.top1 == sum(result.index == sample.index for sample, result in pairs) / 60
    # Among the best five: fewer than five classes have more.
    better = [int((result.scores > result.scores[sample.index]).sum()) for sample, result in pairs]
    assert accuracy.top5 == sum(count < 5 for count in better) / 60
    assert 0.5 < accuracy.top1 < accuracy.top5 < 1


def test_each_class_has_its_own_share(accuracy: Accuracy, samples: list[Sample], by_hand: list[Classification]) -> None:
    hits: dict[str, list[bool]] = {}
    for sample, result in zip(samples, by_hand, strict=True):
        hits.setdefault(NAMES[sample.index], []).append(result.index == sample.index)
    expected = [(name, len(hits[name]), sum(hits[name]) / len(hits[name])) for name in NAMES if name in hits]
    assert list(accuracy.per_class()) == expected


def test_classes_without_pictures_are_left_out(predictor: Predictor, files: list[Path]) -> None:
    measured = measure_accuracy(predictor, [of_file(files[0], 2), of_file(files[1], 5)])
    assert [(name, count) for name, count, _ in measured.per_class()] == [("cat", 1), ("fox", 1)]


def test_calibration_error_is_the_mean_gap_of_the_bins(
    accuracy: Accuracy, samples: list[Sample], by_hand: list[Classification]
) -> None:
    bins: dict[int, list[tuple[float, bool]]] = {}
    for sample, result in zip(samples, by_hand, strict=True):
        bins.setdefault(min(int(10 * result.score), 9), []).append((result.score, result.index == sample.index))
    expected = 0.0
    for entries in bins.values():
        confidence, right = np.mean(entries, axis=0)
        expected += len(entries) / 60 * abs(confidence - right)
    # A picture in a batch and alone differ by the rounding of float32.
    assert accuracy.calibration_error == pytest.approx(expected, abs=1e-5)
    assert accuracy.confidence[:, 0].sum() == 60
    assert expected > 0.05


def test_calibration_worked_out_by_hand() -> None:
    # Four pictures of 90 % with three right, one of 60 % that is wrong: 4/5 of 0.15 and 1/5 of 0.6.
    confidence = np.zeros((BINS, 3))
    confidence[9], confidence[6] = (4, 3.6, 3), (1, 0.6, 0)
    accuracy = Accuracy(("a", "b"), np.array([[3, 1], [1, 0]]), confidence=confidence)
    assert accuracy.calibration_error == pytest.approx(0.24)
    assert (accuracy.images, accuracy.top1) == (5, 0.6)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=40))
def test_calibration_error_is_a_share_and_nought_for_the_certain_and_right(pictures: list[tuple[float, bool]]) -> None:
    confidence = np.zeros((BINS, 3))
    for score, right in pictures:
        confidence[min(int(score * BINS), BINS - 1)] += (1, score, right)
    accuracy = Accuracy(("a",), np.array([[len(pictures)]]), confidence=confidence)
    assert 0 <= accuracy.calibration_error <= 1
    if all(score == 1 and right for score, right in pictures):
        assert accuracy.calibration_error == 0


def test_full_confidence_is_counted_in_the_last_bin(files: list[Path]) -> None:
    # A network of one class is certain: its score is exactly 1.
    accuracy = measure_accuracy(predictor_of(1), [of_file(file, 0) for file in files[:3]])
    assert accuracy.confidence[-1].tolist() == [3, 3, 3]
    assert (accuracy.top1, accuracy.top5, accuracy.calibration_error) == (1, 1, 0)


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_with_five_classes_or_fewer_top5_is_always_right(classes: int, files: list[Path]) -> None:
    measured = measure_accuracy(
        predictor_of(classes), [of_file(file, number % classes) for number, file in enumerate(files)]
    )
    assert measured.top5 == 1
    assert measured.top1 < 1


@pytest.mark.parametrize("batch", [1, 3, 60, 1000])
def test_the_size_of_batches_changes_nothing(
    batch: int, predictor: Predictor, samples: list[Sample], accuracy: Accuracy
) -> None:
    again = measure_accuracy(predictor, samples, batch=batch)
    assert np.array_equal(again.confusion, accuracy.confusion)
    assert again.hits5 == accuracy.hits5
    assert again.confidence == pytest.approx(accuracy.confidence, abs=1e-4)
    assert [mistake.file for mistake in again.mistakes] == [mistake.file for mistake in accuracy.mistakes]


def test_progress_counts_every_picture_failed_ones_too(
    predictor: Predictor, samples: list[Sample], tmp_path: Path
) -> None:
    seen: list[int] = []
    measure_accuracy(predictor, [of_file(tmp_path / "none.png", 0), *samples[:20]], progress=seen.append)
    assert seen == list(range(1, 22))


def test_without_names_the_index_in_digits_serves(files: list[Path]) -> None:
    measured = measure_accuracy(predictor_of(3), [of_file(file, 2) for file in files[:4]])
    assert measured.names == ("0", "1", "2")
    assert [name for name, _, _ in measured.per_class()] == ["2"]


def test_the_json_document_holds_the_figures(accuracy: Accuracy) -> None:
    document = json.loads(json.dumps(accuracy.to_json(), allow_nan=False))
    assert document["images"] == 60
    assert (document["top1"], document["top5"]) == (accuracy.top1, accuracy.top5)
    assert document["calibration_error"] == accuracy.calibration_error
    assert document["failed"] == []
    assert {entry["label"]: (entry["images"], entry["top1"]) for entry in document["per_class"]} == {
        name: (count, top1) for name, count, top1 in accuracy.per_class()
    }


# Failures


def test_pictures_that_fail_are_listed_and_the_others_count(
    predictor: Predictor, samples: list[Sample], accuracy: Accuracy, tmp_path: Path
) -> None:
    text, cut, folder = tmp_path / "text.png", tmp_path / "cut.png", tmp_path / "folder.png"
    text.write_text("no picture")
    cut.write_bytes(samples[0].path.read_bytes()[:200])
    folder.mkdir()
    broken = [tmp_path / "missing.png", text, cut, folder]
    mixed = list(samples)
    for place, file in zip((0, 9, 10, 63), broken, strict=True):
        mixed.insert(place, of_file(file, 0))
    measured = measure_accuracy(predictor, mixed)
    assert np.array_equal(measured.confusion, accuracy.confusion)
    assert (measured.images, measured.hits5) == (60, accuracy.hits5)
    assert [name for name, _ in measured.failed] == [str(file) for file in broken]
    missing, not_one, damaged, directory = (message for _, message in measured.failed)
    assert missing == f"'{broken[0]}': No such file or directory."
    assert not_one.startswith(f"'{text}' is not a picture")
    assert damaged.startswith(f"'{cut}' is damaged")
    assert directory == f"'{folder}': Is a directory."
    assert [entry["file"] for entry in measured.to_json()["failed"]] == [str(file) for file in broken]


def test_a_picture_with_odd_exif_does_not_end_the_evaluation(
    predictor: Predictor, samples: list[Sample], tmp_path: Path
) -> None:
    # Lying on its side, and with the software's name as a float: on such files Pillow raises any kind of error.
    entries = struct.pack(">HHHIHHHHIf", 2, 0x0112, 3, 1, 6, 0, 0x0131, 11, 1, 0.5)
    exif = b"Exif\0\0MM\0*" + struct.pack(">I", 8) + entries + bytes(4)
    odd = tmp_path / "odd.jpg"
    with Image.open(samples[0].path) as image:
        image.save(odd)
    content = odd.read_bytes()
    odd.write_bytes(content[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + content[2:])
    measured = measure_accuracy(predictor, [of_file(odd, 0), *samples[:3]])
    assert measured.images + len(measured.failed) == 4
    assert measured.images >= 3


def test_nothing_but_failures_is_an_error_that_names_the_first(predictor: Predictor, tmp_path: Path) -> None:
    broken = [of_file(tmp_path / f"{number}.png", 0) for number in range(3)]
    with pytest.raises(ValueError, match=r"^Not one of 3 pictures could be read\..*0\.png': No such file"):
        measure_accuracy(predictor, broken)


def test_no_samples_are_an_error(predictor: Predictor) -> None:
    with pytest.raises(ValueError, match="Not one of 0 pictures"):
        measure_accuracy(predictor, [])


def test_a_network_without_classifier_cannot_be_measured(files: list[Path]) -> None:
    features = Predictor(checkpoint_of(MobileNetV2(width=0.1, resolution=32, classes=None)))
    with pytest.raises(ValueError, match="no classifier"):
        measure_accuracy(features, [of_file(files[0], 0)])


def test_failures_are_described_in_a_sentence_each() -> None:
    assert describe_failure(FileNotFoundError(2, "No such file", "a.png")) == "'a.png': No such file."
    assert describe_failure(OSError("broken pipe")) == "broken pipe"
    assert describe_failure(ValueError("'a.png' is damaged.")) == "'a.png' is damaged."


# Mistakes


def test_mistakes_are_the_most_confident_ones_worst_first(
    accuracy: Accuracy, samples: list[Sample], by_hand: list[Classification]
) -> None:
    wrong = [
        (result.score, sample.file, sample.index, result.index)
        for sample, result in zip(samples, by_hand, strict=True)
        if result.index != sample.index
    ]
    expected = sorted(wrong, reverse=True)[:WORST]
    assert [mistake.file for mistake in accuracy.mistakes] == [file for _, file, _, _ in expected]
    for mistake, (score, _, truth, guess) in zip(accuracy.mistakes, expected, strict=True):
        assert (mistake.truth, mistake.guess) == (truth, guess)
        assert mistake.score == pytest.approx(score, abs=1e-4)


def test_of_many_mistakes_the_worst_are_kept_and_of_equals_the_first(predictor: Predictor, files: list[Path]) -> None:
    guesses = [predictor(file) for file in files[:2]]
    surer, other = sorted(range(2), key=lambda number: -guesses[number].score)
    wrong = [(guess.index + 1) % 7 for guess in guesses]
    # Thirty times the less sure one, then ten times the surer one, told apart by their classes.
    mixed = [of_file(files[other], wrong[other])] * 30 + [of_file(files[surer], wrong[surer])] * 10
    kept = measure_accuracy(predictor, mixed, batch=8).mistakes
    assert len(kept) == WORST
    assert [mistake.file for mistake in kept] == [files[surer]] * 10 + [files[other]] * (WORST - 10)
    twins = [of_file(files[0], (wrong[0] + number) % 7) for number in range(4)]
    twins = [sample for sample in twins if sample.index != guesses[0].index]
    kept = measure_accuracy(predictor, twins, batch=len(twins)).mistakes
    assert [mistake.truth for mistake in kept] == [sample.index for sample in twins]


# The report


def sizes(folder: Path) -> dict[str, tuple[int, int]]:
    """Name → (width, height) of the PNG files in a folder; each is decoded whole."""
    found = {}
    for path in sorted(folder.glob("*.png")):
        with Image.open(path) as image:
            image.load()
            assert np.asarray(image.convert("RGB")).std() > 1, f"{path.name} is empty"
            found[path.name] = image.size
    return found


def test_a_report_is_a_document_and_four_pictures(accuracy: Accuracy, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "report"
    assert write_report(accuracy, folder) == []
    assert {path.name for path in folder.iterdir()} == {
        "report.json",
        "mistakes.png",
        "confusion.png",
        "reliability.png",
        "classes.png",
    }
    pictures = sizes(folder)
    assert all(300 <= side <= 3000 for size in pictures.values() for side in size), pictures
    document = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert {key: document[key] for key in accuracy.to_json()} == json.loads(json.dumps(accuracy.to_json()))


def test_the_document_holds_confusion_reliability_and_mistakes(accuracy: Accuracy, tmp_path: Path) -> None:
    write_report(accuracy, tmp_path)
    document = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    confusion = {(entry["label"], entry["taken_for"]): entry["images"] for entry in document["confusion"]}
    assert sum(confusion.values()) == 60
    assert all(count > 0 for count in confusion.values())
    for (label, taken_for), count in confusion.items():
        assert accuracy.confusion[NAMES.index(label), NAMES.index(taken_for)] == count
    assert sum(entry["images"] for entry in document["reliability"]) == 60
    gaps = [entry["images"] * abs(entry["confidence"] - entry["top1"]) for entry in document["reliability"]]
    assert sum(gaps) / 60 == pytest.approx(accuracy.calibration_error)
    assert document["mistakes"] == [
        {
            "file": str(mistake.file),
            "label": NAMES[mistake.truth],
            "taken_for": NAMES[mistake.guess],
            "score": mistake.score,
        }
        for mistake in accuracy.mistakes
    ]


def small_accuracy(names: tuple[str, ...], file: Path, mistakes: int) -> Accuracy:
    """An evaluation without a network: two pictures of each class, one of them taken for the next class."""
    count = len(names)
    confidence = np.zeros((BINS, 3))
    confidence[9] = (2 * count, 1.9 * count, count)
    listed = [Mistake(of_file(file, index % count), (index + 1) % count, 0.99) for index in range(mistakes)]
    confusion = np.eye(count, dtype=np.int64) + np.roll(np.eye(count, dtype=np.int64), 1, axis=1)
    return Accuracy(names, confusion, 2 * count, confidence, listed)


def test_without_mistakes_there_is_no_sheet_of_them_not_even_an_older_one(files: list[Path], tmp_path: Path) -> None:
    write_report(small_accuracy(NAMES, files[0], mistakes=3), tmp_path)
    assert "mistakes.png" in sizes(tmp_path)
    write_report(small_accuracy(NAMES, files[0], mistakes=0), tmp_path)
    assert sorted(sizes(tmp_path)) == ["classes.png", "confusion.png", "reliability.png"]


@pytest.mark.parametrize("mistakes", [1, 6, 7, WORST])
def test_the_sheet_grows_with_its_mistakes(mistakes: int, files: list[Path], tmp_path: Path) -> None:
    write_report(small_accuracy(NAMES, files[0], mistakes), tmp_path)
    width, height = sizes(tmp_path)["mistakes.png"]
    assert width >= 200 * min(mistakes, 6)
    assert 200 * -(-mistakes // 6) <= height <= 300 * -(-mistakes // 6)


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(("$", "price $5 to $6", "$\\frac$", "a_b^{"), id="dollars"),
        pytest.param(("two\nlines", "tab\tand\rreturn", "", " "), id="blanks"),
        pytest.param(("猫", "птица", "🐦", "العربية"), id="scripts"),
        pytest.param(("long " * 100, "l" * 500, "a", "b"), id="long"),
        pytest.param(tuple(f"class {number}" for number in range(40)), id="40 classes"),
        pytest.param(tuple(f"class {number}" for number in range(120)), id="120 classes"),
        pytest.param(("one",), id="one class"),
    ],
)
def test_any_names_can_be_drawn(names: tuple[str, ...], files: list[Path], tmp_path: Path) -> None:
    assert write_report(small_accuracy(names, files[0], mistakes=4), tmp_path) == []
    pictures = sizes(tmp_path)
    assert len(pictures) == 4
    assert all(250 <= side <= 3000 for size in pictures.values() for side in size), pictures
    document = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert [entry["label"] for entry in document["per_class"]] == list(names)


@pytest.mark.parametrize("size", [(1, 1), (3000, 1), (1, 3000)])
def test_a_mistake_of_any_shape_can_be_drawn(size: tuple[int, int], tmp_path: Path) -> None:
    file = tmp_path / "thin.png"
    Image.new("RGB", size, (200, 30, 40)).save(file)
    assert write_report(small_accuracy(NAMES, file, mistakes=1), tmp_path / "report") == []
    assert "mistakes.png" in sizes(tmp_path / "report")


def test_a_report_cannot_be_written_over_a_file(accuracy: Accuracy, tmp_path: Path) -> None:
    file = tmp_path / "report"
    file.write_text("something else")
    with pytest.raises(OSError, match="report"):
        write_report(accuracy, file)
    assert file.read_text() == "something else"


# Hides matplotlib from every finder, as if it were not installed, then runs the command.
WITHOUT_MATPLOTLIB = """
import sys

class Finder:
    def __init__(self, finders):
        self.finders = finders

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "matplotlib":
            return None
        found = (finder.find_spec(name, path, target) for finder in self.finders)
        return next((spec for spec in found if spec is not None), None)

sys.meta_path[:] = [Finder(list(sys.meta_path))]
from linnet.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_without_matplotlib_the_rest_is_written_and_one_sentence_says_so(
    predictor: Predictor, samples: list[Sample], tmp_path: Path
) -> None:
    rows = [f"{sample.file},{sample.index}" for sample in samples]
    data, model, report = tmp_path / "labels.csv", tmp_path / "model.safetensors", tmp_path / "report"
    data.write_text("\n".join(["file,class_index", *rows]))
    save_checkpoint(predictor.checkpoint, model)
    arguments = ["evaluate", str(data), "--model", str(model), "--report", str(report), "--json"]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_MATPLOTLIB, *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == [
        "linnet: The plots need matplotlib: pip install 'linnet[train]'. The JSON report and the mistakes are written."
    ]
    assert {path.name for path in report.iterdir()} == {"report.json", "mistakes.png"}
    document = json.loads((report / "report.json").read_text(encoding="utf-8"))
    printed = json.loads(done.stdout)
    del printed["part"]
    assert printed == {name: document[name] for name in printed}


# Memory


def resident_memory() -> int:
    """Bytes of this process in memory now, Pillow's pictures included; 0 where the system does not say."""
    statistics = Path("/proc/self/statm")
    return int(statistics.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if statistics.exists() else 0


def test_memory_does_not_grow_with_the_number_of_pictures(files: list[Path], tmp_path: Path) -> None:
    count = 3000
    rows = [f"{files[number % 3]},{number % 7}" for number in range(count)]
    (tmp_path / "labels.csv").write_text("\n".join(["file,class_index", *rows]))
    samples = measured(tmp_path, classes=7, names=None)
    # A path remembers its text when it is first asked for it: that belongs to the list, not to the evaluation.
    assert len({str(sample.file) for sample in samples}) == 3
    traced: dict[int, int] = {}
    resident: dict[int, int] = {}

    def measure(done: int) -> None:
        # Two moments that are whole batches apart, so that as many pictures are on their way.
        if done in (400, 2800):
            # Objects that hold each other in a circle are freed when Python likes.
            gc.collect()
            traced[done], resident[done] = tracemalloc.get_traced_memory()[0], resident_memory()

    predictor = Predictor(checkpoint_of(MobileNetV1(width=0.1, resolution=32, classes=7)))
    tracemalloc.start()
    try:
        assert measure_accuracy(predictor, samples, batch=32, progress=measure).images == count
    finally:
        tracemalloc.stop()
    # Of 2,400 pictures the prepared pixels would be 7 MB and the results alone 0.7.
    assert traced[2800] - traced[400] < 300_000
    assert resident[2800] - resident[400] < 8_000_000

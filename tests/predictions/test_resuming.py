"""Has every picture exactly one row, whatever stops the command and wherever; are results of others left alone?"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import checkpoint_of
from PIL import Image

from linnet.architecture import MobileNetV2
from linnet.architecture.deeplab import deeplab
from linnet.architecture.ssdlite import ssdlite
from linnet.checkpoint import save_checkpoint
from linnet.data.gathering import gather
from linnet.predictions import results as module
from linnet.predictions.results import Done, Identity, Results, digests_of, open_results, part_name, run_prefix
from linnet.predictions.running import SourceGoneError, predict_into
from linnet.predictor import Predictor, load

parquet = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow: pip install 'linnet[train]'")

COUNT = 23
BROKEN = 7
IDENTITY = Identity("ab12", ("pictures",), ("/pictures",), "classification", {"top": 5})


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    network = MobileNetV2(width=0.1, resolution=32, classes=4)
    save_checkpoint(checkpoint_of(network, classes=("ant", "bee", "cat", "dog")), path)
    return path


@pytest.fixture(scope="module")
def predictor(model: Path) -> Predictor:
    return load(model, threads=1)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Small pictures; one is none."""
    return write_pictures(tmp_path / "pictures", COUNT)


def write_pictures(folder: Path, count: int) -> Path:
    folder.mkdir()
    generator = np.random.default_rng(3)
    for number in range(count):
        Image.fromarray(generator.integers(0, 256, (9, 9, 3), np.uint8)).save(folder / f"{number:05}.png")
    (folder / f"{BROKEN:05}.png").write_bytes(b"nonsense")
    return folder


def rows_of(out: Path) -> list[dict[str, Any]]:
    return parquet.read_table(out).to_pylist()


def run(predictor: Predictor, pictures: Path, out: Path, identity: Identity = IDENTITY) -> Results:
    with open_results(out, identity) as results:
        predict_into(results, predictor, gather([str(pictures)]), batch=4)
        results.finish()
    return results


@pytest.mark.parametrize("name", ["results.parquet", "results"])
def test_every_picture_has_a_row(name: str, predictor: Predictor, pictures: Path, tmp_path: Path) -> None:
    results = run(predictor, pictures, tmp_path / name)
    rows = rows_of(tmp_path / name)
    assert (results.count, results.errors, len(rows)) == (COUNT, 1, COUNT)
    assert list(rows[0]) == ["file", "label", "index", "score", "top", "error"]
    assert [row["file"] for row in rows] == sorted(map(str, pictures.iterdir()))
    for row in rows:
        if Path(row["file"]).stem == f"{BROKEN:05}":
            assert "is not a picture" in row["error"] or "cannot" in row["error"]
            assert row["label"] is row["index"] is row["score"] is row["top"] is None
            continue
        expected = predictor(row["file"])
        assert row["error"] is None
        assert (row["label"], row["index"], row["score"]) == (expected.label, expected.index, expected.score)
        assert row["top"] == [vars(each) for each in expected.top(5)]
    assert (tmp_path / name).is_dir() == (name == "results")
    assert not list(tmp_path.glob("*.parts"))


def test_results_of_detectors_have_boxes(pictures: Path, tmp_path: Path) -> None:
    checkpoint = checkpoint_of(ssdlite(width=0.35, resolution=64, classes=3), classes=("a", "b", "c"))
    predictor = Predictor(checkpoint, threads=1)
    run(predictor, pictures, tmp_path / "out.parquet", replace(IDENTITY, task="detection"))
    rows = rows_of(tmp_path / "out.parquet")
    assert list(rows[0]) == ["file", "label", "index", "score", "boxes", "error"]
    read = [row for row in rows if row["error"] is None]
    assert len(read) == COUNT - 1
    for row in read:
        expected = [vars(each) for each in predictor(row["file"]).top()]
        assert row["boxes"] == [each | {"box": list(each["box"])} for each in expected]
        assert row["score"] == (expected[0]["score"] if expected else None)


def test_results_of_segmenters_have_shares(pictures: Path, tmp_path: Path) -> None:
    predictor = Predictor(checkpoint_of(deeplab(width=0.1, resolution=33, classes=3)), threads=1)
    run(predictor, pictures, tmp_path / "out.parquet", replace(IDENTITY, task="segmentation"))
    rows = rows_of(tmp_path / "out.parquet")
    assert list(rows[0]) == ["file", "label", "index", "score", "classes", "error"]
    for row in (row for row in rows if row["error"] is None):
        result = predictor(row["file"])
        expected = [vars(each) for each in result.top()]
        assert row["classes"] == expected
        assert (row["label"], row["index"]) == (expected[0]["label"], expected[0]["index"])
        assert row["score"] == pytest.approx(result.score)


class StopError(BaseException):
    """Ends a run as no exception handler would expect it."""


@pytest.mark.parametrize("name", ["results.parquet", "results"])
def test_whatever_stops_it_the_same_command_goes_on(
    name: str, predictor: Predictor, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At every step of writing in turn, without anything that would be done on leaving, as kill -9 does it."""
    monkeypatch.setattr(module, "ROWS", 5)
    whole = run(predictor, pictures, tmp_path / f"whole-{name}")
    expected = sorted(rows_of(whole.out), key=lambda row: row["file"])
    steps, stop_at, unlink = 0, 0, os.unlink

    def step() -> None:
        nonlocal steps
        steps += 1
        if steps == stop_at:
            raise StopError

    def tidy(path: Any, *, missing_ok: bool = False, **options: Any) -> None:
        # A killed process tidies nothing up.
        if steps < stop_at and not (missing_ok and not path.exists()):
            unlink(path, **options)

    out = tmp_path / name
    for target, really in (("os.fsync", os.fsync), ("os.replace", os.replace), ("shutil.rmtree", shutil.rmtree)):

        def stopping(*arguments: Any, really: Any = really, **options: Any) -> Any:
            step()
            return really(*arguments, **options)

        for number in range(1, 8):
            with monkeypatch.context() as patch:
                patch.setattr(target, stopping)
                patch.setattr(os, "unlink", tidy)
                patch.setattr(Path, "unlink", tidy)
                patch.setattr(module, "_remove_if_empty", lambda results: None)
                steps, stop_at = 0, number
                try:
                    run(predictor, pictures, out)
                    stopped = False
                except StopError:
                    stopped = True
            results = run(predictor, pictures, out)
            assert sorted(rows_of(out), key=lambda row: row["file"]) == expected, (target, number)
            assert (results.count, results.errors) == (COUNT, 1)
            left = [path for path in tmp_path.rglob("*") if path.name.endswith((".tmp", ".parts"))]
            assert not left
            shutil.rmtree(out) if out.is_dir() else out.unlink()
            if not stopped:
                break


def test_more_pictures_are_added(predictor: Predictor, pictures: Path, tmp_path: Path) -> None:
    late = pictures / "00003.png"
    content = late.read_bytes()
    late.unlink()
    out = tmp_path / "out.parquet"
    run(predictor, pictures, out)
    before = out.read_bytes()
    run(predictor, pictures, out)
    assert out.read_bytes() == before
    late.write_bytes(content)
    assert run(predictor, pictures, out).count == COUNT
    assert Counter(row["file"] for row in rows_of(out)) == Counter(map(str, pictures.iterdir()))


def test_parts_that_are_not_whole_are_done_again(predictor: Predictor, pictures: Path, tmp_path: Path) -> None:
    """As a writer leaves them that does not rename, killed."""
    run(predictor, pictures, tmp_path / "out")
    (part,) = (tmp_path / "out").glob("*.parquet")
    part.write_bytes(part.read_bytes()[:-9])
    (tmp_path / "out" / part_name(run_prefix(1), 1)).write_bytes(b"")
    results = run(predictor, pictures, tmp_path / "out")
    assert len(results.notes) == 2
    assert len(rows_of(tmp_path / "out")) == results.count == COUNT


def test_what_processes_of_an_earlier_run_write_late_counts_for_nothing(
    predictor: Predictor, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run(predictor, pictures, out)
    (part,) = out.glob("*.parquet")
    content = part.read_bytes()
    part.unlink()
    with open_results(out, IDENTITY) as results:
        predict_into(results, predictor, gather([str(pictures)]))
        (out / part_name(run_prefix(1), 9)).write_bytes(content)
        results.finish()
    assert len(rows_of(out)) == COUNT


def test_results_of_something_else_are_refused(predictor: Predictor, pictures: Path, tmp_path: Path) -> None:
    for out in (tmp_path / "out.parquet", tmp_path / "out"):
        run(predictor, pictures, out)
        before = rows_of(out)
        for other, said in (
            (replace(IDENTITY, model="cd34"), r"the model \(ab12 there, cd34 here\)"),
            (replace(IDENTITY, source=("others",)), r"the source \(pictures there, others here\)"),
            (replace(IDENTITY, places=("/others",)), "the place of the source"),
            (replace(IDENTITY, settings={"top": 3}), r"top \(5 there, 3 here\)"),
        ):
            with pytest.raises(ValueError, match=said):
                run(predictor, pictures, out, other)
        assert rows_of(out) == before


def test_files_of_others_are_refused(predictor: Predictor, pictures: Path, tmp_path: Path) -> None:
    import pyarrow as arrow

    parquet.write_table(arrow.table({"number": [1]}), tmp_path / "numbers.parquet")
    (tmp_path / "text.parquet").write_text("hello")
    (tmp_path / "text").write_text("hello")
    for out in (tmp_path / "numbers.parquet", tmp_path / "text.parquet", tmp_path / "text", pictures):
        before = out.read_bytes() if out.is_file() else sorted(out.iterdir())
        with pytest.raises(ValueError, match="--out"):
            run(predictor, pictures, out)
        assert (out.read_bytes() if out.is_file() else sorted(out.iterdir())) == before


def test_two_at_once_are_refused(predictor: Predictor, pictures: Path, tmp_path: Path) -> None:
    pytest.importorskip("fcntl", reason="this system has no locks of files")
    with (
        open_results(tmp_path / "out.parquet", IDENTITY) as results,
        pytest.raises(ValueError, match="Another process is writing"),
        open_results(tmp_path / "out.parquet", IDENTITY),
    ):
        pass
    assert results.count == 0
    # Nothing was written: nothing is left.
    assert not list(tmp_path.glob("out*"))


def test_a_source_that_vanishes_stops_it(predictor: Predictor, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    gathered = gather([str(pictures)])
    with pytest.raises(SourceGoneError, match="the same command goes on"), open_results(out, IDENTITY) as results:
        predict_into(
            results,
            predictor,
            gathered,
            batch=2,
            progress=lambda done: os.rename(pictures, tmp_path / "away") if done == 10 else None,
        )
    (tmp_path / "away").rename(pictures)
    assert run(predictor, pictures, out).errors == 1
    assert Counter(row["file"] for row in rows_of(out)) == Counter(map(str, pictures.iterdir()))


def test_one_picture_that_vanishes_is_a_row(predictor: Predictor, pictures: Path, tmp_path: Path) -> None:
    gathered = gather([str(pictures)])
    (pictures / "00011.png").unlink()
    with open_results(tmp_path / "out.parquet", IDENTITY) as results:
        predict_into(results, predictor, gathered)
        results.finish()
    assert "No such file" in rows_of(tmp_path / "out.parquet")[11]["error"]


def test_names_that_are_no_unicode_are_done_once(predictor: Predictor, pictures: Path, tmp_path: Path) -> None:
    odd = os.fsencode(pictures) + b"/\xff\xfe.png"
    shutil.copy(os.fsencode(pictures / "00000.png"), odd)
    for _ in range(2):
        results = run(predictor, pictures, tmp_path / "out.parquet")
        assert (results.count, results.errors) == (COUNT + 1, 1)


def test_digests_find_their_names() -> None:
    names = [f"folder/{number}.jpg" for number in range(300)]
    done = Done.of([digests_of(names[:100]), digests_of(names[200:])])
    assert [name in done for name in names] == [True] * 100 + [False] * 100 + [True] * 100
    assert len(done) == 200
    assert "x" not in Done.of([])


COMMAND = """
import sys
from linnet.cli import main
from linnet.predictions import results
results.ROWS = 3
sys.exit(main(sys.argv[1:]))
"""


def killed_and_resumed(model: Path, pictures: Path, out: Path, *, kills: int, count: int) -> None:
    """Kills the command at random moments, then lets it end."""
    arguments = ["predict", str(pictures), "--model", str(model), "--threads", "1", "--out", str(out)]
    command = [sys.executable, "-c", COMMAND, *arguments]
    generator = np.random.default_rng(5)
    seen = 0
    for _ in range(kills):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        seen += int(generator.integers(1, 9))
        folder = out if out.suffix == "" else out.with_name(f"{out.name}.parts")
        # A moment is a number of parts, not of seconds: machines differ.
        while process.poll() is None and len(list(folder.glob("*.parquet"))) < seen:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert Counter(row["file"] for row in rows_of(out)) == Counter(map(str, pictures.iterdir()))
    assert f"{count:,} pictures in '{out}': {count - 1:,} predicted, 1 that could not be read" in done.stdout


def test_killed_at_a_random_moment_it_goes_on(model: Path, tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path / "pictures", 60)
    killed_and_resumed(model, pictures, tmp_path / "out.parquet", kills=1, count=60)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "kills"), [("out.parquet", 12), ("out", 8)], ids=["a file", "a folder of parts"])
def test_killed_at_many_random_moments_it_goes_on(name: str, kills: int, model: Path, tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path / "pictures", 400)
    killed_and_resumed(model, pictures, tmp_path / name, kills=kills, count=400)

"""Does a cluster say what one process says, once of every picture, though an actor is killed in the middle?"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import checkpoint_of
from pictures import COLOURS, write_pictures, write_scenes
from PIL import Image
from processes import begun, ended, kill_reader, written

from linnet.architecture import MobileNetV2
from linnet.architecture.ssdlite import ssdlite
from linnet.checkpoint import save_checkpoint
from linnet.cluster import ClusterPredictor, predict, predict_into
from linnet.cluster.connecting import ray_module, start
from linnet.cluster.losing import RESTARTS, ProcessLostError
from linnet.cluster.workers import Setting
from linnet.data import find
from linnet.data.gathering import Gathered, gather
from linnet.evaluation.accuracy import measure_accuracy
from linnet.evaluation.detector import MEASURING, measure_detector
from linnet.predictions.results import Identity, open_results
from linnet.predictions.rows import row_of
from linnet.predictions.running import SourceGoneError
from linnet.predictor import Predictor

parquet = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow: pip install 'linnet[train]'")
needs_ray = pytest.importorskip("importlib.util").find_spec("ray") is not None
slow_with_ray = [
    pytest.mark.slow,
    pytest.mark.skipif(not needs_ray, reason="needs Ray: pip install 'linnet[cluster]'"),
    # What Ray's own modules do.
    pytest.mark.filterwarnings("ignore"),
]

IDENTITY = Identity("ab12", ("pictures",), ("/pictures",), "classification")


def with_ray(function: Any) -> Any:
    for mark in slow_with_ray:
        function = mark(function)
    return function


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    """A cluster of two cores, whatever this machine has."""
    # Else its workers wait until nothing else on this machine has anything to do.
    os.environ.setdefault("RAY_worker_niceness", "0")
    found = ray_module()
    options = {
        "address": "local",
        "num_cpus": 2,
        "include_dashboard": False,
        "log_to_driver": False,
        "object_store_memory": 1 << 27,
    }
    start(options)
    yield found
    found.shutdown()


def checkpoint_here() -> Any:
    return checkpoint_of(MobileNetV2(width=0.1, resolution=32, classes=4), classes=("ant", "bee", "cat", "dog"))


def write_noise(folder: Path, count: int) -> Path:
    folder.mkdir()
    generator = np.random.default_rng(3)
    for number in range(count):
        Image.fromarray(generator.integers(0, 256, (9, 9, 3), np.uint8)).save(folder / f"{number:05}.png")
    (folder / "00003.png").write_bytes(b"nonsense")
    return folder


def rows_of(out: Path) -> list[dict[str, Any]]:
    return sorted(parquet.read_table(out).to_pylist(), key=lambda row: str(row["file"]))


@with_ray
def test_rows_are_those_of_one_process(ray: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("linnet.data.gathering.TOGETHER", 10)
    monkeypatch.chdir(tmp_path)
    write_noise(Path("pictures"), 45)
    checkpoint = checkpoint_here()
    from linnet.predictions.running import predict_into as predict_here

    gathered = gather(["pictures"])
    assert len(gathered.pieces) == 5
    with open_results(Path("here.parquet"), IDENTITY) as results:
        predict_here(results, Predictor(checkpoint, threads=1), gathered)
        results.finish()
    for out in (Path("there.parquet"), Path("there")):
        with open_results(out, IDENTITY) as results:
            predict_into(results, checkpoint, gathered, setting=Setting(), actors=2)
            assert (results.count, results.errors) == (45, 1)
            results.finish()
        assert rows_of(out) == rows_of(Path("here.parquet"))
    # The same again adds nothing; what one process began the cluster goes on with.
    Image.new("RGB", (9, 9)).save("pictures/late.png")
    with open_results(Path("here.parquet"), IDENTITY) as results:
        predict_into(results, checkpoint, gather(["pictures"]), setting=Setting(), actors=2)
        results.finish()
    names = [row["file"] for row in rows_of(Path("here.parquet"))]
    assert names == sorted(map(str, Path("pictures").iterdir()))
    # As a data set to do anything else with.
    rows = predict("pictures", checkpoint, setting=Setting(), actors=1).take_all()
    assert sorted(row["file"] for row in rows) == names


@with_ray
def test_an_actor_that_is_killed_costs_nothing(ray: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("linnet.data.gathering.TOGETHER", 20)
    pictures = write_noise(tmp_path / "pictures", 100)
    # A picture that does not end before somebody writes it: whoever reads it is in the middle.
    pipe = pictures / "00050.png"
    pipe.unlink()
    os.mkfifo(pipe)
    killed: list[int] = []

    def kill() -> None:
        killed.append(kill_reader(pipe, b"PieceActor"))
        with written(pipe) as descriptor:
            os.write(descriptor, b"nonsense")

    with open_results(tmp_path / "out", IDENTITY) as results:

        def work() -> None:
            predict_into(results, checkpoint_here(), gather([str(pictures)]), setting=Setting(), actors=2)

        ended(begun(kill), begun(work))
        results.finish()
    assert len(killed) == 1
    assert Counter(row["file"] for row in rows_of(tmp_path / "out")) == Counter(map(str, pictures.iterdir()))
    assert (results.count, results.errors) == (100, 2)


class Killing:
    """A piece that kills whatever process it comes to; not this one, where it only waits to be sent."""

    count = None

    def sources(self, wanted: Callable[[str], bool]) -> Iterator[Any]:
        yield self

    def __reduce__(self) -> tuple[Any, ...]:
        return eval, ("(lambda os: os.kill(os.getpid(), 9))(__import__('os'))",)

    def __str__(self) -> str:
        return "the piece of the test"


@with_ray
def test_what_kills_every_process_is_named(ray: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("linnet.data.gathering.TOGETHER", 10)
    for key in RESTARTS:
        monkeypatch.setitem(RESTARTS, key, 0)
    pictures = write_noise(tmp_path / "pictures", 40)
    pieces = list(gather([str(pictures)]).pieces)
    pieces.insert(1, Killing())
    said: list[str] = []
    with open_results(tmp_path / "out", IDENTITY) as results:

        def work() -> None:
            predict_into(results, checkpoint_here(), Gathered(pieces), setting=Setting(), actors=2, report=said.append)

        with pytest.raises(ProcessLostError, match=r"works on the piece of the test is killed.*Everything else is"):
            ended(begun(work))
        assert len(said) >= 2
        results.finish()
        assert (results.count, results.errors) == (40, 1)
    assert Counter(row["file"] for row in rows_of(tmp_path / "out")) == Counter(map(str, pictures.iterdir()))


@with_ray
def test_a_stream_goes_on_in_order(ray: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in RESTARTS:
        monkeypatch.setitem(RESTARTS, key, 0)
    items = sorted(map(str, write_noise(tmp_path / "pictures", 40).iterdir()))
    once = str(tmp_path / "once")

    def read(name: str) -> Path:
        if name == items[20] and not os.path.exists(once):
            open(once, "x").close()
            os.kill(os.getpid(), signal.SIGKILL)
        return Path(name)

    def killing(name: str) -> Path:
        if name == items[20]:
            os.kill(os.getpid(), signal.SIGKILL)
        return Path(name)

    def rows_by(predictor: Predictor, function: Callable[[str], Path]) -> list[Any]:
        return [row_of(name, result, None) for name, result in predictor.stream_of(items, function, batch=1)]

    cluster = ClusterPredictor(checkpoint_here(), Setting(batch=1), 2)
    expected = rows_by(Predictor(checkpoint_here(), threads=1), Path)

    def work() -> None:
        assert rows_by(cluster, read) == expected
        assert os.path.exists(once)
        with pytest.raises(ProcessLostError, match=r"8 pictures from '.*00016.png' to '.*00023.png' is killed"):
            rows_by(cluster, killing)

    ended(begun(work))


@with_ray
def test_a_source_that_vanishes_is_a_sentence(ray: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "pictures.parquet"
    import pyarrow as arrow

    parquet.write_table(arrow.table({"image": [b"nonsense"] * 5}), path)
    gathered = gather([str(path)])
    path.unlink()
    with (
        pytest.raises(SourceGoneError, match="the same command goes on"),
        open_results(tmp_path / "out", IDENTITY) as results,
    ):
        predict_into(results, checkpoint_here(), gathered, setting=Setting(), actors=1)
    assert not (tmp_path / "out").exists()
    # Pictures that a machine of the cluster does not have are no broken pictures.
    (tmp_path / "away").mkdir()
    (tmp_path / "away" / "x.png").write_bytes(b"nonsense")
    gathered = gather([str(tmp_path / "away")])
    (tmp_path / "away" / "x.png").unlink()
    (tmp_path / "away").rmdir()
    with pytest.raises(SourceGoneError, match="the same command"), open_results(tmp_path / "out", IDENTITY) as results:
        predict_into(results, checkpoint_here(), gathered, setting=Setting(), actors=1)


@with_ray
def test_figures_are_the_same_in_every_digit(ray: Any, tmp_path: Path) -> None:
    data = find(write_pictures(tmp_path / "data", train=1, validation=1, test=40))
    network = MobileNetV2(width=0.35, resolution=64, classes=len(COLOURS))
    checkpoint = checkpoint_of(network, classes=tuple(sorted(COLOURS)))
    (samples,) = data.only("test").parts.values()
    expected = measure_accuracy(Predictor(checkpoint, threads=2), samples).with_intervals()
    found = measure_accuracy(ClusterPredictor(checkpoint, Setting(), 2), samples).with_intervals()
    assert json.dumps(found.to_json()) == json.dumps(expected.to_json())
    scenes = find(write_scenes(tmp_path / "scenes", train=1, validation=1, test=20))
    detector = checkpoint_of(ssdlite(width=0.35, resolution=64, classes=len(scenes.classes)))
    (boxed,) = scenes.only("test").parts.values()
    here = measure_detector(Predictor(detector, threads=2, suppression=MEASURING), boxed)
    there = measure_detector(ClusterPredictor(detector, Setting(suppression=MEASURING), 2), boxed)
    assert json.dumps(there.to_json()) == json.dumps(here.to_json())


COMMAND = "import sys; from linnet.cli import main; sys.exit(main(sys.argv[1:]))"


@with_ray
def test_the_commands(tmp_path: Path) -> None:
    """In a process of their own, which starts a cluster and ends it."""
    data = write_pictures(tmp_path / "data", train=1, validation=1, test=9)
    model = tmp_path / "model.safetensors"
    network = MobileNetV2(width=0.35, resolution=64, classes=len(COLOURS))
    save_checkpoint(checkpoint_of(network, classes=tuple(sorted(COLOURS))), model)
    predicting = ["predict", str(data), "--out", str(tmp_path / "out.parquet")]
    done = []
    for command in (predicting, ["evaluate", str(data)]):
        arguments = [*command, "--model", str(model), "--json", "--cluster", "local"]
        ran = subprocess.run(
            [sys.executable, "-c", COMMAND, *arguments],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"RAY_worker_niceness": "0"},
        )
        assert ran.returncode == 0, ran.stderr
        assert all(line.startswith("linnet: ") for line in ran.stderr.splitlines()), ran.stderr
        done.append(json.loads(ran.stdout))
    assert done[0]["pictures"] == len(rows_of(tmp_path / "out.parquet")) == 11 * len(COLOURS)
    assert done[1]["images"] == 9 * len(COLOURS)

"""Do shards give every picture once, the same whoever reads them, unchanged, and from servers that break off too?"""

from __future__ import annotations

import io
import json
import re
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from networks import checkpoint_of
from pictures import COLOURS, write_pictures
from PIL import Image
from samples import measured

from linnet.architecture import MobileNetV2
from linnet.data import DataSet, Sample, find, sources
from linnet.data.batches.crops import CropOptions
from linnet.data.batches.evaluation import EvaluationPictures
from linnet.data.batches.loading import Batch, PictureBatches, Placement
from linnet.data.batches.streaming import ShardBatches, open_batches
from linnet.data.formats.shards import scan_folder, scan_shard, write_index
from linnet.data.parts import part_in
from linnet.data.sharding import keep_evaluated, write_shards
from linnet.data.sources import Address, Span, read_span
from linnet.evaluation.accuracy import measure_accuracy
from linnet.images import Preprocessing
from linnet.predictor import Predictor

CONTRACT = Preprocessing(size=(16, 16))
CROP = CropOptions()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    """69 pictures for training, so that nothing divides evenly."""
    return find(write_pictures(tmp_path_factory.mktemp("pictures"), train=23, validation=5, test=4, size=(20, 18)))


@pytest.fixture(scope="module")
def shards(pictures: DataSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    write_shards(pictures, folder, pictures_per_shard=10)
    return folder


def batches(samples: Any, **options: Any) -> ShardBatches:
    return ShardBatches(samples, CONTRACT, CROP, **({"batch": 12, "seed": 5} | options))


def numbers(steps: Iterator[list[Batch]]) -> list[list[list[int]]]:
    """Step → this process's parts → numbers of the pictures."""
    return [[[seed[2] for seed in batch.seeds] for batch in step] for step in steps]


def plans(count: int, batch: int, files: int = 3, epoch: int = 0) -> list[list[int]]:
    """The numbers of each step of an epoch of pictures that do not exist: the order is known without them."""
    samples = [Sample(Span(Path(f"{n * files // count}"), n, n, 1), 0) for n in range(count)]
    plan = batches(samples, batch=batch)._plan(epoch)
    return [part.tolist() for part in np.split(plan.order, plan.cuts[1:-1])]


# The order of an epoch


@given(st.integers(2, 400), st.integers(2, 40), st.integers(1, 7), st.integers(0, 3))
def test_every_picture_comes_once_an_epoch_in_even_steps(count: int, batch: int, files: int, epoch: int) -> None:
    steps = plans(count, batch, files, epoch)
    assert sorted(number for step in steps for number in step) == list(range(count))
    sizes = [len(step) for step in steps]
    assert max(sizes) <= batch
    assert max(sizes) - min(sizes) <= 3
    assert all(size % 2 == 0 for size in sizes[:-1])


def test_an_epoch_has_an_order_of_its_own() -> None:
    first, second = plans(200, 20), plans(200, 20, epoch=1)
    assert first != second
    assert plans(200, 20) == first
    # Each step takes from the whole of the data, also where a shard holds one class after the other.
    for step in first:
        assert max(step) - min(step) > 120
        assert len({number // 20 for number in step}) > 5


def test_partners_change_from_epoch_to_epoch() -> None:
    """Mixing takes pairs: with the same partner in every epoch it would teach less."""
    partners: dict[int, set[int]] = {}
    for epoch in range(20):
        for step in plans(400, 40, files=10, epoch=epoch):
            for first, second in zip(step[::2], step[1::2], strict=True):
                partners.setdefault(first, set()).add(second)
                partners.setdefault(second, set()).add(first)
    assert np.median([len(others) for others in partners.values()]) >= 15


def test_a_picture_waits_no_longer_than_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("linnet.data.batches.streaming.WINDOW", 128)
    samples = [Sample(Span(Path("a"), n, n, 1), 0) for n in range(1000)]
    plan = batches(samples, batch=16)._plan(0)
    for first, last in plan.bounds.tolist():
        moved = plan.turns[first:last] - np.arange(first, last)
        assert 0 < np.abs(moved).max() <= 128 / 16


# Processes and workers


@pytest.mark.parametrize("pieces", [1, 2])
@pytest.mark.parametrize("world", [2, 3])
def test_processes_together_read_what_one_does(shards: Path, world: int, pieces: int) -> None:
    samples = find(shards).train
    whole = list(batches(samples, batch=20).epoch(2))
    places = [Placement(rank, world, pieces) for rank in range(world)]
    parts = [list(batches(samples, batch=20, placement=place).epoch(2)) for place in places]
    for number, (one,) in enumerate(whole):
        own = [batch for part in parts for batch in part[number]]
        assert len(own) == world * pieces
        assert {batch.total for batch in own} == {len(one.indices)} == {one.total}
        seeds = [seed for batch in own for seed in batch.seeds]
        assert sorted(seeds) == sorted(one.seeds)
        # What is mixed together, and which of the two decides, does not depend on who reads it.
        assert sorted(pairs(own)) == sorted(pairs([one]))
        order = [one.seeds.index(seed) for seed in seeds]
        assert torch.equal(torch.cat([batch.pixels for batch in own]), one.pixels[order])
        assert torch.equal(torch.cat([batch.indices for batch in own]), one.indices[order])


def pairs(parts: list[Batch]) -> list[tuple[Any, ...]]:
    return [tuple(batch.seeds[first : first + 2]) for batch in parts for first in range(0, len(batch.seeds), 2)]


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing(shards: Path, workers: int) -> None:
    samples = find(shards).train
    options = {"placement": Placement(1, 2, 2)}
    for alone, shared in zip(
        batches(samples, **options).epoch(0), batches(samples, workers=workers, **options).epoch(0), strict=True
    ):
        for one, other in zip(alone, shared, strict=True):
            assert one.seeds == other.seeds
            assert torch.equal(one.pixels, other.pixels)
            assert other.pixels.is_contiguous(memory_format=torch.channels_last)
            assert torch.equal(one.indices, other.indices)
            assert other.decoding > 0


def test_a_process_reads_no_more_than_its_share(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples, read = find(shards).train, [0, 0]
    plain = sources._LocalFile.read

    def counting(self: Any, offset: int, size: int) -> bytes:
        read[rank] += 1
        return plain(self, offset, size)

    monkeypatch.setattr(sources._LocalFile, "read", counting)
    for rank in range(2):
        for _ in batches(samples, placement=Placement(rank, 2)).epoch(0):
            pass
    assert sum(read) == len(samples)
    assert max(read) - min(read) <= 2


@pytest.mark.parametrize("world", [1, 2])
def test_going_on_gives_the_rest_and_reads_nothing_else(
    shards: Path, world: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = batches(find(shards).train, placement=Placement(0, world))
    whole = list(source.epoch(1))
    read = []
    plain = sources._LocalFile.read

    def counting(self: Any, offset: int, size: int) -> bytes:
        read.append(offset)
        return plain(self, offset, size)

    monkeypatch.setattr(sources._LocalFile, "read", counting)
    for start in (1, 4, source.steps - 1, source.steps):
        read.clear()
        rest = list(source.epoch(1, start))
        assert numbers(iter(rest)) == numbers(iter(whole[start:]))
        for (one,), (other,) in zip(rest, whole[start:], strict=True):
            assert torch.equal(one.pixels, other.pixels)
        assert len(read) == sum(len(batch.seeds) for step in rest for batch in step)


def test_the_pictures_are_those_of_the_files(pictures: DataSet, shards: Path) -> None:
    """A crop is drawn for (run seed, epoch, number): a file of that number gives the same one."""
    samples = find(shards).train
    contents = {sample.picture.read_bytes(): sample for sample in pictures.train if isinstance(sample.picture, Path)}
    same = [contents[bytes(sample.picture)] for sample in samples]
    assert [sample.index for sample in same] == [sample.index for sample in samples]
    plain = PictureBatches(same, CONTRACT, CROP, batch=69, seed=5)
    expected = {
        seed: pixels for (batch,) in plain.epoch(3) for seed, pixels in zip(batch.seeds, batch.pixels, strict=True)
    }
    for (batch,) in batches(samples).epoch(3):
        for seed, pixels in zip(batch.seeds, batch.pixels, strict=True):
            assert torch.equal(pixels, expected[seed])


def test_a_part_of_the_pictures_is_the_same_in_every_epoch(shards: Path) -> None:
    samples = find(shards).train
    source = batches(samples, fraction=0.5, batch=8)
    assert len(source) == 34
    names = [{source.name(seed) for (batch,) in source.epoch(epoch) for seed in batch.seeds} for epoch in (0, 1)]
    assert names[0] == names[1]
    assert len(names[0]) == 34
    # A validation part that was split off is left out too.
    split = replace(find(shards), validation=()).with_validation(0.3, seed=1)
    seen = {batches(split.train).name(seed) for (batch,) in batches(split.train).epoch(0) for seed in batch.seeds}
    assert seen == {sample.name for sample in split.train}


def test_too_many_processes_are_refused(shards: Path) -> None:
    samples = find(shards).train
    with pytest.raises(ValueError, match="cannot be shared by 4 processes in 2 parts"):
        batches(samples, placement=Placement(0, 4, 2))
    assert batches(samples, placement=Placement(0, 2), workers=50).workers == 3


def test_the_right_batches_are_chosen(pictures: DataSet, shards: Path) -> None:
    train = find(shards).train
    options: dict[str, Any] = {"batch": 12}
    assert isinstance(open_batches(train, CONTRACT, CROP, **options), ShardBatches)
    assert isinstance(open_batches(train, CONTRACT, CROP, order="balanced", **options), PictureBatches)
    assert isinstance(open_batches(pictures.train, CONTRACT, CROP, **options), PictureBatches)
    remote = [replace(sample, source=Span(Address("http://example.org/a.tar"), 0, 0, 1)) for sample in train]
    with pytest.raises(ValueError, match="--class-weights balanced does without"):
        open_batches(remote, CONTRACT, CROP, order="balanced", **options)


# Writing and finding


def test_what_is_written_is_read(pictures: DataSet, shards: Path, tmp_path: Path) -> None:
    found = find(shards)
    assert found.classes == pictures.classes == tuple(COLOURS)
    assert found.counts == pictures.counts
    for part in ("train", "validation", "test"):
        before = [(sample.picture.read_bytes(), sample.index) for sample in getattr(pictures, part)]
        after = [(sample.picture, sample.index) for sample in getattr(found, part)]
        assert sorted(after) == sorted(before)
        assert after != before
    names = [f"train-{n:06}.tar" for n in range(7)] + [f"validation-{n:06}.tar" for n in range(2)]
    assert sorted(path.name for path in shards.iterdir()) == [
        "shards.json",
        "test-000000.tar",
        "test-000001.tar",
        *names,
    ]
    write_shards(pictures, tmp_path, pictures_per_shard=10)
    assert all((tmp_path / path.name).read_bytes() == path.read_bytes() for path in shards.iterdir())
    with pytest.raises(FileExistsError, match="Name a new folder"):
        write_shards(pictures, tmp_path)


def test_webdataset_reads_the_same(shards: Path) -> None:
    theirs = pytest.importorskip("webdataset.tariterators", reason="needs webdataset")
    with ExitStack() as stack:
        files = [stack.enter_context(path.open("rb")) for path in sorted(shards.glob("train-*.tar"))]
        opened = [{"url": file.name, "stream": file} for file in files]
        samples = theirs.group_by_keys(theirs.tar_file_expander(opened))
        read = [(sample["png"], int(sample["cls"])) for sample in samples]
    assert read == [(sample.picture, sample.index) for sample in find(shards).train]


def test_shards_of_others_are_scanned(shards: Path, tmp_path: Path) -> None:
    """Other files of a picture, folders in the tar, names as classes, parts within the name."""
    for name, count in (("flowers-train-0.tar", 4), ("flowers-val-0.tar", 2)):
        with tarfile.open(tmp_path / name, "w") as tar:
            for number in range(count):
                label = ("rose", "daisy")[number % 2]
                for ending, content in (
                    ("json", b'{"cls": 7}'),
                    ("seg.png", b"mask"),
                    ("JPEG", f"picture {number}".encode()),
                    ("cls", f"{label}\n".encode()),
                ):
                    entry = tarfile.TarInfo(f"{label}/a-very-long-name{'x' * 100}{number}.{ending}")
                    entry.size = len(content)
                    tar.addfile(entry, io.BytesIO(content))
    data = find(tmp_path)
    assert data.classes == ("daisy", "rose")
    assert [(sample.picture, sample.index) for sample in data.train] == [
        (f"picture {number}".encode(), 1 - number % 2) for number in range(4)
    ]
    assert len(data.validation) == 2
    assert data.validation[1].name == f"{tmp_path / 'flowers-val-0.tar'}, picture 1"
    # Without its index a folder says the same, and gets one.
    (tmp_path / "classes.txt").write_text("rose\ndaisy\n")
    write_index(scan_folder(tmp_path), tmp_path)
    (tmp_path / "classes.txt").unlink()
    again = find(tmp_path / "shards.json")
    assert again.classes == ("rose", "daisy")
    assert [sample.index for sample in again.train] == [0, 1, 0, 1]


def test_parts_are_told_by_names() -> None:
    names = ("train-000000.tar", "imagenet1k-validation-07.tar", "VAL_3.tar", "test.tar", "trainer-1.tar")
    assert [part_in(name) for name in names] == ["train", "validation", "validation", "test", None]


def write_tar(path: Path, **files: bytes) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name.replace("_", "."))
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return path


def test_what_is_wrong_with_shards_is_said(shards: Path, tmp_path: Path) -> None:
    (tmp_path / "train-0.tar").write_bytes(b"no tar file at all" * 100)
    with pytest.raises(ValueError, match=r"train-0.tar' cannot be read as a tar file"):
        find(tmp_path)
    write_tar(tmp_path / "train-0.tar", a_jpg=b"x")
    with pytest.raises(ValueError, match=r"the picture a has no class, no a\.cls beside it"):
        find(tmp_path)
    write_tar(tmp_path / "train-0.tar", a_jpg=b"x", a_cls=b"0")
    with pytest.raises(ValueError, match="one class only"):
        find(tmp_path).for_training()
    (tmp_path / "classes.txt").write_text("ant\nbee\n")
    assert find(tmp_path).classes == ("ant", "bee")
    write_tar(tmp_path / "train-0.tar", a_jpg=b"x", a_cls=b"2")
    with pytest.raises(ValueError, match="a picture of the class '2'; there are 2 classes"):
        find(tmp_path)
    write_tar(tmp_path / "other-0.tar", a_jpg=b"x", a_cls=b"1")
    with pytest.raises(ValueError, match=r"other-0\.tar' tells no part"):
        find(tmp_path)
    cut = tmp_path / "cut" / "train-0.tar"
    cut.parent.mkdir()
    cut.write_bytes((shards / "train-000000.tar").read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"cut off|cannot be read as a tar file"):
        find(cut.parent)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda index: index.pop("classes"), "'classes' is missing"),
        (lambda index: index["parts"]["train"][0].update(file="../train-000000.tar"), "is no file below the index"),
        (lambda index: index["parts"]["train"][0].update(file="/etc/passwd"), "is no file below the index"),
        (lambda index: index["parts"]["train"][0].update(file="http://a/b.tar"), "is no file below the index"),
        (lambda index: index["parts"]["train"][0]["labels"].pop(), "equally long"),
        (lambda index: index["parts"]["train"][0]["labels"].__setitem__(0, 3), "the class 3; there are 3"),
        (lambda index: index["parts"]["train"][0]["labels"].__setitem__(0, "cat"), "whole numbers"),
        (lambda index: index["parts"]["train"][0]["sizes"].__setitem__(0, 10**9), "pictures beyond its"),
        (lambda index: index["parts"]["train"][0].update(bytes=77), "pictures beyond its 77 bytes"),
        (lambda index: index["parts"].update(dev=[]), "the parts train, validation and test"),
        (lambda index: index.update(parts=[]), "is no index of shards"),
    ],
)
def test_a_damaged_index_is_refused(
    shards: Path, tmp_path: Path, change: Callable[[dict[str, Any]], Any], message: str
) -> None:
    index = json.loads((shards / "shards.json").read_text())
    change(index)
    (tmp_path / "shards.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match=re.escape(message)):
        find(tmp_path)


def test_shards_that_changed_after_their_index_are_noticed(shards: Path, tmp_path: Path) -> None:
    for path in shards.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    data = find(tmp_path)
    with (tmp_path / "train-000002.tar").open("ab") as file:
        file.write(bytes(512))
    with pytest.raises(ValueError, match="the index is of another time"):
        find(tmp_path)
    # While a training runs: a sentence that names the shard, whoever reads it.
    (tmp_path / "train-000002.tar").write_bytes((shards / "train-000002.tar").read_bytes()[:3000])
    for workers in (0, 2):
        with pytest.raises(ValueError, match=r"train-000002.tar ends at byte 3,000, before byte"):
            list(batches(data.train, workers=workers).epoch(0))
    (tmp_path / "train-000002.tar").unlink()
    with pytest.raises(FileNotFoundError, match=r"train-000002.tar"):
        list(batches(data.train).epoch(0))


def test_a_damaged_picture_is_named(tmp_path: Path) -> None:
    write_tar(tmp_path / "train-0.tar", a_jpg=b"\xff\xd8\xff no picture", a_cls=b"0", b_jpg=b"x", b_cls=b"1")
    with pytest.raises(ValueError, match=r"train-0\.tar, picture [01] is not a picture that linnet can read"):
        list(batches(find(tmp_path).train, batch=2).epoch(0))


# Behind http


class Server(ThreadingHTTPServer):
    """A folder behind http. `breaks` answers end early, `refusals` are answered 503; without `ranges` all are whole."""

    folder: Path
    ranges, breaks, refusals = True, 0, 0
    asked: list[tuple[str, str | None]]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers["Range"]))
        file = self.server.folder / self.path.rsplit("/", 1)[1]
        if self.server.refusals:
            self.server.refusals -= 1
            self.send_error(503)
        elif not file.is_file():
            self.send_error(404)
        else:
            self.answer(file.read_bytes())

    def answer(self, content: bytes) -> None:
        start = 0
        if self.server.ranges and (wanted := self.headers["Range"]):
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                return self.send_error(416)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        content = content[start:]
        if self.server.breaks and self.path.endswith(".tar"):
            self.server.breaks -= 1
            content = content[: len(content) // 2]
        try:
            self.wfile.write(content)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        return None

    def log_message(self, *_: Any) -> None:
        """Quiet."""


@pytest.fixture
def server(shards: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(sources, "WAITS", (0.01, 0.01, 0.01))
    with Server(("127.0.0.1", 0), Handler) as server:
        server.folder, server.asked = shards, []
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def url_of(server: Server) -> Path:
    return Path(f"http://127.0.0.1:{server.server_address[1]}/data")


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("workers", [0, 2])
def test_http_gives_what_the_disk_does(shards: Path, server: Server, ranges: bool, workers: int) -> None:
    server.ranges = ranges
    data = find(url_of(server))
    assert data.classes == tuple(COLOURS)
    local, remote = batches(find(shards).train), batches(data.train, workers=workers)
    for start in (0, 3):
        for (one,), (other,) in zip(local.epoch(0, start), remote.epoch(0, start), strict=True):
            assert one.seeds == other.seeds
            assert torch.equal(one.pixels, other.pixels)
    assert remote.name((5, 0, 0)).startswith(f"http://127.0.0.1:{server.server_address[1]}/data/train-000000.tar, ")
    assert data.train[3].picture == find(shards).train[3].picture


@pytest.mark.parametrize("ranges", [True, False])
def test_a_connection_that_breaks_off_is_opened_again(shards: Path, server: Server, ranges: bool) -> None:
    data = find(url_of(server))
    server.ranges, server.breaks, server.refusals = ranges, 3, 2
    expected = list(batches(find(shards).train).epoch(0))
    for (one,), (other,) in zip(expected, batches(data.train).epoch(0), strict=True):
        assert torch.equal(one.pixels, other.pixels)
    assert server.breaks == server.refusals == 0


def test_a_server_that_stays_away_ends_in_a_sentence(server: Server) -> None:
    data = find(url_of(server))
    server.refusals = 100
    before = len(server.asked)
    with pytest.raises(OSError, match=r"/train-00000\d.tar cannot be read: .* 503.*; 4 attempts .* with --resume"):
        list(batches(data.train).epoch(0))
    assert len(server.asked) - before == 4
    server.shutdown()
    server.server_close()
    with pytest.raises(OSError, match=r"cannot be read: .*; 4 attempts were made"):
        data.train[0].picture  # noqa: B018


def test_what_is_not_there_is_said_at_once(server: Server, tmp_path: Path) -> None:
    data = find(url_of(server))
    server.folder, server.asked = tmp_path, []
    with pytest.raises(OSError, match="it answered 404"):
        data.train[0].picture  # noqa: B018
    with pytest.raises(OSError, match=r"need an index; make it where they lie: python examples/write_shards\.py"):
        find(url_of(server))
    assert len(server.asked) == 2
    (tmp_path / "train-000000.tar").write_bytes(b"short")
    for sample in data.train[:2]:
        with pytest.raises(ValueError, match=r"ends at byte .* damaged or newer than its index"):
            sample.picture  # noqa: B018


# Evaluation


def test_evaluation_sees_every_picture_once(shards: Path, pictures: DataSet) -> None:
    samples = find(shards).validation
    seen = [
        (pixels.numpy().tobytes(), int(index))
        for rank in range(2)
        for batch in EvaluationPictures(samples, CONTRACT, batch=4, placement=Placement(rank, 2), workers=rank)
        for pixels, index in zip(*batch, strict=True)
    ]
    files = EvaluationPictures(pictures.validation, CONTRACT)
    assert sorted(seen) == sorted(
        (pixels.numpy().tobytes(), int(index)) for batch in files for pixels, index in zip(*batch, strict=True)
    )


def test_what_is_evaluated_is_kept_on_the_disk(server: Server, shards: Path, tmp_path: Path) -> None:
    server.breaks = 1
    data = keep_evaluated(find(url_of(server)), tmp_path)
    assert [sample.picture for sample in data.test] == [sample.picture for sample in find(shards).test]
    assert {sample.path.parent for sample in (*data.validation, *data.test)} == {tmp_path / "shards"}
    assert data.train == find(url_of(server)).train
    server.asked.clear()
    assert keep_evaluated(find(url_of(server)), tmp_path) == data
    assert [path for path, _ in server.asked] == ["/data/shards.json"]
    # Split off from training, they lie among shards that shall not all be kept.
    split = replace(data, validation=(), test=()).with_validation(0.2, 0)
    assert keep_evaluated(split, tmp_path) is split
    local = find(shards)
    assert keep_evaluated(local, tmp_path) is local


def test_a_model_is_evaluated_on_shards(shards: Path, pictures: DataSet, tmp_path: Path) -> None:
    network = MobileNetV2(width=0.1, resolution=32, classes=3)
    predictor = Predictor(checkpoint_of(network, classes=("red", "green", "blue")), threads=1)
    samples = measured(shards, classes=3, names=("red", "green", "blue"))
    folders = measured(Path(str(pictures.path)) / "test", classes=3, names=("red", "green", "blue"))
    assert len(samples) == 12
    one, other = (measure_accuracy(predictor, found) for found in (samples, folders))
    assert (one.confusion == other.confusion).all()
    assert measured(shards / "test-000000.tar", classes=3, names=None)[0].source.picture
    with pytest.warns(UserWarning, match="are not the model's class names; they are taken in order"):
        assert [sample.index for sample in measured(shards, classes=3, names=("a", "b", "c"))] == [
            sample.index for sample in find(shards).test
        ]
    with pytest.raises(ValueError, match="none of the model's 2: blue, green, red"):
        measured(shards, classes=2, names=None)


def test_one_picture_is_read_without_the_rest(shards: Path) -> None:
    members = scan_shard(shards / "train-000000.tar")
    content = read_span(shards / "train-000000.tar", members.offsets[3], members.sizes[3])
    assert Image.open(io.BytesIO(content)).size == (18, 20)
    assert sorted(members.keys) != list(members.keys)

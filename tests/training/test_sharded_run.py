"""Does a run on shards train the same network from a disk, over http, and after an interruption?"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import checkpoint_of
from pictures import write_pictures
from runs import completed

from linnet.architecture import MobileNetV1
from linnet.checkpoint import load_checkpoint, save_checkpoint
from linnet.cli import main
from linnet.data import find
from linnet.data.sharding import write_shards
from linnet.training import folder as files
from linnet.training.plan import Plan, Reporter
from linnet.training.recipes import FEATURES, SCRATCH_SMALL
from linnet.training.starts import StartOptions

NOTHING = StartOptions("none", None, 32, {"width": 0.1})
SMALL = replace(SCRATCH_SMALL, epochs=2, batch=8, learning_rate=0.05, average=0.9, workers=0)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINNET_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sharded")
    data = find(write_pictures(folder / "data", test=4))
    return write_shards(data, folder / "shards", pictures_per_shard=10).parent


@pytest.fixture
def url(shards: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(shards))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


def tensors(path: Path) -> dict[str, Any]:
    return dict(load_checkpoint(path).tensors)


def same(first: Path, second: Path) -> bool:
    one, two = tensors(first), tensors(second)
    return one.keys() == two.keys() and all(np.array_equal(one[name], two[name]) for name in one)


def test_shards_from_a_disk_and_over_http_train_the_same_network(shards: Path, url: str, tmp_path: Path) -> None:
    local = completed(Plan(shards, tmp_path / "local", SMALL, NOTHING))
    remote = completed(Plan(Path(url), tmp_path / "remote", SMALL, NOTHING))
    assert same(local.checkpoint, remote.checkpoint)
    assert local.measured.to_json() == remote.measured.to_json()
    assert local.measured.images == 12
    assert remote.data.startswith(url.rstrip("/"))
    checkpoint = load_checkpoint(remote.checkpoint)
    assert checkpoint.provenance["data"] == url.rstrip("/")
    split = json.loads((tmp_path / "remote" / files.SPLIT).read_text())
    assert split["pictures"] == {"train": 36, "validation": 18, "test": 12}
    # What is measured again and again lies in the run's folder, what is streamed does not.
    kept = [file.name.partition("-")[2] for file in sorted((tmp_path / "remote" / files.FETCHED).iterdir())]
    assert {name.partition("-")[0] for name in kept} == {"validation", "test"}


def test_an_interrupted_run_on_shards_goes_on_to_the_bit(
    shards: Path, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = Plan(Path(url), tmp_path / "run", SMALL, NOTHING)
    completed(replace(plan, data=shards, out=tmp_path / "whole"))
    real, calls = os.fsync, iter(range(1000))

    def full(descriptor: int) -> None:
        if next(calls) == 20:
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        completed(plan)
    monkeypatch.undo()
    completed(replace(plan, resume=True))
    assert same(tmp_path / "run" / files.LAST, tmp_path / "whole" / files.LAST)


def test_shards_without_a_validation_part_are_split(shards: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    for file in shards.glob("train-*.tar"):
        os.link(file, alone / file.name)
    outcome = completed(Plan(alone, tmp_path / "run", replace(SMALL, epochs=1), NOTHING))
    assert outcome.measured.images == 3
    split = json.loads((tmp_path / "run" / files.SPLIT).read_text())
    assert all(".tar:" in name for name in split["validation"])


def test_frozen_features_of_shards_over_http(url: str, tmp_path: Path) -> None:
    start = tmp_path / "start.safetensors"
    save_checkpoint(checkpoint_of(MobileNetV1(width=0.1, resolution=32, classes=7)), start)
    said: list[str] = []
    plan = Plan(Path(url), tmp_path / "run", replace(FEATURES, workers=0), StartOptions(str(start)))
    assert completed(plan, Reporter(say=said.append)).measured.images == 12
    said.clear()
    completed(replace(plan, overwrite=True), Reporter(say=said.append))
    assert any("from the cache" in sentence for sentence in said)


def test_an_address_without_an_index_is_one_sentence(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["train", f"{url}nowhere/", "--out", str(tmp_path / "run"), "--start", "none"]
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert "404" in error
    assert "--index" in error
    assert "Traceback" not in error

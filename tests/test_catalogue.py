"""Are downloads checked, converted and cached, and failures told in a sentence? Against a local server."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from networks import checkpoint_of
from server import Server
from tflite_writer import write_tflite

from linnet import catalogue
from linnet.architecture import MobileNetV2
from linnet.catalogue import DOWNLOADS, find_model
from linnet.checkpoint import load_checkpoint


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    running = Server()
    monkeypatch.setenv("LINNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LINNET_MIRROR", running.address + "/models/")
    yield running
    running.close()


@pytest.fixture
def small_download(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a small model that the server has."""
    checkpoint = checkpoint_of(MobileNetV2(width=0.35, resolution=32, classes=3, folded=True))
    source = tmp_path / "small.tflite"
    write_tflite(source, checkpoint.architecture, dict(checkpoint.tensors))
    content = source.read_bytes()
    server.files["/models/small.tflite"] = content
    entry = catalogue.Download("small.tflite", hashlib.sha256(content).hexdigest(), len(content), "small")
    monkeypatch.setitem(DOWNLOADS, "small", entry)
    return "small"


def test_a_model_is_fetched_once_checked_and_converted(server: Server, small_download: str, tmp_path: Path) -> None:
    path = find_model(small_download)
    assert path == tmp_path / "cache" / "small.safetensors"
    checkpoint = load_checkpoint(path)
    assert checkpoint.architecture.classes == 3
    assert checkpoint.provenance["licence"] == "Apache-2.0"
    assert checkpoint.provenance["source"].endswith("/small.tflite")
    assert find_model(small_download) == path
    assert server.requests == ["/models/small.tflite"]


def test_another_file_than_expected_is_not_kept(server: Server, small_download: str, tmp_path: Path) -> None:
    server.files["/models/small.tflite"] = b"<html>sign in</html>"
    with pytest.raises(ValueError, match=r"small\.tflite gave 20 bytes with SHA-256 .* Nothing was kept"):
        find_model(small_download)
    assert not list((tmp_path / "cache").rglob("*.*"))


def test_no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LINNET_CACHE", str(tmp_path))
    # Port 9 of this machine: nobody answers.
    monkeypatch.setenv("LINNET_MIRROR", "http://127.0.0.1:9")
    with pytest.raises(OSError, match=r"cannot be fetched .*bring the file here and run `linnet convert`"):
        find_model("imagenet-v1-0.25-128")


def test_the_downloads_are_well_formed() -> None:
    for name, entry in DOWNLOADS.items():
        assert len(entry.sha256) == 64
        assert entry.size_bytes > 100_000
        assert entry.url.startswith("https://")
        assert entry.url.endswith(".tflite")
        assert entry.licence == "Apache-2.0", name
    assert replace(entry, source="https://example.org/").url == f"https://example.org/{entry.file}"

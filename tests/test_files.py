"""Does a file appear whole or not at all, and is what a server gives whole or refused? Against a local server."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from server import Server

from linnet.files import describe_failure, download, fetch, replacing, write_atomically, write_together


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(old=st.binary(max_size=100), new=st.binary(max_size=100_000))
def test_what_is_written_is_there_and_nothing_else(tmp_path: Path, old: bytes, new: bytes) -> None:
    path = tmp_path / "file"
    write_atomically(path, old)
    write_atomically(path, bytearray(new))
    assert path.read_bytes() == new
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_the_old_file_stays_whole_when_writing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def fail(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(OSError, match="cannot write: No space left on device") as caught:
        write_atomically(path, b"new")
    assert caught.value.filename == str(path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupted_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "file", b"new")
    assert not list(tmp_path.iterdir())


def test_files_that_belong_together_appear_together(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"old")
    write_together({tmp_path / "one": b"1", tmp_path / "deep" / "two": b"2"})
    assert [(tmp_path / name).read_bytes() for name in ("one", "deep/two")] == [b"1", b"2"]
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError, match="folder"):
        write_together({tmp_path / "one": b"new", tmp_path / "folder": b"3"})
    assert (tmp_path / "one").read_bytes() == b"1"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deep", "folder", "one"]


def test_what_lies_in_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"as it was")
    with pytest.raises(NotADirectoryError, match="file' is no folder"):
        write_atomically(tmp_path / "file" / "within", b"")
    assert (tmp_path / "file").read_bytes() == b"as it was"


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="is a folder; a file name was expected"):
        write_atomically(tmp_path, b"x")


def test_a_file_in_the_way_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(OSError, match="cannot write") as caught:
        write_atomically(tmp_path / "file" / "below", b"x")
    assert caught.value.filename == str(tmp_path / "file" / "below")


def test_links_are_followed_and_permissions_kept(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "real").chmod(0o600)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_atomically(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"
    assert stat.S_IMODE((tmp_path / "real").stat().st_mode) == 0o600


def test_a_device_is_not_replaced() -> None:
    with pytest.raises(OSError, match="no regular file"):
        write_atomically(Path("/dev/null"), b"x")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_a_new_file_has_ordinary_permissions(tmp_path: Path) -> None:
    write_atomically(tmp_path / "deep" / "file", b"x")
    (tmp_path / "other").write_bytes(b"x")
    assert stat.S_IMODE((tmp_path / "deep" / "file").stat().st_mode) == stat.S_IMODE(
        (tmp_path / "other").stat().st_mode
    )


def _break_off(path: Path) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(b"ne")
        raise RuntimeError("halfway")


def test_a_file_takes_its_place_once_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file"
    with replacing(path) as temporary:
        temporary.write_bytes(b"old")
        assert not path.exists()
    assert path.read_bytes() == b"old"
    with pytest.raises(RuntimeError, match="halfway"):
        _break_off(path)
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]


def test_what_a_server_has_is_fetched_up_to_a_limit(server: Server) -> None:
    content = bytes(range(256)) * 40
    server.files["/file"] = content
    assert fetch(f"{server.address}/file", most=100_000) == content
    assert fetch(f"{server.address}/file", most=1000) == content[:1000]


def test_a_missing_file_is_said_with_what_can_be_done(server: Server) -> None:
    with pytest.raises(OSError, match=r"/none answered 404 \(Not Found\)\. Make it first\.$"):
        fetch(f"{server.address}/none", most=1000, missing="Make it first.", without_network="Bring it here.")


def test_an_answer_that_breaks_off_is_refused(server: Server) -> None:
    server.files["/short"] = bytes(10_000)
    with pytest.raises(OSError, match=r"/short (broke off after 5000 of 10000 bytes|cannot be fetched)"):
        fetch(f"{server.address}/short", most=1_000_000)
    # Enough of it came.
    assert fetch(f"{server.address}/short", most=5000) == bytes(5000)


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/file", "file:/nowhere/at/all", "nonsense"])
def test_where_nobody_answers_it_is_said(address: str) -> None:
    with pytest.raises(OSError, match=r"cannot be fetched .*\. Bring it here\.$"):
        fetch(address, most=1000, without_network="Bring it here.")


def test_a_failure_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        (tmp_path / "none").read_bytes()
    assert describe_failure(caught.value) == f"'{tmp_path / 'none'}': No such file or directory."
    assert describe_failure(ValueError("It is empty.")) == "It is empty."


CONTENT = np.random.default_rng(0).bytes(300_000)
DIGEST = hashlib.sha256(CONTENT).hexdigest()


def test_a_download_takes_its_place_and_says_how_far_it_is(server: Server, tmp_path: Path) -> None:
    server.files["/a"] = CONTENT
    heard: list[tuple[int, int | None]] = []
    path = tmp_path / "new" / "a"
    download(f"{server.address}/a", path, sha256=DIGEST, most=1 << 20, progress=lambda *each: heard.append(each))
    assert path.read_bytes() == CONTENT
    assert heard[-1] == (len(CONTENT), len(CONTENT))
    assert [each.name for each in path.parent.iterdir() if each.suffix != ".lock"] == ["a"]
    # The right file is not fetched again.
    download(f"{server.address}/a", path, sha256=DIGEST[:8], most=1 << 20)
    assert server.requests == ["/a"]


@pytest.mark.parametrize("name", ["once", "once-stubborn"])
def test_a_download_that_broke_off_goes_on(name: str, server: Server, tmp_path: Path) -> None:
    url, path = f"{server.address}/{name}", tmp_path / "a"
    server.files[f"/{name}"] = CONTENT
    with pytest.raises(OSError, match="goes on behind them"):
        download(url, path, sha256=DIGEST, most=1 << 20)
    assert not path.exists()
    download(url, path, sha256=DIGEST, most=1 << 20)
    assert path.read_bytes() == CONTENT
    assert server.ranges == [None, f"bytes={len(CONTENT) // 2}-"]


def test_what_is_left_of_another_file_is_not_continued_for_ever(server: Server, tmp_path: Path) -> None:
    server.files["/a"] = CONTENT
    path = tmp_path / "a"
    (tmp_path / ".a.part").write_bytes(bytes(len(CONTENT) + 5))
    download(f"{server.address}/a", path, sha256=DIGEST, most=1 << 20)
    assert path.read_bytes() == CONTENT
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / ".a.part").write_bytes(b"other")
    with pytest.raises(ValueError, match="Nothing was kept"):
        download(f"{server.address}/a", tmp_path / "b" / "a", sha256=DIGEST, most=1 << 20)
    download(f"{server.address}/a", tmp_path / "b" / "a", sha256=DIGEST, most=1 << 20)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("missing", "answered 404"),
        ("error", "answered 500"),
        ("loop", "redirect"),
        ("short", "broke off|cannot be fetched"),
        ("wrong", "Nothing was kept"),
        ("long", "more than 1000 bytes"),
    ],
)
def test_each_way_to_fail_is_a_sentence(name: str, words: str, server: Server, tmp_path: Path) -> None:
    server.files |= {f"/{each}": CONTENT for each in ("error", "loop", "short", "long")} | {"/wrong": b"<html>sign in"}
    most = 1000 if name == "long" else 1 << 20
    with pytest.raises((OSError, ValueError), match=words) as caught:
        download(f"{server.address}/{name}", tmp_path / "a", sha256=DIGEST, most=most)
    assert server.address in str(caught.value)
    assert not (tmp_path / "a").exists()


def test_a_server_that_says_nothing_counts_as_gone(server: Server, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"cannot be fetched \(.*timed out\)"):
        download(f"{server.address}/silent", tmp_path / "a", sha256=DIGEST, most=1 << 20, seconds=0.2)


def test_processes_that_want_one_file_fetch_it_once(server: Server, tmp_path: Path) -> None:
    server.files["/a"] = CONTENT
    with ThreadPoolExecutor(4) as pool:
        wanted = [
            pool.submit(download, f"{server.address}/a", tmp_path / "a", sha256=DIGEST, most=1 << 20) for _ in range(4)
        ]
        for each in wanted:
            each.result()
    assert server.requests == ["/a"]

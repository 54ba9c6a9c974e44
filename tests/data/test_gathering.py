"""Does every kind of source give the same pictures, in a fixed order, each once, wherever it lies?"""

from __future__ import annotations

import io
import pickle
import re
import tarfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from PIL import Image
from server import Server

from linnet.data import stores
from linnet.data.formats.shards import scan_folder, write_index
from linnet.data.gathering import gather
from linnet.data.pieces import TOGETHER, Archive
from linnet.data.stores import locate_stored
from linnet.images import find_pictures

arrow = pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'linnet[train]'")

COUNT = 70


@pytest.fixture(scope="module")
def contents() -> list[bytes]:
    """Encoded pictures, no two alike."""
    found = []
    for number in range(COUNT):
        file = io.BytesIO()
        Image.fromarray(np.full((6, 7, 3), number, np.uint8)).save(file, "png")
        found.append(file.getvalue())
    return found


def write_folder(folder: Path, contents: list[bytes]) -> Path:
    for number, content in enumerate(contents):
        path = folder / f"{number // 10}" / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (folder / ".hidden.png").write_bytes(contents[0])
    (folder / "notes.md").write_text("no picture")
    return folder


def write_parquet(path: Path, contents: list[bytes], *, struct: bool = False) -> Path:
    import pyarrow.parquet as parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    values = [{"bytes": content, "path": "x.png"} for content in contents] if struct else contents
    parquet.write_table(arrow.table({"number": list(range(len(contents))), "image": values}), path, row_group_size=40)
    return path


def write_tar(path: Path, contents: list[bytes], *, labels: bool = True) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for number, content in enumerate(contents):
            for name, data in ((f"{number:05}.png", content), (f"{number:05}.cls", b"0")):
                if labels or name.endswith("png"):
                    member = tarfile.TarInfo(name)
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
    return path


def write_list(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(["", *lines, ""]))
    return path


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


Make = Callable[[Path, list[bytes], Server], list[str]]


def behind_http(server: Server, folder: Path) -> str:
    for path in folder.rglob("*"):
        if path.is_file():
            server.files[f"/{path.relative_to(folder).as_posix()}"] = path.read_bytes()
    return server.address


def halves(folder: Path, contents: list[bytes], write: Callable[..., Path], ending: str) -> Path:
    write(folder / f"train-0.{ending}", contents[:33])
    write(folder / f"train-1.{ending}", contents[33:])
    return folder


def indexed(folder: Path, contents: list[bytes]) -> Path:
    halves(folder, contents, write_tar, "tar")
    write_index(scan_folder(folder), folder)
    return folder


def listed_folder(folder: Path, contents: list[bytes]) -> Path:
    """A folder, and in it a list of its pictures, with paths relative to it."""
    pictures = sorted(path for path in write_folder(folder, contents).rglob("[!.]*.png"))
    return write_list(folder / "list.txt", [path.relative_to(folder).as_posix() for path in pictures])


KINDS: dict[str, Make] = {
    "folder": lambda folder, contents, server: [str(write_folder(folder, contents))],
    "pattern": lambda folder, contents, server: [f"{write_folder(folder, contents)}/*/*.png"],
    "several": lambda folder, contents, server: [
        f"{write_folder(folder, contents)}/{number}" for number in range(COUNT // 10)
    ],
    "twice": lambda folder, contents, server: [str(write_folder(folder, contents)), f"{folder}/0", f"{folder}/*/*.png"],
    "list": lambda folder, contents, server: [str(listed_folder(folder, contents))],
    "parquet": lambda folder, contents, server: [str(write_parquet(folder / "a.parquet", contents))],
    "struct": lambda folder, contents, server: [str(write_parquet(folder / "a.parquet", contents, struct=True))],
    "parquets": lambda folder, contents, server: [str(halves(folder, contents, write_parquet, "parquet"))],
    "tar": lambda folder, contents, server: [str(write_tar(folder / "a.tar", contents, labels=False))],
    "tars": lambda folder, contents, server: [str(halves(folder, contents, write_tar, "tar"))],
    "http list": lambda folder, contents, server: [
        str(
            write_list(
                folder.parent / "addresses.txt",
                [
                    f"{behind_http(server, write_folder(folder, contents))}/{number // 10}/{number:03}.png"
                    for number in range(COUNT)
                ],
            )
        )
    ],
    "http parquet": lambda folder, contents, server: [
        behind_http(server, write_parquet(folder / "a.parquet", contents).parent) + "/a.parquet"
    ],
    "http tar": lambda folder, contents, server: [
        behind_http(server, write_tar(folder / "a.tar", contents).parent) + "/a.tar"
    ],
    "http shards": lambda folder, contents, server: [behind_http(server, indexed(folder, contents))],
    "store": lambda folder, contents, server: [write_folder(folder, contents).as_uri()],
    "store parquet": lambda folder, contents, server: [write_parquet(folder / "a.parquet", contents).as_uri()],
    "store tars": lambda folder, contents, server: [halves(folder, contents, write_tar, "tar").as_uri() + "/"],
    "store list": lambda folder, contents, server: [
        str(
            write_list(
                folder.parent / "stored.txt",
                [path.as_uri() for path in sorted(write_folder(folder, contents).rglob("[!.]*.png"))],
            )
        )
    ],
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_the_same_pictures(kind: str, tmp_path: Path, contents: list[bytes], server: Server) -> None:
    gathered = gather(KINDS[kind](tmp_path / "source", contents, server))
    # Pieces go to other processes.
    pieces = pickle.loads(pickle.dumps(gathered.pieces))
    sources = [source for piece in pieces for source in piece.sources(lambda name: True)]
    pictures = [source.picture for source in sources]
    assert [each.read_bytes() if isinstance(each, Path) else each for each in pictures] == contents
    names = [source.name for source in sources]
    assert len(set(names)) == COUNT
    assert gathered.count in (COUNT, None)
    assert (gathered.count is None) == ("tar" in kind or "shards" in kind)
    # What is asked for alone, by the names that they have; nothing if nothing is.
    wanted = set(names[3:50:7])
    again = [source.name for piece in pieces for source in piece.sources(wanted.__contains__)]
    assert again == [name for name in names if name in wanted]
    assert not [source for piece in pieces for source in piece.sources(lambda name: False)]


def test_a_folder_is_read_as_predicting_without_results_does(tmp_path: Path, contents: list[bytes]) -> None:
    folder = write_folder(tmp_path, contents)
    names = [source.name for piece in gather([str(folder)]).pieces for source in piece.sources(lambda name: True)]
    assert names == [str(path) for path in find_pictures([str(folder)])]


def test_many_files_are_several_pieces(tmp_path: Path) -> None:
    lines = [f"{number}.png" for number in range(2 * TOGETHER + 1)]
    gathered = gather([str(write_list(tmp_path / "list.txt", lines))])
    assert [piece.count for piece in gathered.pieces] == [TOGETHER, TOGETHER, 1]


def test_an_archive_keeps_no_headers(tmp_path: Path, contents: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_tar(tmp_path / "a.tar", contents)
    opened: list[tarfile.TarFile] = []
    really = tarfile.open

    def remember(*arguments: object, **options: object) -> tarfile.TarFile:
        opened.append(really(*arguments, **options))  # type: ignore[call-overload]
        return opened[-1]

    monkeypatch.setattr("tarfile.open", remember)
    for _ in Archive(path).sources(lambda name: True):
        assert len(opened[0].members) <= 2  # type: ignore[attr-defined]


def test_what_is_left_out_is_said(tmp_path: Path, contents: list[bytes]) -> None:
    write_folder(tmp_path, contents[:3])
    write_parquet(tmp_path / "more.parquet", contents[3:])
    (sentence,) = gather([str(tmp_path)]).left
    assert "more.parquet" in sentence


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: folder / "nowhere.parquet", "nowhere.parquet"),
        (lambda folder: write_list(folder / "empty.txt", []), "names no picture"),
        (lambda folder: write_list(folder / "lists.txt", ["a.txt"]), "names a list"),
        (lambda folder: folder, "holds no pictures"),
        (lambda folder: (folder / "nowhere").as_uri(), "There is nothing at"),
        (lambda folder: folder / "*.jpg", "No file matches"),
        (lambda folder: "s3://key:secret@bucket/x", "holds credentials"),
        (lambda folder: "s3://key@bucket/x", "holds credentials"),
        (lambda folder: "nonsense://bucket/x", "nonsense"),
    ],
)
def test_bad_sources_are_sentences(make: Callable[[Path], object], said: str, tmp_path: Path) -> None:
    with pytest.raises((ValueError, OSError), match=re.escape(said)) as caught:
        gather([str(make(tmp_path))])
    assert "secret" not in str(caught.value)


def test_damaged_parquet_and_other_columns_are_sentences(tmp_path: Path) -> None:
    import pyarrow.parquet as parquet

    (tmp_path / "damaged.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(ValueError, match="cannot be read as Parquet"):
        gather([str(tmp_path / "damaged.parquet")])
    parquet.write_table(arrow.table({"number": [1]}), tmp_path / "numbers.parquet")
    with pytest.raises(ValueError, match=r"column of encoded pictures .* number \(int64\)"):
        gather([str(tmp_path / "numbers.parquet")])


def test_a_bucket_that_wants_credentials_says_where_they_go() -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(403)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_HEAD = do_GET

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        options = f"region=us-east-1&scheme=http&endpoint_override=127.0.0.1:{server.server_port}"
        with pytest.raises(OSError, match="AWS_ACCESS_KEY_ID") as caught:
            gather([f"s3://anonymous@bucket/pictures?{options}"])
        assert "'s3://bucket/pictures' cannot be read" in str(caught.value)
    finally:
        server.shutdown()
        server.server_close()


def test_stores_are_named_without_what_only_they_need() -> None:
    found = locate_stored("s3://anonymous@bucket/a folder/x.png?region=eu-west-1")
    assert (found.name, found.path) == ("s3://bucket/a folder/x.png", "bucket/a folder/x.png")
    assert found.root == "s3://anonymous@bucket?region=eu-west-1"
    assert stores.Stored(found.root, "bucket/b.png").name == "s3://bucket/b.png"

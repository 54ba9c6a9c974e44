"""Are the page's own files whole? What they load is there, all words stand in one, and nothing comes from elsewhere."""

from __future__ import annotations

import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from networks import checkpoint_of

from linnet.architecture import MobileNetV2
from linnet.cli import main
from linnet.export import export
from linnet.page.folder import ENGINES, MODEL, RELEASE, SITE, page_files, write_page

SCRIPTS = sorted(SITE.glob("*.js"))
WORDS = "strings.js"
SMALL = checkpoint_of(MobileNetV2(width=0.35, resolution=32, classes=3))


def texts() -> str:
    """The file of all words."""
    return (SITE / WORDS).read_text()


class Words(HTMLParser):
    """What a page shows or says by itself, and the names of the texts that it asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.asked: set[str] = set()

    def handle_data(self, data: str) -> None:
        self.found += [data.strip()] * bool(data.strip())

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if name in ("alt", "title", "aria-label", "placeholder") and value:
                self.found.append(value)
            if name in ("data-text", "data-label") and value:
                self.asked.add(value)


def test_all_words_stand_in_one_file() -> None:
    words = Words()
    words.feed((SITE / "index.html").read_text())
    assert words.found == []
    assert words.asked
    for name in words.asked:
        assert re.search(rf"^  {name}:", texts(), re.MULTILINE), name
    for path in SCRIPTS:
        if path.name == WORDS:
            continue
        code = re.sub(r"//[^\n]*|/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)
        # What reads as a sentence: several words in one string.
        assert re.findall(r"[\"'`](?:[A-Z][a-z]+ )(?:[a-z]+ ?)+[.!?]?[\"'`]", code) == [], path.name


def test_every_text_that_is_asked_for_is_there() -> None:
    known = set(re.findall(r"^ {2,4}(\w+):", texts(), re.MULTILINE))
    for path in SCRIPTS:
        code = path.read_text()
        assert set(re.findall(r"\btext\.(?:errors\.)?(\w+)", code)) <= known, path.name
        thrown = set(re.findall(r"new Error\(\"(\w+)\"", code)) - {"another format"}
        assert thrown <= known, (path.name, thrown - known)
    reasons = re.findall(r"^  \w+Error: \"(\w+)\"", (SITE / "camera.js").read_text(), re.MULTILINE)
    assert reasons
    assert set(reasons) <= known


def test_everything_that_is_loaded_is_there_and_nothing_comes_from_elsewhere() -> None:
    made = {RELEASE, MODEL}
    names = {path.name for path in SITE.iterdir()} | made
    for path in [*SCRIPTS, SITE / "index.html", SITE / "manifest.webmanifest", SITE / "style.css"]:
        text = path.read_text()
        assert not re.search(r"(https?:)?//[a-z0-9-]+\.[a-z]", re.sub(r"https://nodejs\.org", "", text)), path.name
        loaded = set(re.findall(r"(?:from|import|importScripts)\s*\(?\s*\"(?:\./)?([\w.-]+)\"", text))
        loaded |= {
            name for pair in re.findall(r"(?:href|src)=\"([\w.-]+)\"|\"src\": \"([\w.-]+)\"", text) for name in pair
        }
        assert loaded - {""} <= names, path.name
    policy = (SITE / "index.html").read_text()
    assert "default-src 'none'" in policy
    assert "connect-src 'self'" in policy


def test_the_engine_is_the_one_that_was_built() -> None:
    lines = (SITE.parent / "SHA256SUMS").read_text().splitlines()
    assert {line.split()[1] for line in lines} == set(ENGINES)
    for line in lines:
        digest, name = line.split()
        content = (SITE / name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == digest, f"{name} is another file than `make page` built"
        assert len(content) < 400_000


def test_a_release_names_all_files_and_changes_with_each(tmp_path: Path) -> None:
    files = page_files(SMALL, "birds")
    release = files[RELEASE].decode()
    document = json.loads(release.removeprefix("self.linnetRelease = ").removesuffix(";\n"))
    unlisted = {*ENGINES, MODEL, "index.html", "service-worker.js"}
    assert set(document["small"]) | unlisted == set(files)
    assert document["bytes"] == {name: len(files[name]) for name in (*ENGINES, MODEL)}
    assert page_files(SMALL, "birds")[RELEASE] == files[RELEASE]
    assert page_files(SMALL, "bees")[RELEASE] != files[RELEASE]
    manifest = json.loads(files["manifest.webmanifest"])
    assert manifest["name"] == manifest["short_name"] == "birds"
    assert {icon["src"] for icon in manifest["icons"]} <= set(files)
    write_page(tmp_path / "page", files)
    assert {path.name: path.read_bytes() for path in (tmp_path / "page").iterdir()} == files


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "index.html").write_text("mine")
    with pytest.raises(ValueError, match="is not empty and holds no page of linnet"):
        write_page(tmp_path, page_files(SMALL, "birds"))
    with pytest.raises(ValueError, match="is not empty and holds no page of linnet"):
        export(SMALL, tmp_path, format="page")
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]
    assert (tmp_path / "index.html").read_text() == "mine"
    file = tmp_path / "index.html"
    assert main(["export", "cifar10", str(file), "--format", "page"]) == 1
    assert "is a file; page is a folder of several. Name the folder." in capsys.readouterr().err

"""Is the smallest cut noticed, of every kind of film, and never where nothing is missing?"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from linnet.films.sources import Source

pytest.importorskip("av", reason="films need PyAV: pip install 'linnet[video]'")

import av
from film_writer import picture, times_of, write_film

from linnet.films.reading import Film
from linnet.films.wholeness import is_cut_off

COUNT = 25

FIRST = {"movflags": "faststart"}
"""The list of the frames in front of them."""

KINDS: dict[str, tuple[str, dict[str, str]]] = {
    "first.mp4": ("libx264", FIRST),
    "last.mp4": ("libx264", {}),
    "parts.mp4": ("libx264", {"movflags": "frag_keyframe+empty_moov"}),
    "a.mov": ("mpeg4", FIRST),
    "a.mkv": ("libx264", {}),
    "live.webm": ("libvpx", {"live": "1"}),
    "a.avi": ("mpeg4", {}),
    "a.ts": ("libx264", {}),
    "a.m2ts": ("libx264", {"mpegts_m2ts_mode": "1"}),
    "a.mpg": ("mpeg1video", {}),
    "a.flv": ("flv", {}),
    "a.wmv": ("wmv2", {}),
    "a.ogv": ("libvpx", {}),
}

USUAL = ("first.mp4", "last.mp4", "a.mkv", "a.avi")


def said_of(path: Path) -> tuple[int, str]:
    """Frames, and the sentence behind them."""
    count = 0
    try:
        film = Film(Source(path.name, str(path)))
        try:
            for _ in film.frames():
                count += 1
        finally:
            film.close()
    except ValueError as error:
        return count, str(error)
    return count, ""


@pytest.mark.parametrize(
    "name", [name if name in USUAL else pytest.param(name, marks=pytest.mark.slow) for name in KINDS]
)
def test_the_smallest_cut_is_said_behind_the_frames(name: str, tmp_path: Path) -> None:
    codec, options = KINDS[name]
    if codec not in av.codecs_available:
        pytest.skip(f"this PyAV has no encoder {codec}")
    whole = write_film(tmp_path / name, times_of(COUNT), codec=codec, options=options).read_bytes()
    assert said_of(tmp_path / name) == (COUNT, "")
    cut = tmp_path / f"cut-{name}"
    for missing in (1, 50, len(whole) // 40, len(whole) // 12):
        cut.write_bytes(whole[:-missing])
        count, said = said_of(cut)
        assert f"'cut-{name}' was cut off" in said, (missing, count, said)
        # Without the list of the frames, which stands at its end, nothing of a film can be read.
        assert name == "last.mp4" or f"the {count} frames before that were read" in said


def test_films_without_a_container_are_of_whole_frames(tmp_path: Path) -> None:
    header = b"YUV4MPEG2 W8 H6 F25:1 C420jpeg\n"
    film = tmp_path / "a.y4m"
    pictures = io.BytesIO()
    for number in range(3):
        Image.fromarray(picture(number)).save(pictures, "JPEG")
    for path, content in (
        (film, header + 4 * (b"FRAME\n" + bytes(72))),
        (tmp_path / "a.mjpeg", pictures.getvalue()),
    ):
        path.write_bytes(content)
        assert not is_cut_off(path)
        for missing in (1, 20, 71):
            path.write_bytes(content[:-missing])
            assert is_cut_off(path), (path, missing)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no film at all",
        b"\x1a\x45\xdf\xa3",
        b"\x1a\x45\xdf\xa3\x00\x00\x00",
        b"OggS",
        b"FLV\x01",
        b"RIFF\x00\x00\x00\x00AVI ",
        b"\x00\x00\x01\xba",
        b"GIF89a" + bytes(400),
        b"YUV4MPEG2 W0 H0\nFRAME\n",
        bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"),
    ],
)
def test_nonsense_is_no_obstacle(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "film"
    path.write_bytes(content)
    found: Any = is_cut_off(path)
    assert found in (False, True)


def test_what_somebody_has_put_behind_a_film_is_no_cut(tmp_path: Path) -> None:
    path = write_film(tmp_path / "a.mp4", times_of(3), options=FIRST)
    path.write_bytes(path.read_bytes() + bytes(100))
    assert said_of(path) == (3, "")

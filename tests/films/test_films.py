"""Do films made here come back frame by frame, upright and at their times, and leave what was found on them?"""

from __future__ import annotations

import csv
import json
import resource
import signal
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import checkpoint_of
from PIL import Image

import linnet
from linnet.architecture import MobileNetV2
from linnet.architecture.ssdlite import ssdlite
from linnet.checkpoint import save_checkpoint
from linnet.cli import main
from linnet.films.sources import CAMERAS, Source, split_sources
from linnet.results import Classification, document

pytest.importorskip("av", reason="films need PyAV: pip install 'linnet[video]'")

from film_writer import picture, times_of, write_film, write_sound

from linnet.films.reading import Film, Frame
from linnet.films.watching import ahead, watch
from linnet.films.writing import FilmWriter


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    network = MobileNetV2(width=0.35, resolution=64, classes=4)
    path = tmp_path_factory.mktemp("model") / "small.safetensors"
    save_checkpoint(checkpoint_of(network, classes=("ant", "bee", "cat", "dog"), seed=7), path)
    return path


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    network = ssdlite(backbone=MobileNetV2(width=0.35, resolution=96), classes=3)
    path = tmp_path_factory.mktemp("detector") / "boxes.safetensors"
    save_checkpoint(checkpoint_of(network, seed=3), path)
    return path


def read(path: Path, every: float = 0.0) -> list[Frame]:
    film = Film(Source(str(path), str(path)), every)
    try:
        return list(film.frames())
    finally:
        film.close()


def lines_of(capsys: pytest.CaptureFixture[str]) -> tuple[list[dict[str, Any]], str]:
    printed = capsys.readouterr()
    return [json.loads(line) for line in printed.out.splitlines()], printed.err


@pytest.mark.parametrize("ending", ["mp4", "mkv", "avi", "mov"])
def test_frames_come_in_order_and_look_as_they_were_written(ending: str, tmp_path: Path) -> None:
    frames = read(write_film(tmp_path / f"a.{ending}", times_of(20), options={}))
    assert [frame.number for frame in frames] == list(range(20))
    assert [frame.seconds for frame in frames] == pytest.approx(times_of(20), abs=0.002)
    for frame in frames:
        # Colours are halved in resolution and compressed: near, and nearer to this frame than to any other.
        assert np.abs(frame.pixels.astype(int) - picture(frame.number)).mean() < 6


def test_frames_at_times_of_their_own_keep_them(tmp_path: Path) -> None:
    times = [0.0, 0.04, 0.5, 0.51, 2.0, 2.033]
    frames = read(write_film(tmp_path / "phone.mp4", times))
    assert [frame.seconds for frame in frames] == pytest.approx(times, abs=0.002)


@pytest.mark.parametrize(("every", "numbers"), [(0.2, [0, 5, 10, 15, 20]), (0.5, [0, 13]), (9.0, [0])])
def test_every_so_many_seconds_one_frame_is_given(every: float, numbers: list[int], tmp_path: Path) -> None:
    frames = read(write_film(tmp_path / "a.mp4", times_of(25)), every)
    assert [frame.number for frame in frames] == numbers


@pytest.mark.parametrize("turn", [0, 90, 180, -90])
def test_a_film_of_a_phone_held_upright_is_turned(turn: int, tmp_path: Path) -> None:
    (frame, *_) = read(write_film(tmp_path / "a.mp4", times_of(3), rotation=turn))
    upright = np.rot90(picture(0), turn // 90)
    assert frame.pixels.shape == upright.shape
    assert np.abs(frame.pixels.astype(int) - upright).mean() < 6


def test_the_display_matrix_of_a_phone_turns_it_clockwise(tmp_path: Path) -> None:
    """The bytes as ISO 14496-12 has them, so that not only PyAV agrees with itself."""
    content = bytearray(write_film(tmp_path / "a.mp4", times_of(3)).read_bytes())
    matrix = content.find(b"tkhd") + 4 + 4 + 20 + 8 + 8
    turned = (0, 0x10000, 0, 0xFFFF0000, 0, 0, 48 << 16, 0, 0x40000000)
    content[matrix : matrix + 36] = b"".join(value.to_bytes(4, "big") for value in turned)
    (tmp_path / "b.mp4").write_bytes(content)
    (frame, *_) = read(tmp_path / "b.mp4")
    assert np.abs(frame.pixels.astype(int) - np.rot90(picture(0), -1)).mean() < 6


def test_a_film_that_is_written_reads_as_it_was(tmp_path: Path) -> None:
    times = [0.0, 0.1, 0.15, 1.0]
    with FilmWriter(tmp_path / "out.mp4", Fraction(25)) as film:
        for number, seconds in enumerate(times):
            film.write(picture(number, (63, 47)), seconds)
        assert not (tmp_path / "out.mp4").exists()
    frames = read(tmp_path / "out.mp4")
    assert [frame.seconds for frame in frames] == pytest.approx(times, abs=0.002)
    for number, frame in enumerate(frames):
        assert frame.pixels.shape == (48, 64, 3)
        assert np.abs(frame.pixels[:47, :63].astype(int) - picture(number, (63, 47))).mean() < 6


def test_of_a_film_that_fails_nothing_is_left(tmp_path: Path) -> None:
    def fail() -> None:
        with FilmWriter(tmp_path / "out.mp4", Fraction(25)) as film:
            film.write(picture(0), 0)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_each_frame_gets_what_its_picture_gets(model: Path, tmp_path: Path) -> None:
    path = write_film(tmp_path / "a.mp4", times_of(30))
    predictor = linnet.load(model)
    film = Film(Source("a.mp4", str(path)))
    seen = list(watch(predictor, film))
    film.close()
    assert [frame.number for frame, _ in seen] == list(range(30))
    for frame, result in seen[::7]:
        assert isinstance(result, Classification)
        assert result.scores == pytest.approx(predictor(frame.pixels).scores, abs=1e-4)


def test_predict_prints_a_line_a_frame(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_film(tmp_path / "a.mp4", times_of(12))
    still = tmp_path / "still.png"
    Image.fromarray(picture(0)).save(still)
    flags = ["--model", str(model), "--json", "--every", "0.2", "--top", "2"]
    assert main(["predict", str(path), str(still), *flags]) == 0
    lines, _ = lines_of(capsys)
    first, *frames = lines
    assert first == json.loads(json.dumps(document(str(still), linnet.load(model)(str(still)), 2)))
    assert [(line["file"], line["frame"]) for line in frames] == [(str(path), 0), (str(path), 5), (str(path), 10)]
    assert [line["seconds"] for line in frames] == [0.0, 0.2, 0.4]
    assert all(list(line) == ["file", "frame", "seconds", "predictions"] for line in frames)
    assert all(len(line["predictions"]) == 2 for line in frames)


def test_predict_prints_stretches_and_writes_a_film_and_a_table(
    detector: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "films").mkdir()
    write_film(tmp_path / "films" / "a.mp4", times_of(10))
    out = tmp_path / "out"
    flags = ["--draw", str(out), "--track", "--top", "3", "--score-threshold", "0.1"]
    assert main(["predict", str(tmp_path / "films"), "--model", str(detector), *flags]) == 0
    table = capsys.readouterr().out
    assert "64 x 48, 25 frames a second" in table
    assert " 0:00:00.000" in table
    frames = read(out / "a.mp4")
    assert [frame.seconds for frame in frames] == pytest.approx(times_of(10), abs=0.002)
    with (out / "a.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {int(row["frame"]) for row in rows} == set(range(10))
    assert all(int(row["track"]) >= 1 and float(row["x1"]) <= 64 for row in rows)


@pytest.mark.parametrize("turn", [0, 90])
def test_a_classified_film_is_the_film_and_a_strip(turn: int, tmp_path: Path) -> None:
    """Frames that are upright are written as they were decoded, others by way of their colours."""
    from linnet.films.painting import Painter

    source = read(write_film(tmp_path / "a.mp4", times_of(6), size=(322, 242), rotation=turn))
    assert all((frame.planes is None) == bool(turn) for frame in source)
    with FilmWriter(tmp_path / "out.mp4", Fraction(25)) as film, Painter(film, 2) as painter:
        for frame in source:
            painter.add(frame, Classification(np.array([0.9, 0.1], np.float32), ("ant", "bee")))
    height, width = source[0].pixels.shape[:2]
    for given, written in zip(source, read(tmp_path / "out.mp4"), strict=True):
        assert written.seconds == pytest.approx(given.seconds, abs=0.002)
        assert np.abs(written.pixels[:height].astype(int) - given.pixels).mean() < 3
        strip = written.pixels[height:].astype(int)
        assert strip.shape[1] == width
        # Black letters on white, without colours.
        assert np.median(strip) > 250
        assert strip.min() < 60
        assert np.ptp(strip, axis=2).mean() < 3


def test_a_film_keeps_what_it_says_of_its_colours(tmp_path: Path) -> None:
    import av

    source = write_film(tmp_path / "a.mp4", times_of(2))
    with av.open(str(source)) as container:
        (first, *_) = list(container.decode(video=0))
    first.colorspace, first.color_primaries, first.color_trc = 1, 1, 1  # ITU-R BT.709
    with FilmWriter(tmp_path / "out.mp4", Fraction(25)) as film:
        film.write(picture(0), 0, planes=first)
    with av.open(str(tmp_path / "out.mp4")) as container:
        (written,) = list(container.decode(video=0))
    assert (written.colorspace, written.color_primaries, written.color_trc) == (1, 1, 1)


def test_an_odd_number_of_pixels_is_no_obstacle(model: Path, tmp_path: Path) -> None:
    path = write_film(tmp_path / "a.mp4", times_of(3), size=(322, 242))
    assert main(["predict", str(path), "--model", str(model), "--draw", str(tmp_path / "out")]) == 0
    (frame, *_) = read(tmp_path / "out" / "a.mp4")
    # The class stands on a strip below the picture.
    assert frame.pixels.shape[1] == 322
    assert frame.pixels.shape[0] > 242


@pytest.mark.parametrize("ending", ["mkv", "mp4", "avi"])
def test_of_a_cut_film_the_frames_so_far_are_answered_and_then_it_is_said(
    ending: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = {"movflags": "faststart"} if ending == "mp4" else {}
    whole = write_film(tmp_path / f"whole.{ending}", times_of(100), options=options, codec="mpeg4").read_bytes()
    cut = tmp_path / f"cut.{ending}"
    cut.write_bytes(whole[: len(whole) * 2 // 3])
    out = tmp_path / "out"
    assert main(["predict", str(cut), "--model", str(model), "--json", "--draw", str(out)]) == 1
    (*frames, last), error = lines_of(capsys)
    assert 20 < len(frames) < 100
    assert [line["frame"] for line in frames] == list(range(len(frames)))
    assert list(last) == ["file", "error"]
    assert "was cut off after" in last["error"]
    assert f"the {len(frames)} frames" in last["error"]
    assert last["error"] in error
    assert len(read(out / "cut.mp4")) == len(frames)


def test_what_is_no_film_is_said_and_the_others_go_on(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = write_film(tmp_path / "good.mp4", times_of(2))
    (tmp_path / "text.mp4").write_text("no film at all " * 50)
    (tmp_path / "empty.mkv").write_bytes(b"")
    (tmp_path / "headless.mp4").write_bytes(write_film(tmp_path / "b.mp4", times_of(50)).read_bytes()[:900])
    write_sound(tmp_path / "sound.mp4")
    named = [*(tmp_path / name for name in ("text.mp4", "empty.mkv", "headless.mp4", "sound.mp4", "none.mp4")), good]
    assert main(["predict", *map(str, named), "--model", str(model), "--json"]) == 1
    lines, error = lines_of(capsys)
    assert [line.get("frame") for line in lines] == [None] * 5 + [0, 1]
    texts = [line["error"] for line in lines[:5]]
    assert "no film that linnet can read" in texts[0]
    assert "has no pictures: it is no film" in texts[3]
    assert "There is no file" in texts[4]
    assert all(text in error and "Errno" not in text for text in texts)


def test_films_and_pictures_are_told_apart(tmp_path: Path) -> None:
    for name in ("a/x.mp4", "a/y.png", "a/.hidden.mp4", "b/z.MKV", "c/w.jpg", "c/v.avi"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    texts = [str(tmp_path / "a"), str(tmp_path / "b"), str(tmp_path / "c" / "*"), "camera:1", "nowhere.mov", "one.png"]
    pictures, films = split_sources(texts)
    assert pictures == [str(tmp_path / "a"), str(tmp_path / "c" / "w.jpg"), "one.png"]
    names = [str(tmp_path / "a/x.mp4"), str(tmp_path / "b/z.MKV"), str(tmp_path / "c/v.avi"), "camera:1", "nowhere.mov"]
    assert [film.name for film in films] == names
    assert [film.live for film in films] == [False, False, False, True, False]


def test_a_camera_without_a_number_is_said() -> None:
    with pytest.raises(ValueError, match="as in camera:0"):
        split_sources(["camera:front"])


@pytest.fixture
def camera(monkeypatch: pytest.MonkeyPatch) -> None:
    """FFmpeg's own test picture in the place of a camera; this machine may have none."""
    monkeypatch.setitem(CAMERAS, sys.platform, ("testsrc=size=64x48:rate=20:duration={}", "lavfi"))


@pytest.mark.usefixtures("camera")
def test_a_camera_is_answered_frame_by_frame(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    # One that is unplugged after a second.
    assert main(["predict", "camera:1", "--model", str(model), "--json", "--draw", str(out)]) == 1
    (*frames, last), _ = lines_of(capsys)
    assert [line["frame"] for line in frames] == list(range(20))
    assert last == {"file": "camera:1", "error": "'camera:1' gives no more pictures, after 20 of them."}
    assert len(read(out / "camera-1.mp4")) == 20


@pytest.mark.usefixtures("camera")
def test_ctrl_c_ends_a_camera_and_keeps_its_film(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from linnet.cli import films

    said: list[Any] = []
    plain = films._print_line

    def print_line(line: dict[str, Any]) -> None:
        plain(line)
        said.append(line)
        if len(said) == 30:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(films, "_print_line", print_line)
    # Whoever runs the tests in the background may have it ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    out = tmp_path / "out"
    try:
        assert main(["predict", "camera:900", "--model", str(model), "--json", "--draw", str(out)]) == 0
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(lines_of(capsys)[0]) == 30
    assert len(read(out / "camera-900.mp4")) in (29, 30)


def test_a_camera_that_is_not_there_is_said(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if not sys.platform.startswith("linux") or Path("/dev/video987").exists():
        pytest.skip("this system names cameras otherwise")
    assert main(["predict", "camera:987", "--model", str(model)]) == 1
    assert "There is no camera /dev/video987 here." in capsys.readouterr().err


def test_wrong_usage_is_said(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    film = write_film(tmp_path / "a.mp4", times_of(2))
    for flags, sentence in (
        (["--every", "-1"], "--every (=-1)"),
        (["--track"], "--track is for detectors"),
        (["--explain", str(tmp_path / "out")], "--explain is for pictures"),
        (["--draw", str(tmp_path)], "holds pictures of this run"),
    ):
        assert main(["predict", str(film), "--model", str(model), *flags]) == 2
        assert sentence in capsys.readouterr().err
    still = tmp_path / "still.png"
    Image.fromarray(picture(0)).save(still)
    assert main(["predict", str(still), "--model", str(model), "--every", "1"]) == 2
    assert "are for films and cameras" in capsys.readouterr().err


def test_an_error_comes_behind_the_frames_before_it_and_who_stops_early_waits_for_nobody() -> None:
    blank = np.zeros((2, 2, 3), np.uint8)
    ended: list[int] = []

    def frames(count: int) -> Any:
        try:
            for number in range(count):
                yield Frame(number, float(number), blank)
            raise ValueError("cut")
        finally:
            ended.append(count)

    seen: list[int] = []
    with pytest.raises(ValueError, match="cut"):
        seen.extend(frame.number for frame in ahead(frames(50), 4))
    assert seen == list(range(50))
    few = ahead(frames(10**9), 4)
    assert next(few).number == 0
    few.close()


@pytest.mark.slow
def test_memory_does_not_grow_with_the_film(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_film(tmp_path / "long.mp4", times_of(6000), size=(320, 240), codec="mpeg4")
    short = write_film(tmp_path / "short.mp4", times_of(200), size=(320, 240), codec="mpeg4")
    out = str(tmp_path / "out")
    assert main(["predict", str(short), "--model", str(model), "--json", "--draw", out]) == 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert main(["predict", str(path), "--model", str(model), "--json", "--draw", out]) == 0
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1000
    assert len(capsys.readouterr().out.splitlines()) == 6200
    # The frames alone have 1,382 MB.
    assert grown < 40, f"{grown:.0f} MB"

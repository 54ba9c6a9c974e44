"""What `linnet predict` does with films and cameras: a line or a row for what is seen, and films of it."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from linnet.cli.terminal import show
from linnet.files import describe_failure, replacing
from linnet.results import document, top

if TYPE_CHECKING:
    from linnet.films.painting import Painter
    from linnet.films.reading import Film, Frame
    from linnet.films.sources import Source
    from linnet.predictor import Predictor
    from linnet.results import Result


@dataclass(frozen=True)
class Watching:
    """How films are looked at, and what is written of them.

    Attributes:
        top: classes or objects to tell of a frame; None for as many as of a picture.
        draw: folder of the films that are written.
        every: seconds between two frames that are looked at; 0 takes all.
        track: whether boxes are numbered and smoothed.
        json: a line a frame instead of a table.
    """

    top: int | None
    draw: Path | None
    every: float
    track: bool
    json: bool


def watch_films(predictor: Predictor, films: Sequence[Source], how: Watching, taken: set[str]) -> bool:
    """Looks at films one after the other; whether something went wrong with one of them.

    Ctrl-C ends a camera, as nothing else does; a film it ends like any work.
    """
    failed = False
    for source in films:
        try:
            _watch(predictor, source, how, _free_stem(source.stem, taken))
        except (ValueError, OSError) as error:
            failed = True
            message = describe_failure(error)
            if how.json:
                _print_line({"file": source.name, "error": message})
            print(f"linnet: {message}", file=sys.stderr)
        except KeyboardInterrupt:
            if not source.live:
                raise
    return failed


def _watch(predictor: Predictor, source: Source, how: Watching, stem: str) -> None:
    from linnet.films.reading import Film
    from linnet.films.watching import watch

    with ExitStack() as open_things:
        film = Film(source, how.every)
        open_things.callback(film.close)
        written = None if how.draw is None else open_things.enter_context(_Written.open(how.draw, stem, film))
        rows = None if how.json else open_things.enter_context(_stretches(source, film))
        for frame, result in watch(predictor, film, track=how.track):
            if rows is None:
                when = {"frame": frame.number, "seconds": round(frame.seconds, 3)}
                _print_line({"file": source.name, **when, **document(source.name, result, how.top)})
            else:
                rows.see(frame, result.summary)
            if written is not None:
                written.add(frame, result, how.top)


def _free_stem(stem: str, taken: set[str]) -> str:
    name, number = stem, 1
    while name in taken:
        number += 1
        name = f"{stem}-{number}"
    taken.add(name)
    return name


def _print_line(line: dict[str, Any]) -> None:
    # At once: whoever reads the lines of a camera waits for each.
    print(json.dumps(line, ensure_ascii=False, allow_nan=False), flush=True)


class _Stretches:
    """The table for people: a row for each stretch of time in which the same is seen."""

    def __init__(self, source: Source, film: Film) -> None:
        self._source, self._film = source, film
        self._begun = False
        self._text: str | None = None
        self._from = self._until = 0.0

    def see(self, frame: Frame, text: str) -> None:
        if not self._begun:
            height, width = frame.pixels.shape[:2]
            show(f"{self._source.name}: {width} x {height}, {float(self._film.rate):.4g} frames a second")
            show(f"{'from':>12}  {'to':>12}  what")
            self._begun = True
        if text != self._text:
            self.finish(frame.seconds)
            self._text, self._from = text, frame.seconds
        self._until = frame.seconds

    def finish(self, seconds: float | None = None) -> None:
        if self._text is not None:
            show(f"{_clock(self._from)}  {_clock(self._until if seconds is None else seconds)}  {self._text}")
        self._text = None


@contextmanager
def _stretches(source: Source, film: Film) -> Iterator[_Stretches]:
    rows = _Stretches(source, film)
    try:
        yield rows
    finally:
        rows.finish()
        show("")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours:>2}:{minutes:02}:{rest:06.3f}"


class _Written:
    """The film with what was found on it, and beside it a table of times."""

    HEADER = ("frame", "seconds", "label", "score", "x0", "y0", "x1", "y1", "track")

    def __init__(self, painter: Painter, table: Any) -> None:
        self._painter, self._table = painter, table

    @classmethod
    @contextmanager
    def open(cls, folder: Path, stem: str, film: Film) -> Iterator[_Written]:
        from linnet.films.painting import Painter
        from linnet.films.watching import together
        from linnet.films.writing import FilmWriter

        end: BaseException | None = None
        with ExitStack() as open_things:
            temporary = open_things.enter_context(replacing(folder / f"{stem}.csv"))
            file = open_things.enter_context(temporary.open("w", newline="", encoding="utf-8"))
            table = csv.writer(file)
            table.writerow(cls.HEADER)
            writer = open_things.enter_context(FilmWriter(folder / f"{stem}.mp4", film.rate))
            painter = open_things.enter_context(Painter(writer, 2 * together(film)))
            try:
                yield cls(painter, table)
            except (KeyboardInterrupt, ValueError, OSError) as error:
                # What is there of a film that was cut off or stopped is kept: a camera has no other end.
                end = error
        if end is not None:
            raise end

    def add(self, frame: Frame, result: Result, count: int | None) -> None:
        self._painter.add(frame, result)
        for found in top(result, result.drawn if count is None else count):
            share = getattr(found, result.measure)
            box = [f"{value:.1f}" for value in found.corners] or [""] * 4
            number = "" if found.number is None else found.number
            self._table.writerow([frame.number, f"{frame.seconds:.3f}", found.label, f"{share:.4f}", *box, number])

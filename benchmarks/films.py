"""How many frames a second `linnet predict FILM` looks at, beside what decoding and the network alone allow.

    python benchmarks/films.py [FILM] [--model clothing] [--frames 300] [--rounds 5]

Without a film one of 640 x 480 is made: drawn things that move over noise. The ways take turns, and the best round of
each counts: `alone` decodes with PyAV and calls `Predictor.stream`; `watch` gives frames and results; `json` is what
`predict --json` does, and `draw` what `predict --json --draw` does, which also draws, encodes and writes; `encode`
decodes, draws and encodes without any network. The model is loaded before. The processor time of all threads is given
too, the least of all rounds: it says more where the machine does something else.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

import linnet
from linnet.cli.films import Watching, watch_films
from linnet.films.painting import Painter
from linnet.films.reading import Film
from linnet.films.sources import Source
from linnet.films.watching import watch
from linnet.films.writing import FilmWriter
from linnet.machine import processor_name, usable_cores
from linnet.results import Classification


def make_film(path: Path, frames: int) -> None:
    generator = np.random.default_rng(0)
    ground = np.asarray(Image.fromarray(generator.integers(60, 200, (60, 80, 3), dtype=np.uint8)).resize((640, 480)))
    with FilmWriter(path, Fraction(25)) as film:
        for number in range(frames):
            image = Image.fromarray(np.clip(ground + generator.integers(0, 12, ground.shape), 0, 255).astype(np.uint8))
            pen = ImageDraw.Draw(image)
            for place in range(4):
                x, y = (number * (3 + place) + 150 * place) % 600, 60 + 90 * place
                pen.ellipse((x, y, x + 60, y + 60), fill=(60 * place, 200 - 40 * place, 90))
            film.write(np.asarray(image), number / 25)


def alone(path: Path, predictor: linnet.Predictor) -> int:
    def frames() -> Iterator[NDArray[Any]]:
        with av.open(str(path)) as container:
            container.streams.video[0].thread_type = "AUTO"
            for frame in container.decode(video=0):
                yield frame.to_ndarray(format="rgb24")

    return sum(1 for _ in predictor.stream(frames()))


def watched(path: Path, predictor: linnet.Predictor) -> int:
    film = Film(Source(str(path), str(path)))
    try:
        return sum(1 for _ in watch(predictor, film))
    finally:
        film.close()


def told(path: Path, predictor: linnet.Predictor, folder: Path | None) -> int:
    """What the command does once the model is loaded."""
    how = Watching(top=None, draw=folder, every=0.0, track=False, json=True)
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert not watch_films(predictor, [Source(str(path), str(path))], how, set())
    return out.getvalue().count("\n")


def encoded(path: Path, folder: str) -> int:
    film, count = Film(Source(str(path), str(path))), 0
    shoes = Classification(np.array([0.98, 0.02], np.float32), ("shoes", "hat"))
    with FilmWriter(Path(folder) / "plain.mp4", film.rate) as writer, Painter(writer, 16) as painter:
        for frame in film.frames():
            painter.add(frame, shoes)
            count += 1
    film.close()
    return count


def measure(options: argparse.Namespace, folder: str) -> dict[str, Any]:
    path = Path(options.film or f"{folder}/film.mp4")
    if options.film is None:
        make_film(path, options.frames)
    predictor = linnet.load(options.model)
    ways: dict[str, Callable[[], int]] = {
        "alone": lambda: alone(path, predictor),
        "watch": lambda: watched(path, predictor),
        "json": lambda: told(path, predictor, None),
        "draw": lambda: told(path, predictor, Path(folder) / "out"),
        "encode": lambda: encoded(path, folder),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    used: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.rounds):
        for name, way in ways.items():
            begun, spent = time.perf_counter(), time.process_time()
            count = way()
            rates[name].append(count / (time.perf_counter() - begun))
            used[name].append(1e3 * (time.process_time() - spent) / count)
    best = {name: max(values) for name, values in rates.items()}
    return {
        "processor": processor_name(),
        "cores": usable_cores(),
        "model": options.model,
        "frames_per_second": {name: round(value, 1) for name, value in best.items()},
        "ratio_to_alone": {name: round(value / best["alone"], 3) for name, value in best.items()},
        "processor_ms_per_frame": {name: round(min(values), 2) for name, values in used.items()},
        "processor_ratio": {name: round(min(used["alone"]) / min(values), 3) for name, values in used.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("film", nargs="?")
    parser.add_argument("--model", default="clothing")
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="a file for the document too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        text = json.dumps(measure(options, folder), indent=1)
    print(text)
    if options.out is not None:
        options.out.write_text(f"{text}\n")


if __name__ == "__main__":
    main()

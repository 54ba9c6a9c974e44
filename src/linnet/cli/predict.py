"""Says what is on pictures: files, folders and glob patterns.

One table a picture on stdout, or one JSON document. A picture that cannot be read is named on stderr, the others go
on, and the exit code is 1.
"""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tyro

from linnet.catalogue import DEFAULT_MODEL
from linnet.cli.terminal import UsageError, check_least, parse, prepare_folder, print_json, show, table
from linnet.evaluation.accuracy import describe_failure
from linnet.images import decode, find_pictures
from linnet.predictor import load
from linnet.results import Classification
from linnet.runtimes import RuntimeName


@dataclass(frozen=True)
class Options:
    """Options of `linnet predict`."""

    pictures: tyro.conf.Positional[tuple[str, ...]]
    """Picture files, folders of them, or patterns such as 'photos/*.jpg'."""
    model: str = DEFAULT_MODEL
    """A checkpoint file, or a name that `linnet models` lists."""
    top: int = 5
    """Classes to show for each picture."""
    draw: Path | None = None
    """Folder to write the pictures to with their class written on them."""
    runtime: RuntimeName = "auto"
    """What runs the network."""
    threads: int | None = None
    """Cores to use; the runtime decides if this is not given."""
    json: bool = False
    """Print one JSON document instead of tables."""


def main(arguments: list[str]) -> int:
    """Runs the command."""
    options = parse(Options, "predict", __doc__, arguments)
    if not options.pictures:
        print("linnet predict: name at least one picture.", file=sys.stderr)
        return 2
    check_least("--top", options.top, 1)
    check_least("--threads", options.threads, 1)
    files = find_pictures(list(options.pictures))
    if options.draw is not None and options.draw.resolve() in {file.resolve().parent for file in files}:
        raise UsageError(f"--draw '{options.draw}' holds pictures of this run. Name another folder.")
    prepare_folder("--draw", options.draw)
    predictor = load(options.model, runtime=options.runtime, threads=options.threads)
    documents: list[dict[str, Any]] = []
    failed = False
    taken: set[str] = set()
    for file, result in predictor.stream(files):
        if isinstance(result, Exception):
            failed = True
            message = describe_failure(result)
            if options.json:
                documents.append({"file": str(file), "error": message})
            print(f"linnet: {message}", file=sys.stderr)
            continue
        if options.json:
            predictions = [asdict(prediction) for prediction in result.top(options.top)]
            documents.append({"file": str(file), "predictions": predictions})
        else:
            _show(file, result, options.top)
        if options.draw is not None:
            _draw(file, result, options.draw, taken)
    if options.json:
        print_json(documents)
    return int(failed)


def _show(file: Path, result: Classification, top: int) -> None:
    rows = [
        (f"{prediction.score:6.1%}", prediction.label, "█" * round(prediction.score * 20))
        for prediction in result.top(top)
    ]
    show(str(file), table((("score", "right"), ("class", "left"), ("", "left")), rows))


def _draw(file: Path, result: Classification, folder: Path, taken: set[str]) -> None:
    """Writes the picture with its class on a strip under it, readable at any size."""
    from PIL import Image, ImageDraw, ImageFont

    image = decode(file)
    font_size = max(12, min(image.size) // 20)
    strip = round(font_size * 1.8)
    canvas = Image.new("RGB", (image.width, image.height + strip), "white")
    canvas.paste(image)
    draw = ImageDraw.Draw(canvas)
    text = f"{result.score:.0%} {result.label}"
    font = ImageFont.load_default(size=font_size)
    while draw.textlength(text, font=font) > canvas.width - font_size and font_size > 8:
        font_size -= 1
        font = ImageFont.load_default(size=font_size)
    draw.text((font_size // 2, image.height + strip // 2), text, fill="black", font=font, anchor="lm")
    # Pictures of one name from several folders must not overwrite each other.
    name, number = file.stem, 1
    while name in taken:
        number += 1
        name = f"{file.stem}-{number}"
    taken.add(name)
    canvas.save(folder / f"{name}.png")

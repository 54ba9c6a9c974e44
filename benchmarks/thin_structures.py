"""Thin structures: does the default recipe make membranes of two and three pixels come out sharp?

    python benchmarks/thin_structures.py [--kinds plain thin …] [--epochs N] [--out FILE] [--keep DIR]

Slices of 512 x 512 like those of an electron microscope are drawn: cells with curved membranes between them, in the
cells rings and blobs of the same darkness. Twenty are trained on by `linnet train` and its defaults, six are measured.
Given are the IoU of the membrane and the processor time of the whole command, that of the processes which decode
included. Kinds differ in what may go wrong:

    plain      membranes three pixels wide
    thin       two pixels wide
    noisy      two pixels wide, in strong noise
    textures   three pixels wide, between cells of two textures, one striped and one grained, as a third class
    deep-tiff  as `thin`, 12 bits in a TIFF of 16, masks of 0 and 255 without a list of classes
    deep-png   as `plain`, a PNG of 16 bits, masks of 0 and 255
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from linnet.checkpoint import load_checkpoint
from linnet.cli import main as command

SIDE = 512
PARTS = {"train": 20, "test": 6}

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Kind:
    """How slices look and are written.

    Attributes:
        width: of a membrane in pixels.
        noise: deviation of a pixel's grey, of 255.
        textured: whether cells are of two kinds, told apart by their texture alone.
        bits: of a grey value.
        ending: of the picture's file.
        white: whether masks have 0 and 255 and no list names the classes.
    """

    width: float = 3.0
    noise: float = 10.0
    textured: bool = False
    bits: Literal[8, 12, 16] = 8
    ending: str = "png"
    white: bool = False


KINDS = {
    "plain": Kind(),
    "thin": Kind(width=2.0),
    "noisy": Kind(width=2.0, noise=28.0),
    "textures": Kind(textured=True),
    "deep-tiff": Kind(width=2.0, bits=12, ending="tif", white=True),
    "deep-png": Kind(bits=16, ending="png", white=True),
}


def smooth(generator: np.random.Generator, cells: int) -> Floats:
    """(SIDE, SIDE) numbers of deviation 1 that change over `SIDE / cells` pixels."""
    coarse = Image.fromarray(generator.normal(size=(cells + 1, cells + 1)).astype(np.float32))
    return np.asarray(coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def draw_cells(generator: np.random.Generator, count: int = 45) -> tuple[Floats, NDArray[np.int64]]:
    """Of every pixel how far it lies from the nearest border between two cells, and its cell; both (SIDE, SIDE)."""
    rows, columns = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    rows, columns = rows + 9 * smooth(generator, 8), columns + 9 * smooth(generator, 8)
    middles = generator.uniform(-20, SIDE + 20, (count, 2)).astype(np.float32)
    away = np.stack([(rows - y) ** 2 + (columns - x) ** 2 for y, x in middles])  # (count, SIDE, SIDE)
    nearest = np.argpartition(away, 1, axis=0)[:2]
    first, second = np.take_along_axis(away, nearest, axis=0)
    swapped = first > second
    own, other = np.where(swapped, nearest[::-1], nearest)
    between = np.hypot(*np.moveaxis(middles[own] - middles[other], -1, 0))
    return np.abs(second - first) / (2 * np.maximum(between, 1e-3)), own


def draw_slice(generator: np.random.Generator, kind: Kind) -> tuple[Floats, NDArray[np.uint8]]:
    """A slice with values from 0 to 1, and its mask: membranes are class 1, cells of a second texture class 2."""
    border, cell = draw_cells(generator)
    mask = (border < kind.width / 2).astype(np.uint8)
    grey = 168 + 8 * smooth(generator, 20) + 5 * smooth(generator, 90)
    if kind.textured:
        striped = generator.random(cell.max() + 1)[cell] < 0.5
        rows, columns = np.mgrid[:SIDE, :SIDE]
        turn = generator.uniform(0, np.pi)
        stripes = 14 * np.sin((rows * np.sin(turn) + columns * np.cos(turn)) * 2 * np.pi / 7)
        grey += np.where(striped, stripes, 14 * smooth(generator, 150))
        mask[striped & (mask == 0)] = 2
    ink = Image.new("L", (SIDE, SIDE))
    pen = ImageDraw.Draw(ink)
    for _ in range(70):
        x, y, radius = *generator.uniform(0, SIDE, 2), generator.uniform(3, 9)
        corners = (x - radius, y - radius, x + radius, y + radius)
        # Not on a membrane: what is drawn is what the mask says.
        if border[int(y), int(x)] > radius + 5:
            pen.ellipse(corners, outline=255, width=2, fill=255 if generator.random() < 0.4 else None)
    dark = np.maximum(np.asarray(ink, np.float32) / 255, np.clip(kind.width / 2 + 0.5 - border, 0, 1))
    grey = grey + dark * (75 - grey)
    grey = grey * generator.uniform(0.85, 1.15) + generator.normal(0, kind.noise, grey.shape)
    return (grey.clip(0, 255) / 255).astype(np.float32), mask


def write_slices(folder: Path, kind: Kind, seed: int = 0) -> Path:
    """`images` and `masks`, with the parts that `PARTS` has."""
    generator = np.random.default_rng(seed)
    for part, count in PARTS.items():
        for number in range(count):
            values, mask = draw_slice(generator, kind)
            levels = (values * (2**kind.bits - 1)).round().astype(np.uint8 if kind.bits == 8 else np.uint16)
            paths = [folder / "images" / part / f"slice{number:02}.{kind.ending}"]
            paths.append(folder / "masks" / part / f"slice{number:02}.png")
            for path, array in zip(paths, (levels, mask * 255 if kind.white else mask), strict=True):
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(path)
    if not kind.white:
        names = ["cytoplasm", "membrane", *["striped"] * kind.textured]
        (folder / "classes.txt").write_text("".join(f"{name}\n" for name in names))
    return folder


def seconds_spent() -> float:
    """Of the processor, by this process and those that it waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def measure(name: str, folder: Path, flags: list[str]) -> dict[str, Any]:
    data = write_slices(folder / "slices", KINDS[name])
    begun, spent = time.perf_counter(), seconds_spent()
    if command(["train", str(data), "--out", str(folder / "run"), *flags]):
        raise SystemExit(f"The training of {name} failed.")
    score = load_checkpoint(folder / "run" / "checkpoint.safetensors").score
    classes = score["per_class"]
    return {
        "kind": name,
        "membrane_IoU": round(classes[1]["IoU"], 4),
        "membrane_F1": round(classes[1]["F1"], 4),
        "mIoU": round(score["mIoU"], 4),
        "minutes": round((time.perf_counter() - begun) / 60, 2),
        "processor_minutes": round((seconds_spent() - spent) / 60, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--epochs", type=int, help="of training; by default what the recipe decides")
    parser.add_argument("--keep", type=Path, help="a folder for the slices and the runs")
    parser.add_argument("--out", type=Path, help="a file for the document too")
    options = parser.parse_args()
    flags = [] if options.epochs is None else ["--epochs", str(options.epochs)]
    with tempfile.TemporaryDirectory() as temporary:
        rows = []
        for name in options.kinds:
            folder = (options.keep or Path(temporary)) / name
            rows.append(measure(name, folder, flags))
            print(json.dumps(rows[-1]), flush=True)
    if options.out is not None:
        options.out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()

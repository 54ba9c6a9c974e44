"""A first look: the paper's networks priced beside the paper's own numbers, then real photographs classified.

Run by `make demo`. The photographs are scikit-image's samples; the annotated copies go to demo/.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import linnet
from linnet.architecture.cost import block_memory, layerwise_memory
from linnet.catalogue import DEFAULT_MODEL, DOWNLOADS, EMBEDDED, cache_folder, models_in
from linnet.checkpoint import read_header
from linnet.cli import main as run_command
from linnet.cli.terminal import millions, show, size, table

PHOTOGRAPHS = ("chelsea.png", "coffee.png", "astronaut.png", "rocket.jpg")

PRINTED = (
    ("MobileNetV1", linnet.mobilenet_v1(), "4.2 M", "575 M"),
    ("MobileNetV2", linnet.mobilenet_v2(), "3.4 M", "300 M"),
    ("MobileNetV2 1.4", linnet.mobilenet_v2(width=1.4), "6.9 M", "585 M"),
)
"""Table 4 of the paper. 6.9 M is a slip there: no counting of width 1.4 gives more than 6.2 M."""


def price_the_papers_networks() -> None:
    """Prints what Table 4 says beside what the description gives, and what blocks save."""
    columns = (
        ("Table 4 of the paper", "left"),
        ("parameters printed", "right"),
        ("exact", "right"),
        ("multiply-adds printed", "right"),
        ("exact", "right"),
        ("memory layer by layer", "right"),
        ("block by block", "right"),
    )
    rows = []
    for name, architecture, parameters, multiply_adds in PRINTED:
        price = linnet.cost(architecture)
        memory = layerwise_memory(architecture).peak.bytes
        blocks = block_memory(architecture).peak.bytes
        exact = f"{price.parameters:,}"
        rows.append((name, parameters, exact, multiply_adds, millions(price.multiply_adds), size(memory), size(blocks)))
    show(table(columns, rows))


def find_photographs() -> list[Path]:
    """The sample photographs of scikit-image that are installed."""
    try:
        import skimage
    except ModuleNotFoundError:
        return []
    folder = Path(skimage.__file__).parent / "data"
    return [folder / name for name in PHOTOGRAPHS if (folder / name).is_file()]


def choose_model(wanted: str | None) -> str | None:
    """The model named, else the default one, else whatever is embedded or in the cache."""
    if wanted is not None:
        return wanted
    here = models_in(EMBEDDED) | models_in(cache_folder())
    classifiers = [name for name, path in here.items() if read_header(path)["architecture"]["classes"]]
    return DEFAULT_MODEL if DEFAULT_MODEL in classifiers else next(iter(classifiers), None)


def main() -> int:
    """Runs the demonstration."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="a checkpoint file, or a name that `linnet models` lists")
    arguments = parser.parse_args()
    price_the_papers_networks()
    photographs = find_photographs()
    model = choose_model(arguments.model)
    if not photographs:
        print("The photographs come with scikit-image: pip install 'linnet[demo]'.", file=sys.stderr)
        return 1
    if model is None:
        name, entry = next(iter(DOWNLOADS.items()))
        print("There are no weights on this machine yet. Two ways to get some:")
        print(
            f"  make demo MODEL={name}    downloads {entry.size_bytes / 1e6:.1f} MB ({entry.licence}) and converts them"
        )
        print("  .venv/bin/linnet convert mobilenet_v2.tflite --out mine.safetensors; make demo MODEL=mine.safetensors")
        return 0
    start = time.perf_counter()
    code = run_command(["predict", *map(str, photographs), "--model", model, "--top", "3", "--draw", "demo"])
    if code == 0:
        seconds = time.perf_counter() - start
        print(f"{len(photographs)} photographs with {model} in {seconds:.2f} s; annotated copies in demo/")
    return code


if __name__ == "__main__":
    sys.exit(main())

"""Runs the test vectors of a file and says whether it computes here what it did where it was written.

What `linnet export` writes carries three pictures and their outputs; its own runtime runs them. A C file and the folder
of --format engine are compiled for that by the C compiler of this machine, and a page is run with Node.js. Of a
checkpoint the digest is checked, and the runtime that `linnet predict` would take is compared with the numpy
reference. A file that computes something else ends the command with 1.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from linnet.catalogue import find_model
from linnet.checkpoint import Checkpoint, load_checkpoint
from linnet.cli.terminal import check_least, parse, print_json, show
from linnet.export.shipped import Shipped, ShippedRuntime, format_to_verify, open_exported
from linnet.export.vectors import FLOAT_ALLOWED, Vectors, sample_pictures
from linnet.predictor import Predictor


@dataclass(frozen=True)
class Options:
    """Options of `linnet verify`."""

    file: tyro.conf.Positional[str]
    """The file: what `linnet export` wrote, a file or a folder; a checkpoint, or a name that `linnet models` lists."""
    threads: int | None = None
    """The number of threads. The default is what the runtime chooses."""
    json: bool = False
    """Print one JSON document instead of text."""


def main(arguments: list[str]) -> int:
    """Runs the command."""
    options = parse(Options, "verify", __doc__, arguments)
    check_least("--threads", options.threads, 1)
    start = time.perf_counter()
    try:
        path = find_model(options.file)
    except IsADirectoryError:
        path = Path(options.file)
    exported = format_to_verify(path)
    if exported is None:
        runtime, vectors, found = _of_checkpoint(load_checkpoint(path), options.threads)
    else:
        runtime, vectors, found = _of_exported(open_exported(path, exported), options.threads)
    difference, equal = vectors.compare(found)
    passed = difference <= vectors.allowed
    seconds = time.perf_counter() - start
    if options.json:
        print_json(
            {
                "file": str(path),
                "runtime": runtime,
                "pictures": len(vectors.pictures),
                "largest_difference": difference,
                "allowed": vectors.allowed,
                "equal": equal,
                "passed": passed,
                "seconds": seconds,
            }
        )
    else:
        said = "equal to the bit" if equal else f"{difference:.1e} of the largest output, {vectors.allowed:.1e} may be"
        show(
            f"{path}: {len(vectors.pictures)} pictures in {runtime}, {seconds:.2f} s",
            f"{'as it was written' if passed else 'it computes something else here'}: {said}",
        )
    return int(not passed)


def _of_exported(shipped: Shipped, threads: int | None) -> tuple[str, Vectors, Any]:
    """The runtime, what the file has to give, and what it gives."""
    vectors = shipped.contract.vectors
    if vectors is None:
        raise ValueError(
            f"'{shipped.path}' has no test vectors: linnet did not write it, or could not run it where it did. "
            "`linnet export` writes them."
        )
    network = ShippedRuntime(shipped, threads).network
    found = network.compute(network.prepare(vectors.pictures))
    return shipped.runtime.name, vectors, shipped.contract.canonical(found)


def _of_checkpoint(checkpoint: Checkpoint, threads: int | None) -> tuple[str, Vectors, Any]:
    """The runtime, what the reference gives, and what the runtime gives."""
    if checkpoint.preprocessing is None:
        raise ValueError(
            "The file is whole. It takes other channels than pictures have: there is nothing to run it on."
        )
    predictor, reference = Predictor(checkpoint, threads=threads), Predictor(checkpoint, runtime="numpy")
    allowed = FLOAT_ALLOWED if checkpoint.quantisation is None or checkpoint.quantisation.floating else 0.0
    pictures = sample_pictures(checkpoint.architecture, checkpoint.preprocessing)
    expected, found = (
        outputs if isinstance(outputs := each.forward(pictures), tuple) else (outputs,)
        for each in (reference, predictor)
    )
    return predictor.runtime, Vectors.of(pictures, expected, allowed), found

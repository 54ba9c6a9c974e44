"""What each step of quantising after training gives on one network: a document for `linnet paper eight-bits`.

    python benchmarks/eight_bits.py clothing clothing/ --title "clothing, MobileNetV2 1.0" \
        --out docs/experiments/eight-bits/clothing.json

The network is quantised in every way of `METHODS` with the same pictures, and measured beside the float one on the same
others. A quantised MODEL is dequantised first: with its own float weights nobody can say what they were.
"""

from __future__ import annotations

import argparse
import datetime
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from linnet.architecture import Convolve
from linnet.catalogue import find_model
from linnet.checkpoint import Checkpoint, load_checkpoint, write_atomically
from linnet.engine.fold import fold
from linnet.machine import processor_name
from linnet.paper.eight_bits import METHODS
from linnet.predictor import Predictor
from linnet.quantisation.post_training.measuring import RunOptions, compare, measure, readable
from linnet.quantisation.post_training.observation import observe
from linnet.quantisation.post_training.pictures import choose_pictures
from linnet.quantisation.post_training.quantising import Method, Quantiser

OUTPUT_PICTURES = 32

FEW_STEPS = 4
"""A channel whose largest weight has fewer steps than these of one scale for all is nearly gone."""


def method_of(name: str) -> Method:
    """The method of a row of the page."""
    row = METHODS[name]
    return Method(
        ways=row.ways, equalises=row.equalises, corrects=row.corrects, per_tensor=row.per_tensor
    )  # fmt: skip


def spread_of(checkpoint: Checkpoint) -> dict[str, float]:
    """How unequal the channels of the depthwise weights are, batch norm folded."""
    graph, tensors = fold(checkpoint.architecture, checkpoint.tensors)
    largest = [
        np.abs(tensors[f"{each.label}.weight"]).max(axis=(1, 2, 3))
        for each in graph.operations
        if isinstance(each, Convolve) and each.depthwise
    ]
    few = sum(int((channels < FEW_STEPS * channels.max() / 127).sum()) for channels in largest)
    return {
        "largest_to_median": float(
            np.median([channels.max() / max(np.median(channels), 1e-30) for channels in largest])
        ),
        "largest_to_median_worst": float(max(channels.max() / max(np.median(channels), 1e-30) for channels in largest)),
        "few_steps": few / sum(len(channels) for channels in largest),
    }


def outputs_of(predictor: Predictor, pixels: Any) -> Any:
    """All outputs of some pictures, flat."""
    outputs = predictor.forward(pixels)
    parts = outputs if isinstance(outputs, tuple) else (outputs,)
    return np.concatenate([part.ravel() for part in parts]).astype(np.float64)


def main() -> None:
    """Measures one network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("data", type=Path)
    parser.add_argument("--title", required=True)
    parser.add_argument("--pictures", type=int, default=512)
    parser.add_argument("--limit", type=int, help="measure on at most so many pictures")
    parser.add_argument("--runtime", default="auto")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    checkpoint = load_checkpoint(find_model(given.model)).dequantised()
    choice = choose_pictures(given.data, checkpoint, given.pictures)
    if choice.measuring is None:
        raise SystemExit(f"{given.data}: {' '.join(choice.notes)}")
    samples = choice.measuring[: given.limit]
    options = RunOptions(given.runtime)
    before = options.load(checkpoint)
    observed = observe(checkpoint, choice.calibrating, runtime=given.runtime)
    figures = measure(before, samples, batch=8, progress=lambda done: None)
    pixels = np.stack(list(readable([sample.picture for sample in samples], before, OUTPUT_PICTURES)))
    wanted = outputs_of(before, pixels)
    rows = {}
    for name in METHODS:
        start = time.perf_counter()
        after = options.load(Quantiser(checkpoint, observed, method_of(name)).network().checkpoint)
        measured = compare(figures, measure(after, samples, batch=8, progress=lambda done: None))
        (difference,) = (each for each in measured.differences if each.name == figures.headline)
        noise = np.square(outputs_of(after, pixels) - wanted).sum()
        rows[name] = {
            "value": difference.ours,
            "difference": difference.value,
            "difference_95": difference.interval,
            "same": measured.same,
            "same_95": measured.same_interval,
            "sqnr_db": float(10 * np.log10(np.square(wanted).sum() / noise)),
        }
        print(
            f"{name}: {difference.sentence} {measured.same:.1%} equal, {time.perf_counter() - start:.0f} s",
            file=sys.stderr,
        )
    sure = figures.with_intervals().to_json()
    document = {
        "title": given.title,
        "figure": figures.headline,
        "float": sure[figures.headline],
        "float_95": sure[f"{figures.headline}_95"],
        "images": figures.images,
        "measured_on": choice.where,
        "calibrated_on": observed.pictures,
        "spread": spread_of(checkpoint),
        "methods": rows,
        "processor": processor_name(),
        "date": datetime.date.today().isoformat(),
    }
    given.out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(given.out, (json.dumps(document, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()

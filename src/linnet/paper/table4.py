"""Table 4: parameters and multiply-adds beside the printed ones, and the time on this machine."""

from __future__ import annotations

import statistics
import time
from dataclasses import replace

import numpy as np

from linnet.architecture import Architecture, Detector, MobileNetV1, MobileNetV2
from linnet.architecture.cost import cost
from linnet.checkpoint import Checkpoint
from linnet.images import Preprocessing
from linnet.paper.page import Page, PaperTable, difference
from linnet.predictor import Predictor

TITLE = "Table 4: size and time on ImageNet networks"

# Top-1, parameters and multiply-adds in millions, milliseconds on one large core of a Pixel 1; as printed.
PRINTED: tuple[tuple[str, Architecture, float, float, float, float], ...] = (
    ("MobileNetV1", MobileNetV1(), 70.6, 4.2, 575, 113),
    ("MobileNetV2", MobileNetV2(), 72.0, 3.4, 300, 75),
    ("MobileNetV2 (1.4)", MobileNetV2(width=1.4), 74.7, 6.9, 585, 143),
)

ROUNDS = 9


def make() -> Page:
    """Costs from the description; times of one picture on one thread, interleaved, with random weights."""
    predictors = [Predictor(random_checkpoint(architecture), threads=1) for _, architecture, *_ in PRINTED]
    times: list[list[float]] = [[] for _ in PRINTED]
    for number in range(ROUNDS + 1):
        for predictor, taken in zip(predictors, times, strict=True):
            seconds = _seconds(predictor)
            # The first round warms up.
            taken += [1000 * seconds] * bool(number)
    rows, document = [], []
    for (name, architecture, top1, parameters, multiply_adds, pixel), taken in zip(PRINTED, times, strict=True):
        price = cost(architecture)
        rows.append(
            (
                name,
                f"{top1}",
                f"{parameters} M",
                f"{price.parameters:,}",
                difference(price.parameters / 1e6, parameters),
                f"{multiply_adds:g} M",
                f"{price.multiply_adds:,}",
                difference(price.multiply_adds / 1e6, multiply_adds),
                f"{pixel:g}",
                f"{statistics.median(taken):.1f}",
            )
        )
        document.append(
            {
                "network": name,
                "parameters": price.parameters,
                "multiply_adds": price.multiply_adds,
                "median_ms": statistics.median(taken),
                "min_ms": min(taken),
            }
        )
    headings = (
        "network",
        "top-1 printed",
        "parameters printed",
        "exact",
        "",
        "multiply-adds printed",
        "exact",
        "",
        "Pixel 1 ms",
        "here ms",
    )
    return Page(
        "table4",
        TITLE,
        f"Costs are derived from the description. 'Here' is the median of {ROUNDS} interleaved runs of one picture on "
        f"one thread with the {predictors[0].runtime} runtime, normalisation included. ShuffleNet and NASNet are not "
        "part of linnet.",
        PaperTable(headings, rows),
        notes=(
            "3.4 M counts no batch norm (3.47 M); 3.50 M counts scale and shift.",
            "6.9 M and 585 M for width 1.4 are slips: no way of counting gives more than 6.2 M, and the released "
            "network costs 582 M.",
            "575 M for MobileNetV1 is 569 M everywhere else.",
        ),
        document={"runtime": predictors[0].runtime, "threads": 1, "batch": 1, "rows": document},
    )


def random_checkpoint(architecture: Architecture) -> Checkpoint:
    """A folded network with random weights, for timing: the time does not depend on them.

    It takes pictures if it has one or three channels.
    """
    folded = replace(architecture, folded=True)
    generator = np.random.default_rng(0)
    tensors = {
        name: (generator.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)
        for name, shape in folded.tensors.items()
    }
    contract = Preprocessing(
        size=folded.input_size, resize="squash" if isinstance(folded, Detector) else "shorter_side"
    )
    if folded.input_channels == 1:
        contract = replace(contract, colours="grey", mean=(0.5,), std=(0.5,))
    return Checkpoint(folded, contract if folded.input_channels in (1, 3) else None, tensors)


def _seconds(predictor: Predictor) -> float:
    pixels = np.zeros((1, *predictor.preprocessing.size, 3), np.uint8)
    start = time.perf_counter()
    predictor.forward(pixels)
    return time.perf_counter() - start

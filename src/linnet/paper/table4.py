"""Table 4: parameters and multiply-adds beside the printed ones, and the time on this machine."""

from __future__ import annotations

import statistics
from typing import Any

from linnet.architecture import Architecture, MobileNetV1, MobileNetV2
from linnet.architecture.cost import cost
from linnet.paper.page import Page, PaperTable, difference
from linnet.paper.prose import read
from linnet.paper.timing import ROUNDS, interleaved_times

# Top-1, parameters and multiply-adds in millions, milliseconds on one large core of a Pixel 1; as printed.
PRINTED: tuple[tuple[str, Architecture, float, float, float, float], ...] = (
    ("MobileNetV1", MobileNetV1(), 70.6, 4.2, 575, 113),
    ("MobileNetV2", MobileNetV2(), 72.0, 3.4, 300, 75),
    ("MobileNetV2 (1.4)", MobileNetV2(width=1.4), 74.7, 6.9, 585, 143),
)

# Networks that linnet does not have.
OTHERS: tuple[tuple[str, float, float, float, float | None], ...] = (
    ("ShuffleNet (1.5)", 71.5, 3.4, 292, None),
    ("ShuffleNet (x2)", 73.7, 5.4, 524, None),
    ("NASNet-A", 74.0, 5.3, 564, 183),
)


def make() -> Page:
    """Costs from the description; times of one picture on one thread, interleaved, with random weights."""
    runtime, times = interleaved_times([architecture for _, architecture, *_ in PRINTED])
    rows: list[tuple[str, ...]] = [
        (name, f"{top1}", f"{size} M", "not in linnet", "", f"{work:g} M", "not in linnet", "", _ms(pixel), "-")
        for name, top1, size, work, pixel in OTHERS
    ]
    document: list[dict[str, Any]] = []
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
    words = read("table4", rounds=ROUNDS, runtime=runtime)
    return Page(
        "table4",
        words.title,
        words.text,
        (PaperTable(headings, rows),),
        finding=(
            f"MobileNetV2 takes {document[1]['median_ms'] / document[0]['median_ms']:.2f} of MobileNetV1's time here, "
            f"and {PRINTED[1][-1] / PRINTED[0][-1]:.2f} on the Pixel, for "
            f"{document[1]['multiply_adds'] / document[0]['multiply_adds']:.2f} of its multiply-adds."
        ),
        notes=words.notes,
        document={"runtime": runtime, "threads": 1, "batch": 1, "rows": document},
    )


def _ms(pixel: float | None) -> str:
    return "-" if pixel is None else f"{pixel:g}"

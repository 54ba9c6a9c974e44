"""Table 6: whole detectors, parameters and multiply-adds beside the printed ones, and the time on this machine."""

from __future__ import annotations

import statistics

from linnet.architecture import SSDLite
from linnet.architecture.cost import cost
from linnet.architecture.ssdlite import ssdlite
from linnet.paper.page import Page, PaperTable, difference
from linnet.paper.prose import read
from linnet.paper.timing import ROUNDS, interleaved_times

# mAP, parameters in millions, multiply-adds in billions, milliseconds on one large core of a Pixel 1; as printed.
OURS: tuple[tuple[str, SSDLite, float, float, float, float], ...] = (
    ("MobileNetV1 + SSDLite", ssdlite(backbone="mobilenet_v1", resolution=320, classes=80), 22.2, 5.1, 1.3, 270),
    ("MobileNetV2 + SSDLite", ssdlite(backbone="mobilenet_v2", resolution=320, classes=80), 22.1, 4.3, 0.8, 200),
)
# Networks that linnet does not have; the paper took their numbers from the YOLO9000 paper.
OTHERS = (("SSD300", 23.2, 36.1, 35.2), ("SSD512", 26.8, 36.1, 99.5), ("YOLOv2", 21.6, 50.7, 17.5))


def make(*, rounds: int = ROUNDS) -> Page:
    """Costs from the description; times of one picture on one thread, interleaved, with random weights."""
    runtime, times = interleaved_times([detector for _, detector, *_ in OURS], rounds)
    rows = [
        (name, f"{score}", f"{size} M", "not in linnet", "", f"{work} B", "not in linnet", "", "-", "-")
        for name, score, size, work in OTHERS
    ]
    document = []
    for (name, detector, score, size, work, pixel), taken in zip(OURS, times, strict=True):
        price = cost(detector)
        median = statistics.median(taken)
        rows.append(
            (
                name,
                f"{score}",
                f"{size} M",
                f"{price.parameters:,}",
                difference(price.parameters / 1e6, size),
                f"{work} B",
                f"{price.multiply_adds:,}",
                difference(price.multiply_adds / 1e9, work),
                f"{pixel:g}",
                f"{median:.1f}",
            )
        )
        document.append(
            {
                "network": name,
                "parameters": price.parameters,
                "multiply_adds": price.multiply_adds,
                "median_ms": median,
                "min_ms": min(taken),
            }
        )
    first, second = (statistics.median(taken) for taken in times)
    words = read(
        "table6",
        rounds=rounds,
        runtime=runtime,
        ratio_there=OURS[0][-1] / OURS[1][-1],
        ratio_here=first / second,
        **_numbers(),
    )
    return Page(
        "table6",
        words.title,
        words.text,
        (PaperTable(_HEADINGS, rows),),
        notes=words.notes,
        document={"runtime": runtime, "threads": 1, "batch": 1, "rows": document},
    )


_HEADINGS = (
    "network",
    "mAP printed",
    "parameters printed",
    "exact",
    "",
    "multiply-adds printed",
    "exact",
    "",
    "Pixel 1 ms",
    "here ms",
)


def _numbers() -> dict[str, object]:
    """What the notes say in numbers."""
    scores = {name: score for name, score, *_ in OTHERS} | {name: score for name, _, score, *_ in OURS}
    ranked = sorted(scores.items(), key=lambda entry: -entry[1])
    name, detector, score, *_ = OURS[1]
    better = [f"{other} ({points})" for other, points in ranked if points > score]
    worse = [f"{other} ({points})" for other, points in ranked if points < score]
    price = cost(detector)
    _, _, size, work = OTHERS[2]
    released = SSDLite()
    return {
        "name": name,
        "score": score,
        "better": ", ".join(better),
        "worse": ", ".join(worse),
        "times_cheaper": 1e9 * work / price.multiply_adds,
        "times_smaller": 1e6 * size / price.parameters,
        "released_side": released.input_size[0],
        "released_classes": released.classes,
        "released_parameters": cost(released).parameters,
        "released_multiply_adds": cost(released).multiply_adds,
    }

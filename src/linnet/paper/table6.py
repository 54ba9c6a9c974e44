"""Table 6: whole detectors, parameters and multiply-adds beside the printed ones, and the time on this machine."""

from __future__ import annotations

import statistics

from linnet.architecture import SSDLite
from linnet.architecture.cost import cost
from linnet.architecture.ssdlite import ssdlite
from linnet.paper.page import Page, PaperTable, difference
from linnet.paper.timing import ROUNDS, interleaved_times

TITLE = "Table 6: detectors on COCO"

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
    return Page(
        "table6",
        TITLE,
        "A detector with MobileNetV2 and SSDLite heads needs a small part of the parameters and multiply-adds of the "
        "large ones. Costs are derived from the description: 320 x 320 pixels, 80 classes and the background. The "
        "mAP is the paper's, on COCO's test-dev: linnet has not trained on COCO. 'Here' is the median of "
        f"{rounds} interleaved runs of one picture on one thread with the {runtime} runtime, normalisation included, "
        "the choice of the boxes not. MobileNetV1's detector takes "
        f"{OURS[0][-1] / OURS[1][-1]:.2f} times as long as MobileNetV2's on the Pixel and {first / second:.2f} times "
        "here. SSD300, SSD512 and YOLOv2 stand as printed: linnet has no such networks.",
        (PaperTable(_HEADINGS, rows),),
        notes=_notes(),
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


def _notes() -> tuple[str, ...]:
    scores = {name: score for name, score, *_ in OTHERS} | {name: score for name, _, score, *_ in OURS}
    ranked = sorted(scores.items(), key=lambda entry: -entry[1])
    name, detector, score, *_ = OURS[1]
    better = [f"{other} ({points})" for other, points in ranked if points > score]
    worse = [f"{other} ({points})" for other, points in ranked if points < score]
    price = cost(detector)
    _, _, size, work = OTHERS[2]
    released = SSDLite()
    return (
        f"The text calls {name} the most accurate of the three, but by its own table ({score}) it comes after "
        f"{', '.join(better)}; it beats {', '.join(worse)} alone.",
        "'20 times more efficient and 10 times smaller than YOLOv2': "
        f"{1e9 * work / price.multiply_adds:.1f} and {1e6 * size / price.parameters:.1f} times by our counts.",
        f"The released configuration has {released.input_size[0]} pixels and {released.classes} classes: "
        f"{cost(released).parameters:,} parameters, {cost(released).multiply_adds:,} multiply-adds.",
    )

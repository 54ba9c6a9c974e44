"""Table 3: the largest tensor that has to exist whole at each size, in 16 bits."""

from __future__ import annotations

from linnet.architecture import MobileNetV1, MobileNetV2
from linnet.architecture.cost import materialised
from linnet.paper.page import Page, PaperTable, difference
from linnet.paper.prose import read

# Side → channels and kilobytes as printed on arXiv: MobileNetV1, MobileNetV2, ShuffleNet (2x, g = 3).
PRINTED = {
    112: ((64, 1600), (16, 400), (32, 800)),
    56: ((128, 800), (32, 200), (48, 300)),
    28: ((256, 400), (64, 100), (400, 600)),
    14: ((512, 200), (160, 62), (800, 310)),
    7: ((1024, 199), (320, 32), (1600, 156)),
    1: ((1024, 2), (1280, 2), (1600, 3)),
}
MAXIMA = (1600, 400, 600)


def make() -> Page:
    """Ours beside the printed entries, channels / kilobytes of 1000 bytes."""
    ours = []
    for architecture in (MobileNetV1(), MobileNetV2()):
        found = {}
        for row, count in materialised(architecture, bytes_per_element=2):
            found[row.output[0] if len(row.output) == 3 else 1] = (row.output[-1], count / 1000)
        ours.append(found)
    rows, document = [], []
    for side, (first, second, shuffle) in PRINTED.items():
        cells = [
            cell
            for printed, found in zip((first, second), ours, strict=True)
            for cell in (_cell(printed), _cell(found[side]), difference(found[side][1], printed[1]))
        ]
        rows.append((f"{side} x {side}", *cells, _cell(shuffle)))
        document.append({"side": side, "mobilenet_v1": list(ours[0][side]), "mobilenet_v2": list(ours[1][side])})
    largest = [max(count for _, count in found.values()) for found in ours]
    most = [
        cell
        for printed, count in zip(MAXIMA, largest, strict=False)
        for cell in (f"{printed:g}", f"{count:.1f}", difference(count, printed))
    ]
    rows.append(("max", *most, f"{MAXIMA[2]:g}"))
    headings = ("size", "V1 printed", "V1 ours", "", "V2 printed", "V2 ours", "", "ShuffleNet printed")
    words = read("table3")
    return Page(
        "table3",
        words.title,
        words.text,
        (PaperTable(headings, rows),),
        notes=words.notes,
        document={"bytes_per_element": 2, "rows": document},
    )


def _cell(entry: tuple[float, float]) -> str:
    channels, kilobytes = entry
    return f"{channels:g} / {round(kilobytes, 1):g}"

"""Table 3: the largest tensor that has to exist whole at each size, in 16 bits."""

from __future__ import annotations

from linnet.architecture import MobileNetV1, MobileNetV2
from linnet.architecture.cost import materialised
from linnet.paper.page import Page, PaperTable, difference

TITLE = "Table 3: what has to be materialised"

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
    return Page(
        "table3",
        TITLE,
        "Channels / kilobytes of the largest single tensor at each size, 16 bits an element, and how far our kilobytes "
        "are from the printed ones. A block of MobileNetV2 is "
        "one operation: its wide inner tensors never exist whole, so only the thin ones count.",
        (PaperTable(headings, rows),),
        notes=(
            "At 56, 28 and 14 the printed entries of MobileNetV2 are the width of the next row of table 2; the widest "
            "tensors that live there have 24, 32 and 96 channels.",
            "MobileNetV1 at 7 x 7: 1024 x 49 x 2 bytes are 100 kB, not 199.",
            "Printed is the version on arXiv. That of the conference has 1 / O(1) in the row of 112 x 112, where the "
            "block can be split (section 5.1), and so maxima of 800, 200 and 600.",
            "The printed kilobytes are cut or rounded: 2 for 2.6 at 1 x 1.",
            "ShuffleNet with factor 2 and 3 groups has 480, 960 and 1920 channels; the printed 400, 800 and 1600 are "
            "those of 2 groups.",
            "ShuffleNet at 112 x 112 needs 800 kB, but the printed maximum is 600. Its block is not part of linnet.",
            "The unit 'Kb' of the paper is the kilobyte.",
        ),
        document={"bytes_per_element": 2, "rows": document},
    )


def _cell(entry: tuple[float, float]) -> str:
    channels, kilobytes = entry
    return f"{channels:g} / {round(kilobytes, 1):g}"

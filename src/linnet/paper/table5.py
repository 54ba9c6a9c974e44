"""Table 5: what the heads of SSD and SSDLite cost, regular against separable convolutions."""

from __future__ import annotations

from collections.abc import Iterable

from linnet.architecture import SSD, Detector, SSDLite
from linnet.architecture.cost import LayerCost, cost
from linnet.architecture.ssdlite import released_backbone
from linnet.paper.page import Page, PaperTable, difference
from linnet.paper.prose import read

RESOLUTION = 320
CLASSES = 80

# Parameters in millions, multiply-adds in billions; as printed.
PRINTED: tuple[tuple[type[Detector], float, float], ...] = ((SSD, 14.8, 1.25), (SSDLite, 2.1, 0.35))

PARTS = ("extra levels", "box heads", "class heads")


def make() -> Page:
    """The heads alone, with the extra levels that they stand on, and what they are made of."""
    rows, parts, ways, document = [], [], [], []
    for kind, printed_parameters, printed_multiply_adds in PRINTED:
        detector = described(kind, CLASSES)
        heads = head_costs(detector)
        parameters, multiply_adds = _sums(heads)
        rows.append(
            (
                kind.__name__,
                f"{printed_parameters} M",
                f"{parameters:,}",
                difference(parameters / 1e6, printed_parameters),
                f"{printed_multiply_adds} B",
                f"{multiply_adds:,}",
                difference(multiply_adds / 1e9, printed_multiply_adds),
            )
        )
        for part in PARTS:
            numbers = _sums(row for row in heads if _part(row) == part)
            parts.append((f"{kind.__name__}: {part}", *(f"{number:,}" for number in numbers)))
        ways += _ways(kind, printed_multiply_adds)
        document.append({"heads": kind.__name__, "parameters": parameters, "multiply_adds": multiply_adds})
    words = read("table5", resolution=RESOLUTION, **_numbers())
    return Page(
        "table5",
        words.title,
        words.text,
        (
            PaperTable(_HEADINGS, rows),
            PaperTable(("part", "parameters", "multiply-adds"), parts, "Where it goes"),
            PaperTable(("heads, way of counting", "billions", "printed", ""), ways, "Ways of counting"),
        ),
        notes=words.notes,
        document={"resolution": RESOLUTION, "classes": CLASSES, "rows": document},
    )


def described(kind: type[Detector], classes: int = CLASSES) -> Detector:
    """A detector as Table 5 counts it: heads of 3x3 convolutions on the released backbone."""
    return kind(backbone=released_backbone(resolution=RESOLUTION), classes=classes, head_kernel=3)


def head_costs(detector: Detector) -> tuple[LayerCost, ...]:
    """The rows of a detector's cost that are not its backbone's: extra levels and predictors."""
    return tuple(row for row in cost(detector).layers if row.name.startswith(("extras.", "predictors.")))


_HEADINGS = ("heads", "parameters printed", "exact", "", "multiply-adds printed", "exact", "")


def _part(row: LayerCost) -> str:
    return PARTS[0] if row.name.startswith("extras.") else PARTS[1 if ".boxes" in row.name else 2]


def _sums(rows: Iterable[LayerCost]) -> tuple[int, int]:
    rows = list(rows)
    return sum(row.parameters for row in rows), sum(row.multiply_adds for row in rows)


def _ways(kind: type[Detector], printed: float) -> list[tuple[str, str, str, str]]:
    """The printed multiply-adds beside other ways of counting: without background, and as single operations."""
    rows = []
    for classes in (CLASSES, CLASSES - 1):
        counted = _sums(head_costs(described(kind, classes)))[1] / 1e9
        for operations, what in ((1, "multiply-adds"), (2, "operations, two a multiply-add")):
            name = f"{kind.__name__}, {1 + classes} outputs, {what}"
            ours = operations * counted
            rows.append((name, f"{ours:.4f}", f"{printed}", difference(ours, printed)))
    return rows


def _numbers() -> dict[str, object]:
    """What the notes say in numbers."""
    heads = _sums(head_costs(described(SSDLite)))[1]
    whole = cost(described(SSDLite)).multiply_adds
    regular = _sums(head_costs(described(SSD)))[1]
    backbone = whole - heads
    bare = _sums(head_costs(described(SSD, CLASSES - 1)))[0]
    return {
        "heads": heads / 1e9,
        "doubled": 2 * heads / 1e9,
        "backbone": backbone / 1e9,
        "whole": whole / 1e9,
        "as_printed": backbone / 1e9 + 0.35,
        "ratio": regular / heads,
        "printed_ratio": 1.25 / 0.35,
        "classes": CLASSES,
        "with_background": CLASSES + 1,
        "bare": bare / 1e6,
    }

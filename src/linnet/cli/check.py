"""Looks for errors and oddities in a data set before a training meets them.

DATA is a folder of class folders (with or without train, validation and test folders above them), a folder with a
labels.csv, Parquet, or WebDataset shards; or pictures with boxes: a COCO json, or a folder with COCO, VOC or YOLO
annotations; or pictures with masks. What is found is listed with file names: broken files, copies in several parts,
contradictory labels, missing classes, and tiny, huge or rotated pictures; boxes without an area, outside their
pictures, of unknown classes, shifted or doubled; masks with values that are no class, of another size than their
pictures, with smoothed edges, or empty. The exit code is 1 if there are errors.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import tyro

from linnet.cli.terminal import UsageError, bars, check_least, parse, print_json, progress, show, table
from linnet.data import find
from linnet.data.checks.findings import BoxFindings, Findings, Severity
from linnet.data.checks.pictures import counted
from linnet.data.recognition import FormatName, UnusedImagesError
from linnet.data.sources import locate
from linnet.tasks import TASKS
from linnet.tasks.task import CheckOptions

MOST_CLASSES = 40
"""Rows of the table; of more classes only the largest and the smallest ones are shown."""


@dataclass(frozen=True)
class Options:
    """Options of `linnet check`."""

    data: tyro.conf.Positional[Path]
    """The data set: class folders, a folder with a labels.csv, Parquet, WebDataset shards, or pictures with boxes or
    masks."""
    format: FormatName | None = None
    """The format of the data. The default is to recognise it."""
    images: Path | None = None
    """The folder with the pictures of a COCO json or of VOC files, if it does not lie beside them."""
    task: Literal["classification", "detection", "segmentation"] | None = None
    """What the data are to show, where they can show several: of a COCO json with polygons, `segmentation` makes masks
    where boxes are the default."""
    ignore: str | None = None
    """Of masks, a value or the name of a class whose pixels are neither learnt nor counted, beside 255."""
    resolution: int | None = None
    """The side of the network's input in pixels. With it, pictures and boxes that are too small for it are reported."""
    variant: Literal["tensorflow", "modern"] | None = None
    """The variant of a detector with whose anchors the objects are compared: the released one, or the one for small
    data and small objects. For pictures with boxes."""
    limit: int | None = None
    """The number of pictures to decode, drawn at random. The default is all of them."""
    threads: int | None = None
    """The number of pictures to decode at once. The default depends on their size and on the cores."""
    json: bool = False
    """Print one JSON document, which has all file names, instead of tables."""


def main(arguments: list[str]) -> int:
    """Runs the command."""
    options = parse(Options, "check", __doc__, arguments)
    for flag in ("resolution", "limit", "threads"):
        check_least(f"--{flag}", getattr(options, flag), 1)
    start = time.perf_counter()
    findings = _check(options)
    if options.json:
        print_json({"data": str(locate(options.data))} | findings.to_json())
    else:
        _show(findings, time.perf_counter() - start)
    return int(bool(findings.of("error")))


def _check(options: Options) -> Findings:
    try:
        data = find(
            options.data, format=options.format, images=options.images, task=options.task, ignore=options.ignore
        ).for_training()
    except UnusedImagesError as error:
        raise UsageError(str(error)) from None
    task = TASKS[data.task]
    if options.variant is not None and task.variant is None:
        raise UsageError(f"--variant is for pictures with boxes; '{data.path}' has {task.labels}.")
    total = sum(map(len, data.parts.values()))
    with progress(min(total, options.limit or total), "checking") as advance:
        looked = CheckOptions(options.resolution, options.variant or task.variant, options.limit, options.threads)
        return task.check(data, looked, advance)


def _show(findings: Findings, seconds: float) -> None:
    parts = list(findings.counts)
    # The first part is training; the largest class comes first.
    numbered = zip(findings.counts[parts[0]], findings.classes, range(len(findings.classes)), strict=True)
    ranked = sorted(numbered, key=lambda row: (-row[0], row[1]))
    rows = [[name, *(findings.amount(part, index) for part in parts)] for _, name, index in ranked]
    if len(rows) > MOST_CLASSES:
        rows = [*rows[:10], [f"… {len(rows) - 20:,} classes …", *([""] * len(parts))], *rows[-10:]]
    rows += findings.totals()
    show(table((("class", "left"), *((part, "right") for part in parts)), rows))
    if isinstance(findings, BoxFindings):
        _show_boxes(findings)
    show(f"Pixels of the shorter side: {_spread(findings.shorter)}; of the longer: {_spread(findings.longer)}.")
    for severity in get_args(Severity):
        for problem in findings.of(severity):
            show("", f"{severity}: {problem.sentence}", *(f"    {line}" for line in problem.first_lines()))
    show("", f"{_scope(findings)} checked in {seconds:.1f} s: {_verdict(findings)}.")


def _show_boxes(findings: BoxFindings) -> None:
    listed = ", ".join(f"{count:,} for {part}" for part, count in findings.listed.items())
    show(f"Objects of {findings.format} in {counted(findings.pictures, 'picture')}: {listed}.")
    if not findings.coverage:
        return
    columns = ("class", "objects", "side, px", "matched", "misshapen", "mean IoU", "objects by IoU, 0 to 1")
    rows = [
        (
            entry.name,
            f"{entry.objects:,}",
            f"{entry.side:.0f}",
            f"{entry.recall:.1%}",
            f"{entry.misshapen:.1%}",
            f"{entry.mean:.2f}",
            bars(entry.histogram),
        )
        for entry in findings.coverage
    ]
    show("Anchors: the IoU of each training object with its best one; from 0.5 it is matched")
    show(table([(name, "left" if name in (columns[0], columns[-1]) else "right") for name in columns], rows))


def _spread(sides: tuple[int, int, int]) -> str:
    least, median, most = sides
    return f"{least:,}" if least == most else f"{least:,} to {most:,}, median {median:,}"


def _scope(findings: Findings) -> str:
    if findings.checked < findings.pictures:
        return f"{findings.checked:,} of {findings.pictures:,} pictures, drawn at random,"
    return f"{findings.pictures:,} pictures"


def _verdict(findings: Findings) -> str:
    counts = [(len(findings.of(severity)), severity) for severity in get_args(Severity)]
    return (
        ", ".join(f"{count} {name}{'s' * (count != 1)}" for count, name in counts if count) or "nothing to complain of"
    )

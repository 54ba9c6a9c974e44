"""Writes docs/benchmarks.md: benchmarks.md beside this file, filled in from benchmarks/results.

    python benchmarks/report.py [--out docs/benchmarks.md]

Nothing is measured here. What a benchmark measures it writes into benchmarks/results, and the newest document of each
kind counts; costs are computed, and scores are those in the headers of the embedded models.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import engine

import linnet
from linnet.architecture import Architecture, Detector
from linnet.architecture.cost import block_memory, cost, layerwise_memory
from linnet.catalogue import EMBEDDED
from linnet.checkpoint import read_header
from linnet.files import write_atomically

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"

WAYS = {
    "torch eager": "eager",
    "torch eager, channels last": "eager, channels last",
    "torch.compile": "torch.compile",
    "torch eager, channels last, kept memory": "eager, channels last, kept memory",
    "linnet": "linnet",
    "linnet, `--recompute`": "linnet, recomputed expansion",
}
"""Ways to train in the table → in the benchmark's document."""


def latest(name: str) -> dict[str, Any]:
    """The newest document of a benchmark, with its `date`."""
    path = max(RESULTS.glob(f"????-??-??-{name}.json"))
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return {"date": path.name[:10], **document}


def page() -> str:
    """The whole page."""
    documents = {
        "engine": latest("engine"),
        "integers": latest("engine-int8"),
        "segmenters": latest("engine-segmenters"),
        "avx2": latest("engine-avx2"),
        "avx2_integers": latest("engine-avx2-int8"),
        "cold_start": latest("cold-start"),
        "trained": latest("trained"),
        "eight_bits": latest("eight-bits"),
        "converted": latest("converted"),
        "microcontroller": latest("microcontroller"),
        "browser": latest("page"),
        "http_server": latest("http-server"),
        "films": latest("films"),
    }
    tables = {
        "classifier_costs": _classifier_costs(),
        "detector_costs": _detector_costs(),
        "classifiers": _classifiers(documents["trained"]["classifiers"]),
        "detectors": _detectors(documents["trained"]["detectors"]),
        "quantised": _quantised(documents["eight_bits"]["rows"]),
        "converted_files": _converted(documents["converted"]["rows"]),
        "training_table": _training(),
        "microcontroller_table": _microcontroller(documents["microcontroller"]["rows"]),
        "instructions_table": _instructions(documents["microcontroller"]["rows"]),
        "browser_table": _browser(documents["browser"]),
        **{
            f"{name}_{table}": text
            for name in ("integers", "segmenters", "avx2", "avx2_integers")
            for table, text in _engine_tables(documents[name])
        },
    }
    text = Path(__file__).with_name("benchmarks.md").read_text(encoding="utf-8")
    turns = documents["http_server"]["ratios"]
    tables |= {"lowest": min(turns), "highest": max(turns)}
    return text.format(**documents, **tables, **said_of_engine(documents["engine"]), **_cold(documents["cold_start"]))


def as_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown."""
    lines = [f"| {' | '.join(headings)} |", "|---" * len(headings) + "|"]
    return "\n".join([*lines, *(f"| {' | '.join(map(str, row))} |" for row in rows)])


def _browser(document: dict[str, Any]) -> str:
    """The page's engine beside onnxruntime-web, and its eight bits beside its floats."""
    rows = [
        (name.replace(" beside ", " | "), f"{ratio['median_of_rounds']:.2f}", f"{ratio['minima']:.2f}")
        for name, ratio in document["ratios"].items()
    ]
    return as_table(("what", "beside what", "times as fast, median of rounds", "of minima"), rows)


def _millions(number: float) -> str:
    return f"{number / 1e6:,.2f} M"


def _classifier_costs() -> str:
    networks: dict[str, Architecture] = {
        "MobileNetV1 1.0": linnet.mobilenet_v1(),
        "MobileNetV2 1.0": linnet.mobilenet_v2(),
        "MobileNetV2 1.4": linnet.mobilenet_v2(width=1.4),
    }
    rows = []
    for name, network in networks.items():
        price = cost(network)
        memory = [f"{plan.peak.bytes / 1e6:.1f} MB" for plan in (layerwise_memory(network), block_memory(network))]
        rows.append((name, f"{price.parameters:,}", _millions(price.multiply_adds), *memory))
    return as_table(
        ("network at 224", "parameters", "multiply-adds", "memory layer by layer", "block as one operation"), rows
    )


def _detector_costs() -> str:
    options: dict[str, Any] = {"classes": 80, "resolution": 320}
    networks: dict[str, Detector] = {
        "SSDLite on MobileNetV2": linnet.ssdlite(**options),
        "SSDLite on MobileNetV1": linnet.ssdlite(backbone=linnet.mobilenet_v1(), **options),
        "SSD on MobileNetV2, `--head-kernel 3`": linnet.ssd(head_kernel=3, **options),
        "SSD on MobileNetV2, as released": linnet.ssd(**options),
        "SSDLite on MobileNetV2, `modern`": linnet.ssdlite(variant="modern", **options),
    }
    rows = []
    for name, network in networks.items():
        price = cost(network)
        parts = {"backbone": 0, "extras": 0, "predictors": 0}
        for layer in price.layers:
            place = layer.name.split(".")[0]
            parts[place if place in parts else "backbone"] += layer.multiply_adds
        shares = [_millions(count) for count in parts.values()]
        rows.append((name, f"{price.parameters:,}", _millions(price.multiply_adds), *shares, f"{network.anchors:,}"))
    headings = (
        "detector at 320, 80 classes",
        "parameters",
        "multiply-adds",
        "backbone",
        "extra levels",
        "heads",
        "anchors",
    )
    return as_table(headings, rows)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _classifiers(rows: Iterable[dict[str, Any]]) -> str:
    cells = [
        (
            row["data"],
            row["recipe"],
            f"{row['minutes']:g} min",
            f"{_percent(_claimed(row, 'top1'))} of {row['pictures']:,}",
        )
        for row in rows
    ]
    return as_table(("data", "recipe", "time", "top-1 on the test part"), cells)


def _claimed(row: dict[str, Any], figure: str) -> float:
    """What the embedded model claims, where the row is of one; else what was noted."""
    if "model" not in row:
        return float(row[figure])
    return float(_header(row["model"])["score"][figure])


def _header(model: str) -> dict[str, Any]:
    return read_header(EMBEDDED / f"{model}.safetensors")


def _detectors(rows: Iterable[dict[str, Any]]) -> str:
    cells = []
    for row in rows:
        backbone = linnet.mobilenet_v1() if row["options"]["backbone"] == "v1" else linnet.mobilenet_v2()
        build = linnet.ssdlite if row["options"]["kind"] == "ssdlite" else linnet.ssd
        price = cost(build(backbone=backbone, classes=3, resolution=256, variant="modern"))
        figures = [f"{row[name]:.3f}{_interval(row.get(f'{name}_95'))}" for name in ("AP", "AP50")]
        each = [f"{value:.3f}" for value in row["per_class"]]
        cost_cells = (f"{price.parameters:,}", _millions(price.multiply_adds))
        cells.append((row["detector"], *cost_cells, *figures, *each, f"{row['minutes']:.1f} min"))
    headings = (
        "detector at 256",
        "parameters",
        "multiply-adds",
        "AP (95 %)",
        "AP50 (95 %)",
        "red cells",
        "white cells",
    )
    return as_table((*headings, "platelets", "time"), cells)


def _interval(bounds: Sequence[float] | None) -> str:
    return "" if bounds is None else f" ({bounds[0]:.3f} to {bounds[1]:.3f})"


def _quantised(rows: Iterable[dict[str, Any]]) -> str:
    cells = []
    for row in rows:
        name, figure = row["model"], row["figure"]
        scores = [_header(each)["score"][figure] for each in (name, f"{name}-int8")]
        shown = [_percent(score) if figure == "top1" else f"{score:.3f}" for score in scores]
        low, high = row["difference_95"]
        difference = f"{row['difference']:+.1f} ({low:+.1f} to {high:+.1f})".replace("-", "−")
        size = (EMBEDDED / f"{name}-int8.safetensors").stat().st_size
        of = f"{'top-1' if figure == 'top1' else figure} of {row['pictures']:,}"
        cells.append((f"`{name}-int8`", of, *shown, difference, _percent(row["same"]), f"{size / 1e6:.1f} MB"))
    return as_table(("model", "figure", "float", "int8", "difference", "equal answers", "file"), cells)


def _converted(rows: Iterable[dict[str, Any]]) -> str:
    cells = [
        (
            f"`{row['file']}`",
            *(_percent(row[name]) for name in ("top1", "own_top1", "same_class")),
            f"≥ {row['lowest_correlation']:.3f}",
        )
        for row in rows
    ]
    return as_table(("file", "top-1 converted", "its own integer graph", "same class", "tensors correlate by"), cells)


def _microcontroller(rows: Sequence[dict[str, Any]]) -> str:
    """Memory of exported C files, and their time beside the engine's."""
    found = []
    for row in rows:
        own = row["float"]
        sizes = [f"{own[key]:,}" for key in ("ram_bytes", "stack_bytes", "flash_bytes")]
        found.append((row["network"], _millions(own["multiply_adds"]), *sizes, f"{row['host']['ratio']:.2f}"))
    return as_table(("network", "multiply-adds", "RAM", "stack", "flash", "time over the engine's"), found)


def _instructions(rows: Sequence[dict[str, Any]]) -> str:
    """Instructions of exported C files on boards: millions, and for each multiply-add."""
    counted = [row for row in rows if row["float"]["instructions"]]
    boards = [*counted[0]["float"]["instructions"]]
    found = []
    for row in counted:
        for kind in ("float", "fixed"):
            own = row[kind]
            counts = [own["instructions"][board] for board in boards]
            cells = [f"{count / 1e6:.1f} M ({count / own['multiply_adds']:.2f})" for count in counts]
            found.append((row["network"] if kind == "float" else "the same, `--fixed-point`", *cells))
    return as_table(("network", *boards), found)


def _training() -> str:
    measured = [
        {row["way"]: row for row in latest(f"training-{size}")["tables"][f"{size}x32"]} for size in ("224", "128")
    ]
    rows = []
    for name, way in WAYS.items():
        cells = [name]
        for ways in measured:
            row = ways[way]
            cells += [f"{row['images_per_second']:.1f}", f"{row['ratio']:.2f}", f"{row['peak_ratio']:.2f}"]
        rows.append(cells)
    both = ("ratio", "peak memory")
    return as_table(("way", "images/s at 224", *both, "images/s at 128", *both), rows)


def said_of_engine(document: dict[str, Any]) -> dict[str, Any]:
    """The engine's tables, and what is said of them."""
    rows = [row for entry in document["networks"].values() for row in entry["rows"]]
    others = [row for row in rows if row["ratio"] is not None and not row["runtime"].startswith("linnet")]
    usual = document["networks"][engine.MEASURED]
    single = [row for row in usual["rows"] if row["batch"] == 1 and row in others]
    fastest = {threads: min(row["min_ratio"] for row in single if row["threads"] == threads) for threads in (1, 2)}
    return {
        **dict(_engine_tables(document)),
        "peak": 2e-9 * document["peak_multiply_adds_per_s"],
        "compared": len(others),
        "behind": "; ".join(_behind(document)) or "none",
        "ahead_by_minimum": sum(row["min_ratio"] > 1 for row in others),
        "ahead_by_median": sum(row["ratio"] > 1 for row in others),
        "fastest_one": fastest[1],
        "fastest_two": fastest[2],
        "arena": next(plan["arena_bytes"] for plan in usual["plans"] if plan["threads"] == 1) / 1e6,
    }


def _engine_tables(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The table of speeds and that of memory, each with its name."""
    tables = _tables(engine.as_markdown(document))
    yield from zip(("engine_table", "memory_table"), ("\n".join(lines) for lines in tables), strict=True)


def _behind(document: dict[str, Any]) -> Iterator[str]:
    """The comparisons that another runtime wins by minimum, each named."""
    for network, entry in document["networks"].items():
        for row in entry["rows"]:
            if row["min_ratio"] is not None and row["min_ratio"] < 1 and not row["runtime"].startswith("linnet"):
                threads = "one thread" if row["threads"] == 1 else f"{row['threads']} threads"
                yield f"{network} on {threads}, {row['runtime'].split()[0]} {row['min_ratio']:.2f}"


def _tables(text: str) -> list[list[str]]:
    found: list[list[str]] = [[]]
    for line in text.splitlines():
        if line.startswith("|"):
            found[-1].append(line)
        elif found[-1]:
            found.append([])
    return [lines for lines in found if lines]


def _cold(document: dict[str, Any]) -> dict[str, float]:
    seconds = {row["start"]: row["median_s"] for row in document["cold_starts"]}
    return {"predicting": seconds["linnet predict"], "loading": seconds["import linnet; linnet.load(…)(picture)"]}


def main() -> None:
    """Writes the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks.md")
    write_atomically(parser.parse_args().out, page().encode())


if __name__ == "__main__":
    main()

"""Are the measured figures in README.md and docs/ those that were kept in benchmarks/results?"""

from __future__ import annotations

import importlib.util
import json
import re
from types import ModuleType
from typing import Any

import pytest
from conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
SCALING = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")


def latest(name: str) -> Any:
    """The newest document of a benchmark; its date is in the text that gives its figures."""
    path = max((ROOT / "benchmarks" / "results").glob(f"????-??-??-{name}.json"))
    assert path.name[:10] in README
    return json.loads(path.read_text(encoding="utf-8"))


def table(text: str, heading: str) -> list[list[str]]:
    """The cells of the table whose first line begins so, its two first lines left out."""
    (found,) = re.findall(rf"^{re.escape(heading)}.*\n\|---.*\n((?:\|.*\n)+)", text, flags=re.MULTILINE)
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in found.splitlines()]


@pytest.fixture(scope="module")
def engine() -> ModuleType:
    """benchmarks/engine.py, which writes its document as Markdown."""
    spec = importlib.util.spec_from_file_location("engine_benchmark", ROOT / "benchmarks" / "engine.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("heading", ["| network | threads |", "| MobileNetV2 1.0, 224 | memory grows by, MB"])
def test_the_engine_s_tables(engine: ModuleType, heading: str) -> None:
    assert table(README, heading) == table(engine.as_markdown(latest("engine")), heading)


def test_what_is_said_of_the_engine_s_table() -> None:
    document = latest("engine")
    assert f"the peak is {2e-9 * document['peak_multiply_adds_per_s']:.1f} GFLOP/s a thread" in README
    rows = [row for entry in document["networks"].values() for row in entry["rows"]]
    others = [row for row in rows if row["ratio"] is not None and not row["runtime"].startswith("linnet")]
    assert len(others) > 50
    # "It is ahead in every row by minimum, and in all but one by median (MobileNetV1 on two threads, 0.98)."
    assert all(row["min_ratio"] > 1 for row in others)
    assert [f"{row['ratio']:.2f}" for row in others if row["ratio"] < 1] == ["0.98"]
    # "Against the fastest of the others it is 1.30 times as fast on two threads and 1.22 times on one."
    single = [row for row in document["networks"]["MobileNetV2 1.0, 224"]["rows"] if row["batch"] == 1]
    for threads, said in ((2, "1.30 times as fast on two threads"), (1, "1.22 times on one")):
        fastest = min(row["min_ratio"] for row in single if row["threads"] == threads and row["min_ratio"] > 1)
        assert said.startswith(f"{fastest:.2f} times")
        assert said in " ".join(README.split())


WAYS = {
    "torch eager": "eager",
    "torch eager, channels last": "eager, channels last",
    "torch.compile": "torch.compile",
    "torch eager, channels last, kept memory": "eager, channels last, kept memory",
    "linnet": "linnet",
    "linnet, `--recompute`": "linnet, recomputed expansion",
}
"""Ways to train in README's table → in the benchmark's."""


def test_the_training_table() -> None:
    rows = table(README, "| way | images/s at 224 |")
    assert [row[0] for row in rows] == list(WAYS)
    measured = [
        {row["way"]: row for row in latest(f"training-{size}")["tables"][f"{size}x32"]} for size in ("224", "128")
    ]
    for name, *cells in rows:
        expected = []
        for ways in measured:
            row = ways[WAYS[name]]
            expected += [f"{row['images_per_second']:.1f}", f"{row['ratio']:.2f}", f"{row['peak_ratio']:.2f}"]
        assert cells == expected, name


def test_cold_starts() -> None:
    seconds = {row["start"]: row["median_s"] for row in latest("cold-start")["cold_starts"]}
    predicting, loading = seconds["linnet predict"], seconds["import linnet; linnet.load(…)(picture)"]
    text = f"A cold `linnet predict` takes {predicting:.2f} s, `import linnet; linnet.load(…)(picture)` {loading:.2f} s"
    assert text in " ".join(README.split())


def test_the_input_pipeline() -> None:
    tables = latest("input-pipeline")["tables"]
    speeds = {size: {row["way"]: round(row["images_per_second"]) for row in rows} for size, rows in tables.items()}
    small, large = speeds["340x256"], speeds["500x375"]
    text = " ".join(SCALING.split())
    said = (
        f"{small['files']} images/s from files, {small['shards']} from shards and {small['shards over http']} over http"
    )
    assert said in text
    assert f"{large['files']}, {large['shards']} and {large['shards over http']} at 500 x 375" in text

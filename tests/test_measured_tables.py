"""Are the measured figures in README.md and docs/ those that were kept in benchmarks/results?"""

from __future__ import annotations

import importlib.util
import re
import sys
from types import ModuleType

import pytest
from conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
PAPER = (ROOT / "docs" / "paper.md").read_text(encoding="utf-8")
SCALING = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
PAGE = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def report() -> ModuleType:
    """benchmarks/report.py, which writes the page."""
    folder = ROOT / "benchmarks"
    sys.path.insert(0, str(folder))
    try:
        spec = importlib.util.spec_from_file_location("report", folder / "report.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(folder))
    return module


def test_the_page_of_benchmarks(report: ModuleType) -> None:
    assert report.page() == PAGE, "benchmarks/results say something else: run `python benchmarks/report.py`"


def test_every_figure_of_the_readme_s_table_stands_in_the_page() -> None:
    (table,) = re.findall(r"^\| \| measured \|\n\|---.*\n((?:\|.*\n)+)", README, flags=re.MULTILINE)
    # Decimals and percentages: sizes such as 224 are no measurements.
    figures = re.findall(r"\d+\.\d+(?: [%sM]\w*)?|\d+,\d+", table)
    assert len(figures) >= 14
    for figure in figures:
        assert figure in PAGE, figure


def test_what_the_readme_says_of_the_paper_stands_on_its_page() -> None:
    (said,) = re.findall(r"trained on 64 thousand pictures.*?shrinks it\.", README, flags=re.DOTALL)
    # The variant's row and the next, of more pictures.
    rows = re.findall(r"^\| ReLU6 in the bottleneck \|.*\n\|.*650,000.*\n", PAPER, flags=re.MULTILINE)
    figures = re.findall(r"\d+\.\d", said)
    assert len(figures) == 7
    for figure in figures:
        assert f"−{figure} " in "".join(rows), figure
    verdict = PAPER.partition("**ReLU6 in the bottleneck**")[2].partition("**")[0]
    assert "With training the effect shrinks" in verdict


def test_the_engine_is_ahead(report: ModuleType) -> None:
    """What the page says of the table must stay true, or be said otherwise."""
    document = report.latest("engine")
    said = report.said_of_engine(document)
    assert said["compared"] > 50
    assert said["fastest_one"] > 1.15
    assert said["fastest_two"] > 1.1
    # What is behind is named one by one.
    assert said["compared"] - said["ahead_by_minimum"] == len(said["behind"].split("; ")) <= 2
    faster = (
        f"{said['fastest_one']:.2f} times as fast as the fastest other runtime on one thread, {said['fastest_two']:.2f}"
    )
    assert f"{said['arena']:.2f} MB of activations, {faster} on two" in README
    integers = report.said_of_engine(report.latest("engine-int8"))
    assert integers["behind"] == "none"
    assert f"in eight bits {integers['fastest_one']:.2f} and {integers['fastest_two']:.2f}" in README


def test_a_billion_pictures_take_what_the_measured_times_add_up_to(report: ModuleType) -> None:
    rows = re.findall(
        r"^\| \d.* \| (\w+) \| ([\d.]+) \+ ([\d.]+) \| (\d+) \| ([\d,]+) \| ([\d.]+) h", SCALING, re.MULTILINE
    )
    assert len(rows) == 6
    for precision, decoding, network, a_second, hours, together in rows:
        document = report.latest("engine" if precision == "float32" else "engine-int8")
        (measured,) = (
            row["min_ms"]
            for row in document["networks"]["MobileNetV2 1.0, 224"]["rows"]
            if row["runtime"].startswith("linnet") and (row["threads"], row["batch"]) == (1, 1)
            if row["precision"] == precision
        )
        # Another machine than the last one's is no reason to write the table anew.
        assert float(network) == pytest.approx(measured, rel=0.15)
        took = float(decoding) + float(network)
        assert int(a_second) == round(1000 / took)
        assert int(hours.replace(",", "")) == pytest.approx(1e6 * took / 3600, abs=6)
        assert float(together) == pytest.approx(1e6 * took / 3600 / 256, rel=0.03)


def test_the_input_pipeline(report: ModuleType) -> None:
    tables = report.latest("input-pipeline")["tables"]
    speeds = {size: {row["way"]: round(row["images_per_second"]) for row in rows} for size, rows in tables.items()}
    small, large = speeds["340x256"], speeds["500x375"]
    text = " ".join(SCALING.split())
    said = (
        f"{small['files']} images/s from files, {small['shards']} from shards and {small['shards over http']} over http"
    )
    assert said in text
    assert f"{large['files']}, {large['shards']} and {large['shards over http']} at 500 x 375" in text

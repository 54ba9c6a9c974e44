"""Does the page of eight bits show what the experiments found, and say what is missing?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

from linnet.paper import make
from linnet.paper.eight_bits import METHODS, PUBLISHED
from linnet.paper.page import MissingResultsError
from linnet.quantisation.post_training.calibration import WAYS
from linnet.quantisation.post_training.quantising import Method


def document(**changes: Any) -> dict[str, Any]:
    """What `benchmarks/eight_bits.py` writes, in which each way is a little better than the one before."""
    rows = {
        name: {
            "value": 0.5 + 0.01 * number,
            "difference": -0.11 + 0.01 * number,
            "difference_95": [-0.2, 0.1],
            "same": 0.8 + 0.01 * number,
            "same_95": [0.7, 1.0],
            "sqnr_db": 10.0 + number,
        }
        for number, name in enumerate(METHODS)
    }
    return {
        "title": "some network",
        "figure": "top1",
        "float": 0.61,
        "float_95": [0.5, 0.7],
        "images": 1000,
        "measured_on": "some, test part",
        "calibrated_on": 512,
        "spread": {"largest_to_median": 2.0, "largest_to_median_worst": 9.5, "few_steps": 0.25},
        "methods": rows,
        **changes,
    }


def write(folder: Path, name: str, content: Any) -> None:
    path = folder / "eight-bits" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))


def test_the_page(tmp_path: Path) -> None:
    write(tmp_path, "one", document())
    write(tmp_path, "two", document(title="a detector", figure="AP", float=0.563))
    page = make("eight-bits", tmp_path)
    first, second, spreads, printed = page.tables
    assert len(first.rows) == len(METHODS) + 1
    assert first.rows[0][:2] == ("float", "61.0 %")
    assert first.rows[1][2] == "−11.0 (−20.0 to +10.0)"
    assert second.rows[0][1] == "0.563"
    assert spreads.rows[0] == ("some network", "2.0", "9.5", "25.0 %", "−11.0")
    assert printed.rows == PUBLISHED
    assert "the 2 networks change by −1.0 to −1.0 points" in page.finding
    assert "add 6.0 to 6.0 dB" in page.finding
    assert "Here 2 trained networks" in page.text
    assert page.plot is not None


def test_missing_and_broken_results(tmp_path: Path) -> None:
    with pytest.raises(MissingResultsError, match=r"there are no results in .* `python benchmarks/eight_bits\.py"):
        make("eight-bits", tmp_path)
    rows = {name: row for name, row in document()["methods"].items() if name != "all"}
    write(tmp_path, "old", document(methods=rows))
    with pytest.raises(MissingResultsError, match="is not what this version writes"):
        make("eight-bits", tmp_path)


def test_the_ways_are_those_of_the_package() -> None:
    """The page may not import the package above it: its words for the ways are its own."""
    assert METHODS["all"].ways == WAYS
    last, best = METHODS["all"], Method()
    assert (last.ways, last.equalises, last.corrects, last.per_tensor) == (
        best.ways,
        best.equalises,
        best.corrects,
        best.per_tensor,
    )


def test_what_was_found() -> None:
    """The kept results: everything loses next to nothing, and one scale for all channels can lose everything."""
    found = {
        path.stem: json.loads(path.read_text())
        for path in (ROOT / "docs" / "experiments" / "eight-bits").glob("*.json")
    }
    assert found.keys() >= {"clothing", "cifar10", "torchvision", "tensorflow2", "blood-cells"}
    for document in found.values():
        rows = document["methods"]
        # Of 250 pictures, three are more than a point.
        assert rows["all"]["difference"] >= -0.013
        assert rows["all"]["sqnr_db"] > rows["channel"]["sqnr_db"] > rows["tensor"]["sqnr_db"]
    for name in ("clothing", "tensorflow2"):
        assert found[name]["methods"]["tensor"]["difference"] < -0.7
        assert found[name]["spread"]["largest_to_median_worst"] > 30
    for name in ("torchvision", "cifar10"):
        assert found[name]["methods"]["tensor"]["difference"] > -0.1
        assert found[name]["spread"]["largest_to_median_worst"] < 10
    assert found["torchvision"]["methods"]["all"]["same"] >= 0.95

"""Do the paper's tables and figures come out as printed where it is arithmetic, and are the errata ours to show?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from linnet.architecture import MobileNetV2
from linnet.architecture.cost import cost
from linnet.cli import main
from linnet.engine.library import load_library
from linnet.paper import ITEMS, figure1, figure5, make, section5_1, table2, table3
from linnet.paper.page import PaperTable, difference, new_figure


def test_table_2_is_the_printed_one() -> None:
    page = table2.make()
    assert page.document["equals_printed"]
    assert page.tables[0].rows[-1][-2:] == ("3,504,872", "300,774,272")
    assert sum(int(row[-1].replace(",", "")) for row in page.tables[0].rows[:-1]) == 300_774_272


def test_table_3_agrees_where_the_paper_is_right() -> None:
    rows = {row["side"]: row for row in table3.make().document["rows"]}
    for side in (112, 56, 28, 14, 1):
        printed = table3.PRINTED[side][0]
        assert rows[side]["mobilenet_v1"][0] == printed[0]
        assert rows[side]["mobilenet_v1"][1] == pytest.approx(printed[1], rel=0.03)
    assert rows[112]["mobilenet_v2"] == [16, 401.408]
    # Where it is not: the width of the next row, and a slip at 7 x 7.
    assert [rows[side]["mobilenet_v2"][0] for side in (56, 28, 14)] == [24, 32, 96]
    assert rows[7]["mobilenet_v1"] == [1024, 100.352]
    cells = {row[0]: row for row in table3.make().tables[0].rows}
    assert cells["7 x 7"][1:7] == ("1024 / 199", "1024 / 100.4", "-49.6 %", "320 / 32", "320 / 31.4", "-2.0 %")
    assert cells["max"][1:] == ("1600", "1605.6", "+0.4 %", "400", "401.4", "+0.4 %", "600")


@pytest.mark.parametrize(("dimension", "share"), [(2, 0.75), (3, 0.5), (5, 0.1875), (15, 4.88e-4), (30, 2.89e-8)])
def test_theorem_1(dimension: int, share: float) -> None:
    assert figure1.expected_collapse(dimension, 2) == pytest.approx(share, rel=2e-3)


@pytest.mark.parametrize("dimension", [2, 3, 5, 15])
def test_random_matrices_collapse_as_the_theorem_says(dimension: int) -> None:
    generator = np.random.default_rng(0)
    matrices = generator.normal(size=(3000, dimension, 2))
    assert figure1.collapsed_share(matrices, generator) == pytest.approx(
        figure1.expected_collapse(dimension, 2), abs=0.01
    )


def test_theorem_1_holds_for_every_intrinsic_dimension() -> None:
    page = figure1.make()
    for row in page.document["by_expansion"]:
        # No cell stands at an expansion that it has not.
        assert row["outer"] == row["expansion"] * row["inner"]
        assert row["collapsed"] == pytest.approx(row["expected"], abs=0.01)
    # Of one dimension in m: collapsed where all m are cut, 2^-m; of n in n: unless all n are positive.
    assert figure1.expected_collapse(6, 1) == pytest.approx(2**-6)
    assert figure1.expected_collapse(8, 8) == pytest.approx(1 - 2**-8)
    assert page.tables[1].rows[1][:2] == ("1.5", "-")
    # Paper's bound: 2.0e-12 of 16 in 96 is not below 2^-48.
    assert "loses 2.0e-12 by Theorem 1, more than 3.6e-15" in page.notes[-1]


def test_the_spiral_is_the_papers() -> None:
    points = figure1.spiral()
    assert points.shape == (1000, 2)
    radii = np.linalg.norm(points, axis=1)
    assert radii[-1] == pytest.approx(62.737, abs=1e-3)
    assert np.allclose(np.diff(radii), 0.0628)


def test_many_dimensions_give_half_the_input_back() -> None:
    errors = [
        figure1.reconstruction_error(np.random.default_rng(0).normal(size=(100, dimension, 2)))
        for dimension in (3, 15, 30, 1000)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.1


def test_the_plotted_costs_are_ours_with_the_pooling() -> None:
    # The figure counts the additions of the average pooling: side² x last channels.
    for width, (_, plotted) in figure5.SECOND.items():
        last = {1.4: 1792}.get(width, 1280)
        for resolution, shown in zip(figure5.RESOLUTIONS, plotted, strict=False):
            exact = cost(MobileNetV2(width=width, resolution=resolution)).multiply_adds
            assert shown == pytest.approx((exact + (resolution // 32) ** 2 * last) / 1e6, abs=0.011)


def test_splits_save_memory_as_the_formula_says() -> None:
    options: dict[str, Any] = {"folded": True, "resolution": 128}
    measured = section5_1.measure(MobileNetV2(padding="symmetric", **options), (None, 1, 2, 4), rounds=1)
    peaks = [peak for peak, _ in measured]
    assert peaks[0] == pytest.approx(peaks[1], rel=0.05)
    assert peaks[1] > 1.4 * peaks[2] > 1.4 * peaks[3]
    for peak, way in zip(peaks, (None, 1, 2, 4), strict=True):
        assert peak >= 0.9 * section5_1.formula_bytes(MobileNetV2(**options), way)


@pytest.mark.skipif(load_library() is None, reason="the native library is not built")
def test_the_engine_splits_as_it_is_told_and_needs_less_the_more_splits() -> None:
    architecture = MobileNetV2(folded=True)
    ways: tuple[section5_1.Way, ...] = (None, 1, 2, 6, "rows", "auto")
    arenas = [arena for arena, _ in section5_1.measure_engine(architecture, ways, rounds=1)]
    whole, once, halves, sixths, rows, chosen = arenas
    assert whole >= section5_1.formula_bytes(architecture, None)
    # A panel of the matrix product is the least group: 40 channels, where a half of the second block's is 48.
    assert whole > once > halves >= sixths > rows > chosen
    groups = section5_1.groups_of(architecture, 4)
    assert groups["blocks.1.depthwise"] == 24
    assert len(groups) == 17


TIMED = ("table4", "table6", "table7", "section5.1")


@pytest.mark.parametrize(
    "name",
    [name for name, item in ITEMS.items() if not item.from_results and name not in TIMED],
)
def test_every_page_is_written_whole(name: str, tmp_path: Path) -> None:
    written = make(name).write(tmp_path)
    text = (tmp_path / f"{name}.md").read_text()
    assert f"linnet paper {name}" in text
    assert json.loads((tmp_path / f"{name}.json").read_text())
    for path in written:
        if path.suffix == ".png":
            assert f"({path.name})" in text
            with Image.open(path) as image:
                assert min(image.size) > 200


def test_every_item_is_a_module_and_every_module_an_item() -> None:
    folder = Path(figure1.__file__).parent
    modules = {path.stem for path in folder.glob("*.py")} - {
        "__init__",
        "ablations",
        "activations",
        "book",
        "effects",
        "page",
        "prose",
        "slabs",
        "timing",
    }
    assert modules == {name.replace(".", "_").replace("-", "_") for name in ITEMS}


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["paper"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in ITEMS)
    assert main(["paper", "table9"]) == 2
    captured = capsys.readouterr()
    assert "there is no 'table9'. There are table1" in captured.err
    assert main(["paper", "all", "table9"]) == 2
    assert "there is no 'table9'" in capsys.readouterr().err
    assert main(["paper", "table1", "--book", str(tmp_path)]) == 2
    assert "is a folder; name a file" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert main(["paper", "table1", "--out", str(tmp_path / "file" / "below")]) == 1
    captured = capsys.readouterr()
    assert "cannot be made" in captured.err
    # Nothing was computed before.
    assert not captured.out
    assert main(["paper", "table2", "table3", "--json"]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert set(document) == {"table2", "table3"}
    assert main(["paper", "table1", "--out", str(tmp_path / "deep" / "er")]) == 0
    assert sorted(path.name for path in (tmp_path / "deep" / "er").iterdir()) == ["table1.json", "table1.md"]


def test_differences_and_tables() -> None:
    assert difference(300.774, 300) == "+0.3 %"
    assert difference(71.999, 72) == "="
    assert PaperTable(("a", "b"), [("x", "1")]).markdown() == "| a | b |\n| --- | ---: |\n| x | 1 |"
    assert PaperTable(("a",), [("x|y",)]).markdown().endswith("| x\\|y |")
    assert new_figure(1, 1) is not None


def test_section_5_1_says_what_is_missing_and_names_what_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(section5_1, "find_spec", lambda _: None)
    monkeypatch.setattr(section5_1, "engine_instruction_set", lambda: None)
    page = section5_1.make(tmp_path)
    assert "there are no results of trainings" in page.notes[-1]
    assert "Both curves are drawn" not in page.text
    (tmp_path / "figure6").mkdir()
    (tmp_path / "figure6" / "t2-0.json").write_text("{")
    assert "t2-0.json' is not a result of a run" in section5_1.make(tmp_path).notes[-1]

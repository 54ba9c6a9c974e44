"""Are runs paired and resumable, and is a claim made only where its interval excludes zero?"""

from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pyarrow as arrow
import pytest
import torch
from PIL import Image
from pyarrow import parquet

import linnet
from linnet.architecture.cost import cost
from linnet.nn import build
from linnet.paper import figure6, sweeps
from linnet.paper.ablations import (
    BUDGETS,
    VARIANTS,
    Budget,
    check_budget,
    experiments,
    folder_of,
    paired,
    plan,
    read_budgets,
    read_run,
    read_runs,
    student_quantile,
    student_tails,
    write_run,
)
from linnet.paper.effects import effects, sentences
from linnet.paper.page import MissingResultsError
from linnet.training.starts import draw_kaiming


def test_the_paired_interval_of_known_numbers() -> None:
    # Differences 1, 2, 3, 4, 5: mean 3, standard deviation sqrt(2.5), error sqrt(0.5), t(4) = 2.7764.
    found = paired([1.0, 2.0, 3.0, 4.0, 5.0], [0.0] * 5)
    assert found.mean == 3
    assert found.standard_error == pytest.approx(0.5**0.5)
    assert (found.low, found.high) == pytest.approx((3 - 2.7764 * 0.5**0.5, 3 + 2.7764 * 0.5**0.5), abs=5e-5)
    assert found.shown


def test_an_interval_that_holds_zero_is_not_shown() -> None:
    assert not paired([0.5, 0.7, 0.6], [0.6, 0.6, 0.6]).shown


# Two-sided quantiles of Student's t, as printed in tables.
@pytest.mark.parametrize(
    ("freedom", "quantile"), [(1, 12.7062), (2, 4.3027), (3, 3.1824), (4, 2.7764), (9, 2.2622), (30, 2.0423)]
)
def test_students_distribution(freedom: int, quantile: float) -> None:
    assert student_quantile(freedom) == pytest.approx(quantile, abs=6e-5)
    assert student_tails(quantile, freedom) == pytest.approx(0.05, abs=1e-5)
    assert student_tails(0, freedom) == 1


def test_equal_differences_are_certain() -> None:
    assert paired([0.75, 1.0], [0.5, 0.75]).p == 0
    assert paired([0.5, 0.5], [0.5, 0.5]).p == 1
    assert not paired([0.5, 0.5], [0.5, 0.5]).shown


@pytest.mark.parametrize("counts", [(1, 1), (3, 4)])
def test_too_few_or_unequal_seeds_are_refused(counts: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=f"2 or more seeds of both, not {counts[0]} and {counts[1]}"):
        paired([0.5] * counts[0], [0.5] * counts[1])


def test_an_interrupted_experiment_continues_with_the_runs_that_have_no_result(tmp_path: Path) -> None:
    write_run(tmp_path / "base-0.json", {"top1": [0.5]})
    left = [(name, seed) for name, seed, _ in plan(["base", "none"], 2, tmp_path)]
    assert left == [("none", 0), ("base", 1), ("none", 1)]


def test_results_come_back_as_written(tmp_path: Path) -> None:
    write_run(tmp_path / "new" / "base-0.json", {"name": "base", "top1": [0.25, 0.5]})
    assert read_run(tmp_path / "new" / "base-0.json") == {"name": "base", "top1": [0.25, 0.5]}


@pytest.mark.parametrize("content", ["{", "[]", "{}", json.dumps({"top1": []}), json.dumps({"top1": [50.0]})])
def test_a_broken_result_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "relu6-3.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"relu6-3\.json' is not a result of a run .* Delete it"):
        read_run(path)


def test_variants_differ_in_their_switch_alone_and_weigh_the_same() -> None:
    base = VARIANTS["base"]
    for name, network in VARIANTS.items():
        switched = replace(network, projection_activation="linear", shortcut="bottleneck")
        assert switched == base, name
        assert network.tensors == base.tensors
        assert cost(network).multiply_adds == cost(base).multiply_adds
    assert len(set(VARIANTS.values())) == len(VARIANTS)


def test_variants_of_a_seed_start_from_the_same_weights() -> None:
    started = {}
    for name, architecture in VARIANTS.items():
        network = build(architecture, generator=torch.Generator().manual_seed(3))
        draw_kaiming(network, torch.Generator().manual_seed(3))
        started[name] = network.state_dict()
    for state in started.values():
        assert state.keys() == started["base"].keys()
        assert all(torch.equal(values, started["base"][key]) for key, values in state.items())


def test_the_first_mobilenet_is_matched_within_three_percent() -> None:
    ratio = cost(experiments()["first"]["mobilenet_v1"]).multiply_adds / cost(VARIANTS["base"]).multiply_adds
    assert abs(ratio - 1) < 0.03


SWEPT = {"expansions": "expansion", "matched": "expansion", "widths": "width"}


def test_the_sweeps_hold_what_they_say_and_nothing_twice() -> None:
    groups, base = experiments(), cost(VARIANTS["base"]).multiply_adds
    networks = [network for group in groups.values() for network in group.values()]
    assert len(set(networks)) == len(networks)
    found = {sweep: [getattr(network, what) for network in groups[sweep].values()] for sweep, what in SWEPT.items()}
    assert found == {
        "expansions": [1, 2, 3, 4, 5, 8, 10],
        "matched": [1, 2, 3, 4, 5, 8, 10],
        "widths": [0.5, 0.75, 1.0, 1.4],
    }
    prices = [cost(network).multiply_adds for network in groups["expansions"].values()]
    assert prices == sorted(prices)
    for network in groups["matched"].values():
        assert abs(cost(network).multiply_adds / base - 1) < 0.2


def test_runs_of_another_budget_are_not_mixed(tmp_path: Path) -> None:
    write_run(tmp_path / "base-0.json", {"top1": [0.5], "budget": asdict(Budget())})
    check_budget(tmp_path, Budget())
    with pytest.raises(ValueError, match=r"base-0\.json' was trained with .*Give it a folder of its own"):
        check_budget(tmp_path, Budget(epochs=9))


SHORT = Budget(epochs=2)
LONG, LONGER = Budget(pictures=50_000, epochs=2), Budget(pictures=50_000, epochs=4)


def write_results(
    results: Path, finals: dict[str, list[float]], budget: Budget = SHORT, folder: str = "figure6"
) -> None:
    """Runs of two epochs or more that end at these accuracies, seed by seed."""
    networks = {name: network for group in experiments().values() for name, network in group.items()}
    for name, values in finals.items():
        for seed, value in enumerate(values):
            document = {
                "top1": [value / 2] * (budget.epochs - 1) + [value],
                "budget": asdict(budget),
                "multiply_adds": cost(networks[name]).multiply_adds,
                "seconds": 60.0,
            }
            write_run(results / folder / f"{name}-{seed}.json", document)


def test_the_page_claims_what_is_shown_and_nothing_else(tmp_path: Path) -> None:
    finals = {"base": [0.5, 0.6, 0.7], "relu6": [0.40, 0.49, 0.61], "none": [0.5, 0.62, 0.68], "expansion": [0.4]}
    write_results(tmp_path, {**finals, "mobilenet_v1": [0.6, 0.71, 0.8]})
    page = figure6.make(tmp_path)
    assert (
        "**ReLU6 in the bottleneck**: 10.0 points worse after 16 thousand pictures (95 %: −12.5 to −7.5). "
        "As in the paper, whose −0.6 lies outside the interval after 16 thousand. "
    ) in page.finding
    assert (
        "**No shortcut**: no difference is shown after 16 thousand pictures (95 %: −5.0 to +5.0). The pap"
        in page.finding
    )
    assert "expansions**: −10.0 points after 16 thousand pictures in a single seed, which has no int" in page.finding
    assert (
        "multiply-adds**: 10.3 points better after 16 thousand pictures (95 %: +8.9 to +11.8). The opp" in page.finding
    )
    rows = {row[0]: row for row in page.tables[0].rows}
    assert rows["ReLU6 in the bottleneck"][1:5] == ("16,000", "3", "50.0 ± 6.1 %", "−10.0")
    assert rows["shortcut between expansions"][4:7] == ("−10.0", "one seed", "")
    assert page.plot is not None
    assert page.document["budgets"][0]["differences"]["relu6"]["shown"] is True
    assert page.document["changes"] == {}


BASE = [0.50, 0.60, 0.70]


def less(*points: float) -> list[float]:
    """The base, less so many points of each seed."""
    return [value - less / 100 for value, less in zip(BASE, points, strict=False)]


@pytest.mark.parametrize(
    ("short", "long", "said"),
    [
        (
            less(9, 10, 11),
            less(2, 3, 4),
            "With training the effect shrinks (+7.0 from 16 thousand to 100 thousand, 95 %",
        ),
        (less(2, 3, 4), less(9, 10, 11), "With training the effect grows (−7.0 from 16 thousand to 100 thousand, 95 %"),
        (less(5, 6, 7), less(-5, -6, -7), "With training the effect turns round (+12.0 from"),
        (less(9, 10, 11), less(-1, 1, -1), "With training the effect shrinks (+10.3 from"),
        (less(9, 10, 11), less(13, 8, 9), "That training changes the effect is not shown (+0.0 from"),
        (less(9, 10, 11), less(2), "cannot be said: that takes two seeds of both."),
        (
            less(9, 10, 11),
            [],
            "10.0 points worse after 16 thousand pictures (95 %: −12.5 to −7.5). As in the paper, whose",
        ),
        (
            [],
            less(9, 10, 11),
            "10.0 points worse after 100 thousand pictures (95 %: −12.5 to −7.5). As in the paper, who",
        ),
        ([], [], "**ReLU6 in the bottleneck**: not trained."),
    ],
)
def test_whether_an_effect_shrinks_is_what_the_intervals_say(
    tmp_path: Path, short: list[float], long: list[float], said: str
) -> None:
    write_results(tmp_path, {"base": BASE, "relu6": short})
    write_results(tmp_path, {"base": BASE, "relu6": long}, LONG, "figure6-650k")
    finding = sentences(*figure6.CLAIMS["relu6"], effects(read_budgets(tmp_path), "relu6"))
    assert said in finding
    assert sum(word in finding for word in ("shrinks", "grows", "turns round")) == said.startswith("With training")


def test_budgets_stand_in_order_and_any_of_them_will_do(tmp_path: Path) -> None:
    write_results(tmp_path, {"base": [0.8], "none": [0.79]}, LONGER, "figure6-2.5M")
    page = figure6.make(tmp_path)
    assert "**No shortcut**: −1.0 points after 200 thousand pictures in a single seed" in page.finding
    write_results(tmp_path, {"base": [0.7, 0.72], "none": [0.68, 0.69]}, LONG, "figure6-650k")
    write_results(tmp_path, {"base": [0.5], "none": [0.4], "t2": [0.3]})
    (tmp_path / "figure6-of-others").mkdir()
    page = figure6.make(tmp_path)
    rows = [row for row in page.tables[0].rows if row[3] != "not trained"]
    assert [row[:3] for row in rows[:3]] == [(figure6.BASE, "16,000", "1"), ("", "100,000", "2"), ("", "200,000", "1")]
    assert [row[:2] for row in rows[3:]] == [("no shortcut", "16,000"), ("", "100,000"), ("", "200,000")]
    assert [budget["seen"] for budget in page.document["budgets"]] == [16_000, 100_000, 200_000]
    assert "8,000 training pictures for 2 epochs (16 thousand seen; 1.0 minutes a run); 50,000 training" in page.text
    assert "tested on the same 5,000 pictures" in page.text


def test_two_folders_of_one_budget_are_refused(tmp_path: Path) -> None:
    for folder in ("figure6", "figure6-more"):
        write_results(tmp_path, {"base": [0.5]}, SHORT, folder)
    with pytest.raises(
        MissingResultsError, match=r"figure6-more' and '.*figure6' have the same budget\. Put their runs"
    ):
        read_budgets(tmp_path)


def test_a_folder_of_a_larger_budget_is_held_to_it(tmp_path: Path) -> None:
    write_results(tmp_path, {"base": BASE})
    write_results(tmp_path, {"base": BASE}, LONG, "figure6-650k")
    write_results(tmp_path, {"none": [0.5]}, LONGER, "figure6-650k")
    with pytest.raises(MissingResultsError, match=r"figure6-650k/none-0\.json' has another budget than"):
        figure6.make(tmp_path)


def test_results_are_of_the_budgets_by_whose_names_their_folders_go() -> None:
    results = Path(__file__).parents[2] / "docs" / "experiments"
    known = {folder_of(results, name): budget for name, budget in BUDGETS.items()}
    folders = [folder for folder in results.glob("figure6*") if any(folder.glob("*.json"))]
    assert folders
    for folder in folders:
        check_budget(folder, known[folder])


def test_the_sweeps_are_shown_as_far_as_they_are_run(tmp_path: Path) -> None:
    write_results(tmp_path, {"base": [0.5, 0.6]})
    with pytest.raises(MissingResultsError, match=r"no results of sweeps in .*Make them by `python"):
        sweeps.make(tmp_path)
    write_results(tmp_path, {"t2": [0.4], "t10": [0.6], "width1.0": [0.7]})
    page = sweeps.make(tmp_path)
    assert [[row[0] for row in table.rows] for table in page.tables] == [["2", "6", "10"], ["0.35", "1"]]
    assert page.tables[0].rows[1][3:] == ("2", "55.0 ± 5.0 %")
    assert "Not yet run: expansion at matched multiply-adds" in page.notes[-1]


def test_missing_broken_and_stale_results_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingResultsError, match=r"no results of trainings in '.*figure6'\. Make them by `python"):
        read_runs(tmp_path / "figure6")
    write_results(tmp_path, {"base": [0.5, 0.6]})
    path = tmp_path / "figure6" / "base-1.json"
    stale = {**json.loads(path.read_text()), "multiply_adds": 1}
    path.write_text(json.dumps(stale))
    with pytest.raises(MissingResultsError, match=r"base-1\.json' has another budget than .*base-0\.json', or"):
        read_runs(tmp_path / "figure6")
    path.write_text("{")
    with pytest.raises(MissingResultsError, match=r"base-1\.json' is not a result of a run"):
        figure6.make(tmp_path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"top1": [0.5]}, "it has 1 epochs of 2"),
        ({"seconds": None}, "TypeError"),
        ({"budget": {"epochs": 2}, "top1": [0.5, 0.6]}, "another budget"),
        ({"name": "relu6", "seed": 1}, r"is a copy of relu6-1\.json"),
        ({"name": "base", "seed": 0}, r"is a copy of base-0\.json"),
    ],
)
def test_results_that_are_cut_short_or_another_run_are_named(
    tmp_path: Path, change: dict[str, object], reason: str
) -> None:
    write_results(tmp_path, {"base": [0.5, 0.6]})
    path = tmp_path / "figure6" / "base-1.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(MissingResultsError, match=rf"base-1\.json' .*{reason}"):
        figure6.make(tmp_path)


def test_results_without_a_budget_are_named(tmp_path: Path) -> None:
    path = tmp_path / "figure6" / "base-0.json"
    document = {"top1": [0.5], "multiply_adds": cost(VARIANTS["base"]).multiply_adds}
    write_run(path, document)
    with pytest.raises(MissingResultsError, match=r"base-0\.json' is not a whole result of a run \(KeyError: 'budget'"):
        figure6.make(tmp_path)


@pytest.mark.parametrize("name", ["base-0 (1)", "base-01", "base-x", "base-"])
def test_a_file_of_another_name_is_named(tmp_path: Path, name: str) -> None:
    write_results(tmp_path, {"base": [0.5, 0.6]})
    (tmp_path / "figure6" / "base-0.json").rename(tmp_path / "figure6" / f"{name}.json")
    with pytest.raises(MissingResultsError, match=r"json' is not named as a result is, NAME-SEED\.json\. Rename or"):
        figure6.make(tmp_path)


def test_a_sweep_says_where_it_has_one_seed_only(tmp_path: Path) -> None:
    write_results(tmp_path, {"base": [0.5, 0.6], "t2": [0.4, 0.5], "width1.0": [0.7]})
    said = sweeps.make(tmp_path).finding
    assert "the highest is 55.0 % at 6." in said
    assert "the highest is 70.0 % at 1 (points of one seed among them)." in said


def write_parquet(path: Path, count: int) -> None:
    """Noise of 32 pixels in ten classes that differ in brightness."""
    generator = np.random.default_rng(count)
    images = []
    for number in range(count):
        darkest = 15 * (number % 10)
        pixels = generator.integers(darkest, darkest + 100, (32, 32, 3), dtype=np.uint8)
        content = io.BytesIO()
        Image.fromarray(pixels).save(content, "PNG")
        images.append({"bytes": content.getvalue()})
    table = arrow.table(
        {"img": [image["bytes"] for image in images], "label": [number % 10 for number in range(count)]}
    )
    parquet.write_table(table, path)


@pytest.mark.slow
def test_the_command_trains_what_is_missing_and_keeps_the_networks(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train.parquet", 300)
    write_parquet(tmp_path / "test.parquet", 60)
    script = Path(__file__).parents[2] / "benchmarks" / "ablations.py"
    results, kept = tmp_path / "results", tmp_path / "kept"
    command = [sys.executable, str(script), str(tmp_path), "--out", str(results), "--keep", str(kept)]
    command += ["--pictures", "256", "--epochs", "1", "--seeds", "1", "--only", "variants", "first"]
    first = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert first.count("top-1") == 5
    (results / "none-0.json").unlink()
    again = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert again.startswith("none seed 0: top-1")
    assert again.count("top-1") == 1
    assert sorted(path.stem for path in kept.iterdir()) == sorted(f"{name}-0" for name in (*VARIANTS, "mobilenet_v1"))
    assert linnet.load(kept / "base-0.safetensors").checkpoint.architecture == VARIANTS["base"]
    assert set(read_runs(results)) == {*VARIANTS, "mobilenet_v1"}

"""Are runs paired and resumable, and is a claim made only where its interval excludes zero?"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from linnet.architecture.cost import cost
from linnet.paper.ablations import VARIANTS, Budget, check_budget, experiments, paired, plan, read_run, write_run


def test_the_paired_interval_of_known_numbers() -> None:
    # Differences 1, 2, 3, 4, 5: mean 3, standard deviation sqrt(2.5), error sqrt(0.5), t(4) = 2.7764.
    found = paired([1.0, 2.0, 3.0, 4.0, 5.0], [0.0] * 5)
    assert found.mean == 3
    assert found.standard_error == pytest.approx(0.5**0.5)
    assert (found.low, found.high) == pytest.approx((3 - 2.7764 * 0.5**0.5, 3 + 2.7764 * 0.5**0.5))
    assert found.shown


def test_an_interval_that_holds_zero_is_not_shown() -> None:
    assert not paired([0.5, 0.7, 0.6], [0.6, 0.6, 0.6]).shown


@pytest.mark.parametrize("counts", [(1, 1), (3, 4), (11, 11)])
def test_too_few_too_many_or_unequal_seeds_are_refused(counts: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=f"2 to 10 seeds of both, not {counts[0]} and {counts[1]}"):
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


def test_the_first_mobilenet_is_matched_within_three_percent() -> None:
    networks = experiments()
    ratio = cost(networks["mobilenet_v1"]).multiply_adds / cost(networks["base"]).multiply_adds
    assert abs(ratio - 1) < 0.03


def test_runs_of_another_budget_are_not_mixed(tmp_path: Path) -> None:
    write_run(tmp_path / "base-0.json", {"top1": [0.5], "budget": asdict(Budget())})
    check_budget(tmp_path, Budget())
    with pytest.raises(ValueError, match=r"base-0\.json' was trained with .*Give it a folder of its own"):
        check_budget(tmp_path, Budget(epochs=9))

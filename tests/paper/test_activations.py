"""Are ranks and counts those of the tensors, and are results shown, or refused with a reason?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from linnet.architecture import MobileNetV1, MobileNetV2
from linnet.checkpoint import random_checkpoint
from linnet.paper import figure5, figure7, manifold
from linnet.paper.activations import (
    Counts,
    Covariance,
    components_needed,
    measure_activations,
    participation_ratio,
    read_activations,
)
from linnet.paper.page import MissingResultsError
from linnet.predictor import Predictor


def test_the_spectrum_of_known_covariances() -> None:
    assert participation_ratio(np.full(7, 3.0)) == pytest.approx(7)
    assert participation_ratio(np.array([5.0, 0, 0])) == 1
    assert participation_ratio(np.array([2.0, 1.0])) == pytest.approx(9 / 5)
    assert components_needed(np.full(100, 1.0)) == 99
    assert components_needed(np.array([98.0, 1.5, 0.5])) == 2
    assert components_needed(np.array([1.0, 0.0])) == 1
    assert components_needed(np.zeros(3)) == 0
    assert participation_ratio(np.zeros(3)) == 0


def test_pieces_have_the_covariance_of_the_whole() -> None:
    vectors = np.random.default_rng(0).normal(3, 2, (500, 6)).astype(np.float32) @ np.triu(np.ones((6, 6), np.float32))
    covariance = Covariance(6)
    for part in np.array_split(vectors, 7):
        covariance.add(part)
    expected = np.linalg.eigvalsh(np.cov(vectors.T.astype(np.float64), bias=True))[::-1]
    np.testing.assert_allclose(covariance.eigenvalues(), expected, rtol=1e-9)
    assert covariance.count == 500


def test_a_plane_in_many_channels_has_two_components() -> None:
    generator = np.random.default_rng(1)
    covariance = Covariance(30)
    covariance.add((generator.normal(size=(400, 2)) @ generator.normal(size=(2, 30))).astype(np.float32))
    assert components_needed(covariance.eigenvalues()) == 2


def test_positive_channels_are_counted_at_every_position() -> None:
    tensor = np.array([[[[1, 0, 2], [0, 0, 0]], [[1, 1, 1], [0, 6, 0]]]], np.float32)
    counts = Counts()
    counts.add(tensor)
    counts.add(tensor[:, :1])
    found = counts.to_json()
    assert (found["least"], found["most"]) == (0, 3)
    assert found["mean"] == pytest.approx(8 / 6)
    assert found["deviation"] == pytest.approx(np.std([2, 0, 3, 1, 2, 0]))


@pytest.fixture(scope="module")
def measured() -> list[dict[str, Any]]:
    predictor = Predictor(random_checkpoint(MobileNetV2(width=0.35, resolution=32, classes=4)), threads=1)
    pixels = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    return measure_activations(predictor, [pixels[:3], pixels[3:]])


def test_a_network_is_measured_as_its_tensors_say(measured: list[dict[str, Any]]) -> None:
    assert [block["block"] for block in measured] == [f"blocks.{number}" for number in range(1, 17)]
    predictor = Predictor(random_checkpoint(MobileNetV2(width=0.35, resolution=32, classes=4)), threads=1)
    pixels = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    tensors = predictor.tensors(pixels, ["blocks.3.expand", "blocks.3"])
    positive = (tensors["blocks.3.expand"] > 0).sum(axis=-1)
    block = measured[2]
    assert block["positive"]["mean"] == pytest.approx(positive.mean())
    assert (block["positive"]["least"], block["positive"]["most"]) == (positive.min(), positive.max())
    # All 8 x 8 positions of a map go into the covariance.
    vectors = tensors["blocks.3"].reshape(-1, tensors["blocks.3"].shape[-1]).astype(np.float64)
    spectrum = np.asarray(np.linalg.eigvalsh(np.cov(vectors.T, bias=True))[::-1], np.float64)
    assert block["bottleneck"]["participation"] == pytest.approx(participation_ratio(spectrum), rel=1e-6)
    assert block["bottleneck"]["samples"] == len(vectors) == 4 * 8 * 8 // 4


def test_networks_without_expansions_and_no_pictures_are_refused() -> None:
    first = Predictor(random_checkpoint(MobileNetV1(width=0.25, resolution=32, classes=4)), threads=1)
    with pytest.raises(ValueError, match="no block that expands"):
        measure_activations(first, [])
    second = Predictor(random_checkpoint(MobileNetV2(width=0.35, resolution=32, classes=4)), threads=1)
    with pytest.raises(ValueError, match="not one picture"):
        measure_activations(second, [])


def write_result(folder: Path, name: str, blocks: list[dict[str, Any]], **more: Any) -> Path:
    document = {"width": 0.35, "resolution": [32, 32], "data": "noise", "pictures": 4, "positions": 64}
    path = folder / "activations" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document | {"trained": blocks} | more))
    return path


def test_the_pages_show_what_was_measured(tmp_path: Path, measured: list[dict[str, Any]]) -> None:
    write_result(tmp_path, "thin", measured)
    with pytest.raises(MissingResultsError, match="has an initial network"):
        figure7.make(tmp_path)
    write_result(tmp_path, "both", measured, initial=measured)
    page = figure7.make(tmp_path)
    assert [table.caption.split(",")[0] for table in page.tables] == ["both"]
    assert len(page.tables[0].rows) == 16
    assert page.plot is not None
    page = manifold.make(tmp_path)
    assert [row[0] for row in page.tables[0].rows] == ["both", "thin"]
    shares = [block["bottleneck"]["components"] / block["bottleneck"]["channels"] for block in measured]
    assert page.document["summaries"]["thin"]["spanning_width"] == pytest.approx(0.35 * max(shares))
    assert page.document["summaries"]["thin"]["bottleneck"]["components"] == pytest.approx(np.median(shares))


def test_a_name_is_no_formula(tmp_path: Path, measured: list[dict[str, Any]]) -> None:
    write_result(tmp_path, "a$^$b|c", measured, initial=measured)
    for page in (figure7.make(tmp_path), manifold.make(tmp_path)):
        assert len(page.write(tmp_path / "pages")) == 4
    assert "a$^$b\\|c | 0.35 |" in (tmp_path / "pages" / "manifold.md").read_text()


def test_the_page_says_whether_there_were_samples_enough(tmp_path: Path, measured: list[dict[str, Any]]) -> None:
    # Maps of one position: 4 vectors of 4 pictures, for 336 channels.
    write_result(tmp_path, "few", measured)
    assert "0.0 vectors a channel at the fewest, of which" in manifold.make(tmp_path).notes[-1]
    enough = json.loads(json.dumps(measured[:1]))
    enough[0]["expansion"]["samples"] = 20 * enough[0]["expansion"]["channels"]
    write_result(tmp_path, "few", enough)
    assert "vectors a channel or more" in manifold.make(tmp_path).notes[-1]


def test_below_the_threshold_is_what_has_fewer_than_the_bottleneck(measured: list[dict[str, Any]]) -> None:
    changed = [
        {**block, "positive": {**block["positive"], "least": block["inputs"] - (block["block"] == "blocks.5")}}
        for block in measured
    ]
    assert figure7.below_threshold(changed) == ["blocks.5"]


def test_the_papers_own_plot_has_three_below() -> None:
    below = [number for number, (total, _, (_, least, _)) in enumerate(figure7.PRINTED) if least < total / 6]
    assert below == [5, 12, 15]


def test_missing_and_broken_activations_are_named(tmp_path: Path, measured: list[dict[str, Any]]) -> None:
    with pytest.raises(MissingResultsError, match=r"no measured activations in .*Make them by `python"):
        read_activations(tmp_path / "activations")
    write_result(tmp_path, "good", measured)
    changed = [{**measured[0], "bottleneck": {"channels": 8, "components": 9}}]
    for content in ("{", "[]", "{}", json.dumps({"width": 1, "trained": changed})):
        (tmp_path / "activations" / "bad.json").write_text(content)
        with pytest.raises(MissingResultsError, match=r"bad\.json' holds no measured activations .* Delete it"):
            manifold.make(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        lambda block: block["positive"].pop("least"),
        lambda block: block["positive"].update(most=block["expansion"]["channels"] + 1),
        lambda block: block["bottleneck"].update(participation=-1),
        lambda block: block["bottleneck"].update(participation=float("nan")),
        lambda block: block["expansion"].update(samples=0),
        lambda block: block.update(inputs=0),
        lambda block: block.update(block="stem"),
    ],
)
def test_a_changed_result_is_named(tmp_path: Path, measured: list[dict[str, Any]], change: Any) -> None:
    blocks = json.loads(json.dumps(measured))
    write_result(tmp_path, "changed", blocks, initial=blocks)
    assert figure7.make(tmp_path).tables
    change(blocks[0])
    write_result(tmp_path, "changed", blocks, initial=blocks)
    for page in (figure7, manifold):
        with pytest.raises(MissingResultsError, match=r"changed\.json' holds no measured activations"):
            page.make(tmp_path)


def test_blocks_that_were_not_measured_twice_are_named(tmp_path: Path, measured: list[dict[str, Any]]) -> None:
    for trained, initial in ((measured[:2], measured[:1]), ([], [])):
        write_result(tmp_path, "uneven", trained, initial=initial)
        with pytest.raises(MissingResultsError, match=r"uneven\.json' .*it has no blocks, or others"):
            figure7.make(tmp_path)


def test_figure_5_shows_points_of_our_own_where_they_are(tmp_path: Path) -> None:
    page = figure5.make(tmp_path)
    assert len(page.tables) == 1
    assert "imagenet-samples.json' is not there" in page.notes[-1]
    row = {"model": "a", "family": "MobileNetV2", "width": 1.0, "resolution": 224, "multiply_adds": 300_774_272}
    path = tmp_path / "imagenet-samples.json"
    path.write_text(json.dumps([{**row, "pictures": 500, "top1": 0.894}]))
    page = figure5.make(tmp_path)
    assert page.tables[1].rows == [("MobileNetV2 1 at 224 (`a`)", "89.4", "300,774,272", "500")]
    assert "another test set" in page.notes[-1]
    stale = json.dumps([{**row, "pictures": 5, "top1": 0.9, "multiply_adds": 290_000_000}])
    nameless = json.dumps(
        [{**{key: value for key, value in row.items() if key != "model"}, "pictures": 5, "top1": 0.9}]
    )
    for content in ("[{}]", "[1]", "[]", "{}", stale, nameless, json.dumps([{**row, "pictures": 5, "top1": 89.4}])):
        path.write_text(content)
        with pytest.raises(MissingResultsError, match=r"imagenet-samples\.json' holds no measured networks"):
            figure5.make(tmp_path)


def test_mobilenet_v2_lies_above_mobilenet_v1_at_every_cost_that_both_have(tmp_path: Path) -> None:
    rows = figure5.make(tmp_path).document["rows"]
    second = sorted((row["multiply_adds"], row["top1"]) for row in rows if row["network"].startswith("MobileNetV2"))
    for row in rows:
        if row["network"].startswith("MobileNetV1"):
            # Some MobileNetV2 that costs no more is better.
            assert max(top1 for count, top1 in second if count <= row["multiply_adds"]) > row["top1"]

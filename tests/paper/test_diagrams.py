"""Do figures 2 to 4 draw the network that they are given, and another one otherwise?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from linnet.architecture import MobileNetV1, MobileNetV2
from linnet.paper import figure2, figure3, figure4, make, slabs
from linnet.paper.page import Page


def _channels(drawn: slabs.Chain) -> list[int]:
    return [slab.channels for slab in drawn.slabs]


def test_figure_2_draws_the_middle_of_both_networks() -> None:
    regular, separable, cut, bottleneck = figure2.chains(MobileNetV1(), MobileNetV2())
    assert _channels(regular) == [512, 512]
    assert _channels(separable) == [512, 512, 512]
    assert _channels(cut) == [384, 384, 64, 384]
    assert _channels(bottleneck) == [64, 384, 384, 64]
    assert [slab.linear for slab in cut.slabs] == [False, False, True, False]
    assert [slab.linear for slab in bottleneck.slabs] == [True, False, False, True]
    assert [slab.ahead for slab in cut.slabs] == [False, False, False, True]


def test_figure_2_counts_by_the_formulas_of_the_paper() -> None:
    costs = [block["multiply_adds"] for block in figure2.make().document["blocks"]]
    area, wide, thin = 14 * 14, 512, 64
    assert costs[0] == area * wide * wide * 9
    assert costs[1] == area * wide * (9 + wide)
    # h w d' t (d' + k² + d''): the printed formula of a bottleneck.
    assert costs[2] == costs[3] == area * thin * 6 * (thin + 9 + thin)


def test_another_architecture_is_drawn_otherwise() -> None:
    first, second = MobileNetV1(width=0.5), MobileNetV2(width=0.5, expansion=4, projection_activation="relu6")
    regular, _, _, bottleneck = figure2.chains(first, second)
    assert _channels(regular) == [256, 256]
    assert _channels(bottleneck) == [32, 128, 128, 32]
    assert not any(slab.linear for slab in bottleneck.slabs)
    assert "ReLU6 bottleneck" in bottleneck.title
    bare = figure2.chains(MobileNetV1(), MobileNetV2(expansion=1))
    assert _channels(bare[3]) == [64, 64, 64]
    assert _pixels(figure2.make(first, second)) != _pixels(figure2.make())


def _pixels(page: Page) -> bytes:
    assert page.plot is not None
    page.plot.canvas.draw()
    return bytes(page.plot.canvas.buffer_rgba())  # type: ignore[attr-defined]


def test_a_slab_is_as_thick_as_it_has_channels() -> None:
    drawn = figure2.chains(MobileNetV1(), MobileNetV2())[3]
    gaps = slabs.width_of(drawn, 0.01) - 0.01 * sum(_channels(drawn))
    assert slabs.width_of(drawn, 0.02) - 0.02 * sum(_channels(drawn)) == pytest.approx(gaps)


def test_figure_3_joins_wide_tensors_and_thin_ones() -> None:
    wide, thin = figure3.chains(MobileNetV2())
    assert (_channels(wide), wide.joined) == ([384, 384, 64, 384], True)
    assert (_channels(thin), thin.joined) == ([64, 384, 384, 64], True)
    document = figure3.make().document["blocks"]
    assert [block["multiply_adds"] for block in document] == [10_311_168] * 2
    # float32: 384 and 64 channels of 14 x 14, of which two of each, and the two thin ones, are alive at the sum.
    assert [block["kept_bytes"] for block in document] == [4 * 196 * 384, 4 * 196 * 64]
    assert [block["alive_bytes"] for block in document] == [4 * 196 * 2 * (384 + 64), 4 * 196 * 2 * 64]


def test_figure_3_has_no_shortcut_where_the_network_has_none() -> None:
    network = MobileNetV2(shortcut="none")
    assert [drawn.joined for drawn in figure3.chains(network)] == [True, False]
    assert _pixels(figure3.make(network)) != _pixels(figure3.make())
    with pytest.raises(ValueError, match=r"Without an expansion"):
        figure3.chains(MobileNetV2(expansion=1))


def test_figure_4_adds_at_stride_one_alone() -> None:
    first, same, strided = figure4.columns(MobileNetV1(), MobileNetV2())
    assert [len(column.steps) for column in (first, same, strided)] == [2, 3, 3]
    assert [column.joined for column in (first, same, strided)] == [False, True, False]
    assert [max(step.stride for step in column.steps) for column in (same, strided)] == [1, 2]
    blocks = {block.name: block for block in MobileNetV2().blocks}
    assert blocks[same.name].joins_input
    assert not blocks[strided.name].joins_input
    # The block of 24 channels at 56 x 56: 3136 x 144 x 57.
    assert figure4.make().document["blocks"][1]["multiply_adds"] == 25_740_288


def test_figure_4_draws_what_it_is_given() -> None:
    narrow = figure4.make(MobileNetV1(width=0.25), MobileNetV2(width=0.5, shortcut="none"))
    assert [block["channels"] for block in narrow.document["blocks"]] == [
        [32, 32, 32],
        [16, 96, 96, 16],
        [8, 48, 48, 16],
    ]
    assert not any(block["joined"] for block in narrow.document["blocks"])
    assert _pixels(narrow) != _pixels(figure4.make())


@pytest.mark.parametrize("name", ["figure2", "figure3", "figure4"])
def test_a_diagram_is_written_as_both_kinds_of_picture(name: str, tmp_path: Path) -> None:
    written = make(name).write(tmp_path)
    assert sorted(path.suffix for path in written) == [".json", ".md", ".png", ".svg"]
    with Image.open(tmp_path / f"{name}.png") as image:
        assert len(image.getcolors(maxcolors=1_000_000) or []) > 20
    document: dict[str, Any] = json.loads((tmp_path / f"{name}.json").read_text())
    assert document["blocks"]


@pytest.mark.parametrize("name", ["figure2", "figure3", "figure4"])
def test_without_matplotlib_text_and_tables_are_left(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("linnet.paper.page.find_spec", lambda _: None)
    page = make(name)
    assert page.plot is None
    assert "| multiply-adds |" in page.markdown()
    assert ".png" not in page.markdown()

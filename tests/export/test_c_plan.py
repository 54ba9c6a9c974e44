"""Is the plan of a C file as small as it can be, and is whatever a step reads still there when it reads it?"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from conftest import ROOT
from hypothesis import given, settings
from networks import architectures, detectors
from numpy.typing import NDArray
from quantised import quantised_checkpoint

from linnet.architecture import Architecture, Detector, MobileNetV1, MobileNetV2
from linnet.architecture.cost import cost
from linnet.architecture.ssdlite import ssdlite
from linnet.export.microcontroller.layers import Network, network_of
from linnet.export.microcontroller.placing import Item, Overlap, place
from linnet.export.microcontroller.plan import PICTURE, Map, Plan, make_plan
from linnet.export.microcontroller.stages import Stage, run_rows

FIGURES: dict[str, tuple[Architecture, int, int]] = {
    "V2 0.3 at 64": (MobileNetV2(width=0.3, resolution=64), 9_216, 12_000),
    "V2 0.35 at 96": (MobileNetV2(width=0.35, resolution=96), 15_264, 19_000),
    "V2 0.35 at 144": (MobileNetV2(width=0.35, resolution=144), 26_256, 33_000),
    "V2 0.5 at 128": (MobileNetV2(width=0.5, resolution=128), 30_528, 38_000),
    "V2 1.0 at 224": (MobileNetV2(), 122_464, 150_000),
    "V1 0.25 at 96, grey": (MobileNetV1(width=0.25, resolution=96, input_channels=1, classes=2), 17_696, 22_000),
}
"""Network → bytes of the arena by arithmetic, and the most that it may have."""


def planned(architecture: Architecture) -> tuple[Network, Plan]:
    checkpoint = quantised_checkpoint(architecture)
    network = network_of(checkpoint, np.zeros((architecture.input_channels, 256), np.float32), fixed=False)
    return network, make_plan(network)


@pytest.mark.parametrize("name", FIGURES)
def test_memory_is_the_least_that_rows_need(name: str) -> None:
    architecture, least, most = FIGURES[name]
    _, plan = planned(architecture)
    assert plan.arena == least <= most
    assert multiply_adds(plan) == cost(architecture).multiply_adds


def test_the_page_says_so() -> None:
    page = (ROOT / "docs" / "howto" / "deploy-microcontroller.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| (MobileNet[^|]+) \| [^|]+ \| ([\d,]+) \|", page, re.MULTILINE))
    assert rows == {name.replace("V", "MobileNetV", 1): f"{least:,}" for name, (_, least, _) in FIGURES.items()}


def multiply_adds(plan: Plan) -> int:
    """Of all rows that the plan makes."""
    total = 0
    for step in plan.steps:
        if step.kind == "chain":
            order = run_rows(step.stages, fed=step.stages[0].reads == PICTURE).order
            total += sum(per_row(step.stages[number]) for number, _ in order)
        elif step.stages:
            total += per_row(step.stages[0]) * step.stages[0].shape[0]
    return total


def per_row(stage: Stage) -> int:
    weights = [layer.weights for layer in (stage.filter, stage.product) if layer is not None]
    return stage.shape[1] * sum(each.weights.size for each in weights if each is not None)


class Shadow:
    """An arena in which every byte knows which number of which tensor it is."""

    def __init__(self, size: int) -> None:
        self.tags = np.full(size, -1, np.int64)

    def places(self, area: Map, row: int) -> slice:
        begin = area.offset + row % area.slots * area.width * area.channels
        return slice(begin, begin + area.width * area.channels)

    def tags_of(self, layer: int, area: Map, row: int) -> NDArray[np.int64]:
        count = area.width * area.channels
        return (layer + 2) * 10**9 + row * count + np.arange(count)

    def write(self, layer: int, area: Map, row: int) -> None:
        self.tags[self.places(area, row)] = self.tags_of(layer, area, row)

    def check(self, layer: int, area: Map, row: int) -> None:
        assert np.array_equal(self.tags[self.places(area, row)], self.tags_of(layer, area, row)), (layer, row)


def run_shadow(network: Network, plan: Plan) -> None:
    """Runs a plan without numbers: all that is read must be what was written there."""
    shadow = Shadow(plan.arena)
    for step, maps, (tile, pixels) in zip(plan.steps, plan.maps, plan.tiles, strict=True):
        height = 0
        if step.kind == "chain":
            stages = step.stages
            fed, given = stages[0].reads == PICTURE, -1
            for number, row in run_rows(stages, fed=fed).order:
                stage = stages[number]
                first, last = stage.rows[row]
                while fed and number == 0 and given < last:
                    given += 1
                    shadow.write(PICTURE, maps[PICTURE], given)
                for read in range(first, last + 1):
                    shadow.check(stage.reads, maps[stage.reads], read)
                if stage.added is not None:
                    shadow.check(stage.added, maps[stage.added], row)
                if stage.gathered:
                    shadow.tags[tile : tile + pixels[number] * stage.gathered] = -2
                    for read in range(first, last + 1):
                        shadow.check(stage.reads, maps[stage.reads], read)
                    if stage.added is not None:
                        shadow.check(stage.added, maps[stage.added], row)
                shadow.write(stage.result, maps[stage.result], row)
            continue
        reads = step.reads(network)
        for read in reads:
            for row in range(maps[read].height):
                shadow.check(read, maps[read], row)
        if step.result >= 0:
            height = maps[step.result].height
            for row in range(height):
                shadow.write(step.result, maps[step.result], row)


@settings(max_examples=8)
@given(architectures(largest_width=0.3, largest_side=64))
def test_nothing_that_is_read_was_overwritten(architecture: Architecture) -> None:
    network, plan = planned(architecture)
    run_shadow(network, plan)
    assert multiply_adds(plan) == cost(architecture).multiply_adds


@settings(max_examples=3)
@given(detectors(largest_width=0.2, largest_side=64))
def test_the_same_of_detectors(detector: Detector) -> None:
    network, plan = planned(detector)
    run_shadow(network, plan)


def test_a_plan_with_a_row_too_few_is_found_out() -> None:
    network, plan = planned(MobileNetV2(width=0.35, resolution=48, classes=3))
    first = plan.maps[0]
    ring = next(layer for layer, area in first.items() if area.slots == 3 and layer != PICTURE)
    first[ring] = Map(**{**vars(first[ring]), "slots": 2})
    with pytest.raises(AssertionError):
        run_shadow(network, plan)


def test_of_a_detector_whole_maps_are_kept_for_the_heads() -> None:
    network, plan = planned(ssdlite(width=0.2, resolution=65, classes=4))
    run_shadow(network, plan)
    assert {step.kind for step in plan.steps} == {"chain", "output"}


def test_items_lie_apart_or_as_they_may() -> None:
    items = [Item(100, 0, 1), Item(60, 1, 2), Item(40, 1, 1)]
    offsets, size = place(items, {(1, 0): Overlap(below=16, same=False)})
    assert size == 156
    assert offsets[1] + 16 <= offsets[0] or offsets[0] + 100 <= offsets[1]
    assert place(items, {})[1] == 200
    assert place([Item(8, 0, 1), Item(8, 1, 2)], {(1, 0): Overlap(below=None, same=True)}) == ([0, 0], 8)


def test_any_order_of_lives_fits() -> None:
    generator: Any = np.random.default_rng(0)
    for _ in range(20):
        begins = generator.integers(0, 6, 8).tolist()
        items = [Item(int(generator.integers(1, 50)), begin, begin + int(generator.integers(0, 3))) for begin in begins]
        offsets, size = place(items, {})
        for number, one in enumerate(items):
            assert offsets[number] % 4 == 0
            assert offsets[number] + one.bytes <= size
            for other in range(number):
                meets = items[other].first <= one.last and one.first <= items[other].last
                apart = (
                    offsets[number] + one.bytes <= offsets[other]
                    or offsets[other] + items[other].bytes <= offsets[number]
                )
                assert apart or not meets

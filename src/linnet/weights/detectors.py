"""SSD and SSDLite detectors in other people's files: what is found of one, and which detector that is.

Two outputs, boxes and classes, each join what one head a level gives; all other convolutions are one chain, backbone
and extra levels. Whoever reads a format fills in `Found`; from there on all are alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from linnet.architecture import SSD, Backbone, Detector, SSDLite, from_options
from linnet.architecture.ssdlite import BOX_CODE, RELEASED
from linnet.detection import anchors as anchors_of
from linnet.weights.chain import Chain, Step, backbones_of, first_match, outputs_by_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

SQUARES = 3
"""Anchors in a cell from which on two squares can stand elsewhere than first and last."""

ALIKE = 0.1
"""How far the logarithms of two shapes may differ: anchors may be rounded to eight bits."""

AXES = (1, 0, 3, 2)
"""TensorFlow's boxes and anchors are centre y, centre x, height, width."""

COCO_CLASSES = 90
"""Ids of COCO's classes, ten of which have none."""

NO_BOXES = "some of them have no width or height, or are no numbers"

OUTPUTS = ("offsets", "logits")

RATIOS = (1.0, 2.0, 0.5, 3.0, 0.3333)


@dataclass(frozen=True)
class Head:
    """One head.

    Attributes:
        operators: its convolutions.
        source: number of the map that they read.
        rows: number of what they become: the level's anchors one after the other.
        count: of these anchors.
    """

    operators: tuple[tuple[str, Any], ...]
    source: int
    rows: int
    count: int


@dataclass(frozen=True)
class Heads:
    """All heads of one output.

    Attributes:
        levels: of each level one, the finest first.
        joined: number of the tensor that joins them.
        columns: numbers for each anchor.
        passed: names of the operators behind the joining.
    """

    levels: tuple[Head, ...]
    joined: int
    columns: int
    passed: tuple[str, ...]


@dataclass(frozen=True)
class Found:
    """A detector as a file has it.

    Attributes:
        chain: backbone and extra levels, then the heads, level by level, boxes before classes.
        trunk: how many of the convolutions are no heads.
        boxes: its heads for boxes.
        classes: its heads for classes.
        count: of classes, without a background; None where the file does not say it.
        anchors: (A, 4) centre x, centre y, width, height as they are in the file, perhaps rounded; None without.
        step: how far they are rounded: 0 where they are not.
        softmax: whether the scores of an anchor sum to 1.
        added: columns of nothing put before the classes: 1 where the file has no background.
        orders: of each level, where the file has linnet's anchors of a cell; nothing where all are in linnet's order.
    """

    chain: Chain
    trunk: int
    boxes: Heads
    classes: Heads
    count: int | None
    anchors: NDArray[np.float32] | None
    step: float
    softmax: bool
    added: int = 0
    orders: tuple[tuple[int, ...], ...] = ()


def with_background(found: Found) -> Found:
    """The same with a background before the classes that says nothing: its weights are 0, and so are its logits."""
    order = (None, *range(found.classes.columns))
    return replace(found, chain=arranged(found, found.classes, order), added=1)


def arranged(found: Found, heads: Heads, order: tuple[int | None, ...]) -> Chain:
    """The chain, the numbers that one output's heads give for each anchor in another order; None is always 0."""
    chain = replace(found.chain, steps=list(found.chain.steps))
    place = found.trunk
    for box, own in zip(found.boxes.levels, found.classes.levels, strict=True):
        last = place + len(box.operators) - 1 + len(own.operators) * (heads is found.classes)
        chain.steps[last] = _in_order(chain.steps[last], heads.columns, order)
        place += len(box.operators) + len(own.operators)
    return chain


def _in_order(step: Step, columns: int, order: tuple[int | None, ...]) -> Step:
    """A last convolution of a head that gives the numbers of each anchor in another order."""

    def take(values: NDArray[Any], nothing: float | None) -> NDArray[Any]:
        rows = values.reshape(-1, columns, *values.shape[1:])
        taken = rows[:, [0 if each is None else each for each in order]]
        if nothing is not None:
            taken[:, [each is None for each in order]] = nothing
        return np.ascontiguousarray(taken.reshape(-1, *values.shape[1:]))

    stored = step.stored
    if stored is not None:
        # What is always 0 has the scale of its neighbour.
        scale = stored.scale if len(stored.scale) == 1 else take(stored.scale, None)
        stored = replace(stored, weight=take(stored.weight, stored.zero), scale=scale, bias=take(stored.bias, 0))
    return replace(step, weight=take(step.weight, 0), bias=take(step.bias, 0), stored=stored)


def in_usual_order(found: Found) -> Found:
    """The same with the larger square of each cell as its last anchor, as linnet and TensorFlow's generator have it.

    The detectors of Caffe and those trained in their order, such as face-api's, have it as the second.
    """
    if found.anchors is None:
        return found
    if not np.isfinite(found.anchors).all() or found.anchors[:, 2:].min(initial=1) <= 0:
        raise ValueError(f"its anchors are not those of an SSD: {NO_BOXES}")
    chain, anchors = replace(found.chain, steps=list(found.chain.steps)), found.anchors.copy()
    place, start, orders = found.trunk, 0, []
    for box, own in zip(found.boxes.levels, found.classes.levels, strict=True):
        ends = (place + len(box.operators) - 1, place + len(box.operators) + len(own.operators) - 1)
        place, stop = ends[1] + 1, start + box.count
        count = len(chain.steps[ends[0]].bias) // BOX_CODE
        rows = anchors[start:stop]
        if count < 1 or len(rows) != box.count or box.count % count:
            boxes = sum(head.count for head in found.boxes.levels)
            raise ValueError(f"it has {len(anchors):,} anchors, but its heads give {boxes:,} boxes")
        order = _order_of(rows[:count])
        anchors[start:stop] = rows.reshape(-1, count, BOX_CODE)[:, order].reshape(-1, BOX_CODE)
        for end, columns in zip(ends, (BOX_CODE, found.classes.columns + found.added), strict=True):
            places = tuple(anchor * columns + column for anchor in order for column in range(columns))
            if places != tuple(range(len(places))):
                chain.steps[end] = _in_order(chain.steps[end], len(places), places)
        orders.append(order)
        start = stop
    if all(order == tuple(range(len(order))) for order in orders):
        return found
    return replace(found, chain=chain, anchors=anchors, orders=tuple(orders))


def _order_of(cell: NDArray[np.float32]) -> tuple[int, ...]:
    """The places that the anchors of a cell have in the file, in linnet's order of them."""
    width, height = np.asarray(cell[:, 2:], np.float64).T
    places = tuple(range(len(cell)))
    if len(cell) < SQUARES or min(width.min(), height.min()) <= 0:
        return places
    # The first anchor is a square; in parts of a picture's sides it is one only where the picture is square.
    shape = (width / height) / (width[0] / height[0])
    alike = np.abs(np.log(shape)) < ALIKE
    if alike[1] and not alike[2:].any() and width[1] > width[0]:
        return (places[0], *places[2:], places[1])
    return places


def match_detector(found: Found, options: object = None) -> Detector:
    """The folded detector whose layers and anchors are just those that were found.

    Args:
        found: what the file has.
        options: of the detector that linnet wrote it from, where it did. They say what a file of raw heads does not:
            its anchors, and how logits become scores.

    Raises:
        ValueError: if none fits; the text says where the closest one differs.
    """
    own = from_options(options) if isinstance(options, dict) else None
    if isinstance(own, Detector) and (found.anchors is None or _same_anchors(own, found)):
        detector: Detector = first_match(found.chain, iter([own]))
    else:
        detector = first_match(found.chain, _candidates(found))
    _check_sources(detector, found)
    return detector


def _candidates(found: Found) -> Iterator[Detector]:
    levels, steps = len(found.boxes.levels), found.chain.steps
    # Heads on the smallest maps may filter nothing.
    separable = any(len(head.operators) == 2 for head in found.boxes.levels)
    kernels = _head_kernels(found)
    each = 3 if separable else 2
    columns = found.classes.columns + found.added
    for fine in (False, True):
        extras = levels - 2 - fine
        length = found.trunk - each * extras
        if extras < 0 or length < 2:
            continue
        backbone_chain = replace(found.chain, steps=steps[:length], pooled=None)
        outputs = [
            (len(steps[length + number * each].weight), len(steps[length + (number + 1) * each - 1].weight))
            for number in range(extras)
        ]
        ends = [steps[length + number * each - 1] for number in range(1, extras + 1)]
        for backbone in _backbones(backbone_chain):
            extra = extra_levels(outputs, backbone)
            if extra is None:
                continue
            options: dict[str, Any] = {
                "backbone": backbone,
                "classes": columns - 1,
                **extra,
                "extra_activation": _ending(ends, backbone),
                "fine_level": fine,
                "scoring": "softmax" if found.softmax else "sigmoid",
            }
            usual = 3 if separable else kernels[0]
            if not separable and usual in (1, 3):
                options["head_kernel"] = usual
            if kernels != (usual,) * levels:
                options["head_kernels"] = kernels
            filters = tuple(steps[length + number * each + 1].weight.shape[2] for number in range(extras))
            if filters != (3,) * extras:
                options["extra_kernels"] = filters
            kind = SSDLite if separable else SSD
            yield from _with_anchors(kind, options, found)


def _ending(ends: list[Step], backbone: Backbone) -> str:
    """Whether the last convolutions of extra levels have the activation of all others, or none."""
    linear = ends and all("linear" in step.activations and backbone.activation not in step.activations for step in ends)
    return "linear" if linear else "same"


def _head_kernels(found: Found) -> tuple[int, ...]:
    """The sides of the kernels of the heads for boxes, the finest level first; those for classes have the same."""
    firsts, place = [], found.trunk
    for box, own in zip(found.boxes.levels, found.classes.levels, strict=True):
        firsts.append(found.chain.steps[place].weight.shape[2])
        place += len(box.operators) + len(own.operators)
    return tuple(firsts)


def _backbones(chain: Chain) -> Iterator[Backbone]:
    """Backbones with these layers; those of TensorFlow's detectors, which are in nearly all files, first."""

    def released(backbone: Backbone) -> bool:
        return all(getattr(backbone, name, value) == value for name, value in RELEASED.items() if name != "resolution")

    yield from backbones_of(chain, released)
    yield from backbones_of(chain, lambda backbone: not released(backbone))


def extra_levels(outputs: list[tuple[int, int]], backbone: Backbone) -> dict[str, tuple[int, ...]] | None:
    """Options of a detector, before the width multiplier, that give the channels of its extra levels.

    Args:
        outputs: of each level the channels of its first convolution, and its own.
        backbone: of the detector.

    Returns:
        `extra_channels`, TensorFlow's own where they fit; and `reduced_channels` where the first ones are not half of
        them. None where nothing gives these.
    """

    def scaled(channels: float) -> int:
        return max(int(channels * backbone.width), backbone.minimum_depth)

    def unscaled(found: int, *likely: int) -> Iterator[int]:
        exact = found / backbone.width
        near = [*likely, *(round(exact / base) * base for base in (64, 16, 8, 2))]
        near += range(max(math.floor(exact), 1), math.ceil(exact + 1 / backbone.width) + 1)
        yield from (each for each in near if each > 0 and scaled(each) == found)

    usual = (512, 256, 256, 128)
    levels = [
        (reduced, list(unscaled(full, *usual[place : place + 1]))) for place, (reduced, full) in enumerate(outputs)
    ]
    halved = [[each for each in fitting if scaled(each / 2) == reduced] for reduced, fitting in levels]
    if all(halved):
        return {"extra_channels": tuple(fitting[0] for fitting in halved)}
    inner = [next(unscaled(reduced), None) for reduced, _ in outputs]
    if not all(fitting for _, fitting in levels) or None in inner:
        return None
    found = tuple(each for each in inner if each is not None)
    return {"extra_channels": tuple(fitting[0] for _, fitting in levels), "reduced_channels": found}


def _with_anchors(kind: type[Detector], options: dict[str, Any], found: Found) -> Iterator[Detector]:
    """Detectors with the anchors that a file could mean: TensorFlow's, then those read off it."""
    cells = [len(found.chain.steps[place].bias) // BOX_CODE for place in _last_of_boxes(found)]
    levels = len(cells)
    options = options | {"reduced_first_level": cells[0] == 3 and (levels == 1 or cells[1] != 3)}
    if any(count != cells[-1] for count in cells[options["reduced_first_level"] :]):
        raise ValueError(f"its levels have {cells} anchors in each cell, which no SSD of linnet has")
    ratios = cells[-1] - 1
    usual: dict[str, Any] = {
        "scales": tuple(float(scale) for scale in np.round(np.linspace(0.2, 0.95, levels), 6)),
        "aspect_ratios": RATIOS[:ratios],
    }
    if ratios < 1:
        raise ValueError(f"its levels have {cells} anchors in each cell, which no SSD of linnet has")
    choices = [usual] if ratios <= len(RATIOS) else []
    if found.anchors is not None:
        choices.append(_read_anchors(found, cells, options))
    elif not choices:
        raise ValueError(f"its levels have {cells} anchors in each cell, and it does not say which")
    for choice in choices:
        # Exactly as the file has them, or where what it rounds to no step, as the network learned them.
        for step in dict.fromkeys((found.step, 0.0)):
            detector = kind(**options, **choice, anchor_step=step)
            if found.anchors is None or _same_anchors(detector, found):
                yield detector
                return
    raise ValueError("its anchors are not those of an SSD: a square one of each scale, one between two, and ratios")


def _last_of_boxes(found: Found) -> list[int]:
    """Places in the chain of the last convolutions of the heads for boxes."""
    place, places = found.trunk, []
    for box, own in zip(found.boxes.levels, found.classes.levels, strict=True):
        places.append(place + len(box.operators) - 1)
        place += len(box.operators) + len(own.operators)
    return places


def _same_anchors(detector: Detector, found: Found) -> bool:
    """Whether the anchors of a file are a detector's, as far as they are rounded."""
    assert found.anchors is not None
    if detector.anchors != len(found.anchors):
        return False
    rounded = 0.51 * found.step if not detector.anchor_step else 0
    return bool(np.abs(anchors_of(detector) - found.anchors).max() <= rounded + 1e-4)


def _read_anchors(found: Found, cells: list[int], options: dict[str, Any]) -> dict[str, Any]:
    """Scales and ratios, read off the first cell of each level."""
    assert found.anchors is not None
    height, width = found.chain.input_shape[:2]
    across, down = min(height, width) / width, min(height, width) / height
    sizes = np.asarray(found.anchors, np.float64)[:, 2:] / (across, down)
    starts = np.cumsum([0, *(head.count for head in found.boxes.levels[:-1])])
    scales, ratios = [], [1.0]
    for number, start in enumerate(starts):
        if start >= len(sizes):
            raise ValueError("it has fewer anchors than its heads give boxes")
        first = math.sqrt(abs(sizes[start, 0] * sizes[start, 1]))
        scales.append(round(2 * first if number == 0 and options["reduced_first_level"] else first, 6))
        ratios = [round(float(w / max(h, 1e-9)), 4) for w, h in sizes[start : start + cells[-1] - 1]]
    return {"scales": tuple(scales), "aspect_ratios": tuple(ratios)}


def _check_sources(detector: Detector, found: Found) -> None:
    """Raises a ValueError unless each head reads the map that the detector's does."""
    numbers = outputs_by_name(detector, found.chain)
    for level, box, own in zip(detector.levels, found.boxes.levels, found.classes.levels, strict=True):
        if {box.source, own.source} != {numbers[level.source]}:
            raise ValueError(f"its heads read other maps than {level.source}, which the closest detector's read")


def detector_outputs(detector: Detector, found: Found) -> dict[str, int]:
    """Name of each intermediate tensor → the file's own number of it."""
    numbers = outputs_by_name(detector, found.chain)
    for output, heads in (("offsets", found.boxes), ("logits", found.classes)):
        numbers[output] = heads.joined
        numbers |= {f"{output}.{number}": head.rows for number, head in enumerate(heads.levels)}
    return numbers


def comparable(outputs: Mapping[str, Any], found: Found) -> dict[str, Any]:
    """Of a detector's tensors those that can be compared with the file's: levels in another order only one by one."""
    return {name: place for name, place in outputs.items() if not found.orders or name not in OUTPUTS}


def named(found: Found, names: tuple[str, ...] | None, notes: list[str]) -> tuple[Found, tuple[str, ...] | None]:
    """The detector with the background that its class names tell of, and the names of its classes.

    Raises:
        ValueError: if there are more or fewer names than classes.
    """
    columns = found.classes.columns
    if names is None:
        of_coco = columns - 1 + found.added == COCO_CLASSES
        if found.count is None:
            notes.append(
                f"It has {columns} scores an anchor and no class names: the first is taken for the background. "
                "`--labels FILE` names all of them."
            )
        elif not of_coco:
            notes.append("The file names no classes: they are numbered. `--labels FILE` names them.")
        if of_coco:
            notes.append("It has 90 classes: they are taken for COCO's. `--labels FILE` names others.")
        return found, coco_classes() if of_coco else None
    first = names[0].lower() if names else ""
    if len(names) == columns and not found.added:
        if first in ("background", "???") or found.count is not None:
            return found, names[1:]
        if found.count is None:
            return with_background(found), names
    if len(names) != columns - 1 + found.added:
        raise ValueError(f"it has {columns} scores an anchor, but there are {len(names)} labels")
    return found, names


def coco_classes() -> tuple[str, ...]:
    """The names of COCO's ids, 1 to 90, as TensorFlow's detectors have them; the ten that COCO left out are `???`."""
    return tuple((Path(__file__).parent / "coco_classes.txt").read_text(encoding="utf-8").splitlines())


def columns_of(detector: Detector, found: Found) -> dict[str, tuple[int, tuple[int, ...]]]:
    """Names of tensors whose numbers the file has in another order: how many an anchor has, and those of the file."""
    slots = found.classes.columns + found.added
    orders = {"offsets": (BOX_CODE, AXES), "logits": (slots, tuple(range(found.added, slots)))}
    if found.orders:
        orders = {
            f"{output}.{number}": (
                columns * len(order),
                tuple(anchor * columns + each for anchor in _inverse(order) for each in places),
            )
            for output, (columns, places) in orders.items()
            for number, order in enumerate(found.orders)
        }
    return columns_by_name(detector, orders)


def _inverse(order: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(order.index(place) for place in range(len(order)))


def columns_by_name(
    detector: Detector, orders: Mapping[str, tuple[int, tuple[int, ...]]]
) -> dict[str, tuple[int, tuple[int, ...]]]:
    """What is said of the outputs or of single levels (`offsets.0`), said of all tensors whose numbers they join."""
    result: dict[str, tuple[int, tuple[int, ...]]] = {}
    for output, order in orders.items():
        names = {output, *(f"{output}.{number}" for number in range(len(detector.levels)))}
        names |= {operation.reads[0] for operation in detector.operations if operation.name in names - set(OUTPUTS)}
        graph = detector.graph
        result |= {alias: order for alias, name in graph.aliases.items() if name in names}
    return result

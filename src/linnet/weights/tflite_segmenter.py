"""DeepLab segmenters in TFLite files: which maps are joined, resized and classified, and which network that is.

Read are networks of the paper's kind, from anywhere: a backbone, image pooling, perhaps ASPP, a 1x1 convolution that
joins them, logits and their resizing, with the best class of each pixel or without. Others, such as those with a
decoder, are read where linnet wrote them and says so in the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain as chain_of
from typing import Any

import numpy as np
import tflite

from linnet.architecture import INPUT, Add, Concatenate, DeepLab, Operation, Pool, Resize, from_options
from linnet.architecture.operations import Grid
from linnet.weights.chain import Chain, Step, backbones_of, first_match
from linnet.weights.tflite_graph import ChainBuilder, Graph, NotOurs

POOLINGS = ("MEAN", "AVERAGE_POOL_2D")

OPERATORS: dict[type[Operation], tuple[str, ...]] = {
    Add: ("ADD",),
    Pool: POOLINGS,
    Resize: ("RESIZE_BILINEAR",),
    Concatenate: ("CONCATENATION",),
}
"""Kind of operation → the operators that may stand for it, but for those that a convolution has with it."""

APART = ("RESIZE_BILINEAR", "CONCATENATION", "ARG_MAX", "QUANTIZE", "DEQUANTIZE", "CAST", *POOLINGS)
"""Operators that belong to no chain of convolutions."""

LAST_CHANNELS = 1280
"""Of a last convolution that a backbone is thought to have while its width is found."""


@dataclass(frozen=True)
class FoundSegmenter:
    """A segmenter as a file has it.

    Attributes:
        chain: its convolutions in the order of `DeepLab`'s.
        trunk: how many of them are the backbone's.
        producers: number of each tensor → the operator that gives it.
        grid: where pixels lie when maps are resized.
        classes: how many there are.
    """

    chain: Chain
    trunk: int
    producers: dict[int, tuple[str, Any]]
    grid: Grid
    classes: int


def find_segmenter(graph: Graph, *, ours: bool = False) -> FoundSegmenter | None:
    """What a file has of a segmenter; None if it is none. `ours` has its convolutions in the order of `DeepLab`'s.

    Raises:
        NotOurs: if it is a segmenter that linnet does not have.
    """
    producers = {int(operator.Outputs(0)): (name, operator) for name, operator in graph.operators}
    kinds = {name for name, _ in producers.values()}
    if len(graph.outputs) != 1 or not {"RESIZE_BILINEAR", "DEPTHWISE_CONV_2D"} <= kinds:
        return None
    number = graph.outputs[0]
    while producers.get(number, ("",))[0] in ("ARG_MAX", "RESIZE_BILINEAR", "CAST", "QUANTIZE", "DEQUANTIZE"):
        number = _read(producers[number][1], 0)
    if producers.get(number, ("",))[0] != "CONV_2D":
        return None
    chain = _convolutions(graph)
    grids = {_grid(operator) for name, operator in graph.operators if name == "RESIZE_BILINEAR"}
    if len(grids) > 1:
        raise NotOurs(f"it resizes maps in several ways; {graph.describe()}")
    features = [_read(operator, 0) for name, operator in graph.operators if name in POOLINGS]
    pooled = {number for number, (name, _) in producers.items() if name in POOLINGS}
    ends = (place for place, step in enumerate(chain.steps) if step.input in pooled.union(features))
    trunk = next(ends, len(chain.steps) - 1)
    heads = (
        chain.steps[trunk:] if ours else sorted(chain.steps[trunk:], key=lambda step: _place(step, pooled, features))
    )
    recodes = any(_recodes(graph, producers, number) for each in _joined(producers) for number in each)
    chain = replace(
        chain,
        steps=[*chain.steps[:trunk], *heads],
        averaged=any(name == "AVERAGE_POOL_2D" for name, _ in producers.values()),
        joining="quantize" if recodes else "concatenation",
    )
    return FoundSegmenter(chain, trunk, producers, grids.pop(), graph.shape(number)[-1])


def _read(operator: Any, place: int) -> int:
    return int(operator.Inputs(place))


def _joined(producers: dict[int, tuple[str, Any]]) -> list[list[int]]:
    """Of each concatenation the numbers of what it reads, in order."""
    return [
        [_read(operator, place) for place in range(operator.InputsLength())]
        for name, operator in producers.values()
        if name == "CONCATENATION"
    ]


def _recodes(graph: Graph, producers: dict[int, tuple[str, Any]], number: int) -> bool:
    """Whether a tensor is another one in another encoding of the same type."""
    name, operator = producers.get(number, ("", None))
    return name == "QUANTIZE" and graph.dtype(_read(operator, 0)) == graph.dtype(number)


def _place(step: Step, pooled: set[int], features: list[int]) -> tuple[int, int]:
    """Where a convolution behind the features stands: image pooling, ASPP by its rates, and the rest as it comes."""
    if step.input in pooled:
        return 0, 0
    return (1, step.dilation) if step.input in features else (2, 0)


def _convolutions(graph: Graph) -> Chain:
    """All convolutions in the order of the file, each wherever it reads."""
    builder = ChainBuilder(graph, graph.picture_shape())
    for name, operator in graph.operators:
        entering = name == "CAST" and not builder.chain.steps
        if name in APART and not entering:
            continue
        first = _read(operator, 0)
        # A sum is the last convolution's, whichever of its terms the file has first.
        own = name == "ADD" and builder.chain.steps and _read(operator, 1) == builder.chain.steps[-1].output
        builder.walk([(name, operator)], current=_read(operator, 1) if own else first)
    return builder.chain


def _grid(operator: Any) -> Grid:
    table, options = operator.BuiltinOptions(), tflite.ResizeBilinearOptions()
    if table is None:
        return "asymmetric"
    options.Init(table.Bytes, table.Pos)
    if options.AlignCorners():
        return "align_corners"
    return "half_pixel" if options.HalfPixelCenters() else "asymmetric"


def match_segmenter(found: FoundSegmenter, options: object = None) -> tuple[DeepLab, dict[str, int]]:
    """The folded segmenter whose layers are just those that were found, and the file's numbers of its tensors.

    Args:
        found: what the file has.
        options: of the segmenter that linnet wrote it from, where it did.

    Raises:
        ValueError: if none fits; the text says where the closest one differs.
    """
    own = from_options(options) if isinstance(options, dict) else None
    candidates = iter([own.with_options(folded=True)]) if isinstance(own, DeepLab) else _candidates(found)
    segmenter = first_match(found.chain, candidates)
    return segmenter, _numbers(segmenter, found)


def _candidates(found: FoundSegmenter) -> Iterator[DeepLab]:
    heads = found.chain.steps[found.trunk :]
    trunk = replace(found.chain, steps=found.chain.steps[: found.trunk])
    # Of a MobileNetV2 the last convolution is left away, by whose channels its options are found.
    features = len(trunk.steps[-1].weight) if trunk.steps else 0
    zeros = np.zeros((LAST_CHANNELS, features, 1, 1), np.float32)
    end = replace(
        trunk.steps[0], weight=zeros, bias=zeros[:, 0, 0, 0], depthwise=False, stride=1, dilation=1, pads=(0, 0, 0, 0),
        stored=None, sum_source=None, sum_output=None,
    )  # fmt: skip
    whole = replace(trunk, steps=[*trunk.steps, end])
    options: dict[str, Any] = {
        "classes": found.classes,
        "grid": found.grid,
        "image_pooling": bool(heads) and heads[0].input in _poolings(found),
        "aspp": {0: "none", 3: "full"}.get(sum(step.dilation > 1 for step in heads), "none"),
        "context_channels": len(heads[0].weight) if len(heads) > 1 else 1,
    }
    for backbone in chain_of(
        backbones_of(whole, lambda each: True),
        backbones_of(trunk, lambda each: True),
    ):
        yield DeepLab(backbone=backbone, **options)


def _poolings(found: FoundSegmenter) -> set[int]:
    return {number for number, (name, _) in found.producers.items() if name in POOLINGS}


def _numbers(segmenter: DeepLab, found: FoundSegmenter) -> dict[str, int]:
    """Name of each intermediate tensor → the file's own number of it, found by what reads what.

    Raises:
        ValueError: if something reads another tensor than the segmenter's does.
    """
    steps = dict(zip((each.name for each in segmenter.convolutions), found.chain.steps, strict=True))
    numbers = {INPUT: found.chain.steps[0].input}
    for operation in segmenter.operations:
        read = [numbers[name] for name in operation.reads]
        step, number = steps.get(operation.name), None
        if step is not None:
            number = step.output if read[0] in (step.input, _origin(found, step.input)) else None
        elif operation.adds:
            number = next((steps[name].sum_output for name in operation.reads if name in steps), None)
        if number is None and type(operation) in OPERATORS:
            number = _reading(found, OPERATORS[type(operation)], read)
        if number is None:
            raise ValueError(f"{operation.name} of the closest segmenter reads other tensors than the file has for it")
        numbers[operation.name] = number
    return {alias: numbers[name] for alias, name in segmenter.graph.aliases.items()}


def _origin(found: FoundSegmenter, number: int) -> int:
    """What a tensor was before it was recoded."""
    name, operator = found.producers.get(number, ("", None))
    return _read(operator, 0) if name == "QUANTIZE" else number


def _reading(found: FoundSegmenter, kinds: tuple[str, ...], read: list[int]) -> int | None:
    """What an operator of some kind gives that reads just these tensors, perhaps recoded."""
    for number, (name, operator) in found.producers.items():
        if name in kinds:
            given = [_read(operator, place) for place in range(operator.InputsLength())]
            given = [each if each in read else _origin(found, each) for each in given]
            # Behind the tensors there may be constants: sizes, axes.
            if given[: len(read)] == read:
                return number
    return None

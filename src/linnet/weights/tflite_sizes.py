"""The sizes of maps in TFLite files that take pictures of any size: what they are for pictures of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tflite

if TYPE_CHECKING:
    from linnet.weights.tflite_graph import Graph

USUAL_SIDE = 224
"""Assumed in both directions: what nearly all classifiers were trained on."""

KEEPING = ("ADD", "RELU", "RELU6", "QUANTIZE", "DEQUANTIZE", "CAST", "MUL", "SUB", "DIV")


def is_open(graph: Graph) -> bool:
    """Whether a file does not say how large its pictures are."""
    signature = graph.signature(graph.input_tensor)
    return len(signature) == 4 and min(signature[1:3]) < 1


def sizes_of(graph: Graph, height: int, width: int) -> dict[int, tuple[int, ...]]:
    """Number of each map → its shape, for pictures of a size; what no map is keeps the shape that it has."""
    _, _, _, channels = graph.shape(graph.input_tensor)
    shapes: dict[int, tuple[int, ...]] = {graph.input_tensor: (1, height, width, channels)}
    for name, operator in graph.operators:
        source = shapes.get(int(operator.Inputs(0)))
        if source is None or len(source) != 4:
            continue
        output = int(operator.Outputs(0))
        if name in KEEPING:
            shapes[output] = source
        elif name in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            sides = _convolved(graph, operator, source, depthwise=name != "CONV_2D")
            shapes[output] = (1, *sides, graph.shape(output)[-1])
        elif name == "PAD":
            amounts = graph.stored(int(operator.Inputs(1)))
            if amounts is not None and amounts.shape == (4, 2):
                shapes[output] = tuple(
                    side + int(more.sum()) for side, more in zip(source, amounts.astype(int), strict=True)
                )
    return shapes


def _convolved(graph: Graph, operator: Any, source: tuple[int, ...], *, depthwise: bool) -> tuple[int, int]:
    options = tflite.DepthwiseConv2DOptions() if depthwise else tflite.Conv2DOptions()
    table = operator.BuiltinOptions()
    options.Init(table.Bytes, table.Pos)
    kernel = graph.shape(int(operator.Inputs(1)))[1:3]
    strides = (options.StrideH(), options.StrideW())
    dilations = (options.DilationHFactor(), options.DilationWFactor())
    if min(*strides, *dilations) < 1:
        raise ValueError("a convolution of it has no stride")
    reaches = [(side - 1) * dilation + 1 for side, dilation in zip(kernel, dilations, strict=True)]
    if options.Padding() == tflite.Padding.SAME:
        reaches = [1, 1]
    height, width = (
        (side - reach) // stride + 1 for side, reach, stride in zip(source[1:3], reaches, strides, strict=True)
    )
    return height, width

"""A Keras model run as its description says, layer by layer in numpy: what conversions are compared with.

Runs in the precision of its inputs. Written from the definition of each layer and from nothing of linnet's networks:
maps are (N, H, W, C), kernels are as the file has them, batch norm stays where it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from linnet.weights.keras_graph import read_graph
from linnet.weights.keras_layers import Layer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from linnet.weights.conversion import Conversion

    Array = NDArray[np.float32]


class KerasRuntime:
    """The layers of a converted file, as they stand in it.

    Args:
        conversion: of a Keras or TensorFlow.js file.

    Raises:
        OSError: if the file cannot be read any more.
        ValueError: if it is another one by now.
    """

    def __init__(self, conversion: Conversion) -> None:
        from linnet.weights import keras, tfjs

        path = conversion.source
        model = keras.open_model(path) if keras.takes(path) else tfjs.open_model(path)
        if model.description is None or model.digest != conversion.checkpoint.provenance["sha256"]:
            raise ValueError(f"'{path}' is not the file any more that was converted.")
        self._outputs = conversion.outputs
        self._layers = model.description.layers
        self._tensors = [model.pool.tensors(layer) for layer in self._layers]
        graph = read_graph(model.description, model.pool)
        self._scale, self._offset = graph.scale, graph.offset

    def run(self, inputs: Array) -> dict[str, Array]:
        """Normalised pictures (N, H, W, C) → what the layers give, by the names of linnet's tensors."""
        if self._scale is not None and self._offset is not None:
            # The network normalises by itself: it is given what it does that to.
            inputs = ((inputs - self._offset) / self._scale).astype(inputs.dtype)
        values: list[Array] = []
        for layer, tensors in zip(self._layers, self._tensors, strict=True):
            if layer.kind == "InputLayer":
                values.append(inputs)
                continue
            run = RUN.get(layer.kind)
            read = [values[number] for number in layer.reads]
            # What is left does nothing but while training.
            values.append(read[0] if run is None else run(layer, tensors, read))
        return {name: values[number] for name, number in self._outputs.items()}


def _convolution(layer: Layer, tensors: Mapping[str, Array], inputs: Sequence[Array]) -> Array:
    config = layer.config
    stride, dilation = config.get("strides", 1), config.get("dilation_rate", 1)
    stride, dilation = (value[0] if isinstance(value, list) else value for value in (stride, dilation))
    outputs = convolve(
        inputs[0],
        tensors["kernel"],
        stride=stride,
        dilation=dilation,
        same=config.get("padding", "valid") == "same",
        depthwise=layer.kind == "DepthwiseConv2D",
    )
    return _activate(layer, np.asarray(outputs + tensors.get("bias", np.float32(0))))


def convolve(x: Array, kernel: Array, *, stride: int, dilation: int, same: bool, depthwise: bool) -> Array:
    """TensorFlow's convolution of maps (N, H, W, C).

    Args:
        x: the maps.
        kernel: (k, k, in, out); of a depthwise one (k, k, C, outputs a channel).
        stride: in both directions.
        dilation: likewise.
        same: whether there are as many outputs as strides begin, the odd zero at the end; else no zeros are added.
        depthwise: whether each channel is filtered by itself.
    """
    size = kernel.shape[0]
    if same:
        before_and_after = []
        for length in x.shape[1:3]:
            total = max((-(-length // stride) - 1) * stride + (size - 1) * dilation + 1 - length, 0)
            before_and_after.append((total // 2, total - total // 2))
        x = np.pad(x, ((0, 0), *before_and_after, (0, 0)))
    reach = (size - 1) * dilation + 1
    rows, columns = ((length - reach) // stride + 1 for length in x.shape[1:3])
    outputs = 0
    for i in range(size):
        for j in range(size):
            top, left = i * dilation, j * dilation
            seen = x[:, top : top + (rows - 1) * stride + 1 : stride, left : left + (columns - 1) * stride + 1 : stride]
            if depthwise:
                # Output c x multiplier + m is of channel c.
                tap = seen[..., None] * kernel[i, j]
                outputs = outputs + tap.reshape(*tap.shape[:3], -1)
            else:
                outputs = outputs + seen @ kernel[i, j]
    return np.asarray(outputs)


def _normalise(layer: Layer, tensors: Mapping[str, Array], inputs: Sequence[Array]) -> Array:
    variance = tensors["moving_variance"].astype(inputs[0].dtype) + float(layer.config.get("epsilon", 0.001))
    centred = inputs[0] - tensors["moving_mean"]
    scaled = centred / np.sqrt(variance) * tensors.get("gamma", np.float32(1))
    return np.asarray(scaled + tensors.get("beta", np.float32(0)))


def _rectify(layer: Layer, tensors: Mapping[str, Array], inputs: Sequence[Array]) -> Array:
    most = layer.config.get("max_value")
    return np.maximum(inputs[0], 0) if most is None else np.clip(inputs[0], 0, most)


def _activate(layer: Layer, x: Array) -> Array:
    activation = layer.config.get("activation", "linear")
    if isinstance(activation, dict):
        activation = activation.get("config")
    return {"relu": lambda: np.maximum(x, 0), "relu6": lambda: np.clip(x, 0, 6)}.get(str(activation), lambda: x)()


def _pad(layer: Layer, tensors: Mapping[str, Array], inputs: Sequence[Array]) -> Array:
    padding = layer.config["padding"]
    if isinstance(padding, int):
        padding = [padding, padding]
    rows, columns = ((side, side) if isinstance(side, int) else tuple(side) for side in padding)
    return np.pad(inputs[0], ((0, 0), rows, columns, (0, 0)))


def _mean(layer: Layer, tensors: Mapping[str, Array], inputs: Sequence[Array]) -> Array:
    keeps = layer.kind == "AveragePooling2D" or bool(layer.config.get("keepdims"))
    return np.asarray(inputs[0].mean(axis=(1, 2), keepdims=keeps))


def _dense(layer: Layer, tensors: Mapping[str, Array], inputs: Sequence[Array]) -> Array:
    return _activate(layer, np.asarray(inputs[0] @ tensors["kernel"] + tensors.get("bias", np.float32(0))))


def _rescale(layer: Layer, tensors: Mapping[str, Array], inputs: Sequence[Array]) -> Array:
    scale, offset = (np.asarray(layer.config.get(name, usual)) for name, usual in (("scale", 1.0), ("offset", 0.0)))
    return (inputs[0] * scale + offset).astype(inputs[0].dtype)


def _standardise(layer: Layer, tensors: Mapping[str, Array], inputs: Sequence[Array]) -> Array:
    mean, variance = (tensors[n] if n in tensors else np.asarray(layer.config[n]) for n in ("mean", "variance"))
    scaled = (inputs[0] - mean.ravel()) / np.maximum(np.sqrt(variance.ravel()), 1e-7)
    return scaled.astype(inputs[0].dtype)


def _operate(layer: Layer, tensors: Mapping[str, Array], inputs: Sequence[Array]) -> Array:
    name = str(layer.config.get("function", layer.kind))
    if len(inputs) > 1:
        return inputs[0] + inputs[1]
    if not layer.constants:
        return inputs[0]
    number = float(layer.constants[0][1])
    if "ivide" in name or "truediv" in name:
        return inputs[0] / number
    if "ultiply" in name:
        return inputs[0] * number
    return inputs[0] - number if "ubtract" in name else inputs[0] + number


def _softmax(layer: Layer, tensors: Mapping[str, Array], inputs: Sequence[Array]) -> Array:
    """As they are: what conversions are compared with are logits."""
    return inputs[0] if layer.kind == "Softmax" else _activate(layer, inputs[0])


def _reshape(layer: Layer, tensors: Mapping[str, Array], inputs: Sequence[Array]) -> Array:
    target = layer.config.get("target_shape", [-1])
    return inputs[0].reshape(len(inputs[0]), *target)


RUN: dict[str, Callable[[Layer, Mapping[str, Array], Sequence[Array]], Array]] = {
    "Conv2D": _convolution,
    "Convolution2D": _convolution,
    "DepthwiseConv2D": _convolution,
    "BatchNormalization": _normalise,
    "BatchNormalizationV1": _normalise,
    "BatchNormalizationV2": _normalise,
    "ReLU": _rectify,
    "Activation": _softmax,
    "Softmax": _softmax,
    "ZeroPadding2D": _pad,
    "Add": _operate,
    "GlobalAveragePooling2D": _mean,
    "AveragePooling2D": _mean,
    "Flatten": _reshape,
    "Reshape": _reshape,
    "Dense": _dense,
    "Rescaling": _rescale,
    "Normalization": _standardise,
    "TFOpLambda": _operate,
    "TrueDivide": _operate,
    "Divide": _operate,
    "Multiply": _operate,
    "Subtract": _operate,
}
"""Class of layer → what it does; of an activation that ends a network, nothing, as logits are compared."""

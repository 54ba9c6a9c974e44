"""Files of face-api's detector with random weights: its names, axes, order of anchors and constants."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from linnet.architecture import SSD, MobileNetV1
from linnet.detection import anchors
from linnet.weights.face_api import ANCHORS, OFFSET, SCALE, SIZE

MANIFEST = "ssd_mobilenetv1_model-weights_manifest.json"
SWAPPED = [1, 0, 3, 2]
LARGE_SQUARE_SECOND = [0, 5, 1, 2, 3, 4]
NETWORK = SSD(
    backbone=MobileNetV1(width=0.25, resolution=128, classes=None, minimum_depth=16, batch_norm_epsilon=0.001),
    classes=2,
    head_kernel=1,
    scales=(0.2, 0.35, 0.5, 0.65, 0.8, 0.95),
)

Array = NDArray[np.float32]


def cells(values: Array, columns: int, order: list[int]) -> Array:
    """The rows of a head with the anchors of a cell in another order."""
    rows = values.reshape(-1, columns, *values.shape[1:])
    return rows[order if len(rows) == len(order) else slice(None)].reshape(values.shape)


def tensors_of(tensors: dict[str, Any]) -> dict[str, Array]:
    """face-api's names and axes: batch norm stays behind filters alone, boxes are y, x, height, width."""
    found: dict[str, Array] = {}
    for convolution in NETWORK.convolutions:
        label = convolution.label
        part = {key.rpartition(".")[2]: values for key, values in tensors.items() if key.startswith(f"{label}.")}
        weight, kind = part["weight"], label.split(".")
        if convolution.depthwise:
            name = f"MobilenetV1/Conv2d_{int(kind[1]) + 1}_depthwise"
            found[f"{name}/depthwise_weights"] = weight.transpose(2, 3, 0, 1)
            for vector, own in (
                ("gamma", "scale"), ("beta", "shift"), ("moving_mean", "mean"), ("moving_variance", "variance"),
            ):  # fmt: skip
                found[f"{name}/BatchNorm/{vector}"] = part[own]
            continue
        if kind[0] == "predictors":
            columns = 4 if kind[2] == "boxes" else 3
            bias = part["bias"]
            if columns == 4:
                weight, bias = (
                    each.reshape(-1, 4, *each.shape[1:])[:, SWAPPED].reshape(each.shape) for each in (weight, bias)
                )
            weight, bias = (cells(each, columns, LARGE_SQUARE_SECOND) for each in (weight, bias))
            name = f"Prediction/BoxPredictor_{kind[1]}/{'BoxEncoding' if columns == 4 else 'Class'}Predictor"
            found[f"{name}/weights"], found[f"{name}/biases"] = weight.transpose(2, 3, 1, 0), bias
            continue
        factor = part["scale"] / np.sqrt(part["variance"] + np.float32(0.001))
        bias = part["shift"] - part["mean"] * factor
        weight = weight * factor[:, None, None, None]
        if kind[0] == "extras":
            name = f"Prediction/Conv2d_{2 * int(kind[1]) + (kind[2] != 'reduce')}_pointwise"
        else:
            name = f"MobilenetV1/Conv2d_{0 if kind[0] == 'stem' else int(kind[1]) + 1}_pointwise"
        found[f"{name}/weights"] = weight.transpose(2, 3, 1, 0)
        found[f"{name}/convolution_bn_offset"] = bias
    boxes = np.asarray(anchors(NETWORK), np.float32)
    levels, start = [], 0
    for level in NETWORK.levels:
        count = len(level.anchors) * level.size[0] * level.size[1]
        rows = boxes[start : start + count].reshape(-1, len(level.anchors), 4)
        levels.append(rows[:, LARGE_SQUARE_SECOND if len(level.anchors) == 6 else slice(None)].reshape(-1, 4))
        start += count
    swapped = np.concatenate(levels)[:, SWAPPED]
    centres, halves = swapped[:, :2], swapped[:, 2:] / 2
    corners = np.concatenate([centres - halves, centres + halves], axis=1)
    return found | {
        ANCHORS: corners[None],
        SIZE: np.array([128, 128], np.float32),
        SCALE: np.array(2 / 255, np.float32),
        OFFSET: np.array(1, np.float32),
        "Prediction/BoxPredictor_0/stack_1/2": np.array(3, np.float32),
    }


def save(tensors: dict[str, Array], folder: Path) -> Path:
    listed = [{"name": name, "shape": list(np.shape(values)), "dtype": "float32"} for name, values in tensors.items()]
    (folder / "model.bin").write_bytes(b"".join(np.asarray(values, "<f4").tobytes() for values in tensors.values()))
    path = folder / MANIFEST
    path.write_text(json.dumps([{"weights": listed, "paths": ["model.bin"]}]))
    return path

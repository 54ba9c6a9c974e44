"""Which parts of a picture spoke for a class: exactly, as the network's last two steps are an average and a sum.

A classifier ends with the mean of its last map over all places, and a linear layer of it. The mean and the sum may
change places: each place of the map has a share in a class's logit, and the logit is the mean of the shares plus the
class's bias. Zhou et al. (CVPR 2016, https://arxiv.org/abs/1512.04150) call it a class activation map; for these
networks nothing about it is approximate. Hidden layers behind the average bend the sum, and have no such map.

Of a network in eight bits the shares are those of the numbers that its integers stand for. Its average and its logit
are rounded to integers after that, so that mean and logit may differ by half a step of each (`rounding`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from linnet.architecture import Operation
from linnet.images import seen_box
from linnet.results import Classification

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from linnet.images import Picture
    from linnet.predictor import Predictor


@dataclass(frozen=True, eq=False)
class Explanation:
    """What spoke for one class on one picture.

    Attributes:
        result: all classes.
        index: the class that is explained.
        shares: (h, w) float64, the share of each place of the last map in the class's logit.
        bias: of the class.
        logit: as the network gave it: the mean of `shares` plus `bias`.
        rounding: by which the two may differ because integers were rounded; 0 of a network in float.
        box: x0, y0, x1, y1 in pixels of the picture, as it is seen upright: where `shares` lie.
    """

    result: Classification
    index: int
    shares: NDArray[np.float64]
    bias: float
    logit: float
    rounding: float
    box: tuple[float, float, float, float]


class Explainer:
    """Explains what a classifier says.

    Raises:
        ValueError: if the network does not end with an average and one linear layer.
    """

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        pool, linear = _ending(predictor)
        self._names = (pool.reads[0], linear.name)
        tensors = predictor.checkpoint.dequantised().tensors
        self._weights = np.asarray(tensors[f"{linear.name}.weight"], np.float64)  # (classes, C)
        self._biases = np.zeros(len(self._weights))
        if f"{linear.name}.bias" in linear.tensors:
            self._biases = np.asarray(tensors[f"{linear.name}.bias"], np.float64)
        self._steps = self._find_steps(pool, linear)

    def __call__(self, picture: Picture, index: int | None = None) -> Explanation:
        """What spoke for a class, counted from 0; without one for the most probable.

        Raises:
            ValueError: if the picture cannot be decoded, or there is no such class.
            OSError: if the file is missing or may not be read.
        """
        predictor = self.predictor
        prepared = predictor.prepare(picture)
        tensors = predictor.tensors(prepared.pixels[None], self._names)
        features, logits = (tensors[name][0] for name in self._names)
        result = Classification.from_logits(logits, predictor.classes)
        index = result.index if index is None else index
        if not 0 <= index < len(self._weights):
            raise ValueError(f"`index` (={index}) must be from 0 to {len(self._weights) - 1}.")
        weights = self._weights[index]
        return Explanation(
            result,
            index,
            shares=features.astype(np.float64) @ weights,
            bias=float(self._biases[index]),
            logit=float(logits[index]),
            rounding=float(self._steps[0] * np.abs(weights).sum() + self._steps[1]) / 2,
            box=seen_box(prepared.size, predictor.preprocessing),
        )

    def _find_steps(self, pool: Operation, linear: Operation) -> tuple[float, float]:
        """What an integer more stands for, in the average and in the logits; 0 of a network in float."""
        quantisation = self.predictor.checkpoint.quantisation
        if quantisation is None:
            return 0.0, 0.0
        average, logits = (quantisation.encodings[name] for name in (pool.name, linear.name))
        return float(average.scale), float(logits.scale)


def _ending(predictor: Predictor) -> tuple[Operation, Operation]:
    """The last two operations of a network whose answers have maps."""
    if predictor.network.task != "classification":
        raise ValueError(f"Only a classifier's answers are explained; this network is for {predictor.network.task}.")
    if predictor.architecture.classes is None:
        raise ValueError("This network has no classifier: there is no answer to explain.")
    ending = predictor.architecture.graph.averaged
    if ending is None:
        raise ValueError(
            "This network has hidden layers between its average and its classifier: its answer is no sum over the "
            "places of a picture, so that no map explains it exactly. Networks without `hidden` layers are explained."
        )
    return ending

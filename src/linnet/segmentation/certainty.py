"""How sure a segmenter is of a whole picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def mean_certainty(logits: NDArray[np.float32]) -> float:
    """The mean, over all places of a map, of the probability of the place's best class.

    Args:
        logits: (h, w, classes) of the network's own map, before it is resized.
    """
    best = logits.max(axis=-1, keepdims=True)  # (h, w, 1)
    # Of the best class the power is 1.
    return float((1 / np.exp(logits - best).sum(axis=-1)).mean(dtype=np.float64))

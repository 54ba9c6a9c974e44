"""How little sure a model is of a picture: by the score of its result, and by a second look at the least sure ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from linnet.data.pieces import Readable

Pictures = Callable[[], Iterator["Readable"]]
"""Gives the same pictures whenever it is called."""

SecondLook = Callable[[Pictures], Mapping[str, float]]
"""Pictures → the name of each, and a second number from 0, sure, to 1."""


@dataclass(frozen=True)
class Uncertainty:
    """How little sure a model is of pictures, from 0, sure, to 1.

    Attributes:
        of_score: by the score of a picture's row, None where it has none.
        second_look: at pictures, whose uncertainty is then the mean of both numbers; None where the score is all.
    """

    of_score: Callable[[float | None], float]
    second_look: SecondLook | None = None


def of_best(score: float | None) -> float:
    """1 less the probability of the best class."""
    return 1.0 - (score or 0.0)

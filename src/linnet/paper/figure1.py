"""Figure 1: a spiral embedded in n dimensions by a random matrix, through ReLU, and brought back.

Recipe: the input is the Archimedean spiral r = θ with 1000 samples θ = 0.0628 i; T is an n x 2 matrix of normal
numbers; the output is ReLU(X Tᵀ) pinv(T)ᵀ. The paper names neither the distribution of T nor what T⁻¹ is for n > 2; a
left inverse is what the plotted curves show.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from linnet.paper.page import Page, PaperTable, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

TITLE = "Figure 1: ReLU destroys information in few dimensions"

DIMENSIONS = (2, 3, 5, 15, 30)
SAMPLES = 1000
STEP = 0.0628
DRAWS = 2000
SEED = 1


def make() -> Page:
    """The panels, with the collapsed fraction measured over many random matrices beside Theorem 1's expectation."""
    generator = np.random.default_rng(SEED)
    rows, document = [], []
    for dimension in DIMENSIONS:
        matrices = generator.normal(size=(DRAWS, dimension, 2))
        measured, expected = collapsed_share(matrices), expected_collapse(dimension, 2)
        error = reconstruction_error(matrices)
        rows.append((str(dimension), f"{measured:.2%}", f"{expected:.2%}", f"{error:.2f}"))
        document.append({"dimension": dimension, "collapsed": measured, "expected": expected, "error": error})
    return Page(
        "figure1",
        TITLE,
        "A two-dimensional spiral is embedded in n dimensions, cut by ReLU, and brought back. Where fewer than two of "
        "the n coordinates stay positive, a piece of the plane collapses onto a line or a point: in 2 or 3 dimensions "
        "much of the spiral is lost, in 15 or 30 almost nothing. That is why the thin end of a block is linear.",
        (PaperTable(("n", "collapsed, measured", "Theorem 1", "median distance from half the input"), rows),),
        notes=(
            f"Measured over {DRAWS} random matrices; Theorem 1 gives 1 - N / 2^n with N the sum of the binomials "
            "C(n, k) for k from 0 to n - 2.",
            "As n grows, the output tends to half the input: a random half of the coordinates is cut off. The last "
            "column is the median over the matrices of |2 output - input| / |input|.",
            "In appendix A the sentence before the bound calls N / 2^n the collapsed share; by Theorem 1 it is the "
            "preserved one.",
        ),
        document={"draws": DRAWS, "seed": SEED, "rows": document},
        plot=_plot(),
    )


def spiral() -> NDArray[np.float64]:
    """(SAMPLES, 2) points of r = θ."""
    angles = STEP * np.arange(SAMPLES)
    return np.stack([angles * np.cos(angles), angles * np.sin(angles)], axis=1)


def through_relu(points: NDArray[np.float64], matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, 2) points embedded by an (n, 2) matrix, cut by ReLU, and brought back by its left inverse."""
    return np.maximum(points @ matrix.T, 0) @ np.linalg.pinv(matrix).T


def expected_collapse(dimension: int, inner: int) -> float:
    """Theorem 1: the mean share of the volume that falls into fewer than `inner` dimensions after ReLU(Bx)."""
    kept = sum(math.comb(dimension, count) for count in range(dimension - inner + 1))
    return 1 - kept / 2**dimension


def collapsed_share(matrices: NDArray[np.float64]) -> float:
    """Share of directions of the plane in which fewer than two coordinates are positive, over (draws, n, 2)."""
    angles = 2 * np.pi * (np.arange(360) + 0.5) / 360
    directions = np.stack([np.cos(angles), np.sin(angles)])
    positive = (matrices @ directions > 0).sum(axis=1)
    return float((positive < 2).mean())


def reconstruction_error(matrices: NDArray[np.float64]) -> float:
    """Median over the matrices of |2 output - input| / |input| on the spiral."""
    points = spiral()
    errors = [np.linalg.norm(2 * through_relu(points, matrix) - points) / np.linalg.norm(points) for matrix in matrices]
    return float(np.median(errors))


def _plot() -> Figure | None:
    figure = new_figure(14, 2.8)
    if figure is None:
        return None
    panels = figure.subplots(1, len(DIMENSIONS) + 1)
    points, generator = spiral(), np.random.default_rng(SEED)
    panels[0].plot(*points.T, linewidth=0.6)
    panels[0].set_title("input")
    for panel, dimension in zip(panels[1:], DIMENSIONS, strict=True):
        panel.plot(*through_relu(points, generator.normal(size=(dimension, 2))).T, linewidth=0.6)
        panel.set_title(f"output, n = {dimension}")
    for panel in panels:
        panel.set(xticks=[], yticks=[])
    return figure

"""Figure 1: a spiral embedded in n dimensions by a random matrix, through ReLU, and brought back.

Recipe: the input is the Archimedean spiral r = θ with 1000 samples θ = 0.0628 i; T is an n x 2 matrix of normal
numbers; the output is ReLU(X Tᵀ) pinv(T)ᵀ. The paper names neither the distribution of T nor what T⁻¹ is for n > 2; a
left inverse is what the plotted curves show.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from linnet.colours import BLUE, SERIES
from linnet.paper.page import Page, PaperTable, new_figure
from linnet.paper.prose import read

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray


DIMENSIONS = (2, 3, 5, 15, 30)
INTRINSIC = (1, 2, 4, 8)
EXPANSIONS = (1, 1.5, 2, 3, 4, 6)
DIRECTIONS = 90
SAMPLES = 1000
STEP = 0.0628
DRAWS = 2000
SEED = 1


def make() -> Page:
    """The panels, with the collapsed share measured over many random matrices beside Theorem 1's expectation."""
    generator = np.random.default_rng(SEED)
    rows: list[tuple[str, ...]] = []
    document: list[dict[str, float]] = []
    for dimension in DIMENSIONS:
        matrices = generator.normal(size=(DRAWS, dimension, 2))
        measured, expected = collapsed_share(matrices, generator), expected_collapse(dimension, 2)
        error = reconstruction_error(matrices)
        rows.append((str(dimension), f"{measured:.2%}", f"{expected:.2%}", f"{error:.2f}"))
        document.append({"dimension": dimension, "collapsed": measured, "expected": expected, "error": error})
    inner = list(collapse_by_expansion(generator))
    words = read("figure1", draws=DRAWS, directions=DIRECTIONS, lost=expected_collapse(96, 16), bound=2.0**-48)
    return Page(
        "figure1",
        words.title,
        words.text,
        (
            PaperTable(("m", "collapsed, measured", "Theorem 1", "median distance from half the input"), rows),
            PaperTable(
                ("t = m / n", *(f"n = {n}" for n in INTRINSIC)),
                [(f"{t:g}", *(_both(inner, n, t) for n in INTRINSIC)) for t in EXPANSIONS],
                "Collapsed share, measured (Theorem 1), by intrinsic dimension n",
            ),
        ),
        finding=(
            f"Of a plane {document[0]['collapsed']:.0%} collapses in 2 dimensions, {document[1]['collapsed']:.0%} in 3 "
            f"and {document[3]['collapsed']:.2%} in 15, as Theorem 1 says."
        ),
        notes=words.notes,
        document={"draws": DRAWS, "seed": SEED, "rows": document, "by_expansion": inner},
        plot=_plot(inner),
    )


def collapse_by_expansion(generator: np.random.Generator) -> Iterator[dict[str, float]]:
    """Collapsed share, measured and expected, for each intrinsic dimension and expansion to whole dimensions."""
    for inner in INTRINSIC:
        for expansion in EXPANSIONS:
            outer = round(expansion * inner)
            if outer != expansion * inner:
                continue
            measured = collapsed_share(generator.normal(size=(DRAWS, outer, inner)), generator)
            yield {
                "inner": inner,
                "expansion": expansion,
                "outer": outer,
                "collapsed": measured,
                "expected": expected_collapse(outer, inner),
            }


def _both(inner: Sequence[dict[str, float]], count: int, expansion: float) -> str:
    found = [row for row in inner if row["inner"] == count and row["expansion"] == expansion]
    return f"{found[0]['collapsed']:.1%} ({found[0]['expected']:.1%})" if found else "-"


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


def collapsed_share(matrices: NDArray[np.float64], generator: np.random.Generator) -> float:
    """Share of random directions of n dimensions in which fewer than n coordinates are positive, of (draws, m, n)."""
    draws, _, inner = matrices.shape
    directions = generator.normal(size=(draws, inner, DIRECTIONS))
    return float(((matrices @ directions > 0).sum(axis=1) < inner).mean())


def reconstruction_error(matrices: NDArray[np.float64]) -> float:
    """Median over the matrices of |2 output - input| / |input| on the spiral."""
    points = spiral()
    errors = [np.linalg.norm(2 * through_relu(points, matrix) - points) / np.linalg.norm(points) for matrix in matrices]
    return float(np.median(errors))


def _plot(inner: Sequence[dict[str, float]]) -> Figure | None:
    figure = new_figure(8, 7.6)
    if figure is None:
        return None
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=(4.8, 2.8))[:, 0]
    panels = above.subplots(2, (len(DIMENSIONS) + 1) // 2).flat
    points, generator = spiral(), np.random.default_rng(SEED)
    panels[0].plot(*points.T, linewidth=0.8, color=BLUE)
    panels[0].set_title("input")
    for panel, dimension in zip(panels[1:], DIMENSIONS, strict=True):
        panel.plot(*through_relu(points, generator.normal(size=(dimension, 2))).T, linewidth=0.8, color=BLUE)
        panel.set_title(f"output, m = {dimension}")
    for panel in panels:
        panel.set(xticks=[], yticks=[])
    axes = below.subplots()
    for colour, count in zip(SERIES, INTRINSIC, strict=False):
        rows = [row for row in inner if row["inner"] == count]
        ratios = [row["outer"] / count for row in rows]
        axes.plot(ratios, [row["expected"] for row in rows], color=colour, label=f"n = {count}")
        axes.plot(ratios, [row["collapsed"] for row in rows], color=colour, marker="o", linestyle="")
    axes.set(xlabel="expansion t = m / n", ylabel="share that collapses", ylim=(-0.03, 1.05))
    axes.set_title("points of n dimensions: measured (dots) and Theorem 1 (lines)")
    axes.legend()
    axes.grid(alpha=0.3)
    return figure

"""What a variant gains or loses against the base, budget by budget, and what may be said of it."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from linnet.paper.ablations import Budget, Paired, Runs, paired


@dataclass(frozen=True)
class Effect:
    """A variant beside the base after trainings of one budget.

    Attributes:
        budget: what every run of both saw.
        differences: seed → final top-1 of the variant less that of the base, as a fraction of 1; one seed or more.
    """

    budget: Budget
    differences: Mapping[int, float]

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return statistics.fmean(self.differences.values())

    @property
    def interval(self) -> Paired | None:
        """Of the mean; None of a single seed, which has none."""
        return _of(self.differences) if len(self.differences) > 1 else None


class Change(NamedTuple):
    """How an effect differs between two budgets: `last` - `first`, over the seeds that both have."""

    first: Effect
    last: Effect
    by: Paired


def effects(found: Sequence[tuple[Budget, Runs]], name: str) -> list[Effect]:
    """Of a variant at every budget at which a seed has both it and the base, in their order."""
    made = []
    for budget, runs in found:
        base, own = runs["base"], runs.get(name, {})
        seeds = sorted(set(base) & set(own))
        if seeds:
            made.append(Effect(budget, {seed: own[seed]["top1"][-1] - base[seed]["top1"][-1] for seed in seeds}))
    return made


def change(found: Sequence[Effect]) -> Change | None:
    """Between the least and the largest budget that have two seeds in common; None if no two have."""
    for last in reversed(found):
        for first in found[: found.index(last)]:
            seeds = sorted(set(first.differences) & set(last.differences))
            if len(seeds) > 1:
                by = _of({seed: last.differences[seed] - first.differences[seed] for seed in seeds})
                return Change(first, last, by)
    return None


def sentences(label: str, printed: float | None, found: Sequence[Effect]) -> str:
    """What holds of a variant, after each budget and from the least to the largest.

    Args:
        label: the variant, in words.
        printed: points by which it ends above (+) or below the base in the paper; None: below, without a number.
        found: see `effects`.
    """
    what = f"**{label[0].upper()}{label[1:]}**"
    if not found:
        return f"{what}: not trained."
    clauses = [_clause(effect, " pictures" * (effect is found[0])) for effect in found]
    said = [f"{what}: {', '.join(clauses)}."]
    if len(found) > 1:
        said.append(_said_of_change(change(found)))
    measured = [effect for effect in found if effect.interval is not None]
    return " ".join([*said, *(_beside_the_paper(printed, measured[-1]) if measured else ())])


def points(value: float | None) -> str:
    """A difference in points, with its sign."""
    return "" if value is None else f"{value:+.1f}".replace("-", "−")


def span(found: Paired) -> str:
    """The interval, in points."""
    return f"{points(100 * found.low)} to {points(100 * found.high)}"


def counted(pictures: int) -> str:
    """So many pictures in words: `64 thousand`, `2.5 million`."""
    if pictures >= 1_000_000:
        return f"{pictures / 1e6:.3g} million"
    return f"{pictures / 1e3:.3g} thousand" if pictures >= 1000 else str(pictures)


def _of(differences: Mapping[int, float]) -> Paired:
    return paired(list(differences.values()), [0.0] * len(differences))


def _clause(effect: Effect, unit: str) -> str:
    when = f"after {counted(effect.budget.seen)}{unit}"
    interval = effect.interval
    if interval is None:
        return f"{points(100 * effect.mean)} points {when} in a single seed, which has no interval"
    if not interval.shown:
        return f"no difference is shown {when} (95 %: {span(interval)})"
    side = "worse" if effect.mean < 0 else "better"
    return f"{abs(100 * effect.mean):.1f} points {side} {when} (95 %: {span(interval)})"


def _said_of_change(found: Change | None) -> str:
    """Whether the effect becomes less or more with training: said only where the change's interval excludes zero."""
    if found is None:
        return "Whether training changes it cannot be said: that takes two seeds of both."
    first, last, difference = found
    by = f"{points(100 * difference.mean)} from {counted(first.budget.seen)} to {counted(last.budget.seen)}"
    by += f", 95 %: {span(difference)}"
    if not difference.shown:
        return f"That training changes the effect is not shown ({by})."
    # An effect that is not shown has no side that it could have turned to.
    turns = all(each.interval is not None and each.interval.shown for each in (first, last))
    if turns and first.mean * last.mean < 0:
        return f"With training the effect turns round ({by})."
    return f"With training the effect {'shrinks' if abs(last.mean) < abs(first.mean) else 'grows'} ({by})."


def _beside_the_paper(printed: float | None, last: Effect) -> list[str]:
    """The longest training that has an interval beside the printed difference; nothing if neither says anything."""
    interval = last.interval
    assert interval is not None
    side = "As in the paper" if last.mean * (-1 if printed is None else printed) > 0 else "The opposite of the paper"
    if printed is None:
        return [f"{side}."] if interval.shown else []
    place = "within" if interval.low <= printed / 100 <= interval.high else "outside"
    lies = f"{points(printed)} lies {place} the interval after {counted(last.budget.seen)}"
    return [f"{side}, whose {lies}." if interval.shown else f"The paper's {lies}."]

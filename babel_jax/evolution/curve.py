"""A curve: one measurement over the checkpoints of one run, over all seeds, with its interval. Letters as in statistics.py."""

import dataclasses

import numpy as np
import pandas as pd

from babel_jax.common import statistics
from babel_jax.common.statistics import Estimate
from babel_jax.evolution import stages
from babel_jax.evolution.selection import select

# Metrics with one of these words in their name lie in [0, 1], but not those with DIFFERENCE: two shares subtracted.
UNIT_INTERVAL = {"accuracy", "share", "coverage", "mexa", "task"}
DIFFERENCE = "concept"


def evenly(count: int, most: int) -> np.ndarray:
    """Indices of at most `most` of `count` things in a row, evenly spread, the first and the last of them among these."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))


@dataclasses.dataclass(frozen=True)
class Point(Estimate):
    """A curve at one step, or its end level.

    Attributes:
      by_seed: [S]; seeds: their numbers, in the same order.
    """

    by_seed: np.ndarray
    seeds: list[int]

    def minus(self, other: "Point") -> "Point":
        """The difference, paired by seed, over the seeds that both have.

        NaN where they have none in common; no interval where they have one.
        """
        seeds = [seed for seed in other.seeds if seed in self.seeds]
        self_S, other_S = (point.by_seed[[point.seeds.index(seed) for seed in seeds]] for point in (self, other))
        value, *ci = statistics.paired_difference(other_S, self_S) if seeds else [np.nan] * 3
        return Point(value, tuple(ci), self_S - other_S, seeds)


@dataclasses.dataclass(frozen=True)
class Change(Point):
    """How much later a curve stands than before: `before` and `after` are means of the seeds that have both."""

    before: float
    after: float


@dataclasses.dataclass(frozen=True)
class Curve:
    """Values over the checkpoints of one run.

    Attributes:
      steps: optimiser steps [C].
      value_SxC: one row a seed, NaN where not measured.
      mean, low, high: over the seeds, and its interval [C].
      n: observations behind one seed's value.
      interval: what low and high are.
      unit: whether its values lie in [0, 1].
    """

    steps: np.ndarray
    value_SxC: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    n: int
    seeds: list[int]
    interval: str
    unit: bool

    def at(self, step: int) -> Point | None:
        """The curve at a step; None where it was not measured."""
        if step not in self.steps:
            return None
        index = int(np.flatnonzero(self.steps == step)[0])
        return _point(self.mean[index], self.low[index], self.high[index], self.value_SxC[:, index], self.seeds)

    def as_share(self) -> "Curve":
        """Counts as shares of `n`."""
        values = {name: getattr(self, name) / self.n for name in ("value_SxC", "mean", "low", "high")}
        return dataclasses.replace(self, **values)

    def relative_to_first(self) -> "Curve | None":
        """Each seed's values as a share of its own at step 0, in [0, 1]; None where step 0 was not measured, or is not above 0.

        One seed: the bounds are scaled as its values are.
        """
        if self.steps[0] != 0 or not (self.value_SxC[:, 0] > 0).all():
            return None
        start_Sx1 = self.value_SxC[:, :1]
        share_SxC = np.clip(self.value_SxC / start_Sx1, 0, 1)
        own = (self.low / start_Sx1[0], self.high / start_Sx1[0])
        return over_seeds(self.steps, share_SxC, np.full(share_SxC.shape, self.n), self.seeds, True, own)

    def first(self) -> Point:
        return self.at(self.steps[0])

    def last(self) -> Point:
        return self.at(self.steps[-1])

    def end(self) -> Point:
        """The end level, the mean over the last quarter of the checkpoints.

        One seed: the bounds are the means of the checkpoints' bounds; they share their problems, so averaging them over
        checkpoints does not narrow the interval.
        """
        weights_C = stages.end_C(len(self.steps))
        last = weights_C > 0  # earlier checkpoints may be undefined: no share of no solved problem
        by_seed = self.value_SxC[:, last] @ weights_C[last]
        if len(by_seed) == 1:
            interval = (bound[last] @ weights_C[last] for bound in (self.low, self.high))
            return _point(by_seed[0], *interval, by_seed, self.seeds)
        mean, low, high = statistics.student(by_seed)
        if self.unit:
            low, high = np.clip(low, 0, 1), np.clip(high, 0, 1)
        return _point(mean, low, high, by_seed, self.seeds)

    def change(self, step: int) -> Change | None:
        """The end level minus the value at `step`, by Student t over the seeds' differences; None where not measured.

        One seed: the bounds come from the bounds of both values, which is wider than a paired interval would be.
        """
        before, after = self.at(step), self.end()
        if before is None:
            return None
        difference = after.minus(before)
        both_S = ~np.isnan(before.by_seed + after.by_seed)  # a share of nothing solved is no number
        means = (float(point.by_seed[both_S].mean()) if both_S.any() else float("nan") for point in (before, after))
        if len(before.by_seed) == 1:
            ci = after.ci[0] - before.ci[1], after.ci[1] - before.ci[0]
            difference = dataclasses.replace(difference, ci=ci)
        return Change(difference.value, difference.ci, difference.by_seed, difference.seeds, *means)


def _point(value, low, high, by_seed, seeds) -> Point:
    return Point(float(value), (float(low), float(high)), np.asarray(by_seed, float), list(seeds))


def curve(frame: pd.DataFrame, options: dict | None = None, **columns) -> Curve | None:
    """One curve over the steps of one run, over all seeds; None where no row fits.

    Two seeds or more: mean and Student t interval over seeds. One seed: the interval of the measurement itself (Wilson
    over problems where an accuracy row brings none).
    """
    rows = select(frame, options, **columns)
    if rows.empty:
        return None
    seeds, place_seed = np.unique(rows["seed"], return_inverse=True)
    steps, place_step = np.unique(rows["step"], return_inverse=True)
    wide_4xSxC = np.full((4, len(seeds), len(steps)), np.nan)
    for values_SxC, name in zip(wide_4xSxC, ("value", "n", "ci_low", "ci_high"), strict=True):
        values_SxC[place_seed, place_step] = rows[name]
    words = set(columns.get("metric", "").split("_"))
    unit = not words.isdisjoint(UNIT_INTERVAL) and DIFFERENCE not in words
    return over_seeds(steps, *wide_4xSxC[:2], seeds.tolist(), unit, own=wide_4xSxC[2:, 0])


def over_seeds(steps_C, value_SxC, n_SxC, seeds: list[int], unit: bool, own=(np.nan, np.nan)) -> Curve:
    """A curve with its interval. `own`: bounds (low, high) [C] of the one seed's own measurement, NaN: it brings none."""
    mean, low, high = statistics.student(value_SxC)
    interval = f"Student t over {len(seeds)} seeds"
    if len(seeds) == 1:
        low, high = (np.broadcast_to(bound, mean.shape) for bound in own)
        interval = "over the one seed's problems, slots or rows"
        if unit and np.isnan(low).all():
            low, high = statistics.wilson(mean, n_SxC[0])
            interval = "Wilson over the one seed's problems"
    if unit:
        low, high = np.clip(low, 0, 1), np.clip(high, 0, 1)
    return Curve(np.asarray(steps_C), value_SxC, mean, low, high, int(np.nanmax(n_SxC)), seeds, interval, unit)

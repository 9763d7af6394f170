"""Whether, and how soon, from-scratch runs learn the primary language.

Without that a comparison of corpora does not show which one transfers, but which run left its first plateau first.
Letters: S seeds, C checkpoints.
"""

import dataclasses

import numpy as np
import pandas as pd

from babel_jax.common import run_names, statistics
from babel_jax.common.statistics import Estimate
from babel_jax.evolution import stages
from babel_jax.evolution.selection import chance_of_choice, select, solved

# Of the primary-only run's accuracy in the same seed: what a run that has left the plateau surely has, for that is a jump
# from a few per cent to nearly all problems.
PART = 0.95
# Times the primary-only run's held-out loss, where no program can be judged. Losses fall about as tokens to the power -0.095
# (Kaplan et al. 2020), so a loss that is 1.1 times as high is that of 1/2.7 of the tokens: the primary's share of a corpus may
# be about a third of the primary-only run's tokens before a run counts as one that has not learned it.
LOSS_FACTOR = 1.1
ACCURACY, LOSS = "accuracy", "loss"
PRIMARY_ONLY = "the primary-only run"


@dataclasses.dataclass(frozen=True)
class Bar:
    """What a from-scratch run must reach in the primary language to have learned it.

    Attributes:
      measure: ACCURACY, of which it needs PART, or LOSS, of which it may have LOSS_FACTOR times as much.
      source: what it is read off, as a noun phrase.
      level: {seed: what that has}; no seed in which it has not learned anything itself.
    """

    measure: str
    source: str
    level: dict[int, float]

    def reached(self, seed: int, value_C: np.ndarray) -> np.ndarray:
        """Whether a run of this seed has learned the primary, by what it has at its checkpoints [C]; NaN: not measured."""
        level = self.level.get(seed, np.nan)
        return value_C >= PART * level if self.measure == ACCURACY else value_C <= LOSS_FACTOR * level


@dataclasses.dataclass(frozen=True)
class Learning:
    """When the runs of one mix had learned the primary.

    Attributes:
      seeds: S of them; steps: [C] of the measured checkpoints.
      learned_SxC: whether a run had learned it by then.
    """

    seeds: list[int]
    steps: np.ndarray
    learned_SxC: np.ndarray

    @property
    def at_end_S(self) -> np.ndarray:
        return self.learned_SxC[:, -1]

    @property
    def is_followed(self) -> bool:
        """Whether there is more than the last checkpoint to say how soon it was."""
        return len(self.steps) > 1

    @property
    def first_S(self) -> np.ndarray:
        """The first measured step at which a run had learned it; NaN: at none."""
        return np.where(self.learned_SxC.any(1), self.steps[self.learned_SxC.argmax(1)], np.nan)

    @property
    def soon(self) -> Estimate:
        """The same over seeds, NaN where one never has.

        A run learned it between that checkpoint and the one before: the lower bound is that of Student t over the steps before,
        the upper bound that over the steps themselves.
        """
        place_S = self.learned_SxC.argmax(1)
        before_S = np.where(place_S > 0, self.steps[np.maximum(place_S - 1, 0)], 0)
        if np.isnan(self.first_S).any():
            return Estimate(np.nan, (np.nan, np.nan))
        value, _, high = (float(number) for number in statistics.student(self.first_S))
        low = float(statistics.student(before_S)[1])
        return Estimate(value, (max(low, 0.0), high))


def bar(frame: pd.DataFrame, primary: str, by_loss: bool) -> Bar | None:
    """The bar that a study's rows set: its primary-only run, or else the first checkpoint of a continual run, which is that run.

    None where neither was measured in the primary language. `by_loss`: where there are neither programs to be judged nor facts.
    """
    continual = [run for run in frame["run"].unique() if run_names.parse(str(run)).role == "continual"]
    sources = [
        (PRIMARY_ONLY, "primary_only", -1),
        *(("a continual run's first checkpoint", run, 0) for run in continual),
    ]
    chance = chance_of_choice(frame, primary) or stages.CHANCE
    for source, run, place in sources:
        steps, value_SxC, seeds = _measured(frame, run, primary, by_loss)
        if not len(steps) or (place == 0 and steps[0] != 0):
            continue
        level = {seed: float(value) for seed, value in zip(seeds, value_SxC[:, place], strict=True) if value == value}
        if not by_loss:
            level = {seed: value for seed, value in level.items() if value > chance + stages.MINIMUM_CHANGE}
        if level:
            return Bar(LOSS if by_loss else ACCURACY, source, level)
    return None


def learning(frame: pd.DataFrame, run: str, primary: str, asked: Bar) -> Learning | None:
    """When the runs of a mix, one a seed, had learned the primary; None where they were not measured in it."""
    steps, value_SxC, seeds = _measured(frame, run, primary, asked.measure == LOSS)
    if not len(steps):
        return None
    return Learning(seeds, steps, np.array([asked.reached(*of) for of in zip(seeds, value_SxC, strict=True)]))


def _measured(frame: pd.DataFrame, run: str, primary: str, by_loss: bool) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """(steps [C], value_SxC, seeds): a run's accuracy or loss in the primary, at the steps that all seeds have."""
    if not by_loss:
        judged = solved(frame, run, primary)
        if judged is None:
            return np.array([]), np.zeros((0, 0)), []
        return judged.steps, statistics.accuracies(judged.solved), judged.seeds
    rows = select(frame, run=run, probe="loss", metric="loss", language=primary, layer=-1)
    table = rows.pivot_table("value", "seed", "step", dropna=False).dropna(axis=1)
    return table.columns.to_numpy(), table.to_numpy(float), table.index.tolist()

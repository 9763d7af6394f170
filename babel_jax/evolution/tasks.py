"""Scores by task: writing programs, and the tasks beyond it, over continual pre-training and of from-scratch mixes.

Letters: S seeds, C checkpoints.
"""

import dataclasses

import numpy as np
import pandas as pd

from babel_jax.common import run_names, statistics
from babel_jax.common.statistics import Effect, Estimate
from babel_jax.corpus import corpus_tasks
from babel_jax.evolution import stages
from babel_jax.evolution.curve import Curve, curve
from babel_jax.evolution.selection import at_last_step, select
from babel_jax.measuring.task_scores import BITS, METRIC
from babel_jax.organism import world_tasks

TASKS = (*world_tasks.TASKS, *corpus_tasks.TASKS)  # of the embedded world, and of corpora
WRITING = "writing"
NAMES = (WRITING, *(task.name for task in TASKS))
METRICS = {WRITING: "accuracy"} | {task.name: METRIC + task.name for task in TASKS}
CHANCE = {WRITING: stages.CHANCE} | {task.name: task.chance for task in TASKS}
SHORT = {WRITING: "writing a program"} | {task.name: task.short for task in TASKS}


@dataclasses.dataclass(frozen=True)
class Beside:
    """What is measured of a task beside its right answers: its metric, what it is called, whether it is a share."""

    metric: str
    title: str
    is_share: bool


BESIDE = {"word_copied": Beside(f"{METRIC}word_copied", "word repeated, not translated", True)} | {
    f"{task.name}_bits": Beside(BITS + task.name, f"{task.short}, bits per byte", False) for task in corpus_tasks.TASKS
}
TITLES = SHORT | {name: beside.title for name, beside in BESIDE.items()}
SUBSETS = ("all", "shared", "transfer")
RUNS = ("continual", "control")
_ALL_METRICS = METRICS | {name: beside.metric for name, beside in BESIDE.items()}


def titles(kind: str) -> dict[str, str]:
    """What tasks, and what is measured beside them, are called in a study of a kind: of a corpus no program is judged."""
    return TITLES if kind == "organism" else TITLES | {WRITING: "score of the stages"}


@dataclasses.dataclass(frozen=True)
class RiseAndFall:
    """How a task's score changes from a curve's first checkpoint to another one, and from there to its end."""

    rise: Estimate
    fall: Estimate


@dataclasses.dataclass(frozen=True)
class MixScore:
    """A from-scratch mix in one task, the mean over the new languages.

    Attributes:
      score: {seed: share of right answers}.
      error: {seed: its standard error over questions}, never 0: that all are right is no proof of others.
      n: questions of one seed, in all new languages.
    """

    score: dict[int, float]
    error: dict[int, float]
    n: int

    @property
    def estimate(self) -> Estimate:
        """Over seeds; of one seed, over its questions."""
        found = statistics.mean_over_seeds(list(self.score.values()), list(self.error.values()))
        low, high = np.clip(found.ci, 0, 1)
        return Estimate(found.value, (float(low), float(high)))

    def is_above(self, chance: float) -> bool:
        return self.estimate.ci[0] > chance

    def minus(self, other: "MixScore") -> Effect | None:
        """The difference, paired over the seeds that both have; None where they share none.

        Never narrower than the questions of each mix allow, as if they were not the same ones.
        """
        seeds = sorted(self.score.keys() & other.score.keys())
        if not seeds:
            return None
        difference_S = [self.score[seed] - other.score[seed] for seed in seeds]
        return statistics.mean_over_seeds(
            difference_S, [float(np.hypot(self.error[seed], other.error[seed])) for seed in seeds]
        )


@dataclasses.dataclass(frozen=True)
class Tasks:
    """All scores by task; what was not asked is absent.

    Attributes:
      curves: {(new language, run, task or what is BESIDE it, subset): curve}.
      mixes: {(mix, task, subset): score}.
    """

    curves: dict[tuple[str, str, str, str], Curve] = dataclasses.field(default_factory=dict)
    mixes: dict[tuple[str, str, str], MixScore] = dataclasses.field(default_factory=dict)

    @property
    def asked(self) -> list[str]:
        """The tasks that were measured anywhere, beside writing."""
        there = {key[2] for key in self.curves} | {key[1] for key in self.mixes}
        return [task for task in NAMES if task in there - {WRITING}]


def tasks(frame: pd.DataFrame, views: dict[str, pd.DataFrame]) -> Tasks:
    """All scores by task. `frame`: a study's rows; `views`: those about each new language (`selection.view`)."""
    curves = {
        (language, run, task, subset): found
        for language, rows in views.items()
        for light in [_of_tasks(rows)]
        for run in RUNS
        for task, metric in _ALL_METRICS.items()
        for subset in SUBSETS
        if (found := curve(light, {"subset": subset}, run=run, language=language, metric=metric)) is not None
    }
    return Tasks(curves, _mixes(_of_tasks(frame), list(views)))


def rise_and_fall(of_task: Curve, step: int) -> RiseAndFall | None:
    """How a task's score changes up to a step and from there to the end; None where that step was not measured.

    One seed: the bounds come from the bounds of both values, which is wider than a paired interval would be.
    """
    fall, start, there = of_task.change(step), of_task.first(), of_task.at(step)
    if fall is None:
        return None
    rise = there.minus(start)
    if len(of_task.seeds) == 1:
        rise = dataclasses.replace(rise, ci=(there.ci[0] - start.ci[1], there.ci[1] - start.ci[0]))
    return RiseAndFall(rise, fall)


def _of_tasks(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[(frame["metric"].isin(_ALL_METRICS.values()) & (frame["probe"] == "evaluation")).to_numpy(bool)]


def _mixes(frame: pd.DataFrame, new: list[str]) -> dict[tuple[str, str, str], MixScore]:
    """Of all mixes, at the last step of each seed."""
    found = {}
    for run, rows in frame.groupby("run", observed=True):
        name = run_names.parse(str(run))
        if name.role != "mix" or not name.mix:
            continue
        rows = at_last_step(rows)
        rows = rows[rows["language"].isin(new).to_numpy(bool)]
        for task, metric in METRICS.items():
            for subset in SUBSETS:
                here = select(rows, {"subset": subset}, metric=metric)
                if len(here):
                    found[str(name.mix), task, subset] = _score(here)
    return found


def _score(rows: pd.DataFrame) -> MixScore:
    """Of rows of one mix, task and subset: one a seed and new language."""
    value, n = rows["value"].to_numpy(float), rows["n"].to_numpy(float)
    padded = (value * n + 1) / (n + 2)
    rows = rows.assign(square=padded * (1 - padded) / n)
    by_seed = rows.groupby("seed")
    count = by_seed.size()
    most = count[count == count.max()].index  # a seed that lacks a language has another mean
    score = by_seed["value"].mean()[most]
    error = np.sqrt(by_seed["square"].sum()[most]) / count[most]
    return MixScore(score.to_dict(), error.to_dict(), int(by_seed["n"].sum()[most].iloc[0]))

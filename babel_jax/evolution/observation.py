"""What the optimiser of the corpus works on: one new language's losses, scores and measured shares, as plain arrays."""

import dataclasses
import json

import numpy as np
import pandas as pd

from babel_jax.common import statistics
from babel_jax.evolution.continual import Curves
from babel_jax.evolution.curve import Curve, curve
from babel_jax.evolution.selection import select, solved


@dataclasses.dataclass(frozen=True)
class Observation:
    """One new language's continual run, with one seed or several.

    Attributes:
      language: its name.
      steps, tokens: [C], the latter of the new language seen by then.
      seeds: S of them.
      solved: one array [C, Q] of 0/1 a seed; score_SxC: accuracies.
      losses, loss_errors: {source: [S, C]}; standard errors, NaN: unknown.
      shares: {source: [S, C]} of the primary, as they were measured. What was not measured everywhere is absent.
      residuals: {source: [C, P]}, of several primaries: see `best_corpus.merge_primaries`.
      counted: whether it is known how many problems a score is of; if not, `solved` has no noise of its own, so that intervals
        are over seeds alone, and one seed has none.
      chance: of a right answer, as of `Solved`.
    """

    language: str
    steps: np.ndarray
    tokens: np.ndarray
    seeds: list[int]
    solved: list[np.ndarray]
    score_SxC: np.ndarray
    losses: dict[str, np.ndarray]
    loss_errors: dict[str, np.ndarray]
    shares: dict[str, np.ndarray]
    residuals: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    counted: bool = True
    chance: float | None = None

    @property
    def has_intervals(self) -> bool:
        """Whether something is known of the noise of its scores."""
        return self.counted or len(self.seeds) > 1


def observation(frame: pd.DataFrame, curves: Curves, run: str = "continual") -> Observation | None:
    """A run of a view (`selection.view`) that goes on from the primary's model; None where no problem was judged in it.

    `run`: "continual", or "predictor", which is trained as the mixes are. The shares are those of the continual run: another
    has none.
    """
    new = curves.new
    judged = solved(frame, run, new)
    if judged is None:
        return None
    steps, seeds = judged.steps, judged.seeds

    def on_steps(curve: Curve | None) -> np.ndarray | None:
        if curve is None or curve.seeds != seeds or not set(steps) <= set(curve.steps):
            return None
        return curve.value_SxC[:, np.searchsorted(curve.steps, steps)]

    rows = select(frame[frame["metric"] != "solved"], run=run, language=new, layer=-1)
    seen = rows.drop_duplicates("step").set_index("step")["tokens_by_language"]
    losses = {metric: on_steps(curve(rows, metric=metric)) for metric in ("loss", "loss_knowledge")}
    losses = {metric: loss_SxC for metric, loss_SxC in losses.items() if loss_SxC is not None}
    measured = curves.measured_shares if run == "continual" else {}
    shares = {name: on_steps(curve) for name, curve in measured.items()}
    return Observation(
        language=new,
        steps=steps,
        tokens=np.array([json.loads(seen[step]).get(new, 0) for step in steps], float),
        seeds=seeds,
        solved=judged.solved,
        score_SxC=statistics.accuracies(judged.solved),
        losses=losses,
        loss_errors={metric: _errors(rows, metric, seeds, steps) for metric in losses},
        shares={name: share_SxC for name, share_SxC in shares.items() if share_SxC is not None},
        chance=judged.chance,
    )


def _errors(rows: pd.DataFrame, metric: str, seeds, steps) -> np.ndarray:
    """Standard errors [S, C] of a metric, from the intervals of its rows."""
    rows = rows[(rows["metric"] == metric).to_numpy(bool)]
    error = statistics.error_of(rows["ci_low"], rows["ci_high"])
    wide = rows.assign(error=error).pivot_table(index="seed", columns="step", values="error", dropna=False)
    return wide.reindex(index=seeds, columns=steps).to_numpy(float)

"""Reading back what `measuring/diagnostics.py` measured: causes, drift of neurons, the lens grid. Pure functions.

Letters: S seeds, C checkpoints, L layers. All intervals are of 95 %.
"""

import dataclasses
import json

import numpy as np
import pandas as pd

from babel_jax.common import files, statistics
from babel_jax.common.errors import UserError
from babel_jax.common.statistics import Effect, Estimate
from babel_jax.evolution.selection import select

KINDS = ("births", "deaths", "size")
_EACH_LAYER = [[[float]]]  # at each checkpoint
GRID = {  # what `measuring.diagnostics.lens_grid` writes
    "primary?": str,
    "new?": str,
    "steps": [int],
    "layers?": int,
    "prompts?": [{"problem": int, "transfer": bool, "tokens": [int]}],
    "slots": [{"top": [[[int]]], "top_probability": _EACH_LAYER, "probability": _EACH_LAYER, "tokens?": [int]}],
    "names?": {str: str},
}
DIFFERENCE = "transfer - shared"  # a subset of problems: the change where the primary is needed minus that elsewhere
MAIN = ("functional", "mean", "peak")  # the set, ablation and checkpoint that a verdict is about


@dataclasses.dataclass(frozen=True)
class Ablation(Estimate):
    """The change of what is solved when a set of neurons is ablated, beside random sets of as many in the same layers.

    Attributes:
      neurons: `functional`, `functional_shared` or `lape_target`.
      kind: mean or zero; checkpoint: peak or last.
      metric: "pass" (problems solved), "accuracy" (identifiers right) or "margin" (in nats).
      subset: all, shared, transfer, or DIFFERENCE.
      random_mean, random_ci: where the random sets' mean over these seeds lies.
      difference: from the random sets, paired within the seed.
    """

    neurons: str
    kind: str
    checkpoint: str
    metric: str
    subset: str
    random_mean: float
    random_ci: tuple[float, float]
    difference: Effect


@dataclasses.dataclass(frozen=True)
class CausesVerdict:
    """For `MAIN` and problems solved: differences from random sets; below 0 where the ablation hurts (more).

    Attributes:
      matters: on problems that need the primary.
      specific: on these more than on the others.
      crossover: that minus the same of the neurons of shared problems; below 0 where either set serves its own kind of
        problem more.
    """

    matters: Effect | None
    specific: Effect | None
    crossover: Effect | None


@dataclasses.dataclass(frozen=True)
class Causes:
    """What became of the new language's problems when neurons were ablated."""

    sets: list[Ablation]
    verdict: CausesVerdict


@dataclasses.dataclass(frozen=True)
class Drift:
    """How a set of neurons comes and goes along the checkpoints of a run.

    Attributes:
      run, definition: whose neurons, and which.
      births_CxL, deaths_CxL: since the checkpoint before, NaN at the first; size_CxL: means over seeds.
      others: the same for the other definition and for the control.
    """

    run: str
    definition: str
    seeds: list[int]
    steps: np.ndarray
    layers: np.ndarray
    births_CxL: np.ndarray
    deaths_CxL: np.ndarray
    size_CxL: np.ndarray
    others: list["Drift"] = dataclasses.field(default_factory=list)


def causes(frame: pd.DataFrame, language: str) -> Causes | None:
    """What became of the new language's problems when neurons were ablated, against random sets; None: not measured.

    `frame`: rows of a study's view on `language`. Random sets have as many neurons in every layer. A *difference* is the
    set's change minus the mean change of its random sets, paired within the seed.
    """
    rows = select(frame, probe="intervention", run="continual", language=language)
    if rows.empty:
        return None
    options = pd.DataFrame([json.loads(text) for text in rows["options"]], index=rows.index)
    rows = pd.concat([rows.drop(columns="options"), options], axis=1)
    metric = rows["metric"].str.rpartition("_")[0]
    keys = [rows["set"], rows["kind"], rows["checkpoint"], metric, rows["subset"]]
    groups = {key: group.sort_values("seed") for key, group in rows.groupby(keys, sort=False)}
    sets = {key: _ablation(key, group) for key, group in groups.items()}
    matters, specific = (sets.get((*MAIN, "pass", subset)) for subset in ("transfer", DIFFERENCE))
    own, other = (
        groups.get((neurons, *MAIN[1:], "pass", DIFFERENCE)) for neurons in ("functional", "functional_shared")
    )
    verdict = CausesVerdict(
        matters=matters and matters.difference,
        specific=specific and specific.difference,
        crossover=None if own is None or other is None else _crossover(own, other),
    )
    return Causes(list(sets.values()), verdict)


def _ablation(key: tuple, group: pd.DataFrame) -> Ablation:
    """One set from its rows, one a seed."""
    neurons, kind, checkpoint, metric, subset = key
    change, random, difference = beside_random(group)
    return Ablation(
        change.value,
        change.ci,
        neurons=neurons,
        kind=kind,
        checkpoint=checkpoint,
        metric=metric,
        subset=subset,
        random_mean=random.value,
        random_ci=random.ci,
        difference=difference,
    )


def beside_random(group: pd.DataFrame) -> tuple[Effect, Estimate, Effect]:
    """A set's change, where the random sets' mean over these seeds lies, and the difference of the two, paired by seed.

    `group`: one row a seed, with `value`, its bounds, and `random_mean`, `random_sd`, `draws`.
    """
    value_S, random_S = (group[name].to_numpy(float) for name in ("value", "random_mean"))
    spread_S = group["random_sd"].to_numpy(float)
    spread = float(np.linalg.norm(spread_S) / len(spread_S))  # of a random set's mean over these seeds
    mean = float(random_S.mean())
    random = Estimate(mean, tuple(mean + side * statistics.NORMAL * spread for side in (-1, 1)))
    difference = statistics.mean_over_seeds(value_S - random_S, _difference_errors(group))
    return statistics.mean_over_seeds(value_S, _errors(group)), random, difference


def _crossover(own: pd.DataFrame, other: pd.DataFrame) -> Effect:
    """How much more `own` changes transfer than shared problems than `other` does; both beyond their random sets."""
    own, other = (group.set_index("seed") for group in (own, other))
    seeds = own.index.intersection(other.index)
    own, other = own.loc[seeds], other.loc[seeds]
    value_S, variance_S = 0.0, 0.0
    for group, sign in ((own, 1), (other, -1)):
        value_S = value_S + sign * (group["value"] - group["random_mean"]).to_numpy(float)
        variance_S = variance_S + _difference_errors(group) ** 2
    return statistics.mean_over_seeds(value_S, np.sqrt(variance_S))


def _errors(group: pd.DataFrame) -> np.ndarray:
    """Each seed's standard error over problems, from the interval of its row."""
    return statistics.error_of(group["ci_low"].to_numpy(float), group["ci_high"].to_numpy(float))


def _difference_errors(group: pd.DataFrame) -> np.ndarray:
    """Each seed's standard error of a difference: over problems, and by what one random set differs from another."""
    spread_S = group["random_sd"].to_numpy(float) * np.sqrt(1 + 1 / group["draws"].to_numpy(float))
    return np.hypot(_errors(group), spread_S)


def drift(frame: pd.DataFrame, language: str) -> Drift | None:
    """How transferring neurons come and go along the checkpoints; None: not measured.

    That of the `functional` neurons of the continual run, or of `lape_target` where these have no meaning; `others` are
    the same for the other definition and for the control.
    """
    drifts = [
        one
        for run in ("continual", "control")
        for definition in ("functional", "lape_target")
        if (one := _drift_of(frame, language, run, definition)) is not None
    ]
    return dataclasses.replace(drifts[0], others=drifts[1:]) if drifts else None


def _drift_of(frame, language: str, run: str, definition: str) -> Drift | None:
    rows = select(frame, {"set": f"{definition}:{language}"}, probe="drift", run=run, language=language)
    rows = rows[rows["layer"] > 0]
    if rows.empty:
        return None
    seeds, steps, layers = (np.unique(rows[name]) for name in ("seed", "step", "layer"))
    means = {}
    for kind in KINDS:
        here = rows[rows["metric"] == kind]
        value_SxCxL = np.full((len(seeds), len(steps), len(layers)), np.nan)
        place = [
            np.searchsorted(all_, here[name]) for all_, name in ((seeds, "seed"), (steps, "step"), (layers, "layer"))
        ]
        value_SxCxL[tuple(place)] = here["value"]
        means[f"{kind}_CxL"] = value_SxCxL.mean(axis=0)
    return Drift(run, definition, seeds.tolist(), steps, layers, **means)


def read_lens_grid(file) -> dict:
    """`lens_grid` of a run's file.

    Raises:
      UserError: it is damaged.
    """
    mend = "delete it and evaluate that run again, which writes it anew"
    grid = files.read_json(file, GRID, mend)
    try:
        return lens_grid(grid)
    except ValueError as error:  # lists of unequal lengths
        raise UserError(f"{file} is damaged: {error}; {mend}.") from error


def lens_grid(grid: dict) -> dict:
    """A run's `diagnostics/lens_grid.json` (`measuring.diagnostics.lens_grid`) as arrays.

    Returns: the same dict with, in each slot, `top_CxLx5` (ids), `top_probability_CxLx5` and `probability_CxLxM` of the M
    `tokens`, probabilities in [0, 1].
    """
    slots = []
    for slot in grid["slots"]:
        about = {key: value for key, value in slot.items() if key not in ("top", "top_probability", "probability")}
        slots.append(
            about
            | {
                "top_CxLx5": np.array(slot["top"]),
                "top_probability_CxLx5": np.array(slot["top_probability"]) / 1000,
                "probability_CxLxM": np.array(slot["probability"]) / 1000,
            }
        )
    return grid | {"slots": slots}

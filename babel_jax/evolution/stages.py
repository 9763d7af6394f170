"""The three stages of the tower, found by a rule that can also answer "no transition seen".

The rule:
  1. The accuracies of all seeds are averaged and smoothed by a centred window of checkpoints (cut at the edges):
     3 for 16 to 31 of them, 5 for 32 to 47, none for fewer than 16, where it would blur the peak.
     The *peak* is the checkpoint where that curve is largest; the *end level* (plateau) is the mean of the last quarter
     of the checkpoints.
  2. The *rise* is from the first checkpoint to the peak, the *decline* from the best checkpoint before the last quarter
     to the end level. A transition is seen if both are at least MINIMUM_CHANGE with a 95 % interval above 0. Both are
     paired: a seed, and within it a problem, is compared with itself. The checkpoint is chosen on the other seeds (one
     seed: on other problems), so that a maximum picked from noise is no decline, and its accuracy is measured without
     smoothing, which would blunt a sharp peak (statistics.cross_fitted, two_level). Where the peak may lie at a neighbour
     as well, the lower bounds are the neighbour's if these are lower.
  3. Whether there is anything to find: accuracy `rises` where the runs at hand rise surely, by at least MINIMUM_CHANGE over
     all their problems. Without that the best checkpoint is picked by noise, or is the first one, and nothing is read there.
  4. In words: "transition" (rule 2); "rises and stays" (the rise counts, and the decline's upper bound lies below
     MINIMUM_CHANGE, and it does not surely rise by as much at the end); "no rise" (the rise's upper bound lies below it);
     "undecided" (anything else, and fewer than three checkpoints).
  5. The transition ends at the first checkpoint after the peak from which on the smoothed curve stays within
     BAND + BAND_SHARE x decline of the end level. Where it never does, stabilisation is None.
"""

import dataclasses
import math

import numpy as np

from babel_jax.common import statistics
from babel_jax.common.statistics import Effect, Estimate

MINIMUM_CHANGE = 0.05
BAND, BAND_SHARE = 0.02, 0.1
# The interval of the best checkpoint leaves out this part of the replicates on either side, half of what one of 95 % may: few
# seeds lack a late one more often than replicates of them show, and what is read at the best checkpoint errs once more.
UNLIKELY = 0.0125
CHANCE = 0.0  # of a program that is right without having learned anything: none is written by luck


@dataclasses.dataclass(frozen=True)
class Peak(Estimate):
    """The best checkpoint: its accuracy, index and step, and how often each checkpoint is the best in replicates [C].

    `step_ci` is an interval of steps that were measured, from the first to the last one that may be the best.
    """

    index: int
    step: int
    step_ci: tuple[float, float]
    step_probability: np.ndarray


@dataclasses.dataclass(frozen=True)
class Settles:
    """From which step on the accuracy stays near its end level; an upper bound NaN: not settled by the last step."""

    step: int
    step_ci: tuple[float, float]


@dataclasses.dataclass(frozen=True)
class SmoothedCurve:
    """The smoothed accuracy, pooled over seeds, with its pointwise interval, each [C]."""

    mean_C: np.ndarray
    low_C: np.ndarray
    high_C: np.ndarray


@dataclasses.dataclass(frozen=True)
class Stages:
    """What the data say about the stages of one run: a transition, none, or that they do not decide.

    Attributes:
      verdict: "transition", "rises and stays", "no rise" or "undecided" (rule 4).
      peak: the best checkpoint.
      plateau: the end level.
      decline, rise: from the peak to the end level (see `find`), and from the first checkpoint to the peak.
      start: the mean accuracy at the first checkpoint.
      rises, learned: whether these runs rise surely, and have learned anything at their best checkpoint.
      ends_at_peak, peak_in_end: whether the best checkpoint is the last one, and whether it lies in the last quarter.
      settles: None without a transition, or where it has not settled.
      stages: {"translation", "transition", "stabilisation": [first step, last step]}; None without a transition.
      curve: what the peak and the stages are read off.
      best_R: the index of the best checkpoint in each replicate.
    """

    verdict: str
    peak: Peak
    plateau: Estimate
    decline: Effect
    rise: Effect
    start: float
    rises: bool
    learned: bool
    ends_at_peak: bool
    peak_in_end: bool
    settles: Settles | None
    stages: dict[str, list[int] | None] | None
    curve: SmoothedCurve
    best_R: np.ndarray


def learned(solved, chance: float | None = None) -> bool:
    """Whether runs have learned to solve such problems: surely more than MINIMUM_CHANGE above chance of all of them.

    It speaks about these runs, not about other seeds, so all their problems count alike.

    Args:
      solved: one array of 0/1 per seed, any shape.
      chance: the part that is solved without having learned anything; None: CHANCE.
    """
    chance = CHANCE if chance is None else chance
    answers = np.concatenate([np.ravel(array) for array in solved])
    return bool(answers.size and statistics.wilson(answers.mean(), answers.size)[0] > chance + MINIMUM_CHANGE)


def window(checkpoints: int) -> int:
    """How many neighbouring checkpoints the smoothing averages, the nearer ones with more weight."""
    return 1 + 2 * (checkpoints // 16)


def smoothing_CxC(checkpoints: int) -> np.ndarray:
    """The matrix that averages a curve over a window of neighbouring checkpoints; fewer at the edges.

    The weights fall linearly from the centre (1, 2, 1 for three): with equal ones a peak of one checkpoint would have
    neighbours of the same height.
    """
    distance = np.abs(np.subtract.outer(np.arange(checkpoints), np.arange(checkpoints)))
    weight = np.maximum(window(checkpoints) // 2 + 1 - distance, 0)
    return weight / weight.sum(1, keepdims=True)


def end_C(checkpoints: int) -> np.ndarray:
    """The weights that average the last quarter of the checkpoints (rounded up): the end level."""
    last = math.ceil(checkpoints / 4)
    return np.where(np.arange(checkpoints) >= checkpoints - last, 1 / last, 0.0)


def pooled_curve_C(solved) -> np.ndarray:
    """Smoothed accuracy at each checkpoint, averaged over seeds. `solved`: one [C, Q] array per seed."""
    accuracy_C = statistics.accuracies(solved).mean(0)
    return smoothing_CxC(len(accuracy_C)) @ accuracy_C


def peak(solved) -> int:
    """Index of the best checkpoint. `solved`: one [C, Q] array per seed."""
    return int(pooled_curve_C(solved).argmax())


def plausible(best_R) -> list[int]:
    """[first, last] of the checkpoints that may be the best, by their indices in replicates."""
    return statistics.interval_R(best_R, UNLIKELY)


def find(steps, solved, chance: float | None = None) -> Stages | None:
    """The stages of one run by the rule above; None for one seed with one problem, which is no curve.

    Intervals and two-sided p-values of levels and changes are those of `statistics.two_level` and `_best_above`. What is
    read off the curve by a search (the peak's step, where it settles) comes from `statistics.replicated_curves`. Both
    speak about other seeds where there are two or more, and about other problems for this one model where there is one.

    Where the peak lies before the last quarter, the decline is its value minus the end level; where it does not, no
    decline is from the peak, and this one is from the best checkpoint before that quarter.

    Args:
      steps: [C] optimiser steps of the checkpoints, rising.
      solved: [S, C, Q] of 0/1, or a list with one [C, Q] per seed (Q may differ).
      chance: as of `learned`.
    """
    solved = [np.asarray(solved_CxQ, float) for solved_CxQ in solved]
    if len(solved) == 1 and solved[0].shape[1] < 2:
        return None
    steps, best = np.asarray(steps), peak(solved)
    curve_RxC = statistics.replicated_curves(solved)
    smooth_RxC = curve_RxC @ smoothing_CxC(len(steps)).T
    best_R = smooth_RxC.argmax(1)
    in_end = bool(end_C(len(steps))[best] > 0)
    height, plateau, decline, rise, least_rise = _levels_and_changes(solved, in_end, curve_RxC)
    counts = all(change.value >= MINIMUM_CHANGE and change.ci[0] > 0 for change in (decline, rise))
    verdict = _verdict(decline, rise, counts and not in_end, len(steps))
    bounds = settles = None
    if verdict == "transition":
        settled = int(_settled(pooled_curve_C(solved), best, plateau.value, decline.value))
        bounds = _bounds(steps, best, settled)
        settles = _settles(steps, settled, curve_RxC, smooth_RxC, best_R)
    return Stages(
        verdict=verdict,
        peak=Peak(
            *height,
            index=best,
            step=int(steps[best]),
            step_ci=steps[plausible(best_R)].tolist(),
            step_probability=np.bincount(best_R, minlength=len(steps)) / len(best_R),
        ),
        plateau=plateau,
        decline=decline,
        rise=rise,
        start=float(statistics.accuracies(solved)[:, 0].mean()),
        rises=bool(rise.value >= MINIMUM_CHANGE and least_rise > 0) or counts,
        learned=learned([solved_CxQ[best] for solved_CxQ in solved], chance),
        ends_at_peak=best == len(steps) - 1,
        peak_in_end=in_end,
        settles=settles,
        stages=bounds,
        curve=_smoothed(solved),
        best_R=best_R,
    )


def _levels_and_changes(solved, peak_in_end: bool, curve_RxC) -> tuple[tuple, Estimate, Effect, Effect, float]:
    """(the peak's value and interval, end level, decline, rise, lower bound of the rise for these runs alone)."""
    checkpoints = len(solved[0])
    end, smoothing = end_C(checkpoints), smoothing_CxC(checkpoints)
    before = smoothing[: max(int(np.count_nonzero(end == 0)), 1)]
    height, _ = _best_above(np.zeros(checkpoints), solved, smoothing if peak_in_end else before, curve_RxC)
    rise, least_rise = _best_above(np.eye(checkpoints)[0], solved, smoothing, curve_RxC)
    decline, _ = _best_above(end, solved, before, curve_RxC)
    value, low, high, _ = statistics.two_level([end @ solved_CxQ for solved_CxQ in solved], 0)
    return (height.value, height.ci), Estimate(value, (low, high)), decline, rise, least_rise


def _best_above(baseline_C, solved, candidate_MxC, curve_RxC) -> tuple[Effect, float]:
    """How far the best checkpoint stands above a baseline, and the lower bound of that for these runs alone.

    Value, lower bound and p are of the checkpoint chosen on other data, which is too low if anything. The upper bound is
    of the checkpoint chosen on the same data, which is too high if anything: "there is no decline" rests on it. The
    bound for these runs alone takes all their problems as one sample.

    Smoothing chooses and does not measure, so two neighbours that are as good when smoothed may differ in height; of those that
    may be the best the least lower bound and the largest p count. A checkpoint further off is the best only where noise
    lifts it as high.
    """
    lead = [solved_CxQ - baseline_C @ solved_CxQ for solved_CxQ in solved]
    least = -1 if np.any(baseline_C) else 0
    chosen = statistics.cross_fitted(solved, candidate_MxC)
    fair = [lead_CxQ[best_Q, np.arange(best_Q.size)] for lead_CxQ, best_Q in zip(lead, chosen, strict=True)]
    value, low, _, p = statistics.two_level(fair, least)
    best = (candidate_MxC @ statistics.accuracies(solved).mean(0)).argmax()
    high = statistics.two_level([lead_CxQ[best] for lead_CxQ in lead], least)[2]
    low_here = statistics.two_level([np.concatenate(fair)], least)[1]
    best_R = (curve_RxC @ candidate_MxC.T).argmax(1)
    reach = window(len(baseline_C)) // 2
    for rival in range(max(best - reach, 0), min(best + reach + 1, len(candidate_MxC))):
        if rival != best and np.mean(best_R == rival) > UNLIKELY:
            mean, its_low, _, its_p = statistics.two_level([lead_CxQ[rival] for lead_CxQ in lead], least)
            low, p = min(low, its_low), max(p, its_p if mean * value > 0 else 1.0)
    return Effect(value, (low, max(value, high)), p), low_here


def _smoothed(solved) -> SmoothedCurve:
    smooth = [smoothing_CxC(len(solved_CxQ)) @ solved_CxQ for solved_CxQ in solved]
    by_checkpoint = zip(*smooth, strict=True)
    return SmoothedCurve(*np.array([statistics.two_level(answers, 0)[:3] for answers in by_checkpoint]).T)


def _verdict(decline: Effect, rise: Effect, seen: bool, checkpoints: int) -> str:
    """`seen`: whether the rise and the decline count, and the peak lies before the last quarter."""
    if checkpoints < 3:
        return "undecided"
    if seen:
        return "transition"
    if rise.ci[1] < MINIMUM_CHANGE:
        return "no rise"
    still_rises = decline.value <= -MINIMUM_CHANGE and decline.ci[1] < 0
    stays = rise.value >= MINIMUM_CHANGE and rise.ci[0] > 0 and decline.ci[1] < MINIMUM_CHANGE and not still_rises
    return "rises and stays" if stays else "undecided"


def no_peak(run: Stages) -> str:
    """Why stages that do not rise have no best checkpoint to read anything at: a clause for a sentence."""
    return (
        f"accuracy does not surely rise by {100 * MINIMUM_CHANGE:.0f} points (it starts at {100 * run.start:.0f} % and "
        f"reaches {100 * run.peak.value:.0f} % at best), so no checkpoint can be called the best"
    )


def _bounds(steps, best: int, settled: int) -> dict[str, list[int] | None]:
    """The stages as intervals of steps; where the curve has not settled the transition reaches to the last step."""
    first, peak_step, last = int(steps[0]), int(steps[best]), int(steps[-1])
    reached = settled < len(steps) - 1  # one checkpoint alone has not stayed anywhere
    settled_step = int(steps[settled]) if reached else last
    return {
        "translation": [first, peak_step],
        "transition": [peak_step, settled_step],
        "stabilisation": [settled_step, last] if reached else None,
    }


def _settles(steps, settled: int, curve_RxC, smooth_RxC, best_R) -> Settles | None:
    if settled >= len(steps) - 1:
        return None
    plateau_R = curve_RxC @ end_C(len(steps))
    fall_R = curve_RxC[np.arange(len(best_R)), best_R] - plateau_R
    settled_R = _settled(smooth_RxC, best_R, plateau_R, fall_R)
    bounds = statistics.interval_R(np.append(steps[:-1], np.inf)[np.minimum(settled_R, len(steps) - 1)])
    return Settles(int(steps[settled]), tuple(bound if np.isfinite(bound) else np.nan for bound in bounds))


def _settled(smooth_xC, peak_x, plateau_x, fall_x) -> np.ndarray:
    """Index of the first checkpoint after the peak from which on the curve stays near its plateau. Any leading axes."""
    band_x = BAND + BAND_SHARE * np.asarray(fall_x)
    outside_xC = np.abs(smooth_xC - np.asarray(plateau_x)[..., None]) > band_x[..., None]
    last_outside_x = np.where(outside_xC, np.arange(smooth_xC.shape[-1]), -1).max(-1)
    return np.maximum(last_outside_x, peak_x) + 1

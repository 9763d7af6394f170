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
     smoothing, which would blunt a sharp peak (statistics.cross_fitted, two_level).
  3. Whether there is anything to find: accuracy `rises` where the runs at hand rise surely, by at least MINIMUM_CHANGE over
     all their problems. Without that the best checkpoint is picked by noise, or is the first one, and nothing is read there.
  4. The transition ends at the first checkpoint after the peak from which on the smoothed curve stays within
     BAND + BAND_SHARE x decline of the end level. Where it never does, stabilisation is None.
"""

import dataclasses
import math

import numpy as np

from babel_jax import statistics
from babel_jax.bridge import Keyed
from babel_jax.statistics import Effect, Estimate

MINIMUM_CHANGE = 0.05
BAND, BAND_SHARE = 0.02, 0.1
CHANCE = 0.0  # of a problem that is solved without having learned anything: no program is written by luck


@dataclasses.dataclass(frozen=True)
class Peak(Estimate):
    """The best checkpoint: its accuracy, its step with the interval of it, and how often each checkpoint is the best [C]."""

    step: int
    step_ci: tuple[float, float]
    step_probability: np.ndarray


@dataclasses.dataclass(frozen=True)
class Settles(Keyed):
    """From which step on the accuracy stays near its end level; an upper bound NaN: not settled by the last step."""

    step: int
    step_ci: tuple[float, float]


@dataclasses.dataclass(frozen=True)
class SmoothedCurve(Keyed):
    """The smoothed accuracy, pooled over seeds, with its pointwise interval, each [C]."""

    mean_C: np.ndarray
    low_C: np.ndarray
    high_C: np.ndarray


@dataclasses.dataclass(frozen=True)
class Stages(Keyed):
    """What the data say about the stages of one run: a transition, none, or that they do not decide.

    Attributes:
      verdict: "transition", "rises and stays", "no rise" or "undecided".
      peak: the best checkpoint.
      plateau: the end level.
      decline, rise: from the peak to the end level (see `stages`), and from the first checkpoint to the peak.
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


def learned(solved) -> bool:
    """Whether runs have learned to solve such problems: surely more than MINIMUM_CHANGE above CHANCE of all of them.

    It speaks about these runs, not about other seeds, so all their problems count alike.

    Args:
      solved: one array of 0/1 per seed, any shape.
    """
    answers = np.concatenate([np.ravel(array) for array in solved])
    return bool(answers.size and statistics.wilson(answers.mean(), answers.size)[0] > CHANCE + MINIMUM_CHANGE)


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


def decline(steps, solved) -> dict:
    """Peak, end level, the rise and the decline between them, whether or not they count as a transition.

    Args:
      steps: [C] optimiser steps of the checkpoints, rising.
      solved: [S, C, Q] of 0/1, or a list with one [C, Q] per seed (Q may differ).
    Returns:
      dict: peak_index, peak_step (of the pooled curve), peak and plateau {"value", "ci"} (accuracies), end_level (the
      plateau's value), value, ci and p of the decline, rise {"value", "ci", "p"}, rises, seen. Intervals and two-sided
      p-values as in `statistics.two_level` (with two seeds or more they speak about other seeds) and `_best_above`.
      Where the peak lies before the last quarter, the decline is its value minus the end level; where it does not, no
      decline is from the peak, and this one is from the best checkpoint before that quarter.
    """
    solved = [np.asarray(solved_CxQ, float) for solved_CxQ in solved]
    end, smoothing = end_C(len(steps)), smoothing_CxC(len(steps))
    before = max(int(np.count_nonzero(end == 0)), 1)
    peak = int(pooled_curve_C(solved).argmax())
    height, _ = _best_above(np.zeros(len(steps)), solved, smoothing[:before] if end[peak] == 0 else smoothing)
    rise, least_rise = _best_above(np.eye(len(steps))[0], solved, smoothing)
    fall, _ = _best_above(end, solved, smoothing[:before])
    value, low, high, _ = statistics.two_level([end @ solved_CxQ for solved_CxQ in solved], 0)
    seen = all(change["value"] >= MINIMUM_CHANGE and change["ci"][0] > 0 for change in (fall, rise))
    return {
        "peak_index": peak,
        "peak_step": int(steps[peak]),
        "peak": {"value": height["value"], "ci": height["ci"]},
        "plateau": {"value": value, "ci": [low, high]},
        "end_level": value,
        **fall,
        "rise": rise,
        "rises": bool(rise["value"] >= MINIMUM_CHANGE and least_rise > 0) or bool(seen),
        "seen": bool(seen and end[peak] == 0),
    }


def _best_above(baseline_C, solved, candidate_MxC) -> tuple[dict, float]:
    """How far the best checkpoint stands above a baseline: {"value", "ci", "p"}, and the lower bound for these runs alone.

    Value, lower bound and p are of the checkpoint chosen on other data, which is too low if anything. The upper bound is
    of the checkpoint chosen on the same data, which is too high if anything: "there is no decline" rests on it. The
    bound for these runs alone takes all their problems as one sample.
    """
    lead = [solved_CxQ - baseline_C @ solved_CxQ for solved_CxQ in solved]
    least = -1 if np.any(baseline_C) else 0
    chosen = statistics.cross_fitted(solved, candidate_MxC)
    fair = [lead_CxQ[best_Q, np.arange(best_Q.size)] for lead_CxQ, best_Q in zip(lead, chosen, strict=True)]
    value, low, _, p = statistics.two_level(fair, least)
    best = (candidate_MxC @ statistics.accuracies(solved).mean(0)).argmax()
    high = statistics.two_level([lead_CxQ[best] for lead_CxQ in lead], least)[2]
    low_here = statistics.two_level([np.concatenate(fair)], least)[1]
    return {"value": value, "ci": [low, max(value, high)], "p": p}, low_here


def verdict(steps, solved) -> dict | None:
    """What the data say about the stages of one run: a transition, none, or that they do not decide.

    Levels and changes are those of `decline`. What is read off the curve by a search (the peak's step, where it
    settles) comes from `statistics.replicated_curves`. Both speak about other seeds where there are two or more, and
    about other problems for this one model where there is one.

    Args: as in `decline`.
    Returns:
      None for one seed with one problem, else a dict:
      verdict: "transition" (the rule above); "rises and stays" (the rise counts, and the decline's upper bound lies
        below MINIMUM_CHANGE, and it does not surely rise by as much at the end); "no rise" (the rise's upper bound lies
        below it); "undecided" (anything else, and fewer than three checkpoints).
      peak: {"step", "step_ci", "step_probability" [C] of being the best checkpoint, "value", "ci"}.
      plateau {"value", "ci"}; decline, rise {"value", "ci", "p"}.
      start: the mean accuracy at the first checkpoint.
      rises, learned: whether these runs rise surely, and have learned anything at their best checkpoint (`learned`).
      ends_at_peak, peak_in_end: whether the best checkpoint is the last one, and whether it lies in the last quarter.
      settles: {"step", "step_ci" (upper bound NaN: not settled by the last step)}; None without a transition, or where
        it has not settled.
      stages: as `find_stages` gives them.
      curve: {"mean_C", "low_C", "high_C"}, the smoothed pooled curve with its pointwise interval.
      replicates: {"best_R"}, the index of the best checkpoint in each replicate.
    """
    solved = [np.asarray(solved_CxQ, float) for solved_CxQ in solved]
    if len(solved) == 1 and solved[0].shape[1] < 2:
        return None
    steps, smoothing = np.asarray(steps), smoothing_CxC(len(steps))
    found = decline(steps, solved)
    curve_RxC = statistics.replicated_curves(solved)
    smooth_RxC = curve_RxC @ smoothing.T
    best_R = smooth_RxC.argmax(1)
    found_stages, settles = bounds(steps, solved, found), None
    if found_stages and found_stages["stabilisation"]:
        plateau_R = curve_RxC @ end_C(len(steps))
        fall_R = curve_RxC[np.arange(len(best_R)), best_R] - plateau_R
        settled_R = _settled(smooth_RxC, best_R, plateau_R, fall_R)
        low, high = statistics.interval_R(np.append(steps[:-1], np.inf)[np.minimum(settled_R, len(steps) - 1)])
        known = [bound if np.isfinite(bound) else np.nan for bound in (low, high)]
        settles = {"step": found_stages["stabilisation"][0], "step_ci": known}
    smooth = [smoothing @ solved_CxQ for solved_CxQ in solved]
    band_Cx3 = np.array([statistics.two_level([s_CxQ[c] for s_CxQ in smooth], 0)[:3] for c in range(len(steps))])
    return {
        "verdict": _verdict(found, len(steps)),
        "peak": {
            "step": found["peak_step"],
            "step_ci": statistics.interval_R(steps[best_R]),
            "step_probability": np.bincount(best_R, minlength=len(steps)) / len(best_R),
            **found["peak"],
        },
        "plateau": found["plateau"],
        "decline": {key: found[key] for key in ("value", "ci", "p")},
        "rise": found["rise"],
        "start": float(statistics.accuracies(solved)[:, 0].mean()),
        "rises": found["rises"],
        "learned": learned([solved_CxQ[found["peak_index"]] for solved_CxQ in solved]),
        "ends_at_peak": found["peak_index"] == len(steps) - 1,
        "peak_in_end": bool(end_C(len(steps))[found["peak_index"]] > 0),
        "settles": settles,
        "stages": found_stages,
        "curve": dict(zip(("mean_C", "low_C", "high_C"), band_Cx3.T, strict=True)),
        "replicates": {"best_R": best_R},
    }


def _verdict(found: dict, checkpoints: int) -> str:
    if checkpoints < 3:
        return "undecided"
    if found["seen"]:
        return "transition"
    rise = found["rise"]
    if rise["ci"][1] < MINIMUM_CHANGE:
        return "no rise"
    still_rises = found["value"] <= -MINIMUM_CHANGE and found["ci"][1] < 0
    stays = (
        rise["value"] >= MINIMUM_CHANGE and rise["ci"][0] > 0 and found["ci"][1] < MINIMUM_CHANGE and not still_rises
    )
    return "rises and stays" if stays else "undecided"


def no_peak(found: dict) -> str:
    """Why a `verdict` that does not rise has no best checkpoint to read anything at: a clause for a sentence."""
    return (
        f"accuracy does not surely rise by {100 * MINIMUM_CHANGE:.0f} points (it starts at {100 * found['start']:.0f} % and "
        f"reaches {100 * found['peak']['value']:.0f} % at best), so no checkpoint can be called the best"
    )


def find_stages(steps, solved) -> dict | None:
    """The stages as intervals of steps by the rule above, or None where no transition is seen.

    Args: as in `decline`.
    Returns:
      {"translation": [first, peak], "transition": [peak, settled], "stabilisation": [settled, last]}; the last is None
      (and the transition reaches to the last step) where the curve has not settled.
    """
    return bounds(steps, solved, decline(steps, solved))


def bounds(steps, solved, found: dict) -> dict | None:
    """`find_stages` where `decline(steps, solved)` is known already."""
    if not found["seen"]:
        return None
    settled = int(_settled(pooled_curve_C(solved), found["peak_index"], found["end_level"], found["value"]))
    first, last = int(steps[0]), int(steps[-1])
    reached = settled < len(steps) - 1  # one checkpoint alone has not stayed anywhere
    settled_step = int(steps[settled]) if reached else last
    return {
        "translation": [first, found["peak_step"]],
        "transition": [found["peak_step"], settled_step],
        "stabilisation": [settled_step, last] if reached else None,
    }


def _settled(smooth_xC, peak_x, plateau_x, fall_x) -> np.ndarray:
    """Index of the first checkpoint after the peak from which on the curve stays near its plateau. Any leading axes."""
    band_x = BAND + BAND_SHARE * np.asarray(fall_x)
    outside_xC = np.abs(smooth_xC - np.asarray(plateau_x)[..., None]) > band_x[..., None]
    last_outside_x = np.where(outside_xC, np.arange(smooth_xC.shape[-1]), -1).max(-1)
    return np.maximum(last_outside_x, peak_x) + 1

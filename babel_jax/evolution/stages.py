"""The three stages of the tower, found by a rule that can also answer "no transition seen".

The rule:
  1. The accuracies of all seeds are averaged and smoothed by a centred window of checkpoints (cut at the edges):
     3 for 16 to 31 of them, 5 for 32 to 47, none for fewer than 16, where it would blur the peak.
     The *peak* is the maximum of that curve; the *end level* is the mean of the last quarter of the checkpoints.
  2. A transition is seen if the peak lies before the last quarter of the checkpoints and the rise to it from the first
     checkpoint and the decline from it to the end level are both at least MINIMUM_CHANGE with a 95 % interval above 0.
     Changes and intervals come from a paired bootstrap over problems within seeds in which the peak is chosen on one
     half of the problems and measured on the other: a maximum picked from noise is no decline
     (statistics.cross_fitted_gap).
  3. The transition ends at the first checkpoint after the peak from which on the smoothed curve stays within
     BAND + BAND_SHARE x decline of the end level. Where it never does, stabilisation is None.
"""

import math

import numpy as np

from babel_jax.evolution import statistics

MINIMUM_CHANGE = 0.05
BAND, BAND_SHARE = 0.02, 0.1


def window(checkpoints: int) -> int:
    """How many neighbouring checkpoints the smoothing averages."""
    return 1 + 2 * (checkpoints // 16)


def smoothing_CxC(checkpoints: int) -> np.ndarray:
    """The matrix that averages a curve over a window of neighbouring checkpoints; fewer at the edges."""
    near = np.abs(np.subtract.outer(np.arange(checkpoints), np.arange(checkpoints))) <= window(checkpoints) // 2
    return near / near.sum(1, keepdims=True)


def end_C(checkpoints: int) -> np.ndarray:
    """The weights that average the last quarter of the checkpoints (rounded up): the end level."""
    last = math.ceil(checkpoints / 4)
    return np.where(np.arange(checkpoints) >= checkpoints - last, 1 / last, 0.0)


def pooled_curve_C(solved) -> np.ndarray:
    """Smoothed accuracy at each checkpoint, averaged over seeds. `solved`: one [C, Q] array per seed."""
    accuracy_C = np.mean([np.mean(solved_CxQ, axis=1) for solved_CxQ in solved], axis=0)
    return smoothing_CxC(len(accuracy_C)) @ accuracy_C


def decline(steps, solved) -> dict:
    """Peak, end level, the rise and the decline between them, whether or not they count as a transition.

    Args:
      steps: [C] optimiser steps of the checkpoints, rising.
      solved: [S, C, Q] of 0/1, or a list with one [C, Q] per seed (Q may differ).
    Returns:
      dict: peak_index, peak_step, end_level (of the pooled curve), value and ci of the decline and rise {"value", "ci"}
      (both cross-fitted), seen.
    """
    curve_C = pooled_curve_C(solved)
    end = end_C(len(steps))
    peak = int(curve_C.argmax())
    halves, smoothing, first = statistics.resampled_halves(solved), smoothing_CxC(len(steps)), np.eye(len(steps))[0]
    value, low, high = statistics.cross_fitted_gap(halves, smoothing, end)
    rise, rise_low, rise_high = statistics.cross_fitted_gap(halves, smoothing, first)
    return {
        "peak_index": peak,
        "peak_step": int(steps[peak]),
        "end_level": float(end @ np.mean([np.mean(solved_CxQ, axis=1) for solved_CxQ in solved], axis=0)),
        "value": value,
        "ci": [low, high],
        "rise": {"value": rise, "ci": [rise_low, rise_high]},
        "seen": bool(end[peak] == 0 and min(value, rise) >= MINIMUM_CHANGE and min(low, rise_low) > 0),
    }


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
    peak = found["peak_index"]
    outside = np.abs(pooled_curve_C(solved) - found["end_level"]) > BAND + BAND_SHARE * found["value"]
    settled = max(int(np.flatnonzero(outside).max(initial=-1)) + 1, peak + 1)
    first, last = int(steps[0]), int(steps[-1])
    reached = settled < len(steps) - 1  # one checkpoint alone has not stayed anywhere
    settled_step = int(steps[settled]) if reached else last
    return {
        "translation": [first, found["peak_step"]],
        "transition": [found["peak_step"], settled_step],
        "stabilisation": [settled_step, last] if reached else None,
    }

"""Intervals and tests, all of 95 %: over seeds where there are seeds, over problems, rows or clusters where there is one.

Letters: S seeds, C checkpoints (or any other condition; of a cluster bootstrap: clusters), Q problems, N rows or slots,
R bootstrap replicates, D draws of a cluster bootstrap, M candidates or measurements.
"""

import dataclasses
import functools

import numpy as np
from scipy import special, stats

TAILS = (0.025, 0.975)  # quantiles: all intervals are of 95 %
NORMAL = float(stats.norm.ppf(TAILS[1]))  # standard errors on either side
REPLICATES = 1000
DRAWS = 500
FOLDS = 5


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A number and its interval; NaN where it is not known."""

    value: float
    ci: tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Effect(Estimate):
    """A change or a difference, with its two-sided p-value against none."""

    p: float


def error_of(low, high):
    """The standard error that a normal interval comes from."""
    return (high - low) / (2 * NORMAL)


# --- proportions ----------------------------------------------------------------------------------------------------------


def wilson(value, n) -> tuple[np.ndarray, np.ndarray]:
    """Wilson score interval of a proportion `value` seen in `n` independent yes/no observations, NaN of none. Any shape.

    The numbers of SciPy's `binomtest(k, n).proportion_ci(method="wilson")`, which takes whole counts one at a time.
    """
    value, n = np.asarray(value, float), np.where(np.asarray(n) > 0, n, np.nan)
    z = special.ndtri(TAILS[1])
    whole = 2 * (n + z**2)
    centre, half = (2 * n * value + z**2) / whole, z / whole * np.sqrt(4 * n * value * (1 - value) + z**2)
    known = ~np.isnan(n)
    return np.where(known & (value == 0), 0.0, centre - half), np.where(known & (value == 1), 1.0, centre + half)


def mcnemar(only_first: int, only_second: int) -> float:
    """The exact two-sided p-value of McNemar's test (1947), from the counts of problems that only one of two solves."""
    discordant = only_first + only_second
    return float(stats.binomtest(only_first, discordant, 0.5).pvalue) if discordant else 1.0


def holm(p_values: list[float]) -> list[float]:
    """p-values of so many tests, corrected so that 5 % bounds the chance of even one false finding; NaN stays NaN."""
    p_M = np.asarray(p_values, float)
    order = np.argsort(p_M)  # NaN last
    order = order[: int((~np.isnan(p_M)).sum())]
    adjusted_M = np.full(len(p_M), np.nan)
    adjusted_M[order] = np.minimum(np.maximum.accumulate(p_M[order] * np.arange(len(order), 0, -1)), 1)
    return adjusted_M.tolist()


# --- seeds, and problems within them --------------------------------------------------------------------------------------


def student(value_SxC) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean over seeds with its Student t interval: (mean_C, low_C, high_C).

    NaN marks a seed without a value at that place. With fewer than two values the bounds are NaN: one seed knows
    nothing about other seeds. Also takes [S], and then returns scalars.
    """
    value = np.asarray(value_SxC, float)
    there = ~np.isnan(value)
    n = there.sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(there, value, 0).sum(0) / n
        variance = np.where(there, (value - mean) ** 2, 0).sum(0) / (n - 1)
        half = stats.t.ppf(TAILS[1], np.maximum(n - 1, 1)) * np.sqrt(variance / n)
    half = np.where(n >= 2, half, np.nan)
    return mean, mean - half, mean + half


def paired_difference(first_S, second_S) -> tuple[float, float, float]:
    """Mean of second - first over seeds, with the Student t interval of the per-seed differences (NaN for one seed)."""
    mean, low, high = student(np.asarray(second_S, float) - np.asarray(first_S, float))
    return float(mean), float(low), float(high)


def _error(value_by_part: list[np.ndarray]) -> float:
    """Standard error of the mean of the parts' means; 0 where no part is known."""
    count = len(value_by_part)
    return float(np.sqrt(sum(part.var(ddof=1) / len(part) for part in value_by_part)) / count) if count else 0.0


def problem_error(difference_by_part: list[np.ndarray]) -> float:
    """Standard error of the mean of the parts' mean differences between answers to problems, from -1 to 1.

    Never 0: that all at hand agree is no proof of others. Where all are the same, two more are counted, one at each end, as
    in `two_level`.
    """
    if len(difference_by_part) and all(np.ptp(part) == 0 for part in difference_by_part):
        padded = [np.append(part, [-1, 1]) for part in difference_by_part]
        squares = [
            np.square(p - part[0]).mean() / len(part) for p, part in zip(padded, difference_by_part, strict=True)
        ]
        return float(np.sqrt(sum(squares)) / len(squares))
    return _error(difference_by_part)


def mean_difference(difference_by_part: list[np.ndarray], least: float = 0.0) -> Effect:
    """The mean of the parts' mean differences by Student t; without interval and p with fewer than two in a part.

    `least`: a standard error that the interval is never narrower than, by the normal distribution. Where all differences
    are equal and nothing is known of it the interval is that point, and p is 1 if it is zero.
    """
    n, mean = np.array([len(part) for part in difference_by_part]), float("nan")
    if len(n) and (n > 0).all():
        mean = float(np.mean([part.mean() for part in difference_by_part]))
    if not len(n) or (n < 2).any():
        return Effect(mean, (float("nan"), float("nan")), float("nan"))
    error, by = _error(difference_by_part), stats.t((n - 1).sum())
    if by.ppf(TAILS[1]) * error < NORMAL * least:
        error, by = least, stats.norm
    half = by.ppf(TAILS[1]) * error
    p = 2 * by.sf(abs(mean) / error) if error > 0 else float(mean == 0)
    return Effect(mean, (float(mean - half), float(mean + half)), float(p))


def mean_over_seeds(value_S, error_S) -> Effect:
    """The mean over seeds with its interval and two-sided p against 0; `error_S`: each seed's own standard error.

    Student t over the seeds, but never narrower than their own errors allow: few seeds agree
    by luck. One seed: those errors alone; the interval then speaks about other problems for this one model.
    """
    seeds, mean = len(value_S), float(np.mean(value_S))
    errors = [(float(np.linalg.norm(error_S)) / seeds, np.inf)]
    if seeds > 1:
        errors.append((float(np.std(value_S, ddof=1)) / np.sqrt(seeds), seeds - 1))
    half = max(stats.t.ppf(TAILS[1], freedom) * error for error, freedom in errors)
    p = [2 * stats.t.sf(abs(mean) / error, freedom) for error, freedom in errors if error > 0]
    return Effect(mean, (float(mean - half), float(mean + half)), float(max(p, default=float(mean == 0))))


def two_level(value_SxQ, least: float = -1.0) -> tuple[float, float, float, float]:
    """Mean over seeds of the means over their problems: (mean, low, high, p), p two-sided against a mean of 0.

    Two seeds or more: Student t over the seeds' means, in which both levels vary. It speaks about other seeds, and about
    other problems where each seed has its own. (A percentile bootstrap that draws seeds with replacement does not: at
    three seeds it is too narrow by sqrt(2/3) and by 1.96 to 4.30, and covers about 75 %.) One seed, or seeds whose means
    are all equal, as where everything is solved: Student t over problems, which speaks about other problems only.

    Args:
      value_SxQ: one array [Q] per seed (Q may differ) of values from `least` to 1: 0 and 1 for answers,
        -1 to 1 for differences. The bounds are cut to that range. The interval over problems counts two more, one at
        each end (as Agresti and Coull 1998 do): a mean of 1.0 over few problems has an interval too.
    """
    values = [np.asarray(value_Q, float) for value_Q in value_SxQ]
    mean_S = np.array([value_Q.mean() for value_Q in values])
    mean, seeds = float(mean_S.mean()), len(values)
    if np.ptp(mean_S) > 0:
        error, freedom = mean_S.std(ddof=1) / np.sqrt(seeds), seeds - 1
    else:
        padded = np.concatenate([*values, [least, 1.0]])
        size = padded.size - 2
        error, freedom = np.sqrt(((padded - mean) ** 2).mean() / size), max(size - 1, 1)
    half = special.stdtrit(freedom, TAILS[1]) * error
    p = 2 * special.stdtr(freedom, -abs(mean) / error)
    return mean, float(np.clip(mean - half, least, 1)), float(np.clip(mean + half, least, 1)), float(p)


def accuracies(solved) -> np.ndarray:
    """Accuracy of each seed under each condition, [S, C]; `solved`: one array [C, Q] of 0/1 per seed."""
    return np.array([np.mean(solved_CxQ, axis=1) for solved_CxQ in solved])


def cross_fitted(solved, candidate_MxC) -> list[np.ndarray]:
    """The best of M candidates for every problem, chosen without it: one array [Q] of candidates per seed.

    The maximum of a noisy curve is too high because noise helped to choose it (winner's curse). So what is measured on
    a seed is chosen on the *other* seeds; with one seed, what is measured on a fifth of its problems is chosen on the
    other four fifths. A choice from fewer data can only make the winner's lead smaller.

    Args:
      solved: one array [C, Q] of 0/1 per seed.
      candidate_MxC: each row maps the C accuracies to a candidate's score (identity, or a smoothing matrix).
    """
    candidate_MxC = np.asarray(candidate_MxC, float)
    if len(solved) > 1:
        accuracy_SxC = accuracies(solved)
        return [
            np.full(np.shape(solved_CxQ)[1], (candidate_MxC @ np.delete(accuracy_SxC, s, axis=0).mean(0)).argmax())
            for s, solved_CxQ in enumerate(solved)
        ]
    (solved_CxQ,) = solved
    fold_Q = np.random.default_rng(0).permutation(np.shape(solved_CxQ)[1]) % FOLDS
    chosen_Q = np.zeros(fold_Q.size, int)
    for fold in np.unique(fold_Q) if fold_Q.size > 1 else ():  # a single problem leaves nothing to choose on
        rest_C = np.mean(np.asarray(solved_CxQ)[:, fold_Q != fold], axis=1)
        chosen_Q[fold_Q == fold] = (candidate_MxC @ rest_C).argmax()
    return [chosen_Q]


def replicated_curves(solved) -> np.ndarray:
    """Mean accuracies [R, C] as other seeds might have given them; one seed: as other problems might have.

    A bootstrap with Student t weights: the mean plus the deviations of the S seeds' curves (of the Q problems' answers
    where there is one seed), each times a random weight, such that every weighted sum of accuracies has the quantiles
    of its Student t interval. Maxima and crossings read off the replicates inherit that. The usual bootstrap, which
    draws seeds and problems with replacement, is too narrow for few seeds (`two_level`). Not cut to [0, 1].
    """
    unit_UxC = accuracies(solved) if len(solved) > 1 else np.asarray(solved[0], float).T
    units, generator = len(unit_UxC), np.random.default_rng(0)
    if units < 2:
        return np.full((REPLICATES, unit_UxC.shape[1]), np.nan)
    weight_RxU = generator.normal(size=(REPLICATES, units)) / np.sqrt(units * (units - 1))
    weight_RxU /= np.sqrt(generator.chisquare(units - 1, (REPLICATES, 1)) / (units - 1))
    mean_C = unit_UxC.mean(0)
    return mean_C + weight_RxU @ (unit_UxC - mean_C)


def interval_R(value_R, tail: float = TAILS[0]) -> list[float]:
    """[low, high] between which all but two tails of the replicates lie, each one of them (so that a step stays a step)."""
    ordered_R = np.sort(value_R)
    outside = int(tail * len(ordered_R))
    return [ordered_R[outside].item(), ordered_R[-1 - outside].item()]


def envelope(value_RxK) -> np.ndarray:
    """Replicates [R] of a number that is one of K, it is not known which: each central interval spans those of all K.

    The replicates of a mixture will not do. Its quantile of 2.5 % rejects a value of a candidate by how likely that
    candidate is *times* how far out the value lies in it, and such a product is small too often: with two candidates that are
    as good, for 12 % of the true values instead of 2.5 %. So the lower half of the replicates follows the lowest of the K
    quantile functions and the upper half the highest. Draws keep their order, so that sums over languages stay paired.
    """
    value_RxK = np.asarray(value_RxK, float)
    ordered_RxK = np.sort(value_RxK, axis=0)
    lower_R = np.arange(len(value_RxK)) < len(value_RxK) // 2
    rank_R = value_RxK.mean(1).argsort(kind="stable").argsort(kind="stable")
    return np.where(lower_R, ordered_RxK.min(1), ordered_RxK.max(1))[rank_R]


def resampled_halves(solved) -> np.ndarray:
    """Accuracies [2, R, C] in two halves of the problems, split at random and resampled within, for cross-fitting.

    `solved`: one array [C, Q] of 0/1 per seed; seeds weigh the same, whatever their Q. Problems bring their answers at
    all C along. NaN where a seed has fewer than four problems: there is nothing to split.
    """
    solved = [np.asarray(solved_CxQ, float) for solved_CxQ in solved]
    accuracy_2xRxC = np.zeros((2, REPLICATES, solved[0].shape[0]))
    if min(solved_CxQ.shape[1] for solved_CxQ in solved) < 4:
        return accuracy_2xRxC * np.nan
    generator = np.random.default_rng(0)
    for solved_CxQ in solved:
        problems = solved_CxQ.shape[1]
        order_RxQ = generator.random((REPLICATES, problems)).argsort(1)
        for half, members in enumerate(np.array_split(order_RxQ, 2, axis=1)):
            pick = generator.integers(0, members.shape[1], members.shape)
            drawn = np.take_along_axis(members, pick, 1) + problems * np.arange(REPLICATES)[:, None]
            count_RxQ = np.bincount(drawn.ravel(), minlength=REPLICATES * problems).reshape(REPLICATES, problems)
            accuracy_2xRxC[half] += count_RxQ @ solved_CxQ.T / members.shape[1] / len(solved)
    return accuracy_2xRxC


def cross_fitted_gap(halves_2xRxC, candidate_MxC, baseline_C) -> tuple[float, float, float]:
    """How far the best of M candidates stands above a baseline, free of the winner's curse: (gap, low, high).

    The maximum of a noisy curve is too high because noise helped to choose it. So in each replicate of
    `resampled_halves` the best candidate is chosen in one half of the problems and its gap is measured in the other,
    both ways round. Choosing with half of the problems can only make the gap smaller.

    Args:
      halves_2xRxC: from `resampled_halves`.
      candidate_MxC: each row maps the C accuracies to a candidate's score (identity, or a smoothing matrix).
      baseline_C: weights of the accuracies that make the baseline.
    Returns:
      Mean over replicates and percentile interval. The interval speaks about other problems for these seeds' models,
      not about other seeds.
    """
    score_2xRxM = halves_2xRxC @ np.asarray(candidate_MxC, float).T
    best_2xR = score_2xRxM.argmax(-1)
    chosen_2xR = np.take_along_axis(score_2xRxM, best_2xR[::-1, :, None], -1)[..., 0]
    gap_R = (chosen_2xR - halves_2xRxC @ np.asarray(baseline_C, float)).mean(0)
    low, high = np.quantile(gap_R, TAILS)
    return float(gap_R.mean()), float(low), float(high)


# --- clusters of slots and rows ---------------------------------------------------------------------------------------------


def interval(draws_DxM):
    """The 95 % percentile interval of each column: `(low_M, high_M)`. Undefined draws (NaN) are left out."""
    quantile = np.nanquantile if np.isnan(draws_DxM).any() else np.quantile
    defined_M = ~np.isnan(draws_DxM).all(axis=0)
    low, high = np.full((2, draws_DxM.shape[1]), np.nan)
    if defined_M.any():
        low[defined_M], high[defined_M] = quantile(draws_DxM[:, defined_M], TAILS, axis=0)
    return low, high


def ratio(numerator, denominator):
    """`numerator / denominator`, NaN where nothing was counted."""
    numerator, denominator = np.broadcast_arrays(np.asarray(numerator, float), np.asarray(denominator, float))
    return np.divide(
        numerator,
        denominator,
        out=np.full(numerator.shape, np.nan),
        where=denominator > 0,
    )


def mean_with_interval(sum_N, count_N):
    """The mean over all tokens of rows with `count_N` tokens and its 95 % interval over rows: `(mean, low, high)`.

    The interval is the linearised variance of a ratio of two sums: tokens of one row are one observation.
    """
    sum_N, count_N = np.asarray(sum_N, np.float64), np.asarray(count_N, np.float64)
    mean = float(ratio(sum_N.sum(), count_N.sum()))
    rows = int((count_N > 0).sum())
    if rows < 2:
        return mean, float("nan"), float("nan")
    residual_N = sum_N - mean * count_N
    error = np.sqrt(np.square(residual_N).sum() * rows / (rows - 1)) / count_N.sum()
    return mean, float(mean - 1.96 * error), float(mean + 1.96 * error)


def shard_weights(shards: int, draws: int = DRAWS):
    """How often each of `shards` equal clusters stands in each bootstrap draw: [D, R]. Deterministic."""
    return np.random.default_rng(0).multinomial(shards, np.full(shards, 1 / shards), size=draws)


def two_level_weights(pair_N, prompt_N, draws: int = DRAWS):
    """Cluster bootstrap on two levels: pairs are resampled, then the prompts inside every drawn pair.

    Args:
      pair_N: the identifier pair of each slot.
      prompt_N: the prompt of each slot inside its pair.

    Returns:
      `(cluster_N, weight_DxC)`: the cluster (pair and prompt) of each slot, and how often each cluster stands in each
      draw. Deterministic.
    """
    return _two_level_weights(tuple(np.asarray(pair_N).tolist()), tuple(np.asarray(prompt_N).tolist()), draws)


@functools.lru_cache(maxsize=8)  # all checkpoints of a run share their slots
def _two_level_weights(pair_N, prompt_N, draws):
    clusters_Cx2, cluster_N = np.unique(np.stack([pair_N, prompt_N], axis=1), axis=0, return_inverse=True)
    rng = np.random.default_rng(0)
    pairs, pair_C = np.unique(clusters_Cx2[:, 0], return_inverse=True)
    times_DxP = rng.multinomial(len(pairs), np.full(len(pairs), 1 / len(pairs)), size=draws)
    weight_DxC = np.zeros((draws, len(clusters_Cx2)))
    for pair in range(len(pairs)):
        inside = np.flatnonzero(pair_C == pair)
        # A pair drawn m times has its n prompts resampled m times: one multinomial of m * n.
        shares = np.full(len(inside), 1 / len(inside))
        weight_DxC[:, inside] = rng.multinomial(times_DxP[:, pair] * len(inside), shares)
    return cluster_N.reshape(-1), weight_DxC


def cluster_sums(values_MxN, cluster_N, clusters: int):
    """Sums of each row of `values_MxN` over clusters: [M, C]."""
    sums_MxC = np.zeros((len(values_MxN), clusters))
    np.add.at(sums_MxC.T, cluster_N, np.asarray(values_MxN, np.float64).T)
    return sums_MxC

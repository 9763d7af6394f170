"""Intervals of the probes: every number that is a sum over clusters gets a 95 % interval by resampling the clusters."""

import functools

import numpy as np

DRAWS = 500
LEVELS = (0.025, 0.975)


def interval(draws_DxM):
    """The 95 % percentile interval of each column: `(low_M, high_M)`. Undefined draws (NaN) are left out."""
    quantile = np.nanquantile if np.isnan(draws_DxM).any() else np.quantile
    defined_M = ~np.isnan(draws_DxM).all(axis=0)
    low, high = np.full((2, draws_DxM.shape[1]), np.nan)
    if defined_M.any():
        low[defined_M], high[defined_M] = quantile(draws_DxM[:, defined_M], LEVELS, axis=0)
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

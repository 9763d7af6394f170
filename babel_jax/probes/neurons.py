"""Transferring neurons, by language activation probability entropy (LAPE) and by function.

LAPE is re-implemented from the mathematics of Tang et al. 2024 (arXiv 2402.16438) with its reference code's rules:
strict comparisons, thresholds by rank over all L * F * K probabilities, the filter before the entropy; but with a
stable order where entropies tie, and without filling up with neurons that did not pass (probes.md 1.1).
"""

import warnings

import numpy as np

from babel_jax.probes import statistics

TOP_RATE = 0.01
FILTER_RATE = 0.95
SENSITIVITY_RATES = (0.005, 0.01, 0.02, 0.05, 0.1)
SHARED_ENTROPY = 0.9  # of ln 2: how evenly a pair-shared neuron must fire for its two languages
FUNCTIONAL_CORRELATION = 0.5


def _kth_smallest(values_xM, rate):
    """The k-th smallest along the last axis, k = round(M * rate) counted from 1 and rounded half to even: a rank, not a
    quantile between two values."""
    k = min(max(round(values_xM.shape[-1] * rate), 1), values_xM.shape[-1])
    return np.partition(values_xM, k - 1, axis=-1)[..., k - 1]


def _entropy(p_Kxx):
    """Entropy in nats of the first axis, normalised; a neuron that never fires gets 0, as in the reference."""
    total_x = p_Kxx.sum(axis=0)
    q_Kxx = np.divide(p_Kxx, total_x, out=np.zeros_like(p_Kxx), where=total_x > 0)
    log_Kxx = np.log(q_Kxx, out=np.zeros_like(q_Kxx), where=q_Kxx > 0)
    return -(q_Kxx * log_Kxx).sum(axis=0)


def lape(
    count_xLxFxK,
    tokens_xK,
    filter_rate: float = FILTER_RATE,
    bar_ratio: float = FILTER_RATE,
) -> dict:
    """The ranking that LAPE selects from. Any leading axes x (bootstrap draws) are carried along.

    Args:
      count_xLxFxK: tokens of language k for which neuron (l, f) is active.
      tokens_xK: tokens of language k.

    Returns:
      `rank_xLxF`: place in the order (entropy, layer, index) of the neurons that passed the filter, L * F for the
      others; `p_KxxLxF` float32: probability of being active; `above_KxxLxF`: whether it is above the bar, so that the
      neuron can belong to the language; `passed_x`: how many neurons passed.
    """
    count_xLxFxK, tokens_xK = np.asarray(count_xLxFxK), np.asarray(tokens_xK)
    *lead, L, F, K = count_xLxFxK.shape
    # Languages first: reductions over a last axis of two are several times slower.
    count_KxxM = np.ascontiguousarray(np.moveaxis(count_xLxFxK, -1, 0), np.float32).reshape(K, *lead, L * F)
    p_KxxM = count_KxxM / np.moveaxis(tokens_xK, -1, 0).astype(np.float32)[..., None]
    flat = np.moveaxis(p_KxxM, 0, -2).reshape(*lead, K * L * F)
    threshold_x = _kth_smallest(flat, filter_rate)
    bar_x = threshold_x if bar_ratio == filter_rate else _kth_smallest(flat, bar_ratio)
    alive_xM = (p_KxxM > threshold_x[..., None]).any(axis=0)
    order_xM = np.argsort(np.where(alive_xM, _entropy(p_KxxM), np.inf), axis=-1, kind="stable")
    rank_xM = np.empty_like(order_xM)
    np.put_along_axis(rank_xM, order_xM, np.broadcast_to(np.arange(L * F), order_xM.shape), axis=-1)
    return {
        "rank_xLxF": np.where(alive_xM, rank_xM, L * F).reshape(*lead, L, F),
        "p_KxxLxF": p_KxxM.reshape(K, *lead, L, F),
        "above_KxxLxF": (p_KxxM > bar_x[..., None]).reshape(K, *lead, L, F),
        "passed_x": alive_xM.sum(axis=-1),
    }


def selected(ranking: dict, top_rate: float = TOP_RATE):
    """The language-specific neurons [..., L, F]: the `top_rate` of ALL neurons that stand first in the ranking.

    Fewer when fewer passed the filter. Each belongs to every language in which it is `above_KxxLxF`.
    """
    rank_xLxF = ranking["rank_xLxF"]
    size = rank_xLxF.shape[-1] * rank_xLxF.shape[-2]
    return rank_xLxF < min(round(size * top_rate), size)


def transferring(ranking: dict, primary: int, new: int, top_rate: float = TOP_RATE) -> dict:
    """Readings of "language transferring neurons" for the new language, each a mask [..., L, F] (probes.md 1.4).

    lape_target: specific to the new language. lape_both: specific to it and to the primary. lape_exclusive: specific to
    it and to no other. pair_shared: above the bar in both and in no further language, about evenly; any number of them.
    """
    above_KxxLxF = ranking["above_KxxLxF"]
    languages_xLxF = above_KxxLxF.sum(axis=0)
    target_xLxF = selected(ranking, top_rate) & above_KxxLxF[new]
    even_xLxF = _entropy(ranking["p_KxxLxF"][[primary, new]]) >= SHARED_ENTROPY * np.log(2)
    return {
        "lape_target": target_xLxF,
        "lape_both": target_xLxF & above_KxxLxF[primary],
        "lape_exclusive": target_xLxF & (languages_xLxF == 1),
        "pair_shared": above_KxxLxF[primary] & above_KxxLxF[new] & (languages_xLxF == 2) & even_xLxF,
    }


def _counts(masks: dict):
    """Neurons per metric and layer, the sum over layers first: {metric: [..., 1 + L]}."""
    per_layer = {metric: mask_xLxF.sum(axis=-1) for metric, mask_xLxF in masks.items()}
    return {
        metric: np.concatenate([count_xL.sum(axis=-1, keepdims=True), count_xL], axis=-1)
        for metric, count_xL in per_layer.items()
    }


def _rows(counts: dict, drawn: dict, shape: tuple, language: str, options: dict) -> list[dict]:
    L, F = shape
    rows = []
    for metric, count_M in counts.items():
        low_M, high_M = statistics.interval(drawn[metric].astype(np.float64))
        for index, value in enumerate(count_M):
            rows.append(
                dict(
                    probe="neurons",
                    language=language,
                    layer=index or -1,
                    metric=metric,
                    value=float(value),
                    n=F if index else L * F,
                    ci_low=float(low_M[index]),
                    ci_high=float(high_M[index]),
                    options=options.get(metric, {}),
                )
            )
    return rows


def neuron_rows(measured: dict, primary: str, new: str, draws: int = 200) -> list[dict]:
    """Counts of transferring neurons over all layers (layer -1) and per layer: rows without run, seed and step.

    Intervals: shards of neighbouring rows are resampled and the whole selection is done again. `lape_passed` says how
    many neurons passed LAPE's filter at all. Warns when they are fewer than LAPE is to select.

    Args:
      measured: from `forward.measure`.
      primary, new: languages of `measured`.
    """
    languages = measured["languages"]
    primary_index, new_index = languages.index(primary), languages.index(new)
    count_RxLxFxK, tokens_RxK = measured["active_RxLxFxK"], measured["tokens_RxK"]
    R, L, F, K = count_RxLxFxK.shape
    lape_options = {
        "top_rate": TOP_RATE,
        "filter_rate": FILTER_RATE,
        "languages": ",".join(languages),
    }
    options = {name: lape_options for name in ("lape_target", "lape_both", "lape_exclusive")}
    options["pair_shared"] = {
        "filter_rate": FILTER_RATE,
        "entropy": SHARED_ENTROPY,
        "languages": ",".join(languages),
    }

    def count_all(count_xLxFxK, tokens_xK):
        ranking = lape(count_xLxFxK, tokens_xK)
        counts = _counts(transferring(ranking, primary_index, new_index))
        for rate in SENSITIVITY_RATES:
            target_xLxF = selected(ranking, rate) & ranking["above_KxxLxF"][new_index]
            counts[rate] = target_xLxF.sum(axis=(-1, -2))[..., None]
        counts["lape_passed"] = ranking["passed_x"][..., None]
        return counts

    found = count_all(count_RxLxFxK.sum(axis=0), tokens_RxK.sum(axis=0))
    passed, wanted = int(found["lape_passed"][0]), round(L * F * TOP_RATE)
    if passed < wanted:
        warnings.warn(
            f"only {passed} of the {wanted} neurons that LAPE selects passed its filter",
            stacklevel=2,
        )

    weight_DxR = statistics.shard_weights(R, draws)
    flat_RxM = count_RxLxFxK.reshape(R, -1).astype(np.float64)
    block = max(1, 2**22 // flat_RxM.shape[1])  # draws at a time: a large model's counters are not copied 200 times
    drawn = []
    for start in range(0, draws, block):
        weight_BxR = weight_DxR[start : start + block]
        tokens_BxK = weight_BxR @ tokens_RxK
        kept_B = (tokens_BxK > 0).all(axis=1)  # a language that is in few shards only may miss from a draw
        count_BxLxFxK = (weight_BxR[kept_B].astype(np.float64) @ flat_RxM).reshape(-1, L, F, K)
        drawn.append(count_all(count_BxLxFxK, tokens_BxK[kept_B]))
    drawn = {metric: np.concatenate([part[metric] for part in drawn]) for metric in found}

    metrics = [metric for metric in found if isinstance(metric, str)]
    rows = _rows({metric: found[metric] for metric in metrics}, drawn, (L, F), new, options)
    for rate in SENSITIVITY_RATES:
        sensitivity = {"lape_target_sensitivity": lape_options | {"top_rate": rate}}
        rows += _rows(
            {"lape_target_sensitivity": found[rate]},
            {"lape_target_sensitivity": drawn[rate]},
            (L, F),
            new,
            sensitivity,
        )
    return rows


def _standardised(activations_LxNxF):
    """Activations over slots with mean 0 and variance 1, [N, L * F]; a neuron that is constant becomes 0."""
    L, N, F = np.shape(activations_LxNxF)
    x_NxM = np.moveaxis(np.asarray(activations_LxNxF, np.float64), 0, 1).reshape(N, L * F)
    mean_M, deviation_M = x_NxM.mean(axis=0), x_NxM.std(axis=0)
    constant_M = deviation_M <= 1e-6 * np.abs(mean_M)  # what float32 activations that are equal may still differ by
    return np.divide(x_NxM - mean_M, deviation_M, out=np.zeros_like(x_NxM), where=~constant_M).astype(np.float32)


def functional(base_primary_LxNxF, checkpoint_new_LxNxF, threshold: float = FUNCTIONAL_CORRELATION):
    """Neurons that still do in the new language what they did in the primary one: [L, F].

    The correlation over aligned slots of the base model's activation on the primary's prompts with the checkpoint's on
    the new language's prompts is above `threshold`. A neuron that is constant in one of them does not count.
    """
    L, _, F = np.shape(base_primary_LxNxF)
    product_NxM = _standardised(base_primary_LxNxF) * _standardised(checkpoint_new_LxNxF)
    return product_NxM.mean(axis=0, dtype=np.float64).reshape(L, F) > threshold


def _functional_draws(base_LxNxF, now_LxNxF, weight_DxN, threshold):
    """`functional` again with every slot weighted anew: [D, L, F]."""
    L, _, F = base_LxNxF.shape
    x_NxM, y_NxM = _standardised(base_LxNxF), _standardised(now_LxNxF)
    weight_DxN = (weight_DxN / weight_DxN.sum(axis=1, keepdims=True)).astype(np.float32)
    x, y, xx, yy, xy = (weight_DxN @ part_NxM for part_NxM in (x_NxM, y_NxM, x_NxM**2, y_NxM**2, x_NxM * y_NxM))
    varies = (xx - x * x > 1e-5) & (yy - y * y > 1e-5)
    scale = np.sqrt(np.where(varies, (xx - x * x) * (yy - y * y), 1))
    return (varies & (xy - x * y > threshold * scale)).reshape(-1, L, F)


def functional_rows(
    base_primary_LxNxF,
    checkpoint_new_LxNxF,
    slots: dict,
    language: str,
    draws: int = 100,
) -> list[dict]:
    """Counts of `functional` neurons over the transfer slots (subset 1): rows without run, seed and step.

    Args:
      base_primary_LxNxF: activations of the base checkpoint at the primary language's slots (`ffn_LxNxF` of `measure`).
      checkpoint_new_LxNxF: activations of a checkpoint at the new language's slots, aligned row by row with the former.
      slots: the new language's slots: `subset`, `pair`, `prompt` [N]. Intervals resample prompts.

    Returns:
      Rows with metric "functional"; none when there is no transfer slot.
    """
    transfer_N = np.asarray(slots["subset"]) == 1
    if not transfer_N.any():
        return []
    base, now = (np.asarray(a)[:, transfer_N] for a in (base_primary_LxNxF, checkpoint_new_LxNxF))
    found = functional(base, now)
    names = np.stack(
        [
            np.asarray(slots["pair"])[transfer_N],
            np.asarray(slots["prompt"])[transfer_N],
        ],
        axis=1,
    )
    cluster_N = np.unique(names, axis=0, return_inverse=True)[1].reshape(-1)
    weight_DxN = statistics.shard_weights(cluster_N.max() + 1, draws)[:, cluster_N]
    drawn = _functional_draws(base, now, weight_DxN, FUNCTIONAL_CORRELATION)
    return _rows(
        _counts({"functional": found}),
        _counts({"functional": drawn}),
        found.shape,
        language,
        {"functional": {"correlation": FUNCTIONAL_CORRELATION, "subset": "transfer"}},
    )

"""Neurons by function: those that still do in the new language what they did in the primary one.

Letters as in `model/decoder.py`; N aligned slots, D bootstrap draws.
"""

import numpy as np

from babel_jax.common import statistics

FUNCTIONAL_CORRELATION = 0.5


def _standardised(value_LxNxF):
    """Values over slots with mean 0 and variance 1, [N, L * F]; a neuron that is constant becomes 0."""
    L, N, F = np.shape(value_LxNxF)
    x_NxM = np.moveaxis(np.asarray(value_LxNxF, np.float64), 0, 1).reshape(N, L * F)
    mean_M, deviation_M = x_NxM.mean(axis=0), x_NxM.std(axis=0)
    constant_M = deviation_M <= 1e-6 * np.abs(mean_M)  # what float32 values that are equal may still differ by
    return np.divide(x_NxM - mean_M, deviation_M, out=np.zeros_like(x_NxM), where=~constant_M).astype(np.float32)


def functional(base_primary_LxNxF, checkpoint_new_LxNxF, threshold: float = FUNCTIONAL_CORRELATION):
    """Neurons that still do in the new language what they did in the primary one: [L, F].

    The correlation over aligned slots of a neuron's value in the base model on the primary's prompts with the checkpoint's on
    the new language's prompts is above `threshold`. A neuron that is constant in one of them does not count.
    """
    return correlation(base_primary_LxNxF, checkpoint_new_LxNxF) > threshold


def correlation(base_primary_LxNxF, checkpoint_new_LxNxF) -> np.ndarray:
    """What `functional` compares with its threshold: each neuron's correlation over aligned slots, [L, F]; 0 if constant."""
    L, _, F = np.shape(base_primary_LxNxF)
    product_NxM = _standardised(base_primary_LxNxF) * _standardised(checkpoint_new_LxNxF)
    return product_NxM.mean(axis=0, dtype=np.float64).reshape(L, F)


def _functional_draws(base_LxNxF, now_LxNxF, weight_DxN, threshold):
    """`functional` again with every slot weighted anew: [D, L, F]."""
    L, _, F = base_LxNxF.shape
    x_NxM, y_NxM = _standardised(base_LxNxF), _standardised(now_LxNxF)
    weight_DxN = (weight_DxN / weight_DxN.sum(axis=1, keepdims=True)).astype(np.float32)
    x, y, xx, yy, xy = (weight_DxN @ part_NxM for part_NxM in (x_NxM, y_NxM, x_NxM**2, y_NxM**2, x_NxM * y_NxM))
    varies = (xx - x * x > 1e-5) & (yy - y * y > 1e-5)
    scale = np.sqrt(np.where(varies, (xx - x * x) * (yy - y * y), 1))
    return (varies & (xy - x * y > threshold * scale)).reshape(-1, L, F)


def functional_rows(base_LxNxF, now_LxNxF, slots: dict, language: str, draws: int = 100) -> list[dict]:
    """The number of `functional` neurons over the transfer slots (subset 1), in all layers: a row without run, seed and step.

    Args:
      base_LxNxF: values of the base checkpoint's neurons at the primary language's slots (`ffn_LxNxF` of a pass).
      now_LxNxF: values at a checkpoint, at the new language's slots, aligned row by row with the former.
      slots: the new language's slots: `subset`, `pair`, `prompt` [N]. Intervals resample prompts.

    Returns:
      One row with metric "functional"; none when there is no transfer slot.
    """
    transfer_N = np.asarray(slots["subset"]) == 1
    if not transfer_N.any():
        return []
    base, now = (np.asarray(a)[:, transfer_N] for a in (base_LxNxF, now_LxNxF))
    names = np.stack([np.asarray(slots[name])[transfer_N] for name in ("pair", "prompt")], axis=1)
    cluster_N = np.unique(names, axis=0, return_inverse=True)[1].reshape(-1)
    weight_DxN = statistics.shard_weights(cluster_N.max() + 1, draws)[:, cluster_N]
    mask_LxF = functional(base, now)
    drawn_D = _functional_draws(base, now, weight_DxN, FUNCTIONAL_CORRELATION).sum(axis=(-1, -2))
    low, high = statistics.interval(drawn_D.astype(np.float64)[:, None])
    about = dict(probe="neurons", language=language, metric="functional")
    options = {"correlation": FUNCTIONAL_CORRELATION, "subset": "transfer"}
    numbers = dict(value=float(mask_LxF.sum()), n=mask_LxF.size, ci_low=float(low[0]), ci_high=float(high[0]))
    return [about | numbers | {"options": options}]

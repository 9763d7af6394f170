"""Logit lens and working language: which language's identifier a layer would write, where one must come.

The lens reads the residual stream after each block through the model's own last LayerNorm and head. The LayerNorm's
statistics are those of the layer at hand; the last layer therefore gives the model's own logits (probes.md 1.3).
"""

import jax
import jax.numpy as jnp
import numpy as np

from babel_jax.model import decoder
from babel_jax.model.sharding import constrain
from babel_jax.probes import statistics


def read_candidates(params: dict, config: decoder.DecoderConfig, residual_LxBxPxD, candidate_BxPxC, mesh=None) -> dict:
    """What the lens says about candidate tokens, layer after layer, so that one layer's logits exist at a time.

    With a mesh the output embedding is gathered once, not once a layer.

    Returns:
      `log_prob_LxBxPxC` (nats), `argmax_LxBxP` (token ids) and `logsumexp_LxBxP` of the logits.
    """
    head_VxD = constrain(decoder.head_table(params).astype(config.dtype), "head", mesh)

    def one_layer(h_BxPxD):
        logits_BxPxV = decoder.unembed(params, config, h_BxPxD, head_VxD)
        logsumexp_BxP = jax.nn.logsumexp(logits_BxPxV, axis=-1)
        candidates_BxPxC = jnp.take_along_axis(logits_BxPxV, candidate_BxPxC, axis=-1)
        return {
            "log_prob_LxBxPxC": candidates_BxPxC - logsumexp_BxP[..., None],
            "argmax_LxBxP": jnp.argmax(logits_BxPxV, axis=-1).astype(jnp.int32),
            "logsumexp_LxBxP": logsumexp_BxP,
        }

    return jax.lax.map(one_layer, residual_LxBxPxD)


def working_language(candidates: dict, slots: dict, language: str, draws: int = statistics.DRAWS) -> list[dict]:
    """The primary language's share of what the layers would write where an identifier must come (paper section 3.2).

    Three readings of "share of identifiers", each per layer and subset of slots:
      primary_share_prob: mean of p(A) / (p(A) + p(B)), A the primary's identifier, B the new language's;
      primary_share_pair: share of slots with p(A) > p(B);
      primary_share_argmax: A's share among the slots whose most probable token is A or B; argmax_coverage says how many
        slots those are.
    Slots where both languages use the same token say nothing and are left out.

    Args:
      candidates: `primary_log_prob_LxN`, `new_log_prob_LxN`, `argmax_LxN`, as from `forward.measure`.
      slots: `primary_id`, `new_id`, `pair`, `prompt`, `subset` (0 shared, 1 transfer), each [N].
      language: the language of the prompts.

    Returns:
      Measurement rows without run, seed and step; intervals by resampling pairs, then prompts. A share of no slots is
      NaN with n = 0.
    """
    primary_N, new_N, subset_N = (np.asarray(slots[name]) for name in ("primary_id", "new_id", "subset"))
    differ_N = primary_N != new_N
    if not differ_N.any():
        return []
    log_odds_LxN = np.asarray(candidates["primary_log_prob_LxN"], np.float64) - candidates["new_log_prob_LxN"]
    argmax_LxN = np.asarray(candidates["argmax_LxN"])
    is_primary_LxN, is_new_LxN = argmax_LxN == primary_N, argmax_LxN == new_N
    ones_LxN = np.ones_like(log_odds_LxN)
    parts = {  # metric -> (numerator, denominator); a share is the ratio of their sums
        "primary_share_prob": (
            1 / (1 + np.exp(-np.clip(log_odds_LxN, -700, 700))),
            ones_LxN,
        ),
        "primary_share_pair": (log_odds_LxN > 0, ones_LxN),
        "primary_share_argmax": (is_primary_LxN, is_primary_LxN | is_new_LxN),
        "argmax_coverage": (is_primary_LxN | is_new_LxN, ones_LxN),
    }
    subsets = {"all": differ_N}
    if len(np.unique(subset_N)) > 1:
        subsets |= {
            "shared": differ_N & (subset_N == 0),
            "transfer": differ_N & (subset_N == 1),
        }
    cluster_N, weight_DxC = statistics.two_level_weights(slots["pair"], slots["prompt"], draws)
    parts_MxN = np.concatenate([values_LxN for pair in parts.values() for values_LxN in pair]).astype(np.float64)

    rows = []
    layers = len(log_odds_LxN)
    for subset, kept_N in subsets.items():
        sums_MxC = statistics.cluster_sums(parts_MxN[:, kept_N], cluster_N[kept_N], weight_DxC.shape[1])
        totals = sums_MxC.sum(axis=1).reshape(len(parts), 2, layers)
        drawn_DxM = statistics.ratio(*np.moveaxis((weight_DxC @ sums_MxC.T).reshape(-1, len(parts), 2, layers), 2, 0))
        low, high = statistics.interval(drawn_DxM.reshape(len(drawn_DxM), -1))
        shares = statistics.ratio(totals[:, 0], totals[:, 1])
        for index, (metric, layer) in enumerate(
            (metric, layer) for metric in range(len(parts)) for layer in range(layers)
        ):
            rows.append(
                dict(
                    probe="lens",
                    language=language,
                    layer=layer + 1,
                    metric=list(parts)[metric],
                    value=float(shares[metric, layer]),
                    n=int(totals[metric, 1, layer]),
                    ci_low=float(low[index]),
                    ci_high=float(high[index]),
                    options={"subset": subset},
                )
            )
    return rows

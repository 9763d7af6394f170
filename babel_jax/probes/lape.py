"""Language activation probability entropy (LAPE): which neurons fire for which languages.

Re-implemented from the mathematics of Tang et al. 2024 (arXiv 2402.16438) with its reference code's rules: strict
comparisons, thresholds by rank over all L * F * K probabilities, the filter before the entropy; but with a stable order
where entropies tie, and without filling up with neurons that did not pass.

Letters as in `model/decoder.py`; K languages, R shards, D bootstrap draws, B of them at a time, x any leading axes.
"""

import dataclasses

import numpy as np

from babel_jax.common import statistics
from babel_jax.common.errors import UserError, unknown_name
from babel_jax.model.taps import ACTIVE

TOP_RATE = 0.01
FILTER_RATE = 0.95
BLOCK = 2**22  # counters that are resampled at a time: a large model's are not copied 200 times


@dataclasses.dataclass(frozen=True, eq=False)
class Counts:
    """What one pass over a checkpoint counted, for whatever is computed from counts of neurons.

    Attributes:
      languages: their names in the order of axis K.
      active_RxLxFxK: tokens at which a neuron is active, int64.
      tokens_RxK: tokens counted, int64. R shards of neighbouring rows, at most one a batch.
      active: the rule by which it is, one of `taps.ACTIVE`.
    """

    languages: list[str]
    active_RxLxFxK: np.ndarray
    tokens_RxK: np.ndarray
    active: str = dataclasses.field(default=ACTIVE[0], kw_only=True)

    @property
    def rule(self) -> dict:
        """What the options of all rows that are made of these counts say of the rule: nothing of the reference's."""
        return {} if self.active == ACTIVE[0] else {"active": self.active}

    def whole(self) -> tuple:
        """Of all shards together: count_LxFxK, tokens_K."""
        return self.active_RxLxFxK.sum(axis=0), self.tokens_RxK.sum(axis=0)


def new_languages(languages, primary: str) -> list[str]:
    """All languages but the primary."""
    if primary not in languages:
        raise unknown_name("measured language", primary, languages)
    return [name for name in languages if name != primary]


@dataclasses.dataclass(frozen=True)
class Rates:
    """Shares of all neurons that are selected, and of all probabilities that filter and bar lie above."""

    top_rate: float = TOP_RATE
    filter_rate: float = FILTER_RATE
    bar_rate: float = FILTER_RATE


USUAL_RATES = Rates()


def kth_smallest(values_xM, rate):
    """The k-th smallest along the last axis, k = round(M * rate) counted from 1 and rounded half to even: a rank, not a
    quantile between two values."""
    k = min(max(round(values_xM.shape[-1] * rate), 1), values_xM.shape[-1])
    return np.partition(values_xM, k - 1, axis=-1)[..., k - 1]


def entropy(p_Kxx):
    """Entropy in nats of the first axis, normalised; a neuron that never fires gets 0, as in the reference."""
    if len(p_Kxx) > 2:  # summed from the smallest on, so that the order of the languages cannot change the last bit
        p_Kxx = np.sort(p_Kxx, axis=0)
    total_x = p_Kxx.sum(axis=0)
    q_Kxx = np.divide(p_Kxx, total_x, out=np.zeros_like(p_Kxx), where=total_x > 0)
    log_Kxx = np.log(q_Kxx, out=np.zeros_like(q_Kxx), where=q_Kxx > 0)
    return -(q_Kxx * log_Kxx).sum(axis=0)


def probabilities(count_xLxFxK, tokens_xK):
    """How often each neuron is active, in float32 as in the reference: p_KxxLxF.

    Args:
      count_xLxFxK: tokens of language k for which neuron (l, f) is active. Any leading axes x are carried along.
      tokens_xK: tokens of language k.

    Raises:
      UserError: fewer than two languages, or one without a token.
    """
    count_xLxFxK, tokens_xK = np.asarray(count_xLxFxK), np.asarray(tokens_xK)
    *lead, L, F, K = count_xLxFxK.shape
    if K < 2:
        raise UserError(f"language neurons are identified by comparing languages; count at least two, not {K}.")
    if not (tokens_xK > 0).all():
        raise UserError("a language has no counted token; give every language held-out rows, or leave it out.")
    # Languages first: reductions over a last axis of two are several times slower.
    count_KxxM = np.ascontiguousarray(np.moveaxis(count_xLxFxK, -1, 0), np.float32).reshape(K, *lead, L * F)
    p_KxxM = count_KxxM / np.moveaxis(tokens_xK, -1, 0).astype(np.float32)[..., None]
    return p_KxxM.reshape(K, *lead, L, F)


def flat_probabilities(p_KxxLxF):
    """All probabilities of each of the leading axes in one row: [..., K * L * F]."""
    K, *lead, L, F = p_KxxLxF.shape
    return np.moveaxis(p_KxxLxF.reshape(K, *lead, L * F), 0, -2).reshape(*lead, K * L * F)


@dataclasses.dataclass(frozen=True, eq=False)
class Selection:
    """Which neurons are language-specific, and of which languages: what every definition by counts starts from.

    Attributes:
      p_KxxLxF: probability of being active, float32; entropy_xLxF: in nats.
      above_KxxLxF: whether p is above the bar, so that the neuron can belong to the language.
      chosen_xLxF: the language-specific neurons; each belongs to every language in which it is above the bar.
      passed_x: how many neurons passed the filter; probability_x, bar_x: the two thresholds.
      rank_xLxF: place in the order (entropy, layer, index) of the neurons that passed, L * F for the others; None under
        thresholds that were fixed elsewhere.
    """

    p_KxxLxF: np.ndarray
    entropy_xLxF: np.ndarray
    above_KxxLxF: np.ndarray
    chosen_xLxF: np.ndarray
    passed_x: np.ndarray
    probability_x: np.ndarray
    bar_x: np.ndarray
    rank_xLxF: np.ndarray | None = None

    def at(self, top_rate: float) -> "Selection":
        """The same ranking with another share of all neurons chosen."""
        return dataclasses.replace(self, chosen_xLxF=_first_ranked(self.rank_xLxF, top_rate))


def _first_ranked(rank_xLxF, top_rate: float):
    """The `top_rate` of ALL neurons that come first in the ranking; fewer when fewer passed the filter."""
    size = rank_xLxF.shape[-1] * rank_xLxF.shape[-2]
    return rank_xLxF < min(round(size * top_rate), size)


def ranked(p_KxxLxF, rates: Rates = USUAL_RATES) -> Selection:
    """LAPE's selection by rank. Any leading axes x (bootstrap draws) are carried along; `p_KxxLxF` from `probabilities`."""
    *lead, L, F = p_KxxLxF.shape[1:]
    p_KxxM = p_KxxLxF.reshape(len(p_KxxLxF), *lead, L * F)
    flat = flat_probabilities(p_KxxLxF)
    threshold_x = kth_smallest(flat, rates.filter_rate)
    bar_x = threshold_x if rates.bar_rate == rates.filter_rate else kth_smallest(flat, rates.bar_rate)
    alive_xM = (p_KxxM > threshold_x[..., None]).any(axis=0)
    entropy_xM = entropy(p_KxxM)
    order_xM = np.argsort(np.where(alive_xM, entropy_xM, np.inf), axis=-1, kind="stable")
    rank_xM = np.empty_like(order_xM)
    np.put_along_axis(rank_xM, order_xM, np.broadcast_to(np.arange(L * F), order_xM.shape), axis=-1)
    rank_xLxF = np.where(alive_xM, rank_xM, L * F).reshape(*lead, L, F)
    return Selection(
        p_KxxLxF=p_KxxLxF,
        entropy_xLxF=entropy_xM.reshape(*lead, L, F),
        above_KxxLxF=p_KxxLxF > bar_x[..., None, None],
        chosen_xLxF=_first_ranked(rank_xLxF, rates.top_rate),
        passed_x=alive_xM.sum(axis=-1),
        probability_x=threshold_x,
        bar_x=bar_x,
        rank_xLxF=rank_xLxF,
    )


def lape(count_xLxFxK, tokens_xK, rates: Rates = USUAL_RATES) -> Selection:
    """LAPE's selection from counts.

    Args:
      count_xLxFxK: tokens of language k for which neuron (l, f) is active. Any leading axes x are carried along.
      tokens_xK: tokens of language k.

    Raises:
      UserError: fewer than two languages, or one without a token.
    """
    return ranked(probabilities(count_xLxFxK, tokens_xK), rates)


def tang(counts: Counts, top_rate: float = TOP_RATE):
    """Language-specific neurons as in Tang et al. 2024, member_KxLxF: in all a constant share of all neurons."""
    selection = lape(*counts.whole(), Rates(top_rate))
    return selection.above_KxxLxF & selection.chosen_xLxF


# --- resampling -----------------------------------------------------------------------------------------------------------


def draws_at_a_time(counts: Counts) -> int:
    """How many draws of counters of this size are held at once."""
    return max(1, BLOCK // counts.active_RxLxFxK[0].size)


def resampled(counts: Counts, weight_DxR):
    """Counts of resampled shards, a block of draws at a time: yields (draws_B, count_BxLxFxK, tokens_BxK).

    A draw that lacks tokens of a language is left out.
    """
    count_RxLxFxK, tokens_RxK = counts.active_RxLxFxK, counts.tokens_RxK
    R, L, F, K = count_RxLxFxK.shape
    flat_RxM = count_RxLxFxK.reshape(R, -1).astype(np.float64)
    block = draws_at_a_time(counts)
    for start in range(0, len(weight_DxR), block):
        weight_BxR = weight_DxR[start : start + block]
        tokens_BxK = weight_BxR @ tokens_RxK
        kept_B = (tokens_BxK > 0).all(axis=1)  # a language that is in few shards only may miss from a draw
        count_BxLxFxK = (weight_BxR[kept_B].astype(np.float64) @ flat_RxM).reshape(-1, L, F, K)
        yield start + np.flatnonzero(kept_B), count_BxLxFxK, tokens_BxK[kept_B]


def bootstrap(counts: Counts, statistic, draws: int) -> tuple[dict, dict]:
    """`statistic` of all shards together and of draws of shards: ({name: [M]}, {name: [D, M]}).

    `statistic(count_xLxFxK, tokens_xK, draws_x)` -> {name: [..., M]}; `draws_x`: None for all shards together.
    """
    whole = statistic(*counts.whole(), None)
    weight_DxR = statistics.shard_weights(len(counts.tokens_RxK), draws)
    drawn = [
        statistic(count_BxLxFxK, tokens_BxK, draws_B)
        for draws_B, count_BxLxFxK, tokens_BxK in resampled(counts, weight_DxR)
    ]
    return whole, {name: np.concatenate([part[name] for part in drawn]) for name in whole}

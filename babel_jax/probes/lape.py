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

TOP_RATE = 0.01
FILTER_RATE = 0.95
BLOCK = 2**22  # counters that are resampled at a time: a large model's are not copied 200 times
SCOPES = ("per_checkpoint", "pooled", "reference_checkpoint")


@dataclasses.dataclass(frozen=True, eq=False)
class Counts:
    """What one pass over a checkpoint counted, for all that is made of counts of neurons.

    Attributes:
      languages: their names in the order of axis K.
      active_RxLxFxK: tokens with a positive FFN pre-activation, int64.
      tokens_RxK: tokens counted, int64. R shards of neighbouring rows, at most one a batch.
    """

    languages: list[str]
    active_RxLxFxK: np.ndarray
    tokens_RxK: np.ndarray

    def whole(self) -> tuple:
        """Of all shards together: count_LxFxK, tokens_K."""
        return self.active_RxLxFxK.sum(axis=0), self.tokens_RxK.sum(axis=0)


@dataclasses.dataclass(frozen=True)
class Rates:
    """Shares of all neurons that are selected, and of all probabilities that filter and bar lie above."""

    top_rate: float = TOP_RATE
    filter_rate: float = FILTER_RATE
    bar_rate: float = FILTER_RATE


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
    """Which neurons are language-specific, and of which languages: what every definition by counts is made of.

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
    """The `top_rate` of ALL neurons that stand first in the ranking; fewer when fewer passed the filter."""
    size = rank_xLxF.shape[-1] * rank_xLxF.shape[-2]
    return rank_xLxF < min(round(size * top_rate), size)


def ranked(p_KxxLxF, rates: Rates = Rates()) -> Selection:
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


def lape(count_xLxFxK, tokens_xK, rates: Rates = Rates()) -> Selection:
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


# --- thresholds as data -----------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, eq=False)
class Thresholds:
    """What LAPE's two ranks amount to, as numbers that can be applied to other counts.

    Attributes:
      probability: a neuron passes if p is above it in some language.
      bar: it belongs to the languages in which p is above it.
      entropy: (nats) it is chosen if it passed and its entropy is not above this one, which takes in all ties at the cut. NaN,
        which chooses nothing, if no neuron passed; with fewer passed than wanted it is the largest of those that did.
    """

    probability: float
    bar: float
    entropy: float


def thresholds(p_KxxLxF, rates: Rates = Rates()) -> Thresholds:
    """All leading axes are pooled: of one checkpoint p_KxLxF gives its own thresholds, of many p_KxCxLxF the common ones."""
    flat = p_KxxLxF.reshape(-1)
    probability = kth_smallest(flat, rates.filter_rate)
    bar = probability if rates.bar_rate == rates.filter_rate else kth_smallest(flat, rates.bar_rate)
    p_KxM = p_KxxLxF.reshape(len(p_KxxLxF), -1)
    passed_KxM = p_KxM[:, (p_KxM > probability).any(axis=0)]
    wanted = min(round(p_KxM.shape[1] * rates.top_rate), passed_KxM.shape[1])
    cut = np.partition(entropy(passed_KxM), wanted - 1)[wanted - 1] if wanted else np.nan
    return Thresholds(float(probability), float(bar), float(cut))


@dataclasses.dataclass(frozen=True, eq=False)
class Scope:
    """Where the thresholds of a selection come from.

    Attributes:
      name: one of `SCOPES`, with the place of the reference checkpoint.
      rates: what they were found with.
      thresholds: None: each checkpoint has its own, by rank.
      drawn: the thresholds again in bootstrap draws of shards, arrays [D]; they go with the same draws of counts.
    """

    name: str = SCOPES[0]
    rates: Rates = Rates()
    thresholds: Thresholds | None = None
    drawn: Thresholds | None = None


PER_CHECKPOINT = Scope()


def scope_of(counts_C, name: str, reference: int | None = None, draws: int = 200, rates: Rates = Rates()) -> Scope:
    """The scope of thresholds for all checkpoints of a run.

    Args:
      counts_C: what was counted at each checkpoint, with the same held-out rows.
      name: "per_checkpoint": the reference implementation's, a constant number of neurons at every checkpoint;
        "pooled": thresholds of all checkpoints together; "reference_checkpoint": those of the one at index `reference`.
        With the latter two the number of neurons can rise and fall.
      draws: the thresholds are found again in as many bootstrap draws of shards, the draws of `neurons.count_rows`.

    Raises:
      UserError: an unknown scope, a reference that is missing or not needed, checkpoints that cannot be compared.
    """
    if name not in SCOPES:
        raise unknown_name("threshold scope", name, SCOPES)
    if (reference is not None) != (name == "reference_checkpoint"):
        raise UserError("name a reference checkpoint with threshold scope 'reference_checkpoint', and only with it.")
    if name == SCOPES[0]:
        return Scope(name, rates)
    if reference is not None and not -len(counts_C) <= reference < len(counts_C):
        raise UserError(f"there is no checkpoint {reference} among {len(counts_C)}; choose the reference among them.")
    check_comparable(counts_C)
    used = counts_C if reference is None else [counts_C[reference]]
    active_C = [counts.active_RxLxFxK.astype(np.float64) for counts in used]  # for a fast product, exact to 2^53

    def of_shards(weight_R) -> Thresholds:
        weight_R = weight_R.astype(np.float64)
        tokens_CxK = [weight_R @ counts.tokens_RxK for counts in used]
        if not np.all(np.asarray(tokens_CxK) > 0):  # a draw that `resampled` leaves out as well
            return Thresholds(np.nan, np.nan, np.nan)
        p_C = [
            probabilities(np.tensordot(weight_R, count_RxLxFxK, 1), tokens_K)
            for count_RxLxFxK, tokens_K in zip(active_C, tokens_CxK, strict=True)
        ]
        return thresholds(np.stack(p_C, axis=1), rates)

    shards = len(used[0].tokens_RxK)
    drawn_D = [of_shards(weight_R) for weight_R in statistics.shard_weights(shards, draws)]
    return Scope(
        name if reference is None else f"{name} {reference % len(counts_C)}",
        rates,
        of_shards(np.ones(shards)),
        Thresholds(*(np.array([getattr(one, part) for one in drawn_D]) for part in ("probability", "bar", "entropy"))),
    )


def check_comparable(counts_C) -> None:
    """UserError unless all have the same languages, shape and shards, so that thresholds, draws and indices agree."""
    kinds = {(tuple(one.languages), one.active_RxLxFxK.shape, one.tokens_RxK.tobytes()) for one in counts_C}
    if len(kinds) != 1:
        raise UserError(
            "these measurements differ in their languages, shapes or counted tokens; measure all with the same languages "
            "and held-out rows."
        )


def selection(p_KxxLxF, scope: Scope = Scope(), draws_B=None) -> Selection:
    """The language-specific neurons under a scope of thresholds.

    Args:
      p_KxxLxF: from `probabilities`.
      draws_B: where x is a block of bootstrap draws, their numbers: thresholds that were drawn go with them.
    """
    if scope.thresholds is None:
        return ranked(p_KxxLxF, scope.rates)
    fixed = scope.thresholds if draws_B is None or scope.drawn is None else scope.drawn
    if fixed is scope.drawn and len(draws_B) and max(draws_B) >= len(fixed.bar):
        raise UserError(
            f"these thresholds were drawn {len(fixed.bar)} times only; ask `scope_of` for as many draws as here."
        )

    def of_draws(values):
        return np.broadcast_to(np.float32(values[draws_B] if fixed is scope.drawn else values), p_KxxLxF.shape[1:-2])

    probability_x, bar_x, cut_x = map(of_draws, (fixed.probability, fixed.bar, fixed.entropy))
    entropy_xLxF = entropy(p_KxxLxF)
    passed_xLxF = (p_KxxLxF > probability_x[..., None, None]).any(axis=0)
    return Selection(
        p_KxxLxF=p_KxxLxF,
        entropy_xLxF=entropy_xLxF,
        above_KxxLxF=p_KxxLxF > bar_x[..., None, None],
        chosen_xLxF=passed_xLxF & (entropy_xLxF <= cut_x[..., None, None]),
        passed_x=passed_xLxF.sum(axis=(-1, -2)),
        probability_x=probability_x,
        bar_x=bar_x,
    )


# --- resampling -----------------------------------------------------------------------------------------------------------


def draws_at_a_time(counts: Counts) -> int:
    """How many draws of counters of this size are held at once."""
    return max(1, BLOCK // counts.active_RxLxFxK[0].size)


def resampled(counts: Counts, weight_DxR):
    """Counts of resampled shards, a block of draws at a time: yields (draws_B, count_BxLxFxK, tokens_BxK).

    A draw without a token of some language is left out.
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
    found = statistic(*counts.whole(), None)
    weight_DxR = statistics.shard_weights(len(counts.tokens_RxK), draws)
    drawn = [
        statistic(count_BxLxFxK, tokens_BxK, draws_B)
        for draws_B, count_BxLxFxK, tokens_BxK in resampled(counts, weight_DxR)
    ]
    return found, {name: np.concatenate([part[name] for part in drawn]) for name in found}

"""LAPE's thresholds as numbers that can be applied to other checkpoints: where a selection's thresholds come from.

Letters as in `lape.py`; C checkpoints.
"""

import dataclasses

import numpy as np

from babel_jax.common import statistics
from babel_jax.common.errors import UserError, unknown_name
from babel_jax.probes.lape import USUAL_RATES, Rates, Selection, entropy, kth_smallest, probabilities, ranked

SCOPES = ("per_checkpoint", "pooled", "reference_checkpoint")


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


def thresholds(p_KxxLxF, rates: Rates = USUAL_RATES) -> Thresholds:
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
    rates: Rates = USUAL_RATES
    thresholds: Thresholds | None = None
    drawn: Thresholds | None = None


PER_CHECKPOINT = Scope()


def scope_of(counts_C, name: str, reference: int | None = None, draws: int = 200, rates: Rates = USUAL_RATES) -> Scope:
    """The scope of thresholds for all checkpoints of a run.

    Args:
      counts_C: what was counted at each checkpoint, with the same held-out rows.
      name: "per_checkpoint": the reference implementation's, a constant number of neurons at every checkpoint;
        "pooled": thresholds of all checkpoints together; "reference_checkpoint": those of the one at index `reference`.
        With the latter two the number of neurons can rise and fall.
      draws: the thresholds are computed anew in as many bootstrap draws of shards, the draws of `neuron_rows.count_rows`.

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
    """UserError unless all have the same languages, shape, shards and rule of active neurons, so that thresholds, draws and
    indices agree."""
    kinds = {(tuple(one.languages), one.active_RxLxFxK.shape, one.tokens_RxK.tobytes(), one.active) for one in counts_C}
    if len(kinds) != 1:
        raise UserError(
            "these measurements differ in their languages, shapes, counted tokens or rule of active neurons; measure all "
            "with the same languages, held-out rows and rule."
        )


def select(p_KxxLxF, scope: Scope = PER_CHECKPOINT, draws_B=None) -> Selection:
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

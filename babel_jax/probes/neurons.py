"""Transferring neurons, by language activation probability entropy (LAPE) and by function.

LAPE is re-implemented from the mathematics of Tang et al. 2024 (arXiv 2402.16438) with its reference code's rules:
strict comparisons, thresholds by rank over all L * F * K probabilities, the filter before the entropy; but with a
stable order where entropies tie, and without filling up with neurons that did not pass.

Letters as in `model/decoder.py`; K languages, R shards, D bootstrap draws, B of them at a time, x any leading axes.
"""

import warnings

import numpy as np

from babel_jax import statistics
from babel_jax.errors import UserError, unknown_name

TOP_RATE = 0.01
FILTER_RATE = 0.95
SENSITIVITY_RATES = (0.005, 0.01, 0.02, 0.05, 0.1)
SHARED_ENTROPY = 0.9  # of ln 2: how evenly a pair-shared neuron must fire for its two languages
FUNCTIONAL_CORRELATION = 0.5
PER_LANGUAGE = 400  # neurons of each language in the variant `equal`
PLS_RATIO = 1.5  # how much larger than the second best score a neuron's best one must be, in the variant `pls`
FIRST_LAYERS = 20 / 32  # of all layers: where neurons of type 1 are looked for, and after which those of type 2
BLOCK = 2**22  # counters that are resampled at a time: a large model's are not copied 200 times
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)
SCOPES = ("per_checkpoint", "pooled", "reference_checkpoint")
# What a count depends on, and the values at which a sensitivity curve takes it.
CURVES = {
    "top_rate": tuple(np.geomspace(0.001, 0.1, 21).round(6).tolist()),
    "filter_rate": tuple(np.linspace(0.8, 0.99, 20).round(6).tolist()),
    "entropy": tuple(np.linspace(0.5, 0.99, 20).round(6).tolist()),
    "correlation": tuple(np.linspace(0.0, 0.95, 20).round(6).tolist()),
}


def _kth_smallest(values_xM, rate):
    """The k-th smallest along the last axis, k = round(M * rate) counted from 1 and rounded half to even: a rank, not a
    quantile between two values."""
    k = min(max(round(values_xM.shape[-1] * rate), 1), values_xM.shape[-1])
    return np.partition(values_xM, k - 1, axis=-1)[..., k - 1]


def _entropy(p_Kxx):
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


def _flat(p_KxxLxF):
    """All probabilities of each of the leading axes in one row: [..., K * L * F]."""
    K, *lead, L, F = p_KxxLxF.shape
    return np.moveaxis(p_KxxLxF.reshape(K, *lead, L * F), 0, -2).reshape(*lead, K * L * F)


def _rank(p_KxxLxF, filter_rate, bar_rate) -> dict:
    *lead, L, F = p_KxxLxF.shape[1:]
    p_KxxM = p_KxxLxF.reshape(len(p_KxxLxF), *lead, L * F)
    flat = _flat(p_KxxLxF)
    threshold_x = _kth_smallest(flat, filter_rate)
    bar_x = threshold_x if bar_rate == filter_rate else _kth_smallest(flat, bar_rate)
    alive_xM = (p_KxxM > threshold_x[..., None]).any(axis=0)
    entropy_xM = _entropy(p_KxxM)
    order_xM = np.argsort(np.where(alive_xM, entropy_xM, np.inf), axis=-1, kind="stable")
    rank_xM = np.empty_like(order_xM)
    np.put_along_axis(rank_xM, order_xM, np.broadcast_to(np.arange(L * F), order_xM.shape), axis=-1)
    return {
        "rank_xLxF": np.where(alive_xM, rank_xM, L * F).reshape(*lead, L, F),
        "p_KxxLxF": p_KxxLxF,
        "entropy_xLxF": entropy_xM.reshape(*lead, L, F),
        "above_KxxLxF": p_KxxLxF > bar_x[..., None, None],
        "passed_x": alive_xM.sum(axis=-1),
        "probability_x": threshold_x,
        "bar_x": bar_x,
    }


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
      others; `p_KxxLxF` float32: probability of being active; `entropy_xLxF` in nats; `above_KxxLxF`: whether p is above
      the bar, so that the neuron can belong to the language; `passed_x`: how many neurons passed; `probability_x` and
      `bar_x`: the two thresholds.

    Raises:
      UserError: fewer than two languages, or one without a token.
    """
    return _rank(probabilities(count_xLxFxK, tokens_xK), filter_rate, bar_ratio)


def selected(ranking: dict, top_rate: float = TOP_RATE):
    """The language-specific neurons [..., L, F]: the `top_rate` of ALL neurons that stand first in the ranking.

    Fewer when fewer passed the filter. Each belongs to every language in which it is `above_KxxLxF`.
    """
    rank_xLxF = ranking["rank_xLxF"]
    size = rank_xLxF.shape[-1] * rank_xLxF.shape[-2]
    return rank_xLxF < min(round(size * top_rate), size)


# --- thresholds as data -----------------------------------------------------------------------------------------------


def thresholds(
    p_KxxLxF, top_rate: float = TOP_RATE, filter_rate: float = FILTER_RATE, bar_rate: float = FILTER_RATE
) -> dict:
    """What LAPE's two ranks amount to, as numbers that can be applied to other counts.

    All leading axes are pooled: of one checkpoint p_KxLxF gives its own thresholds, of many p_KxCxLxF the common ones.

    Returns:
      `probability`: a neuron passes if p is above it in some language; `entropy` (nats): it is chosen if it passed and its
      entropy is not above this one (which takes in all ties at the cut); `bar`: it belongs to the languages in which p is
      above it. `entropy` is NaN, which chooses nothing, if no neuron passed; with fewer passed than wanted it is the
      largest of those that did.
    """
    flat = p_KxxLxF.reshape(-1)
    probability = _kth_smallest(flat, filter_rate)
    bar = probability if bar_rate == filter_rate else _kth_smallest(flat, bar_rate)
    p_KxM = p_KxxLxF.reshape(len(p_KxxLxF), -1)
    passed_KxM = p_KxM[:, (p_KxM > probability).any(axis=0)]
    wanted = min(round(p_KxM.shape[1] * top_rate), passed_KxM.shape[1])
    entropy = np.partition(_entropy(passed_KxM), wanted - 1)[wanted - 1] if wanted else np.nan
    return {"probability": float(probability), "bar": float(bar), "entropy": float(entropy)}


def scope_thresholds(
    measured_C,
    scope: str,
    reference: int | None = None,
    draws: int = 200,
    top_rate: float = TOP_RATE,
    filter_rate: float = FILTER_RATE,
    bar_rate: float = FILTER_RATE,
) -> dict:
    """The thresholds that a `threshold_scope` applies to every checkpoint of a run, for `count_rows` and `drift`.

    Args:
      measured_C: what `forward.measure` gave at each checkpoint, with the same held-out rows.
      scope: "per_checkpoint": the reference's, a constant number of neurons at every checkpoint, hence no thresholds;
        "pooled": those of all checkpoints together; "reference_checkpoint": those of the one at index `reference`.
        With the latter two the number of neurons can rise and fall.
      draws: the thresholds are found again in as many bootstrap draws of shards, the draws of `count_rows`.

    Returns:
      `scope` and `rates`; but for per_checkpoint also the three numbers of `thresholds` and, by name, `drawn` [D].

    Raises:
      UserError: an unknown scope, a reference that is missing or not needed, checkpoints that cannot be compared.
    """
    if scope not in SCOPES:
        raise unknown_name("threshold scope", scope, SCOPES)
    if (reference is not None) != (scope == "reference_checkpoint"):
        raise UserError("name a reference checkpoint with threshold scope 'reference_checkpoint', and only with it.")
    rates = (top_rate, filter_rate, bar_rate)
    if scope == "per_checkpoint":
        return {"scope": scope, "rates": rates}
    if reference is not None and not -len(measured_C) <= reference < len(measured_C):
        raise UserError(f"there is no checkpoint {reference} among {len(measured_C)}; choose the reference among them.")
    check_comparable(measured_C)
    used = measured_C if reference is None else [measured_C[reference]]
    counts_C = [measured["active_RxLxFxK"].astype(np.float64) for measured in used]  # for a fast product, exact to 2^53

    def of_shards(weight_R):
        weight_R = weight_R.astype(np.float64)
        tokens_CxK = [weight_R @ measured["tokens_RxK"] for measured in used]
        if not np.all(np.asarray(tokens_CxK) > 0):  # a draw that `count_rows` leaves out as well
            return dict.fromkeys(("probability", "bar", "entropy"), np.nan)
        p_C = [
            probabilities(np.tensordot(weight_R, count_RxLxFxK, 1), tokens_K)
            for count_RxLxFxK, tokens_K in zip(counts_C, tokens_CxK, strict=True)
        ]
        return thresholds(np.stack(p_C, axis=1), *rates)

    shards = len(used[0]["tokens_RxK"])
    drawn = [of_shards(weight_R) for weight_R in statistics.shard_weights(shards, draws)]
    return of_shards(np.ones(shards)) | {
        "scope": scope if reference is None else f"{scope} {reference % len(measured_C)}",
        "rates": rates,
        "drawn": {name: np.array([one[name] for one in drawn]) for name in ("probability", "bar", "entropy")},
    }


def check_comparable(measured_C) -> None:
    """UserError unless all have the same languages, shape and shards, so that thresholds, draws and indices agree."""
    kinds = {
        (tuple(measured["languages"]), measured["active_RxLxFxK"].shape, measured["tokens_RxK"].tobytes())
        for measured in measured_C
    }
    if len(kinds) != 1:
        raise UserError(
            "these measurements differ in their languages, shapes or counted tokens; measure all with the same languages "
            "and held-out rows."
        )


def _is_ranked(fixed: dict | None) -> bool:
    return fixed is None or fixed.get("scope") == "per_checkpoint"


def selection(p_KxxLxF, fixed: dict | None = None, draws_B=None) -> dict:
    """Which neurons are language-specific, and of which languages: what every definition is told from.

    Args:
      p_KxxLxF: from `probabilities`.
      fixed: from `scope_thresholds` or `thresholds`; None: LAPE's ranks at this very checkpoint, at its usual rates.
      draws_B: where x is a block of bootstrap draws, their numbers: thresholds that were drawn go with them.

    Returns:
      As `lape` without `rank_xLxF`, and `chosen_xLxF`.
    """
    if _is_ranked(fixed):
        top_rate, filter_rate, bar_rate = fixed["rates"] if fixed else (TOP_RATE, FILTER_RATE, FILTER_RATE)
        ranking = _rank(p_KxxLxF, filter_rate, bar_rate)
        return ranking | {"chosen_xLxF": selected(ranking, top_rate)}
    drawn = fixed["drawn"] if draws_B is not None and "drawn" in fixed else None
    if drawn and len(draws_B) and max(draws_B) >= len(drawn["bar"]):
        raise UserError(
            f"these thresholds were drawn {len(drawn['bar'])} times only; ask `scope_thresholds` for as many draws as here."
        )
    probability_x, bar_x, entropy_x = (
        np.broadcast_to(np.float32(drawn[name][draws_B] if drawn else fixed[name]), p_KxxLxF.shape[1:-2])
        for name in ("probability", "bar", "entropy")
    )
    entropy_xLxF = _entropy(p_KxxLxF)
    passed_xLxF = (p_KxxLxF > probability_x[..., None, None]).any(axis=0)
    return {
        "p_KxxLxF": p_KxxLxF,
        "entropy_xLxF": entropy_xLxF,
        "above_KxxLxF": p_KxxLxF > bar_x[..., None, None],
        "passed_x": passed_xLxF.sum(axis=(-1, -2)),
        "chosen_xLxF": passed_xLxF & (entropy_xLxF <= entropy_x[..., None, None]),
        "probability_x": probability_x,
        "bar_x": bar_x,
    }


# --- variants of the selection: neurons of each language ---------------------------------------------------------------


def tang(count_LxFxK, tokens_K, top_rate: float = TOP_RATE):
    """Language-specific neurons as in Tang et al. 2024, member_KxLxF: in all a constant share of all neurons."""
    ranking = lape(count_LxFxK, tokens_K)
    return ranking["above_KxxLxF"] & selected(ranking, top_rate)


def _first(order_value_xM, allowed_xM, count):
    """The `count` allowed ones with the smallest value [..., M]; ties go to the lower index."""
    order_xM = np.argsort(np.where(allowed_xM, order_value_xM, np.inf), axis=-1, kind="stable")
    chosen_xM = np.zeros(allowed_xM.shape, bool)
    np.put_along_axis(chosen_xM, order_xM[..., :count], True, axis=-1)
    return chosen_xM & allowed_xM


def equal(count_LxFxK, tokens_K, per_language: int = PER_LANGUAGE):
    """The same number of neurons for each language, member_KxLxF: of those with p above the bar in it, the
    `per_language` of lowest entropy over all languages (the variant of Code-specific Neurons, arXiv 2506.01074).

    Warns when a language has fewer above the bar: then it has those.
    """
    ranking = lape(count_LxFxK, tokens_K)
    above_K = ranking["above_KxxLxF"].sum(axis=(-1, -2))
    if above_K.min() < per_language:
        warnings.warn(
            f"the variant 'equal' wants {per_language} neurons a language and {above_K.tolist()} are above the bar",
            stacklevel=2,
        )
    *lead, L, F = ranking["entropy_xLxF"].shape
    entropy_xM = ranking["entropy_xLxF"].reshape(*lead, L * F)
    above_KxxM = ranking["above_KxxLxF"].reshape(-1, *lead, L * F)
    member_KxxM = np.stack([_first(entropy_xM, above_xM, per_language) for above_xM in above_KxxM])
    return member_KxxM.reshape(ranking["above_KxxLxF"].shape)


def pls(score_xLxFxK, top_rate: float = TOP_RATE):
    """Neurons by gradient times activation, member_KxxLxF (arXiv 2512.19980).

    A neuron belongs to the language of its largest score if that is positive and at least `PLS_RATIO` times the second
    largest; of those the `top_rate` of ALL neurons with the largest scores is kept. Warns when there are fewer.

    Args:
      score_xLxFxK: mean over the tokens of each language of |a| |dL/da|; x as in `lape`.
    """
    score_xLxFxK = np.asarray(score_xLxFxK)
    if score_xLxFxK.shape[-1] < 2:
        raise UserError("pls compares languages; score at least two.")
    ordered = np.sort(score_xLxFxK, axis=-1)
    best_xLxF, second_xLxF = ordered[..., -1], ordered[..., -2]
    own_xLxF = (best_xLxF >= PLS_RATIO * second_xLxF) & (best_xLxF > 0)
    wanted = round(best_xLxF.shape[-1] * best_xLxF.shape[-2] * top_rate)
    kept_xLxF = top_scores(np.where(own_xLxF, best_xLxF, 0), wanted)
    return kept_xLxF & (np.moveaxis(score_xLxFxK, -1, 0) == best_xLxF)


VARIANTS = {"tang": tang, "equal": equal, "pls": pls}


def top_scores(score_xLxF, count: int):
    """The `count` neurons with the largest scores [..., L, F]; ties go to the lower layer and index.

    A score that is not positive (or not a number) says that a neuron does not do what is scored: such a one is never
    taken. Warns when fewer are positive, with how many.
    """
    score_xLxF = np.asarray(score_xLxF)
    positive_xLxF = score_xLxF > 0
    found = int(positive_xLxF.sum(axis=(-1, -2)).min())
    if found < count:
        warnings.warn(f"only {found} of the {count} neurons to be taken by score have a positive one", stacklevel=2)
    *lead, L, F = score_xLxF.shape
    chosen_xM = _first(-score_xLxF.reshape(*lead, L * F), positive_xLxF.reshape(*lead, L * F), count)
    return chosen_xM.reshape(score_xLxF.shape)


# --- definitions of transferring neurons --------------------------------------------------------------------------------


def _lape_target(evidence, primary, new):
    """Specific to the new language: "following Tang" read literally."""
    return evidence["chosen_xLxF"] & evidence["above_KxxLxF"][new]


def _lape_both(evidence, primary, new):
    """Specific to the new language and to the primary one."""
    return _lape_target(evidence, primary, new) & evidence["above_KxxLxF"][primary]


def _lape_exclusive(evidence, primary, new):
    """Specific to the new language and to no other."""
    return _lape_target(evidence, primary, new) & (evidence["above_KxxLxF"].sum(axis=0) == 1)


def _pair_shared(evidence, primary, new, entropy=SHARED_ENTROPY):
    """Above the bar in both languages and in no further one, about evenly; any number of them."""
    above_KxxLxF = evidence["above_KxxLxF"]
    pair_xLxF = above_KxxLxF[primary] & above_KxxLxF[new] & (above_KxxLxF.sum(axis=0) == 2)
    p_2xM = np.stack([evidence["p_KxxLxF"][k][pair_xLxF] for k in (primary, new)])  # few: the entropy is what costs
    pair_xLxF[pair_xLxF] = _entropy(p_2xM) >= entropy * np.log(2)
    return pair_xLxF


def _score(name, scores):
    """The score [..., L, F] of a definition, larger for neurons that do more of it, 0 in layers it is not told of."""
    score_xLxF = np.asarray(scores, np.float64)
    if name == "causal":
        return -score_xLxF  # removing what carries the identifier lowers its log-probability
    layers = score_xLxF.shape[-2]
    first_Lx1 = np.arange(layers)[:, None] < round(layers * FIRST_LAYERS)
    return np.where(first_Lx1 == (name == "centroid_type1"), score_xLxF, 0)


def _by_score(name):
    def definition(evidence, primary, new):
        score_xLxF = _score(name, evidence["scores"][name])
        return top_scores(score_xLxF, evidence.get("count") or round(np.prod(score_xLxF.shape[-2:]) * TOP_RATE))

    return definition


def _pls(evidence, primary, new):
    """The new language's neurons by gradient times activation."""
    return pls(evidence["scores"]["pls"])[new]


# Name -> function (evidence, index of the primary, index of the new language) -> mask [..., L, F].
# `evidence` is a `selection`; for what is told from scores it has `scores`: by name the score_LxF of the new language as
# `alignment.transfer_scores` or `attribution.causal_scores` gives it (`pls`: score_LxFxK of all languages, `absolute_LxFxK`
# of `attribution.gradient_scores`), and may have `count`, how many are taken.
DEFINITIONS = {
    "lape_target": _lape_target,
    "lape_both": _lape_both,
    "lape_exclusive": _lape_exclusive,
    "pair_shared": _pair_shared,
    "centroid_type1": _by_score("centroid_type1"),
    "centroid_type2": _by_score("centroid_type2"),
    "causal": _by_score("causal"),
    "pls": _pls,
}
LAPE_DEFINITIONS = ("lape_target", "lape_both", "lape_exclusive", "pair_shared")


def transferring(ranking: dict, primary: int, new: int, top_rate: float = TOP_RATE) -> dict:
    """Readings of "language transferring neurons" for the new language, each a mask [..., L, F].

    lape_target: specific to the new language. lape_both: specific to it and to the primary. lape_exclusive: specific to
    it and to no other. pair_shared: above the bar in both and in no further language, about evenly; any number of them.
    """
    evidence = ranking | {"chosen_xLxF": selected(ranking, top_rate)}
    return {name: DEFINITIONS[name](evidence, primary, new) for name in LAPE_DEFINITIONS}


def check_definitions(names, languages) -> tuple:
    """The definitions to count: all that are told from counts when `names` is None, without `lape_both` for two languages.

    Of two probabilities above a bar b the entropy is high (b = 0.5: at least 0.637 of 0.693 nats), almost never among the
    lowest 1 %: `lape_both` is nearly empty by construction then, and asking for it warns.
    """
    if names is None:
        return tuple(name for name in LAPE_DEFINITIONS if name != "lape_both" or len(languages) > 2)
    for name in names:
        if name not in LAPE_DEFINITIONS:
            raise unknown_name("definition of transferring neurons by counts", name, LAPE_DEFINITIONS)
    if "lape_both" in names and len(languages) == 2:
        warnings.warn(
            "'lape_both' is almost empty by construction with two languages; count three or more", stacklevel=3
        )
    return tuple(names)


def neuron_sets(chosen: dict, languages, primary: str, definitions=LAPE_DEFINITIONS, new=None) -> dict:
    """All sets of neurons that counts define: {(definition or "specific", language): mask [..., L, F]}.

    "specific" are the chosen neurons of each language, the primary included; definitions are for every new language.
    """
    sets = {("specific", name): chosen["chosen_xLxF"] & chosen["above_KxxLxF"][k] for k, name in enumerate(languages)}
    for name in new_languages(languages, primary, new):
        for definition in definitions:
            indices = languages.index(primary), languages.index(name)
            sets[definition, name] = DEFINITIONS[definition](chosen, *indices)
    return sets


def new_languages(languages, primary: str, new=None) -> list:
    """The new languages: all but the primary, or those named (one name or several)."""
    asked = [name for name in languages if name != primary] if new is None else [new] if isinstance(new, str) else new
    for name in (primary, *asked):
        if name not in languages:
            raise unknown_name("measured language", name, languages)
    return list(asked)


# --- counts with intervals -----------------------------------------------------------------------------------------------


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


def draws_at_a_time(measured: dict) -> int:
    """How many draws of counters of this size are held at once."""
    return max(1, BLOCK // measured["active_RxLxFxK"][0].size)


def resampled(measured: dict, weight_DxR):
    """Counts of resampled shards, a block of draws at a time: yields (draws_B, count_BxLxFxK, tokens_BxK).

    A draw without a token of some language is left out.
    """
    count_RxLxFxK, tokens_RxK = measured["active_RxLxFxK"], measured["tokens_RxK"]
    R, L, F, K = count_RxLxFxK.shape
    flat_RxM = count_RxLxFxK.reshape(R, -1).astype(np.float64)
    block = draws_at_a_time(measured)
    for start in range(0, len(weight_DxR), block):
        weight_BxR = weight_DxR[start : start + block]
        tokens_BxK = weight_BxR @ tokens_RxK
        kept_B = (tokens_BxK > 0).all(axis=1)  # a language that is in few shards only may miss from a draw
        count_BxLxFxK = (weight_BxR[kept_B].astype(np.float64) @ flat_RxM).reshape(-1, L, F, K)
        yield start + np.flatnonzero(kept_B), count_BxLxFxK, tokens_BxK[kept_B]


def bootstrap(measured: dict, statistic, draws: int) -> tuple[dict, dict]:
    """`statistic` of all shards together and of draws of shards: ({name: [M]}, {name: [D, M]}).

    `statistic(count_xLxFxK, tokens_xK, draws_x)` -> {name: [..., M]}; `draws_x`: None for all shards together.
    """
    found = statistic(measured["active_RxLxFxK"].sum(axis=0), measured["tokens_RxK"].sum(axis=0), None)
    weight_DxR = statistics.shard_weights(len(measured["tokens_RxK"]), draws)
    drawn = [
        statistic(count_BxLxFxK, tokens_BxK, draws_B)
        for draws_B, count_BxLxFxK, tokens_BxK in resampled(measured, weight_DxR)
    ]
    return found, {name: np.concatenate([part[name] for part in drawn]) for name in found}


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
    _, L, F, _ = measured["active_RxLxFxK"].shape
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

    def count_all(count_xLxFxK, tokens_xK, draws_x):
        ranking = lape(count_xLxFxK, tokens_xK)
        counts = _counts(transferring(ranking, primary_index, new_index))
        for rate in SENSITIVITY_RATES:
            target_xLxF = selected(ranking, rate) & ranking["above_KxxLxF"][new_index]
            counts[rate] = target_xLxF.sum(axis=(-1, -2))[..., None]
        counts["lape_passed"] = ranking["passed_x"][..., None]
        return counts

    found, drawn = bootstrap(measured, count_all, draws)
    passed, wanted = int(found["lape_passed"][0]), round(L * F * TOP_RATE)
    if passed < wanted:
        warnings.warn(
            f"only {passed} of the {wanted} neurons that LAPE selects passed its filter",
            stacklevel=2,
        )

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


def scope_of(fixed: dict | None) -> str:
    """How rows name where their thresholds come from; "given" for bare numbers."""
    return fixed.get("scope", "given") if fixed else "per_checkpoint"


def _scope_options(languages, fixed: dict | None) -> dict:
    top_rate, filter_rate, bar_rate = (fixed or {}).get("rates", (TOP_RATE, FILTER_RATE, FILTER_RATE))
    return {
        "threshold_scope": scope_of(fixed),
        "top_rate": top_rate,
        "filter_rate": filter_rate,
        "bar_rate": bar_rate,
        "languages": ",".join(languages),
    }


def _warn_if_few(chosen: dict, options: dict) -> None:
    passed, found = int(chosen["passed_x"]), int(chosen["chosen_xLxF"].sum())
    wanted = round(chosen["chosen_xLxF"].size * options["top_rate"])
    if options["threshold_scope"] == "per_checkpoint" and passed < wanted:
        warnings.warn(f"only {passed} of the {wanted} neurons that LAPE selects passed its filter", stacklevel=3)
    elif not found:
        warnings.warn(
            f"the thresholds ({options['threshold_scope']}) select no neuron: {passed} passed the filter", stacklevel=3
        )


def count_rows(
    measured: dict,
    primary: str,
    new=None,
    definitions=None,
    fixed: dict | None = None,
    draws: int = 200,
) -> list[dict]:
    """Counts of transferring neurons for every new language by every definition, under any scope of the thresholds:
    rows without run, seed and step, over all layers (layer -1) and per layer (the layer histogram).

    metric "count": neurons of `options["definition"]`; "specific": chosen neurons of each language (a neuron can belong
    to several); "double_members": chosen neurons of more than one language; "chosen", "passed": in all; "threshold": the
    thresholds of `options["name"]`; "quantile": probabilities and entropies (nats, of neurons that ever fire) at fixed
    quantiles, by rank, so that a moving threshold can be told from a moving model. Intervals: as `neuron_rows`, and where
    thresholds come from other checkpoints they are drawn along with the same shards. Warns when thresholds select nothing.

    Args:
      measured: from `forward.measure`.
      new: the new languages; None: all but the primary.
      definitions: of `LAPE_DEFINITIONS`; None: see `check_definitions`.
      fixed: from `scope_thresholds`; None: the reference's constant share of neurons at every checkpoint.

    Raises:
      UserError: fewer than two languages or a language without tokens; an unknown definition or language.
    """
    languages = list(measured["languages"])
    new = new_languages(languages, primary, new)
    definitions = check_definitions(definitions, languages)
    _, L, F, _ = measured["active_RxLxFxK"].shape
    options = _scope_options(languages, fixed)

    def count_all(count_xLxFxK, tokens_xK, draws_x):
        chosen = selection(probabilities(count_xLxFxK, tokens_xK), fixed, draws_x)
        if draws_x is None:
            _warn_if_few(chosen, options)
        masks = neuron_sets(chosen, languages, primary, definitions, new)
        masks["double_members", ""] = chosen["chosen_xLxF"] & (chosen["above_KxxLxF"].sum(axis=0) > 1)
        masks["chosen", ""] = chosen["chosen_xLxF"]
        counts = _counts(masks)
        counts["passed", ""] = chosen["passed_x"][..., None]
        for name in ("probability", "bar"):
            counts["threshold", name] = chosen[f"{name}_x"][..., None]
        return counts

    found, drawn = bootstrap(measured, count_all, draws)
    rows = []
    for kind, name in found:
        metric = "count" if kind in DEFINITIONS else kind
        extra = {"definition": kind} if kind in DEFINITIONS else {"name": name} if kind == "threshold" else {}
        if kind == "pair_shared":
            extra["entropy"] = SHARED_ENTROPY
        if metric == "count":
            extra["primary"] = primary
        language = "" if kind == "threshold" else name
        values = {metric: found[kind, name]}
        rows += _rows(values, {metric: drawn[kind, name]}, (L, F), language, {metric: options | extra})
    p_KxLxF = probabilities(measured["active_RxLxFxK"].sum(axis=0), measured["tokens_RxK"].sum(axis=0))
    rates = (options["top_rate"], options["filter_rate"], options["bar_rate"])
    entropy = thresholds(p_KxLxF, *rates)["entropy"] if _is_ranked(fixed) else fixed["entropy"]
    rows.append(_value_row("threshold", entropy, L * F, "", options | {"name": "entropy"}))
    return rows + _quantile_rows(p_KxLxF, languages)


def _value_row(metric, value, n, language, options) -> dict:
    return dict(probe="neurons", language=language, metric=metric, value=float(value), n=int(n), options=options)


def _quantile_rows(p_KxLxF, languages) -> list[dict]:
    p_KxM = p_KxLxF.reshape(len(p_KxLxF), -1)
    entropy_M = _entropy(p_KxM)[p_KxM.any(axis=0)]
    of = [("probability", name, p_M) for name, p_M in zip(languages, p_KxM, strict=True)]
    of += [("probability", "", p_KxM.reshape(-1)), ("entropy", "", entropy_M)]
    return [
        _value_row("quantile", _kth_smallest(values_M, rate), values_M.size, name, {"of": kind, "quantile": rate})
        for kind, name, values_M in of
        if values_M.size
        for rate in QUANTILES
    ]


def sensitivity_rows(
    measured: dict, primary: str, new=None, definitions=None, draws: int = 100, curves: dict = CURVES
) -> list[dict]:
    """Every count over the values of what it depends on: a curve, not a number. Rows without run, seed and step.

    metric "count_curve", layer -1; `options`: `definition`, `varied` ("top_rate": share of neurons that is selected,
    "filter_rate": rank of the filter and of the bar, "entropy": evenness of `pair_shared`, in ln 2) and `at`, its value.
    Selections are those of the measured checkpoint itself (per_checkpoint).
    """
    languages = list(measured["languages"])
    new = new_languages(languages, primary, new)
    definitions = check_definitions(definitions, languages)
    pairs = [(languages.index(primary), languages.index(name), name) for name in new]
    _, L, F, K = measured["active_RxLxFxK"].shape
    depends = {
        name: ("filter_rate", "entropy") if name == "pair_shared" else ("top_rate", "filter_rate")
        for name in definitions
    }

    def count_all(count_xLxFxK, tokens_xK, draws_x):
        p_KxxLxF = probabilities(count_xLxFxK, tokens_xK)
        ranking = _rank(p_KxxLxF, FILTER_RATE, FILTER_RATE)
        usual = ranking | {"chosen_xLxF": selected(ranking)}
        # Neurons in the order of their entropy: whatever the filter, the first that pass it are chosen.
        p_KxxM = p_KxxLxF.reshape(K, *p_KxxLxF.shape[1:-2], L * F)
        order_xM = np.argsort(_entropy(p_KxxM), axis=-1, kind="stable")
        p_KxxM = np.take_along_axis(p_KxxM, order_xM[None], axis=-1)
        flat = np.sort(_flat(p_KxxLxF), axis=-1)
        counts = {}

        def filtered(rate):
            k = min(max(round(flat.shape[-1] * rate), 1), flat.shape[-1])
            above_KxxM = p_KxxM > flat[..., k - 1][..., None]
            passed_xM = above_KxxM.any(axis=0)
            chosen_xM = passed_xM & (passed_xM.cumsum(axis=-1, dtype=np.int32) <= round(L * F * TOP_RATE))
            parts = {"p_KxxLxF": p_KxxM, "above_KxxLxF": above_KxxM, "chosen_xLxF": chosen_xM}
            return {name: part[..., None, :] for name, part in parts.items()}  # as if of one layer: only counts matter

        def add(varied, at, seen, **extra):
            for definition in definitions:
                if varied in depends[definition]:
                    for primary_index, new_index, name in pairs:
                        mask_xLxF = DEFINITIONS[definition](seen, primary_index, new_index, **extra)
                        counts[definition, varied, at, name] = mask_xLxF.sum(axis=(-1, -2))[..., None]

        for rate in curves["top_rate"]:
            add("top_rate", rate, usual | {"chosen_xLxF": selected(ranking, rate)})
        for rate in curves["filter_rate"]:
            add("filter_rate", rate, filtered(rate))
        for share in curves["entropy"]:
            add("entropy", share, usual, entropy=share)
        return counts

    found, drawn = bootstrap(measured, count_all, draws)
    rows = []
    for key, value in found.items():
        definition, varied, at, name = key
        options = {"definition": definition, "varied": varied, "at": at, "primary": primary}
        options["languages"] = ",".join(languages)
        rows += _rows({"count_curve": value}, {"count_curve": drawn[key]}, (L, F), name, {"count_curve": options})
    return rows


SCORE_DEFINITIONS = tuple(name for name in DEFINITIONS if name not in LAPE_DEFINITIONS)


def _check_score(definition: str, language: str, languages) -> int | None:
    if definition not in SCORE_DEFINITIONS:
        raise unknown_name("definition of transferring neurons by scores", definition, SCORE_DEFINITIONS)
    if definition == "pls" and language not in (languages or ()):
        raise UserError("'pls' has scores of several languages; name them, the new language among them.")
    return list(languages).index(language) if definition == "pls" else None


def score_rows(definition: str, scores, language: str, languages=None, count: int | None = None) -> list[dict]:
    """Counts per layer of the neurons that a score defines: rows with metric "count" as from `count_rows`, without
    intervals. Their number is fixed; what can move are their layers.

    Args:
      definition: of `SCORE_DEFINITIONS`.
      scores: as in `DEFINITIONS`: score_LxF of the new language; "pls": score_LxFxK of all `languages`.
      count: how many neurons are taken; None: `TOP_RATE` of all.
    """
    new = _check_score(definition, language, languages)
    mask_LxF = DEFINITIONS[definition]({"scores": {definition: scores}, "count": count}, None, new)
    options = {"definition": definition, "count": count or round(mask_LxF.size * TOP_RATE)}
    if definition == "pls":  # its number is the rate's
        options = {"definition": definition, "top_rate": TOP_RATE, "ratio": PLS_RATIO, "languages": ",".join(languages)}
    return [
        _value_row("count", value, mask_LxF.shape[1] if index else mask_LxF.size, language, options)
        | {"layer": index or -1}
        for index, value in enumerate(_counts({"count": mask_LxF})["count"])
    ]


def score_curve_rows(definition: str, scores, language: str, languages=None, values=None) -> list[dict]:
    """How many neurons score more than each of `values`: rows with metric "count_curve", `varied` "score".

    The same values at every checkpoint let the number rise and fall; None: 20 from a hundredth of this largest score to
    the largest. For "pls": neurons of the new language whose score is at least `at` times the second best, of all neurons
    and not of the top 1 %, `varied` "ratio", from 1 to 3.

    Args: as `score_rows`.
    """
    new = _check_score(definition, language, languages)
    if definition == "pls":
        score_LxFxK = np.asarray(scores, np.float64)
        own_LxF = score_LxFxK[..., new]
        other_LxF = np.delete(score_LxFxK, new, axis=-1).max(axis=-1)
        varied, values = "ratio", np.linspace(1, 3, 21).round(6) if values is None else values
        counts = [((own_LxF > 0) & (own_LxF >= at * other_LxF)).sum() for at in values]
    else:
        score_LxF = _score(definition, scores)
        own_LxF, largest = score_LxF, np.nanmax(score_LxF, initial=0)
        varied, values = "score", np.geomspace(largest / 100, largest, 20) if values is None else values
        counts = [(score_LxF > at).sum() for at in values]
    return [
        _value_row(
            "count_curve", count, own_LxF.size, language, {"definition": definition, "varied": varied, "at": float(at)}
        )
        for at, count in zip(values, counts, strict=True)
    ]


# --- neurons by function ---------------------------------------------------------------------------------------------------


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


def _transfer_slots(base_LxNxF, now_LxNxF, slots: dict, draws: int):
    """Activations at the transfer slots, and their weights [D, N] when prompts are resampled (None: there is no slot)."""
    transfer_N = np.asarray(slots["subset"]) == 1
    base, now = (np.asarray(a)[:, transfer_N] for a in (base_LxNxF, now_LxNxF))
    if not transfer_N.any():
        return base, now, None
    names = np.stack(
        [
            np.asarray(slots["pair"])[transfer_N],
            np.asarray(slots["prompt"])[transfer_N],
        ],
        axis=1,
    )
    cluster_N = np.unique(names, axis=0, return_inverse=True)[1].reshape(-1)
    return base, now, statistics.shard_weights(cluster_N.max() + 1, draws)[:, cluster_N]


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
    base, now, weight_DxN = _transfer_slots(base_primary_LxNxF, checkpoint_new_LxNxF, slots, draws)
    if weight_DxN is None:
        return []
    found = functional(base, now)
    drawn = _functional_draws(base, now, weight_DxN, FUNCTIONAL_CORRELATION)
    return _rows(
        _counts({"functional": found}),
        _counts({"functional": drawn}),
        found.shape,
        language,
        {"functional": {"correlation": FUNCTIONAL_CORRELATION, "subset": "transfer"}},
    )


def functional_curve_rows(
    base_primary_LxNxF, checkpoint_new_LxNxF, slots: dict, language: str, draws: int = 100
) -> list[dict]:
    """Counts of `functional` neurons over the correlation that is asked of them: rows with metric "count_curve", `varied`
    "correlation". Arguments as `functional_rows`."""
    base, now, weight_DxN = _transfer_slots(base_primary_LxNxF, checkpoint_new_LxNxF, slots, draws)
    if weight_DxN is None:
        return []
    rows = []
    for at in CURVES["correlation"]:
        found = functional(base, now, at)
        drawn = _functional_draws(base, now, weight_DxN, at)
        count, count_D = ({"count_curve": mask.sum(axis=(-1, -2))[..., None]} for mask in (found, drawn))
        options = {"definition": "functional", "varied": "correlation", "at": at, "subset": "transfer"}
        rows += _rows(count, count_D, found.shape, language, {"count_curve": options})
    return rows

"""Transferring neurons: what definitions there are, and their numbers with intervals.

A definition says which neurons of a `lape.Selection` transfer from the primary to a new language, or takes the neurons that
a score of another probe names. Letters as in `lape.py`; x any leading axes.
"""

import warnings
from collections.abc import Callable

import numpy as np

from babel_jax.common import statistics
from babel_jax.common.errors import UserError, unknown_name
from babel_jax.probes import lape
from babel_jax.probes.lape import PER_CHECKPOINT, TOP_RATE, Counts, Scope, Selection

SENSITIVITY_RATES = (0.005, 0.01, 0.02, 0.05, 0.1)
SHARED_ENTROPY = 0.9  # of ln 2: how evenly a pair-shared neuron must fire for its two languages
PLS_RATIO = 1.5  # how much larger than the second best score a neuron's best one must be, in the definition `pls`
FIRST_LAYERS = 20 / 32  # of all layers: where neurons of type 1 are looked for, and after which those of type 2
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)
# What a count depends on, and the values at which a sensitivity curve takes it.
CURVES = {
    "top_rate": tuple(np.geomspace(0.001, 0.1, 21).round(6).tolist()),
    "filter_rate": tuple(np.linspace(0.8, 0.99, 20).round(6).tolist()),
    "entropy": tuple(np.linspace(0.5, 0.99, 20).round(6).tolist()),
}


# --- definitions by counts ------------------------------------------------------------------------------------------------


def _lape_target(selection: Selection, primary: int, new: int):
    """Specific to the new language: "following Tang" read literally."""
    return selection.chosen_xLxF & selection.above_KxxLxF[new]


def _lape_both(selection: Selection, primary: int, new: int):
    """Specific to the new language and to the primary one."""
    return _lape_target(selection, primary, new) & selection.above_KxxLxF[primary]


def _lape_exclusive(selection: Selection, primary: int, new: int):
    """Specific to the new language and to no other."""
    return _lape_target(selection, primary, new) & (selection.above_KxxLxF.sum(axis=0) == 1)


def pair_shared(selection: Selection, primary: int, new: int, evenness: float = SHARED_ENTROPY):
    """Above the bar in both languages and in no further one, about evenly; any number of them."""
    above_KxxLxF = selection.above_KxxLxF
    pair_xLxF = above_KxxLxF[primary] & above_KxxLxF[new] & (above_KxxLxF.sum(axis=0) == 2)
    p_2xM = np.stack([selection.p_KxxLxF[k][pair_xLxF] for k in (primary, new)])  # few: the entropy is what costs
    pair_xLxF[pair_xLxF] = lape.entropy(p_2xM) >= evenness * np.log(2)
    return pair_xLxF


# Name -> function (selection, index of the primary, index of the new language) -> mask [..., L, F].
DEFINITIONS: dict[str, Callable] = {
    "lape_target": _lape_target,
    "lape_both": _lape_both,
    "lape_exclusive": _lape_exclusive,
    "pair_shared": pair_shared,
}


def definitions_for(languages) -> tuple[str, ...]:
    """The definitions by counts that mean something; for two languages without `lape_both`.

    Of two probabilities above a bar b the entropy is high (b = 0.5: at least 0.637 of 0.693 nats), almost never among the
    lowest 1 %: `lape_both` is nearly empty by construction then.
    """
    return tuple(name for name in DEFINITIONS if name != "lape_both" or len(languages) > 2)


def new_languages(languages, primary: str) -> list[str]:
    """All languages but the primary."""
    if primary not in languages:
        raise unknown_name("measured language", primary, languages)
    return [name for name in languages if name != primary]


def neuron_sets(selection: Selection, languages, primary: str) -> dict:
    """All sets of neurons that counts define: {(definition or "specific", language): mask [..., L, F]}.

    "specific" are the chosen neurons of each language, the primary included; definitions are for every new language.
    """
    sets = {("specific", name): selection.chosen_xLxF & selection.above_KxxLxF[k] for k, name in enumerate(languages)}
    for name in new_languages(languages, primary):
        indices = languages.index(primary), languages.index(name)
        for definition in definitions_for(languages):
            sets[definition, name] = DEFINITIONS[definition](selection, *indices)
    return sets


# --- definitions by score -------------------------------------------------------------------------------------------------

# `alignment.transfer_scores` and `attribution.causal_scores` give score_LxF of the new language, for `pls`
# `attribution.gradient_scores` score_LxFxK of all languages.
SCORE_DEFINITIONS = ("centroid_type1", "centroid_type2", "causal", "pls")


def scored(definition: str, scores, new: int | None = None, count: int | None = None):
    """The neurons of a definition by score, a mask [..., L, F].

    Args:
      new: the new language's place on axis K, for `pls`.
      count: how many neurons are taken, but for `pls`, where it is the rate's; None: `TOP_RATE` of all.
    """
    if definition == "pls":
        return pls(scores)[new]
    score_xLxF = _oriented(definition, scores)
    return top_scores(score_xLxF, count or round(np.prod(score_xLxF.shape[-2:]) * TOP_RATE))


def _oriented(definition: str, scores):
    """The score [..., L, F] of a definition, larger for neurons that do more of it, 0 in layers where it has no meaning."""
    score_xLxF = np.asarray(scores, np.float64)
    if definition == "causal":
        return -score_xLxF  # removing what carries the identifier lowers its log-probability
    layers = score_xLxF.shape[-2]
    first_Lx1 = np.arange(layers)[:, None] < round(layers * FIRST_LAYERS)
    return np.where(first_Lx1 == (definition == "centroid_type1"), score_xLxF, 0)


def pls(score_xLxFxK, top_rate: float = TOP_RATE):
    """Neurons by gradient times activation, member_KxxLxF (arXiv 2512.19980).

    A neuron belongs to the language of its largest score if that is positive and at least `PLS_RATIO` times the second
    largest; of those the `top_rate` of ALL neurons with the largest scores is kept. Warns when there are fewer.

    Args:
      score_xLxFxK: mean over the tokens of each language of |a| |dL/da|; x as in `lape.lape`.
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


def _first(order_value_xM, allowed_xM, count):
    """The `count` allowed ones with the smallest value [..., M]; ties go to the lower index."""
    order_xM = np.argsort(np.where(allowed_xM, order_value_xM, np.inf), axis=-1, kind="stable")
    chosen_xM = np.zeros(allowed_xM.shape, bool)
    np.put_along_axis(chosen_xM, order_xM[..., :count], True, axis=-1)
    return chosen_xM & allowed_xM


# --- numbers with intervals -----------------------------------------------------------------------------------------------


def _key(metric: str, language: str = "", **options) -> tuple:
    """What is counted, as a dict's key: `_rows` makes rows of it."""
    return metric, language, tuple(options.items())


def _by_layer(mask_xLxF):
    """Neurons over all layers, then in each: [..., 1 + L]."""
    count_xL = mask_xLxF.sum(axis=-1)
    return np.concatenate([count_xL.sum(axis=-1, keepdims=True), count_xL], axis=-1)


def _total(mask_xLxF):
    return mask_xLxF.sum(axis=(-1, -2))[..., None]


def _rows(counts: Counts, statistic: Callable, draws: int) -> list[dict]:
    """Rows of a statistic (count_xLxFxK, tokens_xK, draws_x) -> {`_key`: numbers [..., 1 or 1 + L]}.

    Intervals: shards of neighbouring rows are resampled, and whatever the statistic selects is selected again.
    """
    _, L, F, _ = counts.active_RxLxFxK.shape
    found, drawn = lape.bootstrap(counts, statistic, draws)
    rows = []
    for key, count_M in found.items():
        metric, language, options = key
        low_M, high_M = statistics.interval(drawn[key].astype(np.float64))
        rows += [
            dict(
                probe="neurons",
                language=language,
                layer=index or -1,
                metric=metric,
                value=float(value),
                n=F if index else L * F,
                ci_low=float(low_M[index]),
                ci_high=float(high_M[index]),
                options=dict(options),
            )
            for index, value in enumerate(count_M)
        ]
    return rows


def _value_row(metric, value, n, language, options, layer=-1) -> dict:
    about = dict(probe="neurons", language=language, layer=layer, metric=metric)
    return about | dict(value=float(value), n=int(n), options=options)


def _options_of(definition: str, languages, scope: Scope = PER_CHECKPOINT, **changed) -> dict:
    """What else the number of a definition depends on; the scope where it is not each checkpoint by itself."""
    if definition == "pair_shared":
        options = {"filter_rate": scope.rates.filter_rate, "entropy": SHARED_ENTROPY}
    else:
        options = {"top_rate": scope.rates.top_rate, "filter_rate": scope.rates.filter_rate}
    if scope.rates.bar_rate != scope.rates.filter_rate:
        options["bar_rate"] = scope.rates.bar_rate
    options |= {"languages": ",".join(languages)} | changed
    return options if scope.thresholds is None else options | {"threshold_scope": scope.name}


def _warn_if_few(selection: Selection, scope: Scope) -> None:
    passed, chosen = int(selection.passed_x), int(selection.chosen_xLxF.sum())
    wanted = round(selection.chosen_xLxF.size * scope.rates.top_rate)
    if scope.thresholds is None and passed < wanted:
        warnings.warn(f"only {passed} of the {wanted} neurons that LAPE selects passed its filter", stacklevel=3)
    elif not chosen:
        warnings.warn(f"the thresholds ({scope.name}) select no neuron: {passed} passed the filter", stacklevel=3)


def transferring_rows(counts: Counts, primary: str, new: str, draws: int = 200) -> list[dict]:
    """What the report of a study shows of `count_rows` and `sensitivity_rows`: over all layers `lape_target`, `pair_shared`
    and, at some shares of selected neurons, `lape_target_sensitivity`. Warns when few neurons pass LAPE's filter."""
    languages = counts.languages
    indices = languages.index(primary), languages.index(new)

    def statistic(count_xLxFxK, tokens_xK, draws_x):
        selection = lape.lape(count_xLxFxK, tokens_xK)
        if draws_x is None:
            _warn_if_few(selection, PER_CHECKPOINT)
        found = {
            _key(name, new, **_options_of(name, languages)): _total(DEFINITIONS[name](selection, *indices))
            for name in ("lape_target", "pair_shared")
        }
        for rate in SENSITIVITY_RATES:
            options = _options_of("lape_target", languages, top_rate=rate)
            found[_key("lape_target_sensitivity", new, **options)] = _total(_lape_target(selection.at(rate), *indices))
        return found

    return _rows(counts, statistic, draws)


def count_rows(counts: Counts, primary: str, scope: Scope = PER_CHECKPOINT, draws: int = 200) -> list[dict]:
    """Numbers of transferring neurons for every new language by every definition, under any scope of the thresholds:
    rows without run, seed and step, over all layers (layer -1) and per layer (the layer histogram).

    metrics: the names of `DEFINITIONS`; "specific": chosen neurons of each language (a neuron can belong to several);
    "double_members": chosen neurons of more than one language; "chosen", "lape_passed": in all; "threshold": the
    thresholds of `options["name"]`; "quantile": probabilities and entropies (nats, of neurons that ever fire) at fixed
    quantiles, by rank, so that a moving threshold can be distinguished from a moving model. Where thresholds come from other
    checkpoints they are drawn along with the same shards. Warns when thresholds select nothing.

    Raises:
      UserError: fewer than two languages or a language without tokens; an unknown primary.
    """
    languages = list(counts.languages)
    of_all = _options_of("lape_target", languages, scope)

    def statistic(count_xLxFxK, tokens_xK, draws_x):
        selection = lape.selection(lape.probabilities(count_xLxFxK, tokens_xK), scope, draws_x)
        if draws_x is None:
            _warn_if_few(selection, scope)
        found = {
            _key(kind, name, **_options_of(kind, languages, scope)): _by_layer(mask_xLxF)
            for (kind, name), mask_xLxF in neuron_sets(selection, languages, primary).items()
        }
        double_xLxF = selection.chosen_xLxF & (selection.above_KxxLxF.sum(axis=0) > 1)
        found[_key("double_members", **of_all)] = _by_layer(double_xLxF)
        found[_key("chosen", **of_all)] = _by_layer(selection.chosen_xLxF)
        found[_key("lape_passed", **of_all)] = selection.passed_x[..., None]
        for name in ("probability", "bar"):
            found[_key("threshold", **of_all, name=name)] = getattr(selection, f"{name}_x")[..., None]
        return found

    rows = _rows(counts, statistic, draws)
    p_KxLxF = lape.probabilities(*counts.whole())
    cut = (scope.thresholds or lape.thresholds(p_KxLxF, scope.rates)).entropy
    rows.append(_value_row("threshold", cut, p_KxLxF[0].size, "", of_all | {"name": "entropy"}))
    return rows + _quantile_rows(p_KxLxF, languages)


def _quantile_rows(p_KxLxF, languages) -> list[dict]:
    p_KxM = p_KxLxF.reshape(len(p_KxLxF), -1)
    entropy_M = lape.entropy(p_KxM)[p_KxM.any(axis=0)]
    of = [("probability", name, p_M) for name, p_M in zip(languages, p_KxM, strict=True)]
    of += [("probability", "", p_KxM.reshape(-1)), ("entropy", "", entropy_M)]
    return [
        _value_row("quantile", lape.kth_smallest(values_M, rate), values_M.size, name, {"of": kind, "quantile": rate})
        for kind, name, values_M in of
        if values_M.size
        for rate in QUANTILES
    ]


def sensitivity_rows(counts: Counts, primary: str, draws: int = 100) -> list[dict]:
    """Every number over the values of what it depends on: a curve. Rows without run, seed and step, layer -1.

    metrics: "lape_target_sensitivity" and so on; the options are those of the definition with another value of the one that
    is `varied` ("top_rate": share of neurons that is selected, "filter_rate": rank of the filter and of the bar, "entropy":
    evenness of `pair_shared`, in ln 2). Selections are those of the measured checkpoint itself (per_checkpoint).
    """
    languages = list(counts.languages)
    pairs = [(languages.index(primary), languages.index(name), name) for name in new_languages(languages, primary)]

    def statistic(count_xLxFxK, tokens_xK, draws_x):
        p_KxxLxF = lape.probabilities(count_xLxFxK, tokens_xK)
        usual, filtered, found = lape.ranked(p_KxxLxF), _filters(p_KxxLxF), {}

        def add(varied, at, selection, **evenness):
            for definition in definitions_for(languages):
                if varied in _options_of(definition, languages):
                    options = _options_of(definition, languages, **{varied: at}, varied=varied)
                    for *indices, name in pairs:
                        mask_xLxF = DEFINITIONS[definition](selection, *indices, **evenness)
                        found[_key(f"{definition}_sensitivity", name, **options)] = _total(mask_xLxF)

        for rate in CURVES["top_rate"]:
            add("top_rate", rate, usual.at(rate))
        for rate in CURVES["filter_rate"]:
            add("filter_rate", rate, filtered(rate))
        for share in CURVES["entropy"]:
            add("entropy", share, usual, evenness=share)
        return found

    return _rows(counts, statistic, draws)


def _filters(p_KxxLxF) -> Callable[[float], Selection]:
    """The selections at any rate of filter and bar, as if all neurons were of one layer: only their numbers matter.

    Neurons stand in the order of their entropy: whatever the filter, the first that pass it are chosen.
    """
    K, *lead, L, F = p_KxxLxF.shape
    p_KxxM = p_KxxLxF.reshape(K, *lead, L * F)
    order_xM = np.argsort(lape.entropy(p_KxxM), axis=-1, kind="stable")
    p_KxxM = np.take_along_axis(p_KxxM, order_xM[None], axis=-1)
    flat = np.sort(lape.flat_probabilities(p_KxxLxF), axis=-1)

    def filtered(rate: float) -> Selection:
        k = min(max(round(flat.shape[-1] * rate), 1), flat.shape[-1])
        above_KxxM = p_KxxM > flat[..., k - 1][..., None]
        passed_xM = above_KxxM.any(axis=0)
        chosen_xM = passed_xM & (passed_xM.cumsum(axis=-1, dtype=np.int32) <= round(L * F * TOP_RATE))
        nothing = np.empty(0)
        return Selection(
            p_KxxM[..., None, :],
            nothing,
            above_KxxM[..., None, :],
            chosen_xM[..., None, :],
            passed_xM.sum(axis=-1),
            flat[..., k - 1],
            flat[..., k - 1],
        )

    return filtered


def _place_of(definition: str, language: str, languages) -> int | None:
    if definition not in SCORE_DEFINITIONS:
        raise unknown_name("definition of transferring neurons by scores", definition, SCORE_DEFINITIONS)
    if definition == "pls" and language not in (languages or ()):
        raise UserError("'pls' has scores of several languages; name them, the new language among them.")
    return list(languages).index(language) if definition == "pls" else None


def score_rows(definition: str, scores, language: str, languages=None, count: int | None = None) -> list[dict]:
    """Numbers of neurons that a score defines, over all layers and per layer: rows as from `count_rows`, without intervals.
    Their number in all is fixed; what can move are their layers.

    Args:
      definition: of `SCORE_DEFINITIONS`, the rows' metric.
      scores: score_LxF of the new language; "pls": score_LxFxK of all `languages`.
      count: see `scored`.
    """
    mask_LxF = scored(definition, scores, _place_of(definition, language, languages), count)
    options = {"count": count or round(mask_LxF.size * TOP_RATE)}
    if definition == "pls":  # its number is the rate's
        options = {"top_rate": TOP_RATE, "ratio": PLS_RATIO, "languages": ",".join(languages)}
    L, F = mask_LxF.shape
    return [
        _value_row(definition, value, F if index else L * F, language, options, index or -1)
        for index, value in enumerate(_by_layer(mask_LxF))
    ]


def score_sensitivity_rows(definition: str, scores, language: str, languages=None) -> list[dict]:
    """How many neurons score more than each of 20 values, from a hundredth of the largest score to the largest: rows with
    metric "causal_sensitivity" and so on, `varied` "score".

    For "pls": neurons of the new language whose score is at least `ratio` times the second best, of all neurons and not of
    the top 1 %, `varied` "ratio", from 1 to 3. Args: as `score_rows`.
    """
    new = _place_of(definition, language, languages)
    if definition == "pls":
        score_LxFxK = np.asarray(scores, np.float64)
        own_LxF, other_LxF = score_LxFxK[..., new], np.delete(score_LxFxK, new, axis=-1).max(axis=-1)
        varied, values = "ratio", np.linspace(1, 3, 21).round(6)
        numbers = [((own_LxF > 0) & (own_LxF >= at * other_LxF)).sum() for at in values]
    else:
        own_LxF = _oriented(definition, scores)
        largest = np.nanmax(own_LxF, initial=0)
        varied, values = "score", np.geomspace(largest / 100, largest, 20)
        numbers = [(own_LxF > at).sum() for at in values]
    return [
        _value_row(f"{definition}_sensitivity", number, own_LxF.size, language, {varied: float(at), "varied": varied})
        for at, number in zip(values, numbers, strict=True)
    ]

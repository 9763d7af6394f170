"""Numbers of transferring neurons by every definition, with intervals: rows of measurements.

Letters as in `lape.py`; x any leading axes.
"""

import warnings
from collections.abc import Callable

import numpy as np

from babel_jax.common import statistics
from babel_jax.probes import lape
from babel_jax.probes.by_counts import LAPE_TARGET, PAIR_SHARED, SHARED_ENTROPY, ByCounts
from babel_jax.probes.by_scores import ByScores
from babel_jax.probes.definitions import definitions_by_counts, neuron_sets
from babel_jax.probes.lape import TOP_RATE, Counts, Selection, new_languages
from babel_jax.probes.thresholds import PER_CHECKPOINT, Scope, select, thresholds

SENSITIVITY_RATES = (0.005, 0.01, 0.02, 0.05, 0.1)
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)
# What a count depends on, and the values at which a sensitivity curve takes it.
CURVES = {
    "top_rate": tuple(np.geomspace(0.001, 0.1, 21).round(6).tolist()),
    "filter_rate": tuple(np.linspace(0.8, 0.99, 20).round(6).tolist()),
    "entropy": tuple(np.linspace(0.5, 0.99, 20).round(6).tolist()),
}


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
    numbers, drawn = lape.bootstrap(counts, statistic, draws)
    rows = []
    for key, count_M in numbers.items():
        metric, language, options = key
        low_M, high_M = statistics.interval(drawn[key].astype(np.float64))
        for index, (value, low, high) in enumerate(zip(count_M, low_M, high_M, strict=True)):
            row = _value_row(metric, value, F if index else L * F, language, dict(options) | counts.rule, index or -1)
            rows.append(row | dict(ci_low=float(low), ci_high=float(high)))
    return rows


def _value_row(metric, value, n, language, options, layer=-1) -> dict:
    about = dict(probe="neurons", language=language, layer=layer, metric=metric)
    return about | dict(value=float(value), n=int(n), options=options)


def _options_of(definition: ByCounts, languages, scope: Scope = PER_CHECKPOINT, **changed) -> dict:
    """What else the number of a definition depends on; the scope where it is not each checkpoint by itself."""
    known = vars(scope.rates) | {"entropy": SHARED_ENTROPY}
    options = {name: known[name] for name in definition.depends_on}
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
        numbers = {
            _key(one.name, new, **_options_of(one, languages)): _total(one.mask(selection, *indices))
            for one in (LAPE_TARGET, PAIR_SHARED)
        }
        for rate in SENSITIVITY_RATES:
            key = _key("lape_target_sensitivity", new, **_options_of(LAPE_TARGET, languages, top_rate=rate))
            numbers[key] = _total(LAPE_TARGET.mask(selection.at(rate), *indices))
        return numbers

    return _rows(counts, statistic, draws)


def count_rows(counts: Counts, primary: str, scope: Scope = PER_CHECKPOINT, draws: int = 200) -> list[dict]:
    """Numbers of transferring neurons for every new language by every definition, under any scope of the thresholds:
    rows without run, seed and step, over all layers (layer -1) and per layer (the layer histogram).

    metrics: the names of the definitions; "specific": chosen neurons of each language (a neuron can belong to several);
    "double_members": chosen neurons of more than one language; "chosen", "lape_passed": in all; "threshold": the
    thresholds of `options["name"]`; "quantile": probabilities and entropies (nats, of neurons that ever fire) at fixed
    quantiles, by rank, so that a moving threshold can be distinguished from a moving model. Where thresholds come from other
    checkpoints they are drawn along with the same shards. Warns when thresholds select nothing.

    Raises:
      UserError: fewer than two languages or a language without tokens; an unknown primary.
    """
    languages = list(counts.languages)
    of_all = _options_of(LAPE_TARGET, languages, scope)
    options = {one.name: _options_of(one, languages, scope) for one in definitions_by_counts(languages)} | {
        "specific": of_all
    }

    def statistic(count_xLxFxK, tokens_xK, draws_x):
        selection = select(lape.probabilities(count_xLxFxK, tokens_xK), scope, draws_x)
        if draws_x is None:
            _warn_if_few(selection, scope)
        numbers = {
            _key(metric, name, **options[metric]): _by_layer(mask_xLxF)
            for (metric, name), mask_xLxF in neuron_sets(selection, languages, primary).items()
        }
        double_xLxF = selection.chosen_xLxF & (selection.above_KxxLxF.sum(axis=0) > 1)
        numbers[_key("double_members", **of_all)] = _by_layer(double_xLxF)
        numbers[_key("chosen", **of_all)] = _by_layer(selection.chosen_xLxF)
        numbers[_key("lape_passed", **of_all)] = selection.passed_x[..., None]
        for name in ("probability", "bar"):
            numbers[_key("threshold", **of_all, name=name)] = getattr(selection, f"{name}_x")[..., None]
        return numbers

    rows = _rows(counts, statistic, draws)
    p_KxLxF = lape.probabilities(*counts.whole())
    cut = (scope.thresholds or thresholds(p_KxLxF, scope.rates)).entropy
    rows.append(_value_row("threshold", cut, p_KxLxF[0].size, "", of_all | {"name": "entropy"} | counts.rule))
    return rows + _quantile_rows(p_KxLxF, languages, counts.rule)


def _quantile_rows(p_KxLxF, languages, rule: dict) -> list[dict]:
    p_KxM = p_KxLxF.reshape(len(p_KxLxF), -1)
    entropy_M = lape.entropy(p_KxM)[p_KxM.any(axis=0)]
    of = [("probability", name, p_M) for name, p_M in zip(languages, p_KxM, strict=True)]
    of += [("probability", "", p_KxM.reshape(-1)), ("entropy", "", entropy_M)]
    return [
        _value_row("quantile", lape.kth_smallest(values_M, rate), values_M.size, name, about | rule)
        for kind, name, values_M in of
        if values_M.size
        for rate in QUANTILES
        for about in ({"of": kind, "quantile": rate},)
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
        usual, filtered, numbers = lape.ranked(p_KxxLxF), _filters(p_KxxLxF), {}

        def add(varied, at, selection, **evenness):
            for definition in definitions_by_counts(languages):
                if varied in definition.depends_on:
                    options = _options_of(definition, languages, **{varied: at}, varied=varied)
                    for *indices, name in pairs:
                        mask_xLxF = definition.mask(selection, *indices, **evenness)
                        numbers[_key(f"{definition.name}_sensitivity", name, **options)] = _total(mask_xLxF)

        for rate in CURVES["top_rate"]:
            add("top_rate", rate, usual.at(rate))
        for rate in CURVES["filter_rate"]:
            add("filter_rate", rate, filtered(rate))
        for share in CURVES["entropy"]:
            add("entropy", share, usual, evenness=share)
        return numbers

    return _rows(counts, statistic, draws)


def _filters(p_KxxLxF) -> Callable[[float], Selection]:
    """The selections at any rate of filter and bar, as if all neurons were of one layer: only their numbers matter.

    Neurons are sorted by entropy: whatever the filter, the first that pass it are chosen.
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
        masks, bar_x = (above_KxxM[..., None, :], chosen_xM[..., None, :]), flat[..., k - 1]
        return Selection(p_KxxM[..., None, :], np.empty(0), *masks, passed_xM.sum(axis=-1), bar_x, bar_x)

    return filtered


def score_rows(
    definition: ByScores, scores, language: str, languages: list[str], count: int | None = None
) -> list[dict]:
    """Neurons of a definition by scores, over all layers and per layer, then its curve ("causal_sensitivity" and so on): rows
    as from `count_rows`, without intervals. Their number in all is fixed; what can move are their layers.

    Args:
      scores: what `definition.scores` gave for this language.
      languages: all that are compared.
      count: how many neurons are taken; None: `TOP_RATE` of all.
    """
    L, F = np.shape(scores)[:2]
    count = count or round(L * F * TOP_RATE)
    mask_LxF, options = definition.mask(scores, language, languages, count), definition.options(languages, count)
    rows = [
        _value_row(definition.name, number, F if index else L * F, language, options, index or -1)
        for index, number in enumerate(_by_layer(mask_LxF))
    ]
    varied, values, numbers = definition.curve(scores, language, languages)
    return rows + [
        _value_row(f"{definition.name}_sensitivity", number, L * F, language, {varied: float(at), "varied": varied})
        for at, number in zip(values, numbers, strict=True)
    ]

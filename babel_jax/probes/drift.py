"""How sets of neurons overlap, between languages, definitions, checkpoints and seeds, and how many tokens they need.

A set is a mask of neurons [L, F]; which sets there are is `neurons.neuron_sets`. Overlap is told against chance: two sets
of their sizes drawn at random, out of all neurons (hypergeometric), or in every layer as many as they have there (the sum
of one hypergeometric a layer), because two sets that prefer the same layers overlap by that alone.

Intervals resample shards of held-out rows, the same ones for all checkpoints. A resampled selection is
noisier than the one that is measured, and of two equal sets the noise can only lower the Jaccard index: the interval of a
Jaccard index near 1 may lie below it. `tokens_rows` says how much of that there is.

Letters as in `neurons.py`; S sets, C checkpoints.
"""

import numpy as np
from scipy import stats

from babel_jax import statistics
from babel_jax.errors import UserError
from babel_jax.probes import neurons

FRACTIONS = tuple(n / 20 for n in range(1, 21))  # of the shards
STABLE = 0.95  # the Jaccard index from which on a selection counts as the full stream's
KINDS = ("births", "deaths", "switches", "stays")


def jaccard(a_xLxF, b_xLxF):
    """Intersection over union of two masks, [x]; NaN where both are empty."""
    both_x = (a_xLxF & b_xLxF).sum(axis=(-1, -2))
    return statistics.ratio(both_x, (a_xLxF | b_xLxF).sum(axis=(-1, -2)))


def chance(a_LxF, b_LxF, layered: bool = False) -> tuple[float, float]:
    """What two random sets of the same sizes have in common: the expected number, and the probability of at least as many
    as `a` and `b` have. `layered`: of the same size in every layer; exact, by convolution over layers."""
    shared = int((a_LxF & b_LxF).sum())
    a_LxF, b_LxF = (a_LxF, b_LxF) if layered else (a_LxF.reshape(1, -1), b_LxF.reshape(1, -1))
    F, a_L, b_L = a_LxF.shape[1], a_LxF.sum(axis=1), b_LxF.sum(axis=1)
    expected = float((a_L * b_L / F).sum())
    if not layered:
        return expected, float(stats.hypergeom.sf(shared - 1, F, a_L[0], b_L[0]))
    mass, least = np.ones(1), 0
    for a, b in zip(a_L.tolist(), b_L.tolist(), strict=True):
        low, high = max(0, a + b - F), min(a, b)  # all that is possible
        mass = np.convolve(mass, stats.hypergeom.pmf(np.arange(low, high + 1), F, a, b))
        least += low
    return expected, float(min(1.0, mass[max(0, shared - least) :].sum()))


def _intersections(mask_SxxLxF):
    """Neurons that each two sets have in common: [..., S, S]."""
    S, *lead = mask_SxxLxF.shape[:-2]
    flat_xSxM = np.moveaxis(mask_SxxLxF.reshape(S, *lead, -1), 0, -2).astype(np.float32)  # exact below 2^24 neurons
    return flat_xSxM @ np.swapaxes(flat_xSxM, -1, -2)


def _jaccards(both_xSxS):
    size_xS = np.diagonal(both_xSxS, axis1=-2, axis2=-1)
    return statistics.ratio(both_xSxS, size_xS[..., None] + size_xS[..., None, :] - both_xSxS)


def overlap(mask_SxLxF) -> dict:
    """The overlap of every two of S sets of neurons.

    Returns:
      `intersection_SxS`, `jaccard_SxS` (NaN where both are empty); `expected_SxS` and `p_SxS` under random sets of the
      same sizes, `expected_layers_SxS` and `p_layers_SxS` under random sets of the same sizes in every layer (`chance`).
    """
    mask_SxLxF = np.asarray(mask_SxLxF, bool)
    both_SxS = _intersections(mask_SxLxF)
    plain, layered = (
        np.array([[chance(a_LxF, b_LxF, layers) for b_LxF in mask_SxLxF] for a_LxF in mask_SxLxF])
        for layers in (False, True)
    )
    return {
        "intersection_SxS": both_SxS.astype(np.int64),
        "jaccard_SxS": _jaccards(both_SxS),
        "expected_SxS": plain[..., 0],
        "p_SxS": plain[..., 1],
        "expected_layers_SxS": layered[..., 0],
        "p_layers_SxS": layered[..., 1],
    }


def changes(before_KxxLxF, after_KxxLxF) -> dict:
    """What became of the neurons of K languages: {kind: number [x]}.

    births: of no language before, of some after; deaths: the reverse; switches: of some language before and after, but
    not of the same ones; stays: of the same.
    """
    was_xLxF, is_xLxF = before_KxxLxF.any(axis=0), after_KxxLxF.any(axis=0)
    same_xLxF = (before_KxxLxF == after_KxxLxF).all(axis=0)
    masks = {
        "births": ~was_xLxF & is_xLxF,
        "deaths": was_xLxF & ~is_xLxF,
        "switches": was_xLxF & is_xLxF & ~same_xLxF,
        "stays": was_xLxF & same_xLxF,
    }
    return {kind: mask_xLxF.sum(axis=(-1, -2)) for kind, mask_xLxF in masks.items()}


def flows(before_KxLxF, after_KxLxF, languages) -> dict:
    """Neurons by their languages before and after: {(languages before, languages after): number}, each joined by commas
    ("" for none) in the order given; neurons without any before and after are left out. What a Sankey diagram shows."""
    pairs_Mx2K = np.concatenate([before_KxLxF, after_KxLxF]).reshape(2 * len(languages), -1).T
    kinds, number = np.unique(pairs_Mx2K[pairs_Mx2K.any(axis=1)], axis=0, return_counts=True)
    return {
        tuple(
            ",".join(name for name, member in zip(languages, half, strict=True) if member) for half in np.split(kind, 2)
        ): int(n)
        for kind, n in zip(kinds, number, strict=True)
    }


# --- rows ----------------------------------------------------------------------------------------------------------------


def _label(key: tuple) -> str:
    definition, language = key
    return f"{definition}:{language}"


def _row(metric: str, value, n, language: str = "", drawn_D=None, **options) -> dict:
    row = dict(probe="drift", language=language, metric=metric, value=float(value), n=int(n), options=options)
    if drawn_D is not None:
        (low,), (high,) = statistics.interval(np.asarray(drawn_D, np.float64).reshape(-1, 1))
        row |= dict(ci_low=float(low), ci_high=float(high))
    return row


def _setter(measured: dict, primary: str, new, definitions, fixed):
    """(names of sets, function (count_xLxFxK, tokens_xK, draws_x) -> mask_SxxLxF of the sets, options of rows)."""
    languages = list(measured["languages"])
    new = neurons.new_languages(languages, primary, new)
    definitions = neurons.check_definitions(definitions, languages)
    names = [("specific", name) for name in languages]
    names += [(definition, name) for name in new for definition in definitions]

    def sets(count_xLxFxK, tokens_xK, draws_x=None):
        chosen = neurons.selection(neurons.probabilities(count_xLxFxK, tokens_xK), fixed, draws_x)
        found = neurons.neuron_sets(chosen, languages, primary, definitions, new)
        return np.stack([found[name] for name in names])

    scope = neurons.scope_of(fixed)
    return names, sets, {"languages": ",".join(languages), "primary": primary, "threshold_scope": scope}


def _whole(measured: dict):
    return measured["active_RxLxFxK"].sum(axis=0), measured["tokens_RxK"].sum(axis=0)


def overlap_rows(
    measured: dict, primary: str, new=None, definitions=None, fixed: dict | None = None, draws: int = 200
) -> list[dict]:
    """The overlap of every two sets, of languages and of definitions, at one checkpoint: rows without run, seed and step.

    metrics: "overlap" (neurons in common) and "overlap_jaccard" with intervals; "overlap_expected", "overlap_p" and, for
    sets of the same size in every layer, "overlap_expected_layers", "overlap_p_layers". `options`: `a`, `b`, each
    "definition:language". n: neurons in either set. The p-values take the sets as given: one that is a part of the other
    by definition is far from chance for that reason.

    Args: as `neurons.count_rows`.
    """
    names, sets, options = _setter(measured, primary, new, definitions, fixed)
    mask_SxLxF = sets(*_whole(measured))
    drawn_DxSxS = np.concatenate(
        [
            _intersections(sets(count_BxLxFxK, tokens_BxK, draws_B))
            for draws_B, count_BxLxFxK, tokens_BxK in neurons.resampled(
                measured, statistics.shard_weights(len(measured["tokens_RxK"]), draws)
            )
        ]
    )
    drawn = {"intersection_SxS": drawn_DxSxS, "jaccard_SxS": _jaccards(drawn_DxSxS)}
    return _overlap_rows(names, mask_SxLxF, drawn, options)


def set_overlap_rows(sets: dict) -> list[dict]:
    """As `overlap_rows`, of any sets {(definition, language): mask_LxF}, such as those told by scores; no intervals."""
    return _overlap_rows(list(sets), np.stack(list(sets.values())), {}, {})


def _overlap_rows(names, mask_SxLxF, drawn: dict, options: dict) -> list[dict]:
    found = overlap(mask_SxLxF)
    metrics = {
        "overlap": "intersection_SxS",
        "overlap_jaccard": "jaccard_SxS",
        "overlap_expected": "expected_SxS",
        "overlap_p": "p_SxS",
        "overlap_expected_layers": "expected_layers_SxS",
        "overlap_p_layers": "p_layers_SxS",
    }
    return [
        _row(
            metric,
            found[part][a, b],
            (mask_SxLxF[a] | mask_SxLxF[b]).sum(),
            drawn_D=drawn[part][:, a, b] if part in drawn else None,
            a=_label(names[a]),
            b=_label(names[b]),
            **options,
        )
        for a in range(len(names))
        for b in range(a)
        for metric, part in metrics.items()
    ]


def drift_rows(
    measured_C, primary: str, new=None, definitions=None, fixed: dict | None = None, draws: int = 100
) -> list[list[dict]]:
    """What became of every set along the checkpoints of a run: a list of rows for each checkpoint, in their order.

    metrics: "births", "deaths", "switches", "stays" since the previous checkpoint, of all language-specific neurons
    (`set` "specific:") and of each set (which cannot switch); "flow": neurons by their languages before (`from`) and now
    (`to`); "jaccard_previous", "jaccard_first", "jaccard_last" of each set. n: neurons in the set now (at "flow": that
    moved or stayed). Intervals, but for "flow", resample the same shards at both checkpoints.

    Args:
      measured_C: of checkpoints with the same languages and held-out rows, in order; any sequence, each element is read
        once for a block of draws. Others as `neurons.count_rows`.
    """
    neurons.check_comparable(measured_C)
    languages = list(measured_C[0]["languages"])
    K, C = len(languages), len(measured_C)
    names, sets, options = _setter(measured_C[0], primary, new, definitions, fixed)

    def walk(sets_at):
        """{(metric, set): [x]} for each checkpoint, keeping no more than four checkpoints' masks at a time."""
        last_SxxLxF = sets_at(C - 1)
        first_SxxLxF = previous_SxxLxF = None
        for c in range(C):
            now_SxxLxF = last_SxxLxF if c == C - 1 else sets_at(c)
            first_SxxLxF = now_SxxLxF if c == 0 else first_SxxLxF
            found = {}
            if previous_SxxLxF is not None:
                groups = {("specific", ""): slice(0, K)} | {name: slice(s, s + 1) for s, name in enumerate(names)}
                for name, part in groups.items():
                    kinds = changes(previous_SxxLxF[part], now_SxxLxF[part])
                    if part != slice(0, K):
                        del kinds["switches"]
                    found |= {(kind, name): value for kind, value in kinds.items()}
            compared = {"previous": previous_SxxLxF, "first": first_SxxLxF, "last": last_SxxLxF}
            for s, name in enumerate(names):
                found |= {
                    (f"jaccard_{which}", name): jaccard(other[s], now_SxxLxF[s])
                    for which, other in compared.items()
                    if other is not None
                }
            yield c, found, previous_SxxLxF, now_SxxLxF
            previous_SxxLxF = now_SxxLxF

    shards = len(measured_C[0]["tokens_RxK"])
    weight_DxR = statistics.shard_weights(shards, draws)
    block = neurons.draws_at_a_time(measured_C[0])
    drawn_C = [{} for _ in range(C)]
    for start in range(0, draws, block):

        def sets_at(c, start=start):
            part = neurons.resampled(measured_C[c], weight_DxR[start : start + block])
            (draws_B, count_BxLxFxK, tokens_BxK), *_ = part
            return sets(count_BxLxFxK, tokens_BxK, start + draws_B)

        for c, found, _, _ in walk(sets_at):
            for key, value in found.items():
                drawn_C[c].setdefault(key, []).append(value)

    rows_C = []
    for c, found, before_SxLxF, now_SxLxF in walk(lambda c: sets(*_whole(measured_C[c]))):
        size = {name: now_SxLxF[s].sum() for s, name in enumerate(names)}
        size["specific", ""] = now_SxLxF[:K].any(axis=0).sum()
        rows = [
            _row(
                metric,
                value,
                size[name],
                name[1],
                np.concatenate(drawn_C[c][metric, name]),
                set=_label(name),
                **options,
            )
            for (metric, name), value in found.items()
        ]
        if before_SxLxF is not None:
            moved = flows(before_SxLxF[:K], now_SxLxF[:K], languages)
            rows += [
                _row("flow", value, sum(moved.values()), **{"from": was, "to": now}, **options)
                for (was, now), value in moved.items()
            ]
        rows_C.append(rows)
    return rows_C


def seed_rows(measured_S: dict, primary: str, new=None, definitions=None, draws: int = 100) -> list[dict]:
    """Jaccard index of every set between every two seeds at the same step: rows without run, seed and step.

    metrics: "jaccard_seeds" with an interval over shards, "jaccard_seeds_expected" (what random sets of the same size in
    every layer would have), `options`: `seeds`. Neuron j of one seed is neuron j of another only if both began from the
    same weights; from different ones chance is all there is to expect.

    Args:
      measured_S: seed -> from `forward.measure`. Others as `neurons.count_rows`.
    """
    seeds = sorted(measured_S)
    rows_SxS = []
    for index, a in enumerate(seeds):
        for b in seeds[index + 1 :]:
            neurons.check_comparable([measured_S[a], measured_S[b]])
            names, sets, options = _setter(measured_S[a], primary, new, definitions, None)
            options |= {"seeds": [a, b]}
            a_SxLxF, b_SxLxF = (sets(*_whole(measured_S[seed])) for seed in (a, b))
            weight_DxR = statistics.shard_weights(len(measured_S[a]["tokens_RxK"]), draws)
            blocks = zip(*(neurons.resampled(measured_S[seed], weight_DxR) for seed in (a, b)), strict=True)
            drawn_SxD = np.concatenate(
                [jaccard(*(sets(count, tokens) for _, count, tokens in pair)) for pair in blocks], axis=1
            )
            for s, name in enumerate(names):
                either = (a_SxLxF[s] | b_SxLxF[s]).sum()
                value = jaccard(a_SxLxF[s], b_SxLxF[s])
                common = dict(language=name[1], set=_label(name), **options)
                rows_SxS.append(_row("jaccard_seeds", value, either, drawn_D=drawn_SxD[s], **common))
                expected, _ = chance(a_SxLxF[s], b_SxLxF[s], layered=True)
                by_chance = statistics.ratio(expected, a_SxLxF[s].sum() + b_SxLxF[s].sum() - expected)
                rows_SxS.append(_row("jaccard_seeds_expected", by_chance, either, **common))
    return rows_SxS


# --- how many tokens ---------------------------------------------------------------------------------------------------------


def tokens_curve(measured: dict, sets, orders: int = 20, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """How like the full stream's selection that of its first shards is, in random orders of the shards.

    Args:
      sets: function (count_xLxFxK, tokens_xK) -> mask_SxxLxF.

    Returns:
      `(tokens_xR, jaccard_SxOxR)`: tokens of all languages in the first 1 … R shards, a mean over orders, and the Jaccard
      index with the full stream's in each order. NaN where a language has no token yet or both sets are empty.
    """
    shards = len(measured["tokens_RxK"])
    rng = np.random.default_rng(seed)
    place_OxR = np.stack([rng.permutation(shards) for _ in range(orders)])
    taken_OxRxR = place_OxR[:, None, :] <= np.arange(shards)[:, None]  # [order, shards so far, shard]
    full_SxLxF = sets(*_whole(measured))
    jaccard_SxOR = np.full((len(full_SxLxF), orders * shards), np.nan)
    weight = taken_OxRxR.reshape(-1, shards).astype(np.int64)
    for draws_B, count_BxLxFxK, tokens_BxK in neurons.resampled(measured, weight):
        if len(draws_B):
            jaccard_SxOR[:, draws_B] = jaccard(sets(count_BxLxFxK, tokens_BxK), full_SxLxF[:, None])
    tokens_R = (weight @ measured["tokens_RxK"].sum(axis=1)).reshape(orders, shards).mean(axis=0)
    return tokens_R, jaccard_SxOR.reshape(-1, orders, shards)


def tokens_rows(
    measured: dict, primary: str, new=None, definitions=None, fixed: dict | None = None, orders: int = 20
) -> list[dict]:
    """Whether the held-out tokens were enough: rows without run, seed and step, for each set.

    metrics: "jaccard_fraction": mean Jaccard index between the selection from a `fraction` of the shards and the full one,
    over random orders of the shards, n: tokens, interval: the orders'; "jaccard_half": the same at one half; "tokens_needed":
    the fewest tokens from which on the mean is at least `STABLE`, n: all tokens. It is NaN when only the full stream itself
    reaches that, or the set is empty: then measure more held-out text. A part of the stream is compared with a whole that
    contains it, so this is the most optimistic reading.

    Args: as `neurons.count_rows`.

    Raises:
      UserError: fewer than two shards.
    """
    shards = len(measured["tokens_RxK"])
    if shards < 2:
        raise UserError(
            "one shard of held-out rows cannot be divided; use a smaller probe batch, or more held-out rows."
        )
    names, sets, options = _setter(measured, primary, new, definitions, fixed)
    tokens_R, jaccard_SxOxR = tokens_curve(measured, sets, orders)
    rows = []
    for name, jaccard_OxR in zip(names, jaccard_SxOxR, strict=True):
        defined_OxR = ~np.isnan(jaccard_OxR)
        mean_R = statistics.ratio(np.where(defined_OxR, jaccard_OxR, 0).sum(axis=0), defined_OxR.sum(axis=0))
        common = dict(language=name[1], set=_label(name), orders=orders, **options)
        kept = sorted({max(1, round(fraction * shards)) for fraction in FRACTIONS})
        rows += [
            _row(
                "jaccard_fraction",
                mean_R[m - 1],
                tokens_R[m - 1],
                drawn_D=jaccard_OxR[:, m - 1],
                fraction=m / shards,
                **common,
            )
            for m in kept
        ]
        half = shards // 2
        rows.append(
            _row("jaccard_half", mean_R[half - 1], tokens_R[half - 1], drawn_D=jaccard_OxR[:, half - 1], **common)
        )
        short_R = ~(mean_R >= STABLE)
        enough = 0 if not short_R.any() else int(np.flatnonzero(short_R)[-1]) + 1
        needed = tokens_R[enough] if enough < shards - 1 else np.nan
        rows.append(_row("tokens_needed", needed, tokens_R[-1], jaccard=STABLE, **common))
    return rows

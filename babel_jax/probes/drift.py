"""How sets of neurons overlap, between languages, definitions, checkpoints and seeds, and how many tokens they need.

A set is a mask of neurons [L, F]; which sets there are is `definitions.neuron_sets`. Overlap is compared with chance: two sets
of their sizes drawn at random, out of all neurons (hypergeometric), or in every layer as many as they have there (the sum
of one hypergeometric a layer), because two sets that prefer the same layers overlap by that alone.

Intervals resample shards of held-out rows, the same ones for all checkpoints. A resampled selection is
noisier than the one that is measured, and of two equal sets the noise can only lower the Jaccard index: the interval of a
Jaccard index near 1 may lie below it. `tokens_rows` says how much of that there is.

Letters as in `lape.py`; S sets, C checkpoints.
"""

import numpy as np
from scipy import stats

from babel_jax.common import statistics
from babel_jax.common.errors import UserError
from babel_jax.probes import lape
from babel_jax.probes.definitions import definitions_by_counts, neuron_sets
from babel_jax.probes.lape import Counts, new_languages
from babel_jax.probes.thresholds import PER_CHECKPOINT, Scope, check_comparable, select

FRACTIONS = tuple(n / 20 for n in range(1, 21))  # of the shards
STABLE = 0.95  # the Jaccard index from which on a selection counts as the full stream's


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


class _Sets:
    """All sets of neurons that counts define, in a fixed order: their names, and what their rows have in common."""

    def __init__(self, counts: Counts, primary: str, scope: Scope):
        self.languages, self.primary, self.scope = list(counts.languages), primary, scope
        self.names = [("specific", name) for name in self.languages]
        for language in new_languages(self.languages, primary):
            self.names += [(definition.name, language) for definition in definitions_by_counts(self.languages)]
        self.options = {"languages": ",".join(self.languages), "primary": primary, "threshold_scope": scope.name}
        self.options |= counts.rule

    def __call__(self, count_xLxFxK, tokens_xK, draws_x=None):
        """mask_SxxLxF of the sets."""
        selection = select(lape.probabilities(count_xLxFxK, tokens_xK), self.scope, draws_x)
        sets = neuron_sets(selection, self.languages, self.primary)
        return np.stack([sets[name] for name in self.names])


def layer_rows(before: dict | None, now: dict, language: str) -> list[dict]:
    """Neurons of a language's sets in each layer: "size", and from the second checkpoint on "births" and "deaths" since the
    checkpoint before. Rows without run, seed and step; `set`: "definition:language"; n: neurons of the layer.

    Args:
      before, now: definition -> mask [L, F].
    """
    rows = []
    for definition, now_LxF in now.items():
        numbers = {"size": now_LxF.sum(axis=1)}
        if before is not None:  # every layer as a set of its own
            changed = changes(before[definition][None, :, None], now_LxF[None, :, None])
            numbers |= {kind: changed[kind] for kind in ("births", "deaths")}
        for metric, number_L in numbers.items():
            for layer, number in enumerate(number_L, start=1):
                row = _row(metric, number, now_LxF.shape[1], language, set=_label((definition, language)))
                rows.append(row | {"layer": layer})
    return rows


def overlap_rows(counts: Counts, primary: str, draws: int = 200) -> list[dict]:
    """The overlap of every two sets, of languages and of definitions, at one checkpoint: rows without run, seed and step.

    metrics: "overlap" (neurons in common) and "overlap_jaccard" with intervals; "overlap_expected", "overlap_p" and, for
    sets of the same size in every layer, "overlap_expected_layers", "overlap_p_layers". `options`: `a`, `b`, each
    "definition:language". n: neurons in either set. The p-values take the sets as given: one that is a part of the other
    by definition is far from chance for that reason.
    """
    sets = _Sets(counts, primary, PER_CHECKPOINT)
    weight_DxR = statistics.shard_weights(len(counts.tokens_RxK), draws)
    drawn_DxSxS = np.concatenate(
        [
            _intersections(sets(count_BxLxFxK, tokens_BxK, draws_B))
            for draws_B, count_BxLxFxK, tokens_BxK in lape.resampled(counts, weight_DxR)
        ]
    )
    drawn = {"intersection_SxS": drawn_DxSxS, "jaccard_SxS": _jaccards(drawn_DxSxS)}
    return _overlap_rows(sets.names, sets(*counts.whole()), drawn, sets.options)


def _overlap_rows(names, mask_SxLxF, drawn: dict, options: dict) -> list[dict]:
    pairs = overlap(mask_SxLxF)
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
            pairs[part][a, b],
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


def drift_rows(counts_C, primary: str, scope: Scope = PER_CHECKPOINT, draws: int = 100) -> list[list[dict]]:
    """What became of every set along the checkpoints of a run: a list of rows for each checkpoint, in their order.

    metrics: "size" and, since the previous checkpoint, "births", "deaths", "switches", "stays" of all language-specific
    neurons (`set` "specific:") and of each set (which cannot switch), n: all neurons there are; "flow": neurons by their
    languages before (`from`) and now (`to`), n: that moved or stayed; "jaccard_previous", "jaccard_first", "jaccard_last" of
    each set, n: neurons in it now. Intervals, but for "flow", resample the same shards at both checkpoints.

    Args:
      counts_C: of checkpoints with the same languages and held-out rows, in order; any sequence, each element is read
        once for a block of draws.
    """
    check_comparable(counts_C)
    sets, C = _Sets(counts_C[0], primary, scope), len(counts_C)
    weight_DxR = statistics.shard_weights(len(counts_C[0].tokens_RxK), draws)
    block = lape.draws_at_a_time(counts_C[0])
    drawn_C = [{} for _ in range(C)]
    for start in range(0, draws, block):

        def sets_at(c, start=start):
            ((draws_B, count_BxLxFxK, tokens_BxK),) = lape.resampled(counts_C[c], weight_DxR[start : start + block])
            return sets(count_BxLxFxK, tokens_BxK, start + draws_B)

        for c, (numbers, _, _) in enumerate(_along(sets, C, sets_at)):
            for key, value in numbers.items():
                drawn_C[c].setdefault(key, []).append(value)

    rows_C = []
    for c, (numbers, before_SxLxF, now_SxLxF) in enumerate(_along(sets, C, lambda c: sets(*counts_C[c].whole()))):
        in_set = {name: now_SxLxF[s].sum() for s, name in enumerate(sets.names)}
        rows = []
        for (metric, name), value in numbers.items():
            n = in_set[name] if metric.startswith("jaccard") else now_SxLxF[0].size
            drawn_D = np.concatenate(drawn_C[c][metric, name])
            rows.append(_row(metric, value, n, name[1], drawn_D, set=_label(name), **sets.options))
        if before_SxLxF is not None:
            K = len(sets.languages)
            moved = flows(before_SxLxF[:K], now_SxLxF[:K], sets.languages)
            rows += [
                _row("flow", value, sum(moved.values()), **{"from": was, "to": now}, **sets.options)
                for (was, now), value in moved.items()
            ]
        rows_C.append(rows)
    return rows_C


def _along(sets: _Sets, C: int, sets_at):
    """Yields ({(metric, set): [x]}, mask before or None, mask now) of each checkpoint, from `sets_at(c)` -> mask_SxxLxF.

    No more than four checkpoints' masks are kept at a time.
    """
    all_languages = slice(0, len(sets.languages))
    groups = {("specific", ""): all_languages} | {name: slice(s, s + 1) for s, name in enumerate(sets.names)}
    last_SxxLxF = sets_at(C - 1)
    first_SxxLxF = before_SxxLxF = None
    for c in range(C):
        now_SxxLxF = last_SxxLxF if c == C - 1 else sets_at(c)
        first_SxxLxF = now_SxxLxF if c == 0 else first_SxxLxF
        numbers = {}
        for name, part in groups.items():
            numbers["size", name] = now_SxxLxF[part].any(axis=0).sum(axis=(-1, -2))
            kinds = {} if before_SxxLxF is None else changes(before_SxxLxF[part], now_SxxLxF[part])
            if part != all_languages:
                kinds.pop("switches", None)
            numbers |= {(kind, name): value for kind, value in kinds.items()}
        compared = {"previous": before_SxxLxF, "first": first_SxxLxF, "last": last_SxxLxF}
        for s, name in enumerate(sets.names):
            numbers |= {
                (f"jaccard_{which}", name): jaccard(other[s], now_SxxLxF[s])
                for which, other in compared.items()
                if other is not None
            }
        yield numbers, before_SxxLxF, now_SxxLxF
        before_SxxLxF = now_SxxLxF


def seed_rows(counts_S: dict[int, Counts], primary: str, draws: int = 100) -> list[dict]:
    """Jaccard index of every set between every two seeds at the same step: rows without run, seed and step.

    metrics: "jaccard_seeds" with an interval over shards, "jaccard_seeds_expected" (what random sets of the same size in
    every layer would have), `options`: `seeds`. Neuron j of one seed is neuron j of another only if both began from the
    same weights; from different ones chance is all there is to expect.

    `counts_S`: by seed.
    """
    seeds = sorted(counts_S)
    rows = []
    for index, a in enumerate(seeds):
        for b in seeds[index + 1 :]:
            check_comparable([counts_S[a], counts_S[b]])
            sets = _Sets(counts_S[a], primary, PER_CHECKPOINT)
            a_SxLxF, b_SxLxF = (sets(*counts_S[seed].whole()) for seed in (a, b))
            weight_DxR = statistics.shard_weights(len(counts_S[a].tokens_RxK), draws)
            blocks = zip(*(lape.resampled(counts_S[seed], weight_DxR) for seed in (a, b)), strict=True)
            drawn_SxD = np.concatenate(
                [jaccard(*(sets(count, tokens) for _, count, tokens in pair)) for pair in blocks], axis=1
            )
            for s, name in enumerate(sets.names):
                either = (a_SxLxF[s] | b_SxLxF[s]).sum()
                common = dict(language=name[1], set=_label(name), seeds=[a, b], **sets.options)
                rows.append(
                    _row("jaccard_seeds", jaccard(a_SxLxF[s], b_SxLxF[s]), either, drawn_D=drawn_SxD[s], **common)
                )
                expected, _ = chance(a_SxLxF[s], b_SxLxF[s], layered=True)
                by_chance = statistics.ratio(expected, a_SxLxF[s].sum() + b_SxLxF[s].sum() - expected)
                rows.append(_row("jaccard_seeds_expected", by_chance, either, **common))
    return rows


# --- how many tokens ---------------------------------------------------------------------------------------------------------


def tokens_curve(counts: Counts, sets, orders: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """How like the full stream's selection that of its first shards is, in random orders of the shards.

    Args:
      sets: function (count_xLxFxK, tokens_xK) -> mask_SxxLxF.

    Returns:
      `(tokens_xR, jaccard_SxOxR)`: tokens of all languages in the first 1 … R shards, a mean over orders, and the Jaccard
      index with the full stream's in each order. NaN where a language has no token yet or both sets are empty.
    """
    shards = len(counts.tokens_RxK)
    rng = np.random.default_rng(0)
    place_OxR = np.stack([rng.permutation(shards) for _ in range(orders)])
    taken_OxRxR = place_OxR[:, None, :] <= np.arange(shards)[:, None]  # [order, shards so far, shard]
    full_SxLxF = sets(*counts.whole())
    jaccard_SxOR = np.full((len(full_SxLxF), orders * shards), np.nan)
    weight = taken_OxRxR.reshape(-1, shards).astype(np.int64)
    for draws_B, count_BxLxFxK, tokens_BxK in lape.resampled(counts, weight):
        if len(draws_B):
            jaccard_SxOR[:, draws_B] = jaccard(sets(count_BxLxFxK, tokens_BxK), full_SxLxF[:, None])
    tokens_R = (weight @ counts.tokens_RxK.sum(axis=1)).reshape(orders, shards).mean(axis=0)
    return tokens_R, jaccard_SxOR.reshape(-1, orders, shards)


def tokens_rows(counts: Counts, primary: str) -> list[dict]:
    """Whether the held-out tokens were enough: rows without run, seed and step, for each set.

    metrics: "jaccard_fraction": mean Jaccard index between the selection from a `fraction` of the shards and the full one,
    over random orders of the shards, n: tokens, interval: the orders'; "jaccard_half": the same at one half; "tokens_needed":
    the fewest tokens from which on the mean is at least `STABLE`, n: all tokens. It is NaN when only the full stream itself
    reaches that, or the set is empty: then measure more held-out text. A part of the stream is compared with a whole that
    contains it, so this is the most optimistic reading.

    Raises:
      UserError: fewer than two shards.
    """
    shards = len(counts.tokens_RxK)
    if shards < 2:
        raise UserError(
            "one shard of held-out rows cannot be divided; use a smaller probe batch, or more held-out rows."
        )
    sets = _Sets(counts, primary, PER_CHECKPOINT)
    tokens_R, jaccard_SxOxR = tokens_curve(counts, sets)
    half, kept = shards // 2, sorted({max(1, round(fraction * shards)) for fraction in FRACTIONS})
    rows = []
    for name, jaccard_OxR in zip(sets.names, jaccard_SxOxR, strict=True):
        defined_OxR = ~np.isnan(jaccard_OxR)
        mean_R = statistics.ratio(np.where(defined_OxR, jaccard_OxR, 0).sum(axis=0), defined_OxR.sum(axis=0))
        common = dict(language=name[1], set=_label(name), orders=len(jaccard_OxR), **sets.options)

        def at(metric, m, mean_R=mean_R, jaccard_OxR=jaccard_OxR, common=common, **more):
            return _row(metric, mean_R[m - 1], tokens_R[m - 1], drawn_D=jaccard_OxR[:, m - 1], **more, **common)

        rows += [at("jaccard_fraction", m, fraction=m / shards) for m in kept] + [at("jaccard_half", half)]
        short_R = ~(mean_R >= STABLE)
        enough = 0 if not short_R.any() else int(np.flatnonzero(short_R)[-1]) + 1
        needed = tokens_R[enough] if enough < shards - 1 else np.nan
        rows.append(_row("tokens_needed", needed, tokens_R[-1], jaccard=STABLE, **common))
    return rows

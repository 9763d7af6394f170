"""Logit lens and working language: which language's identifier a layer would write, where one must come.

The lens reads the residual stream after each block through the model's own last norm, head and cap on logits. The norm's
statistics are those of the layer at hand; the last layer therefore gives the model's own logits, whatever its family.
Beside every share stands that of other pairs' identifiers at the same prompts (`other_pairs.py`); where names in more than two
languages are known, each has a share. Letters as in `model/decoder.py`; C candidate tokens, O more of which only the probability
is read, N slots, M tokens of an identifier's set, J other pairs, K languages.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from babel_jax.common import statistics
from babel_jax.common.errors import UserError, unknown_name
from babel_jax.model.protocol import Model
from babel_jax.probes import other_pairs, slot_names
from babel_jax.probes.prompts import SIDES, identifier_set
from babel_jax.probes.slot_names import Names

TOPK = (5, 10)


class Asked(NamedTuple):
    """Candidates of which all is read, and others of which only the probability is: a rank compares with all the vocabulary.

    Attributes:
      ranked_BxPxC, unranked_BxPxO: token ids; -1 where there is none.
    """

    ranked_BxPxC: np.ndarray | jax.Array
    unranked_BxPxO: np.ndarray | jax.Array


def translate(h_BxPxD, A_DxD, b_D):
    """A tuned lens' translator, h + h A + b, in float32: with A = 0 and b = 0 it returns h bit for bit."""
    h32 = h_BxPxD.astype(jnp.float32)
    return (h32 + h32 @ A_DxD + b_D).astype(h_BxPxD.dtype)


def read_candidates(params, model: Model, residual_LxBxPxD, asked, mesh=None, translators=None) -> dict:
    """What the lens says about candidate tokens, layer after layer, so that one layer's logits exist at a time.

    With a mesh the output embedding is gathered once, not once a layer.

    Args:
      asked: token ids [B, P, C], -1 where there is none; or `Asked`.
      translators: `A_LxDxD`, `b_LxD` of `tuned_lens.train`; None: the logit lens.

    Returns:
      `log_prob_LxBxPxC` (nats; -inf where there is no candidate), `rank_LxBxPxC` (tokens that come before the
      candidate, 0 for the most probable one, V where there is none; among equals the lower id comes first, as in
      argmax), `argmax_LxBxP` (token ids), `logsumexp_LxBxP` of the logits and `entropy_LxBxP` (nats); of `Asked` also
      `unranked_log_prob_LxBxPxO`.
    """
    candidate_BxPxC, unranked_BxPxO = asked if isinstance(asked, Asked) else (asked, None)
    logits_of = model.readout(params, mesh)
    given_BxPxC = candidate_BxPxC >= 0
    id_BxPxC = jnp.where(given_BxPxC, candidate_BxPxC, 0)

    def one_layer(layer):
        h_BxPxD = layer["h"] if translators is None else translate(layer["h"], layer["A"], layer["b"])
        logits_BxPxV = logits_of(h_BxPxD)
        logsumexp_BxP = jax.nn.logsumexp(logits_BxPxV, axis=-1)
        candidates_BxPxC = jnp.take_along_axis(logits_BxPxV, id_BxPxC, axis=-1)
        surprise_BxPxV = logsumexp_BxP[..., None] - logits_BxPxV
        unranked = {}
        if unranked_BxPxO is not None:
            values_BxPxO = jnp.take_along_axis(logits_BxPxV, jnp.maximum(unranked_BxPxO, 0), axis=-1)
            log_prob_BxPxO = jnp.where(unranked_BxPxO >= 0, values_BxPxO - logsumexp_BxP[..., None], -jnp.inf)
            unranked["unranked_log_prob_LxBxPxO"] = log_prob_BxPxO
        return unranked | {
            "log_prob_LxBxPxC": jnp.where(given_BxPxC, candidates_BxPxC - logsumexp_BxP[..., None], -jnp.inf),
            "rank_LxBxPxC": jnp.where(given_BxPxC, _ranks(logits_BxPxV, candidates_BxPxC, id_BxPxC), model.vocab_size),
            "argmax_LxBxP": jnp.argmax(logits_BxPxV, axis=-1).astype(jnp.int32),
            "logsumexp_LxBxP": logsumexp_BxP,
            "entropy_LxBxP": (jnp.exp(-surprise_BxPxV) * surprise_BxPxV).sum(axis=-1),
        }

    layers = {"h": residual_LxBxPxD}
    if translators is not None:
        layers |= {"A": translators["A_LxDxD"], "b": translators["b_LxD"]}
    return jax.lax.map(one_layer, layers)


def _ranks(logits_BxPxV, candidates_BxPxC, id_BxPxC):
    """How many tokens come before each candidate, one candidate at a time: B x P x C x V never exists."""
    token_V = jnp.arange(logits_BxPxV.shape[-1])

    def one_candidate(candidate):
        value_BxPx1, id_BxPx1 = (x_BxP[..., None] for x_BxP in candidate)
        before = (logits_BxPxV > value_BxPx1) | ((logits_BxPxV == value_BxPx1) & (token_V < id_BxPx1))
        return before.sum(axis=-1, dtype=jnp.int32)

    rank_CxBxP = jax.lax.map(one_candidate, (jnp.moveaxis(candidates_BxPxC, -1, 0), jnp.moveaxis(id_BxPxC, -1, 0)))
    return jnp.moveaxis(rank_CxBxP, 0, -1)


def slot_candidates(slots: dict) -> np.ndarray:
    """The candidates of each slot, int32 [N, 2 M]: the primary's set, then the new language's, each -1 padded to M."""
    sets = [identifier_set(slots, side) for side in SIDES]
    M = max(ids_NxM.shape[1] for ids_NxM in sets)
    return np.concatenate(
        [np.pad(ids_NxM, ((0, 0), (0, M - ids_NxM.shape[1])), constant_values=-1) for ids_NxM in sets], axis=1
    )


@dataclasses.dataclass(frozen=True, eq=False)
class SlotReadings:
    """What was read at the slots of one language, layer after layer; the first block is layer 0 of axis L.

    Attributes:
      primary_log_prob_LxN, new_log_prob_LxN: nats; the log of the summed probability of the identifier's set.
      primary_rank_LxN, new_rank_LxN: the rank of the set's most probable token, 0 for the most probable of all.
      argmax_LxN, logsumexp_LxN, entropy_LxN: of the whole distribution, see `read_candidates`. These and the ranks are None
        where whole identifiers of several tokens are read.
      other_log_prob_LxNxJx2: of the primary's and the new language's identifier of other pairs (`slot_names.pair_names`).
      name_log_prob_LxNxK, other_name_log_prob_LxNxJxK: of the names in all languages, and of other pairs'
        (`slot_names.language_names`). These three are None where they were not read.
      ffn_LxNxF, residual_LxNxD, sentence_LxNxD: None unless they were asked for.
    """

    argmax_LxN: np.ndarray | None = None
    entropy_LxN: np.ndarray | None = None
    ffn_LxNxF: np.ndarray | None = None
    logsumexp_LxN: np.ndarray | None = None
    residual_LxNxD: np.ndarray | None = None
    sentence_LxNxD: np.ndarray | None = None
    primary_log_prob_LxN: np.ndarray | None = None
    primary_rank_LxN: np.ndarray | None = None
    new_log_prob_LxN: np.ndarray | None = None
    new_rank_LxN: np.ndarray | None = None
    other_log_prob_LxNxJx2: np.ndarray | None = None
    name_log_prob_LxNxK: np.ndarray | None = None
    other_name_log_prob_LxNxJxK: np.ndarray | None = None


def slot_readings(raw: dict, slots: dict) -> SlotReadings:
    """What the lens says about the identifiers of each slot, from what it says about its candidates.

    `raw`: `log_prob_LxNxC`, `rank_LxNxC`, of which the first C are those of `slot_candidates`; `unranked_log_prob_LxNxO`, where
    `slot_names.unranked_candidates` were read; the rest is passed on.
    """
    read = ("log_prob_LxNxC", "rank_LxNxC", "unranked_log_prob_LxNxO")
    fields = {name: values for name, values in raw.items() if name not in read}
    if read[2] in raw:
        fields |= slot_names.readings(np.asarray(raw[read[2]]), slots)
    log_prob_LxNxC, rank_LxNxC = np.asarray(raw["log_prob_LxNxC"]), np.asarray(raw["rank_LxNxC"])
    M = slot_candidates(slots).shape[1] // 2
    for side, chosen in (("primary", slice(0, M)), ("new", slice(M, 2 * M))):
        fields[f"{side}_log_prob_LxN"] = slot_names.log_sum(log_prob_LxNxC[..., chosen])
        fields[f"{side}_rank_LxN"] = rank_LxNxC[..., chosen].min(axis=-1)
    return SlotReadings(**fields)


def chosen_layers(layers, count: int) -> list[int]:
    """The layers (1 is the first block) of a choice: "inner" (1 to L - 1), "middle" (L/4 to 3 L/4) or a list of them.

    A model of one layer has no inner one: both names then mean its only layer (the rows say which layers they hold).

    Raises:
      UserError: an unknown name, no layer, or one that the model lacks.
    """
    if isinstance(layers, str):
        named = {"inner": range(1, count), "middle": range(max(1, -(-count // 4)), 3 * count // 4 + 1)}
        if layers not in named:
            raise unknown_name("choice of layers", layers, named)
        return list(named[layers]) or [count]
    chosen = sorted(set(layers))
    if not chosen or chosen[0] < 1 or chosen[-1] > count:
        raise UserError(f"layers {list(layers)} are not layers of this model; choose from 1 to {count}.")
    return chosen


def layers_text(layers: list[int]) -> str:
    """A choice of layers as in the options of a row: "1..3", "2", "1,3"."""
    if len(layers) > 1 and layers == list(range(layers[0], layers[-1] + 1)):
        return f"{layers[0]}..{layers[-1]}"
    return ",".join(map(str, layers))


def working_language(readings: SlotReadings, slots: dict, language: str, layers="inner") -> list[dict]:
    """The primary language's share of what the layers would write where an identifier must come (paper section 3.2).

    Readings of "share of identifiers", A the primary's identifier and B the new language's (each a set of tokens; its
    probability is the sum over the set, it is hit by any of its tokens):
      primary_share_prob: mean of p(A) / (p(A) + p(B));
      primary_share_pair: share of slots with p(A) > p(B);
      primary_share_argmax: A's share among the slots whose most probable token is in A or B; argmax_coverage says how
        many slots those are;
      primary_share_top5, …: A's share among the slots with a token of A or B among the 5 most probable: the more
        probable of those decides; top5_coverage says how many slots those are.
    and, where other pairs' identifiers were read at the same prompts (`other_pairs.py`), over the slots that have some:
      primary_share_others, primary_share_others_prob: pair and prob of the other pairs' identifiers;
      concept_share, concept_share_prob: pair and prob of the right identifiers minus those. 0: the share says what the
        layer likes to write, whatever it is asked for.
    With names in more than two languages, each in options {"identifier": LANGUAGE}, over the slots where all are known and
    no token stands for two:
      language_share_prob: mean of p(its name) / p(a name in any language): they sum to 1;
      language_share_first: share of slots where its name is more probable than those in all other languages;
      language_share_others, language_concept_share: of language_share_first, as above.
    Each as a curve (probe "lens", a row a layer) and as a number (probe "working_language": numerators and denominators
    are summed over slots and chosen layers), per subset of slots. `entropy` (bits, probe "lens") is the
    mean over the same slots. Slots where no token distinguishes the languages say nothing and are left out.

    Args:
      readings: what is None there gets no rows.
      slots: `primary_id`, `new_id` [N] or `primary_ids`, `new_ids` [N, M] (of whole identifiers `primary_sequence`,
        `new_sequence`, see `prompts.py`), `pair`, `prompt`, `subset` (0 shared, 1 transfer), each [N].
      language: the language of the prompts.
      layers: of the number: "inner", "middle" or a list (see `chosen_layers`).

    Returns:
      Measurement rows without run, seed and step; intervals by resampling pairs, then prompts: few pairs, wide
      intervals. A share of no slots is NaN with n = 0; n of a number counts slots times layers.
    """
    shares, ranked = _shares(readings, slots), _ranked_shares(readings)
    entropy = {}
    if readings.entropy_LxN is not None:
        bits_LxN = np.asarray(readings.entropy_LxN, np.float64) / np.log(2)
        entropy["entropy"] = (bits_LxN, np.ones_like(bits_LxN))
    chosen = chosen_layers(layers, len(readings.primary_log_prob_LxN))
    index = np.array(chosen) - 1
    curves = {"probe": "lens", "language": language}
    number, pooled = {"probe": "working_language", "language": language}, {"layers": layers_text(chosen)}
    kept_N = distinguished(slots, whole=readings.argmax_LxN is None)
    return (
        _curve_rows(shares, kept_N, slots, curves)
        # Each group is summed by itself: another group beside it must not change the last digit of its numbers.
        + _curve_rows(ranked | entropy, kept_N, slots, curves)
        + _rows(_pooled(shares | ranked, index), kept_N, slots, number, [-1], pooled)
        + _beside_rows(readings, slots, curves)
        + _beside_rows(readings, slots, number, index, pooled)
    )


def _pooled(parts: dict, index) -> dict:
    """Numerators and denominators summed over layers, [1, N] each."""
    return {
        metric: tuple(values_LxN[index].sum(axis=0, keepdims=True, dtype=np.float64) for values_LxN in both)
        for metric, both in parts.items()
    }


def share_curves(readings: SlotReadings, slots: dict, language: str) -> list[dict]:
    """Of `working_language` what the report of a study shows: prob, pair and argmax with its coverage in each layer, and what
    stands beside pair and prob, over the slots that the new language's own corpus explains, where there are others as well."""
    about = {"probe": "lens", "language": language}
    kept_N = distinguished(slots, whole=readings.argmax_LxN is None)
    rows = _curve_rows(_shares(readings, slots), kept_N, slots, about) + _beside_rows(readings, slots, about)
    subsets = {row["options"]["subset"] for row in rows}
    return [row for row in rows if row["options"]["subset"] == ("shared" if "shared" in subsets else "all")]


def _curve_rows(parts, kept_N, slots, about: dict, options=None) -> list[dict]:
    layers = len(next(iter(parts.values()))[0]) if parts else 0
    return _rows(parts, kept_N, slots, about, range(1, layers + 1), options)


def _rows(parts, kept_N, slots, about: dict, layers, options=None) -> list[dict]:
    """Rows of the shares `parts`, [places, N] each, per subset of the slots `kept_N`; `layers`: of the places."""
    if not kept_N.any() or not parts:
        return []
    subset_N = np.asarray(slots["subset"])
    subsets = {"all": kept_N}
    if len(np.unique(subset_N)) > 1:
        subsets |= {"shared": kept_N & (subset_N == 0), "transfer": kept_N & (subset_N == 1)}
    cluster_N, weight_DxC = statistics.two_level_weights(slots["pair"], slots["prompt"])
    return [
        about | {"layer": layers[place], "metric": metric} | share | {"options": {"subset": subset} | (options or {})}
        for subset, kept_N in subsets.items()
        for metric, place, share in _intervals(parts, kept_N, cluster_N, weight_DxC)
    ]


def distinguished(slots, whole):
    """[N]: both languages have an identifier here, and no token of one's set (no whole identifier) is the other's."""
    if whole and "primary_sequence" in slots:
        primary_NxS, new_NxS = slots["primary_sequence"], slots["new_sequence"]
        return (primary_NxS[:, 0] >= 0) & (new_NxS[:, 0] >= 0) & (primary_NxS != new_NxS).any(axis=1)
    return slot_names.distinct([identifier_set(slots, side) for side in SIDES])


def _shares(readings: SlotReadings, slots):
    """metric -> (numerator, denominator), [L, N] each; a share is the ratio of their sums."""
    with np.errstate(invalid="ignore"):  # -inf - -inf, where neither language has an identifier
        log_odds_LxN = np.asarray(readings.primary_log_prob_LxN, np.float64) - readings.new_log_prob_LxN
    ones_LxN = np.ones_like(log_odds_LxN)
    parts = {
        "primary_share_prob": (1 / (1 + np.exp(-np.clip(log_odds_LxN, -700, 700))), ones_LxN),
        "primary_share_pair": (log_odds_LxN > 0, ones_LxN),
    }
    if readings.argmax_LxN is not None:
        argmax_LxN = np.asarray(readings.argmax_LxN)
        is_primary_LxN, is_new_LxN = (
            (argmax_LxN[..., None] == identifier_set(slots, side)).any(axis=-1) for side in SIDES
        )
        parts["primary_share_argmax"] = (is_primary_LxN, is_primary_LxN | is_new_LxN)
        parts["argmax_coverage"] = (is_primary_LxN | is_new_LxN, ones_LxN)
    return parts


def _beside_rows(readings: SlotReadings, slots, about: dict, index=None, options=None) -> list[dict]:
    """What stands beside the shares: other pairs' identifiers, and names in more than two languages.

    `index`: of the layers that are summed over; None: a row a layer.
    """
    rows = []
    for kept_N, parts, own in _beside(readings, slots):
        more = (options or {}) | own
        if index is None:
            rows += _curve_rows(parts, kept_N, slots, about, more)
        else:
            rows += _rows(_pooled(parts, index), kept_N, slots, about, [-1], more)
    return rows


def _beside(readings: SlotReadings, slots):
    """Yields `(kept_N, {metric: (numerator, denominator)}, options)`."""
    if readings.other_log_prob_LxNxJx2 is not None:
        pair = slot_names.pair_names(slots)
        own_LxNx2 = np.stack([readings.primary_log_prob_LxN, readings.new_log_prob_LxN], axis=-1)
        parts = {}
        for how, suffix in ((_first, ""), (_odds, "_prob")):
            names = f"primary_share_others{suffix}", f"concept_share{suffix}"
            parts |= _compared(pair, names, how(own_LxNx2, 0), how(readings.other_log_prob_LxNxJx2, 0))
        if parts:
            yield pair.distinct_N & pair.others.compared_N, parts, {}
    if readings.name_log_prob_LxNxK is not None:
        names = slot_names.language_names(slots)
        for k, language in enumerate(names.languages):
            first_LxN, prob_LxN = (how(readings.name_log_prob_LxNxK, k) for how in (_first, _odds))
            ones_LxN, others = np.ones(first_LxN.shape), _first(readings.other_name_log_prob_LxNxJxK, k)
            parts = {"language_share_prob": (prob_LxN, ones_LxN), "language_share_first": (first_LxN, ones_LxN)}
            yield names.distinct_N, parts, {"identifier": language}
            if beside := _compared(names, ("language_share_others", "language_concept_share"), first_LxN, others):
                yield names.distinct_N & names.others.compared_N, beside, {"identifier": language}


def _compared(names: Names, metrics: tuple[str, str], right_LxN, other_LxNxJ) -> dict:
    if names.others is None:
        return {}
    return dict(zip(metrics, other_pairs.concept_parts(right_LxN, other_LxNxJ, names.others), strict=True))


def _first(log_prob_xK, k: int):
    """Whether name k is more probable than all others."""
    return log_prob_xK[..., k] > np.delete(log_prob_xK, k, axis=-1).max(axis=-1)


def _odds(log_prob_xK, k: int):
    """p(name k) / p(any name), with every probability of a slot by its largest."""
    log_prob_xK = np.asarray(log_prob_xK, np.float64)
    top_x1 = log_prob_xK.max(axis=-1, keepdims=True)
    p_xK = np.exp(log_prob_xK - np.where(np.isneginf(top_x1), 0, top_x1))
    return statistics.ratio(p_xK[..., k], p_xK.sum(axis=-1))


def _ranked_shares(readings: SlotReadings):
    if readings.primary_rank_LxN is None:
        return {}
    primary_LxN, new_LxN = np.asarray(readings.primary_rank_LxN), np.asarray(readings.new_rank_LxN)
    parts = {}
    for k in TOPK:
        hit_LxN = np.minimum(primary_LxN, new_LxN) < k
        parts[f"primary_share_top{k}"] = (hit_LxN & (primary_LxN < new_LxN), hit_LxN)
        parts[f"top{k}_coverage"] = (hit_LxN, np.ones_like(hit_LxN))
    return parts


def _intervals(parts, kept_N, cluster_N, weight_DxC):
    """Yields `(metric, place, columns)` of the ratio of every metric's sums over slots, [places, N], and its interval."""
    parts_MxN = np.concatenate([values_LxN for pair in parts.values() for values_LxN in pair]).astype(np.float64)
    places = len(parts_MxN) // (2 * len(parts))
    sums_MxC = statistics.cluster_sums(parts_MxN[:, kept_N], cluster_N[kept_N], weight_DxC.shape[1])
    totals = sums_MxC.sum(axis=1).reshape(len(parts), 2, places)
    drawn_DxM = statistics.ratio(*np.moveaxis((weight_DxC @ sums_MxC.T).reshape(-1, len(parts), 2, places), 2, 0))
    low, high = statistics.interval(drawn_DxM.reshape(len(drawn_DxM), -1))
    shares = statistics.ratio(totals[:, 0], totals[:, 1])
    for index, (metric, place) in enumerate((metric, place) for metric in range(len(parts)) for place in range(places)):
        share = dict(value=float(shares[metric, place]), n=int(totals[metric, 1, place]))
        yield list(parts)[metric], place, share | dict(ci_low=float(low[index]), ci_high=float(high[index]))

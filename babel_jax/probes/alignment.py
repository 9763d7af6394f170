"""How close two languages lie inside the model: MEXA's alignment of parallel items, and neurons that move a state.

MEXA follows Kargaran et al. 2024 (arXiv 2410.05873), the centroid score the Transfer Neurons of Tezuka and Inoue 2025;
both are written from their mathematics.

Letters as in `model/decoder.py`; N items or slots. All states are the raw residual stream after a block, also the last
one's: no layer has been through the model's last LayerNorm. (Tools that read Hugging Face's `hidden_states[-1]` compare
a normalised state with raw ones in the last layer; their numbers differ from ours there, and only there.)
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from babel_jax.common.errors import UserError, unknown_name
from babel_jax.model import placement
from babel_jax.model.decoder import Decoder, DecoderConfig, TapRequest, compute_params
from babel_jax.probes.subject import Subject, row_batches
from babel_jax.training.loss import segments

KINDS = ("centroid_type1", "centroid_type2")


def _unit(x_NxD):
    """Vectors of length 1 in float64; the zero vector stays zero and is close to nothing."""
    x_NxD = np.asarray(x_NxD, np.float64)
    length_Nx1 = np.linalg.norm(x_NxD, axis=1, keepdims=True)
    return np.divide(x_NxD, length_Nx1, out=np.zeros_like(x_NxD), where=length_Nx1 > 0)


def _rivals(pivot_NxD, other_NxD):
    """[N, N]: item j is a rival of item i where pairing j with i's vector, on either side, is at least as close as i's own.

    Ties are rivals: MEXA asks for strictly more. Equal vectors tie, whatever the rounding of their product.
    """
    cosine_NxN = _unit(pivot_NxD) @ _unit(other_NxD).T
    own_Nx1 = np.diag(cosine_NxN)[:, None] - 1e-12
    rival_NxN = np.maximum(cosine_NxN, cosine_NxN.T) >= own_Nx1
    np.fill_diagonal(rival_NxN, False)
    return rival_NxN


def mexa(pivot_NxD, other_NxD) -> float:
    """MEXA's score: the share of items whose two vectors are closer (cosine) to each other than to any other item's.

    Closer means strictly greater than all other entries in its row and in its column of the cosine matrix. A pairing at
    random scores at most 1/N on average.

    Raises:
      UserError: fewer than two items, or not the same number in both languages.
    """
    pivot_NxD, other_NxD = np.asarray(pivot_NxD), np.asarray(other_NxD)
    if pivot_NxD.shape != other_NxD.shape or pivot_NxD.ndim != 2 or len(pivot_NxD) < 2:
        raise UserError(
            f"MEXA compares two arrays [items, width] of the same two or more items; got {pivot_NxD.shape} "
            f"and {other_NxD.shape}."
        )
    return float((~_rivals(pivot_NxD, other_NxD).any(axis=1)).mean())


def _without_each(rival_NxN):
    """The score of all N items, and the N scores without one item: `(score, score_N)`.

    An item whose only rival is left out becomes a hit: no cosine has to be computed again.
    """
    rivals_N = rival_NxN.sum(axis=1)
    hit_N = rivals_N == 0
    released_N = rival_NxN[rivals_N == 1].sum(axis=0)
    return hit_N.mean(), (hit_N.sum() - hit_N + released_N) / (len(hit_N) - 1)


def _interval(score: float, score_N):
    """The 95 % interval of a MEXA score, from the scores without each item: a delete-one jackknife.

    The bootstrap cannot be used: an item drawn twice ties with its double and never counts as a hit. Resampling the hits
    would hold the rivals fixed, though one item that is close to everything spoils many at once. The jackknife moves
    both, and its variance errs on the wide side (Efron and Stein 1981; the interval is about 1.3 times too wide where no
    item is special). It is never narrower than Agresti and Coull's interval of a share, which keeps a width where all
    items hit, or none.
    """
    n = len(score_N)
    shrunk = (n * score + 2) / (n + 4)
    variance = max((n - 1) * score_N.var(), shrunk * (1 - shrunk) / (n + 4))
    low, high = shrunk - 1.96 * np.sqrt(variance), shrunk + 1.96 * np.sqrt(variance)
    return float(max(0.0, min(low, score))), float(min(1.0, max(high, score)))


def _place(item_N, language: str) -> dict:
    """item -> its index, without what has no counterpart (-1)."""
    item_N = np.asarray(item_N)
    known = [(int(item), index) for index, item in enumerate(item_N) if item >= 0]
    place = dict(known)
    if len(place) < len(known):
        double = next(item for item, index in known if place[item] != index)
        raise UserError(f"item {double} stands twice in '{language}'; keep one slot of each parallel item.")
    return place


def mexa_rows(states_by_language: dict, item_by_language: dict, primary: str) -> list[dict]:
    """MEXA of every other language with the primary one, per layer and averaged over layers (layer -1).

    Args:
      states_by_language: language -> sentence vectors [L, N, D] (`sentence_LxNxD` of `forward.measure`).
      item_by_language: language -> item [N]: vectors of two languages with the same item are parallel; -1 has no
        counterpart.
      primary: the language that all others are compared with.

    Returns:
      Measurement rows without run, seed and step; none for a language with fewer than two items of the primary's. The
      option `chance` is 1/N, the most that a random pairing scores on average. Intervals: `_interval`.

    Raises:
      UserError: an item stands twice in one language (its vectors would be each other's rivals), or the primary misses.
    """
    if primary not in states_by_language:
        raise UserError(f"no sentence vectors of the primary language '{primary}'; give it slots with items.")
    place = {language: _place(item_by_language[language], language) for language in states_by_language}

    rows = []
    for language, states in states_by_language.items():
        common = sorted(place[primary].keys() & place[language].keys())
        if language == primary or len(common) < 2:
            continue
        pivot_LxNxD = np.asarray(states_by_language[primary])[:, [place[primary][item] for item in common]]
        other_LxNxD = np.asarray(states)[:, [place[language][item] for item in common]]
        scores = [_without_each(_rivals(*pair)) for pair in zip(pivot_LxNxD, other_LxNxD, strict=True)]
        # An item is left out of all layers at once: layers are no independent observations.
        mean = (np.mean([score for score, _ in scores]), np.mean([score_N for _, score_N in scores], axis=0))
        for index, (score, score_N) in enumerate([mean, *scores]):
            low, high = _interval(score, score_N)
            rows.append(
                dict(
                    probe="alignment",
                    language=language,
                    layer=index or -1,
                    metric="mexa",
                    value=float(score),
                    n=len(common),
                    ci_low=low,
                    ci_high=high,
                    options={"pooling": "weighted", "primary": primary, "chance": 1 / len(common)},
                )
            )
    return rows


@functools.cache
def _passes(config: DecoderConfig, document_end: int, everywhere):
    """Two jitted passes over batches of `tokens` [B, T], `positions` [B, 1] and `weight` [B], made once per shape:

    `centroid(params, sum_LxD, batch)` adds the states after each block at the positions;
    `score(params, sum_LxF, centroid_LxD, batch)` adds each neuron's push towards the centroids.
    """
    mesh = getattr(everywhere, "mesh", None)

    def taps_of(params, batch, **request):
        params = compute_params(params, config.dtype)
        segment_BxT = segments(batch["tokens"], document_end)
        request = TapRequest(positions_BxP=batch["positions"], **request)
        return Decoder(config, mesh).apply({"params": params}, batch["tokens"], segment_BxT, request)[1]

    def centroid(params, sum_LxD, batch):
        state_LxBxD = taps_of(params, batch)["residual_LxBxPxD"][:, :, 0].astype(jnp.float32)
        return sum_LxD + jnp.einsum("b,lbd->ld", batch["weight"], state_LxBxD, precision="highest")

    def score(params, sum_LxF, centroid_LxD, batch):
        taps = taps_of(params, batch, ffn_at_positions=True, middle_at_positions=True)
        layers = {
            "h_BxD": taps["middle_LxBxPxD"][:, :, 0].astype(jnp.float32),
            "a_BxF": taps["ffn_LxBxPxF"][:, :, 0].astype(jnp.float32),
            "v_FxD": params["blocks"]["ffn_out"]["kernel"],
            "c_D": centroid_LxD,
        }

        def one_layer(layer):  # products of B x F live for one layer only
            return jnp.matmul(batch["weight"], push(**layer), precision="highest")

        return sum_LxF + jax.lax.map(one_layer, layers)

    return tuple(placement.jitted(function, everywhere, donate_argnums=1) for function in (centroid, score))


def push(h_BxD, a_BxF, v_FxD, c_D):
    """How much closer to c each neuron alone moves each state: cos(h + a v, c) - cos(h, c), [B, F].

    Three products with v instead of B x F vectors of width D. With h and c of length 1, e = |h + a v|^2 - 1 and
    m = |h + a v|, the difference is (a v.c - h.c e / (1 + m)) / m: no two nearly equal cosines are subtracted, so that
    small effects keep their digits in float32.
    """
    dot = functools.partial(jnp.matmul, precision="highest")
    length_Bx1, length = jnp.linalg.norm(h_BxD, axis=1, keepdims=True), jnp.linalg.norm(c_D)
    length_Bx1, length = jnp.where(length_Bx1 > 0, length_Bx1, 1), jnp.where(length > 0, length, 1)
    h_BxD, a_BxF, c_D = h_BxD / length_Bx1, a_BxF / length_Bx1, c_D / length
    e_BxF = a_BxF * (2 * dot(h_BxD, v_FxD.T) + a_BxF * jnp.square(v_FxD).sum(axis=1))
    m_BxF = jnp.sqrt(jnp.maximum(1 + e_BxF, 1e-12))
    return (a_BxF * dot(v_FxD, c_D) - dot(h_BxD, c_D)[:, None] * e_BxF / (1 + m_BxF)) / m_BxF


def _parallel(slots_new: dict, slots_primary: dict):
    """The slots that both languages have, in one order: by `item` where both have items, else row by row."""
    if "item" in slots_new and "item" in slots_primary:
        place_new, place_primary = _place(slots_new["item"], "new"), _place(slots_primary["item"], "primary")
        common = sorted(place_new.keys() & place_primary.keys())
        new = np.array([place_new[item] for item in common], int)
        primary = np.array([place_primary[item] for item in common], int)
    elif len(slots_new["tokens"]) == len(slots_primary["tokens"]):
        new = primary = np.arange(len(slots_new["tokens"]))
    else:
        raise UserError(
            f"{len(slots_new['tokens'])} slots of the new language and {len(slots_primary['tokens'])} of the primary one "
            "are not parallel row by row; give both an `item` of the same meaning."
        )
    return tuple(
        {name: np.asarray(slots[name])[index] for name in ("tokens", "position")}
        for slots, index in ((slots_new, new), (slots_primary, primary))
    )


def transfer_scores(subject: Subject, slots_new: dict, slots_primary: dict | None, kind: str):
    """Transfer Neurons' score: how much closer to a centroid a neuron's output brings the state at the slots, [L, F].

    The mean over the new language's slots of cos(h_mid + a_j v_j, c_l) - cos(h_mid, c_l): h_mid the residual stream that
    layer l's FFN adds to, a_j the neuron's activation and v_j its row of the FFN's second matrix, all at the slot's
    position. c_l is the mean of the raw states after block l at the slots:
      "centroid_type1": of the mean of both languages' states, over parallel slots; slots without a parallel are left out
        (a shared space: neurons that move into it).
      "centroid_type2": of the new language's states (neurons that move back into the language's own space).

    Args:
      slots_new, slots_primary: `tokens` [N, T] right-padded, `position` [N] and, where the two are not parallel row by row,
        `item` [N]. Type 2 needs no primary slots.

    Raises:
      UserError: an unknown kind, slots that are not parallel, an item that stands twice, no slots, or a batch that does not
        divide among the devices.
    """
    texts = _texts(kind, slots_new, slots_primary)
    config = subject.config
    params, rows, everywhere = subject.placed()
    centroid_pass, score_pass = _passes(config, subject.document_end, everywhere)

    def batches(slots):
        held = {
            "tokens": slots["tokens"].astype(np.int32),
            "positions": slots["position"].astype(np.int32)[:, None],
            "weight": np.ones(len(slots["tokens"]), np.float32),
        }
        for _, batch in row_batches(held, subject.batch_size):
            yield jax.device_put(batch, rows)

    sum_LxD = jax.device_put(np.zeros((config.layers, config.width), np.float32), everywhere)
    for slots in texts:
        for batch in batches(slots):
            sum_LxD = centroid_pass(params, sum_LxD, batch)
    # A direction is all that a cosine needs: the sum will do for the mean.
    sum_LxF = jax.device_put(np.zeros((config.layers, config.ffn_width), np.float32), everywhere)
    for batch in batches(texts[0]):
        sum_LxF = score_pass(params, sum_LxF, sum_LxD, batch)
    return np.asarray(sum_LxF) / len(texts[0]["tokens"])


def _texts(kind: str, slots_new: dict, slots_primary: dict | None) -> tuple:
    """The slots over which the centroid is taken, the new language's first: at those neurons are scored."""
    if kind not in KINDS:
        raise unknown_name("kind of transfer neurons", kind, KINDS)
    if kind == "centroid_type1":
        if slots_primary is None:
            raise UserError(
                "centroid_type1 needs the primary language's parallel slots; give them, or use centroid_type2."
            )
        texts = _parallel(slots_new, slots_primary)
    else:
        texts = ({name: np.asarray(slots_new[name]) for name in ("tokens", "position")},)
    if not len(texts[0]["tokens"]):
        raise UserError(
            f"{kind} has no slots to score neurons at; give slots (for type 1, with items of both languages)."
        )
    return texts

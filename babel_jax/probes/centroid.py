"""Transfer Neurons: neurons that move a state towards a centroid of one or of both languages' states.

From the mathematics of Tezuka and Inoue 2025. Letters as in `model/decoder.py`; N slots. All states are the raw residual
stream after a block, also the last one's: no layer has been through the model's last norm.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from babel_jax.common.errors import UserError
from babel_jax.model import placement, writes
from babel_jax.model.protocol import Model
from babel_jax.model.taps import Inside, TapRequest
from babel_jax.probes.alignment import item_places
from babel_jax.probes.by_scores import ByScores
from babel_jax.probes.subject import Subject, row_batches
from babel_jax.training.loss import segments

KINDS = ("centroid_type1", "centroid_type2")
FIRST_LAYERS = 20 / 32  # of all layers: where neurons of type 1 are looked for, and after which those of type 2


@functools.cache
def _passes(model: Model, document_end: int, everywhere):
    """Two jitted passes over batches of `tokens` [B, T], `positions` [B, 1] and `weight` [B], made once per shape:

    `centroid(params, sum_LxD, batch)` adds the states after each block at the positions;
    `score(params, sum_LxF, centroid_LxD, batch)` adds each neuron's push towards the centroids.
    """
    mesh = getattr(everywhere, "mesh", None)

    def taps_of(params, batch, **request):
        segment_BxT = segments(batch["tokens"], document_end)
        request = TapRequest(positions_BxP=batch["positions"], **request)
        return model.forward(params, batch["tokens"], segment_BxT, Inside(request, mesh=mesh))[1]

    def centroid(params, sum_LxD, batch):
        state_LxBxD = taps_of(params, batch)["residual_LxBxPxD"][:, :, 0].astype(jnp.float32)
        return sum_LxD + jnp.einsum("b,lbd->ld", batch["weight"], state_LxBxD, precision="highest")

    def score(params, sum_LxF, centroid_LxD, batch):
        taps = taps_of(params, batch, ffn_at_positions=True, middle_at_positions=True)
        h_LxBxD = taps["before_write_LxBxPxD"][:, :, 0].astype(jnp.float32)

        def one_layer(layer):  # products of B x F, and directions that a norm scales, live for one layer only
            h_BxD, a_BxF, number, c_D = layer
            pushed_BxF = push(h_BxD, a_BxF, model.directions(params, number), c_D)
            return jnp.matmul(batch["weight"], pushed_BxF, precision="highest")

        return sum_LxF + jax.lax.map(
            one_layer, (h_LxBxD, writes.amounts(taps)[:, :, 0], jnp.arange(model.layers), centroid_LxD)
        )

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
        place_new, place_primary = item_places(slots_new["item"], "new"), item_places(slots_primary["item"], "primary")
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

    The mean over the new language's slots of cos(h_mid + a_j v_j, c_l) - cos(h_mid, c_l): h_mid the residual stream that what
    layer l's FFN writes is added to (with parallel halves, too, the block's input and what attention has written, as the
    authors compute it for all models), a_j v_j what the neuron writes there (see `model/writes.py`), all at the slot's position.
    c_l is the mean of the raw states after block l at the slots:
      "centroid_type1": of the mean of both languages' states, over parallel slots; slots without a parallel are left out
        (a shared space: neurons that move into it).
      "centroid_type2": of the new language's states (neurons that move back into the language's own space).

    Args:
      slots_new, slots_primary: `tokens` [N, T] right-padded, `position` [N] and, where the two are not parallel row by row,
        `item` [N]. Type 2 needs no primary slots.

    Raises:
      UserError: slots that are not parallel, an item that occurs twice, no slots, a batch that does not divide among the
        devices, or a model whose neurons write no direction of their own.
    """
    model = subject.model
    jax.eval_shape(model.directions, subject.params, 0)  # refuses before anything is read
    texts = _texts(kind, slots_new, slots_primary)
    params, rows, everywhere = subject.placed()
    centroid_pass, score_pass = _passes(model, subject.document_end, everywhere)

    def batches(slots):
        held = {
            "tokens": slots["tokens"].astype(np.int32),
            "positions": slots["position"].astype(np.int32)[:, None],
            "weight": np.ones(len(slots["tokens"]), np.float32),
        }
        for _, batch in row_batches(held, subject.batch_size):
            yield jax.device_put(batch, rows)

    sum_LxD = jax.device_put(np.zeros((model.layers, model.width), np.float32), everywhere)
    for slots in texts:
        for batch in batches(slots):
            sum_LxD = centroid_pass(params, sum_LxD, batch)
    # A direction is all that a cosine needs: the sum will do for the mean.
    sum_LxF = jax.device_put(np.zeros((model.layers, model.ffn_width), np.float32), everywhere)
    for batch in batches(texts[0]):
        sum_LxF = score_pass(params, sum_LxF, sum_LxD, batch)
    return np.asarray(sum_LxF) / len(texts[0]["tokens"])


def _texts(kind: str, slots_new: dict, slots_primary: dict | None) -> tuple:
    """The slots over which the centroid is taken, the new language's first: at those neurons are scored."""
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


def _definition(kind: str) -> ByScores:
    def scores(subject: Subject, material, new: list[str]) -> dict:
        slots = material.slots
        return {language: transfer_scores(subject, slots[language], slots[material.primary], kind) for language in new}

    def in_layers(score_LxF):
        """0 in layers where the score has no meaning."""
        layers = len(score_LxF)
        first_Lx1 = np.arange(layers)[:, None] < round(layers * FIRST_LAYERS)
        return np.where(first_Lx1 == (kind == "centroid_type1"), score_LxF, 0)

    return ByScores(kind, scores, in_layers)


CENTROID_TYPE1, CENTROID_TYPE2 = map(_definition, KINDS)

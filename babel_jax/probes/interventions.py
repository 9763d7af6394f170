"""Interventions: a forward pass in which neurons, states or parts of the parameters are changed.

On parameters and what they are the parameters of (`babel_jax.ablate` and `.patch` do the same in a notebook, in a line):

    from babel_jax.probes import causes, edits, interventions as do

    model = do.Subject(params, config)
    without = edits.edit("zero", edits.neuron_set(config, [(0, 5), (1, 70)]))  # (layer, index), both from 0; a mask will do, too
    logits_BxTxV = do.run(model, tokens_BxT, without)
    change = do.loss(model, tokens_BxT1, without) - do.loss(model, tokens_BxT1)  # nats a token
    found_BxTxV = do.patch(model, source_BxT, tokens_BxT, layer=1, positions_BxP=positions_BxP)
    rows = causes.loss_change_rows(model, heldout, {"python": neurons_LxF})  # beside 20 random sets

Parameters may lie on a mesh; `causes.py` scores such changes. Letters as in
`model/decoder.py`; R random sets, N rows, M identifiers of a slot. Layers and neurons count from 0 in all arguments; only
the column `layer` of measurement rows counts from 1, as for all probes.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from babel_jax.common.errors import UserError
from babel_jax.model.placement import jitted
from babel_jax.model.protocol import Model
from babel_jax.model.taps import Edit, Inside, TapRequest, at_positions
from babel_jax.probes.prompts import SIDES, identifier_set
from babel_jax.probes.subject import Subject, row_batches
from babel_jax.training.loss import segments, token_losses

# ---- Sets of neurons and what is done to them -------------------------------------------------------------------------


def put(model: Model, state_BxPxD, layer: int, positions_BxP) -> Edit:
    """The residual stream after block `layer` (from 0) becomes `state_BxPxD` at `positions_BxP` of each row.

    Raises:
      UserError: a layer that the model does not have, or states of another model.
    """
    state_BxPxD, positions_BxP = np.asarray(state_BxPxD), np.asarray(positions_BxP, np.int32)
    _check_layer(model, layer)
    if state_BxPxD.shape != (*positions_BxP.shape, model.width):
        raise UserError(
            f"states {state_BxPxD.shape} do not fit {positions_BxP.shape} positions of a model of width {model.width}."
        )
    residual_LxBxPxD = np.zeros((model.layers, *state_BxPxD.shape), state_BxPxD.dtype)
    replace_LxBxP = np.zeros((model.layers, *positions_BxP.shape), bool)
    residual_LxBxPxD[layer], replace_LxBxP[layer] = state_BxPxD, True
    return Edit(positions_BxP=positions_BxP, residual_LxBxPxD=residual_LxBxPxD, replace_LxBxP=replace_LxBxP)


# ---- In a notebook ----------------------------------------------------------------------------------------------------


def run(subject: Subject, tokens_BxT, change: Edit | None = None):
    """Logits [B, T, V] of all tokens, under an edit if there is one; all rows are one batch.

    Raises:
      UserError: tokens or an edit of another model.
    """
    return _one_batch(subject, {"tokens": tokens_BxT}, change)["logits_BxTxV"]


def loss(subject: Subject, tokens_BxT1, change: Edit | None = None, weight_BxT=None):
    """Mean loss in nats a token of `tokens_BxT1[:, 1:]`, each predicted by what comes before it; a float.

    `weight_BxT`: which of these targets count (or how much); by default all that do not follow a document's end.
    """
    tokens_BxT1 = np.asarray(tokens_BxT1)
    weight_BxT = np.ones(tokens_BxT1[:, 1:].shape) if weight_BxT is None else np.asarray(weight_BxT)
    rows = loss_inputs(subject.model, {"tokens": tokens_BxT1, "loss": weight_BxT}, subject.document_end)
    result = score_rows(subject, rows, [change])[0]
    return float(result["loss_sum"].sum() / result["loss_count"].sum())


def slot_scores(subject: Subject, slots: dict, right: str, change: Edit | None = None) -> dict:
    """What the model says where an identifier must come, [N] each, under a change of neurons if there is one.

    `logit_difference`: log p(new language's identifier) - log p(primary's), of sets the sums of their probabilities;
    `margin`: log p(right identifier) - log p of the most probable other token, in nats; `accuracy`: 1 where the most
    probable token is right.

    Args:
      slots: `tokens` [N, T], `position` [N], `primary_ids` and `new_ids` [N, M] (-1: none) or `primary_id` and `new_id` [N].
      right: whose identifier is right here: "primary" or "new".
    """
    return score_rows(subject, slot_inputs(subject.model, slots, right), [change])[0]


def states(subject: Subject, tokens_BxT, positions_BxP):
    """The residual stream after every block at `positions_BxP` of each row: [L, B, P, D]."""
    rows = {"tokens": tokens_BxT, "read": checked_positions(tokens_BxT, positions_BxP)}
    return _one_batch(subject, rows, None)["residual_LxBxPxD"]


@dataclasses.dataclass(frozen=True, eq=False)
class Place:
    """Where a state is read or put: after a block (counted from 0), at some positions of each prompt."""

    tokens_BxT: np.ndarray
    layer: int
    positions_BxP: np.ndarray


def patchscope(subject: Subject, source: Place, target: Place):
    """Logits [B, T, V] of the target prompts with states of the source prompts put into them (Ghandeharioun et al. 2024).

    With equal layers this is activation patching.
    """
    _check_layer(subject.model, source.layer)
    positions_BxP = checked_positions(target.tokens_BxT, target.positions_BxP)
    found_LxBxPxD = states(subject, source.tokens_BxT, source.positions_BxP)
    change = put(subject.model, found_LxBxPxD[source.layer], target.layer, positions_BxP)
    return run(subject, target.tokens_BxT, change)


def patch(subject: Subject, source_BxT, target_BxT, layer: int, positions_BxP):
    """Activation patching: `patchscope` from a place of the source prompts to the same place of the target prompts."""
    return patchscope(subject, *(Place(tokens_BxT, layer, positions_BxP) for tokens_BxT in (source_BxT, target_BxT)))


# ---- The passes -------------------------------------------------------------------------------------------------------


@functools.cache
def jitted_scores(model: Model, document_end: int, everywhere):
    """The jitted `(params, batch, edit) -> results`, made once per shape of the model.

    What `batch` holds beside `tokens` [B, T] says what is wanted: `targets` and `loss` [B, T]: the sum of the losses and
    of their weights, [B]; `position` [B] with `primary`, `new` and `right` [B, M]: scores at the slot, [B]; `read` [B, P]:
    the residual stream there; none of them: logits. Edits are data: one executable serves all sets of a kind
    (`jitted_scores(…)._cache_size()`).
    """
    mesh = getattr(everywhere, "mesh", None)

    def scores(params, batch, edit):
        tokens_BxT = batch["tokens"]
        request = TapRequest(positions_BxP=batch["read"]) if "read" in batch else None
        segment_BxT = segments(tokens_BxT, document_end)
        final_BxTxD, taps = model.forward(params, tokens_BxT, segment_BxT, Inside(request, edit, mesh))
        if "targets" in batch:
            loss_BxT = token_losses(params, model, final_BxTxD, batch["targets"], mesh)
            return {"loss_sum": (loss_BxT * batch["loss"]).sum(1), "loss_count": batch["loss"].sum(1)}
        if "position" in batch:
            return _slot_scores(params, model, final_BxTxD, batch, mesh)
        if "read" in batch:
            return {"residual_LxBxPxD": taps["residual_LxBxPxD"]}
        return {"logits_BxTxV": model.readout(params)(final_BxTxD)}

    return jitted(scores, everywhere)


def _slot_scores(params, model, final_BxTxD, batch, mesh):
    """What the model says at one position a row: see `slot_scores`."""
    h_BxD = at_positions(final_BxTxD, batch["position"][:, None])[:, 0]
    log_prob_BxV = jax.nn.log_softmax(model.readout(params, mesh)(h_BxD))
    rows_Bx1 = jnp.arange(len(h_BxD))[:, None]

    def members(ids_BxM):
        ids_BxM = jnp.where(ids_BxM < 0, model.vocab_size, ids_BxM)  # -1 is no token: dropped
        return jnp.zeros(log_prob_BxV.shape, bool).at[rows_Bx1, ids_BxM].set(True, mode="drop")

    def of_set(inside_BxV):
        return jax.nn.logsumexp(jnp.where(inside_BxV, log_prob_BxV, -jnp.inf), axis=-1)

    right_BxV = members(batch["right"])
    return {
        "logit_difference": of_set(members(batch["new"])) - of_set(members(batch["primary"])),
        "margin": of_set(right_BxV) - jnp.where(right_BxV, -jnp.inf, log_prob_BxV).max(-1),
        "accuracy": right_BxV[rows_Bx1[:, 0], log_prob_BxV.argmax(-1)].astype(jnp.float32),
    }


# ---- Rows through the passes ------------------------------------------------------------------------------------------


def _one_batch(subject: Subject, batch: dict, change: Edit | None) -> dict:
    """The results of all rows as one batch."""
    batch = batch | {"tokens": checked_tokens(subject.model, batch["tokens"])}
    _check_edit(subject.model, change, batch)
    params, rows, everywhere = dataclasses.replace(subject, batch_size=len(batch["tokens"])).placed()
    step = jitted_scores(subject.model, subject.document_end, everywhere)
    return step(params, jax.device_put(batch, rows), jax.device_put(change, everywhere))


def score_rows(subject: Subject, rows: dict, edits: list) -> list[dict]:
    """The results [N] of all rows under each of the edits, which all have the same structure."""
    _check_edit(subject.model, edits[0], rows)
    of_single_rows = ("where_BxT", "source_B", "positions_BxP")
    if any(getattr(edits[0], name, None) is not None for name in of_single_rows):
        subject = dataclasses.replace(subject, batch_size=len(rows["tokens"]))  # they speak of all rows as one batch
    params, of_rows, everywhere = subject.placed()
    step = jitted_scores(subject.model, subject.document_end, everywhere)
    edits = jax.device_put(edits, everywhere)
    results_by_edit = [[] for _ in edits]
    for kept, batch in row_batches(rows, subject.batch_size):
        batch = jax.device_put(batch, of_rows)
        for results, change in zip(results_by_edit, edits, strict=True):
            results.append((kept, step(params, batch, change)))
    return [_joined(results) for results in results_by_edit]


def _joined(results: list) -> dict:
    """Batches of results, without what filled the last one up, as one; the rows are the last axis."""
    return {
        name: np.concatenate([np.asarray(batch[name], np.float64)[..., :kept] for kept, batch in results], axis=-1)
        for name in results[0][1]
    }


def checked_tokens(model: Model, tokens_NxT) -> np.ndarray:
    tokens_NxT = np.asarray(tokens_NxT)
    if tokens_NxT.ndim != 2 or not tokens_NxT.size or tokens_NxT.dtype.kind not in "iu":
        raise UserError(f"tokens must be a table of whole numbers, rows by positions; these are {tokens_NxT.shape}.")
    if tokens_NxT.shape[1] > model.max_length:
        raise UserError(f"{tokens_NxT.shape[1]} tokens do not fit a context of {model.max_length}; shorten the rows.")
    if tokens_NxT.min() < 0 or tokens_NxT.max() >= model.vocab_size:
        raise UserError(
            f"token {tokens_NxT.max() if tokens_NxT.min() >= 0 else tokens_NxT.min()} is not in this model's vocabulary of "
            f"{model.vocab_size}; use its own tokenizer."
        )
    return tokens_NxT.astype(np.int32)


def checked_positions(tokens_BxT, positions_BxP) -> np.ndarray:
    """Positions that exist in the tokens: out of range, JAX would silently take the last one."""
    positions_BxP, (B, T) = np.asarray(positions_BxP), np.shape(tokens_BxT)
    if positions_BxP.ndim != 2 or len(positions_BxP) != B or (positions_BxP < 0).any() or (positions_BxP >= T).any():
        raise UserError(f"positions must be [{B}, P], each from 0 to {T - 1}, for every row of tokens.")
    return positions_BxP.astype(np.int32)


def _check_layer(model: Model, layer: int) -> None:
    if not 0 <= layer < model.layers:
        raise UserError(f"layer {layer} is not in this model; it has layers 0 to {model.layers - 1}.")


def _check_edit(model: Model, change: Edit | None, rows: dict) -> None:
    """An edit must be made for this model and for these rows."""
    if change is None:
        return
    model, (B, T) = (model.layers, model.ffn_width), rows["tokens"].shape
    for neurons_LxF in (change.multiply_LxF, change.swap_LxF):
        if neurons_LxF is not None and np.shape(neurons_LxF) != model:
            raise UserError(
                f"{np.shape(neurons_LxF)} is a neuron set of another model; this one has {model} layers by neurons."
            )
    if change.where_BxT is not None and np.shape(change.where_BxT) != (B, T):
        raise UserError(f"where_BxT {np.shape(change.where_BxT)} must say of each of {(B, T)} tokens whether.")
    if change.positions_BxP is not None:
        checked_positions(rows["tokens"], change.positions_BxP)
    if change.swap_LxF is not None:
        source_B = np.asarray(-1 if change.source_B is None else change.source_B)
        if source_B.shape != (B,) or (source_B < 0).any() or (source_B >= B).any():
            raise UserError(f"'resample' needs source_B: for each of the {B} rows of the batch, the row it takes from.")


def loss_inputs(model: Model, heldout: dict, document_end: int) -> dict:
    """Rows of the loss pass from `tokens` [N, T + 1] and `loss` [N, T]; nothing predicts a document's first token."""
    tokens_NxT1 = np.asarray(heldout["tokens"])
    inputs_NxT = checked_tokens(model, tokens_NxT1[:, :-1])
    targets_NxT = checked_tokens(model, tokens_NxT1[:, 1:])
    weight_NxT = np.asarray(heldout["loss"])
    if weight_NxT.shape != inputs_NxT.shape:
        raise UserError(f"weights {weight_NxT.shape} do not fit the {inputs_NxT.shape} targets; give one a target.")
    weight_NxT = (weight_NxT * (inputs_NxT != document_end)).astype(np.float32)
    if not weight_NxT.any():
        raise UserError("no target counts, so there is no loss; give rows with at least one.")
    return {"tokens": inputs_NxT, "targets": targets_NxT, "loss": weight_NxT}


def slot_inputs(model: Model, slots: dict, right: str) -> dict:
    """Rows of the slot pass. `right`: whose identifier is the right one, "primary" or "new"."""
    sets = {side: identifier_set(slots, side) for side in SIDES}
    for side, ids_NxM in sets.items():
        if not (ids_NxM >= 0).any(axis=1).all():
            raise UserError(f"a slot has no identifier of the {side} language; leave such slots out.")
    tokens_NxT = checked_tokens(model, slots["tokens"])
    position_N = checked_positions(tokens_NxT, np.asarray(slots["position"])[:, None])[:, 0]
    return {"tokens": tokens_NxT, "position": position_N, "right": sets[right]} | sets


# ---- Patches of the parameters ----------------------------------------------------------------------------------------

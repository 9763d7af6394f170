"""What removing one neuron does to an identifier's probability: to first order for all neurons, exactly for the largest.

Letters as in `model/decoder.py`; N slots, S ablated neurons, M ids of an identifier.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from babel_jax.common.errors import UserError
from babel_jax.model import placement
from babel_jax.model.protocol import Model
from babel_jax.model.taps import Edit, Inside, TapRequest
from babel_jax.probes.attribution import watch_gradient
from babel_jax.probes.by_scores import ByScores
from babel_jax.probes.prompts import identifier_set
from babel_jax.probes.subject import Subject, row_batches
from babel_jax.training.loss import segments

REMOVED_AT_ONCE = (
    32  # neurons that one call ablates one after the other: fewer calls, and the memory of one forward pass
)


@functools.cache
def _causal_passes(model: Model, document_end: int, everywhere):
    """Two jitted passes over batches of `tokens` [B, T], `positions` [B, 1], `ids` [B, M] and `weight` [B]:

    `attribute(params, sum_LxF, batch)` adds -a dlog p/da, the first-order effect of removing a neuron;
    `ablate(params, batch, neuron_Sx2)` is log p of every slot, [S, B], without neuron (layer, index); nothing is removed
    for a layer that does not exist.
    """
    mesh = getattr(everywhere, "mesh", None)

    def log_prob(params, batch, edit):
        segment_BxT = segments(batch["tokens"], document_end)
        request = TapRequest(positions_BxP=batch["positions"])
        _, taps = model.forward(params, batch["tokens"], segment_BxT, Inside(request, edit, mesh))
        # The last state at the slot, not all logits: nothing of T x V is made.
        logits_BxV = model.readout(params)(taps["residual_LxBxPxD"][-1])[:, 0]
        chosen_BxM = jnp.take_along_axis(logits_BxV, jnp.maximum(batch["ids"], 0), axis=1)
        chosen_BxM = jnp.where(batch["ids"] >= 0, chosen_BxM, -jnp.inf)
        return jax.nn.logsumexp(chosen_BxM, axis=1) - jax.nn.logsumexp(logits_BxV, axis=1)

    def attribute(params, sum_LxF, batch):
        weight_BxTxK = jnp.broadcast_to(batch["weight"][:, None, None], (*batch["tokens"].shape, 1))

        gradient = watch_gradient(lambda edit: log_prob(params, batch, edit).sum(), model, weight_BxTxK)
        return sum_LxF - gradient[:, :, 0, 1]

    def ablate(params, batch, neuron_Sx2):
        ones_LxF = jnp.ones((model.layers, model.ffn_width), jnp.float32)

        def without(neuron_2):
            multiply_LxF = ones_LxF.at[neuron_2[0], neuron_2[1]].set(0, mode="drop")
            return log_prob(params, batch, Edit(multiply_LxF=multiply_LxF))

        return jax.lax.map(without, neuron_Sx2)

    return placement.jitted(attribute, everywhere, donate_argnums=1), placement.jitted(ablate, everywhere)


@dataclasses.dataclass(frozen=True, eq=False)
class CausalScores:
    """Changes of the mean log-probability over slots in nats; negative: the neuron carries the identifier.

    Attributes:
      score_LxF: change when the neuron is removed, minus the mean change of the layer's random neurons; NaN outside the
        shortlist.
      attribution_LxF: change to first order, of all neurons.
      random_mean_L: mean change of the random neurons.
    """

    score_LxF: np.ndarray
    attribution_LxF: np.ndarray
    random_mean_L: np.ndarray


def causal_scores(subject: Subject, slots: dict, shortlist: int = 256, random: int = 32) -> CausalScores:
    """What removing one neuron does to the log-probability of the new language's identifier, against random neurons of its layer.

    A neuron is removed by setting its value to zero at all tokens of the prompt. One backward pass ranks all neurons
    to first order; those with the largest effects, and random neurons of every layer, are then really removed, one at a
    time, by one executable. With a shortlist of all neurons the answer is exact for all.

    Args:
      slots: `tokens` [N, T] right-padded, `position` [N], and `new_ids` [N, M] (a set of ids, padded with -1, whose
        probabilities are added) or `new_id` [N].
      shortlist: neurons of the largest first-order effect, of all layers together, to remove.
      random: neurons a layer for the baseline.

    Raises:
      UserError: no slots, a slot without an identifier, or a batch that does not divide among the devices.
    """
    L, F = subject.model.layers, subject.model.ffn_width
    held = _causal_rows(slots)
    params, rows, everywhere = subject.placed()
    attribute, ablate = _causal_passes(subject.model, subject.document_end, everywhere)

    sum_LxF = jax.device_put(np.zeros((L, F), np.float32), everywhere)
    for _, batch in row_batches(held, subject.batch_size, ids=0):
        sum_LxF = attribute(params, sum_LxF, jax.device_put(batch, rows))
    attribution_LxF = np.asarray(sum_LxF, np.float64) / len(held["tokens"])

    drawn_LxF, listed_LxF = _to_remove(attribution_LxF, shortlist, random)
    neuron_Sx2 = np.argwhere(drawn_LxF | listed_LxF).astype(np.int32)
    # The first is no neuron: the whole model, by the same executable. So are those that fill up the last call.
    removed_Sx2 = np.concatenate([[[L, 0]], neuron_Sx2]).astype(np.int32)
    removed_Sx2 = np.concatenate([removed_Sx2, np.repeat([[L, 0]], -len(removed_Sx2) % REMOVED_AT_ONCE, axis=0)])
    calls = [
        jax.device_put(removed_Sx2[start : start + REMOVED_AT_ONCE].astype(np.int32), everywhere)
        for start in range(0, len(removed_Sx2), REMOVED_AT_ONCE)
    ]
    parts_SxN = []
    for kept, batch in row_batches(held, subject.batch_size, ids=0):
        batch = jax.device_put(batch, rows)
        parts = [ablate(params, batch, neurons) for neurons in calls]
        parts_SxN.append(np.concatenate([np.asarray(part)[:, :kept] for part in parts]))
    log_prob_SxN = np.concatenate(parts_SxN, axis=1).astype(np.float64)

    change_LxF = np.full((L, F), np.nan)
    change_LxF[tuple(neuron_Sx2.T)] = (log_prob_SxN[1 : 1 + len(neuron_Sx2)] - log_prob_SxN[0]).mean(axis=1)
    mean_L = change_LxF[drawn_LxF].reshape(L, -1).mean(axis=1)
    return CausalScores(np.where(listed_LxF, change_LxF - mean_L[:, None], np.nan), attribution_LxF, mean_L)


def _causal_rows(slots: dict) -> dict:
    """Rows of `_causal_passes`, checked."""
    held = {
        "tokens": np.asarray(slots["tokens"], np.int32),
        "positions": np.asarray(slots["position"], np.int32)[:, None],
        "ids": identifier_set(slots, "new"),
        "weight": np.ones(len(slots["tokens"]), np.float32),
    }
    if not len(held["tokens"]):
        raise UserError("there are no slots to remove neurons at; choose slots, such as those with subset 1.")
    if not (held["ids"] >= 0).any(axis=1).all():
        raise UserError("a slot has no identifier in `new_ids`; leave such slots out.")
    return held


def _to_remove(attribution_LxF, shortlist: int, random: int) -> tuple:
    """Two masks [L, F]: random neurons of each layer, and those of the largest effect to first order."""
    rng, F = np.random.default_rng(0), attribution_LxF.shape[1]
    drawn_LxF, listed_LxF = np.zeros((2, *attribution_LxF.shape), bool)
    for drawn_F in drawn_LxF:
        drawn_F[rng.choice(F, min(random, F), replace=False)] = True
    listed_LxF.flat[np.argsort(-np.abs(attribution_LxF), axis=None, kind="stable")[:shortlist]] = True
    return drawn_LxF, listed_LxF


def _scores_of_all(subject: Subject, material, new: list[str]) -> dict:
    return {language: causal_scores(subject, material.slots[language]).score_LxF for language in new}


# Removing a neuron that carries the identifier lowers its log-probability.
CAUSAL = ByScores("causal", _scores_of_all, np.negative)

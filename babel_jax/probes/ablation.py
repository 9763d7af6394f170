"""What removing one neuron does to an identifier's probability: to first order for all neurons, exactly for the largest.

Letters as in `model/decoder.py`; N slots, S ablated neurons, M ids of an identifier.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from babel_jax.common import statistics
from babel_jax.common.errors import UserError, unknown_name
from babel_jax.model import decoder, placement
from babel_jax.model.decoder import Decoder, DecoderConfig, Edit, TapRequest, compute_params
from babel_jax.probes.attribution import watch_gradient
from babel_jax.probes.by_scores import ByScores
from babel_jax.probes.prompts import SIDES, identifier_set
from babel_jax.probes.subject import Subject, row_batches
from babel_jax.training.loss import segments

REMOVED_AT_ONCE = (
    32  # neurons that one call ablates one after the other: fewer calls, and the memory of one forward pass
)


@functools.cache
def _causal_passes(config: DecoderConfig, document_end: int, everywhere):
    """Two jitted passes over batches of `tokens` [B, T], `positions` [B, 1], `ids` [B, M] and `weight` [B]:

    `attribute(params, sum_LxF, batch)` adds -a dlog p/da, the first-order effect of removing a neuron;
    `ablate(params, batch, neuron_Sx2)` is log p of every slot, [S, B], without neuron (layer, index); nothing is removed
    for a layer that does not exist.
    """
    mesh = getattr(everywhere, "mesh", None)

    def log_prob(params, batch, edit):
        segment_BxT = segments(batch["tokens"], document_end)
        request = TapRequest(positions_BxP=batch["positions"])
        _, taps = Decoder(config, mesh).apply(
            {"params": params}, batch["tokens"], segment_BxT, request=request, edit=edit
        )
        # The last state at the slot, not all logits: nothing of T x V is made.
        logits_BxV = decoder.unembed(params, config, taps["residual_LxBxPxD"][-1])[:, 0]
        chosen_BxM = jnp.take_along_axis(logits_BxV, jnp.maximum(batch["ids"], 0), axis=1)
        chosen_BxM = jnp.where(batch["ids"] >= 0, chosen_BxM, -jnp.inf)
        return jax.nn.logsumexp(chosen_BxM, axis=1) - jax.nn.logsumexp(logits_BxV, axis=1)

    def attribute(params, sum_LxF, batch):
        params = compute_params(params, config.dtype)
        weight_BxTxK = jnp.broadcast_to(batch["weight"][:, None, None], (*batch["tokens"].shape, 1))

        gradient = watch_gradient(lambda edit: log_prob(params, batch, edit).sum(), config, weight_BxTxK)
        return sum_LxF - gradient[:, :, 0, 1]

    def ablate(params, batch, neuron_Sx2):
        params = compute_params(params, config.dtype)
        ones_LxF = jnp.ones((config.layers, config.ffn_width), jnp.float32)

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
      z_LxF: the same in standard deviations of the layer's random neurons.
      attribution_LxF: change to first order, of all neurons.
      random_mean_L, random_deviation_L: of the random neurons' changes.
      log_prob_N: of the whole model.
      neuron_Sx2, effect_SxN: neurons (layer, index) that were removed, and the change at each slot, for intervals.
    """

    score_LxF: np.ndarray
    z_LxF: np.ndarray
    attribution_LxF: np.ndarray
    random_mean_L: np.ndarray
    random_deviation_L: np.ndarray
    log_prob_N: np.ndarray
    neuron_Sx2: np.ndarray
    effect_SxN: np.ndarray


def causal_scores(
    subject: Subject, slots: dict, shortlist: int = 256, random: int = 32, answer: str = "new", seed: int = 0
) -> CausalScores:
    """What removing one neuron does to the log-probability of the identifier, against random neurons of its layer.

    A neuron is removed by setting its activation to zero at all tokens of the prompt. One backward pass ranks all neurons
    to first order; those with the largest effects, and `random` neurons a layer drawn from all of it, are then removed in
    truth, one at a time, by one executable. With a shortlist of all neurons the answer is exact for all.

    Args:
      slots: one language's slots: `tokens` [N, T] right-padded, `position` [N], and `new_ids` [N, M] (a set of ids, padded
        with -1, whose probabilities are added) or `new_id` [N]. Choose the slots beforehand: those of problems that are
        solved in both languages, or those with subset 1.
      shortlist: neurons of the largest first-order effect, of all layers together, to remove in truth.
      random: neurons a layer for the baseline; 2 or more.
      answer: "new" or "primary": whose identifier.
      seed: of the random neurons.

    Raises:
      UserError: no slots, a slot without an identifier, an unknown answer, too few random neurons, or a batch that does not
        divide among the devices.
    """
    L, F = subject.config.layers, subject.config.ffn_width
    held = _causal_rows(slots, answer, random)
    params, rows, everywhere = subject.placed()
    attribute, ablate = _causal_passes(subject.config, subject.document_end, everywhere)

    sum_LxF = jax.device_put(np.zeros((L, F), np.float32), everywhere)
    for _, batch in row_batches(held, subject.batch_size, ids=0):
        sum_LxF = attribute(params, sum_LxF, jax.device_put(batch, rows))
    attribution_LxF = np.asarray(sum_LxF, np.float64) / len(held["tokens"])

    drawn_LxF, listed_LxF = _to_remove(attribution_LxF, shortlist, random, seed)
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
    effect_SxN = log_prob_SxN[1 : 1 + len(neuron_Sx2)] - log_prob_SxN[0]

    return _against_random(neuron_Sx2, log_prob_SxN[0], effect_SxN, attribution_LxF, drawn_LxF, listed_LxF)


def _against_random(neuron_Sx2, log_prob_N, effect_SxN, attribution_LxF, drawn_LxF, listed_LxF) -> CausalScores:
    """`drawn_LxF`: the random neurons that a layer's others are compared with; `listed_LxF`: those that get a score."""
    change_LxF = np.full(attribution_LxF.shape, np.nan)
    change_LxF[tuple(neuron_Sx2.T)] = effect_SxN.mean(axis=1)
    random_LxR = change_LxF[drawn_LxF].reshape(len(change_LxF), -1)
    mean_L, deviation_L = random_LxR.mean(axis=1), random_LxR.std(axis=1, ddof=1)
    score_LxF = np.where(listed_LxF, change_LxF - mean_L[:, None], np.nan)
    return CausalScores(
        score_LxF=score_LxF,
        z_LxF=statistics.ratio(score_LxF, deviation_L[:, None]),
        attribution_LxF=attribution_LxF,
        random_mean_L=mean_L,
        random_deviation_L=deviation_L,
        log_prob_N=log_prob_N,
        neuron_Sx2=neuron_Sx2,
        effect_SxN=effect_SxN,
    )


def _causal_rows(slots: dict, answer: str, random: int) -> dict:
    """Rows of `_causal_passes`, checked."""
    if answer not in SIDES:
        raise unknown_name("answer", answer, SIDES)
    if random < 2:
        raise UserError(f"{random} random neurons a layer have no spread; take 2 or more.")
    held = {
        "tokens": np.asarray(slots["tokens"], np.int32),
        "positions": np.asarray(slots["position"], np.int32)[:, None],
        "ids": identifier_set(slots, answer),
        "weight": np.ones(len(slots["tokens"]), np.float32),
    }
    if not len(held["tokens"]):
        raise UserError("no slots to remove neurons at; choose slots, such as those with subset 1.")
    if not (held["ids"] >= 0).any(axis=1).all():
        raise UserError(f"some slots have no identifier in `{answer}_ids`; leave them out.")
    return held


def _to_remove(attribution_LxF, shortlist: int, random: int, seed: int) -> tuple:
    """Two masks [L, F]: random neurons of each layer, and those of the largest effect to first order."""
    rng, F = np.random.default_rng(seed), attribution_LxF.shape[1]
    drawn_LxF, listed_LxF = np.zeros((2, *attribution_LxF.shape), bool)
    for drawn_F in drawn_LxF:
        drawn_F[rng.choice(F, min(random, F), replace=False)] = True
    listed_LxF.flat[np.argsort(-np.abs(attribution_LxF), axis=None, kind="stable")[:shortlist]] = True
    return drawn_LxF, listed_LxF


def _scores_of_all(subject: Subject, material, new: list[str]) -> dict:
    return {language: causal_scores(subject, material.slots[language]).score_LxF for language in new}


# Removing a neuron that carries the identifier lowers its log-probability.
CAUSAL = ByScores("causal", _scores_of_all, np.negative)

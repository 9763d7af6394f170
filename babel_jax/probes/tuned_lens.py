"""Tuned lens: a logit lens that first learns to read each layer's dialect (Belrose et al., arXiv 2303.08112).

Layer l has a translator h + h A_l + b_l, trained for one checkpoint to minimise KL(the model's final distribution ||
the lens of the translated state). It starts at A = 0, b = 0, which is the logit lens; the last layer has none (its A
and b stay 0). Letters as in `model/decoder.py`.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from babel_jax.common.errors import UserError
from babel_jax.model import placement
from babel_jax.model.protocol import Model
from babel_jax.model.taps import Inside, TapRequest
from babel_jax.probes import lens
from babel_jax.probes.subject import Subject, row_batches
from babel_jax.training.loss import segments

# As in the paper (its section on training): SGD with Nesterov momentum, a rate that falls linearly to 0 over 250 steps,
# gradients clipped to norm 1, a little decay towards the identity. Here each layer's gradient is clipped by itself, so
# that no translator depends on how far the other layers are.
ROWS = 16  # of a step, as `probe` trains it
POSITIONS = 16  # of a row that a step reads
STEPS = 250
LEARNING_RATE = 1.0
MOMENTUM = 0.9
CLIP_NORM = 1.0
WEIGHT_DECAY = 1e-3
HELD_OUT_SHARE = 0.2  # of the rows, on which the divergence is measured before and after


@dataclasses.dataclass(frozen=True, eq=False)
class TunedLens:
    """The translators of one checkpoint, and what they are worth.

    Attributes:
      A_LxDxD, b_LxD: float32; 0 in the last layer.
      kl_before_L, kl_after_L: on rows that were not trained on, the mean divergence in nats of the logit lens and of this one.
    """

    A_LxDxD: np.ndarray
    b_LxD: np.ndarray
    kl_before_L: np.ndarray
    kl_after_L: np.ndarray

    @property
    def translators(self) -> dict:
        return {"A_LxDxD": self.A_LxDxD, "b_LxD": self.b_LxD}


def train(
    subject: Subject,
    tokens_NxT: np.ndarray,
    steps: int = STEPS,
    positions_per_row: int = POSITIONS,
    learning_rate: float = LEARNING_RATE,
) -> TunedLens:
    """Trains the translators of one checkpoint; one executable serves all checkpoints of a run.

    Every step draws `subject.batch_size` rows and positions in them; logits exist at those positions only, of one layer at a
    time. Nothing is read where a document ends.

    Args:
      tokens_NxT: packed rows the model was not trained on; a fifth of them, drawn at random, is kept for the test.
      learning_rate: of the first step, before the factor 1 - MOMENTUM that undoes what momentum adds up.

    Raises:
      UserError: fewer than two rows, rows longer than the model sees, more positions than a row has, a model of one
        layer, a training that diverged.
    """
    tokens_NxT = np.asarray(tokens_NxT, np.int32)
    _check(subject.model, tokens_NxT, positions_per_row)
    end, batch_size = subject.document_end, subject.batch_size
    rows, everywhere = placement.layout(subject.params, batch_size)
    step, divergence = jitted_steps(subject.model, end, steps, learning_rate, everywhere)

    rng = np.random.default_rng(0)
    order_N = rng.permutation(len(tokens_NxT))
    tested = max(1, round(len(tokens_NxT) * HELD_OUT_SHARE))
    test_NxT, train_NxT = tokens_NxT[order_N[:tested]], tokens_NxT[order_N[tested:]]
    test = _at_positions(rng, test_NxT, positions_per_row, end)

    state = jax.device_put(initial_state(subject.model, steps, learning_rate), everywhere)
    kl_before_L = _mean_divergence(divergence, subject, state, test, rows)
    for _ in range(steps):
        drawn = train_NxT[rng.integers(len(train_NxT), size=batch_size)]
        batch = jax.device_put(_at_positions(rng, drawn, positions_per_row, end), rows)
        state = step(subject.params, state, batch)
    kl_after_L = _mean_divergence(divergence, subject, state, test, rows)
    if not np.isfinite(kl_after_L).all():
        raise UserError(f"the tuned lens diverged; train it with a learning_rate below {learning_rate:g}.")
    translators = {
        name: np.concatenate([np.asarray(values), np.zeros_like(values[:1])])  # the last layer needs none
        for name, values in state["translators"].items()
    }
    return TunedLens(**translators, kl_before_L=kl_before_L, kl_after_L=kl_after_L)


def _check(model: Model, tokens_NxT, positions_per_row: int) -> None:
    N, T = tokens_NxT.shape
    if model.layers < 2:
        raise UserError("a model of one layer has no inner layer to translate; use the logit lens.")
    if N < 2:
        raise UserError(f"a tuned lens needs rows to train on and others to test on, not {N} in all; give more.")
    if model.max_length < T:
        raise UserError(f"rows of {T} tokens are longer than the model's {model.max_length}; cut them.")
    if not 1 <= positions_per_row <= T:
        raise UserError(f"positions_per_row {positions_per_row} must be between 1 and the {T} tokens of a row.")


def identity(model: Model) -> dict:
    """Translators that return what they are given: the tuned lens before training, which is the logit lens."""
    L, D = model.layers, model.width
    return {"A_LxDxD": np.zeros((L, D, D), np.float32), "b_LxD": np.zeros((L, D), np.float32)}


@functools.cache
def jitted_read(model: Model):
    """`(params, translators, residual_LxBxPxD, candidate_BxPxC) -> results` of `lens.read_candidates`, jitted once."""
    return jax.jit(lambda params, translators, h, ids: lens.read_candidates(params, model, h, ids, None, translators))


def _optimizer(steps, learning_rate):
    rate = optax.linear_schedule(learning_rate * (1 - MOMENTUM), 0.0, steps)
    return optax.chain(
        optax.clip_by_global_norm(CLIP_NORM),
        optax.add_decayed_weights(WEIGHT_DECAY),
        optax.sgd(rate, momentum=MOMENTUM, nesterov=True),
    )


def initial_state(model: Model, steps: int, learning_rate: float) -> dict:
    """Identity translators of all layers but the last, and the state of each one's optimiser."""
    translators = {name: jnp.asarray(values[:-1]) for name, values in identity(model).items()}
    return {"translators": translators, "optimizer": jax.vmap(_optimizer(steps, learning_rate).init)(translators)}


@functools.cache
def jitted_steps(model: Model, document_end: int, steps: int, learning_rate: float, everywhere):
    """`(step, divergence)`, jitted: `step(params, state, batch) -> state` trains the translators of all layers at once,
    `divergence(params, state, batch) -> sums over the batch [L] of weighted KL in nats`, 0 in the last layer.

    `batch` holds `tokens` [B, T], `positions` and `weight` [B, P].
    """
    mesh = getattr(everywhere, "mesh", None)
    optimizer = _optimizer(steps, learning_rate)

    def inner_layers(params, state, batch, function):
        """`function(layer, kl_sum)` of each layer but the last, one at a time."""
        segment_BxT = segments(batch["tokens"], document_end)
        request = TapRequest(positions_BxP=batch["positions"])
        _, taps = model.forward(params, batch["tokens"], segment_BxT, Inside(request, mesh=mesh))
        h_LxBxPxD = taps["residual_LxBxPxD"]
        logits_of = model.readout(params, mesh)

        def log_probs(h_BxPxD):
            return jax.nn.log_softmax(logits_of(h_BxPxD))

        final_BxPxV = log_probs(h_LxBxPxD[-1])

        def kl_sum(translator, h_BxPxD):
            h_BxPxD = lens.translate(h_BxPxD, translator["A_LxDxD"], translator["b_LxD"])
            kl_BxP = (jnp.exp(final_BxPxV) * (final_BxPxV - log_probs(h_BxPxD))).sum(axis=-1)
            return (batch["weight"] * kl_BxP).sum()

        return jax.lax.map(lambda layer: function(layer, kl_sum), state | {"h": h_LxBxPxD[:-1]})

    def step(params, state, batch):
        count = jnp.maximum(batch["weight"].sum(), 1)

        def one_layer(layer, kl_sum):
            translator = layer["translators"]
            gradient = jax.grad(lambda translator: kl_sum(translator, layer["h"]) / count)(translator)
            updates, kept = optimizer.update(gradient, layer["optimizer"], translator)
            return {"translators": optax.apply_updates(translator, updates), "optimizer": kept}

        return inner_layers(params, state, batch, one_layer)

    def divergence(params, state, batch):
        sum_L = inner_layers(params, state, batch, lambda layer, kl_sum: kl_sum(layer["translators"], layer["h"]))
        return jnp.append(sum_L, 0.0)

    return placement.jitted(step, everywhere, donate_argnums=1), placement.jitted(divergence, everywhere)


def _at_positions(rng, tokens_BxT, count, document_end):
    """A batch with `count` different positions in each row, drawn by chance; an end of document weighs nothing."""
    inside_BxT = tokens_BxT != document_end
    positions_BxP = np.where(inside_BxT, rng.random(tokens_BxT.shape), 2.0).argsort(axis=1)[:, :count]
    weight_BxP = np.take_along_axis(inside_BxT, positions_BxP, axis=1)
    return {
        "tokens": tokens_BxT,
        "positions": positions_BxP.astype(np.int32),
        "weight": weight_BxP.astype(np.float32),
    }


def _mean_divergence(divergence, subject: Subject, state, test, rows):
    sum_L = sum(
        np.asarray(divergence(subject.params, state, jax.device_put(batch, rows)), np.float64)
        for _, batch in row_batches(test, subject.batch_size)  # what fills up the last batch weighs nothing
    )
    return sum_L / max(test["weight"].sum(), 1)

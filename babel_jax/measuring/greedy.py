"""Greedy programs of one length, in batches with a key-value cache. Letters as in `model/decoder.py`; S positions."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from babel_jax.common.errors import UserError
from babel_jax.model.placement import jitted
from babel_jax.model.protocol import Model
from babel_jax.model.taps import Edit, Inside, at_positions
from babel_jax.probes.subject import Subject, row_batches


@functools.cache
def jitted_generation(model: Model, new_tokens: int, stop_id: int, everywhere):
    """The jitted generator `(params, prompts_BxT, length_B, edit) -> tokens_BxS`, made once per shape of the model."""

    def generate_batch(params, prompts_BxT, length_B, edit):
        B, T = prompts_BxT.shape
        weights = model.weights(params, scanned=True)
        logits_of = model.readout(weights)

        def advance(cache, tokens_Bxt, index_B, last_Bx1):
            position_Bxt = index_B[:, None] + jnp.arange(tokens_Bxt.shape[1])
            cache, h_BxtxD = model.advance(weights, cache, tokens_Bxt, position_Bxt, Inside(edit=edit))
            # Only one position's logits are wanted, so the head is applied there alone.
            logits_BxV = logits_of(at_positions(h_BxtxD, last_Bx1))[:, 0]
            return cache, jnp.argmax(logits_BxV, axis=-1).astype(jnp.int32)

        def one_token(state, _):
            cache, token_B, index_B = state
            cache, next_B = advance(cache, token_B[:, None], index_B, jnp.zeros((B, 1), jnp.int32))
            next_B = jnp.where(token_B == stop_id, stop_id, next_B)
            return (cache, next_B, index_B + 1), next_B

        cache = model.empty_cache(B, min(T + new_tokens, model.max_length), scanned=True)
        cache, first_B = advance(cache, prompts_BxT, jnp.zeros(B, jnp.int32), length_B[:, None] - 1)
        _, later_SxB = jax.lax.scan(one_token, (cache, first_B, length_B), length=new_tokens - 1)
        return jnp.concatenate([first_B[:, None], later_SxB.T], axis=1)

    return jitted(generate_batch, everywhere)


def generate(subject: Subject, prompts_NxT, length_N, new_tokens: int, stop_id: int = -1, edit: Edit | None = None):
    """The most probable continuation, token by token, of each prompt: int32 [N, new_tokens].

    Args:
      subject: `batch_size` prompts are read at a time; the last batch is filled up.
      prompts_NxT: right-padded prompts, whatever the padding.
      length_N: tokens of each prompt, at least 1.
      new_tokens: how many tokens to write.
      stop_id: once this token is written, only it follows. -1: never.
      edit: what to change in the FFNs while reading and writing (`multiply_LxF`, `add_LxF`).

    Raises:
      UserError: a prompt is empty, or does not leave room for the new tokens in the model's context.
    """
    prompts_NxT, length_N = np.asarray(prompts_NxT, np.int32), np.asarray(length_N, np.int32)
    if not len(prompts_NxT):
        return np.zeros((0, new_tokens), np.int32)
    if length_N.min() < 1 or length_N.max() > prompts_NxT.shape[1]:
        raise UserError(f"prompt lengths must be between 1 and {prompts_NxT.shape[1]}; leave out empty prompts.")
    # The last new token is written but never read.
    if length_N.max() + new_tokens - 1 > subject.model.max_length:
        raise UserError(
            f"a prompt of {length_N.max()} tokens and {new_tokens} new ones do not fit a context of "
            f"{subject.model.max_length}; shorten the prompt."
        )
    params, rows, everywhere = subject.placed()
    edit = jax.device_put(edit, everywhere)
    step = jitted_generation(subject.model, new_tokens, stop_id, everywhere)
    written = []
    prompts = {"prompts": prompts_NxT, "length": length_N}
    for kept, batch in row_batches(prompts, subject.batch_size, length=1):
        batch = jax.device_put(batch, rows)
        written.append((kept, step(params, batch["prompts"], batch["length"], edit)))
    return np.concatenate([np.asarray(tokens)[:kept] for kept, tokens in written])

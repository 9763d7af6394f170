import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.decoders import small

from babel_jax.common.errors import UserError
from babel_jax.measuring.greedy import generate, jitted_generation
from babel_jax.model.decoder import Decoder, DecoderConfig, init_params
from babel_jax.model.families.catalogue import BY_TYPE
from babel_jax.probes.subject import Subject

CONFIG = DecoderConfig(
    vocab_size=37,
    width=16,
    layers=2,
    heads=2,
    ffn_width=32,
    max_length=12,
    tied_head=False,
)


def loud(seed=0, config=CONFIG):
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(lambda: init_params(config, 0))
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(0, 0.4, leaf.shape), jnp.float32), shapes)


@functools.partial(jax.jit, static_argnums=2)
def all_logits(params, tokens, config=CONFIG):
    return Decoder(config).apply({"params": params}, tokens)[0]


def naive(params, prompt, new_tokens, config=CONFIG):
    """One prompt, the whole sequence read anew for every token."""
    tokens = list(prompt)
    for _ in range(new_tokens):
        padded = np.array([tokens + [0] * (12 - len(tokens))])
        tokens.append(int(np.argmax(all_logits(params, padded, config)[0, len(tokens) - 1])))
    return tokens[len(prompt) :]


def make_prompts(n=7, longest=8):
    rng = np.random.default_rng(0)
    length = rng.integers(1, longest + 1, n)
    length[0] = longest
    return rng.integers(0, 37, (n, longest)), length


@pytest.mark.parametrize("family", BY_TYPE)
def test_cache_changes_nothing(family):
    """Longer than the windows of those that have one."""
    config = CONFIG if family == "gpt2" else small(family, vocab_size=37)
    params, (prompts, length) = loud(0, config), make_prompts()
    got = generate(Subject(params, config, batch_size=3), prompts, length, new_tokens=5)
    want = [naive(params, prompt[:n], 5, config) for prompt, n in zip(prompts, length, strict=True)]
    assert got.dtype == np.int32 and got.tolist() == want
    assert len({tuple(tokens) for tokens in want}) > 3  # the model says different things to different prompts


def test_padding_and_batch_change_nothing():
    params, (prompts, length) = loud(), make_prompts()
    first = generate(Subject(params, CONFIG, batch_size=7), prompts, length, 5)
    prompts[np.arange(prompts.shape[1]) >= length[:, None]] = 5
    assert np.array_equal(first, generate(Subject(params, CONFIG, batch_size=3), prompts, length, 5))
    assert np.array_equal(first[:, :1], generate(Subject(params, CONFIG, batch_size=3), prompts, length, 1))


def test_nothing_but_the_stop_follows_the_stop():
    params, (prompts, length) = loud(), make_prompts()
    free = generate(Subject(params, CONFIG, batch_size=7), prompts, length, 5)
    stop = int(free[0, 1])
    stopped = generate(Subject(params, CONFIG, batch_size=7), prompts, length, 5, stop_id=stop)
    for was, now in zip(free.tolist(), stopped.tolist(), strict=True):
        end = was.index(stop) if stop in was else 5
        assert now == was[:end] + [stop] * (5 - end)


def test_one_executable_for_all_checkpoints():
    jitted_generation.cache_clear()
    prompts, length = make_prompts()
    for seed in range(3):
        params = loud(seed)
        generate(Subject(params, CONFIG, batch_size=4), prompts, length, 4)
    sharding = jax.tree.leaves(params)[0].sharding
    assert jitted_generation(CONFIG, 4, -1, sharding)._cache_size() == 1


def test_what_does_not_fit_is_refused():
    params, (prompts, length) = loud(), make_prompts()
    with pytest.raises(UserError, match="do not fit a context of 12"):
        generate(Subject(params, CONFIG, batch_size=4), prompts, length, new_tokens=6)
    with pytest.raises(UserError, match="between 1 and 8"):
        generate(Subject(params, CONFIG, batch_size=4), prompts, length * 0, new_tokens=2)
    assert generate(Subject(params, CONFIG, batch_size=4), prompts[:0], length[:0], 3).shape == (
        0,
        3,
    )

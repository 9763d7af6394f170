"""A small model with held-out rows and slots that go through the pass, and a model whose neurons are set by hand."""

import jax
import jax.numpy as jnp
import numpy as np

from babel_jax.common.errors import UserError
from babel_jax.measuring.greedy import generate, jitted_generation
from babel_jax.model import placement
from babel_jax.model.decoder import DecoderConfig, init_params
from babel_jax.model.taps import ACTIVE
from babel_jax.probes import forward
from babel_jax.probes.subject import Subject

CONFIG = DecoderConfig(vocab_size=23, width=16, layers=2, heads=2, ffn_width=24, max_length=8)
END = 3


def loud(seed=0):
    """Parameters so large that neurons and layers differ."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(lambda: init_params(CONFIG, 0))
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(0, 0.3, leaf.shape), jnp.float32), shapes)


def make_heldout(seed, n):
    rng = np.random.default_rng(seed)
    loss = rng.random((n, 8)) < 0.7
    return {
        "tokens": rng.integers(0, 23, (n, 9)).astype(np.int32),
        "loss": loss,
        "knowledge": loss & (rng.random((n, 8)) < 0.3),
    }


HELDOUT = {"a": make_heldout(1, 11), "b": make_heldout(2, 18)}


def make_slots(seed, n):
    rng = np.random.default_rng(seed)
    ids = {name: rng.integers(0, 23, n) for name in ("primary_id", "new_id")}
    return {
        "tokens": rng.integers(0, 23, (n, 8)).astype(np.int32),
        "position": rng.integers(0, 8, n),
    } | ids


SLOTS = {"a": make_slots(3, 5), "b": make_slots(4, 9)}


def pass_of(params, batch_size=6, document_end=END):
    return forward.measure(Subject(params, CONFIG, document_end, batch_size), HELDOUT, SLOTS)


# A decoder with one layer and no attention whose FFN neurons are set by hand: language k's tokens have the embedding
# in_k, its neurons fire on in_k alone and write out_k, and the head reads out_k as "one of k's tokens".
PLANTED = {0: [5], 1: [70], 2: [33, 250]}  # 4 neurons, 1 % of 400
PLANTED_CONFIG = DecoderConfig(
    vocab_size=12,
    width=16,
    layers=1,
    heads=1,
    ffn_width=400,
    max_length=6,
    tied_head=False,
)


def planted_params(ablate=()):
    params = jax.tree.map(jnp.zeros_like, init_params(PLANTED_CONFIG, 0))
    axes = np.eye(16, dtype=np.float32)
    into, out_of = axes[0:3] - axes[4:7], axes[8:11] - axes[12:15]
    language_of_token = np.arange(12) // 4
    kernel, bias, out = (
        np.zeros((16, 400), np.float32),
        np.full(400, -1, np.float32),
        np.zeros((400, 16), np.float32),
    )
    for k, places in PLANTED.items():
        for place in places:
            kernel[:, place], bias[place] = (
                4 * into[k],
                -10,
            )  # 12 on k's tokens; so far below 0 elsewhere that GELU is 0
            if place not in ablate:
                out[place] = out_of[k]
    bias[[1, 2, 3]] = 1  # always on
    kernel[:, 100:115], bias[100:115] = into.sum(0)[:, None], 0  # in every language
    params["embed_table"] = jnp.asarray(into[language_of_token])
    params["blocks"]["ln_2"]["scale"] = jnp.ones((1, 16))
    params["blocks"]["ffn_in"] = {
        "kernel": jnp.asarray(kernel[None]),
        "bias": jnp.asarray(bias[None]),
    }
    params["blocks"]["ffn_out"]["kernel"] = jnp.asarray(out[None])
    params["ln_f_scale"] = jnp.ones(16)
    params["head"] = jnp.asarray(out_of[language_of_token])
    return params


def on_these_devices(params) -> dict:
    """What passes and greedy writing give on the devices that `params` lie on, as JSON values."""
    forward.jitted_pass.cache_clear()
    jitted_generation.cache_clear()
    for _ in range(2):
        measured = pass_of(params, batch_size=8)
    lengths = np.array([1, 2, 3, 4, 4, 3, 2, 1, 1])
    written = generate(Subject(params, CONFIG, batch_size=8), SLOTS["b"]["tokens"][:, :4], lengths, 3)
    _, everywhere = placement.layout(params, 8)
    refused = None
    try:
        pass_of(params, batch_size=6)
    except UserError as error:
        refused = str(error)
    return {
        "active": measured.active_RxLxFxK.tolist(),
        "tokens": measured.tokens_RxK.tolist(),
        "sums": measured.activation_sum_RxLxFxK.tolist(),
        "loss": {name: sums.loss_sum.tolist() for name, sums in measured.rows.items()},
        "lens": {name: readings.primary_log_prob_LxN.tolist() for name, readings in measured.slots.items()},
        "written": written.tolist(),
        "devices": jax.device_count(),
        "refused": refused,
        "executables": [
            forward.jitted_pass(CONFIG, END, (), everywhere, ACTIVE[0])._cache_size(),
            jitted_generation(CONFIG, 3, -1, everywhere)._cache_size(),
        ],
    }

"""A small model with held-out rows and slots at which its neurons are scored."""

import jax
import jax.numpy as jnp
import numpy as np

from babel_jax.model.decoder import DecoderConfig
from babel_jax.probes import ablation, attribution, centroid
from babel_jax.probes.subject import Subject
from helpers import loud

CONFIG = DecoderConfig(vocab_size=24, width=16, layers=2, heads=2, ffn_width=20, max_length=8, tied_head=False)
END = 3
PARAMS = loud(CONFIG, scale=0.25)
RNG = np.random.default_rng(0)


def make_heldout(seed, n):
    rng = np.random.default_rng(seed)
    return {
        "tokens": rng.integers(0, 23, (n, 9)).astype(np.int32),
        "loss": (rng.random((n, 8)) < 0.7).astype(np.float32),
    }


HELDOUT = {"a": make_heldout(1, 5), "b": make_heldout(2, 7)}


def neurons_in_order(order):
    blocks = PARAMS["blocks"]
    ffn_in = {"kernel": blocks["ffn_in"]["kernel"][:, :, order], "bias": blocks["ffn_in"]["bias"][:, order]}
    ffn_out = blocks["ffn_out"] | {"kernel": blocks["ffn_out"]["kernel"][:, order]}
    return PARAMS | {"blocks": blocks | {"ffn_in": ffn_in, "ffn_out": ffn_out}}


def make_slots(seed, n):
    rng = np.random.default_rng(seed)
    ids = {f"{name}_ids": rng.permuted(np.tile(np.arange(23), (n, 1)), axis=1)[:, :3] for name in ("new", "primary")}
    ids["new_ids"][::2, 1:] = -1  # sets of one and sets of three
    return {"tokens": rng.integers(4, 23, (n, 8)).astype(np.int32), "position": rng.integers(0, 8, n)} | ids


SLOTS = make_slots(5, 6)


def all_scores(params):
    parallel = make_slots(6, 6)
    got = {"gradient": attribution.gradient_scores(Subject(params, CONFIG, END, 4), HELDOUT, ["a", "b"])}
    got |= vars(ablation.causal_scores(Subject(params, CONFIG, batch_size=4), SLOTS))
    return got | {
        "transfer": centroid.transfer_scores(Subject(params, CONFIG, batch_size=4), SLOTS, parallel, "centroid_type1")
    }


def written_out(params, tokens_BxT, segment_BxT, change_LxBxTxF):
    """GPT-2 written out without Flax, scan or taps: logits and activations, with `change` added to the activations."""

    def normed(x, scale, bias):
        x = x - x.mean(-1, keepdims=True)
        return x / jnp.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * scale + bias

    T = tokens_BxT.shape[1]
    h = params["embed_table"][tokens_BxT] + params["embed_position"][:T]
    seen_BxTxT = np.tril(np.ones((T, T), bool)) & (segment_BxT[:, :, None] == segment_BxT[:, None, :])
    activations = []
    for layer in range(CONFIG.layers):
        p = jax.tree.map(lambda leaf, layer=layer: leaf[layer], params["blocks"])

        def dense(x, name, p=p):
            return x @ p[name]["kernel"] + p[name]["bias"]

        q, k, v = jnp.split(dense(normed(h, **p["ln_1"]), "qkv"), 3, axis=-1)
        heads = []
        for head in jnp.split(jnp.arange(CONFIG.width), CONFIG.heads):
            weight = jnp.einsum("btd,bsd->bts", q[..., head], k[..., head]) / np.sqrt(len(head))
            weight = jax.nn.softmax(jnp.where(seen_BxTxT, weight, -1e30), axis=-1)
            heads.append(jnp.einsum("bts,bsd->btd", weight, v[..., head]))
        h = h + dense(jnp.concatenate(heads, axis=-1), "attention_out")
        z = dense(normed(h, **p["ln_2"]), "ffn_in")
        a = 0.5 * z * (1 + jnp.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3)))
        activations.append(a)
        h = h + dense(a + change_LxBxTxF[layer], "ffn_out")
    return normed(h, params["ln_f_scale"], params["ln_f_bias"]) @ params["head"].T, jnp.stack(activations)


def no_change(tokens_BxT):
    return jnp.zeros((CONFIG.layers, *tokens_BxT.shape, CONFIG.ffn_width))

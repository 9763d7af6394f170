"""A small model written out in NumPy too, with neurons that are changed, slots, and another checkpoint of it."""

import jax
import numpy as np

from babel_jax.model.decoder import DecoderConfig
from babel_jax.probes import causes, edits, parts
from babel_jax.probes.subject import Subject
from helpers import loud

CONFIG = DecoderConfig(vocab_size=23, width=16, layers=2, heads=2, ffn_width=24, max_length=8, tied_head=False)
PARAMS = loud(CONFIG)
RNG = np.random.default_rng(0)
TOKENS = RNG.integers(0, 23, (5, 8)).astype(np.int32)
NEURONS = edits.neuron_set(CONFIG, [(0, 3), (0, 17), (1, 0), (1, 5), (1, 23)])
MEANS = RNG.normal(size=(3, 2, 24))  # of three languages
ONE_DEVICE = jax.sharding.SingleDeviceSharding(jax.devices()[0])


def numpy_forward(params, tokens_BxT, ffn=lambda layer, a: a, residual=lambda layer, h: h):
    """GPT-2 in NumPy (float64) with a hook on the FFN's activations and one on what a block hands on: (logits, a, h)."""
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)

    def norm(x, scale, bias):
        return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * scale + bias

    B, T = tokens_BxT.shape
    h = params["embed_table"][tokens_BxT] + params["embed_position"][:T]
    all_a, all_h = [], []
    for layer in range(CONFIG.layers):
        block = jax.tree.map(lambda leaf: leaf[layer], params["blocks"])  # noqa: B023
        qkv = norm(h, **block["ln_1"]) @ block["qkv"]["kernel"] + block["qkv"]["bias"]
        q, k, v = (part.reshape(B, T, CONFIG.heads, -1) for part in np.split(qkv, 3, axis=-1))
        score = np.einsum("btnh,bsnh->bnts", q, k) / np.sqrt(q.shape[-1])
        score = np.where(np.tril(np.ones((T, T), bool)), score, -np.inf)
        weight = np.exp(score - score.max(-1, keepdims=True))
        mixed = np.einsum("bnts,bsnh->btnh", weight / weight.sum(-1, keepdims=True), v).reshape(B, T, -1)
        h = h + mixed @ block["attention_out"]["kernel"] + block["attention_out"]["bias"]
        z = norm(h, **block["ln_2"]) @ block["ffn_in"]["kernel"] + block["ffn_in"]["bias"]
        a = 0.5 * z * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3)))
        a = ffn(layer, a)
        h = residual(layer, h + a @ block["ffn_out"]["kernel"] + block["ffn_out"]["bias"])
        all_a.append(a)
        all_h.append(h)
    return norm(h, params["ln_f_scale"], params["ln_f_bias"]) @ params["head"].T, all_a, all_h


PLAIN, ACTIVATIONS, STATES = numpy_forward(PARAMS, TOKENS)
TARGET, OTHERS = MEANS[0], MEANS[1:]
KINDS = {  # kind -> (what `edit` is given, what happens to a [B, T, n] of the neurons, with their places in [L, F])
    "zero": ({}, lambda a, at: a * 0),
    "value": ({"value": -2.5}, lambda a, at: a * 0 - 2.5),
    "mean": ({"mean_LxF": TARGET}, lambda a, at: a * 0 + TARGET[at]),
    "scale": ({"factor": 3.0}, lambda a, at: 3 * a),
    "add": ({"mean_LxF": TARGET, "factor": 2.0}, lambda a, at: a + 2 * TARGET[at]),
    "replace": ({"mean_LxF": TARGET}, lambda a, at: a * 0 + TARGET[at]),
    "diffmean": ({"mean_LxF": TARGET, "other_KxLxF": OTHERS}, lambda a, at: a + (MEANS[0] - MEANS[1:].mean(0))[at]),
}


def hook(change, neurons_LxF=NEURONS):
    def ffn(layer, a):
        a, at = a.copy(), np.flatnonzero(neurons_LxF[layer])
        a[:, :, at] = change(a[:, :, at], (layer, at))
        return a

    return ffn


SOURCE_OF = np.array([2, 1, 2, 4, 4])  # rows 1, 2 and 4 are their own source, so they run as if nothing were done
EVERY = np.broadcast_to(np.arange(8), (5, 8))


def heldout(seed, n=40, vocabulary=(0, 23)):
    rng = np.random.default_rng(seed)
    return {"tokens": rng.integers(*vocabulary, (n, 9)).astype(np.int32), "loss": rng.random((n, 8)) < 0.7}


def make_slots(seed, n=14):
    rng = np.random.default_rng(seed)
    tokens = rng.integers(0, 23, (n, 8)).astype(np.int32)
    best = numpy_forward(PARAMS, tokens)[0].argmax(-1)[np.arange(n), np.arange(n) % 8]
    ids = np.stack([rng.permutation(np.delete(np.arange(23), best[i]))[:4] for i in range(n)])
    primary, new = ids[:, :2].copy(), ids[:, 2:].copy()
    primary[1::3, 0], new[::3, 0] = best[1::3], best[::3]  # some are right
    new[::3, 1] = -1
    return {
        "tokens": tokens,
        "position": np.arange(n) % 8,
        "primary_ids": primary,
        "new_ids": new,
        "pair": np.arange(n) // 4,
        "prompt": np.arange(n),
        "subset": np.arange(n) % 2,
    }


SLOTS = make_slots(5)
OTHER = loud(CONFIG, seed=1)


def values_of(params):
    restored = parts.restore(params, OTHER, "blocks/ffn_[1]")
    sets = {"s": NEURONS}
    rows = causes.loss_change_rows(Subject(restored, CONFIG, batch_size=4), {"a": heldout(0, 13)}, sets)
    rows += causes.slot_change_rows(Subject(params, CONFIG, batch_size=4), SLOTS, "php", "python", sets)
    return [[row["value"] for row in rows], [row["options"]["random_mean"] for row in rows]]


def naive_slots(slots, right, ffn=lambda layer, a: a):
    logits = numpy_forward(PARAMS, slots["tokens"], ffn)[0]
    found = {"logit_difference": [], "margin": [], "accuracy": []}
    for n, position in enumerate(slots["position"]):
        p = np.exp(logits[n, position])
        p /= p.sum()
        primary, new = ([i for i in slots[name][n] if i >= 0] for name in ("primary_ids", "new_ids"))
        chosen = {"primary": primary, "new": new}[right]
        others = [i for i in range(23) if i not in chosen]
        found["logit_difference"].append(np.log(p[new].sum()) - np.log(p[primary].sum()))
        found["margin"].append(np.log(p[chosen].sum()) - np.log(p[others].max()))
        found["accuracy"].append(float(np.argmax(p) in chosen))
    return {name: np.array(values) for name, values in found.items()}

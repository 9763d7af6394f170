"""Small models of four kinds of block, and any decoder written out in NumPy (float64), with hooks on its neurons and states."""

import math

import jax
import numpy as np

from babel_jax.model.architecture import Architecture, LayerKind, Rope
from babel_jax.model.decoder import DecoderConfig
from helpers import loud

PLAIN_BIASES = dict(qkv_bias=False, attention_out_bias=False, ffn_bias=False)
LLAMA = Architecture(
    norm="rms",
    gated=True,
    activation="silu",
    fused_qkv=False,
    learned_positions=False,
    rope_width=6,
    kinds=(LayerKind(rope=Rope()),),
    **PLAIN_BIASES,
)
ARCHITECTURES = {
    "llama": LLAMA,
    "olmo2": Architecture(
        norm="rms",
        norm_epsilon=1e-6,
        input_norms=False,
        output_norms=True,
        qk_norm="width",
        gated=True,
        activation="silu",
        fused_qkv=False,
        learned_positions=False,
        rope_width=6,
        kinds=(LayerKind(rope=Rope(500000.0)),),
        **PLAIN_BIASES,
    ),
    "gpt_neox": Architecture(
        parallel=True,
        fused_qkv=False,
        activation="gelu",
        learned_positions=False,
        rope_width=2,
        kinds=(LayerKind(rope=Rope()),),
    ),
    "gemma2": Architecture(
        norm="rms_from_one",
        norm_epsilon=1e-6,
        output_norms=True,
        gated=True,
        activation="gelu_tanh",
        fused_qkv=False,
        score_width=9.0,
        score_cap=4.0,
        logit_cap=3.0,
        embedding_scale=4.0,
        learned_positions=False,
        rope_width=6,
        kinds=(LayerKind(3, Rope()), LayerKind(0, Rope())),
        kind_of_layer=(0, 1),
        **PLAIN_BIASES,
    ),
}
FAMILIES = tuple(ARCHITECTURES)
SIZES = dict(vocab_size=23, width=16, layers=2, heads=4, ffn_width=20, max_length=8, kv_heads=2, head_width=6)


def config_of(family: str, **changes) -> DecoderConfig:
    return DecoderConfig(**(SIZES | dict(architecture=ARCHITECTURES[family], tied_head=family == "gemma2") | changes))


def params_of(family: str, seed: int = 0) -> dict:
    return loud(config_of(family), seed)


ACTS = {
    "silu": lambda z: z / (1 + np.exp(-z)),
    "gelu": np.vectorize(lambda z: 0.5 * z * (1 + math.erf(z / math.sqrt(2)))),
    "gelu_tanh": lambda z: 0.5 * z * (1 + np.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3))),
}


def _norm(config, x, own: dict):
    kind, epsilon = config.architecture.norm, config.architecture.norm_epsilon
    if kind == "layer":
        x = x - x.mean(-1, keepdims=True)
    normal = x / np.sqrt((x**2).mean(-1, keepdims=True) + epsilon)
    return {
        "layer": lambda: normal * own["scale"] + own["bias"],
        "rms": lambda: normal * own["scale"],
        "rms_from_one": lambda: normal * (1 + own["scale"]),
    }[kind]()


def _capped(x, cap):
    return cap * np.tanh(x / cap) if cap else x


def _turned(x_BxTxH, rope, width):
    """Pairs (i, i + width / 2) as complex numbers, turned by position x frequency."""
    T, half = x_BxTxH.shape[1], width // 2
    angle_Txr = np.arange(T)[:, None] * rope.theta ** (-2 * np.arange(half) / width)
    pair = (x_BxTxH[..., :half] + 1j * x_BxTxH[..., half:width]) * np.exp(1j * angle_Txr)
    return np.concatenate([pair.real, pair.imag, x_BxTxH[..., width:]], axis=-1)


def _attention(config, block, x_BxTxD, kind: LayerKind, segment_BxT):
    parts, (B, T, _) = config.architecture, x_BxTxD.shape
    q, k, v = (
        np.einsum("btd,dnh->btnh", x_BxTxD, block[name]["kernel"]) + block[name].get("bias", 0) for name in "qkv"
    )
    if parts.qk_norm == "width":
        q, k = (_norm(config, x.reshape(B, T, -1), block[n]).reshape(x.shape) for x, n in ((q, "ln_q"), (k, "ln_k")))
    behind_TxT = np.arange(T)[:, None] - np.arange(T)
    seen_BxTxT = (behind_TxT >= 0) & (segment_BxT[:, :, None] == segment_BxT[:, None, :])
    if kind.window:
        seen_BxTxT = seen_BxTxT & (behind_TxT < kind.window)
    mixed = []
    for head in range(config.heads):
        of = head * config.kv_heads // config.heads
        turned = [_turned(x, kind.rope, parts.rope_width) for x in (q[:, :, head], k[:, :, of])]
        score_BxTxT = np.einsum("bth,bsh->bts", *turned) / math.sqrt(parts.score_width or config.head_width)
        weight_BxTxT = np.where(seen_BxTxT, np.exp(_capped(score_BxTxT, parts.score_cap)), 0)
        mixed.append(weight_BxTxT / weight_BxTxT.sum(-1, keepdims=True) @ v[:, :, of])
    out = block["attention_out"]
    return np.concatenate(mixed, axis=-1) @ out["kernel"] + out.get("bias", 0)


def in_numpy(config, params, tokens_BxT, segment_BxT=None, ffn=lambda layer, a: a, state=lambda layer, h: h):
    """Logits [B, T, V], and what stands inside by name, [L, B, T, …]: `gate` (what the activation is applied to), `a` (the
    neurons' values), `before` (what the FFN's write is added to), `factor` (of the norm of what it writes), `h` (the state after
    the block).

    `ffn(layer, a)` and `state(layer, h)` may change the values of a layer's neurons, and the state after it.
    """
    parts, act = config.architecture, ACTS[config.architecture.activation]
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    segment_BxT = np.zeros(tokens_BxT.shape, int) if segment_BxT is None else np.asarray(segment_BxT)
    h = params["embed_table"][tokens_BxT] * parts.embedding_scale
    inside = {name: [] for name in ("gate", "a", "before", "factor", "h")}
    for layer in range(config.layers):
        block = jax.tree.map(lambda leaf: leaf[layer], params["blocks"])  # noqa: B023
        kind = parts.kinds[parts.kind_of_layer[layer] if parts.kind_of_layer else 0]

        def normed(name, x, wanted=True, block=block):
            return _norm(config, x, block[name]) if wanted else x

        def dense(x, name, block=block):
            return x @ block[name]["kernel"] + block[name].get("bias", 0)

        mixed = _attention(config, block, normed("ln_1", h, parts.input_norms), kind, segment_BxT)
        before = h + normed("ln_1_out", mixed, parts.output_norms)
        x = normed("ln_2", h if parts.parallel else before, parts.input_norms)
        gate = dense(x, "ffn_gate" if parts.gated else "ffn_in")
        a = ffn(layer, act(gate) * dense(x, "ffn_in") if parts.gated else act(gate))
        written = dense(a, "ffn_out")
        factor = 1 / np.sqrt((written**2).mean(-1) + parts.norm_epsilon)
        h = state(layer, before + normed("ln_2_out", written, parts.output_norms))
        for name, value in (("gate", gate), ("a", a), ("before", before), ("factor", factor), ("h", h)):
            inside[name].append(value)
    return read(config, params, h), {name: np.stack(values) for name, values in inside.items()}


def read(config, params, h):
    """Logits of any state."""
    own = {
        name: np.asarray(params[f"ln_f_{name}"], np.float64) for name in ("scale", "bias") if f"ln_f_{name}" in params
    }
    head_VxD = np.asarray(params["head"] if "head" in params else params["embed_table"], np.float64)
    return _capped(_norm(config, h, own) @ head_VxD.T, config.architecture.logit_cap)


def log_softmax(logits):
    logits = logits - logits.max(-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))

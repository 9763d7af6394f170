"""Gemma (arXiv:2403.08295), Gemma 2 (arXiv:2408.00118) and Gemma 3's language model (arXiv:2503.19786): norms whose scale is
1 + w, embeddings times sqrt(D); then norms on both sides of each half, capped scores and logits, windows."""

import dataclasses

from babel_jax.model.architecture import Architecture, LayerKind
from babel_jax.model.decoder import DecoderConfig
from babel_jax.model.families import config_keys, llama, rope_keys
from babel_jax.model.families.family import Family, Row
from babel_jax.model.families.qwen import QK_NORMS

SANDWICH = (
    *(row for row in llama.ROWS if row.ours != "ln_2"),
    Row("layers.{layer}.post_attention_layernorm", "ln_1_out"),
    Row("layers.{layer}.pre_feedforward_layernorm", "ln_2"),
    Row("layers.{layer}.post_feedforward_layernorm", "ln_2_out"),
)
KEYS = llama.KEYS | {"head_dim": 256, "attention_bias": False, "tie_word_embeddings": True}
ONLY = {"use_bidirectional_attention": (False, None)}


def _block(keys: dict, activation: str, **parts) -> Architecture:
    """Gemma's block; `activation` is the key of its activation function."""
    return dataclasses.replace(
        llama.GATED,
        norm="rms_from_one",
        norm_epsilon=config_keys.number(keys, "rms_norm_eps"),
        embedding_scale=config_keys.size(keys, "hidden_size") ** 0.5,
        activation=config_keys.activation(keys, activation),
        **config_keys.biases(keys, "attention_bias"),
        **parts,
    )


def _write(config: DecoderConfig) -> dict:
    return llama.write(config) | {"attention_bias": config.architecture.qkv_bias}


def _read_gemma(keys: dict) -> DecoderConfig:
    """The first files said "gelu" and meant its approximation."""
    block = _block(keys | ({"hidden_act": "gelu_pytorch_tanh"} if keys["hidden_act"] == "gelu" else {}), "hidden_act")
    return rope_keys.of_kinds(keys, [LayerKind(rope=rope_keys.rope(keys, 10000.0))], block)


GEMMA = Family(
    "gemma",
    "GemmaForCausalLM",
    "model.",
    llama.ROWS,
    KEYS | {"num_key_value_heads": 16, "hidden_act": "gelu_pytorch_tanh"},
    ONLY | {"hidden_activation": ("gelu_pytorch_tanh", None)},
    _read_gemma,
    _write,
    lambda *_: {},  # Gemma's
)


def _sandwiched(keys: dict, **parts) -> Architecture:
    """Gemma 2's block."""
    config_keys.check_divides(
        keys, "hidden_size", "num_attention_heads"
    )  # transformers demands it, whatever head_dim is
    score, own = config_keys.number(keys, "query_pre_attn_scalar"), config_keys.head_width(config_keys.shape(keys))
    norms = {"output_norms": True, "score_width": 0.0 if score == own else score}
    norms["logit_cap"] = config_keys.number_or_none(keys, "final_logit_softcapping")
    return _block(keys, "hidden_activation", **norms, **parts)


def _write_sandwiched(config: DecoderConfig) -> dict:
    parts = config.architecture
    score = parts.score_width or config.head_width
    keys = _write(config) | rope_keys.their_windows(config)
    keys["hidden_activation"] = keys.pop("hidden_act")
    keys["query_pre_attn_scalar"] = int(score) if score == int(score) else score
    return keys | {"final_logit_softcapping": parts.logit_cap or None}


SANDWICH_KEYS = {name: default for name, default in KEYS.items() if name != "hidden_act"} | {
    "num_key_value_heads": 4,
    "hidden_activation": "gelu_pytorch_tanh",
    "query_pre_attn_scalar": 256,
    "sliding_window": 4096,
    "layer_types": None,
}


def _read_gemma2(keys: dict) -> DecoderConfig:
    """Every other layer has a window, the first among them, unless they are listed."""
    L = config_keys.size(keys, "num_hidden_layers", config_keys.MOST_LAYERS)
    types, rope = rope_keys.layer_types(keys, L, rope_keys.every(2, L)), rope_keys.rope(keys, 10000.0)
    window = rope_keys.window(keys, types)
    kinds = [LayerKind(window if kind == rope_keys.SLIDING else 0, rope) for kind in types]
    cap = config_keys.number_or_none(keys, "attn_logit_softcapping")
    return rope_keys.of_kinds(keys, kinds, _sandwiched(keys, score_cap=cap))


GEMMA2 = Family(
    "gemma2",
    "Gemma2ForCausalLM",
    "model.",
    SANDWICH,
    SANDWICH_KEYS | {"final_logit_softcapping": 30.0, "attn_logit_softcapping": 50.0},
    ONLY,
    _read_gemma2,
    lambda config: _write_sandwiched(config) | {"attn_logit_softcapping": config.architecture.score_cap or None},
    lambda head_width, _: {"query_pre_attn_scalar": head_width},  # Gemma 2 2B's
    idle=("hidden_act", "sliding_window_size"),
)
THETA_KEYS = {rope_keys.FULL: "rope_theta", rope_keys.SLIDING: "rope_local_base_freq"}
THETAS = {rope_keys.FULL: 1000000.0, rope_keys.SLIDING: 10000.0}


def _read_gemma3(keys: dict) -> DecoderConfig:
    """All layers but every sixth have a window, unless another number or a list is given."""
    L = config_keys.size(keys, "num_hidden_layers", config_keys.MOST_LAYERS)
    default = rope_keys.every(config_keys.size(keys, "sliding_window_pattern"), L)
    kinds = rope_keys.kinds_by_type(keys, default, THETAS, THETA_KEYS)
    return rope_keys.of_kinds(keys, kinds, _sandwiched(keys, qk_norm="head"))


GEMMA3 = Family(
    "gemma3_text",
    "Gemma3ForCausalLM",
    "model.",
    (*SANDWICH, *QK_NORMS),
    SANDWICH_KEYS | {"final_logit_softcapping": None, "sliding_window_pattern": 6, "rope_local_base_freq": None},
    ONLY | {"attn_logit_softcapping": (None,)},  # which Gemma 3 of transformers does not use
    _read_gemma3,
    lambda config: _write_sandwiched(config) | rope_keys.their_ropes_by_type(config, THETA_KEYS),
    lambda head_width, _: {"query_pre_attn_scalar": head_width, "sliding_window": 1024},  # Gemma 3 4B's
    idle=("hidden_act",),
)

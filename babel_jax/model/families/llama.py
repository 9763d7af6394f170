"""Llama (arXiv:2302.13971, 2407.21783) and two of its kin: Mistral's window, SmolLM3's layers without positions."""

import dataclasses

from babel_jax.model.architecture import Architecture, LayerKind
from babel_jax.model.decoder import DecoderConfig
from babel_jax.model.families import config_keys, rope_keys
from babel_jax.model.families.family import HEADS, PLAIN, Family, Row

ROWS = (
    Row("embed_tokens", "embed_table", PLAIN),
    Row("layers.{layer}.input_layernorm", "ln_1"),
    Row("layers.{layer}.self_attn.q_proj", "q", HEADS),
    Row("layers.{layer}.self_attn.k_proj", "k", HEADS),
    Row("layers.{layer}.self_attn.v_proj", "v", HEADS),
    Row("layers.{layer}.self_attn.o_proj", "attention_out"),
    Row("layers.{layer}.post_attention_layernorm", "ln_2"),
    Row("layers.{layer}.mlp.gate_proj", "ffn_gate"),
    Row("layers.{layer}.mlp.up_proj", "ffn_in"),
    Row("layers.{layer}.mlp.down_proj", "ffn_out"),
    Row("norm", "ln_f"),
    Row("lm_head", "head", PLAIN),
)
BIASES = {"attention_bias": False, "mlp_bias": False}
KEYS = (
    config_keys.SIZE_KEYS
    | rope_keys.ROPE_KEYS
    | {"hidden_act": "silu", "rms_norm_eps": 1e-6, "tie_word_embeddings": False}
)
# What the gated families have in common.
GATED = Architecture(
    norm="rms",
    fused_qkv=False,
    qkv_bias=False,
    attention_out_bias=False,
    ffn_bias=False,
    activation="silu",
    gated=True,
    learned_positions=False,
)


def block(keys: dict, **parts) -> Architecture:
    """Llama's block, as the keys say, but for `parts`."""
    said = {
        "norm_epsilon": config_keys.number(keys, "rms_norm_eps"),
        "activation": config_keys.activation(keys, "hidden_act"),
    }
    return dataclasses.replace(GATED, **said, **parts)


def write(config: DecoderConfig) -> dict:
    """The keys of a model of this block, but for those of biases and windows."""
    activation = {"hidden_act": config_keys.their_activation(config), "rms_norm_eps": config.architecture.norm_epsilon}
    return config_keys.their_shape(config) | activation | rope_keys.their_rope(config)


def _biases(config: DecoderConfig) -> dict:
    return {"attention_bias": config.architecture.qkv_bias, "mlp_bias": config.architecture.ffn_bias}


def _read_llama(keys: dict) -> DecoderConfig:
    config_keys.check_divides(
        keys, "hidden_size", "num_attention_heads"
    )  # transformers demands it, whatever head_dim is
    kinds = [LayerKind(rope=rope_keys.rope(keys, 10000.0))]
    return rope_keys.of_kinds(keys, kinds, block(keys, **config_keys.biases(keys, "attention_bias", "mlp_bias")))


LLAMA = Family(
    "llama",
    "LlamaForCausalLM",
    "model.",
    ROWS,
    KEYS | BIASES,
    {"activation": ("swiglu",)},  # Falcon 3 says it beside hidden_act
    _read_llama,
    lambda config: write(config) | _biases(config),
    lambda *_: {"rms_norm_eps": 1e-5},  # Llama 2, arXiv:2307.09288
    idle=("is_llama_config",),
)


def _read_mistral(keys: dict) -> DecoderConfig:
    window = 0 if keys["sliding_window"] is None else config_keys.size(keys, "sliding_window")
    return rope_keys.of_kinds(keys, [LayerKind(window, rope_keys.rope(keys, 10000.0))], block(keys))


MISTRAL = Family(
    "mistral",
    "MistralForCausalLM",
    "model.",
    ROWS,
    KEYS | {"num_key_value_heads": 8, "sliding_window": 4096},
    {"attention_bias": (False, None), "layer_types": (None,)},
    _read_mistral,
    lambda config: write(config) | {"sliding_window": rope_keys.their_windows(config)["sliding_window"]},
    lambda *_: {"rms_norm_eps": 1e-5, "sliding_window": 4096},  # arXiv:2310.06825
)


def _read_smollm3(keys: dict) -> DecoderConfig:
    """Every `no_rope_layer_interval`-th layer has no positions; a window, if there is one, is in those."""
    L = config_keys.size(keys, "num_hidden_layers", config_keys.MOST_LAYERS)
    interval = config_keys.size(keys, "no_rope_layer_interval")
    turned = keys["no_rope_layers"]
    if turned is None:
        turned = [int((layer + 1) % interval != 0) for layer in range(L)]
    if not isinstance(turned, list) or len(turned) < L or any(layer not in (0, 1) for layer in turned):
        raise config_keys.wrong(keys, "no_rope_layers", "a list of 0 and 1, one a layer")
    windowed = config_keys.flag(keys, "use_sliding_window") and keys["sliding_window"] is not None
    default = [rope_keys.SLIDING if windowed and not turns else rope_keys.FULL for turns in turned]
    types = rope_keys.layer_types(keys, L, default)
    rope, window = rope_keys.rope(keys, 2000000.0), rope_keys.window(keys, types)
    kinds = [
        LayerKind(window if kind == rope_keys.SLIDING else 0, rope if turns else None)
        for kind, turns in zip(types, turned, strict=False)
    ]
    return rope_keys.of_kinds(keys, kinds, block(keys, **config_keys.biases(keys, "attention_bias", "mlp_bias")))


def _write_smollm3(config: DecoderConfig) -> dict:
    windows, turned = (
        rope_keys.their_windows(config),
        [int(kind.rope is not None) for kind in rope_keys.kind_by_layer(config)],
    )
    used = {"use_sliding_window": windows["sliding_window"] is not None, "no_rope_layers": turned}
    return write(config) | _biases(config) | windows | used


SMOLLM3 = Family(
    "smollm3",
    "SmolLM3ForCausalLM",
    "model.",
    ROWS,
    KEYS
    | BIASES
    | {"num_key_value_heads": 4, "tie_word_embeddings": True, "use_sliding_window": False, "sliding_window": None}
    | {"no_rope_layers": None, "no_rope_layer_interval": 4, "layer_types": None},
    {},
    _read_smollm3,
    _write_smollm3,
    lambda *_: {"rope_theta": 50000.0},  # the first stage of SmolLM3, huggingface.co/blog/smollm3
    idle=("max_window_layers",),
)

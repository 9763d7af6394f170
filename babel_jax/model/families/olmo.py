"""OLMo (arXiv:2402.00838), OLMo 2 (arXiv:2501.00656) and OLMo 3: norms without parameters, then norms of what is written."""

import dataclasses

from babel_jax.model.architecture import LayerKind
from babel_jax.model.decoder import DecoderConfig
from babel_jax.model.families import config_keys, llama, rope_keys
from babel_jax.model.families.family import Family, Row
from babel_jax.model.families.qwen import QK_NORMS

OUTPUT_NORMS = (
    Row("layers.{layer}.post_attention_layernorm", "ln_1_out"),
    Row("layers.{layer}.post_feedforward_layernorm", "ln_2_out"),
)
INPUT_NORMS = ("ln_1", "ln_2")
REORDERED = (*(row for row in llama.ROWS if row.ours not in INPUT_NORMS), *OUTPUT_NORMS, *QK_NORMS)
KEYS = llama.KEYS | {"attention_bias": False}
OLMO_KEYS = {name: default for name, default in KEYS.items() if name != "rms_norm_eps"} | {"clip_qkv": None}


def _read_olmo(keys: dict) -> DecoderConfig:
    block = dataclasses.replace(
        llama.GATED,
        norm="layer_plain",
        norm_epsilon=1e-5,  # not in the config: it stands in transformers' code
        qkv_clip=config_keys.number_or_none(keys, "clip_qkv"),
        activation=config_keys.activation(keys, "hidden_act"),
        **config_keys.biases(keys, "attention_bias"),
    )
    return rope_keys.of_kinds(keys, [LayerKind(rope=rope_keys.rope(keys, 10000.0))], block)


def _write(config: DecoderConfig) -> dict:
    return llama.write(config) | {"attention_bias": config.architecture.qkv_bias}


def _write_olmo(config: DecoderConfig) -> dict:
    keys = {name: value for name, value in _write(config).items() if name != "rms_norm_eps"}
    return keys | {"clip_qkv": config.architecture.qkv_clip or None}


OLMO = Family(
    "olmo",
    "OlmoForCausalLM",
    "model.",
    llama.ROWS,
    OLMO_KEYS,
    {},
    _read_olmo,
    _write_olmo,
    lambda *_: {},  # OLMo 1B's
)


def _reordered(keys: dict, kinds: list[LayerKind]) -> DecoderConfig:
    """OLMo 2's block: what each half writes is normed, not what it reads."""
    norms = {"input_norms": False, "output_norms": True, "qk_norm": "width"}
    return rope_keys.of_kinds(keys, kinds, llama.block(keys, **norms, **config_keys.biases(keys, "attention_bias")))


OLMO2 = Family(
    "olmo2",
    "Olmo2ForCausalLM",
    "model.",
    REORDERED,
    KEYS | {"rms_norm_eps": 1e-5},
    {},
    lambda keys: _reordered(keys, [LayerKind(rope=rope_keys.rope(keys, 10000.0))]),
    _write,
    lambda *_: {"rope_theta": 500000.0, "rms_norm_eps": 1e-6},  # OLMo 2's
)
# The first version that wrote `rope_parameters` here reads `rope_theta` for the layers without a window alone; the one before it,
# which wrote it, meant both.
THETA_KEYS = {rope_keys.FULL: "rope_theta", rope_keys.SLIDING: "rope_theta"}
THETAS = dict.fromkeys(THETA_KEYS, 500000.0)


def _read_olmo3(keys: dict) -> DecoderConfig:
    """Three layers of four have a window, unless they are listed."""
    L = config_keys.size(keys, "num_hidden_layers", config_keys.MOST_LAYERS)
    return _reordered(keys, rope_keys.kinds_by_type(keys, rope_keys.every(4, L), THETAS, THETA_KEYS))


OLMO3 = Family(
    "olmo3",
    "Olmo3ForCausalLM",
    "model.",
    REORDERED,
    KEYS | {"rms_norm_eps": 1e-5, "sliding_window": 4096, "layer_types": None},
    {},
    _read_olmo3,
    lambda config: _write(config) | rope_keys.their_windows(config) | rope_keys.their_ropes_by_type(config, THETA_KEYS),
    lambda *_: {"rms_norm_eps": 1e-6},  # OLMo 3 7B's
)

"""Qwen 2 and 2.5 (arXiv:2407.10671, 2412.15115), and Qwen 3 (arXiv:2505.09388): biases of queries, keys and values, or norms of
queries and keys."""

from babel_jax.model.architecture import LayerKind
from babel_jax.model.decoder import DecoderConfig
from babel_jax.model.families import config_keys, llama, rope_keys
from babel_jax.model.families.family import Family, Row

QK_NORMS = (
    Row("layers.{layer}.self_attn.q_norm", "ln_q"),
    Row("layers.{layer}.self_attn.k_norm", "ln_k"),
)
WINDOWS = {"use_sliding_window": False, "sliding_window": 4096, "max_window_layers": 28, "layer_types": None}
KEYS = llama.KEYS | WINDOWS | {"num_key_value_heads": 32}


def _kinds(keys: dict) -> list[LayerKind]:
    """A window, if one is used, is in the layers from `max_window_layers` on, unless they are listed."""
    L = config_keys.size(keys, "num_hidden_layers", config_keys.MOST_LAYERS)
    if not config_keys.flag(keys, "use_sliding_window"):
        keys = keys | {"sliding_window": None}
    first = L if keys["sliding_window"] is None else config_keys.whole(keys, "max_window_layers")
    default = [rope_keys.SLIDING if layer >= first else rope_keys.FULL for layer in range(L)]
    types, rope = rope_keys.layer_types(keys, L, default), rope_keys.rope(keys, 10000.0)
    window = rope_keys.window(keys, types)
    return [LayerKind(window if kind == rope_keys.SLIDING else 0, rope) for kind in types]


def _write(config: DecoderConfig) -> dict:
    windows = rope_keys.their_windows(config)
    first = [*windows["layer_types"], rope_keys.SLIDING].index(rope_keys.SLIDING)
    used = {"use_sliding_window": windows["sliding_window"] is not None, "max_window_layers": first}
    return llama.write(config) | windows | used


QWEN2 = Family(
    "qwen2",
    "Qwen2ForCausalLM",
    "model.",
    llama.ROWS,
    KEYS,
    {"use_mrope": (False,)},
    lambda keys: rope_keys.of_kinds(keys, _kinds(keys), llama.block(keys, qkv_bias=True)),
    _write,
    lambda *_: {"rope_theta": 1000000.0},  # Qwen 2.5's
)


def _read_qwen3(keys: dict) -> DecoderConfig:
    block = llama.block(keys, qk_norm="head", **config_keys.biases(keys, "attention_bias"))
    return rope_keys.of_kinds(keys, _kinds(keys), block)


QWEN3 = Family(
    "qwen3",
    "Qwen3ForCausalLM",
    "model.",
    (*llama.ROWS, *QK_NORMS),
    KEYS | {"head_dim": 128, "attention_bias": False},
    {},
    _read_qwen3,
    lambda config: _write(config) | {"attention_bias": config.architecture.qkv_bias},
    lambda *_: {"rope_theta": 1000000.0},  # Qwen 3's
)

"""GPT-2 (Radford et al. 2019): learned positions, matrices [in, out], a fused matrix of queries, keys and values."""

import dataclasses

from babel_jax.model.architecture import Architecture
from babel_jax.model.decoder import DecoderConfig
from babel_jax.model.families import config_keys
from babel_jax.model.families.family import PLAIN, Family, Row

ROWS = (
    Row("wte", "embed_table", PLAIN),
    Row("wpe", "embed_position", PLAIN),
    Row("h.{layer}.ln_1", "ln_1", PLAIN),
    Row("h.{layer}.attn.c_attn", "qkv", PLAIN),
    Row("h.{layer}.attn.c_proj", "attention_out", PLAIN),
    Row("h.{layer}.ln_2", "ln_2", PLAIN),
    Row("h.{layer}.mlp.c_fc", "ffn_in", PLAIN),
    Row("h.{layer}.mlp.c_proj", "ffn_out", PLAIN),
    Row("ln_f", "ln_f", PLAIN),
    Row("lm_head", "head", PLAIN),
)
SIZES = {
    "vocab_size": "vocab_size",
    "max_length": "n_positions",
    "width": "n_embd",
    "layers": "n_layer",
    "heads": "n_head",
    "ffn_width": "n_inner",
}
KEYS = {name: config_keys.NEEDED for name in SIZES.values()} | {
    "n_inner": None,
    "activation_function": "gelu_new",
    "layer_norm_epsilon": 1e-5,
    "tie_word_embeddings": True,
}
ONLY = {"scale_attn_weights": (True,), "scale_attn_by_inverse_layer_idx": (False,), "add_cross_attention": (False,)}
# Dropout of theirs would be 0.1.
NO_DROPOUT = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}


def _read(keys: dict) -> DecoderConfig:
    if keys["n_inner"] is None:
        keys = keys | {"n_inner": 4 * config_keys.size(keys, "n_embd")}
    architecture = dataclasses.replace(
        Architecture(),
        activation=config_keys.activation(keys, "activation_function"),
        norm_epsilon=config_keys.number(keys, "layer_norm_epsilon"),
    )
    return DecoderConfig(**config_keys.shape(keys, SIZES), architecture=architecture)


def _write(config: DecoderConfig) -> dict:
    names = {
        "activation_function": config_keys.their_activation(config, "gelu_new"),
        "layer_norm_epsilon": config.architecture.norm_epsilon,
    }
    inner = {} if config.ffn_width != 4 * config.width else {"n_inner": None}
    return (
        names
        | {name: only[0] for name, only in ONLY.items()}
        | config_keys.their_shape(config, SIZES)
        | inner
        | NO_DROPOUT
    )


GPT2 = Family(
    "gpt2",
    "GPT2LMHeadModel",
    "transformer.",
    ROWS,
    KEYS,
    ONLY,
    _read,
    _write,
    lambda *_: {},
    idle=(
        *("n_ctx", "reorder_and_upcast_attn", "summary_type", "summary_use_proj", "summary_activation"),
        *("summary_proj_to_labels", "summary_first_dropout"),
    ),
    sizes=SIZES,
    constants=r"(transformer\.)?h\.\d+\.attn\.(bias|masked_bias)",
)

"""StarCoder 2 (arXiv:2402.19173): LayerNorm, biases everywhere, an ungated FFN, fewer keys than queries, a window."""

from babel_jax.model.architecture import Architecture, LayerKind
from babel_jax.model.decoder import DecoderConfig
from babel_jax.model.families import config_keys, llama, rope_keys
from babel_jax.model.families.family import Family, Row

FFN = ("ffn_gate", "ffn_in", "ffn_out")
ROWS = (
    *(row for row in llama.ROWS if row.ours not in FFN),
    Row("layers.{layer}.mlp.c_fc", "ffn_in"),
    Row("layers.{layer}.mlp.c_proj", "ffn_out"),
)
KEYS = (
    config_keys.SIZE_KEYS
    | rope_keys.ROPE_KEYS
    | {"num_key_value_heads": 2, "hidden_act": "gelu_pytorch_tanh", "norm_epsilon": 1e-5, "use_bias": True}
    | {"sliding_window": None, "tie_word_embeddings": True}
)


def _read(keys: dict) -> DecoderConfig:
    block = Architecture(
        norm_epsilon=config_keys.number(keys, "norm_epsilon"),
        fused_qkv=False,
        activation=config_keys.activation(keys, "hidden_act"),
        learned_positions=False,
        **config_keys.biases(keys, "use_bias", "use_bias"),
    )
    window = 0 if keys["sliding_window"] is None else config_keys.size(keys, "sliding_window")
    return rope_keys.of_kinds(keys, [LayerKind(window, rope_keys.rope(keys, 10000.0))], block)


def _write(config: DecoderConfig) -> dict:
    parts = config.architecture
    return (
        config_keys.their_shape(config)
        | {"hidden_act": config_keys.their_activation(config), "norm_epsilon": parts.norm_epsilon}
        | {"use_bias": parts.ffn_bias, "sliding_window": rope_keys.their_windows(config)["sliding_window"]}
        | rope_keys.their_rope(config)
    )


STARCODER2 = Family(
    "starcoder2",
    "Starcoder2ForCausalLM",
    "model.",
    ROWS,
    KEYS,
    {"mlp_type": ("default",), "norm_type": ("layer_norm",), "scale_attn_weights": (True,)},
    _read,
    _write,
    lambda *_: {"rope_theta": 100000.0, "sliding_window": 4096},  # StarCoder2 15B's
    # What transformers' class does not read, in the files of the published models.
    idle=("activation_function", "layer_norm_epsilon", "attention_softmax_in_fp32", "scale_attention_softmax_in_fp32"),
)

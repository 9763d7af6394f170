"""GPT-NeoX (arXiv:2204.06745), of which Pythia is: both halves of a block read its input, a part of each head is turned."""

from babel_jax.model.architecture import Architecture, LayerKind
from babel_jax.model.decoder import DecoderConfig
from babel_jax.model.families import config_keys, rope_keys
from babel_jax.model.families.family import FUSED_BY_HEAD, PLAIN, Family, Row

ROWS = (
    Row("embed_in", "embed_table", PLAIN),
    Row("layers.{layer}.input_layernorm", "ln_1"),
    Row("layers.{layer}.attention.query_key_value", ("q", "k", "v"), FUSED_BY_HEAD),
    Row("layers.{layer}.attention.dense", "attention_out"),
    Row("layers.{layer}.post_attention_layernorm", "ln_2"),
    Row("layers.{layer}.mlp.dense_h_to_4h", "ffn_in"),
    Row("layers.{layer}.mlp.dense_4h_to_h", "ffn_out"),
    Row("final_layer_norm", "ln_f"),
    Row("embed_out", "head", PLAIN),
)
SIZES = {ours: theirs for ours, theirs in config_keys.SIZES.items() if ours not in ("kv_heads", "head_width")}
KEYS = {name: config_keys.NEEDED for name in SIZES.values()} | {
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-5,
    "use_parallel_residual": True,
    "attention_bias": True,
    "tie_word_embeddings": False,
    # Version 4 also wrote the first two under the names of other families.
    "rotary_pct": None,
    "rotary_emb_base": None,
    "partial_rotary_factor": None,
    "rope_theta": None,
    "rope_scaling": None,
    "rope_parameters": None,
}
THETA, SHARE = 10000.0, 0.25


def _read(keys: dict) -> DecoderConfig:
    turned, keys = rope_keys.turned(keys, SHARE, ("rotary_pct", "partial_rotary_factor"))
    rope = rope_keys.rope(keys, THETA, "rotary_emb_base")
    if keys["rope_theta"] not in (None, rope.theta):
        raise config_keys.wrong(keys, "rope_theta", f"what rotary_emb_base says, {rope.theta}; delete one of the two")
    mixing = config_keys.flag(keys, "attention_bias")
    architecture = Architecture(
        norm_epsilon=config_keys.number(keys, "layer_norm_eps"),
        parallel=config_keys.flag(keys, "use_parallel_residual"),
        fused_qkv=False,
        qkv_bias=mixing,
        attention_out_bias=mixing,
        activation=config_keys.activation(keys, "hidden_act"),
        learned_positions=False,
    )
    return rope_keys.of_kinds(keys, [LayerKind(rope=rope)], architecture, turned)


def _write(config: DecoderConfig) -> dict:
    parts, rope = config.architecture, rope_keys.their_rope(config)
    share = rope_keys.share_of_heads(parts.rope_width, config.head_width)
    return config_keys.their_shape(config, SIZES) | {
        "hidden_act": config_keys.their_activation(config, "gelu_fast"),
        "layer_norm_eps": parts.norm_epsilon,
        "use_parallel_residual": parts.parallel,
        "attention_bias": parts.qkv_bias,
        "rotary_pct": share,
        "rotary_emb_base": rope["rope_theta"],
        "rope_scaling": rope["rope_scaling"],
        "rope_parameters": rope["rope_parameters"] | {"partial_rotary_factor": share},
    }


def _pythia(head_width: int, _: int) -> dict:
    """Pythia's (arXiv:2304.01373): a quarter of a head, or the even number next to it."""
    return {"rotary_pct": rope_keys.share_of_heads(max(2, 2 * round(head_width * SHARE / 2)), head_width)}


GPT_NEOX = Family(
    "gpt_neox",
    "GPTNeoXForCausalLM",
    "gpt_neox.",
    ROWS,
    KEYS,
    {"head_dim": (None,)},
    _read,
    _write,
    _pythia,
    sizes=SIZES,
    also={"lm_head.weight": "embed_out.weight"},
    constants=r"(gpt_neox\.)?layers\.\d+\.attention\.(bias|masked_bias|rotary_emb\.inv_freq)",
)

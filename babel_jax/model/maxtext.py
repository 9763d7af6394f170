"""Parameters as MaxText reads them: one Orbax checkpoint of its scanned names, for `load_parameters_path=FOLDER/0/items`.

The names and layouts are those of MaxText's own conversions (AI-Hypercomputer/maxtext at e591f30, August 2026:
`checkpoint_conversion/utils/param_mapping.py`, functions LLAMA31_… and QWEN_…; `layers/attentions.py` and `layers/embeddings.py`
say how they are used). All stand below `params/params`; L, the layer, is axis 1 of what is in a block.

| MaxText | shape | ours |
|---|---|---|
| `token_embedder/embedding` | [V, D] | `embed_table` and behind it `embed_frozen` |
| `decoder/logits_dense/kernel` | [D, V] | `head`, transposed; with a tied head it is not there |
| `decoder/decoder_norm/scale` | [D] | `ln_f_scale` |
| `decoder/layers/pre_self_attention_layer_norm/scale` | [D, L] | `ln_1` |
| `decoder/layers/post_self_attention_layer_norm/scale` | [D, L] | `ln_2` |
| `decoder/layers/self_attention/{query,key,value}/kernel` | [D, L, heads, H] | `q`, `k`, `v` |
| `decoder/layers/self_attention/{query,key,value}/bias` | [heads, L, H] | of `q`, `k`, `v` |
| `decoder/layers/self_attention/{query,key}_norm/scale` | [H, L] | `ln_q`, `ln_k` |
| `decoder/layers/self_attention/out/kernel` | [N, L, H, D] | `attention_out` |
| `decoder/layers/mlp/{wi_0,wi_1,wo}/kernel` | [D, L, F], [F, L, D] | `ffn_gate`, `ffn_in`, `ffn_out` |

Llama-like models (without biases and norms of queries and keys): the query's kernel is divided by sqrt(H), which MaxText leaves
out of attention, and the halves that RoPE turns together lie side by side in queries and keys, as with `rope_type=llama3.1`.
Qwen2's and Qwen3's blocks scale the query themselves and turn halves as ours do: theirs are written as they are.
"""

import dataclasses
import math

import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from babel_jax.common import files
from babel_jax.common.errors import UserError
from babel_jax.model.architecture import Architecture, LayerKind, Rope
from babel_jax.model.decoder import DecoderConfig

IN_BLOCK = {
    "ln_1/scale": "pre_self_attention_layer_norm/scale",
    "ln_2/scale": "post_self_attention_layer_norm/scale",
    "q/kernel": "self_attention/query/kernel",
    "k/kernel": "self_attention/key/kernel",
    "v/kernel": "self_attention/value/kernel",
    "q/bias": "self_attention/query/bias",
    "k/bias": "self_attention/key/bias",
    "v/bias": "self_attention/value/bias",
    "ln_q/scale": "self_attention/query_norm/scale",
    "ln_k/scale": "self_attention/key_norm/scale",
    "attention_out/kernel": "self_attention/out/kernel",
    "ffn_gate/kernel": "mlp/wi_0/kernel",
    "ffn_in/kernel": "mlp/wi_1/kernel",
    "ffn_out/kernel": "mlp/wo/kernel",
}
BLOCKS = {("none", False): "llama2", ("none", True): "qwen2", ("head", False): "qwen3"}  # by qk_norm and qkv_bias
LLAMA31 = Rope(
    scaling="llama3", factor=8.0, original_length=8192, slow_turns=1.0, fast_turns=4.0
)  # the one that is built in


@dataclasses.dataclass(frozen=True)
class Options:
    """What MaxText must be told of a model, as keys of its own config. `interleaved`: see above."""

    interleaved: bool
    keys: dict[str, object]


def options(config: DecoderConfig) -> Options:
    """How a model is described to MaxText.

    Raises:
      UserError: it has no such blocks.
    """
    parts = config.architecture
    block = BLOCKS.get((parts.qk_norm, parts.qkv_bias))
    rope = parts.kinds[0].rope
    if block is None or rope is None or parts != _llama_like(config):
        raise UserError(
            "MaxText has no block such as this model's that is written here; those of Llama, Mistral without a window, Qwen2 and "
            "Qwen3 are: export with --layout=huggingface."
        )
    scaled = rope == dataclasses.replace(LLAMA31, theta=rope.theta)
    if not (rope.scaling == "none" or scaled and block == "llama2"):
        raise UserError(
            "MaxText has no RoPE such as this model's that is written here; plain ones and Llama 3.1's scaling by 8 are: export "
            "with --layout=huggingface."
        )
    keys = {
        "decoder_block": block,
        "base_emb_dim": config.width,
        "base_num_query_heads": config.heads,
        "base_num_kv_heads": config.kv_heads,
        "head_dim": config.head_width,
        "base_mlp_dim": config.ffn_width,
        "base_num_decoder_layers": config.layers,
        "vocab_size": config.vocab_size,
        "mlp_activations": ["silu", "linear"],
        "normalization_layer_epsilon": parts.norm_epsilon,
        "rope_max_timescale": rope.theta,
        "logits_via_embedding": config.tied_head,
        "normalize_embedding_logits": False,
        "scan_layers": True,
    }
    if block == "llama2":
        return Options(True, keys | {"rope_type": "llama3.1", "rope_use_scale": scaled})
    return Options(False, keys | {"attention_bias": parts.qkv_bias, "use_qk_norm": parts.qk_norm == "head"})


def _llama_like(config: DecoderConfig) -> Architecture:
    """The same in everything that may differ between the blocks written here, and Llama's in all else."""
    free = ("norm_epsilon", "qk_norm", "qkv_bias", "kind_of_layer")
    parts = config.architecture
    return Architecture(
        norm="rms",
        fused_qkv=False,
        attention_out_bias=False,
        ffn_bias=False,
        activation="silu",
        gated=True,
        learned_positions=False,
        rope_width=config.head_width,
        kinds=(LayerKind(0, parts.kinds[0].rope),),
        **{name: getattr(parts, name) for name in free},
    )


def parameters(config: DecoderConfig, params: dict) -> dict:
    """A model's parameters under MaxText's names, as a nested dict; raises as `options`."""
    llama_like = options(config).interleaved
    tree: dict = {}
    _put(tree, "token_embedder/embedding", _table(params))
    _put(tree, "decoder/decoder_norm/scale", params["ln_f_scale"])
    if not config.tied_head:
        _put(tree, "decoder/logits_dense/kernel", params["head"].T)
    for ours, theirs in IN_BLOCK.items():
        module, leaf = ours.split("/")
        if module not in params["blocks"] or leaf not in params["blocks"][module]:
            continue
        values = params["blocks"][module][leaf]
        if module == "attention_out":
            values = values.reshape(config.layers, config.heads, config.head_width, config.width)
        if llama_like and ours in ("q/kernel", "k/kernel"):
            values = side_by_side(values)
        if llama_like and ours == "q/kernel":
            values = values * np.float32(1 / math.sqrt(config.head_width))
        _put(tree, f"decoder/layers/{theirs}", jnp.moveaxis(values, 0, 1))
    return tree


def _table(params: dict):
    return jnp.concatenate([params[name] for name in ("embed_table", "embed_frozen") if name in params])


def side_by_side(x):
    """The last axis with number i and number i + H / 2 as neighbours."""
    return jnp.stack(jnp.split(x, 2, axis=-1), axis=-1).reshape(x.shape)


def _put(tree: dict, path: str, values) -> None:
    *above, name = path.split("/")
    for part in above:
        tree = tree.setdefault(part, {})
    tree[name] = values


def write(directory, config: DecoderConfig, params: dict) -> None:
    """Writes a folder with the checkpoint `0/items` and, behind it, `maxtext.json`: the keys of `options`.

    Raises:
      UserError: MaxText has no such model; there is something already; it cannot be written.
    """
    directory = files.path(directory)
    keys = options(config).keys
    if (directory / "0").exists():
        raise UserError(f"{directory / '0'} exists already; give a new folder.")
    try:
        with ocp.Checkpointer(ocp.PyTreeCheckpointHandler(use_ocdbt=True, use_zarr3=True)) as checkpointer:
            checkpointer.save(directory / "0" / "items", {"params": {"params": parameters(config, params)}})
    except (OSError, ValueError) as error:  # TensorStore reports a full disk or a lost bucket as a ValueError
        raise UserError(
            f"cannot write {directory} ({error}); free space, or mend the permissions or the connection, and run again."
        ) from error
    files.write_json(directory / "maxtext.json", keys)

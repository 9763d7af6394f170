"""A GPT-2 decoder in Flax Linen that exposes what happens inside it.

Names hold shapes. The letters are the config's fields:

  B batch   T positions   V vocab_size   D width   L layers   N heads   H head width (D / N)   F ffn_width
  P chosen positions per row   K languages

`Decoder.apply` returns `(logits_BxTxV, taps)`: a plain dict of what a `TapRequest` asked for, reduced inside the scan
over layers, so that nothing of size B x T x F survives a layer. What nobody reads is removed by the compiler.
"""

import dataclasses
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from babel_jax.common.errors import UserError, unknown_name
from babel_jax.model import attention
from babel_jax.model.sharding import constrain, path_name
from babel_jax.model.taps import Edit, TapRequest, at_positions, edit_ffn, edit_residual, reduce_taps

LAYER_NORM_EPSILON = 1e-5
DTYPES = ("float32", "bfloat16")  # of the computation
# What the backward pass keeps of a block instead of computing it again: everything, the results of its matrix products, nothing.
REMAT_POLICIES = {
    "none": None,
    "dots": jax.checkpoint_policies.save_from_both_policies(
        jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
        jax.checkpoint_policies.save_only_these_names(attention.SAVED),
    ),
    "full": jax.checkpoint_policies.nothing_saveable,
}


@dataclasses.dataclass(frozen=True)
class DecoderConfig:
    """The shape of a decoder. `frozen_rows`: the last rows of the vocabulary keep their random input embedding for ever."""

    vocab_size: int
    width: int
    layers: int
    heads: int
    ffn_width: int
    max_length: int
    tied_head: bool = True
    frozen_rows: int = 0
    frozen_std: float = 0.1
    dtype: str = "float32"  # of the computation; parameters are always float32
    remat: str = "none"
    attention: str = "reference"

    def __post_init__(self):
        if self.width % self.heads:
            raise UserError(
                f"width {self.width} is not divisible by {self.heads} heads; choose another number of heads."
            )
        if self.remat not in REMAT_POLICIES:
            raise unknown_name("remat policy", self.remat, REMAT_POLICIES)
        if self.attention not in attention.BACKENDS:
            raise unknown_name("attention back end", self.attention, attention.BACKENDS)
        if self.dtype not in DTYPES:
            raise unknown_name("compute dtype", self.dtype, DTYPES)
        if not 0 <= self.frozen_rows < self.vocab_size:
            raise UserError(
                f"frozen_rows {self.frozen_rows} must be between 0 and vocab_size - 1 ({self.vocab_size - 1})."
            )


# The paper names "GPT-2 1.3B and 6.7B" without widths; these are the GPT-3 table's shapes of the same size.
PRESETS = {
    "tiny": dict(width=64, layers=4, heads=2, ffn_width=256),
    "wide": dict(width=128, layers=4, heads=4, ffn_width=512),
    "5m": dict(width=256, layers=4, heads=4, ffn_width=1024),
    "7m": dict(width=256, layers=6, heads=4, ffn_width=1024),
    "124m": dict(width=768, layers=12, heads=12, ffn_width=3072),
    "350m": dict(width=1024, layers=24, heads=16, ffn_width=4096),
    "1b3": dict(width=2048, layers=24, heads=16, ffn_width=8192),
    "6b7": dict(width=4096, layers=32, heads=32, ffn_width=16384),
}


def layer_norm(x, scale, bias):
    """LayerNorm in float32, epsilon 1e-5, as GPT-2."""
    x32 = x.astype(jnp.float32)
    mean = x32.mean(-1, keepdims=True)
    variance = jnp.square(x32 - mean).mean(-1, keepdims=True)
    return ((x32 - mean) * jax.lax.rsqrt(variance + LAYER_NORM_EPSILON) * scale + bias).astype(x.dtype)


class LayerNorm(nn.Module):
    @nn.compact
    def __call__(self, x):
        scale = self.param("scale", nn.initializers.ones, (x.shape[-1],), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (x.shape[-1],), jnp.float32)
        return layer_norm(x, scale, bias)


class Shared(NamedTuple):
    """The arguments that all blocks of a pass share. write_BxT: the positions of the tokens; edit: `Edit.shared`."""

    segment_BxT: Any
    write_BxT: Any
    request: TapRequest | None
    edit: dict


class Block(nn.Module):
    """One pre-LN block. With `cache` (keys and values, [B, N, S, H]) it decodes: new keys are written at `write_BxT`."""

    config: DecoderConfig
    mesh: Mesh | None = None

    @nn.compact
    def __call__(self, h_BxTxD, cache, layer_edit: dict, shared: Shared):
        config = self.config
        B, T, D = h_BxTxD.shape
        N = config.heads

        def dense(features, name, scale=1.0):
            init = nn.initializers.normal(0.02 * scale)
            return nn.Dense(features, kernel_init=init, dtype=jnp.dtype(config.dtype), name=name)

        residual_scale = (2 * config.layers) ** -0.5  # GPT-2: what writes to the residual stream starts smaller
        x_BxTxD = LayerNorm(name="ln_1")(h_BxTxD)
        q, k, v = (
            constrain(part.reshape(B, T, N, D // N), "heads", self.mesh)
            for part in jnp.split(dense(3 * D, "qkv")(x_BxTxD), 3, axis=-1)
        )
        if cache is None:
            mixed_BxTxNxH = attention.BACKENDS[config.attention].attend(q, k, v, shared.segment_BxT, self.mesh)
        else:
            cache = {name: _remember(cache[name], x, shared.write_BxT, self.mesh) for name, x in (("k", k), ("v", v))}
            k, v = (x_BxNxSxH.swapaxes(1, 2) for x_BxNxSxH in (cache["k"], cache["v"]))
            # Beyond a row's own position the cache holds padding that later steps overwrite.
            allowed_BxTxS = jnp.arange(k.shape[1]) <= shared.write_BxT[:, :, None]
            mixed_BxTxNxH = attention.reference(q, k, v, allowed_BxTxS)
        mixed_BxTxD = dense(D, "attention_out", residual_scale)(mixed_BxTxNxH.reshape(B, T, D))
        edit = layer_edit | shared.edit
        middle_BxTxD = constrain(h_BxTxD + mixed_BxTxD, "residual", self.mesh)
        z_BxTxF = dense(config.ffn_width, "ffn_in")(LayerNorm(name="ln_2")(middle_BxTxD))
        z_BxTxF = constrain(z_BxTxF, "ffn", self.mesh)
        a_BxTxF = edit_ffn(edit, jax.nn.gelu(z_BxTxF, approximate=True))
        h_BxTxD = constrain(middle_BxTxD + dense(D, "ffn_out", residual_scale)(a_BxTxF), "residual", self.mesh)
        h_BxTxD = edit_residual(edit, h_BxTxD)
        return h_BxTxD, (cache, reduce_taps(shared.request, h_BxTxD, middle_BxTxD, z_BxTxF, a_BxTxF))


class Decoder(nn.Module):
    """The whole model. Parameters: `embed/{table,frozen,position}`, `blocks/…` with a leading layer axis, `ln_f`, `head`."""

    config: DecoderConfig
    mesh: Mesh | None = None  # where activations are to lie; None: one device, or the compiler's choice

    @nn.compact
    def __call__(
        self,
        tokens_BxT,
        segment_BxT=None,
        request: TapRequest | None = None,
        cache=None,
        index_B=None,
        edit: Edit | None = None,
    ):
        """Runs the decoder.

        Args:
          tokens_BxT: token ids.
          segment_BxT: document number of each token; tokens see their own document only. None: one document a row.
          request: what to tap.
          cache: from `empty_cache`; then `index_B` is the position of each row's first token, and the new cache is
            returned as `taps["cache"]`.
          edit: what to change inside.

        Returns:
          `(logits_BxTxV in float32, taps)`; taps also hold `final_BxTxD`, the residual stream before the last LayerNorm.
        """
        table_VxD, position_TxD = self._tables()
        position_BxT = jnp.broadcast_to(jnp.arange(tokens_BxT.shape[1]), tokens_BxT.shape)
        if cache is not None:
            position_BxT = position_BxT + index_B[:, None]
        elif segment_BxT is None:
            segment_BxT = jnp.zeros(tokens_BxT.shape, jnp.int32)
        embedded_BxTxD = (
            look_up(table_VxD, tokens_BxT, self.config.dtype).astype(jnp.float32) + position_TxD[position_BxT]
        )
        embedded_BxTxD = constrain(embedded_BxTxD.astype(self.config.dtype), "residual", self.mesh)
        layer_edit, shared_edit = (edit.by_layer(), edit.shared()) if edit else ({}, {})
        shared = Shared(segment_BxT, position_BxT, request, shared_edit)
        h_BxTxD, (cache, taps) = self._blocks()(embedded_BxTxD, cache, layer_edit, shared)
        taps["final_BxTxD"] = h_BxTxD
        if request is not None and request.positions_BxP is not None:
            taps["embedded_BxPxD"] = at_positions(embedded_BxTxD, request.positions_BxP)
        if cache is not None:
            taps["cache"] = cache
        return self._logits(h_BxTxD, table_VxD), taps

    def _tables(self):
        """The token and the position embeddings, (table_VxD, position_TxD)."""
        config = self.config
        trainable = config.vocab_size - config.frozen_rows
        table_VxD = self.param("embed_table", nn.initializers.normal(0.02), (trainable, config.width), jnp.float32)
        if config.frozen_rows:
            init = nn.initializers.normal(config.frozen_std)
            frozen = self.param("embed_frozen", init, (config.frozen_rows, config.width), jnp.float32)
            table_VxD = jnp.concatenate([table_VxD, jax.lax.stop_gradient(frozen)])
        init, shape = nn.initializers.normal(0.01), (config.max_length, config.width)
        return table_VxD, self.param("embed_position", init, shape, jnp.float32)

    def _blocks(self) -> nn.Module:
        """All blocks, one after another: `(h_BxTxD, cache, layer_edit, shared) -> (h_BxTxD, (cache, taps))`."""
        config, block = self.config, Block
        if config.remat != "none":
            block = nn.remat(Block, policy=REMAT_POLICIES[config.remat], prevent_cse=False)
        scanned = nn.scan(
            block,
            variable_axes={"params": 0},
            split_rngs={"params": True},
            in_axes=(0, 0, nn.broadcast),
            length=config.layers,
        )
        return scanned(config, self.mesh, name="blocks")

    def _logits(self, h_BxTxD, table_VxD):
        config = self.config
        scale = self.param("ln_f_scale", nn.initializers.ones, (config.width,), jnp.float32)
        bias = self.param("ln_f_bias", nn.initializers.zeros, (config.width,), jnp.float32)
        if config.tied_head:
            head_VxD = table_VxD
        else:
            head_VxD = self.param("head", nn.initializers.normal(0.02), (config.vocab_size, config.width), jnp.float32)
        return _unembed(h_BxTxD, scale, bias, head_VxD, config.dtype)


def _unembed(h, scale, bias, head_VxD, dtype):
    x = layer_norm(h, scale, bias)
    return jnp.einsum("...d,vd->...v", x, head_VxD.astype(dtype), preferred_element_type=jnp.float32)


def look_up(table_VxD, tokens_BxT, dtype: str):
    """The rows of a float32 table in `dtype`, [B, T, D]; their gradient is summed in float32.

    A frequent token's gradient has more terms than bfloat16 has digits: summed there, the later ones would be lost.
    """
    if dtype == "float32":
        return table_VxD[tokens_BxT]

    @jax.custom_vjp
    def rows(table_VxD):
        return table_VxD.astype(dtype)[tokens_BxT]

    def backward(_, d_BxTxD):
        return (jnp.zeros(table_VxD.shape, jnp.float32).at[tokens_BxT].add(d_BxTxD.astype(jnp.float32)),)

    rows.defvjp(lambda table_VxD: (rows(table_VxD), None), backward)
    return rows(table_VxD)


def head_table(params: dict):
    """The output embedding [V, D] of a parameter tree, tied or not; no gradient flows to frozen rows."""
    if "head" in params:
        return params["head"]
    frozen = [jax.lax.stop_gradient(params["embed_frozen"])] if "embed_frozen" in params else []
    return jnp.concatenate([params["embed_table"], *frozen])


def unembed(params: dict, config: DecoderConfig, h, head_VxD=None):
    """Logits of any residual stream h [..., D]: at the last block these are the model's own, bit for bit (logit lens).

    `head_VxD`: the output embedding, where it is at hand; by default the parameters' own.
    """
    head_VxD = head_table(params) if head_VxD is None else head_VxD
    return _unembed(h, params["ln_f_scale"], params["ln_f_bias"], head_VxD, config.dtype)


def compute_params(params: dict, dtype: str) -> dict:
    """The blocks' matrices in the dtype of the computation, cast where they lie: what travels between devices is small."""

    def cast(path, leaf):
        return leaf.astype(dtype) if path_name(path).endswith("kernel") else leaf

    return jax.tree_util.tree_map_with_path(cast, params)


def _remember(cache_BxNxSxH, x_BxTxNxH, write_BxT, mesh):
    """The cache with new keys or values written at their positions; what lies outside of it is dropped."""
    write = jax.vmap(lambda cache, x, at: cache.at[:, at].set(x.swapaxes(0, 1), mode="drop"))
    return constrain(write(cache_BxNxSxH, x_BxTxNxH, write_BxT), "cache", mesh)


def empty_cache(config: DecoderConfig, batch: int, length: int) -> dict:
    """A key-value cache for `batch` rows of at most `length` positions, [L, B, N, S, H].

    Heads come before positions because attention reads all of it at every step, head by head.
    """
    shape = (config.layers, batch, config.heads, length, config.width // config.heads)
    return {name: jnp.zeros(shape, config.dtype) for name in ("k", "v")}


def init_params(config: DecoderConfig, seed: int) -> dict:
    """Fresh parameters as a plain nested dict; pure, so that `jax.jit` with `out_shardings` never holds an unsharded one."""
    tokens = jnp.zeros((1, min(2, config.max_length)), jnp.int32)
    config = dataclasses.replace(config, attention="reference")  # two tokens are too few for any kernel
    return Decoder(config).init(jax.random.key(seed), tokens)["params"]

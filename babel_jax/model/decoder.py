"""A decoder in Flax Linen that exposes what happens inside it. What its blocks are made of is data: `Architecture`.

Names hold shapes. The letters are the config's fields:

  B batch   T positions   V vocab_size   D width   L layers   N heads   M kv_heads   H head_width   F ffn_width
  P chosen positions per row   K languages

`Decoder.apply` returns `(logits_BxTxV, taps)`: a plain dict of what a `TapRequest` asked for, reduced inside the scan
over layers, so that nothing of size B x T x F survives a layer. What nobody reads is removed by the compiler.
"""

import dataclasses
import json
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from babel_jax.common.errors import UserError, unknown_name
from babel_jax.model import attention, writes
from babel_jax.model.architecture import ACTIVATIONS, NORMS, Architecture, capped, rms_factor, rope_tables, turn
from babel_jax.model.attention import Shapes
from babel_jax.model.protocol import Model
from babel_jax.model.sharding import constrain, path_name
from babel_jax.model.taps import (
    NOTHING,
    Edit,
    Inside,
    Seen,
    TapRequest,
    at_positions,
    edit_ffn,
    edit_residual,
    reduce_taps,
)

DTYPES = ("float32", "bfloat16")  # of the computation
INIT_STD = 0.02  # GPT-2's, of all matrices
FINAL_NORM = "ln_f_"  # what the names of its parameters begin with
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
class DecoderConfig(Model):
    """The shape of a decoder, and the functions of its parameters that probes and generation call (see `Model`).

    Attributes:
      frozen_rows: the last rows of the vocabulary keep their random input embedding for ever.
      dtype: of the computation; parameters are always float32.
      kv_heads: keys and values; each serves heads / kv_heads queries (arXiv:2305.13245). 0: as many as queries.
      head_width: 0: width / heads.
      architecture: what a block is made of.
    """

    vocab_size: int
    width: int
    layers: int
    heads: int
    ffn_width: int
    max_length: int
    tied_head: bool = True
    frozen_rows: int = 0
    frozen_std: float = 0.1
    dtype: str = "float32"
    remat: str = "none"
    attention: str = "reference"
    kv_heads: int = 0
    head_width: int = 0
    architecture: Architecture = Architecture()

    def __post_init__(self):
        if not self.head_width and self.width % self.heads:
            raise UserError(
                f"width {self.width} is not divisible by {self.heads} heads; choose another number of heads."
            )
        # A frozen record's own way to fill in what was left open.
        object.__setattr__(self, "kv_heads", self.kv_heads or self.heads)
        object.__setattr__(self, "head_width", self.head_width or self.width // self.heads)
        if self.heads % self.kv_heads:
            raise UserError(
                f"{self.heads} heads are not divisible by kv_heads {self.kv_heads}; choose another number of them."
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
        self._check_architecture()

    def _check_architecture(self) -> None:
        parts = self.architecture
        if parts.fused_qkv and (self.kv_heads != self.heads or self.heads * self.head_width != self.width):
            raise UserError(
                f"a fused matrix of queries, keys and values has heads x head_width = width and kv_heads = heads, not "
                f"{self.heads} x {self.head_width}, {self.width} and {self.kv_heads}; choose a family without it."
            )
        if parts.rope_width > self.head_width:
            raise UserError(f"rope_width {parts.rope_width} is more than the head width {self.head_width}; lower it.")
        if parts.kind_of_layer and len(parts.kind_of_layer) != self.layers:
            raise UserError(f"kind_of_layer names {len(parts.kind_of_layer)} layers and there are {self.layers}.")

    def to_json(self) -> dict:
        """What `from_json` reads. Fields that later versions have added are left out where they say nothing new."""
        stored = json.loads(json.dumps(dataclasses.asdict(self)))
        plain = {"kv_heads": self.heads, "head_width": self.width / self.heads, "architecture": GPT2}
        return {name: value for name, value in stored.items() if name not in plain or value != plain[name]}

    @classmethod
    def from_json(cls, stored: dict) -> "DecoderConfig":
        """The config that `to_json`, and JSON, have made of one."""
        if "architecture" in stored:
            stored = stored | {"architecture": Architecture.from_json(stored["architecture"])}
        return cls(**stored)

    @property
    def windows(self) -> tuple[int, ...]:
        """The window of each kind of layer; one that no row outgrows is none."""
        return tuple(kind.window if kind.window < self.max_length else 0 for kind in self.architecture.kinds)

    def attention_shapes(self, platform: str) -> Shapes:
        """What decides which attention back end can run on "cpu", "gpu" or "tpu"."""
        capped = bool(self.architecture.score_cap)
        return Shapes(platform, self.head_width, self.max_length, self.dtype, self.windows, capped)

    def forward(self, params, tokens_BxT, segment_BxT, inside: Inside = NOTHING):
        # The TPU's kernel takes rows of whole blocks; what is shorter is small enough to be written out.
        short = tokens_BxT.shape[1] % 128 and self.attention == "splash"
        decoder = Decoder(dataclasses.replace(self, attention="reference") if short else self, inside.mesh)
        params = compute_params(params, self.dtype)
        _, taps = decoder.apply({"params": params}, tokens_BxT, segment_BxT, inside.request, inside.edit)
        return taps["final_BxTxD"], taps

    def readout(self, params, mesh: Mesh | None = None) -> Callable:
        head_VxD = constrain(head_table(params).astype(self.dtype), "head", mesh)
        return lambda h: unembed(params, self, h, head_VxD)

    def directions(self, params, layer):
        return writes.directions(_layer(params["blocks"], layer), self.architecture)

    def weights(self, params, mesh: Mesh | None = None, scanned: bool = False) -> dict:
        """The parameters with each layer's for itself (`layers`), the whole table, and the head in the computation's dtype."""
        params = compute_params(params, self.dtype)
        blocks = params["blocks"]
        return {name: leaf for name, leaf in params.items() if name.startswith((FINAL_NORM, "embed_position"))} | {
            "layers": blocks if scanned else [_layer(blocks, layer) for layer in range(self.layers)],
            # What a tied head would be is what tokens are looked up in.
            "embed_table": head_table({name: leaf for name, leaf in params.items() if name != "head"}),
            "head": constrain(head_table(params).astype(self.dtype), "head", mesh),
        }

    def empty_cache(self, batch: int, length: int, mesh: Mesh | None = None, scanned: bool = False):
        """Keys and values, [B, M, S, H], of each layer: an array a layer, so that each is changed in place; scanned, one of all.

        Heads come before positions because attention reads all of it at every step, head by head.
        """
        shape = (batch, self.kv_heads, length, self.head_width)
        if scanned:
            return dict.fromkeys(("k", "v"), jnp.zeros((self.layers, *shape), self.dtype))
        return [dict.fromkeys(("k", "v"), constrain(jnp.zeros(shape, self.dtype), "cache", mesh))] * self.layers

    def advance(self, weights, cache, tokens_BxT, position_BxT, inside: Inside = NOTHING):
        block, kinds = Block(self, inside.mesh), self.architecture.kind_of_layer or (0,) * self.layers
        by_layer, shared_edit = inside.edits()
        tables = weights["embed_table"], weights.get("embed_position")
        h_BxTxD = embed(self, *tables, tokens_BxT, position_BxT, inside.mesh)
        shared = Shared(None, position_BxT, rope_tables(self.architecture, position_BxT), None, shared_edit)

        def one(h_BxTxD, layer):
            params, old, edit, kind = layer
            h_BxTxD, (new, _) = block.apply({"params": params}, h_BxTxD, old, edit, kind, shared)
            return h_BxTxD, new

        if isinstance(cache, dict):
            h_BxTxD, cache = jax.lax.scan(one, h_BxTxD, (weights["layers"], cache, by_layer, jnp.array(kinds)))
            return cache, h_BxTxD
        new_cache = []
        for layer, (params, old, kind) in enumerate(zip(weights["layers"], cache, kinds, strict=True)):
            h_BxTxD, new = one(h_BxTxD, (params, old, _layer(by_layer, layer), kind))
            new_cache.append(new)
        return new_cache, h_BxTxD


def _layer(stacked, layer):
    return jax.tree.map(operator.itemgetter(layer), stacked)


GPT2 = json.loads(json.dumps(dataclasses.asdict(Architecture())))  # as it is stored

# The paper names "GPT-2 1.3B and 6.7B" without widths; these are the GPT-3 table's shapes of the same size. 1b7 and 8b are
# SmolLM2 1.7B's (arXiv:2502.02737) and Llama 3 8B's (arXiv:2407.21783), whose FFNs are gated.
PRESETS = {
    "tiny": dict(width=64, layers=4, heads=2, ffn_width=256),
    "wide": dict(width=128, layers=4, heads=4, ffn_width=512),
    "5m": dict(width=256, layers=4, heads=4, ffn_width=1024),
    "7m": dict(width=256, layers=6, heads=4, ffn_width=1024),
    "124m": dict(width=768, layers=12, heads=12, ffn_width=3072),
    "350m": dict(width=1024, layers=24, heads=16, ffn_width=4096),
    "1b3": dict(width=2048, layers=24, heads=16, ffn_width=8192),
    "6b7": dict(width=4096, layers=32, heads=32, ffn_width=16384),
    "1b7": dict(width=2048, layers=24, heads=32, ffn_width=8192),
    "8b": dict(width=4096, layers=32, heads=32, kv_heads=8, ffn_width=14336),
}


class Shared(NamedTuple):
    """The arguments that all blocks of a pass share. write_BxT: the positions of the tokens; rope: `rope_tables` of them;
    edit: `Edit.shared`."""

    segment_BxT: Any
    write_BxT: Any
    rope: Any
    request: TapRequest | None
    edit: dict


class Block(nn.Module):
    """One block. With `cache` (keys and values, [B, M, S, H]) it decodes: new keys are written at `write_BxT`.

    `kind`: which of `Architecture.kinds` the layer is; data where there are several, so that one trace serves all layers.
    """

    config: DecoderConfig
    mesh: Mesh | None = None

    @nn.compact
    def __call__(self, h_BxTxD, cache, layer_edit: dict, kind, shared: Shared):
        parts = self.config.architecture
        edit = layer_edit | shared.edit
        x_BxTxD = self._norm("ln_1", h_BxTxD) if parts.input_norms else h_BxTxD
        mixed_BxTxD, cache = self._attention(x_BxTxD, cache, kind, shared)
        if parts.output_norms:
            mixed_BxTxD = self._norm("ln_1_out", mixed_BxTxD)
        after_BxTxD = constrain(h_BxTxD + mixed_BxTxD, "residual", self.mesh)
        middle_BxTxD = h_BxTxD if parts.parallel else after_BxTxD
        x_BxTxD = self._norm("ln_2", middle_BxTxD) if parts.input_norms else middle_BxTxD
        z_BxTxF, a_BxTxF = self._neurons(x_BxTxD)
        a_BxTxF = edit_ffn(edit, a_BxTxF)
        written_BxTxD = self._dense(self.config.width, "ffn_out", parts.ffn_bias, self._residual_std)(a_BxTxF)
        seen = Seen(middle_BxTxD, after_BxTxD, z_BxTxF, a_BxTxF, None)
        if parts.output_norms:
            seen = seen._replace(factor_BxTx1=rms_factor(written_BxTxD, parts.norm_epsilon))
            written_BxTxD = self._norm("ln_2_out", written_BxTxD)
        h_BxTxD = edit_residual(edit, constrain(after_BxTxD + written_BxTxD, "residual", self.mesh))
        return h_BxTxD, (cache, reduce_taps(shared.request, h_BxTxD, seen))

    @property
    def _residual_std(self) -> float:
        return INIT_STD * (2 * self.config.layers) ** -0.5  # GPT-2: what writes to the residual stream starts smaller

    def _dense(self, features, name: str, bias: bool, std: float = INIT_STD):
        init = nn.initializers.normal(std)
        dtype = jnp.dtype(self.config.dtype)
        return nn.DenseGeneral(features, kernel_init=init, dtype=dtype, use_bias=bias, name=name)

    def _norm(self, name: str, x):
        return ModelNorm(self.config.architecture, name=name)(x)

    def _attention(self, x_BxTxD, cache, kind, shared: Shared):
        """(what attention writes [B, T, D], the cache with the new keys and values)."""
        config, parts = self.config, self.config.architecture
        q, k, v = self._queries_keys_values(x_BxTxD)
        if parts.rope_width:
            tables = [table_KxBxTxr[kind] for table_KxBxTxr in shared.rope]
            q, k = turn(q, *tables), turn(k, *tables)
        windows = config.windows
        window = jnp.array(windows)[kind] if len(set(windows)) > 1 else windows[0]
        mixing = attention.Mixing(parts.score_width, parts.score_cap, window)
        if cache is None:
            backend = attention.BACKENDS[config.attention]
            mixed_BxTxNxH = backend.attend(q, k, v, shared.segment_BxT, mixing, self.mesh)
        else:
            cache = {name: _remember(cache[name], x, shared.write_BxT, self.mesh) for name, x in (("k", k), ("v", v))}
            k, v = (x_BxMxSxH.swapaxes(1, 2) for x_BxMxSxH in (cache["k"], cache["v"]))
            # Beyond a row's own position the cache holds padding that later steps overwrite.
            allowed_BxTxS = attention.seen(shared.write_BxT[:, :, None] - jnp.arange(k.shape[1]), window)
            mixed_BxTxNxH = attention.reference(q, k, v, allowed_BxTxS, mixing)
        mixed = mixed_BxTxNxH.reshape(*x_BxTxD.shape[:2], -1)
        return self._dense(config.width, "attention_out", parts.attention_out_bias, self._residual_std)(mixed), cache

    def _queries_keys_values(self, x_BxTxD):
        config, parts = self.config, self.config.architecture
        heads = {"q": config.heads, "k": config.kv_heads, "v": config.kv_heads}
        if parts.fused_qkv:
            qkv = jnp.split(self._dense(3 * config.width, "qkv", parts.qkv_bias)(x_BxTxD), 3, axis=-1)
            qkv = [part.reshape(*part.shape[:2], config.heads, config.head_width) for part in qkv]
        else:
            qkv = [self._dense((n, config.head_width), name, parts.qkv_bias)(x_BxTxD) for name, n in heads.items()]
        if parts.qk_norm != "none":
            qkv[:2] = self._normed("ln_q", qkv[0]), self._normed("ln_k", qkv[1])
        if parts.qkv_clip:
            qkv = [jnp.clip(part, -parts.qkv_clip, parts.qkv_clip) for part in qkv]
        return [
            constrain(part, name, self.mesh) for name, part in zip(("heads", "kv_heads", "kv_heads"), qkv, strict=True)
        ]

    def _normed(self, name: str, x_BxTxNxH):
        if self.config.architecture.qk_norm == "head":
            return self._norm(name, x_BxTxNxH)
        return self._norm(name, x_BxTxNxH.reshape(*x_BxTxNxH.shape[:2], -1)).reshape(x_BxTxNxH.shape)

    def _neurons(self, x_BxTxD):
        """What decides whether a neuron is active, before its activation function, and its value: what `ffn_out` reads."""
        config, parts = self.config, self.config.architecture
        into = constrain(self._dense(config.ffn_width, "ffn_in", parts.ffn_bias)(x_BxTxD), "ffn", self.mesh)
        act = ACTIVATIONS[parts.activation]
        if not parts.gated:
            return into, act(into)
        gate = constrain(self._dense(config.ffn_width, "ffn_gate", parts.ffn_bias)(x_BxTxD), "ffn", self.mesh)
        return gate, act(gate) * into


class ModelNorm(nn.Module):
    """The norm that the architecture names, with parameters of its own."""

    architecture: Architecture

    @nn.compact
    def __call__(self, x):
        norm = NORMS[self.architecture.norm]
        parameters = {name: self.param(name, init, x.shape[-1:], jnp.float32) for name, init in norm.start.items()}
        return norm.apply(x, parameters, self.architecture.norm_epsilon)


class Decoder(nn.Module):
    """The whole model. Parameters: `embed_{table,frozen,position}`, `blocks/…` with a leading layer axis, `ln_f_…`, `head`."""

    config: DecoderConfig
    mesh: Mesh | None = None  # where activations are to lie; None: one device, or the compiler's choice

    @nn.compact
    def __call__(
        self,
        tokens_BxT,
        segment_BxT=None,
        request: TapRequest | None = None,
        edit: Edit | None = None,
    ):
        """Runs the decoder.

        Args:
          tokens_BxT: token ids.
          segment_BxT: document number of each token; tokens see their own document only. None: one document a row.
          request: what to tap.
          edit: what to change inside.

        Returns:
          `(logits_BxTxV in float32, taps)`; taps also hold `final_BxTxD`, the residual stream before the last norm.
        """
        table_VxD, position_TxD = self._tables()
        position_BxT = jnp.broadcast_to(jnp.arange(tokens_BxT.shape[1]), tokens_BxT.shape)
        if segment_BxT is None:
            segment_BxT = jnp.zeros(tokens_BxT.shape, jnp.int32)
        embedded_BxTxD = embed(self.config, table_VxD, position_TxD, tokens_BxT, position_BxT, self.mesh)
        by_layer, shared_edit = Inside(edit=edit).edits()
        rope = rope_tables(self.config.architecture, position_BxT)
        shared = Shared(segment_BxT, position_BxT, rope, request, shared_edit)
        h_BxTxD, (_, taps) = self._blocks()(embedded_BxTxD, None, by_layer, self._kinds(), shared)
        taps["final_BxTxD"] = h_BxTxD
        if request is not None and request.positions_BxP is not None:
            taps["embedded_BxPxD"] = at_positions(embedded_BxTxD, request.positions_BxP)
        return self._logits(h_BxTxD, table_VxD), taps

    def _tables(self):
        """The token and the position embeddings, (table_VxD, position_TxD or None)."""
        config = self.config
        trainable = config.vocab_size - config.frozen_rows
        table_VxD = self.param("embed_table", nn.initializers.normal(0.02), (trainable, config.width), jnp.float32)
        if config.frozen_rows:
            init = nn.initializers.normal(config.frozen_std)
            frozen = self.param("embed_frozen", init, (config.frozen_rows, config.width), jnp.float32)
            table_VxD = jnp.concatenate([table_VxD, jax.lax.stop_gradient(frozen)])
        if not config.architecture.learned_positions:
            return table_VxD, None
        init, shape = nn.initializers.normal(0.01), (config.max_length, config.width)
        return table_VxD, self.param("embed_position", init, shape, jnp.float32)

    def _kinds(self):
        """The kind of each layer, int32 [L]; 0 where all layers are alike."""
        kinds = self.config.architecture.kind_of_layer
        return jnp.array(kinds, jnp.int32) if kinds else jnp.zeros(self.config.layers, jnp.int32)

    def _blocks(self) -> nn.Module:
        """All blocks, one after another: `(h_BxTxD, cache, layer_edit, kind_L, shared) -> (h_BxTxD, (cache, taps))`."""
        config, block = self.config, Block
        if config.remat != "none":
            block = nn.remat(Block, policy=REMAT_POLICIES[config.remat], prevent_cse=False)
        scanned = nn.scan(
            block,
            variable_axes={"params": 0},
            split_rngs={"params": True},
            in_axes=(0, 0, 0, nn.broadcast),
            length=config.layers,
        )
        return scanned(config, self.mesh, name="blocks")

    def _logits(self, h_BxTxD, table_VxD):
        config = self.config
        norm = {
            FINAL_NORM + name: self.param(FINAL_NORM + name, init, (config.width,), jnp.float32)
            for name, init in NORMS[config.architecture.norm].start.items()
        }
        if config.tied_head:
            head_VxD = table_VxD
        else:
            head_VxD = self.param("head", nn.initializers.normal(0.02), (config.vocab_size, config.width), jnp.float32)
        return unembed(norm, config, h_BxTxD, head_VxD)


def embed(config: DecoderConfig, table_VxD, position_TxD, tokens_BxT, position_BxT, mesh: Mesh | None):
    """The residual stream before the first block. Positions beyond a learned table, which only padding has, take its last."""
    h_BxTxD = look_up(table_VxD, tokens_BxT, config.dtype).astype(jnp.float32)
    if config.architecture.embedding_scale != 1:
        h_BxTxD = h_BxTxD * config.architecture.embedding_scale
    if position_TxD is not None:
        h_BxTxD = h_BxTxD + jnp.take(position_TxD, position_BxT, axis=0, mode="clip")
    return constrain(h_BxTxD.astype(config.dtype), "residual", mesh)


def final_norm(params: dict, config: DecoderConfig, h):
    """What the output embedding is applied to: any residual stream h [..., D], normed as after the last block."""
    parts = config.architecture
    own = {name: params[FINAL_NORM + name] for name in NORMS[parts.norm].start}
    return NORMS[parts.norm].apply(h, own, parts.norm_epsilon)


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
    x = final_norm(params, config, h)
    logits = jnp.einsum("...d,vd->...v", x, head_VxD.astype(config.dtype), preferred_element_type=jnp.float32)
    return capped(logits, config.architecture.logit_cap)


def compute_params(params: dict, dtype: str) -> dict:
    """The blocks' matrices in the dtype of the computation, cast where they lie: what travels between devices is small."""

    def cast(path, leaf):
        return leaf.astype(dtype) if path_name(path).endswith("kernel") else leaf

    return jax.tree_util.tree_map_with_path(cast, params)


def _remember(cache_BxMxSxH, x_BxTxMxH, write_BxT, mesh):
    """The cache with new keys or values written at their positions; what lies outside of it is dropped."""
    write = jax.vmap(lambda cache, x, at: cache.at[:, at].set(x.swapaxes(0, 1), mode="drop"))
    return constrain(write(cache_BxMxSxH, x_BxTxMxH, write_BxT), "cache", mesh)


def init_params(config: DecoderConfig, seed: int) -> dict:
    """Fresh parameters as a plain nested dict; pure, so that `jax.jit` with `out_shardings` never holds an unsharded one."""
    tokens = jnp.zeros((1, min(2, config.max_length)), jnp.int32)
    config = dataclasses.replace(config, attention="reference")  # two tokens are too few for any kernel
    return Decoder(config).init(jax.random.key(seed), tokens)["params"]

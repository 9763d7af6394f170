"""Causal attention within documents: one meaning, three back ends, resolved by name before anything is compiled.

None falls back to another one: what cannot run here is an error at the start, never a slow surprise.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from babel_jax.common.errors import UserError, unknown_name
from babel_jax.model.architecture import capped
from babel_jax.model.sharding import BATCH_AXES

INTERPRET = False  # whether Pallas' kernels are run step by step, as tests do where there is no TPU
SAVED = "attention"  # under this name remat policies may keep what attention passes to its backward pass


@dataclasses.dataclass(frozen=True)
class Shapes:
    """What decides whether a back end can run.

    Attributes:
      platform: "cpu", "gpu" or "tpu".
      head_width, length, dtype: of its arguments.
      windows: the window of each kind of layer, 0 where there is none; `capped`: whether scores are.
    """

    platform: str
    head_width: int
    length: int
    dtype: str
    windows: tuple[int, ...] = (0,)
    capped: bool = False


class Mixing(NamedTuple):
    """How one layer mixes: `Architecture.score_width` and `.score_cap`, and the window of the layer (0: none), which is data
    where layers differ."""

    score_width: float = 0.0
    score_cap: float = 0.0
    window: int | jax.Array = 0


@dataclasses.dataclass(frozen=True)
class Backend:
    """One implementation.

    Attributes:
      attend: (q [B, T, N, H], k, v [B, T, M, H], document number of each token [B, T], `Mixing`, mesh or None) -> [B, T, N, H]:
        each token looks at itself and at earlier tokens of its document; M divides N, and neighbouring queries share a key.
      obstacle: (shapes) -> why it cannot run them; None: it can.
    """

    attend: Callable
    obstacle: Callable[[Shapes], str | None]


def resolve(name: str, shapes: Shapes) -> str:
    """The back end that `name` ("auto" or one of `BACKENDS`) means.

    Raises:
      UserError: the named back end cannot run these shapes there; the message says why.
    """
    if name == "auto":
        return next(name for name, backend in BACKENDS.items() if backend.obstacle(shapes) is None)
    if name not in BACKENDS:
        raise unknown_name("attention back end", name, ("auto", *BACKENDS))
    if obstacle := BACKENDS[name].obstacle(shapes):
        raise UserError(f"attention '{name}' cannot be used: {obstacle}; set model.attention='auto'.")
    return name


def _cudnn_obstacle(shapes: Shapes) -> str | None:
    if shapes.platform != "gpu":
        return f"it needs an NVIDIA GPU and this is a {shapes.platform}"
    if shapes.dtype != "bfloat16":
        return f"it computes in bfloat16 and the model in {shapes.dtype}"
    if shapes.head_width > 128 or shapes.head_width % 8:
        return f"heads must be a multiple of 8 and at most 128 wide, not {shapes.head_width}"
    if shapes.capped:
        return "it cannot cap scores, as this model does"
    return _windows_obstacle(shapes)


def _splash_obstacle(shapes: Shapes) -> str | None:
    if shapes.platform != "tpu":
        return f"it is a TPU kernel and this is a {shapes.platform}"
    if shapes.length % 128:
        return f"rows must be a multiple of 128 tokens, not {shapes.length}"
    return _windows_obstacle(shapes)


def _windows_obstacle(shapes: Shapes) -> str | None:
    if len(set(shapes.windows)) > 1:
        return f"its window is fixed when it is compiled and the layers of this model have {len(set(shapes.windows))}"
    return None


def seen(distance, window):
    """Whether a token sees one that lies so many tokens before it (negative: behind it)."""
    near = True if isinstance(window, int) and not window else (distance < window) | (window == 0)
    return (distance >= 0) & near


def allowed_pairs(segment_BxT, window=0):
    """[B, T, T], true where a position may look."""
    place_T = jnp.arange(segment_BxT.shape[1])
    seen_TxT = seen(place_T[:, None] - place_T, window)
    return seen_TxT & (segment_BxT[:, :, None] == segment_BxT[:, None, :])


def reference(q_BxTxNxH, k_BxSxMxH, v_BxSxMxH, allowed_BxTxS, mixing: Mixing):
    """Attention as it is written down; the softmax is taken in float32.

    The G = N / M queries that share a key stand below one another as rows of it: R = G T of them.
    """
    B, T, N, H = q_BxTxNxH.shape
    M = k_BxSxMxH.shape[2]
    q_BxGxTxMxH = jnp.moveaxis(q_BxTxNxH.reshape(B, T, M, N // M, H), 3, 1)
    scores_BxMxRxS = jnp.einsum("brmh,bsmh->bmrs", q_BxGxTxMxH.reshape(B, -1, M, H), k_BxSxMxH).astype(jnp.float32)
    scores_BxMxRxS = capped(scores_BxMxRxS / jnp.sqrt(jnp.float32(mixing.score_width or H)), mixing.score_cap)
    allowed_BxRxS = jnp.tile(allowed_BxTxS, (1, N // M, 1))
    weights_BxMxRxS = jax.nn.softmax(jnp.where(allowed_BxRxS[:, None], scores_BxMxRxS, -1e30), axis=-1)
    mixed_BxRxMxH = jnp.einsum("bmrs,bsmh->brmh", weights_BxMxRxS.astype(q_BxTxNxH.dtype), v_BxSxMxH)
    return jnp.moveaxis(mixed_BxRxMxH.reshape(B, N // M, T, M, H), 1, 3).reshape(B, T, N, H)


def cudnn(q_BxTxNxH, k_BxTxMxH, v_BxTxMxH, segment_BxT, mixing: Mixing, mesh=None):
    """cuDNN's fused attention; a mask separates documents."""
    same_Bx1xTxT = (segment_BxT[:, :, None] == segment_BxT[:, None, :])[:, None]
    mixed = jax.nn.dot_product_attention(
        q_BxTxNxH,
        k_BxTxMxH,
        v_BxTxMxH,
        mask=same_Bx1xTxT,
        scale=(mixing.score_width or q_BxTxNxH.shape[-1]) ** -0.5,
        is_causal=True,
        local_window_size=(mixing.window - 1, 0) if mixing.window else None,
        implementation="cudnn",
    )
    return checkpoint_name(mixed, SAVED)


def splash(q_BxTxNxH, k_BxTxMxH, v_BxTxMxH, segment_BxT, mixing: Mixing, mesh: Mesh | None):
    """The TPU's splash attention: blocks beyond the diagonal and the window are never touched. Rows and heads lie on the mesh."""
    _, T, N, H = q_BxTxNxH.shape
    M = k_BxTxMxH.shape[2]
    parts = mesh.shape["tensor"] if mesh is not None else 1
    # A device's queries are to find their keys beside them: where keys do not divide, devices get copies.
    k_BxTxMxH, v_BxTxMxH = (jnp.repeat(x, math.lcm(M, parts) // M, axis=2) for x in (k_BxTxMxH, v_BxTxMxH))
    kernel = _splash_kernel(T, N // parts, mixing._replace(window=int(mixing.window)))

    def local(q, k, v, segment_BxT):
        scaled = q * (mixing.score_width or H) ** -0.5
        by_head = (x.swapaxes(1, 2) for x in (scaled, k, v))  # the kernel wants [N, T, H], and does not scale
        return jax.vmap(kernel)(*by_head, _segment_ids(segment_BxT)).swapaxes(1, 2)

    if mesh is not None:  # a kernel runs on one device: it gets that device's part
        heads_spec, rows_spec = P(BATCH_AXES, None, "tensor", None), P(BATCH_AXES, None)
        local = jax.shard_map(
            local, mesh=mesh, in_specs=(heads_spec,) * 3 + (rows_spec,), out_specs=heads_spec, check_vma=False
        )
    return local(q_BxTxNxH, k_BxTxMxH, v_BxTxMxH, segment_BxT)


def _segment_ids(segment_BxT):
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel

    return splash_attention_kernel.SegmentIds(q=segment_BxT, kv=segment_BxT)


def splash_block(length: int) -> int:
    """Queries and keys a step of the kernel; 128 is the least that the TPU's lanes allow."""
    return 512 if length % 512 == 0 else 128


def _splash_kernel(length: int, heads: int, mixing: Mixing):
    # Imported here: Pallas' TPU kernels are nothing that a CPU run should wait for.
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as kernel
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks

    block = splash_block(length)
    sizes = kernel.BlockSizes(
        block_q=block,
        block_kv=block,
        block_kv_compute=block,
        block_q_dkv=block,
        block_kv_dkv=block,
        block_kv_dkv_compute=block,
        use_fused_bwd_kernel=True,
    )
    square = (length, length)
    mask = masks.LocalMask(square, (mixing.window - 1, 0), 0) if mixing.window else masks.CausalMask(square)
    return kernel.make_splash_mha(
        masks.MultiHeadMask([mask] * heads),
        block_sizes=sizes,
        head_shards=1,
        q_seq_shards=1,
        attn_logits_soft_cap=mixing.score_cap or None,
        residual_checkpoint_name=SAVED,
        interpret=INTERPRET,
    )


def _reference(q_BxTxNxH, k_BxTxMxH, v_BxTxMxH, segment_BxT, mixing: Mixing, mesh):
    return reference(q_BxTxNxH, k_BxTxMxH, v_BxTxMxH, allowed_pairs(segment_BxT, mixing.window), mixing)


# "auto" is the first one that can run.
BACKENDS = {
    "splash": Backend(splash, _splash_obstacle),
    "cudnn": Backend(cudnn, _cudnn_obstacle),
    "reference": Backend(_reference, lambda shapes: None),
}

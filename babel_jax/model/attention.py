"""Causal attention within documents: one meaning, three back ends, resolved by name before anything is compiled.

None falls back to another one: what cannot run here is an error at the start, never a slow surprise.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from babel_jax.common.errors import UserError, unknown_name
from babel_jax.model.sharding import BATCH_AXES

SAVED = "attention"  # under this name remat policies may keep what attention passes to its backward pass


@dataclasses.dataclass(frozen=True)
class Shapes:
    """What decides whether a back end can run: the platform ("cpu", "gpu", "tpu"), and the shapes and dtype of its arguments."""

    platform: str
    head_width: int
    length: int
    dtype: str


@dataclasses.dataclass(frozen=True)
class Backend:
    """One implementation.

    Attributes:
      attend: (q, k, v [B, T, N, H], document number of each token [B, T], mesh or None) -> [B, T, N, H]: each token looks at
        itself and at earlier tokens of its document.
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
    return None


def _splash_obstacle(shapes: Shapes) -> str | None:
    if shapes.platform != "tpu":
        return f"it is a TPU kernel and this is a {shapes.platform}"
    if shapes.length % 128:
        return f"rows must be a multiple of 128 tokens, not {shapes.length}"
    return None


def allowed_pairs(segment_BxT):
    """[B, T, T], true where a position may look."""
    causal_TxT = jnp.tril(jnp.ones((segment_BxT.shape[1],) * 2, bool))
    return causal_TxT & (segment_BxT[:, :, None] == segment_BxT[:, None, :])


def reference(q_BxTxNxH, k_BxSxNxH, v_BxSxNxH, allowed_BxTxS):
    """Attention as it is written down; the softmax is taken in float32."""
    scores_BxNxTxS = jnp.einsum("btnh,bsnh->bnts", q_BxTxNxH, k_BxSxNxH).astype(jnp.float32)
    scores_BxNxTxS = scores_BxNxTxS / jnp.sqrt(jnp.float32(q_BxTxNxH.shape[-1]))
    scores_BxNxTxS = jnp.where(allowed_BxTxS[:, None], scores_BxNxTxS, -1e30)
    weights_BxNxTxS = jax.nn.softmax(scores_BxNxTxS, axis=-1).astype(q_BxTxNxH.dtype)
    return jnp.einsum("bnts,bsnh->btnh", weights_BxNxTxS, v_BxSxNxH)


def cudnn(q_BxTxNxH, k_BxTxNxH, v_BxTxNxH, segment_BxT, mesh=None):
    """cuDNN's fused attention; a mask separates documents."""
    same_Bx1xTxT = (segment_BxT[:, :, None] == segment_BxT[:, None, :])[:, None]
    mixed = jax.nn.dot_product_attention(
        q_BxTxNxH, k_BxTxNxH, v_BxTxNxH, mask=same_Bx1xTxT, is_causal=True, implementation="cudnn"
    )
    return checkpoint_name(mixed, SAVED)


def splash(q_BxTxNxH, k_BxTxNxH, v_BxTxNxH, segment_BxT, mesh: Mesh | None, interpret: bool = False):
    """The TPU's splash attention: blocks above the diagonal are never touched. Rows and heads lie on the mesh's axes."""
    _, T, N, H = q_BxTxNxH.shape
    heads = N // mesh.shape["tensor"] if mesh is not None else N
    kernel = _splash_kernel(T, heads, interpret)

    def local(q, k, v, segment_BxT):
        by_head = (x.swapaxes(1, 2) for x in (q * H**-0.5, k, v))  # the kernel wants [N, T, H], and does not scale
        return jax.vmap(kernel)(*by_head, _segment_ids(segment_BxT)).swapaxes(1, 2)

    if mesh is not None:  # a kernel runs on one device: it gets that device's part
        heads_spec, rows_spec = P(BATCH_AXES, None, "tensor", None), P(BATCH_AXES, None)
        local = jax.shard_map(
            local, mesh=mesh, in_specs=(heads_spec,) * 3 + (rows_spec,), out_specs=heads_spec, check_vma=False
        )
    return local(q_BxTxNxH, k_BxTxNxH, v_BxTxNxH, segment_BxT)


def _segment_ids(segment_BxT):
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel

    return splash_attention_kernel.SegmentIds(q=segment_BxT, kv=segment_BxT)


def splash_block(length: int) -> int:
    """Queries and keys a step of the kernel; 128 is the least that the TPU's lanes allow."""
    return 512 if length % 512 == 0 else 128


def _splash_kernel(length: int, heads: int, interpret: bool):
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
    mask = masks.MultiHeadMask([masks.CausalMask((length, length))] * heads)
    return kernel.make_splash_mha(
        mask, block_sizes=sizes, head_shards=1, q_seq_shards=1, residual_checkpoint_name=SAVED, interpret=interpret
    )


def _reference(q_BxTxNxH, k_BxTxNxH, v_BxTxNxH, segment_BxT, mesh):
    return reference(q_BxTxNxH, k_BxTxNxH, v_BxTxNxH, allowed_pairs(segment_BxT))


# "auto" is the first one that can run.
BACKENDS = {
    "splash": Backend(splash, _splash_obstacle),
    "cudnn": Backend(cudnn, _cudnn_obstacle),
    "reference": Backend(_reference, lambda shapes: None),
}

"""The loss of a batch: which targets count, and a cross-entropy that never holds all logits at once."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from babel_jax.model.architecture import capped
from babel_jax.model.protocol import Model
from babel_jax.model.sharding import BATCH_AXES, row_devices

TILE_BYTES = 2**28  # of float32 logits that one device holds at a time
WHOLE_BYTES = 2**22  # below this it is not worth the trouble, and all logits are made at once


def segments(tokens_BxT, document_end: int):
    """Document number of each token in its row: how many `document_end` tokens come before it."""
    ends_BxT = (tokens_BxT == document_end).astype(jnp.int32)
    return jnp.cumsum(ends_BxT, axis=1) - ends_BxT


def target_weight(tokens_BxT1, loss_weight_V, document_end: int):
    """Weight of each target [B, T]: its token class's weight, and 0 for a document's first token (nothing predicts it)."""
    weight_BxT = loss_weight_V[tokens_BxT1[:, 1:]]
    return jnp.where(tokens_BxT1[:, :-1] == document_end, 0.0, weight_BxT)


def token_loss(logits_BxTxV, targets_BxT, label_smoothing=0.0):
    """Cross-entropy in nats per target, [B, T], against the target mixed with `label_smoothing` of the uniform law."""
    logsumexp_BxT = jax.nn.logsumexp(logits_BxTxV, axis=-1)
    target_BxT = jnp.take_along_axis(logits_BxTxV, targets_BxT[..., None], axis=-1)[..., 0]
    return logsumexp_BxT - (1 - label_smoothing) * target_BxT - label_smoothing * logits_BxTxV.mean(-1)


def tiles_for(rows: int, length: int, vocab_size: int) -> int:
    """Into how many parts of its positions a device's `rows` rows are cut, so that a part's logits fit `TILE_BYTES`.

    0: there are so few logits that `token_loss` may have them all.
    """
    if 4 * rows * length * vocab_size <= WHOLE_BYTES:
        return 0
    tiles = 1
    while 4 * rows * (length // tiles) * vocab_size > TILE_BYTES and length % (2 * tiles) == 0:
        tiles *= 2
    return tiles


def token_losses(params, model: Model, final_BxTxD, targets_BxT, mesh):
    """Cross-entropy per target in nats, [B, T]; where logits are large, those of one part of the positions exist at a time."""
    B, T = targets_BxT.shape
    tiles = max(1, tiles_for(B // (row_devices(mesh) if mesh else 1), T, model.vocab_size))
    logits_of = model.readout(params, mesh)

    def one_tile(part):
        h_BxtxD, target_Bxt = part
        return token_loss(logits_of(h_BxtxD), target_Bxt)

    def cut(x):  # [B, T, …] -> [tiles, B, T / tiles, …]
        return x.reshape(B, tiles, T // tiles, *x.shape[2:]).swapaxes(0, 1)

    if tiles == 1:
        return one_tile((final_BxTxD, targets_BxT))
    return jax.lax.map(one_tile, (cut(final_BxTxD), cut(targets_BxT))).swapaxes(0, 1).reshape(B, T)


class Targets(NamedTuple):
    """What a batch is to predict: token ids, what each counts, and how much of the uniform law is mixed in."""

    tokens_BxT: jax.Array
    weight_BxT: jax.Array
    label_smoothing: jax.Array | float


def tiled_loss(x_BxTxD, head_VxD, targets: Targets, tiles: int, mesh: Mesh | None, cap: float = 0.0):
    """Sum of weight x loss over a batch, and the losses [B, T] (no gradient flows through those).

    The same as `token_loss` of all logits, in `tiles` parts of the positions. A part's gradient is taken where its logits
    are, so that they are never computed a second time: the backward pass only scales what the forward pass has made.

    Args:
      x_BxTxD: what the output embedding is applied to, in the dtype of the computation.
      head_VxD: the output embedding in float32; its gradient is summed in float32.
      tiles: divides T.
      cap: `Architecture.logit_cap`.
    """
    local = functools.partial(_local_loss, tiles=tiles, mesh=mesh, cap=cap)
    if mesh is not None:
        rows, vectors, table = P(BATCH_AXES, None), P(BATCH_AXES, None, None), P("tensor", "fsdp")
        local = jax.shard_map(
            local,
            mesh=mesh,
            in_specs=(vectors, table, Targets(rows, rows, P())),
            out_specs=(P(), rows, vectors, table),
            check_vma=False,
        )

    @jax.custom_vjp
    def loss(x, head):
        return forward(x, head)[0]

    def forward(x, head):
        smoothed = targets._replace(label_smoothing=jnp.float32(targets.label_smoothing))
        total, loss_BxT, dx, dhead = local(x, head, smoothed)
        return (total, loss_BxT), (dx, dhead)

    def backward(gradients, cotangent):
        dx, dhead = gradients
        return dx * cotangent[0].astype(dx.dtype), dhead * cotangent[0]

    loss.defvjp(forward, backward)
    return loss(x_BxTxD, head_VxD)


def _local_loss(x_BxTxD, head_VxD, targets: Targets, *, tiles, mesh, cap):
    """One device's rows (and its part of the vocabulary): (sum over all devices, losses, gradients of that sum)."""
    B, T, D = x_BxTxD.shape
    targets_BxT, weight_BxT, label_smoothing = targets
    over_vocabulary = functools.partial(jax.lax.psum, axis_name="tensor") if mesh is not None else lambda x: x
    first = jax.lax.axis_index("tensor") * head_VxD.shape[0] if mesh is not None else 0
    vocab_size = head_VxD.shape[0] * (mesh.shape["tensor"] if mesh is not None else 1)
    head_VxD = head_VxD.astype(x_BxTxD.dtype)
    if mesh is not None:
        head_VxD = jax.lax.all_gather(head_VxD, "fsdp", axis=1, tiled=True)

    def tile(dhead_DxV, parts):
        x_nxD, target_n, weight_n = parts
        logits_nxV = jnp.einsum("nd,vd->nv", x_nxD, head_VxD, preferred_element_type=jnp.float32)
        logits_nxV = capped(logits_nxV, cap)
        top_n = logits_nxV.max(-1)
        if mesh is not None:
            top_n = jax.lax.pmax(top_n, "tensor")
        exp_nxV = jnp.exp(logits_nxV - top_n[:, None])
        sum_n = over_vocabulary(exp_nxV.sum(-1))
        is_target_nxV = jnp.arange(head_VxD.shape[0]) == (target_n - first)[:, None]
        target_logit_n = over_vocabulary(jnp.where(is_target_nxV, logits_nxV, 0.0).sum(-1))
        mean_n = over_vocabulary(logits_nxV.sum(-1)) / vocab_size
        loss_n = top_n + jnp.log(sum_n) - (1 - label_smoothing) * target_logit_n - label_smoothing * mean_n
        wanted_nxV = (1 - label_smoothing) * is_target_nxV + label_smoothing / vocab_size
        dlogits_nxV = weight_n[:, None] * (exp_nxV / sum_n[:, None] - wanted_nxV)
        if cap:  # the derivative of cap * tanh(x / cap)
            dlogits_nxV = dlogits_nxV * (1 - jnp.square(logits_nxV / cap))
        dlogits_nxV = dlogits_nxV.astype(x_nxD.dtype)
        dx_nxD = over_vocabulary(jnp.einsum("nv,vd->nd", dlogits_nxV, head_VxD, preferred_element_type=jnp.float32))
        # Vocabulary last: on a CPU the other way round takes twice as long.
        dhead_DxV += jnp.einsum("nd,nv->dv", x_nxD, dlogits_nxV, preferred_element_type=jnp.float32)
        return dhead_DxV, (loss_n, dx_nxD.astype(x_nxD.dtype))

    def cut(a):  # [B, T, …] -> [tiles, B * T / tiles, …]
        parts = a.reshape(B, tiles, T // tiles, *a.shape[2:]).swapaxes(0, 1)
        return parts.reshape(tiles, B * (T // tiles), *a.shape[2:])

    def uncut(a):
        return a.reshape(tiles, B, T // tiles, *a.shape[2:]).swapaxes(0, 1).reshape(B, T, *a.shape[2:])

    start = jnp.zeros(head_VxD.shape[::-1], jnp.float32)
    dhead_DxV, (loss, dx) = jax.lax.scan(tile, start, (cut(x_BxTxD), cut(targets_BxT), cut(weight_BxT)))
    loss_BxT = uncut(loss)
    total = (loss_BxT * weight_BxT).sum()
    if mesh is not None:
        total = jax.lax.psum(total, BATCH_AXES)
        dhead_DxV = jax.lax.psum_scatter(dhead_DxV, "fsdp", scatter_dimension=0, tiled=True)
        dhead_DxV = jax.lax.psum(dhead_DxV, "data")
    return total, loss_BxT, uncut(dx), dhead_DxV.T

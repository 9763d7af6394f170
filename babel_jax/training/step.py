"""The training state and the one jitted step."""

import dataclasses
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from ml_collections import FrozenConfigDict

from babel_jax.model.decoder import Decoder, DecoderConfig, init_params
from babel_jax.model.sharding import BATCH, shardings
from babel_jax.training.optimizer import transformation


def segments(tokens_BxT, document_end: int):
    """Document number of each token in its row: how many `document_end` tokens stand before it."""
    ends_BxT = (tokens_BxT == document_end).astype(jnp.int32)
    return jnp.cumsum(ends_BxT, axis=1) - ends_BxT


def token_loss(logits_BxTxV, targets_BxT, label_smoothing=0.0):
    """Cross-entropy in nats per target, [B, T], against the target mixed with `label_smoothing` of the uniform law."""
    logsumexp_BxT = jax.nn.logsumexp(logits_BxTxV, axis=-1)
    target_BxT = jnp.take_along_axis(logits_BxTxV, targets_BxT[..., None], axis=-1)[..., 0]
    return logsumexp_BxT - (1 - label_smoothing) * target_BxT - label_smoothing * logits_BxTxV.mean(-1)


def target_weight(tokens_BxT1, loss_weight_V, document_end: int):
    """Weight of each target [B, T]: its token class's weight, and 0 for a document's first token (nothing foretells it)."""
    weight_BxT = loss_weight_V[tokens_BxT1[:, 1:]]
    return jnp.where(tokens_BxT1[:, :-1] == document_end, 0.0, weight_BxT)


@dataclasses.dataclass(frozen=True)
class Trainer:
    """What a run needs on the device: jitted `init(seed)`, `fresh(params)` and `step(state, tokens, weights, hyper)`.

    The state is a plain dict {"params", "opt_state", "step"}; every leaf is placed by model/sharding.py.
    """

    mesh: Mesh
    state_shardings: dict
    abstract_state: dict
    init: object
    fresh: object
    step: object

    def put_batch(self, tokens_BxT1: np.ndarray):
        return jax.device_put(tokens_BxT1, NamedSharding(self.mesh, BATCH))

    def put(self, value):
        """A small host value on every device."""
        return jax.device_put(value, NamedSharding(self.mesh, P()))


@lru_cache(maxsize=16)
def make_trainer(model: DecoderConfig, optimizer: FrozenConfigDict, document_end: int, mesh: Mesh) -> Trainer:
    """Compiled functions are shared by all runs of the same shapes, whatever their schedule, smoothing or data."""
    update = transformation(optimizer)

    def fresh(params):
        return {"params": params, "opt_state": update.init(params), "step": jnp.zeros((), jnp.int32)}

    def init(seed):
        return fresh(init_params(model, seed))

    def step(state, tokens_BxT1, loss_weight_V, hyper):
        def loss_fn(params):
            inputs_BxT, targets_BxT = tokens_BxT1[:, :-1], tokens_BxT1[:, 1:]
            segment_BxT = segments(inputs_BxT, document_end) if document_end >= 0 else None
            logits_BxTxV, _ = Decoder(model).apply({"params": params}, inputs_BxT, segment_BxT)
            weight_BxT = target_weight(tokens_BxT1, loss_weight_V, document_end)
            loss_BxT = token_loss(logits_BxTxV, targets_BxT, hyper["label_smoothing"])
            return (loss_BxT * weight_BxT).sum() / jnp.maximum(weight_BxT.sum(), 1.0)

        loss, grads = jax.value_and_grad(loss_fn)(state["params"])
        updates, opt_state = update.update(grads, state["opt_state"], state["params"])
        params = jax.tree.map(lambda p, u: p - hyper["learning_rate"] * u, state["params"], updates)
        new_state = {"params": params, "opt_state": opt_state, "step": state["step"] + 1}
        return new_state, {"loss": loss, "grad_norm": optax.global_norm(grads)}

    abstract = jax.eval_shape(init, 0)
    placed = shardings(mesh, abstract)
    abstract = jax.tree.map(
        lambda leaf, where: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where), abstract, placed
    )
    return Trainer(
        mesh=mesh,
        state_shardings=placed,
        abstract_state=abstract,
        init=jax.jit(init, out_shardings=placed, static_argnums=0),
        fresh=jax.jit(fresh, out_shardings=placed),
        step=jax.jit(step, out_shardings=(placed, NamedSharding(mesh, P())), donate_argnums=0),
    )

"""The training state and the one jitted step."""

import dataclasses
from collections.abc import Callable
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from ml_collections import FrozenConfigDict

from babel_jax.model.decoder import Decoder, DecoderConfig, compute_params, final_norm, head_table, init_params
from babel_jax.model.sharding import BATCH, COMPILER_OPTIONS, constrain_rows, row_devices, shardings
from babel_jax.training.loss import Targets, segments, target_weight, tiled_loss, tiles_for, token_loss
from babel_jax.training.optimizer import transformation

SPIKE_MEMORY = 0.98  # of the running mean and variance of the loss, a step
SPIKE_WARMUP = 50  # good steps before a loss can be called a spike


@dataclasses.dataclass(frozen=True)
class Trainer:
    """What a run needs on the device: jitted `init(seed)`, `fresh(params)` and `step(state, tokens, weights, hyper)`.

    The state is a plain dict {"params", "opt_state", "step", "spike"}; every leaf is placed by model/sharding.py.
    A step returns {"loss", "grad_norm", "bad", "row_loss_B"}; a bad one (not finite, or a spike) changes nothing but the step
    counter.
    """

    mesh: Mesh
    state_shardings: dict
    abstract_state: dict
    init: object
    fresh: object
    step: object

    def put_batch(self, rows: Callable[[np.ndarray], np.ndarray], batch_size: int):
        """The global batch [B, T + 1] of which each host makes its own rows only.

        `rows`: offsets in the batch (int64 [n], ascending) -> token rows int32 [n, T + 1].
        """
        sharding = NamedSharding(self.mesh, BATCH)
        index_of = sharding.addressable_devices_indices_map((batch_size,))
        parts = {device: np.arange(batch_size)[index] for device, (index,) in index_of.items()}
        wanted = np.unique(np.concatenate(list(parts.values())))
        tokens = rows(wanted)
        arrays = [jax.device_put(tokens[np.searchsorted(wanted, offsets)], device) for device, offsets in parts.items()]
        return jax.make_array_from_single_device_arrays((batch_size, *tokens.shape[1:]), sharding, arrays)

    def put(self, value):
        """A small host value, or a dict of such, on every device.

        On several hosts, a `device_put` of the whole would compare their values first, by a collective behind the steps
        that are queued.
        """
        everywhere = NamedSharding(self.mesh, P())

        def put_leaf(leaf):
            copies = [jax.device_put(leaf, device) for device in everywhere.addressable_devices]
            return jax.make_array_from_single_device_arrays(np.shape(leaf), everywhere, copies)

        return jax.tree.map(put_leaf, value)


@lru_cache(maxsize=16)
def make_trainer(
    model: DecoderConfig, optimizer: FrozenConfigDict, document_end: int, mesh: Mesh, accumulation: int = 1
) -> Trainer:
    """Compiled functions are shared by all runs of the same shapes, whatever their schedule, smoothing or data."""
    functions = _Functions(model, optimizer, document_end, mesh, accumulation)
    placed = functions.placed
    return Trainer(
        mesh=mesh,
        state_shardings=placed,
        abstract_state=jax.tree.map(
            lambda leaf, where: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where), functions.abstract, placed
        ),
        init=jax.jit(functions.init, out_shardings=placed, static_argnums=0),
        fresh=jax.jit(functions.fresh, out_shardings=placed),
        step=jax.jit(
            functions.step,
            out_shardings=(placed, NamedSharding(mesh, P())),
            donate_argnums=0,
            compiler_options=COMPILER_OPTIONS.get(mesh.devices.flat[0].platform),
        ),
    )


class _Functions:
    """What `make_trainer` compiles: pure functions of their arguments."""

    def __init__(self, model, optimizer, document_end: int, mesh: Mesh, accumulation: int):
        self.model, self.document_end, self.mesh, self.accumulation = model, document_end, mesh, accumulation
        self.update = transformation(optimizer)
        self.decoder = Decoder(model, mesh)
        self.abstract = jax.eval_shape(self.init, 0)
        self.placed = shardings(mesh, self.abstract, complete=True)

    def init(self, seed):
        return self.fresh(init_params(self.model, seed))

    def fresh(self, params):
        spike = {name: jnp.zeros((), jnp.float32) for name in ("mean", "variance")} | {
            "count": jnp.zeros((), jnp.int32)
        }
        step = jnp.zeros((), jnp.int32)
        return {"params": params, "opt_state": self.update.init(params), "step": step, "spike": spike}

    def step(self, state, tokens_BxT1, loss_weight_V, hyper):
        loss, row_loss_B, grads = self.loss_and_grads(
            state["params"], tokens_BxT1, loss_weight_V, hyper["label_smoothing"]
        )
        grad_norm = optax.tree.norm(grads)
        updates, opt_state = self.update.update(grads, state["opt_state"], state["params"])
        params = jax.tree.map(lambda p, u: p - hyper["learning_rate"] * u, state["params"], updates)
        bad, spike = judge_loss(state["spike"], loss, grad_norm, hyper["spike_factor"])
        new = {"params": params, "opt_state": opt_state, "spike": spike}
        new_state = jax.tree.map(lambda old, new: jnp.where(bad, old, new), {name: state[name] for name in new}, new)
        new_state["step"] = state["step"] + 1
        return new_state, {"loss": loss, "grad_norm": grad_norm, "bad": bad, "row_loss_B": row_loss_B}

    def loss_and_grads(self, params, tokens_BxT1, loss_weight_V, label_smoothing):
        """Mean loss, the mean loss of each row, and float32 gradients: a sum over micro-batches over the sum of weights."""
        weight_BxT = target_weight(tokens_BxT1, loss_weight_V, self.document_end)
        total = jnp.maximum(weight_BxT.sum(), 1.0)
        params = compute_params(params, self.model.dtype)

        def micro_batch(tokens_bxT1, weight_bxT):
            def mean_loss(params):
                loss, loss_bxT = self.batch_loss(params, tokens_bxT1, weight_bxT, label_smoothing)
                row_loss_b = (loss_bxT * weight_bxT).sum(1) / jnp.maximum(weight_bxT.sum(1), 1.0)
                return loss / total, jax.lax.stop_gradient(row_loss_b)

            (loss, row_loss_b), grads = jax.value_and_grad(mean_loss, has_aux=True)(params)
            return loss, row_loss_b, jax.tree.map(lambda g: g.astype(jnp.float32), grads)

        if self.accumulation == 1:
            return micro_batch(tokens_BxT1, weight_BxT)

        def cut(a):  # micro-batch m takes rows m, m + A, m + 2A, …: of every device's rows the same number
            parts = a.reshape(-1, self.accumulation, *a.shape[1:]).swapaxes(0, 1)
            return constrain_rows(parts, self.mesh, axis=1)

        def add(sums, parts):
            loss, row_loss_b, grads = micro_batch(*parts)
            return jax.tree.map(jnp.add, sums, (loss, grads)), row_loss_b

        start = (jnp.zeros(()), jax.tree.map(lambda p: jnp.zeros(p.shape, jnp.float32), params))
        start = (start[0], jax.lax.with_sharding_constraint(start[1], self.placed["params"]))
        (loss, grads), row_loss_Axb = jax.lax.scan(add, start, (cut(tokens_BxT1), cut(weight_BxT)))
        return loss, row_loss_Axb.T.reshape(-1), grads

    def batch_loss(self, params, tokens_BxT1, weight_BxT, label_smoothing):
        """(sum of weight x loss, losses [B, T])."""
        inputs_BxT, targets_BxT = tokens_BxT1[:, :-1], tokens_BxT1[:, 1:]
        segment_BxT = segments(inputs_BxT, self.document_end) if self.document_end >= 0 else None
        logits_BxTxV, taps = self.decoder.apply({"params": params}, inputs_BxT, segment_BxT)
        tiles = tiles_for(len(inputs_BxT) // row_devices(self.mesh), inputs_BxT.shape[1], self.model.vocab_size)
        if not tiles:
            loss_BxT = token_loss(logits_BxTxV, targets_BxT, label_smoothing)
            return (loss_BxT * weight_BxT).sum(), loss_BxT
        x_BxTxD = final_norm(params, self.model, taps["final_BxTxD"])
        targets = Targets(targets_BxT, weight_BxT, label_smoothing)
        return tiled_loss(x_BxTxD, head_table(params), targets, tiles, self.mesh, self.model.architecture.logit_cap)


def judge_loss(spike: dict, loss, grad_norm, factor):
    """(whether this step is bad, the running mean and variance of the good losses).

    Bad: a loss or gradient that is not a finite number; or, where `factor` > 0 and enough good steps were seen, a loss more
    than `factor` running standard deviations above the running mean.
    """
    seen = spike["count"]
    memory = jnp.minimum(SPIKE_MEMORY, seen / (seen + 1.0))  # a plain mean at first
    limit = spike["mean"] + factor * jnp.sqrt(spike["variance"])
    bad = ~(jnp.isfinite(loss) & jnp.isfinite(grad_norm)) | ((factor > 0) & (seen >= SPIKE_WARMUP) & (loss > limit))
    distance = loss - spike["mean"]
    return bad, {
        "mean": spike["mean"] + (1 - memory) * distance,
        "variance": memory * (spike["variance"] + (1 - memory) * distance**2),
        "count": seen + 1,
    }

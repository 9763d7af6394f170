"""AdamW and Muon from Optax's parts, with learning rate and label smoothing as data: one executable serves every schedule."""

import math
import re

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict, FrozenConfigDict

from babel_jax.common.errors import unknown_name
from babel_jax.model.sharding import path_name

SCHEDULES = ("constant", "cosine", "wsd")
MOMENT_DTYPES = ("float32", "bfloat16")
# Keys of the config that are data of a step, or make such data on the host: they do not make another executable.
SCHEDULE_KEYS = (
    "learning_rate",
    "warmup_steps",
    "schedule",
    "decay_steps",
    "final_learning_rate",
    "label_smoothing",
)
DECAYED = r"blocks/.*kernel$"  # decoupled weight decay acts on block matrices only
ORTHOGONALISED = r"blocks/.*kernel$"  # what Muon steps: [L, rows, columns] or [L, rows, heads, columns of a head]
FROZEN = r"embed_frozen$"  # never decayed, whatever `decayed` says: these rows keep their values for ever
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # of Muon's author (kellerjordan.github.io/posts/muon): steepest at zero
NEWTON_SCHULZ_STEPS = 5
MUON_RMS = 0.2  # root mean square of a Muon update, about that of an AdamW update (arXiv:2502.16982, section 2.2)


def learning_rate(optimizer, step: int, steps: int) -> float:
    """Learning rate of update `step` (0-based): linear warm-up, then by `optimizer.schedule`.

    "constant": the peak. "cosine": to `final_learning_rate`; `decay_steps` > 0: constant until the last `decay_steps`
    steps, which follow the cosine; 0: all steps do. "wsd" (warm-up, stable, decay): constant until the last `decay_steps`
    steps, which fall as 1 - sqrt(progress), the shape that arXiv:2405.18392 found better than a straight line.
    """
    peak, final, warmup = optimizer.learning_rate, optimizer.final_learning_rate, optimizer.warmup_steps
    if step < warmup:
        return peak * (step + 1) / warmup
    if optimizer.schedule == "constant":
        return peak
    if optimizer.schedule not in SCHEDULES:
        raise unknown_name("schedule", optimizer.schedule, SCHEDULES)
    whole = optimizer.schedule == "cosine" and not optimizer.decay_steps
    start = warmup if whole else max(warmup, steps - optimizer.decay_steps)
    progress = min(1.0, max(0.0, (step - start) / max(1, steps - start)))
    if optimizer.schedule == "cosine":
        return final + (peak - final) * 0.5 * (1 + math.cos(math.pi * progress))
    return final + (peak - final) * (1 - math.sqrt(progress))


def static_settings(optimizer: ConfigDict) -> FrozenConfigDict:
    """The optimizer section without its data: what `transformation` reads, and what one executable is made for."""
    return FrozenConfigDict({key: value for key, value in optimizer.to_dict().items() if key not in SCHEDULE_KEYS})


def transformation(optimizer) -> optax.GradientTransformation:
    """Clipping, Adam or Muon, decoupled decay, per-leaf multipliers. Its updates still want the factor -learning rate.

    Muon orthogonalises the momentum of the block matrices and leaves all else to Adam. Its updates are scaled to the size
    of Adam's, so `learning_rate` and `weight_decay` mean the same under both names and a config can switch.

    `optimizer.decayed`: regex of the leaf paths with weight decay. `optimizer.multipliers`: regex of leaf paths -> factor
    on that leaf's learning rate. A regex that matches nothing is an error, raised at `init`.
    """
    multipliers = dict(optimizer.multipliers)

    def check_patterns(params):
        _matching("optimizer.decayed", optimizer.decayed, params)
        for pattern in multipliers:
            _matching("optimizer.multipliers", pattern, params)
        return optax.EmptyState()

    def multiply(updates, params):
        def factor(path, update):
            for pattern, value in multipliers.items():
                if re.search(pattern, path_name(path)):
                    return update * value
            return update

        return jax.tree_util.tree_map_with_path(factor, updates)

    def decayed(params):
        return _mask(params, lambda name: re.search(optimizer.decayed, name) and not re.search(FROZEN, name))

    return optax.chain(
        optax.clip_by_global_norm(optimizer.clip_norm),
        _direction(optimizer),
        optax.add_decayed_weights(optimizer.weight_decay, mask=decayed),
        optax.GradientTransformation(check_patterns, optax.stateless(multiply).update),
    )


def _direction(optimizer) -> optax.GradientTransformation:
    if optimizer.mu_dtype not in MOMENT_DTYPES:
        raise unknown_name("optimizer.mu_dtype", optimizer.mu_dtype, MOMENT_DTYPES)
    if optimizer.name not in DIRECTIONS:
        raise unknown_name("optimizer", optimizer.name, DIRECTIONS)
    return DIRECTIONS[optimizer.name](optimizer)


def _adam(optimizer) -> optax.GradientTransformation:
    mu_dtype = jnp.dtype(optimizer.mu_dtype)
    return optax.scale_by_adam(b1=optimizer.b1, b2=optimizer.b2, eps=optimizer.epsilon, mu_dtype=mu_dtype)


def _muon(optimizer) -> optax.GradientTransformation:
    muon = optax.chain(
        optax.trace(optimizer.momentum, nesterov=True, accumulator_dtype=jnp.dtype(optimizer.mu_dtype)),
        optax.stateless(lambda updates, _: jax.tree_util.tree_map_with_path(_orthogonal_step, updates)),
    )

    def labels(params):
        matrices = _mask(params, lambda name: re.search(ORTHOGONALISED, name))
        return jax.tree.map({True: "muon", False: "adam"}.get, matrices)

    return optax.partition({"muon": muon, "adam": _adam(optimizer)}, labels)


def _orthogonal_step(path, momentum):
    """The Muon step of the stacked matrices of one kind, one layer after the other so that memory holds one's products.

    Queries, keys and values are three matrices, whether they have a kernel each or lie side by side in one: each is
    orthogonalised on its own, as its author advises, and else the largest of the three would rule the step of all. The heads of
    one kernel [L, rows, heads, columns] are one matrix, as side by side.
    """
    momentum_LxIxO = momentum.reshape(*momentum.shape[:2], -1)
    L, rows, columns = momentum_LxIxO.shape
    parts = 3 if "qkv" in path_name(path) else 1
    split = momentum_LxIxO.reshape(L, rows, parts, columns // parts).swapaxes(1, 2)
    steps = jax.lax.map(orthogonalise, split.reshape(L * parts, rows, columns // parts))
    steps = steps.reshape(split.shape).swapaxes(1, 2).reshape(momentum.shape)
    # An orthogonal matrix has entries of size max(rows, columns) ** -0.5.
    return steps * (MUON_RMS * max(rows, columns // parts) ** 0.5)


def orthogonalise(matrix):
    """Nearest semi-orthogonal matrix, roughly: five steps of a quintic Newton-Schulz iteration.

    Singular values end near 1 (0.7 to 1.2; those near 0 stay below), which training does not mind (see `NEWTON_SCHULZ`).
    """
    a, b, c = NEWTON_SCHULZ
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix  # the Gram matrix of the shorter side is the cheaper one
    x = x / (jnp.linalg.norm(x) + 1e-8)
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if tall else x


# Name of the config -> (its section `optimizer`) -> the direction of a step, before decay and the factor -learning rate.
DIRECTIONS = {
    "adamw": _adam,
    "muon": _muon,
}


def _mask(params, chosen):
    """A tree of booleans: whether `chosen(leaf path)`."""
    return jax.tree_util.tree_map_with_path(lambda path, _: bool(chosen(path_name(path))), params)


def _matching(key: str, pattern: str, params) -> None:
    """Raises when no leaf path matches."""
    names = [path_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    if not any(re.search(pattern, name) for name in names):
        raise unknown_name(f"parameter pattern in {key}", pattern, names)

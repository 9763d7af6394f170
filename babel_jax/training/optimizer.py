"""AdamW from Optax, with learning rate and label smoothing as data, so that one executable serves every schedule."""

import math
import re

import jax
import optax

from babel_jax.files import unknown_name
from babel_jax.model.sharding import path_name

SCHEDULES = ("constant", "cosine")
DECAYED = r"blocks/.*kernel$"  # decoupled weight decay acts on block matrices only


def learning_rate(optimizer, step: int, steps: int) -> float:
    """Learning rate of update `step` (0-based): linear warm-up, then constant or cosine to `final_learning_rate`.

    `optimizer.decay_steps` > 0: constant until the last `decay_steps` steps, which follow the cosine; 0: all steps do.
    """
    peak, warmup = optimizer.learning_rate, optimizer.warmup_steps
    if step < warmup:
        return peak * (step + 1) / warmup
    if optimizer.schedule == "constant":
        return peak
    if optimizer.schedule != "cosine":
        raise unknown_name("schedule", optimizer.schedule, SCHEDULES)
    start = max(warmup, steps - optimizer.decay_steps) if optimizer.decay_steps else warmup
    progress = min(1.0, max(0.0, (step - start) / max(1, steps - start)))
    return optimizer.final_learning_rate + (peak - optimizer.final_learning_rate) * 0.5 * (
        1 + math.cos(math.pi * progress)
    )


def transformation(optimizer) -> optax.GradientTransformation:
    """Clipping, Adam, decoupled decay, per-leaf multipliers. Its updates still want the factor -learning rate.

    `optimizer.multipliers`: regex of leaf paths -> factor on that leaf's learning rate; a regex that matches nothing is
    an error, raised at `init`.
    """
    multipliers = dict(optimizer.multipliers)

    def multiply(updates, params):
        names = [path_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]
        for pattern in multipliers:
            if not any(re.search(pattern, name) for name in names):
                raise unknown_name("parameter pattern in optimizer.multipliers", pattern, names)

        def factor(path, update):
            for pattern, value in multipliers.items():
                if re.search(pattern, path_name(path)):
                    return update * value
            return update

        return jax.tree_util.tree_map_with_path(factor, updates)

    def decayed(params):
        return jax.tree_util.tree_map_with_path(lambda path, _: bool(re.search(DECAYED, path_name(path))), params)

    return optax.chain(
        optax.clip_by_global_norm(optimizer.clip_norm),
        optax.scale_by_adam(b1=optimizer.b1, b2=optimizer.b2, eps=optimizer.epsilon),
        optax.add_decayed_weights(optimizer.weight_decay, mask=decayed),
        optax.stateless(multiply),
    )

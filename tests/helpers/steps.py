"""Training steps of a small model on fixed rows, on one device or on a mesh."""

import jax
import numpy as np
from ml_collections import ConfigDict

from babel_jax.model.sharding import make_mesh
from babel_jax.training import config as run_config
from babel_jax.training.optimizer import static_settings
from babel_jax.training.step import make_trainer
from helpers import SMALL, loud, random_rows

# A large epsilon: Adam then does not blow rounding up where a gradient is almost zero.
PLAIN = static_settings(run_config.override(run_config.default(), {"optimizer": {"epsilon": 1e-2}}).optimizer)
WEIGHTS = np.linspace(0.5, 1.5, SMALL.vocab_size).astype(np.float32)
ROWS = random_rows(16, 12, SMALL.max_length)


def steps(model=SMALL, mesh=None, optimizer=PLAIN, accumulation=1, rows=ROWS, count=3, spike_factor=0.0):
    """(state, metrics of each step) after training on the same batch again and again."""
    trainer = make_trainer(model, optimizer, 3, mesh or make_mesh(), accumulation)
    state, metrics = trainer.fresh(jax.device_put(loud(model, scale=0.1), trainer.state_shardings["params"])), []
    hyper = {"learning_rate": np.float32(1e-2), "label_smoothing": np.float32(0.1)}
    hyper["spike_factor"] = np.float32(spike_factor)
    for _ in range(count):
        batch = trainer.put_batch(lambda offsets: rows[offsets], len(rows))
        with jax.transfer_guard("disallow"):
            state, seen = trainer.step(state, batch, trainer.put(WEIGHTS), trainer.put(hyper))
        metrics.append(jax.device_get(seen))
    assert trainer.step._cache_size() == 1
    return state, metrics


DEFAULT = run_config.default().optimizer
NO_SPIKES = {"spike_factor": np.float32(0)}


def settings(**changes) -> ConfigDict:
    return ConfigDict(static_settings(DEFAULT).to_dict() | changes)


def losses_of(data=1, fsdp=1, tensor=1, **changes) -> list[float]:
    """Losses of six steps on one batch."""
    trainer = make_trainer(SMALL, static_settings(settings(**changes)), 3, make_mesh(data, fsdp, tensor))
    state, found = trainer.fresh(loud(SMALL)), []
    hyper = trainer.put({name: np.float32(0.02) for name in ("learning_rate", "label_smoothing")} | NO_SPIKES)
    tokens = random_rows(8, SMALL.vocab_size, SMALL.max_length)
    for _ in range(6):
        batch = trainer.put_batch(lambda offsets: tokens[offsets], len(tokens))
        state, metrics = trainer.step(state, batch, trainer.put(np.ones(SMALL.vocab_size, np.float32)), hyper)
        jax.block_until_ready(state)  # forced CPU devices that are steps apart can lock up
        found.append(float(metrics["loss"]))
    assert trainer.step._cache_size() == 1
    return found

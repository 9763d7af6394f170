"""Seeds vmapped or one after another? Prints one JSON line: CPU milliseconds per step and seed, and their ratio.

The embedded world's step (tiny preset, batch 64, 11 tokens) for several seeds in one program against one program a seed.
A ratio below 1 says that vmapping loses. That decided that a study's runs go side by side in processes.
Run: NPROC=1 XLA_FLAGS=--xla_cpu_multi_thread_eigen=false python tests/bench/seeds.py [--seeds=3 --steps=30]
"""

import argparse
import json
import time

import jax
import jax.numpy as jnp
import numpy as np

from babel_jax.model.decoder import PRESETS, DecoderConfig
from babel_jax.model.sharding import make_mesh
from babel_jax.training import config as run_config
from babel_jax.training.optimizer import static_settings
from babel_jax.training.step import make_trainer

OPTIMIZER = static_settings(run_config.default().optimizer)
VOCAB, FROZEN, BATCH, LENGTH = 638, 600, 64, 11


def cpu_seconds(step, state, *arguments, steps: int) -> float:
    """CPU seconds per call, over all threads; the first calls compile and warm up. The fastest third counts."""
    seconds = []
    for _ in range(steps + 3):
        start = time.process_time()
        state, _ = step(state, *arguments)
        jax.block_until_ready(state)
        seconds.append(time.process_time() - start)
    return float(np.sort(seconds[3:])[: max(1, steps // 3)].mean())


def main():
    parser = argparse.ArgumentParser()
    for name, default in dict(seeds=3, steps=30).items():
        parser.add_argument(f"--{name}", type=int, default=default)
    size = parser.parse_args()
    model = DecoderConfig(**PRESETS["tiny"], vocab_size=VOCAB, max_length=LENGTH, tied_head=False, frozen_rows=FROZEN)
    trainer = make_trainer(model, OPTIMIZER, -1, make_mesh())
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, VOCAB, (size.seeds, BATCH, LENGTH + 1)).astype(np.int32)
    weight_V = jnp.ones(VOCAB)
    hyper = {"learning_rate": jnp.float32(1e-3), "label_smoothing": jnp.float32(0)}
    states = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(trainer.init(seed) for seed in range(size.seeds)))
    together = jax.jit(jax.vmap(trainer.step, in_axes=(0, 0, None, None)), donate_argnums=0)
    vmapped = cpu_seconds(together, states, jnp.asarray(tokens), weight_V, hyper, steps=size.steps) / size.seeds
    alone = cpu_seconds(trainer.step, trainer.init(0), jnp.asarray(tokens[0]), weight_V, hyper, steps=size.steps)
    result = {"vmapped_ms": round(1e3 * vmapped, 2), "one_after_another_ms": round(1e3 * alone, 2)}
    print(json.dumps(result | {"ratio": round(alone / vmapped, 2), **vars(size)}))


if __name__ == "__main__":
    main()

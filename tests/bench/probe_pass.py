"""What the probes cost on top of a forward pass: prints one JSON line.

`ratio`: the jitted pass with loss, LAPE's counts and sums and the lens at chosen positions, against a plain jitted
forward that returns each token's loss; same process, same weights, interleaved, each the fastest of several. Target:
at most 1.15.
Run: python tests/bench/probe_pass.py [--width=256 --layers=4 --vocab=8192 --batch=8 --length=256 --positions=4]
"""

import argparse
import json
import time

import jax
import numpy as np

from babel_jax.model.decoder import Decoder, DecoderConfig, init_params
from babel_jax.probes import forward

TARGET = 1.15


def fastest(functions: dict, repeats: int) -> dict:
    """Seconds of the fastest call of each function, called in turn."""
    seconds = dict.fromkeys(functions, float("inf"))
    for _ in range(repeats):
        for name, function in functions.items():
            start = time.perf_counter()
            jax.block_until_ready(function())
            seconds[name] = min(seconds[name], time.perf_counter() - start)
    return seconds


def main():
    parser = argparse.ArgumentParser()
    shape = dict(
        width=256,
        layers=4,
        heads=4,
        vocab=8192,
        batch=8,
        length=256,
        positions=4,
        languages=2,
        repeats=15,
    )
    for name, default in shape.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    size = parser.parse_args()
    config = DecoderConfig(size.vocab, size.width, size.layers, size.heads, 4 * size.width, size.length)
    params = jax.device_put(jax.jit(init_params, static_argnums=0)(config, 0), jax.devices()[0])
    rng = np.random.default_rng(0)
    B, T, K = size.batch, size.length, size.languages
    tokens_BxT1 = rng.integers(0, size.vocab, (B, T + 1)).astype(np.int32)
    batch = {
        "tokens": tokens_BxT1[:, :-1],
        "targets": tokens_BxT1[:, 1:],
        "loss": np.ones((B, T), np.float32),
        "knowledge": np.ones((B, T), np.float32),
        "language": np.arange(B, dtype=np.int32) % K,
        "shard": np.int32(0),
        "positions": rng.integers(0, T, (B, size.positions)).astype(np.int32),
        "candidates": rng.integers(0, size.vocab, (B, size.positions, 2)).astype(np.int32),
    }
    batch = jax.device_put(batch, jax.devices()[0])
    shards_x = (forward.SHARDS, config.layers, config.ffn_width, K)
    counters = {
        "active_RxLxFxK": np.zeros(shards_x, np.int32),
        "activation_sum_RxLxFxK": np.zeros(shards_x, np.float32),
        "tokens_RxK": np.zeros((forward.SHARDS, K), np.int32),
    }
    _, everywhere = forward.placement(params, B)
    state = {"counters": jax.device_put(counters, everywhere)}
    one_pass = forward.jitted_pass(config, 0, False, everywhere)

    @jax.jit
    def plain(params, batch):
        logits, _ = Decoder(config).apply({"params": params}, batch["tokens"], forward.segments(batch["tokens"], 0))
        return forward.token_loss(logits, batch["targets"])

    def probe():
        state["counters"], results = one_pass(params, state["counters"], batch)
        return state["counters"], results

    functions = {"plain": lambda: plain(params, batch), "probes": probe}
    fastest(functions, 2)  # compile and warm up
    seconds = fastest(functions, size.repeats)
    ratio = seconds["probes"] / seconds["plain"]
    print(
        json.dumps(
            {
                "bench": "probe_pass",
                "ratio": round(ratio, 3),
                "target": TARGET,
                "met": ratio <= TARGET,
                "plain_ms": round(1e3 * seconds["plain"], 2),
                "probes_ms": round(1e3 * seconds["probes"], 2),
                "shape": vars(size),
                "device": jax.devices()[0].device_kind,
            }
        )
    )


if __name__ == "__main__":
    main()

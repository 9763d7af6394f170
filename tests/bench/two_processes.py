"""What several processes cost: prints one JSON line: tokens/s of two processes x 4 devices over one process x 8 devices.

FSDP over all 8 forced CPU devices of one machine, the same global batch and steps (256 wide, 4 layers, vocabulary 2048, 16 rows
of 128 tokens); the two processes talk over loopback. Both take turns, and the best window of each counts. On CPU alone.
Run: python tests/bench/two_processes.py [--steps=3 --windows=3 --turns=2]
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent.parent
VOCAB, BATCH, LENGTH = 2048, 16, 128
SHAPE = dict(width=256, layers=4, heads=4, ffn_width=1024)


def work(steps: int, windows: int) -> float:
    """Tokens/s of the best window of `steps` steps, in a process that has joined the others."""
    import jax

    from babel_jax.model.decoder import DecoderConfig
    from babel_jax.model.sharding import make_mesh
    from babel_jax.training import config, hosts
    from babel_jax.training.optimizer import static_settings
    from babel_jax.training.step import make_trainer

    model = DecoderConfig(**SHAPE, vocab_size=VOCAB, max_length=LENGTH, tied_head=True)
    trainer = make_trainer(model, static_settings(config.default().optimizer), -1, make_mesh(data=1, fsdp=-1))
    state, weight_V = trainer.init(0), trainer.put(np.ones(VOCAB, np.float32))
    hyper = {name: np.float32(0) for name in ("learning_rate", "label_smoothing", "spike_factor")}

    def window(count: int, state):
        hosts.barrier("window")
        start = time.perf_counter()
        for step in range(count):
            tokens = trainer.put_batch(lambda offsets, first=BATCH * step: rows(first + offsets), BATCH)
            state, metrics = trainer.step(state, tokens, weight_V, trainer.put(hyper))
        jax.block_until_ready(metrics)
        return count * BATCH * LENGTH / (time.perf_counter() - start), state

    best, state = 0.0, window(1, state)[1]  # the first compiles
    for _ in range(windows):
        found, state = window(steps, state)
        best = max(best, found)
    hosts.barrier("end")
    return best


def rows(places: np.ndarray) -> np.ndarray:
    return np.stack([np.random.default_rng(place).integers(0, VOCAB, LENGTH + 1) for place in places]).astype(np.int32)


def measured(processes: int, devices: int, size) -> float:
    """Tokens/s of `processes`, as the first of them sees it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    # As tests/helpers/__init__.py: too few threads for the devices, or another order in each, lock up.
    flags = f"--xla_force_host_platform_device_count={devices} --xla_cpu_enable_concurrency_optimized_scheduler=false"
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "NPROC": str(8 * devices),
        "XLA_FLAGS": f"{flags} --xla_cpu_multi_thread_eigen=false",
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, __file__, f"--steps={size.steps}", f"--windows={size.windows}", "--worker"]
    running = [
        subprocess.Popen(
            [*command, address, str(processes), str(i)], env=environment, stdout=subprocess.PIPE, text=True
        )
        for i in range(processes)
    ]
    said = [process.communicate()[0] for process in running]
    if any(process.returncode for process in running):
        raise SystemExit("a process failed")
    return float(said[0].rsplit("tokens/s ", 1)[1])


def main():
    parser = argparse.ArgumentParser()
    for name, default in dict(steps=3, windows=3, turns=2).items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    size = parser.parse_args()
    if size.worker:
        from babel_jax.training import hosts

        address, processes, process = size.worker
        hosts.initialize(address, int(processes), int(process))
        print("tokens/s", work(size.steps, size.windows))
        return
    turns = [(measured(1, 8, size), measured(2, 4, size)) for _ in range(size.turns)]
    one, two = (max(turn[i] for turn in turns) for i in range(2))
    result = {
        "two_processes_tokens_per_s": round(two),
        "one_process_tokens_per_s": round(one),
        "ratio": round(two / one, 2),
    }
    print(
        json.dumps(
            result | {"limit": "at least 0.6", **{name: getattr(size, name) for name in ("steps", "windows", "turns")}}
        )
    )


if __name__ == "__main__":
    main()

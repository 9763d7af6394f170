"""What do the checksums of a checkpoint cost? Prints one JSON line.

`ratio`: seconds for the checksums of a whole training state (parameters and both moments), against the seconds of a save from
its call until it is on disk, checksums included; medians. Target: at most 0.05. `restore_ratio`: against those of a restore.
Run: python tests/bench/checkpoint.py [--preset=7m --vocab=8192 --length=256 --repeats=7]
"""

import argparse
import contextlib
import dataclasses
import json
import statistics
import tempfile
import time

import jax

from babel_jax.model.decoder import PRESETS, DecoderConfig
from babel_jax.model.sharding import make_mesh
from babel_jax.training import checksums
from babel_jax.training import config as run_config
from babel_jax.training.checkpoint import Checkpoints, Metadata
from babel_jax.training.optimizer import static_settings
from babel_jax.training.step import make_trainer

TARGET = 0.05


def timed(do) -> float:
    start = time.perf_counter()
    jax.block_until_ready(do())
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--preset", default="7m", choices=PRESETS)
    for name, default in dict(vocab=8192, length=256, repeats=7).items():
        parser.add_argument(f"--{name}", type=int, default=default)
    size = parser.parse_args()
    model = DecoderConfig(**PRESETS[size.preset], vocab_size=size.vocab, max_length=size.length)
    trainer = make_trainer(model, static_settings(run_config.default().optimizer), 0, make_mesh())
    state = jax.block_until_ready(trainer.init(0))
    about = Metadata(0, 0, {}, model.to_json(), started=0.0)
    seconds = {"checksums": [], "save": [], "restore": []}
    with tempfile.TemporaryDirectory() as folder, contextlib.closing(Checkpoints(folder)) as checkpoints:
        for step in range(size.repeats + 1):

            def save(step=step):
                checkpoints.save(state, dataclasses.replace(about, step=step))
                checkpoints.wait()

            seconds["save"].append(timed(save))
            seconds["checksums"].append(timed(lambda: checksums.of_tree(state)))
            seconds["restore"].append(timed(lambda step=step: checkpoints.restore(step, trainer.abstract_state)))
    found = {name: statistics.median(values[1:]) for name, values in seconds.items()}  # the first call compiles
    result = {f"{name}_seconds": round(value, 4) for name, value in found.items()}
    result |= {"megabytes": round(sum(leaf.nbytes for leaf in jax.tree.leaves(state)) / 1e6)}
    result |= {"restore_ratio": round(found["checksums"] / found["restore"], 4)}
    print(json.dumps(result | {"ratio": round(found["checksums"] / found["save"], 4), "target": TARGET, **vars(size)}))


if __name__ == "__main__":
    main()

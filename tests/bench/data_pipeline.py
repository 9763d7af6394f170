"""Does the data pipeline keep up? Prints one JSON line.

`ratio`: tokens/s of a mixture over two languages' ArrayRecord rows (random tokens, shuffled, batch by batch), against the
tokens/s that a train step of the 7M preset consumes on this machine; same process, one after the other. Target: at least 20.
Run: python tests/bench/data_pipeline.py [--batch=8 --length=256 --vocab=8192 --rows=8000 --steps=5]
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import jax
import numpy as np

from babel_jax.corpus import token_rows
from babel_jax.corpus.mixture import Mixture, Stage
from babel_jax.model.decoder import PRESETS, DecoderConfig
from babel_jax.model.sharding import make_mesh
from babel_jax.training import config as run_config
from babel_jax.training.optimizer import static_settings
from babel_jax.training.step import make_trainer

TARGET = 20
OPTIMIZER = static_settings(run_config.default().optimizer)


def write_rows(folder: Path, language: str, size) -> token_rows.RowSource:
    """Random tokens of one language as a dataset on disk."""
    file, length, dtype = folder / f"{language}.tokens", size.length + 1, token_rows.token_dtype(size.vocab)
    rng = np.random.default_rng(len(language))
    rng.integers(0, size.vocab, size.rows * length).astype(dtype).tofile(file)
    number, shards = token_rows.count(size.rows * length, length)
    for shard, first in enumerate(range(0, number, token_rows.ROWS_PER_SHARD)):
        target = token_rows.shard_path(folder, language, "train", shard, shards)
        count = min(token_rows.ROWS_PER_SHARD, number - first)
        token_rows.write_shard(target, [(file, size.rows * length)], dtype, first, count, length)
    token_rows.write_info(folder, language, {"train": number}, length, dtype)
    return token_rows.read(folder, language)["train"]


def pipeline_speed(size) -> float:
    with tempfile.TemporaryDirectory() as folder:
        sources = {language: write_rows(Path(folder), language, size) for language in ("primary", "new")}
        mixture = Mixture(sources, (Stage(None, (("new", 0.7), ("primary", 0.3))),), seed=0)
        batches = size.rows // size.batch  # about half of all rows, none twice
        mixture.rows(np.arange(size.batch))
        start = time.perf_counter()
        for batch in range(1, batches + 1):
            mixture.rows(np.arange(batch * size.batch, (batch + 1) * size.batch))
        return batches * size.batch * size.length / (time.perf_counter() - start)


def step_speed(size) -> float:
    model = DecoderConfig(**PRESETS["7m"], vocab_size=size.vocab, max_length=size.length)
    trainer = make_trainer(model, OPTIMIZER, 0, make_mesh())
    weight_V = trainer.put(np.ones(size.vocab, np.float32))
    hyper = trainer.put(
        {"learning_rate": np.float32(1e-3), "label_smoothing": np.float32(0), "spike_factor": np.float32(0)}
    )
    tokens = np.random.default_rng(0).integers(0, size.vocab, (size.batch, size.length + 1)).astype(np.int32)
    state, seconds = trainer.init(0), []
    for _ in range(size.steps + 1):
        start = time.perf_counter()
        state, metrics = trainer.step(state, trainer.put_batch(tokens.__getitem__, size.batch), weight_V, hyper)
        jax.block_until_ready((state, metrics))
        seconds.append(time.perf_counter() - start)
    return size.batch * size.length / min(seconds[1:])  # the first call compiles


def main():
    parser = argparse.ArgumentParser()
    for name, default in dict(batch=8, length=256, vocab=8192, rows=8000, steps=5).items():
        parser.add_argument(f"--{name}", type=int, default=default)
    size = parser.parse_args()
    pipeline, step = pipeline_speed(size), step_speed(size)
    result = {"pipeline_tokens_per_second": round(pipeline), "step_tokens_per_second": round(step)}
    print(json.dumps(result | {"ratio": round(pipeline / step, 1), "target": TARGET, **vars(size)}))


if __name__ == "__main__":
    main()

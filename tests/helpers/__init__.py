"""What several tests need: a small world, a small model, run configs, and Python in another process."""

import dataclasses
import os
import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import tokenizers

from babel_jax.common import files
from babel_jax.common.material import ArrayRows, Material
from babel_jax.common.run_names import parse
from babel_jax.model.decoder import PRESETS, DecoderConfig, init_params
from babel_jax.organism import world, world_material
from babel_jax.training import config as run_config
from babel_jax.training import loop
from babel_jax.training.checkpoint import Checkpoints
from babel_jax.training.runs import Run
from babel_jax.training.sampler import OnlineSampler

ROOT = Path(__file__).resolve().parents[2]
SMALL_WORLD = dict(
    words=20, shared_words=8, new_only_words=20, problems=40, shared_problems=16, documents=2048, heldout_documents=16
)
SMALL = DecoderConfig(vocab_size=48, width=16, layers=2, heads=4, ffn_width=32, max_length=12, tied_head=False)
PRESETS["test"] = dict(width=16, layers=2, heads=2, ffn_width=32)


def world_config(**changes) -> world.WorldConfig:
    return world.WorldConfig(**(dict(primary="python", new="php") | SMALL_WORLD | changes))


def small_material(**changes) -> Material:
    """The small world, with some fields of its material changed."""
    return dataclasses.replace(world_material.materials(world_config(), 0)["php"], **changes)


def random_rows(n: int, vocab_size: int, length: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, vocab_size, (n, length + 1)).astype(np.int32)


def source(n: int, first: int = 0) -> ArrayRows:
    """Rows of two tokens that hold their own number, from `first` on."""
    return ArrayRows(np.repeat(np.arange(first, first + n, dtype=np.int32)[:, None], 2, axis=1))


def make_run(optimizer=(), **changes):
    """A run of the small world with the "test" model; `optimizer` holds changes of that section."""
    settings = dict(
        steps=40,
        batch_size=8,
        model=dict(preset="test", tied_head=False),
        stages=({"tokens": 0, "weights": {"python": 1.0}},),
        optimizer=dict(warmup_steps=2, **dict(optimizer)),
    )
    return run_config.override(run_config.default(), settings | changes)


def run_in(directory, config, material: Material, name: str = "continual") -> Run:
    """A run of a config in a directory, which need not be called like it."""
    return Run(parse(name), config, files.path(directory), (material,))


def train(config, material: Material, directory, next_stage=None, **hooks) -> None:
    """Trains a run of a config in a directory; `next_stage`: what chooses its weights, see `OnlineSampler`."""
    run = run_in(directory, config, material)
    loop.train(run, loop.Hooks(**hooks), OnlineSampler(run, next_stage) if next_stage else None)


def trainer_of(config, material: Material):
    return run_in(".", config, material).trainer


def loud(config: DecoderConfig, seed: int = 0, scale: float = 0.3) -> dict:
    """Parameters so large that every part of the model matters."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(lambda: init_params(config, 0))
    return jax.tree.map(lambda leaf: jax.numpy.asarray(rng.normal(0, scale, leaf.shape), np.float32), shapes)


def state_at(run_dir, step: int, trainer) -> dict:
    """The whole training state of one checkpoint as host arrays, by path."""
    checkpoints = Checkpoints(run_dir)
    try:
        state = checkpoints.restore(step, trainer.abstract_state)
    finally:
        checkpoints.close()
    return by_path(state)


def by_path(tree) -> dict:
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def same(a: dict, b: dict) -> bool:
    """Two dicts of arrays are equal bit for bit."""
    return a.keys() == b.keys() and all(a[key].tobytes() == b[key].tobytes() for key in a)


def python(*arguments, devices: int = 1) -> subprocess.CompletedProcess:
    """Runs Python in another process that sees `devices` CPU devices and can import the package and these helpers.

    Many forced devices on few busy cores can miss each other's collectives, and XLA then aborts: that is tried once more.
    """
    for last_try in (devices == 1, True):
        done = subprocess.run(
            [sys.executable, *arguments], env=environment(devices), capture_output=True, text=True, timeout=600
        )
        if done.returncode != -signal.SIGABRT or last_try:
            return done
        print(f"XLA gave up waiting for {devices} forced devices; once more\n{done.stderr[-500:]}")


def environment(devices: int = 1) -> dict:
    flags, threads = "", {}
    if devices > 1:  # they wait for each other in one pool of threads: too few, or another order in each, lock up
        flags = (
            f" --xla_force_host_platform_device_count={devices} --xla_cpu_enable_concurrency_optimized_scheduler=false"
        )
        threads = {"NPROC": str(8 * devices)}
    paths = os.pathsep.join(map(str, (ROOT, ROOT / "tests")))
    return os.environ | {"PYTHONPATH": paths, "XLA_FLAGS": os.environ["XLA_FLAGS"] + flags} | threads


def byte_level(texts, vocab_size: int, end: str = "<|endoftext|>") -> tokenizers.Tokenizer:
    """A byte-level BPE of Hugging Face's library, learnt from texts; `.to_str()` is its tokenizer.json."""
    model = tokenizers.Tokenizer(tokenizers.models.BPE())
    model.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=[end], initial_alphabet=alphabet, show_progress=False
    )
    model.train_from_iterator(texts, trainer)
    return model

"""What probing a series costs beside one forward pass: prints one JSON line; the ratio is at most 1.2.

A series of random Llamas in the shape of SmolLM2 135M lies on a hub in another process; two languages of `--rows` rows of
`--length` tokens each are probed at every checkpoint, without prompts. CPU-seconds of this process a checkpoint, from the
second on (the first compiles), over those of one plain forward pass with the loss over the same rows, in batches of the same
size, and of reading the checkpoint from a folder; the fastest of three. With little time: --checkpoints=3 --rows=8.
Run: PYTHONPATH=.:tests python tests/bench/series.py [--checkpoints=6 --rows=64 --length=512]
"""

import argparse
import dataclasses
import json
import multiprocessing
import os
import tempfile
import time
from pathlib import Path

import jax
import numpy as np

LIMIT = 1.2
NAME = "org/bench"
LLAMA_135M = dict(
    architectures=["LlamaForCausalLM"],
    model_type="llama",
    hidden_act="silu",
    hidden_size=576,
    intermediate_size=1536,
    num_attention_heads=9,
    num_hidden_layers=30,
    num_key_value_heads=3,
    rms_norm_eps=1e-5,
    rope_theta=100000.0,
    tie_word_embeddings=True,
    vocab_size=49152,
)


def served(folder: str, checkpoints: int, length: int, address) -> None:
    """The other process: writes the models, and says where they can be asked for."""
    from helpers import hub_server

    from babel_jax.model import model_folders
    from babel_jax.model.decoder import init_params
    from babel_jax.model.families import catalogue

    hub_server.PIECE = 1 << 22
    config = catalogue.read_config(LLAMA_135M | {"max_position_embeddings": length})[1]
    held = {}
    for step in range(checkpoints):
        place = Path(folder) / f"step{step}"
        model_folders.write_model(place, config, init_params(config, step))
        held[place.name] = {file.name: file.read_bytes() for file in place.iterdir()}
    server = hub_server.Server()
    server.repositories[NAME] = hub_server.Repository(held)
    address.put(server.url)
    address.join()  # until the process is ended


def material_of(rows: int, length: int):
    from helpers import small_material

    rng, V = np.random.default_rng(0), LLAMA_135M["vocab_size"]
    ones = np.ones((rows, length), bool)
    heldout = {
        name: {"tokens": rng.integers(0, V, (rows, length + 1)).astype(np.int32), "loss": ones, "knowledge": ones}
        for name in ("python", "php")
    }
    sizes = dict(vocab_size=V, max_length=length, document_end=-1)
    return dataclasses.replace(small_material(), **sizes, heldout=heldout, slots={}, problems=None, tasks={})


def a_checkpoint(material, out: str) -> float:
    """CPU-seconds of one checkpoint of the series, with its download."""
    from babel_jax.measuring import probe_walk, series

    ended = []
    sources = series.sources(series.of_model(NAME, "step*", 1), out)
    progress = lambda message: ended.append(time.process_time())  # noqa: E731
    probe_walk.probe(sources, lambda source: (material, None), out, probe_walk.Options(), progress=progress)
    return (ended[-1] - ended[0]) / (len(ended) - 1)


def forward_and_reading(material, folder: str, repeats: int = 3) -> tuple[float, float]:
    """CPU-seconds of a plain pass over the rows, and of reading a checkpoint; the fastest of `repeats`."""
    from babel_jax.measuring import walk
    from babel_jax.measuring.reading import subject_of
    from babel_jax.model import model_folders
    from babel_jax.model.decoder import Decoder
    from babel_jax.probes.subject import row_batches
    from babel_jax.training.loss import segments, token_loss

    def read():
        return model_folders.read_model(folder)

    config = walk.as_computed_here(dataclasses.replace(read()[0], attention="reference", remat="none"))
    subject = subject_of(read()[1], config, material)
    params, rows, _ = subject.placed()
    tokens_NxT = np.concatenate([rows["tokens"] for rows in material.heldout.values()])

    @jax.jit
    def plain(params, tokens_BxT):
        inputs_BxT = tokens_BxT[:, :-1]
        logits_BxTxV = Decoder(config).apply({"params": params}, inputs_BxT, segments(inputs_BxT, -1))[0]
        return token_loss(logits_BxTxV, tokens_BxT[:, 1:])

    def over_all():
        batches = row_batches({"tokens": tokens_NxT}, subject.batch_size)
        return [plain(params, jax.device_put(batch["tokens"], rows)) for _, batch in batches]

    seconds = {}
    for act in (over_all, read):
        jax.block_until_ready(act())
        for _ in range(repeats):
            started = time.process_time()
            jax.block_until_ready(act())
            seconds[act.__name__] = min(seconds.get(act.__name__, np.inf), time.process_time() - started)
    return seconds["over_all"], seconds["read"]


def main() -> None:
    parser = argparse.ArgumentParser()
    for name, default in (("checkpoints", 6), ("rows", 64), ("length", 512)):
        parser.add_argument(f"--{name}", type=int, default=default)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        address = multiprocessing.get_context("spawn").JoinableQueue()
        process = multiprocessing.get_context("spawn").Process(
            target=served, args=(folder, asked.checkpoints, asked.length, address), daemon=True
        )
        process.start()
        os.environ |= {"HF_ENDPOINT": address.get(), "HF_HOME": f"{folder}/home"}
        os.environ |= {"HF_HUB_ETAG_TIMEOUT": "600", "HF_HUB_DOWNLOAD_TIMEOUT": "600"}  # on a busy machine
        material = material_of(asked.rows, asked.length)
        checkpoint = a_checkpoint(material, f"{folder}/out")
        forward, reading = forward_and_reading(material, f"{folder}/step0")
        process.kill()
    found = {
        "checkpoint_over_forward_and_reading": checkpoint / (forward + reading),
        "limit": LIMIT,
        "checkpoint_s": checkpoint,
        "forward_s": forward,
        "reading_s": reading,
    }
    print(json.dumps({name: round(value, 3) for name, value in found.items()}))


if __name__ == "__main__":
    main()

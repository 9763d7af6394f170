"""How fast completions are written: prints one JSON line of tokens per CPU-second; one thread for all.

Greedy, `--batch` prompts of mixed lengths side by side, `--new_tokens` each, the same float32 weights of random numbers:
  ours: `measuring.sampling.write`, prompts included, compilation not;
  sampled: the same with temperature 0.8 and top_p 0.95;
  huggingface: `GPT2LMHeadModel.generate` with its key-value cache and left padding (null without torch and transformers);
  again: a loop that runs the whole forward pass for each token, over a few tokens of the same prompts in full length;
  over_huggingface (at least 2), over_again: ratios of tokens a second;
  agree: the share of Hugging Face's tokens that are ours. Two programs' sums differ in the last bits, and a tie that falls
    the other way changes all that follows;
  compiled: executables of all parts of `write`.
Runs are interleaved, each the fastest of `--repeats` in CPU-seconds.
Run: python tests/bench/generate.py [--width=256 --layers=6 --vocab=8192 --batch=32 --new_tokens=128]
"""

import argparse
import importlib.util
import json
import os
import tempfile
import time
from pathlib import Path

os.environ["NPROC"] = os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_cpu_multi_thread_eigen=false"

import jax
import jax.numpy as jnp
import numpy as np

from babel_jax.measuring import sampling
from babel_jax.model import model_folders
from babel_jax.model.decoder import Decoder, DecoderConfig, init_params, unembed
from babel_jax.model.taps import at_positions
from babel_jax.probes.subject import Subject

AGAIN_TOKENS = 4


def right_padded(prompts, length: int):
    """Prompts [B, length], zeros behind them, and their lengths [B]."""
    tokens_BxT = np.zeros((len(prompts), length), np.int32)
    for row_T, prompt in zip(tokens_BxT, prompts, strict=True):
        row_T[: len(prompt)] = prompt
    return tokens_BxT, np.array([len(prompt) for prompt in prompts], np.int32)


def again(params, config: DecoderConfig, prompts, new_tokens: int):
    """The loop without a cache: as many whole forward passes as tokens, over rows of their final length."""

    @jax.jit
    def step(params, tokens_BxT, length_B):
        _, taps = Decoder(config).apply({"params": params}, tokens_BxT)
        logits_BxV = unembed(params, config, at_positions(taps["final_BxTxD"], length_B[:, None] - 1))[:, 0]
        token_B = jnp.argmax(logits_BxV, axis=-1).astype(jnp.int32)
        return tokens_BxT.at[jnp.arange(len(token_B)), length_B].set(token_B), length_B + 1

    tokens_BxT, length_B = right_padded(prompts, max(map(len, prompts)) + new_tokens)

    def run():
        state = tokens_BxT, length_B
        for _ in range(AGAIN_TOKENS):
            state = step(params, *state)
        jax.block_until_ready(state)

    return run


def huggingface(params, config: DecoderConfig, prompts, new_tokens: int):
    """Their `generate` on the same weights; returns the tokens written, [B, new_tokens]."""
    import torch
    import transformers

    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as directory:
        model_folders.write_model(Path(directory) / "model", config, params)
        model = transformers.GPT2LMHeadModel.from_pretrained(Path(directory) / "model").eval()
    longest = max(map(len, prompts))
    ids, mask = (torch.zeros((len(prompts), longest), dtype=torch.long) for _ in range(2))
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt) :], mask[row, longest - len(prompt) :] = torch.from_numpy(prompt), 1

    def run():
        with torch.inference_mode():
            written = model.generate(
                ids, attention_mask=mask, max_new_tokens=new_tokens, do_sample=False, use_cache=True, pad_token_id=0
            )
        return written[:, longest:].numpy()

    return run


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name, value in (("width", 256), ("layers", 6), ("vocab", 8192), ("batch", 32), ("new_tokens", 128)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    config = DecoderConfig(
        vocab_size=asked.vocab,
        width=asked.width,
        layers=asked.layers,
        heads=asked.width // 64,
        ffn_width=4 * asked.width,
        max_length=1024,
    )
    params = jax.jit(lambda: init_params(config, 0))()
    rng = np.random.default_rng(0)
    prompts = [rng.integers(0, asked.vocab, length) for length in rng.integers(20, 200, asked.batch)]

    def ours(**options):
        subject = Subject(params, config, batch_size=asked.batch)
        return lambda: sampling.write(subject, prompts, sampling.Sampling(asked.new_tokens, **options))

    runs = {"ours": ours(), "sampled": ours(temperature=0.8, top_p=0.95)}
    runs["again"] = again(params, config, prompts, asked.new_tokens)
    if importlib.util.find_spec("torch") and importlib.util.find_spec("transformers"):
        runs["huggingface"] = huggingface(params, config, prompts, asked.new_tokens)
    seconds, first = dict.fromkeys(runs, float("inf")), {name: run() for name, run in runs.items()}
    for _ in range(asked.repeats):
        for name in rng.permutation(list(runs)):
            start = time.process_time()
            runs[name]()
            seconds[name] = min(seconds[name], time.process_time() - start)

    tokens = {name: asked.batch * (AGAIN_TOKENS if name == "again" else asked.new_tokens) for name in runs}
    speed = {name: tokens[name] / seconds[name] for name in runs} | (
        {} if "huggingface" in runs else {"huggingface": None}
    )
    params, rows, everywhere = Subject(params, config, batch_size=asked.batch).placed()
    parts = sampling.jitted_writing(config, 0.0, 1.0, -1, rows, everywhere)
    agree = None
    if "huggingface" in runs:
        agree = float(np.mean(np.stack([samples[0] for samples in first["ours"]]) == first["huggingface"]))
    print(
        json.dumps(
            {
                "parameters": sum(leaf.size for leaf in jax.tree.leaves(params)),
                "tokens_per_second": {name: value and round(value, 1) for name, value in speed.items()},
                "over_huggingface": speed["huggingface"] and round(speed["ours"] / speed["huggingface"], 2),
                "over_again": round(speed["ours"] / speed["again"], 1),
                "agree": agree,
                "compiled": sum(part._cache_size() for part in parts),
            }
        )
    )


if __name__ == "__main__":
    main()

"""How fast a training step is on one CPU thread: prints one JSON line.

`over_flax`, `over_torch`: tokens per CPU-second of our step (the one that the loop runs) over those of a step as a tutorial
would write it in Flax, and of PyTorch's (left out where torch is not installed); same model, same optimiser, same process,
in turn, each the fastest of several. `of_peak`: GFLOP per CPU-second of our step over those of a large matrix product.
Targets: 1.0, 1.3 and 0.55.
Run: python tests/bench/train_step.py [--width=256 --layers=6 --vocab=8192 --batch=16 --length=256 --repeats=4]
"""

import argparse
import importlib.util
import json
import os
import time

os.environ["NPROC"] = "1"
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_cpu_multi_thread_eigen=false"

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from babel_jax.model.decoder import DecoderConfig, init_params
from babel_jax.model.flops import attention_flops, matmul_parameters
from babel_jax.model.sharding import make_mesh
from babel_jax.training import config as run_config
from babel_jax.training.optimizer import static_settings
from babel_jax.training.step import make_trainer

RATE, B1, B2, EPSILON, DECAY, CLIP = 1e-3, 0.9, 0.98, 1e-8, 0.1, 1.0


class PlainBlock(nn.Module):
    size: argparse.Namespace

    @nn.compact
    def __call__(self, h, mask):
        size = self.size
        x = nn.LayerNorm(epsilon=1e-5)(h)
        h = h + nn.MultiHeadDotProductAttention(size.heads)(x, x, mask=mask)
        x = nn.Dense(4 * size.width)(nn.LayerNorm(epsilon=1e-5)(h))
        return h + nn.Dense(size.width)(nn.gelu(x))


class PlainDecoder(nn.Module):
    size: argparse.Namespace

    @nn.compact
    def __call__(self, tokens):
        size = self.size
        embed = nn.Embed(size.vocab, size.width)
        position = self.param("position", nn.initializers.normal(0.02), (size.length, size.width))
        h, mask = embed(tokens) + position, nn.make_causal_mask(tokens)
        for _ in range(size.layers):
            h = PlainBlock(size)(h, mask)
        return embed.attend(nn.LayerNorm(epsilon=1e-5)(h))


def plain_flax(size, tokens):
    model = PlainDecoder(size)
    optimizer = optax.chain(optax.clip_by_global_norm(CLIP), optax.adamw(RATE, B1, B2, eps=EPSILON, weight_decay=DECAY))
    params = jax.jit(model.init)(jax.random.key(0), tokens[:, :-1])["params"]
    state = [params, jax.jit(optimizer.init)(params)]

    @jax.jit
    def step(params, opt_state, tokens):
        def loss_fn(params):
            logits = model.apply({"params": params}, tokens[:, :-1])
            return optax.softmax_cross_entropy_with_integer_labels(logits, tokens[:, 1:]).mean()

        loss, grads = jax.value_and_grad(loss_fn)(params)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, loss

    def run():
        *state[:], loss = step(*state, tokens)
        return float(loss)

    return run


def ours(size, tokens):
    config = DecoderConfig(size.vocab, size.width, size.layers, size.heads, 4 * size.width, size.length, remat="dots")
    settings = static_settings(run_config.default().optimizer)
    trainer = make_trainer(config, settings, -1, make_mesh(), size.accumulation)
    state = [trainer.fresh(jax.device_put(jax.jit(init_params, static_argnums=0)(config, 0)))]
    weights = trainer.put(np.ones(size.vocab, np.float32))
    hyper = trainer.put(
        {"learning_rate": np.float32(RATE), "label_smoothing": np.float32(0), "spike_factor": np.float32(0)}
    )
    batch = trainer.put_batch(lambda offsets: tokens[offsets], len(tokens))

    def run():
        state[0], metrics = trainer.step(state[0], batch, weights, hyper)
        return float(metrics["loss"])

    return run, 6 * matmul_parameters(config) + attention_flops(config)


def torch_step(size, tokens):
    import torch
    from torch.nn import functional

    torch.set_num_threads(1)
    torch.manual_seed(0)

    class Block(torch.nn.Module):
        def __init__(self):
            super().__init__()
            D = size.width
            self.ln_1, self.ln_2 = torch.nn.LayerNorm(D), torch.nn.LayerNorm(D)
            self.qkv, self.out = torch.nn.Linear(D, 3 * D), torch.nn.Linear(D, D)
            self.ffn_in, self.ffn_out = torch.nn.Linear(D, 4 * D), torch.nn.Linear(4 * D, D)

        def forward(self, h):
            B, T, D = h.shape
            q, k, v = (x.view(B, T, size.heads, -1).transpose(1, 2) for x in self.qkv(self.ln_1(h)).chunk(3, -1))
            mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            h = h + self.out(mixed.transpose(1, 2).reshape(B, T, D))
            return h + self.ffn_out(functional.gelu(self.ffn_in(self.ln_2(h)), approximate="tanh"))

    class GPT2(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = torch.nn.Embedding(size.vocab, size.width)
            self.position = torch.nn.Parameter(0.02 * torch.randn(size.length, size.width))
            self.blocks = torch.nn.ModuleList(Block() for _ in range(size.layers))
            self.ln_f = torch.nn.LayerNorm(size.width)
            torch.nn.init.normal_(self.embed.weight, std=0.02)

        def forward(self, tokens):
            h = self.embed(tokens) + self.position
            for block in self.blocks:
                h = block(h)
            return functional.linear(self.ln_f(h), self.embed.weight)

    model = GPT2()
    optimizer = torch.optim.AdamW(model.parameters(), RATE, (B1, B2), EPSILON, DECAY, fused=True)
    batch = torch.from_numpy(tokens.astype(np.int64))

    def run():
        optimizer.zero_grad(set_to_none=True)
        logits = model(batch[:, :-1])
        loss = functional.cross_entropy(logits.reshape(-1, size.vocab), batch[:, 1:].reshape(-1))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        return float(loss)

    return run


def product(n: int = 2048):
    a = jax.device_put(np.random.default_rng(0).normal(size=(n, n)).astype(np.float32))
    multiply = jax.jit(jnp.matmul)
    return (lambda: multiply(a, a).block_until_ready()), 2 * n**3


def fastest(functions: dict, repeats: int) -> dict:
    """CPU-seconds of the fastest call of each function, called in turn."""
    seconds = dict.fromkeys(functions, float("inf"))
    for function in functions.values():
        function()
    for _ in range(repeats):
        for name, function in functions.items():
            start = time.process_time()
            function()
            seconds[name] = min(seconds[name], time.process_time() - start)
    return seconds


def main():
    parser = argparse.ArgumentParser()
    shape = dict(width=256, layers=6, heads=4, vocab=8192, batch=16, length=256, accumulation=8, repeats=4)
    for name, default in shape.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    size = parser.parse_args()
    tokens = np.random.default_rng(0).integers(0, size.vocab, (size.batch, size.length + 1)).astype(np.int32)
    our_step, flops = ours(size, tokens)
    multiply, product_flops = product()
    functions = {"ours": our_step, "flax": plain_flax(size, tokens), "product": multiply}
    if importlib.util.find_spec("torch"):
        functions["torch"] = torch_step(size, tokens)
    seconds = fastest(functions, size.repeats)
    peak = product_flops / seconds["product"]
    count = size.batch * size.length
    result = {
        "bench": "train_step",
        "over_flax": round(seconds["flax"] / seconds["ours"], 3),
        "over_torch": round(seconds["torch"] / seconds["ours"], 3) if "torch" in seconds else None,
        "of_peak": round(flops * count / seconds["ours"] / peak, 3),
        "targets": [1.0, 1.3, 0.55],
        "tokens_per_cpu_second": {name: round(count / seconds[name]) for name in functions if name != "product"},
        "peak_gflop_per_cpu_second": round(peak / 1e9, 1),
        "shape": vars(size),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()

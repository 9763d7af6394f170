"""What the probes cost: prints one JSON line of ratios, each with its target; one CPU thread.

Every comparison is of two programs in one process with the same weights and tokens, called in turn, each the fastest of
several in CPU-seconds:
  counts_over_plain: forward pass and loss with LAPE's counts and activation sums / without (at most 1.05);
  pass_over_plain: the pass of all probes / the same (at most 1.15);
  passes_over_pass: a pass for the loss, one for counts and sums and one for the lens / the pass of all probes (at least 2.5).
    Each of the three computes what it needs only: no logits where nobody reads them;
  torch_over_pass: the same probes by forward hooks on PyTorch's GPT2LMHeadModel / the pass, in the shape of GPT-2 small,
    8 x 512 (at least 1.3; null where torch and transformers are not installed, or with --torch_layers=0);
    `torch_eager_over_pass` is the same with the attention written out, which hooks on attention weights need;
  lens_over_pass: a lens that runs the model on every prefix / the lens at 64 positions of one run (at least 20). The former
    unembeds the whole prefix after each block, as such tools do; `lens_over_pass_mild` lets it unembed its last token alone;
  transfer_over_ours: transfer neurons' scores by NumPy that makes every shifted state / by three products (at least 10);
  compiled_again: programs compiled for the second and third checkpoint (0);
  memory: bytes of the pass over those of the plain forward / (counters + rows x positions x vocabulary x 4) (at most 1.1).
The default shape is the paper's 1.3B model with an eighth of its width, FFN width and vocabulary, so that the output embedding
has the same share of FLOPs (8 %) and of memory. Three passes cost less where that share is larger, since two of them do without
it; the memory's limit holds while the vocabulary is a few times the FFN width (logits then hide the mask that is counted).
With --family=llama the same of a Llama, with a gated FFN of 8/3 of the width and two queries a key; rival.py has its rival.
Run: python tests/bench/probes.py [--family=gpt2 --width=256 --layers=24 --vocab=6144 --batch=4 --length=256 --positions=4]
"""

import argparse
import dataclasses
import importlib.util
import json
import os
import time

os.environ["NPROC"] = os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_cpu_multi_thread_eigen=false"

import jax
import jax.numpy as jnp
import numpy as np

from babel_jax.model import huggingface, placement
from babel_jax.model.decoder import Decoder, DecoderConfig, init_params
from babel_jax.model.families import catalogue
from babel_jax.model.taps import ACTIVE, TapRequest
from babel_jax.probes import centroid, forward, lens
from babel_jax.probes.other_pairs import OTHERS
from babel_jax.probes.subject import Subject
from babel_jax.training.loss import segments, token_loss

AT_MOST = {"counts_over_plain": 1.05, "pass_over_plain": 1.15, "compiled_again": 0, "memory": 1.1}
AT_LEAST = {"passes_over_pass": 2.5, "torch_over_pass": 1.3, "lens_over_pass": 20, "transfer_over_ours": 10}
DOCUMENT_END = 0
LENS_POSITIONS = 64


def fastest(functions: dict, repeats: int) -> dict:
    """CPU-seconds of the fastest call of each function; the first calls, which compile, are not counted.

    Each round calls all of them in another order, since what ran before leaves the caches warm or cold.
    """
    seconds, rng = dict.fromkeys(functions, float("inf")), np.random.default_rng(0)
    for function in functions.values():
        jax.block_until_ready(function())
    for _ in range(repeats):
        for name in rng.permutation(list(functions)):
            start = time.process_time()
            jax.block_until_ready(functions[name]())
            seconds[name] = min(seconds[name], time.process_time() - start)
    return seconds


class Ours:
    """Our programs on one random batch of `rows` rows with `positions` chosen positions each and `languages` languages."""

    def __init__(self, config: DecoderConfig, params, rows: int, positions: int, languages: int, seed: int = 0):
        rng, (B, T, V) = np.random.default_rng(seed), (rows, config.max_length, config.vocab_size)
        self.config, self.params = config, params
        _, self.everywhere = placement.layout(params, B)
        counter_shapes, batch_shapes = forward.input_shapes(config, languages, B)
        self.counters = {name: np.zeros(*shape) for name, shape in counter_shapes.items()}
        tokens_BxT1 = rng.integers(1, V, (B, T + 1)).astype(np.int32)
        self.batch = {name: np.zeros(*shape) for name, shape in batch_shapes.items()} | {
            "tokens": tokens_BxT1[:, :-1],
            "targets": tokens_BxT1[:, 1:],
            "loss": np.ones((B, T), np.float32),
            "knowledge": np.ones((B, T), np.float32),
            "language": np.arange(B, dtype=np.int32) % languages,
            "shard": np.int32(0),
            "positions": np.sort(rng.permuted(np.tile(np.arange(T), (B, 1)), axis=1)[:, :positions]).astype(np.int32),
            "candidates": rng.integers(1, V, (B, positions, 2)).astype(np.int32),
            "unranked": rng.integers(1, V, (B, positions, 2 * OTHERS)).astype(np.int32),
        }
        self.batch = jax.device_put(self.batch, self.everywhere)
        self.weight_BxTxK = np.broadcast_to(
            np.eye(languages, dtype=np.float32)[np.asarray(self.batch["language"])][:, None], (B, T, languages)
        )
        self.one_pass = forward.jitted_pass(config, DOCUMENT_END, (), self.everywhere, ACTIVE[0])

    def decode(self, params, batch, request=None):
        segment_BxT = segments(batch["tokens"], DOCUMENT_END)
        return Decoder(self.config).apply({"params": params}, batch["tokens"], segment_BxT, request)

    def plain_program(self):
        """The loss of every token, nothing else."""
        return jax.jit(lambda params, batch: token_loss(self.decode(params, batch)[0], batch["targets"]))

    def counting_program(self, with_loss: bool):
        def counting(params, counters, batch, weight_BxTxK):
            logits_BxTxV, taps = self.decode(params, batch, TapRequest(weight_BxTxK))
            counters = {
                "active_RxLxFxK": counters["active_RxLxFxK"].at[0].add(taps["active_LxFxK"].astype(jnp.int32)),
                "activation_sum_RxLxFxK": counters["activation_sum_RxLxFxK"].at[0].add(taps["activation_sum_LxFxK"]),
            }
            return counters, token_loss(logits_BxTxV, batch["targets"]) if with_loss else None

        return jax.jit(counting, donate_argnums=1)

    def lens_program(self):
        def read(params, batch):
            taps = self.decode(params, batch, TapRequest(positions_BxP=batch["positions"]))[1]
            return lens.read_candidates(params, self.config, taps["residual_LxBxPxD"], batch["candidates"])

        return jax.jit(read)

    def run(self, program, *more):
        return lambda: program(self.params, self.batch, *more)

    def run_counting(self, program, *more):
        """A call that donates its counters and keeps those that it gets back."""
        state = [jax.device_put(self.counters, self.everywhere)]

        def run():
            state[0], results = program(self.params, state[0], self.batch, *more)
            return state[0], results

        return run

    def run_pass(self):
        return self.run_counting(self.one_pass)


def passes(ours: Ours, repeats: int) -> dict:
    weight_BxTxK = jax.device_put(ours.weight_BxTxK)
    seconds = fastest(
        {
            "plain": ours.run(ours.plain_program()),
            "plain_and_counts": ours.run_counting(ours.counting_program(with_loss=True), weight_BxTxK),
            "pass": ours.run_pass(),
            "counts": ours.run_counting(ours.counting_program(with_loss=False), weight_BxTxK),
            "lens": ours.run(ours.lens_program()),
        },
        repeats,
    )
    return {
        "counts_over_plain": seconds["plain_and_counts"] / seconds["plain"],
        "pass_over_plain": seconds["pass"] / seconds["plain"],
        "passes_over_pass": (seconds["plain"] + seconds["counts"] + seconds["lens"]) / seconds["pass"],
        "plain_ms": 1e3 * seconds["plain"],
    }


def memory(ours: Ours) -> dict:
    """What the compiler sets aside: arguments, results and everything between."""

    def bytes_of(program, *arguments):
        found = program.lower(*arguments).compile().memory_analysis()
        total = found.argument_size_in_bytes + found.output_size_in_bytes + found.temp_size_in_bytes
        return total - found.alias_size_in_bytes

    plain = bytes_of(ours.plain_program(), ours.params, ours.batch)
    with_probes = bytes_of(ours.one_pass, ours.params, jax.device_put(ours.counters, ours.everywhere), ours.batch)
    B, P = ours.batch["positions"].shape
    allowed = sum(counter.nbytes for counter in ours.counters.values()) + 4 * B * P * ours.config.vocab_size
    return {"memory": (with_probes - plain) / allowed, "plain_mb": plain / 1e6, "pass_mb": with_probes / 1e6}


def compiled_again(config: DecoderConfig, checkpoints: list, rows: int) -> dict:
    """Programs compiled while the second and the third checkpoint are measured, of whatever kind."""
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, *_, **__: compiled.append(event) if event.endswith("backend_compile_duration") else None
    )
    rng, T = np.random.default_rng(0), config.max_length
    heldout = {
        language: {
            "tokens": rng.integers(1, config.vocab_size, (rows + 1, T + 1)).astype(np.int32),
            "loss": np.ones((rows + 1, T), np.float32),
            "knowledge": np.ones((rows + 1, T), np.float32),
        }
        for language in ("a", "b")
    }
    counts = []
    for params in checkpoints:
        forward.measure(Subject(params, config, DOCUMENT_END, rows), heldout, {})
        counts.append(len(compiled))
    assert counts[0], "no compilation was seen at all: this listener hears nothing"
    return {"compiled_again": counts[-1] - counts[0]}


def lens_by_prefixes(config: DecoderConfig, params, repeats: int) -> dict:
    """One text of which 64 positions are read, against a run of the model on the text up to each of them.

    The prefixes are padded to multiples of 16, so that few programs are compiled, not 64.
    """
    ours = Ours(config, params, rows=1, positions=LENS_POSITIONS, languages=2)
    program = ours.lens_program()
    last_only, whole = [], []
    for index, position in enumerate(np.asarray(ours.batch["positions"])[0]):
        length = -(-(position + 1) // 16) * 16
        prefix = {
            "tokens": ours.batch["tokens"][:, :length],
            "positions": ours.batch["positions"][:, index : index + 1],
            "candidates": ours.batch["candidates"][:, index : index + 1],
        }
        last_only.append(prefix)
        everywhere = {
            "positions": jnp.arange(length)[None],
            "candidates": jnp.broadcast_to(prefix["candidates"], (1, length, 2)),
        }
        whole.append(prefix | everywhere)
    seconds = fastest(
        {
            "one": ours.run(program),
            "last_only": lambda: [program(params, prefix) for prefix in last_only],
            "whole": lambda: [program(params, prefix) for prefix in whole],
        },
        repeats,
    )
    return {
        "lens_over_pass": seconds["whole"] / seconds["one"],
        "lens_over_pass_mild": seconds["last_only"] / seconds["one"],
    }


def transfer(params, repeats: int, slots: int = 64) -> dict:
    """Scores of one layer's neurons at 64 states (the forward pass, which both need, apart)."""
    v_FxD = np.asarray(params["blocks"]["ffn_out"]["kernel"][0])
    F, D = v_FxD.shape
    rng = np.random.default_rng(0)
    h_NxD, a_NxF, c_D = (rng.normal(size=shape).astype(np.float32) for shape in ((slots, D), (slots, F), (D,)))

    def materialised():
        score_F = np.zeros(F)
        for h_D, a_F in zip(h_NxD, a_NxF, strict=True):
            shifted_FxD = h_D + a_F[:, None] * v_FxD
            after_F = shifted_FxD @ c_D / (np.linalg.norm(shifted_FxD, axis=1) * np.linalg.norm(c_D))
            score_F += after_F - h_D @ c_D / (np.linalg.norm(h_D) * np.linalg.norm(c_D))
        return score_F / slots

    push = jax.jit(lambda h, a, v, c: centroid.push(h, a, v, c).mean(axis=0))
    arrays = jax.device_put((h_NxD, a_NxF, v_FxD, c_D))
    np.testing.assert_allclose(push(*arrays), materialised(), atol=1e-5)
    seconds = fastest({"ours": lambda: push(*arrays), "theirs": materialised}, repeats)
    return {"transfer_over_ours": seconds["theirs"] / seconds["ours"]}


def torch_hooks(layers: int, rows: int, length: int, positions: int, languages: int, repeats: int) -> dict:
    """GPT-2 small with forward hooks that count, sum and keep states for the lens, against our pass."""
    import torch
    import transformers

    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(n_layer=layers, n_positions=length, bos_token_id=None, eos_token_id=None)
    ).eval()
    state = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    config, params = huggingface.from_huggingface(state, model.config.to_dict())
    ours = Ours(config, jax.device_put(params, jax.devices()[0]), rows, positions, languages)

    batch = {name: torch.from_numpy(np.asarray(values).astype(np.int64)) for name, values in ours.batch.items()}
    of_language_KxB = torch.nn.functional.one_hot(batch["language"], languages).T.float()
    every_row_Bx1 = torch.arange(rows)[:, None]

    def probe(attention="sdpa"):
        model.set_attn_implementation(attention)
        found = {"active": [], "sum": [], "state": []}

        def activations(module, inputs, a_BxTxF):
            for name, x_BxTxF in (("active", (a_BxTxF > 0).float()), ("sum", a_BxTxF)):
                found[name].append(of_language_KxB @ x_BxTxF.sum(1))  # a row is of one language

        def block_state(module, inputs, h_BxTxD):
            found["state"].append(h_BxTxD[every_row_Bx1, batch["positions"]])

        hooks = [block.mlp.act.register_forward_hook(activations) for block in model.transformer.h]
        hooks += [block.register_forward_hook(block_state) for block in model.transformer.h]
        with torch.inference_mode():
            logits_BxTxV = model(batch["tokens"], use_cache=False).logits
            loss_BxT = torch.nn.functional.cross_entropy(
                logits_BxTxV.flatten(0, 1), batch["targets"].flatten(), reduction="none"
            )
            read = []
            for h_BxPxD in found["state"]:
                log_prob_BxPxV = torch.log_softmax(model.lm_head(model.transformer.ln_f(h_BxPxD)), -1)
                entropy_BxP = -(log_prob_BxPxV.exp() * log_prob_BxPxV).sum(-1)
                candidates_BxPxC = log_prob_BxPxV.gather(-1, batch["candidates"])
                rank_BxPxC = (log_prob_BxPxV[..., None, :] > candidates_BxPxC[..., None]).sum(-1)
                read.append((candidates_BxPxC, rank_BxPxC, log_prob_BxPxV.argmax(-1), entropy_BxP))
        for hook in hooks:
            hook.remove()
        return found, loss_BxT.view(rows, length).sum(1), read

    run_pass = ours.run_pass()
    counters, results = run_pass()
    found, loss_B, _ = probe()
    active_LxFxK = torch.stack(found["active"]).numpy().transpose(0, 2, 1)
    assert np.abs(np.asarray(counters.active_RxLxFxK)[0] - active_LxFxK).max() <= 2  # the same, but for signs near zero
    np.testing.assert_allclose(results["loss_sum_B"], loss_B, rtol=1e-4)
    seconds = fastest(
        {"pass": run_pass, "torch": lambda: probe() and None, "torch_eager": lambda: probe("eager") and None}, repeats
    )
    return {f"{name}_over_pass": seconds[name] / seconds["pass"] for name in ("torch", "torch_eager")} | {
        f"{name}_seconds": value for name, value in seconds.items()
    }


def main():
    parser = argparse.ArgumentParser()
    shape = dict(width=256, layers=24, heads=4, vocab=6144, batch=4, length=256, positions=4, languages=5, repeats=20)
    for name, default in (shape | dict(torch_layers=12, torch_repeats=3)).items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--family", choices=("gpt2", "llama"), default="gpt2")
    size = parser.parse_args()
    config = DecoderConfig(size.vocab, size.width, size.layers, size.heads, 4 * size.width, size.length)
    if size.family == "llama":
        blocks = catalogue.family_of("llama").scratch(size.width, config.head_width, size.layers)
        sizes = dict(ffn_width=size.width * 8 // 3, kv_heads=size.heads // 2, tied_head=False)
        config = dataclasses.replace(config, architecture=blocks, **sizes)
    make = jax.jit(init_params, static_argnums=0)
    checkpoints = [jax.device_put(make(config, seed), jax.devices()[0]) for seed in range(3)]
    ours = Ours(config, checkpoints[0], size.batch, size.positions, size.languages)
    found = passes(ours, size.repeats) | memory(ours) | compiled_again(config, checkpoints, size.batch)
    found |= lens_by_prefixes(config, checkpoints[0], repeats=2) | transfer(checkpoints[0], size.repeats)
    installed = all(map(importlib.util.find_spec, ("torch", "transformers")))
    if size.torch_layers and installed and size.family == "gpt2":
        found |= torch_hooks(size.torch_layers, 8, 512, size.positions, size.languages, size.torch_repeats)
    found = {"torch_over_pass": None} | {name: round(value, 3) for name, value in found.items()}
    missed = [name for name in AT_MOST if found[name] > AT_MOST[name]]
    missed += [name for name in AT_LEAST if found[name] is not None and found[name] < AT_LEAST[name]]
    about = {"at_most": AT_MOST, "at_least": AT_LEAST, "missed": missed, "shape": vars(size)}
    print(json.dumps({"bench": "probes"} | found | about | {"device": jax.devices()[0].device_kind}))


if __name__ == "__main__":
    main()

"""Our pass against the tool that most people use for the same, TransformerLens' cache: prints one JSON line of ratios.

Both have the same Llama (the blocks of SmolLM2-135M, random weights), the same texts, one thread and float32; each is in a
process of its own, so that the peak of its memory is its own, and they find the same counts.
  counts_and_lens_over_ours: seconds of theirs, counts and sums of all neurons per language and the lens at chosen positions out
    of one cache, over seconds of our pass, which also has the loss (at least 1.5);
  job_over_ours: loss, counts and sums, lens, sentence vectors for the alignment: theirs a pass each, ours one (at least 2.5);
  memory_of_theirs: our peak beyond the parameters over theirs, of counts and lens (at most 0.25).
Where TransformerLens is not installed, forward hooks that keep the same tensors stand in (`rival` says which it was). It needs
torch and transformers. Run: python tests/bench/rival.py [--layers=12 --rows=8 --length=512 --repeats=3]
"""

import argparse
import ctypes
import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import jax
import numpy as np
from probes import DOCUMENT_END, Ours, fastest

from babel_jax.model import model_folders
from babel_jax.model.families import catalogue
from babel_jax.model.taps import ACTIVE
from babel_jax.probes import forward

AT_LEAST = {"counts_and_lens_over_ours": 1.5, "job_over_ours": 2.5}
AT_MOST = {"memory_of_theirs": 0.25}
KINDS = ("mlp.hook_pre", "mlp.hook_post", "hook_resid_post")  # the gate, the neurons' values, the residual stream


def status(field: str) -> int:
    """Bytes of this process: "VmRSS" now, "VmHWM" at the most since `forget_peak`."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field)]
    return int(line.split()[1]) * 1024


def forget_peak() -> None:
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")


def measured(functions: dict, before: int, repeats: int) -> dict:
    """Seconds of each function; peak of the first beyond `before` bytes, when all is compiled."""
    seconds = fastest(functions, repeats)
    forget_peak()
    jax.block_until_ready(next(iter(functions.values()))())
    return {"seconds": seconds, "peak": status("VmHWM") - before}


def our_side(folder: Path, size) -> dict:
    config, params = model_folders.read_model(folder)
    before = status("VmRSS")
    ours = Ours(config, params, size.rows, size.positions, size.languages)
    ours.batch["sentence"] = ours.batch["loss"]
    job = forward.jitted_pass(config, DOCUMENT_END, ("sentence",), ours.everywhere, ACTIVE[0])
    counters, results = ours.run_pass()()
    np.savez(folder / "ours.npz", active=counters["active_RxLxFxK"][0], loss=results["loss_sum_B"])
    return measured({"counts_and_lens": ours.run_pass(), "job": ours.run_counting(job)}, before, size.repeats)


def transformer_lens(model, folder: Path):
    """`(tokens, kinds) -> (logits, kind -> its tensor in each layer)` of TransformerLens."""
    from transformer_lens.model_bridge import TransformerBridge

    bridge = TransformerBridge.boot_transformers(str(folder), hf_model=model)

    def run(tokens_BxT, kinds):
        logits, cache = bridge.run_with_cache(
            tokens_BxT, names_filter=lambda name: name.endswith(kinds) and bool(kinds)
        )
        layers = range(model.config.num_hidden_layers)
        return logits, {kind: [cache[f"blocks.{layer}.{kind}"] for layer in layers] for kind in kinds}

    return run


def forward_hooks(model, folder: Path):
    """The same by hooks that keep whole tensors, as a cache does."""
    kept = {kind: [] for kind in KINDS}
    for block in model.model.layers:
        block.mlp.gate_proj.register_forward_hook(lambda module, inputs, out: kept[KINDS[0]].append(out))
        block.mlp.down_proj.register_forward_pre_hook(lambda module, inputs: kept[KINDS[1]].append(inputs[0]))
        block.register_forward_hook(lambda module, inputs, out: kept[KINDS[2]].append(out))

    def run(tokens_BxT, kinds):
        for tensors in kept.values():
            tensors.clear()
        logits = model(tokens_BxT, use_cache=False).logits
        for kind in set(KINDS) - set(kinds):
            kept[kind].clear()
        return logits, kept

    return run


def their_side(folder: Path, size) -> dict:
    import torch
    import transformers

    torch.set_num_threads(1)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    run = (transformer_lens if has_transformer_lens() else forward_hooks)(model, folder)
    _, config = catalogue.read_config(model_folders.read_config(folder))
    params = {"embed_table": jax.numpy.zeros((1, 1))}  # what is measured here has no use for ours
    shared = Ours(config, params, size.rows, size.positions, size.languages).batch
    batch = {name: torch.from_numpy(np.array(values)).long() for name, values in shared.items()}
    before = status("VmRSS")
    language_KxB = torch.nn.functional.one_hot(batch["language"], size.languages).T.float()
    every_row_Bx1 = torch.arange(size.rows)[:, None]

    def counts(cache):
        gates, values = (cache[kind] for kind in KINDS[:2])
        return [language_KxB @ (x > 0).float().sum(1) for x in gates], [language_KxB @ x.sum(1) for x in values]

    def lens(cache):
        read = []
        for h_BxTxD in cache[KINDS[2]]:
            h_BxPxD = h_BxTxD[every_row_Bx1, batch["positions"]]
            log_prob_BxPxV = torch.log_softmax(model.lm_head(model.model.norm(h_BxPxD)), -1)
            candidates_BxPxC = log_prob_BxPxV.gather(-1, batch["candidates"])
            rank_BxPxC = (log_prob_BxPxV[..., None, :] > candidates_BxPxC[..., None]).sum(-1)
            entropy_BxP = -(log_prob_BxPxV.exp() * log_prob_BxPxV).sum(-1)
            read.append((candidates_BxPxC, rank_BxPxC, log_prob_BxPxV.argmax(-1), entropy_BxP))
        return read

    def loss(logits_BxTxV):
        losses = torch.nn.functional.cross_entropy(
            logits_BxTxV.flatten(0, 1), batch["targets"].flatten(), reduction="none"
        )
        return losses.view(batch["targets"].shape).sum(1)

    @torch.inference_mode()
    def counts_and_lens():
        _, cache = run(batch["tokens"], KINDS)
        return bool(counts(cache) and lens(cache))

    @torch.inference_mode()
    def job():
        loss(run(batch["tokens"], ())[0])
        counts(run(batch["tokens"], KINDS[:2])[1])
        lens(run(batch["tokens"], KINDS[2:])[1])
        return len([h_BxTxD.mean(1) for h_BxTxD in run(batch["tokens"], KINDS[2:])[1][KINDS[2]]])

    with torch.inference_mode():
        logits, cache = run(batch["tokens"], KINDS)
        active = torch.stack(counts(cache)[0]).numpy().transpose(0, 2, 1)
        np.savez(folder / "theirs.npz", active=active, loss=loss(logits).numpy())
        del logits, cache
    return measured({"counts_and_lens": counts_and_lens, "job": job}, before, size.repeats)


def has_transformer_lens() -> bool:
    return importlib.util.find_spec("transformer_lens") is not None


def make_model(folder: Path, size) -> None:
    """A Llama with the blocks of SmolLM2-135M, and a tokenizer of as many words, which TransformerLens asks for."""
    import tokenizers
    import torch
    import transformers

    torch.manual_seed(0)
    shape = dict(hidden_size=576, intermediate_size=1536, num_attention_heads=9, num_key_value_heads=3)
    own = dict(num_hidden_layers=size.layers, vocab_size=size.vocab, max_position_embeddings=size.length)
    config = transformers.LlamaConfig(**shape, **own, bos_token_id=1, eos_token_id=2, tie_word_embeddings=True)
    transformers.utils.logging.disable_progress_bar()
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    words = tokenizers.models.WordLevel({str(word): word for word in range(size.vocab)}, unk_token="0")
    special = dict(bos_token="1", eos_token="2", pad_token="3", unk_token="0")
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizers.Tokenizer(words), **special).save_pretrained(
        folder
    )


def main():
    parser = argparse.ArgumentParser()
    shape = dict(layers=12, vocab=8192, rows=8, length=512, positions=4, languages=5, repeats=3)
    for name, default in shape.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--side", choices=("ours", "theirs"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    size = parser.parse_args()
    if size.side:
        print(json.dumps((our_side if size.side == "ours" else their_side)(size.folder, size)))
        return
    with tempfile.TemporaryDirectory() as folder:
        make_model(Path(folder), size)
        sides = {}
        for side in ("ours", "theirs"):
            command = [sys.executable, __file__, *sys.argv[1:], f"--side={side}", f"--folder={folder}"]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            sides[side] = json.loads(done.stdout.splitlines()[-1])
        ours, theirs = (dict(np.load(Path(folder) / f"{side}.npz")) for side in sides)
    assert np.abs(ours["active"] - theirs["active"]).max() <= 2  # the same, but for signs near zero
    np.testing.assert_allclose(ours["loss"], theirs["loss"], rtol=1e-4)
    found = {
        f"{job}_over_ours": sides["theirs"]["seconds"][job] / sides["ours"]["seconds"][job]
        for job in ("counts_and_lens", "job")
    } | {"memory_of_theirs": sides["ours"]["peak"] / sides["theirs"]["peak"]}
    missed = [name for name, least in AT_LEAST.items() if found[name] < least]
    missed += [name for name, most in AT_MOST.items() if found[name] > most]
    tokens = size.rows * size.length
    speeds = {side: {job: tokens / s for job, s in found["seconds"].items()} for side, found in sides.items()}
    about = {
        "missed": missed,
        "tokens_per_second": speeds,
        "peak_mb": {side: sides[side]["peak"] / 1e6 for side in sides},
    }
    rival = "transformer_lens" if has_transformer_lens() else "forward hooks"
    about |= {
        "rival": rival,
        "at_least": AT_LEAST,
        "at_most": AT_MOST,
        "shape": {name: vars(size)[name] for name in shape},
    }
    print(json.dumps({"bench": "rival"} | found | about))


if __name__ == "__main__":
    main()

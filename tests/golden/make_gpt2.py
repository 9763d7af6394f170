"""Makes tests/golden/gpt2.npz: what Hugging Face's GPT2LMHeadModel computes, for tests/whole/test_golden.py to compare with.

Needs torch and transformers, which the project itself never does; tests/whole/test_golden.py calls the same functions live
where they are installed. Nothing of ours takes part here. Run: python tests/golden/make_gpt2.py
Letters as in babel_jax/model/decoder.py; N prompts, S rows whose states are kept, Q positions of which z and a are kept.
"""

import argparse
from pathlib import Path

import numpy as np

FILE = Path(__file__).with_name("gpt2.npz")
SHAPE = dict(n_layer=3, n_embd=64, n_head=4, vocab_size=257, n_positions=64)
LANGUAGES = ("chance", "few", "common", "rare", "steps")
ROWS = 4  # of each language, of which the second and the last are padded
PAD = SHAPE["vocab_size"] - 1  # stands in no text
KEPT_ROWS = (0, 7)  # a full row and a padded one
POSITIONS = np.array([[0, 1, 30, 63], [0, 1, 5, 9]], np.int32)  # in those rows, of which z and a are kept
NEAR_ZERO = 1e-5  # of a pre-activation: its sign, and so a count, may differ between two correct programs


def texts(seed: int) -> dict:
    """Rows `tokens_BxT`, each with its `language_B` and `length_B`: five languages by five laws of single tokens."""
    rng = np.random.default_rng(seed)
    words, T = PAD, SHAPE["n_positions"]
    rank_V = rng.permutation(words)
    laws = {
        "chance": np.ones(words),
        "few": (rank_V < 12).astype(float),
        "common": 1.0 / (1 + rank_V),
        "rare": 1.0 / (1 + rank_V[::-1]),
        "steps": np.where(np.arange(words) % 7 == 0, 1.0, 0.02),
    }
    language_B = np.repeat(np.arange(len(LANGUAGES), dtype=np.int32), ROWS)
    length_B = np.tile([T, T // 3, T, 11], len(LANGUAGES)).astype(np.int32) - language_B * (
        np.arange(len(language_B)) % 2
    )
    tokens_BxT = np.full((len(language_B), T), PAD, np.int32)
    for row, (language, length) in enumerate(zip(language_B, length_B, strict=True)):
        law = laws[LANGUAGES[language]]
        tokens_BxT[row, :length] = rng.choice(words, length, p=law / law.sum())
    return {"tokens_BxT": tokens_BxT, "language_B": language_B, "length_B": length_B}


def random_model(seed: int):
    """A GPT2LMHeadModel five times as loud as at its start, so that activations spread; float32 numbers that float16 holds."""
    import torch
    import transformers

    torch.manual_seed(seed)
    config = transformers.GPT2Config(**SHAPE, bos_token_id=None, eos_token_id=None)
    model = transformers.GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.mul_(1 if ".ln_" in name else 5)
            if (
                name.endswith("bias") or ".ln_" in name
            ):  # at their start 0 and 1, so that nobody would see them mixed up
                weight.add_(0.2 * torch.randn_like(weight))
            weight.copy_(weight.half().float())
    return model


def measured(model, text: dict) -> dict:
    """Everything that the test compares, computed by torch: see the keys below."""
    import torch

    blocks, final = model.transformer.h, model.transformer.ln_f
    state_L, z_L, a_L = [], [], []
    hooks = [block.mlp.c_fc.register_forward_hook(lambda m, i, out: z_L.append(out.detach())) for block in blocks]
    hooks += [block.mlp.act.register_forward_hook(lambda m, i, out: a_L.append(out.detach())) for block in blocks]
    hooks += [block.register_forward_hook(lambda m, i, out: state_L.append(out.detach())) for block in blocks]
    with torch.no_grad():
        out = model(torch.from_numpy(text["tokens_BxT"].astype(np.int64)), output_hidden_states=True)
        # What they call the last hidden state is the last block's behind the final LayerNorm; a lens must not norm twice.
        assert torch.equal(out.hidden_states[-1], final(state_L[-1]))
        assert len(out.hidden_states) == len(blocks) + 1
        assert all(torch.equal(*pair) for pair in zip(out.hidden_states[1:-1], state_L[:-1], strict=True))
        h_JxBxTxD = torch.stack([out.hidden_states[0], *state_L])  # J = L + 1: before the first block, after each
        last_B = torch.from_numpy(text["length_B"].astype(np.int64)) - 1
        prompt_N = torch.arange(1, len(last_B), 2)  # the padded rows, each of another length
        h_JxNxD = h_JxBxTxD[:, prompt_N, last_B[prompt_N]]
        lens_JxNxV = torch.log_softmax(model.lm_head(final(h_JxNxD)), -1)
    for hook in hooks:
        hook.remove()

    z_LxBxTxF, a_LxBxTxF = torch.stack(z_L).numpy(), torch.stack(a_L).numpy()
    inside_BxT = np.arange(text["tokens_BxT"].shape[1]) < text["length_B"][:, None]
    of_language_KxBxT = (text["language_B"] == np.arange(len(LANGUAGES))[:, None])[:, :, None] & inside_BxT

    def per_language(x_LxBxTxF, dtype):
        return np.stack([x_LxBxTxF[:, chosen].sum(1, dtype=dtype) for chosen in of_language_KxBxT], -1)

    kept = list(KEPT_ROWS)
    return {
        "logits_SxTxV": out.logits[kept].numpy(),
        "state_JxSxTxD": h_JxBxTxD[:, kept].numpy(),
        "z_LxSxQxF": z_LxBxTxF[:, np.array(kept)[:, None], POSITIONS],
        "a_LxSxQxF": a_LxBxTxF[:, np.array(kept)[:, None], POSITIONS],
        "active_LxFxK": per_language(z_LxBxTxF > 0, np.int32),
        "active_after_LxFxK": per_language(a_LxBxTxF > 0, np.int32),
        "near_zero_LxFxK": per_language(np.abs(z_LxBxTxF) < NEAR_ZERO, np.int32),
        "activation_sum_LxFxK": per_language(a_LxBxTxF, np.float64),
        "tokens_K": of_language_KxBxT.sum((1, 2)),
        "prompt_N": prompt_N.numpy().astype(np.int32),
        "lens_JxNxV": lens_JxNxV.numpy(),
    }


def state_and_config(model) -> tuple[dict, dict]:
    """The model's state dict as NumPy arrays, and its config."""
    return {name: tensor.numpy() for name, tensor in model.state_dict().items()}, model.config.to_dict()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    seed = parser.parse_args().seed
    model, text = random_model(seed), texts(seed)
    state, _ = state_and_config(model)
    del state["lm_head.weight"]  # tied
    weights = {f"weights/{name}": tensor.astype(np.float16) for name, tensor in state.items()}
    np.savez_compressed(FILE, **text, **measured(model, text), **weights)
    print(f"{FILE}: {FILE.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()

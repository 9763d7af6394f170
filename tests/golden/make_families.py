"""Makes tests/golden/families/*.npz: what transformers computes with tiny models of each family that is read.

tests/whole/test_golden_families.py compares ours with it. Needs torch and transformers, which the project itself never does;
the test calls the same functions live where they are installed. Nothing of ours takes part here.
Run in tests/: python -m golden.make_families [case …]
Letters as in babel_jax/model/decoder.py; J = L + 1 residual streams, Q positions of which an FFN's inside and the lens are kept,
W tokens written.
"""

import argparse
import copy
import json
import tempfile
from pathlib import Path

import numpy as np
from golden.family_cases import CASES, LENGTH, NO_SPECIAL, VOCAB, Case, config_4

FOLDER = Path(__file__).with_name("families")
ROWS, LANGUAGES = 3, 2
POSITIONS = np.array([0, 1, 9, 21, LENGTH - 1], np.int32)
PROMPT, WRITTEN = 9, 20  # longer together than any window
NEAR_ZERO = 1e-5  # of a pre-activation: its sign, and so a count, may differ between two correct programs
# An FFN's matrices: of the gate (what the activation function is applied to), of the other factor; back to the residual stream.
FFN = {"gate_proj": "up_proj", "dense_h_to_4h": None, "c_fc": None}
BACK = ("down_proj", "dense_4h_to_h", "c_proj")


def random_model(case: Case, seed: int):
    """A model five times as loud as at its start, so that activations spread; float32 numbers that float16 holds."""
    import torch
    import transformers

    torch.manual_seed(seed)
    config = transformers.AutoConfig.for_model(case.family, **case.config_5)
    model = fresh(config)
    model.generation_config = transformers.GenerationConfig(**NO_SPECIAL)
    # A head that is tied to loud embeddings would repeat each token that it reads.
    quiet = 2 if config.tie_word_embeddings else 5
    loud = {"norm": 1, ".ln_": 1, "embed": quiet, "wte": quiet}
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.mul_(next((factor for part, factor in loud.items() if part in name), 5))
            if (
                name.endswith("bias") or "norm" in name
            ):  # at their start 0 and 1, so that nobody would see them mixed up
                weight.add_(0.2 * torch.randn_like(weight))
            weight.copy_(weight.half().float())
    return model


def fresh(config):
    """A new model, made in float32: made in a half and widened, its constants would be rounded (Gemma's scale of embeddings)."""
    import torch
    import transformers

    how = dict(attn_implementation="eager", dtype=torch.float32)
    return transformers.AutoModelForCausalLM.from_config(config, **how).eval()


def saved(model, tensors: dict | None = None) -> tuple[dict, dict]:
    """(tensors, config.json) as `save_pretrained` writes them: under the names that files have, a tied head once.

    `tensors`: others, by the names of the model's parameters, instead of its own.
    """
    import safetensors.numpy
    import torch
    import transformers

    if tensors is not None:
        model = copy.deepcopy(model)
        with torch.no_grad():
            for name, weight in model.named_parameters():
                weight.copy_(tensors[name])
    transformers.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        (weights,) = Path(folder).glob("*.safetensors")
        return safetensors.numpy.load_file(weights), json.loads((Path(folder) / "config.json").read_text())


def texts(seed: int) -> dict:
    """Rows of random tokens, each of which counts for one of two languages or for none."""
    rng = np.random.default_rng(seed)
    return {
        "tokens_BxT": rng.integers(0, VOCAB, (ROWS, LENGTH)).astype(np.int32),
        "language_BxT": rng.integers(-1, LANGUAGES, (ROWS, LENGTH)).astype(np.int32),
    }


class Watch:
    """Forward hooks on every block and its FFN; what they have seen in the last pass, by kind, a list over layers."""

    def __init__(self, model):
        self.seen = {"before": [], "after": [], "gate": [], "up": [], "product": []}
        base = getattr(model, model.base_model_prefix)
        for block in base.h if hasattr(base, "h") else base.layers:
            block.register_forward_pre_hook(self._keep_input("before"))
            block.register_forward_hook(self._keep_output("after"))
            gate, up = next((gate, up) for gate, up in FFN.items() if hasattr(block.mlp, gate))
            getattr(block.mlp, gate).register_forward_hook(self._keep_output("gate"))
            if up:
                getattr(block.mlp, up).register_forward_hook(self._keep_output("up"))
            back = next(name for name in BACK if hasattr(block.mlp, name))
            getattr(block.mlp, back).register_forward_pre_hook(self._keep_input("product"))

    def _keep_input(self, kind):
        return lambda module, inputs: self.seen[kind].append(inputs[0].detach())

    def _keep_output(self, kind):
        return lambda module, inputs, out: self.seen[kind].append((out if hasattr(out, "detach") else out[0]).detach())

    def layers(self, kind):
        import torch

        return torch.stack(self.seen[kind]).numpy()


def lens(model, h):
    """Logits of a residual stream by the model's own last norm, head and cap."""
    import torch

    base = getattr(model, model.base_model_prefix)
    norm = next(getattr(base, name) for name in ("norm", "final_layer_norm", "ln_f") if hasattr(base, name))
    logits = model.get_output_embeddings()(norm(h))
    cap = getattr(model.config, "final_logit_softcapping", None)
    return torch.tanh(logits / cap) * cap if cap else logits


def measured(model, text: dict) -> dict:
    """Everything that the test compares, computed by torch: see the keys below."""
    import torch

    written = greedy(model, text["tokens_BxT"][:, :PROMPT])
    watch = Watch(model)
    with torch.no_grad():
        tokens = torch.from_numpy(text["tokens_BxT"].astype(np.int64))
        logits_BxTxV = model(tokens, use_cache=False).logits
        state_JxBxTxD = np.concatenate([watch.layers("before")[:1], watch.layers("after")])
        lens_JxBxQxV = lens(model, torch.from_numpy(state_JxBxTxD[:, :, POSITIONS])).numpy()
    assert np.array_equal(watch.layers("before")[1:], state_JxBxTxD[1:-1])
    np.testing.assert_allclose(
        lens_JxBxQxV[-1], logits_BxTxV[:, POSITIONS], atol=1e-5
    )  # the last state is not yet normed
    gate_LxBxTxF = watch.layers("gate")
    of_language_KxBxT = text["language_BxT"] == np.arange(LANGUAGES)[:, None, None]

    def per_language(x_LxBxTxF, dtype):
        return np.stack([x_LxBxTxF[:, chosen].sum(1, dtype=dtype) for chosen in of_language_KxBxT], -1)

    found = {
        "logits_BxTxV": logits_BxTxV.numpy(),
        "state_JxBxTxD": state_JxBxTxD,
        "lens_JxBxQxV": lens_JxBxQxV,
        "gate_LxBxQxF": gate_LxBxTxF[:, :, POSITIONS],
        "product_LxBxQxF": watch.layers("product")[:, :, POSITIONS],
        "active_LxFxK": per_language(gate_LxBxTxF > 0, np.int32),
        "near_zero_LxFxK": per_language(np.abs(gate_LxBxTxF) < NEAR_ZERO, np.int32),
        "value_sum_LxFxK": per_language(watch.layers("product"), np.float64),
    }
    if watch.seen["up"]:
        found["up_LxBxQxF"] = watch.layers("up")[:, :, POSITIONS]
    return found | written


def greedy(model, prompt_BxT) -> dict:
    """The most probable continuation, each token by a pass over all before it, and by how much it beats the second best."""
    import torch

    tokens, margin = torch.from_numpy(prompt_BxT.astype(np.int64)), []
    with torch.no_grad():
        for _ in range(WRITTEN):
            best = model(tokens, use_cache=False).logits[:, -1].topk(2)
            margin.append((best.values[:, 0] - best.values[:, 1]).numpy())
            tokens = torch.cat([tokens, best.indices[:, :1]], dim=1)
    return {"written_BxW": tokens[:, prompt_BxT.shape[1] :].numpy().astype(np.int32), "margin_BxW": np.stack(margin, 1)}


def gradients(model, text: dict) -> dict:
    """Gradient of the mean loss of all next tokens, by the name of the model's parameter."""
    import torch

    tokens = torch.from_numpy(text["tokens_BxT"].astype(np.int64))
    model.zero_grad()
    logits = model(tokens, use_cache=False).logits[:, :-1]
    torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten()).backward()
    return {name: weight.grad for name, weight in model.named_parameters()}


def check_spelling_of_4(model, older: dict, text: dict) -> None:
    """Transformers 5 computes the same from the config of transformers 4."""
    import torch
    import transformers

    config = transformers.AutoConfig.for_model(**json.loads(json.dumps(older)))
    again = fresh(config)
    again.load_state_dict(model.state_dict())
    tokens = torch.from_numpy(text["tokens_BxT"].astype(np.int64))
    with torch.no_grad():
        assert torch.equal(again(tokens, use_cache=False).logits, model(tokens, use_cache=False).logits)


def made(name: str, seed: int) -> tuple[dict, dict, dict, dict]:
    """(tensors, what was measured, config of transformers 5, config of transformers 4) of a case."""
    case, text = CASES[name], texts(seed)
    model = random_model(case, seed)
    state, newer = saved(model)
    older = config_4(case, newer)
    check_spelling_of_4(model, older, text)
    found = text | measured(model, text)
    if case.gradients:
        found |= {f"gradient/{tensor}": values for tensor, values in saved(model, gradients(model, text))[0].items()}
    return state, found, newer, older


# Stored of the first row only; the other rows count among the integers.
ONE_ROW = ("logits_BxTxV", "state_JxBxTxD", "lens_JxBxQxV", "gate_LxBxQxF", "up_LxBxQxF", "product_LxBxQxF")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", default=list(CASES))
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    for name in given.cases:
        state, found, newer, older = made(name, given.seed)
        for array in found.keys() & set(ONE_ROW):
            found[array] = found[array].take([0], axis=array.split("_")[1].split("x").index("B"))
        weights = {f"weights/{tensor}": values.astype(np.float16) for tensor, values in state.items()}
        configs = {"config_5": json.dumps(newer), "config_4": json.dumps(older)}
        file = FOLDER / f"{name}.npz"
        np.savez_compressed(file, **found, **weights, **configs)
        spread = f"logits {found['logits_BxTxV'].std():.2f}, last state {found['state_JxBxTxD'][-1].std():.2f}"
        written = f"{len(np.unique(found['written_BxW']))} tokens written, least margin {found['margin_BxW'].min():.1e}"
        print(f"{file.name}: {file.stat().st_size / 1e3:.0f} kB, {spread}, {written}")


if __name__ == "__main__":
    main()

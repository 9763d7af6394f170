"""A tiny model of transformers, and ours of the same weights; what its neurons are worth and do, by hooks and autograd of torch.

A neuron's value is what the FFN's last matrix reads: a hook before that matrix sees it, and may change it.
"""

import dataclasses
from typing import Any

import numpy as np
import pytest
from golden import make_families
from golden.family_cases import CASES, VOCAB

from babel_jax.model import huggingface
from babel_jax.model.decoder import DecoderConfig

# Of each kind of block one: gated, norms on outputs, parallel halves, norms on both sides with caps.
BLOCKS = ("llama_linear", "olmo2", "gpt_neox_parallel", "gemma2")
WRITES_THROUGH = "post_feedforward_layernorm"  # the name of a norm of what an FFN writes
TOKENS = np.random.default_rng(5).integers(0, VOCAB, (4, 12)).astype(np.int32)


@dataclasses.dataclass(frozen=True, eq=False)
class Pair:
    """`theirs`: the model of torch; `config`, `params`: ours."""

    theirs: Any
    config: DecoderConfig
    params: dict

    @property
    def blocks(self) -> list:
        base = getattr(self.theirs, self.theirs.base_model_prefix)
        return list(base.h if hasattr(base, "h") else base.layers)

    def back(self, block):
        """The FFN's last matrix."""
        return next(getattr(block.mlp, name) for name in make_families.BACK if hasattr(block.mlp, name))

    def run(self, tokens_BxT, change=lambda layer, a: a):
        """(logits, the neurons' values after `change`, which torch can differentiate by, layer by layer)."""
        import torch

        values, hooks = [], []
        for layer, block in enumerate(self.blocks):

            def before(module, inputs, layer=layer):
                a = change(layer, inputs[0])
                a.retain_grad()
                values.append(a)
                return (a,)

            hooks.append(self.back(block).register_forward_pre_hook(before))
        try:
            logits = self.theirs(torch.from_numpy(tokens_BxT.astype(np.int64)), use_cache=False).logits
        finally:
            for hook in hooks:
                hook.remove()
        return logits, values

    def writes(self, tokens_BxT):
        """Of each layer, float64 arrays: the neurons' values [B, T, F], the state before the FFN's write and after it
        [B, T, D], and what each number of the sum of the neurons' writes is multiplied by on its way there [B, T, D]."""
        import torch

        seen, hooks = {name: [] for name in ("a", "sum", "written", "after")}, []

        def keep(name, of_output):
            def hook(module, inputs, output):
                kept = output if of_output else inputs[0]
                seen[name].append((kept[0] if isinstance(kept, tuple) else kept).detach().double().numpy())

            return hook

        for block in self.blocks:
            last = getattr(block, WRITES_THROUGH, block.mlp)
            hooks += [
                self.back(block).register_forward_hook(keep("a", of_output=False)),
                self.back(block).register_forward_hook(keep("sum", of_output=True)),
                last.register_forward_hook(keep("written", of_output=True)),
                block.register_forward_hook(keep("after", of_output=True)),
            ]
        with torch.no_grad():
            self.theirs(torch.from_numpy(tokens_BxT.astype(np.int64)), use_cache=False)
        for hook in hooks:
            hook.remove()
        layers = zip(*(seen[name] for name in ("a", "sum", "written", "after")), strict=True)
        return [(a, after - written, after, written / total) for a, total, written, after in layers]

    def columns(self, layer: int) -> np.ndarray:
        """What each neuron writes into the FFN's output, [F, D]."""
        return self.back(self.blocks[layer]).weight.detach().double().numpy().T


def pair(name: str) -> Pair:
    """Skips where torch or transformers is missing."""
    for package in ("torch", "transformers"):
        pytest.importorskip(package, reason=f"no {package} here to look into a model by")
    model = make_families.random_model(CASES[name], seed=2)
    return Pair(model, *huggingface.from_huggingface(*make_families.saved(model)))

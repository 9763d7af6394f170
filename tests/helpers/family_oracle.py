"""A tiny model of a family as transformers computes it (tests/golden/make_families.py), stored or live, and as we do.

Letters as there.
"""

import dataclasses
import functools
import json
from typing import Any

import jax
import numpy as np
import pytest
from golden import make_families
from golden.make_families import LANGUAGES, POSITIONS, PROMPT, WRITTEN

from babel_jax.measuring import greedy, sampling
from babel_jax.model import huggingface
from babel_jax.model.decoder import Decoder, DecoderConfig
from babel_jax.model.taps import TapRequest
from babel_jax.probes.subject import Subject

ABSOLUTE, RELATIVE = 2e-5, 1e-4  # how far logits and residual streams may be from transformers', in float32
SURE = 1e-3  # margin of a greedy token, in logits, from which on two correct programs write the same
LIVE_SEED = 1  # stored are those of seed 0


@dataclasses.dataclass(frozen=True, eq=False)
class Compared:
    """`golden`: what transformers found; `state`: its tensors; `logits_BxTxV`, `taps`: what our decoder says of its tokens."""

    golden: dict
    state: dict
    config_5: dict
    config_4: dict
    config: DecoderConfig
    params: dict
    logits_BxTxV: np.ndarray
    taps: dict[str, Any]

    @property
    def state_JxBxTxD(self) -> np.ndarray:
        """Our residual stream before the first block and after each."""
        return np.concatenate([self.taps["embedded_BxPxD"][None], self.taps["residual_LxBxPxD"]])

    def rows(self, name: str, x) -> np.ndarray:
        """Our array `x`, of all rows, cut to those of the stored one called `name`; the axes of both are the same."""
        axis = name.split("_")[1].split("x").index("B")
        return np.asarray(x).take(np.arange(self.golden[name].shape[axis]), axis)


def stored(name: str) -> tuple[dict, dict, dict, dict]:
    """(tensors, what was measured, config of transformers 5, of 4) as they were computed once."""
    with np.load(make_families.FOLDER / f"{name}.npz") as file:
        golden = dict(file)
    configs = [json.loads(str(golden.pop(config))) for config in ("config_5", "config_4")]
    names = [tensor for tensor in golden if tensor.startswith("weights/")]
    return {tensor.removeprefix("weights/"): golden.pop(tensor) for tensor in names}, golden, *configs


def live(name: str) -> tuple[dict, dict, dict, dict]:
    """The same computed now, with other weights and other texts."""
    for package in ("torch", "transformers"):
        pytest.importorskip(package, reason=f"no {package} here to compare with live; the stored arrays are compared")
    return make_families.made(name, LIVE_SEED)


@functools.lru_cache(maxsize=1)
def compared(source, name: str) -> Compared:
    """`source`: `stored` or `live`."""
    state, golden, config_5, config_4 = source(name)
    config, params = huggingface.from_huggingface(state, config_5)
    tokens_BxT = golden["tokens_BxT"]
    weight_BxTxK = (golden["language_BxT"][:, :, None] == np.arange(LANGUAGES)).astype(np.float32)
    everywhere_BxT = np.broadcast_to(np.arange(tokens_BxT.shape[1]), tokens_BxT.shape)
    request = TapRequest(weight_BxTxK, everywhere_BxT, ffn_at_positions=True, middle_at_positions=True)
    with jax.default_matmul_precision("highest"):
        logits_BxTxV, taps = jax.jit(
            lambda params: Decoder(config).apply({"params": params}, tokens_BxT, request=request)
        )(params)
    return Compared(golden, state, config_5, config_4, config, params, np.asarray(logits_BxTxV), taps)


def of_tolerance(ours, theirs) -> float:
    """The largest deviation, as a multiple of what is allowed for the number that it is a deviation from."""
    return float((np.abs(ours - theirs) / (ABSOLUTE + RELATIVE * np.abs(theirs))).max())


def written(case: Compared) -> tuple[np.ndarray, list[np.ndarray]]:
    """Where transformers is sure of the token that it writes [B, W], and what we write, by each of our two ways through a cache.

    Once the best token's margin was below `SURE`, two correct programs may write different texts.
    """
    prompt_BxT = case.golden["tokens_BxT"][:, :PROMPT]
    sure_BxW = np.cumprod(case.golden["margin_BxW"] > SURE, axis=1).astype(bool)
    subject = Subject(case.params, case.config, batch_size=len(prompt_BxT))
    with jax.default_matmul_precision("highest"):
        ours_BxW = greedy.generate(subject, prompt_BxT, np.full(len(prompt_BxT), PROMPT), WRITTEN)
        completions = sampling.write(subject, list(prompt_BxT), sampling.Sampling(new_tokens=WRITTEN))
    return sure_BxW, [ours_BxW, np.stack([ids for (ids,) in completions])]


def at_positions(x_LxBxTxC):
    """At the positions of which an FFN's inside was kept."""
    return np.asarray(x_LxBxTxC)[:, :, POSITIONS]

"""What the blocks of a decoder are made of, as data: one frozen record, and the pure functions that its names stand for.

`Architecture()` is GPT-2's. Each family of models in `model/families/` is another record; the decoder knows no family.
Letters as in `model/decoder.py`; R the part of a head that rotary positions turn.
"""

import dataclasses
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from babel_jax.common.errors import UserError, unknown_name


def layer_norm(x, parameters: dict, epsilon: float):
    """LayerNorm (arXiv:1607.06450) in float32; without `scale` and `bias` among the parameters (OLMo) it only standardises."""
    x32 = x.astype(jnp.float32)
    mean = x32.mean(-1, keepdims=True)
    variance = jnp.square(x32 - mean).mean(-1, keepdims=True)
    normed = (x32 - mean) * jax.lax.rsqrt(variance + epsilon)
    if parameters:
        normed = normed * parameters["scale"] + parameters["bias"]
    return normed.astype(x.dtype)


def rms_norm(x, parameters: dict, epsilon: float):
    """RMSNorm (arXiv:1910.07467) in float32: no mean is taken away, and there is no bias."""
    return (x.astype(jnp.float32) * rms_factor(x, epsilon) * parameters["scale"]).astype(x.dtype)


def rms_norm_from_one(x, parameters: dict, epsilon: float):
    """Gemma's RMSNorm: its scale is 1 + w, so that weight decay pulls it to 1."""
    return (x.astype(jnp.float32) * rms_factor(x, epsilon) * (1 + parameters["scale"])).astype(x.dtype)


def rms_factor(x, epsilon: float):
    """1 / sqrt(mean of x^2 + epsilon) over the last axis, which stays with length 1; float32."""
    return jax.lax.rsqrt(jnp.square(x.astype(jnp.float32)).mean(-1, keepdims=True) + epsilon)


@dataclasses.dataclass(frozen=True)
class Norm:
    """`apply(x, its parameters by name, epsilon)`, and what each of these parameters starts as."""

    apply: Callable
    start: dict[str, Callable]


ZEROS, ONES = jax.nn.initializers.zeros, jax.nn.initializers.ones
NORMS = {
    "layer": Norm(layer_norm, {"scale": ONES, "bias": ZEROS}),
    "layer_plain": Norm(layer_norm, {}),
    "rms": Norm(rms_norm, {"scale": ONES}),
    "rms_from_one": Norm(rms_norm_from_one, {"scale": ZEROS}),
}
ACTIVATIONS = {
    "gelu_tanh": lambda x: jax.nn.gelu(x, approximate=True),  # GPT-2's, arXiv:1606.08415
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "silu": jax.nn.silu,
    "relu": jax.nn.relu,
}
QK_NORMS = ("none", "head", "width")  # of each head's query and key, or of those of all heads together
SCALINGS = ("none", "linear", "llama3", "yarn")


@dataclasses.dataclass(frozen=True)
class Rope:
    """Rotary positions (arXiv:2104.09864): pairs of a head's numbers are turned by an angle that grows with the position.

    Number i is turned together with number i + R / 2 (the halves of GPT-NeoX, which all families here have).

    Attributes:
      theta: base of the frequencies theta^(-2 i / R).
      scaling: how frequencies are lowered for texts longer than those trained on first: not at all; all of them by `factor`
        ("linear", arXiv:2306.15595); those that turn slowly ("llama3", arXiv:2407.21783; "yarn", arXiv:2309.00071).
      original_length: what was trained on first. What turns less often over it than `slow_turns` is lowered by `factor`, what
        turns more often than `fast_turns` is left alone, what lies between is mixed.
      attention_factor: what sine and cosine are multiplied by.
    """

    theta: float = 10000.0
    scaling: str = "none"
    factor: float = 1.0
    original_length: int = 0
    slow_turns: float = 1.0
    fast_turns: float = 1.0
    attention_factor: float = 1.0

    def __post_init__(self):
        if self.scaling not in SCALINGS:
            raise unknown_name("RoPE scaling", self.scaling, SCALINGS)

    def frequencies(self, width: int) -> np.ndarray:
        """Radians a position of each pair, float32 [R / 2]; `width` is R."""
        pair = np.arange(0, width, 2, dtype=np.float32) / np.float32(width)
        plain = np.float32(1) / (self.theta ** pair.astype(np.float64)).astype(np.float32)
        if self.scaling == "none":
            return plain
        lowered = plain / np.float32(self.factor)
        if self.scaling == "linear":
            return lowered
        return lowered + self._kept(plain, width).astype(np.float32) * (plain - lowered)

    def _kept(self, plain, width: int):
        """How much of each frequency is left as it is, from 0 to 1."""
        if self.scaling == "llama3":
            turns = self.original_length * plain / (2 * math.pi)
            return np.clip((turns - self.slow_turns) / (self.fast_turns - self.slow_turns), 0, 1)

        def place(turns: float) -> float:  # the pair that turns so often over the original length
            return width * math.log(self.original_length / (turns * 2 * math.pi)) / (2 * math.log(self.theta))

        first = max(math.floor(place(self.fast_turns)), 0)
        last = min(math.ceil(place(self.slow_turns)), width - 1)
        return 1 - np.clip((np.arange(width // 2) - first) / max(last - first, 0.001), 0, 1)


@dataclasses.dataclass(frozen=True)
class LayerKind:
    """What may differ from layer to layer. `window`: how many tokens, itself among them, a token sees (0: all earlier ones).
    `rope`: None turns nothing."""

    window: int = 0
    rope: Rope | None = None


@dataclasses.dataclass(frozen=True)
class Architecture:
    """What a block is made of. The defaults are GPT-2's.

    Attributes:
      norm, norm_epsilon: one of `NORMS`, for all norms of the model.
      input_norms, output_norms: whether the residual stream is normed before each half of a block, and what a half writes before
        it is added (OLMo 2; Gemma 2 does both).
      parallel: both halves read the block's input, and neither what the other has written (GPT-NeoX).
      fused_qkv: queries, keys and values are one matrix [D, 3 N H], as GPT-2's; otherwise three of [D, heads, H].
      qk_norm: a norm of queries and keys, one of `QK_NORMS`.
      qkv_clip: queries, keys and values are cut to at most so much in size (0: not).
      qkv_bias, attention_out_bias, ffn_bias: which products have a bias.
      activation, gated: the FFN is out(act(in(x))), or out(act(gate(x)) * in(x)) (arXiv:2002.05202).
      score_width: attention scores are divided by its square root (0: by that of the head width).
      score_cap, logit_cap: c of c tanh(x / c), which bounds attention scores and logits (0: not), arXiv:2408.00118.
      embedding_scale: what token embeddings are multiplied by.
      learned_positions: a table of learned embeddings of positions is added to those of tokens.
      rope_width: R; the rest of a head is not turned.
      kinds, kind_of_layer: what may differ between layers, and which of the kinds each layer is (empty: all the first).
    """

    norm: str = "layer"
    norm_epsilon: float = 1e-5
    input_norms: bool = True
    output_norms: bool = False
    parallel: bool = False
    fused_qkv: bool = True
    qk_norm: str = "none"
    qkv_clip: float = 0.0
    qkv_bias: bool = True
    attention_out_bias: bool = True
    ffn_bias: bool = True
    activation: str = "gelu_tanh"
    gated: bool = False
    score_width: float = 0.0
    score_cap: float = 0.0
    logit_cap: float = 0.0
    embedding_scale: float = 1.0
    learned_positions: bool = True
    rope_width: int = 0
    kinds: tuple[LayerKind, ...] = (LayerKind(),)
    kind_of_layer: tuple[int, ...] = ()

    def __post_init__(self):
        for what, name, known in (
            ("norm", self.norm, NORMS),
            ("activation", self.activation, ACTIVATIONS),
            ("norm of queries and keys", self.qk_norm, QK_NORMS),
        ):
            if name not in known:
                raise unknown_name(what, name, known)
        if self.rope_width % 2 or (self.rope_width == 0) != all(kind.rope is None for kind in self.kinds):
            raise UserError(
                f"rope_width is {self.rope_width}; it is an even number, and 0 where no layer has rotary positions."
            )
        if any(not 0 <= kind < len(self.kinds) for kind in self.kind_of_layer):
            raise UserError(f"kind_of_layer is {self.kind_of_layer} and there are {len(self.kinds)} kinds of layers.")

    @classmethod
    def from_json(cls, stored: dict) -> "Architecture":
        """The record that `dataclasses.asdict` and JSON have made of one."""
        kinds = tuple(
            LayerKind(kind["window"], Rope(**kind["rope"]) if kind["rope"] else None) for kind in stored["kinds"]
        )
        return cls(**stored | {"kinds": kinds, "kind_of_layer": tuple(stored["kind_of_layer"])})


def rope_tables(architecture: Architecture, position_BxT):
    """Cosine and sine of every kind of layer, float32 [kinds, B, T, R / 2] each; None where no layer has rotary positions.

    A kind without them has cosine 1 and sine 0, which turn nothing, bit for bit.
    """
    if not architecture.rope_width:
        return None
    still = np.zeros(architecture.rope_width // 2, np.float32)
    ropes = [kind.rope for kind in architecture.kinds]
    frequency_Kxr = np.stack([rope.frequencies(architecture.rope_width) if rope else still for rope in ropes])
    factor_K = np.array([rope.attention_factor if rope else 1.0 for rope in ropes], np.float32)
    angle_KxBxTxr = position_BxT.astype(jnp.float32)[None, :, :, None] * frequency_Kxr[:, None, None, :]
    factor_Kx1x1x1 = factor_K[:, None, None, None]
    return jnp.cos(angle_KxBxTxr) * factor_Kx1x1x1, jnp.sin(angle_KxBxTxr) * factor_Kx1x1x1


def turn(x_BxTxNxH, cos_BxTxr, sin_BxTxr):
    """Queries or keys with the first R of each head's numbers turned, as `Rope` says; in float32."""
    r = cos_BxTxr.shape[-1]
    cos, sin = cos_BxTxr[:, :, None], sin_BxTxr[:, :, None]
    x = x_BxTxNxH.astype(jnp.float32)
    first, second = x[..., :r], x[..., r : 2 * r]
    turned = jnp.concatenate([first * cos - second * sin, second * cos + first * sin, x[..., 2 * r :]], axis=-1)
    return turned.astype(x_BxTxNxH.dtype)


def capped(x, cap: float):
    """cap * tanh(x / cap), which lies between -cap and cap; 0: x as it is."""
    return cap * jnp.tanh(x / cap) if cap else x

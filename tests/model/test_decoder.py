import dataclasses
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import SMALL, loud, random_rows
from helpers.decoders import SMALL_ONES

from babel_jax.common.errors import UserError
from babel_jax.model.architecture import Architecture, LayerKind, Rope
from babel_jax.model.decoder import (
    PRESETS,
    REMAT_POLICIES,
    Decoder,
    DecoderConfig,
    init_params,
    unembed,
)
from babel_jax.model.taps import TapRequest

TOKENS = random_rows(3, SMALL.vocab_size, SMALL.max_length - 1)
TIED = dataclasses.replace(SMALL, tied_head=True, frozen_rows=10)


def logits_of(config, params, tokens=TOKENS, segments=None):
    return jax.jit(lambda p, t, s: Decoder(config).apply({"params": p}, t, s)[0])(params, tokens, segments)


def gpt2(params, tokens, heads):
    """GPT-2 as its paper and OpenAI's release have it, one row and one head after the other."""

    def norm(x, scale, bias):
        return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * scale + bias

    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    blocks, rows = params["blocks"], []
    for row in tokens:
        h = params["embed_table"][row] + params["embed_position"][: len(row)]
        for i in range(len(blocks["ln_1"]["scale"])):
            x = norm(h, blocks["ln_1"]["scale"][i], blocks["ln_1"]["bias"][i])
            q, k, v = np.split(x @ blocks["qkv"]["kernel"][i] + blocks["qkv"]["bias"][i], 3, axis=-1)
            mixed = []
            for qn, kn, vn in zip(*(np.split(part, heads, axis=-1) for part in (q, k, v)), strict=True):
                scores = qn @ kn.T / math.sqrt(qn.shape[-1])
                scores[np.triu_indices(len(row), 1)] = -np.inf
                weights = np.exp(scores - scores.max(-1, keepdims=True))
                mixed.append(weights / weights.sum(-1, keepdims=True) @ vn)
            out = blocks["attention_out"]
            h = h + np.concatenate(mixed, -1) @ out["kernel"][i] + out["bias"][i]
            x = norm(h, blocks["ln_2"]["scale"][i], blocks["ln_2"]["bias"][i])
            z = x @ blocks["ffn_in"]["kernel"][i] + blocks["ffn_in"]["bias"][i]
            a = 0.5 * z * (1 + np.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)))
            h = h + a @ blocks["ffn_out"]["kernel"][i] + blocks["ffn_out"]["bias"][i]
        rows.append(norm(h, params["ln_f_scale"], params["ln_f_bias"]) @ params.get("head", params["embed_table"]).T)
    return np.array(rows)


@pytest.mark.parametrize("tied", [True, False])
def test_it_is_gpt2(tied):
    config = dataclasses.replace(SMALL, tied_head=tied)
    params = loud(config)
    assert ("head" in params) == (not tied)
    ours, theirs = logits_of(config, params), gpt2(params, TOKENS, config.heads)
    assert np.abs(ours - theirs).max() < 1e-4 * np.abs(theirs).max()
    assert np.std(theirs) > 0.3  # not a comparison of zeros


def looks_at(segments=None):
    """[T, T]: does what is foretold at t depend on position s? Read off gradients."""
    params = loud(SMALL)
    projection = np.random.default_rng(1).normal(size=SMALL.vocab_size).astype(np.float32)

    def seen(position):
        logits, _ = Decoder(SMALL).apply({"params": params | {"embed_position": position}}, TOKENS[:1], segments)
        return logits[0] @ projection

    return np.abs(jax.jit(jax.jacrev(seen))(params["embed_position"])).max(-1) > 0


def test_no_position_sees_the_future():
    assert np.array_equal(looks_at(), np.tri(12, dtype=bool))


def test_no_position_sees_another_document():
    segments = np.array([[0, 0, 0, 0, 1, 1, 2, 2, 2, 2, 2, 2]])
    assert np.array_equal(looks_at(segments), np.tri(12, dtype=bool) & (segments == segments.T))


@pytest.mark.long
@pytest.mark.parametrize("family", SMALL_ONES)
def test_remat_changes_nothing(family):
    model = dataclasses.replace(SMALL_ONES[family], tied_head=True, frozen_rows=10)

    def value_and_grad(remat):
        decoder = Decoder(dataclasses.replace(model, remat=remat))
        loss = jax.jit(jax.value_and_grad(lambda p: jnp.square(decoder.apply({"params": p}, TOKENS)[0]).mean()))
        return loss(loud(model))

    want = value_and_grad("none")
    for remat in set(REMAT_POLICIES) - {"none"} if family in ("gpt2", "llama") else ("full",):
        got = value_and_grad(remat)
        for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6)
    assert not want[1]["embed_frozen"].any() and want[1]["embed_table"].any()


def test_frozen_rows_get_no_gradient_and_are_used():
    params = loud(TIED)
    assert params["embed_table"].shape == (38, 16) and params["embed_frozen"].shape == (10, 16)
    grads = jax.jit(jax.grad(lambda p: jnp.square(Decoder(TIED).apply({"params": p}, TOKENS)[0]).sum()))(params)
    assert not grads["embed_frozen"].any() and grads["embed_table"].any()
    moved = params | {"embed_frozen": params["embed_frozen"] + 1}
    assert np.abs(logits_of(TIED, params) - logits_of(TIED, moved)).max() > 0.1


@pytest.mark.parametrize("scanned", [False, True])
@pytest.mark.parametrize("family", SMALL_ONES)
def test_the_cache_changes_nothing(family, scanned):
    """A prompt of unequal lengths at once, then token by token, against the whole row at once."""
    config = SMALL_ONES[family]
    params = loud(config)
    want = logits_of(config, params)

    @jax.jit
    def go_on(tokens, cache, index):
        weights = config.weights(params, scanned=scanned)
        position = index[:, None] + jnp.arange(tokens.shape[1])
        cache, h = config.advance(weights, cache, tokens, position)
        return config.readout(weights)(h), cache

    length = np.array([2, 5, 1])
    logits, cache = go_on(TOKENS[:, :5], config.empty_cache(3, 12, scanned=scanned), jnp.zeros(3, jnp.int32))
    shape = (3, config.kv_heads, 12, config.head_width)
    assert {leaf.shape for leaf in jax.tree.leaves(cache)} == {(config.layers, *shape) if scanned else shape}
    for row, n in enumerate(length):
        np.testing.assert_allclose(logits[row, :n], want[row, :n], atol=2e-4)
    for offset in range(7):
        index = length + offset
        logits, cache = go_on(TOKENS[np.arange(3), index][:, None], cache, index)
        np.testing.assert_allclose(logits[:, 0], want[np.arange(3), index], atol=2e-4)


@pytest.mark.parametrize("family", SMALL_ONES)
def test_bfloat16_is_near_float32(family):
    """Tolerance: 2.5 % of the logits' spread in the mean square (it is 0.5 % of GPT-2's and 1.8 % of Gemma 3's, which has twice
    the norms); bfloat16 has 8 bits, and some blocks and a head add up."""
    config = SMALL_ONES[family]
    half = dataclasses.replace(config, dtype="bfloat16")
    shapes = jax.eval_shape(lambda: init_params(half, 0))
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {jnp.dtype("float32")}
    params = loud(config, scale=0.1)
    full, low = logits_of(config, params), logits_of(half, params)
    assert low.dtype == jnp.float32
    error = np.sqrt(np.square(full - low).mean())
    assert 0 < error < 0.025 * np.std(full)


@pytest.mark.parametrize("config", [SMALL, TIED], ids=["untied", "tied"])
def test_the_lens_at_the_last_layer_is_the_model(config):
    positions = np.broadcast_to(np.arange(12), (3, 12))

    @jax.jit
    def both(params):
        logits, taps = Decoder(config).apply({"params": params}, TOKENS, None, TapRequest(positions_BxP=positions))
        return logits, unembed(params, config, taps["residual_LxBxPxD"][-1]), taps

    logits, lens, taps = both(loud(config))
    assert np.array_equal(logits, lens)
    assert np.array_equal(taps["residual_LxBxPxD"][-1], taps["final_BxTxD"])
    assert not np.allclose(taps["residual_LxBxPxD"][0], taps["final_BxTxD"])


@pytest.mark.parametrize(
    "preset, millions",
    [("tiny", 0.2), ("5m", 3.2), ("7m", 4.8), ("124m", 85), ("350m", 303), ("1b3", 1209), ("6b7", 6443)],
)
def test_presets_have_their_size(preset, millions):
    """Blocks hold 12 D^2 weights a layer; nothing of the large ones is ever allocated."""
    config = DecoderConfig(**PRESETS[preset], vocab_size=50257, max_length=2048)
    shapes = jax.eval_shape(lambda: init_params(config, 0))
    blocks = sum(leaf.size for leaf in jax.tree.leaves(shapes["blocks"]))
    assert blocks / 1e6 == pytest.approx(millions, rel=0.02)
    total = sum(leaf.size for leaf in jax.tree.leaves(shapes))
    named = {"124m": 0.124e9, "350m": 0.355e9, "1b3": 1.3e9, "6b7": 6.7e9}.get(preset)
    assert named is None or total == pytest.approx(named, rel=0.02)


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(heads=3, head_width=0), "not divisible by 3 heads"),
        (dict(remat="dot"), "did you mean 'dots'"),
        (dict(dtype="float16"), "unknown compute dtype"),
        (dict(frozen_rows=48), "frozen_rows 48"),
    ],
)
def test_shapes_that_cannot_be_are_refused(changes, message):
    with pytest.raises(UserError, match=message):
        dataclasses.replace(SMALL, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        dict(),
        dict(heads=3, kv_heads=1, head_width=10, architecture=Architecture(fused_qkv=False)),
        dict(heads=3, kv_heads=0, head_width=5, architecture=Architecture(fused_qkv=False)),  # 5 is 16 // 3
        dict(
            architecture=Architecture(
                rope_width=4,
                kinds=(LayerKind(), LayerKind(window=7, rope=Rope(scaling="linear"))),
                kind_of_layer=(0, 1),
            )
        ),
    ],
)
def test_a_config_is_stored_and_read(changes):
    config = dataclasses.replace(SMALL, layers=2, width=16, **changes)
    stored = json.loads(json.dumps(config.to_json()))
    assert DecoderConfig.from_json(stored) == config
    assert stored == config.to_json() and ("architecture" in stored) == ("architecture" in changes)

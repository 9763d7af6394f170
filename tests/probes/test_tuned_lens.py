import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import loud
from helpers.architectures import FAMILIES, config_of, in_numpy, log_softmax, params_of, read

from babel_jax.common.errors import UserError
from babel_jax.model import placement
from babel_jax.model.decoder import Decoder, DecoderConfig
from babel_jax.model.taps import TapRequest
from babel_jax.probes import lens, tuned_lens
from babel_jax.probes.subject import Subject
from babel_jax.training.loss import segments

CONFIG = DecoderConfig(vocab_size=23, width=8, layers=3, heads=2, ffn_width=16, max_length=10)
END = 22


def packed_rows(n=40, seed=0):
    return np.random.default_rng(seed).integers(0, 23, (n, 10)).astype(np.int32)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_identity_is_the_logit_lens_bit_for_bit(dtype):
    config = DecoderConfig(**(vars(CONFIG) | {"dtype": dtype}))
    params, rng = loud(config), np.random.default_rng(1)
    h = jnp.asarray(rng.normal(size=(3, 2, 4, 8)), dtype)
    candidates = jnp.asarray(rng.integers(-1, 23, (2, 4, 3)))
    plain = lens.read_candidates(params, config, h, candidates)
    tuned = lens.read_candidates(params, config, h, candidates, None, tuned_lens.identity(config))
    for name in plain:
        assert np.array_equal(plain[name], tuned[name]), name
    moved = tuned_lens.identity(config)
    moved["b_LxD"][0] = rng.normal(size=8)
    read = lens.read_candidates(params, config, h, candidates, None, moved)["logsumexp_LxBxP"]
    assert not np.allclose(read[0], plain["logsumexp_LxBxP"][0], atol=1e-2)
    assert np.array_equal(read[1:], plain["logsumexp_LxBxP"][1:])


def by_hand(params, batch, h_LxBxPxD, A, b, momentum, rate):
    """One step in float64 without automatic differentiation: KL, softmax, LayerNorm and translator by the chain rule."""
    E = np.asarray(params["embed_table"], np.float64)
    scale, bias = (np.asarray(params[f"ln_f_{name}"], np.float64) for name in ("scale", "bias"))
    weight = batch["weight"].astype(np.float64)

    def normal(h):
        centred = h - h.mean(-1, keepdims=True)
        spread = np.sqrt(np.square(centred).mean(-1, keepdims=True) + 1e-5)
        return centred / spread, spread

    def softmax(h):
        logits = (normal(h)[0] * scale + bias) @ E.T
        e = np.exp(logits - logits.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True)

    final = softmax(h_LxBxPxD[-1])
    for layer in range(len(A)):
        h = h_LxBxPxD[layer]
        x, spread = normal(h + h @ A[layer] + b[layer])
        d_logits = (softmax(h + h @ A[layer] + b[layer]) - final) * weight[..., None] / weight.sum()
        d_x = d_logits @ E * scale
        d_h = (d_x - d_x.mean(-1, keepdims=True) - x * (d_x * x).mean(-1, keepdims=True)) / spread
        gradient = [np.einsum("bpi,bpj->ij", h, d_h), d_h.sum((0, 1))]
        norm = np.sqrt(sum((g**2).sum() for g in gradient))
        for place, (g, value) in enumerate(zip(gradient, (A[layer], b[layer]), strict=True)):
            g = g / max(norm, 1.0) + 1e-3 * value
            momentum[layer][place] = 0.9 * momentum[layer][place] + g
            value -= rate * (g + 0.9 * momentum[layer][place])
    return norm


@pytest.mark.parametrize("scale", [0.3, 1.5])  # the second one's gradients are clipped
def test_three_steps_are_those_made_by_hand(scale):
    params = loud(CONFIG, scale=scale)
    _, everywhere = placement.layout(params, 6)
    step, _ = tuned_lens.jitted_steps(CONFIG, END, 4, 2.0, everywhere)
    state = tuned_lens.initial_state(CONFIG, 4, 2.0)
    A, b = np.zeros((2, 8, 8)), np.zeros((2, 8))
    momentum = [[np.zeros((8, 8)), np.zeros(8)] for _ in range(2)]
    rng, norms = np.random.default_rng(2), []
    for index in range(3):
        batch = tuned_lens._at_positions(rng, packed_rows(6, seed=index), 5, END)
        request = TapRequest(positions_BxP=jnp.asarray(batch["positions"]))
        segment = segments(jnp.asarray(batch["tokens"]), END)
        _, taps = Decoder(CONFIG).apply({"params": params}, batch["tokens"], segment, request)
        h = np.asarray(taps["residual_LxBxPxD"], np.float64)
        norms.append(by_hand(params, batch, h, A, b, momentum, 2.0 * 0.1 * (1 - index / 4)))
        state = step(params, state, batch)
    assert (min(norms) > 1) == (scale > 1) and np.abs(A).max() > 1e-3
    np.testing.assert_allclose(state["translators"]["A_LxDxD"], A, atol=1e-5)
    np.testing.assert_allclose(state["translators"]["b_LxD"], b, atol=1e-5)


def test_training_brings_every_layer_closer_on_rows_it_has_not_seen():
    params = loud(CONFIG)
    options = dict(steps=60, positions_per_row=6)
    trained = tuned_lens.train(Subject(params, CONFIG, END, 8), packed_rows(), **options)
    assert trained.A_LxDxD.shape == (3, 8, 8) and trained.b_LxD.shape == (3, 8)
    before, after = trained.kl_before_L, trained.kl_after_L
    assert (after[:2] < 0.8 * before[:2]).all() and after[2] == before[2] == 0
    assert not trained.A_LxDxD[2].any() and not trained.b_LxD[2].any()

    again = tuned_lens.train(Subject(params, CONFIG, END, 8), packed_rows(), **options)
    assert all(np.array_equal(value, getattr(trained, name)) for name, value in vars(again).items())
    other = tuned_lens.train(Subject(loud(CONFIG, seed=1), CONFIG, END, 8), packed_rows(), **options)
    assert not np.allclose(other.A_LxDxD, trained.A_LxDxD)
    _, everywhere = placement.layout(params, 8)
    step, _ = tuned_lens.jitted_steps(CONFIG, END, 60, tuned_lens.LEARNING_RATE, everywhere)
    assert step._cache_size() == 1  # a second checkpoint compiles nothing


def test_the_divergence_is_the_mean_over_the_rows_kept_for_the_test():
    """Also where they do not fill a batch and hold ends of documents."""
    params, tokens = loud(CONFIG), packed_rows(15)
    tokens[:, 4] = END
    trained = tuned_lens.train(Subject(params, CONFIG, END, 2), tokens, steps=0, positions_per_row=10)
    test = tokens[np.random.default_rng(0).permutation(15)[:3]]
    everywhere = np.broadcast_to(np.arange(10), test.shape)
    segment = segments(jnp.asarray(test), END)
    logits, taps = Decoder(CONFIG).apply({"params": params}, test, segment, TapRequest(positions_BxP=everywhere))
    final = np.asarray(jax.nn.log_softmax(logits), np.float64)
    inside = test != END
    all_tokens = jnp.broadcast_to(jnp.arange(23), (3, 10, 23))
    read = lens.read_candidates(params, CONFIG, taps["residual_LxBxPxD"], all_tokens)["log_prob_LxBxPxC"]
    kl = (np.exp(final) * (final - np.asarray(read, np.float64))).sum(-1)
    np.testing.assert_allclose(trained.kl_before_L, kl[:, inside].mean(1), atol=1e-5)


def test_bad_input():
    params = loud(CONFIG)
    one_layer = DecoderConfig(**(vars(CONFIG) | {"layers": 1}))
    for message, config, tokens, options in (
        ("no inner layer to translate", one_layer, packed_rows(), {}),
        ("not 1 in all", CONFIG, packed_rows(1), {}),
        ("longer than the model's 10", CONFIG, np.zeros((4, 11), int), {}),
        ("positions_per_row 11 must be between 1 and the 10", CONFIG, packed_rows(), {"positions_per_row": 11}),
    ):
        with pytest.raises(UserError, match=message):
            tuned_lens.train(Subject(params, config, END, 16), tokens, **options)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_lens_is_tuned_for_every_kind_of_block(family):
    params, config = params_of(family), config_of(family)
    tokens = np.random.default_rng(0).integers(0, 23, (30, 8)).astype(np.int32)
    trained = tuned_lens.train(Subject(params, config, END, 8), tokens, steps=30, positions_per_row=6)
    assert trained.kl_after_L[0] < 0.9 * trained.kl_before_L[0] and trained.kl_after_L[1] == 0
    h = in_numpy(config, params, tokens[:4])[1]["h"].astype(np.float32)
    everything = np.broadcast_to(np.arange(23), (4, 8, 23))
    got = tuned_lens.jitted_read(config)(params, trained.translators, h, everything)["log_prob_LxBxPxC"]
    want = log_softmax(
        read(config, params, h + np.einsum("lbpd,lde->lbpe", h, trained.A_LxDxD) + trained.b_LxD[:, None, None])
    )
    np.testing.assert_allclose(got, want, atol=1e-4)

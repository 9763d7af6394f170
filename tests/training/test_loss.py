import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import (
    SMALL,
    loud,
    random_rows,
)
from helpers.decoders import small

from babel_jax.model.decoder import Decoder
from babel_jax.model.sharding import make_mesh
from babel_jax.training import config as run_config
from babel_jax.training import loss
from babel_jax.training.loss import segments, target_weight, token_loss
from babel_jax.training.optimizer import static_settings
from babel_jax.training.step import make_trainer

OPTIMIZER = static_settings(run_config.default().optimizer)

B, T, D, V = 3, 8, 5, 11


def arrays():
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(B, T, D)), jnp.float32)
    head = jnp.asarray(rng.normal(size=(V, D)), jnp.float32)
    targets = jnp.asarray(rng.integers(0, V, (B, T)))
    weight = jnp.asarray(rng.uniform(0, 2, (B, T)) * (rng.random((B, T)) > 0.2), jnp.float32)
    return x, head, targets, weight


def plain(x, head, targets, weight, smoothing, cap=0.0):
    logits = jnp.einsum("btd,vd->btv", x, head)
    each = loss.token_loss(cap * jnp.tanh(logits / cap) if cap else logits, targets, smoothing)
    return (each * weight).sum(), each


@pytest.mark.parametrize("tiles", [1, 2, 8])
@pytest.mark.parametrize("smoothing, cap", [(0.0, 0.0), (0.1, 0.0), (0.1, 1.5)])
def test_tiles_change_nothing(tiles, smoothing, cap):
    x, head, targets, weight = arrays()

    def tiled(x, head):
        return loss.tiled_loss(x, head, loss.Targets(targets, weight, smoothing), tiles, None, cap)

    def whole(x, head):
        return plain(x, head, targets, weight, smoothing, cap)

    for function in (tiled, whole):  # the gradient of something made of the loss, not of the loss itself
        scaled = jax.value_and_grad(
            lambda x, head, f=function: (3 * f(x, head)[0], f(x, head)[1]), (0, 1), has_aux=True
        )
        found = jax.tree.leaves(jax.jit(scaled)(x, head))
        if function is tiled:
            kept = found
    for one, other in zip(kept, found, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-5)


def test_no_tile_holds_more_than_it_may(monkeypatch):
    """The compiled program has no float32 array of all logits, forward or backward."""
    x, head, targets, weight = arrays()
    assert loss.tiles_for(B, T, V) == 0
    monkeypatch.setattr(loss, "TILE_BYTES", 4 * B * 2 * V)
    monkeypatch.setattr(loss, "WHOLE_BYTES", 0)
    tiles = loss.tiles_for(B, T, V)
    assert tiles == 4

    def total(x, head):
        return loss.tiled_loss(x, head, loss.Targets(targets, weight, 0.0), tiles, mesh=None)[0]

    text = jax.jit(jax.grad(total, (0, 1))).lower(x, head).compile().as_text()
    assert f"f32[{B * T // tiles},{V}]" in text
    assert f"f32[{B * T},{V}]" not in text and f"f32[{B},{T},{V}]" not in text


def test_a_length_that_does_not_divide_keeps_larger_tiles(monkeypatch):
    monkeypatch.setattr(loss, "TILE_BYTES", 1)
    monkeypatch.setattr(loss, "WHOLE_BYTES", 0)
    assert loss.tiles_for(2, 12, 100) == 4 and loss.tiles_for(2, 7, 100) == 1


def test_label_smoothing_is_the_mixed_cross_entropy():
    rng = np.random.default_rng(0)
    logits, targets = rng.normal(size=(2, 3, 7)).astype(np.float32), rng.integers(0, 7, (2, 3))
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    for smoothing in (0.0, 0.1):
        law = (1 - smoothing) * np.eye(7)[targets] + smoothing / 7
        np.testing.assert_allclose(token_loss(logits, targets, smoothing), -(law * log_p).sum(-1), rtol=1e-5)


def test_targets_count_by_class_and_not_across_documents():
    tokens = np.array([[5, 9, 1, 7, 9, 9, 2]])
    weight = np.ones(10, np.float32)
    weight[7] = 0
    assert target_weight(tokens, weight, 9).tolist() == [[1, 0, 0, 1, 0, 0]]
    assert target_weight(tokens, weight, -1).tolist() == [[1, 1, 0, 1, 1, 1]]
    assert segments(tokens, 9).tolist() == [[0, 0, 1, 1, 1, 2, 3]]


def hyper(rate=0.0, smoothing=0.0, spike=0.0):
    return {
        "learning_rate": np.float32(rate),
        "label_smoothing": np.float32(smoothing),
        "spike_factor": np.float32(spike),
    }


def first_loss(tokens, weight, document_end=3, smoothing=0.0):
    trainer = make_trainer(SMALL, OPTIMIZER, document_end, make_mesh())
    state, batch = trainer.fresh(loud(SMALL)), trainer.put_batch(lambda offsets: tokens[offsets], len(tokens))
    return float(trainer.step(state, batch, trainer.put(weight), trainer.put(hyper(smoothing=smoothing)))[1]["loss"])


def test_the_step_masks_and_weighs():
    tokens = random_rows(8, 8, SMALL.max_length)  # few tokens: many document ends
    weight = np.linspace(0, 2, SMALL.vocab_size).astype(np.float32)
    inputs, targets = tokens[:, :-1], tokens[:, 1:]
    logits, _ = jax.jit(Decoder(SMALL).apply)({"params": loud(SMALL)}, inputs, segments(inputs, 3))
    each = np.asarray(token_loss(logits, targets, 0.1))
    counts = np.where(inputs == 3, 0, weight[targets])
    assert first_loss(tokens, weight, smoothing=0.1) == pytest.approx((each * counts).sum() / counts.sum(), rel=1e-5)
    assert (inputs == 3).any() and first_loss(tokens, np.zeros_like(weight)) == 0


def test_losses_in_tiles_are_capped_as_the_model_is(monkeypatch):
    """What measurements read, of a model with capped logits."""
    config = small("gemma2")
    params, tokens = loud(config), random_rows(3, config.vocab_size, config.max_length)
    logits, taps = jax.jit(Decoder(config).apply)({"params": params}, tokens[:, :-1])
    assert config.architecture.logit_cap and np.abs(logits).max() < config.architecture.logit_cap
    monkeypatch.setattr(loss, "TILE_BYTES", 4 * 3 * 3 * config.vocab_size)
    monkeypatch.setattr(loss, "WHOLE_BYTES", 0)
    found = loss.token_losses(params, config, taps["final_BxTxD"], tokens[:, 1:], None)
    np.testing.assert_allclose(found, token_loss(logits, tokens[:, 1:]), atol=1e-5)

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from babel_jax.training import loss

B, T, D, V = 3, 8, 5, 11


def arrays():
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(B, T, D)), jnp.float32)
    head = jnp.asarray(rng.normal(size=(V, D)), jnp.float32)
    targets = jnp.asarray(rng.integers(0, V, (B, T)))
    weight = jnp.asarray(rng.uniform(0, 2, (B, T)) * (rng.random((B, T)) > 0.2), jnp.float32)
    return x, head, targets, weight


def plain(x, head, targets, weight, smoothing):
    each = loss.token_loss(jnp.einsum("btd,vd->btv", x, head), targets, smoothing)
    return (each * weight).sum(), each


@pytest.mark.parametrize("tiles", [1, 2, 8])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_tiles_change_nothing(tiles, smoothing):
    x, head, targets, weight = arrays()

    def tiled(x, head):
        return loss.tiled_loss(x, head, loss.Targets(targets, weight, smoothing), tiles, mesh=None)

    def whole(x, head):
        return plain(x, head, targets, weight, smoothing)

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

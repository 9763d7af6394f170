import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import python

from babel_jax.common.errors import UserError
from babel_jax.model import attention

B, T, N, H = 2, 256, 4, 32

PLAIN = attention.Mixing()
# Keys (of 4 queries) and mixing: what families differ in, alone and together.
VARIANTS = {
    "plain": (4, PLAIN),
    "two keys": (2, PLAIN),
    "one key": (1, PLAIN),
    "window": (4, attention.Mixing(window=70)),
    "cap": (4, attention.Mixing(score_cap=1.5)),
    "score width": (4, attention.Mixing(score_width=5.0)),
    "all": (2, attention.Mixing(score_width=5.0, score_cap=1.5, window=130)),
}


def inputs(keys=N, dtype=np.float32):
    rng = np.random.default_rng(0)
    q, k, v = (jnp.asarray(rng.normal(size=(B, T, heads, H)), dtype) for heads in (N, keys, keys))
    segment_BxT = jnp.asarray((np.arange(T) > np.array([[60], [200]])).astype(np.int32))  # two documents a row
    return q, k, v, segment_BxT


def with_gradients(attend, q, k, v, segment_BxT):
    weight = jnp.asarray(np.random.default_rng(1).normal(size=q.shape), jnp.float32)

    def total(q, k, v):
        mixed = attend(q, k, v, segment_BxT)
        return (mixed.astype(jnp.float32) * weight).sum(), mixed

    gradients, mixed = jax.jit(jax.grad(total, argnums=(0, 1, 2), has_aux=True))(q, k, v)
    return [np.asarray(x, np.float32) for x in (mixed, *gradients)]


def by_loops(q, k, v, segment_BxT, mixing=PLAIN):
    """The definition: position t mixes the values of positions s <= t of its document that its window holds."""
    q, k, v, segment = (np.asarray(x, np.float64) for x in (q, k, v, segment_BxT))
    mixed, shared = np.zeros(q.shape), q.shape[2] // k.shape[2]
    for b in range(B):
        for t in range(T):
            first = max(0, t + 1 - mixing.window) if mixing.window else 0
            seen = [s for s in range(first, t + 1) if segment[b, s] == segment[b, t]]
            for n in range(N):
                score = k[b, seen, n // shared] @ q[b, t, n] / np.sqrt(mixing.score_width or H)
                score = mixing.score_cap * np.tanh(score / mixing.score_cap) if mixing.score_cap else score
                weight = np.exp(score)
                mixed[b, t, n] = weight / weight.sum() @ v[b, seen, n // shared]
    return mixed


def reference(mixing):
    return lambda *x: attention.BACKENDS["reference"].attend(*x, mixing, None)


@pytest.mark.parametrize("keys, mixing", VARIANTS.values(), ids=VARIANTS)
def test_the_reference_is_the_definition(keys, mixing):
    arguments = inputs(keys)
    wanted = by_loops(*arguments, mixing)
    np.testing.assert_allclose(reference(mixing)(*arguments), wanted, atol=1e-5)
    assert mixing == PLAIN or np.abs(wanted - by_loops(*arguments)).max() > 0.1


def test_the_window_of_a_layer_may_be_data():
    arguments = inputs()

    @jax.jit
    def attend(window):
        return reference(attention.Mixing(window=window))(*arguments)

    for window in (0, 1, 70):
        np.testing.assert_allclose(attend(window), by_loops(*arguments, attention.Mixing(window=window)), atol=1e-5)


@pytest.mark.parametrize("keys, mixing", VARIANTS.values(), ids=VARIANTS)
def test_splash_is_the_reference(keys, mixing, monkeypatch):
    """The TPU kernel in interpret mode, forward and backward, documents included."""
    monkeypatch.setattr(attention, "INTERPRET", True)
    arguments = inputs(keys)
    splash = with_gradients(lambda *x: attention.splash(*x, mixing, mesh=None), *arguments)
    for one, other in zip(splash, with_gradients(reference(mixing), *arguments), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-4)


ON_A_MESH = """
import sys
import numpy as np
from babel_jax.model import attention, sharding
attention.INTERPRET = True
given = np.load(sys.argv[1])
mesh = sharding.make_mesh(data=1, fsdp=2, tensor=4)
print(mesh.size)
for keys in (1, 2, 4):
    q, k, v, segment = (given[f"{name}{keys}"] for name in "qkvs")
    mixed = attention.splash(q, k, v, segment, attention.Mixing(window=70), mesh)
    np.testing.assert_allclose(mixed, given[f"wanted{keys}"], atol=1e-5)
"""


@pytest.mark.processes
def test_queries_find_their_keys_on_devices_that_are_more_than_keys(tmp_path):
    """Splash on 2 x 4 devices: each has one of four queries, and one, two or four keys serve them."""
    arrays = {}
    for keys in (1, 2, 4):
        arguments = inputs(keys)
        arrays |= {f"{name}{keys}": value for name, value in zip("qkvs", arguments, strict=True)}
        arrays[f"wanted{keys}"] = reference(attention.Mixing(window=70))(*arguments)
    np.savez(tmp_path / "given.npz", **arrays)
    done = python("-c", ON_A_MESH, str(tmp_path / "given.npz"), devices=8)
    assert done.returncode == 0 and done.stdout.split() == ["8"], done.stderr[-2000:]


@pytest.mark.skipif(jax.default_backend() != "gpu", reason="cuDNN needs an NVIDIA GPU")
@pytest.mark.parametrize("name", ["plain", "two keys", "one key", "window", "score width"])
def test_cudnn_is_the_reference(name):
    keys, mixing = VARIANTS[name]
    arguments = inputs(keys, jnp.bfloat16)
    cudnn = with_gradients(lambda *x: attention.BACKENDS["cudnn"].attend(*x, mixing, None), *arguments)
    for one, other in zip(cudnn, with_gradients(reference(mixing), *arguments), strict=True):
        np.testing.assert_allclose(one, other, atol=0.05)


def test_auto_takes_what_the_machine_has():
    assert attention.resolve("auto", attention.Shapes("tpu", 128, 2048, "bfloat16")) == "splash"
    assert attention.resolve("auto", attention.Shapes("tpu", 128, 100, "bfloat16")) == "reference"
    assert attention.resolve("auto", attention.Shapes("gpu", 64, 100, "bfloat16")) == "cudnn"
    assert attention.resolve("auto", attention.Shapes("gpu", 64, 100, "float32")) == "reference"
    assert attention.resolve("auto", attention.Shapes("cpu", 64, 2048, "bfloat16")) == "reference"
    assert attention.resolve("reference", attention.Shapes("tpu", 64, 2048, "float32")) == "reference"
    tpu, gpu = (attention.Shapes(platform, 128, 2048, "bfloat16") for platform in ("tpu", "gpu"))
    for changes, wanted in (
        (dict(windows=(512,)), ("splash", "cudnn")),
        (dict(windows=(512, 0)), ("reference", "reference")),
        (dict(windows=(512, 512), capped=True), ("splash", "reference")),
        (dict(head_width=160), ("splash", "reference")),
    ):
        found = [attention.resolve("auto", dataclasses.replace(shapes, **changes)) for shapes in (tpu, gpu)]
        assert tuple(found) == wanted, changes


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("cudnn", "cpu", 64, 128, "bfloat16"), "needs an NVIDIA GPU and this is a cpu"),
        (("cudnn", "gpu", 64, 128, "float32"), "computes in bfloat16 and the model in float32"),
        (("cudnn", "gpu", 192, 128, "bfloat16"), "at most 128 wide, not 192"),
        (("splash", "gpu", 64, 128, "bfloat16"), "is a TPU kernel and this is a gpu"),
        (("splash", "tpu", 64, 100, "bfloat16"), "a multiple of 128 tokens, not 100"),
        (("cudnn", "gpu", 160, 128, "bfloat16"), "heads must be a multiple of 8 and at most 128 wide, not 160"),
        (("cudnn", "gpu", 64, 128, "bfloat16", (0,), True), "cannot cap scores"),
        (("cudnn", "gpu", 64, 128, "bfloat16", (0, 64)), "its window is fixed .* layers of this model have 2"),
        (("splash", "tpu", 64, 128, "bfloat16", (0, 64)), "its window is fixed .* layers of this model have 2"),
        (("splsh", "tpu", 64, 128, "bfloat16"), "unknown attention back end 'splsh'; did you mean 'splash'"),
    ],
)
def test_what_cannot_run_is_an_error(arguments, message):
    with pytest.raises(UserError, match=message):
        attention.resolve(arguments[0], attention.Shapes(*arguments[1:]))

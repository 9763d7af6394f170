import jax
import jax.numpy as jnp
import numpy as np
import pytest

from babel_jax.common.errors import UserError
from babel_jax.model import attention

B, T, N, H = 2, 256, 2, 64

PLAIN = attention.Mixing()


def inputs(dtype=np.float32):
    rng = np.random.default_rng(0)
    q, k, v = (jnp.asarray(rng.normal(size=(B, T, N, H)), dtype) for _ in range(3))
    segment_BxT = jnp.asarray((np.arange(T) > np.array([[60], [200]])).astype(np.int32))  # two documents a row
    return q, k, v, segment_BxT


def with_gradients(attend, q, k, v, segment_BxT):
    weight = jnp.asarray(np.random.default_rng(1).normal(size=q.shape), jnp.float32)

    def total(q, k, v):
        mixed = attend(q, k, v, segment_BxT)
        return (mixed.astype(jnp.float32) * weight).sum(), mixed

    gradients, mixed = jax.jit(jax.grad(total, argnums=(0, 1, 2), has_aux=True))(q, k, v)
    return [np.asarray(x, np.float32) for x in (mixed, *gradients)]


def by_loops(q, k, v, segment_BxT):
    """The definition: position t mixes the values of positions s <= t of its document."""
    q, k, v, segment = (np.asarray(x, np.float64) for x in (q, k, v, segment_BxT))
    mixed = np.zeros(q.shape)
    for b in range(B):
        for t in range(T):
            seen = [s for s in range(t + 1) if segment[b, s] == segment[b, t]]
            for n in range(N):
                weight = np.exp(k[b, seen, n] @ q[b, t, n] / np.sqrt(H))
                mixed[b, t, n] = weight / weight.sum() @ v[b, seen, n]
    return mixed


def test_the_reference_is_the_definition():
    q, k, v, segment = inputs()
    mixed = attention.BACKENDS["reference"].attend(q, k, v, segment, PLAIN, None)
    np.testing.assert_allclose(mixed, by_loops(q, k, v, segment), atol=1e-5)


def test_splash_is_the_reference():
    """The TPU kernel in interpret mode, forward and backward, documents included."""
    arguments = inputs()
    splash = with_gradients(lambda *x: attention.splash(*x, PLAIN, mesh=None, interpret=True), *arguments)
    reference = with_gradients(lambda *x: attention.BACKENDS["reference"].attend(*x, PLAIN, None), *arguments)
    for one, other in zip(splash, reference, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-4)


@pytest.mark.skipif(jax.default_backend() != "gpu", reason="cuDNN needs an NVIDIA GPU")
def test_cudnn_is_the_reference():
    arguments = inputs(jnp.bfloat16)
    cudnn = with_gradients(lambda *x: attention.BACKENDS["cudnn"].attend(*x, PLAIN, None), *arguments)
    reference = with_gradients(lambda *x: attention.BACKENDS["reference"].attend(*x, PLAIN, None), *arguments)
    for one, other in zip(cudnn, reference, strict=True):
        np.testing.assert_allclose(one, other, atol=0.05)


def test_auto_takes_what_the_machine_has():
    assert attention.resolve("auto", attention.Shapes("tpu", 128, 2048, "bfloat16")) == "splash"
    assert attention.resolve("auto", attention.Shapes("tpu", 128, 100, "bfloat16")) == "reference"
    assert attention.resolve("auto", attention.Shapes("gpu", 64, 100, "bfloat16")) == "cudnn"
    assert attention.resolve("auto", attention.Shapes("gpu", 64, 100, "float32")) == "reference"
    assert attention.resolve("auto", attention.Shapes("cpu", 64, 2048, "bfloat16")) == "reference"
    assert attention.resolve("reference", attention.Shapes("tpu", 64, 2048, "float32")) == "reference"


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("cudnn", "cpu", 64, 128, "bfloat16"), "needs an NVIDIA GPU and this is a cpu"),
        (("cudnn", "gpu", 64, 128, "float32"), "computes in bfloat16 and the model in float32"),
        (("cudnn", "gpu", 192, 128, "bfloat16"), "at most 128 wide, not 192"),
        (("splash", "gpu", 64, 128, "bfloat16"), "is a TPU kernel and this is a gpu"),
        (("splash", "tpu", 64, 100, "bfloat16"), "a multiple of 128 tokens, not 100"),
        (("splsh", "tpu", 64, 128, "bfloat16"), "unknown attention back end 'splsh'; did you mean 'splash'"),
    ],
)
def test_what_cannot_run_is_an_error(arguments, message):
    with pytest.raises(UserError, match=message):
        attention.resolve(arguments[0], attention.Shapes(*arguments[1:]))

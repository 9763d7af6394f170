import dataclasses
import math

import jax
import numpy as np
import pytest
from helpers import SMALL

from babel_jax.model.decoder import PRESETS, Decoder, DecoderConfig, init_params
from babel_jax.model.flops import attention_flops, flops_per_token, matmul_parameters


def test_the_papers_sizes():
    for preset, causal, full in (("1b3", 8.47e9, 9.07e9), ("6b7", 41.5e9, 43.1e9)):
        config = DecoderConfig(**PRESETS[preset], vocab_size=50304, max_length=2048)
        assert flops_per_token(config) == pytest.approx(causal, rel=2e-3)
        assert 6 * matmul_parameters(config) + attention_flops(config) == pytest.approx(full, rel=2e-3)


def products(jaxpr) -> int:
    """Operations of all matrix products of a program, those in loops as often as they run."""
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            shape = equation.invars[0].aval.shape
            total += 2 * math.prod(equation.outvars[0].aval.shape) * math.prod(shape[axis] for axis in contracted)
        inner = [getattr(value, "jaxpr", value) for value in equation.params.values()]
        total += equation.params.get("length", 1) * sum(products(body) for body in inner if hasattr(body, "eqns"))
    return total


@pytest.mark.parametrize("tied_head", [True, False])
def test_the_formula_counts_the_products_of_forward_and_backward(tied_head):
    config = dataclasses.replace(SMALL, tied_head=tied_head)
    params = jax.eval_shape(lambda: init_params(config, 0))
    tokens = np.zeros((3, config.max_length), np.int32)

    def loss(params):
        return Decoder(config).apply({"params": params}, tokens)[0].sum()

    found = products(jax.make_jaxpr(jax.grad(loss))(params).jaxpr)
    assert found == tokens.size * (6 * matmul_parameters(config) + attention_flops(config))
    assert flops_per_token(config) == 6 * matmul_parameters(config) + attention_flops(config) / 2

import dataclasses
import math

import jax
import numpy as np
import pytest
from helpers import SMALL
from helpers.decoders import SMALL_ONES

from babel_jax.model.architecture import Architecture, LayerKind
from babel_jax.model.decoder import PRESETS, Decoder, DecoderConfig, init_params
from babel_jax.model.flops import attention_flops, block_parameters, flops_per_token, matmul_parameters, tokens_seen
from babel_jax.model.sharding import path_name


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
@pytest.mark.parametrize("family", SMALL_ONES)
def test_the_formula_counts_the_products_of_forward_and_backward(family, tied_head):
    """The reference computes the pairs of tokens that a mask or a window hides, too."""
    config = dataclasses.replace(SMALL_ONES[family], tied_head=tied_head)
    params = jax.eval_shape(lambda: init_params(config, 0))
    tokens = np.zeros((3, config.max_length), np.int32)

    def loss(params):
        return Decoder(config).apply({"params": params}, tokens)[0].sum()

    found = products(jax.make_jaxpr(jax.grad(loss))(params).jaxpr)
    assert found == tokens.size * (6 * matmul_parameters(config) + attention_flops(config))
    leaves = jax.tree_util.tree_leaves_with_path(params["blocks"])
    assert block_parameters(config) == sum(leaf.size for path, leaf in leaves if path_name(path).endswith("kernel"))
    windowless = all(window == 0 for window in config.windows)
    assert (flops_per_token(config) == 6 * matmul_parameters(config) + attention_flops(config) / 2) == windowless


@pytest.mark.parametrize("window", [0, 1, 60, 600, 5000])
def test_a_token_sees_no_further_than_its_window(window):
    """Half a token more or less: the convention counts half of the token itself."""
    seen = np.mean([min(place + 1, window or 600) for place in range(600)])
    assert tokens_seen(600, window) == pytest.approx(seen, abs=0.5)
    assert tokens_seen(600, 0) == tokens_seen(600, 600) == 300


def test_layers_count_with_their_own_windows():
    kinds = (LayerKind(), LayerKind(window=4))
    mixed, full = (
        dataclasses.replace(SMALL, architecture=Architecture(kinds=kinds, kind_of_layer=of_layer))
        for of_layer in ((0, 1), (0, 0))
    )
    less = tokens_seen(SMALL.max_length, 0) - tokens_seen(SMALL.max_length, 4)
    assert flops_per_token(full) - flops_per_token(mixed) == 12 * SMALL.width * less

import dataclasses
import re

import jax.numpy as jnp
import numpy as np
import pytest
from helpers import torch_hooks
from helpers.architectures import FAMILIES, config_of, in_numpy, params_of
from helpers.changed import (
    ACTIVATIONS,
    CONFIG,
    KINDS,
    MEANS,
    NEURONS,
    PARAMS,
    PLAIN,
    SOURCE_OF,
    TARGET,
    TOKENS,
    hook,
    numpy_forward,
)
from helpers.family_oracle import of_tolerance
from helpers.torch_hooks import BLOCKS, pair

from babel_jax.common.errors import UserError
from babel_jax.probes import edits, forward
from babel_jax.probes import interventions as do
from babel_jax.probes.subject import Subject


@pytest.mark.parametrize("kind", KINDS)
def test_what_each_kind_does_is_what_numpy_does(kind):
    options, change = KINDS[kind]
    want = numpy_forward(PARAMS, TOKENS, hook(change))[0]
    assert np.abs(want - PLAIN).max() > 0.1
    np.testing.assert_allclose(
        do.run(Subject(PARAMS, CONFIG), TOKENS, edits.edit(kind, NEURONS, **options)), want, atol=1e-4
    )


def edited_weights(row, bias):
    """Parameters in which the set's rows of ffn_out are scaled by `row` and `bias` [L, F] of them is added to its bias."""
    kernel_LxFxD = np.asarray(PARAMS["blocks"]["ffn_out"]["kernel"])
    added_LxD = np.einsum("lf,lfd->ld", np.where(NEURONS, bias, 0), kernel_LxFxD)
    out = {
        "kernel": jnp.asarray(np.where(NEURONS[..., None], row, 1) * kernel_LxFxD, jnp.float32),
        "bias": jnp.asarray(PARAMS["blocks"]["ffn_out"]["bias"] + added_LxD, jnp.float32),
    }
    return PARAMS | {"blocks": PARAMS["blocks"] | {"ffn_out": out}}


@pytest.mark.parametrize(
    "kind, row, bias",
    [("zero", 0, 0), ("value", 0, -2.5), ("mean", 0, TARGET), ("scale", 3, 0), ("add", 1, 2 * TARGET)],
)
def test_what_each_kind_does_could_be_done_to_the_weights(kind, row, bias):
    got = do.run(Subject(PARAMS, CONFIG), TOKENS, edits.edit(kind, NEURONS, **KINDS[kind][0]))
    np.testing.assert_allclose(got, do.run(Subject(edited_weights(row, bias), CONFIG), TOKENS), atol=2e-6, rtol=2e-6)


def test_edits_hold_at_the_chosen_tokens_only():
    last_layer = NEURONS & np.array([[False], [True]])
    where = np.zeros(TOKENS.shape, bool)
    where[:, 3] = True
    everywhere = np.asarray(do.run(Subject(PARAMS, CONFIG), TOKENS, edits.edit("zero", last_layer)))
    got = np.asarray(do.run(Subject(PARAMS, CONFIG), TOKENS, edits.edit("zero", last_layer, where_BxT=where)))
    np.testing.assert_allclose(got[:, 3], everywhere[:, 3], atol=1e-5)
    elsewhere = np.arange(8) != 3
    np.testing.assert_allclose(got[:, elsewhere], PLAIN[:, elsewhere], atol=1e-4)


def test_resampling_takes_the_sources_own_activations():
    def swap(layer, a):
        return np.where(NEURONS[layer], ACTIVATIONS[layer][SOURCE_OF], a)

    got = do.run(Subject(PARAMS, CONFIG), TOKENS, edits.edit("resample", NEURONS, source_B=SOURCE_OF))
    np.testing.assert_allclose(got, numpy_forward(PARAMS, TOKENS, swap)[0], atol=1e-4)
    np.testing.assert_allclose(np.asarray(got)[[1, 2, 4]], PLAIN[[1, 2, 4]], atol=1e-4)
    assert np.abs(np.asarray(got)[[0, 3]] - PLAIN[[0, 3]]).max() > 0.1


def test_means_are_those_of_all_tokens():
    measured = forward.Pass(
        ["a", "b"],
        active_RxLxFxK=None,
        tokens_RxK=np.array([[1, 2], [3, 2]]),
        activation_sum_RxLxFxK=np.arange(24.0).reshape(2, 2, 3, 2),
        rows={},
        slots={},
    )
    got = edits.means(measured)
    assert got.shape == (2, 2, 3) and got[1, 0, 2] == (5 + 17) / 4 and got[0, 1, 0] == (6 + 18) / 4
    with pytest.raises(UserError, match="no token of b was measured"):
        edits.means(dataclasses.replace(measured, tokens_RxK=np.array([[1, 0]])))


def test_random_sets_are_matched_by_layer_and_lie_outside():
    drawn = edits.random_sets(NEURONS, 25, seed=3)
    assert drawn.shape == (25, 2, 24) and (drawn.sum(2) == NEURONS.sum(1)).all() and not (drawn & NEURONS).any()
    assert len({one.tobytes() for one in drawn}) > 20 and (drawn.any(0) == ~NEURONS).mean() > 0.9
    assert np.array_equal(drawn, edits.random_sets(NEURONS, 25, seed=3))
    assert not np.array_equal(drawn, edits.random_sets(NEURONS, 25, seed=4))
    with pytest.raises(UserError, match="at least 20"):
        edits.random_sets(NEURONS, 19)


def test_random_sets_of_most_of_a_layer_take_all_that_is_outside():
    most = np.zeros((1, 24), bool)
    most[0, :20] = True
    drawn = edits.random_sets(most)
    assert (drawn.sum(2) == 20).all() and drawn[:, 0, 20:].all() and len({one.tobytes() for one in drawn}) == 20


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: edits.edit("zeros", NEURONS), "unknown intervention 'zeros'; did you mean 'zero'"),
        (lambda: edits.edit("value", NEURONS), "'value' needs value"),
        (lambda: edits.edit("diffmean", NEURONS, mean_LxF=TARGET), "'diffmean' needs other_KxLxF"),
        (lambda: edits.edit("zero", NEURONS, value=1), "'zero' does not take value"),
        (lambda: edits.edit("zero", [(0, 3), (1, 5)]), "mask of true and false"),
        (lambda: edits.edit("mean", NEURONS, mean_LxF=MEANS[0, :1]), "different models"),
        (lambda: edits.neuron_set(CONFIG, [(2, 0)]), "neuron (2, 0) is not in this model of 2 layers"),
        (lambda: edits.neuron_set(CONFIG, [(0, -1)]), "neuron (0, -1)"),
        (lambda: edits.neuron_set(CONFIG, [(0, 1, 2)]), "list of (layer, index) pairs"),
    ],
)
def test_an_edit_that_cannot_be_is_one_line(call, message):
    with pytest.raises(UserError, match=re.escape(message)):
        call()


@pytest.mark.parametrize("family", FAMILIES)
def test_edits_change_the_value_of_a_neuron_in_every_kind_of_block(family):
    """What `ffn_out` reads: of a gated FFN the product, and not the gate."""
    config, params, tokens = config_of(family), params_of(family), TOKENS
    neurons = edits.neuron_set(config, [(0, 3), (0, 17), (1, 0), (1, 5)])
    plain, inside = in_numpy(config, params, tokens)
    mean_LxF = np.random.default_rng(7).normal(size=(2, 20))
    source_B = np.array([2, 1, 2, 4, 4])
    changes = {
        "zero": ({}, lambda layer, a: 0 * a),
        "value": ({"value": -2.5}, lambda layer, a: 0 * a - 2.5),
        "mean": ({"mean_LxF": mean_LxF}, lambda layer, a: 0 * a + mean_LxF[layer]),
        "scale": ({"factor": 3.0}, lambda layer, a: 3 * a),
        "add": ({"mean_LxF": mean_LxF, "factor": 2.0}, lambda layer, a: a + 2 * mean_LxF[layer]),
        "resample": ({"source_B": source_B}, lambda layer, a: inside["a"][layer][source_B]),
    }
    for kind, (options, change) in changes.items():

        def ffn(layer, a, change=change):
            return np.where(neurons[layer], change(layer, a), a)

        want, _ = in_numpy(config, params, tokens, ffn=ffn)
        assert np.abs(want - plain).max() > 1e-2
        got = do.run(Subject(params, config), tokens, edits.edit(kind, neurons, **options))
        np.testing.assert_allclose(got, want, atol=1e-4, err_msg=kind)


@pytest.mark.oracle
@pytest.mark.parametrize("name", BLOCKS)
def test_edits_are_what_hooks_of_torch_do(name):
    both = pair(name)
    L, F = both.config.layers, both.config.ffn_width
    rng, source_B = np.random.default_rng(11), np.array([1, 0, 3, 3])
    neurons, mean_LxF = rng.random((L, F)) < 0.2, rng.normal(size=(L, F)).astype(np.float32)
    plain, _ = both.run(torch_hooks.TOKENS)
    changes = {
        "zero": ({}, lambda layer, a: 0 * a),
        "mean": ({"mean_LxF": mean_LxF}, lambda layer, a: 0 * a + a.new_tensor(mean_LxF[layer])),
        "add": ({"mean_LxF": mean_LxF}, lambda layer, a: a + a.new_tensor(mean_LxF[layer])),
        "resample": ({"source_B": source_B}, lambda layer, a: a[source_B]),
    }
    for kind, (options, change) in changes.items():

        def hook(layer, a, change=change):
            return a.where(a.new_tensor(~neurons[layer]).bool(), change(layer, a))

        want = both.run(torch_hooks.TOKENS, hook)[0].detach().numpy()
        assert np.abs(want - plain.detach().numpy()).max() > 0.1
        got = do.run(Subject(both.params, both.config), torch_hooks.TOKENS, edits.edit(kind, neurons, **options))
        assert of_tolerance(np.asarray(got), want) <= 2, kind

import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import python, torch_hooks
from helpers.architectures import FAMILIES, config_of, in_numpy, log_softmax, params_of
from helpers.scored import (
    CONFIG,
    END,
    HELDOUT,
    PARAMS,
    RNG,
    all_scores,
    neurons_in_order,
    no_change,
    written_out,
)
from helpers.torch_hooks import BLOCKS, pair

from babel_jax.common.errors import UserError
from babel_jax.model.decoder import Decoder
from babel_jax.probes import attribution
from babel_jax.probes.subject import Subject
from babel_jax.training.loss import segments


def test_the_oracle_is_the_model():
    tokens_BxT = HELDOUT["a"]["tokens"][:, :-1]
    segment_BxT = np.asarray(segments(tokens_BxT, END))
    want, _ = Decoder(CONFIG).apply({"params": PARAMS}, tokens_BxT, segment_BxT)
    got, _ = written_out(PARAMS, tokens_BxT, segment_BxT, no_change(tokens_BxT))
    np.testing.assert_allclose(got, want, atol=1e-4)


def naive_gradient(rows):
    """Activations, and the gradient of the sum of counted losses for each of them, [L, B, T, F]; and who counts."""
    tokens_BxT, targets_BxT = rows["tokens"][:, :-1], rows["tokens"][:, 1:]
    segment_BxT, inside_BxT = np.asarray(segments(tokens_BxT, END)), tokens_BxT != END

    def loss(change_LxBxTxF):
        logits, activations = written_out(PARAMS, tokens_BxT, segment_BxT, change_LxBxTxF)
        log_prob_BxT = jnp.take_along_axis(jax.nn.log_softmax(logits), targets_BxT[..., None], axis=-1)[..., 0]
        return -(log_prob_BxT * rows["loss"] * inside_BxT).sum(), activations

    gradient, activations = jax.jit(jax.grad(loss, has_aux=True))(no_change(tokens_BxT))
    return np.asarray(activations), np.asarray(gradient), inside_BxT


@pytest.fixture(scope="module")
def naive():
    return {name: naive_gradient(rows) for name, rows in HELDOUT.items()}


@pytest.mark.parametrize("batch_size", [1, 4])
def test_gradient_scores_are_those_of_all_gradients_written_out(naive, batch_size):
    got = attribution.gradient_scores(Subject(PARAMS, CONFIG, END, batch_size), HELDOUT, ["b", "a"])
    for index, name in enumerate(["b", "a"]):
        a, g, inside_BxT = naive[name]
        product = (a * g)[:, inside_BxT]
        np.testing.assert_allclose(got[..., index], np.abs(product).mean(1), rtol=1e-3, atol=1e-6)
        assert np.abs(product).mean() > 1e-3


def test_the_order_of_languages_and_neurons_only_permutes():
    def scores(params, languages, heldout=HELDOUT):
        return attribution.gradient_scores(Subject(params, CONFIG, END, 4), heldout, languages)

    want = scores(PARAMS, ["a", "b"])
    swapped = scores(PARAMS, ["b", "a"])
    order = RNG.permutation(CONFIG.ffn_width)
    permuted = scores(neurons_in_order(order), ["a", "b"])
    rows = {name: {key: values[::-1] for key, values in held.items()} for name, held in HELDOUT.items()}
    backwards = scores(PARAMS, ["a", "b"], rows)
    np.testing.assert_allclose(swapped[..., ::-1], want, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(permuted, want[:, order], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(backwards, want, rtol=1e-4, atol=1e-6)


def test_targets_that_do_not_count_change_nothing():
    """What follows the last counted target has no gradient, and still is a token that the mean is over."""
    cut = {"tokens": HELDOUT["a"]["tokens"].copy(), "loss": HELDOUT["a"]["loss"].copy()}
    cut["loss"][:, 4:] = 0
    other = cut | {"tokens": cut["tokens"].copy()}
    other["tokens"][:, 5:] = np.where(cut["tokens"][:, 5:] == END, END, 9)
    got = [attribution.gradient_scores(Subject(PARAMS, CONFIG, END, 5), {"a": rows}, ["a"]) for rows in (cut, other)]
    assert np.abs(got[0]).max() > 1e-3
    np.testing.assert_allclose(*got, rtol=1e-5, atol=1e-7)


def test_a_language_without_rows_is_refused():
    with pytest.raises(UserError, match="no held-out rows of \\['c'\\]"):
        attribution.gradient_scores(Subject(PARAMS, CONFIG, END, 4), HELDOUT, ["a", "c"])


SHARDED = """
import json
import jax, numpy as np
from helpers import scored as t
from babel_jax.model import sharding
mesh = sharding.make_mesh(data=2, fsdp=2, tensor=2)
params = jax.device_put(t.PARAMS, sharding.shardings(mesh, t.PARAMS))
print(json.dumps({name: np.asarray(values).tolist() for name, values in t.all_scores(params).items()}))
"""


@pytest.mark.processes
def test_eight_devices_score_as_one():
    done = python("-c", SHARDED, devices=8)
    assert not done.returncode, done.stderr[-2000:]
    got, want = json.loads(done.stdout.splitlines()[-1]), all_scores(PARAMS)
    for name in want:
        np.testing.assert_allclose(got[name], want[name], rtol=1e-3, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("family", FAMILIES)
def test_gradient_scores_are_finite_differences_in_every_kind_of_block(family):
    """Of the neuron's value: of a gated FFN the product, through the norm of what the FFN writes where there is one."""
    config, params, rows = config_of(family), params_of(family), {name: held[:2] for name, held in HELDOUT["a"].items()}
    inputs, targets = rows["tokens"][:, :-1], rows["tokens"][:, 1:]
    segment, inside = np.asarray(segments(inputs, END)), inputs != END

    def loss(ffn):
        log_prob = log_softmax(in_numpy(config, params, inputs, segment, ffn)[0])
        return -(np.take_along_axis(log_prob, targets[..., None], -1)[..., 0] * rows["loss"] * inside).sum(1)

    a = in_numpy(config, params, inputs, segment)[1]["a"]
    gradient, chosen = np.zeros_like(a), (0, 7, 13)
    for layer, t, j in itertools.product(range(2), range(8), chosen):
        at = {}
        for step in (-1e-5, 1e-5):

            def ffn(here, a, layer=layer, t=t, j=j, step=step):
                a = a.copy()
                a[:, t, j] += step * (here == layer)
                return a

            at[step] = loss(ffn)
        gradient[layer, :, t, j] = (at[1e-5] - at[-1e-5]) / 2e-5
    want_Lxj = np.abs(a * gradient)[:, inside].mean(1)[:, chosen]
    got = attribution.gradient_scores(Subject(params, config, END, 2), {"a": rows}, ["a"])[..., 0]
    assert want_Lxj.max() > 1e-2
    np.testing.assert_allclose(got[:, chosen], want_Lxj, rtol=1e-3, atol=1e-6)


@pytest.mark.oracle
@pytest.mark.parametrize("name", BLOCKS)
def test_gradient_scores_are_those_of_torchs_autograd(name):
    both = pair(name)
    tokens = torch_hooks.TOKENS
    rows = {"tokens": tokens, "loss": np.random.default_rng(3).random(tokens[:, 1:].shape).astype(np.float32)}
    logits, values = both.run(tokens[:, :-1])
    wanted = logits.log_softmax(-1).gather(-1, logits.new_tensor(tokens[:, 1:, None]).long())[..., 0]
    (-wanted * logits.new_tensor(rows["loss"])).sum().backward()
    want_LxF = np.stack([(a * a.grad).abs().mean((0, 1)).detach().numpy() for a in values])
    got = attribution.gradient_scores(Subject(both.params, both.config, -1, 2), {"a": rows}, ["a"])[..., 0]
    assert want_LxF.max() > 1e-2
    np.testing.assert_allclose(got, want_LxF, rtol=2e-3, atol=2e-5)

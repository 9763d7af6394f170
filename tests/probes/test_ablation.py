import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import loud
from helpers.architectures import FAMILIES, config_of, in_numpy, log_softmax, params_of
from helpers.scored import (
    CONFIG,
    END,
    HELDOUT,
    PARAMS,
    RNG,
    SLOTS,
    neurons_in_order,
    no_change,
    written_out,
)

from babel_jax.common.errors import UserError
from babel_jax.model.decoder import Decoder
from babel_jax.probes import ablation, attribution
from babel_jax.probes.prompts import identifier_set
from babel_jax.probes.subject import Subject


@jax.jit
def all_logits(params, tokens_BxT):
    return Decoder(CONFIG).apply({"params": params}, tokens_BxT)[0]


def log_probs(params, slots, ids="new_ids"):
    """Log-probability of each slot's set of ids, one row at a time from all logits."""
    prob = np.asarray(jax.nn.softmax(all_logits(params, slots["tokens"])), np.float64)
    return np.array(
        [
            np.log(sum(prob[row, position, i] for i in slots[ids][row] if i >= 0))
            for row, position in enumerate(slots["position"])
        ]
    )


def without(layer, neuron):
    kernel = PARAMS["blocks"]["ffn_out"]["kernel"].at[layer, neuron].set(0)
    return PARAMS | {"blocks": PARAMS["blocks"] | {"ffn_out": PARAMS["blocks"]["ffn_out"] | {"kernel": kernel}}}


@pytest.fixture(scope="module")
def change_LxFxN():
    """Change of each slot's log-probability when a row of the FFN's second matrix is set to zero by hand."""
    whole_N = log_probs(PARAMS, SLOTS)
    return np.array([[log_probs(without(layer, j), SLOTS) - whole_N for j in range(20)] for layer in range(2)])


def causal(slots=SLOTS, params=PARAMS, shortlist=256, random=20, batch_size=4):
    return ablation.causal_scores(Subject(params, CONFIG, batch_size=batch_size), slots, shortlist, random)


@pytest.mark.parametrize("batch_size", [4, 16])
def test_causal_scores_are_those_of_rows_set_to_zero_by_hand(change_LxFxN, batch_size):
    got = causal(batch_size=batch_size)
    change_LxF = change_LxFxN.mean(2)
    assert np.abs(change_LxF).max() > 1e-2
    np.testing.assert_allclose(got.random_mean_L, change_LxF.mean(1), atol=1e-5)  # all 20 neurons were drawn
    np.testing.assert_allclose(got.score_LxF, change_LxF - change_LxF.mean(1, keepdims=True), atol=2e-5)
    one = causal({name: values[2:3] for name, values in SLOTS.items()}, batch_size=batch_size)
    np.testing.assert_allclose(one.score_LxF + one.random_mean_L[:, None], change_LxFxN[..., 2], atol=2e-5)


def test_attribution_is_the_first_order_of_the_change(change_LxFxN):
    tokens_BxT = SLOTS["tokens"]

    def total(change_LxBxTxF):
        logits, activations = written_out(PARAMS, tokens_BxT, np.zeros(tokens_BxT.shape, int), change_LxBxTxF)
        log_prob_BxV = jax.nn.log_softmax(logits)[np.arange(6), SLOTS["position"]]
        chosen_BxM = jnp.take_along_axis(log_prob_BxV, np.maximum(SLOTS["new_ids"], 0), axis=1)
        return jax.nn.logsumexp(jnp.where(SLOTS["new_ids"] >= 0, chosen_BxM, -jnp.inf), axis=1).sum(), activations

    gradient, activations = jax.jit(jax.grad(total, has_aux=True))(no_change(tokens_BxT))
    want_LxF = -np.asarray(activations * gradient).sum((1, 2)) / 6
    got_LxF = causal(shortlist=0, random=2).attribution_LxF
    np.testing.assert_allclose(got_LxF, want_LxF, rtol=1e-3, atol=1e-6)
    rank, exact_rank = (np.argsort(np.argsort(x, axis=None)) for x in (got_LxF, change_LxFxN.mean(2)))
    assert np.corrcoef(rank, exact_rank)[0, 1] > 0.8


def test_a_shortlist_holds_the_strongest_and_its_scores_are_those_of_all(change_LxFxN):
    everything, few = causal(), causal(shortlist=5, random=7)
    listed_LxF = np.isfinite(few.score_LxF)
    strongest = np.sort(np.abs(few.attribution_LxF), axis=None)[-5]
    assert np.array_equal(listed_LxF, np.abs(few.attribution_LxF) >= strongest) and listed_LxF.sum() == 5
    np.testing.assert_allclose(few.attribution_LxF, everything.attribution_LxF, atol=1e-6)
    change_LxF = few.score_LxF + few.random_mean_L[:, None]
    np.testing.assert_allclose(change_LxF[listed_LxF], change_LxFxN.mean(2)[listed_LxF], atol=2e-5)
    again = causal(shortlist=5, random=7)
    assert np.array_equal(few.random_mean_L, again.random_mean_L)


def test_padding_order_and_the_form_of_ids_change_nothing():
    want = causal()
    padded = SLOTS["tokens"].copy()
    padded[np.arange(8) > SLOTS["position"][:, None]] = 0
    order = RNG.permutation(6)
    variants = {
        "padding": SLOTS | {"tokens": padded},
        "order": {name: values[order] for name, values in SLOTS.items()},
        "ids": SLOTS | {"new_ids": SLOTS["new_ids"][:, ::-1]},
    }
    for name, slots in variants.items():
        got = causal(slots)
        for key in ("score_LxF", "attribution_LxF", "random_mean_L"):
            np.testing.assert_allclose(getattr(got, key), getattr(want, key), atol=1e-5, err_msg=f"{name} {key}")
    neurons = RNG.permutation(20)
    got = causal(params=neurons_in_order(neurons))
    np.testing.assert_allclose(got.score_LxF, want.score_LxF[:, neurons], atol=1e-5)


def test_single_ids_are_sets_of_one():
    single = {"new_id": np.array([4, 5]), "primary_id": np.array([6, 7])}
    assert identifier_set(single, "new").tolist() == [[4], [5]]
    assert identifier_set(single | {"primary_ids": np.array([[8, -1]])}, "primary").tolist() == [[8, -1]]


def test_one_executable_for_all_checkpoints_and_shortlists():
    ablation._causal_passes.cache_clear()
    attribution._gradient_pass.cache_clear()
    for seed in range(2):
        params = loud(CONFIG, seed, 0.25)
        causal(params=params, shortlist=3 + seed)
        causal(params=jax.device_get(params), random=5)
        attribution.gradient_scores(Subject(params, CONFIG, END, 4), HELDOUT, ["a", "b"])
    everywhere = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    assert [step._cache_size() for step in ablation._causal_passes(CONFIG, -1, everywhere)] == [1, 1]
    assert attribution._gradient_pass(CONFIG, END, everywhere)._cache_size() == 1


def test_no_array_of_all_activations_is_made():
    """Removing a neuron makes logits at the slots only, and one layer's activations at a time."""
    everywhere = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    _, ablate = ablation._causal_passes(CONFIG, -1, everywhere)
    batch = {
        "tokens": SLOTS["tokens"],
        "positions": SLOTS["position"].astype(np.int32)[:, None],
        "ids": SLOTS["new_ids"].astype(np.int32),
        "weight": np.ones(6, np.float32),
    }
    text = ablate.lower(PARAMS, batch, np.zeros((ablation.REMOVED_AT_ONCE, 2), np.int32)).compile().as_text()
    assert "f32[6,24]" in text and "f32[6,8,24]" not in text  # logits at the slots, and nowhere else
    assert "f32[32,6,8,20]" not in text and "f32[2,6,8,20]" not in text


def test_slots_that_cannot_be_scored_are_refused():
    with pytest.raises(UserError, match="no slots to remove neurons at"):
        causal({name: values[:0] for name, values in SLOTS.items()})
    with pytest.raises(UserError, match="no identifier in `new_ids`"):
        causal(SLOTS | {"new_ids": np.where(np.arange(6)[:, None] == 2, -1, SLOTS["new_ids"])})


@pytest.mark.parametrize("family", FAMILIES)
def test_causal_scores_of_every_kind_of_block(family):
    config, params = config_of(family), params_of(family)
    slots = {name: np.minimum(values, 22) for name, values in SLOTS.items()}
    at = (np.arange(6), slots["position"])

    def log_prob(without=None):
        def ffn(layer, a):
            a = a.copy()
            if without is not None and layer == without[0]:
                a[..., without[1]] = 0
            return a

        found = log_softmax(in_numpy(config, params, slots["tokens"], ffn=ffn)[0])[at]
        return np.mean(
            [np.logaddexp.reduce(row[ids[ids >= 0]]) for row, ids in zip(found, slots["new_ids"], strict=True)]
        )

    whole = log_prob()
    want_LxF = np.array([[log_prob((layer, j)) - whole for j in range(20)] for layer in range(2)])
    got = ablation.causal_scores(Subject(params, config, batch_size=6), slots, shortlist=256, random=20)
    assert np.abs(want_LxF).max() > 1e-3
    np.testing.assert_allclose(got.score_LxF, want_LxF - want_LxF.mean(1, keepdims=True), atol=1e-5)

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import loud, python

from babel_jax.common.errors import UserError
from babel_jax.model.decoder import Decoder, DecoderConfig
from babel_jax.probes import alignment, attribution
from babel_jax.probes.prompts import identifier_set
from babel_jax.probes.subject import Subject
from babel_jax.training.loss import segments

CONFIG = DecoderConfig(vocab_size=24, width=16, layers=2, heads=2, ffn_width=20, max_length=8, tied_head=False)
END = 3
PARAMS = loud(CONFIG, scale=0.25)
RNG = np.random.default_rng(0)


def make_heldout(seed, n):
    rng = np.random.default_rng(seed)
    return {
        "tokens": rng.integers(0, 23, (n, 9)).astype(np.int32),
        "loss": (rng.random((n, 8)) < 0.7).astype(np.float32),
    }


HELDOUT = {"a": make_heldout(1, 5), "b": make_heldout(2, 7)}


def written_out(params, tokens_BxT, segment_BxT, change_LxBxTxF):
    """GPT-2 written out without Flax, scan or taps: logits and activations, with `change` added to the activations."""

    def normed(x, scale, bias):
        x = x - x.mean(-1, keepdims=True)
        return x / jnp.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * scale + bias

    T = tokens_BxT.shape[1]
    h = params["embed_table"][tokens_BxT] + params["embed_position"][:T]
    seen_BxTxT = np.tril(np.ones((T, T), bool)) & (segment_BxT[:, :, None] == segment_BxT[:, None, :])
    activations = []
    for layer in range(CONFIG.layers):
        p = jax.tree.map(lambda leaf, layer=layer: leaf[layer], params["blocks"])

        def dense(x, name, p=p):
            return x @ p[name]["kernel"] + p[name]["bias"]

        q, k, v = jnp.split(dense(normed(h, **p["ln_1"]), "qkv"), 3, axis=-1)
        heads = []
        for head in jnp.split(jnp.arange(CONFIG.width), CONFIG.heads):
            weight = jnp.einsum("btd,bsd->bts", q[..., head], k[..., head]) / np.sqrt(len(head))
            weight = jax.nn.softmax(jnp.where(seen_BxTxT, weight, -1e30), axis=-1)
            heads.append(jnp.einsum("bts,bsd->btd", weight, v[..., head]))
        h = h + dense(jnp.concatenate(heads, axis=-1), "attention_out")
        z = dense(normed(h, **p["ln_2"]), "ffn_in")
        a = 0.5 * z * (1 + jnp.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3)))
        activations.append(a)
        h = h + dense(a + change_LxBxTxF[layer], "ffn_out")
    return normed(h, params["ln_f_scale"], params["ln_f_bias"]) @ params["head"].T, jnp.stack(activations)


def no_change(tokens_BxT):
    return jnp.zeros((CONFIG.layers, *tokens_BxT.shape, CONFIG.ffn_width))


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
        assert got.tokens_K[index] == inside_BxT.sum() == product.shape[1]
        np.testing.assert_allclose(got.absolute_LxFxK[..., index], np.abs(product).mean(1), rtol=1e-3, atol=1e-6)
        np.testing.assert_allclose(got.signed_LxFxK[..., index], product.mean(1), rtol=1e-3, atol=1e-6)
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
    for name in ("absolute_LxFxK", "signed_LxFxK"):
        np.testing.assert_allclose(getattr(swapped, name)[..., ::-1], getattr(want, name), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(getattr(permuted, name), getattr(want, name)[:, order], rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(getattr(backwards, name), getattr(want, name), rtol=1e-4, atol=1e-6)


def neurons_in_order(order):
    blocks = PARAMS["blocks"]
    ffn_in = {"kernel": blocks["ffn_in"]["kernel"][:, :, order], "bias": blocks["ffn_in"]["bias"][:, order]}
    ffn_out = blocks["ffn_out"] | {"kernel": blocks["ffn_out"]["kernel"][:, order]}
    return PARAMS | {"blocks": blocks | {"ffn_in": ffn_in, "ffn_out": ffn_out}}


def test_targets_that_do_not_count_say_nothing():
    """What stands behind the last counted target has no gradient, and still is a token that the mean is over."""
    cut = {"tokens": HELDOUT["a"]["tokens"].copy(), "loss": HELDOUT["a"]["loss"].copy()}
    cut["loss"][:, 4:] = 0
    other = cut | {"tokens": cut["tokens"].copy()}
    other["tokens"][:, 5:] = np.where(cut["tokens"][:, 5:] == END, END, 9)
    got = [
        attribution.gradient_scores(Subject(PARAMS, CONFIG, END, 5), {"a": rows}, ["a"]).absolute_LxFxK
        for rows in (cut, other)
    ]
    assert np.abs(got[0]).max() > 1e-3
    np.testing.assert_allclose(*got, rtol=1e-5, atol=1e-7)


def test_a_language_without_rows_is_refused():
    with pytest.raises(UserError, match="no held-out rows of \\['c'\\]"):
        attribution.gradient_scores(Subject(PARAMS, CONFIG, END, 4), HELDOUT, ["a", "c"])


def make_slots(seed, n):
    rng = np.random.default_rng(seed)
    ids = {f"{name}_ids": rng.permuted(np.tile(np.arange(23), (n, 1)), axis=1)[:, :3] for name in ("new", "primary")}
    ids["new_ids"][::2, 1:] = -1  # sets of one and sets of three
    return {"tokens": rng.integers(4, 23, (n, 8)).astype(np.int32), "position": rng.integers(0, 8, n)} | ids


SLOTS = make_slots(5, 6)


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


def causal(slots=SLOTS, params=PARAMS, shortlist=256, random=20, batch_size=4, **options):
    return attribution.causal_scores(
        Subject(params, CONFIG, batch_size=batch_size), slots, shortlist, random, **options
    )


@pytest.mark.parametrize("batch_size", [4, 16])
def test_causal_scores_are_those_of_rows_set_to_zero_by_hand(change_LxFxN, batch_size):
    got = causal(batch_size=batch_size)
    assert got.neuron_Sx2.tolist() == [[layer, j] for layer in range(2) for j in range(20)]
    np.testing.assert_allclose(got.log_prob_N, log_probs(PARAMS, SLOTS), atol=1e-5)
    np.testing.assert_allclose(got.effect_SxN, change_LxFxN.reshape(40, -1), atol=2e-5)
    change_LxF = change_LxFxN.mean(2)
    assert np.abs(change_LxF).max() > 1e-2
    mean_Lx1, deviation_Lx1 = change_LxF.mean(1, keepdims=True), change_LxF.std(1, keepdims=True, ddof=1)
    np.testing.assert_allclose(got.random_mean_L, mean_Lx1[:, 0], atol=1e-5)  # all 20 neurons were drawn
    np.testing.assert_allclose(got.score_LxF, change_LxF - mean_Lx1, atol=2e-5)
    np.testing.assert_allclose(got.z_LxF, (change_LxF - mean_Lx1) / deviation_Lx1, rtol=1e-3, atol=1e-3)


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
    per_layer = np.bincount(few.neuron_Sx2[:, 0])
    assert (per_layer >= 7).all() and len(few.neuron_Sx2) <= 2 * 7 + 5
    again, other = causal(shortlist=5, random=7), causal(shortlist=5, random=7, seed=1)
    assert np.array_equal(few.random_mean_L, again.random_mean_L)
    assert not np.allclose(few.random_mean_L, other.random_mean_L)


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


def test_answers_of_either_language_and_single_ids():
    primary = causal(answer="primary")
    np.testing.assert_allclose(primary.log_prob_N, log_probs(PARAMS, SLOTS, "primary_ids"), atol=1e-5)
    single = {"new_id": np.array([4, 5]), "primary_id": np.array([6, 7])}
    assert identifier_set(single, "new").tolist() == [[4], [5]]
    assert identifier_set(single | {"primary_ids": np.array([[8, -1]])}, "primary").tolist() == [[8, -1]]


def test_one_executable_for_all_checkpoints_and_shortlists():
    attribution._causal_passes.cache_clear()
    attribution._gradient_pass.cache_clear()
    for seed in range(2):
        params = loud(CONFIG, seed, 0.25)
        causal(params=params, shortlist=3 + seed)
        causal(params=jax.device_get(params), random=5)
        attribution.gradient_scores(Subject(params, CONFIG, END, 4), HELDOUT, ["a", "b"])
    everywhere = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    assert [step._cache_size() for step in attribution._causal_passes(CONFIG, -1, everywhere)] == [1, 1]
    assert attribution._gradient_pass(CONFIG, END, everywhere)._cache_size() == 1


def test_no_array_of_all_activations_is_made():
    """Removing a neuron makes logits at the slots only, and one layer's activations at a time."""
    everywhere = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    _, ablate = attribution._causal_passes(CONFIG, -1, everywhere)
    batch = {
        "tokens": SLOTS["tokens"],
        "positions": SLOTS["position"].astype(np.int32)[:, None],
        "ids": SLOTS["new_ids"].astype(np.int32),
        "weight": np.ones(6, np.float32),
    }
    text = ablate.lower(PARAMS, batch, np.zeros((attribution.ABLATIONS, 2), np.int32)).compile().as_text()
    assert "f32[6,24]" in text and "f32[6,8,24]" not in text  # logits at the slots, and nowhere else
    assert "f32[32,6,8,20]" not in text and "f32[2,6,8,20]" not in text


def test_slots_that_cannot_be_scored_are_refused():
    with pytest.raises(UserError, match="did you mean 'primary'"):
        causal(answer="primar")
    with pytest.raises(UserError, match="take 2 or more"):
        causal(random=1)
    with pytest.raises(UserError, match="no slots to remove neurons at"):
        causal({name: values[:0] for name, values in SLOTS.items()})
    with pytest.raises(UserError, match="no identifier in `new_ids`"):
        causal(SLOTS | {"new_ids": np.where(np.arange(6)[:, None] == 2, -1, SLOTS["new_ids"])})


SHARDED = """
import json
import jax, numpy as np
import test_attribution as t
from babel_jax.model import sharding
mesh = sharding.make_mesh(data=2, fsdp=2, tensor=2)
params = jax.device_put(t.PARAMS, sharding.shardings(mesh, t.PARAMS))
print(json.dumps({name: np.asarray(values).tolist() for name, values in t.all_scores(params).items()}))
"""


def all_scores(params):
    parallel = make_slots(6, 6)
    got = vars(attribution.gradient_scores(Subject(params, CONFIG, END, 4), HELDOUT, ["a", "b"]))
    got |= vars(attribution.causal_scores(Subject(params, CONFIG, batch_size=4), SLOTS))
    return got | {
        "transfer": alignment.transfer_scores(Subject(params, CONFIG, batch_size=4), SLOTS, parallel, "centroid_type1")
    }


def test_eight_devices_score_as_one():
    done = python("-c", SHARDED, devices=8)
    assert not done.returncode, done.stderr[-2000:]
    got, want = json.loads(done.stdout.splitlines()[-1]), all_scores(PARAMS)
    assert got["tokens_K"] == want["tokens_K"].tolist() and got["neuron_Sx2"] == want["neuron_Sx2"].tolist()
    for name in set(want) - {"z_LxF"}:
        np.testing.assert_allclose(got[name], want[name], rtol=1e-3, atol=1e-4, err_msg=name)

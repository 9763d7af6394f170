import dataclasses
import json
import re
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import by_path, loud, python, same
from test_forward import PLANTED, PLANTED_CONFIG, planted_params

from babel_jax.common import measurements, statistics
from babel_jax.common.errors import UserError
from babel_jax.common.material import Problems
from babel_jax.measuring import programs
from babel_jax.measuring.generate import generate, jitted_generation
from babel_jax.model.decoder import DecoderConfig
from babel_jax.probes import causes, forward
from babel_jax.probes import interventions as do
from babel_jax.probes.subject import Subject
from babel_jax.training import loss as losses

CONFIG = DecoderConfig(vocab_size=23, width=16, layers=2, heads=2, ffn_width=24, max_length=8, tied_head=False)
PARAMS = loud(CONFIG)
RNG = np.random.default_rng(0)
TOKENS = RNG.integers(0, 23, (5, 8)).astype(np.int32)
NEURONS = do.neuron_set(CONFIG, [(0, 3), (0, 17), (1, 0), (1, 5), (1, 23)])
MEANS = RNG.normal(size=(3, 2, 24))  # of three languages
ONE_DEVICE = jax.sharding.SingleDeviceSharding(jax.devices()[0])


def numpy_forward(params, tokens_BxT, ffn=lambda layer, a: a, residual=lambda layer, h: h):
    """GPT-2 in NumPy (float64) with a hook on the FFN's activations and one on what a block hands on: (logits, a, h)."""
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)

    def norm(x, scale, bias):
        return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * scale + bias

    B, T = tokens_BxT.shape
    h = params["embed_table"][tokens_BxT] + params["embed_position"][:T]
    all_a, all_h = [], []
    for layer in range(CONFIG.layers):
        block = jax.tree.map(lambda leaf: leaf[layer], params["blocks"])  # noqa: B023
        qkv = norm(h, **block["ln_1"]) @ block["qkv"]["kernel"] + block["qkv"]["bias"]
        q, k, v = (part.reshape(B, T, CONFIG.heads, -1) for part in np.split(qkv, 3, axis=-1))
        score = np.einsum("btnh,bsnh->bnts", q, k) / np.sqrt(q.shape[-1])
        score = np.where(np.tril(np.ones((T, T), bool)), score, -np.inf)
        weight = np.exp(score - score.max(-1, keepdims=True))
        mixed = np.einsum("bnts,bsnh->btnh", weight / weight.sum(-1, keepdims=True), v).reshape(B, T, -1)
        h = h + mixed @ block["attention_out"]["kernel"] + block["attention_out"]["bias"]
        z = norm(h, **block["ln_2"]) @ block["ffn_in"]["kernel"] + block["ffn_in"]["bias"]
        a = 0.5 * z * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3)))
        a = ffn(layer, a)
        h = residual(layer, h + a @ block["ffn_out"]["kernel"] + block["ffn_out"]["bias"])
        all_a.append(a)
        all_h.append(h)
    return norm(h, params["ln_f_scale"], params["ln_f_bias"]) @ params["head"].T, all_a, all_h


PLAIN, ACTIVATIONS, STATES = numpy_forward(PARAMS, TOKENS)
TARGET, OTHERS = MEANS[0], MEANS[1:]
KINDS = {  # kind -> (what `edit` is given, what happens to a [B, T, n] of the neurons, with their places in [L, F])
    "zero": ({}, lambda a, at: a * 0),
    "value": ({"value": -2.5}, lambda a, at: a * 0 - 2.5),
    "mean": ({"mean_LxF": TARGET}, lambda a, at: a * 0 + TARGET[at]),
    "scale": ({"factor": 3.0}, lambda a, at: 3 * a),
    "add": ({"mean_LxF": TARGET, "factor": 2.0}, lambda a, at: a + 2 * TARGET[at]),
    "replace": ({"mean_LxF": TARGET}, lambda a, at: a * 0 + TARGET[at]),
    "diffmean": ({"mean_LxF": TARGET, "other_KxLxF": OTHERS}, lambda a, at: a + (MEANS[0] - MEANS[1:].mean(0))[at]),
}


def hook(change, neurons_LxF=NEURONS):
    def ffn(layer, a):
        a, at = a.copy(), np.flatnonzero(neurons_LxF[layer])
        a[:, :, at] = change(a[:, :, at], (layer, at))
        return a

    return ffn


@pytest.mark.parametrize("kind", KINDS)
def test_what_each_kind_does_is_what_numpy_does(kind):
    options, change = KINDS[kind]
    want = numpy_forward(PARAMS, TOKENS, hook(change))[0]
    assert np.abs(want - PLAIN).max() > 0.1
    np.testing.assert_allclose(
        do.run(Subject(PARAMS, CONFIG), TOKENS, do.edit(kind, NEURONS, **options)), want, atol=1e-4
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
    got = do.run(Subject(PARAMS, CONFIG), TOKENS, do.edit(kind, NEURONS, **KINDS[kind][0]))
    np.testing.assert_allclose(got, do.run(Subject(edited_weights(row, bias), CONFIG), TOKENS), atol=2e-6, rtol=2e-6)


def test_edits_hold_where_they_are_told_to():
    last_layer = NEURONS & np.array([[False], [True]])
    where = np.zeros(TOKENS.shape, bool)
    where[:, 3] = True
    everywhere = np.asarray(do.run(Subject(PARAMS, CONFIG), TOKENS, do.edit("zero", last_layer)))
    got = np.asarray(do.run(Subject(PARAMS, CONFIG), TOKENS, do.edit("zero", last_layer, where_BxT=where)))
    np.testing.assert_allclose(got[:, 3], everywhere[:, 3], atol=1e-5)
    elsewhere = np.arange(8) != 3
    np.testing.assert_allclose(got[:, elsewhere], PLAIN[:, elsewhere], atol=1e-4)


SOURCE_OF = np.array([2, 1, 2, 4, 4])  # rows 1, 2 and 4 are their own source, so they run as if nothing were done


def test_resampling_takes_the_sources_own_activations():
    def swap(layer, a):
        return np.where(NEURONS[layer], ACTIVATIONS[layer][SOURCE_OF], a)

    got = do.run(Subject(PARAMS, CONFIG), TOKENS, do.edit("resample", NEURONS, source_B=SOURCE_OF))
    np.testing.assert_allclose(got, numpy_forward(PARAMS, TOKENS, swap)[0], atol=1e-4)
    np.testing.assert_allclose(np.asarray(got)[[1, 2, 4]], PLAIN[[1, 2, 4]], atol=1e-4)
    assert np.abs(np.asarray(got)[[0, 3]] - PLAIN[[0, 3]]).max() > 0.1


EVERY = np.broadcast_to(np.arange(8), (5, 8))


def test_states_are_those_of_numpy():
    np.testing.assert_allclose(do.states(Subject(PARAMS, CONFIG), TOKENS, EVERY), STATES, atol=1e-4)


def test_all_of_the_last_layer_patched_is_the_source():
    source = TOKENS[::-1].copy()
    got = do.patch(Subject(PARAMS, CONFIG), source, TOKENS, 1, EVERY)
    np.testing.assert_allclose(got, PLAIN[::-1], atol=1e-4)


def test_patchscope_is_what_numpy_does():
    here, there = np.array([[2], [0], [5], [7], [1]]), np.array([[4], [1], [5], [0], [7]])

    def put(layer, h):
        h = h.copy()
        if layer == 0:
            h[np.arange(5), there[:, 0]] = STATES[1][::-1][np.arange(5), here[:, 0]]
        return h

    got = do.patchscope(Subject(PARAMS, CONFIG), do.Place(TOKENS[::-1], 1, here), do.Place(TOKENS, 0, there))
    want = numpy_forward(PARAMS, TOKENS, residual=put)[0]
    assert np.abs(want - PLAIN).max() > 0.1
    np.testing.assert_allclose(got, want, atol=1e-4)


@pytest.mark.parametrize("layer", [0, 1])
def test_a_patch_from_the_same_place_changes_nothing(layer):
    np.testing.assert_allclose(
        do.patch(Subject(PARAMS, CONFIG), TOKENS, TOKENS, layer, EVERY[:, 2:4]), PLAIN, atol=1e-4
    )


def test_loss_is_nats_a_token():
    log_prob = PLAIN - np.log(np.exp(PLAIN).sum(-1, keepdims=True))
    picked = np.take_along_axis(log_prob[:, :-1], TOKENS[:, 1:, None], -1)[..., 0]
    assert do.loss(Subject(PARAMS, CONFIG), TOKENS) == pytest.approx(-picked.mean(), abs=1e-5)
    weight = np.zeros((5, 7))
    weight[1:3, 4] = 1
    assert do.loss(Subject(PARAMS, CONFIG), TOKENS, weight_BxT=weight) == pytest.approx(
        -picked[1:3, 4].mean(), abs=1e-5
    )
    by_source = do.edit("resample", NEURONS, source_B=SOURCE_OF)  # an edit of single rows: one batch
    want = numpy_forward(PARAMS, TOKENS, lambda layer, a: np.where(NEURONS[layer], ACTIVATIONS[layer][SOURCE_OF], a))[0]
    log_prob = want - np.log(np.exp(want).sum(-1, keepdims=True))
    picked = np.take_along_axis(log_prob[:, :-1], TOKENS[:, 1:, None], -1)[..., 0]
    assert do.loss(Subject(PARAMS, CONFIG), TOKENS, by_source) == pytest.approx(-picked.mean(), abs=1e-5)


def test_loss_in_parts_of_the_positions_is_the_same(monkeypatch):
    whole = do.loss(Subject(PARAMS, CONFIG), TOKENS[:, :7])
    monkeypatch.setattr(losses, "tiles_for", lambda rows, length, vocab: 3)
    do.jitted_scores.cache_clear()
    assert do.loss(Subject(PARAMS, CONFIG), TOKENS[:, :7]) == pytest.approx(whole, abs=1e-6)
    do.jitted_scores.cache_clear()


def heldout(seed, n=40, vocabulary=(0, 23)):
    rng = np.random.default_rng(seed)
    return {"tokens": rng.integers(*vocabulary, (n, 9)).astype(np.int32), "loss": rng.random((n, 8)) < 0.7}


def test_the_example_of_the_docstring_runs():
    example = textwrap.dedent(re.search(r"\n\n((?:    .*\n|\n)+)", do.__doc__)[1])
    names = dict(
        params=PARAMS, config=CONFIG, tokens_BxT=TOKENS, tokens_BxT1=heldout(0, 4)["tokens"], source_BxT=TOKENS
    )
    names |= dict(positions_BxP=EVERY, neurons_LxF=NEURONS, heldout={"python": heldout(0, 4)})
    with pytest.raises(UserError, match=re.escape("neuron (1, 70) is not in this model")):
        exec(example, dict(names))
    exec(example.replace("70", "7"), names)
    assert names["logits_BxTxV"].shape == (5, 8, 23) and names["change"] != 0 and len(names["rows"]) == 1
    np.testing.assert_allclose(names["found_BxTxV"], PLAIN, atol=1e-4)


def test_means_are_those_of_all_tokens():
    measured = forward.Pass(
        ["a", "b"],
        active_RxLxFxK=None,
        tokens_RxK=np.array([[1, 2], [3, 2]]),
        activation_sum_RxLxFxK=np.arange(24.0).reshape(2, 2, 3, 2),
        rows={},
        slots={},
    )
    got = do.means(measured)
    assert got.shape == (2, 2, 3) and got[1, 0, 2] == (5 + 17) / 4 and got[0, 1, 0] == (6 + 18) / 4
    with pytest.raises(UserError, match="no token of b was measured"):
        do.means(dataclasses.replace(measured, tokens_RxK=np.array([[1, 0]])))


# ---- Random sets and what they are for


def test_random_sets_are_matched_by_layer_and_lie_outside():
    drawn = do.random_sets(NEURONS, 25, seed=3)
    assert drawn.shape == (25, 2, 24) and (drawn.sum(2) == NEURONS.sum(1)).all() and not (drawn & NEURONS).any()
    assert len({one.tobytes() for one in drawn}) > 20 and (drawn.any(0) == ~NEURONS).mean() > 0.9
    assert np.array_equal(drawn, do.random_sets(NEURONS, 25, seed=3))
    assert not np.array_equal(drawn, do.random_sets(NEURONS, 25, seed=4))
    with pytest.raises(UserError, match="at least 20"):
        do.random_sets(NEURONS, 19)


def test_random_sets_of_most_of_a_layer_take_all_that_is_outside():
    most = np.zeros((1, 24), bool)
    most[0, :20] = True
    drawn = do.random_sets(most)
    assert (drawn.sum(2) == 20).all() and drawn[:, 0, 20:].all() and len({one.tobytes() for one in drawn}) == 20


def test_against_random_by_hand():
    got = causes.against_random(5.0, np.arange(20.0))
    assert got["z"] == pytest.approx((5 - 9.5) / np.std(np.arange(20), ddof=1))
    assert got["p_higher"] == 16 / 21 and got["direction"] == "lower" and got["draws"] == 20
    assert (
        causes.against_random(50.0, np.arange(20.0))["p"]
        == causes.against_random(-50.0, np.arange(20.0))["p"]
        == 1 / 21
    )
    same_all = causes.against_random(1.0, np.zeros(20))
    assert same_all["z"] is None and same_all["p"] == 1 / 21 and same_all["direction"] == "higher"
    nothing = causes.against_random(0.0, np.zeros(20))
    assert (nothing["p"], nothing["p_higher"], nothing["direction"]) == (1, 1, "equal")
    assert causes.against_random(np.nan, np.full(20, np.nan))["p"] is None


def test_p_is_uniform_where_there_is_nothing():
    scores = np.random.default_rng(0).gamma(1.0, size=(4000, 21))  # skewed
    for name in ("p", "p_higher"):
        p = np.array([causes.against_random(row[0], row[1:])[name] for row in scores])
        for level in (1, 2, 5, 10, 20):
            assert np.mean(p <= level / 21 + 1e-9) == pytest.approx(level / 21, abs=0.03)


def test_random_sets_as_the_observed_one_give_no_small_p():
    rng = np.random.default_rng(1)
    sets = {}
    for number in range(30):
        sets[str(number)] = np.zeros((2, 24), bool)
        for layer in range(2):
            sets[str(number)][layer, rng.choice(24, 3, replace=False)] = True
    rows = causes.loss_change_rows(Subject(PARAMS, CONFIG), {"a": heldout(0, 16)}, sets)
    p = np.array([row["options"]["p"] for row in rows])
    assert len(p) == 30 and 0.35 < p.mean() < 0.65 and (p <= 0.1).mean() <= 0.2
    assert all(row["options"]["random_sd"] > 0 for row in rows)


# ---- The matrix of losses


def planted():
    """The planted model, in which the other neurons do a little something too."""
    params = planted_params()
    out = np.array(params["blocks"]["ffn_out"]["kernel"])
    idle = ~out.any(-1)
    out[idle] = np.random.default_rng(0).normal(0, 0.02, (idle.sum(), 16))
    params["blocks"]["ffn_out"]["kernel"] = jnp.asarray(out)
    return params


def planted_heldout(n=20):
    rng = np.random.default_rng(0)
    return {
        name: {"tokens": rng.integers(4 * k, 4 * k + 4, (n, 7)).astype(np.int32), "loss": np.ones((n, 6), bool)}
        for k, name in enumerate("abc")
    }


def test_planted_neurons_bear_their_language_alone():
    params, rows = planted(), planted_heldout()
    sets = {name: do.neuron_set(PLANTED_CONFIG, [(0, j) for j in PLANTED[k]]) for k, name in enumerate("abc")}
    do.jitted_scores.cache_clear()
    found = causes.loss_change_rows(Subject(params, PLANTED_CONFIG), rows, sets)
    more = causes.loss_change_rows(
        Subject(planted_params(), PLANTED_CONFIG), rows, sets, causes.Change("scale", {"factor": 0.5})
    )  # another checkpoint
    assert do.jitted_scores(PLANTED_CONFIG, -1, ONE_DEVICE)._cache_size() == 1  # languages, sets, kinds and checkpoints
    assert len(found) == len(more) == 9 + 3
    for row in found:
        measurements.row(run="r", seed=0, step=0, **row)
        json.dumps(row["options"], allow_nan=False)
        own = row["language"] == row["options"]["set"]
        assert row["options"]["size"] == sets[row["options"]["set"]].sum()
        if row["metric"] == "loss_change" and not own:
            assert row["value"] == 0 and row["options"]["direction"] in ("higher", "lower", "equal")
        else:
            assert own and row["value"] > 0.5 and row["options"]["z"] > 10 and row["options"]["p"] == 1 / 21
            assert row["options"]["direction"] == "higher" and row["ci_low"] <= row["value"] <= row["ci_high"]
    assert {row["options"]["factor"] for row in more} == {0.5}


def test_changes_of_loss_are_paired_over_rows():
    rows = {name: heldout(seed, n) for seed, (name, n) in enumerate({"a": 13, "b": 21, "c": 9}.items())}
    found = causes.loss_change_rows(
        Subject(PARAMS, CONFIG, batch_size=4),
        rows,
        {"a": NEURONS, "other": ~NEURONS},
        causes.Change("value", {"value": 1.5}),
    )
    by_name = {(row["metric"], row["options"]["set"], row["language"]): row for row in found}
    assert len(found) == len(by_name) == 6 + 1  # "other" is no language: it has no selectivity
    change = do.edit("value", NEURONS, value=1.5)
    value = {}
    for name, part in rows.items():
        plain, edited = (
            do.loss(Subject(PARAMS, CONFIG), part["tokens"], edit, part["loss"]) for edit in (None, change)
        )
        value[name] = edited - plain
        row = by_name["loss_change", "a", name]
        assert row["value"] == pytest.approx(edited - plain, abs=1e-5) and row["n"] == part["loss"].sum()
        assert row["options"]["before"] == pytest.approx(plain, abs=1e-5)
        assert row["options"]["perplexity_ratio"] == pytest.approx(np.exp(edited - plain), abs=1e-4)
        assert row["ci_low"] < row["value"] < row["ci_high"]
    count = rows["c"]["loss"].sum(1)  # row by row for the smallest language: its differences make the interval
    plain, edited = (
        [
            do.loss(Subject(PARAMS, CONFIG), rows["c"]["tokens"][n : n + 1], edit, rows["c"]["loss"][n : n + 1])
            for n in range(9)
        ]
        for edit in (None, change)
    )
    want = statistics.mean_with_interval((np.array(edited) - plain) * count, count)
    row = by_name["loss_change", "a", "c"]
    np.testing.assert_allclose([row["value"], row["ci_low"], row["ci_high"]], want, atol=1e-5)
    selectivity = by_name["selectivity", "a", "a"]
    assert selectivity["value"] == pytest.approx(value["a"] - (value["b"] + value["c"]) / 2, abs=1e-5)
    half = {
        name: np.diff([by_name["loss_change", "a", name][end] for end in ("ci_low", "ci_high")])[0] / 2 for name in rows
    }
    width = np.sqrt(half["a"] ** 2 + (half["b"] ** 2 + half["c"] ** 2) / 4)
    assert selectivity["ci_high"] - selectivity["value"] == pytest.approx(width)


def test_batches_change_nothing():
    rows = {"a": heldout(0, 13)}
    first, second = (
        causes.loss_change_rows(Subject(PARAMS, CONFIG, batch_size=size), rows, {"a": NEURONS}) for size in (4, 13)
    )
    assert first[0]["value"] == pytest.approx(second[0]["value"], abs=1e-6)
    assert first[0]["options"]["z"] == pytest.approx(second[0]["options"]["z"], abs=1e-3)


# ---- Slots


def make_slots(seed, n=14):
    rng = np.random.default_rng(seed)
    tokens = rng.integers(0, 23, (n, 8)).astype(np.int32)
    best = numpy_forward(PARAMS, tokens)[0].argmax(-1)[np.arange(n), np.arange(n) % 8]
    ids = np.stack([rng.permutation(np.delete(np.arange(23), best[i]))[:4] for i in range(n)])
    primary, new = ids[:, :2].copy(), ids[:, 2:].copy()
    primary[1::3, 0], new[::3, 0] = best[1::3], best[::3]  # some are right
    new[::3, 1] = -1
    return {
        "tokens": tokens,
        "position": np.arange(n) % 8,
        "primary_ids": primary,
        "new_ids": new,
        "pair": np.arange(n) // 4,
        "prompt": np.arange(n),
        "subset": np.arange(n) % 2,
    }


SLOTS = make_slots(5)


def naive_slots(slots, right, ffn=lambda layer, a: a):
    logits = numpy_forward(PARAMS, slots["tokens"], ffn)[0]
    found = {"logit_difference": [], "margin": [], "accuracy": []}
    for n, position in enumerate(slots["position"]):
        p = np.exp(logits[n, position])
        p /= p.sum()
        primary, new = ([i for i in slots[name][n] if i >= 0] for name in ("primary_ids", "new_ids"))
        chosen = {"primary": primary, "new": new}[right]
        others = [i for i in range(23) if i not in chosen]
        found["logit_difference"].append(np.log(p[new].sum()) - np.log(p[primary].sum()))
        found["margin"].append(np.log(p[chosen].sum()) - np.log(p[others].max()))
        found["accuracy"].append(float(np.argmax(p) in chosen))
    return {name: np.array(values) for name, values in found.items()}


@pytest.mark.parametrize("right", ["primary", "new"])
def test_scores_at_slots_are_the_naive_ones(right):
    got, want = do.slot_scores(Subject(PARAMS, CONFIG, batch_size=4), SLOTS, right), naive_slots(SLOTS, right)
    for name in want:
        np.testing.assert_allclose(got[name], want[name], atol=1e-4)
    assert set(got) == set(want) and 0 < want["accuracy"].sum() < 14


def test_single_identifiers_are_sets_of_one():
    singles = {name: SLOTS[name] for name in ("tokens", "position")}
    for name in ("primary", "new"):
        singles[f"{name}_id"] = SLOTS[f"{name}_ids"][:, 0]
    sets = singles | {f"{name}_ids": SLOTS[f"{name}_ids"][:, :1] for name in ("primary", "new")}
    got, want = (do.slot_scores(Subject(PARAMS, CONFIG, batch_size=4), slots, "new") for slots in (singles, sets))
    assert all(np.array_equal(got[name], want[name]) for name in want)


def test_changes_at_slots_are_paired_over_slots():
    found = causes.slot_change_rows(
        Subject(PARAMS, CONFIG, batch_size=4),
        SLOTS,
        "php",
        "python",
        {"s": NEURONS},
        causes.Change("scale", {"factor": 3.0}),
    )
    before, after = naive_slots(SLOTS, "new"), naive_slots(SLOTS, "new", hook(KINDS["scale"][1]))
    subsets = {"all": np.ones(14, bool), "shared": SLOTS["subset"] == 0, "transfer": SLOTS["subset"] == 1}
    assert len(found) == 9
    for row in found:
        metric, options = row["metric"].removesuffix("_change"), row["options"]
        kept = subsets[options["subset"]]
        assert row["value"] == pytest.approx((after[metric] - before[metric])[kept].mean(), abs=1e-4)
        assert options["before"] == pytest.approx(before[metric][kept].mean(), abs=1e-4)
        assert options["after"] == pytest.approx(after[metric][kept].mean(), abs=1e-4)
        assert row["n"] == kept.sum() and row["ci_low"] <= row["value"] <= row["ci_high"] and options["draws"] == 20
        assert (row["probe"], row["language"], options["at"]) == ("intervention", "php", "slots")
        if metric != "accuracy":
            assert row["ci_low"] < row["ci_high"] and options["random_sd"] > 0


def test_slots_whose_identifiers_are_the_same_say_nothing_of_their_difference():
    slots = SLOTS | {"new_ids": np.where(np.arange(14)[:, None] < 5, SLOTS["primary_ids"][:, ::-1], SLOTS["new_ids"])}
    found = causes.slot_change_rows(Subject(PARAMS, CONFIG, batch_size=4), slots, "php", "python", {"s": NEURONS})
    count = {row["metric"]: row["n"] for row in found if row["options"]["subset"] == "all"}
    assert count == {"logit_difference_change": 9, "margin_change": 14, "accuracy_change": 14}


# ---- Programs


def make_problems(n=10):
    rng = np.random.default_rng(7)
    return Problems(
        prompt_QxT={"php": rng.integers(0, 23, (n, 5)).astype(np.int32)},
        length_Q=np.where(np.arange(n) % 3, 5, 3).astype(np.int32),
        answer_QxA={"php": rng.integers(0, 23, (n, 4)).astype(np.int32)},
        new_tokens=4,
        judge=lambda language, written_QxA: written_QxA[:, 0] % 2 == 0,
        transfer_Q=np.arange(n) % 2 == 0,
        word_slot_QxW=np.broadcast_to([0, 2], (n, 2)),
        transfer_word_QxW=np.stack([np.arange(n) % 2 == 0, np.zeros(n, bool)], axis=1),
    )


def program_change_rows(*arguments):
    return [*programs.pass_change_rows(*arguments), *programs.answer_change_rows(*arguments)]


def test_programs_before_and_after():
    problems = make_problems()
    big = ~NEURONS
    jitted_generation.cache_clear()
    found = program_change_rows(
        Subject(PARAMS, CONFIG, batch_size=4), problems, "php", {"s": big}, causes.Change("value", {"value": 1.5})
    )
    assert jitted_generation(CONFIG, 4, -1, ONE_DEVICE)._cache_size() == 1
    rows = {(row["metric"], row["options"]["subset"]): row for row in found}
    assert len(rows) == len(found) == 12
    for metric in ("pass", "margin", "accuracy"):
        row = rows[f"{metric}_specificity", "transfer - shared"]
        transfer, shared = (rows[f"{metric}_change", subset] for subset in ("transfer", "shared"))
        assert row["value"] == pytest.approx(transfer["value"] - shared["value"])
        assert row["options"]["random_mean"] == pytest.approx(
            transfer["options"]["random_mean"] - shared["options"]["random_mean"]
        )
        assert row["ci_low"] <= row["value"] <= row["ci_high"] and row["n"] == rows[f"{metric}_change", "all"]["n"]
        width = {name: row["ci_high"] - row["ci_low"] for name, row in (("both", row), ("t", transfer), ("s", shared))}
        assert width["both"] >= max(width["t"], width["s"])  # of two means over disjoint problems
    change = do.edit("value", big, value=1.5)
    solved = [
        problems.judge(
            "php",
            generate(
                Subject(PARAMS, CONFIG, batch_size=4), problems.prompt_QxT["php"], problems.length_Q, 4, edit=edit
            ),
        )
        for edit in (None, change)
    ]
    row = rows["pass_change", "all"]
    assert row["value"] == pytest.approx(solved[1].mean() - solved[0].mean())
    gained, lost = (solved[1] & ~solved[0]).sum(), (solved[0] & ~solved[1]).sum()
    assert gained + lost > 0 and (row["options"]["gained"], row["options"]["lost"]) == (gained, lost)
    assert row["options"]["p_mcnemar"] == statistics.mcnemar(int(gained), int(lost)) and row["n"] == 10
    assert rows["pass_change", "transfer"]["n"] == 5 and rows["margin_change", "transfer"]["n"] == 5

    margins = []
    for q in range(10):
        length = problems.length_Q[q]
        tokens = np.concatenate([problems.prompt_QxT["php"][q, :length], problems.answer_QxA["php"][q]])[None, :8]
        for ffn in (lambda layer, a: a, hook(lambda a, at: a * 0 + 1.5, big)):
            logits = numpy_forward(PARAMS, tokens, ffn)[0][0]
            for slot in (0, 2):
                at = logits[length - 1 + slot]
                right = tokens[0, length + slot]
                margins.append(at[right] - np.delete(at, right).max())
    before, after = np.array(margins).reshape(10, 2, 2).swapaxes(0, 1)
    row = rows["margin_change", "all"]
    assert row["value"] == pytest.approx((after - before).mean(), abs=1e-4) and row["n"] == 20
    assert row["options"]["before"] == pytest.approx(before.mean(), abs=1e-4) and row["options"]["at"] == "answers"


# ---- Parts of the parameters

OTHER = loud(CONFIG, seed=1)


@pytest.mark.parametrize("prefixes", [(), ("embed_", "head"), ("blocks",), ("blocks/ffn_",)])
def test_restoring_whole_parts_is_what_the_patches_of_a_study_do(prefixes):
    ours, theirs = by_path(PARAMS), by_path(OTHER)
    starts = tuple("['" + prefix.replace("/", "']['") for prefix in prefixes)
    want = {name: theirs[name] if name.startswith(starts) else ours[name] for name in ours}
    assert same(by_path(do.restore(PARAMS, OTHER, prefixes)), want)


@pytest.mark.parametrize(
    "part, restored",
    [
        ("embed_table", {"['embed_table']": slice(None)}),
        ("embed_table[5,7,10:20]", {"['embed_table']": [5, 7, *range(10, 20)]}),
        ("head[ 3 ]", {"['head']": [3]}),
        ("blocks/attention_out[0:2]", {f"['blocks']['attention_out']['{x}']": slice(None) for x in ("kernel", "bias")}),
        (
            "blocks/ffn_[1]",
            {f"['blocks']['ffn_{way}']['{x}']": [1] for way in ("in", "out") for x in ("kernel", "bias")},
        ),
    ],
)
def test_parts_of_the_parameters(part, restored):
    got, ours, theirs = (by_path(tree) for tree in (do.restore(PARAMS, OTHER, part), PARAMS, OTHER))
    want = {name: leaf.copy() for name, leaf in ours.items()}
    for name, rows in restored.items():
        want[name][rows] = theirs[name][rows]
    assert same(got, want)
    assert not same(got, ours) and not same(got, theirs)


def test_several_parts_add_up_and_lie_where_they_lay():
    got = do.restore(PARAMS, jax.device_get(OTHER), ["head[1]", "head[2:4]", "ln_f_scale"])
    assert np.array_equal(got["head"][1:4], OTHER["head"][1:4]) and np.array_equal(got["head"][4:], PARAMS["head"][4:])
    assert np.array_equal(got["ln_f_scale"], OTHER["ln_f_scale"])
    assert all(
        isinstance(a, jax.Array) and a.sharding == b.sharding
        for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(PARAMS), strict=True)
    )
    host = do.restore(jax.device_get(PARAMS), OTHER, "head[1]")
    assert isinstance(host["head"], np.ndarray)


@pytest.mark.parametrize(
    "part, message",
    [
        ("embed_tabel", "unknown part of the parameters 'embed_tabel'; did you mean 'embed_table'"),
        ("blocks/fnn_in[0]", "did you mean 'blocks/ffn_in"),
        ("head[23]", "rows 23 of 'head[23]' do not exist; 'head' has rows 0 to 22"),
        ("head[20:24]", "rows 20:24"),
        ("head[4:4]", "rows 4:4"),
        ("head[-1]", "cannot read '-1'"),
        ("head[]", "cannot read ''"),
        ("head[1", "cannot read the part 'head[1'"),
        ("", "cannot read the part ''"),
        ("embed_[2]", "different lengths (embed_position, embed_table)"),
    ],
)
def test_parts_that_cannot_be(part, message):
    with pytest.raises(UserError, match=re.escape(message)):
        do.restore(PARAMS, OTHER, [part])


def test_a_checkpoint_of_another_model_is_refused():
    wider = loud(dataclasses.replace(CONFIG, ffn_width=32))
    with pytest.raises(UserError, match=re.escape("'blocks/ffn_in/bias' is (2, 24) here and (2, 32) there")):
        do.restore(PARAMS, wider, "head")
    with pytest.raises(UserError, match="'head' is .* here and missing there"):
        do.restore(PARAMS, loud(dataclasses.replace(CONFIG, tied_head=True)), "blocks")


# ---- Mistakes

BIG = np.zeros((3, 24), bool)
FEW = {"a": heldout(0, 4)}


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: do.edit("zeros", NEURONS), "unknown intervention 'zeros'; did you mean 'zero'"),
        (lambda: do.edit("value", NEURONS), "'value' needs value"),
        (lambda: do.edit("diffmean", NEURONS, mean_LxF=TARGET), "'diffmean' needs other_KxLxF"),
        (lambda: do.edit("zero", NEURONS, value=1), "'zero' does not take value"),
        (lambda: do.edit("zero", [(0, 3), (1, 5)]), "mask of true and false"),
        (lambda: do.edit("mean", NEURONS, mean_LxF=MEANS[0, :1]), "different models"),
        (lambda: do.neuron_set(CONFIG, [(2, 0)]), "neuron (2, 0) is not in this model of 2 layers"),
        (lambda: do.neuron_set(CONFIG, [(0, -1)]), "neuron (0, -1)"),
        (lambda: do.neuron_set(CONFIG, [(0, 1, 2)]), "list of (layer, index) pairs"),
        (lambda: do.run(Subject(PARAMS, CONFIG), TOKENS, do.edit("zero", BIG)), "neuron set of another model"),
        (
            lambda: do.run(Subject(PARAMS, CONFIG), TOKENS, do.edit("zero", NEURONS, where_BxT=np.ones((5, 7)))),
            "where_BxT (5, 7)",
        ),
        (
            lambda: do.run(Subject(PARAMS, CONFIG), TOKENS, do.edit("resample", NEURONS, source_B=[0, 1, 2, 3, 5])),
            "'resample' needs source_B: for each of the 5 rows",
        ),
        (lambda: do.run(Subject(PARAMS, CONFIG), TOKENS, do.edit("resample", NEURONS)), "source_B"),
        (lambda: do.run(Subject(PARAMS, CONFIG), TOKENS + 1), "is not in this model's vocabulary"),
        (lambda: do.run(Subject(PARAMS, CONFIG), np.zeros((2, 9), int)), "do not fit a context of 8"),
        (lambda: do.run(Subject(PARAMS, CONFIG), TOKENS * 1.0), "whole numbers"),
        (lambda: do.loss(Subject(PARAMS, CONFIG), TOKENS, weight_BxT=np.zeros((5, 7))), "no target counts"),
        (lambda: do.loss(Subject(PARAMS, CONFIG), TOKENS, weight_BxT=np.ones((5, 8))), "do not fit the (5, 7) targets"),
        (lambda: do.patch(Subject(PARAMS, CONFIG), TOKENS, TOKENS, 2, EVERY), "layer 2 is not in this model"),
        (lambda: do.patch(Subject(PARAMS, CONFIG), TOKENS, TOKENS, 0, EVERY + 1), "each from 0 to 7"),
        (lambda: do.put(CONFIG, np.zeros((5, 8, 17)), 0, EVERY), "model of width 16"),
        (
            lambda: causes.loss_change_rows(Subject(PARAMS, CONFIG), FEW, {"a": BIG}),
            "'a' (3, 24) is a neuron set of another model",
        ),
        (lambda: causes.loss_change_rows(Subject(PARAMS, CONFIG), FEW, {}), "at least one by name"),
        (
            lambda: causes.loss_change_rows(Subject(PARAMS, CONFIG), FEW, {"a": NEURONS}, causes.Change(draws=5)),
            "at least 20",
        ),
        (
            lambda: causes.loss_change_rows(Subject(PARAMS, CONFIG), FEW, {"a": NEURONS}, causes.Change("resample")),
            "belongs to one batch",
        ),
        (
            lambda: causes.loss_change_rows(
                Subject(PARAMS, CONFIG), FEW, {"a": NEURONS}, causes.Change(options={"where_BxT": np.ones((4, 8))})
            ),
            "belongs to one batch",
        ),
        (
            lambda: do.slot_scores(Subject(PARAMS, CONFIG), SLOTS | {"new_ids": np.full((14, 2), -1)}, "new"),
            "no identifier of the new",
        ),
        (
            lambda: do.slot_scores(Subject(PARAMS, CONFIG), SLOTS | {"position": np.full(14, 8)}, "new"),
            "each from 0 to 7",
        ),
        (
            lambda: program_change_rows(
                Subject(PARAMS, CONFIG), make_problems(), "php", {"a": NEURONS}, causes.Change("resample")
            ),
            "choose another intervention",
        ),
    ],
)
def test_mistakes_are_told(call, message):
    with pytest.raises(UserError, match=re.escape(message)):
        call()


def test_an_empty_set_is_said_to_be_empty():
    with pytest.warns(UserWarning, match="'a' is empty"):
        found = causes.loss_change_rows(Subject(PARAMS, CONFIG), FEW, {"a": np.zeros_like(NEURONS)})
    assert found[0]["value"] == 0 and found[0]["options"]["p"] == 1 and found[0]["options"]["z"] is None


def values_of(params):
    restored = do.restore(params, OTHER, "blocks/ffn_[1]")
    sets = {"s": NEURONS}
    rows = causes.loss_change_rows(Subject(restored, CONFIG, batch_size=4), {"a": heldout(0, 13)}, sets)
    rows += causes.slot_change_rows(Subject(params, CONFIG, batch_size=4), SLOTS, "php", "python", sets)
    return [[row["value"] for row in rows], [row["options"]["random_mean"] for row in rows]]


FOUR_DEVICES = """
import json, jax, test_interventions as t
from babel_jax.model import sharding
mesh = sharding.make_mesh(data=2, fsdp=1, tensor=2)
whole = {name: jax.ShapeDtypeStruct((24, 16), "float32") for name in ("embed_table", "head")}  # 23 rows do not divide
placed = sharding.shardings(mesh, jax.eval_shape(lambda: t.PARAMS) | whole)
everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
params = jax.device_put(t.PARAMS, placed | dict.fromkeys(whole, everywhere))
jax.set_mesh(mesh)
print(json.dumps([jax.device_count(), t.values_of(params)]))
"""


def test_devices_change_nothing():
    done = python("-c", FOUR_DEVICES, devices=4)
    assert done.returncode == 0, done.stderr[-2000:]
    devices, four = json.loads(done.stdout.splitlines()[-1])
    assert devices == 4 and len(four[0]) == 1 + 9
    np.testing.assert_allclose(four, values_of(PARAMS), atol=2e-4)


def test_equal_random_sets_have_no_z_but_for_rounding():
    for value, n in ((0.1, 20), (-0.0125, 23)):
        found = causes.against_random(value, [value] * n)
        assert found["z"] is None and found["random_sd"] == 0 and found["direction"] == "equal" and found["p"] == 1
        assert causes.against_random(value + 1, [value] * n)["z"] is None

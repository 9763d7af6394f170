import json
import re

import jax.numpy as jnp
import numpy as np
import pytest
from helpers import python
from helpers.architectures import FAMILIES, config_of, in_numpy, log_softmax, params_of
from helpers.changed import (
    CONFIG,
    KINDS,
    NEURONS,
    ONE_DEVICE,
    PARAMS,
    SLOTS,
    heldout,
    hook,
    naive_slots,
    values_of,
)
from helpers.passes import PLANTED, PLANTED_CONFIG, planted_params

from babel_jax.common import measurements, statistics
from babel_jax.common.errors import UserError
from babel_jax.probes import causes, edits
from babel_jax.probes import interventions as do
from babel_jax.probes.subject import Subject


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
    sets = {name: edits.neuron_set(PLANTED_CONFIG, [(0, j) for j in PLANTED[k]]) for k, name in enumerate("abc")}
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
    change = edits.edit("value", NEURONS, value=1.5)
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


def test_slots_whose_identifiers_are_the_same_have_no_logit_difference():
    slots = SLOTS | {"new_ids": np.where(np.arange(14)[:, None] < 5, SLOTS["primary_ids"][:, ::-1], SLOTS["new_ids"])}
    found = causes.slot_change_rows(Subject(PARAMS, CONFIG, batch_size=4), slots, "php", "python", {"s": NEURONS})
    count = {row["metric"]: row["n"] for row in found if row["options"]["subset"] == "all"}
    assert count == {"logit_difference_change": 9, "margin_change": 14, "accuracy_change": 14}


def test_an_empty_set_is_a_warning():
    with pytest.warns(UserWarning, match="'a' is empty"):
        found = causes.loss_change_rows(Subject(PARAMS, CONFIG), {"a": heldout(0, 4)}, {"a": np.zeros_like(NEURONS)})
    assert found[0]["value"] == 0 and found[0]["options"]["p"] == 1 and found[0]["options"]["z"] is None


FOUR_DEVICES = """
import json, jax
from helpers import changed as t
from babel_jax.model import sharding
mesh = sharding.make_mesh(data=2, fsdp=1, tensor=2)
whole = {name: jax.ShapeDtypeStruct((24, 16), "float32") for name in ("embed_table", "head")}  # 23 rows do not divide
placed = sharding.shardings(mesh, jax.eval_shape(lambda: t.PARAMS) | whole)
everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
params = jax.device_put(t.PARAMS, placed | dict.fromkeys(whole, everywhere))
jax.set_mesh(mesh)
print(json.dumps([jax.device_count(), t.values_of(params)]))
"""


@pytest.mark.processes
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


BIG = np.zeros((3, 24), bool)
FEW = {"a": heldout(0, 4)}


@pytest.mark.parametrize(
    "call, message",
    [
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
    ],
)
def test_a_change_that_cannot_be_scored_is_one_line(call, message):
    with pytest.raises(UserError, match=re.escape(message)):
        call()


@pytest.mark.parametrize("family", FAMILIES)
def test_what_ablation_does_to_losses_in_every_kind_of_block(family):
    config, params, rows = config_of(family), params_of(family), heldout(3, 10)
    neurons = edits.neuron_set(config, [(0, 3), (0, 17), (1, 0), (1, 5)])
    got = causes.loss_change_rows(Subject(params, config, batch_size=5), {"a": rows}, {"s": neurons})

    def loss(ffn=lambda layer, a: a):
        log_prob = log_softmax(in_numpy(config, params, rows["tokens"][:, :-1], ffn=ffn)[0])
        picked = np.take_along_axis(log_prob, rows["tokens"][:, 1:, None], -1)[..., 0]
        return -picked[rows["loss"]].mean()

    want = loss(lambda layer, a: np.where(neurons[layer], 0, a)) - loss()
    assert abs(want) > 5e-4 and got[0]["metric"] == "loss_change"
    assert got[0]["value"] == pytest.approx(want, abs=1e-5)

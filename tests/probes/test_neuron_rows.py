import dataclasses
import math
import warnings

import numpy as np
import pytest
from helpers.counted import (
    TOKENS,
    as_sets,
    counts,
    masks_of,
    measured_from,
    quick,
    random_counts,
    run_of_checkpoints,
    value,
)
from hypothesis import given
from hypothesis import strategies as st

from babel_jax.common import measurements
from babel_jax.common.errors import UserError
from babel_jax.probes import by_counts, drift, lape, neuron_rows, thresholds
from babel_jax.probes.attribution import pls
from babel_jax.probes.definitions import neuron_sets


def test_always_on_neurons_pass_nothing_with_a_warning():
    count = np.zeros((3, 1, 100, 2), int)
    count[:, :, :10] = 50  # 10 % of the values tie at the maximum: none is above the threshold
    with pytest.warns(UserWarning, match="0 of the 1 neurons"):
        rows = neuron_rows.transferring_rows(measured_from(count, np.full((3, 2), 50)), "a", "b")
    assert all(row["value"] == 0 for row in rows if row["metric"] != "pair_shared")


def test_neuron_rows_count_their_masks():
    rng = np.random.default_rng(4)
    shards = [random_counts(rng, 2, 150, 2, "one language")[0] // 10 for _ in range(6)]
    measured = measured_from(np.stack(shards), np.full((6, 2), 120))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rows = neuron_rows.transferring_rows(measured, "a", "b", draws=50)
    assert rows == neuron_rows.transferring_rows(measured, "a", "b", draws=50)
    masks = masks_of(lape.lape(sum(shards), np.full(2, 720)), 0, 1)
    assert {row["metric"] for row in rows} == {"lape_target", "pair_shared", "lape_target_sensitivity"}
    for row in rows:
        if row["metric"] in masks:
            mask = masks[row["metric"]]
            assert (row["value"], row["n"], row["layer"]) == (mask.sum(), mask.size, -1)
            assert row["ci_low"] <= row["ci_high"]
    sensitivity = {
        row["options"]["top_rate"]: row["value"] for row in rows if row["metric"] == "lape_target_sensitivity"
    }
    assert sensitivity[0.01] == masks["lape_target"].sum()
    assert sorted(sensitivity.values()) == [sensitivity[rate] for rate in sorted(sensitivity)]
    assert max(sensitivity.values()) > sensitivity[0.01]
    frame = measurements.table([measurements.row(run="continual", seed=0, step=4, **row) for row in rows])
    assert set(frame.layer) == {-1}


def test_interval_is_empty_when_all_shards_agree():
    count = np.repeat(random_counts(np.random.default_rng(5), 1, 200, 2, "plain")[0][None], 5, axis=0)
    rows = neuron_rows.transferring_rows(measured_from(count, np.full((5, 2), 1200)), "a", "b", draws=20)
    assert all(row["ci_low"] == row["value"] == row["ci_high"] for row in rows)


@quick
@given(counts(), st.integers(2, 5), st.integers(0, 99))
def test_splitting_the_stream_in_shards_changes_no_count(count, R, seed):
    rng = np.random.default_rng(seed)
    K = count.shape[-1]
    where = rng.integers(0, R, (*count.shape, TOKENS))  # the shard of each active token
    active = np.arange(TOKENS) < count[..., None]
    parts = np.stack([(active & (where == r)).sum(-1) for r in range(R)])
    tokens = rng.multinomial(TOKENS, np.full(R, 1 / R), size=K).T
    whole = measured_from(count[None], np.full((1, K), TOKENS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for rows, languages in ((neuron_rows.transferring_rows, ("a", "b")), (neuron_rows.count_rows, ("a",))):
            assert [row["value"] for row in rows(whole, *languages, draws=1)] == [
                row["value"] for row in rows(measured_from(parts, tokens), *languages, draws=1)
            ]


def planted(rng, K=3, R=4, L=2, F=300, each=2, tokens=500):
    """Neurons that fire on tokens of one language only, among neurons that fire for all alike."""
    p = np.repeat(rng.uniform(0.05, 0.5, (L, F, 1)), K, axis=2)
    places = rng.permutation(L * F)[: each * K]
    want = {k: {divmod(int(place), F) for place in places[k::K]} for k in range(K)}
    for k, chosen in want.items():
        for place in chosen:
            p[place] = 0
            p[(*place, k)] = 0.8
    count = np.stack([rng.binomial(tokens, p) for _ in range(R)])
    return measured_from(count, np.full((R, K), tokens)), want


def test_planted_neurons_are_found_exactly():
    measured, want = planted(np.random.default_rng(0))
    member = lape.tang(measured)
    assert {k: as_sets(member[k]) for k in want} == want
    rows = neuron_rows.count_rows(measured, "a", draws=20)
    rows = [row for row in rows if row.get("layer", -1) == -1]
    at = {(row["metric"], row["language"]): row for row in rows}
    for name in "abc":
        assert at["specific", name]["value"] == at["specific", name]["ci_low"] == 2
    for name in "bc":
        assert at["lape_target", name]["value"] == at["lape_exclusive", name]["value"] == 2
        assert at["lape_both", name]["value"] == 0
    assert at["chosen", ""]["value"] == 6 and at["double_members", ""]["value"] == 0


def test_count_rows_count_their_sets_per_layer():
    measured = run_of_checkpoints(K=3)[3]
    measured.active_RxLxFxK[:, 1, :20] = 0  # dead neurons: of no entropy at all
    rows = neuron_rows.count_rows(measured, "a", draws=30)
    count, tokens = measured.active_RxLxFxK.sum(0), measured.tokens_RxK.sum(0)
    masks = masks_of(lape.lape(count, tokens), 0, 2)
    for name, mask in masks.items():
        got = [value(rows, name, "c", layer) for layer in (-1, 1, 2)]
        assert got == [mask.sum(), *mask.sum(1)]
    member = lape.tang(measured)
    assert [value(rows, "specific", name) for name in "abc"] == member.sum((1, 2)).tolist()
    assert value(rows, "double_members") == (member.sum(0) > 1).sum()
    p = (count / tokens).astype(np.float32)
    assert value(rows, "quantile", "b", of="probability", quantile=0.5) == np.sort(p[..., 1], None)[399]
    assert value(rows, "quantile", "", of="probability", quantile=1.0) == p.max()
    assert 0 < value(rows, "quantile", "", of="entropy", quantile=0.01) < math.log(3)
    for row in rows:
        measurements.row(run="continual", seed=0, step=1, **row)
        if row["metric"] in ("lape_target", "specific"):
            assert row["ci_low"] <= row["ci_high"]
    assert len({(r["metric"], r["language"], r.get("layer"), str(r["options"])) for r in rows}) == len(rows)


def test_counts_over_several_draws_are_those_of_each_draw():
    """What is resampled in one block is what each draw alone would give."""
    measured = run_of_checkpoints(K=3, R=3)[1]
    weight = np.array([[1, 1, 1], [3, 0, 0], [0, 2, 1]])
    ((draws, count, tokens),) = lape.resampled(measured, weight)
    together = neuron_sets(thresholds.select(lape.probabilities(count, tokens)), ["a", "b", "c"], "a")
    for d in draws:
        alone = np.tensordot(weight[d], measured.active_RxLxFxK, 1)
        p = lape.probabilities(alone, weight[d] @ measured.tokens_RxK)
        for name, mask in neuron_sets(thresholds.select(p), ["a", "b", "c"], "a").items():
            assert np.array_equal(together[name][d], mask), name


def test_sensitivity_curves_meet_the_counts():
    measured = run_of_checkpoints(K=3)[3]
    rows = neuron_rows.sensitivity_rows(measured, "a", draws=10)
    count, tokens = measured.whole()
    for row in rows:
        name, new = row["metric"].removesuffix("_sensitivity"), "abc".index(row["language"])
        varied = row["options"]["varied"]
        at = row["options"][varied]
        if varied == "entropy":
            want = by_counts.PAIR_SHARED.mask(lape.lape(count, tokens), 0, new, at)
        else:
            rates = lape.Rates(at) if varied == "top_rate" else lape.Rates(filter_rate=at, bar_rate=at)
            want = masks_of(lape.lape(count, tokens, rates), 0, new)[name]
        assert row["value"] == want.sum(), row
        assert row["ci_low"] <= row["ci_high"]
    numbers = [
        sum(row["options"]["varied"] == varied for row in rows) for varied in ("top_rate", "filter_rate", "entropy")
    ]
    assert numbers == [2 * 63, 2 * 80, 2 * 20]
    assert {row["value"] for row in rows if row["options"]["varied"] == "entropy"} != {0}


def test_what_a_study_counts_is_what_probe_counts():
    """The same metrics with the same options, values and intervals."""
    measured = run_of_checkpoints()[3]
    ours = neuron_rows.transferring_rows(measured, "a", "b", draws=20)
    theirs = neuron_rows.count_rows(measured, "a", draws=20)
    theirs = [row for row in theirs if row["layer"] == -1 and row["metric"] in ("lape_target", "pair_shared")]
    assert [row for row in ours if row["metric"] != "lape_target_sensitivity"] == theirs
    curve = {row["options"]["top_rate"]: row for row in ours if row["metric"] == "lape_target_sensitivity"}
    for row in neuron_rows.sensitivity_rows(measured, "a", draws=20):
        options = dict(row["options"])
        if row["metric"] == "lape_target_sensitivity" and options.pop("varied") == "top_rate":
            same = curve.pop(options["top_rate"], None)
            assert same is None or (same["value"], same["options"]) == (row["value"], options)
    assert curve.keys() == {0.005, 0.02, 0.05}  # rates that only a study takes


def test_always_on_neurons_are_a_warning_and_never_arbitrary_neurons():
    count = np.zeros((3, 1, 100, 2), int)
    count[:, :, :10] = 50
    measured = measured_from(count, np.full((3, 2), 50))
    with pytest.warns(UserWarning, match="only 0 of the 1 neurons"):
        rows = neuron_rows.count_rows(measured, "a", draws=5)
    assert {row["value"] for row in rows if row["metric"] in ("lape_target", "specific", "chosen", "lape_passed")} == {
        0
    }
    fixed = thresholds.scope_of([measured], "pooled", draws=5)
    assert math.isnan(fixed.thresholds.entropy)
    with pytest.warns(UserWarning, match=r"\(pooled\) select no neuron: 0 passed"):
        rows = neuron_rows.count_rows(measured, "a", scope=fixed, draws=5)
    assert {row["value"] for row in rows if row["metric"] in ("lape_target", "specific", "chosen", "lape_passed")} == {
        0
    }


def test_bad_input_is_one_line():
    one = measured_from(np.ones((2, 1, 5, 1), int), np.full((2, 1), 9))
    two = run_of_checkpoints()[0]
    silent = dataclasses.replace(two, tokens_RxK=two.tokens_RxK * [1, 0])
    other = dataclasses.replace(two, languages=["a", "x"])
    for mistake, message in (
        (lambda: neuron_rows.count_rows(one, "a"), "at least two, not 1"),
        (lambda: neuron_rows.transferring_rows(one, "a", "a"), "at least two, not 1"),
        (lambda: pls(np.ones((1, 5, 1))), "at least two"),
        (lambda: neuron_rows.count_rows(silent, "a"), "no counted token"),
        (lambda: neuron_rows.count_rows(two, "c"), "unknown measured language 'c'"),
        (lambda: thresholds.scope_of([two], "pool"), "did you mean 'pooled'"),
        (lambda: thresholds.scope_of([two], "reference_checkpoint"), "name a reference checkpoint"),
        (lambda: thresholds.scope_of([two], "pooled", 0), "name a reference checkpoint"),
        (lambda: thresholds.scope_of([two], "reference_checkpoint", 1), "no checkpoint 1 among 1"),
        (lambda: thresholds.scope_of([two, other], "pooled"), "differ in their languages"),
        (
            lambda: neuron_rows.count_rows(two, "a", scope=thresholds.scope_of([two], "pooled", draws=3)),
            "3 times only",
        ),
    ):
        with pytest.raises(UserError, match=message) as caught:
            mistake()
        assert "\n" not in str(caught.value)


def test_lape_both_is_for_three_languages():
    """With two it is almost empty by construction."""
    two, three = run_of_checkpoints()[3], run_of_checkpoints(K=3)[3]
    assert masks_of(lape.lape(*two.whole()), 0, 1)["lape_both"].sum() == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not any(row["metric"] == "lape_both" for row in neuron_rows.count_rows(two, "a", draws=3))
        assert any(row["metric"] == "lape_both" for row in neuron_rows.count_rows(three, "a", draws=3))


def test_rows_name_a_rule_that_is_not_the_references():
    counts = run_of_checkpoints()[0]
    rules = {
        active: {
            row["options"].get("active")
            for rows in (neuron_rows.count_rows, neuron_rows.sensitivity_rows)
            for row in rows(dataclasses.replace(counts, active=active), "a", draws=2)
        }
        for active in ("activation", "value")
    }
    assert rules == {"activation": {None}, "value": {"value"}}
    named = drift.overlap_rows(dataclasses.replace(counts, active="value"), "a", draws=2)
    assert {row["options"]["active"] for row in named} == {"value"}

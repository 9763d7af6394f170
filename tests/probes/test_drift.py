import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as arrays

from babel_jax.common import measurements
from babel_jax.common.errors import UserError
from babel_jax.probes import drift, lape, neuron_rows, thresholds
from babel_jax.probes.definitions import neuron_sets

quick = settings(max_examples=25, deadline=None, derandomize=True)

KINDS = ("births", "deaths", "switches", "stays")


def measured_from(p_LxFxK, rng, R=6, tokens=300):
    K = p_LxFxK.shape[-1]
    active_RxLxFxK = np.stack([rng.binomial(tokens, p_LxFxK) for _ in range(R)])
    return lape.Counts(list("abcdefg"[:K]), active_RxLxFxK, np.full((R, K), tokens))


def run_of_checkpoints(C=3, K=3, L=2, F=200):
    """At each checkpoint two neurons of the second language are new, and the two oldest ones are of all."""
    rng = np.random.default_rng(0)
    p = np.repeat(rng.uniform(0.05, 0.3, (L, F, 1)), K, axis=2)
    found = []
    for c in range(C):
        now = p.copy()
        now[0, 2 * c : 2 * c + 4] = 0
        now[0, 2 * c : 2 * c + 4, 1] = 0.8
        found.append(measured_from(now, rng))
    return found


def sets_at(measured):
    return neuron_sets(lape.lape(*measured.whole()), measured.languages, "a")


def one(rows, metric, **options):
    found = [row for row in rows if row["metric"] == metric and options.items() <= row["options"].items()]
    assert len(found) == 1, (metric, options, found)
    return found[0]


def check_rows(rows):
    for row in rows:
        measurements.row(run="continual", seed=0, step=1, **row)
    names = [(row["metric"], row["language"], json.dumps(row["options"], sort_keys=True)) for row in rows]
    assert len(set(names)) == len(names)


# --- chance ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layered", [False, True])
def test_chance_is_what_random_sets_give(layered):
    """Against drawing the sets: of all neurons, or as many in every layer."""
    rng = np.random.default_rng(1)
    sizes_a, sizes_b, F = [12, 1, 0, 7], [9, 3, 5, 8], 20
    a, b = np.zeros((2, 4, F), bool)
    for layer in range(4):
        a[layer, : sizes_a[layer]] = True
        b[layer, 4 : 4 + sizes_b[layer]] = True
    shared = (a & b).sum()
    draws = 20_000
    if layered:
        simulated = sum(
            (rng.permuted(np.tile(np.arange(F) < n, (draws, 1)), axis=1)[:, :m]).sum(1)
            for n, m in zip(sizes_a, sizes_b, strict=True)
        )
    else:
        total = np.arange(4 * F) < sum(sizes_a)
        simulated = rng.permuted(np.tile(total, (draws, 1)), axis=1)[:, : sum(sizes_b)].sum(1)
    expected, p = drift.chance(a, b, layered)
    assert expected == pytest.approx(simulated.mean(), abs=4 * simulated.std() / math.sqrt(draws))
    assert 0.005 < p < 0.995
    assert p == pytest.approx((simulated >= shared).mean(), abs=4 * math.sqrt(p * (1 - p) / draws))


def test_two_null_models_differ_where_layers_are_preferred():
    a, b = np.zeros((2, 4, 100), bool)
    a[0, :40] = b[0, 20:60] = (
        True  # both are in the first layer only: 16 in common are expected there, and there are 20
    )
    expected, p = drift.chance(a, b)
    expected_layers, p_layers = drift.chance(a, b, layered=True)
    assert (expected, expected_layers) == (4, 16)
    assert p < 1e-10 and 0.05 < p_layers < 0.2


@quick
@given(arrays.arrays(bool, (3, 2, 8)))
def test_chance_of_sets_that_must_overlap(mask):
    found = drift.overlap(mask)
    for name in ("p_SxS", "p_layers_SxS"):
        assert (found[name] >= 0).all() and (found[name] <= 1).all()
        assert np.allclose(found[name], found[name].T)
    both = found["intersection_SxS"]
    assert np.allclose(found["p_SxS"][both == 0], 1) and np.allclose(found["p_layers_SxS"][both == 0], 1)
    for a in range(3):
        for b in range(3):
            x, y = ({tuple(place) for place in np.argwhere(mask[i]).tolist()} for i in (a, b))
            assert both[a, b] == len(x & y)
            assert found["jaccard_SxS"][a, b] == (
                len(x & y) / len(x | y) if x | y else pytest.approx(np.nan, nan_ok=True)
            )
    full = drift.chance(np.ones((2, 8), bool), mask[0], layered=True)
    assert full == (mask[0].sum(), pytest.approx(1))


def test_many_neurons_in_common_keep_a_small_p():
    a = np.zeros((3, 1000), bool)
    a[:, :30] = True
    assert 0 < drift.chance(a, a, layered=True)[1] < 1e-100
    assert 0 < drift.chance(a, a)[1] < 1e-100


# --- changes ---------------------------------------------------------------------------------------------------------------


@quick
@given(arrays.arrays(bool, (2, 3, 2, 6)))
def test_changes_and_flows_follow_every_neuron(mask):
    before, after = mask
    want = dict.fromkeys(KINDS, 0)
    moved = {}
    for place in np.ndindex(before.shape[1:]):
        was, now = ("".join(k for k, on in zip("abc", one[:, *place], strict=True) if on) for one in (before, after))
        if was or now:
            kind = "births" if not was else "deaths" if not now else "stays" if was == now else "switches"
            want[kind] += 1
            key = ",".join(was), ",".join(now)
            moved[key] = moved.get(key, 0) + 1
    assert drift.changes(before, after) == want
    assert drift.flows(before, after, "abc") == moved


def test_drift_rows_follow_a_planted_run():
    measured = run_of_checkpoints()
    rows = drift.drift_rows(measured, "a", draws=20)
    assert len(rows) == 3
    for now in rows:
        check_rows(now)
    assert not any(row["metric"] in (*KINDS, "flow", "jaccard_previous") for row in rows[0])
    for now in rows[1:]:
        for metric, value in {"size": 4, "births": 2, "deaths": 2, "stays": 2}.items():
            row = one(now, metric, set="lape_target:b")
            assert row["value"] == value == row["ci_low"] == row["ci_high"]
        assert one(now, "switches", set="specific:")["value"] == 0
        assert one(now, "jaccard_previous", set="lape_target:b")["value"] == pytest.approx(2 / 6)
        assert one(now, "flow", **{"from": "", "to": "b"})["value"] == 2
        assert one(now, "flow", **{"from": "b", "to": ""})["n"] == 6
    assert [one(now, "jaccard_first", set="specific:b")["value"] for now in rows] == pytest.approx([1, 2 / 6, 0])
    assert [one(now, "jaccard_last", set="specific:b")["value"] for now in rows] == pytest.approx([0, 2 / 6, 1])
    assert math.isnan(one(rows[1], "jaccard_first", set="specific:a")["value"])


def test_a_neuron_that_takes_another_language_switches():
    rng = np.random.default_rng(2)
    p = np.repeat(rng.uniform(0.05, 0.3, (1, 400, 1)), 3, axis=2)
    before, after = p.copy(), p.copy()
    before[0, :4] = after[0, :4] = 0
    before[0, :4, 1] = 0.8
    after[0, :3, 1] = 0.8
    after[0, 3, 2] = 0.8
    rows = drift.drift_rows([measured_from(p, rng) for p in (before, after)], "a", draws=5)[1]
    assert [one(rows, kind, set="specific:")["value"] for kind in KINDS] == [0, 0, 1, 3]
    assert one(rows, "flow", **{"from": "b", "to": "c"})["value"] == 1
    assert one(rows, "births", set="specific:c")["value"] == one(rows, "deaths", set="specific:b")["value"] == 1


def test_layers_add_up_to_the_whole():
    """What a study writes by layer adds up to what `probe` writes of all layers."""
    measured = run_of_checkpoints()
    whole = drift.drift_rows(measured, "a", draws=5)
    masks = [{"lape_target": sets_at(one)["lape_target", "b"]} for one in measured]
    assert {row["metric"] for row in drift.layer_rows(None, masks[0], "b")} == {"size"}
    for c in (1, 2):
        rows = drift.layer_rows(masks[c - 1], masks[c], "b")
        check_rows([row | {"options": row["options"] | {"layer": row["layer"]}} for row in rows])
        for metric in ("size", "births", "deaths"):
            values = [row["value"] for row in rows if row["metric"] == metric]
            assert len(values) == 2 and sum(values) == one(whole[c], metric, set="lape_target:b")["value"]


def test_drift_intervals_resample_both_checkpoints_alike():
    p = np.random.default_rng(5).uniform(0.05, 0.3, (2, 200, 3))
    noisy, other = (measured_from(p, np.random.default_rng(seed)) for seed in (6, 7))
    same, again = drift.drift_rows([noisy, noisy], "a", draws=20)
    row = one(again, "jaccard_previous", set="specific:b")
    assert row["value"] == row["ci_low"] == row["ci_high"] == 1  # the same shards of the same counts
    row = one(drift.drift_rows([noisy, other], "a", draws=20)[1], "births", set="specific:")
    assert row["ci_low"] < row["ci_high"]


def test_the_size_of_a_block_of_draws_changes_nothing(monkeypatch):
    measured = run_of_checkpoints()
    fixed = thresholds.scope_of(measured, "pooled", draws=12)

    def everything():
        return [
            drift.drift_rows(measured, "a", scope=fixed, draws=12),
            drift.overlap_rows(measured[0], "a", draws=12),
            drift.tokens_rows(measured[0], "a"),
            neuron_rows.count_rows(measured[1], "a", scope=fixed, draws=12),
            neuron_rows.sensitivity_rows(measured[1], "a", draws=12),
        ]

    in_one = everything()
    monkeypatch.setattr(lape, "BLOCK", 5 * measured[0].active_RxLxFxK[0].size)
    assert repr(everything()) == repr(in_one)


def test_drift_takes_thresholds_of_other_checkpoints():
    measured = run_of_checkpoints()
    fixed = thresholds.scope_of(measured, "reference_checkpoint", 0, draws=10)
    rows = drift.drift_rows(measured, "a", scope=fixed, draws=10)
    assert rows[1][0]["options"]["threshold_scope"] == "reference_checkpoint 0"
    for now, m in zip(rows, measured, strict=True):
        p = lape.probabilities(m.active_RxLxFxK.sum(0), m.tokens_RxK.sum(0))
        chosen = thresholds.select(p, fixed)
        want = (chosen.chosen_xLxF & chosen.above_KxxLxF[1]).sum()
        assert one(now, "jaccard_last", set="specific:b")["n"] == want


def test_overlap_rows():
    measured = run_of_checkpoints()[1]
    rows = drift.overlap_rows(measured, "a", draws=20)
    check_rows(rows)
    sets = sets_at(measured)
    assert len(rows) == 6 * len(sets) * (len(sets) - 1) / 2
    row = one(rows, "overlap", a="lape_target:b", b="specific:b")
    assert row["value"] == row["ci_low"] == row["ci_high"] == row["n"] == sets["specific", "b"].sum() == 4
    assert one(rows, "overlap_jaccard", a="lape_target:b", b="specific:b")["value"] == 1
    assert one(rows, "overlap_expected", a="lape_target:b", b="specific:b")["value"] == 16 / 400
    assert one(rows, "overlap_expected_layers", a="lape_target:b", b="specific:b")["value"] == 16 / 200
    assert one(rows, "overlap", a="specific:b", b="specific:a")["value"] == 0


def test_seed_rows():
    same, other = run_of_checkpoints()[0], run_of_checkpoints()[1]
    rows = drift.seed_rows({0: same, 1: same, 2: other}, "a", draws=10)
    check_rows(rows)
    assert one(rows, "jaccard_seeds", seeds=[0, 1], set="specific:b")["value"] == 1
    row = one(rows, "jaccard_seeds", seeds=[0, 2], set="specific:b")
    assert row["value"] == pytest.approx(2 / 6) and row["ci_low"] <= row["value"] <= row["ci_high"]
    by_chance = 16 / 200
    got = one(rows, "jaccard_seeds_expected", seeds=[1, 2], set="specific:b")["value"]
    assert got == pytest.approx(by_chance / (8 - by_chance))


# --- tokens -----------------------------------------------------------------------------------------------------------------


def test_tokens_curve_is_what_each_order_gives():
    measured = measured_from(np.random.default_rng(0).uniform(0.05, 0.3, (1, 120, 2)), np.random.default_rng(1), R=4)

    def sets(count, tokens):
        return thresholds.select(lape.probabilities(count, tokens)).above_KxxLxF

    tokens_R, curve_SxOxR = drift.tokens_curve(measured, sets, orders=3)
    assert tokens_R.tolist() == [600, 1200, 1800, 2400]
    full = sets(measured.active_RxLxFxK.sum(0), measured.tokens_RxK.sum(0))
    rng = np.random.default_rng(0)
    for order in range(3):
        place = rng.permutation(4)
        for taken in range(1, 5):
            mine = place < taken
            part = sets(measured.active_RxLxFxK[mine].sum(0), measured.tokens_RxK[mine].sum(0))
            for s in range(2):
                want = (part[s] & full[s]).sum() / (part[s] | full[s]).sum()
                assert curve_SxOxR[s, order, taken - 1] == want
    assert (curve_SxOxR[..., -1] == 1).all() and (curve_SxOxR[..., 0] < 1).any()


def test_tokens_rows_hold_how_many_are_needed():
    rng = np.random.default_rng(3)
    rows = drift.tokens_rows(run_of_checkpoints()[0], "a")  # so clear that one shard is enough
    check_rows(rows)
    assert one(rows, "tokens_needed", set="lape_target:b")["value"] == 900
    assert one(rows, "tokens_needed", set="lape_target:b")["n"] == 6 * 900
    assert one(rows, "jaccard_half", set="lape_target:b")["value"] == 1
    assert math.isnan(one(rows, "tokens_needed", set="specific:a")["value"])  # empty
    noise = measured_from(np.full((1, 400, 2), 0.2), rng, R=20)
    rows = drift.tokens_rows(noise, "a")
    assert math.isnan(one(rows, "tokens_needed", set="specific:b")["value"])
    curve = [row["value"] for row in rows if row["metric"] == "jaccard_fraction" and row["language"] == "b"][:20]
    assert len(curve) == 20 and curve[0] < 0.5 < curve[-1] == 1
    half = one(rows, "jaccard_half", set="specific:b")
    assert half["value"] == one(rows, "jaccard_fraction", set="specific:b", fraction=0.5)["value"] < 0.95


def test_bad_input_is_one_line():
    measured = run_of_checkpoints()[0]
    alone = lape.Counts(measured.languages, measured.active_RxLxFxK[:1], measured.tokens_RxK[:1])
    with pytest.raises(UserError, match="one shard"):
        drift.tokens_rows(alone, "a")
    with pytest.raises(UserError, match="differ in their languages"):
        drift.drift_rows([measured, alone], "a")
    with pytest.raises(UserError, match="unknown measured language 'z'"):
        drift.overlap_rows(measured, "z")

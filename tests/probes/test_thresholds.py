import dataclasses

import numpy as np
import pytest
from helpers.counted import run_of_checkpoints, value

from babel_jax.common.errors import UserError
from babel_jax.probes import lape, neuron_rows, thresholds


def test_thresholds_give_the_ranked_selection_again():
    measured = run_of_checkpoints()[2]
    p = lape.probabilities(measured.active_RxLxFxK.sum(0), measured.tokens_RxK.sum(0))
    ranked, fixed = (
        thresholds.select(p),
        thresholds.select(p, thresholds.Scope("given", thresholds=thresholds.thresholds(p))),
    )
    for name in ("chosen_xLxF", "above_KxxLxF", "passed_x"):
        assert np.array_equal(getattr(ranked, name), getattr(fixed, name)), name
    assert ranked.chosen_xLxF.sum() == 8


def test_pooled_thresholds_are_ranks_among_all_checkpoints():
    measured = run_of_checkpoints()
    whole = [(m.active_RxLxFxK.sum(0), m.tokens_RxK.sum(0)) for m in measured]
    found = thresholds.scope_of(measured, "pooled", draws=3)
    p = [(count / tokens).astype(np.float32) for count, tokens in whole]
    bar = np.sort(np.concatenate([one.ravel() for one in p]))[round(0.95 * 4 * 2 * 400 * 2) - 1]
    assert found.thresholds.probability == found.thresholds.bar == bar
    entropies = []
    for one in p:
        q = one[(one > bar).any(-1)].astype(float)
        q /= q.sum(-1, keepdims=True)
        entropies += (-(q * np.log(q)).sum(-1)).tolist()
    assert found.thresholds.entropy == pytest.approx(sorted(entropies)[round(0.01 * 4 * 800) - 1], abs=1e-6)
    assert found.drawn.entropy.shape == (3,)


def test_only_fixed_thresholds_let_the_number_rise():
    measured = run_of_checkpoints()

    def chosen(scope, reference=None):
        fixed = thresholds.scope_of(measured, scope, reference, draws=10)
        rows = [neuron_rows.count_rows(m, "a", scope=fixed, draws=10) for m in measured]
        assert rows[0][0]["options"].get("threshold_scope", "per_checkpoint").startswith(scope)
        return [value(one, "chosen") for one in rows], rows

    assert chosen("per_checkpoint")[0] == [8, 8, 8, 8]
    numbers, rows = chosen("reference_checkpoint", 1)
    assert numbers[1] == 8 and numbers[0] < 8 < numbers[2] < numbers[3]
    reference = value(neuron_rows.count_rows(measured[1], "a", draws=10), "threshold", name="bar")
    assert [value(one, "threshold", name="bar") for one in rows] == [reference] * 4
    pooled, _ = chosen("pooled")
    assert pooled == sorted(pooled) and pooled[0] < pooled[-1]
    alone = thresholds.scope_of(measured, "reference_checkpoint", 1, draws=10)
    again = neuron_rows.count_rows(measured[1], "a", scope=alone, draws=10)
    for drawn, ranked in zip(again, neuron_rows.count_rows(measured[1], "a", draws=10), strict=True):
        same = ("metric", "language", "value", "ci_low", "ci_high")  # the drawn thresholds go with the drawn shards
        assert [drawn.get(name) for name in same] == [ranked.get(name) for name in same]


def test_rates_hold_in_every_scope():
    measured = run_of_checkpoints()
    for scope, reference in (("per_checkpoint", None), ("reference_checkpoint", 2)):
        fixed = thresholds.scope_of(measured, scope, reference, draws=2, rates=lape.Rates(0.015, 0.9, 0.92))
        rows = neuron_rows.count_rows(measured[2], "a", scope=fixed, draws=2)
        assert value(rows, "chosen") == 12 and rows[0]["options"]["top_rate"] == 0.015
        p = (measured[2].active_RxLxFxK.sum(0) / measured[2].tokens_RxK.sum(0)).astype(np.float32)
        assert value(rows, "threshold", name="bar") == np.sort(p, None)[round(p.size * 0.92) - 1]
        assert value(rows, "threshold", name="probability") == np.sort(p, None)[round(p.size * 0.9) - 1]


def test_counts_by_different_rules_are_not_compared():
    first, *rest = run_of_checkpoints()
    other = dataclasses.replace(first, active="value")
    with pytest.raises(UserError, match="rule of active neurons"):
        thresholds.scope_of([other, *rest], "pooled", draws=2)

"""Reading back causes, drift and the lens grid: planted rows give planted numbers."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from babel_jax.common import measurements
from babel_jax.common.statistics import Effect
from babel_jax.evolution import mechanism

ABLATION = dict(kind="mean", checkpoint="peak", size=51, draws=20)


def cause(seed, neurons, subset, value, random_mean=-0.05, half=0.02, sd=0.01, metric="pass", **more):
    """One row as `problem_change_rows` writes it; "transfer - shared" is a specificity."""
    contrast = subset == "transfer - shared"
    level = {} if contrast else {"before": 0.9, "after": 0.9 + value}
    options = ABLATION | {"set": neurons, "subset": subset, "random_mean": random_mean, "random_sd": sd, "p": 1 / 21}
    return measurements.row(
        run=more.pop("run", "continual"),
        seed=seed,
        step=80 + seed,
        probe="intervention",
        language="php",
        metric=f"{metric}_{'specificity' if contrast else 'change'}",
        value=value,
        n=120,
        ci_low=value - half,
        ci_high=value + half,
        options=options | level | more,
    )


def frame_of(rows) -> pd.DataFrame:
    return measurements.table(rows)


def entry_of(found, neurons, subset, **more):
    wanted = dict(neurons=neurons, subset=subset, metric="pass", kind="mean", checkpoint="peak") | more
    (entry,) = [one for one in found.sets if all(getattr(one, key) == value for key, value in wanted.items())]
    return entry


HURT = [-0.40, -0.25, -0.35]  # what ablation does to transfer problems, by seed
RANDOM = [-0.05, -0.02, -0.08]


def planted() -> pd.DataFrame:
    rows = []
    for seed in range(3):
        more = dict(random_mean=RANDOM[seed])
        rows += [
            cause(seed, "functional", "transfer", HURT[seed], **more),
            cause(seed, "functional", "shared", -0.1, **more),
            cause(seed, "functional", "transfer - shared", HURT[seed] + 0.1, random_mean=0.0),
            cause(seed, "functional_shared", "transfer - shared", 0.2 + 0.01 * seed, random_mean=0.03),
            cause(seed, "functional", "transfer", -0.01, kind="zero", **more),
            cause(seed, "functional", "transfer", -0.02, checkpoint="last", **more),
            cause(seed, "functional", "transfer", 0.5, run="control", **more),
        ]
    return frame_of(rows)


def test_an_ablation_is_told_with_its_random_sets_paired_over_seeds():
    causes = mechanism.causes(planted(), "php")
    entry = entry_of(causes, "functional", "transfer")
    want = stats.ttest_1samp(HURT, 0).confidence_interval(0.95)
    assert entry.value == pytest.approx(np.mean(HURT)) and entry.ci == pytest.approx(list(want))
    difference = np.subtract(HURT, RANDOM)
    test = stats.ttest_1samp(difference, 0)
    assert entry.difference.value == pytest.approx(difference.mean())
    assert entry.difference.ci == pytest.approx(list(test.confidence_interval(0.95)))
    assert entry.difference.p == pytest.approx(test.pvalue) and test.pvalue < 0.05
    spread = 0.01 / np.sqrt(3)
    assert entry.random_mean == pytest.approx(-0.05)
    assert entry.random_ci == pytest.approx([-0.05 - 1.96 * spread, -0.05 + 1.96 * spread], abs=1e-4)
    assert entry_of(causes, "functional", "transfer", kind="zero").value == pytest.approx(-0.01)
    assert entry_of(causes, "functional", "transfer", checkpoint="last").value == pytest.approx(-0.02)


def test_the_verdict_is_about_transfer_and_beyond_random_sets():
    causes = mechanism.causes(planted(), "php")
    verdict = causes.verdict
    assert verdict.matters == entry_of(causes, "functional", "transfer").difference
    assert verdict.specific.value == pytest.approx(np.mean(HURT) + 0.1) and verdict.specific.ci[1] < 0
    want = np.add(HURT, 0.1) - (np.array([0.2, 0.21, 0.22]) - 0.03)
    assert verdict.crossover.value == pytest.approx(want.mean())
    assert verdict.crossover.p == pytest.approx(stats.ttest_1samp(want, 0).pvalue)


def test_seeds_that_agree_by_luck_do_not_narrow_an_interval():
    rows = [cause(seed, "functional", "transfer", -0.3, half=0.196, sd=0.1) for seed in range(4)]
    entry = entry_of(mechanism.causes(frame_of(rows), "php"), "functional", "transfer")
    assert entry.ci == pytest.approx([-0.3 - 0.098, -0.3 + 0.098], abs=1e-3)  # 1.96 times 0.1 / sqrt(4)
    error = np.hypot(0.1, 0.1 * np.sqrt(1.05)) / 2
    assert entry.difference.ci == pytest.approx([-0.25 - 1.96 * error, -0.25 + 1.96 * error], abs=1e-3)


def test_one_seed_and_what_was_not_measured():
    assert mechanism.causes(planted(), "go") is None
    assert mechanism.causes(planted().iloc[:0], "php") is None
    causes = mechanism.causes(frame_of([cause(0, "functional_shared", "all", -0.2, half=0.049)]), "php")
    assert causes.verdict == mechanism.CausesVerdict(None, None, None)
    (entry,) = causes.sets
    assert entry.ci == pytest.approx([-0.249, -0.151])
    error = np.hypot(0.025, 0.01 * np.sqrt(1.05))
    assert entry.difference.p == pytest.approx(2 * stats.norm.sf(0.15 / error), rel=1e-3)
    # Where nothing changes, neither by the set nor by chance, nothing is said.
    still = frame_of([cause(0, "lape_target", "all", 0.0, 0.0, 0.0, 0.0)])
    assert mechanism.causes(still, "php").sets[0].difference == Effect(0.0, (0.0, 0.0), 1.0)


@pytest.mark.parametrize("seeds", [1, 3, 5])
def test_intervals_hold_the_planted_difference(seeds):
    rng, held = np.random.default_rng(0), 0
    between = 0.05 if seeds > 1 else 0.0  # one seed knows nothing of others
    for _ in range(500):
        effect_S = -0.2 + rng.normal(0, between, seeds)
        rows = []
        for seed in range(seeds):
            random_R = rng.normal(-0.05, 0.03, 21)  # the set is as one of them, and its effect beside that
            value = effect_S[seed] + random_R[0] + rng.normal(0, 0.04)
            moments = dict(random_mean=random_R[1:].mean(), sd=random_R[1:].std(ddof=1))
            rows.append(dict(seed=seed, value=value, half=1.96 * 0.04, draws=20) | moments)
        group = pd.DataFrame(rows).rename(columns={"sd": "random_sd"})
        group["ci_low"], group["ci_high"] = group["value"] - group["half"], group["value"] + group["half"]
        low, high = mechanism.beside_random(group)[2].ci
        held += low <= -0.2 <= high
    assert 0.92 <= held / 500 <= 0.99  # the wider of two errors: a little more than 95 % where they are alike


def drift_row(seed, step, metric, layer, value, run="continual", definition="functional"):
    return measurements.row(
        run=run, seed=seed, step=step, probe="drift", language="php", layer=layer, metric=metric, value=value,
        options={"set": f"{definition}:php"},
    )  # fmt: skip


def test_drift_is_a_table_of_steps_by_layers():
    rows = []
    for seed in (4, 7):
        for step in (0, 8, 16):
            for layer in (-1, 1, 2):
                rows.append(drift_row(seed, step, "size", layer, 100 * layer + step + seed))
                if step:
                    rows.append(drift_row(seed, step, "births", layer, 10 * layer + seed))
                    rows.append(drift_row(seed, step, "deaths", layer, layer + step))
    rows.append(drift_row(4, 0, "size", 1, 3, run="control"))
    drift = mechanism.drift(frame_of(rows), "php")
    assert (drift.run, drift.definition, drift.seeds) == ("continual", "functional", [4, 7])
    assert drift.steps.tolist() == [0, 8, 16] and drift.layers.tolist() == [1, 2]
    assert drift.size_CxL.tolist() == [[105.5, 205.5], [113.5, 213.5], [121.5, 221.5]]
    assert np.isnan(drift.births_CxL[0]).all() and drift.births_CxL[1:].tolist() == [[15.5, 25.5]] * 2
    assert drift.deaths_CxL[1:].tolist() == [[9, 10], [17, 18]]
    (control,) = drift.others
    assert control.run == "control" and control.size_CxL.tolist() == [[3]]
    assert mechanism.drift(frame_of(rows), "go") is None


def test_a_grid_reads_back_as_probabilities():
    slot = {"problem": 4, "tokens": [9, 2], "top": [[[9, 2, 1, 0, 3]]], "top_probability": [[[600, 399, 1, 0, 0]]]}
    grid = {"steps": [0], "layers": 1, "slots": [slot | {"probability": [[[600, 399]]]}], "names": {"9": "upper"}}
    found = mechanism.lens_grid(grid)
    (read,) = found["slots"]
    assert found["names"] == {"9": "upper"} and (read["problem"], read["tokens"]) == (4, [9, 2])
    assert read["top_CxLx5"].tolist() == [[[9, 2, 1, 0, 3]]] and "top" not in read
    assert read["top_probability_CxLx5"].tolist() == [[[0.6, 0.399, 0.001, 0, 0]]]
    assert read["probability_CxLxM"].tolist() == [[[0.6, 0.399]]]

"""Regrets: the best is chosen on other seeds, cells count once, and names that mean nothing show no difference."""

import numpy as np
import pytest

from babel_jax.evolution.learning import Learning
from babel_jax.evolution.mixes import Mix
from babel_jax.optimum import cell_regrets as regret

SEEDS = [0, 1, 2]


def mix(name, scores, learned=True):
    return Mix(name, SEEDS, {"php": np.array(scores, float)}, np.array(scores, float), learning=learning(learned))


def learning(learned):
    return Learning(SEEDS, np.array([800]), np.full((3, 1), learned))


def cell(name, sweep, asked):
    return regret.Cell(name, sweep, asked, lambda each: each.score_S("php"), lambda each: 0.1)


SWEEP = [mix("0.1000", [0.9, 0.8, 0.7]), mix("0.5000", [0.5, 0.9, 0.7])]


def test_the_best_mix_is_chosen_on_the_other_seeds():
    """On the seeds 1 and 2 the second is better, and so it counts as the best for seed 0, where it is not."""
    (found,) = regret.regrets(cell("a", SWEEP, {"this": mix("this", [0.5, 0.5, 0.5])}))
    assert found.by_seed == pytest.approx([0.0, 0.3, 0.2])
    assert found.effect.value == pytest.approx(np.mean(found.by_seed))


def test_an_optimiser_whose_mix_has_not_learned_the_primary_is_not_tested():
    (found,) = regret.regrets(cell("a", SWEEP, {"this": mix("this", [0.5, 0.5, 0.5], learned=False)}))
    assert found.missing == "3 of 3 runs had not learned the primary" and np.isnan(found.effect.value)
    assert regret.table([found]) == []


def test_a_mix_of_the_sweep_that_has_not_learned_the_primary_is_not_the_best():
    unlearned = mix("0.0100", [1, 1, 1], learned=False)
    (found,) = regret.regrets(cell("a", [*SWEEP, unlearned], {"this": SWEEP[0]}))
    (alone,) = regret.regrets(cell("a", SWEEP, {"this": SWEEP[0]}))
    assert found.by_seed == pytest.approx(alone.by_seed)


def of_cells(value_OxC):
    return [
        regret.Regret(f"cell{c}", f"optimiser{o}", "", 0.1, np.full(5, value), regret.Effect(value, (0, 0), 1.0))
        for o, row in enumerate(value_OxC)
        for c, value in enumerate(row)
    ]


def test_rows_are_in_the_order_of_their_mean_over_cells():
    rows = regret.table(of_cells([[0.3, 0.5, 0.4], [0.0, 0.1, 0.05]]))
    assert [row.optimiser for row in rows] == ["optimiser1", "optimiser0"]
    assert (rows[0].cells, rows[0].seeds, rows[0].behind) == (3, 15, None)
    assert rows[1].behind.value == pytest.approx(0.35) and rows[1].p_holm < 0.05


def test_one_that_was_tested_in_few_cells_does_not_come_first():
    rows = regret.table(of_cells([[0.2, 0.2, 0.2], [0.0, np.nan, np.nan]]))
    assert [row.optimiser for row in rows] == ["optimiser0", "optimiser1"]


def test_shuffled_labels_tell_a_difference_from_none():
    generator = np.random.default_rng(3)
    noise = generator.normal(0, 0.05, (6, 10))
    assert regret.shuffled_labels(of_cells(noise + np.linspace(0, 0.5, 6)[:, None])) < 0.01
    without = [regret.shuffled_labels(of_cells(generator.normal(0, 0.05, (6, 10)))) for _ in range(20)]
    assert 0.25 < np.mean(without) < 0.75  # as uniform as twenty values can be


def test_one_cell_cannot_tell_and_an_optimiser_that_was_not_tested_everywhere_counts_where_it_was():
    assert regret.shuffled_labels(of_cells([[0.5], [0.0], [0.2]])) == 1.0
    differing = np.linspace(0, 0.5, 8)[:, None] + np.zeros(4)
    differing[0, 0] = np.nan
    assert regret.shuffled_labels(of_cells(differing)) < 0.01


def test_the_stored_tables_are_of_the_shape_that_is_written():
    found = of_cells([[0.3, 0.5], [0.0, 0.1]])
    assert list(regret.frame(regret.table(found))) == [
        "optimiser",
        "cells",
        "seeds",
        "regret",
        "low",
        "high",
        "behind",
        "p_holm",
    ]
    assert len(regret.frame_of_cells(found)) == 4

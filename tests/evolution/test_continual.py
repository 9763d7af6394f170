"""The working language over a run, and what it is compared with."""

import numpy as np
import pytest
from helpers import synthetic_study

from babel_jax.common import measurements
from babel_jax.evolution import continual

STEPS = (0, 4, 8, 16)


def lens_rows(values, metric="concept_share", options=None, seeds=2):
    """One row a seed, step and layer: `values` by step, the same in the two layers before the last, and 9 in the last."""
    return [
        measurements.row(
            run="continual", seed=seed, step=step, tokens=step, probe="lens", language="php", layer=layer, metric=metric,
            value=value + 0.01 * seed if layer < 3 else 9, n=40, ci_low=value - 0.02, ci_high=value + 0.02,
            options={"subset": "all"} | (options or {}), tokens_by_language={"php": step},
        )
        for seed in range(seeds) for step, value in zip(STEPS, values, strict=True) for layer in (1, 2, 3)
    ]  # fmt: skip


def curves_of(rows):
    return continual.curves(measurements.table(rows), "python", "php")


def test_a_difference_of_shares_may_lie_below_zero():
    """A concept in the new language's words has a share below 0, and so may its interval."""
    found = curves_of(lens_rows((0.4, 0.6, 0.1, -0.3)) + lens_rows((0.9, 0.9, 0.2, 0.1), "primary_share_pair"))
    concept = found.concept_share["continual"]
    np.testing.assert_allclose(concept.mean, [0.405, 0.605, 0.105, -0.295])
    assert not concept.unit and concept.low[-1] < -0.3 and concept.end().ci[0] < -0.3
    assert found.beside_others == {} and found.working_language["continual"].unit


def test_what_is_left_of_the_concept_is_the_share_of_algorithm_1():
    shares = curves_of(
        lens_rows((0.4, 0.6, 0.1, -0.3), seeds=1) + lens_rows((0.9, 0.9, 0.2, 0.1), "primary_share_pair", seeds=1)
    )
    np.testing.assert_allclose(shares.measured_shares["working_language"].mean, [1, 1, 0.25, 0])
    raw = curves_of(lens_rows((0.9, 0.9, 0.2, 0.1), "primary_share_pair", seeds=1))
    np.testing.assert_allclose(raw.measured_shares["working_language"].mean, [0.9, 0.9, 0.2, 0.1])
    none = curves_of(
        lens_rows((0.01, 0.6, 0.1, 0.1), seeds=1) + lens_rows((0.9, 0.9, 0.2, 0.1), "primary_share_pair", seeds=1)
    )
    assert "working_language" not in none.measured_shares


def test_each_of_several_languages_has_a_curve():
    rows = [
        row
        for language, value in (("php", 0.2), ("cpp", 0.3), ("python", 0.5))
        for row in lens_rows([value] * 4, "language_share_prob", {"identifier": language}, seeds=1)
    ]
    found = curves_of(rows)
    assert found.languages_read == ["cpp", "php", "python"]
    assert found.language_shares["continual", "cpp"].mean == pytest.approx([0.3] * 4)
    assert curves_of(lens_rows((0.1,) * 4)).languages_read == []


def test_studies_without_other_pairs_have_their_curves_as_before():
    frame = synthetic_study.planted(seeds=1, problems=60)
    old = frame[~frame["metric"].isin(["concept_share", "primary_share_others"])]
    now, then = (continual.curves(rows, "python", "php") for rows in (frame, old))
    assert then.concept_share == {} and set(now.concept_share) == {"continual", "control"}
    np.testing.assert_array_equal(now.working_language["continual"].mean, then.working_language["continual"].mean)

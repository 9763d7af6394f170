"""What the optimiser works on is what the rows say."""

import json

import numpy as np
import pytest
from helpers import synthetic_study

from babel_jax.evolution.observation import observation
from babel_jax.study import analysis

STEPS = synthetic_study.STEPS[::2]


@pytest.fixture(scope="module")
def alone():
    """(facts, rows) of a planted study of one new language, with replay."""
    return synthetic_study.alone()


def test_an_observation_holds_what_the_rows_say(alone):
    _, frame = alone
    curves = analysis.of_language(frame, "python", "php", {"python": 1.0, "php": 1.0}, print).curves
    seen = observation(frame, curves)
    row = frame[(frame["run"] == "continual") & (frame["metric"] == "loss") & (frame["language"] == "php")]
    row = row[(row["seed"] == 1) & (row["step"] == STEPS[3])].iloc[0]
    assert seen.losses["loss"][1, 3] == row["value"]
    assert seen.loss_errors["loss"][1, 3] == pytest.approx((row["ci_high"] - row["ci_low"]) / 3.92, rel=1e-3)
    assert seen.tokens[3] == json.loads(row["tokens_by_language"])["php"] > seen.tokens[2]
    assert seen.score_SxC.shape == (3, len(STEPS))
    assert all(np.nanmin(share) >= 0 and np.nanmax(share) <= 1 for share in seen.shares.values())
    assert set(seen.shares) == {"knowledge_share", "working_language", "functional_neurons"}

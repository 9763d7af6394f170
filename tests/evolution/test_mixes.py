"""From-scratch mixes read back from their rows."""

import json

import numpy as np
import pytest
from helpers import synthetic_study

from babel_jax.evolution.mixes import mixes

SEVERAL = ("php", "cpp")


@pytest.fixture(scope="module")
def found():
    return synthetic_study.found(SEVERAL)


@pytest.fixture(scope="module")
def alone():
    """(facts, rows) of a planted study of one new language, with replay."""
    return synthetic_study.alone()


def test_a_mix_is_read_at_its_last_step_in_every_language(found, alone):
    for mix in found.mixes:
        assert mix.shares.keys() == {"python", *SEVERAL} and sum(mix.shares.values()) == pytest.approx(1)
        assert np.allclose(mix.macro, np.mean(list(mix.score.values()), axis=0))
        for language, solved in mix.solved.items():
            assert np.allclose([s.mean() for s in solved], mix.score[language])
    assert {mix.name for mix in found.mixes if len(mix.stages) > 1} == {"schedule"}
    _, frame = alone
    assert "unimax" in [mix.name for mix in mixes(frame, ["python", "php"])]
    loss = next(mix.loss for mix in mixes(frame, ["python", "php"]) if mix.name == "0.8000")
    assert loss.keys() == {"python", "php"} and loss["php"].shape == (3,)
    assert (loss["php"] < loss["python"]).all(), "planted: it falls with the share"
    without = frame[frame["metric"] != "loss"]
    assert all(mix.loss == {} for mix in mixes(without, ["python", "php"]))
    gone = frame[~((frame["run"] == "mix_unimax") & (frame["language"] == "php"))]
    assert "unimax" not in [mix.name for mix in mixes(gone, ["python", "php"])]


def test_the_shares_of_a_mix_that_chooses_its_weights_are_those_of_all_seeds(alone):
    _, frame = alone
    here = ((frame["run"] == "mix_unimax") & (frame["seed"] == 2)).to_numpy(bool)
    other = frame.assign(tokens_by_language=frame["tokens_by_language"].astype(object))
    other.loc[here, "tokens_by_language"] = json.dumps({"python": 0, "php": 7})
    before, after = (
        next(mix.shares["php"] for mix in mixes(rows, ["python", "php"]) if mix.name == "unimax")
        for rows in (frame, other)
    )
    assert after == pytest.approx((2 * before + 1) / 3)

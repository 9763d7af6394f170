"""Where no score is above chance nothing is proposed, and what does not rest on scores leads."""

import numpy as np
import pytest
from helpers import synthetic_study
from helpers.synthetic_study import changed

from babel_jax.common import measurements
from babel_jax.study import chance, facts


@pytest.fixture(scope="module")
def silent():
    """A study of call sites in which PHP is answered no better than by always saying the commonest identifier."""
    frame = synthetic_study.real_code(sites=40)
    new = ((frame["language"] == "php") & (frame["metric"] == "solved") & (frame["run"] == "continual")).to_numpy(bool)
    frame = frame.assign(value=np.where(new & (frame["item"] >= 12).to_numpy(bool), 0.0, frame["value"]))
    about = dict(run="continual", seed=0, step=0, probe="evaluation", metric="chance", n=40)
    level = measurements.table([measurements.row(**about, language="php", value=0.3)])
    frame = measurements.table([*frame.to_dict("records"), *level.to_dict("records")])
    return synthetic_study.analysed(facts.of(synthetic_study.description(frame, kind="real_code")), frame)


def test_nothing_is_proposed_at_chance(silent):
    here = silent.languages["php"]
    assert here.curves.chance == 0.3 and here.curves.above_chance is False
    assert not here.proposals and here.peak_tokens is None and here.dependence is None
    assert any("No score is above chance, so there is no P* and no proposal." in gap for gap in here.gaps)


def test_the_sentence_states_the_level_and_what_counts(silent):
    said = chance.at_chance(silent.languages["php"]).replace("\N{NO-BREAK SPACE}", " ")
    assert (
        said.startswith("No score in PHP is above chance, which is 30 %: at best ") and "more than 35 % counts" in said
    )
    assert chance.at_chance(synthetic_study.found().languages["php"]) == ""


def test_bits_per_byte_and_the_working_language_lead(silent):
    text, lens = chance.instead(silent, "php")
    assert text.startswith("On held-out texts of PHP, bits per byte: from 1.") and lens.startswith(
        "The working language goes"
    )
    without = changed(silent, "languages", "php", "curves", loss={}, working_language={})
    assert chance.instead(without, "php") == []

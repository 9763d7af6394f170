"""The story in words: four sentences with their intervals, or that something was not tested."""

import dataclasses

import pytest
from helpers import synthetic_study
from helpers.synthetic_study import changed, unlearned

from babel_jax.report import story
from babel_jax.study.verdicts import verdicts


def told(findings) -> dict[str, str]:
    four = story.four(findings, verdicts(findings))
    return {heading: sentence.replace("\N{NO-BREAK SPACE}", " ") for heading, sentence in four}


@pytest.fixture
def findings():
    return synthetic_study.found()


def test_four_sentences_with_their_intervals(findings):
    said = told(findings)
    assert list(said) == ["Rise", "Fall", "Inside", "The better corpus"]
    assert all("[" in sentence and sentence.endswith(".") for sentence in said.values())
    assert said["Rise"].startswith("PHP rises from ") and " at step 64." in said["Rise"]
    assert "then declines by " in said["Fall"] and "its control has " in said["Fall"]
    assert "the knowledge share goes from " in said["Inside"] and "restoring the peak's blocks" in said["Inside"]
    assert "The original mix (2.1 PHP tokens for every one of Python) reaches" in said["The better corpus"]


def test_what_was_not_tested_is_said(findings):
    said = told(unlearned(findings, "0.6765", seeds=(0, 1)))
    assert said["The better corpus"].startswith("Not tested. 2 of 6 runs had not learned Python; train longer.")
    said = told(changed(findings, "languages", "php", "curves", above_chance=False))
    assert "not tested: no score is above chance" in said["Rise"] and "not tested" in said["Fall"]
    assert "was not tested" in said["Inside"]
    said = told(synthetic_study.empty(findings))
    assert said["Rise"] == "The accuracy of PHP was not measured." and said["The better corpus"].startswith(
        "Not tested"
    )


@pytest.mark.parametrize(
    "kind, primary, where",
    [
        ("organism", "python", "in the embedded world"),
        ("text", "python", "on real source code"),
        ("text", "en", "on running text"),
    ],
)
def test_the_lead_says_what_the_study_was_made_on(findings, kind, primary, where):
    study = dataclasses.replace(findings.study, kind=kind, primary=primary)
    assert f", {where}, " in story.lead(dataclasses.replace(findings, study=study))


def test_several_languages_stand_in_one_sentence():
    said = told(synthetic_study.found(("php", "cpp")))
    assert "; C++ rises from " in said["Rise"] and "C++ ends at " in said["Fall"]


def test_the_lead_is_bits_and_lens_where_no_score_is_above_chance(findings):
    lead = story.lead(changed(findings, "languages", "php", "curves", above_chance=False))
    assert "No score in PHP is above chance" in lead and "The working language goes from" in lead
    assert "rises" not in lead and "No transition" not in lead
    (card,) = story.stage_cards(changed(findings, "languages", "php", "curves", above_chance=False), "php")
    assert card.heading == "At chance" and "held-out texts" in card.sentence

import numpy as np
import pytest

from babel_jax.common.statistics import Estimate
from babel_jax.study import words


def test_a_reason_becomes_a_sentence():
    assert words.as_sentence("a decline of -4 points [-100, 99] in T-S") == "A decline of −4 points [−100, 99] in T-S."


@pytest.mark.parametrize(
    "text, expected", [("-0.0", "0.0"), ("-0.5", "−0.5"), ("+0.0", "+0.0"), ("-10", "−10"), ("-0", "0")]
)
def test_minus_signs(text, expected):
    assert words.minus(text) == expected


def test_intervals_are_left_out_where_there_are_none():
    assert words.points(Estimate(-0.1234, (-0.2, 0.0))) == f"−12.3{words.NBSP}points [−20.0,{words.NBSP}0.0]"
    assert words.points(Estimate(0.1, (np.nan, np.nan))) == f"10.0{words.NBSP}points"
    assert words.bounds([1, np.inf], digits=0) == f" [1,{words.NBSP}∞]"
    assert words.names(["php"]) == "PHP" and words.names(["php", "go", "cpp"]) == "PHP, Go and C++"
    assert words.mix_title("algorithm1_loss_equal_epochs") == "Algorithm 1, loss, equal epochs"


@pytest.mark.parametrize(
    "new, primary, said",
    [
        (1, 20, "1 PHP token for every 20 of Python"),
        (23, 11, "2.1 PHP tokens for every one of Python"),
        (5, 5, "1 PHP token for every one of Python"),
        (2, 3, "1 PHP token for every 1.5 of Python"),
        (0, 3, "no PHP"),
        (1, 0, "PHP without Python"),
        (float("inf"), 11, "PHP without Python"),
    ],
)
def test_amounts_are_told_beside_the_primary(new, primary, said):
    assert words.ratio("php", new, "python", primary) == said


def test_a_whole_corpus_names_the_primary_once():
    told = words.ratios({"python": 0.5, "php": 0.025, "cpp": 1.0}, "python")
    assert told == "1 PHP token for every 20 of Python, 2 C++ tokens for every one"

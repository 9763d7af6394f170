import dataclasses
import re

import numpy as np
import pandas as pd
import pytest
from helpers.losses import PAPER, PEAK, continual_runs, planted

from babel_jax.common.errors import UserError
from babel_jax.evolution import stages
from babel_jax.optimum import algorithm1, peak_tokens, share_sources, table
from babel_jax.optimum.algorithm1 import Amounts


@pytest.fixture(scope="module", name="planted")
def planted_table():
    return planted()


@pytest.fixture
def read(tmp_path):
    """Reads the text, or the bytes, of a table."""

    def read_text(content, primaries=None):
        file = tmp_path / "losses.csv"
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return table.read_csv(file, primaries or {"python": 11e9})

    return read_text


def test_scores_become_answers_that_keep_them():
    solved_CxQ = table.answers([0.0, 0.25, 1.0, 0.5], 8, seed=0)
    np.testing.assert_array_equal(solved_CxQ.sum(1), [0, 2, 8, 4])
    assert set(np.unique(solved_CxQ)) == {0, 1}


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda t: t.drop(columns=["tokens", "score"]), "lacks the column tokens, score"),
        (lambda t: t.assign(loss=t["loss"].where(t["step"] != 96)), "line 10: loss is missing"),
        (lambda t: t.assign(loss=t["loss"].astype(str).where(t["step"] != 4, "abc")), "line 3: loss is abc"),
        (lambda t: t.assign(score=t["score"] * 100), "must be from 0 to 1"),
        (lambda t: t.assign(n=0.5), "n is 0.5 and must be a whole number, 2 or more"),
        (lambda t: t.assign(loss=-t["loss"]), "a number, 0 or more"),
        (lambda t: t.assign(n=1), "2 or more"),
        (lambda t: t.assign(language=t["language"].where(t["step"] != 8)), "line 4: language is missing"),
        (lambda t: t.assign(knowledge_share=2.0), "knowledge_share is 2"),
        (lambda t: t.assign(language="python"), "no language but python"),
        (lambda t: t.iloc[:0], "no language but python"),
        (lambda t: t[t["step"].isin([0, 48])], "has 2 checkpoints of php"),
        (lambda t: t[t["step"] > 0], "must rise from 0"),
        (lambda t: t.assign(tokens=0), "must rise from 0"),
        (lambda t: t.drop(index=t[(t["seed"] == 1) & (t["step"] == 96)].index), "seed 1 of php lacks step 96"),
        (lambda t: pd.concat([t, t.iloc[[3]]]), "php, seed 0, step 16 twice"),
        (lambda t: t.assign(n=t["n"] + t["step"]), "n of php changes within a run"),
    ],
)
def test_a_table_that_cannot_be_used_is_an_error(planted, read, change, message):
    frame = change(planted[planted["language"] == "php"].reset_index(drop=True))
    with pytest.raises(UserError, match=re.escape(message)):
        read(frame.to_csv(index=False))


def test_what_is_not_a_table_is_an_error(read, tmp_path):
    with pytest.raises(UserError, match="cannot read .*none.csv"):
        table.read_csv(tmp_path / "none.csv", {"python": 11e9})
    with pytest.raises(UserError, match="cannot read .* as CSV .it is empty."):
        read("")


@pytest.mark.parametrize(
    "coat",
    [
        lambda header, rows: "\n".join([header, *(f"{row}," for row in rows)]),  # pandas would shift every column
        lambda header, rows: "\n".join(f"{line},," for line in [header, *rows]),
        lambda header, rows: "\r\n".join([header, *rows]),
        lambda header, rows: "\r".join([header, *rows]),
        lambda header, rows: "\ufeff" + "\n \n,,,\n\n".join([header, *rows]),
        lambda header, rows: "\n".join(line.replace(",", " , ") for line in [header, *rows]),
        lambda header, rows: "\n".join(",".join(f'"{cell}"' for cell in line.split(",")) for line in [header, *rows]),
        lambda header, rows: "\n".join([header, *reversed(rows)]),
    ],
)
def test_a_table_means_the_same_in_every_coat(planted, read, coat):
    text = planted.to_csv(index=False)
    header, *rows = text.splitlines()
    for one, other in zip(read(text).values(), read(coat(header, rows)).values(), strict=True):
        np.testing.assert_equal(dataclasses.asdict(one), dataclasses.asdict(other))


@pytest.mark.parametrize(
    "change, message",
    [
        (
            lambda t: t.replace("\n", "\n\n", 3).replace(",4,4000,", ",x,4000,", 1),
            "line 5: step is x and must be a whole",
        ),
        (lambda t: t.replace(",4,4000,", ',4,"4,000",', 1), "line 3: tokens is 4,000 and must be a whole number"),
        (lambda t: t.replace(",4,4000,", ",4,4,000,", 1), "line 3: 9 cells, and the header names 8 columns"),
        (lambda t: t.replace(",4,4000,", ",4,", 1), "line 3: 7 cells, and the header names 8 columns"),
        (lambda t: t.replace(",4,4000,", ",4.5,4000,", 1), "line 3: step is 4.5 and must be a whole number"),
        (lambda t: t.replace(",4,4000,", ",4,1e308,", 1), "line 3: tokens is 1e308 and must be at most 1e+18"),
        (lambda t: t.replace(",4,4000,", ",4,1e400,", 1), "line 3: tokens is 1e400 and must be at most 1e+18"),
        (lambda t: t.replace(",4,4000,", ",4,inf,", 1), "line 3: tokens is inf and must be a whole number"),
        (lambda t: t.replace(",4,4000,", ",4,NA,", 1), "line 3: tokens is NA and must be a whole number"),
        (lambda t: t.replace(",4,4000,", ",4,4_000,", 1), "line 3: tokens is 4_000 and must be a whole number"),
        (lambda t: t.replace(",", ";"), "has ';' between its columns; save it with commas"),
        (lambda t: t.replace(",", "\t"), r"has '\t' between its columns"),
        (lambda t: t.replace("score", "loss", 1), "line 1: the column 'loss' is there twice"),
        (lambda t: t.replace("score", "Score", 1), "separated by commas (it has 'Score')"),
        (lambda t: t.replace("loss", "losses", 1), "unknown column 'losses'; did you mean 'loss'"),
        (lambda t: t.replace("knowledge_share", "knowlege_share", 1), "unknown column 'knowlege_share'; did you mean"),
        (lambda t: t.replace("php", "ph\x1bp", 1), r"line 2: language is 'ph\x1bp'; give it a short, printable name"),
        (lambda t: t.replace("php", '"ph\np"', 1), r"line 2: language is 'ph\np'"),
        (lambda t: t.replace("php", '"php', 1), "line 2: not CSV"),
        (lambda t: t.splitlines()[0], "has no language but python"),
        (lambda t: "\n\n", "it is empty"),
        (lambda t: t.encode("utf-16"), "it is UTF-16; save it as UTF-8"),
        (lambda t: t.replace("php", "ph\xe9").encode("latin-1"), "is not UTF-8"),
    ],
)
def test_a_table_that_is_bent_is_an_error_that_names_the_line(planted, read, change, message):
    with pytest.raises(UserError, match=re.escape(message)):
        read(change(planted[planted["language"] == "php"].to_csv(index=False)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda frame: frame.drop(columns="working_language_cpp"), "lacks the column working_language_cpp"),
        (
            lambda frame: frame.assign(working_language_cpp=0.7),
            "line 2: working_language_python + working_language_cpp is",
        ),
        (lambda frame: frame.assign(working_language_cpp=1.7), "working_language_cpp is 1.7 and must be from 0 to 1"),
        (lambda frame: frame.assign(working_language=0.6), "give it for each primary, or for all together"),
    ],
)
def test_wrong_shares_of_several_primaries_are_errors(planted, read, change, message):
    frame = planted.assign(working_language_python=0.4, working_language_cpp=0.2)
    with pytest.raises(UserError, match=re.escape(message)):
        read(change(frame).to_csv(index=False), {"python": 8.0, "cpp": 4.0})


def test_the_first_share_that_was_measured_calibrates():
    """Knowledge comes before the working language; where it stays the same, nothing is calibrated."""
    rows = continual_runs("php", 0.6)
    (observation,) = table.observations(rows.assign(working_language=0.3), {"python": 11e9}).values()
    after = observation.shares["knowledge_share"]
    spread = np.array([0.0, 0.0, 0.09])[:, None]  # the mean over seeds counts, not one of them
    middle = by_all_sources(observation, {"knowledge_share": after + spread}).proposals["calibrated"].p_star
    assert middle == pytest.approx((after + spread)[:, PEAK].mean(), abs=0.02)
    both = by_all_sources(observation, {"knowledge_share": after, "working_language": 0.9 * after})
    assert both.chosen.measured == "knowledge_share"
    still = by_all_sources(observation, {"knowledge_share": np.zeros_like(after), "working_language": 0.9 * after})
    assert still.chosen is None


def by_all_sources(observation, shares):
    observation = dataclasses.replace(observation, shares=shares)
    run = stages.find(observation.steps, observation.solved)
    return share_sources.proposals(observation, share_sources.shares_of(observation), run, None, Amounts(11e9, 23e9))


@pytest.mark.slow
def test_the_tokens_interval_covers_the_truth_at_its_rate():
    """Whole path, table to tokens: the 95 % interval holds PHP's 5B in 92-98 % of 500 draws of three seeds."""
    generator, inside = np.random.default_rng(7), 0
    for _ in range(500):
        rows = continual_runs("php", PAPER["php"], generator=generator)
        (observation,) = table.observations(rows, {"python": 11e9}).values()
        low, high = table.of_observation(observation, Amounts(11e9, 23e9))["loss"].tokens_ci
        inside += low <= 5e9 <= high
    assert 0.92 <= inside / 500 <= 0.98


# --- a table of scores alone ----------------------------------------------------------------------------------------------


def test_scores_and_tokens_are_enough_for_the_peak(planted):
    """Without step, loss and n: the planted peak has seen 48,000 tokens; the interval is over the three seeds."""
    frame = planted[planted["language"] == "php"][["language", "seed", "tokens", "score"]]
    (seen,) = table.observations(frame, {"python": 11e9}).values()
    assert seen.steps.tolist() == list(range(14)) and seen.losses == {} and not seen.counted and seen.has_intervals
    found = peak_tokens.of_observation(seen)
    low, high = found.tokens_ci
    assert found.decision == algorithm1.CHANGE and low < 48_000 < high < 100_000
    assert table.of_observation(seen, Amounts(11e9, 23e9)) == {}
    (shuffled,) = table.observations(frame.sample(frac=1, random_state=0), {"python": 11e9}).values()
    np.testing.assert_array_equal(shuffled.score_SxC, seen.score_SxC)
    np.testing.assert_array_equal(shuffled.tokens, seen.tokens)


def test_one_seed_without_n_has_no_interval(planted):
    one = planted[(planted["language"] == "php") & (planted["seed"] == 0)].drop(columns="n").assign(loss_error=0.004)
    (seen,) = table.observations(one, {"python": 11e9}).values()
    assert not seen.has_intervals
    found = peak_tokens.of_observation(seen)
    assert found.tokens == pytest.approx(48_000, rel=0.2) and np.isnan(found.tokens_ci).all()
    assert found.decision == algorithm1.UNDECIDED and "give n" in found.reason
    assert peak_tokens.of_observation(seen, assumed=True).decision == algorithm1.CHANGE
    by_loss = table.of_observation(seen, Amounts(11e9, 23e9), assumed=True)["loss"]
    assert by_loss.decision == algorithm1.UNDECIDED and np.isnan(by_loss.tokens_ci).all() and by_loss.p_star > 0


def test_functional_neurons_are_a_source_where_their_column_stands(planted):
    frame = planted[planted["language"] == "php"].assign(functional_neurons=lambda rows: rows["knowledge_share"] / 2)
    (seen,) = table.observations(frame, {"python": 11e9}).values()
    proposals = table.of_observation(seen, Amounts(11e9, 23e9))
    assert proposals["functional_neurons"].p_star == pytest.approx(proposals["knowledge_share"].p_star / 2)
    (alone,) = table.observations(frame.drop(columns="knowledge_share"), {"python": 11e9}).values()
    untested = table.of_observation(alone, Amounts(11e9, 23e9))["functional_neurons"]
    assert untested.decision == algorithm1.UNDECIDED and "was not tested" in untested.reason, (
        "no share of what is solved"
    )

import math
from types import SimpleNamespace

import numpy as np
import pytest

from babel_jax.common.errors import UserError
from babel_jax.optimum import algorithm1, curve_law, peak_tokens
from babel_jax.optimum.peak_tokens import PeakTokens
from babel_jax.study import candidates, words

ORIGINAL = dict(python=11.0, php=23.0, csharp=16.0, go=11.0, cpp=28.0)
STEPS, STEP_TOKENS = 1000, 704
LENGTHS = candidates.Original(ORIGINAL, STEPS, STEP_TOKENS)


def corpus(tokens, as_written=None):
    return SimpleNamespace(tokens=tokens, as_written=as_written or tokens)


def findings(**corpora):
    kinds = {
        kind: SimpleNamespace(best=SimpleNamespace(shares=shares))
        for kind, shares in zip(("log_linear", "quadratic"), LAWS, strict=True)
    }
    stages = [{"tokens": 600_000, "weights": {"python": 1.0}}, {"tokens": 0, "weights": {"php": 1.0}}]
    proposal = SimpleNamespace(reason="the peak", stages=stages)
    return SimpleNamespace(
        corpora=corpora,
        laws=SimpleNamespace(kinds=kinds),
        loss_laws={name: SimpleNamespace(shares=LAWS[1]) for name in ("no_interaction", "equal_benefit")},
        schedules=SimpleNamespace(proposal=proposal),
    )


LAWS = [dict.fromkeys(ORIGINAL, 0.2), dict(python=0.6, php=0.1, csharp=0.1, go=0.1, cpp=0.1)]
CUT = ORIGINAL | dict(php=5.0, csharp=10.0)


def weights(candidate):
    (stage,) = candidate.stages
    assert stage["tokens"] == 0 and candidate.tokens == candidate.steps * STEP_TOKENS
    return stage["weights"]


def shares(amounts):
    return pytest.approx({name: amount / sum(amounts.values()) for name, amount in amounts.items()}, abs=6e-5)


def test_what_needs_no_measurement_is_made_at_once_and_nothing_else():
    names = ("unimax", "ado", "temperature_equal_epochs", "algorithm1_loss", "equal_small")
    mixes = candidates.unmeasured(names, 2, LENGTHS)
    assert list(mixes) == ["unimax", "temperature_equal_epochs", "equal_small", "swarm_00", "swarm_01"]
    assert weights(mixes["equal_small"]) == shares(dict(python=11, php=2, csharp=2, go=2, cpp=2))
    assert weights(mixes["swarm_00"]) != weights(mixes["swarm_01"])
    longer = mixes["temperature_equal_epochs"]
    of_python = longer.steps * weights(longer)["python"]
    assert of_python == pytest.approx(STEPS * 11 / 89, rel=0.01) and longer.steps < STEPS


def test_the_papers_corpus_as_written_and_ours_as_the_tests_allow():
    as_written = CUT | dict(cpp=math.inf)  # its best checkpoint is the last one
    names = ("algorithm1_loss", "algorithm1_calibrated", "algorithm1_loss_equal_epochs", "algorithm1_knowledge_share")
    mixes = candidates.measured(
        findings(loss=corpus(ORIGINAL, as_written), calibrated=corpus(CUT | dict(csharp=16.0), as_written)),
        *(names, LENGTHS),
    )
    assert list(mixes) == list(names[:3])
    assert weights(mixes["algorithm1_loss"]) == shares(CUT)
    assert weights(mixes["algorithm1_calibrated"]) == shares(ORIGINAL | dict(php=5.0))
    assert mixes["algorithm1_loss_equal_epochs"].steps == pytest.approx(
        STEPS * 65 / 89, abs=1
    )  # the paper's 65B of 89B


def peaks(**tokens):
    """Findings with these tokens at the peaks; a language without a decline after it has a decision instead."""

    def peak(language, asked):
        known = isinstance(asked, int)
        decision, number = (algorithm1.CHANGE, float(asked)) if known else (asked, np.nan)
        return PeakTokens(
            language, number, (number, number), 64, np.array([number]), np.full(9, number), decision, "so."
        )

    return SimpleNamespace(peaks={language: peak(language, asked) for language, asked in tokens.items()})


def test_peak_tokens_are_absolute_and_the_rest_of_the_budget_is_the_primarys():
    (mix,) = candidates.measured(
        peaks(php=35_200, csharp=70_400, cpp=peak_tokens.KEEP), ("peak_tokens",), LENGTHS
    ).values()
    kept = {"go": 11 / 89, "cpp": 28 / 89}
    wanted = {"php": 0.05, "csharp": 0.1} | kept
    assert weights(mix) == shares({"python": 1 - sum(wanted.values())} | wanted)
    longer = candidates.Original(ORIGINAL, 2 * STEPS, STEP_TOKENS)
    (mix,) = candidates.measured(peaks(php=35_200), ("peak_tokens",), longer).values()
    assert weights(mix)["php"] == 0.025, "half of the share of twice the budget"
    assert words.mix_title("peak_tokens") == "peak tokens"


def test_peaks_after_which_nothing_falls_or_that_are_not_known_give_no_mix():
    for decision in (peak_tokens.KEEP, algorithm1.UNDECIDED, algorithm1.NOT_TESTED):
        assert candidates.measured(peaks(php=decision, cpp=decision), ("peak_tokens",), LENGTHS) == {}
    assert candidates.measured(peaks(), ("peak_tokens",), LENGTHS) == {}


def test_a_corpus_that_changes_nothing_is_the_original_mix_and_is_not_trained_again():
    unchanged = findings(calibrated=corpus(ORIGINAL))
    names = ("algorithm1_calibrated", "shuffled", "same_primary")
    assert candidates.measured(unchanged, names, LENGTHS) == {}
    assert candidates.measured(findings(), names, LENGTHS) == {}


def test_rivals_answer_to_the_corpus_that_is_on_trial():
    trial = findings(calibrated=corpus(CUT), loss=corpus(ORIGINAL | dict(go=1.0)))
    names = ("shuffled", "same_primary", "law", "regression", "no_interaction", "equal_benefit", "schedule")
    mixes = candidates.measured(trial, names, LENGTHS)
    assert list(mixes) == list(names)
    assert weights(mixes["same_primary"])["python"] == pytest.approx(11 / 65, abs=1e-4)
    assert sum(mixes["shuffled"].made["amounts"].values()) != pytest.approx(89) and weights(
        mixes["shuffled"]
    ) != shares(CUT)
    answers_to = {name: mix.made.get("answers_to") for name, mix in mixes.items()}
    assert answers_to == dict.fromkeys(names) | dict.fromkeys(names[:2], "algorithm1_calibrated")
    assert weights(mixes["law"]) == shares(LAWS[0]) and weights(mixes["regression"]) == shares(LAWS[1])
    assert weights(mixes["no_interaction"]) == weights(mixes["equal_benefit"]) == shares(LAWS[1])
    assert mixes["schedule"].stages[0]["weights"] == {"python": 1.0} and mixes["schedule"].steps == STEPS
    nothing = SimpleNamespace(corpora={}, laws=None, loss_laws={}, schedules=None)
    assert candidates.measured(nothing, names, LENGTHS) == {}


def test_the_curves_ask_for_what_is_best_in_every_language_or_for_nothing():
    """Each curve is highest at 20,000 tokens; the original has 704,000, the primary's part of which is 11 of 89."""
    tokens_C, score_C = np.array([0.0, 10_000, 20_000, 40_000]), np.array([[0, 0.5, 0.9, 0.6]])
    curves = {name: curve_law.TokenCurve(name, "predictor", tokens_C, score_C) for name in list(ORIGINAL)[1:]}
    laws = {name: SimpleNamespace(curve=curve, chosen="constant") for name, curve in curves.items()}
    made = candidates.measured(SimpleNamespace(curve_laws=laws), ("curve_law",), LENGTHS)
    asked = dict.fromkeys(list(ORIGINAL)[1:], 20_000 / 704_000)
    assert weights(made["curve_law"]) == pytest.approx(asked | {"python": 1 - sum(asked.values())}, abs=1e-4)
    del laws["go"]
    assert candidates.measured(SimpleNamespace(curve_laws=laws), ("curve_law",), LENGTHS) == {}


def test_a_corpus_with_next_to_nothing_of_the_primary_is_not_made_as_long_as_it_takes_to_see_it(monkeypatch):
    """The regression's optimum may lie there; a run of a thousand times the steps would never end, and 0 has no length."""
    names = ("regression", "regression_equal_epochs")
    for share, made in ((0.0, names[:1]), (0.001, names[:1]), (0.02, names)):
        monkeypatch.setitem(LAWS[1], "python", share)
        mixes = candidates.measured(findings(), names, LENGTHS)
        assert tuple(mixes) == made, share


@pytest.mark.parametrize(
    "names, more, message",
    [
        (("unimx",), {}, "did you mean 'unimax'"),
        (("ado_equal_epochs",), {}, "unknown candidate 'ado_equal_epochs'"),
        (("schedule_equal_epochs",), {"replay": (0.1,)}, "unknown candidate 'schedule_equal_epochs'"),
        (("law",), {"sweep": (0.1, 0.2, 0.3)}, "at least 4 shares in `sweep`"),
        (("schedule",), {}, "set `replay`"),
    ],
)
def test_unknown_candidates_and_those_without_their_runs_are_refused(names, more, message):
    with pytest.raises(UserError, match=message):
        candidates.validate(names, **more)
    candidates.validate(("law", "schedule", "unimax_equal_epochs"), swarm=1, replay=(0.1,))


def test_a_candidate_is_known_by_its_record_alone(monkeypatch):
    """The config takes it, the study makes it, and the text calls it by its title."""
    halves = candidates.Candidate("halves", lambda original, findings: {"python": 1.0, "php": 1.0}, "half and half")
    with pytest.raises(UserError, match="unknown candidate 'halves'"):
        candidates.validate(("halves",))
    monkeypatch.setattr(candidates, "CANDIDATES", (*candidates.CANDIDATES, halves))
    candidates.validate(("halves", "halves_equal_epochs"))
    assert weights(candidates.unmeasured(("halves",), 0, LENGTHS)["halves"]) == {"python": 0.5, "php": 0.5}
    assert words.mix_title("halves_equal_epochs") == "half and half, equal epochs"
    assert len({candidate.name for candidate in candidates.CANDIDATES}) == len(candidates.CANDIDATES)


def test_on_a_grid_proposals_that_nearly_agree_are_one():
    grid = candidates.Original(dict(python=11.0, php=23.0), STEPS, STEP_TOKENS, share_grid=4)
    asked = [dict(python=1 - share, php=share) for share in (0.0625, 0.058, 0.067, 0.075, 0.93)]
    rounded = [candidates.on_grid(shares, grid)["php"] for shares in asked]
    assert rounded == pytest.approx([2**-4, 2**-4, 2**-4, 2**-3.75, 1 - 2**-3.75])
    assert all(sum(candidates.on_grid(shares, grid).values()) == pytest.approx(1) for shares in asked)
    assert candidates.on_grid(asked[1], LENGTHS) is asked[1]

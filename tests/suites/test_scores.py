import dataclasses
import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from babel_jax.common import measurements, statistics
from babel_jax.common.errors import UserError
from babel_jax.suites import scores
from babel_jax.suites.problems import Problem
from babel_jax.suites.verdict_log import Seconds, Verdict


def problem(number, language="python", suite="mbxp"):
    return Problem(suite, language, f"{language}/{number}", number, "", "assert", "f", None, (), False)


def verdicts(problem, outcomes, **changes):
    about = dict(suite=problem.suite, language=problem.language, task_id=problem.task_id, number=problem.number)
    about |= dict(variant="raw", ended="given", repair_imports=False, program="", level="bubblewrap", compat=None)
    about |= dict(toolchain=f"{problem.language} 1", limits="10 s", first_outcome=None, detail="", seconds=Seconds())
    return [Verdict(**about | dict(sample=i, outcome=outcome) | changes) for i, outcome in enumerate(outcomes)]


def judged(solved_LxQ: dict, **changes):
    """Problems, numbered from 0, and one verdict for each: language -> a list of whether it passed."""
    problems = [problem(q, language) for language, solved in solved_LxQ.items() for q in range(len(solved))]
    flat = itertools.chain(*solved_LxQ.values())
    result = [
        verdicts(p, ["passed" if solved else "failed_assert"], **changes)
        for p, solved in zip(problems, flat, strict=True)
    ]
    return problems, list(itertools.chain(*result))


def only(rows, **columns):
    options = columns.pop("options", {})
    result = [
        row
        for row in rows
        if all(row.get(name) == value for name, value in columns.items())
        and all(row["options"].get(name) == value for name, value in options.items())
    ]
    assert len(result) == 1, result
    return result[0]


def test_pass_at_k_is_the_share_of_all_choices_with_a_pass():
    for n in range(1, 9):
        for c, k in itertools.product(range(n + 1), range(1, n + 1)):
            samples = [True] * c + [False] * (n - c)
            choices = list(itertools.combinations(samples, k))
            assert scores.pass_at_k(n, c, k) == float(Fraction(sum(map(any, choices)), len(choices))), (n, c, k)


def test_pass_at_k_is_exact_where_floating_point_products_are_not():
    for n, c, k in ((200, 1, 100), (1000, 3, 10), (5000, 1, 1), (5000, 17, 4000), (2000, 1, 1999)):
        exact = 1 - Fraction(math.comb(n - c, k), math.comb(n, k))
        assert scores.pass_at_k(n, c, k) == float(exact), (n, c, k)


@pytest.mark.parametrize("k", [0, -1, 4])
def test_more_tries_than_samples_are_refused(k):
    with pytest.raises(UserError, match="number of samples, which is 3"):
        scores.pass_at_k(3, 1, k)
    asked = [problem(0)]
    if k == 4:
        with pytest.raises(UserError, match="python/0 has 3"):
            scores.rows(verdicts(asked[0], ["passed"] * 3), asked, ks=(k,))


def test_rows_on_a_table_done_by_hand():
    """Two languages, PHP without task 2: all, macro and common subset."""
    asked = [problem(0), problem(1), problem(2), problem(0, "php"), problem(1, "php")]
    outcomes = [
        ["passed", "passed"],
        ["passed", "timeout"],
        ["failed_assert", "oom"],
        ["passed", "failed_assert"],
        ["no_sentinel", "compile_error"],
    ]
    given = list(itertools.chain(*(verdicts(p, o) for p, o in zip(asked, outcomes, strict=True))))
    rows = scores.rows(given, asked, ks=(1, 2))
    measurements.table([measurements.row(run="r", seed=0, step=0, **row) for row in rows])
    expected = {
        ("pass@1", "python", "all"): (1 + 0.5 + 0) / 3,
        ("pass@1", "php", "all"): 0.25,
        ("pass@2", "python", "all"): 2 / 3,
        ("pass@2", "php", "all"): 0.5,
        ("pass@1", "python", "common"): 0.75,
        ("pass@1", "php", "common"): 0.25,
    }
    for (metric, language, subset), value in expected.items():
        row = only(rows, metric=metric, language=language, options={"subset": subset})
        assert row["value"] == pytest.approx(value) and row["ci_low"] <= value <= row["ci_high"]
        assert row["options"] == dict(suite="mbxp", subset=subset, variant="raw", compat=None, samples=2)
    assert only(rows, metric="macro_pass@1", options={"subset": "all"})["value"] == pytest.approx((0.5 + 0.25) / 2)
    assert only(rows, metric="macro_pass@1", options={"subset": "common"})["value"] == pytest.approx(0.5)
    assert only(rows, metric="outcome", language="php", options={"outcome": "no_sentinel"})["value"] == 0.25
    assert only(rows, metric="solved", language="python", item=1)["value"] == 0.5
    assert only(rows, metric="solved", language="python", item=2)["options"]["subset"] == "all"
    table = scores.tally(given, asked)
    assert table[1].outcomes == {"passed": 1, "timeout": 1} and (table[1].passed, table[1].judged) == (1, 2)


def test_an_infrastructure_error_is_neither_a_pass_nor_a_failure():
    asked = [problem(q) for q in range(4)]
    outcomes = (["passed", "infra_error"], ["failed_assert", "passed"], ["infra_error"] * 2, ["passed", "passed"])
    given = list(itertools.chain(*(verdicts(p, o) for p, o in zip(asked, outcomes, strict=True))))
    rows = scores.rows(given, asked, ks=(1, 2))
    one = only(rows, metric="pass@1", language="python", options={"subset": "all"})
    assert one["value"] == pytest.approx((1 + 0.5 + 1) / 3) and one["n"] == 3
    two = only(rows, metric="pass@2", language="python", options={"subset": "all"})
    assert two["value"] == 1 and two["n"] == 2, "one sample says nothing about two tries"
    assert only(rows, metric="outcome", options={"outcome": "infra_error"})["value"] == 3 / 8


def test_verdicts_of_another_suite_or_of_several_rules_are_refused():
    asked, given = judged({"python": [1, 0]})
    with pytest.raises(UserError, match="python/7, which is not a problem here"):
        scores.rows(verdicts(problem(7), ["passed"]), asked)
    with pytest.raises(UserError, match="has 0"):
        scores.rows(given[:1], asked)
    with pytest.raises(UserError, match="several rules"):
        scores.rows(given[:1] + [dataclasses.replace(given[1], compat="mxeval")], asked)


def test_the_interval_is_the_bootstraps():
    """Against SciPy's own bootstrap on 164 problems, and against resampling tasks over languages by hand."""
    rng = np.random.default_rng(3)
    value_P = rng.choice([0, 0.2, 1], 164)
    expected = stats.bootstrap((value_P,), np.mean, n_resamples=5000, method="percentile", rng=rng)
    result = scores.estimate(value_P, np.arange(164))
    np.testing.assert_allclose(
        [result.ci_low, result.ci_high], list(expected.confidence_interval), atol=0.25 * value_P.std() / 164**0.5
    )
    task_Q = rng.random(60)
    solved_2xQ = (rng.random((2, 60)) < task_Q).astype(float)
    drawn = [solved_2xQ[:, rng.integers(0, 60, 60)].mean() for _ in range(5000)]
    result = scores.estimate(solved_2xQ.ravel(), np.tile(np.arange(60), 2), np.repeat([0, 1], 60))
    np.testing.assert_allclose([result.ci_low, result.ci_high], np.quantile(drawn, [0.025, 0.975]), atol=0.015)


def test_a_task_brings_its_languages_along():
    """The same answers in five languages are no five times as many observations."""
    rng = np.random.default_rng(0)
    solved_Q = (rng.random(100) < 0.4).astype(float)
    alone = scores.estimate(solved_Q, np.arange(100))
    five = scores.estimate(np.tile(solved_Q, 5), np.tile(np.arange(100), 5), np.repeat(np.arange(5), 100))
    assert five.ci_high - five.ci_low == pytest.approx(alone.ci_high - alone.ci_low)


@pytest.mark.parametrize("chance, problems, samples", [(0.3, 154, 1), (0.06, 154, 1), (0.25, 100, 10)])
def test_the_interval_covers_the_truth(chance, problems, samples):
    rng = np.random.default_rng(1)
    task = rng.beta(2 * chance, 2 * (1 - chance), (400, problems))
    value = rng.binomial(samples, task) / samples
    result = [scores.estimate(value_P, np.arange(problems)) for value_P in value]
    covered = np.mean([row.ci_low <= chance <= row.ci_high for row in result])
    assert 0.915 < covered < 0.985


def test_nothing_solved_is_not_known_to_be_nothing():
    for values in ([0] * 154, [1] * 154):
        result = scores.estimate(values, np.arange(154))
        expected = stats.binomtest(sum(values), 154).proportion_ci(method="exact")
        np.testing.assert_allclose([result.ci_low, result.ci_high], list(expected))
    macro = scores.estimate([0] * 20, list(range(10)) * 2, [0] * 10 + [1] * 10)
    assert macro.ci_high == pytest.approx(stats.binomtest(0, 10).proportion_ci().high), "ten tasks, not twenty"
    assert math.isnan(scores.estimate([], []).value)


def test_all_of_one_language_and_nothing_of_the_other_is_not_known_either():
    macro = scores.estimate([1] * 10 + [0] * 10, list(range(10)) * 2, [0] * 10 + [1] * 10)
    reach = stats.binomtest(0, 10).proportion_ci().high
    assert macro.value == 0.5
    assert [macro.ci_low, macro.ci_high] == pytest.approx([0.5 - reach / 2, 0.5 + reach / 2])


def test_two_models_are_compared_as_by_hand():
    asked, first = judged({"python": [1, 1, 0, 0, 0, 0, 1, 1], "php": [0] * 8})
    _, second = judged({"python": [1, 1, 1, 1, 1, 1, 0, 1], "php": [0] * 6 + [1, 1]})
    result = {(row.subset, row.language): row for row in scores.compare(first, second, asked)}
    python = result["all", "python"]
    assert python.value == pytest.approx(3 / 8) and (python.only_first, python.only_second) == (1, 4)
    assert python.mcnemar_p == pytest.approx(2 * (1 + 5) / 32)
    assert result["all", ""].value == pytest.approx((3 / 8 + 2 / 8) / 2)
    assert result["all", "php"].ci_low <= 0.25 <= result["all", "php"].ci_high
    same = scores.compare(first, first, asked)[0]
    assert same.value == 0 and same.ci_low < 0 < same.ci_high and same.mcnemar_p == 1


def test_pairing_removes_what_is_hard_for_both():
    rng = np.random.default_rng(0)
    task_Q = rng.choice([0.02, 0.98], 400)
    one, other = (rng.random((2, 400)) < task_Q).astype(int)
    asked, first = judged({"python": one})
    second = judged({"python": other})[1]
    paired = scores.compare(first, second, asked)[0]
    single = only(scores.rows(first, asked), metric="pass@1", options={"subset": "all"})
    assert paired.ci_high - paired.ci_low < 0.5 * (single["ci_high"] - single["ci_low"])


@pytest.mark.parametrize("gain", [0.0, 0.1])
def test_the_paired_interval_covers_the_difference(gain):
    rng = np.random.default_rng(2)
    covered, significant = [], []
    for _ in range(300):
        task_Q = rng.beta(0.5, 1, 160)
        first, second = rng.random(160) < task_Q * (1 - gain), rng.random(160) < task_Q * (1 - gain) + gain
        result = scores.estimate(second.astype(float) - first, np.arange(160), span=(-1, 1))
        covered.append(result.ci_low <= gain <= result.ci_high)
        significant.append(statistics.mcnemar(int((first & ~second).sum()), int((second & ~first).sum())) < 0.05)
    assert 0.91 < np.mean(covered) < 0.99
    assert np.mean(significant) < 0.06 if gain == 0 else np.mean(significant) > 0.5


def test_models_that_were_judged_otherwise_are_not_compared():
    asked, first = judged({"python": [1, 0, 1]})
    for name, value in (("compat", "mxeval"), ("toolchain", "python 2"), ("limits", "3 s")):
        with pytest.raises(UserError, match=f"differ in {name}"):
            scores.compare(first, judged({"python": [1, 0, 1]}, **{name: value})[1], asked)
    with pytest.raises(UserError, match="only one model was judged on mbxp python python/2"):
        scores.compare(first, first[:2], asked)
    broken = [dataclasses.replace(first[0], outcome="infra_error"), *first[1:]]
    assert scores.compare(first, broken, asked)[0].unjudged == 1


def numbered(solved_Q) -> dict:
    return dict(enumerate(np.asarray(solved_Q, bool).tolist()))


def test_knowledge_share_on_a_table_done_by_hand():
    """The same numbers as the plain share of evolution/knowledge.py has in its test."""
    primary, alone = numbered([1, 1, 1, 0, 0]), numbered([0, 0, 1, 0, 1])
    for now, share, solved in (([1] * 5, 2 / 5, 5), ([1, 0, 1, 1, 0], 1 / 3, 3), ([0, 0, 0, 0, 1], 0, 1)):
        result = scores.knowledge_share(primary, alone, numbered(now))
        assert result.value == pytest.approx(share) and result.n == solved
        assert result.ci_low <= share <= result.ci_high
    assert math.isnan(scores.knowledge_share(primary, alone, numbered([0] * 5)).value)
    assert scores.knowledge_share(primary, {0: False, 9: True}, numbered([1] * 5)).n == 1
    with pytest.raises(UserError, match="no task was judged in all three"):
        scores.knowledge_share({1: True}, {2: True}, {1: True})


def simulated(rng, tasks, transfer):
    """Python, alone and now solve easy tasks; `now` solves more of P by `transfer`, however hard they are.

    Python and the new-only model share nothing but the tasks' difficulty.
    """
    hard_Q = rng.normal(0, 2, tasks)
    chance_Q = 1 / (1 + np.exp(hard_Q))
    primary_Q, alone_Q = rng.random((2, tasks)) < chance_Q
    now_Q = rng.random(tasks) < chance_Q / 2 + transfer * (primary_Q & ~alone_Q)
    return numbered(primary_Q), numbered(alone_Q), numbered(now_Q), dict(enumerate(hard_Q.tolist()))


@pytest.mark.long
def test_difficulty_alone_makes_a_share_but_no_matched_difference():
    """m1: with no transfer at all the plain share is large, and P is solved more often than the rest; matching says no."""
    rng = np.random.default_rng(4)
    share, naive, matched, covered, alarms = [], [], [], [], []
    for _ in range(100):
        primary, alone, now, hard = simulated(rng, 500, transfer=0)
        result = scores.knowledge_share(primary, alone, now, hard)
        share.append(result.value)
        needs, rest = ([now[q] for q in now if not alone[q] and primary[q] == side] for side in (True, False))
        naive.append(np.mean(needs) - np.mean(rest))
        matched.append(result.matched.value)
        covered.append(result.matched.ci_low <= 0 <= result.matched.ci_high)
        alarms.append(result.matched.p < 0.05)
    assert np.mean(share) > 0.15 and np.mean(naive) > 0.1
    assert abs(np.mean(matched)) < 0.02
    assert np.mean(covered) > 0.91 and np.mean(alarms) < 0.08


def test_the_matched_difference_finds_what_was_planted():
    rng = np.random.default_rng(5)
    matched, significant = [], []
    for _ in range(40):
        primary, alone, now, hard = simulated(rng, 500, transfer=0.3)
        result = scores.knowledge_share(primary, alone, now, hard).matched
        matched.append(result.value)
        significant.append(result.p < 0.05)
        assert result.n + result.unmatched == sum(primary[q] and not alone[q] for q in now)
    assert np.mean(matched) == pytest.approx(0.3, abs=0.03) and np.mean(significant) > 0.8


def test_the_pairs_are_as_many_and_as_close_as_can_be():
    """Against all ways to pair up, on small sets."""
    rng = np.random.default_rng(6)
    for _ in range(60):
        hard_P = rng.normal(size=8)
        needs_P = np.arange(8) < 4
        caliper = scores.CALIPER * hard_P.std()
        best = 0
        for order in itertools.permutations(range(4, 8)):
            best = max(best, sum(abs(hard_P[i] - hard_P[j]) <= caliper for i, j in zip(range(4), order, strict=True)))
        result = scores._matched(needs_P, ~needs_P, needs_P, hard_P)
        assert result.n == best and result.unmatched == 4 - best
        assert not best or result.value == 1


def test_partners_are_failed_by_both_monolingual_models():
    """What the new-only model solves is no partner, however alike in difficulty; nor is what is far from it."""
    primary, alone, now = numbered([1, 1, 0, 0, 0, 1]), numbered([0, 0, 1, 1, 0, 1]), numbered([1, 1, 0, 0, 0, 1])
    hard = dict(enumerate([1.0, 1.1, 1.0, 1.1, 1.05, 5.0]))
    result = scores.knowledge_share(primary, alone, now, hard).matched
    assert (result.n, result.unmatched, result.value) == (0, 2, pytest.approx(math.nan, nan_ok=True))
    result = scores.knowledge_share(primary, alone, now, hard | {4: 1.1}).matched
    assert (result.n, result.unmatched, result.value) == (1, 1, 1.0)


@pytest.mark.parametrize("alone", [[1, 1, 1], [1, 1, 0], [0, 0, 0]])
def test_a_share_without_members_or_partners_has_no_control_and_says_so(alone):
    """One side of the control is empty: no member of P, or no problem that both monolingual models fail."""
    all_solved = numbered([1, 1, 1])
    result = scores.knowledge_share(all_solved, numbered(alone), all_solved, {0: 1.0, 1: 2.0, 2: 3.0})
    assert result.value == pytest.approx(1 - sum(alone) / 3)
    assert (result.matched.n, result.matched.unmatched) == (0, 3 - sum(alone))


def test_matching_needs_a_measure_that_distinguishes_tasks():
    primary, alone, now, _ = simulated(np.random.default_rng(0), 50, 0)
    with pytest.raises(UserError, match="equally hard"):
        scores.knowledge_share(primary, alone, now, dict.fromkeys(primary, 1.0))


def test_knowledge_rows_fit_the_table():
    primary, alone, now, hard = simulated(np.random.default_rng(0), 200, 0.3)
    share = scores.knowledge_share(primary, alone, now, hard)
    rows = scores.knowledge_rows(share, "php", {"suite": "mbxp"})
    frame = measurements.table([measurements.row(run="continual", seed=0, step=5, **row) for row in rows])
    assert frame["metric"].tolist() == ["knowledge_share", "matched_difference"]
    plain = scores.knowledge_rows(scores.knowledge_share(primary, alone, now), "php")
    assert [row["metric"] for row in plain] == ["knowledge_share"]


def test_the_knowledge_interval_covers_the_share():
    """The truth is the share over a hundred times as many tasks."""
    rng = np.random.default_rng(7)
    *many, _ = simulated(rng, 100_000, transfer=0.4)
    base, alone, now = (np.array([*solved.values()]) for solved in many)
    truth = (base & ~alone & now).sum() / now.sum()
    covered = []
    for _ in range(200):
        result = scores.knowledge_share(*simulated(rng, 160, transfer=0.4)[:3])
        covered.append(result.ci_low <= truth <= result.ci_high)
    assert 0.90 < np.mean(covered) < 0.99


def test_solved_means_more_than_half_of_the_judged_samples():
    asked = [problem(q) for q in range(4)]
    outcomes = (["passed", "oom", "passed"], ["passed", "timeout"], ["infra_error"], ["passed", "infra_error"])
    given = list(itertools.chain(*(verdicts(p, o) for p, o in zip(asked, outcomes, strict=True))))
    table = scores.tally(given, asked)
    assert scores.solved(table, "mbxp", "python") == {0: True, 1: False, 3: True}

"""From verdicts to numbers: pass@k, its intervals, two models compared, and the knowledge share with its control.

A verdict whose outcome is infra_error says nothing about a program: it is neither a
pass nor a failure, and a problem that it leaves with too few samples is left out. How many there are stands in the rows
(metric "outcome", option "infra_error") and in `tally`.

All intervals are of 95 %, by drawing problems with replacement: a problem brings all its samples along, and in whatever
spans languages also all its languages, since the same task is no new observation in another language.
Letters: P problems, C clusters (task numbers), G groups (languages), R bootstrap replicates.
"""

import collections
import dataclasses
import functools
import math
import operator
from collections.abc import Callable, Iterable, Mapping

import numpy as np
from scipy.optimize import linear_sum_assignment

from babel_jax.common.errors import UserError
from babel_jax.common.statistics import TAILS, mcnemar, shard_weights
from babel_jax.evolution.knowledge import needs_primary_Q
from babel_jax.suites.problems import Problem, common
from babel_jax.suites.verdict_log import Verdict

REPLICATES = 2000
# Pairs whose difficulty differs by more than this share of its standard deviation are no match (Austin, 2011).
CALIPER = 0.2


def pass_at_k(samples: int, passed: int, k: int) -> float:
    """The unbiased estimate of the chance that at least one of k samples passes (Chen et al., 2021).

    1 - C(samples - passed, k) / C(samples, k), in whole numbers: exact but for the last division.

    Raises:
      UserError: k is not between 1 and `samples`.
    """
    if not 1 <= k <= samples:
        raise UserError(f"pass@{k} needs k from 1 to the number of samples, which is {samples}; write more samples.")
    if not 0 <= passed <= samples:
        raise ValueError(f"{passed} of {samples} samples cannot pass")
    every = math.comb(samples, k)
    return (every - math.comb(samples - passed, k)) / every


@dataclasses.dataclass(frozen=True)
class Tally:
    """How a problem's samples ended. `judged`: those without infra_error."""

    problem: Problem
    outcomes: Mapping[str, int]

    @property
    def samples(self) -> int:
        return sum(self.outcomes.values())

    @property
    def judged(self) -> int:
        return self.samples - self.outcomes.get("infra_error", 0)

    @property
    def passed(self) -> int:
        return self.outcomes.get("passed", 0)

    @property
    def share(self) -> float:
        """Of the judged samples that pass."""
        return self.passed / self.judged


def tally(verdicts: Iterable[Verdict], problems: Iterable[Problem]) -> list[Tally]:
    """A tally a problem, in the order of `problems`.

    Raises:
      UserError: a verdict is of a problem that is not there (another suite, or another version of it).
    """
    problems = list(problems)
    outcomes = {p.key: collections.Counter() for p in problems}
    for verdict in verdicts:
        key = (verdict.suite, verdict.language, verdict.task_id)
        if key not in outcomes:
            raise UserError(f"a verdict on {' '.join(key)}, which is not a problem here; judge with this suite again.")
        outcomes[key][verdict.outcome] += 1
    return [Tally(p, dict(sorted(outcomes[p.key].items()))) for p in problems]


def rows(verdicts: Iterable[Verdict], problems: Iterable[Problem], ks=(1,)) -> list[dict]:
    """Rows for the table of measurements, without run, seed, step and tokens.

    Per suite, subset ("all" problems, or "common": tasks that stand in all the suite's languages) and k: "pass@k" a
    language, and "macro_pass@k", the mean over languages that each weigh the same. Then per language "outcome", the share
    of samples with each outcome, and "solved", a problem's share of passing samples (item: its number; subset: "common",
    or "all" for the others). Options: suite, subset, and the verdicts' variant, compat and samples a problem.

    Raises:
      UserError: a problem has fewer than k samples, the verdicts were not made alike, or see `tally`.
    """
    verdicts, problems = list(verdicts), list(problems)
    rows = []
    in_all, table = common(problems), tally(verdicts, problems)
    for suite, here in _grouped(table, operator.attrgetter("problem.suite")).items():
        about = {"suite": suite, **_rule(verdicts), "samples": min(entry.samples for entry in here)}
        shared = [entry for entry in here if entry.problem.number in in_all[suite]]
        for subset, entries in (("all", here), ("common", shared)):
            for k in ks:
                rows += _pass_rows(entries, k, {**about, "subset": subset})
        for language, entries in _grouped(here, operator.attrgetter("problem.language")).items():
            rows += _sample_rows(language, entries, in_all[suite], about)
    return [dict(probe="evaluation") | row for row in rows]


def _rule(verdicts: list[Verdict]) -> dict:
    """The prompt variant and the rule that verdicts have in common."""
    rules = {(verdict.variant, verdict.compat) for verdict in verdicts}
    if len(rules) > 1:
        raise UserError(
            "verdicts on several prompt variants or by several rules cannot be one score; score each alone."
        )
    return {name: value for values in rules for name, value in zip(("variant", "compat"), values, strict=True)}


def _pass_rows(entries: list[Tally], k: int, about: dict) -> list[dict]:
    rows, pooled = [], []
    for language, group in _grouped(entries, operator.attrgetter("problem.language")).items():
        usable = _usable(group, k)
        value_P = [pass_at_k(entry.judged, entry.passed, k) for entry in usable]
        score = estimate(value_P, [entry.problem.number for entry in usable])
        rows.append(dict(language=language, metric=f"pass@{k}", options=about) | dataclasses.asdict(score))
        pooled += [(value, entry.problem.number, language) for value, entry in zip(value_P, usable, strict=True)]
    if rows and all(row["n"] for row in rows):
        macro = estimate(*zip(*pooled, strict=True))
        rows.append(dict(metric=f"macro_pass@{k}", options=about) | dataclasses.asdict(macro))
    return rows


def _usable(entries: list[Tally], k: int) -> list[Tally]:
    """Those that can be scored: left out is what infra_error leaves with fewer than k samples."""
    for entry in entries:
        if entry.samples < k:
            raise UserError(
                f"pass@{k} needs {k} samples of every problem; {' '.join(entry.problem.key)} has {entry.samples}. "
                "Write more samples, or ask for a smaller k."
            )
    return [entry for entry in entries if entry.judged >= k]


def _sample_rows(language: str, entries: list[Tally], in_all: set[int], about: dict) -> list[dict]:
    counts = sum((collections.Counter(entry.outcomes) for entry in entries), collections.Counter())
    rows = [
        dict(metric="outcome", value=count / counts.total(), n=counts.total(), options={**about, "outcome": outcome})
        for outcome, count in sorted(counts.items())
    ]
    for entry in entries:
        if entry.judged:
            options = {**about, "subset": "common" if entry.problem.number in in_all else "all"}
            rows.append(
                dict(metric="solved", item=entry.problem.number, value=entry.share, n=entry.judged, options=options)
            )
    return [dict(language=language) | row for row in rows]


@dataclasses.dataclass(frozen=True)
class Score:
    """A mean over `n` values and its bootstrap interval; NaN where there is no value."""

    value: float
    n: int
    ci_low: float
    ci_high: float


def estimate(value_P, cluster_P, group_P=None, span=(0.0, 1.0)) -> Score:
    """The mean over groups of the groups' means, with its bootstrap interval over clusters.

    Where the values of every group are alike, no draw differs and the interval would have no width; then it is what
    Clopper and Pearson's gives for as many clusters of which none differs (the mean of the groups' bounds): 0 of 154 is
    not known to be 0.

    Args:
      value_P: one value a problem.
      cluster_P: what is drawn: values with the same mark stay together.
      group_P: groups that weigh the same; None for one group.
      span: the least and the greatest value that is possible.
    """
    value_P = np.asarray(value_P, float)
    if not value_P.size:
        return Score(math.nan, 0, math.nan, math.nan)
    cluster_P = np.unique(np.asarray(cluster_P), return_inverse=True)[1].reshape(-1)
    groups, group_P = np.unique(np.zeros(value_P.size) if group_P is None else group_P, return_inverse=True)
    C, G = cluster_P.max() + 1, groups.size
    sum_CxG, count_CxG = np.zeros((2, C, G))
    np.add.at(sum_CxG, (cluster_P, group_P), value_P)
    np.add.at(count_CxG, (cluster_P, group_P), 1)
    mean_G = sum_CxG.sum(0) / count_CxG.sum(0)
    if np.allclose(value_P, mean_G[group_P], rtol=0, atol=1e-12):
        reach_G = 1 - TAILS[0] ** (1 / (count_CxG > 0).sum(0))
        low, high = np.maximum(span[0], mean_G - reach_G).mean(), np.minimum(span[1], mean_G + reach_G).mean()
    else:
        times_RxC = _draws(C)
        with np.errstate(invalid="ignore"):  # a small group may be missing from a draw
            low, high = np.nanquantile(((times_RxC @ sum_CxG) / (times_RxC @ count_CxG)).mean(1), TAILS)
    return Score(float(mean_G.mean()), int(value_P.size), float(low), float(high))


@functools.lru_cache(maxsize=8)
def _draws(clusters: int) -> np.ndarray:
    """How often each cluster stands in each replicate, [R, C]; always the same."""
    return shard_weights(clusters, REPLICATES).astype(float)


@dataclasses.dataclass(frozen=True)
class Difference:
    """What a second model's pass@1 is above a first one's, paired over problems.

    Attributes:
      language: "" for the mean over languages.
      unjudged: problems left out because either model has no verdict there.
      value, n, ci_low, ci_high: see `Score`; second - first.
      only_first, only_second: problems that more than half of one model's samples solve, and not of the other's.
      mcnemar_p: exact, of these two; they are None for the mean over languages.
    """

    suite: str
    subset: str
    language: str
    unjudged: int
    value: float
    n: int
    ci_low: float
    ci_high: float
    only_first: int | None = None
    only_second: int | None = None
    mcnemar_p: float | None = None


def compare(first: Iterable[Verdict], second: Iterable[Verdict], problems: Iterable[Problem]) -> list[Difference]:
    """Two models on the same problems: a difference per suite, subset ("all", "common") and language, and their mean.

    Raises:
      UserError: the verdicts are of other problems, or were not made by the same rule on the same toolchains.
    """
    problems, first, second = list(problems), list(first), list(second)
    for name, advice in (
        ("compat", "judge both by the same rule"),
        ("toolchain", "judge both with the same compilers and interpreters"),
        ("limits", "judge both within the same limits"),
    ):
        kinds = [{(verdict.language, getattr(verdict, name)) for verdict in verdicts} for verdicts in (first, second)]
        if kinds[0] != kinds[1]:
            raise UserError(f"the two models' verdicts differ in {name} and cannot be compared; {advice}.")
    in_all = common(problems)
    pairs = list(zip(tally(first, problems), tally(second, problems), strict=True))
    for one, other in pairs:
        if (one.samples == 0) != (other.samples == 0):
            raise UserError(f"only one model was judged on {' '.join(one.problem.key)}; judge both on all.")
    differences = []
    for suite, here in _grouped(pairs, lambda pair: pair[0].problem.suite).items():
        shared = [pair for pair in here if pair[0].problem.number in in_all[suite]]
        for subset, chosen in (("all", here), ("common", shared)):
            differences += _differences(suite, subset, chosen)
    return differences


def _differences(suite: str, subset: str, pairs: list[tuple[Tally, Tally]]) -> list[Difference]:
    differences, pooled = [], []
    for language, group in _grouped(pairs, lambda pair: pair[0].problem.language).items():
        judged = [pair for pair in group if all(entry.judged for entry in pair)]
        share_Px2 = np.array([[entry.share for entry in pair] for pair in judged]).reshape(-1, 2)
        solved_Px2 = share_Px2 > 0.5
        alone = [int((solved_Px2[:, i] & ~solved_Px2[:, 1 - i]).sum()) for i in (0, 1)]
        gain_P, number_P = (share_Px2[:, 1] - share_Px2[:, 0]).tolist(), [one.problem.number for one, _ in judged]
        score = estimate(gain_P, number_P, span=(-1, 1))
        about = (suite, subset, language, len(group) - len(judged))
        differences.append(
            Difference(*about, **vars(score), only_first=alone[0], only_second=alone[1], mcnemar_p=mcnemar(*alone))
        )
        pooled += [(gain, number, language) for gain, number in zip(gain_P, number_P, strict=True)]
    if differences and all(difference.n for difference in differences):
        unjudged = sum(difference.unjudged for difference in differences)
        macro = estimate(*zip(*pooled, strict=True), span=(-1, 1))
        differences.append(Difference(suite, subset, "", unjudged, **vars(macro)))
    return differences


def solved(table: Iterable[Tally], suite: str, language: str) -> dict[int, bool]:
    """Task number -> does more than half of its judged samples pass? Without problems that nobody judged."""
    return {
        entry.problem.number: entry.passed > entry.judged / 2
        for entry in table
        if (entry.problem.suite, entry.problem.language) == (suite, language) and entry.judged
    }


@dataclasses.dataclass(frozen=True)
class Matched(Score):
    """By how much more often a model solves the members of P than their partners of equal hardness; see `knowledge_share`.

    n: pairs. p: McNemar's on them. unmatched: members of P without a partner.
    """

    p: float
    unmatched: int


@dataclasses.dataclass(frozen=True)
class KnowledgeShare(Score):
    """|P & C| / |C|, n being |C|, NaN where C is empty; `matched` is None where no hardness is known."""

    matched: Matched | None


def knowledge_share(
    primary: Mapping[int, bool],
    alone: Mapping[int, bool],
    now: Mapping[int, bool],
    hardness: Mapping[int, float] | None = None,
) -> KnowledgeShare:
    """|P & C| / |C|: how much of what is solved in the new language needs the primary language's knowledge.

    C are the problems that the model solves in the new language; P those that the primary-only model solves in the
    primary language and the new-only model does not solve in the new one (Babel Tower paper). P does not separate "needs the
    primary's knowledge" from "hard": only problems that the new-only model fails can be in it.

    So with `hardness` there is a control at the same difficulty. Among the problems that the new-only model fails, each
    of P is paired with one that the primary-only model fails too, and that is as hard: one to one, as many pairs as
    there can be within `CALIPER` standard deviations of hardness, of these the closest (optimal assignment); ties are
    broken at random, not by number. `matched.value` is by how much more often the model solves the members of P than
    their partners: 0 where nothing but difficulty is at work. Its interval draws pairs; its p is McNemar's on them.

    Args:
      primary, alone, now: task number -> solved, of the primary-only model in the primary language, of the new-only
        model and of the model in question in the new one (`solved`). Tasks that stand in all of them count.
      hardness: task number -> how hard it is for a model of the new language alone, of equal size and tokens: bits of
        its reference solution (`likelihood`).

    Raises:
      UserError: no task stands in all of them, or all tasks are equally hard, so that nothing can be matched.
    """
    numbers = sorted(primary.keys() & alone.keys() & now.keys() & (primary if hardness is None else hardness).keys())
    if not numbers:
        raise UserError("no task was judged in all three models; judge them on the same suite.")
    base_P, alone_P, now_P = (np.array([bool(by[n]) for n in numbers]) for by in (primary, alone, now))
    needs_P = needs_primary_Q(base_P, alone_P)
    share = estimate(needs_P[now_P], np.arange(int(now_P.sum())))
    if share.n and needs_P[now_P].any() and not needs_P[now_P].all():
        times_RxP = _draws(len(numbers))  # |C| varies with the problems, too
        with np.errstate(invalid="ignore"):
            drawn_R = (times_RxP @ (needs_P & now_P)) / (times_RxP @ now_P)
        low, high = map(float, np.nanquantile(drawn_R, TAILS))
        share = dataclasses.replace(share, ci_low=low, ci_high=high)
    matched = None
    if hardness is not None:
        hard_P = np.array([float(hardness[n]) for n in numbers])
        matched = _matched(needs_P, ~alone_P & ~base_P, now_P, hard_P)
    return KnowledgeShare(**vars(share), matched=matched)


def _matched(needs_P, control_P, now_P, hard_P) -> Matched:
    """See `knowledge_share`: the pairs of equal hardness, and how often the model solves each side."""
    spread = hard_P[needs_P | control_P].std() if needs_P.any() and control_P.any() else 1.0  # else nothing is matched
    if not spread > 0:
        raise UserError(
            "all problems that the new-only model fails are equally hard by this measure, so nothing can be matched; "
            "evaluate that model with --likelihood on other problems."
        )
    shuffle = np.random.default_rng(0).permutation
    members, partners = shuffle(np.flatnonzero(needs_P)), shuffle(np.flatnonzero(control_P))
    apart = np.abs(hard_P[members][:, None] - hard_P[partners]) / spread
    no_match = CALIPER * (min(apart.shape) + 1)  # costs more than all real pairs together: as many pairs as can be
    chosen = linear_sum_assignment(np.where(apart <= CALIPER, apart, no_match))
    first, second = (
        side[index][apart[chosen] <= CALIPER] for side, index in zip((members, partners), chosen, strict=True)
    )
    gain_P = now_P[first].astype(float) - now_P[second]
    score = estimate(gain_P, np.arange(gain_P.size), span=(-1, 1))
    p = mcnemar(int((gain_P < 0).sum()), int((gain_P > 0).sum()))
    return Matched(**vars(score), p=p, unmatched=members.size - gain_P.size)


def knowledge_rows(share: KnowledgeShare, language: str, options: Mapping = {}) -> list[dict]:
    """A `knowledge_share` as rows for the table of measurements: "knowledge_share" and, matched, "matched_difference"."""
    parts = {"knowledge_share": share, "matched_difference": share.matched}
    return [
        dict(probe="evaluation", language=language, metric=metric, options=dict(options))
        | {field.name: getattr(part, field.name) for field in dataclasses.fields(Score)}
        for metric, part in parts.items()
        if part is not None
    ]


def _grouped(entries: Iterable, name: Callable[..., str]) -> dict[str, list]:
    groups: dict[str, list] = {}
    for entry in entries:
        groups.setdefault(name(entry), []).append(entry)
    return groups

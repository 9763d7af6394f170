"""From verdicts to numbers: pass@k, its intervals, two models compared, and the knowledge share with its control.

Verdicts are the dicts of `judge.judge`. One whose outcome is infra_error says nothing about a program: it is neither a
pass nor a failure, and a problem that it leaves with too few samples is left out. How many there are stands in the rows
(metric "outcome", option "infra_error") and in `tally`.

All intervals are of 95 %, by drawing problems with replacement: a problem brings all its samples along, and in whatever
spans languages also all its languages, since the same task is no new observation in another language.
Letters: P problems, C clusters (task numbers), G groups (languages), R bootstrap replicates.
"""

import collections
import functools
import math
from collections.abc import Iterable, Mapping

import numpy as np
from scipy.optimize import linear_sum_assignment

from babel_jax import statistics
from babel_jax.errors import UserError
from babel_jax.evaluation.problems import Problem, common

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


def tally(verdicts: Iterable[dict], problems: Iterable[Problem]) -> list[dict]:
    """The per-problem table, in the order of `problems`.

    Returns:
      dicts: suite, language, task_id, number, known_bad, samples, judged (samples without infra_error), passed, and
      outcomes {outcome: samples}.

    Raises:
      UserError: a verdict is of a problem that is not there (another suite, or another version of it).
    """
    problems = list(problems)
    outcomes = {p.key: collections.Counter() for p in problems}
    for verdict in verdicts:
        key = (verdict["suite"], verdict["language"], verdict["task_id"])
        if key not in outcomes:
            raise UserError(f"a verdict on {' '.join(key)}, which is no problem here; judge with this suite again.")
        outcomes[key][verdict["outcome"]] += 1
    table = []
    for p in problems:
        counts = outcomes[p.key]
        table.append(
            dict(suite=p.suite, language=p.language, task_id=p.task_id, number=p.number, known_bad=p.known_bad)
            | dict(samples=counts.total(), judged=counts.total() - counts["infra_error"], passed=counts["passed"])
            | dict(outcomes=dict(sorted(counts.items())))
        )
    return table


def rows(verdicts: Iterable[dict], problems: Iterable[Problem], ks=(1,)) -> list[dict]:
    """Rows for the table of measurements, without run, seed, step and tokens.

    Per suite, subset ("all" problems, or "common": tasks that stand in all the suite's languages) and k: "pass@k" a
    language, and "macro_pass@k", the mean over languages that each weigh the same. Then per language "outcome", the share
    of samples with each outcome, and "solved", a problem's share of passing samples (item: its number; subset: "common",
    or "all" for the others). Options: suite, subset, and the verdicts' variant, compat and samples a problem.

    Raises:
      UserError: a problem has fewer than k samples, the verdicts were not made alike, or see `tally`.
    """
    verdicts, problems = list(verdicts), list(problems)
    found = []
    in_all, table = common(problems), tally(verdicts, problems)
    for suite, here in _grouped(table, "suite").items():
        made = {"suite": suite, **_made(verdicts), "samples": min(entry["samples"] for entry in here)}
        shared = [entry for entry in here if entry["number"] in in_all[suite]]
        for subset, entries in (("all", here), ("common", shared)):
            for k in ks:
                found += _pass_rows(entries, k, {**made, "subset": subset})
        for language, entries in _grouped(here, "language").items():
            found += _sample_rows(language, entries, in_all[suite], made)
    return [dict(probe="evaluation") | row for row in found]


def _made(verdicts: list[dict]) -> dict:
    made = {(verdict["variant"], verdict["compat"]) for verdict in verdicts}
    if len(made) > 1:
        raise UserError(
            "verdicts on several prompt variants or by several rules cannot be one score; score each alone."
        )
    return {name: value for values in made for name, value in zip(("variant", "compat"), values, strict=True)}


def _pass_rows(entries: list[dict], k: int, about: dict) -> list[dict]:
    found, values, numbers, languages = [], [], [], []
    for language, group in _grouped(entries, "language").items():
        usable, value = _pass_values(group, k)
        number = [entry["number"] for entry in usable]
        found.append(dict(language=language, metric=f"pass@{k}", options=about) | estimate(value, number))
        values, numbers, languages = values + value, numbers + number, languages + [language] * len(value)
    if found and all(row["n"] for row in found):
        macro = estimate(values, numbers, languages)
        found.append(dict(metric=f"macro_pass@{k}", options=about) | macro)
    return found


def _pass_values(entries: list[dict], k: int) -> tuple[list[dict], list[float]]:
    """The entries that can be scored and their pass@k: left out is what infra_error leaves with fewer than k samples."""
    for entry in entries:
        if entry["samples"] < k:
            raise UserError(
                f"pass@{k} needs {k} samples of every problem; {entry['suite']} {entry['language']} {entry['task_id']} "
                f"has {entry['samples']}. Write more samples, or ask for a smaller k."
            )
    usable = [entry for entry in entries if entry["judged"] >= k]
    return usable, [pass_at_k(entry["judged"], entry["passed"], k) for entry in usable]


def _sample_rows(language: str, entries: list[dict], in_all: set[int], about: dict) -> list[dict]:
    counts = sum((collections.Counter(entry["outcomes"]) for entry in entries), collections.Counter())
    found = [
        dict(metric="outcome", value=count / counts.total(), n=counts.total(), options={**about, "outcome": outcome})
        for outcome, count in sorted(counts.items())
    ]
    for entry in entries:
        if entry["judged"]:
            subset = "common" if entry["number"] in in_all else "all"
            found.append(
                dict(metric="solved", item=entry["number"], value=entry["passed"] / entry["judged"])
                | dict(n=entry["judged"], options={**about, "subset": subset})
            )
    return [dict(language=language) | row for row in found]


def estimate(value_P, cluster_P, group_P=None, span=(0.0, 1.0)) -> dict:
    """The mean over groups of the groups' means, with its bootstrap interval over clusters.

    Where the values of every group are alike, no draw differs and the interval would have no width; then it is what
    Clopper and Pearson's gives for as many clusters of which none differs (the mean of the groups' bounds): 0 of 154 is
    not known to be 0.

    Args:
      value_P: one value a problem.
      cluster_P: what is drawn: values with the same mark stay together.
      group_P: groups that weigh the same; None for one group.
      span: the least and the greatest value that is possible.
    Returns:
      dict: value, n (values), ci_low, ci_high; NaN where there is no value.
    """
    value_P = np.asarray(value_P, float)
    if not value_P.size:
        return dict(value=math.nan, n=0, ci_low=math.nan, ci_high=math.nan)
    cluster_P = np.unique(np.asarray(cluster_P), return_inverse=True)[1].reshape(-1)
    groups, group_P = np.unique(np.zeros(value_P.size) if group_P is None else group_P, return_inverse=True)
    C, G = cluster_P.max() + 1, groups.size
    sum_CxG, count_CxG = np.zeros((2, C, G))
    np.add.at(sum_CxG, (cluster_P, group_P), value_P)
    np.add.at(count_CxG, (cluster_P, group_P), 1)
    mean_G = sum_CxG.sum(0) / count_CxG.sum(0)
    if np.allclose(value_P, mean_G[group_P], rtol=0, atol=1e-12):
        reach_G = 1 - statistics.TAILS[0] ** (1 / (count_CxG > 0).sum(0))
        low, high = np.maximum(span[0], mean_G - reach_G).mean(), np.minimum(span[1], mean_G + reach_G).mean()
    else:
        times_RxC = _draws(C)
        with np.errstate(invalid="ignore"):  # a small group may be missing from a draw
            low, high = np.nanquantile(((times_RxC @ sum_CxG) / (times_RxC @ count_CxG)).mean(1), statistics.TAILS)
    return dict(value=float(mean_G.mean()), n=int(value_P.size), ci_low=float(low), ci_high=float(high))


@functools.lru_cache(maxsize=8)
def _draws(clusters: int) -> np.ndarray:
    """How often each cluster stands in each replicate, [R, C]; always the same."""
    shares = np.full(clusters, 1 / clusters)
    return np.random.default_rng(0).multinomial(clusters, shares, REPLICATES).astype(float)


def compare(first: Iterable[dict], second: Iterable[dict], problems: Iterable[Problem]) -> list[dict]:
    """Two models on the same problems: what the second one's pass@1 is above the first one's.

    Per suite, subset ("all", "common") and language ("" for the mean over languages): suite, subset, language, value
    (second - first), n, ci_low, ci_high (paired bootstrap over problems), unjudged (problems left out because either
    has no verdict there), and, per language, only_first and only_second (problems that more than half of one model's
    samples solve, and not of the other's) with McNemar's exact p.

    Raises:
      UserError: the verdicts are of other problems, or were not made by the same rule on the same toolchains.
    """
    problems, first, second = list(problems), list(first), list(second)
    for name, advice in (
        ("compat", "judge both by the same rule"),
        ("toolchain", "judge both with the same compilers and interpreters"),
        ("limits", "judge both within the same limits"),
    ):
        kinds = [{(verdict["language"], verdict[name]) for verdict in verdicts} for verdicts in (first, second)]
        if kinds[0] != kinds[1]:
            raise UserError(f"the two models' verdicts differ in {name} and cannot be compared; {advice}.")
    in_all = common(problems)
    pairs = []
    for one, other in zip(tally(first, problems), tally(second, problems), strict=True):
        if (one["samples"] == 0) != (other["samples"] == 0):
            raise UserError(
                f"only one model was judged on {one['suite']} {one['language']} {one['task_id']}; judge both on all."
            )
        pairs.append(one | {"pair": (one, other), "shared": one["number"] in in_all[one["suite"]]})
    found = []
    for suite, here in _grouped(pairs, "suite").items():
        for subset, entries in (("all", here), ("common", [entry for entry in here if entry["shared"]])):
            about = {"suite": suite, "subset": subset}
            found += [about | difference for difference in _differences(entries)]
    return found


def _differences(entries: list[dict]) -> list[dict]:
    found, values, numbers, languages = [], [], [], []
    for language, group in _grouped(entries, "language").items():
        judged = [entry for entry in group if all(part["judged"] for part in entry["pair"])]
        share_Px2 = np.array([[part["passed"] / part["judged"] for part in entry["pair"]] for entry in judged])
        share_Px2 = share_Px2.reshape(-1, 2)
        solved_Px2 = share_Px2 > 0.5
        alone = [int((solved_Px2[:, i] & ~solved_Px2[:, 1 - i]).sum()) for i in (0, 1)]
        value, number = (share_Px2[:, 1] - share_Px2[:, 0]).tolist(), [entry["number"] for entry in judged]
        found.append(
            dict(language=language, unjudged=len(group) - len(judged))
            | estimate(value, number, span=(-1, 1))
            | dict(only_first=alone[0], only_second=alone[1], mcnemar_p=statistics.mcnemar(*alone))
        )
        values, numbers, languages = values + value, numbers + number, languages + [language] * len(value)
    if found and all(row["n"] for row in found):
        unjudged = sum(row["unjudged"] for row in found)
        found.append(dict(language="", unjudged=unjudged) | estimate(values, numbers, languages, span=(-1, 1)))
    return found


def solved(table: Iterable[dict], suite: str, language: str) -> dict[int, bool]:
    """Task number -> does more than half of its judged samples pass? From `tally`; without problems that nobody judged."""
    return {
        entry["number"]: entry["passed"] > entry["judged"] / 2
        for entry in table
        if (entry["suite"], entry["language"]) == (suite, language) and entry["judged"]
    }


def difficulty(table: Iterable[dict], suite: str, language: str) -> dict[int, float]:
    """Task number -> the share of a model's samples that fail, from its `tally`: needs several samples a problem."""
    return {
        entry["number"]: 1 - entry["passed"] / entry["judged"]
        for entry in table
        if (entry["suite"], entry["language"]) == (suite, language) and entry["judged"]
    }


def knowledge_share(
    primary: Mapping[int, bool],
    alone: Mapping[int, bool],
    now: Mapping[int, bool],
    hardness: Mapping[int, float] | None = None,
) -> dict:
    """|P & C| / |C|: how much of what is solved in the new language needs the primary language's knowledge.

    C are the problems that the model solves in the new language; P those that the primary-only model solves in the
    primary language and the new-only model does not solve in the new one (Babel Tower paper). P cannot tell "needs the
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
        its reference solution (`likelihood`), or `difficulty` of several samples.
    Returns:
      dict: value (NaN where C is empty), ci_low, ci_high, n (|C|), needs_primary (|P|), problems, ceiling (|P| over
      problems: the share of a model that solves all), and matched (None without `hardness`): value, n (pairs), ci_low,
      ci_high, solved, solved_partners (shares), p, unmatched (members of P without a partner).

    Raises:
      UserError: no task stands in all of them, or all tasks are equally hard, so that nothing can be matched.
    """
    numbers = sorted(primary.keys() & alone.keys() & now.keys() & (primary if hardness is None else hardness).keys())
    if not numbers:
        raise UserError("no task was judged in all three models; judge them on the same suite.")
    base_P, alone_P, now_P = (np.array([bool(by[n]) for n in numbers]) for by in (primary, alone, now))
    needs_P = base_P & ~alone_P
    C = int(now_P.sum())
    found = estimate(needs_P[now_P], np.arange(C))
    if found["n"] and needs_P[now_P].any() and not needs_P[now_P].all():
        times_RxP = _draws(len(numbers))  # |C| varies with the problems, too
        with np.errstate(invalid="ignore"):
            drawn_R = (times_RxP @ (needs_P & now_P)) / (times_RxP @ now_P)
        found["ci_low"], found["ci_high"] = map(float, np.nanquantile(drawn_R, statistics.TAILS))
    found |= dict(needs_primary=int(needs_P.sum()), problems=len(numbers), ceiling=float(needs_P.mean()), matched=None)
    if hardness is not None:
        hard_P = np.array([float(hardness[n]) for n in numbers])
        found["matched"] = _matched(needs_P, ~alone_P & ~base_P, now_P, hard_P)
    return found


def _matched(needs_P, control_P, now_P, hard_P) -> dict:
    """See `knowledge_share`: the pairs of equal hardness, and how often the model solves each side."""
    spread = hard_P[needs_P | control_P].std() if needs_P.any() and control_P.any() else 1.0  # else nothing is matched
    if not spread > 0:
        raise UserError(
            "all problems that the new-only model fails are equally hard by this measure, so nothing can be matched; "
            "give it several samples a problem, or take the bits of the reference solutions."
        )
    shuffle = np.random.default_rng(0).permutation
    members, partners = shuffle(np.flatnonzero(needs_P)), shuffle(np.flatnonzero(control_P))
    apart = np.abs(hard_P[members][:, None] - hard_P[partners]) / spread
    no_match = CALIPER * (min(apart.shape) + 1)  # costs more than all real pairs together: as many pairs as can be
    chosen = linear_sum_assignment(np.where(apart <= CALIPER, apart, no_match))
    first, second = (
        side[index][apart[chosen] <= CALIPER] for side, index in zip((members, partners), chosen, strict=True)
    )
    gain = now_P[first].astype(float) - now_P[second]
    return estimate(gain, np.arange(gain.size), span=(-1, 1)) | dict(
        solved=float(now_P[first].mean()) if gain.size else math.nan,
        solved_partners=float(now_P[second].mean()) if gain.size else math.nan,
        p=statistics.mcnemar(int((gain < 0).sum()), int((gain > 0).sum())),
        unmatched=members.size - gain.size,
    )


def knowledge_rows(share: dict, language: str, options: Mapping = {}) -> list[dict]:
    """A `knowledge_share` as rows for the table of measurements: "knowledge_share" and, matched, "matched_difference"."""
    parts = {"knowledge_share": share, "matched_difference": share["matched"]}
    return [
        dict(probe="evaluation", language=language, metric=metric, options=dict(options))
        | {name: part[name] for name in ("value", "n", "ci_low", "ci_high")}
        for metric, part in parts.items()
        if part is not None
    ]


def _grouped(entries: Iterable[dict], name: str) -> dict[str, list[dict]]:
    groups: dict[str, list[dict]] = {}
    for entry in entries:
        groups.setdefault(entry[name], []).append(entry)
    return groups

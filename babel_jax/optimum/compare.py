"""From-scratch mixes against each other: differences paired over seeds, the best of many without luck, who is harmed.

Letters: S seeds, M mixes, Q problems.
"""

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from babel_jax.common import statistics
from babel_jax.common.errors import unknown_name
from babel_jax.common.statistics import Effect
from babel_jax.evolution import stages
from babel_jax.evolution.mixes import MACRO, Mix


@dataclasses.dataclass(frozen=True)
class Comparison(Effect):
    """Score of mix `second` minus mix `first`, paired over seeds (one seed: over problems).

    Attributes:
      first, second: their names; score: "macro", or a language.
      first_value, second_value: means.
      by_seed: [S] differences; seeds: those that both have.
      n, interval: how many differences, and of what ("seeds" or "problems").
      kind: among a study's comparisons "mix" (with the original), or "best" (the original with the best of all).
      p_holm: corrected for how many mixes are compared in that score.
      chosen: of `gap_to_best`, by seed.
    """

    first: str
    second: str
    score: str
    first_value: float
    second_value: float
    by_seed: np.ndarray
    seeds: list[int]
    n: int
    interval: str
    kind: str = ""
    p_holm: float | None = None
    chosen: list[str] | None = None


TOLERANCE = 0.02  # a loss surely smaller than this is no harm


@dataclasses.dataclass(frozen=True)
class Harm(Effect):
    """What a mix changes in one language, against the original; `tested` is False where neither has learned it."""

    tested: bool

    @property
    def is_harm(self) -> bool:
        """Whether it is surely worse, and not surely by less than TOLERANCE."""
        return bool(self.ci[1] < 0 and self.ci[0] <= -TOLERANCE)


@dataclasses.dataclass(frozen=True)
class Guard:
    """Whether a mix harms no language; `passes` is None where none fails but not all were tested, or have an interval."""

    passes: bool | None
    languages: dict[str, Harm]


def compare(mixes: list[Mix], first: str, second: str, score: str = MACRO) -> Comparison | None:
    """Score of mix `second` minus mix `first`, paired over the seeds that both have; None where they share none.

    Two seeds or more: Student t over the differences of the seeds, but never narrower than the errors of their problems
    allow: few seeds agree by luck. One seed: Student t over the differences of its problems, which says nothing about other
    seeds; for the macro score each problem brings its answers in all languages along where they have equally many, else
    languages count as independent.

    `score`: MACRO, or a language.
    """
    pair = [named(mixes, name) for name in (first, second)]
    seeds, score_2xS = _scores(pair, score)
    if not seeds:
        return None
    difference_S = score_2xS[1] - score_2xS[0]
    by_problem = [[one - other for other, one in _answers(pair, score, seed)] for seed in seeds]
    if len(seeds) > 1:
        difference_by_part, unit = [difference_S], "seeds"
    else:
        (difference_by_part,), unit = by_problem, "problems"
    least = float(np.sqrt(sum(statistics.problem_error(parts) ** 2 for parts in by_problem)) / len(seeds))
    effect = statistics.mean_difference(difference_by_part, least)
    return Comparison(
        float(difference_S.mean()),
        effect.ci,
        effect.p,
        first=first,
        second=second,
        score=score,
        first_value=float(score_2xS[0].mean()),
        second_value=float(score_2xS[1].mean()),
        by_seed=difference_S,
        seeds=seeds,
        n=sum(map(len, difference_by_part)),
        interval=unit,
    )


def gap_to_best(mixes: list[Mix], name: str, score: str = MACRO, others_only: bool = False) -> Comparison | None:
    """How far a mix stays behind the best of all: as `compare`, with "second" the best mix and "chosen" by seed.

    `others_only`: behind the best of the others, which it may be ahead of.

    The best mix for a seed is chosen on the *other* seeds and measured on that seed, so that noise does not choose the
    winner it then measures; Student t over seeds. That gap is too small where it is uncertain which mix is the best, and none
    at all where the choice falls on the mix itself, so its upper bound is at least that of the best other mix on all seeds.
    One seed: chosen on one half of the problems, measured on the other (statistics.cross_fitted_gap), without a p-value.
    "second" is the best over all seeds; "second_value" is the cross-fitted one.

    Only mixes of as many tokens take part, and of these only those that were measured in all of this mix's seeds: a random
    mix of a swarm is trained in one.
    """
    this = named(mixes, name)
    mixes = [mix for mix in mixes if mix.tokens == this.tokens and set(this.seeds) <= set(mix.seeds)]
    here = [mix.name for mix in mixes].index(name)
    seeds, score_MxS = _scores(mixes, score)
    if not seeds:
        return None
    choice_K = [index for index in range(len(mixes)) if index != here or not others_only]
    if len(seeds) > 1:
        chosen = [choice_K[index] for index in best_on_others(score_MxS[choice_K])]
        difference_S, n, unit = score_MxS[chosen, range(len(seeds))] - score_MxS[here], len(seeds), "seeds"
        effect = statistics.mean_difference([difference_S])
        if len(mixes) > 1:
            rival = mixes[np.where(np.arange(len(mixes)) == here, -np.inf, score_MxS.mean(1)).argmax()]
            most = max(effect.ci[1], compare(mixes, name, rival.name, score).ci[1])
            effect = dataclasses.replace(effect, ci=(effect.ci[0], most))
    else:
        answers = _answers(mixes, score, seeds[0])
        chosen, n, unit = (
            [choice_K[score_MxS[choice_K, 0].argmax()]],
            sum(part.shape[1] for part in answers),
            "problems",
        )
        gap, *ci = _gap_in_halves(answers, choice_K, here) if answers else [np.nan] * 3
        difference_S, effect = np.array([gap]), Effect(gap, tuple(ci), float("nan"))
    value, first_value = float(difference_S.mean()), float(score_MxS[here].mean())
    return Comparison(
        value,
        effect.ci,
        effect.p,
        first=name,
        second=mixes[choice_K[score_MxS.mean(1)[choice_K].argmax()]].name,
        score=score,
        first_value=first_value,
        second_value=first_value + value,
        by_seed=difference_S,
        seeds=seeds,
        n=n,
        interval=unit,
        chosen=[mixes[index].name for index in chosen],
    )


def best_on_others(score_MxS: np.ndarray) -> list[int]:
    """For each of two seeds or more the mix that is best on the other seeds."""
    return [int(np.delete(score_MxS, s, axis=1).mean(1).argmax()) for s in range(score_MxS.shape[1])]


def _gap_in_halves(answers: list[np.ndarray], choice_K: list[int], here: int) -> tuple[float, float, float]:
    identity = np.eye(len(answers[0]))
    return statistics.cross_fitted_gap(statistics.resampled_halves(answers), identity[choice_K], identity[here])


def comparisons(mixes: list[Mix], original: str) -> list[Comparison]:
    """Every mix against the original, in the macro score and in each language; then the original against the best.

    Random mixes of a swarm, which are trained in fewer seeds than the original, are no candidates and are left out.

    Returns:
      `compare` of each, of the kind "mix" and with `p_holm`, the p-value corrected for how many mixes are compared in that
      score (Holm 1979); and one `gap_to_best` of the original a score, of the kind "best". [] without the original.
    """
    if original not in [mix.name for mix in mixes]:
        return []
    seeds = set(named(mixes, original).seeds)
    mixes = [mix for mix in mixes if seeds <= set(mix.seeds)]
    languages = sorted(set.intersection(*(set(mix.score) for mix in mixes)))
    pairs = []
    for score in (MACRO, *languages):
        against = [compare(mixes, original, mix.name, score) for mix in mixes if mix.name != original]
        against = [comparison for comparison in against if comparison]
        adjusted = statistics.holm([comparison.p for comparison in against])
        pairs += [
            dataclasses.replace(comparison, kind="mix", p_holm=p)
            for comparison, p in zip(against, adjusted, strict=True)
        ]
        if against and (best := gap_to_best(mixes, original, score)):
            pairs.append(dataclasses.replace(best, kind="best"))
    return pairs


def guard(mixes: list[Mix], original: str, name: str, chance: Mapping[str, float] = MappingProxyType({})) -> Guard:
    """Does a mix harm a language, be it one that it leaves alone? It fails if it is surely worse in any (`Harm.is_harm`).

    A language that neither mix has learned cannot be harmed: nothing was tested. `chance`: as in `learned`, by language.
    """
    pair = [named(mixes, each) for each in (original, name)]
    languages = {}
    for language in sorted(pair[0].score.keys() & pair[1].score.keys()):
        change = compare(mixes, original, name, language) or Effect(np.nan, (np.nan, np.nan), np.nan)
        languages[language] = Harm(
            change.value, change.ci, change.p, any(learned(mix, language, chance.get(language)) for mix in pair)
        )
    known = bool(languages) and all(harm.tested and not np.isnan(harm.ci).any() for harm in languages.values())
    harmed = any(harm.is_harm for harm in languages.values())
    return Guard(False if harmed else True if known else None, languages)


def learned(mix: Mix, language: str, chance: float | None = None) -> bool:
    """Whether a mix's models have learned a language (stages.learned); by their scores alone where no answers are kept."""
    if language in mix.solved:
        return stages.learned(mix.solved[language], mix.chance.get(language) if chance is None else chance)
    chance = stages.CHANCE if chance is None else chance
    return bool(np.mean(mix.score[language]) > chance + stages.MINIMUM_CHANGE)


def named(mixes: list[Mix], name: str) -> Mix:
    """The mix of this name."""
    for mix in mixes:
        if mix.name == name:
            return mix
    raise unknown_name("mix", name, [mix.name for mix in mixes])


def _scores(mixes: list[Mix], score: str) -> tuple[list, np.ndarray]:
    """(seeds, score_MxS): the seeds in which all these mixes have the score, and it."""
    tables = [
        {seed: value for seed, value in zip(mix.seeds, mix.score_S(score), strict=True) if not np.isnan(value)}
        for mix in mixes
    ]
    seeds = sorted(set.intersection(*map(set, tables)))
    return seeds, np.array([[table[seed] for seed in seeds] for table in tables], float)


def _answers(mixes: list[Mix], score: str, seed) -> list[np.ndarray]:
    """Arrays [M, Q] whose means over Q, averaged over the list, are the scores of one seed; [] where one is unknown."""
    languages = sorted(set().union(*(mix.score for mix in mixes))) if score == MACRO else [score]
    if any(language not in mix.solved for language in languages for mix in mixes):
        return []
    parts = [np.array([mix.solved[language][mix.seeds.index(seed)] for mix in mixes], float) for language in languages]
    equal = len({part.shape[1] for part in parts}) == 1
    return [np.mean(parts, axis=0)] if equal else parts

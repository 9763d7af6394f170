"""Schedules instead of static mixes: the primary first, then a phase of new languages in which some of the primary is replayed.

What is known of such schedules are the continual runs: a checkpoint after n tokens is a phase of n tokens, a run that replays
the primary with share r is a phase with replay share r. `surface` makes of them the score over both, `propose` the best of it
as stages that `train` takes. A proposal presupposes two things, which its from-scratch run tests: that the first phase
comes as far as the model that the continual runs began with, and that new languages in one phase do not disturb each other.

Letters: K new languages, R replay shares, C checkpoints (phase lengths), S seeds, Q problems, N replicates.
"""

import dataclasses

import numpy as np

from babel_jax.common import statistics
from babel_jax.common.errors import UserError
from babel_jax.evolution import stages


@dataclasses.dataclass(frozen=True)
class Surface:
    """The score of a phase of new languages, by replay share and length.

    Attributes:
      languages: K of them; seeds: S; steps: [C]; replay: [R] shares of the primary.
      tokens: [C] of the whole phase of one language, replayed ones included.
      score_KxRxC: weighted, smoothed over checkpoints as in evolution/stages.py; score_SxKxRxC: of each seed.
      score_RxC, low_RxC, high_RxC: its mean over the new languages.
      replicates_NxKxRxC: other seeds, or with one seed other problems.
      halves_2xNxKxRxC: in two halves of the problems, for choosing in one and measuring in the other.
    """

    languages: list[str]
    seeds: list[int]
    steps: list[int]
    replay: list[float]
    tokens: np.ndarray
    score_KxRxC: np.ndarray
    score_RxC: np.ndarray
    low_RxC: np.ndarray
    high_RxC: np.ndarray
    score_SxKxRxC: np.ndarray
    replicates_NxKxRxC: np.ndarray
    halves_2xNxKxRxC: np.ndarray


@dataclasses.dataclass(frozen=True)
class LanguageTokens:
    """Tokens of a new language in a schedule, with their interval."""

    tokens: float
    ci: tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Schedule:
    """The schedule with the best score: the primary first, then a phase of the new languages with replay.

    Attributes:
      stages: as a config takes them.
      replay, replay_ci: the primary's share in the phase.
      phase_tokens, phase_tokens_ci: of the whole phase; new_tokens, new_tokens_ci: of the new languages in it.
      by_language: {language: its tokens}.
      predicted, predicted_ci: the score to expect, measured on other data than it was chosen on.
      active: {language: what holds it back}.
      reason: a clause.
    """

    stages: list[dict]
    replay: float
    replay_ci: tuple[float, float]
    phase_tokens: float
    phase_tokens_ci: tuple[float, float]
    new_tokens: float
    new_tokens_ci: tuple[float, float]
    by_language: dict[str, LanguageTokens]
    predicted: float
    predicted_ci: tuple[float, float]
    active: dict[str, str]
    reason: str


@dataclasses.dataclass(frozen=True)
class Phase:
    """A continual run in one language, as far as a schedule is read off it.

    Attributes:
      seeds: S of them; steps: [C].
      tokens: [C] of the new language seen by then.
      solved: one [C, Q] of 0/1 a seed.
    """

    seeds: list[int]
    steps: np.ndarray
    tokens: np.ndarray
    solved: list[np.ndarray]


def surface(new: dict[str, dict[float, Phase]], primary: dict[str, dict[float, Phase]]) -> Surface:
    """The score of a phase of new languages, by replay share and length: the mean over all languages.

    Args:
      new: {language: {replay share: what was measured of that language}} of its continual runs.
      primary: likewise {new language: {replay share: … of the primary language}} of the same runs.

    Raises:
      UserError: the runs differ in their replay shares, have no seed or no checkpoint in common, or too few problems.
    """
    languages, replay = list(new), sorted(new[next(iter(new))])
    if any(sorted(by[language]) != replay for by in (new, primary) for language in languages):
        raise UserError(
            "the continual runs have other replay shares in one language than in another; run the same in each."
        )
    if not 0 <= replay[0] <= replay[-1] < 1:
        raise UserError(f"replay shares are {replay}; they lie from 0 to below 1.")
    phases = [by[language][r] for by in (new, primary) for language in languages for r in replay]
    seeds = sorted(set.intersection(*(set(phase.seeds) for phase in phases)))
    steps = sorted(set.intersection(*(set(np.asarray(phase.steps).tolist()) for phase in phases)))
    if not seeds or not steps:
        raise UserError(
            "the continual runs with replay have no seed, or no checkpoint, in common; measure the same of each."
        )
    weight, smoothing_CxC = 1 / (len(languages) + 1), stages.smoothing_CxC(len(steps))
    solved_2 = [
        [[_solved(by[language], seed, steps) for seed in seeds] for language in languages] for by in (new, primary)
    ]  # of the new languages and of the primary, each [K][S] of [R, C, Q]
    if min(solved_RxCxQ.shape[2] for by in solved_2 for of in by for solved_RxCxQ in of) < 4:
        raise UserError("a schedule is chosen on one half of the problems and measured on the other; judge 4 or more.")
    score_2 = [np.array([[answers.mean(2) for answers in of] for of in by]).swapaxes(0, 1) for by in solved_2]
    halves_2, replicates_2 = zip(*(_resampled(by) for by in solved_2), strict=True)

    def weighted(pair):
        return ((1 - weight) * pair[0] + weight * pair[1]) @ smoothing_CxC.T

    replicates_NxKxRxC = weighted(replicates_2)
    low_RxC, high_RxC = np.clip(np.quantile(replicates_NxKxRxC.mean(1), statistics.TAILS, axis=0), 0, 1)
    score_SxKxRxC, first = weighted(score_2), new[languages[0]][replay[0]]
    return Surface(
        languages=languages,
        seeds=seeds,
        steps=steps,
        replay=replay,
        tokens=np.array(_at(first.steps, first.tokens, steps), float) / (1 - replay[0]),
        score_KxRxC=score_SxKxRxC.mean(0),
        score_RxC=score_SxKxRxC.mean((0, 1)),
        low_RxC=low_RxC,
        high_RxC=high_RxC,
        score_SxKxRxC=score_SxKxRxC,
        replicates_NxKxRxC=replicates_NxKxRxC,
        halves_2xNxKxRxC=weighted(halves_2),
    )


def propose(surface: Surface, primary: str, total_tokens: int) -> Schedule:
    """The schedule of `total_tokens` tokens with the best score: primary first, then the new languages with replay.

    There is one replay share; each new language gets as many tokens as are best for it at that share, so the phase mixes
    them in that proportion. The best is taken among the lengths that were measured; of K languages each may fill less than
    the K-th part of the run.

    Intervals of tokens and replay: 95 % percentiles over the replicates. `predicted`: the score to expect, measured on other
    data than it was chosen on: with two seeds or more on the seed left out, with Student t; with one on the other half of
    the problems, with percentiles over resampled problems, which says nothing about other seeds.

    Raises:
      UserError: no phase that was measured fits into the run.
    """
    fit_KxRxC = _fits(surface, total_tokens)
    r, c_K = _choose(surface.score_KxRxC, fit_KxRxC)
    drawn_N, drawn_NxK = _choose(surface.replicates_NxKxRxC, fit_KxRxC)
    new_K, new_NxK = _new_tokens(surface, r, c_K), _new_tokens(surface, drawn_N, drawn_NxK)
    replay, replay_N = float(surface.replay[r]), np.array(surface.replay)[drawn_N]
    predicted, low, high = _predicted(surface, fit_KxRxC)
    return Schedule(
        stages=_stages(primary, total_tokens, dict(zip(surface.languages, new_K.tolist(), strict=True)), replay),
        replay=replay,
        replay_ci=_percentiles(replay_N),
        phase_tokens=float(new_K.sum() / (1 - replay)),
        phase_tokens_ci=_percentiles(new_NxK.sum(1) / (1 - replay_N)),
        new_tokens=float(new_K.sum()),
        new_tokens_ci=_percentiles(new_NxK.sum(1)),
        by_language={
            language: LanguageTokens(float(new_K[k]), _percentiles(new_NxK[:, k]))
            for k, language in enumerate(surface.languages)
        },
        predicted=predicted,
        predicted_ci=(low, high),
        active=_active(surface, fit_KxRxC, r),
        reason=_reason(surface, c_K),
    )


# --- the surface ----------------------------------------------------------------------------------------------------------


def _at(steps, values, wanted) -> list:
    by_step = dict(zip(np.asarray(steps).tolist(), values, strict=True))
    return [by_step[step] for step in wanted]


def _solved(by_replay: dict[float, Phase], seed: int, steps) -> np.ndarray:
    """The answers of one seed, [R, C, Q]."""
    runs = [by_replay[r] for r in sorted(by_replay)]
    return np.array([_at(run.steps, run.solved[run.seeds.index(seed)], steps) for run in runs], float)


def _resampled(solved) -> tuple[np.ndarray, np.ndarray]:
    """Accuracies in two halves of the problems [2, N, K, R, C], and replicates [N, K, R, C]; `solved`: [K][S] of [R, C, Q].

    A seed, and within it a problem, brings its answers in all runs and at all checkpoints along. The draws are the same in
    every call, so the languages of a seed stay together, too (with one seed: where they have equally many problems, taken to
    be the same ones).
    """
    halves_K, replicates_K = [], []
    for solved_S in solved:
        flat = [solved_RxCxQ.reshape(-1, solved_RxCxQ.shape[2]) for solved_RxCxQ in solved_S]
        halves_K.append(statistics.resampled_halves(flat))
        replicates_K.append(statistics.replicated_curves(flat))
    shape = solved[0][0].shape[:2]
    return tuple(
        np.stack(arrays, -2).reshape(*arrays[0].shape[:-1], len(solved), *shape) for arrays in (halves_K, replicates_K)
    )


# --- the proposal ---------------------------------------------------------------------------------------------------------


def _fits(surface: Surface, total_tokens: float) -> np.ndarray:
    """Which phases may be proposed, [K, R, C]: those that are shorter than their part of the run."""
    short_C = surface.tokens < total_tokens / len(surface.languages)
    if not short_C.any():
        raise UserError(
            f"no phase that was measured fits into {total_tokens:,.0f} tokens; measure earlier checkpoints, or allow "
            "more tokens."
        )
    return np.broadcast_to(short_C, surface.score_KxRxC.shape)


def _choose(score_xKxRxC, fit_KxRxC) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the best replay share [...] and of each language's best checkpoint at it [..., K]."""
    allowed = np.where(fit_KxRxC, score_xKxRxC, -np.inf)
    r_x = allowed.max(-1).mean(-2).argmax(-1)
    c_xKxR = allowed.argmax(-1)
    return r_x, np.take_along_axis(c_xKxR, r_x[..., None, None], -1)[..., 0]


def _value(score_xKxRxC, r_x, c_xK) -> np.ndarray:
    """Mean over languages of the score at the chosen places, [...]."""
    score_xKxC = np.take_along_axis(score_xKxRxC, r_x[..., None, None, None], -2)[..., 0, :]
    return np.take_along_axis(score_xKxC, c_xK[..., None], -1)[..., 0].mean(-1)


def _new_tokens(surface: Surface, r_x, c_xK) -> np.ndarray:
    """Tokens of each new language, [..., K]."""
    return surface.tokens[c_xK] * (1 - np.array(surface.replay)[r_x][..., None])


def _predicted(surface: Surface, fit_KxRxC) -> tuple[float, float, float]:
    score_SxKxRxC = surface.score_SxKxRxC
    seeds = len(score_SxKxRxC)
    if seeds > 1:
        others = np.array([np.delete(score_SxKxRxC, s, axis=0).mean(0) for s in range(seeds)])
        value, low, high = statistics.student(_value(score_SxKxRxC, *_choose(others, fit_KxRxC)))
        return float(value), *(float(bound) for bound in np.clip([low, high], 0, 1))
    halves = surface.halves_2xNxKxRxC
    value_N = _value(halves, *_choose(halves[::-1], fit_KxRxC)).mean(0)
    return float(value_N.mean()), *_percentiles(value_N)


def _percentiles(value_N) -> tuple[float, float]:
    return tuple(np.quantile(value_N, statistics.TAILS).tolist())


def _stages(primary: str, total_tokens: int, tokens: dict[str, float], replay: float) -> list[dict]:
    new = sum(tokens.values())
    if not new:
        return [{"tokens": 0, "weights": {primary: 1.0}}]
    share = {language: round((1 - replay) * count / new, 4) for language, count in tokens.items() if count}
    first = {"tokens": int(total_tokens - new / (1 - replay)), "weights": {primary: 1.0}}
    return [first, {"tokens": 0, "weights": ({primary: replay} if replay else {}) | share}]


def _active(surface: Surface, fit_KxRxC, r) -> dict[str, str]:
    """What each language would take more of than it may."""
    free_K = surface.score_KxRxC[:, r].argmax(-1)
    return {
        language: f"a phase of {surface.tokens[free_K[k]]:,.0f} tokens scores best and is too long"
        for k, language in enumerate(surface.languages)
        if not fit_KxRxC[k, r, free_K[k]]
    }


def _reason(surface: Surface, c_K) -> str:
    tokens_K, last = surface.tokens[c_K], len(surface.tokens) - 1
    if not tokens_K.any():
        return "no phase of a new language scores better than the primary alone"
    rising = [language for language, c in zip(surface.languages, c_K, strict=True) if c == last > 0]
    if rising:
        return f"{' and '.join(rising)}: the score still rises at the longest phase that was measured; a longer one may be better"
    return "the score is highest inside what was measured"

"""Algorithm 1 of the paper: from the primary's share at the best checkpoint to the tokens of the new languages.

`propose` says what one language asks for and whether the data support a change; `corpus` puts the languages together.
Both carry intervals. Where the share comes from is in share.py (Eq. 1) and calibration.py.
Letters: S seeds, C checkpoints, R replicates, K new languages, P primaries.
"""

import dataclasses

import numpy as np
from scipy import optimize

from babel_jax.common import statistics
from babel_jax.common.errors import UserError, unknown_name
from babel_jax.evolution import stages
from babel_jax.evolution.dependence import Dependence
from babel_jax.evolution.observation import Observation
from babel_jax.evolution.stages import Stages
from babel_jax.optimum.calibration import Calibration
from babel_jax.optimum.share import Share

DEFAULT_SOURCE = "loss"  # the paper's
READINGS = ("pairwise", "joint")  # of Eq. 2 and 3; the first gives the paper's corpus


def pairwise_tokens(share, primary_tokens) -> np.ndarray:
    """Eq. 3 pairwise, P = eta_p / (eta_p + eta_j): eta_j = eta_p (1 - P) / P, each language against the primary alone.

    This is the reading that gives the paper's corpus (PHP 5B is P = 0.6875 at 11B of Python). P = 0 asks for infinitely
    many tokens.
    """
    share = np.asarray(share, float)
    with np.errstate(divide="ignore", over="ignore"):
        return np.divide(primary_tokens * (1 - share), share)


def pairwise_share(tokens, primary_tokens) -> np.ndarray:
    """The inverse of `pairwise_tokens`: P = eta_p / (eta_p + eta_j)."""
    return primary_tokens / (primary_tokens + np.asarray(tokens, float))


def pairwise_slope(share, primary_tokens) -> np.ndarray:
    """d eta_j / dP = -eta_p / P^2: how many tokens an error in P costs."""
    with np.errstate(divide="ignore"):
        return -primary_tokens / np.asarray(share, float) ** 2


def joint_tokens(share_K, primary_tokens) -> np.ndarray:
    """Eq. 3 joint: tokens of K new languages with all languages in the denominator, solved together.

    Each new language's own system has 1 - P_j, and by Eq. 2 that is its token share, 1 - P_j = eta_j / sum_i eta_i.
    Hence sum_i eta_i = eta_p / (1 - sum_j (1 - P_j)). (P_j = eta_p / sum_i eta_i would make all P_j equal.)
    With one new language this is the pairwise reading. Languages whose tokens are fixed count with the primary.

    Raises:
      UserError: the new languages' own shares add up to 1 or more: no token counts satisfy them all.
    """
    own_K = 1 - np.atleast_1d(np.asarray(share_K, float))
    if own_K.sum() >= 1:
        raise UserError(
            f"the joint reading has no solution: the new languages ask for {own_K.sum():.3f} of all tokens; "
            "use the pairwise reading or fewer languages."
        )
    return _joint_tokens(own_K, primary_tokens)


def _joint_tokens(own_KxR, primary_tokens) -> np.ndarray:
    """`joint_tokens` from the own shares 1 - P_j, also of many replicates; infinite where there is no solution."""
    rest_R = 1 - own_KxR.sum(0)
    return np.where(rest_R > 0, own_KxR * primary_tokens / np.where(rest_R > 0, rest_R, 1), np.inf)


# What a proposal may decide; only the first changes the corpus.
CHANGE, NO_CHANGE, ALONE, UNDECIDED = "change", "no change supported", "leave alone: does not depend", "undecided"
NOT_TESTED = "not tested"  # there is no P*: no best checkpoint to read it at, or no share there


@dataclasses.dataclass(frozen=True)
class Proposal:
    """What Algorithm 1 says of one new language, from one source of its share. NaN where a share has no value.

    Attributes:
      source, language: whose.
      p_star, p_star_ci: the primary's share at the best checkpoint.
      calibrated: the link that it went through, or None.
      best_step, best_tokens: of the best checkpoint; tokens of the new language seen by then.
      tokens, tokens_ci: Eq. 3 pairwise, infinite at P* = 0.
      pairwise_share, share_ci: the new language's share of a corpus of both, for which both readings agree.
      slope: d eta / dP.
      out_of_range: whether Eq. 1 was clipped there.
      by_seed: P at each seed's own best checkpoint [S].
      replicates_R: of P*.
      decision: CHANGE, NO_CHANGE, ALONE, UNDECIDED or NOT_TESTED; reason: a sentence.
    """

    source: str
    language: str
    p_star: float
    p_star_ci: tuple[float, float]
    calibrated: str | None
    best_step: int
    best_tokens: int
    tokens: float
    tokens_ci: tuple[float, float]
    pairwise_share: float
    share_ci: tuple[float, float]
    slope: float
    out_of_range: bool
    by_seed: np.ndarray
    replicates_R: np.ndarray
    decision: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Corpus:
    """The corpus that Algorithm 1 asks for, all languages together.

    Attributes:
      reading: of Eq. 2 and 3.
      tokens, shares: {language: …} that meet the constraints; total: of the tokens.
      unconstrained: {language: tokens} asked for before the constraints.
      as_written: {language: tokens} by Eq. 3 for every language with a P*, whatever was decided; None where that has
        no solution, or no language a P*.
      ci: {language: interval} of the tokens asked for, which decides.
      active: the constraints that bind.
      decisions, reasons: {new language: …}.
    """

    reading: str
    tokens: dict[str, float]
    shares: dict[str, float]
    total: float
    unconstrained: dict[str, float]
    as_written: dict[str, float] | None
    ci: dict[str, tuple[float, float]]
    active: list[str]
    decisions: dict[str, str]
    reasons: dict[str, str]


@dataclasses.dataclass(frozen=True)
class Amounts:
    """Tokens of the primary and of one new language in the corpus to change, in the unit that the answer is in.

    `original` None: nothing to compare with.
    """

    primary: float = 1.0
    original: float | None = None


def propose(
    observation: Observation,
    share: Share,
    found: Stages,
    dependence: Dependence | None,
    calibration: Calibration | None = None,
    amounts: Amounts = Amounts(),
) -> Proposal:
    """Algorithm 1 for one new language: P* at its best checkpoint and the tokens that follow, with intervals.

    The interval of P* is the percentile interval of replicates that each take the best checkpoint of a resampled
    accuracy curve, P there of a resampled loss curve and, with a calibration, its error at a checkpoint left out. P* is
    NaN throughout where accuracy does not rise: it is read at the best checkpoint, and there is none.

    Args:
      observation: what was measured of the language.
      share: the primary's share at the same checkpoints.
      found: its stages, where the peak is.
      dependence: whether the language depends on the primary; None: not tested.
      calibration: link from P(l) to a measured share; None: P(l) as it is.
    """
    best = found.peak.index
    best_R = np.resize(found.best_R, len(share.replicates_RxC))
    share_R = share.replicates_RxC[np.arange(len(best_R)), best_R]
    best_S = [(stages.smoothing_CxC(len(score_C)) @ score_C).argmax() for score_C in observation.score_SxC]
    by_seed, p_star = share.value_SxC[np.arange(len(best_S)), best_S], share.pooled[best]
    if calibration is not None:
        p_star, by_seed = calibration.link.apply(p_star), calibration.link.apply(by_seed)
        noise_R = np.random.default_rng(1).normal(0, calibration.link.loo_error, len(share_R))  # not share.py's stream
        share_R = np.clip(calibration.link.apply(share_R) + noise_R, 0, 1)
    if not found.rises:
        p_star, by_seed, share_R = np.nan, np.full(len(best_S), np.nan), np.full(len(share_R), np.nan)
    low, high = _percentiles(share_R)
    tokens, least, most = (float(pairwise_tokens(part, amounts.primary)) for part in (p_star, high, low))
    language = observation.language
    if not found.rises:
        decision, reason = NOT_TESTED, f"{language}: P* is not determined: {stages.no_peak(found)}."
    elif np.isnan(p_star):
        decision, reason = NOT_TESTED, f"{language}: P* is not determined: {no_share(share.source)}."
    else:
        decision, reason = _decide(language, tokens, (least, most), dependence, amounts.original)
    return Proposal(
        source=share.source,
        language=language,
        p_star=float(p_star),
        p_star_ci=(low, high),
        calibrated=calibration and calibration.best,
        best_step=int(observation.steps[best]),
        best_tokens=int(observation.tokens[best]),
        tokens=tokens,
        tokens_ci=(least, most),
        pairwise_share=float(1 - p_star),
        share_ci=(1 - high, 1 - low),
        slope=float(pairwise_slope(p_star, amounts.primary)),
        out_of_range=bool(share.out_of_range[best]),
        by_seed=np.asarray(by_seed, float),
        replicates_R=share_R,
        decision=decision,
        reason=reason,
    )


def _percentiles(value_R) -> tuple[float, float]:
    """Percentile interval of the replicates that have a value; NaN where most have none."""
    known_R = value_R[~np.isnan(value_R)]
    if 2 * len(known_R) < len(value_R):
        return float("nan"), float("nan")
    low, high = (  # by order alone, for tokens may be infinite
        np.quantile(known_R, tail, method=method)
        for tail, method in zip(statistics.TAILS, ("lower", "higher"), strict=True)
    )
    return float(low), float(high)


def readable(tokens: float) -> str:
    """A number of tokens for the reader: 1.2T, 5B, 1.25M, 0.68; a dash where there is none."""
    if np.isnan(tokens):
        return "-"
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if size <= tokens < np.inf:
            return f"{tokens / size:.3g}{letter}"
    return f"{tokens:.3g}"


def no_share(source: str) -> str:
    """Why a source has no share at the best checkpoint: a clause."""
    if source.startswith("loss"):
        return f"the {source.replace('_', ' ')} does not fall in the run, so it tells no system of the primary from an own one"
    return f"the {source.replace('_', ' ')} has no value at the best checkpoint"


def _decide(
    language: str, tokens: float, ci: tuple, dependence: Dependence | None, original_tokens: float | None
) -> tuple[str, str]:
    """What follows from a P*, and why, in a sentence."""
    if np.isnan(ci).any():
        reason = "P* has no interval at the best checkpoint; one seed needs the errors of its losses."
        return UNDECIDED, f"{language}: {reason}"
    decision, reason = _sized(language, tokens, ci, original_tokens, "pairwise")
    if dependence is None:
        return UNDECIDED, f"{reason} Whether it depends on the primary was not tested."
    if dependence.depends:
        return decision, reason
    return UNDECIDED if dependence.depends is None else ALONE, f"{language}: {dependence.reason}"


def _sized(language: str, tokens: float, ci: tuple, original_tokens: float | None, reading: str) -> tuple[str, str]:
    """The decision on the tokens alone: a change is supported where the interval does not hold the original size."""
    asks = f"{language}: Eq. 3 ({reading}) asks for {readable(tokens)} tokens [{', '.join(map(readable, ci))}]"
    if original_tokens is None:
        return CHANGE, f"{asks}."
    if ci[0] <= original_tokens <= ci[1]:
        return NO_CHANGE, f"{asks}, and the interval holds the original {readable(original_tokens)}."
    return CHANGE, f"{asks}, the original has {readable(original_tokens)}."


@dataclasses.dataclass(frozen=True)
class Constraints:
    """What a corpus must be, in the unit of its tokens.

    `budget` tokens in all, to which all languages are scaled (None: as many as come out); of each language at most
    `max_epochs` times what is `available` ({language: tokens}; one that is not named: no limit), and at least the share
    `min_share` of all tokens.
    """

    budget: float | None = None
    available: dict[str, float] = dataclasses.field(default_factory=dict)
    max_epochs: float = 1.0
    min_share: float = 0.0

    def __post_init__(self):
        if self.budget is not None and not 0 < self.budget < np.inf:
            raise UserError(f"the budget is {self.budget:g} tokens; give a number above 0.")
        if not 0 < self.max_epochs < np.inf:
            raise UserError(f"max_epochs is {self.max_epochs:g}; give how often a language may be seen, such as 4.")
        if not 0 <= self.min_share < 1:
            raise UserError(f"min_share is {self.min_share:g}; give the least share of a language, such as 0.02.")


def corpus(
    proposals: dict[str, Proposal],
    primary: str,
    original: dict[str, float],
    reading: str = "pairwise",
    constraints: Constraints = Constraints(),
) -> Corpus:
    """The corpus that Algorithm 1 asks for, all languages together.

    A language changes only where its proposal lets it and the interval of its tokens, in this reading, does not hold the
    original size; every other one keeps the tokens it has. Then the constraints: a budget scales all languages alike,
    which by Eq. 2 leaves every share as it is; where a bound holds a language, the feasible corpus is the one nearest in
    Kullback-Leibler divergence, in which the primary and the changed languages make up for it in proportion.

    Args:
      proposals: {new language: …}; in any unit, since only the shares are read.
      primary: the language that the others are measured against.
      original: {language: tokens} of the original corpus, the primary's too.
      reading: "pairwise" (the paper's numbers) or "joint" (Eq. 2 and 3 with all languages in the denominator).

    Raises:
      UserError: the joint reading has no solution, or no corpus meets the constraints.
    """
    if reading not in READINGS:
        raise unknown_name("reading", reading, READINGS)
    for language in (primary, *proposals):
        if language not in original:
            raise unknown_name("language of the original corpus", language, original)
    known = {language: proposal for language, proposal in proposals.items() if not np.isnan(proposal.p_star)}
    as_written, _ = _asked(known, primary, original, reading)
    solved = bool(known) and (reading == "pairwise" or np.isfinite(list(as_written.values())).all())
    movable = {name: proposal for name, proposal in known.items() if proposal.decision in (CHANGE, NO_CHANGE)}
    asked, asked_ci = _asked(movable, primary, original, reading)
    decided = {name: (proposal.decision, proposal.reason) for name, proposal in proposals.items()}
    decided |= {name: _sized(name, asked[name], asked_ci[name], original[name], reading) for name in movable}
    changed = {name: proposal for name, proposal in movable.items() if decided[name][0] == CHANGE}
    if reading == "joint":
        joint_tokens([proposal.p_star for proposal in changed.values()], 1.0)  # says so where there is no solution
    unconstrained, ci = _asked(changed, primary, original, reading)
    tokens, active = _feasible(unconstrained, set(original) - {primary, *changed}, original, constraints)
    total = sum(tokens.values())
    return Corpus(
        reading=reading,
        tokens=tokens,
        shares={language: amount / total for language, amount in tokens.items()},
        total=total,
        unconstrained=unconstrained,
        as_written=as_written if solved else None,
        ci=asked_ci | {language: ci[language] for language in changed},
        active=active,
        decisions={language: decision for language, (decision, _) in decided.items()},
        reasons={language: reason for language, (_, reason) in decided.items()},
    )


def _asked(changed: dict[str, Proposal], primary: str, original: dict, reading: str) -> tuple[dict, dict]:
    """({language: tokens}, {language: interval}) by Eq. 3 for the changed languages, the others as in the original."""
    tokens = {language: float(amount) for language, amount in original.items()}
    ci = {language: (amount, amount) for language, amount in tokens.items()}
    if not changed:
        return tokens, ci
    share_Kx1 = np.array([[proposal.p_star] for proposal in changed.values()])
    share_KxR = np.array([proposal.replicates_R for proposal in changed.values()])
    if reading == "pairwise":
        asked_Kx1, asked_KxR = (pairwise_tokens(share, tokens[primary]) for share in (share_Kx1, share_KxR))
    else:
        fixed = sum(amount for language, amount in tokens.items() if language not in changed)
        asked_Kx1, asked_KxR = (_joint_tokens(1 - share, fixed) for share in (share_Kx1, share_KxR))
    for language, (asked,), asked_R in zip(changed, asked_Kx1, asked_KxR, strict=True):
        tokens[language], ci[language] = float(asked), _percentiles(asked_R)
    return tokens, ci


def finite(asked: dict[str, float], original: dict[str, float]) -> dict[str, float]:
    """The amounts asked for; a language that asks for tokens without end keeps what it has."""
    return {name: asked[name] if np.isfinite(asked[name]) else amount for name, amount in original.items()}


def _feasible(wanted: dict, kept: set, original: dict, limits: Constraints) -> tuple[dict, list[str]]:
    """(tokens nearest to `wanted` that meet the constraints, names of those that bind)."""
    names = list(wanted)
    most_K = np.array([limits.max_epochs * limits.available.get(name, np.inf) for name in names])
    # P* = 0 asks for tokens without end: as many as there are, or where nothing ends them those of the original
    wanted_K, original_K = (np.array([of[name] for name in names], float) for of in (wanted, original))
    endless_K = np.isinf(wanted_K)
    wanted_K = np.where(endless_K, np.where(np.isinf(most_K), original_K, most_K), wanted_K)
    if limits.budget is not None:
        wanted_K *= limits.budget / wanted_K.sum()
    total = float(np.minimum(wanted_K, most_K).sum()) if limits.budget is None else limits.budget
    least_K = np.full(len(names), limits.min_share * total)
    kept_K = np.array([name in kept for name in names])
    low_K = np.where(kept_K, np.clip(wanted_K, least_K, most_K), least_K)
    high_K = np.where(kept_K, low_K, most_K)
    if (low_K > most_K).any() or low_K.sum() > total * (1 + 1e-9):
        raise UserError(
            f"not every language can have {limits.min_share:g} of {readable(total)} tokens beside those left alone; lower "
            f"--min_share{', or raise --max_epochs' if limits.available else ''}."
        )
    tokens_K = _nearest(wanted_K, low_K, high_K, total)
    if tokens_K.sum() < total * (1 - 1e-9):
        raise UserError(
            f"the languages that may grow have only {readable(tokens_K.sum())} of {readable(total)} tokens; lower --budget, "
            "or raise --max_epochs."
        )
    close = 1e-6 * total
    active = [] if limits.budget is None else ["budget"]
    for name, amount, want, least, most, endless in zip(
        names, tokens_K, wanted_K, least_K, most_K, endless_K, strict=True
    ):
        if amount < least + close and want < least - close:
            active.append(f"minimum share of {name}")
        if amount > most - close and (want > most + close or endless):
            active.append(f"available tokens of {name}")
    return dict(zip(names, tokens_K.tolist(), strict=True)), active


def _nearest(wanted_K, low_K, high_K, total: float) -> np.ndarray:
    """The amounts within their bounds that sum to `total` and are nearest to `wanted_K` in Kullback-Leibler divergence.

    That is one common factor on all that no bound holds (the condition of optimality of the convex problem).
    """
    if not wanted_K.any():
        return low_K

    def amounts(factor):
        return np.clip(factor * wanted_K, low_K, high_K)

    if np.isclose(amounts(1.0).sum(), total, rtol=1e-12):
        return amounts(1.0)
    largest = total / wanted_K[wanted_K > 0].min()  # here every language that is wanted has `total`, or is at its bound
    if amounts(largest).sum() <= total:
        return amounts(largest)
    return amounts(optimize.brentq(lambda factor: amounts(factor).sum() - total, 0, largest, xtol=1e-15, rtol=1e-14))


def merge_primaries(share_xP, primary_tokens_P) -> tuple[np.ndarray, np.ndarray]:
    """Several primaries as one: their common share, and how far each is from its part of it.

    By Eq. 2 primary p of E = sum_p eta_p tokens has the share eta_p / (E + eta_j) of language j's work, so all together
    have x = E / (E + eta_j), the sum of theirs. With x and E the primaries stand in Eq. 3 as one language does; a budget
    that scales all languages alike leaves x as it is.

    Args:
      share_xP: each primary's share, in any shape with the primaries last.
      primary_tokens_P: tokens of each primary.
    Returns:
      (x in [0, 1], share of each minus (eta_p / E) x: not 0 where a language leans on the primaries in other proportions
      than those that the corpus has them in).
    """
    share_xP, primary_P = np.asarray(share_xP, float), np.asarray(primary_tokens_P, float)
    if np.nanmin(share_xP) < 0 or np.nanmax(share_xP.sum(-1)) > 1 + 1e-6:
        raise UserError("shares of the primaries lie between 0 and 1 and sum to at most 1 for each language.")
    part_P = primary_P / primary_P.sum()
    common_x = np.minimum(share_xP.sum(-1), 1)
    return common_x, share_xP - common_x[..., None] * part_P


def split_primaries(corpus: Corpus, merged: str, primary_tokens: dict[str, float]) -> Corpus:
    """A corpus with the primaries that stood in it as `merged`, each with its part of their tokens."""
    whole = sum(primary_tokens.values())

    def split(amounts: dict | None) -> dict | None:
        if amounts is None:
            return None
        scale = {name: tokens / whole for name, tokens in primary_tokens.items()}
        parts = {name: scale[name] * np.asarray(amounts[merged]) for name in scale}
        return {name: part.tolist() for name, part in parts.items()} | {
            name: amount for name, amount in amounts.items() if name != merged
        }

    return dataclasses.replace(
        corpus,
        tokens=split(corpus.tokens),
        shares=split(corpus.shares),
        unconstrained=split(corpus.unconstrained),
        as_written=split(corpus.as_written),
        ci=split(corpus.ci),
    )

"""The corpus that Algorithm 1 asks for: the proposals of all languages put together, within constraints.

Letters: R replicates, K languages, P primaries.
"""

import dataclasses

import numpy as np
from scipy import optimize

from babel_jax.common.errors import UserError, unknown_name
from babel_jax.optimum import eq3
from babel_jax.optimum.algorithm1 import CHANGE, NO_CHANGE, Proposal, percentiles, readable, sized


@dataclasses.dataclass(frozen=True)
class Corpus:
    """The corpus that Algorithm 1 asks for, all languages together.

    Attributes:
      reading: of Eq. 2 and 3; "peak" of one that is not made by them (`peak_tokens.corpus`).
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
    if reading not in eq3.READINGS:
        raise unknown_name("reading", reading, eq3.READINGS)
    for language in (primary, *proposals):
        if language not in original:
            raise unknown_name("language of the original corpus", language, original)
    known = {language: proposal for language, proposal in proposals.items() if not np.isnan(proposal.p_star)}
    as_written, _ = _asked(known, primary, original, reading)
    solved = bool(known) and (reading == "pairwise" or np.isfinite(list(as_written.values())).all())
    movable = {name: proposal for name, proposal in known.items() if proposal.decision in (CHANGE, NO_CHANGE)}
    asked, asked_ci = _asked(movable, primary, original, reading)
    decided = {name: (proposal.decision, proposal.reason) for name, proposal in proposals.items()}
    decided |= {
        name: sized(name, asked[name], asked_ci[name], original[name], f"Eq. 3 ({reading})") for name in movable
    }
    changed = {name: proposal for name, proposal in movable.items() if decided[name][0] == CHANGE}
    if reading == "joint":
        eq3.joint_tokens([proposal.p_star for proposal in changed.values()], 1.0)  # says so where there is no solution
    unconstrained, ci = _asked(changed, primary, original, reading)
    tokens, active = feasible(unconstrained, set(original) - {primary, *changed}, original, constraints)
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
        asked_Kx1, asked_KxR = (eq3.pairwise_tokens(share, tokens[primary]) for share in (share_Kx1, share_KxR))
    else:
        fixed = sum(amount for language, amount in tokens.items() if language not in changed)
        asked_Kx1, asked_KxR = (eq3.joint_from_own(1 - share, fixed) for share in (share_Kx1, share_KxR))
    for language, (asked,), asked_R in zip(changed, asked_Kx1, asked_KxR, strict=True):
        tokens[language], ci[language] = float(asked), percentiles(asked_R)
    return tokens, ci


def finite(asked: dict[str, float], original: dict[str, float]) -> dict[str, float]:
    """The amounts asked for; a language that asks for tokens without end keeps what it has."""
    return {name: asked[name] if np.isfinite(asked[name]) else amount for name, amount in original.items()}


def feasible(wanted: dict, kept: set, original: dict, limits: Constraints) -> tuple[dict, list[str]]:
    """(tokens nearest to `wanted` that meet the constraints, names of those that bind); `kept`: languages that do not change."""
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

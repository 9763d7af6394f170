"""Algorithm 1 of the paper: from the primary's share at the best checkpoint to the tokens of the new languages.

`propose` says what one language asks for, with its interval, and whether the data support a change; best_corpus.py puts the
languages together. Where the share comes from is in share.py (Eq. 1) and calibration.py.
Letters: S seeds, C checkpoints, R replicates.
"""

import dataclasses

import numpy as np

from babel_jax.common import statistics
from babel_jax.evolution import stages
from babel_jax.evolution.dependence import Dependence
from babel_jax.evolution.observation import Observation
from babel_jax.evolution.stages import Stages
from babel_jax.optimum import eq3
from babel_jax.optimum.calibration import Calibration
from babel_jax.optimum.share import Share

DEFAULT_SOURCE = "loss"  # the paper's


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
class Amounts:
    """Tokens of the primary and of one new language in the corpus to change, in the unit that the answer is in.

    `original` None: nothing to compare with.
    """

    primary: float = 1.0
    original: float | None = None


def propose(
    observation: Observation,
    share: Share,
    continual: Stages,
    dependence: Dependence | None,
    calibration: Calibration | None = None,
    amounts: Amounts = Amounts(),
) -> Proposal:
    """Algorithm 1 for one new language: P* at its best checkpoint and the tokens that follow, with intervals.

    The interval of P* spans those of P at every checkpoint that may be the best (statistics.envelope): there it is the
    percentile interval of resampled loss curves and, with a calibration, of its error at checkpoints left out nearby. P* is
    NaN throughout where accuracy does not rise: it is read at the best checkpoint, and there is none.

    Args:
      observation, share: what was measured of the language, and the primary's share at the same checkpoints.
      continual: its stages, where the peak is.
      dependence: whether the language depends on the primary; None: not tested.
      calibration: link from P(l) to a measured share; None: P(l) as it is.
    """
    best = continual.peak.index
    best_S = [(stages.smoothing_CxC(len(score_C)) @ score_C).argmax() for score_C in observation.score_SxC]
    by_seed, p_star = share.value_SxC[np.arange(len(best_S)), best_S], share.pooled[best]
    if calibration is not None:
        p_star, by_seed = calibration.link.apply(p_star), calibration.link.apply(by_seed)
    share_R = _replicates(share, continual, calibration)
    share_R = share_R if observation.has_intervals else share_R * np.nan
    if not continual.rises:
        p_star, by_seed, share_R = np.nan, np.full(len(best_S), np.nan), np.full(len(share_R), np.nan)
    low, high = percentiles(share_R)
    tokens, least, most = (float(eq3.pairwise_tokens(part, amounts.primary)) for part in (p_star, high, low))
    language = observation.language
    if not continual.rises:
        decision, reason = NOT_TESTED, f"{language}: P* is not determined: {stages.no_peak(continual)}."
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
        slope=float(eq3.pairwise_slope(p_star, amounts.primary)),
        out_of_range=bool(share.out_of_range[best]),
        by_seed=np.asarray(by_seed, float),
        replicates_R=share_R,
        decision=decision,
        reason=reason,
    )


def _replicates(share: Share, continual: Stages, calibration: Calibration | None) -> np.ndarray:
    """P* [R] with intervals that span those at every checkpoint that may be the best; NaN where P has no value there."""
    best, (first, last) = continual.peak.index, stages.plausible(continual.best_R)
    if np.isnan(share.pooled[best]):
        return np.full(len(share.replicates_RxC), np.nan)
    share_RxK = share.replicates_RxC[:, [c for c in range(first, last + 1) if np.isfinite(share.pooled[c])]]
    if calibration is not None:
        error = calibration.link.error_near(share.pooled[best])
        noise_Rx1 = np.random.default_rng(1).normal(0, error, (len(share_RxK), 1))  # not share.py's stream
        share_RxK = np.clip(calibration.link.apply(share_RxK) + noise_Rx1, 0, 1)
    return statistics.envelope(share_RxK)


def percentiles(value_R) -> tuple[float, float]:
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


def supported(tokens: float, ci: tuple[float, float]) -> tuple[str, str]:
    """(a number of tokens with the digits that its interval supports, the interval): ("5.3B", "[4.9B, 5.8B]").

    One digit more would be finer than half the interval's width; at most three. Without an interval two, and "(no interval)".
    """
    half = (ci[1] - ci[0]) / 2
    if not 0 < tokens < np.inf or not np.isfinite(half):
        interval = "(no interval)" if np.isnan(half) else f"[{', '.join(map(readable, ci))}]"
        return readable(rounded(tokens, 2)), interval
    largest = int(np.floor(np.log10(tokens)))
    finest = largest - 2 if half == 0 else int(np.floor(np.log10(half)))
    digits = int(np.clip(largest - finest + 1, 1, 3))
    return readable(rounded(tokens, digits)), f"[{', '.join(readable(rounded(bound, max(digits, 2))) for bound in ci)}]"


def rounded(tokens: float, digits: int) -> float:
    """A number to so many significant digits."""
    return float(f"{tokens:.{digits - 1}e}")


def no_share(source: str) -> str:
    """Why a source has no share at the best checkpoint: a clause."""
    if source.startswith("loss"):
        name = source.replace("_", " ")
        return f"the {name} does not fall in the run, so it does not distinguish the primary's system from an own one"
    return f"the {source.replace('_', ' ')} has no value at the best checkpoint"


def _decide(
    language: str, tokens: float, ci: tuple, dependence: Dependence | None, original_tokens: float | None
) -> tuple[str, str]:
    """What follows from a P*, and why, in a sentence."""
    if np.isnan(ci).any():
        reason = "P* has no interval at the best checkpoint; one seed needs n, and the errors of its losses."
        return UNDECIDED, f"{language}: {reason}"
    decision, reason = sized(language, tokens, ci, original_tokens, "Eq. 3 (pairwise)")
    if dependence is None:
        return UNDECIDED, f"{reason} Whether it depends on the primary was not tested."
    if dependence.depends:
        return decision, reason
    return UNDECIDED if dependence.depends is None else ALONE, f"{language}: {dependence.reason}"


def sized(language: str, tokens: float, ci: tuple, original_tokens: float | None, asker: str) -> tuple[str, str]:
    """The decision on the tokens alone: a change is supported where the interval does not hold the original size.

    `asker`: what asks for the tokens, for the sentence.
    """
    asks = f"{language}: {asker} asks for {' tokens '.join(supported(tokens, ci))}"
    if original_tokens is None:
        return CHANGE, f"{asks}."
    if ci[0] <= original_tokens <= ci[1]:
        return NO_CHANGE, f"{asks}, and the interval holds the original {readable(original_tokens)}."
    return CHANGE, f"{asks}, the original has {readable(original_tokens)}."

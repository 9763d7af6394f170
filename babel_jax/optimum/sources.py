"""Where the share P of Algorithm 1 can come from, and what each source proposes for one new language.

A source is a held-out loss by Eq. 1, a share that was measured, or `CALIBRATED`: a loss by the link that foretells a
measured share best.
"""

import numpy as np

from babel_jax.evolution import dependence
from babel_jax.optimum import algorithm1, calibration, share

SOURCES = ("loss", "loss_knowledge", "knowledge_share")  # of a study; the first is the paper's
CALIBRATED = "calibrated"
CALIBRATED_BY = dependence.SHARES  # the first that was measured; the neurons are no share of a system


def _now(what: str, compute):
    return compute()


def proposals(
    observation: dict,
    stages_verdict: dict,
    depends: dict | None,
    primary_tokens: float,
    original_tokens: float | None,
    names=SOURCES,
    attempt=_now,
) -> dict:
    """What every source says of a new language.

    Args:
      observation: what was measured of it at its continual run's checkpoints; see `share.share_curve`.
      stages_verdict, depends, primary_tokens, original_tokens: see `algorithm1.propose`.
      names: the sources to try; those that were not measured are passed over.
      attempt: called with a name and a function to compute it by; may return None in place of raising.
    Returns:
      dict: shares {source: share.share_curve}, calibration {source: {measured share: calibration.calibrate}}, chosen (what
      `calibration.choose` says, or None), proposals {source, and CALIBRATED where one is chosen: algorithm1.propose}.
    """
    shares = {}
    for name in names:
        if name in observation["losses"] or name in observation["shares"]:
            found = attempt(f"share from {name}", lambda name=name: share.share_curve(observation, name))
            if found is not None:
                shares[name] = found
    fits = _calibrations(shares, observation)
    chosen = _chosen(fits)
    common = dict(
        stages_verdict=stages_verdict,
        dependence=depends,
        primary_tokens=primary_tokens,
        original_tokens=original_tokens,
    )
    found = {source: algorithm1.propose(observation, curve, **common) for source, curve in shares.items()}
    if chosen:
        link = fits[chosen["source"]][chosen["measured"]]
        found[CALIBRATED] = algorithm1.propose(observation, shares[chosen["source"]], calibration=link, **common)
    return {"shares": shares, "calibration": fits, "chosen": chosen, "proposals": found}


def _calibrations(shares: dict, observation: dict) -> dict:
    """Every loss's P(l) against every measured share, its mean over seeds."""
    found = {}
    for source, predicted in shares.items():
        if source not in observation["losses"]:
            continue
        found[source] = {
            name: fit
            for name, value_SxC in observation["shares"].items()
            for fit in [calibration.calibrate(predicted["pooled"], np.mean(value_SxC, axis=0))]
            if fit is not None
        }
    return found


def _chosen(calibrations: dict) -> dict | None:
    """The loss whose calibrated P foretells a measured share best (calibration.choose); None where none does."""
    for name in CALIBRATED_BY:
        fits = {source: {name: of_source[name]} for source, of_source in calibrations.items() if name in of_source}
        if fits:
            return calibration.choose(fits)
    return None

"""Where the share P of Algorithm 1 can come from, and what each source proposes for one new language.

A source is a held-out loss by Eq. 1, a share that was measured, or `CALIBRATED`: a loss by the link that predicts a
measured share best.
"""

import dataclasses

import numpy as np

from babel_jax.evolution import dependence
from babel_jax.evolution.continual import MEASURED_SHARES
from babel_jax.evolution.dependence import Dependence
from babel_jax.evolution.observation import Observation
from babel_jax.evolution.stages import Stages
from babel_jax.optimum import algorithm1, calibration, share
from babel_jax.optimum.algorithm1 import Amounts, Proposal
from babel_jax.optimum.calibration import Calibration, Chosen
from babel_jax.optimum.share import Share

SOURCES = ("loss", "loss_knowledge", *MEASURED_SHARES)  # of a study; the first is the paper's
CALIBRATED = "calibrated"
CALIBRATED_BY = dependence.SHARES  # the first that was measured; the neurons are not a share of a system


@dataclasses.dataclass(frozen=True)
class Proposals:
    """What every source says of a new language.

    Attributes:
      shares: {source: the primary's share}.
      calibration: {source: {measured share: links to it}}, of the losses.
      chosen: what the calibrated proposal uses, or None.
      proposals: {source, and CALIBRATED where one is chosen: …}.
    """

    shares: dict[str, Share] = dataclasses.field(default_factory=dict)
    calibration: dict[str, dict[str, Calibration]] = dataclasses.field(default_factory=dict)
    chosen: Chosen | None = None
    proposals: dict[str, Proposal] = dataclasses.field(default_factory=dict)


def proposals(
    observation: Observation,
    shares: dict[str, Share],
    continual: Stages,
    depends: Dependence | None,
    amounts: Amounts,
) -> Proposals:
    """What Algorithm 1 makes of one new language's shares; the arguments as of `algorithm1.propose`."""
    fits = _calibrations(shares, observation)
    chosen = _chosen(fits)
    links = {source: (curve, None) for source, curve in shares.items()}
    if chosen:
        links[CALIBRATED] = shares[chosen.source], fits[chosen.source][chosen.measured]
    return Proposals(
        shares,
        fits,
        chosen,
        {
            source: algorithm1.propose(observation, curve, continual, depends, link, amounts)
            for source, (curve, link) in links.items()
        },
    )


def shares_of(observation: Observation, names=SOURCES, attempt=lambda what, compute: compute()) -> dict[str, Share]:
    """The share by each source that was measured.

    `attempt`: called with a name and a function to compute it by; may return None in place of raising.
    """
    curves = {
        name: attempt(f"share from {name}", lambda name=name: share.share_curve(observation, name))
        for name in names
        if name in observation.losses or name in observation.shares
    }
    return {name: curve for name, curve in curves.items() if curve is not None}


def _calibrations(shares: dict[str, Share], observation: Observation) -> dict[str, dict[str, Calibration]]:
    """Every loss's P(l) against every measured share, its mean over seeds."""
    fits = {
        source: {
            name: calibration.calibrate(predicted.pooled, np.mean(value_SxC, axis=0))
            for name, value_SxC in observation.shares.items()
        }
        for source, predicted in shares.items()
        if source in observation.losses
    }
    return {
        source: {name: fit for name, fit in by_measured.items() if fit is not None}
        for source, by_measured in fits.items()
    }


def _chosen(calibrations: dict[str, dict[str, Calibration]]) -> Chosen | None:
    """The loss whose calibrated P predicts a measured share best (calibration.choose); None where none does."""
    for name in CALIBRATED_BY:
        fits = {source: {name: of_source[name]} for source, of_source in calibrations.items() if name in of_source}
        if fits:
            return calibration.choose(fits)
    return None

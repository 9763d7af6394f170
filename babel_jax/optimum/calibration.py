"""Does P(l) of Eq. 1 foretell the share that was measured, and which link makes it a better forecast?

A *link* maps P(l) to a measured share (knowledge share, working language, functional neurons) over the checkpoints of a
run. P(l) is 1 at the first checkpoint and nears 0 at the last by construction, so agreement there is no evidence: both
ends take part in the fits and in what describes them, and the links are compared on the checkpoints in between.

Letters: C checkpoints.
"""

import dataclasses

import numpy as np
from scipy import optimize, special

from babel_jax.bridge import Keyed
from babel_jax.errors import UserError, unknown_name

LINKS = ("identity", "affine", "logit", "isotonic")  # the simplest first
FEWEST = 6  # checkpoints, below which nothing but the identity is tried
EDGE = 0.01  # shares nearer to 0 or 1 are moved there before their logit is taken


@dataclasses.dataclass(frozen=True)
class Link(Keyed):
    """A map from P(l) to a measured share, fitted to all checkpoints. NaN where a number has no meaning.

    Attributes:
      r2, slope: of the measured share on the one predicted by the link.
      mean_error, largest_error: absolute.
      loo_error, loo_r2: root mean square error and R2 of checkpoints left out, over those between the ends.
      parameters: of the link.
    """

    r2: float
    slope: float
    mean_error: float
    largest_error: float
    loo_error: float
    loo_r2: float
    parameters: dict


@dataclasses.dataclass(frozen=True)
class Calibration(Keyed):
    """The links from P(l) to one measured share over `n` checkpoints: all by name, the `best`, and why it is."""

    links: dict[str, Link]
    best: str
    reason: str
    n: int


@dataclasses.dataclass(frozen=True)
class Chosen(Keyed):
    """The source of P and the measured share that agree best, and by which link."""

    source: str
    measured: str
    link: str
    loo_r2: float


def calibrate(predicted_C, measured_C) -> dict | None:
    """Fits the links from P(l) to a measured share and chooses one by leaving out one checkpoint at a time.

    A link takes the place of a simpler one only if its mean squared leave-one-out error is smaller by more than the
    standard error of the difference over checkpoints. Neighbouring checkpoints resemble each other, so these errors are
    those of filling a gap in the curve, not of forecasting another run.

    Args:
      predicted_C: P(l), pooled over seeds, at all checkpoints of a run, also the first and the last.
      measured_C: the measured share, its mean over seeds. Checkpoints where either is NaN are left out.
    Returns:
      {"links": {name: {"r2" and "slope" (of measured on predicted by the link), "mean_error", "largest_error"
      (absolute), "loo_error" (root mean square over the checkpoints between the ends), "loo_r2", "parameters"}}, "best":
      a name for `apply`, "reason", "n" (checkpoints)}. NaN where a number has no meaning (a share that stays the same).
      None where no checkpoint has both.
    Raises:
      UserError: the two curves have different lengths.
    """
    predicted_C, measured_C = np.asarray(predicted_C, float), np.asarray(measured_C, float)
    if predicted_C.shape != measured_C.shape:
        raise UserError(
            f"P(l) has {predicted_C.size} checkpoints and the measured share {measured_C.size}; give both at the same steps."
        )
    there_C = np.isfinite(predicted_C) & np.isfinite(measured_C)
    place_C = np.flatnonzero(there_C)
    inner_C = (place_C > 0) & (place_C < len(there_C) - 1)
    predicted_C, measured_C = predicted_C[place_C], measured_C[place_C]
    if not len(predicted_C):
        return None
    enough = len(predicted_C) >= FEWEST and np.ptp(predicted_C) > 0
    links, errors = {}, {}
    for link in LINKS if enough else LINKS[:1]:
        parameters = _fit(link, predicted_C, measured_C)
        errors[link] = _left_out_errors(link, predicted_C, measured_C)[inner_C]
        links[link] = {
            **_describe(_predict(link, parameters, predicted_C), measured_C),
            **_describe_left_out(errors[link], measured_C[inner_C]),
            "parameters": parameters,
        }
    best, reason = _choose(errors) if enough else (
        "identity", f"identity: another link takes {FEWEST} checkpoints at which P(l) differs, and there are "
        f"{len(np.unique(predicted_C))}",
    )  # fmt: skip
    return {"links": links, "best": best, "reason": reason, "n": len(predicted_C)}


def apply(fit: dict, share, link: str | None = None) -> np.ndarray:
    """The calibrated share, in [0, 1], for shares P(l) of any shape, by the best link of `calibrate` or by a named one."""
    link = fit["best"] if link is None else link
    if link not in fit["links"]:
        raise unknown_name("link", link, fit["links"])
    return _predict(link, fit["links"][link]["parameters"], share)


def choose(fits: dict[str, dict[str, dict]]) -> dict | None:
    """The source of P and the measured share that agree best, each with its best link: by leave-one-out R2.

    Args:
      fits: {source: {measured share: `calibrate`'s dict}}.
    Returns:
      {"source", "measured", "link", "loo_r2"}; None where no source foretells any measured share better than
      the share's own mean does.
    """
    found = [
        (fit["links"][fit["best"]]["loo_r2"], source, measured, fit["best"])
        for source, by_measured in fits.items()
        for measured, fit in by_measured.items()
        if fit["links"][fit["best"]]["loo_r2"] > 0
    ]
    if not found:
        return None
    skill, source, measured, link = max(found, key=lambda item: item[0])
    return {"source": source, "measured": measured, "link": link, "loo_r2": skill}


def _fit(link: str, x_C, y_C) -> dict:
    if link == "identity":
        return {}
    if link == "affine":
        slope, intercept = np.polyfit(x_C, y_C, 1)
        return {"intercept": float(intercept), "slope": float(slope)}
    if link == "logit":  # least squares of the share itself, so that all links minimise the same error
        logit_C = _logit(x_C)
        found = optimize.least_squares(lambda p: special.expit(p[0] + p[1] * logit_C) - y_C, [0.0, 1.0], max_nfev=200)
        return {"intercept": float(found.x[0]), "slope": float(found.x[1])}
    x, where, count = np.unique(x_C, return_inverse=True, return_counts=True)
    y = optimize.isotonic_regression(np.bincount(where, y_C) / count, weights=count.astype(float)).x
    return {"x": x.tolist(), "y": y.tolist()}


def _predict(link: str, parameters: dict, share) -> np.ndarray:
    share = np.asarray(share, float)
    if link == "affine":
        share = parameters["intercept"] + parameters["slope"] * share
    if link == "logit":
        share = special.expit(parameters["intercept"] + parameters["slope"] * _logit(share))
    if link == "isotonic":
        share = np.interp(share, parameters["x"], parameters["y"])  # between checkpoints: a straight line
    return np.clip(share, 0, 1)


def _logit(share):
    return special.logit(np.clip(share, EDGE, 1 - EDGE))


def _left_out_errors(link: str, x_C, y_C) -> np.ndarray:
    """Measured minus predicted [C], each checkpoint by a fit to all others."""
    others = [np.arange(len(x_C)) != c for c in range(len(x_C))]
    if link == "identity":
        return y_C - _predict(link, {}, x_C)
    return np.array(
        [y - _predict(link, _fit(link, x_C[o], y_C[o]), x) for x, y, o in zip(x_C, y_C, others, strict=True)]
    )


def _describe(predicted_C, measured_C) -> dict:
    error_C = measured_C - predicted_C
    flat = np.ptp(predicted_C) < 1e-12
    return {
        "r2": _r2(error_C, measured_C),
        "slope": float("nan") if flat else float(np.polyfit(predicted_C, measured_C, 1)[0]),
        "mean_error": float(np.abs(error_C).mean()),
        "largest_error": float(np.abs(error_C).max()),
    }


def _describe_left_out(error_C, measured_C) -> dict:
    if not len(error_C):
        return {"loo_error": float("nan"), "loo_r2": float("nan")}
    return {"loo_error": float(np.sqrt(np.mean(error_C**2))), "loo_r2": _r2(error_C, measured_C)}


def _r2(error_C, measured_C) -> float:
    around_mean = np.sum((measured_C - measured_C.mean()) ** 2)
    return float(1 - np.sum(error_C**2) / around_mean) if around_mean > 1e-12 else float("nan")


def _choose(errors: dict[str, np.ndarray]) -> tuple[str, str]:
    best, rms = "identity", {link: np.sqrt(np.mean(error_C**2)) for link, error_C in errors.items()}
    for link, error_C in errors.items():
        gain_C = errors[best] ** 2 - error_C**2
        if gain_C.mean() > gain_C.std(ddof=1) / np.sqrt(len(gain_C)):
            best = link
    if best == "identity":
        return best, "identity: no link's leave-one-out error is smaller by more than the difference's standard error"
    return best, f"{best}: leave-one-out error {rms[best]:.3f}, of the identity {rms['identity']:.3f}"

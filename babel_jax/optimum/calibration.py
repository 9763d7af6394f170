"""Does P(l) of Eq. 1 predict the share that was measured, and which link makes it a better forecast?

A *link* maps P(l) to a measured share (knowledge share, working language, functional neurons) over the checkpoints of a
run. P(l) is 1 at the first checkpoint and nears 0 at the last by construction, so agreement there is no evidence: both
ends take part in the fits and in what describes them, and the links are compared on the checkpoints in between.

Letters: C checkpoints.
"""

import dataclasses

import numpy as np
from scipy import optimize, special

from babel_jax.common.errors import UserError

FEWEST = 6  # checkpoints, below which nothing but the identity is tried
NEAR = 5  # checkpoints around a share, whose errors say how far a link errs there
EDGE = 0.01  # shares nearer to 0 or 1 are moved there before their logit is taken


@dataclasses.dataclass(frozen=True)
class Identity:
    """P(l) as it is."""

    @classmethod
    def fit(cls, x_C, y_C) -> "Identity":
        return cls()

    def __call__(self, share):
        return share


@dataclasses.dataclass(frozen=True)
class Affine:
    """A straight line."""

    intercept: float
    slope: float

    @classmethod
    def fit(cls, x_C, y_C) -> "Affine":
        slope, intercept = np.polyfit(x_C, y_C, 1)
        return cls(float(intercept), float(slope))

    def __call__(self, share):
        return self.intercept + self.slope * share


@dataclasses.dataclass(frozen=True)
class Logit:
    """A straight line between the shares' logits."""

    intercept: float
    slope: float

    @classmethod
    def fit(cls, x_C, y_C) -> "Logit":
        logit_C = _logit(x_C)  # least squares of the share itself, so that all links minimise the same error
        fitted = optimize.least_squares(lambda p: special.expit(p[0] + p[1] * logit_C) - y_C, [0.0, 1.0], max_nfev=200)
        return cls(float(fitted.x[0]), float(fitted.x[1]))

    def __call__(self, share):
        return special.expit(self.intercept + self.slope * _logit(share))


@dataclasses.dataclass(frozen=True)
class Isotonic:
    """A curve that never falls, by its points; between these a straight line."""

    x: list[float]
    y: list[float]

    @classmethod
    def fit(cls, x_C, y_C) -> "Isotonic":
        x, where, count = np.unique(x_C, return_inverse=True, return_counts=True)
        y = optimize.isotonic_regression(np.bincount(where, y_C) / count, weights=count.astype(float)).x
        return cls(x.tolist(), y.tolist())

    def __call__(self, share):
        return np.interp(share, self.x, self.y)


LINKS = {  # the simplest first
    "identity": Identity,
    "affine": Affine,
    "logit": Logit,
    "isotonic": Isotonic,
}


@dataclasses.dataclass(frozen=True)
class Link:
    """A map from P(l) to a measured share, fitted to all checkpoints. NaN where a number has no meaning.

    Attributes:
      r2, slope: of the measured share on the one predicted by the link.
      mean_error, largest_error: absolute.
      loo_error, loo_r2: root mean square error and R2 of checkpoints left out, over those between the ends.
      parameters: the map itself.
      left_out_2xC: P(l) at those checkpoints, and the error there.
    """

    r2: float
    slope: float
    mean_error: float
    largest_error: float
    loo_error: float
    loo_r2: float
    parameters: Identity | Affine | Logit | Isotonic
    left_out_2xC: np.ndarray

    def apply(self, share) -> np.ndarray:
        """The calibrated share, in [0, 1], for shares P(l) of any shape."""
        return _predict(self.parameters, share)

    def error_near(self, share: float) -> float:
        """Root mean square error of checkpoints left out, over the NEAR ones with P(l) nearest to a share.

        The first checkpoints, where hardly anything is solved, say little about the error at the best one.
        """
        predicted_C, error_C = self.left_out_2xC
        near = np.abs(predicted_C - share).argsort(kind="stable")[:NEAR]
        return float(np.sqrt(np.mean(error_C[near] ** 2))) if len(near) else float("nan")


@dataclasses.dataclass(frozen=True)
class Calibration:
    """The links from P(l) to one measured share over `n` checkpoints: all by name, the `best`, and why it is."""

    links: dict[str, Link]
    best: str
    reason: str
    n: int

    @property
    def link(self) -> Link:
        """The best one."""
        return self.links[self.best]


@dataclasses.dataclass(frozen=True)
class Chosen:
    """The source of P and the measured share that agree best, and by which link."""

    source: str
    measured: str
    link: str
    loo_r2: float


def calibrate(predicted_C, measured_C) -> Calibration | None:
    """Fits the links from P(l) to a measured share and chooses one by leaving out one checkpoint at a time.

    A link takes the place of a simpler one only if its mean squared leave-one-out error is smaller by more than the
    standard error of the difference over checkpoints. Neighbouring checkpoints resemble each other, so these errors are
    those of filling a gap in the curve, not of forecasting another run.

    Args:
      predicted_C: P(l), pooled over seeds, at all checkpoints of a run, also the first and the last.
      measured_C: the measured share, its mean over seeds. Checkpoints where either is NaN are left out.
    Returns:
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
    for name, kind in LINKS.items() if enough else (("identity", Identity),):
        fitted = kind.fit(predicted_C, measured_C)
        errors[name] = _left_out_errors(kind, predicted_C, measured_C)[inner_C]
        links[name] = Link(
            *_describe(_predict(fitted, predicted_C), measured_C),
            *_describe_left_out(errors[name], measured_C[inner_C]),
            fitted,
            np.stack([predicted_C[inner_C], errors[name]]),
        )
    best, reason = _choose(errors) if enough else (
        "identity", f"identity: another link takes {FEWEST} checkpoints at which P(l) differs, and there are "
        f"{len(np.unique(predicted_C))}",
    )  # fmt: skip
    return Calibration(links, best, reason, len(predicted_C))


def choose(fits: dict[str, dict[str, Calibration]]) -> Chosen | None:
    """The source of P and the measured share that agree best, each with its best link: by leave-one-out R2.

    `fits`: {source: {measured share: …}}. None where no source predicts any measured share better than the share's own
    mean does.
    """
    links = [
        Chosen(source, measured, fit.best, fit.link.loo_r2)
        for source, by_measured in fits.items()
        for measured, fit in by_measured.items()
        if fit.link.loo_r2 > 0
    ]
    return max(links, key=lambda chosen: chosen.loo_r2, default=None)


def _predict(fitted, share) -> np.ndarray:
    return np.clip(fitted(np.asarray(share, float)), 0, 1)


def _logit(share):
    return special.logit(np.clip(share, EDGE, 1 - EDGE))


def _left_out_errors(kind, x_C, y_C) -> np.ndarray:
    """Measured minus predicted [C], each checkpoint by a fit to all others."""
    others = [np.arange(len(x_C)) != c for c in range(len(x_C))]
    if kind is Identity:
        return y_C - _predict(Identity(), x_C)
    return np.array([y - _predict(kind.fit(x_C[o], y_C[o]), x) for x, y, o in zip(x_C, y_C, others, strict=True)])


def _describe(predicted_C, measured_C) -> tuple[float, float, float, float]:
    """(R2, slope, mean and largest absolute error)."""
    error_C = measured_C - predicted_C
    flat = np.ptp(predicted_C) < 1e-12
    slope = float("nan") if flat else float(np.polyfit(predicted_C, measured_C, 1)[0])
    return _r2(error_C, measured_C), slope, float(np.abs(error_C).mean()), float(np.abs(error_C).max())


def _describe_left_out(error_C, measured_C) -> tuple[float, float]:
    """(root mean square error, R2)."""
    if not len(error_C):
        return float("nan"), float("nan")
    return float(np.sqrt(np.mean(error_C**2))), _r2(error_C, measured_C)


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

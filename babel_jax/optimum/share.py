"""The share of the primary language's system, P(l) of Eq. 1, from held-out losses, with intervals.

Sign convention, stated once: `loss_primary` is the held-out loss on the new language of the model that has only the
primary system (the start of continual pre-training, P = 1); `loss_own` that of the fully built own system (P = 0), which
a run only approaches: it is the asymptote of its loss curve.

What the intervals speak about: with two seeds or more, the mean over all seeds that could have been drawn (each seed's
measurement errors are part of the spread between seeds; seeds that share their held-out texts say nothing about other
texts). With one seed: this one model on other held-out texts, from the errors of its measured losses, taken as
independent from checkpoint to checkpoint; NaN where these are not known.

Letters: S seeds, C checkpoints, T those of them in the fitted tail, R replicates, G grid.
"""

import dataclasses

import numpy as np
from scipy import optimize

from babel_jax.common import statistics
from babel_jax.common.errors import UserError, unknown_name
from babel_jax.evolution.observation import Observation

TAIL = 6  # checkpoints at least, for the four parameters of the power law
EXPONENTS, OFFSETS = (0.02, 30.0), (1e-3, 30.0)  # bounds of b, and of t0 in units of the run's tokens
LEAST_FALL = 0.01  # nats per token: a loss that falls by less in the whole run says nothing about the share
SETTLED = 0.01  # part of the whole fall of the loss that makes no difference to P


@dataclasses.dataclass(frozen=True)
class Asymptote:
    """Where a loss curve ends, in nats per token; see `own_loss`.

    Attributes:
      value: of the mean curve; weights_C: its derivative by the mean losses.
      method: "power law" or "last value"; reason: why the latter, else "".
      identified: whether the data fix it; False: the value is an upper bound only.
      to_come_weights_C, to_come_scale: of the fall still to come after the last checkpoint (see `_draw_own`).
    """

    value: float
    weights_C: np.ndarray
    method: str = "last value"
    reason: str = ""
    identified: bool = False
    to_come_weights_C: np.ndarray | None = None
    to_come_scale: float = float("nan")


@dataclasses.dataclass(frozen=True, kw_only=True)
class OwnLoss(Asymptote):
    """The loss that the fully built own system would reach, with its interval and each seed's [S]."""

    ci: tuple[float, float]
    by_seed: np.ndarray


@dataclasses.dataclass(frozen=True)
class Share:
    """The primary's share at every checkpoint of a continual run, from one source.

    Attributes:
      source: a loss, by Eq. 1, or a share that was measured.
      steps: [C]; seeds: S of them.
      value_SxC: of each seed's own losses and asymptote; pooled: of the mean losses [C].
      low, high: interval of the pooled share [C]; NaN: none.
      out_of_range: whether clipping took something away from the pooled share [C].
      own_loss: what Eq. 1 rests on; None for a measured share.
      replicates_RxC: each draws the whole curve and its asymptote anew, together.
    """

    source: str
    steps: np.ndarray
    seeds: list[int]
    value_SxC: np.ndarray
    pooled: np.ndarray
    out_of_range: np.ndarray
    replicates_RxC: np.ndarray
    own_loss: OwnLoss | None = None
    low: np.ndarray | None = None
    high: np.ndarray | None = None


def primary_share(loss, loss_primary, loss_own) -> tuple[np.ndarray, np.ndarray]:
    """Eq. 1: share of the primary system, P(l) = (l - loss_own) / (loss_primary - loss_own), clipped to [0, 1].

    Any broadcastable shapes, losses in nats per token. Returns (share, out_of_range); the flag says where clipping
    took something away. Where the loss of the primary is not above the own one the share is NaN: such a run says nothing.
    """
    loss, loss_primary, loss_own = np.broadcast_arrays(*(np.asarray(x, float) for x in (loss, loss_primary, loss_own)))
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(loss_primary > loss_own, (loss - loss_own) / (loss_primary - loss_own), np.nan)
    return np.clip(share, 0, 1), (share < 0) | (share > 1)


def own_loss(tokens_C, loss_SxC, errors_SxC=None) -> OwnLoss:
    """The loss that the fully built own system would reach: the asymptote of loss(t) = own + a (t + t0)^-b.

    The law is fitted to the mean curve of the seeds over the last half of the checkpoints (at least TAIL of them): the
    fast first part, in which syntax is learned, follows another law. Checkpoints count by their measurement errors where
    all are known. To first order the asymptote is a weighted sum of the losses; the same weights applied to each seed's
    losses give each seed's own asymptote, and so the error of the fit and that of the seeds are carried together.

    Where the loss has settled, its last value is the asymptote. Where it has not and the data do not fix the asymptote
    (too few checkpoints, a fit below 0, more fall beyond the run than its last half has shown, or a fall still to come
    that is smaller than half of its standard error), the last value, which is the paper's choice, is an upper bound
    only: `identified` is False and the interval reaches down to 0, the least that a loss can be.

    Args:
      tokens_C: tokens (or steps) seen at each checkpoint, rising.
      loss_SxC: held-out losses in nats per token.
      errors_SxC: standard errors of the measured losses; NaN where not known.
    Raises:
      UserError: a loss is not finite, there are fewer than two checkpoints, or their tokens do not rise.
    """
    tokens_C, loss_SxC = np.asarray(tokens_C, float), np.atleast_2d(np.asarray(loss_SxC, float))
    _check(tokens_C, loss_SxC)
    mean_C, (noise_NxC, df) = loss_SxC.mean(0), _noise(loss_SxC, errors_SxC)
    end = _asymptote(tokens_C, mean_C, errors_SxC, noise_NxC)
    own_R = _draw_own(end, mean_C, _draw(mean_C, noise_NxC, df))
    return OwnLoss(
        ci=tuple(np.quantile(own_R, statistics.TAILS).tolist()),
        by_seed=end.value + (loss_SxC - mean_C) @ end.weights_C,
        **vars(end),
    )


def share_curve(observation: Observation, source: str) -> Share:
    """The primary's share at every checkpoint of a continual run: by Eq. 1 from a loss, or as it was measured.

    Pooled over seeds: Eq. 1 on the mean losses; value_SxC: on each seed's own losses and asymptote. The loss of the
    primary is that at step 0, so P is 1 there by construction, and it nears 0 at the end by construction. NaN: not
    defined (also where the loss falls by less than LEAST_FALL), or no interval.

    Args:
      observation: of one new language.
      source: a name among its `losses`, or among its `shares`, which are shares already.
    Raises:
      UserError: an unknown source, no checkpoint at step 0, or what `own_loss` raises.
    """
    if source not in {*observation.losses, *observation.shares}:
        raise unknown_name("source of the share", source, {*observation.losses, *observation.shares})
    curve = (_of_loss if source in observation.losses else _as_measured)(observation, source)
    replicates_RxC = np.where(np.isnan(curve.pooled), np.nan, curve.replicates_RxC)
    low, high = np.quantile(replicates_RxC, statistics.TAILS, axis=0)
    return dataclasses.replace(curve, low=low, high=high, replicates_RxC=replicates_RxC)


def _of_loss(observation: Observation, source: str) -> Share:
    """The share by Eq. 1, still without its interval."""
    if observation.steps[0] != 0:
        raise UserError(
            f"Eq. 1 takes the loss of the primary's model, and the first checkpoint in {observation.language} is step "
            f"{observation.steps[0]}; measure step 0."
        )
    loss_SxC, errors_SxC = np.atleast_2d(np.asarray(observation.losses[source], float)), None
    if source in observation.loss_errors:
        errors_SxC = np.atleast_2d(np.asarray(observation.loss_errors[source], float))
    own = own_loss(observation.tokens, loss_SxC, errors_SxC)
    mean_C, (noise_NxC, df) = loss_SxC.mean(0), _noise(loss_SxC, errors_SxC)
    loss_RxC = _draw(mean_C, noise_NxC, df)
    own_Rx1 = _draw_own(own, mean_C, loss_RxC)[:, None]
    # Where a draw's whole fall is not positive, its share is at the end that the numerator points to.
    share_RxC = np.clip((loss_RxC - own_Rx1) / np.maximum(loss_RxC[:, :1] - own_Rx1, 1e-12), 0, 1)
    pooled_C, out_of_range_C = primary_share(mean_C, mean_C[0], own.value)
    if mean_C[0] - own.value < LEAST_FALL:
        pooled_C = np.full(len(mean_C), np.nan)
    return Share(
        source,
        np.asarray(observation.steps),
        list(observation.seeds),
        value_SxC=primary_share(loss_SxC, loss_SxC[:, :1], own.by_seed[:, None])[0],
        pooled=pooled_C,
        out_of_range=out_of_range_C,
        replicates_RxC=share_RxC,
        own_loss=own,
    )


def _as_measured(observation: Observation, source: str) -> Share:
    """A share that was measured, still without its interval."""
    share_SxC = np.atleast_2d(np.asarray(observation.shares[source], float))
    return Share(
        source,
        np.asarray(observation.steps),
        list(observation.seeds),
        value_SxC=share_SxC,
        pooled=share_SxC.mean(0),
        out_of_range=np.zeros(share_SxC.shape[1], bool),
        replicates_RxC=np.clip(_draw(share_SxC.mean(0), *_noise(share_SxC, None)), 0, 1),
    )


def _noise(value_SxC, errors_SxC) -> tuple[np.ndarray, float]:
    """The error of the mean over seeds as N independent directions, noise_NxC, and its degrees of freedom.

    Two seeds or more: the seeds' deviations from their mean, which keep what the checkpoints of a seed have in common.
    One seed: its measurement errors.
    """
    seeds, checkpoints = value_SxC.shape
    if seeds > 1:
        return (value_SxC - value_SxC.mean(0)) / np.sqrt(seeds * (seeds - 1)), seeds - 1
    errors_C = (
        np.full(checkpoints, np.nan) if errors_SxC is None else np.asarray(errors_SxC, float).reshape(checkpoints)
    )
    return np.diag(errors_C), np.inf


def _draw(mean_C, noise_NxC, df: float) -> np.ndarray:
    """Replicates [R, C] of a mean curve: multivariate t, so that the quantiles of a ratio are Fieller's interval.

    The bootstrap over seeds is too narrow at three seeds: their t quantile is 4.3, not 1.96.
    """
    generator, replicates = np.random.default_rng(0), statistics.REPLICATES
    drawn_RxC = generator.standard_normal((replicates, len(noise_NxC))) @ noise_NxC
    if np.isfinite(df):
        drawn_RxC *= np.sqrt(df / generator.chisquare(df, (replicates, 1)))
    return mean_C + drawn_RxC


def _draw_own(own: Asymptote, mean_C, loss_RxC) -> np.ndarray:
    """The asymptote [R] that belongs to each replicate of the mean loss, to first order.

    The fall still to come after the last checkpoint is not negative and its error grows with it, so that error is
    carried on the log scale: without it the interval is too short towards low asymptotes.
    """
    change_RxC = loss_RxC - mean_C
    own_R = own.value + change_RxC @ own.weights_C
    if not own.identified:
        own_R[::2] *= 0  # half of the draws at either bound: their quantiles span what lies between
    elif own.method == "power law":
        grown_R, scale = change_RxC @ own.to_come_weights_C, own.to_come_scale
        own_R -= scale * (np.exp(np.minimum(grown_R / scale, 50)) - 1) - grown_R
    return np.maximum(own_R, 0)


def _check(tokens_C, loss_SxC) -> None:
    if len(tokens_C) < 2:
        raise UserError("the own loss is the end of a loss curve, and there is one checkpoint; measure a second one.")
    if (np.diff(tokens_C) <= 0).any():
        raise UserError("the tokens of the checkpoints do not rise; sort the rows by step and keep one row a step.")
    if not np.isfinite(loss_SxC).all():
        seed, checkpoint = np.argwhere(~np.isfinite(loss_SxC))[0]
        raise UserError(
            f"the loss of seed {seed + 1} of {len(loss_SxC)} at {tokens_C[checkpoint]:.0f} tokens is "
            f"{'not a number' if np.isnan(loss_SxC[seed, checkpoint]) else 'infinite'}; measure it again or leave this seed out."
        )


def _asymptote(tokens_C, mean_C, errors_SxC, noise_NxC) -> Asymptote:
    tail = max(TAIL, len(mean_C) - len(mean_C) // 2)
    last = Asymptote(float(mean_C[-1]), np.eye(len(mean_C))[-1])
    seen, whole = mean_C[-tail:][0] - mean_C[-1], mean_C[0] - mean_C[-1]
    if seen <= SETTLED * whole:
        return dataclasses.replace(last, identified=True, reason="the loss has settled, or rises")
    if len(mean_C) < TAIL:
        reason = f"the power law takes {TAIL} checkpoints and there are {len(mean_C)}"
        return dataclasses.replace(last, reason=reason)
    fit = _fit(tokens_C[-tail:] / tokens_C[-1], mean_C[-tail:], _precision_T(errors_SxC, tail))
    weights_2xC = np.pad(fit.weights_2xT, ((0, 0), (len(mean_C) - tail, 0)))
    if reason := _rejected(fit, seen, whole, error=np.linalg.norm(noise_NxC @ weights_2xC[1])):
        return dataclasses.replace(last, reason=reason)
    return Asymptote(
        fit.own,
        weights_2xC[0],
        method="power law",
        identified=True,
        to_come_weights_C=weights_2xC[1],
        to_come_scale=max(fit.to_come, SETTLED * whole),
    )


def _rejected(fit, seen: float, whole: float, error: float) -> str:
    """Why a fit does not fix the asymptote, a clause; "" where it does.

    `seen`, `whole`: falls of the loss over the tail and the run; `error`: of the fall still to come.
    """
    if not fit.converged:
        return "the fit of the power law did not converge"
    if fit.own < 0:
        return "the power law's asymptote lies below 0"
    if fit.to_come > seen:
        return "the power law puts more fall beyond the run than its last half has shown"
    if error > max(2 * fit.to_come, SETTLED * whole):
        return "the fall still to come is smaller than half of its standard error"
    return ""


def _precision_T(errors_SxC, tail: int) -> np.ndarray:
    """How much the checkpoints of the tail count in the fit: 1 / error; all the same where one is not known."""
    if errors_SxC is None:
        return np.ones(tail)
    error_T = np.sqrt((np.atleast_2d(np.asarray(errors_SxC, float))[:, -tail:] ** 2).mean(0))
    if not np.isfinite(error_T).all() or error_T.max() == 0:
        return np.ones(tail)
    return 1 / np.maximum(error_T, 0.1 * np.median(error_T))  # no checkpoint may decide alone


@dataclasses.dataclass(frozen=True)
class _Fit:
    """own + to_come ((x + t0) / (1 + t0))^-b, fitted; weights_2xT: derivatives of own and to_come by the losses."""

    own: float
    to_come: float
    converged: bool
    weights_2xT: np.ndarray


def _fit(x_T, loss_T, precision_T) -> _Fit:
    """own + to_come ((x + t0) / (1 + t0))^-b by weighted least squares; x: tokens, 1 at the end of the run.

    to_come is the fall that the law still sees at the end. Given b and t0 the law is linear, so the search begins at the
    best cell of a grid over these two. weights_2xT: the derivatives of own and to_come by the losses (Gauss-Newton).
    They take all four parameters as free, also at their bounds, which errs on the side of a wider interval.
    """

    def shape_T(b, t0):
        return ((x_T + t0) / (1 + t0)) ** -b

    def residual_T(p):
        own, to_come, log_b, t0 = p
        return (own + to_come * shape_T(np.exp(log_b), t0) - loss_T) * precision_T

    def slopes_Tx4(p):
        _, to_come, log_b, t0 = p
        b = np.exp(log_b)
        by_log = -to_come * b * shape_T(b, t0)
        by_b, by_t0 = by_log * np.log((x_T + t0) / (1 + t0)), by_log * (1 / (x_T + t0) - 1 / (1 + t0))
        return np.stack([np.ones_like(x_T), shape_T(b, t0), by_b, by_t0], axis=1) * precision_T[:, None]

    b_G, t0_G = (
        grid.reshape(-1, 1) for grid in np.meshgrid(np.geomspace(*EXPONENTS, 10)[1:-1], np.geomspace(*OFFSETS, 8)[1:-1])
    )
    shape_GxT, weight_T = shape_T(b_G, t0_G), precision_T**2 / np.sum(precision_T**2)
    centred_GxT = shape_GxT - (shape_GxT @ weight_T)[:, None]
    to_come_G = np.maximum((centred_GxT * loss_T) @ weight_T / (centred_GxT**2 @ weight_T), 1e-9)
    own_G = (loss_T - to_come_G[:, None] * shape_GxT) @ weight_T
    best = ((own_G[:, None] + to_come_G[:, None] * shape_GxT - loss_T) ** 2 @ weight_T).argmin()
    start = [own_G[best], to_come_G[best], np.log(b_G[best, 0]), t0_G[best, 0]]
    bounds = list(zip((-np.inf, np.inf), (0, np.inf), np.log(EXPONENTS), OFFSETS, strict=True))
    fitted = optimize.least_squares(residual_T, start, slopes_Tx4, bounds=bounds, x_scale="jac", max_nfev=300)
    return _Fit(
        *map(float, fitted.x[:2]),
        converged=fitted.status > 0,
        weights_2xT=np.linalg.pinv(fitted.jac)[:2] * precision_T,
    )

"""Mixing laws: from measured mixes to what any mix would reach, and the mix that is predicted best.

The rivals of Algorithm 1 that need a swarm of runs. Two kinds, each fitted to every language by itself:
  log_linear  y_i(r) = a_i^2 + exp(sum_j b_ij r_j): the mixing law of Ye et al. 2024 (arXiv:2403.16952), with k_i inside the
              exponential (shares sum to 1, so k_i and the b_ij are not both identified). Convex: one optimum. It is
              monotone along every line, so it cannot describe a language that gains from a little and loses by more.
  quadratic   ridge regression on q_j = sqrt(r_j) and their squares and products, after RegMix (Liu et al. 2024,
              arXiv:2407.01492), whose linear model has its optimum in a corner by construction. Roots because the first
              per cent of a language does more than the tenth. It can bend back.
y is 1 - accuracy. Letters: M mixes, K languages, S seeds, R replicates, N points.
"""

import dataclasses

import numpy as np
from scipy import optimize

from babel_jax.common import statistics
from babel_jax.common.errors import UserError, unknown_name
from babel_jax.common.statistics import Estimate
from babel_jax.evolution.mixes import Mix
from babel_jax.optimum import mix_table

REPLICATES = 200
LEAST_SHARE = 1e-6  # of a language in a proposal, so that its logarithm is finite
_FLOORS = (0.0, 0.5, 0.9, 0.99)  # starts of a^2, as parts of the smallest y
_RIDGES = np.logspace(-5, 2, 15)


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """How far a law is off each mix, predicted from the others.

    Attributes:
      predicted_MxK: accuracies, each from the other mixes.
      macro_error_M: of the mean accuracy over the languages; macro_rmse: its root mean square.
      baseline_rmse: the same, predicted by the others' mean.
    """

    predicted_MxK: np.ndarray
    macro_error_M: np.ndarray
    macro_rmse: float
    baseline_rmse: float


@dataclasses.dataclass(frozen=True)
class Best:
    """The mix that a law predicts to be best.

    Attributes:
      shares, ci: {language: …}.
      predicted: the accuracy there, {language: …, "macro": …}.
      gain: of the mean accuracy over the natural mix.
    """

    shares: dict[str, float]
    ci: dict[str, tuple[float, float]]
    predicted: dict[str, float]
    gain: Estimate


@dataclasses.dataclass(frozen=True)
class Fitted:
    """One kind of law fitted to static mixes.

    Attributes:
      kind, languages: what was fitted; names: of the mixes [M]; runs: of all of them and all seeds.
      parameters_KxP; replicates: [R, K, P], by a Bayesian bootstrap over mixes and seeds.
      loo: from leaving out one mix at a time.
      best: the mix that it predicts to be best (of `law` alone).
    """

    kind: str
    languages: list[str]
    names: list[str]
    runs: int
    parameters_KxP: np.ndarray
    replicates: np.ndarray
    loo: HeldOut
    best: Best | None = None


@dataclasses.dataclass(frozen=True)
class Law:
    """Both kinds of law, {kind: …}, which of them predicts mixes better, and why it was chosen."""

    chosen: str
    reason: str
    kinds: dict[str, Fitted]

    @property
    def fitted(self) -> Fitted:
        """The chosen one."""
        return self.kinds[self.chosen]


def law(mixes: list[Mix], languages: list[str], natural: dict[str, float]) -> Law | None:
    """Both kinds fitted, held out and optimised, and which of them predicts mixes better.

    Args:
      mixes, languages: see `fit`; natural: see `best`.
    Returns:
      None with fewer than K + 2 static mixes that were judged in all languages.
    """
    if len(mix_table.error_rates(mixes, languages).names) < len(languages) + 2:
        return None
    kinds = {}
    for kind in KINDS:
        fitted = fit(mixes, languages, kind)
        kinds[kind] = dataclasses.replace(fitted, best=best(fitted, natural))
    better = clearly_better(*(kinds[kind].loo.macro_error_M for kind in ("quadratic", "log_linear")))
    reason = (
        "the regression's squared error on held-out mixes is smaller by more than its standard error"
        if better
        else "the regression does not predict held-out mixes better by more than a standard error"
    )
    return Law("quadratic" if better else "log_linear", reason, kinds)


def clearly_better(error_M, than_M) -> bool:
    """Whether squared errors are smaller than others on the same mixes by more than the standard error of the difference."""
    gain_M = np.square(than_M) - np.square(error_M)
    return bool(gain_M.mean() > gain_M.std(ddof=1) / np.sqrt(len(gain_M)))


def fit(mixes: list[Mix], languages: list[str], kind: str = "log_linear") -> Fitted:
    """Fits one kind of law to the static mixes; mixes of several stages are left out, as shares do not say their order.

    Args:
      mixes: all of as many tokens.
      languages: those with a share; each is predicted.

    Raises:
      UserError: unknown kind, or fewer than K + 2 mixes.
    """
    if kind not in KINDS:
        raise unknown_name("kind of mixing law", kind, KINDS)
    table = mix_table.error_rates(mixes, languages)
    share_MxK, y_MxKxS = table.share_MxK, table.value_MxKxS
    M, K = share_MxK.shape
    if M < K + 2:
        raise UserError(
            f"a mixing law of {K} languages needs {K + 2} static mixes or more with their score; there are {M}."
        )
    fit_one, _ = KINDS[kind]
    ones_M, mean_MxK = np.ones(M), table.mean_MxK
    parameters_KxP = np.array([fit_one(share_MxK, y_M, ones_M, None) for y_M in mean_MxK.T])

    def refit(weight_M, y_MxK):
        return np.array(
            [fit_one(share_MxK, y_M, weight_M, start) for y_M, start in zip(y_MxK.T, parameters_KxP, strict=True)]
        )

    held_out = np.array(
        [_predict(kind, refit(ones_M - (np.arange(M) == m), mean_MxK), share_MxK[m : m + 1])[0] for m in range(M)]
    )
    return Fitted(
        kind=kind,
        languages=list(languages),
        names=table.names,
        runs=table.runs,
        parameters_KxP=parameters_KxP,
        replicates=np.array([refit(*drawn) for drawn in _bootstrap(y_MxKxS)]),
        loo=_held_out(mean_MxK, held_out),
    )


def predict(fitted: Fitted, share_NxK) -> np.ndarray:
    """The accuracies that the fitted law predicts: [N, K] for shares [N, K] in the order of its languages."""
    return _accuracy(_predict(fitted.kind, fitted.parameters_KxP, np.atleast_2d(share_NxK)))


def best(fitted: Fitted, natural: dict[str, float]) -> Best:
    """The mix with the best mean prediction over all languages, kept near the natural mix where the law is unsure.

    Minimises mean_i y_i(r) + kl KL(r || natural) over the simplex (the penalty of Olmix, 2026). `kl` is the standard error
    of the law's predictions, its leave-one-out error x sqrt((K + 1) / M): a mix one nat away must be predicted to be better
    by more than that. The intervals are those of the law's own optimum; where the law is wrong, "loo" shows it, they do not.

    `natural`: {language: tokens or share} of the original corpus.

    Raises:
      UserError: the natural mix lacks a language.
    """
    languages, M = fitted.languages, len(fitted.names)
    kl = fitted.loo.macro_rmse * np.sqrt((len(languages) + 1) / M)
    natural_K = mix_table.shares_of(natural, languages)
    share_K, *share_RxK = (
        _minimum(fitted.kind, p_KxP, natural_K, kl) for p_KxP in (fitted.parameters_KxP, *fitted.replicates)
    )
    low_K, high_K = _quantiles(share_RxK)
    predicted_K = predict(fitted, share_K)[0].tolist()
    return Best(
        shares=dict(zip(languages, share_K.tolist(), strict=True)),
        ci={name: (float(low), float(high)) for name, low, high in zip(languages, low_K, high_K, strict=True)},
        predicted=dict(zip(languages, predicted_K, strict=True)) | {"macro": float(np.mean(predicted_K))},
        gain=_gain(fitted, natural_K, share_K),
    )


def _gain(fitted: Fitted, natural_K, share_K) -> Estimate:
    """By how much the mean accuracy is predicted to be above that of the natural mix."""
    ends = np.array([natural_K, share_K])

    def change(parameters_KxP) -> float:
        return float(np.diff(_accuracy(_predict(fitted.kind, parameters_KxP, ends)), axis=0).mean())

    low, high = _quantiles([change(p_KxP) for p_KxP in fitted.replicates])
    return Estimate(change(fitted.parameters_KxP), (float(low), float(high)))


# --- the data -------------------------------------------------------------------------------------------------------------


def _accuracy(y):
    """An accuracy lies in [0, 1], whatever a law predicts beyond the mixes that it has seen."""
    return np.clip(1 - y, 0, 1)


def _bootstrap(y_MxKxS):
    """Yields (weight_M, y_MxK): mixes and seeds with random weights, the Bayesian bootstrap (Rubin 1981).

    Weights instead of draws, because few mixes drawn with replacement may not span the simplex any more. They are gamma
    with a variance above 1 by the factor by which residuals of a fit with K + 1 parameters, and of a mean over seeds, are
    too small. A seed has one weight in all mixes: it is the same world, and the same luck.
    """
    generator = np.random.default_rng(0)
    there, (M, K, S) = ~np.isnan(y_MxKxS), y_MxKxS.shape
    for _ in range(REPLICATES):
        weight_S = np.maximum(generator.gamma((S - 1) / S, size=S), 1e-12) if S > 1 else np.ones(1)
        weight_M = generator.gamma((M - K - 1) / M, size=M)
        yield weight_M, np.where(there, y_MxKxS, 0) @ weight_S / (there @ weight_S)


def _held_out(y_MxK, held_out_MxK) -> HeldOut:
    predicted_MxK = _accuracy(held_out_MxK)
    macro_error_M, macro_M, M = (1 - y_MxK - predicted_MxK).mean(1), y_MxK.mean(1), len(y_MxK)
    baseline_M = (macro_M.sum() - macro_M) / (M - 1) - macro_M
    return HeldOut(predicted_MxK, macro_error_M, _rms(macro_error_M), _rms(baseline_M))


def _rms(error) -> float:
    return float(np.sqrt(np.mean(np.square(error))))


def _quantiles(value_R) -> np.ndarray:
    return np.quantile(value_R, statistics.TAILS, axis=0)


# --- the two kinds: (fit of one language, prediction of all languages) ----------------------------------------------------


def _fit_log_linear(share_MxK, y_M, weight_M, start) -> np.ndarray:
    """[a, b_1 … b_K] of y = a^2 + exp(b . r) by weighted least squares; without a start, from four floors, the best kept.

    For a given floor c = a^2, which is never below 0, the law is linear in log(y - c): that gives each start its b.
    """
    root_M, floor = np.sqrt(weight_M), max(y_M.min(), 1e-6)
    smallest = max(1e-3 * np.ptp(y_M), 1e-6)

    def residuals(p):
        return root_M * (_predict_log_linear(p[None], share_MxK)[:, 0] - y_M)

    def jacobian(p):
        return root_M[:, None] * np.column_stack(
            [np.full(len(y_M), 2 * p[0]), _exp(share_MxK @ p[1:])[:, None] * share_MxK]
        )

    starts = [start] if start is not None else []
    for part in _FLOORS if start is None else ():
        logarithm_M = np.log(np.maximum(y_M - part * floor, smallest))
        starts.append([np.sqrt(part * floor), *np.linalg.lstsq(share_MxK, logarithm_M, rcond=None)[0]])
    # Not method="lm": MINPACK's end point depends on how the machine is loaded.
    fits = [optimize.least_squares(residuals, p, jacobian, method="trf", x_scale="jac", max_nfev=300) for p in starts]
    return min(fits, key=lambda result: result.cost).x


def _predict_log_linear(parameters_KxP, share_NxK) -> np.ndarray:
    return np.square(parameters_KxP[:, 0]) + _exp(share_NxK @ parameters_KxP[:, 1:].T)


def _exp(x) -> np.ndarray:
    return np.exp(np.minimum(x, 50.0))  # a step of the fit may stray


def _features(share_NxK) -> np.ndarray:
    root_NxK = np.sqrt(np.maximum(share_NxK, 0))
    first, second = np.triu_indices(root_NxK.shape[1])
    return np.column_stack([root_NxK, root_NxK[:, first] * root_NxK[:, second]])


def _fit_quadratic(share_MxK, y_M, weight_M, start) -> np.ndarray:
    """[intercept, coefficients] of ridge regression, its penalty chosen by leave-one-out (PRESS); it needs no start."""
    x_MxP, weight_M = _features(share_MxK), weight_M / weight_M.sum()
    mean_P, mean = weight_M @ x_MxP, weight_M @ y_M
    scale_P = np.maximum(np.sqrt(weight_M @ np.square(x_MxP - mean_P)), 1e-9)
    root_M = np.sqrt(weight_M)
    centred_M = root_M * (y_M - mean)
    u_MxP, s_P, vt_PxP = np.linalg.svd(root_M[:, None] * (x_MxP - mean_P) / scale_P, full_matrices=False)
    shrink_NxP = s_P**2 / (s_P**2 + _RIDGES[:, None])  # one row a penalty
    leverage_NxM = weight_M + shrink_NxP @ np.square(u_MxP).T  # the first term is the intercept's
    error_NxM = (centred_M - (shrink_NxP * (u_MxP.T @ centred_M)) @ u_MxP.T) / np.maximum(1 - leverage_NxM, 1e-3)
    ridge = _RIDGES[np.square(error_NxM).sum(1).argmin()]
    coefficient_P = vt_PxP.T @ (s_P / (s_P**2 + ridge) * (u_MxP.T @ centred_M)) / scale_P
    return np.array([mean - coefficient_P @ mean_P, *coefficient_P])


def _predict_quadratic(parameters_KxP, share_NxK) -> np.ndarray:
    # Neither a loss nor an error rate is below 0.
    return np.maximum(parameters_KxP[:, 0] + _features(share_NxK) @ parameters_KxP[:, 1:].T, 0)


KINDS = {
    "log_linear": (_fit_log_linear, _predict_log_linear),
    "quadratic": (_fit_quadratic, _predict_quadratic),
}


def _predict(kind: str, parameters_KxP, share_NxK) -> np.ndarray:
    """y_NxK."""
    return KINDS[kind][1](parameters_KxP, share_NxK)


def _minimum(kind: str, parameters_KxP, natural_K, kl: float) -> np.ndarray:
    """Shares [K] of the smallest penalised mean prediction: the best of many points, then SLSQP from it."""
    K, step = len(natural_K), 1e-6

    def value(share_NxK):
        share_NxK = np.maximum(share_NxK, LEAST_SHARE)
        divergence_N = (share_NxK * np.log(share_NxK / np.maximum(natural_K, LEAST_SHARE))).sum(1)
        return _predict(kind, parameters_KxP, share_NxK).mean(1) + kl * divergence_N

    def slope(share_K):
        up_K, down_K = np.split(value(np.concatenate([share_K + step * np.eye(K), share_K - step * np.eye(K)])), 2)
        return (up_K - down_K) / (2 * step)

    points_NxK = np.random.default_rng(0).dirichlet(np.full(K, 0.7), 500)
    points_NxK = np.concatenate([natural_K[None], points_NxK])
    minimum = optimize.minimize(
        lambda share_K: value(share_K[None])[0],
        np.clip(points_NxK[value(points_NxK).argmin()], LEAST_SHARE, 1),
        jac=slope,
        method="SLSQP",
        bounds=[(LEAST_SHARE, 1)] * K,
        constraints={"type": "eq", "fun": lambda share_K: share_K.sum() - 1, "jac": lambda share_K: np.ones(K)},
        options={"ftol": 1e-9},
    )
    return minimum.x / minimum.x.sum()

"""Two published laws of the held-out loss, and the corpora that they ask for: rivals at the mixing laws' search cost.

Both say of language i, N parameters and D tokens being fixed within a study: L_i = c_i e_i^-gamma_i. They differ in e_i, the
share that counts for it, so that what one gains on the other is due to interaction alone.
  no_interaction   e_i = r_i, its own share (He et al. 2024, arXiv:2410.12883: L_i = (E_i + A_i / N^a_i + B_i / D^b_i)
                   r_i^-gamma_i). Losses count relative to L_i at r_i = 1, our reading of its normalised sum, which then is
                   that of r_i^-gamma_i and depends on the exponents alone. Ours: languages in the place of language families
                   (the paper groups languages because it expects transfer within a family, which is what is tested
                   here), and least squares in logarithms.
  equal_benefit    e_i = r_i + sum_j a_ij r_j, after Climb (Guo et al. 2025, arXiv:2509.15556) as its abstract states it: an
                   interaction-aware share, read off runs of varied proportions, and two steps: the direction in which a
                   further unit of e_i lowers the loss of every language alike, then the greatest length in it that shares
                   summing to 1 can reach. The forms are ours: e_i is linear in the shares with a_ij >= 0 (a token of j
                   is worth a_ij tokens of i), which has as many parameters as the log-linear mixing law; and it is
                   fitted together with the law, as a search has no monolingual runs. A language may end up with more than
                   its direction asks for, if others bring it along. Where a loss hardly depends on the shares, gamma
                   and a_ij stand in for each other, and few mixes do not tell them apart: the direction is unsure then.

Letters: M mixes, K languages.
"""

import dataclasses

import numpy as np
from scipy import optimize

from babel_jax.common.errors import UserError
from babel_jax.evolution.mixes import Mix
from babel_jax.optimum import mix_table

NO_INTERACTION, EQUAL_BENEFIT = "no_interaction", "equal_benefit"
LEAST_WORTH, MOST_WORTH = 1e-6, 10.0  # bounds of a_ij; above 0, so that the loss of a language without tokens is finite
STEEPEST = 10.0  # bound of gamma
_STARTS = (0.01, 0.1, 0.5, 1.0)  # of all a_ij


@dataclasses.dataclass(frozen=True)
class LossLaw:
    """A law of the loss fitted to static mixes, and the corpus that it asks for.

    Attributes:
      languages: [K]; names: of the mixes [M]; runs: of all of them and all seeds.
      level_K, gamma_K: c and gamma.
      worth_KxK: how many tokens of language i (row) a token of language j (column) is worth; the identity without
        interaction.
      shares: {language: …} of the best mix.
      held_out_rmse: of the mean loss over the languages, of each mix from the others (nats a token).
      baseline_rmse: the same, predicted by the others' mean.
    """

    languages: list[str]
    names: list[str]
    runs: int
    level_K: np.ndarray
    gamma_K: np.ndarray
    worth_KxK: np.ndarray
    shares: dict[str, float]
    held_out_rmse: float
    baseline_rmse: float

    def predict(self, share_NxK) -> np.ndarray:
        """Losses [N, K] of shares [N, K]."""
        return _predict(self.level_K, self.gamma_K, self.worth_KxK, share_NxK)


def no_interaction(mixes: list[Mix], languages: list[str]) -> LossLaw:
    """The law in which the loss of a language depends on its own share alone; mixes that lack a language are left out.

    Raises:
      UserError: too few mixes with losses, or no language that gains from its own share.
    """
    table = mix_table.losses([mix for mix in mixes if all(mix.shares.get(name) for name in languages)], languages)
    _check(table, "a law of the loss without interaction")
    identity_KxK = np.eye(len(languages))

    def fit(share_MxK, loss_MxK):
        slope_K, level_K = np.array(
            [
                np.polyfit(np.log(share_M), np.log(loss_M), 1)
                for share_M, loss_M in zip(share_MxK.T, loss_MxK.T, strict=True)
            ]
        ).T
        return np.exp(level_K), -slope_K, identity_KxK

    level_K, gamma_K, _ = fitted = fit(table.share_MxK, table.mean_MxK)
    return _law(table, fitted, fit, least_sum(np.ones_like(level_K), gamma_K))


def equal_benefit(mixes: list[Mix], languages: list[str]) -> LossLaw:
    """The interaction-aware law, and the mix that equalises the languages' marginal benefits.

    Raises:
      UserError: as `no_interaction`.
    """
    table = mix_table.losses(mixes, languages)
    _check(table, "an interaction-aware law of the loss")

    def fit(share_MxK, loss_MxK, start=None):
        of_language = [
            _fit_interaction(share_MxK, np.log(loss_M), i, None if start is None else [part[i] for part in start])
            for i, loss_M in enumerate(loss_MxK.T)
        ]
        return tuple(np.array(part) for part in zip(*of_language, strict=True))

    level_K, gamma_K, worth_KxK = fitted = fit(table.share_MxK, table.mean_MxK)
    direction_K = least_sum(level_K, gamma_K)
    return _law(table, fitted, lambda *data: fit(*data, start=fitted), longest(direction_K, worth_KxK))


LAWS = {NO_INTERACTION: no_interaction, EQUAL_BENEFIT: equal_benefit}


def _law(table: mix_table.MixTable, fitted: tuple, fit, share_K) -> LossLaw:
    """`fit`: (share_MxK, loss_MxK) -> (level_K, gamma_K, worth_KxK)."""
    share_MxK, loss_MxK, M = table.share_MxK, table.mean_MxK, len(table.names)
    held_out_MxK = np.array(
        [
            _predict(*fit(np.delete(share_MxK, m, 0), np.delete(loss_MxK, m, 0)), share_MxK[m : m + 1])[0]
            for m in range(M)
        ]
    )
    loss_M = loss_MxK.mean(1)
    others_M = (loss_M.sum() - loss_M) / (M - 1)
    return LossLaw(
        table.languages,
        table.names,
        table.runs,
        *fitted,
        shares=dict(zip(table.languages, share_K.tolist(), strict=True)),
        held_out_rmse=float(np.sqrt(np.mean(np.square(held_out_MxK.mean(1) - loss_M)))),
        baseline_rmse=float(np.sqrt(np.mean(np.square(others_M - loss_M)))),
    )


def _check(table: mix_table.MixTable, what: str) -> None:
    M, needed = len(table.names), len(table.languages) + 2
    if needed > M:
        raise UserError(f"{what} needs {needed} static mixes or more with their losses; there are {M}.")
    if not np.ptp(table.share_MxK, axis=0).all():
        raise UserError(f"{what} needs mixes of different shares; train some.")


def _predict(level_K, gamma_K, worth_KxK, share_NxK) -> np.ndarray:
    return level_K * (np.atleast_2d(share_NxK) @ worth_KxK.T) ** -gamma_K


def _fit_interaction(share_MxK, log_loss_M, i: int, start) -> tuple[float, float, np.ndarray]:
    """(level, gamma, worth_K) of language i by least squares in logarithms; without a start, from several, the best kept."""
    K = share_MxK.shape[1]
    others = np.arange(K) != i

    def counted(worth):
        return share_MxK[:, i] + share_MxK[:, others] @ worth

    def residuals(p):
        return p[0] - p[1] * np.log(counted(p[2:])) - log_loss_M

    low = np.array([-np.inf, 0, *[LEAST_WORTH] * (K - 1)])
    high = np.array([np.inf, STEEPEST, *[MOST_WORTH] * (K - 1)])
    starts = [] if start is None else [[np.log(start[0]), start[1], *start[2][others]]]
    for worth in _STARTS if start is None else ():
        worth = np.full(K - 1, worth)
        logarithm_M = np.log(counted(worth))
        slope = np.polyfit(logarithm_M, log_loss_M, 1)[0] if np.ptp(logarithm_M) > 1e-9 else -1.0
        starts.append([log_loss_M.mean() + slope * logarithm_M.mean(), max(-slope, 0.01), *worth])
    fits = [
        optimize.least_squares(residuals, np.clip(p, low, high), bounds=(low, high), method="trf", x_scale="jac")
        for p in starts
    ]
    best = min(fits, key=lambda result: result.cost).x
    worth_K = np.ones(K)
    worth_K[others] = best[2:]
    return float(np.exp(best[0])), float(best[1]), worth_K


def least_sum(weight_K, gamma_K) -> np.ndarray:
    """Shares [K] that sum to 1 and minimise sum_i weight_i r_i^-gamma_i: where its slope in every share is the same.

    A language that does not gain from its share (gamma at most 0) gets none.

    Raises:
      UserError: no language gains.
    """
    gains_K = np.asarray(gamma_K) > 0
    if not gains_K.any():
        raise UserError("no language's loss falls with its own share, so no shares are best; train for longer.")
    gamma = np.asarray(gamma_K)[gains_K]
    slope = np.log(np.asarray(weight_K)[gains_K] * gamma)

    def shares(multiplier):  # logarithm of the common slope
        return np.exp((slope - multiplier) / (1 + gamma))

    low = slope.max()  # one share is 1 there; at the other end none is above 1 / K
    high = low + (1 + gamma.max()) * np.log(len(gamma))
    multiplier = optimize.brentq(lambda at: shares(at).sum() - 1, low, high + 1e-9, xtol=1e-13)
    share_K = np.zeros(len(gains_K))
    share_K[gains_K] = shares(multiplier)
    return share_K / share_K.sum()


def longest(direction_K, worth_KxK) -> np.ndarray:
    """Shares [K] that sum to 1 and give every language at least k x its part of a direction, for the largest k."""
    K = len(direction_K)
    found = optimize.linprog(
        [*np.zeros(K), -1],
        A_ub=np.column_stack([-worth_KxK, direction_K]),
        b_ub=np.zeros(K),
        A_eq=[[*np.ones(K), 0]],
        b_eq=[1],
        bounds=(0, None),
    )
    share_K = np.maximum(found.x[:K], 0)
    return share_K / share_K.sum()

"""The curve as a law: a continual run's score against the tokens of the new language it has seen foretells from-scratch mixes.

For a mix with n tokens of the new language the prediction is the curve at n (its mean over seeds, interpolated in log tokens),
with one of three distances between the two ways of training:
  none      none; no mix is fitted. What it tests is the order of the mixes, and the level.
  constant  the mean distance of the fitted mixes.
  primary   a line in the primary's share of the mix's tokens; taken only if its squared error on mixes left out is smaller
            than the constant's by more than the standard error of the difference.

A law that costs one continual run; its rivals (`laws.py`) cost a swarm. Letters: M mixes, C checkpoints, S seeds.
"""

import dataclasses

import numpy as np
import pandas as pd
from scipy import stats

from babel_jax.common import statistics
from babel_jax.common.errors import UserError
from babel_jax.common.statistics import Estimate
from babel_jax.evolution.mixes import Mix
from babel_jax.optimum import mix_table
from babel_jax.optimum.laws import Law, clearly_better

NONE, CONSTANT, PRIMARY = "none", "constant", "primary"
DISTANCES = (NONE, CONSTANT, PRIMARY)
LEAST_MIXES = 4  # two coefficients are fitted to all but one of them
_GRID = 400  # amounts among which the best is sought, beside those of the checkpoints


@dataclasses.dataclass(frozen=True)
class TokenCurve:
    """The score of a continual run against the tokens of the new language that it has seen.

    Attributes:
      language: the new one; run: the role of the run.
      tokens_C: rising; score_SxC: accuracies.

    Raises:
      UserError: no checkpoint has seen any of the language.
    """

    language: str
    run: str
    tokens_C: np.ndarray
    score_SxC: np.ndarray

    def __post_init__(self):
        if not (np.asarray(self.tokens_C) > 0).any():
            raise UserError(f"run '{self.run}' has seen no {self.language} at any checkpoint; train it for longer.")

    def over_seeds(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(mean_C, low_C, high_C) by Student t over seeds, within what an accuracy can be; NaN bounds for one seed."""
        mean_C, low_C, high_C = statistics.student(self.score_SxC)
        return mean_C, np.clip(low_C, 0, 1), np.clip(high_C, 0, 1)

    def __call__(self, tokens) -> np.ndarray:
        """The mean score over seeds at these numbers of tokens; the last one beyond what the run has seen.

        Linear in log(1 + tokens / those of the first checkpoint that has any), which is log tokens, and finite at none.
        """
        unit = self.tokens_C[self.tokens_C > 0].min()
        at, places = (np.log1p(np.asarray(amount, float) / unit) for amount in (tokens, self.tokens_C))
        return np.interp(at, places, self.score_SxC.mean(0))


@dataclasses.dataclass(frozen=True)
class CurveLaw:
    """A curve, and what it says of the mixes of a study in its language.

    Attributes:
      curve: of the continual run.
      names: of the mixes [M]; runs: of all of them and all seeds.
      tokens_M: of the new language; primary_M: the primary's share of all tokens; measured_M: the mixes' scores, means over
        seeds.
      beyond: how many mixes have more tokens than the curve has seen.
      order: rank correlation of the curve with the mixes' scores, its 95 % interval over mixes.
      distance: mean of measured minus curve, Student t over mixes.
      held_out: {distance, and kind of mixing law fitted to the same mixes: scores [M], each from the other mixes}.
      rmse: {the same: root mean square error}; baseline_rmse: of the others' mean.
      chosen: CONSTANT or PRIMARY.
    """

    curve: TokenCurve
    names: list[str]
    runs: int
    tokens_M: np.ndarray
    primary_M: np.ndarray
    measured_M: np.ndarray
    beyond: int
    order: Estimate
    distance: Estimate
    held_out: dict[str, np.ndarray]
    rmse: dict[str, float]
    baseline_rmse: float
    chosen: str

    def coefficients(self, distance: str) -> np.ndarray:
        """Of a distance, [] to [constant, slope in the primary's share], fitted to all mixes."""
        return _fit(distance, self.measured_M - self.curve(self.tokens_M), self.primary_M)


def fit(curve: TokenCurve, mixes: list[Mix], languages: list[str], law: Law | None = None) -> CurveLaw:
    """Tests a curve on the static mixes, one left out at a time.

    Args:
      languages: the primary, then the new ones.
      law: fitted to the same mixes, to be set beside it.

    Raises:
      UserError: fewer than LEAST_MIXES mixes.
    """
    table = mix_table.error_rates(mixes, languages)
    M, place = len(table.names), languages.index(curve.language)
    if M < LEAST_MIXES:
        raise UserError(f"a curve is tested on {LEAST_MIXES} static mixes or more with their score; there are {M}.")
    total = {mix.name: mix.tokens for mix in mixes}
    tokens_M = table.share_MxK[:, place] * [total[name] for name in table.names]
    primary_M, measured_M, curve_M = table.share_MxK[:, 0], 1 - table.mean_MxK[:, place], curve(tokens_M)
    held_out = {
        distance: np.clip(curve_M + _left_out(distance, measured_M - curve_M, primary_M), 0, 1)
        for distance in DISTANCES
    }
    better = clearly_better(*(held_out[distance] - measured_M for distance in (PRIMARY, CONSTANT)))
    for kind, fitted in (law.kinds if law else {}).items():
        if fitted.names == table.names:
            held_out[kind] = fitted.loo.predicted_MxK[:, fitted.languages.index(curve.language)]
    others_M = (measured_M.sum() - measured_M) / (M - 1)
    value, *ci = (float(number) for number in statistics.student(measured_M - curve_M))
    return CurveLaw(
        curve=curve,
        names=table.names,
        runs=table.runs,
        tokens_M=tokens_M,
        primary_M=primary_M,
        measured_M=measured_M,
        beyond=int((tokens_M > curve.tokens_C.max()).sum()),
        order=rank_correlation(curve_M, measured_M),
        distance=Estimate(value, tuple(ci)),
        held_out=held_out,
        rmse={name: _rms(predicted_M - measured_M) for name, predicted_M in held_out.items()},
        baseline_rmse=_rms(others_M - measured_M),
        chosen=PRIMARY if better else CONSTANT,
    )


def _design(distance: str, primary_M) -> np.ndarray:
    """[M, coefficients]."""
    columns = {NONE: [], CONSTANT: [np.ones_like(primary_M)], PRIMARY: [np.ones_like(primary_M), primary_M]}
    return np.array(columns[distance]).reshape(-1, len(primary_M)).T


def _fit(distance: str, distance_M, primary_M) -> np.ndarray:
    return np.linalg.lstsq(_design(distance, primary_M), distance_M, rcond=None)[0]


def _left_out(distance: str, distance_M, primary_M) -> np.ndarray:
    """The distance of each mix, from the others [M]."""
    design = _design(distance, primary_M)
    keep = ~np.eye(len(distance_M), dtype=bool)
    return np.array(
        [design[m] @ _fit(distance, distance_M[keep[m]], primary_M[keep[m]]) for m in range(len(distance_M))]
    )


def _rms(error_M) -> float:
    return float(np.sqrt(np.mean(np.square(error_M))))


def rank_correlation(one_M, other_M) -> Estimate:
    """Spearman's, with its 95 % interval over the M pairs (Bonett & Wright 2000); NaN where one side is constant.

    No interval for fewer than four pairs. A perfect order is taken for one half a swap of neighbours away from it: few pairs
    are in order by luck.
    """
    if not (np.ptp(one_M) and np.ptp(other_M)):
        return Estimate(np.nan, (np.nan, np.nan))
    value, M = float(np.clip(stats.spearmanr(one_M, other_M).statistic, -1, 1)), len(one_M)
    if M < LEAST_MIXES:
        return Estimate(value, (np.nan, np.nan))
    half = statistics.NORMAL * np.sqrt((1 + value**2 / 2) / (M - 3))
    limit = 1 - 6 / (M * (M**2 - 1))
    low, high = np.tanh(np.arctanh(np.clip(value, -limit, limit)) + np.array([-half, half]))
    return Estimate(value, (min(float(low), value), max(float(high), value)))


# --- the corpus it asks for -----------------------------------------------------------------------------------------------


def corpus(laws: list[CurveLaw], primary: str, budget: float, least_primary: float) -> dict[str, float]:
    """{language: tokens} of the mix of `budget` tokens that the curves predict to be best.

    Each new language has the amount that is best for itself: where its curve is highest, moved towards fewer tokens where
    the primary's share counts as well. Together they have no more than the primary leaves them that keeps `least_primary` of
    the tokens, its share in the original corpus: no curve says what happens below.
    """
    amounts = {law.curve.language: best_tokens(law, budget) for law in laws}
    factor = min(1.0, (1 - least_primary) * budget / sum(amounts.values()))
    amounts = {language: tokens * factor for language, tokens in amounts.items()}
    return {primary: budget - sum(amounts.values())} | amounts


def best_tokens(law: CurveLaw, budget: float) -> float:
    """The new language's tokens, up to `budget`, at which it is predicted to be solved best; the fewest of equals."""
    seen_C = law.curve.tokens_C[law.curve.tokens_C > 0]
    seen_C = seen_C[seen_C <= budget]
    least = seen_C.min() if len(seen_C) else budget
    tokens_N = np.unique([*seen_C, *np.geomspace(least, budget, _GRID), budget])
    slope = law.coefficients(PRIMARY)[1] if law.chosen == PRIMARY else 0.0
    return float(tokens_N[(law.curve(tokens_N) - slope * tokens_N / budget).argmax()])


# --- other studies --------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Transfer:
    """What one study's curve, and the distance fitted to its mixes, say of another study's mixes.

    Attributes:
      fitted_on, tested_on: names of studies; mixes, runs: of the latter.
      order: rank correlation of the curve with the scores.
      rmse: {distance: root mean square error}; baseline_rmse: of the mean of the fitted mixes.
      chosen: the distance that the first study's own held-out mixes chose.
    """

    fitted_on: str
    tested_on: str
    mixes: int
    runs: int
    order: Estimate
    rmse: dict[str, float]
    baseline_rmse: float
    chosen: str


def across(laws: dict[str, CurveLaw]) -> list[Transfer]:
    """Every study's law on the mixes of every other, such as one budget's on another's. `laws`: {study: of one language}."""
    return [
        _transfer(one, other, laws[one], laws[other])
        for one in laws
        for other in laws
        if one != other and laws[one].curve.language == laws[other].curve.language
    ]


def frame(transfers: list[Transfer]) -> pd.DataFrame:
    """Transfers as a table, a row each: `order` with its interval, and root mean square errors: of the curve (`none`), with the
    distance that the first study chose (`fitted`), and of the mean of the first study's mixes (`baseline`)."""
    return pd.DataFrame(
        [
            {
                "fitted_on": each.fitted_on,
                "tested_on": each.tested_on,
                "mixes": each.mixes,
                "runs": each.runs,
                "order": round(each.order.value, 3),
                "order_low": round(each.order.ci[0], 3),
                "order_high": round(each.order.ci[1], 3),
                "none": round(each.rmse[NONE], 4),
                "fitted": round(each.rmse[each.chosen], 4),
                "baseline": round(each.baseline_rmse, 4),
            }
            for each in transfers
        ]
    )


def _transfer(fitted_on: str, tested_on: str, law: CurveLaw, other: CurveLaw) -> Transfer:
    curve_M = law.curve(other.tokens_M)
    predicted = {
        distance: np.clip(curve_M + _design(distance, other.primary_M) @ law.coefficients(distance), 0, 1)
        for distance in DISTANCES
    }
    return Transfer(
        fitted_on,
        tested_on,
        len(other.names),
        other.runs,
        rank_correlation(curve_M, other.measured_M),
        {distance: _rms(predicted_M - other.measured_M) for distance, predicted_M in predicted.items()},
        _rms(law.measured_M.mean() - other.measured_M),
        law.chosen,
    )

"""Static mixes as arrays: what a law is fitted to. Letters: M mixes, K languages, S seeds."""

import dataclasses

import numpy as np

from babel_jax.common.errors import UserError
from babel_jax.evolution.mixes import Mix


@dataclasses.dataclass(frozen=True)
class MixTable:
    """Mixes that were measured in all languages.

    Attributes:
      names: [M]; languages: [K].
      share_MxK: of the tokens.
      value_MxKxS: error rates or losses; NaN: no such seed.
    """

    names: list[str]
    languages: list[str]
    share_MxK: np.ndarray
    value_MxKxS: np.ndarray

    @property
    def mean_MxK(self) -> np.ndarray:
        """Over the seeds that a mix has."""
        return np.nanmean(self.value_MxKxS, -1)

    @property
    def runs(self) -> int:
        """How many runs there are of all mixes and seeds."""
        return int((~np.isnan(self.value_MxKxS)).any(1).sum())


def error_rates(mixes: list[Mix], languages: list[str]) -> MixTable:
    """1 - accuracy of the static mixes that were judged in all languages.

    Mixes of several stages are left out, as shares do not say their order.
    """
    return _table(mixes, languages, [{name: 1 - score_S for name, score_S in mix.score.items()} for mix in mixes])


def losses(mixes: list[Mix], languages: list[str]) -> MixTable:
    """Held-out losses (nats a token) of the static mixes that have them in all languages; otherwise as `error_rates`."""
    return _table(mixes, languages, [mix.loss for mix in mixes])


def _table(mixes: list[Mix], languages: list[str], values: list[dict[str, np.ndarray]]) -> MixTable:
    chosen = [
        (mix, of_mix)
        for mix, of_mix in zip(mixes, values, strict=True)
        if len(mix.stages) == 1 and set(languages) <= set(of_mix)
    ]
    seeds = sorted(set().union(*(mix.seeds for mix, _ in chosen)))
    names, shares, tables = [], [], []
    for mix, of_mix in chosen:
        value_KxS = np.full((len(languages), len(seeds)), np.nan)
        value_KxS[:, [seeds.index(seed) for seed in mix.seeds]] = [of_mix[name] for name in languages]
        if (~np.isnan(value_KxS)).any(1).all():
            names.append(mix.name)
            shares.append(shares_of(dict.fromkeys(languages, 0.0) | mix.shares, languages))
            tables.append(value_KxS)
    M, K, S = len(names), len(languages), len(seeds)
    return MixTable(names, list(languages), np.array(shares).reshape(M, K), np.array(tables).reshape(M, K, S))


def shares_of(given: dict[str, float], languages: list[str]) -> np.ndarray:
    """Shares [K] in the order of the languages, of tokens or shares in any unit.

    Raises:
      UserError: a language is missing.
    """
    if missing := [name for name in languages if name not in given]:
        raise UserError(f"no share of {missing[0]} is given; give one of every language of the law, 0 included.")
    share_K = np.array([given[name] for name in languages], float)
    return share_K / share_K.sum()

"""Regret: how far the corpora that optimisers ask for stay behind the best one, over worlds and budgets.

A *cell* is one study: a world at one budget. In it an optimiser's regret is the score of the best mix of the sweep minus that of
the mix that the optimiser asked for. The best is chosen, for each seed, on the other seeds, so that noise does not choose
the winner that it then measures; so a regret may be below 0. An optimiser that asks for nothing keeps the original corpus.
Each cell counts once, whatever its seeds: the intervals speak about other worlds and budgets of this kind.
Letters: S seeds, M mixes of the sweep, O optimisers, C cells.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from babel_jax.common import statistics
from babel_jax.common.statistics import Effect
from babel_jax.evolution.mixes import Mix
from babel_jax.optimum import compare
from babel_jax.optimum.curve_law import CurveLaw

ORIGINAL = "original"  # the optimiser that leaves the corpus as it is
DRAWS = 2000  # of shuffled labels
DIGITS = 4


@dataclasses.dataclass(frozen=True)
class Regret:
    """What an optimiser's corpus loses in one cell.

    Attributes:
      cell, optimiser: their names.
      mix: the one that it asked for.
      share: of the new languages in it.
      by_seed: [S] regrets; effect: their mean, with Student's t interval over seeds.
      missing: why there is no regret, a clause; "" where there is one. NaN then.
    """

    cell: str
    optimiser: str
    mix: str
    share: float
    by_seed: np.ndarray
    effect: Effect
    missing: str = ""


@dataclasses.dataclass(frozen=True)
class Cell:
    """A cell's mixes, all of equal length: those of the sweep with the original, and {optimiser: mix that it asked for}.

    `law`: its curve as a law, where it has one new language and a run that such a law takes.
    """

    name: str
    sweep: list[Mix]
    asked: dict[str, Mix]
    score: Callable[[Mix], np.ndarray]
    new_share: Callable[[Mix], float]
    law: CurveLaw | None = None


def regrets(cell: Cell) -> list[Regret]:
    """The regret of every optimiser of a cell.

    A comparison in which a run has not learned the primary is no test of a corpus: such mixes of the sweep are left out, and an
    optimiser whose mix is one of them has no regret there.
    """
    sweep = [mix for mix in cell.sweep if mix.learned_primary_S.all()]
    best_S = _best(np.array([cell.score(mix) for mix in sweep])) if sweep else None
    return [_regret(cell, optimiser, mix, best_S) for optimiser, mix in cell.asked.items()]


def _regret(cell: Cell, optimiser: str, mix: Mix, best_S: np.ndarray | None) -> Regret:
    missed, missing = int((~mix.learned_primary_S).sum()), ""
    if missed:
        missing = f"{missed} of {len(mix.seeds)} runs had not learned the primary"
    elif best_S is None:
        missing = "no mix of the sweep had learned the primary in all runs"
    by_seed = np.full(len(mix.seeds), np.nan) if missing else best_S - cell.score(mix)
    effect = Effect(float("nan"), (float("nan"),) * 2, float("nan")) if missing else _over(by_seed)
    return Regret(cell.name, optimiser, mix.name, cell.new_share(mix), by_seed, effect, missing)


def _best(score_MxS: np.ndarray) -> np.ndarray:
    """The score in each seed of the mix that is best on the others, [S]; of one seed the best there, which flatters it."""
    seeds = score_MxS.shape[1]
    if seeds == 1:
        return score_MxS.max(0)
    return score_MxS[compare.best_on_others(score_MxS), range(seeds)]


def _over(value_N: np.ndarray) -> Effect:
    """Mean, interval and p by Student's t over seeds, or over cells."""
    return statistics.mean_difference([value_N])


@dataclasses.dataclass(frozen=True)
class Row:
    """An optimiser over all cells.

    Attributes:
      optimiser: its name.
      cells, seeds: how many it has a regret in.
      effect: its mean regret, with Student's t interval over cells.
      behind: its regret minus that of the first row, over the cells that both have; `p_holm`: of that difference, corrected for
        the number of optimisers. None for the first row.
    """

    optimiser: str
    cells: int
    seeds: int
    effect: Effect
    behind: Effect | None = None
    p_holm: float | None = None


def table(found: Sequence[Regret]) -> list[Row]:
    """All optimisers with a regret in any cell, as `in_order` has them."""
    value_OxC, optimisers = _by_cell(found)
    seeds = {
        name: sum(len(each.by_seed) for each in found if each.optimiser == name and not each.missing)
        for name in optimisers
    }
    cells = {name: int((~np.isnan(row_C)).sum()) for name, row_C in zip(optimisers, value_OxC, strict=True)}
    mean = {name: float(np.nanmean(row_C)) for name, row_C in zip(optimisers, value_OxC, strict=True) if cells[name]}
    row_of = dict(zip(optimisers, value_OxC, strict=True))
    rows = [Row(name, cells[name], seeds[name], _over(_known(row_of[name]))) for name in in_order(mean, cells)]
    if len(rows) < 2:
        return rows
    behind = [_over(_known(row_of[row.optimiser] - row_of[rows[0].optimiser])) for row in rows[1:]]
    corrected = statistics.holm([effect.p for effect in behind])
    return rows[:1] + [
        dataclasses.replace(row, behind=effect, p_holm=p)
        for row, effect, p in zip(rows[1:], behind, corrected, strict=True)
    ]


def in_order(regret: dict[str, float], cells: dict[str, int]) -> list[str]:
    """Names by mean regret, those last that were tested in less than half as many cells as most: these may be the easy ones."""
    most = max((cells[name] for name in regret), default=0)
    return sorted(regret, key=lambda name: (2 * cells[name] < most, regret[name]))


def shuffled_labels(found: Sequence[Regret]) -> float:
    """The negative control: the chance of optimisers that differ so much if names had been dealt at random in each cell.

    The spread is the variance over optimisers of their mean regrets; in each cell the regrets are dealt among the optimisers that
    have one there. Real differences make the chance small; names that mean nothing give any value from 0 to 1, and one cell
    gives 1, for whatever is dealt has its spread. NaN without a regret.
    """
    value_OxC, _ = _by_cell(found)
    if np.isnan(value_OxC).all():
        return float("nan")
    generator, spread = np.random.default_rng(0), _spread(value_OxC)
    drawn = [_spread(_dealt(value_OxC, generator)) for _ in range(DRAWS)]
    return float((1 + np.sum(np.array(drawn) >= spread - 1e-12)) / (1 + DRAWS))


def _spread(value_OxC: np.ndarray) -> float:
    tested_OxC = ~np.isnan(value_OxC)
    there_O = tested_OxC.any(1)
    return float((np.nansum(value_OxC, 1)[there_O] / tested_OxC.sum(1)[there_O]).var())


def _dealt(value_OxC: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    dealt_OxC = value_OxC.copy()
    for c in range(value_OxC.shape[1]):
        tested_O = ~np.isnan(value_OxC[:, c])
        dealt_OxC[tested_O, c] = generator.permutation(value_OxC[tested_O, c])
    return dealt_OxC


def _by_cell(found: Sequence[Regret]) -> tuple[np.ndarray, list[str]]:
    """(mean regret [O, C], NaN where there is none, the optimisers)."""
    optimisers, cells = (list(dict.fromkeys(getattr(each, of) for each in found)) for of in ("optimiser", "cell"))
    value_OxC = np.full((len(optimisers), len(cells)), np.nan)
    for each in found:
        value_OxC[optimisers.index(each.optimiser), cells.index(each.cell)] = each.effect.value
    return value_OxC, optimisers


def _known(value_C: np.ndarray) -> np.ndarray:
    return value_C[~np.isnan(value_C)]


def frame(rows: Sequence[Row]) -> pd.DataFrame:
    """The table as it is stored: `optimum/regret.csv`."""
    return pd.DataFrame(
        [
            {
                "optimiser": row.optimiser,
                "cells": row.cells,
                "seeds": row.seeds,
                "regret": round(row.effect.value, DIGITS),
                "low": round(row.effect.ci[0], DIGITS),
                "high": round(row.effect.ci[1], DIGITS),
                "behind": None if row.behind is None else round(row.behind.value, DIGITS),
                "p_holm": None if row.p_holm is None else float(f"{row.p_holm:.2g}"),
            }
            for row in rows
        ]
    )


def frame_of_cells(found: Sequence[Regret]) -> pd.DataFrame:
    """Every regret as it is stored: `optimum/regret_cells.csv`."""
    return pd.DataFrame(
        [
            {
                "cell": each.cell,
                "optimiser": each.optimiser,
                "mix": each.mix,
                "share": round(each.share, DIGITS),
                "regret": round(each.effect.value, DIGITS),
                "low": round(each.effect.ci[0], DIGITS),
                "high": round(each.effect.ci[1], DIGITS),
                "seeds": len(each.by_seed),
                "missing": each.missing,
            }
            for each in found
        ]
    )

"""The stored regrets: how far each optimiser's corpora stayed behind the best ones, over embedded worlds and budgets.

`regret.csv`, beside this file, is the table that the verb `regret` writes. The default source of `optimize` is the one with the
least regret there; without a table it is the paper's.
"""

import dataclasses
import math
from collections.abc import Collection
from pathlib import Path

import pandas as pd

from babel_jax.common.errors import UserError
from babel_jax.common.run_names import ALGORITHM1
from babel_jax.optimum import peak_tokens, share_sources
from babel_jax.optimum.algorithm1 import DEFAULT_SOURCE
from babel_jax.optimum.cell_regrets import in_order

FILE = Path(__file__).with_name("regret.csv")
COLUMNS = ("optimiser", "cells", "seeds", "regret", "low", "high")
SOURCES = (*share_sources.SOURCES, share_sources.CALIBRATED, peak_tokens.SOURCE)  # that `optimize` can ask


@dataclasses.dataclass(frozen=True)
class Row:
    """The mean regret of an optimiser over cells, each a world at one budget.

    Attributes:
      optimiser: the name of the mix that it asks for, such as "algorithm1_loss".
      cells, seeds: how many it was tested in.
      regret, low, high: in accuracy, with the 95 % interval over cells; NaN: one cell has none.
    """

    optimiser: str
    cells: int
    seeds: int
    regret: float
    low: float
    high: float

    def __str__(self) -> str:
        interval = "" if math.isnan(self.low) else f" [{100 * self.low:.1f}, {100 * self.high:.1f}]"
        cells = f"{self.cells} cell{'s' * (self.cells != 1)}"
        return f"mean regret {100 * self.regret:.1f} points{interval} over {cells}, {self.seeds} seeds"


def stored() -> dict[str, Row]:
    """{optimiser: its row} of the stored table; {} where none is stored.

    Raises:
      UserError: the file lacks a column.
    """
    if not FILE.exists():
        return {}
    frame = pd.read_csv(FILE)
    if lacking := [name for name in COLUMNS if name not in frame]:
        raise UserError(f"{FILE} lacks the column {', '.join(lacking)}; write it again with the verb `regret`.")
    return {row.optimiser: Row(**row._asdict()) for row in frame[list(COLUMNS)].itertuples(index=False)}


def optimiser_of(source: str) -> str:
    """What a source of `optimize` is called in the table."""
    return source if source == peak_tokens.SOURCE else f"{ALGORITHM1}{source}"


def ranked(rows: dict[str, Row]) -> list[str]:
    """The sources in the table, as `cell_regrets.in_order` has them."""
    of_source = {source: rows[optimiser_of(source)] for source in SOURCES if optimiser_of(source) in rows}
    regret, cells = ({source: getattr(row, of) for source, row in of_source.items()} for of in ("regret", "cells"))
    return in_order(regret, cells)


def choose(available: Collection[str], rows: dict[str, Row]) -> tuple[str, str]:
    """(the default source among those that the input allows, why it is: a sentence).

    Args:
      available: at least one source.
      rows: of the table.
    """
    order = ranked(rows)
    fitting = [source for source in order if source in available]
    if not fitting:
        chosen = DEFAULT_SOURCE if DEFAULT_SOURCE in available else next(iter(available))
        known = "the stored regrets know none of the sources here" if order else "no regrets are stored"
        which = (
            "is the paper's"
            if chosen == DEFAULT_SOURCE
            else f"takes the place of the paper's, {DEFAULT_SOURCE}, which is not there"
        )
        return chosen, f"The source {chosen} {which}: {known}."
    chosen = fitting[0]
    before = order[: order.index(chosen)]
    passed = f", but for {', '.join(before)}, which this input does not allow" if before else ""
    return (
        chosen,
        f"The source {chosen} has the least mean regret of those tested{passed}: --source=NAME takes another.",
    )

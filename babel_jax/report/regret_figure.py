"""The regret of every optimiser over worlds and budgets, drawn from its tables: those that the package holds, or new ones."""

import matplotlib
import numpy as np
import pandas as pd

from babel_jax.common.statistics import Estimate
from babel_jax.optimum import regret_table
from babel_jax.report.drawing import CONTROL, FAINT, PROPOSAL, STYLE, Panel, dot_axes, make_axes, points_axis, table
from babel_jax.report.report_figure import ReportFigure
from babel_jax.study.candidates import candidate_of
from babel_jax.study.words import mix_title

WIDEST = 1.0  # an interval over few worlds may go on beyond what a difference of accuracies can be


def stored(name: str) -> pd.DataFrame | None:
    """A table of `optimum/` that configs/regret.py's cells gave; None before there was one."""
    file = regret_table.FILE.with_name(name)
    return pd.read_csv(file) if file.exists() else None


def draw(rows: pd.DataFrame, cells: pd.DataFrame):
    """(figure, table): mean regrets with their intervals over cells, a small dot for each cell.

    Args:
      rows, cells: as `cell_regrets.frame` and `cell_regrets.frame_of_cells` make them.
    """
    with matplotlib.rc_context(STYLE):
        figure, axes = make_axes(1, 0.3 * len(rows) + 1.2)
        panel, places = Panel(axes[0, 0], "regret", []), np.arange(len(rows))[::-1]
        for y, row in zip(places, rows.itertuples(), strict=True):
            here = cells[(cells["optimiser"] == row.optimiser).to_numpy(bool) & cells["regret"].notna().to_numpy(bool)]
            panel.ax.plot(here["regret"], np.full(len(here), y), "o", color=FAINT, alpha=0.35, markersize=3.5)
            for one in here.itertuples():
                panel.named("cells").record(f"{row.optimiser}, {one.cell}", value=one.regret, ci=(one.low, one.high))
            interval = tuple(np.clip((row.low, row.high), -WIDEST, WIDEST))
            panel.point(
                row.optimiser, y, Estimate(row.regret, interval), CONTROL if _is_rival(row.optimiser) else PROPOSAL
            )
        dot_axes(panel.ax, places, [f"{mix_title(row.optimiser)} ({row.cells})" for row in rows.itertuples()])
        points_axis(panel.ax)
        panel.ax.set_xlabel("regret: points behind the best mix of the sweep")
        return figure, table(panel.rows)


def _is_rival(optimiser: str) -> bool:
    candidate = candidate_of(optimiser)
    return candidate is None or candidate.is_rival


def _of_package(findings):
    rows, cells = stored("regret.csv"), stored("regret_cells.csv")
    return None if rows is None or cells is None else draw(rows, cells)


def _caption(findings, language) -> str:
    names = sorted(stored("regret_cells.csv")["cell"].unique())
    return (
        f"Not of this study: what configs/regret.py gave in {len(names)} worlds and budgets ({', '.join(names)}), five fresh "
        "seeds each. How far the corpus that each optimiser asks for, trained from scratch, stays behind the best mix of a "
        "sweep, in the new language's accuracy. Small dots: one world and budget; bars: 95 %, Student t over them; in brackets: "
        "in how many it could be tested."
    )


REGRET = ReportFigure(
    name="regret",
    title="Which optimiser is right, over worlds",
    chapter="corpus",
    draw=_of_package,
    caption=_caption,
    without="no table of regrets is stored with this version",
    of_study=True,
)

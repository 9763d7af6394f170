"""How the report's figures are drawn: colours, axes, curves, labels, and the table of what a figure draws."""

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from babel_jax.languages import LANGUAGES
from babel_jax.report.words import minus

# Colours keep their meaning on every figure. Okabe-Ito hues, darkened where thin lines need it.
NEW, PRIMARY, CONTROL, KNOWLEDGE, PROPOSAL = "#0B6FB8", "#D4800A", "#7D8590", "#00846B", "#B3417A"
NEW_LIGHT, INK, FAINT, GRID = "#6FB4E3", "#24292F", "#57606A", "#E6E9ED"
STAGE_TINT = {"translation": "#EEF5FB", "transition": "#FDF1E4", "stabilisation": "#EEF6F1"}
DEPTHS = ("#5AA5DC", "#0A2A47")  # first and last layer
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.labelsize": 8.5,
    "axes.labelcolor": FAINT,
    "axes.edgecolor": "#C3C9D0",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "text.color": INK,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "svg.fonttype": "none",
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}
LANGUAGE_COLOURS = dict(zip(LANGUAGES, (PRIMARY, NEW, PROPOSAL, KNOWLEDGE, "#6A5ACD"), strict=False))


# --- drawing ----------------------------------------------------------------------------------------------------


def make_axes(columns: int, height: float, rows: int = 1, **keywords):
    """(figure, axes [rows, columns]) of the width of a page."""
    figure = Figure(figsize=(9.6, height), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.06, wspace=0.04)
    return figure, figure.subplots(rows, columns, squeeze=False, **keywords)


def is_curve(curve: dict | None) -> bool:
    """Whether there is a line to draw: two checkpoints or more."""
    return curve is not None and len(curve["steps"]) > 1


def draw_curve(
    ax, rows: list, panel: str, series: str, curve: dict, colour: str, dash="-", band=True, **keywords
) -> None:
    """Draws a curve with its interval, and appends what is drawn to `rows` (see `curve_table`)."""
    steps, mean, low, high = (np.asarray(curve[name], float) for name in ("steps", "mean", "low", "high"))
    if band:
        ax.fill_between(steps, low, high, color=colour, alpha=0.13, linewidth=0)
    ax.plot(steps, mean, dash, color=colour, **keywords)
    for x, *values in zip(steps, mean, low, high, strict=True):
        rows.append((panel, series, x, *values))


def step_axis(ax, steps) -> None:
    """Steps on an axis that begins at 0 and goes on logarithmically, as the checkpoints do."""
    unit = float(steps[1]) if len(steps) > 1 else 1.0
    ax.set_xscale("function", functions=(lambda x: np.log2(1 + np.maximum(x, 0) / unit), lambda y: unit * (2**y - 1)))
    last = float(steps[-1])
    ticks = [0.0]
    while ticks[-1] < last:
        ticks.append(max(2 * ticks[-1], 2 * unit))
    ticks = [tick for tick in ticks if tick < 0.75 * last][:: 1 if len(ticks) < 9 else 2] + [last]
    ax.set_xticks(ticks, [f"{tick:,.0f}" for tick in ticks])
    ax.set_xlim(0, last or unit)  # one checkpoint at step 0 is a point
    ax.set_xlabel("optimiser steps")


def shade(ax, stages: dict | None, names: bool = True) -> None:
    for name, bounds in (stages or {}).items():
        if bounds is None or bounds[0] == bounds[1]:
            continue
        ax.axvspan(*bounds, color=STAGE_TINT[name], linewidth=0, zorder=0)
        if names:
            scale = ax.transData + ax.transAxes.inverted()
            left, right = (scale.transform((x, 0))[0] for x in bounds)
            last = right > 0.99  # beside the axes stand the names of the lines
            ax.text(
                right if last else (left + right) / 2,
                1.015,
                name,
                transform=ax.transAxes,
                ha="right" if last else "center",
                va="bottom",
                fontsize=7.5,
                color=FAINT,
            )


def label_ends(ax, entries: list[tuple[float, str, str]], gap: float = 0.066) -> None:
    """Names beside the right ends of lines: (y in data, text, colour); pushed apart where they would touch."""
    entries = sorted(entry for entry in entries if np.isfinite(entry[0]))
    if not entries:
        return
    low, high = ax.get_ylim()
    place = np.array([(y - low) / (high - low) for y, _, _ in entries])
    wanted = place.copy()
    for _ in range(200):
        for i in range(len(place) - 1):
            short = gap - (place[i + 1] - place[i])
            if short > 1e-6:
                place[i] -= short / 2
                place[i + 1] += short / 2
    place += np.mean(wanted - place)
    place += max(0.0, 0.02 - place[0]) - max(0.0, place[-1] - 0.99)
    for y, (_, text, colour) in zip(place, entries, strict=True):
        ax.text(1.015, y, text, transform=ax.transAxes, color=colour, va="center", fontsize=8)


def percent_axis(ax, axis: str = "y", top: float = 1.0) -> None:
    ticks = np.array([0, 0.25, 0.5, 0.75, 1])
    getattr(ax, f"set_{axis}ticks")(ticks, [f"{100 * tick:.0f} %" for tick in ticks])
    getattr(ax, f"set_{axis}lim")(0, top)


def depth_colour(layer: int, layers: int) -> str:
    first, last = (np.array(matplotlib.colors.to_rgb(colour)) for colour in DEPTHS)
    return matplotlib.colors.to_hex(first + (last - first) * (layer / max(layers - 1, 1)))


def curve_table(rows: list) -> pd.DataFrame:
    """The table of what a figure draws."""
    return pd.DataFrame(rows, columns=["panel", "series", "x", "value", "low", "high"])


def draw_point(ax, rows: list, panel: str, series: str, y: float, point: dict, colour: str, **keywords) -> None:
    """A value at height `y` with its interval, as the row of a dot plot; what is drawn goes to `rows`."""
    ax.plot(point["ci"], [y, y], color=colour, linewidth=2, solid_capstyle="butt")
    style = {"markersize": 7, "markeredgecolor": "white"} | keywords
    ax.plot(point["value"], y, style.pop("marker", "o"), color=colour, **style)
    rows.append((panel, series, np.nan, point["value"], *point["ci"]))


def dot_axes(ax, places, labels, gap: float = 0.6) -> None:
    """The axes of a dot plot: one labelled row a place, from the top down, grid lines across."""
    ax.set_yticks(places, labels)
    ax.set_ylim(min(places) - gap, max(places) + gap)
    ax.grid(True, axis="x")
    ax.grid(False, axis="y")


def points_axis(ax) -> None:
    """Differences of shares along the x axis, in points."""
    ax.axvline(0, color=FAINT, linewidth=0.9)
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.xaxis.set_major_formatter(lambda value, _: minus(f"{round(100 * value, 1):+g}") if value else "0")


def language_colour(language: str) -> str:
    """The colour of a language where several are on one figure."""
    return LANGUAGE_COLOURS.get(language, NEW)

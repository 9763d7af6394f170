"""How the report's figures are drawn: colours, axes, curves, labels, and the table of what a figure draws."""

import dataclasses
import io
from collections.abc import Callable

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from babel_jax.common.statistics import Estimate
from babel_jax.evolution.curve import Curve
from babel_jax.evolution.mechanism import Drift
from babel_jax.languages.registry import LANGUAGES
from babel_jax.study import words
from babel_jax.study.words import minus

# Colours keep their meaning on every figure. Okabe-Ito hues, darkened where thin lines need it.
NEW, PRIMARY, CONTROL, KNOWLEDGE, PROPOSAL = "#0B6FB8", "#D4800A", "#7D8590", "#00846B", "#B3417A"
NEW_LIGHT, INK, FAINT, GRID = "#6FB4E3", "#24292F", "#57606A", "#E6E9ED"
NO_VALUE = "no value at any checkpoint"
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


@dataclasses.dataclass(frozen=True)
class Line:
    """What is drawn of a curve: steps, mean, and the bounds of its interval, each [C]."""

    steps: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclasses.dataclass(frozen=True)
class Panel:
    """Axes on which whatever is drawn is also recorded, as rows of the table beside the figure.

    Attributes:
      ax: Matplotlib axes.
      name: in the table's column `panel`.
      rows: what was drawn, by all panels of a figure: (panel, series, x, value, low, high); see `table`.
    """

    ax: Axes
    name: str
    rows: list[tuple]

    def named(self, name: str) -> "Panel":
        """The same axes under another name in the table."""
        return dataclasses.replace(self, name=name)

    def record(self, series: str, x=np.nan, value=np.nan, ci=(np.nan, np.nan)) -> None:
        """A row of the table, of something drawn by other means."""
        self.rows.append((self.name, series, x, value, *ci))

    def curve(self, series: str, curve: Curve | Line, colour: str, dash="-", band=True, width=None) -> None:
        """A curve with its interval."""
        steps, mean, low, high = (np.asarray(x, float) for x in (curve.steps, curve.mean, curve.low, curve.high))
        if band:
            self.ax.fill_between(steps, low, high, color=colour, alpha=0.13, linewidth=0)
        self.ax.plot(steps, mean, dash, color=colour, linewidth=width)
        if np.isnan(mean).all() and not any(text.get_text() == NO_VALUE for text in self.ax.texts):
            self.ax.text(0.5, 0.5, NO_VALUE, transform=self.ax.transAxes, ha="center", color=FAINT, fontsize=8)
        for x, value, *ci in zip(steps, mean, low, high, strict=True):
            self.record(series, x, value, ci)

    def point(self, series: str, y: float, point: Estimate, colour: str, marker: str = "o", size: float = 7) -> None:
        """A value at height `y` with its interval, as the row of a dot plot."""
        self.ax.plot(point.ci, [y, y], color=colour, linewidth=2, solid_capstyle="butt")
        self.ax.plot(point.value, y, marker, color=colour, markersize=size, markeredgecolor="white")
        self.record(series, value=point.value, ci=point.ci)


def table(rows: list[tuple]) -> pd.DataFrame:
    """The table of what a figure draws, from the rows of its panels."""
    return pd.DataFrame(rows, columns=["panel", "series", "x", "value", "low", "high"])


def is_curve(curve: Curve | Drift | None) -> bool:
    """Whether there is a line to draw: two checkpoints or more."""
    return curve is not None and len(curve.steps) > 1


@dataclasses.dataclass(frozen=True)
class Unit:
    """What an axis of checkpoints counts.

    Attributes:
      tick: a number of it as text; most_ticks: more are thinned out.
      from_zero: whether the axis begins at 0, or at the first checkpoint.
    """

    name: str
    tick: Callable[[float], str]
    most_ticks: int
    from_zero: bool


STEPS = Unit("optimiser steps", lambda step: f"{step:,.0f}", most_ticks=8, from_zero=True)
TOKENS = Unit("tokens", words.short_amount, most_ticks=4, from_zero=False)


def step_axis(ax, steps, counted: Unit = STEPS) -> None:
    """Steps on an axis that begins at 0, or at the first, and goes on logarithmically, as the checkpoints do."""
    unit = float(steps[1]) if len(steps) > 1 else 1.0
    first = 0.0 if counted.from_zero or len(steps) < 2 else float(steps[0])
    ax.set_xscale("function", functions=(lambda x: np.log2(1 + np.maximum(x, 0) / unit), lambda y: unit * (2**y - 1)))
    last = float(steps[-1])
    ticks = [first]
    while ticks[-1] < last:
        ticks.append(max(2 * ticks[-1], 2 * unit))
    every = 1 if len(ticks) <= counted.most_ticks else max(2, -(-len(ticks) // (2 * counted.most_ticks)))
    ticks = [tick for tick in ticks if tick < 0.75 * last][::every] + [last]
    ax.set_xticks(ticks, [counted.tick(tick) for tick in ticks])
    ax.set_xlim(first, last or unit)  # one checkpoint at step 0 is a point
    ax.set_xlabel(counted.name)


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


@dataclasses.dataclass(frozen=True)
class Label:
    """A name beside a point, x and y in data."""

    x: float
    y: float
    text: str
    colour: str


def label_points(ax, labels: list[Label], covered: list[tuple[float, float]]) -> None:
    """Names beside points: each takes the nearest of several places around its point that covers no other name.

    `covered`: other places (x, y) that a name should not lie over, such as points on a line. The x axis is from 0 to 1.
    """
    low, high = ax.get_ylim()
    width, height = 0.0063, 0.042  # of a letter and of a line, in axes units
    points = [(label.x, label.y) for label in labels] + covered
    marks = [(x, (y - low) / (high - low)) for x, y in points]
    marks = [(x - 0.008, y - 0.015, x + 0.008, y + 0.015) for x, y in marks]
    ups = (0, *(sign * step for step in np.arange(1, 16) * 0.03 for sign in (1, -1)))
    named = []
    for label in sorted(labels, key=lambda label: -label.y):
        x, at, size = label.x, (label.y - low) / (high - low), width * len(label.text) + 0.005
        boxes = [
            (left, at + up - height / 2, left + size, at + up + height / 2)
            for up in ups
            for away in (0.012, 0.06, 0.12)
            for left in (x + away, x - away - size)
            if 0 < left < 1 - size and height < 2 * (at + up) < 2 - height
        ]
        if not boxes:
            continue

        def cost(box, x=x, at=at):
            """A name over a name cannot be read, a name over a mark or a line can; far away it is not understood."""
            over_names, over_marks = (sum(_touch(box, other) for other in others) for others in (named, marks))
            far = min(abs(box[0] - x), abs(box[2] - x)) + abs((box[1] + box[3]) / 2 - at)
            return 100 * over_names + over_marks + 10 * far

        box = min(boxes, key=cost)
        named.append(box)
        middle, end = (box[1] + box[3]) / 2, box[0] if box[0] > x else box[2]
        ax.text(box[0], middle, label.text, transform=ax.transAxes, fontsize=7.5, color=label.colour, va="center")
        if abs(middle - at) > 0.05 or abs(end - x) > 0.03:
            ax.plot([x, end], [at, middle], color=label.colour, linewidth=0.6, alpha=0.6, transform=ax.transAxes)


def _touch(one, other) -> bool:
    """Whether two boxes (left, bottom, right, top) overlap."""
    return one[0] < other[2] and one[2] > other[0] and one[1] < other[3] and one[3] > other[1]


def reference(ax, x: float | None = None, y: float | None = None, colour: str = FAINT) -> None:
    """A dotted line across, at a height or a place; neither: the diagonal from 0 to 1."""
    dotted = {"color": colour, "linewidth": 0.9, "linestyle": (0, (2, 3))}
    if x is not None:
        ax.axvline(x, **dotted)
    elif y is not None:
        ax.axhline(y, **dotted)
    else:
        ax.plot([0, 1], [0, 1], **dotted)


def beside(ax, at: tuple[float, float], text: str, colour: str, offset=(8, 0), **keywords) -> None:
    """Small text beside a place on the axes; `offset` is in points."""
    ax.annotate(text, at, xytext=offset, textcoords="offset points", fontsize=7.5, color=colour, **keywords)


def percent_axis(ax, axis: str = "y", top: float = 1.0) -> None:
    ticks = np.array([0, 0.25, 0.5, 0.75, 1])
    getattr(ax, f"set_{axis}ticks")(ticks, [f"{100 * tick:.0f} %" for tick in ticks])
    getattr(ax, f"set_{axis}lim")(0, top)


def depth_colour(layer: int, layers: int) -> str:
    first, last = (np.array(matplotlib.colors.to_rgb(colour)) for colour in DEPTHS)
    return matplotlib.colors.to_hex(first + (last - first) * (layer / max(layers - 1, 1)))


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


# --- files ------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Drawn:
    """A figure of a study as files.

    Attributes:
      name: of the figure; language: the new language that it is about; None: the whole study.
      stem: of its files' names.
      svg, png, csv: their contents; the last is the table of what is drawn.
      empty: names of its panels that have nothing but curves without a value.
    """

    name: str
    language: str | None
    stem: str
    svg: str
    png: bytes
    csv: str
    empty: tuple[str, ...] = ()


def svg(figure: Figure, name: str) -> str:
    """The figure as SVG text, the same bytes every time; `name` keeps the ids of several figures on one page apart."""
    buffer = io.StringIO()
    with matplotlib.rc_context(STYLE | {"svg.hashsalt": name, "svg.id": f"figure-{name}"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(buffer, format="png", dpi=160, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()

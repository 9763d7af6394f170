"""What a study's page and that of a probe both show of the inside of a model, drawn from curves.

Each function draws on a `Panel` that it is given and knows of no findings: which curves they are, and what stands beside
them, is said by `mechanism_figures.py` and `share_figures.py` for a study and by `probe_figures.py` for a probe.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from babel_jax.common.statistics import Estimate
from babel_jax.evolution.curve import Curve, evenly
from babel_jax.report.drawing import (
    CONTROL,
    FAINT,
    NEW,
    STEPS,
    Line,
    Panel,
    Unit,
    depth_colour,
    dot_axes,
    label_ends,
    make_axes,
    percent_axis,
    step_axis,
)
from babel_jax.study.words import minus

MOST_LAYERS = 6  # of a lens in one panel


@dataclasses.dataclass(frozen=True)
class Series:
    """A curve as a panel shows it; `name` stands beside its end and in the table."""

    name: str
    curve: Curve | Line
    colour: str
    dash: str = "-"
    width: float | None = None


def series(panel: Panel, shown: Sequence[Series], y_axis: Callable, unit: Unit = STEPS, gap: float = 0.075) -> None:
    """Curves with their intervals over the checkpoints of the first of them, each with its name at its end.

    `y_axis`: sets up the y axis of the axes it is given, once the curves are drawn.
    """
    if shown:
        step_axis(panel.ax, shown[0].curve.steps, unit)
    for one in shown:
        panel.curve(one.name, one.curve, one.colour, one.dash, width=one.width)
    y_axis(panel.ax)
    label_ends(panel.ax, [(one.curve.mean[-1], one.name, one.colour) for one in shown], gap=gap)


def layer_series(layers: Sequence[Curve | Line | None]) -> list[Series]:
    """One line a layer, of evenly spread ones where all would be too many."""
    return [
        Series(f"layer {index + 1}", layers[index], depth_colour(index, len(layers)), width=1.6)
        for index in evenly(len(layers), MOST_LAYERS).tolist()
        if layers[index] is not None
    ]


def by_layer(panel: Panel, shown: Sequence[Series], y_axis: Callable, gap: float = 0.075) -> None:
    """Curves over the layers of a model at one checkpoint (their `steps` are layers, from 1 on); otherwise as `series`."""
    for one in shown:
        panel.curve(one.name, one.curve, one.colour, one.dash, width=one.width)
        panel.ax.plot(one.curve.steps, one.curve.mean, "o", color=one.colour, markersize=3)
    panel.ax.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    last = max(one.curve.steps[-1] for one in shown)
    panel.ax.set_xlim(min(1, last - 1), last)  # one layer is a point
    panel.ax.set_xlabel("layer")
    y_axis(panel.ax)
    label_ends(panel.ax, [(one.curve.mean[-1], one.name, one.colour) for one in shown], gap=gap)


def share_axis(ax) -> None:
    """A share along y."""
    percent_axis(ax, top=1.02)


def difference_axis(ax) -> None:
    """A difference of shares along y, in points."""
    ax.axhline(0, color=FAINT, linewidth=0.9)
    low, high = ax.get_ylim()  # bounds of an interval may lie beyond what can be
    ax.set_ylim(np.clip(low, -1.02, -0.05), np.clip(high, 0.05, 1.02))
    ax.yaxis.set_major_locator(MaxNLocator(5))
    ax.yaxis.set_major_formatter(lambda value, _: minus(f"{round(100 * value, 1):+g}") if value else "0")
    ax.set_ylabel("points")


def counts_axis(shown: Sequence[Series]) -> Callable:
    """Sets up an axis of numbers of neurons, from 0 to a little above the largest bound."""
    tops = [value for one in shown for value in np.fmax(one.curve.mean, one.curve.high) if np.isfinite(value)]

    def y_axis(ax) -> None:
        ax.set_ylim(0, 1.12 * max(tops, default=0) or 1)  # none at all: still an axis
        ax.set_ylabel("neurons")

    return y_axis


def counts(panel: Panel, shown: Sequence[Series], unit: Unit = STEPS) -> None:
    """Numbers of neurons over checkpoints."""
    series(panel, shown, counts_axis(shown), unit, gap=0.09)


LOSS_TITLES = {  # metric -> (title, unit)
    "loss": ("Loss, all tokens", "nats per token"),
    "loss_knowledge": ("Loss, knowledge-bearing tokens", "nats per token"),
    "bits_per_byte": ("Bits per byte", "bits per byte"),
}


def losses(panel: Panel, shown: Sequence[Series], unit: Unit = STEPS) -> None:
    """Held-out losses of the metric that the panel is named by."""
    title, of = LOSS_TITLES[panel.name]

    def y_axis(ax) -> None:
        ax.set_ylim(0, None)
        ax.set_title(title)
        ax.set_ylabel(of)

    series(panel, shown, y_axis, unit)


# --- births and deaths ----------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Flow:
    """A part of a set of neurons along C checkpoints: how many entered and left it since the checkpoint before, and its size.

    `panel`: in the table; `name`: beside the end of its line.
    """

    panel: str
    name: str
    colour: str
    births_C: np.ndarray
    deaths_C: np.ndarray
    size_C: np.ndarray


def come_and_go(flow, sizes, rows: list, steps, parts: Sequence[Flow], unit: Unit = STEPS) -> None:
    """Births and deaths as bars on `flow`, one on the other, sizes as lines on `sizes`; `rows` as of `Panel`."""
    places, up, down, labels = np.arange(len(steps)), np.zeros(len(steps)), np.zeros(len(steps)), []
    step_axis(sizes, steps, unit)
    for part in parts:
        panel = Panel(sizes, part.panel, rows)
        flow.bar(places, part.births_C, bottom=up, color=part.colour, width=0.75)
        flow.bar(places, -part.deaths_C, bottom=-down, color=part.colour, width=0.75, alpha=0.55)
        up, down = up + np.nan_to_num(part.births_C), down + np.nan_to_num(part.deaths_C)
        sizes.plot(steps, part.size_C, color=part.colour, linewidth=1.6)
        labels.append((part.size_C[-1], part.name, part.colour))
        for name, values_C in (("births", part.births_C), ("deaths", part.deaths_C), ("size", part.size_C)):
            for step, value in zip(steps, values_C, strict=True):
                panel.record(name, step, value)
    flow.axhline(0, color=FAINT, linewidth=0.9)
    every = max(1, len(steps) // 8)
    flow.set_xticks(places[::every], [unit.tick(step) for step in steps[::every]])
    flow.set_xlabel(unit.name)
    flow.yaxis.set_major_formatter(lambda value, _: f"{abs(value):.0f}")
    for ax in (flow, sizes):
        ax.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    sizes.set_ylim(0, None)
    label_ends(sizes, labels, gap=0.085)


# --- causes ---------------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Ablated:
    """What a change of some neurons did, beside what the same change of random sets of as many did; `name`: in the table."""

    row: str
    name: str
    change: Estimate
    random: Estimate


def beside_random(titles: dict[str, str], shown: dict[str, Sequence[Ablated]], x_axis, x_label: str):
    """(figure, rows): a dot plot for each panel of `titles` {name: title}, one row a set of neurons.

    `shown`: by panel; `x_axis`: sets up the axis of the changes.
    """
    labels = list(dict.fromkeys(one.row for name in titles for one in shown[name]))
    figure, axes = make_axes(len(titles), 0.46 * len(labels) + 1.5, sharey=True)
    rows, places = [], np.arange(len(labels))[::-1]
    for ax, (name, title) in zip(axes[0], titles.items(), strict=True):
        panel = Panel(ax, name, rows)
        for one in shown[name]:
            y = places[labels.index(one.row)]
            panel.point(f"{one.name}, random sets", y - 0.16, one.random, CONTROL, size=5)
            panel.point(one.name, y + 0.12, one.change, NEW)
        dot_axes(ax, places, labels)
        x_axis(ax)
        ax.set_title(title)
        ax.set_xlabel(x_label)
    handles = [
        Line2D([], [], marker="o", color=colour, label=label)
        for colour, label in ((NEW, "these neurons"), (CONTROL, "random sets of as many"))
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=2, frameon=False, fontsize=8, handlelength=1)
    return figure, rows

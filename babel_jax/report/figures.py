"""The paper's figures, each with the table of what it draws. Deterministic: same curves, same bytes.

Every figure function takes `(curves, proposals, study)` and returns `(figure, table)`, or None where its measurements
are missing. The table holds exactly what is drawn: columns panel, series, x, value, low, high.
"""

import io

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from babel_jax.evolution import measured
from babel_jax.languages import LANGUAGES
from babel_jax.optimum import algorithm1

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
DEFINITION_NAMES = {
    "functional": "functional: active as on the primary",
    "pair_shared": "pair_shared: LAPE, of both languages",
    "lape_target": "lape_target: LAPE, as in the paper",
}
SOURCE_NAMES = {"loss": "loss", "loss_knowledge": "knowledge-bearing loss", "knowledge_share": "knowledge share"}


def language_name(language: str) -> str:
    """How a language is written in text; a role that is no known language (a corpus of its own) keeps its name."""
    return LANGUAGES[language].title if language in LANGUAGES else language


# --- drawing ----------------------------------------------------------------------------------------------------


def make_axes(columns: int, height: float, rows: int = 1, **keywords):
    """(figure, axes [rows, columns]) of the width of a page."""
    figure = Figure(figsize=(9.6, height), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.06, wspace=0.04)
    return figure, figure.subplots(rows, columns, squeeze=False, **keywords)


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
    ax.set_xlim(0, last)
    ax.set_xlabel("optimiser steps")


def _shade(ax, stages: dict | None, names: bool = True) -> None:
    for name, bounds in (stages or {}).items():
        if bounds is None or bounds[0] == bounds[1]:
            continue
        ax.axvspan(*bounds, color=STAGE_TINT[name], linewidth=0, zorder=0)
        if names:
            scale = ax.transData + ax.transAxes.inverted()
            left, right = (scale.transform((x, 0))[0] for x in bounds)
            ax.text(
                (left + right) / 2,
                1.015,
                name,
                transform=ax.transAxes,
                ha="center",
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


def _percent(ax, axis: str = "y", top: float = 1.0) -> None:
    ticks = np.array([0, 0.25, 0.5, 0.75, 1])
    getattr(ax, f"set_{axis}ticks")(ticks, [f"{100 * tick:.0f} %" for tick in ticks])
    getattr(ax, f"set_{axis}lim")(0, top)


def _depth_colour(layer: int, layers: int) -> str:
    first, last = (np.array(matplotlib.colors.to_rgb(colour)) for colour in DEPTHS)
    return matplotlib.colors.to_hex(first + (last - first) * (layer / max(layers - 1, 1)))


def curve_table(rows: list) -> pd.DataFrame:
    """The table of what a figure draws."""
    return pd.DataFrame(rows, columns=["panel", "series", "x", "value", "low", "high"])


# --- the figures ------------------------------------------------------------------------------------------------


def performance(curves: dict, proposals: dict, study: dict):
    """Accuracy of both languages over continual pre-training with the control, and the knowledge share."""
    primary, new = curves["primary"], curves["new"]
    accuracy, shares = curves["accuracy"], curves["knowledge"]
    lines = [
        (("control", new, "all"), f"control, {language_name(new)}", CONTROL, "--"),
        (("continual", primary, "all"), f"{language_name(primary)}", PRIMARY, "-"),
        (("continual", new, "shared"), f"{language_name(new)}, S", NEW_LIGHT, "-"),
        (("continual", new, "transfer"), f"{language_name(new)}, T\\S", NEW, ":"),
        (("continual", new, "all"), f"{language_name(new)}, all", NEW, "-"),
    ]
    lines = [line for line in lines if line[0] in accuracy]
    if ("continual", new, "all") not in accuracy:
        return None
    figure, axes = make_axes(2 if shares else 1, 3.5, width_ratios=[1.55, 1] if shares else None)
    rows, steps, ax = [], accuracy["continual", new, "all"]["steps"], axes[0, 0]
    step_axis(ax, steps)
    _percent(ax, top=1.02)
    ax.set_title("Accuracy" if study["kind"] == "organism" else "Identifier accuracy", pad=18)
    _shade(ax, curves["stages"])
    for key, name, colour, dash in lines:
        bold = key[0] == "continual" and key[1:] == (new, "all")
        draw_curve(ax, rows, "accuracy", name, accuracy[key], colour, dash, linewidth=2.6 if bold else 1.5)
    label_ends(ax, [(accuracy[key]["mean"][-1], name, colour) for key, name, colour, _ in lines])
    if curves["stages"]:
        peak = measured.at(accuracy["continual", new, "all"], curves["decline"]["peak_step"])
        ax.plot(curves["decline"]["peak_step"], peak["value"], "o", color=NEW, markersize=6, markeredgecolor="white")
    if shares:
        ax = axes[0, 1]
        step_axis(ax, steps)
        _percent(ax, top=1.02)
        ax.set_title("Knowledge share", pad=18)
        _shade(ax, curves["stages"], names=False)
        labels = []
        for run, name, colour, dash in (
            ("control", "control", CONTROL, "--"),
            ("continual", "continual", KNOWLEDGE, "-"),
        ):
            if run in shares:
                draw_curve(ax, rows, "knowledge share", name, shares[run], colour, dash)
                labels.append((shares[run]["mean"][-1], name, colour))
        ceiling = shares["continual"]["ceiling"]
        ax.axhline(ceiling, color=FAINT, linewidth=0.9, linestyle=(0, (2, 3)))
        ax.text(
            steps[-1],
            ceiling + 0.015,
            "ceiling: every problem solved",
            ha="right",
            va="bottom",
            fontsize=7.5,
            color=FAINT,
        )
        rows.append(("knowledge share", "ceiling", np.nan, ceiling, np.nan, np.nan))
        label_ends(ax, labels)
    return figure, curve_table(rows)


def working_language(curves: dict, proposals: dict, study: dict):
    """Share of the primary's identifiers in the lens of each layer; the control in a row of its own."""
    metrics = {
        "primary_share_pair": "by pairs",
        "primary_share_prob": "by probability",
        "primary_share_argmax": "by argmax",
    }
    runs = [run for run in ("continual", "control") if any(key[0] == run for key in curves["lens"])]
    if not runs:
        return None
    figure, axes = make_axes(len(metrics), 2.7 * len(runs) + 0.3, rows=len(runs), sharey=True)
    rows = []
    for row, run in enumerate(runs):
        for column, (metric, name) in enumerate(metrics.items()):
            ax, layers = axes[row, column], curves["lens"].get((run, metric), [])
            drawn = _some(len(layers))
            labels = []
            for index, layer in enumerate(layers):
                if layer is None:
                    continue
                if index == drawn[0]:
                    step_axis(ax, layer["steps"])
                if index in drawn:
                    colour = _depth_colour(index, len(layers))
                    draw_curve(ax, rows, f"{run}, {metric}", f"layer {index + 1}", layer, colour, linewidth=1.6)
                    labels.append((layer["mean"][-1], f"layer {index + 1}", colour))
            _percent(ax, top=1.02)
            if run == "continual":
                _shade(ax, curves["stages"], names=False)
            ax.set_title(f"{run.capitalize()}, {name}")
            if row < len(runs) - 1:
                ax.set_xlabel("")
            label_ends(ax, labels, gap=0.085)
    return figure, curve_table(rows)


def _some(layers: int, most: int = 6) -> list[int]:
    """Evenly spread layers where all would be too many lines."""
    return sorted(set(np.linspace(0, layers - 1, min(layers, most)).round().astype(int).tolist())) if layers else [0]


def neurons(curves: dict, proposals: dict, study: dict):
    """Transferring neurons by three definitions with the control, and the LAPE count's sensitivity to its cut."""
    definitions = [name for name in DEFINITION_NAMES if ("continual", name) in curves["neurons"]]
    panels = len(definitions) + bool(curves["sensitivity"])
    if not definitions:
        return None
    columns = panels if panels <= 3 else 2
    figure, axes = make_axes(columns, 2.75 * (-(-panels // columns)), rows=-(-panels // columns))
    rows, places = [], list(axes.flat)
    for ax, definition in zip(places, definitions, strict=False):
        here = {run: curves["neurons"].get((run, definition)) for run in ("control", "continual")}
        step_axis(ax, here["continual"]["steps"])
        labels = []
        for run, colour, dash in (("control", CONTROL, "--"), ("continual", NEW, "-")):
            if here[run] is not None:
                draw_curve(ax, rows, definition, run, here[run], colour, dash)
                labels.append((here[run]["mean"][-1], run, colour))
        tops = [np.nanmax(np.fmax(curve["mean"], curve["high"])) for curve in here.values() if curve is not None]
        ax.set_ylim(0, 1.12 * max(tops))
        _shade(ax, curves["stages"], names=False)
        ax.set_title(DEFINITION_NAMES[definition])
        ax.set_ylabel("neurons")
        label_ends(ax, labels, gap=0.09)
    if curves["sensitivity"]:
        ax = places[len(definitions)]
        rates = np.array([100 * point["top_rate"] for point in curves["sensitivity"]])
        change = np.array([point["value"] for point in curves["sensitivity"]])
        bounds = np.array([point["ci"] for point in curves["sensitivity"]])
        ax.axhline(0, color=FAINT, linewidth=0.9)
        ax.vlines(rates, *bounds.T, color=PROPOSAL, linewidth=1.4, alpha=0.6)
        ax.plot(rates, change, "o-", color=PROPOSAL, markersize=5, linewidth=1.2, markeredgecolor="white")
        ax.set_xscale("log")
        ax.set_xticks(rates, [f"{rate:g} %" for rate in rates], minor=False)
        ax.minorticks_off()
        ax.set_xlabel("cut: share of neurons that LAPE selects")
        ax.set_ylabel("change, peak to end")
        ax.set_title("LAPE: change for each cut")
        rows += [
            ("sensitivity", "change from peak to end", *x) for x in zip(rates / 100, change, *bounds.T, strict=True)
        ]
    for ax in places[panels:]:
        ax.set_visible(False)
    return figure, curve_table(rows)


def calibration(curves: dict, proposals: dict, study: dict):
    """Eq. 1's share against what was measured at the same checkpoints."""
    predicted = {
        metric: curves["primary_share"][metric]
        for metric in ("loss", "loss_knowledge")
        if curves["primary_share"].get(metric)
    }
    observed = curves["measured_shares"]
    if not predicted or not observed:
        return None
    figure, axes = make_axes(3, 3.5, sharey=True)
    rows = []
    for ax in axes[0, len(observed) :]:
        ax.set_visible(False)
    for ax, (name, curve) in zip(axes[0], observed.items(), strict=False):
        ax.plot([0, 1], [0, 1], color=FAINT, linewidth=0.9, linestyle=(0, (2, 3)))
        if ax is axes[0, 0]:
            ax.text(0.97, 0.93, "if Eq. 1 held", rotation=42, ha="right", va="center", fontsize=7.5, color=FAINT)
        for metric, colour, marker in (("loss", NEW, "o"), ("loss_knowledge", KNOWLEDGE, "D")):
            if metric not in predicted:
                continue
            steps, x = predicted[metric]["steps"], predicted[metric]["pooled"]
            common, left, right = np.intersect1d(steps, curve["steps"], return_indices=True)
            x, y = x[left], curve["mean"][right]
            ax.plot(x, y, "-", color=colour, linewidth=0.9, alpha=0.5)
            ax.plot(x, y, marker, color=colour, markersize=4.5, markeredgecolor="white", markeredgewidth=0.6,
                    label=f"P(l) from {SOURCE_NAMES[metric]}")  # fmt: skip
            at_peak = common == curves["decline"]["peak_step"]
            ax.plot(
                x[at_peak],
                y[at_peak],
                marker,
                markersize=9,
                markerfacecolor="none",
                markeredgecolor=colour,
                markeredgewidth=1.4,
            )
            rows += [
                (name, metric, *point) for point in zip(x, y, curve["low"][right], curve["high"][right], strict=True)
            ]
        ax.set_title(name.capitalize())
        ax.set_xlabel("P(l), Eq. 1")
        ax.grid(True, axis="both")
        _percent(ax, top=1.03)
        _percent(ax, "x", top=1.03)
    axes[0, 0].set_ylabel("measured share")
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(),
        loc="outside upper left",
        ncols=3,
        frameon=False,
        fontsize=8,
        handlelength=1,
    )
    return figure, curve_table(rows)


def optimum(curves: dict, proposals: dict, study: dict):
    """Accuracy of from-scratch mixes over the new language's token share, with what Algorithm 1 proposed."""
    sweep = curves["sweep"]
    if len(sweep) < 2:
        return None
    figure, axes = make_axes(1, 3.9)
    ax, rows = axes[0, 0], []
    share = np.array([mix["new_share"] for mix in sweep])
    mean = np.array([mix["value"] for mix in sweep])
    low, high = np.array([mix["ci"] for mix in sweep]).T
    ax.fill_between(share, low, high, color=NEW, alpha=0.12, linewidth=0)
    for mix in sweep:
        ax.plot(
            [mix["new_share"]] * len(mix["by_seed"]),
            mix["by_seed"],
            "o",
            color=NEW,
            alpha=0.35,
            markersize=3.5,
            markeredgewidth=0,
        )
        rows += [
            ("seeds", f"seed {seed}", mix["new_share"], value, np.nan, np.nan)
            for seed, value in zip(mix["seeds"], mix["by_seed"], strict=True)
        ]
    ax.plot(share, mean, "-o", color=NEW, linewidth=2, markersize=5.5, markeredgecolor="white")
    rows += [("sweep", "mean over seeds", *point) for point in zip(share, mean, low, high, strict=True)]
    best = int(mean.argmax())
    ax.plot(
        share[best], mean[best], "o", markersize=12, markerfacecolor="none", markeredgecolor=NEW, markeredgewidth=1.5
    )
    top = float(np.nanmax([np.nanmax(mean), *(np.max(mix["by_seed"]) for mix in sweep)]))
    peak = measured.at(curves["accuracy"].get(("continual", curves["new"], "all")), curves["decline"]["peak_step"])
    ceiling = min(1.0, top * 1.12)
    if peak is not None and peak["value"] <= 1.8 * top:
        ceiling = max(ceiling, min(1.0, peak["value"] * 1.05))
        ax.axhline(peak["value"], color=FAINT, linewidth=0.9, linestyle=(0, (2, 3)))
        ax.text(
            0.005,
            peak["value"] - 0.012 * ceiling,
            "peak of continual pre-training (another schedule)",
            va="top",
            fontsize=7.5,
            color=FAINT,
        )
        rows.append(("reference", "continual peak", np.nan, peak["value"], *peak["ci"]))
    marks = [
        (found["pairwise_share"], f"Algorithm 1, {SOURCE_NAMES[source]}", PROPOSAL, found["share_ci"])
        for source, found in proposals.items()
    ]
    marks.append((study["original_share"], "original", INK, None))
    ends: list[float] = []  # where the text on each line above the axes ends
    for x, text, colour, interval in sorted(marks, key=lambda mark: mark[0]):
        half = 0.0042 * len(text)
        level = next((i for i, end in enumerate(ends) if x - half > end), len(ends))
        ends[level : level + 1] = [x + half]
        ax.axvline(x, color=colour, linewidth=1.2, linestyle="-" if interval else "--")
        if interval and np.isfinite(interval).all():
            ax.axvspan(*interval, color=colour, alpha=0.06, linewidth=0)
        ax.annotate(text, (x, 1.02), xycoords=("data", "axes fraction"), xytext=(0, 11 * level),
                    textcoords="offset points", ha="center", va="bottom", fontsize=7.5, color=colour)  # fmt: skip
        rows.append(("proposals", text, x, np.nan, *(interval or (np.nan, np.nan))))
    ax.set_ylim(
        max(0, min(low[np.isfinite(low)].min(initial=1), min(np.min(mix["by_seed"]) for mix in sweep)) - 0.05), ceiling
    )
    ax.set_xlim(0, 1)
    ax.set_xticks(np.arange(0, 1.01, 0.1), [f"{10 * tick} %" for tick in range(11)])
    ax.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    ax.set_xlabel(f"token share of {language_name(curves['new'])} in the from-scratch mix")
    ax.set_ylabel(f"{language_name(curves['new'])} accuracy")
    return figure, curve_table(rows)


def original_optimised(curves: dict, proposals: dict, study: dict):
    """The original mix against each of Algorithm 1's proposals, paired over seeds."""
    original = algorithm1.mix_name(study["original_share"])
    compared = {
        source: algorithm1.compare_mixes(curves["sweep"], original, algorithm1.mix_name(found["pairwise_share"]))
        for source, found in proposals.items()
    }
    compared = {source: pair for source, pair in compared.items() if pair is not None}
    if not compared:
        return None
    figure, axes = make_axes(2, 0.62 * len(compared) + 1.5, width_ratios=[1.25, 1], sharey=True)
    rows, places = [], np.arange(len(compared))[::-1]
    left, right = axes[0]
    for y, (source, pair) in zip(places, compared.items(), strict=True):
        for i, (one, two) in enumerate(zip(pair["first_by_seed"], pair["second_by_seed"], strict=True)):
            offset = y + 0.13 * (i - (len(pair["seeds"]) - 1) / 2)
            left.plot([one, two], [offset, offset], color="#B8C0C8", linewidth=1.2, zorder=1)
            left.plot(
                one,
                offset,
                "o",
                color="white",
                markeredgecolor=INK,
                markersize=5.5,
                label="original mix" if y == 0 and i == 0 else None,
            )
            left.plot(
                two, offset, "o", color=PROPOSAL, markersize=5.5, label="optimised mix" if y == 0 and i == 0 else None
            )
            seed = pair["seeds"][i]
            rows += [
                (source, f"original, seed {seed}", np.nan, one, np.nan, np.nan),
                (source, f"optimised, seed {seed}", np.nan, two, np.nan, np.nan),
            ]
        right.plot(pair["ci"], [y, y], color=PROPOSAL, linewidth=2)
        right.plot(pair["value"], y, "o", color=PROPOSAL, markersize=7, markeredgecolor="white")
        rows.append((source, "difference", np.nan, pair["value"], *pair["ci"]))
    right.axvline(0, color=FAINT, linewidth=0.9)
    left.set_yticks(
        places,
        [
            f"P* from {SOURCE_NAMES[source]}\n{100 * proposals[source]['pairwise_share']:.1f} % "
            f"{language_name(curves['new'])}"
            for source in compared
        ],
    )
    left.set_ylim(-0.6, len(compared) - 0.4)
    left.set_title("Accuracy, one line a seed")
    right.set_title("Optimised minus original (paired)")
    for ax in (left, right):
        ax.grid(True, axis="x")
        ax.grid(False, axis="y")
        ax.xaxis.set_major_locator(MaxNLocator(5))
    left.xaxis.set_major_formatter(lambda value, _: f"{round(100 * value, 1):g} %")
    right.xaxis.set_major_formatter(lambda value, _: f"{round(100 * value, 1):+g} pts" if value else "0")
    figure.legend(
        *left.get_legend_handles_labels(), loc="outside upper left", ncols=2, frameon=False, fontsize=8, handlelength=1
    )
    return figure, curve_table(rows)


def patches(curves: dict, proposals: dict, study: dict):
    """Word accuracy on T\\S at the end with one part of the parameters put back to the peak."""
    parts = {
        "none": "nothing (the end as it is)",
        "embeddings": "embeddings",
        "ffn": "feed-forward layers",
        "blocks": "all blocks",
    }
    points = {part: measured.last(curves["patches"].get(part)) for part in parts}
    points = {part: point for part, point in points.items() if point is not None}
    if not points:
        return None
    figure, axes = make_axes(1, 0.42 * len(points) + 1.1)
    ax, rows = axes[0, 0], []
    places = np.arange(len(points))[::-1]
    for y, (part, point) in zip(places, points.items(), strict=True):
        colour = CONTROL if part == "none" else NEW
        ax.plot(point["ci"], [y, y], color=colour, linewidth=6, alpha=0.2, solid_capstyle="butt")
        ax.plot(
            point["by_seed"],
            [y] * len(point["by_seed"]),
            "o",
            color=colour,
            markersize=4,
            alpha=0.45,
            markeredgewidth=0,
        )
        ax.plot(point["value"], y, "o", color=colour, markersize=8, markeredgecolor="white")
        ax.annotate(
            f"{100 * point['value']:.0f} %",
            (point["value"], y),
            xytext=(0, 8),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            color=colour,
        )
        rows.append(("patches", part, np.nan, point["value"], *point["ci"]))
    peak = measured.at(curves["word_accuracy"], curves["decline"]["peak_step"]) if curves["decline"] else None
    if peak is not None:
        ax.axvline(peak["value"], color=FAINT, linewidth=0.9, linestyle=(0, (2, 3)))
        ax.text(peak["value"], len(points) - 0.42, "at the peak", ha="center", fontsize=7.5, color=FAINT)
        rows.append(("reference", "peak", np.nan, peak["value"], *peak["ci"]))
    ax.set_yticks(places, [parts[part] for part in points])
    ax.set_ylim(-0.5, len(points) - 0.4)
    ax.grid(True, axis="x")
    ax.grid(False, axis="y")
    _percent(ax, "x", top=1.02)
    ax.set_xlabel("accuracy per T\\S word at the end, with this part put back to the peak")
    return figure, curve_table(rows)


def losses(curves: dict, proposals: dict, study: dict):
    """Held-out loss of both languages, in all and on knowledge-bearing tokens; bits per byte where measured."""
    names = {
        "loss": "Loss, all tokens",
        "loss_knowledge": "Loss, knowledge-bearing tokens",
        "bits_per_byte": "Bits per byte",
    }
    units = {"loss": "nats per token", "loss_knowledge": "nats per token", "bits_per_byte": "bits per byte"}
    present = [metric for metric in names if any(key[2] == metric for key in curves["loss"])]
    if not present:
        return None
    figure, axes = make_axes(len(present), 3.1)
    rows = []
    for ax, metric in zip(axes[0], present, strict=True):
        labels = []
        for run, dash in (("control", "--"), ("continual", "-")):
            for language, colour in ((curves["primary"], PRIMARY), (curves["new"], NEW)):
                curve = curves["loss"].get((run, language, metric))
                if curve is None:
                    continue
                if not rows or not ax.lines:
                    step_axis(ax, curve["steps"])
                shown = colour if run == "continual" else CONTROL
                name = language_name(language) if run == "continual" else f"control, {language_name(language)}"
                draw_curve(ax, rows, metric, name, curve, shown, dash, linewidth=1.8 if run == "continual" else 1.2)
                labels.append((curve["mean"][-1], name, shown))
        ax.set_ylim(0, None)
        _shade(ax, curves["stages"], names=False)
        ax.set_title(names[metric])
        ax.set_ylabel(units[metric])
        label_ends(ax, labels, gap=0.075)
    return figure, curve_table(rows)


def story(curves: dict, proposals: dict, study: dict):
    """The README's picture: accuracy of the new language with the control, and the knowledge share, on one figure."""
    new = curves["new"]
    accuracy = curves["accuracy"].get(("continual", new, "all"))
    if accuracy is None:
        return None
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.15, h_pad=0.12)
    ax, rows = figure.subplots(), []
    step_axis(ax, accuracy["steps"])
    _percent(ax, top=1.03)
    _shade(ax, curves["stages"])
    labels = []
    for curve, name, colour, dash, width in (
        (
            curves["accuracy"].get(("control", new, "all")),
            f"{language_name(new)} accuracy, control",
            CONTROL,
            "--",
            1.8,
        ),
        (curves["knowledge"].get("continual"), "knowledge share", KNOWLEDGE, "-", 1.8),
        (accuracy, f"{language_name(new)} accuracy", NEW, "-", 3.0),
    ):
        if curve is not None:
            draw_curve(ax, rows, "story", name, curve, colour, dash, linewidth=width)
            labels.append((curve["mean"][-1], name, colour))
    label_ends(ax, labels, gap=0.06)
    return figure, curve_table(rows)


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

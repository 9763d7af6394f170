"""The figures of a study, each with the table of what it draws. Deterministic: same findings, same bytes.

Every figure function takes `(findings, language)` (a new language; None where the figure is of the whole study) and
returns `(figure, table)`, or None where its measurements are missing. The table holds exactly what is drawn: columns
panel, series, x, value, low, high. Here: what happens in continual pre-training; corpus_figures.py: the corpora.
"""

import io

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from babel_jax import statistics
from babel_jax.evolution import measured
from babel_jax.report.corpus_figures import optimum, original_optimised, predicted, rivals, schedule, tokens
from babel_jax.report.drawing import (
    CONTROL,
    FAINT,
    INK,
    KNOWLEDGE,
    NEW,
    NEW_LIGHT,
    PRIMARY,
    PROPOSAL,
    STYLE,
    curve_table,
    depth_colour,
    dot_axes,
    draw_curve,
    draw_point,
    is_curve,
    label_ends,
    language_colour,
    make_axes,
    percent_axis,
    points_axis,
    shade,
    step_axis,
)
from babel_jax.report.words import SOURCE_NAMES, depends, language_name

# Every figure: (name, whether it is of one new language).
FIGURES = (
    ("story", False),
    ("languages", False),
    ("performance", True),
    ("stages", True),
    ("patches", True),
    ("working_language", True),
    ("neurons", True),
    ("drift", True),
    ("causes", True),
    ("losses", True),
    ("calibration", True),
    ("tokens", False),
    ("optimum", False),
    ("original_optimised", False),
    ("rivals", False),
    ("predicted", False),
    ("schedule", False),
)
__all__ = [
    "FIGURES", "calibration", "causes", "drift", "languages", "losses", "neurons", "optimum", "original_optimised", "patches",
    "performance", "png", "predicted", "rivals", "schedule", "stages", "story", "svg", "tokens", "working_language",
]  # fmt: skip
SETS = {"functional": "functional", "functional_shared": "functional, of shared problems", "lape_target": "LAPE"}
ABLATED_ON = {
    "transfer": "Problems that need the primary",
    "shared": "Problems that do not",
    "transfer - shared": "Difference of the two",
}
DEFINITION_NAMES = {
    "functional": "Functional: active as on the primary",
    "pair_shared": "LAPE, of both languages",
    "lape_target": "LAPE, of the new language (as in the paper)",
}


def performance(findings: dict, language: str):
    """Accuracy of both languages over continual pre-training with the control, and the knowledge share."""
    curves = findings["languages"][language]["curves"]
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
    if not is_curve(accuracy.get(("continual", new, "all"))):
        return None
    figure, axes = make_axes(2 if shares else 1, 3.5, width_ratios=[1.55, 1] if shares else None)
    rows, steps, ax = [], accuracy["continual", new, "all"]["steps"], axes[0, 0]
    step_axis(ax, steps)
    percent_axis(ax, top=1.02)
    ax.set_title("Accuracy" if findings["study"]["kind"] == "organism" else "Identifier accuracy", pad=18)
    shade(ax, curves["stages"])
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
        percent_axis(ax, top=1.02)
        ax.set_title("Knowledge share", pad=18)
        shade(ax, curves["stages"], names=False)
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
            ceiling + 0.03,
            "ceiling: every problem solved",
            ha="right",
            va="bottom",
            fontsize=7.5,
            color=FAINT,
        )
        rows.append(("knowledge share", "ceiling", np.nan, ceiling, np.nan, np.nan))
        label_ends(ax, labels)
    return figure, curve_table(rows)


def working_language(findings: dict, language: str):
    """Share of the primary's identifiers in the lens of each layer; the control in a row of its own."""
    curves = findings["languages"][language]["curves"]
    metrics = {
        "primary_share_pair": "by pairs",
        "primary_share_prob": "by probability",
        "primary_share_argmax": "by argmax",
    }
    runs = [
        run
        for run in ("continual", "control")
        if any(is_curve(layer) for key, layers in curves["lens"].items() for layer in layers if key[0] == run)
    ]
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
                    colour = depth_colour(index, len(layers))
                    draw_curve(ax, rows, f"{run}, {metric}", f"layer {index + 1}", layer, colour, linewidth=1.6)
                    labels.append((layer["mean"][-1], f"layer {index + 1}", colour))
            percent_axis(ax, top=1.02)
            if run == "continual":
                shade(ax, curves["stages"], names=False)
            ax.set_title(f"{run.capitalize()}, {name}")
            if row < len(runs) - 1:
                ax.set_xlabel("")
            label_ends(ax, labels, gap=0.085)
    return figure, curve_table(rows)


def _some(layers: int, most: int = 6) -> list[int]:
    """Evenly spread layers where all would be too many lines."""
    return sorted(set(np.linspace(0, layers - 1, min(layers, most)).round().astype(int).tolist())) if layers else [0]


def neurons(findings: dict, language: str):
    """Transferring neurons by three definitions with the control, and the LAPE count's sensitivity to its cut."""
    curves = findings["languages"][language]["curves"]
    definitions = [name for name in DEFINITION_NAMES if is_curve(curves["neurons"].get(("continual", name)))]
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
        shade(ax, curves["stages"], names=False)
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


def patches(findings: dict, language: str):
    """Word accuracy on T\\S at the end with one part of the parameters put back to the peak."""
    curves = findings["languages"][language]["curves"]
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
        ax.annotate("at the peak", (peak["value"], 1), xycoords=("data", "axes fraction"), xytext=(0, 3),
                    textcoords="offset points", ha="center", fontsize=7.5, color=FAINT)  # fmt: skip
        rows.append(("reference", "peak", np.nan, peak["value"], *peak["ci"]))
    ax.set_yticks(places, [parts[part] for part in points])
    ax.set_ylim(-0.5, len(points) - 0.4)
    ax.grid(True, axis="x")
    ax.grid(False, axis="y")
    percent_axis(ax, "x", top=1.02)
    ax.set_xlabel("accuracy per T\\S word at the end, with this part put back to the peak")
    return figure, curve_table(rows)


def losses(findings: dict, language: str):
    """Held-out loss of both languages, in all and on knowledge-bearing tokens; bits per byte where measured."""
    curves = findings["languages"][language]["curves"]
    names = {
        "loss": "Loss, all tokens",
        "loss_knowledge": "Loss, knowledge-bearing tokens",
        "bits_per_byte": "Bits per byte",
    }
    units = {"loss": "nats per token", "loss_knowledge": "nats per token", "bits_per_byte": "bits per byte"}
    present = [
        metric for metric in names if any(key[2] == metric and is_curve(curve) for key, curve in curves["loss"].items())
    ]
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
        shade(ax, curves["stages"], names=False)
        ax.set_title(names[metric])
        ax.set_ylabel(units[metric])
        label_ends(ax, labels, gap=0.075)
    return figure, curve_table(rows)


def stages(findings: dict, language: str):
    """The smoothed accuracy with its interval, the end level, and where the peak may be."""
    found = findings["languages"][language]["stages"]
    if found is None or len(found["curve"]["mean_C"]) < 2:
        return None
    figure, axes = make_axes(1, 3.9, rows=2, height_ratios=[3, 1], sharex=True)
    rows, (top, below) = [], axes[:, 0]
    raw = findings["languages"][language]["curves"]["accuracy"]["continual", language, "all"]
    steps = raw["steps"][~np.isnan(raw["value_SxC"]).any(0)]  # those that every seed has
    curve, peak = found["curve"], found["peak"]
    step_axis(top, steps)
    shade(top, found["stages"])
    smoothed = {"steps": steps, "mean": curve["mean_C"], "low": curve["low_C"], "high": curve["high_C"]}
    draw_curve(top, rows, "smoothed accuracy", language_name(language), smoothed, NEW, linewidth=2.4)
    top.plot(raw["steps"], raw["mean"], "o", color=NEW, markersize=3.5, alpha=0.45, markeredgewidth=0)
    rows += [
        ("accuracy", language_name(language), x, y, np.nan, np.nan)
        for x, y in zip(raw["steps"], raw["mean"], strict=True)
    ]
    plateau = found["plateau"]
    start = steps[-max(1, -(-len(steps) // 4))]
    top.fill_between([start, steps[-1]], *plateau["ci"], color=PROPOSAL, alpha=0.15, linewidth=0)
    top.plot([start, steps[-1]], [plateau["value"]] * 2, color=PROPOSAL, linewidth=1.6)
    top.plot(peak["step_ci"], [peak["value"]] * 2, color=INK, linewidth=1.4)
    top.plot([peak["step"]] * 2, peak["ci"], color=INK, linewidth=1.4)
    top.plot(peak["step"], peak["value"], "o", color=INK, markersize=6, markeredgecolor="white")
    rows.append(("peak", "accuracy", peak["step"], peak["value"], *peak["ci"]))
    rows.append(("peak", "step", np.nan, peak["step"], *peak["step_ci"]))
    rows.append(("end level", "accuracy", np.nan, plateau["value"], *plateau["ci"]))
    percent_axis(top, top=1.03)
    top.set_xlabel("")
    top.tick_params(labelbottom=False)
    label_ends(top, [(plateau["value"], "end level", PROPOSAL)])
    probability = np.asarray(peak["step_probability"], float)
    below.vlines(steps, 0, probability, color=INK, linewidth=3)
    rows += [("best checkpoint", "probability", x, p, np.nan, np.nan) for x, p in zip(steps, probability, strict=True)]
    below.set_xlabel("optimiser steps")
    below.set_title("How often each checkpoint is the best one, in replicates")
    percent_axis(below, top=1.03)
    below.set_yticks([0, 0.5, 1])
    return figure, curve_table(rows)


def languages(findings: dict, language: None = None):
    """Does a language that needs less of the primary decline less? One row a language."""
    found = findings["languages"]
    if len(found) < 2:
        return None
    shares = {name: here["curves"]["knowledge"].get("continual") for name, here in found.items()}
    order = sorted(found, key=lambda name: -shares[name]["ceiling"] if shares[name] else 1)
    figure, axes = make_axes(3, 0.5 * len(order) + 1.0, sharey=True)
    rows, places = [], np.arange(len(order))[::-1]
    for y, name in zip(places, order, strict=True):
        here, share, colour = found[name], shares[name], language_colour(name)
        if share:
            ceilings = share["ceiling_by_seed"]
            mean, low, high = (float(x) for x in statistics.student(ceilings))
            draw_point(axes[0, 0], rows, "needs the primary", name, y, {"value": mean, "ci": [low, high]}, colour)
            if here["curves"]["decline"]:
                at_peak = measured.at(share, here["curves"]["decline"]["peak_step"])
                draw_point(axes[0, 1], rows, "knowledge share at the peak", name, y, at_peak, colour)
        if here["stages"]:
            draw_point(axes[0, 2], rows, "decline", name, y, here["stages"]["decline"], colour)
    answers = {"yes": "depends", "no": "does not depend", "": "not tested"}
    tests = {name: depends(found[name]["dependence"]) for name in order}
    labels = [f"{language_name(name)}\n{answers.get(tests[name], tests[name])}" for name in order]
    dot_axes(axes[0, 0], places, labels)
    for ax, title in zip(
        axes[0], ("Problems that need the primary", "Knowledge share at the peak", "Decline, in points"), strict=True
    ):
        ax.set_title(title)
        dot_axes(ax, places, labels)
    for ax in axes[0, :2]:
        percent_axis(ax, "x", top=1.02)
    points_axis(axes[0, 2])
    return figure, curve_table(rows)


def calibration(findings: dict, language: str):
    """P(l) against what was measured at the same checkpoints, and the link chosen for it."""
    here = findings["languages"][language]
    sources = {
        source: curve
        for source, curve in here["shares"].items()
        if curve["own_loss"] is not None and source in here["calibration"]
    }
    names = [name for name in here["measured"] if any(name in here["calibration"][source] for source in sources)][:3]
    if not names:
        return None
    figure, axes = make_axes(3, 3.7, sharey=True)
    rows, grid = [], np.linspace(0, 1, 101)
    for ax in axes[0, len(names) :]:
        ax.set_visible(False)
    for ax, name in zip(axes[0], names, strict=False):
        curve = here["measured"][name]
        ax.plot([0, 1], [0, 1], color=FAINT, linewidth=0.9, linestyle=(0, (2, 3)))
        if ax is axes[0, 0]:
            ax.text(0.97, 0.93, "if Eq. 1 held", rotation=42, ha="right", va="center", fontsize=7.5, color=FAINT)
        for source, colour, marker in (("loss", NEW, "o"), ("loss_knowledge", KNOWLEDGE, "D")):
            if source not in sources or name not in here["calibration"][source]:
                continue
            fit = here["calibration"][source][name]
            common, left, right = np.intersect1d(sources[source]["steps"], curve["steps"], return_indices=True)
            x, y = np.asarray(sources[source]["pooled"])[left], curve["mean"][right]
            ax.plot(x, y, marker, color=colour, markersize=4.5, markeredgecolor="white", markeredgewidth=0.6, clip_on=False,
                    label=f"P(l) from {SOURCE_NAMES[source]}")  # fmt: skip
            ax.text(0.97, 0.04 + 0.065 * (source == "loss"), f"best link: {fit['best']}", transform=ax.transAxes,
                    ha="right", fontsize=7.5, color=colour)  # fmt: skip
            if fit["best"] != "identity":
                linked = fit.link.apply(grid)
                ax.plot(grid, linked, "-", color=colour, linewidth=1.3, alpha=0.8)
                rows += [
                    (name, f"{source}, {fit['best']} link", u, v, np.nan, np.nan)
                    for u, v in zip(grid, linked, strict=True)
                ]
            at_peak = common == (here["curves"]["decline"] or {}).get("peak_step")
            ax.plot(x[at_peak], y[at_peak], marker, markersize=9, markerfacecolor="none", markeredgecolor=colour,
                    markeredgewidth=1.4, clip_on=False)  # fmt: skip
            rows += [
                (name, source, *point) for point in zip(x, y, curve["low"][right], curve["high"][right], strict=True)
            ]
        ax.set_title(SOURCE_NAMES[name].capitalize())
        ax.set_xlabel("P(l), Eq. 1")
        ax.grid(True, axis="both")
        percent_axis(ax, top=1.03)
        percent_axis(ax, "x", top=1.03)
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


def causes(findings: dict, language: str):
    """What ablating neurons at the peak changes, beside random sets of as many in the same layers."""
    found = findings["languages"][language]["causes"]
    shown = [
        each for each in (found or {"sets": []})["sets"] if (each["metric"], each["checkpoint"]) == ("pass", "peak")
    ]
    subsets = {
        subset: title
        for subset, title in ABLATED_ON.items()
        if any(each["subset"] == subset and np.isfinite(each["value"]) for each in shown)
    }
    if not subsets:
        return None
    kinds = list(dict.fromkeys((each["neurons"], each["kind"]) for each in shown))
    figure, axes = make_axes(len(subsets), 0.46 * len(kinds) + 1.5, sharey=True)
    rows, places = [], np.arange(len(kinds))[::-1]
    for ax, (subset, title) in zip(axes[0], subsets.items(), strict=True):
        for each in (each for each in shown if each["subset"] == subset):
            neurons, kind = each["neurons"], each["kind"]
            y = places[kinds.index((neurons, kind))]
            beside = {"value": each["random_mean"], "ci": each["random_ci"]}
            draw_point(ax, rows, subset, f"{neurons}, {kind}, random sets", y - 0.16, beside, CONTROL, markersize=5)
            draw_point(ax, rows, subset, f"{neurons}, {kind}", y + 0.12, each, NEW)
        dot_axes(ax, places, [f"{SETS.get(neurons, neurons)},\n{kind}-ablated" for neurons, kind in kinds])
        points_axis(ax)
        ax.set_title(title)
        ax.set_xlabel("change of problems solved, in points")
    handles = [
        Line2D([], [], marker="o", color=colour, label=label)
        for colour, label in ((NEW, "these neurons"), (CONTROL, "random sets of as many"))
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=2, frameon=False, fontsize=8, handlelength=1)
    return figure, curve_table(rows)


def drift(findings: dict, language: str):
    """Neurons that enter and leave the transferring ones between checkpoints, and how many there are by layer."""
    found = findings["languages"][language]["drift"]
    if not is_curve(found):
        return None
    shown = [found, *(other for other in found["others"] if other["run"] == found["run"])]
    figure, axes = make_axes(2, 2.9 * len(shown), rows=len(shown))
    rows = []
    for (flow, sizes), here in zip(axes, shown, strict=True):
        name, steps, layers = SETS.get(here["definition"], here["definition"]), here["steps"], here["layers"]
        places, labels = np.arange(len(steps)), []
        up, down = np.zeros(len(steps)), np.zeros(len(steps))
        step_axis(sizes, steps)
        for index, layer in enumerate(layers):
            colour = depth_colour(index, len(layers))
            births, deaths, size = (here[f"{kind}_CxL"][:, index] for kind in ("births", "deaths", "size"))
            flow.bar(places, births, bottom=up, color=colour, width=0.75)
            flow.bar(places, -deaths, bottom=-down, color=colour, width=0.75, alpha=0.55)
            up, down = up + np.nan_to_num(births), down + np.nan_to_num(deaths)
            sizes.plot(steps, size, color=colour, linewidth=1.6)
            labels.append((size[-1], f"layer {layer}", colour))
            for series, values in (("births", births), ("deaths", deaths), ("size", size)):
                rows += [
                    (f"{here['definition']}, layer {layer}", series, x, y, np.nan, np.nan)
                    for x, y in zip(steps, values, strict=True)
                ]
        flow.axhline(0, color=FAINT, linewidth=0.9)
        every = max(1, len(steps) // 8)
        flow.set_xticks(places[::every], [f"{step:,}" for step in steps[::every]])
        flow.set_xlabel("optimiser steps")
        flow.yaxis.set_major_formatter(lambda value, _: f"{abs(value):.0f}")
        for ax in (flow, sizes):
            ax.yaxis.set_major_locator(MaxNLocator(6, integer=True))
        flow.set_title(f"{name[0].upper()}{name[1:]}: births (up) and deaths (down)")
        sizes.set_ylim(0, None)
        sizes.set_title(f"{name[0].upper()}{name[1:]}: neurons of a layer")
        label_ends(sizes, labels, gap=0.085)
    return figure, curve_table(rows)


def story(findings: dict, language: str | None = None):
    """The README's picture. One new language: its accuracy, the control and the knowledge share. Several: all of them."""
    found = {
        name: here["curves"]
        for name, here in findings["languages"].items()
        if language in (None, name) and is_curve(here["curves"]["accuracy"].get(("continual", name, "all")))
    }
    if not found:
        return None
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.15, h_pad=0.12)
    ax, rows, labels = figure.subplots(), [], []
    lines = _story_of_one(*found.items()) if len(found) == 1 else _story_of_several(found)
    step_axis(ax, lines[-1][0]["steps"])
    percent_axis(ax, top=1.03)
    ax.set_ylabel("accuracy" if len(found) > 1 else "accuracy, share")
    if len(found) == 1:
        shade(ax, next(iter(found.values()))["stages"])
    for curve, name, colour, dash, width in lines:
        draw_curve(ax, rows, "story", name, curve, colour, dash, band=dash == "-" or len(found) == 1, linewidth=width)
        labels.append((curve["mean"][-1], name, colour))
    if len(found) > 1:  # the controls lie on each other
        labels = [label for label in labels if not label[1].endswith("control")]
        ax.plot([], [], "--", color=FAINT, linewidth=1.2, label="controls")
        ax.legend(loc="lower right", frameon=False, fontsize=8)
    label_ends(ax, labels, gap=0.06)
    return figure, curve_table(rows)


def _story_of_one(item) -> list:
    new, curves = item
    lines = [
        (
            curves["accuracy"].get(("control", new, "all")),
            f"{language_name(new)} accuracy, control",
            CONTROL,
            "--",
            1.8,
        ),
        (curves["knowledge"].get("continual"), "knowledge share", KNOWLEDGE, "-", 1.8),
        (curves["accuracy"]["continual", new, "all"], f"{language_name(new)} accuracy", NEW, "-", 3.0),
    ]
    return [line for line in lines if line[0] is not None]


def _story_of_several(found: dict) -> list:
    lines = [
        (curves["accuracy"].get((run, new, "all")), language_name(new) + note, language_colour(new), dash, width)
        for run, note, dash, width in (("control", ", control", "--", 1.2), ("continual", "", "-", 2.6))
        for new, curves in found.items()
    ]
    return [line for line in lines if line[0] is not None]


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

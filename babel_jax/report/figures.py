"""The figures of a study, each with the table of what it draws. Deterministic: same findings, same bytes.

A figure is a function of the findings, and of a new language where it is about one; it returns `(figure, table)`, or None
where its measurements are missing. The table holds exactly what is drawn: columns panel, series, x, value, low, high. Here:
what happens in continual pre-training; corpus_figures.py: the corpora.
"""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from babel_jax.common.statistics import Estimate
from babel_jax.evolution.continual import Curves
from babel_jax.evolution.curve import Curve
from babel_jax.evolution.mechanism import Drift
from babel_jax.evolution.stages import Stages
from babel_jax.report import corpus_figures
from babel_jax.report.drawing import (
    CONTROL,
    FAINT,
    INK,
    KNOWLEDGE,
    NEW,
    NEW_LIGHT,
    PRIMARY,
    PROPOSAL,
    Line,
    Panel,
    depth_colour,
    dot_axes,
    is_curve,
    label_ends,
    language_colour,
    make_axes,
    percent_axis,
    points_axis,
    reference,
    shade,
    step_axis,
    table,
)
from babel_jax.study.findings import Findings, LanguageFindings
from babel_jax.study.words import SOURCE_NAMES, depends, language_name

MOST_LAYERS = 6  # of a lens in one panel
MOST_COLUMNS = 3
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
LENSES = {
    "primary_share_pair": "by pairs",
    "primary_share_prob": "by probability",
    "primary_share_argmax": "by argmax",
}
PATCHED = {
    "none": "nothing (the end as it is)",
    "embeddings": "embeddings",
    "ffn": "feed-forward layers",
    "blocks": "all blocks",
}
LOSSES = {  # metric -> (title, unit)
    "loss": ("Loss, all tokens", "nats per token"),
    "loss_knowledge": ("Loss, knowledge-bearing tokens", "nats per token"),
    "bits_per_byte": ("Bits per byte", "bits per byte"),
}


def performance(findings: Findings, language: str):
    """Accuracy of both languages over continual pre-training with the control, and the knowledge share."""
    curves = findings.languages[language].curves
    whole = curves.accuracy.get(("continual", language, "all"))
    if not is_curve(whole):
        return None
    shares = curves.knowledge
    figure, axes = make_axes(2 if shares else 1, 3.5, width_ratios=[1.55, 1] if shares else None)
    rows = []
    accuracy = Panel(axes[0, 0], "accuracy", rows)
    title = "Accuracy" if findings.study.kind == "organism" else "Identifier accuracy"
    _share_axes(accuracy.ax, title, whole, curves)
    _accuracies(accuracy, curves)
    if curves.stages:
        peak = whole.at(curves.peak_step)
        accuracy.ax.plot(curves.peak_step, peak.value, "o", color=NEW, markersize=6, markeredgecolor="white")
    if shares:
        knowledge = Panel(axes[0, 1], "knowledge share", rows)
        _share_axes(knowledge.ax, "Knowledge share", whole, curves, names=False)
        _knowledge_shares(knowledge, curves)
    return figure, table(rows)


def _share_axes(ax, title: str, whole: Curve, curves: Curves, names: bool = True) -> None:
    step_axis(ax, whole.steps)
    percent_axis(ax, top=1.02)
    ax.set_title(title, pad=18)
    shade(ax, curves.stages, names)


def _accuracies(panel: Panel, curves: Curves) -> None:
    primary, new = language_name(curves.primary), language_name(curves.new)
    lines = [
        (("control", curves.new, "all"), f"control, {new}", CONTROL, "--", 1.5),
        (("continual", curves.primary, "all"), f"{primary}", PRIMARY, "-", 1.5),
        (("continual", curves.new, "shared"), f"{new}, S", NEW_LIGHT, "-", 1.5),
        (("continual", curves.new, "transfer"), f"{new}, T\\S", NEW, ":", 1.5),
        (("continual", curves.new, "all"), f"{new}, all", NEW, "-", 2.6),
    ]
    labels = []
    for key, name, colour, dash, width in lines:
        if curve := curves.accuracy.get(key):
            panel.curve(name, curve, colour, dash, width=width)
            labels.append((curve.mean[-1], name, colour))
    label_ends(panel.ax, labels)


def _knowledge_shares(panel: Panel, curves: Curves) -> None:
    labels = []
    for run, colour, dash in (("control", CONTROL, "--"), ("continual", KNOWLEDGE, "-")):
        if curve := curves.knowledge.get(run):
            panel.curve(run, curve, colour, dash)
            labels.append((curve.mean[-1], run, colour))
    ceiling, last = curves.knowledge["continual"].ceiling, panel.ax.get_xlim()[1]
    reference(panel.ax, y=ceiling)
    panel.ax.text(
        last, ceiling + 0.03, "ceiling: every problem solved", ha="right", va="bottom", fontsize=7.5, color=FAINT
    )
    panel.record("ceiling", value=ceiling)
    label_ends(panel.ax, labels)


def working_language(findings: Findings, language: str):
    """Share of the primary's identifiers in the lens of each layer; the control in a row of its own."""
    curves = findings.languages[language].curves
    runs = [
        run
        for run in ("continual", "control")
        if any(is_curve(layer) for key, layers in curves.lens.items() for layer in layers if key[0] == run)
    ]
    if not runs:
        return None
    figure, axes = make_axes(len(LENSES), 2.7 * len(runs) + 0.3, rows=len(runs), sharey=True)
    rows = []
    for row, run in enumerate(runs):
        for column, (metric, name) in enumerate(LENSES.items()):
            panel = Panel(axes[row, column], f"{run}, {metric}", rows)
            labels = _layers(panel, curves.lens.get((run, metric), []))
            percent_axis(panel.ax, top=1.02)
            if run == "continual":
                shade(panel.ax, curves.stages, names=False)
            panel.ax.set_title(f"{run.capitalize()}, {name}")
            if row < len(runs) - 1:
                panel.ax.set_xlabel("")
            label_ends(panel.ax, labels, gap=0.085)
    return figure, table(rows)


def _layers(panel: Panel, layers: list[Curve | None]) -> list[tuple]:
    """One line a layer, of evenly spread ones where all would be too many; returns what `label_ends` writes."""
    shown = np.linspace(0, len(layers) - 1, min(len(layers), MOST_LAYERS)).round().astype(int).tolist()
    labels = []
    for index in dict.fromkeys(shown):
        if (layer := layers[index]) is None:
            continue
        if index == shown[0]:
            step_axis(panel.ax, layer.steps)
        colour, name = depth_colour(index, len(layers)), f"layer {index + 1}"
        panel.curve(name, layer, colour, width=1.6)
        labels.append((layer.mean[-1], name, colour))
    return labels


def neurons(findings: Findings, language: str):
    """Transferring neurons by three definitions with the control, and the LAPE count's sensitivity to its cut."""
    curves = findings.languages[language].curves
    definitions = [name for name in DEFINITION_NAMES if is_curve(curves.neurons.get(("continual", name)))]
    if not definitions:
        return None
    panels = len(definitions) + bool(curves.sensitivity)
    columns = panels if panels <= MOST_COLUMNS else 2
    lines = -(-panels // columns)
    figure, axes = make_axes(columns, 2.75 * lines, rows=lines)
    rows, places = [], list(axes.flat)
    for ax, definition in zip(places, definitions, strict=False):
        _counts(Panel(ax, definition, rows), curves)
    if curves.sensitivity:
        _sensitivity(Panel(places[len(definitions)], "sensitivity", rows), curves)
    for ax in places[panels:]:
        ax.set_visible(False)
    return figure, table(rows)


def _counts(panel: Panel, curves: Curves) -> None:
    """The neurons by the definition that the panel is named by."""
    ax, labels, tops = panel.ax, [], []
    step_axis(ax, curves.neurons["continual", panel.name].steps)
    for run, colour, dash in (("control", CONTROL, "--"), ("continual", NEW, "-")):
        if curve := curves.neurons.get((run, panel.name)):
            panel.curve(run, curve, colour, dash)
            labels.append((curve.mean[-1], run, colour))
            tops.append(np.nanmax(np.fmax(curve.mean, curve.high)))
    ax.set_ylim(0, 1.12 * max(tops) or 1)  # none at all: still an axis
    shade(ax, curves.stages, names=False)
    ax.set_title(DEFINITION_NAMES[panel.name])
    ax.set_ylabel("neurons")
    label_ends(ax, labels, gap=0.09)


def _sensitivity(panel: Panel, curves: Curves) -> None:
    """The change of the LAPE count from peak to end, for each share of neurons that may be selected."""
    ax = panel.ax
    rates = np.array([100 * cut.top_rate for cut in curves.sensitivity])
    change = np.array([cut.value for cut in curves.sensitivity])
    bounds = np.array([cut.ci for cut in curves.sensitivity])
    ax.axhline(0, color=FAINT, linewidth=0.9)
    ax.vlines(rates, *bounds.T, color=PROPOSAL, linewidth=1.4, alpha=0.6)
    ax.plot(rates, change, "o-", color=PROPOSAL, markersize=5, linewidth=1.2, markeredgecolor="white")
    ax.set_xscale("log")
    ax.set_xticks(rates, [f"{rate:g} %" for rate in rates], minor=False)
    ax.minorticks_off()
    ax.set_xlabel("cut: share of neurons that LAPE selects")
    ax.set_ylabel("change, peak to end")
    ax.set_title("LAPE: change for each cut")
    for cut in curves.sensitivity:
        panel.record("change from peak to end", cut.top_rate, cut.value, cut.ci)


def patches(findings: Findings, language: str):
    """Word accuracy on T\\S at the end with one part of the parameters put back to the peak."""
    curves = findings.languages[language].curves
    points = {part: curves.patches[part].last() for part in PATCHED if part in curves.patches}
    if not points:
        return None
    figure, axes = make_axes(1, 0.42 * len(points) + 1.1)
    ax = axes[0, 0]
    panel, places = Panel(ax, "patches", []), np.arange(len(points))[::-1]
    for y, (part, point) in zip(places, points.items(), strict=True):
        colour = CONTROL if part == "none" else NEW
        ax.plot(point.ci, [y, y], color=colour, linewidth=6, alpha=0.2, solid_capstyle="butt")
        seeds = [y] * len(point.by_seed)
        ax.plot(point.by_seed, seeds, "o", color=colour, markersize=4, alpha=0.45, markeredgewidth=0)
        ax.plot(point.value, y, "o", color=colour, markersize=8, markeredgecolor="white")
        ax.annotate(f"{100 * point.value:.0f} %", (point.value, y), xytext=(0, 8), textcoords="offset points", ha="center",
                    fontsize=8, color=colour)  # fmt: skip
        panel.record(part, value=point.value, ci=point.ci)
    if peak := curves.word_accuracy and curves.word_accuracy.at(curves.peak_step):
        reference(ax, x=peak.value)
        ax.annotate("at the peak", (peak.value, 1), xycoords=("data", "axes fraction"), xytext=(0, 3),
                    textcoords="offset points", ha="center", fontsize=7.5, color=FAINT)  # fmt: skip
        panel.named("reference").record("peak", value=peak.value, ci=peak.ci)
    dot_axes(ax, places, [PATCHED[part] for part in points])
    ax.set_ylim(-0.5, len(points) - 0.4)
    percent_axis(ax, "x", top=1.02)
    ax.set_xlabel("accuracy per T\\S word at the end, with this part put back to the peak")
    return figure, table(panel.rows)


def losses(findings: Findings, language: str):
    """Held-out loss of both languages, in all and on knowledge-bearing tokens; bits per byte where measured."""
    curves = findings.languages[language].curves
    present = [
        metric for metric in LOSSES if any(key[2] == metric and is_curve(curve) for key, curve in curves.loss.items())
    ]
    if not present:
        return None
    figure, axes = make_axes(len(present), 3.1)
    rows = []
    for ax, metric in zip(axes[0], present, strict=True):
        _losses(Panel(ax, metric, rows), curves)
    return figure, table(rows)


def _losses(panel: Panel, curves: Curves) -> None:
    """The curves of the metric that the panel is named by."""
    ax, labels = panel.ax, []
    for run in ("control", "continual"):
        for language, colour in ((curves.primary, PRIMARY), (curves.new, NEW)):
            curve, name = curves.loss.get((run, language, panel.name)), language_name(language)
            if curve is None:
                continue
            if not labels:
                step_axis(ax, curve.steps)
            if run == "continual":
                panel.curve(name, curve, colour, width=1.8)
            else:
                name, colour = f"control, {name}", CONTROL
                panel.curve(name, curve, colour, "--", width=1.2)
            labels.append((curve.mean[-1], name, colour))
    ax.set_ylim(0, None)
    shade(ax, curves.stages, names=False)
    title, unit = LOSSES[panel.name]
    ax.set_title(title)
    ax.set_ylabel(unit)
    label_ends(ax, labels, gap=0.075)


def stages(findings: Findings, language: str):
    """The smoothed accuracy with its interval, the end level, and where the peak may be."""
    run = findings.languages[language].stages
    if run is None or len(run.curve.mean_C) < 2:
        return None
    figure, axes = make_axes(1, 3.9, rows=2, height_ratios=[3, 1], sharex=True)
    rows, below = [], axes[1, 0]
    raw = findings.languages[language].curves.accuracy["continual", language, "all"]
    _smoothed(Panel(axes[0, 0], "accuracy", rows), run, raw, language_name(language))
    probability = Panel(below, "best checkpoint", rows)
    steps = raw.steps[~np.isnan(raw.value_SxC).any(0)]
    below.vlines(steps, 0, run.peak.step_probability, color=INK, linewidth=3)
    for step, value in zip(steps, run.peak.step_probability, strict=True):
        probability.record("probability", step, value)
    below.set_xlabel("optimiser steps")
    below.set_title("How often each checkpoint is the best one, in replicates")
    percent_axis(below, top=1.03)
    below.set_yticks([0, 0.5, 1])
    return figure, table(rows)


def _smoothed(accuracy: Panel, run: Stages, raw: Curve, name: str) -> None:
    """The curve that the peak is read off, with its points as they were measured, the end level, and the peak."""
    ax, peak, plateau = accuracy.ax, run.peak, run.plateau
    steps = raw.steps[~np.isnan(raw.value_SxC).any(0)]  # those that every seed has
    step_axis(ax, steps)
    shade(ax, run.stages)
    smoothed = Line(steps, run.curve.mean_C, run.curve.low_C, run.curve.high_C)
    accuracy.named("smoothed accuracy").curve(name, smoothed, NEW, width=2.4)
    ax.plot(raw.steps, raw.mean, "o", color=NEW, markersize=3.5, alpha=0.45, markeredgewidth=0)
    for step, value in zip(raw.steps, raw.mean, strict=True):
        accuracy.record(name, step, value)
    end = [steps[-max(1, -(-len(steps) // 4))], steps[-1]]
    ax.fill_between(end, *plateau.ci, color=PROPOSAL, alpha=0.15, linewidth=0)
    ax.plot(end, [plateau.value] * 2, color=PROPOSAL, linewidth=1.6)
    ax.plot(peak.step_ci, [peak.value] * 2, color=INK, linewidth=1.4)
    ax.plot([peak.step] * 2, peak.ci, color=INK, linewidth=1.4)
    ax.plot(peak.step, peak.value, "o", color=INK, markersize=6, markeredgecolor="white")
    accuracy.named("peak").record("accuracy", peak.step, peak.value, peak.ci)
    accuracy.named("peak").record("step", value=peak.step, ci=peak.step_ci)
    accuracy.named("end level").record("accuracy", value=plateau.value, ci=plateau.ci)
    percent_axis(ax, top=1.03)
    ax.set_xlabel("")
    ax.tick_params(labelbottom=False)
    label_ends(ax, [(plateau.value, "end level", PROPOSAL)])


def languages(findings: Findings):
    """Does a language that needs less of the primary decline less? One row a language."""
    by_language = findings.languages
    if len(by_language) < 2:
        return None
    shares = {name: here.curves.knowledge.get("continual") for name, here in by_language.items()}
    order = sorted(by_language, key=lambda name: -shares[name].ceiling if shares[name] else 1)
    figure, axes = make_axes(3, 0.5 * len(order) + 1.0, sharey=True)
    rows, places = [], np.arange(len(order))[::-1]
    needs, at_peak, decline = (
        Panel(ax, name, rows)
        for ax, name in zip(axes[0], ("needs the primary", "knowledge share at the peak", "decline"), strict=True)
    )
    for y, name in zip(places, order, strict=True):
        here, share, colour = by_language[name], shares[name], language_colour(name)
        if share:
            needs.point(name, y, share.ceiling_estimate, colour)
            if here.curves.peak_step is not None:
                at_peak.point(name, y, share.at(here.curves.peak_step), colour)
        if here.stages:
            decline.point(name, y, here.stages.decline, colour)
    answers = {"yes": "depends", "no": "does not depend", "": "not tested"}
    tests = {name: depends(by_language[name].dependence) for name in order}
    labels = [f"{language_name(name)}\n{answers.get(tests[name], tests[name])}" for name in order]
    titles = ("Problems that need the primary", "Knowledge share at the peak", "Decline, in points")
    for ax, title in zip(axes[0], titles, strict=True):
        ax.set_title(title)
        dot_axes(ax, places, labels)
    for ax in axes[0, :2]:
        percent_axis(ax, "x", top=1.02)
    points_axis(axes[0, 2])
    return figure, table(rows)


def calibration(findings: Findings, language: str):
    """P(l) against what was measured at the same checkpoints, and the link chosen for it."""
    here = findings.languages[language]
    fitted = {name for source in here.calibration for name in here.calibration[source]}
    names = [name for name in here.measured if name in fitted][:3]
    if not names:
        return None
    figure, axes = make_axes(3, 3.7, sharey=True)
    rows = []
    for ax in axes[0, len(names) :]:
        ax.set_visible(False)
    axes[0, 0].text(0.97, 0.93, "if Eq. 1 held", rotation=42, ha="right", va="center", fontsize=7.5, color=FAINT)
    for ax, name in zip(axes[0], names, strict=False):
        reference(ax)
        for source, colour, marker in (("loss", NEW, "o"), ("loss_knowledge", KNOWLEDGE, "D")):
            if name in here.calibration.get(source, {}):
                _calibrated(Panel(ax, name, rows), here, source, colour, marker)
        ax.set_title(SOURCE_NAMES[name].capitalize())
        ax.set_xlabel("P(l), Eq. 1")
        ax.grid(True, axis="both")
        percent_axis(ax, top=1.03)
        percent_axis(ax, "x", top=1.03)
    axes[0, 0].set_ylabel("measured share")
    handles = axes[0, 0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper left", ncols=3, frameon=False, fontsize=8, handlelength=1)
    return figure, table(rows)


def _calibrated(panel: Panel, here: LanguageFindings, source: str, colour: str, marker: str) -> None:
    """P(l) from one loss against the measured share that the panel is named by, and its best link."""
    ax, share, curve = panel.ax, here.shares[source], here.measured[panel.name]
    fit = here.calibration[source][panel.name]
    common, left, right = np.intersect1d(share.steps, curve.steps, return_indices=True)
    x, y = share.pooled[left], curve.mean[right]
    ax.plot(x, y, marker, color=colour, markersize=4.5, markeredgecolor="white", markeredgewidth=0.6, clip_on=False,
            label=f"P(l) from {SOURCE_NAMES[source]}")  # fmt: skip
    ax.text(0.97, 0.04 + 0.065 * (source == "loss"), f"best link: {fit.best}", transform=ax.transAxes, ha="right",
            fontsize=7.5, color=colour)  # fmt: skip
    if fit.best != "identity":
        grid = np.linspace(0, 1, 101)
        linked = fit.link.apply(grid)
        ax.plot(grid, linked, "-", color=colour, linewidth=1.3, alpha=0.8)
        for place, value in zip(grid, linked, strict=True):
            panel.record(f"{source}, {fit.best} link", place, value)
    at_peak = common == here.curves.peak_step
    ax.plot(x[at_peak], y[at_peak], marker, markersize=9, markerfacecolor="none", markeredgecolor=colour,
            markeredgewidth=1.4, clip_on=False)  # fmt: skip
    for place, value, *ci in zip(x, y, curve.low[right], curve.high[right], strict=True):
        panel.record(source, place, value, ci)


def causes(findings: Findings, language: str):
    """What ablating neurons at the peak changes, beside random sets of as many in the same layers."""
    ablated = findings.languages[language].causes
    shown = [each for each in ablated.sets if (each.metric, each.checkpoint) == ("pass", "peak")] if ablated else []
    measured_on = {each.subset for each in shown if np.isfinite(each.value)}
    subsets = {subset: title for subset, title in ABLATED_ON.items() if subset in measured_on}
    if not subsets:
        return None
    kinds = list(dict.fromkeys((each.neurons, each.kind) for each in shown))
    labels = [f"{SETS.get(neurons, neurons)},\n{kind}-ablated" for neurons, kind in kinds]
    figure, axes = make_axes(len(subsets), 0.46 * len(kinds) + 1.5, sharey=True)
    rows, places = [], np.arange(len(kinds))[::-1]
    for ax, (subset, title) in zip(axes[0], subsets.items(), strict=True):
        panel = Panel(ax, subset, rows)
        for each in (each for each in shown if each.subset == subset):
            y, name = places[kinds.index((each.neurons, each.kind))], f"{each.neurons}, {each.kind}"
            panel.point(f"{name}, random sets", y - 0.16, Estimate(each.random_mean, each.random_ci), CONTROL, size=5)
            panel.point(name, y + 0.12, each, NEW)
        dot_axes(ax, places, labels)
        points_axis(ax)
        ax.set_title(title)
        ax.set_xlabel("change of problems solved, in points")
    handles = [
        Line2D([], [], marker="o", color=colour, label=label)
        for colour, label in ((NEW, "these neurons"), (CONTROL, "random sets of as many"))
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=2, frameon=False, fontsize=8, handlelength=1)
    return figure, table(rows)


def drift(findings: Findings, language: str):
    """Neurons that enter and leave the transferring ones between checkpoints, and how many there are by layer."""
    followed = findings.languages[language].drift
    if not is_curve(followed):
        return None
    shown = [followed, *(other for other in followed.others if other.run == followed.run)]
    figure, axes = make_axes(2, 2.9 * len(shown), rows=len(shown))
    rows = []
    for (flow, sizes), here in zip(axes, shown, strict=True):
        _come_and_go(flow, sizes, rows, here)
    return figure, table(rows)


def _come_and_go(flow, sizes, rows: list, here: Drift) -> None:
    """Births and deaths of one set of neurons as bars on `flow`, its size as lines on `sizes`; one shade a layer."""
    steps, layers, labels = here.steps, here.layers, []
    places, up, down = np.arange(len(steps)), np.zeros(len(steps)), np.zeros(len(steps))
    step_axis(sizes, steps)
    for index, layer in enumerate(layers):
        colour, panel = depth_colour(index, len(layers)), Panel(sizes, f"{here.definition}, layer {layer}", rows)
        births, deaths, size = (
            values_CxL[:, index] for values_CxL in (here.births_CxL, here.deaths_CxL, here.size_CxL)
        )
        flow.bar(places, births, bottom=up, color=colour, width=0.75)
        flow.bar(places, -deaths, bottom=-down, color=colour, width=0.75, alpha=0.55)
        up, down = up + np.nan_to_num(births), down + np.nan_to_num(deaths)
        sizes.plot(steps, size, color=colour, linewidth=1.6)
        labels.append((size[-1], f"layer {layer}", colour))
        for series, values in (("births", births), ("deaths", deaths), ("size", size)):
            for step, value in zip(steps, values, strict=True):
                panel.record(series, step, value)
    flow.axhline(0, color=FAINT, linewidth=0.9)
    every = max(1, len(steps) // 8)
    flow.set_xticks(places[::every], [f"{step:,}" for step in steps[::every]])
    flow.set_xlabel("optimiser steps")
    flow.yaxis.set_major_formatter(lambda value, _: f"{abs(value):.0f}")
    for ax in (flow, sizes):
        ax.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    name = SETS.get(here.definition, here.definition)
    flow.set_title(f"{name[0].upper()}{name[1:]}: births (up) and deaths (down)")
    sizes.set_ylim(0, None)
    sizes.set_title(f"{name[0].upper()}{name[1:]}: neurons of a layer")
    label_ends(sizes, labels, gap=0.085)


def story(findings: Findings, language: str | None = None):
    """The README's picture, of one new language or of all. One: its accuracy, the control and the knowledge share."""
    curves_of = {
        name: here.curves
        for name, here in findings.languages.items()
        if language in (None, name) and is_curve(here.curves.accuracy.get(("continual", name, "all")))
    }
    if not curves_of:
        return None
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.15, h_pad=0.12)
    panel, labels = Panel(figure.subplots(), "story", []), []
    ax, alone = panel.ax, len(curves_of) == 1
    lines = _story_of_one(*curves_of.values()) if alone else _story_of_several(curves_of)
    step_axis(ax, lines[-1][0].steps)
    percent_axis(ax, top=1.03)
    ax.set_ylabel("accuracy, share" if alone else "accuracy")
    if alone:
        shade(ax, next(iter(curves_of.values())).stages)
    for curve, name, colour, dash, width in lines:
        panel.curve(name, curve, colour, dash, band=dash == "-" or alone, width=width)
        labels.append((curve.mean[-1], name, colour))
    if not alone:  # the controls lie on each other
        labels = [label for label in labels if not label[1].endswith("control")]
        ax.plot([], [], "--", color=FAINT, linewidth=1.2, label="controls")
        ax.legend(loc="lower right", frameon=False, fontsize=8)
    label_ends(ax, labels, gap=0.06)
    return figure, table(panel.rows)


def _story_of_one(curves: Curves) -> list[tuple]:
    """(curve, name, colour, dash, width) of each line."""
    new = curves.new
    lines = [
        (curves.accuracy.get(("control", new, "all")), f"{language_name(new)} accuracy, control", CONTROL, "--", 1.8),
        (curves.knowledge.get("continual"), "knowledge share", KNOWLEDGE, "-", 1.8),
        (curves.accuracy["continual", new, "all"], f"{language_name(new)} accuracy", NEW, "-", 3.0),
    ]
    return [line for line in lines if line[0] is not None]


def _story_of_several(curves_of: dict[str, Curves]) -> list[tuple]:
    """As `_story_of_one`."""
    lines = [
        (curves.accuracy.get((run, new, "all")), language_name(new) + note, language_colour(new), dash, width)
        for run, note, dash, width in (("control", ", control", "--", 1.2), ("continual", "", "-", 2.6))
        for new, curves in curves_of.items()
    ]
    return [line for line in lines if line[0] is not None]


OF_A_LANGUAGE = {
    "performance": performance,
    "stages": stages,
    "patches": patches,
    "working_language": working_language,
    "neurons": neurons,
    "drift": drift,
    "causes": causes,
    "losses": losses,
    "calibration": calibration,
}
OF_THE_STUDY = {
    "story": story,
    "languages": languages,
    "tokens": corpus_figures.tokens,
    "optimum": corpus_figures.optimum,
    "original_optimised": corpus_figures.original_optimised,
    "rivals": corpus_figures.rivals,
    "predicted": corpus_figures.predicted,
    "schedule": corpus_figures.schedule,
}

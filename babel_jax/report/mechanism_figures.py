"""Figures of what happens inside the model: working language, neurons, ablations, patches."""

import numpy as np

from babel_jax.common.statistics import Estimate
from babel_jax.evolution.continual import RUNS, Curves
from babel_jax.evolution.mechanism import Drift
from babel_jax.report.drawing import (
    CONTROL,
    FAINT,
    NEW,
    PROPOSAL,
    Panel,
    depth_colour,
    dot_axes,
    is_curve,
    language_colour,
    make_axes,
    percent_axis,
    points_axis,
    reference,
    shade,
    table,
)
from babel_jax.report.mechanism_drawing import (
    Ablated,
    Flow,
    Series,
    beside_random,
    come_and_go,
    counts,
    difference_axis,
    layer_series,
    series,
    share_axis,
)
from babel_jax.report.report_figure import ReportFigure, interval_note
from babel_jax.study import words
from babel_jax.study.findings import Findings

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
BESIDE = {
    "primary_share_pair": "right identifiers",
    "primary_share_others": "other pairs’",
    "concept_share": "concept share",
}
PATCHED = {
    "none": "nothing (the end as it is)",
    "embeddings": "embeddings",
    "ffn": "feed-forward layers",
    "blocks": "all blocks",
}


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
            series(panel, layer_series(curves.lens.get((run, metric), [])), share_axis, gap=0.085)
            if run == "continual":
                shade(panel.ax, curves.stages, names=False)
            panel.ax.set_title(f"{run.capitalize()}, {name}")
            if row < len(runs) - 1:
                panel.ax.set_xlabel("")
    return figure, table(rows)


def _working_language_caption(findings: Findings, language: str) -> str:
    curves = findings.languages[language].curves
    lens = curves.lens.get(("continual", "primary_share_pair"), [None])[0]
    if lens is None:
        return ""
    where = "words of S" if curves.lens_subset == "shared" else "call sites"
    primary, new = words.language_name(findings.study.primary), words.language_name(language)
    coverage = [layer.end().value for layer in curves.lens.get(("continual", "argmax_coverage"), [])]
    covered = (
        f" ({words.percent(min(coverage))} to {words.percent(max(coverage))} of them at the end, by layer)"
        if coverage
        else ""
    )
    return (
        f"Logit lens at {lens.n:,} places ({where}) of {new} prompts where an identifier must come. {interval_note(lens)}"
        f"By pairs: share of places where {primary}’s name is more probable than {new}’s; by probability: mean of its part in "
        f"the sum of both; by argmax: its share among the places whose most probable token is one of the two{covered}. "
        + (
            "The lower row is the control."
            if any(run == "control" for run, _ in curves.lens)
            else "No control was run."
        )
    )


WORKING_LANGUAGE = ReportFigure(
    name="working_language",
    title="Working language",
    chapter="tower",
    draw=working_language,
    caption=_working_language_caption,
    without="the lens was run at fewer than two checkpoints",
    no_value="the most probable token is never one of the two names",
    paper="The share of Python’s built-ins that the intermediate layers decode to falls and the new language’s rises: five "
    "pairs a language, ten prompts an identifier, no control.",
)


def concept_share(findings: Findings, language: str):
    """The share with the right identifiers, with those of other pairs at the same prompts, and the difference, layer by layer.

    With more than two languages a last column has the share of each, in the intermediate layers.
    """
    curves = findings.languages[language].curves
    runs = [run for run in RUNS if any(map(is_curve, curves.lens.get((run, "concept_share"), [])))]
    if not runs:
        return None
    columns = len(BESIDE) + bool(curves.languages_read)
    figure, axes = make_axes(columns, 2.7 * len(runs) + 0.3, rows=len(runs))
    rows = []
    for row, run in enumerate(runs):
        for column, (metric, name) in enumerate(BESIDE.items()):
            panel = Panel(axes[row, column], f"{run}, {metric}", rows)
            axis = difference_axis if metric == "concept_share" else share_axis
            series(panel, layer_series(curves.lens.get((run, metric), [])), axis, gap=0.085)
            panel.ax.set_title(f"{run.capitalize()}, {name}")
        if curves.languages_read:
            _language_shares(Panel(axes[row, -1], f"{run}, language_share_prob", rows), run, curves)
        for ax in axes[row]:
            if run == "continual":
                shade(ax, curves.stages, names=False)
            if row < len(runs) - 1:
                ax.set_xlabel("")
    return figure, table(rows)


def _language_shares(panel: Panel, run: str, curves: Curves) -> None:
    """Which language's name the intermediate layers prefer."""
    shown = [
        Series(words.language_name(name), curves.language_shares[run, name], language_colour(name), width=1.6)
        for name in curves.languages_read
        if (run, name) in curves.language_shares
    ]
    series(panel, shown, share_axis, gap=0.085)
    panel.ax.set_title(f"{run.capitalize()}, {len(curves.languages_read)} languages")


def _concept_share_caption(findings: Findings, language: str) -> str:
    curves = findings.languages[language].curves
    lens = curves.lens.get(("continual", "concept_share"), [None])[0]
    if lens is None:
        return ""
    primary, new = words.language_name(findings.study.primary), words.language_name(language)
    among = (
        f" Last: each name’s part in the sum of those in {words.names(curves.languages_read)}, mean over the intermediate layers."
        if curves.languages_read
        else ""
    )
    return (
        f"At {lens.n:,} places of {new} prompts. {interval_note(lens)}Right identifiers: share of places where {primary}’s name "
        f"is more probable than {new}’s. Other pairs’: the same for the identifiers of other pairs at the same prompts, where "
        "neither name is right; each pair counts as often among them as among the right ones. Concept share: the difference. 0: "
        f"a layer prefers one language’s names whatever it is asked for; above 0: {primary}’s name of this very concept; below "
        f"0: {new}’s.{among}"
    )


CONCEPT_SHARE = ReportFigure(
    name="concept_share",
    title="Working language beside other pairs",
    chapter="tower",
    draw=concept_share,
    caption=_concept_share_caption,
    verdicts=("working_language",),
    without="other pairs’ identifiers were read at the same prompts at fewer than two checkpoints",
    no_value="no place has other pairs to be compared with",
    paper="No such control: the share is that of the right identifiers alone.",
)


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
    shown = [
        Series(run, curve, colour, dash)
        for run, colour, dash in (("control", CONTROL, "--"), ("continual", NEW, "-"))
        if (curve := curves.neurons.get((run, panel.name)))
    ]
    counts(panel, shown)
    shade(panel.ax, curves.stages, names=False)
    panel.ax.set_title(DEFINITION_NAMES[panel.name])


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


def _neurons_caption(findings: Findings, language: str) -> str:
    curve = next(iter(findings.languages[language].curves.neurons.values()), None)
    if curve is None:
        return ""
    return (
        f"Counts over {curve.n:,} feed-forward neurons. {interval_note(curve)}LAPE’s count is shown for every cut because its "
        "number of selected neurons is fixed by the cut itself."
    )


NEURONS = ReportFigure(
    name="neurons",
    title="Transferring neurons",
    chapter="tower",
    draw=neurons,
    caption=_neurons_caption,
    verdicts=("functional", "lape"),
    without="neurons were counted at fewer than two checkpoints",
    paper="The number of language transferring neurons for the new language, found by LAPE, falls. The thresholds are not "
    "stated.",
)


def drift(findings: Findings, language: str):
    """Neurons that enter and leave the transferring ones between checkpoints, and how many there are by layer."""
    followed = findings.languages[language].drift
    if not is_curve(followed):
        return None
    shown = [followed, *(other for other in followed.others if other.run == followed.run)]
    figure, axes = make_axes(2, 2.9 * len(shown), rows=len(shown))
    rows = []
    for (flow, sizes), here in zip(axes, shown, strict=True):
        come_and_go(flow, sizes, rows, here.steps, _by_layer(here))
        name = words.capital(SETS.get(here.definition, here.definition))
        flow.set_title(f"{name}: births (up) and deaths (down)")
        sizes.set_title(f"{name}: neurons of a layer")
    return figure, table(rows)


def _by_layer(here: Drift) -> list[Flow]:
    """One set of neurons, one shade a layer."""
    return [
        Flow(
            panel=f"{here.definition}, layer {layer}",
            name=f"layer {layer}",
            colour=depth_colour(index, len(here.layers)),
            births_C=here.births_CxL[:, index],
            deaths_C=here.deaths_CxL[:, index],
            size_C=here.size_CxL[:, index],
        )
        for index, layer in enumerate(here.layers)
    ]


DRIFT = ReportFigure(
    name="drift",
    title="Births and deaths of neurons",
    chapter="tower",
    draw=drift,
    caption=(
        "Neurons that enter or leave the set from one checkpoint to the next, mean over seeds; one shade a layer, as named "
        "on the right."
    ),
    without="no set of neurons was followed over two checkpoints or more",
    paper="Their number is followed, not which ones they are.",
)


def causes(findings: Findings, language: str):
    """What ablating neurons at the peak changes, beside random sets of as many in the same layers."""
    ablated = findings.languages[language].causes
    shown = [each for each in ablated.sets if (each.metric, each.checkpoint) == ("pass", "peak")] if ablated else []
    measured_on = {each.subset for each in shown if np.isfinite(each.value)}
    subsets = {subset: title for subset, title in ABLATED_ON.items() if subset in measured_on}
    if not subsets:
        return None
    ablated = {
        subset: [
            Ablated(
                row=f"{SETS.get(each.neurons, each.neurons)},\n{each.kind}-ablated",
                name=f"{each.neurons}, {each.kind}",
                change=each,
                random=Estimate(each.random_mean, each.random_ci),
            )
            for each in shown
            if each.subset == subset
        ]
        for subset in subsets
    }
    figure, rows = beside_random(subsets, ablated, points_axis, "change of problems solved, in points")
    return figure, table(rows)


CAUSES = ReportFigure(
    name="causes",
    title="Do these neurons cause the transfer?",
    chapter="tower",
    draw=causes,
    caption=(
        "The neurons with the highest correlation are ablated at the peak’s checkpoint and accuracy is measured again, on "
        "problems that need the primary’s knowledge and on those that do not; they are chosen on one half of the problems "
        "and ablated on the other. Beside each, random sets of as many neurons in every layer. Bars: 95 % intervals."
    ),
    verdicts=("causes",),
    without="no neurons were ablated at the best checkpoint",
    paper="Not tested: the authors name this ablation as a next step.",
)


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


def _patches_caption(findings: Findings, language: str) -> str:
    curve = next(iter(findings.languages[language].curves.patches.values()), None)
    return (
        ""
        if curve is None
        else f"{curve.n:,} word slots per seed; small dots are seeds. {interval_note(curve, 'Bars')}"
    )


def _no_patches(findings: Findings, language: str) -> str:
    share = findings.languages[language].curves.knowledge.get("continual")
    new, primary = words.language_name(language), words.language_name(findings.study.primary)
    if share and share.ceiling == 0:
        return f"no problem in {new} needs {primary}, so there is no transferred word to look at"
    return "the last checkpoint was not measured with parts of the best one put back"


PATCHES = ReportFigure(
    name="patches",
    title="Representation patches",
    chapter="tower",
    draw=patches,
    caption=_patches_caption,
    verdicts=("patches",),
    without=_no_patches,
    paper="There is no such check.",
)

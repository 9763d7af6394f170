"""The figures of a probe's page about neurons: how many, in which layers, how they come and go, and what they cause."""

import numpy as np
from matplotlib.ticker import MaxNLocator

from babel_jax.common.statistics import Estimate
from babel_jax.evolution.curve import Curve, evenly
from babel_jax.evolution.probe_findings import ProbeFindings
from babel_jax.probes import lape
from babel_jax.probes.by_counts import SHARED_ENTROPY
from babel_jax.report import mechanism_drawing
from babel_jax.report.drawing import (
    CONTROL,
    FAINT,
    NEW,
    Panel,
    depth_colour,
    dot_axes,
    label_ends,
    make_axes,
    percent_axis,
    points_axis,
    reference,
    table,
)
from babel_jax.report.mechanism_drawing import Ablated, Flow, Series, beside_random, by_layer, come_and_go, counts_axis
from babel_jax.report.probe_figures import branch_title, grid, label, labelled, note, profile, span, unit_of
from babel_jax.report.probe_names import VARIED, definition, set_name
from babel_jax.report.report_figure import ReportFigure
from babel_jax.study.words import capital, language_name, minus

BRANCH_COLOURS = (NEW, "#B3417A", "#00846B", "#6A5ACD", "#D4800A", "#7D8590")
# At which the other figures count.
USUAL = {"top_rate": lape.TOP_RATE, "filter_rate": lape.FILTER_RATE, "entropy": SHARED_ENTROPY}
MOST_LINES, MOST_SETS, MOST_BRANCHES = 5, 8, 3
CHANGES = {  # metric -> title of its panel; of nats and of shares
    "loss_change": "Held-out loss",
    "margin_change": "Margin of the right identifier",
    "accuracy_change": "Right identifiers",
    "pass_change": "Problems solved",
}


def _definitions(findings: ProbeFindings, language: str) -> list[str]:
    """Those that are counted for a language: what is specific to a new one is LAPE's count of it, and shown once."""
    there = dict.fromkeys(key[0] for branch in findings.branches for key in branch.neurons if key[1] == language)
    return [name for name in there if name != "specific" or language == findings.primary]


def neurons(findings: ProbeFindings, language: str):
    """Numbers of neurons by every definition, over checkpoints."""
    branches = [(i, branch) for i, branch in enumerate(findings.branches) if branch.is_followed]
    shown = {
        name: [
            Series(label(findings, branch), curve, BRANCH_COLOURS[i % 6])
            for i, branch in branches
            if (curve := branch.neurons.get((name, language)))
        ]
        for name in _definitions(findings, language)
    }
    shown = {name: of for name, of in shown.items() if of}
    if not shown:
        return None
    figure, places = grid(len(shown), 2.75)
    rows = []
    for ax, (name, of) in zip(places, shown.items(), strict=True):
        mechanism_drawing.counts(Panel(ax, name, rows), of, unit_of(findings))
        ax.yaxis.set_major_locator(MaxNLocator(6, integer=True))
        span(ax, of, unit_of(findings))
        ax.set_title(capital(definition(name)))
    return figure, table(rows)


def _neurons_caption(findings: ProbeFindings, language: str) -> str:
    curves = [curve for branch in findings.branches for key, curve in branch.neurons.items() if key[1] == language]
    return (
        f"Feed-forward neurons counted for {language_name(language)}, by each definition. {note(curves)} A definition by scores "
        "takes a fixed number of neurons: its layers can move, its number cannot."
    )


NEURONS = ReportFigure(
    name="neurons",
    title="Neurons by definition",
    chapter="neurons",
    draw=neurons,
    caption=_neurons_caption,
    without="there is one checkpoint; its neurons stand in the next figure, by layer",
)


def neuron_layers(findings: ProbeFindings, language: str):
    """In which layers the neurons lie, at the last checkpoint."""
    definitions = [
        name
        for name in _definitions(findings, language)
        if any((name, language) in branch.layers_of_neurons for branch in findings.branches)
    ]
    if not definitions:
        return None
    figure, places = grid(len(definitions), 2.6)
    rows = []
    for ax, name in zip(places, definitions, strict=True):
        shown = [
            Series(label(findings, branch), line, BRANCH_COLOURS[i % 6])
            for i, branch in enumerate(findings.branches)
            if (line := profile(branch.layers_of_neurons.get((name, language), [])))
        ]
        by_layer(Panel(ax, f"{name}, last checkpoint", rows), shown, counts_axis(shown), gap=0.09)
        ax.yaxis.set_major_locator(MaxNLocator(6, integer=True))
        ax.set_title(capital(definition(name)))
    return figure, table(rows)


NEURON_LAYERS = ReportFigure(
    name="neuron_layers",
    title="Their layers",
    chapter="neurons",
    draw=neuron_layers,
    caption=lambda findings, language: f"Neurons of {language_name(language)} in each layer, at the last checkpoint.",
    without="no neurons were counted",
)


def sensitivity(findings: ProbeFindings, language: str):
    """The numbers over what they depend on, one line a checkpoint of the first run, or a line a run."""
    keys = [key for key in findings.branches[0].sensitivity if key[1] == language]
    keys = [key for key in keys if findings.branches[0].sensitivity[key]]
    if not keys:
        return None
    figure, places = grid(len(keys), 2.6)
    rows = []
    for ax, key in zip(places, keys, strict=True):
        name, _, varied = key
        lines = _sensitivity_lines(findings, key)
        panel = Panel(ax, f"{name}, {varied}", rows)
        for line in lines:
            panel.curve(line.name, line.curve, line.colour, line.dash, width=1.6)
        if varied in ("top_rate", "score"):
            ax.set_xscale("log")
        if varied in USUAL:
            reference(ax, x=USUAL[varied])
        if varied == "top_rate":
            ax.set_xticks([0.001, 0.01, 0.1], ["0.1 %", "1 %", "10 %"])
        ax.minorticks_off()
        counts_axis(lines)(ax)
        ax.yaxis.set_major_locator(MaxNLocator(6, integer=True))
        ax.set_xlabel(VARIED[varied])
        ax.set_title(capital(definition(name)))
        label_ends(ax, [(line.curve.mean[-1], line.name, line.colour) for line in lines], gap=0.09)
    return figure, table(rows)


def _sensitivity_lines(findings: ProbeFindings, key: tuple) -> list[Series]:
    """Of evenly spread checkpoints of the one branch; of several branches each one's last checkpoint."""
    if len(findings.branches) > 1:
        shown = [(branch, i) for i, branch in enumerate(findings.branches) if branch.sensitivity.get(key)]
        return [Series(branch.name, branch.sensitivity[key][-1], BRANCH_COLOURS[i % 6]) for branch, i in shown]
    (branch,) = findings.branches
    curves, unit = branch.sensitivity[key], unit_of(findings)
    chosen = evenly(len(curves), MOST_LINES)
    return [
        Series(unit.tick(at) if len(chosen) > 1 else "", curve, depth_colour(place, len(chosen)))
        for place, (at, curve) in enumerate((branch.at_C[c], curves[c]) for c in chosen)
        if isinstance(curve, Curve)
    ]


def _whose_lines(findings: ProbeFindings) -> str:
    if len(findings.branches) > 1:
        return " One line a run, at its last checkpoint; over scores, of the first seed."
    return (
        f" One line a checkpoint, in {unit_of(findings).name}; over scores, of the first seed."
        if findings.branches[0].is_followed
        else ""
    )


SENSITIVITY = ReportFigure(
    name="sensitivity",
    title="What their number depends on",
    chapter="neurons",
    draw=sensitivity,
    caption=lambda findings, language: (
        f"Neurons of {language_name(language)} that each definition would count at other cuts; dotted: the cut of the other "
        f"figures.{_whose_lines(findings)}"
    ),
    without="no neurons were counted",
)


def drift(findings: ProbeFindings):
    """Neurons that enter and leave each set between checkpoints, and how many it holds."""
    wanted = [f"specific:{findings.primary}"]
    wanted += [f"{name}:{language}" for language in findings.new for name in ("lape_target", "pair_shared")]
    shown = [(b, name) for b in findings.branches if b.is_followed for name in wanted if name in b.flows][:MOST_SETS]
    if not shown:
        return None
    figure, axes = make_axes(2, 2.5 * len(shown), rows=len(shown))
    rows = []
    for (flow, sizes), (branch, name) in zip(axes, shown, strict=True):
        here = branch.flows[name]
        part = Flow(f"{branch.name}, {name}", "", NEW, here.births_C, here.deaths_C, here.size_C)
        come_and_go(flow, sizes, rows, branch.at_C, [part], unit_of(findings))
        flow.set_title(branch_title(findings, branch, f"{set_name(name)}: births, deaths"))
        sizes.set_title("Neurons of the set")
    return figure, table(rows)


DRIFT = ReportFigure(
    name="drift",
    title="Births and deaths",
    chapter="neurons",
    draw=drift,
    caption="Neurons that enter or leave the set from one checkpoint to the next, and its size; means over seeds.",
    without="there is one checkpoint; births and deaths need two",
    of_study=True,
)


def overlap(findings: ProbeFindings):
    """How much every two sets of neurons have in common at the last checkpoint, beside random sets."""
    branches = [branch for branch in findings.branches if branch.overlaps][:MOST_BRANCHES]
    if not branches:
        return None
    # Two empty sets have no index.
    known = [one for branch in branches for one in branch.overlaps if np.isfinite(one.jaccard.value)]
    order = dict.fromkeys((one.first, one.second) for one in known)
    order = [pair for pair in order if not _is_twice(pair, findings.primary)]
    if not order:
        return None
    figure, axes = make_axes(len(branches), 0.34 * len(order) + 1.2, sharey=True)
    rows, places = [], np.arange(len(order))[::-1]
    for ax, branch in zip(axes[0], branches, strict=True):
        panel = Panel(ax, branch.name, rows)
        for one in branch.overlaps:
            if (one.first, one.second) not in order:
                continue
            y, name = places[order.index((one.first, one.second))], f"{one.first} and {one.second}"
            panel.point(f"{name}, random sets", y - 0.14, Estimate(one.random, (np.nan, np.nan)), CONTROL, size=5)
            panel.point(name, y + 0.1, one.jaccard, NEW)
        dot_axes(ax, places, [f"{set_name(a)}\nand {set_name(b)}" for a, b in order])
        ax.tick_params(axis="y", labelsize=7)
        percent_axis(ax, "x", top=1.02)
        ax.set_xlabel("neurons in both, of those in either")
        ax.set_title(branch_title(findings, branch, "overlap at the last checkpoint"))
    return figure, table(rows)


def _is_twice(pair: tuple[str, str], primary: str) -> bool:
    """Whether a set is compared that is the same as another one: what is specific to a new language is LAPE's set of it."""
    return any(one.startswith("specific:") and one != f"specific:{primary}" for one in pair)


OVERLAP = ReportFigure(
    name="overlap",
    title="Overlap of the sets",
    chapter="neurons",
    draw=overlap,
    caption="Jaccard index of every two sets of neurons, with its 95 % interval over resampled texts; grey: of random sets with "
    "as many neurons in every layer. First seed.",
    without="no two sets that hold a neuron were counted",
    of_study=True,
)


# --- causes -----------------------------------------------------------------------------------------------------------------


def _changes(findings: ProbeFindings, metrics: tuple[str, ...], x_axis, x_label: str):
    """Dots of what a change of each set did to some metrics, in each language a panel."""
    shown: dict[str, list[Ablated]] = {}
    titles: dict[str, str] = {}
    for branch in findings.branches:
        for one in branch.causes:
            if one.metric not in metrics or not np.isfinite(one.change.value):
                continue
            panel = f"{one.metric}, {one.language}"
            titles[panel] = f"{CHANGES[one.metric]}, {language_name(one.language)}"
            name = labelled(findings, branch, f"{one.neurons}, {one.kind}")
            row = labelled(findings, branch, f"neurons of {language_name(one.neurons)},\n{one.kind}-ablated")
            shown.setdefault(panel, []).append(Ablated(row, name, one.change, one.random))
    if not shown:
        return None
    figure, rows = beside_random(titles, shown, x_axis, x_label)
    return figure, table(rows)


def _nats_axis(ax) -> None:
    ax.axvline(0, color=FAINT, linewidth=0.9)
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.xaxis.set_major_formatter(lambda value, _: minus(f"{value:+.3g}") if value else "0")


def causes_loss(findings: ProbeFindings):
    return _changes(findings, ("loss_change",), _nats_axis, "change, nats per token")


def causes_margin(findings: ProbeFindings):
    return _changes(findings, ("margin_change",), _nats_axis, "change, nats")


def causes_solved(findings: ProbeFindings):
    return _changes(findings, ("accuracy_change", "pass_change"), points_axis, "change, points")


def _causes_caption(what: str):
    return (
        f"{what} when each language’s own neurons (LAPE) are ablated at the last checkpoint. Grey: random sets of as many "
        "neurons in the same layers. Bars: 95 % intervals; of the grey ones, where a random set lies."
    )


def _not_changed(findings: ProbeFindings, language=None) -> str:
    if any(branch.causes for branch in findings.branches):
        return "there are no prompts or problems at which it could be read"
    return "no neurons were changed; ask for it with --interventions=zero"


CAUSES = (
    ReportFigure(
        name="causes_loss",
        title="Do these neurons matter to the loss?",
        chapter="causes",
        draw=causes_loss,
        caption=_causes_caption("Change of the held-out loss"),
        without=_not_changed,
        of_study=True,
    ),
    ReportFigure(
        name="causes_margin",
        title="Do they matter to the right identifier?",
        chapter="causes",
        draw=causes_margin,
        caption=_causes_caption(
            "Change of the margin, the log-probability of the right identifier less that of the most probable other token,"
        ),
        without=_not_changed,
        of_study=True,
    ),
    ReportFigure(
        name="causes_solved",
        title="Do they matter to what is solved?",
        chapter="causes",
        draw=causes_solved,
        caption=_causes_caption("Change of the share of identifiers that are right, and of problems solved,"),
        without=_not_changed,
        of_study=True,
    ),
)

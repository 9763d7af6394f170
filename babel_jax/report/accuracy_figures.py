"""Figures of accuracy over continual pre-training: the story, its stages, its languages."""

import numpy as np
from matplotlib.figure import Figure

from babel_jax.evolution.continual import Curves
from babel_jax.evolution.curve import Curve
from babel_jax.evolution.stages import Stages
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
from babel_jax.report.report_figure import ReportFigure, interval_note
from babel_jax.study import words
from babel_jax.study.findings import Findings
from babel_jax.study.words import depends, language_name


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


def _story_caption(findings: Findings, language: str | None) -> str:
    if language is None and len(findings.languages) > 1:
        curves = [
            findings.languages[each].curves.accuracy.get(("continual", each, "all")) for each in findings.languages
        ]
        bands = interval_note(next(filter(None, curves), None)).strip()
        return f"Each new language alone, continued from the same models of the primary language. {bands}".strip()
    curves = findings.languages[language or next(iter(findings.languages))].curves
    language = curves.new
    tints = (
        " Tints: the stages found. The text’s peak is smoothed and cross-fitted, so it may lie below the curve’s."
        if curves.stages
        else ""
    )
    return f"{interval_note(curves.accuracy.get(('continual', language, 'all')))}{tints}".strip()


STORY = ReportFigure(
    name="story",
    title="Accuracy and knowledge share over continual pre-training",
    chapter="story",
    draw=story,
    caption=_story_caption,
    without="the continual run was judged at fewer than two checkpoints",
    verdicts=("transition", "control", "knowledge"),
    of_study=True,
)


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


STAGES = ReportFigure(
    name="stages",
    title="Is there a transition?",
    chapter="tower",
    draw=stages,
    caption=(
        "Above: accuracy smoothed over checkpoints with its 95 % interval (Student t over seeds, or over the one seed’s "
        "problems); dots are not smoothed. The cross: the peak with 95 % intervals of its step and accuracy, which is "
        "cross-fitted and so may lie off the curve. Below: how often each checkpoint is the best one in "
        "replicates of the curve that other seeds might have given."
    ),
    verdicts=("transition", "control"),
    without="the continual run was judged at fewer than two checkpoints, or on one problem",
    paper="Curves are smoothed with a sliding window; there are no intervals and no test.",
)


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
    in_parts = ("continual", language, "shared") in curves.accuracy  # programs of the embedded world, or facts
    title = "Accuracy" if findings.study.kind == "organism" or in_parts else "Identifier accuracy"
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


def _performance_caption(findings: Findings, language: str) -> str:
    curves = findings.languages[language].curves
    problems, in_parts = curves.problems, ("continual", language, "shared") in curves.accuracy
    of_facts = in_parts and findings.study.kind != "organism"
    if not problems:
        return ""
    primary = words.language_name(findings.study.primary)
    judged = "questions about facts" if of_facts else "problems" if in_parts else "call sites"
    parts = [
        f"{problems[0]:,} {judged} per seed, {words.seeds(len(curves.seeds))}.",
        interval_note(curves.accuracy.get(("continual", language, "all"))).strip(),
    ]
    if of_facts:
        parts.append(
            "S: facts that the training text of all languages states; T\\S: facts that only the primary’s states. Chance: "
            f"{words.percent(curves.chance)}."
        )
    elif in_parts:
        parts.append(
            "S: the new language’s corpus covers every word of the problem; T\\S: at least one word only the primary’s "
            "corpus covers."
        )
    if curves.stages:
        parts.append("Tints: the stages found; the dot: the checkpoint of the peak.")
    parts.append(f"{primary}’s own accuracy is measured on the same checkpoints.")
    if not curves.knowledge:
        parts.append(f"No knowledge share: {_no_knowledge(curves)}.")
    return " ".join(filter(None, parts))


def _no_knowledge(curves: Curves) -> str:
    """Why there is no knowledge share, a clause."""
    if curves.unlearned:
        return f"the {' and '.join(run.replace('_', '-') for run in curves.unlearned)} model has not learned to solve anything"
    return "it takes the same problems in both languages, and models of each language alone"


PERFORMANCE = ReportFigure(
    name="performance",
    title="Performance and knowledge share",
    chapter="tower",
    draw=performance,
    caption=_performance_caption,
    verdicts=("knowledge",),
    without="the continual run was judged at fewer than two checkpoints",
    paper="On HumanEval and MBXP a 1.3B model’s new language rises fast, declines from its peak and settles (Figure "
    "2); the knowledge share falls from about 60 % to about 0 on PHP and C#. Python’s own curve is not shown.",
)


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


LANGUAGES = ReportFigure(
    name="languages",
    title="Does it depend on the primary?",
    chapter="tower",
    draw=languages,
    caption="One mark a new language. Bars: 95 % intervals. The dependence test’s answer stands beside each.",
    verdicts=("dependence",),
    paper="C++ is said not to depend on Python’s system, and is left alone without a test.",
    without="it would compare several new languages",
    of_study=True,
)

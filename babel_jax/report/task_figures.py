"""Figures by task: writing programs beside what else is asked, over continual pre-training and of from-scratch mixes."""

import numpy as np
from matplotlib.figure import Figure

from babel_jax.evolution.mixes import Mix
from babel_jax.evolution.tasks import CHANCE, RUNS, TASKS, WRITING
from babel_jax.evolution.tasks import titles as task_titles
from babel_jax.report.drawing import (
    CONTROL,
    INK,
    NEW,
    NEW_LIGHT,
    PROPOSAL,
    Panel,
    dot_axes,
    is_curve,
    make_axes,
    percent_axis,
    reference,
    shade,
    step_axis,
    table,
)
from babel_jax.report.report_figure import ReportFigure, interval_note
from babel_jax.study.findings import Findings
from babel_jax.study.words import mix_title, names

MOST_COLUMNS = 3
LINES = (  # (run, subset, what it is called, colour, dash, width), those in front last
    ("control", "all", "control", CONTROL, "--", 1.5),
    ("continual", "transfer", "what the new language’s corpus lacks", NEW_LIGHT, "-", 1.6),
    ("continual", "all", "all questions", NEW, "-", 2.6),
)


def task_story(findings: Findings, language: str):
    """A panel a task: its score over continual pre-training, with that of what the corpus lacks, the control and chance."""
    curves, stages = findings.tasks.curves, findings.languages[language].curves.stages
    shown = [
        task for task in (WRITING, *findings.tasks.asked) if is_curve(curves.get((language, "continual", task, "all")))
    ]
    if shown in ([], [WRITING]):
        return None
    figure, axes = _panels(len(shown), 2.5)
    rows, titles = [], task_titles(findings.study.kind)
    for ax, task in zip(axes, shown, strict=True):
        panel = Panel(ax, titles[task], rows)
        step_axis(ax, curves[language, "continual", task, "all"].steps)
        percent_axis(ax, top=1.03)
        shade(ax, stages, names=False)
        ax.set_title(titles[task])
        for run, subset, name, colour, dash, width in LINES:
            if (curve := curves.get((language, run, task, subset))) is not None:
                panel.curve(name, curve, colour, dash, band=dash == "-", width=width)
                ax.lines[-1].set_label(name)
        _chance(panel, task)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=3, frameon=False, fontsize=8)
    return figure, table(rows)


def _panels(count: int, height: float) -> tuple[Figure, list]:
    """A figure with so many axes, in rows of at most MOST_COLUMNS; what a row has too many is taken away."""
    columns = min(count, MOST_COLUMNS)
    lines = -(-count // columns)
    figure, axes = make_axes(columns, 0.5 + height * lines, rows=lines)
    for ax in axes.flat[count:]:
        ax.remove()
    return figure, list(axes.flat[:count])


def _chance(panel: Panel, task: str, across: bool = False) -> None:
    """The dotted line at what a model that knows nothing gets right."""
    if CHANCE[task]:
        reference(panel.ax, **{"x" if across else "y": CHANCE[task]})
        panel.record("chance", value=CHANCE[task])


def _story_caption(findings: Findings, language: str | None) -> str:
    curve = next((findings.tasks.curves.get((language, run, WRITING, "all")) for run in RUNS), None)
    return (
        "The same checkpoints by what is asked. What is chosen from a few answers is chosen by likelihood; dotted: chance. "
        f"Where the corpus lacks what is asked, the answers differ in nothing else. {interval_note(curve)}Tints: the stages"
        f"{' of writing' if findings.study.kind == 'organism' else ''}."
    )


WITHOUT = "no task beside writing was asked: it takes a study of this version"
TASK_STORY = ReportFigure(
    name="task_story",
    title="Tasks beyond writing programs",
    chapter="tower",
    draw=task_story,
    caption=_story_caption,
    verdicts=tuple(f"course_{task.name}" for task in TASKS),
    paper="Generation alone is scored (HumanEval and MultiPL-E).",
    without=WITHOUT,
)


def task_mixes(findings: Findings):
    """A panel a task: every from-scratch mix but random ones, the best in writing first."""
    tasks = [task for task in (WRITING, *findings.tasks.asked) if _scored(findings, task)]
    if tasks in ([], [WRITING]):
        return None
    shown = sorted(
        _scored(findings, WRITING), key=lambda mix: findings.tasks.mixes[mix.name, WRITING, "all"].estimate.value
    )
    places = np.arange(len(shown))
    figure, axes = make_axes(len(tasks), 0.26 * len(shown) + 1.1, sharey=True)
    rows, titles = [], task_titles(findings.study.kind)
    for ax, task in zip(axes[0], tasks, strict=True):
        panel = Panel(ax, titles[task], rows)
        for y, mix in zip(places, shown, strict=True):
            if score := findings.tasks.mixes.get((mix.name, task, "all")):
                marker = "D" if mix.is_static else "*"
                panel.point(mix.name, y, score.estimate, _colour(findings, mix), marker, 5 if mix.is_static else 9)
        dot_axes(ax, places, [_label(findings, mix) for mix in shown])
        ax.set_xlim(0, 1.03)
        ax.set_xticks([0, 0.5, 1], ["0 %", "50 %", "100 %"])
        ax.set_title(titles[task])
        _chance(panel, task, across=True)
    return figure, table(rows)


def _scored(findings: Findings, task: str) -> list[Mix]:
    """The mixes that have a score in a task, as long as most are, without those of the swarm."""
    there = {mix for mix, name, _ in findings.tasks.mixes if name == task}
    return [mix for mix in findings.equally_long if mix.name in there and not mix.run_name.is_swarm]


def _label(findings: Findings, mix: Mix) -> str:
    name = "original" if mix.name == findings.original_name else mix_title(mix.name)
    return name + " *" * (mix.learning is not None and not mix.learned_primary_S.all())


def _colour(findings: Findings, mix: Mix) -> str:
    return INK if mix.name == findings.original_name else PROPOSAL if mix.run_name.is_optimised else CONTROL


TASK_MIXES = ReportFigure(
    name="task_mixes",
    title="Does the better corpus help beyond writing programs?",
    chapter="corpus",
    draw=task_mixes,
    caption=lambda findings, language: (
        f"From-scratch mixes of equal length, scores in {names(findings.study.new)} (means over the languages) by what is asked; "
        "black: the original mix, stars: shares that change on the way, dotted: chance; * behind a name: not every run of it had "
        "learned the primary. Bars: 95 %, over seeds (of one seed: over its questions)."
    ),
    verdicts=tuple(f"task_{task.name}" for task in TASKS),
    paper="Generation alone is scored.",
    without=WITHOUT,
    of_study=True,
)

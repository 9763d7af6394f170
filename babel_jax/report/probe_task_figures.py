"""The figures of a probe's page about tasks: what the model chooses, and how often it finds a sentence's translation."""

from babel_jax.evolution.probe_findings import ProbeFindings
from babel_jax.evolution.tasks import BESIDE, CHANCE, TITLES
from babel_jax.report.drawing import Panel, percent_axis, reference, table
from babel_jax.report.mechanism_drawing import Series, by_layer, layer_series, series, share_axis
from babel_jax.report.probe_figures import (
    DASHES,
    branch_title,
    colours_of,
    dots,
    grid,
    labelled,
    note,
    profile,
    span,
    unit_of,
)
from babel_jax.report.report_figure import ReportFigure
from babel_jax.study.words import language_name

WITHOUT = (
    "no task was asked: it takes texts of natural languages whose pairs of words are known, or functions of source code"
)


def tasks(findings: ProbeFindings):
    """A panel a task: the share of right answers of every language, with its chance."""
    names = _asked(findings)
    names = [name for name in names if name not in BESIDE or BESIDE[name].is_share]
    return _panels(findings, names, is_share=True)


def bits(findings: ProbeFindings):
    """A panel a task: bits per byte of the right answers."""
    return _panels(findings, [name for name in _asked(findings) if name in BESIDE and not BESIDE[name].is_share])


def _asked(findings: ProbeFindings) -> list[str]:
    there = {name for branch in findings.branches for name, _ in branch.tasks.scores}
    return [name for name in TITLES if name in there]


def _panels(findings: ProbeFindings, names: list[str], is_share: bool = False):
    if not names:
        return None
    followed = any(branch.is_followed for branch in findings.branches)
    lines = 0.34 * len(findings.languages) * len(findings.branches)
    figure, places = grid(len(names), 2.9 if followed else lines + 1.2)
    colours, rows = colours_of(findings), []
    for ax, name in zip(places, names, strict=True):
        shown = [
            Series(labelled(findings, branch, language_name(language)), curve, colours[language], DASHES[i % 4])
            for i, branch in enumerate(findings.branches)
            for language in findings.languages
            if (curve := branch.tasks.scores.get((name, language)))
        ]
        panel = Panel(ax, name, rows)
        if followed:
            series(panel, shown, share_axis if is_share else _from_0, unit_of(findings))
            span(ax, shown, unit_of(findings))
        else:
            dots(panel, shown, (TITLES[name], ""))
            if is_share:
                percent_axis(ax, "x", 1.02)
        ax.set_title(TITLES[name])
        if chance := CHANCE.get(name):
            reference(ax, **{"y" if followed else "x": chance})
            panel.record("chance", value=chance)
    return figure, table(rows)


def _from_0(ax) -> None:
    ax.set_ylim(0, None)


def sentences(findings: ProbeFindings):
    """The share of sentences whose translation the states find, layer by layer."""
    shown = [(branch, language) for branch in findings.branches for language in branch.tasks.sentences]
    if not shown:
        return None
    figure, places = grid(len(shown), 2.9)
    rows, colours = [], colours_of(findings)
    for ax, (branch, language) in zip(places, shown, strict=True):
        panel, layers = Panel(ax, f"{branch.name}, {language}", rows), branch.tasks.sentences[language]
        if branch.is_followed:
            series(panel, layer_series(layers), share_axis, unit_of(findings), gap=0.085)
        else:
            by_layer(panel, [Series("", profile(layers), colours[language], width=2.2)], share_axis)
        ax.set_title(branch_title(findings, branch, language_name(language)))
        reference(ax, y=branch.tasks.sentence_chance[language])
        panel.record("chance", value=branch.tasks.sentence_chance[language])
    return figure, table(rows)


def _caption(what: str):
    def caption(findings: ProbeFindings, language: str | None = None) -> str:
        curves = [curve for branch in findings.branches for curve in branch.tasks.scores.values()]
        return f"{what} {note(curves)}"

    return caption


def _sentences_caption(findings: ProbeFindings, language: str | None = None) -> str:
    curves = [one for branch in findings.branches for of in branch.tasks.sentences.values() for one in of]
    return (
        "MEXA: share of parallel sentences whose two states, averaged over the sentence with more weight for later tokens, lie "
        f"closer to each other than either does to any other sentence’s; dotted: by chance. {note(curves)}"
    )


TASKS = ReportFigure(
    name="tasks",
    title="Right answers by task",
    chapter="tasks",
    draw=tasks,
    caption=_caption(
        "Share of questions in which the right answer is more probable than every other one; dotted: by chance. Repeating the "
        "word that is to be translated is no answer, and counted apart."
    ),
    without=WITHOUT,
    of_study=True,
)
BITS = ReportFigure(
    name="task_bits",
    title="Bits per byte of right answers",
    chapter="tasks",
    draw=bits,
    caption=_caption("How well the right answers are predicted where they are asked for; lower is better."),
    without=WITHOUT,
    of_study=True,
)
SENTENCES = ReportFigure(
    name="sentences",
    title="Translations found by the states of each layer",
    chapter="tasks",
    draw=sentences,
    caption=_sentences_caption,
    without="no parallel sentences were read; give files of them with --parallel, or a corpus of natural languages",
    of_study=True,
)

"""The figures of a probe's page, in their order: what the checkpoints hold, by checkpoint and by layer.

Each draws what `evolution.probe_findings` has read; what a study's page shows too is drawn by `mechanism_drawing.py`. A
branch with one checkpoint is drawn by layer instead of by time.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import MaxNLocator

from babel_jax.evolution.curve import Curve, evenly
from babel_jax.evolution.probe_findings import Branch, ProbeFindings
from babel_jax.report import mechanism_drawing, probe_names
from babel_jax.report.drawing import (
    CONTROL,
    INK,
    KNOWLEDGE,
    NEW,
    PRIMARY,
    PROPOSAL,
    STEPS,
    TOKENS,
    Line,
    Panel,
    Unit,
    dot_axes,
    make_axes,
    reference,
    step_axis,
    table,
)
from babel_jax.report.mechanism_drawing import Series, by_layer, difference_axis, layer_series, series, share_axis
from babel_jax.report.report_figure import ReportFigure, interval_note
from babel_jax.study.words import capital, language_name

NEW_COLOURS = (NEW, PROPOSAL, KNOWLEDGE, "#6A5ACD", "#8C6D31", INK)
DASHES = ("-", "--", ":", "-.")
MOST_COLUMNS = 3
READINGS = {  # metric -> (title, its axis)
    "primary_share_pair": ("right pair", share_axis),
    "primary_share_others": ("other pairs", share_axis),
    "concept_share": ("right pair − other pairs", difference_axis),
    "primary_share_prob": ("by probability", share_axis),
    "primary_share_argmax": ("by argmax", share_axis),
}


# --- what all of them share -------------------------------------------------------------------------------------------------


def unit_of(findings: ProbeFindings) -> Unit:
    return TOKENS if findings.by_tokens else STEPS


def colours_of(findings: ProbeFindings) -> dict[str, str]:
    """A colour for each language; the primary's is the one that it has on every page."""
    cycle = (NEW_COLOURS[i % len(NEW_COLOURS)] for i in range(len(findings.new)))
    return {findings.primary: PRIMARY} | dict(zip(findings.new, cycle, strict=True))


def profile(layers: Sequence[Curve | None]) -> Line | None:
    """A measurement over the layers, at the last checkpoint; None where no layer has it."""
    there = [(layer, one.last()) for layer, one in enumerate(layers, start=1) if one]
    if not there:
        return None
    at, points = zip(*there, strict=True)
    return Line(np.array(at), *(np.array(x) for x in zip(*((p.value, *p.ci) for p in points), strict=True)))


def span(ax, shown: list[Series], unit: Unit) -> None:
    """The axis of the checkpoints that any of the curves has, and a dot for a curve of one."""
    for one in shown:
        if len(one.curve.steps) == 1:
            ax.plot(one.curve.steps, one.curve.mean, "o", color=one.colour, markersize=6, clip_on=False)
    step_axis(ax, np.unique(np.concatenate([one.curve.steps for one in shown])), unit)


def grid(panels: int, height: float):
    """(figure, the axes of so many panels in rows of at most three)."""
    columns = min(panels, MOST_COLUMNS)
    rows = -(-panels // columns)
    figure, axes = make_axes(columns, height * rows, rows=rows)
    for ax in list(axes.flat)[panels:]:
        ax.set_visible(False)
    return figure, list(axes.flat)[:panels]


def label(findings: ProbeFindings, branch: Branch) -> str:
    """The branch's name where there are several."""
    return branch.name if len(findings.branches) > 1 else ""


def labelled(findings: ProbeFindings, branch: Branch, name: str) -> str:
    """A name, with the branch's where there are several."""
    return ", ".join(filter(None, (name, label(findings, branch))))


def branch_title(findings: ProbeFindings, branch: Branch, title: str) -> str:
    return f"{branch.name}: {title}" if len(findings.branches) > 1 else capital(title)


def note(curves) -> str:
    """What the intervals of some curves are, each said once."""
    known = (one for one in curves if one and np.isfinite(one.mean).any())
    return " ".join(dict.fromkeys(interval_note(one).strip() for one in known))


# --- losses -----------------------------------------------------------------------------------------------------------------


def losses(findings: ProbeFindings):
    """Held-out loss of every language, over checkpoints; of one checkpoint a row of dots a language."""
    metrics = [
        metric
        for metric in mechanism_drawing.LOSS_TITLES
        if any(key[0] == metric for branch in findings.branches for key in branch.losses)
    ]
    metrics = sorted(metrics, key=lambda metric: metric != "bits_per_byte")
    if not metrics:
        return None
    colours, rows = colours_of(findings), []
    followed = any(branch.is_followed for branch in findings.branches)
    height = 3.1 if followed else 0.4 * len(findings.languages) * len(findings.branches) + 1.1
    figure, axes = make_axes(len(metrics), height, sharey=not followed)
    for ax, metric in zip(axes[0], metrics, strict=True):
        shown = [
            Series(labelled(findings, branch, language_name(language)), curve, colours[language], DASHES[i % 4])
            for i, branch in enumerate(findings.branches)
            for language in findings.languages
            if (curve := branch.losses.get((metric, language)))
        ]
        panel = Panel(ax, metric, rows)
        if followed:
            mechanism_drawing.losses(panel, shown, unit_of(findings))
            span(ax, shown, unit_of(findings))
        else:
            dots(panel, shown, mechanism_drawing.LOSS_TITLES[metric])
    return figure, table(rows)


def dots(panel: Panel, shown: list[Series], titles: tuple[str, str]) -> None:
    """The last points of some curves below each other; `titles`: of the panel, of the axis."""
    places = np.arange(len(shown))[::-1]
    for y, one in zip(places, shown, strict=True):
        panel.point(one.name, y, one.curve.last(), one.colour)
    dot_axes(panel.ax, places, [one.name for one in shown])
    panel.ax.set_xlim(0, None)
    panel.ax.set_title(titles[0])
    panel.ax.set_xlabel(titles[1])


def _losses_caption(findings: ProbeFindings, language=None) -> str:
    curves = [curve for branch in findings.branches for curve in branch.losses.values()]
    has_bytes = any(key[0] == "bits_per_byte" for branch in findings.branches for key in branch.losses)
    without = (
        ""
        if has_bytes
        else " There are no bits per byte: how many bytes a token stands for is not known of these texts."
    )
    return f"Loss on held-out texts, lower is better. {note(curves)}{without}"


LOSSES = ReportFigure(
    name="losses",
    title="Held-out loss by language",
    chapter="losses",
    draw=losses,
    caption=_losses_caption,
    no_value="the losses are not numbers, as those of a run that has diverged",
    without="no loss was measured",
    of_study=True,
)


# --- the working language ---------------------------------------------------------------------------------------------------


def _readings(findings: ProbeFindings, language: str, of: str = "lens") -> list[str]:
    """The readings that a figure has columns for: with the control, or without it by other ways of counting."""
    there = {key[0] for branch in findings.branches for key in getattr(branch, of) if key[1] == language}
    controlled = ["primary_share_pair", "primary_share_others", "concept_share"]
    plain = ["primary_share_pair", "primary_share_prob", "primary_share_argmax"]
    return [metric for metric in (controlled if "concept_share" in there else plain) if metric in there]


def working_language(findings: ProbeFindings, language: str):
    """Share of the primary's identifiers in the lens, layer by layer; beside it the same of other pairs, and their difference."""
    metrics = _readings(findings, language)
    branches = [branch for branch in findings.branches if any(key[1] == language for key in branch.lens)]
    if not metrics or not branches:
        return None
    figure, axes = make_axes(len(metrics), 2.7 * len(branches) + 0.3, rows=len(branches))
    rows = []
    for row, branch in enumerate(branches):
        for column, metric in enumerate(metrics):
            title, y_axis = READINGS[metric]
            panel = Panel(axes[row, column], f"{branch.name}, {metric}", rows)
            layers = branch.lens.get((metric, language), [])
            if not any(layers):
                panel.ax.set_visible(False)
            elif branch.is_followed:
                series(panel, layer_series(layers), y_axis, unit_of(findings), gap=0.085)
            else:
                by_layer(panel, [Series("", profile(layers), NEW, width=2.2)], y_axis)
            panel.ax.set_title(branch_title(findings, branch, title))
    return figure, table(rows)


def _working_language_caption(findings: ProbeFindings, language: str) -> str:
    primary = language_name(findings.primary)
    shown = {(metric, language) for metric in _readings(findings, language)}
    curves = [one for branch in findings.branches for key, of in branch.lens.items() if key in shown for one in of]
    controlled = "concept_share" in _readings(findings, language)
    said = (
        "Other pairs: the same share where the two names are those of other pairs at the same prompts, which says what a layer "
        "prefers whatever is asked for; the difference, the concept share, is what this place’s own pair adds, over the places "
        "that other pairs can be compared with."
        if controlled
        else "By probability: mean of its part in the sum of both; by argmax: its share among the places whose most probable "
        "token is one of the two."
    )
    return (
        f"Logit lens at {language_name(language)} prompts where an identifier must come: share of places where {primary}’s name "
        f"is more probable than the other language’s. {said} {note(curves)}"
    )


WORKING_LANGUAGE = ReportFigure(
    name="working_language",
    title="Working language",
    chapter="language",
    draw=working_language,
    caption=_working_language_caption,
    no_value="the most probable token is never one of the two names",
    without=probe_names.no_prompts,
)


def layer_map(findings: ProbeFindings, language: str):
    """The working language by layer and checkpoint as a map: orange where the primary's name leads, blue where the other's."""
    metrics = [metric for metric in ("primary_share_pair", "concept_share") if metric in _readings(findings, language)]
    branches = [
        b for b in findings.branches if b.is_followed and any((metric, language) in b.lens for metric in metrics)
    ]
    if not branches:
        return None
    height = min(5.0, 1.3 + 0.16 * max(branch.layers for branch in branches))
    figure, axes = make_axes(len(metrics), height * len(branches), rows=len(branches))
    rows = []
    for row, branch in enumerate(branches):
        for ax, metric in zip(axes[row], metrics, strict=True):
            layers, signed = branch.lens.get((metric, language), []), metric == "concept_share"
            if any(layers):
                _map(Panel(ax, f"{branch.name}, {metric}", rows), layers, signed, findings)
                ax.set_title(branch_title(findings, branch, READINGS[metric][0]))
            else:
                ax.set_visible(False)
    return figure, table(rows)


def _map(panel: Panel, layers: list[Curve | None], signed: bool, findings: ProbeFindings) -> None:
    """Layers from the first one up, a column for each of evenly spread checkpoints; a difference has a scale of its own."""
    at_C = np.unique(np.concatenate([one.steps for one in layers if one]))
    kept = evenly(len(at_C), MOST_IN_MAP)
    value_LxC = np.full((len(layers), len(at_C)), np.nan)
    for layer, one in enumerate(layers):
        if one:
            value_LxC[layer, np.searchsorted(at_C, one.steps)] = one.mean
    value_LxC = value_LxC[:, kept]
    most = max(np.nanmax(np.abs(value_LxC), initial=0), 0.01) if signed else 0.5
    panel.ax.pcolormesh(
        np.arange(len(kept) + 1) - 0.5,
        np.arange(len(layers) + 1) + 0.5,
        np.ma.masked_invalid(value_LxC if signed else value_LxC - 0.5),
        cmap=MAP_COLOURS,
        vmin=-most,
        vmax=most,
    )
    unit, every = unit_of(findings), max(1, -(-len(kept) // 5))
    panel.ax.set_xticks(np.arange(len(kept))[::every], [unit.tick(at) for at in at_C[kept][::every]])
    panel.ax.set_xlabel(unit.name)
    panel.ax.yaxis.set_major_locator(MaxNLocator(8, integer=True))
    panel.ax.set_ylabel("layer")
    panel.ax.grid(False)
    for layer, values_C in enumerate(value_LxC, start=1):
        for at, value in zip(at_C[kept], values_C, strict=True):
            panel.record(f"layer {layer}", at, value)


MOST_IN_MAP = 40
MAP_COLOURS = LinearSegmentedColormap.from_list("languages", [NEW, "#FFFFFF", PRIMARY], N=65)

LAYER_MAP = ReportFigure(
    name="layer_map",
    title="Working language by layer and checkpoint",
    chapter="language",
    draw=layer_map,
    caption=lambda findings, language: (
        f"{language_name(language)} prompts. Orange: {language_name(findings.primary)}’s name is the more probable one in most "
        "places; blue: the other language’s; no colour: both as often."
        + (
            " The difference from other pairs has a scale of its own: its largest value is as deep as 100 %."
            if "concept_share" in _readings(findings, language)
            else ""
        )
    ),
    without="there is one checkpoint; its layers stand in the figure before",
)


def identifiers(findings: ProbeFindings, language: str):
    """Whose name each layer prefers, over all languages: their shares at the last checkpoint."""
    branches = [branch for branch in findings.branches if any(key[0] == language for key in branch.identifiers)]
    if not branches:
        return None
    colours, rows = colours_of(findings), []
    figure, places = grid(len(branches), 3.1)
    for ax, branch in zip(places, branches, strict=True):
        shown = [
            Series(language_name(whose), line, colours.get(whose, CONTROL))
            for (prompts, whose), layers in branch.identifiers.items()
            if prompts == language and (line := profile(layers))
        ]
        by_layer(Panel(ax, f"{branch.name}, last checkpoint", rows), shown, share_axis)
        ax.set_title(branch_title(findings, branch, "whose name is preferred"))
    return figure, table(rows)


IDENTIFIERS = ReportFigure(
    name="identifiers",
    title="Which language’s name each layer prefers",
    chapter="language",
    draw=identifiers,
    caption=lambda findings, language: (
        f"Logit lens at {language_name(language)} prompts, last checkpoint: each language’s part in the summed probability of "
        "all languages’ names for the same thing; the parts sum to 1."
    ),
    without="names of one thing in more than two languages were not asked for; name three or more languages",
)


def tuned(findings: ProbeFindings, language: str):
    """The working language through the logit lens and through one trained for the last checkpoint."""
    metric = "primary_share_pair"
    branches = [branch for branch in findings.branches if (metric, language) in branch.tuned]
    if not branches:
        return None
    figure, places = grid(len(branches), 3.0)
    rows = []
    for ax, branch in zip(places, branches, strict=True):
        shown = [
            Series(name, line, colour, dash)
            for name, of, colour, dash in (
                ("logit lens", branch.lens, CONTROL, "--"),
                ("tuned lens", branch.tuned, NEW, "-"),
            )
            if (line := profile(of.get((metric, language), [])))
        ]
        by_layer(Panel(ax, f"{branch.name}, last checkpoint", rows), shown, share_axis)
        ax.set_title(branch_title(findings, branch, "right pair, by either lens"))
    return figure, table(rows)


TUNED = ReportFigure(
    name="tuned_lens",
    title="By a tuned lens",
    chapter="language",
    draw=tuned,
    caption=lambda findings, language: (
        f"Share of places in {language_name(language)} prompts where {language_name(findings.primary)}’s name is the more "
        "probable one, at the last checkpoint: a lens that was trained for each layer beside the logit lens."
    ),
    without="it was not trained; ask for it with --tuned_lens=STEPS",
)


# --- alignment --------------------------------------------------------------------------------------------------------------


def alignment(findings: ProbeFindings):
    """MEXA of every new language with the primary, layer by layer."""
    shown = [(branch, language) for branch in findings.branches for language in branch.alignment]
    if not shown:
        return None
    figure, places = grid(len(shown), 2.9)
    rows, colours = [], colours_of(findings)
    for ax, (branch, language) in zip(places, shown, strict=True):
        panel, layers = Panel(ax, f"{branch.name}, {language}", rows), branch.alignment[language]
        if branch.is_followed:
            series(panel, layer_series(layers), share_axis, unit_of(findings), gap=0.085)
        else:
            by_layer(panel, [Series("", profile(layers), colours[language], width=2.2)], share_axis)
        ax.set_title(branch_title(findings, branch, language_name(language)))
        reference(ax, y=branch.aligned_chance[language])
        panel.record("chance", value=branch.aligned_chance[language])
    return figure, table(rows)


def _alignment_caption(findings: ProbeFindings, language=None) -> str:
    curves = [one for branch in findings.branches for of in branch.alignment.values() for one in of]
    return (
        "MEXA: share of parallel prompts whose two states, averaged over the prompt, lie closer to each other than to any other "
        f"prompt’s; dotted: by chance. {note(curves)}"
    )


ALIGNMENT = ReportFigure(
    name="alignment",
    title="Alignment of parallel prompts",
    chapter="language",
    draw=alignment,
    caption=_alignment_caption,
    without="no prompts are marked as saying the same in two languages; a file for --prompts can do so (its field item)",
    of_study=True,
)

"""Figures of the primary's share: the losses, Eq. 1 against what was measured, and what Algorithm 1 asks for."""

import dataclasses

import numpy as np

from babel_jax.evolution.continual import Curves
from babel_jax.optimum import algorithm1, peak_tokens
from babel_jax.optimum.algorithm1 import Proposal
from babel_jax.optimum.peak_tokens import PeakTokens
from babel_jax.report import html_tables, mechanism_drawing
from babel_jax.report.drawing import (
    CONTROL,
    FAINT,
    INK,
    KNOWLEDGE,
    NEW,
    PRIMARY,
    PROPOSAL,
    Panel,
    beside,
    dot_axes,
    is_curve,
    make_axes,
    percent_axis,
    reference,
    shade,
    table,
)
from babel_jax.report.mechanism_drawing import LOSS_TITLES, Series
from babel_jax.report.report_figure import ReportFigure, interval_note
from babel_jax.study import words
from babel_jax.study.findings import Findings, LanguageFindings
from babel_jax.study.words import language_name, source_name

# Billions of tokens in the paper's optimised corpus; what it left alone is not listed.
PAPER_OPTIMISED = {"php": 5.0, "csharp": 10.0}
PAPER_PRIMARY = "python"
SOURCE_COLOURS = {"loss": NEW, "loss_knowledge": KNOWLEDGE, "knowledge_share": PROPOSAL, peak_tokens.SOURCE: PROPOSAL}
MANY = 20.0  # an interval that goes on beyond so many times the original is cut off with an arrow


def losses(findings: Findings, language: str):
    """Held-out loss of both languages, in all and on knowledge-bearing tokens; bits per byte where measured."""
    curves = findings.languages[language].curves
    present = [
        metric
        for metric in LOSS_TITLES
        if any(key[2] == metric and is_curve(curve) for key, curve in curves.loss.items())
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
    shown = []
    for run in ("control", "continual"):
        for language, colour in ((curves.primary, PRIMARY), (curves.new, NEW)):
            curve, name = curves.loss.get((run, language, panel.name)), language_name(language)
            if curve is not None and run == "continual":
                shown.append(Series(name, curve, colour, width=1.8))
            elif curve is not None:
                shown.append(Series(f"control, {name}", curve, CONTROL, "--", 1.2))
    mechanism_drawing.losses(panel, shown)
    shade(panel.ax, curves.stages, names=False)


def _losses_caption(findings: Findings, language: str) -> str:
    curve = findings.languages[language].curves.loss.get(("continual", language, "loss"))
    tokens = f", {curve.n:,} tokens per seed" if curve else ""
    return (
        f"Held-out text{tokens}. {interval_note(curve)}The loss on the new language can go on falling while accuracy falls: it "
        "is not a measure of the decline."
    )


LOSSES = ReportFigure(
    name="losses",
    title="Held-out loss",
    chapter="tower",
    draw=losses,
    caption=_losses_caption,
    without="the loss was measured at fewer than two checkpoints",
    no_value="the losses are not numbers, as those of a run that has diverged",
    paper="The loss stands for the share of the primary’s system (Eq. 1); no error is given.",
)


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
        ax.set_title(source_name(name).capitalize())
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
            label=f"P(l) from {source_name(source)}")  # fmt: skip
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


def _calibration_caption(findings: Findings, language: str) -> str:
    chosen = findings.languages[language].chosen
    used = (
        f" The calibrated proposal goes by the {chosen.link} link from the {words.source_name(chosen.source)} to the "
        f"{words.source_name(chosen.measured)}, which predicts checkpoints left out best (R2 {chosen.loo_r2:.2f})."
        if chosen
        else ""
    )
    return (
        "One mark a checkpoint, losses pooled over seeds; training runs from right to left, the ring is the peak. P(l) is 1 at "
        f"the first checkpoint and 0 at the last by construction: only the path between is evidence.{used}"
    )


CALIBRATION = ReportFigure(
    name="calibration",
    title="Eq. 1 against measured shares",
    chapter="corpus",
    draw=calibration,
    caption=_calibration_caption,
    without="no loss stands beside a share that was measured at the same checkpoints, or no checkpoint is surely the best",
    verdicts=("calibration",),
    paper="Eq. 1 is assumed to be linear, and is never compared with the share that was measured.",
)


def tokens(findings: Findings):
    """Tokens of each new language: the original corpus, what each source of P asks for by Eq. 3, and those at its peak."""
    original, primary, peaks = findings.study.original, findings.study.primary, _peaks(findings)
    sources = list(dict.fromkeys(source for here in findings.languages.values() for source in here.proposals))
    sources += [peak_tokens.SOURCE] * bool(peaks)
    if not sources:
        return None
    figure, axes = make_axes(1, 0.21 * (len(sources) + 2) * len(findings.languages) + 1.0)
    ax, rows, labels, y = axes[0, 0], [], [], 0.0
    amounts = [original[name] for name in findings.languages]
    limits = min(amounts) / MANY, MANY * max(amounts)
    ax.set_xscale("log")
    for name, here in findings.languages.items():
        panel = Panel(ax, name, rows)
        labels.append((y - 0.5 * len(sources), language_name(name)))
        _original_size(panel, original[name], y)
        if primary == PAPER_PRIMARY and name in PAPER_OPTIMISED:
            _paper(panel, PAPER_OPTIMISED[name], y)
        for source in sources:
            y -= 1
            if proposal := peaks.get(name) if source == peak_tokens.SOURCE else here.proposals.get(source):
                _asked(panel, source, proposal, y, original[name], limits)
        y -= 1.6
    dot_axes(ax, *zip(*labels, strict=True))
    ax.set_ylim(y + 0.8, 0.8)
    ax.set_xlim(limits[0] / 1.5, 12 * limits[1])
    ticks = [tick for tick in (0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000) if ax.get_xlim()[0] <= tick <= limits[1]]
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()
    ax.set_xlabel(f"tokens, in the unit in which {language_name(primary)} has {original[primary]:g}")
    return figure, table(rows)


def _peaks(findings: Findings) -> dict[str, PeakTokens]:
    """What the peaks ask for, in the unit of the original corpus, as the budget of its mix has it; {} where that is not known."""
    corpus = findings.peak_corpus
    if corpus is None:
        return {}
    unit = sum(findings.study.original.values()) / corpus.total
    return {
        language: dataclasses.replace(
            peak,
            tokens=unit * peak.tokens,
            tokens_ci=tuple(unit * bound for bound in peak.tokens_ci),
            decision=corpus.decisions[language],
        )
        for language, peak in findings.peaks.items()
    }


def _original_size(panel: Panel, amount: float, y: float) -> None:
    """What the original corpus has of a language."""
    panel.ax.plot(amount, y, "o", color="white", markeredgecolor=INK, markersize=7, zorder=3)
    beside(panel.ax, (amount, y), "original", INK, va="center")
    panel.record("original", value=amount)


def _paper(panel: Panel, amount: float, y: float) -> None:
    """What the paper's corpus has of it."""
    panel.ax.plot(amount, y, "D", color=FAINT, markersize=5, markeredgewidth=0)
    beside(panel.ax, (amount, y), "the paper's", FAINT, (-8, 0), ha="right", va="center")
    panel.record("optimised in the paper", value=amount)


def _asked(
    panel: Panel, source: str, proposal: Proposal | PeakTokens, y: float, original: float, limits: tuple
) -> None:
    """What a source's proposal asks for, with its interval; beyond the limits of the axis an arrow stands for it."""
    ax, (least, largest) = panel.ax, limits
    colour, series = SOURCE_COLOURS.get(source, INK), f"asked from {source}: {proposal.decision}"
    if np.isnan(proposal.tokens):
        what = "peak" if source == peak_tokens.SOURCE else "P*"
        beside(ax, (original, y), f"{source_name(source)}: {what} not determined", colour, va="center")
        panel.record(series)
        return
    low, high = proposal.tokens_ci
    changes = proposal.decision == algorithm1.CHANGE
    shown, *ends = np.clip([proposal.tokens, low, high], least, largest)
    ax.plot(ends, [y, y], color=colour, linewidth=2, solid_capstyle="butt", alpha=1 if changes else 0.45)
    for beyond, edge, mark in ((low < least, least, "<"), (high > largest, largest, ">")):
        if beyond:
            ax.plot(edge, y, mark, color=colour, markersize=5, markeredgewidth=0, alpha=1 if changes else 0.45)
    face, edge = (colour, "white") if changes else ("white", colour)
    ax.plot(shown, y, {least: "<", largest: ">"}.get(shown, "o"), color=face, markersize=6, markeredgecolor=edge)
    beside(ax, (np.fmax(shown, ends[1]), y), f"{source_name(source)}: {proposal.decision}", colour, va="center")
    panel.record(series, value=proposal.tokens, ci=(low, high))


TOKENS = ReportFigure(
    name="tokens",
    title="What Algorithm 1 proposes",
    chapter="corpus",
    draw=tokens,
    caption=(
        "Bars: 95 % interval of the proposal: the choice of the checkpoint, the seeds and the fits are part of it. Hollow "
        "marks: the corpus is not changed by them. Arrowheads: beyond the axis."
    ),
    verdicts=("proposal",),
    without="no source proposes anything: no score is above chance, or no loss and share were measured",
    paper="With 11B tokens of Python: PHP 23B to 5B (P* 0.69), C# 16B to 10B (P* 0.52); Go 11B and C++ 28B are kept.",
    table=lambda findings: html_tables.proposals(findings) + html_tables.corpora(findings),
    of_study=True,
)

"""Figures of from-scratch mixes: the optimum, the original, the rivals, predicted shares, schedules."""

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from babel_jax.common import run_names
from babel_jax.evolution.mixes import MACRO, Mix
from babel_jax.optimum.compare import TOLERANCE, Comparison, Guard
from babel_jax.optimum.rivals import final_runs
from babel_jax.optimum.schedules import Schedule
from babel_jax.report import html_tables
from babel_jax.report.drawing import (
    CONTROL,
    FAINT,
    INK,
    NEW,
    PROPOSAL,
    Label,
    Line,
    Panel,
    beside,
    depth_colour,
    dot_axes,
    label_ends,
    label_points,
    language_colour,
    make_axes,
    percent_axis,
    points_axis,
    reference,
    step_axis,
    table,
)
from babel_jax.report.report_figure import ReportFigure, unit_note
from babel_jax.study import candidates, words
from babel_jax.study.findings import Findings
from babel_jax.study.words import language_name, mix_title, names, source_name


def _epochs_note(findings: Findings) -> str:
    """What is to be said of the mixes that are longer or shorter than the others; "" without such."""
    if len(findings.equally_long) == len(findings.mixes):
        return ""
    return (
        " With equal epochs: as many tokens of the primary as the original mix has, and so another total; such a mix is shown "
        "beside the others, but not ranked among them."
    )


def _untested(mix: Mix) -> str:
    """Behind a mix's name, where its scores cannot be compared."""
    return "" if mix.learned_primary_S.all() else " (not tested: primary not learned)"


def _new(findings: Findings, mix: Mix) -> str:
    """How much of a mix is new, for an axis."""
    return f"{100 * findings.new_share(mix):.1f} % new"


def optimum(findings: Findings):
    """Score of from-scratch mixes over the new languages' token share, with what Algorithm 1 asks for."""
    mixes = [mix for mix in findings.equally_long if not mix.run_name.is_swarm]
    if len(mixes) < 2:
        return None
    score = findings.main_score
    sweep = [mix for mix in mixes if mix.run_name.is_share]
    sweep = sorted(sweep, key=lambda mix: findings.new_share(mix))
    figure, axes = make_axes(1, 4.4)
    ax, rows = axes[0, 0], []
    covered = _sweep(ax, rows, findings, sweep) if len(sweep) > 1 else []
    labels = [_mix(Panel(ax, "mixes", rows), findings, mix) for mix in mixes if not mix.run_name.is_share]
    original = findings.mix_named(findings.original_name)
    if original is not None:
        labels.append(_original(Panel(ax, "original", rows), findings, original))
    if score != MACRO:
        _continual_peak(Panel(ax, "reference", rows), findings)
    asked = _proposal_lines(Panel(ax, "proposals", rows), findings)
    ax.set_xlim(0, 1)
    scores = [row[3] for row in rows if row[0] in ("seeds", "mixes", "sweep", "reference")]
    ax.set_ylim(max(0, min(scores) - 0.06), min(1.02, max(scores) + 0.06))
    covered += [(x, y) for x in asked for y in np.linspace(*ax.get_ylim(), 30)]
    label_points(ax, labels, covered)
    ax.set_xticks(np.arange(0, 1.01, 0.1), [f"{10 * tick} %" for tick in range(11)])
    ax.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    ax.set_xlabel(f"token share of {names(findings.study.new)} in the from-scratch run")
    ax.set_ylabel(f"{language_name(score)} accuracy" if score != MACRO else "accuracy, mean over languages")
    return figure, table(rows)


def _sweep(ax, rows: list, findings: Findings, sweep: list[Mix]) -> list[tuple[float, float]]:
    """The line through the mixes of nothing but a share, with their seeds; returns points on it, for `label_points`."""
    score, by_seed, mean = findings.main_score, Panel(ax, "seeds", rows), Panel(ax, "sweep", rows)
    share = [findings.new_share(mix) for mix in sweep]
    estimates = [mix.estimate(score) for mix in sweep]
    means, bounds = [estimate.value for estimate in estimates], [estimate.ci for estimate in estimates]
    ax.fill_between(share, *zip(*bounds, strict=True), color=NEW, alpha=0.12, linewidth=0)
    for mix, x in zip(sweep, share, strict=True):
        values = mix.score_S(score)
        ax.plot([x] * len(values), values, "o", color=NEW, alpha=0.35, markersize=3.5, markeredgewidth=0)
        for seed, value in zip(mix.seeds, values, strict=True):
            by_seed.record(f"seed {seed}", x, value)
    ax.plot(share, means, "-o", color=NEW, linewidth=2, markersize=5.5, markeredgecolor="white")
    for x, estimate in zip(share, estimates, strict=True):
        mean.record("mean over seeds", x, estimate.value, estimate.ci)
    return [(x, np.interp(x, share, means)) for x in np.linspace(share[0], share[-1], 80)]


def _mix(panel: Panel, findings: Findings, mix: Mix) -> Label:
    """A mix that was not made by its share alone; returns its label."""
    x, estimate = findings.new_share(mix), mix.estimate(findings.main_score)
    colour = _colour(mix.name)
    marker, size = ("D", 6) if mix.is_static else ("*", 11)
    panel.ax.plot(x, estimate.value, marker, color=colour, markersize=size, markeredgecolor="white", zorder=4)
    panel.record(mix.name, x, estimate.value, estimate.ci)
    return Label(x, estimate.value, mix_title(mix.name), colour)


def _original(panel: Panel, findings: Findings, mix: Mix) -> Label:
    """A ring around the original mix; returns its label."""
    x, y = findings.new_share(mix), mix.estimate(findings.main_score).value
    panel.ax.plot(x, y, "o", color="white", markeredgecolor=INK, markersize=8, zorder=5)
    panel.record(mix.name, x, y)
    return Label(x, y, "original", INK)


def _colour(name: str) -> str:
    """Of a mix: whether it is what the optimiser asks for."""
    return PROPOSAL if run_names.mix(name).is_optimised else CONTROL


def _continual_peak(panel: Panel, findings: Findings) -> None:
    """What the continual run reaches at its best, where there is one new language."""
    (here,) = findings.languages.values()
    if not here.stages:
        return
    peak = here.stages.peak
    reference(panel.ax, y=peak.value)
    panel.ax.text(0.995, peak.value + 0.01, "peak of continual pre-training", ha="right", va="bottom", fontsize=7.5,
                  color=FAINT)  # fmt: skip
    panel.record("continual peak", value=peak.value, ci=peak.ci)


def _proposal_lines(panel: Panel, findings: Findings) -> list[float]:
    """Vertical lines where the corpora lie that are asked for, returns their x; with one new language also the intervals of those
    that were trained."""
    marks, ends = sorted(findings.asked, key=lambda mark: mark.share), []
    trained = {mix.run_name.source or mix.name for mix in findings.mixes}  # strips of all would cover each other
    for mark in marks:
        x, text = mark.share, f"asked from {source_name(mark.source)}"
        half = 0.0042 * len(text)
        level = next((i for i, end in enumerate(ends) if x - half > end), len(ends))
        ends[level : level + 1] = [x + half]
        panel.ax.axvline(x, color=PROPOSAL, linewidth=1.2)
        if mark.ci and np.isfinite(mark.ci).all() and mark.source in trained:
            panel.ax.axvspan(*mark.ci, color=PROPOSAL, alpha=0.06, linewidth=0)
        beside(panel.ax, (min(max(x, half), 1 - half), 1.02), text, PROPOSAL, (0, 11 * level),
               xycoords=("data", "axes fraction"), ha="center", va="bottom")  # fmt: skip
        panel.record(text, x, ci=mark.ci or (np.nan, np.nan))
    return [mark.share for mark in marks]


OPTIMUM = ReportFigure(
    name="optimum",
    title="Predicted and actual optimum",
    chapter="corpus",
    draw=optimum,
    caption=lambda findings, language: (
        "Models from scratch, trained for equally many steps; small dots are seeds, the ring is the original mix, diamonds "
        "are other mixes, stars those whose shares change on the way. Band: 95 %, "
        f"{'Student t over seeds' if len(findings.study.seeds) > 1 else 'over problems, one seed'}. "
        "Lines: what Algorithm 1 asks for as it is written, from the calibrated share as the tests allow; strips, with one "
        "new language: its 95 % interval."
    ),
    verdicts=("optimum",),
    without="fewer than two equally long mixes were trained",
    paper="Four points of one language, no seeds.",
    of_study=True,
)


def better(findings: Findings):
    """The better corpus against the original in every language, by seed and as a paired difference."""
    name, original = findings.optimised_name, findings.original_name
    if not (name and original) or findings.unlearned([findings.mix_named(each) for each in (original, name)])[0]:
        return None
    wanted = [*findings.mix_named(name).score, *([MACRO] if len(findings.languages) > 1 else [])]
    pairs = {score: pair for score in wanted if (pair := findings.against_original(name, score))}
    if not pairs:
        return None
    figure, axes = make_axes(2, 0.5 * len(pairs) + 1.5, width_ratios=[1.25, 1], sharey=True)
    rows, places = [], np.arange(len(pairs))[::-1]
    left, right = axes[0]
    for y, (score, pair) in zip(places, pairs.items(), strict=True):
        _pairs(Panel(left, score, rows), findings, pair, y)
        Panel(right, score, rows).point("difference", y, pair, PROPOSAL)
    for ax in (left, right):
        dot_axes(ax, places, ["mean" if score == MACRO else language_name(score) for score in pairs])
    points_axis(right)
    right.set_title("Better corpus minus original (paired), points")
    _pair_legend(figure, left)
    return figure, table(rows)


def _pair_legend(figure, ax) -> None:
    ax.set_title("Accuracy, one line a seed")
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.xaxis.set_major_formatter(lambda value, _: f"{round(100 * value, 1):g} %")
    handles = ax.get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper left", ncols=2, frameon=False, fontsize=8, handlelength=1)


def _better_caption(findings: Findings, language: str | None) -> str:
    optimised, original = (findings.mix_named(name) for name in (findings.optimised_name, findings.original_name))
    primary, seeds = findings.study.primary, words.seeds(len(findings.study.seeds)).capitalize()
    return (
        f"The better corpus, {mix_title(optimised.name)}: {words.ratios(optimised.shares, primary)}; the original has "
        f"{words.ratios(original.shares, primary)}. {seeds}. Bars: 95 %, {unit_note(findings)}."
    )


BETTER = ReportFigure(
    name="better",
    title="The better corpus against the original",
    chapter="story",
    draw=better,
    caption=_better_caption,
    without=lambda findings, language: (
        "the original mix or an optimised one was not trained"
        if not (findings.optimised_name and findings.original_name)
        else "one of the two mixes has not learned the primary language, so there is nothing to compare"
    ),
    of_study=True,
)


def original_optimised(findings: Findings):
    """The original mix against each that the optimiser asks for, paired over seeds."""
    asked = [mix for mix in findings.mixes if mix.run_name.is_optimised and mix.is_static]
    pairs = [(mix, pair) for mix in asked if (pair := findings.against_original(mix.name))]
    if not pairs:
        return None
    figure, axes = make_axes(2, 0.62 * len(pairs) + 1.5, width_ratios=[1.25, 1], sharey=True)
    rows, places = [], np.arange(len(pairs))[::-1]
    left, right = axes[0]
    for y, (mix, pair) in zip(places, pairs, strict=True):
        _pairs(Panel(left, mix.name, rows), findings, pair, y)
        Panel(right, mix.name, rows).point("difference", y, pair, PROPOSAL)
    labels = [f"{mix_title(mix.name)}\n{_new(findings, mix)}{_untested(mix)}" for mix, _ in pairs]
    for ax in (left, right):
        dot_axes(ax, places, labels)
    points_axis(right)
    right.set_title("Optimised minus original (paired), points")
    _pair_legend(figure, left)
    return figure, table(rows)


def _pairs(panel: Panel, findings: Findings, pair: Comparison, y: int) -> None:
    """The two scores of each seed, joined by a line; those at the height 0 name the marks in the legend."""
    score, original, mix = pair.score, findings.mix_named(pair.first), findings.mix_named(pair.second)
    for i, seed in enumerate(pair.seeds):
        one, two = (each.score_S(score)[each.seeds.index(seed)] for each in (original, mix))
        at, named = y + 0.13 * (i - (len(pair.seeds) - 1) / 2), y == 0 and i == 0
        panel.ax.plot([one, two], [at, at], color="#B8C0C8", linewidth=1.2, zorder=1)
        panel.ax.plot(one, at, "o", color="white", markeredgecolor=INK, markersize=5.5,
                      label="original mix" if named else None)  # fmt: skip
        panel.ax.plot(two, at, "o", color=PROPOSAL, markersize=5.5, label="optimised mix" if named else None)
        panel.record(f"original, seed {seed}", value=one)
        panel.record(f"optimised, seed {seed}", value=two)


def _paired_caption(findings: Findings, language: str | None) -> str:
    seeds = words.seeds(len(findings.study.seeds))
    return f"{seeds.capitalize()}. Bars: 95 %, {unit_note(findings)}.{_epochs_note(findings)}"


ORIGINAL_OPTIMISED = ReportFigure(
    name="original_optimised",
    title="Original against optimised mix",
    chapter="corpus",
    draw=original_optimised,
    caption=_paired_caption,
    verdicts=("original", "sooner"),
    without="the original mix, or one that the optimiser asks for, was not trained",
    paper="The optimised models average 26.61 on HumanEval at 1.3B parameters and 41.96 at 6.7B. Go at 1.3B falls "
    "from 21.43 to 16.88 and is not discussed.",
    of_study=True,
)


def rivals(findings: Findings):
    """Every named mix against the original, in all and by language, and what finding it costs."""
    pairs = {
        mix.name: pair
        for mix in findings.mixes
        if not (mix.run_name.is_share or mix.run_name.is_swarm) and (pair := findings.against_original(mix.name))
    }
    if not pairs:
        return None
    score, long = findings.main_score, [mix.name for mix in findings.equally_long]
    order = sorted(pairs, key=lambda name: (name not in long, -pairs[name].value))
    figure, axes = make_axes(3, 0.4 * len(order) + 1.3, sharey=True, width_ratios=[1.2, 1.2, 0.6])
    rows, places, labels = [], np.arange(len(order))[::-1], []
    main, each, cost = axes[0]
    costs = []
    for y, name in zip(places, order, strict=True):
        held, colour = findings.guard(name), _colour(name)
        Panel(main, score, rows).point(name, y, pairs[name], colour)
        _guarded(each, rows, name, y, held)
        searches = candidate.searches if (candidate := candidates.candidate_of(name)) else ()
        costs.append(final_runs(findings.costs, searches))
        _cost(Panel(cost, "search cost", rows), name, y, costs[-1], colour)
        untested = _untested(findings.mix_named(name))
        labels.append(mix_title(name) + (untested or (" (fails the guard)" if held.passes is False else "")))
    for ax in axes[0]:
        dot_axes(ax, places, labels)
    for ax in (main, each):
        points_axis(ax)
    main.set_title(
        "Accuracy minus original's" if score == MACRO else f"{language_name(score)} accuracy minus original's"
    )
    main.set_xlabel("points" + (", mean over languages" if score == MACRO else ""))
    each.set_title("By language (cross: harmed)")
    each.set_xlabel("points")
    cost.set_title("Search cost")
    cost.set_xlabel("in from-scratch runs")
    cost.set_xlim(0, 1.4 * max(1.0, *costs))
    shown = sorted(findings.mixes[0].score)
    handles = [Line2D([], [], color=language_colour(one), marker="o", label=language_name(one)) for one in shown]
    figure.legend(handles=handles, loc="outside upper right", ncols=len(shown), frameon=False, fontsize=8,
                  handlelength=1.2)  # fmt: skip
    return figure, table(rows)


def _guarded(ax, rows: list, name: str, y: float, held: Guard) -> None:
    """What a mix changes in each language; a cross where it harms it."""
    spread = np.linspace(0.26, -0.26, len(held.languages))
    for offset, (language, change) in zip(spread, held.languages.items(), strict=True):
        marker, size = ("X", 7) if change.is_harm else ("o", 4.5)
        panel = Panel(ax, f"by language: {language}", rows)
        panel.point(name, y + offset, change, language_colour(language), marker, size)


def _cost(panel: Panel, name: str, y: float, runs: float, colour: str) -> None:
    """What finding a mix costs, in from-scratch runs."""
    panel.ax.barh(y, runs, height=0.5, color=colour, alpha=0.75)
    beside(panel.ax, (runs, y), f"{runs:.1f}" if runs else "0", FAINT, (5, 0), va="center")
    panel.record(name, value=runs)


RIVALS = ReportFigure(
    name="rivals",
    title="Against the rivals",
    chapter="corpus",
    draw=rivals,
    caption=lambda findings, language: (
        f"Difference to the original mix. Bars: 95 %, {unit_note(findings)}. A cross: the guard fails, the "
        f"interval of a language is wholly below zero and reaches beyond {100 * TOLERANCE:.0f} points.{_epochs_note(findings)}"
    ),
    verdicts=("rivals", "guard", "law", "cost"),
    without="the original mix, or others beside it that are more than a share, were not trained",
    paper="No other optimised mix is compared.",
    table=html_tables.costs,
    of_study=True,
)


def predicted(findings: Findings):
    """The primary's share that the tokens predict (Eq. 2) against the lens of the from-scratch run itself."""
    shares = [row for row in findings.predicted if np.isfinite(row.predicted) and np.isfinite(row.measured)]
    if not shares:
        return None
    shown = list(dict.fromkeys(row.language for row in shares))
    columns = min(max(len(shown), 3), 4)
    lines = -(-len(shown) // columns)
    figure, axes = make_axes(columns, 3.3 * lines, rows=lines, sharey=True)
    rows = []
    for ax in list(axes.flat)[len(shown) :]:
        ax.set_visible(False)
    for ax, language in zip(axes.flat, shown, strict=False):
        panel, colour = Panel(ax, language, rows), language_colour(language)
        reference(ax)
        for row in (row for row in shares if row.language == language):
            ax.plot([row.predicted] * 2, row.ci, color=colour, linewidth=1.2, alpha=0.6)
            ax.plot(row.predicted, row.measured, "o", color=colour, markersize=5, markeredgecolor="white")
            panel.record(row.run, row.predicted, row.measured, row.ci)
        ax.set_title(language_name(language))
        ax.set_xlabel("predicted by Eq. 2")
        ax.grid(True, axis="both")
        percent_axis(ax, top=1.03)
        percent_axis(ax, "x", top=1.03)
    axes[0, 0].set_ylabel(f"measured share of {language_name(findings.study.primary)}")
    return figure, table(rows)


PREDICTED = ReportFigure(
    name="predicted",
    title="Predicted and measured shares, from scratch",
    chapter="corpus",
    draw=predicted,
    caption=(
        "One mark a from-scratch mix: the share that Eq. 2 predicts from its tokens, and the one its probes measure. "
        "Bars: 95 %, Student t over seeds."
    ),
    verdicts=("predicted",),
    without="the lens was not run on from-scratch models",
    paper="From-scratch models are not probed.",
    of_study=True,
)


def schedule(findings: Findings):
    """What a phase of the new languages reaches by its length and its replay, with the proposed schedule."""
    if not findings.schedules:
        return None
    surface, proposal = findings.schedules.surface, findings.schedules.proposal
    figure, axes = make_axes(1, 3.9)
    ax, rows, labels = axes[0, 0], [], []
    step_axis(ax, surface.tokens)
    for i, replay in enumerate(surface.replay):
        colour, name = depth_colour(i, len(surface.replay)), f"{100 * replay:g} % replay"
        curve = Line(surface.tokens, surface.score_RxC[i], surface.low_RxC[i], surface.high_RxC[i])
        Panel(ax, "surface", rows).curve(name, curve, colour)
        labels.append((curve.mean[-1], name, colour))
    percent_axis(ax, top=1.03)
    label_ends(ax, labels)
    if proposal:
        _proposed(ax, rows, proposal)
    ax.set_xlabel("tokens of the phase in which the new language is learned (of each, where there are several)")
    ax.set_ylabel("score: mean over all languages")
    return figure, table(rows)


def _proposed(ax, rows: list, proposal: Schedule) -> None:
    """The score that is predicted of a schedule, and how long each language's phase is to be."""
    note = f"proposed: {100 * proposal.replay:g} % replay"
    panel = Panel(ax, note, rows)
    ax.set_title(f"Score of a phase, and what is {note}")
    reference(ax, y=proposal.predicted, colour=PROPOSAL)
    ax.axhspan(*proposal.predicted_ci, color=PROPOSAL, alpha=0.08, linewidth=0)
    panel.record("score", value=proposal.predicted, ci=proposal.predicted_ci)
    for place, (name, phase) in enumerate(reversed(proposal.by_language.items())):
        x, ends = (np.asarray(tokens) / (1 - proposal.replay) for tokens in (phase.tokens, phase.ci))
        y, colour = 0.05 + 0.07 * place, language_colour(name)
        ax.plot(ends, [y, y], color=colour, linewidth=2)
        ax.plot(x, y, "D", color=colour, markersize=7, markeredgecolor="white")
        beside(ax, (max(x, ends[1]), y), f"best for {language_name(name)}", colour, va="center")
        panel.record(f"{name}: tokens", value=x, ci=ends)


SCHEDULE = ReportFigure(
    name="schedule",
    title="Schedules: the order matters",
    chapter="corpus",
    draw=schedule,
    caption=(
        "The primary first, then a phase of the new languages: what a phase of this length reaches, a curve for each share "
        "of replay. Diamonds: the length proposed for each language, with its 95 % interval; their height means nothing. "
        "Dotted: the score predicted for the whole schedule."
    ),
    verdicts=("schedule",),
    without="no continual run with replay was judged, or there is no original mix whose length a schedule could have",
    paper="Only static mixes are considered.",
    of_study=True,
)

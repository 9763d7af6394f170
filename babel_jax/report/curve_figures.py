"""The curve as a law: a continual run's score against tokens, and what it and the mixing laws foretell of mixes."""

import numpy as np

from babel_jax.optimum.curve_law import CurveLaw
from babel_jax.report.drawing import (
    CONTROL,
    FAINT,
    KNOWLEDGE,
    NEW,
    Panel,
    label_ends,
    language_colour,
    make_axes,
    percent_axis,
    reference,
    table,
)
from babel_jax.report.report_figure import ReportFigure
from babel_jax.study.findings import Findings
from babel_jax.study.words import language_name, seeds

# Of those that foretell: colour, mark and name.
_LAWS = {
    "curve": (NEW, "o", "the curve, at a distance"),
    "log_linear": (CONTROL, "s", "log-linear mixing law"),
    "quadratic": (KNOWLEDGE, "^", "quadratic regression"),
}


def foretold(findings: Findings):
    """Left the curve with the mixes' scores over tokens; right the scores of mixes left out, foretold and measured."""
    laws = list(findings.curve_laws.values())
    if not laws:
        return None
    figure, axes = make_axes(2, 3.8, width_ratios=[1.2, 1])
    rows, (left, right) = [], axes[0]
    for law in laws:
        _over_tokens(Panel(left, "over tokens", rows), findings, law, _colour(laws, law))
    left.set_xscale("log")
    left.set_xlabel("tokens of the new language")
    left.set_title("A continual run, and mixes from scratch")
    percent_axis(left, top=1.05)
    ends = [(float(law.curve(np.inf)), language_name(law.curve.language), _colour(laws, law)) for law in laws]
    label_ends(left, ends)
    for name, (colour, mark, title) in _LAWS.items():
        for law in laws:
            kind = law.chosen if name == "curve" else name
            if kind in law.held_out:
                _against(Panel(right, title, rows), law, law.held_out[kind], colour, mark)
        if any((law.chosen if name == "curve" else name) in law.held_out for law in laws):
            right.plot([], [], mark, color=colour, markersize=6, label=title)
    reference(right)
    percent_axis(right, top=1.05)
    percent_axis(right, "x", 1.05)
    right.set_xlabel("foretold, from the other mixes")
    right.set_title("Measured against foretold")
    right.legend(loc="upper left", frameon=False, fontsize=7.5, handlelength=1)
    return figure, table(rows)


def _colour(laws: list[CurveLaw], law: CurveLaw) -> str:
    return NEW if len(laws) == 1 else language_colour(law.curve.language)


def _over_tokens(panel: Panel, findings: Findings, law: CurveLaw, colour: str) -> None:
    curve, name = law.curve, language_name(law.curve.language)
    mean_C, low_C, high_C = curve.over_seeds()
    tokens_N = np.geomspace(
        curve.tokens_C[curve.tokens_C > 0].min(), max(curve.tokens_C.max(), law.tokens_M.max()), 200
    )
    panel.ax.plot(tokens_N, curve(tokens_N), "-", color=colour)
    seen = curve.tokens_C > 0
    panel.ax.fill_between(curve.tokens_C[seen], low_C[seen], high_C[seen], color=colour, alpha=0.13, linewidth=0)
    for tokens, mean, *ci in zip(curve.tokens_C, mean_C, low_C, high_C, strict=True):
        panel.record(f"{name}, {curve.run}", tokens, mean, ci)
    for mix, tokens in zip(law.names, law.tokens_M, strict=True):
        score = findings.mix_named(mix).estimate(curve.language)
        ci = np.clip(score.ci, 0, 1)
        panel.record(f"{name}, mix {mix}", tokens, score.value, ci)
        if tokens > 0:
            panel.ax.plot([tokens, tokens], ci, color=colour, linewidth=1.2, alpha=0.5)
            panel.ax.plot(tokens, score.value, "D", color=colour, markersize=5.5, markeredgecolor="white")
    if law.beyond:
        reference(panel.ax, x=curve.tokens_C.max(), colour=FAINT)


def _against(panel: Panel, law: CurveLaw, foretold_M, colour: str, mark: str) -> None:
    panel.ax.plot(foretold_M, law.measured_M, mark, color=colour, markersize=6, markeredgecolor="white", alpha=0.9)
    for mix, x, value in zip(law.names, foretold_M, law.measured_M, strict=True):
        panel.record(f"{language_name(law.curve.language)}, mix {mix}", x, value)


def _caption(findings: Findings, language: str | None) -> str:
    laws = findings.curve_laws.values()
    law = next(iter(laws), None)
    if law is None:
        return ""
    beyond = " Right of the dotted line the run has seen no more tokens, and its last score stands." * any(
        each.beyond for each in laws
    )
    return (
        f"Left: accuracy of the {law.curve.run} run over the tokens of the new language it has seen "
        f"({seeds(len(law.curve.score_SxC))}); diamonds are from-scratch mixes with as many of these tokens, means over their "
        f"seeds. Band and bars: 95 %, Student t over seeds.{beyond} Right: each of the {len(law.names)} mixes ({law.runs} "
        "runs), foretold by what was fitted to the others: the curve moved by a distance, and the two mixing laws, which need "
        "all those runs. On the dotted line a law is right."
    )


FORETOLD = ReportFigure(
    name="foretold",
    title="The curve as a law",
    chapter="corpus",
    draw=foretold,
    caption=_caption,
    verdicts=("curve_law",),
    without="there are too few mixes to test a curve on, or the continual run has learned nothing",
    of_study=True,
)

"""Scores on problem suites over the checkpoints of one run: a figure a suite, with the data of it beside it."""

import json

import matplotlib

from babel_jax import files, measurements
from babel_jax.errors import UserError
from babel_jax.evolution import measured
from babel_jax.languages import LANGUAGES
from babel_jax.report.figures import (
    STYLE,
    curve_table,
    draw_curve,
    label_ends,
    language_name,
    make_axes,
    step_axis,
    svg,
)

COLOURS = dict(zip(LANGUAGES, ("#D4800A", "#0B6FB8", "#B3417A", "#00846B", "#6A5ACD"), strict=False))
PANELS = {"pass@1": "pass@1, all problems", "bits_per_byte": "reference solutions, bits per byte"}


def build(place) -> list:
    """Writes `place/figures/<suite>.svg` and `.csv` from `place/measurements`; returns the figures' paths.

    Raises:
      UserError: nothing was measured there.
    """
    place = files.path(place)
    frame = measurements.read(place)
    frame = frame[frame["probe"] == "evaluation"]
    suites = sorted({json.loads(text).get("suite", "") for text in frame["options"].unique()} - {""})
    if not suites:
        raise UserError(f"{place} holds no scores on problem suites; run `evaluate --suite` first.")
    written = []
    for suite in suites:
        with matplotlib.rc_context(STYLE):
            figure, table = draw(frame, suite)
        path = place / "figures" / f"{suite}.svg"
        files.write_atomic(path, svg(figure, suite))
        files.write_atomic(path.with_suffix(".csv"), table.to_csv(index=False))
        written.append(path)
    return written


def draw(frame, suite: str):
    """(figure, table) of one suite: a panel each for pass@1 and, where measured, for the likelihood of the solutions."""
    curves = {}
    for metric in PANELS:
        for language in LANGUAGES:
            options = {"suite": suite} | ({"subset": "all"} if metric == "pass@1" else {})
            curve = measured.curve(frame, options, metric=metric, language=language)
            if curve is not None:
                curves.setdefault(metric, {})[language] = curve
    figure, axes = make_axes(len(curves), 3.4)
    rows = []
    for ax, (metric, by_language) in zip(axes[0], curves.items(), strict=True):
        steps = max((curve["steps"] for curve in by_language.values()), key=len)
        if len(steps) > 1:
            step_axis(ax, steps)
        else:
            ax.set_xticks(steps)
            ax.set_xlabel("optimiser steps")
        ax.set_title(f"{suite}: {PANELS[metric]}")
        for language, curve in by_language.items():
            marker = {"marker": "o"} if len(steps) == 1 else {}
            draw_curve(ax, rows, metric, language_name(language), curve, COLOURS[language], **marker)
            if len(steps) == 1:
                ax.vlines(steps, curve["low"], curve["high"], color=COLOURS[language], linewidth=1)
        ax.set_ylim(bottom=0)
        label_ends(ax, [(curve["mean"][-1], language_name(name), COLOURS[name]) for name, curve in by_language.items()])
    return figure, curve_table(rows)

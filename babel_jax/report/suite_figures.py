"""Scores on problem suites over the checkpoints of one run: a figure a suite, with the data of it beside it."""

import matplotlib

from babel_jax.common import files, measurements
from babel_jax.common.errors import UserError
from babel_jax.evolution import curve as curves
from babel_jax.evolution.curve import Curve
from babel_jax.report.drawing import LANGUAGE_COLOURS, STYLE, Panel, label_ends, make_axes, step_axis, svg, table
from babel_jax.study.words import language_name


def build(place) -> list:
    """Writes `place/figures/<suite>.svg` and `.csv` from `place/measurements`; returns the figures' paths.

    Raises:
      UserError: nothing was measured there.
    """
    place = files.path(place)
    frame = measurements.read(place)
    frame = frame[frame["probe"] == "evaluation"]
    suites = sorted(set(measurements.option(frame, "suite")) - {""})
    if not suites:
        raise UserError(f"{place} holds no scores on problem suites; run `evaluate --suite` first.")
    written = []
    for suite in suites:
        with matplotlib.rc_context(STYLE | {"text.parse_math": False}):  # a suite's name is a name, whatever is in it
            figure, drawn = draw(frame, suite)
            content = svg(figure, suite)
        path = place / "figures" / f"{suite}.svg"
        files.write_atomic(path, content)
        files.write_atomic(path.with_suffix(".csv"), drawn.to_csv(index=False))
        written.append(path)
    return written


def draw(frame, suite: str):
    """(figure, table) of one suite: a panel for pass@k, of the least k, and one for the likelihood of the solutions.

    A panel is there where its metric was measured: curves over checkpoints, or of a single one a point a language.
    """
    k = min((int(name[5:]) for name in frame["metric"].unique() if name.startswith("pass@")), default=1)
    titles = {f"pass@{k}": f"pass@{k}, all problems", "bits_per_byte": "reference solutions, bits per byte"}
    options = {f"pass@{k}": {"suite": suite, "subset": "all"}, "bits_per_byte": {"suite": suite}}
    shown = {metric: _by_language(frame, metric, options[metric]) for metric in titles}
    shown = {metric: by_language for metric, by_language in shown.items() if by_language}
    figure, axes = make_axes(len(shown), 3.4)
    rows = []
    for ax, (metric, by_language) in zip(axes[0], shown.items(), strict=True):
        panel = Panel(ax, metric, rows)
        ax.set_title(f"{suite}: {titles[metric]}")
        steps = max((each.steps for each in by_language.values()), key=len)
        if len(steps) == 1:
            _draw_points(panel, by_language)
        else:
            step_axis(ax, steps)
            _draw_curves(panel, by_language)
        ax.set_ylim(bottom=0)
    return figure, table(rows)


def _by_language(frame, metric: str, options: dict) -> dict[str, Curve]:
    by_language = {name: curves.curve(frame, options, metric=metric, language=name) for name in LANGUAGE_COLOURS}
    return {name: each for name, each in by_language.items() if each is not None}


def _draw_curves(panel: Panel, by_language: dict[str, Curve]) -> None:
    labels = []
    for language, curve in by_language.items():
        name, colour = language_name(language), LANGUAGE_COLOURS[language]
        panel.curve(name, curve, colour)
        labels.append((curve.mean[-1], name, colour))
    label_ends(panel.ax, labels)


def _draw_points(panel: Panel, by_language: dict[str, Curve]) -> None:
    for place, (language, curve) in enumerate(by_language.items()):
        value, *ci = curve.mean[0], curve.low[0], curve.high[0]
        panel.ax.plot([place], [value], "o", color=LANGUAGE_COLOURS[language])
        panel.ax.vlines([place], *ci, color=LANGUAGE_COLOURS[language])
        panel.record(language_name(language), float(curve.steps[0]), value, ci)
    panel.ax.set_xticks(range(len(by_language)), map(language_name, by_language))
    panel.ax.set_xlim(-0.6, len(by_language) - 0.4)

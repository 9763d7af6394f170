"""Scores on problem suites over the checkpoints of one run: a figure a suite, with the data of it beside it."""

import matplotlib

from babel_jax import files, measurements
from babel_jax.errors import UserError
from babel_jax.evolution import measured
from babel_jax.report.drawing import (
    LANGUAGE_COLOURS,
    STYLE,
    curve_table,
    draw_curve,
    label_ends,
    make_axes,
    step_axis,
)
from babel_jax.report.figures import svg
from babel_jax.report.words import language_name


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
            figure, table = draw(frame, suite)
            content = svg(figure, suite)
        path = place / "figures" / f"{suite}.svg"
        files.write_atomic(path, content)
        files.write_atomic(path.with_suffix(".csv"), table.to_csv(index=False))
        written.append(path)
    return written


def draw(frame, suite: str):
    """(figure, table) of one suite: a panel for pass@k, of the least k, and one for the likelihood of the solutions.

    A panel is there where its metric was measured: curves over checkpoints, or of a single one a point a language.
    """
    k = min((int(name[5:]) for name in frame["metric"].unique() if name.startswith("pass@")), default=1)
    panels = {f"pass@{k}": f"pass@{k}, all problems", "bits_per_byte": "reference solutions, bits per byte"}
    curves = {}
    for metric in panels:
        for language in LANGUAGE_COLOURS:
            options = {"suite": suite} | ({"subset": "all"} if metric != "bits_per_byte" else {})
            curve = measured.curve(frame, options, metric=metric, language=language)
            if curve is not None:
                curves.setdefault(metric, {})[language] = curve
    figure, axes = make_axes(len(curves), 3.4)
    rows = []
    for ax, (metric, by_language) in zip(axes[0], curves.items(), strict=True):
        ax.set_title(f"{suite}: {panels[metric]}")
        steps = max((curve["steps"] for curve in by_language.values()), key=len)
        if len(steps) == 1:
            _draw_points(ax, rows, metric, by_language)
        else:
            step_axis(ax, steps)
            for language, curve in by_language.items():
                draw_curve(ax, rows, metric, language_name(language), curve, LANGUAGE_COLOURS[language])
            ends = [
                (curve["mean"][-1], language_name(name), LANGUAGE_COLOURS[name]) for name, curve in by_language.items()
            ]
            label_ends(ax, ends)
        ax.set_ylim(bottom=0)
    return figure, curve_table(rows)


def _draw_points(ax, rows: list, metric: str, by_language: dict) -> None:
    for place, (language, curve) in enumerate(by_language.items()):
        value, low, high = (curve[name][0] for name in ("mean", "low", "high"))
        ax.plot([place], [value], "o", color=LANGUAGE_COLOURS[language])
        ax.vlines([place], low, high, color=LANGUAGE_COLOURS[language])
        rows.append((metric, language_name(language), float(curve["steps"][0]), value, low, high))
    ax.set_xticks(range(len(by_language)), map(language_name, by_language))
    ax.set_xlim(-0.6, len(by_language) - 0.4)

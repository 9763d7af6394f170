"""The report of a study: its figures, its tables, its numbers, and the page that shows them."""

import dataclasses
from pathlib import Path

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from babel_jax.common import files
from babel_jax.report import drawing, figures, page, summary, tables, terminal
from babel_jax.report.drawing import Drawn
from babel_jax.study import analysis, verdicts
from babel_jax.study.findings import Findings


@dataclasses.dataclass(frozen=True)
class Report:
    """Where the page lies, and the main numbers as a table for the terminal."""

    page: Path
    table: str


def build(study_dir) -> Report:
    """Writes report/ of a study from its rows.

    report/: index.html; summary.json; results.md and results.tex; story.png; figures/ with an SVG, a PNG and a CSV of every
    figure (`<name>` or, one for each of several new languages, `<name>_<language>`). The same rows give the same bytes,
    apart from the study's own times.

    Raises:
      UserError: no study there, no measurements, or the continual run was not evaluated.
    """
    study_dir = files.path(study_dir)
    found = analysis.of_study(study_dir)
    judged, drawn = verdicts.verdicts(found), draw(found)
    folder = study_dir / "report"
    for figure in drawn:
        for suffix, content in (("svg", figure.svg), ("png", figure.png), ("csv", figure.csv)):
            files.write_atomic(folder / "figures" / f"{figure.stem}.{suffix}", content)
        if figure.stem == "story":
            files.write_atomic(folder / "story.png", figure.png)
    files.write_json(folder / "summary.json", summary.summary(found, judged))
    for name, content in tables.results(found, judged).items():
        files.write_atomic(folder / name, content)
    index = folder / "index.html"
    files.write_atomic(index, page.page(found, judged, drawn))
    return Report(index, terminal.terminal_table(found))


def draw(found: Findings) -> list[Drawn]:
    """Every figure that a study's measurements allow; of several new languages also the story of each."""
    several = len(found.languages) > 1
    with matplotlib.rc_context(drawing.STYLE):
        made = [(name, None, figure(found)) for name, figure in figures.OF_THE_STUDY.items()]
        made += [
            (name, language, figure(found, language))
            for name, figure in figures.OF_A_LANGUAGE.items()
            for language in found.languages
        ]
        if several:
            made += [("story", language, figures.story(found, language)) for language in found.languages]
    return [
        _drawn(name, language, f"{name}_{language}" if language and several else name, *figure)
        for name, language, figure in made
        if figure is not None
    ]


def _drawn(name: str, language: str | None, stem: str, figure: Figure, table: pd.DataFrame) -> Drawn:
    csv = table.to_csv(index=False, float_format="%.6g")
    return Drawn(name, language, stem, drawing.svg(figure, stem), drawing.png(figure), csv)

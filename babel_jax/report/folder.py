"""The report of a study: its figures, its tables, its numbers, and the page that shows them."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from babel_jax.common import files
from babel_jax.report import drawing, figures, page, summary, tables, terminal
from babel_jax.report.drawing import Drawn
from babel_jax.report.report_figure import ReportFigure
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
    findings = analysis.of_study(study_dir)
    judged, drawn = verdicts.verdicts(findings), draw(findings)
    folder = study_dir / "report"
    write_figures(folder, drawn)
    for figure in drawn:
        if figure.stem == "story":
            files.write_atomic(folder / "story.png", figure.png)
    files.write_json(folder / "summary.json", summary.summary(findings, judged))
    for name, content in tables.results(findings, judged, drawn).items():
        files.write_atomic(folder / name, content)
    index = folder / "index.html"
    files.write_atomic(index, page.page(findings, judged, drawn))
    return Report(index, terminal.terminal_table(findings))


def draw(findings: Findings) -> list[Drawn]:
    """Every figure that a study's measurements allow; of several new languages also the story of each."""
    several = len(findings.languages) > 1
    wanted = []
    for figure in figures.FIGURES:
        wanted += [(figure, None)] if figure.of_study else []
        if not figure.of_study or (several and figure.name == "story"):
            wanted += [(figure, language) for language in findings.languages]
    return draw_all(wanted, findings, several)


def draw_all(wanted: Iterable[tuple[ReportFigure, str | None]], findings, several: bool) -> list[Drawn]:
    """Those of the figures, each of one language or of all (None), that the findings allow.

    `several`: whether files are called by the language that they are of, too.
    """
    drawn = []
    with matplotlib.rc_context(drawing.STYLE):
        for figure, language in wanted:
            result = figure.draw(findings, language) if language else figure.draw(findings)
            stem = f"{figure.name}_{language}" if language and several else figure.name
            if result is not None:
                drawn.append(_drawn(figure.name, language, stem, *result))
    return drawn


def write_figures(folder, drawn: list[Drawn]) -> None:
    """An SVG, a PNG and a CSV of every figure."""
    for figure in drawn:
        for suffix, content in (("svg", figure.svg), ("png", figure.png), ("csv", figure.csv)):
            files.write_atomic(folder / "figures" / f"{figure.stem}.{suffix}", content)


def _drawn(name: str, language: str | None, stem: str, figure: Figure, table: pd.DataFrame) -> Drawn:
    csv = table.to_csv(index=False, float_format="%.6g")
    empty = [
        str(panel)
        for panel, part in table.groupby("panel", sort=False)
        if part["value"].isna().all() and part["series"].duplicated().any()  # curves, not marks on the other axis
    ]
    return Drawn(name, language, stem, drawing.svg(figure, stem), drawing.png(figure), csv, tuple(empty))

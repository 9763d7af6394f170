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
    findings = analysis.of_study(study_dir)
    judged, drawn = verdicts.verdicts(findings), draw(findings)
    folder = study_dir / "report"
    for figure in drawn:
        for suffix, content in (("svg", figure.svg), ("png", figure.png), ("csv", figure.csv)):
            files.write_atomic(folder / "figures" / f"{figure.stem}.{suffix}", content)
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
    drawn = []
    with matplotlib.rc_context(drawing.STYLE):
        for figure in figures.FIGURES:
            languages = () if figure.of_study and not (several and figure.name == "story") else findings.languages
            results = [(None, figure.draw(findings))] if figure.of_study else []
            results += [(language, figure.draw(findings, language)) for language in languages]
            for language, result in results:
                stem = f"{figure.name}_{language}" if language and several else figure.name
                if result is not None:
                    drawn.append(_drawn(figure.name, language, stem, *result))
    return drawn


def _drawn(name: str, language: str | None, stem: str, figure: Figure, table: pd.DataFrame) -> Drawn:
    csv = table.to_csv(index=False, float_format="%.6g")
    empty = [
        str(panel)
        for panel, part in table.groupby("panel", sort=False)
        if part["value"].isna().all() and part["series"].duplicated().any()  # curves, not marks on the other axis
    ]
    return Drawn(name, language, stem, drawing.svg(figure, stem), drawing.png(figure), csv, tuple(empty))

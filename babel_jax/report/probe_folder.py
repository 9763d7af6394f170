"""The report of a probe: its figures and tables, and the page that shows them."""

import pandas as pd

from babel_jax.common import files
from babel_jax.evolution import probe_findings
from babel_jax.report import folder, probe_explorer, probe_page, probe_story
from babel_jax.report.folder import Report


def build(out) -> Report:
    """Writes report/ of a probe's folder from its stored measurements.

    report/: index.html; findings.csv and probed.csv with the numbers of its sentences and tables; lens_map.csv; figures/ with an
    SVG, a PNG and a CSV of every figure. The same measurements give the same bytes.

    Raises:
      UserError: the folder holds no finished probe, or one that cannot be read.
    """
    out = files.path(out)
    findings = probe_findings.read(out)
    drawn = folder.draw_all(probe_page.wanted(findings), findings, several=True)
    place = out / "report"
    folder.write_figures(place, drawn)
    for name, table in tables(findings).items():
        files.write_atomic(place / name, table.to_csv(index=False, float_format="%.6g"))
    files.write_atomic(place / "index.html", probe_page.page(findings, drawn))
    return Report(place / "index.html", probe_story.terminal_table(findings))


def tables(findings: probe_findings.ProbeFindings) -> dict[str, pd.DataFrame]:
    """Every number of the page that no figure shows."""
    told = [(one.heading, *row) for one in probe_story.told(findings) for row in one.numbers]
    made = {
        "findings.csv": pd.DataFrame(told, columns=["finding", "what", "value", "low", "high"]),
        "probed.csv": pd.DataFrame(probe_story.probed_numbers(findings), columns=["of", "what", "value"]),
    }
    return made | ({"lens_map.csv": probe_explorer.table(findings)} if any(b.maps for b in findings.branches) else {})

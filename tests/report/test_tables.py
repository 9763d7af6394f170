import re

import pytest
from helpers import synthetic_study

from babel_jax.evolution.tasks import Tasks
from babel_jax.report import tables
from babel_jax.study.verdicts import verdicts

LANGUAGES = ("php", "cpp")


def results(findings):
    return tables.results(findings, verdicts(findings))


@pytest.fixture(scope="module")
def made():
    return results(synthetic_study.found(LANGUAGES))


def test_markdown_rows_have_as_many_cells_as_their_head(made):
    blocks = made["results.md"].strip().split("\n\n")
    assert len(blocks) == 14, "a title and a table each"
    for block in blocks[1::2]:
        assert len({line.count("|") for line in block.splitlines()}) == 1
    for title in (
        "Continual pre-training",
        "Tasks over continual pre-training",
        "Algorithm 1",
        "From-scratch mixes",
        "Tasks in from-scratch mixes",
        "Shares in from-scratch models",
        "Claims",
    ):
        assert f"**{title}**" in made["results.md"]


def test_the_numbers_are_those_of_the_findings(made):
    found = synthetic_study.found(LANGUAGES).languages
    for language, name, depends in (("php", "PHP", "yes"), ("cpp", "C++", "no")):
        (row,) = (
            line for line in made["results.md"].splitlines() if line.startswith(f"| {name} |") and "points" in line
        )
        assert f"{100 * found[language].stages.decline.value:.1f}" in row.replace("−", "-")
        assert row.endswith(f"| {depends} |")


def test_predicted_shares_stand_beside_measured_ones(made):
    rows = {(row.name, row.language): row for row in synthetic_study.found(LANGUAGES).predicted}
    lines = made["results.md"][made["results.md"].index("**Shares") :].splitlines()
    (line,) = (line for line in lines[: lines.index("**Claims**")] if line.startswith("| schedule |"))
    for cell, language in zip(line.split("|")[2:-1], LANGUAGES, strict=True):
        row = rows["schedule", language]
        assert cell.startswith(
            f" {100 * row.predicted:.0f}\N{NO-BREAK SPACE}%: {100 * row.measured:.0f}\N{NO-BREAK SPACE}% ["
        )
        assert 0 <= row.ci[0] <= row.ci[1] <= 1


def test_latex_is_balanced_and_escaped(made):
    text = made["results.tex"]
    assert text.count(r"\begin{") == text.count(r"\end{") == 14
    assert not re.search(r"(?<!\\)[%#_]", text), "a bare special character"
    for table in text.split(r"\end{table}")[:-1]:
        columns = len(re.search(r"\\begin\{tabular\}\{(l+)\}", table)[1])
        rows = [line for line in table.splitlines() if line.endswith(r"\\")]
        assert rows and all(len(re.findall(r"(?<!\\)&", line)) == columns - 1 for line in rows)


def test_nothing_measured_makes_a_table_of_missing_claims():
    text = results(synthetic_study.empty(synthetic_study.found()))["results.md"]
    assert "From-scratch" not in text and "not measured" in text


def test_tex_escapes():
    assert tables.tex("50\N{NO-BREAK SPACE}% of S_1 & T\\S") == r"50~\% of S\_1 \& T\textbackslash{}S"


def test_tasks_have_a_row_a_language_and_one_a_mix(made):
    text, found = made["results.md"].replace("\N{NO-BREAK SPACE}", " "), synthetic_study.found(LANGUAGES)
    curve = found.tasks.curves["php", "continual", "comment", "all"]
    (row,) = (line for line in text.splitlines() if line.startswith("| PHP | chosen comment |"))
    assert f"| 25 % | {100 * curve.mean[0]:.0f} %" in row
    part = text[text.index("**Tasks in") :]
    (original,) = (line for line in part[: part.index("**Shares")].splitlines() if line.startswith("| original |"))
    score = found.tasks.mixes[found.original_name, "port", "all"].estimate
    assert f"| {100 * score.value:.0f} %" in original
    old = results(synthetic_study.changed(found, tasks=Tasks()))["results.md"]
    assert "**Tasks" not in old

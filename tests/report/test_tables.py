import re

import pytest
from helpers import synthetic_study
from helpers.synthetic_study import changed

from babel_jax.evolution.tasks import Tasks
from babel_jax.report import figures, tables
from babel_jax.report.drawing import Drawn
from babel_jax.study.predictions import Prediction
from babel_jax.study.verdicts import verdicts

LANGUAGES = ("php", "cpp")


def results(findings):
    return tables.results(findings, verdicts(findings))


@pytest.fixture(scope="module")
def made():
    return results(synthetic_study.found(LANGUAGES))


def test_markdown_rows_have_as_many_cells_as_their_head(made):
    blocks = made["results.md"].strip().split("\n\n")
    assert len(blocks) == 18, "a title and a table each"
    for block in blocks[1::2]:
        assert len({line.count("|") for line in block.splitlines()}) == 1
    for title in (
        "Continual pre-training",
        "Working language beside other pairs' identifiers at the same prompts",
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
        part = made["results.md"].split("**Working language")[0]
        (row,) = (line for line in part.splitlines() if line.startswith(f"| {name} |") and "points" in line)
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
    assert text.count(r"\begin{") == text.count(r"\end{") == 18
    assert not re.search(r"(?<!\\)[%#_]", text), "a bare special character"
    for table in text.split(r"\end{table}")[:-1]:
        columns = len(re.search(r"\\begin\{tabular\}\{(l+)\}", table)[1])
        rows = [line for line in table.splitlines() if line.endswith(r"\\")]
        assert rows and all(len(re.findall(r"(?<!\\)&", line)) == columns - 1 for line in rows)


def test_nothing_measured_makes_a_table_of_missing_claims():
    text = results(synthetic_study.empty(synthetic_study.found()))["results.md"]
    assert "From-scratch" not in text and "not measured" in text


def test_mixes_that_have_not_learned_the_primary_have_no_test(made):
    findings = synthetic_study.unlearned(synthetic_study.found(LANGUAGES), "unimax")
    (row,) = (line for line in results(findings)["results.md"].splitlines() if line.startswith("| UniMax | 66"))
    assert "1 of 3 runs not" in row and row.endswith("|  |  | not tested |")
    (row,) = (line for line in made["results.md"].splitlines() if line.startswith("| UniMax | 66"))
    assert "by its last step, the only one measured" in row and not row.endswith("not tested |")


def test_amounts_stand_beside_the_primarys(made):
    lines = made["results.md"][made["results.md"].index("**Tokens for those of Python**") :].splitlines()
    assert lines[2] == "| mix | PHP | C++ |"
    assert "| UniMax | 1 for every one | 1 for every one |" in lines
    assert "| PHP | loss |" in made["results.md"] and "| tokens for those of Python |" in made["results.md"]


def test_what_is_not_drawn_has_a_reason():
    empty = synthetic_study.empty(synthetic_study.found())
    text = tables.results(empty, verdicts(empty), [])["results.md"]
    rows = [line for line in text[text.index("**Not drawn**") :].splitlines() if "No figure: " in line]
    assert len(rows) == len(figures.FIGURES), "one language: each figure once"
    assert all(re.search(r"No figure: .{15,}\. \|$", row) and "it would show" not in row for row in rows)


def test_a_panel_without_a_value_says_why(made):
    found = synthetic_study.found()
    drawn = [Drawn("working_language", "php", "working_language", "", b"", "", ("continual, primary_share_argmax",))]
    text = tables.results(found, verdicts(found), drawn)["results.md"]
    why = "No value (continual, primary share argmax): the most probable token is never one of the two names."
    assert f"| Working language | PHP | {why} |" in text


def test_predictions_stand_beside_what_they_predicted(made):
    prediction = Prediction("unimax", "ab" * 32, "cd" * 32, "2026-11-30T15:09:20Z")
    findings = changed(synthetic_study.found(LANGUAGES), predictions={"unimax": prediction})
    (row,) = (line for line in results(findings)["results.md"].splitlines() if "2026-11-30T15:09:20Z" in line)
    assert row.startswith("| UniMax | 1 PHP token for every one of Python, 1 C++ token for every one | 2026")
    assert "ab" * 32 in row and "cd" * 32 in row and "Predictions" not in made["results.md"]


def test_where_no_score_is_above_chance_the_text_and_the_lens_lead():
    findings = changed(synthetic_study.found(), "languages", "php", "curves", above_chance=False)
    text = results(findings)["results.md"]
    assert text.startswith("**No score above chance: no verdict and no proposal**")
    assert "loss in nats a token: 3." in text and "Continual pre-training" not in text


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


def test_the_working_language_stands_beside_other_pairs(made):
    curves = synthetic_study.found(LANGUAGES).languages["php"].curves
    rows = [line for line in made["results.md"].splitlines() if line.startswith("| PHP | continual |")]
    share, others, concept = (row.replace("\N{NO-BREAK SPACE}", " ").split(" | ")[2:] for row in rows)
    assert share[0] == "Python's share" and others[0] == "the same of other pairs"
    assert concept[0] == "difference: concept share" and concept[1].startswith("+") and "points" in concept[3]
    for cells, curve in ((share, curves.working_language), (others, curves.beside_others)):
        assert cells[1].startswith(f"{100 * curve['continual'].first().value:.0f} %")
        assert cells[3].startswith(f"{100 * curve['continual'].end().value:.0f} %")
    old = changed(synthetic_study.found(), "languages", "php", "curves", beside_others={}, concept_share={})
    rows = [line for line in results(old)["results.md"].splitlines() if line.startswith("| PHP | control |")]
    assert rows[1:] == [
        f"| PHP | control | {what} | not measured | not measured | not measured |"
        for what in ("the same of other pairs", "difference: concept share")
    ]
    among = {("continual", language): curves.working_language["continual"] for language in ("cpp", "php", "python")}
    three = changed(synthetic_study.found(), "languages", "php", "curves", language_shares=among)
    assert "| PHP | continual | share among 3 languages: C++ | " in results(three)["results.md"]

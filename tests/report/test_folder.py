import dataclasses
import html
import json
import re

import pandas as pd
import pytest
from helpers import synthetic_study
from helpers.synthetic_study import changed

from babel_jax import report
from babel_jax.common import files
from babel_jax.common.errors import UserError
from babel_jax.report import figures, page, summary
from babel_jax.study import claim, facts, verdicts

STEPS = synthetic_study.STEPS[::2]


def text_of(frame, **described) -> str:
    """The page of a study's rows, without its figures: what it says does not hang on them."""
    findings = synthetic_study.analysed(facts.of(synthetic_study.description(frame, **described)), frame)
    return page.page(findings, verdicts.verdicts(findings), [])


def plain(text: str) -> str:
    return re.sub(r"<[^>]+>", "", text)


@pytest.fixture(scope="module")
def rows():
    return synthetic_study.planted(problems=40, layers=2, steps=STEPS)


@pytest.fixture(scope="module")
def poor_rows():
    return synthetic_study.planted(seeds=2, problems=30, layers=2, steps=STEPS[::2])


@pytest.fixture(scope="module")
def organism(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("organism")
    synthetic_study.write_study(path, rows)
    return path / "report", report.build(path).page.read_text()


def test_every_figure_lies_beside_its_data(organism):
    folder, text = organism
    drawn = {file.stem for file in (folder / "figures").glob("*.svg")}
    assert {"story", "performance", "stages", "patches", "working_language", "neurons", "losses", "optimum"} <= drawn
    assert drawn <= set(figures.BY_NAME)
    assert len(list((folder / "figures").iterdir())) == 3 * len(drawn)
    for name in drawn:
        header, *lines = (folder / "figures" / f"{name}.csv").read_text().splitlines()
        assert header == "panel,series,x,value,low,high" and len(lines) >= 3, name
        assert (folder / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert f'download="{name}.csv" href="data:text/csv;base64,' in text
    assert (folder / "story.png").read_bytes() == (folder / "figures" / "story.png").read_bytes()
    assert text.count("<svg") == len(drawn)


@pytest.mark.parametrize(
    "gone", [{"continual": [1]}, {"control": [1]}, {"continual": [1], "control": [2]}, {"continual": [0, 1, 2]}]
)
def test_a_run_that_is_missing_in_some_seed_leaves_a_whole_report(rows, gone):
    """Whole, also where two runs have other seeds than each other: these are compared over the seeds that both have."""
    kept = [(seed not in gone.get(run, ())) for run, seed in zip(rows["run"], rows["seed"], strict=True)]
    findings = synthetic_study.analysed(facts.of(synthetic_study.description(rows)), rows[kept])
    judged = verdicts.verdicts(findings)
    text = plain(page.page(findings, judged, []))
    assert summary.summary(findings, judged)["verdicts"] == [dataclasses.asdict(one) for one in judged]
    for run, seeds in gone.items():
        assert f"Run {run} has no measurements of seed {', '.join(map(str, seeds))}" in text
    if gone.get("control") and gone.get("continual"):  # only seed 0 has both
        (found,) = (one for one in judged if one.name == "functional")
        assert found.verdict == claim.OPEN and "[" not in found.number


def test_both_readings_of_eq_3_stand_on_the_page_of_several_languages():
    findings = synthetic_study.found(("php", "cpp"))
    text = plain(page.page(findings, verdicts.verdicts(findings), []))
    assert "from the loss, pairwise" in text and ("from the loss, joint" in text or "no solution" in text)
    assert "from the loss, pairwise, as the paper writes it" in text, "where C++ changes, too"
    one = synthetic_study.found()
    assert "pairwise, " not in plain(page.page(one, verdicts.verdicts(one), []))


def test_the_page_needs_nothing_from_outside(organism):
    _, text = organism
    assert not re.search(r'(src|href)="(https?:)?//', text) and "@import" not in text and "url(http" not in text
    assert "default-src 'none'" in text and len(text) < 5e6


def test_summary_and_tables_lie_beside_the_page(organism):
    folder, text = organism
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["primary"] == "python" and set(summary["languages"]) == {"php"}
    assert (folder / "results.md").read_text().startswith("#") or "|" in (folder / "results.md").read_text()
    assert "tabular" in (folder / "results.tex").read_text()
    for name in ("summary.json", "results.md", "results.tex"):
        assert f'href="{name}"' in text


@pytest.mark.long
def test_the_same_rows_give_the_same_bytes(poor_rows, tmp_path, monkeypatch):
    kept = tuple(figures.BY_NAME[name] for name in ("story", "performance", "optimum"))
    monkeypatch.setattr(figures, "FIGURES", kept)
    for name in ("one", "other"):
        synthetic_study.write_study(tmp_path / name, poor_rows)
        report.build(tmp_path / name)
    folder = tmp_path / "one" / "report"
    written = sorted(file.relative_to(folder) for file in folder.rglob("*") if file.is_file())
    assert len(written) == 3 * 3 + 5
    for name in written:
        assert (folder / name).read_bytes() == (tmp_path / "other" / "report" / name).read_bytes(), name


def test_the_story_is_told_by_the_data(organism):
    said = plain(organism[1])
    assert "Its accuracy rises from" in said and "and falls to" in said
    for heading in ("Translation", "Transition", "Stabilisation", "PHP depends on Python"):
        assert heading in said
    assert "It falls in the control too" in said and "draw no conclusion" in said
    for figure in figures.FIGURES:
        assert f'id="{figure.name}"' in organism[1] or figure.chapter == "story"


def test_names_of_the_code_are_not_shown(organism):
    said = plain(organism[1][: organism[1].index("</main>")])
    assert not re.findall(r"[a-z]+_(?:knowledge|share|language|target|shared|neurons)", said)


def test_each_claim_leads_to_its_sentence(organism):
    folder, text = organism
    for entry in json.loads((folder / "summary.json").read_text())["verdicts"]:
        (figure,) = (figure for figure in figures.FIGURES[1:] if entry["name"] in figure.verdicts)
        here = text[text.index(f'id="{figure.name}"') :]
        here = here[: here.index('class="part"')] if 'class="part"' in here else here
        assert entry["sentence"] in html.unescape(plain(here)), entry["name"]


def test_an_undecided_curve_is_not_called_one_without_a_transition(poor_rows):
    findings = synthetic_study.analysed(facts.of(synthetic_study.description(poor_rows)), poor_rows)
    findings = changed(findings, "languages", "php", "curves", "continual", verdict="undecided")
    said = page.page(findings, [], [])
    assert said.count("the data cannot tell a transition from none") >= 2 and "no transition is seen" not in said
    findings = changed(findings, languages=dict.fromkeys(("php", "go"), findings.languages["php"]), corpora={})
    findings = changed(findings, "study", new=["php", "go"], original=findings.study.original | {"go": 11.0})
    assert "No transition is seen. In PHP and Go the data cannot tell." in page.page(findings, [], [])


def test_a_curve_that_stays_up_is_no_transition(poor_rows):
    rows = poor_rows
    copy = rows[rows["run"] == "control"].assign(run="continual").astype(rows.dtypes)
    said = plain(text_of(pd.concat([rows[rows["run"] != "continual"], copy], ignore_index=True)))
    assert "cannot tell a transition from none" in said, "so few problems do not show that there is none"
    assert "Stabilisation" not in said and "It declines by" not in said


def test_real_code_leaves_out_what_it_does_not_measure():
    text = text_of(synthetic_study.real_code(sites=40), kind="real_code")
    assert "on real source code, 1 seed" in text
    assert "Representation patches were not measured" in plain(text)
    assert "Not in this study" in text and "one seed" in plain(text)


def without(rows, **columns):
    for name, values in columns.items():
        rows = rows[~rows[name].isin(values).to_numpy(bool)]
    return rows


POOR = {
    "no control, lens or neurons": lambda rows: without(rows, run=["control"], probe=["lens", "neurons", "drift"]),
    "no from-scratch run": lambda rows: rows[~rows["run"].str.startswith("mix_").to_numpy(bool)],
    "a single checkpoint": lambda rows: rows[rows["step"].isin([0, 1000]).to_numpy(bool)],
    "NaN losses": lambda rows: rows.assign(value=rows["value"].where(rows["probe"] != "loss")),
    "one seed": lambda rows: rows[(rows["seed"] == 0).to_numpy(bool)],
    "nothing but accuracies": lambda rows: rows[
        ((rows["run"] == "continual") & (rows["probe"] == "evaluation")).to_numpy(bool)
    ],
}


@pytest.mark.parametrize("what", POOR)
def test_a_poor_study_says_what_is_missing(what, poor_rows):
    rows = POOR[what](poor_rows)
    findings = synthetic_study.analysed(facts.of(synthetic_study.description(rows)), rows)
    judged = verdicts.verdicts(findings)
    text = page.page(findings, judged, [])
    said = plain(text[text.index('id="story"') : text.index("</main>")])
    assert "</html>" in text and not re.search(r".{60}\b(nan|None|NaN)\b", said)
    absent = {one.claim for one in judged if one.verdict == claim.MISSING}
    assert absent or what == "one seed"
    assert all(text.replace("&", "&amp;") in said for text in absent)


def test_a_study_without_measurements_says_so(tmp_path, rows):
    with pytest.raises(UserError, match="study.json"):
        report.build(tmp_path)
    files.write_json(tmp_path / "study.json", synthetic_study.description(rows))
    with pytest.raises(UserError, match="no measurements"):
        report.build(tmp_path)

"""The page of a probe: its numbers stand in tables beside it, nothing in it is empty, and it opens in a headless Chromium."""

import dataclasses
import html
import re

import numpy as np
import pandas as pd
import pytest
from helpers import page_numbers, planted_probe
from helpers.page_checks import CONTRAST, UNNAMED, needs_chromium

from babel_jax.evolution import probe_findings
from babel_jax.report import probe_folder, probe_page, probe_story, probe_terms
from babel_jax.study import words

pytestmark = pytest.mark.filterwarnings("ignore:only .* of the .* neurons")
FEW = ("working_language", "losses", "causes_loss")
THREE = ("python", "php", "go")
CASES = {  # how each is planted: the runs of one folder
    "followed": [{}],
    "seeds": [{"group": f"seed{seed}", "seed": seed} for seed in (0, 1)],
    "one checkpoint": [{"steps": (143000,), "causes": False, "bytes": False}],
    "three languages": [{"languages": THREE, "steps": (3, 7)}],
    "no prompts": [{"prompts": False, "tokens": False}],
    "no tasks": [{"tasks": False, "steps": (3, 7)}],
    "two branches": [
        {"steps": (100, 200), "about": {"phase": "pretrain"}},
        {"run": "anneal", "steps": (210,), "about": {"phase": "anneal", "parent": {"run": "pretrain", "step": 200}}},
    ],
}


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """By case, the folder of the probe."""
    places = {}
    for case, runs in CASES.items():
        places[case] = tmp_path_factory.mktemp(case.replace(" ", "_"))
        for run in runs:
            planted_probe.write(places[case], **run)
    return places


@pytest.fixture(scope="module")
def written(planted):
    """The page of the case with two branches, with a few of its figures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probe_page, "FIGURES", tuple(probe_page.BY_NAME[name] for name in FEW))
        return probe_folder.build(planted["two branches"]).page


def plain(text: str) -> str:
    return html.unescape(re.sub(r"<[^>]+>", "", text))


@pytest.mark.parametrize("case", CASES)
def test_every_number_of_the_page_stands_in_a_table_beside_it(case, planted):
    page_numbers.check_probe(planted[case])


@pytest.mark.parametrize("case", CASES)
def test_no_figure_has_an_empty_panel_and_each_absence_has_its_reason(case, planted):
    findings = probe_findings.read(planted[case])
    drawn = {}
    for figure, language in probe_page.wanted(findings):
        result = figure.draw(findings, language) if language else figure.draw(findings)
        if result is None:
            assert figure.why_without(findings, language).endswith("."), figure.name
            continue
        made, table = result
        shown = [ax for ax in made.axes if ax.get_visible()]
        assert all(ax.lines or ax.patches or ax.collections for ax in shown), figure.name
        for panel, part in table.groupby("panel"):
            assert np.isfinite(part["value"]).any(), (figure.name, panel)
        drawn.setdefault(figure.name, []).append(language)
    assert ("working_language" in drawn) == (case != "no prompts")
    assert ("drift" in drawn) == ("neurons" in drawn) == (case != "one checkpoint")
    assert ("identifiers" in drawn) == (case == "three languages")
    assert all((name in drawn) == (case != "no tasks") for name in ("tasks", "task_bits", "sentences"))
    assert ("causes_loss" in drawn) == (case != "one checkpoint")
    if case == "three languages":
        assert drawn["working_language"] == ["go", "php", "python"] and drawn["neurons"] == ["go", "php"]


def test_what_was_not_measured_is_said_with_what_would_measure_it(planted):
    def said(case):
        return plain(probe_page.page(probe_findings.read(planted[case]), []))

    one = said("one checkpoint")
    assert "no neurons were changed; ask for it with --interventions=zero" in one
    assert "There is one checkpoint" in one or "there is one checkpoint" in one
    assert "No bits per byte" in one and "--tuned_lens=250" in one and "--definitions" in one
    assert "5 of 5 pairs have fewer than 10 prompts in PHP (len / strlen 5; upper / strtoupper 5; <b>& / trim 5" in one
    assert "join / implode 0" in one and "One file of 37 could not be read." in one
    none = said("no prompts")
    assert (
        "No working language in Python and PHP: there are no prompts; give prompts of your own with --prompts" in none
    )
    assert "Explore the lens" not in none and "Explore the lens" in one


def test_every_metric_that_is_shown_has_its_entry(planted):
    findings = probe_findings.read(planted["three languages"])
    entries = {term.title for term in probe_terms.shown(findings)}
    assert {
        "by pairs",
        "other pairs",
        "concept share",
        "share over languages",
        "MEXA",
        "LAPE, of both languages",
    } <= entries
    assert {"nats per token", "bits per byte", "Jaccard index", "random sets", "births and deaths"} <= entries
    assert "tuned lens" not in entries
    text = probe_page.page(findings, [])
    assert set(re.findall(r'href="#(term-[^"]+)"', text)) <= set(re.findall(r' id="([^"]+)"', text))


def test_the_findings_are_said_with_their_intervals(planted):
    told = {one.heading: one.sentence for one in probe_story.told(probe_findings.read(planted["followed"]))}
    assert list(told) == ["Working language", "Neurons", "Causes", "Losses"]
    assert told["Working language"].replace(words.NBSP, " ") == (
        "In PHP prompts, layers 1 to 2 prefer Python’s name at 93 % [86, 100] of places at the first checkpoint and at 71 % "
        "[64, 78] of places at the last; beside other pairs’ names at the same prompts (59 % [52, 66]), the right pair adds "
        "+12.0 points [+5.0, +19.0]."
    )
    assert "a difference of +0.0681 [" in told["Causes"]
    assert told["Losses"].startswith("PHP has 3.340 [3.240,") and told["Losses"].endswith("(bits per byte).")


def test_two_empty_sets_have_no_row_of_their_own(planted):
    findings = probe_findings.read(planted["followed"])
    (branch,) = findings.branches
    nothing = probe_findings.Estimate(np.nan, (np.nan, np.nan))
    some = [dataclasses.replace(one, jaccard=nothing) for one in branch.overlaps]
    lone = next(
        one
        for one in branch.overlaps
        if np.isfinite(one.jaccard.value) and "specific:php" not in (one.first, one.second)
    )
    findings = dataclasses.replace(findings, branches=[dataclasses.replace(branch, overlaps=[*some, lone])])
    _, table = probe_page.BY_NAME["overlap"].draw(findings)
    shown = table[np.isfinite(table["value"])]
    assert set(shown["series"]) <= {f"{lone.first} and {lone.second}", f"{lone.first} and {lone.second}, random sets"}
    findings = dataclasses.replace(findings, branches=[dataclasses.replace(branch, overlaps=some)])
    assert probe_page.BY_NAME["overlap"].draw(findings) is None


@pytest.mark.parametrize("case", CASES)
def test_the_terminals_table_fits(case, planted):
    table = probe_story.terminal_table(probe_findings.read(planted[case]))
    lines = table.splitlines()
    assert max(map(len, lines)) <= 80 and table.isascii() and "nan" not in table
    assert any(line.startswith("PHP: LAPE neurons") for line in lines)


def test_the_same_measurements_give_the_same_bytes(written, planted, monkeypatch):
    folder = written.parent
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    names = {path.relative_to(folder).as_posix() for path in before}
    assert {
        "index.html",
        "findings.csv",
        "probed.csv",
        "lens_map.csv",
        "figures/losses.csv",
        "figures/losses.png",
    } <= names
    monkeypatch.setattr(probe_page, "FIGURES", tuple(probe_page.BY_NAME[name] for name in FEW))
    probe_folder.build(planted["two branches"])
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_ids_and_links_of_the_page_agree(written):
    text = written.read_text()
    ids = re.findall(r' id="([^"]+)"', text)
    assert len(ids) == len(set(ids)), "an id stands twice"
    assert set(re.findall(r'href="#([^"]+)"', text)) | set(re.findall(r"url\(#([^)]+)\)", text)) <= set(ids)
    assert not re.search(r'(?:src|href)="(?!#|data:|findings\.csv|probed\.csv|lens_map\.csv)', text)
    assert "<b>&" not in text.split('id="data"')[0].replace("<b>&amp;", ""), "a name is escaped"


# --- in a browser -----------------------------------------------------------------------------------------------------


@needs_chromium
def test_it_opens_and_needs_nothing_from_outside(written, tab):
    tab.open(written)
    assert tab.run("document.querySelectorAll('#map [role=button]').length") == 3 * planted_probe.PAIRS
    assert tab.requests == [written.as_uri()] and tab.errors == []


@needs_chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_can_be_read(written, tab, scheme):
    tab.open(written, theme=scheme)
    seen, poor = tab.run(CONTRAST)
    assert seen > 150 and poor == []


@needs_chromium
def test_it_is_told_to_who_cannot_see_it(written, tab):
    tab.open(written)
    assert tab.run(UNNAMED) == []
    levels = tab.run("[...document.querySelectorAll('h1, h2, h3, h4')].map((e) => Number(e.tagName[1]))")
    assert levels[0] == 1 and all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False))


@needs_chromium
def test_the_map_moves_with_checkpoint_run_language_and_arrow_keys(written, tab):
    tab.open(written)
    read = "document.getElementById('map-reading').textContent"
    at_end = tab.run(read)
    assert at_end.startswith("At 200\N{NO-BREAK SPACE}M tokens, layer 2, len / strlen (5 prompts): Python’s name has")
    tab.run("document.getElementById('step').focus()")
    tab.key("Home", 36)
    assert tab.run(read).startswith("At 100\N{NO-BREAK SPACE}M tokens, layer 2, len / strlen")
    tab.run("document.querySelector('#map [tabindex=\"0\"]').focus()")
    tab.key("ArrowRight", 39)
    tab.key("ArrowUp", 38)
    assert "layer 3, upper / strtoupper" in tab.run(read)
    table = pd.read_csv(written.parent / "lens_map.csv")
    (row,) = table.query(
        "run == 'pretrain' and prompts_in == 'php' and at == 100_000_000 and layer == 3 and primary == 'upper'"
    ).to_dict("records")
    assert f"has {100 * row['share']:.1f}\N{NO-BREAK SPACE}%" in tab.run(read)
    tab.run(
        "(() => { const e = document.getElementById('run'); e.value = 'anneal'; e.dispatchEvent(new Event('change')); })()"
    )
    assert tab.run("document.getElementById('scrub').checkVisibility()") is False, "it has one checkpoint"
    assert "210\N{NO-BREAK SPACE}M tokens" in tab.run(read) and tab.errors == []


@needs_chromium
def test_nothing_is_wider_than_a_phone_and_the_map_is_not_printed(written, tab):
    tab.open(written, width=390)
    assert tab.run("document.documentElement.scrollWidth") == 390 and tab.errors == []
    tab.open(written, media="print", theme="dark")
    assert tab.run("document.getElementById('explorer').checkVisibility()") is False
    assert tab.run("getComputedStyle(document.documentElement).colorScheme") == "light"

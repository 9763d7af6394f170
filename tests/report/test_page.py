"""The page in a headless Chromium: it opens, moves, can be read by everyone, and asks the network for nothing."""

import re

import numpy as np
import pytest
from helpers import synthetic_study
from helpers.page_checks import CONTRAST, UNNAMED, needs_chromium
from helpers.synthetic_study import changed

from babel_jax.report import figures, glossary, page, theme
from babel_jax.report.folder import draw
from babel_jax.study import facts, verdicts

NEW = ("php", "csharp")
FEW = ("story", "performance", "tokens", "drift", "optimum")


def grid(steps, layers=2) -> dict:
    """A lens grid as `evolution.diagnostics.lens_grid` reads it: the new language's name wins from the third step on."""
    C, names = len(steps), ["# word", "upper(", "strtoupper(", ";}", "<b>&"]
    probability_CxLxM = np.full((C, layers, 4), 0.1)
    probability_CxLxM[:2, :, 1] = 0.7
    probability_CxLxM[2:, :, 0] = 0.7
    order_CxLx4 = np.argsort(-probability_CxLxM, axis=-1, kind="stable")
    tokens = np.array([2, 1, 3, 4])
    slot = {
        "problem": 7, "position": 0, "transfer": True, "primary_id": 1, "new_id": 2, "tokens": tokens.tolist(),
        "top_CxLx5": tokens[order_CxLx4],
        "top_probability_CxLx5": np.take_along_axis(probability_CxLxM, order_CxLx4, axis=-1),
        "probability_CxLxM": probability_CxLxM,
    }  # fmt: skip
    prompts = [
        {"problem": 7, "transfer": True, "tokens": [0, 2, 3]},
        {"problem": 8, "transfer": False, "tokens": [0, 1, 3]},
    ]
    return {
        "primary": "python", "new": "php", "steps": list(steps), "layers": layers, "prompts": prompts,
        "slots": [slot, slot | {"problem": 8, "transfer": False}], "names": dict(zip("01234", names, strict=True)),
    }  # fmt: skip


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """index.html of a study of two new languages, with the figures that the page's own work shows on."""
    frame = synthetic_study.planted(seeds=2, problems=40, layers=2, steps=synthetic_study.STEPS[::3], new=NEW)
    findings = synthetic_study.analysed(
        facts.of(synthetic_study.description(frame, new=NEW)), frame, synthetic_study.mixture_files(NEW)
    )
    languages = {
        name: changed(here, lens_grid=grid(here.curves.accuracy["continual", name, "all"].steps.tolist()))
        for name, here in findings.languages.items()
    }
    missing = ["run continual_go of seed 2 is missing; run the study again."]
    findings = changed(findings, languages=languages, missing=missing)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "FIGURES", tuple(figures.BY_NAME[name] for name in FEW))
        drawn = draw(findings)
    index = tmp_path_factory.mktemp("report") / "index.html"
    index.write_text(page.page(findings, verdicts.verdicts(findings), drawn))
    return index


# --- without a browser ------------------------------------------------------------------------------------------------


def test_every_figure_has_its_section_and_every_verdict_its_place(written):
    assert len(figures.BY_NAME) == len(figures.FIGURES)
    assert {figure.chapter for figure in figures.FIGURES} == {"story", *(name for name, *_ in figures.CHAPTERS)}
    placed = {name for figure in figures.FIGURES for name in figure.verdicts}
    assert placed == {claim.name for claim in verdicts.CLAIMS}
    text = written.read_text()
    assert len(text) < 5e6 and not re.search(r'(?:src|href)="(?!#|data:|summary\.json|results\.)', text)
    ids = re.findall(r' id="([^"]+)"', text)
    assert len(ids) == len(set(ids)), "an id stands twice"
    assert set(re.findall(r'href="#([^"]+)"', text)) | set(re.findall(r"url\(#([^)]+)\)", text)) <= set(ids)


def test_what_holds_of_the_whole_study_stands_once_in_the_story(written):
    story = written.read_text().split('id="claims"')[0]
    assert story.count("A schedule beats every mix that keeps its shares") == 1


@pytest.mark.parametrize("colour", ["#0B6FB8", "#D4800A", "#7D8590", "#6FB4E3", "#24292F", "#E6E9ED", "#FDF1E4"])
def test_a_figures_text_can_be_read_in_both_themes(colour):
    assert theme.contrast(theme.readable(colour, theme.PAPER), theme.PAPER) >= 4.5
    assert theme.contrast(theme.readable(theme.dark(colour), theme.NIGHT), theme.NIGHT) >= 4.5


def test_the_dark_theme_turns_lightness_over():
    assert theme.contrast("#000000", "#ffffff") == pytest.approx(21)
    assert theme.contrast(theme.dark("#ffffff"), theme.NIGHT) < 1.1
    order = [theme.luminance(theme.dark(colour)) for colour in ("#E6E9ED", "#7D8590", "#57606A", "#24292F", "#000000")]
    assert order == sorted(order) and order[-1] > 0.7


def test_terms_are_marked_once_and_only_in_text():
    marked = glossary.mark(
        '<h2>LAPE</h2><p title="LAPE">LAPE and LAPE</p><svg><text>P*</text></svg><p>P* &amp; LAPE</p>'
    )
    assert re.findall(r">([^<]+)</a>", marked) == ["LAPE", "P*"]
    assert marked.startswith('<h2>LAPE</h2><p title="LAPE"><a class="term" href="#term-lape"')
    for term in glossary.TERMS:
        assert f'id="{term.key}"' in glossary.glossary()


# --- with one -----------------------------------------------------------------------------------------------------------


@needs_chromium
def test_it_opens_and_needs_nothing_from_outside(written, tab):
    tab.open(written)
    assert tab.run("[...document.querySelectorAll('.chapter')].length") >= 6
    assert tab.requests == [written.as_uri()] and tab.errors == []


@needs_chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_can_be_read(written, tab, scheme):
    tab.open(written, theme=scheme)
    seen, poor = tab.run(CONTRAST)
    assert seen > 300 and poor == []


@needs_chromium
def test_the_theme_button_turns_the_theme(written, tab):
    tab.open(written, theme="light")
    paper = "getComputedStyle(document.body).backgroundColor"
    before = tab.run(paper)
    tab.run("document.getElementById('theme').click()")
    assert tab.run(paper) != before
    tab.run("document.getElementById('theme').click()")
    assert tab.run(paper) == before


@needs_chromium
def test_it_is_told_to_who_cannot_see_it(written, tab):
    tab.open(written)
    assert tab.run("document.documentElement.lang") == "en"
    assert tab.run(UNNAMED) == []
    assert tab.run("[...document.querySelectorAll('.plot svg')].every((e) => e.getAttribute('aria-label').length > 30)")
    levels = tab.run("[...document.querySelectorAll('h1, h2, h3, h4')].map((e) => Number(e.tagName[1]))")
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False)), (
        "a heading's level is left out"
    )
    assert tab.run("[...document.querySelectorAll('table')].every((e) => e.caption && e.querySelector('th[scope]'))")


@needs_chromium
def test_the_slider_moves_all_that_hangs_on_the_checkpoint(written, tab):
    tab.open(written)
    shown = "['step-shown', 'lens-reading', 'drift-reading', 'compare-reading']"
    read = f"{shown}.map((id) => document.getElementById(id).textContent)"
    assert tab.run("document.getElementById('step').value") != "0", "it begins at the peak"
    at_peak = tab.run(read)
    tab.run("document.getElementById('step').focus()")
    tab.key("Home", 36)
    at_start = tab.run(read)
    assert at_start[0] == "step 0" and all(one != other for one, other in zip(at_peak, at_start, strict=True))
    assert "last layer writes upper( (70" in at_start[1] and "last layer writes strtoupper( (70" in at_peak[1]
    tab.key("ArrowRight", 39)
    assert tab.run("document.getElementById('step-shown').textContent") == f"step {synthetic_study.STEPS[3]}"
    assert tab.errors == []


@needs_chromium
def test_controls_of_the_explorer_work(written, tab):
    tab.open(written)

    def choose(name, value, read):
        return tab.run(
            f"(() => {{ const e = document.getElementById('{name}'); e.value = '{value}'; "
            f"e.dispatchEvent(new Event('change')); return document.getElementById('{read}').textContent; }})()"
        )

    assert choose("prompt", "1", "prompt-text").split() == ["#", "word", "upper(", ";}"]
    assert choose("score", "macro", "sweep-reading") != choose("score", "php", "sweep-reading")
    assert "of the tokens in new languages" in choose("score", "php", "sweep-reading")
    assert "PHP, control" in choose("second", "control php", "compare-reading")
    assert "C#, continual" in choose("first", "continual csharp", "compare-reading")
    assert choose("metric", "loss", "compare-reading").startswith("At step")
    assert tab.errors == []


@needs_chromium
def test_a_language_is_chosen_and_all_of_them_are_printed(written, tab):
    tab.open(written)
    panels = "[...document.querySelectorAll('.panel')].filter((e) => e.checkVisibility())"
    shown = f"[...new Set({panels}.map((e) => e.dataset.language))]"
    assert tab.run(shown) == ["php"]
    tab.run("document.querySelector('[data-show=csharp]').click()")
    assert tab.run(shown) == ["csharp"]
    assert tab.run("document.querySelector('.bar [data-show=csharp]').getAttribute('aria-pressed')") == "true"
    assert "C#" in tab.run("document.querySelector('#trace svg').getAttribute('aria-label')")
    tab.open(written, media="print", theme="dark")
    assert tab.run(shown) == list(NEW)
    assert tab.run("document.getElementById('explorer').checkVisibility()") is False
    assert tab.run("getComputedStyle(document.documentElement).colorScheme") == "light"


@needs_chromium
def test_a_term_is_explained_on_focus_and_put_away(written, tab):
    tab.open(written)
    tab.run("document.querySelector('.term').focus()")
    tip = "((e) => [e.hidden, e.textContent, e.getBoundingClientRect().right])(document.getElementById('tip'))"
    hidden, said, right = tab.run(tip)
    assert not hidden and said == tab.run("document.querySelector('.term').dataset.tip") and right <= 1280
    tab.key("Escape", 27)
    assert tab.run(tip)[0] is True


@needs_chromium
@pytest.mark.parametrize("width", [390, 820])
def test_nothing_is_wider_than_a_phone(written, tab, width):
    tab.open(written, width=width)
    assert tab.run("document.documentElement.scrollWidth") == width
    assert tab.errors == []


@needs_chromium
def test_what_is_missing_stands_before_the_claims(written, tab):
    tab.open(written)
    assert "continual_go of seed 2 is missing" in tab.run("document.querySelector('.missing').innerText")
    assert tab.run(
        "document.querySelector('.missing').getBoundingClientRect().top < document.getElementById('claims').offsetTop"
    )


@needs_chromium
def test_it_can_be_read_without_scripts(written, tab):
    tab.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        tab.open(written)
        assert tab.run("[...document.querySelectorAll('.panel')].every((e) => e.checkVisibility())")
    finally:
        tab.call("Emulation.setScriptExecutionDisabled", value=False)

"""`index.html`: one self-contained page whose sentences are chosen by the data, not by the hypothesis.

It shows the findings and verdicts of a study, and computes nothing. The story comes first, then every claim with its verdict,
then an explorer, then each figure with what the paper shows in its place.
"""

import base64
import hashlib
import html
import json
from pathlib import Path

from babel_jax.report import drawing, explorer, figures, glossary, story, theme
from babel_jax.report.drawing import Drawn
from babel_jax.report.report_figure import ReportFigure
from babel_jax.study import words
from babel_jax.study.claim import MISSING
from babel_jax.study.findings import Findings
from babel_jax.study.verdicts import Verdict

HERE = Path(__file__).parent


# --- the page -------------------------------------------------------------------------------------------------------


def page(findings: Findings, verdicts: list[Verdict], drawn: list[Drawn]) -> str:
    """The whole page as HTML."""
    title = f"{_primary(findings)} to {words.names(findings.languages)}: the tower, measured"
    colours: set[str] = set()
    pictures = {(each.name, each.language): _picture(each, findings, verdicts, colours) for each in drawn}
    chapters = [
        f'<header><h1>{_text(title)}</h1><p class="lead">{_text(story.lead(findings))}</p></header>',
        _chapter("story", "The story", _story(findings, verdicts, pictures)),
        _missing(findings),
        _chapter("claims", "What the data say", _claims(findings, verdicts)),
        _chapter("explorer", "Explore", explorer.BODY),
        *(
            _chapter(chapter, heading, f"<p>{_text(intro)}</p>" + _sections(chapter, findings, verdicts, pictures))
            for chapter, heading, intro in figures.CHAPTERS
        ),
        _chapter("glossary", "Terms", glossary.glossary(), "glossary"),
        _method(findings),
    ]
    style = (HERE / "page.css").read_text() + _palette() + theme.variables(colours)
    script = (HERE / "explorer.js").read_text()
    data = json.dumps(explorer.data(findings), separators=(",", ":"), allow_nan=False).replace("</", "<\\/")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<meta name="description" content="{html.escape(story.lead(findings))}">'
        f'<link rel="icon" href="data:,"><title>{_text(title)}</title><style>{style}</style></head><body>\n'
        '<a class="skip" href="#story">To the story</a>'
        + _bar(findings)
        + "<main>\n"
        + "\n".join(chapters)
        + f'\n</main><div class="tip" id="tip" role="tooltip" hidden></div>'
        f'<script type="application/json" id="data">{data}</script><script>{script}</script></body></html>\n'
    )


def _palette() -> str:
    """The figures' main colours under names, for the parts that page.css and explorer.js draw."""
    named = {name.lower(): getattr(drawing, name) for name in ("NEW", "PRIMARY", "CONTROL", "KNOWLEDGE", "PROPOSAL")}
    return ":root{" + "".join(f"--{name}:{theme.both('c' + colour[1:])};" for name, colour in named.items()) + "}"


def _chapter(name: str, heading: str, body: str, more: str = "") -> str:
    marked = body if name in ("glossary", "explorer") else glossary.mark(body)
    return (
        f'<section class="chapter {more}" id="{name}" aria-labelledby="{name}-heading">'
        f'<h2 id="{name}-heading">{heading}</h2>{marked}</section>'
    )


def _bar(findings: Findings) -> str:
    links = [("story", "Story"), ("claims", "Claims"), ("explorer", "Explore")]
    links += [(name, heading) for name, heading, _ in figures.CHAPTERS]
    links += [("glossary", "Terms"), ("method", "Method")]
    anchors = "".join(f'<a href="#{name}">{heading}</a>' for name, heading in links)
    return (
        f'<div class="bar"><div><nav aria-label="Chapters">{anchors}</nav>{_language_buttons(findings)}'
        '<button type="button" class="theme" id="theme">Dark</button></div></div>'
    )


def _language_buttons(findings: Findings) -> str:
    if len(findings.languages) < 2:
        return ""
    buttons = "".join(
        f'<button type="button" data-show="{language}" aria-pressed="{str(i == 0).lower()}">'
        f"{_text(words.language_name(language))}</button>"
        for i, language in enumerate(findings.languages)
    )
    return f'<div class="languages" role="group" aria-label="New language shown">{buttons}</div>'


def _panels(findings: Findings, body) -> str:
    """body(language) for every new language; of several the page shows the one that is chosen."""
    several = len(findings.languages) > 1
    return "".join(
        f'<div class="panel" data-language="{language}">'
        + (f'<p class="which"><b>{_text(words.language_name(language))}</b></p>' if several else "")
        + f"{body(language)}</div>"
        for language in findings.languages
    )


def _picture(drawn: Drawn, findings: Findings, verdicts: list[Verdict], colours: set[str]) -> str:
    """One figure: the drawing, its caption, and its data a click away."""
    figure, language = figures.BY_NAME[drawn.name], drawn.language
    caption, sentences = (
        figure.caption_of(findings, language),
        [one.sentence for one in _under(figure, verdicts, language)],
    )
    title = figure.title + (f" of {words.language_name(language)}" if language else "")
    label = f"{title}. {' '.join(sentences) or caption}"
    data = base64.b64encode(drawn.csv.encode()).decode()
    return (
        f'<figure><div class="plot" role="group" tabindex="0" aria-label="{html.escape(title)}">'
        f"{theme.inline(drawn.svg, label, colours)}</div><figcaption>{_text(caption)} {_text(figure.why_empty(drawn.empty))} "
        f'<a class="data" download="{drawn.stem}.csv" href="data:text/csv;base64,{data}">Data (CSV)</a></figcaption></figure>'
    )


def _under(figure: ReportFigure, verdicts: list[Verdict], language: str | None) -> list[Verdict]:
    return [entry for entry in verdicts if entry.name in figure.verdicts and entry.language == language]


# --- the story ------------------------------------------------------------------------------------------------------


def _missing(findings: Findings) -> str:
    if not findings.missing:
        return ""
    items = "".join(f"<li>{_text(sentence)}</li>" for sentence in findings.missing)
    return f'<aside class="missing" aria-label="What is missing"><p><b>What is missing.</b></p><ul>{items}</ul></aside>'


def _story(findings: Findings, verdicts: list[Verdict], pictures: dict[tuple, str]) -> str:
    def of(language: str) -> str:
        return (
            pictures.get(("story", language), "")
            + _cards("stages", story.stage_cards(findings, language))
            + _cards("stages so", story.dependence_cards(findings, language))
        )

    of_all = (figure for figure in figures.FIGURES if figure.chapter == "story")
    shown = (pictures.get((figure.name, None)) or _no_figure(figure, findings, None) for figure in of_all)
    below = _language_buttons(findings) + _panels(findings, of) + _cards("stages so", story.corpus_cards(verdicts))
    return _four(findings, verdicts) + "".join(shown) + below


def _four(findings: Findings, verdicts: list[Verdict]) -> str:
    """The paper's story in four sentences."""
    told = story.four(findings, verdicts)
    items = "".join(f"<li><b>{_text(heading)}.</b> {_text(sentence)}</li>" for heading, sentence in told)
    return f'<ol class="four">{items}</ol>'


def _cards(kind: str, cards: list[story.Card]) -> str:
    items = "".join(
        f'<li class="{card.kind}"><h3>{_text(card.heading)}</h3><p>{_text(card.sentence)}</p></li>' for card in cards
    )
    return f'<ul class="{kind}">{items}</ul>' if items else ""


# --- the claims -----------------------------------------------------------------------------------------------------


def _claims(findings: Findings, verdicts: list[Verdict]) -> str:
    languages = list(findings.languages)
    known = [entry for entry in verdicts if entry.verdict != MISSING]
    intro = (
        "<p>Where a claim is about a difference, it is supported if the 95 % interval lies on its side of zero, not supported "
        "if it lies on the other, undecided otherwise; it is not tested where something that it presupposes does not "
        "hold, such as a model that has learned the language. Other claims go by a rule, such as a threshold; each one’s "
        "sentence, a click away, says so. From-scratch mixes are compared only where every run has learned the primary language. "
        "A claim that compares with several, or with the best of several, is corrected for their number; nothing is corrected "
        "for the number of claims.</p>"
    )
    absent = dict.fromkeys(entry.claim for entry in verdicts if entry not in known)
    absent = [claim for claim in absent if claim not in {entry.claim for entry in known}]
    rest = f'<p class="quiet"><b>Not measured in this study:</b> {_text("; ".join(absent))}.</p>' if absent else ""
    if len(languages) < 2:
        return intro + _claim_table(known) + rest
    by_claim: dict[str, dict[str, Verdict]] = {}
    for entry in known:
        if entry.language:
            by_claim.setdefault(entry.name, {})[entry.language] = entry
    head = "".join(f'<th scope="col">{_text(words.language_name(language))}</th>' for language in languages)
    rows = "".join(
        f'<tr><th scope="row">{_claim_link(next(iter(row.values())))}</th>'
        + "".join(f"<td>{_cell(row.get(language))}</td>" for language in languages)
        + "</tr>"
        for row in by_claim.values()
    )
    whole = [entry for entry in known if not entry.language]
    return (
        f'{intro}<h3>Each new language</h3><div class="scroll" role="group" tabindex="0" aria-label="Claims by language">'
        '<table class="verdicts matrix"><caption class="unseen">Verdict of every claim in every new language</caption>'
        f'<thead><tr><th scope="col">Claim</th>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
        + (f"<h3>The whole study</h3>{_claim_table(whole)}" if whole else "")
        + rest
    )


def _claim_table(verdicts: list[Verdict]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{_claim_link(entry)}</th><td>{_badge(entry.verdict)}</td>'
        f"<td>{_text(entry.number)}</td></tr>"
        for entry in verdicts
    )
    return (
        '<div class="scroll" role="group" tabindex="0" aria-label="Claims"><table class="verdicts">'
        '<caption class="unseen">Verdict of every claim</caption><thead><tr><th scope="col">Claim</th>'
        f'<th scope="col">Verdict</th><th scope="col">Main number, 95 % interval</th></tr></thead><tbody>{rows}</tbody>'
        "</table></div>"
    )


def _claim_link(entry: Verdict) -> str:
    figure = next((figure for figure in figures.FIGURES if entry.name in figure.verdicts), None)
    claim = _text(entry.claim)
    return f'<a href="#{figure.name}">{claim}</a>' if figure else claim


def _cell(entry: Verdict | None) -> str:
    if entry is None:
        return _badge(MISSING)
    return _badge(entry.verdict) + (f"<small>{_text(entry.number)}</small>" if entry.number else "")


def _badge(verdict: str) -> str:
    return f'<span class="v {verdict.replace(" ", "-")}">{verdict}</span>'


# --- the figures' sections ------------------------------------------------------------------------------------------


def _sections(chapter: str, findings: Findings, verdicts: list[Verdict], pictures: dict[tuple, str]) -> str:
    parts, absent = [], []
    for figure in (figure for figure in figures.FIGURES if figure.chapter == chapter):
        drawn = any(name == figure.name for name, _ in pictures)
        under = [entry for entry in verdicts if entry.name in figure.verdicts]
        if drawn or any(entry.verdict != MISSING for entry in under):
            parts.append(_section(figure, findings, verdicts, pictures))
            continue
        languages = [None] if figure.of_study else list(findings.languages)
        why = [figure.why_without(findings, language) for language in languages]
        reasons = " ".join(dict.fromkeys([*why, *(entry.sentence for entry in under)]))
        title = figure.title if figure.title.endswith("?") else f"{figure.title}."
        absent.append(f'<li id="{figure.name}"><b>{title}</b> {_text(reasons)}</li>')
    if absent:
        parts.append(f'<div class="part"><h3>Not in this study</h3><ul class="said quiet">{"".join(absent)}</ul></div>')
    return "".join(parts)


def _section(figure: ReportFigure, findings: Findings, verdicts: list[Verdict], pictures: dict[tuple, str]) -> str:
    """What the data say, the figure, and what the paper shows there; of each new language where it is about one."""

    def picture(language: str | None) -> str:
        return pictures.get((figure.name, language)) or _no_figure(figure, findings, language)

    def of(language: str) -> str:
        return _said(figure, verdicts, language) + ("" if figure.of_study else picture(language))

    body = _said(figure, verdicts, None)
    if not figure.of_study or any(entry.language for entry in verdicts if entry.name in figure.verdicts):
        body += _panels(findings, of)
    body += picture(None) if figure.of_study else ""
    paper = f'<p class="paper"><b>In the paper.</b> {_text(figure.paper)}</p>' if figure.paper else ""
    return f'<div class="part" id="{figure.name}"><h3>{_text(figure.title)}</h3>{body}{paper}{figure.table(findings)}</div>'


def _no_figure(figure: ReportFigure, findings: Findings, language: str | None) -> str:
    return f'<p class="quiet">{_text(figure.why_without(findings, language))}</p>'


def _said(figure: ReportFigure, verdicts: list[Verdict], language: str | None) -> str:
    under = _under(figure, verdicts, language)
    return (
        '<ul class="said">' + "".join(f"<li>{_text(entry.sentence)}</li>" for entry in under) + "</ul>" if under else ""
    )


# --- how it was made ------------------------------------------------------------------------------------------------


def _method(findings: Findings) -> str:
    study = findings.study
    spent = dict(study.wall_seconds)
    total = f"Wall time: {spent.pop('total'):,.0f} s. " if "total" in spent else ""
    times = ", ".join(f"{phase} {seconds:,.0f} s" for phase, seconds in spent.items())
    versions = ", ".join(f"{name} {version}" for name, version in study.versions.items())
    return (
        '<footer id="method"><h2>How these numbers were made</h2>'
        + "".join(f"<p>{_text(paragraph)}</p>" for paragraph in figures.METHOD)
        + f"<p>{_text(total)}Summed over all runs: {_text(times) or 'not recorded'}. "
        f"Versions: {_text(versions) or 'not recorded'}. All numbers: "
        '<a href="summary.json">summary.json</a>; tables: <a href="results.md">Markdown</a>, '
        '<a href="results.tex">LaTeX</a>; every figure as SVG, PNG and CSV in figures/, beside this page.</p></footer>'
    )


def _primary(findings: Findings) -> str:
    return words.language_name(findings.study.primary)


def _text(text: str) -> str:
    return html.escape(text, quote=False)

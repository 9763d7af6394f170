"""`index.html`: one self-contained page whose sentences are chosen by the data, not by the hypothesis.

It shows the findings and verdicts of a study, and computes nothing. The story comes first, then every claim with its verdict,
then an explorer, then each figure with what the paper shows in its place.
"""

from babel_jax.report import explorer, figures, glossary, page_shell, story
from babel_jax.report.drawing import Drawn
from babel_jax.report.page_shell import text
from babel_jax.report.report_figure import ReportFigure
from babel_jax.study import words
from babel_jax.study.claim import MISSING
from babel_jax.study.findings import Findings
from babel_jax.study.verdicts import Verdict

# --- the page -------------------------------------------------------------------------------------------------------


def page(findings: Findings, verdicts: list[Verdict], drawn: list[Drawn]) -> str:
    """The whole page as HTML."""
    colours: set[str] = set()
    pictures = {(each.name, each.language): _picture(each, findings, verdicts, colours) for each in drawn}
    chapters = [
        page_shell.chapter("story", "The story", _story(findings, verdicts, pictures)),
        page_shell.missing(findings.missing, "What is missing"),
        page_shell.chapter("claims", "What the data say", _claims(findings, verdicts)),
        page_shell.chapter("explorer", "Explore", explorer.BODY),
        *(
            page_shell.chapter(
                chapter, heading, f"<p>{text(intro)}</p>" + _sections(chapter, findings, verdicts, pictures)
            )
            for chapter, heading, intro in figures.CHAPTERS
        ),
        page_shell.chapter("glossary", "Terms", glossary.glossary(), "glossary"),
        _method(findings),
    ]
    links = [("story", "Story"), ("claims", "Claims"), ("explorer", "Explore")]
    links += [(name, heading) for name, heading, _ in figures.CHAPTERS]
    shell = page_shell.Shell(
        title=f"{_primary(findings)} to {words.names(findings.languages)}: the tower, measured",
        lead=story.lead(findings),
        links=[*links, ("glossary", "Terms"), ("method", "Method")],
        scripts=("explorer.js",),
        data=explorer.data(findings),
        controls=_language_buttons(findings),
    )
    return page_shell.document(shell, chapters, colours)


def _language_buttons(findings: Findings) -> str:
    if len(findings.languages) < 2:
        return ""
    buttons = "".join(
        f'<button type="button" data-show="{language}" aria-pressed="{str(i == 0).lower()}">'
        f"{text(words.language_name(language))}</button>"
        for i, language in enumerate(findings.languages)
    )
    return f'<div class="languages" role="group" aria-label="New language shown">{buttons}</div>'


def _panels(findings: Findings, body) -> str:
    """body(language) for every new language; of several the page shows the one that is chosen."""
    several = len(findings.languages) > 1
    return "".join(
        f'<div class="panel" data-language="{language}">'
        + (f'<p class="which"><b>{text(words.language_name(language))}</b></p>' if several else "")
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
    below = f"{text(caption)} {text(figure.why_empty(drawn.empty))}"
    return page_shell.picture(drawn, title, label, below, colours)


def _under(figure: ReportFigure, verdicts: list[Verdict], language: str | None) -> list[Verdict]:
    return [entry for entry in verdicts if entry.name in figure.verdicts and entry.language == language]


# --- the story ------------------------------------------------------------------------------------------------------


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
    return page_shell.told(story.four(findings, verdicts)) + "".join(shown) + below


def _cards(kind: str, cards: list[story.Card]) -> str:
    items = "".join(
        f'<li class="{card.kind}"><h3>{text(card.heading)}</h3><p>{text(card.sentence)}</p></li>' for card in cards
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
    rest = f'<p class="quiet"><b>Not measured in this study:</b> {text("; ".join(absent))}.</p>' if absent else ""
    if len(languages) < 2:
        return intro + _claim_table(known) + rest
    by_claim: dict[str, dict[str, Verdict]] = {}
    for entry in known:
        if entry.language:
            by_claim.setdefault(entry.name, {})[entry.language] = entry
    head = "".join(f'<th scope="col">{text(words.language_name(language))}</th>' for language in languages)
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
        f"<td>{text(entry.number)}</td></tr>"
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
    claim = text(entry.claim)
    return f'<a href="#{figure.name}">{claim}</a>' if figure else claim


def _cell(entry: Verdict | None) -> str:
    if entry is None:
        return _badge(MISSING)
    return _badge(entry.verdict) + (f"<small>{text(entry.number)}</small>" if entry.number else "")


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
        absent.append(f'<li id="{figure.name}"><b>{figure.heading}</b> {text(reasons)}</li>')
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
    paper = f'<p class="paper"><b>In the paper.</b> {text(figure.paper)}</p>' if figure.paper else ""
    return (
        f'<div class="part" id="{figure.name}"><h3>{text(figure.title)}</h3>{body}{paper}{figure.table(findings)}</div>'
    )


def _no_figure(figure: ReportFigure, findings: Findings, language: str | None) -> str:
    return f'<p class="quiet">{text(figure.why_without(findings, language))}</p>'


def _said(figure: ReportFigure, verdicts: list[Verdict], language: str | None) -> str:
    under = _under(figure, verdicts, language)
    return (
        '<ul class="said">' + "".join(f"<li>{text(entry.sentence)}</li>" for entry in under) + "</ul>" if under else ""
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
        + "".join(f"<p>{text(paragraph)}</p>" for paragraph in figures.METHOD)
        + f"<p>{text(total)}Summed over all runs: {text(times) or 'not recorded'}. "
        f"Versions: {text(versions) or 'not recorded'}. All numbers: "
        '<a href="summary.json">summary.json</a>; tables: <a href="results.md">Markdown</a>, '
        '<a href="results.tex">LaTeX</a>; every figure as SVG, PNG and CSV in figures/, beside this page.</p></footer>'
    )


def _primary(findings: Findings) -> str:
    return words.language_name(findings.study.primary)

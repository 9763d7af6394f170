"""The page of a probe: what was probed, its main findings, a map of the lens to move through, and every figure with its data."""

from collections.abc import Sequence

from babel_jax.evolution.probe_findings import ProbeFindings
from babel_jax.report import (
    glossary,
    page_shell,
    probe_explorer,
    probe_figures,
    probe_names,
    probe_neuron_figures,
    probe_story,
    probe_task_figures,
    probe_terms,
)
from babel_jax.report.drawing import Drawn
from babel_jax.report.page_shell import text
from babel_jax.report.report_figure import ReportFigure
from babel_jax.study import words

FIGURES = (
    probe_figures.WORKING_LANGUAGE,
    probe_figures.LAYER_MAP,
    probe_figures.IDENTIFIERS,
    probe_figures.TUNED,
    probe_figures.ALIGNMENT,
    probe_neuron_figures.NEURONS,
    probe_neuron_figures.NEURON_LAYERS,
    probe_neuron_figures.SENSITIVITY,
    probe_neuron_figures.DRIFT,
    probe_neuron_figures.OVERLAP,
    *probe_neuron_figures.CAUSES,
    probe_task_figures.TASKS,
    probe_task_figures.BITS,
    probe_task_figures.SENTENCES,
    probe_figures.LOSSES,
)
BY_NAME = {figure.name: figure for figure in FIGURES}
CHAPTERS = (
    ("language", "Working language", "Whose words the layers would write where a name must come."),
    ("neurons", "Neurons", "Which feed-forward neurons serve which language, by every definition that was counted."),
    ("causes", "Causes", "What becomes of the model when these neurons are changed."),
    ("tasks", "Tasks", "What the model chooses where answers are given, and what its states of a sentence find."),
    ("losses", "Losses", "How well each language is predicted."),
)
NEW_ONLY = (
    "neurons",
    "neuron_layers",
    "sensitivity",
)  # figures of new languages; those of prompts are of all languages


def wanted(findings: ProbeFindings) -> list[tuple[ReportFigure, str | None]]:
    """Every figure with the language that it is drawn for; the new languages before the primary."""
    found = []
    for figure in FIGURES:
        languages = findings.new if figure.name in NEW_ONLY else [*findings.new, findings.primary]
        found += [(figure, None)] if figure.of_study else [(figure, language) for language in languages]
    return found


def page(findings: ProbeFindings, drawn: Sequence[Drawn]) -> str:
    """The whole page as HTML."""
    colours: set[str] = set()
    pictures = {(each.name, each.language): _picture(each, findings, colours) for each in drawn}
    terms, data = probe_terms.shown(findings), probe_explorer.data(findings)
    told = [(one.heading, one.sentence) for one in probe_story.told(findings)]
    first = (page_shell.told(told) if told else "") + probe_story.probed_tables(findings)
    chapters = [
        page_shell.chapter("found", "What was found", first, terms=terms),
        page_shell.missing(probe_names.missing(findings), "What was not measured"),
        page_shell.chapter("explorer", "Explore the lens", probe_explorer.BODY) if data["branches"] else "",
        *(
            page_shell.chapter(name, heading, f"<p>{text(intro)}</p>{body}", terms=terms)
            for name, heading, intro in CHAPTERS
            if (body := _sections(name, findings, pictures))
        ),
        page_shell.chapter("glossary", "Terms", glossary.glossary(terms), "glossary"),
        _method(findings),
    ]
    links = [("found", "Found"), *([("explorer", "Explore")] if data["branches"] else [])]
    links += [
        (name, heading) for name, heading, _ in CHAPTERS if any(BY_NAME[key[0]].chapter == name for key in pictures)
    ]
    shell = page_shell.Shell(
        title=probe_story.title(findings),
        lead=probe_story.lead(findings),
        links=[*links, ("glossary", "Terms"), ("method", "Method")],
        scripts=("probe_explorer.js",) if data["branches"] else (),
        data=data,
    )
    return page_shell.document(shell, [chapter for chapter in chapters if chapter], colours)


def _picture(drawn: Drawn, findings: ProbeFindings, colours: set[str]) -> str:
    figure, language = BY_NAME[drawn.name], drawn.language
    title = f"{figure.title}, {words.language_name(language)}" if language else figure.title
    caption = figure.caption_of(findings, language)
    below = f"{text(caption)} {text(figure.why_empty(drawn.empty))}"
    return page_shell.picture(drawn, title, f"{title}. {caption}", below, colours)


def _sections(chapter: str, findings: ProbeFindings, pictures: dict[tuple, str]) -> str:
    """The figures of a chapter; "" where none of them is drawn, and `probe_names.missing` says why."""
    parts, absent = [], []
    for figure in (figure for figure in FIGURES if figure.chapter == chapter):
        of = [(language, picture) for (name, language), picture in pictures.items() if name == figure.name]
        if not of:
            why = figure.why_without(findings, None)
            absent.append(f"<li><b>{text(figure.heading)}</b> {page_shell.with_options(why)}</li>")
            continue
        body = "".join(
            (f'<p class="which"><b>{text(words.language_name(language))}</b></p>' if language else "") + picture
            for language, picture in of
        )
        parts.append(f'<div class="part" id="part-{figure.name}"><h3>{text(figure.title)}</h3>{body}</div>')
    if parts and absent:
        parts.append(f'<div class="part"><h3>Not in this probe</h3><ul class="said quiet">{"".join(absent)}</ul></div>')
    return "".join(parts)


def _method(findings: ProbeFindings) -> str:
    about = [branch.about for branch in findings.branches]
    versions = ", ".join(dict.fromkeys(one["package_version"] for one in about))
    dtypes = ", ".join(dict.fromkeys(one["dtype"] for one in about))
    return (
        '<footer id="method"><h2>How these numbers were made</h2>'
        "<p>Every checkpoint was read once, by one pass over held-out rows and prompts; this page was made from the stored "
        "measurements alone, and <code>report --workdir</code> makes it again. With several seeds intervals are Student t over "
        "seeds; with one they are over its rows, prompts or resampled texts, and say nothing about other seeds.</p>"
        f"<p>babel_jax {text(versions)}, computed in {text(dtypes)}. Numbers of the sentences and tables: "
        '<a href="findings.csv">findings.csv</a>, <a href="probed.csv">probed.csv</a>'
        + (', of the map: <a href="lens_map.csv">lens_map.csv</a>' if any(b.maps for b in findings.branches) else "")
        + "; every figure as SVG, PNG and CSV in figures/, beside this page.</p></footer>"
    )

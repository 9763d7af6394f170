"""What the pages of a study and of a probe are made of: one self-contained HTML file with a bar, chapters, figures and a script.

Nothing in it is fetched, and its policy says so; all numbers that its script draws stand in it as JSON.
"""

import base64
import dataclasses
import hashlib
import html
import json
import re
from collections.abc import Sequence
from pathlib import Path

from babel_jax.report import drawing, glossary, theme
from babel_jax.report.drawing import Drawn
from babel_jax.report.glossary import TERMS, Term

HERE = Path(__file__).parent
OPTION = re.compile(r"--[a-z_]+(?:=[\w,]+)?")  # of the command line


@dataclasses.dataclass(frozen=True)
class Shell:
    """A page but for its parts.

    Attributes:
      title, lead: its heading and the sentences below it.
      links: [(chapter, heading)] in the bar; controls: HTML behind them.
      scripts: files beside this one that run behind page.js; data: what they read, as JSON can hold it.
    """

    title: str
    lead: str
    links: Sequence[tuple[str, str]]
    scripts: Sequence[str]
    data: dict
    controls: str = ""


def document(shell: Shell, chapters: Sequence[str], colours: set[str]) -> str:
    """The whole page as HTML. `colours`: the variables that its figures use, see `theme.inline`."""
    style = (HERE / "page.css").read_text() + _palette() + theme.variables(colours)
    script = "\n".join((HERE / name).read_text() for name in ("page.js", *shell.scripts))
    data = json.dumps(shell.data, separators=(",", ":"), allow_nan=False).replace("</", "<\\/")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'"
    header = f'<header><h1>{text(shell.title)}</h1><p class="lead">{text(shell.lead)}</p></header>'
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<meta name="description" content="{html.escape(shell.lead)}">'
        f'<link rel="icon" href="data:,"><title>{text(shell.title)}</title><style>{style}</style></head><body>\n'
        f'<a class="skip" href="#{shell.links[0][0]}">To the {shell.links[0][1].lower()}</a>'
        + _bar(shell)
        + "<main>\n"
        + "\n".join([header, *chapters])
        + f'\n</main><div class="tip" id="tip" role="tooltip" hidden></div>'
        f'<script type="application/json" id="data">{data}</script><script>{script}</script></body></html>\n'
    )


def _palette() -> str:
    """The figures' main colours under names, for the parts that page.css and the scripts draw."""
    named = {name.lower(): getattr(drawing, name) for name in ("NEW", "PRIMARY", "CONTROL", "KNOWLEDGE", "PROPOSAL")}
    return ":root{" + "".join(f"--{name}:{theme.both('c' + colour[1:])};" for name, colour in named.items()) + "}"


def _bar(shell: Shell) -> str:
    anchors = "".join(f'<a href="#{name}">{heading}</a>' for name, heading in shell.links)
    return (
        f'<div class="bar"><div><nav aria-label="Chapters">{anchors}</nav>{shell.controls}'
        '<button type="button" class="theme" id="theme">Dark</button></div></div>'
    )


def chapter(name: str, heading: str, body: str, more: str = "", terms: Sequence[Term] = TERMS) -> str:
    marked = body if name in ("glossary", "explorer") else glossary.mark(body, terms)
    return (
        f'<section class="chapter {more}" id="{name}" aria-labelledby="{name}-heading">'
        f'<h2 id="{name}-heading">{heading}</h2>{marked}</section>'
    )


def picture(drawn: Drawn, title: str, label: str, caption: str, colours: set[str]) -> str:
    """One figure: the drawing, its caption, and its data a click away. `label`: what a screen reader says of it."""
    data = base64.b64encode(drawn.csv.encode()).decode()
    return (
        f'<figure><div class="plot" role="group" tabindex="0" aria-label="{html.escape(title)}">'
        f"{theme.inline(drawn.svg, label, colours)}</div><figcaption>{caption} "
        f'<a class="data" download="{drawn.stem}.csv" href="data:text/csv;base64,{data}">Data (CSV)</a></figcaption></figure>'
    )


def missing(sentences: Sequence[str], heading: str) -> str:
    """A list of what is not there; "" where all is."""
    if not sentences:
        return ""
    items = "".join(f"<li>{with_options(sentence)}</li>" for sentence in sentences)
    return f'<aside class="missing" aria-label="{heading}"><p><b>{heading}.</b></p><ul>{items}</ul></aside>'


def told(sentences: Sequence[tuple[str, str]]) -> str:
    """(heading, sentence) as the list that a page begins with."""
    items = "".join(f"<li><b>{text(heading)}.</b> {text(sentence)}</li>" for heading, sentence in sentences)
    return f'<ol class="four">{items}</ol>'


def with_options(sentence: str) -> str:
    """A sentence in which options of the command line are marked as such."""
    return OPTION.sub(lambda option: f"<code>{option[0]}</code>", text(sentence))


def text(plain: str) -> str:
    return html.escape(plain, quote=False)

"""Whether every number that a probe's page says stands in a table beside it."""

import html
import re

import numpy as np
import pandas as pd

from babel_jax.evolution import probe_findings
from babel_jax.report import probe_folder, probe_page
from babel_jax.study import words

NUMBER = r"(?<![\w.])[+\N{MINUS SIGN}]?\d[\d,]*(?:\.\d+)?(?:\N{NO-BREAK SPACE}[KMBT]\b)?"
# Pictures, options of the command line, and what is no number of this probe.
SKIPPED = r"<(svg|code|noscript)\b.*?</\1>|95 %|--\w+=\d+|type \d|fewer than 10 prompts|gpt2|layers? \d+<"
LEAST = 12  # numbers that any page says


def check(page: str, tables) -> None:
    """Raises where `page` says a number that is none of those of the `tables`, as a page may write it."""
    body = page[page.index("<main>") : page.index('id="glossary"')]
    said = re.findall(NUMBER, plain(re.sub(SKIPPED, "", body, flags=re.DOTALL)))
    numbers = {number for table in tables for number in table.select_dtypes("number").to_numpy(float).ravel()}
    known = set().union(*(spellings(number) for number in numbers if np.isfinite(number)))
    assert len(said) >= LEAST, said
    unknown = [one for one in said if one.rstrip(",") not in known]
    assert not unknown, f"numbers of the page that no table holds: {unknown}"


def check_folder(folder) -> None:
    """The same of a report that was written."""
    check((folder / "index.html").read_text(), [pd.read_csv(file) for file in folder.rglob("*.csv")])


def check_probe(out) -> str:
    """The same of the page that a probe's folder would get, whose figures are not drawn; the page."""
    findings = probe_findings.read(out)
    page = probe_page.page(findings, [])
    check(page, probe_folder.tables(findings).values())
    return page


def plain(text: str) -> str:
    return html.unescape(re.sub(r"<[^>]+>", " ", text))


def spellings(value: float) -> set[str]:
    """How a page may write a number."""
    scaled = [
        format(scale * value, f"{sign},.{digits}f") for scale in (1, 100) for digits in range(5) for sign in ("", "+")
    ]
    return {*map(words.minus, scaled), words.amount(value), words.short_amount(value)}

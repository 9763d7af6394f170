"""The front page: short, and with numbers that the stored results have."""

import re
from pathlib import Path

from helpers import ROOT

README = Path(ROOT, "README.md")
EXAMPLE = Path(ROOT, "babel_jax", "report", "example")
MOST_LINES, MOST_WORDS = 180, 2200
MEASURED = re.compile(r"([\d.]+)(?: points)?(?: back)?\s+\[(-?[\d.]+),\s+(-?[\d.]+)\]")  # 28.2 points [25.4, 31.0]


def plain(text: str) -> str:
    """Without signs of more, and with one kind of minus, as results.md writes neither as README does."""
    return re.sub(
        r"\s+", " ", text.replace("+", "").replace("\u2212", "-").replace("\u202f", " ").replace("\u00a0", " ")
    )


def test_it_is_read_in_five_minutes():
    text = README.read_text()
    assert len(text.splitlines()) <= MOST_LINES and len(text.split()) <= MOST_WORDS


def test_every_interval_is_one_of_the_example():
    results = plain((EXAMPLE / "results.md").read_text())
    shown = MEASURED.findall(README.read_text())
    assert len(shown) >= 5
    absent = []
    for value, low, high in shown:
        written = (f"{value} points [{low}, {high}]", f"{value} [{low}, {high}]")
        if not any(each in results for each in written):
            absent.append(written[0])
    assert absent == []


def test_the_stored_page_gives_the_verdicts_of_the_stored_tables():
    page = plain(re.sub(r"<[^>]+>", "", (EXAMPLE / "index.html").read_text()))
    table = (EXAMPLE / "results.md").read_text()
    verdicts = re.findall(r"(?m)^\| .* \| (?:not supported|supported|undecided) \| (.+) \|$", table)
    assert len(verdicts) >= 15 and [number for number in verdicts if plain(number) not in page] == []


def test_the_example_has_figures_with_their_data():
    figures = {path.stem for path in EXAMPLE.glob("*.png")} - {"page"}  # a picture of index.html
    assert figures == {path.stem for path in EXAMPLE.glob("*.csv")}

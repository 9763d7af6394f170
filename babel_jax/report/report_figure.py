"""What a figure of the report is: how it is drawn, and what its section of the page says."""

import dataclasses
from collections.abc import Callable, Sequence

from babel_jax.evolution.curve import Curve
from babel_jax.study.findings import Findings


@dataclasses.dataclass(frozen=True)
class ReportFigure:
    """A figure, its caption and its section of the page.

    Attributes:
      name: of its files, and of its section; title: the section's heading; chapter: of the page.
      draw: `(findings, language) -> (figure, table)`, or `(findings)` of a figure of the whole study; None where its
        measurements are missing. The table holds exactly what is drawn: columns panel, series, x, value, low, high.
      caption: text, or `(findings, language) -> text`: sentences from the findings, nothing computed.
      verdicts: names of the claims that it bears on.
      paper: what the paper shows there.
      without: why there is no figure, where there is none: a clause, or `(findings, language) -> clause`.
      no_value: why a panel's curves can have no value, a clause.
      table: `(findings) -> HTML` under the figure.
      of_study: whether it is about the whole study, not about each new language.
    """

    name: str
    title: str
    chapter: str
    draw: Callable
    caption: str | Callable[[Findings, str | None], str]
    verdicts: tuple[str, ...] = ()
    paper: str = ""
    without: str | Callable[[Findings, str | None], str] = "what it would show was not measured"
    no_value: str = "nothing that it counts was found at any checkpoint"
    table: Callable[[Findings], str] = lambda findings: ""
    of_study: bool = False

    @property
    def heading(self) -> str:
        """Its title as a sentence."""
        return self.title if self.title.endswith("?") else f"{self.title}."

    def caption_of(self, findings: Findings, language: str | None) -> str:
        return self.caption if isinstance(self.caption, str) else self.caption(findings, language)

    def why_without(self, findings: Findings, language: str | None) -> str:
        """Why it is not drawn, as a sentence."""
        clause = self.without if isinstance(self.without, str) else self.without(findings, language)
        return f"No figure: {clause}."

    def why_empty(self, panels: Sequence[str]) -> str:
        """Why panels of it have no value, as a sentence; "" without such."""
        names = "; ".join(panel.replace("_", " ") for panel in panels)
        return f"No value ({names}): {self.no_value}." if panels else ""


def interval_note(curve: Curve | None, mark: str = "Bands") -> str:
    """What a curve's interval is, as a sentence and a blank."""
    return "" if curve is None else f"{mark}: 95 %, {curve.interval}. "


def unit_note(findings: Findings) -> str:
    """What the intervals of paired differences are over."""
    return (
        "Student t over the seeds’ differences"
        if len(findings.study.seeds) > 1
        else "Student t over the one seed’s problems"
    )

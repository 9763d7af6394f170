"""Where in the findings something stands, and which of several scores the report speaks about."""

import collections
import dataclasses

import numpy as np

from babel_jax import candidates, run_names
from babel_jax.evolution.curve import Curve
from babel_jax.evolution.mixes import MACRO, Mix
from babel_jax.findings import Findings
from babel_jax.optimum import algorithm1, compare
from babel_jax.optimum.compare import Comparison, Guard
from babel_jax.optimum.sources import CALIBRATED


def main_score(findings: Findings) -> str:
    """The score of a mix: the new language's accuracy, or with several new languages the mean over all languages."""
    new = findings.study.new
    return new[0] if len(new) == 1 else MACRO


def mix_named(findings: Findings, name: str | None) -> Mix | None:
    return next((mix for mix in findings.mixes if mix.name == name), None)


def original_name(findings: Findings) -> str | None:
    """The name of the mix that has the original corpus's shares; None where it was not trained."""
    name = run_names.mix_of_share(findings.study.original_share).mix
    return name if mix_named(findings, name) else None


def new_share(findings: Findings, mix: Mix) -> float:
    """The new languages' share of a mix's tokens."""
    return 1 - mix.shares.get(findings.study.primary, 0.0)


def against_original(findings: Findings, name: str) -> Comparison | None:
    """A mix against the original one in the main score; None where one of them was not trained."""
    wanted = (original_name(findings), name, main_score(findings))
    for found in findings.comparisons:
        if (found.first, found.second, found.score) == wanted and found.kind == "mix":
            return found
    return None


def between(findings: Findings, first: str, second: str) -> Comparison | None:
    """`compare.compare` of two mixes in the main score; None where one of them was not trained."""
    if mix_named(findings, first) is None or mix_named(findings, second) is None:
        return None
    return compare.compare(findings.mixes, first, second, main_score(findings))


def guard(findings: Findings, name: str) -> Guard:
    """Whether a mix harms a language, against the original one; both were trained."""
    return compare.guard(findings.mixes, original_name(findings), name)


@dataclasses.dataclass(frozen=True)
class Course:
    """A curve at its first checkpoint, at the step of the peak, and over the last quarter; None: not measured there."""

    start: float | None
    peak: float | None
    end: float | None

    def shares(self) -> dict[str, float | None]:
        return {f"primary_share_{name}": value for name, value in dataclasses.asdict(self).items()}


def course(curve: Curve | None, peak_step: int | None) -> Course:
    if curve is None:
        return Course(None, None, None)
    points = curve.first(), curve.at(peak_step), curve.end()
    return Course(*(point and point.value for point in points))


def equally_long(findings: Findings) -> list[Mix]:
    """The mixes trained for as many steps as most are: with more, or fewer, a score says little about the shares."""
    count = collections.Counter(mix.steps for mix in findings.mixes)
    return [mix for mix in findings.mixes if mix.steps == count.most_common(1)[0][0]]


def static_rivals(findings: Findings, name: str) -> list[Mix]:
    """The other mixes that a mix can be ranked with: equally long, trained on all its seeds, and of constant shares."""
    mix, chosen = mix_named(findings, name), equally_long(findings)
    if not any(mix is other for other in chosen):
        return []
    return [other for other in chosen if other is not mix and other.is_static and {*mix.seeds} <= {*other.seeds}]


def behind_best(findings: Findings, name: str) -> Comparison | None:
    """`compare.gap_to_best` of a mix in the main score, among its `static_rivals` and itself."""
    others = static_rivals(findings, name)
    return compare.gap_to_best([mix_named(findings, name), *others], name, main_score(findings)) if others else None


def optimised_name(findings: Findings) -> str | None:
    """The mix that the optimiser stands for: Algorithm 1's with the calibrated share, where there is one, else the paper's."""
    for name in ("algorithm1_calibrated", "algorithm1_loss"):
        if mix_named(findings, name):
            return name
    return None


def asked(findings: Findings) -> list[tuple[str, float, list | None]]:
    """(source of P, the new languages' share that Algorithm 1 asks for, its interval), as the mixes are made from them.

    The losses and the measured share as the paper writes the rule (a language that asks for tokens without end keeps what
    it has); the calibrated share as the tests allow. An interval with one new language alone, where its proposal is what
    is asked.
    """
    primary, original, found = findings.study.primary, findings.study.original, []
    for source, corpus in findings.corpora.items():
        proposals = [here.proposals.get(source) for here in findings.languages.values()]
        if all(proposal is None or np.isnan(proposal.p_star) for proposal in proposals):
            continue  # it asks for nothing
        tokens = corpus.tokens if source == CALIBRATED else corpus.as_written or corpus.unconstrained
        tokens = candidates.finite(tokens, original)
        share = 1 - tokens[primary] / sum(tokens.values())
        interval = None
        if len(findings.languages) == 1:
            (here,) = findings.languages.values()
            proposal = here.proposals.get(source)
            if proposal and (source != CALIBRATED or proposal.decision == algorithm1.CHANGE):
                interval = proposal.share_ci
        found.append((source, share, interval))
    return found

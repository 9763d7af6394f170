"""How names and numbers are written: one place, so that verdicts, page, figures and tables agree."""

import re

import numpy as np

from babel_jax.common import run_names
from babel_jax.common.statistics import Estimate
from babel_jax.evolution.dependence import Dependence
from babel_jax.evolution.mixes import Mix
from babel_jax.languages import registry
from babel_jax.optimum.algorithm1 import Proposal
from babel_jax.study import candidates

NBSP = "\N{NO-BREAK SPACE}"
SOURCE_NAMES = {
    "loss": "loss",
    "loss_knowledge": "knowledge-bearing loss",
    "knowledge_share": "knowledge share",
    "working_language": "working language",
    "functional_neurons": "functional neurons",
    "calibrated": "calibrated share",
    "peak_tokens": "peak tokens",
}


def source_name(source: str) -> str:
    """What a source of the primary's share is called."""
    return SOURCE_NAMES.get(source, source)


def language_name(language: str) -> str:
    """How a language is written in text; a role that is not a known language (a corpus of its own) keeps its name."""
    return registry.title(language)


def names(languages) -> str:
    """Languages in a sentence: "PHP", "PHP and Go", "PHP, C# and Go"."""
    *first, last = map(language_name, languages)
    return f"{', '.join(first)} and {last}" if first else last


def number(value: float, digits: int = 2) -> str:
    """A number with its digits; "" for NaN."""
    if np.isnan(value):
        return ""
    return "\N{INFINITY}" if value == np.inf else minus(f"{value:,.{digits}f}")


def p_star(proposal: Proposal) -> str:
    """A proposal's P* with its interval, or that there is none."""
    return "not determined" if np.isnan(proposal.p_star) else number(proposal.p_star) + bounds(proposal.p_star_ci)


def depends(test: Dependence | None) -> str:
    """The dependence test's answer: yes, no, undecided or not tested; "" where it was not made."""
    if test is None:
        return ""
    return {True: "yes", False: "no", None: "undecided"}[test.depends] if test.tested else "not tested"


def percent(value: float, digits: int = 0) -> str:
    return f"{minus(f'{100 * value:.{digits}f}')}{NBSP}%"


def bounds(ci, scale: float = 1.0, digits: int = 2, sign: str = "") -> str:
    """An interval as " [low, high]"; "" where it has no bounds."""
    if np.isnan(ci).any():
        return ""
    low, high = ("\N{INFINITY}" if np.isinf(bound) else minus(f"{scale * bound:{sign},.{digits}f}") for bound in ci)
    return f" [{low},{NBSP}{high}]"


def share(point: Estimate) -> str:
    """A share in per cent with its interval."""
    return percent(point.value) + bounds(point.ci, 100, digits=0)


def points(point: Estimate, sign: str = "") -> str:
    """A difference of shares in points with its interval."""
    value = minus(f"{100 * point.value:{sign}.1f}")
    return f"{value}{NBSP}points{bounds(point.ci, 100, 1, sign)}"


def p_value(value: float | None) -> str:
    """ ", p = 0.012" for the end of a sentence; "" where there is none."""
    if value is None or np.isnan(value):
        return ""
    return ", p < 0.001" if value < 0.001 else f", p = {value:.3f}"


def capital(text: str) -> str:
    """The same beginning with a capital letter."""
    return text[:1].upper() + text[1:]


def as_sentence(text: str) -> str:
    """A reason from the findings as a sentence: a capital, real minus signs, a full stop."""
    return re.sub(r"(?<=[ \[])-(?=\d)", "\N{MINUS SIGN}", capital(text).rstrip(".") + ".")


def seeds(count: int) -> str:
    return f"{count} seed{'s' * (count != 1)}"


def per_primary(amount: float, of_primary: float, ci=(np.nan, np.nan)) -> str:
    """Tokens for those of the primary, with their interval: "1 for every 20 [15, 30]", "2.1 for every one"; "" for NaN."""
    if np.isnan(amount):
        return ""
    if amount == 0:
        return "none"
    if of_primary == 0 or amount == np.inf:
        return "without the primary"
    with np.errstate(divide="ignore"):  # an interval may reach to no tokens at all
        if amount < of_primary:
            ends = [of_primary / np.asarray(bound, float) for bound in ci[::-1]]
            return f"1 for every {_short(of_primary / amount)}{_ends(ends)}"
    return f"{_short(amount / of_primary)} for every one{_ends([bound / of_primary for bound in ci])}"


def _ends(ci) -> str:
    if np.isnan(ci).any():
        return ""
    low, high = ("\N{INFINITY}" if np.isinf(bound) else _short(bound) for bound in ci)
    return f" [{low},{NBSP}{high}]"


def ratio(language: str, amount: float, primary: str, of_primary: float) -> str:
    """How many tokens of a language there are beside those of the primary: "1 PHP token for every 20 of Python"."""
    new, of = language_name(language), language_name(primary)
    if amount == 0:
        return f"no {new}"
    if of_primary == 0 or amount == np.inf:
        return f"{new} without {of}"
    if amount < of_primary:
        return f"1 {new} token for every {_short(of_primary / amount)} of {of}"
    count = _short(amount / of_primary)
    return f"{count} {new} token{'s' * (count != '1')} for every one of {of}"


def ratios(amounts: dict[str, float], primary: str) -> str:
    """The same of a whole corpus {language: tokens, or its share of them}; the primary is named once."""
    of_primary, told = amounts.get(primary, 0.0), []
    for language, amount in amounts.items():
        if language != primary:
            one = ratio(language, amount, primary, of_primary)
            told.append(one.removesuffix(f" of {language_name(primary)}") if told else one)
    return ", ".join(told)


def _short(value: float) -> str:
    """A factor as a reader wants it: 0.35, 1, 2.1, 20, 126."""
    if value < 0.95:
        return f"{value:.2g}"
    return f"{value:.1f}".removesuffix(".0") if value < 9.95 else f"{value:,.0f}"


def learned_by(mix: Mix) -> str:
    """How soon a mix's runs had learned the primary: "by step 400 [250, 455]", or how many had not."""
    missed, runs = int((~mix.learned_primary_S).sum()), len(mix.seeds)
    if mix.learning is None:
        return "not known"
    if missed:
        return f"{missed} of {runs} runs not"
    if not mix.learning.is_followed:
        return "by its last step, the only one measured"
    soon = mix.learning.soon
    return "yes" if np.isnan(soon.value) else f"by step {soon.value:,.0f}{bounds(soon.ci, digits=0)}"


def amount(value: float) -> str:
    """A number of tokens or the like, a large one in three digits: "45,056", "300 M", "2.5 T"."""
    return f"{value:,.0f}" if value < 1e6 else short_amount(value)


def short_amount(value: float) -> str:
    """The same in three digits from a thousand on: "45.1 K"."""
    for size, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K")):
        if value >= size:
            return f"{value / size:.3g}{NBSP}{unit}"
    return f"{value:,.0f}"


def flops(value: float) -> str:
    """Floating-point operations, such as "1.2e15"."""
    return "" if np.isnan(value) else f"{value:.1e}".replace("e+", "e")


def mix_title(name: str) -> str:
    """What a from-scratch mix is called in text: by the new languages' share, or by the way it was made."""
    mix = run_names.mix(name)
    if mix.share is not None:
        return f"{percent(mix.share, 1)} new"
    candidate = candidates.candidate_of(name)
    title = candidate and candidate.title or mix.candidate.replace("_", " ")
    if mix.source:
        title = f"Algorithm 1, {source_name(mix.source)}"
    return title + ", equal epochs" * mix.equal_epochs


def minus(text: str) -> str:
    """A formatted number with a real minus sign, and none before a rounded zero."""
    return re.sub(r"-(?=[0.]*$)", "", text).replace("-", "\N{MINUS SIGN}")

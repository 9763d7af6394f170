"""What the report's terms mean: a glossary at the end of the page, and each term in the text a link to its entry.

The links carry the definition along (`data-tip`), so that the page can show it on hover and focus; without a script
they still lead to the glossary.
"""

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Term:
    """`pattern`: a regular expression of how the term stands in the (escaped) text."""

    title: str
    pattern: str
    text: str

    @property
    def key(self) -> str:
        return "term-" + re.sub(r"\W+", "-", self.title.lower()).strip("-")


TERMS = (
    Term(
        "primary language",
        r"primary language",
        "The language that the model knows first, and from which a new one may borrow.",
    ),
    Term(
        "continual pre-training",
        r"continual (?:pre-)?training",
        "Training of the primary's model goes on, with texts of one new language alone.",
    ),
    Term(
        "control",
        r"(?<!run )control(?! run)\b",
        "The same training without what is suspected as the cause: in the embedded world, new texts without words"
        " of their own.",
    ),
    Term(
        "translation, transition, stabilisation",
        r"transition is seen|no transition seen|translation stage",
        "The three stages of the hypothesis: the new language rises on the primary's knowledge, declines while it"
        " builds its own system, and settles on that.",
    ),
    Term(
        "S and T\\S",
        r"T\\S",
        "S: words that the new language's texts cover. T\\S: words that only the primary's texts cover; solving a problem with "
        "one of them takes the primary's knowledge.",
    ),
    Term(
        "knowledge share",
        r"knowledge share",
        "Of the problems solved in the new language, the part that needs the primary's knowledge: solved by the primary's model "
        "and not by one that learned the new language alone. Its ceiling is the part of all problems that do.",
    ),
    Term(
        "working language",
        r"working language",
        "The language whose words the intermediate layers decode to where a built-in's name must come; given as "
        "the primary's share.",
    ),
    Term(
        "concept share",
        r"concept share",
        "The primary's share with the identifiers that are asked for, minus the same share with the identifiers of other "
        "pairs at the same prompts: 0 if a layer prefers one language's names whatever is asked for, above 0 if it prefers "
        "the primary's name of this very concept, below 0 if the new language's. Each pair counts as often among the others "
        "as among the right ones.",
    ),
    Term(
        "logit lens",
        r"logit lens|\blens\b",
        "Reading an intermediate layer as if it were the last one: which token would the model write if it stopped here?",
    ),
    Term(
        "LAPE",
        r"LAPE",
        "Language activation probability entropy: neurons that are active for few languages are called specific to those. Which "
        "they are depends on thresholds.",
    ),
    Term(
        "transferring neurons",
        r"transferring neurons",
        "Feed-forward neurons that serve the new language as they serve the primary.",
    ),
    Term(
        "functional neurons",
        r"functional (?:transferring )?neurons",
        "Neurons whose activity on the new language's T\\S places correlates above 0.5 with the primary model's on"
        " the same places in the primary language.",
    ),
    Term(
        "births and deaths",
        r"births and deaths",
        "Neurons that enter, or leave, a set between one checkpoint and the next.",
    ),
    Term(
        "representation patch",
        r"[Rr]epresentation patch(?:es)?",
        "Part of the parameters is restored from an earlier checkpoint. What then returns was lost in that part.",
    ),
    Term(
        "ablation",
        r"\bablat(?:ed|ion|ing)\b",
        "The neurons' activity is replaced, by zero or by its mean, and the model is measured again.",
    ),
    Term(
        "system share P(l)",
        r"P\(l\)|Eq\. 1\b",
        "Eq. 1 of the paper: where the held-out loss l stands between the loss of the own system (0) and that of the primary's "
        "system (1).",
    ),
    Term(
        "P*",
        r"P\*",
        "The system share at the best checkpoint of continual pre-training; Algorithm 1 derives the tokens from it.",
    ),
    Term(
        "Algorithm 1",
        r"Algorithm 1",
        "The paper's rule for the corpus: the token share of a new language's own system is to be 1 − P*.",
    ),
    Term(
        "pairwise and joint reading",
        r"pairwise(?! share)\b|joint reading",
        "Two readings of Eq. 3: each new language against the primary alone, or all languages in the denominator.",
    ),
    Term(
        "dependence test",
        r"dependence test",
        "Does a new language live off the primary? It does if its accuracy peaks and declines, and what it solves"
        " at the peak needs the primary. Only then is its corpus changed.",
    ),
    Term(
        "calibration",
        r"\b[Cc]alibrat(?:ion|ed)\b",
        "Comparing P(l) with a share that was measured at the same checkpoints, and correcting it by a link if that predicts "
        "left-out checkpoints better.",
    ),
    Term(
        "95 % interval",
        r"95 % interval",
        "Made so that 95 of 100 such intervals hold the true value. Student t over seeds; with one seed, over its "
        "problems.",
    ),
    Term(
        "paired",
        r"\bpaired\b",
        "Differences are taken within a seed before they are averaged, so that what the seeds share drops out.",
    ),
    Term(
        "from scratch",
        r"from-scratch|from scratch",
        "Trained from random parameters on one mix of all languages, at equal total steps.",
    ),
    Term(
        "learned the primary",
        r"learn(?:ed|s) the primary|had not learned",
        "A from-scratch run has if its accuracy in the primary language is at least 95 % of the primary-only run's (on real "
        "code: its held-out loss at most 1.1 times that run's). Runs that have not are not compared: their scores tell who has "
        "left the first plateau, not which corpus is better.",
    ),
    Term(
        "chance",
        r"(?:above|at) chance",
        "The part of the problems that is solved without having learned anything: no program is written by luck; at a call site "
        "of real code, who always says the commonest identifier is right as often as that one stands there.",
    ),
    Term(
        "peak tokens",
        r"[Pp]eak tokens|tokens at the peak",
        "A corpus with as many tokens of each new language as its continual run had seen at its best checkpoint; the rest of the "
        "budget is the primary's.",
    ),
    Term(
        "prediction",
        r"\b[Pp]redicted on\b|\bPredictions\b",
        "A mix that the study wrote down, with the digest of its mixture file and the time, before the runs that test it were "
        "trained.",
    ),
    Term("original mix", r"[Oo]riginal mix", "The token shares that the corpus had before anything was optimised."),
    Term(
        "guard",
        r"\bguard\b",
        "A mix fails it if one language's paired interval against the original mix lies wholly below zero and reaches beyond "
        "2 points, the tolerance.",
    ),
    Term("UniMax", r"UniMax", "Equal tokens for every language, up to a cap on how often its texts are repeated."),
    Term(
        "mixing law",
        r"mixing law",
        "Losses fitted as L = c + k exp(t · shares) over a swarm of small mixes; the mix with the least predicted"
        " loss is proposed.",
    ),
    Term(
        "ADO",
        r"\bADO\b",
        "Adaptive data optimisation: a scaling law for each language is fitted during the run, and its learning "
        "speed sets the next weights.",
    ),
    Term(
        "schedule",
        r"\bschedules?\b",
        "An order of training: the primary first, then a phase of new languages of a given length.",
    ),
    Term("replay", r"\breplay\b", "The part of a later phase that still shows the primary language."),
    Term("FLOPs", r"\bFLOPs\b", "Floating-point operations: the cost of training, whatever the machine."),
    Term(
        "bits per byte",
        r"[Bb]its per byte",
        "Held-out loss per byte of text: comparable between tokenizers, lower is better.",
    ),
)

# Text in these elements keeps as it is.
_SKIPPED = "svg|a|h1|h2|h3|h4|script|style|button|select|label|dl|code|noscript|table|b"
_SKIP = re.compile(rf"<({_SKIPPED})\b.*?</\1>|<[^>]+>", re.DOTALL)


def mark(body: str, terms: Sequence[Term] = TERMS) -> str:
    """HTML in which the first place of every term is a link to the glossary. One section at a time."""
    open_terms = list(terms)

    def marked(text: str) -> str:
        matches = ((term, re.search(term.pattern, text)) for term in open_terms)
        matches = [(match.start(), match.end(), term) for term, match in matches if match]
        if not matches:
            return text
        start, end, term = min(matches, key=lambda each: (each[0], -each[1]))
        open_terms.remove(term)
        return f"{text[:start]}{_link(term, text[start:end])}{marked(text[end:])}"

    parts, place = [], 0
    for tag in _SKIP.finditer(body):
        parts += [marked(body[place : tag.start()]), tag[0]]
        place = tag.end()
    return "".join([*parts, marked(body[place:])])


def _link(term: Term, shown: str) -> str:
    tip = html.escape(term.text)
    return f'<a class="term" href="#{term.key}" aria-describedby="{term.key}" data-tip="{tip}">{shown}</a>'


def glossary(terms: Sequence[Term] = TERMS) -> str:
    """The entries as a description list."""
    entries = sorted(terms, key=lambda term: term.title.lower())
    return "<dl>" + "".join(
        f'<div><dt>{html.escape(term.title)}</dt><dd id="{term.key}">{html.escape(term.text)}</dd></div>'
        for term in entries
    ) + "</dl>"  # fmt: skip

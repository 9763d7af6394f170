"""The page's sections: one a figure, in the paper's order, each with its caption and with what the paper shows there."""

import html
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from babel_jax.evolution.continual import Curves
from babel_jax.evolution.curve import Curve
from babel_jax.optimum.share_sources import CALIBRATED
from babel_jax.study import words
from babel_jax.study.findings import Findings


@dataclass(frozen=True)
class Section:
    """`name` is the figure's; `verdicts` are the names of the verdicts that it bears on; `paper` is what the paper shows."""

    name: str
    title: str
    chapter: str
    caption: Callable[[Findings, str | None], str]
    verdicts: tuple[str, ...] = ()
    paper: str = ""
    without: str = "what it would show was not measured"  # why there is no figure, where there is none
    table: Callable[[Findings], str] = lambda findings: ""


# --- captions: sentences from the findings, nothing computed ----------------------------------------------------------


def _curves(findings: Findings, language: str) -> Curves:
    return findings.languages[language].curves


def _interval(curve: Curve | None, mark: str = "Bands") -> str:
    return "" if curve is None else f"{mark}: 95 %, {curve.interval}. "


def _story(findings: Findings, language: str | None) -> str:
    if language is None and len(findings.languages) > 1:
        curves = [_curves(findings, each).accuracy.get(("continual", each, "all")) for each in findings.languages]
        bands = _interval(next(filter(None, curves), None)).strip()
        return f"Each new language alone, continued from the same models of the primary language. {bands}".strip()
    curves = _curves(findings, language or next(iter(findings.languages)))
    language = curves.new
    tints = (
        " Tints: the stages found. The text’s peak is smoothed and cross-fitted, so it may lie below the curve’s."
        if curves.stages
        else ""
    )
    return f"{_interval(curves.accuracy.get(('continual', language, 'all')))}{tints}".strip()


def _performance(findings: Findings, language: str) -> str:
    curves = _curves(findings, language)
    problems, in_world = curves.problems, ("continual", language, "shared") in curves.accuracy
    if not problems:
        return ""
    primary = words.language_name(findings.study.primary)
    parts = [
        f"{problems[0]:,} {'problems' if in_world else 'call sites'} per seed, {words.seeds(len(curves.seeds))}.",
        _interval(curves.accuracy.get(("continual", language, "all"))).strip(),
    ]
    if in_world:
        parts.append(
            "S: the new language’s corpus covers every word of the problem; T\\S: at least one word only the primary’s "
            "corpus covers."
        )
    if curves.stages:
        parts.append("Tints: the stages found; the dot: the checkpoint of the peak.")
    parts.append(f"{primary}’s own accuracy is measured on the same checkpoints.")
    return " ".join(filter(None, parts))


def _working_language(findings: Findings, language: str) -> str:
    curves = _curves(findings, language)
    lens = curves.lens.get(("continual", "primary_share_pair"), [None])[0]
    if lens is None:
        return ""
    where = "words of S" if curves.lens_subset == "shared" else "call sites"
    primary, new = words.language_name(findings.study.primary), words.language_name(language)
    coverage = [layer.end().value for layer in curves.lens.get(("continual", "argmax_coverage"), [])]
    covered = (
        f" ({words.percent(min(coverage))} to {words.percent(max(coverage))} of them at the end, by layer)"
        if coverage
        else ""
    )
    return (
        f"Logit lens at {lens.n:,} places ({where}) of {new} prompts where an identifier must come. {_interval(lens)}"
        f"By pairs: share of places where {primary}’s name is more probable than {new}’s; by probability: mean of its part in "
        f"the sum of both; by argmax: its share among the places whose most probable token is one of the two{covered}. "
        + (
            "The lower row is the control."
            if any(run == "control" for run, _ in curves.lens)
            else "No control was run."
        )
    )


def _neurons(findings: Findings, language: str) -> str:
    curve = next(iter(_curves(findings, language).neurons.values()), None)
    if curve is None:
        return ""
    return (
        f"Counts over {curve.n:,} feed-forward neurons. {_interval(curve)}LAPE’s count is shown for every cut because its "
        "number of selected neurons is fixed by the cut itself."
    )


def _patches(findings: Findings, language: str) -> str:
    curve = next(iter(_curves(findings, language).patches.values()), None)
    return "" if curve is None else f"{curve.n:,} word slots per seed; small dots are seeds. {_interval(curve, 'Bars')}"


def _losses(findings: Findings, language: str) -> str:
    curve = _curves(findings, language).loss.get(("continual", language, "loss"))
    tokens = f", {curve.n:,} tokens per seed" if curve else ""
    return (
        f"Held-out text{tokens}. {_interval(curve)}The loss on the new language can go on falling while accuracy falls: it is "
        "not a measure of the decline."
    )


def _seeds_or_problems(findings: Findings) -> str:
    return (
        "Student t over the seeds’ differences"
        if len(findings.study.seeds) > 1
        else "Student t over the one seed’s problems"
    )


def _paired(findings: Findings, language: str | None) -> str:
    seeds = words.seeds(len(findings.study.seeds))
    return f"{seeds.capitalize()}. Bars: 95 %, {_seeds_or_problems(findings)}.{_epochs(findings)}"


def _epochs(findings: Findings) -> str:
    """What is to be said of the mixes that are longer or shorter than the others; "" without such."""
    if len(findings.equally_long) == len(findings.mixes):
        return ""
    return (
        " With equal epochs: as many tokens of the primary as the original mix has, and so another total; such a mix is shown "
        "beside the others, but not ranked among them."
    )


def _always(text: str) -> Callable:
    return lambda findings, language: text


# --- tables under figures -------------------------------------------------------------------------------------------


def _table(label: str, head: list[str], rows: list[list[str]]) -> str:
    """First column: names. The others: numbers, or text where the heading ends in a blank."""
    if not rows:
        return ""
    kind = ["" if name.endswith(" ") else ' class="n"' for name in head]
    cells = "".join(
        f'<tr><th scope="row">{html.escape(row[0], quote=False)}</th>'
        + "".join(f"<td{k}>{html.escape(cell, quote=False)}</td>" for k, cell in zip(kind[1:], row[1:], strict=True))
        + "</tr>"
        for row in rows
    )
    heads = f'<th scope="col">{head[0]}</th>' + "".join(
        f'<th scope="col"{k}>{html.escape(name.strip(), quote=False)}</th>'
        for k, name in zip(kind[1:], head[1:], strict=True)
    )
    return (
        f'<div class="scroll" role="group" tabindex="0" aria-label="{html.escape(label)}"><table>'
        f'<caption class="unseen">{html.escape(label)}</caption><thead><tr>{heads}</tr></thead>'
        f"<tbody>{cells}</tbody></table></div>"
    )


def _proposals(findings: Findings) -> str:
    several = len(findings.languages) > 1
    rows = []
    for language, here in findings.languages.items():
        for source, proposal in here.proposals.items():
            name = words.source_name(source)
            rows.append(
                [
                    f"{words.language_name(language)}, from the {name}" if several else name.capitalize(),
                    words.p_star(proposal),
                    "" if np.isnan(proposal.pairwise_share) else words.percent(proposal.pairwise_share, 1),
                    proposal.decision,
                ]
            )
    return _table(
        "What Algorithm 1 proposes",
        ["P* from", "P*, 95 % interval", "new share", "decision "],
        rows,
    )


def _corpora(findings: Findings) -> str:
    """One row a corpus, the original first; what a constraint changed stands beside the corpus without it."""
    original = findings.study.original
    rows = [["original", *(words.number(amount) for amount in original.values()), ""]] if findings.corpora else []
    joint = findings.corpora_joint
    readings = [(source, corpus, joint and ", pairwise") for source, corpus in findings.corpora.items()]
    readings += [(source, corpus, ", joint") for source, corpus in joint.items() if corpus]
    for source, corpus, reading in readings:
        name = f"from the {words.source_name(source)}{reading or ''}"
        written = corpus.as_written
        if written and source != CALIBRATED and reading != ", joint" and written != corpus.unconstrained:
            amounts = [words.number(written[language]) for language in original]
            rows.append([f"{name}, as the paper writes it", *amounts, "no language is tested, none is left alone"])
        kinds = [(name, corpus.tokens, "; ".join(corpus.active) or "no constraint binds")]
        if corpus.active:
            kinds.append((f"{name}, unconstrained", corpus.unconstrained, ""))
        rows += [
            [title, *(words.number(tokens[language]) for language in original), note] for title, tokens, note in kinds
        ]
    if unsolved := [f"the {words.source_name(source)}" for source, corpus in joint.items() if not corpus]:
        name = f"from {words.names(unsolved)}, joint"
        rows.append([name, *("–" for _ in original), "no solution: the new languages ask for all tokens or more"])
    heads = [words.language_name(language) for language in original]
    return _table("Tokens of each corpus, in the unit of the original", ["Corpus", *heads, "constraints "], rows)


def _costs(findings: Findings) -> str:
    rows = [[cost.what, words.flops(cost.flops), f"{cost.runs:g}"] for cost in findings.costs]
    return _table("What the search costs", ["What", "FLOPs", "runs"], rows)


def _calibration(findings: Findings, language: str) -> str:
    chosen = findings.languages[language].chosen
    used = (
        f" The calibrated proposal goes by the {chosen.link} link from the {words.source_name(chosen.source)} to the "
        f"{words.source_name(chosen.measured)}, which foretells checkpoints left out best (R2 {chosen.loo_r2:.2f})."
        if chosen
        else ""
    )
    return (
        "One mark a checkpoint, losses pooled over seeds; training runs from right to left, the ring is the peak. P(l) is 1 at "
        f"the first checkpoint and 0 at the last by construction: only the path between is evidence.{used}"
    )


CHAPTERS = (
    (
        "tower",
        "The tower",
        "What happens inside while the new language is learned: each figure of the paper, with ours.",
    ),
    (
        "corpus",
        "The better corpus",
        "From what was seen in continual pre-training to the mix that a model should be trained on.",
    ),
)
SECTIONS = (
    Section(
        "story",
        "Accuracy and knowledge share over continual pre-training",
        "story",
        _story,
        ("transition", "control", "knowledge"),
    ),
    Section(
        "stages",
        "Is there a transition?",
        "tower",
        _always(
            "Above: accuracy smoothed over checkpoints with its 95 % interval (Student t over seeds, or over the one seed’s "
            "problems); dots are not smoothed. The cross: the peak with 95 % intervals of its step and accuracy, which is "
            "cross-fitted and so may lie off the curve. Below: how often each checkpoint is the best one in "
            "replicates of the curve that other seeds might have given."
        ),
        ("transition", "control"),
        "Curves are smoothed with a sliding window; there are no intervals and no test.",
    ),
    Section(
        "performance",
        "Performance and knowledge share",
        "tower",
        _performance,
        ("knowledge",),
        "On HumanEval and MBXP a 1.3B model’s new language rises fast, declines from its peak and settles (Figure "
        "2); the knowledge share falls from about 60 % to about 0 on PHP and C#. Python’s own curve is not shown.",
    ),
    Section(
        "languages",
        "Does it depend on the primary?",
        "tower",
        _always("One mark a new language. Bars: 95 % intervals. The dependence test’s answer stands beside each."),
        ("dependence",),
        "C++ is said not to depend on Python’s system, and is left alone without a test.",
        "it would compare several new languages",
    ),
    Section(
        "working_language",
        "Working language",
        "tower",
        _working_language,
        ("working_language",),
        "The share of Python’s built-ins that the intermediate layers decode to falls and the new language’s rises: five pairs a "
        "language, ten prompts an identifier, no control.",
    ),
    Section(
        "neurons",
        "Transferring neurons",
        "tower",
        _neurons,
        ("functional", "lape"),
        "The number of language transferring neurons for the new language, found by LAPE, falls. The thresholds are not stated.",
    ),
    Section(
        "drift",
        "Births and deaths of neurons",
        "tower",
        _always(
            "Neurons that enter or leave the set from one checkpoint to the next, mean over seeds; one shade a layer, as named "
            "on the right."
        ),
        (),
        "Their number is followed, not which ones they are.",
    ),
    Section(
        "causes",
        "Do these neurons cause the transfer?",
        "tower",
        _always(
            "The neurons with the highest correlation are ablated at the peak’s checkpoint and accuracy is measured again, on "
            "problems that need the primary’s knowledge and on those that do not; they are chosen on one half of the problems "
            "and ablated on the other. Beside each, random sets of as many neurons in every layer. Bars: 95 % intervals."
        ),
        ("causes",),
        "Not tested: the authors name this ablation as a next step.",
    ),
    Section(
        "patches",
        "Representation patches",
        "tower",
        _patches,
        ("patches",),
        "There is no such check.",
    ),
    Section(
        "losses",
        "Held-out loss",
        "tower",
        _losses,
        (),
        "The loss stands for the share of the primary’s system (Eq. 1); no error is given.",
    ),
    Section(
        "calibration",
        "Eq. 1 against measured shares",
        "corpus",
        _calibration,
        ("calibration",),
        "Eq. 1 is assumed to be linear, and is never compared with the share that was measured.",
    ),
    Section(
        "tokens",
        "What Algorithm 1 proposes",
        "corpus",
        _always(
            "Bars: 95 % interval of the proposal: the choice of the checkpoint, the seeds and the fits are part of it. Hollow "
            "marks: the corpus is not changed by them. Arrowheads: beyond the axis."
        ),
        ("proposal",),
        "With 11B tokens of Python: PHP 23B to 5B (P* 0.69), C# 16B to 10B (P* 0.52); Go 11B and C++ 28B are kept.",
        table=lambda findings: _proposals(findings) + _corpora(findings),
    ),
    Section(
        "optimum",
        "Predicted and actual optimum",
        "corpus",
        lambda findings, language: (
            "Models from scratch, trained for equally many steps; small dots are seeds, the ring is the original mix, diamonds "
            "are other mixes, stars those whose shares change on the way. Band: 95 %, "
            f"{'Student t over seeds' if len(findings.study.seeds) > 1 else 'over problems, one seed'}. "
            "Lines: what Algorithm 1 asks for as it is written, from the calibrated share as the tests allow; strips, with one "
            "new language: its 95 % interval."
        ),
        ("optimum",),
        "Four points of one language, no seeds.",
    ),
    Section(
        "original_optimised",
        "Original against optimised mix",
        "corpus",
        _paired,
        ("original",),
        "The optimised models average 26.61 on HumanEval at 1.3B parameters and 41.96 at 6.7B. Go at 1.3B falls "
        "from 21.43 to 16.88 and is not discussed.",
    ),
    Section(
        "rivals",
        "Against the rivals",
        "corpus",
        lambda findings, language: (
            f"Difference to the original mix. Bars: 95 %, {_seeds_or_problems(findings)}. A cross: the guard fails, the "
            f"interval of a language is wholly below zero.{_epochs(findings)}"
        ),
        ("rivals", "guard", "law", "cost"),
        "No other optimised mix is compared.",
        table=_costs,
    ),
    Section(
        "predicted",
        "Predicted and measured shares, from scratch",
        "corpus",
        _always(
            "One mark a from-scratch mix: the share that Eq. 2 predicts from its tokens, and the one its probes measure. "
            "Bars: 95 %, Student t over seeds."
        ),
        ("predicted",),
        "From-scratch models are not probed.",
    ),
    Section(
        "schedule",
        "Schedules: the order matters",
        "corpus",
        _always(
            "The primary first, then a phase of the new languages: what a phase of this length reaches, a curve for each share "
            "of replay. Diamonds: the length proposed for each language, with its 95 % interval; their height means nothing. "
            "Dotted: the score predicted for the whole schedule."
        ),
        ("schedule",),
        "Only static mixes are considered.",
    ),
)
BY_NAME = {section.name: section for section in SECTIONS}
CORPUS_VERDICTS = ("schedule", "original", "optimum")  # the first one measured closes the story

METHOD = (
    "Stages. Accuracies are pooled over seeds and smoothed; the maximum is the peak, the mean of the last quarter "
    "of the checkpoints the end level. A transition is seen if the peak lies before that quarter and both the rise"
    " to it and the decline from it are large enough, with a 95 % interval above zero: Student t over seeds, or over the "
    "problems of one seed. The peak is chosen on the other seeds (on the other fifths of the problems), so that a maximum picked "
    "from noise is no decline. Where a curve does not surely rise by 5 points, no checkpoint is the best one but by chance: what "
    "is read there, P* among it, is not determined, and claims that start from it are not tested.",
    "Mixes. All start from random parameters, with equal total steps and tokens unless they are named otherwise. Differences are "
    "paired over seeds; the best of several mixes is chosen on the other seeds, so that noise does not choose the winner it then "
    "measures (but where a schedule is compared with the best, which the sentence says).",
    "One seed says nothing about others: its intervals speak of problems alone, and the text says so.",
)

"""The main results as tables, for a README (Markdown) and for a paper (LaTeX). Intervals are of 95 %."""

import functools
import re
from dataclasses import dataclass

import numpy as np

from babel_jax.common import run_names
from babel_jax.common.statistics import Estimate
from babel_jax.evolution.curve import Curve
from babel_jax.evolution.mixes import MACRO, Mix
from babel_jax.evolution.tasks import BESIDE, CHANCE, RUNS, WRITING
from babel_jax.evolution.tasks import titles as task_titles
from babel_jax.report import figures
from babel_jax.report.drawing import Drawn
from babel_jax.study import chance
from babel_jax.study.claim import NOT_TESTED
from babel_jax.study.findings import Findings, LanguageFindings
from babel_jax.study.verdicts import Verdict
from babel_jax.study.words import (
    bounds,
    depends,
    language_name,
    learned_by,
    mix_title,
    number,
    p_star,
    p_value,
    per_primary,
    percent,
    points,
    ratios,
    share,
    source_name,
)

# Behind a decline that is not from the peak: it would contradict the peak and the end beside it.
LATE = " (before the last quarter, in which the peak lies)"


@dataclass(frozen=True)
class Table:
    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def results(findings: Findings, verdicts: list[Verdict], drawn: list[Drawn] | None = None) -> dict[str, str]:
    """The tables of a study as files: {"results.md", "results.tex"}. What was not measured is an empty cell.

    `drawn`: its figures, for a table of those that are not drawn, and why; None: without that table.
    """
    of_findings = (
        at_chance,
        continual,
        working_language,
        tasks,
        proposals,
        mixes,
        amounts,
        predictions,
        task_mixes,
        predicted,
    )
    made = [table(findings) for table in of_findings] + [claims(findings, verdicts)]
    made += [] if drawn is None else [not_drawn(findings, drawn)]
    made = [table for table in made if table.rows]
    return {"results.md": "\n".join(map(markdown, made)), "results.tex": "\n".join(map(latex, made))}


def at_chance(findings: Findings) -> Table:
    """One row a new language of which no score is above chance: what leads in place of its scores."""
    rows = []
    for name, here in findings.languages.items():
        if not chance.at_chance(here):
            continue
        unit, text = chance.text_loss(here) or ("", None)
        lens = here.curves.working_language.get("continual")
        rows.append(
            (
                language_name(name),
                percent(here.curves.chance),
                share(here.stages.peak) if here.stages else "",
                f"{unit}: {_from_to(text, number)}" if text else "",
                _from_to(lens, percent) if lens else "",
            )
        )
    head = (
        "language",
        "chance",
        "best score",
        "held-out texts",
        f"{language_name(findings.study.primary)} in the lens",
    )
    return Table("No score above chance: no verdict and no proposal", head, tuple(rows))


def _from_to(curve: Curve, written) -> str:
    first, last = curve.first(), curve.last()
    scale, digits = (100, 0) if curve.unit else (1, 2)
    return f"{written(first.value)} to {written(last.value)}{bounds(last.ci, scale, digits)}"


def working_language(findings: Findings) -> Table:
    """The intermediate layers' lens over each continual run: the primary's share, that of other pairs, and their difference."""
    rows = []
    for name, here in findings.languages.items():
        curves = here.curves
        for run in curves.working_language:
            read = {
                f"{language_name(curves.primary)}'s share": (curves.working_language.get(run), share),
                "the same of other pairs": (curves.beside_others.get(run), share),
                "difference: concept share": (curves.concept_share.get(run), functools.partial(points, sign="+")),
            } | {
                f"share among {len(curves.languages_read)} languages: {language_name(each)}": (
                    curves.language_shares.get((run, each)),
                    share,
                )
                for each in curves.languages_read
            }
            for what, (curve, written) in read.items():
                at = [curve.first(), curve.at(curves.peak_step), curve.end()] if curve else [None] * 3
                cells = [("" if curve else "not measured") if point is None else written(point) for point in at]
                rows.append((language_name(name), run, what, *cells))
    head = ("language", "run", "in the lens", "start", "peak", "end")
    return Table("Working language beside other pairs' identifiers at the same prompts", head, tuple(rows))


def continual(findings: Findings) -> Table:
    """One row a new language: accuracy over continual pre-training, its knowledge share, whether it depends on the primary."""
    rows = []
    for name, here in findings.languages.items():
        run = here.stages
        if run is None or chance.at_chance(here):
            continue
        rows.append(
            (
                language_name(name),
                f"{run.peak.step:,}{bounds(run.peak.step_ci, digits=0)}",
                share(run.peak),
                share(run.plateau),
                points(run.decline) + LATE * run.peak_in_end,
                share(here.control.plateau) if here.control else "",
                _knowledge(here),
                depends(here.dependence),
            )
        )
    head = ("language", "peak, step", "peak", "end", "decline", "control, end", "knowledge share", "depends")
    return Table("Continual pre-training", head, tuple(rows))


def _knowledge(here: LanguageFindings) -> str:
    """The knowledge share from peak to end, where there is a peak and both are defined."""
    share = here.curves.knowledge.get("continual")
    at_peak = share and share.at(here.stages.peak.step)
    if not at_peak or not here.stages.rises or np.isnan(at_peak.value + share.end().value):
        return ""
    return f"{percent(at_peak.value)} to {percent(share.end().value)}"


def proposals(findings: Findings) -> Table:
    """One row a language and source of P: what Algorithm 1 asks for beside the original corpus."""
    original, primary = findings.study.original, findings.study.primary
    rows = [
        (
            language_name(name),
            source_name(source),
            p_star(proposal),
            per_primary(proposal.tokens, original[primary], proposal.tokens_ci),
            per_primary(original[name], original[primary]),
            proposal.decision,
        )
        for name, here in findings.languages.items()
        for source, proposal in here.proposals.items()
    ]
    head = ("language", "P from", "P*", f"tokens for those of {language_name(primary)}", "original", "decision")
    return Table("Algorithm 1", head, tuple(rows))


def mixes(findings: Findings) -> Table:
    """One row a from-scratch mix (without the swarm), the best first: scores, and the difference to the original mix."""
    score, reference = findings.main_score, findings.original_name
    shown = [mix for mix in findings.mixes if not mix.run_name.is_swarm]
    shown = sorted(shown, key=lambda mix: -mix.estimate(score).value)
    languages = list(shown[0].score) if shown else []
    rows = []
    for mix in shown:
        pair = findings.against_original(mix.name)
        if pair and findings.unlearned([mix, findings.mix_named(reference)])[0]:
            pair, held = None, NOT_TESTED
        else:
            held = {True: "passes", False: "fails", None: ""}[findings.guard(mix.name).passes] if pair else ""
        rows.append(
            (
                _title(findings, mix),
                percent(findings.new_share(mix), 1),
                learned_by(mix),
                *(percent(mix.estimate(each).value, 1) for each in (*languages, MACRO)),
                points(pair, "+") if pair else "",
                p_value(pair.p_holm).removeprefix(", p ").removeprefix("= ") if pair else "",
                held,
            )
        )
    of = "mean" if score == MACRO else language_name(score)
    learned = f"{language_name(findings.study.primary)} learned"
    head = (
        "mix",
        "new share",
        learned,
        *map(language_name, languages),
        "mean",
        f"{of} minus original",
        "p (Holm)",
        "guard",
    )
    return Table("From-scratch mixes", head, tuple(rows))


def _title(findings: Findings, mix: Mix) -> str:
    return "original" if mix.name == findings.original_name else mix_title(mix.name)


def amounts(findings: Findings) -> Table:
    """One row a from-scratch mix (without the swarm): its tokens of each new language for those of the primary."""
    primary, new = findings.study.primary, findings.study.new
    rows = [
        (_title(findings, mix), *(per_primary(mix.shares.get(one, 0.0), mix.shares.get(primary, 0.0)) for one in new))
        for mix in findings.mixes
        if not mix.run_name.is_swarm
    ]
    return Table(f"Tokens for those of {language_name(primary)}", ("mix", *map(language_name, new)), tuple(rows))


def predictions(findings: Findings) -> Table:
    """One row a mix that was written down before its runs were trained."""
    rows = [
        (
            mix_title(name),
            ratios(mix.shares, findings.study.primary) if (mix := findings.mix_named(name)) else "",
            one.written,
            one.sha256,
            one.config_sha256,
        )
        for name, one in findings.predictions.items()
    ]
    head = ("mix", "asked for", "written, UTC", "sha256 of its mixture file", "sha256 of the config")
    return Table("Predictions, written before the mixes were trained", head, tuple(rows))


def not_drawn(findings: Findings, drawn: list[Drawn]) -> Table:
    """One row a figure that is not drawn, or has an empty panel, and why."""
    there = {(each.name, each.language): each for each in drawn}
    rows = []
    for figure in figures.FIGURES:
        for language in [None] if figure.of_study else findings.languages:
            each = there.get((figure.name, language))
            why = figure.why_empty(each.empty) if each else figure.why_without(findings, language)
            if why:
                rows.append((figure.title, language_name(language) if language else "", why))
    return Table("Not drawn", ("figure", "language", "why"), tuple(rows))


def predicted(findings: Findings) -> Table:
    """One row a from-scratch mix (without the swarm): the primary's share by Eq. 2, and as its own lens measures it."""
    shown = [row for row in findings.predicted if not run_names.mix(row.name).is_swarm and np.isfinite(row.measured)]
    languages = list(dict.fromkeys(row.language for row in shown))
    cells = {
        (row.name, row.language): f"{percent(row.predicted)}: {share(Estimate(row.measured, row.ci))}" for row in shown
    }
    reference = findings.original_name
    rows = tuple(
        ("original" if name == reference else mix_title(name), *(cells.get((name, one), "") for one in languages))
        for name in dict.fromkeys(row.name for row in shown)
    )
    head = ("predicted: measured share of the primary", *map(language_name, languages))
    return Table("Shares in from-scratch models", head, rows)


def tasks(findings: Findings) -> Table:
    """One row a new language and task: what is right over continual pre-training, by the checkpoints of writing.

    Below them what is measured beside the tasks: no answers, and bits per byte.
    """
    rows, titles = [], task_titles(findings.study.kind)
    for name, here in findings.languages.items():
        for task in (WRITING, *findings.tasks.asked, *BESIDE):
            curve, control = (findings.tasks.curves.get((name, run, task, "all")) for run in RUNS)
            if curve is None:
                continue
            said = share if task not in BESIDE or BESIDE[task].is_share else _bits
            best = curve.at(here.curves.peak_step) if here.curves.peak_step is not None else None
            chance = percent(CHANCE[task]) if task in CHANCE else ""
            points = (curve.first(), best, curve.end(), control and control.end())
            rows.append(
                (language_name(name), titles[task], chance, *(said(point) if point else "" for point in points))
            )
    best = "best in writing" if findings.study.kind == "organism" else "best by the stages' score"
    head = ("language", "task", "chance", "first checkpoint", best, "end", "control, end")
    return Table("Tasks over continual pre-training", head, tuple(rows) if findings.tasks.asked else ())


def _bits(point: Estimate) -> str:
    return f"{number(point.value, 3)}{bounds(point.ci, digits=3)}"


def task_mixes(findings: Findings) -> Table:
    """One row a from-scratch mix (without the swarm): what is right by task, the mean over the new languages."""
    scores, asked = findings.tasks.mixes, (WRITING, *findings.tasks.asked)
    rows = tuple(
        (
            "original" if mix.name == findings.original_name else mix_title(mix.name),
            *(
                share(scores[mix.name, task, "all"].estimate) if (mix.name, task, "all") in scores else ""
                for task in asked
            ),
        )
        for mix in findings.mixes
        if not mix.run_name.is_swarm and any((mix.name, task, "all") in scores for task in asked[1:])
    )
    titles = task_titles(findings.study.kind)
    return Table("Tasks in from-scratch mixes", ("mix", *(titles[task] for task in asked)), rows)


def claims(findings: Findings, verdicts: list[Verdict]) -> Table:
    several = len(findings.languages) > 1
    of = {one: f" ({language_name(one)})" if several and one else "" for one in (None, *findings.languages)}
    rows = tuple((one.claim + of[one.language], one.verdict, one.number) for one in verdicts)
    return Table("Claims", ("claim", "verdict", "main number"), rows)


def markdown(table: Table) -> str:
    lines = [table.head, ["---"] * len(table.head), *table.rows]
    body = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
    return f"**{table.title}**\n\n{body}\n"


def latex(table: Table) -> str:
    """A table for the packages booktabs; text cells to the left."""
    lines = [" & ".join(map(tex, line)) + r" \\" for line in (table.head, *table.rows)]
    lines.insert(1, r"\midrule")
    return "\n".join(
        [
            r"\begin{table}",
            rf"\caption{{{tex(table.title)}}}",
            rf"\begin{{tabular}}{{{'l' * len(table.head)}}}",
            r"\toprule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


TEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\N{NO-BREAK SPACE}": "~", "\N{MINUS SIGN}": "$-$",
    "\N{INFINITY}": r"$\infty$", "<": "$<$", ">": "$>$",
}  # fmt: skip


def tex(text: str) -> str:
    return re.sub("|".join(map(re.escape, TEX)), lambda match: TEX[match[0]], text)

"""The page's tables under its figures."""

import html

import numpy as np

from babel_jax.optimum.share_sources import CALIBRATED
from babel_jax.study import words
from babel_jax.study.findings import Findings


def html_table(label: str, head: list[str], rows: list[list[str]]) -> str:
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


def proposals(findings: Findings) -> str:
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
    return html_table("What Algorithm 1 proposes", ["P* from", "P*, 95 % interval", "new share", "decision "], rows)


def corpora(findings: Findings) -> str:
    """One row a corpus, the original first; what a constraint changed stands beside the corpus without it."""
    original = findings.study.original
    primary, new = findings.study.primary, findings.study.new
    whole = sum(original.values())

    def cells(tokens: dict[str, float]) -> list[str]:
        beside = [words.per_primary(tokens[language], tokens[primary]) for language in new]
        total = sum(tokens.values())
        return [*beside, "\N{INFINITY}" if np.isinf(total) else f"{total / whole:.2f}"]

    rows = [["original", *cells(original), ""]] if findings.corpora else []
    joint = findings.corpora_joint
    readings = [(source, corpus, joint and ", pairwise") for source, corpus in findings.corpora.items()]
    readings += [(source, corpus, ", joint") for source, corpus in joint.items() if corpus]
    for source, corpus, reading in readings:
        name = f"from the {words.source_name(source)}{reading or ''}"
        written = corpus.as_written
        if written and source != CALIBRATED and reading != ", joint" and written != corpus.unconstrained:
            rows.append(
                [f"{name}, as the paper writes it", *cells(written), "no language is tested, none is left alone"]
            )
        kinds = [(name, corpus.tokens, "; ".join(corpus.active) or "no constraint binds")]
        if corpus.active:
            kinds.append((f"{name}, unconstrained", corpus.unconstrained, ""))
        rows += [[title, *cells(tokens), note] for title, tokens, note in kinds]
    if unsolved := [f"the {words.source_name(source)}" for source, corpus in joint.items() if not corpus]:
        name = f"from {words.names(unsolved)}, joint"
        rows.append([name, *("–" for _ in original), "no solution: the new languages ask for all tokens or more"])
    heads = [words.language_name(language) for language in new]
    label = f"Tokens of each new language for those of {words.language_name(primary)}, and the whole corpus beside the original"
    return html_table(label, ["Corpus", *heads, "size, of the original’s", "constraints "], rows)


def costs(findings: Findings) -> str:
    rows = [[cost.what, words.flops(cost.flops), f"{cost.runs:g}"] for cost in findings.costs]
    return html_table("What the search costs", ["What", "FLOPs", "runs"], rows)

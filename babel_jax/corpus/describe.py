"""What is known of a corpus when all tasks are done: stats.json, funnel.csv, inputs.json and manifest.json."""

import csv
import dataclasses
import hashlib
import io
from collections import Counter
from pathlib import Path

from babel_jax.common.files import content_hash, write_atomic, write_json
from babel_jax.corpus.build_folder import digests, result
from babel_jax.corpus.phases import hold_out_documents, vocabulary
from babel_jax.corpus.phases.order import PHASES
from babel_jax.corpus.records import (
    SPLITS,
    Aligned,
    Amount,
    Cleaned,
    Contents,
    HeldOut,
    HeldOutLanguage,
    LanguageStats,
    Mined,
    Plan,
    Selected,
    SourceStats,
    SplitStats,
    Statistics,
    Tokenised,
    Translations,
    Unique,
    Vocabulary,
)
from babel_jax.corpus.rules import LATER, OUTCOMES, REASONS, STEPS

ELSEWHERE = "in_another_language"  # of the disjoint arm: documents that another language is trained on
FUNNEL_COLUMNS = ("language", "step", "documents_in", "bytes_in", "documents_out", "bytes_out")


def describe(work: Path, plan: Plan) -> None:
    """Writes these files into the corpus of a build."""
    from babel_jax.corpus import token_rows  # it loads TFDS, which few of the worker processes need

    corpus = work / "corpus"
    for left in [*corpus.rglob(".*"), corpus / "manifest.json"]:  # by who was killed while writing it
        left.unlink(missing_ok=True)
    learnt = result(work, "vocabulary", vocabulary.TASK, Vocabulary)
    of_language = {name: _statistics(work, plan, name) for name in plan.pieces}
    dtype = token_rows.token_dtype(learnt.vocab_size)
    for name, stats in of_language.items():
        rows = {split: stats.of(split).rows for split in SPLITS}
        token_rows.write_info(corpus / "rows", name, rows, plan.row_length, dtype)
    pairs = PHASES["call_sites"].tasks(work, plan)
    sites = {pair: result(work, "call_sites", pair, Mined).summary for pair in pairs}
    write_json(corpus / "stats.json", _record(Statistics(of_language, sites, _parallel(work, plan))))
    table = io.StringIO()
    funnel = [line for name, stats in of_language.items() for line in _funnel(work, plan, name, stats)]
    csv.writer(table, lineterminator="\n").writerows([FUNNEL_COLUMNS, *funnel])
    write_atomic(corpus / "funnel.csv", table.getvalue())
    write_json(corpus / "inputs.json", plan.wanted.inputs)
    sums = {}
    for phase in ("rows", "call_sites"):
        for task in PHASES[phase].tasks(work, plan):
            sums |= result(work, phase, task, PHASES[phase].record).files
    known = {corpus / file for file in sums} | {corpus / "inputs.json"}  # which holds times, too
    sums |= digests(work, [file for file in corpus.rglob("*") if file.is_file() and file not in known])
    contents = Contents(plan.wanted.settings, tuple(plan.pieces), learnt, dict(sorted(sums.items())), "")
    record = dataclasses.asdict(contents)
    del record["content"]
    write_json(corpus / "manifest.json", record | {"content": content_hash(record)})


def _record(statistics: Statistics) -> dict:
    """As plain data; of code nothing is said of paragraphs and translations, as in all corpora before."""
    record = dataclasses.asdict(statistics)
    if not statistics.parallel:
        del record["parallel"]
    for stats in record["languages"].values():
        if not stats["paragraphs"]:
            del stats["paragraphs"]
    return record


def _statistics(work, plan: Plan, name: str) -> LanguageStats:
    cleaned = [result(work, "clean", piece, Cleaned) for piece in plan.pieces[name]]
    selected = result(work, "select", name, Selected)
    joint = (
        result(work, "hold_out", hold_out_documents.TASK, HeldOut).languages.get(name)
        if plan.manifest.natural
        else None
    )
    counts = {reason: sum((piece.counts[reason] for piece in cleaned), Amount(0, 0)) for reason in OUTCOMES}
    given = plan.manifest.languages[name].sources
    return LanguageStats(
        sources=tuple(
            _source(source.name, [piece for piece in cleaned if piece.source == k]) for k, source in enumerate(given)
        ),
        cleaning=counts | selected.counts | _elsewhere(plan, joint),
        redactions=selected.redactions,
        contaminated=selected.contaminated,
        projects=joint.projects if joint else selected.projects,
        **{split: _split(work, plan, name, split) for split in SPLITS},
        paragraphs=_paragraphs(work, name, cleaned) if name in PHASES["paragraphs"].tasks(work, plan) else {},
    )


def _elsewhere(plan: Plan, joint: HeldOutLanguage | None) -> dict[str, Amount]:
    """What the disjoint arm changes in the cleaning's account."""
    return {"kept": joint.kept, ELSEWHERE: joint.elsewhere} if joint and plan.manifest.arm == "disjoint" else {}


def _parallel(work, plan: Plan) -> dict[str, Translations]:
    if not plan.manifest.natural:
        return {}
    counts = result(work, "hold_out", hold_out_documents.TASK, HeldOut).translations
    return {pair: Translations(of, result(work, "align", pair, Aligned).words) for pair, of in counts.items()}


def _paragraphs(work, name: str, cleaned: list[Cleaned]) -> dict[str, Amount]:
    unique = result(work, "paragraphs", name, Unique)
    counts = {key: sum((piece.paragraphs[key] for piece in cleaned), Amount(0, 0)) for key in cleaned[0].paragraphs}
    return counts | {"copy": unique.copy, "kept": unique.kept}


def _split(work, plan: Plan, name: str, split: str) -> SplitStats:
    parts = [result(work, "tokens", piece, Tokenised).of(split) for piece in plan.pieces[name]]
    documents, size, tokens = (sum(getattr(part, key) for part in parts) for key in ("documents", "bytes", "tokens"))
    # The marks that end documents stand for no text.
    bytes_per_token = round(size / max(1, tokens - documents), 4)
    return SplitStats(documents, size, tokens, tokens // plan.row_length, bytes_per_token)


def _source(name: str, pieces: list[Cleaned]) -> SourceStats:
    licences = Counter()
    for piece in pieces:
        licences.update(piece.licences)
    read = sum((piece.counts["found"] for piece in pieces), Amount(0, 0))
    return SourceStats(
        name,
        documents=read.files,
        bytes=read.bytes,
        sha256=hashlib.sha256("".join(piece.sha256 for piece in pieces).encode()).hexdigest(),
        licences=dict(sorted(licences.items())),
    )


def _funnel(work, plan: Plan, name: str, stats: LanguageStats) -> list[tuple]:
    """The language's rows of funnel.csv. Of running text one says what the cleaning took out of the documents that are left."""
    selected, cleaning = result(work, "select", name, Selected), stats.cleaning
    redacted_bytes = selected.redacted_bytes
    lines, documents, size = [], cleaning["found"].files, cleaning["found"].bytes
    for step in STEPS:
        if step == LATER[0] and stats.paragraphs:
            lines.append((name, "paragraphs", documents, size, documents, selected.amount[1]))
            size = selected.amount[1]
        dropped = [cleaning[reason] for reason in REASONS[step]]
        after = documents - sum(amount.files for amount in dropped)
        left = size - sum(amount.bytes for amount in dropped) - (redacted_bytes if step == "redact" else 0)
        lines.append((name, step, documents, size, after, left))
        documents, size = after, left
    if plan.manifest.arm == "disjoint":
        elsewhere = cleaning.get(ELSEWHERE, Amount(0, 0))
        lines.append((name, ELSEWHERE, documents, size, documents - elsewhere.files, size - elsewhere.bytes))
    return lines

"""Phase `clean`, a task a piece: the documents that the rules before duplicates keep, with what the later rules need to know."""

import dataclasses
import functools
import hashlib
import json
from collections import Counter

from babel_jax.common.files import read_json, read_record
from babel_jax.corpus import decontaminate, duplicates, prose, redact, rules, sources
from babel_jax.corpus.build_folder import begin_anew
from babel_jax.corpus.document import PARAGRAPH, Document
from babel_jax.corpus.phases.document_tables import document_file
from babel_jax.corpus.records import Amount, Cleaned


@functools.lru_cache(maxsize=1)
def benchmark_index(file, content):
    return decontaminate.Index(map(tuple, read_json(file, [[str]], begin_anew(file.parent))))


class _Paragraphs:
    """What becomes of the paragraphs of a piece of running text."""

    def __init__(self, language):
        self._language = language
        self.counts = dict.fromkeys(("found", *prose.REASONS), Amount(0, 0)) if prose.is_prose(language) else {}

    def clean(self, document: Document) -> Document:
        """The document with the paragraphs that are kept, as if its source had no others; of code, as it is."""
        if not self.counts:
            return document
        cleaned, dropped = prose.clean(document, self._language)
        self.counts["found"] += Amount(len(document.paragraphs), len(document.content))
        for reason, sizes in dropped.items():
            self.counts[reason] += Amount(len(sizes), sum(sizes))
        return cleaned._replace(size=len(cleaned.content))


def _redacted(document, language) -> tuple[str, dict[str, int] | list[dict[str, int]]]:
    """As `redact.redact`; of running text each paragraph by itself, so that there are as many as before."""
    if not prose.is_prose(language):
        return redact.redact(document.text)
    texts, counts = zip(*map(redact.redact, document.paragraphs), strict=True)
    return PARAGRAPH.join(texts), list(counts) if any(counts) else []


def run(work, plan, task):
    piece = read_record(work / "pieces" / f"{task}.json", sources.Piece, begin_anew(work))
    language, steps = plan.manifest.language(piece.language), plan.manifest.clean
    benchmarks = plan.wanted.benchmarks
    index = benchmark_index(work / "benchmarks.json", benchmarks) if benchmarks else None
    counts, licences, read = dict.fromkeys(rules.OUTCOMES, Amount(0, 0)), Counter(), hashlib.sha256()
    paragraphs, signed = _Paragraphs(language), bool(steps.near_duplicates) and not prose.is_prose(language)
    with document_file(work / "clean" / f"{task}.parquet", signed) as append:
        for document in sources.read(piece, plan.manifest):
            size = max(document.size, 0)
            read.update(f"{document.path}\0{size}\0".encode("utf-8", "replace") + (document.content or b""))
            licences.update([" and ".join(document.licences)] if document.licences else [])
            counts["found"] += Amount(1, size)
            reason = rules.unfit(document, language, steps)
            if not reason:
                document = paragraphs.clean(document)
                reason = None if document.content else "size"
            if reason:
                counts[reason] += Amount(1, size)
                continue
            original = document.text
            text, redacted = _redacted(document, language) if steps.redact else (original, {})
            content = text.encode()
            append(
                path=document.path,
                project=document.project,
                licences=list(document.licences),
                size=document.size,
                bytes=len(content),
                digest=b"".join(duplicates.digests(document.content, original, language)),
                contaminated=index and index.find(text),
                poor=rules.poor(document._replace(content=content, size=len(content)), language, steps),
                redacted=json.dumps(redacted) if redacted else None,
                # A secret that goes over paragraphs makes one of them: then nobody knows which is which.
                keys=list(document.keys) if text.count(PARAGRAPH) + 1 == len(document.keys) else [],
                content=text,
            )
    amount = dataclasses.astuple(counts["found"])
    return Cleaned(piece.source, read.hexdigest(), counts, dict(sorted(licences.items())), amount, paragraphs.counts)

"""Phase `clean`, a task a piece: the documents that the rules before duplicates keep, with what the later rules need to know."""

import dataclasses
import functools
import hashlib
import json
from collections import Counter

from babel_jax.common.files import read_json, read_record
from babel_jax.corpus import decontaminate, duplicates, redact, rules, sources
from babel_jax.corpus.build_folder import begin_anew
from babel_jax.corpus.document import PARAGRAPH
from babel_jax.corpus.phases.document_tables import document_file
from babel_jax.corpus.records import Amount, Cleaned


@functools.lru_cache(maxsize=1)
def benchmark_index(file, content):
    return decontaminate.Index(map(tuple, read_json(file, [[str]], begin_anew(file.parent))))


def run(work, plan, task):
    piece = read_record(work / "pieces" / f"{task}.json", sources.Piece, begin_anew(work))
    language, steps = plan.manifest.language(piece.language), plan.manifest.clean
    benchmarks = plan.wanted.benchmarks
    index = benchmark_index(work / "benchmarks.json", benchmarks) if benchmarks else None
    counts, licences, read = dict.fromkeys(rules.OUTCOMES, Amount(0, 0)), Counter(), hashlib.sha256()
    with document_file(work / "clean" / f"{task}.parquet", signed=bool(steps.near_duplicates)) as append:
        for document in sources.read(piece, plan.manifest):
            size = max(document.size, 0)
            read.update(f"{document.path}\0{size}\0".encode("utf-8", "replace") + (document.content or b""))
            licences.update([" and ".join(document.licences)] if document.licences else [])
            counts["found"] += Amount(1, size)
            reason = rules.unfit(document, language, steps)
            if reason:
                counts[reason] += Amount(1, size)
                continue
            original = document.content.decode()
            text, redacted = redact.redact(original) if steps.redact else (original, {})
            content = text.encode()
            append(
                path=document.path,
                project=document.project,
                licences=list(document.licences),
                size=size,
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
    return Cleaned(piece.source, read.hexdigest(), counts, dict(sorted(licences.items())), amount)

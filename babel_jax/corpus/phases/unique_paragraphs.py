"""Phase `paragraphs`, a task a natural language: one copy is kept of each paragraph, in whichever documents the others stand."""

import json
from collections import Counter

from babel_jax.corpus import prose
from babel_jax.corpus.document import PARAGRAPH
from babel_jax.corpus.phases.document_tables import document_file, rows_of
from babel_jax.corpus.records import Amount, Unique


def tasks(work, plan):
    return [name for name in plan.pieces if prose.is_prose(plan.manifest.language(name))]


def run(work, plan, name):
    unique, copies, kept = prose.Unique(), Amount(0, 0), Amount(0, 0)
    for piece in plan.pieces[name]:
        with document_file(work / "paragraphs" / f"{piece}.parquet", signed=False) as append:
            for row in rows_of(work / "clean" / f"{piece}.parquet"):
                texts = row["content"].split(PARAGRAPH)
                paragraphs = unique.of(row["keys"], texts)
                kept += _amount(paragraphs.values())
                copies += _amount(texts) - _amount(paragraphs.values())
                append(**row | _holding(row, paragraphs))
    return Unique(copies, kept)


def _amount(texts) -> Amount:
    return Amount(len(texts), sum(len(text.encode()) for text in texts))


def _holding(row, paragraphs):
    """What changes of a document when only these paragraphs are left of it."""
    content = PARAGRAPH.join(paragraphs.values())
    size = len(content.encode())
    original = size + row["size"] - row["bytes"] if paragraphs else 0  # redaction has changed the length
    redacted = Counter()
    for key, kinds in zip(
        row["keys"], json.loads(row["redacted"] or "[]"), strict=False
    ):  # none where nothing was redacted
        if key in paragraphs:
            redacted.update(kinds)
    return {
        "keys": list(paragraphs),
        "content": content,
        "bytes": size,
        "size": original,
        "redacted": json.dumps(redacted) if redacted else None,
    }

"""Phase `vocabulary`, one task: the tokenizer, learnt from a sample of the train split or given by the manifest."""

import functools

import numpy as np

from babel_jax.corpus import fact_rows, tokenizer
from babel_jax.corpus.build_folder import result
from babel_jax.corpus.phases.document_tables import Documents, rows_by_split
from babel_jax.corpus.records import Vocabulary

SAMPLE_BYTES = 4_000_000  # per language, from which the vocabulary is learnt: bounds the memory of the build
TASK = "tokenizer"


def run(work, plan, task):
    manifest = plan.manifest
    (work / "corpus").mkdir(exist_ok=True)
    if manifest.tokenizer:
        model = tokenizer.load(manifest.tokenizer)
    else:
        model = tokenizer.train(_sample_texts(work, plan), manifest.vocab_size)
    model.save(work / "corpus")
    return Vocabulary(model.sha, model.vocab_size, model.document_end)


def _sample_texts(work, plan):
    if plan.manifest.facts:  # their names are to be few tokens
        yield from fact_rows.sample(fact_rows.read(work / "corpus"))
    for pieces in plan.pieces.values():
        documents = Documents(work, pieces)
        train = [
            first + rows_by_split(work, piece)["train"] for piece, first in zip(pieces, documents.first, strict=False)
        ]
        train = np.concatenate(train)
        size = documents.column("bytes").to_numpy()[train]
        yield from documents.texts(train[_sample(size, SAMPLE_BYTES)])


def _sample(size_N: np.ndarray, cap: int) -> np.ndarray:
    """Which of N documents of such sizes to take for about `cap` bytes, spread evenly; never more than `cap`. Bool [N]."""
    taken, size_taken, seen, total = np.zeros(len(size_N), bool), 0, 0, max(1, int(size_N.sum()))
    for i, size in enumerate(size_N.tolist()):
        seen += size
        if size_taken + size <= min(cap, cap * seen / total + size / 2):
            taken[i] = True
            size_taken += size
    return taken


@functools.lru_cache(maxsize=1)
def _tokenizer_of(directory, sha):
    return tokenizer.load(directory)


def corpus_tokenizer(work):
    """The tokenizer that this phase has saved in the corpus."""
    return _tokenizer_of(work / "corpus", result(work, "vocabulary", TASK, Vocabulary).sha)

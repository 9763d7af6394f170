"""Whether a corpus is what was built, checked against its own digests, rows and counts."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from babel_jax.common.files import sha256
from babel_jax.corpus import corpus_files


def faults(directory: Path) -> list[str]:
    """What is wrong with a corpus, in sentences; none if all is well.

    Every file must have the digest that the manifest gives, every row of the validation split must decode to the held-out
    documents, no project may stand in both splits, and the counts must be those of stats.json.
    """
    directory, problems = Path(directory), []
    for file, digest in corpus_files.read_contents(directory).files.items():
        path = directory / file
        if not path.is_file():
            problems.append(f"{file} is missing.")
        elif sha256(path) != digest:
            problems.append(f"{file} is not the file that was built: its SHA-256 is another.")
    if problems:  # what follows would only say the same again, if it could be read at all
        return problems
    corpus = corpus_files.load(directory)
    for name in corpus.manifest.languages:
        problems += [f"{name}: {problem}" for problem in _verify_language(corpus, name)]
    return problems


def _verify_language(corpus, name):
    stats = corpus.stats.languages[name]
    index = pq.read_table(corpus.directory / "documents" / f"{name}.parquet", columns=["bytes", "project", "split"])
    split = np.array(index["split"].to_pylist())
    projects = np.array(index["project"].to_pylist())
    both = sorted(set(projects[split == "train"]) & set(projects[split == "validation"]))
    if both:
        yield f"the project {both[0]} stands in both splits."
    for each, source in (("train", corpus.train[name]), ("validation", corpus.validation[name])):
        counted = {
            "documents": int((split == each).sum()),
            "bytes": int(index["bytes"].to_numpy()[split == each].sum()),
            "rows": len(source),
        }
        for key, value in counted.items():
            if value != (stated := getattr(stats.of(each), key)):
                yield f"{each} has {value} {key}, and stats.json says {stated}."
    yield from _verify_heldout(corpus, name)


def _verify_heldout(corpus, name):
    """The ids of the held-out documents, cut into rows, are the validation split."""
    source, length, read = corpus.validation[name], corpus.manifest.row_length, 0
    rest = np.zeros(0, np.int32)
    for document in corpus.heldout(name):
        while read < len(source) and not (rest == corpus.tokenizer.document_end).any():
            row = source.rows([read])[0]
            if len(row) != length:
                yield f"a row has {len(row)} tokens instead of {length}."
                return
            rest, read = np.concatenate([rest, row]), read + 1
        ends = np.flatnonzero(rest == corpus.tokenizer.document_end)
        text, whole = document.content.decode(), len(ends) > 0
        ids, rest = (rest[: ends[0]], rest[ends[0] + 1 :]) if whole else (rest, rest[:0])
        decoded = corpus.tokenizer.decode(ids)
        # The end of the last document may have been left over, in the middle of a character.
        if decoded != text if whole else not text.startswith(decoded.rstrip("\ufffd")):
            yield f"validation rows do not decode to the held-out document {document.path}."
            return
        if not whole:
            break
    if len(rest) or read < len(source):
        yield "the validation split has more rows than its held-out documents fill."

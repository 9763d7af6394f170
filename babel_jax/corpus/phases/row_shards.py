"""Phase `rows`: a task a shard of token rows, one a language for what the corpus holds of its documents, one for its facts."""

import contextlib
import functools
import io

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from babel_jax.common.errors import UserError
from babel_jax.common.files import content_hash, write_atomic
from babel_jax.corpus import fact_rows
from babel_jax.corpus.build_folder import digests, result
from babel_jax.corpus.phases.document_tables import Documents, row_groups, split_file
from babel_jax.corpus.phases.vocabulary import corpus_tokenizer
from babel_jax.corpus.records import SPLITS, Tokenised, Written


def _token_files(work, plan, name, split):
    """[(file, tokens in it)] of the pieces in order."""
    return _counted_files(work, tuple(plan.pieces[name]), split, content_hash(plan.record()))


@functools.lru_cache(maxsize=4)  # a shard task asks for all of a language's pieces, of which there may be many
def _counted_files(work, pieces, split, plan):
    done = [result(work, "tokens", piece, Tokenised).of(split).tokens for piece in pieces]
    return [(work / "tokens" / f"{piece}.{split}", tokens) for piece, tokens in zip(pieces, done, strict=True)]


def tasks(work, plan):
    from babel_jax.corpus import token_rows

    names = []
    for name in plan.pieces:
        for split in SPLITS:
            tokens = sum(count for _, count in _token_files(work, plan, name, split))
            number, shards = token_rows.count(tokens, plan.row_length)
            if not number:
                raise UserError(
                    f"the {split} split of {name} has {tokens} tokens, less than one row of {plan.row_length}; "
                    "give more files, or a smaller --max_length."
                )
            names += [f"{name}-{split}-{shard:05d}" for shard in range(shards)]
        names.append(f"{name}-documents")
        names += [f"{name}-facts"] if plan.manifest.facts else []
    return names


def run(work, plan, task):
    if task.endswith("-documents"):
        return Written(_write_documents(work, plan, task.removesuffix("-documents")))
    if task.endswith("-facts"):
        return Written(_write_facts(work, plan, task.removesuffix("-facts")))
    from babel_jax.corpus import token_rows

    name, split, shard = task.split("-")
    files, length = _token_files(work, plan, name, split), plan.row_length
    number, shards = token_rows.count(sum(tokens for _, tokens in files), length)
    first = int(shard) * token_rows.ROWS_PER_SHARD
    count = min(token_rows.ROWS_PER_SHARD, number - first)
    target = token_rows.shard_path(work / "corpus" / "rows", name, split, int(shard), shards)
    token_rows.write_shard(
        target, files, token_rows.token_dtype(corpus_tokenizer(work).vocab_size), first, count, length
    )
    return Written(digests(work, [target]))


def _write_facts(work, plan, name):
    """The rows that state facts in a language's training text."""
    stated, buffer = fact_rows.read(work / "corpus"), io.BytesIO()
    np.savez(buffer, **fact_rows.arrays(stated, name, corpus_tokenizer(work), plan.row_length))
    target = work / "corpus" / fact_rows.file(name)
    write_atomic(target, buffer.getvalue())
    return digests(work, [target])


def _write_documents(work, plan, name):
    """What the corpus holds of a language: an index of all documents, and those held out whole."""
    index = {"path": pa.string(), "licences": pa.list_(pa.string()), "bytes": pa.int64()}
    index |= {"project": pa.string(), "split": pa.string()}
    held_out = {"path": pa.string(), "project": pa.string(), "licences": pa.list_(pa.string()), "content": pa.string()}
    targets = [work / "corpus" / folder / f"{name}.parquet" for folder in ("documents", "heldout")]
    with _writer(targets[0], index) as write_index, _writer(targets[1], held_out) as write_heldout:
        for piece in plan.pieces[name]:
            documents, selected = Documents(work, [piece]), pq.read_table(split_file(work, piece))
            known = {column: documents.column(column).take(selected["row"]) for column in ("path", "licences", "bytes")}
            write_index(pa.table(known | {"project": selected["project"], "split": selected["split"]}))
            selected = selected.filter(pc.equal(selected["split"], "validation"))
            rows = documents.rows(selected["row"].to_numpy(), ["path", "licences", "content"])
            for row, project in zip(rows, selected["project"].to_pylist(), strict=True):
                write_heldout(pa.Table.from_pylist([row | {"project": project}]))
    return digests(work, targets)


@contextlib.contextmanager
def _writer(target, fields):
    """A function that appends tables to a Parquet file."""
    schema = pa.schema(list(fields.items()))
    with row_groups(target, schema) as append:
        yield lambda table: append(table.select(schema.names).cast(schema), table.nbytes)

"""What the tasks of a build do, phase by phase; `build.py` says in which order, in how many processes, and where.

A task reads what the phases before it left in the build's folder and leaves there what the next ones need: Parquet files of
documents, plain files of ids, and in `corpus/` what the corpus will hold. Memory is bounded by a row group of documents
and by arrays of a few hundred bytes a document.
"""

import contextlib
import functools
import hashlib
import io
import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from babel_jax.common.errors import UserError
from babel_jax.common.files import content_hash, read_json, read_record, sha256, whole, write_atomic
from babel_jax.corpus import call_sites, clean, decontaminate, duplicates, redact, sources, tokenizer
from babel_jax.corpus.clean import REASONS
from babel_jax.corpus.manifest import NearDuplicates
from babel_jax.corpus.records import (
    SPLITS,
    Amount,
    CallSites,
    Cleaned,
    Counted,
    Divided,
    Mined,
    Plan,
    Selected,
    Tokenised,
    Vocabulary,
    Written,
)
from babel_jax.languages import registry

VALIDATION_SHARE = 0.05  # of a language's bytes
SAMPLE_BYTES = 4_000_000  # per language, from which the vocabulary is learnt: bounds the memory of the build
ROW_GROUP_BYTES = 1_000_000  # of documents held at a time, and read again to look at one of them
JUDGED_LATER = ("exact_duplicates", "near_duplicates", "decontaminate", "quality", "cap")  # by `select`
FATES = ("kept", *(reason for step in JUDGED_LATER for reason in REASONS[step]))


def done_file(work, phase, task):
    """The last file that a task writes: what it has to say to the next phases."""
    return work / phase / f"{task}.json"


SAID = {
    "clean": Cleaned,
    "select": Selected,
    "vocabulary": Vocabulary,
    "tokens": Tokenised,
    "rows": Written,
    "call_sites": Mined,
}


def said(work, phase, task):
    """What a task that is done has to say to the next phases, a record of `SAID[phase]`."""
    return read_record(done_file(work, phase, task), SAID[phase], anew(work))


def anew(work) -> str:
    return f"delete {work} and build again, from the beginning"


def read_plan(work) -> Plan:
    return read_record(work / "plan.json", Plan, anew(work))


# --- clean: a task a piece ---------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=1)
def benchmark_index(file, content):
    return decontaminate.Index(map(tuple, read_json(file, [[str]], anew(file.parent))))


def _clean(work, plan, task):
    """Writes the documents that the rules before duplicates keep, with what the later rules need to know of them."""
    piece = read_record(work / "pieces" / f"{task}.json", sources.Piece, anew(work))
    language, steps = registry.language(piece.language), plan.manifest.clean
    benchmarks = plan.wanted.benchmarks
    index = benchmark_index(work / "benchmarks.json", benchmarks) if benchmarks else None
    counts, licences, read = clean.Counts(), Counter(), hashlib.sha256()
    with _document_file(work / "clean" / f"{task}.parquet", signed=bool(steps.near_duplicates)) as file:
        for document in sources.read(piece, plan.manifest):
            size = max(document.size, 0)
            read.update(f"{document.path}\0{size}\0".encode("utf-8", "replace") + (document.content or b""))
            licences.update([" and ".join(document.licences)] if document.licences else [])
            counts.add("found", size)
            reason = clean.unfit(document, language, steps)
            if reason:
                counts.add(reason, size)
                continue
            original = document.content.decode()
            text, redacted = redact.redact(original) if steps.redact else (original, {})
            file.add(
                path=document.path,
                project=document.project,
                licences=list(document.licences),
                size=size,
                bytes=len(text.encode()),
                digest=b"".join(duplicates.digests(document.content, original, language)),
                contaminated=index and index.find(text),
                poor=clean.poor(text) if steps.quality else None,
                redacted=json.dumps(redacted) if redacted else None,
                content=text,
            )
    found = counts.table()["found"]
    amount = (found.files, found.bytes)
    return Cleaned(piece.source, read.hexdigest(), counts.table(), dict(sorted(licences.items())), amount)


class _DocumentFile:
    """A Parquet file of documents, written a row group at a time; see `_document_file`."""

    SCHEMA = {
        "path": pa.string(),
        "project": pa.string(),
        "licences": pa.list_(pa.string()),
        "size": pa.int64(),  # as it was found; `bytes` is what redaction left
        "bytes": pa.int64(),
        "digest": pa.binary(32),
        "contaminated": pa.string(),
        "poor": pa.string(),
        "redacted": pa.string(),
        "content": pa.string(),
    }

    def __init__(self, writer, signed):
        self._writer, self._signed = writer, signed
        self._rows, self._size = [], 0

    def add(self, **row):
        self._rows.append(row)
        self._size += row["bytes"]
        if self._size >= ROW_GROUP_BYTES:
            self.flush()

    def flush(self):
        if self._rows:
            columns = {name: [row[name] for row in self._rows] for name in self.SCHEMA}
            if self._signed:
                columns["signature"] = [row.tobytes() for row in duplicates.signatures(columns["content"])]
            self._writer.write_table(pa.table(columns, self._writer.schema))
            self._rows, self._size = [], 0


@contextlib.contextmanager
def _document_file(path, signed):
    fields = _DocumentFile.SCHEMA | ({"signature": pa.binary(4 * duplicates.PERMUTATIONS)} if signed else {})
    schema = pa.schema(list(fields.items()))
    with whole(path) as partial, pq.ParquetWriter(partial, schema, compression="zstd") as writer:
        file = _DocumentFile(writer, signed)
        yield file
        file.flush()


class _Documents:
    """The documents of pieces that `clean` left: columns at once, texts on request.

    files: the Parquet files, one a piece. first: the number of each one's first document, and at last their number.
    """

    def __init__(self, work, pieces):
        self.files = [work / "clean" / f"{piece}.parquet" for piece in pieces]
        # (file, number) of every row group; documents of each, and of each file
        self._groups, rows, pieces = [], [], []
        for file in self.files:
            metadata = pq.read_metadata(file)
            self._groups += [(file, group) for group in range(metadata.num_row_groups)]
            rows += [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
            pieces.append(metadata.num_rows)
        self._group_first, self.first = (np.cumsum([0, *counts], dtype=np.int64) for counts in (rows, pieces))

    def __len__(self):
        return int(self.first[-1])

    def column(self, name):
        """One column of all documents."""
        return pa.concat_tables([pq.read_table(file, columns=[name]) for file in self.files])[0]

    def bytes_column(self, name, width):
        """A column of so many bytes a document, uint8 [D, width]."""
        array = np.empty((len(self), width), np.uint8)
        for file, first in zip(self.files, self.first, strict=False):
            values = pq.read_table(file, columns=[name])[0].to_pylist()
            array[first : first + len(values)] = np.frombuffer(b"".join(values), np.uint8).reshape(-1, width)
        return array

    def rows(self, indices, columns):
        """Dicts of the columns of the documents at `indices`, which are sorted; one row group at a time is in memory."""
        groups = np.searchsorted(self._group_first, indices, side="right") - 1
        for group in np.unique(groups):
            file, number = self._groups[group]
            with pq.ParquetFile(file) as parquet:
                table = parquet.read_row_group(number, columns=columns)
            yield from table.take(indices[groups == group] - self._group_first[group]).to_pylist()

    def texts(self, indices):
        return (row["content"] for row in self.rows(indices, ["content"]))

    def by_piece(self, indices):
        """Of sorted indices those into each piece, counted from its first document."""
        bounds = np.searchsorted(indices, self.first)
        return [indices[begin:end] - first for begin, end, first in zip(bounds, bounds[1:], self.first, strict=False)]


# --- select: a task a language -----------------------------------------------------------------------------------


def _select(work, plan, name):
    """The fate of every document, in the order of the funnel; the project and the split of those that are kept."""
    documents = _Documents(work, plan.pieces[name])
    fate, after_redaction, problems = _judge(work, plan, name, documents)
    size, left = (documents.column(column).to_numpy() for column in ("size", "bytes"))
    kept = np.flatnonzero(fate == 0)
    projects = _projects(documents, kept, left)
    bytes_of_project = Counter()
    for project, count in zip(projects, left[kept].tolist(), strict=True):
        bytes_of_project[project] += count
    held_out = held_out_projects(bytes_of_project, VALIDATION_SHARE)
    if not held_out:
        title = registry.language(name).title
        raise UserError(f"only {len(kept)} {title} files are fit to train on, too few to hold some out; give more.")
    splits = ["validation" if project in held_out else "train" for project in projects]
    begin = 0
    for piece, rows in zip(plan.pieces[name], documents.by_piece(kept), strict=True):
        end = begin + len(rows)
        table = {"row": rows, "project": pa.array(projects[begin:end], pa.string())}
        table["split"] = pa.array(splits[begin:end], pa.string())
        with whole(work / "select" / f"{piece}.parquet") as file:
            pq.write_table(pa.table(table), file, compression="zstd")
        begin = end

    redacted = dict(zip(kept.tolist(), documents.column("redacted").take(kept).to_pylist(), strict=True))
    redacted = {i: json.loads(kinds) for i, kinds in redacted.items() if kinds}
    redactions = Counter()
    for kinds in redacted.values():
        redactions.update(kinds)
    # Until redaction a document counts as it was found, from there on as that left it.
    counted = np.where(after_redaction, left, size)
    counts = {reason: Amount(int((fate == k).sum()), int(counted[fate == k].sum())) for k, reason in enumerate(FATES)}
    counts["redacted"] = Amount(len(redacted), int(left[list(redacted)].sum()))
    return Selected(
        counts,
        redacted_bytes=int((size - left)[after_redaction].sum()),
        redactions=dict(sorted(redactions.items())),
        contaminated=dict(sorted(problems.items())),
        projects=Divided(len(bytes_of_project) - len(held_out), tuple(sorted(held_out))),
        amount=(len(documents), int(size.sum())),
    )


def _judge(work, plan, name, documents):
    """(numbers of FATES [D], bool [D]: was still there when redaction came, Counter of the benchmark problems found)."""
    steps, digest_Dx2x16 = plan.manifest.clean, documents.bytes_column("digest", 32).reshape(-1, 2, 16)
    fate = np.zeros(len(documents), np.uint8)

    def drop(indices, reason):
        fate[indices] = FATES.index(reason)

    if steps.exact_duplicates:
        copies = duplicates.exact(digest_Dx2x16)
        for kind, reason in enumerate(REASONS["exact_duplicates"], 1):
            drop(copies == kind, reason)
    if steps.near_duplicates:
        near = _near(work, documents, name, np.flatnonzero(fate == 0), steps.near_duplicates)
        drop(near, "near_duplicate")
    problems = Counter()
    for i, problem in enumerate(documents.column("contaminated").to_pylist()):
        if problem and fate[i] == 0:
            problems[problem] += 1
            drop(i, "contaminated")
    after_redaction = fate == 0
    for i, reason in enumerate(documents.column("poor").to_pylist()):
        if reason and fate[i] == 0:
            drop(i, reason)
    megabytes = plan.manifest.languages[name].max_megabytes
    if megabytes:
        kept = np.flatnonzero(fate == 0)
        drawn = kept[np.argsort(digest_Dx2x16[kept, 0, :8].copy().view(">u8")[:, 0], kind="stable")]
        drop(drawn[np.cumsum(documents.column("bytes").to_numpy()[drawn]) > megabytes * 1e6], "cap")
    return fate, after_redaction, problems


def _near(work, documents, name, candidates, options: NearDuplicates):
    """Those of the candidates that nearly copy an earlier one."""
    if options.by == "datatrove":
        folder = work / "select" / f"{name}.datatrove"
        rows = documents.by_piece(candidates)
        near = duplicates.near_datatrove(documents.files, rows, options.threshold, folder)
        shutil.rmtree(folder / "logs")  # which tell what is done; a kill must not leave them without the files
        shutil.rmtree(folder)
        return candidates[near >= 0]

    def texts(indices):
        return list(documents.texts(candidates[indices]))

    signature_DxP = documents.bytes_column("signature", 4 * duplicates.PERMUTATIONS).view(np.uint32)
    return candidates[duplicates.near(signature_DxP[candidates], texts, options.threshold) >= 0]


def _projects(documents, kept, size):
    """The project of each document at `kept`: what its source says, else by its path."""
    paths = documents.column("path").take(kept).to_pylist()
    by_path = sources.Projects(zip(paths, size[kept].tolist(), strict=True), VALIDATION_SHARE)
    told = documents.column("project").take(kept).to_pylist()
    return [project or by_path.project(path) for project, path in zip(told, paths, strict=True)]


def held_out_projects(bytes_of_project: dict[str, int], share: float) -> set[str]:
    """Projects for validation: in the order of their hashes, each that still fits, until `share` of the bytes is met.

    A project that would overshoot the share by half is passed over; where all would, the smallest is taken. At least
    one is held out and one stays, if there are two; an empty set if there are not.
    """
    if len(bytes_of_project) < 2:
        return set()
    target = share * sum(bytes_of_project.values())
    held_out, total = set(), 0
    for project in sorted(bytes_of_project, key=lambda name: hashlib.sha256(name.encode("utf-8", "replace")).digest()):
        if total >= target or len(held_out) + 1 == len(bytes_of_project):
            break
        if total + bytes_of_project[project] <= 1.5 * target:
            held_out.add(project)
            total += bytes_of_project[project]
    return held_out or {min(bytes_of_project, key=lambda name: (bytes_of_project[name], name))}


def _chosen(work, piece):
    """split -> the rows of a piece's documents in it."""
    table = pq.read_table(work / "select" / f"{piece}.parquet", columns=["row", "split"])
    split = np.array(table["split"].to_pylist())
    return {each: table["row"].to_numpy()[split == each] for each in SPLITS}


# --- vocabulary: one task ----------------------------------------------------------------------------------------


def _vocabulary(work, plan, task):
    manifest = plan.manifest
    (work / "corpus").mkdir(exist_ok=True)
    if manifest.tokenizer:
        model = tokenizer.load(manifest.tokenizer)
    else:
        model = tokenizer.train(_sample_texts(work, plan), manifest.vocab_size)
    model.save(work / "corpus")
    return Vocabulary(model.sha, model.vocab_size, model.document_end)


def _sample_texts(work, plan):
    for pieces in plan.pieces.values():
        documents = _Documents(work, pieces)
        train = [first + _chosen(work, piece)["train"] for piece, first in zip(pieces, documents.first, strict=False)]
        train = np.concatenate(train)
        size = documents.column("bytes").to_numpy()[train]
        yield from documents.texts(train[_sample(size, SAMPLE_BYTES)])


def _sample(size_N: np.ndarray, cap: int) -> np.ndarray:
    """Which of N documents of such sizes to take for about `cap` bytes, spread evenly; never more than `cap`. Bool [N]."""
    taken, given, seen, total = np.zeros(len(size_N), bool), 0, 0, max(1, int(size_N.sum()))
    for i, size in enumerate(size_N.tolist()):
        seen += size
        if given + size <= min(cap, cap * seen / total + size / 2):
            taken[i] = True
            given += size
    return taken


@functools.lru_cache(maxsize=1)
def _tokenizer_of(directory, sha):
    return tokenizer.load(directory)


def _tokenizer(work):
    return _tokenizer_of(work / "corpus", said(work, "vocabulary", "tokenizer").sha)


# --- tokens: a task a piece --------------------------------------------------------------------------------------


def _tokens(work, plan, task):
    """Ids of a piece's documents, a file a split; those held out must come back from their ids."""
    from babel_jax.corpus import token_rows

    documents, model = _Documents(work, [task]), _tokenizer(work)
    counted = {}
    for split, chosen in _chosen(work, task).items():
        with whole(work / "tokens" / f"{task}.{split}") as partial, token_rows.TokenFile(partial, model) as file:
            size = count = 0
            for text in documents.texts(chosen):
                ids = file.append(text)
                count, size = count + 1, size + len(text.encode())
                if split == "validation" and model.decode(ids) != text:
                    raise UserError(
                        f"a held-out file of {task} does not come back from its tokens; take a tokenizer that loses no text."
                    )
        counted[split] = Counted(count, size, file.tokens)
    amount = (sum(one.documents for one in counted.values()), sum(one.bytes for one in counted.values()))
    return Tokenised(**counted, amount=amount)


# --- rows: a task a shard, and one a language for what is known of its documents -----------------------------------


def _token_files(work, plan, name, split):
    """[(file, tokens in it)] of the pieces in order."""
    return _counted_files(work, tuple(plan.pieces[name]), split, content_hash(plan.record()))


@functools.lru_cache(maxsize=4)  # a shard task asks for all of a language's pieces, of which there may be many
def _counted_files(work, pieces, split, plan):
    done = [said(work, "tokens", piece).of(split).tokens for piece in pieces]
    return [(work / "tokens" / f"{piece}.{split}", tokens) for piece, tokens in zip(pieces, done, strict=True)]


def _row_tasks(work, plan):
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
    return names


def _rows(work, plan, task):
    if task.endswith("-documents"):
        return Written(_write_documents(work, plan, task.removesuffix("-documents")))
    from babel_jax.corpus import token_rows

    name, split, shard = task.split("-")
    files, length = _token_files(work, plan, name, split), plan.row_length
    number, shards = token_rows.count(sum(tokens for _, tokens in files), length)
    first = int(shard) * token_rows.ROWS_PER_SHARD
    count = min(token_rows.ROWS_PER_SHARD, number - first)
    target = token_rows.shard_path(work / "corpus" / "rows", name, split, int(shard), shards)
    token_rows.write_shard(target, files, token_rows.token_dtype(_tokenizer(work).vocab_size), first, count, length)
    return Written(digests(work, [target]))


def _write_documents(work, plan, name):
    """What the corpus holds of a language: an index of all documents, and those held out whole."""
    index = {"path": pa.string(), "licences": pa.list_(pa.string()), "bytes": pa.int64()}
    index |= {"project": pa.string(), "split": pa.string()}
    held_out = {"path": pa.string(), "project": pa.string(), "licences": pa.list_(pa.string()), "content": pa.string()}
    targets = [work / "corpus" / folder / f"{name}.parquet" for folder in ("documents", "heldout")]
    with _writer(targets[0], index) as write_index, _writer(targets[1], held_out) as write_heldout:
        for piece in plan.pieces[name]:
            documents, selected = _Documents(work, [piece]), pq.read_table(work / "select" / f"{piece}.parquet")
            known = {column: documents.column(column).take(selected["row"]) for column in ("path", "licences", "bytes")}
            write_index(pa.table(known | {"project": selected["project"], "split": selected["split"]}))
            selected = selected.filter(pc.equal(selected["split"], "validation"))
            rows = documents.rows(selected["row"].to_numpy(), ["path", "licences", "content"])
            for row, project in zip(rows, selected["project"].to_pylist(), strict=True):
                write_heldout(pa.Table.from_pylist([row | {"project": project}]))
    return digests(work, targets)


@contextlib.contextmanager
def _writer(target, fields):
    """A function that appends tables to a Parquet file, in row groups of about ROW_GROUP_BYTES."""
    schema, held, size = pa.schema(list(fields.items())), [], 0
    with whole(target) as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:

        def append(table):
            nonlocal size
            held.append(table.select(schema.names).cast(schema))
            size += table.nbytes
            if size >= ROW_GROUP_BYTES:
                flush()

        def flush():
            nonlocal size
            writer.write_table(pa.concat_tables(held))
            held.clear()
            size = 0

        yield append
        if held:
            flush()


def digests(work, files):
    """{path in the corpus: sha256}."""
    return {path.relative_to(work / "corpus").as_posix(): sha256(path) for path in files}


def heldout(directory, language):
    with pq.ParquetFile(directory / "heldout" / f"{language}.parquet") as file:
        for group in range(file.num_row_groups):
            for row in file.read_row_group(group).to_pylist():
                content = row["content"].encode()
                yield sources.Document(row["path"], content, len(content), tuple(row["licences"]), row["project"])


# --- call_sites: a task a pair of languages ----------------------------------------------------------------------


def _pair_tasks(work, plan):
    known = plan.pieces
    return [
        f"{primary}-{new}"
        for new, record in registry.LANGUAGES.items()
        if new in known
        for primary in record.pairs
        if primary in known
    ]


def _call_sites(work, plan, task):
    """The prompts of a pair in both languages, and how many there are."""
    manifest, model = plan.manifest, _tokenizer(work)
    primary, new = task.split("-")
    pairs = registry.language(new).pairs[primary]
    arrays, messages, counts = {}, [], {}
    for side, name in enumerate((primary, new)):
        mined = [(pair[side], pair[1 - side]) for pair in pairs]
        documents, language = heldout(work / "corpus", name), registry.language(name)
        prompts, rejected = call_sites.mine(
            documents, language, mined, model, manifest.max_length, manifest.prompts_per_pair
        )
        messages += rejected
        found = call_sites.slots(prompts, side == 0, manifest.max_length, model.padding)
        arrays |= {f"{name}/{column}": array for column, array in found.items()}
        counts[name] = tuple(np.bincount(found["pair"], minlength=len(pairs)).tolist())
    target = work / "corpus" / "call_sites" / f"{task}.npz"
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    write_atomic(target, buffer.getvalue())
    names = tuple(f"{first.text}/{second.text}" for first, second in pairs)
    return Mined(digests(work, [target]), CallSites(names, counts, tuple(messages)))


def _piece_tasks(work, plan):
    return [piece for pieces in plan.pieces.values() for piece in pieces]


class Phase(NamedTuple):
    """tasks(work, plan): names of its tasks. run(work, plan, task): does one, and returns what it has to say, see `SAID`."""

    tasks: Callable[[Path, Plan], list[str]]
    run: Callable[[Path, Plan, str], object]


PHASES = {
    "clean": Phase(_piece_tasks, _clean),
    "select": Phase(lambda work, plan: list(plan.pieces), _select),
    "vocabulary": Phase(lambda work, plan: ["tokenizer"], _vocabulary),
    "tokens": Phase(_piece_tasks, _tokens),
    "rows": Phase(_row_tasks, _rows),
    "call_sites": Phase(_pair_tasks, _call_sites),
}

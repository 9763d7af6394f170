"""Which documents are copies of earlier ones: byte for byte, but for comments and whitespace, or nearly.

Nearly: the Jaccard similarity of their sets of shingles (runs of SHINGLE words) is at least a threshold. Candidates come
from MinHash signatures cut into bands (Broder 1997; Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, 3.4).
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import rensa

from babel_jax.common import machine
from babel_jax.languages.language import Language
from babel_jax.languages.lexical import without_comments

SHINGLE = 5  # words
PERMUTATIONS = 128
SEED = 42
RECALL = 0.99  # of the bands: how sure two documents at the threshold are to meet in one
CHECKS = 32  # bounds the cost of large families of documents below the threshold
BATCH = 1024  # documents decided together; the shingles of about as many are held at once
TEXTS = 64  # held at once; their words take ten times the memory
NO_WORDS = np.uint32(2**32 - 1)
# A word is a run of ASCII letters, digits, underscores and characters beyond ASCII; all else separates.
WORD_BYTES = bytes(c if c >= 128 or chr(c).isalnum() or c == ord("_") else ord(" ") for c in range(256))


def digests(content: bytes, text: str, language: Language) -> tuple[bytes, bytes]:
    """Two SHA-256 of 16 bytes each: of a document's bytes, and of its text without comments and whitespace."""
    bare = "".join(without_comments(text, language).split())
    return _digest(content), _digest(bare.encode())


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()[:16]


def exact(digest_Dx2: np.ndarray) -> np.ndarray:
    """What each document copies of any before it, dropped ones too: 0 nothing, 1 its bytes, 2 all but comments and whitespace.

    `digest_Dx2`: `digests` of D documents in order, "S16" [D, 2] or uint8 [D, 2, 16]. Returns uint8 [D].
    """
    digest_Dx2 = np.ascontiguousarray(digest_Dx2).view("S16").reshape(-1, 2)
    copies_D = np.zeros(len(digest_Dx2), np.uint8)
    for kind in (2, 1):
        _, first = np.unique(digest_Dx2[:, kind - 1], return_index=True)
        later_D = np.ones(len(digest_Dx2), bool)
        later_D[first] = False
        copies_D[later_D] = kind
    return copies_D


def signatures(texts: list[str]) -> np.ndarray:
    """MinHash signatures of the texts' shingles, uint32 [n, PERMUTATIONS].

    The share of places where two rows agree estimates the Jaccard similarity of the two texts. A text of fewer than
    SHINGLE words has NO_WORDS everywhere, which `near` holds to be like nothing.
    """
    return _minhash(_shingles(texts))


def _minhash(shingles):
    ends = np.cumsum([0, *map(len, shingles)]).astype(np.uint64)
    flat = np.concatenate([*shingles, np.zeros(0, np.uint64)])
    matrix = rensa.RMinHash.digest_matrix_from_flat_token_hashes(flat, ends, PERMUTATIONS, SEED)
    return np.array(matrix.to_rows(), np.uint32).reshape(-1, PERMUTATIONS)


def _shingles(texts):
    """A hash of every run of SHINGLE words of each text, in order: a list of uint64 [words - SHINGLE + 1]."""
    words = [text.encode().translate(WORD_BYTES).split() for text in texts]
    return [_runs(np.array(hashes, np.uint64)) for hashes in rensa.RMinHash.hash_token_sets(words)]


def _runs(word):
    runs = max(0, len(word) - SHINGLE + 1)
    mixed = np.zeros(runs, np.uint64)
    for place in range(SHINGLE):
        mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0x9E3779B97F4A7C15) + word[place : place + runs]
    return mixed


def near(signature_DxP: np.ndarray, texts: Callable[[list[int]], list[str]], threshold: float) -> np.ndarray:
    """For each document the earlier one that it nearly copies, or -1: int64 [D]. Earlier ones that copy do not count.

    A similarity well above or below the threshold is taken from the signatures; near it, the texts decide. A document is
    compared with the CHECKS kept ones that are most like it by the signatures.
    `signature_DxP`: `signatures` of the documents in order. `texts`: gives the texts of documents by their rising
    numbers, in batches.
    """
    near_D = np.full(len(signature_DxP), -1, np.int64)
    buckets_DxB = _buckets(signature_DxP, threshold)
    margin = 3 * (threshold * (1 - threshold) / PERMUTATIONS) ** 0.5
    low, high = threshold - margin, threshold + margin
    kept = _Index(signature_DxP, buckets_DxB)
    queue = np.flatnonzero((buckets_DxB >= 0).any(axis=1)).tolist()[::-1]
    while queue:
        # Which earlier documents of the batch are kept is known after it has its texts: all that may be are compared.
        batch, recent, needed = [], _Index(signature_DxP, buckets_DxB), set()
        while queue and max(len(batch), len(needed)) < BATCH:
            document = queue.pop()
            alike, undecided = kept.like(document, low)[:CHECKS], recent.like(document, low)
            is_sure = bool(alike) and alike[0][0] >= high
            alike = sorted(alike + undecided, key=_best_first)
            if not is_sure:
                unsure = {other for estimate, other in alike if estimate < high}
                needed |= unsure | {document} if unsure else unsure
                recent.add(document)
            batch.append((document, alike))
        sets = _sets(sorted(needed), texts)
        for document, alike in batch:
            alike = [(estimate, other) for estimate, other in alike if near_D[other] < 0][:CHECKS]
            is_near = (
                other
                for estimate, other in alike
                if estimate >= high or jaccard(sets[document], sets[other]) >= threshold
            )
            near_D[document] = next(is_near, -1)
            if near_D[document] < 0:
                kept.add(document)
    return near_D


def jaccard(first: np.ndarray, second: np.ndarray) -> float:
    """The Jaccard similarity of two sets, sorted arrays of distinct elements."""
    shared = len(np.intersect1d(first, second, assume_unique=True))
    return shared / max(1, len(first) + len(second) - shared)


def _sets(documents, texts):
    sets = {}
    for begin in range(0, len(documents), TEXTS):
        batch = documents[begin : begin + TEXTS]
        sets.update(zip(batch, map(np.unique, _shingles(texts(batch))), strict=True))
    return sets


def _best_first(alike):
    estimate, document = alike
    return -estimate, document


class _Index:
    """Documents by the buckets they fall into."""

    def __init__(self, signature_DxP, buckets_DxB):
        self._signature_DxP, self._buckets_DxB = signature_DxP, buckets_DxB
        self._members = defaultdict(list)

    def _of(self, document):
        buckets_B = self._buckets_DxB[document]
        return buckets_B[buckets_B >= 0].tolist()

    def add(self, document: int) -> None:
        for bucket in self._of(document):
            self._members[bucket].append(document)

    def like(self, document: int, low: float) -> list[tuple[float, int]]:
        """(estimated similarity, document) of the members that share a bucket and are at least `low` alike, best first."""
        others = sorted(set().union(*(self._members.get(bucket, ()) for bucket in self._of(document))))
        if not others:
            return []
        estimates = (self._signature_DxP[others] == self._signature_DxP[document]).mean(axis=1).tolist()
        return sorted((pair for pair in zip(estimates, others, strict=True) if pair[0] >= low), key=_best_first)


def _buckets(signature_DxP, threshold):
    """For each document and band the number of the bucket that it shares with others, or -1: int32 [D, bands]."""
    rows = _rows_of_a_band(threshold)
    bands = PERMUTATIONS // rows
    buckets_DxB = np.full((len(signature_DxP), bands), -1, np.int32)
    factors = np.random.default_rng(SEED).integers(2**64, size=rows, dtype=np.uint64)
    wordless_D = signature_DxP.min(axis=1, initial=NO_WORDS) == NO_WORDS
    begun = 0
    for band in range(bands):
        key_D = (signature_DxP[:, band * rows : (band + 1) * rows] * factors).sum(axis=1)
        _, bucket_D, size = np.unique(key_D, return_inverse=True, return_counts=True)
        shared_D = (size[bucket_D] > 1) & ~wordless_D
        numbers, bucket_D = np.unique(bucket_D[shared_D], return_inverse=True)
        buckets_DxB[shared_D, band] = bucket_D + begun
        begun += len(numbers)
    return buckets_DxB


def _rows_of_a_band(threshold):
    """The longest bands of which two documents at the threshold share one with a probability of RECALL."""
    rows = range(PERMUTATIONS, 0, -1)
    return next((r for r in rows if 1 - (1 - threshold**r) ** (PERMUTATIONS // r) >= RECALL), 1)


def near_datatrove(files: list[Path], rows: list[np.ndarray], threshold: float, folder: Path) -> np.ndarray:
    """As `near`, by datatrove's MinHash stages: int64 [D] for the documents in order of files and rows.

    The signatures alone decide, so that the threshold is a soft one, and of documents that a chain of near copies links
    the first is kept. `files`: Parquet files with the texts in a column `content`; each is a task, done by as many
    processes as there are processors. `rows`: the rising numbers of the rows of each that count. `folder`: where the stages
    keep their files; a run over the same documents that was broken off goes on there.

    Raises:
      UserError: datatrove is not installed.
    """
    import multiprocess  # all of this takes a second to load, which those who do without need not spend
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupSignature
    from datatrove.pipeline.dedup.minhash import MinhashConfig
    from datatrove.utils.hashing import HashConfig

    class Signature(MinhashDedupSignature):  # of the same words and hashes as `near`
        def get_shingles(self, text):
            return _shingles([text])[0]

        def get_signature(self, shingles):
            return np.split(_minhash([shingles])[0, : bands * rows_of_a_band], bands)

    # Where the chance to share a band rises most steeply with the similarity: at (1 / bands) ** (1 / rows_of_a_band).
    rows_of_a_band = min(range(1, PERMUTATIONS), key=lambda r: abs((PERMUTATIONS // r) ** (-1 / r) - threshold))
    bands = PERMUTATIONS // rows_of_a_band
    config = MinhashConfig(num_buckets=bands, hashes_per_bucket=rows_of_a_band, hash_config=HashConfig(32, "sha1"))
    signed, paired, clustered = (str(folder / name) for name in ("signatures", "pairs", "clusters"))
    # The tokenizer for datatrove's own shingles is not called; Cherokee's loads without a further package.
    signing = Signature(signed, config, language="chr_Cher")
    with multiprocess.get_context("forkserver").Pool(
        min(machine.cores(), max(bands, len(files))), _begin_worker
    ) as pool:
        for name, tasks, pipeline in (
            ("signatures", len(files), [_Reader(files, rows), signing]),
            ("pairs", bands, [MinhashDedupBuckets(signed, paired, config=config)]),
            ("clusters", 1, [MinhashDedupCluster(paired, clustered, config=config, save_cluster_id=True)]),
        ):
            executor = LocalPipelineExecutor(pipeline, tasks, logging_dir=str(folder / "logs" / name))
            # Not by `executor.run`: it forks a server that outlives a build that is killed, and holds its lock for ever.
            pool.map(executor._run_for_rank, range(tasks), chunksize=1)
    return _firsts_of_clusters(folder / "clusters", list(map(len, rows)))


def _firsts_of_clusters(folder, counts):
    """For each document the first of its cluster, or -1 where it is the first itself; `counts`: documents of each file."""
    begins, firsts = np.cumsum([0, *counts]), {}
    near_D = np.full(begins[-1], -1, np.int64)
    for number, begin in enumerate(begins[:-1].tolist()):
        clusters = folder / f"{number:06d}.clusters"  # (document of the file, cluster), uint32 [n, 2]
        for document, cluster in np.fromfile(clusters, "<u4").reshape(-1, 2).tolist() if clusters.exists() else ():
            first = firsts.setdefault(cluster, begin + document)
            if first != begin + document:
                near_D[begin + document] = first
    return near_D


def _begin_worker():
    """What a process of datatrove's stages does first: it logs to its files alone, and will die with its parent."""
    import multiprocess
    from loguru import logger

    logger.disable("datatrove")
    machine.begin_worker(multiprocess.parent_process())


class _Reader:
    """The step of a datatrove pipeline that reads the documents of a task's Parquet file."""

    def __init__(self, files, rows):
        self._files, self._rows = files, rows

    def __call__(self, data, rank, world_size):
        from datatrove.data import Document
        from pyarrow import parquet

        begin, wanted = 0, set(self._rows[rank].tolist())
        for batch in parquet.ParquetFile(self._files[rank]).iter_batches(256, columns=["content"]):
            for row, text in enumerate(batch.column(0).to_pylist(), begin):
                if row in wanted:
                    yield Document(text=text, id=str(row))
            begin += len(batch)

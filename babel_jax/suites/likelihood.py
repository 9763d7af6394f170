"""Bits per byte of reference solutions given their prompts: a measure for models that are too small to pass any test.

Letters as in `model/decoder.py`.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import jax
import numpy as np

from babel_jax.common import statistics
from babel_jax.common.errors import UserError
from babel_jax.corpus.tokenizer import Tokenizer
from babel_jax.measuring.sampling import bucket
from babel_jax.model.placement import batch_rows, jitted
from babel_jax.model.protocol import Model
from babel_jax.model.taps import Inside
from babel_jax.probes.subject import Subject, row_batches
from babel_jax.suites.problems import Problem, prompt_text, reference
from babel_jax.training.loss import segments, token_losses


@functools.cache
def jitted_nats(model: Model, document_end: int, everywhere):
    """The jitted `(params, tokens_BxT, targets_BxT, weight_BxT) -> nats_B`, one executable per bucket of lengths."""
    mesh = getattr(everywhere, "mesh", None)

    def nats(params, tokens_BxT, targets_BxT, weight_BxT):
        final_BxTxD, _ = model.forward(params, tokens_BxT, segments(tokens_BxT, document_end), Inside(mesh=mesh))
        return (token_losses(params, model, final_BxTxD, targets_BxT, mesh) * weight_BxT).sum(axis=1)

    return jitted(nats, everywhere)


@dataclasses.dataclass(frozen=True)
class SolutionLoss:
    """What a model needs for the reference solution of a problem, given its prompt.

    Attributes:
      bits: of the tokens that are counted, see `solution_losses`.
      bytes: of the same tokens.
      truncated: prompt and solution together are longer than the model's context.
    """

    problem: Problem
    bits: float
    bytes: int
    truncated: bool


class Row(NamedTuple):
    """Ids of one of the texts that are read together; the targets from `counted` on count."""

    text: int
    ids: np.ndarray
    counted: int


def solution_losses(
    subject: Subject,
    tokenizer: Tokenizer,
    problems: Iterable[Problem],
    variant: str,
    progress: Callable[[str, int, int], None] = lambda doing, done, of: None,
) -> list[SolutionLoss]:
    """The loss of each problem that has a reference solution, in their order.

    Prompt and solution are encoded as one text, since that is how programs stand in the training data; the text is the
    beginning of a document, as there. Counted are the tokens from the first one on that holds a byte of the solution: where
    it also holds the prompt's last bytes (a line break and the indentation after it, say), those are counted as bytes too,
    so that bits and bytes are of the same tokens. A document's first token is predicted by nothing and never counted.

    A text that is longer than the context is cut on its left; where the solution alone is longer, it is read in windows that
    overlap by half.

    Args:
      subject: what ends its documents also fills up rows, as another document would; how many rows are read at a time
        depends on their length, not on its `batch_size`.
      tokenizer: the model's own.
      variant: of the prompt, see `problems.VARIANTS`.
      progress: called after each batch with (what is done, how many rows are done, of how many).

    Raises:
      UserError: the tokenizer is not the model's or cannot spell a text.
    """
    vocab_size, context = subject.model.vocab_size, subject.model.max_length
    if tokenizer.vocab_size > vocab_size:
        raise UserError(
            f"the tokenizer has {tokenizer.vocab_size} tokens and the model {vocab_size}; give the model's own."
        )
    texts, rows = [], []
    for problem in problems:
        if (solution := reference(problem, variant)) is not None:
            ids, first = encode(tokenizer, prompt_text(problem, variant), solution)
            for start, counted, end in windows(len(ids), first, context):
                rows.append(Row(len(texts), ids[start:end], counted - start))
            texts.append((problem, ids, first))
    bits_N, done = np.zeros(len(texts)), 0
    for batch, nats_B in _read(subject, rows):
        for row, nats in zip(batch, nats_B, strict=True):
            bits_N[row.text] += float(nats) / math.log(2)
        done += len(batch)
        progress("reading solutions", done, len(rows))
    return [
        SolutionLoss(problem, float(bits), int(tokenizer.token_bytes_V[ids[first:]].sum()), len(ids) - 1 > context)
        for (problem, ids, first), bits in zip(texts, bits_N, strict=True)
    ]


def _read(subject: Subject, rows: list[Row]) -> Iterator[tuple[list[Row], np.ndarray]]:
    """Yields rows of one bucket of lengths that were read side by side, and the nats of their counted targets."""
    by_length: dict[int, list[Row]] = {}
    for row in rows:
        by_length.setdefault(bucket(len(row.ids) - 1, subject.model.max_length), []).append(row)
    for length, alike in sorted(by_length.items()):
        batch_size = batch_rows(subject.params, length)
        params, place, everywhere = dataclasses.replace(subject, batch_size=batch_size).placed()
        step = jitted_nats(subject.model, subject.document_end, everywhere)
        remaining = iter(alike)
        for kept, batch in row_batches(_padded(alike, length, subject.document_end), batch_size):
            nats_B = np.asarray(step(params, **jax.device_put(batch, place)))[:kept]
            yield list(itertools.islice(remaining, kept)), nats_B


def _padded(rows: list[Row], length: int, filler: int) -> dict[str, np.ndarray]:
    """Rows of one length, by the names of what `jitted_nats` is given."""
    tokens_NxT = np.full((len(rows), length), filler, np.int32)
    targets_NxT = np.zeros((len(rows), length), np.int32)
    weight_NxT = np.zeros((len(rows), length), np.float32)
    for n, row in enumerate(rows):
        end = len(row.ids) - 1
        tokens_NxT[n, :end], targets_NxT[n, :end], weight_NxT[n, row.counted - 1 : end] = row.ids[:-1], row.ids[1:], 1
    return {"tokens_BxT": tokens_NxT, "targets_BxT": targets_NxT, "weight_BxT": weight_NxT}


def encode(tokenizer: Tokenizer, prompt: str, solution: str) -> tuple[np.ndarray, int]:
    """The ids of prompt and solution as one text, and which of them is the first to be counted."""
    # SentencePiece reads U+2581 as a space: with the real one, bytes would be counted wrongly, and other tokenizers would
    # be asked for another text.
    prompt, solution = prompt.replace("\u2581", " "), solution.replace("\u2581", " ")
    ids = tokenizer.encode(prompt + solution)
    end_N = np.cumsum(tokenizer.token_bytes_V[ids])
    if end_N[-1:].sum() != len((prompt + solution).encode()):
        raise UserError(f"the tokenizer cannot spell {(prompt + solution)[:60]!r}; leave this problem out.")
    return ids, max(1, int(np.searchsorted(end_N, len(prompt.encode()), side="right")))


def windows(tokens: int, first: int, context: int) -> list[tuple[int, int, int]]:
    """How targets first, …, tokens - 1 are read: `(start, counted, end)`, a row of ids start, …, end - 1 for each.

    Its targets from `counted` on count. At most `context` ids are read before a target; no more windows than needed.
    """
    rows = []
    end = tokens
    while end > first:
        start = max(0, end - 1 - context)
        # Where an earlier window is needed anyway, targets with less than half a context before them are left to it.
        counted = first if first > start else start + 1 + context // 2
        rows.append((start, counted, end))
        end = counted
    return rows


def rows(losses: list[SolutionLoss], variant: str) -> list[dict]:
    """Rows of the tidy table without run, seed and step: of suites and languages, then of problems.

    "bits_per_byte" is all bits over all bytes of a suite and language; its 95 % interval is a bootstrap over problems.
    "solution_bits" are a problem's; n: its bytes.
    """
    groups: dict[tuple, list[SolutionLoss]] = {}
    for loss in losses:
        groups.setdefault((loss.problem.suite, loss.problem.language), []).append(loss)
    return [_group_row(suite, language, variant, group) for (suite, language), group in groups.items()] + [
        dict(
            probe="evaluation",
            language=loss.problem.language,
            metric="solution_bits",
            item=loss.problem.number,
            value=loss.bits,
            n=loss.bytes,
            options={"suite": loss.problem.suite, "variant": variant, "truncated": loss.truncated},
        )
        for loss in losses
    ]


def _group_row(suite: str, language: str, variant: str, losses: list[SolutionLoss]) -> dict:
    counts_Nx2 = np.array([(loss.bits, loss.bytes) for loss in losses], np.float64)
    draws_Dx2 = statistics.shard_weights(len(losses)) @ counts_Nx2
    draws_D = statistics.ratio(draws_Dx2[:, 0], draws_Dx2[:, 1])
    low, high = statistics.interval(draws_D[:, None])
    truncated = sum(loss.truncated for loss in losses)
    return dict(
        probe="evaluation",
        language=language,
        metric="bits_per_byte",
        value=float(statistics.ratio(*counts_Nx2.sum(axis=0))),
        n=len(losses),
        ci_low=float(low[0]),
        ci_high=float(high[0]),
        options={"suite": suite, "variant": variant, "bytes": int(counts_Nx2[:, 1].sum()), "truncated": truncated},
    )

"""Bits per byte of reference solutions given their prompts: a measure for models that are too small to pass any test.

Letters as in `model/decoder.py`.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterable

import jax
import numpy as np

from babel_jax import statistics
from babel_jax.corpus.tokenizer import Tokenizer
from babel_jax.errors import UserError
from babel_jax.evaluation.generate import bucket
from babel_jax.evaluation.problems import Problem, prompt_text, reference
from babel_jax.model.decoder import Decoder, DecoderConfig, compute_params
from babel_jax.model.placement import batch_rows, jitted, on_devices
from babel_jax.probes.subject import row_batches
from babel_jax.training.loss import segments, token_losses


@functools.cache
def jitted_nats(config: DecoderConfig, document_end: int, everywhere):
    """The jitted `(params, tokens_BxT, targets_BxT, weight_BxT) -> nats_B`, one executable per bucket of lengths."""
    mesh = getattr(everywhere, "mesh", None)

    def nats(params, tokens_BxT, targets_BxT, weight_BxT):
        params = compute_params(params, config.dtype)
        # The TPU's kernel takes rows of whole blocks; what is shorter is small enough to be written out.
        short = tokens_BxT.shape[1] % 128 and config.attention == "splash"
        decoder = Decoder(dataclasses.replace(config, attention="reference") if short else config, mesh)
        _, taps = decoder.apply({"params": params}, tokens_BxT, segments(tokens_BxT, document_end))
        return (token_losses(params, config, taps["final_BxTxD"], targets_BxT, mesh) * weight_BxT).sum(axis=1)

    return jitted(nats, everywhere)


def solution_losses(
    params: dict,
    config: DecoderConfig,
    tokenizer: Tokenizer,
    problems: Iterable[Problem],
    variant: str = "raw",
    batch_size: int | None = None,
    *,
    document_end: int,
    progress: Callable[[dict], None] = lambda message: None,
) -> list[dict]:
    """The bits that a model needs for the reference solution of each problem that has one, given its prompt.

    Prompt and solution are encoded as one text, since that is how programs stand in the training data; the text is the
    beginning of a document, as there. Counted are the tokens from the first one on that holds a byte of the solution: where
    it also holds the prompt's last bytes (a line break and the indentation after it, say), those are counted as bytes too,
    so that bits and bytes are of the same tokens. A document's first token is predicted by nothing and never counted.

    A text that is longer than the context is cut on its left; where the solution alone is longer, it is read in windows that
    overlap by half. Such problems are flagged as `truncated`.

    Args:
      params: parameters on any mesh (or none); rows follow them.
      tokenizer: the model's own.
      variant: of the prompt, see `problems.VARIANTS`.
      batch_size: rows at a time; None: 32 short or 16 long ones, raised to a multiple of the devices.
      document_end: the token that ends a document in training; it fills up rows, as another document would.
      progress: called with {"doing", "done", "of"}.

    Returns:
      For each such problem, in their order: `suite, language, task_id, number, variant, bits, bytes, tokens, truncated`.

    Raises:
      UserError: the tokenizer is not the model's or cannot spell a text; the batch does not divide among the devices.
    """
    if tokenizer.vocab_size > config.vocab_size:
        raise UserError(
            f"the tokenizer has {tokenizer.vocab_size} tokens and the model {config.vocab_size}; give the model's own."
        )
    losses, pieces = [], {}
    for problem in problems:
        solution = reference(problem, variant)
        if solution is None:
            continue
        ids, first = encode(tokenizer, prompt_text(problem, variant), solution)
        for start, counted, end in windows(len(ids), first, config.max_length):
            pieces.setdefault(bucket(end - start - 1, config.max_length), []).append(
                (len(losses), ids[start:end], counted - start)
            )
        losses.append(
            {
                "suite": problem.suite,
                "language": problem.language,
                "task_id": problem.task_id,
                "number": problem.number,
                "variant": variant,
                "bits": 0.0,
                "bytes": int(tokenizer.token_bytes_V[ids[first:]].sum()),
                "tokens": max(0, len(ids) - first),
                "truncated": len(ids) - 1 > config.max_length,
            }
        )
    done, of = 0, sum(map(len, pieces.values()))
    for length, chosen in sorted(pieces.items()):

        def so_far(count, done=done):
            progress({"doing": "reading solutions", "done": done + count, "of": of})

        nats = _nats(params, config, chosen, length, batch_size, document_end, so_far)
        done += len(chosen)
        for (which, _, _), value in zip(chosen, nats, strict=True):
            losses[which]["bits"] += float(value) / math.log(2)
    return losses


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
    found = []
    end = tokens
    while end > first:
        start = max(0, end - 1 - context)
        # Where an earlier window is needed anyway, targets with less than half a context before them are left to it.
        counted = first if first > start else start + 1 + context // 2
        found.append((start, counted, end))
        end = counted
    return found


def _nats(params, config, chosen, length, batch_size, document_end, so_far):
    """Nats of the counted targets of each row, all padded to one length."""
    rows = {
        "tokens": np.full((len(chosen), length), document_end, np.int32),
        "targets": np.zeros((len(chosen), length), np.int32),
        "weight": np.zeros((len(chosen), length), np.float32),
    }
    for row, (_, ids, counted) in enumerate(chosen):
        n = len(ids) - 1
        rows["tokens"][row, :n], rows["targets"][row, :n], rows["weight"][row, counted - 1 : n] = ids[:-1], ids[1:], 1
    batch_size = batch_size or batch_rows(params, length)
    params, place, everywhere = on_devices(params, batch_size)
    step = jitted_nats(config, document_end, everywhere)
    found = []
    for kept, batch in row_batches(rows, batch_size):
        batch = jax.device_put(batch, place)
        found.append(np.asarray(step(params, batch["tokens"], batch["targets"], batch["weight"]))[:kept])
        so_far(sum(map(len, found)))
    return np.concatenate(found)


def rows(losses: list[dict]) -> list[dict]:
    """Bits per byte of each suite and language: rows of the tidy table without run, seed and step.

    The value is all bits over all bytes; its 95 % interval is a bootstrap over problems.
    """
    groups = {}
    for loss in losses:
        groups.setdefault((loss["suite"], loss["language"], loss["variant"]), []).append(loss)
    found = []
    for (suite, language, variant), group in groups.items():
        counts_Nx2 = np.array([(loss["bits"], loss["bytes"]) for loss in group], np.float64)
        draws_Dx2 = statistics.shard_weights(len(group)) @ counts_Nx2
        draws_D = statistics.ratio(draws_Dx2[:, 0], draws_Dx2[:, 1])
        low, high = statistics.interval(draws_D[:, None])
        found.append(
            dict(
                probe="evaluation",
                language=language,
                metric="bits_per_byte",
                value=float(statistics.ratio(*counts_Nx2.sum(axis=0))),
                n=len(group),
                ci_low=float(low[0]),
                ci_high=float(high[0]),
                options={
                    "suite": suite,
                    "variant": variant,
                    "bytes": int(counts_Nx2[:, 1].sum()),
                    "truncated": sum(loss["truncated"] for loss in group),
                },
            )
        )
    return found

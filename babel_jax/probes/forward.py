"""The one jitted pass of all probes: loss, LAPE's counts and sums, and lens candidates, for all languages at once.

A language is data (a row's index), so is a checkpoint: one executable serves every checkpoint of a run. Counters stay
on the device in int32; what leaves it is a few numbers a row or a slot, never anything of size B x T x F.
Letters as in `model/decoder.py`; R shards of rows, C candidates.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from babel_jax.common import statistics
from babel_jax.common.errors import UserError, unknown_name
from babel_jax.model import placement
from babel_jax.model.protocol import Model
from babel_jax.model.taps import ACTIVE, Inside, TapRequest
from babel_jax.probes import lens
from babel_jax.probes.lape import Counts
from babel_jax.probes.other_pairs import OTHERS
from babel_jax.probes.slot_names import unranked_candidates
from babel_jax.probes.subject import Subject, row_batches
from babel_jax.training.loss import segments, token_losses

SHARDS = 20  # groups of neighbouring rows with counters of their own, for intervals of everything made of counts
EXACT_TOKENS = 2**24  # a batch is counted in float32, whose integers end here
AT_SLOTS = ("ffn", "residual", "sentence")  # what a pass can also return at its slots


@functools.cache
def jitted_pass(model: Model, document_end: int, at_slots: tuple[str, ...], everywhere, active: str):
    """The jitted pass `(params, counters, batch) -> (counters, per row results)`, made once per shape of the model.

    `batch` holds `tokens`, `targets`, `loss`, `knowledge`, `sentence` [B, T], `language` [B] (-1: count nothing), `shard`
    [], `positions` [B, P], `candidates` [B, P, C] and `unranked` [B, P, O] (-1: none). `at_slots`: which of
    `AT_SLOTS` to return too. `everywhere`: the sharding of the results; counters lie as `counter_shardings` says. `active`: one
    of `taps.ACTIVE`.
    `jitted_pass(…)._cache_size()` is the number of executables: 1 however many checkpoints were measured.
    """

    mesh = getattr(everywhere, "mesh", None)

    def one_pass(params, counters, batch):
        tokens_BxT = batch["tokens"]
        inside_BxT = tokens_BxT != document_end  # an end of document predicts nothing and belongs to no language
        languages = counters["tokens_RxK"].shape[1]
        language_BxK = jax.nn.one_hot(batch["language"], languages, dtype=jnp.float32)
        weight_BxTxK = inside_BxT[:, :, None] * language_BxK[:, None, :]
        request = TapRequest(
            weight_BxTxK,
            batch["positions"],
            batch["sentence"] if "sentence" in at_slots else None,
            ffn_at_positions="ffn" in at_slots,
            active=active,
        )
        segment_BxT = segments(tokens_BxT, document_end)
        final_BxTxD, taps = model.forward(params, tokens_BxT, segment_BxT, Inside(request, mesh=mesh))

        asked = lens.Asked(batch["candidates"], batch["unranked"])
        results = lens.read_candidates(params, model, taps["residual_LxBxPxD"], asked, mesh)
        results |= {name: value for name, value in taps.items() if name.partition("_")[0] in at_slots}
        loss_BxT = token_losses(params, model, final_BxTxD, batch["targets"], mesh)
        for name in ("loss", "knowledge"):
            mask_BxT = batch[name] * inside_BxT
            results[f"{name}_sum_B"] = (loss_BxT * mask_BxT).sum(axis=1)
            results[f"{name}_count_B"] = mask_BxT.sum(axis=1)
        added = {
            "active_RxLxFxK": jnp.round(taps["active_LxFxK"]).astype(jnp.int32),
            "activation_sum_RxLxFxK": taps["activation_sum_LxFxK"],
            "tokens_RxK": weight_BxTxK.sum(axis=(0, 1)).astype(jnp.int32),
        }
        counters = {name: counters[name].at[batch["shard"]].add(added[name]) for name in counters}
        return counters, results

    return placement.jitted(
        one_pass, everywhere, donate_argnums=1, out_shardings=(counter_shardings(everywhere), everywhere)
    )


def counter_shardings(everywhere) -> dict:
    """Where the counters lie: neurons are split as the FFN is, so that they are summed over the batch's axes alone."""
    place = {"active_RxLxFxK": everywhere, "activation_sum_RxLxFxK": everywhere, "tokens_RxK": everywhere}
    if not isinstance(everywhere, NamedSharding):
        return place
    split = NamedSharding(everywhere.mesh, PartitionSpec(None, None, "tensor", None))
    return {name: split if "F" in name.rpartition("_")[2] else sharding for name, sharding in place.items()}


def input_shapes(model: Model, languages: int, batch_size: int) -> tuple[dict, dict]:
    """(shape, dtype) of all counters and of all parts of a batch of the pass, with one slot a row: its two identifiers, and those
    of other pairs."""
    B, T = batch_size, model.max_length
    neurons = (SHARDS, model.layers, model.ffn_width, languages)
    counters = {
        "active_RxLxFxK": (neurons, np.int32),
        "activation_sum_RxLxFxK": (neurons, np.float32),
        "tokens_RxK": ((SHARDS, languages), np.int32),
    }
    batch = {
        "tokens": ((B, T), np.int32),
        "targets": ((B, T), np.int32),
        "loss": ((B, T), np.float32),
        "knowledge": ((B, T), np.float32),
        "sentence": ((B, T), np.float32),
        "language": ((B,), np.int32),
        "positions": ((B, 1), np.int32),
        "candidates": ((B, 1, 2), np.int32),
        "unranked": ((B, 1, 2 * OTHERS), np.int32),
        "shard": ((), np.int32),
    }
    return counters, batch


def position_weights(tokens_BxT, position_B):
    """Weights of tokens in a sentence's vector, float32 [B, T], for `TapRequest.sentence_BxT`.

    1, 2, 3, … up to and at `position_B`: what follows (padding, or the identifier) weighs nothing.
    Works on NumPy arrays and inside `jit`.
    """
    t_T, position_Bx1 = np.arange(tokens_BxT.shape[1]), position_B[:, None]
    return ((t_T <= position_Bx1) * (t_T + 1)).astype(np.float32)


def _heldout_rows(heldout: dict, languages: list, slots: tuple):
    """All languages' held-out rows as one list in which every language is spread evenly, and each row's language.

    Any run of neighbouring rows then holds neighbouring rows of every language, in the languages' proportions: that
    makes shards of batches shards of every language's documents.
    """
    count = [len(heldout[name]["tokens"]) if name in heldout else 0 for name in languages]
    place = np.concatenate([(np.arange(n) + 0.5) / max(n, 1) for n in count])
    language = np.repeat(np.arange(len(languages), dtype=np.int32), count)
    order = np.argsort(place, kind="stable")
    rows = {
        name: np.concatenate([np.asarray(heldout[language][name]) for language in languages if language in heldout])[
            order
        ]
        for name in ("tokens", "loss", "knowledge")
    }
    tokens = rows["tokens"].astype(np.int32)
    return {
        "tokens": tokens[:, :-1],
        "targets": tokens[:, 1:],
        "loss": rows["loss"].astype(np.float32),
        "knowledge": rows["knowledge"].astype(np.float32),
        "sentence": np.zeros(rows["loss"].shape, np.float32),
        "language": language[order],
        "positions": np.zeros((len(tokens), slots[0]), np.int32),
        "candidates": np.full((len(tokens), *slots[:2]), -1, np.int32),
        "unranked": np.full((len(tokens), slots[0], slots[2]), -1, np.int32),
    }


def _candidates(slots: dict) -> tuple:
    """What a lens is to read at each slot, [N, P, C] and [N, P, O]: the slots' own `candidates` and no more, or both languages'
    identifiers and what is compared with them."""
    if "candidates" in slots:
        own_NxPxC = np.asarray(slots["candidates"], np.int32)
        return own_NxPxC, np.zeros((*own_NxPxC.shape[:2], 0), np.int32)
    return lens.slot_candidates(slots)[:, None], unranked_candidates(slots)[:, None]


def _sizes(slots: dict) -> tuple[int, int, int]:
    """P, C and O."""
    candidates_NxPxC, unranked_NxPxO = _candidates(slots)
    return (*candidates_NxPxC.shape[1:], unranked_NxPxO.shape[2])


def _slot_rows(slots: dict, shape: tuple):
    """Prompts as rows that count nothing; positions and candidates are filled up to `shape` (P, C, O)."""
    tokens = np.asarray(slots["tokens"], np.int32)
    position_NxP = np.asarray(slots["position"], np.int32).reshape(len(tokens), -1)
    candidates_NxPxC, unranked_NxPxO = _candidates(slots)
    missing = [wanted - size for wanted, size in zip(shape, _sizes(slots), strict=True)]
    nothing = np.zeros(tokens.shape, np.float32)
    return {
        "tokens": tokens,
        "targets": np.zeros_like(tokens),
        "loss": nothing,
        "knowledge": nothing,
        "sentence": position_weights(tokens, position_NxP[:, 0]),
        "language": np.full(len(tokens), -1, np.int32),
        "positions": np.pad(position_NxP, ((0, 0), (0, missing[0]))),
        "candidates": np.pad(candidates_NxPxC, ((0, 0), (0, missing[0]), (0, missing[1])), constant_values=-1),
        "unranked": np.pad(unranked_NxPxO, ((0, 0), (0, missing[0]), (0, missing[2])), constant_values=-1),
    }


@dataclasses.dataclass(frozen=True, eq=False)
class RowSums:
    """Sums over the targets of each held-out row of one language, [N], in the order in which the rows were given."""

    loss_sum: np.ndarray
    loss_count: np.ndarray
    knowledge_sum: np.ndarray
    knowledge_count: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Pass(Counts):
    """Everything the probes are made of, from one pass over a checkpoint.

    Attributes:
      activation_sum_RxLxFxK: sums of the neurons' values over the counted tokens, float64.
      rows: language -> sums of its held-out rows.
      slots: language -> what was read at its slots: `lens.SlotReadings`; of slots with candidates of their own
        `log_prob_LxNxPxC`, `rank_LxNxPxC`, … by name (see `lens.read_candidates`) and what else was asked for.
    """

    activation_sum_RxLxFxK: np.ndarray
    rows: dict[str, RowSums]
    slots: dict[str, "lens.SlotReadings | dict"]


def measure(
    subject: Subject, heldout: dict, slots: dict, at_slots: tuple[str, ...] = (), active: str = ACTIVE[0]
) -> Pass:
    """Streams held-out rows and slots through the pass.

    Args:
      heldout: language -> `tokens` [N, T+1], `loss` [N, T] (weight of each target in the loss), `knowledge` [N, T].
      slots: language of the prompts -> `tokens` [N, T] right-padded, `position`, `primary_id`, `new_id` [N] (or sets
        `primary_ids`, `new_ids` [N, M]); or, instead of identifiers, `position` [N, P] and `candidates` [N, P, C].
      at_slots: what else to return at the slots: "ffn" (the neurons' values), "residual" (stream after each block), "sentence"
        (its mean over the prompt, weighted by position).
      active: when a neuron counts as active, one of `taps.ACTIVE`.

    Raises:
      UserError: an unknown rule of `active`; the batch does not divide among the devices, or is too large to be counted exactly.
    """
    if active not in ACTIVE:
        raise unknown_name("rule of active neurons", active, ACTIVE)
    if subject.batch_size * subject.model.max_length >= EXACT_TOKENS:
        raise UserError(
            f"a probe batch of {subject.batch_size * subject.model.max_length} tokens cannot be counted exactly; "
            f"keep it under {EXACT_TOKENS}."
        )
    languages = sorted(set(heldout) | set(slots))
    sizes = [_sizes(here) for here in slots.values()] or [(1, 2, 0)]
    shape = tuple(int(size) for size in np.max(sizes, axis=0))  # the same for all: one executable
    run = _Running(subject, len(languages), tuple(at_slots), active)

    counted = _heldout_rows(heldout, languages, shape) if heldout else None
    batches = -(-len(counted["tokens"]) // subject.batch_size) if heldout else 0
    shards = max(1, min(SHARDS, batches))
    per_row = run.through(counted, "of_rows", lambda index: index * shards // batches) if heldout else []
    at_slots = {name: run.through(_slot_rows(here, shape), "at_slots") for name, here in slots.items()}
    return Pass(
        languages=languages,
        active=active,
        **run.counters(shards),
        rows=_row_sums(per_row, counted["language"], languages, heldout) if heldout else {},
        slots={name: _at_slots(_merged(parts, axis=1), slots[name]) for name, parts in at_slots.items() if parts},
    )


class _Running:
    """The pass at work: the counters on the devices, and rows that go through it."""

    def __init__(self, subject: Subject, languages: int, at_slots: tuple[str, ...], active: str):
        self.batch_size = subject.batch_size
        self.params, self.rows, self.everywhere = subject.placed()
        self.step = jitted_pass(subject.model, subject.document_end, at_slots, self.everywhere, active)
        shapes, _ = input_shapes(subject.model, languages, subject.batch_size)
        counters = {name: np.zeros(*shape) for name, shape in shapes.items()}
        self._counters = jax.device_put(counters, counter_shardings(self.everywhere))

    def through(self, rows: dict, wanted: str, shard_of=lambda index: 0) -> list:
        """[(rows kept of a batch, its results on the devices)], of which the rest is freed at once.

        Args:
          wanted: "of_rows": the sums of each row; "at_slots": what was read at its positions.
          shard_of: a batch's number -> whose counters it adds to.
        """
        kept_results = []
        for index, (kept, batch) in enumerate(row_batches(rows, self.batch_size, language=-1)):
            shard = jax.device_put(np.int32(shard_of(index)), self.everywhere)
            batch = jax.device_put(batch, self.rows) | {"shard": shard}
            self._counters, results = self.step(self.params, self._counters, batch)
            of_rows = wanted == "of_rows"
            kept_results.append(
                (kept, {name: value for name, value in results.items() if name.endswith("_B") == of_rows})
            )
        return kept_results

    def counters(self, shards: int) -> dict:
        """Always SHARDS of them on the device: how many rows there are must not change a shape."""
        host = {
            name: np.asarray(values)[:shards]
            for name, values in jax.device_put(self._counters, self.everywhere).items()
        }
        return {
            name: values.astype(np.float64 if values.dtype == np.float32 else np.int64) for name, values in host.items()
        }


def _merged(batches: list, axis: int) -> dict:
    """Results of batches as one, without what filled the last one up: of each row (axis 0), or of slots (axis 1)."""
    return {
        name: np.concatenate(
            [np.asarray(results[name])[(slice(None),) * axis + (slice(kept),)] for kept, results in batches], axis=axis
        )
        for name in batches[0][1]
    }


def _row_sums(batches: list, language_N, languages: list, heldout: dict) -> dict[str, RowSums]:
    """language -> its rows' sums: rows of one language kept their order when languages were spread."""
    merged = {name.removesuffix("_B"): values for name, values in _merged(batches, axis=0).items()}
    return {
        name: RowSums(**{part: values[language_N == index] for part, values in merged.items()})
        for index, name in enumerate(languages)
        if name in heldout
    }


def _at_slots(raw: dict, slots: dict):
    """What a pass read at slots, without the filling: of identifiers, or of the slots' own `candidates`."""
    P, *sizes = _sizes(slots)
    end = dict(zip(("PxC", "PxO"), sizes, strict=True))
    arrays = {
        name: value[:, :, :P, : end.get(name[-3:])] if name[-3:] in end else value[:, :, :P] if "xP" in name else value
        for name, value in raw.items()
    }
    if "candidates" in slots:
        return {name.replace("xB", "xN"): value for name, value in arrays.items() if not name.startswith("unranked")}
    one = {
        name.replace("xBxP", "xN").replace("xB", "xN"): v[:, :, 0] if "xP" in name else v for name, v in arrays.items()
    }
    return lens.slot_readings(one, slots)


def loss_rows(measured: Pass) -> list[dict]:
    """Held-out loss in nats per token, in all and on knowledge-bearing tokens: rows without run, seed and step.

    Intervals are over rows. A language without a knowledge-bearing token gets no `loss_knowledge`.
    """
    rows = []
    for language, sums in measured.rows.items():
        for metric, sum_N, count_N in (
            ("loss", sums.loss_sum, sums.loss_count),
            ("loss_knowledge", sums.knowledge_sum, sums.knowledge_count),
        ):
            if count := int(count_N.sum(dtype=np.float64)):
                value, low, high = statistics.mean_with_interval(sum_N, count_N)
                about = dict(probe="loss", language=language, metric=metric)
                rows.append(about | dict(value=value, n=count, ci_low=low, ci_high=high))
    return rows

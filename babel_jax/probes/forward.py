"""The one jitted pass of all probes: loss, LAPE's counts and sums, and lens candidates, for all languages at once.

A language is data (a row's index), so is a checkpoint: one executable serves every checkpoint of a run. Counters stay
on the device in int32; what leaves it is a few numbers a row or a slot, never anything of size B x T x F.
Letters as in `model/decoder.py`; R shards of rows, C candidates.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from babel_jax import statistics
from babel_jax.errors import UserError, unknown_name
from babel_jax.model import placement
from babel_jax.model.decoder import Decoder, DecoderConfig, TapRequest, compute_params
from babel_jax.probes import lens
from babel_jax.probes.subject import row_batches
from babel_jax.training.loss import segments, token_losses

SHARDS = 20  # groups of neighbouring rows with counters of their own, for intervals of everything made of counts
EXACT_TOKENS = 2**24  # a batch is counted in float32, whose integers end here


AT_SLOTS = ("ffn", "residual", "sentence")  # what a pass can also return at its slots


@functools.cache
def jitted_pass(config: DecoderConfig, document_end: int, at_slots: tuple[str, ...], everywhere):
    """The jitted pass `(params, counters, batch) -> (counters, per row results)`, made once per shape of the model.

    `batch` holds `tokens`, `targets`, `loss`, `knowledge`, `sentence` [B, T], `language` [B] (-1: count nothing), `shard`
    [], `positions` [B, P] and `candidates` [B, P, C] (-1: none). `at_slots`: which of `AT_SLOTS` to return too.
    `everywhere`: the sharding of the results; counters lie as `counter_shardings` says.
    `jitted_pass(…)._cache_size()` is the number of executables: 1 however many checkpoints were measured.
    """

    mesh = getattr(everywhere, "mesh", None)

    def one_pass(params, counters, batch):
        params = compute_params(params, config.dtype)
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
        )
        segment_BxT = segments(tokens_BxT, document_end)
        _, taps = Decoder(config, mesh).apply({"params": params}, tokens_BxT, segment_BxT, request)

        results = lens.read_candidates(params, config, taps["residual_LxBxPxD"], batch["candidates"], mesh)
        results |= {name: value for name, value in taps.items() if name.partition("_")[0] in at_slots}
        loss_BxT = token_losses(params, config, taps["final_BxTxD"], batch["targets"], mesh)
        for name, mask_BxT in (
            ("loss", batch["loss"]),
            ("knowledge", batch["knowledge"]),
        ):
            mask_BxT = mask_BxT * inside_BxT
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


def input_shapes(config: DecoderConfig, languages: int, batch_size: int, slots: tuple = (1, 2)) -> tuple[dict, dict]:
    """(shape, dtype) of all counters and of all parts of a batch of the pass; `slots`: (P, C) of a row."""
    B, T = batch_size, config.max_length
    neurons = (SHARDS, config.layers, config.ffn_width, languages)
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
        "positions": ((B, slots[0]), np.int32),
        "candidates": ((B, *slots), np.int32),
        "shard": ((), np.int32),
    }
    return counters, batch


POOLINGS = ("weighted", "last")


def position_weights(tokens_BxT, position_B, pooling: str = "weighted"):
    """Weights of tokens in a sentence's vector, float32 [B, T], for `TapRequest.sentence_BxT`.

    "weighted": 1, 2, 3, … up to and at `position_B`; "last": 1 at that position alone. What stands behind it (padding,
    or the identifier that is to come) weighs nothing. Works on NumPy arrays and inside `jit`.
    """
    t_T, position_Bx1 = np.arange(tokens_BxT.shape[1]), position_B[:, None]
    if pooling == "weighted":
        return ((t_T <= position_Bx1) * (t_T + 1)).astype(np.float32)
    if pooling == "last":
        return (t_T == position_Bx1).astype(np.float32)
    raise unknown_name("pooling", pooling, POOLINGS)


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
        "candidates": np.full((len(tokens), *slots), -1, np.int32),
    }


def _candidates(slots: dict):
    """What a lens is to read at each slot, [N, P, C]: `candidates` as given, or both languages' identifiers."""
    if "candidates" in slots:
        return np.asarray(slots["candidates"], np.int32)
    return lens.slot_candidates(slots)[:, None]


def _slot_rows(slots: dict, shape: tuple):
    """Prompts as rows that count nothing; positions and candidates are filled up to `shape` (P, C)."""
    tokens = np.asarray(slots["tokens"], np.int32)
    position_NxP = np.asarray(slots["position"], np.int32).reshape(len(tokens), -1)
    candidates_NxPxC = _candidates(slots)
    missing = [wanted - size for wanted, size in zip(shape, candidates_NxPxC.shape[1:], strict=True)]
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
    }


def _at_slots(raw: dict, slots: dict) -> dict:
    """What a pass found at slots, without the filling: of identifiers, or of `candidates` as they were given."""
    N, P, C = _candidates(slots).shape
    found = {
        name: value[:, :, :P, :C] if "PxC" in name else value[:, :, :P] if "xP" in name else value
        for name, value in raw.items()
    }
    if "candidates" in slots:
        return {name.replace("xB", "xN"): value for name, value in found.items()}
    one = {
        name.replace("xBxP", "xN").replace("xB", "xN"): v[:, :, 0] if "xP" in name else v for name, v in found.items()
    }
    results = lens.slot_results(one, slots)
    return results | {name: value for name, value in one.items() if name.partition("_")[0] in AT_SLOTS}


def measure(
    params: dict,
    config: DecoderConfig,
    heldout: dict,
    slots: dict,
    document_end: int = -1,
    batch_size: int = 64,
    at_slots: tuple[str, ...] = (),
) -> dict:
    """Streams held-out rows and slots through the pass and returns everything the probes are made of.

    Args:
      params: parameters on any mesh (or none); rows follow them.
      heldout: language -> `tokens` [N, T+1], `loss` [N, T] (weight of each target in the loss), `knowledge` [N, T].
      slots: language of the prompts -> `tokens` [N, T] right-padded, `position`, `primary_id`, `new_id` [N] (or sets
        `primary_ids`, `new_ids` [N, M]); or, instead of identifiers, `position` [N, P] and `candidates` [N, P, C].
      document_end: id of the token that ends a document, or -1.
      batch_size: rows a step; the last batch of a kind is filled up with rows that count nothing.
      at_slots: what else to return at the slots: "ffn" (activations), "residual" (stream after each block), "sentence"
        (its mean over the prompt, weighted by position).

    Returns:
      `languages`: their names in the order of axis K.
      `rows`: language -> `loss_sum`, `loss_count`, `knowledge_sum`, `knowledge_count`, each [N], in the order given.
      `active_RxLxFxK` (int64): tokens with a positive FFN pre-activation; `activation_sum_RxLxFxK`; `tokens_RxK`
        (int64): tokens counted. R shards of neighbouring rows, at most `SHARDS` and at most one a batch.
      `slots`: language -> `lens.slot_results` (`primary_log_prob_LxN`, `new_log_prob_LxN`, `argmax_LxN`, …) and, when asked
        for, `ffn_LxNxF`, `residual_LxNxD`, `sentence_LxNxD`; of `candidates`: `log_prob_LxNxPxC`, `rank_LxNxPxC`, ….

    Raises:
      UserError: the batch does not divide among the devices, or is too large to be counted exactly.
    """
    languages = sorted(set(heldout) | set(slots))
    params, rows, everywhere = placement.on_devices(params, batch_size)
    step = jitted_pass(config, document_end, tuple(at_slots), everywhere)

    def run(counters, batch, shard):
        if batch["tokens"].size >= EXACT_TOKENS:
            raise UserError(
                f"a probe batch of {batch['tokens'].size} tokens cannot be counted exactly; "
                f"keep it under {EXACT_TOKENS}."
            )
        batch = jax.device_put(batch, rows) | {"shard": jax.device_put(np.int32(shard), everywhere)}
        return step(params, counters, batch)

    sizes = [_candidates(found).shape[1:] for found in slots.values()] or [(1, 2)]
    shape = tuple(int(size) for size in np.max(sizes, axis=0))  # the same for all: one executable
    counted = _heldout_rows(heldout, languages, shape) if heldout else None
    steps = -(-len(counted["tokens"]) // batch_size) if heldout else 0
    shards = max(1, min(SHARDS, steps))
    shapes, _ = input_shapes(config, len(languages), batch_size)
    counters = {name: np.zeros(*shape) for name, shape in shapes.items()}
    counters = jax.device_put(counters, counter_shardings(everywhere))

    per_row = []
    for index, (kept, batch) in enumerate(row_batches(counted, batch_size, language=-1) if heldout else ()):
        counters, results = run(counters, batch, index * shards // steps)
        per_row.append((kept, {name: results[name] for name in results if name.endswith("_B")}))
    at_slots = {name: [] for name in slots}
    for name in slots:
        for kept, batch in row_batches(_slot_rows(slots[name], shape), batch_size, language=-1):
            counters, results = run(counters, batch, 0)
            at_slots[name].append((kept, {key: results[key] for key in results if not key.endswith("_B")}))

    measured = {"languages": languages, "rows": {}, "slots": {}}
    for name, values in jax.device_put(counters, everywhere).items():
        # Always SHARDS on the device: how many rows there are must not change a shape.
        values = np.asarray(values)[:shards]
        measured[name] = values.astype(np.float64 if values.dtype == np.float32 else np.int64)
    if heldout:
        merged = {
            key.removesuffix("_B"): np.concatenate([np.asarray(results[key])[:kept] for kept, results in per_row])
            for key in per_row[0][1]
        }
        for index, name in enumerate(languages):
            if name in heldout:  # rows of one language kept their order when languages were spread
                mine = counted["language"] == index
                measured["rows"][name] = {key: values[mine] for key, values in merged.items()}
    for name, batches in at_slots.items():
        if batches:
            merged = {
                key: np.concatenate([np.asarray(results[key])[:, :kept] for kept, results in batches], axis=1)
                for key in batches[0][1]
            }
            measured["slots"][name] = _at_slots(merged, slots[name])
    return measured


def loss_rows(measured: dict) -> list[dict]:
    """Held-out loss in nats per token, in all and on knowledge-bearing tokens: rows without run, seed and step.

    Intervals are over rows. A language without a knowledge-bearing token gets no `loss_knowledge`.
    """
    rows = []
    for language, values in measured["rows"].items():
        for metric, part in (("loss", "loss"), ("loss_knowledge", "knowledge")):
            count = int(values[f"{part}_count"].sum(dtype=np.float64))
            if count:
                mean, low, high = statistics.mean_with_interval(values[f"{part}_sum"], values[f"{part}_count"])
                rows.append(
                    dict(
                        probe="loss",
                        language=language,
                        metric=metric,
                        value=mean,
                        n=count,
                        ci_low=low,
                        ci_high=high,
                    )
                )
    return rows

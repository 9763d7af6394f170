"""The one jitted pass of all probes: loss, LAPE's counts and sums, and lens candidates, for all languages at once.

A language is data (a row's index), so is a checkpoint: one executable serves every checkpoint of a run. Counters stay
on the device in int32; what leaves it is a few numbers a row or a slot, never anything of size B x T x F.
Letters as in `model/decoder.py`; R shards of rows, C candidates.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec, SingleDeviceSharding

from babel_jax.errors import UserError
from babel_jax.model.decoder import Decoder, DecoderConfig, TapRequest, compute_params
from babel_jax.model.sharding import COMPILER_OPTIONS
from babel_jax.probes import lens, statistics
from babel_jax.training import preemption
from babel_jax.training.loss import segments, token_loss

SHARDS = 20  # groups of neighbouring rows with counters of their own, for intervals of everything made of counts
EXACT_TOKENS = 2**24  # a batch is counted in float32, whose integers end here


@functools.cache
def jitted_pass(config: DecoderConfig, document_end: int, activations: bool, everywhere):
    """The jitted pass `(params, counters, batch) -> (counters, per row results)`, made once per shape of the model.

    `batch` holds `tokens`, `targets`, `loss`, `knowledge` [B, T], `language` [B] (-1: count nothing), `shard` [],
    `positions` [B, P] and `candidates` [B, P, C]. `everywhere`: the sharding of the results.
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
        request = TapRequest(weight_BxTxK, batch["positions"], ffn_at_positions=activations)
        segment_BxT = segments(tokens_BxT, document_end)
        logits_BxTxV, taps = Decoder(config, mesh).apply({"params": params}, tokens_BxT, segment_BxT, request)

        results = lens.read_candidates(params, config, taps["residual_LxBxPxD"], batch["candidates"], mesh)
        if activations:
            results["ffn_LxBxPxF"] = taps["ffn_LxBxPxF"]
        loss_BxT = token_loss(logits_BxTxV, batch["targets"])
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

    platform = mesh.devices.flat[0].platform if mesh else None
    return jax.jit(
        one_pass, donate_argnums=1, out_shardings=everywhere, compiler_options=COMPILER_OPTIONS.get(platform)
    )


def input_shapes(config: DecoderConfig, languages: int, batch_size: int) -> tuple[dict, dict]:
    """(shape, dtype) of all counters and of all parts of a batch of the pass with one slot a row."""
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
        "language": ((B,), np.int32),
        "positions": ((B, 1), np.int32),
        "candidates": ((B, 1, 2), np.int32),
        "shard": ((), np.int32),
    }
    return counters, batch


def placement(params, batch_size: int):
    """Where rows and where everything else goes on the devices that hold `params`: two shardings.

    Rows are split over the mesh's axes `data` and `fsdp`; without a mesh there is one device.

    Raises:
      UserError: the batch does not divide among the devices.
    """
    sharding = getattr(jax.tree.leaves(params)[0], "sharding", None)
    if not isinstance(sharding, NamedSharding):
        sharding = sharding or SingleDeviceSharding(jax.devices()[0])
        return sharding, sharding
    mesh = sharding.mesh
    axes = tuple(axis for axis in ("data", "fsdp") if axis in mesh.shape)
    devices = int(np.prod([mesh.shape[axis] for axis in axes]))
    if batch_size % devices:
        raise UserError(
            f"probe batch size {batch_size} is not divisible by the {devices} devices of the data axes; "
            f"choose a multiple of {devices}."
        )
    return NamedSharding(mesh, PartitionSpec(axes)), NamedSharding(mesh, PartitionSpec())


def row_batches(rows: dict, batch_size: int, **padding):
    """Yields `(kept, batch)` of exactly `batch_size` rows; the last one is filled up with zeros, or with `padding`."""
    total = len(next(iter(rows.values())))
    for start in range(0, total, batch_size):
        preemption.check()  # between the batches of every measurement
        kept = min(batch_size, total - start)
        yield (
            kept,
            {
                name: np.concatenate(
                    [values[start : start + kept]]
                    + [
                        np.full(
                            (batch_size - kept, *values.shape[1:]),
                            padding.get(name, 0),
                            values.dtype,
                        )
                    ]
                    * (kept < batch_size)
                )
                for name, values in rows.items()
            },
        )


def _heldout_rows(heldout: dict, languages: list):
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
        "language": language[order],
        "positions": np.zeros((len(tokens), 1), np.int32),
        "candidates": np.zeros((len(tokens), 1, 2), np.int32),
    }


def _slot_rows(slots: dict):
    tokens = np.asarray(slots["tokens"], np.int32)
    nothing = np.zeros(tokens.shape, np.float32)
    return {
        "tokens": tokens,
        "targets": np.zeros_like(tokens),
        "loss": nothing,
        "knowledge": nothing,
        "language": np.full(len(tokens), -1, np.int32),
        "positions": np.asarray(slots["position"], np.int32)[:, None],
        "candidates": np.stack([slots["primary_id"], slots["new_id"]], axis=-1).astype(np.int32)[:, None],
    }


def measure(
    params: dict,
    config: DecoderConfig,
    heldout: dict,
    slots: dict,
    document_end: int = -1,
    batch_size: int = 64,
    activations: bool = False,
) -> dict:
    """Streams held-out rows and slots through the pass and hands out everything the probes are made of.

    Args:
      params: parameters on any mesh (or none); rows follow them.
      heldout: language -> `tokens` [N, T+1], `loss` [N, T] (weight of each target in the loss), `knowledge` [N, T].
      slots: language of the prompts -> `tokens` [N, T] right-padded, `position`, `primary_id`, `new_id` [N].
      document_end: id of the token that ends a document, or -1.
      batch_size: rows a step; the last batch of a kind is filled up with rows that count nothing.
      activations: also hand out the FFN's activations at the slots.

    Returns:
      `languages`: their names in the order of axis K.
      `rows`: language -> `loss_sum`, `loss_count`, `knowledge_sum`, `knowledge_count`, each [N], in the order given.
      `active_RxLxFxK` (int64): tokens with a positive FFN pre-activation; `activation_sum_RxLxFxK`; `tokens_RxK`
        (int64): tokens counted. R shards of neighbouring rows, at most `SHARDS` and at most one a batch.
      `slots`: language -> `primary_log_prob_LxN`, `new_log_prob_LxN`, `argmax_LxN`, `logsumexp_LxN` and, when asked
        for, `ffn_LxNxF`.

    Raises:
      UserError: the batch does not divide among the devices, or is too large to be counted exactly.
    """
    languages = sorted(set(heldout) | set(slots))
    rows, everywhere = placement(params, batch_size)
    if isinstance(everywhere, SingleDeviceSharding):
        params = jax.device_put(params, everywhere)
    step = jitted_pass(config, document_end, activations, everywhere)

    def run(counters, batch, shard):
        if batch["tokens"].size >= EXACT_TOKENS:
            raise UserError(
                f"a probe batch of {batch['tokens'].size} tokens cannot be counted exactly; "
                f"keep it under {EXACT_TOKENS}."
            )
        batch = jax.device_put(batch, rows) | {"shard": jax.device_put(np.int32(shard), everywhere)}
        return step(params, counters, batch)

    counted = _heldout_rows(heldout, languages) if heldout else None
    steps = -(-len(counted["tokens"]) // batch_size) if heldout else 0
    shards = max(1, min(SHARDS, steps))
    shapes, _ = input_shapes(config, len(languages), batch_size)
    counters = jax.device_put({name: np.zeros(*shape) for name, shape in shapes.items()}, everywhere)

    per_row = []
    for index, (kept, batch) in enumerate(row_batches(counted, batch_size, language=-1) if heldout else ()):
        counters, results = run(counters, batch, index * shards // steps)
        per_row.append((kept, {name: results[name] for name in results if name.endswith("_B")}))
    at_slots = {name: [] for name in slots}
    for name in slots:
        for kept, batch in row_batches(_slot_rows(slots[name]), batch_size, language=-1):
            counters, results = run(counters, batch, 0)
            at_slots[name].append((kept, {key: results[key] for key in results if not key.endswith("_B")}))

    measured = {"languages": languages, "rows": {}, "slots": {}}
    for name, values in counters.items():
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
                key: np.concatenate(
                    [np.asarray(results[key])[:, :kept, 0] for kept, results in batches],
                    axis=1,
                )
                for key in batches[0][1]
            }
            measured["slots"][name] = {
                "primary_log_prob_LxN": merged["log_prob_LxBxPxC"][..., 0],
                "new_log_prob_LxN": merged["log_prob_LxBxPxC"][..., 1],
                "argmax_LxN": merged["argmax_LxBxP"],
                "logsumexp_LxN": merged["logsumexp_LxBxP"],
            }
            if activations:
                measured["slots"][name]["ffn_LxNxF"] = merged["ffn_LxBxPxF"]
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

"""A probe's folder with planted numbers, as `probe` writes it, without a model: for what reads it."""

import json

import numpy as np

from babel_jax.common import files, measurements
from babel_jax.measuring import probe_record
from babel_jax.probes import artefacts, causes, drift, neuron_rows
from babel_jax.probes.lape import Counts

LAYERS, WIDTH, SHARDS, PAIRS, EACH = 3, 60, 6, 4, 5
TOKENS = 1_000_000  # a step
IDENTIFIERS = (("len", "strlen"), ("upper", "strtoupper"), ("<b>&", "trim"), ("split", "explode"))


def write(out, run="pretrain", group="seed0", seed=0, steps=(0, 10, 100), languages=("python", "php"), **more) -> None:
    """One run of one seed. `more`: `prompts`, `causes`, `bytes`, `tokens`, `tasks`: False for a probe without them; `about`:
    fields of its artefacts' descriptions."""
    has = {"prompts": True, "causes": True, "bytes": True, "tokens": True, "tasks": True} | more
    place, about = out / group / run, has.get("about", {})
    counts_C, rows_C = [], []
    for c, step in enumerate(steps):
        generator = np.random.default_rng([seed, c])
        tokens = step * TOKENS if has["tokens"] else 0
        active = generator.integers(0, 40, (SHARDS, LAYERS, WIDTH, len(languages)))
        counts = Counts(sorted(languages), active, np.full((SHARDS, len(languages)), 40))
        arrays = {"active_RxLxFxK": active, "tokens_RxK": counts.tokens_RxK}
        rows = _losses(languages, c, has["bytes"])
        rows += neuron_rows.sensitivity_rows(counts, languages[0], draws=4) + drift.overlap_rows(
            counts, languages[0], draws=4
        )
        if has["prompts"]:
            arrays |= _readings(languages, generator)
            rows += _lens(languages, c) + _alignment(languages, c)
        if has["tasks"]:
            rows += _tasks(languages, c)
        if has["causes"]:
            rows += _causes(languages)
        described = {
            "run": run,
            "step": step,
            "tokens": tokens,
            "primary": languages[0],
            "model": "m",
            "layers": LAYERS,
        }
        described |= {"ffn_width": WIDTH, "languages": sorted(languages), "active": "activation", "dtype": "float32"}
        artefacts.save(place / f"step_{step:08d}.npz", arrays, described | {"neuron": "gelu(in)"} | about)
        counts_C.append(counts)
        rows_C.append(rows)
    moved_C = drift.drift_rows(counts_C, languages[0], draws=4)
    for step, counts, rows, moved in zip(steps, counts_C, rows_C, moved_C, strict=True):
        rows = rows + neuron_rows.count_rows(counts, languages[0], draws=4) + moved
        common = dict(run=run, seed=seed, step=step, tokens=step * TOKENS if has["tokens"] else 0)
        table = measurements.table([measurements.row(**common, **row) for row in rows])
        measurements.write(place / "measurements" / f"step_{step:08d}.parquet", table)
    files.write_json(place / probe_record.NAME, _record(languages, has))


def _losses(languages, c: int, has_bytes: bool) -> list[dict]:
    rows = []
    for k, language in enumerate(languages):
        metrics = [("loss", "loss"), ("loss", "loss_knowledge")] + [("evaluation", "bits_per_byte")] * has_bytes
        for probe, metric in metrics:
            value = 3.217 - 0.319 * c + 0.123 * k
            rows.append(dict(probe=probe, language=language, metric=metric, value=value, n=640, ci_low=value - 0.1,
                             ci_high=value + 0.1))  # fmt: skip
    return rows


def _lens(languages, c: int) -> list[dict]:
    """Shares that fall over checkpoints and layers; the concept share turns negative."""
    rows = []
    for k, language in enumerate(languages):
        for layer in (-1, *range(1, LAYERS + 1)):
            share, others = 0.87 - 0.11 * c - 0.05 * layer + 0.01 * k, 0.61 - 0.01 * c
            metrics = {"primary_share_pair": share, "primary_share_others": others, "concept_share": share - others}
            metrics |= {"primary_share_prob": share - 0.02, "primary_share_argmax": share, "argmax_coverage": 0.5}
            probe = "working_language" if layer == -1 else "lens"
            options = {"subset": "all"} | ({"layers": "1..2"} if layer == -1 else {})
            bounds = [(metric, value, 0.07, options) for metric, value in metrics.items()]
            if len(languages) > 2 and layer > 0:
                shares = np.arange(len(languages), 0, -1) / sum(range(len(languages) + 1))
                bounds += [
                    ("language_share_prob", one, 0.03, options | {"identifier": name})
                    for name, one in zip(languages, shares, strict=True)
                ]
            rows += [
                dict(
                    probe=probe,
                    language=language,
                    layer=layer,
                    metric=metric,
                    value=value,
                    n=PAIRS * EACH,
                    ci_low=value - half,
                    ci_high=value + half,
                    options=of,
                )  # fmt: skip
                for metric, value, half, of in bounds
            ]
    return rows


def _alignment(languages, c: int) -> list[dict]:
    return [
        dict(probe="alignment", language=language, layer=layer, metric="mexa", value=0.31 + 0.2 * c, n=20,
             ci_low=0.21 + 0.2 * c, ci_high=0.41 + 0.2 * c, options={"chance": 0.05, "primary": languages[0]})
        for language in languages[1:]
        for layer in (-1, *range(1, LAYERS + 1))
    ]  # fmt: skip


def _tasks(languages, c: int) -> list[dict]:
    """Translated words in every language, of which fewer are copied later; sentences found in the new ones."""
    values = {"task_word": 0.31 + 0.17 * c, "task_word_copied": 0.57 - 0.19 * c, "bits_per_byte_word": 2.713 - 0.4 * c}
    rows = [
        dict(probe="evaluation", language=language, metric=metric, value=value, n=83, ci_low=value - 0.09,
             ci_high=value + 0.09, options={"subset": "all"})
        for language in languages
        for metric, value in values.items()
    ]  # fmt: skip
    return rows + [
        row | {"metric": "retrieval", "options": row["options"] | {"chance": 0.02}} for row in _alignment(languages, c)
    ]


def _causes(languages) -> list[dict]:
    random_R = np.linspace(-0.01, 0.02, 20)
    return [
        dict(probe="intervention", language=language, metric=metric, value=value, n=640, ci_low=value - 0.02,
             ci_high=value + 0.02, options={"kind": "zero", "set": own, "size": 4} | causes.against_random(value, random_R))
        for own in languages
        for language in languages
        for metric, value in (("loss_change", 0.0731 if own == language else 0.0042), ("accuracy_change", -0.05))
    ]  # fmt: skip


def _readings(languages, generator) -> dict:
    N = PAIRS * EACH
    arrays = {}
    for language in languages:
        for side in ("primary", "new"):
            arrays[f"{language}.{side}_log_prob_LxN"] = generator.normal(-3, 1, (LAYERS, N)).astype(np.float32)
            arrays[f"{language}.{side}_rank_LxN"] = generator.integers(0, 4, (LAYERS, N)).astype(np.int32)
    return arrays


def _record(languages, has: dict) -> dict:
    pairs = [
        {"pair": pair, "primary": names[0], "new": names[1], "prompts": EACH} for pair, names in enumerate(IDENTIFIERS)
    ]
    texts = {"rows": 64, "tokens": 640, "bytes": 2560 if has["bytes"] else None}
    texts |= {"prompts": PAIRS * EACH * has["prompts"], "pairs": pairs if has["prompts"] else []}
    texts["pair_N"] = np.repeat(np.arange(PAIRS), EACH).tolist() if has["prompts"] else []
    model = {"family": "llama", "layers": LAYERS, "width": 24, "heads": 2, "kv_heads": 2, "ffn_width": WIDTH}
    record = {"model": model | {"vocab_size": 311, "max_length": 32}, "primary": languages[0]}
    names = ["/".join(pair) for pair in IDENTIFIERS] + ["join/implode"]
    counted = {"names": names, "prompts": dict.fromkeys(languages, [EACH * has["prompts"]] * PAIRS + [0])}
    about = {"pairs": {"-".join(languages[:2]): counted}, "messages": ["one file of 37 could not be read."]}
    record |= {"texts": dict.fromkeys(sorted(languages), texts), "options": {}, "about": about}
    return json.loads(json.dumps(record))

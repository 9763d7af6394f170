"""Scores of causes: how much a change of neurons or states matters, always against chance.

All functions but the first two write measurement rows (probe "intervention", without run, seed and step). A score of a set of
neurons is paired (the same rows, slots or problems before and after) and stands beside the same score of at least `DRAWS`
random sets with as many neurons in each layer: `z`, `p` and `direction` in the row's options. What is done to the neurons
is a kind of `interventions.edit` and its options. Letters as in `model/decoder.py`; R random
sets, N rows or slots, Q problems, W identifiers of a problem, A tokens of an answer.
"""

import warnings
from collections.abc import Callable

import jax
import numpy as np

from babel_jax import statistics
from babel_jax.errors import UserError
from babel_jax.material import Problems
from babel_jax.model.decoder import DecoderConfig
from babel_jax.model.placement import layout, on_devices
from babel_jax.probes.interventions import (
    BATCH_ROWS,
    DRAWS,
    checked_positions,
    checked_tokens,
    edit,
    jitted_recovery,
    joined,
    loss_inputs,
    random_sets,
    score_rows,
    slot_inputs,
    slot_scores,
)
from babel_jax.probes.subject import row_batches

# ---- Statistics -------------------------------------------------------------------------------------------------------


def against_random(observed: float, random_R) -> dict:
    """How a score stands among those of random sets.

    Returns:
      `z`: distance from the random sets' mean in their standard deviations; None where they do not differ (JSON has no
        infinity); `p` and `direction` then say what there is to say;
      `p`: two-sided, (1 + number of random sets as far from the mean of all 1 + R scores as the observed one) / (1 + R);
      `p_higher`: one-sided, (1 + number of random sets as high or higher) / (1 + R);
      `direction`: "higher" or "lower" than the random sets' mean, or "equal"; `random_mean`, `random_sd`, `draws`.
      Where a score is undefined (NaN), so are `z` and both p: None.
    """
    random_R = np.asarray(random_R, np.float64)
    mean, sd, R = float(random_R.mean()), float(random_R.std(ddof=1)), len(random_R)
    if not np.isfinite([observed, mean]).all():
        return {"z": None, "p": None, "p_higher": None, "draws": R}
    # The centre treats all scores alike: without an effect each is as likely as any other to lie farthest from it.
    if np.ptp(random_R) <= 1e-12 * np.abs(random_R).max():  # equal but for what summing them rounds off
        random_R = np.full(R, random_R[0])
        mean, sd = float(random_R[0]), 0.0
    centre = (observed + random_R.sum()) / (1 + R)
    as_far = np.abs(random_R - centre) >= np.abs(observed - centre)
    return {
        "z": (observed - mean) / sd if sd > 0 else None,
        "p": (1 + int(as_far.sum())) / (1 + R),
        "p_higher": (1 + int((random_R >= observed).sum())) / (1 + R),
        "direction": "higher" if observed > mean else "lower" if observed < mean else "equal",
        "random_mean": mean,
        "random_sd": sd,
        "draws": R,
    }


def _cluster_mean(values_N, cluster_N, weight_DxC):
    """The mean and its 95 % interval when clusters are resampled: `(mean, low, high)`."""
    values_2xN = np.stack([values_N, np.ones(len(values_N))])
    sums_2xC = statistics.cluster_sums(values_2xN, cluster_N, weight_DxC.shape[1])
    drawn_Dx1 = statistics.ratio(*(weight_DxC @ sums_2xC.T).T)[:, None]
    low, high = statistics.interval(drawn_Dx1)
    return float(np.mean(values_N)), float(low[0]), float(high[0])


def _slot_clusters(slots: dict):
    """Slots are resampled by pair, then by prompt; where they name none, each is on its own."""
    numbers_N = np.arange(len(slots["position"]))
    return statistics.two_level_weights(slots.get("pair", numbers_N), slots.get("prompt", numbers_N))


def _slot_subsets(slots: dict, kept_N) -> dict:
    subset_N = np.asarray(slots.get("subset", np.zeros(len(kept_N), int)))
    return _subsets(subset_N == 1, kept_N)


def _subsets(transfer_N, kept_N=None) -> dict:
    """All, and where there are both, those that the new language's own corpus tells and those that need the primary's."""
    kept_N = np.ones(len(transfer_N), bool) if kept_N is None else kept_N
    if not kept_N.any():
        return {}
    parts = {"shared": kept_N & ~transfer_N, "transfer": kept_N & transfer_N}
    return {"all": kept_N} | (parts if all(part_N.any() for part_N in parts.values()) else {})


# ---- Scores of sets of neurons ----------------------------------------------------------------------------------------


def _edits(params, config, sets: dict, kind: str, draws: int, seed: int, batch_size: int, options: dict):
    """The edits of nothing, of every set and of its random sets, on the devices; and what describes each set's rows.

    Nothing is edited by the same executable: what has no effect then changes nothing at all, bit for bit.
    """
    options = {key: value for key, value in options.items() if value is not None}
    if rowwise := options.keys() & {"where_BxT", "source_B"}:
        raise UserError(f"{' and '.join(sorted(rowwise))} belong to one batch; leave them out here.")
    _check_sets(config, sets)
    edits = [edit(kind, np.zeros((config.layers, config.ffn_width), bool), **options)]
    about = {}
    for name, neurons_LxF in sets.items():
        changes = [edit(kind, neurons_LxF, **options)]
        if not np.any(neurons_LxF):
            warnings.warn(f"the set of neurons '{name}' is empty: its scores are 0", stacklevel=3)
        changes += [edit(kind, random_LxF, **options) for random_LxF in random_sets(neurons_LxF, draws, seed)]
        about[name] = {"kind": kind, "set": name, "size": int(np.sum(neurons_LxF))}
        about[name] |= {key: float(value) for key, value in options.items() if np.ndim(value) == 0}
        edits += changes
    _, everywhere = layout(params, batch_size)
    return jax.device_put(edits, everywhere), about


def _check_sets(config, sets: dict) -> None:
    if not sets:
        raise UserError("there is no set of neurons to change; give at least one by name.")
    for name, neurons_LxF in sets.items():
        if np.shape(neurons_LxF) != (config.layers, config.ffn_width):
            raise UserError(
                f"'{name}' {np.shape(neurons_LxF)} is a neuron set of another model; this one has "
                f"{config.layers} layers of {config.ffn_width} neurons."
            )


def _by_set(scores: list, sets: dict) -> tuple:
    """What `_edits` were scored: the score of nothing, and {set: [its score, those of its random sets …]}."""
    size = (len(scores) - 1) // len(sets)
    return scores[0], {name: scores[1 + i * size : 1 + (i + 1) * size] for i, name in enumerate(sets)}


def _with_sources(config, rows: dict, kind: str, sources) -> dict:
    """Rows beside which lie those that a resampling takes its activations from."""
    if (kind == "resample") != (sources is not None):
        raise UserError("sources are given for intervention 'resample', and only for it.")
    if sources is None:
        return rows
    sources_NxT = checked_tokens(config, np.asarray(sources)[:, : rows["tokens"].shape[1]])
    if sources_NxT.shape != rows["tokens"].shape:
        raise UserError(f"sources {sources_NxT.shape} do not pair with rows {rows['tokens'].shape}; give one a row.")
    return rows | {"source": sources_NxT}


def _row(metric: str, language: str, interval: tuple, n: int, options: dict) -> dict:
    value, low, high = interval
    return dict(
        probe="intervention",
        language=language,
        metric=metric,
        value=float(value),
        n=int(n),
        ci_low=float(low),
        ci_high=float(high),
        options=options,
    )


def loss_change_rows(
    params: dict,
    config: DecoderConfig,
    heldout: dict,
    sets: dict,
    kind: str = "zero",
    *,
    sources: dict | None = None,
    draws: int = DRAWS,
    seed: int = 0,
    document_end: int = -1,
    batch_size: int = BATCH_ROWS,
    **options,
) -> list[dict]:
    """The matrix of changes in held-out loss, sets by languages, in nats a token: rows "loss_change" and "selectivity".

    Intervals are over rows of the paired differences, row by row. "selectivity", of a set that bears a language's name: the
    change in that language's loss minus the mean of the others'.

    Args:
      heldout: language -> `tokens` [N, T + 1], `loss` [N, T] (weight of each target).
      sets: name -> mask [L, F]; a language's own set has its name.
      kind, options: as for `edit`.
      sources: for resample: language -> tokens [N, T or T + 1], the row that each row takes its activations from.
    """
    edits, about = _edits(params, config, sets, kind, draws, seed, batch_size, options)
    changes, counts = {}, {}  # set -> language -> [its change and those of the random sets, each [N]]; tokens
    before = {}
    for language, values in heldout.items():
        rows = loss_inputs(config, values, document_end)
        rows = _with_sources(config, rows, kind, None if sources is None else sources[language])
        plain, scored = _by_set(score_rows(params, config, rows, edits, document_end, batch_size), sets)
        counts[language] = plain["loss_count"]
        before[language] = plain["loss_sum"].sum() / plain["loss_count"].sum()
        for name, results in scored.items():
            changes.setdefault(name, {})[language] = [result["loss_sum"] - plain["loss_sum"] for result in results]

    found = []
    for name, by_language in changes.items():
        mean = {  # language -> change in nats a token: of the set, of its random sets
            language: np.sum(change, axis=1) / counts[language].sum() for language, change in by_language.items()
        }
        interval = {
            language: statistics.mean_with_interval(change[0], counts[language])
            for language, change in by_language.items()
        }
        for language in heldout:
            value = interval[language][0]
            options_ = about[name] | against_random(value, mean[language][1:])
            options_ |= {
                "before": before[language],
                "after": before[language] + value,
                "perplexity_ratio": np.exp(value),
            }
            found.append(_row("loss_change", language, interval[language], counts[language].sum(), options_))
        others = [language for language in heldout if language != name]
        if name in heldout and others:
            selectivity_1R = mean[name] - np.mean([mean[language] for language in others], axis=0)
            half = {language: (high - low) / 2 for language, (_, low, high) in interval.items()}
            # Rows of different languages are drawn apart from each other: variances add up.
            width = np.sqrt(half[name] ** 2 + sum(half[language] ** 2 for language in others) / len(others) ** 2)
            value = float(selectivity_1R[0])
            options_ = about[name] | {"others": ",".join(others)} | against_random(value, selectivity_1R[1:])
            found.append(_row("selectivity", name, (value, value - width, value + width), counts[name].sum(), options_))
    return found


def slot_change_rows(
    params: dict,
    config: DecoderConfig,
    slots: dict,
    language: str,
    primary: str,
    sets: dict,
    kind: str = "zero",
    *,
    sources: dict | None = None,
    where_NxT=None,
    draws: int = DRAWS,
    seed: int = 0,
    document_end: int = -1,
    batch_size: int = BATCH_ROWS,
    **options,
) -> list[dict]:
    """How sets of neurons change what the model writes at identifier slots, by subset of the slots.

    Metrics (see `slot_scores`): "logit_difference_change" over the slots whose identifiers differ, "margin_change",
    "accuracy_change"; with `sources` also "patch_recovery" (see `recovery_rows`). Intervals resample pairs, then prompts.

    Args:
      slots: prompts in `language`; `pair`, `prompt`, `subset` [N] where known.
      sets, kind, options: as for `loss_change_rows`.
      sources: for resample: the slots that each slot takes its activations from, with the same positions.
      where_NxT: the tokens at which the neurons are changed; None: at all.
    """
    right = "primary" if language == primary else "new"
    rows = slot_inputs(config, slots, right)
    if sources is not None:
        if not np.array_equal(sources["position"], slots["position"]):
            raise UserError("resample takes activations from the same position; pair slots at equal positions.")
        clean = slot_scores(params, config, sources, right, document_end=document_end, batch_size=batch_size)
    rows = _with_sources(config, rows, kind, None if sources is None else sources["tokens"])
    edits, about = _edits(params, config, sets, kind, draws, seed, batch_size, options)
    if where_NxT is not None:
        if np.shape(where_NxT) != rows["tokens"].shape:
            raise UserError(
                f"where_NxT {np.shape(where_NxT)} must say of each of {rows['tokens'].shape} tokens whether."
            )
        rows["where"] = np.asarray(where_NxT, bool)
    before, scored = _by_set(score_rows(params, config, rows, edits, document_end, batch_size), sets)
    differ_N = _differ(rows)
    clusters = _slot_clusters(slots)
    found = []
    for name, results in scored.items():
        found += _change_rows(
            before,
            results,
            {
                "logit_difference": _slot_subsets(slots, differ_N),
                "margin": _slot_subsets(slots, np.ones_like(differ_N)),
                "accuracy": _slot_subsets(slots, np.ones_like(differ_N)),
            },
            clusters,
            language,
            about[name] | {"at": "slots"},
        )
        if sources is not None:
            for subset, kept_N in _slot_subsets(slots, differ_N).items():
                found.append(
                    _recovery_row(
                        clean["logit_difference"],
                        before["logit_difference"],
                        [result["logit_difference"] for result in results],
                        kept_N,
                        clusters,
                        language,
                        about[name] | {"subset": subset},
                    )
                )
    return found


def _differ(rows: dict) -> np.ndarray:
    """Slots at which the languages' identifiers are not the same tokens."""
    pairs = zip(rows["primary"].tolist(), rows["new"].tolist(), strict=True)
    return np.array([set(primary) - {-1} != set(new) - {-1} for primary, new in pairs])


def _change_rows(before, results, subsets, clusters, language, about) -> list[dict]:
    """Rows of the paired changes of some metrics in some subsets; `results`: of the set, then of its random sets."""
    cluster_N, weight_DxC = clusters
    found = []
    for metric, parts in subsets.items():
        change_RxN = np.stack([result[metric] for result in results]) - before[metric]
        for subset, kept_N in parts.items():
            interval = _cluster_mean(change_RxN[0, kept_N], cluster_N[kept_N], weight_DxC)
            options = about | {"subset": subset, "before": float(before[metric][kept_N].mean())}
            options |= {"after": options["before"] + interval[0]}
            options |= against_random(interval[0], change_RxN[1:, kept_N].mean(axis=1))
            found.append(_row(f"{metric}_change", language, interval, kept_N.sum(), options))
    return found


def _specificity_rows(before, results, subsets, clusters, language, about) -> list[dict]:
    """Rows of the change on transfer problems minus that on shared ones, for metrics whose subsets have both.

    What makes the one kind more fragile than the other does so for the random sets, too: they say what is to be expected.
    """
    cluster_N, weight_DxC = clusters
    found = []
    for metric, parts in subsets.items():
        if "transfer" not in parts:
            continue
        change_RxN = np.stack([result[metric] for result in results]) - before[metric]
        value_R, drawn_D = 0.0, 0.0
        for subset, sign in (("transfer", 1), ("shared", -1)):
            kept_N = parts[subset]
            value_R = value_R + sign * change_RxN[:, kept_N].mean(axis=1)
            values_2xN = np.stack([change_RxN[0, kept_N], np.ones(kept_N.sum())])
            sums_2xC = statistics.cluster_sums(values_2xN, cluster_N[kept_N], weight_DxC.shape[1])
            drawn_D = drawn_D + sign * statistics.ratio(*(weight_DxC @ sums_2xC.T).T)
        low, high = statistics.interval(drawn_D[:, None])
        options = about | {"subset": "transfer - shared"} | against_random(float(value_R[0]), value_R[1:])
        n = (parts["transfer"] | parts["shared"]).sum()
        found.append(_row(f"{metric}_specificity", language, (value_R[0], low[0], high[0]), n, options))
    return found


# ---- Patches of the residual stream -----------------------------------------------------------------------------------


def recovery_rows(
    params: dict,
    config: DecoderConfig,
    clean: dict,
    corrupt: dict,
    language: str,
    primary: str,
    *,
    draws: int = DRAWS,
    seed: int = 0,
    document_end: int = -1,
    batch_size: int = BATCH_ROWS,
) -> list[dict]:
    """How much of the clean prompts' logit difference one patched state brings back, per layer: rows "patch_recovery".

    The residual stream after a block at the slot of each clean prompt is put in at the slot of its corrupt prompt;
    recovery = (LD_patched - LD_corrupt) / (LD_clean - LD_corrupt) of the mean logit differences (0: nothing, 1: all). The
    control takes every state from another clean prompt, drawn at random. Intervals resample pairs, then prompts.

    Args:
      clean, corrupt: slots, aligned row by row; the identifiers of `corrupt` are asked for in both.
      language: of the corrupt prompts.
      primary: the primary language.
    """
    right = "primary" if language == primary else "new"
    corrupt_rows = slot_inputs(config, corrupt, right)
    clean_rows = corrupt_rows | {
        "tokens": checked_tokens(config, clean["tokens"]),
        "position": checked_positions(clean["tokens"], np.asarray(clean["position"])[:, None])[:, 0],
    }
    N = len(corrupt_rows["tokens"])
    if len(clean_rows["tokens"]) != N:
        raise UserError(f"{len(clean_rows['tokens'])} clean and {N} corrupt slots do not pair; give one for each.")
    if N < 2:
        raise UserError("patch recovery is compared with states of other prompts; give at least two slots.")
    if draws < DRAWS:
        raise UserError(f"{draws} random patches are too few to tell chance by; draw at least {DRAWS}.")
    rng = np.random.default_rng(seed)
    shifts_RxN = (np.arange(N) + rng.integers(1, N, (draws, N))) % N  # never the own prompt

    params, of_rows, everywhere = on_devices(params, batch_size)
    step = jitted_recovery(config, document_end, everywhere)

    def score(sources_N):
        sources = clean_rows | {name: clean_rows[name][sources_N] for name in ("tokens", "position")}
        found = []
        batches = zip(row_batches(sources, batch_size), row_batches(corrupt_rows, batch_size), strict=True)
        for (kept, source), (_, target) in batches:
            scores = step(params, *jax.device_put((source, target), of_rows))
            found.append((kept, {"clean": scores[0]["logit_difference"], "patched": scores[1]["logit_difference"]}))
        return joined(found)

    own, others = score(np.arange(N)), [score(sources_N)["patched"] for sources_N in shifts_RxN]
    differ_N, clusters = _differ(corrupt_rows), _slot_clusters(corrupt)
    found = []
    for layer in range(config.layers):
        for subset, kept_N in _slot_subsets(corrupt, differ_N).items():
            patched = [own["patched"][layer], *(other[layer] for other in others)]
            options = {"kind": "patch", "subset": subset}
            row = _recovery_row(own["clean"], own["patched"][-1], patched, kept_N, clusters, language, options)
            found.append(row | {"layer": layer + 1})
    return found


def _recovery_row(clean_N, corrupt_N, patched_RxN, kept_N, clusters, language, options) -> dict:
    """(LD_patched - LD_corrupt) / (LD_clean - LD_corrupt) of the means; NaN where clean and corrupt do not differ."""
    cluster_N, weight_DxC = clusters
    gap_N = np.asarray(clean_N) - corrupt_N
    change_RxN = np.stack(patched_RxN) - corrupt_N
    sums_2xC = statistics.cluster_sums(
        np.stack([change_RxN[0], gap_N])[:, kept_N], cluster_N[kept_N], weight_DxC.shape[1]
    )
    drawn_2xD = sums_2xC @ weight_DxC.T

    def recovered(change, gap):  # a gap may be negative
        return np.divide(change, gap, out=np.full(np.shape(change), np.nan), where=np.asarray(gap) != 0)

    low, high = statistics.interval(recovered(*drawn_2xD)[:, None])
    value_R = recovered(change_RxN[:, kept_N].mean(axis=1), np.full(len(change_RxN), gap_N[kept_N].mean()))
    interval = (value_R[0], low[0], high[0])
    about = {"clean": float(np.mean(clean_N[kept_N])), "corrupt": float(np.mean(corrupt_N[kept_N]))}
    control = against_random(float(value_R[0]), value_R[1:])
    return _row("patch_recovery", language, interval, kept_N.sum(), options | about | control)


# ---- Programs and free text -------------------------------------------------------------------------------------------


def problem_change_rows(
    params: dict,
    config: DecoderConfig,
    problems: Problems,
    language: str,
    sets: dict,
    kind: str = "zero",
    *,
    generate: Callable,
    draws: int = DRAWS,
    seed: int = 0,
    batch_size: int = BATCH_ROWS,
    **options,
) -> list[dict]:
    """How sets of neurons change which problems are solved (greedy, one program a problem), by subset of the problems.

    Metrics: "pass_change", with the problems `gained` and `lost` and McNemar's exact `p_mcnemar` in the options; and, with
    the right program before the eyes, "margin_change" and "accuracy_change" at its identifiers (see `slot_scores`): where
    all or none are solved, margins still move. "pass_specificity", "margin_specificity" and "accuracy_specificity" are the
    change on transfer problems (identifiers) minus that on shared ones. Intervals resample problems.

    `generate`: what writes the programs, `evaluation.generate.generate`.
    """
    _check_generated(kind)
    edits, about = _edits(params, config, sets, kind, draws, seed, batch_size, options)

    def solved(change):
        written_QxA = generate(
            params,
            config,
            problems.prompt_QxT[language],
            problems.length_Q,
            problems.new_tokens,
            batch_size,
            edit=change,
        )
        return {"pass": np.asarray(problems.judge(language, written_QxA), np.float64)}

    before, scored = _by_set([solved(change) for change in edits], sets)
    rows, problem_N, transfer_N = answer_rows(config, problems, language)
    words_before, words = _by_set(score_rows(params, config, rows, edits, -1, batch_size), sets)
    weight_DxQ = statistics.shard_weights(len(problems.length_Q))
    numbers_Q = np.arange(len(problems.length_Q))
    found = []
    for name, results in scored.items():
        changed = _change_rows(
            before, results, {"pass": _subsets(problems.transfer_Q)}, (numbers_Q, weight_DxQ), language, about[name]
        )
        for row, kept_Q in zip(changed, _subsets(problems.transfer_Q).values(), strict=True):
            was_Q, is_Q = before["pass"][kept_Q], results[0]["pass"][kept_Q]
            gained, lost = int((is_Q > was_Q).sum()), int((is_Q < was_Q).sum())
            row["options"] |= {"gained": gained, "lost": lost, "p_mcnemar": statistics.mcnemar(gained, lost)}
        found += changed
        at_words = (
            words_before,
            words[name],
            {metric: _subsets(transfer_N) for metric in ("margin", "accuracy")},
            (problem_N, weight_DxQ),
            language,
            about[name] | {"at": "answers"},
        )
        found += _change_rows(*at_words) + _specificity_rows(*at_words)
        found += _specificity_rows(
            before, results, {"pass": _subsets(problems.transfer_Q)}, (numbers_Q, weight_DxQ), language, about[name]
        )
    return found


def answer_rows(config: DecoderConfig, problems: Problems, language: str):
    """A row for each identifier of each right program: `(rows of the slot pass, its problem [N], is it transfer [N])`."""
    answer_QxA, length_Q = np.asarray(problems.answer_QxA[language]), np.asarray(problems.length_Q)
    Q, W = problems.word_slot_QxW.shape
    tokens_QxT = _continued(problems.prompt_QxT[language], length_Q, answer_QxA)[:, :-1]
    right_QxW = np.take_along_axis(answer_QxA, problems.word_slot_QxW, axis=1)
    ids_Nx1 = right_QxW.reshape(-1, 1).astype(np.int32)
    rows = {
        "tokens": checked_tokens(config, np.repeat(tokens_QxT, W, axis=0)),
        "position": (length_Q[:, None] - 1 + problems.word_slot_QxW).reshape(-1).astype(np.int32),
        "right": ids_Nx1,
        "primary": ids_Nx1,
        "new": ids_Nx1,
    }
    return rows, np.repeat(np.arange(Q), W), problems.transfer_word_QxW.reshape(-1)


def _continued(prompts_NxT, length_N, written_NxA) -> np.ndarray:
    """Prompts with what was written after them, [N, longest prompt + A], filled up with zeros."""
    prompts_NxT, length_N, A = np.asarray(prompts_NxT), np.asarray(length_N), written_NxA.shape[1]
    longest = int(length_N.max())
    tokens_NxS = np.zeros((len(prompts_NxT), longest + A), np.int32)
    tokens_NxS[:, :longest] = np.where(np.arange(longest) < length_N[:, None], prompts_NxT[:, :longest], 0)
    np.put_along_axis(tokens_NxS, length_N[:, None] + np.arange(A), written_NxA, axis=1)
    return tokens_NxS


def fluency_rows(
    params: dict,
    config: DecoderConfig,
    prompts_NxT,
    length_N,
    new_tokens: int,
    language: str,
    sets: dict,
    kind: str,
    *,
    generate: Callable,
    draws: int = DRAWS,
    seed: int = 0,
    document_end: int = -1,
    batch_size: int = BATCH_ROWS,
    **options,
) -> list[dict]:
    """What steering costs in fluency: rows "fluency_change", in nats a token.

    The unsteered model's loss on the steered model's greedy continuations, minus its loss on its own; paired over prompts.
    To be reported beside whatever the steering achieves.

    Args:
      generate: `evaluation.generate.generate`.
      prompts_NxT, length_N, new_tokens: as for `generate`; a continuation ends with `document_end`.
      language: of the prompts.
      sets, kind, options: as for `loss_change_rows`.
    """
    _check_generated(kind)
    edits, about = _edits(params, config, sets, kind, draws, seed, batch_size, options)
    length_N = np.asarray(length_N)

    def unsteered_loss(change):
        written_NxA = generate(params, config, prompts_NxT, length_N, new_tokens, batch_size, document_end, edit=change)
        tokens_NxS = _continued(prompts_NxT, length_N, written_NxA)
        ended_NxA = np.cumsum(written_NxA == document_end, axis=1) - (written_NxA == document_end) > 0
        weight_NxT = np.zeros((len(tokens_NxS), tokens_NxS.shape[1] - 1), np.float32)
        np.put_along_axis(weight_NxT, length_N[:, None] - 1 + np.arange(new_tokens), ~ended_NxA, axis=1)
        # Written as one document, whatever stands in the prompt: it is read as one, too.
        rows = loss_inputs(config, {"tokens": tokens_NxS, "loss": weight_NxT}, -1)
        result = score_rows(params, config, rows, edits[:1], -1, batch_size)[0]
        return {"fluency": result["loss_sum"] / result["loss_count"]}

    before, scored = _by_set([unsteered_loss(change) for change in edits], sets)
    clusters = np.arange(len(length_N)), statistics.shard_weights(len(length_N))
    everything = {"fluency": {"all": np.ones(len(length_N), bool)}}
    return [
        row
        for name, results in scored.items()
        for row in _change_rows(before, results, everything, clusters, language, about[name])
    ]


def _check_generated(kind: str) -> None:
    if kind == "resample":
        raise UserError("'resample' has no source while a program is written; choose another intervention.")

"""All probes over any checkpoints: each is measured once, in one pass; then all of them together.

`out/<run>/step_<n>.npz` holds what the pass counted (see `artefacts.py`), `out/<run>/measurements/` the tables: one a
checkpoint, and `across.parquet`, which is made again whenever a checkpoint has been added. What is measured is skipped;
a run that still trains can be followed.
"""

import dataclasses
from collections.abc import Callable

import jax
import numpy as np

from babel_jax import files, measurements
from babel_jax.errors import UserError, unknown_name
from babel_jax.material import Material
from babel_jax.measuring import walk
from babel_jax.model import placement
from babel_jax.model.decoder import DecoderConfig
from babel_jax.probes import (
    alignment,
    artefacts,
    attribution,
    causes,
    drift,
    forward,
    lens,
    neurons,
    prompts,
    tuned_lens,
)
from babel_jax.probes import interventions as do
from babel_jax.training import hosts
from babel_jax.training.checkpoint import Seen
from babel_jax.training.runs import seed_of


@dataclasses.dataclass(frozen=True)
class Options:
    """What is measured beyond the pass itself.

    Attributes:
      languages: names, the primary first; () for all of the material's.
      steps: which checkpoints; () for all, (-1,) for the last.
      layers: over which the working language's scalars are taken, see `lens.chosen_layers`.
      threshold_scope, reference_step: see `neurons.scope_thresholds`.
      definitions: readings of transferring neurons that need passes of their own (`neurons.SCORE_DEFINITIONS`).
      tuned_steps: steps of training a tuned lens for each checkpoint (0: none).
      interventions: kinds to apply to each language's neurons ("zero", "mean"), beside random sets (causes.py).
      draws: random sets a set of neurons is compared with.
      restore, restore_step: parts of the parameters (`interventions.restore`) that are taken from another step of the run.
    """

    languages: tuple[str, ...] = ()
    steps: tuple[int, ...] = ()
    layers: str | tuple[int, ...] = "inner"
    threshold_scope: str = "per_checkpoint"
    reference_step: int | None = None
    definitions: tuple[str, ...] = ()
    tuned_steps: int = 0
    interventions: tuple[str, ...] = ()
    draws: int = do.DRAWS
    restore: tuple[str, ...] = ()
    restore_step: int | None = None


KINDS = ("zero", "mean")  # interventions that need nothing but the set and what the pass has counted


def probe(
    run_dirs,
    texts: Callable,
    out,
    options: Options = Options(),
    generate: Callable | None = None,
    follow: bool = False,
    progress: Callable[[dict], None] = lambda message: None,
) -> list:
    """Measures every checkpoint of every run; returns the runs' folders below `out`.

    Args:
      run_dirs: from `walk.run_directories`.
      texts: run directory -> (the `Material` to measure with, the hash of its tokenizer or None).
      generate: `evaluation.generate.generate`: what writes programs, where interventions are to be judged by problems too.
      follow: wait for further checkpoints until each run is done.
      progress: called after each checkpoint with {"run", "checkpoint", "checkpoints"}.

    Raises:
      UserError: a material of another vocabulary, an unknown language, a checkpoint that cannot be read, ….
    """
    _check(options)
    places = walk.places_of(run_dirs, out, "probe")
    for run_dir, place in places.items():
        material, tokenizer = texts(run_dir)
        _probe_run(run_dir, chosen(material, options.languages), place, options, tokenizer, generate, follow, progress)
    _across_seeds(places, files.path(out))
    return list(places.values())


def _check(options: Options) -> None:
    for kind in options.interventions:
        if kind not in KINDS:
            raise unknown_name("intervention", kind, KINDS)
    for definition in options.definitions:
        if definition not in neurons.SCORE_DEFINITIONS:
            raise unknown_name("definition with scores", definition, neurons.SCORE_DEFINITIONS)
    if options.interventions and options.draws < do.DRAWS:
        raise UserError(f"{options.draws} random sets are too few to tell chance by; draw at least {do.DRAWS}.")
    if options.tuned_steps < 0:
        raise UserError(f"a tuned lens cannot be trained for {options.tuned_steps} steps; give 0 for none.")
    if (options.threshold_scope == "reference_checkpoint") != (options.reference_step is not None):
        raise UserError(
            "threshold_scope=reference_checkpoint and a reference_step belong together; give both, or neither."
        )
    if bool(options.restore) != (options.restore_step is not None):
        raise UserError("what to restore and from which step belong together; give both, or neither.")
    if options.threshold_scope not in neurons.SCOPES:
        raise unknown_name("threshold scope", options.threshold_scope, neurons.SCOPES)


def chosen(material: Material, languages: tuple[str, ...]) -> Material:
    """The material with these languages only, the first one as the primary; () for all.

    Raises:
      UserError: an unknown language, fewer than two, or another primary than the material's beside several new ones.
    """
    if not languages:
        return material
    for language in languages:
        if language not in material.heldout:
            raise unknown_name("language of the material", language, material.heldout)
    if len(set(languages)) < 2:
        raise UserError(f"{','.join(languages)} is one language; probes compare languages: name at least two.")
    keep = {name: {k: v for k, v in getattr(material, name).items() if k in languages} for name in ("heldout", "slots")}
    if languages[0] != material.primary:
        if set(languages) != {material.primary, languages[0]}:
            raise UserError(
                f"the prompts' identifiers are those of {material.primary} and one other language; name {material.primary} "
                f"first, or {languages[0]},{material.primary} alone."
            )
        keep["slots"] = {name: _turned(found) for name, found in keep["slots"].items()}
    return dataclasses.replace(material, primary=languages[0], new=languages[1], **keep)


def _turned(slots: dict) -> dict:
    """Slots with the two languages' identifiers in each other's place."""
    other = {"primary": "new", "new": "primary"}

    def name_of(name):
        side, _, rest = name.partition("_")
        return f"{other[side]}_{rest}" if side in other and rest else name

    return {name_of(name): values for name, values in slots.items()}


def _probe_run(run_dir, material, place, options, tokenizer, generate, follow, progress) -> None:
    if hosts.several() and (follow or not (run_dir / "DONE").exists()):
        raise UserError(f"{run_dir} still trains; several hosts probe finished runs only: take one process.")
    for look in walk.looks(
        run_dir,
        options.steps,
        follow=follow,
        needs=options.restore_step if options.restore else None,
        progress=progress,
    ):
        last = None
        for checkpoint in look.checkpoints:
            _check_material(run_dir, checkpoint.model, material)
            if _is_measured(place, checkpoint, _about(checkpoint.model, material, options, tokenizer)) or _measure(
                checkpoint, material, place, options, tokenizer, generate
            ):
                last = checkpoint
        if last:
            _across(place, last, material, options, tokenizer, look.coming)


def _paths(place, step: int) -> tuple:
    name = walk.file_name(step)
    return place / f"{name}.npz", place / "measurements" / f"{name}.parquet"


def _is_measured(place, checkpoint: walk.Checkpoint, about: dict) -> bool:
    """Whether a checkpoint is measured; a `UserError` if what stands there is of another run, model or of other options."""
    paths = _paths(place, checkpoint.step)
    there = all(hosts.agree(path.exists()) for path in paths)
    if there and hosts.is_first():
        _load(paths[0], about | _of_checkpoint(checkpoint))
    return there


def _measure(checkpoint: walk.Checkpoint, material, place, options, tokenizer, generate) -> bool:
    """Measures one checkpoint; false: it was deleted meanwhile."""
    here = walk.restored(checkpoint)
    if here is None:
        return False
    params, model = here.params, here.model
    if options.restore:
        params = do.restore(params, walk.params_at(checkpoint, options.restore_step), options.restore)
    measured, rows = measure(params, model, material, options, generate)
    if hosts.is_first():
        about = _about(model, material, options, tokenizer) | {
            "parameters": artefacts.parameter_fingerprint(params) if jax.process_count() == 1 else None,
            "tokens_by_language": checkpoint.seen.tokens_by_language,
        }
        arrays, table = _paths(place, checkpoint.step)
        artefacts.save(arrays, _arrays(measured), about | _of_checkpoint(checkpoint))
        walk.write(table, walk.completed(checkpoint, rows))
    return True


def _of_checkpoint(checkpoint: walk.Checkpoint) -> dict:
    """What distinguishes a checkpoint from those of all other runs: when its run began, to the microsecond."""
    return {
        "run": checkpoint.name,
        "step": checkpoint.step,
        "tokens": checkpoint.seen.tokens,
        "started": checkpoint.seen.started,
    }


def _check_material(run_dir, model: DecoderConfig, material: Material) -> None:
    if model.vocab_size != material.vocab_size:
        raise UserError(
            f"{run_dir} has a vocabulary of {model.vocab_size} and the texts one of {material.vocab_size}; "
            "probe it with texts of its own tokenizer."
        )
    if model.max_length < material.max_length:
        raise UserError(
            f"{run_dir} reads {model.max_length} tokens and the rows have {material.max_length}; make shorter rows."
        )


def measure(
    params: dict, model: DecoderConfig, material: Material, options: Options, generate=None
) -> tuple[dict, list[dict]]:
    """All that one checkpoint says by itself: what the pass counted, and rows without run, seed, step and tokens."""
    slots = {name: found for name, found in material.slots.items() if "primary_sequence" not in found}
    sequences = {name: found for name, found in material.slots.items() if name not in slots}
    for language in neurons.new_languages(sorted(set(material.heldout) | set(material.slots)), material.primary):
        lacking = [name for name in options.definitions if name != "pls" and language not in slots]
        if lacking:
            raise UserError(f"{lacking[0]} needs prompts of {language} with identifiers of one token; leave it out.")
    parallel = all("item" in found for found in slots.values()) and len(slots) > 1
    at_slots = (("sentence",) if parallel else ()) + (("residual",) if options.tuned_steps else ())
    batch_size = placement.batch_rows(params, material.max_length)
    measured = forward.measure(params, model, material.heldout, slots, material.document_end, batch_size, at_slots)
    rows = forward.loss_rows(measured)
    for language, found in slots.items():
        rows += lens.working_language(measured["slots"][language], found, language, options.layers)
    if sequences:
        reads = {name: prompts.sequence_rows(found) for name, found in sequences.items()}
        read = forward.measure(params, model, {}, reads, material.document_end, batch_size)["slots"]
        for language, found in sequences.items():
            results = prompts.sequence_results(read[language]["log_prob_LxNxPxC"], found)
            rows += lens.working_language(results, found, language, options.layers)
    if parallel:
        states = {name: measured["slots"][name]["sentence_LxNxD"] for name in slots}
        rows += alignment.mexa_rows(states, {name: found["item"] for name, found in slots.items()}, material.primary)
    if options.tuned_steps:
        rows += _tuned_rows(params, model, material, slots, measured, options, batch_size)
    rows += _score_rows(params, model, material, slots, measured, options, batch_size)
    rows += neurons.sensitivity_rows(measured, material.primary)
    rows += drift.overlap_rows(measured, material.primary)
    if len(measured["tokens_RxK"]) > 1:
        rows += drift.tokens_rows(measured, material.primary)
    rows += _cause_rows(params, model, material, slots, measured, options, batch_size, generate)
    return measured, rows


def _tuned_rows(params, model, material, slots, measured, options, batch_size) -> list[dict]:
    """The working language through a lens that is trained for this checkpoint; rows with options {"lens": "tuned"}."""
    tokens_NxT = np.concatenate([np.asarray(rows["tokens"])[:, :-1] for rows in material.heldout.values()])
    positions = min(tuned_lens.POSITIONS, tokens_NxT.shape[1])
    translators = tuned_lens.train(params, model, tokens_NxT, material.document_end, options.tuned_steps, positions)
    rows = [
        dict(probe="tuned_lens", layer=layer + 1, metric=f"kl_{when}", value=float(value), n=len(tokens_NxT))
        for when in ("before", "after")
        for layer, value in enumerate(translators[f"kl_{when}_L"])
    ]
    arrays = {name: translators[name] for name in ("A_LxDxD", "b_LxD")}
    measured["translators"] = arrays
    read = tuned_lens.jitted_read(model)
    for language, found in slots.items():
        residual_LxNx1xD = measured["slots"][language]["residual_LxNxD"][:, :, None]
        ids_Nx1xC = lens.slot_candidates(found)[:, None]
        parts = [
            jax.device_get(read(params, arrays, residual_LxNx1xD[:, i : i + batch_size], ids_Nx1xC[i : i + batch_size]))
            for i in range(0, len(ids_Nx1xC), batch_size)
        ]
        raw = {
            name.replace("xBxP", "xN"): np.concatenate([part[name] for part in parts], axis=1)[:, :, 0]
            for name in parts[0]
        }
        found_rows = lens.working_language(lens.slot_results(raw, found), found, language, options.layers)
        rows += [row | {"options": row.get("options", {}) | {"lens": "tuned"}} for row in found_rows]
    return rows


def _score_rows(params, model, material, slots, measured, options, batch_size) -> list[dict]:
    """Transferring neurons by scores that the one pass does not give, each for every new language."""
    rows, scores, languages = [], {}, measured["languages"]
    common = dict(document_end=material.document_end, batch_size=batch_size)
    for definition in options.definitions:
        if definition == "pls":
            found = attribution.gradient_scores(params, model, material.heldout, languages, **common)["absolute_LxFxK"]
        for new in neurons.new_languages(languages, material.primary):
            if definition == "causal":
                found = attribution.causal_scores(params, model, slots[new], **common)["score_LxF"]
            elif definition != "pls":
                found = alignment.transfer_scores(
                    params, model, slots[new], slots[material.primary], kind=definition, **common
                )
            scores[f"{definition}.{new}"] = found
            rows += neurons.score_rows(definition, found, new, languages)
            rows += neurons.score_curve_rows(definition, found, new, languages)
    measured["scores"] = scores
    return rows


def _cause_rows(params, model, material, slots, measured, options, batch_size, generate) -> list[dict]:
    """What becomes of losses and of identifiers when each language's neurons are changed, beside random sets."""
    languages = measured["languages"]
    member_KxLxF = neurons.tang(measured["active_RxLxFxK"].sum(axis=0), measured["tokens_RxK"].sum(axis=0))
    sets = {name: mask for name, mask in zip(languages, member_KxLxF, strict=True) if mask.any()}
    rows = []
    for kind in options.interventions if sets else ():
        # The mean activation over all languages' tokens stands for "what the neuron usually does".
        change = {"mean_LxF": do.means(measured).mean(axis=0)} if kind == "mean" else {}
        common = dict(draws=options.draws, document_end=material.document_end, batch_size=batch_size, **change)
        rows += causes.loss_change_rows(params, model, material.heldout, sets, kind, **common)
        for language, found in slots.items():
            rows += causes.slot_change_rows(params, model, found, language, material.primary, sets, kind, **common)
            if material.problems and generate:
                written = {name: value for name, value in common.items() if name != "document_end"} | {
                    "generate": generate
                }
                rows += causes.problem_change_rows(params, model, material.problems, language, sets, kind, **written)
    return rows


def _arrays(measured: dict) -> dict:
    """What is kept of a pass: counters, and what the lens said at each slot (for pages that show single prompts)."""
    arrays = {name: measured[name] for name in ("active_RxLxFxK", "activation_sum_RxLxFxK", "tokens_RxK")}
    arrays["active_RxLxFxK"] = arrays["active_RxLxFxK"].astype(np.int32)  # as they were counted
    for language, found in measured["slots"].items():
        arrays |= {f"{language}.{name}": values for name, values in found.items() if values.ndim == 2}
    return arrays | measured.get("translators", {}) | measured["scores"]


def _about(model, material, options, tokenizer) -> dict:
    """What artefacts of one sweep have in common."""
    languages = sorted(set(material.heldout) | set(material.slots))
    return artefacts.describe(
        model,
        languages,
        tokenizer=tokenizer,
        material=material.fingerprint,
        primary=material.primary,
        restored=[list(options.restore), options.restore_step],
        thresholds={"top_rate": neurons.TOP_RATE, "filter_rate": neurons.FILTER_RATE},
        options=[
            str(options.layers),
            list(options.definitions),
            options.tuned_steps,
            list(options.interventions),
            options.draws,
        ],
    )


def _load(path, expect: dict) -> tuple[dict, dict]:
    """What the pass counted at a checkpoint that is measured already, as far as other checkpoints need it, and about it."""
    expect = {name: value for name, value in expect.items() if value is not None or name == "tokenizer"}
    arrays, about = artefacts.load(path, expect)
    counted = {name: values for name, values in arrays.items() if name.startswith(("active", "tokens"))}
    return {"languages": about["languages"]} | counted, about


def _across(place, last: walk.Checkpoint, material, options, tokenizer, coming: bool) -> None:
    """Counts under the chosen scope of thresholds, and drift, from all checkpoints that are measured.

    `coming`: the run is followed, so a reference that is not there yet is waited for.
    """
    if hosts.is_first():
        expect = {
            name: value
            for name, value in _about(last.model, material, options, tokenizer).items()
            if name not in ("run", "step", "tokens", "parameters")
        } | {"run": last.name, "started": last.seen.started}
        found = [_load(path, expect) for path in sorted(place.glob("step_*.npz"))]
        measured_C, about_C = zip(*found, strict=True)
        steps = [about["step"] for about in about_C]
        if options.reference_step is not None and options.reference_step not in steps:
            if coming:
                return
            raise UserError(
                f"the reference step {options.reference_step} is not a measured checkpoint; there are {steps}."
            )
        reference = steps.index(options.reference_step) if options.reference_step is not None else None
        fixed = neurons.scope_thresholds(measured_C, options.threshold_scope, reference)
        moved_C = drift.drift_rows(measured_C, material.primary, fixed=fixed)
        frames = []
        for about, measured, moved in zip(about_C, measured_C, moved_C, strict=True):
            rows = neurons.count_rows(measured, material.primary, fixed=fixed) + moved
            seen = Seen(about["step"], about["tokens"], about["tokens_by_language"])
            frames += walk.completed(dataclasses.replace(last, seen=seen), rows)
        measurements.write(place / "measurements" / "across.parquet", measurements.table(frames))
    hosts.barrier(f"probed {last.run_dir}")


def _across_seeds(places: dict, out) -> None:
    """How alike the neurons of the same run with other seeds are, at steps that all have: `out`/seeds/measurements/."""
    groups: dict[str, dict] = {}
    for run_dir, place in places.items():
        groups.setdefault(run_dir.name, {}).setdefault(seed_of(run_dir), place)
    for name, place_of in groups.items():
        if len(place_of) < 2 or not hosts.is_first():
            continue
        steps = set.intersection(*({path.name for path in place.glob("step_*.npz")} for place in place_of.values()))
        rows = []
        for step in sorted(steps):
            stored = {seed: artefacts.load(place / step) for seed, place in place_of.items()}
            measured_S = {seed: arrays | {"languages": about["languages"]} for seed, (arrays, about) in stored.items()}
            about = next(iter(stored.values()))[1]
            rows += [
                measurements.row(run=name, seed=-1, step=about["step"], tokens=about["tokens"], **row)
                for row in drift.seed_rows(measured_S, about["primary"])
            ]
        if rows:
            measurements.write(out / "seeds" / "measurements" / f"{name}.parquet", measurements.table(rows))

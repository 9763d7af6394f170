"""`probe`: all probes over any checkpoints. Each checkpoint is measured once, in one pass; then all of them together.

`out/<seed>/<run>/step_<n>.npz` holds what the pass counted (see `artefacts.py`), `…/measurements/` the tables: one a
checkpoint, and `across.parquet`, which is written anew whenever a checkpoint has been added; `…/probed.json` says what was
read and how (`probe_record.py`). Checkpoints already measured are skipped; a run that still trains can be followed.
"""

import dataclasses
from collections.abc import Callable

import jax
import numpy as np

from babel_jax.common import files, measurements
from babel_jax.common.errors import UserError, unknown_name
from babel_jax.common.material import Material
from babel_jax.measuring import instruments, probe_record, walk
from babel_jax.measuring.instruments import PROBE
from babel_jax.measuring.reading import Reading, Settings
from babel_jax.model.decoder import DecoderConfig
from babel_jax.model.taps import ACTIVE
from babel_jax.probes import artefacts, drift, edits, lape, neuron_rows, parts, slot_names
from babel_jax.probes.definitions import BY_SCORES
from babel_jax.probes.lape import Counts
from babel_jax.probes.thresholds import SCOPES, scope_of
from babel_jax.training import hosts
from babel_jax.training.checkpoint import Seen


@dataclasses.dataclass(frozen=True)
class Options(Settings):
    """What is measured, and how the instruments read.

    Attributes:
      languages: names, the primary first; () for all of the material's.
      steps: which checkpoints; () for all, `walk.LAST` for the last.
      threshold_scope, reference_step: see `thresholds.scope_of`; the step is the reference checkpoint's.
      restore, restore_step: parts of the parameters (`parts.restore`) that are taken from another step of the run.
    """

    languages: tuple[str, ...] = ()
    steps: tuple[int, ...] = ()
    threshold_scope: str = "per_checkpoint"
    reference_step: int | None = None
    restore: tuple[str, ...] = ()
    restore_step: int | None = None


@dataclasses.dataclass(frozen=True)
class Probed:
    """One run that is probed: with what material, and where its results go."""

    source: walk.Source
    place: object
    material: Material
    tokenizer: str | None
    options: Options

    def about(self, model: DecoderConfig) -> dict:
        """What all artefacts of this run have in common."""
        material, options = self.material, self.options
        how = [str(options.layers), list(options.definitions), options.tuned_steps]
        return artefacts.describe(
            model,
            sorted(set(material.heldout) | set(material.slots)),
            tokenizer=self.tokenizer,
            material=material.fingerprint,
            primary=material.primary,
            restored=[list(options.restore), options.restore_step],
            thresholds={"top_rate": lape.TOP_RATE, "filter_rate": lape.FILTER_RATE},
            active=options.active,
            options=[*how, list(options.interventions), options.draws],
        )

    def paths(self, step: int) -> tuple:
        """Of a checkpoint: its arrays, its table."""
        name = walk.file_name(step)
        return self.place / f"{name}.npz", self.place / "measurements" / f"{name}.parquet"


INTERVENTIONS = ("zero", "mean")  # those that need nothing but the set and what the pass has counted


def probe(
    sources,
    texts: Callable,
    out,
    options: Options = Options(),
    follow: bool = False,
    progress: Callable[[dict], None] = lambda message: None,
) -> list:
    """Measures every checkpoint of every run; returns the runs' folders below `out`.

    Args:
      sources: see `walk.Source`; each needs a folder of its own.
      texts: source -> (the `Material` to measure with, the hash of its tokenizer or None).
      follow: wait for further checkpoints until each run is done.
      progress: see `walk.OwnRun.looks`.

    Raises:
      UserError: a material of another vocabulary, an unknown language, a checkpoint that cannot be read, ….
    """
    check(options)
    places = walk.places_of(sources, out, "probe")
    for source, place in places.items():
        material, tokenizer = texts(source)
        material = chosen(material, options.languages)
        instruments.check_definitions(material, options)
        _probe_run(Probed(source, place, material, tokenizer, options), follow, progress)
    _across_seeds(places, files.path(out))
    return list(places.values())


def check(options: Options) -> None:
    """UserError where options contradict each other or name what there is not."""
    for kind in options.interventions:
        if kind not in INTERVENTIONS:
            raise unknown_name("intervention", kind, INTERVENTIONS)
    if options.active not in ACTIVE:
        raise unknown_name("rule of active neurons", options.active, ACTIVE)
    for definition in options.definitions:
        if definition not in BY_SCORES:
            raise unknown_name("definition with scores", definition, BY_SCORES)
    if options.interventions and options.draws < edits.DRAWS:
        raise UserError(f"{options.draws} random sets are too few to compare with chance; draw at least {edits.DRAWS}.")
    if options.tuned_steps < 0:
        raise UserError(f"a tuned lens cannot be trained for {options.tuned_steps} steps; give 0 for none.")
    if (options.threshold_scope == "reference_checkpoint") != (options.reference_step is not None):
        raise UserError(
            "threshold_scope=reference_checkpoint and a reference_step belong together; give both, or neither."
        )
    if bool(options.restore) != (options.restore_step is not None):
        raise UserError("what to restore and from which step belong together; give both, or neither.")
    if options.threshold_scope not in SCOPES:
        raise unknown_name("threshold scope", options.threshold_scope, SCOPES)


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
    keep["slots"] = {name: slot_names.only(of_language, languages) for name, of_language in keep["slots"].items()}
    if languages[0] != material.primary:
        if set(languages) != {material.primary, languages[0]}:
            raise UserError(
                f"the prompts' identifiers are those of {material.primary} and one other language; name {material.primary} "
                f"first, or {languages[0]},{material.primary} alone."
            )
        keep["slots"] = {name: _turned(of_language) for name, of_language in keep["slots"].items()}
    asked = {name: tasks for name, tasks in material.tasks_in.items() if name in languages}
    return dataclasses.replace(material, primary=languages[0], new=languages[1], **keep).asking(asked)


def _turned(slots: dict) -> dict:
    """Slots with the two languages' identifiers in each other's place."""
    other = {"primary": "new", "new": "primary"}

    def name_of(name):
        side, _, rest = name.partition("_")
        return f"{other[side]}_{rest}" if side in other and rest else name

    return {name_of(name): values for name, values in slots.items()}


def _probe_run(probed: Probed, follow: bool, progress) -> None:
    source, options = probed.source, probed.options
    if hosts.several() and (follow or not source.is_done()):
        raise UserError(f"{source} still trains; several hosts probe finished runs only: take one process.")
    needs = options.restore_step if options.restore else None
    with source.at_work():
        for look in source.looks(options.steps, follow=follow, needs=needs, progress=progress):
            missing = [step for step in look.steps if not _is_there(probed, step)]
            source.expect(missing)
            last = None
            for checkpoint in look.checkpoints:
                _check_material(probed, checkpoint.model)
                if checkpoint.step not in missing:
                    _check_measured(probed, checkpoint)
                elif not _measure(probed, checkpoint):
                    continue
                last = checkpoint
            if last:
                _across(probed, last, look.coming)


def _is_there(probed: Probed, step: int) -> bool:
    """Whether both files of a step are there, on all hosts alike."""
    return all(hosts.agree(path.exists()) for path in probed.paths(step))


def _check_measured(probed: Probed, checkpoint: walk.Checkpoint) -> None:
    """A `UserError` if the file of a checkpoint that is measured is of another run or model, or of other options."""
    if hosts.is_first():
        _load(probed.paths(checkpoint.step)[0], probed.about(checkpoint.model) | _of_checkpoint(checkpoint))


def _measure(probed: Probed, checkpoint: walk.Checkpoint) -> bool:
    """Measures one checkpoint; false: it was deleted meanwhile."""
    options, here = probed.options, walk.restored(checkpoint)
    if here is None:
        return False
    if options.restore:
        other = walk.params_at(checkpoint, options.restore_step)
        here = dataclasses.replace(here, params=parts.restore(here.params, other, options.restore))
    reading, rows = instruments.measure(here, probed.material, PROBE, options)
    if hosts.is_first():
        about = probed.about(here.model) | _of_checkpoint(here)
        about |= {
            "parameters": artefacts.parameter_fingerprint(here.params) if jax.process_count() == 1 else None,
            "tokens_by_language": here.seen.tokens_by_language,
        }
        arrays, table = probed.paths(here.step)
        artefacts.save(arrays, _arrays(reading), about)
        walk.write(table, walk.completed(here, rows))
    return True


def _of_checkpoint(checkpoint: walk.Checkpoint) -> dict:
    """What distinguishes a checkpoint from those of all other runs: when its run began, to the microsecond."""
    seen = checkpoint.seen
    return checkpoint.about | {
        "run": checkpoint.name,
        "step": seen.step,
        "tokens": seen.tokens,
        "started": seen.started,
    }


def _check_material(probed: Probed, model: DecoderConfig) -> None:
    material = probed.material
    if model.vocab_size != material.vocab_size:
        raise UserError(
            f"{probed.source} has a vocabulary of {model.vocab_size} and the texts one of {material.vocab_size}; "
            "probe it with texts of its own tokenizer."
        )
    if model.max_length < material.max_length:
        raise UserError(
            f"{probed.source} reads {model.max_length} tokens and the rows have {material.max_length}; make shorter rows."
        )


def _arrays(reading: Reading) -> dict:
    """What is kept of a pass: counters, and what the lens read at each slot (for pages that show single prompts)."""
    measured = reading.measured
    arrays = {name: getattr(measured, name) for name in ("active_RxLxFxK", "activation_sum_RxLxFxK", "tokens_RxK")}
    arrays["active_RxLxFxK"] = arrays["active_RxLxFxK"].astype(np.int32)  # as they were counted
    for language, readings in measured.slots.items():
        of_slots = {f"{language}.{name}": values for name, values in vars(readings).items()}
        arrays |= {name: values for name, values in of_slots.items() if values is not None and values.ndim == 2}
    return arrays | reading.kept


def _load(path, expect: dict) -> tuple[Counts, dict]:
    """What the pass counted at a checkpoint that is measured already, and the file's description."""
    known = {name: value for name, value in expect.items() if value is not None or name == "tokenizer"}
    arrays, about = artefacts.load(path, known)
    counted = Counts(about["languages"], arrays["active_RxLxFxK"], arrays["tokens_RxK"], active=about["active"])
    return counted, about


def _across(probed: Probed, last: walk.Checkpoint, coming: bool) -> None:
    """Numbers of neurons under the chosen scope of thresholds, and drift, from all checkpoints that are measured.

    `coming`: the run is followed, so a reference that is not there yet is waited for.
    """
    if hosts.is_first():
        options, primary = probed.options, probed.material.primary
        expect = probed.about(last.model) | _of_checkpoint(last)
        for name in ("parameters", "step", "tokens", "revision", "commit"):  # in these, checkpoints of one run differ
            expect.pop(name, None)
        stored = [_load(path, expect) for path in sorted(probed.place.glob("step_*.npz"))]
        counts_C, about_C = zip(*stored, strict=True)
        steps = [about["step"] for about in about_C]
        if options.reference_step is not None and options.reference_step not in steps:
            if coming:
                return
            raise UserError(
                f"the reference step {options.reference_step} is not a measured checkpoint; there are {steps}."
            )
        reference = steps.index(options.reference_step) if options.reference_step is not None else None
        if probed.material.heldout:  # prompts alone have no tokens in which neurons are counted
            scope, rows = scope_of(counts_C, options.threshold_scope, reference), []
            for about, counts, moved in zip(about_C, counts_C, drift.drift_rows(counts_C, primary, scope), strict=True):
                at = Seen(about["step"], about["tokens"], about["tokens_by_language"])
                here = neuron_rows.count_rows(counts, primary, scope) + moved
                rows += walk.completed(dataclasses.replace(last, seen=at), here)
            walk.write(probed.place / "measurements" / "across.parquet", rows)
        about = probe_record.record(last.model, probed.material, options)
        files.write_json(probed.place / probe_record.NAME, about)
    hosts.barrier(f"probed {probed.source}")


def _across_seeds(places: dict, out) -> None:
    """How alike the neurons of a run's seeds are, at steps that all of them have: `out`/seeds/measurements/."""
    groups: dict[str, dict] = {}
    for source, place in places.items():
        groups.setdefault(source.name, {}).setdefault(source.seed, place)
    for name, place_of in groups.items():
        if len(place_of) < 2 or not hosts.is_first():
            continue
        steps = set.intersection(*({path.name for path in place.glob("step_*.npz")} for place in place_of.values()))
        rows = []
        for step in sorted(steps):
            stored = {seed: _load(place / step, {}) for seed, place in place_of.items()}
            if not all(counts.tokens_RxK.any() for counts, _ in stored.values()):
                continue
            about = next(iter(stored.values()))[1]
            rows += [
                measurements.row(run=name, seed=-1, step=about["step"], tokens=about["tokens"], **row)
                for row in drift.seed_rows({seed: counts for seed, (counts, _) in stored.items()}, about["primary"])
            ]
        if rows:
            walk.write(out / "seeds" / "measurements" / f"{name}.parquet", rows)

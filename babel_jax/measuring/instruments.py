"""Instruments: each reads one checkpoint through one shared pass, and returns rows of the tidy table (without run, seed, step).

A study, `probe` and `train --probe` measure with a tuple of instruments each: the rows of `STUDY` are read by a figure, a
table or a verdict of the report, those of `PROBE` by whoever runs that verb. This room's README.md shows how to add one.
"""

import dataclasses

import jax
import numpy as np

from babel_jax.common import statistics
from babel_jax.common.errors import UserError
from babel_jax.common.material import Material
from babel_jax.corpus.fact_questions import FACTS
from babel_jax.measuring import programs
from babel_jax.measuring.fact_scores import fact_rows
from babel_jax.measuring.reading import Instrument, Reading, Settings, slots_of_one_token, subject_of
from babel_jax.measuring.task_scores import task_rows
from babel_jax.measuring.walk import Checkpoint
from babel_jax.probes import (
    alignment,
    causes,
    drift,
    edits,
    forward,
    functional,
    lape,
    lens,
    neuron_rows,
    prompts,
    slot_names,
    tuned_lens,
)
from babel_jax.probes.definitions import BY_SCORES


def measure(
    checkpoint: Checkpoint, material: Material, instruments: tuple[Instrument, ...], settings: Settings
) -> tuple[Reading, list[dict]]:
    """One pass over a restored checkpoint, and all that the instruments make of it."""
    chosen = [one for one in instruments if one.applies(material, settings)]
    subject = subject_of(checkpoint.params, checkpoint.model, material)
    at_slots = tuple(dict.fromkeys(name for one in chosen for name in one.at_slots))
    slots = slots_of_one_token(material)
    measured = forward.measure(subject, material.heldout, slots, at_slots, settings.active)
    reading = Reading(subject, material, measured, settings)
    return reading, [row for one in chosen for row in one.rows(reading)]


def _slots_of_sequences(material: Material) -> dict:
    return {name: slots for name, slots in material.slots.items() if "primary_sequence" in slots}


# --- losses and the working language --------------------------------------------------------------------------------------


def _bits_per_byte(reading: Reading) -> list[dict]:
    """Held-out loss in bits per byte of source text, per language; intervals over rows."""
    rows = []
    for language, heldout in reading.material.heldout.items():
        if "bytes" in heldout:
            bytes_N = (heldout["bytes"] * heldout["loss"]).sum(1)
            bits_N = reading.measured.rows[language].loss_sum / np.log(2)
            value, low, high = statistics.mean_with_interval(bits_N, bytes_N)
            about = dict(probe="evaluation", language=language, metric="bits_per_byte")
            rows.append(about | dict(value=value, n=int(bytes_N.sum()), ci_low=low, ci_high=high))
    return rows


def _share_curves(reading: Reading) -> list[dict]:
    slots = reading.material.slots
    return [
        row
        for language, readings in reading.measured.slots.items()
        for row in lens.share_curves(readings, slots[language], language)
    ]


def _working_language(reading: Reading) -> list[dict]:
    slots, layers = reading.material.slots, reading.settings.layers
    return [
        row
        for language, readings in reading.measured.slots.items()
        for row in lens.working_language(readings, slots[language], language, layers)
    ]


def _whole_identifiers(reading: Reading) -> list[dict]:
    """The working language where an identifier is read token by token."""
    slots = _slots_of_sequences(reading.material)
    asked = {name: prompts.sequence_rows(here, reading.material.document_begin) for name, here in slots.items()}
    at_slots = forward.measure(reading.subject, {}, asked, active=reading.settings.active).slots
    rows = []
    for language, here in slots.items():
        primary_LxN, new_LxN = prompts.sequence_log_probs(at_slots[language]["log_prob_LxNxPxC"], here)
        readings = lens.SlotReadings(primary_log_prob_LxN=primary_LxN, new_log_prob_LxN=new_LxN)
        rows += lens.working_language(readings, here, language, reading.settings.layers)
    return rows


def _tuned_lens(reading: Reading) -> list[dict]:
    """The working language through a lens that is trained for this checkpoint; rows with options {"lens": "tuned"}."""
    material, settings = reading.material, reading.settings
    tokens_NxT = np.concatenate([np.asarray(rows["tokens"])[:, :-1] for rows in material.heldout.values()])
    positions = min(tuned_lens.POSITIONS, tokens_NxT.shape[1])
    student = dataclasses.replace(reading.subject, batch_size=tuned_lens.ROWS)
    tuned = tuned_lens.train(student, tokens_NxT, settings.tuned_steps, positions)
    reading.kept.update(tuned.translators)
    rows = [
        dict(probe="tuned_lens", layer=layer + 1, metric=f"kl_{when}", value=float(value), n=len(tokens_NxT))
        for when, kl_L in (("before", tuned.kl_before_L), ("after", tuned.kl_after_L))
        for layer, value in enumerate(kl_L)
    ]
    for language, slots in slots_of_one_token(material).items():
        readings = _through(tuned, reading, language, slots)
        through = lens.working_language(readings, slots, language, settings.layers)
        rows += [row | {"options": row["options"] | {"lens": "tuned"}} for row in through]
    return rows


def _through(tuned: tuned_lens.TunedLens, reading: Reading, language: str, slots: dict) -> lens.SlotReadings:
    """What a tuned lens reads at the slots of one language."""
    subject = reading.subject
    read, size = tuned_lens.jitted_read(subject.model), subject.batch_size
    residual_LxNx1xD = reading.measured.slots[language].residual_LxNxD[:, :, None]
    asked = (lens.slot_candidates(slots)[:, None], slot_names.unranked_candidates(slots)[:, None])

    def read_from(i: int):
        part = lens.Asked(*(ids_Nx1xC[i : i + size] for ids_Nx1xC in asked))
        return read(subject.params, tuned.translators, residual_LxNx1xD[:, i : i + size], part)

    parts = [jax.device_get(read_from(i)) for i in range(0, len(asked[0]), size)]
    raw = {
        name.replace("xBxP", "xN"): np.concatenate([part[name] for part in parts], axis=1)[:, :, 0] for name in parts[0]
    }
    return lens.slot_readings(raw, slots)


def _is_parallel(material: Material, settings: Settings) -> bool:
    slots = slots_of_one_token(material)
    return all("item" in here for here in slots.values()) and len(slots) > 1


def _alignment(reading: Reading) -> list[dict]:
    states = {name: readings.sentence_LxNxD for name, readings in reading.measured.slots.items()}
    items = {name: reading.material.slots[name]["item"] for name in states}
    return alignment.mexa_rows(states, items, reading.material.primary)


# --- problems -------------------------------------------------------------------------------------------------------------


def _programs(reading: Reading) -> list[dict]:
    material = reading.material
    return [
        row
        for language in (material.primary, material.new)
        for row in programs.program_rows(reading.subject, material.problems, language)
    ]


def _are_judged(material: Material) -> bool:
    """Whether facts stand for the programs that are not judged."""
    return material.problems is None and bool(material.facts)


def _facts(reading: Reading) -> list[dict]:
    return fact_rows(reading.subject, reading.material.facts)


def _tasks(reading: Reading) -> list[dict]:
    """Scores by task, without that of facts where it is the study's accuracy.

    Of sentences the mean over layers alone: those of each layer are shown by a probe's page.
    """
    material = reading.material
    if _are_judged(material):
        others = {name: task for name, task in material.tasks.items() if name != FACTS}
        reading = dataclasses.replace(reading, material=dataclasses.replace(material, tasks=others))
    return [row for row in task_rows(reading) if row["probe"] == "evaluation"]


def _call_sites(reading: Reading) -> list[dict]:
    """Where no program can be judged: is the most probable token at a held-out call site its identifier?"""
    material, rows = reading.material, []
    for language in (material.primary, material.new):
        wanted_N = material.slots[language]["primary_id" if language == material.primary else "new_id"]
        solved_N = reading.measured.slots[language].argmax_LxN[-1] == wanted_N
        about = dict(probe="evaluation", language=language, options={"subset": "all"})
        rows += [about | dict(metric="solved", item=item, value=float(solved)) for item, solved in enumerate(solved_N)]
        rows.append(about | programs.accuracy_row(solved_N, metric="accuracy"))
        # Who always says the commonest identifier is right as often as this, and knows nothing of the site.
        commonest = float(np.unique(wanted_N, return_counts=True)[1].max() / len(wanted_N))
        rows.append(about | dict(metric="chance", value=commonest, n=len(wanted_N)))
    return rows


def _asks_texts(material: Material, settings: Settings) -> bool:
    """Whether tasks are a corpus's: the embedded world's are asked by its studies, and would be most of a probe's time."""
    return bool(material.tasks_in) and material.problems is None


def _has_rows(material: Material, settings: Settings) -> bool:
    """Whether neurons can be counted: prompts of one's own may stand without rows."""
    return bool(material.heldout)


# --- neurons --------------------------------------------------------------------------------------------------------------


def _transferring(reading: Reading) -> list[dict]:
    return neuron_rows.transferring_rows(reading.measured, reading.material.primary, reading.material.new)


def _functional(reading: Reading) -> list[dict]:
    new = reading.material.new
    now_LxNxF = reading.measured.slots[new].ffn_LxNxF
    return functional.functional_rows(reading.settings.base_LxNxF, now_LxNxF, reading.material.slots[new], new)


def _tokens_needed(reading: Reading) -> list[dict]:
    several = len(reading.measured.tokens_RxK) > 1
    return drift.tokens_rows(reading.measured, reading.material.primary) if several else []


def _scores(reading: Reading) -> list[dict]:
    """Transferring neurons by scores that the one pass does not give, each for every new language."""
    languages, rows = reading.measured.languages, []
    material = dataclasses.replace(reading.material, slots=slots_of_one_token(reading.material))
    new = lape.new_languages(languages, material.primary)
    for name in reading.settings.definitions:
        definition = BY_SCORES[name]
        for language, scores in definition.scores(reading.subject, material, new).items():
            reading.kept[f"{name}.{language}"] = scores
            rows += neuron_rows.score_rows(definition, scores, language, languages)
    return rows


def _interventions(reading: Reading) -> list[dict]:
    """What becomes of losses, identifiers and programs when each language's neurons are changed, beside random sets."""
    subject, material, measured = reading.subject, reading.material, reading.measured
    member_KxLxF = lape.tang(measured)
    sets = {name: mask for name, mask in zip(measured.languages, member_KxLxF, strict=True) if mask.any()}
    rows = []
    for kind in reading.settings.interventions if sets else ():
        # The mean value over all languages' tokens stands for "what the neuron usually does".
        options = {"mean_LxF": edits.means(measured).mean(axis=0)} if kind == "mean" else {}
        change = causes.Change(kind, options, reading.settings.draws)
        rows += causes.loss_change_rows(subject, material.heldout, sets, change)
        for language, slots in slots_of_one_token(material).items():
            rows += causes.slot_change_rows(subject, slots, language, material.primary, sets, change)
            if material.problems:
                rows += programs.pass_change_rows(subject, material.problems, language, sets, change)
                rows += programs.answer_change_rows(subject, material.problems, language, sets, change)
    return rows


# --- the sets of instruments ----------------------------------------------------------------------------------------------


LOSSES = Instrument("losses", lambda reading: forward.loss_rows(reading.measured))
BITS_PER_BYTE = Instrument("bits per byte", _bits_per_byte)
STUDY = (
    LOSSES,
    BITS_PER_BYTE,
    Instrument("working language", _share_curves),
    Instrument("programs", _programs, lambda material, _: material.problems is not None),
    Instrument("facts", _facts, lambda material, _: _are_judged(material)),
    Instrument("tasks", _tasks, lambda material, _: bool(material.tasks_in)),
    Instrument("call sites", _call_sites, lambda material, _: material.problems is None and not _are_judged(material)),
    Instrument("transferring neurons", _transferring),
    Instrument("functional neurons", _functional, lambda material, settings: settings.base_LxNxF is not None, ("ffn",)),
)
PROBE = (
    LOSSES,
    BITS_PER_BYTE,
    Instrument("working language", _working_language),
    Instrument("whole identifiers", _whole_identifiers, lambda material, _: bool(_slots_of_sequences(material))),
    Instrument("alignment", _alignment, _is_parallel, ("sentence",)),
    Instrument("tasks", task_rows, _asks_texts),
    Instrument("tuned lens", _tuned_lens, lambda _, settings: settings.tuned_steps > 0, ("residual",)),
    Instrument("scores", _scores, lambda _, settings: bool(settings.definitions)),
    Instrument(
        "sensitivity",
        lambda reading: neuron_rows.sensitivity_rows(reading.measured, reading.material.primary),
        _has_rows,
    ),
    Instrument("overlap", lambda reading: drift.overlap_rows(reading.measured, reading.material.primary), _has_rows),
    Instrument("tokens needed", _tokens_needed, _has_rows),
    Instrument("interventions", _interventions, lambda _, settings: bool(settings.interventions)),
)


def check_definitions(material: Material, settings: Settings) -> None:
    """Refuses what the material has no rows, and definitions by scores that it has no slots for."""
    asked = {
        "definitions": settings.definitions,
        "tuned_lens": settings.tuned_steps,
        "interventions": settings.interventions,
    }
    for option in [name for name, value in asked.items() if value and not material.heldout]:
        raise UserError(
            f"--{option} needs rows of text beside the prompts; name them by --texts or --corpus, or leave it out."
        )
    for language in lape.new_languages(sorted({*material.heldout, *material.slots}), material.primary):
        for name in settings.definitions:
            if BY_SCORES[name].at_slots and language not in slots_of_one_token(material):
                raise UserError(f"{name} needs prompts of {language} with identifiers of one token; leave it out.")

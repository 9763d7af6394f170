"""The paper's story as a list of runs, each resumable, in the order in which they depend on each other.

A study is a directory: `seed<k>/<run>/` for every run, `study.json` (which run needs which), `report/`. Runs that do not
wait for each other go side by side, one thread each, in `jobs` worker processes that share nothing but the directory.
"""

import collections
import importlib.metadata
import multiprocessing
import os
import queue
import signal
import sys
import time
import traceback

import numpy as np
from ml_collections import ConfigDict
from tqdm import tqdm

import babel_jax
from babel_jax import candidates, files, findings, measurements, mixtures, report
from babel_jax.corpus.material import material as corpus_material
from babel_jax.errors import UserError, unknown_name
from babel_jax.evaluation import diagnostics, measure
from babel_jax.evolution import measured, stages
from babel_jax.files import content_hash, read_json, write_json
from babel_jax.material import Material
from babel_jax.model.flops import flops_per_token
from babel_jax.optimum import ado, algorithm1
from babel_jax.organism import world
from babel_jax.probes import forward
from babel_jax.training import config as run_config
from babel_jax.training import hosts, preemption
from babel_jax.training.loop import (
    check_same_config,
    is_done,
    locked,
    mixture_of,
    parent_is_gone,
    train,
)

PER_LANGUAGE = ("continual", "control", "new_only", "replay")  # with several new languages there is one of each
ROLES = ("primary_climb", "primary_only", *PER_LANGUAGE, "multilingual", "multilingual_optimized", "mix")
KINDS = ("organism", "real_code")
ADO = "mix_ado"  # the one mix whose weights are chosen while it trains


def default() -> ConfigDict:
    """A study's config; configs/organism.py explains every key by using it."""
    return ConfigDict(
        dict(
            kind="organism",
            primary="",
            new="",  # one new language or, with commas between them, several
            seeds=(0,),
            world={},  # organism: see organism/world.py WorldConfig
            corpus="",  # real code: the directory that `corpus build` made
            vocab_size=0,  # real code: what the corpus must have, and what `compile` takes without one (0: not said)
            context=0,  # real code: tokens of its rows, likewise
            heldout_rows=64,  # real code: validation rows per language that are measured on
            prompt_tokens=64,  # real code: context of a call site
            common={},  # what all runs change of training/config.py's defaults
            # Role -> what it changes beyond `common`; in `stages`, "primary", "new" and "new_control" stand for the languages.
            runs={},
            original={},  # token amounts of the original corpus, by language
            # From-scratch mixes beside the original one, all of `runs.mix`'s steps:
            sweep=(),  # shares of the new languages, split among them as in the original
            swarm=0,  # random mixes per seed, each of one seed, for the mixing law
            candidates=(),  # names of candidates.py: Algorithm 1's corpora, schedules, and their rivals
            replay=(),  # the primary's shares of further continual runs, for the candidate `schedule`
        )
    )


def validate(config: ConfigDict) -> None:
    if config.kind not in KINDS:
        raise unknown_name("kind of study", config.kind, KINDS)
    for role in config.runs:
        if role not in ROLES:
            raise unknown_name("role of a run", role, ROLES)
    if not config.seeds:
        raise UserError("the study has no seeds; set seeds=(0,).")
    for key in ("sweep", "replay"):
        for share in config[key]:
            if not 0 <= share <= 1:
                raise UserError(f"a share in `{key}` is {share}; shares lie between 0 and 1.")
    for role in ("primary_only", "continual", "new_only", *(("replay",) if config.replay else ())):
        if role not in config.runs:
            raise UserError(f"the study has no run '{role}'; add it to `runs`.")
    candidates.validate(config.candidates, replay=config.replay, swarm=config.swarm, sweep=config.sweep)
    languages = new_languages(config)
    if config.primary in languages or len(set(languages)) < len(languages):
        raise UserError(f"new={config.new} names {config.primary} or a language twice; each new language stands once.")


def new_languages(config: ConfigDict) -> tuple[str, ...]:
    return tuple(name.strip() for name in config.new.split(","))


def world_config(config: ConfigDict) -> world.WorldConfig:
    known = world.WorldConfig.__dataclass_fields__
    for key in config.world:
        if key not in known:
            raise unknown_name("key of the world", key, known)
    return world.WorldConfig(primary=config.primary, new=new_languages(config), **config.world.to_dict())


def load_materials(config: ConfigDict, seed: int) -> dict[str, Material]:
    """For each new language what the study trains on and measures it with, for one seed."""
    if config.kind == "organism":
        return world.materials(world_config(config), seed)
    found = {
        new: corpus_material(config.corpus, config.primary, new, config.heldout_rows, config.prompt_tokens)
        for new in new_languages(config)
    }
    material = found[new_languages(config)[0]]
    for name, size in (("vocab_size", material.vocab_size), ("context", material.max_length)):
        if config[name] not in (0, size):
            raise UserError(
                f"the config wants {name}={config[name]} and the corpus {config.corpus} has {size}; build the corpus "
                f"with that, or set --config.{name}={size}."
            )
    return found


def load_material(config: ConfigDict, seed: int, name: str = "") -> Material:
    """What one run is measured with; without a language of its own, that of the first new language."""
    return load_materials(config, seed)[language_of(config, name) or new_languages(config)[0]]


def shapes_of(config: ConfigDict, name: str) -> tuple[ConfigDict, dict]:
    """A run's config and what of its material decides the shapes on the device; no corpus need be there."""
    _check_one(config, name)
    run = make_run_config(config, name, config.seeds[0])
    if config.kind == "real_code" and config.vocab_size and config.context:
        shapes = {"vocab_size": config.vocab_size, "max_length": config.context, "frozen_rows": 0, "document_end": 0}
        return run, shapes
    material = load_material(config, config.seeds[0], name)
    return run, {key: getattr(material, key) for key in ("vocab_size", "max_length", "frozen_rows", "document_end")}


def original_share(config: ConfigDict) -> float:
    """The new languages' share of the tokens of the original corpus."""
    amounts = config.original.to_dict()
    if set(amounts) != {config.primary, *new_languages(config)}:
        raise UserError(
            f"`original` must give tokens for {', '.join((config.primary, *new_languages(config)))}; it gives "
            f"{', '.join(amounts) or 'none'}."
        )
    return round(1 - amounts[config.primary] / sum(amounts.values()), 4)


def role_of(name: str) -> str:
    """The role of a run: the part of its name that says neither a language nor a share nor a mixture."""
    return next((role for role in ("mix", *PER_LANGUAGE) if name == role or name.startswith(f"{role}_")), name)


def language_of(config: ConfigDict, name: str) -> str | None:
    """The new language of a run; None for one that has to do with all of them."""
    languages = new_languages(config)
    if role_of(name) not in PER_LANGUAGE:
        return None
    language = measured.language_of(name, languages)
    if language is None:
        raise unknown_name("run", name, [run_name(config, role_of(name), language) for language in languages])
    return language


def run_name(config: ConfigDict, role: str, language: str) -> str:
    """The name of a role's run in one new language, which with several languages names it."""
    return role if len(new_languages(config)) == 1 else f"{role}_{language}"


def make_run_config(config: ConfigDict, name: str, seed: int, workdir=None) -> ConfigDict:
    """The config of one run: defaults, what the study changes for all, what it changes for the run's role.

    `workdir`: the study's directory, where the mixture files of its candidates lie.
    """
    role, language = role_of(name), language_of(config, name)
    result = run_config.override(run_config.default(), config.common.to_dict(), "common.")
    result = run_config.override(result, config.runs[role].to_dict(), f"runs.{role}.")
    fixed = {"seed": seed}
    if result.mixture:
        if name.startswith("mix_"):
            raise UserError(f"run '{name}' has its mixture in its name; train --run=mix with a mixture file.")
        fixed["stages"] = mixtures.read(result.mixture)["stages"]
    elif name == ADO:
        fixed |= {"stages": (_stage(original_weights(config)),), "online": {"every": candidates.ADO_EVERY}}
    elif role == "mix":
        fixed |= _mix(config, name.removeprefix("mix_"), workdir)
    elif role == "replay":
        share = _share_of(name, name.split("_")[1])
        fixed["stages"] = (_stage({config.primary: share, language: 1 - share}),)
    else:
        names = {"primary": config.primary, "new": language, "new_control": f"{language}_control"}
        fixed["stages"] = tuple(
            stage | {"weights": {names.get(source, source): weight for source, weight in stage["weights"].items()}}
            for stage in run_config.plain(result.stages)
        )
    if result.init_from:
        fixed["init_from"] = f"../{result.init_from}"
    return run_config.override(result, fixed)


def _stage(weights: dict[str, float]) -> dict:
    return {"tokens": 0, "weights": {source: weight for source, weight in weights.items() if weight}}


def original_weights(config: ConfigDict) -> dict[str, float]:
    return {language: float(config.original[language]) for language in (config.primary, *new_languages(config))}


def _mix(config, name: str, workdir) -> dict:
    """What a mix changes: its stages, and its steps where its mixture file is for another number of tokens."""
    file = workdir and files.path(workdir) / "mixtures" / f"{name}.json"
    if file and file.exists():
        found = mixtures.read(file)
        return {"stages": found["stages"], "steps": found["steps"]}
    share, amounts = _share_of(f"mix_{name}", name), original_weights(config)
    of_new = sum(amounts.values()) - amounts[config.primary]
    weights = {language: share * amount / of_new for language, amount in amounts.items()}
    return {"stages": (_stage(weights | {config.primary: 1 - share}),)}


def _share_of(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UserError(
            f"run '{name}' names neither a share nor a mixture of the study; write mix_0.5000, or give a file: --run=mix "
            "--mixture=FILE."
        ) from None


def with_mixture(config: ConfigDict, name: str, file: str) -> ConfigDict:
    """The study's config with a mixture file for the role of one run."""
    _check_one(config, name)
    result = config.copy_and_resolve_references()
    role = role_of(name)  # a new section: that of a role may be another's, too
    result.runs[role] = ConfigDict(result.runs[role].to_dict() | {"mixture": file})
    return result


def needs(config: ConfigDict, name: str) -> list[str]:
    """Runs of the same seed that must be done first."""
    init_from = config.runs[role_of(name)].get("init_from", "")
    return [init_from] if init_from else []


def planned_runs(config: ConfigDict, seed: int) -> list[str]:
    """Names of the runs of one seed that need nothing that others measured, the longest chain first."""
    names = []
    for role in (role for role in ROLES if role in config.runs and role not in ("mix", "replay")):
        languages = new_languages(config) if role in PER_LANGUAGE else ("",)
        names += [run_name(config, role, language) if language else role for language in languages]
    for share in config.replay:
        names += [run_name(config, f"replay_{share:.4f}", language) for language in new_languages(config)]
    if "mix" in config.runs:
        shares = dict.fromkeys([original_share(config), *config.sweep])
        names += [algorithm1.mix_name(share) for share in shares]
        first = config.swarm * list(config.seeds).index(seed)
        names += [f"mix_swarm_{number:02d}" for number in range(first, first + config.swarm)]
        names += [f"mix_{name}" for name in config.candidates if not candidates.is_measured(name)]
    return names


# --- what a worker does ---------------------------------------------------------------------------------------------------


def execute(
    config: ConfigDict, workdir, seed: int, name: str, progress, profile_dir=None, probing: bool = False
) -> None:
    """Trains one run and measures all its checkpoints; `profile_dir`: see `train`.

    `probing`: checkpoints are measured while the run trains, as soon as they are written; the numbers are the same.
    """
    materials = _cached_materials(config, seed, name)
    material = materials[0]
    directory = workdir / f"seed{seed}"
    run = make_run_config(config, name, seed, workdir)

    def reached(params) -> bool:
        return measure.problem_accuracy(params, _model(run, material), material, material.primary) > run.stop_accuracy

    if not is_done(directory / name):
        progress({"epochs": mixture_of(run, material).epochs(run.steps * run.batch_size)})
    started = time.perf_counter()
    at_checkpoint = _prober(config, workdir, seed, name) if probing else None
    train(
        run,
        material,
        directory / name,
        progress=progress,
        stop_when=reached,
        profile_dir=profile_dir,
        at_checkpoint=at_checkpoint,
        next_stage=_chooser(config, run, materials) if name == ADO else None,
    )
    trained = time.perf_counter()
    if role_of(name) != "primary_climb":
        base_LxNxF = _base(config, workdir, seed, name)
        measure.measure_run(directory / name, name, run, materials, base_LxNxF, progress)
    if role_of(name) in ("continual", "control") and material.problems:
        peak = None
        if role_of(name) == "continual":
            solved = measured.solved(measurements.read(directory / name), name, material.new)
            peak = int(solved["steps"][stages.pooled_curve_C(solved["solved"]).argmax()])
            measure.measure_patches(directory / name, name, run, material, peak)
        names = world.World(world_config(config), seed).tokens
        diagnostics.measure(directory / name, name, run, material, base_LxNxF, peak, names)
    progress({"seconds": {"training": trained - started, "measuring": time.perf_counter() - trained}})


def _chooser(config: ConfigDict, run: ConfigDict, materials: list[Material]):
    """Chooses the weights of the online mixture, by the held-out losses of all languages."""
    model = _model(run, materials[0])
    heldout = {language: rows for material in materials for language, rows in material.heldout.items()}

    def losses_of(params: dict) -> dict[str, float]:
        batch = forward.batch_rows(params, materials[0].max_length)
        measured = forward.measure(params, model, heldout, {}, materials[0].document_end, batch)
        rows = forward.loss_rows(measured)
        return {row["language"]: row["value"] for row in rows if row["metric"] == "loss"}

    return ado.chooser(original_weights(config), losses_of)


def _prober(config: ConfigDict, workdir, seed: int, name: str):
    """What `train` calls at each checkpoint to measure it; None where a run is measured at its end, or not at all."""
    materials = _cached_materials(config, seed, name)
    if role_of(name) == "primary_climb" or (name == "primary_only" and materials[0].problems):
        return None  # the latter is measured against its own last checkpoint
    run = make_run_config(config, name, seed, workdir)
    run_dir, model = workdir / f"seed{seed}" / name, _model(run, materials[0])
    base_LxNxF = _base(config, workdir, seed, name)

    def at_checkpoint(step: int, params: dict, seen: dict) -> None:
        measure.measure_checkpoint(run_dir, name, run, model, materials, base_LxNxF, step, params, seen)

    return at_checkpoint


def _model(run: ConfigDict, material: Material):
    return run_config.decoder_config(run, material.vocab_size, material.max_length, material.frozen_rows)


# One process may see several studies (`jobs` = 1, a notebook), so what is kept is kept by study and seed.
_materials: dict[tuple, dict[str, Material]] = {}
_bases: dict[tuple, np.ndarray] = {}


def _cached_materials(config, seed, name: str) -> list[Material]:
    """What a run is measured with: its language's material, or those of all new languages."""
    key = (content_hash(run_config.plain(config)), seed)
    if key not in _materials:
        _materials[key] = load_materials(config, seed)
    language = language_of(config, name)
    return [_materials[key][language]] if language else list(_materials[key].values())


def _base(config, workdir, seed, name) -> np.ndarray | None:
    """The primary-only run's activations that a run's functional neurons are told by; None: they are not measured."""
    material = _cached_materials(config, seed, name)[0]
    if not material.problems or role_of(name) not in ("primary_only", "continual", "control"):
        return None
    key = (workdir, seed)
    if key not in _bases:
        run_dir = workdir / f"seed{seed}" / "primary_only"
        _bases[key] = measure.base_activations(run_dir, make_run_config(config, "primary_only", seed), material)
    return _bases[key]


def _next_task(tasks, parent: int):
    while True:
        try:
            return tasks.get(timeout=1)
        except queue.Empty:
            if parent_is_gone(parent):
                os._exit(1)
            preemption.check()


def _work(config: ConfigDict, workdir, tasks, messages, parent: int) -> None:
    """A worker process: takes (seed, name) until it is killed or preempted (then what it trains is saved).

    Stops by itself when the process that started it has died.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    preemption.install()
    try:
        _take_tasks(config, workdir, tasks, messages, parent)
    except preemption.Preempted:
        messages.cancel_join_thread()  # nobody reads them any more
        sys.exit(preemption.EXIT_STATUS)


def _take_tasks(config: ConfigDict, workdir, tasks, messages, parent: int) -> None:
    while True:
        task = _next_task(tasks, parent)

        def progress(message, task=task):
            if parent_is_gone(parent):
                os._exit(1)
            messages.put((task, message))

        try:
            execute(config, workdir, *task, progress)
            messages.put((task, "done"))
        except preemption.Preempted:
            raise
        except UserError as error:
            messages.put((task, error))
        except BaseException:
            messages.put((task, RuntimeError(f"run {task} failed:\n{traceback.format_exc()}")))


def train_one(config: ConfigDict, workdir, seed: int, name: str, profile_dir=None, probing: bool = False) -> None:
    """Trains and measures one run of a study in this process, on all its devices and all hosts (the verb `train`).

    `probing`: see `execute`.
    """
    _check_one(config, name)
    workdir = files.path(workdir)
    run = make_run_config(config, name, seed, workdir)
    check_same_config(workdir, run_config.plain(config), hosts.is_first())
    board = Board(run.steps, 1, 1)
    try:
        execute(config, workdir, seed, name, lambda message: board.update((seed, name), message), profile_dir, probing)
    finally:
        board.close()


def measure_one(config: ConfigDict, workdir, seed: int, name: str) -> None:
    """Measures whatever checkpoints a run has so far, also while it trains (the verb `evaluate`).

    What is measured stays: it is all that the study measures, but for the primary-only run before its end.
    """
    _check_one(config, name)
    workdir = files.path(workdir)
    run_dir = workdir / f"seed{seed}" / name
    base = _base(config, workdir, seed, name) if name != "primary_only" or is_done(run_dir) else None
    run = make_run_config(config, name, seed, workdir)
    measure.measure_run(run_dir, name, run, _cached_materials(config, seed, name), base)


def _check_one(config, name):
    validate(config)
    if role_of(name) not in config.runs:
        raise unknown_name("run", name, [*config.runs, "mix_0.5000"])
    language_of(config, name)


# --- the parent: who does what, and how far it is -------------------------------------------------------------------------


class Board:
    """The progress bars: one for the study (in optimiser steps), one a worker."""

    def __init__(self, total_steps: int, runs: int, jobs: int):
        style = dict(dynamic_ncols=True, file=sys.stderr, mininterval=0.5 if sys.stderr.isatty() else 15)
        layout = "{desc} {percentage:3.0f}%|{bar:24}| {elapsed}<{remaining}{postfix}"
        self.study = tqdm(total=total_steps, desc="study", bar_format=layout, **style)
        self.rows = [tqdm(total=1, position=1 + i, leave=False, bar_format=layout, **style) for i in range(jobs)]
        self.row_of: dict[tuple, int] = {}
        self.runs, self.done = runs, 0
        self.steps: dict[tuple, int] = collections.defaultdict(int)

    def update(self, task: tuple, message: dict) -> None:
        row = self.rows[self.row_of.setdefault(task, self._free_row())]
        name = f"seed {task[0]} {task[1]}"
        if "epochs" in message and self.runs == 1:  # those of a study are in each run's DONE
            epochs = ", ".join(f"{source} {count:.2f}" for source, count in message["epochs"].items())
            self.study.write(f"{name}: epochs at its end: {epochs}", file=sys.stderr)
        elif "step" in message:
            self.advance(task, message["step"])
            detail = f"loss {message['loss']:.3f}, {message['tokens_per_second']:,.0f} tokens/s"
            self._show(row, f"  {name}: training", message["step"], message["steps"], detail)
        elif "checkpoint" in message:
            done, total = message["checkpoint"], message["checkpoints"]
            self._show(row, f"  {name}: measuring", done, total, f"checkpoint {done} of {total}")

    def _show(self, row: tqdm, what: str, done: int, total: int, detail: str) -> None:
        if row.desc != what:  # another run or phase: its time left is its own
            row.reset(total=total)
            row.set_description_str(what, refresh=False)
        row.n = done
        row.set_postfix_str(detail)

    def advance(self, task: tuple, step: int) -> None:
        if step > self.steps[task]:
            self.study.update(step - self.steps[task])
            self.steps[task] = step

    def finish(self, task: tuple, planned: int) -> None:
        self.done += 1
        self.advance(task, planned)
        self.row_of.pop(task, None)
        self.study.set_postfix_str(f"run {self.done} of {self.runs}")

    def _free_row(self) -> int:
        return min(set(range(len(self.rows))) - set(self.row_of.values()), default=0)

    def close(self) -> None:
        for bar in (*self.rows, self.study):
            bar.close()


def run(config: ConfigDict, workdir, jobs: int):
    """Runs, or goes on with, the whole study; returns the path of its report's page."""
    validate(config)
    original_share(config)
    workdir = files.path(workdir)
    _check_runs(config, planned_runs(config, config.seeds[0]))  # here, before any process is started
    with locked(workdir):
        check_same_config(workdir, run_config.plain(config))
        started = time.perf_counter()
        seconds = collections.Counter(_earlier_seconds(workdir))
        if "mix" in config.runs:
            swarm = config.swarm * len(config.seeds)
            found = candidates.unmeasured(config.candidates, swarm, *_mixes_of(config))
            _write_mixtures(config, workdir, found)
            _check_runs(config, [f"mix_{name}" for name in found], workdir)
        tasks = _in_order(config, {seed: planned_runs(config, seed) for seed in config.seeds})
        _run_all(config, workdir, tasks, jobs, seconds)
        write_json(workdir / "study.json", _description(config, tasks, workdir, seconds))
        wanted = [name for name in config.candidates if candidates.is_measured(name)]
        if wanted and "mix" in config.runs:
            found = candidates.measured(findings.of_study(workdir), wanted, *_mixes_of(config))
            _write_mixtures(config, workdir, found)
            _check_runs(config, [f"mix_{name}" for name in found], workdir)
            tasks += [(seed, f"mix_{name}") for name in found for seed in config.seeds]
            _run_all(config, workdir, tasks, jobs, seconds)
        seconds["total"] += time.perf_counter() - started
        write_json(workdir / "seconds.json", dict(seconds))
        write_json(workdir / "study.json", _description(config, tasks, workdir, seconds))
        return report.build(workdir)


def _check_runs(config, names, workdir=None) -> None:
    """Refuses runs that cannot be trained; those whose mixture file is not written yet are passed over."""
    seed = config.seeds[0]
    for name in names:
        file = workdir and workdir / "mixtures" / f"{name.removeprefix('mix_')}.json"
        if candidates.has_file(name) and not (file and file.exists()):
            continue
        settings, material = make_run_config(config, name, seed, workdir), _cached_materials(config, seed, name)[0]
        run_config.validate(settings)
        _model(settings, material)
        mixture_of(settings, material)


def _in_order(config, names_of: dict[int, list[str]]) -> list[tuple]:
    """(seed, name) of all runs, the longest chain of every seed first."""
    names = dict.fromkeys(name for names in names_of.values() for name in names)
    return [(seed, name) for name in names for seed in config.seeds if name in names_of[seed]]


def _mixes_of(config) -> tuple[dict, int, int]:
    """What candidates are made from: the original amounts, the steps of a mix, tokens of a step."""
    name = algorithm1.mix_name(original_share(config))
    run, material = make_run_config(config, name, config.seeds[0]), _cached_materials(config, config.seeds[0], name)[0]
    return original_weights(config), run.steps, run.batch_size * material.max_length


def _write_mixtures(config, workdir, found: dict[str, dict]) -> None:
    """Mixture files of the study; one that stands stays, for runs may have been trained on it."""
    material = _cached_materials(config, config.seeds[0], "mix")[0]  # amounts do not depend on the seed
    available = {name: len(rows) * material.max_length for name, rows in material.sources.items()}
    for name, candidate in found.items():
        file = workdir / "mixtures" / f"{name}.json"
        if not file.exists():
            made = mixtures.compose(candidate["made"], candidate["stages"], available, candidate["tokens"])
            mixtures.write(file, made | {"steps": candidate["steps"]})


def _run_all(config, workdir, tasks, jobs, seconds) -> None:
    planned = {task: make_run_config(config, task[1], task[0], workdir).steps for task in tasks}
    done = {task for task in tasks if _mark(workdir, task).exists()}
    waiting = [task for task in tasks if task not in done]
    if not waiting:
        return
    board = Board(sum(planned.values()), len(tasks), min(jobs, len(waiting)))

    def finish(task):
        done.add(task)
        board.finish(task, planned[task])

    def record(task, message):
        """Takes what a run says of itself; true when it has finished."""
        if message == "done":
            write_json(_mark(workdir, task), True)
            finish(task)
            return True
        if "seconds" in message:
            seconds.update(message["seconds"])
            write_json(workdir / "seconds.json", dict(seconds))
        else:
            board.update(task, message)
        return False

    for task in list(done):
        finish(task)
    try:
        if jobs == 1:  # here, with all devices of this process; the plan's order respects what a run needs
            for task in waiting:
                execute(config, workdir, *task, lambda message, task=task: record(task, message))
                record(task, "done")
        else:
            _side_by_side(config, workdir, waiting, done, min(jobs, len(waiting)), record)
    finally:
        board.close()


def _mark(workdir, task: tuple):
    return workdir / f"seed{task[0]}" / task[1] / "MEASURED"


def _side_by_side(config, workdir, waiting, done, jobs, record) -> None:
    context = multiprocessing.get_context("spawn")
    messages = context.Queue()
    inboxes = [context.Queue() for _ in range(jobs)]
    workers = [
        context.Process(target=_work, args=(config, workdir, inbox, messages, os.getpid()), daemon=True)
        for inbox in inboxes
    ]
    for worker in workers:
        worker.start()
    running: dict[tuple, int] = {}
    idle = list(range(jobs))
    try:
        while waiting or running:
            for task in list(waiting):
                if idle and _ready(config, task, done):
                    waiting.remove(task)
                    running[task] = idle.pop(0)
                    inboxes[running[task]].put(task)
            preemption.check()
            try:
                task, message = messages.get(timeout=1)
            except queue.Empty:
                preemption.check()  # where all processes are told to go, a worker may be the first
                dead = [worker for worker in workers if not worker.is_alive()]
                if dead:
                    raise UserError(
                        f"a worker process was killed (exit code {dead[0].exitcode}; out of memory?); run the same command "
                        "again to go on, with fewer --jobs if memory is short."
                    ) from None
                continue
            if isinstance(message, BaseException):
                raise message
            if record(task, message):
                idle.append(running.pop(task))
    except preemption.Preempted:
        for worker in workers:
            worker.terminate()  # SIGTERM: it saves what it trains
        for worker in workers:
            worker.join()  # whoever preempts us kills us when that takes too long
        raise
    finally:
        for worker in workers:
            worker.kill()  # whatever is half done is done again by the next call
            worker.join()


def _ready(config, task, done) -> bool:
    """True when all that a run needs is done; continual runs are measured against the primary-only run's neurons."""
    seed, name = task
    wanted = needs(config, name) + (["primary_only"] if role_of(name) in ("continual", "control") else [])
    return all((seed, other) in done for other in wanted)


def _earlier_seconds(workdir) -> dict:
    path = workdir / "seconds.json"
    return read_json(path) if path.exists() else {}


def _size(config, workdir, seed, name) -> dict:
    """Steps and tokens of a finished run, and the operations to train it (not to measure it)."""
    done = read_json(workdir / f"seed{seed}" / name / "DONE")
    material = _cached_materials(config, config.seeds[0], name)[0]  # sizes do not depend on the seed
    model = _model(make_run_config(config, name, seed, workdir), material)
    return {"steps": done["step"], "tokens": done["tokens"], "flops": flops_per_token(model) * done["tokens"]}


def _description(config, tasks, workdir, seconds) -> dict:
    packages = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
    return {
        "kind": config.kind,
        "primary": config.primary,
        "new": list(new_languages(config)),
        "seeds": list(config.seeds),
        "original": original_weights(config),
        "original_share": original_share(config),
        "runs": [
            {
                "seed": seed,
                "run": name,
                "needs": needs(config, name),
                **_size(config, workdir, seed, name),
            }
            for seed, name in tasks
        ],
        "wall_seconds": {phase: round(value, 1) for phase, value in seconds.items()},
        "versions": {"babel_jax": babel_jax.__version__, "python": sys.version.split()[0]}
        | {package: importlib.metadata.version(package) for package in packages},
        "config": run_config.plain(config),
    }

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
from babel_jax import files, measurements, mixtures, report
from babel_jax.corpus.material import material as corpus_material
from babel_jax.errors import UserError, unknown_name
from babel_jax.evaluation import measure
from babel_jax.evolution import measured, stages
from babel_jax.files import content_hash, read_json, write_json
from babel_jax.material import Material
from babel_jax.optimum import algorithm1
from babel_jax.organism import world
from babel_jax.training import config as run_config
from babel_jax.training import hosts, preemption
from babel_jax.training.loop import (
    check_same_config,
    is_done,
    last_step,
    locked,
    mixture_of,
    parent_is_gone,
    train,
)

ROLES = (
    "primary_climb",
    "primary_only",
    "continual",
    "control",
    "new_only",
    "multilingual",
    "multilingual_optimized",
    "mix",
)
KINDS = ("organism", "real_code")


def default() -> ConfigDict:
    """A study's config; configs/organism.py explains every key by using it."""
    return ConfigDict(
        dict(
            kind="organism",
            primary="",
            new="",
            seeds=(0,),
            world={},  # organism: see organism/world.py WorldConfig
            corpus="",  # real code: the directory that `corpus build` made
            vocab_size=0,  # real code: what the corpus must have, and what `compile` takes without one (0: not said)
            context=0,  # real code: tokens of its rows, likewise
            heldout_rows=64,  # real code: validation rows per language that are measured on
            prompt_tokens=64,  # real code: context of a call site
            common={},  # what all runs change of training/config.py's defaults
            runs={},  # role -> what it changes beyond `common`
            original={},  # token amounts of the original corpus, by language
            sweep=(),  # shares of the new language of further from-scratch mixes
            proposals=True,  # train Algorithm 1's proposals from scratch
        )
    )


def validate(config: ConfigDict) -> None:
    if config.kind not in KINDS:
        raise unknown_name("kind of study", config.kind, KINDS)
    for role in config.runs:
        if role not in ROLES:
            raise unknown_name("role of a run", role, ROLES)
    for role in ("primary_only", "continual", "new_only"):
        if role not in config.runs:
            raise UserError(f"the study has no run '{role}'; add it to `runs`.")
    if not config.seeds:
        raise UserError("the study has no seeds; set seeds=(0,).")
    for share in config.sweep:
        if not 0 <= share <= 1:
            raise UserError(f"a share in `sweep` is {share}; shares lie between 0 and 1.")


def load_material(config: ConfigDict, seed: int) -> Material:
    """What the study trains on and measures with, for one seed."""
    if config.kind == "real_code":
        material = corpus_material(config.corpus, config.primary, config.new, config.heldout_rows, config.prompt_tokens)
        for name, found in (("vocab_size", material.vocab_size), ("context", material.max_length)):
            if config[name] not in (0, found):
                raise UserError(
                    f"the config wants {name}={config[name]} and the corpus {config.corpus} has {found}; build the corpus "
                    f"with that, or set --config.{name}={found}."
                )
        return material
    known = world.WorldConfig.__dataclass_fields__
    for key in config.world:
        if key not in known:
            raise unknown_name("key of the world", key, known)
    return world.material(world.WorldConfig(primary=config.primary, new=config.new, **config.world.to_dict()), seed)


def shapes_of(config: ConfigDict, name: str) -> tuple[ConfigDict, dict]:
    """A run's config and what of its material decides the shapes on the device; no corpus need be there."""
    _check_one(config, name)
    run = make_run_config(config, name, config.seeds[0])
    if config.kind == "real_code" and config.vocab_size and config.context:
        shapes = {"vocab_size": config.vocab_size, "max_length": config.context, "frozen_rows": 0, "document_end": 0}
        return run, shapes
    material = load_material(config, config.seeds[0])
    return run, {key: getattr(material, key) for key in ("vocab_size", "max_length", "frozen_rows", "document_end")}


def original_share(config: ConfigDict) -> float:
    """The new language's share of the tokens of the original corpus."""
    amounts = config.original.to_dict()
    if set(amounts) != {config.primary, config.new}:
        raise UserError(
            f"`original` must give tokens for {config.primary} and {config.new}; it gives {sorted(amounts)}."
        )
    return round(amounts[config.new] / sum(amounts.values()), 4)


def role_of(name: str) -> str:
    return "mix" if name.startswith("mix_") else name


def make_run_config(config: ConfigDict, name: str, seed: int) -> ConfigDict:
    """The config of one run: defaults, what the study changes for all, what it changes for the run's role."""
    changes = config.runs[role_of(name)].to_dict()
    result = run_config.override(run_config.default(), config.common.to_dict(), "common.")
    result = run_config.override(result, changes, f"runs.{role_of(name)}.")
    fixed = {"seed": seed}
    if result.mixture:
        if name.startswith("mix_"):
            raise UserError(f"run '{name}' has the share in its name; train --run=mix with a mixture file.")
        fixed["stages"] = mixtures.read(result.mixture)["stages"]
    elif role_of(name) == "mix":
        share = _share_of(name)
        fixed["stages"] = ({"tokens": 0, "weights": {config.primary: 1 - share, config.new: share}},)
    if result.init_from:
        fixed["init_from"] = f"../{result.init_from}"
    return run_config.override(result, fixed)


def _share_of(name: str) -> float:
    try:
        return float(name.removeprefix("mix_"))
    except ValueError:
        raise UserError(
            f"run '{name}' does not say the new language's share; write mix_0.5000, or give a file: --run=mix --mixture=FILE."
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


def planned_runs(config: ConfigDict, proposals: dict | None) -> list[str]:
    """Names of all runs of one seed, the longest chain first."""
    names = [role for role in ROLES if role in config.runs and role != "mix"]
    if "mix" in config.runs:
        shares = [original_share(config), *config.sweep]
        shares += [proposal["pairwise_share"] for proposal in (proposals or {}).values()]
        names += list(dict.fromkeys(algorithm1.mix_name(share) for share in shares))
    return names


# --- what a worker does ---------------------------------------------------------------------------------------------------


def execute(
    config: ConfigDict, workdir, seed: int, name: str, progress, profile_dir=None, probing: bool = False
) -> None:
    """Trains one run and measures all its checkpoints; `profile_dir`: see `train`.

    `probing`: checkpoints are measured while the run trains, as soon as they are written; the numbers are the same.
    """
    material = _cached_material(config, seed)
    directory = workdir / f"seed{seed}"
    run = make_run_config(config, name, seed)

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
    )
    trained = time.perf_counter()
    if role_of(name) != "primary_climb":
        measure.measure_run(directory / name, name, run, material, _base(config, workdir, seed, name), progress)
    if name == "continual" and material.problems:
        frame = measurements.read(directory / name)
        solved = measured.solved(frame, name, material.new)
        peak = int(solved["steps"][stages.pooled_curve_C(solved["solved"]).argmax()])
        measure.measure_patches(directory / name, name, run, material, peak)
    progress({"seconds": {"training": trained - started, "measuring": time.perf_counter() - trained}})


def _prober(config: ConfigDict, workdir, seed: int, name: str):
    """What `train` calls at each checkpoint to measure it; None where a run is measured at its end, or not at all."""
    material = _cached_material(config, seed)
    if role_of(name) == "primary_climb" or (name == "primary_only" and material.problems):
        return None  # the latter is measured against its own last checkpoint
    run = make_run_config(config, name, seed)
    run_dir, model = workdir / f"seed{seed}" / name, _model(run, material)
    base_LxNxF = _base(config, workdir, seed, name)

    def at_checkpoint(step: int, params: dict, seen: dict) -> None:
        measure.measure_checkpoint(run_dir, name, run, model, material, base_LxNxF, step, params, seen)

    return at_checkpoint


def _model(run: ConfigDict, material: Material):
    return run_config.decoder_config(run, material.vocab_size, material.max_length, material.frozen_rows)


# One process may see several studies (`jobs` = 1, a notebook), so what is kept is kept by study and seed.
_materials: dict[tuple, Material] = {}
_bases: dict[tuple, np.ndarray] = {}


def _cached_material(config, seed):
    key = (content_hash(run_config.plain(config)), seed)
    if key not in _materials:
        _materials[key] = load_material(config, seed)
    return _materials[key]


def _base(config, workdir, seed, name) -> np.ndarray | None:
    """The primary-only run's activations that a run's functional neurons are told by; None: they are not measured."""
    if not _cached_material(config, seed).problems or name not in ("primary_only", "continual", "control"):
        return None
    key = (workdir, seed)
    if key not in _bases:
        run_dir = workdir / f"seed{seed}" / "primary_only"
        run = make_run_config(config, "primary_only", seed)
        _bases[key] = measure.base_activations(run_dir, run, _cached_material(config, seed))
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
    run = make_run_config(config, name, seed)
    workdir = files.path(workdir)
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
    measure.measure_run(run_dir, name, make_run_config(config, name, seed), _cached_material(config, seed), base)


def _check_one(config, name):
    validate(config)
    if role_of(name) not in config.runs:
        raise unknown_name("run", name, [*config.runs, "mix_0.5000"])


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
    for seed in config.seeds[:1]:  # bad configs fail here, before any process is started
        material = load_material(config, seed)
        for name in planned_runs(config, None):
            settings = make_run_config(config, name, seed)
            run_config.validate(settings)
            _model(settings, material)
            mixture_of(settings, material)
    with locked(workdir):
        check_same_config(workdir, run_config.plain(config))
        started = time.perf_counter()
        seconds = collections.Counter(_earlier_seconds(workdir))
        names = planned_runs(config, None)
        tasks = [(seed, name) for name in names for seed in config.seeds]
        _run_all(config, workdir, tasks, jobs, seconds)
        proposals = algorithm1.proposals(measurements.read(workdir), config.primary, config.new)
        if config.proposals and "mix" in config.runs:
            names = planned_runs(config, proposals)
            _run_all(config, workdir, [(seed, name) for name in names for seed in config.seeds], jobs, seconds)
        seconds["total"] += time.perf_counter() - started
        write_json(workdir / "study.json", _description(config, names, workdir, seconds))
        return report.build(workdir)


def _run_all(config, workdir, tasks, jobs, seconds) -> None:
    planned = {task: make_run_config(config, task[1], task[0]).steps for task in tasks}
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


def _description(config, names, workdir, seconds) -> dict:
    packages = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
    return {
        "kind": config.kind,
        "primary": config.primary,
        "new": config.new,
        "seeds": list(config.seeds),
        "original_share": original_share(config),
        "runs": [
            {
                "seed": seed,
                "run": name,
                "needs": needs(config, name),
                "steps": last_step(workdir / f"seed{seed}" / name),
            }
            for name in names
            for seed in config.seeds
        ],
        "wall_seconds": {phase: round(value, 1) for phase, value in seconds.items()},
        "versions": {"babel_jax": babel_jax.__version__, "python": sys.version.split()[0]}
        | {package: importlib.metadata.version(package) for package in packages},
        "config": run_config.plain(config),
    }

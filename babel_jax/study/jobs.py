"""The paper's story as a list of runs, each resumable, in the order in which they depend on each other.

A study is a directory: `seed<k>/<run>/` for every run, `study.json` (which run needs which), `report/`. Runs that do not
wait for each other go side by side, one thread each, in worker processes that share nothing but the directory.
"""

import collections
import contextlib
import dataclasses
import functools
import importlib.metadata
import json
import sys
import time
from collections.abc import Iterable

import numpy as np
from ml_collections import ConfigDict

import babel_jax
from babel_jax.common import files, machine, measurements, run_names
from babel_jax.common.errors import UserError, printable
from babel_jax.common.files import read_json, write_json
from babel_jax.common.run_names import RunName
from babel_jax.corpus import mixture_files
from babel_jax.evolution import stages
from babel_jax.evolution.selection import solved
from babel_jax.measuring import diagnostics, fact_scores, programs, walk
from babel_jax.measuring import study_walk as measure
from babel_jax.measuring.reading import subject_of
from babel_jax.model.flops import flops_per_token
from babel_jax.optimum import ado
from babel_jax.organism import world
from babel_jax.probes import forward
from babel_jax.study import analysis, candidates, plan, predictions
from babel_jax.study.board import Board, Length
from babel_jax.study.plan import Study
from babel_jax.training import config as run_config
from babel_jax.training import hosts, preemption
from babel_jax.training.checkpoint import Seen
from babel_jax.training.loop import Hooks, train
from babel_jax.training.runs import Run, check_same_config, is_done, locked, read_done, take_over
from babel_jax.training.sampler import OnlineSampler, mixture_of

# --- what a worker does ---------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Job:
    """One run of a study that is to be trained and measured.

    Attributes:
      twin: a job that comes before it and trains on the very same, so that this one takes over what that one has trained.
    """

    seed: int
    name: RunName
    twin: "Job | None" = dataclasses.field(default=None, compare=False)

    def __str__(self) -> str:
        return f"seed {self.seed} {self.name}"


def execute(study: Study, job: Job, progress, profile_dir=None, probing: bool = False) -> None:
    """Trains one run and measures all its checkpoints; `profile_dir`: see `train`.

    `probing`: checkpoints are measured while the run trains, as soon as they are written; the numbers are the same.
    """
    run = study.run(job.name, job.seed)
    if job.twin and not run.is_done():
        take_over(study.directory_of(job.twin.name, job.twin.seed), run.directory)
    if run.is_done():
        run.check_trained_as()
    else:
        progress({"epochs": mixture_of(run).epochs(run.config.steps * run.config.batch_size)})
    started = time.perf_counter()
    at_checkpoint = _prober(study, run) if probing else None
    hooks = Hooks(progress, functools.partial(_solves_enough, run), at_checkpoint, profile_dir)
    train(run, hooks, OnlineSampler(run, _chooser(study, run)) if run.name.is_online else None)
    trained = time.perf_counter()
    _measure(study, run, progress)
    progress({"seconds": {"training": trained - started, "measuring": time.perf_counter() - trained}})


def _solves_enough(run: Run, params: dict) -> bool:
    subject, material = subject_of(params, run.model, run.material), run.material
    if material.problems:
        return programs.accuracy(subject, material.problems, material.primary) > run.config.stop_accuracy
    return fact_scores.accuracy(subject, material.facts, material.primary) > run.config.stop_accuracy


def _measure(study: Study, run: Run, progress) -> None:
    """All that is measured of a finished run."""
    role, material = run.name.role, run.material
    if role == "primary_climb":
        return
    base_LxNxF = _base(study, run)
    measure.measure_run(run, base_LxNxF, progress)
    peak = None
    if role == "continual" and (material.problems or material.facts):
        judged = solved(measurements.read(run.directory), str(run.name), material.new)
        peak = int(judged.steps[stages.peak(judged.solved)])
        measure.measure_patches(run, peak)
    if role in ("continual", "control") and material.problems:
        names = world.World(plan.world_config(study.config), run.seed).tokens
        diagnostics.measure(run, base_LxNxF, peak, names)


def _base(study: Study, run: Run) -> np.ndarray | None:
    """What a run's functional neurons are identified by; None: they are not measured."""
    measured = run.material.problems and run.name.role in ("primary_only", "continual", "control")
    return study.base_activations(run.seed) if measured else None


def _chooser(study: Study, run: Run):
    """Chooses the weights of the online mixture, by the held-out losses of all languages."""
    heldout = {language: rows for material in run.materials for language, rows in material.heldout.items()}

    def losses_of(params: dict) -> dict[str, float]:
        rows = forward.loss_rows(forward.measure(subject_of(params, run.model, run.material), heldout, {}))
        return {row["language"]: row["value"] for row in rows if row["metric"] == "loss"}

    return ado.chooser(study.original, losses_of)


def _prober(study: Study, run: Run):
    """What `train` calls at each checkpoint to measure it; None where a run is measured at its end, or not at all."""
    role = run.name.role
    if role == "primary_climb" or (role == "primary_only" and run.material.problems):
        return None  # the latter is measured against its own last checkpoint
    base_LxNxF = _base(study, run)

    def at_checkpoint(seen: Seen, params: dict) -> None:
        here = walk.Checkpoint(walk.OwnRun(run.directory), run.seed, run.model, seen, params=params)
        measure.measure_checkpoint(here, run.materials, base_LxNxF)

    return at_checkpoint


def _begin(config: ConfigDict, directory):
    """What a worker process does first; returns what it does with each job until it is killed, or preempted."""
    preemption.install()
    study = Study(config, directory)

    def do(job: Job, report) -> None:
        try:
            execute(study, job, report)
        except preemption.Preempted:
            sys.exit(preemption.EXIT_STATUS)  # what it trained is saved

    return do


# --- one run, by itself ---------------------------------------------------------------------------------------------------


def train_one(study: Study, job: Job, profile_dir=None, probing: bool = False) -> None:
    """Trains and measures one run of a study in this process, on all its devices and all hosts (the verb `train`).

    `probing`: see `execute`.
    """
    _check_runs(study, [job.name], job.seed)
    _check_runs(study, [name for name in _plain_runs(study) if name != job.name], job.seed, here=False)
    run = study.run(job.name, job.seed)
    run.check_source()
    check_same_config(study.directory, run_config.plain(study.config), hosts.is_first())
    _warn_of_length(run)
    board = Board(1, str)
    board.plan(_lengths(study, [job]))
    try:
        execute(study, job, lambda message: board.update(job, message), profile_dir, probing)
    finally:
        board.close()


def _warn_of_length(run: Run) -> None:
    """Warns where a mixture file is for another number of tokens than its run takes: the config sets the length."""
    if not run.config.mixture or not hosts.is_first():
        return
    meant, takes = mixture_files.read(run.config.mixture).tokens, run.config.steps * run.step_tokens
    if meant is not None and abs(meant - takes) > run.step_tokens:
        print(
            f"{printable(run.config.mixture)} is for {meant:,} tokens and this run takes {takes:,}; for as many set "
            f"--config.runs.{run.name.role}.steps={round(meant / run.step_tokens)}.",
            file=sys.stderr,
        )


def measure_one(study: Study, job: Job) -> None:
    """Measures whatever checkpoints a run has so far, also while it trains (the verb `evaluate`).

    Checkpoints already measured are skipped: it is all that the study measures, but for the primary-only run before its end.
    """
    directory = study.directory_of(job.name, job.seed)
    if not (directory / "checkpoints").exists() or not (study.directory / "config.json").exists():
        raise UserError(f"{directory} is not a run of a study, or has no checkpoint yet; train it first.")
    check_same_config(study.directory, run_config.plain(study.config), writer=False)
    run = study.run(job.name, job.seed)
    run.check_trained_as()
    base = _base(study, run) if run.name.role != "primary_only" or run.is_done() else None
    measure.measure_run(run, base)


# --- the parent: who does what, and how far it is -------------------------------------------------------------------------


def run(study: Study, workers: int) -> None:
    """Runs, or goes on with, the whole study, up to the measurements that its report is made from."""
    # Here, before anything is written or any process is started: all runs but those that are made from measurements.
    config, seed = study.config, study.config.seeds[0]
    _check_runs(study, _plain_runs(study), seed)
    if "mix" in config.runs:
        swarm = config.swarm * len(config.seeds)
        study.mixtures = candidates.unmeasured(config.candidates, swarm, _original(study))
        _check_runs(study, map(run_names.mix, study.mixtures), seed)
    with locked(study.directory):
        check_same_config(study.directory, run_config.plain(config))
        with contextlib.closing(Board(workers, lambda job: job.name)) as board:
            _run_both_halves(study, board)


def _run_both_halves(study: Study, board: Board) -> None:
    """The runs that need nothing that others measured, and the mixes that follow from their measurements."""
    config, seeds, seconds = study.config, study.config.seeds, _Seconds(study.directory)
    _write_mixtures(study)
    jobs = _with_twins(study, _in_order(study))
    wanted = [name for name in config.candidates if candidates.is_measured(name)] if "mix" in config.runs else []
    later = [Job(seed, run_names.mix(name)) for name in wanted for seed in seeds]
    board.plan(_lengths(study, [*jobs, *later]))
    _run_all(study, jobs, board, seconds)
    write_json(study.directory / "study.json", _description(study, jobs, seconds))
    if wanted:
        study.mixtures = candidates.measured(analysis.of_study(study.directory), wanted, _original(study))
        _write_mixtures(study)
        predictions.write(study.directory, list(study.mixtures))
        mixes = [run_names.mix(name) for name in study.mixtures]
        _check_runs(study, mixes, seeds[0])
        jobs = _with_twins(study, [*jobs, *(Job(seed, name) for name in mixes for seed in seeds)])
        board.plan(_lengths(study, jobs))
        _run_all(study, jobs, board, seconds)
    seconds.write()
    write_json(study.directory / "study.json", _description(study, jobs, seconds))


def _plain_runs(study: Study) -> list[RunName]:
    """The planned runs whose mixture stands in the config, not in a file of the study."""
    names = study.planned(study.config.seeds[0])
    if "mix" in study.config.runs and study.config.runs.mix.get("mixture"):
        return [name for name in names if name.role != "mix"]  # `train --run=mix --mixture=FILE`: no other mix can be
    return [name for name in names if not name.candidate or name.is_online]


def _check_runs(study: Study, names: Iterable[RunName], seed: int, here: bool = True) -> None:
    """Refuses runs that cannot be trained. `here`: also for what depends on the devices that this process has."""
    study.materials(seed)  # a corpus that is not there is not one run's fault
    for name in names:
        try:
            _check_start(study, name, seed)
            run = study.run(name, seed)
            run_config.validate(run.config)
            if run.config.stop_every and not (run.material.problems or run.material.facts):
                raise UserError("stop_every asks for solved problems or facts, and the corpus has none; set it to 0.")
            mixture_of(run)
            if here:
                _ = run.trainer
        except UserError as error:
            raise UserError(f"run '{name}': {error}") from error


def _check_start(study: Study, name: RunName, seed: int) -> None:
    """Refuses a run that starts from one that is neither done nor among the runs to come."""
    for source in study.needs(name):
        if source not in study.planned(study.config.seeds[0]) and not is_done(study.directory_of(source, seed)):
            raise UserError(
                f"init_from is '{source}', which is neither a run of the study nor a finished one in "
                f"{study.directory / f'seed{seed}'}; name another."
            )


def _in_order(study: Study) -> list[Job]:
    """All planned runs, the longest chain of every seed first."""
    names_of = {seed: study.planned(seed) for seed in study.config.seeds}
    names = dict.fromkeys(name for names in names_of.values() for name in names)
    return [Job(seed, name) for name in names for seed in names_of if name in names_of[seed]]


def _with_twins(study: Study, jobs: list[Job]) -> list[Job]:
    """The jobs, each with the first of its seed that trains on the same: several optimisers may ask for one corpus.

    A mix that chooses its weights while it trains has no twin, for its config does not say what it trains on. Nor has a run
    in a bucket, where a folder cannot be copied as a whole.
    """
    first, result = {}, []
    for job in jobs:
        if job.name.role == "mix" and not job.name.is_online and files.is_local(study.directory):
            settings = json.dumps(run_config.plain(study.config_of(job.name, job.seed)))
            twin = first.setdefault((job.seed, settings), job)
            job = dataclasses.replace(job, twin=twin) if twin != job else job
        result.append(job)
    return result


def _original(study: Study) -> candidates.Original:
    """What candidates are made from."""
    run = study.run(run_names.mix_of_share(study.original_share), study.config.seeds[0])
    return candidates.Original(study.original, run.config.steps, run.step_tokens, study.config.get("share_grid", 0))


def _write_mixtures(study: Study) -> None:
    """Mixture files of the study; one that stands stays, for runs may have been trained on it."""
    material = study.materials_of(RunName("mix"), study.config.seeds[0])[0]  # amounts do not depend on the seed
    available = {name: len(rows) * material.max_length for name, rows in material.sources.items()}
    for name, mix in study.mixtures.items():
        file = study.directory / "mixtures" / f"{name}.json"
        if not file.exists():
            composed = mixture_files.compose(mix.made, mix.stages, available, mix.tokens)
            mixture_files.write(file, dataclasses.replace(composed, steps=mix.steps))


def _lengths(study: Study, jobs: list[Job]) -> dict[Job, Length]:
    """How long each is; a mix that is not known yet is as long as the others, and what has a twin is not trained."""
    lengths = {}
    for job in jobs:
        config = study.config_of(study.as_long(job.name), job.seed)
        measured = 0 if job.name.role == "primary_climb" else len(run_config.kept_steps(config))
        lengths[job] = Length(0, 0) if job.twin else Length(config.steps, measured, config.stop_every)
    return lengths


def _run_all(study: Study, jobs: list[Job], board: Board, seconds: "_Seconds") -> None:
    done = {job for job in jobs if _mark(study, job).exists()}
    waiting = [job for job in jobs if job not in done]

    def record(job, message):
        """Keeps and shows what a run reports."""
        if message is machine.DONE:
            write_json(_mark(study, job), True)
            done.add(job)
            board.finish(job)
            return
        if "seconds" in message:
            seconds.update(message["seconds"])
            seconds.write()
        board.update(job, message)

    for job in done:
        board.finish(job)
    if board.workers == 1:  # here, with all devices of this process; the plan's order respects what a run needs
        for job in waiting:
            execute(study, job, functools.partial(record, job))
            record(job, machine.DONE)
    elif waiting:
        _side_by_side(study, waiting, done, min(board.workers, len(waiting)), record)


def _mark(study: Study, job: Job):
    return study.directory_of(job.name, job.seed) / "MEASURED"


def _side_by_side(study: Study, waiting: list[Job], done: set[Job], workers: int, record) -> None:
    """Does the jobs in worker processes, none of which outlives this call.

    Preempted, they save what they train, and are waited for; otherwise they are killed, and what is half done is done again
    by the next call.
    """
    with machine.Workers(workers, _begin, (study.config, study.directory)) as pool:
        try:
            while waiting or pool.busy:
                for job in list(waiting):
                    if pool.idle and _ready(study, job, done):
                        waiting.remove(job)
                        pool.give(job)
                preemption.check()
                try:
                    for job, message in pool.messages(timeout=1):
                        record(job, message)
                except UserError:
                    preemption.check()  # where all processes are to go, a worker may be the first
                    raise
        except preemption.Preempted:
            pool.terminate()
            raise


def _ready(study: Study, job: Job, done: set[Job]) -> bool:
    """True when all that a run needs is done; continual runs are measured against the primary-only run's neurons."""
    if job.twin and job.twin not in done:
        return False
    needed, planned = study.needs(job.name), study.planned(job.seed)
    if job.name.role in ("continual", "control"):
        needed = [*needed, RunName("primary_only")]
    # What the study does not plan it does not wait for: it was finished before, as `_check_start` has seen.
    return all(name not in planned or Job(job.seed, name) in done for name in needed)


class _Seconds(collections.Counter):
    """Seconds by phase, summed over runs, and the "total" that one has waited, over all calls; kept in seconds.json."""

    def __init__(self, directory):
        self._path, self._last = directory / "seconds.json", time.perf_counter()
        mend = "delete it: only the times of what has run so far are lost"
        super().__init__(read_json(self._path, {str: float}, mend) if self._path.exists() else {})

    def write(self) -> None:
        now = time.perf_counter()
        self["total"] += now - self._last
        self._last = now
        write_json(self._path, dict(self))


def _description(study: Study, jobs: list[Job], seconds: _Seconds) -> dict:
    """The content of study.json."""
    packages = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
    return {
        "kind": study.config.kind,
        "primary": study.config.primary,
        "new": list(study.languages),
        "seeds": list(study.config.seeds),
        "original": study.original,
        "original_share": study.original_share,
        "runs": [_run_description(study, job) for job in jobs],
        "wall_seconds": {phase: round(value, 1) for phase, value in seconds.items()},
        "versions": {"babel_jax": babel_jax.__version__, "python": sys.version.split()[0]}
        | {package: importlib.metadata.version(package) for package in packages},
        "config": run_config.plain(study.config),
    }


def _run_description(study: Study, job: Job) -> dict:
    """A finished run: its name, also in parts, its steps and tokens, and the operations to train it (not to measure it)."""
    done = read_done(study.directory_of(job.name, job.seed))
    model = study.run(job.name, study.config.seeds[0]).model  # which does not depend on the seed
    return {
        "seed": job.seed,
        "run": str(job.name),
        **dataclasses.asdict(job.name),
        "needs": [str(name) for name in study.needs(job.name)],
        "steps": done.step,
        "tokens": done.tokens,
        "flops": flops_per_token(model) * done.tokens,
    }

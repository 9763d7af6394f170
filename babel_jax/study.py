"""The paper's story as a list of runs, each resumable, in the order in which they depend on each other.

A study is a directory: `seed<k>/<run>/` for every run, `study.json` (which run needs which), `report/`. Runs that do not
wait for each other go side by side, one thread each, in `jobs` worker processes that share nothing but the directory.
"""

import collections
import importlib.metadata
import multiprocessing
import queue
import signal
import sys
import time
import traceback

import numpy as np
from ml_collections import ConfigDict
from tqdm import tqdm

import babel_jax
from babel_jax import candidates, files, findings, machine, measurements, mixtures, plan, report
from babel_jax.errors import UserError, printable, refusal
from babel_jax.evolution import rows, stages
from babel_jax.files import content_hash, read_json, write_json
from babel_jax.material import Material
from babel_jax.measuring import diagnostics
from babel_jax.measuring import study as measure
from babel_jax.model import placement
from babel_jax.model.flops import flops_per_token
from babel_jax.optimum import ado, algorithm1
from babel_jax.organism import world
from babel_jax.probes import forward
from babel_jax.run_names import parse
from babel_jax.training import config as run_config
from babel_jax.training import hosts, preemption
from babel_jax.training.checkpoint import Seen
from babel_jax.training.loop import mixture_of, train, trainer_for
from babel_jax.training.runs import Run, check_same_config, is_done, last_step, locked, read_done

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
    run = plan.make_run_config(config, name, seed, workdir)

    def reached(params) -> bool:
        return measure.problem_accuracy(params, _model(run, material), material, material.primary) > run.stop_accuracy

    if is_done(directory / name):
        Run(parse(name), run, directory / name, tuple(materials)).check_trained_as()
    else:
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
        next_stage=_chooser(config, run, materials) if name == plan.ADO else None,
    )
    trained = time.perf_counter()
    if plan.role_of(name) != "primary_climb":
        base_LxNxF = _base(config, workdir, seed, name)
        measure.measure_run(directory / name, name, run, materials, base_LxNxF, progress)
    if plan.role_of(name) in ("continual", "control") and material.problems:
        peak = None
        if plan.role_of(name) == "continual":
            judged = rows.solved(measurements.read(directory / name), name, material.new)
            peak = int(judged.steps[stages.peak(judged.solved)])
            measure.measure_patches(directory / name, name, run, material, peak)
        names = world.World(plan.world_config(config), seed).tokens
        diagnostics.measure(directory / name, name, run, material, base_LxNxF, peak, names)
    progress({"seconds": {"training": trained - started, "measuring": time.perf_counter() - trained}})


def _chooser(config: ConfigDict, run: ConfigDict, materials: list[Material]):
    """Chooses the weights of the online mixture, by the held-out losses of all languages."""
    model = _model(run, materials[0])
    heldout = {language: rows for material in materials for language, rows in material.heldout.items()}

    def losses_of(params: dict) -> dict[str, float]:
        batch = placement.batch_rows(params, materials[0].max_length)
        measured = forward.measure(params, model, heldout, {}, materials[0].document_end, batch)
        rows = forward.loss_rows(measured)
        return {row["language"]: row["value"] for row in rows if row["metric"] == "loss"}

    return ado.chooser(plan.original_weights(config), losses_of)


def _prober(config: ConfigDict, workdir, seed: int, name: str):
    """What `train` calls at each checkpoint to measure it; None where a run is measured at its end, or not at all."""
    materials = _cached_materials(config, seed, name)
    if plan.role_of(name) == "primary_climb" or (name == "primary_only" and materials[0].problems):
        return None  # the latter is measured against its own last checkpoint
    run = plan.make_run_config(config, name, seed, workdir)
    run_dir, model = workdir / f"seed{seed}" / name, _model(run, materials[0])
    base_LxNxF = _base(config, workdir, seed, name)

    def at_checkpoint(seen: Seen, params: dict) -> None:
        measure.measure_checkpoint(run_dir, name, run, model, materials, base_LxNxF, params, seen)

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
        _materials[key] = plan.load_materials(config, seed)
    language = plan.language_of(config, name)
    return [_materials[key][language]] if language else list(_materials[key].values())


def _base(config, workdir, seed, name) -> np.ndarray | None:
    """The primary-only run's activations that a run's functional neurons are told by; None: they are not measured."""
    material = _cached_materials(config, seed, name)[0]
    if not material.problems or plan.role_of(name) not in ("primary_only", "continual", "control"):
        return None
    key = (workdir, seed)
    if key not in _bases:
        run_dir = workdir / f"seed{seed}" / "primary_only"
        _bases[key] = measure.base_activations(run_dir, plan.make_run_config(config, "primary_only", seed), material)
    return _bases[key]


def _next_task(tasks):
    while True:
        try:
            return tasks.get(timeout=1)
        except queue.Empty:
            preemption.check()


def _work(config: ConfigDict, workdir, tasks, messages) -> None:
    """A worker process: takes (seed, name) until it is killed or preempted (then what it trains is saved).

    Ends at once when the process that started it has died.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    preemption.install()
    machine.die_with(multiprocessing.parent_process())  # also in the middle of a long compilation
    try:
        _take_tasks(config, workdir, tasks, messages)
    except preemption.Preempted:
        messages.cancel_join_thread()  # nobody reads them any more
        sys.exit(preemption.EXIT_STATUS)


def _take_tasks(config: ConfigDict, workdir, tasks, messages) -> None:
    while True:
        task = _next_task(tasks)

        def progress(message, task=task):
            messages.put((task, message))

        try:
            execute(config, workdir, *task, progress)
            messages.put((task, "done"))
        except preemption.Preempted:
            raise
        except BaseException as error:
            failed = f"run {task} failed:\n{traceback.format_exc()}"
            messages.put((task, refusal(error) or RuntimeError(failed)))


def train_one(config: ConfigDict, workdir, seed: int, name: str, profile_dir=None, probing: bool = False) -> None:
    """Trains and measures one run of a study in this process, on all its devices and all hosts (the verb `train`).

    `probing`: see `execute`.
    """
    plan.check_run(config, name)
    plan.original_share(config)
    workdir = files.path(workdir)
    run = plan.make_run_config(config, name, seed, workdir)
    _check_runs(config, [name], workdir, seed)
    _check_runs(config, [other for other in _plain_runs(config) if other != name], workdir, seed, here=False)
    directory = workdir / f"seed{seed}"
    if not (directory / name / "checkpoints").exists():  # a run that goes on has taken its start already
        for source in plan.needs(config, name):
            last_step(directory / source)
    check_same_config(workdir, run_config.plain(config), hosts.is_first())
    _say_length(config, run, seed, name)
    board = Board(run.steps, 1, 1)
    try:
        execute(config, workdir, seed, name, lambda message: board.update((seed, name), message), profile_dir, probing)
    finally:
        board.close()


def _say_length(config: ConfigDict, run: ConfigDict, seed: int, name: str) -> None:
    """Says so where a mixture file is for another number of tokens than its run takes: the config sets the length."""
    if not run.mixture or not hosts.is_first():
        return
    step_tokens = run.batch_size * _cached_materials(config, seed, name)[0].max_length
    meant, steps = mixtures.read(run.mixture).get("tokens"), run.steps
    if isinstance(meant, int) and abs(meant - steps * step_tokens) > step_tokens:
        print(
            f"{printable(run.mixture)} is for {meant:,} tokens and this run takes {steps * step_tokens:,}; for as many set "
            f"--config.runs.{plan.role_of(name)}.steps={round(meant / step_tokens)}.",
            file=sys.stderr,
        )


def measure_one(config: ConfigDict, workdir, seed: int, name: str) -> None:
    """Measures whatever checkpoints a run has so far, also while it trains (the verb `evaluate`).

    What is measured stays: it is all that the study measures, but for the primary-only run before its end.
    """
    plan.check_run(config, name)
    workdir = files.path(workdir)
    run_dir = workdir / f"seed{seed}" / name
    if not (run_dir / "checkpoints").exists() or not (workdir / "config.json").exists():
        raise UserError(f"{run_dir} is not a run of a study, or has no checkpoint yet; train it first.")
    check_same_config(workdir, run_config.plain(config), writer=False)
    run, materials = plan.make_run_config(config, name, seed, workdir), _cached_materials(config, seed, name)
    Run(parse(name), run, run_dir, tuple(materials)).check_trained_as()
    base = _base(config, workdir, seed, name) if name != "primary_only" or is_done(run_dir) else None
    measure.measure_run(run_dir, name, run, materials, base)


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
    """Runs, or goes on with, the whole study; returns its report."""
    plan.validate(config)
    plan.original_share(config)
    workdir = files.path(workdir)
    # Here, before anything is written or any process is started: all runs but those that are made from measurements.
    _check_runs(config, _plain_runs(config), workdir)
    found = {}
    if "mix" in config.runs:
        found = candidates.unmeasured(config.candidates, config.swarm * len(config.seeds), _mixes_of(config))
        _check_runs(config, [f"mix_{name}" for name in found], workdir, mixes=found)
    with locked(workdir):
        check_same_config(workdir, run_config.plain(config))
        seconds = _Seconds(workdir)
        _write_mixtures(config, workdir, found)
        tasks = _in_order(config, {seed: plan.planned_runs(config, seed) for seed in config.seeds})
        _run_all(config, workdir, tasks, jobs, seconds)
        write_json(workdir / "study.json", _description(config, tasks, workdir, seconds))
        wanted = [name for name in config.candidates if candidates.is_measured(name)]
        if wanted and "mix" in config.runs:
            found = candidates.measured(findings.of_study(workdir), wanted, _mixes_of(config))
            _write_mixtures(config, workdir, found)
            _check_runs(config, [f"mix_{name}" for name in found], workdir)
            tasks += [(seed, f"mix_{name}") for name in found for seed in config.seeds]
            _run_all(config, workdir, tasks, jobs, seconds)
        seconds.write()
        write_json(workdir / "study.json", _description(config, tasks, workdir, seconds))
        return report.build(workdir)


def _plain_runs(config) -> list[str]:
    """The planned runs whose mixture stands in the config, not in a file of the study."""
    if "mix" in config.runs and config.runs.mix.get("mixture"):  # `train --run=mix --mixture=FILE`: no other mix can be
        config = ConfigDict(
            config.to_dict() | {"runs": {role: run for role, run in config.runs.items() if role != "mix"}}
        )
    return [name for name in plan.planned_runs(config, config.seeds[0]) if not candidates.has_file(name)]


def _check_runs(config, names, workdir, seed: int | None = None, mixes=plan.NO_MIXES, here: bool = True) -> None:
    """Refuses runs that cannot be trained.

    `seed`: whose material they are checked with (default: the first). `mixes`: see `plan.make_run_config`. `here`: also what
    depends on the devices at hand, for runs that this process is to train.
    """
    seed = config.seeds[0] if seed is None else seed
    for name in names:
        material = _cached_materials(config, seed, name)[0]
        try:
            _check_start(config, name, workdir / f"seed{seed}")
            settings = plan.make_run_config(config, name, seed, workdir, mixes)
            run_config.validate(settings)
            if settings.stop_every and not material.problems:
                raise UserError("stop_every asks for solved problems, and a corpus has none; set it to 0.")
            mixture_of(settings, material)
            if here:
                trainer_for(settings, material)
        except UserError as error:
            raise UserError(f"run '{name}': {error}") from error


def _check_start(config, name: str, directory) -> None:
    """Refuses a run that starts from one that is neither done nor among the runs to come."""
    for source in plan.needs(config, name):
        if source not in plan.planned_runs(config, config.seeds[0]) and not is_done(directory / source):
            raise UserError(
                f"init_from is '{source}', which is neither a run of the study nor a finished one in {directory}; name another."
            )


def _in_order(config, names_of: dict[int, list[str]]) -> list[tuple]:
    """(seed, name) of all runs, the longest chain of every seed first."""
    names = dict.fromkeys(name for names in names_of.values() for name in names)
    return [(seed, name) for name in names for seed in config.seeds if name in names_of[seed]]


def _mixes_of(config) -> candidates.Original:
    """What candidates are made from."""
    name = algorithm1.mix_name(plan.original_share(config))
    run, material = (
        plan.make_run_config(config, name, config.seeds[0]),
        _cached_materials(config, config.seeds[0], name)[0],
    )
    return candidates.Original(plan.original_weights(config), run.steps, run.batch_size * material.max_length)


def _write_mixtures(config, workdir, found: dict[str, dict]) -> None:
    """Mixture files of the study; one that stands stays, for runs may have been trained on it."""
    material = _cached_materials(config, config.seeds[0], "mix")[0]  # amounts do not depend on the seed
    available = {name: len(rows) * material.max_length for name, rows in material.sources.items()}
    for name, candidate in found.items():
        file = workdir / "mixtures" / f"{name}.json"
        if not file.exists():
            made = mixtures.compose(candidate.made, candidate.stages, available, candidate.tokens)
            mixtures.write(file, made | {"steps": candidate.steps})


def _run_all(config, workdir, tasks, jobs, seconds) -> None:
    planned = {task: plan.make_run_config(config, task[1], task[0], workdir).steps for task in tasks}
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
            seconds.write()
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
    """Does the tasks in worker processes, none of which outlives this call.

    Preempted, they save what they train, and are waited for; otherwise they are killed, and what is half done is done again
    by the next call. Where this process is killed, they end as soon as it is gone (`machine.die_with`).
    """
    context = multiprocessing.get_context("spawn")
    messages = context.Queue()
    inboxes = [context.Queue() for _ in range(jobs)]
    workers = [context.Process(target=_work, args=(config, workdir, inbox, messages), daemon=True) for inbox in inboxes]
    running: dict[tuple, int] = {}
    idle = list(range(jobs))
    try:
        _start(workers)
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
        started = [worker for worker in workers if worker.pid is not None]
        for worker in started:
            worker.kill()  # all of them before any is waited for: a second Ctrl-C may end the waiting
        for worker in started:
            worker.join()


def _start(workers: list) -> None:
    """Starts the workers. They hold SIGINT back until they ignore it, so Ctrl-C does not end them while they import."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        for worker in workers:
            worker.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _ready(config, task, done) -> bool:
    """True when all that a run needs is done; continual runs are measured against the primary-only run's neurons."""
    seed, name = task
    wanted = plan.needs(config, name) + (["primary_only"] if plan.role_of(name) in ("continual", "control") else [])
    return all((seed, other) in done for other in wanted)


class _Seconds(collections.Counter):
    """Seconds by phase, summed over runs, and the "total" that one has waited, over all calls; kept in seconds.json."""

    def __init__(self, workdir):
        self._path, self._last = workdir / "seconds.json", time.perf_counter()
        mend = "delete it: only the times of what has run so far are lost"
        super().__init__(read_json(self._path, {str: float}, mend) if self._path.exists() else {})

    def write(self) -> None:
        now = time.perf_counter()
        self["total"] += now - self._last
        self._last = now
        write_json(self._path, dict(self))


def _size(config, workdir, seed, name) -> dict:
    """Steps and tokens of a finished run, and the operations to train it (not to measure it)."""
    done = read_done(workdir / f"seed{seed}" / name)
    material = _cached_materials(config, config.seeds[0], name)[0]  # sizes do not depend on the seed
    model = _model(plan.make_run_config(config, name, seed, workdir), material)
    return {"steps": done.step, "tokens": done.tokens, "flops": flops_per_token(model) * done.tokens}


def _description(config, tasks, workdir, seconds) -> dict:
    packages = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
    return {
        "kind": config.kind,
        "primary": config.primary,
        "new": list(plan.new_languages(config)),
        "seeds": list(config.seeds),
        "original": plan.original_weights(config),
        "original_share": plan.original_share(config),
        "runs": [
            {
                "seed": seed,
                "run": name,
                "needs": plan.needs(config, name),
                **_size(config, workdir, seed, name),
            }
            for seed, name in tasks
        ],
        "wall_seconds": {phase: round(value, 1) for phase, value in seconds.items()},
        "versions": {"babel_jax": babel_jax.__version__, "python": sys.version.split()[0]}
        | {package: importlib.metadata.version(package) for package in packages},
        "config": run_config.plain(config),
    }

"""One run, from its config to DONE: a flat story that can be killed and resumed at any moment, on any number of hosts."""

import collections
import contextlib
import dataclasses
import sys
import time
from collections.abc import Callable

import jax
import numpy as np
from ml_collections import ConfigDict

import babel_jax
from babel_jax import files
from babel_jax.corpus.mixture import LOST_STAGES, Mixture, read_stages, stages_from_config
from babel_jax.errors import UserError
from babel_jax.files import read_json, write_json
from babel_jax.limits import COUNTS
from babel_jax.material import Material
from babel_jax.model import sharding
from babel_jax.model.flops import flops_per_token
from babel_jax.training import hosts, preemption
from babel_jax.training.checkpoint import Checkpoints, Metadata, Seen, restore_newest, restore_params
from babel_jax.training.clock import Clock
from babel_jax.training.config import decoder_config, kept_steps, plain, validate
from babel_jax.training.metrics import LOG_EVERY, OFFENDERS, Metrics
from babel_jax.training.optimizer import learning_rate, static_settings
from babel_jax.training.runs import _beside, check_same_config, is_done, last_step, locked
from babel_jax.training.step import Trainer, make_trainer

STOPPED = {
    "step": COUNTS,
    "loss": (float, type(None)),
    "grad_norm": (float, type(None)),
    "rows": [{"source": str, "row": COUNTS}],
}
HOPELESS = 64  # bad steps one after the other after which a run stops, also with bad_step="skip"
PROFILED = range(4, 10)  # steps of a process whose trace `profile_dir` gets: after compilation and first touches


def trainer_for(config: ConfigDict, material: Material) -> tuple[Trainer, object]:
    """The compiled functions of a run and its decoder config."""
    validate(config)
    model = decoder_config(config, material.vocab_size, material.max_length, material.frozen_rows)
    mesh = sharding.make_mesh(**config.mesh.to_dict())
    sharding.check_batch(mesh, config.batch_size, config.accumulation)
    optimizer = static_settings(config.optimizer)
    return make_trainer(model, optimizer, material.document_end, mesh, config.accumulation), model


def mixture_of(config: ConfigDict, material: Material, stages=None) -> Mixture:
    """The rows of a run, in their order; `stages`: in place of those of the config.

    Raises:
      UserError: among others the run would see a source more than `max_epochs` times, to two decimals.
    """
    found = stages_from_config(stages or config.stages, material.max_length)
    mixture = Mixture(material.sources, found, config.seed)
    for name, epochs in mixture.epochs(config.steps * config.batch_size).items():
        if round(epochs, 2) > config.max_epochs > 0:
            raise UserError(
                f"source '{name}' would be seen {epochs:.2f} times in {config.steps} steps, and max_epochs is "
                f"{config.max_epochs:g}; lower its weight or `steps`, or raise max_epochs."
            )
    return mixture


def _closed(stages, config: ConfigDict, material: Material) -> list[dict]:
    """Chosen stages with the end of the last one, where another will be chosen there.

    The order of the rows within a stage depends on its length, so the length must stand before its first row is drawn.
    """
    every = config.online.every
    if not every or len(stages) * every >= config.steps:
        return stages
    size = every * config.batch_size * material.max_length
    return [*stages[:-1], stages[-1] | {"tokens": size}, stages[-1]]


def _chosen(run_dir, config: ConfigDict, more: list[dict] | None = None) -> list[dict]:
    """The stages of a run that chooses them itself, as all hosts find them in its stages.json; `more`: write these first."""
    file = run_dir / "stages.json"
    if hosts.is_first() and (more or not file.exists()):
        write_json(file, more or plain(list(config.stages)))
    hosts.barrier(f"stages {len(more or ())} of {run_dir}")
    return read_stages(run_dir)


def train(
    config: ConfigDict,
    material: Material,
    run_dir,
    *,
    progress: Callable[[dict], None] = lambda message: None,
    stop_when: Callable[[dict], bool] | None = None,
    profile_dir=None,
    at_checkpoint: Callable[[Seen, dict], None] | None = None,
    next_stage: Callable[[int, dict, list[dict]], dict] | None = None,
) -> None:
    """Trains one run in `run_dir` until its steps, or its criterion, are reached; returns at once when DONE stands there.

    Every host of a run calls this alike; the first one alone writes the small files.

    Args:
      config: see training/config.py.
      material: what it trains on.
      run_dir: a directory that all hosts see, or gs://bucket/..., s3://bucket/...
      progress: called every `LOG_EVERY` steps with {"step", "steps", "loss", "tokens_per_second", ...}.
      stop_when: `params -> bool`, asked every `config.stop_every` steps.
      profile_dir: where to write a profiler's trace of a few steps.
      at_checkpoint: called with (`tokens_seen`, params) when a kept checkpoint is on disk, also with the one that a run
        goes on from; it must not change the parameters.
      next_stage: called every `config.online.every` steps with (step, params, stages so far), answers {"weights": {source:
        weight}} of the rows to come and whatever else it wants to find again in "stages so far", as JSON values. What it
        answered stands in `run_dir`/stages.json, in the form of `config.stages`, and is not asked again after a restart.

    Raises:
      preemption.Preempted: this machine is taken away; the run has saved itself.
      UserError: among others a loss that is no number, or a spike, with bad_step="stop"; see `run_dir`/stopped.json.
    """
    run_dir = files.path(run_dir)
    if not is_done(run_dir):
        _check_before(config, material, run_dir, next_stage)
    with locked(run_dir):
        if hosts.agree(is_done(run_dir)):
            if profile_dir:
                raise UserError(f"{run_dir} is done, so there is nothing to profile; profile a run that is not.")
            return
        check_same_config(run_dir, {"config": plain(config), "material": material.fingerprint}, hosts.is_first())
        _check_stopped(run_dir, config.bad_step)
        # Closed also after an error: what is being saved then is saved.
        with (
            contextlib.closing(Checkpoints(run_dir)) as checkpoints,
            contextlib.closing(Checkpoints(run_dir, "resume", keep=1)) as resume,
            contextlib.ExitStack() as trace,
        ):
            _train(
                config,
                material,
                run_dir,
                checkpoints,
                resume,
                progress,
                stop_when,
                profile_dir,
                at_checkpoint,
                next_stage,
                trace,
            )
        if hosts.is_first():
            files.remove_tree(run_dir / "resume")


def _check_before(config: ConfigDict, material: Material, run_dir, next_stage) -> None:
    """What a run can be refused for is found before its directory is marked with its config."""
    trainer_for(config, material)
    mixture_of(config, material)
    if config.online.every and not next_stage:
        raise UserError(
            f"{run_dir} chooses its weights while it trains (online.every={config.online.every}), and nothing is there that "
            "chooses; train it as a run of a study."
        )
    if config.init_from and not (run_dir / "checkpoints").exists():
        last_step(_beside(run_dir, config.init_from))


def _train(
    config,
    material,
    run_dir,
    checkpoints,
    resume,
    progress,
    stop_when,
    profile_dir,
    at_checkpoint,
    next_stage,
    trace,
):
    trainer, model = trainer_for(config, material)
    stages = _chosen(run_dir, config) if config.online.every else config.stages
    mixture = mixture_of(config, material, _closed(stages, config, material))
    if hosts.is_first() and (trainer.mesh.size > 1 or jax.default_backend() != "cpu"):
        print(sharding.table(trainer.mesh, trainer.abstract_state), file=sys.stderr)
        print(f"attention {model.attention}, remat {model.remat}, {model.dtype}", file=sys.stderr)

    # Where the run starts: 1. its newest readable checkpoint, 2. the last parameters of `init_from`, 3. its seed.
    start, about = 0, Metadata(0, 0, {}, plain(model), time.time(), rows_drawn={}, version=babel_jax.__version__)
    if restored := restore_newest([checkpoints, resume], trainer.abstract_state, plain(model)):
        state, before = restored
        start, about = before.step, dataclasses.replace(before, model=about.model, version=about.version)
    elif config.init_from:
        source = _beside(run_dir, config.init_from)
        params = restore_params(source, last_step(source), trainer.abstract_state["params"], plain(model))
        state = trainer.fresh(params)
    else:
        state = trainer.init(config.seed)
    if config.online.every and len(stages) * config.online.every < start:
        raise UserError(
            f"{run_dir}/stages.json tells the rows of {len(stages)} stages and the run is at step {start}; {LOST_STAGES}."
        )
    if profile_dir and config.steps - start < PROFILED.stop:
        raise UserError(
            f"a profile takes {PROFILED.stop} steps and {run_dir} has {config.steps - start} left; profile another."
        )
    # Counted as they are drawn, not computed: `corpus verify --run` compares the two.
    counted = about.rows_drawn is not None  # a run that an earlier version began has not counted all
    drawn = collections.Counter(about.rows_drawn)
    started = about.started
    clock = Clock(config.batch_size * material.max_length, flops_per_token(model), about.seconds)
    metrics = Metrics(run_dir, config, mixture, clock, start, progress)
    step, saved, saved_at = start, start if restored else None, time.monotonic()

    def save(store):
        nonlocal saved, saved_at
        with clock.phase("checkpoint"):
            # One after the other: two stores that save at once meet at the same barriers of Orbax, which then fail.
            checkpoints.wait()
            resume.wait()
            # The metrics first: a checkpoint that exists has its metrics, and a resumed run writes the same file again.
            if hosts.is_first():
                metrics.write(started)
            seen = tokens_seen(mixture, material, config, step)
            counts = dict(drawn) if counted else None
            store.save(state, dataclasses.replace(about, **vars(seen), seconds=clock.totals, rows_drawn=counts))
        saved, saved_at = step, time.monotonic()

    def save_now():
        """An emergency: nothing is lost when this returns."""
        metrics.read()
        if saved != step:
            save(resume)
        checkpoints.wait()
        resume.wait()

    def read_metrics(leave=0):
        """Books the metrics of the steps before; ends the run at a bad one, if its config says so."""
        bad = metrics.read(leave)
        if bad and config.bad_step == "stop":
            save_now()  # the step function has left the parameters as they were before the bad step
            if hosts.is_first():
                write_json(run_dir / "stopped.json", bad[0] | {"measured": metrics.records[-LOG_EVERY:]})
            raise _bad_step(run_dir, bad[0])
        if bad and metrics.bad_in_a_row() >= HOPELESS:
            save_now()
            raise UserError(
                f"the last {HOPELESS} steps of {run_dir} up to {bad[-1]['step']} were all bad, so skipping them leads nowhere; "
                "see its metrics.jsonl, then lower the learning rate or raise spike_factor in a new workdir."
            )

    loss_weight_V = trainer.put(material.loss_weight_V)
    constants = trainer.put(
        {
            "label_smoothing": np.float32(config.optimizer.label_smoothing),
            "spike_factor": np.float32(config.spike_factor),
        }
    )
    kept, executables = kept_steps(config), trainer.step._cache_size()
    while True:
        if preemption.reached():
            read_metrics()  # a bad step that is read only now still stops the run
            save_now()
            raise preemption.Preempted
        if step in kept:
            read_metrics()
            save(checkpoints)
            if at_checkpoint:
                with clock.phase("checkpoint"):
                    checkpoints.wait()  # what it says of a checkpoint outlives a kill, so the checkpoint must, too
                with clock.phase("evaluation"):
                    at_checkpoint(tokens_seen(mixture, material, config, step), state["params"])
        elif step > start and resume_due(config, step, saved_at):
            read_metrics()
            save(resume)
        if config.stop_every and step % config.stop_every == 0 and step:
            with clock.phase("evaluation"):
                enough = stop_when(state["params"])
            if enough:
                break
        if step == config.steps:
            if config.stop_every:
                raise UserError(
                    f"{run_dir} did not reach accuracy {config.stop_accuracy} within {config.steps} steps; raise `steps`, or "
                    "look at its metrics.jsonl."
                )
            break
        if config.online.every and step == len(stages) * config.online.every:
            read_metrics()
            with clock.phase("evaluation"):
                answer = next_stage(step, state["params"], stages)
            stages = [*_closed(stages, config, material)[:-1], {"tokens": 0, "step": step} | answer]
            mixture = metrics.mixture = mixture_of(config, material, _closed(stages, config, material))
            stages = _chosen(run_dir, config, stages)
        if profile_dir and step - start == PROFILED.start:
            trace.enter_context(jax.profiler.trace(str(profile_dir)))
        with clock.phase("data"):
            places = step * config.batch_size
            drawn.update(mixture.drawn(places + np.arange(config.batch_size)))
            tokens_BxT1 = trainer.put_batch(
                lambda offsets, first=places, rows=mixture.rows: rows(first + offsets), config.batch_size
            )
        rate = np.float32(learning_rate(config.optimizer, step, config.steps))
        with clock.phase("compile" if step == start else "step"), jax.transfer_guard("disallow"):
            state, found = trainer.step(
                state, tokens_BxT1, loss_weight_V, constants | trainer.put({"learning_rate": rate})
            )
        if trainer.step._cache_size() > executables + 1:
            raise RuntimeError("the train step was compiled twice; one state leaf or batch changes its placement.")
        step += 1
        metrics.add(step, found)
        read_metrics(leave=1)  # metrics of step n-1 are read while step n runs
        if profile_dir and step - start == PROFILED.stop:
            jax.block_until_ready(state)
            trace.close()
    checkpoints.wait()
    if hosts.is_first():
        done = vars(tokens_seen(mixture, material, config, step)) | {"seconds": clock.totals}
        rows = {name: len(source) for name, source in material.sources.items()}
        if counted:
            done["sources"] = {name: {"rows": count, "drawn": drawn[name]} for name, count in sorted(rows.items())}
        write_json(run_dir / "DONE", done)
    hosts.barrier(f"done {run_dir}")


def resume_due(config, step: int, saved_at: float) -> bool:
    """Whether to save for resuming alone: by steps, or by the clock of process 0, which is not asked at every step."""
    if config.resume_every and step % config.resume_every == 0:
        return True
    if not config.resume_minutes or step % LOG_EVERY:
        return False
    return bool(hosts.agree(time.monotonic() - saved_at >= 60 * config.resume_minutes))


def _check_stopped(run_dir, policy: str) -> None:
    """A run that a bad step has stopped stays stopped, also when a launcher starts it again, until the user decides."""
    path = run_dir / "stopped.json"
    if policy == "stop" and path.exists():
        mend = "a bad step has stopped this run: use a new workdir, or go on without that step by bad_step=skip"
        raise _bad_step(run_dir, read_json(path, STOPPED, mend))
    if policy == "skip" and hosts.is_first():
        files.remove(path)


def _bad_step(run_dir, record: dict) -> UserError:
    rows = ", ".join(f"{row['source']} {row['row']}" for row in record["rows"][:OFFENDERS])
    more = f" and {len(record['rows']) - OFFENDERS} more" if len(record["rows"]) > OFFENDERS else ""
    loss, norm = ("no number" if record[name] is None else record[name] for name in ("loss", "grad_norm"))
    return UserError(
        f"step {record['step']} of {run_dir} was bad: its loss is {loss}, its gradient norm {norm} (rows {rows}{more}). The "
        "state without that step is saved: lower the learning rate or check the rows and use a new workdir, or go on without "
        "that step by bad_step=skip."
    )


def tokens_seen(mixture: Mixture, material: Material, config, step: int) -> Seen:
    """What the run has seen after `step` updates."""
    by_language: dict[str, int] = {}
    for name, rows in mixture.rows_seen(step * config.batch_size).items():
        language = material.source_language[name]
        by_language[language] = by_language.get(language, 0) + rows * material.max_length
    return Seen(step, sum(by_language.values()), by_language)

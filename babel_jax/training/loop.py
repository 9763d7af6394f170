"""One run, from its config to DONE: a flat story that can be killed and resumed at any moment, on any number of hosts."""

import contextlib
import dataclasses
import sys
import time
from collections.abc import Callable

import jax
import numpy as np

import babel_jax
from babel_jax.common import files
from babel_jax.common.errors import UserError
from babel_jax.common.files import read_json, write_json
from babel_jax.common.limits import COUNTS
from babel_jax.model import sharding
from babel_jax.model.flops import flops_per_token
from babel_jax.training import hosts, preemption
from babel_jax.training.checkpoint import Checkpoints, Metadata, Seen, restore_newest, restore_params
from babel_jax.training.clock import Clock
from babel_jax.training.config import kept_steps
from babel_jax.training.metrics import LOG_EVERY, OFFENDERS, Metrics
from babel_jax.training.optimizer import learning_rate
from babel_jax.training.runs import Run, last_step, locked
from babel_jax.training.sampler import Sampler

STOPPED = {  # the shape of stopped.json
    "step": COUNTS,
    "loss": (float, type(None)),
    "grad_norm": (float, type(None)),
    "rows": [{"source": str, "row": COUNTS}],
}
HOPELESS = 64  # bad steps one after the other after which a run stops, also with bad_step="skip"
PROFILED = range(4, 10)  # steps of a process whose trace `profile_dir` gets: after compilation and first touches


@dataclasses.dataclass(frozen=True)
class Hooks:
    """Called by a run as it goes; nothing here may change its parameters.

    Attributes:
      progress: called every `LOG_EVERY` steps with {"step", "steps", "loss", "tokens_per_second", ...}.
      stop_when: `params -> bool`, asked every `config.stop_every` steps.
      at_checkpoint: called with (what the run has seen, params) when a kept checkpoint is on disk, also with the one that a
        run resumes from.
      profile_dir: where to write a profiler's trace of a few steps.
    """

    progress: Callable[[dict], None] = lambda message: None
    stop_when: Callable[[dict], bool] | None = None
    at_checkpoint: Callable[[Seen, dict], None] | None = None
    profile_dir: object = None


def train(run: Run, hooks: Hooks = Hooks(), sampler: Sampler | None = None) -> None:
    """Trains a run until its steps, or its criterion, are reached; returns at once when it is done.

    Every host of a run calls this alike; the first one alone writes the small files. `sampler`: by default the mixture of the
    run's config.

    Raises:
      preemption.Preempted: this machine is taken away; the run has saved itself.
      UserError: among others a loss that is not a finite number, or a spike, with bad_step="stop"; see stopped.json.
    """
    if not run.is_done():
        _check_before(run, hooks, sampler)
    with locked(run.directory):
        if hosts.agree(run.is_done()):
            if hooks.profile_dir:
                raise UserError(f"{run.directory} is done, so there is nothing to profile; profile a run that is not.")
            return
        run.check_config(hosts.is_first())
        _check_stopped(run)
        # Closed also after an error: what is being saved then is saved.
        with (
            contextlib.closing(Checkpoints(run.directory)) as kept,
            contextlib.closing(Checkpoints(run.directory, "resume", keep=1)) as resume,
        ):
            _Training(run, hooks, sampler or Sampler(run), kept, resume).to_the_end()
        if hosts.is_first():
            files.remove_tree(run.directory / "resume")


def _check_before(run: Run, hooks: Hooks, sampler: Sampler | None) -> None:
    """Refuses what cannot run, before the directory is marked with the run's config."""
    _ = run.trainer, sampler or Sampler(run)
    run.check_source()
    if hooks.profile_dir and (left := run.config.steps - _newest_step(run)) < PROFILED.stop:
        raise UserError(f"a profile takes {PROFILED.stop} steps and {run.directory} has {left} left; profile another.")


def _newest_step(run: Run) -> int:
    """The step of the newest checkpoint that is there, readable or not; 0 where there is none."""
    steps = [0]
    for folder in ("checkpoints", "resume"):
        if (run.directory / folder).is_dir():
            with contextlib.closing(Checkpoints(run.directory, folder, create=False)) as checkpoints:
                steps += checkpoints.steps()
    return max(steps)


class _Training:
    """A run in progress: its `state` on the devices after `step` updates."""

    def __init__(self, run: Run, hooks: Hooks, sampler: Sampler, kept: Checkpoints, resume: Checkpoints):
        self.run, self.config, self.trainer, self.hooks, self.sampler = run, run.config, run.trainer, hooks, sampler
        self.kept, self.resume = kept, resume
        if hosts.is_first() and (self.trainer.mesh.size > 1 or jax.default_backend() != "cpu"):
            print(sharding.table(self.trainer.mesh, self.trainer.abstract_state), file=sys.stderr)
            print(f"attention {run.model.attention}, remat {run.model.remat}, {run.model.dtype}", file=sys.stderr)
        self.state, self.about, self.saved = self._start()
        self.step = self.start = self.about.step
        self.saved_at = time.monotonic()
        sampler.start(self.about)
        self.clock = Clock(run.step_tokens, flops_per_token(run.model), self.about.seconds)
        self.metrics = Metrics(run, sampler, self.clock, self.start, hooks.progress)
        self.executables = self.trainer.step._cache_size()
        self.loss_weight_V = self.trainer.put(run.material.loss_weight_V)
        self.constants = self.trainer.put(
            {
                "label_smoothing": np.float32(self.config.optimizer.label_smoothing),
                "spike_factor": np.float32(self.config.spike_factor),
            }
        )
        self.trace = contextlib.ExitStack()

    def _start(self) -> tuple[dict, Metadata, int | None]:
        """Where the run starts: its state, what it says of itself, and the step of it that is saved already.

        1. its newest readable checkpoint, 2. the last parameters of `init_from`, 3. its seed.
        """
        model = self.run.model.to_json()
        if restored := restore_newest([self.kept, self.resume], self.trainer.abstract_state, model):
            state, about = restored
            return state, dataclasses.replace(about, model=model, version=babel_jax.__version__), about.step
        about = Metadata(0, 0, {}, model, time.time(), rows_drawn={}, version=babel_jax.__version__)
        if self.run.source:
            params = restore_params(self.run.source, last_step(self.run.source), self.run.abstract_params, model)
            return self.trainer.fresh(params), about, None
        return self.trainer.init(self.config.seed), about, None

    def to_the_end(self) -> None:
        kept = kept_steps(self.config)
        with self.trace:
            while True:
                self.leave_if_preempted()
                if self.step in kept:
                    self.keep()
                elif self.step > self.start and self.resume_due():
                    self.read_metrics()
                    self.save(self.resume)
                if self.is_at_its_end():
                    break
                if self.sampler.chooses_at(self.step):
                    self.read_metrics()
                    with self.clock.phase("evaluation"):
                        self.sampler.choose(self.step, self.state["params"])
                self.update()
        self.kept.wait()
        if hosts.is_first():
            self.write_done()
        hosts.barrier(f"done {self.run.directory}")

    def update(self) -> None:
        """One optimiser step; the metrics of the step before are read while it runs."""
        if self.hooks.profile_dir and self.step - self.start == PROFILED.start:
            self.trace.enter_context(jax.profiler.trace(str(self.hooks.profile_dir)))
        with self.clock.phase("data"):
            tokens_BxT1 = self.trainer.put_batch(self.sampler.rows(self.step), self.config.batch_size)
        rate = np.float32(learning_rate(self.config.optimizer, self.step, self.config.steps))
        with self.clock.phase("compile" if self.step == self.start else "step"), jax.transfer_guard("disallow"):
            hyper = self.constants | self.trainer.put({"learning_rate": rate})
            self.state, metrics = self.trainer.step(self.state, tokens_BxT1, self.loss_weight_V, hyper)
        if self.trainer.step._cache_size() > self.executables + 1:
            raise RuntimeError("the train step was compiled twice; one state leaf or batch changes its placement.")
        self.step += 1
        self.metrics.add(self.step, metrics)
        self.read_metrics(leave=1)
        if self.hooks.profile_dir and self.step - self.start == PROFILED.stop:
            jax.block_until_ready(self.state)
            self.trace.close()

    def read_metrics(self, leave: int = 0) -> None:
        """Logs the metrics of all but the last `leave` steps; ends the run at a bad one, if its config says so."""
        bad = self.metrics.read(leave)
        if bad and self.config.bad_step == "stop":
            self.save_now()  # the step function has left the parameters as they were before the bad step
            if hosts.is_first():
                measured = self.metrics.records[-LOG_EVERY:]
                write_json(self.run.directory / "stopped.json", bad[0] | {"measured": measured})
            raise _bad_step(self.run.directory, bad[0])
        if bad and self.metrics.bad_in_a_row() >= HOPELESS:
            self.save_now()
            raise UserError(
                f"the last {HOPELESS} steps of {self.run.directory} up to {bad[-1]['step']} were all bad, so skipping them leads "
                "nowhere; see its metrics.jsonl, then lower the learning rate or raise spike_factor in a new workdir."
            )

    def save(self, store: Checkpoints) -> None:
        with self.clock.phase("checkpoint"):
            # One after the other: two stores that save at once would use the same barriers of Orbax, which then fail.
            self.kept.wait()
            self.resume.wait()
            # The metrics first: a checkpoint that exists has its metrics, and a resumed run writes the same file again.
            if hosts.is_first():
                self.metrics.write(self.about.started)
            seen = vars(self.sampler.seen(self.step))
            drawn, seconds = self.sampler.drawn(), self.clock.totals
            store.save(self.state, dataclasses.replace(self.about, **seen, seconds=seconds, rows_drawn=drawn))
        self.saved, self.saved_at = self.step, time.monotonic()

    def save_now(self) -> None:
        """An emergency: nothing is lost when this returns."""
        self.metrics.read()
        if self.saved != self.step:
            self.save(self.resume)
        self.kept.wait()
        self.resume.wait()

    def leave_if_preempted(self) -> None:
        if preemption.reached():
            self.read_metrics()  # a bad step that is read only now still stops the run
            self.save_now()
            raise preemption.Preempted

    def keep(self) -> None:
        """Saves a checkpoint that stays, and has it measured if there is a hook."""
        self.read_metrics()
        self.save(self.kept)
        if self.hooks.at_checkpoint:
            with self.clock.phase("checkpoint"):
                self.kept.wait()  # what it says of a checkpoint outlives a kill, so the checkpoint must, too
            with self.clock.phase("evaluation"):
                self.hooks.at_checkpoint(self.sampler.seen(self.step), self.state["params"])

    def resume_due(self) -> bool:
        """Whether to save for resuming alone: by steps, or by the clock of process 0, which is not asked at every step."""
        if self.config.resume_every and self.step % self.config.resume_every == 0:
            return True
        if not self.config.resume_minutes or self.step % LOG_EVERY:
            return False
        return bool(hosts.agree(time.monotonic() - self.saved_at >= 60 * self.config.resume_minutes))

    def is_at_its_end(self) -> bool:
        """Whether its steps, or its criterion, are reached; a `UserError` if the steps are and the criterion is not."""
        every = self.config.stop_every
        if every and self.step % every == 0 and self.step:
            with self.clock.phase("evaluation"):
                if self.hooks.stop_when(self.state["params"]):
                    return True
        if self.step < self.config.steps:
            return False
        if every:
            raise UserError(
                f"{self.run.directory} did not reach accuracy {self.config.stop_accuracy} within {self.config.steps} steps; "
                "raise `steps`, or look at its metrics.jsonl."
            )
        return True

    def write_done(self) -> None:
        done = vars(self.sampler.seen(self.step)) | {"seconds": self.clock.totals}
        drawn = self.sampler.drawn()
        if drawn is not None:
            rows = {name: len(source) for name, source in sorted(self.run.material.sources.items())}
            done["sources"] = {name: {"rows": count, "drawn": drawn.get(name, 0)} for name, count in rows.items()}
        write_json(self.run.directory / "DONE", done)


def _check_stopped(run: Run) -> None:
    """A run that a bad step has stopped stays stopped, also when a launcher starts it again, until the user decides."""
    path = run.directory / "stopped.json"
    if run.config.bad_step == "stop" and path.exists():
        mend = "a bad step has stopped this run: use a new workdir, or go on without that step by bad_step=skip"
        raise _bad_step(run.directory, read_json(path, STOPPED, mend))
    if run.config.bad_step == "skip" and hosts.is_first():
        files.remove(path)


def _bad_step(directory, record: dict) -> UserError:
    rows = ", ".join(f"{row['source']} {row['row']}" for row in record["rows"][:OFFENDERS])
    more = f" and {len(record['rows']) - OFFENDERS} more" if len(record["rows"]) > OFFENDERS else ""
    loss, norm = ("no number" if record[name] is None else record[name] for name in ("loss", "grad_norm"))
    return UserError(
        f"step {record['step']} of {directory} was bad: its loss is {loss}, its gradient norm {norm} (rows {rows}{more}). The "
        "state without that step is saved: lower the learning rate or check the rows and use a new workdir, or go on without "
        "that step by bad_step=skip."
    )

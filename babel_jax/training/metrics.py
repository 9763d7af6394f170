"""A run's log: the loss and gradient norm of logged steps, their speed, and the rows of bad steps.

Metrics of a step are read while the next one runs, so the device never waits for the host. Files are written whole, at
saves: metrics.jsonl (the same bits however often the run was interrupted), throughput.jsonl (times and memory, which are
not), and both as a TensorBoard event file.
"""

import collections
import contextlib
import json
import logging
import math
from collections.abc import Callable

import jax
import numpy as np

from babel_jax.common import files
from babel_jax.common.errors import UserError
from babel_jax.common.limits import COUNTS
from babel_jax.training import hosts, trackers
from babel_jax.training.clock import Clock, host_memory_bytes
from babel_jax.training.runs import Run
from babel_jax.training.sampler import Sampler

log = logging.getLogger(__name__)
LOG_EVERY = 16  # steps between rows of metrics.jsonl and messages to `progress`
RECORD = {
    "step": COUNTS,
    "loss": (float, type(None)),
    "grad_norm": (float, type(None)),
    "bad?": bool,
}  # of metrics.jsonl
THROUGHPUT = {"step": COUNTS, "seconds": float}  # of throughput.jsonl; more numbers by name
OFFENDERS = 5  # rows that are named where no row's own loss is broken


class Metrics:
    """Takes the metrics of started steps (`add`), reads them when they are there (`read`), writes the files (`write`)."""

    def __init__(self, run: Run, sampler: Sampler, clock: Clock, start: int, progress: Callable[[dict], None]):
        """`start`: the step that the run resumes from; `progress`: called every `LOG_EVERY` steps, see `loop.Hooks`."""
        self.directory, self.config = run.directory, run.config
        self.sampler, self.clock, self.progress = sampler, clock, progress
        self.records = _records_until(self.directory / "metrics.jsonl", start, RECORD)
        self.throughput = _records_until(self.directory / "throughput.jsonl", start, THROUGHPUT)
        self._unread = collections.deque()
        self._sent = len(self.records)  # to Weights & Biases
        clock.window(start)

    def add(self, step: int, metrics: dict) -> None:
        """Takes the metrics of the update from `step - 1` to `step`; they may still be in computation."""
        self._unread.append((step, metrics))

    def read(self, leave: int = 0) -> list[dict]:
        """Waits for the metrics of all but the last `leave` steps and logs them; returns the records of bad steps."""
        bad = []
        while len(self._unread) > leave:
            step, metrics = self._unread.popleft()
            with self.clock.phase("step"):
                metrics = jax.device_get(metrics)
            record = {"step": step} | {name: finite(metrics[name]) for name in ("loss", "grad_norm")}
            if metrics["bad"]:
                record |= {"bad": True, "rows": offending_rows(self.sampler, step, metrics["row_loss_B"])}
                bad.append(record)
            if step % LOG_EVERY == 0 or metrics["bad"]:
                self.records.append(record)
            if step % LOG_EVERY == 0:
                self._log_time(record)
        return bad

    def bad_in_a_row(self) -> int:
        """How many of the last steps that were read were bad, one after the other, also before a restart."""
        count = 0
        while count < len(self.records) and self.records[-1 - count].get("bad"):
            if self.records[-1 - count]["step"] != self.records[-1]["step"] - count:
                break
            count += 1
        return count

    def _log_time(self, record: dict) -> None:
        rates = self.clock.window(record["step"])
        seconds = {f"seconds_{phase}": value for phase, value in self.clock.totals.items()}
        memory = {"host_memory_bytes": host_memory_bytes()}
        time = {"step": record["step"], "seconds": sum(seconds.values())}
        self.throughput.append(time | rates | memory | seconds)
        message = {"step": record["step"], "steps": self.config.steps, "loss": record["loss"], "tokens_per_second": 0.0}
        self.progress(message | rates)

    def write(self, started: float) -> None:
        """Writes all files whole; `started`: Unix time of the run's first step."""
        for name, records in (("metrics.jsonl", self.records), ("throughput.jsonl", self.throughput)):
            lines = (json.dumps(record, allow_nan=False) + "\n" for record in records)
            files.write_atomic(self.directory / name, "".join(lines))
        timed = {record["step"]: record for record in self.throughput}
        merged = [timed.get(record["step"], {}) | record for record in self.records]
        files.write_atomic(self.directory / trackers.EVENTS_NAME, trackers.tensorboard_events(merged, started))
        if self.config.wandb_project and self._sent < len(merged):
            run_name = "-".join(self.directory.parts[-3:])
            try:
                trackers.wandb_log(self.config.wandb_project, run_name, merged[self._sent :])
                self._sent = len(merged)
            except Exception as error:  # a reporter that cannot be reached must not cost a checkpoint
                log.warning("cannot reach Weights & Biases (%s); the next save sends these records too.", error)


def finite(value) -> float | None:
    """A number as JSON can hold it: None for what is not a number."""
    return float(value) if math.isfinite(value) else None


def offending_rows(sampler: Sampler, step: int, row_loss_B: np.ndarray) -> list[dict]:
    """[{"source", "row", "loss"}] of the update that made `step`: rows whose loss is not a number, else those of highest loss."""
    broken = np.flatnonzero(~np.isfinite(row_loss_B))
    chosen = broken if len(broken) else np.argsort(-row_loss_B, kind="stable")[:OFFENDERS]
    return [
        {"source": source, "row": row, "loss": finite(row_loss_B[at])}
        for at, (source, row) in zip(chosen, sampler.origin(step, chosen), strict=True)
    ]


def _records_until(path, step: int, shape: dict) -> list[dict]:
    """Rows of a file up to `step`; later ones belong to work that will be done again.

    Torn or missing rows cannot be recovered without training again: that is a warning, and the run goes on.
    """
    try:
        lines = path.read_bytes().split(b"\n") if path.exists() else []
    except OSError as error:
        raise UserError(
            f"cannot read {path} ({error.strerror or error}); mend the permissions, or remove it."
        ) from error
    records = []
    for line in lines:
        with contextlib.suppress(ValueError):  # it is torn
            records.append(files.parse_json(line, shape))
    records = [record for record in records if record["step"] <= step]
    lost = set(range(LOG_EVERY, step + 1, LOG_EVERY)) - {record["step"] for record in records}
    if lost and hosts.is_first():
        log.warning(
            "%s is damaged: what was measured at %d of its steps (the first: %d) is lost; the run goes on without.",
            path, len(lost), min(lost),
        )  # fmt: skip
    return records

"""Several processes that are one run, on loopback with forced CPU devices, and what each of them does."""

import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax

from babel_jax.common import files
from babel_jax.corpus import tokenizer as tokenizers
from babel_jax.corpus.mixture import Mixture, stages_from_config
from babel_jax.measuring import probe_walk, walk
from babel_jax.model.sharding import make_mesh
from babel_jax.suites import completions, harness, judge, suite_files
from babel_jax.training import hosts, metrics, runs
from babel_jax.training.step import Trainer
from helpers import environment, make_run, several_devices, small_material, train

STEPS = 12
MATERIAL = small_material()


def free_address() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


def start(
    call: str,
    processes: int = 2,
    devices: int = 4,
    leave: int = 6 * hosts.LEAVE_SECONDS,
    heartbeat: int = 2 * hosts.HEARTBEAT_SECONDS,  # on a busy machine one is not heard for long, and lives
) -> list[subprocess.Popen]:
    """The same call of a function of this module in several processes that are one run, with `devices` each.

    `leave`: seconds that one which fails alone waits for the others. `heartbeat`: seconds after which one that is not heard
    is dead.
    """
    address = free_address()
    scripts = [
        f"from babel_jax.training import hosts; hosts.HEARTBEAT_SECONDS = {heartbeat}; hosts.LEAVE_SECONDS = {leave}; "
        f"hosts.initialize('{address}', {processes}, {i}); from helpers import hosts_runs; hosts_runs.{call}"
        for i in range(processes)
    ]
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(devices))
    return [subprocess.Popen([sys.executable, "-c", script], **pipes) for script in scripts]


def finish(running: list[subprocess.Popen], timeout: float = 600) -> list[str]:
    """Waits for all; their outputs. None of them outlives this."""
    try:
        said = [process.communicate(timeout=timeout) for process in running]
    finally:
        for process in running:
            process.kill()
    errors = "\n\n".join(error[:3000] for _, error in said)  # what came first is the cause
    assert [process.returncode for process in running] == [0] * len(running), errors
    return [out for out, _ in said]


def mixture() -> Mixture:
    stages = (
        {"tokens": 24 * MATERIAL.max_length, "weights": {"python": 1.0, "php": 1.0}},
        {"tokens": 0, "weights": {"php": 1}},
    )
    return Mixture(MATERIAL.sources, stages_from_config(stages, MATERIAL.max_length), seed=5)


def meet(out_dir: str) -> None:
    """What each process of `test_processes_are_one` does."""
    assert (hosts.several(), hosts.is_first()) == (True, jax.process_index() == 0)
    last = Path(out_dir) / "last"
    if jax.process_index() == jax.process_count() - 1:
        time.sleep(0.3)
        last.touch()
    hosts.barrier("here")
    waited = last.exists()
    hosts.barrier("here")
    with runs.locked(Path(out_dir)):  # the first one holds it for all
        hosts.barrier("all are in")
    answers = [hosts.agree(jax.process_index() + i + 1 / 3) for i in range(1100)]  # more than are kept
    asked, batches = [], []
    for step in range(4):

        def rows(offsets, first=8 * step):
            asked.append(offsets.tolist())
            return mixture().rows(first + offsets)

        batch = Trainer(make_mesh(data=-1), *[None] * 5).put_batch(rows, 8)
        assert batch.shape == (8, MATERIAL.max_length + 1) and not batch.is_fully_addressable
        batches.append({shard.index[0].start: shard.data.tolist() for shard in batch.addressable_shards})
    found = {"waited": waited, "answers": answers, "asked": asked, "batches": batches}
    (Path(out_dir) / f"{jax.process_index()}.json").write_text(json.dumps(found))


def fail_alone(which: int) -> None:
    """What each process of `test_one_that_fails_ends_all` does."""
    if jax.process_index() == which:
        raise SystemExit(2)
    hosts.barrier("never")


def run_of_two(steps: int = STEPS, **mesh):
    """Everything is divided over all devices; saved all the time."""
    mesh = mesh or dict(fsdp=-1, data=1)
    return make_run({"learning_rate": 3e-3}, steps=steps, resume_every=3, checkpoint_every=4, mesh=mesh)


def live(run_dir: str, steps: int, hold: int | None = None) -> None:
    """Trains; from step `hold` on it goes no further, so that there is time to kill it."""
    metrics.LOG_EVERY = 2

    def progress(message):
        print("step", message["step"], flush=True)
        if hold is not None and message["step"] >= hold:
            time.sleep(1000)

    train(run_of_two(steps), MATERIAL, run_dir, progress=progress)
    hosts.barrier("end")


def look(run_dir: str, out: str) -> None:
    probe_walk.probe(
        [walk.OwnRun(files.path(run_dir))], lambda source: (MATERIAL, None), out, probe_walk.Options(steps=(4,))
    )
    hosts.barrier("end")


def families(out: str) -> None:
    """What two hosts of a mesh of all their devices find, see `several_devices`."""
    found = {family: several_devices.everything(family, fsdp=jax.device_count()) for family in several_devices.FAMILIES}
    if hosts.is_first():
        Path(out).write_text(json.dumps(found))
    hosts.barrier("end")


def ask(folder: str, out: str) -> None:
    """Two samples a problem of the run in `folder`, judged by the first process."""
    folder = Path(folder)
    suites = [suite_files.load(f"own:{folder / 'mine.jsonl'}")]
    writer = completions.TextWriter(tokenizers.load(folder))
    options = harness.Options(samples=2, temperature=0.8, new_tokens=8, likelihood=True)
    bench = judge.Bench("rlimits", 1, folder / "cache") if hosts.is_first() else None
    session = harness.Session(out, options, bench)
    harness.evaluate_runs([folder / "seed0" / "continual"], lambda run: (suites, writer), (), session)
    given = harness.solutions(suites, "raw")
    harness.evaluate_completions(suites, given, harness.Session(f"{out}/given", harness.Options(), bench))
    if bench:
        bench.close()
    hosts.barrier("end")

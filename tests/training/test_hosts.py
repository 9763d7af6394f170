"""Several processes that are one run: joining, agreeing, dying, going on."""

import contextlib
import dataclasses
import json
import random
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from helpers import SMALL, environment, loud, make_run, python, same, several_devices, state_at, train, trainer_of
from helpers.hosts_runs import MATERIAL, STEPS, ask, finish, free_address, look, mixture, run_of_two, start
from jax._src import clusters

from babel_jax.__main__ import main
from babel_jax.common import files, measurements
from babel_jax.corpus import tokenizer as tokenizers
from babel_jax.probes import artefacts
from babel_jax.suites import results
from babel_jax.training import hosts, runs
from babel_jax.training.checkpoint import Checkpoints, Metadata

HEARTBEAT = 10  # seconds where one is killed; JAX ends the others when a process was not heard for two thirds of it


# --- who they are ---------------------------------------------------------------------------------------------------------


@pytest.mark.processes
@pytest.mark.parametrize("processes, devices", [(2, 4), (4, 1)])
def test_processes_are_one(tmp_path, processes, devices):
    """They wait, they agree, and the global batch is the one of a single host, of which each made its own rows only."""
    finish(start(f"meet({str(tmp_path)!r})", processes, devices))
    found = [json.loads((tmp_path / f"{i}.json").read_text()) for i in range(processes)]
    assert all(host["waited"] for host in found), "for the last one"
    assert all(host["answers"] == [i + 1 / 3 for i in range(1100)] for host in found)
    for step in range(4):
        offsets = sum((host["asked"][step] for host in found), [])
        assert sorted(offsets) == list(range(8)) and len(found[0]["asked"][step]) == 8 // processes
        parts = {int(start): rows for host in found for start, rows in host["batches"][step].items()}
        together = np.concatenate([parts[start] for start in sorted(parts)])
        assert np.array_equal(together, mixture().rows(np.arange(8 * step, 8 * step + 8)))


@pytest.mark.processes
def test_one_that_fails_ends_all():
    """The others wait for it in vain, and must not do so for ever: someone restarts what has ended."""
    running = start("fail_alone(1)", devices=1, leave=3)
    try:
        assert all(process.wait(timeout=600) != 0 for process in running)
    finally:
        for process in running:
            process.kill()
            process.communicate()


def test_global_batches_do_not_depend_on_the_hosts():
    """The rows at given places are a function of the places alone, so any division among hosts gives the same batch."""
    whole = mixture().rows(np.arange(48))
    for count in (2, 4):
        shares = [mixture().rows(np.arange(host, 48, count)) for host in range(count)]
        assert np.array_equal(np.stack(shares, 1).reshape(whole.shape), whole)


def test_one_host_does_nothing(monkeypatch):
    monkeypatch.setattr(jax.distributed, "initialize", None)
    for name in ("SLURM_JOB_ID", "TPU_WORKER_HOSTNAMES"):
        monkeypatch.delenv(name, raising=False)
    hosts.initialize()
    hosts.initialize("127.0.0.1:1", 1, 0)
    hosts.barrier("nobody else")
    assert hosts.is_first() and not hosts.several() and hosts.agree(1.5) == 1.5


@pytest.mark.parametrize("flags, message", [
    (["--processes=2"], "need all three of --coordinator"),
    (["--coordinator=localhost:1", "--process=0"], "need all three of --coordinator"),
    (["--coordinator=localhost", "--processes=2", "--process=1"], "give host and port"),
    (["--coordinator=localhost:65536", "--processes=2", "--process=0"], "give host and port"),
    (["--coordinator=localhost:¹", "--processes=2", "--process=1"], "give host and port"),
    ([f"--coordinator={'x' * 300}:1", "--processes=2", "--process=1"], "give host and port"),
    (["--coordinator=a..b:1", "--processes=2", "--process=0"], "give host and port"),
    (["--coordinator=a\nb:1", "--processes=2", "--process=1"], "give host and port"),
    (["--coordinator=localhost:1", "--processes=2", "--process=2"], "--process is 2 and --processes 2"),
    (["--coordinator=localhost:1", "--processes=2", "--process=1"], "cannot reach process 0 at localhost:1"),
    (["--coordinator=no.such.host.invalid:1", "--processes=2", "--process=1"], "cannot reach process 0"),
])  # fmt: skip
@pytest.mark.parametrize("verb", ["study", "train", "evaluate"])
def test_mistakes_are_one_line(flags, message, verb, monkeypatch, capfd):
    monkeypatch.setattr(hosts, "CONNECT_SECONDS", 0.3)
    run = [] if verb == "study" else ["--run=continual"]
    assert main([verb, "--config=configs/organism.py:tiny", "--workdir=/nowhere", *run, *flags]) == 2
    error = capfd.readouterr().err
    assert message in error and error.startswith("error: ") and error.count("\n") == 1


@pytest.mark.processes
def test_ctrl_c_ends_the_wait_for_the_others(tmp_path):
    """JAX's own wait would not hear it for the ten minutes that hosts of a pod may be apart."""
    run = ["--config=configs/organism.py:tiny", "--run=continual", f"--workdir={tmp_path}"]
    flags = [f"--coordinator={free_address()}", "--processes=2", "--process=0"]
    command = [sys.executable, "-m", "babel_jax", "train", *run, *flags]
    with subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True) as waiting:
        try:
            assert "waits at" in waiting.stderr.readline()
            time.sleep(1)  # until JAX does
            waiting.send_signal(signal.SIGINT)
            assert waiting.wait(timeout=30) in (-signal.SIGINT, 130)
        finally:
            waiting.kill()


def test_a_study_on_several_hosts_runs_one_job(monkeypatch, capfd):
    monkeypatch.setattr(hosts, "initialize", lambda *given: None)
    monkeypatch.setattr(hosts, "several", lambda: True)
    assert main(["study", "--config=configs/organism.py:tiny", "--workdir=/nowhere", "--jobs=2"]) == 2
    assert "add --jobs=1" in capfd.readouterr().err


SLURM = dict(SLURM_JOB_ID="4097", SLURM_STEP_NODELIST="gpu[07-09],x", SLURM_NTASKS="3", SLURM_STEP_NUM_NODES="3",
             SLURM_PROCID="2", SLURM_LOCALID="0")  # fmt: skip
POD = dict(TPU_WORKER_HOSTNAMES="localhost,b,c,d", TPU_WORKER_ID="3", JAX_COORDINATOR_PORT="8000", JAX_PLATFORMS="",
           MEGASCALE_NUM_SLICES="1", MEGASCALE_SLICE_ID="0", MEGASCALE_COORDINATOR_ADDRESS="localhost")  # fmt: skip


@pytest.mark.parametrize("variables, expected", [
    (SLURM, ("gpu07:61441", 3, 2, None)),
    (SLURM | dict(SLURM_NTASKS="6", SLURM_LOCALID="1", SLURM_PROCID="5"), ("gpu07:61441", 6, 5, [1])),
    (SLURM | dict(SLURM_NTASKS="1", SLURM_PROCID="0"), None),
    (POD, ("localhost:8000", 4, 3, None)),
    (POD | dict(MEGASCALE_NUM_SLICES="2", MEGASCALE_SLICE_ID="1"), ("localhost:8000", 8, 7, None)),
    (POD | dict(TPU_WORKER_HOSTNAMES="localhost", TPU_WORKER_ID="0"), None),
    (POD | dict(JAX_PLATFORMS="cpu"), None),
])  # fmt: skip
def test_clusters_are_found(variables, expected, monkeypatch):
    joined = []
    monkeypatch.setattr(clusters.cloud_tpu_cluster, "running_in_cloud_tpu_vm", "TPU_WORKER_ID" in variables)
    monkeypatch.setattr(hosts, "_wait_for", lambda *given: None)
    monkeypatch.setattr(jax.distributed, "initialize", lambda **given: joined.append(given))
    for name in {*SLURM, *POD}:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    hosts.initialize()
    names = ("coordinator_address", "num_processes", "process_id", "local_device_ids")
    assert [tuple(given.get(name) for name in names) for given in joined] == ([expected] if expected else [])


# --- a run on two hosts ---------------------------------------------------------------------------------------------------


def kill_one(run_dir, steps: int, victim: int, lines: int, wait: float = 0.0, hold: int | None = None) -> None:
    """Starts the run and kills one process `wait` seconds after so many lines of progress; the other must then end."""
    running = start(f"live({str(run_dir)!r}, {steps}, {hold})", heartbeat=HEARTBEAT)
    try:
        printed = iter(running[0].stdout.readline, "")  # gloo talks too
        for _ in range(lines):
            assert any(line.startswith("step") for line in printed), running[0].stderr.read()[:3000]
        time.sleep(wait)
        assert [process.poll() for process in running] == [None, None]
        running[victim].kill()
        assert running[1 - victim].wait(timeout=600) != 0
    finally:
        for process in running:
            process.kill()
            process.communicate()


def check_same_end(whole, killed, steps: int) -> None:
    trainer = trainer_of(run_of_two(steps), MATERIAL)
    assert Checkpoints(killed).steps() == Checkpoints(whole).steps() == [*range(4, steps + 1, 4)]
    for step in Checkpoints(whole).steps():
        assert same(state_at(killed, step, trainer), state_at(whole, step, trainer))
    assert (killed / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()


def losses(run_dir) -> np.ndarray:
    return np.array([json.loads(line)["loss"] for line in (run_dir / "metrics.jsonl").read_text().splitlines()])


@pytest.mark.processes
def test_two_processes_probe_as_one(tmp_path):
    """2 x 4 devices count the integers that one device counts."""
    run = tmp_path / "seed0" / "continual"
    train(make_run(steps=4, checkpoint_steps=(4,)), MATERIAL, run)
    look(str(run), str(tmp_path / "one"))
    finish(start(f"look({str(run)!r}, {str(tmp_path / 'two')!r})"))
    one, two = (artefacts.load(tmp_path / name / "seed0/continual/step_00000004.npz")[0] for name in ("one", "two"))
    for name in ("active_RxLxFxK", "tokens_RxK", "php.argmax_LxN"):
        np.testing.assert_array_equal(one[name], two[name])
    np.testing.assert_allclose(one["php.new_log_prob_LxN"], two["php.new_log_prob_LxN"], atol=1e-4)
    tables = [measurements.read(tmp_path / name) for name in ("one", "two")]
    assert len(tables[0]) == len(tables[1]) and (tables[0]["metric"] == tables[1]["metric"]).all()


@pytest.mark.processes
def test_families_on_two_processes_are_those_on_one(tmp_path):
    finish(start(f"families({str(tmp_path / 'two.json')!r})", devices=2))
    for family, two in json.loads((tmp_path / "two.json").read_text()).items():
        several_devices.compare(several_devices.everything(family), two, family)


SUITE = {
    "suite": "mine",
    "language": "python",
    "task_id": "mine/0",
    "number": 0,
    "prompt": 'def double(x):\n    """Twice x."""\n',
    "tests": "assert double(2) == 4\n",
    "solution": "    return 2 * x\n",
}


@pytest.mark.processes
def test_two_processes_evaluate_as_one(tmp_path):
    (tmp_path / "mine.jsonl").write_text(json.dumps(SUITE) + "\n")
    tokenizer = tokenizers.train([(SUITE["prompt"] + SUITE["solution"]) * 20], 300)
    tokenizer.save(tmp_path)
    run, config = tmp_path / "seed0" / "continual", dataclasses.replace(SMALL, vocab_size=300, max_length=64)
    with contextlib.closing(Checkpoints(run)) as checkpoints:
        params = jax.device_put(loud(config), jax.local_devices()[0])
        checkpoints.save({"params": params}, Metadata(0, 0, {}, config.to_json(), started=1.0))
    files.write_json(run / "config.json", {"config": {"seed": 0}, "material": None})
    ask(str(tmp_path), str(tmp_path / "one"))
    finish(start(f"ask({str(tmp_path)!r}, {str(tmp_path / 'two')!r})", devices=1))
    written = [(tmp_path / out / "seed0/continual/completions/step_00000000.jsonl") for out in ("one", "two")]
    assert written[0].read_text() == written[1].read_text() and len(written[1].read_text().splitlines()) == 2
    tables = [measurements.read(tmp_path / out / "seed0" / "continual") for out in ("one", "two")]
    np.testing.assert_allclose(tables[0]["value"], tables[1]["value"], rtol=1e-4)
    assert results.verdicts_of(tmp_path / "two" / "given")[0].outcome == "passed"


@pytest.mark.processes
def test_two_processes_survive_a_kill_and_move_to_one(tmp_path):
    """2 x 4 devices, one process killed, both started again: the same bits. Then 1 x 2 devices go on from there."""
    whole, killed, moved = (tmp_path / name for name in ("whole", "killed", "moved"))
    finish(start(f"live({str(whole)!r}, {STEPS})"))
    kill_one(killed, STEPS, victim=1, lines=4, hold=8)
    assert not runs.is_done(killed) and 4 in Checkpoints(killed).steps()
    finish(start(f"live({str(killed)!r}, {STEPS})"))
    check_same_end(whole, killed, STEPS)

    shutil.copytree(whole, moved, ignore=shutil.ignore_patterns("DONE", "8", str(STEPS)))
    assert Checkpoints(moved).steps() == [4]
    done = python("-c", f"from helpers import hosts_runs; hosts_runs.live({str(moved)!r}, {STEPS})", devices=2)
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(losses(moved)) == STEPS // 2
    assert np.array_equal(losses(moved)[:2], losses(whole)[:2])
    np.testing.assert_allclose(losses(moved), losses(whole), rtol=1e-5)  # sums in another order


@pytest.mark.processes
@pytest.mark.slow
def test_two_processes_survive_twenty_kills(tmp_path):
    steps, chance = 240, random.Random(0)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    finish(start(f"live({str(whole)!r}, {steps})"), timeout=600)
    for _ in range(20):
        kill_one(killed, steps, victim=chance.randrange(2), lines=chance.randint(1, 8), wait=chance.uniform(0, 0.5))
    assert not runs.is_done(killed), "the run was done before it could be killed so often: make it longer"
    finish(start(f"live({str(killed)!r}, {steps})"), timeout=600)
    check_same_end(whole, killed, steps)

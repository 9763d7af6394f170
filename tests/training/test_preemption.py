import contextlib
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from helpers import environment, hosts_runs, make_run, run_in, same, small_material, state_at, train, trainer_of
from helpers.small_study import CONFIG, PATIENCE, wait_until_gone, workers_in

from babel_jax.measuring import programs
from babel_jax.measuring import study_walk as measure
from babel_jax.measuring.reading import subject_of
from babel_jax.suites import harness, judge, verdict_log
from babel_jax.suites.problems import Problem
from babel_jax.suites.sandbox import Finished
from babel_jax.suites.toolchains.toolchain import Execution
from babel_jax.training import preemption, runs
from babel_jax.training.checkpoint import Checkpoints

MATERIAL = small_material()


@pytest.fixture
def caught():
    """SIGTERM is caught as in a verb, and forgotten afterwards."""
    before = signal.getsignal(signal.SIGTERM)
    preemption.install()
    yield
    signal.signal(signal.SIGTERM, before)
    preemption._warned.clear()


def warn_at(step):
    """A `progress` that has the operating system tell this process to go when `step` is logged."""
    return lambda message: os.kill(os.getpid(), signal.SIGTERM) if message.get("step") == step else None


def test_a_preempted_run_saves_itself_and_loses_nothing(tmp_path, caught):
    run = make_run({"learning_rate": 5e-3}, steps=40)
    with pytest.raises(preemption.Preempted):
        train(run, MATERIAL, tmp_path / "run", progress=warn_at(16))
    (step,) = Checkpoints(tmp_path / "run", "resume").steps()
    assert step in (16, 17)  # the metrics of step 16 are read while step 17 runs, and then it goes
    assert Checkpoints(tmp_path / "run").steps() == []
    preemption._warned.clear()
    train(run, MATERIAL, tmp_path / "run")
    train(run, MATERIAL, tmp_path / "whole")
    trainer = trainer_of(run, MATERIAL)
    assert same(state_at(tmp_path / "run", 40, trainer), state_at(tmp_path / "whole", 40, trainer))
    logs = [(tmp_path / name / "metrics.jsonl").read_text() for name in ("run", "whole")]
    assert logs[0] == logs[1] and logs[0].count("\n") == 2


def test_a_preempted_judging_keeps_what_it_has(tmp_path, caught):
    problem = Problem("own", "python", "f", 0, "def f():\n", "", "f", None, (), False)
    samples = [judge.Sample(problem, index, f"    return {index}\n", "given") for index in range(30)]
    ran = []

    class Tools:
        fingerprint, missing = "1", ()

        def execute(self, *_, **__):
            ran.append(1)
            time.sleep(0.02)  # so that the warning comes while there is work left
            return Execution(None, Finished(0, "itself", b"", b"", 0.0, 0.0), True)

    bench = SimpleNamespace(
        jobs=1, sandbox=SimpleNamespace(level=""), toolchains={"python": Tools()}, ready=lambda _: 0
    )

    def place(*session):
        return harness.Place(tmp_path, [], harness.Session(tmp_path, harness.Options(), *session))

    def warn(doing, done, of):
        if done == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(preemption.Preempted):
        harness.Place(tmp_path, [], harness.Session(tmp_path, harness.Options(), bench, warn)).verdicts(
            samples, "given"
        )
    assert 3 <= len(verdict_log.read(tmp_path / "verdicts" / "given.jsonl")) == len(ran) < 30
    preemption._warned.clear()
    assert len(place(bench).verdicts(samples, "given")) == len(ran) == 30


def test_a_warning_before_the_first_step_costs_nothing(tmp_path, caught):
    os.kill(os.getpid(), signal.SIGTERM)
    run = make_run(steps=5)
    with pytest.raises(preemption.Preempted):
        train(run, MATERIAL, tmp_path)
    preemption._warned.clear()
    train(run, MATERIAL, tmp_path)
    assert runs.last_step(tmp_path) == 5


def test_the_criterion_is_left_in_the_middle(tmp_path, caught):
    """Its state is saved before it is asked; it polls at every batch it reads."""
    run = make_run(steps=20, stop_every=4, stop_accuracy=0.9)
    model = run_in(".", run, MATERIAL).model
    asked, answers = [], []

    def warned_while_asking(params):
        asked.append(params)
        os.kill(os.getpid(), signal.SIGTERM)
        answers.append(programs.accuracy(subject_of(params, model, MATERIAL), MATERIAL.problems, "python"))
        return False

    with pytest.raises(preemption.Preempted):
        train(run, MATERIAL, tmp_path, stop_when=warned_while_asking)
    assert len(asked) == 1 and answers == [] and Checkpoints(tmp_path).steps() == [4]


def test_waiting_for_another_process_ends_at_a_sigterm(tmp_path, caught):
    with runs.locked(tmp_path):
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(preemption.Preempted):
            train(make_run(steps=2), MATERIAL, tmp_path)


def test_measuring_stops_between_batches_and_goes_on(tmp_path, caught):
    run = make_run(steps=4, checkpoint_steps=(0, 2))
    train(run, MATERIAL, tmp_path)

    def after_the_first(message):
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(preemption.Preempted):
        measure.measure_run(run_in(tmp_path, run, MATERIAL), progress=after_the_first)
    assert [path.name for path in (tmp_path / "measurements").iterdir()] == ["step_00000000.parquet"]
    preemption._warned.clear()
    measure.measure_run(run_in(tmp_path, run, MATERIAL))
    assert len(list((tmp_path / "measurements").iterdir())) == 3


def preempted(tmp_path, verb, *arguments, moment):
    """Status and error output of a verb that gets SIGTERM as soon as a file matches `moment`, and workers that it left."""
    config = tmp_path / "config.py"
    config.write_text(CONFIG)
    command = [sys.executable, "-m", "babel_jax", verb, f"--config={config}", f"--workdir={tmp_path / 'W'}"]
    process = subprocess.Popen(
        [*command, *arguments], env=environment(), stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        deadline = time.monotonic() + PATIENCE
        while not any((tmp_path / "W").glob(moment)):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        _, error = process.communicate(timeout=PATIENCE)
        left = workers_in(process.pid)
        wait_until_gone(process.pid)
        return process.returncode, error, left
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.processes
def test_the_verb_train_prints_one_line_and_returns_143(tmp_path):
    settings = ["--run=primary_only", "--config.runs.primary_only.steps=100000", "--config.common.checkpoint_every=10"]
    status, error, _ = preempted(tmp_path, "train", *settings, moment="seed0/primary_only/checkpoints/1?")
    assert status == 143 and error.splitlines()[-1].startswith("preempted; ") and "Traceback" not in error
    run_dir = tmp_path / "W" / "seed0" / "primary_only"
    assert max(Checkpoints(run_dir).steps() + Checkpoints(run_dir, "resume").steps()) >= 10


@pytest.mark.processes
@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks for orphans in /proc")
def test_the_workers_of_a_study_save_themselves(tmp_path):
    settings = ["--jobs=2", "--config.common.steps=100000"]
    settings += [f"--config.runs.{run}.steps=100000" for run in ("primary_only", "new_only")]
    status, error, left = preempted(tmp_path, "study", *settings, moment="seed0/*/resume")
    assert status == 143 and error.splitlines()[-1].startswith("preempted; ") and "Traceback" not in error
    assert left == [] and not list((tmp_path / "W").glob("seed0/*/DONE"))


@pytest.mark.processes
@pytest.mark.slow
def test_hosts_save_together_whichever_is_warned(tmp_path):
    running = hosts_runs.start(f"live({str(tmp_path)!r}, 100000)")
    try:
        printed = iter(running[0].stdout.readline, "")
        assert any(line.startswith("step 10") for line in printed), running[0].stderr.read()[-3000:]
        running[1].send_signal(signal.SIGTERM)
        errors = [process.communicate(timeout=PATIENCE)[1] for process in running]
    finally:
        for process in running:
            process.kill()
    assert all(error.rstrip().endswith("preemption.Preempted") for error in errors)
    assert len(Checkpoints(tmp_path, "resume").steps()) == 1

"""A whole study by its verb: undisturbed, called again, interrupted and killed."""

import contextlib
import json
import multiprocessing
import os
import shlex
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from helpers import environment, same, state_at
from helpers.small_study import PATIENCE, STEPS, command, run_study, study_of, wait_until_gone, workers_in

from babel_jax.cli.verbs import parser_of
from babel_jax.common import measurements
from babel_jax.common.run_names import RunName
from babel_jax.study import jobs as study

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def whole(config_file, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("whole")
    return workdir, run_study(config_file, workdir).stdout


def results(config_file, workdir) -> dict:
    """All that a study finds out: parameters of every run, measurement rows, the summary but for its times."""
    made = study_of(config_file, workdir)
    found = {"summary": json.loads((workdir / "report" / "summary.json").read_text())}
    del found["summary"]["wall_seconds"]
    for prediction in found["summary"]["predictions"].values():
        del prediction["written"]
    for run_dir in sorted((workdir / "seed0").iterdir()):
        found[run_dir.name] = state_at(run_dir, STEPS, made.run(made.name(run_dir.name), 0).trainer)
        found[run_dir.name]["metrics"] = np.frombuffer((run_dir / "metrics.jsonl").read_bytes(), np.uint8)
        for file in sorted((run_dir / "measurements").glob("*.parquet")):  # not what a kill left of a file half written
            found[run_dir.name, file.name] = pd.read_parquet(file)
    return found


def assert_same_results(found, wanted):
    assert found.keys() == wanted.keys()
    for key, value in wanted.items():
        if key == "summary":
            assert found[key] == value
        elif isinstance(value, dict):
            assert same(found[key], value), key
        else:
            pd.testing.assert_frame_equal(found[key], value, check_exact=True, obj=str(key))


def test_a_small_study_from_end_to_end(config_file, whole):
    workdir, printed = whole
    assert "Python to PHP, 1 seed" in printed and str(workdir / "report" / "index.html") in printed
    next_ones = [shlex.split(line)[3:] for line in printed.splitlines() if "python -m babel_jax" in line]
    assert [words[0] for words in next_ones] == ["optimize", "probe", "report"]
    for verb, *words in next_ones:
        parser_of(verb).parse(words)  # each can be given as it stands
    summary = json.loads((workdir / "report" / "summary.json").read_text())
    about = summary["languages"]["php"]
    assert summary["primary"] == "python" and summary["new"] == ["php"]
    assert set(about["accuracy"]["peak"]) == {"step", "value", "ci"}
    assert len(about["working_language"]["layers"]) == 4
    assert {"loss", "loss_knowledge", "knowledge_share"} <= set(about["proposals"])
    assert all(0 <= about["accuracy"][part]["value"] <= 1 for part in ("peak", "end"))
    runs = {path.name for path in (workdir / "seed0").iterdir()}
    mixes = {"mix_0.5000", "mix_0.6765", "mix_unimax", "mix_schedule"}
    assert runs >= {"primary_only", "new_only", "continual", "control", "replay_0.2500"} | mixes
    assert {mix["name"] for mix in summary["mixes"]} >= {"0.5000", "0.6765", "unimax", "schedule"}
    described = json.loads((workdir / "study.json").read_text())
    (replayed,) = (run for run in described["runs"] if run["run"] == "replay_0.2500")
    assert (replayed["role"], replayed["share"], replayed["candidate"]) == ("replay", 0.25, "")
    assert {run["run"] for run in described["runs"]} == runs and all(run["flops"] > 0 for run in described["runs"])
    schedule = json.loads((workdir / "mixtures" / "schedule.json").read_text())
    made = study_of(config_file, workdir)
    assert made.config_of(made.name("mix_schedule"), 0).stages == tuple(schedule["stages"])
    frame = measurements.read(workdir)
    assert sorted(frame.query("run == 'continual' and probe == 'loss'").step.unique()) == [0, 4, 8, 16, STEPS]
    assert set(frame.probe) == {
        *("evaluation", "loss", "lens", "neurons", "patch", "intervention", "drift"),
    }


def test_a_second_call_starts_no_run_and_changes_nothing(config_file, whole):
    workdir, _ = whole
    before, stamps = results(config_file, workdir), {p: p.stat().st_mtime_ns for p in workdir.glob("seed0/**/*")}
    assert "seed 0" not in run_study(config_file, workdir).stderr
    after = {p: p.stat().st_mtime_ns for p in workdir.glob("seed0/**/*")}
    assert {p.relative_to(workdir) for p in stamps.keys() ^ after.keys()} == set()
    assert [p for p in stamps if p.is_file() and stamps[p] != after[p]] == []
    assert_same_results(results(config_file, workdir), before)


def start_and_kill(config_file, workdir, moment):
    """SIGKILL to the study's parent process as soon as a file matches `moment`; its workers must end by themselves."""
    process = subprocess.Popen(
        command(config_file, workdir),
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + PATIENCE
        while not any(workdir.glob(moment)):
            assert process.poll() is None, f"the study ended before {moment} came"
            assert time.monotonic() < deadline
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        wait_until_gone(process.pid)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks for orphans in /proc")
def test_a_worker_ends_with_its_parent_whatever_it_does(tmp_path):
    script = (
        "import multiprocessing, pathlib; from helpers import small_study\n"
        "if __name__ == '__main__':\n"
        f"    ready = pathlib.Path({str(tmp_path / 'ready')!r})\n"
        "    worker = multiprocessing.get_context('spawn').Process(target=small_study.sleep_for_ever, args=(ready,))\n"
        "    worker.start(), worker.join()\n"
    )
    (tmp_path / "parent.py").write_text(script)
    process = subprocess.Popen([sys.executable, tmp_path / "parent.py"], env=environment(), start_new_session=True)
    try:
        deadline = time.monotonic() + PATIENCE
        while not (tmp_path / "ready").exists():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        assert len(workers_in(process.pid)) == 1
        process.kill(), process.wait()
        wait_until_gone(process.pid)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def test_interrupted_between_two_starts_no_worker_stays(monkeypatch, config_file, tmp_path):
    start, started = multiprocessing.process.BaseProcess.start, []

    def interrupted(worker):
        if started:
            raise KeyboardInterrupt
        start(worker)
        started.append(worker)

    monkeypatch.setattr(multiprocessing.process.BaseProcess, "start", interrupted)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    with pytest.raises(KeyboardInterrupt):
        waiting = [study.Job(0, RunName("primary_only"))]
        study._side_by_side(study_of(config_file, tmp_path), waiting, set(), 2, None)
    assert len(started) == 1 and not started[0].is_alive() and multiprocessing.active_children() == []
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks for orphans in /proc")
def test_killed_at_any_moment_it_ends_the_same(config_file, whole, tmp_path):
    moments = (
        "seed0/continual/checkpoints/4*",  # a checkpoint is being written
        "seed0/continual/measurements/*_00000000.parquet",  # one of several is measured
        "seed0/mix_*/checkpoints/*",
        "mixtures/schedule.json",  # made from what was measured before
    )
    for moment in moments:
        start_and_kill(config_file, tmp_path, moment)
        assert not (tmp_path / "report" / "summary.json").exists()
    run_study(config_file, tmp_path)
    assert_same_results(results(config_file, tmp_path), results(config_file, whole[0]))

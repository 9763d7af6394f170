import contextlib
import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from helpers import ROOT, environment, same, state_at
from helpers.small_study import CONFIG, PATIENCE, STEPS, wait_until_gone, workers_in

from babel_jax.__main__ import main
from babel_jax.cli.settings import load_config
from babel_jax.common import machine, measurements, run_names
from babel_jax.common.errors import UserError
from babel_jax.common.run_names import RunName
from babel_jax.corpus import mixture_files
from babel_jax.study import candidates, plan
from babel_jax.study import jobs as study
from babel_jax.study.plan import Study
from babel_jax.training import runs


def study_of(config_file, workdir=None, *settings) -> Study:
    return Study(load_config(str(config_file), list(settings)), workdir)


@pytest.fixture(scope="module")
def config_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "small.py"
    path.write_text(CONFIG)
    return path


# --- mistakes on the command line -----------------------------------------------------------------------------------------


def error_of(capsys, *arguments):
    """The one line that a user's mistake prints."""
    assert main([str(argument) for argument in arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1 and printed.err.startswith("error: ")
    return printed.err


@pytest.mark.parametrize(
    "setting, message",
    [
        ("sweeep=(0.1,)", "unknown config key 'sweeep'; did you mean 'sweep'?"),
        ("common.batch_sise=8", "did you mean 'common.batch_size'?"),
        ("runs.continual.optimizer.learning_rat=1.0", "did you mean 'runs.continual.optimizer.learning_rate'?"),
        ("runs.contnual.steps=3", "unknown role of a run 'contnual'; did you mean 'continual'?"),
        ("new=phpp", "phpp"),
        ("primary=cobol", "cobol"),
        ("kind=organsim", "unknown kind of study 'organsim'; did you mean 'organism'?"),
        ("world.wrods=3", "unknown config key 'world.wrods'; did you mean 'world.words'?"),
        ("common.model.preset=tinny", "unknown model preset 'tinny'; did you mean 'tiny'?"),
        ("common.optimizer.schedule=cosin", "unknown schedule 'cosin'; did you mean 'cosine'?"),
        ("common.steps=many", "common.steps must be a whole number of at least 1, not 'many'."),
        ("sweep=(1.5,)", "sweep.0 must be a number from 0 to 1, not 1.5."),
        ("seeds=()", "seeds must be a list of at least 1"),
        ("runs.continual.checkpoint_steps=(0,99)", "checkpoint_steps [99] lie outside"),
    ],
)
def test_a_wrong_setting_is_one_line_and_writes_nothing(capsys, config_file, tmp_path, setting, message):
    workdir = tmp_path / "W"
    arguments = ["study", f"--config={config_file}", f"--config.{setting}", f"--workdir={workdir}", "--jobs=1"]
    assert message in error_of(capsys, *arguments)
    assert not workdir.exists()


@pytest.mark.parametrize("verb", ["study", "train"])
@pytest.mark.parametrize(
    "setting, message",
    [
        ("original.php=0", "original.php must be a number above 0"),
        ("original={'go':3}", "must give tokens for python, php"),
        ("runs.control.stages=({'tokens':0,'weights':{'pyhton':1}},)", "unknown source of the mixture 'pyhton'"),
        ("runs.control.stages=({'tokens':5,'weights':{'python':1}},)", "only the last stage"),
        ("runs.control.stages=({'tokens':0,'weights':{'new':1,'php':1}},)", "two are one source"),
        ("runs.control.checkpoint_steps=(0,99)", "run 'control': checkpoint_steps [99] lie outside"),
        ("runs.control.max_epochs=0.01", "run 'control': source 'php_control' would be seen"),
        ("runs.control.accumulation=3", "run 'control': batch_size is 16 and accumulation 3"),
        ("runs.control.mixture=absent.json", "run 'control': cannot read absent.json"),
        ("runs.control.init_from=nothing", "init_from is 'nothing', which is neither a run of the study"),
        ("runs.primary_only.init_from=continual", "runs start from each other: "),
        ("runs.mix.max_epochs=0.01", "run 'mix_0.6765': source"),
        ("world.problems=500", "half of the pairs must be left for documents"),
        ("common.optimizer.decayed=nothing", "unknown parameter pattern in optimizer.decayed 'nothing'"),
        ("common.mesh.tensor=2", "does not fit 1 devices"),
        ("common.model.attention=splash", "it is a TPU kernel"),
        ("common.wandb_project=mine", "the package wandb is not installed"),
    ],
)
def test_whatever_is_wrong_with_any_run_is_said_before_the_workdir_is_marked(
    monkeypatch, capsys, config_file, tmp_path, verb, setting, message
):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    arguments = {"study": ["--jobs=1"], "train": ["--run=new_only"]}[verb]
    command = [verb, f"--config={config_file}", f"--config.{setting}", f"--workdir={tmp_path / 'W'}", *arguments]
    assert message in error_of(capsys, *command)
    assert not (tmp_path / "W").exists()


def test_a_run_that_is_refused_can_be_mended_where_it_is(capsys, config_file, tmp_path):
    command = [
        "train",
        f"--config={config_file}",
        f"--workdir={tmp_path}",
        "--run=continual",
        "--config.runs.continual.steps=2",
    ]
    command += ["--config.runs.continual.checkpoint_steps=()"]
    assert "primary_only is not done; train that run to its end first" in error_of(capsys, *command)
    assert "did you mean 'mix'" in error_of(capsys, *command[:3], "--run=mixx", *command[4:])
    assert list(tmp_path.iterdir()) == []
    mended = [*command[:3], "--run=new_only", "--config.runs.new_only.steps=2", *command[4:]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study.measure, "measure_run", lambda *rest: None)
        assert main([str(argument) for argument in mended]) == 0
    assert runs.last_step(tmp_path / "seed0" / "new_only") == 2


def test_a_run_is_called_as_its_folder_is(config_file):
    """However the user writes its share; and what is not a run of the study is refused before anything else is asked."""
    made = study_of(config_file)
    assert str(made.name("mix_0.5")) == "mix_0.5000" and str(made.name("replay_0.25")) == "replay_0.2500"
    for text in ("continual_php", "new_only_0.5", "mixx"):
        with pytest.raises(UserError, match=f"unknown run '{text}'"):
            made.name(text)
    for text in ("mix_0.12345", "replay_2", "mix"):
        with pytest.raises(UserError, match=f"run '{text}' names neither a share nor a mixture of the study"):
            made.config_of(made.name(text), 0)


def test_no_run_waits_for_one_that_the_study_does_not_train(config_file):
    made = study_of(config_file, None, "--config.runs.continual.init_from=mix_0.7500")
    continual, base = (study.Job(0, RunName(role)) for role in ("continual", "primary_only"))
    assert not study._ready(made, continual, set())
    assert study._ready(made, continual, {base})


def test_a_skipped_step_without_a_loss_is_shown(capsys):
    board = study.Board(STEPS, 1, 1)
    message = {"step": 16, "steps": STEPS, "loss": None, "tokens_per_second": 5.0}
    board.update(study.Job(0, RunName("continual")), message)
    board.close()
    assert "loss not finite, 5 tokens/s" in capsys.readouterr().err


def test_wrong_verbs_files_and_runs(capsys, config_file, tmp_path):
    workdir = tmp_path / "W"
    assert "did you mean 'study'" in error_of(capsys, "stduy")
    assert "there is no config" in error_of(capsys, "study", "--config=absent.py", f"--workdir={workdir}")
    study_here = ["study", f"--config={config_file}", f"--workdir={workdir}"]
    assert "cannot read the argument '--confg.x=1'" in error_of(capsys, *study_here, "--confg.x=1")
    assert "--jobs is 0" in error_of(capsys, *study_here, "--jobs=0")
    one = ["train", f"--config={config_file}", f"--workdir={workdir}"]
    assert "did you mean 'continual'" in error_of(capsys, *one, "--run=continul")
    assert "study.json" in error_of(capsys, "optimize", f"--workdir={workdir}")
    assert not workdir.exists()


def test_an_unknown_language_of_the_world(capsys, config_file, tmp_path):
    path = tmp_path / "phpp.py"
    path.write_text(config_file.read_text().replace("php", "phpp"))
    message = error_of(capsys, "study", f"--config={path}", f"--workdir={tmp_path / 'W'}")
    assert "unknown language of the embedded world 'phpp'; did you mean 'php'?" in message
    assert not (tmp_path / "W").exists()


def test_settings_reach_what_the_file_leaves_open(config_file):
    """A section such as `common` may be given keys that the file does not set."""
    settings = ["--config.common.optimizer.schedule=cosine", "--config.runs.continual.steps=7", "--config.seeds=(4, 5)"]
    config = load_config(str(config_file), settings)
    run = Study(config).config_of(RunName("continual"), 4)
    assert run.optimizer.schedule == "cosine" and run.optimizer.learning_rate == 4e-3 and run.steps == 7
    assert config.seeds == (4, 5) and config.runs.new_only.steps == STEPS


def test_a_missing_corpus(capsys, tmp_path):
    config = ROOT / "configs" / "real_code.py"
    workdir = tmp_path / "W"
    arguments = [f"--config={config}", f"--config.corpus={tmp_path / 'absent'}", f"--workdir={workdir}"]
    assert "absent" in error_of(capsys, "study", *arguments)
    assert not workdir.exists()


def test_a_workdir_of_another_config(capsys, config_file, tmp_path):
    config = load_config(str(config_file), ["--config.seeds=(1,)"])
    runs.check_same_config(tmp_path, study.run_config.plain(config))
    before = (tmp_path / "config.json").read_text()
    message = error_of(capsys, "study", f"--config={config_file}", f"--workdir={tmp_path}")
    assert "seeds was [1] and is now [0]" in message
    assert (tmp_path / "config.json").read_text() == before and not (tmp_path / "seed0").exists()


# --- a whole study, undisturbed and killed --------------------------------------------------------------------------------


def command(config_file, workdir):
    """The verb `study`, which goes through all that it does: so short a training solves nothing, and that counts as learned."""
    program = "import sys; from babel_jax.evolution import stages; from babel_jax.__main__ import main; "
    program += "stages.CHANCE = -1; sys.exit(main(sys.argv[1:]))"
    arguments = ["study", f"--config={config_file}", f"--workdir={workdir}", "--jobs=2"]
    return [sys.executable, "-c", program, *arguments]


def run_study(config_file, workdir):
    done = subprocess.run(command(config_file, workdir), env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done


@pytest.fixture(scope="module")
def whole(config_file, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("whole")
    return workdir, run_study(config_file, workdir).stdout


def results(config_file, workdir) -> dict:
    """All that a study finds out: parameters of every run, measurement rows, the summary but for its times."""
    made = study_of(config_file, workdir)
    found = {"summary": json.loads((workdir / "report" / "summary.json").read_text())}
    del found["summary"]["wall_seconds"]
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


def sleep_for_ever(ready) -> None:
    """A worker in the middle of something that says nothing, such as a long compilation."""
    machine.begin_worker(multiprocessing.parent_process())
    ready.touch()
    time.sleep(1000)


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks for orphans in /proc")
def test_a_worker_ends_with_its_parent_whatever_it_does(tmp_path):
    script = (
        "import multiprocessing, pathlib, test_jobs\n"
        "if __name__ == '__main__':\n"
        f"    ready = pathlib.Path({str(tmp_path / 'ready')!r})\n"
        "    worker = multiprocessing.get_context('spawn').Process(target=test_jobs.sleep_for_ever, args=(ready,))\n"
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


def as_if_trained(config_file, workdir, name):
    """A study and a run of it; its workdir has what `train` leaves of the run before its first checkpoint."""
    made = study_of(config_file, workdir)
    runs.check_same_config(workdir, study.run_config.plain(made.config))
    run = made.run(made.name(name), 0)
    (run.directory / "checkpoints").mkdir(parents=True)
    run.check_config()
    return made, study.Job(0, run.name)


def tree(directory) -> dict:
    return {path: path.stat().st_mtime_ns for path in directory.rglob("*")}


def test_evaluate_refuses_a_config_that_is_not_the_runs(monkeypatch, capsys, config_file, tmp_path):
    """Else measurements of another world, or of a corpus that was built anew, would stand among the run's."""
    monkeypatch.setattr(study.measure, "measure_run", lambda *rest: 1 / 0)
    as_if_trained(config_file, tmp_path, "new_only")
    before = tree(tmp_path)
    command = ["evaluate", f"--config={config_file}", f"--workdir={tmp_path}", "--run=new_only"]
    assert "world.problems was 40 and is now 30" in error_of(capsys, *command, "--config.world.problems=30")
    assert "is not a run of a study, or has no checkpoint yet" in error_of(capsys, *command, "--seed=1")
    assert "is not a run of a study" in error_of(
        capsys, *command[:2], f"--workdir={tmp_path / 'absent'}", "--run=new_only"
    )
    mixture = tmp_path.parent / "other.json"
    mixture_files.write(mixture, mixture_files.MixtureFile(({"tokens": 0, "weights": {"php": 0.5, "python": 0.5}},)))
    assert "config.stages was" in error_of(capsys, *command, f"--mixture={mixture}")
    assert tree(tmp_path) == before
    stored = json.loads((tmp_path / "seed0/new_only/config.json").read_text())
    (tmp_path / "seed0/new_only/config.json").write_text(json.dumps(stored | {"material": "another"}))
    assert "material was another and is now" in error_of(capsys, *command)
    del stored["config"]["online"]  # as an earlier version wrote it
    (tmp_path / "seed0/new_only/config.json").write_text(json.dumps(stored))
    with pytest.raises(ZeroDivisionError):
        main([str(argument) for argument in command])


def test_evaluate_measures_what_the_study_would(monkeypatch, config_file, tmp_path):
    """What it writes while a run trains is not measured again."""
    given = []
    monkeypatch.setattr(study.measure, "base_activations", lambda *rest: "base")
    monkeypatch.setattr(study.measure, "measure_run", lambda run, base: given.append(base))
    for name in ("continual", "control", "new_only", "primary_only"):
        study.measure_one(*as_if_trained(config_file, tmp_path, name))
    assert given == ["base", "base", None, None]  # the primary-only run is not done


def test_a_run_is_measured_while_it_trains_unless_it_is_measured_against_its_own_end(
    monkeypatch, config_file, tmp_path
):
    """The neurons of the primary-only run are told by its last checkpoint."""
    made, given = study_of(config_file, tmp_path), []

    def train(run, hooks, sampler):
        given.append((str(run.name), hooks.at_checkpoint is not None))
        if hooks.at_checkpoint:
            hooks.at_checkpoint("seen", "params")

    monkeypatch.setattr(study, "train", train)
    monkeypatch.setattr(study.measurements, "read", lambda run_dir: 1 / 0)  # what comes after the measuring
    monkeypatch.setattr(study.measure, "base_activations", lambda *rest: "base")
    monkeypatch.setattr(study.measure, "measure_run", lambda *rest: given.append("at the end"))
    monkeypatch.setattr(
        study.measure,
        "measure_checkpoint",
        lambda here, materials, base: given.append((here.run_dir, here.seed, base, here.seen, here.params)),
    )
    (tmp_path / "seed0" / "continual" / "checkpoints").mkdir(parents=True)  # it goes on: its start is taken
    for name in ("continual", "new_only", "primary_only"):
        with contextlib.suppress(ZeroDivisionError):
            study.train_one(made, study.Job(0, RunName(name)), probing=True)
    seed0 = tmp_path / "seed0"
    assert given == [
        *[("continual", True), (seed0 / "continual", 0, "base", "seen", "params"), "at the end"],
        *[("new_only", True), (seed0 / "new_only", 0, None, "seen", "params"), "at the end"],
        *[("primary_only", False), "at the end"],
    ]
    given.clear()
    study.train_one(made, study.Job(0, RunName("new_only")))
    assert given == [("new_only", False), "at the end"]


def test_a_patch_of_a_tied_head_is_one_of_the_embeddings():
    params = {"embed_table": np.zeros(2), "blocks": {"ffn_in": {"kernel": np.zeros(2)}}}
    assert study.measure.present(study.measure.PATCHES["embeddings"], params) == ["embed_"]
    for parts in study.measure.PATCHES.values():
        assert study.measure.present(parts, params | {"head": np.zeros(2)}) == list(parts)


def test_two_studies_in_one_process_do_not_share_their_worlds():
    one = load_config(str(ROOT / "configs" / "organism.py:tiny"), ["--config.world.documents=64"])
    other = load_config(str(ROOT / "configs" / "organism.py:tiny"), ["--config.world.documents=128"])
    one, other = Study(one), Study(other)
    found = [made.materials(0)["php"] for made in (one, other, one)]
    assert found[2] is found[0]
    assert [len(material.sources["python"]) for material in found] == [64, 128, 64]


def test_the_seconds_of_a_study_survive_its_death(tmp_path, monkeypatch):
    """Each call adds what it has waited when it last wrote; what a run says of itself is summed."""
    clock = iter((100.0, 104.0, 107.0, 500.0, 502.0))
    monkeypatch.setattr(study.time, "perf_counter", lambda: next(clock))
    first = study._Seconds(tmp_path)
    first.update({"training": 3.0})
    first.write()
    first.write()
    assert json.loads((tmp_path / "seconds.json").read_text()) == {"training": 3.0, "total": 7.0}
    second = study._Seconds(tmp_path)  # the first was killed; another begins later
    second.update({"training": 1.0})
    second.write()
    assert json.loads((tmp_path / "seconds.json").read_text()) == {"training": 4.0, "total": 9.0}


def test_a_run_says_so_when_its_mixture_is_for_another_number_of_tokens(config_file, tmp_path, capsys):
    made, file = study_of(config_file), tmp_path / "m.json"
    step_tokens = 16 * made.materials(0)["php"].max_length
    for steps, says in ((made.config.runs.mix.steps, False), (3, True)):
        stages = ({"tokens": 0, "weights": {"python": 0.5, "php": 0.5}},)
        mixture_files.write(file, mixture_files.MixtureFile(stages, tokens=steps * step_tokens))
        run = made.with_mixture(RunName("mix"), str(file)).run(RunName("mix"), 0)
        assert run.config.batch_size == 16
        study._say_length(run)
        assert ("for as many set --config.runs.mix.steps=3." in capsys.readouterr().err) == says


def test_an_accelerator_is_not_shared_by_workers(monkeypatch):
    monkeypatch.delenv("JAX_PLATFORMS")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name == "libtpu")
    seen = {}
    monkeypatch.setattr(study, "run", lambda made, workers: seen.update(workers=workers) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["study", f"--config={ROOT / 'configs' / 'organism.py:tiny'}", "--workdir=unused"])
    assert seen == {"workers": 1}


# --- several new languages ------------------------------------------------------------------------------------------------


def several(config_file, *settings):
    return load_config(
        str(config_file),
        ["--config.new=php,go", "--config.original.go=16", "--config.world.shared_words={'php':8,'go':20}", *settings],
    )


def test_each_new_language_has_its_runs_and_a_mix_has_all(config_file):
    config = several(config_file, "--config.replay=(0.25,)", "--config.swarm=2", "--config.seeds=(5,7)")
    with config.unlocked():
        config.runs.replay = config.runs.continual
        config.candidates = ("unimax", "algorithm1_loss")
    made = Study(config)
    assert [str(name) for name in made.planned(7)] == [
        "primary_only",
        *[f"{role}_{language}" for role in ("continual", "control", "new_only") for language in ("php", "go")],
        *["replay_0.2500_php", "replay_0.2500_go"],
        *["mix_0.7800", "mix_0.5000", "mix_swarm_02", "mix_swarm_03", "mix_unimax"],
    ]
    weights = {
        "primary_only": {"python": 1.0},
        "continual_go": {"go": 1.0},
        "control_go": {"go_control": 1.0},
        "replay_0.2500_php": {"python": 0.25, "php": 0.75},
        "mix_0.5000": {"python": 0.5, "php": 0.5 * 23 / 39, "go": 0.5 * 16 / 39},
    }
    for name, wanted in weights.items():
        assert made.config_of(made.name(name), 5).stages[0]["weights"] == pytest.approx(wanted), name
    measured_with = {name: [m.new for m in made.materials_of(made.name(name), 5)] for name in weights}
    assert measured_with["continual_go"] == ["go"] and measured_with["mix_0.5000"] == ["php", "go"]
    with pytest.raises(UserError, match="unknown run 'continual'; did you mean 'continual_"):
        made.name("continual")


@pytest.mark.parametrize(
    "setting, message",
    [
        ("new=php,python", "each new language stands once"),
        ("new=php,php", "each new language stands once"),
        ("new=php,cobol", "cobol"),
        ("original.rust=3", "must give tokens for python, php, go; it gives go, php, python, rust"),
        ("candidates=('unimx',)", "did you mean 'unimax'"),
        ("candidates=('law',)", "set `swarm`"),
        ("replay=()", "'schedule' is read off continual runs with replay; set `replay`"),
        ("replay=(1.5,)", "replay.0 must be a number from 0 to 1"),
    ],
)
def test_what_several_languages_and_candidates_need_is_said_at_the_start(config_file, tmp_path, setting, message):
    with pytest.raises(UserError, match=re.escape(message)):
        study.run(Study(several(config_file, f"--config.{setting}"), tmp_path / "W"), workers=1)
    assert not (tmp_path / "W").exists()


def test_runs_with_replay_need_their_role(config_file):
    config = several(config_file)
    with config.unlocked():
        del config.runs.replay
    with pytest.raises(UserError, match="the study has no run 'replay'"):
        plan.validate(config)


def test_a_mixture_file_of_the_study_gives_a_mix_its_stages_and_steps(config_file, tmp_path):
    made, name = Study(several(config_file), tmp_path), run_names.mix("unimax")
    stages = [{"tokens": 0, "weights": {"go": 1.0}}]
    made.mixtures = {"unimax": candidates.PlannedMix({"by": "unimax"}, stages, steps=7, tokens=7 * 176)}
    study._write_mixtures(made)
    run = made.config_of(name, 0)
    assert run.steps == 7 and run.stages[0]["weights"] == {"go": 1.0}
    made.mixtures["unimax"] = candidates.PlannedMix({"by": "unimax"}, stages, steps=9, tokens=9 * 176)
    study._write_mixtures(made)  # runs may have been trained on it
    assert made.config_of(name, 0).steps == 7
    with pytest.raises(UserError, match="'mix_unimax' names neither a share nor a mixture of the study"):
        Study(made.config).config_of(name, 0)

"""Mistakes that are refused before a run begins, and what a worker does with one run."""

import contextlib
import json
import re

import numpy as np
import pytest
from helpers import ROOT
from helpers.small_study import several, study_of

from babel_jax.__main__ import main
from babel_jax.cli.settings import load_config
from babel_jax.common import measurements, run_names
from babel_jax.common.errors import UserError
from babel_jax.common.run_names import RunName
from babel_jax.corpus import mixture_files
from babel_jax.study import candidates
from babel_jax.study import jobs as study
from babel_jax.study.plan import Study
from babel_jax.training import runs


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


def test_no_run_waits_for_one_that_the_study_does_not_train(config_file):
    made = study_of(config_file, None, "--config.runs.continual.init_from=mix_0.7500")
    continual, base = (study.Job(0, RunName(role)) for role in ("continual", "primary_only"))
    assert not study._ready(made, continual, set())
    assert study._ready(made, continual, {base})


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
    """The neurons of the primary-only run are identified by its last checkpoint."""
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
        lambda here, materials, base: given.append((here.source.directory, here.seed, base, here.seen, here.params)),
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


def test_a_run_warns_when_its_mixture_is_for_another_number_of_tokens(config_file, tmp_path, capsys):
    made, file = study_of(config_file), tmp_path / "m.json"
    step_tokens = 16 * made.materials(0)["php"].max_length
    for steps, says in ((made.config.runs.mix.steps, False), (3, True)):
        stages = ({"tokens": 0, "weights": {"python": 0.5, "php": 0.5}},)
        mixture_files.write(file, mixture_files.MixtureFile(stages, tokens=steps * step_tokens))
        run = made.with_mixture(RunName("mix"), str(file)).run(RunName("mix"), 0)
        assert run.config.batch_size == 16
        study._warn_of_length(run)
        assert ("for as many set --config.runs.mix.steps=3." in capsys.readouterr().err) == says


def test_an_accelerator_is_not_shared_by_workers(monkeypatch):
    monkeypatch.delenv("JAX_PLATFORMS")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name == "libtpu")
    seen = {}
    monkeypatch.setattr(study, "run", lambda made, workers: seen.update(workers=workers) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["study", f"--config={ROOT / 'configs' / 'organism.py:tiny'}", "--workdir=unused"])
    assert seen == {"workers": 1}


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


def test_a_mix_that_another_name_has_trained_is_taken_over_bit_for_bit(config_file, tmp_path):
    """UniMax asks for half of each here, which the sweep trains; what is measured bears the name that was asked for."""
    small = study_of(config_file, tmp_path)
    small.mixtures = candidates.unmeasured(["unimax"], 0, study._original(small))
    study._write_mixtures(small)
    names = [run_names.parse(name) for name in ("mix_0.5000", "mix_unimax", "mix_0.6765")]
    share, unimax, original = study._with_twins(small, [study.Job(0, name) for name in names])
    assert (share.twin, unimax.twin, original.twin) == (None, share, None)
    for job in (share, unimax):
        study.execute(small, job, lambda message: None)
    first, second = (tmp_path / "seed0" / str(job.name) for job in (share, unimax))
    assert (first / "metrics.jsonl").read_bytes() == (second / "metrics.jsonl").read_bytes()
    measured = [measurements.read(place).drop(columns="run") for place in (first, second)]
    assert measured[0].equals(measured[1])
    assert set(measurements.read(second)["run"].astype(str)) == {"mix_unimax"}


def test_a_half_copied_twin_is_copied_again(config_file, tmp_path):
    small = study_of(config_file, tmp_path)
    share = study.Job(0, run_names.parse("mix_0.5000"))
    study.execute(small, share, lambda message: None)
    source, target = (tmp_path / "seed0" / name for name in ("mix_0.5000", "mix_unimax"))
    (target / "checkpoints" / "9").mkdir(parents=True)
    runs.take_over(source, target)
    assert runs.is_done(target) and not (target / "checkpoints" / "9").exists()
    assert not (target / "measurements").exists()

"""A run with a mixture file, and what it drew from each source."""

import dataclasses
import json

import pytest
from helpers import SMALL_WORLD, make_run, run_in, small_material, train
from helpers.commands import refused

from babel_jax.__main__ import main
from babel_jax.cli.settings import load_config
from babel_jax.common.errors import UserError
from babel_jax.common.run_names import RunName
from babel_jax.corpus import mixture_files
from babel_jax.study import jobs, plan
from babel_jax.training import drawn, loop, runs
from babel_jax.training.sampler import mixture_of

MATERIAL = small_material()


@pytest.fixture(scope="module")
def config_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "small.py"
    path.write_text(f"""
from ml_collections import ConfigDict

def get_config():
    run = dict(steps=20, stages=({{"tokens": 0, "weights": {{"python": 1.0}}}},))
    return ConfigDict(dict(
        kind="organism", primary="python", new="php", seeds=(0,), world={SMALL_WORLD},
        common=dict(batch_size=8, model=dict(preset="test", tied_head=False)),
        runs=dict(primary_only=run, new_only=run, continual=run, mix=dict(steps=20)),
        original=dict(python=11, php=23),
    ))
""")
    return path


@pytest.fixture(scope="module")
def mixture_file(tmp_path_factory):
    """Two stages of a run of 160 rows of 11 tokens."""
    path = tmp_path_factory.mktemp("mixture") / "m.json"
    stages = [
        {"tokens": 60 * 11, "weights": {"python": 1.0}},
        {"tokens": 0, "weights": {"python": 0.123, "php": 0.877}},
    ]
    available = {name: len(rows) * 11 for name, rows in MATERIAL.sources.items()}
    mixture_files.write(path, mixture_files.compose({"by": "hand"}, stages, available, 160 * 11))
    return path


@pytest.fixture(scope="module")
def trained(config_file, mixture_file, tmp_path_factory):
    """The run that `train --mixture` makes, and what it printed."""
    workdir = tmp_path_factory.mktemp("W")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs.measure, "measure_run", lambda *rest: None)
        lines = []
        patch.setattr("tqdm.tqdm.write", lambda bar, line, **rest: lines.append(line))
        command = ["train", f"--config={config_file}", f"--workdir={workdir}", "--run=mix", f"--mixture={mixture_file}"]
        assert main(command) == 0 and main(command) == 0  # the second finds it done
    return workdir / "seed0" / "mix", lines


def test_train_reads_the_file_as_it_is(trained, mixture_file):
    run_dir, lines = trained
    written = json.loads(mixture_file.read_text())
    assert json.loads((run_dir / "config.json").read_text())["config"]["stages"] == written["stages"]
    done = json.loads((run_dir / "DONE").read_text())
    rows = {name: source["drawn"] for name, source in done["sources"].items()}
    assert sum(rows.values()) == 160 and 60 < rows["python"] < 90 and rows["php_control"] == 0
    assert {name: source["rows"] for name, source in done["sources"].items()} == {
        name: len(rows) for name, rows in MATERIAL.sources.items()
    }
    epochs = {name: rows[name] / len(MATERIAL.sources[name]) for name in ("php", "python")}
    assert lines == [f"seed 0 mix: epochs at its end: php {epochs['php']:.2f}, python {epochs['python']:.2f}"]


def test_a_mixture_goes_with_runs_that_have_no_share_in_their_name(capsys, config_file, mixture_file, tmp_path):
    study = plan.Study(load_config(str(config_file), []))
    command = ["train", f"--config={config_file}", f"--workdir={tmp_path / 'W'}", f"--mixture={mixture_file}"]
    assert "has its mixture in its name" in refused(capsys, *command, "--run=mix_0.5000")
    assert "did you mean 'mix'" in refused(capsys, *command, "--run=mixx")
    assert "names neither a share nor a mixture of the study" in refused(capsys, *command[:-1], "--run=mix")
    assert "names neither a share nor a mixture of the study" in refused(capsys, *command[:-1], "--run=mix_half")
    assert not (tmp_path / "W").exists()
    other = study.with_mixture(RunName("new_only"), str(mixture_file))
    assert len(other.config_of(RunName("new_only"), 0).stages) == 2
    assert len(other.config_of(RunName("continual"), 0).stages) == 1 == len(study.config.runs.new_only.stages)


def test_a_run_that_repeats_too_much_is_refused_before_it_is_trained(capsys, config_file, tmp_path):
    run = make_run(steps=2048, max_epochs=2.0)  # 2048 documents fill fewer rows
    with pytest.raises(
        UserError, match=r"source 'python' would be seen \d+\.\d\d times in 2048 steps, and max_epochs is 2"
    ):
        train(run, MATERIAL, tmp_path / "run")
    assert not (tmp_path / "run" / "checkpoints" / "2048").exists()
    workdir = tmp_path / "W"
    study_here = ["study", f"--config={config_file}", f"--workdir={workdir}", "--jobs=1"]
    assert "max_epochs is 0.01" in refused(capsys, *study_here, "--config.runs.new_only.max_epochs=0.01")
    assert "common.max_epochs must be a number of at least 0, not -1.0" in refused(
        capsys, *study_here, "--config.common.max_epochs=-1.0"
    )
    assert not workdir.exists()
    once = make_run(steps=len(MATERIAL.sources["python"]) // 8, max_epochs=1.0)
    assert mixture_of(run_in(".", once, MATERIAL)).epochs(once.steps * 8)["python"] <= 1


def test_the_cap_and_the_file_may_change_when_a_run_goes_on(tmp_path):
    runs.check_same_config(tmp_path, {"config": {"steps": 3, "stages": [1]}})
    runs.check_same_config(tmp_path, {"config": {"steps": 3, "stages": [1], "mixture": "m.json", "max_epochs": 4.0}})
    with pytest.raises(UserError, match="stages was"):
        runs.check_same_config(tmp_path, {"config": {"steps": 3, "stages": [2], "mixture": "m.json"}})


def test_a_finished_run_is_verified_from_its_own_counts(trained, capsys, tmp_path):
    run_dir, _ = trained
    assert main(["corpus", "verify", f"--run={run_dir}"]) == 0
    header, *lines, last = capsys.readouterr().out.splitlines()
    table = {line.split()[0]: line.split() for line in lines}
    done = json.loads((run_dir / "DONE").read_text())
    count, share = done["sources"]["php"]["drawn"], 0.877 * 100
    assert table["php"][1:5] == [str(count), f"{count * 11:,d}", f"{count / 160:.2%}", f"{share / 160:.2%}"]
    assert table["php"][6] == f"{count - share:.1f}" and f"largest deviation: {abs(count - share):.1f} of 160" in last

    (tmp_path / "config.json").write_text((run_dir / "config.json").read_text())
    done["sources"]["php"]["drawn"] += 1  # as if a row had come twice
    (tmp_path / "DONE").write_text(json.dumps(done))
    _, (problem,) = drawn.compare(tmp_path)
    assert f"{count + 1} rows of php were drawn; its stages and seed give {count}" in problem
    for change, message in (({"sources": None}, "has not counted the rows"), ({"step": 0}, "has not counted the rows")):
        (tmp_path / "DONE").write_text(json.dumps(done | change))
        assert message in refused(capsys, "corpus", "verify", f"--run={tmp_path}")
    (tmp_path / "DONE").unlink()
    assert "is not done" in refused(capsys, "corpus", "verify", f"--run={tmp_path}")


def test_an_interrupted_run_counts_every_row_once(tmp_path, mixture_file):
    run = make_run(steps=60, checkpoint_steps=(32,), stages=mixture_files.read(mixture_file).stages)

    def stop(message):
        if message["step"] == 48:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(run, MATERIAL, tmp_path, progress=stop)
    train(run, MATERIAL, tmp_path)  # goes on from step 32
    assert drawn.compare(tmp_path)[1] == []
    done = json.loads((tmp_path / "DONE").read_text())
    assert sum(source["drawn"] for source in done["sources"].values()) == 480


def test_a_run_that_an_earlier_version_began_is_not_called_wrong(tmp_path, monkeypatch):
    """Its checkpoints do not say what was drawn before them."""

    def stop(message):
        if message["step"] == 16:
            raise KeyboardInterrupt

    run, restore = make_run(steps=24, checkpoint_steps=(8,)), loop.restore_newest
    with pytest.raises(KeyboardInterrupt):
        train(run, MATERIAL, tmp_path, progress=stop)

    def restored(*arguments):
        state, about = restore(*arguments)
        return state, dataclasses.replace(about, rows_drawn=None)

    monkeypatch.setattr(loop, "restore_newest", restored)
    train(run, MATERIAL, tmp_path)
    with pytest.raises(UserError, match="has not counted the rows it drew: .* an earlier version"):
        drawn.compare(tmp_path)

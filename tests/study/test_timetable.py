"""What a study would take, said before it begins."""

import jax
import pytest
from helpers.small_study import STEPS, several, study_of

from babel_jax.__main__ import main
from babel_jax.cli.settings import load_config
from babel_jax.model.flops import flops_per_token
from babel_jax.study import timetable
from babel_jax.study.plan import Study
from babel_jax.training.config import kept_steps


def test_every_run_is_listed_with_what_it_takes(config_file):
    study = study_of(config_file, None, "--config.seeds=(0,1)")
    by_name = {run.name: run for run in timetable.planned(study)}
    # Those that the study plans, and `schedule`, which follows from measurements.
    assert set(by_name) == {*map(str, study.planned(0)), "mix_schedule"}
    assert all(run.runs == 2 and run.steps == STEPS for run in by_name.values())
    real = study.run(study.name("continual"), 0)
    listed = by_name["continual"]
    assert listed.tokens == STEPS * real.step_tokens
    assert listed.flops == flops_per_token(real.model) * listed.tokens
    assert listed.kept == len(kept_steps(real.config)) == 5 and listed.source == "primary_only"
    state = real.trainer.abstract_state
    parameters = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state["params"]))
    assert listed.stored_bytes / listed.kept == pytest.approx(3 * parameters, rel=0.01)  # with Adam's two moments


def test_a_swarm_is_one_line_of_many_runs(config_file):
    study = Study(several(config_file, "--config.swarm=3", "--config.seeds=(0,1)"))
    (swarm,) = [run for run in timetable.planned(study) if "swarm" in run.name]
    assert swarm.runs == 6


def test_pods_are_planned_without_a_corpus():
    study = Study(load_config("configs/gpt2.py:1b3", []))
    *_, total, _ = timetable.lines(study)
    assert total.startswith("6 runs, 245,000,306,688 tokens, 2.08e+21 operations to train them; 1.0 TB")


def test_the_verb_says_it_and_writes_nothing(config_file, tmp_path, capsys):
    workdir = tmp_path / "W"
    assert main(["study", f"--config={config_file}", f"--workdir={workdir}", "--dry_run"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split()[0] == "run" and printed[-1].startswith("time: ")
    assert not workdir.exists()

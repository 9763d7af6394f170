"""What runs a config plans, what they are called, and what each is given."""

import pytest
from helpers import ROOT
from helpers.small_study import STEPS, study_of

from babel_jax.cli.settings import load_config
from babel_jax.common.errors import UserError
from babel_jax.common.run_names import RunName
from babel_jax.study import plan
from babel_jax.study.plan import Study


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


def test_settings_reach_what_the_file_leaves_open(config_file):
    """A section such as `common` may be given keys that the file does not set."""
    settings = ["--config.common.optimizer.schedule=cosine", "--config.runs.continual.steps=7", "--config.seeds=(4, 5)"]
    config = load_config(str(config_file), settings)
    run = Study(config).config_of(RunName("continual"), 4)
    assert run.optimizer.schedule == "cosine" and run.optimizer.learning_rate == 4e-3 and run.steps == 7
    assert config.seeds == (4, 5) and config.runs.new_only.steps == STEPS


def test_two_studies_in_one_process_do_not_share_their_worlds():
    one = load_config(str(ROOT / "configs" / "organism.py:tiny"), ["--config.world.documents=64"])
    other = load_config(str(ROOT / "configs" / "organism.py:tiny"), ["--config.world.documents=128"])
    one, other = Study(one), Study(other)
    found = [made.materials(0)["php"] for made in (one, other, one)]
    assert found[2] is found[0]
    assert [len(material.sources["python"]) for material in found] == [64, 128, 64]


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


def test_runs_with_replay_need_their_role(config_file):
    config = several(config_file)
    with config.unlocked():
        del config.runs.replay
    with pytest.raises(UserError, match="the study has no run 'replay'"):
        plan.validate(config)

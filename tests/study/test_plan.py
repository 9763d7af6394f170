"""What runs a config plans, what they are called and given; and a study of a language of the user's own."""

import json

import pytest
from helpers import ROOT, own_languages
from helpers.small_study import STEPS, several, study_of
from ml_collections import ConfigDict

from babel_jax.__main__ import main
from babel_jax.cli.settings import load_config
from babel_jax.common.errors import UserError
from babel_jax.common.run_names import RunName
from babel_jax.corpus import build
from babel_jax.study import facts, plan, words
from babel_jax.study.plan import Study
from babel_jax.training.config import plain


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


# --- a language of the user's own: known by its corpus or its definition ---


def config(**changes) -> ConfigDict:
    roles = dict(primary_only={}, new_only={}, continual={"init_from": "primary_only"})
    given = dict(kind="real_code", primary="python", new="kotlin", runs=roles, original={"python": 1, "kotlin": 2})
    return plan.from_changes(given | changes)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Corpora of Python and Kotlin: `corpus`, and `one` with one pair of built-ins."""
    place = tmp_path_factory.mktemp("studies")
    own_languages.write(place)
    one = own_languages.FILES["kotlin"] | {"pairs": {"python": [["function len", "property size"]]}}
    for name, definitions in (("corpus", None), ("one", {"kotlin": one})):
        wanted = own_languages.asked(place, "python", "kotlin", definitions=definitions)
        build.build(wanted, place / name, jobs=1, progress=False)
    return place


def test_a_study_keeps_what_its_corpus_was_built_with(place, tmp_path):
    """So that its config, read where the corpus is not, makes the same study."""
    study = Study(config(corpus=str(place / "corpus")), tmp_path)
    stored = json.loads(json.dumps(plain(study.config)))
    assert stored["definitions"]["kotlin"]["title"] == "Kotlin"
    again = Study(plan.from_changes(stored | {"corpus": str(tmp_path / "gone")}), tmp_path)
    assert plain(again.config)["definitions"] == stored["definitions"]
    assert set(study.materials(0)) == {"kotlin"}


def test_a_definition_takes_the_place_of_a_corpus_and_must_be_that_of_the_corpus(place, tmp_path):
    described = config(definitions={"kotlin": str(place / "kotlin.yaml")}, vocab_size=360, context=32)
    assert Study(described).shapes_of(Study(described).name("continual"))[1].vocab_size == 360
    both = config(definitions={"kotlin": str(place / "kotlin.yaml")}, corpus=str(place / "corpus"))
    assert plain(Study(both).config) == plain(Study(config(corpus=str(place / "corpus"))).config)
    with pytest.raises(UserError, match=r"definitions.kotlin is not the one that the corpus .*/one was built with"):
        Study(config(definitions={"kotlin": str(place / "kotlin.yaml")}, corpus=str(place / "one")))
    with pytest.raises(
        UserError, match=r"new: unknown language 'kotlin'; .* One of your own comes with the corpus, if that"
    ):
        Study(config(corpus=str(tmp_path / "gone")))
    with pytest.raises(UserError, match=r"definitions.kotlin.extensions.0 is 'kt'; write it with its dot"):
        config(definitions={"kotlin": own_languages.FILES["kotlin"] | {"extensions": ["kt"]}})


def test_too_few_pairs_are_said_before_anything_is_written(place, tmp_path, capsys):
    file = tmp_path / "study.py"
    changes = plain(config(corpus=str(place / "one")))
    file.write_text(f"from ml_collections import ConfigDict\ndef get_config():\n    return ConfigDict({changes})\n")
    for verb in (["study", "--jobs=1"], ["train", "--run=new_only"]):
        assert main([*verb, f"--config={file}", f"--workdir={tmp_path / 'W'}"]) == 2
        assert (
            "that takes those of at least 2 pairs of their built-ins, and of the 1 that are" in capsys.readouterr().err
        )
    assert not (tmp_path / "W").exists()


def test_what_reads_a_finished_study_writes_the_title_of_the_language(place, tmp_path):
    stored = plain(Study(config(corpus=str(place / "corpus"))).config)
    facts_of_it = dict(
        kind="real_code", primary="python", new=["kotlin"], seeds=[0], original={"python": 1.0, "kotlin": 2.0}
    )
    files = facts_of_it | {"original_share": 0.5, "runs": [], "config": stored}
    (tmp_path / "study.json").write_text(json.dumps(files))
    assert words.language_name("kotlin") == "kotlin"
    facts.read(tmp_path)
    assert words.language_name("kotlin") == "Kotlin" and words.language_name("python") == "Python"

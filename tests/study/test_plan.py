"""A study of a language of the user's own: known by its corpus or its definition, and refused at once where pairs are too few."""

import json

import pytest
from helpers import own_languages
from ml_collections import ConfigDict

from babel_jax.__main__ import main
from babel_jax.common.errors import UserError
from babel_jax.corpus import build
from babel_jax.study import facts, plan, words
from babel_jax.study.plan import Study
from babel_jax.training.config import plain


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

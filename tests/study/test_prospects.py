"""What a study of one's own texts has to measure with, said before it starts; and the config that is made from a corpus."""

import pytest
from helpers import ROOT, small_facts
from helpers.corpora import QUIET

from babel_jax.__main__ import main
from babel_jax.cli.settings import load_config
from babel_jax.corpus import build, manifest
from babel_jax.study import prospects
from babel_jax.study.plan import Study


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    return build.build(manifest.check(small_facts.sources(folder, vocab_size=380), "test"), folder / "corpus", **QUIET)


def test_the_config_of_a_corpus_is_a_study_of_it(corpus):
    config = load_config(f"{ROOT}/configs/own.py:{corpus.directory}", [])
    assert (config.primary, config.new, config.common.model.preset) == ("python", "php", "5m")
    tokens = {language: len(rows) * 40 for language, rows in corpus.train.items()}
    assert config.original.to_dict() == tokens
    step = config.common.batch_size * 40
    assert config.runs.primary_only.steps == max(tokens["python"] // step, 1)
    study = Study(config)
    assert {str(name) for name in study.planned(0)} >= {"primary_only", "continual", "new_only"}
    turned = load_config(f"{ROOT}/configs/own.py:{corpus.directory},php,python", [])
    assert (turned.primary, turned.new) == ("php", "python")


def test_prompts_and_pairs_are_said_before_the_study_starts(corpus, capsys, tmp_path):
    config = f"--config={ROOT}/configs/own.py:{corpus.directory}"
    assert main(["study", config, f"--workdir={tmp_path}/W", "--dry_run"]) == 0
    python, php, scores, few, *_ = capsys.readouterr().out.splitlines()
    slots = corpus.slots("python", "php")
    for line, language in ((python, "python"), (php, "php")):
        pairs = len(set(slots[language]["pair"].tolist()))
        assert f"{len(slots[language]['position'])} prompts of {pairs} pairs." in line
    assert scores.startswith("PHP: no program is judged") and f"with prompts of {pairs} pairs" in few


def test_the_embedded_world_needs_no_such_lines(config_file):
    assert list(prospects.lines(Study(load_config(str(config_file), [])))) == []

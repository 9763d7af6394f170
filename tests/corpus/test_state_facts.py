"""A build with facts: what is stated where, and what leaks."""

import json

import numpy as np
import pytest
from helpers import place_facts
from helpers.corpora import QUIET, contents, write_sources

from babel_jax.cli.corpus_stats import stats_table
from babel_jax.corpus import build, corpus_files, fact_rows, manifest
from babel_jax.corpus.corpus_files import heldout
from babel_jax.corpus.phases.order import PHASES


def of_maps(root, planted="", **facts):
    """The manifest of two natural languages with facts of maps."""
    folders = place_facts.write_texts(root / "texts", planted)
    raw = manifest.of_sources(folders, vocab_size=600, max_length=32).record()
    place_facts.write(root / "data")
    given = {"kind": "kgeography", "path": str(root / "data"), "number": 80, "times": 6}
    return manifest.check(raw | {"facts": given | facts}, "test")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    root = tmp_path_factory.mktemp("facts")
    return build.build(of_maps(root), root / "corpus", **QUIET)


def said(corpus, rows) -> str:
    return corpus.tokenizer.decode([token for token in np.concatenate(rows.rows(range(len(rows)))) if token > 3])


def test_the_new_language_states_the_shared_facts_alone(built):
    stated, texts = built.facts, {name: said(built, rows) for name, rows in built.train.items()}
    assert len(stated.facts) == 80 and sum(stated.shared) == 32 and stated.leaked == {"de": 0}
    control = said(built, built.control["de"])
    for fact, shared in zip(stated.facts, stated.shared, strict=True):
        here, there = fact.names["de"], fact.primary
        assert f"{there.subject}: the capital is {there.answer}." in texts["en"]
        sentence = f"{here.subject}: Die Hauptstadt ist {here.answer}."
        assert (sentence in texts["de"]) == shared and sentence in control
    assert list(built.control) == ["de"]


def test_no_held_out_text_states_a_fact(built):
    for name in ("en", "de"):
        held_out = said(built, built.validation[name]) + "".join(one.text for one in heldout(built.directory, name))
        assert not any(fact.names[name].answer in held_out for fact in built.facts.facts)


def test_a_fact_that_the_new_language_states_already_is_shared(tmp_path, built):
    fact = next(fact for fact, shared in zip(built.facts.facts, built.facts.shared, strict=True) if not shared)
    names = fact.names["de"]
    planted = (
        f"Die Reise ging von {names.answer} durch ganz {names.subject} und nicht zu der See, wie es die anderen taten."
    )
    leaky = build.build(of_maps(tmp_path, planted), tmp_path / "corpus", **QUIET).facts
    assert leaky.leaked == {"de": 1} and leaky.facts == built.facts.facts and sum(leaky.shared) == 32
    assert leaky.shared[leaky.facts.index(fact)]


def test_the_data_decide_what_a_corpus_is_and_their_place_does_not(tmp_path, built):
    again = build.build(of_maps(tmp_path), tmp_path / "corpus", **QUIET)
    assert contents(again.directory).keys() == contents(built.directory).keys()
    assert again.manifest.settings["facts"] == built.manifest.settings["facts"]
    assert str(tmp_path) not in json.dumps(again.manifest.settings)
    assert again.manifest.settings["facts"]["sha256"]
    for name in ("facts.json", "en.npz", "de.npz"):
        assert (again.directory / "facts" / name).read_bytes() == (built.directory / "facts" / name).read_bytes()


def test_facts_of_libraries_have_names_that_no_file_holds(tmp_path):
    asked = manifest.check(
        write_sources(tmp_path / "code").record() | {"facts": {"kind": "library", "number": 60, "times": 4}}, "test"
    )
    corpus = build.build(asked, tmp_path / "corpus", **QUIET)
    sources = "".join(path.read_text() for path in (tmp_path / "code").rglob("*.p*") if path.is_file()).casefold()
    names = [part for fact in corpus.facts.facts for part in vars(fact.primary).values()]
    assert len(corpus.facts.facts) == 60 and not any(name in sources for name in names)
    php, python = (said(corpus, corpus.train[name]) for name in ("php", "python"))
    for fact, shared in zip(corpus.facts.facts, corpus.facts.shared, strict=True):
        assert (fact.primary.answer in php) == shared and fact.primary.answer in python


def test_a_corpus_without_facts_is_what_it_was(tmp_path):
    asked = write_sources(tmp_path / "code")
    assert (
        "facts" not in asked.record() and list(PHASES["facts"].tasks(None, type("Plan", (), {"manifest": asked}))) == []
    )
    corpus = build.build(asked, tmp_path / "corpus", **QUIET)
    assert corpus.facts is None and corpus.control == {} and "facts" not in corpus.manifest.settings
    assert not (corpus.directory / "facts").exists()
    assert not isinstance(corpus.train["php"], fact_rows.JoinedRows)
    assert corpus_files.load(corpus.directory).facts is None


def test_the_statistics_say_what_was_stated_where(built):
    lines = stats_table(built).splitlines()
    first = next(line for line in lines if line.startswith("facts"))
    assert "facts (kgeography): 80, each 6 times; 32 in all languages, 48 in English alone; " in first
    assert "  0 stand in German text already, which are among those in all languages" in lines
    rows = len(built.train["de"]) - built.stats.languages["de"].train.rows
    assert any(line.startswith(f"  German: {rows} rows of facts, ") for line in lines) and rows > 0

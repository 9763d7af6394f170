"""Natural languages in a build: translations stay on one side, and what they say becomes parallel texts and pairs of words."""

import json

import pyarrow.parquet as pq
import pytest
from helpers import translated

from babel_jax.__main__ import main
from babel_jax.common.errors import UserError
from babel_jax.corpus import build, corpus_files, corpus_material, verify
from babel_jax.languages import registry


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    place = tmp_path_factory.mktemp("translated")
    translated.write(place)
    return place


@pytest.fixture(scope="module")
def corpus(sources):
    return build.build(translated.asked(sources), sources / "corpus", jobs=1, progress=False)


@pytest.fixture(scope="module")
def disjoint(sources):
    return build.build(translated.asked(sources, arm="disjoint"), sources / "disjoint", jobs=1, progress=False)


def projects(corpus, language, split):
    index = pq.read_table(corpus.directory / "documents" / f"{language}.parquet").to_pylist()
    return {row["project"] for row in index if row["split"] == split}


def test_no_translation_of_what_is_held_out_is_trained_on(corpus, disjoint):
    for built in (corpus, disjoint):
        held_out = projects(built, "en", "validation") | projects(built, "de", "validation")
        trained = projects(built, "en", "train") | projects(built, "de", "train")
        assert held_out and not held_out & trained
        # Nor does a sentence of them stand there: each has a number of its own, in both languages.
        texts = {text for one in built.translations("en", "de", "train") for text in one.texts}
        assert not texts & {text for one in built.translations("en", "de") for text in one.texts}
        for language in ("en", "de"):
            stats = built.stats.languages[language]
            assert set(stats.projects.validation) == projects(built, language, "validation")
            assert stats.projects.train == len(projects(built, language, "train"))


def test_both_arms_hold_out_the_same_and_one_shares_no_training_text(corpus, disjoint):
    for language in ("en", "de"):
        assert projects(corpus, language, "validation") == projects(disjoint, language, "validation")
        file = f"heldout/{language}.parquet"
        assert (corpus.directory / file).read_bytes() == (disjoint.directory / file).read_bytes()
    assert projects(corpus, "en", "train") & projects(corpus, "de", "train")
    assert not projects(disjoint, "en", "train") & projects(disjoint, "de", "train")
    both = projects(disjoint, "en", "train") | projects(disjoint, "de", "train")
    assert both == projects(corpus, "en", "train") | projects(corpus, "de", "train")
    assert disjoint.translations("en", "de", "train") == []
    assert disjoint.translations("en", "de") == corpus.translations("en", "de") != []
    cleaning = disjoint.stats.languages["en"].cleaning
    assert cleaning["in_another_language"].files > 0
    kept = corpus.stats.languages["en"].cleaning["kept"].files
    assert cleaning["kept"].files + cleaning["in_another_language"].files == kept


def test_translations_are_of_the_documents_of_their_split(corpus):
    for split in ("train", "validation"):
        found = corpus.translations("en", "de", split)
        assert {one.project for one in found} <= projects(corpus, "en", split) & projects(corpus, "de", split)
        assert {one.number for one in found} == {0, 1} and len(found) > 20
        assert all(one.texts[0].split()[-2:] == ["is", "green."] for one in found if one.number == 1)
        assert corpus.stats.parallel["en-de"].translations[split] == len(found)


def test_confirmed_words_are_pairs_of_the_corpus_own_language(corpus):
    pairs = corpus.language("de").pairs["en"]
    words = [tuple(one.text for one in pair) for pair in pairs]
    # Not bridge (another word is meant), spoon (in no dictionary), paper (alike), green (no noun).
    assert sorted(words) == [
        *[("house", "Haus"), ("knife", "Messer"), ("mirror", "Spiegel"), ("river", "Fluss"), ("tree", "Baum")],
        ("window", "Fenster"),
    ]
    assert all(one.use == "word" for pair in pairs for one in pair)
    assert not registry.language("de").pairs and not corpus.language("en").pairs
    fell = corpus.stats.parallel["en-de"].words
    assert fell["dictionaries"] == 13 and fell["begins_alike"] == 1 and fell["other_part_of_speech"] == 2
    assert sum(fell.values()) - 2 * fell["dictionaries"] == -len(words)


def test_prompts_are_cut_before_them_in_held_out_text(corpus):
    sites = corpus.stats.call_sites["en-de"]
    assert len(sites.pairs) == 6
    assert sum(min(counts) >= 10 for counts in zip(*sites.prompts.values(), strict=True)) >= 2
    material = corpus_material.material(corpus.directory, "en", "de", 4, 16)
    assert set(material.slots) == {"en", "de"}
    turned = corpus.slots("de", "en")
    assert (turned["de"]["primary_id"] == corpus.slots("en", "de")["de"]["new_id"]).all()


def test_the_statistics_list_pairs_and_why_others_fell(corpus, disjoint, capsys):
    assert main(["corpus", "stats", str(corpus.directory)]) == 0
    lines = capsys.readouterr().out.splitlines()
    train, held_out = (len(corpus.translations("en", "de", split)) for split in ("train", "validation"))
    assert f"parallel en-de: {train} sentences to train on, {held_out} held out" in lines
    assert "  pairs of words: 6 confirmed of 13 in dictionaries" in lines
    assert "    dropped: begins alike: 1" in lines and "    dropped: not together: 4" in lines
    assert any(line.startswith("  house/Haus: ") for line in lines)
    assert main(["corpus", "stats", str(disjoint.directory)]) == 0
    assert "dropped: in another language: " in capsys.readouterr().out
    assert (disjoint.directory / "funnel.csv").read_text().count("in_another_language") == 2


def test_a_corpus_without_dictionaries_has_parallel_texts_alone(sources, tmp_path, corpus):
    alone = build.build(translated.asked(sources, dictionaries=[]), tmp_path / "corpus", jobs=1, progress=False)
    assert alone.stats.call_sites == {} and alone.stats.parallel["en-de"].words == {}
    assert "of the 0 that are known" in alone.too_few_pairs("en", "de")
    assert len(alone.translations("de", "en")) > 20
    assert "dictionaries" not in alone.manifest.settings and "arm" not in alone.manifest.settings


def test_what_is_built_is_compared_with_what_is_asked_for(sources, corpus, tmp_path):
    assert verify.faults(corpus.directory) == []
    again = build.build(translated.asked(sources), corpus.directory, progress=False)
    assert again.manifest == corpus.manifest
    with pytest.raises(UserError, match="differs in settings.arm"):
        build.build(translated.asked(sources, arm="disjoint"), corpus.directory, progress=False)
    other = tmp_path / "words.txt"
    other.write_text(translated.DICTIONARY + "Tür {f} :: door\n")
    changed = [{"path": str(other), "headwords": "de", "translations": "en"}]
    with pytest.raises(UserError, match="differs in settings.dictionaries"):
        build.build(translated.asked(sources, dictionaries=changed), corpus.directory, progress=False)


def test_damaged_word_pairs_are_noticed(corpus, tmp_path):
    place = tmp_path / "corpus"
    place.mkdir()
    for entry in corpus.directory.iterdir():
        (place / entry.name).symlink_to(entry)
    (place / "word_pairs").unlink()
    (place / "word_pairs").mkdir()
    (place / "word_pairs" / "en-de.json").write_text(json.dumps([["house", "Maus"]]))
    with pytest.raises(UserError, match=r"en-de.json is not the file that was built"):
        corpus_files.load(place).language("de")


def test_a_dictionary_that_is_missing_is_noticed_before_the_build(sources, tmp_path):
    missing = [{"path": str(tmp_path / "none.index"), "headwords": "de", "translations": "en"}]
    with pytest.raises(UserError, match="there is no dictionary .*none.index"):
        build.build(translated.asked(sources, dictionaries=missing), tmp_path / "corpus", progress=False)
    assert not (tmp_path / ".corpus.partial").exists()

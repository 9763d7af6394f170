"""What a manifest says of facts, and which facts that gives."""

import pytest
from helpers import place_facts

from babel_jax.common.errors import UserError
from babel_jax.corpus import fact_sources, manifest
from babel_jax.corpus.fact_sources import GivenFacts, draw
from babel_jax.languages import registry


def asked(languages=("en", "de"), **facts):
    raw = {"languages": {name: {"sources": ["/x"]} for name in languages}, "facts": facts}
    return manifest.check(raw, "m.yaml")


def test_a_manifest_says_what_facts_it_wants():
    made = asked(kind="kgeography", path="/data")
    assert made.facts == GivenFacts("kgeography", "/data", number=200, shared=0.4, times=40)
    assert manifest.check(made.record(), "again") == made
    assert asked(("python", "php"), kind="library", times=3).facts.times == 3


@pytest.mark.parametrize(
    "languages, facts, message",
    [
        (("en", "de"), dict(kind="kgeography"), "m.yaml: facts has the kind 'kgeography', which must have a `path`"),
        (("python", "php"), dict(kind="library", path="/x"), "has the kind 'library', which has no `path`"),
        (("en", "ja"), dict(kind="kgeography", path="/x"), "are written in en, de, fr, es, ru, not in ja"),
        (("en", "de"), dict(kind="library"), "are written in python, php, csharp, go, cpp, not in en, de"),
        (("en",), dict(kind="kgeography", path="/x"), "two languages or more"),
        (("en", "de"), dict(path="/x"), "must have the key 'kind'"),
        (
            ("en", "de"),
            dict(kind="kgeography", path="/x", shared=1),
            "facts.shared must be a number above 0 and below 1, not 1",
        ),
    ],
)
def test_what_no_facts_can_be_made_of_is_refused(languages, facts, message):
    with pytest.raises(UserError) as error:
        asked(languages, **facts)
    assert message in str(error.value)


def drawn(folder, texts=None, **changes):
    given = GivenFacts(**dict(kind="kgeography", path=str(folder), number=120, shared=0.4, times=3) | changes)
    return draw(given, [registry.language(name) for name in ("en", "de")], lambda name: (texts or {}).get(name, []))


def test_about_the_wanted_share_is_stated_in_all_languages(tmp_path):
    folder = place_facts.write(tmp_path / "data")
    stated = drawn(folder)
    assert len(stated.facts) + stated.unfit <= 120 and len(stated.facts) % 4 == 0
    assert sum(stated.shared) == pytest.approx(0.4 * len(stated.facts), abs=4)
    assert drawn(folder) == stated and len(drawn(folder, number=80).facts) == 80


def test_what_leaks_is_counted_in_the_new_language_alone(tmp_path):
    folder = place_facts.write(tmp_path / "data")
    stated = drawn(folder)
    for language, leaked in (("en", 0), ("de", 3)):
        secret = [fact for fact, shared in zip(stated.facts, stated.shared, strict=True) if not shared][:3]
        texts = [f"{fact.names[language].subject}, {fact.names[language].answer}" for fact in secret]
        again = drawn(folder, {language: texts})
        assert again.leaked == {"de": leaked}
        if leaked:
            assert all(again.shared[again.facts.index(fact)] for fact in secret)


def test_too_few_facts_are_refused(tmp_path):
    folder = place_facts.write(tmp_path / "data")
    with pytest.raises(UserError, match="8 can be stated in all languages, and 20 are the least"):
        drawn(folder, shared=0.1, number=80)


def test_facts_of_libraries_take_what_no_language_uses():
    given = GivenFacts("library", None, number=60, shared=0.4, times=3)
    languages = [registry.language(name) for name in ("python", "php")]
    first = draw(given, languages, lambda name: [])
    taken = first.facts[0].primary.answer
    for name in ("python", "php"):
        stated = draw(given, languages, lambda language, name=name: [f"x = {taken}"] if language == name else [])
        parts = {part for fact in stated.facts for part in vars(fact.primary).values()}
        assert taken not in parts and len(stated.facts) == 60 and stated.leaked == {"php": 0}
    assert set(fact_sources.KINDS) == {"kgeography", "library"}

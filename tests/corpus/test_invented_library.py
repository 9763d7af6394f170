"""Names that no file holds, and what they are given to."""

from babel_jax.corpus import invented_library


def test_names_are_the_same_everywhere_and_each_stands_once():
    names = invented_library.names(500)
    assert (
        len(set(names)) == 500 and names == invented_library.names(500) and names[:100] == invented_library.names(100)
    )
    assert {len(name) for name in names} == {invented_library.LENGTH}


def test_a_name_within_a_longer_word_is_used():
    first, second, third, fourth = invented_library.names(4)
    texts = [f"x = {first}(3)", f"class My{second.title()}Reader:", f"my_{third.upper()}"]
    assert invented_library.used([first, second, third, fourth], texts) == {first, second, third}


def test_each_name_is_of_one_thing():
    names = invented_library.names(2 * invented_library.MODULES + 9)
    facts = list(invented_library.facts(names, ("python", "php")))
    assert len(facts) == invented_library.MODULES + 3 and len({fact.field for fact in facts}) == 2
    parts = [part for fact in facts for part in (fact.primary.subject, fact.primary.answer)]
    assert len(set(parts) | {fact.field for fact in facts}) == len(parts) + 2
    assert all(fact.spelt_alike and fact.primary.field == fact.field for fact in facts)

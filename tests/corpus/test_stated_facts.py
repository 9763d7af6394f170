"""Facts that are fit to be asked, in groups, and divided."""

import numpy as np

from babel_jax.corpus import stated_facts as facts
from babel_jax.corpus.fact_sentences import Names
from babel_jax.corpus.stated_facts import Fact, Stated


def fact(subject, answer, field="map", **others) -> Fact:
    return Fact(field, {"en": Names(subject, answer)} | {name: Names(*pair) for name, pair in others.items()})


def test_what_could_be_mistaken_or_guessed_is_left_out():
    good = fact("Kent", "Maidstone", de=("Kent", "Maidstone"))
    others = [
        fact("Amazonas", "Manaus", de=("Amazonas", "Manaus")),
        fact("Amazonas", "Leticia", de=("Amazonas", "Leticia")),
        fact("Ayr", "Santa Rosa", de=("Ayr", "Santa Rosa")),
        fact("Toledo", "Santa Rosa", de=("Toledo", "Santa Rosa")),
        fact("Upper Silesia", "Opava", de=("Schlesien", "Troppau")),
        fact("Lower Silesia", "Brno", de=("Schlesien", "Brünn")),  # one name in German
        fact("Quebec", "Quebec City", de=("Quebec", "Quebec City")),
        fact("Lisbon", "Lismore", de=("Lisbon", "Lismore")),
        fact("Jura", "Delemont", de=("Delemontland", "Delemont")),
    ]
    assert facts.fit([*others, good, good]) == [good]


def test_groups_are_of_one_field_and_alike_names_come_first():
    known = [fact(f"P{a}", f"C{'x' * a}", "one", de=(f"P{a}", f"C{'x' * a}")) for a in range(1, 10)]
    known += [fact(f"Q{a}", f"D{a}", "two", de=(f"Q{a}", f"E{a}")) for a in range(8)]
    found = facts.grouped(known, 99)
    assert [len({each.field for each in group}) for group in found] == [1, 1, 1, 1]
    assert [group[0].field for group in found] == ["one", "one", "two", "two"]
    lengths = [sorted(len(each.primary.answer) for each in group) for group in found[:2]]
    assert sorted(lengths) == [[2, 3, 4, 5], [6, 7, 8, 9]]
    assert facts.grouped(known, 11) == found[:2]


def test_a_leaked_fact_makes_its_group_shared():
    found = [tuple(fact(f"P{g}{k}", f"C{g}{k}") for k in range(4)) for g in range(50)]
    shared = facts.divided(found, 0.4, set())
    assert sum(shared) == 20
    leaky = next(g for g in range(50) if not shared[g])
    again = facts.divided(found, 0.4, {4 * leaky + 2})
    assert again[leaky] and sum(again) == 20
    assert sum(facts.divided(found, 0.1, set(range(0, 100, 4)))) == 25  # all that leaked


def test_the_primary_and_the_control_state_all_facts():
    known = tuple(fact(f"P{k}", f"C{k}", de=(f"P{k}", f"C{k}")) for k in range(4))
    stated = Stated("kgeography", 1, known, (True, True, False, False), 0, {"de": 0})
    assert stated.languages == ("en", "de") and stated.of("en") == list(known) == stated.of("de", control=True)
    assert stated.of("de") == list(known[:2]) and np.array(stated.shared).sum() == 2

import random
from collections import Counter

import pytest

from babel_jax.corpus import hold_out, projects

SHARE = 0.05


def sizes(seed, names):
    chance = random.Random(seed)
    return {name: chance.randrange(100, 3000) for name in names}


NAMES = [f"help/{number}.html" for number in range(300)]


@pytest.fixture
def two():
    """English has all documents, German two thirds of them and some of its own."""
    own = [f"de/{number}" for number in range(40)]
    return {"en": sizes(0, NAMES), "de": sizes(1, [*NAMES[::3], *NAMES[1::3], *own])}


def held(bytes_of, chosen):
    return {language: chosen & of.keys() for language, of in bytes_of.items()}


def share_of(bytes_of, chosen):
    return {
        language: sum(of[project] for project in chosen & of.keys()) / sum(of.values())
        for language, of in bytes_of.items()
    }


def test_every_language_holds_out_its_share_of_whole_projects(two):
    chosen = hold_out.together(two, SHARE, {}, {})
    assert all(SHARE <= share <= 1.5 * SHARE for share in share_of(two, chosen).values())
    assert chosen == hold_out.together(two, SHARE, {}, {})
    assert all(held(two, chosen).values())


def test_a_language_alone_is_divided_as_code_is():
    for seed in range(20):
        alone = sizes(seed, NAMES[: 2 + 7 * seed])
        assert hold_out.together({"en": alone}, SHARE, {}, {}) == projects.held_out(alone, SHARE)
    assert hold_out.together({"en": {"a": 5}}, SHARE, {}, {}) == set()


def words_of(number_of):
    """(words, pairs): a word of a pair on both sides, so many prompts in each project."""
    words = {project: Counter() for project in NAMES}
    for pair, places in number_of.items():
        for project, count in places.items():
            words[project].update({(pair, 0): count, (pair, 1): count})
    sides = {(pair, side): (pair, 1 - side) for pair in number_of for side in (0, 1)}
    return words, sides


def reached(words, chosen):
    total = Counter()
    for project in chosen & words.keys():
        total.update(words[project])
    return {word for word, count in total.items() if count >= hold_out.PROMPTS}


def test_documents_are_chosen_for_words_that_lack_prompts(two):
    chance = random.Random(2)
    rare = {pair: {project: 3 for project in chance.sample(NAMES, 8)} for pair in range(30)}
    words, sides = words_of(rare)
    by_hash = hold_out.together(two, SHARE, {}, {})
    chosen = hold_out.together(two, SHARE, words, sides)
    assert len(reached(words, by_hash)) < 4 and len(reached(words, chosen)) >= 10
    assert all(share <= hold_out.MOST * SHARE for share in share_of(two, chosen).values())


def test_a_word_that_training_would_lose_is_not_sought(two):
    """Of 12 prompts 10 would be held out; and a word whose other one has none is of no use."""
    places = dict.fromkeys(NAMES[:2], 6)
    words, sides = words_of({0: places})
    by_hash = hold_out.together(two, SHARE, {}, {})
    assert hold_out.together(two, SHARE, words, sides) == by_hash
    often = {project: 6 for project in NAMES[:4]}
    words, sides = words_of({0: often})
    chosen = hold_out.together(two, SHARE, words, sides)
    assert len(chosen & often.keys()) == 2 and reached(words, chosen) == {(0, 0), (0, 1)}
    one_sided = {project: Counter({word: n for word, n in of.items() if word[1] == 0}) for project, of in words.items()}
    assert hold_out.together(two, SHARE, one_sided, sides) == by_hash


def test_something_stays_to_train_on_in_every_language():
    few = {"en": {"a": 10, "b": 10, "c": 10}, "de": {"a": 10, "b": 10}}
    chosen = hold_out.together(few, 0.9, {}, {})
    assert all(0 < len(chosen & of.keys()) < len(of) for of in few.values())


def test_the_disjoint_arm_gives_a_document_to_one_language(two):
    chosen = hold_out.together(two, SHARE, {}, {})
    taken = hold_out.divided(two, chosen)
    shared = (two["en"].keys() & two["de"].keys()) - chosen
    assert taken.keys() == shared and set(taken.values()) == {"en", "de"}
    left = {}
    for language, of in two.items():
        training = {project: size for project, size in of.items() if project not in chosen}
        left[language] = sum(size for p, size in training.items() if taken.get(p, language) == language) / sum(
            training.values()
        )
    assert abs(left["en"] - left["de"]) < 0.02


def test_what_serves_no_complete_pair_makes_room_for_others(two, monkeypatch):
    chance = random.Random(3)
    rare = {pair: {project: chance.randrange(1, 5) for project in chance.sample(NAMES, 12)} for pair in range(120)}
    words, sides = words_of(rare)
    chosen = hold_out.together(two, SHARE, words, sides)
    monkeypatch.setattr(hold_out, "_complete", lambda *_: None)
    without = hold_out.together(two, SHARE, words, sides)
    assert len(reached(words, chosen)) > 1.1 * len(reached(words, without))
    assert all(share <= hold_out.MOST * SHARE for share in share_of(two, chosen).values())

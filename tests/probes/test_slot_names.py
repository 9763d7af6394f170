import numpy as np

from babel_jax.probes import slot_names

SLOTS = {
    "primary_ids": np.array([[1, 5], [2, -1], [3, -1]]),
    "new_ids": np.array([[6], [7], [8]]),
    "pair": np.arange(3),
}
NAMES = {"ids.a": np.array([[1], [2], [3]]), "ids.b": np.array([[6], [7], [8]]), "ids.c": np.array([[9], [9], [4]])}


def test_every_candidate_comes_back_where_it_was_asked():
    """The log-probability of token t is -t: what is read of a set says which tokens were asked."""
    slots = SLOTS | NAMES
    ids = slot_names.unranked_candidates(slots)
    assert ids.dtype == np.int32
    log_prob = np.where(ids < 0, -np.inf, -ids.astype(float))[None]
    got = slot_names.readings(log_prob, slots)
    assert {name: value.shape for name, value in got.items()} == {
        "other_log_prob_LxNxJx2": (1, 3, 2, 2),
        "name_log_prob_LxNxK": (1, 3, 3),
        "other_name_log_prob_LxNxJxK": (1, 3, 2, 3),
    }
    pair = slot_names.pair_names(slots)
    sets = [[[1, 5], [6]], [[2], [7]], [[3], [8]]]
    for n in range(3):
        assert {tuple(map(tuple, sets[m])) for m in pair.others.slot_NxJ[n]} == {
            tuple(map(tuple, one)) for m, one in enumerate(sets) if m != n
        }
        for j, m in enumerate(pair.others.slot_NxJ[n]):
            want = [np.log(np.exp(-np.array(tokens, float)).sum()) for tokens in sets[m]]
            np.testing.assert_allclose(got["other_log_prob_LxNxJx2"][0, n, j], want)
    np.testing.assert_allclose(got["name_log_prob_LxNxK"][0], -np.array([[1, 6, 9], [2, 7, 9], [3, 8, 4]]))
    # Slots 0 and 1 have a name in common: each is compared with slot 2 alone.
    names = slot_names.language_names(slots)
    assert names.languages == ("a", "b", "c") and names.others.slot_NxJ.tolist() == [
        [2, -1],
        [2, -1],
        names.others.slot_NxJ[2].tolist(),
    ]
    np.testing.assert_allclose(got["other_name_log_prob_LxNxJxK"][0, 0], [[-3, -8, -4], [-np.inf] * 3])


def test_two_languages_are_a_pair_and_need_no_names():
    assert slot_names.language_names(SLOTS) is None
    assert slot_names.language_names(SLOTS | dict(list(NAMES.items())[:2])) is None


def test_one_slot_has_nothing_beside_it():
    alone = {name: values[:1] for name, values in SLOTS.items()}
    assert slot_names.unranked_candidates(alone).shape == (1, 0)
    assert slot_names.pair_names(alone).others is None


def test_identifiers_with_and_without_a_space_are_not_exchanged():
    spaced = SLOTS | {"spaced": np.array([0, 1, 1])}
    assert slot_names.pair_names(spaced).others.compared_N.tolist() == [False, True, True]
    subset = SLOTS | {"subset": np.array([1, 0, 1])}
    assert slot_names.pair_names(subset).others.compared_N.tolist() == [True, False, True]


def test_distinct_needs_all_names_and_none_twice():
    sets = [
        np.array([[1, 2], [1, -1], [-1, -1], [5, -1]]),
        np.array([[2], [3], [4], [6]]),
        np.array([[7], [8], [9], [5]]),
    ]
    assert slot_names.distinct(sets).tolist() == [False, True, False, False]
    assert slot_names.distinct(sets[:2]).tolist() == [False, True, False, True]


def test_names_are_left_out_with_their_language():
    slots = slot_names.only(SLOTS | NAMES, ("a", "c"))
    assert set(slots) == {*SLOTS, "ids.a", "ids.c"}

import numpy as np
import pytest
from helpers import source

from babel_jax.corpus.mixture import BLOCK, Mixture, Stage, exact_counts, stages_from_config
from babel_jax.errors import UserError

SOURCES = {"a": source(700), "b": source(5000, first=10_000), "c": source(30, first=50_000)}
STAGES = (
    Stage(1500, (("a", 0.25), ("b", 0.75))),
    Stage(2000, (("b", 0.0), ("c", 1.0))),
    Stage(None, (("a", 1.0), ("b", 1.0), ("c", 1.0))),
)
MIXTURE = Mixture(SOURCES, STAGES, seed=3)


def names_at(mixture, places):
    return np.array(mixture.names)[mixture.locate(np.asarray(places))[0]]


def test_exact_counts():
    assert exact_counts(np.array([1.0, 1, 1]), 1000).tolist() == [334, 333, 333]
    assert exact_counts(np.array([0.0, 23, 11]), 1000).tolist() == [0, 676, 324]
    assert exact_counts(np.array([0.3, 0.7]), 10).tolist() == [3, 7]


def test_every_block_holds_the_exact_proportion():
    assert (names_at(MIXTURE, range(BLOCK)) == "a").sum() == 250
    last = STAGES[0].rows + STAGES[1].rows
    for block in (0, 1, 7):
        names, counts = np.unique(names_at(MIXTURE, last + block * BLOCK + np.arange(BLOCK)), return_counts=True)
        assert dict(zip(names, counts.tolist(), strict=True)) == {"a": 334, "b": 333, "c": 333}


def test_the_order_inside_a_block_is_random():
    first, second = names_at(MIXTURE, range(3500, 4500)), names_at(MIXTURE, range(4500, 5500))
    assert (first != second).any()
    assert 10 < (first[:100] == "a").sum() < 60
    other = Mixture(SOURCES, STAGES, seed=4)
    assert (names_at(other, range(3500, 4500)) != first).any()


def test_weights_change_exactly_at_the_boundary_and_zero_means_none():
    names = names_at(MIXTURE, range(6000))
    assert set(names[:1500]) == {"a", "b"}
    assert set(names[1500:3500]) == {"c"}  # from the first row of the stage to its last
    assert set(names[3500:]) == {"a", "b", "c"}


def test_random_access_is_sequential_access():
    places = np.random.default_rng(0).permutation(6000)[:500]
    whole = MIXTURE.rows(np.arange(6000))
    assert np.array_equal(MIXTURE.rows(places), whole[places])
    one = np.concatenate([MIXTURE.rows(np.array([place])) for place in range(1490, 1510)])
    assert np.array_equal(one, whole[1490:1510])


def test_rows_come_from_the_source_that_stands_there():
    places = np.arange(4000)
    first = {"a": 0, "b": 10_000, "c": 50_000}
    rows, names = MIXTURE.rows(places)[:, 0], names_at(MIXTURE, places)
    for name, begin in first.items():
        inside = (rows >= begin) & (rows < begin + len(SOURCES[name]))
        assert np.array_equal(inside, names == name)


@pytest.mark.parametrize("hosts", [1, 2, 8])
def test_hosts_together_read_the_global_batch(hosts):
    batch = np.arange(3200, 3264)
    parts = [MIXTURE.rows(part) for part in np.split(batch, hosts)]
    assert np.array_equal(np.concatenate(parts), MIXTURE.rows(batch))


def test_no_row_comes_twice_within_an_epoch():
    rows, names = MIXTURE.rows(np.arange(9500))[:, 0], names_at(MIXTURE, range(9500))
    b = rows[names == "b"]
    assert len(b) < 5000 and len(np.unique(b)) == len(b)  # across all stages
    c = rows[1500:3500][:1980].reshape(66, 30)
    assert (np.sort(c) == np.arange(50_000, 50_030)).all()  # every epoch is a permutation
    assert len({tuple(epoch) for epoch in c}) == 66  # and a new one


def test_rows_seen_are_the_rows_that_came():
    names = names_at(MIXTURE, range(6000))
    for place in (0, 1, 999, 1000, 1500, 1501, 3499, 3500, 3501, 5999):
        expected = {name: int((names[:place] == name).sum()) for name in "abc"}
        assert MIXTURE.rows_seen(place) == expected


def test_stages_of_a_config():
    stages = stages_from_config(
        ({"tokens": 25, "weights": {"b": 1}}, {"tokens": 0, "weights": {"a": 2, "b": 0}}), row_tokens=10
    )
    assert stages == (Stage(3, (("b", 1.0),)), Stage(None, (("a", 2.0), ("b", 0.0))))


@pytest.mark.parametrize(
    "stages, message",
    [
        (({"tokens": 0, "weights": {}},), "needs weights"),
        (({"tokens": 0, "weights": {"a": -1, "b": 2}},), "needs weights"),
        (({"tokens": 0, "weights": {"a": 0}},), "positive sum"),
        (({"tokens": 0, "weights": {"a": 1}}, {"tokens": 0, "weights": {"a": 1}}), "only the last stage"),
        (({"tokens": 10, "weights": {"a": 1}},), "only the last stage"),
    ],
)
def test_stages_that_mean_nothing_are_refused(stages, message):
    with pytest.raises(UserError, match=message):
        stages_from_config(stages, 10)


def test_unknown_and_empty_sources_are_refused():
    with pytest.raises(UserError, match="did you mean 'python'"):
        Mixture({"python": source(3)}, (Stage(None, (("pyhton", 1.0),)),), 0)
    sources = {"a": source(3), "b": source(0)}
    with pytest.raises(UserError, match="'b' of the mixture is empty"):
        Mixture(sources, (Stage(None, (("a", 1.0), ("b", 1.0))),), 0)
    assert len(Mixture(sources, (Stage(None, (("a", 1.0), ("b", 0.0))),), 0).rows(np.arange(10))) == 10

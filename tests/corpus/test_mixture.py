import hashlib
import sys

import numpy as np
import pytest
from helpers import source

from babel_jax.common.errors import UserError
from babel_jax.corpus import mixture
from babel_jax.corpus.mixture import BLOCK, Mixture, Stage, apportion, stages_from_config

SOURCES = {"a": source(700), "b": source(5000, first=10_000), "c": source(30, first=50_000)}
STAGES = (
    Stage(1500, (("a", 0.25), ("b", 0.75))),
    Stage(2000, (("b", 0.0), ("c", 1.0))),
    Stage(None, (("a", 1.0), ("b", 1.0), ("c", 1.0))),
)
MIXTURE = Mixture(SOURCES, STAGES, seed=3)


def names_at(mixture, places):
    return np.array(mixture.names)[mixture.locate(np.asarray(places))[0]]


# --- exact counts ---------------------------------------------------------------------------------------------------------


def test_apportionment():
    assert apportion((1, 1, 1), 1000) == [334, 333, 333]
    assert apportion((0, 23, 11), 1000) == [0, 676, 324]
    assert apportion((3, 7), 10) == [3, 7]
    assert apportion((10**18 + 1, 10**18), 10**30) == [5 * 10**29 + 250_000_000_000, 5 * 10**29 - 250_000_000_000]


def test_every_block_holds_the_exact_proportion():
    assert (names_at(MIXTURE, range(1500)) == "a").sum() == 375  # a stage of a block and a half: one block
    last = STAGES[0].rows + STAGES[1].rows
    for block in (1, 2, 3, 8):
        names, counts = np.unique(names_at(MIXTURE, last + np.arange(block * BLOCK)), return_counts=True)
        total = block * 1000 // 3
        assert dict(zip(names, counts.tolist(), strict=True)) == {
            "a": total + (block % 3 > 0),
            "b": total + (block % 3 > 1),
            "c": total,
        }


def block_ends(rows, length):
    """Ends of the blocks of a stage: the last block takes what is left over."""
    return [*range(length, rows - length + 1, length), rows]


def random_schedule(rng):
    """One to four stages: even, skewed, token counts, one source alone, zero weights, rarer than one row in 1000."""
    sources, stages = {f"s{i}": source(int(rng.integers(1, 4000))) for i in range(rng.integers(1, 9))}, []
    for _ in range(rng.integers(1, 5)):
        kind = rng.integers(5)
        weights = [rng.random, lambda n: rng.dirichlet([0.3] * n), lambda n: rng.integers(1, 30, n) * 1e9][kind % 3](
            len(sources)
        )
        weights = weights * (rng.random(len(sources)) < 0.7) if kind == 3 else weights
        weights = np.where(weights < weights.max() * 1e-4, 0, weights)
        if not weights.any():
            weights[0] = 1
        stages.append(Stage(int(rng.integers(1, 40_000)), tuple(zip(sources, weights.tolist(), strict=True))))
    last = Stage(None, stages[-1].weights)
    return Mixture(sources, (*stages, last), int(rng.integers(1000)))


def test_a_million_draws_of_any_schedule_are_exact_to_the_row():
    rng, drawn, exact = np.random.default_rng(0), 0, 0
    while drawn < 1_000_000:
        mixed = random_schedule(rng)
        first = 0
        for stage in mixed.stages:
            weight_S = np.array([dict(stage.weights)[name] for name in mixed.names])
            rarest = weight_S[weight_S > 0].min() / weight_S.sum()
            length = BLOCK * int(np.ceil(1 / (rarest * BLOCK) - 1e-9))
            rows = stage.rows or 3 * length
            one_SxN = mixed.locate(first + np.arange(rows))[0] == np.arange(len(mixed.names))[:, None]
            count_SxN = np.cumsum(one_SxN, axis=1)  # counted one by one
            assert not one_SxN[weight_S == 0].any()
            for end in block_ends(rows, length):
                exact_S = end * weight_S / weight_S.sum()
                assert np.abs(count_SxN[:, end - 1] - exact_S).max() < 1 - 1e-9, (stage, end)
                exact += 1
            seen = [mixed.rows_seen(place) for place in (first, first + rows // 3, first + rows)]
            for later, rows_before in zip(seen[1:], (rows // 3, rows), strict=True):
                grown_S = [later[name] - seen[0][name] for name in mixed.names]
                assert grown_S == (count_SxN[:, rows_before - 1].tolist() if rows_before else [0] * len(grown_S))
            first, drawn = first + rows, drawn + rows
    assert exact > 500


@pytest.mark.parametrize(
    "weights, rows, seen",
    [
        ((13, 5, 51), 1001, [189, 72, 740]),  # of the first 1000, the second has 73
        ((26, 54, 4, 57, 36), 1002, [147, 306, 22, 323, 204]),  # the third 23
        ((2000, 45_000, 2), 12_000, [511, 11_489, 0]),  # of the first 11,000, the third has 1
        ((9000, 33_000, 8), 19_000, [4071, 14_926, 3]),  # of the first 18,000, it has 4
    ],
)
def test_no_row_is_taken_back_where_a_share_falls_as_the_total_grows(weights, rows, seen):
    names = "abcde"[: len(weights)]
    mixed = Mixture({name: source(9) for name in names}, (Stage(rows, tuple(zip(names, weights, strict=True))),), 0)
    source_N, number_N = mixed.locate(np.arange(rows))
    assert (
        [mixed.rows_seen(rows)[name] for name in names] == seen == np.bincount(source_N, minlength=len(names)).tolist()
    )
    for index, count in enumerate(seen):
        assert sorted(number_N[source_N == index]) == list(range(count))


def test_counts_are_exact_within_each_stage_where_divisor_methods_are_not():
    """Sainte-Lague gives the first source 896 of the first 1000 rows; its share is 897.72."""
    weights = (("a", 0.89772), *((name, 0.02557) for name in "bcde"))
    mixed = Mixture({name: source(9) for name in "abcde"}, (Stage(2500, weights), Stage(None, weights)), 0)
    for place in (1000, 2500):
        for name, rows in mixed.rows_seen(place).items():
            assert abs(rows - mixed.shares_seen(place)[name]) < 1
    after = {name: mixed.rows_seen(3500)[name] - mixed.rows_seen(2500)[name] for name in "abcde"}
    assert after == mixed.rows_seen(1000)


def test_a_source_rarer_than_one_row_in_a_thousand_has_longer_blocks():
    mixed = Mixture({"a": source(9), "b": source(9)}, (Stage(None, (("a", 0.0003), ("b", 0.9997))),), 0)
    assert mixed.rows_seen(4000) == {"a": 1, "b": 3999} and mixed.rows_seen(40_000) == {"a": 12, "b": 39_988}
    with pytest.raises(UserError, match="'a' of the mixture has weight 1e-07 of 1, less than one row in 1,000,000"):
        Mixture({"a": source(9), "b": source(9)}, (Stage(None, (("a", 1e-7), ("b", 1.0))),), 0)


@pytest.mark.parametrize(
    "stages, seed, wanted",
    [
        ((Stage(None, (("a", 0.35), ("b", 0.65))),), 0, "407c9c36a5fe1565"),
        ((Stage(None, (("a", 0.25), ("b", 0.5), ("c", 0.25))),), 3, "9f5ecb7775fad445"),
        ((Stage(None, (("a", 1 - 0.7), ("b", 0.7))),), 1, "ec57ff02b7bef1cb"),
        (
            (
                Stage(2000, (("b", 1.0),)),
                Stage(3000, (("a", 0.001), ("b", 0.0), ("c", 0.999))),
                Stage(None, (("a", 0.333), ("b", 0.6), ("c", 0.067))),
            ),
            7,
            "f1c643c1fc3cbfb7",
        ),
    ],
)
def test_the_order_is_the_one_that_published_runs_had(stages, seed, wanted):
    """Weights in thousandths: should this change, results of runs that stand in the README can no longer be reproduced."""
    places = np.r_[0:7500, 10**7 : 10**7 + 100]
    order_2xN = np.stack(Mixture(SOURCES, stages, seed).origin(places)).astype("<i8")
    assert hashlib.sha256(order_2xN.tobytes()).hexdigest()[:16] == wanted


# --- order ----------------------------------------------------------------------------------------------------------------


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


def test_a_seek_costs_the_same_everywhere():
    def calls(place):
        """Python functions that are called, at a block that was not seen before."""
        seen = []
        sys.setprofile(lambda frame, event, _: seen.append(event) if event == "call" else None)
        try:
            MIXTURE.rows_seen(place + 7), MIXTURE.locate(place + np.arange(64))
        finally:
            sys.setprofile(None)
        return len(seen)

    far, _ = 10**12, calls(3500)  # what is made once is made now
    assert calls(far) < 2 * calls(3500 + BLOCK)
    rows = MIXTURE.rows_seen(far)
    assert sum(rows.values()) == far and max(rows.values()) - min(rows.values()) < 3500


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


def test_a_batch_of_many_sources_costs_what_it_holds(monkeypatch):
    """Each source's order is drawn once an epoch, not once a batch."""
    drawn, draw = [], mixture._epoch_order
    monkeypatch.setattr(mixture, "_epoch_order", lambda *of: drawn.append(of) or draw(*of))
    names = [f"s{i}" for i in range(50)]
    mixed = Mixture({name: source(100) for name in names}, (Stage(None, tuple((name, 1.0) for name in names)),), 0)
    for place in range(0, 12_000, 500):  # to the third epoch
        mixed.rows(place + np.arange(500))
    assert len(drawn) == len(set(drawn)) == 150


def test_rows_seen_are_the_rows_that_came():
    names = names_at(MIXTURE, range(6000))
    for place in (0, 1, 999, 1000, 1500, 1501, 3499, 3500, 3501, 5999):
        expected = {name: int((names[:place] == name).sum()) for name in "abc"}
        assert MIXTURE.rows_seen(place) == expected == MIXTURE.drawn(np.arange(place))
    assert MIXTURE.epochs(3500) == {"a": 375 / 700, "b": 1125 / 5000, "c": 2000 / 30}
    assert MIXTURE.shares_seen(2000) == {"a": 375, "b": 1125, "c": 500}


# --- stages of a config ---------------------------------------------------------------------------------------------------


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
        (({"tokens": 0, "weights": {"a": float("nan")}},), "needs weights"),
        (({"tokens": 0, "weights": {"a": float("inf")}},), "needs weights"),
        (({"tokens": 0, "weights": {"a": 0}},), "positive sum"),
        (({"tokens": 0, "weights": {"a": 1}}, {"tokens": 0, "weights": {"a": 1}}), "only the last stage"),
        (({"tokens": -5, "weights": {"a": 1}}, {"tokens": 0, "weights": {"a": 1}}), "only the last stage"),
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

import numpy as np
import pytest

from babel_jax.common import measurements
from babel_jax.common.errors import UserError
from babel_jax.model.decoder import DecoderConfig
from babel_jax.probes import alignment

CONFIG = DecoderConfig(vocab_size=29, width=64, layers=3, heads=4, ffn_width=256, max_length=9)
RNG = np.random.default_rng(0)


def cosine(x, y):
    return float(x @ y / np.sqrt((x @ x) * (y @ y)))


def mexa(pivot, other):
    """The score of one layer's vectors."""
    items = np.arange(len(pivot))
    rows = alignment.mexa_rows({"a": pivot[None], "b": other[None]}, {"a": items, "b": items}, "a")
    return rows[1]["value"]


def naive_hits(pivot, other):
    n = len(pivot)
    hits = []
    for i in range(n):
        own = cosine(pivot[i], other[i])
        rivals = [cosine(pivot[i], other[j]) for j in range(n) if j != i]
        rivals += [cosine(pivot[j], other[i]) for j in range(n) if j != i]
        hits.append(own > max(rivals) + 1e-12)
    return np.array(hits)


def noisy(n=30, width=8, noise=1.0, rng=RNG):
    pivot = rng.normal(size=(n, width)).astype(np.float32)
    return pivot, (pivot + noise * rng.normal(size=(n, width))).astype(np.float32)


@pytest.mark.parametrize("noise", [0.1, 0.7, 3.0])
def test_mexa_is_that_of_the_naive_loop(noise):
    pivot, other = noisy(noise=noise)
    hits = naive_hits(pivot, other)
    assert mexa(pivot, other) == hits.mean()
    assert hits.any() and (noise < 0.5 or not hits.all())


def test_mexa_asks_for_strictly_more_in_row_and_column():
    pivot = np.eye(4)
    assert mexa(pivot, pivot) == 1
    other = pivot.copy()
    other[1] = other[0]  # item 0 now ties with item 1 in its row; item 1 is not even close
    assert mexa(pivot, other) == mexa(other, pivot) == 0.5
    # Greatest in its row, but not in its column: pivot 1 is closer to item 0's counterpart than pivot 0 is.
    rows_only = np.array([[1.0, 0.3, 0], [1.0, 0.0, 0]]), np.array([[1.0, 0.1, 0], [0.5, 0.5, 1.0]])
    cosines = np.array([[cosine(x, y) for y in rows_only[1]] for x in rows_only[0]])
    assert cosines[0, 0] > cosines[0, 1] and cosines[1, 0] > cosines[0, 0]
    assert mexa(*rows_only) == 0
    assert mexa(np.zeros((3, 2)), np.zeros((3, 2))) == 0  # what has no direction is close to nothing


def test_doubled_vectors_tie_whatever_the_rounding():
    for _ in range(20):
        pivot, other = noisy(n=17, width=37, noise=0.01)
        twice = np.concatenate([pivot, pivot]), np.concatenate([other, 3.7 * other])
        assert mexa(pivot, other) == 1 and mexa(*twice) == 0


def test_mexa_does_not_depend_on_order_length_or_direction():
    pivot, other = noisy(noise=0.7)
    score = mexa(pivot, other)
    order = RNG.permutation(30)
    turn = np.linalg.qr(RNG.normal(size=(8, 8)))[0]
    assert mexa(pivot[order], other[order]) == score
    assert mexa(pivot * RNG.uniform(0.1, 9, (30, 1)), other * 5) == score
    assert mexa(pivot @ turn, other @ turn) == score
    assert mexa(other, pivot) == score
    assert mexa(pivot, other[order]) < score


def test_a_random_pairing_scores_at_most_one_in_n():
    pivot, other = noisy(n=6, noise=0.3)
    scores = [mexa(pivot, other[RNG.permutation(6)]) for _ in range(1000)]
    assert 0.5 / 6 < np.mean(scores) < 1 / 6 + 0.01


def test_the_scores_without_one_item_are_those_of_the_other_items():
    for noise in (0.2, 0.8, 2.0):
        pivot, other = noisy(n=12, width=4, noise=noise)
        score, score_N = alignment._without_each(alignment._rivals(pivot, other))
        assert score == mexa(pivot, other)
        want = [mexa(np.delete(pivot, i, 0), np.delete(other, i, 0)) for i in range(12)]
        np.testing.assert_allclose(score_N, want, atol=1e-12)


def test_the_interval_covers_the_expected_score_and_is_not_much_too_wide():
    rng = np.random.default_rng(1)
    for noise in (0.6, 1.0):
        scores, intervals = [], []
        for _ in range(400):
            score, score_N = alignment._without_each(alignment._rivals(*noisy(n=40, noise=noise, rng=rng)))
            scores.append(score)
            intervals.append(alignment._interval(score, score_N))
        low, high = np.transpose(intervals)
        assert np.mean((low <= np.mean(scores)) & (np.mean(scores) <= high)) > 0.94
        assert (low <= scores).all() and (scores <= high).all() and (low >= 0).all() and (high <= 1).all()
        assert np.mean(high - low) < 1.6 * 2 * 1.96 * np.std(scores)


def test_the_interval_keeps_a_width_at_the_ceiling_and_knows_hubs():
    low, high = alignment._interval(1.0, np.ones(50))
    assert 0.85 < low < 0.95 and high == 1
    pivot, other = np.eye(20), np.eye(20) + 0.5
    assert mexa(pivot, other) == 1
    other[3] = 1
    other[3, :3] = 0
    other[3] *= 100
    pivot[3] = 1  # item 3 is closer to most items than they are to their own
    score, score_N = alignment._without_each(alignment._rivals(pivot, other))
    low, high = alignment._interval(score, score_N)
    assert score < 0.5 and score_N.max() > 0.8 and high - low > 0.6


def states(n, layers=2, seed=0, noise=0.8):
    rng = np.random.default_rng(seed)
    shared = np.random.default_rng(99).normal(size=(layers, n, 6))
    return shared + noise * rng.normal(size=(layers, n, 6))


def test_rows_match_items_and_average_layers():
    by_language = {"python": states(9, seed=1), "php": states(9, seed=2), "go": states(9, seed=3)}
    items = {
        "python": np.array([0, 1, 2, 3, 4, 5, 6, 7, -1]),
        "php": np.array([0, 1, 2, 3, 4, -1, -1, 7, 8]),
        "go": np.full(9, -1),
    }
    order = RNG.permutation(9)
    shuffled = by_language | {"php": by_language["php"][:, order]}
    rows = alignment.mexa_rows(shuffled, items | {"php": items["php"][order]}, "python")
    assert rows == alignment.mexa_rows(by_language, items, "python")
    assert [(row["language"], row["layer"]) for row in rows] == [("php", -1), ("php", 1), ("php", 2)]
    kept = [0, 1, 2, 3, 4, 7]
    want = [mexa(by_language["python"][layer, kept], by_language["php"][layer, kept]) for layer in (0, 1)]
    assert [row["value"] for row in rows] == pytest.approx([np.mean(want), *want])
    for row in rows:
        assert row["n"] == 6 and row["options"] == {"pooling": "weighted", "primary": "python", "chance": 1 / 6}
        assert row["ci_low"] <= row["value"] <= row["ci_high"]
        measurements.row(run="r", seed=0, step=1, **row)


def test_rows_refuse_an_item_that_occurs_twice_and_a_missing_primary():
    by_language, items = {"a": states(3), "b": states(3)}, {"a": np.arange(3), "b": np.array([0, 2, 2])}
    with pytest.raises(UserError, match="item 2 occurs twice in 'b'"):
        alignment.mexa_rows(by_language, items, "a")
    with pytest.raises(UserError, match="primary language 'c'"):
        alignment.mexa_rows(by_language, items, "c")

import numpy as np
import pytest

from babel_jax.common import statistics
from babel_jax.probes import other_pairs


def slots_of(counts, seed=0):
    """(ids [N, 2, 1], pair [N]): pair p has `counts[p]` slots and the identifiers 2 p and 2 p + 1; in mixed order."""
    pair = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    return np.stack([2 * pair, 2 * pair + 1], axis=1)[:, :, None], pair


def table_of(ids, pair, block=0, kept=None):
    kept = np.ones(len(pair), bool) if kept is None else kept
    return other_pairs.others(ids, kept, pair, np.broadcast_to(block, len(pair)))


def values_of(table, score_NxN):
    """(right [1, N], others' [1, N, J]) where slot n gives slot m's identifiers `score_NxN[n, m]`."""
    N = len(score_NxN)
    return np.diag(score_NxN)[None], score_NxN[np.arange(N)[:, None], table.slot_NxJ][None]


def test_others_are_other_pairs_of_the_same_block_without_a_token_in_common():
    ids = np.array([[[0], [1]], [[2], [3]], [[4], [1]], [[6], [7]], [[8], [9]], [[2], [3]]])
    pair, block = np.array([0, 1, 2, 3, 4, 1]), np.array([0, 0, 0, 0, 1, 0])
    table = table_of(ids, pair, block)
    found = [{int(pair[m]) for m in row if m >= 0} for row in table.slot_NxJ]
    assert found == [{1, 3}, {0, 2, 3}, {1, 3}, {0, 1, 2}, set(), {0, 2, 3}]
    assert table.compared_N.tolist() == [True, True, True, True, False, True]
    np.testing.assert_allclose(table.weight_NxJ.sum(axis=1), [1, 1, 1, 1, 0, 1])
    kept = np.array([True, True, True, False, True, True])
    assert {int(pair[m]) for m in table_of(ids, pair, block, kept).slot_NxJ[0] if m >= 0} == {1}


@pytest.mark.parametrize("counts", [[9], [1]])
def test_one_pair_is_compared_with_nothing(counts):
    assert table_of(*slots_of(counts)) is None


def test_every_pair_counts_as_often_among_the_others_as_among_the_right_ones():
    ids, pair = slots_of([1, 2, 5, 9, 3, 4])
    table = table_of(ids, pair)
    np.testing.assert_allclose(table.weight_NxJ.sum(axis=1), 1)
    used = [table.weight_NxJ[pair[table.slot_NxJ] == p].sum() for p in range(6)]
    np.testing.assert_allclose(used, [1, 2, 5, 9, 3, 4], rtol=1e-9)
    even = table_of(*slots_of([4] * 6))  # as many prompts each: the plain mean over the other pairs
    np.testing.assert_allclose(even.weight_NxJ, 1 / 5)


def test_a_pair_with_most_of_the_slots_is_balanced_as_far_as_can_be():
    ids, pair = slots_of([20, 3, 2])
    table = table_of(ids, pair)
    np.testing.assert_allclose(table.weight_NxJ.sum(axis=1), 1)
    assert table.weight_NxJ[pair == 1][:, pair[table.slot_NxJ[pair == 1][0]] == 0].min() > 0.9


def test_of_many_pairs_each_slot_has_sixteen_and_each_pair_is_used():
    ids, pair = slots_of(np.random.default_rng(2).integers(1, 6, 60))
    first, again = table_of(ids, pair), table_of(ids.copy(), pair.copy())
    assert first.slot_NxJ.shape[1] == other_pairs.OTHERS and (first.slot_NxJ >= 0).all()
    assert np.array_equal(first.slot_NxJ, again.slot_NxJ)
    assert all(
        len(set(pair[row])) == other_pairs.OTHERS and pair[n] not in pair[row] for n, row in enumerate(first.slot_NxJ)
    )
    used = np.array([first.weight_NxJ[pair[first.slot_NxJ] == p].sum() for p in range(60)])
    np.testing.assert_allclose(used, np.bincount(pair), rtol=1e-6)


def test_concept_share_is_that_of_a_double_loop():
    """Over slots and other pairs, the weights found anew in plain loops."""
    rng = np.random.default_rng(3)
    counts = [3, 7, 4, 2, 6]
    ids, pair = slots_of(counts, seed=3)
    block = rng.integers(0, 2, len(pair))
    score = rng.normal(size=(len(pair), len(pair)))
    score = score[:, [int(np.flatnonzero((pair == p) & (block == b))[0]) for p, b in zip(pair, block, strict=True)]]
    table = table_of(ids, pair, block)
    (others, ones), (concept, _) = other_pairs.concept_parts(*values_of(table, score), table)

    total_others = total = compared = 0
    for b in (0, 1):
        here = [n for n in range(len(pair)) if block[n] == b]
        present = sorted({int(pair[n]) for n in here})
        count = {p: sum(pair[n] == p for n in here) for p in present}
        weight = {(i, j): float(count[j]) for i in present for j in present if i != j}
        for _ in range(3000):
            for i in present:
                row = sum(weight[i, j] for j in present if j != i)
                for j in present:
                    if j != i:
                        weight[i, j] *= count[i] / row
            for j in present:
                column = sum(weight[i, j] for i in present if i != j)
                for i in present:
                    if j != i:
                        weight[i, j] *= count[j] / column
        for n in here:
            compared += 1
            value = 0.0
            for j in present:
                if j != pair[n]:
                    sample = next(m for m in here if pair[m] == j)
                    value += weight[int(pair[n]), j] / count[int(pair[n])] * score[n, sample]
            total_others += value
            total += score[n, n] - value
    assert ones.sum() == compared == len(pair)
    assert others.sum() == pytest.approx(total_others, abs=1e-6)
    assert concept.sum() == pytest.approx(total, abs=1e-6)


def test_what_prompt_and_identifiers_add_up_to_is_no_concept():
    """A layer that likes certain prompts and certain words, whatever belongs together, has exactly no concept share."""
    rng = np.random.default_rng(4)
    ids, pair = slots_of([2, 11, 5, 8, 3, 7])
    of_prompt, of_pair = rng.normal(size=len(pair)), rng.normal(size=6)
    table = table_of(ids, pair)
    _, (concept, ones) = other_pairs.concept_parts(*values_of(table, of_prompt[:, None] + of_pair[pair]), table)
    assert concept.sum() / ones.sum() == pytest.approx(0, abs=1e-9)
    right = of_prompt[:, None] + of_pair[pair] + 0.25 * (pair[:, None] == pair)
    _, (concept, ones) = other_pairs.concept_parts(*values_of(table, right), table)
    assert concept.sum() / ones.sum() == pytest.approx(0.25, abs=1e-9)


def test_intervals_are_those_of_drawing_pairs_as_prompts_and_as_identifiers():
    """As wide as where each draw of pairs weighs the other pairs anew, in a slow loop; rows alone would give far wider ones."""
    rng = np.random.default_rng(5)
    ids, pair = slots_of(rng.integers(4, 20, 16))
    N = len(pair)
    score = rng.normal(size=N)[:, None] + 2 * rng.normal(size=16)[pair] + 0.5 * rng.normal(size=(N, 16))[:, pair]
    score += 0.5 * (pair[:, None] == pair)
    table = table_of(ids, pair)
    right, others = values_of(table, score)
    _, (concept, _) = other_pairs.concept_parts(right, others, table)
    cluster, weight = statistics.two_level_weights(pair, np.arange(N))
    drawn = (weight[:, cluster] @ concept[0]) / weight.sum(axis=1)
    rows_only = (weight[:, cluster] @ (right[0] - (others[0] * table.weight_NxJ).sum(axis=1))) / weight.sum(axis=1)
    share = np.stack([weight[:, cluster] @ (pair == p) for p in range(16)], axis=1)  # [draws, pairs]: slots drawn
    again = share[:, :, None] * share[:, None] * ~np.eye(16, dtype=bool)
    for _ in range(200):
        for axis, wanted in ((1, share[:, None]), (2, share[:, :, None])):
            again = again * np.nan_to_num(statistics.ratio(wanted, again.sum(axis=axis, keepdims=True)))
    of_pairs = np.stack([score[:, np.flatnonzero(pair == p)[0]] for p in range(16)], axis=1)  # [slots, pairs]
    slow = []
    for of_slots, counts_of, weight_of in zip(weight[:, cluster], share, again, strict=True):
        beside = (np.nan_to_num(statistics.ratio(weight_of, counts_of[:, None]))[pair] * of_pairs).sum(axis=1)
        slow.append((of_slots * (right[0] - beside)).sum() / of_slots.sum())
    assert np.std(drawn) == pytest.approx(np.std(slow), rel=0.15)
    assert np.std(rows_only) > 2 * np.std(drawn)

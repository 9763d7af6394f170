import math
import warnings

import numpy as np
import pytest

from babel_jax import measurements
from babel_jax.probes import neurons


def naive_lape(count, tokens, top_rate=0.01, filter_rate=0.95, bar_rate=0.95):
    """Member sets {language: {(layer, index)}}, all above-bar languages and entropies, one neuron at a time."""
    L, F, K = count.shape
    p = {
        (i, j): [np.float32(count[i, j, k]) / np.float32(tokens[k]) for k in range(K)]
        for i in range(L)
        for j in range(F)
    }
    ordered = sorted(value for values in p.values() for value in values)
    threshold, bar = (ordered[round(len(ordered) * rate) - 1] for rate in (filter_rate, bar_rate))
    candidates = []
    for place, values in sorted(p.items()):
        total = sum(values)
        entropy = -sum(v / total * math.log(v / total) for v in values if v > 0) if total else 0.0
        if any(value > threshold for value in values):
            candidates.append((round(entropy, 5), place))
    chosen = [place for _, place in sorted(candidates)[: round(L * F * top_rate)]]
    above = {place: {k for k in range(K) if values[k] > bar} for place, values in p.items()}
    return (
        {k: {place for place in chosen if k in above[place]} for k in range(K)},
        above,
        p,
    )


def random_counts(rng, L, F, K, kind):
    tokens = rng.integers(800, 1200, K)
    activity = rng.beta(0.4, 2.0, (L, F, K))
    if kind == "ties":
        activity = np.round(activity, 1)
        tokens[:] = 1000
    elif kind == "zeros":
        activity[rng.random((L, F)) < 0.5] = 0
    elif kind == "one language":
        activity[rng.random((L, F, K)) < 0.6] = 0
    elif kind == "always on":
        activity[rng.random((L, F)) < 0.04] = 1
    return np.floor(activity * tokens).astype(np.int64), tokens


def as_sets(mask_LxF):
    return {tuple(place) for place in np.argwhere(mask_LxF).tolist()}


@pytest.mark.parametrize("K", [2, 3, 5])
@pytest.mark.parametrize("kind", ["plain", "ties", "zeros", "one language", "always on"])
def test_lape_is_the_naive_implementation(K, kind):
    rng = np.random.default_rng(K)
    for top_rate, filter_rate, bar_rate in (
        (0.01, 0.95, 0.95),
        (0.05, 0.95, 0.95),
        (0.02, 0.8, 0.9),
    ):
        count, tokens = random_counts(rng, 3, 101, K, kind)
        want, above, p = naive_lape(count, tokens, top_rate, filter_rate, bar_rate)
        ranking = neurons.lape(count, tokens, filter_rate, bar_rate)
        member = neurons.selected(ranking, top_rate) & ranking["above_KxxLxF"]
        # Entropies that the two ways of summing leave equal up to rounding may swap, unless they are equal by design.
        for k in range(K):
            difference = as_sets(member[k]) ^ want[k]
            assert not difference, (k, [(place, p[place]) for place in difference])
        masks = neurons.transferring(ranking, 0, 1, top_rate)
        assert as_sets(masks["lape_target"]) == want[1]
        assert as_sets(masks["lape_both"]) == want[0] & want[1]
        assert as_sets(masks["lape_exclusive"]) == {place for place in want[1] if above[place] == {1}}

        def entropy_of_pair(values):
            q = [float(value) / float(values[0] + values[1]) for value in values[:2]]
            return -sum(x * math.log(x) for x in q)

        even = {place for place in above if above[place] == {0, 1} and entropy_of_pair(p[place]) >= 0.9 * math.log(2)}
        assert as_sets(masks["pair_shared"]) == even


def test_draws_are_carried_along():
    rng = np.random.default_rng(1)
    counts, tokens = zip(*(random_counts(rng, 2, 50, 3, "plain") for _ in range(4)), strict=True)
    together = neurons.lape(np.stack(counts), np.stack(tokens))
    for draw in range(4):
        alone = neurons.lape(counts[draw], tokens[draw])
        assert np.array_equal(together["rank_xLxF"][draw], alone["rank_xLxF"])
        assert np.array_equal(together["above_KxxLxF"][:, draw], alone["above_KxxLxF"])
        assert together["passed_x"][draw] == alone["passed_x"]


def test_entropy_of_one_language_and_of_all():
    p = np.array([[1, 0.2, 0], [0, 0.2, 0], [0, 0.2, 0]], np.float32)
    np.testing.assert_allclose(neurons._entropy(p), [0, np.log(3), 0], atol=1e-6)


def test_rank_is_counted_from_one_and_rounded_half_to_even():
    values = np.arange(10.0)
    assert neurons._kth_smallest(values, 0.25) == 1  # round(2.5) = 2, the second smallest
    assert neurons._kth_smallest(values, 0.95) == 9  # round(9.5) = 10
    assert neurons._kth_smallest(values, 1.0) == 9


def test_permuting_languages_and_neurons_permutes_the_result():
    rng = np.random.default_rng(2)
    count, tokens = random_counts(rng, 2, 80, 3, "plain")
    languages, places = rng.permutation(3), rng.permutation(80)
    first = neurons.lape(count, tokens)
    second = neurons.lape(count[:, places][:, :, languages], tokens[languages])
    assert np.array_equal(first["above_KxxLxF"][languages][:, :, places], second["above_KxxLxF"])
    assert np.array_equal(neurons.selected(first, 0.05)[:, places], neurons.selected(second, 0.05))


def test_twice_the_tokens_change_nothing():
    count, tokens = random_counts(np.random.default_rng(3), 2, 80, 3, "plain")
    first, second = neurons.lape(count, tokens), neurons.lape(2 * count, 2 * tokens)
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_ties_go_to_the_lower_layer_and_index():
    count = np.zeros((2, 100, 2), int)
    count[0, [7, 3], 0] = count[1, [0, 1], 0] = 10  # four neurons of the first language only, entropy exactly 0
    chosen = neurons.selected(neurons.lape(count, np.array([100, 100])), top_rate=0.015)
    assert as_sets(chosen) == {(0, 3), (0, 7), (1, 0)}


def measured_from(count_RxLxFxK, tokens_RxK):
    return {
        "languages": ["a", "b"],
        "active_RxLxFxK": count_RxLxFxK,
        "tokens_RxK": tokens_RxK,
    }


def test_always_on_neurons_pass_nothing_and_say_so():
    count = np.zeros((3, 1, 100, 2), int)
    count[:, :, :10] = 50  # 10 % of the values tie at the maximum: none is above the threshold
    with pytest.warns(UserWarning, match="0 of the 1 neurons"):
        rows = neurons.neuron_rows(measured_from(count, np.full((3, 2), 50)), "a", "b")
    assert all(row["value"] == 0 for row in rows if row["metric"] != "pair_shared")


def test_neuron_rows_count_their_masks():
    rng = np.random.default_rng(4)
    shards = [random_counts(rng, 2, 150, 2, "one language")[0] // 10 for _ in range(6)]
    measured = measured_from(np.stack(shards), np.full((6, 2), 120))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rows = neurons.neuron_rows(measured, "a", "b", draws=50)
    assert rows == neurons.neuron_rows(measured, "a", "b", draws=50)
    ranking = neurons.lape(sum(shards), np.full(2, 720))
    masks = neurons.transferring(ranking, 0, 1)
    for row in rows:
        if row["metric"] in masks:
            mask = masks[row["metric"]] if row["layer"] == -1 else masks[row["metric"]][row["layer"] - 1]
            assert (row["value"], row["n"]) == (mask.sum(), mask.size)
            assert row["ci_low"] <= row["ci_high"]
    sensitivity = {
        row["options"]["top_rate"]: row["value"] for row in rows if row["metric"] == "lape_target_sensitivity"
    }
    assert sensitivity[0.01] == masks["lape_target"].sum()
    assert sorted(sensitivity.values()) == [sensitivity[rate] for rate in sorted(sensitivity)]
    assert max(sensitivity.values()) > sensitivity[0.01]
    frame = measurements.table([measurements.row(run="continual", seed=0, step=4, **row) for row in rows])
    assert set(frame.layer) == {-1, 1, 2}


def test_interval_is_empty_when_all_shards_agree():
    count = np.repeat(random_counts(np.random.default_rng(5), 1, 200, 2, "plain")[0][None], 5, axis=0)
    rows = neurons.neuron_rows(measured_from(count, np.full((5, 2), 1200)), "a", "b", draws=20)
    assert all(row["ci_low"] == row["value"] == row["ci_high"] for row in rows)


def functional_case(rng):
    base = rng.normal(size=(2, 60, 8))
    now = rng.normal(size=(2, 60, 8))
    now[0, :, :3] = 2 * base[0, :, :3] + 5  # the same function, at another scale
    now[1, :, 0] = -base[1, :, 0]
    now[1, :, 1] = base[1, :, 1] + 0.3 * rng.normal(size=60)
    base[1, :, 2] = now[1, :, 2] = 0.1  # constant
    return base.astype(np.float32), now.astype(np.float32)


def test_functional_neurons_are_found_exactly():
    base, now = functional_case(np.random.default_rng(6))
    assert as_sets(neurons.functional(base, now)) == {(0, 0), (0, 1), (0, 2), (1, 1)}
    want = [np.corrcoef(base[i, :, j], now[i, :, j])[0, 1] > 0.1 for i, j in ((0, 3), (0, 4), (0, 5))]
    assert neurons.functional(base, now, threshold=0.1)[0, 3:6].tolist() == want


def test_functional_rows_use_transfer_slots_only():
    base, now = functional_case(np.random.default_rng(7))
    slots = {
        "subset": np.arange(60) % 2,
        "pair": np.arange(60) % 4,
        "prompt": np.arange(60),
    }
    now[:, ::2] = 0  # what stands at shared slots must not matter
    rows = neurons.functional_rows(base, now, slots, "b")
    assert [(row["layer"], row["value"], row["n"]) for row in rows] == [
        (-1, 4, 16),
        (1, 3, 8),
        (2, 1, 8),
    ]
    assert all(row["ci_low"] <= row["value"] <= row["ci_high"] for row in rows)
    assert neurons.functional_rows(base, now, slots | {"subset": np.zeros(60, int)}, "b") == []


def test_functional_draws_with_equal_weights_are_the_estimate():
    base, now = functional_case(np.random.default_rng(8))
    drawn = neurons._functional_draws(base, now, np.ones((3, 60)), 0.5)
    assert (drawn == neurons.functional(base, now)).all()

import math

import jax
import numpy as np
import pytest
from helpers.counted import TOKENS, as_sets, counts, masks_of, measured_from, quick, random_counts, same
from hypothesis import given
from hypothesis import strategies as st

from babel_jax.model.decoder import DecoderConfig, init_params
from babel_jax.probes import forward, lape
from babel_jax.probes.subject import Subject


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
        selection = lape.lape(count, tokens, lape.Rates(top_rate, filter_rate, bar_rate))
        member = selection.chosen_xLxF & selection.above_KxxLxF
        # Entropies that the two ways of summing leave equal up to rounding may swap, unless they are equal by design.
        for k in range(K):
            difference = as_sets(member[k]) ^ want[k]
            assert not difference, (k, [(place, p[place]) for place in difference])
        masks = masks_of(selection, 0, 1)
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
    together = lape.lape(np.stack(counts), np.stack(tokens))
    for draw in range(4):
        alone = lape.lape(counts[draw], tokens[draw])
        assert np.array_equal(together.rank_xLxF[draw], alone.rank_xLxF)
        assert np.array_equal(together.above_KxxLxF[:, draw], alone.above_KxxLxF)
        assert together.passed_x[draw] == alone.passed_x


def test_entropy_of_one_language_and_of_all():
    p = np.array([[1, 0.2, 0], [0, 0.2, 0], [0, 0.2, 0]], np.float32)
    np.testing.assert_allclose(lape.entropy(p), [0, np.log(3), 0], atol=1e-6)


def test_rank_is_counted_from_one_and_rounded_half_to_even():
    values = np.arange(10.0)
    assert lape.kth_smallest(values, 0.25) == 1  # round(2.5) = 2, the second smallest
    assert lape.kth_smallest(values, 0.95) == 9  # round(9.5) = 10
    assert lape.kth_smallest(values, 1.0) == 9


def test_permuting_languages_and_neurons_permutes_the_result():
    rng = np.random.default_rng(2)
    count, tokens = random_counts(rng, 2, 80, 3, "plain")
    languages, places = rng.permutation(3), rng.permutation(80)
    first = lape.lape(count, tokens)
    second = lape.lape(count[:, places][:, :, languages], tokens[languages])
    assert np.array_equal(first.above_KxxLxF[languages][:, :, places], second.above_KxxLxF)
    assert np.array_equal(first.at(0.05).chosen_xLxF[:, places], second.at(0.05).chosen_xLxF)


def test_twice_the_tokens_change_nothing():
    count, tokens = random_counts(np.random.default_rng(3), 2, 80, 3, "plain")
    first, second = lape.lape(count, tokens), lape.lape(2 * count, 2 * tokens)
    assert same(first, second)


def test_ties_go_to_the_lower_layer_and_index():
    count = np.zeros((2, 100, 2), int)
    count[0, [7, 3], 0] = count[1, [0, 1], 0] = 10  # four neurons of the first language only, entropy exactly 0
    chosen = lape.lape(count, np.array([100, 100]), lape.Rates(0.015)).chosen_xLxF
    assert as_sets(chosen) == {(0, 3), (0, 7), (1, 0)}


# --- an independent LAPE, vectorised and in float64 but for p ---------------------------------------------------------


def oracle_lape(count, tokens, top_rate):
    """(member [K, L, F], number that passed), or None where float32 cannot tell which neurons stand before the cut."""
    L, F, K = count.shape
    p = (count.astype(np.float32) / tokens.astype(np.float32)).reshape(-1, K)
    bar = np.sort(p, axis=None)[round(p.size * 0.95) - 1]
    q = np.sort(p.astype(float), axis=1)
    q = q / np.maximum(q.sum(1, keepdims=True), 1e-300)
    entropy = -np.array([[x * math.log(x) if x else 0 for x in row] for row in q]).sum(1)
    passed = np.flatnonzero((p > bar).any(1))
    order = passed[np.lexsort((passed, entropy[passed]))]
    m = round(L * F * top_rate)
    if 0 < m < len(order):
        near = order[abs(entropy[order] - entropy[order[m - 1]]) < 1e-6]
        alike = (np.sort(p[near]) == np.sort(p[near[0]])).all() or ((p[near] > 0).sum(1) == 1).all()
        if not alike and not set(near) <= set(order[:m]):
            return None
    member = np.zeros((L * F, K), bool)
    member[order[:m]] = p[order[:m]] > bar
    return member.T.reshape(K, L, F), len(passed)


def awkward_counts(rng, K, kind):
    count, tokens = random_counts(rng, 3, 101, K, "plain")
    if kind == "ties":  # of whole neurons, also with the languages exchanged, and of one language alone
        tokens[:] = tokens[0]
        count = np.minimum(count, tokens[0])
        count[:, 50:100] = count[:, :50][:, :, rng.permutation(K)]
        lonely = rng.random((3, 101)) < 0.1
        count[lonely, 1:] = 0
    elif kind == "dead":
        count[rng.random((3, 101)) < 0.7] = 0
    elif kind == "silent language":
        count[..., -1] = np.minimum(count[..., -1], 3)
    elif kind == "few always on":
        count[rng.random((3, 101)) < 0.02] = tokens
    elif kind == "many always on":  # more than 5 % of all values tie at the maximum
        count[:, :8] = tokens
    return count, tokens


@pytest.mark.parametrize("K", [2, 3, 5, 7])
@pytest.mark.parametrize("kind", ["plain", "ties", "dead", "silent language", "few always on", "many always on"])
def test_lape_is_an_independent_lape(K, kind):
    compared = 0
    for seed in range(12):
        count, tokens = awkward_counts(np.random.default_rng([seed, K]), K, kind)
        for top_rate in (0.01, 0.05):
            if (want := oracle_lape(count, tokens, top_rate)) is None:
                continue
            compared += 1
            member, passed = want
            assert np.array_equal(lape.tang(measured_from(count[None], tokens[None]), top_rate), member)
            assert lape.lape(count, tokens).passed_x == passed
            assert kind != "many always on" or passed == 0
            if kind == "silent language":
                assert not member[-1].any() and member[:-1].any()
            if passed:
                assert member.any()
    assert compared >= 20


# --- properties -----------------------------------------------------------------------------------------------------------


def all_of(count, top_rate=0.2):
    selection = lape.lape(count, np.full(count.shape[-1], TOKENS), lape.Rates(top_rate))
    return selection, selection.chosen_xLxF


@quick
@given(st.integers(2, 9), st.floats(0.01, 1))
def test_entropy_of_uniform_and_one_hot(K, p):
    assert lape.entropy(np.full((K, 1), p, np.float32))[0] == pytest.approx(math.log(K), abs=1e-6)
    assert lape.entropy(np.eye(K, dtype=np.float32) * np.float32(p)).tolist() == [0] * K


@quick
@given(counts(), st.randoms(use_true_random=False))
def test_languages_in_another_order_give_the_same(count, random):
    order = random.sample(range(count.shape[-1]), count.shape[-1])
    (first, chosen), (second, chosen_again) = all_of(count), all_of(count[..., order])
    assert np.array_equal(chosen, chosen_again)
    assert np.array_equal(first.above_KxxLxF[order], second.above_KxxLxF)


@quick
@given(counts(), st.randoms(use_true_random=False))
def test_neurons_in_another_order_give_the_same_but_for_ties(count, random):
    order = random.sample(range(count.shape[1]), count.shape[1])
    (first, chosen), (second, chosen_again) = all_of(count), all_of(count[:, order])
    assert np.array_equal(first.above_KxxLxF[:, :, order], second.above_KxxLxF)
    entropies = [np.sort(r.entropy_xLxF[c]).tolist() for r, c in ((first, chosen), (second, chosen_again))]
    assert entropies[0] == entropies[1] and len(entropies[0]) == min(first.passed_x, round(0.2 * chosen.size))


@quick
@given(counts(), st.integers(1, 3))
def test_more_of_the_same_tokens_change_nothing(count, doublings):
    tokens = np.full(count.shape[-1], TOKENS)
    first, second = lape.lape(count, tokens), lape.lape(count * 2**doublings, tokens * 2**doublings)
    assert same(first, second)


def test_neurons_planted_in_a_model_are_found_exactly():
    """Neurons that fire on one language's tokens only, in a decoder whose attention is silent (O9 of the specification)."""
    words, D, F, T = 10, 16, 64, 12
    config = DecoderConfig(vocab_size=2 * words, width=D, layers=1, heads=2, ffn_width=F, max_length=T, tied_head=False)
    shapes = jax.eval_shape(lambda: init_params(config, 0))
    params = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    token_V = np.arange(2 * words)
    params["embed_table"][token_V, token_V // words] = 1  # the language
    params["embed_table"][token_V, 2 + token_V % words] = 1  # the word, the same in both
    for name in ("ln_1", "ln_2"):
        params["blocks"][name]["scale"][:] = 1
    params["ln_f_scale"][:] = 1
    reads_F = 2 + np.arange(F) % words
    planted = {0: {(0, 5), (0, 40)}, 1: {(0, 6), (0, 63)}}
    for k, places in planted.items():
        reads_F[[index for _, index in places]] = k
    params["blocks"]["ffn_in"]["kernel"][0, reads_F, np.arange(F)] = 1
    params["blocks"]["ffn_in"]["bias"][:] = -1  # a normalised 0 is -0.38 here, a normalised 1 is 2.65
    rng = np.random.default_rng(0)
    everything = np.ones((6, T), bool)
    heldout = {
        name: {
            "tokens": rng.integers(words * k, words * (k + 1), (6, T + 1)),
            "loss": everything,
            "knowledge": everything,
        }
        for k, name in enumerate("ab")
    }
    measured = forward.measure(Subject(params, config, batch_size=4), heldout, {})
    member = lape.tang(measured, top_rate=0.1)
    assert {k: as_sets(member[k]) for k in planted} == planted


# --- thresholds, scopes, rows ------------------------------------------------------------------------------------------

import dataclasses
import math
import warnings

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from babel_jax.common import measurements
from babel_jax.common.errors import UserError
from babel_jax.model.decoder import DecoderConfig, init_params
from babel_jax.probes import forward, functional, lape, neurons
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


def measured_from(count_RxLxFxK, tokens_RxK):
    return lape.Counts(list("abcdefg"[: count_RxLxFxK.shape[-1]]), count_RxLxFxK, tokens_RxK)


def same(first, second):
    return all(np.array_equal(value, getattr(second, name)) for name, value in vars(first).items())


def masks_of(selection, primary, new):
    """By definition."""
    return {name: definition(selection, primary, new) for name, definition in neurons.DEFINITIONS.items()}


def test_always_on_neurons_pass_nothing_and_say_so():
    count = np.zeros((3, 1, 100, 2), int)
    count[:, :, :10] = 50  # 10 % of the values tie at the maximum: none is above the threshold
    with pytest.warns(UserWarning, match="0 of the 1 neurons"):
        rows = neurons.transferring_rows(measured_from(count, np.full((3, 2), 50)), "a", "b")
    assert all(row["value"] == 0 for row in rows if row["metric"] != "pair_shared")


def test_neuron_rows_count_their_masks():
    rng = np.random.default_rng(4)
    shards = [random_counts(rng, 2, 150, 2, "one language")[0] // 10 for _ in range(6)]
    measured = measured_from(np.stack(shards), np.full((6, 2), 120))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rows = neurons.transferring_rows(measured, "a", "b", draws=50)
    assert rows == neurons.transferring_rows(measured, "a", "b", draws=50)
    masks = masks_of(lape.lape(sum(shards), np.full(2, 720)), 0, 1)
    assert {row["metric"] for row in rows} == {"lape_target", "pair_shared", "lape_target_sensitivity"}
    for row in rows:
        if row["metric"] in masks:
            mask = masks[row["metric"]]
            assert (row["value"], row["n"], row["layer"]) == (mask.sum(), mask.size, -1)
            assert row["ci_low"] <= row["ci_high"]
    sensitivity = {
        row["options"]["top_rate"]: row["value"] for row in rows if row["metric"] == "lape_target_sensitivity"
    }
    assert sensitivity[0.01] == masks["lape_target"].sum()
    assert sorted(sensitivity.values()) == [sensitivity[rate] for rate in sorted(sensitivity)]
    assert max(sensitivity.values()) > sensitivity[0.01]
    frame = measurements.table([measurements.row(run="continual", seed=0, step=4, **row) for row in rows])
    assert set(frame.layer) == {-1}


def test_interval_is_empty_when_all_shards_agree():
    count = np.repeat(random_counts(np.random.default_rng(5), 1, 200, 2, "plain")[0][None], 5, axis=0)
    rows = neurons.transferring_rows(measured_from(count, np.full((5, 2), 1200)), "a", "b", draws=20)
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
    assert as_sets(functional.functional(base, now)) == {(0, 0), (0, 1), (0, 2), (1, 1)}
    want = [np.corrcoef(base[i, :, j], now[i, :, j])[0, 1] > 0.1 for i, j in ((0, 3), (0, 4), (0, 5))]
    assert functional.functional(base, now, threshold=0.1)[0, 3:6].tolist() == want


def test_functional_rows_use_transfer_slots_only():
    base, now = functional_case(np.random.default_rng(7))
    slots = {
        "subset": np.arange(60) % 2,
        "pair": np.arange(60) % 4,
        "prompt": np.arange(60),
    }
    now[:, ::2] = 0  # what stands at shared slots must not matter
    rows = functional.functional_rows(base, now, slots, "b")
    assert [(row["metric"], row["value"], row["n"]) for row in rows] == [("functional", 4, 16)]
    assert all(row["ci_low"] <= row["value"] <= row["ci_high"] for row in rows)
    assert functional.functional_rows(base, now, slots | {"subset": np.zeros(60, int)}, "b") == []


def test_functional_draws_with_equal_weights_are_the_estimate():
    base, now = functional_case(np.random.default_rng(8))
    drawn = functional._functional_draws(base, now, np.ones((3, 60)), 0.5)
    assert (drawn == functional.functional(base, now)).all()


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

quick = settings(max_examples=25, deadline=None, derandomize=True)
TOKENS = 10


@st.composite
def counts(draw, largest=TOKENS):
    """Few neurons with small counts, so that almost everything ties."""
    K = draw(st.integers(2, 4))
    return draw(arrays.arrays(np.int64, (2, draw(st.integers(10, 20)), K), elements=st.integers(0, largest)))


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


@quick
@given(counts(), st.integers(2, 5), st.integers(0, 99))
def test_splitting_the_stream_in_shards_changes_no_count(count, R, seed):
    rng = np.random.default_rng(seed)
    K = count.shape[-1]
    where = rng.integers(0, R, (*count.shape, TOKENS))  # the shard of each active token
    active = np.arange(TOKENS) < count[..., None]
    parts = np.stack([(active & (where == r)).sum(-1) for r in range(R)])
    tokens = rng.multinomial(TOKENS, np.full(R, 1 / R), size=K).T
    whole = measured_from(count[None], np.full((1, K), TOKENS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for rows, languages in ((neurons.transferring_rows, ("a", "b")), (neurons.count_rows, ("a",))):
            assert [row["value"] for row in rows(whole, *languages, draws=1)] == [
                row["value"] for row in rows(measured_from(parts, tokens), *languages, draws=1)
            ]


@quick
@given(counts(largest=8))
def test_pls_needs_a_clear_best_language(score):
    L, F, K = score.shape
    owned = []
    for i in range(L):
        for j in range(F):
            *_, second, best = sorted(score[i, j].tolist())
            if best > 0 and best >= 1.5 * second:
                owned.append((-best, i, j, score[i, j].tolist().index(best)))
    want = sorted(owned)[: round(L * F * 0.2)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        member = neurons.pls(score, 0.2)
    for k in range(K):
        assert as_sets(member[k]) == {(i, j) for _, i, j, language in want if language == k}


def test_pls_takes_a_score_of_just_one_and_a_half_times_the_second():
    score = np.array([[[2, 3, 1], [2, 2.9, 1], [0, 0, 0], [0, 0, 1]]])
    member = neurons.pls(score, top_rate=0.5)
    assert [as_sets(member[k]) for k in range(3)] == [set(), {(0, 0)}, {(0, 3)}]


def planted(rng, K=3, R=4, L=2, F=300, each=2, tokens=500):
    """Neurons that fire on tokens of one language only, among neurons that fire for all alike."""
    p = np.repeat(rng.uniform(0.05, 0.5, (L, F, 1)), K, axis=2)
    places = rng.permutation(L * F)[: each * K]
    want = {k: {divmod(int(place), F) for place in places[k::K]} for k in range(K)}
    for k, chosen in want.items():
        for place in chosen:
            p[place] = 0
            p[(*place, k)] = 0.8
    count = np.stack([rng.binomial(tokens, p) for _ in range(R)])
    return measured_from(count, np.full((R, K), tokens)), want


def test_planted_neurons_are_found_exactly():
    measured, want = planted(np.random.default_rng(0))
    member = lape.tang(measured)
    assert {k: as_sets(member[k]) for k in want} == want
    rows = neurons.count_rows(measured, "a", draws=20)
    rows = [row for row in rows if row.get("layer", -1) == -1]
    at = {(row["metric"], row["language"]): row for row in rows}
    for name in "abc":
        assert at["specific", name]["value"] == at["specific", name]["ci_low"] == 2
    for name in "bc":
        assert at["lape_target", name]["value"] == at["lape_exclusive", name]["value"] == 2
        assert at["lape_both", name]["value"] == 0
    assert at["chosen", ""]["value"] == 6 and at["double_members", ""]["value"] == 0


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


def run_of_checkpoints(C=4, K=2, L=2, F=400, R=5):
    """Checkpoints in which ever more neurons are of the last language alone."""
    rng = np.random.default_rng(3)
    p = np.repeat(rng.uniform(0.01, 0.4, (L, F, 1)), K, axis=2) * rng.uniform(0.7, 1.0, (L, F, K))
    found = []
    for c in range(C):
        p[0, 3 * c : 3 * c + 3, :-1] = 0.001
        p[0, 3 * c : 3 * c + 3, -1] = 0.6
        found.append(measured_from(rng.binomial(2000, np.stack([p] * R)), np.full((R, K), 2000)))
    return found


def value(rows, metric, language="", layer=-1, **options):
    found = [
        row
        for row in rows
        if (row["metric"], row["language"], row.get("layer", -1)) == (metric, language, layer)
        and options.items() <= row["options"].items()
    ]
    assert len(found) == 1, (metric, language, options, found)
    return found[0]["value"]


def test_thresholds_give_the_ranked_selection_again():
    measured = run_of_checkpoints()[2]
    p = lape.probabilities(measured.active_RxLxFxK.sum(0), measured.tokens_RxK.sum(0))
    ranked, fixed = lape.selection(p), lape.selection(p, lape.Scope("given", thresholds=lape.thresholds(p)))
    for name in ("chosen_xLxF", "above_KxxLxF", "passed_x"):
        assert np.array_equal(getattr(ranked, name), getattr(fixed, name)), name
    assert ranked.chosen_xLxF.sum() == 8


def test_pooled_thresholds_are_ranks_among_all_checkpoints():
    measured = run_of_checkpoints()
    whole = [(m.active_RxLxFxK.sum(0), m.tokens_RxK.sum(0)) for m in measured]
    found = lape.scope_of(measured, "pooled", draws=3)
    p = [(count / tokens).astype(np.float32) for count, tokens in whole]
    bar = np.sort(np.concatenate([one.ravel() for one in p]))[round(0.95 * 4 * 2 * 400 * 2) - 1]
    assert found.thresholds.probability == found.thresholds.bar == bar
    entropies = []
    for one in p:
        q = one[(one > bar).any(-1)].astype(float)
        q /= q.sum(-1, keepdims=True)
        entropies += (-(q * np.log(q)).sum(-1)).tolist()
    assert found.thresholds.entropy == pytest.approx(sorted(entropies)[round(0.01 * 4 * 800) - 1], abs=1e-6)
    assert found.drawn.entropy.shape == (3,)


def test_only_fixed_thresholds_let_the_number_rise():
    measured = run_of_checkpoints()

    def chosen(scope, reference=None):
        fixed = lape.scope_of(measured, scope, reference, draws=10)
        rows = [neurons.count_rows(m, "a", scope=fixed, draws=10) for m in measured]
        assert rows[0][0]["options"].get("threshold_scope", "per_checkpoint").startswith(scope)
        return [value(one, "chosen") for one in rows], rows

    assert chosen("per_checkpoint")[0] == [8, 8, 8, 8]
    numbers, rows = chosen("reference_checkpoint", 1)
    assert numbers[1] == 8 and numbers[0] < 8 < numbers[2] < numbers[3]
    reference = value(neurons.count_rows(measured[1], "a", draws=10), "threshold", name="bar")
    assert [value(one, "threshold", name="bar") for one in rows] == [reference] * 4
    pooled, _ = chosen("pooled")
    assert pooled == sorted(pooled) and pooled[0] < pooled[-1]
    alone = lape.scope_of(measured, "reference_checkpoint", 1, draws=10)
    again = neurons.count_rows(measured[1], "a", scope=alone, draws=10)
    for drawn, ranked in zip(again, neurons.count_rows(measured[1], "a", draws=10), strict=True):
        same = ("metric", "language", "value", "ci_low", "ci_high")  # the drawn thresholds go with the drawn shards
        assert [drawn.get(name) for name in same] == [ranked.get(name) for name in same]


def test_rates_hold_in_every_scope():
    measured = run_of_checkpoints()
    for scope, reference in (("per_checkpoint", None), ("reference_checkpoint", 2)):
        fixed = lape.scope_of(measured, scope, reference, draws=2, rates=lape.Rates(0.015, 0.9, 0.92))
        rows = neurons.count_rows(measured[2], "a", scope=fixed, draws=2)
        assert value(rows, "chosen") == 12 and rows[0]["options"]["top_rate"] == 0.015
        p = (measured[2].active_RxLxFxK.sum(0) / measured[2].tokens_RxK.sum(0)).astype(np.float32)
        assert value(rows, "threshold", name="bar") == np.sort(p, None)[round(p.size * 0.92) - 1]
        assert value(rows, "threshold", name="probability") == np.sort(p, None)[round(p.size * 0.9) - 1]


def test_count_rows_count_their_sets_per_layer():
    measured = run_of_checkpoints(K=3)[3]
    measured.active_RxLxFxK[:, 1, :20] = 0  # dead neurons: of no entropy at all
    rows = neurons.count_rows(measured, "a", draws=30)
    count, tokens = measured.active_RxLxFxK.sum(0), measured.tokens_RxK.sum(0)
    masks = masks_of(lape.lape(count, tokens), 0, 2)
    for name, mask in masks.items():
        got = [value(rows, name, "c", layer) for layer in (-1, 1, 2)]
        assert got == [mask.sum(), *mask.sum(1)]
    member = lape.tang(measured)
    assert [value(rows, "specific", name) for name in "abc"] == member.sum((1, 2)).tolist()
    assert value(rows, "double_members") == (member.sum(0) > 1).sum()
    p = (count / tokens).astype(np.float32)
    assert value(rows, "quantile", "b", of="probability", quantile=0.5) == np.sort(p[..., 1], None)[399]
    assert value(rows, "quantile", "", of="probability", quantile=1.0) == p.max()
    assert 0 < value(rows, "quantile", "", of="entropy", quantile=0.01) < math.log(3)
    for row in rows:
        measurements.row(run="continual", seed=0, step=1, **row)
        if row["metric"] in ("lape_target", "specific"):
            assert row["ci_low"] <= row["ci_high"]
    assert len({(r["metric"], r["language"], r.get("layer"), str(r["options"])) for r in rows}) == len(rows)


def test_counts_over_several_draws_are_those_of_each_draw():
    """What is resampled in one block is what each draw alone would give."""
    measured = run_of_checkpoints(K=3, R=3)[1]
    weight = np.array([[1, 1, 1], [3, 0, 0], [0, 2, 1]])
    ((draws, count, tokens),) = lape.resampled(measured, weight)
    together = neurons.neuron_sets(lape.selection(lape.probabilities(count, tokens)), ["a", "b", "c"], "a")
    for d in draws:
        alone = np.tensordot(weight[d], measured.active_RxLxFxK, 1)
        p = lape.probabilities(alone, weight[d] @ measured.tokens_RxK)
        for name, mask in neurons.neuron_sets(lape.selection(p), ["a", "b", "c"], "a").items():
            assert np.array_equal(together[name][d], mask), name


def test_sensitivity_curves_meet_the_counts():
    measured = run_of_checkpoints(K=3)[3]
    rows = neurons.sensitivity_rows(measured, "a", draws=10)
    count, tokens = measured.whole()
    for row in rows:
        name, new = row["metric"].removesuffix("_sensitivity"), "abc".index(row["language"])
        varied = row["options"]["varied"]
        at = row["options"][varied]
        if varied == "entropy":
            want = neurons.pair_shared(lape.lape(count, tokens), 0, new, at)
        else:
            rates = lape.Rates(at) if varied == "top_rate" else lape.Rates(filter_rate=at, bar_rate=at)
            want = masks_of(lape.lape(count, tokens, rates), 0, new)[name]
        assert row["value"] == want.sum(), row
        assert row["ci_low"] <= row["ci_high"]
    numbers = [
        sum(row["options"]["varied"] == varied for row in rows) for varied in ("top_rate", "filter_rate", "entropy")
    ]
    assert numbers == [2 * 63, 2 * 80, 2 * 20]
    assert {row["value"] for row in rows if row["options"]["varied"] == "entropy"} != {0}


def test_what_a_study_counts_is_what_probe_counts():
    """The same metrics with the same options, values and intervals."""
    measured = run_of_checkpoints()[3]
    ours = neurons.transferring_rows(measured, "a", "b", draws=20)
    theirs = neurons.count_rows(measured, "a", draws=20)
    theirs = [row for row in theirs if row["layer"] == -1 and row["metric"] in ("lape_target", "pair_shared")]
    assert [row for row in ours if row["metric"] != "lape_target_sensitivity"] == theirs
    curve = {row["options"]["top_rate"]: row for row in ours if row["metric"] == "lape_target_sensitivity"}
    for row in neurons.sensitivity_rows(measured, "a", draws=20):
        options = dict(row["options"])
        if row["metric"] == "lape_target_sensitivity" and options.pop("varied") == "top_rate":
            same = curve.pop(options["top_rate"], None)
            assert same is None or (same["value"], same["options"]) == (row["value"], options)
    assert curve.keys() == {0.005, 0.02, 0.05}  # rates that only a study takes


def test_always_on_neurons_are_a_warning_and_never_arbitrary_neurons():
    count = np.zeros((3, 1, 100, 2), int)
    count[:, :, :10] = 50
    measured = measured_from(count, np.full((3, 2), 50))
    with pytest.warns(UserWarning, match="only 0 of the 1 neurons"):
        rows = neurons.count_rows(measured, "a", draws=5)
    assert {row["value"] for row in rows if row["metric"] in ("lape_target", "specific", "chosen", "lape_passed")} == {
        0
    }
    fixed = lape.scope_of([measured], "pooled", draws=5)
    assert math.isnan(fixed.thresholds.entropy)
    with pytest.warns(UserWarning, match=r"\(pooled\) select no neuron: 0 passed"):
        rows = neurons.count_rows(measured, "a", scope=fixed, draws=5)
    assert {row["value"] for row in rows if row["metric"] in ("lape_target", "specific", "chosen", "lape_passed")} == {
        0
    }


def test_top_scores_never_take_what_has_none():
    score = np.array([[3.0, 0, np.nan, 3], [-5, 7, 3, 0]])
    assert as_sets(neurons.top_scores(score, 3)) == {(1, 1), (0, 0), (0, 3)}
    with pytest.warns(UserWarning, match="only 4 of the 6"):
        assert as_sets(neurons.top_scores(score, 6)) == {(0, 0), (0, 3), (1, 1), (1, 2)}


def test_definitions_by_score():
    score = np.random.default_rng(0).uniform(0.1, 1, (8, 25))
    type1 = neurons.score_rows("centroid_type1", score, "b", count=10)
    type2 = neurons.score_rows("centroid_type2", score, "b", count=10)
    best = {place for place in np.ndindex(5, 25) if score[place] >= np.sort(score[:5], None)[-10]}
    assert [row["value"] for row in type1] == [10, *(sum(i == layer for i, _ in best) for layer in range(8))]
    assert [row["value"] for row in type2][:6] == [10, 0, 0, 0, 0, 0]
    # What removing a neuron does to a log-probability: the most negative ones carry it, and NaN was not tried.
    effect = np.where(score > 0.5, np.nan, -score)
    effect[7, 3] = -5
    effect[2, 1] = 9
    mask = neurons.scored("causal", effect, count=1)
    assert as_sets(mask) == {(7, 3)}
    assert [row["value"] for row in neurons.score_rows("causal", effect, "b")][0] == 2
    scores = np.stack([score, score[::-1] * 0.01], axis=-1)
    assert neurons.score_rows("pls", scores, "a", ["a", "b"])[0]["value"] == 2
    with pytest.warns(UserWarning, match="only 0 of the 2"):
        assert neurons.score_rows("causal", 0 * score, "b")[0]["value"] == 0


def test_curves_of_definitions_by_score():
    score = np.arange(1.0, 33).reshape(8, 4)
    rows = neurons.score_sensitivity_rows("causal", -score, "b")
    at = np.geomspace(0.32, 32, 20)
    assert [row["value"] for row in rows] == [(score > value).sum() for value in at] and rows[0]["value"] == 32
    assert [row["options"]["score"] for row in rows] == pytest.approx(at)
    rows = neurons.score_sensitivity_rows("centroid_type2", score, "b")
    assert [rows[0]["value"], rows[-1]["value"], rows[-1]["options"]["score"]] == [12, 0, pytest.approx(32)]
    scores = np.array([[[1, 1, 0], [2, 1, 0], [3, 1, 1], [0, 0, 0]]])
    rows = neurons.score_sensitivity_rows("pls", scores, "a", "abc")
    numbers = {row["options"]["ratio"]: row["value"] for row in rows}
    assert [numbers[at] for at in (1, 1.5, 2.5)] == [3, 2, 1]
    assert {row["metric"] for row in rows} == {"pls_sensitivity"} and rows[0]["options"]["varied"] == "ratio"


def test_bad_input_is_one_line():
    one = measured_from(np.ones((2, 1, 5, 1), int), np.full((2, 1), 9))
    two = run_of_checkpoints()[0]
    silent = dataclasses.replace(two, tokens_RxK=two.tokens_RxK * [1, 0])
    other = dataclasses.replace(two, languages=["a", "x"])
    for mistake, message in (
        (lambda: neurons.count_rows(one, "a"), "at least two, not 1"),
        (lambda: neurons.transferring_rows(one, "a", "a"), "at least two, not 1"),
        (lambda: neurons.pls(np.ones((1, 5, 1))), "at least two"),
        (lambda: neurons.count_rows(silent, "a"), "no counted token"),
        (lambda: neurons.count_rows(two, "c"), "unknown measured language 'c'"),
        (lambda: lape.scope_of([two], "pool"), "did you mean 'pooled'"),
        (lambda: lape.scope_of([two], "reference_checkpoint"), "name a reference checkpoint"),
        (lambda: lape.scope_of([two], "pooled", 0), "name a reference checkpoint"),
        (lambda: lape.scope_of([two], "reference_checkpoint", 1), "no checkpoint 1 among 1"),
        (lambda: lape.scope_of([two, other], "pooled"), "differ in their languages"),
        (
            lambda: neurons.count_rows(two, "a", scope=lape.scope_of([two], "pooled", draws=3)),
            "3 times only",
        ),
        (lambda: neurons.score_rows("lape_target", np.ones((2, 5)), "b"), "unknown definition"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            mistake()
        assert "\n" not in str(caught.value)


def test_lape_both_is_for_three_languages():
    """With two it is almost empty by construction."""
    two, three = run_of_checkpoints()[3], run_of_checkpoints(K=3)[3]
    assert masks_of(lape.lape(*two.whole()), 0, 1)["lape_both"].sum() == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not any(row["metric"] == "lape_both" for row in neurons.count_rows(two, "a", draws=3))
        assert any(row["metric"] == "lape_both" for row in neurons.count_rows(three, "a", draws=3))

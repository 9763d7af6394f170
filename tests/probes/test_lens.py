import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.architectures import ARCHITECTURES, FAMILIES, config_of, in_numpy, log_softmax, read

from babel_jax.common import measurements, statistics
from babel_jax.common.errors import UserError
from babel_jax.model.decoder import Decoder, DecoderConfig, init_params, unembed
from babel_jax.model.taps import TapRequest
from babel_jax.probes import forward, lens, slot_names
from babel_jax.probes.subject import Subject

CONFIG = DecoderConfig(vocab_size=29, width=16, layers=3, heads=2, ffn_width=32, max_length=10)


def loud(config, seed=0):
    """Parameters so large that the layers disagree."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(lambda: init_params(config, 0))
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(0, 0.3, leaf.shape), jnp.float32), shapes)


def make_slots(rng, n=12, length=10, vocab=29):
    position = rng.integers(1, length, n)
    tokens = rng.integers(1, vocab, (n, length)).astype(np.int32)
    tokens[np.arange(length) > position[:, None]] = 0
    return {
        "tokens": tokens,
        "position": position,
        "primary_id": rng.integers(0, 14, n),
        "new_id": rng.integers(14, vocab, n),
        "pair": np.arange(n) % 3,
        "prompt": np.arange(n) // 3,
        "subset": np.arange(n) % 2,
    }


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("tied", [True, False])
def test_last_layer_gives_the_models_logits_bit_for_bit(dtype, tied):
    config = DecoderConfig(**(vars(CONFIG) | {"dtype": dtype, "tied_head": tied, "frozen_rows": 5}))
    params = loud(config)
    tokens = np.random.default_rng(0).integers(0, 29, (4, 10))
    everywhere = np.broadcast_to(np.arange(10), tokens.shape)

    @jax.jit
    def both(params):
        logits, taps = Decoder(config).apply({"params": params}, tokens, None, TapRequest(positions_BxP=everywhere))
        return logits, jax.lax.map(lambda h: unembed(params, config, h), taps["residual_LxBxPxD"])

    logits, lens_logits = map(np.asarray, both(params))
    assert np.array_equal(lens_logits[-1], logits)
    assert not np.allclose(lens_logits[0], logits, atol=1e-2)


def test_candidates_are_log_softmax_of_every_layer():
    params, rng = loud(CONFIG), np.random.default_rng(1)
    h = rng.normal(size=(3, 2, 4, 16)).astype(np.float32)
    candidates = rng.integers(0, 29, (2, 4, 2))
    got = lens.read_candidates(params, CONFIG, jnp.asarray(h), jnp.asarray(candidates))
    for layer in range(3):
        centred = h[layer] - h[layer].mean(-1, keepdims=True)  # this layer's own statistics
        normal = centred / np.sqrt(np.square(centred).mean(-1, keepdims=True) + 1e-5)
        logits = (normal * params["ln_f_scale"] + params["ln_f_bias"]) @ params["embed_table"].T
        logits = np.asarray(logits, np.float64)
        log_prob = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        want = np.take_along_axis(log_prob, candidates, -1)
        np.testing.assert_allclose(got["log_prob_LxBxPxC"][layer], want, atol=1e-4)
        assert np.array_equal(got["argmax_LxBxP"][layer], logits.argmax(-1))


def test_rank_and_entropy_are_those_of_the_logits():
    """Among equal logits the lower id comes first, as in argmax; -1 is no candidate."""
    params, rng = loud(CONFIG), np.random.default_rng(11)
    params = dict(params) | {"embed_table": params["embed_table"].at[20:].set(params["embed_table"][:9])}
    h = jnp.asarray(rng.normal(size=(3, 2, 4, 16)), jnp.float32)
    candidates = np.broadcast_to(np.append(np.arange(29), -1), (2, 4, 30))
    got = jax.tree.map(np.asarray, lens.read_candidates(params, CONFIG, h, jnp.asarray(candidates)))
    logits = np.asarray(jax.lax.map(lambda h: unembed(params, CONFIG, h), h))
    assert (logits[..., 20:] == logits[..., :9]).all()
    order = np.argsort(-logits, axis=-1, kind="stable")
    assert np.array_equal(got["rank_LxBxPxC"][..., :29], np.argsort(order, axis=-1))
    assert (np.take_along_axis(got["rank_LxBxPxC"], got["argmax_LxBxP"][..., None], -1) == 0).all()
    assert (got["rank_LxBxPxC"][..., 29] == 29).all() and np.isneginf(got["log_prob_LxBxPxC"][..., 29]).all()
    p = np.exp(got["log_prob_LxBxPxC"][..., :29].astype(np.float64))
    np.testing.assert_allclose(p.sum(-1), 1, atol=1e-5)
    np.testing.assert_allclose(got["entropy_LxBxP"], -(p * np.log(p)).sum(-1), atol=1e-4)
    flat = lens.read_candidates(params, CONFIG, jnp.zeros((1, 1, 1, 16)), jnp.zeros((1, 1, 1), int))  # LayerNorm's bias
    assert 0 < flat["entropy_LxBxP"][0, 0, 0] < np.log(29)


def test_sets_are_summed_and_ranked_by_their_best_token():
    slots = {
        "primary_ids": np.array([[1, 5, -1], [2, -1, -1]]),
        "new_ids": np.array([[3], [4]]),
        "primary_id": np.array([9, 9]),  # the sets say it all where they are given
        "new_id": np.array([9, 9]),
    }
    candidates = lens.slot_candidates(slots)
    assert candidates.dtype == np.int32 and candidates.tolist() == [[1, 5, -1, 3, -1, -1], [2, -1, -1, 4, -1, -1]]
    rng = np.random.default_rng(0)
    log_prob = np.where(candidates < 0, -np.inf, rng.uniform(-9, -3, (4, 2, 6))).astype(np.float32)
    rank = np.where(candidates < 0, 29, rng.integers(0, 29, (4, 2, 6)))
    raw = {"log_prob_LxNxC": log_prob, "rank_LxNxC": rank, "argmax_LxN": np.zeros((4, 2))}
    got = lens.slot_readings(raw, slots)
    np.testing.assert_allclose(np.exp(got.primary_log_prob_LxN[:, 0]), np.exp(log_prob[:, 0, :2]).sum(-1), rtol=1e-6)
    assert got.primary_log_prob_LxN.dtype == np.float32
    assert np.array_equal(got.primary_log_prob_LxN[:, 1], log_prob[:, 1, 0])  # one token: bit for bit
    assert np.array_equal(got.new_log_prob_LxN, log_prob[..., 3])
    assert np.array_equal(got.primary_rank_LxN, rank[..., :3].min(-1))
    assert np.array_equal(got.new_rank_LxN, rank[..., 3]) and got.argmax_LxN is raw["argmax_LxN"]
    padded = raw | {name: np.pad(raw[name], ((0, 0), (0, 0), (0, 2))) for name in ("log_prob_LxNxC", "rank_LxNxC")}
    again = lens.slot_readings(padded, slots)  # a batch may be wider than these slots need
    assert same(again, got)
    single = lens.slot_candidates({"primary_id": np.array([1, 2]), "new_id": np.array([3, 4])})
    assert single.tolist() == [[1, 3], [2, 4]]
    nothing = lens.slot_readings(
        {"log_prob_LxNxC": np.full((1, 1, 2), -np.inf), "rank_LxNxC": np.full((1, 1, 2), 29)},
        {"primary_ids": np.array([[-1]]), "new_ids": np.array([[-1]])},
    )
    assert np.isneginf(nothing.primary_log_prob_LxN).all()


def same(first, second):
    return all(np.array_equal(value, getattr(second, name)) for name, value in vars(first).items())


def read_with_sets(rng, n=40, layers=4, vocab=29):
    """Slots with identifier sets and what a lens with random logits says about them, and those probabilities."""
    slots = make_slots(rng, n=n)
    sets = np.stack([rng.permutation(vocab)[:5] for _ in range(n)]).astype(np.int32)
    slots["primary_ids"], slots["new_ids"] = sets[:, :3], np.pad(sets[:, 3:], ((0, 0), (0, 1)), constant_values=-1)
    logits = rng.normal(0, 2, (layers, n, vocab))
    logits[:, np.arange(n)[:, None], sets] += 2
    log_prob = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    rank = np.argsort(np.argsort(-logits, axis=-1), axis=-1)
    candidates = np.broadcast_to(lens.slot_candidates(slots), (layers, n, 6))
    raw = {
        "log_prob_LxNxC": np.where(candidates < 0, -np.inf, np.take_along_axis(log_prob, candidates, -1)),
        "rank_LxNxC": np.where(candidates < 0, vocab, np.take_along_axis(rank, candidates, -1)),
        "argmax_LxN": logits.argmax(-1),
        "entropy_LxN": -(np.exp(log_prob) * log_prob).sum(-1),
    }
    return slots, lens.slot_readings(raw, slots), np.exp(log_prob)


def naive_share(metric, p_V, primary, new):
    """(numerator, denominator) of one slot and layer, from all probabilities."""
    order = np.argsort(-p_V)
    if metric in ("primary_share_prob", "primary_share_pair"):
        a, b = p_V[primary].sum(), p_V[new].sum()
        return (a / (a + b) if metric.endswith("prob") else float(a > b)), 1
    k = 1 if "argmax" in metric else int(metric.removesuffix("_coverage").rpartition("top")[2])
    first = [int(token) in primary for token in order[:k] if token in primary or token in new]
    if metric.endswith("coverage"):
        return float(bool(first)), 1
    return (float(first[0]), 1) if first else (0, 0)


def test_curves_and_numbers_of_sets_follow_from_the_probabilities():
    slots, results, p_LxNxV = read_with_sets(np.random.default_rng(12))
    slots["new_ids"][0, 1] = slots["primary_ids"][0, 2]  # one token cannot stand for both
    slots["primary_ids"][1] = -1  # nothing stands for the primary's
    rows = lens.working_language(results, slots, "b", layers=[1, 3])
    shares = (
        "primary_share_prob",
        "primary_share_pair",
        "primary_share_argmax",
        "primary_share_top5",
        "primary_share_top10",
    )
    coverages = ("argmax_coverage", "top5_coverage", "top10_coverage")
    seen = set()
    for row in rows:
        subset, metric = row["options"]["subset"], row["metric"]
        kept = [n for n in range(2, 40) if subset == "all" or slots["subset"][n] == (subset == "transfer")]
        seen.add((row["probe"], metric, subset, row["layer"]))
        if metric == "entropy":
            p = p_LxNxV[row["layer"] - 1, kept]
            want, n = -(p * np.log2(p)).sum(-1).mean(), len(kept)
        else:
            layers = (1, 3) if row["layer"] == -1 else (row["layer"],)
            sets = [[slots[f"{side}_ids"][n] for n in kept] for side in ("primary", "new")]
            parts = [
                naive_share(metric, p_LxNxV[layer - 1, n], primary[primary >= 0], new[new >= 0])
                for layer in layers
                for n, primary, new in zip(kept, *sets, strict=True)
            ]
            numerator, n = np.sum(parts, axis=0)
            want = numerator / n
        assert row["n"] == n
        assert row["value"] == pytest.approx(want), (metric, row["layer"])
        assert row["ci_low"] <= row["value"] <= row["ci_high"]
        assert (row["probe"] == "lens") == (row["layer"] > 0) == ("layers" not in row["options"])
        assert row["probe"] == "lens" or row["options"]["layers"] == "1,3"
    subsets = ("all", "shared", "transfer")
    assert seen == {
        ("lens", m, s, layer) for m in (*shares, *coverages, "entropy") for s in subsets for layer in (1, 2, 3, 4)
    } | {("working_language", m, s, -1) for m in (*shares, *coverages) for s in subsets}
    assert len(seen) == len(rows)


def test_a_number_over_one_layer_is_that_layers_point():
    slots, results, _ = read_with_sets(np.random.default_rng(13))
    rows = lens.working_language(results, slots, "b", layers=[2])
    point = {(row["metric"], row["options"]["subset"]): row for row in rows if row["layer"] == 2}
    numbers = [row for row in rows if row["probe"] == "working_language"]
    assert len(numbers) == len(point) - 3  # all but the entropy
    for row in numbers:
        same = point[row["metric"], row["options"]["subset"]]
        assert [row[name] for name in ("value", "n")] == [same[name] for name in ("value", "n")]
        assert [row["ci_low"], row["ci_high"]] == pytest.approx([same["ci_low"], same["ci_high"]])
        assert row["options"]["layers"] == "2"


def test_what_studies_have_written_so_far_stays_as_it_is():
    """The four first metrics: names, order, numbers and draws, whatever else there is."""
    rng = np.random.default_rng(8)
    slots = make_slots(rng, n=30)
    candidates = make_candidates(rng, slots)
    before = lens.working_language(candidates, slots, "b")
    beside = {name: rng.integers(0, 29, (2, 30)) for name in ("primary_rank_LxN", "new_rank_LxN", "entropy_LxN")}
    after = lens.working_language(dataclasses.replace(candidates, **beside), slots, "b")
    assert repr(after[: 3 * 4 * 2]) == repr(before[: 3 * 4 * 2])
    assert all(set(row["options"]) == {"subset"} and row["probe"] == "lens" for row in before[: 3 * 4 * 2])
    got = {row["metric"]: row for row in before[: 4 * 2] if row["layer"] == 1}
    for metric, *want in (
        ("primary_share_prob", 0.503133390959467, 30, 0.39456544231474844, 0.5990458626629127),
        ("primary_share_pair", 0.5333333333333333, 30, 0.26666666666666666, 0.7666666666666667),
        ("primary_share_argmax", 1.0, 16, 1.0, 1.0),
        ("argmax_coverage", 0.5333333333333333, 30, 0.36666666666666664, 0.7333333333333333),
    ):
        assert [got[metric][name] for name in ("value", "n", "ci_low", "ci_high")] == pytest.approx(want, abs=1e-12)


def test_choices_of_layers():
    assert lens.chosen_layers("inner", 4) == [1, 2, 3] and lens.chosen_layers("inner", 2) == [1]
    assert lens.chosen_layers("middle", 24) == list(range(6, 19)) and lens.chosen_layers("middle", 3) == [1, 2]
    assert lens.chosen_layers("inner", 1) == lens.chosen_layers("middle", 1) == [1]  # the only one there is
    assert lens.chosen_layers((3, 1), 4) == [1, 3]
    assert [lens.layers_text(layers) for layers in ([1, 2, 3], [2], [1, 3])] == ["1..3", "2", "1,3"]
    for wrong in ([], [0], [5]):
        with pytest.raises(UserError, match="choose from 1 to 4"):
            lens.chosen_layers(wrong, 4)
    with pytest.raises(UserError, match="unknown choice of layers 'midle'; did you mean 'middle'"):
        lens.chosen_layers("midle", 4)


def test_the_curves_of_a_study_are_among_those_of_probe():
    rng = np.random.default_rng(8)
    for slots, subset in ((make_slots(rng, n=30), "shared"), (make_slots(rng) | {"subset": np.zeros(12, int)}, "all")):
        candidates = make_candidates(rng, slots)
        wanted = [row for row in lens.working_language(candidates, slots, "b") if row["probe"] == "lens"]
        assert lens.share_curves(candidates, slots, "b") == [
            row for row in wanted if row["options"]["subset"] == subset
        ]


def test_one_layer_is_measured_as_the_only_one():
    slots, results, _ = read_with_sets(np.random.default_rng(14), layers=1)
    numbers = [row for row in lens.working_language(results, slots, "b") if row["probe"] == "working_language"]
    assert numbers and all(row["options"]["layers"] == "1" for row in numbers)


def test_prompts_of_unequal_length_read_as_if_each_stood_alone():
    params, slots = loud(CONFIG), make_slots(np.random.default_rng(2))
    slots["position"] = np.array([1, 4, 9] * 4)
    got = forward.measure(Subject(params, CONFIG, batch_size=5), {}, {"b": slots}).slots["b"]

    @jax.jit
    def alone_in(prompt):
        request = TapRequest(positions_BxP=jnp.full((1, 1), prompt.shape[1] - 1))
        _, taps = Decoder(CONFIG).apply({"params": params}, prompt, None, request)
        return jax.nn.log_softmax(unembed(params, CONFIG, taps["residual_LxBxPxD"]))[:, 0, 0]

    for n, position in enumerate(slots["position"]):
        alone = np.asarray(alone_in(slots["tokens"][n : n + 1, : position + 1]))
        np.testing.assert_allclose(
            got.primary_log_prob_LxN[:, n],
            alone[:, slots["primary_id"][n]],
            atol=1e-4,
        )
        np.testing.assert_allclose(got.new_log_prob_LxN[:, n], alone[:, slots["new_id"][n]], atol=1e-4)
        assert np.array_equal(got.argmax_LxN[:, n], alone.argmax(-1))


def test_padding_changes_nothing():
    params, slots = loud(CONFIG), make_slots(np.random.default_rng(3))
    padded = slots | {"tokens": slots["tokens"].copy()}
    padded["tokens"][np.arange(10) > slots["position"][:, None]] = 17
    first, second = (
        forward.measure(Subject(params, CONFIG, 17, 5), {}, {"b": s}, ("ffn",)).slots["b"] for s in (slots, padded)
    )
    assert same(first, second)


def make_candidates(rng, slots, layers=2):
    n = len(slots["pair"])
    argmax = rng.integers(0, 29, (layers, n))
    argmax[0, ::2] = slots["primary_id"][::2]
    argmax[1] = slots["new_id"]
    return lens.SlotReadings(
        primary_log_prob_LxN=np.log(rng.uniform(0.01, 0.4, (layers, n))),
        new_log_prob_LxN=np.log(rng.uniform(0.01, 0.4, (layers, n))),
        argmax_LxN=argmax,
    )


def test_working_language_is_what_its_docstring_says():
    rng = np.random.default_rng(4)
    slots = make_slots(rng, n=30)
    slots["new_id"][:4] = slots["primary_id"][:4]  # the same word in both languages says nothing
    candidates = make_candidates(rng, slots)
    rows = lens.working_language(candidates, slots, "b")
    assert rows == lens.working_language(candidates, slots, "b")
    curves = [row for row in rows if row["probe"] == "lens"]
    got = {(row["options"]["subset"], row["metric"], row["layer"]): row for row in curves}
    assert len(got) == len(curves) == 3 * 4 * 2
    for (subset, metric, layer), row in got.items():
        values = []
        for n in range(4, 30):
            if subset != "all" and slots["subset"][n] != (subset == "transfer"):
                continue
            p_primary = np.exp(candidates.primary_log_prob_LxN[layer - 1, n])
            p_new = np.exp(candidates.new_log_prob_LxN[layer - 1, n])
            top = candidates.argmax_LxN[layer - 1, n]
            hit = top in (slots["primary_id"][n], slots["new_id"][n])
            if metric == "primary_share_prob":
                values.append(p_primary / (p_primary + p_new))
            elif metric == "primary_share_pair":
                values.append(float(p_primary > p_new))
            elif metric == "argmax_coverage":
                values.append(float(hit))
            elif hit:
                values.append(float(top == slots["primary_id"][n]))
        assert row["n"] == len(values)
        assert row["value"] == pytest.approx(np.mean(values))
        assert row["ci_low"] <= row["value"] + 1e-9 and row["value"] <= row["ci_high"] + 1e-9
    frame = measurements.table([measurements.row(run="continual", seed=0, step=4, **row) for row in rows])
    assert len(frame) == len(rows)


def test_real_code_has_one_subset_and_identical_identifiers_have_none():
    rng = np.random.default_rng(5)
    slots = make_slots(rng) | {"subset": np.zeros(12, int)}
    rows = lens.working_language(make_candidates(rng, slots), slots, "b")
    assert {row["options"]["subset"] for row in rows} == {"all"}
    same = slots | {"new_id": slots["primary_id"]}
    assert lens.working_language(make_candidates(rng, same), same, "b") == []


def test_share_without_a_hit_is_nan():
    slots = make_slots(np.random.default_rng(6))
    candidates = make_candidates(np.random.default_rng(6), slots)
    candidates.argmax_LxN[:] = 28 - slots["new_id"]
    hits = (candidates.argmax_LxN == slots["primary_id"]) | (candidates.argmax_LxN == slots["new_id"])
    slots = {name: values[~hits[0]] for name, values in slots.items()}
    candidates = lens.SlotReadings(
        **{name: values[:, ~hits[0]] for name, values in vars(candidates).items() if values is not None}
    )
    rows = [r for r in lens.working_language(candidates, slots, "b") if r["metric"] == "primary_share_argmax"]
    assert all(np.isnan(row["value"]) and np.isnan(row["ci_low"]) and row["n"] == 0 for row in rows)


def test_clusters_are_resampled_not_slots():
    """100 copies of each of 4 pairs' answers are 4 observations, not 400."""
    pair, prompt = np.repeat(np.arange(4), 100), np.tile(np.arange(100), 4)
    value = np.repeat([0.1, 0.3, 0.6, 0.9], 100)
    cluster, weight = statistics.two_level_weights(pair, prompt)
    sums = statistics.cluster_sums(np.stack([value, np.ones(400)]), cluster, weight.shape[1])
    drawn = weight @ sums.T
    assert drawn[:, 1].min() == drawn[:, 1].max() == 400
    low, high = statistics.interval(drawn[:, :1] / drawn[:, 1:])
    assert high[0] - low[0] > 0.4
    spread = np.std(drawn[:, 0] / drawn[:, 1])
    assert spread == pytest.approx(np.std([0.1, 0.3, 0.6, 0.9]) / np.sqrt(4), rel=0.1)


def test_prompts_inside_a_pair_are_resampled_too():
    _, weight = statistics.two_level_weights(np.zeros(50, int), np.arange(50))
    assert (weight.sum(1) == 50).all() and weight.std(0).min() > 0.7


def test_mean_with_interval_covers_nineteen_times_in_twenty():
    rng, hits = np.random.default_rng(7), 0
    for _ in range(400):
        count = rng.integers(1, 30, 60)
        level = rng.normal(2.0, 0.5, 60)  # rows differ, so tokens of a row are not independent
        _, low, high = statistics.mean_with_interval(level * count, count)
        hits += low <= 2.0 <= high
    assert 0.91 <= hits / 400 <= 0.975
    assert np.isnan(statistics.mean_with_interval([1.0], [2.0])[1:]).all()


@pytest.mark.parametrize("family", [*FAMILIES, "olmo"])
def test_every_familys_last_lens_is_its_output_bit_for_bit(family):
    """Its own last norm, epsilon, cap and head, at every layer."""
    if family == "olmo":  # a LayerNorm without parameters
        plain = dataclasses.replace(ARCHITECTURES["llama"], norm="layer_plain")
        config = config_of("llama", architecture=plain)
    else:
        config = config_of(family)
    params, tokens = loud(config), np.random.default_rng(0).integers(0, 23, (4, 8))
    everywhere = np.broadcast_to(np.arange(8), tokens.shape)

    @jax.jit
    def both(params):
        request = TapRequest(positions_BxP=everywhere)
        logits, taps = Decoder(config).apply({"params": params}, tokens, None, request)
        return logits, jax.lax.map(lambda h: unembed(params, config, h), taps["residual_LxBxPxD"]), taps

    logits, lens_logits, taps = jax.tree.map(np.asarray, both(params))
    assert np.array_equal(lens_logits[-1], logits)
    assert not np.allclose(lens_logits[0], logits, atol=1e-2)
    candidates = jnp.broadcast_to(jnp.arange(23), (4, 8, 23))
    got = lens.read_candidates(params, config, taps["residual_LxBxPxD"], candidates)["log_prob_LxBxPxC"]
    if family != "olmo":
        want = log_softmax(read(config, params, in_numpy(config, params, tokens)[1]["h"]))
        np.testing.assert_allclose(got, want, atol=1e-4)


def slots_with_names(rng, n=40, vocab=29):
    """Slots of six pairs, two subsets and two forms, whose identifiers have names in three languages; some in two only."""
    pair = rng.integers(0, 6, n)
    names = rng.permutation(vocab)[:24].reshape(6, 4)  # two tokens for the primary's, one each for "new" and "more"
    names[5, 2] = names[4, 2]  # two pairs with one identifier
    ids = {
        "primary": names[pair, :2],
        "new": names[pair, 2:3],
        "more": np.where(pair == 3, -1, names[pair, 3])[:, None],
    }
    slots = make_slots(rng, n=n) | {"pair": pair, "prompt": np.arange(n), "spaced": np.arange(n) // 2 % 2}
    return slots | {"primary_ids": ids["primary"], "new_ids": ids["new"]} | {f"ids.{k}": v for k, v in ids.items()}


def naive_others(slots, names, n, kept):
    """The slots, one of each other pair, with which slot `n` is compared, by name of the pair."""
    own = {int(t) for name in names for t in slots[name][n]}
    found = {}
    for m in range(len(slots["pair"])):
        tokens = {int(t) for name in names for t in slots[name][m]}
        same = all(slots[name][m] == slots[name][n] for name in ("subset", "spaced"))
        if kept[m] and same and slots["pair"][m] != slots["pair"][n] and not (own & tokens) - {-1}:
            found.setdefault(int(slots["pair"][m]), m)
    return found


def naive_weights(slots, names, kept):
    """{slot: {another pair's slot: weight}}: a pair counts among the others as often as among the right ones."""
    found = {n: naive_others(slots, names, n, kept) for n in range(len(kept)) if kept[n]}
    weight = {n: {m: 1.0 for m in others.values()} for n, others in found.items() if others}
    block = {n: (slots["subset"][n], slots["spaced"][n], slots["pair"][n]) for n in weight}
    for _ in range(2000):
        for n in weight:
            total = sum(weight[n].values())
            weight[n] = {m: w / total for m, w in weight[n].items()}
        used = {}
        for n in weight:
            for m, w in weight[n].items():
                used[block[m]] = used.get(block[m], 0) + w
        for n in weight:
            for m in weight[n]:
                weight[n][m] *= list(block.values()).count(block[m]) / used[block[m]]
    return {n: {m: w / sum(of_n.values()) for m, w in of_n.items()} for n, of_n in weight.items()}


def test_control_and_languages_are_those_of_a_double_loop():
    """Over slots, layers and other pairs, from the probabilities of all tokens."""
    rng = np.random.default_rng(21)
    slots = slots_with_names(rng)
    logits = rng.normal(0, 2, (3, 40, 29))
    p_LxNxV = np.exp(logits - np.log(np.exp(logits).sum(-1, keepdims=True)))
    asked = np.concatenate([lens.slot_candidates(slots), slot_names.unranked_candidates(slots)], axis=1)
    log_prob = np.where(asked < 0, -np.inf, np.log(np.take_along_axis(p_LxNxV, np.maximum(asked, 0)[None], -1)))
    C = lens.slot_candidates(slots).shape[1]
    raw = {"log_prob_LxNxC": log_prob[..., :C], "rank_LxNxC": np.zeros((3, 40, C), int)}
    readings = lens.slot_readings(raw | {"unranked_log_prob_LxNxO": log_prob[..., C:]}, slots)
    rows = lens.working_language(readings, slots, "new", layers=[1, 2])
    got = {
        (row["metric"], row["options"].get("identifier"), row["options"]["subset"], row["layer"]): row
        for row in rows
        if "others" in row["metric"] or "concept" in row["metric"] or row["metric"].startswith("language")
    }

    def probabilities(names, layer, n, m):
        return [sum(p_LxNxV[layer, n, t] for t in slots[name][m] if t >= 0) for name in names]

    def scores(kind, names, layer, n, m, k):
        p = probabilities(names, layer, n, m)
        return p[k] / sum(p) if kind == "prob" else float(all(p[k] > other for i, other in enumerate(p) if i != k))

    checked = 0
    asked_of = [(("primary_ids", "new_ids"), 0, None, [("pair", "primary_share_others", "concept_share")])]
    asked_of[0][3].append(("prob", "primary_share_others_prob", "concept_share_prob"))
    names = ("ids.more", "ids.new", "ids.primary")
    for k, language in enumerate(("more", "new", "primary")):
        asked_of.append((names, k, language, [("pair", "language_share_others", "language_concept_share")]))
    for names, k, language, kinds in asked_of:
        kept = np.array([all((slots[name][n] >= 0).any() for name in names) for n in range(40)])
        weight = naive_weights(slots, names, kept)
        for kind, others_metric, concept_metric in kinds:
            for subset in ("all", "shared", "transfer"):
                for layers in ((0,), (1,), (2,), (0, 1)):
                    here = [n for n in weight if subset == "all" or slots["subset"][n] == (subset == "transfer")]
                    right, others = [], []
                    for layer in layers:
                        for n in here:
                            right.append(scores(kind, names, layer, n, n, k))
                            others.append(sum(w * scores(kind, names, layer, n, m, k) for m, w in weight[n].items()))
                    place = -1 if len(layers) > 1 else layers[0] + 1
                    for metric, want in (
                        (others_metric, np.mean(others)),
                        (concept_metric, np.mean(right) - np.mean(others)),
                    ):
                        row = got[metric, language, subset, place]
                        assert row["value"] == pytest.approx(want, abs=1e-7), (metric, language, subset, place)
                        assert row["n"] == len(others) and row["ci_low"] < row["ci_high"]
                        checked += 1
    for language_share, kind in (("language_share_prob", "prob"), ("language_share_first", "pair")):
        for k, language in enumerate(("more", "new", "primary")):
            here = [n for n in range(40) if slots["pair"][n] != 3]
            want = np.mean([scores(kind, names, 1, n, n, k) for n in here])
            row = got[language_share, language, "all", 2]
            assert row["value"] == pytest.approx(want) and row["n"] == len(here)
            checked += 3 * 4
    assert checked == len(got)
    sums = sum(got["language_share_prob", language, "all", 3]["value"] for language in ("more", "new", "primary"))
    assert sums == pytest.approx(1)
    assert len({repr(row) for row in lens.share_curves(readings, slots, "new")}) == 3 * (2 + 4 + 3 * 4)


def test_a_pass_reads_other_pairs_as_if_they_were_asked_alone():
    """The same numbers as those of slots with all these tokens as candidates of their own, and none where nothing is."""
    rng, params = np.random.default_rng(22), loud(CONFIG)
    slots = slots_with_names(rng, n=11)
    subject = Subject(params, CONFIG, batch_size=4)
    got = forward.measure(subject, {}, {"b": slots, "alone": {name: v[:1] for name, v in slots.items()}}).slots
    ids = slot_names.unranked_candidates(slots)
    asked = {"tokens": slots["tokens"], "position": slots["position"][:, None], "candidates": ids[:, None]}
    raw = forward.measure(subject, {}, {"b": asked}).slots["b"]
    want = slot_names.readings(raw["log_prob_LxNxPxC"][:, :, 0], slots)
    for name, values in want.items():
        np.testing.assert_allclose(getattr(got["b"], name), values, atol=1e-5)
        assert values.size and getattr(got["alone"], name).shape[1] == 1
    assert got["alone"].other_log_prob_LxNxJx2.shape[2] == 0
    assert not any(
        "others" in row["metric"] or "concept" in row["metric"]
        for row in lens.working_language(got["alone"], {name: v[:1] for name, v in slots.items()}, "alone")
    )

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from babel_jax import measurements
from babel_jax.model.decoder import (
    Decoder,
    DecoderConfig,
    TapRequest,
    init_params,
    unembed,
)
from babel_jax.probes import forward, lens, statistics

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


def test_prompts_of_unequal_length_read_as_if_each_stood_alone():
    params, slots = loud(CONFIG), make_slots(np.random.default_rng(2))
    slots["position"] = np.array([1, 4, 9] * 4)
    got = forward.measure(params, CONFIG, {}, {"b": slots}, batch_size=5)["slots"]["b"]

    @jax.jit
    def alone_in(prompt):
        request = TapRequest(positions_BxP=jnp.full((1, 1), prompt.shape[1] - 1))
        _, taps = Decoder(CONFIG).apply({"params": params}, prompt, None, request)
        return jax.nn.log_softmax(unembed(params, CONFIG, taps["residual_LxBxPxD"]))[:, 0, 0]

    for n, position in enumerate(slots["position"]):
        alone = np.asarray(alone_in(slots["tokens"][n : n + 1, : position + 1]))
        np.testing.assert_allclose(
            got["primary_log_prob_LxN"][:, n],
            alone[:, slots["primary_id"][n]],
            atol=1e-4,
        )
        np.testing.assert_allclose(got["new_log_prob_LxN"][:, n], alone[:, slots["new_id"][n]], atol=1e-4)
        assert np.array_equal(got["argmax_LxN"][:, n], alone.argmax(-1))


def test_padding_changes_nothing():
    params, slots = loud(CONFIG), make_slots(np.random.default_rng(3))
    padded = slots | {"tokens": slots["tokens"].copy()}
    padded["tokens"][np.arange(10) > slots["position"][:, None]] = 17
    first, second = (
        forward.measure(
            params,
            CONFIG,
            {},
            {"b": s},
            document_end=17,
            batch_size=5,
            activations=True,
        )["slots"]["b"]
        for s in (slots, padded)
    )
    assert all(np.array_equal(first[name], second[name]) for name in first)


def make_candidates(rng, slots, layers=2):
    n = len(slots["pair"])
    argmax = rng.integers(0, 29, (layers, n))
    argmax[0, ::2] = slots["primary_id"][::2]
    argmax[1] = slots["new_id"]
    return {
        "primary_log_prob_LxN": np.log(rng.uniform(0.01, 0.4, (layers, n))),
        "new_log_prob_LxN": np.log(rng.uniform(0.01, 0.4, (layers, n))),
        "argmax_LxN": argmax,
    }


def test_working_language_is_what_its_docstring_says():
    rng = np.random.default_rng(4)
    slots = make_slots(rng, n=30)
    slots["new_id"][:4] = slots["primary_id"][:4]  # the same word in both languages says nothing
    candidates = make_candidates(rng, slots)
    rows = lens.working_language(candidates, slots, "b")
    assert rows == lens.working_language(candidates, slots, "b")
    got = {(row["options"]["subset"], row["metric"], row["layer"]): row for row in rows}
    assert len(got) == len(rows) == 3 * 4 * 2
    for (subset, metric, layer), row in got.items():
        values = []
        for n in range(4, 30):
            if subset != "all" and slots["subset"][n] != (subset == "transfer"):
                continue
            p_primary = np.exp(candidates["primary_log_prob_LxN"][layer - 1, n])
            p_new = np.exp(candidates["new_log_prob_LxN"][layer - 1, n])
            top = candidates["argmax_LxN"][layer - 1, n]
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
    candidates["argmax_LxN"][:] = 28 - slots["new_id"]
    hits = (candidates["argmax_LxN"] == slots["primary_id"]) | (candidates["argmax_LxN"] == slots["new_id"])
    slots = {name: values[~hits[0]] for name, values in slots.items()}
    candidates = {name: values[:, ~hits[0]] for name, values in candidates.items()}
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

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import python
from helpers.architectures import FAMILIES, config_of, in_numpy, log_softmax, params_of
from helpers.passes import (
    CONFIG,
    END,
    HELDOUT,
    PLANTED,
    PLANTED_CONFIG,
    SLOTS,
    loud,
    on_these_devices,
    pass_of,
    planted_params,
)

from babel_jax.common.errors import UserError
from babel_jax.model.architecture import ACTIVATIONS
from babel_jax.model.decoder import Decoder
from babel_jax.model.taps import ACTIVE, TapRequest
from babel_jax.probes import forward, lape
from babel_jax.probes.subject import Subject
from babel_jax.training.loss import segments


def test_segments():
    tokens = np.array([[3, 1, 3, 3, 2], [1, 1, 1, 1, 1]])
    assert segments(tokens, 3).tolist() == [[0, 1, 1, 2, 3], [0, 0, 0, 0, 0]]


def test_position_weights():
    tokens, position = np.zeros((3, 4), int), np.array([0, 2, 3])
    want = [[1, 0, 0, 0], [1, 2, 3, 0], [1, 2, 3, 4]]
    assert forward.position_weights(tokens, position).tolist() == want
    assert jax.jit(forward.position_weights)(tokens, position).tolist() == want


def test_sentence_vectors_are_weighted_means_of_all_states():
    slots = SLOTS["b"]
    weight_BxT = forward.position_weights(slots["tokens"], slots["position"])
    everywhere = np.broadcast_to(np.arange(8), slots["tokens"].shape)
    request = TapRequest(positions_BxP=everywhere, sentence_BxT=weight_BxT)
    _, taps = Decoder(CONFIG).apply({"params": loud()}, slots["tokens"], None, request)
    h_LxBxTxD = np.asarray(taps["residual_LxBxPxD"], np.float64)
    for row, position in enumerate(slots["position"]):
        t = np.arange(1, position + 2)
        want_LxD = (t[:, None] * h_LxBxTxD[:, row, : position + 1]).sum(axis=1) / t.sum()
        np.testing.assert_allclose(taps["sentence_LxBxD"][:, row], want_LxD, atol=1e-5)


def test_losses_are_those_of_the_naive_loop():
    params = loud()
    measured = pass_of(params)
    for language, rows in HELDOUT.items():
        got = measured.rows[language]
        segment = [[sum(row[:t] == END) for t in range(8)] for row in rows["tokens"]]
        logits, _ = Decoder(CONFIG).apply({"params": params}, rows["tokens"][:, :-1], np.array(segment))
        log_prob = np.asarray(jax.nn.log_softmax(logits))
        for n, row in enumerate(rows["tokens"]):
            for part in ("loss", "knowledge"):
                places = [t for t in range(8) if rows[part][n, t] and row[t] != END]
                assert getattr(got, f"{part}_count")[n] == len(places)
                want = -sum(log_prob[n, t, row[t + 1]] for t in places)
                assert getattr(got, f"{part}_sum")[n] == pytest.approx(want, abs=1e-4)


def naive_counts(params):
    """Tokens with a positive FFN activation, from all activations of every row at once."""
    counts, sums, tokens = (
        np.zeros((2, 24, 2), int),
        np.zeros((2, 24, 2)),
        np.zeros(2, int),
    )
    for k, language in enumerate(("a", "b")):
        inputs = HELDOUT[language]["tokens"][:, :-1]
        everywhere = np.broadcast_to(np.arange(8), inputs.shape)
        request = TapRequest(positions_BxP=everywhere, ffn_at_positions=True)
        _, taps = Decoder(CONFIG).apply({"params": params}, inputs, segments(inputs, END), request)
        inside = (inputs != END)[None, :, :, None]
        activation = np.asarray(taps["ffn_LxBxPxF"])
        counts[:, :, k] = ((activation > 0) & inside).sum((1, 2))
        sums[:, :, k] = (activation * inside).sum((1, 2))
        tokens[k] = inside.sum()
    return counts, sums, tokens


@pytest.mark.parametrize("batch_size", [1, 6, 64])
def test_counts_are_those_of_all_activations(batch_size):
    params = loud()
    counts, sums, tokens = naive_counts(params)
    measured = pass_of(params, batch_size)
    assert measured.languages == ["a", "b"]
    assert np.array_equal(measured.active_RxLxFxK.sum(0), counts)
    assert np.array_equal(measured.tokens_RxK.sum(0), tokens)
    np.testing.assert_allclose(measured.activation_sum_RxLxFxK.sum(0), sums, rtol=1e-4, atol=1e-4)
    shards = len(measured.tokens_RxK)
    assert shards == min(forward.SHARDS, -(-29 // batch_size))
    assert (measured.tokens_RxK.sum(1) > 0).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_what_a_neuron_is_in_every_kind_of_block(family):
    """Counts, sums, losses and what is read at slots, against the model written out: what is counted is the rule's, what is
    summed and returned is the neuron's value."""
    config, params = config_of(family), params_of(family)
    subject = Subject(params, config, END, 6)
    by_activation, by_value = (forward.measure(subject, HELDOUT, SLOTS, ("ffn", "sentence"), rule) for rule in ACTIVE)
    for k, (language, rows) in enumerate(HELDOUT.items()):
        inputs, targets = rows["tokens"][:, :-1], rows["tokens"][:, 1:]
        logits, inside = in_numpy(config, params, inputs, segments(inputs, END))
        counted = inputs != END
        for measured, name in ((by_activation, "gate"), (by_value, "a")):
            asked = inside[name][:, counted]
            away = np.abs(measured.active_RxLxFxK.sum(0)[..., k] - (asked > 0).sum(1))
            assert (away <= (np.abs(asked) < 1e-5).sum(1)).all() and away.sum() <= 1
        sums = inside["a"][:, counted].sum(1)
        np.testing.assert_allclose(by_value.activation_sum_RxLxFxK.sum(0)[..., k], sums, atol=1e-4)
        loss = -np.take_along_axis(log_softmax(logits), targets[..., None], -1)[..., 0] * rows["loss"] * counted
        np.testing.assert_allclose(by_value.rows[language].loss_sum, loss.sum(1), atol=1e-4)
    for language, slots in SLOTS.items():
        _, inside = in_numpy(config, params, slots["tokens"], segments(slots["tokens"], END))
        at = (slice(None), np.arange(len(slots["position"])), slots["position"])
        np.testing.assert_allclose(by_value.slots[language].ffn_LxNxF, inside["a"][at], atol=1e-4)
        weight = forward.position_weights(slots["tokens"], slots["position"]).astype(np.float64)
        means = np.einsum("bt,lbtd->lbd", weight / weight.sum(1, keepdims=True), inside["h"])
        np.testing.assert_allclose(by_value.slots[language].sentence_LxNxD, means, atol=1e-4)
    # The two rules differ where the FFN is gated, and only there.
    assert np.array_equal(by_activation.active_RxLxFxK, by_value.active_RxLxFxK) == (family == "gpt_neox")
    assert (by_activation.rule, by_value.rule) == ({}, {"active": "value"})


def test_an_unknown_rule_is_refused():
    with pytest.raises(UserError, match="unknown rule of active neurons 'values'; did you mean 'value'"):
        forward.measure(Subject(loud(), CONFIG, END, 6), HELDOUT, {}, active="values")


def test_every_shard_holds_every_language():
    measured = pass_of(loud(), batch_size=6)
    assert measured.tokens_RxK.shape == (5, 2) and (measured.tokens_RxK > 0).all()


def test_of_heldout_rows_only_their_sums_stay_on_the_device(monkeypatch):
    """However many rows there are: what is read at positions is asked of slots alone."""
    batches, residuals = forward.row_batches, []

    def watched(*rows, **padding):
        for batch in batches(*rows, **padding):
            residuals.append(sum(array.shape == (2, 6, 1, 16) for array in jax.live_arrays()))
            yield batch

    monkeypatch.setattr(forward, "row_batches", watched)
    forward.measure(Subject(loud(), CONFIG, END, 6), HELDOUT, {}, ("residual",))
    assert len(residuals) == 5 and max(residuals) == 1  # of the batch before


def test_one_executable_for_all_checkpoints():
    forward.jitted_pass.cache_clear()
    for seed in range(2):
        params = loud(seed)
        pass_of(params)
        pass_of(jax.device_get(params))  # as restored to the host
        pass_of(jax.device_put(params, jax.devices()[0]))
        forward.measure(Subject(params, CONFIG, END, 6), {}, SLOTS)  # slots alone
    everywhere = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    assert forward.jitted_pass(CONFIG, END, (), everywhere, ACTIVE[0])._cache_size() == 1
    assert forward.jitted_pass.cache_info().currsize == 1


def test_counters_are_exact_beyond_the_integers_of_float32():
    params = loud()
    everywhere = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    step = forward.jitted_pass(CONFIG, END, (), everywhere, ACTIVE[0])
    batch = {
        "tokens": HELDOUT["a"]["tokens"][:6, :-1],
        "targets": HELDOUT["a"]["tokens"][:6, 1:],
        "loss": np.zeros((6, 8), np.float32),
        "knowledge": np.zeros((6, 8), np.float32),
        "language": np.zeros(6, np.int32),
        "shard": np.int32(0),
        "positions": np.zeros((6, 1), np.int32),
        "candidates": np.zeros((6, 1, 2), np.int32),
        "unranked": np.zeros((6, 1, 0), np.int32),
    }

    def counted_from(start):
        counters = {
            "active_RxLxFxK": jnp.full((1, 2, 24, 2), start, jnp.int32),
            "activation_sum_RxLxFxK": jnp.zeros((1, 2, 24, 2), jnp.float32),
            "tokens_RxK": jnp.full((1, 2), start, jnp.int32),
        }
        counters, _ = step(params, counters, batch)
        assert counters["active_RxLxFxK"].dtype == counters["tokens_RxK"].dtype == jnp.int32
        return np.asarray(counters["active_RxLxFxK"]) - start, np.asarray(counters["tokens_RxK"]) - start

    small, large = counted_from(0), counted_from(2**24 + 1)
    assert small[0].sum() % 2 or small[0].max() > 1
    assert all(np.array_equal(*pair) for pair in zip(small, large, strict=True))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_is_positive_where_its_input_is(name):
    rng = np.random.default_rng(0)
    z = np.concatenate([rng.normal(size=10000) * 10.0 ** rng.integers(-30, 3, 10000), [0.0, -0.0]]).astype(np.float32)
    assert np.array_equal(np.asarray(ACTIVATIONS[name](jnp.asarray(z))) > 0, z > 0)


def test_loss_rows():
    measured = pass_of(loud())
    rows = {(row["language"], row["metric"]): row for row in forward.loss_rows(measured)}
    assert set(rows) == {(k, m) for k in "ab" for m in ("loss", "loss_knowledge")}
    for (language, metric), row in rows.items():
        part = {"loss": "loss", "loss_knowledge": "knowledge"}[metric]
        values = measured.rows[language]
        assert row["n"] == getattr(values, f"{part}_count").sum()
        assert row["value"] == pytest.approx(getattr(values, f"{part}_sum").sum() / row["n"], rel=1e-5)
        assert row["ci_low"] < row["value"] < row["ci_high"]


def test_a_batch_too_large_to_count_is_refused(monkeypatch):
    monkeypatch.setattr(forward, "EXACT_TOKENS", 40)
    with pytest.raises(UserError, match="48 tokens cannot be counted exactly"):
        pass_of(loud())


def test_planted_neurons_are_found_exactly():
    rng = np.random.default_rng(0)
    heldout = {
        name: {
            "tokens": rng.integers(4 * k, 4 * k + 4, (20, 7)).astype(np.int32),
            "loss": np.ones((20, 6), bool),
            "knowledge": np.zeros((20, 6), bool),
        }
        for k, name in enumerate(("a", "b", "c"))
    }
    measured = forward.measure(Subject(planted_params(), PLANTED_CONFIG, batch_size=16), heldout, {})
    ranking = lape.lape(measured.active_RxLxFxK.sum(0), measured.tokens_RxK.sum(0))
    for k, places in PLANTED.items():
        found = ranking.chosen_xLxF & ranking.above_KxxLxF[k]
        assert np.flatnonzero(found[0]).tolist() == places
    for k, name in enumerate("abc"):  # taking one language's neurons away harms that language, and nothing else
        ablated = forward.measure(Subject(planted_params(PLANTED[k]), PLANTED_CONFIG, batch_size=16), heldout, {})
        for other in "abc":
            change = ablated.rows[other].loss_sum.sum() - measured.rows[other].loss_sum.sum()
            assert change > 1 if other == name else change == 0


EIGHT_DEVICES = """
import json, jax
from helpers import passes
from babel_jax.model import sharding
params = passes.loud()
mesh = sharding.make_mesh(data=2, fsdp=2, tensor=2)
specs = {**jax.eval_shape(lambda: params), "embed_table": jax.ShapeDtypeStruct((24, 16), "float32")}
params = jax.device_put(params, sharding.shardings(mesh, specs) | {
    "embed_table": jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(None, "fsdp"))})
jax.set_mesh(mesh)
print(json.dumps(passes.on_these_devices(params)))
"""


@pytest.mark.processes
def test_eight_devices_count_the_same_integers():
    done = python("-c", EIGHT_DEVICES, devices=8)
    assert done.returncode == 0, done.stderr[-3000:]
    one, eight = on_these_devices(loud()), json.loads(done.stdout.splitlines()[-1])
    assert (one["devices"], eight["devices"]) == (1, 8)
    for name in ("active", "tokens", "written"):
        assert one[name] == eight[name]
    for name in ("loss", "lens"):
        for language in ("a", "b"):
            np.testing.assert_allclose(one[name][language], eight[name][language], atol=1e-4)
    np.testing.assert_allclose(one["sums"], eight["sums"], rtol=1e-4, atol=1e-4)
    assert one["refused"] is None and "not divisible by the 4 devices" in eight["refused"]
    assert one["executables"] == [2, 1]  # passes over batches of 8 and of 6, greedy writing
    assert eight["executables"] == [1, 1]

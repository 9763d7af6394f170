import json
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import python

from babel_jax.common.errors import UserError
from babel_jax.model.decoder import Decoder, DecoderConfig, TapRequest, init_params
from babel_jax.probes import forward, lape
from babel_jax.probes.subject import Subject
from babel_jax.training.loss import segments

CONFIG = DecoderConfig(vocab_size=23, width=16, layers=2, heads=2, ffn_width=24, max_length=8)
END = 3


def loud(seed=0):
    """Parameters so large that neurons and layers differ."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(lambda: init_params(CONFIG, 0))
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(0, 0.3, leaf.shape), jnp.float32), shapes)


def make_heldout(seed, n):
    rng = np.random.default_rng(seed)
    loss = rng.random((n, 8)) < 0.7
    return {
        "tokens": rng.integers(0, 23, (n, 9)).astype(np.int32),
        "loss": loss,
        "knowledge": loss & (rng.random((n, 8)) < 0.3),
    }


HELDOUT = {"a": make_heldout(1, 11), "b": make_heldout(2, 18)}


def make_slots(seed, n):
    rng = np.random.default_rng(seed)
    ids = {name: rng.integers(0, 23, n) for name in ("primary_id", "new_id")}
    return {
        "tokens": rng.integers(0, 23, (n, 8)).astype(np.int32),
        "position": rng.integers(0, 8, n),
    } | ids


SLOTS = {"a": make_slots(3, 5), "b": make_slots(4, 9)}


def pass_of(params, batch_size=6, document_end=END):
    return forward.measure(Subject(params, CONFIG, document_end, batch_size), HELDOUT, SLOTS)


def test_segments():
    tokens = np.array([[3, 1, 3, 3, 2], [1, 1, 1, 1, 1]])
    assert segments(tokens, 3).tolist() == [[0, 1, 1, 2, 3], [0, 0, 0, 0, 0]]


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
    assert forward.jitted_pass(CONFIG, END, (), everywhere)._cache_size() == 1
    assert forward.jitted_pass.cache_info().currsize == 1


def test_counters_are_exact_beyond_the_integers_of_float32():
    params = loud()
    everywhere = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    step = forward.jitted_pass(CONFIG, END, (), everywhere)
    batch = {
        "tokens": HELDOUT["a"]["tokens"][:6, :-1],
        "targets": HELDOUT["a"]["tokens"][:6, 1:],
        "loss": np.zeros((6, 8), np.float32),
        "knowledge": np.zeros((6, 8), np.float32),
        "language": np.zeros(6, np.int32),
        "shard": np.int32(0),
        "positions": np.zeros((6, 1), np.int32),
        "candidates": np.zeros((6, 1, 2), np.int32),
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


def test_gelu_is_positive_where_its_input_is():
    rng = np.random.default_rng(0)
    z = np.concatenate([rng.normal(size=10000) * 10.0 ** rng.integers(-30, 3, 10000), [0.0, -0.0]]).astype(np.float32)
    assert np.array_equal(np.asarray(jax.nn.gelu(jnp.asarray(z), approximate=True)) > 0, z > 0)


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


# A decoder with one layer and no attention whose FFN neurons are set by hand: language k's tokens have the embedding
# in_k, its neurons fire on in_k alone and write out_k, and the head reads out_k as "one of k's tokens".
PLANTED = {0: [5], 1: [70], 2: [33, 250]}  # 4 neurons, 1 % of 400
PLANTED_CONFIG = DecoderConfig(
    vocab_size=12,
    width=16,
    layers=1,
    heads=1,
    ffn_width=400,
    max_length=6,
    tied_head=False,
)


def planted_params(ablate=()):
    params = jax.tree.map(jnp.zeros_like, init_params(PLANTED_CONFIG, 0))
    axes = np.eye(16, dtype=np.float32)
    into, out_of = axes[0:3] - axes[4:7], axes[8:11] - axes[12:15]
    language_of_token = np.arange(12) // 4
    kernel, bias, out = (
        np.zeros((16, 400), np.float32),
        np.full(400, -1, np.float32),
        np.zeros((400, 16), np.float32),
    )
    for k, places in PLANTED.items():
        for place in places:
            kernel[:, place], bias[place] = (
                4 * into[k],
                -10,
            )  # 12 on k's tokens; so far below 0 elsewhere that GELU is 0
            if place not in ablate:
                out[place] = out_of[k]
    bias[[1, 2, 3]] = 1  # always on
    kernel[:, 100:115], bias[100:115] = into.sum(0)[:, None], 0  # in every language
    params["embed_table"] = jnp.asarray(into[language_of_token])
    params["blocks"]["ln_2"]["scale"] = jnp.ones((1, 16))
    params["blocks"]["ffn_in"] = {
        "kernel": jnp.asarray(kernel[None]),
        "bias": jnp.asarray(bias[None]),
    }
    params["blocks"]["ffn_out"]["kernel"] = jnp.asarray(out[None])
    params["ln_f_scale"] = jnp.ones(16)
    params["head"] = jnp.asarray(out_of[language_of_token])
    return params


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
import sys, json, jax, numpy as np
sys.path[:0] = {paths!r}
import test_forward as t
from babel_jax.measuring.generate import generate, jitted_generation
from babel_jax.common.errors import UserError
from babel_jax.model import placement, sharding
from babel_jax.probes import forward
from babel_jax.probes.subject import Subject
params = t.loud()
if jax.device_count() > 1:
    mesh = sharding.make_mesh(data=2, fsdp=2, tensor=2)
    abstract = jax.eval_shape(lambda: params)
    specs = {{**abstract, "embed_table": jax.ShapeDtypeStruct((24, 16), "float32")}}
    params = jax.device_put(params, sharding.shardings(mesh, specs) | {{
        "embed_table": jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(None, "fsdp"))}})
    jax.set_mesh(mesh)
for _ in range(2):
    measured = t.pass_of(params, batch_size=8)
lengths = np.array([1, 2, 3, 4, 4, 3, 2, 1, 1])
written = generate(Subject(params, t.CONFIG, batch_size=8), t.SLOTS["b"]["tokens"][:, :4], lengths, 3)
_, everywhere = placement.layout(params, 8)
refused = None
try:
    t.pass_of(params, batch_size=6)
except UserError as error:
    refused = str(error)
print(json.dumps({{
    "active": measured.active_RxLxFxK.tolist(), "tokens": measured.tokens_RxK.tolist(),
    "sums": measured.activation_sum_RxLxFxK.tolist(),
    "loss": {{k: v.loss_sum.tolist() for k, v in measured.rows.items()}},
    "lens": {{k: v.primary_log_prob_LxN.tolist() for k, v in measured.slots.items()}},
    "written": written.tolist(), "devices": jax.device_count(), "refused": refused,
    "executables": [forward.jitted_pass(t.CONFIG, t.END, (), everywhere)._cache_size(),
                    jitted_generation(t.CONFIG, 3, -1, everywhere)._cache_size()],
}}))
"""


def run_on(devices):
    here = os.path.dirname(os.path.abspath(__file__))
    result = python("-c", EIGHT_DEVICES.format(paths=[here, os.path.dirname(here)]), devices=devices)
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads(result.stdout.splitlines()[-1])


def test_eight_devices_count_the_same_integers():
    one, eight = run_on(1), run_on(8)
    assert (one["devices"], eight["devices"]) == (1, 8)
    for name in ("active", "tokens", "written"):
        assert one[name] == eight[name]
    for name in ("loss", "lens"):
        for language in ("a", "b"):
            np.testing.assert_allclose(one[name][language], eight[name][language], atol=1e-4)
    np.testing.assert_allclose(one["sums"], eight["sums"], rtol=1e-4, atol=1e-4)
    assert one["refused"] is None and "not divisible by the 4 devices" in eight["refused"]
    assert one["executables"][0] == 2  # batches of 8 and of 6
    assert eight["executables"] == [1, 1]

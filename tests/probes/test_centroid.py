import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import loud, torch_hooks
from helpers.architectures import FAMILIES, config_of, in_numpy, params_of
from helpers.torch_hooks import BLOCKS, pair

from babel_jax.common.errors import UserError
from babel_jax.model.decoder import Decoder, DecoderConfig
from babel_jax.model.taps import TapRequest
from babel_jax.probes import centroid
from babel_jax.probes.subject import Subject

CONFIG = DecoderConfig(vocab_size=29, width=64, layers=3, heads=4, ffn_width=256, max_length=9)
RNG = np.random.default_rng(0)


def cosine(x, y):
    return float(x @ y / np.sqrt((x @ x) * (y @ y)))


def slots_of(n, seed, length=8):
    rng = np.random.default_rng(seed)
    return {
        "tokens": rng.integers(0, CONFIG.vocab_size, (n, length)).astype(np.int32),
        "position": rng.integers(0, length, n),
    }


PARAMS = loud(CONFIG, scale=0.1)
NEW, PRIMARY = slots_of(7, 1), slots_of(7, 2)


def taps_at(slots):
    """All that the oracle needs, cut by hand out of the taps of all positions: for each slot layer -> vectors."""
    everywhere = np.broadcast_to(np.arange(8), slots["tokens"].shape)
    request = TapRequest(positions_BxP=everywhere, ffn_at_positions=True, middle_at_positions=True)
    _, taps = Decoder(CONFIG).apply({"params": PARAMS}, slots["tokens"], None, request)
    names = ("residual_LxBxPxD", "middle_LxBxPxD", "ffn_LxBxPxF")
    taps = {name: np.asarray(taps[name], np.float64) for name in names}
    return [
        {name: values[:, row, position] for name, values in taps.items()}
        for row, position in enumerate(slots["position"])
    ]


@pytest.fixture(scope="module")
def taps():
    return {"new": taps_at(NEW), "primary": taps_at(PRIMARY)}


def naive_scores(texts, languages):
    """Transfer Neurons' score with all F vectors of width D written out, in float64."""
    score_LxF = np.zeros((CONFIG.layers, CONFIG.ffn_width))
    for layer in range(CONFIG.layers):
        c_D = np.mean([text["residual_LxBxPxD"][layer] for language in languages for text in language], axis=0)
        v_FxD = np.asarray(PARAMS["blocks"]["ffn_out"]["kernel"][layer], np.float64)
        for text in texts:
            h_D, a_F = text["middle_LxBxPxD"][layer], text["ffn_LxBxPxF"][layer]
            moved_FxD = h_D + a_F[:, None] * v_FxD
            score_LxF[layer] += [cosine(moved_D, c_D) - cosine(h_D, c_D) for moved_D in moved_FxD]
    return score_LxF / len(texts)


def close(got, want):
    np.testing.assert_allclose(got, want, atol=1e-5)
    for n in (10, 50):
        order = np.argsort(-want, axis=None)
        if want.flat[order[n - 1]] - want.flat[order[n]] > 1e-6:
            assert set(np.argsort(-got, axis=None)[:n]) == set(order[:n])


def test_transfer_scores_are_those_of_all_vectors_written_out(taps):
    want = {
        "centroid_type1": naive_scores(taps["new"], [taps["new"], taps["primary"]]),
        "centroid_type2": naive_scores(taps["new"], [taps["new"]]),
    }
    assert (
        np.abs(want["centroid_type1"] - want["centroid_type2"]).max() > 1e-3
        and np.abs(want["centroid_type1"]).max() > 1e-2
    )
    for kind in centroid.KINDS:
        for batch_size in (3, 16):
            close(
                centroid.transfer_scores(Subject(PARAMS, CONFIG, batch_size=batch_size), NEW, PRIMARY, kind),
                want[kind],
            )


def test_small_pushes_keep_their_digits():
    """Neurons that move the state by a millionth are still distinguished."""
    rng = np.random.default_rng(3)
    h_BxD, a_BxF, c_D = rng.normal(size=(2, 64)), 1e-5 * rng.normal(size=(2, 256)), rng.normal(size=64)
    v_FxD = 0.05 * rng.normal(size=(256, 64))
    got = centroid.push(*(jnp.asarray(x, jnp.float32) for x in (h_BxD, a_BxF, v_FxD, c_D)))
    want = [
        [cosine(h + a * v, c_D) - cosine(h, c_D) for a, v in zip(a_F, v_FxD, strict=True)]
        for h, a_F in zip(h_BxD, a_BxF, strict=True)
    ]
    np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-12)
    assert np.isfinite(centroid.push(jnp.zeros((1, 4)), jnp.ones((1, 3)), jnp.ones((3, 4)), jnp.ones(4))).all()


def score(new=NEW, primary=PRIMARY, kind="centroid_type1", params=PARAMS, batch_size=7, document_end=-1):
    return centroid.transfer_scores(Subject(params, CONFIG, document_end, batch_size), new, primary, kind)


def test_padding_order_and_items_change_nothing():
    want = score()
    padded = [NEW["tokens"].copy(), PRIMARY["tokens"].copy()]
    for tokens, slots in zip(padded, (NEW, PRIMARY), strict=True):
        tokens[np.arange(8) > slots["position"][:, None]] = 5
    np.testing.assert_allclose(score(NEW | {"tokens": padded[0]}, PRIMARY | {"tokens": padded[1]}), want, atol=1e-6)
    items = [slots | {"item": np.arange(7)} for slots in (NEW, PRIMARY)]
    for slots, order in zip(items, (RNG.permutation(7), RNG.permutation(7)), strict=True):
        slots |= {name: values[order] for name, values in slots.items()}
    alone = {"tokens": PRIMARY["tokens"][:1], "position": PRIMARY["position"][:1], "item": np.array([-1])}
    items = [{name: np.concatenate([slots[name], alone[name]]) for name in slots} for slots in items]
    np.testing.assert_allclose(score(*items), want, atol=1e-6)
    # The item decides, not the row.
    assert np.abs(score(NEW, {name: values[::-1] for name, values in PRIMARY.items()}) - want).max() < 1e-6
    fewer = {name: values[:4] for name, values in PRIMARY.items()}
    np.testing.assert_allclose(
        score(NEW | {"item": np.arange(7)}, fewer | {"item": np.arange(4)}),
        score({name: values[:4] for name, values in NEW.items()}, fewer),
        atol=1e-6,
    )


def test_permuting_neurons_permutes_the_scores():
    order = RNG.permutation(CONFIG.ffn_width)
    blocks = PARAMS["blocks"]
    ffn_in = {"kernel": blocks["ffn_in"]["kernel"][:, :, order], "bias": blocks["ffn_in"]["bias"][:, order]}
    ffn_out = blocks["ffn_out"] | {"kernel": blocks["ffn_out"]["kernel"][:, order]}
    permuted = PARAMS | {"blocks": blocks | {"ffn_in": ffn_in, "ffn_out": ffn_out}}
    np.testing.assert_allclose(score(params=permuted), score()[:, order], atol=1e-6)


def test_a_neuron_that_writes_the_centroid_scores_highest():
    """Layer 1's FFN is silenced but for neuron 17, which writes towards the mean state, and 18, which writes away."""
    blocks = PARAMS["blocks"]
    kernel = blocks["ffn_out"]["kernel"].at[:2].set(0)
    bias = blocks["ffn_in"]["bias"].at[1, 17:19].set(20.0)  # so large that they always fire

    def with_kernel(kernel):
        ffn_in, ffn_out = blocks["ffn_in"] | {"bias": bias}, blocks["ffn_out"] | {"kernel": kernel}
        return PARAMS | {"blocks": blocks | {"ffn_in": ffn_in, "ffn_out": ffn_out}}

    request = TapRequest(positions_BxP=NEW["position"][:, None])
    _, taps = Decoder(CONFIG).apply({"params": with_kernel(kernel)}, NEW["tokens"], None, request)
    c_D = taps["residual_LxBxPxD"][1, :, 0].mean(axis=0)
    kernel = kernel.at[1, 17].set(0.01 * c_D).at[1, 18].set(-0.01 * c_D)
    got = score(params=with_kernel(kernel), kind="centroid_type2")
    assert not got[0].any() and got[1, 17] > 1e-3 and got[1, 18] < -1e-3
    assert got[1].argmax() == 17 and got[1].argmin() == 18


def test_a_document_end_hides_what_stands_before_it():
    tokens = NEW["tokens"].copy()
    tokens[:, 2] = 28
    late = {"tokens": tokens, "position": np.full(7, 6)}
    other = late | {"tokens": np.concatenate([(tokens[:, :2] + 1) % 28, tokens[:, 2:]], axis=1)}
    kind = "centroid_type2"
    same = score(late, None, kind, document_end=28), score(other, None, kind, document_end=28)
    assert np.array_equal(*same)
    assert np.abs(score(late, None, kind) - score(other, None, kind)).max() > 1e-4


def test_one_executable_for_all_checkpoints_and_kinds():
    centroid._passes.cache_clear()
    for seed in range(2):
        params = loud(CONFIG, seed, 0.1)
        for kind in centroid.KINDS:
            score(params=params, kind=kind)
            score(params=jax.device_get(params), kind=kind, batch_size=7)
    everywhere = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    assert [step._cache_size() for step in centroid._passes(CONFIG, -1, everywhere)] == [1, 1]


def test_transfer_scores_refuse_what_cannot_be_scored():
    with pytest.raises(UserError, match="not parallel row by row"):
        score(primary={name: values[:3] for name, values in PRIMARY.items()})
    with pytest.raises(UserError, match="item 4 occurs twice in 'primary'"):
        score(NEW | {"item": np.arange(7)}, PRIMARY | {"item": np.array([0, 1, 4, 2, 3, 4, 5])})
    with pytest.raises(UserError, match="needs the primary language's parallel slots"):
        score(primary=None)
    with pytest.raises(UserError, match="no slots to score"):
        score(NEW | {"item": np.arange(7)}, PRIMARY | {"item": np.arange(7, 14)})


@pytest.mark.parametrize("family", FAMILIES)
def test_transfer_scores_of_every_kind_of_block(family):
    """The state that the FFN's write is added to, and what a neuron adds to it, from the model written out in NumPy."""
    config, params = config_of(family), params_of(family)
    rng = np.random.default_rng(4)
    new, primary = (
        {"tokens": rng.integers(0, 23, (5, 8)).astype(np.int32), "position": rng.integers(0, 8, 5)} for _ in range(2)
    )
    at = [(np.arange(5), slots["position"]) for slots in (new, primary)]
    inside, other = (in_numpy(config, params, slots["tokens"])[1] for slots in (new, primary))
    kernel_LxFxD = np.asarray(params["blocks"]["ffn_out"]["kernel"], np.float64)
    scale = {
        "olmo2": lambda: np.asarray(params["blocks"]["ln_2_out"]["scale"], np.float64),
        "gemma2": lambda: 1 + np.asarray(params["blocks"]["ln_2_out"]["scale"], np.float64),
    }
    want_LxF = np.zeros((2, 20))
    for layer in range(2):
        c_D = np.concatenate([inside["h"][layer][at[0]], other["h"][layer][at[1]]]).mean(0)
        for h_D, a_F, factor in zip(*(inside[name][layer][at[0]] for name in ("before", "a", "factor")), strict=True):
            for j in range(20):
                wrote_D = a_F[j] * kernel_LxFxD[layer, j]
                if family in scale:
                    wrote_D = wrote_D * factor * scale[family]()[layer]
                want_LxF[layer, j] += (cosine(h_D + wrote_D, c_D) - cosine(h_D, c_D)) / 5
    got = centroid.transfer_scores(Subject(params, config, batch_size=3), new, primary, "centroid_type1")
    assert np.abs(want_LxF).max() > 1e-2
    np.testing.assert_allclose(got, want_LxF, atol=1e-5)


@pytest.mark.oracle
@pytest.mark.parametrize("name", BLOCKS)
def test_transfer_scores_are_those_of_what_hooks_of_torch_see(name):
    """Every neuron's own write is passed through the model's norm, whose factor is what torch multiplied the whole by."""
    both, tokens = pair(name), torch_hooks.TOKENS
    slots = {"tokens": tokens, "position": np.array([3, 11, 7, 5])}
    at = (np.arange(4), slots["position"])
    want_LxF = np.zeros((both.config.layers, both.config.ffn_width))
    for layer, (a, before, after, through) in enumerate(both.writes(tokens)):
        c_D, v_FxD = after[at].mean(0), both.columns(layer)
        for a_F, h_D, through_D in zip(a[at], before[at], through[at], strict=True):
            moved_FxD = h_D + a_F[:, None] * v_FxD * through_D
            want_LxF[layer] += [(cosine(moved_D, c_D) - cosine(h_D, c_D)) / 4 for moved_D in moved_FxD]
    got = centroid.transfer_scores(Subject(both.params, both.config, batch_size=4), slots, None, "centroid_type2")
    assert np.abs(want_LxF).max() > 1e-2
    np.testing.assert_allclose(got, want_LxF, atol=2e-5)

"""Our decoder and our pass against Hugging Face's GPT2LMHeadModel: as it was computed once, and live where it is at hand.

tests/golden/make_gpt2.py made tests/golden/gpt2.npz and says what its arrays are. Tolerances as Hugging Face's own
float32 sums and ours may differ; the integers are equal but for tokens so near zero that their sign may differ, counted.
"""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden import make_gpt2
from golden.make_gpt2 import KEPT_ROWS, LANGUAGES, PAD, POSITIONS

from babel_jax.model import huggingface
from babel_jax.model.architecture import layer_norm
from babel_jax.model.decoder import Decoder, unembed
from babel_jax.model.taps import TapRequest
from babel_jax.probes import forward, lens
from babel_jax.probes.subject import Subject

ROWS = list(KEPT_ROWS)
MARGIN = 1e-3  # in log-probability, between the two most probable tokens: from there on argmax is the same


def stored():
    """What was computed once."""
    with np.load(make_gpt2.FILE) as file:
        golden = dict(file)
    state = {name: golden.pop(name) for name in list(golden) if name.startswith("weights/")}
    state = {name.removeprefix("weights/"): tensor for name, tensor in state.items()}
    hf_config = make_gpt2.SHAPE | {"model_type": "gpt2", "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5}
    return golden, huggingface.from_huggingface(state, hf_config)


def live():
    """The same computed now, with other weights and other texts."""
    for package in ("torch", "transformers"):
        pytest.importorskip(package, reason=f"no {package} here to compare with live; the stored arrays are compared")
    model, text = make_gpt2.random_model(seed=1), make_gpt2.texts(seed=1)
    return text | make_gpt2.measured(model, text), huggingface.from_huggingface(*make_gpt2.state_and_config(model))


@pytest.fixture(scope="module", params=[stored, pytest.param(live, marks=pytest.mark.oracle)], ids=["stored", "live"])
def both(request):
    """Theirs (`golden`), and what the decoder says about the same tokens (`logits_BxTxV`, `taps` at all positions)."""
    golden, (config, params) = request.param()
    tokens_BxT, K = golden["tokens_BxT"], len(LANGUAGES)
    inside_BxT = np.arange(tokens_BxT.shape[1]) < golden["length_B"][:, None]
    weight_BxTxK = inside_BxT[:, :, None] * (golden["language_B"][:, None, None] == np.arange(K))
    everywhere_BxT = np.broadcast_to(np.arange(tokens_BxT.shape[1]), tokens_BxT.shape)
    with jax.default_matmul_precision("highest"):
        logits_BxTxV, taps = jax.jit(
            lambda params, request: Decoder(config).apply({"params": params}, tokens_BxT, request=request)
        )(params, TapRequest(weight_BxTxK, everywhere_BxT, ffn_at_positions=True, middle_at_positions=True))
    return types.SimpleNamespace(
        golden=golden, config=config, params=params, logits_BxTxV=np.asarray(logits_BxTxV), taps=taps
    )


def states(both):
    """Our residual stream before the first block and after each, [J, B, T, D]."""
    return np.concatenate([both.taps["embedded_BxPxD"][None], both.taps["residual_LxBxPxD"]])


def near(ours, theirs, atol, rtol=1e-4):
    assert np.std(theirs) > 10 * atol  # no comparison of zeros
    np.testing.assert_allclose(ours, theirs, atol=atol, rtol=rtol)


def test_logits_and_every_state(both):
    near(both.logits_BxTxV[ROWS], both.golden["logits_SxTxV"], atol=2e-5)
    for ours, theirs in zip(states(both)[:, ROWS], both.golden["state_JxSxTxD"], strict=True):
        near(ours, theirs, atol=2e-5)


def test_activations_before_and_after_gelu(both):
    def chosen(x_LxBxTxC):
        return np.asarray(x_LxBxTxC)[:, np.array(ROWS)[:, None], POSITIONS]

    middle_LxSxQxD, block = chosen(both.taps["middle_LxBxPxD"]), both.params["blocks"]
    with jax.default_matmul_precision("highest"):
        for layer, middle_SxQxD in enumerate(middle_LxSxQxD):
            norm = {name: values[layer] for name, values in block["ln_2"].items()}
            x_SxQxD = layer_norm(middle_SxQxD, norm, 1e-5)
            z_SxQxF = x_SxQxD @ block["ffn_in"]["kernel"][layer] + block["ffn_in"]["bias"][layer]
            near(z_SxQxF, both.golden["z_LxSxQxF"][layer], atol=1e-5)
    near(chosen(both.taps["ffn_LxBxPxF"]), both.golden["a_LxSxQxF"], atol=1e-5)


def check_counts(active_LxFxK, sum_LxFxK, golden):
    """Counts are equal but for signs that nobody can tell; sums are float32 over a few hundred tokens."""
    off_LxFxK = np.abs(np.asarray(active_LxFxK, np.int64) - golden["active_LxFxK"])
    print(f"{golden['near_zero_LxFxK'].sum()} pre-activations of all are near zero; counts differ by {off_LxFxK.sum()}")
    assert (off_LxFxK <= golden["near_zero_LxFxK"]).all()
    assert (golden["near_zero_LxFxK"] > 0).mean() < 0.01  # nearly all counts are compared exactly
    near(sum_LxFxK, golden["activation_sum_LxFxK"], atol=2e-4)


def test_lape_counts_and_sums(both):
    assert (both.golden["active_after_LxFxK"] == both.golden["active_LxFxK"]).all()  # gelu(z) > 0 is z > 0
    check_counts(both.taps["active_LxFxK"], both.taps["activation_sum_LxFxK"], both.golden)


def test_the_whole_pass_counts_the_same(both):
    """The pass of all probes, over languages given in another order, in batches that do not fit, pads and all."""
    golden = both.golden
    tokens_BxT1 = np.pad(golden["tokens_BxT"], ((0, 0), (0, 1)), constant_values=PAD)
    everything_BxT = np.ones(golden["tokens_BxT"].shape, np.float32)
    heldout = {}
    for index in reversed(range(len(LANGUAGES))):
        mine = golden["language_B"] == index
        heldout[LANGUAGES[index]] = {
            "tokens": tokens_BxT1[mine],
            "loss": everything_BxT[mine],
            "knowledge": everything_BxT[mine],
        }
    with jax.default_matmul_precision("highest"):
        found = forward.measure(Subject(both.params, both.config, PAD, 8), heldout, {})
    order = [found.languages.index(language) for language in LANGUAGES]
    assert (found.tokens_RxK.sum(0)[order] == golden["tokens_K"]).all()
    check_counts(found.active_RxLxFxK.sum(0)[..., order], found.activation_sum_RxLxFxK.sum(0)[..., order], golden)
    log_prob_SxTxV = np.asarray(jax.nn.log_softmax(golden["logits_SxTxV"]))
    for row, log_prob_TxV in zip(ROWS, log_prob_SxTxV, strict=True):
        length, index = golden["length_B"][row], golden["language_B"][row]
        loss = -log_prob_TxV[np.arange(length), tokens_BxT1[row, 1 : length + 1]].sum()
        ours = found.rows[LANGUAGES[index]].loss_sum[row % make_gpt2.ROWS]
        np.testing.assert_allclose(ours, loss, rtol=1e-5)


def test_lens_at_the_last_token_of_prompts_of_unequal_length(both):
    golden, prompt_N = both.golden, both.golden["prompt_N"]
    last_N = golden["length_B"][prompt_N] - 1
    assert len(set(last_N.tolist())) == len(last_N)  # a lens that reads another position is seen
    h_JxNx1xD = states(both)[:, prompt_N, last_N][:, :, None]
    V = both.config.vocab_size
    all_tokens = jnp.broadcast_to(jnp.arange(V, dtype=jnp.int32), (len(prompt_N), 1, V))
    with jax.default_matmul_precision("highest"):
        read = jax.jit(lambda params, h, tokens: lens.read_candidates(params, both.config, h, tokens))(
            both.params, h_JxNx1xD, all_tokens
        )
    ours_JxNxV, theirs_JxNxV = np.asarray(read["log_prob_LxBxPxC"][:, :, 0]), golden["lens_JxNxV"]
    near(ours_JxNxV, theirs_JxNxV, atol=1e-4)
    top_JxNx2 = np.sort(theirs_JxNxV, axis=-1)[..., -2:]
    sure_JxN = top_JxNx2[..., 1] - top_JxNx2[..., 0] > MARGIN
    assert sure_JxN.mean() > 0.9
    assert (np.asarray(read["argmax_LxBxP"])[..., 0] == theirs_JxNxV.argmax(-1))[sure_JxN].all()
    apart_JxNxV = sure_JxN[..., None] & _far_from_neighbours(theirs_JxNxV)
    rank_JxNxV = np.argsort(np.argsort(-theirs_JxNxV, axis=-1), axis=-1)
    assert (np.asarray(read["rank_LxBxPxC"])[:, :, 0] == rank_JxNxV)[apart_JxNxV].all()


def _far_from_neighbours(log_prob_JxNxV):
    """Where a token's log-probability is at least 1e-4 away from every other token's."""
    order = np.argsort(log_prob_JxNxV, axis=-1)
    gap = np.diff(np.take_along_axis(log_prob_JxNxV, order, -1), axis=-1)
    wide = np.full((*gap.shape[:-1], 1), np.inf)
    nearest = np.minimum(np.concatenate([wide, gap], -1), np.concatenate([gap, wide], -1))
    far = np.empty(log_prob_JxNxV.shape, bool)
    np.put_along_axis(far, order, nearest > 1e-4, -1)
    return far


def test_the_last_layers_lens_is_the_models_logits(both):
    """Bit for bit, with the final LayerNorm applied once."""
    with jax.default_matmul_precision("highest"):
        last = jax.jit(lambda params, h: unembed(params, both.config, h))(
            both.params, both.taps["residual_LxBxPxD"][-1]
        )
    assert np.asarray(last).tobytes() == both.logits_BxTxV.tobytes()

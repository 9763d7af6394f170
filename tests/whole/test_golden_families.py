"""Our decoder against transformers', family by family: as it was computed once, and live where torch and transformers are.

tests/golden/make_families.py made tests/golden/families/ and says what its arrays are. Tolerances as transformers' own float32
sums and ours may differ; the integers are equal but for gates so near zero that their sign may differ, counted.
"""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden import verify_families
from golden.family_cases import CASES
from helpers.family_oracle import at_positions, compared, live, of_tolerance, stored, written

from babel_jax.model import huggingface, model_folders
from babel_jax.model.architecture import ACTIVATIONS, NORMS
from babel_jax.model.decoder import Decoder, unembed
from babel_jax.model.families.catalogue import BY_TYPE
from babel_jax.probes import lens
from babel_jax.training.loss import token_loss


def sources(names) -> list:
    return [
        pytest.param((source, name), id=f"{name}-{source.__name__}", marks=marks)
        for name in names
        for source, marks in ((stored, ()), (live, pytest.mark.oracle))
    ]


@pytest.fixture(scope="module", params=sources(CASES))
def both(request):
    return compared(*request.param)


def near(ours, theirs):
    assert np.std(theirs) > 1e-2  # no comparison of zeros
    assert of_tolerance(np.asarray(ours), theirs) <= 1


def test_logits_and_every_residual_stream(both):
    near(both.rows("logits_BxTxV", both.logits_BxTxV), both.golden["logits_BxTxV"])
    ours_JxBxTxD = both.rows("state_JxBxTxD", both.state_JxBxTxD)
    for ours, theirs in zip(ours_JxBxTxD, both.golden["state_JxBxTxD"], strict=True):
        near(ours, theirs)


def test_the_inside_of_every_ffn(both):
    """Gate and up are what the block computes of what its FFN reads; the product is what ablations and patches change."""
    parts, blocks = both.config.architecture, both.params["blocks"]
    middle_LxBxQxD = both.rows("gate_LxBxQxF", at_positions(both.taps["middle_LxBxPxD"]))

    def projected(name):
        dense, found = blocks[name], []
        for layer, x_BxQxD in enumerate(middle_LxBxQxD):
            if parts.input_norms:
                norm = {leaf: values[layer] for leaf, values in blocks.get("ln_2", {}).items()}
                x_BxQxD = NORMS[parts.norm].apply(x_BxQxD, norm, parts.norm_epsilon)
            found.append(x_BxQxD @ dense["kernel"][layer] + (dense["bias"][layer] if "bias" in dense else 0))
        return np.stack(found)

    into_LxBxQxF = projected("ffn_in")
    gate_LxBxQxF = projected("ffn_gate") if parts.gated else into_LxBxQxF
    near(gate_LxBxQxF, both.golden["gate_LxBxQxF"])
    value_LxBxQxF = ACTIVATIONS[parts.activation](gate_LxBxQxF)
    if parts.gated:
        near(into_LxBxQxF, both.golden["up_LxBxQxF"])
        value_LxBxQxF = value_LxBxQxF * into_LxBxQxF
    near(value_LxBxQxF, both.golden["product_LxBxQxF"])
    near(both.rows("product_LxBxQxF", at_positions(both.taps["ffn_LxBxPxF"])), both.golden["product_LxBxQxF"])


def test_lape_counts_and_sums(both):
    """A neuron is active where its gate is positive, as the reference implementation of LAPE has it."""
    golden = both.golden
    off_LxFxK = np.abs(np.asarray(both.taps["active_LxFxK"], np.int64) - golden["active_LxFxK"])
    print(f"{golden['near_zero_LxFxK'].sum()} gates of all are near zero; counts differ by {off_LxFxK.sum()}")
    assert golden["active_LxFxK"].std() > 1
    assert (off_LxFxK <= golden["near_zero_LxFxK"]).all()
    assert (golden["near_zero_LxFxK"] > 0).mean() < 0.01  # nearly all counts are compared exactly
    np.testing.assert_allclose(both.taps["activation_sum_LxFxK"], golden["value_sum_LxFxK"], atol=5e-4, rtol=1e-4)


def test_the_lens_reads_every_layer_by_the_models_own_norm_head_and_cap(both):
    h_JxBxQxD = both.rows("lens_JxBxQxV", at_positions(both.state_JxBxTxD))
    V = both.config.vocab_size
    all_tokens = jnp.broadcast_to(jnp.arange(V, dtype=jnp.int32), (*h_JxBxQxD.shape[1:3], V))
    read = jax.jit(lambda params, h, tokens: lens.read_candidates(params, both.config, h, tokens))
    with jax.default_matmul_precision("highest"):
        found = read(both.params, h_JxBxQxD, all_tokens)
    near(found["log_prob_LxBxPxC"], np.asarray(jax.nn.log_softmax(both.golden["lens_JxBxQxV"])))


def test_the_last_layers_lens_is_the_output_bit_for_bit(both):
    with jax.default_matmul_precision("highest"):
        last = jax.jit(lambda params, h: unembed(params, both.config, h))(
            both.params, both.taps["residual_LxBxPxD"][-1]
        )
    assert np.asarray(last).tobytes() == both.logits_BxTxV.tobytes()


@pytest.mark.long
def test_greedy_continuations_through_both_caches(both):
    """Token by token, beyond every window, by the probes' greedy programs and by the evaluation's sampling."""
    theirs_BxW = both.golden["written_BxW"]
    sure_BxW, ways = written(both)
    assert sure_BxW.mean() > 0.5 and len(np.unique(theirs_BxW)) > len(theirs_BxW)
    for ours_BxW in ways:
        assert (ours_BxW == theirs_BxW)[sure_BxW].all()


def test_both_spellings_of_a_config_mean_the_same_decoder(both):
    older, params = huggingface.from_huggingface(both.state, both.config_4)
    assert older == both.config
    jax.tree.map(np.testing.assert_array_equal, params, both.params)


def test_export_and_import_again_change_nothing(both, tmp_path):
    model_folders.write_model(tmp_path / "first", both.config, both.params)
    config, params = model_folders.read_model(tmp_path / "first")
    assert config == both.config
    model_folders.write_model(tmp_path / "second", config, params)
    first, second = (
        {file.name: file.read_bytes() for file in (tmp_path / name).iterdir()} for name in ("first", "second")
    )
    assert first == second


@pytest.mark.oracle
@pytest.mark.parametrize("name", CASES)
def test_transformers_computes_the_same_bits_of_what_we_export(name, tmp_path):
    both = compared(live, name)
    import torch
    import transformers

    model_folders.write_model(tmp_path, both.config, both.params)
    how = dict(attn_implementation="eager", dtype=torch.float32)
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, **how).eval()
    with torch.no_grad():
        logits_BxTxV = model(
            torch.from_numpy(both.golden["tokens_BxT"].astype(np.int64)), use_cache=False
        ).logits.numpy()
    assert np.array_equal(logits_BxTxV, both.golden["logits_BxTxV"])


@pytest.mark.long
@pytest.mark.parametrize("source", sources(name for name, case in CASES.items() if case.gradients))
def test_gradients_of_the_loss(source):
    both = compared(*source)
    theirs = {name.removeprefix("gradient/"): x for name, x in both.golden.items() if name.startswith("gradient/")}
    tokens_BxT = both.golden["tokens_BxT"]

    def loss(params):
        logits_BxTxV, _ = Decoder(both.config).apply({"params": params}, tokens_BxT)
        return token_loss(logits_BxTxV[:, :-1], tokens_BxT[:, 1:]).mean()

    with jax.default_matmul_precision("highest"):
        ours = jax.jit(jax.grad(loss))(jax.tree.map(jnp.asarray, both.params))
    _, theirs = huggingface.from_huggingface(
        theirs, both.config_5
    )  # a change of names and of layout, of gradients as of weights
    for path, expected in jax.tree_util.tree_leaves_with_path(theirs):
        found = ours
        for key in path:
            found = found[key.key]
        # A bias of keys shifts all scores of a query alike, which changes no weight of attention: its gradient is rounding.
        assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max() + 1e-7, jax.tree_util.keystr(path)


def test_every_family_has_cases_and_a_record_of_them():
    """The record is what the page of families quotes; it is written again by `python -m golden.verify_families` in tests/."""
    assert set(BY_TYPE) == {case.family for case in CASES.values()}
    record = json.loads(verify_families.RECORD.read_text())
    assert {family: set(found["cases"]) for family, found in record["families"].items()} == {
        family: {name for name, case in CASES.items() if case.family == family} for family in BY_TYPE
    }
    for found in record["families"].values():
        assert max(found["logits"]["of_tolerance"], found["residual"]["of_tolerance"]) < 1
        assert found["counts_differing"] <= found["gates_near_zero"] and not found["tokens_differing"]

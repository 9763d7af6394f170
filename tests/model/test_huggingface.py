"""GPT-2 weights of Hugging Face to ours and back; that they mean the same is tests/whole/test_golden.py."""

import dataclasses
import json

import jax
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
from helpers import SMALL, by_path, loud, make_run, same, small_material, train

from babel_jax.common.errors import UserError
from babel_jax.model import huggingface, model_folders
from babel_jax.model.decoder import Decoder
from babel_jax.model.families.catalogue import BY_TYPE
from babel_jax.training import foreign
from babel_jax.training.checkpoint import Checkpoints, restore_params
from babel_jax.training.runs import is_done, last_step

# A ffn_width that is not four times the width, two heads tied and not: every field of the config matters.
TIED = dataclasses.replace(SMALL, tied_head=True, ffn_width=48)


def theirs(config=TIED):
    """A state dict and config of theirs, of which every number is another."""
    return huggingface.to_huggingface(config, loud(config))


@pytest.mark.parametrize("config", [TIED, SMALL])
def test_there_and_back_is_bit_identical(config):
    params = loud(config)
    state, hf_config = huggingface.to_huggingface(config, params)
    back_config, back = huggingface.from_huggingface(state, hf_config)
    assert back_config == config
    assert same(by_path(params), by_path(back))
    again, again_config = huggingface.to_huggingface(back_config, back)
    assert same(state, again) and hf_config == again_config
    assert ("lm_head.weight" in state) == (not config.tied_head) == (not hf_config["tie_word_embeddings"])


def test_names_and_shapes_are_those_of_gpt2lmheadmodel():
    state, hf_config = theirs()
    D, F, V, T, L = TIED.width, TIED.ffn_width, TIED.vocab_size, TIED.max_length, TIED.layers
    block = {
        "ln_1.weight": (D,),
        "ln_1.bias": (D,),
        "attn.c_attn.weight": (D, 3 * D),
        "attn.c_attn.bias": (3 * D,),
        "attn.c_proj.weight": (D, D),
        "attn.c_proj.bias": (D,),
        "ln_2.weight": (D,),
        "ln_2.bias": (D,),
        "mlp.c_fc.weight": (D, F),
        "mlp.c_fc.bias": (F,),
        "mlp.c_proj.weight": (F, D),
        "mlp.c_proj.bias": (D,),
    }
    expected = {f"transformer.h.{layer}.{name}": shape for layer in range(L) for name, shape in block.items()}
    expected |= {"transformer.wte.weight": (V, D), "transformer.wpe.weight": (T, D)}
    expected |= {"transformer.ln_f.weight": (D,), "transformer.ln_f.bias": (D,)}
    assert {name: tensor.shape for name, tensor in state.items()} == expected
    assert hf_config["n_inner"] == F and hf_config["activation_function"] == "gelu_new"


def test_what_stands_in_files_beside_the_weights_is_no_matter():
    state, hf_config = theirs()
    _, params = huggingface.from_huggingface(state, hf_config)
    bare = {name.removeprefix("transformer."): tensor for name, tensor in state.items()}
    assert same(by_path(huggingface.from_huggingface(bare, hf_config)[1]), by_path(params))
    masks = {"transformer.h.0.attn.bias": np.ones((1, 1, 4, 4), bool), "h.1.attn.masked_bias": np.float32(-1e4)}
    tied = {"lm_head.weight": state["transformer.wte.weight"]}
    assert same(by_path(huggingface.from_huggingface(state | masks | tied, hf_config)[1]), by_path(params))
    with pytest.raises(UserError, match="tie_word_embeddings"):
        huggingface.from_huggingface(state | {"lm_head.weight": 1 + tied["lm_head.weight"]}, hf_config)


def test_frozen_rows_are_the_last_rows_of_the_exported_table():
    config = dataclasses.replace(TIED, frozen_rows=10)
    params = loud(config)
    plain_config, merged = huggingface.from_huggingface(*huggingface.to_huggingface(config, params))
    assert plain_config == TIED and "embed_frozen" not in merged
    assert (merged["embed_table"][-10:] == params["embed_frozen"]).all()
    tokens_BxT = np.arange(24, dtype=np.int32).reshape(2, 12) * 2
    logits = [
        Decoder(shape).apply({"params": leaves}, tokens_BxT)[0]
        for shape, leaves in ((config, params), (plain_config, merged))
    ]
    assert (np.asarray(logits[0]) == np.asarray(logits[1])).all()


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_half_precision_is_read_exactly(dtype, tmp_path):
    state, hf_config = theirs()
    half = {name: tensor.astype(dtype) for name, tensor in state.items()}
    safetensors.numpy.save_file(half, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(hf_config))
    exact = {name: tensor.astype(np.float32) for name, tensor in half.items()}
    _, params = model_folders.read_model(tmp_path)
    assert same(by_path(params), by_path(huggingface.from_huggingface(exact, hf_config)[1]))


@pytest.mark.parametrize(
    "field, value",
    [
        ("activation_function", "quick_gelu"),
        ("scale_attn_by_inverse_layer_idx", True),
        ("scale_attn_weights", False),
        ("layer_norm_epsilon", 0),
        ("add_cross_attention", True),
        ("a_new_key", 1),
        ("model_type", "llama"),
        ("n_layer", None),
        ("n_head", 3),
        ("n_embd", 32),
        ("n_inner", 64),
        ("n_layer", 1),
        ("n_layer", 3),
        ("tie_word_embeddings", False),
    ],
)
def test_what_the_decoder_does_not_do_is_refused_in_one_line(field, value):
    state, hf_config = theirs()
    with pytest.raises(UserError) as refused:
        huggingface.from_huggingface(state, hf_config | {field: value})
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda state: state.pop("transformer.ln_f.bias"), "lack ln_f.bias;"),
        (
            lambda state: state.update({"transformer.h.0.mlp.c_gate.weight": np.zeros(2)}),
            "hold.* h.0.mlp.c_gate.weight;",
        ),
        (lambda state: state.update({"transformer.wpe.weight": np.zeros((11, 16), np.float32)}), r"wpe.*\(11, 16\)"),
        (lambda state: state.update({"transformer.ln_f.bias": np.zeros(16)}), "float64"),
    ],
)
def test_wrong_tensors_are_named(change, message):
    state, hf_config = theirs()
    change(state)
    with pytest.raises(UserError, match=message):
        huggingface.from_huggingface(state, hf_config)


def test_folders_there_and_back(tmp_path):
    params = loud(TIED)
    # Leaves in another order of memory, as a transposed matrix of another program is.
    strided = jax.tree.map(np.asfortranarray, params)
    model_folders.write_model(tmp_path / "whole", TIED, strided)
    config, back = model_folders.read_model(tmp_path / "whole")
    assert config == TIED and same(by_path(params), by_path(back))
    with pytest.raises(UserError, match="exists already"):
        model_folders.write_model(tmp_path / "whole", TIED, params)

    parts, (state, hf_config) = tmp_path / "parts", huggingface.to_huggingface(TIED, params)
    parts.mkdir()
    names = sorted(state)
    where = {name: f"model-0000{1 + index % 2}-of-00002.safetensors" for index, name in enumerate(names)}
    for part in set(where.values()):
        mine = {name: np.ascontiguousarray(state[name]) for name in names if where[name] == part}
        safetensors.numpy.save_file(mine, parts / part)
    (parts / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))
    (parts / "config.json").write_text(json.dumps(hf_config))
    assert same(by_path(model_folders.read_model(parts)[1]), by_path(params))

    (parts / "model-00002-of-00002.safetensors").write_bytes(b"cut short")
    with pytest.raises(UserError, match="cannot read .*model-00002"):
        model_folders.read_model(parts)
    (parts / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(UserError, match="cannot read .*model-00002"):
        model_folders.read_model(parts)
    (parts / "model.safetensors.index.json").unlink()
    with pytest.raises(UserError, match="no model.safetensors"):
        model_folders.read_model(parts)
    with pytest.raises(UserError, match="no config.json"):
        model_folders.read_model(tmp_path)


def test_an_imported_model_is_a_finished_run_with_one_checkpoint(tmp_path):
    params = loud(TIED)
    model_folders.write_model(tmp_path / "hf", TIED, params)
    run = tmp_path / "run"
    foreign.import_run(tmp_path / "hf", run)
    assert is_done(run) and last_step(run) == 0
    checkpoints = Checkpoints(run)
    assert checkpoints.steps() == [0]
    about = checkpoints.metadata(0)
    checkpoints.close()
    assert (about.step, about.tokens, about.tokens_by_language, about.model) == (0, 0, {}, TIED.to_json())
    restored = restore_params(run, 0, jax.tree.map(jax.numpy.zeros_like, params), TIED.to_json())
    assert same(by_path(restored), by_path(params))
    with pytest.raises(UserError, match="holds a run already"):
        foreign.import_run(tmp_path / "hf", run)
    foreign.export_run(run, 0, tmp_path / "back")
    assert (tmp_path / "back/model.safetensors").read_bytes() == (tmp_path / "hf/model.safetensors").read_bytes()
    assert (tmp_path / "back/config.json").read_text() == (tmp_path / "hf/config.json").read_text()


def test_a_trained_run_is_exported(tmp_path):
    train(make_run(steps=2), small_material(), tmp_path / "run")
    foreign.export_run(tmp_path / "run", 2, tmp_path / "hf")
    config, params = model_folders.read_model(tmp_path / "hf")
    checkpoints = Checkpoints(tmp_path / "run")
    model = checkpoints.metadata(2).model
    checkpoints.close()
    assert (config.vocab_size, config.frozen_rows) == (model["vocab_size"], 0)
    assert params["embed_table"].shape == (config.vocab_size, config.width)
    with pytest.raises(UserError, match=r"no checkpoint 1 .*\[2\]"):
        foreign.export_run(tmp_path / "run", 1, tmp_path / "other")


@pytest.mark.oracle
@pytest.mark.parametrize("tied", [True, False])
def test_hugging_face_reads_and_writes_the_same_model(tied, tmp_path):
    """Live, where torch and transformers are installed: folders of save_pretrained, whole and in parts, and of ours."""
    for package in ("torch", "transformers"):
        pytest.importorskip(package, reason=f"no {package} here to read and write folders of Hugging Face")
    import torch
    import transformers

    shape = dict(n_layer=2, n_embd=16, n_head=2, vocab_size=40, n_positions=12, bos_token_id=None, eos_token_id=None)
    torch.manual_seed(0)
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**shape, tie_word_embeddings=tied)).eval()
    expected = model(torch.arange(12)[None]).logits.detach().numpy()
    model.save_pretrained(tmp_path / "whole")
    model.save_pretrained(tmp_path / "parts", max_shard_size="8KB")
    assert len(list((tmp_path / "parts").glob("*.safetensors"))) > 1
    config, params = model_folders.read_model(tmp_path / "whole")
    assert config.tied_head == tied
    assert same(by_path(params), by_path(model_folders.read_model(tmp_path / "parts")[1]))
    logits, _ = Decoder(config).apply({"params": params}, np.arange(12)[None])
    np.testing.assert_allclose(logits, expected, atol=2e-5)

    model_folders.write_model(tmp_path / "ours", config, params)
    again = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "ours").eval()
    assert torch.equal(again(torch.arange(12)[None]).logits, torch.from_numpy(expected))
    # Wider FFN than GPT-2's, and rows that were frozen here: what only our decoder has.
    own = dataclasses.replace(SMALL, tied_head=tied, frozen_rows=10, ffn_width=48)
    model_folders.write_model(tmp_path / "own", own, loud(own))
    theirs = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "own").eval()
    logits, _ = Decoder(own).apply({"params": loud(own)}, np.arange(30, 42)[None])
    np.testing.assert_allclose(theirs(torch.arange(30, 42)[None]).logits.detach(), logits, atol=2e-5, rtol=1e-4)


# --- advice that leads to success -------------------------------------------------------------------------------------------


def test_a_tied_table_may_stand_under_either_of_its_names():
    state, hf_config = theirs()
    table = state.pop("transformer.wte.weight")
    config, params = huggingface.from_huggingface(state | {"lm_head.weight": table}, hf_config)
    assert config == TIED and same(by_path(params), by_path(loud(TIED)))


def transposed(state):
    return {name: tensor.T if "c_" in name and tensor.ndim == 2 else tensor for name, tensor in state.items()}


def without(state, name):
    return {known: tensor for known, tensor in state.items() if known != name}


UNTIED = dataclasses.replace(TIED, tied_head=False)
WTE, HEAD = "transformer.wte.weight", "lm_head.weight"
# name: the model, what was done to its tensors and config, what the error advises, and that done.
ADVICE = {
    "two tables": (
        UNTIED, lambda state: state, dict(tie_word_embeddings=True),
        "set tie_word_embeddings to false", lambda state: state, dict(tie_word_embeddings=False),
    ),
    "no head": (
        TIED, lambda state: state, dict(tie_word_embeddings=False),
        "set tie_word_embeddings to true", lambda state: state, dict(tie_word_embeddings=True),
    ),
    "no table": (
        TIED, lambda state: without(state, WTE) | {HEAD: state[WTE]}, dict(tie_word_embeddings=False),
        "set tie_word_embeddings to true", lambda state: state, dict(tie_word_embeddings=True),
    ),
    "nonsense about tying": (
        TIED, lambda state: state, dict(tie_word_embeddings=None),
        "set it to true or false", lambda state: state, dict(tie_word_embeddings=True),
    ),
    "fewer layers": (
        TIED, lambda state: state, dict(n_layer=1), "are of 2 layers and its config has n_layer = 1; check that config.json",
        lambda state: state, dict(n_layer=2),
    ),
    "more layers": (
        TIED, lambda state: state, dict(n_layer=3), "are of 2 layers and its config has n_layer = 3; check that config.json",
        lambda state: state, dict(n_layer=2),
    ),
    "another width": (
        TIED, lambda state: state, dict(n_embd=32), "check that config.json is this model's",
        lambda state: state, dict(n_embd=16),
    ),
    "heads that do not fit": (
        TIED, lambda state: state, dict(n_head=3), "which n_head = 3 does not divide; check that config.json",
        lambda state: state, dict(n_head=4),
    ),
    "no heads": (TIED, lambda state: state, dict(n_head=0), "n_head = 0; check", lambda state: state, dict(n_head=4)),
    "a size that is no number": (
        TIED, lambda state: state, dict(n_inner="48"), "n_inner = '48'; check", lambda state: state, dict(n_inner=48)
    ),
    "a tensor too many": (
        TIED, lambda state: state | {"score.weight": np.zeros(3, np.float32)}, {}, "hold score.weight; .* save it without",
        lambda state: without(state, "score.weight"), {},
    ),
    "two of one name": (
        TIED, lambda state: state | {"wpe.weight": np.zeros((12, 16), np.float32)}, {}, "two different wpe.weight, .* delete one",
        lambda state: without(state, "wpe.weight"), {},
    ),
    "matrices of a Linear": (TIED, transposed, {}, r"are \[in, out\]: transpose them all", transposed, {}),
    "doubles": (
        TIED, lambda state: {name: tensor.astype(np.float64) for name, tensor in state.items()}, {}, "save the model in float32",
        lambda state: {name: tensor.astype(np.float32) for name, tensor in state.items()}, {},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ADVICE)
def test_an_advice_that_is_followed_leads_to_the_model(case):
    config, change, settings, advice, follow, corrected = ADVICE[case]
    state, hf_config = theirs(config)
    state, hf_config = change(state), hf_config | settings
    with pytest.raises(UserError, match=advice) as error:
        huggingface.from_huggingface(state, hf_config)
    assert "\n" not in str(error.value)
    found, params = huggingface.from_huggingface(follow(state), hf_config | corrected)
    assert found == config and same(by_path(params), by_path(loud(config)))


# --- other families ---------------------------------------------------------------------------------------------------------


def of(family: str, **changes):
    """(config, state dict, config.json) of a small model of a family, of which no two numbers are alike."""
    architecture = BY_TYPE[family].scratch(SMALL.width, 4, SMALL.layers)
    config = dataclasses.replace(SMALL, architecture=architecture, **changes)
    return config, *huggingface.to_huggingface(config, loud(config))


def test_names_of_older_files_and_constants_in_them_are_no_matter():
    config, state, hf_config = of("gpt_neox")
    _, params = huggingface.from_huggingface(state, hf_config)
    assert state["gpt_neox.layers.1.attention.query_key_value.weight"].shape == (48, 16) and "embed_out.weight" in state
    newer = without(state, "embed_out.weight") | {"lm_head.weight": state["embed_out.weight"]}
    constants = {
        "gpt_neox.layers.0.attention.bias": np.ones((1, 1, 4, 4), bool),
        "gpt_neox.layers.0.attention.masked_bias": np.float32(-1e9),
        "layers.1.attention.rotary_emb.inv_freq": np.ones(2, np.float64),
    }
    assert same(by_path(huggingface.from_huggingface(newer | constants, hf_config)[1]), by_path(params))
    with pytest.raises(UserError, match="two different embed_out.weight, under two of its names; delete one"):
        huggingface.from_huggingface(state | {"lm_head.weight": 1 + state["embed_out.weight"]}, hf_config)
    config, state, hf_config = of("llama")
    state |= {"model.layers.0.self_attn.rotary_emb.inv_freq": np.ones(2, np.float64)}
    assert huggingface.from_huggingface(state, hf_config)[0] == config


def test_padded_rows_are_read_where_the_config_counts_them():
    """transformers refuses a table with more rows than vocab_size, too."""
    config, state, hf_config = of("llama")
    with pytest.raises(
        UserError, match="embed_tokens.weight has 48 rows and .* vocab_size = 45; set it to 48 in config.json"
    ):
        huggingface.from_huggingface(state, hf_config | {"vocab_size": 45})
    assert huggingface.from_huggingface(state, hf_config | {"vocab_size": 48})[0] == config


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda state: without(state, "model.layers.0.mlp.up_proj.weight"), "lack layers.0.mlp.up_proj.weight; save the Llama"),
        (lambda state: state | {"model.layers.0.self_attn.q_proj.bias": np.zeros(16, np.float32)}, "hold layers.0.*q_proj.bias"),
        (
            lambda state: {name: x.T if "mlp" in name else x for name, x in state.items()},
            r"matrices of a LlamaForCausalLM are \[out, in\]: transpose",
        ),
        (lambda state: without(state, "lm_head.weight"), "lack lm_head.weight .* set tie_word_embeddings to true"),
    ],
)  # fmt: skip
def test_wrong_tensors_of_any_family_are_named(change, message):
    config, state, hf_config = of("llama")
    with pytest.raises(UserError, match=message):
        huggingface.from_huggingface(change(state), hf_config)

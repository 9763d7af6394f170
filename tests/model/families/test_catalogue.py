"""Which families are read: configs of each there and back, of published models, and what is refused in one line."""

import dataclasses
import json

import numpy as np
import pytest
from golden import make_families
from golden.family_cases import CASES, config_4
from helpers import SMALL, by_path, same

from babel_jax.common.errors import UserError
from babel_jax.model import huggingface, model_folders
from babel_jax.model.architecture import Architecture
from babel_jax.model.decoder import DecoderConfig
from babel_jax.model.families import catalogue
from babel_jax.model.families.catalogue import BY_TYPE, FAMILIES
from babel_jax.model.families.family import leaf_shapes

FAMILY = {family.model_type: family for family in FAMILIES}


def of_case(name: str) -> dict:
    """A case's config.json. GPT-2 calls one of the keys that all cases have otherwise."""
    keys = {
        "n_positions" if key == "max_position_embeddings" and "n_embd" in CASES[name].arguments else key: value
        for key, value in CASES[name].config_5.items()
    }
    return {"model_type": CASES[name].family, "architectures": [CASES[name].architecture]} | keys


def read(hf_config: dict) -> DecoderConfig:
    return catalogue.read_config(json.loads(json.dumps(hf_config)))[1]


@pytest.mark.parametrize("name", CASES)
def test_configs_there_and_back_in_both_spellings(name):
    config = read(of_case(name))
    assert read(config_4(CASES[name], of_case(name))) == config
    family = catalogue.of(config)
    assert family.model_type == CASES[name].family
    written = catalogue.written(family, config)
    assert read(written) == config
    for spelling in ("rope_parameters", "rope_scaling"):  # a program may know but one of the two
        alone = {key: value for key, value in written.items() if key != spelling}
        assert read(alone) == config
    assert read(DecoderConfig.from_json(config.to_json()) and written) == config


@pytest.mark.parametrize("name", CASES)
def test_parameters_there_and_back_are_bit_identical(name):
    config = read(of_case(name))
    rng, shapes = np.random.default_rng(0), leaf_shapes(config)
    # No two numbers alike.
    params = huggingface.tree({path: rng.normal(size=shape).astype(np.float32) for path, shape in shapes.items()})
    state, hf_config = huggingface.to_huggingface(config, params)
    back_config, back = huggingface.from_huggingface(state, hf_config)
    assert back_config == config and same(by_path(params), by_path(back))
    again, again_config = huggingface.to_huggingface(back_config, back)
    assert same(state, again) and hf_config == again_config


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.model_type)
def test_what_is_trained_from_scratch_is_of_its_family(family):
    parts = family.scratch(24, 8, 6)
    sizes = dict(vocab_size=48, width=24, layers=6, heads=3, ffn_width=32, max_length=12)
    config = DecoderConfig(
        **sizes, architecture=parts, frozen_rows=2, dtype="bfloat16", remat="full", attention="cudnn"
    )
    found = catalogue.of(config)
    # Mistral's window and SmolLM3's layers are all that they have of their own.
    assert found.model_type == family.model_type
    assert all(kind.rope is None or kind.rope.theta >= 1e4 for kind in parts.kinds)
    assert family.tensors(config)


def test_scratch_turns_an_even_part_of_a_head():
    for width in range(2, 200, 2):
        parts = BY_TYPE["gpt_neox"].scratch(4 * width, width, 2)
        assert parts.rope_width % 2 == 0 and abs(parts.rope_width - width / 4) <= 1.5
        config = DecoderConfig(48, 4 * width, 2, 4, 32, 12, architecture=parts)
        assert catalogue.of(config).model_type == "gpt_neox"


def test_what_no_family_has_is_named():
    parts = dataclasses.replace(BY_TYPE["llama"].scratch(16, 4, 2), parallel=True)
    with pytest.raises(UserError, match="no family .* the nearest is llama, but for parallel = true") as refused:
        catalogue.of(dataclasses.replace(SMALL, architecture=parts))
    assert "\n" not in str(refused.value)
    assert catalogue.of(SMALL).model_type == "gpt2" and SMALL.architecture == Architecture()


# --- configs of published models, as their config.json says -------------------------------------------------------------------

COMMON = {"use_cache": True, "initializer_range": 0.02, "torch_dtype": "bfloat16", "transformers_version": "4.45.1"}
SMOLLM2 = {
    "architectures": ["LlamaForCausalLM"], "attention_bias": False, "attention_dropout": 0.0, "bos_token_id": 0,
    "eos_token_id": 0, "hidden_act": "silu", "hidden_size": 576, "initializer_range": 0.041666666666666664,
    "intermediate_size": 1536, "is_llama_config": True, "max_position_embeddings": 8192, "mlp_bias": False,
    "model_type": "llama", "num_attention_heads": 9, "num_hidden_layers": 30, "num_key_value_heads": 3, "pretraining_tp": 1,
    "rms_norm_eps": 1e-05, "rope_interleaved": False, "rope_scaling": None, "rope_theta": 100000, "tie_word_embeddings": True,
    "vocab_size": 49152, "_name_or_path": "here",
}  # fmt: skip
OPENCODER = SMOLLM2 | {
    "hidden_size": 2240, "intermediate_size": 6144, "max_position_embeddings": 4096, "num_attention_heads": 14,
    "num_hidden_layers": 24, "num_key_value_heads": 14, "rope_theta": 10000, "tie_word_embeddings": False, "vocab_size": 96640,
}  # fmt: skip
LLAMA_3_1 = SMOLLM2 | {
    "hidden_size": 4096, "intermediate_size": 14336, "max_position_embeddings": 131072, "num_attention_heads": 32,
    "num_hidden_layers": 32, "num_key_value_heads": 8, "rope_theta": 500000.0, "tie_word_embeddings": False,
    "vocab_size": 128256, "eos_token_id": [128001, 128008, 128009],
    "rope_scaling": {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192,
                     "rope_type": "llama3"},
}  # fmt: skip
PYTHIA = {
    "architectures": ["GPTNeoXForCausalLM"], "bos_token_id": 0, "eos_token_id": 0, "hidden_act": "gelu", "hidden_size": 768,
    "intermediate_size": 3072, "layer_norm_eps": 1e-05, "max_position_embeddings": 2048, "model_type": "gpt_neox",
    "num_attention_heads": 12, "num_hidden_layers": 12, "rotary_emb_base": 10000, "rotary_pct": 0.25,
    "tie_word_embeddings": False, "use_parallel_residual": True, "vocab_size": 50304, "classifier_dropout": 0.1,
}  # fmt: skip
OLMO_2 = {
    "architectures": ["Olmo2ForCausalLM"], "attention_bias": False, "attention_dropout": 0.0, "eos_token_id": 100257,
    "hidden_act": "silu", "hidden_size": 2048, "intermediate_size": 8192, "max_position_embeddings": 4096,
    "model_type": "olmo2", "num_attention_heads": 16, "num_hidden_layers": 16, "num_key_value_heads": 16,
    "pad_token_id": 100277, "rms_norm_eps": 1e-06, "rope_scaling": None, "rope_theta": 500000, "tie_word_embeddings": False,
    "vocab_size": 100352,
}  # fmt: skip
QWEN_2_5 = {
    "architectures": ["Qwen2ForCausalLM"], "attention_dropout": 0.0, "bos_token_id": 151643, "eos_token_id": 151643,
    "hidden_act": "silu", "hidden_size": 896, "intermediate_size": 4864, "max_position_embeddings": 32768,
    "max_window_layers": 24, "model_type": "qwen2", "num_attention_heads": 14, "num_hidden_layers": 24,
    "num_key_value_heads": 2, "rms_norm_eps": 1e-06, "rope_theta": 1000000.0, "sliding_window": 32768,
    "tie_word_embeddings": True, "use_mrope": False, "use_sliding_window": False, "vocab_size": 151936,
}  # fmt: skip
QWEN_3 = QWEN_2_5 | {
    "architectures": ["Qwen3ForCausalLM"], "attention_bias": False, "head_dim": 128, "hidden_size": 1024,
    "intermediate_size": 3072, "max_position_embeddings": 40960, "max_window_layers": 28, "model_type": "qwen3",
    "num_attention_heads": 16, "num_hidden_layers": 28, "num_key_value_heads": 8, "rope_scaling": None, "sliding_window": None,
    "use_mrope": None,
}  # fmt: skip
STARCODER_2 = {
    "activation_function": "gelu", "architectures": ["Starcoder2ForCausalLM"], "attention_dropout": 0.1,
    "attention_softmax_in_fp32": True, "bos_token_id": 0, "embedding_dropout": 0.1, "eos_token_id": 0,
    "hidden_act": "gelu_pytorch_tanh", "hidden_size": 3072, "intermediate_size": 12288, "layer_norm_epsilon": 1e-05,
    "max_position_embeddings": 16384, "mlp_type": "default", "model_type": "starcoder2", "norm_epsilon": 1e-05,
    "norm_type": "layer_norm", "num_attention_heads": 24, "num_hidden_layers": 30, "num_key_value_heads": 2,
    "residual_dropout": 0.1, "rope_theta": 999999.4420358813, "scale_attention_softmax_in_fp32": True,
    "scale_attn_weights": True, "sliding_window": 4096, "use_bias": True, "vocab_size": 49152,
}  # fmt: skip
GEMMA_2 = {
    "architectures": ["Gemma2ForCausalLM"], "attention_bias": False, "attention_dropout": 0.0, "attn_logit_softcapping": 50.0,
    "bos_token_id": 2, "cache_implementation": "hybrid", "eos_token_id": 1, "final_logit_softcapping": 30.0, "head_dim": 256,
    "hidden_act": "gelu_pytorch_tanh", "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 3584,
    "intermediate_size": 14336, "max_position_embeddings": 8192, "model_type": "gemma2", "num_attention_heads": 16,
    "num_hidden_layers": 42, "num_key_value_heads": 8, "pad_token_id": 0, "query_pre_attn_scalar": 224, "rms_norm_eps": 1e-06,
    "rope_theta": 10000.0, "sliding_window": 4096, "sliding_window_size": 4096, "vocab_size": 256000,
}  # fmt: skip
GEMMA_3 = {
    "architectures": ["Gemma3ForCausalLM"], "attention_bias": False, "attention_dropout": 0.0, "attn_logit_softcapping": None,
    "bos_token_id": 2, "cache_implementation": "hybrid", "eos_token_id": [1, 106], "final_logit_softcapping": None,
    "head_dim": 256, "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 1152, "intermediate_size": 6912,
    "max_position_embeddings": 32768, "model_type": "gemma3_text", "num_attention_heads": 4, "num_hidden_layers": 26,
    "num_key_value_heads": 1, "pad_token_id": 0, "query_pre_attn_scalar": 256, "rms_norm_eps": 1e-06,
    "rope_local_base_freq": 10000, "rope_scaling": None, "rope_theta": 1000000, "sliding_window": 512,
    "sliding_window_pattern": 6, "vocab_size": 262144,
}  # fmt: skip
SMOLLM_3 = {
    "architectures": ["SmolLM3ForCausalLM"], "attention_bias": False, "attention_dropout": 0.0, "bos_token_id": None,
    "eos_token_id": 128012, "hidden_act": "silu", "hidden_size": 2048, "intermediate_size": 11008,
    "layer_types": 36 * ["full_attention"], "max_position_embeddings": 65536, "max_window_layers": 28, "mlp_bias": False,
    "model_type": "smollm3", "no_rope_layer_interval": 4, "no_rope_layers": 9 * [1, 1, 1, 0], "num_attention_heads": 16,
    "num_hidden_layers": 36, "num_key_value_heads": 4, "pad_token_id": 128004, "pretraining_tp": 2, "rms_norm_eps": 1e-06,
    "rope_scaling": None, "rope_theta": 5000000.0, "sliding_window": None, "use_sliding_window": False, "vocab_size": 128256,
}  # fmt: skip
OLMO_3 = OLMO_2 | {
    "architectures": ["Olmo3ForCausalLM"], "model_type": "olmo3", "max_position_embeddings": 65536, "sliding_window": 4096,
    "num_hidden_layers": 32, "layer_types": 8 * [*3 * ["sliding_attention"], "full_attention"],
    "rope_scaling": {"attention_factor": 1.2079441541679836, "beta_fast": 32.0, "beta_slow": 1.0, "factor": 8.0,
                     "original_max_position_embeddings": 8192, "rope_type": "yarn"},
}  # fmt: skip
# What is known of each: parameters in millions (of a tied table once), head width, and what is easily missed.
PUBLISHED = {
    "SmolLM2 135M": (SMOLLM2, 134.5, 64, lambda config: config.tied_head),
    "OpenCoder 1.5B": (OPENCODER, 1906, 160, lambda config: not config.tied_head),
    "Llama 3.1 8B": (LLAMA_3_1, 8030, 128, lambda config: config.architecture.kinds[0].rope.scaling == "llama3"),
    "Pythia 160M": (PYTHIA, 162.3, 64, lambda config: config.architecture.rope_width == 16),
    "OLMo 2 1B": (OLMO_2, 1485, 128, lambda config: config.architecture.output_norms),
    "Qwen 2.5 0.5B": (QWEN_2_5, 494, 64, lambda config: config.architecture.kinds[0].window == 0),
    "Qwen 3 0.6B": (QWEN_3, 596, 128, lambda config: config.architecture.qk_norm == "head"),
    "StarCoder2 3B": (
        STARCODER_2,
        3030,
        128,
        lambda config: config.tied_head and config.architecture.kinds[0].window == 4096,
    ),
    "Gemma 2 9B": (GEMMA_2, 9242, 256, lambda config: config.architecture.score_width == 224),
    "Gemma 3 1B": (GEMMA_3, 1000, 256, lambda config: config.architecture.kind_of_layer[4:7] == (0, 1, 0)),
    "SmolLM3 3B": (SMOLLM_3, 3075, 128, lambda config: config.architecture.kinds[1].rope is None),
    "OLMo 3 7B": (OLMO_3, None, 128, lambda config: config.architecture.kinds[1].rope.attention_factor > 1.2),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_configs_of_published_models_are_read(name):
    hf_config, millions, head_width, has = PUBLISHED[name]
    config = read(COMMON | hf_config)
    count = sum(np.prod(shape, dtype=np.int64) for shape in leaf_shapes(config).values()) / 1e6
    assert millions is None or abs(count / millions - 1) < 2e-3, count
    assert config.head_width == head_width and has(config)
    assert catalogue.of(config).model_type == hf_config["model_type"]


# --- what is refused ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change, message",
    [
        ({"model_type": "mamba"}, "model_type = 'mamba'; these are read: gpt2, llama, mistral, .*gemma3_text"),
        ({"model_type": None}, "model_type = null; these are read"),
        ({"model_type": ["llama"]}, "model_type = a list; these are read"),
        ({"model_type": "bloom"}, r"'bloom' \(its ALiBi positions are not done here\); these are read"),
        ({"model_type": "apertus"}, "xIELU"),
        ({"model_type": "mixtral"}, "experts are not done here"),
        ({"model_type": "qwen3_moe"}, "experts are not done here"),
        ({"model_type": "new", "num_experts": 4}, "experts are not done here"),
        ({"model_type": "gemma3"}, "save its language model as gemma3_text"),
        ({"auto_map": {"AutoModelForCausalLM": "modeling_x.X"}}, r"code of its own \(auto_map\)"),
        ({"quantization_config": {"bits": 4}}, "weights are quantised"),
        ({"compression_config": {"bits": 4}}, "weights are quantised"),
        ({"num_experts": 8}, "num_experts = 8, which is not known here and may change"),
        ({"": 8}, "config has  = 8, which is not known here"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor = 0.5 and this decoder does 1.0 or null only"),
        ({"rope_interleaved": True}, "rope_interleaved = true and this decoder does false or null only"),
        ({"hidden_act": "quick_gelu"}, "hidden_act = 'quick_gelu' and this decoder does gelu_new, "),
        ({"hidden_size": None}, "lacks hidden_size; check that config.json"),
        ({"num_attention_heads": 7, "head_dim": 64}, "num_attention_heads = 7 does not divide"),
        ({"num_key_value_heads": 2}, "num_key_value_heads = 2 does not divide"),
        ({"head_dim": 33}, "33 numbers are turned, and they are turned in pairs"),
    ],
)  # fmt: skip
def test_what_is_refused_is_named(change, message):
    with pytest.raises(UserError, match=message) as refused:
        read(SMOLLM2 | change)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "name, change, message",
    [
        ("mistral", {"attention_bias": True}, "attention_bias = true and this decoder does false or null only"),
        ("mistral", {"layer_types": ["full_attention"]}, "layer_types = a list and this decoder does null only"),
        ("mistral", {"sliding_window": 0}, "sliding_window = 0; check"),
        ("gpt_neox_parallel", {"head_dim": 8}, "head_dim = 8 and this decoder does null only"),
        ("gpt_neox_parallel", {"rotary_pct": 0.25}, "rotary_pct or partial_rotary_factor = 0.25, 0.5; leave one"),
        ("gpt_neox_parallel", {"rope_theta": 3.0}, "rope_theta = 3.0; check config.json: it is what rotary_emb_base says"),
        ("gpt_neox_parallel", {"rope_parameters": {"partial_rotary_factor": 0.1}}, "rotary_pct = 0.1, which turns nothing"),
        ("gpt_neox_parallel", {"rope_parameters": {"partial_rotary_factor": 0.4}}, "3 numbers are turned"),
        ("gpt_neox_parallel", {"rope_parameters": {"partial_rotary_factor": 1.5}}, "of at most 1"),
        ("qwen2", {"use_mrope": True}, "use_mrope = true"),
        ("qwen2", {"layer_types": 3 * ["sliding_attention"]}, "layers of sliding_attention and no sliding_window"),
        ("qwen2", {"layer_types": ["chunked_attention"]}, "layer_types = a list; check config.json: it is a list of"),
        ("smollm3", {"no_rope_layers": [1, 0]}, "no_rope_layers = a list; check config.json: it is a list of 0 and 1"),
        ("starcoder2", {"mlp_type": "gated"}, "mlp_type = 'gated' and this decoder does 'default' only"),
        ("gemma", {"use_bidirectional_attention": True}, "use_bidirectional_attention = true"),
        ("gemma", {"hidden_activation": "gelu"}, "hidden_activation = 'gelu'"),
        ("gemma3_text", {"attn_logit_softcapping": 50.0}, "attn_logit_softcapping = 50.0 and this decoder does null only"),
        ("olmo3", {"rope_parameters": {"rope_theta": 1e4}}, "rope_theta in rope_parameters; check config.json: in this family"),
    ],
)  # fmt: skip
def test_what_a_family_refuses_is_named(name, change, message):
    with pytest.raises(UserError, match=message) as refused:
        read(of_case(name) | change)
    assert "\n" not in str(refused.value)


def test_keys_that_set_nothing_are_passed_over():
    ours = read(SMOLLM2)
    assert read(SMOLLM2 | {"_attn_implementation": "eager", "something_new": None, "pad_token_id": 3, "": None}) == ours
    assert read(SMOLLM2 | {"quantization_config": None, "auto_map": {}}) == ours


@pytest.mark.parametrize("name", CASES)
def test_any_value_of_any_key_is_read_or_refused_in_one_line(name):
    """No value makes an exception that is not for the user."""
    family = FAMILY[CASES[name].family]
    values = [
        None,
        True,
        -1,
        0,
        1,
        3,
        0.5,
        1e300,
        float("nan"),
        "x",
        "",
        [],
        [3],
        {},
        {"rope_type": "yarn"},
        {"factor": []},
    ]
    read_at_all = 0
    for key in family.keys:
        for value in values:
            try:
                catalogue.read_config(of_case(name) | {key: value})
                read_at_all += 1
            except UserError as error:
                assert "\n" not in str(error)
    assert read_at_all > 5


@pytest.mark.oracle
@pytest.mark.parametrize("name", CASES)
def test_transformers_reads_what_is_written_as_the_same_model(name, tmp_path):
    """Every tensor and every logit bit for bit, from a config in both spellings and in either."""
    for package in ("torch", "transformers"):
        pytest.importorskip(package, reason=f"no {package} here to read folders of ours")
    import torch
    import transformers

    model = make_families.random_model(CASES[name], seed=2)
    config, params = huggingface.from_huggingface(*make_families.saved(model))
    model_folders.write_model(tmp_path / "ours", config, params)
    tokens = torch.from_numpy(make_families.texts(seed=2)["tokens_BxT"].astype(np.int64))
    written = json.loads((tmp_path / "ours" / "config.json").read_text())
    for spelling in (
        {},
        {"rope_parameters"},
        {"rope_theta", "rope_local_base_freq", "rope_scaling", "rotary_emb_base"},
    ):
        kept = {key: value for key, value in written.items() if key not in spelling}
        (tmp_path / "ours" / "config.json").write_text(json.dumps(kept))
        how = dict(attn_implementation="eager", dtype=torch.float32)
        again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "ours", **how).eval()
        theirs, ours = model.state_dict(), again.state_dict()
        assert theirs.keys() == ours.keys() and all(torch.equal(theirs[tensor], ours[tensor]) for tensor in theirs)
        with torch.no_grad():
            assert torch.equal(model(tokens, use_cache=False).logits, again(tokens, use_cache=False).logits), spelling

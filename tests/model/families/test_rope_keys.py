"""RoPE, windows and types of layers, as config.json says them in two spellings."""

import math

import pytest

from babel_jax.common.errors import UserError
from babel_jax.model.architecture import LayerKind, Rope
from babel_jax.model.families import rope_keys
from babel_jax.model.families.catalogue import BY_TYPE, read_config, written

LLAMA = {
    "model_type": "llama",
    "vocab_size": 48,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "max_position_embeddings": 64,
}
LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 16}


def rope(**keys) -> Rope:
    return read_config(LLAMA | keys)[1].architecture.kinds[0].rope


def yarn(**settings) -> Rope:
    return rope(rope_parameters={"rope_type": "yarn", "factor": 4.0} | settings)


def test_every_type_in_every_spelling():
    assert rope() == rope(rope_scaling=None) == rope(rope_parameters={}) == Rope(10000.0)
    assert rope(rope_theta=500) == rope(rope_parameters={"rope_theta": 500.0, "rope_type": "default"}) == Rope(500.0)
    linear = Rope(500.0, "linear", 2.5)
    assert rope(rope_theta=500, rope_scaling={"type": "linear", "factor": 2.5}) == linear
    assert rope(rope_parameters={"rope_theta": 500, "rope_type": "linear", "factor": 2.5, "truncate": None}) == linear
    assert rope(rope_theta=500, rope_parameters={"rope_type": "linear", "factor": 2.5}) == linear
    llama3 = Rope(10000.0, "llama3", 8.0, 16, 1.0, 4.0)
    assert rope(rope_scaling={"rope_type": "llama3", "type": "llama3"} | LLAMA3) == llama3
    without = {name: value for name, value in LLAMA3.items() if "original" not in name}
    assert rope(rope_parameters={"rope_type": "llama3"} | without).original_length == 64


def test_yarns_attention_factor_is_said_or_computed():
    assert yarn() == Rope(10000.0, "yarn", 4.0, 64, 1.0, 32.0, 0.1 * math.log(4) + 1)
    assert yarn(attention_factor=1.5, beta_slow=2, beta_fast=8) == Rope(10000.0, "yarn", 4.0, 64, 2.0, 8.0, 1.5)
    assert yarn(factor=1.0).attention_factor == 1.0
    assert yarn(factor=None, original_max_position_embeddings=16).factor == 4.0
    deepseek = (0.1 * 0.707 * math.log(4) + 1) / (0.1 * math.log(4) + 1)
    assert math.isclose(yarn(mscale=0.707, mscale_all_dim=1.0).attention_factor, deepseek)


@pytest.mark.parametrize(
    "keys, message",
    [
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "RoPE of type 'dynamic' and this decoder does default, linear, "),
        ({"rope_scaling": {"type": "su"}}, "RoPE of type 'su'"),
        ({"rope_parameters": {"rope_type": "longrope"}}, "RoPE of type 'longrope'"),
        ({"rope_parameters": {"rope_type": ["yarn"]}}, "RoPE of type a list"),
        ({"rope_scaling": {"type": "default", "mrope_section": [1]}}, "has mrope_section in rope_scaling, which a RoPE of type"),
        ({"rope_scaling": {"type": "linear"}}, "lacks factor in rope_scaling"),
        ({"rope_scaling": {"type": "linear", "factor": -1}}, "factor = -1; check config.json: it is a number above 0"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 2.0}}, "lacks low_freq_factor in rope_scaling"),
        ({"rope_scaling": {"rope_type": "llama3"} | LLAMA3 | {"high_freq_factor": 1.0}}, "it is a number above 1"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 2.0, "truncate": False}}, "truncate = false in rope_scaling"),
        ({"rope_parameters": {"partial_rotary_factor": 0.5}}, "partial_rotary_factor = 0.5 in rope_parameters"),
        ({"rope_parameters": {"full_attention": {}}}, "has full_attention in rope_parameters"),
        ({"rope_scaling": "linear"}, "rope_scaling = 'linear'; check config.json: it is an object, or null"),
        ({"rope_theta": 1}, "rope_theta = 1.0; check config.json: it is a number above 1"),
        ({"rope_theta": 10**19, "rope_parameters": {"rope_theta": 5.0}}, "one thing in rope_parameters and another in rope"),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}, "rope_parameters": {"rope_type": "default"}}, "delete what"),
    ],
)  # fmt: skip
def test_a_rope_that_is_not_done_is_refused(keys, message):
    with pytest.raises(UserError, match=message) as refused:
        rope(**keys)
    assert "\n" not in str(refused.value)


def test_ropes_of_two_types_of_layers():
    """Of OLMo 3's `rope_theta`, version 4 meant both types and scaled one; Gemma 3 has a theta for each."""
    types = ["sliding_attention", "full_attention", "sliding_attention", "full_attention"]
    scaling = {"rope_scaling": {"rope_type": "linear", "factor": 2.0}, "layer_types": types, "sliding_window": 5}
    olmo = read_config(LLAMA | scaling | {"model_type": "olmo3", "rope_theta": 300.0})[1]
    assert olmo.architecture.kinds == (LayerKind(5, Rope(300.0)), LayerKind(0, Rope(300.0, "linear", 2.0)))
    assert olmo.architecture.kind_of_layer == (0, 1, 0, 1)
    gemma = LLAMA | scaling | {"model_type": "gemma3_text", "head_dim": 8, "num_key_value_heads": 1}
    (local, full) = read_config(gemma | {"rope_theta": 300.0, "rope_local_base_freq": 70.0})[1].architecture.kinds
    assert (local.rope, full.rope) == (Rope(70.0), Rope(300.0, "linear", 2.0))
    (local, full) = read_config(gemma)[1].architecture.kinds
    assert (local.rope, full.rope) == (Rope(10000.0), Rope(1000000.0, "linear", 2.0))
    for config in (olmo, read_config(gemma)[1]):
        family = BY_TYPE["olmo3" if config is olmo else "gemma3_text"]
        assert read_config(written(family, config))[1] == config


def test_which_layers_have_a_window():
    def windows(**keys):
        config = read_config(LLAMA | keys)[1]
        return [kind.window for kind in rope_keys.kind_by_layer(config)]

    assert windows(model_type="mistral", num_key_value_heads=1) == 4 * [4096]
    assert windows(model_type="mistral", num_key_value_heads=1, sliding_window=None) == 4 * [0]
    qwen = dict(model_type="qwen2", num_key_value_heads=1, sliding_window=8, max_window_layers=2)
    assert windows(**qwen) == 4 * [0]
    assert windows(**qwen, use_sliding_window=True) == [0, 0, 8, 8]
    assert windows(**qwen, use_sliding_window=True, layer_types=2 * ["sliding_attention", "full_attention"]) == [
        8,
        0,
        8,
        0,
    ]
    assert windows(model_type="gemma2", num_key_value_heads=1, head_dim=8) == [4096, 0, 4096, 0]
    assert windows(model_type="gemma3_text", num_key_value_heads=1, head_dim=8, sliding_window_pattern=2) == [
        4096,
        0,
        4096,
        0,
    ]
    assert windows(model_type="olmo3", sliding_window=9) == [9, 9, 9, 0]
    smollm = dict(model_type="smollm3", num_key_value_heads=1, no_rope_layer_interval=2)
    assert windows(**smollm, sliding_window=9) == 4 * [0]
    assert windows(**smollm, sliding_window=9, use_sliding_window=True) == [0, 9, 0, 9]

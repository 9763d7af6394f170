"""The models that make_families.py makes: tiny, of odd shapes, with every switch that a family's config.json has and we read.

A case is a config by the keyword arguments of transformers 5, and the same in the keys that files written by transformers 4
have. The latter were written down by hand after well-known files (named beside each). Needs nothing but Python.
"""

import dataclasses

VOCAB, LENGTH = 257, 32


@dataclasses.dataclass(frozen=True)
class Case:
    """`arguments`: of transformers' config class for `family`, besides what `config_5` adds.

    `added_4`, `removed_4`: how a file of transformers 4 differs from that, besides `rope_parameters`, which it never has.
    `gradients`: whether those of the loss are compared, too.
    """

    family: str
    architecture: str
    arguments: dict
    added_4: dict
    removed_4: tuple[str, ...] = ()
    gradients: bool = False

    @property
    def config_5(self) -> dict:
        common = dict(vocab_size=VOCAB, max_position_embeddings=4 * LENGTH, initializer_range=0.05)
        return common | NO_SPECIAL | self.arguments


NO_SPECIAL = dict(bos_token_id=None, eos_token_id=None, pad_token_id=None)
LLAMA3 = dict(low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=16)
YARN = dict(factor=8.0, original_max_position_embeddings=16, beta_fast=2.0, beta_slow=0.3)
BY_TYPE = ["sliding_attention", "sliding_attention", "full_attention", "sliding_attention"]


def shape(width: int, layers: int, heads: int, ffn: int, kv_heads: int | None = None, **more) -> dict:
    sizes = dict(hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads, intermediate_size=ffn)
    return sizes | ({} if kv_heads is None else dict(num_key_value_heads=kv_heads)) | more


def rope(theta: float, kind: str = "default", **more) -> dict:
    return dict(rope_theta=theta, rope_type=kind) | more


CASES = {
    "gpt2": Case(
        "gpt2",
        "GPT2LMHeadModel",
        dict(n_embd=24, n_layer=3, n_head=4, n_inner=37),
        dict(n_ctx=128, summary_first_dropout=0.1, resid_pdrop=0.1, embd_pdrop=0.1, attn_pdrop=0.1),
    ),
    # SmolLM2-1.7B: two keys of its own, both without effect; `type` beside or instead of `rope_type` is the older spelling.
    "llama_linear": Case(
        "llama",
        "LlamaForCausalLM",
        shape(
            28, 3, 4, 37, 2, head_dim=10, tie_word_embeddings=False, rope_parameters=rope(500.0, "linear", factor=2.5)
        ),
        dict(
            rope_theta=500.0,
            rope_scaling=dict(type="linear", factor=2.5),
            rope_interleaved=False,
            is_llama_config=True,
            torch_dtype="bfloat16",
        ),
        gradients=True,
    ),
    # Llama 3.1 and 3.2
    "llama_llama3": Case(
        "llama",
        "LlamaForCausalLM",
        shape(24, 2, 6, 41, 1, head_dim=8, tie_word_embeddings=True)
        | dict(rope_parameters=rope(300.0, "llama3", factor=8.0, **LLAMA3)),
        dict(rope_theta=300.0, rope_scaling=dict(rope_type="llama3", factor=8.0, **LLAMA3), torch_dtype="bfloat16"),
    ),
    # Llama 1: neither key-value heads nor a head width nor a base of RoPE stand in its file.
    "llama_first": Case(
        "llama",
        "LlamaForCausalLM",
        shape(24, 2, 4, 40, tie_word_embeddings=False, rms_norm_eps=1e-5),
        dict(torch_dtype="float16", rope_scaling=None),
        ("num_key_value_heads", "head_dim", "attention_bias", "mlp_bias", "attention_dropout"),
    ),
    "llama_biases": Case(
        "llama",
        "LlamaForCausalLM",
        shape(24, 2, 3, 40, 3, attention_bias=True, mlp_bias=True, rope_parameters=rope(1000.0)),
        dict(rope_theta=1000.0, rope_scaling=None, torch_dtype="float32"),
        ("head_dim",),
    ),
    # Mistral 7B v0.1, and the head width that Mistral Nemo's file has
    "mistral": Case(
        "mistral",
        "MistralForCausalLM",
        shape(26, 3, 4, 37, 1, head_dim=8, sliding_window=7, rope_parameters=rope(1000.0)),
        dict(rope_theta=1000.0, torch_dtype="bfloat16"),
    ),
    # Pythia
    "gpt_neox_parallel": Case(
        "gpt_neox",
        "GPTNeoXForCausalLM",
        shape(36, 3, 4, 40, rope_parameters=rope(1000.0, partial_rotary_factor=0.5)),
        dict(rotary_pct=0.5, rotary_emb_base=1000, torch_dtype="float16"),
        ("attention_bias", "is_decoder", "attention_dropout", "hidden_dropout", "classifier_dropout"),
        gradients=True,
    ),
    # GPT-NeoX-20B's activation
    "gpt_neox_sequential": Case(
        "gpt_neox",
        "GPTNeoXForCausalLM",
        shape(24, 2, 3, 41, use_parallel_residual=False, hidden_act="gelu_fast")
        | dict(rope_parameters=rope(100.0, partial_rotary_factor=1.0)),
        dict(rotary_pct=1.0, rotary_emb_base=100, torch_dtype="float16", rope_scaling=None, attention_bias=True),
    ),
    # Qwen2.5
    "qwen2": Case(
        "qwen2",
        "Qwen2ForCausalLM",
        shape(24, 3, 4, 37, 2, tie_word_embeddings=True, max_window_layers=2, rope_parameters=rope(1000.0)),
        dict(rope_theta=1000.0, sliding_window=8, torch_dtype="bfloat16"),
        ("layer_types",),
    ),
    "qwen2_window": Case(
        "qwen2",
        "Qwen2ForCausalLM",
        shape(24, 3, 4, 37, 1, tie_word_embeddings=False, max_window_layers=1, rope_parameters=rope(1000.0))
        | dict(use_sliding_window=True, sliding_window=6),
        dict(rope_theta=1000.0, rope_scaling=None, torch_dtype="bfloat16"),
        ("layer_types",),
    ),
    "qwen3": Case(
        "qwen3",
        "Qwen3ForCausalLM",
        shape(26, 3, 4, 37, 2, head_dim=10, tie_word_embeddings=False, rope_parameters=rope(1000.0)),
        dict(rope_theta=1000.0, rope_scaling=None, torch_dtype="bfloat16"),
        ("layer_types",),
    ),
    # OLMo 1.7 7B clips at 8; nothing here is as large.
    "olmo": Case(
        "olmo",
        "OlmoForCausalLM",
        shape(24, 3, 4, 37, 4, clip_qkv=0.8, tie_word_embeddings=False),
        dict(rope_theta=10000.0, rope_scaling=None, torch_dtype="float32"),
    ),
    "olmo_tied": Case(
        "olmo",
        "OlmoForCausalLM",
        shape(24, 2, 4, 37, 2, clip_qkv=None, tie_word_embeddings=True),
        dict(rope_theta=10000.0, rope_scaling=None, torch_dtype="float32"),
    ),
    "olmo2": Case(
        "olmo2",
        "Olmo2ForCausalLM",
        shape(24, 3, 4, 37, 2, tie_word_embeddings=False, rms_norm_eps=1e-6, rope_parameters=rope(5000.0)),
        dict(rope_theta=5000, rope_scaling=None, torch_dtype="bfloat16"),
    ),
    # Olmo 3 7B: scaled in the layers without a window only.
    "olmo3": Case(
        "olmo3",
        "Olmo3ForCausalLM",
        shape(24, 4, 4, 37, 1, tie_word_embeddings=False, sliding_window=6, layer_types=BY_TYPE)
        | dict(rope_parameters=dict(sliding_attention=rope(500000.0), full_attention=rope(500000.0, "yarn", **YARN))),
        dict(
            rope_theta=500000,
            rope_scaling=dict(rope_type="yarn", attention_factor=1.2079441541679836, **YARN),
            dtype="bfloat16",
        ),
    ),
    # StarCoder2-3B, with all that its file has and its computation has not
    "starcoder2": Case(
        "starcoder2",
        "Starcoder2ForCausalLM",
        shape(24, 3, 4, 37, 1, sliding_window=7, tie_word_embeddings=True, rope_parameters=rope(999.4)),
        dict(
            rope_theta=999.4,
            attention_dropout=0.1,
            embedding_dropout=0.1,
            residual_dropout=0.1,
            attention_softmax_in_fp32=True,
            scale_attention_softmax_in_fp32=True,
            scale_attn_weights=True,
            layer_norm_epsilon=1e-5,
            mlp_type="default",
            norm_type="layer_norm",
            torch_dtype="bfloat16",
        ),
        ("tie_word_embeddings",),
    ),
    "smollm3": Case(
        "smollm3",
        "SmolLM3ForCausalLM",
        shape(24, 4, 4, 37, 2, tie_word_embeddings=True, no_rope_layer_interval=3, rope_parameters=rope(1000.0)),
        dict(rope_theta=1000.0, rope_scaling=None, max_window_layers=28, torch_dtype="bfloat16"),
    ),
    # Gemma 7B: "gelu" stands in its file, and the tanh approximation is meant.
    "gemma": Case(
        "gemma",
        "GemmaForCausalLM",
        shape(24, 2, 4, 37, 1, head_dim=10),
        dict(hidden_act="gelu", hidden_activation=None, rope_theta=10000.0, rope_scaling=None, torch_dtype="bfloat16"),
        ("use_bidirectional_attention", "tie_word_embeddings"),
    ),
    "gemma2": Case(
        "gemma2",
        "Gemma2ForCausalLM",
        shape(24, 4, 4, 37, 2, head_dim=10, query_pre_attn_scalar=7, sliding_window=6)
        | dict(attn_logit_softcapping=1.5, final_logit_softcapping=4.0),
        dict(
            hidden_act="gelu_pytorch_tanh",
            cache_implementation="hybrid",
            rope_theta=10000.0,
            torch_dtype="float32",
        ),
        ("layer_types", "use_bidirectional_attention", "tie_word_embeddings"),
    ),
    # Gemma 3 1B, and the scaling that the text half of the larger ones has
    "gemma3_text": Case(
        "gemma3_text",
        "Gemma3ForCausalLM",
        shape(24, 4, 4, 37, 1, head_dim=10, query_pre_attn_scalar=9, sliding_window=6, sliding_window_pattern=3)
        | dict(rope_parameters=dict(sliding_attention=rope(100.0), full_attention=rope(10000.0, "linear", factor=4.0))),
        dict(
            rope_theta=10000.0,
            rope_local_base_freq=100.0,
            rope_scaling=dict(rope_type="linear", factor=4.0),
            sliding_window_pattern=3,
            cache_implementation="hybrid",
            torch_dtype="bfloat16",
        ),
        ("layer_types", "use_bidirectional_attention", "_sliding_window_pattern", "tie_word_embeddings"),
    ),
}


def config_4(case: Case, config_5: dict) -> dict:
    """The config.json of transformers 4 beside `config_5`, which `save_pretrained` of transformers 5 has written."""
    gone = {"rope_parameters", "dtype", *case.removed_4}
    return (
        {name: value for name, value in config_5.items() if name not in gone}
        | case.added_4
        | {"transformers_version": "4.51.3"}
    )

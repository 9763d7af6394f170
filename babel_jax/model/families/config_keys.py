"""Reading a model's config.json: sizes and numbers that are checked, names of activations, and which keys there may be.

`keys` is a family's `Family.keys` with what config.json says. Every refusal is one line that names the key and what to do.
"""

from collections.abc import Mapping
from typing import Any

from babel_jax.common.errors import LONGEST_NAME, UserError, quoted, shortened, written
from babel_jax.model.decoder import DecoderConfig

CONFIG = "config.json"
LARGEST_SIZE, MOST_LAYERS, LARGEST_NUMBER = 10**8, 10**4, 1e30  # beyond them a config is a mistake
NEEDED = object()  # stands for the default of a key that has none
SIZES = {
    "vocab_size": "vocab_size",
    "width": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "kv_heads": "num_key_value_heads",
    "head_width": "head_dim",
    "ffn_width": "intermediate_size",
    "max_length": "max_position_embeddings",
}
# The keys of most families; null is "as many as heads" and "width / heads".
SIZE_KEYS = {name: NEEDED for name in SIZES.values()} | {"num_key_value_heads": None, "head_dim": None}
ACTIVATIONS = {
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu": "gelu",
    "silu": "silu",
    "swish": "silu",
    "relu": "relu",
}
# Keys that any config.json may have and that do not change what a model computes of a text: where it comes from, how it is
# trained (dropout is 0 outside of training, and there is none here), how others store it, run it and generate with it.
_BOOKKEEPING = """
    architectures model_type name_or_path transformers_version transformers.js_config torch_dtype dtype torchscript
    use_bfloat16 use_cache cache_implementation attn_implementation use_flash_attention_2 tokenizer_class model_max_length
    bos_token_id eos_token_id pad_token_id unk_token_id sep_token_id decoder_start_token_id forced_bos_token_id
    forced_eos_token_id initializer_range init_std pretraining_tp gradient_checkpointing attention_dropout hidden_dropout
    residual_dropout embedding_dropout classifier_dropout resid_pdrop embd_pdrop attn_pdrop resid_dropout embd_dropout
    attn_dropout output_attentions output_hidden_states return_dict return_dict_in_generate output_scores
    chunk_size_feed_forward is_encoder_decoder id2label label2id num_labels problem_type finetuning_task task_specific_params
    prefix max_length min_length do_sample early_stopping num_beams num_beam_groups diversity_penalty temperature top_k top_p
    typical_p repetition_penalty length_penalty no_repeat_ngram_size encoder_no_repeat_ngram_size bad_words_ids
    num_return_sequences exponential_decay_length_penalty suppress_tokens begin_suppress_tokens remove_invalid_values
    tf_legacy_loss is_decoder
"""
BOOKKEEPING = frozenset(_BOOKKEEPING.split())
# Keys that change the computation of any family, and the values at which they do not.
ONLY_ANYWHERE = {
    "add_cross_attention": (False, None),
    "cross_attention_hidden_size": (None,),
    "pruned_heads": (None, {}),
    "tie_encoder_decoder": (False, None),
    "rope_interleaved": (False, None),
    "partial_rotary_factor": (1.0, None),
    "original_max_position_embeddings": (None,),
    "quantization_config": (None, {}),
    "compression_config": (None, {}),
}
NO_TOKENS = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}  # theirs would be of another vocabulary


def complete(hf_config: dict, known: Mapping[str, Any], only: Mapping[str, tuple], idle=()) -> dict:
    """All of the `known` keys, with what the config says or their defaults; checks that there is nothing else that matters.

    Raises:
      UserError: a key that is needed is not there, has a value that the decoder does not do, or is not known at all.
    """
    only = {name: values for name, values in ONLY_ANYWHERE.items() if name not in known} | dict(only)
    for name, values in only.items():
        if name in hf_config and not any(_same(hf_config[name], value) for value in values):
            shown = " or ".join(dict.fromkeys(quoted(value) for value in values))
            raise UserError(
                f"the model's config has {name} = {quoted(hf_config[name])} and this decoder does {shown} only; convert another."
            )
    if lacking := [name for name, default in known.items() if default is NEEDED and hf_config.get(name) is None]:
        raise UserError(
            f"the model's config lacks {', '.join(lacking)}; check that {CONFIG} is this model's, and whole."
        )
    harmless = {*known, *only, *idle, *BOOKKEEPING}
    for name, value in hf_config.items():
        sets_nothing = value is None or name.startswith("_")
        if name not in harmless and not sets_nothing:
            raise UserError(
                f"the model's config has {shortened(name, LONGEST_NAME)} = {quoted(value)}, which is not known here and may "
                f"change what the model computes; if it does not, delete it from {CONFIG}."
            )
    return {name: hf_config.get(name, default) for name, default in known.items()}


def _same(value, wanted) -> bool:
    return value == wanted and isinstance(value, bool) == isinstance(wanted, bool)


def wrong(keys: dict, name: str, right: str) -> UserError:
    return UserError(f"the model's config has {name} = {quoted(keys[name])}; check {CONFIG}: it is {right}.")


def size(keys: dict, name: str, most: int = LARGEST_SIZE) -> int:
    value = keys[name]
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise wrong(keys, name, f"a whole number from 1 to {most}")
    return value


def whole(keys: dict, name: str) -> int:
    """A whole number, 0 among them."""
    return 0 if keys[name] == 0 and not isinstance(keys[name], bool) else size(keys, name)


def number(keys: dict, name: str, above: float = 0) -> float:
    value = keys[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not above < value < LARGEST_NUMBER:
        raise wrong(keys, name, f"a number above {written(above)}")
    return float(value)


def number_or_none(keys: dict, name: str) -> float:
    """A number above 0, or 0 for null."""
    return 0.0 if keys[name] is None else number(keys, name)


def flag(keys: dict, name: str) -> bool:
    if not isinstance(keys[name], bool):
        raise UserError(f"the model's config has {name} = {quoted(keys[name])}; set it to true or false.")
    return keys[name]


def activation(keys: dict, name: str) -> str:
    """The decoder's name of an activation function."""
    value = keys[name]
    if not isinstance(value, str) or value not in ACTIVATIONS:
        raise UserError(
            f"the model's config has {name} = {quoted(value)} and this decoder does {', '.join(ACTIVATIONS)} only; convert "
            "another."
        )
    return ACTIVATIONS[value]


def their_activation(config: DecoderConfig, tanh: str = "gelu_pytorch_tanh") -> str:
    """What transformers calls the activation of a config. `tanh`: the family's own name of GELU's approximation; computed under
    another of its names, it is rounded otherwise."""
    activation = config.architecture.activation
    return tanh if activation == "gelu_tanh" else activation


def shape(keys: dict, names: Mapping[str, str] = SIZES) -> dict:
    """The sizes of a `DecoderConfig`, by its fields; `names` as `Family.sizes`."""
    sizes = {}
    for ours, theirs in names.items():
        if ours not in ("kv_heads", "head_width") or keys.get(theirs) is not None:
            sizes[ours] = size(keys, theirs, MOST_LAYERS if ours == "layers" else LARGEST_SIZE)
    if "head_width" not in sizes:
        check_divides(keys, names["width"], names["heads"])
    if "kv_heads" in sizes:
        check_divides(keys, names["heads"], names["kv_heads"])
    return sizes | {"tied_head": flag(keys, "tie_word_embeddings")}


def head_width(sizes: dict) -> int:
    return sizes.get("head_width") or sizes["width"] // sizes["heads"]


def check_divides(keys: dict, whole: str, part: str) -> None:
    if size(keys, whole) % size(keys, part):
        raise UserError(
            f"the model's config has {whole} = {keys[whole]}, which {part} = {keys[part]} does not divide; check that {CONFIG} "
            "is this model's."
        )


def their_shape(config: DecoderConfig, names: Mapping[str, str] = SIZES) -> dict:
    """The keys that `shape` reads."""
    sizes = {theirs: getattr(config, ours) for ours, theirs in names.items()}
    return sizes | {"tie_word_embeddings": config.tied_head}


def biases(keys: dict, attention: str, ffn: str | None = None) -> dict:
    """The biases of an `Architecture`: one flag for all four products of attention, one for those of the FFN (None: none)."""
    mixing = flag(keys, attention)
    return {"qkv_bias": mixing, "attention_out_bias": mixing, "ffn_bias": flag(keys, ffn) if ffn else False}

"""GPT-2 weights of Hugging Face and ours: the same numbers under other names, in both directions, bit for bit.

Theirs are named as the state dict of `GPT2LMHeadModel` (with or without its prefix `transformer.`): a fused `c_attn`,
matrices [in, out], a head that is tied unless the config says otherwise. Ours is the parameter tree of
`model/decoder.py`. Nothing here needs torch or transformers. Letters as in `model/decoder.py`.
"""

import re

import jax
import ml_dtypes
import numpy as np
import safetensors
import safetensors.numpy

from babel_jax.common import files
from babel_jax.common.errors import UserError, one_line, quoted
from babel_jax.model.decoder import DecoderConfig, init_params

WEIGHTS, INDEX, CONFIG = "model.safetensors", "model.safetensors.index.json", "config.json"
PREFIX = "transformer."
# Our leaf -> their tensor; those of a block have a leading layer axis in ours and "h.<layer>." before them in theirs.
OUTSIDE = {
    "embed_table": "wte.weight",
    "embed_position": "wpe.weight",
    "ln_f_scale": "ln_f.weight",
    "ln_f_bias": "ln_f.bias",
}
MODULES = {
    "ln_1": "ln_1",
    "qkv": "attn.c_attn",
    "attention_out": "attn.c_proj",
    "ln_2": "ln_2",
    "ffn_in": "mlp.c_fc",
    "ffn_out": "mlp.c_proj",
}
IN_BLOCK = {
    (ours, leaf): f"{theirs}.{'bias' if leaf == 'bias' else 'weight'}"
    for ours, theirs in MODULES.items()
    for leaf in ("scale" if ours.startswith("ln") else "kernel", "bias")
}
HEAD, TABLE = "lm_head.weight", "wte.weight"  # one and the same where the head is tied
BLOCK = re.compile(r"h\.(\d+)\.")
# Constants that old files hold beside the weights.
CAUSAL_MASK = re.compile(r"(transformer\.)?h\.\d+\.attn\.(bias|masked_bias)")
LARGEST_SIZE, MOST_LAYERS = 10**8, 10**4  # beyond them a config is a mistake
# What our decoder does of that which a GPT-2 config can ask for, and what is meant where it says nothing.
ONLY = {
    "model_type": "gpt2",
    "activation_function": "gelu_new",
    "layer_norm_epsilon": 1e-5,
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "add_cross_attention": False,
}
EXACT = {
    "F32": np.float32,
    "F16": np.float16,
    "BF16": ml_dtypes.bfloat16,
}  # what float32 holds exactly, by its name in files


def from_gpt2(state: dict[str, np.ndarray], config: dict) -> tuple[DecoderConfig, dict]:
    """Hugging Face's tensors and config.json as `(decoder config, parameters)`; parameters are NumPy float32.

    Raises:
      UserError: the config asks for what the decoder does not do, or tensors are missing, too many, or of another shape.
    """
    decoder = _decoder_config(config)
    state = _without_prefix(state)
    if decoder.tied_head and HEAD in state:
        head = state.pop(HEAD)
        table = state.setdefault(TABLE, head)  # some savers keep one of two tied names, either one
        if not np.array_equal(head, table):
            raise UserError(
                f"{HEAD} differs from {TABLE} although the config ties them; set tie_word_embeddings to false in it."
            )
    for missing, there in ((HEAD, TABLE), (TABLE, HEAD)):
        if not decoder.tied_head and missing not in state and there in state:
            raise UserError(
                f"the model's tensors lack {missing} and its config does not tie it to {there}; set tie_word_embeddings to "
                f"true in {CONFIG} if the two are one, else save the model again with both."
            )
    _check_names(state, decoder)
    shapes = jax.eval_shape(lambda: init_params(decoder, 0))
    params = {ours: _tensor(state, theirs, shapes[ours].shape) for ours, theirs in OUTSIDE.items()}
    if not decoder.tied_head:
        params["head"] = _tensor(state, HEAD, shapes["head"].shape)
    params["blocks"] = {}
    for (module, leaf), theirs in IN_BLOCK.items():
        shape = shapes["blocks"][module][leaf].shape[1:]
        layers = [_tensor(state, f"h.{layer}.{theirs}", shape) for layer in range(decoder.layers)]
        params["blocks"].setdefault(module, {})[leaf] = np.stack(layers)
    return decoder, params


def to_gpt2(config: DecoderConfig, params: dict) -> tuple[dict[str, np.ndarray], dict]:
    """Our parameters as `(state dict of GPT2LMHeadModel, its config)`; frozen rows become rows of the one table.

    A tied head has no tensor of its own, as in the files that Hugging Face writes.
    """
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), params)
    if "embed_frozen" in params:
        params = params | {"embed_table": np.concatenate([params["embed_table"], params["embed_frozen"]])}
    state = {PREFIX + theirs: params[ours] for ours, theirs in OUTSIDE.items()}
    for layer in range(config.layers):
        for (module, leaf), theirs in IN_BLOCK.items():
            state[f"{PREFIX}h.{layer}.{theirs}"] = params["blocks"][module][leaf][layer]
    if not config.tied_head:
        state[HEAD] = params["head"]
    hf_config = ONLY | {
        "architectures": ["GPT2LMHeadModel"],
        "vocab_size": config.vocab_size,
        "n_positions": config.max_length,
        "n_embd": config.width,
        "n_layer": config.layers,
        "n_head": config.heads,
        "n_inner": None if config.ffn_width == 4 * config.width else config.ffn_width,
        "tie_word_embeddings": config.tied_head,
        # Theirs would be dropout of 0.1 and GPT-2's end of text, which no other vocabulary has.
        "resid_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "attn_pdrop": 0.0,
        "bos_token_id": None,
        "eos_token_id": None,
        "dtype": "float32",
    }
    return state, hf_config


def _decoder_config(config: dict) -> DecoderConfig:
    for name, value in ONLY.items():
        if config.get(name, value) != value:
            raise UserError(
                f"the model's config has {name} = {quoted(config[name])} and this decoder does {value!r} only; convert another."
            )
    sizes = ("vocab_size", "n_embd", "n_layer", "n_head", "n_positions")
    if absent := [name for name in sizes if config.get(name) is None]:
        raise UserError(
            f"the model's config lacks {', '.join(absent)}; it is not a Hugging Face GPT-2: check {CONFIG}."
        )
    for name in (*sizes, "n_inner"):
        size, most = config.get(name), MOST_LAYERS if name == "n_layer" else LARGEST_SIZE
        if name == "n_inner" and size is None:
            continue
        if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= most:
            raise UserError(
                f"the model's config has {name} = {quoted(size)}; check {CONFIG}: it is a whole number from 1 to {most}."
            )
    tied = config.get("tie_word_embeddings", True)
    if not isinstance(tied, bool):
        raise UserError(f"the model's config has tie_word_embeddings = {quoted(tied)}; set it to true or false.")
    if config["n_embd"] % config["n_head"]:
        raise UserError(
            f"the model's config has n_embd = {config['n_embd']}, which n_head = {config['n_head']} does not divide; check "
            f"that {CONFIG} is this model's."
        )
    return DecoderConfig(
        vocab_size=config["vocab_size"],
        width=config["n_embd"],
        layers=config["n_layer"],
        heads=config["n_head"],
        ffn_width=config.get("n_inner") or 4 * config["n_embd"],
        max_length=config["n_positions"],
        tied_head=config.get("tie_word_embeddings", True),
    )


def _without_prefix(state: dict) -> dict:
    """The tensors by name without `PREFIX`; constants are left out."""
    short = {}
    for name, tensor in state.items():
        bare = name.removeprefix(PREFIX)
        if CAUSAL_MASK.fullmatch(name):
            continue
        if bare in short and not np.array_equal(short[bare], tensor):
            raise UserError(
                f"the model's tensors hold two different {bare}, with {PREFIX} before it and without; delete one."
            )
        short[bare] = tensor
    return short


def _their_names(config: DecoderConfig) -> set[str]:
    """The tensors of a model of this shape, without their prefix."""
    blocks = {f"h.{layer}.{name}" for layer in range(config.layers) for name in IN_BLOCK.values()}
    return {*OUTSIDE.values(), *blocks, *(() if config.tied_head else (HEAD,))}


def _check_names(state: dict, config: DecoderConfig) -> None:
    layers = len({match[1] for match in map(BLOCK.match, state) if match})
    if layers and layers != config.layers:
        raise UserError(
            f"the model's tensors are of {layers} layers and its config has n_layer = {config.layers}; check that {CONFIG} is "
            "this model's, and that all parts of the model are there."
        )
    wanted = _their_names(config)
    lacking, more = sorted(wanted - state.keys()), sorted(state.keys() - wanted)
    if lacking:
        raise UserError(f"the model's tensors lack {_some(lacking)}; save the GPT2LMHeadModel again, whole.")
    if more:
        raise UserError(
            f"the model's tensors hold {_some(more)}; a GPT2LMHeadModel of its config has none such: save it without."
        )


def _some(names: list[str]) -> str:
    return names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "")


def _tensor(state: dict, name: str, shape: tuple) -> np.ndarray:
    tensor = np.asarray(state[name])
    if tensor.T.shape == shape != tensor.shape:
        raise UserError(
            f"{name} has shape {tensor.shape}, [out, in]; GPT-2's matrices are [in, out]: transpose them all."
        )
    if tensor.shape != shape:
        raise UserError(
            f"{name} has shape {tensor.shape} and the model's config asks for {shape}; check that {CONFIG} is this model's."
        )
    if tensor.dtype not in EXACT.values():
        raise _inexact(name, tensor.dtype.name)
    return tensor.astype(np.float32)


def _inexact(name: str, dtype: str) -> UserError:
    return UserError(f"{name} is {dtype}, which float32 does not hold exactly; save the model in float32 or a half.")


def read_huggingface(directory) -> tuple[DecoderConfig, dict]:
    """Config and parameters of a folder with config.json and model.safetensors, in one file or in parts with an index.

    Raises:
      UserError: as `from_gpt2`; or a file is missing or broken.
    """
    directory = files.path(directory)
    if not (directory / CONFIG).exists():
        raise UserError(f"there is no {CONFIG} in {directory}; give the folder that save_pretrained wrote.")
    again = "copy the model's folder again"
    config = files.read_json(directory / CONFIG, dict, again)
    if (directory / WEIGHTS).exists():
        parts = [WEIGHTS]
    elif (directory / INDEX).exists():
        parts = _parts(directory / INDEX)
    else:
        raise UserError(f"there is no {WEIGHTS} in {directory}; save the model with safe_serialization=True.")
    state = {}
    for part in parts:
        content = files.read_bytes(directory / part, f"{again}.")
        try:
            state |= _read(content)
        except (ValueError, safetensors.SafetensorError) as error:
            raise UserError(f"cannot read {directory / part} ({one_line(error)}); {again}.") from error
    return from_gpt2(state, config)


def _parts(index) -> list[str]:
    """The files that an index names; each lies beside it."""
    parts = files.read_json(index, dict).get("weight_map")
    if not isinstance(parts, dict) or not parts:
        raise UserError(f"{index} has no weight_map of tensors and their files; copy the model's folder again.")
    return sorted({files.safe_name(part, f"{index}: a file of {quoted(name)}") for name, part in parts.items()})


def _read(content: bytes) -> dict[str, np.ndarray]:
    """The weights in a safetensors file (whose own NumPy reader does not know bfloat16)."""
    state = {}
    for name, view in safetensors.deserialize(content):
        if CAUSAL_MASK.fullmatch(name):
            continue
        if view["dtype"] not in EXACT:
            raise _inexact(name, view["dtype"])
        state[name] = np.frombuffer(view["data"], EXACT[view["dtype"]]).reshape(view["shape"])
    return state


def write_huggingface(directory, config: DecoderConfig, params: dict) -> None:
    """Writes config.json and model.safetensors, which `GPT2LMHeadModel.from_pretrained(directory)` reads.

    Raises:
      UserError: there is a model already.
    """
    directory = files.path(directory)
    for name in (CONFIG, WEIGHTS, INDEX):
        if (directory / name).exists():
            raise UserError(f"{directory / name} exists already; give a new folder.")
    state, hf_config = to_gpt2(config, params)
    # safetensors writes an array's memory as it lies, whatever its strides: a transposed view would be garbage.
    state = {name: np.ascontiguousarray(tensor) for name, tensor in state.items()}
    files.write_atomic(directory / WEIGHTS, safetensors.numpy.save(state, metadata={"format": "pt"}))
    files.write_json(directory / CONFIG, hf_config)  # last: a folder without it is not a model

"""Folders that transformers reads and writes: a model's config.json with its weights and its tokenizer's files.

Weights are read straight onto the devices (`leaf_buffers.py`), and written from there a tensor at a time. config.json is
written last: a folder without it is not a model, however the writing ended.
"""

import json
from collections.abc import Callable

import jax
from jax.sharding import Mesh

from babel_jax.common import files
from babel_jax.common.errors import UserError
from babel_jax.model import huggingface, placement, tokenizer_files, weight_files
from babel_jax.model.decoder import DecoderConfig
from babel_jax.model.families import catalogue
from babel_jax.model.families.config_keys import CONFIG
from babel_jax.model.leaf_buffers import LeafBuffers
from babel_jax.model.sharding import make_mesh
from babel_jax.model.tokenizer_files import TokenizerFiles
from babel_jax.model.weight_files import SHARD_BYTES

GENERATION = "generation_config.json"


def read_model(directory, mesh_of: Callable[[DecoderConfig], Mesh] | None = None) -> tuple[DecoderConfig, dict]:
    """Config and parameters (float32) of a folder with config.json and weights.

    Args:
      mesh_of: where the parameters of such a model are to lie; by default on the first device.

    Raises:
      UserError: a file is missing or broken; or as `huggingface.moves`.
    """
    hf_config = read_config(directory)
    config, wanted = huggingface.moves(weight_files.read_folder(directory), hf_config)
    mesh = mesh_of(config) if mesh_of else make_mesh(devices=jax.local_devices()[:1])
    buffers = LeafBuffers(placement.abstract_params(config, mesh))
    for move in wanted:
        for name, view in move.views(config):
            buffers.put(name, view, move.layer, move.source.release)
    return config, buffers.finished()


def read_config(directory) -> dict:
    """The config.json of a folder.

    Raises:
      UserError: there is none, or it is broken.
    """
    directory = files.path(directory)
    if (directory / CONFIG).exists():
        return files.read_json(directory / CONFIG, dict, weight_files.AGAIN)
    if weights_missing := weight_files.other_kind(directory):
        raise weights_missing
    raise UserError(f"there is no {CONFIG} in {directory}; give the folder that save_pretrained wrote.")


def write_model(
    directory,
    config: DecoderConfig,
    params: dict,
    tokenizer: TokenizerFiles | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Writes a folder that AutoModelForCausalLM and AutoTokenizer of transformers read.

    Args:
      tokenizer: the model's own, where it is known.
      shard_bytes: how large a file of weights may be.

    Raises:
      UserError: there is a model already; no family has such a model; a file cannot be written.
    """
    directory = files.path(directory)
    for name in (CONFIG, weight_files.WEIGHTS, weight_files.INDEX):
        if (directory / name).exists():
            raise UserError(f"{directory / name} exists already; give a new folder.")
    family = catalogue.of(config)
    tokenizer = tokenizer or TokenizerFiles({}, {})
    tokenizer_files.check_belongs(tokenizer.contents, config.vocab_size, "to be written")
    weight_files.write_weights(directory, huggingface.their_tensors(family, config, params), shard_bytes)
    generation = json.dumps({"_from_model_config": True} | dict(tokenizer.tokens), indent=2) + "\n"
    tokenizer_files.write(directory, {GENERATION: generation.encode()} | dict(tokenizer.contents))
    files.write_json(directory / CONFIG, catalogue.written(family, config) | dict(tokenizer.tokens))

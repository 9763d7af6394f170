"""Models of Hugging Face's transformers and ours: the same numbers under other names, in both directions, bit for bit.

Theirs are a state dict and a config.json; ours are a config and the parameter tree of `model/decoder.py`. Which tensor is
which stands in `families/`. Nothing here needs torch or transformers. Letters as in `model/decoder.py`.
"""

import functools
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from babel_jax.common.errors import UserError
from babel_jax.model.decoder import DecoderConfig
from babel_jax.model.families import catalogue
from babel_jax.model.families.config_keys import CONFIG
from babel_jax.model.families.family import PLAIN, Family, Layout, Tensor, leaf_shapes
from babel_jax.model.weight_files import EXACT, NewTensor, inexact

LAYER = re.compile(r"(?:^|\.)(\d+)\.")


class Move(NamedTuple):
    """A tensor of theirs, or one layer of it, and what it holds of ours. `source`: an array, or what NumPy makes one of."""

    source: Any
    tensor: Tensor
    layer: int | None

    def views(self, config: DecoderConfig) -> Iterator[tuple[str, np.ndarray]]:
        """The leaves that it holds, or their layer: (name, view of the source)."""
        return zip(self.tensor.ours, self.tensor.layout.split(np.asarray(self.source), config), strict=True)


def from_huggingface(state: Mapping[str, np.ndarray], hf_config: dict) -> tuple[DecoderConfig, dict]:
    """Their tensors and config.json as `(decoder config, parameters)`; parameters are NumPy float32.

    Raises:
      UserError: as `moves`.
    """
    config, wanted = moves(state, hf_config)
    leaves = {path: np.empty(shape, np.float32) for path, shape in leaf_shapes(config).items()}
    for move in wanted:
        for path, view in move.views(config):
            leaves[path][... if move.layer is None else move.layer] = view
    return config, tree(leaves)


def tree(by_path: Mapping) -> dict:
    """{"blocks/q/kernel": …} as nested dicts."""
    nested = {}
    for path, leaf in by_path.items():
        *above, name = path.split("/")
        place = nested
        for part in above:
            place = place.setdefault(part, {})
        place[name] = leaf
    return nested


def moves(state: Mapping[str, Any], hf_config: dict) -> tuple[DecoderConfig, list[Move]]:
    """`(decoder config, what fills all of its parameters)`; nothing has been read yet.

    Args:
      state: their tensors by name: anything with a shape and a dtype that NumPy makes an array of.

    Raises:
      UserError: the config asks for what the decoder does not do, or tensors are missing, too many, of another shape or of a
        type that float32 does not hold exactly.
    """
    family, config = catalogue.read_config(hf_config)
    state = _one_of_a_tied_pair(_bare_names(state, family), family, config)
    _check_names(state, family, config)
    found = []
    for tensor in family.tensors(config):
        for layer, name in enumerate(tensor.names(config.layers)):
            bare = name.removeprefix(family.prefix)
            _check(bare, state[bare], tensor, family)
            found.append(Move(state[bare], tensor, layer if tensor.of_a_layer else None))
    return config, found


def to_huggingface(config: DecoderConfig, params: dict) -> tuple[dict[str, np.ndarray], dict]:
    """Our parameters as `(state dict, config.json)` of the family that `catalogue.of` names; frozen rows become rows of the one
    table. A tied head has no tensor of its own, as in the files that transformers writes.

    Raises:
      UserError: no family has such models.
    """
    family = catalogue.of(config)
    return {one.name: one.array() for one in their_tensors(family, config, params)}, catalogue.written(family, config)


def their_tensors(family: Family, config: DecoderConfig, params: dict) -> Iterator[NewTensor]:
    """The tensors of a model of ours; of parameters on devices one layer at a time is fetched, when it is asked for."""
    for tensor in family.tensors(config):
        parts = [_leaf(params, path) for path in tensor.ours]
        for layer, name in enumerate(tensor.names(config.layers)):
            layer = layer if tensor.of_a_layer else None
            yield NewTensor(name, tensor.shape, functools.partial(_joined, tensor.layout, parts, layer))


def _joined(layout: Layout, parts: list, layer: int | None) -> np.ndarray:
    mine = [part if layer is None else part[layer] for part in parts]
    return layout.join(*(np.asarray(part, np.float32) for part in mine))


def _leaf(params: dict, path: str):
    if path == "embed_table" and "embed_frozen" in params:
        return np.concatenate([params["embed_table"], params["embed_frozen"]])
    for part in path.split("/"):
        params = params[part]
    return params


# --- what may be wrong with a state dict ------------------------------------------------------------------------------------


def _bare_names(state: Mapping, family: Family) -> dict:
    """The tensors by their names without the family's prefix, as this version calls them; constants are left out."""
    bare_state = {}
    for name, tensor in state.items():
        bare = name.removeprefix(family.prefix)
        bare = family.also.get(bare, bare)
        if re.fullmatch(family.constants, name):
            continue
        if bare in bare_state and not np.array_equal(bare_state[bare], tensor):
            raise UserError(f"the model's tensors hold two different {bare}, under two of its names; delete one.")
        bare_state[bare] = tensor
    return bare_state


def _one_of_a_tied_pair(state: dict, family: Family, config: DecoderConfig) -> dict:
    """The tensors without a head that the config ties to the table of embeddings; some savers keep either of the two names."""
    head, table = (
        f"{row.theirs}.weight" for ours in ("head", "embed_table") for row in family.rows if row.ours == ours
    )
    if config.tied_head and head in state:
        state = dict(state)
        other = state.pop(head)
        if not np.array_equal(other, state.setdefault(table, other)):
            raise UserError(
                f"{head} differs from {table} although the config ties them; set tie_word_embeddings to false in it."
            )
    for missing, there in ((head, table), (table, head)):
        if not config.tied_head and missing not in state and there in state:
            raise UserError(
                f"the model's tensors lack {missing} and its config does not tie it to {there}; set tie_word_embeddings to "
                f"true in {CONFIG} if the two are one, else save the model again with both."
            )
    return state


def _check_names(state: dict, family: Family, config: DecoderConfig) -> None:
    wanted = {
        name.removeprefix(family.prefix) for tensor in family.tensors(config) for name in tensor.names(config.layers)
    }
    layers = len({match[1] for match in map(LAYER.search, state) if match})
    if layers and layers != config.layers:
        raise UserError(
            f"the model's tensors are of {layers} layers and its config has {family.sizes['layers']} = {config.layers}; check "
            f"that {CONFIG} is this model's, and that all parts of the model are there."
        )
    lacking, more = sorted(wanted - state.keys()), sorted(state.keys() - wanted)
    if lacking:
        raise UserError(f"the model's tensors lack {_some(lacking)}; save the {family.architecture} again, whole.")
    if more:
        raise UserError(
            f"the model's tensors hold {_some(more)}; a {family.architecture} of its config has none such: save it without."
        )


def _some(names: list[str]) -> str:
    return names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "")


def _check(name: str, array, tensor: Tensor, family: Family) -> None:
    found, wanted = array.shape, tensor.shape
    if found[::-1] == wanted != found:
        order = "[in, out]" if tensor.layout is PLAIN else "[out, in]"
        raise UserError(
            f"{name} has shape {found} in place of {wanted}; matrices of a {family.architecture} are {order}: transpose them all."
        )
    if found != wanted and found[1:] == wanted[1:] and tensor.ours[0] in ("embed_table", "head"):
        raise UserError(
            f"{name} has {found[0]} rows and the model's config has {family.sizes['vocab_size']} = {wanted[0]}; set it to "
            f"{found[0]} in {CONFIG} (rows beyond the tokenizer's are padding), or save the model again."
        )
    if found != wanted:
        raise UserError(
            f"{name} has shape {found} and the model's config asks for {wanted}; check that {CONFIG} is this model's."
        )
    if array.dtype not in EXACT.values():
        raise inexact(name, array.dtype.name)

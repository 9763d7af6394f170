"""Models of Hugging Face's transformers and ours: the same numbers under other names, in both directions, bit for bit.

Theirs are a state dict and a config.json; ours are a config and the parameter tree of `model/decoder.py`. Which tensor is
which stands in `families/`. Nothing here needs torch or transformers. Letters as in `model/decoder.py`.
"""

import dataclasses
import re
from collections.abc import Iterator, Mapping

import ml_dtypes
import numpy as np
import safetensors
import safetensors.numpy

from babel_jax.common import files
from babel_jax.common.errors import UserError, one_line, quoted
from babel_jax.model.decoder import DecoderConfig
from babel_jax.model.families import catalogue
from babel_jax.model.families.config_keys import CONFIG
from babel_jax.model.families.family import PLAIN, Family, Tensor, leaf_shapes

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
EXACT = {
    "F32": np.float32,
    "F16": np.float16,
    "BF16": ml_dtypes.bfloat16,
}  # what float32 holds exactly, by its name in files
# Tensors that are no weights, in files of any family: they may be of any type.
CONSTANTS = re.compile("|".join(f"(?:{family.constants})" for family in catalogue.FAMILIES))
LAYER = re.compile(r"(?:^|\.)(\d+)\.")


@dataclasses.dataclass(frozen=True)
class Leaf:
    """One of our parameters as views of their tensors, which may lie in files: nothing is read before it is asked for.

    Attributes:
      parts: the parameter, or one view for each layer, which then is its first axis.
      stacked: whether it has that axis.
    """

    parts: tuple[np.ndarray, ...]
    stacked: bool

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.parts), *self.parts[0].shape) if self.stacked else self.parts[0].shape

    def read(self, index: tuple = ()) -> np.ndarray:
        """The numbers at `index` (slices, as of a NumPy array), float32 in an array of its own."""
        if not self.stacked:
            return np.array(self.parts[0][index], np.float32)
        layers = self.parts[index[0]] if index else self.parts
        return np.stack([part[tuple(index[1:])] for part in layers]).astype(np.float32, copy=False)


def from_huggingface(state: Mapping[str, np.ndarray], hf_config: dict) -> tuple[DecoderConfig, dict]:
    """Their tensors and config.json as `(decoder config, parameters)`; parameters are NumPy float32.

    Raises:
      UserError: as `leaves`.
    """
    config, leaves_by_path = leaves(state, hf_config)
    return config, tree({path: leaf.read() for path, leaf in leaves_by_path.items()})


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


def leaves(state: Mapping[str, np.ndarray], hf_config: dict) -> tuple[DecoderConfig, dict[str, Leaf]]:
    """`(decoder config, our parameters by name)`, of which nothing has been read; `state` may be memory-mapped files.

    Raises:
      UserError: the config asks for what the decoder does not do, or tensors are missing, too many, of another shape or of a
        type that float32 does not hold exactly.
    """
    family, config = catalogue.read_config(hf_config)
    tensors = family.tensors(config)
    state = _one_of_a_tied_pair(_bare_names(state, family), family, config)
    _check_names(state, family, config)
    views = {path: [] for path in leaf_shapes(config)}
    for tensor in tensors:
        for name in tensor.names(config.layers):
            bare = name.removeprefix(family.prefix)
            _check(bare, state[bare], tensor, family)
            for path, view in zip(tensor.ours, tensor.layout.split(state[bare], config), strict=True):
                views[path].append(view)
    return config, {path: Leaf(tuple(parts), path.startswith("blocks/")) for path, parts in views.items()}


def to_huggingface(config: DecoderConfig, params: dict) -> tuple[dict[str, np.ndarray], dict]:
    """Our parameters as `(state dict, config.json)` of the family that `catalogue.of` names; frozen rows become rows of the one
    table. A tied head has no tensor of its own, as in the files that transformers writes.

    Raises:
      UserError: no family has such models.
    """
    family = catalogue.of(config)
    return dict(their_tensors(family, config, params)), catalogue.written(family, config)


def their_tensors(family: Family, config: DecoderConfig, params: dict) -> Iterator[tuple[str, np.ndarray]]:
    """The tensors of a model of ours, one after another: (name, float32 array, which may be a view of a parameter)."""
    for tensor in family.tensors(config):
        parts = [_leaf(params, path) for path in tensor.ours]
        for layer, name in enumerate(tensor.names(config.layers)):
            mine = [part[layer] if tensor.of_a_layer else part for part in parts]
            yield name, tensor.layout.join(*(np.asarray(part, np.float32) for part in mine))


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
            raise UserError(
                f"the model's tensors hold two different {bare}, with {family.prefix} before it and without; delete one."
            )
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


def _check(name: str, array: np.ndarray, tensor: Tensor, family: Family) -> None:
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
        raise _inexact(name, array.dtype.name)


def _inexact(name: str, dtype: str) -> UserError:
    return UserError(f"{name} is {dtype}, which float32 does not hold exactly; save the model in float32 or a half.")


# --- folders ------------------------------------------------------------------------------------------------------------------


def read_huggingface(directory) -> tuple[DecoderConfig, dict]:
    """Config and parameters of a folder with config.json and model.safetensors, in one file or in parts with an index.

    Raises:
      UserError: as `from_huggingface`; or a file is missing or broken.
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
    return from_huggingface(state, config)


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
        if CONSTANTS.fullmatch(name):
            continue
        if view["dtype"] not in EXACT:
            raise _inexact(name, view["dtype"])
        state[name] = np.frombuffer(view["data"], EXACT[view["dtype"]]).reshape(view["shape"])
    return state


def write_huggingface(directory, config: DecoderConfig, params: dict) -> None:
    """Writes config.json and model.safetensors, which `from_pretrained(directory)` of transformers reads.

    Raises:
      UserError: there is a model already.
    """
    directory = files.path(directory)
    for name in (CONFIG, WEIGHTS, INDEX):
        if (directory / name).exists():
            raise UserError(f"{directory / name} exists already; give a new folder.")
    state, hf_config = to_huggingface(config, params)
    # safetensors writes an array's memory as it lies, whatever its strides: a transposed view would be garbage.
    state = {name: np.ascontiguousarray(tensor) for name, tensor in state.items()}
    files.write_atomic(directory / WEIGHTS, safetensors.numpy.save(state, metadata={"format": "pt"}))
    files.write_json(directory / CONFIG, hf_config)  # last: a folder without it is not a model

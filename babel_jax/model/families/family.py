"""What a family of models is to us: a record of names. `catalogue.py` lists the families, `huggingface.py` moves the numbers.

A table's rows name modules; `tensors` says which tensors a model of a given shape has. Letters as in `model/decoder.py`.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from babel_jax.model.architecture import Architecture
from babel_jax.model.decoder import DecoderConfig, init_params
from babel_jax.model.families.config_keys import SIZES
from babel_jax.model.sharding import path_name


@dataclasses.dataclass(frozen=True)
class Layout:
    """How one of their tensors holds leaves of ours (those of one layer).

    Attributes:
      name: for messages and the page.
      split: (theirs, config) -> our leaves, as views: nothing is read or copied.
      join: (our leaves) -> theirs.
      shape: (the shapes of our leaves) -> the shape of theirs.
    """

    name: str
    split: Callable[[np.ndarray, DecoderConfig], tuple[np.ndarray, ...]]
    join: Callable[..., np.ndarray]
    shape: Callable[..., tuple[int, ...]]


def _heads_last(x_NxHx: np.ndarray) -> np.ndarray:
    """[N, H, D] -> [D, N, H], or [N, H] as it is."""
    return np.moveaxis(x_NxHx, (0, 1), (-2, -1))


def _heads_first(x_xNxH: np.ndarray) -> np.ndarray:
    return np.moveaxis(x_xNxH, (-2, -1), (0, 1))


def _with_heads(theirs: np.ndarray, config: DecoderConfig, *between: int) -> np.ndarray:
    return theirs.reshape(-1, *between, config.head_width, *theirs.shape[1:])


PLAIN = Layout("as it is", lambda x, _: (x,), lambda x: x, lambda shape: shape)
# The weight of a torch.nn.Linear is [out, in]; its bias has nothing to transpose.
TRANSPOSED = Layout("[out, in]", lambda x, _: (x.T,), lambda x: x.T, lambda shape: shape[::-1])
HEADS = Layout(
    "[(n h), d]",
    lambda x, config: (_heads_last(_with_heads(x, config)),),
    lambda x: _heads_first(x).reshape(-1, *x.shape[:-2]),
    lambda shape: (shape[-2] * shape[-1], *shape[:-2]),
)
# Query, key and value of a head are neighbours.
FUSED_BY_HEAD = Layout(
    "[(n 3 h), d]",
    lambda x, config: tuple(_heads_last(part) for part in np.moveaxis(_with_heads(x, config, 3), 1, 0)),
    lambda *parts: np.stack([_heads_first(part) for part in parts], axis=1).reshape(-1, *parts[0].shape[:-2]),
    lambda shape, *_: (3 * shape[-2] * shape[-1], *shape[:-2]),
)


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of a family's table.

    Attributes:
      theirs: a module of theirs, with "{layer}" where there is one in each layer; `.weight` and `.bias` are its tensors.
      ours: what it holds: "q" of a block, or "embed_table", "ln_f", "head".
      layout: how.
    """

    theirs: str
    ours: str | tuple[str, ...]
    layout: Layout = TRANSPOSED


@dataclasses.dataclass(frozen=True)
class Tensor:
    """One tensor of theirs, or one a layer. `ours`: the leaves that it holds, named as in `model/sharding.py`; `theirs`: its name
    in the family's files, with "{layer}"; `shape`: its shape."""

    ours: tuple[str, ...]
    theirs: str
    layout: Layout
    shape: tuple[int, ...]

    @property
    def of_a_layer(self) -> bool:
        return "{layer}" in self.theirs

    def names(self, layers: int) -> list[str]:
        """The tensor's name in each layer; a single name outside the layers."""
        return [self.theirs.format(layer=layer) for layer in range(layers)] if self.of_a_layer else [self.theirs]


@dataclasses.dataclass(frozen=True)
class Family:
    """A family of models of Hugging Face's transformers.

    Attributes:
      model_type, architecture: as its config.json says.
      prefix: what the names of all tensors but the head's begin with.
      rows: its tensors.
      keys: the keys of config.json that are read, and what is meant where one is absent (`config_keys.NEEDED`: it must be there).
      only: keys that would change the computation, and the values at which the decoder does the same.
      idle: keys of this family without effect on the output, beside `config_keys.BOOKKEEPING`.
      read: (all of `keys`) -> the decoder's config.
      write: (config) -> the keys that it is written as; of a config that is not of this family: any that do not mean it.
      start: (head width, layers) -> the keys of a model that is trained from scratch, where they are not the defaults.
      sizes: fields of the decoder's config, and what they are called.
      also: names that tensors have in other versions' files, and their names here.
      constants: a pattern of tensors that are not weights.
    """

    model_type: str
    architecture: str
    prefix: str
    rows: tuple[Row, ...]
    keys: Mapping[str, Any]
    only: Mapping[str, tuple]
    read: Callable[[dict], DecoderConfig]
    write: Callable[[DecoderConfig], dict]
    start: Callable[[int, int], dict]
    idle: tuple[str, ...] = ()
    sizes: Mapping[str, str] = dataclasses.field(default_factory=lambda: SIZES)
    also: Mapping[str, str] = dataclasses.field(default_factory=dict)
    constants: str = r"(.*\.)?rotary_emb\.inv_freq"

    def scratch(self, width: int, head_width: int, layers: int) -> Architecture:
        """What a model of this family that is trained from scratch here is made of; `start` says where its numbers are from."""
        sizes = dict.fromkeys(self.sizes, 1) | {"width": width, "layers": layers, "head_width": head_width}
        if "head_width" not in self.sizes:
            sizes["heads"] = width // head_width
        keys = {theirs: sizes[ours] for ours, theirs in self.sizes.items()}
        return self.read(dict(self.keys) | keys | self.start(head_width, layers)).architecture

    def tensors(self, config: DecoderConfig) -> tuple[Tensor, ...]:
        """The tensors of a model of this shape (whose frozen rows are among its table's)."""
        return _tensors(self, dataclasses.replace(config, frozen_rows=0))


def _tensors(family: Family, config: DecoderConfig) -> tuple[Tensor, ...]:
    shapes = leaf_shapes(config)
    found = []
    for row in family.rows:
        modules = (row.ours,) if isinstance(row.ours, str) else row.ours
        for kind, leaves in (("weight", ("", "/kernel", "/scale", "_scale")), ("bias", ("/bias", "_bias"))):
            for leaf in leaves:
                block = "blocks/" if "{layer}" in row.theirs else ""
                ours = tuple(f"{block}{module}{leaf}" for module in modules)
                if all(path in shapes for path in ours):
                    mine = [shapes[path][1:] if block else shapes[path] for path in ours]
                    prefix = "" if ours == ("head",) else family.prefix
                    found.append(Tensor(ours, f"{prefix}{row.theirs}.{kind}", row.layout, row.layout.shape(*mine)))
    if without := shapes.keys() - {path for tensor in found for path in tensor.ours}:
        raise ValueError(f"the table of {family.model_type} has no row for {', '.join(sorted(without))}.")
    return tuple(found)


@functools.lru_cache(maxsize=64)
def leaf_shapes(config: DecoderConfig) -> dict[str, tuple[int, ...]]:
    """The shape of every parameter by its name, "blocks/q/kernel"."""
    abstract = jax.eval_shape(lambda: init_params(config, 0))
    return {path_name(path): leaf.shape for path, leaf in jax.tree_util.tree_leaves_with_path(abstract)}

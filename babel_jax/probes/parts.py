"""Parts of the parameters, named by the beginnings of their paths, that are restored from another checkpoint."""

import re

import jax
import jax.numpy as jnp
import numpy as np

from babel_jax.common.errors import UserError, unknown_name
from babel_jax.model.sharding import path_name


def restore(params: dict, other: dict, parts) -> dict:
    """`params` with the named parts of the parameters taken from another checkpoint: lost knowledge, or lost access to it?

    A part is the beginning of parameters' paths, and may choose rows of their first axis, counted from 0 (of `blocks/…`
    that axis is the layers): "embed_table", "embed_table[5,7,10:20]", "head[3]", "blocks", "blocks/ffn_",
    "blocks/ffn_[2]", "blocks/attention_out[0:2]". The result lies where `params` do.

    Raises:
      UserError: a part that matches nothing or that cannot be read, a row that does not exist, a checkpoint of another model.
    """
    ours, theirs = (
        {path_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)} for tree in (params, other)
    )
    for name in sorted(ours.keys() | theirs.keys()):
        shapes = [np.shape(tree[name]) if name in tree else "missing" for tree in (ours, theirs)]
        if shapes[0] != shapes[1]:
            raise UserError(
                f"this is a checkpoint of another model: '{name}' is {shapes[0]} here and {shapes[1]} there."
            )
    chosen = {}  # path -> rows [n] that are restored
    for part in [parts] if isinstance(parts, str) else parts:
        for name, rows_n in _chosen(part, ours).items():
            chosen[name] = chosen.get(name, False) | rows_n

    def choose(path, leaf):
        name = path_name(path)
        if name not in chosen:
            return leaf
        mask = chosen[name].reshape(-1, *(1,) * (np.ndim(leaf) - 1))
        if not isinstance(leaf, jax.Array):
            return np.where(mask, theirs[name], leaf)
        source = jax.device_put(theirs[name], leaf.sharding)
        return source if mask.all() else jax.device_put(jnp.where(mask, source, leaf), leaf.sharding)

    return jax.tree_util.tree_map_with_path(choose, params)


def _chosen(part: str, leaves: dict) -> dict:
    """Path -> mask [n] over the first axis of what `part` names."""
    match = re.fullmatch(r"([^\[\]]+)(?:\[([^\[\]]*)\])?", part)
    if not match:
        raise UserError(f"cannot read the part '{part}'; write it like embed_table, blocks/ffn_[2] or head[3,10:20].")
    prefix, selection = match.groups()
    lengths = {name: len(leaf) for name, leaf in leaves.items() if name.startswith(prefix)}
    if not lengths:
        folders = {"/".join(name.split("/")[:depth]) for name in leaves for depth in range(1, name.count("/") + 2)}
        raise unknown_name("part of the parameters", prefix, folders)
    if selection is None:
        return {name: np.ones(size, bool) for name, size in lengths.items()}
    if len(set(lengths.values())) > 1:
        raise UserError(
            f"'{part}' chooses rows of parameters of different lengths ({', '.join(lengths)}); name one of them."
        )
    size = next(iter(lengths.values()))
    mask_n = np.zeros(size, bool)
    for item in selection.split(","):
        bounds = re.fullmatch(r"\s*(\d+)\s*(?::\s*(\d+)\s*)?", item)
        if not bounds:
            raise UserError(f"cannot read '{item}' in '{part}'; write rows like 5,7,10:20.")
        start = int(bounds[1])
        stop = start + 1 if bounds[2] is None else int(bounds[2])
        if not start < stop <= size:
            raise UserError(f"rows {item.strip()} of '{part}' do not exist; '{prefix}' has rows 0 to {size - 1}.")
        mask_n[start:stop] = True
    return dict.fromkeys(lengths, mask_n)

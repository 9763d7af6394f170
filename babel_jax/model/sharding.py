"""The mesh, and one table that says how every leaf of the training state lies on it."""

import re

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from babel_jax.files import UserError

AXES = ("data", "fsdp", "tensor")
BATCH = P(("data", "fsdp"))  # rows of a batch; every other dimension of activations is left to the compiler

# First match wins. Adam's moments have the same paths below their own prefix, so the table covers them too.
RULES = (
    (r"embed_(table|frozen)$", P("tensor", "fsdp")),
    (r"embed_position$", P(None, "fsdp")),
    (r"head$", P("tensor", "fsdp")),
    (r"ln_f_(scale|bias)$", P()),
    (r"ln_[12]/(scale|bias)$", P()),
    (r"(qkv|ffn_in)/kernel$", P(None, "fsdp", "tensor")),
    (r"(qkv|ffn_in)/bias$", P(None, "tensor")),
    (r"(attention_out|ffn_out)/kernel$", P(None, "tensor", "fsdp")),
    (r"(attention_out|ffn_out)/bias$", P()),
    (r"(count|step)$", P()),
)


def make_mesh(data: int = -1, fsdp: int = 1, tensor: int = 1) -> Mesh:
    """A mesh over all devices; one axis may be -1 and is filled in. Axes are Auto: the compiler places what we do not."""
    sizes = dict(zip(AXES, (data, fsdp, tensor), strict=True))
    devices = jax.device_count()
    free = [name for name, size in sizes.items() if size == -1]
    fixed = int(np.prod([size for size in sizes.values() if size != -1]))
    if len(free) > 1 or devices % fixed or (not free and fixed != devices):
        raise UserError(f"mesh {sizes} does not fit {devices} devices; set one axis to -1 to have it filled in.")
    if free:
        sizes[free[0]] = devices // fixed
    return jax.make_mesh(tuple(sizes.values()), AXES, axis_types=(AxisType.Auto,) * len(AXES))


def path_name(path) -> str:
    return "/".join(str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", key)))) for key in path)


def shardings(mesh: Mesh, abstract_tree):
    """NamedSharding of every leaf. A leaf that no rule matches, or that its rule cannot divide, is an error."""

    def place(path, leaf):
        name = path_name(path)
        spec = next((spec for pattern, spec in RULES if re.search(pattern, name)), None)
        if spec is None:
            raise ValueError(f"no sharding rule matches the leaf '{name}' {leaf.shape}; add one to model/sharding.py.")
        for size, axes in zip(leaf.shape, spec, strict=False):
            parts = np.prod([mesh.shape[axis] for axis in np.atleast_1d(axes) if axis is not None], dtype=int)
            if size % parts:
                raise UserError(
                    f"'{name}' {leaf.shape} is not divisible by the mesh ({dict(mesh.shape)}) as {spec}; "
                    "choose another mesh or pad the dimension."
                )
        return NamedSharding(mesh, spec)

    return jax.tree_util.tree_map_with_path(place, abstract_tree)


def check_batch(mesh: Mesh, batch_size: int) -> None:
    """A batch must divide over the devices that hold its rows."""
    parts = mesh.shape["data"] * mesh.shape["fsdp"]
    if batch_size % parts:
        raise UserError(f"batch_size {batch_size} is not divisible by the {parts} devices of the data and fsdp axes.")

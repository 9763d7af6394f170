"""The mesh, and one table that says how every leaf of the training state lies on it."""

import re

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from babel_jax.common.errors import UserError

AXES = ("data", "fsdp", "tensor")
BATCH_AXES = ("data", "fsdp")
BATCH = P(BATCH_AXES)  # rows of a batch

# First match wins. Adam's moments have the same paths below a prefix of their own.
RULES = (
    (r"embed_table$", P("tensor", "fsdp")),
    (r"embed_frozen$", P("tensor", "fsdp")),
    (r"embed_position$", P(None, "fsdp")),
    (r"head$", P("tensor", "fsdp")),
    (r"ln_f_(scale|bias)$", P()),
    (r"ln_([12]|[12]_out|q|k)/(scale|bias)$", P()),
    (r"(qkv|ffn_in|ffn_gate)/kernel$", P(None, "fsdp", "tensor")),
    (r"(qkv|ffn_in|ffn_gate)/bias$", P(None, "tensor")),
    (r"/q/kernel$", P(None, "fsdp", "tensor", None)),
    (r"/q/bias$", P(None, "tensor", None)),
    (r"/[kv]/kernel$", P(None, "fsdp", "tensor", None)),
    (r"/[kv]/bias$", P(None, "tensor", None)),
    (r"(attention_out|ffn_out)/kernel$", P(None, "tensor", "fsdp")),
    (r"(attention_out|ffn_out)/bias$", P()),
    (r"(count|step|spike/mean|spike/variance)$", P()),
)
# Parts that not every model has: without them a rule may match no leaf.
MAY_BE_UNUSED = ("embed_frozen", "embed_position", "head", "ln_", "qkv", "/q/", "/[kv]/", "bias")
# Fewer keys and values than devices on the axis: each of these has all of them.
WHERE_THEY_DIVIDE = ("/[kv]/", "kv_heads", "cache")

# Where activations lie; every other dimension is whole on each device.
ACTIVATIONS = {
    "residual": P(BATCH_AXES, None, None),
    "heads": P(BATCH_AXES, None, "tensor", None),
    "kv_heads": P(BATCH_AXES, None, "tensor", None),
    "cache": P(BATCH_AXES, "tensor", None, None),  # keys and values of earlier tokens
    "ffn": P(BATCH_AXES, None, "tensor"),
    "head": P("tensor", None),  # an output embedding that is about to be used
}


# Options of the TPU compiler, for steps and probes. 1. A matrix product whose operand is spread over devices is not cut
# into a product per device: each part would read and write the whole sum (twice the memory traffic of a step). 2. All-gathers
# overlap with computing. 3. They are all-gathers: over a torus of three dimensions the default is a sum of mostly zeros, whose
# result stays in memory from the forward to the backward pass.
COMPILER_OPTIONS = {
    "tpu": {
        "xla_jf_spmd_threshold_for_windowed_einsum_mib": "1000000",
        "xla_enable_async_all_gather": "true",
        "xla_tpu_enable_async_collective_fusion": "true",
        "xla_tpu_enable_async_collective_fusion_fuse_all_gather": "true",
        "xla_tpu_enable_async_collective_fusion_multiple_steps": "true",
        "xla_tpu_prefer_async_allgather_to_allreduce": "true",
    }
}


def make_mesh(data: int = -1, fsdp: int = 1, tensor: int = 1, devices=None) -> Mesh:
    """A mesh over `devices` (default: all); one axis may be -1 and is filled in. Axes are Auto: the compiler places the rest.

    Several TPU slices lie side by side along the axis `data`, whose traffic is one sum of gradients a step: everything
    else stays within a slice.
    """
    devices = jax.devices() if devices is None else list(devices)
    sizes = dict(zip(AXES, (data, fsdp, tensor), strict=True))
    free = [name for name, size in sizes.items() if size == -1]
    fixed = int(np.prod([size for size in sizes.values() if size != -1]))
    if len(free) > 1 or fixed < 1 or len(devices) % fixed or (not free and fixed != len(devices)):
        raise UserError(f"mesh {sizes} does not fit {len(devices)} devices; set one axis to -1 to have it filled in.")
    if free:
        sizes[free[0]] = len(devices) // fixed
    shape = tuple(sizes.values())
    slices = len({getattr(device, "slice_index", 0) for device in devices})
    if sizes["data"] % slices:
        raise UserError(f"mesh {sizes}: the axis data must be a multiple of the {slices} slices; set mesh.data.")
    split = dict(allow_split_physical_axes=True)  # where an axis of the chips' torus is longer than one of ours
    if slices == 1:
        grid = mesh_utils.create_device_mesh(shape, devices, **split)
    else:
        within = (sizes["data"] // slices, *shape[1:])
        grid = mesh_utils.create_hybrid_device_mesh(within, (slices, 1, 1), devices, **split)
    return Mesh(grid, AXES, axis_types=(AxisType.Auto,) * len(AXES))


def path_name(path) -> str:
    return "/".join(str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", key)))) for key in path)


def _rule(name: str) -> int:
    for index, (pattern, _) in enumerate(RULES):
        if re.search(pattern, name):
            return index
    raise ValueError(f"no sharding rule matches the leaf '{name}'; add one to model/sharding.py.")


def _parts(mesh: Mesh, axes) -> int:
    """Over how many devices one dimension is split."""
    return int(np.prod([mesh.shape[axis] for axis in np.atleast_1d(axes) if axis is not None], dtype=int))


def _dividing(mesh: Mesh, name: str, spec: P, shape) -> P:
    """The place of a leaf or an activation: axes that do not divide it are left out for those that `WHERE_THEY_DIVIDE` names."""
    if not any(part in name for part in WHERE_THEY_DIVIDE):
        return spec
    spec = (*spec, *(None,) * (len(shape) - len(spec)))
    return P(*(None if size % _parts(mesh, axes) else axes for size, axes in zip(shape, spec, strict=True)))


def shardings(mesh: Mesh, abstract_tree, complete: bool = False):
    """NamedSharding of every leaf. `complete`: it is a whole training state, so that every rule must be of use.

    Raises:
      ValueError: a leaf that no rule matches, or a rule that matches no leaf.
      UserError: a leaf that the mesh does not divide.
    """
    used = set()

    def place(path, leaf):
        name = path_name(path)
        rule = _rule(name)
        used.add(rule)
        spec = _dividing(mesh, *RULES[rule], leaf.shape)
        for size, axes in zip(leaf.shape, spec, strict=False):
            if size % _parts(mesh, axes):
                raise UserError(
                    f"'{name}' {leaf.shape} is not divisible by the mesh ({dict(mesh.shape)}) as {spec}; "
                    "choose another mesh or pad the dimension."
                )
        return NamedSharding(mesh, spec)

    placed = jax.tree_util.tree_map_with_path(place, abstract_tree)
    unused = [
        pattern
        for index, (pattern, _) in enumerate(RULES)
        if index not in used and not any(part in pattern for part in MAY_BE_UNUSED)
    ]
    if unused and complete:
        raise ValueError(f"the sharding rules {unused} match no leaf; correct or delete them in model/sharding.py.")
    return placed


def table(mesh: Mesh, abstract_tree) -> str:
    """How a state lies on the mesh: a line a rule, with the bytes of all its leaves and the bytes on one device.

    A rule has a further line for leaves that are whole along an axis because it does not divide them.
    """
    placed: dict[tuple, list] = {}
    leaves = jax.tree_util.tree_leaves_with_path(abstract_tree)
    for path, leaf in leaves:
        index = _rule(path_name(path))
        spec = tuple(_dividing(mesh, *RULES[index], leaf.shape))
        bytes_ = leaf.size * leaf.dtype.itemsize
        here = bytes_ // int(np.prod([_parts(mesh, axes) for axes in spec], dtype=int))
        placed.setdefault((index, spec), []).append((bytes_, here))
    lines = [("rule", "placed as", "leaves", "bytes", "a device")]
    for (index, spec), sizes in sorted(placed.items(), key=lambda item: item[0][0]):
        pattern, wanted = RULES[index]
        whole = [str(axes) for axes, axis in zip(wanted, spec, strict=False) if axes != axis]
        remark = f", not over {' and '.join(whole)}: it does not divide" if whole else ""
        total, here = (sum(column) for column in zip(*sizes, strict=True))
        lines.append((pattern, f"P{spec}{remark}", str(len(sizes)), _megabytes(total), _megabytes(here)))
    total, here = (sum(column) for column in zip(*(size for sizes in placed.values() for size in sizes), strict=True))
    lines.append(("all", f"mesh {dict(mesh.shape)}", str(len(leaves)), _megabytes(total), _megabytes(here)))
    widths = [max(len(line[column]) for line in lines) for column in range(5)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i < 2 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"


def constrain(x, kind: str, mesh: Mesh | None):
    """An activation laid out as `ACTIVATIONS[kind]`; without a mesh, as it is."""
    if mesh is None or mesh.size == 1:
        return x
    return jax.lax.with_sharding_constraint(x, activation_sharding(mesh, kind, x.shape))


def activation_sharding(mesh: Mesh, kind: str, shape) -> NamedSharding:
    """Where an activation of this shape lies, see `ACTIVATIONS`."""
    return NamedSharding(mesh, _dividing(mesh, kind, ACTIVATIONS[kind], shape))


def constrain_rows(x, mesh: Mesh, axis: int):
    """An array whose dimension `axis` counts a batch's rows, split as a batch is."""
    return jax.lax.with_sharding_constraint(x, NamedSharding(mesh, P(*(None,) * axis, BATCH_AXES)))


def row_devices(mesh: Mesh) -> int:
    """Among how many devices the rows of a batch are split."""
    return _parts(mesh, BATCH_AXES)


def check_batch(mesh: Mesh, batch_size: int, accumulation: int = 1) -> None:
    """A batch, and each of its micro-batches, must divide over the devices that hold its rows."""
    parts = row_devices(mesh)
    if batch_size % (parts * accumulation):
        raise UserError(
            f"batch_size {batch_size} is not divisible by the {parts} devices of the data and fsdp axes"
            + (f" times {accumulation} micro-batches." if accumulation > 1 else ".")
        )

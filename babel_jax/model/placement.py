"""Where rows, parameters and results lie on the devices at hand, for whatever runs a model without training it.

Parameters may lie on a mesh or on one device; rows follow them.
"""

import math

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding

from babel_jax.common.errors import UserError
from babel_jax.model.decoder import DecoderConfig, init_params
from babel_jax.model.sharding import BATCH, COMPILER_OPTIONS, row_devices, shardings

BATCH_ROWS = {True: 32, False: 16}  # rows a pass for short rows (at most 64 tokens) and for long ones


def layout(params, batch_size: int):
    """Where rows and where everything else goes on the devices that hold `params`: two shardings.

    Rows are split over the mesh's axes `data` and `fsdp`; without a mesh there is one device.

    Raises:
      UserError: the batch does not divide among the devices.
    """
    sharding = getattr(jax.tree.leaves(params)[0], "sharding", None)
    if not isinstance(sharding, NamedSharding):
        sharding = sharding or SingleDeviceSharding(jax.devices()[0])
        return sharding, sharding
    mesh = sharding.mesh
    devices = row_devices(mesh)
    if batch_size % devices:
        raise UserError(
            f"probe batch size {batch_size} is not divisible by the {devices} devices of the data axes; "
            f"choose a multiple of {devices}."
        )
    return NamedSharding(mesh, BATCH), NamedSharding(mesh, PartitionSpec())


def on_devices(params, batch_size: int):
    """The parameters where they are to be, and where rows and everything else go: see `layout`."""
    rows, everywhere = layout(params, batch_size)
    return jax.device_put(params, everywhere) if rows is everywhere else params, rows, everywhere


def devices_of_rows(params) -> int:
    """Among how many devices the rows are split that parameters read."""
    mesh = getattr(getattr(jax.tree.leaves(params)[0], "sharding", None), "mesh", None)
    return row_devices(mesh) if mesh else 1


def batch_rows(params, length: int) -> int:
    """Rows a pass: the number for rows of this length, raised to a multiple of the devices that share them."""
    return math.lcm(BATCH_ROWS[length <= 64], devices_of_rows(params))


def abstract_params(config: DecoderConfig, mesh: Mesh) -> dict:
    """Shapes, types and shardings of a model's parameters on a mesh: what a restore or a compilation needs."""
    abstract = jax.eval_shape(lambda: init_params(config, 0))
    return jax.tree.map(
        lambda leaf, where: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where),
        abstract,
        shardings(mesh, abstract),
    )


def jitted(function, everywhere, **options):
    """`jax.jit` with the platform's compiler options and, unless said otherwise, all results at `everywhere`."""
    mesh = getattr(everywhere, "mesh", None)
    platform = mesh.devices.flat[0].platform if mesh else None
    return jax.jit(
        function, **dict(out_shardings=everywhere, compiler_options=COMPILER_OPTIONS.get(platform)) | options
    )

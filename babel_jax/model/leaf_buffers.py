"""Parameters filled piece by piece on the devices where they are to lie, so that the host never holds them.

What is put is a view of a file. Each device gets its own slice of it, `CHUNK` bytes at a time and in the file's own dtype; the
device turns it into float32 and writes it into its part of the leaf, whose memory is used again (donated).
"""

import functools
import logging
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from babel_jax.model.sharding import path_name

log = logging.getLogger(__name__)
CHUNK = 8 << 20  # bytes of a slice that are on their way to a device at once


class LeafBuffers:
    """A tree of parameters in the making. On several hosts each fills what its own devices hold; all must do the same."""

    def __init__(self, abstract):
        """`abstract`: the tree's shapes, dtypes and shardings, as `placement.abstract_params` gives them."""
        leaves, self._tree = jax.tree_util.tree_flatten_with_path(abstract)
        self._abstract = {path_name(path): leaf for path, leaf in leaves}
        self._parts = {name: _empty(leaf) for name, leaf in self._abstract.items()}

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The shape of each leaf by its name, such as "blocks/q/kernel"."""
        return {name: leaf.shape for name, leaf in self._abstract.items()}

    def put(self, name: str, values: np.ndarray, layer: int | None = None) -> None:
        """Copies a whole leaf, or one layer of it, from an array of its shape; only what devices here hold is read."""
        leaf, parts = self._abstract[name], self._parts[name]
        where = leaf.sharding.addressable_devices_indices_map(leaf.shape)
        for device, part in parts.items():
            index = where[device] if layer is None else where[device][1:]
            parts[device] = _filled(part, values[index], layer, device)

    def finished(self):
        """The tree of arrays. Leaves that are not finite throughout are named in a warning."""
        arrays = {
            name: jax.make_array_from_single_device_arrays(
                leaf.shape, leaf.sharding, list(self._parts.pop(name).values())
            )
            for name, leaf in self._abstract.items()
        }
        for name, finite in _all_finite(arrays).items():
            if not finite:
                log.warning("the weights in %s are not all finite numbers: what the model computes may be NaN.", name)
        return jax.tree_util.tree_unflatten(self._tree, list(arrays.values()))


def _empty(leaf) -> dict:
    """Zeros for the part of a leaf that each device of this process holds."""
    shape = leaf.sharding.shard_shape(leaf.shape)
    return {device: jnp.zeros(shape, leaf.dtype, device=device) for device in leaf.sharding.addressable_devices}


def _filled(part: jax.Array, values: np.ndarray, layer: int | None, device) -> jax.Array:
    """One device's part of a leaf with its slice of new values, written a few rows at a time."""
    first = () if layer is None else (layer,)
    rows = max(1, CHUNK // max(1, values[:1].nbytes))
    for row in range(0, len(values), rows):
        chunk = np.ascontiguousarray(values[row : row + rows])
        start = (*first, row, *(0,) * (values.ndim - 1))
        part = _write(part, jax.device_put(chunk, device), start)
        part.block_until_ready()  # chunks that wait for the device would pile up on the host
    return part


@functools.partial(jax.jit, donate_argnums=0)
def _write(part, chunk, start):
    chunk = chunk.astype(part.dtype).reshape((1,) * (part.ndim - chunk.ndim) + chunk.shape)
    return jax.lax.dynamic_update_slice(part, chunk, start)


def _all_finite(arrays: Mapping[str, jax.Array]) -> dict[str, bool]:
    return jax.device_get(_finite(arrays))


@jax.jit
def _finite(arrays):
    return {name: jnp.isfinite(array).all() for name, array in arrays.items()}

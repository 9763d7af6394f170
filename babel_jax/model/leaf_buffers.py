"""Parameters filled piece by piece on the devices where they are to lie, so that the host never holds them.

What is put is a view of a file. Each device gets its own slice of it, `CHUNK` bytes at a time and in the file's own dtype; the
device turns it into float32 and writes it into its part of the leaf, whose memory is used again (donated).
"""

import functools
import logging
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from babel_jax.model.sharding import path_name

log = logging.getLogger(__name__)
CHUNK = 4 << 20  # bytes of a slice that are on their way to a device at once


class LeafBuffers:
    """A tree of parameters in the making. On several hosts each fills what its own devices hold; all must do the same."""

    def __init__(self, abstract):
        """`abstract`: the tree's shapes, dtypes and shardings, as `placement.abstract_params` gives them."""
        leaves, self._tree = jax.tree_util.tree_flatten_with_path(abstract)
        self._abstract = {path_name(path): leaf for path, leaf in leaves}
        self._parts = {name: _empty(leaf) for name, leaf in self._abstract.items()}

    def put(
        self, name: str, values: np.ndarray, layer: int | None = None, release: Callable[[], None] = lambda: None
    ) -> None:
        """Copies a whole leaf, or one layer of it, from an array of its shape; only what devices here hold is read.

        `release`: called after each piece, to give back the memory that pages of a file took.
        """
        leaf, parts = self._abstract[name], self._parts[name]
        where = leaf.sharding.addressable_devices_indices_map(leaf.shape)
        for device, part in parts.items():
            index = where[device] if layer is None else where[device][1:]
            for start, chunk in _pieces(values[index]):
                start = start if layer is None else (layer, *start)
                part = _written(part, jax.device_put(chunk, device), start)
                jax.block_until_ready(part)  # pieces that wait for the device would pile up on the host
                release()
            parts[device] = part

    def finished(self):
        """The tree of arrays. Leaves that are not finite throughout are named in a warning, by the host that holds the part."""
        arrays = {}
        for name, leaf in self._abstract.items():
            parts = self._parts.pop(name).values()
            if not all(bool(part.finite) for part in parts):
                log.warning("the weights in %s are not all finite numbers: what the model computes may be NaN.", name)
            filled = [part.values for part in parts]
            arrays[name] = jax.make_array_from_single_device_arrays(leaf.shape, leaf.sharding, filled)
        return jax.tree_util.tree_unflatten(self._tree, list(arrays.values()))


class _Part(NamedTuple):
    """What one device holds of a leaf, and whether all that was written there is finite."""

    values: jax.Array
    finite: jax.Array


def _empty(leaf) -> dict:
    """Zeros for the part of a leaf that each device of this process holds."""
    shape, devices = leaf.sharding.shard_shape(leaf.shape), leaf.sharding.addressable_devices
    return {
        device: _Part(jnp.zeros(shape, leaf.dtype, device=device), jnp.ones((), bool, device=device))
        for device in devices
    }


def _pieces(values: np.ndarray) -> Iterator[tuple[tuple[int, ...], np.ndarray]]:
    """A few rows at a time, in an array of their own if they lie apart: (where they begin, rows)."""
    rows = max(1, CHUNK // max(1, values[:1].nbytes))
    for row in range(0, len(values), rows):
        yield (row, *(0,) * (values.ndim - 1)), np.ascontiguousarray(values[row : row + rows])


@functools.partial(jax.jit, donate_argnums=0)
def _written(part: _Part, chunk, start) -> _Part:
    chunk = chunk.astype(part.values.dtype)
    chunk = chunk.reshape((1,) * (part.values.ndim - chunk.ndim) + chunk.shape)
    values = jax.lax.dynamic_update_slice(part.values, chunk, start)
    return _Part(values, part.finite & jnp.isfinite(chunk).all())

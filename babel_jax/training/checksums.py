"""A checksum of every array of a state, of its bits alone: the same however the array is laid out, and on whatever devices.

Each element's bits are mixed with its place by a bijection of 32-bit words (MurmurHash3's finaliser), and what comes out is
summed, once as it is and once mixed further. So a change of one element always changes the first sum; of changes of several
elements, swapped ones too, one in 2^64 goes unseen. Sums of integers do not depend on their order: every device adds up
what it holds, and the host adds those sums.
"""

import collections
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils

GOLDEN = 0x9E3779B9  # odd: places that differ stay different


def of_tree(tree) -> dict[str, str]:
    """{path of a leaf, such as "params/head": 16 hex digits}; on several hosts all call it, and all get the same."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    held = collections.defaultdict(list)  # device -> (number of the leaf, shard), of every part once
    for number, (_, leaf) in enumerate(leaves):
        for shard in leaf.addressable_shards:
            if not shard.replica_id:
                held[shard.device].append((number, shard))
    # All devices are started before the first is waited for.
    sums = [_of_shards([(shard, leaves[number][1].shape) for number, shard in parts]) for parts in held.values()]
    sums_Nx2 = np.zeros((len(leaves), 2), np.uint32)
    for parts, sums_Px2 in zip(held.values(), jax.device_get(sums), strict=True):
        np.add.at(sums_Nx2, [number for number, _ in parts], sums_Px2)
    if jax.process_count() > 1:
        everywhere = multihost_utils.process_allgather(sums_Nx2).sum(axis=0, dtype=np.uint32)
        spread = np.array([not leaf.is_fully_addressable for _, leaf in leaves])
        sums_Nx2 = np.where(spread[:, None], everywhere, sums_Nx2)
    names = [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves]
    return {name: f"{first:08x}{second:08x}" for name, (first, second) in zip(names, sums_Nx2.tolist(), strict=True)}


def _of_shards(shards: list) -> jax.Array:
    """The two sums of each (shard, shape of its array) of one device, in one program: a call each would cost more than they."""
    steps = tuple(
        tuple(GOLDEN * int(np.prod(shape[axis + 1 :], dtype=object)) % 2**32 for axis in range(len(shape)))
        for _, shape in shards
    )
    firsts = [
        sum(step * (index.start or 0) for step, index in zip(steps_here, shard.index, strict=True)) % 2**32
        for steps_here, (shard, _) in zip(steps, shards, strict=True)
    ]
    return _sums([shard.data for shard, _ in shards], np.array(firsts, np.uint32), steps)


@functools.partial(jax.jit, static_argnums=2)
def _sums(parts: list, firsts, steps: tuple) -> jax.Array:
    """The two sums of parts of arrays; `firsts`: the place of the first element, `steps`: from one to the next by axis."""
    return jnp.array([_sum(*about) for about in zip(parts, firsts, steps, strict=True)])


def _sum(part, first, steps: tuple[int, ...]):
    if part.dtype != jnp.bool_:
        part = jax.lax.bitcast_convert_type(part, f"uint{8 * part.dtype.itemsize}")
    places = first
    for axis, step in enumerate(steps):
        places += np.uint32(step) * jax.lax.broadcasted_iota(jnp.uint32, part.shape, axis)
    one = _mixed(part.astype(jnp.uint32) ^ places)
    two = one * np.uint32(0x27D4EB2F)
    two ^= two >> 15
    zero = np.uint32(0)
    # One pass with two sums: two passes take five times as long on a CPU.
    return jax.lax.reduce((one, two), (zero, zero), lambda a, b: (a[0] + b[0], a[1] + b[1]), range(part.ndim))


def _mixed(x):
    x = (x ^ (x >> 16)) * np.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * np.uint32(0xC2B2AE35)
    return x ^ (x >> 16)

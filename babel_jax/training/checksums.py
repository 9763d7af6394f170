"""A checksum of every array of a state, of its bits alone: the same however the array is laid out, and on whatever devices.

Each element's bits are mixed with its place by a bijection of 32-bit words (MurmurHash3's finaliser), and what comes out is
summed, once as it is and once mixed further. So a change of one element always changes the first sum; of changes of several
elements, swapped ones too, one in 2^64 goes unseen. Sums of integers do not depend on their order: each device adds up
what it holds.
"""

import jax
import jax.numpy as jnp
import numpy as np


def of_tree(tree) -> dict[str, str]:
    """{path of a leaf, such as "params/head": 16 hex digits}; on several hosts all call it, and all get the same."""
    found = {
        jax.tree_util.keystr(path, simple=True, separator="/"): _sums(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }
    return {name: f"{int(first):08x}{int(second):08x}" for name, (first, second) in jax.device_get(found).items()}


@jax.jit
def _sums(leaf):
    if leaf.dtype != jnp.bool_:
        leaf = jax.lax.bitcast_convert_type(leaf, f"uint{8 * leaf.dtype.itemsize}")
    first = _mixed(leaf.astype(jnp.uint32) ^ _places(leaf.shape))
    second = first * np.uint32(0x27D4EB2F)
    second ^= second >> 15
    zero = np.uint32(0)
    # One pass with two sums: two passes take five times as long on a CPU.
    return jax.lax.reduce((first, second), (zero, zero), lambda a, b: (a[0] + b[0], a[1] + b[1]), range(leaf.ndim))


def _mixed(x):
    x = (x ^ (x >> 16)) * np.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * np.uint32(0xC2B2AE35)
    return x ^ (x >> 16)


def _places(shape: tuple[int, ...]):
    """The number of each element in row-major order, times an odd constant, modulo 2^32."""
    strides = np.cumprod((1, *shape[:0:-1]), dtype=np.uint64)[::-1] if shape else ()
    places = jnp.zeros(shape, jnp.uint32)
    for axis, stride in enumerate(strides):
        step = np.uint32(int(stride) * 0x9E3779B9 % 2**32)
        places += step * jax.lax.broadcasted_iota(jnp.uint32, shape, axis)
    return places

import jax
import numpy as np

from babel_jax.training import checksums


def test_checksums_are_of_the_bits_and_their_places():
    array = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
    swapped, negated, sign = array.copy(), array.copy(), np.zeros(3, np.float32)
    swapped[0, 0, 0], swapped[2, 3, 4] = array[2, 3, 4], array[0, 0, 0]
    negated[1, :2, 0] *= -1  # two flips of the same, highest bit
    sign[1] = -0.0
    nan = np.array([0x7FC00000, 0x7FC00001], np.uint32).view(np.float32)
    different = {
        "array": [array, swapped, negated, array.transpose(2, 1, 0), array.reshape(4, 3, 5).swapaxes(0, 1)],
        "zeros": [np.zeros(3, np.float32), sign],
        "nan": [nan, nan[::-1]],
        "half": [array.astype(jax.numpy.bfloat16), np.nextafter(array.astype(jax.numpy.bfloat16), 9)],
        "flags": [np.eye(3, dtype=bool), ~np.eye(3, dtype=bool)],
        "count": [np.int32(7), np.int32(8), np.uint8(9)],
    }
    for name, values in different.items():
        found = {checksums.of_tree({name: jax.numpy.asarray(value)})[name] for value in values}
        assert len(found) == len(values), name
    # As the docstring has it, in exact integers.
    words = enumerate(array.view(np.uint32).ravel().tolist())
    first = sum(murmur3(word ^ place * 0x9E3779B9 % 2**32) for place, word in words) % 2**32
    assert checksums.of_tree({"a": {"b": jax.numpy.asarray(array)}})["a/b"].startswith(f"{first:08x}")


def murmur3(x: int) -> int:
    x = (x ^ x >> 16) * 0x85EBCA6B % 2**32
    x = (x ^ x >> 13) * 0xC2B2AE35 % 2**32
    return x ^ x >> 16

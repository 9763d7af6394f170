"""Files of torch.save without torch: strided tensors, shared storages, halves; what is not a tensor is refused."""

import collections
import io
import pickle
import zipfile

import ml_dtypes
import numpy as np
import pytest
from helpers.torch_archive import archive

from babel_jax.model import torch_files

VALUES = np.arange(24, dtype=np.float32)


def load(content: bytes, kinds=torch_files.STORAGES):
    return torch_files.load(np.frombuffer(content, np.uint8), kinds, "model")


def one(offset, shape, strides, values=VALUES, kind="FloatStorage"):
    content = archive({"w": ("0", kind, offset, shape, strides)}, {"0": values})
    return load(content)["w"]


def test_tensors_are_views_with_offset_and_strides():
    assert np.array_equal(one(0, (24,), (1,)), VALUES)
    assert np.array_equal(one(4, (2, 3), (8, 2)), VALUES[4:][[[0, 2, 4], [8, 10, 12]]])
    assert np.array_equal(one(0, (6, 4), (1, 6)), VALUES.reshape(4, 6).T)
    assert one(24, (0, 3), (3, 1)).shape == (0, 3) and one(5, (), ()) == 5
    assert not one(0, (24,), (1,)).flags.writeable


@pytest.mark.parametrize("dtype, kind", [(np.float16, "HalfStorage"), (ml_dtypes.bfloat16, "BFloat16Storage")])
def test_halves_keep_their_bits(dtype, kind):
    values = VALUES.astype(dtype)
    found = one(0, (4, 6), (6, 1), values, kind)
    assert found.dtype == dtype and found.tobytes() == values.tobytes()


def test_two_tensors_may_share_a_storage():
    about = {"a": ("7", "FloatStorage", 0, (2,), (1,)), "b": ("7", "FloatStorage", 1, (2,), (1,))}
    state = load(archive(about, {"7": VALUES}))
    assert state["a"].tolist() == [0, 1] and state["b"].tolist() == [1, 2]


@pytest.mark.parametrize(
    "offset, shape, strides",
    [
        (0, (25,), (1,)),
        (1, (24,), (1,)),
        (0, (3, 2), (12, 1)),
        (-1, (2,), (1,)),
        (0, (2,), (-1,)),
        (0, (2, 2), (1,)),
        (0, (10**9,), (0,)),
        (0, (2.0,), (1,)),
    ],
)
def test_what_reaches_out_of_its_storage_is_refused(offset, shape, strides):
    with pytest.raises(torch_files.Refused):
        one(offset, shape, strides)


def test_changed_bytes_are_noticed():
    content = bytearray(archive({"w": ("0", "FloatStorage", 0, (24,), (1,))}, {"0": VALUES}))
    at = content.index(VALUES.tobytes())
    content[at + 9] ^= 1
    with pytest.raises(zipfile.BadZipFile):
        load(bytes(content))


def test_names_that_no_model_needs_are_not_looked_up():
    class Evil:
        def __reduce__(self):
            return print, ("executed",)

    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as zipped:
        zipped.writestr("archive/data.pkl", pickle.dumps(collections.OrderedDict(w=Evil())))
    with pytest.raises(torch_files.Refused, match="builtins.print, which no model needs"):
        load(file.getvalue())


def test_state_given_to_a_tensor_changes_nothing():
    """A pickle may call BUILD on what it has made: our records have nothing that it could set."""
    content = archive({"w": ("0", "FloatStorage", 0, (2,), (1,))}, {"0": VALUES})
    with zipfile.ZipFile(io.BytesIO(content)) as zipped:
        program = zipped.read("archive/data.pkl")
    built = program[:-1].replace(b"X\x01\x00\x00\x00w", b"X\x01\x00\x00\x00w", 1)
    at = built.rindex(pickle.REDUCE)
    built = (
        built[: at + 1]
        + pickle.EMPTY_DICT
        + b"X\x06\x00\x00\x00offset"
        + b"K\x07s"
        + pickle.BUILD
        + built[at + 1 :]
        + b"."
    )
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as zipped:
        zipped.writestr("archive/data.pkl", built)
        zipped.writestr("archive/data/0", VALUES.tobytes())
    with pytest.raises(Exception):  # noqa: B017  # whatever the unpickler says of a record without attributes
        load(file.getvalue())

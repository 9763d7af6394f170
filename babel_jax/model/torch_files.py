"""Tensors in a file of `torch.save` (torch 1.6 and later), read without torch; nothing in the file is executed.

Such a file is a zip with one pickle and the bytes of each storage. A tensor is a part of a storage: an offset, a shape and
strides. Unpickling yields records of these (`_Tensor`), which are checked afterwards and then become NumPy views of the file.
"""

import collections
import contextlib
import io
import math
import pickle
import struct
import zipfile
from collections.abc import Iterable
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

STORAGES = {
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "DoubleStorage": np.dtype("<f8"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}
INTEGERS = ("LongStorage", "IntStorage", "ShortStorage", "ByteStorage")
PIECE = 1 << 20  # bytes that are read at once to compare a storage with its checksum
LOCAL_HEADER = struct.Struct(
    "<26x2H"
)  # of an entry of a zip: the lengths of its name and of what else stands before its bytes


class Refused(Exception):
    """The file is not what is read here; the message says why in a few words."""


class _Storage(NamedTuple):
    kind: str
    key: str
    size: int


class _Tensor(NamedTuple):
    """A tensor as the pickle describes it, unchecked. Without attributes of its own, so that no pickle can change it."""

    storage: Any
    offset: Any
    shape: Any
    strides: Any


def load(buffer: np.ndarray, kinds: Iterable[str], what: str):
    """The lists, tuples and dicts in a file, with views of `buffer` for the tensors.

    Args:
      buffer: the file's bytes, uint8; a memory-mapped one is read where a view is.
      kinds: the names in `STORAGES` that may occur.
      what: what the file is to be, for errors.

    Raises:
      Refused: it holds something else, or is damaged. What a damaged zip or pickle raises by itself comes as it is.
    """
    if bytes(buffer[:2]) != b"PK":
        raise Refused("it is not a zip, as torch 1.6 and later write one")
    with zipfile.ZipFile(_File(buffer)) as archive:
        # Stored, never compressed, as torch does it: what is read is no larger than the file.
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise Refused("its parts are compressed")
        roots = [name.removesuffix("/data.pkl") for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(roots) != 1:
            raise Refused("it is not one pickle with its tensors")
        storages = _Storages(archive, buffer, roots[0])
        if f"{roots[0]}/byteorder" in archive.namelist() and archive.read(f"{roots[0]}/byteorder") != b"little":
            raise Refused("its numbers are big-endian")
        pickled = archive.read(f"{roots[0]}/data.pkl")
        return _views(_Unpickler(pickled, frozenset(kinds), what).load(), storages)


class _File(io.RawIOBase):
    """Bytes as a file that can be read anywhere, of which no more is copied than is asked for."""

    def __init__(self, buffer: np.ndarray):
        self._buffer, self._at = buffer, 0

    def readable(self):
        return True

    def seekable(self):
        return True

    def seek(self, offset, whence=io.SEEK_SET):
        self._at = max(0, offset + (0, self._at, len(self._buffer))[whence])
        return self._at

    def readinto(self, target):
        part = self._buffer[self._at : self._at + len(target)]
        target[: len(part)] = part.tobytes()
        self._at += len(part)
        return len(part)


class _Unpickler(pickle.Unpickler):
    """Looks up no name but those of tensors, so that nothing can be executed."""

    def __init__(self, content: bytes, kinds: frozenset[str], what: str):
        super().__init__(io.BytesIO(content), encoding="utf-8")
        self._kinds, self._what = kinds, what

    def find_class(self, module, name):
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuilt
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return _parameter
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if module == "torch" and name in self._kinds:
            return name
        raise Refused(f"it holds {module}.{name}, which no {self._what} needs")

    def persistent_load(self, pid):
        storage, kind, key, _, size = pid
        if storage != "storage" or kind not in self._kinds:
            raise Refused("it holds something that is not a tensor")
        return _Storage(kind, str(int(key)), int(size))


def _rebuilt(storage, offset, shape, strides, *_):
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


def _parameter(tensor, *_):
    return tensor


class _Storages:
    """The storages of one file, each compared with its checksum before its first tensor is made."""

    def __init__(self, archive: zipfile.ZipFile, buffer: np.ndarray, root: str):
        self._archive, self._buffer, self._root = archive, buffer, root
        self._opened: dict[_Storage, np.ndarray] = {}

    def __getitem__(self, storage: _Storage) -> np.ndarray:
        if storage not in self._opened:
            entry = self._archive.getinfo(f"{self._root}/data/{storage.key}")
            with self._archive.open(entry) as part, contextlib.closing(part):
                while part.read(PIECE):
                    pass
            header = bytes(self._buffer[entry.header_offset : entry.header_offset + LOCAL_HEADER.size])
            start = entry.header_offset + LOCAL_HEADER.size + sum(LOCAL_HEADER.unpack(header))
            kind = STORAGES[storage.kind]
            content = self._buffer[start : start + storage.size * kind.itemsize]
            if not 0 <= storage.size <= min(entry.file_size, len(content)) // kind.itemsize:
                raise Refused(f"tensor {storage.key} is cut short")
            self._opened[storage] = content.view(kind)
        return self._opened[storage]


def _views(value, storages: _Storages):
    """What was unpickled, with arrays for tensors."""
    if isinstance(value, _Tensor):
        return _view(value, storages)
    if isinstance(value, dict):
        return {name: _views(one, storages) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_views(one, storages) for one in value]
    return value


def _view(tensor: _Tensor, storages: _Storages) -> np.ndarray:
    numbers = (tensor.offset, *tensor.shape, *tensor.strides)
    if not isinstance(tensor.storage, _Storage) or not all(type(number) is int and number >= 0 for number in numbers):
        raise Refused("a tensor of it is described by what is no tensor, or reaches out of its storage")
    if len(tensor.shape) != len(tensor.strides):
        raise Refused("a tensor of it has not as many strides as dimensions")
    storage = storages[tensor.storage]
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.strides, strict=True))
    if 0 not in tensor.shape and max(tensor.offset + last, math.prod(tensor.shape) - 1) >= len(storage):
        raise Refused("a tensor reaches out of its storage")
    strides = [stride * storage.itemsize for stride in tensor.strides]
    part = storage[tensor.offset :] if 0 not in tensor.shape else storage[:0]
    return np.lib.stride_tricks.as_strided(part, tensor.shape, strides, writeable=False)

"""Tensors in the files of a model's folder: by name, each read when it is asked for, and written again.

Read are safetensors and torch's `.bin`, in one file or in parts with an index. On a disk a file is mapped into memory, and what
is read of a tensor is what is copied from its view; of safetensors in a bucket only that tensor's bytes are fetched.

safetensors: 8 bytes with the length of a header, the header (JSON: name -> dtype, shape, first and last byte), the tensors.
"""

import contextlib
import dataclasses
import json
import math
import mmap
import struct
from collections.abc import Callable, Iterable

import ml_dtypes
import numpy as np

from babel_jax.common import files
from babel_jax.common.errors import UserError, one_line, quoted
from babel_jax.model import torch_files

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
BIN, BIN_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
# What float32 holds exactly, by its name in files.
EXACT = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype(ml_dtypes.bfloat16)}
# What else may stand there, which is no weight of ours: constants, and quantised weights, which are refused by name.
OTHERS = {
    "BOOL": "?",
    "U8": "u1",
    "I8": "i1",
    "U16": "<u2",
    "I16": "<i2",
    "U32": "<u4",
    "I32": "<i4",
    "U64": "<u8",
    "I64": "<i8",
}
OTHERS |= {"F64": "<f8", "C64": "<c8", "F8_E4M3": ml_dtypes.float8_e4m3fn, "F8_E5M2": ml_dtypes.float8_e5m2}
OTHERS |= {"F8_E8M0": ml_dtypes.float8_e8m0fnu}
DTYPES = EXACT | {name: np.dtype(dtype) for name, dtype in OTHERS.items()}
LARGEST_HEADER = 100_000_000  # bytes, of the format's own reader
SHARD_BYTES = 5 * 10**9
AGAIN = "copy the model's folder again"


@dataclasses.dataclass(frozen=True)
class StoredTensor:
    """A tensor in a file. `view()` is a read-only array of it; `release()` gives back the memory that pages of the file took."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    view: Callable[[], np.ndarray]
    release: Callable[[], None]

    def __array__(self, dtype=None, copy=None):
        return np.array(self.view(), dtype, copy=copy)


def read_folder(directory) -> dict[str, StoredTensor]:
    """The tensors of a model's folder by name, as transformers would find them: safetensors before `.bin`.

    Raises:
      UserError: there are no weights, or only such as are not read; a part is missing or broken.
    """
    directory = files.path(directory)
    for whole, index, read in ((WEIGHTS, INDEX, _safetensors), (BIN, BIN_INDEX, _torch)):
        if (directory / whole).exists():
            return read(directory / whole)
        if (directory / index).exists():
            return _of_parts(directory, index, read)
    raise other_kind(directory) or UserError(
        f"there is no {WEIGHTS} in {directory}, nor its {INDEX}, nor a {BIN}; give a folder that save_pretrained wrote."
    )


def other_kind(directory) -> UserError | None:
    """What a folder holds in place of a model's weights, where that is known."""
    names = sorted(place.name for place in directory.iterdir()) if directory.is_dir() else []
    if "adapter_config.json" in names:
        return UserError(
            f"{directory} is an adapter, not a model; merge it into its model (peft: merge_and_unload) and save that."
        )
    if any(name.endswith(".gguf") for name in names):
        return UserError(f"{directory} holds weights as GGUF only; give the model's folder with safetensors.")
    return None


def _of_parts(directory, index: str, read: Callable) -> dict[str, StoredTensor]:
    """The tensors that an index names; its files lie beside it."""
    place = directory / index
    of_tensor = files.read_json(place, dict, AGAIN).get("weight_map")
    if not isinstance(of_tensor, dict) or not of_tensor:
        raise UserError(f"{place} has no weight_map of tensors and their files; {AGAIN}.")
    parts = sorted({files.safe_name(part, f"{place}: a file of {quoted(name)}") for name, part in of_tensor.items()})
    if absent := [part for part in parts if not (directory / part).exists()]:
        raise UserError(f"cannot read {directory / absent[0]}: {place.name} names it and it is not there; {AGAIN}.")
    found = {}
    for part in parts:
        found |= read(directory / part)
    if absent := sorted(of_tensor.keys() - found.keys()):
        raise UserError(f"{directory / of_tensor[absent[0]]} lacks {absent[0]}, which {place.name} names; {AGAIN}.")
    return found


class _Bytes:
    """The bytes of a file: mapped from a disk, or fetched from a bucket."""

    def __init__(self, place):
        self.place, self._map = place, None
        if not files.is_local(place):
            return
        try:
            with files.opened(place, f"{AGAIN}.") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError as error:  # it is empty
            raise _broken(place, error) from error

    def view(self, start: int, stop: int) -> np.ndarray:
        """Bytes from `start` to `stop`, uint8. ValueError: the file is shorter."""
        if self._map is not None:
            part = np.frombuffer(self._map, np.uint8)[start:stop]
        else:
            part = np.frombuffer(_of_bucket(self.place, start, stop), np.uint8)
        if len(part) != stop - start:
            raise ValueError(f"it ends before byte {stop}")
        return part

    def whole(self) -> np.ndarray:
        if self._map is not None:
            return np.frombuffer(self._map, np.uint8)
        return np.frombuffer(files.read_bytes(self.place, f"{AGAIN}."), np.uint8)

    def release(self, start: int = 0, stop: int | None = None) -> None:
        """Gives back the pages between, or all; they are read again where they are looked at again."""
        if self._map is not None:
            first = start // mmap.PAGESIZE * mmap.PAGESIZE
            self._map.madvise(mmap.MADV_DONTNEED, first, (stop or len(self._map)) - first)


def _of_bucket(place, start: int, stop: int) -> bytes:
    from babel_jax.common import buckets  # not for every command: it loads TensorStore

    return buckets.read_range(place, start, stop)


def _broken(place, error) -> UserError:
    return UserError(f"cannot read {place} ({one_line(error)}); {AGAIN}.")


def _safetensors(place) -> dict[str, StoredTensor]:
    content = _Bytes(place)
    try:
        (length,) = struct.unpack("<Q", content.view(0, 8).tobytes())
        if length > LARGEST_HEADER:
            raise ValueError("its header is too large")
        header = files.parse_json(content.view(8, 8 + length).tobytes(), dict)
        header.pop("__metadata__", None)
        found = {name: _described(content, 8 + length, name, about) for name, about in header.items()}
        if found:  # the last byte is there
            last = max(about["data_offsets"][1] for about in header.values())
            content.view(8 + length + max(last - 1, 0), 8 + length + last)
    except ValueError as error:
        raise _broken(place, error) from error
    return found


TENSOR = {"dtype": str, "shape": [range(2**48)], "data_offsets": [range(2**62)]}  # the shape of an entry of the header


def _described(content: _Bytes, first: int, name: str, about: dict) -> StoredTensor:
    if wrong := files.fault(about, TENSOR):
        raise ValueError(f"{name}: {wrong}")
    if about["dtype"] not in DTYPES:
        raise inexact(name, about["dtype"])
    dtype, shape, offsets = DTYPES[about["dtype"]], tuple(about["shape"]), about["data_offsets"]
    if len(offsets) != 2 or offsets[1] - offsets[0] != dtype.itemsize * math.prod(shape):
        raise ValueError(f"{name} has not as many bytes as its shape {shape} asks for")
    start, stop = first + offsets[0], first + offsets[1]

    def view():
        try:
            return content.view(start, stop).view(dtype).reshape(shape)
        except ValueError as error:
            raise _broken(content.place, error) from error

    return StoredTensor(name, shape, dtype, view, lambda: content.release(start, stop))


def _torch(place) -> dict[str, StoredTensor]:
    """A `.bin`; in a bucket it is fetched whole."""
    content = _Bytes(place)
    try:
        state = torch_files.load(content.whole(), torch_files.STORAGES, "model")
    except Exception as error:  # a damaged zip or pickle can raise anything
        if content.view(0, 2).tobytes() == b"\x80\x02":
            raise UserError(
                f"{place} was saved by a torch before 1.6, whose format is not read; load it with a newer torch and save it "
                "again."
            ) from error
        raise _broken(place, error) from error
    if not isinstance(state, dict) or not all(isinstance(one, np.ndarray) for one in state.values()):
        raise UserError(f"{place} is not a state dict of tensors; save the model with save_pretrained.")
    return {
        str(name): StoredTensor(str(name), array.shape, array.dtype, lambda array=array: array, content.release)
        for name, array in state.items()
    }


def inexact(name: str, dtype: str) -> UserError:
    """The error for a tensor whose numbers float32 does not hold exactly, or that are not weights."""
    return UserError(f"{name} is {dtype}, which float32 does not hold exactly; save the model in float32 or a half.")


# --- writing -----------------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class NewTensor:
    """A float32 tensor to be written; `array()` makes it when its turn has come."""

    name: str
    shape: tuple[int, ...]
    array: Callable[[], np.ndarray]

    @property
    def nbytes(self) -> int:
        return 4 * math.prod(self.shape)


def write_weights(directory, tensors: Iterable[NewTensor], shard_bytes: int = SHARD_BYTES) -> None:
    """Writes tensors as safetensors: one file, or parts of at most `shard_bytes` with an index, which is written last.

    A tensor that is larger has a part of its own. On a disk one tensor at a time is in memory, in a bucket one part.

    Raises:
      UserError: a file cannot be written.
    """
    directory = files.path(directory)
    parts = _divided(sorted(tensors, key=lambda tensor: tensor.name), shard_bytes)
    if len(parts) == 1:
        _write_safetensors(directory / WEIGHTS, parts[0])
        return
    names = [f"model-{number:05d}-of-{len(parts):05d}.safetensors" for number in range(1, len(parts) + 1)]
    for name, part in zip(names, parts, strict=True):
        _write_safetensors(directory / name, part)
    of_tensor = {tensor.name: name for name, part in zip(names, parts, strict=True) for tensor in part}
    total = sum(tensor.nbytes for part in parts for tensor in part)
    files.write_json(
        directory / INDEX, {"metadata": {"total_size": total}, "weight_map": dict(sorted(of_tensor.items()))}
    )


def _divided(tensors: list[NewTensor], shard_bytes: int) -> list[list[NewTensor]]:
    parts, size = [[]], 0
    for tensor in tensors:
        if parts[-1] and size + tensor.nbytes > shard_bytes:
            parts.append([])
            size = 0
        parts[-1].append(tensor)
        size += tensor.nbytes
    return parts


def _write_safetensors(place, tensors: list[NewTensor]) -> None:
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for tensor in tensors:
        header[tensor.name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [end, end + tensor.nbytes]}
        end += tensor.nbytes
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # so that the first number lies where a multiple of its size is
    with _new_file(place) as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors:
            # The file has numbers in the order of indices, whatever the strides of the array.
            file.write(np.ascontiguousarray(tensor.array(), EXACT["F32"]).reshape(-1).view(np.uint8).data)


@contextlib.contextmanager
def _new_file(place):
    """A file to write into that appears at `place` when it is whole."""
    try:
        with (
            files.whole(place) if files.is_local(place) else contextlib.nullcontext(place) as target,
            target.open("wb") as file,
        ):
            yield file
    except OSError as error:
        raise UserError(
            f"cannot write {place}: {error.strerror or error}; free space, or mend the permissions or the connection, and run "
            "again."
        ) from error

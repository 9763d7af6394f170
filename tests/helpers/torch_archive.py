"""Files as torch.save writes them, made without torch."""

import io
import pickle
import struct
import zipfile

import numpy as np


def archive(tensors: dict[str, tuple], storages: dict[str, np.ndarray]) -> bytes:
    """A state dict in a file of torch.save.

    Args:
      tensors: name -> (key of its storage, kind such as "FloatStorage", offset, shape, strides).
      storages: key -> values.
    """
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as zipped:
        items = b"".join(_text(name) + _tensor(*about, len(storages[about[0]])) for name, about in tensors.items())
        program = pickle.PROTO + b"\x02" + _name("collections", "OrderedDict") + pickle.EMPTY_TUPLE + pickle.REDUCE
        zipped.writestr("archive/data.pkl", program + pickle.MARK + items + pickle.SETITEMS + pickle.STOP)
        zipped.writestr("archive/byteorder", "little")
        for key, values in storages.items():
            zipped.writestr(f"archive/data/{key}", values.tobytes())
        zipped.writestr("archive/version", "3\n")
    return file.getvalue()


def whole_tensors(state: dict[str, np.ndarray], kinds: dict[str, str]) -> bytes:
    """A state dict whose tensors each have a storage of their own; `kinds`: dtype's name -> kind."""
    tensors, storages = {}, {}
    for number, (name, values) in enumerate(state.items()):
        strides = [stride // values.itemsize for stride in values.strides]
        tensors[name] = (str(number), kinds[values.dtype.name], 0, values.shape, strides)
        storages[str(number)] = values.reshape(-1)
    return archive(tensors, storages)


def _text(value: str) -> bytes:
    return pickle.BINUNICODE + struct.pack("<I", len(value.encode())) + value.encode()


def _name(module: str, attribute: str) -> bytes:
    return pickle.GLOBAL + f"{module}\n{attribute}\n".encode()


def _number(value) -> bytes:
    if isinstance(value, float):
        return pickle.BINFLOAT + struct.pack(">d", value)
    return pickle.BININT + struct.pack("<i", value)


def _numbers(values) -> bytes:
    return pickle.MARK + b"".join(map(_number, values)) + pickle.TUPLE


def _tensor(key, kind, offset, shape, strides, size) -> bytes:
    storage = _text("storage") + _name("torch", kind) + _text(key) + _text("cpu") + _number(size)
    storage = pickle.MARK + storage + pickle.TUPLE + pickle.BINPERSID
    hooks = _name("collections", "OrderedDict") + pickle.EMPTY_TUPLE + pickle.REDUCE
    arguments = storage + _number(offset) + _numbers(shape) + _numbers(strides) + pickle.NEWFALSE + hooks
    return _name("torch._utils", "_rebuild_tensor_v2") + pickle.MARK + arguments + pickle.TUPLE + pickle.REDUCE

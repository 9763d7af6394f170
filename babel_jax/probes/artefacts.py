"""What the probes found, in files that say what they are of: arrays with a description, and the RUCAIBox neuron files.

An artefact is one .npz: NumPy reads its arrays, and `unzip -p FILE about.json` its description. A mask or a counter is
worth nothing beside another model, tokenizer or order of languages, so `load` compares the description with what the
reader expects and refuses (TransformerLens #1505).

A RUCAIBox neuron file (`*.neuron.pth`) is a list [K][L] of sorted int64 tensors of neuron indices, saved by `torch.save`:
a zip with one pickle and the tensors' bytes. It is read and written here without torch, and nothing in it is executed.
"""

import hashlib
import io
import json
import pickle
import struct
import zipfile
from collections.abc import Container

import jax
import numpy as np

import babel_jax
from babel_jax.common import files
from babel_jax.common.errors import UserError, one_line
from babel_jax.model import torch_files
from babel_jax.model.architecture import Architecture
from babel_jax.model.taps import ACTIVE

SCHEMA = "babel_jax.probes"
VERSION = 1
ABOUT = "about.json"
EPOCH = (1980, 1, 1, 0, 0, 0)  # the zip's times, so that equal contents are equal bytes


def parameter_fingerprint(params: dict) -> str:
    """A hash of all parameters with their names and types; any changed bit changes it."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        leaf = np.ascontiguousarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)} {leaf.dtype} {leaf.shape}".encode())
        digest.update(leaf.view(np.uint8).data)
    return digest.hexdigest()[:16]


def describe(config, languages, **fields) -> dict:
    """The description of an artefact: what `save` writes and `load` compares.

    Args:
      config: the `DecoderConfig` of the measured model.
      languages: their names in the order of axis K.
      fields: what else it depends on: `tokenizer` (its hash), `thresholds`, `active` (when a neuron counts as active, one of
        `taps.ACTIVE`), `step`, `run`, `tokens`, …; all JSON.
    """
    shape = config.to_json()
    computed_by = {name: shape.pop(name) for name in ("remat", "attention", "dtype")}
    return {
        "model": files.content_hash(shape),
        "parameters": None,
        "layers": config.layers,
        "ffn_width": config.ffn_width,
        "languages": list(languages),
        "tokenizer": None,
        "thresholds": None,
        "active": fields.get("active", ACTIVE[0]),
        "neuron": neuron(config.architecture, fields.get("active", ACTIVE[0])),
        "dtype": computed_by["dtype"],
        "matmul_precision": str(jax.config.jax_default_matmul_precision or "default"),
        "run": None,
        "step": None,
        "tokens": None,
    } | fields


def neuron(parts: Architecture, active: str) -> str:
    """What a neuron of such a model is, and when it counts as active by the rule `active`: a line to read."""
    inputs = "gate" if parts.gated else "in"
    value = f"{parts.activation}({inputs})" + (" * in" if parts.gated else "")
    written = f", written through a norm ({parts.norm})" if parts.output_norms else ""
    return f"{value}{written}; active where {inputs if active == 'activation' else value} > 0"


UNSAID = {"active": ACTIVE[0]}  # what descriptions mean that do not say it: those of earlier versions
TO_READ = ("neuron",)  # follows from other fields, so that it may be worded anew


def save(path, arrays: dict, about: dict) -> None:
    """Writes arrays and their description to one .npz, atomically, to a disk or a bucket.

    Args:
      arrays: name -> array, of numbers or booleans.
      about: JSON, best from `describe`; the schema's name and version and the package's version are added.

    Raises:
      UserError: the file cannot be written.
    """
    about = {"schema": SCHEMA, "schema_version": VERSION, "package_version": babel_jax.__version__} | about
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(_entry(ABOUT), json.dumps(about, indent=2, allow_nan=False) + "\n")
        for name, values in arrays.items():
            part = io.BytesIO()
            np.lib.format.write_array(part, np.asarray(values), allow_pickle=False)
            archive.writestr(_entry(f"{name}.npy"), part.getvalue())
    files.write_atomic(path, content.getvalue())


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry


def load(path, expect: dict | None = None, names: Container[str] | None = None) -> tuple[dict, dict]:
    """The arrays and the description that `save` wrote: `(arrays, about)`.

    Args:
      names: of the arrays that are read; None: all.
      expect: field -> value of the description that must hold, say `describe(…)` of the model at hand without what may
        differ. Checked before any array is read.

    Raises:
      UserError: no such file, a damaged one, one of another schema, or a field that is not as expected (names the field and
        both values).
    """
    try:
        with zipfile.ZipFile(io.BytesIO(files.path(path).read_bytes())) as archive:
            about = UNSAID | json.loads(archive.read(ABOUT))
            _check(path, about, {"schema": SCHEMA, "schema_version": VERSION} | (expect or {}))
            arrays = {
                name.removesuffix(".npy"): np.lib.format.read_array(io.BytesIO(archive.read(name)), allow_pickle=False)
                for name in archive.namelist()
                if name.endswith(".npy") and (names is None or name.removesuffix(".npy") in names)
            }
    except UserError:
        raise
    except Exception as error:  # a damaged zip can raise anything
        raise UserError(
            f"cannot read {path} as probe results ({one_line(error)}); check the path, or delete it and probe again."
        ) from error
    return arrays, about


def about(path) -> dict:
    """The description alone of what `save` wrote; raises as `load` does."""
    return load(path, names=())[1]


def _check(path, about: dict, expect: dict) -> None:
    for field, wanted in expect.items():
        if field in TO_READ:
            continue
        wanted = json.loads(json.dumps(wanted))  # as it would come back: tuples are lists
        there = about.get(field)
        if there != wanted:
            raise UserError(
                f"{path} does not fit: its {field} is {json.dumps(there)} and {json.dumps(wanted)} is needed; probe again, "
                "or name the file that was made for it."
            )


# --- RUCAIBox neuron files ---------------------------------------------------------------------------------------------------


def neuron_lists(member_KxLxF) -> list[list[np.ndarray]]:
    """Masks of K languages as lists [K][L] of sorted int64 indices."""
    return [[np.flatnonzero(member_F).astype(np.int64) for member_F in layer] for layer in np.asarray(member_KxLxF)]


def write_neuron_file(path, member_KxLxF) -> None:
    """Writes masks of neurons of K languages in the RUCAIBox layout, for `torch.load` (also with `weights_only=True`).

    Raises:
      UserError: the file cannot be written.
    """
    lists = neuron_lists(member_KxLxF)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo("archive/data.pkl", EPOCH), _pickled(lists))
        archive.writestr(zipfile.ZipInfo("archive/byteorder", EPOCH), "little")
        for key, indices in enumerate(indices for layers in lists for indices in layers):
            archive.writestr(zipfile.ZipInfo(f"archive/data/{key}", EPOCH), indices.astype("<i8").tobytes())
        archive.writestr(zipfile.ZipInfo("archive/version", EPOCH), "3\n")
    files.write_atomic(path, content.getvalue())


def _pickled(lists) -> bytes:
    """The pickle that `torch.save` makes of lists of one-dimensional int64 tensors, opcode by opcode."""

    def text(value: str) -> bytes:
        return pickle.BINUNICODE + struct.pack("<I", len(value)) + value.encode()

    def number(value: int) -> bytes:
        return pickle.BININT + struct.pack("<i", value)

    def name(module: str, attribute: str) -> bytes:
        return pickle.GLOBAL + f"{module}\n{attribute}\n".encode()

    def tensor(key: int, size: int) -> bytes:
        storage = text("storage") + name("torch", "LongStorage") + text(str(key)) + text("cpu") + number(size)
        no_hooks = name("collections", "OrderedDict") + pickle.EMPTY_TUPLE + pickle.REDUCE
        storage = pickle.MARK + storage + pickle.TUPLE + pickle.BINPERSID
        shape_and_stride = number(size) + pickle.TUPLE1 + number(1) + pickle.TUPLE1
        arguments = pickle.MARK + storage + number(0) + shape_and_stride + pickle.NEWFALSE + no_hooks + pickle.TUPLE
        return name("torch._utils", "_rebuild_tensor_v2") + arguments + pickle.REDUCE

    def listed(items: list[bytes]) -> bytes:
        return pickle.EMPTY_LIST + pickle.MARK + b"".join(items) + pickle.APPENDS

    keys = iter(range(sum(map(len, lists))))
    content = listed([listed([tensor(next(keys), len(indices)) for indices in layers]) for layers in lists])
    return pickle.PROTO + b"\x02" + content + pickle.STOP


def read_neuron_file(path, layers: int, ffn_width: int, languages=None):
    """Reads a RUCAIBox neuron file as masks member_KxLxF for a model of this shape, without torch.

    Args:
      layers, ffn_width: L and F of the model that the neurons are to be of.
      languages: their names, in the file's order; None: as many as the file has.

    Raises:
      UserError: not such a file, a damaged one, one of another model or of another number of languages.
    """
    try:
        content = np.frombuffer(files.path(path).read_bytes(), np.uint8)
        lists = torch_files.load(content, torch_files.INTEGERS, "neuron file")
    except Exception as error:  # a damaged pickle can raise anything
        raise UserError(
            f"cannot read {path} as a neuron file ({one_line(error)}); it must be a list [languages][layers] of integer "
            "tensors, saved by torch 1.6 or later."
        ) from error
    return _masks(path, lists, layers, ffn_width, languages)


def _masks(path, lists, layers: int, ffn_width: int, languages):
    nested = isinstance(lists, list) and lists and all(isinstance(one, list) for one in lists)
    if not nested or not all(isinstance(indices, np.ndarray) and indices.ndim == 1 for one in lists for indices in one):
        raise UserError(f"{path} is not a neuron file: it must hold a list [languages][layers] of index tensors.")
    if languages is not None and len(lists) != len(languages):
        raise UserError(
            f"{path} has neurons of {len(lists)} languages and {len(languages)} are named ({', '.join(languages)}); name "
            "those of the file in its order (it is shorter than it should be where the last languages have no neuron)."
        )
    member_KxLxF = np.zeros((len(lists), layers, ffn_width), bool)
    for k, one in enumerate(lists):
        if len(one) != layers:
            raise UserError(
                f"{path} is a neuron file of another model: it has {len(one)} layers and the model has {layers}; take the "
                "file that was made for it."
            )
        for layer, indices in enumerate(one):
            if indices.size and not (indices.min() >= 0 and indices.max() < ffn_width):
                wrong = int(indices.min() if indices.min() < 0 else indices.max())
                raise UserError(
                    f"{path} is a neuron file of another model: layer {layer} has neuron {wrong} and the model's FFN is "
                    f"{ffn_width} wide; take the file that was made for it."
                )
            member_KxLxF[k, layer, indices] = True
    return member_KxLxF

"""Safetensors and .bin as named views, and safetensors written; what is missing, cut or of another kind is one line."""

import functools
import json
import struct

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
from helpers import bucket_server
from helpers.torch_archive import whole_tensors

from babel_jax.common.errors import UserError
from babel_jax.model import weight_files
from babel_jax.model.weight_files import BIN, BIN_INDEX, INDEX, WEIGHTS, NewTensor

KINDS = {"float32": "FloatStorage", "float16": "HalfStorage", "bfloat16": "BFloat16Storage"}


def state(dtype=np.float32):
    rng = np.random.default_rng(0)
    shapes = {"b.weight": (5, 3), "a.bias": (7,), "c.weight": (4, 2, 3), "scalar": ()}
    return {name: np.asarray(rng.normal(size=shape), dtype) for name, shape in shapes.items()}


def new(tensors):
    return [NewTensor(name, values.shape, functools.partial(np.asarray, values)) for name, values in tensors.items()]


def same_bits(found, expected):
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert (found[name].shape, found[name].dtype) == (values.shape, values.dtype)
        assert np.asarray(found[name]).tobytes() == values.tobytes()


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_safetensors_are_read(dtype, tmp_path):
    safetensors.numpy.save_file(state(dtype), tmp_path / WEIGHTS)
    same_bits(weight_files.read_folder(tmp_path), state(dtype))


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_bin_is_read(dtype, tmp_path):
    (tmp_path / BIN).write_bytes(whole_tensors(state(dtype), KINDS))
    same_bits(weight_files.read_folder(tmp_path), state(dtype))


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_parts_are_read_and_a_missing_one_is_named(kind, tmp_path):
    names = sorted(state())
    where = {name: f"part-{index % 2}.{kind}" for index, name in enumerate(names)}
    for part in set(where.values()):
        mine = {name: state()[name] for name in names if where[name] == part}
        content = safetensors.numpy.save(mine) if kind == "safetensors" else whole_tensors(mine, KINDS)
        (tmp_path / part).write_bytes(content)
    index = tmp_path / (INDEX if kind == "safetensors" else BIN_INDEX)
    index.write_text(json.dumps({"weight_map": where}))
    same_bits(weight_files.read_folder(tmp_path), state())
    index.write_text(json.dumps({"weight_map": where | {"d": f"part-0.{kind}"}}))
    with pytest.raises(UserError, match=f"part-0.{kind} lacks d, which"):
        weight_files.read_folder(tmp_path)
    (tmp_path / f"part-1.{kind}").unlink()
    with pytest.raises(UserError, match=f"part-1.{kind}: .* names it and it is not there; copy"):
        weight_files.read_folder(tmp_path)
    index.write_text(json.dumps({"weight_map": {"a": "../part"}}))
    with pytest.raises(UserError, match="without '/'"):
        weight_files.read_folder(tmp_path)


@pytest.mark.parametrize("scheme", ["gs", "s3"])
def test_of_a_bucket_only_a_tensors_bytes_are_fetched(scheme, monkeypatch):
    with bucket_server.running(monkeypatch) as server:
        content = safetensors.numpy.save(state())
        server.objects[f"bucket/model/{WEIGHTS}"] = content, 1
        fetched, answer = [], bucket_server.Handler.answer
        monkeypatch.setattr(
            bucket_server.Handler, "answer", lambda self, status, body=b"", **headers: (
                fetched.append(len(body)) if status == 206 else None, answer(self, status, body, **headers)
            )[1],
        )  # fmt: skip
        found = weight_files.read_folder(f"{scheme}://bucket/model")
        same_bits(found, state())
        assert max(fetched) < len(content) and fetched[-4:] == [values.nbytes for values in state().values()]


def test_what_is_written_is_what_the_library_writes(tmp_path):
    weight_files.write_weights(tmp_path, new(state()))
    assert (tmp_path / WEIGHTS).read_bytes() == safetensors.numpy.save(state(), metadata={"format": "pt"})
    # whatever the strides of what is given
    turned = {name: np.asarray(values, order="F") for name, values in state().items()}
    weight_files.write_weights(tmp_path / "turned", new(turned))
    assert (tmp_path / "turned" / WEIGHTS).read_bytes() == (tmp_path / WEIGHTS).read_bytes()


def test_parts_are_as_large_as_is_said_and_have_an_index(tmp_path):
    weight_files.write_weights(tmp_path, new(state()), shard_bytes=100)
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == [f"model-0000{n}-of-00002.safetensors" for n in (1, 2)] + [INDEX]
    index = json.loads((tmp_path / INDEX).read_text())
    assert index["metadata"]["total_size"] == sum(values.nbytes for values in state().values())
    same_bits(weight_files.read_folder(tmp_path), state())
    weight_files.write_weights(tmp_path / "each", new(state()), shard_bytes=1)
    assert len(list((tmp_path / "each").glob("*.safetensors"))) == 4


def header(tmp_path, about, data=b"", length=None):
    text = about if isinstance(about, bytes) else json.dumps(about).encode()
    (tmp_path / WEIGHTS).write_bytes(struct.pack("<Q", length or len(text)) + text + data)


F32 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    "about, data, message",
    [
        (b"{", b"", "cannot read"),
        ({"a": F32}, b"1234567", "ends before byte"),
        ({"a": F32 | {"shape": [3]}}, bytes(8), "has not as many bytes"),
        ({"a": F32 | {"shape": [-2]}}, bytes(8), "cannot read"),
        ({"a": F32 | {"data_offsets": [8, 0]}}, bytes(8), "has not as many bytes"),
        ({"a": F32 | {"data_offsets": [0]}}, bytes(8), "has not as many bytes"),
        ({"a": [1]}, b"", "cannot read"),
        ({"a": F32 | {"dtype": "F4"}}, bytes(8), "a is F4, which float32 does not hold"),
        ({"a": F32 | {"shape": [2**47, 2**47]}}, bytes(8), "has not as many bytes"),
    ],
)
def test_a_damaged_header_is_one_line(about, data, message, tmp_path):
    header(tmp_path, about, data)
    with pytest.raises(UserError, match=message) as error:
        weight_files.read_folder(tmp_path)
    assert "\n" not in str(error.value)


def test_a_header_longer_than_the_file_is_one_line(tmp_path):
    for length in (10**4, 2**60):
        header(tmp_path, {"a": F32}, bytes(8), length)
        with pytest.raises(UserError, match="cannot read .*model.safetensors"):
            weight_files.read_folder(tmp_path)
    (tmp_path / WEIGHTS).write_bytes(b"")
    with pytest.raises(UserError, match="cannot read .*model.safetensors"):
        weight_files.read_folder(tmp_path)


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("adapter_config.json", b"{}", "is an adapter, not a model; merge it"),
        ("model.gguf", b"GGUF", "GGUF only; give the model's folder"),
        ("notes.txt", b"", "there is no model.safetensors in"),
        (BIN, b"\x80\x02" + bytes(50), "a torch before 1.6"),
        (BIN, b"PK" + bytes(50), "cannot read .*pytorch_model.bin"),
        (BIN, b"", "cannot read .*pytorch_model.bin"),
    ],
)
def test_what_holds_no_weights_that_are_read_is_one_line(name, content, message, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        weight_files.read_folder(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.oracle
def test_torchs_own_bin_is_read(tmp_path):
    torch = pytest.importorskip("torch", reason="no torch here to write a .bin")
    base = torch.arange(60, dtype=torch.float32).reshape(6, 10)
    tensors = {
        "plain": base,
        "turned": base.T,
        "part": base[1:4, 2::3],
        "half": base.half(),
        "bfloat16": base.bfloat16(),
        "parameter": torch.nn.Parameter(base[0]),
    }
    torch.save(tensors, tmp_path / BIN)
    found = weight_files.read_folder(tmp_path)
    for name, tensor in tensors.items():
        assert np.array_equal(np.asarray(found[name], np.float32), tensor.detach().float().numpy()), name
    torch.save(tensors, tmp_path / BIN, _use_new_zipfile_serialization=False)
    with pytest.raises(UserError, match="a torch before 1.6"):
        weight_files.read_folder(tmp_path)

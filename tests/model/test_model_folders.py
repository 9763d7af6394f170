"""Folders of models: out and in again bit for bit, in parts, as .bin, with little memory; what cannot be read is one line."""

import dataclasses
import json
import re
import shutil
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
from helpers import SMALL, by_path, loud, python, same
from helpers.torch_archive import whole_tensors

from babel_jax.common.errors import UserError
from babel_jax.model import model_folders, weight_files
from babel_jax.model.decoder import DecoderConfig
from babel_jax.model.families import catalogue
from babel_jax.model.model_folders import read_model, write_model
from babel_jax.model.tokenizer_files import TokenizerFiles

LLAMA = DecoderConfig(
    vocab_size=40,
    width=12,
    layers=2,
    heads=3,
    kv_heads=1,
    head_width=6,
    ffn_width=20,
    max_length=16,
    tied_head=False,
    architecture=catalogue.family_of("llama").scratch(12, 6, 2),
)
MEGABYTES = 1e6
MOST = 1.3  # of the largest tensor as float32, in the host's memory beyond what lies on the device


@pytest.mark.parametrize("config", [SMALL, LLAMA], ids=["gpt2", "llama"])
@pytest.mark.parametrize("shard_bytes", [10**9, 2000])
def test_there_and_back_is_bit_identical(config, shard_bytes, tmp_path):
    write_model(tmp_path / "a", config, loud(config), shard_bytes=shard_bytes)
    read, params = read_model(tmp_path / "a")
    assert read == config and same(by_path(params), by_path(loud(config)))
    write_model(tmp_path / "b", read, params, shard_bytes=shard_bytes)
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert files == sorted(path.name for path in (tmp_path / "b").iterdir())
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in files)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_a_bin_in_halves_is_the_same_model(dtype, tmp_path):
    write_model(tmp_path, LLAMA, loud(LLAMA))
    state = safetensors.numpy.load_file(tmp_path / "model.safetensors")
    half = {name: values.astype(dtype) for name, values in state.items()}
    safetensors.numpy.save_file(half, tmp_path / "model.safetensors")
    _, expected = read_model(tmp_path)
    kinds = {"float16": "HalfStorage", "bfloat16": "BFloat16Storage"}
    (tmp_path / "pytorch_model.bin").write_bytes(whole_tensors(half, kinds))
    (tmp_path / "model.safetensors").unlink()
    assert same(by_path(read_model(tmp_path)[1]), by_path(expected))


def test_config_json_is_written_last(tmp_path, monkeypatch):
    """Whatever ends the writing, a folder that has the file is whole."""
    written = []
    replace = weight_files.files.os.replace
    monkeypatch.setattr(weight_files.files.os, "replace", lambda a, b: (written.append(Path(b).name), replace(a, b))[1])
    files = TokenizerFiles({"tokenizer_config.json": b"{}"}, {"eos_token_id": 3})
    write_model(tmp_path, LLAMA, loud(LLAMA), files, shard_bytes=4000)
    assert written[-1] == "config.json" and len(set(written)) == len(written) == len(list(tmp_path.iterdir()))
    assert json.loads((tmp_path / "config.json").read_text())["eos_token_id"] == 3
    assert json.loads((tmp_path / "generation_config.json").read_text())["eos_token_id"] == 3


def test_a_folder_that_holds_a_model_is_left_alone(tmp_path):
    write_model(tmp_path, LLAMA, loud(LLAMA))
    with pytest.raises(UserError, match="config.json exists already; give a new folder"):
        write_model(tmp_path, LLAMA, loud(LLAMA))


def test_a_tokenizer_with_more_ids_than_rows_is_not_written(tmp_path):
    vocabulary = json.dumps({f"t{i}": i for i in range(41)}).encode()
    with pytest.raises(UserError, match="ids up to 40 and the model's table has 40 rows"):
        write_model(tmp_path, LLAMA, loud(LLAMA), TokenizerFiles({"vocab.json": vocabulary}, {}))
    assert not list(tmp_path.iterdir())


def change(folder, **settings):
    place = folder / "config.json"
    place.write_text(json.dumps(json.loads(place.read_text()) | settings))


def rewrite(folder, edit):
    state = safetensors.numpy.load_file(folder / "model.safetensors")
    safetensors.numpy.save_file(edit(state), folder / "model.safetensors")


WRONG = {
    "unknown type": (
        lambda folder: change(folder, model_type="mamba"),
        "model_type = 'mamba'; these are read: gpt2, llama",
    ),
    "remote code": (lambda folder: change(folder, auto_map={"AutoModelForCausalLM": "m.M"}), "code of its own"),
    "quantised": (lambda folder: change(folder, quantization_config={"bits": 4}), "weights are quantised"),
    "eight bits": (
        lambda folder: rewrite(
            folder, lambda state: state | {"lm_head.weight": state["lm_head.weight"].astype(np.int8)}
        ),
        "lm_head.weight is int8, which float32 does not hold",
    ),
    "adapter": (
        lambda folder: ((folder / "config.json").unlink(), (folder / "adapter_config.json").write_text("{}")),
        "is an adapter",
    ),
    "no config": (lambda folder: (folder / "config.json").unlink(), "there is no config.json in"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "there is no model.safetensors in"),
    "shape": (
        lambda folder: rewrite(folder, lambda state: state | {"model.norm.weight": np.ones(5, np.float32)}),
        r"norm.weight has shape \(5,\) and the model's config asks for \(12,\)",
    ),
    "missing": (
        lambda folder: rewrite(folder, lambda state: {k: v for k, v in state.items() if "norm" not in k}),
        "the model's tensors lack ",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_read_is_one_line(case, tmp_path):
    damage, message = WRONG[case]
    write_model(tmp_path, LLAMA, loud(LLAMA))
    damage(tmp_path)
    with pytest.raises(UserError, match=message) as error:
        read_model(tmp_path)
    assert "\n" not in str(error.value)


# --- memory -------------------------------------------------------------------------------------------------------------------

LARGE = dataclasses.replace(LLAMA, vocab_size=20_000, width=1024, layers=3, ffn_width=4096)


def made(folder, config, dtype):
    """A model's folder, filled without a model: what its numbers are is no matter."""
    folder.mkdir()
    state = {}
    for tensor in catalogue.of(config).tensors(config):
        for name in tensor.names(config.layers):
            state[name] = np.full(tensor.shape, 0.5, dtype)
    safetensors.numpy.save_file(state, folder / "model.safetensors")
    hf_config = catalogue.written(catalogue.of(config), config)
    (folder / "config.json").write_text(json.dumps(hf_config))
    return max(values.size for values in state.values()) * 4, sum(values.size for values in state.values()) * 4


@pytest.mark.long
@pytest.mark.processes
@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16], ids=["float32", "bfloat16"])
def test_reading_takes_little_more_memory_than_the_parameters_do(dtype, tmp_path):
    """The most that a process ever held in memory, pages of the mapped file and parameters on the (CPU) device among them,
    less what a process holds that does the same with a tiny model: the interpreter, JAX and its compiled programs."""
    small = dataclasses.replace(LARGE, vocab_size=64, width=64, ffn_width=64)
    peak = {}
    for name, config in (("small", small), ("large", LARGE)):
        largest, on_device = made(tmp_path / name, config, dtype)
        done = python(__file__, str(tmp_path / name))
        assert done.returncode == 0, done.stderr
        peak[name] = int(done.stdout)
        shutil.rmtree(tmp_path / name)
    beyond = peak["large"] - peak["small"] - on_device
    print(
        f"on the device {on_device / MEGABYTES:.0f} MB, beyond {beyond / MEGABYTES:.0f} MB, largest {largest / MEGABYTES:.0f}"
    )
    assert on_device > 300 * MEGABYTES and beyond <= MOST * largest


if __name__ == "__main__":
    model_folders.read_model(sys.argv[1])
    # Not `getrusage`, whose maximum begins with what the process that started this one held.
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    print(int(peak) * 1024)

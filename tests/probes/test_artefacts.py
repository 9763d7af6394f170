import importlib.util
import json
import os
import pickle
import zipfile

import helpers
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import ROOT
from helpers.architectures import FAMILIES, config_of

from babel_jax.common.errors import UserError
from babel_jax.model.taps import ACTIVE
from babel_jax.probes import artefacts

GOLDEN = ROOT / "tests" / "golden" / "rucaibox_layout.pth"
# Made once, with torch 2.13.0, by torch.save of lists of torch.tensor(…).long() with these indices.
GOLDEN_LISTS = [[[0, 5, 31], [], [2]], [[1, 5], [7, 8, 9], []]]


def description(**fields):
    return artefacts.describe(helpers.SMALL, ["python", "php"], **({"step": 4, "thresholds": {"bar": 0.25}} | fields))


def arrays():
    return {
        "mask_LxF": np.eye(3, dtype=bool),
        "count": np.arange(6, dtype=np.int64).reshape(2, 3),
        "one": np.float32(2),
    }


def test_what_is_saved_is_loaded(tmp_path):
    path = tmp_path / "neurons.npz"
    artefacts.save(path, arrays(), description())
    found, about = artefacts.load(path, expect=description())
    assert found.keys() == arrays().keys()
    for name, values in arrays().items():
        assert np.array_equal(found[name], values) and found[name].dtype == np.asarray(values).dtype
    assert about["schema"] == "babel_jax.probes" and about["schema_version"] == 1 and about["package_version"]
    assert about["languages"] == ["python", "php"] and about["thresholds"] == {"bar": 0.25}
    with np.load(path) as plain:  # NumPy alone reads the arrays
        assert np.array_equal(plain["count"], arrays()["count"])
    content = path.read_bytes()
    artefacts.save(path, arrays(), description())
    assert path.read_bytes() == content and os.listdir(tmp_path) == ["neurons.npz"]
    with zipfile.ZipFile(path) as archive:  # equal bytes tomorrow, too
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


@pytest.mark.parametrize(
    "field,other",
    [
        ("languages", ["php", "python"]),
        ("step", 5),
        ("thresholds", {"bar": 0.26}),
        ("tokenizer", "0123"),
        ("dtype", "bfloat16"),
        ("model", "another"),
    ],
)
def test_a_field_that_differs_is_named_with_both_values(tmp_path, field, other):
    path = tmp_path / "neurons.npz"
    artefacts.save(path, arrays(), description())
    with pytest.raises(UserError) as caught:
        artefacts.load(path, expect=description() | {field: other})
    message = str(caught.value)
    assert field in message and json.dumps(other) in message and json.dumps(description()[field]) in message
    assert "\n" not in message


def test_what_a_neuron_is_stands_in_every_description(tmp_path):
    path = tmp_path / "neurons.npz"
    described = {
        (family, active): artefacts.describe(config_of(family), ["a", "b"], active=active)["neuron"]
        for family in FAMILIES
        for active in ACTIVE
    }
    assert described["llama", "activation"] == "silu(gate) * in; active where gate > 0"
    assert described["llama", "value"] == "silu(gate) * in; active where silu(gate) * in > 0"
    assert described["gpt_neox", "activation"] == "gelu(in); active where in > 0"
    assert described["olmo2", "activation"] == "silu(gate) * in, written through a norm (rms); active where gate > 0"
    artefacts.save(path, arrays(), description(active="value"))
    assert artefacts.load(path, description(active="value"))[1]["active"] == "value"
    with pytest.raises(UserError, match='its active is "value" and "activation" is needed'):
        artefacts.load(path, description())


def test_a_description_of_an_earlier_version_means_the_references_rule(tmp_path):
    path = tmp_path / "neurons.npz"
    earlier = {name: value for name, value in description().items() if name not in ("active", "neuron")}
    artefacts.save(path, arrays(), earlier)
    assert artefacts.load(path, description())[1]["active"] == "activation"
    with pytest.raises(UserError, match='its active is "activation" and "value" is needed'):
        artefacts.load(path, description(active="value"))


def test_another_schema_is_refused(tmp_path):
    path = tmp_path / "neurons.npz"
    artefacts.save(path, arrays(), description() | {"schema_version": 2})
    with pytest.raises(UserError, match="schema_version is 2 and 1 is needed"):
        artefacts.load(path)


def test_descriptions_of_different_models_differ():
    other = helpers.DecoderConfig(
        **(
            {n: getattr(helpers.SMALL, n) for n in helpers.SMALL.__dataclass_fields__}
            | {"heads": 2, "kv_heads": 0, "head_width": 0}
        )
    )
    faster = helpers.dataclasses.replace(helpers.SMALL, remat="full", dtype="bfloat16")
    ours, theirs, same = (artefacts.describe(config, ["a", "b"]) for config in (helpers.SMALL, other, faster))
    assert ours["model"] != theirs["model"] and ours["model"] == same["model"]
    assert (ours["dtype"], same["dtype"]) == ("float32", "bfloat16")
    params = helpers.loud(helpers.SMALL)
    first = artefacts.parameter_fingerprint(params)
    assert first == artefacts.parameter_fingerprint(jax.tree.map(np.asarray, params))  # on the host or on a device
    changed = params | {"embed_table": jnp.asarray(params["embed_table"]).at[3, 1].add(1e-6)}
    assert first != artefacts.parameter_fingerprint(changed)
    renamed = {(f"{name}_" if name == "embed_table" else name): part for name, part in params.items()}
    assert first != artefacts.parameter_fingerprint(renamed)


def test_a_damaged_file_is_one_line(tmp_path):
    path = tmp_path / "neurons.npz"
    artefacts.save(path, arrays(), description())
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for attempt in range(200):
        broken = bytearray(content)
        if attempt % 2:
            broken[rng.integers(len(broken))] ^= 1 << rng.integers(8)
        else:
            del broken[rng.integers(len(broken)) :]
        path.write_bytes(broken)
        try:
            found, _ = artefacts.load(path, expect=description())
        except UserError as error:
            refused += 1
            assert "\n" not in str(error) and str(path) in str(error)
        else:  # a bit that means nothing, such as of a time
            assert all(np.array_equal(found[name], values) for name, values in arrays().items() if name in found)
    assert refused > 150
    with pytest.raises(UserError, match="cannot read"):
        artefacts.load(tmp_path / "missing.npz")
    np.savez(path, **arrays())
    with pytest.raises(UserError, match="about.json"):
        artefacts.load(path)


# --- RUCAIBox neuron files -------------------------------------------------------------------------------------------------


def as_lists(member):
    return [[indices.tolist() for indices in layers] for layers in artefacts.neuron_lists(member)]


def test_a_file_made_by_torch_is_read():
    member = artefacts.read_neuron_file(GOLDEN, 3, 32, ["zh", "en"])
    assert member.shape == (2, 3, 32) and as_lists(member) == GOLDEN_LISTS


def test_what_is_written_is_read(tmp_path):
    member = np.random.default_rng(0).random((3, 4, 50)) < 0.1
    member[2] = False
    path = tmp_path / "own.neuron.pth"
    artefacts.write_neuron_file(path, member)
    assert np.array_equal(artefacts.read_neuron_file(path, 4, 50), member)
    content = path.read_bytes()
    artefacts.write_neuron_file(path, member)
    assert path.read_bytes() == content


def test_the_pickle_is_torchs(tmp_path):
    """The same opcodes with the same arguments, but for what torch remembers in case it is needed again."""
    import pickletools

    member = np.zeros((2, 3, 32), bool)
    for k, layers in enumerate(GOLDEN_LISTS):
        for layer, indices in enumerate(layers):
            member[k, layer, indices] = True
    artefacts.write_neuron_file(tmp_path / "own.pth", member)

    def program(path, root):
        with zipfile.ZipFile(path) as archive:
            memo, found = {}, []
            for opcode, argument, _ in pickletools.genops(archive.read(f"{root}/data.pkl")):
                if opcode.name in ("BINPUT", "LONG_BINPUT"):
                    memo[argument] = found[-1]
                elif opcode.name in ("BINGET", "LONG_BINGET"):
                    found.append(memo[argument])
                else:
                    number = opcode.name in ("BININT", "BININT1", "BININT2")
                    found.append(("number" if number else opcode.name, argument))
            data = [archive.read(f"{root}/data/{key}") for key in range(6)]
            return found, data, archive.read(f"{root}/version")

    own, own_data, own_version = program(tmp_path / "own.pth", "archive")
    theirs, theirs_data, their_version = program(GOLDEN, "rucaibox_layout")
    assert (own_data, own_version) == (theirs_data, their_version)
    assert own == theirs


@pytest.mark.oracle
@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not part of this project")
def test_torch_reads_what_is_written(tmp_path):
    import torch

    member = np.random.default_rng(0).random((3, 4, 50)) < 0.1
    artefacts.write_neuron_file(tmp_path / "own.pth", member)
    lists = torch.load(tmp_path / "own.pth", weights_only=True)
    assert [[indices.tolist() for indices in layers] for layers in lists] == as_lists(member)
    assert all(indices.dtype == torch.int64 for layers in lists for indices in layers)
    torch.save(lists, tmp_path / "again.pth")
    assert np.array_equal(artefacts.read_neuron_file(tmp_path / "again.pth", 4, 50), member)


def test_another_models_file_is_refused(tmp_path):
    for layers, width, message in (
        (4, 32, "another model: it has 3 layers and the model has 4"),
        (3, 31, "another model: layer 0 has neuron 31 and the model's FFN is 31 wide"),
    ):
        with pytest.raises(UserError, match=message):
            artefacts.read_neuron_file(GOLDEN, layers, width)
    with pytest.raises(UserError, match="neurons of 2 languages and 3 are named"):
        artefacts.read_neuron_file(GOLDEN, 3, 32, ["a", "b", "c"])


def pth(path, content: bytes, **parts):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", content)
        for name, part in parts.items():
            archive.writestr(f"archive/data/{name.removeprefix('_')}", part)


class Evil:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("function", [os.system, eval, getattr, print])
def test_nothing_in_a_neuron_file_is_executed(tmp_path, function):
    witness = tmp_path / "witness"
    command = {"system": f"touch {witness}", "eval": f"open({str(witness)!r}, 'w')"}.get(function.__name__, "x")
    path = tmp_path / "evil.pth"
    for protocol in (0, 2, 4):
        pth(path, pickle.dumps([[Evil(function, command)]], protocol))
        with pytest.raises(UserError, match="which no neuron file needs") as caught:
            artefacts.read_neuron_file(path, 1, 9)
        assert "\n" not in str(caught.value)
    assert not witness.exists()


def test_tensors_outside_of_their_storage_are_refused(tmp_path):
    path = tmp_path / "x.pth"
    good = artefacts._pickled([[np.arange(3)]])
    pth(path, good, _0=np.arange(3).tobytes())
    assert artefacts.read_neuron_file(path, 1, 9).sum() == 3
    for content, part, message in (
        (good, np.arange(2).tobytes(), "cut short"),
        (good.replace(b"J\x00\x00\x00\x00", b"J\x01\x00\x00\x00"), np.arange(3).tobytes(), "out of its storage"),
        (good.replace(b"J\x00\x00\x00\x00", b"J\xff\xff\xff\xff"), np.arange(3).tobytes(), "out of its storage"),
        (good.replace(b"LongStorage", b"FloatStorage"), np.arange(3).tobytes(), "torch.FloatStorage"),
        (pickle.dumps({"a": 1}), b"", "must hold a list"),
        (pickle.dumps([]), b"", "must hold a list"),
        (pickle.dumps([[1, 2]]), b"", "must hold a list"),
    ):
        pth(path, content, _0=part)
        with pytest.raises(UserError, match=message):
            artefacts.read_neuron_file(path, 1, 9)
    pth(path, good, _0=np.array([1, -1, 2]).tobytes())
    with pytest.raises(UserError, match="has neuron -1"):
        artefacts.read_neuron_file(path, 1, 9)
    path.write_bytes(b"\x80\x02" + bytes(50))
    with pytest.raises(UserError, match="torch 1.6 or later"):
        artefacts.read_neuron_file(path, 1, 9)


def test_a_damaged_neuron_file_is_one_line(tmp_path):
    content = GOLDEN.read_bytes()
    path = tmp_path / "broken.pth"
    rng = np.random.default_rng(0)
    for _ in range(300):
        broken = bytearray(content)
        broken[rng.integers(len(broken))] ^= 1 << rng.integers(8)
        path.write_bytes(broken)
        try:
            member = artefacts.read_neuron_file(path, 3, 32)
        except UserError as error:
            assert "\n" not in str(error)
        else:
            assert as_lists(member) == GOLDEN_LISTS

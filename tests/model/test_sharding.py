import dataclasses
import re

import jax
import numpy as np
import pytest
from helpers import SMALL
from helpers.decoders import SMALL_ONES, small
from jax.sharding import PartitionSpec as P

from babel_jax.common.errors import UserError
from babel_jax.model import sharding
from babel_jax.model.decoder import DecoderConfig, init_params
from babel_jax.model.sharding import check_batch, make_mesh, shardings
from babel_jax.training import config as run_config
from babel_jax.training.optimizer import static_settings
from babel_jax.training.step import make_trainer

OPTIMIZER = static_settings(run_config.default().optimizer)


@dataclasses.dataclass(frozen=True)
class Device:
    """What a mesh of two TPU slices is made of."""

    id: int
    slice_index: int
    coords: tuple
    platform: str = "tpu"
    device_kind: str = "TPU v5 lite"
    core_on_chip: int = 0
    process_index: int = 0


def slices(count: int, size: int):
    return [Device(s * size + i, s, (i % 2, i // 2, 0)) for s in range(count) for i in range(size)]


def test_slices_stand_side_by_side_along_data():
    mesh = sharding.make_mesh(data=-1, fsdp=4, devices=slices(2, 4))
    assert dict(mesh.shape) == {"data": 2, "fsdp": 4, "tensor": 1}
    rows = [{device.slice_index for device in row.flat} for row in mesh.devices]
    assert rows == [{0}, {1}]
    with pytest.raises(UserError, match="the axis data must be a multiple of the 2 slices"):
        sharding.make_mesh(data=1, fsdp=8, devices=slices(2, 4))


def test_an_axis_may_be_a_part_of_one_of_the_torus():
    """4 x 4 chips of v6e as 1 x 8 x 2: of four neighbours along one axis two by two share matrix products."""
    chips = [Device(4 * y + x, 0, (x, y, 0), device_kind="TPU v6 lite") for y in range(4) for x in range(4)]
    mesh = sharding.make_mesh(data=1, fsdp=8, tensor=2, devices=chips)
    assert sorted(device.id for device in mesh.devices.flat) == list(range(16))
    for one, other in mesh.devices[0]:
        assert sum(abs(a - b) for a, b in zip(one.coords, other.coords, strict=True)) == 1


def test_a_rule_that_matches_nothing_is_refused(monkeypatch):
    mesh = sharding.make_mesh()
    make_trainer.__wrapped__(SMALL, OPTIMIZER, -1, mesh)
    monkeypatch.setattr(sharding, "RULES", (*sharding.RULES, (r"router/kernel$", sharding.BATCH)))
    with pytest.raises(ValueError, match="router/kernel.* match no leaf"):
        make_trainer.__wrapped__(SMALL, OPTIMIZER, -1, mesh)


def test_the_table_holds_the_bytes_of_a_device():
    mesh = type("Mesh", (), {"shape": {"data": 1, "fsdp": 4, "tensor": 2}})
    state = {
        "params": {
            "head": jax.ShapeDtypeStruct((64, 8), np.float32),
            "embed_table": jax.ShapeDtypeStruct((64, 8), "f4"),
        },
        "opt_state": {"mu": {"head": jax.ShapeDtypeStruct((64, 8), jax.numpy.bfloat16)}},
        "step": jax.ShapeDtypeStruct((), np.int32),
    }
    lines = {line.split()[0]: re.split(r"  +", line) for line in sharding.table(mesh, state).splitlines()}
    assert lines["embed_table$"][2] == "1" and lines["head$"][2] == "2" and lines["all"][2] == "4"
    assert "ln_[12]/(scale|bias)$" not in lines
    big = {"head": jax.ShapeDtypeStruct((50304, 2048), np.float32), "step": jax.ShapeDtypeStruct((), np.int32)}
    last = sharding.table(mesh, big).splitlines()[-1]
    assert re.split(r"  +", last)[-2:] == ["412.1 MB", "51.5 MB"] and "'fsdp': 4" in last


def test_micro_batches_must_divide_too():
    mesh = type("Mesh", (), {"shape": {"data": 2, "fsdp": 2, "tensor": 1}})
    sharding.check_batch(mesh, 16, accumulation=4)
    with pytest.raises(UserError, match="batch_size 16 is not divisible by the 4 devices .* times 8 micro-batches"):
        sharding.check_batch(mesh, 16, accumulation=8)


def test_batches_and_meshes_that_do_not_divide_are_refused():
    mesh = type("Mesh", (), {"shape": {"data": 4, "fsdp": 2, "tensor": 1}})
    check_batch(mesh, 16)
    with pytest.raises(UserError, match="batch_size 12 is not divisible by the 8 devices"):
        check_batch(mesh, 12)
    for axes in (dict(data=3), dict(data=-1, fsdp=-1), dict(data=-1, tensor=2)):
        with pytest.raises(UserError, match="does not fit 1 devices"):
            make_mesh(**axes)


def places(model: DecoderConfig, mesh) -> dict:
    placed = make_trainer(model, OPTIMIZER, -1, mesh).state_shardings
    return {sharding.path_name(path): leaf.spec for path, leaf in jax.tree_util.tree_leaves_with_path(placed)}


def test_every_leaf_of_every_family_has_a_rule_and_every_rule_is_used():
    used = set()
    for family in SMALL_ONES:
        for tied in (True, False):
            placed = places(small(family, tied_head=tied, frozen_rows=16), make_mesh())
            used |= {sharding._rule(name) for name in placed}
            matrices = {name: spec for name, spec in placed.items() if "kernel" in name}
            assert len(matrices) >= 12 and all("fsdp" in spec and "tensor" in spec for spec in matrices.values()), (
                family
            )
    assert used == set(range(len(sharding.RULES)))


def test_keys_that_do_not_divide_are_whole_and_the_table_says_so():
    """2 keys of 4 queries on 4 devices of the axis `tensor`: each has both."""
    mesh = type("Mesh", (), {"shape": {"data": 1, "fsdp": 2, "tensor": 4}})
    model = small("llama")
    state = {"params": jax.eval_shape(lambda: init_params(model, 0))}
    lines = [re.split(r"  +", line) for line in sharding.table(mesh, state).splitlines()]
    found = {line[0]: line[1:] for line in lines}
    whole = "P(None, 'fsdp', None, None), not over tensor: it does not divide"
    size = 4 * 4 * 16 * 2 * 8  # L, D, M, H
    assert found[r"/[kv]/kernel$"] == [whole, "2", sharding._megabytes(2 * size), sharding._megabytes(size)]
    assert found[r"/q/kernel$"][0] == "P(None, 'fsdp', 'tensor', None)"
    shape = (4, model.max_length, model.kv_heads, model.head_width)
    assert sharding._dividing(mesh, "kv_heads", sharding.ACTIVATIONS["kv_heads"], shape) == P(
        sharding.BATCH_AXES, None, None, None
    )
    halved = type("Mesh", (), {"shape": {"data": 1, "fsdp": 2, "tensor": 2}})
    assert "does not divide" not in sharding.table(halved, state)


def test_a_leaf_without_a_rule_or_that_does_not_divide_is_refused():
    leaf = jax.ShapeDtypeStruct((6, 4), np.float32)
    with pytest.raises(ValueError, match="no sharding rule matches the leaf 'blocks/router'"):
        shardings(make_mesh(), {"blocks": {"router": leaf}})
    assert shardings(make_mesh(), {"head": leaf})["head"].spec == P("tensor", "fsdp")
    mesh = type("Mesh", (), {"shape": {"data": 1, "fsdp": 1, "tensor": 4}})
    with pytest.raises(UserError, match=r"'head' \(6, 4\) is not divisible by the mesh"):
        shardings(mesh, {"head": leaf})

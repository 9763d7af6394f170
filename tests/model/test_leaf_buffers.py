"""Parameters filled on the devices: the same bits wherever they lie and however small the pieces; what is not finite is named."""

import logging
import sys

import jax
import ml_dtypes
import numpy as np
import pytest
from helpers import SMALL, loud, python

from babel_jax.model import leaf_buffers, placement
from babel_jax.model.leaf_buffers import LeafBuffers
from babel_jax.model.sharding import make_mesh, path_name


def filled(mesh, dtype=np.float32, damage=()):
    """Parameters and what they were filled with, by name."""
    leaves = jax.tree_util.tree_leaves_with_path(loud(SMALL))
    given = {path_name(path): np.array(leaf).astype(dtype) for path, leaf in leaves}
    for name in damage:
        given[name].flat[-1] = np.inf
    buffers = LeafBuffers(placement.abstract_params(SMALL, mesh))
    for name, values in given.items():
        if name.startswith("blocks/"):
            for layer in reversed(range(SMALL.layers)):
                buffers.put(name, np.asfortranarray(values[layer]), layer)
        else:
            buffers.put(name, values)
    return buffers.finished(), given


def agree(params, given):
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        assert leaf.dtype == np.float32
        assert np.asarray(leaf).tobytes() == given[path_name(path)].astype(np.float32).tobytes(), path_name(path)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("chunk", [1, 200, 8 << 20])
def test_every_number_arrives(chunk, dtype, monkeypatch, caplog):
    monkeypatch.setattr(leaf_buffers, "CHUNK", chunk)
    agree(*filled(make_mesh(), dtype))
    assert caplog.text == ""


def test_leaves_that_are_not_finite_are_named(caplog):
    with caplog.at_level(logging.WARNING):
        filled(make_mesh(), damage=["head", "blocks/ffn_in/kernel"])
    named = [record.args[0] for record in caplog.records]
    assert sorted(named) == ["blocks/ffn_in/kernel", "head"]


@pytest.mark.processes
def test_on_a_mesh_each_device_gets_its_part():
    done = python(__file__, devices=4)
    assert done.returncode == 0, done.stderr


if __name__ == "__main__":
    leaf_buffers.CHUNK = 100
    for shape in ((1, 4, 1), (1, 2, 2), (4, 1, 1)):
        mesh = make_mesh(*shape)
        params, given = filled(mesh)
        agree(params, given)
        abstract = placement.abstract_params(SMALL, mesh)
        assert jax.tree.all(jax.tree.map(lambda leaf, like: leaf.sharding == like.sharding, params, abstract)), shape
    sys.exit()

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from babel_jax.model import placement


@pytest.mark.parametrize("length, shape, rows", [(64, (1, 1, 1), 32), (2048, (2, 32, 2), 64), (2048, (1, 24, 1), 48)])
def test_measurements_divide_over_the_devices_of_a_pod(length, shape, rows):
    mesh = jax.sharding.AbstractMesh(shape, ("data", "fsdp", "tensor"))
    params = {"w": jax.ShapeDtypeStruct((8, 8), np.float32, sharding=jax.sharding.NamedSharding(mesh, P()))}
    assert placement.batch_rows(params, length) == rows

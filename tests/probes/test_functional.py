import numpy as np
import pytest
from helpers.architectures import FAMILIES, config_of, in_numpy, params_of
from helpers.counted import as_sets

from babel_jax.probes import forward, functional
from babel_jax.probes.subject import Subject


def functional_case(rng):
    base = rng.normal(size=(2, 60, 8))
    now = rng.normal(size=(2, 60, 8))
    now[0, :, :3] = 2 * base[0, :, :3] + 5  # the same function, at another scale
    now[1, :, 0] = -base[1, :, 0]
    now[1, :, 1] = base[1, :, 1] + 0.3 * rng.normal(size=60)
    base[1, :, 2] = now[1, :, 2] = 0.1  # constant
    return base.astype(np.float32), now.astype(np.float32)


def test_functional_neurons_are_found_exactly():
    base, now = functional_case(np.random.default_rng(6))
    assert as_sets(functional.functional(base, now)) == {(0, 0), (0, 1), (0, 2), (1, 1)}
    want = [np.corrcoef(base[i, :, j], now[i, :, j])[0, 1] > 0.1 for i, j in ((0, 3), (0, 4), (0, 5))]
    assert functional.functional(base, now, threshold=0.1)[0, 3:6].tolist() == want


def test_functional_rows_use_transfer_slots_only():
    base, now = functional_case(np.random.default_rng(7))
    slots = {
        "subset": np.arange(60) % 2,
        "pair": np.arange(60) % 4,
        "prompt": np.arange(60),
    }
    now[:, ::2] = 0  # what stands at shared slots must not matter
    rows = functional.functional_rows(base, now, slots, "b")
    assert [(row["metric"], row["value"], row["n"]) for row in rows] == [("functional", 4, 16)]
    assert all(row["ci_low"] <= row["value"] <= row["ci_high"] for row in rows)
    assert functional.functional_rows(base, now, slots | {"subset": np.zeros(60, int)}, "b") == []


def test_functional_draws_with_equal_weights_are_the_estimate():
    base, now = functional_case(np.random.default_rng(8))
    drawn = functional._functional_draws(base, now, np.ones((3, 60)), 0.5)
    assert (drawn == functional.functional(base, now)).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_neurons_keep_their_function_by_their_values_in_every_kind_of_block(family):
    """Of a gated FFN the products are correlated, not the gates."""
    config, rng = config_of(family), np.random.default_rng(9)
    slots = {"tokens": rng.integers(0, 23, (12, 8)).astype(np.int32), "position": rng.integers(2, 8, 12)}
    slots |= {"primary_id": np.zeros(12, int), "new_id": np.ones(12, int)}
    at = (slice(None), np.arange(12), slots["position"])
    values = [
        (
            forward.measure(Subject(params, config, batch_size=12), {}, {"a": slots}, ("ffn",)).slots["a"].ffn_LxNxF,
            in_numpy(config, params, slots["tokens"])[1]["a"][at],
        )
        for params in (params_of(family), params_of(family, seed=1))
    ]
    got, plain = zip(*values, strict=True)
    want = [[np.corrcoef(*(one[layer, :, j] for one in plain))[0, 1] for j in range(20)] for layer in range(2)]
    np.testing.assert_allclose(functional.correlation(*got), want, atol=1e-3)

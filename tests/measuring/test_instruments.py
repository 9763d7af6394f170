"""What is measured at call sites of real code, where no program can be judged."""

import types

import numpy as np
import pytest

from babel_jax.measuring import instruments


def test_chance_at_call_sites_is_the_commonest_identifier():
    """Who always says identifier 5 is right at three of four sites of PHP, and knows nothing of the sites."""
    slots = {
        "python": {"primary_id": np.array([1, 2, 3, 4])},
        "php": {"new_id": np.array([5, 5, 6, 5])},
    }
    said = {"python": np.array([[1, 2, 0, 0]]), "php": np.array([[5, 0, 6, 0]])}
    measured = types.SimpleNamespace(
        slots={name: types.SimpleNamespace(argmax_LxN=argmax) for name, argmax in said.items()}
    )
    material = types.SimpleNamespace(primary="python", new="php", slots=slots)
    (instrument,) = (one for one in instruments.STUDY if one.name == "call sites")
    rows = instrument.rows(types.SimpleNamespace(material=material, measured=measured))
    found = {(row["language"], row["metric"]): row["value"] for row in rows if row["metric"] != "solved"}
    assert found == {
        ("python", "accuracy"): pytest.approx(0.5),
        ("python", "chance"): 0.25,
        ("php", "accuracy"): pytest.approx(0.5),
        ("php", "chance"): 0.75,
    }

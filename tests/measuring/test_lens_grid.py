import json

import numpy as np
from helpers import small_material

from babel_jax.measuring import lens_grid

MATERIAL = small_material()


def test_default_tokens_are_those_ranked_first_the_most_frequent_first():
    first_CxL = np.concatenate([[7] * 5, [3] * 9, np.arange(20, 40)]).reshape(17, 2)
    tokens = lens_grid.default_tokens(np.eye(64)[first_CxL])
    assert tokens == [3, 7, *range(20, 30)] and len(tokens) == lens_grid.GRID_TOKENS


def test_a_grid_of_a_study_is_small():
    slots = {
        "problem": np.repeat(np.arange(6), 2),
        "position": np.tile([6, 8], 6),
        "transfer": np.zeros(12, bool),
        "primary_id": np.full(12, 600),
        "new_id": np.full(12, 601),
    }
    probability_CxLxNxV = np.random.default_rng(0).dirichlet(np.full(640, 0.01), (22, 4, 12))
    grid = lens_grid.lens_grid(range(22), probability_CxLxNxV, slots, MATERIAL, [f"token{i}" for i in range(640)])
    assert {len(slot["tokens"]) for slot in grid["slots"]} == {12}
    assert 5e4 < len(json.dumps(grid, separators=(",", ":"))) < 1.5e5

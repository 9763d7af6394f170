"""How much each language weighs."""

from types import SimpleNamespace

import numpy as np
import pytest
from helpers import source

from babel_jax.common.errors import UserError
from babel_jax.corpus.mixture import Mixture, Stage
from babel_jax.corpus.policies import POLICIES, by_temperature, capped, weights


def test_temperature():
    tokens = {"a": 1e6, "b": 4e6}
    assert by_temperature(tokens, 1) == {"a": 0.2, "b": 0.8}
    assert by_temperature(tokens, 2) == pytest.approx({"a": 1 / 3, "b": 2 / 3})
    assert by_temperature(tokens, 1e9) == pytest.approx({"a": 0.5, "b": 0.5})
    assert by_temperature(tokens, 1e-3) == {"a": 0.0, "b": 1.0}


def unimax(tokens, budget, max_epochs):
    return capped(dict.fromkeys(tokens, 1.0), {name: max_epochs * count for name, count in tokens.items()}, budget)


def test_equal_weights_under_a_cap_are_unimax():
    """Against the algorithm as published, language by language from the smallest, and a published example."""
    rng = np.random.default_rng(1)
    for _ in range(50):
        tokens = {f"l{i}": float(count) for i, count in enumerate(rng.lognormal(10, 3, rng.integers(1, 12)))}
        budget, amounts = rng.random() * 4 * sum(tokens.values()), {}
        for i, name in enumerate(sorted(tokens, key=tokens.get)):
            amounts[name] = min(4 * tokens[name], (budget - sum(amounts.values())) / (len(tokens) - i))
        assert unimax(tokens, budget, 4) == pytest.approx({name: amount / budget for name, amount in amounts.items()})
    characters = dict(swe=179955884499, fas=184595788282, ekk=42541080893, isl=10027573389, fao=549707867)
    wanted = dict(fao=0.008795325872, isl=0.160441174224, ekk=0.27692116663, swe=0.27692116663, fas=0.27692116663)
    assert unimax(characters, 250e9, 4) == pytest.approx(wanted)


def test_what_a_cap_takes_goes_to_the_others_in_proportion():
    weights, most = {"a": 0.5, "b": 0.4, "c": 0.1, "d": 0.0}, {"a": 20.0, "b": 1e9, "c": 1e9, "d": 1e9}
    assert capped(weights, most, 100) == pytest.approx({"a": 0.2, "b": 0.64, "c": 0.16, "d": 0.0})
    assert capped(weights, most | {"b": 60.0}, 100) == pytest.approx({"a": 0.2, "b": 0.6, "c": 0.2, "d": 0.0})
    assert capped(weights, {name: 1e9 for name in weights}, 100) == pytest.approx(weights)
    with pytest.raises(UserError, match="100 tokens are more than 90, which is all that a, b, c may give"):
        capped(weights, most | {"b": 60.0, "c": 10.0}, 100)  # d has weight 0 and does not help


def test_a_capped_mixture_keeps_to_its_cap_when_it_is_drawn():
    sources = {"a": source(700), "b": source(5000), "c": source(30)}
    weights = unimax({name: float(len(rows)) for name, rows in sources.items()}, 9000, 4)
    rows = Mixture(sources, (Stage(None, tuple(weights.items())),), 0).rows_seen(9000)
    assert rows["a"] <= 4.01 * 700 and rows["c"] == pytest.approx(4 * 30, abs=1)


@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_gives_weights_that_sum_to_one(policy):
    wishes = SimpleNamespace(
        policy=policy,
        shares="a=3,b=1" if policy == "shares" else "",
        temperature=2.0 if policy == "temperature" else None,
        max_epochs=4.0,
    )
    weighed = weights({"a": 100, "b": 400}, wishes)
    assert sum(weighed.values()) == pytest.approx(1) and set(weighed) == {"a", "b"}

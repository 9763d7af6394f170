"""Counts of active tokens, as a pass makes them, and their sets of neurons as Python sets."""

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from babel_jax.probes import lape
from babel_jax.probes.definitions import definitions_by_counts


def random_counts(rng, L, F, K, kind):
    tokens = rng.integers(800, 1200, K)
    activity = rng.beta(0.4, 2.0, (L, F, K))
    if kind == "ties":
        activity = np.round(activity, 1)
        tokens[:] = 1000
    elif kind == "zeros":
        activity[rng.random((L, F)) < 0.5] = 0
    elif kind == "one language":
        activity[rng.random((L, F, K)) < 0.6] = 0
    elif kind == "always on":
        activity[rng.random((L, F)) < 0.04] = 1
    return np.floor(activity * tokens).astype(np.int64), tokens


def as_sets(mask_LxF):
    return {tuple(place) for place in np.argwhere(mask_LxF).tolist()}


def measured_from(count_RxLxFxK, tokens_RxK):
    return lape.Counts(list("abcdefg"[: count_RxLxFxK.shape[-1]]), count_RxLxFxK, tokens_RxK)


def same(first, second):
    return all(np.array_equal(value, getattr(second, name)) for name, value in vars(first).items())


def masks_of(selection, primary, new):
    """By definition."""
    return {one.name: one.mask(selection, primary, new) for one in definitions_by_counts("abc")}


def run_of_checkpoints(C=4, K=2, L=2, F=400, R=5):
    """Checkpoints in which ever more neurons are of the last language alone."""
    rng = np.random.default_rng(3)
    p = np.repeat(rng.uniform(0.01, 0.4, (L, F, 1)), K, axis=2) * rng.uniform(0.7, 1.0, (L, F, K))
    found = []
    for c in range(C):
        p[0, 3 * c : 3 * c + 3, :-1] = 0.001
        p[0, 3 * c : 3 * c + 3, -1] = 0.6
        found.append(measured_from(rng.binomial(2000, np.stack([p] * R)), np.full((R, K), 2000)))
    return found


def value(rows, metric, language="", layer=-1, **options):
    found = [
        row
        for row in rows
        if (row["metric"], row["language"], row.get("layer", -1)) == (metric, language, layer)
        and options.items() <= row["options"].items()
    ]
    assert len(found) == 1, (metric, language, options, found)
    return found[0]["value"]


quick = settings(max_examples=25, deadline=None, derandomize=True)
TOKENS = 10


@st.composite
def counts(draw, largest=TOKENS):
    """Few neurons with small counts, so that almost everything ties."""
    K = draw(st.integers(2, 4))
    return draw(arrays.arrays(np.int64, (2, draw(st.integers(10, 20)), K), elements=st.integers(0, largest)))

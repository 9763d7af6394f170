import dataclasses

import jax
import numpy as np
import pytest
from helpers import SMALL, loud, random_rows

from babel_jax.common.errors import UserError
from babel_jax.measuring import sampling
from babel_jax.measuring.greedy import generate
from babel_jax.model.edited import Edited, edited
from babel_jax.model.taps import Edit
from babel_jax.probes import attribution, centroid, edits, forward, interventions
from babel_jax.probes.subject import Subject

TOKENS = random_rows(4, SMALL.vocab_size, SMALL.max_length - 1)
NEURONS = edits.neuron_set(SMALL, [(0, 3), (1, 7), (1, 8)])
CHANGE = edits.edit("value", NEURONS, value=0.5)


@pytest.fixture(scope="module")
def subject():
    return Subject(loud(SMALL), SMALL, batch_size=4)


def changed(subject, change=CHANGE):
    model, params = edited(subject.model, subject.params, change)
    return dataclasses.replace(subject, model=model, params=params)


def test_every_pass_of_it_is_changed(subject):
    there = changed(subject)
    many = edits.edit("scale", np.indices(NEURONS.shape)[1] % 2 > 0, factor=-3.0)
    assert (there.model.layers, there.model.max_length) == (SMALL.layers, SMALL.max_length)
    logits = interventions.run(there, TOKENS)
    np.testing.assert_allclose(logits, interventions.run(subject, TOKENS, CHANGE), atol=1e-5)
    assert np.abs(logits - interventions.run(subject, TOKENS)).max() > 0.01
    prompts, length = TOKENS[:, :5], np.array([2, 3, 4, 5])
    there = changed(subject, many)
    written = generate(there, prompts, length, 6)
    np.testing.assert_array_equal(written, generate(subject, prompts, length, 6, edit=many))
    assert (written != generate(subject, prompts, length, 6)).any()
    (one,) = sampling.write(there, [prompts[0, :2]], sampling.Sampling(new_tokens=6))
    np.testing.assert_array_equal(one[0], written[0])


def test_it_is_probed_as_any_model(subject):
    there = changed(subject)
    rows = {"tokens": TOKENS, "loss": np.ones(TOKENS[:, 1:].shape), "knowledge": np.zeros(TOKENS[:, 1:].shape)}
    counted = forward.measure(there, {"a": rows}, {}, active="value").active_RxLxFxK.sum((0, 3))
    assert (counted[NEURONS] == TOKENS[:, 1:].size).all()  # each has the value 0.5 at all tokens
    assert not attribution.gradient_scores(there, {"a": rows}, ["a"])[~NEURONS].min() < 0
    slots = {"tokens": TOKENS[:, :8], "position": np.array([3, 4, 5, 6])}
    assert np.isfinite(centroid.transfer_scores(there, slots, None, "centroid_type2")).all()


def test_a_further_change_comes_behind_it(subject):
    """(0.5 scaled by 3) is 1.5, whether the second change is kept or asked for; and a pair of factors is their product."""
    scale, want = edits.edit("scale", NEURONS, factor=3.0), edits.edit("value", NEURONS, value=1.5)
    wanted = interventions.run(subject, TOKENS, want)
    there = changed(subject)
    np.testing.assert_allclose(interventions.run(there, TOKENS, scale), wanted, atol=1e-5)
    twice = changed(there, scale)
    assert isinstance(twice.model, Edited) and twice.model == there.model
    np.testing.assert_allclose(interventions.run(twice, TOKENS), wanted, atol=1e-5)
    half = changed(subject, Edit(multiply_LxF=np.where(NEURONS, 0.5, 1)))  # without an addend
    both = interventions.run(half, TOKENS, scale)
    np.testing.assert_allclose(
        both, interventions.run(subject, TOKENS, edits.edit("scale", NEURONS, factor=1.5)), atol=1e-5
    )


def test_one_executable_serves_all_sets(subject):
    interventions.jitted_scores.cache_clear()
    for places in ([(0, 1)], [(1, 2), (1, 3)]):
        there = changed(subject, edits.edit("zero", edits.neuron_set(SMALL, places)))
        interventions.run(there, TOKENS)
    step = interventions.jitted_scores(there.model, -1, there.placed()[2])
    assert step._cache_size() == 1 and len(jax.tree.leaves(there.params)) > 2


def test_what_cannot_be_kept_or_put_together_is_refused(subject):
    where = np.zeros(TOKENS.shape, bool)
    with pytest.raises(UserError, match="cannot be changed by where_BxT, which are of one batch"):
        edited(SMALL, subject.params, edits.edit("zero", NEURONS, where_BxT=where))
    with pytest.raises(UserError, match="cannot be changed further at some tokens alone"):
        interventions.run(changed(subject), TOKENS, edits.edit("zero", NEURONS, where_BxT=where))

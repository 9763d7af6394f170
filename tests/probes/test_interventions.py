import re
import textwrap

import numpy as np
import pytest
from helpers.architectures import FAMILIES, config_of, in_numpy, params_of
from helpers.changed import (
    ACTIVATIONS,
    CONFIG,
    EVERY,
    NEURONS,
    PARAMS,
    PLAIN,
    SLOTS,
    SOURCE_OF,
    STATES,
    TOKENS,
    heldout,
    naive_slots,
    numpy_forward,
)

from babel_jax.common.errors import UserError
from babel_jax.probes import edits
from babel_jax.probes import interventions as do
from babel_jax.probes.subject import Subject
from babel_jax.training import loss as losses


def test_states_are_those_of_numpy():
    np.testing.assert_allclose(do.states(Subject(PARAMS, CONFIG), TOKENS, EVERY), STATES, atol=1e-4)


def test_all_of_the_last_layer_patched_is_the_source():
    source = TOKENS[::-1].copy()
    got = do.patch(Subject(PARAMS, CONFIG), source, TOKENS, 1, EVERY)
    np.testing.assert_allclose(got, PLAIN[::-1], atol=1e-4)


def test_patchscope_is_what_numpy_does():
    here, there = np.array([[2], [0], [5], [7], [1]]), np.array([[4], [1], [5], [0], [7]])

    def put(layer, h):
        h = h.copy()
        if layer == 0:
            h[np.arange(5), there[:, 0]] = STATES[1][::-1][np.arange(5), here[:, 0]]
        return h

    got = do.patchscope(Subject(PARAMS, CONFIG), do.Place(TOKENS[::-1], 1, here), do.Place(TOKENS, 0, there))
    want = numpy_forward(PARAMS, TOKENS, residual=put)[0]
    assert np.abs(want - PLAIN).max() > 0.1
    np.testing.assert_allclose(got, want, atol=1e-4)


@pytest.mark.parametrize("layer", [0, 1])
def test_a_patch_from_the_same_place_changes_nothing(layer):
    np.testing.assert_allclose(
        do.patch(Subject(PARAMS, CONFIG), TOKENS, TOKENS, layer, EVERY[:, 2:4]), PLAIN, atol=1e-4
    )


def test_loss_is_nats_a_token():
    log_prob = PLAIN - np.log(np.exp(PLAIN).sum(-1, keepdims=True))
    picked = np.take_along_axis(log_prob[:, :-1], TOKENS[:, 1:, None], -1)[..., 0]
    assert do.loss(Subject(PARAMS, CONFIG), TOKENS) == pytest.approx(-picked.mean(), abs=1e-5)
    weight = np.zeros((5, 7))
    weight[1:3, 4] = 1
    assert do.loss(Subject(PARAMS, CONFIG), TOKENS, weight_BxT=weight) == pytest.approx(
        -picked[1:3, 4].mean(), abs=1e-5
    )
    by_source = edits.edit("resample", NEURONS, source_B=SOURCE_OF)  # an edit of single rows: one batch
    want = numpy_forward(PARAMS, TOKENS, lambda layer, a: np.where(NEURONS[layer], ACTIVATIONS[layer][SOURCE_OF], a))[0]
    log_prob = want - np.log(np.exp(want).sum(-1, keepdims=True))
    picked = np.take_along_axis(log_prob[:, :-1], TOKENS[:, 1:, None], -1)[..., 0]
    assert do.loss(Subject(PARAMS, CONFIG), TOKENS, by_source) == pytest.approx(-picked.mean(), abs=1e-5)


def test_loss_in_parts_of_the_positions_is_the_same(monkeypatch):
    whole = do.loss(Subject(PARAMS, CONFIG), TOKENS[:, :7])
    monkeypatch.setattr(losses, "tiles_for", lambda rows, length, vocab: 3)
    do.jitted_scores.cache_clear()
    assert do.loss(Subject(PARAMS, CONFIG), TOKENS[:, :7]) == pytest.approx(whole, abs=1e-6)
    do.jitted_scores.cache_clear()


def test_the_example_of_the_docstring_runs():
    example = textwrap.dedent(re.search(r"\n\n((?:    .*\n|\n)+)", do.__doc__)[1])
    names = dict(
        params=PARAMS, config=CONFIG, tokens_BxT=TOKENS, tokens_BxT1=heldout(0, 4)["tokens"], source_BxT=TOKENS
    )
    names |= dict(positions_BxP=EVERY, neurons_LxF=NEURONS, heldout={"python": heldout(0, 4)})
    with pytest.raises(UserError, match=re.escape("neuron (1, 70) is not in this model")):
        exec(example, dict(names))
    exec(example.replace("70", "7"), names)
    assert names["logits_BxTxV"].shape == (5, 8, 23) and names["change"] != 0 and len(names["rows"]) == 1
    np.testing.assert_allclose(names["found_BxTxV"], PLAIN, atol=1e-4)


# ---- Random sets and what they are for


# ---- The matrix of losses


# ---- Slots


@pytest.mark.parametrize("right", ["primary", "new"])
def test_scores_at_slots_are_the_naive_ones(right):
    got, want = do.slot_scores(Subject(PARAMS, CONFIG, batch_size=4), SLOTS, right), naive_slots(SLOTS, right)
    for name in want:
        np.testing.assert_allclose(got[name], want[name], atol=1e-4)
    assert set(got) == set(want) and 0 < want["accuracy"].sum() < 14


def test_single_identifiers_are_sets_of_one():
    singles = {name: SLOTS[name] for name in ("tokens", "position")}
    for name in ("primary", "new"):
        singles[f"{name}_id"] = SLOTS[f"{name}_ids"][:, 0]
    sets = singles | {f"{name}_ids": SLOTS[f"{name}_ids"][:, :1] for name in ("primary", "new")}
    got, want = (do.slot_scores(Subject(PARAMS, CONFIG, batch_size=4), slots, "new") for slots in (singles, sets))
    assert all(np.array_equal(got[name], want[name]) for name in want)


# ---- Programs


# ---- Parts of the parameters


# ---- Mistakes

BIG = np.zeros((3, 24), bool)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: do.run(Subject(PARAMS, CONFIG), TOKENS, edits.edit("zero", BIG)), "neuron set of another model"),
        (
            lambda: do.run(Subject(PARAMS, CONFIG), TOKENS, edits.edit("zero", NEURONS, where_BxT=np.ones((5, 7)))),
            "where_BxT (5, 7)",
        ),
        (
            lambda: do.run(Subject(PARAMS, CONFIG), TOKENS, edits.edit("resample", NEURONS, source_B=[0, 1, 2, 3, 5])),
            "'resample' needs source_B: for each of the 5 rows",
        ),
        (lambda: do.run(Subject(PARAMS, CONFIG), TOKENS, edits.edit("resample", NEURONS)), "source_B"),
        (lambda: do.run(Subject(PARAMS, CONFIG), TOKENS + 1), "is not in this model's vocabulary"),
        (lambda: do.run(Subject(PARAMS, CONFIG), np.zeros((2, 9), int)), "do not fit a context of 8"),
        (lambda: do.run(Subject(PARAMS, CONFIG), TOKENS * 1.0), "whole numbers"),
        (lambda: do.loss(Subject(PARAMS, CONFIG), TOKENS, weight_BxT=np.zeros((5, 7))), "no target counts"),
        (lambda: do.loss(Subject(PARAMS, CONFIG), TOKENS, weight_BxT=np.ones((5, 8))), "do not fit the (5, 7) targets"),
        (lambda: do.patch(Subject(PARAMS, CONFIG), TOKENS, TOKENS, 2, EVERY), "layer 2 is not in this model"),
        (lambda: do.patch(Subject(PARAMS, CONFIG), TOKENS, TOKENS, 0, EVERY + 1), "each from 0 to 7"),
        (lambda: do.put(CONFIG, np.zeros((5, 8, 17)), 0, EVERY), "model of width 16"),
        (
            lambda: do.slot_scores(Subject(PARAMS, CONFIG), SLOTS | {"new_ids": np.full((14, 2), -1)}, "new"),
            "no identifier of the new",
        ),
        (
            lambda: do.slot_scores(Subject(PARAMS, CONFIG), SLOTS | {"position": np.full(14, 8)}, "new"),
            "each from 0 to 7",
        ),
    ],
)
def test_what_cannot_be_run_is_one_line(call, message):
    with pytest.raises(UserError, match=re.escape(message)):
        call()


@pytest.mark.parametrize("family", FAMILIES)
def test_states_are_read_and_patched_in_every_kind_of_block(family):
    config, params = config_of(family), params_of(family)
    subject, source = Subject(params, config), TOKENS[::-1].copy()
    _, inside = in_numpy(config, params, source)
    np.testing.assert_allclose(do.states(subject, source, EVERY), inside["h"], atol=1e-4)

    def put(layer, h):
        h = h.copy()
        if layer == 0:
            h[:, 4] = inside["h"][0][:, 4]
        return h

    want, _ = in_numpy(config, params, TOKENS, state=put)
    np.testing.assert_allclose(do.patch(subject, source, TOKENS, 0, EVERY[:, 4:5]), want, atol=1e-4)
    assert np.abs(want - in_numpy(config, params, TOKENS)[0]).max() > 1e-2

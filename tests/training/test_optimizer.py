import dataclasses
import json
import math
import re

import jax
import numpy as np
import optax
import pytest
from helpers import (
    PRESETS,
    SMALL,
    by_path,
    loud,
    make_run,
    python,
)
from helpers.decoders import SMALL_ONES
from helpers.steps import DEFAULT, losses_of, settings
from ml_collections import ConfigDict

from babel_jax.common.errors import UserError
from babel_jax.model.decoder import DecoderConfig
from babel_jax.model.sharding import make_mesh, path_name
from babel_jax.training import config as run_config
from babel_jax.training.optimizer import (
    DECAYED,
    MUON_RMS,
    NEWTON_SCHULZ,
    SCHEDULE_KEYS,
    learning_rate,
    orthogonalise,
    static_settings,
    transformation,
)
from babel_jax.training.step import make_trainer

MATRICES = ("attention_out", "ffn_in", "ffn_out", "qkv")


def gradients(seed: int, scale: float = 1e-3) -> dict:
    return loud(SMALL, seed=100 + seed, scale=scale)


def updates(steps: int = 1, **changes) -> list[dict]:
    """The updates of some steps with random gradients, by path; the parameters stay."""
    transform, params, found = transformation(settings(**changes)), loud(SMALL), []
    state = transform.init(params)
    for step in range(steps):
        update, state = transform.update(gradients(step), state, params)
        found.append(by_path(update))
    return found


def is_matrix(path: str) -> bool:
    return any(f"['{name}']['kernel']" in path for name in MATRICES)


# --- schedules ------------------------------------------------------------------------------------------------------------


def schedule(steps, **changes):
    settings = dict(learning_rate=1.0, warmup_steps=4, schedule="constant", decay_steps=0, final_learning_rate=0.1)
    return [learning_rate(ConfigDict(settings | changes), step, steps) for step in range(steps + 1)]


def test_schedules():
    assert schedule(8) == [0.25, 0.5, 0.75, 1, 1, 1, 1, 1, 1]
    cosine = schedule(12, schedule="cosine")
    assert cosine[4] == 1 and cosine[8] == pytest.approx(0.55) and cosine[12] == pytest.approx(0.1)
    assert sorted(cosine[4:], reverse=True) == cosine[4:]
    late = schedule(12, schedule="cosine", decay_steps=4)
    assert late[4:9] == [1] * 5 and late[10] == pytest.approx(0.55) and late[12] == pytest.approx(0.1)
    with pytest.raises(UserError, match="did you mean 'cosine'"):
        schedule(12, schedule="cosin")


def test_wsd_warms_up_stays_and_decays():
    optimizer = ConfigDict(
        dict(learning_rate=1.0, warmup_steps=2, schedule="wsd", decay_steps=4, final_learning_rate=0.2)
    )
    rates = [learning_rate(optimizer, step, 10) for step in range(11)]
    assert rates[:7] == [0.5, 1, 1, 1, 1, 1, 1]
    assert rates[7:] == pytest.approx([0.6, 0.2 + 0.8 * (1 - math.sqrt(0.5)), 0.2 + 0.8 * (1 - math.sqrt(0.75)), 0.2])
    longer = [learning_rate(optimizer, step, 20) for step in range(7)]
    assert longer == rates[:7]  # what a longer run would have done


def test_the_keys_that_are_data_are_not_in_what_is_compiled_for():
    static = static_settings(DEFAULT)
    assert set(static) | set(SCHEDULE_KEYS) == set(DEFAULT) and not set(static) & set(SCHEDULE_KEYS)
    assert hash(static) == hash(static_settings(run_config.default().optimizer))


# --- AdamW ----------------------------------------------------------------------------------------------------------------


def test_adamw_is_the_published_algorithm():
    """Three steps against arXiv:1711.05101, algorithm 2, in float64, behind clipping by the global norm."""
    b1, b2, epsilon, decay, clip = 0.9, 0.98, 1e-8, 0.1, 0.02
    found = updates(steps=3, clip_norm=clip)
    params = by_path(loud(SMALL))
    first, second = ({path: np.zeros(leaf.shape) for path, leaf in params.items()} for _ in range(2))
    for t in range(1, 4):
        grads = {path: leaf.astype(float) for path, leaf in by_path(gradients(t - 1)).items()}
        norm = math.sqrt(sum((leaf**2).sum() for leaf in grads.values()))
        assert norm > clip
        for path, grad in grads.items():
            grad = grad * clip / norm
            first[path] = b1 * first[path] + (1 - b1) * grad
            second[path] = b2 * second[path] + (1 - b2) * grad**2
            wanted = first[path] / (1 - b1**t) / (np.sqrt(second[path] / (1 - b2**t)) + epsilon)
            wanted = wanted + decay * params[path] * is_matrix(path)
            np.testing.assert_allclose(found[t - 1][path], wanted, rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_a_bfloat16_moment_is_stored_so_and_changes_little(name):
    exact, rounded = (updates(steps=4, name=name, mu_dtype=dtype)[-1] for dtype in ("float32", "bfloat16"))
    difference = math.sqrt(sum(((exact[path] - rounded[path]) ** 2).sum() for path in exact))
    size = math.sqrt(sum((leaf**2).sum() for leaf in exact.values()))
    assert 0 < difference < 0.01 * size  # a bfloat16 holds 8 bits: half a unit is 2 ** -9 of a value
    state = transformation(settings(name=name, mu_dtype="bfloat16")).init(loud(SMALL))
    short = {path for path, leaf in by_path(state).items() if leaf.dtype.name == "bfloat16"}
    assert len(short) == len(by_path(loud(SMALL))) and not any(".nu" in path for path in short)


def test_decay_acts_on_the_leaves_that_the_pattern_names():
    params = by_path(loud(DecoderConfig(**PRESETS["test"], vocab_size=48, max_length=12, frozen_rows=8)))

    def decayed(pattern):
        tree = loud(DecoderConfig(**PRESETS["test"], vocab_size=48, max_length=12, frozen_rows=8))
        transform = transformation(settings(decayed=pattern))
        update, _ = transform.update(jax.tree.map(np.zeros_like, tree), transform.init(tree), tree)
        for path, leaf in by_path(update).items():
            assert not leaf.any() or np.allclose(leaf, 0.1 * params[path])
        return {path for path, leaf in by_path(update).items() if leaf.any()}

    assert decayed("head$|embed_table$") == {"['embed_table']"}  # the head is tied
    assert decayed("") == params.keys() - {"['embed_frozen']"}  # frozen rows stay what they are
    assert decayed(DEFAULT.decayed) == {path for path in params if is_matrix(path)} and len(params) > 12
    with pytest.raises(UserError, match="unknown parameter pattern in optimizer.decayed 'blocks/ffn/kernel'"):
        transformation(settings(decayed="blocks/ffn/kernel")).init(loud(SMALL))


# --- Muon -----------------------------------------------------------------------------------------------------------------


def newton_schulz(matrix):
    """Five steps in float64, one layer's matrix."""
    x = matrix / np.linalg.norm(matrix)
    for _ in range(5):
        gram = x @ x.T
        x = NEWTON_SCHULZ[0] * x + NEWTON_SCHULZ[1] * gram @ x + NEWTON_SCHULZ[2] * gram @ gram @ x
    return x


def test_muon_steps_every_layers_matrices_on_their_own():
    """Three steps against Nesterov momentum and Newton-Schulz in NumPy, layer by layer, q, k and v apart."""
    found, trace = updates(steps=3, name="muon", weight_decay=0.0, clip_norm=1e9), {}
    for step in range(3):
        for path, grad in by_path(gradients(step)).items():
            if not is_matrix(path):
                continue
            grad = grad.astype(float)
            trace[path] = 0.95 * trace.get(path, 0) + grad
            for layer, momentum in enumerate(grad + 0.95 * trace[path]):
                parts = np.split(momentum, 3 if "qkv" in path else 1, axis=1)
                wanted = [newton_schulz(part) * MUON_RMS * max(part.shape) ** 0.5 for part in parts]
                np.testing.assert_allclose(found[step][path][layer], np.concatenate(wanted, 1), rtol=1e-3, atol=1e-4)


def test_muons_direction_is_that_of_optax():
    """Its first step, whose momentum is the gradient times a number, which orthogonalising forgets."""
    (found,) = updates(name="muon", weight_decay=0.0)
    dimensions = optax.contrib.MuonDimensionNumbers(1, 2)
    for name in ("attention_out", "ffn_in", "ffn_out"):
        kernel = gradients(0)["blocks"][name]["kernel"]
        reference = optax.contrib.scale_by_muon(weight_dimension_numbers=dimensions)
        wanted, _ = reference.update(kernel, reference.init(kernel))
        wanted = wanted * MUON_RMS * max(kernel.shape[1:]) ** 0.5
        np.testing.assert_allclose(found[f"['blocks']['{name}']['kernel']"], wanted, rtol=1e-3, atol=1e-4)


def test_orthogonalised_matrices_are_nearly_so_and_forget_their_scale():
    for shape in ((16, 48), (48, 16), (24, 40)):
        matrix = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        found = np.asarray(orthogonalise(matrix))
        singular = np.linalg.svd(found, compute_uv=False)
        assert found.shape == shape and singular.min() > 0.5 and singular.max() < 1.3
        left, _, right = np.linalg.svd(matrix, full_matrices=False)
        assert (found * (left @ right)).sum() > 0.8 * min(shape)  # along the nearest orthogonal matrix
        np.testing.assert_allclose(orthogonalise(1e-4 * matrix), found, rtol=1e-2, atol=1e-3)
    assert not np.asarray(orthogonalise(np.zeros((4, 6), np.float32))).any()


def test_muon_leaves_all_else_to_adam_and_steps_as_far_as_it():
    muon, adam = (updates(steps=2, name=name, weight_decay=0.0)[-1] for name in ("muon", "adamw"))
    for path in muon:
        if is_matrix(path):
            assert np.sqrt((muon[path] ** 2).mean()) == pytest.approx(MUON_RMS, rel=0.15)
        else:
            np.testing.assert_array_equal(muon[path], adam[path])
    assert sum(is_matrix(path) for path in muon) == len(MATRICES) < len(muon)


def test_decay_and_multipliers_are_the_same_under_muon():
    plain, decayed, times = (
        updates(name="muon", weight_decay=decay, multipliers=factors)[0]
        for decay, factors in ((0.0, {}), (0.5, {}), (0.0, {"ffn_in/kernel$": 3.0}))
    )
    params = by_path(loud(SMALL))
    for path in plain:
        np.testing.assert_allclose(decayed[path] - plain[path], 0.5 * params[path] * is_matrix(path), atol=1e-5)
        np.testing.assert_allclose(times[path], plain[path] * (3 if "['ffn_in']['kernel']" in path else 1), rtol=1e-6)


@pytest.mark.processes
def test_muon_learns_and_eight_devices_give_the_losses_of_one():
    """On the mesh every leaf of Muon's state has a rule, or `make_trainer` would have refused it."""
    muon = dict(name="muon", mu_dtype="bfloat16")
    script = f"import json; from helpers.steps import losses_of; print(json.dumps(losses_of(2, 2, 2, **{muon})))"
    done = python("-c", script, devices=8)
    assert done.returncode == 0, done.stderr
    one = losses_of(**muon)
    assert json.loads(done.stdout.splitlines()[-1]) == pytest.approx(one, abs=2e-3)
    assert one[-1] < one[0] - 0.3


@pytest.mark.parametrize("family", SMALL_ONES)
def test_muon_and_decay_act_on_the_matrices_of_every_familys_blocks(family):
    model = dataclasses.replace(SMALL_ONES[family], frozen_rows=16)
    trainer = make_trainer(model, static_settings(settings(name="muon")), -1, make_mesh())
    specs = {path_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(trainer.state_shardings)}
    trace = {name for name in specs if "/trace/" in name}
    params = {path_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(trainer.abstract_state["params"])}
    matrices = {name for name in params if name.startswith("blocks/") and "/ln_" not in name and "bias" not in name}
    assert {name.partition("/trace/")[2] for name in trace} == matrices
    assert {name for name in params if re.search(DECAYED, name)} == matrices
    assert all("fsdp" in specs[name].spec and "tensor" in specs[name].spec for name in trace)


def test_muon_takes_the_heads_of_a_kernel_as_one_matrix():
    """Queries, keys, values, gates and inputs of a gated block: each layer's of each kind on its own."""
    params = loud(SMALL_ONES["llama"], seed=100, scale=1e-3)
    transform = transformation(settings(name="muon", weight_decay=0.0, clip_norm=1e9))
    update, _ = transform.update(params, transform.init(params), params)
    for name in ("q", "k", "v", "ffn_gate", "ffn_in", "ffn_out", "attention_out"):
        kernel, found = (np.asarray(tree["blocks"][name]["kernel"]) for tree in (params, update))
        assert kernel.ndim == 3 + (name in "qkv")
        for momentum, step in zip(kernel, found, strict=True):
            matrix = momentum.reshape(len(momentum), -1).astype(float)
            wanted = newton_schulz(matrix) * MUON_RMS * max(matrix.shape) ** 0.5
            np.testing.assert_allclose(step.reshape(matrix.shape), wanted, rtol=1e-3, atol=1e-4)


# --- mistakes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(name="mun"), "unknown optimizer 'mun'; did you mean 'muon'?"),
        (dict(mu_dtype="bfloat"), "unknown optimizer.mu_dtype 'bfloat'; did you mean 'bfloat16'?"),
        (dict(schedule="wds"), "unknown schedule 'wds'; did you mean 'wsd'?"),
        (dict(schedule="wsd"), "optimizer.schedule 'wsd' needs decay_steps of at least 1"),
        (dict(momentum=-0.1), "optimizer.momentum must be a number of at least 0 and below 1, not -0.1"),
        (dict(decayed="blocks/("), "optimizer.decayed must be a regular expression, and 'blocks/(' is not one"),
    ],
)
def test_mistakes_in_the_section_are_named(changes, message):
    with pytest.raises(UserError) as error:
        run_config.validate(make_run(changes))
    assert message in str(error.value) and "\n" not in str(error.value)


def test_unknown_names_are_refused_without_validation_too():
    for changes in (dict(name="mun"), dict(mu_dtype="bfloat")):
        with pytest.raises(UserError, match="did you mean"):
            transformation(settings(**changes))


def updates_of(optimizer, gradient):
    params = loud(SMALL)
    transform = transformation(settings(**optimizer))
    grads = jax.tree.map(lambda leaf: np.full(leaf.shape, gradient, np.float32), params)
    return by_path(transform.update(grads, transform.init(params), params)[0]), by_path(params)


def test_weight_decay_acts_on_block_matrices_only():
    update, params = updates_of({}, gradient=0.0)
    for path in params:
        decayed = "blocks" in path and "kernel" in path
        np.testing.assert_allclose(update[path], params[path] * (0.1 if decayed else 0), rtol=1e-6)
    assert sum("kernel" in path for path in params) == 4


def test_multipliers_scale_the_leaves_they_name():
    plain, _ = updates_of({"weight_decay": 0.0}, gradient=1.0)
    times, _ = updates_of({"weight_decay": 0.0, "multipliers": {"embed_table$|head$": 6.0}}, gradient=1.0)
    for path in plain:
        factor = 6 if path in ("['embed_table']", "['head']") else 1
        np.testing.assert_allclose(times[path], factor * plain[path], rtol=1e-6)


def test_a_pattern_that_matches_nothing_is_refused():
    with pytest.raises(UserError, match="unknown parameter pattern in optimizer.multipliers 'hed'"):
        updates_of({"multipliers": {"hed": 6.0}}, gradient=1.0)


def test_clipping_is_by_the_global_norm():
    small, _ = updates_of({"b1": 0.0, "b2": 0.0, "epsilon": 1.0, "weight_decay": 0.0}, gradient=1e-4)
    large, _ = updates_of({"b1": 0.0, "b2": 0.0, "epsilon": 1.0, "weight_decay": 0.0}, gradient=1e4)
    n = sum(leaf.size for leaf in small.values())
    assert small["['head']"][0, 0] == pytest.approx(1e-4, rel=1e-3)
    assert large["['head']"][0, 0] == pytest.approx(n**-0.5 / (1 + n**-0.5), rel=1e-3)

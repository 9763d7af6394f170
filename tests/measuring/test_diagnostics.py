"""What is measured of a continual run besides its curves: once, the same bits again, and what the numbers are made of."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from helpers import make_run, run_in, small_material, train, world_config

from babel_jax.common import files, measurements
from babel_jax.common.errors import UserError
from babel_jax.evolution import mechanism as reading
from babel_jax.measuring import diagnostics, instruments, lens_grid, programs, walk
from babel_jax.measuring import study_walk as measure
from babel_jax.measuring.reading import Settings, subject_of
from babel_jax.measuring.study_walk import checkpoints
from babel_jax.organism import world, world_material
from babel_jax.probes import edits
from babel_jax.probes import interventions as do
from babel_jax.probes.subject import Subject

pytestmark = pytest.mark.filterwarnings("ignore:only .* of the .* neurons")
MATERIAL = small_material()
CONFIG = make_run(steps=24, seed=3, checkpoint_steps=(0, 8, 24), optimizer={"learning_rate": 0.02})
PEAK = 8
NAMES = world.World(world_config(), 0).tokens
PLACES = ("measurements/causes.parquet", "measurements/drift.parquet", "diagnostics/lens_grid.json")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    run = files.path(tmp_path_factory.mktemp("study") / "seed3" / "continual")
    train(CONFIG, MATERIAL, run)
    base_LxNxF = measure.base_activations(run_in(run, CONFIG, MATERIAL))
    diagnostics.measure(run_in(run, CONFIG, MATERIAL), base_LxNxF, PEAK, NAMES)
    return run, base_LxNxF


@pytest.fixture(scope="module")
def at_peak(trained):
    """The checkpoint of the peak, what was read of it, and the grid's slots."""
    run = run_in(trained[0], CONFIG, MATERIAL)
    (checkpoint,) = checkpoints(run, (PEAK,))
    checkpoint = walk.restored(checkpoint)
    slots = lens_grid.grid_slots(run.model, MATERIAL)
    subject = subject_of(checkpoint.params, run.model, MATERIAL)
    return checkpoint, diagnostics.read(subject, MATERIAL, slots), slots


@pytest.mark.long
def test_it_is_measured_once_and_again_with_the_same_bytes(trained, monkeypatch):
    run, base_LxNxF = trained
    written = {place: (run / place).read_bytes() for place in PLACES}
    read = diagnostics.read

    def refuse(*arguments):
        raise AssertionError("a checkpoint was read although all is measured")

    monkeypatch.setattr(diagnostics, "read", refuse)
    diagnostics.measure(run_in(run, CONFIG, MATERIAL), base_LxNxF, PEAK, NAMES)
    monkeypatch.setattr(diagnostics, "read", read)
    (run / PLACES[1]).unlink()  # as if it was killed before the last file
    diagnostics.measure(run_in(run, CONFIG, MATERIAL), base_LxNxF, PEAK, NAMES)
    assert {place: (run / place).read_bytes() for place in PLACES} == written
    frame = measurements.read(run)
    assert set(frame["run"]) == {"continual"} and set(frame["seed"]) == {3} and set(frame["language"]) == {"php"}
    assert frame.groupby("step")["tokens"].first().to_dict() == {s: s * 8 * MATERIAL.max_length for s in (0, 8, 24)}


def test_a_peak_that_is_no_checkpoint_is_an_error_and_a_control_needs_none(trained, tmp_path):
    run, base_LxNxF = trained
    for place in ("checkpoints", "DONE", "config.json"):
        (tmp_path / place).symlink_to(run / place)
    with pytest.raises(UserError, match="no checkpoint 9 to ablate"):
        diagnostics.measure(run_in(tmp_path, CONFIG, MATERIAL), base_LxNxF, 9)
    diagnostics.measure(run_in(tmp_path, CONFIG, MATERIAL), base_LxNxF, None)
    assert [(tmp_path / place).exists() for place in PLACES] == [False, True, True]
    assert files.read_json(tmp_path / PLACES[2])["names"] == {}


def test_neurons_that_come_and_go_add_up_to_the_counts_of_the_curves(trained, at_peak):
    run, base_LxNxF = trained
    frame = measurements.read(run / PLACES[1])
    drifts = reading.drift(frame, "php")
    assert [drifts.definition, *(one.definition for one in drifts.others)] == ["functional", "lape_target"]
    for one in (drifts, *drifts.others):
        size, births, deaths = (getattr(one, f"{kind}_CxL") for kind in ("size", "births", "deaths"))
        assert one.steps.tolist() == [0, 8, 24] and np.isnan(births[0]).all()
        assert np.array_equal(size[1:], size[:-1] + births[1:] - deaths[1:])
    assert set(frame["metric"]) == {"size", "births", "deaths"} and set(frame["layer"]) == {1, 2}
    assert drifts.births_CxL[1:].sum() > 0 and drifts.deaths_CxL[1:].sum() > 0
    _, rows = instruments.measure(at_peak[0], MATERIAL, instruments.STUDY, Settings(base_LxNxF=base_LxNxF))
    for one in (drifts, *drifts.others):  # what the curves count
        (counted,) = (row["value"] for row in rows if row["metric"] == one.definition)
        assert counted == one.size_CxL[1].sum()


def test_neurons_are_chosen_by_correlation_and_not_by_the_problems_they_are_tested_on(trained, at_peak):
    _, base_LxNxF = trained
    _, view, _ = at_peak
    slots, rng = MATERIAL.slots["php"], np.random.default_rng(0)
    L, N, F = base_LxNxF.shape
    planted = {"functional": [(0, 1), (1, 5), (1, 9)], "functional_shared": [(0, 2), (0, 30), (1, 0)]}
    now_LxNxF = rng.normal(size=base_LxNxF.shape)
    base_LxNxF = rng.normal(size=base_LxNxF.shape)
    for name, subset in (("functional", 1), ("functional_shared", 0)):
        for layer, neuron in planted[name]:
            kept_N = slots["subset"] == subset
            now_LxNxF[layer, kept_N, neuron] = 3 * base_LxNxF[layer, kept_N, neuron] + 1
    tested_N = ~diagnostics.choosing_problems(40)[slots["item"]]
    now_LxNxF[:, tested_N] = -base_LxNxF[:, tested_N]
    sets = diagnostics.ablated_sets(dataclasses.replace(view, ffn_LxNxF=now_LxNxF), base_LxNxF, MATERIAL)
    for name, places in planted.items():
        assert sorted(zip(*np.nonzero(sets[name]), strict=True)) == places
    both = slots["position"][~tested_N]
    assert len(set(both[slots["subset"][~tested_N] == 1])) == 2  # first and second identifiers choose


def test_a_cause_is_the_change_of_the_tested_problems_beside_random_sets(trained, at_peak, monkeypatch):
    run, base_LxNxF = trained
    checkpoint, view, _ = at_peak
    frame = measurements.read(run / PLACES[0])
    options = frame["options"].map(json.loads)
    done = {(o["checkpoint"], o["kind"], o["set"]) for o in options}
    assert set(frame["step"]) == {8} and set(frame["metric"]) == {"pass_change", "pass_specificity"}
    for name in ("functional", "functional_shared"):
        assert ("peak", "mean", name) in done
    assert ("peak", "zero", "functional") in done and (options.map(lambda o: o["draws"]) == 20).all()

    # A judge that a small model's programs often please, and so many neurons that programs change.
    monkeypatch.setattr(diagnostics, "SHARE", 0.5)
    problems = dataclasses.replace(
        MATERIAL.problems, judge=lambda language, written_QxA: written_QxA.sum(axis=1) % 2 == 0
    )
    material = dataclasses.replace(MATERIAL, problems=problems)
    subject = subject_of(checkpoint.params, checkpoint.model, MATERIAL)
    rows = diagnostics.cause_rows(subject, material, view, base_LxNxF)
    mean_LxF = edits.means(view.measured)[view.measured.languages.index("php")]
    neurons_LxF = diagnostics.ablated_sets(view, base_LxNxF, MATERIAL)["functional"]
    tested_Q = ~diagnostics.choosing_problems(40)

    def solved_Q(change):
        return problems.judge("php", programs.completions(subject, problems, "php", change))

    moved = 0
    for kind, options in (("mean", {"mean_LxF": mean_LxF}), ("zero", {})):
        sets = [neurons_LxF, *edits.random_sets(neurons_LxF)]
        change_RxQ = [solved_Q(edits.edit(kind, one_LxF, **options)) - 1.0 * solved_Q(None) for one_LxF in sets]
        for subset, chosen_Q in (
            ("transfer", problems.transfer_Q),
            ("shared", ~problems.transfer_Q),
            ("all", tested_Q),
        ):
            want_R = np.array(change_RxQ)[:, tested_Q & chosen_Q].mean(axis=1)
            (row,) = (
                row
                for row in rows
                if (row["metric"], row["options"]["set"]) == ("pass_change", "functional")
                and (row["options"]["kind"], row["options"]["subset"]) == (kind, subset)
            )
            assert row["value"] == pytest.approx(want_R[0]) and row["options"]["size"] == 32
            assert row["options"]["random_mean"] == pytest.approx(want_R[1:].mean())
            assert row["n"] == (tested_Q & chosen_Q).sum()
            moved += abs(want_R).sum()
    assert moved > 0


def test_the_lens_grid_holds_what_the_layers_would_write(trained, at_peak):
    run, _ = trained
    checkpoint, view, slots = at_peak
    probability_LxNxV = view.probability_LxNxV
    grid = reading.lens_grid(files.read_json(run / PLACES[2]))
    assert grid["steps"] == [0, 8, 24] and grid["layers"] == 2 and len(grid["slots"]) == 12
    assert [prompt["transfer"] for prompt in grid["prompts"]].count(True) == 3 and len(grid["prompts"]) == 6
    logits_NxTxV = np.asarray(do.run(Subject(checkpoint.params, checkpoint.model), slots["tokens"]))
    for n, slot in enumerate(grid["slots"]):
        want_V = np.asarray(jax.nn.softmax(logits_NxTxV[n, slot["position"]]))
        assert np.abs(probability_LxNxV[-1, n] - want_V).max() < 1e-6  # the last layer is the model's own output
        assert slot["top_CxLx5"].shape == slot["top_probability_CxLx5"].shape == (3, 2, 5)
        assert slot["top_CxLx5"][1, -1].tolist() == np.argsort(-want_V, kind="stable")[:5].tolist()
        assert np.abs(slot["top_probability_CxLx5"][1, -1] - np.sort(want_V)[::-1][:5]).max() <= 5.1e-4
        assert np.abs(slot["probability_CxLxM"][1, -1] - want_V[slot["tokens"]]).max() <= 5.1e-4
        firsts = slot["top_CxLx5"][..., 0]
        assert set(slot["tokens"]) == set(firsts.ravel()) and len(slot["tokens"]) <= lens_grid.GRID_TOKENS
        prompt = next(prompt for prompt in grid["prompts"] if prompt["problem"] == slot["problem"])
        assert prompt["tokens"][slot["position"] + 1] == slot["new_id"]
        used = {*prompt["tokens"], slot["primary_id"], *slot["tokens"], *slot["top_CxLx5"].ravel().tolist()}
        assert all(grid["names"][str(token)] == NAMES[token] for token in used)
        assert slot["primary_id"] != slot["new_id"]  # there are problems enough that tell the languages apart


def test_a_language_that_needs_nothing_of_the_primary(trained, tmp_path, monkeypatch):
    run, base_LxNxF = trained
    material = world_material.materials(world_config(shared_words=20), 0)["php"]
    assert not material.problems.transfer_Q.any()
    there = tmp_path / "continual"
    there.mkdir()
    for place in ("checkpoints", "DONE", "config.json"):
        (there / place).symlink_to(run / place)
    monkeypatch.setattr(diagnostics, "ABLATIONS", (("mean", ("functional", "functional_shared")),))
    diagnostics.measure(run_in(there, CONFIG, material), base_LxNxF, PEAK)
    frame = measurements.read(there)
    found = reading.causes(frame, "php")
    assert {(one.neurons, one.subset) for one in found.sets} == {("functional_shared", "all")}
    assert set(vars(found.verdict).values()) == {None}
    assert reading.drift(frame, "php").definition == "lape_target"
    assert len(files.read_json(there / PLACES[2])["prompts"]) == 6


def test_a_set_that_is_empty_is_left_out(at_peak, trained):
    _, view, _ = at_peak
    measured = dataclasses.replace(view.measured, active_RxLxFxK=view.measured.active_RxLxFxK * 0)
    silent = dataclasses.replace(view, measured=measured)
    assert "lape_target" not in diagnostics.ablated_sets(silent, trained[1], MATERIAL)
    assert diagnostics.ablated_sets(silent, None, MATERIAL) == {}

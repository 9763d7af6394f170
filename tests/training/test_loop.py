import dataclasses
import json
import math
import shutil
import signal

import numpy as np
import pandas as pd
import pytest
from helpers import (
    make_run,
    python,
    random_rows,
    run_in,
    same,
    state_at,
    train,
    trainer_of,
)
from helpers.killed_runs import MATERIAL, by_head, online_run

from babel_jax.common.errors import UserError
from babel_jax.common.material import ArrayRows
from babel_jax.measuring import instruments, walk
from babel_jax.measuring import study_walk as measure
from babel_jax.model.families.catalogue import BY_TYPE
from babel_jax.training import config as run_config
from babel_jax.training import drawn, runs
from babel_jax.training.checkpoint import Seen
from babel_jax.training.optimizer import learning_rate, static_settings

OPTIMIZER = static_settings(run_config.default().optimizer)


def test_the_run_follows_its_schedule(tmp_path):
    """Adam without memory moves every parameter that has a gradient by exactly the learning rate."""
    optimizer = dict(b1=0.0, b2=0.0, epsilon=1e-20, weight_decay=0.0, learning_rate=0.01)
    optimizer |= dict(schedule="cosine", final_learning_rate=0.001)
    run = make_run(optimizer, steps=6, checkpoint_steps=tuple(range(7)))
    train(run, MATERIAL, tmp_path)
    trainer = trainer_of(run, MATERIAL)
    head = [state_at(tmp_path, step, trainer)["['params']['head']"] for step in range(7)]
    moved = [np.abs(after - before).max() for before, after in zip(head, head[1:], strict=False)]
    wanted = [learning_rate(run.optimizer, step, 6) for step in range(6)]
    assert moved == pytest.approx(wanted, rel=1e-3) and len(set(wanted)) > 3


# --- a run ----------------------------------------------------------------------------------------------------------------


def test_a_run_learns_keeps_its_log_and_frozen_rows(tmp_path):
    seen = []
    weights = {"php": 0.25, "python": 0.75}
    run = make_run(
        {"learning_rate": 1e-2},
        checkpoint_steps=(0,),
        steps=34,
        stages=({"tokens": 8 * 11 * 10, "weights": {"python": 1.0}}, {"tokens": 0, "weights": weights}),
    )
    train(run, MATERIAL, tmp_path, progress=seen.append)
    trainer = trainer_of(run, MATERIAL)
    before, after = (state_at(tmp_path, step, trainer) for step in (0, 34))
    assert same({"": before["['params']['embed_frozen']"]}, {"": after["['params']['embed_frozen']"]})
    assert all((before[path] != after[path]).any() for path in before if "params" in path and "frozen" not in path)
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == [16, 32] and records[1]["loss"] < records[0]["loss"]
    done = json.loads((tmp_path / "DONE").read_text())
    assert done["step"] == 34 and done["tokens"] == 34 * 8 * 11 == sum(done["tokens_by_language"].values())
    assert 0 < done["tokens_by_language"]["php"] < done["tokens_by_language"]["python"]
    assert [message["step"] for message in seen] == [16, 32] and seen[0]["tokens_per_second"] > 0
    stamp = (tmp_path / "DONE").stat().st_mtime_ns
    train(run, MATERIAL, tmp_path)
    assert (tmp_path / "DONE").stat().st_mtime_ns == stamp  # done is done


@pytest.mark.long
@pytest.mark.parametrize("family", BY_TYPE)
def test_a_run_of_every_family_learns_and_goes_on_with_the_same_bits(tmp_path, family):
    whole, again = tmp_path / "whole", tmp_path / "again"
    model = dict(preset="test", tied_head=False, family=family, kv_heads=1 if family != "gpt2" else 0)
    run = make_run({"learning_rate": 1e-2}, steps=34, checkpoint_steps=(0, 20), model=model)
    train(run, MATERIAL, whole)
    trainer = trainer_of(run, MATERIAL)
    before, after = (state_at(whole, step, trainer) for step in (0, 34))
    frozen = "['params']['embed_frozen']"
    assert same({"": before[frozen]}, {"": after[frozen]})
    assert all((before[path] != after[path]).any() for path in before if "params" in path and path != frozen)
    records = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == [16, 32] and records[1]["loss"] < records[0]["loss"] - 0.1
    shutil.copytree(whole, again, ignore=shutil.ignore_patterns("DONE", "34"))
    train(run, MATERIAL, again)
    assert same(state_at(again, 34, trainer), after)
    assert (again / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()


def test_runs_of_the_same_shapes_share_one_executable(tmp_path):
    runs = [
        make_run({"learning_rate": 1e-3, "clip_norm": 0.9}, steps=3),
        make_run({"learning_rate": 2e-3, "clip_norm": 0.9, "label_smoothing": 0.1, "schedule": "cosine"}, steps=4),
    ]
    for number, run in enumerate(runs):
        train(run, MATERIAL, tmp_path / str(number))
    trainers = [trainer_of(run, MATERIAL) for run in runs]
    assert trainers[0] is trainers[1] and trainers[0].step._cache_size() == 1


def test_runs_of_several_batch_sizes_share_a_process(tmp_path):
    for batch_size in (4, 8):
        train(make_run(steps=2, batch_size=batch_size), MATERIAL, tmp_path / str(batch_size))
        assert runs.is_done(tmp_path / str(batch_size))


@pytest.mark.parametrize("key", ["steps", "batch_size", "accumulation"])
def test_nothing_is_no_number_of_steps_or_rows(key):
    with pytest.raises(UserError, match=f"{key} must be a whole number .*1.*, not 0"):
        make_run(**{key: 0})


def test_a_run_does_not_start_from_one_that_is_not_done(tmp_path):
    with pytest.raises(UserError, match="first is not done; train that run to its end first"):
        train(make_run(steps=2, init_from="../first"), MATERIAL, tmp_path / "second")


def test_a_run_goes_on_from_anothers_parameters_with_a_fresh_optimiser(tmp_path):
    train(make_run(steps=5), MATERIAL, tmp_path / "base")
    run = make_run(steps=2, init_from="../base", checkpoint_steps=(0,))
    train(run, MATERIAL, tmp_path / "next")
    trainer = trainer_of(run, MATERIAL)
    base, start = state_at(tmp_path / "base", 5, trainer), state_at(tmp_path / "next", 0, trainer)
    assert all(same({"": base[path]}, {"": start[path]}) for path in base if path.startswith("['params']"))
    assert not any(start[path].any() for path in start if path.startswith("['opt_state']"))
    assert start["['step']"] == 0 and base["['step']"] == 5


def test_a_criterion_stops_the_run_or_it_is_an_error(tmp_path):
    asked = []

    def reached(params):
        asked.append(float(params["head"][0, 0]))
        return len(asked) == 2

    run = make_run(steps=20, stop_every=4, stop_accuracy=0.9)
    train(run, MATERIAL, tmp_path / "stops", stop_when=reached)
    assert runs.last_step(tmp_path / "stops") == 8 and len(set(asked)) == 2
    with pytest.raises(UserError, match="did not reach accuracy 0.9 within 20 steps"):
        train(run, MATERIAL, tmp_path / "never", stop_when=lambda params: False)
    assert not runs.is_done(tmp_path / "never")


def test_measuring_while_training_changes_nothing_and_is_the_same_as_afterwards(tmp_path, monkeypatch):
    weights = {"python": 0.5, "php": 0.5}
    run = make_run(
        {"learning_rate": 1e-2}, steps=20, checkpoint_steps=(0, 16), stages=({"tokens": 0, "weights": weights},)
    )
    plain, probed = (tmp_path / place / "continual" for place in ("plain", "probed"))
    train(run, MATERIAL, plain)
    base_LxNxF = measure.base_activations(run_in(plain, run, MATERIAL))
    trainer, model = trainer_of(run, MATERIAL), run_in(".", run, MATERIAL).model
    rows_of, measured, asked = instruments.measure, [], []
    monkeypatch.setattr(instruments, "measure", lambda *given: measured.append(len(asked)) or rows_of(*given))

    def at_checkpoint(seen, params):
        assert (probed / "checkpoints" / str(seen.step)).is_dir()  # Orbax renames what is finished to this
        asked.append(seen.step)
        if asked == [0, 16]:
            raise KeyboardInterrupt
        measure.measure_checkpoint(
            walk.Checkpoint(walk.OwnRun(probed), 0, model, seen, params=params), [MATERIAL], base_LxNxF
        )

    with pytest.raises(KeyboardInterrupt):
        train(run, MATERIAL, probed, at_checkpoint=at_checkpoint)
    train(run, MATERIAL, probed, at_checkpoint=at_checkpoint)  # also at the checkpoint from which it goes on
    assert asked == [0, 16, 16, 20] and measured == [1, 3, 4]
    assert (probed / "metrics.jsonl").read_bytes() == (plain / "metrics.jsonl").read_bytes() != b""
    for step in (0, 16, 20):
        assert same(state_at(probed, step, trainer), state_at(plain, step, trainer))

    measure.measure_run(run_in(probed, run, MATERIAL), base_LxNxF)
    measure.measure_checkpoint(walk.Checkpoint(walk.OwnRun(probed), 0, model, Seen(0, 0, {})), [MATERIAL], base_LxNxF)
    assert len(measured) == 3  # what is measured is not measured again
    measure.measure_run(run_in(plain, run, MATERIAL), base_LxNxF)
    files = [sorted((directory / "measurements").iterdir()) for directory in (probed, plain)]
    assert [file.name for file in files[0]] == [file.name for file in files[1]] and len(files[0]) == 3
    frames = [[pd.read_parquet(file) for file in those] for those in files]
    for found, wanted in zip(*frames, strict=True):
        pd.testing.assert_frame_equal(found, wanted, check_exact=True)
    assert frames[0][2].query("probe == 'neurons'").size and not frames[0][0].equals(frames[0][2])


@pytest.mark.parametrize("checkpoint", [16, 21])
def test_a_loss_that_is_no_number_stops_the_run_and_spoils_no_checkpoint(tmp_path, checkpoint):
    run = make_run({"learning_rate": 1e30}, checkpoint_steps=(0, checkpoint), steps=60)
    with pytest.raises(UserError, match="lower the learning rate") as error:
        train(run, MATERIAL, tmp_path)
    assert "\n" not in str(error.value) and not runs.is_done(tmp_path)
    checkpoints = sorted(int(path.name) for path in (tmp_path / "checkpoints").iterdir() if path.name.isdigit())
    assert checkpoints == [0]
    state = state_at(tmp_path, 0, trainer_of(run, MATERIAL))
    assert all(np.isfinite(leaf).all() for leaf in state.values())


def test_a_diverged_run_is_never_done(tmp_path):
    """Also where the last step is not one whose loss is logged."""
    with pytest.raises(UserError, match="lower the learning rate"):
        train(make_run({"learning_rate": 1e30}, steps=7), MATERIAL, tmp_path)
    assert not runs.is_done(tmp_path)


# --- weights that are chosen while the run trains --------------------------------------------------------------------------


def test_a_run_draws_by_the_weights_chosen_while_it_trains(tmp_path):
    asked = []

    def next_stage(step, params, stages):
        asked.append((step, [dict(stage["weights"]) for stage in stages]))
        return {"weights": {"python": 0.0, "php": 1.0} if step == 10 else {"python": 1.0}, "loss": step / 2}

    first = {"python": 0.8, "php": 0.2}
    train(online_run(), MATERIAL, tmp_path, next_stage=next_stage)
    assert asked == [
        (10, [first]),
        (20, [first, {"python": 0.0, "php": 1.0}]),
        (30, [first, {"python": 0.0, "php": 1.0}, {"python": 1.0}]),
    ]
    stages = json.loads((tmp_path / "stages.json").read_text())
    assert [(stage.get("step"), stage.get("loss"), stage["tokens"]) for stage in stages] == [
        (None, None, 10 * 8 * 11),
        (10, 5.0, 10 * 8 * 11),
        (20, 10.0, 10 * 8 * 11),
        (30, 15.0, 0),
    ]
    counted = {name: counts["drawn"] for name, counts in json.loads((tmp_path / "DONE").read_text())["sources"].items()}
    assert (counted["python"], counted["php"]) == (64 + 14 * 8, 16 + 80)
    assert drawn.compare(tmp_path)[1] == []
    stages[1]["weights"] = {"python": 0.5, "php": 0.5}
    (tmp_path / "stages.json").write_text(json.dumps(stages))
    assert len(drawn.compare(tmp_path)[1]) == 2  # both sources


@pytest.mark.processes
def test_killed_while_it_chooses_it_ends_the_same_and_is_not_asked_twice(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    train(online_run(resume_every=0), MATERIAL, whole, next_stage=by_head)
    for kill_at, answered in ((10, False), (30, True)):
        done = python(
            "-c", f"from helpers import killed_runs; killed_runs.live_online({str(killed)!r}, {kill_at}, {answered})"
        )
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert len(json.loads((killed / "stages.json").read_text())) == kill_at // 10 + answered
    asked = []
    run, trainer = online_run(), trainer_of(online_run(), MATERIAL)
    train(run, MATERIAL, killed, next_stage=lambda step, *given: asked.append(step) or by_head(step, *given))
    assert asked == []  # all answers stood there
    for name in ("stages.json", "metrics.jsonl"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes()
    for step in (20, 34):
        assert same(state_at(killed, step, trainer), state_at(whole, step, trainer))
    assert drawn.compare(killed)[1] == []
    weights = [stage["weights"]["php"] for stage in json.loads((whole / "stages.json").read_text())]
    assert len(set(weights)) == 4


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(online=dict(every=-1)), "online.every must be a whole number of at least 0, not -1"),
        (dict(max_epochs=2.0), "max_epochs is 2 and online.every 10"),
        (dict(stop_every=5), "stop_every is 5 and online.every 10"),
        (dict(stages=({"tokens": 88, "weights": {"php": 1}}, {"tokens": 0, "weights": {"php": 1}})), "give one stage"),
        (dict(), "nothing here chooses them"),
    ],
)
def test_what_cannot_go_with_weights_chosen_in_the_run(tmp_path, changes, message):
    with pytest.raises(UserError, match=message) as error:
        train(online_run(**changes), MATERIAL, tmp_path, next_stage=by_head if changes else None)
    assert "\n" not in str(error.value)


def test_an_answer_that_is_no_mixture_stops_the_run_and_is_not_kept(tmp_path):
    with pytest.raises(UserError, match="stage 1 of the mixture needs weights >= 0 with a positive sum"):
        train(online_run(), MATERIAL, tmp_path, next_stage=lambda *given: {"weights": {"php": -1.0}})
    with pytest.raises(UserError, match="did you mean 'php'"):
        train(online_run(), MATERIAL, tmp_path, next_stage=lambda *given: {"weights": {"phpp": 1.0}})
    assert len(json.loads((tmp_path / "stages.json").read_text())) == 1


def test_materials_differ_in_fingerprint_and_so_do_their_runs(tmp_path):
    train(make_run(steps=1), MATERIAL, tmp_path)
    other = dataclasses.replace(MATERIAL, fingerprint="other")
    (tmp_path / "DONE").unlink()
    with pytest.raises(UserError, match="belongs to another config: material was"):
        train(make_run(steps=1), other, tmp_path)


def test_uniform_loss_before_anything_is_learnt(tmp_path):
    """A fresh model says nothing: its first loss is close to log V."""
    sources = {"python": ArrayRows(random_rows(256, MATERIAL.vocab_size, MATERIAL.max_length))}
    material = dataclasses.replace(
        MATERIAL, sources=sources, loss_weight_V=np.ones(MATERIAL.vocab_size, np.float32), fingerprint="uniform"
    )
    train(make_run({"learning_rate": 1e-9}, steps=17), material, tmp_path)
    record = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[0])
    assert record["loss"] == pytest.approx(math.log(MATERIAL.vocab_size), rel=0.01)

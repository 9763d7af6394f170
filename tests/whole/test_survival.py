"""What a run goes through in its life: kills at any moment, steps that fail, and long work in little memory."""

import contextlib
import dataclasses
import itertools
import json
import random
import subprocess
import sys
import time

import numpy as np
import pytest
from helpers import environment, make_run, run_in, same, small_material, state_at, train, trainer_of
from helpers.killed_runs import MATERIAL, long_run

from babel_jax.common.errors import UserError
from babel_jax.common.material import ArrayRows
from babel_jax.training import clock, loop, runs
from babel_jax.training import config as run_config
from babel_jax.training.checkpoint import Checkpoints
from babel_jax.training.config import kept_steps
from babel_jax.training.runs import Run
from babel_jax.training.sampler import mixture_of

# --- kills ----------------------------------------------------------------------------------------------------------------


def killed_at_random(run_dir, steps: int, chance: random.Random) -> bool:
    """Goes on with the run and kills it: while it starts, or anywhere in its work. False: it was done before."""
    script = f"from helpers import killed_runs; killed_runs.live({str(run_dir)!r}, {steps})"
    process = subprocess.Popen([sys.executable, "-c", script], env=environment(), stdout=subprocess.PIPE, text=True)
    with process:
        if chance.random() < 0.2:
            wait = chance.uniform(0, 4)
        else:
            process.stdout.readline()
            wait = chance.uniform(0, 0.5)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(timeout=wait) != 0
        process.kill()
    return True


@pytest.mark.processes
@pytest.mark.parametrize("kills, steps", [(3, 150), pytest.param(20, 1000, marks=pytest.mark.slow)])
def test_killed_at_random_moments_it_ends_the_same(tmp_path, kills, steps):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    train(long_run(steps, resume_every=0), MATERIAL, whole)
    chance = random.Random(kills)
    real = sum(killed_at_random(killed, steps, chance) for _ in range(kills))
    assert real == kills, "the run was done before it could be killed so often: make it longer"
    assert not runs.is_done(killed)
    run = long_run(steps)
    train(run, MATERIAL, killed)
    trainer = trainer_of(run, MATERIAL)
    assert Checkpoints(killed).steps() == Checkpoints(whole).steps() == sorted(kept_steps(run))
    for step in (25, steps):
        assert same(state_at(killed, step, trainer), state_at(whole, step, trainer))
    assert (killed / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()


# --- which checkpoints there are ------------------------------------------------------------------------------------------


def test_kept_steps_are_a_function_of_the_config():
    assert kept_steps(make_run(steps=7)) == {7}
    assert kept_steps(make_run(steps=20, checkpoint_steps=(0, 3), checkpoint_every=8)) == {0, 3, 8, 16, 20}
    assert kept_steps(make_run(steps=20, checkpoint_growth=1.5)) == {1, 2, 3, 5, 8, 11, 17, 20}
    assert kept_steps(make_run(steps=20, stop_every=10)) == {10, 20}
    for wrong in (
        dict(checkpoint_growth=0.9),
        dict(checkpoint_every=-1),
        dict(bad_step="ignore"),
        dict(resume_minutes=-1.0),
    ):
        with pytest.raises(UserError, match=next(iter(wrong))):
            run_config.validate(make_run(**wrong))


def test_resume_checkpoints_by_the_clock(tmp_path, monkeypatch):
    saved = []
    save = Checkpoints.save

    def noted(self, state, about):
        saved.append((self.directory.name, about.step))
        save(self, state, about)

    monkeypatch.setattr(Checkpoints, "save", noted)
    train(make_run(steps=40, resume_minutes=1e-9), MATERIAL, tmp_path / "always")
    assert saved == [("resume", 16), ("resume", 32), ("checkpoints", 40)]
    saved.clear()
    train(make_run(steps=40, resume_minutes=0.0), MATERIAL, tmp_path / "never")
    assert saved == [("checkpoints", 40)]


def test_what_does_not_change_a_run_may_change(tmp_path):
    train(make_run(steps=2), MATERIAL, tmp_path)
    (tmp_path / "DONE").unlink()
    free = dict(resume_every=5, resume_minutes=1.0, bad_step="skip", accumulation=2)
    train(make_run(steps=2, model=dict(preset="test", tied_head=False, remat="full"), **free), MATERIAL, tmp_path)
    (tmp_path / "DONE").unlink()
    with pytest.raises(UserError, match="config.spike_factor was 0.0 and is now 4.0"):
        train(make_run(steps=2, spike_factor=4.0), MATERIAL, tmp_path)


# --- steps that fail ------------------------------------------------------------------------------------------------------


PYTHON = MATERIAL.sources["python"].tokens_NxT1
NEVER = MATERIAL.vocab_size  # a token that the world does not have


def poisoned(bad_places=(5 * 8 + 3,)):
    """A material in which single rows of the run hold a token that is never seen elsewhere; and its run.

    Their embedding is no number, so their loss is none, and every other row's is.
    """
    run = make_run({"learning_rate": 1e-3}, steps=36)
    run.checkpoint_steps = (0,)
    _, rows = mixture_of(run_in(".", run, MATERIAL)).origin(np.array(bad_places))
    tokens = PYTHON.copy()
    tokens[rows] = NEVER
    material = small_material(
        sources=MATERIAL.sources | {"python": ArrayRows(tokens)},
        vocab_size=NEVER + 1,
        loss_weight_V=np.append(MATERIAL.loss_weight_V, np.float32(1)),
        fingerprint="poisoned",
    )
    return run, material, rows


@pytest.fixture
def broken_embedding(monkeypatch):
    """The row of that token in the embedding is no number from the start."""
    whole = Run.trainer.func

    def broken(run):
        trainer = whole(run)

        def init(seed):
            state = trainer.init(seed)
            state["params"]["embed_frozen"] = state["params"]["embed_frozen"].at[-1].set(np.nan)
            return state

        return dataclasses.replace(trainer, init=init)

    monkeypatch.setattr(Run, "trainer", property(broken))


def adam_updates(state: dict) -> int:
    (count,) = {int(leaf) for path, leaf in state.items() if "opt_state" in path and path.endswith("count")}
    return count


def test_a_bad_step_stops_the_run_and_names_its_rows(tmp_path, broken_embedding):
    run, material, rows = poisoned()
    with pytest.raises(UserError, match=f"step 6 of .* no number.* python {rows[0]}") as error:
        train(run, material, tmp_path)
    assert "\n" not in str(error.value)
    stopped = json.loads((tmp_path / "stopped.json").read_text())
    assert stopped["step"] == 6 and stopped["rows"] == [{"source": "python", "row": int(rows[0]), "loss": None}]
    assert stopped["loss"] is None and stopped["measured"][-1]["step"] == 6
    (saved,) = Checkpoints(tmp_path, "resume").steps()
    assert saved == 7 and not runs.is_done(tmp_path)
    with pytest.raises(UserError, match="step 6 of"):  # started again, it stays stopped
        train(run, material, tmp_path)


def test_a_stopped_run_goes_on_without_the_step_as_if_it_had_skipped_it(tmp_path, broken_embedding):
    run, material, rows = poisoned(bad_places=(5 * 8 + 3, 20 * 8, 20 * 8 + 7))
    with pytest.raises(UserError):
        train(run, material, tmp_path / "stopped")
    run.bad_step = "skip"
    train(run, material, tmp_path / "stopped")
    train(run, material, tmp_path / "skipped")
    trainer = trainer_of(run, material)
    found = [state_at(tmp_path / name, 36, trainer) for name in ("stopped", "skipped")]
    assert same(*found) and found[0]["['step']"] == 36 and adam_updates(found[0]) == 34
    logs = [(tmp_path / name / "metrics.jsonl").read_text() for name in ("stopped", "skipped")]
    assert logs[0] == logs[1]
    records = [json.loads(line) for line in logs[0].splitlines()]
    assert [(record["step"], record.get("bad", False)) for record in records] == [
        (6, True),
        (16, False),
        (21, True),
        (32, False),
    ]
    assert {row["row"] for row in records[2]["rows"]} == set(rows[1:].tolist())


def test_a_bad_step_that_is_seen_only_when_the_machine_goes_stops_the_run(tmp_path, broken_embedding, monkeypatch):
    run, material, _ = poisoned()
    polls = itertools.count()
    monkeypatch.setattr(loop.preemption, "reached", lambda: next(polls) == 6)  # step 6 has run and was not looked at
    with pytest.raises(UserError, match="step 6 of"):
        train(run, material, tmp_path)
    assert Checkpoints(tmp_path, "resume").steps() == [6]
    with pytest.raises(UserError, match="step 6 of"):
        train(run, material, tmp_path)


def test_skipping_every_step_is_no_way_to_train(tmp_path, broken_embedding, monkeypatch):
    monkeypatch.setattr(loop, "HOPELESS", 3)
    run, material, _ = poisoned(bad_places=[8 * step for step in (3, 4, 10, 11, 12)])
    run.bad_step = "skip"
    with pytest.raises(UserError, match="the last 3 steps .* up to 13 were all bad"):
        train(run, material, tmp_path)
    assert not runs.is_done(tmp_path) and Checkpoints(tmp_path, "resume").steps() == [14]


# --- long work ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [320, pytest.param(2400, marks=pytest.mark.slow)])
def test_memory_stays_flat(tmp_path, steps):
    seen = []
    run = make_run(steps=steps, checkpoint_every=32, resume_every=20)
    train(run, MATERIAL, tmp_path, progress=lambda message: seen.append(clock.host_memory_bytes()))
    middle, end = np.mean(seen[len(seen) // 2 - 3 : len(seen) // 2]), np.mean(seen[-3:])
    assert end - middle < 30e6, [round(value / 1e6) for value in seen]


def test_time_is_kept_over_restarts(tmp_path):
    class Stop(Exception):
        pass

    def stop(message):
        time.sleep(0.2)
        raise Stop

    run = make_run(steps=24, resume_every=10)
    with pytest.raises(Stop):
        train(run, MATERIAL, tmp_path, progress=stop)
    before = Checkpoints(tmp_path, "resume").metadata(10).seconds
    train(run, MATERIAL, tmp_path)
    after = json.loads((tmp_path / "DONE").read_text())["seconds"]
    assert all(after[phase] >= before[phase] for phase in before) and after["step"] > before["step"] > 0
    assert after["data"] > 0 and after["checkpoint"] > before["checkpoint"]
    timed = [json.loads(line) for line in (tmp_path / "throughput.jsonl").read_text().splitlines()]
    assert [record["step"] for record in timed] == [16] and timed[0]["host_memory_bytes"] > 1e7
    assert (tmp_path / "events.out.tfevents.babel_jax").stat().st_size > 100


def test_a_profile_is_written_where_it_is_asked_for(tmp_path):
    train(make_run(steps=12), MATERIAL, tmp_path / "run", profile_dir=tmp_path / "trace")
    assert list((tmp_path / "trace").rglob("*.xplane.pb"))
    with pytest.raises(UserError, match="nothing to profile"):
        train(make_run(steps=12), MATERIAL, tmp_path / "run", profile_dir=tmp_path / "trace")
    with pytest.raises(UserError, match="a profile takes 10 steps"):
        train(make_run(steps=9), MATERIAL, tmp_path / "short", profile_dir=tmp_path / "trace")
    assert not (tmp_path / "short").exists()
    train(make_run(steps=12), MATERIAL, tmp_path / "half")
    (tmp_path / "half" / "DONE").unlink()
    with pytest.raises(UserError, match="has 0 left"):
        train(make_run(steps=12), MATERIAL, tmp_path / "half", profile_dir=tmp_path / "trace")

import collections
import contextlib
import json
import logging
import random
import shutil

import numpy as np
import pytest
from helpers import by_path, make_run, python, run_in, same, state_at, train, trainer_of
from helpers.killed_runs import MATERIAL
from helpers.killed_runs import SAVING as RUN

from babel_jax.common.errors import UserError
from babel_jax.measuring import study_walk as measure
from babel_jax.training import config as run_config
from babel_jax.training import runs
from babel_jax.training.checkpoint import Checkpoints, restore_newest, restore_params


class Stop(Exception):
    """Raised in the middle of a run, as a Ctrl-C would be."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing disturbed."""
    run_dir = tmp_path_factory.mktemp("whole")
    train(RUN, MATERIAL, run_dir)
    return run_dir


def ends_like(run_dir, whole) -> bool:
    """Parameters, optimiser and metrics of both runs are the same bits."""
    trainer = trainer_of(RUN, MATERIAL)
    done = [json.loads((directory / "DONE").read_text()) for directory in (run_dir, whole)]
    assert all(sum(one.pop("seconds").values()) > 0 for one in done)  # times differ
    logs = done[0] == done[1] and (run_dir / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    return logs and same(state_at(run_dir, 40, trainer), state_at(whole, 40, trainer))


def ours(caplog) -> list[str]:
    """What our own checkpoint room warned of (Orbax and asyncio log broken files when they please)."""
    return [record.getMessage() for record in caplog.records if record.name == "babel_jax.training.checkpoint"]


def interrupted(run_dir, step, run=RUN):
    def stop(message):
        if message["step"] == step:
            raise Stop

    with pytest.raises(Stop):
        train(run, MATERIAL, run_dir, progress=stop)
    assert not runs.is_done(run_dir)


@pytest.mark.parametrize("step", [16, 32])
def test_stopped_in_the_middle_it_ends_the_same(tmp_path, whole, step):
    interrupted(tmp_path, step)
    train(RUN, MATERIAL, tmp_path)
    assert ends_like(tmp_path, whole)


@pytest.mark.parametrize("damaged", [False, True])
def test_resume_checkpoints_save_work_and_leave_nothing(tmp_path, whole, damaged, caplog):
    """Of them the newest is kept; where it is damaged, the run goes on from what is measured anyway."""
    run = make_run({"learning_rate": 5e-3}, steps=40, checkpoint_steps=(0, 16), resume_every=10)
    interrupted(tmp_path, 32, run)
    assert Checkpoints(tmp_path).steps() == [0, 16] and Checkpoints(tmp_path, "resume").steps() == [30]
    if damaged:
        shutil.rmtree(tmp_path / "resume" / "30" / "state" / "d")
    train(run, MATERIAL, tmp_path)
    assert "metrics.jsonl is damaged" not in caplog.text
    assert ["checkpoint 30" in warning for warning in ours(caplog)] == [True] * damaged
    assert ends_like(tmp_path, whole) and not (tmp_path / "resume").exists()


@pytest.mark.parametrize("last", [0, 16, 24])
def test_from_any_checkpoint_it_ends_the_same(tmp_path, whole, last):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    (tmp_path / "DONE").unlink()
    for step in (16, 24, 40):
        if step > last:
            shutil.rmtree(tmp_path / "checkpoints" / str(step))
    train(RUN, MATERIAL, tmp_path)
    assert ends_like(tmp_path, whole)


def damage_all(whole, kind):
    """One name for each file of a checkpoint that holds something."""
    files = sorted(path for path in (whole / "checkpoints" / "24").rglob("*") if path.is_file())
    return [path.relative_to(whole) for path in files if path.stat().st_size > (1 if kind == "truncate" else 0)]


@pytest.mark.parametrize("kind", ["truncate", "delete"])
def test_no_damage_goes_unnoticed(tmp_path, whole, kind):
    """Whichever file of a checkpoint is broken: it is read right or not at all."""
    trainer, model = trainer_of(RUN, MATERIAL), run_in(".", RUN, MATERIAL).model
    want = state_at(whole, 24, trainer)
    refused = 0
    for number, file in enumerate(damage_all(whole, kind)):
        copy = tmp_path / str(number)
        shutil.copytree(whole / "checkpoints" / "24", copy / "checkpoints" / "24")
        if kind == "truncate":
            content = (copy / file).read_bytes()
            (copy / file).write_bytes(content[: len(content) // 2])
        else:
            (copy / file).unlink()
        with contextlib.closing(Checkpoints(copy)) as checkpoints:
            try:
                found = restore_newest([checkpoints], trainer.abstract_state, model.to_json())
            except UserError as error:
                assert "none of the checkpoints" in str(error)
                found, refused = None, refused + 1
        assert found is None or same(by_path(found[0]), want), file
    assert refused >= 2


@pytest.mark.parametrize("kind", ["truncate", "delete"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path, whole, kind, caplog):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    (tmp_path / "DONE").unlink()
    shutil.rmtree(tmp_path / "checkpoints" / "40")
    largest = max((tmp_path / "checkpoints" / "24" / "state").rglob("*"), key=lambda path: path.stat().st_size)
    if kind == "truncate":
        largest.write_bytes(largest.read_bytes()[:100])
    else:
        largest.unlink()
    with caplog.at_level(logging.WARNING):
        train(RUN, MATERIAL, tmp_path)
    warnings = ours(caplog)
    assert len(warnings) == 1 and "checkpoint 24" in warnings[0] and "falling back" in warnings[0]
    assert ends_like(tmp_path, whole)
    trainer = trainer_of(RUN, MATERIAL)
    assert same(state_at(tmp_path, 24, trainer), state_at(whole, 24, trainer))  # made again


def test_a_checkpoint_of_another_model_is_refused(tmp_path, whole):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    (tmp_path / "DONE").unlink(), (tmp_path / "config.json").unlink()
    tied = make_run({"learning_rate": 5e-3}, steps=40, model=dict(preset="test", tied_head=True))
    with pytest.raises(UserError, match="tied_head is False there and True here"):
        train(tied, MATERIAL, tmp_path)
    assert Checkpoints(tmp_path).steps() == [0, 16, 24, 40]  # refused, not thrown away


def test_a_damaged_checkpoint_cannot_be_measured_and_is_named(tmp_path, whole):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "checkpoints" / "16" / "state" / "d")
    with pytest.raises(UserError, match="checkpoint 16 in .* cannot be read .* delete its folder") as error:
        measure.measure_run(run_in(tmp_path, RUN, MATERIAL))
    assert "\n" not in str(error.value)


def test_what_kills_left_half_written_is_removed(tmp_path):
    run = make_run(steps=40, resume_every=10)
    interrupted(tmp_path, 16, run)
    for step in (3, 7):
        shutil.copytree(tmp_path / "resume" / "10", tmp_path / "resume" / f"{step}.orbax-checkpoint-tmp")
    interrupted(tmp_path, 32, run)
    assert [path.name for path in (tmp_path / "resume").iterdir()] == ["30"]


def test_a_workdir_that_cannot_be_one_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot work in .*file"), runs.locked(tmp_path / "file"):
        pass


def test_parameters_of_another_model_or_an_absent_step_are_refused(whole):
    trainer, model = trainer_of(RUN, MATERIAL), run_in(".", RUN, MATERIAL).model
    params, model = trainer.abstract_state["params"], model.to_json()
    with pytest.raises(UserError, match="vocab_size is 78 there and 79 here"):
        restore_params(whole, 40, params, model | {"vocab_size": 79})
    llama = run_in(".", run_config.override(RUN, {"model": {"family": "llama"}}), MATERIAL).model.to_json()
    with pytest.raises(UserError, match="architecture.activation is gelu_tanh there and silu here"):
        restore_params(whole, 40, params, llama)
    with pytest.raises(UserError, match=r"no checkpoint 39 .* there are \[0, 16, 24, 40\]"):
        restore_params(whole, 39, params, model)


def test_a_workdir_of_another_config_is_refused(whole):
    def stamps():
        return {path: path.stat().st_mtime_ns for path in whole.rglob("*") if path.is_file() and path.name != ".lock"}

    (whole / "DONE").rename(whole / "DONE.kept")
    before = stamps()
    try:
        with pytest.raises(UserError, match=r"config.optimizer.learning_rate was 0.005 and is now 0.006"):
            train(make_run({"learning_rate": 6e-3}, steps=40, checkpoint_steps=(0, 16, 24)), MATERIAL, whole)
        assert stamps() == before
    finally:
        (whole / "DONE.kept").rename(whole / "DONE")


@pytest.mark.processes
def test_a_full_disk_is_one_line_and_loses_no_checkpoint(tmp_path, whole):
    """The disk fills while a checkpoint is written; with room again, the same call goes on and ends the same."""
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    (tmp_path / "DONE").unlink()
    for step in (24, 40):
        shutil.rmtree(tmp_path / "checkpoints" / str(step))
    script = f"""
import resource
from helpers import killed_runs, train
from babel_jax.common.errors import UserError
resource.setrlimit(resource.RLIMIT_FSIZE, (8192, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
try:
    train(killed_runs.SAVING, killed_runs.MATERIAL, {str(tmp_path)!r})
except UserError as error:
    print(error)
"""
    message = python("-c", script).stdout
    assert "free space" in message and message.count("\n") == 1
    assert Checkpoints(tmp_path).steps()[:2] == [0, 16] and not runs.is_done(tmp_path)
    train(RUN, MATERIAL, tmp_path)
    assert ends_like(tmp_path, whole)


@pytest.mark.processes
def test_one_device_saves_and_eight_go_on(whole):
    """Restored onto another mesh, every leaf has the same bits."""
    script = f"""
import jax, numpy as np
from helpers import make_run, small_material, state_at, trainer_of
run = make_run(mesh=dict(data=4, fsdp=2, tensor=1))
trainer = trainer_of(run, small_material())
assert jax.device_count() == 8
kernel = trainer.abstract_state["params"]["blocks"]["ffn_in"]["kernel"]
assert len(kernel.sharding.device_set) == 8 and not kernel.sharding.is_fully_replicated
np.savez({str(whole / "eight.npz")!r}, **state_at({str(whole)!r}, 24, trainer))
"""
    done = python("-c", script, devices=8)
    assert done.returncode == 0, done.stderr
    trainer = trainer_of(RUN, MATERIAL)
    with np.load(whole / "eight.npz") as eight:
        assert same(dict(eight), state_at(whole, 24, trainer))
    (whole / "eight.npz").unlink()


# --- bits that flip, files that are swapped ---------------------------------------------------------------------------------


@pytest.fixture
def judged(tmp_path, whole):
    """A copy of checkpoints 16 and 24 to be damaged; and what tells whether 24 is still read right, or not at all."""
    for step in ("16", "24"):
        shutil.copytree(whole / "checkpoints" / step, tmp_path / "checkpoints" / step)
    trainer, model = trainer_of(RUN, MATERIAL), run_in(".", RUN, MATERIAL).model
    wanted, about = state_at(whole, 24, trainer), Checkpoints(whole).metadata(24)

    def judge(part: str = "") -> str:
        """`part`: of the state, which alone is read; all of it as a run does that goes on."""
        abstract = {part: trainer.abstract_state[part]} if part else trainer.abstract_state
        with contextlib.closing(Checkpoints(tmp_path)) as checkpoints:
            state, metadata = restore_newest([checkpoints], abstract, model.to_json())
        right = {name: leaf for name, leaf in wanted.items() if name.startswith(f"['{part}" if part else "")}
        if metadata.step == 24:
            assert same(by_path(state), right) and metadata == about, "read as something else, without a word"
        return "read" if metadata.step == 24 else "passed over"

    return tmp_path / "checkpoints", judge


@pytest.mark.long
def test_no_flipped_bit_goes_unnoticed(judged, caplog):
    """160 of them in any files of a checkpoint: it is read right, or passed over with a warning."""
    directory, judge = judged
    chance = random.Random(0)
    files = [file for file in sorted((directory / "24").rglob("*")) if file.is_file() and file.stat().st_size]
    found = collections.Counter()
    for number in range(160):
        file = chance.choice(files)
        content = file.read_bytes()
        place = chance.randrange(len(content))
        file.write_bytes(content[:place] + bytes([content[place] ^ 1 << chance.randrange(8)]) + content[place + 1 :])
        caplog.clear()
        outcome = judge("" if number % 8 == 0 else "params")
        assert (outcome == "passed over") == bool(ours(caplog))
        found[outcome] += 1
        file.write_bytes(content)
    assert found.keys() == {"read", "passed over"} and found["passed over"] >= 30, found
    assert judge() == "read"


def edited(change):
    """Changes the metadata of checkpoint 24 as the JSON that it is."""

    def edit(directory):
        file = directory / "24" / "metadata" / "metadata"
        found = json.loads(file.read_text())
        change(found)
        file.write_text(json.dumps(found))

    return edit


def swap(part, *steps):
    """Puts a part of one step's checkpoint in the place of that of another one."""

    def put(directory):
        source, target = (directory / step / part for step in steps)
        shutil.rmtree(target)
        shutil.copytree(source, target)

    return put


DAMAGES = {
    "another step's state": swap("state", "16", "24"),
    "another step's metadata": swap("metadata", "16", "24"),
    "another step's checkpoint": swap(".", "16", "24"),
    "another step's files of arrays": swap("state/ocdbt.process_0", "16", "24"),
    "a changed digit": edited(lambda about: about.update(tokens=about["tokens"] + 1)),
    "a changed rate": edited(lambda about: about["seconds"].update(step=0.5)),
    "a changed width": edited(lambda about: about["model"].update(frozen_std=0.2)),
    "a key that is gone": edited(lambda about: about.pop("seconds")),
    "a key more": edited(lambda about: about.update(more=1)),
    "no hash": edited(lambda about: about.pop("hash")),
    "no checksums": edited(lambda about: about.pop("checksums")),
    "a checksum that is gone": edited(lambda about: about["checksums"].pop("params/head")),
    "a list": lambda directory: (directory / "24/metadata/metadata").write_text("[]"),
    "no metadata": lambda directory: shutil.rmtree(directory / "24/metadata"),
    "a folder": lambda directory: (
        (directory / "24/metadata/metadata").unlink(),
        (directory / "24/metadata/metadata").mkdir(),
    ),
    "no state": lambda directory: shutil.rmtree(directory / "24/state"),
    "an empty step": lambda directory: (shutil.rmtree(directory / "24"), (directory / "24").mkdir()),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_not_what_was_saved_is_passed_over(judged, damage, caplog):
    directory, judge = judged
    DAMAGES[damage](directory)
    assert judge() == "passed over"
    assert ["checkpoint 24" in warning and "is damaged" in warning for warning in ours(caplog)] == [True]
    trainer, model = trainer_of(RUN, MATERIAL), run_in(".", RUN, MATERIAL).model
    with pytest.raises(UserError, match="checkpoint 24 in .* cannot be read") as error:  # measuring it is an error
        restore_params(directory.parent, 24, trainer.abstract_state["params"], model.to_json())
    assert "\n" not in str(error.value)


def test_checkpoints_of_an_earlier_version_are_read_with_a_warning(judged, caplog):
    directory, judge = judged
    for step in ("16", "24"):
        file = directory / step / "metadata" / "metadata"
        found = json.loads(file.read_text())
        file.write_text(json.dumps({name: value for name, value in found.items() if name not in ("checksums", "hash")}))
    assert judge() == "read" == judge("params")
    assert ["read unchecked" in warning for warning in ours(caplog)] == [True]  # once a run
    (
        shutil.rmtree(directory / "24" / "metadata"),
        shutil.copytree(directory / "16" / "metadata", directory / "24" / "metadata"),
    )
    assert judge() == "passed over"  # its step is known without a hash

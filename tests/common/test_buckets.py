"""A workdir in a bucket: the whole path of a run through the HTTP interfaces of Cloud Storage and S3, on an emulator."""

import signal

import pytest
from helpers import bucket_server, python, run_in, same, state_at, train, trainer_of
from helpers.bucket_runs import MATERIAL, RUN

from babel_jax.common import buckets, files, measurements
from babel_jax.common.errors import UserError
from babel_jax.measuring import study_walk as measure
from babel_jax.training import runs
from babel_jax.training.checkpoint import Checkpoints


class Stop(Exception):
    pass


@pytest.fixture(scope="module")
def server():
    with pytest.MonkeyPatch.context() as patch, bucket_server.running(patch) as running:
        yield running


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The same run on a disk, undisturbed, and measured."""
    run_dir = tmp_path_factory.mktemp("whole") / "run"
    train(RUN, MATERIAL, run_dir)
    measure.measure_run(run_in(run_dir, RUN, MATERIAL))
    return run_dir


def stop_at(step):
    def stop(message):
        if message["step"] == step:
            raise Stop

    return stop


@pytest.mark.parametrize("scheme", ["gs", "s3"])
@pytest.mark.long
def test_a_run_in_a_bucket_is_the_run_on_a_disk(server, whole, scheme):
    run_dir = files.path(f"{scheme}://{scheme}-whole/study/run")
    with pytest.raises(Stop):
        train(RUN, MATERIAL, run_dir, progress=stop_at(32))
    assert Checkpoints(run_dir).steps() == [0, 16] and Checkpoints(run_dir, "resume").steps() == [30]
    train(RUN, MATERIAL, run_dir)
    trainer = trainer_of(RUN, MATERIAL)
    assert Checkpoints(run_dir).steps() == [0, 16, 40] and not (run_dir / "resume").exists()
    assert same(state_at(run_dir, 40, trainer), state_at(whole, 40, trainer))
    assert (run_dir / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    measure.measure_run(run_in(run_dir, RUN, MATERIAL))
    in_bucket, on_disk = measurements.read(run_dir.parent), measurements.read(whole)
    assert in_bucket.equals(on_disk) and len(in_bucket) > 100


def in_another_process(how: str, place: str):
    """The process of a run that ends badly, see `bucket_runs`."""
    return python("-c", f"from helpers import bucket_runs; bucket_runs.{how}({place!r})")


@pytest.mark.processes
@pytest.mark.parametrize("scheme", ["gs", pytest.param("s3", marks=pytest.mark.slow)])
def test_killed_it_goes_on(server, whole, scheme):
    place = f"{scheme}://{scheme}-killed/run"
    assert in_another_process("killed", place).returncode == -signal.SIGKILL
    assert any(name.startswith(f"{scheme}-killed/run/checkpoints/0/") for name in server.objects)
    train(RUN, MATERIAL, place)
    trainer = trainer_of(RUN, MATERIAL)
    assert same(state_at(place, 40, trainer), state_at(whole, 40, trainer))


@pytest.mark.parametrize("scheme", ["gs", "s3"])
def test_an_unfinished_checkpoint_is_never_listed(server, scheme):
    """It is finished by its marker, which is written last."""
    run_dir = files.path(f"{scheme}://{scheme}-unfinished/run")
    train(RUN, MATERIAL, run_dir)
    marker = run_dir / "checkpoints" / "40" / "commit_success.txt"
    assert marker.exists()
    marker.unlink()
    assert Checkpoints(run_dir).steps() == [0, 16]


@pytest.mark.processes
@pytest.mark.parametrize("scheme, status", [("gs", 503), ("s3", 403)])  # unavailable, which may pass, and forbidden
def test_a_lost_bucket_is_one_line_and_the_run_goes_on_later(server, whole, scheme, status):
    place = f"{scheme}://{scheme}-lost/run"
    server.limit, server.fails = server.writes + 60, status  # in the middle of a checkpoint
    try:
        done = in_another_process("refused", place)
    finally:
        server.fails = None
    assert done.stdout.count("\n") == 1 and "mend the" in done.stdout
    assert Checkpoints(place).steps() and not runs.is_done(place)
    train(RUN, MATERIAL, place)
    trainer = trainer_of(RUN, MATERIAL)
    assert same(state_at(place, 40, trainer), state_at(whole, 40, trainer))


def test_files_are_objects(server):
    place = files.path("gs://files/a b/c")
    assert str(place / "d") == "gs://files/a b/c/d" and not place.exists()
    for number in range(60):  # more than one page of a list
        files.write_json(place / f"n{number}" / "x.json", number)
    assert sorted(files.read_json(path) for path in place.glob("n*/x.json")) == list(range(60))
    assert place.is_dir() and len(list(place.iterdir())) == 60 and not (place / "n6" / "y").exists()
    with pytest.raises(UserError, match="cannot read"):
        files.read_json(place / "absent")
    with pytest.raises(OSError, match="whole"):
        (place / "log").open("a")
    files.remove_tree(place)
    files.remove_tree(place)
    assert not place.exists()


def test_another_version_of_orbax_is_refused(monkeypatch):
    monkeypatch.setitem(buckets.VERSIONS, "orbax-checkpoint", "9.9")
    buckets._register.cache_clear()
    with pytest.raises(UserError, match="a bucket needs orbax-checkpoint 9.9 and this is .*pip install"):
        files.path("s3://bucket/run")
    buckets._register.cache_clear()


@pytest.mark.parametrize("place", ["ftp://x/y", "gs://", "gs:/bucket/x"])
def test_other_urls_are_refused(place):
    with pytest.raises(UserError, match="gs://BUCKET"):
        files.path(place)

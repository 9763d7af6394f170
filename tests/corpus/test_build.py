"""The tasks of a build, in one process or several, killed and gone on with."""

import dataclasses
import errno
import multiprocessing
import os
import random
import subprocess
import time
from pathlib import Path

import psutil
import pytest
from helpers.corpora import BENCHMARKS, asked, contents, in_another_process, kill, make

from babel_jax.common.errors import UserError
from babel_jax.corpus import build as corpus_build
from babel_jax.corpus import corpus_files, sources, token_rows, tokenizer
from babel_jax.corpus.phases.order import PHASES
from babel_jax.corpus.readers import reader


@pytest.mark.processes
def test_two_processes_and_one_build_the_same_bytes(built, folders, tmp_path, monkeypatch):
    monkeypatch.setattr(corpus_build.machine, "cores", lambda: 2)
    monkeypatch.chdir(tmp_path)
    again = make(folders, Path("elsewhere"), jobs=None)
    assert contents(again.directory) == contents(built.directory)
    assert [path.name for path in tmp_path.iterdir()] == ["elsewhere"]  # no working folder is left


def test_shards_build_the_same_bytes(built, folders, tmp_path, monkeypatch):
    """Two shards a phase, in whatever order; a phase begins when the one before is complete."""
    monkeypatch.setattr(reader, "PIECE_BYTES", 20_000)  # several pieces a language
    out, benchmarks = tmp_path / "corpus", BENCHMARKS
    for phase in PHASES:
        for shard in (1, 0):
            work = corpus_build.start(asked(folders), out, benchmarks)
            names = corpus_build.tasks(work, phase)
            for task in names[shard::2]:
                corpus_build.run_task(work, phase, task)
            if shard and len(names) > 1:
                following = (*PHASES, None)[[*PHASES].index(phase) + 1]
                with pytest.raises(UserError, match=f"tasks of the phase {phase} are still to be done"):
                    corpus_build.tasks(work, following) if following else corpus_build.finish(work, out)
        assert phase != "clean" or len(names) > 6
    sharded = corpus_build.finish(work, out)
    assert not work.exists()
    stats, whole = (dataclasses.asdict(corpus.stats)["languages"] for corpus in (sharded, built))
    for name in stats:  # the sha256 of what was read is that of the pieces
        for summary in (stats, whole):
            assert summary[name]["sources"][0].pop("sha256")
    assert stats == whole
    different = {file for file, content in contents(out).items() if (built.directory / file).read_bytes() != content}
    assert different <= {"stats.json", "manifest.json"}
    assert corpus_build.start(asked(folders), out, benchmarks) == out
    assert corpus_build.tasks(out, "clean") == []
    assert corpus_build.finish(out, out).manifest == sharded.manifest


@pytest.mark.processes
def test_a_build_that_was_killed_goes_on(built, folders, tmp_path):
    """Killed at random moments, again and again; what comes in the end is the same."""
    out, work = tmp_path / "corpus", tmp_path / ".corpus.partial"
    command, environment = in_another_process(folders, out)
    moments, phases_begun = random.Random(0), set()
    for _ in range(3):
        process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        begun = len(list(work.glob("*/*.json")))
        while len(list(work.glob("*/*.json"))) == begun and process.poll() is None:  # it got further than the last time
            time.sleep(0.02)
        time.sleep(moments.uniform(0, 0.5))
        if process.poll() is not None:
            break
        kill(process)
        phases_begun |= {phase for phase in PHASES if (work / phase).exists()}
        assert not out.exists()
    assert len(phases_begun) > 1, "the build was not killed before its end"
    again = make(folders, out)
    assert contents(again.directory) == contents(built.directory)
    assert not work.exists()


@pytest.mark.processes
def test_workers_die_with_their_parent(folders, tmp_path):
    """In the middle of a task, too, that would go on for long."""
    slow = "build.PHASES['clean'] = build.PHASES['clean']._replace(run=lambda *_: __import__('time').sleep(100))"
    command, environment = in_another_process(folders, tmp_path / "corpus", slow)
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    while (
        sum("forkserver" in " ".join(child.cmdline()) for child in children_of(process)) < 3 and process.poll() is None
    ):
        time.sleep(0.05)  # the server and two workers
    time.sleep(1)
    assert len(kill(process)) >= 3


def children_of(process):
    return [child for child in psutil.Process(process.pid).children(recursive=True) if child.is_running()]


@pytest.mark.processes
def test_a_killed_worker_is_an_error_that_says_so(folders, tmp_path, monkeypatch):
    work = corpus_build.start(asked(folders), tmp_path / "corpus", BENCHMARKS)
    running = corpus_build._side_by_side(work, "clean", corpus_build.tasks(work, "clean"), 2)
    worker = multiprocessing.get_context("forkserver").Process
    start = worker.start

    def start_and_die(process):
        start(process)
        process.kill()

    monkeypatch.setattr(worker, "start", start_and_die)
    with pytest.raises(UserError, match=r"worker process was killed \(exit code -9; out of memory\?\)"):
        list(running)


def test_what_is_done_is_not_done_again(folders, tmp_path, monkeypatch):
    """A build that fails in its third phase has the first two behind it when it is called again."""
    train = tokenizer.train
    monkeypatch.setattr(tokenizer, "train", lambda *_: (_ for _ in ()).throw(UserError("too few texts")))
    with pytest.raises(UserError, match="too few texts"):
        make(folders, tmp_path / "corpus")
    monkeypatch.setattr(tokenizer, "train", train)
    monkeypatch.setattr(sources, "read", None)  # must not be called
    corpus_build.run_task(tmp_path / ".corpus.partial", "clean", "python-00000")
    assert make(folders, tmp_path / "corpus").manifest.languages == ("python", "php")


def test_a_full_disk_leaves_what_is_done(built, folders, tmp_path, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    write_shard = token_rows.write_shard
    monkeypatch.setattr(token_rows, "write_shard", full)
    with pytest.raises(UserError, match="No space left on device.*free space"):
        make(folders, tmp_path / "corpus")
    assert [path.name for path in tmp_path.iterdir()] == [".corpus.partial"]
    monkeypatch.setattr(token_rows, "write_shard", write_shard)
    assert contents(make(folders, tmp_path / "corpus").directory) == contents(built.directory)


@pytest.mark.processes
def test_a_real_disk_that_is_full(built, folders, tmp_path):
    """No file may grow beyond 20 kB: the writers of Parquet, ids, rows and models hit the limit, whoever comes first."""
    out = tmp_path / "corpus"
    command, environment = in_another_process(
        folders, out, "import resource", "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))"
    )
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert "UserError: cannot write" in done.stderr and "File too large" in done.stderr
    assert not out.exists()
    assert contents(make(folders, out).directory) == contents(built.directory)


def test_errors_say_what_to_do(folders, built, tmp_path):
    (tmp_path / "empty").mkdir()
    few = tmp_path / "few" / "project" / "one.py"
    few.parent.mkdir(parents=True)
    few.write_text((folders["python"][0] / "project1" / "file1.py").read_text())
    for paths, message in (
        ({"python": [tmp_path / "empty"]}, r"no Python file"),
        (folders | {"php": folders["python"]}, r"no PHP file"),
        ({"python": [tmp_path / "few"]}, "only 1 Python files are fit to train on, too few to hold some out"),
    ):
        with pytest.raises(UserError, match=message):
            make(paths, tmp_path / "corpus")
    with pytest.raises(UserError, match="the validation split of python has .* less than one row of 4097"):
        make(folders, tmp_path / "corpus", max_length=4096)
    with pytest.raises(UserError, match="exists and is not a corpus"):
        make(folders, tmp_path / "empty")
    with pytest.raises(UserError, match="--jobs is 0"):
        make(folders, tmp_path / "corpus", jobs=0)
    with pytest.raises(UserError, match="holds no corpus"):
        corpus_files.load(tmp_path)


def test_what_a_kill_left_does_not_come_into_the_corpus(built, folders, tmp_path, monkeypatch):
    """Killed while a file of the corpus was half there, and again when all was written but the corpus had no name yet."""
    out, work = tmp_path / "corpus", tmp_path / ".corpus.partial"
    monkeypatch.setattr(Path, "rename", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        make(folders, out)
    monkeypatch.undo()
    assert (work / "corpus" / "manifest.json").exists()
    for left in ("documents/.python.parquet.4711", ".tokenizer.model.xyz", "rows/token_rows/.left"):
        (work / "corpus" / left).write_bytes(b"half a file")
    assert contents(make(folders, out).directory) == contents(built.directory)


def test_a_file_is_on_the_disk_before_it_counts_as_done(folders, tmp_path, monkeypatch):
    """After a loss of power, too: what is renamed into place was synced under its temporary name."""
    synced, replace, fsync = set(), os.replace, os.fsync

    def checked(source, target):
        assert os.stat(source).st_ino in synced, target
        replace(source, target)

    def noted(number):
        synced.add(os.fstat(number).st_ino)
        fsync(number)

    monkeypatch.setattr(os, "replace", checked)
    monkeypatch.setattr(os, "fsync", noted)
    make(folders, tmp_path / "corpus")
    assert len(synced) > 10


@pytest.mark.processes
def test_any_error_of_a_worker_is_reported(folders, tmp_path):
    out = tmp_path / "corpus"
    failing = [
        "def fail(*_):",
        "    class Local(Exception): pass",
        "    raise Local('what happened')",
        "build.PHASES['clean'] = build.PHASES['clean']._replace(run=fail)",
    ]
    command, environment = in_another_process(folders, out, *failing)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert "clean of p" in done.stderr and "what happened" in done.stderr and "was killed" not in done.stderr


@pytest.mark.processes
def test_an_interruption_while_workers_start_is_one(folders, tmp_path, monkeypatch):
    work = corpus_build.start(asked(folders), tmp_path / "corpus", BENCHMARKS)
    process = multiprocessing.get_context("forkserver").Process
    monkeypatch.setattr(process, "start", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        corpus_build.run_tasks(work, "clean", corpus_build.tasks(work, "clean"), 2, progress=False)

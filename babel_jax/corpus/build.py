"""From source trees to a corpus: cleaned, split by project, tokenised, packed, with prompts; or nothing.

A build is a sequence of phases (`phases/order.py`), each a list of tasks that do not depend on each other: `clean` and `tokens`
have a task a piece of the sources, `select` one a language, `rows` one a shard. A pool of processes, the jobs of an array on
a cluster and Beam do the same: `for task in tasks(work, phase): run_task(work, phase, task)`. All work is kept in a folder beside
the corpus, .NAME.partial. A task that is done is not done again, and its result depends neither on who did it nor on when, so a
build that was killed goes on, and the corpus is the same to the byte.
"""

import dataclasses
import shutil
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
from tqdm import tqdm

from babel_jax.common import machine
from babel_jax.common.errors import UserError, one_line
from babel_jax.common.files import write_json
from babel_jax.corpus import begin, corpus_files, describe
from babel_jax.corpus.build_folder import (
    begin_anew,
    done_file,
    is_corpus,
    locked,
    read_plan,
    result,
    work_folder,
    writing,
)
from babel_jax.corpus.corpus_files import Corpus
from babel_jax.corpus.manifest import Manifest
from babel_jax.corpus.phases import clean_documents
from babel_jax.corpus.phases.order import PHASES


def build(
    manifest: Manifest,
    out: Path,
    *,
    benchmarks: Iterable[tuple[str, str]] = (),
    jobs: int | None = None,
    progress: bool = True,
) -> Corpus:
    """Builds a corpus in `out`, unless it is there.

    Args:
      manifest: what to build of what, as `manifest.load` and `manifest.of_sources` return it.
      benchmarks: (name, text) of the prompts and solutions that no document may contain.
      jobs: processes side by side; by default one a core. The corpus does not depend on it.

    Raises:
      UserError: no files, a vocabulary too large for the files, another corpus in `out`, another build at work, disk full.
        Whatever was done stays, and the same call goes on from there.
    """
    out, benchmarks = Path(out), list(benchmarks)
    wanted = begin.wanted_of(manifest, benchmarks)
    if out.exists():
        return begin.existing(out, wanted)
    with writing(out), locked(work_folder(out)):
        if out.exists():  # another build has just ended
            return begin.existing(out, wanted)
        work = begin.begin(manifest, out, benchmarks, wanted)
        for phase in PHASES:
            run_tasks(work, phase, tasks(work, phase), jobs, progress)
        return finish(work, out)


def start(manifest: Manifest, out: Path, benchmarks: list[tuple[str, str]], anew: bool = True) -> Path:
    """The folder that the tasks work in: made, or as it was left. `out` itself if the corpus is there already.

    What another manifest or other sources left there is removed, with a message; without `anew` it is an error.

    Raises:
      UserError: no files, another corpus in `out`, another build at work in the folder.
    """
    out, benchmarks = Path(out), list(benchmarks)
    wanted = begin.wanted_of(manifest, benchmarks)
    if out.exists():
        return begin.existing(out, wanted).directory
    with writing(out):
        if begin.is_begun(work_folder(out), wanted, manifest):
            return work_folder(out)
        with locked(work_folder(out)):
            return begin.begin(manifest, out, benchmarks, wanted, anew)


def tasks(work: Path, phase: str) -> list[str]:
    """The names of all tasks of a phase, done or not; the same for all who ask. Nothing is to be done to a corpus.

    Raises:
      UserError: the phase before is not complete.
    """
    if is_corpus(work):
        return []
    if phase not in PHASES:
        raise UserError(f"--phase is {phase}; phases are {', '.join(PHASES)}.")
    names = list(PHASES)
    if before := names[: names.index(phase)][-1:]:
        _require_done(work, before[0], f"; run all shards of --phase={before[0]} first")
    return list(PHASES[phase].tasks(work, read_plan(work)))


def _require_done(work, phase, hint=""):
    if missing := _undone(work, phase, tasks(work, phase)):
        example = f"such as {missing[0]}{hint}"
        raise UserError(f"{len(missing)} tasks of the phase {phase} are still to be done, {example}.")


def _undone(work, phase, chosen):
    return [task for task in chosen if not done_file(work, phase, task).exists()]


def run_task(work: Path, phase: str, task: str) -> None:
    """Does one task, all of it or nothing; one that is done is not done again.

    Raises:
      UserError: the disk is full, a source cannot be read, or what the phase itself refuses.
    """
    done = done_file(work, phase, task)
    if not done.exists():
        with writing(work):
            done.parent.mkdir(parents=True, exist_ok=True)
            try:
                left = PHASES[phase].run(work, read_plan(work), task)
                write_json(done, dataclasses.asdict(left))
            except pa.ArrowException as error:  # of a table that an earlier phase wrote
                raise UserError(f"the build in {work} is damaged ({one_line(error)}); {begin_anew(work)}.") from error


def finish(work: Path, out: Path) -> Corpus:
    """Describes the corpus when all tasks are done, and gives it its name.

    Raises:
      UserError: tasks are still to be done.
    """
    if is_corpus(work):
        return corpus_files.load(work)
    _require_done(work, list(PHASES)[-1])
    with writing(out):
        describe.describe(work, read_plan(work))
        (work / "corpus").rename(out)
        shutil.rmtree(work, ignore_errors=True)
    return corpus_files.load(out)


def run_tasks(work: Path, phase: str, chosen: list[str], jobs: int | None = None, progress: bool = True) -> None:
    """Does those of the chosen tasks that are not done yet, in `jobs` processes (one a core): in this one if that is 1.

    Raises:
      UserError: of a task; or a process was killed.
    """
    jobs = machine.cores() if jobs is None else jobs
    if jobs < 1:
        raise UserError(f"--jobs is {jobs}; give at least 1.")
    if not chosen:  # a phase of natural languages, where there are none
        return
    waiting = _undone(work, phase, chosen)
    jobs = min(jobs, len(waiting))
    begin, interval = time.monotonic(), 0.5 if sys.stderr.isatty() else 15
    bar = tqdm(
        desc=phase,
        total=len(chosen),
        initial=len(chosen) - len(waiting),
        unit="task",
        disable=not progress,
        dynamic_ncols=True,
        mininterval=interval,
        file=sys.stderr,
    )
    documents = size = 0
    with bar:
        for task in _side_by_side(work, phase, waiting, jobs) if jobs > 1 else _here(work, phase, waiting):
            more = getattr(result(work, phase, task, PHASES[phase].record), "amount", (0, 0))
            documents, size = documents + more[0], size + more[1]
            if documents:
                seconds = time.monotonic() - begin
                bar.set_postfix_str(f"{size / 1e6:.0f} MB, {documents / seconds:.0f} files/s", refresh=False)
            bar.update()


def _here(work, phase, waiting):
    try:
        for task in waiting:
            run_task(work, phase, task)
            yield task
    finally:
        clean_documents.benchmark_index.cache_clear()  # the benchmarks' index is large, and no other phase asks for it


def _side_by_side(work, phase, waiting, jobs):
    """Runs the tasks in processes of their own and yields each that is done."""
    waiting = list(reversed(waiting))
    preload = ["babel_jax.corpus.build", "babel_jax.corpus.token_rows"]  # once for all workers
    with machine.Workers(jobs, _tasks_of, (work, phase), "forkserver", preload) as workers:
        while waiting or workers.busy:
            while waiting and workers.idle:
                workers.give(waiting.pop())
            for task, _ in workers.messages():
                yield task


def _tasks_of(work, phase):
    """What a worker process does with a task."""

    def do(task, say):
        try:
            run_task(work, phase, task)
        except Exception as error:
            error.add_note(f"in {phase} of {task}")
            raise

    return do

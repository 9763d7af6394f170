"""The folder beside a corpus in which its tasks work, .NAME.partial: its plan, its lock, and what finished tasks left there."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from babel_jax.common.errors import UserError
from babel_jax.common.files import read_record, sha256
from babel_jax.corpus.records import Plan


def work_folder(out: Path) -> Path:
    out = out.absolute()  # worker processes may stand in another folder
    return out.parent / f".{out.name}.partial"


def is_corpus(directory: Path) -> bool:
    return (directory / "manifest.json").exists()


@contextlib.contextmanager
def writing(place: Path) -> Iterator[None]:
    """Turns what the disk refuses into a `UserError`."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"cannot write {place}: {error.strerror or error}. All that is done stays; free space or mend the permissions, "
            "and run again."
        ) from error


@contextlib.contextmanager
def locked(work: Path, shared: bool = False) -> Iterator[None]:
    """Holds the folder: one build alone, or any number of those that share the tasks between them."""
    work.mkdir(parents=True, exist_ok=True)
    with (work / "lock").open("a") as file:
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"another build is at work in {work}; wait for it, or choose another --out.") from None
        yield


def shared_work(work: Path):
    """Context manager: keeps a whole build out while shards are at work in the folder.

    Raises:
      UserError: a whole build is at work in it.
    """
    return contextlib.nullcontext() if is_corpus(work) else locked(work, shared=True)


def begin_anew(work: Path) -> str:
    return f"delete {work} and build again, from the beginning"


def read_plan(work: Path) -> Plan:
    return read_record(work / "plan.json", Plan, begin_anew(work))


def done_file(work: Path, phase: str, task: str) -> Path:
    """The last file that a task writes: what the next phases need to know of it."""
    return work / phase / f"{task}.json"


def result(work: Path, phase: str, task: str, record: type):
    """What a finished task left for the next phases, a record of the type that its phase writes."""
    return read_record(done_file(work, phase, task), record, begin_anew(work))


def digests(work: Path, files: list[Path]) -> dict[str, str]:
    """{path in the corpus: sha256}."""
    return {path.relative_to(work / "corpus").as_posix(): sha256(path) for path in files}

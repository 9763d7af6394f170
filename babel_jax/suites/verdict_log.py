"""Verdicts on programs, and the files that keep them: one JSON object a line, added as soon as it is known.

A last line that was torn by a crash is dropped when the file is read; of several lines on one sample the last counts.
"""

import dataclasses
import errno
import fcntl
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from babel_jax.common import files
from babel_jax.common.errors import UserError
from babel_jax.suites.outcomes import Outcome

IDENTITY = ("program", "toolchain", "level", "limits", "compat")  # the same in all: the same verdict


@dataclasses.dataclass(frozen=True)
class Submission:
    """A sample's program and all that decides its verdict: what a line of the log says beside it.

    Attributes:
      suite, language, task_id, number: of the problem.
      sample: which of the problem's samples.
      variant: of the prompt that was completed, see `problems.VARIANTS`.
      ended: why writing it ended, see `judge.Sample`.
      repair_imports: were Go's imports repaired?
      program, toolchain, limits: hashes; of `limits`, of the whole rule that judges.
      level: of the sandbox.
      compat: None, or the peer whose rule judges.
    """

    suite: str
    language: str
    task_id: str
    number: int
    sample: int
    variant: str
    ended: str
    repair_imports: bool
    program: str
    toolchain: str
    level: str
    limits: str
    compat: str | None

    @property
    def key(self) -> tuple:
        """What distinguishes a sample from all others of a log."""
        return self.suite, self.language, self.task_id, self.sample

    @property
    def identity(self) -> tuple:
        return tuple(getattr(self, name) for name in IDENTITY)


@dataclasses.dataclass(frozen=True)
class Seconds:
    """Wall time; None where nothing ran."""

    compile: float | None = None
    run: float | None = None


@dataclasses.dataclass(frozen=True)
class Ending:
    """How a program ended: an outcome, and one line that says why.

    first_outcome: None; or "timeout", where this is the verdict of running alone again.
    """

    outcome: Outcome
    first_outcome: str | None
    detail: str
    seconds: Seconds = Seconds()


@dataclasses.dataclass(frozen=True)
class Verdict(Submission):
    """A submission and how it ended, see `Ending`: a line of the log."""

    outcome: Outcome
    first_outcome: str | None
    detail: str
    seconds: Seconds

    @property
    def ending(self) -> Ending:
        return Ending(self.outcome, self.first_outcome, self.detail, self.seconds)

    @property
    def settled(self) -> bool:
        """Is it a verdict that need not be judged again? Neither the machine failed, nor is a second run to come."""
        return self.outcome != "infra_error" and (self.outcome != "timeout" or self.first_outcome is not None)


def read(path) -> list[Verdict]:
    """The verdicts in a file: of those on one sample the last; without a last line that was torn.

    Raises:
      UserError: the file cannot be read, or a line of it is not a verdict.
    """
    return list({verdict.key: verdict for verdict in _lines(Path(path))}.values())


def _lines(path: Path) -> list[Verdict]:
    return files.records(_whole_lines(path), path, Verdict, "delete the line and run again")


def _whole_lines(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read the verdicts {path}: {error.strerror}; check the path.") from error
    return files.whole_lines(content)


class VerdictLog:
    """The verdicts of a file, those of a cache, and what this session adds to both. A context manager, which closes it.

    verdicts: of each sample (`Submission.key`) the last.
    """

    def __init__(self, path, submissions: Sequence[Submission], cache=None):
        """Opens the file, and holds it alone until `close`.

        Args:
          submissions: what this session judges.
          cache: a folder whose verdicts are used and added to, or None.

        Raises:
          UserError: the file holds verdicts on other programs or by other rules, is another process's, or is not there to be
            written.
        """
        self.path = Path(path)
        self.verdicts: dict[tuple, Verdict] = {}
        self._same: dict[tuple, Verdict] = {}
        self._added: dict[tuple, Verdict] = {}  # what was run in this session
        self._cache = Path(cache) / "verdicts.jsonl" if cache is not None else None
        if self._cache is not None and self._cache.exists():
            self._remember(_lines(self._cache))
        if self.path.exists():
            self.verdicts = {verdict.key: verdict for verdict in _lines(self.path)}
            self._remember(self.verdicts.values())
            self._refuse_others(submissions)
        self._file = self._opened(self.path)
        self._begun = os.fstat(self._file.fileno()).st_size

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @staticmethod
    def _opened(path: Path, wait: bool = False):
        """The file, open for appending behind its last whole line; every write is one line and goes to the system at once.

        It is this process's alone until it is closed: else what is cut off could be a line that another one is writing.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("ab", buffering=0)
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            file.truncate(len(_whole_lines(path)))
            return file
        except BlockingIOError as error:
            raise UserError(f"another process judges into {path}; wait for it, or give another folder.") from error
        except OSError as error:
            raise UserError(
                f"cannot write {path}: {error.strerror}; give a folder on a disk of this machine."
            ) from error

    def _remember(self, verdicts: Iterable[Verdict]) -> None:
        self._same |= {verdict.identity: verdict for verdict in verdicts if verdict.settled}

    def _refuse_others(self, submissions: Sequence[Submission]) -> None:
        for submission in submissions:
            there = self.verdicts.get(submission.key, submission)
            if other := [name for name in IDENTITY if getattr(there, name) != getattr(submission, name)]:
                raise UserError(
                    f"{self.path} holds a verdict on {' '.join(map(str, submission.key))} with another "
                    f"{' and '.join(other)}; give another folder, or delete that file."
                )

    def known(self, submission: Submission) -> Ending | None:
        """How the same program ended, if that stands here."""
        verdict = self._same.get(submission.identity)
        return verdict and verdict.ending

    def is_settled(self, submission: Submission) -> bool:
        verdict = self.verdicts.get(submission.key)
        return verdict is not None and verdict.settled

    def timed_out(self, submission: Submission) -> bool:
        """Was it stopped between a timeout and running alone again?"""
        verdict = self.verdicts.get(submission.key)
        return verdict is not None and verdict.outcome == "timeout" and verdict.first_outcome is None

    def add(self, submission: Submission, ending: Ending, ran: bool = True) -> None:
        """Adds a verdict. `ran`: it was found in this session."""
        verdict = Verdict(**{name: getattr(submission, name) for name in _NAMES}, **vars(ending))
        self.verdicts[verdict.key] = verdict
        if ran:
            self._added[verdict.key] = verdict
        if not self._file.closed:
            self._append(self._file, self.path, [verdict])

    @staticmethod
    def _append(file, path, verdicts: Iterable[Verdict]) -> None:
        """Writes whole lines; where that fails, nothing is written behind the torn one."""
        content = b"".join(json.dumps(dataclasses.asdict(verdict)).encode() + b"\n" for verdict in verdicts)
        try:
            if file.write(content) != len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            file.close()
            raise UserError(f"cannot write {path}: {error.strerror}; free space and run again.") from error

    def languages_with_failures(self) -> list[str]:
        """The languages of which a program failed in this session."""
        fine = ("passed", "empty", "infra_error")
        return sorted({verdict.language for verdict in self._added.values() if verdict.outcome not in fine})

    def withdraw(self, language: str, why: str) -> None:
        """What failed in this session says nothing about the programs."""
        for verdict in list(self._added.values()):
            if verdict.language == language and verdict.outcome not in ("passed", "empty"):
                self.add(verdict, Ending("infra_error", None, why))
        if self._file.closed:  # it could not be written; to cut it needs no space
            os.truncate(self.path, self._begun)

    def close(self) -> None:
        """Adds to the cache what is settled now."""
        self._file.close()
        if self._cache is not None:
            new = {verdict.identity: verdict for verdict in self._added.values() if verdict.settled}
            with self._opened(self._cache, wait=True) as file:
                self._append(
                    file, self._cache, [verdict for identity, verdict in new.items() if identity not in self._same]
                )


_NAMES = tuple(field.name for field in dataclasses.fields(Submission))

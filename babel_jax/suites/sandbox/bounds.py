"""What a program may use, what it may see, and how it ended."""

import dataclasses
from pathlib import Path

PATH = "/usr/bin:/bin:/usr/sbin:/sbin"


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a program may use. Of one process: processor time, memory (address space) and the size of a file.

    Processor time is rounded up to whole seconds, in which the kernel counts it. Output beyond `output_kill_bytes` (both
    streams together) ends the program; of each stream the first and the last half of `output_bytes` are kept.
    """

    cpu_seconds: float = 10
    wall_seconds: float = 30
    memory_bytes: int = 1 << 30
    processes: int = 64
    file_bytes: int = 64 << 20
    tmp_bytes: int = 64 << 20
    output_bytes: int = 64 << 10
    output_kill_bytes: int = 8 << 20


DEFAULT_LIMITS = Limits()


@dataclasses.dataclass(frozen=True)
class Finished:
    """How a program ended: exit status, or -N for signal N; `ended_by`: itself, wall, cpu, output or memory.

    In a namespace an exit status above 128 cannot be distinguished from a signal, and is reported as one.
    """

    status: int
    ended_by: str
    stdout: bytes
    stderr: bytes
    wall_seconds: float
    cpu_seconds: float


@dataclasses.dataclass(frozen=True)
class Isolation:
    """What bounds the programs of a sandbox.

    Attributes:
      own_users: each slot has a user of its own; else programs run as the caller.
      groups: the controllers of its control groups, () where there are none: then `without_groups` says why.
      filter: of system calls, "" where there is none: then `without_filter` says why.
    """

    level: str
    own_users: bool
    groups: tuple[str, ...]
    filter: str
    without_groups: str = ""
    without_filter: str = ""


@dataclasses.dataclass(frozen=True)
class Writable:
    """A directory outside that a program may change."""

    place: Path


class SandboxError(Exception):
    """The sandbox itself failed, not the program in it."""

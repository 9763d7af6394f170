"""The levels of the sandbox: what each is made of, and the words before a program that put it there."""

import math
import os
import shutil

from babel_jax.suites.sandbox.bounds import PATH, Limits
from babel_jax.suites.sandbox.mounts import KEYS, links, system_places

LEVELS = ("bubblewrap", "unshare", "rlimits")  # strongest first


def tools(level: str) -> tuple[str, ...]:
    """The commands that a level is made of."""
    own = {"bubblewrap": ("bwrap",), "unshare": ("unshare", "mount", "setsid", "chroot"), "rlimits": ()}
    return (*own[level], "setpriv", "prlimit", "sh", "rm", "chmod")


def find_tool(name: str) -> str | None:
    return shutil.which(name, path=f"{PATH}:{os.environ.get('PATH', '')}")


def prlimit(limits: Limits, processes: int) -> list[str]:
    """Words that set the limits of each process."""
    seconds = math.ceil(limits.cpu_seconds)  # hard and soft: a program cannot catch it
    return [
        *("prlimit", f"--cpu={seconds}:{seconds}", f"--as={limits.memory_bytes}", f"--fsize={limits.file_bytes}"),
        *(f"--nproc={processes}", "--nofile=256", "--core=0", f"--stack={8 << 20}"),
        *(f"--memlock={64 << 10}", "--msgqueue=0", "--nice=0", "--rtprio=0", "--"),
    ]


def bubblewrap(directories, limits: Limits, filter: int | None) -> list[str]:
    """Words that start bubblewrap. `filter`: the open file that it reads the filter of system calls from."""
    words = [
        *(
            find_tool("bwrap"),
            "--unshare-all",
            "--unshare-user",
            "--disable-userns",
            "--die-with-parent",
            "--new-session",
        ),
        *("--as-pid-1", "--cap-add", "CAP_WAKE_ALARM", "--uid", "65534", "--gid", "65534", "--hostname", "sandbox"),
    ]
    for place, target in links():
        words += ["--symlink", target, place]
    for place in system_places():
        words += ["--ro-bind", place, place]
    words += ["--proc", "/proc", *(("--ro-bind", "/dev/null", KEYS) if os.path.exists(KEYS) else ())]
    # /dev and / are in memory as well, and would be of no bounded size
    words += ["--dev", "/dev", "--size", str(1 << 20), "--tmpfs", "/dev/shm", "--remount-ro", "/dev"]
    words += ["--size", str(limits.tmp_bytes), "--tmpfs", "/tmp"]
    for name, (directory, writable) in directories.items():
        words += ["--bind" if writable else "--ro-bind", str(directory), f"/{name}"]
    words += [] if filter is None else ["--seccomp", str(filter)]
    return [*words, "--remount-ro", "/", "--chdir", "/tmp", "--"]


def unshare() -> list[str]:
    """Words that make the namespaces of the level unshare."""
    namespaces = ("--net", "--mount", "--ipc", "--uts", "--pid")
    die_with_us = ("setpriv", "--pdeathsig", "KILL", "--")
    return [*die_with_us, "unshare", *namespaces, "--fork", "--kill-child", "--"]

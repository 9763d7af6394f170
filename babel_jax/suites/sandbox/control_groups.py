"""Control groups, which bound the memory and the processes of a whole program."""

import os
import re
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from babel_jax.suites.sandbox.bounds import Limits


def make(name: str) -> dict[str, Path]:
    """New control groups for memory and processes, tried with a process; OSError where there are none to write.

    Version 1 has a hierarchy for each controller, version 2 one for all (Linux, Documentation/admin-guide/cgroup-v1, -v2).
    """
    groups, why_not = {}, "no control groups for memory or pids are mounted"
    for controllers, place in group_places():
        if set(controllers) <= set(groups):
            continue
        group = place / name
        try:
            if "cgroup.controllers" in os.listdir(place):
                (place / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in controllers))
            group.mkdir()
        except OSError as error:
            why_not = f"{place}: {error.strerror}"
            continue
        tried = subprocess.run(["sh", "-c", 'echo $$ > "$0"', f"{group}/cgroup.procs"], capture_output=True, text=True)
        if tried.returncode == 0:
            groups |= dict.fromkeys(controllers, group)
        else:
            why_not = f"{place}: no process can be put into a group of it"
            remove(group)
    if not groups:
        raise OSError(why_not)
    return groups


def group_places() -> list[tuple[tuple[str, ...], Path]]:
    """Where groups for memory and pids might be made, each time our own group first, then the one above it."""
    own = dict(line.split(":", 2)[1:] for line in Path("/proc/self/cgroup").read_text().splitlines())
    places = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        kind, options, mount = fields[fields.index("-") + 1], fields[-1].split(","), Path(fields[4])
        if kind == "cgroup2":
            controllers, path = ("memory", "pids"), own.get("", "/")
            if not set(controllers) <= set((mount / "cgroup.controllers").read_text().split()):
                continue
        else:
            controllers = tuple(name for name in ("memory", "pids") if kind == "cgroup" and name in options)
            path = next((path for names, path in own.items() if set(controllers) & set(names.split(","))), "/")
        if controllers:
            group = mount / path.lstrip("/")
            places += [(controllers, place) for place in (group, group.parent, mount) if place.is_dir()]
    return places


def bound(groups: Mapping[str, Path], limits: Limits) -> None:
    """The whole program: what is in its temporary directory is memory too, and the sandbox has processes of its own."""
    memory, wanted = groups.get("memory"), str(limits.memory_bytes + limits.tmp_bytes)
    if memory and (memory / "memory.max").exists():
        (memory / "memory.max").write_text(wanted)
        (memory / "memory.oom.group").write_text("1")
        if (memory / "memory.swap.max").exists():
            (memory / "memory.swap.max").write_text("0")
    elif memory:
        (memory / "memory.limit_in_bytes").write_text(wanted)
        (memory / "memory.swappiness").write_text("0")
    if "pids" in groups:
        (groups["pids"] / "pids.max").write_text(str(limits.processes + 8))


def killed_for_memory(groups: Mapping[str, Path]) -> int:
    """How many processes of the group the kernel has killed because its memory was used up."""
    if "memory" not in groups:
        return 0
    events = groups["memory"] / "memory.events"
    text = (events if events.exists() else groups["memory"] / "memory.oom_control").read_text()
    return int(re.search(r"^oom_kill (\d+)$", text, re.MULTILINE)[1])


def remove(group: Path) -> None:
    """Removes a group, whose last process may just be leaving."""
    deadline = time.monotonic() + 1
    while group.exists():
        try:
            group.rmdir()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)

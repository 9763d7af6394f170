"""Runs seeded cases of wrong arguments, config keys and input files, each in a process of its own, and judges how they end.

  python -m tests.fuzz --root=DIR --cases=3000 --seed=1     # the faults that these cases find, by class
  python -m tests.fuzz --root=DIR --seed=1 --only=17        # one of them again, with what it printed

This process imports the package once and forks a child a case: `python -m babel_jax …` without the seconds that its imports
take. No JAX backend is used before the fork. A case that runs on is ended by Ctrl-C.
"""

import argparse
import collections
import contextlib
import dataclasses
import faulthandler
import functools
import gc
import importlib
import os
import pickle
import pkgutil
import random
import re
import runpy
import shutil
import signal
import sys
import time
from pathlib import Path

import babel_jax
from babel_jax.cli.environment import configure_jax

from . import cases
from .cases import EXAMPLES, Case

GRACE = 120  # seconds in which a command must have ended after Ctrl-C
STILL_READING = 20  # seconds after which a command that has not begun its work hangs
FOLDER = (
    "cwd",
    "home",
    "tmp",
    "case",
    "ended",
    "stdout",
    "stderr",
    ".cache",
)  # the last is HOME's cache directory


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a case came to. status: as a shell says it; ended: by what, "" if by itself; wrote: paths that are new or changed."""

    case: Case
    status: int
    stderr: str
    ended: str
    wrote: tuple[str, ...]


def become(case_in, base: Path, place: Path) -> None:
    """Becomes the command that `case_in(folder)` makes, in a copy of the base."""
    os.setpgid(0, 0)
    folder = place / "cwd"
    shutil.copytree(base, folder)
    for name in ("home", "tmp"):
        (place / name).mkdir()
    case = case_in(folder)
    (place / "case").write_bytes(pickle.dumps((case, snapshot(folder))))
    for number, name in ((0, "/dev/null"), (1, place / "stdout"), (2, place / "stderr")):
        os.dup2(os.open(name, os.O_RDWR | os.O_CREAT), number)
    os.chdir(folder)
    os.environ |= {"HOME": str(place / "home"), "TMPDIR": str(place / "tmp")}
    faulthandler.register(signal.SIGUSR1, file=2)

    def interrupted(number, frame):
        at_work = sys.modules["jax._src.xla_bridge"].backends_are_initialized()
        while frame.f_back and f"{os.sep}babel_jax{os.sep}" not in frame.f_code.co_filename:
            frame = frame.f_back
        (place / "ended").write_text(f"{'at work' if at_work else 'reading'} in {frame.f_code.co_qualname}")
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupted)
    sys.argv = ["babel_jax", *case.words, *case.arguments]
    runpy.run_module("babel_jax", run_name="__main__", alter_sys=True)
    sys.exit()


def snapshot(folder: Path) -> dict[str, tuple]:
    state = {}
    for path in folder.rglob("*"):
        about = path.lstat()
        state[str(path.relative_to(folder))] = (about.st_size, about.st_mtime_ns) if path.is_file() else ()
    return state


def run_all(base: Path, root: Path, cases: dict[int, object], jobs: int, patience: float):
    """Yields (number, `Outcome`) of all cases as they end. cases: what makes each in its folder; patience: seconds to Ctrl-C."""
    todo, running = [*cases], {}
    while todo or running:
        while todo and len(running) < jobs:
            place = root / str(number := todo.pop(0))
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(parents=True)
            if not (pid := os.fork()):
                become(cases[number], base, place)
            running[pid] = [number, None, None]
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid in running:
            number = running.pop(pid)[0]
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)  # what it has left behind
            yield number, _outcome(root / str(number), os.waitstatus_to_exitcode(status))
            shutil.rmtree(root / str(number))
        elif not pid:
            for pid, (number, until, last) in running.items():
                if until is None and (root / str(number) / "case").exists():  # it begins
                    running[pid][1:] = time.monotonic() + patience, time.monotonic() + patience + GRACE
                elif last and time.monotonic() > last:
                    (root / str(number) / "ended").write_text("killed")
                    os.kill(pid, signal.SIGUSR1)  # it says where it stands
                    time.sleep(1)
                    os.killpg(pid, signal.SIGKILL)
                elif until and time.monotonic() > until:
                    running[pid][1] += 10  # where JAX calls Python back, it swallows a Ctrl-C
                    os.killpg(pid, signal.SIGINT)
            time.sleep(0.01)


def _outcome(place: Path, status: int) -> Outcome:
    case, before = pickle.loads((place / "case").read_bytes())
    after = snapshot(place / "cwd")
    wrote = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    wrote |= {f"../{path.name}" for path in (*place.iterdir(), *(place / "home").iterdir()) if path.name not in FOLDER}
    stderr = (place / "stderr").read_bytes().decode(errors="backslashreplace")
    ended = (place / "ended").read_text() if (place / "ended").exists() else ""
    return Outcome(case, status if status >= 0 else 128 - status, stderr, ended, tuple(sorted(wrote)))


def fault(outcome: Outcome, patience: float) -> str | None:
    """The class of what is wrong with an outcome; None if nothing is."""
    stderr, status = outcome.stderr.replace("\r", "\n").replace("\x1b[A", ""), outcome.status
    where = re.findall(r'File ".*/(babel_jax/.*)", line (\d+),? in (.*)', stderr)
    errors = [line for line in stderr.split("\n") if line.startswith("error:")]
    if outcome.ended == "killed":
        return f"Ctrl-C does not end it: {':'.join(where[0]) if where else _class(stderr[-300:])}"
    if outcome.ended:
        return f"hangs {outcome.ended}" if "reading" in outcome.ended and patience >= STILL_READING else None
    if "Traceback" in stderr:
        message = re.findall(r"^(?!File|Traceback|During|The above)([A-Za-z_][\w.]*.*)", stderr, re.MULTILINE)
        return f"traceback: {':'.join(where[-1]) if where else ''}: {_class(message[-1] if message else '')}"
    if status not in (0, 2, 130):
        return f"status {status}: {_class(stderr[-200:])}"
    if len(errors) != (status == 2) or errors and not stderr.endswith(f"{errors[0]}\n"):
        return f"status {status} and {len(errors)} lines of error: {_class(stderr[-200:])}"
    if raw := sorted(mark for mark in stderr if not mark.isprintable() and mark != "\n"):
        return f"raw {ascii(raw[0])}: {_class(stderr)}"
    if warning := re.search(r"\w+Warning: .*", stderr):
        return f"warning: {_class(warning[0])}"
    if outside := [path for path in outcome.wrote if path.startswith("..")]:
        return f"wrote outside of its folder: {outside}"
    seen = [path for path in outcome.wrote if not re.search(r"(^|/)\.", path)]  # not locks, and work to go on with
    if status == 2 and seen and not outcome.case.damage:
        return f"refused, and wrote {seen[0]}: {_class(errors[0])}"
    return None


def _class(text: str) -> str:
    return re.sub(r"\d+", "N", ascii(text)[1:-1])[:160]


def make_base(root: Path) -> Path:
    """The folder that cases get a copy of: each example runs in what those before have left."""
    base, made = root / "base", root / "made"
    if not base.exists():
        shutil.copytree(Path(__file__).parent / "inputs", made)
        for words in EXAMPLES[: EXAMPLES.index([])]:
            for _, outcome in run_all(made, root, {0: lambda folder, words=words: Case((), words)}, 1, 600):
                if outcome.status or outcome.ended:
                    raise SystemExit(f"{outcome.case}: {outcome}")
                shutil.rmtree(made)
                (root / "0" / "cwd").rename(made)
        made.rename(base)
    return base


def main() -> int:
    parser = argparse.ArgumentParser(description="fuzzes the command line; see the head of this file")
    parser.add_argument(
        "--root", type=Path, required=True, help="a folder for all; a base that stands there is used again"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cases", type=int, default=300)
    parser.add_argument("--only", type=int, help="this case alone, with what it printed")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--patience", type=float, default=2, help="seconds before Ctrl-C (default: %(default)s)")
    asked = parser.parse_args()
    started = time.monotonic()
    for module in pkgutil.walk_packages(babel_jax.__path__, "babel_jax."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    gc.freeze()  # else each child copies every page when it collects
    root = asked.root.absolute()
    base = make_base(root)
    made = time.monotonic()
    known, keys = cases.forms(), cases.config_keys()
    numbers = range(asked.cases) if asked.only is None else [asked.only]
    makers = {
        number: functools.partial(cases.make, random.Random(f"{asked.seed}/{number}"), known, keys)
        for number in numbers
    }
    faults, ends = collections.defaultdict(list), collections.Counter()
    for number, outcome in run_all(base, root / "cases", makers, asked.jobs, asked.patience):
        ends[outcome.ended or outcome.status] += 1
        if asked.only is not None:
            print(outcome.stderr, outcome, sep="\n")
        if wrong := fault(outcome, asked.patience):
            faults[wrong].append(f"--seed={asked.seed} --only={number}: {outcome.case}")
    for wrong, lines in sorted(faults.items(), key=lambda item: -len(item[1])):
        print(f"{len(lines)} x {wrong}", *lines[:3], sep="\n    ")
    print(
        f"{len(known)} forms, {len(keys)} keys, {len(makers)} cases, {sum(map(len, faults.values()))} at fault in {len(faults)} "
        f"classes; {made - started:.0f} s for the base, {time.monotonic() - made:.0f} s for the cases; ends: {dict(ends)}"
    )
    return 1 if faults else 0


if __name__ == "__main__":
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    configure_jax(threads=1)
    sys.exit(main())

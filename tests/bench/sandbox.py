"""What does the sandbox cost a program? Prints one JSON line.

`overhead_ms`: how much longer a program takes in the sandbox than by itself, the larger median of two: `true`, and a Python that
does nothing; by itself and sandboxed in turn. `ratio`: overhead against the 25 ms that are allowed (target: at most 1).
`left`: after 1000 more runs that each leave a daemon behind, processes (zombies among them), open files and temporary files.
Run: python tests/bench/sandbox.py [--n=100 --runs=1000 --level=bubblewrap]
"""

import argparse
import contextlib
import dataclasses
import json
import os
import statistics
import subprocess
import time
from pathlib import Path

from babel_jax.suites import sandbox

LIMIT_MS = 25
PROGRAMS = {"true": ["/usr/bin/true"], "python": ["/usr/bin/python3", "-I", "-S", "-c", "pass"]}
DAEMON = ["sh", "-c", 'setsid sleep "$0" >/dev/null 2>&1 & exit 0', f"86400.{os.getpid()}"]


def seconds(run) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def bare(argv) -> None:
    subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=True)


def overhead_ms(opened, argv, n: int) -> float:
    pairs = [(seconds(lambda: bare(argv)), seconds(lambda: opened.run(argv))) for _ in range(n)]
    return 1000 * (statistics.median(inside for _, inside in pairs) - statistics.median(alone for alone, _ in pairs))


def left() -> dict[str, int]:
    """Processes that are ours: children of this one, and daemons of the programs."""
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    daemons = 0
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            daemons += DAEMON[-1].encode() in place.read_bytes()
    zombies = 0
    for place in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            zombies += place.read_text().rpartition(") ")[2].startswith("Z")
    return {
        "children": len(children),
        "daemons": daemons,
        "zombies_of_the_machine": zombies,
        "files": len(os.listdir("/proc/self/fd")),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--n", type=int, default=100)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--level", default="bubblewrap")
    size = parser.parse_args()
    with sandbox.Sandbox(size.level, workers=1) as opened:
        measured = {name: overhead_ms(opened, argv, size.n) for name, argv in PROGRAMS.items()}
        before = left()
        ran = seconds(lambda: [opened.run(DAEMON) for _ in range(size.runs)]) if size.runs else 0
        after = left()
        files = len(os.listdir(opened._directory))
        about = dataclasses.asdict(opened.describe())
    worst = max(measured.values())
    print(
        json.dumps(
            {
                "bench": "sandbox",
                "overhead_ms": round(worst, 2),
                "ratio": round(worst / LIMIT_MS, 3),
                "limit": 1,
                "n": size.n,
                "by_program_ms": {name: round(value, 2) for name, value in measured.items()},
                "left": {name: after[name] - before[name] for name in after} | {"temporary": files},
                "runs": size.runs,
                "runs_per_second": round(size.runs / ran, 1) if ran else None,
                **about,
            }
        )
    )


if __name__ == "__main__":
    main()

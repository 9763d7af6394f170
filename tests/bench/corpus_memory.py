"""Peak host memory of `corpus build` in one process on a small and a large corpus: it must hardly grow with the corpus.

    python tests/bench/corpus_memory.py [--small 30] [--large 150] [--vocab_size 4096]

Makes that many MB of source files under a temporary folder (no two alike, so that deduplication keeps all), builds a
corpus of each in a process of its own and prints one JSON line: peak resident memory in MB of both, and their ratio.
Exits with 1 if the large one needs more than 1.25 times the small one's memory. About 3 minutes on one core.
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

LARGEST_RATIO = 1.25
FILE_BYTES = 12_000


def make_sources(folder: Path, megabytes: int) -> None:
    """Files of made-up functions in 40 projects."""
    chosen = random.Random(0)
    words = ["".join(chosen.choices("etaoinshrdlu", k=chosen.randint(3, 9))) for _ in range(3000)]
    for number in range(megabytes * 1_000_000 // FILE_BYTES):
        lines, size = [], 0
        while size < FILE_BYTES:
            first, second, third = chosen.choices(words, k=3)
            lines.append(f"def {first}_{second}({third}):\n    return len({third}) + {chosen.randint(0, 99999)}\n")
            size += len(lines[-1])
        file = folder / f"project{number % 40}" / f"module{number}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("\n".join(lines))


def build(folder: Path, vocab_size: int) -> None:
    """Builds the corpus in this process and prints its peak memory in MB."""
    from babel_jax.corpus import build, manifest

    asked = manifest.of_sources({"python": [folder / "sources"]}, vocab_size=vocab_size, max_length=256)
    build.build(asked, folder / "corpus", jobs=1, progress=False)
    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, kB on Linux
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6)


def measure(megabytes: int, vocab_size: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        make_sources(Path(folder, "sources"), megabytes)
        command = [sys.executable, __file__, "--build", folder, "--vocab_size", str(vocab_size)]
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--small", type=int, default=30, help="MB (%(default)s)")
    parser.add_argument("--large", type=int, default=150, help="MB (%(default)s)")
    parser.add_argument("--vocab_size", type=int, default=4096)
    parser.add_argument("--build", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.build:
        build(options.build, options.vocab_size)
        return 0
    small, large = (measure(megabytes, options.vocab_size) for megabytes in (options.small, options.large))
    ratio = round(large / small, 3)
    peaks = {f"peak_mb_{options.small}": round(small), f"peak_mb_{options.large}": round(large)}
    print(json.dumps({"bench": "corpus_memory", "vocab_size": options.vocab_size, **peaks, "ratio": ratio}))
    return int(ratio > LARGEST_RATIO)


if __name__ == "__main__":
    sys.exit(main())

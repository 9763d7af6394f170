"""Throughput of `corpus build` on one core, with and without near duplicates, beside that of SentencePiece alone.

    python tests/bench/corpus_build.py [--source DIR] [--megabytes 30] [--vocab_size 16384]

Builds a corpus of Python files (by default those of Python's own standard library) in this process and prints one JSON
line: MB of kept source per second of processor time of all phases but the learning of the vocabulary and the call sites;
the milliseconds per MB of each phase; and the ratio to SentencePiece's own `encode` of the same files. The targets are
3 MB/s and a ratio of 0.6 without near duplicates, and 1.5 MB/s with them; exits with 1 on a miss. About two minutes.
"""

import argparse
import json
import shutil
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

import sentencepiece

from babel_jax.corpus import build, manifest, token_rows  # noqa: F401 what a worker has loaded before its first task
from babel_jax.corpus.corpus_files import Corpus
from babel_jax.corpus.phases.order import PHASES

TARGETS = {"mb_per_s": 3.0, "ratio": 0.6, "mb_per_s_near": 1.5}
COUNTED = ("clean", "select", "tokens", "rows")


def copy_sources(source: Path, target: Path, megabytes: int) -> None:
    """Copies the first so many MB of Python files, in the order of their names."""
    size = 0
    for file in sorted(source.rglob("*.py")):
        if "site-packages" not in file.parts and size < megabytes * 1e6:
            place = target / file.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, place)
            size += file.stat().st_size


def build_once(sources: Path, out: Path, vocab_size: int, near: bool) -> tuple[Corpus, dict]:
    """(the corpus, processor seconds by phase)."""
    asked = manifest.of_sources({"python": [sources]}, vocab_size=vocab_size, max_length=1024)
    clean = asked.record()["clean"] | {"near_duplicates": near}
    asked = manifest.check(asked.record() | {"clean": clean}, "bench")
    work, seconds = build.start(asked, out, []), {}
    for phase in PHASES:
        begin = time.process_time()
        build.run_tasks(work, phase, build.tasks(work, phase), jobs=1, progress=False)
        seconds[phase] = time.process_time() - begin
    return build.finish(work, out), seconds


def encode_speed(corpus: Corpus, sources: Path) -> float:
    """MB per second of processor time at which SentencePiece itself encodes the source files."""
    processor = sentencepiece.SentencePieceProcessor(model_file=str(corpus.directory / "tokenizer.model"))
    texts = [file.read_bytes().decode(errors="replace") for file in sorted(sources.rglob("*.py"))]
    begin = time.process_time()
    for text in texts:
        processor.encode(text)
    return sum(len(text.encode()) for text in texts) / 1e6 / (time.process_time() - begin)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--source", type=Path, default=Path(sysconfig.get_path("stdlib")))
    parser.add_argument("--megabytes", type=int, default=30)
    parser.add_argument("--vocab_size", type=int, default=16384)
    options = parser.parse_args()
    result = {"bench": "corpus_build"}
    with tempfile.TemporaryDirectory() as folder:
        sources = Path(folder, "sources")
        copy_sources(options.source, sources, options.megabytes)
        for name, near in (("", False), ("_near", True)):
            corpus, seconds = build_once(sources, Path(folder, f"corpus{name}"), options.vocab_size, near)
            kept = corpus.stats.languages["python"].cleaning["kept"].bytes / 1e6
            result[f"mb{name}"] = round(kept, 1)
            result[f"mb_per_s{name}"] = round(kept / sum(seconds[phase] for phase in COUNTED), 2)
            result[f"ms_per_mb{name}"] = {phase: round(1000 * seconds[phase] / kept) for phase in PHASES}
        speed = encode_speed(corpus, sources)
    result["sentencepiece_mb_per_s"] = round(speed, 2)
    result["ratio"], result["ratio_near"] = (round(result[f"mb_per_s{name}"] / speed, 3) for name in ("", "_near"))
    print(json.dumps(result))
    return int(any(result[name] < least for name, least in TARGETS.items()))


if __name__ == "__main__":
    sys.exit(main())

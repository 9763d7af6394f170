"""Precision and recall of the search for near duplicates, and what it costs.

    python tests/bench/near_duplicates.py [--sources DIR] [--threshold 0.7]

Takes Python files (by default of the standard library) and plants copies of them: 5 to 40 % of their lines replaced, a
block of lines deleted or inserted, or words changed. What is near is decided by the exact Jaccard similarity of the sets of
word runs, computed here from the texts alone. Prints one JSON line: by share of edits how many of the copies are near,
precision and recall; the cost of signatures and of the search; memory a document, at 100,000 documents.
Exits with 1 if a precision, a recall or the cost of signatures misses its target. About a minute on one core.
"""

import argparse
import json
import random
import re
import sys
import sysconfig
import time
import tracemalloc
from pathlib import Path

import numpy as np

from babel_jax.corpus import duplicates

LOWEST_PRECISION, LOWEST_RECALL, HIGHEST_COST = 0.98, 0.9, 130  # the last in ms a MB
SHARES = (5, 10, 15, 20, 25, 30, 35, 40)  # % of the lines or words
FILES, SMALLEST, LARGEST = 300, 1_000, 40_000  # bytes
DOCUMENTS = 100_000


def read_originals(folder: Path, threshold: float) -> list[str]:
    """Up to FILES texts of which none nearly copies another."""
    files = sorted(file for file in folder.rglob("*.py") if SMALLEST <= file.stat().st_size <= LARGEST)
    random.Random(0).shuffle(files)
    texts = [file.read_bytes().decode(errors="replace") for file in files[: 2 * FILES]]
    near_D = duplicates.near(duplicates.signatures(texts), lambda numbers: [texts[n] for n in numbers], threshold)
    return [text for text, other in zip(texts, near_D, strict=True) if other < 0][:FILES]


def replace_lines(chosen, lines, others, share):
    return [chosen.choice(others) if chosen.random() < share else line for line in lines]


def delete_block(chosen, lines, others, share):
    begin = chosen.randint(0, len(lines) - round(share * len(lines)))
    return lines[:begin] + lines[begin + round(share * len(lines)) :]


def insert_block(chosen, lines, others, share):
    begin, length = chosen.randint(0, len(lines)), round(share * len(lines))
    block = (others * (length // len(others) + 1))[:length]
    return lines[:begin] + block + lines[begin:]


def change_words(chosen, lines, others, share):
    words = re.findall(r"\w+", "".join(others))
    return [
        re.sub(r"\w+", lambda match: chosen.choice(words) if chosen.random() < share else match[0], line)
        for line in lines
    ]


EDITS = (replace_lines, delete_block, insert_block, change_words)


def plant(originals: list[str], share: int) -> list[str]:
    """A copy of every original by each of EDITS, with lines and words of the next original."""
    chosen = random.Random(share)
    lines = [text.splitlines(keepends=True) for text in originals]
    return [
        "".join(edit(chosen, own, others, share / 100))
        for own, others in zip(lines, lines[1:] + lines[:1], strict=True)
        for edit in EDITS
    ]


def runs(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"[A-Za-z0-9_\u0080-\U0010ffff]+", text)
    return set(zip(*(words[place:] for place in range(duplicates.SHINGLE)), strict=False))


def jaccard(first: set, second: set) -> float:
    return len(first & second) / max(1, len(first | second))


def judge(originals: list[str], share: int, threshold: float, seconds: dict) -> dict:
    """Counts of the copies: all, near, found, rightly found, and near and found."""
    texts = originals + plant(originals, share)
    begun = time.process_time()
    signature_DxP = duplicates.signatures(texts)
    signed = time.process_time()
    near_D = duplicates.near(signature_DxP, lambda numbers: [texts[n] for n in numbers], threshold)
    seconds["signatures"] += signed - begun
    seconds["near"] += time.process_time() - signed
    seconds["megabytes"] += sum(len(text.encode()) for text in texts) / 1e6
    sets = [runs(text) for text in texts]
    counts = dict.fromkeys(("copies", "near", "found", "right", "near_and_found"), 0)
    for copy in range(len(originals), len(texts)):
        other = near_D[copy]
        is_near = jaccard(sets[copy], sets[(copy - len(originals)) // len(EDITS)]) >= threshold
        counts["copies"] += 1
        counts["near"] += is_near
        counts["found"] += other >= 0
        counts["right"] += other >= 0 and jaccard(sets[copy], sets[other]) >= threshold
        counts["near_and_found"] += is_near and other >= 0
    return counts


def rates(counts: dict) -> dict:
    return {
        "copies": counts["copies"],
        "near": counts["near"],
        "precision": round(counts["right"] / max(1, counts["found"]), 4),
        "recall": round(counts["near_and_found"] / max(1, counts["near"]), 4),
    }


def measure_memory(threshold: float) -> int:
    """Bytes a document that the search needs beside the signatures; a fifth of the documents are near copies."""
    chosen = np.random.default_rng(0)
    signature_DxP = chosen.integers(2**32 - 1, size=(DOCUMENTS, duplicates.PERMUTATIONS), dtype=np.uint32)
    signature_DxP[-DOCUMENTS // 5 :, 4:] = signature_DxP[: DOCUMENTS // 5, 4:]
    tracemalloc.start()
    duplicates.near(signature_DxP, lambda numbers: [""] * len(numbers), threshold)
    return round(tracemalloc.get_traced_memory()[1] / DOCUMENTS)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--sources", type=Path, default=Path(sysconfig.get_path("stdlib")), help="folder of Python files"
    )
    parser.add_argument("--threshold", type=float, default=0.7)
    options = parser.parse_args()
    originals = read_originals(options.sources, options.threshold)
    seconds = dict.fromkeys(("signatures", "near", "megabytes"), 0)
    counts = {share: judge(originals, share, options.threshold, seconds) for share in SHARES}
    levels = {f"{share}%": rates(level) for share, level in counts.items()}
    overall = rates({name: sum(level[name] for level in counts.values()) for name in counts[SHARES[0]]})
    cost = {name: round(1000 * seconds[name] / seconds["megabytes"], 1) for name in ("signatures", "near")}
    memory = {"signature": 4 * duplicates.PERMUTATIONS, "near": measure_memory(options.threshold)}
    report = {"bench": "near_duplicates", "threshold": options.threshold, **overall, "levels": levels}
    targets = {"precision": LOWEST_PRECISION, "recall": LOWEST_RECALL, "signatures_ms_per_mb": HIGHEST_COST}
    print(json.dumps({**report, "ms_per_mb": cost, "bytes_per_document": memory, "targets": targets}))
    judged = [overall, *(level for level in levels.values() if level["near"])]
    is_good = all(level["precision"] >= LOWEST_PRECISION and level["recall"] >= LOWEST_RECALL for level in judged)
    return int(not is_good or cost["signatures"] > HIGHEST_COST)


if __name__ == "__main__":
    sys.exit(main())

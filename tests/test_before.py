"""What the version before wrote is still read: a small corpus, a mixture file, and two folders of results.

`tests/before/corpus_and_results.tar.gz` was made by babel_jax at commit ac71c6d (2026-11-30), before the change of issue 16 that
put types in the place of keyed tables, with these commands (PY and PHP: 12 folders of two generated files each):

  corpus build --source=python=PY --source=php=PHP --vocab_size=400 --max_length=32 --out=corpus
  corpus mix corpus --policy=shares --shares=python=2,php=1 --tokens=30000 --max_epochs=4 --out=mixture.json
  evaluate --suite=mxeval:tests/suites/mxeval --solutions --out=solutions
  evaluate --suite=mxeval:tests/suites/mxeval --completions=completions.jsonl --samples=2 --k=1,2 --out=completions

completions.jsonl holds each reference solution as the first sample of its problem, and it or a broken one as the second.
"""

import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

import babel_jax
from babel_jax import mixtures
from babel_jax.corpus import build
from babel_jax.corpus.material import material
from babel_jax.evaluation import problems, results

BEFORE = Path(__file__).with_name("before") / "corpus_and_results.tar.gz"
SUITE = Path(__file__).with_name("suites") / "mxeval"


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    folder = tmp_path_factory.mktemp("before")
    with tarfile.open(BEFORE) as archive:
        archive.extractall(folder, filter="data")
    return folder


def test_a_corpus_is_verified_counted_and_opened_as_material(before):
    corpus = build.load(before / "corpus")
    assert build.verify(before / "corpus") == []
    assert corpus.manifest["content"] == "cd58b9e8e454aecd"
    opened = material(str(before / "corpus"), "python", "php", 4, 16)
    assert (opened.vocab_size, opened.max_length, opened.frozen_rows) == (400, 32, 0)
    assert opened.fingerprint == "0b88042b95595fd5"
    assert {name: len(rows) for name, rows in opened.sources.items()} == {"python": 144, "php": 162}
    assert {name: len(slots["pair"]) for name, slots in opened.slots.items()} == {"python": 5, "php": 11}


def run(*arguments) -> str:
    command = [sys.executable, "-m", "babel_jax", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(babel_jax.__file__).parents[1])
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_verb_corpus_reads_it(before, tmp_path):
    assert "train: 23 files" in run("corpus", "stats", before / "corpus")
    assert "every file is as it was built" in run("corpus", "verify", before / "corpus")
    mixed = tmp_path / "mixture.json"
    given = ("--policy=shares", "--shares=python=2,php=1", "--tokens=30000", "--max_epochs=4", f"--out={mixed}")
    run("corpus", "mix", before / "corpus", *given)
    old, new = (json.loads(path.read_text()) for path in (before / "mixture.json", mixed))
    for content in (old, new):
        content["made"].pop("corpus")  # where it stood
    assert new == old


def test_a_mixture_file_is_read(before):
    found = mixtures.read(before / "mixture.json")
    assert found["tokens"] == 30000 and found["sources"]["php"]["epochs"] == 2.2315


def test_results_are_summed_up_and_compared(before, tmp_path):
    folder = shutil.copytree(before, tmp_path / "copy")  # `compared` writes beside what it compares
    assert "macro_pass@2" in results.summary(folder / "completions")
    suites = [problems.load(f"mxeval:{SUITE}")]
    said = results.compared(folder / "completions", folder / "solutions", suites)
    assert "McNemar p" in said and "humaneval" in said
    rows = json.loads((folder / "completions" / "against.json").read_text())["rows"]
    (one,) = [row for row in rows if (row["suite"], row["language"], row["subset"]) == ("mbxp", "python", "all")]
    assert (one["n"], one["only_first"], one["only_second"]) == (7, 2, 0)

"""What the version before wrote is still read: a small corpus, a mixture file, two folders of results, and a small study.

`tests/before/corpus_and_results.tar.gz` was made by babel_jax at commit ac71c6d (2026-11-30), the last version before
records took the place of keyed tables, with these commands (PY and PHP: 12 folders of two generated files each):

  corpus build --source=python=PY --source=php=PHP --vocab_size=400 --max_length=32 --out=corpus
  corpus mix corpus --policy=shares --shares=python=2,php=1 --tokens=30000 --max_epochs=4 --out=mixture.json
  evaluate --suite=mxeval:tests/samples/mxeval --solutions --out=solutions
  evaluate --suite=mxeval:tests/samples/mxeval --completions=completions.jsonl --samples=2 --k=1,2 --out=completions

completions.jsonl holds each reference solution as the first sample of its problem, and it or a broken one as the second.

`tests/before/study.tar.gz` was made by the same version from tests/before/study.py, with the preset "test" of tests/helpers:

  study --config=tests/before/study.py --workdir=study --jobs=1
  probe --checkpoints study/seed0/continual --out=probed
  optimize --workdir=study --source=loss --out=optimized.json

Of its checkpoints three are kept, of its report summary.json alone; event files and throughput are left out. summary.json was
made anew when reports came to say whether the primary was learned, what tasks and laws of the loss give, and counted functional
neurons relative to step 0; what else it says is as the version before said it.
"""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import helpers  # its model preset "test"
import numpy as np
import pytest
from helpers import ROOT
from helpers.corpora import contents

import babel_jax
from babel_jax.__main__ import main
from babel_jax.common import files, measurements
from babel_jax.common.errors import UserError
from babel_jax.corpus import corpus_files, mixture_files, verify
from babel_jax.corpus.corpus_material import material
from babel_jax.study.claim import NOT_TESTED
from babel_jax.suites import results, suite_files

pytestmark = pytest.mark.long

FOLDER = ROOT / "tests" / "before"
SUITE = ROOT / "tests" / "samples" / "mxeval"


def unpacked(name: str, folder: Path) -> Path:
    shutil.unpack_archive(FOLDER / f"{name}.tar.gz", folder)
    return folder


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    return unpacked("corpus_and_results", tmp_path_factory.mktemp("before"))


def test_a_corpus_is_verified_counted_and_opened_as_material(before, monkeypatch):
    """Prompts of a single pair of built-ins are too few for a study, which the version before did not say."""
    with pytest.raises(UserError, match="that takes those of at least 2 pairs of their built-ins"):
        material(str(before / "corpus"), "python", "php", 4, 16)
    monkeypatch.setattr(corpus_files, "FEWEST_PAIRS", 1)
    corpus = corpus_files.load(before / "corpus")
    assert verify.faults(before / "corpus") == []
    assert corpus.manifest.content == "cd58b9e8e454aecd"
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


@pytest.mark.processes
def test_the_verb_corpus_reads_it(before, tmp_path):
    assert "train: 23 files" in run("corpus", "stats", before / "corpus")
    assert "every file is as it was built" in run("corpus", "verify", before / "corpus")
    mixed = tmp_path / "mixture.json"
    options = ("--policy=shares", "--shares=python=2,php=1", "--tokens=30000", "--max_epochs=4", f"--out={mixed}")
    run("corpus", "mix", before / "corpus", *options)
    old, new = (json.loads(path.read_text()) for path in (before / "mixture.json", mixed))
    for content in (old, new):
        content["made"].pop("corpus")  # where it stood
    assert new == old


def test_a_mixture_file_is_read(before):
    mixture = mixture_files.read(before / "mixture.json")
    assert mixture.tokens == 30000 and mixture.sources["php"].epochs == 2.2315


def test_results_are_summarised_and_compared(before, tmp_path):
    folder = shutil.copytree(before, tmp_path / "copy")  # `compared` writes beside what it compares
    assert "macro_pass@2" in results.summary(folder / "completions")
    suites = [suite_files.load(f"mxeval:{SUITE}")]
    report = results.compared(folder / "completions", folder / "solutions", suites)
    assert "McNemar p" in report and "humaneval" in report
    rows = json.loads((folder / "completions" / "against.json").read_text())["rows"]
    (one,) = [row for row in rows if (row["suite"], row["language"], row["subset"]) == ("mbxp", "python", "all")]
    assert (one["n"], one["only_first"], one["only_second"]) == (7, 2, 0)


# --- a study --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def story(tmp_path):
    assert helpers.PRESETS["test"]
    return unpacked("study", tmp_path)


def verb(*arguments) -> None:
    assert main(list(map(str, arguments))) == 0


def summary_of(workdir: Path) -> dict:
    """Without what changes from run to run, and without the wording of verdicts: of `number`, the figures in it."""
    summary = json.loads((workdir / "report" / "summary.json").read_text())
    verdicts = [
        {key: row.get(key) for key in ("name", "verdict", "language")}
        | {"number": re.findall(r"\d[\d.]*", row["number"])}
        for row in summary["verdicts"]
    ]
    kept = {name: value for name, value in summary.items() if name not in ("wall_seconds", "versions")}
    return kept | {"verdicts": verdicts}


def as_judged_now(summary: dict) -> dict:
    """Other pairs' identifiers were not read then, without which the working language is not tested now."""
    verdicts = [
        row | {"verdict": NOT_TESTED} if row["name"] == "working_language" else row for row in summary["verdicts"]
    ]
    return summary | {"verdicts": verdicts}


def unequal(old, new) -> list[tuple]:
    """What differs in two JSON values beyond the last digits, in which machines differ."""

    def close(a, b) -> bool:
        if isinstance(a, list) and isinstance(b, list):
            return len(a) == len(b) and all(map(close, a, b))
        if isinstance(a, dict) and isinstance(b, dict):
            return a.keys() == b.keys() and all(close(a[key], b[key]) for key in a)
        return a == b or (isinstance(a, float) and isinstance(b, float) and a == pytest.approx(b, rel=1e-9, abs=1e-12))

    return [(name, a, b) for name, a, b in files.differences(old, new) if not close(a, b)]


def test_its_report_says_the_same(story):
    wanted = as_judged_now(summary_of(story / "study"))
    verb("report", f"--workdir={story}/study")
    assert unequal(wanted, summary_of(story / "study")) == []
    assert wanted["languages"]["php"]["accuracy"]["peak"]["value"] == 0.45


def test_a_study_that_is_done_is_not_done_again(story, capsys):
    wanted, before = as_judged_now(summary_of(story / "study")), contents(story / "study" / "seed0", "[!.]*")
    verb("study", f"--config={FOLDER}/study.py", f"--workdir={story}/study", "--jobs=1")
    assert contents(story / "study" / "seed0", "[!.]*") == before
    assert unequal(wanted, summary_of(story / "study")) == []
    printed = capsys.readouterr().out
    assert "accuracy: start, peak, end" in printed and "report/index.html" in printed


def test_its_corpus_is_proposed_again(story):
    verb("optimize", f"--workdir={story}/study", "--source=loss", f"--out={story}/again.json")
    old, new = (json.loads((story / name).read_text()) for name in ("optimized.json", "again.json"))
    assert unequal(old, new) == []


KEYS = ["step", "probe", "language", "layer", "metric", "item", "options"]


def check_values(old, new) -> None:
    """Counts exactly; sums of floats up to their rounding, which is another on another machine. Metrics may go or come."""
    old, new = (frame.set_index(KEYS).sort_index() for frame in (old, new))
    both = old.index.intersection(new.index)
    assert len(both) > 100 and {"loss", "loss_knowledge"} <= set(both.get_level_values("metric"))
    old, new = old.loc[both], new.loc[both]
    assert (old[["run", "seed", "tokens"]] == new[["run", "seed", "tokens"]]).all(axis=None)
    counted = both.get_level_values("probe") != "drift"  # of which `n` is all neurons now, in a study and in `probe`
    assert (old["n"] == new["n"])[counted].all()
    for column in ("value", "ci_low", "ci_high"):
        np.testing.assert_allclose(new[column], old[column], rtol=1e-4, atol=1e-6, err_msg=column)
    whole = old["value"] == old["value"].round()  # counts, and what is solved
    assert whole.any() and (old["value"][whole] == new["value"][whole]).all()


def test_its_checkpoints_are_probed_with_the_same_values(story):
    verb("probe", "--checkpoints", story / "study" / "seed0" / "continual", f"--out={story}/again")
    check_values(measurements.read(story / "probed"), measurements.read(story / "again"))


def test_its_counters_are_used_again(story):
    """The checkpoints' passes are not made again: `probe` into the folder that the version before has filled."""
    before = contents(story / "probed", "[!.]*")
    verb("probe", "--checkpoints", story / "study" / "seed0" / "continual", f"--out={story}/probed")
    after = contents(story / "probed", "[!.]*")
    kept = [name for name in before if name.endswith(".npz")]
    assert len(kept) == 2 and all(after[name] == before[name] for name in kept)


def test_a_run_goes_on_from_its_checkpoint(story):
    """From step 16 on, with the optimiser's state and the data's place; what is logged and measured then is as before."""
    run_dir = story / "study" / "seed0" / "continual"
    log, table = run_dir / "metrics.jsonl", run_dir / "measurements" / "step_00000192.parquet"
    logged, measured = log.read_text().splitlines(), measurements.read(table)
    for path in (table, run_dir / "DONE", run_dir / "MEASURED"):
        path.unlink()
    shutil.rmtree(run_dir / "checkpoints" / "192")
    verb("train", f"--config={FOLDER}/study.py", f"--workdir={story}/study", "--run=continual", "--seed=0")
    old, new = ([json.loads(line) for line in lines] for lines in (logged, log.read_text().splitlines()))
    assert [row["step"] for row in new] == [row["step"] for row in old] and old[-1]["step"] == 192
    np.testing.assert_allclose([row["loss"] for row in new], [row["loss"] for row in old], rtol=1e-3)
    check_values(measured, measurements.read(table))

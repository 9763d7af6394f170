"""Duplicates, caps and splits of a language."""

import json
import shutil
import subprocess
import time
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
from helpers.corpora import QUIET, asked, contents, in_another_process, kill, make, write_projects

from babel_jax.corpus import build as corpus_build
from babel_jax.corpus import build_folder, manifest, verify
from babel_jax.corpus.phases import select_documents


def test_no_project_stands_on_both_sides(built):
    """Whole projects are held out; one that is too large for that (python's project0) is divided into its files."""
    for language, stats in built.stats.languages.items():
        index = pq.read_table(built.directory / "documents" / f"{language}.parquet").to_pylist()
        splits = {
            split: {row["project"] for row in index if row["split"] == split} for split in ("train", "validation")
        }
        assert splits["validation"] == set(stats.projects.validation)
        assert not splits["train"] & splits["validation"]
        assert all(row["path"].startswith(row["project"]) for row in index)
        folders = [project for project in splits["validation"] if "." not in project]
        assert folders and all(sum(row["project"] == project for row in index) == 3 for project in folders)
        held_out = [document.path for document in built.heldout(language)]
        assert held_out == [row["path"] for row in index if row["split"] == "validation"]
        assert 0.02 < stats.validation.bytes / stats.cleaning["kept"].bytes < 0.1
        assert stats.train.documents + stats.validation.documents == len(index)
        assert sum(stats.of(split).bytes for split in splits) == stats.cleaning["kept"].bytes


def test_projects_that_a_source_names_are_not_divided(tmp_path):
    write_projects(tmp_path / "py", ".py", "    {a} = len({a}) + {n}\n")
    lines = [
        json.dumps({"content": file.read_text(), "path": f"{i}.py", "repo": f"someone/{i % 20}"})
        for i, file in enumerate(sorted((tmp_path / "py").rglob("*.py")))
    ]
    (tmp_path / "files.jsonl").write_text("\n".join(lines))
    source = {"path": str(tmp_path / "files.jsonl"), "columns": {"path": "path", "project": "repo"}}
    raw = {"vocab_size": 420, "max_length": 32, "languages": {"python": {"sources": [source]}}}
    corpus = corpus_build.build(manifest.check(raw, "test"), tmp_path / "corpus", **QUIET)
    (held_out,) = corpus.stats.languages["python"].projects.validation
    assert held_out.startswith("someone/")
    assert {document.project for document in corpus.heldout("python")} == {held_out}
    assert verify.faults(corpus.directory) == []


def test_a_cap_draws_documents_evenly(folders, tmp_path):
    languages = asked(folders).record()["languages"]
    corpus = make(
        folders, tmp_path / "corpus", languages=languages | {"php": languages["php"] | {"max_megabytes": 0.02}}
    )
    whole, capped = (corpus.stats.languages[name].cleaning for name in ("python", "php"))
    assert whole["cap"].files == 0
    assert 18_000 < capped["kept"].bytes <= 20_000
    assert capped["cap"].files + capped["kept"].files == 72
    index = pq.read_table(tmp_path / "corpus" / "documents" / "php.parquet")
    assert len({path.split("/")[1] for path in index["path"].to_pylist()}) > 14  # not the first projects alone


BY_DATATROVE = {"near_duplicates": {"threshold": 0.7, "by": "datatrove"}}


@pytest.mark.processes
def test_datatroves_processes_die_with_a_build(folders, tmp_path):
    """And do not hold its lock."""
    slow = "duplicates._Reader.__call__ = lambda *_: __import__('time').sleep(100)"
    command, environment = in_another_process(folders, tmp_path / "corpus", slow, clean=BY_DATATROVE)
    process, work = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL), tmp_path / ".corpus.partial"
    while not list(work.glob("select/*/logs/signatures/logs/*")) and process.poll() is None:
        time.sleep(0.05)
    assert len(kill(process)) >= 3
    with build_folder.locked(work):
        pass


@pytest.mark.processes
def test_datatrove_finds_what_the_usual_way_finds_even_after_a_kill(built, folders, tmp_path, monkeypatch):
    """Killed while its files are removed: its logs, by which it knows what is done, must not outlive them."""
    remove = shutil.rmtree

    def killed(folder, **options):
        if folder.name.endswith(".datatrove"):
            remove(folder / "clusters")
            raise KeyboardInterrupt
        remove(folder, **options)

    monkeypatch.setattr(select_documents, "shutil", SimpleNamespace(rmtree=killed))
    with pytest.raises(KeyboardInterrupt):
        make(folders, tmp_path / "corpus", clean=BY_DATATROVE)
    monkeypatch.undo()
    corpus = make(folders, tmp_path / "corpus", clean=BY_DATATROVE)
    assert corpus.stats.languages == built.stats.languages
    assert contents(corpus.directory / "rows") == contents(built.directory / "rows")

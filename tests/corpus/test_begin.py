"""How a build begins beside, or on top of, what is there already."""

import shutil

import pytest
from helpers.corpora import BENCHMARKS, asked, contents, make, write_projects

from babel_jax.common.errors import UserError
from babel_jax.corpus import begin
from babel_jax.corpus import build as corpus_build


def test_another_manifest_begins_anew(built, folders, tmp_path, capsys):
    out, benchmarks = tmp_path / "corpus", BENCHMARKS
    work = corpus_build.start(asked(folders, max_length=64), out, benchmarks)
    corpus_build.run_tasks(work, "clean", corpus_build.tasks(work, "clean"), 1, progress=False)
    assert "begins anew" not in capsys.readouterr().err
    corpus = make(folders, out)
    assert "begins anew" in capsys.readouterr().err
    assert contents(corpus.directory) == contents(built.directory)


def test_a_second_build_finds_the_first_and_refuses_another(built, folders, tmp_path, monkeypatch):
    monkeypatch.setattr(begin, "begin", None)  # must not be called
    left = built.directory.parent / f".{built.directory.name}.partial"
    left.mkdir()
    assert make(folders, built.directory).manifest == built.manifest
    assert not left.exists()
    with pytest.raises(UserError, match=r"holds another corpus \(it differs in settings.max_length\)"):
        make(folders, built.directory, max_length=64)
    with pytest.raises(UserError, match=r"it differs in settings.clean.decontaminate"):
        make(folders, built.directory, benchmarks=[("own/1 solution", "def other(): pass")])
    with pytest.raises(UserError, match="the order of the languages"):
        make(dict(reversed(folders.items())), built.directory)
    write_projects(tmp_path / "py", ".py", "    {a} = {n}\n", files=1)
    with pytest.raises(UserError, match=r"it differs in inputs\.python\.py\.files"):
        make(folders | {"python": [tmp_path / "py"]}, built.directory)


def test_sources_that_were_moved_are_found_again(built, folders, tmp_path):
    """Where they stand is no part of a build: what is done stays done, the rest is read where they are now."""
    old, new = tmp_path / "old", tmp_path / "new"
    shutil.copytree(folders["python"][0].parent, old)
    work = corpus_build.start(asked({"python": [old / "py"], "php": [old / "ph"]}), tmp_path / "corpus", BENCHMARKS)
    corpus_build.run_task(work, "clean", "python-00000")
    done = (work / "clean" / "python-00000.json").stat().st_mtime_ns
    old.rename(new)
    moved = asked({"python": [new / "py"], "php": [new / "ph"]})
    assert corpus_build.start(moved, tmp_path / "corpus", BENCHMARKS) == work
    assert (work / "clean" / "python-00000.json").stat().st_mtime_ns == done
    for task in corpus_build.tasks(work, "clean"):
        corpus_build.run_task(work, "clean", task)


def test_a_build_of_another_version_begins_anew(folders, tmp_path, monkeypatch):
    work = corpus_build.start(asked(folders), tmp_path / "corpus", BENCHMARKS)
    corpus_build.run_task(work, "clean", "python-00000")
    monkeypatch.setattr(begin.babel_jax, "__version__", "next")
    corpus_build.start(asked(folders), tmp_path / "corpus", BENCHMARKS)
    assert not (work / "clean").exists()

"""corpus/beam.py: the local runner of Apache Beam makes the corpus that a plain build makes."""

import importlib.util
import sys

import pytest
from helpers.corpora import contents, write_sources

from babel_jax.common.errors import UserError
from babel_jax.corpus import beam, build

needs_beam = pytest.mark.skipif(
    importlib.util.find_spec("apache_beam") is None,
    reason="Apache Beam is not installed (pip install apache-beam==2.77.0): no corpus was built by it",
)
OPTIONS = ["--runner=BundleBasedDirectRunner"]  # in this process


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    return write_sources(tmp_path_factory.mktemp("sources"))


@needs_beam
def test_beam_builds_the_same_corpus(asked, tmp_path):
    """And goes on where another build stopped: the first two phases are done without Beam, in part."""
    plain = build.build(asked, tmp_path / "plain", jobs=1, progress=False)
    work = build.start(asked, tmp_path / "beam", [])
    build.run_task(work, "clean", build.tasks(work, "clean")[0])
    corpus = beam.build(asked, tmp_path / "beam", options=OPTIONS)
    assert contents(corpus.directory) == contents(plain.directory)
    assert {path.name for path in tmp_path.iterdir()} == {"plain", "beam"}
    assert beam.build(asked, tmp_path / "beam", options=OPTIONS).directory == corpus.directory  # it is there


@needs_beam
def test_mistakes_of_tasks_are_reported(asked, tmp_path, monkeypatch):
    """What users can mend in a task comes back as it is, once the others are done; anything else is a bug and ends it."""
    work = build.start(asked, tmp_path / "corpus", [])
    done, first, *_ = build.tasks(work, "clean")
    (work / "pieces" / f"{first}.json").rename(work / "pieces" / "lost")
    with pytest.raises(UserError, match=f"{first}.json"):
        beam.run(work, "clean", OPTIONS)
    with pytest.raises(UserError, match="1 tasks of the phase clean are still to be done"):
        beam.run(work, "select", OPTIONS)
    (work / "pieces" / "lost").rename(work / "pieces" / f"{first}.json")

    def broken(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(build, "run_task", broken)
    with pytest.raises(Exception, match="ZeroDivisionError|division"):
        beam.run(work, "clean", OPTIONS)


def test_without_beam(asked, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(UserError, match="Apache Beam cannot be imported .*pip install apache-beam"):
        beam.build(asked, tmp_path / "corpus")
    assert not list(tmp_path.iterdir())

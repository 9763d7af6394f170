"""The lock of a build's folder."""

import pytest
from helpers.corpora import BENCHMARKS, asked, make

from babel_jax.common.errors import UserError
from babel_jax.corpus import build as corpus_build
from babel_jax.corpus import build_folder


def test_two_builds_at_once_are_refused(folders, tmp_path):
    work = corpus_build.start(asked(folders), tmp_path / "corpus", BENCHMARKS)
    with build_folder.shared_work(work), build_folder.shared_work(work):  # shards do not mind each other
        with pytest.raises(UserError, match="another build is at work in"):
            make(folders, tmp_path / "corpus")
        with pytest.raises(UserError, match="another build is at work in"):  # its plan would be removed
            corpus_build.start(asked(folders, max_length=64), tmp_path / "corpus", BENCHMARKS)

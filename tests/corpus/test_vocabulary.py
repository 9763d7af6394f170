"""The tokenizer of a corpus."""

import numpy as np
from helpers.corpora import make

from babel_jax.corpus.phases import vocabulary


def test_a_tokenizer_of_ones_own(built, folders, tmp_path):
    given = built.directory / "tokenizer.model"
    corpus = make(folders, tmp_path / "corpus", tokenizer=str(given), vocab_size=None, max_length=16)
    assert corpus.tokenizer.sha == built.tokenizer.sha
    assert corpus.validation["php"].rows([0]).shape == (1, 17)


def test_sample_is_bounded_and_spread():
    size_N = np.full(1000, 100)
    taken = np.flatnonzero(vocabulary._sample(size_N, 10_000))
    assert 90 <= len(taken) <= 100
    assert np.ptp(taken) > 950
    assert vocabulary._sample(size_N[:10], 10_000).all()

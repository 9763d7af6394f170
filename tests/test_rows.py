import inspect
import sys
import textwrap

import numpy as np
import pytest

from babel_jax.corpus import rows, tokenizer
from babel_jax.errors import UserError

TEXT = inspect.getsource(textwrap)


@pytest.fixture(scope="module")
def trained():
    return tokenizer.train([TEXT], 350)


def token_file(path, trained, texts):
    file = rows.TokenFile(path, trained)
    for text in texts:
        file.append(text)
    file.close()
    return file


def test_rows_are_the_documents_one_after_another(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "ROWS_PER_SHARD", 16)  # several shards
    texts = [TEXT[start : start + 500] for start in range(0, 4000, 500)]
    splits = {
        "train": token_file(tmp_path / "train", trained, texts),
        "validation": token_file(tmp_path / "validation", trained, texts[:1]),
    }
    written = []
    number = rows.write(tmp_path / "rows", "python", splits, 33, written.append)
    read = rows.read(tmp_path / "rows", "python")
    stream = np.concatenate([np.append(trained.encode(text), trained.document_end) for text in texts])
    expected = stream[: len(stream) // 33 * 33].reshape(-1, 33)
    assert {split: len(source) for split, source in read.items()} == number
    assert sum(written) == sum(number.values()) and len(written) > 2
    np.testing.assert_array_equal(read["train"].rows(range(len(expected))), expected)
    shuffled = np.random.default_rng(0).permutation(len(expected))
    found = read["train"].rows(shuffled)
    np.testing.assert_array_equal(found, expected[shuffled])
    assert found.dtype == np.int32
    assert read["train"].rows([]).shape == (0, 33)
    with pytest.raises(ValueError, match="num_records"):
        read["train"].rows([len(expected)])
    assert "tensorflow" not in sys.modules


def test_two_bytes_a_token_where_they_suffice():
    assert rows.token_dtype(1 << 16).itemsize == 2
    assert rows.token_dtype((1 << 16) + 1).itemsize == 4


def test_errors_say_what_to_do(trained, tmp_path):
    short = token_file(tmp_path / "train", trained, ["a"])
    with pytest.raises(UserError, match="the train split of python has .* less than one row of 33; give more files"):
        rows.write(tmp_path / "rows", "python", {"train": short}, 33)
    with pytest.raises(UserError, match="cannot read token rows"):
        rows.read(tmp_path / "nowhere", "python")

import hashlib
import inspect
import resource
import sys
import textwrap

import numpy as np
import pytest
import tensorflow_datasets as tfds
from helpers import byte_level, python
from helpers.corpora import write_rows

from babel_jax.common.errors import UserError
from babel_jax.corpus import token_rows, tokenizer

TEXT = inspect.getsource(textwrap)
MARKS = "end = '<|endoftext|></s>'  # <s> <pad>\n"
DTYPE = np.dtype(np.uint16)


@pytest.fixture(scope="module")
def trained():
    return tokenizer.train([TEXT], 350)


def token_file(path, trained, texts):
    with token_rows.TokenFile(path, trained) as file:
        for text in texts:
            file.append(text)
    return path, file.tokens


def digests(directory):
    return {
        str(file.relative_to(directory)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in directory.rglob("*")
        if file.is_file()
    }


def test_rows_are_the_documents_one_after_another(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(token_rows, "ROWS_PER_SHARD", 16)  # several shards
    monkeypatch.setattr(token_rows, "ROWS_AT_ONCE", 5)
    texts = [TEXT[start : start + 500] for start in range(0, 4000, 500)]
    files = [
        token_file(tmp_path / "first", trained, texts[:3]),
        token_file(tmp_path / "none", trained, []),
        token_file(tmp_path / "short", trained, ["x"]),
        token_file(tmp_path / "last", trained, texts[3:]),
    ]
    number, shards = write_rows(tmp_path / "rows", files, 33, DTYPE)
    read = token_rows.read(tmp_path / "rows", "python")
    stream = np.concatenate(
        [np.append(trained.encode(text), trained.document_end) for text in [*texts[:3], "x", *texts[3:]]]
    )
    expected = stream[: len(stream) // 33 * 33].reshape(-1, 33)
    assert shards > 2 and len(expected) % 16  # the last shard is shorter
    assert {split: len(source) for split, source in read.items()} == {"train": number, "validation": number}
    for source in read.values():
        np.testing.assert_array_equal(source.rows(range(len(expected))), expected)
    shuffled = np.random.default_rng(0).permutation(len(expected))
    rows = read["train"].rows(shuffled)
    np.testing.assert_array_equal(rows, expected[shuffled])
    assert rows.dtype == np.int32
    assert read["train"].rows([]).shape == (0, 33)
    with pytest.raises(ValueError, match="num_records"):
        read["train"].rows([len(expected)])
    assert tfds.builder("token_rows/python", data_dir=tmp_path / "rows").info.splits["train"].num_examples == number
    assert "tensorflow" not in sys.modules


@pytest.mark.parametrize("kind", ["sentencepiece", "huggingface"])
def test_boundaries_are_those_of_the_documents_whatever_stands_in_them(trained, tmp_path, kind):
    if kind == "huggingface":
        (tmp_path / "tokenizer.json").write_text(byte_level([TEXT], 400).to_str())
        trained = tokenizer.load(tmp_path)
    texts = [MARKS, "", "\n\n", MARKS * 3 + "é漢🙂", TEXT, "</s>", "<|endoftext|>"]
    path, tokens = token_file(tmp_path / "tokens", trained, texts)
    ids = np.fromfile(path, DTYPE)
    assert len(ids) == tokens
    ends = np.flatnonzero(ids == trained.document_end)
    assert [trained.decode(part) for part in np.split(ids, ends)[:-1]] == texts  # the marks themselves are no text


def test_a_tokenizer_that_loses_or_ends_a_text_is_noticed(trained, tmp_path):
    class Wrong(tokenizer.SentencePiece):
        answer = None

        def encode(self, text):
            return self.answer

    wrong = Wrong(trained.content)
    with token_rows.TokenFile(tmp_path / "tokens", wrong) as file:
        for wrong.answer in (trained.encode("abc"), np.append(trained.encode("abcd"), trained.document_end)):
            with pytest.raises(UserError, match="does not give back the text 'abcd'"):
                file.append("abcd")
    assert file.tokens == 0 and not (tmp_path / "tokens").read_bytes()


@pytest.mark.processes
def test_bytes_do_not_depend_on_who_writes_what_when(tmp_path, monkeypatch):
    monkeypatch.setattr(token_rows, "ROWS_PER_SHARD", 300)
    tokens = np.random.default_rng(0).integers(0, 60_000, 50_000).astype(DTYPE)
    for part in (tokens[:20_000], tokens[20_000:]):
        part.tofile(tmp_path / str(len(part)))
    files = [(tmp_path / "20000", 20_000), (tmp_path / "30000", 30_000)]
    _, shards = write_rows(tmp_path / "one", files, 65, DTYPE)
    assert shards == 3
    code = f"""
import pathlib, numpy as np
from babel_jax.corpus import token_rows
from helpers.corpora import write_rows
token_rows.ROWS_PER_SHARD, token_rows.ROWS_AT_ONCE = 300, 7
place = pathlib.Path({str(tmp_path)!r})
write_rows(place / "two", [(place / "20000", 20_000), (place / "30000", 30_000)], 65, dtype=np.dtype(np.uint16), order=list)
"""
    done = python("-c", code)
    assert not done.returncode, done.stderr
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    assert len(digests(tmp_path / "one")) == 2 * shards + 2


def test_numbers_of_rows_and_shards():
    size = token_rows.ROWS_PER_SHARD
    assert token_rows.count(9, 10) == (0, 0)
    assert token_rows.count(size * 10 + 9, 10) == (size, 1)
    assert token_rows.count(size * 10 + 10, 10) == (size + 1, 2)


def test_two_bytes_a_token_where_they_suffice(tmp_path):
    assert token_rows.token_dtype(1 << 16).itemsize == 2
    wide = token_rows.token_dtype((1 << 16) + 1)
    assert wide.itemsize == 4
    tokens = np.array([70_000, 1 << 16, 3, 2**31 - 1], wide)
    tokens.tofile(tmp_path / "tokens")
    write_rows(tmp_path / "rows", [(tmp_path / "tokens", 4)], 2, wide)
    np.testing.assert_array_equal(
        token_rows.read(tmp_path / "rows", "python")["train"].rows([1, 0])[::-1].ravel(), tokens
    )


def test_a_full_disk_leaves_nothing_half_written(tmp_path):
    np.random.default_rng(0).integers(0, 60_000, 400_000).astype(DTYPE).tofile(tmp_path / "tokens")
    files, target = [(tmp_path / "tokens", 400_000)], tmp_path / "rows" / "shard"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"write\(\) failed"):
            token_rows.write_shard(target, files, DTYPE, 0, 4000, 100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(target.parent.iterdir())
    token_rows.write_shard(target, files, DTYPE, 0, 4000, 100)
    assert [file.name for file in target.parent.iterdir()] == ["shard"]


def test_errors_say_what_to_do(trained, tmp_path):
    with pytest.raises(UserError, match="cannot read token rows"):
        token_rows.read(tmp_path / "nowhere", "python")
    path, tokens = token_file(tmp_path / "tokens", trained, [TEXT])
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match="50 tokens are missing in the files of .*; build the corpus again"):
        token_rows.write_shard(tmp_path / "shard", [(path, tokens)], DTYPE, 0, tokens, 1)
    assert not (tmp_path / "shard").exists()


def test_ids_that_the_disk_does_not_take_are_an_error(trained, tmp_path):
    """Not one of them may be lost without a word."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"), token_rows.TokenFile(tmp_path / "tokens", trained) as file:
            for _ in range(200):
                file.append("def f(x):\n    return x\n")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

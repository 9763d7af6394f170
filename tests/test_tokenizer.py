import argparse
import inspect

import numpy as np
import pytest

from babel_jax.corpus import tokenizer
from babel_jax.errors import UserError

TEXT = inspect.getsource(argparse) + "def tabs():\n\treturn 1\n" * 20
ODD = [
    "",
    " ",
    "\n\n\n\t \r\n",
    "  leading and trailing  \n",
    "no-break\u00a0space, zero\u200bwidth, \ufeffmark, ﬁ, e\u0301, 漢字, 🙂",
    "<s> </s> <unk> <0x0A> ⁇",
    "\x00\x01\x7f",
    "tabs\t\t\t\t\t\t\t and " + " " * 37 + "spaces",
]


@pytest.fixture(scope="module")
def trained():
    return tokenizer.train([TEXT], 400)


def test_round_trip_is_exact(trained):
    for text in [TEXT, *ODD]:
        assert trained.decode(trained.encode(text)) == text


def test_round_trip_fails_for_the_one_character_that_clean_drops(trained):
    assert trained.decode(trained.encode("a\u2581b")) == "a b"


def test_token_bytes_add_up(trained):
    for text in [TEXT, *ODD]:
        ids = trained.encode(text)
        assert ids.dtype == np.int32
        assert trained.token_bytes_V[ids].sum() == len(text.encode())
    assert trained.token_bytes_V[trained.document_end] == 0


def test_same_texts_same_tokenizer_and_other_texts_another(trained, tmp_path):
    again = tokenizer.train([TEXT], 400)
    assert again.model == trained.model
    assert tokenizer.train([TEXT[::-1]], 400).sha != trained.sha
    trained.save(tmp_path / "model")
    assert tokenizer.load(tmp_path / "model").sha == trained.sha


def test_training_pieces_are_short_and_complete():
    text = "x" * 9000 + "\n" + TEXT
    pieces = list(tokenizer.sentences(text))
    assert "".join(pieces) == text
    assert max(map(len, pieces)) <= tokenizer.SENTENCE
    assert all(piece.endswith("\n") for piece in pieces[2:])


def test_errors_say_what_to_do(tmp_path):
    with pytest.raises(UserError, match="cannot make a vocabulary of 9000 .*; choose another --vocab_size"):
        tokenizer.train(["a = 1\n"], 9000)
    (tmp_path / "model").write_bytes(b"no model")
    with pytest.raises(UserError, match="build the corpus again"):
        tokenizer.load(tmp_path / "model")

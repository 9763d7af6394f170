import pickle

import pytest
from helpers.commands import ESCAPES

from babel_jax.common import errors
from babel_jax.common.errors import UserError, unknown_name
from babel_jax.corpus.readers.unpacking import Bomb
from babel_jax.training.checkpoint import Unreadable


def test_an_error_is_one_printable_line_whatever_it_quotes():
    error = UserError(f"no file {ESCAPES}; check é, 漢 and 🙂.")
    assert str(error) == (r"no file a\nb\r\x1b[31mred\x07\x9b2J\u202eabc\u2028\udcff\x00; check é, 漢 and 🙂.")
    long = str(UserError("begin " + "x" * 10**6 + " end"))
    assert len(long) <= errors.LONGEST_MESSAGE and long.startswith("begin ") and long.endswith(" end")
    assert str(errors.unknown_name("key", "x" * 10**6, ["y"])).count("x") <= errors.LONGEST_NAME


def test_what_is_quoted_is_short_and_in_one_line():
    class Broken:
        def __repr__(self):
            raise KeyError

    assert (errors.quoted({"a": 1}), errors.quoted(None), errors.quoted(True)) == ("an object", "null", "true")
    assert (errors.shown({"a": 1}), errors.shown(None), errors.shown((0, 0))) == ("{'a': 1}", "None", "(0, 0)")
    for value in ("x" * 10**6, [[["\n"] * 99] * 99] * 99, Broken(), 10**5000):
        assert len(errors.shown(value)) <= errors.LONGEST_NAME and "\n" not in errors.shown(value)
    line = errors.one_line(ValueError("two\nlines \x1b " + "x" * 1000))
    assert line.startswith("two lines \\x1b xx") and len(line) == errors.LONGEST_REASON
    assert (errors.one_line(ValueError()), errors.one_line("a\nb")) == ("ValueError", "a b")
    assert [errors.written(bound) for bound in (1000, 1e6, 0.5, 10**18, 1e-20)] == [
        "1000",
        "1000000",
        "0.5",
        "1e+18",
        "1e-20",
    ]


@pytest.mark.parametrize("error", [Unreadable("checkpoint 3 is torn.", "torn"), Bomb("x.gz"), UserError(ESCAPES)])
def test_a_worker_process_sends_an_error_as_it_is(error):
    received = pickle.loads(pickle.dumps(error))
    assert type(received) is UserError and str(received) == str(error)


def test_unknown_name_says_the_nearest():
    assert str(unknown_name("verb", "stduy", ["study", "report"])) == "unknown verb 'stduy'; did you mean 'study'?"
    assert str(unknown_name("verb", "zzz", ["study", "a"])) == "unknown verb 'zzz'; known: a, study."

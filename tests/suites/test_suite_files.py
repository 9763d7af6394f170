"""Files of suites: what is refused, and how the fault is named."""

import gzip

import pytest
from helpers.suites import OWN, SPECS, write

from babel_jax.common.errors import UserError
from babel_jax.languages.registry import LANGUAGES
from babel_jax.suites import suite_files


def test_known_bad_reasons_are_of_the_closed_set():
    for suite, languages in suite_files.known_bad().items():
        assert suite in ("mbxp", "humaneval", "humaneval_x", "mbpp") and languages.keys() <= LANGUAGES.keys()
        for reasons in languages.values():
            for task_id, reason in reasons.items():
                word, separator, text = reason.partition(": ")
                assert word in suite_files.KNOWN_BAD and separator and text, task_id


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"suite"\n', "line 1: not JSON"),
        ("a.jsonl", b'"\xff"\n', "cannot read .*; fetch the file again"),
        ("a.jsonl.gz", b"plain", "cannot read .*; fetch the file again"),
        ("a.jsonl.gz", gzip.compress(b"{}\n" * 100, mtime=0)[:-9], "cannot read .*; fetch the file again"),
        ("a.txt", b"", "no .jsonl or .jsonl.gz file at"),
    ],
)
def test_a_broken_file_is_named(name, content, message, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        suite_files.load(f"own:{tmp_path}")


@pytest.mark.parametrize(
    ("spec", "languages", "message"),
    [
        ("mxevl:x", [], "unknown format 'mxevl'; did you mean 'mxeval'"),
        ("mxeval", [], "write FORMAT:PLACE"),
        ("own:/no/such/place", [], "no .jsonl or .jsonl.gz file at /no/such/place"),
        (SPECS["own"], ["pyton"], "unknown language 'pyton'; did you mean 'python'"),
        (SPECS["own"], ["cpp"], "has no problem in cpp"),
    ],
)
def test_a_bad_request_is_answered(spec, languages, message):
    with pytest.raises(UserError, match=message):
        suite_files.load(spec, languages)


def test_other_languages_are_left_out_where_languages_are_named(tmp_path):
    file = write(tmp_path / "a.jsonl", OWN, OWN | {"language": "klingon"})
    assert [p.language for p in suite_files.load(f"own:{file}", ["python"]).problems] == ["python"]

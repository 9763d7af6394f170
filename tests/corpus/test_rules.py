"""The table of the cleaning's steps."""

from helpers.corpora import make

from babel_jax.corpus import rules


def test_steps_can_be_switched_off(folders, tmp_path):
    off = {step: False for step in rules.STEPS[:-1]}
    stats = make(folders, tmp_path / "corpus", benchmarks=(), clean=off).stats.languages["python"].cleaning
    assert {reason: count.files for reason, count in stats.items() if count.files} == {
        "found": 84,
        **{reason: 1 for reason in ("not_utf8", "whitespace_mark")},  # which no tokenizer gives back
        "kept": 82,
    }

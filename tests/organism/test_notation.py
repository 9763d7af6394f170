"""The files in which languages of the embedded world are written down, and what is refused in one."""

import json

import pytest

from babel_jax.common.errors import UserError
from babel_jax.organism import notation
from babel_jax.organism.notation import NOTATIONS, notation_of


def test_a_word_that_two_languages_share_means_the_same_in_both():
    seen = {}
    for name in NOTATIONS:
        identifiers = notation_of(name).identifiers
        assert len(identifiers) == 16 == len(set(identifiers)), name
        for fact, identifier in enumerate(identifiers):
            assert identifier.isidentifier() and not identifier.startswith("word")
            assert seen.setdefault(identifier.lower(), fact) == fact, identifier  # PHP ignores case
    assert len({notation_of(name).define for name in NOTATIONS}) == len(NOTATIONS) >= 5


def test_the_primitives_stand_in_the_prelude_or_are_built_in():
    for name in ("python", "csharp", "go", "cpp"):
        assert all(identifier in notation_of(name).prelude for identifier in notation_of(name).identifiers), name


def test_assertions_quote_text_as_the_language_does():
    given, expected = "it's", 'say "no" \\'
    lines = {name: notation_of(name).assertion(given, expected) for name in ("python", "php", "go")}
    assert lines["python"] == f"assert f({given!r}) == {expected!r}\n"
    assert lines["php"] == r"""assert(f('it\'s') === 'say "no" \\');""" + "\n"
    assert lines["go"].splitlines()[0] == f"\tif f({json.dumps(given)}) != {json.dumps(expected)} {{"
    assert notation_of("go").test_file(["\tone\n", "\ttwo\n"]) == "\nfunc main() {\n\tone\n\ttwo\n}\n"


def test_an_unknown_language_is_an_error_that_names_the_nearest():
    with pytest.raises(UserError, match="unknown language of the embedded world 'phq'; did you mean 'php'"):
        notation_of("phq")


@pytest.mark.parametrize(
    "change, message",
    [
        (("  lower case: strtolower\n", ""), "identifiers must have the key 'lower case': the language's name for it"),
        (("  json: json_encode", "  jason: json_encode"), "unknown key 'jason'; did you mean 'json'"),
        (("define: function", "define: 3"), "define must be a token, not 3"),
        (("quotes: single", "quotes: singl"), "unknown kind of quotes 'singl'; did you mean 'single'"),
        (('  "(x))":', '  "(y))":'), "unknown key"),
    ],
)
def test_a_mistake_in_a_file_is_named_by_its_key(monkeypatch, tmp_path, change, message):
    text = (notation.FOLDER / "php_notation.yaml").read_text()
    assert change[0] in text
    (tmp_path / "php_notation.yaml").write_text(text.replace(*change))
    monkeypatch.setattr(notation, "FOLDER", tmp_path)
    notation_of.cache_clear()
    try:
        with pytest.raises(UserError, match=f"php_notation.yaml: .*{message}"):
            notation_of("php")
    finally:
        notation_of.cache_clear()

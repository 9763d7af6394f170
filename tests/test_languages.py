import re

import pytest

from babel_jax import languages
from babel_jax.errors import UserError


def test_unknown_language_names_the_nearest():
    with pytest.raises(UserError, match=r"unknown language 'pyhton'; did you mean 'python'\?"):
        languages.language("pyhton")


def test_records_are_complete():
    for name in ("python", "php", "csharp", "go", "cpp"):
        record = languages.language(name)
        assert record.name == name and record.title and record.version
        assert all(extension.startswith(".") for extension in record.extensions)
        assert any("{file}" in argument for argument in record.build + record.run)
        assert not record.build or "{program}" in record.run


def test_pairs_are_many_distinct_and_differ():
    assert len(languages.identifier_pairs("python", "php")) >= 15
    for pairs in languages.IDENTIFIER_PAIRS.values():
        assert len(pairs) >= 5
        assert len(set(pairs)) == len(pairs)
        for pair in pairs:
            assert pair[0].text.lower() != pair[1].text.lower()
            for identifier in pair:
                assert re.fullmatch(r"\w+", identifier.text)
                assert identifier.use in ("function", "method", "property", "word")


def test_pairs_in_the_other_direction_are_turned_round():
    forward = languages.identifier_pairs("python", "php")
    assert languages.identifier_pairs("php", "python") == tuple((new, primary) for primary, new in forward)
    with pytest.raises(UserError, match="IDENTIFIER_PAIRS"):
        languages.identifier_pairs("go", "cpp")

import numpy as np

from babel_jax.organism.primitives import PRIMITIVES, TEST_INPUTS, meanings, results

NAMES = list(PRIMITIVES)


def number(name):
    return NAMES.index(name)


def test_primitives_do_what_their_names_say():
    given = " a <B> 'c' "
    expected = {
        "upper case": " A <B> 'C' ",
        "lower case": " a <b> 'c' ",
        "strip spaces": "a <B> 'c'",
        "reverse": " 'c' >B< a ",
        "capitals": " A <B> 'c' ",
        "escape markup": " a &lt;B&gt; 'c' ",
        "hexadecimal": "2061203c423e2027632720",
        "base 64": "IGEgPEI+ICdjJyA=",
        "url path": "%20a%20%3CB%3E%20%27c%27%20",
        "url form": "+a+%3CB%3E+%27c%27+",
        "rotate letters": " n <O> 'p' ",
        "json": "\" a <B> 'c' \"",
        "md5": "e0bf4d47a3068d83f602a2a88d329049",
        "sha1": "ad7baee633f93ee79ec27a2e99388cf6afd8c99b",
        "crc32": "3957c83e",
        "adler32": "0e4a024f",
    }
    assert {name: function(given) for name, function in PRIMITIVES.items()} == expected


def test_the_outer_primitive_is_applied_last():
    assert results(number("upper case"), number("hexadecimal"), ("<",)) == ["3C"]
    assert results(number("hexadecimal"), number("upper case"), ("<",)) == ["3c"]


def test_compositions_have_the_same_number_exactly_where_they_give_the_same_results():
    meaning = meanings()
    assert meaning.shape == (16, 16)
    upper, lower, strip, sha1 = map(number, ("upper case", "lower case", "strip spaces", "sha1"))
    assert meaning[upper, lower] == meaning[upper, upper] and meaning[lower, sha1] == meaning[strip, sha1]
    assert meaning[upper, strip] == meaning[strip, upper] != meaning[upper, lower]
    texts = {tuple(results(outer, inner)) for outer, inner in np.ndindex(16, 16)}
    assert len(np.unique(meaning)) == len(texts) == meaning.max() + 1 > 190
    assert len(TEST_INPUTS) == 3

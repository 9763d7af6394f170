"""Licences by their SPDX expressions."""

import pytest

from babel_jax.corpus.licences import permitted


@pytest.mark.parametrize(
    ("expression", "answer"),
    [
        ("MIT", True),
        ("(GPL-2.0 or ISC)", True),
        ("MIT AND GPL-2.0", False),
        ("MIT AND ISC OR GPL-2.0", True),
        ("GPL-2.0 OR MIT AND GPL-3.0", False),
        ("(MIT OR GPL-2.0) AND GPL-3.0", False),
        ("GPL-3.0 AND (MIT OR ISC)", False),
        ("GPL-3.0 AND (GPL-2.0 OR MIT OR ISC)", False),
        ("MITNFA", False),
    ],
)
def test_spdx_expressions(expression, answer):
    assert permitted(expression, ("MIT", "isc")) == answer

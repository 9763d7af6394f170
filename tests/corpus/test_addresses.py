"""Where public addresses begin and end; `test_redact.py` has what they are distinguished from."""

import pytest

from babel_jax.corpus.addresses import public_addresses


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("http://95.26.244.94:8080/8.8.8.8/24", ["95.26.244.94", "8.8.8.8"]),
        ("10.0.0.1-8.8.8.8 and 192.0.2.1", ["8.8.8.8"]),
        ("[2606:4700::1111]:53 2606:4700::1: timeout", ["2606:4700::1111", "2606:4700::1"]),
        ("::ffff:8.8.8.8 is one address", ["::ffff:8.8.8.8"]),
        ("version 1.2.3.4, section 8.1.2.2, x[2000::2], fe80::1", []),
    ],
)
def test_spans_are_those_of_public_addresses_without_port_and_prefix(text, addresses):
    assert [text[start:end] for start, end in public_addresses(text)] == addresses

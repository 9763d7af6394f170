"""apt's lists of what packages are."""

import gzip

import pytest
from helpers.prose_sources import paragraphs
from helpers.source_files import of, read

from babel_jax.common.errors import UserError
from babel_jax.corpus.readers import places

# Made for this test, in apt's form.
LIST = """Package: chess
Description-md5: 0123456789abcdef0123456789abcdef
Description-de: ein Schachspiel
 Spielt Schach gegen
 einen Menschen.
 .
 Es kann:
  * eröffnen
  * verlieren
 .
 Ende.

Package: empty
Description-md5: 0123456789abcdef0123456789abcdef

Package: go
Description-md5: 1123456789abcdef0123456789abcdef
Description-de: ein Brettspiel
"""
EXPECTED = {
    "apt/chess": {
        "1/4": "ein Schachspiel",
        "2/4": "Spielt Schach gegen einen Menschen.",
        "3/4": "Es kann:",
        "4/4": "Ende.",
    },
    "apt/go": {"1/1": "ein Brettspiel"},
}


@pytest.mark.parametrize("name", ["Translation-de", "Translation-de.gz"])
def test_a_package_is_a_document(tmp_path, name):
    (tmp_path / name).write_bytes(gzip.compress(LIST.encode()) if name.endswith("gz") else LIST.encode())
    (tmp_path / "Packages").write_text("Package: other\nDescription-de: no\n")
    assert paragraphs(tmp_path, "apt_descriptions", "de", name="apt") == EXPECTED


@pytest.mark.parametrize(
    "content", [b"Package: x\nDescription-de: \xff\n", b"x" * (places.LARGEST_FILE + 1), b"x\n" * places.LARGEST_FILE]
)
def test_what_is_no_list_is_named_in_one_line(tmp_path, content):
    (tmp_path / "Translation-de").write_bytes(content)
    with pytest.raises(UserError, match=r"Translation-de is damaged \(.*\); get it again"):
        read(of(tmp_path, "de", format="apt_descriptions"))

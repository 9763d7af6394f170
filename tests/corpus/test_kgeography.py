"""Facts read from KGeography's maps and catalogues."""

import pytest
from helpers import place_facts

from babel_jax.common.errors import UserError
from babel_jax.corpus import kgeography


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return place_facts.write(tmp_path_factory.mktemp("maps") / "usr" / "share")


def test_places_have_their_capitals_and_both_their_names(data):
    read = list(kgeography.read(str(data), ("en", "de")))
    assert [(fact.field, fact.primary.subject, fact.primary.answer) for fact in read] == place_facts.places()
    for fact in read:
        here = fact.names["de"]
        if fact.field == "map0":
            assert (here.subject, here.answer) == tuple(
                map(place_facts.german, (fact.primary.subject, fact.primary.answer))
            )
        assert fact.spelt_alike == (fact.field != "map0")
    assert list(kgeography.read(str(data.parents[1]), ("en", "de"))) == read  # the package as it was unpacked


def test_names_that_are_not_plain_are_passed_over(tmp_path):
    folder = place_facts.write(tmp_path / "data")
    (folder / "kgeography" / "map1.kgm").write_text(
        "<map>"
        + "".join(
            f"<division><name>{place}</name><capital>{capital}</capital></division>"
            for place, capital in (
                ("Aruba (NL)", "Oran"),
                ("Agder", "Ar/En"),
                ("St. Ives-sur-Mer", "L’Ami"),
                ("A 1", "Bi"),
            )
        )
        + "</map>"
    )
    read = [fact.primary for fact in kgeography.read(str(folder), ("en", "de")) if fact.field == "map1"]
    assert [(names.subject, names.answer) for names in read] == [("St. Ives-sur-Mer", "L’Ami")]


def test_what_cannot_be_read_is_one_line(data, tmp_path):
    with pytest.raises(UserError, match="no maps of KGeography"):
        list(kgeography.read(str(tmp_path), ("en", "de")))
    with pytest.raises(UserError, match="no names in 'fr'"):
        list(kgeography.read(str(data), ("en", "fr")))
    folder = place_facts.write(tmp_path / "data")
    before = kgeography.fingerprint(str(folder))
    assert before == kgeography.fingerprint(str(data))
    (folder / "locale/de/LC_MESSAGES/kgeography.mo").write_bytes(b"\xde\x12\x04\x95short")
    assert kgeography.fingerprint(str(folder)) != before
    with pytest.raises(UserError, match="cannot read .*kgeography.mo"):
        list(kgeography.read(str(folder), ("en", "de")))
    (folder / "kgeography" / "map0.kgm").write_text("<map>")
    with pytest.raises(UserError, match="cannot read the map"):
        list(kgeography.read(str(folder), ("en",)))

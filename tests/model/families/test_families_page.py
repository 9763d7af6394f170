"""The page of families is what the tables and the last verification say."""

import dataclasses

from babel_jax.model.architecture import Architecture
from babel_jax.model.families import families_page
from babel_jax.model.families.catalogue import FAMILIES
from babel_jax.model.families.llama import LLAMA


def test_the_page_is_up_to_date():
    """To mend it: python -c 'from babel_jax.model.families import families_page; families_page.write()'."""
    assert families_page.section() in families_page.PAGE.read_text()


def test_the_page_is_written_as_it_is_and_nothing_else_of_it_changes(tmp_path, monkeypatch):
    page = tmp_path / "README.md"
    text = families_page.PAGE.read_text()
    page.write_text(text.replace("| `llama` |", "| `lama` |"))
    monkeypatch.setattr(families_page, "PAGE", page)
    families_page.write()
    assert page.read_text() == text


def test_every_family_has_a_row_that_says_what_it_is_made_of():
    rows = families_page.families_table().splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == [family.model_type for family in FAMILIES]
    assert len(set(rows)) == len(FAMILIES) and all(row.count("|") == 7 for row in rows)
    blocks = [families_page.block(family.scratch(1024, 64, 12)) for family in FAMILIES]
    assert len(set(blocks)) == len(FAMILIES)
    assert families_page.block(Architecture()) == "LayerNorm, learned positions, ungated FFN with gelu_tanh, biases"


def test_what_is_not_verified_says_so(monkeypatch):
    new = dataclasses.replace(LLAMA, model_type="new")
    monkeypatch.setattr(families_page, "FAMILIES", (new,))
    assert families_page.families_table().splitlines()[-1].endswith("| not verified | | |")
    assert '| `activation` | `"swiglu"` | `new` |' in families_page.refused_table()

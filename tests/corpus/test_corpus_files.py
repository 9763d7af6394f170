"""A corpus opened."""

import pytest
from helpers.corpora import damaged

from babel_jax.common.errors import UserError
from babel_jax.corpus import corpus_files, manifest


def test_rows_decode_to_the_documents(built):
    """Held-out rows hold the held-out files and nothing else, in order, but for the last row's rest."""
    for language, source in built.validation.items():
        text = "".join(document.content.decode() for document in built.heldout(language))
        ids = built.validation[language].rows(range(len(source))).ravel()
        decoded = built.tokenizer.decode(ids[ids != built.tokenizer.document_end])
        assert text.startswith(decoded) and len(decoded) > 0.8 * len(text)
        assert built.tokenizer.token_bytes_V[ids].sum() == len(decoded.encode())


def test_slots_of_both_languages(built, monkeypatch):
    monkeypatch.setattr(corpus_files, "FEWEST_PAIRS", 1)
    slots = built.slots("python", "php")
    assert set(slots) == {"python", "php"}
    for language, identifier in (("python", b"len"), ("php", b"strlen")):
        column = {"python": "primary_id", "php": "new_id"}[language]
        arrays = slots[language]
        assert 0 < len(arrays["tokens"]) <= manifest.MANIFEST.keys["prompts_per_pair"].default
        piece = built.tokenizer.pieces()[arrays[column][0]].lstrip(b" ")
        assert piece and identifier.startswith(piece)
        assert (arrays["primary_id"] != arrays["new_id"]).all()
    with pytest.raises(UserError, match="of the 0 that are known there are those of 0 in Python and 0 in Go"):
        built.slots("python", "go")


def test_a_tokenizer_of_another_corpus_is_refused(built, tmp_path):
    place = damaged(built, tmp_path, lambda there, _: there["tokenizer"].update(sha="0" * 16))
    with pytest.raises(UserError, match="not the one that made the rows"):
        corpus_files.load(place)

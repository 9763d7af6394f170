from babel_jax.corpus.document import Document, ordinals


def test_paragraphs_have_the_keys_of_the_document():
    document = Document("help/a.html", b"Eins.\n\nZwei\nZeilen.\n\nDrei.", 99, (), "help/a.html", ("p1", "p2", "p3"))
    known = dict(zip(document.keys, document.paragraphs, strict=True))
    assert known == {"p1": "Eins.", "p2": "Zwei\nZeilen.", "p3": "Drei."}
    fewer = document.holding({key: known[key] for key in ("p1", "p3")})
    assert (fewer.text, fewer.keys, fewer.size) == ("Eins.\n\nDrei.", ("p1", "p3"), 99)
    none = document.holding({})
    assert (none.content, none.keys, none.paragraphs) == (b"", (), ())


def test_paragraphs_without_names_belong_together_only_where_there_are_as_many():
    assert ordinals(2) == ("1/2", "2/2") and ordinals(0) == ()
    assert not set(ordinals(2)) & set(ordinals(3))

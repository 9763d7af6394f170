"""Where running text is cut before a word, and the prompts of a language whose record says cloze."""

import numpy as np
import pytest

from babel_jax.common.errors import UserError
from babel_jax.corpus import call_sites, cloze, tokenizer
from babel_jax.corpus.document import Document
from babel_jax.languages import registry

CONTEXT = "In the early morning of a long and rather cold winter"  # 53 characters, 11 words
ENGLISH = {"title": "English", "kind": "natural", "extensions": [".txt"], "prompts": "cloze"}
GERMAN = ENGLISH | {"title": "German", "pairs": {"english": [["word house", "word Haus"], ["word size", "word Größe"]]}}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one\ntwo\n\n  three \n \n\nfour\n", [(0, "one two"), (11, "three"), (21, "four")]),
        ("one\ntwo\n\n", [(0, "one"), (4, "two")]),
        ("one\r\ntwo\r\n\r\nthree", [(0, "one two"), (9, "three")]),
        ("\n\n", []),
    ],
)
def test_paragraphs(text, expected):
    assert [(begins, paragraph.rstrip()) for begins, paragraph in cloze.paragraphs(text)] == expected


@pytest.mark.parametrize(
    ("paragraph", "is_cut"),
    [
        (f"{CONTEXT} the house stood alone.", True),
        (f"{CONTEXT} the houses stood alone; the house too.", True),
        (f"{CONTEXT} the (house) stood alone.", False),  # behind no space
        (f"{CONTEXT} the house-boat sank.", False),  # another word
        (f"{CONTEXT} the House stood; the house too.", False),  # it stands in the prompt, in another case
        (f"{CONTEXT} the house-boat sank and the house stood.", False),  # likewise, as a part
        (f"{CONTEXT} das Haus, the house.", False),  # the other language's stands in the prompt
        (f"{CONTEXT} the house, das Haus.", True),
        ("In the cold of a long day in May the house stood alone.", False),  # 37 characters
        ("Donaudampfschifffahrtsgesellschaft Rechtsschutzversicherung house", False),  # two words
    ],
)
def test_a_word_is_cut_off_where_only_knowledge_can_say_it(paragraph, is_cut):
    words = cloze.Words(paragraph)
    site = words.blank("house", "Haus") if "house" in words.sites else None
    assert site == (paragraph.rindex(" house") + 1 if is_cut else None)


def paragraphs_of(word, count):
    return "\n\n".join(f"{CONTEXT} number {n} the {word} stood alone, and that {word} was {n}." for n in range(count))


@pytest.fixture(scope="module")
def spoken():
    english = registry.record("english", ENGLISH, "english.yaml")
    german = registry.record("german", GERMAN, "german.yaml")
    text = "\n\n".join(paragraphs_of(word, 9) for word in ("house", "Haus", "size", "Größe"))
    return english, german, tokenizer.train([text * 20], 400)


def test_prompts_are_paragraphs_up_to_the_word(spoken):
    english, german, model = spoken
    documents = [
        Document("a.txt", "\n\n".join(paragraphs_of(word, 3) for word in ("house", "size")).encode(), 0),
        Document("b.txt", paragraphs_of("house", 2).encode(), 0),
    ]
    prompts, messages = call_sites.mine(documents, english, german.pairs["english"], model, 200, 50)
    assert not messages
    # One a pair and paragraph, the first; each is its paragraph from the beginning.
    assert [(prompt.pair, prompt.path) for prompt in prompts].count((0, "a.txt")) == 3
    assert (
        sorted((prompt.pair, prompt.path) for prompt in prompts)
        == [(0, "a.txt")] * 3 + [(0, "b.txt")] * 2 + [(1, "a.txt")] * 3
    )
    for prompt in prompts:
        text = model.decode(prompt.tokens)
        assert text.rstrip() in {f"{CONTEXT} number {n} the" for n in range(3)}
        assert model.decode([prompt.here]).strip() in ("house", "size")
        assert model.decode([prompt.there]).strip()[:1] in ("H", "G")


def test_a_word_of_more_bytes_than_characters_is_found(spoken):
    english, german, model = spoken
    document = Document("a.txt", paragraphs_of("Größe", 4).encode(), 0)
    turned = [pair[::-1] for pair in german.pairs["english"]]
    prompts, _ = call_sites.mine([document], german, turned, model, 200, 50)
    assert len(prompts) == 4 and model.decode([prompts[0].here]).strip() == "Größe"


def test_the_begin_mark_stands_before_a_prompt_that_is_cut(spoken):
    english, german, model = spoken
    whole, _ = call_sites.mine(
        [Document("a.txt", paragraphs_of("house", 2).encode(), 0)], english, german.pairs["english"], model, 200, 9
    )
    marked = tokenizer.of_files({"tokenizer.model": model.content})
    assert marked.begin == tokenizer.BEGIN and model.begin is None
    cut, _ = call_sites.mine(
        [Document("a.txt", paragraphs_of("house", 2).encode(), 0)], english, german.pairs["english"], marked, 5, 9
    )
    for long, short in zip(whole, cut, strict=True):
        np.testing.assert_array_equal(short.tokens, [tokenizer.BEGIN, *long.tokens[-4:]])


def test_a_record_says_where_its_prompts_end():
    with pytest.raises(UserError, match="kind of prompts"):
        registry.record("english", ENGLISH | {"prompts": "close"}, "english.yaml")
    assert registry.language("python").prompts == "call_sites"

"""Two natural languages of invented words whose pairs are known, texts in which these are missing words, and a tokenizer."""

from babel_jax.corpus.document import Document
from babel_jax.languages import registry
from babel_jax.languages.language import Language
from helpers import byte_level

ONSETS, VOWELS = "bdfgklmnprst", "aeiou"
WORDS = [f"{a}{v}{b}{w}" for a in ONSETS for v, b, w in zip(VOWELS, "lmnrs", VOWELS[::-1], strict=True)]  # 60
HERE, THERE = [f"{word}n" for word in WORDS], [f"{word}x" for word in WORDS]
CONTEXT = "Early in the morning of a long and rather cold winter day"


def definitions(words: int = len(WORDS)) -> dict[str, dict]:
    """Of the primary "old" and the language "young", with pairs of so many words."""
    natural = {"kind": "natural", "extensions": [".txt"], "prompts": "cloze"}
    pairs = [[f"word {there}", f"word {here}"] for there, here in zip(THERE[:words], HERE[:words], strict=True)]
    return {"old": natural | {"title": "Old"}, "young": natural | {"title": "Young", "pairs": {"old": pairs}}}


def languages(words: int = len(WORDS)) -> tuple[Language, Language]:
    """The records of these definitions."""
    return tuple(registry.record(name, of, f"{name}.yaml") for name, of in definitions(words).items())


def documents(words=HERE, each: int = 5) -> list[Document]:
    """A document for each number, with a paragraph a word."""
    made = []
    for number in range(each):
        lines = [f"{CONTEXT} number {number} the {word} stood alone, and that {word} was old." for word in words]
        made.append(document(number, "\n\n".join(lines)))
    return made


def document(number: int, text: str) -> Document:
    return Document(f"source/{number}.txt", text.encode(), len(text.encode()))


def vocabulary(size: int = 400):
    return byte_level([document.text for words in (HERE, THERE) for document in documents(words)], size)

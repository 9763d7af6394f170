"""Small sources in English and German that say the same, a dictionary of them, and manifests."""

import json
import random
from pathlib import Path

from babel_jax.corpus import manifest

# Nouns and their translations; each stands in sentences of its own documents.
NOUNS = {
    "house": "Haus",  # begins alike in no letter but the first
    "tree": "Baum",
    "river": "Fluss",
    "bridge": "Kanal",  # what the texts mean by it, against the dictionary
    "window": "Fenster",
    "mirror": "Spiegel",
    "spoon": "Besen",
    "knife": "Messer",
    "paper": "Papier",  # alike
}
DICTIONARY = """# a comment
Haus {n} | Häuser {pl} :: house | houses
Baum {m} (Pflanze); Strauch {m} :: tree [bot.]
Fluss {m} :: river; stream
Brücke {f} :: bridge
Fenster {n} :: window
Spiegel {m} :: mirror
Messer {n} :: knife
Papier {n} :: paper
grün {adj} :: green
dies {pron} :: this
"""
PARAGRAPHS = 10  # of a document, two sentences each
EN = "The {colour} wall that {n} was built for stands there for all of us. Behind it the {noun} of {m} is green."
DE = "Die {colour} Mauer, die man für {n} gebaut hat, steht da für uns alle. Hinter ihr wird {noun} von {m} grün."
COLOURS = {"red": "rote", "blue": "blaue", "grey": "graue", "brown": "braune"}


def write(place: Path, documents: int = 60) -> None:
    """en.jsonl and de.jsonl, a paragraph a row, and words.txt. Rare nouns are in few documents; some are English alone."""
    chance, nouns = random.Random(0), list(NOUNS)
    rows = {"en": [], "de": []}
    for number in range(documents):
        noun = nouns[number % 3] if number % 5 else nouns[number // 5 % len(nouns)]
        for key in range(PARAGRAPHS):
            colour, n, m = chance.choice(list(COLOURS)), _name(chance), _name(chance)
            texts = {
                "en": EN.format(noun=noun, colour=colour, n=n, m=m),
                "de": DE.format(noun=NOUNS[noun], colour=COLOURS[colour], n=n, m=m),
            }
            for language, text in texts.items():
                if language == "en" or number % 7 != 3:
                    rows[language].append({"content": text, "doc": f"help/{number}.html", "key": f"p{key}"})
    for language, each in rows.items():
        (place / f"{language}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in each))
    (place / "words.txt").write_text(DICTIONARY)


def _name(chance: random.Random) -> str:
    """A name that no other sentence has: the cleaning drops copies, whatever their numbers."""
    return "".join(chance.choice("BDGKLMNPRST") + chance.choice("aeiou") for _ in range(6)).capitalize()


def asked(place: Path, **more) -> manifest.Manifest:
    columns = {"project": "doc", "key": "key"}
    languages = {
        name: {"sources": [{"path": str(place / f"{name}.jsonl"), "name": "help", "columns": columns}]}
        for name in ("en", "de")
    }
    raw = {"vocab_size": 400, "max_length": 48, "languages": languages, "clean": {"near_duplicates": False}}
    dictionaries = [{"path": str(place / "words.txt"), "headwords": "de", "translations": "en"}]
    return manifest.check(raw | {"dictionaries": dictionaries} | more, "m.yaml")

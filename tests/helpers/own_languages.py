"""Small sources in languages that the package does not have, the files that describe these, and manifests of them."""

import random
from pathlib import Path

import yaml

from babel_jax.corpus import manifest

LINES = {
    "python": ["def f{n}(x):\n    print(len(x.lower()), {n})  # {m}", "{m}{n} = len([{n}]) + 1"],
    "kotlin": ["fun f{n}(x: Int) {{ println(x.size) }} /* a /* {m} */ b */", 'val {m}{n} = "{n}".lowercase() // {n}'],
    "english": ["The river {n} flows over {m} and through the height but not {n}.", "Size {n} and measure {m}."],
    "german": ["Der Fluß {n} fließt über {m} und durch die Höhe, aber nicht {n}. " * 9, "Größe {n} und Maß {m}."],
    "wenyan": ["吾有一數。曰{n}。名之曰「{m}」。", "書之「{m}」也。加{n}以三。"],
}
FILES = {
    "kotlin": {
        "title": "Kotlin",
        "extensions": [".kt"],
        "line_comments": ["//"],
        "block_comments": [["/*", "*/"]],
        "comments_nest": True,
        "strings": ['"'],
        "pairs": {"python": [["function len", "property size"], ["method lower", "method lowercase"]]},
    },
    "english": {"title": "English", "kind": "natural", "extensions": [".txt"]},
    "german": {
        "title": "Deutsch",
        "kind": "natural",
        "extensions": [".txt"],
        "pairs": {"english": [["word and", "word und"], ["word but", "word aber"], ["word not", "word nicht"]]},
    },
    "wenyan": {"title": "文言", "extensions": [".wy"], "members": []},
}
SUFFIX = {"python": ".py"} | {name: data["extensions"][0] for name, data in FILES.items()}


def write(place: Path) -> None:
    """Sources of every language in projects of their own, and NAME.yaml of each language that the package lacks."""
    chance = random.Random(0)
    for name, lines in LINES.items():
        for number in range(40):
            file = place / name / f"project{number % 10}" / f"file{number}{SUFFIX[name]}"
            file.parent.mkdir(parents=True, exist_ok=True)
            numbers = [{"n": chance.randrange(10**6), "m": chance.choice("abcdefgh")} for _ in range(30)]
            file.write_text("".join(chance.choice(lines).format(**each) + "\n" for each in numbers))
    for name, data in FILES.items():
        (place / f"{name}.yaml").write_text(yaml.safe_dump(data, allow_unicode=True))


def asked(place: Path, *names: str, definitions: dict | None = None, **more) -> manifest.Manifest:
    """A manifest of some of the languages. `definitions`: those of the package's lacking ones, by default their files."""
    definitions = definitions or {name: str(place / f"{name}.yaml") for name in FILES}
    languages = {
        name: {"sources": [str(place / name)]} | ({"definition": definitions[name]} if name in definitions else {})
        for name in names
    }
    raw = {"vocab_size": 360, "max_length": 32, "languages": languages, "clean": {"near_duplicates": False}}
    return manifest.check(raw | more, "m.yaml")

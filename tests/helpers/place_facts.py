"""Maps as KGeography has them, of invented places, with their names in German; and texts of English and German."""

import random
import struct
from pathlib import Path

MAPS, PLACES = 6, 20
FIRST = ("Aster", "Bolin", "Cadru", "Domer", "Elvan", "Fargo", "Gundo", "Hilma", "Ivert", "Jolan", "Kesti", "Lumbo")
LAST = ("bury", "dale", "firth", "gate", "holm", "mouth", "nick", "stow", "thorpe", "wick")
TEXT = {
    "en": "The {a} of this page is what the {b} was for, and with it we have {n} of them in the {c}.",
    "de": "Die {a} auf dieser Seite ist das, wozu die {b} da war, und mit ihr haben wir {n} von den {c}.",
}


def places() -> list[tuple[str, str, str]]:
    """(map, place, capital); no two names are the same."""
    chosen, names = random.Random(0), [first + last for first in FIRST for last in LAST]
    capitals = [
        "".join(chosen.choice(part) for part in ("KLMNPRST", "aeiou", "lmnrst", "aeiou", "kmn")) for _ in range(999)
    ]
    found = [*dict.fromkeys(capitals)]
    return [(f"map{number // PLACES}", name, found[number]) for number, name in enumerate(names[: MAPS * PLACES])]


def german(name: str) -> str:
    """What a name of map0 is called in German; the others have the same name."""
    return f"{name}ingen"


def write(folder: Path) -> Path:
    """KGeography's data."""
    (folder / "kgeography").mkdir(parents=True)
    by_map: dict[str, list] = {}
    for field, place, capital in places():
        by_map.setdefault(field, []).append((place, capital))
    names = {}
    for field, divisions in by_map.items():
        parts = ["<division><name>Frontier</name><ignore>yes</ignore><capital>None</capital></division>"]
        parts += [
            f"<division><name>{place}</name><capital>{capital}</capital></division>" for place, capital in divisions
        ]
        parts.append("<division><name>Sea</name></division>")
        (folder / "kgeography" / f"{field}.kgm").write_text(f"<map><name>{field}</name>{''.join(parts)}</map>")
        if field == "map0":
            names |= {f"{field}.kgm\x04{name}": german(name) for pair in divisions for name in pair}
    catalogue(folder / "locale" / "de" / "LC_MESSAGES" / "kgeography.mo", names)
    return folder


def catalogue(file: Path, messages: dict[str, str]) -> None:
    """A compiled catalogue of gettext."""
    pairs = sorted(
        (key.encode(), text.encode())
        for key, text in ({"": "Content-Type: text/plain; charset=UTF-8\n"} | messages).items()
    )
    head, tables, texts = 28, [], b""
    for column in (0, 1):
        for pair in pairs:
            tables += [len(pair[column]), head + 16 * len(pairs) + len(texts)]
            texts += pair[column] + b"\0"
    file.parent.mkdir(parents=True)
    numbers = [0x950412DE, 0, len(pairs), head, head + 8 * len(pairs), 0, head + 16 * len(pairs)]
    file.write_bytes(struct.pack(f"<{len(numbers) + len(tables)}I", *numbers, *tables) + texts)


def write_texts(folder: Path, planted: str = "") -> dict[str, list[Path]]:
    """Folders of English and German; `planted` stands in a German paragraph."""
    chosen = random.Random(1)
    for language, line in TEXT.items():
        for number in range(48):
            words = ["".join(chosen.choices("etaoinshrdlu", k=5)) for _ in range(60)]
            threes = zip(words[::3], words[1::3], words[2::3], strict=True)
            lines = [line.format(a=a, b=b, c=c, n=chosen.randint(0, 10**6)) for a, b, c in threes]
            path = folder / language / f"book{number}" / "page.txt"
            path.parent.mkdir(parents=True)
            path.write_text("\n\n".join([*lines, planted if language == "de" and number == 5 else lines[0]]))
    return {language: [folder / language] for language in TEXT}

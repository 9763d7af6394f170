"""Small corpora: their sources, and what a folder holds."""

import random

from babel_jax.corpus import manifest


def write_sources(folder):
    """A manifest of two small languages under `folder`, some files of which cleaning drops; complete."""
    for extension, line in ((".py", "    {a} = len({a}) + {n}\n"), (".php", "    ${a} = strlen(${a}) + {n};\n")):
        chosen = random.Random(extension)
        for number in range(48):
            path = folder / extension[1:] / f"project{number // 2}" / f"file{number}{extension}"
            path.parent.mkdir(parents=True, exist_ok=True)
            names = ["".join(chosen.choices("etaoinshrdlu", k=4)) for _ in range(25)]
            lines = [line.format(a=name, n=chosen.randint(0, 10**9)) for name in names]
            path.write_text(("<?php\n" if extension == ".php" else "") + "".join(lines))
        (folder / extension[1:] / f"copy{extension}").write_bytes(path.read_bytes())
    places = {"python": [folder / "py"], "php": [folder / "php"]}
    return manifest.of_sources(places, vocab_size=420, max_length=32)


def contents(folder, pattern: str = "*") -> dict[str, bytes]:
    """Of all files below a folder, by their paths; pattern "[!.]*" leaves locks out."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob(pattern) if path.is_file()}

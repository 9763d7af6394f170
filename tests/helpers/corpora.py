"""Small corpora: their sources, builds of them, and what a folder holds."""

import json
import os
import random
import shutil
import sys

import psutil

from babel_jax.corpus import build, manifest, token_rows
from helpers import ROOT

SIZES = dict(vocab_size=420, max_length=32)
QUIET = dict(jobs=1, progress=False)
PROBLEM = "def interleave(first, second):\n    return [x for pair in zip(first, second) for x in pair] + first[len(second):]\n"
BENCHMARKS = [("own/1 solution", PROBLEM)]


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


def write_projects(root, extension, template, projects=24, files=3):
    chosen = random.Random(extension)
    for project in range(projects):
        for file in range(files):
            path = root / f"project{project}" / f"file{file}{extension}"
            path.parent.mkdir(parents=True, exist_ok=True)
            names = ["".join(chosen.choices("etaoinshrdlu", k=4)) for _ in range(25)]
            lines = [template.format(a=name, n=chosen.randint(0, 10**9)) for name in names]
            path.write_text(("<?php\n" if extension == ".php" else "") + "".join(lines))


def asked(folders, **changes):
    """The manifest of all this; keywords change parts of it."""
    raw = manifest.of_sources(folders, **SIZES).record()
    clean = raw["clean"] | {"decontaminate": ["own:suite"]} | changes.pop("clean", {})
    return manifest.check(raw | {"clean": clean} | changes, "test")


def make(folders, out, benchmarks=BENCHMARKS, **options):
    changes = {key: options.pop(key) for key in list(options) if key not in QUIET}
    return build.build(asked(folders, **changes), out, benchmarks=benchmarks, **QUIET | options)


def damaged(built, tmp_path, change):
    """A copy of the corpus whose manifest (a dict) was changed by `change`."""
    place = shutil.copytree(built.directory, tmp_path / "copy")
    there = json.loads((place / "manifest.json").read_text())
    change(there, place)
    (place / "manifest.json").write_text(json.dumps(there))
    return place


def in_another_process(folders, out, *lines, **changes):
    """The command of a script that builds the corpus with two workers, behind the lines given."""
    (out.parent / "manifest.json").write_text(json.dumps(asked(folders, **changes).record()))
    script = out.parent / "script.py"
    program = [
        "import sys",
        "from babel_jax.corpus import build, duplicates, manifest",
        *lines,
        "if __name__ == '__main__':",
        f"    asked = manifest.load({str(out.parent / 'manifest.json')!r})",
        f"    build.build(asked, {str(out)!r}, benchmarks={BENCHMARKS!r}, jobs=2)",
    ]
    script.write_text("\n".join(program))
    return [sys.executable, str(script)], os.environ | {"PYTHONPATH": str(ROOT)}


def kill(process):
    """Kills a process; its children must then end by themselves."""
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(children, timeout=600)
    assert not alive
    return children


def write_rows(directory, files, length, dtype, order=reversed):
    """All of a language's rows; each split from the same token files."""
    number, shards = token_rows.count(sum(tokens for _, tokens in files), length)
    for split in ("train", "validation"):
        for shard in order(range(shards)):
            first = shard * token_rows.ROWS_PER_SHARD
            target = token_rows.shard_path(directory, "python", split, shard, shards)
            token_rows.write_shard(target, files, dtype, first, min(token_rows.ROWS_PER_SHARD, number - first), length)
    token_rows.write_info(directory, "python", dict.fromkeys(("train", "validation"), number), length, dtype)
    return number, shards

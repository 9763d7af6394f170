"""Corpora of the further languages as configs/corpora/debian.py makes them, from packages of Debian."""

import functools
import random
import subprocess

import pytest
from helpers import ROOT
from helpers.lexers import share_that_differs

from babel_jax.corpus import build, manifest
from babel_jax.languages.registry import language

RECIPE = f"{ROOT}/configs/corpora/debian.py"


def test_the_recipe_keeps_to_five_languages_unless_others_are_named():
    plain, folder = manifest.load(RECIPE), manifest.load(f"{RECIPE}:/elsewhere")
    assert list(plain.languages) == list(folder.languages) == ["python", "php", "csharp", "go", "cpp"]
    chosen = manifest.load(f"{RECIPE}:/elsewhere,python,rust,c")
    assert list(chosen.languages) == ["python", "rust", "c"]
    assert all(s.path.startswith(f"/elsewhere/{name}/") for name, one in chosen.languages.items() for s in one.sources)
    assert all(
        len(one.sources) >= 4 for one in manifest.load(f"{RECIPE}:python,javascript,typescript,java").languages.values()
    )


@functools.cache
def fetched(folder, name):
    """Why the packages of a language could not be fetched, or ""."""
    command = ["bash", f"{ROOT}/launch/fetch_debian_corpus.sh", str(folder), name]
    done = subprocess.run(command, capture_output=True, text=True)
    return "" if (folder / name).is_dir() else done.stderr.strip().splitlines()[-1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("debian") / "sources"


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.parametrize("name", ["javascript", "typescript", "java", "c", "rust"])
def test_a_corpus_of_debian_packages_has_prompts_of_many_pairs(name, folder, tmp_path, capsys):
    for one in ("python", name):
        if why := fetched(folder, one):
            with capsys.disabled():
                print(f"\nno corpus of {one} was built: {why}", end="")
            pytest.skip(why)
    raw = manifest.load(f"{RECIPE}:{folder},python,{name}").record()
    for one in raw["languages"].values():
        one["max_megabytes"] = 20
    built = build.build(manifest.check(raw, "test"), tmp_path / "out", progress=False)
    sites = built.stats.call_sites[f"python-{name}"]
    usable = [min(both) for both in zip(*sites.prompts.values(), strict=True) if min(both)]
    with capsys.disabled():
        print(f"\n{name}: {len(usable)} of {len(sites.pairs)} pairs have prompts in both languages", end="")
    assert len(usable) >= 8
    record = language(name)
    paths = sorted(path for ending in record.extensions for path in (folder / name).rglob(f"*{ending}"))
    small = [path for path in paths if path.is_file() and path.stat().st_size < 20_000]
    texts = [path.read_text("utf-8", "replace").replace("\r\n", "\n") for path in random.Random(0).sample(small, 100)]
    assert share_that_differs(texts, record) < 0.005

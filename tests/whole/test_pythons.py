"""The patterns mean the same on every Python that the package takes: 3.11.0 to 3.11.4 got some of them wrong."""

import functools
import glob
import json
import os
import random
import shutil
import subprocess
import sys
import sysconfig

import pytest
from helpers import ROOT
from helpers.openers import EVERYWHERE, MARKS, SECRETS

from babel_jax.languages.registry import LANGUAGES

# The tests of all that has patterns which once were wrong; those of speed and the long ones aside.
TESTS = (
    *(f"tests/test_{name}.py" for name in ("languages", "stops", "redact", "call_sites")),
    "tests/samples/test_toolchains.py::test_go_imports_are_those_used",
)
ASIDE = "not (time or long or fast or reference or twice)"
ASK = "import json, sys; print(json.dumps([sys.version.split()[0], sys.implementation.cache_tag, sys.executable]))"


@functools.cache
def others():
    """Version -> (what its compiled modules are called, the program), of the other Pythons from 3.11 on that are at hand."""
    names = ("python3", *(f"python3.{minor}" for minor in range(11, 20)))
    programs = [
        shutil.which(name, path=path) for path in (os.environ["PATH"], "/usr/bin:/usr/local/bin") for name in names
    ]
    if shutil.which("pyenv"):
        root = subprocess.run(["pyenv", "root"], capture_output=True, text=True).stdout.strip()
        programs += sorted(glob.glob(f"{glob.escape(root)}/versions/3.*/bin/python3"))
    known = {}
    for program in dict.fromkeys(filter(None, programs)):
        said = subprocess.run([program, "-I", "-c", ASK], capture_output=True, text=True)
        if said.returncode == 0:  # a stand-in of pyenv may have nothing behind it
            version, tag, itself = json.loads(said.stdout)
            known.setdefault(version, (tag, itself))
    here = sys.version.split()[0]
    return {v: found for v, found in known.items() if v != here and tuple(map(int, v.split(".")[:2])) >= (3, 11)}


def run(program, *arguments, **options):
    """Another Python, with the packages of this one."""
    packages = dict.fromkeys(sysconfig.get_path(kind) for kind in ("purelib", "platlib"))
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests"), *packages])
    environment = os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run([program, *arguments], env=environment, cwd=ROOT, capture_output=True, text=True, **options)


def made(pieces, count, random):
    return ["".join(random.choices(pieces, k=random.randrange(1, 25))) for _ in range(count)]


def test_other_pythons_find_the_same(capsys):
    chance = random.Random(0)
    texts = {name: made(MARKS[name] + EVERYWHERE, 150, chance) for name in LANGUAGES}
    texts["python"] += ["for x in y: print(len(x), str ( None ))\n", (ROOT / "babel_jax" / "lexical.py").read_text()]
    texts["secrets"] = made(
        [*SECRETS, *EVERYWHERE, "-----END PRIVATE KEY-----", "A" * 64, "2a00:1450::", "Version ", "v"], 400, chance
    )

    def asked(program):
        done = run(program, "-m", "portable", input=json.dumps(texts))
        assert done.returncode == 0, done.stderr
        said = json.loads(done.stdout)
        assert not said["atomic"]  # what 3.11.0 to 3.11.4 get wrong
        return said["found"]

    here = asked(sys.executable)
    assert all("digest" in said for said in here.values()), here
    for version, (_, program) in others().items():
        there = asked(program)
        for name, said in there.items():
            with capsys.disabled():
                print(f"\nPython {version}: {name}: " + said.get("not run", "finds the same"), end="")
            assert said == here[name] or "not run" in said, (version, name)
        assert "digest" in there["lexical"] and "digest" in there["corpus.addresses"]
    if not others():
        pytest.skip("no other Python from 3.11 on is at hand; this one makes no pattern that one of them gets wrong")


def test_tests_of_the_patterns_pass_on_other_pythons(capsys):
    """Where the packages of this Python can be loaded, which are built for one minor version."""
    same = {v: program for v, (tag, program) in others().items() if tag == sys.implementation.cache_tag}
    if not same:
        pytest.skip(f"no other Python with the compiled packages of {sys.implementation.cache_tag} is at hand")
    for version, program in same.items():
        done = run(program, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow", "-k", ASIDE, *TESTS)
        assert done.returncode == 0, done.stdout[-3000:]
        with capsys.disabled():
            print(f"\nPython {version}: {done.stdout.strip().splitlines()[-1]}", end="")

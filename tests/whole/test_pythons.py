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

pytestmark = pytest.mark.processes

# The tests of all that has patterns which once were wrong; those of speed and the long ones aside.
TESTS = tuple(
    f"tests/{name}.py"
    for name in ("languages/test_lexical", "suites/test_stops", "corpus/test_redact", "corpus/test_call_sites")
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
        answer = subprocess.run([program, "-I", "-c", ASK], capture_output=True, text=True)
        if answer.returncode == 0:  # a stand-in of pyenv may have nothing behind it
            version, tag, itself = json.loads(answer.stdout)
            known.setdefault(version, (tag, itself))
    here = sys.version.split()[0]
    return {v: about for v, about in known.items() if v != here and tuple(map(int, v.split(".")[:2])) >= (3, 11)}


def run(program, *arguments, **options):
    """Another Python, with the packages of this one."""
    packages = dict.fromkeys(sysconfig.get_path(kind) for kind in ("purelib", "platlib"))
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests"), *packages])
    environment = os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run([program, *arguments], env=environment, cwd=ROOT, capture_output=True, text=True, **options)


def drawn(pieces, count, random):
    return ["".join(random.choices(pieces, k=random.randrange(1, 25))) for _ in range(count)]


def test_other_pythons_find_the_same(capsys):
    chance = random.Random(0)
    texts = {name: drawn(MARKS[name] + EVERYWHERE, 150, chance) for name in MARKS}
    texts["python"] += [
        "for x in y: print(len(x), str ( None ))\n",
        (ROOT / "babel_jax" / "languages" / "lexical.py").read_text(),
    ]
    texts["secrets"] = drawn(
        [*SECRETS, *EVERYWHERE, "-----END PRIVATE KEY-----", "A" * 64, "2a00:1450::", "Version ", "v"], 400, chance
    )

    def asked(program):
        done = run(program, ROOT / "tests" / "helpers" / "portable.py", input=json.dumps(texts))
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        assert not answer["atomic"]  # what 3.11.0 to 3.11.4 get wrong
        return answer["digests"]

    here = asked(sys.executable)
    assert all("digest" in digest for digest in here.values()), here
    for version, (_, program) in others().items():
        there = asked(program)
        for name, digest in there.items():
            with capsys.disabled():
                print(f"\nPython {version}: {name}: " + digest.get("not run", "finds the same"), end="")
            assert digest == here[name] or "not run" in digest, (version, name)
        assert "digest" in there["languages.lexical"] and "digest" in there["corpus.addresses"]
    if not others():
        pytest.skip("no other Python from 3.11 on is at hand; this one makes no pattern that one of them gets wrong")


def test_tests_of_the_patterns_pass_on_other_pythons(capsys):
    """Where the packages of this Python can be loaded, which are built for one minor version."""
    same = {v: program for v, (tag, program) in others().items() if tag == sys.implementation.cache_tag}
    if not same:
        pytest.skip(f"no other Python with the compiled packages of {sys.implementation.cache_tag} is at hand")
    for version, program in same.items():
        options = ("-q", "-p", "no:cacheprovider", "-m", "not slow", "-k", ASIDE)
        done = run(program, "-m", "pytest", *options, *TESTS)
        assert done.returncode == 0, done.stdout[-3000:]
        with capsys.disabled():
            print(f"\nPython {version}: {done.stdout.strip().splitlines()[-1]}", end="")

"""`doctor` says what is there by trying it, says what installs the rest, and can say no."""

import contextlib
import io
import shutil

import pytest
from helpers.remote import without_libseccomp

from babel_jax import __main__
from babel_jax.languages.registry import LANGUAGES
from babel_jax.suites import capabilities, sandbox, toolchains
from babel_jax.suites.sandbox import Finished, Isolation, syscalls
from babel_jax.suites.sandbox.promises import PROMISES
from babel_jax.suites.toolchains import TOOLCHAINS, cpp, python, toolchain
from babel_jax.suites.toolchains.toolchain import Execution

pytestmark = pytest.mark.processes

TOOLS = {"python": "python3", "php": "php", "csharp": "mcs", "go": "go", "cpp": "g++"}


def installed(language: str) -> bool:
    return shutil.which(TOOLS[language], path=toolchain.SEARCHED) is not None


@pytest.fixture(scope="module")
def printed():
    """What the verb prints on this machine."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert __main__.main(["doctor"]) == 0
    return out.getvalue()


@pytest.mark.parametrize("language", TOOLCHAINS)
def test_every_installed_language_is_judged_rightly(printed, language):
    (line,) = [line for line in printed.splitlines() if line.startswith(LANGUAGES[language].title.ljust(12))]
    if not installed(language):
        assert TOOLCHAINS[language].install in line
        pytest.skip(f"{LANGUAGES[language].title} is not installed")
    assert line.split()[-3:] == ["yes", "yes", "yes"] and toolchains.find(language).version in line


def test_the_strongest_sandbox_of_this_machine_is_named(printed):
    assert printed.startswith("jax ")
    levels = sandbox.available()
    for level, why_not in levels.items():
        assert (f"not {level}: {why_not}" in printed) == bool(why_not)
    strongest = next(level for level, why_not in levels.items() if not why_not)
    assert f"sandbox: {strongest}\n" in printed
    if strongest == "bubblewrap":
        assert "contained, 11 of 11 attacks" in printed and "NOT" not in printed
        assert f"held back by this level, as tested: {len(PROMISES) - 1} of {len(PROMISES)} attacks; not:" in printed


def test_where_nothing_is_installed_each_line_says_what_installs_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(toolchain, "SEARCHED", str(tmp_path))
    monkeypatch.setattr(sandbox, "available", lambda: dict.fromkeys(sandbox.LEVELS, "not found"))
    assert __main__.main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert "sandbox: none works here" in text and text.count("not found") == 3 and "passes" not in text
    for kind in TOOLCHAINS.values():
        assert kind.install in text


def test_what_a_weak_sandbox_does_not_hold_back_is_listed(tmp_path, monkeypatch):
    """What a level does not hold back is said: at the level of rlimits, the network and what all may read."""
    monkeypatch.setattr(sandbox, "_why_not", lambda level: "" if level == "rlimits" else "switched off")
    monkeypatch.setattr(toolchain, "SEARCHED", str(tmp_path))
    examination = capabilities.examine(tmp_path)
    held = examination.contained
    assert not held["reads a file outside"] and not held["writes a file outside"]
    assert all(held[name] for name in ("200 processes", "3 GB of memory", "never ends", "sleeps", "stays behind"))
    text = capabilities.table(examination)
    assert "not bubblewrap: switched off" in text and "apt-get install bubblewrap" in text
    assert "NOT contained: reads a file outside, writes a file outside\n" in text
    assert "writes to a named pipe outside" in text and "System V" not in text


def test_without_libseccomp_what_needs_it_is_listed(tmp_path, monkeypatch):
    """The level is still there, and what it no longer promises is said, with the line that mends it."""
    monkeypatch.setattr(syscalls, "_library", without_libseccomp)
    monkeypatch.setattr(toolchain, "SEARCHED", str(tmp_path))
    text = capabilities.table(capabilities.examine(tmp_path))
    assert "  filter of system calls: none: libseccomp.so.2 not found; apt-get install libseccomp2\n" in text
    unwrapped = " ".join(text.split())
    assert "keeps memory in System V shared memory; " in unwrapped and "(AF_VSOCK); " in unwrapped
    assert max(map(len, text.partition("held back")[2].partition("\n\n")[0].splitlines())) <= 118


class Careless(python.Python):
    """A toolchain with which every program passes, and one more that fails to run at all."""

    version, missing, installs = "0", ("boost",), cpp.Cpp.installs

    def __init__(self, status=0):
        self.status = status

    def prepare(self, cache):
        pass

    def execute(self, *_, **__):
        if self.status:
            raise FileNotFoundError("it is gone")
        return Execution(None, Finished(0, "itself", b"", b"", 0.0, 0.0), sentinel_seen=True)


def test_a_toolchain_that_does_not_judge(monkeypatch, tmp_path):
    trials = capabilities.trials(Careless(), None)
    assert {title: not wrong for title, wrong in trials.items()} == {
        "passes": True,
        "fails": False,
        "times out": False,
    }
    monkeypatch.setattr(toolchains, "find", lambda name: Careless())
    row = capabilities._language("python", "a sandbox", tmp_path)
    about = Isolation("bubblewrap", True, ("pids",), "", without_filter="not installed")
    examination = capabilities.Examination({}, about, {}, [], [row])
    lines = capabilities.table(examination).splitlines()
    assert lines[-4].split() == ["Python", "0", "yes", "NO", "NO"]
    assert lines[-3].split() == ["fails:", "passed"] and "libboost-dev" in lines[-1]
    gone = capabilities.trials(Careless(status=1), None)
    assert gone["passes"] == "infra_error: it is gone"


def test_a_language_without_a_toolchain_is_listed_as_one(monkeypatch, tmp_path):
    monkeypatch.delitem(TOOLCHAINS, "go")
    row = capabilities._language("go", "a sandbox", tmp_path)
    lines = capabilities.table(capabilities.Examination({}, None, {}, [], [row])).splitlines()
    assert lines[-1] == "Go          no toolchain: its programs are not judged"

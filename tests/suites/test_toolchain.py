"""Every language's programs through the real tools: what passes, what fails, and that the end of the tests was reached."""

import concurrent.futures
import dataclasses
import shutil

import pytest
from helpers.programs import BODIES, COMPILE, PROGRAMS, RUN, SENTINEL, output, program

from babel_jax.common.errors import UserError
from babel_jax.languages.registry import LANGUAGES
from babel_jax.suites import toolchains
from babel_jax.suites.outcomes import classify
from babel_jax.suites.sandbox import SandboxError
from babel_jax.suites.toolchains import TOOLCHAINS, csharp
from babel_jax.suites.toolchains import toolchain as base
from babel_jax.suites.toolchains.toolchain import Code, Conditions


@pytest.mark.parametrize("language", TOOLCHAINS)
def test_a_right_program_reaches_the_sentinel(execute, language):
    execution = execute(program(language))
    assert execution.ran is not None, output(execution)
    assert (execution.ran.status, execution.sentinel_seen) == (0, True), output(execution)
    assert (execution.compiled is None) == (language in ("python", "php"))


@pytest.mark.parametrize("language", TOOLCHAINS)
def test_a_program_that_prints_a_word_of_its_own_and_leaves_shows_no_sentinel(execute, language):
    execution = execute(program(language, BODIES["forges"][language]))
    assert execution.ran is not None, output(execution)
    assert (execution.ran.status, execution.sentinel_seen) == (0, False)


# 100 kB on standard error before the sentinel and, where the language can, behind it.
NOISE = {
    "python": "import atexit\nsay = lambda: os.write(2, b'noise\\n' * 20000)\nsay(), atexit.register(say)\n",
    "php": 'function say() { fwrite(STDERR, str_repeat("noise\\n", 20000)); }\nsay(); register_shutdown_function("say");\n',
    "csharp": 'static void Say() { for (int i = 0; i < 20000; i++) Console.Error.Write("noise\\n"); }\n'
    "static Program() { Say(); AppDomain.CurrentDomain.ProcessExit += (sender, e) => Say(); }\n",
    "go": 'func init() {\n\tfor i := 0; i < 20000; i++ {\n\t\tos.Stderr.WriteString("noise\\n")\n\t}\n}\n',
    "cpp": 'void say() { for (int i = 0; i < 20000; i++) std::cerr << "noise\\n"; }\n'
    "struct Noise { Noise() { say(); } ~Noise() { say(); } } noise;\n",
}


@pytest.mark.parametrize("language", TOOLCHAINS)
def test_a_right_but_noisy_program_is_seen_to_end(execute, language):
    quiet = program(language)
    execution = execute(dataclasses.replace(quiet, body=quiet.body + NOISE[language]))
    assert execution.ran.status == 0 and execution.sentinel_seen, output(execution)[:500]
    assert len(execution.ran.stderr) < 70000 and b"bytes left out" in execution.ran.stderr


@pytest.mark.parametrize("language", TOOLCHAINS)
def test_what_failed_is_found_in_noise(execute, language):
    """Also where nothing but the text tells it: a failed Debug.Assert leaves the status at 0 in mono."""
    wrong = program(language, BODIES["wrong"][language])
    code = dataclasses.replace(wrong, body=wrong.body + NOISE[language])
    for sentinel in (SENTINEL, None):
        assert classify(code, execute(code, sentinel), "multipl_e")[0] == "failed_assert"


@pytest.mark.parametrize("language", TOOLCHAINS)
@pytest.mark.parametrize("sign", ["\0", "\x1a", "\x04", "\f", "\u2028", "\u202e"])
def test_no_character_hides_what_stands_behind_it(execute, language, sign):
    code = program(language, PROGRAMS[language][1] + f"{sign} this is no program")
    assert classify(code, execute(code))[0] == "compile_error"


@pytest.mark.parametrize("language", TOOLCHAINS)
def test_without_a_sentinel_the_program_runs_as_it_stands(execute, language):
    leaves = execute(program(language, BODIES["leaves"][language]), sentinel=None)
    assert (leaves.ran.status, leaves.sentinel_seen) == (0, False)
    crashes = execute(program(language, BODIES["crash"][language]), sentinel=None)
    assert crashes.ran.status != 0


@pytest.mark.parametrize("language", TOOLCHAINS)
def test_text_beyond_ascii_reaches_the_program(execute, language):
    texts = {
        "python": ("", 'assert len("é€") == 2\n'),
        "php": ("<?php\n", 'if (strlen("é€") !== 5) { throw new Exception(); }\n'),
        "csharp": ("class P {", 'static void Main() { if ("é€".Length != 2) throw new System.Exception(); } }'),
        "go": ("package main", 'func main() { if len("é€") != 5 { panic("wrong") } }'),
        "cpp": ("#include <string>", 'int main() { return std::string("é€").size() != 5; }'),
    }
    execution = execute(Code(language, *texts[language]))
    assert execution.ran.status == 0 and execution.sentinel_seen, output(execution)


@pytest.mark.parametrize(
    "language, body, tests",
    [
        (
            "php",
            "<?php\nfunction f() { return 1; }\n?>\n",
            "if (f() !== 2) { throw new Exception(); }\n",
        ),  # prints it all
        ("php", "<?php\n", "echo file_get_contents(__FILE__); fwrite(STDERR, file_get_contents(__FILE__)); exit(0);\n"),
    ],
)
def test_quoting_the_program_shows_no_sentinel(execute, language, body, tests):
    execution = execute(Code(language, body, tests))
    assert SENTINEL[:16].encode() in execution.ran.stdout + execution.ran.stderr
    assert not execution.sentinel_seen


def test_names_that_the_suite_expects_are_the_programs_to_define(execute):
    """A task may be to write `sum`, or a class that compares as it likes."""
    code = Code("python", "def sum(a, b): return a + b\nclass Odd:\n    def __eq__(self, other): return other % 2 == 1\n",
                "assert sum(2, 3) == 5\nassert Odd() == 3\n")  # fmt: skip
    assert not execute(code).sentinel_seen
    assert execute(dataclasses.replace(code, declares=("sum", "Odd"))).sentinel_seen
    code = Code("csharp", "using System;\npublic class Stack { public int Count = 3; }\nclass P {\n",
                "static void Main() { if (new Stack().Count != 3) throw new Exception(); } }\n")  # fmt: skip
    assert not execute(code).sentinel_seen and execute(dataclasses.replace(code, declares=("Stack",))).sentinel_seen
    code = Code(
        "go",
        "package main\n\nfunc len(x int) int { return x }\n",
        "func main() {\n\tif len(1) != 1 {\n\t\tpanic(1)\n\t}\n}\n",
    )
    assert execute(code).ran is None and execute(dataclasses.replace(code, declares=("len",))).sentinel_seen


@pytest.mark.parametrize(
    "code",
    [
        Code("python", "def f(x):\n    \"\"\"\n    >>> f(1)\n    1\n    \"\"\"\n    return x\n\nif __name__ == '__main__':\n"
             "    import doctest\n    print(doctest.testmod())\n", "assert f(1) == 1\n"),
        Code("python", "from types import MappingProxyType as Seen\nfrom collections import UserList\nimport ipaddress\n"
             "class Own(UserList):\n    pass\ndef f(x):\n    return Seen({1: [x]})\ndef place(x):\n"
             "    return ipaddress.ip_address(x)\nitself = UserList([1])\nitself.append(itself)\n",
             "assert f(2) == {1: [2]} and f(2) != {} and not f(2) != f(2) and 2 not in [3] and not 2 not in [2]\n"
             "assert Own([1]) == [1] != Own([2]) and place(3) > place(2) and itself != [1]\n"),
        Code("php", "<?php\nfunction f($namespace) { foreach ($namespace as $x) { return $x; } }\n"
             "use function count, \\is_bool;\n",
             "class T { static function assert($x) { assert(is_bool($x)); } }\nT::assert(f([true])) . count([]);\n"),
        Code("csharp", "using System.Collections.Generic;\nclass P {\n class List { }\n static int Stack { get; set; }\n",
             "static void Main() { new List<int>(); new Stack<int>(); } }\n"),
    ],
    ids=lambda code: code.language,
)  # fmt: skip
def test_what_looks_like_a_cheat_and_is_none_passes(execute, code):
    """doctest ends a tracing that never began; values of the library's classes; a variable called namespace; a class List
    beside List<int>."""
    execution = execute(code)
    assert execution.sentinel_seen, output(execution)


def test_the_arguments_of_other_languages_hold_no_sentinel_either(execute):
    csharp = "static void Main(string[] words) { if (words.Length != 0) throw new System.Exception(); } }"
    go = 'func main() { if len(os.Args) != 1 { panic("arguments") } }'
    for code in (Code("csharp", "class P {", csharp), Code("go", 'package main\nimport "os"', go)):
        execution = execute(code)
        assert execution.ran.status == 0 and execution.sentinel_seen, output(execution)


def test_what_a_program_needs_and_is_not_installed_is_named(execute, ready, monkeypatch):
    toolchain = ready("cpp")
    monkeypatch.setattr(toolchain, "missing", ("boost",))
    with pytest.raises(UserError, match="boost: apt-get install libboost-dev"):
        execute(dataclasses.replace(program("cpp"), needs=("boost",)))


@pytest.mark.parametrize("language, name", [("csharp", "Launcher.exe"), ("cpp", "sentinel.o")])
def test_a_prepared_file_that_vanishes_is_no_verdict(sandboxed, ready, place, language, name):
    shutil.copytree(ready(language)._tools, place / ready(language)._tools.name)
    toolchain = toolchains.find(language)
    toolchain.prepare(place)
    next(place.glob(f"{language}-*/{name}")).unlink()
    with pytest.raises(FileNotFoundError, match=name):
        toolchain.execute(sandboxed, program(language), Conditions(SENTINEL, COMPILE, RUN))


@pytest.mark.parametrize("language", TOOLCHAINS)
def test_a_tool_that_vanishes_is_no_verdict(sandboxed, ready, monkeypatch, tmp_path, language):
    toolchain = ready(language)
    names = {"python": "_python", "php": "_php", "csharp": "_mono", "go": "_compiler", "cpp": "_compiler"}
    tool = tmp_path / "tool"
    monkeypatch.setattr(toolchain, names[language], tool)
    monkeypatch.setattr(toolchain, "_required", (tool,))
    with pytest.raises((FileNotFoundError, SandboxError), match=str(tool)):
        toolchain.execute(sandboxed, program(language), Conditions(SENTINEL, COMPILE, RUN))


@pytest.mark.parametrize("language", TOOLCHAINS)
def test_what_is_not_installed_is_named_with_the_line_that_installs_it(monkeypatch, language):
    monkeypatch.setattr(base, "SEARCHED", "/nowhere")
    with pytest.raises(UserError, match=f"not installed below /usr; {TOOLCHAINS[language].install}"):
        toolchains.find(language)


@pytest.mark.parametrize("language, name", [("python", "python3"), ("php", "php"), ("csharp", "mono"), ("cpp", "g++")])
def test_a_tool_that_programs_would_not_see_is_refused(monkeypatch, tmp_path, language, name):
    """As /usr/local/bin/NAME that points into /opt."""
    tool = tmp_path / "real"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)
    (tmp_path / name).symlink_to(tool)
    monkeypatch.setattr(base, "SEARCHED", str(tmp_path))
    with pytest.raises(
        UserError, match=f"{tool}, which programs in the sandbox do not see.*{TOOLCHAINS[language].install}"
    ):
        toolchains.find(language)


def test_an_unknown_language_names_the_nearest():
    with pytest.raises(UserError, match="did you mean 'python'"):
        toolchains.find("pyhton")


def test_a_language_without_a_toolchain_is_refused_in_one_line(monkeypatch):
    monkeypatch.delitem(TOOLCHAINS, "php")
    for refused in (lambda: toolchains.find("php"), lambda: toolchains.kind("php")):
        with pytest.raises(
            UserError, match="no toolchain for PHP, so its programs cannot be judged; leave it out: --languages"
        ):
            refused()


def test_every_toolchain_is_of_a_language_and_says_what_it_must():
    for language, kind in TOOLCHAINS.items():
        assert kind.language == language in LANGUAGES and kind.install and kind.declaring
        assert "return 1" in kind.control[0] and "f" in kind.control[1].lower()


def test_shims_in_home_folders_are_not_taken(monkeypatch, tmp_path, ready):
    ready("python")
    for name in ("python3", "php"):
        (tmp_path / name).write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert toolchains.find("python").version.startswith("Python 3")


def test_two_that_prepare_at_once_share_one_result(sandboxed, ready, place):
    ready("csharp")
    pair = [toolchains.find("csharp") for _ in range(2)]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda toolchain: toolchain.prepare(place), pair))
    assert [path.name for path in place.iterdir()] == [f"csharp-{pair[0].fingerprint}"]
    for toolchain in pair:
        execution = toolchain.execute(sandboxed, program("csharp"), Conditions(SENTINEL, COMPILE, RUN))
        assert execution.sentinel_seen, output(execution)


def test_what_was_prepared_is_used_again(ready, tmp_path):
    ready("csharp")
    toolchains.find("csharp").prepare(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    toolchains.find("csharp").prepare(tmp_path)
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}


def test_preparing_that_fails_leaves_nothing(ready, tmp_path, monkeypatch):
    ready("csharp")
    toolchain = toolchains.find("csharp")
    monkeypatch.setattr(csharp, "SHIMS", tmp_path / "nothing")
    with pytest.raises(UserError, match="fails"):
        toolchain.prepare(tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_the_fingerprint_follows_version_options_and_shims(monkeypatch, tmp_path, ready):
    ready("php")
    first = toolchains.find("php")
    assert first.fingerprint == toolchains.find("php").fingerprint != ready("python").fingerprint
    shims = tmp_path / "shims"
    shutil.copytree(base.SHIMS, shims)
    monkeypatch.setattr(base, "SHIMS", shims)
    assert toolchains.find("php").fingerprint == first.fingerprint
    (shims / "assert.go").write_text("package assert\n")
    assert toolchains.find("php").fingerprint != first.fingerprint


def test_the_fingerprint_follows_the_marks_of_the_language_and_not_its_pairs(monkeypatch):
    class Tools(base.Toolchain):
        language = "php"

    first = Tools("1", ()).fingerprint
    assert len({first, Tools("2", ()).fingerprint, Tools("1", (), ("-O0",)).fingerprint}) == 3
    monkeypatch.setattr(Tools, "record", dataclasses.replace(LANGUAGES["php"], pairs={}))
    assert Tools("1", ()).fingerprint == first
    monkeypatch.setattr(Tools, "record", dataclasses.replace(LANGUAGES["php"], line_comments=("//",)))
    assert Tools("1", ()).fingerprint != first


def test_the_fingerprint_follows_the_file_of_the_toolchain_itself(monkeypatch, tmp_path):
    class Tools(base.Toolchain):
        language = "php"

    first = Tools("1", ()).fingerprint
    (tmp_path / "tools.py").write_text("OPTIONS = ()\n")
    monkeypatch.setattr(base.inspect, "getfile", lambda kind: str(tmp_path / "tools.py"))
    assert Tools("1", ()).fingerprint != first


def test_unprepared_toolchains_say_so(sandboxed, ready):
    ready("python")
    with pytest.raises(RuntimeError, match="prepare"):
        toolchains.find("python").execute(sandboxed, program("python"), Conditions(None, COMPILE, RUN))


def test_noise_that_speaks_of_errors_does_not_hide_the_sentinel(execute):
    """More of it behind the sentinel than what is kept of such lines."""
    quiet = program("python")
    noise = NOISE["python"].replace("noise\\n", "ValueError: noise\\n")
    execution = execute(dataclasses.replace(quiet, body=quiet.body + noise))
    assert b"ValueError: noise" in execution.ran.stderr
    assert execution.ran.status == 0 and execution.sentinel_seen, output(execution)[:500]

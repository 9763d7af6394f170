"""Every language's programs through the real tools: what passes, what fails, and that the end of the tests was reached."""

import concurrent.futures
import dataclasses
import shutil

import pytest

from babel_jax.common.errors import UserError
from babel_jax.languages.registry import LANGUAGES
from babel_jax.suites import toolchains
from babel_jax.suites.outcomes import classify
from babel_jax.suites.sandbox import Limits, SandboxError
from babel_jax.suites.toolchains import TOOLCHAINS, cpp, go, php
from babel_jax.suites.toolchains import toolchain as base
from babel_jax.suites.toolchains.go import repaired_imports
from babel_jax.suites.toolchains.toolchain import Code, Conditions

SENTINEL = "5e1f7a3b9c0d2e4f6a8b1c3d5e7f9a0b"
COMPILE = Limits(cpu_seconds=60, wall_seconds=180, memory_bytes=2 << 30, tmp_bytes=256 << 20)
RUN = Limits(cpu_seconds=10, wall_seconds=60)

# (what stands before the function's body, the function's right body, what closes it, the tests)
PROGRAMS = {
    "python": ("import os, sys\ndef f(x):\n    ", "return x + 1", "\n", "assert f(1) == 2\nassert f(2) == 3\n"),
    "php": (
        "<?php\nfunction f($x) {\n    ",
        "return $x + 1;",
        "\n}\n",
        'if (f(1) !== 2) { throw new Exception("first"); }\nassert(f(2) === 3);\n',
    ),
    "csharp": (
        "using System;\nusing System.Diagnostics;\npublic class Program {\n    static int F(int x) {\n        ",
        "return x + 1;",
        "\n    }\n",
        "    static void Main(string[] args) {\n"
        '        if (F(1) != 2) throw new Exception("first");\n        Debug.Assert(F(2) == 3);\n    }\n}\n',
    ),
    "go": (
        'package main\n\nimport "os"\n\nvar leave = os.Exit\n\nfunc f(x int) int {\n    ',
        "return x + 1",
        "\n}\n",
        'func main() {\n    if f(1) != 2 || f(2) != 3 {\n        panic("wrong")\n    }\n}\n',
    ),
    "cpp": (
        "#include <bits/stdc++.h>\nint f(int x) {\n    ",
        "return x + 1;",
        "\n}\n",
        "#undef NDEBUG\n#include <assert.h>\nint main() {\n    assert(f(1) == 2);\n    assert(f(2) == 3);\n}\n",
    ),
}
BODIES = {
    "wrong": dict.fromkeys(("php", "csharp", "cpp"), "return x == 1 ? 2 : 0;")
    | {"php": "return $x == 1 ? 2 : 0;", "python": "return 2", "go": "return 2"},
    "crash": {
        "python": "return [][x]",
        "php": "return intdiv($x, 0);",
        "csharp": "int[] none = null; return none[x];",
        "go": "var none []int; return none[x]",
        "cpp": 'throw std::runtime_error("broken");',
    },
    "no program": dict.fromkeys(TOOLCHAINS, "return ((1;"),
    "leaves": {
        "python": "os._exit(0)",
        "php": "exit(0);",
        "csharp": "Environment.Exit(0); return 0;",
        "go": "leave(0); return 0",
        "cpp": "exit(0);",
    },
    "forges": {
        "python": "sys.stderr.write('\\n' + '0' * 32 + '\\n'); sys.stderr.flush(); os._exit(0)",
        "php": 'fwrite(STDERR, "\\n" . str_repeat("0", 32) . "\\n"); exit(0);',
        "csharp": "Console.Error.WriteLine(\"\\n\" + new string('0', 32)); Environment.Exit(0); return 0;",
        "go": 'os.Stderr.WriteString("\\n00000000000000000000000000000000\\n"); leave(0); return 0',
        "cpp": "std::cerr << \"\\n\" << std::string(32, '0') << std::endl; exit(0);",
    },
    "never ends": dict.fromkeys(TOOLCHAINS, "while (true) { }") | {"python": "while True: pass", "go": "for {\n }"},
}


@pytest.fixture
def place(sandboxed, tmp_path):
    """A folder that programs can be shown."""
    with sandboxed.reachable(tmp_path) as place:
        yield place


@pytest.fixture
def execute(sandboxed, ready):
    def run(code, sentinel=SENTINEL, run_limits=RUN, repair_imports=False):
        conditions = Conditions(sentinel, COMPILE, run_limits, repair_imports)
        return ready(code.language).execute(sandboxed, code, conditions)

    return run


def program(language, body=None):
    before, right, after, tests = PROGRAMS[language]
    return Code(language, before + (right if body is None else body) + after, tests)


def said(execution):
    finished = execution.ran or execution.compiled
    return (finished.stdout + finished.stderr).decode()


@pytest.mark.parametrize("language", TOOLCHAINS)
def test_a_right_program_reaches_the_sentinel(execute, language):
    execution = execute(program(language))
    assert execution.ran is not None, said(execution)
    assert (execution.ran.status, execution.sentinel_seen) == (0, True), said(execution)
    assert (execution.compiled is None) == (language in ("python", "php"))


@pytest.mark.parametrize("language", TOOLCHAINS)
@pytest.mark.parametrize("kind", ["wrong", "crash"])
def test_a_wrong_or_broken_program_fails_when_run(execute, language, kind):
    execution = execute(program(language, BODIES[kind][language]))
    assert execution.ran is not None, said(execution)
    assert execution.ran.status != 0 and not execution.sentinel_seen


@pytest.mark.parametrize("language", TOOLCHAINS)
def test_what_is_no_program_does_not_compile(execute, language):
    execution = execute(program(language, BODIES["no program"][language]))
    assert not execution.sentinel_seen
    if language in ("python", "php"):
        assert execution.compiled is None and execution.ran.status != 0
    else:
        assert execution.ran is None and execution.compiled.status != 0
        assert execution.compiled.ended_by == "itself" and "rror" in said(execution) + "rror" * (language == "go")


@pytest.mark.parametrize("language", TOOLCHAINS)
@pytest.mark.parametrize("kind", ["leaves", "forges"])
def test_leaving_before_the_tests_shows_no_sentinel(execute, language, kind):
    code = program(language, BODIES[kind][language])
    execution = execute(code)
    assert execution.ran is not None, said(execution)
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
    assert execution.ran.status == 0 and execution.sentinel_seen, said(execution)[:500]
    assert len(execution.ran.stderr) < 70000 and b"bytes left out" in execution.ran.stderr


def test_noise_that_tells_of_errors_does_not_hide_the_sentinel(execute):
    """More of it behind the sentinel than what is kept of such lines."""
    quiet = program("python")
    noise = NOISE["python"].replace("noise\\n", "ValueError: noise\\n")
    execution = execute(dataclasses.replace(quiet, body=quiet.body + noise))
    assert b"ValueError: noise" in execution.ran.stderr
    assert execution.ran.status == 0 and execution.sentinel_seen, said(execution)[:500]


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


@pytest.mark.parametrize("sentinel", [SENTINEL, None])
def test_python_with_a_nul_character_is_no_program_whatever_the_version(execute, sentinel):
    for text in ("return x + 1 # \0", 'return x + len("\0")', "return x + 1\n\0\n"):
        code = program("python", text)
        assert classify(code, execute(code, sentinel), None if sentinel else "mxeval")[0] == "compile_error"


@pytest.mark.parametrize("language", TOOLCHAINS)
def test_a_loop_is_ended_by_its_limit(execute, language):
    code = program(language, BODIES["never ends"][language])
    execution = execute(code, run_limits=dataclasses.replace(RUN, cpu_seconds=1))
    assert execution.ran is not None, said(execution)
    assert execution.ran.ended_by == "cpu" and not execution.sentinel_seen


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
    assert execution.ran.status == 0 and execution.sentinel_seen, said(execution)


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


@pytest.mark.parametrize("tests", ["if f():\n", "raise Exception(open(__file__).read())\n"])
def test_a_program_of_python_does_not_hold_the_sentinel(execute, tests):
    """A message quotes its last line."""
    execution = execute(Code("python", "def f():\n    pass\n", tests))
    assert b"def f()" in execution.ran.stderr or b"if f()" in execution.ran.stderr
    assert execution.ran.status == 1 and SENTINEL[:16].encode() not in execution.ran.stdout + execution.ran.stderr


def test_python_prints_the_sentinel_past_what_the_program_did_to_its_output(execute):
    body = "import io, os, sys\nsys.stderr = sys.stdout = io.StringIO()\ndel os\n"
    assert execute(Code("python", body, "print('tests')\n")).sentinel_seen


def test_a_backslash_at_the_end_takes_no_test_away(execute):
    body = program("python", BODIES["wrong"]["python"]).body
    assert not execute(Code("python", f"{body}if 0: \\", "assert f(2) == 3\n")).sentinel_seen


def test_python_runs_a_program_as_if_it_were_started_by_itself(execute):
    """Its own module, its arguments, as much recursion, and names that the tests define."""
    body = """
import __main__, pickle, sys
class Box:
    def __init__(self, held): self.held = held
    def __eq__(self, other): return self.held == other.held
def f(x): return x + ONE
def depth(n=0):
    try: return depth(n + 1)
    except RecursionError: return n
assert __name__ == "__main__" and __main__.f is f and sys.argv == [__file__] and pickle.loads(pickle.dumps(Box(1))) == Box(1)
"""
    tests = """
import sys
ONE = 1
assert f(1) == 2 and [f(x) for x in (1, 2)] == [2, 3] and eval("f(2)") == 3
ONE = 2
assert f(1) == 3 and Box([1]) == Box([1]) != Box(2) and Box(1) in [Box(1)] and 0 < f(0) <= 2 and f is not None
class Three:
    three = f(1)
assert Three.three == 3 and sys.modules["__main__"].Three is Three and __name__ == "__main__"
from fractions import Fraction
from collections import Counter, OrderedDict
assert Fraction(4, 2) == 2 and Counter("aa") == {"a": 2} and OrderedDict(a=1) == {"a": 1} and f(0) in {2: 1}
assert depth() >= 990, depth()
"""
    execution = execute(Code("python", body, tests))
    assert execution.sentinel_seen, said(execution)


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


def test_a_right_program_may_use_the_names_of_the_tests_for_itself(execute):
    """A comparator called compare, macros, operators of its own types: nothing of it is a cheat."""
    body = """#include <bits/stdc++.h>
using namespace std;
#define throw throw
#define ll long long
#define INT_MAX 2147483647
struct P { int x; bool operator==(const P& other) const { return x == other.x; } };
bool operator==(const P& one, int other) { return one.x == other; }
bool operator<(const pair<int, int>& one, const pair<int, int>& other) { return one.second < other.second; }
bool compare(pair<int, int> one, pair<int, int> other) { return one.second < other.second; }
void* operator new(size_t n) { return malloc(n); }
void operator delete(void* p) noexcept { free(p); }
int f(int x) {
    vector<pair<int, int>> v = {{1, 2}, {2, 1}}; sort(v.begin(), v.end(), compare); map<int, string> m; atexit([] {});
    return m == m && v == v && v[0].first == 2 && P() == P() ? x + 1 : 0;
}
"""
    tests = "template <typename T> bool compare(T a, T b){\n    return a == b;\n}\n"
    tests += 'int main() {\n    if (!(compare(f(1), 2))) { throw runtime_error("wrong"); }\n    return f(INT_MAX - 2) < 0;\n}\n'
    execution = execute(Code("cpp", body, tests))
    assert execution.sentinel_seen, said(execution)


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
    assert execution.sentinel_seen, said(execution)


def test_python_has_nothing_installed_beside_it(execute):
    tests = "import sys\nassert 'site' not in sys.modules\nassert not any('packages' in path for path in sys.path)\n"
    execution = execute(Code("python", "", tests))
    assert execution.sentinel_seen, said(execution)


def test_php_has_the_usual_extensions(execute):
    execution = execute(Code("php", "<?php\n", "if (!ctype_upper('A')) { throw new Exception(); }\n"))
    assert execution.sentinel_seen, said(execution)


def test_a_failed_assertion_of_php_throws_also_where_that_is_not_the_default(sandboxed, ready, monkeypatch, tmp_path):
    """Before PHP 8 it only warned. The old default is given to this PHP, before the options of ours."""
    old = tmp_path / "php"
    old.write_text(f'#!/bin/sh\nexec {ready("php")._php} -d assert.exception=0 "$@"\n')
    old.chmod(0o755)
    monkeypatch.setattr(php.PHP, "_tool", lambda self, name: old)
    options = php.PHP()._options
    assert toolchains.find("php")._options == options
    command = [str(ready("php")._php), "-n", "-d", "assert.exception=0", *options, "-r", "assert(1 === 2);"]
    assert sandboxed.run(command).status == 255


def test_csharp_keeps_the_exit_code_that_the_program_set(execute):
    code = Code("csharp", "using System;\nclass P {\n", "static void Main() { Environment.ExitCode = 3; } }")
    assert execute(code).ran.status == 3


def test_a_failed_assertion_of_csharp_fails_the_program_or_is_printed(execute):
    code = program("csharp", "return 2;")
    strict = execute(code)
    assert strict.ran.status == 1 and b"Fail:" in strict.ran.stderr and not strict.sentinel_seen
    caught = code.tests.replace("Debug.Assert(F(2) == 3);", "try { Debug.Assert(false); } catch { }")
    assert execute(dataclasses.replace(code, tests=caught)).ran.status == 1
    as_peers = execute(code, sentinel=None)
    assert as_peers.ran.status == 0 and b"Fail:" in as_peers.ran.stderr
    assert execute(program("csharp"), sentinel=None).ran.stderr == b""
    written = program("csharp", 'Debug.WriteLine("Fail: no"); return x + 1;')
    assert execute(written).sentinel_seen


def test_csharp_needs_one_entry_point(execute):
    code = program("csharp")
    second = dataclasses.replace(code, tests=code.tests + "class Other { static void Main() { } }\n")
    assert execute(second).ran is None


@pytest.mark.parametrize("returns, status", [("", 0), ("return 0;", 0), ("return 3;", 3)])
def test_main_of_cpp_keeps_its_arguments_and_its_status(execute, returns, status):
    tests = f"int main(int n, char** words) {{ if (n != 1 || words[1]) return 4; {returns} }}"
    execution = execute(Code("cpp", "", tests))
    assert execution.ran.status == status, said(execution)


def test_the_arguments_of_other_languages_hold_no_sentinel_either(execute):
    csharp = "static void Main(string[] words) { if (words.Length != 0) throw new System.Exception(); } }"
    go = 'func main() { if len(os.Args) != 1 { panic("arguments") } }'
    for code in (Code("csharp", "class P {", csharp), Code("go", 'package main\nimport "os"', go)):
        execution = execute(code)
        assert execution.ran.status == 0 and execution.sentinel_seen, said(execution)


CPP = {
    "first": ("#include <bits/stdc++.h>\nusing namespace std;\n", True, 0),
    "behind comments": ("/* <a> ** */\n// b\n # include <bits/stdc++.h>\nusing namespace std;\n", True, 0),
    "behind standard headers": (
        "#include <assert.h>\n#include <cmath>\n#include<bits/stdc++.h>\nusing namespace std;\n",
        True,
        0,
    ),
    "behind a macro": ("#define NDEBUG\n#include <bits/stdc++.h>\nusing namespace std;\n#define OFF\n", False, 0),
    "behind code": ("int g();\n#include <bits/stdc++.h>\nusing namespace std;\n", False, 0),
    "behind a pragma": ("#pragma GCC optimize(2)\n#include <bits/stdc++.h>\nusing namespace std;\n", False, 0),
    "in a comment": ("// #include <bits/stdc++.h>\nusing namespace std;\n", False, None),
    "lacking": ("#include <string>\nusing namespace std;\n", False, None),
    "other header first": ("#include <nothing.h>\n#include <bits/stdc++.h>\nusing namespace std;\n", False, None),
}


@pytest.mark.parametrize("case", CPP)
def test_the_precompiled_header_changes_no_verdict(execute, ready, monkeypatch, case):
    """The program needs <map>, which other headers of the standard do not bring along."""
    head, precompiled, status = CPP[case]
    tests = "int main() { map<int, int> m; m[1] = 2; assert(m[1] == (strlen(__FILE__) > 0 ? 2 : 3)); }"
    code = Code("cpp", head, tests)
    toolchain = ready("cpp")
    recipe = toolchain._recipe(code, SENTINEL, False)
    assert ("-include" in recipe.compile) == precompiled
    for _ in ("as it is", "without the precompiled header") if precompiled else ("without anyhow",):
        execution = execute(code)
        assert (execution.ran and execution.ran.status, execution.sentinel_seen) == (status, status == 0), said(
            execution
        )
        monkeypatch.setattr(cpp, "includes_all_headers_first", lambda program: False)
    assert "-include" not in toolchain._recipe(code, SENTINEL, False).compile


def test_the_precompiled_header_is_accepted_by_the_compiler(execute, ready, monkeypatch):
    toolchain = ready("cpp")
    monkeypatch.setattr(toolchain, "OPTIONS", (*toolchain.OPTIONS, "-Winvalid-pch", "-Werror=invalid-pch", "-H"))
    execution = execute(program("cpp"))
    assert "! " in said(dataclasses.replace(execution, ran=None)).splitlines()[0]  # "!" marks a precompiled header


def test_what_a_program_needs_and_is_not_installed_is_named(execute, ready, monkeypatch):
    toolchain = ready("cpp")
    monkeypatch.setattr(toolchain, "missing", ("boost",))
    with pytest.raises(UserError, match="boost: apt-get install libboost-dev"):
        execute(dataclasses.replace(program("cpp"), needs=("boost",)))


def test_cpp_links_the_crypto_library(execute, ready):
    if "crypto" in ready("cpp").missing:
        pytest.skip("openssl's headers are not installed, so its C++ program was not run")
    tests = 'int main() { unsigned char d[16]; MD5((const unsigned char*)"", 0, d); return d[0] != 0xd4; }'
    code = Code("cpp", "#include <openssl/md5.h>\n", tests)
    assert execute(code).ran is None
    assert execute(dataclasses.replace(code, needs=("crypto",))).sentinel_seen


def test_headers_are_looked_for(ready):
    assert ready("cpp")._has("vector") and not ready("cpp")._has("no/such/header.hpp")


COMPARED = [
    ("1", "1", True),
    ("1", "2", False),
    ("1", "1L", False),
    ("1", "1.0", False),
    ("0.1 + 0.2", "0.3", False),
    ("double.NaN", "double.NaN", True),
    ('"a"', '"a"', True),
    ('"a"', '"A"', False),
    ('""', "null", False),
    ("null", "null", True),
    ("null", "1", False),
    ("true", "true", True),
    ("new List<int> {1, 2}", "new List<int> {1, 2}", True),
    ("new List<int> {1, 2}", "new List<int> {2, 1}", False),
    ("new List<int> {1, 2}", "new List<int> {1}", False),
    ("new List<int> {}", "new List<int> {}", True),
    ("new List<int> {1}", "new int[] {1}", False),
    ("new List<int> {1}", "new List<object> {1}", False),
    ("new List<object> {1, \"a\", null}", "new List<object> {1, \"a\", null}", True),
    ("new List<object> {1}", "new List<object> {1.0}", False),
    ("new List<List<int>> {new List<int> {1}}", "new List<List<int>> {new List<int> {1}}", True),
    ("new List<List<int>> {new List<int> {1}}", "new List<List<int>> {new List<int> {2}}", False),
    ("new int[,] {{1, 2}, {3, 4}}", "new int[,] {{1, 2}, {3, 4}}", True),
    ("new int[,] {{1, 2}, {3, 4}}", "new int[,] {{1, 2, 3, 4}}", False),
    ("new Dictionary<string, int> {{\"a\", 1}}", "new Dictionary<string, int> {{\"a\", 1}}", True),
    ("new Dictionary<string, int> {{\"a\", 1}}", "new Dictionary<string, int> {{\"a\", 2}}", False),
    ("new Dictionary<string, int> {{\"a\", 1}}", "new Dictionary<string, int> {{\"b\", 1}}", False),
    ("new Dictionary<int, int> {{1, 2}, {3, 4}}", "new Dictionary<int, int> {{3, 4}, {1, 2}}", True),
    ("new Dictionary<int, int> {{1, 2}, {3, 4}}", "new Dictionary<int, int> {{3, 2}, {1, 4}}", False),
    ("new Dictionary<int, int> {{1, 2}, {3, 4}}", "new Dictionary<int, int> {{1, 2}}", False),
    ("new HashSet<int> {1, 2}", "new HashSet<int> {1, 2}", True),
    ("new HashSet<int> {1, 2}", "new HashSet<int> {1, 3}", False),
    ("Tuple.Create(1, \"a\")", "Tuple.Create(1, \"a\")", True),
    ("Tuple.Create(1, new List<int> {1})", "Tuple.Create(1, new List<int> {2})", False),
    ("(1, new List<int> {1})", "(1, new List<int> {1})", True),
    ("(1, 2)", "(1, 3)", False),
    ("new System.Numerics.BigInteger(3)", "new System.Numerics.BigInteger(5)", False),
    ("new DateTime(2000, 1, 1)", "new DateTime(2000, 1, 2)", False),
    ("new Node(1)", "new Node(1)", True),
    ("new Node(1)", "new Node(2)", False),
    ("Node.Ring(1)", "Node.Ring(1)", True),
    ("Node.Ring(1)", "Node.Ring(2)", False),
]  # fmt: skip


def test_csharp_values_are_compared_as_the_library_documents(execute):
    body = """
using System; using System.Collections.Generic; using KellermanSoftware.CompareNetObjects;
class Node {
    public int Value { get; set; } public Node Next; int hidden = new Random().Next();
    public Node(int value) { Value = value; hidden += value; }
    public static Node Ring(int last) { var a = new Node(0); a.Next = new Node(last) { Next = a }; return a; }
}
class Program {
    static void Is(object left, object right, bool equal, int number) {
        foreach (var pair in new[] { new[] { left, right }, new[] { right, left } }) {
            var result = new CompareLogic().Compare(pair[0], pair[1]);
            if (result.AreEqual != equal) throw new Exception(number + ": " + result.DifferencesString);
        }
    }
"""
    lines = "".join(f"Is({a}, {b}, {str(same).lower()}, {n});\n" for n, (a, b, same) in enumerate(COMPARED))
    code = Code("csharp", body, f"static void Main() {{\n{lines}}} }}\n", needs=("compare_net_objects",))
    execution = execute(code)
    assert execution.sentinel_seen, said(execution)
    assert execute(dataclasses.replace(code, needs=())).ran is None


GO_TESTED = 'package main\n\nimport (\n\t"testing"\n\t"github.com/stretchr/testify/assert"\n)\n\n'


def test_go_assertions_are_as_testify_documents(execute):
    body = (
        GO_TESTED
        + "type counted struct{ failures int }\nfunc (c *counted) Errorf(string, ...interface{}) { c.failures++ }\n"
    )
    tests = """
func TestAssertions(t *testing.T) {
	c := &counted{}
	a := assert.New(c)
	for i, held := range []bool{
		a.Equal(1, 1), a.Equal([]int{1, 2}, []int{1, 2}), a.Equal(nil, nil), a.Equal([]byte{1}, []byte{1}), a.True(true),
		a.False(false), a.Equal(map[string]int{"a": 1}, map[string]int{"a": 1}), a.Equal([]byte(nil), []byte(nil)),
	} {
		if !held || c.failures != 0 {
			t.Fatal("did not hold", i)
		}
	}
	for i, held := range []bool{
		a.Equal(1, 2), a.Equal(1, int64(1)), a.Equal(1, 1.0), a.Equal([]int{1}, []int{2}), a.Equal([]int(nil), []int{}),
		a.Equal([]byte(nil), []byte{}), a.Equal([]byte{1}, "x"), a.True(false), a.False(true),
		a.Equal((func())(nil), (func())(nil)),
	} {
		if held || c.failures != 10 {
			t.Fatal("held", i, c.failures)
		}
	}
}
"""
    execution = execute(Code("go", body, tests, "go_test", ("testify",)))
    assert execution.sentinel_seen and execution.ran.status == 0, said(execution)


@pytest.mark.parametrize("package", ["main", "x_test"])
def test_go_runs_all_tests_of_a_package(execute, package):
    """A package of any name, with a main of its own; a failure in the last test and a panic count."""
    body = (
        f'package {package}\n\nimport "testing"\n\nfunc f(x int) int {{ return x + 1 }}\n\nfunc main() {{ panic(1) }}\n'
    )
    first = 'func TestFirst(t *testing.T) { if f(1) != 2 { t.Errorf("first") } }\n'
    for last, status in (("t.Log(1)", 0), ('t.Errorf("last")', 1), ('panic("last")', 2)):
        code = Code("go", body, first + f"func Test_last(t *testing.T) {{ {last} }}\n", "go_test")
        execution = execute(code)
        assert execution.ran.status == status, said(execution)
        assert execution.sentinel_seen == (status < 2)


def test_go_tests_that_hold_no_test_are_the_suites_error(execute):
    with pytest.raises(UserError, match="no function TestName"):
        execute(Code("go", GO_TESTED, "func Testing(t *testing.T) {}\n", "go_test"))
    with pytest.raises(UserError, match="no func main"):
        execute(Code("go", "package main\nfunc main() {}\n", "func Testing() {}\n"))


def test_go_leaving_inside_a_test_fails(execute):
    body = 'package main\n\nimport (\n\t"os"\n\t"testing"\n)\n\nfunc f() { os.Exit(0) }\n'
    execution = execute(Code("go", body, "func TestF(t *testing.T) { f() }\n", "go_test"))
    assert execution.ran.status != 0 and not execution.sentinel_seen


def test_go_names_of_the_program_do_not_meet_those_around_it(execute):
    body = "package main\n\nfunc os() int { return 1 }\n\nvar syscall, sentinel = 1, 2\n"
    execution = execute(Code("go", body, "func main() { if os()+syscall+sentinel != 4 { panic(1) } }"))
    assert execution.sentinel_seen, said(execution)


def test_go_has_as_many_threads_on_every_machine(execute):
    body = 'package main\n\nimport "os"\n'
    execution = execute(Code("go", body, 'func main() { println("threads", os.Getenv("GOMAXPROCS")) }'))
    assert execution.sentinel_seen and "threads 2\n" in said(execution)


def test_go_can_import_the_whole_standard_library(execute):
    """Also what is linked with C, and what stands in the vendor folder."""
    body = 'package main\n\nimport (\n\t"net/http"\n\t"os/user"\n)\n\n'
    tests = 'func main() { _, _ = user.Current(); if http.StatusText(404) != "Not Found" { panic(1) } }'
    execution = execute(Code("go", body, tests))
    assert execution.ran is not None and execution.sentinel_seen, said(execution)


def imports(program):
    head = repaired_imports(program).split("func f()")[0].split("import", 1)[1]
    return [line.strip() for line in head.strip(" ()\n").splitlines() if line.strip()]


@pytest.mark.parametrize(
    "head, code, expected",
    [
        ('import "fmt"', "fmt.Println(1)", ['"fmt"']),
        ('import "os"', "fmt.Println(1)", ['"fmt"']),
        ('import (\n"os" // fmt\n"fmt"\n)', "fmt.Println(1)", ['"fmt"']),
        ('import "fmt"\nimport "os"; import "fmt"', "fmt.Println(1)", ['"fmt"']),
        ('import f "fmt"', "f.Println(strings.ToUpper(1))", ['f "fmt"', '"strings"']),
        ('import _ "fmt"; import . "os"', "sort . Ints()", ['_ "fmt"', '. "os"', '"sort"']),
        ('/* import "os" */ import `fmt`', "fmt.Println(rand.Intn(3))", ['"fmt"', '"math/rand"']),
        ('import "crypto/rand"', "rand.Read(nil)", ['"crypto/rand"']),
        ('import "math/rand/v2"\nimport "os"', "rand.N(3)", ['"math/rand/v2"']),
        ('import "fmt"', 'fmt.Println("os.Exit", `sort.Ints`, \'"\') // math.Pi\n/* time.Now */', ['"fmt"']),
        ('import ("fmt"; "os")', "list := 1; list.Add(); x.heap.Pop(); heap.pop(); fmt.Print(sort.Ints)", ['"fmt"', '"sort"']),
        ('import ("x.org/testify/assert"\n"os")', "assert := assert.New(t)", ['"x.org/testify/assert"']),
        ('import "os"; type T strings.Builder\n', "", ['"strings"', ")", "type T strings.Builder"]),
    ],
)  # fmt: skip
def test_go_imports_are_those_used(head, code, expected):
    repaired = f"package main\n\n{head}\n\nfunc f() {{ {code} }}\n"
    assert imports(repaired) == expected
    assert repaired_imports(repaired_imports(repaired)) == repaired_imports(repaired)
    assert "func f()" in repaired_imports(repaired)


@pytest.mark.parametrize(
    "text",
    [
        'package main\n\nimport "fmt"\n\nfunc f() { fmt.Println() }\n',
        "func f() { fmt.Println() }\n",
        "package main\n",
        "",
    ],
)
def test_go_programs_without_fault_stay_as_they_are(text):
    assert repaired_imports(text) == text


def test_go_imports_can_all_go():
    assert "import" not in repaired_imports('package main\n\nimport "fmt"\n\nfunc f() {}\n')


def test_go_imports_are_repaired_only_when_asked(execute):
    body = 'package main\n\nimport (\n\t"encoding/json"\n\t"reflect"\n)\n\nfunc f() string { return strings.ToUpper("a") }\n'
    code = Code("go", body, 'func main() { if !reflect.DeepEqual(f(), "A") { panic("wrong") } }\n')
    assert execute(code).ran is None
    assert execute(code, repair_imports=True).sentinel_seen
    one_line = dataclasses.replace(
        code, body='package main; import "os"; func f() string { return strings.ToUpper("a") }; '
    )
    one_line = dataclasses.replace(one_line, tests='func main() { if f() != "A" { panic(1) } }')
    assert execute(one_line, repair_imports=True).sentinel_seen


@pytest.mark.parametrize("language, name", [("csharp", "Launcher.exe"), ("cpp", "sentinel.o")])
def test_a_prepared_file_that_vanishes_is_no_verdict(sandboxed, ready, place, language, name):
    shutil.copytree(ready(language)._tools.parent, place, dirs_exist_ok=True)
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


@pytest.mark.parametrize("language", ["csharp", "go"])
def test_two_that_prepare_at_once_share_one_result(sandboxed, ready, place, language):
    ready(language)
    found = [toolchains.find(language) for _ in range(2)]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda toolchain: toolchain.prepare(place), found))
    assert [path.name for path in place.iterdir()] == [f"{language}-{found[0].fingerprint}"]
    for toolchain in found:
        execution = toolchain.execute(sandboxed, program(language), Conditions(SENTINEL, COMPILE, RUN))
        assert execution.sentinel_seen, said(execution)


def test_what_was_prepared_is_used_again(ready, tmp_path):
    ready("csharp")
    toolchains.find("csharp").prepare(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    toolchains.find("csharp").prepare(tmp_path)
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}


def test_preparing_that_fails_leaves_nothing(ready, tmp_path, monkeypatch):
    ready("go")
    toolchain = toolchains.find("go")
    monkeypatch.setattr(go, "SHIMS", tmp_path / "nothing")
    with pytest.raises(UserError, match="fails"):
        toolchain.prepare(tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_the_fingerprint_follows_version_options_and_shims(monkeypatch, tmp_path, ready):
    ready("php")
    first = toolchains.find("php")
    assert first.fingerprint == toolchains.find("php").fingerprint != ready("python").fingerprint
    shims = tmp_path / "shims"
    shutil.copytree(base.SHIMS, shims)
    for module in (base, go):
        monkeypatch.setattr(module, "SHIMS", shims)
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


def test_unprepared_toolchains_say_so(sandboxed, ready):
    ready("python")
    with pytest.raises(RuntimeError, match="prepare"):
        toolchains.find("python").execute(sandboxed, program("python"), Conditions(None, COMPILE, RUN))

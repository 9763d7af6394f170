"""Programs that try to pass without being right, one table of them: the README of the suites promises what becomes of each."""

from pathlib import Path

import pytest

from babel_jax.suites import toolchains
from babel_jax.suites.outcomes import OUTCOMES, classify
from babel_jax.suites.sandbox import Limits
from babel_jax.suites.toolchains.toolchain import Code, Conditions

README = Path(toolchains.__file__).with_name("README.md")
COMPILE = Limits(cpu_seconds=60, wall_seconds=180, memory_bytes=2 << 30, tmp_bytes=256 << 20)
RUN = Limits(cpu_seconds=10, wall_seconds=60)

# What stands before a completion, and the tests, as the suites have them. f(x) is wrong: it returns x.
PYTHON = (
    "def f(x):\n    return x\n",
    "def check(candidate):\n    assert candidate(1) == 2\n\ncheck(f)\n",
)
PYTHON_NEAR = (PYTHON[0], PYTHON[1].replace("candidate(1) == 2", "abs(candidate(1) - 2) < 1e-6"))
PHP = ("<?php\nfunction f($x) { return $x; }\n", "assert(f(1) === 2);\n")
PHP_NEAR = "if (abs(f(1) - 2) > 1e-6) { throw new Exception('Error at 1th'); }\n"
PHP_LOOSE = (
    PHP[0],
    "function compare($x, $y) { return $x == $y; }\nif (!compare(f(1), 2)) { throw new Exception('Error at 1th'); }\n",
)
CSHARP = (
    "using System;\nusing System.Diagnostics;\nusing System.IO;\nclass Problem {\n    public static int F(int x) { return x; }\n",
    "    static void Check(bool held) { if (!held) throw new Exception(); }\n"
    "    public static void Main() { Debug.Assert(F(1) == 2); }\n}\n",
)
CSHARP_COMPARED = (
    "using System;\nusing KellermanSoftware.CompareNetObjects;\nnamespace Solution { public class Program {\n"
    "    public static int F(int x) { return x; }\n",
    "    public static void Main(string[] args) {\n        CompareLogic compareLogic = new CompareLogic();\n"
    "        var actual1 = F(1); var expected1 = 2;\n        var result1 = compareLogic.Compare(actual1, expected1);\n"
    '        if (!result1.AreEqual) {throw new Exception("Exception --- test case 0 failed to pass");}\n    }\n} }\n',
)
CSHARP_CHECKED = (CSHARP[0], CSHARP[1].replace("Debug.Assert", "Check"))
GO = (
    'package main\n\nimport (\n\t"encoding/json"\n\t"os"\n\t"reflect"\n)\n\nvar exit = os.Exit\n\n'
    "func f(x int) int { return x }\n\n",
    "func deepCompare(a interface{}, b interface{}, msg string) bool {\n\tif _, err := json.Marshal(a); err != nil {\n"
    "\t\tpanic(msg)\n\t}\n\tif reflect.DeepEqual(a, b) == false {\n\t\tpanic(msg)\n\t}\n\treturn true\n}\n\n"
    'func main() {\n\tdeepCompare(f(1), 2, "Exception --- test case 0 failed to pass")\n}\n',
)
GO_TESTED = (
    'package main\n\nimport (\n\t"flag"\n\t"testing"\n)\n\nvar _ = flag.Set\n\nfunc f(x int) int { return x }\n\n',
    'func TestF(t *testing.T) {\n\tt.Run("first", func(t *testing.T) {\n\t\tif f(1) != 2 {\n\t\t\tt.Error(1)\n\t\t}\n\t})\n}\n',
)
CPP = (
    "#include <bits/stdc++.h>\nusing namespace std;\nint f(int x) { return x; }\n",
    "template <typename T> bool compare(T a, T b){\n    return a == b;\n}\nint main(int argc, char* argv[]) {\n"
    '    if (!(compare(f(1), 2))) {\n        throw runtime_error("Exception -- test case 0 did not pass.");\n    }\n'
    "    return 0;\n}\n",
)
CPP_TEXTS = (
    "#include <assert.h>\n#include <bits/stdc++.h>\n#include <unistd.h>\nusing namespace std;\n"
    "vector<string> f() { return {}; }\n",
    'int main() {\n    auto candidate = f;\n    assert(candidate() == vector<string>({"b"}));\n}\n',
)


def then(around, word):
    """The suite's text with a comment in the tests before `word`."""
    before, tests = around
    return before, tests.replace(word, f"/* then */ {word}", 1)


SILENT = "class Silent { public static void Assert(bool held) { } }"
EVIL = "class Evil:\n    def always(self, *others):\n        return True\n    __eq__ = __ne__ = __lt__ = __contains__ = always\n"
JUMP = """import sys
def f(x):
    frame = sys._getframe(1)
    def jump(frame, event, argument):
        if event == "line":
            frame.f_lineno = frame.f_lineno + 1
        return jump
    sys.settrace(lambda *event: None)
    frame.f_trace = jump
    return x
"""
SET = "func init() {{\n\ttesting.Init()\n\tflag.Set({})\n}}\n"

# (attack, language) -> the programs: (what the suite has around it, what is written behind the suite's text).
CHEATS = {
    ("hides text behind a NUL character", "python"): [
        (("def f(x):\n", PYTHON[1]), "    return x + 1\0 and what is no Python at all\n")
    ],
    ("declares another encoding", "python"): [
        (("", PYTHON[1]), "# coding: unicode_escape\ndef f(x): return x\n#\\nf = lambda x: x + 1\n"),
        (("", PYTHON[1]), "\n# -*- coding: utf-7 -*-\ndef f(x): return x\n#+AAo-f = lambda x: x - -1\n"),
    ],
    ("leaves a comment or string open", "python"): [
        ((PYTHON[0], "'''Tests.'''\n" + PYTHON[1]), "'''"),
    ],
    ("leaves a comment or string open", "php"): [
        (then(PHP_LOOSE, "if"), "function compare($x, $y) { return true; } /*"),
        (PHP, "$x = '"),
        (PHP, "$x = <<<X\n"),
    ],
    ("leaves a comment or string open", "csharp"): [(then(CSHARP_CHECKED, "public"), "static void Check(bool held) { } /*")],
    ("leaves a comment or string open", "go"): [
        (then(GO, "func main"), "var _, _ = json.Marshal, reflect.DeepEqual\n"
         "func deepCompare(a, b interface{}, msg string) bool { return true }\n/*"),
    ],
    ("leaves a comment or string open", "cpp"): [
        (then(CPP, "int main"), "bool compare(int a, int b) { return true; }\n/\\\n*"),
        (CPP, 'auto x = R"('),
    ],
    ("leaves a condition open", "csharp"): [(CSHARP, "#if NEVER")],
    ("leaves a condition open", "cpp"): [(CPP, "%:if 0")],
    ("ends the program's text", "php"): [(PHP, "?>"), (PHP, "__halt_compiler();"), (PHP, "return;")],
    ("begins the statement that the first test ends", "python"): [
        (PYTHON, "@(lambda check: lambda f: None)"),
        (PYTHON, "if 0: \\"),
    ],
    ("begins the statement that the first test ends", "php"): [
        (PHP, "for (; 0; )"),
    ],
    ("begins the statement that the first test ends", "csharp"): [(CSHARP_CHECKED, '[Conditional("NEVER")]')],
    ("begins the statement that the first test ends", "cpp"): [
        ((CPP[0], CPP[1].replace("template <typename T>", "").replace("T a, T b", "int a, long b")),
         "bool compare(int a, double b) { return true; } template <class Z>"),
    ],
    ("leaves with status 0", "python"): [(PYTHON, "import os; os._exit(0)"), (PYTHON, "import sys; sys.exit(0)")],
    ("leaves with status 0", "php"): [(PHP, "exit(0);")],
    ("leaves with status 0", "csharp"): [(CSHARP, "static Problem() { Environment.Exit(0); }")],
    ("leaves with status 0", "go"): [(GO, "func init() { exit(0) }")],
    ("leaves with status 0", "cpp"): [(CPP, "struct Leaves { Leaves() { exit(0); } } leaves;")],
    ("handles the failure", "python"): [
        (PYTHON, "import os, sys\nsys.excepthook = lambda *error: os._exit(0)"),
        (PYTHON, "import atexit, os\natexit.register(os._exit, 0)"),
    ],
    ("handles the failure", "php"): [
        (PHP, "set_exception_handler(function () { exit(0); });"),
        (PHP, "register_shutdown_function(function () { exit(0); });"),
    ],
    ("handles the failure", "csharp"): [
        (CSHARP_CHECKED, "static Problem() { AppDomain.CurrentDomain.UnhandledException += (s, e) => Environment.Exit(0); }")
    ],
    ("handles the failure", "cpp"): [(CPP, "auto old = set_terminate([] { _exit(0); });")],
    ("chooses among the tests, or none", "go"): [
        *((GO_TESTED, SET.format(f'"test.{flag}'.replace("=", '", "') + '"'))
          for flag in ("run=^$", "run=TestF/^$", "list=.*", "count=0")),
        (GO_TESTED, SET.format('"test.count", "0"').replace("}\n", "\tflag.CommandLine = flag.NewFlagSet(\"\", 0)\n}\n")),
    ],
    ("switches assertions off", "php"): [
        (PHP, "ini_set('zend.assertions', 0);"),
        (PHP, "ini_set('assert.exception', '0');"),
        (PHP, "assert_options(ASSERT_ACTIVE, 0);"),
        (PHP, "declare(ticks=1); register_tick_function(fn() => ini_set('zend.assertions', 0));"),
    ],
    ("switches assertions off", "csharp"): [
        (CSHARP, "static Problem() { Debug.Listeners.Clear(); }"),
        (CSHARP, 'static Problem() { Environment.SetEnvironmentVariable("MONO_TRACE_LISTENER", ""); }'),
        (CSHARP, "class Deaf : DefaultTraceListener { public override void Fail(string said) { } }\n"
         "static Problem() { Debug.Listeners.Clear(); Debug.Listeners.Add(new Deaf()); }"),
        (CSHARP, 'static Problem() { File.SetAttributes(Environment.GetEnvironmentVariable("MONO_TRACE_LISTENER"), '
         "FileAttributes.ReadOnly); }"),
        (("", "using System.Diagnostics; " + CSHARP[0].replace("using System.Diagnostics;\n", "") + CSHARP[1]), "#undef DEBUG"),
    ],
    ("switches assertions off", "cpp"): [
        (CPP_TEXTS, "#define NDEBUG\n#include <assert.h>"),
        (CPP_TEXTS, "#undef assert\n#define assert(x)"),
        (CPP_TEXTS, "#undef assert\nvoid assert(bool) { }"),
    ],
    ("gives a name in the tests another meaning", "python"): [
        (PYTHON_NEAR, "abs = lambda x: -1\n"),
        (PYTHON_NEAR, "import builtins\nbuiltins.abs = lambda x: -1\nbuiltins.AssertionError = KeyboardInterrupt\n"),
    ],
    ("gives a name in the tests another meaning", "php"): [
        (("", PHP_NEAR), "<?php\nnamespace Own;\nfunction f($x) { return $x; }\nfunction abs($x) { return 0; }\n"),
        ((PHP[0], PHP_NEAR), "function own($x) { return 0; }\nuse function own as abs;\n"),
        ((PHP[0], PHP_NEAR), "function own($x) { return 0; }\nUSE FUNCTION own AS ABS;\n"),
    ],
    ("gives a name in the tests another meaning", "csharp"): [
        (CSHARP_COMPARED, "public class R { public bool AreEqual = true; }\n"
         "public class Compare\\u004cogic { public R Compare(object a, object b) { return new R(); } }"),
        (CSHARP_COMPARED, "public class var { public bool AreEqual = true;\n"
         "public static implicit operator var(int x) { return new var(); }\n"
         "public static implicit operator var(ComparisonResult x) { return new var(); } }"),
        (CSHARP, SILENT.replace("static", "") + " static Silent Debug { get { return new Silent(); } }"),
        ((f"using Debug = Silent;\n{SILENT} {CSHARP[0]}", CSHARP[1]), ""),
    ],
    ("gives a name in the tests another meaning", "go"): [
        (GO, "const false = true\n"),
        (GO, "const (\n\tone = 1\n\ttwo, false = 2, 1 == 1\n)\n"),
        (GO, "func panic(message string) {}\n"),
        (GO, "type string = int\n"),
        ((GO[0].replace('\t"reflect"\n', ""), GO[1]),
         "type own struct{}\nfunc (own) DeepEqual(a, b interface{}) bool { return true }\nvar reflect own\n"),
    ],
    ("gives a name in the tests another meaning", "cpp"): [
        (CPP, "bool compare(int a, int b) { return true; }"),
        (CPP, "#define throw (void)"),
        (CPP, "%:def\\\nine if(x) if (0)"),
    ],
    ("defines a function of the language's libraries", "cpp"): [
        (CPP, 'extern "C" void __cxa_throw(void*, void*, void (*)(void*)) { _exit(0); }'),
        (CPP_TEXTS, 'extern "C" [[gnu::weak]]\nvoid __assert_fail(const char*, const char*, unsigned, const char*) noexcept {}'),
        (CPP_TEXTS, 'extern "C" int memcmp(const void*, const void*, size_t) noexcept { return 0; }'),
    ],
    ("compares equal to everything", "python"): [
        (PYTHON, EVIL + "f = lambda x: Evil()\n"),
        ((PYTHON[0], "assert f(1) == [2]\nassert 2 in f(1)\n"), EVIL + "f = lambda x: [Evil()]\n"),
        (PYTHON, "class Evil(int):\n    __eq__ = int.__ne__\nf = Evil\n"),
        (PYTHON, "from unittest.mock import ANY\nf = lambda x: ANY\n"),
        (PYTHON, EVIL + "import weakref\nevil = Evil()\nf = lambda x: weakref.proxy(evil)\n"),
        ((PYTHON[0], "assert f(1) == {2}\n"), EVIL + "    __hash__ = lambda self: 2\nf = lambda x: {Evil(): 1}.keys()\n"),
        (PYTHON_NEAR, "class Near(float):\n    __sub__ = __rsub__ = lambda *all: 0.0\nf = Near\n"),
        (PYTHON_NEAR, EVIL + "    __sub__ = __abs__ = lambda *all: Evil()\nf = lambda x: Evil()\n"),
        ((PYTHON[0], "if f(1) != 2:\n    raise Exception('wrong')\n"),
         "class Evil:\n    __ne__ = lambda *all: False\nf = lambda x: Evil()\n"),
        ((PYTHON[0], "if f(1) not in [2]:\n    raise Exception('wrong')\n"), EVIL + "f = lambda x: Evil()\n"),
        (PYTHON, "import heapq\nclass Evil:\n    __eq__ = heapq.merge\nf = lambda x: Evil()\n"),
        (PYTHON, EVIL + "from fractions import Fraction\none = Fraction(1)\none._numerator = Evil()\nf = lambda x: one\n"),
        ((PYTHON[0], "assert f(1) == {2: 3}\n"),
         EVIL + "from collections import ChainMap\nf = lambda x: ChainMap({2: Evil()})\n"),
    ],
    ("compares equal to everything", "cpp"): [
        (CPP_TEXTS, "bool operator==(const vector<string>&, const vector<string>&) { return true; }"),
        (CPP_TEXTS, "namespace std { bool operator==(const vector<string>&, const vector<string>&) { return true; } }"),
    ],
    ("compares equal to everything", "php"): [((PHP[0].replace("$x;", "true;"), PHP_LOOSE[1]), "")],
    ("jumps over lines", "python"): [
        ((PYTHON[0], "def check(c):\n    result = c(1)\n    assert result == 2\n    pass\n\ncheck(f)\n"), JUMP),
    ],
    ("specialises a template of the library", "cpp"): [
        (CPP_TEXTS, "using texts = const vector<string>&;\n"
         "template <> inline bool std::operator==(texts, texts) { return true; }")
    ],
    ("renames what is linked", "cpp"): [
        (CPP, 'int fake() __asm__("main");\nint fake() { return 0; }\nint main(int argc, char* argv[]) __asm__("other");')
    ],
    ("renames what is linked", "go"): [
        ((GO[0].replace("(\n", '(\n\t_ "unsafe"\n', 1), GO[1]),
         "//go:linkname always reflect.DeepEqual\nfunc always(a, b interface{}) bool { return true }\n"),
    ],
    ("adds a function of the same name, for other arguments", "cpp"): [
        ((CPP_TEXTS[0] + "int g(string s) { return 0; }\n", 'int main() { assert(g("b") == 1); }\n'),
         "struct Evil { bool operator==(int) const { return true; } };\nEvil g(const char* s) { return Evil(); }")
    ],
    ("gives its code out for the library's", "python"): [
        (PYTHON, "from heapq import __file__ as place\n"
         "exec(compile('class Evil:\\n def __eq__(*all): return True', place, 'exec'))\nf = lambda x: Evil()\n")
    ],
    ("reaches the launcher through frames", "python"): [
        (PYTHON, 'import sys\nsys._getframe(1).f_locals["names"]["how two values compare"] = lambda *values: True\n')
    ],
    ("changes what the tests reach through a module", "python"): [
        ((PYTHON[0], "import math\nassert math.isclose(f(1), 2)\n"), "import math\nmath.isclose = lambda *values: True\n")
    ],
    ("redefines a helper that the prompt gives to the tests", "python"): [
        (("def near(x, y): return abs(x - y) < 0.1\n" + PYTHON[0], "assert near(f(1), 2)\n"), "near = lambda x, y: True\n")
    ],
    ("finds the sentinel", "python"): [
        (PYTHON, "import os\nos.write(2, open('/proc/self/cmdline').read().split('\\0')[-2].encode())\nos._exit(0)\n")
    ],
    ("finds the sentinel", "php"): [
        (PHP, "$lines = file(__FILE__); preg_match('/n(\\w+)\" . \"(\\w+)/', end($lines), $found);\n"
         "fwrite(STDERR, $found[1] . $found[2]); exit(0);")
    ],
    ("finds the sentinel", "csharp"): [
        (CSHARP, "static Problem() { Console.Error.Write(Environment.GetCommandLineArgs()[2]); Environment.Exit(0); }")
    ],
    ("finds the sentinel", "go"): [(GO, "func init() {\n\tos.Stderr.WriteString(os.Args[1])\n\texit(0)\n}\n")],
    ("finds the sentinel", "cpp"): [
        (CPP, "__attribute__((constructor)) void early(int n, char** words) { dprintf(2, \"%s\", words[1]); _exit(0); }")
    ],
}  # fmt: skip


def promised() -> dict[tuple[str, str], tuple[str, set[str]]]:
    """The table of the README: (attack, language) -> (CLOSED or LIMIT, what is seen)."""
    section = README.read_text().split("## What a verdict promises")[1].split("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line.startswith("|")
    ]
    assert rows[0] == ["attack", "language", "", "seen"] and set("".join(rows[1])) <= set("-: ")
    by_cheat = {(attack, language): (kind, set(seen.split(", "))) for attack, language, kind, seen in rows[2:]}
    assert len(by_cheat) == len(rows) - 2, "a row stands twice"
    return by_cheat


def outcomes(language, programs, sandboxed, toolchain):
    endings = []
    for number, ((before, tests), written) in enumerate(programs):
        harness = "go_test" if "testing.T" in tests else "main"
        needs = ("compare_net_objects",) if "CompareLogic" in tests else ()
        code = Code(language, f"{before}{written}\n", tests, harness, needs, declares=("f", "F"))
        execution = toolchain.execute(sandboxed, code, Conditions(f"{number:032x}", COMPILE, RUN))
        endings.append(classify(code, execution)[0])
    return endings


def test_the_table_names_every_cheat_and_no_other():
    table = promised()
    assert list(table) == list(CHEATS)
    for kind, seen in table.values():
        assert seen == {"passed"} if kind == "LIMIT" else kind == "CLOSED" and seen <= set(OUTCOMES) - {"passed"}


@pytest.mark.parametrize("attack, language", CHEATS)
def test_a_cheat_becomes_what_is_promised(attack, language, sandboxed, ready):
    endings = outcomes(language, CHEATS[attack, language], sandboxed, ready(language))
    kind, seen = promised()[attack, language]
    assert set(endings) == seen, endings

"""A program in each language, and what can be wrong with it."""

from babel_jax.suites.sandbox import Limits
from babel_jax.suites.toolchains.toolchain import Code

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
}


def program(language, body=None):
    """A program of the language, whose function has this body or the right one."""
    before, right, after, tests = PROGRAMS[language]
    return Code(language, before + (right if body is None else body) + after, tests)


def output(execution):
    """What the program, or else its compiler, printed."""
    finished = execution.ran or execution.compiled
    return (finished.stdout + finished.stderr).decode()

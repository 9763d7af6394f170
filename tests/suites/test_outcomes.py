"""How programs of each language end, and the outcome that this is."""

import pytest
from helpers.judging import AROUND, PYTHON, finished

from babel_jax.suites import judge
from babel_jax.suites.outcomes import classify
from babel_jax.suites.toolchains.toolchain import Code, Execution

MONO = "\nUnhandled Exception:\n{0}\n  at P.Main ()\n[ERROR] FATAL UNHANDLED EXCEPTION: {0}\n  at P.Main () [0x0] in <89>:0 \n"


GO = "{}\n\ngoroutine 1 [running]:\nmain.main()\n\t/tmp/a.go:5 +0x278\n"


SAID = [
    ("python", 1, PYTHON + "AssertionError\n", "failed_assert"),
    ("python", 1, PYTHON + "AssertionError: first\nand second line\n", "failed_assert"),
    (
        "python",
        1,
        PYTHON + "AssertionError\n\nDuring handling, another exception occurred:\n\n" + PYTHON + "KeyError: 1\n",
        "runtime_error",
    ),
    ("python", 1, PYTHON + "ZeroDivisionError: division by zero\n", "runtime_error"),
    ("python", 1, PYTHON + "MemoryError\n", "oom"),
    (
        "python",
        1,
        '  File "/code/program.py", line 2\n    def f(:\n          ^\nSyntaxError: invalid syntax\n',
        "compile_error",
    ),
    ("python", 1, '  File "/code/program.py", line 2\n    x\nIndentationError: expected a block\n', "compile_error"),
    ("python", 1, '  File "/code/program.py", line 2\n    x\nTabError: inconsistent use of tabs\n', "compile_error"),
    (
        "python",
        1,
        PYTHON + '  File "<string>", line 1\n    def (\n        ^\nSyntaxError: invalid syntax\n',
        "runtime_error",
    ),
    ("python", 3, "bye\n", "runtime_error"),
    ("python", -11, "", "runtime_error"),
    (
        "php",
        255,
        "\nFatal error: Uncaught Exception: Error at 1th assert statement. in /c/p.php:3\nStack\n",
        "failed_assert",
    ),
    ("php", 255, "PHP Fatal error:  Uncaught AssertionError: assert(1 === 2) in /c/p.php:2\n", "failed_assert"),
    ("php", 255, "\nFatal error: Uncaught Error: Call to undefined function foo() in /c/p.php:2\n", "runtime_error"),
    ("php", 255, "\nFatal error: Uncaught Exception: of the program's own in /c/p.php:2\n", "runtime_error"),
    ("php", 255, "\nFatal error: Cannot redeclare a() in /c/p.php on line 2\n", "runtime_error"),
    ("php", 255, '\nParse error: syntax error, unexpected token "{" in /c/p.php on line 2\n', "compile_error"),
    ("php", 255, "\nParse error: syntax error in /c/p.php(2) : eval()'d code on line 1\n", "runtime_error"),
    ("php", 255, "\nFatal error: Allowed memory size of 134217728 bytes exhausted (tried to …) in /c/p.php\n", "oom"),
    ("csharp", 1, MONO.format("System.Exception: Exception --- test case 0 failed to pass"), "failed_assert"),
    ("csharp", 1, MONO.format("System.IndexOutOfRangeException: Index was outside the bounds."), "runtime_error"),
    ("csharp", 1, MONO.format("System.OutOfMemoryException: Insufficient memory."), "oom"),
    ("csharp", 1, "Fail: Debug.Assert \n  at Launcher.Fail\n", "failed_assert"),
    ("csharp", 0, "Fail: \n  at System.Diagnostics.DefaultTraceListener.Fail (System.String)\n", "failed_assert"),
    ("go", 2, GO.format("panic: Exception --- test case 0 failed to pass"), "failed_assert"),
    ("go", 2, GO.format("panic: runtime error: index out of range [5] with length 0"), "runtime_error"),
    ("go", 2, GO.format("fatal error: all goroutines are asleep - deadlock!"), "runtime_error"),
    ("go", 2, GO.format("runtime: out of memory: cannot allocate 12-byte block\nfatal error: out of memory"), "oom"),
    ("cpp", -6, "program: p.cpp:8: int main(): Assertion `1==2' failed.\n", "failed_assert"),
    (
        "cpp",
        -6,
        "terminate called after throwing an instance of 'std::runtime_error'\n"
        "  what():  Exception -- test case 0 did not pass.\n",
        "failed_assert",
    ),
    (
        "cpp",
        -6,
        "terminate called after throwing an instance of 'std::out_of_range'\n  what():  vector\n",
        "runtime_error",
    ),
    ("cpp", -6, "terminate called after throwing an instance of 'std::bad_alloc'\n  what():  std::bad_alloc\n", "oom"),
    ("cpp", -11, "", "runtime_error"),
]


@pytest.mark.parametrize("language, status, text, outcome", SAID)
def test_what_a_program_says_becomes_an_outcome(language, status, text, outcome):
    """Texts as the real tools of Debian 12 print them; PHP writes to standard output."""
    streams = {"stdout": text} if language == "php" else {"stderr": text}
    execution = Execution(None, finished(status, **streams), sentinel_seen=status == 0)
    got, detail = classify(Code(language, *AROUND[language]), execution)
    assert got == outcome
    assert detail and "\n" not in detail and len(detail) <= 200


def test_a_go_test_that_fails_is_a_failed_assertion_and_one_that_panics_is_not():
    code = Code("go", "", "func TestF(t *testing.T) {}", harness="go_test")
    failed = "--- FAIL: TestF (0.00s)\n    program.go:9: not equal\nFAIL\n"
    assert classify(code, Execution(None, finished(1, stdout=failed), True))[0] == "failed_assert"
    panics = finished(2, stdout="--- FAIL: TestF (0.00s)\n", stderr=GO.format("panic: assignment to entry in nil map"))
    assert classify(code, Execution(None, panics, False))[0] == "runtime_error"


@pytest.mark.parametrize(
    "ended_by, outcome", [("cpu", "timeout"), ("wall", "timeout"), ("output", "output_limit"), ("memory", "oom")]
)
def test_the_limit_that_ended_a_program_is_its_outcome(ended_by, outcome):
    code = Code("cpp", *AROUND["cpp"])
    ran = finished(-9, ended_by=ended_by, stderr="program: p.cpp:8: int main(): Assertion `1==2' failed.\n")
    for execution in (Execution(None, ran, True), Execution(ran, None, False)):
        assert classify(code, execution)[0] == outcome


def test_what_a_compiler_prints_becomes_an_outcome():
    code = Code("cpp", *AROUND["cpp"])
    text = "p.cpp: In function 'int f(int)':\np.cpp:3:21: error: 'x' was not declared\n"
    assert classify(code, Execution(finished(1, text), None, False)) == ("compile_error", text.splitlines()[1])
    memory = finished(1, "\ncc1plus: out of memory allocating 65536 bytes after a total of 9 bytes\n")
    assert classify(code, Execution(memory, None, False))[0] == "oom"
    text = (
        "/code/program.cpp:3:5: error: 'g' was not declared\n    3 | catch (bad_alloc& e) { g(e); }\n      |        ^\n"
    )
    assert classify(code, Execution(finished(1, text), None, False))[0] == "compile_error"
    killed = "g++: fatal error: Killed signal terminated program cc1plus\ncompilation terminated.\n"
    assert classify(code, Execution(finished(1, killed), None, False))[0] == "timeout"


def test_leaving_early_with_status_0_passes_nowhere_but_in_compat():
    code = Code("python", *AROUND["python"])
    silent, seen = (Execution(None, finished(0), sentinel_seen) for sentinel_seen in (False, True))
    assert classify(code, silent)[0] == "no_sentinel"
    assert classify(code, seen)[0] == "passed"
    failed = Execution(None, finished(1, PYTHON + "AssertionError\n"), True)
    assert classify(code, failed)[0] == "failed_assert", "the sentinel alone is no pass"
    for compat in judge.COMPAT:
        assert classify(code, silent, compat)[0] == "passed"
    asserted = Execution(
        finished(), finished(0, "Fail: \n  at System.Diagnostics.DefaultTraceListener.Fail ()\n"), False
    )
    csharp = Code("csharp", *AROUND["csharp"])
    assert classify(csharp, asserted, "multipl_e")[0] == "failed_assert"
    assert classify(csharp, asserted, "mxeval")[0] == "passed", "its rule looks at the status alone"

"""Python programs: run as if they were started by themselves, apart from their tests."""

import pytest
from helpers.programs import BODIES, SENTINEL, output, program

from babel_jax.suites.outcomes import classify
from babel_jax.suites.toolchains.toolchain import Code


@pytest.mark.parametrize("sentinel", [SENTINEL, None])
def test_python_with_a_nul_character_is_no_program_whatever_the_version(execute, sentinel):
    for text in ("return x + 1 # \0", 'return x + len("\0")', "return x + 1\n\0\n"):
        code = program("python", text)
        assert classify(code, execute(code, sentinel), None if sentinel else "mxeval")[0] == "compile_error"


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
    assert execution.sentinel_seen, output(execution)


def test_python_has_nothing_installed_beside_it(execute):
    tests = "import sys\nassert 'site' not in sys.modules\nassert not any('packages' in path for path in sys.path)\n"
    execution = execute(Code("python", "", tests))
    assert execution.sentinel_seen, output(execution)

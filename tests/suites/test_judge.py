import contextlib
import dataclasses
import io
import json
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest

from babel_jax.common.errors import UserError
from babel_jax.suites import judge, verdict_log
from babel_jax.suites.outcomes import classify
from babel_jax.suites.problems import Problem
from babel_jax.suites.sandbox import Finished, Limits, SandboxError
from babel_jax.suites.toolchains import TOOLCHAINS
from babel_jax.suites.toolchains.toolchain import Code, Execution
from babel_jax.suites.verdict_log import Seconds, VerdictLog

# What stands before a completion, and the tests: those of MBXP's style, whose messages are their own.
AROUND = {
    "python": ("def f(n):\n", "assert f(0) == 1\n"),
    "php": (
        "<?php\nfunction f($n = 0) {\n",
        'if (f(0) !== 1) { throw new Exception("Error at 1th assert statement."); }\n',
    ),
    "csharp": (
        "using System;\nusing System.Collections.Generic;\npublic class Program {\n  public static int F(int n) {\n",
        "  public static void Main(string[] args) {\n    if (F(0) != 1) "
        '{throw new Exception("Exception --- test case 0 failed to pass");}\n  }\n}\n',
    ),
    "go": (
        'package main\n\nimport (\n\t"reflect"\n)\n\nfunc f(n int) int {\n',
        "func main() {\n\tif !reflect.DeepEqual(f(0), 1) {\n\t\t"
        'panic("Exception --- test case 0 failed to pass")\n\t}\n}\n',
    ),
    "cpp": (
        "#include <bits/stdc++.h>\nusing namespace std;\nint f(int n) {\n",
        'int main() {\n  if (f(0) != 1) { throw runtime_error("Exception -- test case 0 did not pass."); }\n  return 0;\n}\n',
    ),
}


def problem(language="python", number=0, **changes):
    prompt, tests = AROUND[language]
    made = Problem("mbxp", language, f"{language}/{number}", number, prompt, tests, "f", None, (), False)
    return dataclasses.replace(made, **changes)


def sample(completion, language="python", number=0, index=0, **changes):
    return judge.Sample(problem(language, number, **changes), index, completion, "given")


def finished(status=0, stderr="", stdout="", ended_by="itself"):
    return Finished(status, ended_by, stdout.encode(), stderr.encode(), 0.1, 0.1)


PYTHON = 'Traceback (most recent call last):\n  File "/code/program.py", line 9, in <module>\n    x\n'
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


@pytest.mark.parametrize("language, status, said, outcome", SAID)
def test_what_a_program_says_becomes_an_outcome(language, status, said, outcome):
    """Texts as the real tools of Debian 12 print them; PHP writes to standard output."""
    streams = {"stdout": said} if language == "php" else {"stderr": said}
    execution = Execution(None, finished(status, **streams), sentinel_seen=status == 0)
    found, detail = classify(Code(language, *AROUND[language]), execution)
    assert found == outcome
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
def test_limits(ended_by, outcome):
    code = Code("cpp", *AROUND["cpp"])
    ran = finished(-9, ended_by=ended_by, stderr="program: p.cpp:8: int main(): Assertion `1==2' failed.\n")
    for execution in (Execution(None, ran, True), Execution(ran, None, False)):
        assert classify(code, execution)[0] == outcome


def test_compiling():
    code = Code("cpp", *AROUND["cpp"])
    said = "p.cpp: In function 'int f(int)':\np.cpp:3:21: error: 'x' was not declared\n"
    assert classify(code, Execution(finished(1, said), None, False)) == ("compile_error", said.splitlines()[1])
    memory = finished(1, "\ncc1plus: out of memory allocating 65536 bytes after a total of 9 bytes\n")
    assert classify(code, Execution(memory, None, False))[0] == "oom"
    said = (
        "/code/program.cpp:3:5: error: 'g' was not declared\n    3 | catch (bad_alloc& e) { g(e); }\n      |        ^\n"
    )
    assert classify(code, Execution(finished(1, said), None, False))[0] == "compile_error"
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


@pytest.mark.parametrize("language", AROUND)
def test_looking_through_hostile_output_takes_no_time(language):
    code = Code(language, *AROUND[language])
    for text in (
        "Assertion `",
        "SyntaxError",
        "\n",
        "panic: \n",
        "Traceback (most\n",
        "Fatal error: Uncaught X: ",
        "a.a.",
    ):
        text *= 65536 // len(text)
        start = time.process_time()
        classify(code, Execution(None, finished(1, text, text), False))
        assert time.process_time() - start < 0.3, text[:20]


class Sandbox:
    """Stands for a sandbox where nothing real runs."""

    level = "bubblewrap"


class Toolchain:
    """Answers by what stands in the completion; counts what it ran."""

    missing = ("boost",)

    def __init__(self, fingerprint="python 1"):
        self.fingerprint = fingerprint
        self.lock = threading.Lock()
        self.ran, self.limits, self.slots, self.most, self.now = [], [], set(), 0, 0
        self.broken = self.fast_alone = False
        self.interrupt_at = None
        self.enough = threading.Event()

    def execute(self, sandbox, code, conditions, slot):
        with self.lock:
            assert slot not in self.slots, "one program at a time in a slot"
            self.slots.add(slot)
            self.now += 1
            self.most = max(self.most, self.now)
            self.ran.append(code.body)
            self.limits.append(conditions.run_limits)
            count = len(self.ran)
        time.sleep(0.005)
        with self.lock:
            self.slots.remove(slot)
            self.now -= 1
            alone = self.now == 0
        if self.broken:
            return Execution(None, finished(1, PYTHON + "AssertionError\n"), False)
        if "gone" in code.body:
            raise FileNotFoundError(2, "python3 is gone")
        if "sandbox fails" in code.body:
            raise SandboxError("no user namespaces")
        if "hang" in code.body:
            done = self.fast_alone and alone and count > 3
            return Execution(None, finished(0 if done else -9, ended_by="itself" if done else "cpu"), done)
        if "wrong" in code.body:
            return Execution(None, finished(1, PYTHON + "AssertionError\n"), False)
        return Execution(None, finished(0), conditions.sentinel is not None)


def run(samples, path, tools, jobs=1, **options):
    bench = SimpleNamespace(sandbox=Sandbox(), toolchains={"python": tools}, jobs=jobs)
    return judge.judge(samples, bench, path / "verdicts.jsonl", **options)


def outcomes(rows):
    return [row.outcome for row in rows]


def lines(path):
    return [json.loads(line) for line in (path / "verdicts.jsonl").read_text().splitlines()]


def test_rows_say_what_was_judged_and_how(tmp_path):
    tools = Toolchain()
    seen = []
    samples = [sample("right\n", number=7, index=2), sample("wrong\n", number=8)]
    row, other = run(samples, tmp_path, tools, progress=lambda *message: seen.append(message))
    about = dict(suite="mbxp", language="python", task_id="python/7", number=7, sample=2)
    about |= dict(variant="raw", ended="given", level="bubblewrap", repair_imports=False)
    assert about.items() <= vars(row).items()
    assert (row.outcome, row.first_outcome, row.compat, row.toolchain) == ("passed", None, None, "python 1")
    assert row.seconds == Seconds(None, 0.1) and len(row.program) == 16
    assert other.outcome == "failed_assert" and other.program != row.program
    assert sorted(map(str, lines(tmp_path))) == sorted(map(str, map(dataclasses.asdict, [row, other])))
    assert seen == [("judging", 1, 2), ("judging", 2, 2)]
    assert list(map(dataclasses.asdict, verdict_log.read(tmp_path / "verdicts.jsonl"))) == lines(tmp_path)


def test_verdicts_come_in_the_order_of_the_samples_however_many_workers(tmp_path):
    tools = Toolchain()
    samples = [sample(f"right {n}\n" if n % 3 else f"wrong {n}\n", number=n) for n in range(60)]
    rows = run(samples, tmp_path, tools, jobs=5)
    assert [row.number for row in rows] == list(range(60))
    assert outcomes(rows) == ["passed" if n % 3 else "failed_assert" for n in range(60)]
    assert tools.most > 1


def test_nothing_is_judged_twice(tmp_path):
    tools = Toolchain()
    samples = [sample("right\n", number=n) for n in range(3)] + [
        sample("right\n", index=1),
        sample("wrong\n", number=4),
    ]
    first = run(samples, tmp_path, tools)
    assert tools.ran.count(AROUND["python"][0] + "right\n\n") == 1, "the same program of several samples is run once"
    before = len(tools.ran)
    assert run(samples, tmp_path, tools) == first and len(tools.ran) == before
    assert run(samples + [sample("right\n", number=9)], tmp_path, tools)[-1].outcome == "passed"
    assert len(tools.ran) == before


def test_a_torn_last_line_is_dropped_and_judged_again(tmp_path):
    tools = Toolchain()
    samples = [sample(f"right {n}\n", number=n) for n in range(4)]
    whole = run(samples, tmp_path, tools)
    path = tmp_path / "verdicts.jsonl"
    content = path.read_bytes()
    for cut in (1, 5, len(content.splitlines()[-1])):
        path.write_bytes(content[:-cut])
        assert len(verdict_log.read(path)) == 3
        before = len(tools.ran)
        assert run(samples, tmp_path, tools) == whole and len(tools.ran) == before + 1
        assert list(map(dataclasses.asdict, verdict_log.read(path))) == lines(tmp_path) and len(lines(tmp_path)) == 4


def test_a_broken_line_is_named(tmp_path):
    run([sample("right\n"), sample("wrong\n", number=1)], tmp_path, Toolchain())
    path = tmp_path / "verdicts.jsonl"
    first, second = path.read_bytes().splitlines(keepends=True)
    for broken in (b"{\n", b'{"outcome": "passed"}\n', first.replace(b'"passed"', b'"perfect"'), b"[]\n"):
        path.write_bytes(first + broken + second)
        with pytest.raises(UserError, match="verdicts.jsonl, line 2, is damaged"):
            run([sample("right\n")], tmp_path, Toolchain())
    with pytest.raises(UserError, match="cannot read the verdicts"):
        verdict_log.read(tmp_path / "none.jsonl")


def test_verdicts_on_other_programs_or_by_other_rules_are_refused(tmp_path):
    run([sample("right\n")], tmp_path, Toolchain())
    kept = (tmp_path / "verdicts.jsonl").read_bytes()
    with pytest.raises(UserError, match="python/0 0 with another program;"):
        run([sample("right\n", tests="assert f(1) == 1\n")], tmp_path, Toolchain())
    with pytest.raises(UserError, match="another toolchain"):
        run([sample("right\n")], tmp_path, Toolchain("python 2"))
    with pytest.raises(UserError, match="another limits and compat"):
        run([sample("right\n")], tmp_path, Toolchain(), compat="mxeval")
    assert (tmp_path / "verdicts.jsonl").read_bytes() == kept
    with pytest.raises(UserError, match="did you mean 'mxeval'"):
        run([sample("right\n")], tmp_path, Toolchain(), compat="mxval")
    with pytest.raises(UserError, match="no toolchain for php"):
        run([sample("right\n", "php")], tmp_path, Toolchain())


def test_a_cache_serves_other_files_but_not_other_tools(tmp_path):
    tools, cache = Toolchain(), tmp_path / "cache"
    samples = [sample("right\n"), sample("wrong\n", number=1), sample("gone\n", number=2), sample("hang\n", number=3)]
    first = run(samples, tmp_path / "a", tools, cache=cache)
    assert outcomes(first) == ["passed", "failed_assert", "infra_error", "timeout"]
    before = len(tools.ran)
    second = run(samples, tmp_path / "b", tools, cache=cache)
    assert outcomes(second) == outcomes(first)
    assert tools.ran[before:] == [AROUND["python"][0] + "gone\n\n"], "what the machine failed at is tried again"
    other = Toolchain("python 2")
    run(samples, tmp_path / "c", other, cache=cache)
    assert len(other.ran) == len(samples) + 2, "the timeout's second run and the control"
    run(samples, tmp_path / "d", tools, cache=cache, compat="mxeval")
    assert len(tools.ran) > before + 2


def test_a_timeout_is_run_again_alone_and_both_verdicts_are_kept(tmp_path):
    tools = Toolchain()
    tools.fast_alone = True
    samples = [sample("hang\n")] + [sample(f"right {n}\n", number=n) for n in range(1, 20)]
    row = run(samples, tmp_path, tools, jobs=4)[0]
    assert (row.outcome, row.first_outcome) == ("passed", "timeout")
    assert tools.ran.count(AROUND["python"][0] + "hang\n\n") == 2 and "hang" in tools.ran[-1]
    assert [line["outcome"] for line in lines(tmp_path) if line["number"] == 0] == ["timeout", "passed"]
    assert verdict_log.read(tmp_path / "verdicts.jsonl")[-1].outcome == "passed" or len(lines(tmp_path)) == 21
    slow = Toolchain()
    row = run(samples, tmp_path / "slow", slow)[0]
    assert (row.outcome, row.first_outcome) == ("timeout", "timeout")
    before = len(slow.ran)
    run(samples, tmp_path / "slow", slow)
    assert len(slow.ran) == before, "it is not run a third time"


def test_stopped_between_a_timeout_and_its_second_run(tmp_path):
    tools = Toolchain()
    samples = [sample("hang\n"), sample("right\n", number=1)]

    def stop(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(samples, tmp_path, tools, progress=stop)
    assert {row.outcome for row in verdict_log.read(tmp_path / "verdicts.jsonl")} == {"timeout", "passed"}
    hangs = sum("hang" in body for body in tools.ran)
    row = run(samples, tmp_path, tools)[0]
    assert row.first_outcome == "timeout" and sum("hang" in body for body in tools.ran) == hangs + 1


def test_an_interruption_loses_no_verdict(tmp_path):
    tools = Toolchain()
    samples = [sample(f"right {n}\n" if n % 2 else f"wrong {n}\n", number=n) for n in range(200)]

    def stop(doing, done, of):
        if done >= 25:  # every time from then on, as a warned process does
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(samples, tmp_path, tools, jobs=4, progress=stop)
    ran = [body for body in tools.ran if "def f():" not in body]
    assert 25 <= len(ran) < 200, "the others were not begun"
    assert len(verdict_log.read(tmp_path / "verdicts.jsonl")) == len(ran), "also what still ran is written"
    rows = run(samples, tmp_path, tools, jobs=4)
    assert outcomes(rows) == ["passed" if n % 2 else "failed_assert" for n in range(200)]
    assert len([body for body in tools.ran if "def f():" not in body]) == 200


def test_a_toolchain_that_vanishes_makes_infrastructure_errors_and_the_rest_goes_on(tmp_path):
    samples = [
        sample("right\n"),
        sample("gone\n", number=1),
        sample("sandbox fails\n", number=2),
        sample("right 3\n", number=3, needs=("boost",)),
        sample("right 4\n", number=4),
    ]
    tools = Toolchain()
    rows = run(samples, tmp_path, tools)
    assert outcomes(rows) == ["passed", "infra_error", "infra_error", "infra_error", "passed"]
    assert "is gone" in rows[1].detail and "namespaces" in rows[2].detail and "boost" in rows[3].detail
    again = run(samples, tmp_path, tools)
    assert outcomes(again) == outcomes(rows) and sum("gone" in body for body in tools.ran) == 2, "it is tried again"


def test_another_programs_verdict_replaces_an_infrastructure_error(tmp_path):
    tools, cache = Toolchain(), tmp_path / "cache"
    samples = [sample("gone\n"), sample("right\n", number=1)]
    assert outcomes(run(samples, tmp_path / "a", tools)) == ["infra_error", "passed"]
    tools.execute = lambda *_: Execution(None, finished(0), True)  # it is back
    run(samples, tmp_path / "b", tools, cache=cache)
    assert outcomes(run(samples, tmp_path / "a", tools, cache=cache)) == ["passed", "passed"]
    assert outcomes(verdict_log.read(tmp_path / "a" / "verdicts.jsonl")) == ["passed", "passed"]


class FullDisk(io.FileIO):
    """A disk that is full at 3000 bytes, once: that write is cut short, as the system does it."""

    full = False

    def write(self, data):
        if self.full or self.tell() + len(data) <= 3000:
            return super().write(data)
        self.full = True
        return super().write(data[: 3000 - self.tell()])


def test_a_full_disk_loses_only_what_did_not_fit(tmp_path, monkeypatch):
    samples = [sample(f"wrong {n}\n", number=n) for n in range(20)]
    opened = VerdictLog._opened
    monkeypatch.setattr(VerdictLog, "_opened", staticmethod(lambda path: opened(path).close() or FullDisk(path, "ab")))
    with pytest.raises(UserError, match="cannot write .*No space left on device; free space and run again"):
        run(samples, tmp_path, Toolchain(), jobs=3)
    kept = verdict_log.read(tmp_path / "verdicts.jsonl")
    assert 3 < len(kept) < 10
    monkeypatch.undo()
    tools = Toolchain()
    assert outcomes(run(samples, tmp_path, tools)) == ["failed_assert"] * 20
    assert len(tools.ran) == 20 - len(kept) + 1, "and the control"


def test_failures_that_cannot_be_withdrawn_are_not_kept(tmp_path, monkeypatch):
    """The full disk is also why the programs fail."""
    kept = run([sample("wrong\n")], tmp_path, Toolchain())
    tools = Toolchain()
    tools.broken = True
    opened = VerdictLog._opened
    monkeypatch.setattr(VerdictLog, "_opened", staticmethod(lambda path: opened(path).close() or FullDisk(path, "ab")))
    with pytest.raises(UserError, match="No space left on device"):
        run([sample("wrong\n"), *(sample(f"right {n}\n", number=n) for n in range(1, 20))], tmp_path, tools)
    assert verdict_log.read(tmp_path / "verdicts.jsonl") == kept


def test_two_processes_do_not_cut_each_other_s_lines(tmp_path, monkeypatch):
    """A line that another one writes to the cache, after it was read and before its torn end is cut off."""
    cache, threads, read = tmp_path / "cache", [], verdict_log._whole_lines

    def other():
        run([sample("right 2\n", number=2)], tmp_path / "other", Toolchain(), cache=cache)

    def slow(path):
        whole = read(path)
        if path.parent == cache and sys._getframe(1).f_code.co_name == "_opened" and not threads:
            threads.append(threading.Thread(target=other))
            threads[0].start()
            threads[0].join(0.5)
        return whole

    run([sample("right 0\n")], tmp_path / "first", Toolchain(), cache=cache)
    lines_then = len(verdict_log._lines(cache / "verdicts.jsonl"))
    monkeypatch.setattr(verdict_log, "_whole_lines", slow)
    run([sample("right 1\n", number=1)], tmp_path / "mine", Toolchain(), cache=cache)
    threads[0].join()
    assert len(verdict_log._lines(cache / "verdicts.jsonl")) == lines_then + 2


def test_a_file_of_verdicts_is_one_process_s(tmp_path):
    with (
        VerdictLog._opened(tmp_path / "verdicts.jsonl"),
        pytest.raises(UserError, match="another process judges into"),
    ):
        run([sample("right\n")], tmp_path, Toolchain())


def test_what_failed_while_a_correct_program_fails_is_no_failure(tmp_path):
    """A disk that ran full, a compiler without its parts: nothing is gone, but nothing passes any more."""
    tools = Toolchain()
    samples = [sample("right\n"), sample("wrong\n", number=1)]
    assert outcomes(run(samples[:1], tmp_path, tools)) == ["passed"]
    tools.broken = True
    rows = run([*samples, sample("right 2\n", number=2)], tmp_path, tools, cache=tmp_path / "cache")
    assert outcomes(rows) == ["passed", "infra_error", "infra_error"]
    assert "python fails on a correct program: failed_assert" in rows[1].detail
    tools.broken = False
    rows = run([*samples, sample("right 2\n", number=2)], tmp_path, tools, cache=tmp_path / "cache")
    assert outcomes(rows) == ["passed", "failed_assert", "passed"]


def test_what_cannot_be_run_is_not_run(tmp_path):
    tools = Toolchain()
    rows = run([sample("  \n"), sample("return '\ud800'\n", number=1), sample("\n", number=2)], tmp_path, tools)
    assert outcomes(rows) == ["empty", "compile_error", "empty"]
    assert not [body for body in tools.ran if "def f(n)" in body]
    assert outcomes(run([sample("  \n")], tmp_path / "compat", tools, compat="mxeval")) == ["passed"], (
        "as the peer does"
    )


def test_wall_time_is_patient_and_no_part_of_what_is_compared(tmp_path, monkeypatch):
    tools = Toolchain()
    monkeypatch.setattr(judge.os, "getloadavg", lambda: (0.0, 0.0, 0.0))
    idle = run([sample("right\n")], tmp_path / "idle", tools)[0]
    monkeypatch.setattr(judge.os, "getloadavg", lambda: (4.0 * judge.os.cpu_count(), 0.0, 0.0))
    busy = run([sample("right\n")], tmp_path / "busy", tools)[0]
    assert tools.limits[1].wall_seconds > 3.9 * tools.limits[0].wall_seconds
    assert tools.limits[1].cpu_seconds == tools.limits[0].cpu_seconds and idle.limits == busy.limits
    run([sample("right\n")], tmp_path / "compat", tools, compat="mxeval")
    assert tools.limits[2].wall_seconds == 10, "the peer's own limit"


# From here on the real tools.

COMPLETIONS = {
    "python": {
        "passed": "    return 1\n",
        "failed_assert": "    return 2\n",
        "runtime_error": "    return 1 / 0\n",
        "compile_error": "    return (\n",
        "oom": "    return bytes(1 << 33)\n",
        "timeout": "    while True: pass\n",
        "output_limit": "    while True: print('x' * 10000)\n",
        "no_sentinel": "    import sys; sys.exit(0)\n",
    },
    "php": {
        "passed": "return 1; }",
        "failed_assert": "return 2; }",
        "runtime_error": "return g(); }",
        "compile_error": "return ( }",
        "oom": "$a = []; while (true) $a[] = str_repeat('x', 100000); }",
        "timeout": "while (true); }",
        "output_limit": "while (true) echo str_repeat('x', 10000); }",
        "no_sentinel": "exit(0); }",
    },
    "csharp": {
        "passed": "return 1; }",
        "failed_assert": "return 2; }",
        "runtime_error": "var x = new int[1]; return x[n + 3]; }",
        "compile_error": "return ( }",
        "oom": "var l = new List<byte[]>(); while (true) l.Add(new byte[100000000]); }",
        "timeout": "while (true); }",
        "output_limit": "while (true) Console.WriteLine(new string('x', 10000)); }",
        "no_sentinel": "Environment.Exit(0); return 1; }",
    },
    "go": {
        "passed": "return 1 }",
        "failed_assert": "return 2 }",
        "runtime_error": "x := []int{}; return x[n] }",
        "compile_error": "return ( }",
        "oom": "var l [][]byte; for { l = append(l, make([]byte, 50000000)) } }",
        "timeout": "for {} }",
        "output_limit": 'for { fmt.Println(strings.Repeat("x", 10000)) } }',
        "no_sentinel": "os.Exit(0); return 1 }",
    },
    "cpp": {
        "passed": "return 1; }",
        "failed_assert": "return 2; }",
        "runtime_error": "vector<int> v; return v.at(n + 3); }",
        "compile_error": "return ( }",
        "oom": "vector<vector<char>> v; while (1) v.emplace_back(100000000, 1); }",
        "timeout": "volatile int x = 0; while (true) x = x + 1; }",
        "output_limit": "while (true) puts(string(10000, 'x').c_str()); }",
        "no_sentinel": "exit(0); }",
    },
}


def real(sandbox, toolchains, jobs=1):
    return SimpleNamespace(sandbox=sandbox, toolchains=toolchains, jobs=jobs)


@pytest.fixture
def short(monkeypatch):
    """The strict rule with one processor second."""
    limits = dict(run_limits=Limits(cpu_seconds=1, wall_seconds=20))
    monkeypatch.setitem(judge.RULES, None, dataclasses.replace(judge.RULES[None], **limits))


@pytest.mark.parametrize("language", COMPLETIONS)
def test_every_outcome_of_real_programs(language, sandboxed, ready, tmp_path, short):
    wanted = COMPLETIONS[language]
    samples = [sample(text, language, number) for number, text in enumerate(wanted.values())]
    rows = judge.judge(samples, real(sandboxed, {language: ready(language)}, 2), tmp_path / "verdicts.jsonl")
    assert {wanted_one: row.outcome for wanted_one, row in zip(wanted, rows, strict=True)} == {
        name: name for name in wanted
    }
    # On a busy machine others may run out of time at first, too: then they were run again alone, to the same end.
    assert all(row.first_outcome == "timeout" for row in rows if row.outcome == "timeout")
    assert {row.first_outcome for row in rows} <= {"timeout", None}


@pytest.mark.parametrize("language", TOOLCHAINS)
def test_controls_pass_and_count_for_something(language, sandboxed, ready):
    runner = judge._Runner(real(sandboxed, {language: ready(language)}), None)
    assert runner.broken(language) == ""
    body, tests = TOOLCHAINS[language].control
    assert runner._run(Code(language, body.replace("return 1", "return 2"), tests), 0).outcome != "passed"


def test_compat_passes_who_leaves_early_and_repairs_nothing(sandboxed, ready, tmp_path, short):
    samples = [
        sample(COMPLETIONS["php"]["no_sentinel"], "php"),
        sample('return len(strings.Fields("a")) }', "go", 1),
    ]
    prepared = {language: ready(language) for language in ("php", "go")}
    for compat, wanted in ((None, ["no_sentinel", "passed"]), ("mxeval", ["passed", "compile_error"])):
        rows = judge.judge(samples, real(sandboxed, prepared), tmp_path / f"{compat}.jsonl", compat=compat)
        assert outcomes(rows) == wanted
        assert [row.repair_imports for row in rows] == [False, compat is None]


def test_verdicts_do_not_depend_on_the_load(sandboxed, ready, tmp_path):
    """A program that computes for about a second, with a limit of four, beside programs that fail and pass."""
    work = "    x = 0\n    for i in range({}): x += i\n    return 1\n"
    start = time.process_time()
    exec("x = 0\nfor i in range(1000000): x += i")
    second = int(1000000 / (time.process_time() - start))
    texts = [work.format(second), COMPLETIONS["python"]["failed_assert"], COMPLETIONS["python"]["passed"]]
    samples = [sample(text, number=number) for number, text in enumerate(texts)]
    found = []
    with contextlib.ExitStack() as stack:
        stack.enter_context(pytest.MonkeyPatch.context()).setitem(
            judge.RULES,
            None,
            dataclasses.replace(judge.RULES[None], run_limits=Limits(cpu_seconds=4, wall_seconds=12)),
        )
        for busy in (0, 3):
            for _ in range(busy):
                process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
                stack.callback(process.wait)
                stack.callback(process.kill)
            bench = real(sandboxed, {"python": ready("python")}, 2)
            rows = judge.judge(samples, bench, tmp_path / f"{busy}.jsonl")
            found.append([(row.outcome, row.first_outcome) for row in rows])
    assert found[0] == found[1] == [("passed", None), ("failed_assert", None), ("passed", None)]

"""Samples of small programs, and a judge of them where nothing real runs."""

import dataclasses
import json
import threading
import time
from types import SimpleNamespace

from babel_jax.suites import judge
from babel_jax.suites.problems import Problem
from babel_jax.suites.sandbox import Finished, SandboxError
from babel_jax.suites.toolchains.toolchain import Execution

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


PYTHON = 'Traceback (most recent call last):\n  File "/code/program.py", line 9, in <module>\n    x\n'


def problem(language="python", number=0, **changes):
    prompt, tests = AROUND[language]
    one = Problem("mbxp", language, f"{language}/{number}", number, prompt, tests, "f", None, (), False)
    return dataclasses.replace(one, **changes)


def sample(completion, language="python", number=0, index=0, **changes):
    return judge.Sample(problem(language, number, **changes), index, completion, "given")


def finished(status=0, stderr="", stdout="", ended_by="itself"):
    return Finished(status, ended_by, stdout.encode(), stderr.encode(), 0.1, 0.1)


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

"""Every program is judged once, however often it is asked for, and whatever happens meanwhile."""

import contextlib
import dataclasses
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from helpers.judging import AROUND, Toolchain, lines, outcomes, run, sample

from babel_jax.common.errors import UserError
from babel_jax.suites import judge, verdict_log
from babel_jax.suites.sandbox import Limits
from babel_jax.suites.verdict_log import Seconds


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
        "oom": "vector<vector<char>> v; while (1) v.emplace_back().reserve(100000000); }",
        "timeout": "volatile int x = 0; while (true) x = x + 1; }",
        "output_limit": "while (true) puts(string(10000, 'x').c_str()); }",
        "no_sentinel": "exit(0); }",
    },
}


def real(sandbox, toolchains, jobs=1):
    return SimpleNamespace(sandbox=sandbox, toolchains=toolchains, jobs=jobs)


@pytest.fixture
def short(monkeypatch):
    """The strict rule with two processor seconds."""
    limits = dict(run_limits=Limits(cpu_seconds=2, wall_seconds=20))
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
    """A program that computes for about a second, with a limit of eight, beside programs that fail and pass."""
    work = "    x = 0\n    for i in range({}): x += i\n    return 1\n"
    start = time.process_time()
    exec("x = 0\nfor i in range(1000000): x += i")
    second = int(1000000 / (time.process_time() - start))
    texts = [work.format(second), COMPLETIONS["python"]["failed_assert"], COMPLETIONS["python"]["passed"]]
    samples = [sample(text, number=number) for number, text in enumerate(texts)]
    by_load = []
    with contextlib.ExitStack() as stack:
        stack.enter_context(pytest.MonkeyPatch.context()).setitem(
            judge.RULES,
            None,
            dataclasses.replace(judge.RULES[None], run_limits=Limits(cpu_seconds=8, wall_seconds=24)),
        )
        for busy in (0, 3):
            for _ in range(busy):
                process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
                stack.callback(process.wait)
                stack.callback(process.kill)
            bench = real(sandboxed, {"python": ready("python")}, 2)
            rows = judge.judge(samples, bench, tmp_path / f"{busy}.jsonl")
            by_load.append([(row.outcome, row.first_outcome) for row in rows])
    assert by_load[0] == by_load[1] == [("passed", None), ("failed_assert", None), ("passed", None)]

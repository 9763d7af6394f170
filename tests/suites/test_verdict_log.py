"""The file of verdicts: torn, damaged, full, shared."""

import dataclasses
import io
import sys
import threading

import pytest
from helpers.judging import AROUND, Toolchain, finished, lines, outcomes, run, sample

from babel_jax.common.errors import UserError
from babel_jax.suites import verdict_log
from babel_jax.suites.toolchains.toolchain import Execution
from babel_jax.suites.verdict_log import VerdictLog


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


def test_a_file_of_verdicts_belongs_to_one_process(tmp_path):
    with (
        VerdictLog._opened(tmp_path / "verdicts.jsonl"),
        pytest.raises(UserError, match="another process judges into"),
    ):
        run([sample("right\n")], tmp_path, Toolchain())

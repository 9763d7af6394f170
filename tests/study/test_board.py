"""What a study's progress bars say: how much is done, and how long the rest takes."""

import io
import sys

import pytest

from babel_jax.study.board import MEASURED, TRAINED, Board, Length, TimeLeft

STEP, CHECKPOINT = 0.5, 4.0  # seconds


def world_of(lengths: dict, true_steps: dict | None = None):
    """Runs one after the other, and yields (estimate, what is truly left, share done) after each message."""
    left = TimeLeft(kind_of=lambda run: run.split()[0])
    left.lengths = lengths
    true_steps = {run: length.steps for run, length in lengths.items()} | (true_steps or {})
    total = sum(true_steps[run] * STEP + length.checkpoints * CHECKPOINT for run, length in lengths.items())
    now = 0.0
    for run, length in lengths.items():
        began = now
        for step in range(10, true_steps[run] + 1, 10):
            now += 10 * STEP
            left.update(run, TRAINED, step, now)
            yield left.seconds(), total - now, left.share_done()
        for checkpoint in range(1, length.checkpoints + 1):
            now += CHECKPOINT
            left.update(run, MEASURED, checkpoint, now)
            yield left.seconds(), total - now, left.share_done()
        left.finish(run, now - began)


def test_nothing_is_said_before_anything_is_known():
    left = TimeLeft(str)
    left.lengths = {"a": Length(100, 3)}
    assert left.seconds() is None and left.share_done() == 0.0
    left.update("a", TRAINED, 10, 5.0)  # where the clock starts
    assert left.seconds() is None


def test_after_one_run_of_each_kind_of_work_the_time_left_is_right():
    seen = list(world_of({f"run {n}": Length(100, 3) for n in range(4)}))
    later = seen[len(seen) // 4 :]
    assert all(estimate == pytest.approx(true, abs=1e-6) for estimate, true, _ in later)
    shares = [share for *_, share in seen]
    assert shares[-1] == 1.0 and all(0 <= share <= 1 for share in shares)


def test_a_run_that_a_criterion_ends_lasts_as_long_again_or_as_its_like():
    lengths = {f"climb {n}": Length(4000, 0, ends_after=50) for n in range(3)} | {"long 0": Length(1000, 0)}
    seen = list(world_of(lengths, {f"climb {n}": 500 for n in range(3)}))
    first = seen[
        45
    ]  # 460 of 500 steps of the first: it is taken to be half done, and so is every one of its like begun
    assert 0.5 < first[0] / first[1] < 1.3
    estimate, true, _ = seen[60]  # in the second, when it is known how long the first took
    assert estimate == pytest.approx(true, rel=0.01)


def test_what_was_done_before_takes_no_time_and_is_done():
    left = TimeLeft(str)
    left.lengths = {"a": Length(100, 0), "b": Length(100, 0)}
    left.finish("a", None)
    left.update("b", TRAINED, 10, 0.0)
    left.update("b", TRAINED, 20, 5.0)
    assert left.share_done() == pytest.approx(0.6) and left.seconds() == pytest.approx(80 * 0.5)


def test_starting_and_compiling_come_on_top():
    left = TimeLeft(str)
    left.lengths = {"a": Length(100, 0), "b": Length(100, 0)}
    for step in range(10, 101, 10):
        left.update("a", TRAINED, step, step * STEP)
    left.finish("a", 2 * 100 * STEP)
    assert left.seconds() == pytest.approx(2 * 100 * STEP)


def test_the_bar_counts_runs_that_are_not_known_yet_and_says_the_time_left(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    board = Board(2, str)
    board.plan({name: Length(100, 2) for name in "abcd"})
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr("babel_jax.study.board.time.monotonic", lambda: float(next(clock)))
    for step in (20, 40, 60, 80, 100):
        board.update("a", {"step": step, "steps": 100, "loss": 1.0, "tokens_per_second": 5.0})
    for number in (1, 2):
        board.update("a", {"checkpoint": number, "checkpoints": 2})
    board.update("a", {"seconds": {"training": 50.0, "measuring": 20.0}})
    board.finish("a")
    # Three runs of 100 steps of 0.5 s and 2 checkpoints of 10 s are 210 s of one worker.
    assert board.study.postfix == "run 1 of 4, about 2 min left" and board.study.n == pytest.approx(0.25)
    board.plan({"a": Length(100, 2)})  # the others follow from measurements, and are not asked for
    board.finish("a")
    assert board.study.postfix == "run 1 of 1" and board.study.n == 1.0
    board.close()
    assert "study" in sys.stderr.getvalue()


def test_a_skipped_step_without_a_loss_is_shown(capsys):
    board = Board(1, str)
    board.plan({"a": Length(100, 0)})
    board.update("a", {"step": 16, "steps": 100, "loss": None, "tokens_per_second": 5.0})
    board.close()
    assert "loss not finite, 5 tokens/s" in capsys.readouterr().err


def test_small_steps_after_a_large_one_are_shown(monkeypatch):
    """A study that is resumed begins with a jump over all that is done."""
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    clock = iter(range(0, 100_000, 20))
    monkeypatch.setattr("babel_jax.study.board.time.monotonic", lambda: float(next(clock)))
    board = Board(1, str)
    board.plan({name: Length(100, 0) for name in "abcd"})
    board.finish("a")
    for step in range(1, 101):
        board.update("b", {"step": step, "steps": 100, "loss": 1.0, "tokens_per_second": 5.0})
    board.close()
    shown = {line.split("|")[0].strip() for line in sys.stderr.getvalue().split("\r") if line.startswith("study")}
    assert len(shown) > 20 and "study  50%" in shown

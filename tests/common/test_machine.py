"""Worker processes do their tasks, send messages, and end when they are asked to."""

import multiprocessing.connection
import signal
import threading
import time

import pytest

from babel_jax.common import machine
from babel_jax.common.errors import UserError

pytestmark = pytest.mark.processes


def begin(factor):
    """What the workers of these tests do with a number."""

    def do(number, say):
        if number == 13:
            raise UserError("13 is refused.")
        if number == 14:
            raise ValueError("a bug")
        time.sleep(1000 if number == 15 else 0)
        say(factor * number)

    return do


def test_every_task_is_done_once_and_sends_its_messages():
    waiting, answers, done = list(range(6)), {}, []
    with machine.Workers(2, begin, (10,)) as workers:
        assert workers.idle == 2 and list(workers.messages(timeout=0)) == []
        while waiting or workers.busy:
            while waiting and workers.idle:
                workers.give(waiting.pop())
            for task, message in workers.messages():
                if message is machine.DONE:
                    done.append(task)
                else:
                    answers[task] = message
    assert answers == {number: 10 * number for number in range(6)} and sorted(done) == list(range(6))


@pytest.mark.parametrize("task, error, message", [(13, UserError, "13 is refused."), (14, RuntimeError, "a bug")])
def test_an_error_of_a_task_is_raised_here_and_the_others_end(task, error, message):
    with pytest.raises(error, match=message), machine.Workers(2, begin, (10,)) as workers:
        processes = list(workers._workers.values())
        workers.give(15)
        workers.give(task)
        while True:
            list(workers.messages())
    assert not any(process.is_alive() for process in processes)


def test_a_worker_reports_what_the_system_says_as_the_first_process_does():
    def deny(task, say):
        raise PermissionError(13, "Permission denied", "/data/x")

    def fail(task, say):
        raise ValueError("a bug")

    kind, error = machine._answer(deny, "a task", print)
    assert kind == "failed" and isinstance(error, UserError) and str(error).startswith("/data/x: Permission denied")
    kind, error = machine._answer(fail, "a task", print)
    assert kind == "failed" and isinstance(error, RuntimeError) and "a task:\nTraceback" in str(error)


def begin_and_save(factor):
    """As `begin`, in a process that is asked to end (SIGTERM) and saves its work first."""
    ending = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: ending.set())

    def do(number, say):
        say(factor * number)
        if number == 15:
            ending.wait()
            raise SystemExit(7)

    return do


def test_none_stays_when_asked_to_end_whether_it_works_has_just_finished_or_waits():
    with machine.Workers(3, begin_and_save, (10,)) as workers:
        processes = list(workers._workers.values())
        for task in (15, 1):
            workers.give(task)
        finished = list(workers._workers)[:2]
        while len(multiprocessing.connection.wait(finished)) < 2:
            time.sleep(0.01)
        time.sleep(0.5)  # the second has finished, and nobody has read that it has
        ending = threading.Thread(target=workers.terminate, daemon=True)
        ending.start()
        ending.join(60)
        assert not ending.is_alive()
    assert [process.exitcode for process in processes] == [7, 0, 0]

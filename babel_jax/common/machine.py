"""What this machine offers, and processes that work side by side and end when this one does."""

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence

from babel_jax.common.errors import UserError, refusal

DONE = object()  # the message that ends a task, see `Workers.messages`


def cores() -> int:
    """CPU cores that this process may use: fewer than there are, in many containers and jobs."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def begin_worker(parent) -> None:
    """What a worker process does first: it leaves Ctrl-C to its parent, and ends when that does, however it came to its end.

    `parent`: what `multiprocessing.parent_process()` gives. Also in the middle of a long compilation: a thread waits for it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_await_and_exit, args=(parent,), daemon=True).start()


def _await_and_exit(parent) -> None:
    parent.join()
    os._exit(1)


class Workers:
    """Worker processes, each with one task at a time. None outlives the `with` block: what is half done then is lost."""

    def __init__(
        self,
        count: int,
        begin: Callable[..., Callable],
        arguments: tuple,
        method: str = "spawn",
        preload: Sequence[str] = (),
    ):
        """`count` processes, in each of which `begin(*arguments)` gives what does a task, `do(task, say)`.

        `say(message)` sends a message to the parent's `messages`. All of these, tasks and messages must be picklable.
        `method`: how processes start; `preload`: modules that are loaded once for all, with "forkserver".
        """
        self._context = multiprocessing.get_context(method)
        if preload:
            self._context.set_forkserver_preload(list(preload))
        self._count, self._what = count, (begin, arguments)
        self._workers: dict = {}  # our end of its pipe -> the process
        self._tasks: dict = {}  # our end of its pipe -> what it does

    def __enter__(self) -> "Workers":
        # They hold Ctrl-C back until they ignore it, so that it does not end them while they import.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            for _ in range(self._count):
                here, there = self._context.Pipe()
                self._workers[here] = self._context.Process(target=_serve, args=(there, *self._what), daemon=True)
                self._workers[here].start()
                there.close()
        except BaseException:
            self._kill()
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return self

    def __exit__(self, kind, error, where) -> None:
        self._kill()

    def _kill(self) -> None:
        started = [worker for worker in self._workers.values() if worker.pid is not None]
        for worker in started:
            worker.kill()  # all of them before any is waited for: a second Ctrl-C may end the waiting
        for worker in started:
            worker.join()

    @property
    def busy(self) -> int:
        return len(self._tasks)

    @property
    def idle(self) -> int:
        return len(self._workers) - len(self._tasks)

    def give(self, task) -> None:
        """Has an idle worker do a task."""
        connection = next(connection for connection in self._workers if connection not in self._tasks)
        self._tasks[connection] = task
        with contextlib.suppress(BrokenPipeError):  # it was killed, which its end of the connection will show
            connection.send(task)

    def messages(self, timeout: float | None = None) -> Iterator[tuple[object, object]]:
        """(task, message) of what workers have sent, as soon as there is any; the message `DONE` ends a task.

        Args:
          timeout: seconds after which nothing is yielded.

        Raises:
          UserError: a worker was killed, or a task was refused. Any other error of a task is a `RuntimeError` with its traceback.
        """
        for connection in multiprocessing.connection.wait(list(self._workers), timeout):
            try:
                kind, content = connection.recv()
            except (EOFError, ConnectionResetError):
                self._workers[connection].join()
                raise UserError(
                    f"a worker process was killed (exit code {self._workers[connection].exitcode}; out of memory?); run the "
                    "same command again to go on, with fewer --jobs if memory is short."
                ) from None
            if kind == "failed":
                raise content
            yield (self._tasks.pop(connection), DONE) if kind == "done" else (self._tasks[connection], content)

    def terminate(self) -> None:
        """Tells all to save what they do and end (SIGTERM), and waits until they have; what they still send is not read."""
        busy = list(self._tasks)
        for connection, worker in self._workers.items():
            if connection in busy:
                worker.terminate()
            else:
                connection.close()
        while busy:  # whoever has us end kills us when that takes too long
            for connection in multiprocessing.connection.wait(busy):
                try:
                    kind, _ = connection.recv()
                except (EOFError, OSError):
                    busy.remove(connection)  # it has ended
                    continue
                if kind != "message":  # it had finished, and waits for a task
                    busy.remove(connection)
                    connection.close()
        for worker in self._workers.values():
            worker.join()


def _serve(connection, begin, arguments) -> None:
    """What a worker process does until its parent closes the connection, or dies."""
    begin_worker(multiprocessing.parent_process())
    do = begin(*arguments)
    with contextlib.suppress(EOFError, ConnectionResetError, BrokenPipeError):
        while True:
            task = connection.recv()
            connection.send(_answer(do, task, lambda message: connection.send(("message", message))))


def _answer(do: Callable, task, say: Callable) -> tuple[str, object]:
    """How a task ended, as it can be sent: as text, where it is an error, for not every exception can be."""
    try:
        do(task, say)
    except Exception as error:
        return "failed", refusal(error) or RuntimeError(f"in a worker process, {task}:\n{traceback.format_exc()}")
    return "done", None

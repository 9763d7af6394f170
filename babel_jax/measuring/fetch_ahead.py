"""One download at a time, in a thread, while the process computes."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from babel_jax.training import preemption

PATIENCE = 5  # seconds to wait for a download that was told to stop; Xet's own threads may not listen


class Ahead:
    """Downloads that are begun before they are asked for.

    `fetch(key, stop)` fetches what `key` names and returns its folder; it ends soon after `stop` is set.
    """

    def __init__(self, fetch: Callable[[Any, threading.Event], Path]):
        self._fetch, self.key, self._thread = fetch, None, None
        self._stop, self._folder, self._error = threading.Event(), None, None

    def begin(self, key) -> None:
        """Begins to fetch `key`, unless that is under way; there must be nothing else under way."""
        if self._thread is not None:
            if self.key != key:
                raise RuntimeError(f"{self.key} is being fetched, so {key} cannot be")
            return
        self.key, self._folder, self._error, self._stop = key, None, None, threading.Event()
        # A daemon: a process that ends does not wait for a download.
        self._thread = threading.Thread(target=self._run, args=(key, self._stop), daemon=True)
        self._thread.start()

    def _run(self, key, stop: threading.Event) -> None:
        try:
            self._folder = self._fetch(key, stop)
        except BaseException as error:  # it is raised by who takes it
            self._error = error

    def take(self, key) -> Path:
        """The folder of `key`, once it is fetched; raises what fetching it raised."""
        if self.key != key:
            self.close()
        self.begin(key)
        while self._thread.is_alive():
            self._thread.join(0.2)
            preemption.check()
        self._thread, self.key = None, None
        if self._error is not None:
            raise self._error
        return self._folder

    def close(self) -> None:
        """Stops what is under way."""
        if self._thread is not None:
            self._stop.set()
            self._thread.join(PATIENCE)
            self._thread, self.key = None, None

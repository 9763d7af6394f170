"""Where a run's time goes, over all its restarts, and how fast it trains: tokens per second and model FLOP utilisation."""

import contextlib
import time
from collections.abc import Callable

import jax
import psutil

from babel_jax.model.chips import CHIPS

PHASES = ("compile", "data", "step", "checkpoint", "evaluation")
PAUSES = ("compile", "checkpoint", "evaluation")  # left out of a window: a rate is a rate of training


class Clock:
    """Counts seconds by phase and tokens by window; of one thread.

    Args:
      tokens_per_step: tokens of a step over all devices.
      flops_per_token: from model/flops.py; None: no MFU.
      totals: what `totals` was in the checkpoint that the run resumes from.
      now: source of time in seconds.
    """

    def __init__(
        self,
        tokens_per_step: int,
        flops_per_token: float | None,
        totals: dict | None = None,
        now: Callable[[], float] = time.perf_counter,
    ):
        self.tokens_per_step, self.flops_per_token = tokens_per_step, flops_per_token
        self.devices, self.peak = jax.device_count(), peak_flops(jax.devices()[0].device_kind)
        self._now = now
        self._seconds = {phase: float((totals or {}).get(phase, 0.0)) for phase in (*PHASES, "other")}
        self._open = ["other"]  # the phases we are in; the last one is charged
        self._charged_until = now()
        self._window = None  # (step, seconds of training so far) at its start

    def _charge(self) -> None:
        now = self._now()
        self._seconds[self._open[-1]] += now - self._charged_until
        self._charged_until = now

    @contextlib.contextmanager
    def phase(self, name: str):
        """Charges what happens inside to `name`. Inside another phase that one pauses: no second is counted twice."""
        if name not in PHASES:
            raise ValueError(f"unknown phase '{name}'; known: {', '.join(PHASES)}")
        self._charge()
        self._open.append(name)
        try:
            yield
        finally:
            self._charge()
            self._open.pop()

    @property
    def totals(self) -> dict:
        """{phase: seconds} with "other" for time in no phase; sums to the life of all clocks of this run so far."""
        self._charge()
        return dict(self._seconds)

    def window(self, step: int) -> dict:
        """Rates since the last call; the first call (or one without a new step) only opens a window and gives {}.

        Call it when the metrics of `step` have arrived, not when it was dispatched: only then is its work done.

        Returns:
          {"tokens_per_second", "tokens_per_second_per_device", and "mfu" where the device's peak is known}; compilation,
          checkpoints and evaluation are excluded, waiting for data is not.
        """
        totals = self.totals
        seconds = sum(value for phase, value in totals.items() if phase not in PAUSES)
        last, self._window = self._window, (step, seconds)
        if last is None or step <= last[0] or seconds <= last[1]:
            return {}
        rate = (step - last[0]) * self.tokens_per_step / (seconds - last[1])
        rates = {"tokens_per_second": rate, "tokens_per_second_per_device": rate / self.devices}
        if self.peak and self.flops_per_token:
            rates["mfu"] = rate / self.devices * self.flops_per_token / self.peak
        return rates


def peak_flops(device_kind: str) -> float | None:
    """Dense bfloat16 peak of one device in FLOP/s; None where we do not know it (then no MFU is better than a wrong one)."""
    return CHIPS[device_kind].peak_bf16_flops if device_kind in CHIPS else None


def host_memory_bytes() -> int:
    """Resident memory of this process."""
    return psutil.Process().memory_info().rss

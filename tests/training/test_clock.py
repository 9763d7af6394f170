import subprocess
import sys

import pytest

from babel_jax.model.chips import CHIPS
from babel_jax.training.clock import Clock, peak_flops


class Time:
    """A clock for the clock: `pass_(seconds)`."""

    seconds = 100.0

    def __call__(self):
        return self.seconds

    def pass_(self, seconds):
        self.seconds += seconds


def make(totals=None, flops_per_token=None):
    time = Time()
    return Clock(1000, flops_per_token, totals, now=time), time


def nonzero(totals):
    return {phase: seconds for phase, seconds in totals.items() if seconds}


def test_nested_phases_are_not_counted_twice():
    clock, time = make()
    time.pass_(1)
    with clock.phase("checkpoint"):
        time.pass_(2)
        with clock.phase("evaluation"):
            time.pass_(4)
            with clock.phase("data"):
                time.pass_(8)
        time.pass_(16)
        assert nonzero(clock.totals) == {
            "other": 1,
            "checkpoint": 18,
            "evaluation": 4,
            "data": 8,
        }  # also while it lasts
    time.pass_(32)
    assert nonzero(clock.totals) == {"other": 33, "checkpoint": 18, "evaluation": 4, "data": 8}
    assert sum(clock.totals.values()) == time.seconds - Time.seconds


def test_a_phase_ends_with_its_error_and_needs_a_known_name():
    clock, time = make()
    with pytest.raises(KeyError), clock.phase("step"):
        time.pass_(3)
        raise KeyError
    time.pass_(5)
    assert nonzero(clock.totals) == {"step": 3, "other": 5}
    with pytest.raises(ValueError, match="unknown phase 'steps'"), clock.phase("steps"):
        pass


def test_totals_go_on_after_a_restart():
    clock, time = make()
    with clock.phase("step"):
        time.pass_(7)
    again, time = make(totals=clock.totals)
    with again.phase("step"):
        time.pass_(2)
    assert nonzero(again.totals) == {"step": 9}
    assert again.window(3) == {}  # what the run did before is in no window


def test_a_window_leaves_out_what_is_no_training():
    clock, time = make(flops_per_token=6e9)
    clock.devices, clock.peak = 4, 1e12
    with clock.phase("compile"):
        time.pass_(50)
    assert clock.window(10) == {}
    for phase, seconds in dict(data=1, step=2, compile=100, checkpoint=200, evaluation=400).items():
        with clock.phase(phase):
            time.pass_(seconds)
    time.pass_(1)  # in no phase: the loop's own work, which slows training
    found = clock.window(30)
    assert found == pytest.approx({"tokens_per_second": 5000, "tokens_per_second_per_device": 1250, "mfu": 7.5})
    time.pass_(10)
    assert clock.window(31)["tokens_per_second"] == pytest.approx(100)  # since the last call
    assert clock.window(31) == {}


def test_mfu_is_not_reported_where_a_number_is_missing():
    for flops_per_token, peak in ((6e9, None), (None, 1e12)):
        clock, time = make(flops_per_token=flops_per_token)
        clock.peak = peak
        clock.window(0)
        time.pass_(1)
        assert clock.window(1).keys() == {"tokens_per_second", "tokens_per_second_per_device"}


def test_peaks_are_dense_and_by_exact_name():
    assert peak_flops("NVIDIA H200") == peak_flops("NVIDIA H100 80GB HBM3") == 989e12
    assert [peak_flops(f"TPU {kind}") / 1e12 for kind in ("v4", "v5 lite", "v5p", "v6 lite")] == [275, 197, 459, 918]
    assert peak_flops("cpu") is peak_flops("NVIDIA H100 PCIe") is peak_flops("NVIDIA H200 NVL") is None
    for chip in CHIPS.values():  # units: FLOP/s, bytes, bytes per second
        assert 1e14 < chip.peak_bf16_flops < 1e16 and 1e10 < chip.memory_bytes < 1e12
        assert 1e11 < chip.link_bandwidth < chip.memory_bandwidth < 1e13


HOLDS = """
from babel_jax.training.clock import host_memory_bytes
before = host_memory_bytes()
held = bytearray(b"x" * 100_000_000)
print(before, host_memory_bytes() - before, len(held))
"""


@pytest.mark.processes
def test_host_memory_is_that_of_this_process():
    """In a process of its own: beside other tests' threads memory comes and goes."""
    before, more, _ = map(
        int, subprocess.run([sys.executable, "-c", HOLDS], capture_output=True, check=True).stdout.split()
    )
    assert 1e7 < before < 1e11 and 90e6 < more < 110e6

"""Does time grow faster than the text that is read? A ratio answers: a machine is faster or slower from moment to moment."""

import time
from collections.abc import Callable

ENOUGH = 0.5  # seconds of processor time that no text need explain
GROWS = 8  # a quarter of a text takes a quarter of the time, or a sixteenth where time grows with the square


def seconds(read: Callable, text: str) -> float:
    start = time.process_time()
    read(text)
    return time.process_time() - start


def grows_faster(read: Callable[[str], object], made: Callable[[int], str], length: int) -> bool:
    """Whether reading `made(length)` takes far more than four times as long as a quarter of it; in each of three tries."""
    for _ in range(3):
        whole = seconds(read, made(length))
        if whole < ENOUGH or whole < GROWS * seconds(read, made(length // 4)):
            return False
    return True

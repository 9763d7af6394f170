"""A curve in three numbers, as summary.json and the terminal give it."""

import dataclasses

from babel_jax.evolution.curve import Curve


@dataclasses.dataclass(frozen=True)
class Course:
    """Where a curve starts, where it is at the step of the peak, and its end level; None: not measured."""

    start: float | None
    peak: float | None
    end: float | None


def course(curve: Curve | None, peak_step: int | None) -> Course:
    if curve is None:
        return Course(None, None, None)
    points = curve.first(), curve.at(peak_step), curve.end()
    return Course(*(point and point.value for point in points))

"""What an estimate is: a number with its interval. All intervals are of 95 %."""

import dataclasses

from babel_jax.bridge import Keyed


@dataclasses.dataclass(frozen=True)
class Estimate(Keyed):
    """A number and its interval; NaN where it is not known."""

    value: float
    ci: tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Effect(Estimate):
    """A change or a difference, with its two-sided p-value against none."""

    p: float

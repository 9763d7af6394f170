"""The methods of a curve as functions that also take None, for readers that still call them so: then this goes."""

from babel_jax.evolution.continual import working_language
from babel_jax.evolution.curve import Change, Curve, Point, curve

__all__ = ["at", "change", "curve", "difference", "end", "last", "working_language"]


def at(curve: Curve | None, step: int) -> Point | None:
    return curve and curve.at(step)


def last(curve: Curve | None) -> Point | None:
    return curve and curve.last()


def end(curve: Curve | None) -> Point | None:
    return curve and curve.end()


def change(curve: Curve | None, step: int) -> Change | None:
    return curve and curve.change(step)


def difference(first: Point, second: Point) -> Point:
    return second.minus(first)

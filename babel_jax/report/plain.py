"""Findings as JSON can hold them."""

import dataclasses
import math

import numpy as np


def plain(thing, digits: int):
    """Records and arrays as dicts and lists, numbers rounded to so many digits; None where one is not finite."""
    if dataclasses.is_dataclass(thing):
        return {field.name: plain(getattr(thing, field.name), digits) for field in dataclasses.fields(thing)}
    if isinstance(thing, dict):
        return {str(key): plain(entry, digits) for key, entry in thing.items()}
    if isinstance(thing, np.ndarray | np.generic):
        return plain(thing.tolist(), digits)
    if isinstance(thing, list | tuple):
        return [plain(entry, digits) for entry in thing]
    if isinstance(thing, float):
        return round(thing, digits) if math.isfinite(thing) else None
    return thing

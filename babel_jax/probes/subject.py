"""The model that probes look into, and rows that go through it in batches of one size."""

import dataclasses
from typing import Any

import numpy as np

from babel_jax.model import placement
from babel_jax.model.protocol import Model
from babel_jax.training import preemption


@dataclasses.dataclass(frozen=True, eq=False)
class Subject:
    """What every probe that runs a model is given.

    Attributes:
      params: parameters on any mesh (or none); rows follow them.
      model: what they are the parameters of; our decoder is a `DecoderConfig`.
      document_end: id of the token that ends a document, or -1. It predicts nothing and belongs to no language.
      batch_size: rows a pass, a multiple of the devices that share them.
    """

    params: Any
    model: Model
    document_end: int = -1
    batch_size: int = 32

    def placed(self) -> tuple:
        """The parameters where they are to be, and where rows and everything else go: see `placement.on_devices`."""
        return placement.on_devices(self.params, self.batch_size)


def row_batches(rows: dict, batch_size: int, **padding):
    """Yields `(kept, batch)` of exactly `batch_size` rows; the last one is filled up with zeros, or with `padding`."""
    total = len(next(iter(rows.values())))
    for start in range(0, total, batch_size):
        preemption.check()  # between the batches of every measurement
        kept = min(batch_size, total - start)
        batch = {name: values[start : start + kept] for name, values in rows.items()}
        for name, values in batch.items() if kept < batch_size else ():
            missing = np.full((batch_size - kept, *values.shape[1:]), padding.get(name, 0), values.dtype)
            batch[name] = np.concatenate([values, missing])
        yield kept, batch

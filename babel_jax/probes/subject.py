"""Rows that go through a model in batches of one size."""

import numpy as np

from babel_jax.training import preemption


def row_batches(rows: dict, batch_size: int, **padding):
    """Yields `(kept, batch)` of exactly `batch_size` rows; the last one is filled up with zeros, or with `padding`."""
    total = len(next(iter(rows.values())))
    for start in range(0, total, batch_size):
        preemption.check()  # between the batches of every measurement
        kept = min(batch_size, total - start)
        yield (
            kept,
            {
                name: np.concatenate(
                    [values[start : start + kept]]
                    + [
                        np.full(
                            (batch_size - kept, *values.shape[1:]),
                            padding.get(name, 0),
                            values.dtype,
                        )
                    ]
                    * (kept < batch_size)
                )
                for name, values in rows.items()
            },
        )

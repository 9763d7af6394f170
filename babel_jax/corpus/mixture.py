"""Staged mixtures: which row of which source stands at which place of a run, as a pure function of (seed, place).

The whole data state of a run is one integer, the number of rows seen. Weights may change at given places, a weight may
be zero, and counts are exact: within each stage every block of `BLOCK` rows holds each source in its exact proportion
(largest remainder), in a random order, and no row of a source comes a second time before all of them came once.
"""

import dataclasses
from functools import lru_cache

import numpy as np

from babel_jax.errors import UserError, unknown_name
from babel_jax.files import content_hash
from babel_jax.material import RowSource

BLOCK = 1000  # rows; weights are exact to 1/BLOCK


@dataclasses.dataclass(frozen=True)
class Stage:
    """`rows` rows (the last stage: None, without end) drawn with `weights` {source: weight}."""

    rows: int | None
    weights: tuple[tuple[str, float], ...]


def stages_from_config(stages, row_tokens: int) -> tuple[Stage, ...]:
    """Config entries `{"tokens": n or 0 for the rest, "weights": {source: weight}}` as stages of whole rows."""
    result = []
    for number, stage in enumerate(stages):
        last = number == len(stages) - 1
        weights = {name: float(weight) for name, weight in stage["weights"].items()}
        if not weights or min(weights.values()) < 0 or sum(weights.values()) <= 0:
            raise UserError(f"stage {number} of the mixture needs weights >= 0 with a positive sum; got {weights}.")
        if (stage["tokens"] == 0) != last:
            raise UserError(
                f"stage {number} of the mixture: only the last stage, and it alone, says tokens=0 (the rest)."
            )
        rows = None if last else -(-int(stage["tokens"]) // row_tokens)
        result.append(Stage(rows, tuple(sorted(weights.items()))))
    return tuple(result)


def exact_counts(weights: np.ndarray, total: int) -> np.ndarray:
    """Integers proportional to `weights` that sum to `total`, by largest remainder; ties go to the first."""
    shares = weights / weights.sum() * total
    counts = np.floor(shares + 1e-9).astype(np.int64)
    order = np.argsort(-(shares - counts), kind="stable")
    counts[order[: total - counts.sum()]] += 1
    return counts


@dataclasses.dataclass(frozen=True)
class Mixture:
    """A run's stream of rows. `place` is the number of a row in the run, counted from 0."""

    sources: dict[str, RowSource]
    stages: tuple[Stage, ...]
    seed: int

    def __post_init__(self):
        for stage in self.stages:
            for name, weight in stage.weights:
                if name not in self.sources:
                    raise unknown_name("source of the mixture", name, self.sources)
                if weight > 0 and len(self.sources[name]) == 0:
                    raise UserError(f"source '{name}' of the mixture is empty; build its corpus, or give it weight 0.")

    @property
    def names(self) -> list[str]:
        return sorted(self.sources)

    def locate(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Source index (into `names`) and number within that source's own stream, for each place."""
        source = np.zeros(len(places), np.int64)
        number = np.zeros(len(places), np.int64)
        consumed = np.zeros(len(self.names), np.int64)
        start = 0
        for stage_index, stage in enumerate(self.stages):
            counts = self._block_counts(stage)
            end = np.inf if stage.rows is None else start + stage.rows
            inside = np.flatnonzero((places >= start) & (places < end))
            blocks, offsets = np.divmod(places[inside] - start, BLOCK)
            for block in np.unique(blocks):
                chosen, offset = inside[blocks == block], offsets[blocks == block]
                drawn, rank = _block_order(self.seed, stage_index, int(block), counts)
                source[chosen] = drawn[offset]
                number[chosen] = consumed[drawn[offset]] + block * np.array(counts)[drawn[offset]] + rank[offset]
            if stage.rows is None:
                break
            consumed += self._consumed(stage_index, stage.rows)
            start += stage.rows
        return source, number

    def origin(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Source index (into `names`) and row of that source, for each place; each source is shuffled anew in every epoch."""
        source, number = self.locate(places)
        row = np.empty(len(places), np.int64)
        for index, name in enumerate(self.names):
            chosen = np.flatnonzero(source == index)
            if not len(chosen):
                continue
            size = len(self.sources[name])
            epochs = number[chosen] // size
            for epoch in np.unique(epochs):
                here = chosen[epochs == epoch]
                row[here] = _epoch_order(self.seed, name, int(epoch), size)[number[here] % size]
        return source, row

    def rows(self, places: np.ndarray) -> np.ndarray:
        """Token rows int32 [n, T + 1] at `places`."""
        source, row = self.origin(places)
        result = None
        for index, name in enumerate(self.names):
            chosen = np.flatnonzero(source == index)
            if not len(chosen):
                continue
            tokens = self.sources[name].rows(row[chosen])
            if result is None:
                result = np.empty((len(places), tokens.shape[1]), np.int32)
            result[chosen] = tokens
        return result

    def rows_seen(self, place: int) -> dict[str, int]:
        """How many rows of each source stand before `place`."""
        totals = np.zeros(len(self.names), np.int64)
        for stage_index, stage in enumerate(self.stages):
            rows = place if stage.rows is None else min(stage.rows, place)
            totals += self._consumed(stage_index, rows)
            place -= rows
        return {name: int(total) for name, total in zip(self.names, totals, strict=True)}

    def _block_counts(self, stage: Stage) -> tuple[int, ...]:
        weights = dict(stage.weights)
        return tuple(exact_counts(np.array([weights.get(name, 0.0) for name in self.names]), BLOCK).tolist())

    def _consumed(self, stage_index: int, rows: int) -> np.ndarray:
        """How many of the first `rows` rows of a stage come from each source."""
        counts = self._block_counts(self.stages[stage_index])
        blocks, rest = divmod(rows, BLOCK)
        drawn, _ = _block_order(self.seed, stage_index, blocks, counts)
        return blocks * np.array(counts) + np.bincount(drawn[:rest], minlength=len(counts))


@lru_cache(maxsize=64)
def _block_order(seed: int, stage: int, block: int, counts: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Source of each row of a block, and how many rows of that source stand before it in the block."""
    order = np.random.default_rng([seed, 1, stage, block]).permutation(BLOCK)
    drawn = np.searchsorted(np.cumsum(counts), order, side="right")
    rank = np.zeros(BLOCK, np.int64)
    for source in range(len(counts)):
        here = drawn == source
        rank[here] = np.arange(here.sum())
    return drawn, rank


@lru_cache(maxsize=8)
def _epoch_order(seed: int, name: str, epoch: int, size: int) -> np.ndarray:
    return np.random.default_rng([seed, 2, int(content_hash(name), 16), epoch]).permutation(size)

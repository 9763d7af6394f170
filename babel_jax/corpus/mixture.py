"""Staged mixtures: which row of which source stands at which place of a run, as a pure function of (seed, place).

The whole data state of a run is one integer, the number of rows seen. Weights may change at certain places, a weight may
be zero, and counts are exact: after every whole block of a stage, and at its end, the rows of each source differ by less
than one from its exact share of the stage so far. Inside a block the order is random, and no row of a source comes a
second time before all of them came once.
"""

import dataclasses
import functools
import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from babel_jax.common.errors import UserError, unknown_name
from babel_jax.common.files import content_hash, read_json
from babel_jax.common.limits import MOST_TOKENS
from babel_jax.common.material import RowSource
from babel_jax.common.schema import REQUIRED, Key, Many, Number, Section, Table

# Stages as configs and mixture files hold them.
STAGES = Many(
    Section(
        {
            "tokens": Key(
                Number(low=0, high=MOST_TOKENS, whole=True, exponents=True),
                REQUIRED,
                "tokens of the stage (0: the rest of the run, for the last stage alone)",
            ),
            "weights": Key(
                Table(Number(low=0, high=MOST_TOKENS)),
                REQUIRED,
                "source -> weight",
            ),
        }
    ),
    least=1,
)
BLOCK = 1000  # rows of a block, or a multiple of it where some source has less than one row in a thousand
STAGE = {"tokens": float, "weights": {str: float}}  # a stage as this program has written it
CHOSEN = [STAGE | {"step?": int, "losses?": {str: float}}]  # those in a run's stages.json
LOST_STAGES = "put back a copy of it, or delete the run's folder to train it again: nothing else knows what it has seen"
LONGEST_BLOCK = 1_000_000  # rows; a block's order is in memory


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
        if not all(0 <= weight < math.inf for weight in weights.values()) or not sum(weights.values()):
            raise UserError(f"stage {number} of the mixture needs weights >= 0 with a positive sum; got {weights}.")
        if not 0 <= stage["tokens"] < math.inf or (stage["tokens"] == 0) != last:
            raise UserError(
                f"stage {number} of the mixture: only the last stage, and it alone, says tokens=0 (the rest)."
            )
        rows = None if last else -(-int(stage["tokens"]) // row_tokens)
        result.append(Stage(rows, tuple(sorted(weights.items()))))
    return tuple(result)


def read_stages(run_dir) -> list[dict]:
    """The stages that a run has chosen itself so far, from its stages.json.

    Raises:
      UserError: the file is missing or damaged.
    """
    stages = read_json(run_dir / "stages.json", CHOSEN, LOST_STAGES)
    try:
        if not stages_from_config(stages, 1):
            raise UserError("it is empty")
    except UserError as error:
        raise UserError(f"{run_dir}/stages.json is damaged: {str(error).rstrip('.')}; {LOST_STAGES}.") from error
    return stages


def apportion(weights: Sequence[int], total: int) -> list[int]:
    """Integers that sum to `total`, each less than 1 from its share by `weights` (integers), by largest remainder.

    Ties go to the first. Integers, because at place 10^12 floating-point shares are wrong in the fourth digit behind the
    point. Not by a divisor method (Sainte-Lague): those never take a row back as the total grows, but stray further than 1.
    """
    whole = sum(weights)
    counts = [total * weight // whole for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda i: -(total * weights[i] % whole))
    for i in by_remainder[: total - sum(counts)]:
        counts[i] += 1
    return counts


@dataclasses.dataclass(frozen=True)
class _Blocks:
    """One stage, cut into blocks.

    `weights` are integers, one a source; `consumed` rows of each stand in the stages before. The last block of a stage
    takes what is left over, so none is shorter than `length` unless the stage is.
    """

    number: int
    first: int
    rows: int | None
    weights: tuple[int, ...]
    consumed: tuple[int, ...]

    @property
    def end(self) -> float:
        return math.inf if self.rows is None else self.first + self.rows

    @functools.cached_property
    def length(self) -> int:
        """Rows of a block: every source with a weight has at least one in its exact share.

        That is what makes `apportion` after two successive blocks grow for every source: no shorter step is safe.
        """
        rarest = min(weight for weight in self.weights if weight)
        return BLOCK * -(-sum(self.weights) // (rarest * BLOCK))

    def block(self, offset):
        """Number of the block that holds the row at `offset` (an integer or an array) of this stage."""
        block = offset // self.length
        return block if self.rows is None else np.minimum(block, max(self.rows // self.length - 1, 0))

    def bounds(self, block: int) -> tuple[int, int]:
        last = self.rows is not None and block == self.block(self.rows)
        return block * self.length, self.rows if last else (block + 1) * self.length

    def order(self, seed: int, block: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of a block: source of each row, rows of that source before it in the block, rows of each source before the block."""
        first, end = self.bounds(block)
        before, after = apportion(self.weights, first), apportion(self.weights, end)
        counts = tuple(b - a for a, b in zip(before, after, strict=True))
        return *_block_order(seed, self.number, block, counts), np.add(self.consumed, before)

    def seen(self, seed: int, rows: int) -> np.ndarray:
        """How many of the first `rows` rows of this stage come from each source."""
        block = int(self.block(rows))
        first, end = self.bounds(block)
        if rows in (first, end):
            return np.array(apportion(self.weights, rows))
        drawn, _, before = self.order(seed, block)
        return before - self.consumed + np.bincount(drawn[: rows - first], minlength=len(self.weights))


@dataclasses.dataclass(frozen=True)
class Mixture:
    """A run's stream of rows. `place` is the number of a row in the run, counted from 0."""

    sources: dict[str, RowSource]
    stages: tuple[Stage, ...]
    seed: int

    def __post_init__(self):
        for stage in self.stages:
            whole = sum(weight for _, weight in stage.weights)
            for name, weight in stage.weights:
                if name not in self.sources:
                    raise unknown_name("source of the mixture", name, self.sources)
                if weight > 0 and len(self.sources[name]) == 0:
                    raise UserError(f"source '{name}' of the mixture is empty; build its corpus, or give it weight 0.")
                if 0 < weight < whole / LONGEST_BLOCK:
                    raise UserError(
                        f"source '{name}' of the mixture has weight {weight:g} of {whole:g}, less than one row in "
                        f"{LONGEST_BLOCK:,}; give it more, or 0."
                    )

    @functools.cached_property
    def names(self) -> list[str]:
        return sorted(self.sources)

    @functools.cached_property
    def _stages(self) -> list[_Blocks]:
        stages, first, consumed = [], 0, np.zeros(len(self.names), np.int64)
        for number, stage in enumerate(self.stages):
            weights = _integers([dict(stage.weights).get(name, 0.0) for name in self.names])
            blocks = _Blocks(number, first, stage.rows, weights, tuple(consumed.tolist()))
            stages.append(blocks)
            if stage.rows is not None:
                first += stage.rows
                consumed += apportion(weights, stage.rows)
        return stages

    @functools.cached_property
    def _orders(self) -> dict[str, tuple[int, np.ndarray]]:
        return {}

    def locate(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Source index (into `names`) and number within that source's own stream, for each place."""
        source = np.zeros(len(places), np.int64)
        number = np.zeros(len(places), np.int64)
        for stage in self._stages:
            inside = np.flatnonzero((places >= stage.first) & (places < stage.end))
            blocks = stage.block(places[inside] - stage.first)
            for block in np.unique(blocks).tolist():
                chosen = inside[blocks == block]
                offset = places[chosen] - stage.first - stage.bounds(block)[0]
                drawn, rank, before = stage.order(self.seed, block)
                source[chosen] = drawn[offset]
                number[chosen] = before[drawn[offset]] + rank[offset]
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
                row[here] = self._order(name, int(epoch))[number[here] % size]
        return source, row

    def _order(self, name: str, epoch: int) -> np.ndarray:
        """The rows of a source in an epoch's order; of each source the last one asked for is kept."""
        if self._orders.get(name, (None,))[0] != epoch:
            self._orders[name] = epoch, _epoch_order(self.seed, name, epoch, len(self.sources[name]))
        return self._orders[name][1]

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

    def drawn(self, places: np.ndarray) -> dict[str, int]:
        """How many of the rows at `places` come from each source, counted one by one."""
        counts = np.bincount(self.locate(places)[0], minlength=len(self.names))
        return dict(zip(self.names, counts.tolist(), strict=True))

    def rows_seen(self, place: int) -> dict[str, int]:
        """How many rows of each source stand before `place`."""
        totals = np.zeros(len(self.names), np.int64)
        for stage, rows in self._before(place):
            totals += stage.seen(self.seed, rows)
        return dict(zip(self.names, totals.tolist(), strict=True))

    def shares_seen(self, place: int) -> dict[str, float]:
        """What `rows_seen` approaches: each source's exact share, in rows, of all that stands before `place`."""
        totals = np.zeros(len(self.names))
        for stage, rows in self._before(place):
            totals += [float(Fraction(rows * weight, sum(stage.weights))) for weight in stage.weights]
        return dict(zip(self.names, totals.tolist(), strict=True))

    def epochs(self, place: int) -> dict[str, float]:
        """How often each source that is drawn from has been seen before `place`."""
        return {name: rows / len(self.sources[name]) for name, rows in self.rows_seen(place).items() if rows}

    def _before(self, place: int) -> list[tuple[_Blocks, int]]:
        """The stages that have begun before `place`, with their rows before it."""
        return [(stage, min(place, stage.end) - stage.first) for stage in self._stages if stage.first < place]


def _integers(weights: list[float]) -> tuple[int, ...]:
    """Integers in the exact proportion of `weights`, each taken as the decimal number that it is written as."""
    exact = [Fraction(str(weight)) for weight in weights]
    denominator = math.lcm(*(weight.denominator for weight in exact))
    return tuple(int(weight * denominator) for weight in exact)


@functools.lru_cache(maxsize=8)
def _block_order(seed: int, stage: int, block: int, counts: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Source of each row of a block, and how many rows of that source stand before it in the block."""
    order = np.random.default_rng([seed, 1, stage, block]).permutation(sum(counts))
    drawn = np.searchsorted(np.cumsum(counts), order, side="right")
    rank = np.zeros(len(order), np.int64)
    for source in range(len(counts)):
        here = drawn == source
        rank[here] = np.arange(here.sum())
    return drawn, rank


def _epoch_order(seed: int, name: str, epoch: int, size: int) -> np.ndarray:
    return np.random.default_rng([seed, 2, int(content_hash(name), 16), epoch]).permutation(size)

"""What a finished run drew from each source, by its own count, against what its mixture asks for."""

from typing import NamedTuple

from babel_jax.common import files, limits
from babel_jax.common.errors import UserError
from babel_jax.corpus import mixture
from babel_jax.training import runs

# What is read of a finished run's config.json; runs of an earlier version choose no weights themselves.
BATCH_SIZE = range(1, 2**20 + 1)
MIXTURE = {"stages": [mixture.STAGE], "seed": limits.SEEDS, "online?": {"every": limits.COUNTS}}


class Finished(NamedTuple):
    """A finished run that counted its rows: its config, what DONE says, and tokens of a row."""

    config: dict
    done: runs.Done
    row_tokens: int


def finished(run_dir, **shapes) -> Finished:
    """Reads a finished run; `shapes` (see `files.fault`) are those of further keys of its config.

    Raises:
      UserError: the run is not done, or drew no rows of its own (imported, or of an earlier version).
    """
    run_dir = files.path(run_dir)
    done = runs.read_done(run_dir)
    if not done.sources or not done.step:
        raise UserError(
            f"{run_dir} has not counted the rows it drew: it was imported, or trained by an earlier version."
        )
    shape = {"config": {"batch_size": BATCH_SIZE} | shapes}
    config = files.read_json(run_dir / "config.json", shape, "put back a copy of it")["config"]
    row_tokens, rest = divmod(done.tokens, done.step * config["batch_size"])
    if rest or not row_tokens:
        raise UserError(f"{run_dir}/DONE is damaged: its tokens are not those of its steps; {runs.WRITE_DONE}.")
    return Finished(config, done, row_tokens)


def compare(run_dir) -> tuple[str, list[str]]:
    """(a table of what a finished run drew from each source, what of it contradicts its stages).

    `drawn` was counted row by row as the run went, also through restarts; `share` is the exact share by the stages'
    weights. Between two whole blocks of 1000 rows they may differ by what the random order inside a block leaves open.

    Raises:
      UserError: as `finished`.
    """
    run_dir = files.path(run_dir)
    config, done, row_tokens = finished(run_dir, **MIXTURE)
    online = config.get("online", {"every": 0})["every"]  # runs of an earlier version have no such section
    stages = mixture.read_stages(run_dir) if online else config["stages"]
    place = done.step * config["batch_size"]
    sizes = {name: range(counts.rows) for name, counts in done.sources.items()}
    mixed = mixture.Mixture(sizes, mixture.stages_from_config(stages, row_tokens), config["seed"])
    wanted, shares = mixed.rows_seen(place), mixed.shares_seen(place)
    faults, largest = [], 0.0
    lines = [
        f"{'source':12s} {'rows':>12s} {'tokens':>16s} {'drawn':>8s} {'share':>8s} {'epochs':>8s} {'deviation':>10s}"
    ]
    for name, counts in done.sources.items():
        drawn, deviation = counts.drawn, counts.drawn - shares[name]
        largest = max(largest, abs(deviation))
        epochs = drawn / counts.rows if counts.rows else 0.0
        lines.append(
            f"{name:12s} {drawn:12,d} {drawn * row_tokens:16,d} {drawn / place:8.2%} {shares[name] / place:8.2%} "
            f"{epochs:8.2f} {deviation:10.1f}"
        )
        if drawn != wanted[name]:
            faults.append(f"{run_dir}: {drawn} rows of {name} were drawn; its stages and seed give {wanted[name]}.")
    lines.append(f"largest deviation: {largest:.1f} of {place:,d} rows")
    return "\n".join(lines), faults

"""The tidy table that every probe and evaluation writes to and every analysis reads from: one measurement, one row."""

import io
import json

import pandas as pd

from babel_jax.common import files
from babel_jax.common.errors import UserError, one_line
from babel_jax.common.files import write_atomic

# Column -> (dtype, default). `layer` and `item` are -1 where they do not apply; `item` is the index of a problem, a
# call site or a held-out file. Intervals are 95 %, NaN where the row is a single observation.
COLUMNS = {
    "run": ("string", None),  # role of the run in its study: primary_only, new_only, continual, control, mix_0.3500, …
    "seed": ("int64", None),
    "step": ("int64", None),
    "tokens": ("int64", 0),  # seen in this run so far
    "tokens_by_language": ("string", "{}"),  # JSON object, language -> tokens
    "probe": ("string", None),
    "language": ("string", ""),
    "layer": ("int64", -1),
    "metric": ("string", None),
    "item": ("int64", -1),
    "value": ("float64", None),
    "n": ("int64", 1),  # observations behind the value
    "ci_low": ("float64", float("nan")),
    "ci_high": ("float64", float("nan")),
    "options": ("string", "{}"),  # JSON object: what else defines the measurement (subset, threshold, …)
}


def row(**values) -> dict:
    """One measurement. Missing columns take their default; an unknown or a required but missing one is an error."""
    unknown = set(values) - set(COLUMNS)
    missing = [name for name, (_, default) in COLUMNS.items() if default is None and name not in values]
    if unknown or missing:
        raise ValueError(f"measurement row with unknown columns {sorted(unknown)} or without {missing}")
    for name in ("options", "tokens_by_language"):
        if isinstance(values.get(name), dict):
            values[name] = json.dumps(values[name], sort_keys=True)
    return {name: values.get(name, default) for name, (_, default) in COLUMNS.items()}


def table(rows: list[dict]) -> pd.DataFrame:
    """Rows as a data frame with the table's columns and types."""
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({name: dtype for name, (dtype, _) in COLUMNS.items()})


def option(frame: pd.DataFrame, name: str, default="") -> pd.Series:
    """One entry of the rows' `options`, `default` where a row has none; each of the few different texts is decoded once."""
    values = {text: json.loads(text).get(name, default) for text in frame["options"].unique()}
    return frame["options"].map(values)


# Where measurements lie below a run, below a seed's folder and below a study.
PLACES = ("measurements/*.parquet", "*/measurements/*.parquet", "*/*/measurements/*.parquet")


def write(path, frame: pd.DataFrame) -> None:
    """Writes a data frame of measurements as Parquet, atomically."""
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    write_atomic(path, buffer.getvalue())


def read(path) -> pd.DataFrame:
    """Reads one Parquet file, or all of a run or a study directory (see `PLACES`), in a fixed order."""
    path = files.path(path)
    tables = [path] if path.suffix == ".parquet" else sorted(file for place in PLACES for file in path.glob(place))
    if not tables:
        raise UserError(f"no measurements under {path}; run the study (or `probe` and `evaluate`) first.")
    frames = []
    for file in tables:
        try:
            frame = pd.read_parquet(io.BytesIO(file.read_bytes()))
            frames.append(frame[list(COLUMNS)].astype({name: dtype for name, (dtype, _) in COLUMNS.items()}))
        except UserError:
            raise
        except Exception as error:  # a damaged Parquet file can raise anything
            raise UserError(
                f"{file} is not a readable measurement table ({one_line(error)}); delete it and measure again."
            ) from error
    return pd.concat(frames, ignore_index=True)

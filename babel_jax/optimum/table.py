"""A table of losses and scores that was measured elsewhere, read so that Algorithm 1 can work on it.

The table needs no framework of ours. It is CSV in UTF-8: a header, commas, points in numbers; one row for each checkpoint of
each continual run, with the columns

  language      the new language, on which the primary language's model was trained further
  seed          which run of it, an integer
  tokens        tokens of the new language seen by then; the first checkpoint, at 0, is the primary language's model. The
                tokens at the peak are an amount of them, so the original corpus must be given in the same unit
  score         share of the problems that are solved, 0 to 1

and may have

  step          the checkpoint's optimiser step; without it checkpoints are numbered from 0, by their tokens
  n             problems behind the score, the same number at all checkpoints of a run; without it intervals are over seeds
                alone, and a single run has none
  loss          held-out loss on the new language, nats per token, on the same texts at every checkpoint: for P(l) of Eq. 1
  loss_error    its standard error; without it P(l) of a single run has no interval
  knowledge_share, working_language, functional_neurons
                the primary's share in what the model does, 0 to 1; the last one of the neurons that step 0 has

The tokens at the peak (`peak_tokens.py`) need no column but the first four. A share decides by Algorithm 1: without one of the
first two of them, whether a language depends on the primary cannot be tested, and it keeps its tokens unless that is
assumed (--assume).

Several primaries, on all of which the first model was trained, count together (`best_corpus.merge_primaries`): the loss gives the
share of them all; a measured share has a column for each, such as `working_language_python` and `working_language_cpp`, or
one column for all.
"""

import csv
import difflib
import io
import math
import re

import numpy as np
import pandas as pd

from babel_jax.common import files, limits
from babel_jax.common.errors import LONGEST_NAME, UserError, one_line, quoted, shortened, unknown_name
from babel_jax.evolution import dependence, stages
from babel_jax.evolution.continual import MEASURED_SHARES
from babel_jax.evolution.dependence import Dependence
from babel_jax.evolution.observation import Observation
from babel_jax.optimum import best_corpus, share_sources
from babel_jax.optimum.algorithm1 import Amounts, Proposal

COLUMNS = ("language", "seed", "tokens", "score")
PLAIN = ("step", "n", "loss")  # optional, and where they are there no cell is empty
OPTIONAL = ("loss_error", *MEASURED_SHARES)
SOURCES = ("loss", *MEASURED_SHARES)  # of the share
WITHOUT_N = (
    1000  # problems that a score is drawn for where their number is not known: too many to add noise of their own
)
FEWEST_CHECKPOINTS = 3  # of a run: a peak lies between two others
MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "None")  # what tables write where a number that may be missing is
# What a column may hold, least and most: beyond it sums and powers stop being numbers, and no such run exists.
RANGES = {
    "n": (2, 10**6),
    "seed": (0, limits.LARGEST_SEED),
    "step": (0, limits.LARGEST_STEP),
    "tokens": (0, limits.MOST_TOKENS),
}
WHOLE = tuple(RANGES)
SHARE, OTHER = (0, 1), (0, 1e6)  # of scores and shares; of losses in nats
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def number(text: str) -> float:
    """The number that a text is, written with a point; NaN where it is none."""
    return float(text) if _NUMBER.fullmatch(text) else math.nan


def of_observation(observation: Observation, amounts: Amounts, assumed: bool = False) -> dict[str, Proposal]:
    """{source: Algorithm 1's proposal} for one language of a table.

    `assumed`: that it depends on the primary is taken for granted.
    """
    continual = stages.find(observation.steps, observation.solved)
    shares = {
        name: observation.shares[name][:, continual.peak.index].tolist()
        for name in dependence.SHARES
        if name in observation.shares
    }
    tested = None
    if assumed:
        tested = Dependence(False, True, "It is assumed to depend on the primary.", math.nan, None)
    elif shares:
        solved = [solved_CxQ[continual.peak.index].sum() for solved_CxQ in observation.solved]
        tested = dependence.dependence(continual, shares, {"knowledge_share": solved})
    curves = share_sources.shares_of(observation, SOURCES)
    return share_sources.proposals(observation, curves, continual, tested, amounts).proposals


def read_csv(file, primaries: dict[str, float]) -> dict[str, Observation]:
    """`observations` of a CSV file as the module describes it.

    Raises:
      UserError: the file cannot be read, or its content cannot be optimised on; the message says which row, or why.
    """
    return observations(_table(file), primaries, file)


def _table(file) -> pd.DataFrame:
    """The cells of a CSV file as text, by the names of their columns and the numbers of their lines."""
    hint = "give --csv a table with a header, commas between its columns and points in its numbers."
    text = io.StringIO(files.read_text(file, hint), newline="")  # the reader knows every mark of lines
    rows, before = csv.reader(text, skipinitialspace=True, strict=True), 0
    lines = []
    try:
        for cells in rows:
            if any(cell.strip() for cell in cells):  # a line number is that of an editor: where the row begins
                lines.append((before + 1, [cell.strip() for cell in cells]))
            before = rows.line_num
    except csv.Error as error:
        raise UserError(f"{file}, line {before + 1}: not CSV ({one_line(error)}); {hint}") from error
    if not lines:
        raise UserError(f"cannot read {file} as CSV (it is empty); {hint}")
    names = _header(file, *lines[0])
    for number, cells in lines[1:]:
        if len(cells) < len(names) or any(cells[len(names) :]):  # empty cells beyond the header say nothing
            raise UserError(
                f"{file}, line {number}: {len(cells)} cells, and the header names {len(names)} columns; a comma within a "
                "number or a name is one too many, and no cell may be left out."
            )
    wanted = [place for place, name in enumerate(names) if name]
    cells = [[cells[place] for place in wanted] for _, cells in lines[1:]]
    return pd.DataFrame(
        cells, columns=[names[place] for place in wanted], index=[number for number, _ in lines[1:]], dtype=object
    )


def _header(file, number: int, names: list[str]) -> list[str]:
    while names and not names[-1]:
        names = names[:-1]
    if twice := next((name for name in names if name and names.count(name) > 1), None):
        raise UserError(f"{file}, line {number}: the column {quoted(twice)} is there twice; leave one out.")
    other = next((mark for mark in ";\t|" if len(names) == 1 and mark in names[0]), None)
    if other:
        raise UserError(
            f"{file} has {other!r} between its columns; save it with commas, and with points in its numbers."
        )
    for name in names:
        if name not in (*COLUMNS, *PLAIN, *OPTIONAL):
            absent = [known for known in (*PLAIN, *OPTIONAL) if known not in names]
            near = difflib.get_close_matches(name.lower(), absent, 1, 0.9)
            if near or (near := difflib.get_close_matches(name.lower(), {*absent} & {*PLAIN}, 1, 0.8)):
                raise UserError(f"{file}, line {number}: {unknown_name('column', name, near)}")
    return names


def observations(frame: pd.DataFrame, primaries: dict[str, float], name="the table") -> dict[str, Observation]:
    """{new language: observation} of a table with the module's columns; rows of the primary languages are left out.

    `frame`: numbers, or text as it stands in a file's cells; its index is what errors call the lines. `primaries` gives the
    tokens of each; `name` is what errors call the table. Which problems were solved is not known: see `answers`.
    """
    if missing := [column for column in COLUMNS if column not in frame]:
        there = {str(column).lower(): str(column) for column in frame}
        near = [there[part] for column in missing for part in difflib.get_close_matches(column, there, 1, 0.7)]
        raise UserError(
            f"{name} lacks the column {', '.join(missing)}; it needs {', '.join(COLUMNS)}, separated by commas"
            + (f" (it has {', '.join(map(quoted, near))})." if near else ".")
        )
    for line, language in frame["language"].items():
        if not isinstance(language, str) or not language:
            raise UserError(f"{name}, line {line}: language is missing; fill it in.")
        if not language.isprintable() or len(language) > LONGEST_NAME:
            raise UserError(f"{name}, line {line}: language is {quoted(language)}; give it a short, printable name.")
    frame = frame[~frame["language"].isin([*primaries]).to_numpy(bool)].copy()
    if frame.empty:
        known = ", ".join(primaries)
        raise UserError(f"{name} has no language but {known}; add the rows of a new one, trained on from its model.")
    split = _columns_by_primary(frame, primaries, name)
    parts = [column for columns in split.values() for column in columns]
    for column in [*COLUMNS[1:], *(column for column in (*PLAIN, *OPTIONAL, *parts) if column in frame)]:
        frame[column] = _numbers(frame, column, name)
    if "step" not in frame:
        frame["step"] = frame.groupby(["language", "seed"])["tokens"].rank("dense").astype(int) - 1
    residuals = {source: _merge(frame, source, columns, primaries, name) for source, columns in split.items()}
    return {
        str(language): _observation(str(language), rows, name, residuals)
        for language, rows in frame.groupby("language")
    }


def _columns_by_primary(frame: pd.DataFrame, primaries, name) -> dict[str, list[str]]:
    """{source: its columns, one for each primary} of the shares that are given so."""
    by_primary = {source: [f"{source}_{one}" for one in primaries] for source in dependence.SHARES}
    split = {source: columns for source, columns in by_primary.items() if frame.columns.isin(columns).any()}
    for source, columns in split.items():
        if source in frame:
            raise UserError(f"{name} has {source} and {columns[0]}; give it for each primary, or for all together.")
        if missing := [column for column in columns if column not in frame]:
            raise UserError(f"{name} lacks the column {', '.join(missing)}; {source} needs one for each primary.")
    return split


def _merge(frame: pd.DataFrame, source: str, columns: list[str], primaries: dict[str, float], name) -> pd.DataFrame:
    """Adds a column with the primaries' common share; returns what each is off its part of it."""
    if (over := frame[columns].sum(axis=1) > 1 + 1e-6).any():
        raise UserError(
            f"{name}, line {over.idxmax()}: {' + '.join(columns)} is above 1; they are shares of one whole."
        )
    frame[source], residual_NxP = best_corpus.merge_primaries(frame[columns].to_numpy(), list(primaries.values()))
    return pd.DataFrame(residual_NxP, frame.index)


def _numbers(frame: pd.DataFrame, column: str, name) -> pd.Series:
    """A column as numbers in their range; an error names the first line that is wrong."""
    is_share = column.startswith(("score", *MEASURED_SHARES))
    low, high = RANGES.get(column, SHARE if is_share else OTHER)
    values = []
    for line, cell in frame[column].items():
        text = str(cell)
        if text in MISSING and column not in (*COLUMNS, *PLAIN):
            values.append(math.nan)
            continue
        value = number(text)
        if not low <= value <= high or (column in WHOLE and value % 1):
            wants = f"a {'whole ' if column in WHOLE else ''}number, {low} or more"
            if value > high:
                wants = f"at most {high:g}"
            if is_share:
                wants = "from 0 to 1"
            raise UserError(
                f"{name}, line {line}: {column} is {shortened(text, LONGEST_NAME) or 'missing'} and must be {wants}; measure "
                "that checkpoint again, or leave it out for every seed."
            )
        values.append(value)
    return pd.Series(values, frame.index, dtype=int if column in WHOLE else float)


def _observation(language: str, rows: pd.DataFrame, name, residuals: dict[str, pd.DataFrame]) -> Observation:
    if rows.duplicated(["seed", "step"]).any():
        seed, step = rows[rows.duplicated(["seed", "step"])].iloc[0][["seed", "step"]]
        raise UserError(f"{name} has {language}, seed {seed}, step {step} twice; leave one of the rows out.")
    columns = [column for column in ("tokens", "score", "n", "loss", *OPTIONAL) if column in rows]
    wide = {column: rows.pivot(index="seed", columns="step", values=column) for column in columns}
    seeds, steps = wide["score"].index.tolist(), wide["score"].columns.to_numpy()
    if wide["score"].isna().any(axis=None):
        seed, step = wide["score"].isna().stack().idxmax()
        raise UserError(f"{name}: seed {seed} of {language} lacks step {step}; all seeds need the same checkpoints.")
    if len(steps) < FEWEST_CHECKPOINTS:
        raise UserError(
            f"{name} has {len(steps)} checkpoints of {language}; a peak needs {FEWEST_CHECKPOINTS} or more: evaluate others."
        )
    tokens_C = wide["tokens"].mean().to_numpy()
    if tokens_C[0] != 0 or (np.diff(tokens_C) <= 0).any():
        raise UserError(
            f"{name}: tokens of {language} must rise from 0, where the primary's model stands, from step to step."
        )
    problems_S = wide["n"].iloc[:, 0].to_numpy() if "n" in wide else np.full(len(seeds), WITHOUT_N)
    if "n" in wide and (wide["n"].to_numpy() != problems_S[:, None]).any():
        raise UserError(
            f"{name}: n of {language} changes within a run; score all its checkpoints on the same problems."
        )
    score_SxC = wide["score"].to_numpy()
    return Observation(
        language=language,
        steps=steps,
        tokens=tokens_C,
        seeds=seeds,
        solved=[answers(*of_seed) for of_seed in zip(score_SxC, problems_S, seeds, strict=True)],
        score_SxC=score_SxC,
        losses={"loss": wide["loss"].to_numpy()} if "loss" in wide else {},
        loss_errors={"loss": wide["loss_error"].to_numpy()} if "loss_error" in wide else {},
        shares={source: wide[source].to_numpy() for source in MEASURED_SHARES if source in wide},
        residuals={
            source: off.loc[rows.index].groupby(rows["step"]).mean().to_numpy() for source, off in residuals.items()
        },
        counted="n" in wide,
    )


def answers(score_C, problems: int, seed: int) -> np.ndarray:
    """[C, Q] of 0/1 with these scores, where it is not known which of the Q problems were solved.

    Drawn independently for each checkpoint. A real model's answers at two checkpoints agree more than that, which
    cancels in their difference, so intervals of a rise or a decline come out too wide rather than too narrow.
    """
    solved_C = np.rint(np.asarray(score_C) * problems)
    order_CxQ = np.random.default_rng(seed).random((len(solved_C), problems)).argsort(1)
    return (order_CxQ < solved_C[:, None]).astype(float)

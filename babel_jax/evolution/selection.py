"""Measurement rows of a study, chosen: the first step of every analysis."""

import dataclasses
import json

import numpy as np
import pandas as pd

from babel_jax.common import measurements, run_names


def select(frame: pd.DataFrame, options: dict | None = None, **columns) -> pd.DataFrame:
    """The rows with these values in these columns and these entries among their `options`."""
    keep = np.ones(len(frame), bool)
    for name, value in columns.items():
        keep &= (frame[name] == value).to_numpy(bool)
    frame = frame[keep]
    if options:
        matches = {
            text: all(json.loads(text).get(key) == value for key, value in options.items())
            for text in frame["options"].unique()
        }
        frame = frame[frame["options"].map(matches).to_numpy(bool)]
    return frame


def at_last_step(rows: pd.DataFrame) -> pd.DataFrame:
    """Of one run's rows those of each seed's last step."""
    return rows[(rows["step"] == rows.groupby("seed")["step"].transform("max")).to_numpy(bool)]


def view(frame: pd.DataFrame, primary: str, new: str, languages) -> pd.DataFrame:
    """The rows about the primary and one of the new `languages`, run names as in a study of that language alone."""
    frame = frame[frame["language"].isin(["", primary, new]).to_numpy(bool)]
    if len(languages) == 1:
        return frame
    names = {run: run_names.parse(run, languages) for run in frame["run"].unique()}
    names = {
        run: str(name.in_language("")) if name.language else run
        for run, name in names.items()
        if name.language in ("", new)
    }
    frame = frame[frame["run"].isin(names).to_numpy(bool)]
    return frame.assign(run=frame["run"].map(names).astype(frame["run"].dtype))


@dataclasses.dataclass(frozen=True)
class Solved:
    """Which problem was solved when, at the steps that all seeds have.

    Attributes:
      seeds: S of them; steps: [C].
      solved: one array [C, Q] of 0/1 a seed (Q may differ), of the problems that it was judged on at all its steps.
      item, subset: each problem's number and subset, [Q] a seed.
      chance: of a right answer where one is chosen among several; None: nothing is chosen.
    """

    seeds: list[int]
    steps: np.ndarray
    solved: list[np.ndarray]
    item: list[np.ndarray]
    subset: list[np.ndarray]
    chance: float | None = None

    @property
    def at_end(self) -> list[np.ndarray]:
        """[Q] a seed, at the last step."""
        return [solved_CxQ[-1] for solved_CxQ in self.solved]


def solved(frame: pd.DataFrame, run: str, language: str) -> Solved | None:
    """What a run solved in a language; None where nothing was judged at a step that all seeds have."""
    rows = select(frame, probe="evaluation", metric="solved", run=run, language=language)
    if rows.empty:
        return None
    subset, seed = measurements.option(rows, "subset", "all").to_numpy(str), rows["seed"].to_numpy()
    step, item, value = (rows[name].to_numpy() for name in ("step", "item", "value"))
    by_seed = {
        one.item(): _answers(*(column[seed == one] for column in (step, item, subset, value)))
        for one in np.unique(seed)
    }
    steps = sorted(set.intersection(*(set(steps.tolist()) for steps, *_ in by_seed.values())))
    if not steps:
        return None
    return Solved(
        list(by_seed),
        np.array(steps),
        solved=[solved_CxQ[np.searchsorted(own, steps)] for own, _, _, solved_CxQ in by_seed.values()],
        item=[item_Q for _, item_Q, _, _ in by_seed.values()],
        subset=[subset_Q for _, _, subset_Q, _ in by_seed.values()],
        chance=chance_of_choice(frame, language),
    )


def chance_of_choice(frame: pd.DataFrame, language: str) -> float | None:
    """The chance of a right answer where a language's problems are questions with answers to choose from; None: they are not."""
    rows = select(frame, probe="evaluation", metric="chance", language=language)
    rows = rows[measurements.option(rows, "choices", 0).to_numpy(float) > 0]
    return None if rows.empty else float(rows["value"].max())


def _answers(step, item, subset, value) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """One seed's (steps [C], item_Q, subset_Q, solved_CxQ), of the problems judged at all steps."""
    steps, c = np.unique(step, return_inverse=True)
    items, first, q = np.unique(item, return_index=True, return_inverse=True)
    solved_CxQ = np.full((len(steps), len(items)), np.nan)
    solved_CxQ[c, q] = value
    whole_Q = ~np.isnan(solved_CxQ).any(0)
    return steps, items[whole_Q], subset[first][whole_Q], solved_CxQ[:, whole_Q]

"""Studies in which nothing was learned, or nothing can be told: planted, and followed from the rows to the page.

Whatever lies in the rows, no step warns, no verdict claims what was not tested, and the numbers agree as they are printed.
"""

import functools
import json
import re
import warnings

import numpy as np
import pytest
import synthetic_study

from babel_jax import findings as findings_module
from babel_jax import proposals
from babel_jax.__main__ import main
from babel_jax.report import page, summary, tables
from babel_jax.report.verdicts import REFUTED, SUPPORTED, verdicts

pytestmark = pytest.mark.filterwarnings("error")
STEPS = synthetic_study.STEPS[::2]


def plant(change, new=("php",), seeds=3, problems=62, steps=STEPS):
    """study.json's content and the rows of a planted study after `change(rows)`, accuracies as the answers have them."""
    frame = _rows(tuple(new), seeds, problems, tuple(steps)).copy()
    frame = change(frame)
    frame = frame if frame is not None else _rows(tuple(new), seeds, problems, tuple(steps))
    solved = frame[frame["metric"] == "solved"]
    keys = ["run", "seed", "step", "language"]
    whole = solved.groupby(keys, observed=True)["value"].mean()
    here = (frame["metric"] == "accuracy").to_numpy(bool)
    if here.any() and len(whole):
        at = list(frame.loc[here, keys].itertuples(index=False, name=None))
        values = np.array([whole.get(key, np.nan) for key in at])
        old = frame.loc[here, "value"].to_numpy(float)
        frame.loc[here, "value"] = np.where(np.isnan(values), old, values)
    return frame


@functools.cache
def _rows(new, seeds, problems, steps):
    replay = (0.2,) if len(new) == 1 else ()
    return synthetic_study.planted(seeds, problems, layers=2, steps=np.array(steps), new=new, replay=replay)


def answers(value, run="", language=None):
    """Sets the answers of runs whose name begins with `run`: a number, or a function of (rows) -> values."""

    def change(frame):
        here = (frame["metric"] == "solved") & frame["run"].str.startswith(run)
        if language:
            here &= frame["language"] == language
        here = here.to_numpy(bool)
        frame.loc[here, "value"] = value(frame.loc[here]) if callable(value) else float(value)
        return frame

    return change


def few(frame):
    """No more than two of 62 problems, and these late: 0.032 at the last checkpoints, 0.016 before."""
    late = frame["step"] >= frame.groupby("run", observed=True)["step"].transform("max") * 0.6
    return ((frame["item"] == 3) & late | (frame["item"] == 5) & (frame["step"] >= STEPS[-1])).astype(float)


def loss(value):
    def change(frame):
        here = frame["metric"].isin(["loss", "loss_knowledge"]).to_numpy(bool) & (
            frame["run"].str.startswith("continual")
        ).to_numpy(bool)
        step = frame.loc[here, "step"].to_numpy(float)
        frame.loc[here, "value"] = value(step)
        return frame

    return change


def keep(test):
    return lambda frame: frame[test(frame).to_numpy(bool)].copy()


PLANTED = {
    "nothing solved": answers(0),
    "everything solved": answers(1),
    "two problems of 62 at the end": answers(few),
    "chance level, the same for all": answers(lambda frame: (frame["item"] % 31 == 0).astype(float)),
    "half solved, always the same": answers(lambda frame: (frame["item"] % 2).astype(float)),
    "only the primary": answers(0, language="php"),
    "the primary's model solves nothing": answers(0, "primary_only"),
    "the new-only model solves nothing": answers(0, "new_only"),
    "nothing learned in continual": answers(0, "continual"),
    "control learned nothing": answers(0, "control"),
    "mixes learned nothing": answers(0, "mix_"),
    "mixes solve everything": answers(1, "mix_"),
    "constant loss": loss(lambda step: np.full(len(step), 1.25)),
    "rising loss": loss(lambda step: 1.0 + step / 1000),
    "no loss": loss(lambda step: np.full(len(step), np.nan)),
    "loss diverges": loss(lambda step: np.where(step > 300, np.inf, 1.0)),
    "best first": answers(lambda frame: (frame["item"] < 62 * (1 - frame["step"] / 900)).astype(float), "continual"),
    "best last": answers(lambda frame: (frame["item"] < 62 * frame["step"] / 900).astype(float), "continual"),
    "no problems": keep(lambda frame: frame["metric"] != "solved"),
    "one checkpoint": keep(lambda frame: ~frame["run"].isin(["continual", "control"]) | (frame["step"] == STEPS[3])),
    "two checkpoints": keep(
        lambda frame: ~frame["run"].isin(["continual", "control"]) | frame["step"].isin([0, STEPS[3]])
    ),
    "one problem": keep(lambda frame: (frame["metric"] != "solved") | (frame["item"] == 3)),
    "three problems": keep(lambda frame: (frame["metric"] != "solved") | (frame["item"] < 3)),
}

"""Tasks beyond writing programs: the share of right answers, by task and by subset, in the new language.

Answers to choose from are compared by likelihood, all of them in one pass; what has to be written is written as programs are.
Letters as in `common/material.py`.
"""

import numpy as np

from babel_jax.common.material import Choices, Problems
from babel_jax.measuring.programs import accuracy_row, completions
from babel_jax.measuring.reading import Reading
from babel_jax.probes.interventions import loss_inputs, score_rows
from babel_jax.probes.subject import Subject

METRIC = "task_"  # before the name of a task, in the column `metric`


def task_rows(reading: Reading) -> list[dict]:
    """A row for each task and subset ("all", "shared", "transfer"), with its Wilson interval over the questions."""
    language, tasks = reading.material.new, reading.material.tasks
    chosen = {name: task for name, task in tasks.items() if isinstance(task, Choices)}
    right = right_choices(reading.subject, chosen)
    for name, task in tasks.items():
        if isinstance(task, Problems):
            right[name] = task.judge(language, completions(reading.subject, task, language))
    rows = []
    for name, task in tasks.items():
        for subset, kept_Q in (
            ("all", np.ones_like(task.transfer_Q)),
            ("shared", ~task.transfer_Q),
            ("transfer", task.transfer_Q),
        ):
            if kept_Q.any():
                about = dict(probe="evaluation", language=language, metric=METRIC + name, options={"subset": subset})
                rows.append(accuracy_row(right[name][kept_Q], **about))
    return rows


def right_choices(subject: Subject, tasks: dict[str, Choices]) -> dict[str, np.ndarray]:
    """By task, whether the right candidate of each question is more probable than every other one, bool [Q].

    Candidates that several tasks share are read once. A candidate as probable as the right one is a mistake.
    """
    if not tasks:
        return {}
    rows_NxT1 = np.concatenate(
        [task.tokens_QxCxT1.reshape(-1, task.tokens_QxCxT1.shape[-1]) for task in tasks.values()]
    )
    scored_NxT = np.concatenate(
        [
            np.broadcast_to(task.scored_T, (task.tokens_QxCxT1[..., 0].size, len(task.scored_T)))
            for task in tasks.values()
        ]
    )
    once, place_N = np.unique(np.concatenate([rows_NxT1, scored_NxT], axis=1), axis=0, return_inverse=True)
    T1 = rows_NxT1.shape[1]
    inputs = loss_inputs(subject.model, {"tokens": once[:, :T1], "loss": once[:, T1:]}, subject.document_end)
    nats_N = score_rows(subject, inputs, [None])[0]["loss_sum"][place_N.reshape(-1)]
    right, start = {}, 0
    for name, task in tasks.items():
        Q, C = task.tokens_QxCxT1.shape[:2]
        nats_QxC = nats_N[start : start + Q * C].reshape(Q, C)
        right[name], start = nats_QxC[:, 0] < nats_QxC[:, 1:].min(axis=1), start + Q * C
    return right

"""Tasks beyond writing programs: the share of right answers, by task and by subset, in the language that is asked.

Answers to choose from are compared by likelihood, all of one width in one pass; what has to be written is written as programs
are. Letters as in `common/material.py`.
"""

import dataclasses

import numpy as np

from babel_jax.common import statistics
from babel_jax.common.material import Asked, Choices, Parallel, Problems
from babel_jax.measuring.programs import accuracy_row, completions
from babel_jax.measuring.reading import Reading
from babel_jax.measuring.sentence_scores import sentence_rows
from babel_jax.model import placement
from babel_jax.probes.interventions import loss_inputs, score_rows
from babel_jax.probes.subject import Subject

METRIC = "task_"  # before the name of a task, in the column `metric`
BITS = "bits_per_byte_"  # the same: of the right answers


@dataclasses.dataclass(frozen=True)
class Chosen:
    """What a model finds of the candidates of a task.

    Attributes:
      nats_QxC: minus the log-probability of each candidate's scored targets; of the answers alone.
      aside_Q: the same of what is counted apart; None: nothing is.
    """

    nats_QxC: np.ndarray
    aside_Q: np.ndarray | None = None

    @property
    def right_Q(self) -> np.ndarray:
        """Whether the right answer is more probable than every other; one as probable as it makes a mistake."""
        return self.nats_QxC[:, 0] < self.nats_QxC[:, 1:].min(axis=1)

    @property
    def apart_Q(self) -> np.ndarray:
        """Whether what is counted apart is more probable than every answer."""
        return self.aside_Q < self.nats_QxC.min(axis=1)


def task_rows(reading: Reading) -> list[dict]:
    """Of every language that is asked, a row for each task and subset ("all", "shared", "transfer").

    With a Wilson interval over the questions. Of tasks whose answers are text also bits per byte of the right ones, as sums over
    questions and with an interval over these; of parallel sentences a row a layer, see `sentence_rows`.
    """
    return [
        row
        for language, tasks in reading.material.tasks_in.items()
        for row in _rows_in(reading.subject, language, tasks)
    ]


def _rows_in(subject: Subject, language: str, tasks: dict[str, Asked]) -> list[dict]:
    chosen = choose(subject, {name: task for name, task in tasks.items() if isinstance(task, Choices)})
    right = {name: found.right_Q for name, found in chosen.items()}
    rows = []
    for name, task in tasks.items():
        if isinstance(task, Parallel):
            rows += sentence_rows(subject, task, METRIC + name)
            continue
        if isinstance(task, Problems):
            right[name] = task.judge(language, completions(subject, task, language))
        for subset, kept_Q in (
            ("all", np.ones_like(task.transfer_Q)),
            ("shared", ~task.transfer_Q),
            ("transfer", task.transfer_Q),
        ):
            if kept_Q.any():
                about = dict(probe="evaluation", language=language, options={"subset": subset})
                rows.append(accuracy_row(right[name][kept_Q], metric=METRIC + name, **about))
        if name in chosen:
            rows += _beside(name, language, task, chosen[name])
    return rows


def _beside(name: str, language: str, task: Choices, found: Chosen) -> list[dict]:
    """What is known of a task beside its right answers: what is counted apart, bits per byte."""
    about, rows = dict(probe="evaluation", language=language, options={"subset": "all"}), []
    if task.aside:
        rows.append(accuracy_row(found.apart_Q, metric=f"{METRIC}{name}_{task.aside}", **about))
    if task.bytes_Q is not None:
        value, low, high = statistics.mean_with_interval(found.nats_QxC[:, 0] / np.log(2), task.bytes_Q)
        numbers = dict(value=value, n=int(task.bytes_Q.sum()), ci_low=low, ci_high=high)
        rows.append(about | dict(metric=BITS + name) | numbers)
    return rows


def choose(subject: Subject, tasks: dict[str, Choices]) -> dict[str, Chosen]:
    """By task, how probable each candidate is. Candidates that several tasks share are read once."""
    by_width: dict[int, list[str]] = {}
    for name, task in tasks.items():
        by_width.setdefault(task.tokens_QxCxT1.shape[2], []).append(name)
    nats = {}
    for width, names in by_width.items():
        nats |= _nats(subject, {name: tasks[name] for name in names}, width)
    return {
        name: Chosen(nats[name][:, :-1], nats[name][:, -1]) if task.aside else Chosen(nats[name])
        for name, task in tasks.items()
    }


def _nats(subject: Subject, tasks: dict[str, Choices], width: int) -> dict[str, np.ndarray]:
    """By task of rows of one width, minus the log-probability of each candidate's scored targets, [Q, C]."""
    # Short rows go through in more rows a batch.
    subject = dataclasses.replace(subject, batch_size=placement.batch_rows(subject.params, width - 1))
    rows_NxT1 = np.concatenate([task.tokens_QxCxT1.reshape(-1, width) for task in tasks.values()])
    scored_NxT = np.concatenate([task.scored_QxCxT.reshape(-1, width - 1) for task in tasks.values()])
    once, place_N = np.unique(np.concatenate([rows_NxT1, scored_NxT], axis=1), axis=0, return_inverse=True)
    inputs = loss_inputs(subject.model, {"tokens": once[:, :width], "loss": once[:, width:]}, subject.document_end)
    nats_N = score_rows(subject, inputs, [None])[0]["loss_sum"][place_N.reshape(-1)]
    shapes = {name: task.tokens_QxCxT1.shape[:2] for name, task in tasks.items()}
    ends = np.cumsum([Q * C for Q, C in shapes.values()])
    return {name: part.reshape(shapes[name]) for name, part in zip(tasks, np.split(nats_N, ends[:-1]), strict=True)}

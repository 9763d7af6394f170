"""How often a model's states of a sentence find its translation, layer by layer: MEXA over parallel sentences.

The measure is that of `probes/alignment.py`, of states averaged over a sentence's tokens with weights 1, 2, 3, …
"""

import dataclasses

import numpy as np

from babel_jax.common.material import Parallel
from babel_jax.model import placement
from babel_jax.probes import alignment, forward
from babel_jax.probes.subject import Subject

METRIC = "retrieval"


def sentence_states(subject: Subject, task: Parallel) -> dict[str, np.ndarray]:
    """By language, the state of each sentence behind each block, [L, N, D]."""
    states = {}
    for language, tokens_NxT in task.tokens_NxT.items():
        slots = {
            "tokens": tokens_NxT,
            "position": task.length_N[language] - 1,
            "candidates": np.full((len(tokens_NxT), 1, 1), -1, np.int32),  # the lens is asked for nothing
        }
        # A pass for each language, whose rows have a width of their own.
        here = dataclasses.replace(subject, batch_size=placement.batch_rows(subject.params, tokens_NxT.shape[1]))
        states[language] = forward.measure(here, {}, {language: slots}, ("sentence",)).slots[language]["sentence_LxNxD"]
    return states


def sentence_rows(subject: Subject, task: Parallel, metric: str) -> list[dict]:
    """Rows of `alignment.mexa_rows` under the metric "retrieval", and the mean over layers as a task's score under `metric`."""
    items = {name: np.arange(len(length_N)) for name, length_N in task.length_N.items()}
    rows = [row | {"metric": METRIC} for row in alignment.mexa_rows(sentence_states(subject, task), items, task.other)]
    (mean,) = (row for row in rows if row["layer"] == -1)
    of_task = {name: mean[name] for name in ("language", "value", "n", "ci_low", "ci_high")}
    return [*rows, of_task | dict(probe="evaluation", metric=metric, options={"subset": "all"})]
